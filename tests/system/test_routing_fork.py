#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Users with phones at several peers: who rings, who is waited for, and which answer counts."""
import sys

from rig.routing import Kamailio, main, test
from rig.routing_base import (C, D, DEAD, HIT_A, HIT_B, HIT_C, HIT_D, SESSIONS, check, equal, sip,
                              wait_for)
from rig.routing_phone import Phone


@test
def t_fork_remote(w):
    """user at two peers, the caller's own among them: both ring, the first answer wins"""
    here = w.phone("both", 30, w.b)
    there = w.phone("both", 31, w.a)
    here.answer["INVITE"] = [(0, 180)]
    there.answer["INVITE"] = [(0, 180), (0.3, 200)]
    w.served("both", (HIT_A, w.a.uris()))
    w.b.gateway.publish("users", "both")
    wait_for("both known", lambda: w.b.knows("both"))
    c = w.call("both")
    equal(c.final().code, 200, "INVITE")
    check(here.got("INVITE") and there.got("INVITE"), "both rang")
    wait_for("the other is cancelled", lambda: here.got("CANCEL"))
    c.bye()
    check(there.got("BYE") and not here.got("BYE"), "BYE at the one that answered")


@test
def t_fork_wait(w):
    """others known, but gone from the cache: a short wait for them, and no longer than that"""
    here = w.phone("pair", 52, w.b)
    there = w.phone("pair", 53, w.a)
    here.answer["INVITE"] = [(0, 180)]
    there.answer["INVITE"] = [(0.1, 200)]
    w.served("pair", (HIT_A, w.a.uris()))
    w.b.gateway.publish("users", "pair")
    wait_for("both known", lambda: w.b.knows("pair"))
    w.b.rpc("p2p_usrloc.cache_flush")
    c = w.call("pair")
    equal(c.final().code, 200, "INVITE")
    check(here.got("INVITE") and there.got("INVITE"), "both rang")
    c.bye()
    w.b.rpc("p2p_usrloc.cache_flush")
    w.b.gateway.delay["pair"] = 1.5
    here.answer["INVITE"] = [(0, 200)]
    n = len(there.got("INVITE"))
    c = w.call("pair")
    equal(c.final().code, 200, "INVITE while the gateway is slow")
    check(0.25 < c.seconds() and c.took_at_most(0.7), "after %.2f s" % c.seconds())
    c.bye()
    w.b.gateway.delay.clear()
    equal(len(there.got("INVITE")), n, "rang there")


@test
def t_fork_background(w):
    """local user with nothing known of other peers: rings here at once, others from the next call"""
    here = w.phone("bg", 32, w.b)
    w.phone("bg", 33, w.a)
    w.served("bg", (HIT_A, w.a.uris()))
    c = w.call("bg")
    equal(c.final().code, 200, "INVITE")
    check(c.took_at_most(0.5), "slow: %.2f s" % c.seconds())
    c.bye()
    check(here.got("INVITE"), "rang here")


@test
def t_fork_dead(w):
    """forked to a phone here and a peer that is dead: the phone's own time counts"""
    here = w.phone("half", 34, w.b)
    here.answer["INVITE"] = [(2.6, 180), (0.1, 200)]
    w.served("half", ("2001:22:d:6::1", ["sip:%s:5060" % DEAD]))
    w.b.gateway.publish("users", "half")
    wait_for("known", lambda: w.b.knows("half"))
    c = w.call("half")
    equal(c.final(6).code, 200, "INVITE")
    check(c.seconds() > 2.4, "after %.2f s" % c.seconds())
    c.bye()
    check(any("2001:22:d:6::1" in x and "does not answer" in x
              for x in w.b.logged().splitlines()), "the dead peer is noticed all the same")


