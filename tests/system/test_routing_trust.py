#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose requests are taken for a peer's: strangers, loops, lists of peers, several addresses,
hostile headers."""
import subprocess
import sys

from rig.routing import Kamailio, main, test
from rig.routing_base import (A, B, D, DOMAIN, E, F, HIT_A, HIT_B, HIT_C, HIT_D, STRANGER, check,
                              equal, sip, wait_for)
from rig.routing_phone import Call, Phone


@test
def t_stranger(w):
    """strangers: no relaying over the overlay, no trusted headers"""
    s = Phone(STRANGER, "mallory")
    w.alice()
    w.phone("inside", 50, w.b)
    c = s.send("INVITE", sip("alice"), (B, 5060))
    equal(c.final().code, 404, "INVITE to a user of another peer")
    c = s.send("MESSAGE", "sip:x@192.0.2.55", (B, 5060))
    equal(c.final().code, 403, "MESSAGE to somewhere else")
    c = s.send("INVITE", sip("inside"), (B, 5060))
    equal(c.final().code, 200, "INVITE to a phone of this peer")
    c.bye()
    # claims to be a peer, whose record lists other addresses
    c = s.send("INVITE", sip("inside"), (B, 5060), headers=["P2P-Peer: %s;v=2;hops=1" % HIT_A])
    equal(c.final().code, 403, "INVITE that names a peer")
    c = s.send("INVITE", sip("inside"), (B, 5060),
               headers=["P2P-Peer: 2001:22:bad::1;v=2;hops=1"])
    equal(c.final().code, 403, "INVITE that names nobody")
    c = s.send("INVITE", sip("inside"), (B, 5060), headers=["P2P-Peer: nonsense"])
    equal(c.final().code, 403, "INVITE that names nonsense")
    # with the route set of a dialog that does not exist
    d = Call(s, "x", None, None)
    d.cid, d.frm, d.to = "forged-1", "<sip:x@x>;tag=1", "<sip:y@y>;tag=2"
    c = s.send("MESSAGE", "sip:x@%s" % DOMAIN, (B, 5060), dialog=d)
    check(c.final().code in (403, 404), "request without a route set: %d" % c.final().code)


@test
def t_loop(w):
    """loops: a request that names this very peer, or more hops than allowed, is refused"""
    p = Phone(A, "peer", port=5075)
    w.alice()
    c = p.send("INVITE", sip("bob"), (B, 5060), peer=(HIT_B, HIT_A))
    equal(c.final().code, 482, "INVITE that came back")
    c = p.send("INVITE", sip("bob"), (B, 5060), peer=(HIT_A, HIT_B), hops=99)
    equal(c.final().code, 483, "INVITE with too many hops")
    c = p.send("INVITE", sip("alice"), (B, 5060), peer=(HIT_A, HIT_B))
    check(c.final().code in (404, 480), "INVITE from a peer is not sent to a third: %d"
          % c.final().code)
    c = p.send("INVITE", sip("bob"), (B, 5060), peer=(HIT_A, HIT_B))
    equal(c.final().code, 200, "INVITE from a peer to a phone here")
    c.bye()
    p.close()


@test
def t_peer_list(w):
    """a peer known by its address: to phones here, and to nobody else"""
    k = Kamailio("listed", D, HIT_D,
                 edit=[('# modparam("p2p_route", "peer", "192.0.2.7") ',
                        'modparam("p2p_route", "peer", "10.88.0.76/31") ')])
    k.gateway.users["alice"] = [(HIT_A, w.a.uris(), {})]
    dora = Phone("10.88.0.78", "dora")
    dora.register(k)
    for n, code in ((76, 200), (77, 200)):
        p = Phone("10.88.0.%d" % n, "apeer")
        c = p.send("INVITE", "sip:dora@elsewhere.test", (D, 5060))
        equal(c.final().code, code, "INVITE from 10.88.0.%d" % n)
        c.bye()
        equal(p.send("INVITE", sip("alice"), (D, 5060)).final().code, 404, "INVITE to a third")
        p.close()
    p = Phone("10.88.0.75", "nopeer")
    equal(p.send("INVITE", "sip:dora@elsewhere.test", (D, 5060)).final().code, 403,
          "INVITE from the next address")
    equal(k.gateway.routes("alice"), [], "questions")
    equal(k.stat("p2p_route", "from_peer"), 4, "from_peer")
    k.stop()


@test
def t_two_addresses(w):
    """two addresses: requests come from the one that is advertised, or that the script says"""
    phone = w.phone("nina", 72, w.b)
    own = ["ip", "route", "replace", "local", B, "dev", "d0", "table", "local", "proto", "kernel",
           "scope", "host", "src"]
    k = None

    def server(name, *params):
        k = Kamailio(name, E, HIT_D, listen=["%s:%s:5060" % (t, a) for a in (E, F)
                                             for t in ("udp", "tcp")],
                     edit=[('# modparam("p2p_route", "peer", "192.0.2.7") ',
                            "\n".join('modparam("p2p_route", "%s", "%s")' % x for x in params)
                            + "\n# ")])
        k.gateway.users["nina"] = [(HIT_B, w.b.uris(), {})]
        k.gateway.peers = {HIT_B: w.b.uris()}
        return k

    def calls(k, name, code):
        p = w.phone(name, 73)
        p.register(k)
        for body in ("", "x" * 1400):       # over UDP, over TCP
            n = len(phone.got("MESSAGE"))
            m = p.send("MESSAGE", sip("nina"), (E, 5060), headers=["Subject: " + body])
            equal(m.final().code, code, "MESSAGE of %d bytes through %s" % (len(body), k.name))
            if code == 200:
                got = wait_for("MESSAGE at the phone", lambda: phone.got("MESSAGE")[n:])[0]
                vias = got.all("Via")
                check(("TCP" if body else "UDP") in vias[1], "transport between peers: " + vias[1])
        p.close()

    subprocess.run(own + [F], check=True)   # the kernel would take F towards B
    try:
        for at in (E, F):
            w.b.gateway.peers[HIT_D] = ["sip:%s:5060;transport=udp" % at]
            w.b.gateway.publish("peers", HIT_D)
            k = server("two-" + at, ("advertise", "sip:%s:5060;transport=udp" % at))
            calls(k, "norah", 200)
            k.stop()
        # F is advertised, and E told to be sent from: an address proves nothing, nor is it asked to
        k = server("two-other", ("advertise", "sip:%s:5060;transport=udp" % F),
                   ("socket", "udp:%s:5060" % E), ("socket", "tcp:%s:5060" % E))
        calls(k, "norah", 200)
        k.stop()
    finally:
        subprocess.run(own + [B], check=True)
        w.b.gateway.peers.pop(HIT_D, None)
        if k:
            k.stop()
    phone.close()


@test
def t_hostile(w):
    """hostile headers between peers: refused, no crash"""
    s = Phone(STRANGER, "mallory2")
    for value in ("", ";", ";;;;", "2001:22:a:1::a;", "2001:22:a:1::a;hops=" + "9" * 300,
                  "2001:22:a:1::a;v=1;hops=1", "2001:22:a:1::a;v=11", "::1;v=2;hops=1",
                  "2001:22:a:1::a" * 400, "\x00\x01;v=2", "%s%n%x;v=2;hops=1",
                  "2001:22:a:1::a;hops=-1", ";hops=1", "2001:22:a:1::a\t ; v=2 ; hops = 1"):
        c = s.send("MESSAGE", sip("bob"), (B, 5060), headers=["P2P-Peer: " + value])
        check(c.final().code in (400, 403, 483), "%r: %d" % (value[:40], c.final().code))
    c = s.send("MESSAGE", sip("bob"), (B, 5060), headers=["P2P-Peer: %s;v=2" % HIT_A,
                                                           "P2P-Peer: %s;v=2" % HIT_C])
    equal(c.final().code, 403, "two of them")
    # other P2P- headers of a stranger's do not reach a phone
    c = s.send("MESSAGE", sip("bob"), (B, 5060), headers=["P2P-Anything: x", "p2p-more: y"])
    equal(c.final().code, 200, "MESSAGE")
    names = [k.lower() for k, _ in w.bob.got("MESSAGE")[-1].headers]
    check(not [k for k in names if k.startswith("p2p-")], "headers seen: %s" % names)
    s.close()


if __name__ == "__main__":
    sys.exit(main())
