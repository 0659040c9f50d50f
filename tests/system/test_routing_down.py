#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that are down, or unwell: what the caller gets and how soon, and that they are used again."""
import re
import sys

from rig.routing import main, test
from rig.routing_base import C, DEAD, HIT_A, HIT_C, HIT_DEAD, check, equal, wait_for
from rig.routing_phone import Phone


@test
def t_unreachable(w):
    """peer that cannot be reached: 503 with Reason within 2 s, one log line, then at once"""
    w.served("far", (HIT_DEAD, ["sip:%s:5060" % DEAD]))
    c = w.call("far")
    equal(c.final().code, 503, "INVITE")
    check(c.took_at_most(2.0), "503 after %.2f s" % c.seconds())
    check("SIP;cause=503;text=" in (c.final().get("Reason") or ""), "no Reason")
    check(c.final().get("Retry-After"), "no Retry-After")
    times = []
    for _ in range(3):
        c = w.call("far")
        equal(c.final().code, 503, "INVITE")
        times.append(c.seconds())
    check(min(times) < 0.1, "503 after %s s when it is known" % times)
    lines = [x for x in w.b.logged().splitlines() if "does not answer" in x]
    equal(len(lines), 1, "log lines")
    check("state: down" in re.sub(r"\s+", " ", w.b.rpc("p2p_route.peers")), "not shown as down")


@test
def t_nobody_listens(w):
    """a peer whose host lives and whose Kamailio does not: 503 at once, the first time too"""
    for n, (transport, method) in enumerate((("udp", "INVITE"), ("udp", "MESSAGE"))):
        w.served("gone%d" % n, ("2001:22:d:6::%d" % (n + 1),
                                ["sip:%s:%d;transport=%s" % (C, 5990 + n, transport)]))
        c = w.call("gone%d" % n, method, body="hello" if method == "MESSAGE" else "")
        equal(c.final().code, 503, method)
        check(c.took_at_most(1.0), "503 after %.2f s" % c.seconds())
        check(c.final().get("Retry-After"), "no Retry-After")
        check("SIP;cause=503;text=" in (c.final().get("Reason") or ""), "no Reason")
    # a phone that takes its time is no peer that is gone
    p = w.phone("slowone", 16, w.a)
    p.answer["MESSAGE"] = [(1.0, 200)]
    w.served("slowone", (HIT_A, w.a.uris()))
    equal(w.call("slowone", "MESSAGE", body="hello").final(8).code, 200, "MESSAGE")


@test
def t_peer_503(w):
    """a peer's 503 is the caller's, with its Reason and a Retry-After; a phone's is a 500"""
    p = Phone(C, "unwell", port=5076)
    p.answer["INVITE"] = [(0, 503)]
    w.served("unwell", (HIT_C, ["sip:%s:5076" % C]))
    c = w.call("unwell")
    equal(c.final().code, 503, "INVITE")
    check(c.final().get("Retry-After"), "no Retry-After")
    check("SIP;cause=503;text=" in (c.final().get("Reason") or ""), "no Reason")
    p.close()
    here = w.phone("unwellhere", 53, w.b)
    here.answer["INVITE"] = [(0, 503)]
    equal(w.call("unwellhere").final().code, 500, "INVITE to a phone that says 503")


@test
def t_unreachable_tcp(w):
    """the same with a peer that only has TCP, and with one that refuses the connection"""
    hit = "2001:22:d:2::1"
    w.served("fartcp", (hit, ["sip:%s:5060;transport=tcp" % DEAD]))
    c = w.call("fartcp")
    equal(c.final().code, 503, "INVITE")
    check(c.took_at_most(2.0), "503 after %.2f s" % c.seconds())
    w.served("refuses", ("2001:22:d:3::1", ["sip:%s:5999;transport=tcp" % C]))
    c = w.call("refuses")
    equal(c.final().code, 503, "INVITE")
    check(c.took_at_most(2.0), "503 after %.2f s" % c.seconds())


@test
def t_unreachable_noninvite(w):
    """requests other than INVITE: 503 within 2 s too, but a slow phone may take its time"""
    w.served("farmsg", ("2001:22:d:4::1", ["sip:%s:5060" % DEAD]))
    c = w.call("farmsg", "MESSAGE", body="hello")
    equal(c.final().code, 503, "MESSAGE")
    check(c.took_at_most(2.0), "503 after %.2f s" % c.seconds())
    p = w.phone("slowmsg", 15, w.a)
    p.answer["MESSAGE"] = [(4.0, 200)]
    w.served("slowmsg", (HIT_A, w.a.uris()))
    c = w.call("slowmsg", "MESSAGE", body="hello")
    equal(c.final(8).code, 200, "MESSAGE")
    check(c.seconds() > 3.5, "after %.2f s" % c.seconds())


@test
def t_recovers(w):
    """a peer that was down is used again as soon as it answers"""
    hit = "2001:22:d:5::1"
    w.served("back", (hit, ["sip:%s:5070" % C]))
    equal(w.call("back").final().code, 503, "INVITE")
    # the peer comes to life: a bare socket that answers like a proxy
    p = Phone(C, "back", port=5070)
    p.answer["OPTIONS"] = [(0, 200)]
    wait_for("probe", lambda: p.got("OPTIONS"), 15)
    wait_for("up again", lambda: w.call("back").final().code == 200, 3)
    p.close()


if __name__ == "__main__":
    # what was sent to the silent ones lasts for tm's half minute; test_routing_memory.py waits for that
    sys.exit(main())