@test
def t_two_remote(w):
    """user at two other peers: forked to both, one busy, one answers"""
    p = w.phone("tworem", 35, w.a)
    other = Phone(C, "tworem-c", port=5073)
    other.answer["INVITE"] = [(0, 100), (0.2, 486)]
    p.answer["INVITE"] = [(0, 180), (0.4, 200)]
    w.served("tworem", (HIT_A, w.a.uris()), (HIT_C, ["sip:%s:5073" % C]))
    c = w.call("tworem")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(other.got("INVITE"), "the other was asked")
    hdr = other.got("INVITE")[0].get("P2P-Peer") or ""
    check(hdr.startswith(HIT_B + ";v=2;hops=1;s=%s;t=" % SESSIONS.id(HIT_B, HIT_C)),
          "P2P-Peer: " + hdr)
    equal(other.got("INVITE")[0].ruri, sip("tworem"), "Request-URI")
    # 404 from one and 486 from the other: the busy one counts
    other.answer["INVITE"] = [(0, 404)]
    p.answer["INVITE"] = [(0.1, 486)]
    w.served("tworem2", (HIT_A, w.a.uris()), (HIT_C, ["sip:%s:5073" % C]))
    p2 = w.phone("tworem2", 36, w.a)
    p2.answer["INVITE"] = [(0.1, 486)]
    equal(w.call("tworem2").final().code, 486, "INVITE")
    # 404, which tm would pick, and later a challenge, or other places: with what is in them
    for i, (code, header) in enumerate((
            (407, 'Proxy-Authenticate: Digest realm="there",\r\n nonce="1"'),
            (302, "Contact: <sip:elsewhere@192.0.2.77>, <sip:more@192.0.2.78>"))):
        name = "tworem3%d" % i
        phone = w.phone(name, 61 + i, w.a)
        phone.answer["INVITE"] = [(0.1, code, [header])]
        w.served(name, (HIT_A, w.a.uris()), (HIT_C, ["sip:%s:5073" % C]))
        m = w.call(name).final()
        equal(m.code, code, "INVITE")
        key, value = header.replace("\r\n", "").split(": ", 1)
        equal((m.get(key) or "").replace("\r\n", ""), value, key)
        equal(len(m.all("Via")), 1, "Via")
    other.close()


@test
def t_q(w):
    """q-values: serial forking by t_load_contacts(), the remote peer in the first group"""
    edit = [('modparam("tm", "fr_timer", 30000)',
             'modparam("tm", "fr_timer", 30000)\nmodparam("tm", "contacts_avp", "tm_contacts")\n'
             'modparam("tm", "contact_flows_avp", "tm_contact_flows")'),
            ('\t\tp2p_lookup("location", "P2P_CALL");\n',
             '\t\tp2p_lookup("location", "SERIAL");\n'),
            ('request_route {\n',
             'route[SERIAL] {\n\tif ($var(p2p_result) != "found") {\n\t\tp2p_reply();\n\t\texit;\n\t}\n'
             '\tt_load_contacts();\n\tt_next_contacts();\n\tt_on_failure("SERIAL_NEXT");\n'
             '\tt_relay();\n\texit;\n}\nfailure_route[SERIAL_NEXT] {\n'
             '\tif (t_next_contacts()) {\n\t\tt_on_failure("SERIAL_NEXT");\n\t\tt_relay();\n'
             '\t\texit;\n\t}\n\tp2p_next("location", "SERIAL");\n}\n\nrequest_route {\n')]
    k = Kamailio("serial", D, HIT_D, edit=edit)
    k.gateway.peers = dict(w.b.gateway.peers)
    w.a.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.72", "dora")
    dora.register(k)
    order = []
    phones = [Phone("10.88.0.%d" % n, "queue") for n in (73, 74)]
    for p, q in zip(phones, ("0.9", "0.2")):
        p.register(k, contact="<sip:queue@%s>;q=%s" % (p.host, q))
    remote = w.phone("queue", 75, w.a)
    for p, code in zip(phones + [remote], (486, 200, 486)):
        p.answer["INVITE"] = [(0.05, code)]
    k.gateway.users["queue"] = [(HIT_A, w.a.uris(), {})]
    k.gateway.publish("users", "queue")
    wait_for("known", lambda: k.knows("queue"))
    c = dora.send("INVITE", sip("queue"), (D, 5060))
    equal(c.final().code, 200, "INVITE")
    order = [p.got("INVITE")[0].when for p in phones + [remote]]
    check(max(order[0], order[2]) < order[1], "the one with the lowest q was not last: %s" % order)
    c.bye()
    k.stop()


if __name__ == "__main__":
    sys.exit(main())
