#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls over the overlay: the way they take, over UDP, TCP and IPv6, every method, and where they
end (rig/routing.py has what runs)."""
import re
import sys
import time

from rig.routing import main, test
from rig.routing_base import A, A6, B, B6, C, HIT_A, HIT_C, check, equal, sip, wait_for
from rig.routing_phone import Call, Phone


@test
def t_call(w):
    """call: not cached, over UDP; in-dialog requests take the same way"""
    alice = w.alice()
    c = w.call("alice")
    c.code(180)
    equal(c.final().code, 200, "INVITE")
    inv = alice.got("INVITE")[0]
    check(not [k for k, _ in inv.headers if k.lower().startswith("p2p-")],
          "the phone sees a header of the peers' own")
    wait_for("ACK at the phone", lambda: alice.got("ACK"))
    re_inv = c.within("INVITE")
    equal(re_inv.final().code, 200, "re-INVITE")
    c.bye()
    bye = alice.got("BYE")[0]
    for m in (inv, alice.got("INVITE")[1], bye):
        hosts = [re.search(r"UDP ([\d.]+)", v).group(1) for v in m.all("Via")]
        equal(hosts, [A, B, "10.88.0.20"], "way of " + m.method)
    check(w.b.gateway.routes("alice"), "the gateway was not asked")
    equal(w.b.stat("p2p_registrar", "suspended_now"), 0, "suspended")


@test
def t_cached(w):
    """call: cached, the gateway is not asked again"""
    w.alice()
    w.call("alice").final()
    n = len(w.b.gateway.routes("alice"))
    c = w.call("alice")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    equal(len(w.b.gateway.routes("alice")), n, "questions")


@test
def t_reverse(w):
    """call: the called side hangs up"""
    alice = w.alice()
    c = w.call("alice")
    equal(c.final().code, 200, "INVITE")
    inv = alice.got("INVITE")[-1]
    d = Call(alice, "BYE", None, None)
    d.cid, d.frm, d.to = inv.get("Call-ID"), inv.get("To") + ";tag=alice%d" % alice.port, \
        inv.get("From")
    bye = alice.send("BYE", inv.uri("Contact"), inv.source, dialog=d,
                     route=inv.all("Record-Route"))
    equal(bye.final().code, 200, "BYE from the called side")
    wait_for("BYE at the caller", lambda: w.bob.got("BYE"))
    hosts = [re.search(r"UDP ([\d.]+)", v).group(1) for v in w.bob.got("BYE")[-1].all("Via")]
    equal(hosts, [B, A, "10.88.0.10"], "way of BYE")


@test
def t_tcp(w):
    """call: a request above tcp_threshold takes TCP between the peers, in-dialog requests too"""
    alice = w.alice()
    before = w.b.stat("p2p_route", "tcp_for_size")
    c = w.call("alice", body="x" * 1200)
    equal(c.final().code, 200, "INVITE")
    equal(w.b.stat("p2p_route", "tcp_for_size"), before + 1, "tcp_for_size")
    via = alice.got("INVITE")[-1].all("Via")
    check("TCP " + B in via[1], "no TCP between the peers: %s" % via)
    c.bye()
    via = alice.got("BYE")[-1].all("Via")
    check("TCP " + B in via[1], "BYE did not take TCP: %s" % via)
    rr = alice.got("INVITE")[-1].all("Record-Route")
    check(len(rr) == 4, "Record-Routes: %s" % rr)


@test
def t_ipv6(w):
    """call: the peer has IPv6 only"""
    w.served("alice6", (HIT_A, ["sip:[%s]:5060;transport=udp" % A6]))
    p = w.phone("alice6", 11, w.a)
    c = w.call("alice6")
    equal(c.final().code, 200, "INVITE")
    check("[%s]" % B6 in p.got("INVITE")[0].all("Via")[1], "not over IPv6")
    c.bye()
    check("[%s]" % B6 in p.got("BYE")[0].all("Via")[1], "BYE not over IPv6")


@test
def t_cancel_ringing(w):
    """CANCEL while ringing"""
    p = w.phone("ringing", 13, w.a)
    p.answer["INVITE"] = [(0, 180)]
    w.served("ringing", (HIT_A, w.a.uris()))
    c = w.call("ringing")
    c.code(180)
    c.cancel()
    equal(c.final().code, 487, "INVITE")
    wait_for("CANCEL at the phone", lambda: p.got("CANCEL"))


@test
def t_busy(w):
    """busy: the called phone's 486 passes"""
    p = w.phone("occupied", 14, w.a)
    p.answer["INVITE"] = [(0, 486)]
    w.served("occupied", (HIT_A, w.a.uris()))
    equal(w.call("occupied").final().code, 486, "INVITE")


@test
def t_methods(w):
    """MESSAGE, OPTIONS, SUBSCRIBE, REFER, NOTIFY, INFO by address of record"""
    p = w.phone("methods", 37, w.a)
    w.served("methods", (HIT_A, w.a.uris()))
    for method in ("MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER", "NOTIFY", "INFO"):
        extra = {"SUBSCRIBE": ["Event: dialog"], "NOTIFY": ["Event: dialog",
                 "Subscription-State: active"], "REFER": ["Refer-To: <sip:x@y>"]}.get(method, [])
        c = w.call("methods", method, headers=extra)
        equal(c.final().code, 200, method)
        check(p.got(method), method + " at the phone")
    # first time for each name: suspended, and non-INVITE all the same
    for i, method in enumerate(("MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER")):
        equal(w.call("nobody%d" % i, method).final().code, 404, method + " to nobody")


@test
def t_subscribe(w):
    """a subscription over the overlay: NOTIFY and the refresh within the dialog take its way"""
    p = w.phone("state", 55, w.a)
    w.served("state", (HIT_A, w.a.uris()))
    c = w.call("state", "SUBSCRIBE", headers=["Event: dialog", "Expires: 600"])
    m = c.final()
    equal(m.code, 200, "SUBSCRIBE")
    sub = p.got("SUBSCRIBE")[0]
    d = Call(p, "NOTIFY", None, None)
    d.cid, d.frm, d.to = sub.get("Call-ID"), m.get("To"), sub.get("From")
    n = p.send("NOTIFY", sub.uri("Contact"), sub.source, dialog=d, route=sub.all("Record-Route"),
               headers=["Event: dialog", "Subscription-State: active"])
    equal(n.final().code, 200, "NOTIFY")
    hosts = [re.search(r"UDP ([\d.]+)", v).group(1) for v in w.bob.got("NOTIFY")[-1].all("Via")]
    equal(hosts, [B, A, "10.88.0.55"], "way of NOTIFY")
    c.to, c.routes, c.target = m.get("To"), list(reversed(m.all("Record-Route"))), m.uri("Contact")
    r = c.within("SUBSCRIBE", headers=["Event: dialog", "Expires: 0"])
    equal(r.final().code, 200, "SUBSCRIBE within the dialog")
    equal(len(p.got("SUBSCRIBE")), 2, "SUBSCRIBEs at the phone")


@test
def t_gruu(w):
    """public GRUU: the one phone that it names"""
    inst = ["urn:uuid:00000000-0000-1000-8000-00000000000%d" % i for i in (1, 2)]
    p = [w.phone("gruu", 38 + i, instance=inst[i]) for i in (0, 1)]
    for x in p:
        x.register(w.a, headers=["Supported: gruu"])
    w.served("gruu", (HIT_A, w.a.uris()))
    uri = sip("gruu") + ";gr=" + inst[1]
    c = w.bob.send("INVITE", uri, (B, 5060))
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(p[1].got("INVITE") and not p[0].got("INVITE"), "only the named phone rang")
    # records that list their instances: a peer that has not the one meant is left out
    wait_for("instances published", lambda: len(w.a.gateway.published.get("gruu", [])) == 2)
    other = Phone(C, "gruu-c", port=5077)
    w.b.gateway.users["gruu"] = [(HIT_C, ["sip:%s:5077" % C], {"instances": ["deadbeef"]}),
                                 (HIT_A, w.a.uris(), {"instances": w.a.gateway.published["gruu"]})]
    w.b.gateway.publish("users", "gruu")
    wait_for("known", lambda: w.b.knows("gruu"))
    equal(w.bob.send("MESSAGE", uri, (B, 5060)).final().code, 200, "MESSAGE to the GRUU")
    equal(other.got("MESSAGE"), [], "MESSAGEs at the other peer")
    equal(w.bob.send("MESSAGE", sip("gruu"), (B, 5060)).final().code, 200, "MESSAGE to the AoR")
    wait_for("the AoR reaches both", lambda: other.got("MESSAGE"))
    other.close()
    c = w.bob.send("MESSAGE", sip("gruu") + ";gr=urn:uuid:none", (B, 5060))
    equal(c.final().code, 404, "MESSAGE to an instance that is not there")


@test
def t_path(w):
    """Path: the edge proxy's address is used at the serving peer"""
    edge = Phone("10.88.0.45", "edge")
    p = w.phone("pathed", 46)
    p.register(w.a, headers=["Supported: path", "Path: <sip:%s;lr>" % edge.host])
    w.served("pathed", (HIT_A, w.a.uris()))
    c = w.call("pathed", "MESSAGE")
    equal(c.final().code, 200, "MESSAGE")
    check(edge.got("MESSAGE") and not p.got("MESSAGE"), "went to the edge proxy")
    check("10.88.0.45" in (edge.got("MESSAGE")[0].get("Route") or ""), "with its Route")


@test
def t_local(w):
    """call within one peer; two contacts; de-registration"""
    p = [w.phone("home", 47 + i, w.b) for i in (0, 1)]
    p[0].answer["INVITE"] = [(0, 180)]
    c = w.call("home")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(p[0].got("INVITE") and p[1].got("INVITE"), "both contacts rang")
    wait_for("published", lambda: "home" in w.b.gateway.published)
    for x in p:
        x.register(w.b, expires=0)
    wait_for("withdrawn", lambda: "home" not in w.b.gateway.published)
    equal(w.call("home").final().code, 404, "INVITE after de-registration")


@test
def t_ack_totag(w):
    """ACK and requests with a To tag are never suspended"""
    before = w.b.stat("p2p_registrar", "suspended")
    d = Call(w.bob, "x", None, None)
    d.cid, d.frm, d.to = "nodialog-1", "<%s>;tag=1" % sip("bob"), "<%s>;tag=2" % sip("noone2")
    c = w.bob.send("MESSAGE", sip("noone2"), (B, 5060), dialog=d)
    check(c.final().code >= 400, "MESSAGE with a To tag")
    w.bob._send(w.bob._build(c, "ACK", sip("noone2"), to="<%s>" % sip("noone2")), (B, 5060))
    time.sleep(0.2)
    equal(w.b.stat("p2p_registrar", "suspended"), before, "suspended")


if __name__ == "__main__":
    sys.exit(main())
