#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a call becomes when the search is slow, finds nothing, finds what is no longer so, or cannot
be made at all."""
import random
import sys
import threading
import time

from rig.routing import main, test
from rig.routing_base import A, B, C, HIT_A, HIT_B, HIT_C, check, equal, sip, wait_for
from rig.routing_phone import Phone


@test
def t_unknown(w):
    """unknown user: 404"""
    c = w.call("nobody")
    equal(c.final().code, 404, "INVITE")


@test
def t_timeout(w):
    """search not completed: 480 with Retry-After, by the deadline"""
    w.b.gateway.error["slow"] = "TIMEOUT search not completed"
    c = w.call("slow")
    equal(c.final().code, 480, "INVITE")
    check(c.final().get("Retry-After"), "no Retry-After")
    equal(len(w.b.gateway.routes("slow")), 1, "questions")
    w.b.gateway.delay["slower"] = 9
    c = w.call("slower")
    equal(c.final().code, 480, "INVITE")
    check(1.5 < c.seconds() and c.took_at_most(2.6), "after %.2f s" % c.seconds())
    w.b.gateway.delay.clear()


@test
def t_denied_busy(w):
    """gateway busy: 503 with Retry-After"""
    w.b.gateway.error["busy"] = "BUSY too many searches"
    c = w.call("busy")
    equal(c.final().code, 503, "INVITE")
    check(c.final().get("Retry-After"), "no Retry-After")


@test
def t_cancel_lookup(w):
    """CANCEL while the lookup runs: 487 at once, nothing sent on"""
    p = w.phone("late", 12, w.a)
    w.served("late", (HIT_A, w.a.uris()))
    w.b.gateway.delay["late"] = 0.8
    c = w.call("late")
    c.code(100, 1)
    time.sleep(0.1)
    x = c.cancel()
    equal(x.final().code, 200, "CANCEL")
    equal(c.final().code, 487, "INVITE")
    check(c.took_at_most(0.6), "487 after %.2f s" % c.seconds())
    w.b.gateway.delay.clear()
    wait_for("answer came", lambda: w.b.stat("p2p_registrar", "suspended_now") == 0)
    time.sleep(0.2)
    equal(p.got("INVITE"), [], "INVITEs at the phone")
    equal(w.b.stat("p2p_registrar", "cancelled"), 1, "counted as cancelled")
    check("transaction not found" not in w.b.logged(), "tm complains")


@test
def t_stale(w):
    """stale record: the peer says 404, the fresh lookup finds the other peer"""
    p = w.phone("moved", 16, w.a)
    w.served("moved", (HIT_C, ["sip:%s:5071" % C]))
    old = Phone(C, "moved-c", port=5071)
    old.answer["INVITE"] = [(0, 404)]
    c = w.call("moved")
    equal(c.final().code, 404, "INVITE while nobody knows better")
    routes = w.b.gateway.routes("moved")
    equal([len(r) for r in routes], [3, 4], "questions, the last one FRESH")
    w.served("moved", (HIT_C, ["sip:%s:5071" % C]))
    wait_for("cached again", lambda: w.call("moved").final().code == 404)
    # now the truth comes out between the first and the fresh question

    def answered():
        w.served("moved", (HIT_A, w.a.uris()))
        return True
    old.answer["INVITE"] = [(0.1, 404)]
    w.served("moved2", (HIT_C, ["sip:%s:5071" % C]))
    p2 = w.phone("moved2", 17, w.a)
    c = w.call("moved2")
    wait_for("the stale peer is asked", lambda: any(r.ruri == sip("moved2")
                                                     for r in old.got("INVITE")))
    w.served("moved2", (HIT_A, w.a.uris()))
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(p2.got("INVITE"), "the right phone rang")
    # a fresh search that does not complete says nothing about where the user is now
    w.served("moved3", (HIT_C, ["sip:%s:5071" % C]))
    c = w.call("moved3")
    wait_for("the stale peer is asked", lambda: any(r.ruri == sip("moved3")
                                                     for r in old.got("INVITE")))
    w.b.gateway.error["moved3"] = "TIMEOUT search not completed"
    w.b.gateway.delay["moved3"] = 0.3
    equal(c.final().code, 480, "INVITE, fresh search not completed")
    # one that the gateway refuses neither
    w.b.gateway.error["refused"] = "BADARG deadline_ms is within 1 to 30000"
    equal(w.call("refused").final().code, 480, "INVITE, question not accepted")
    check(answered() and p, "")
    old.close()


@test
def t_next(w):
    """stale record: the next candidate is tried without another question"""
    p = w.phone("twice", 18, w.a)
    old = Phone(C, "twice-c", port=5072)
    old.answer["INVITE"] = [(0, 404)]
    # the second one's lease has lapsed: last resort only
    w.b.gateway.users["twice"] = [(HIT_C, ["sip:%s:5072" % C], {}),
                                  (HIT_A, w.a.uris(), {"flags": 1})]
    c = w.call("twice")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    equal(len(w.b.gateway.routes("twice")), 1, "questions")
    check(p.got("INVITE"), "the phone rang")
    old.close()


@test
def t_retransmit(w):
    """a retransmission while the lookup runs is absorbed"""
    p = w.phone("again", 49, w.a)
    w.served("again", (HIT_A, w.a.uris()))
    w.b.gateway.delay["again"] = 0.6
    c = w.call("again")
    for _ in range(3):
        time.sleep(0.1)
        w.bob._send(c.text, (B, 5060))
    equal(c.final().code, 200, "INVITE")
    c.bye()
    w.b.gateway.delay.clear()
    equal(len(p.got("INVITE")), 1, "INVITEs at the phone")
    equal(len(w.b.gateway.routes("again")), 1, "questions")


@test
def t_many(w):
    """many searches at once: each is answered, none is lost"""
    n = 150
    before = w.b.stat("p2p_registrar", "continued")
    calls = [w.call("many%d" % i, "MESSAGE") for i in range(n)]
    equal({c.final(10).code for c in calls}, {404}, "MESSAGEs")
    equal(w.b.stat("p2p_registrar", "continued"), before + n, "continued")
    equal(w.b.stat("p2p_registrar", "suspended_now"), 0, "suspended")


@test
def t_race(w):
    """CANCEL racing with the answer, many times: each INVITE ends once, nothing is left"""
    p = w.phone("racer", 54, w.a)
    p.answer["INVITE"] = [(0.02, 180)]
    rnd = random.Random(7)
    n, calls = 120, []
    for i in range(n):
        name = "race%d" % i
        if i % 2:
            w.served(name, (HIT_A, w.a.uris()))     # ends at a peer that says 404, or cancelled
        if i % 3 == 0:
            w.served(name, (HIT_A, w.a.uris()))
            w.a.gateway.serves[name] = 2            # 480
        w.b.gateway.delay[name] = rnd.random() * 0.02

    def one(i):
        c = w.call("race%d" % i)
        calls.append(c)
        time.sleep(rnd.random() * 0.03)
        c.cancel()
    for i in range(n):
        t = threading.Thread(target=one, args=(i,))
        t.start()
        if i % 8 == 7:
            t.join()
    wait_for("all sent", lambda: len(calls) == n)
    codes = {}
    for c in calls:
        code = c.final(8).code
        codes[code] = codes.get(code, 0) + 1
        equal(len({m.code for m in c.replies if m.code >= 200}), 1, "final replies")
    check(set(codes) <= {404, 480, 487}, "ended with %s" % codes)
    check(codes.get(487, 0) > n // 4, "too few were cancelled: %s" % codes)
    wait_for("none suspended", lambda: w.b.stat("p2p_registrar", "suspended_now") == 0)
    w.b.gateway.delay.clear()
    w.a.gateway.serves.clear()


@test
def t_orphan(w):
    """a peer asks for a user whose phone has not come back after a restart: 480, not 404"""
    p = Phone(A, "peer", port=5076)
    w.b.gateway.serves["orphan"] = 2
    c = p.send("INVITE", sip("orphan"), (B, 5060), peer=(HIT_A, HIT_B))
    equal(c.final().code, 480, "INVITE for an orphan")
    c = p.send("INVITE", sip("never"), (B, 5060), peer=(HIT_A, HIT_B))
    equal(c.final().code, 404, "INVITE for a user that never was here")
    c = w.call("orphan")
    equal(c.final().code, 480, "INVITE of a phone here for an orphan")
    p.close()


@test
def t_gateway_down(w):
    """gateway stopped: 503 within 100 ms; local and cached users go on; then all is well again"""
    w.phone("inhouse", 51, w.b)
    w.alice()
    c = w.call("alice")
    equal(c.final().code, 200, "INVITE to a cached user")
    c.bye()
    w.b.gateway.stop()
    wait_for("noticed", lambda: w.call("nn%s" % Phone.unique()).final().code == 503, 3)
    times = []
    for _ in range(3):          # the machine may be busy with something else once
        c = w.call("somebody")
        equal(c.final().code, 503, "INVITE")
        times.append(c.seconds())
    check(min(times) < 0.1, "503 after %s s" % times)
    check(c.final().get("Retry-After") and c.final().get("Reason"), "Retry-After and Reason")
    for user in ("inhouse", "alice"):
        c = w.call(user)
        equal(c.final().code, 200, "INVITE to " + user)
        c.bye()
    w.b.gateway.published.clear()
    w.b.gateway.start()
    wait_for("published again", lambda: "inhouse" in w.b.gateway.published, 5)
    wait_for("asked again", lambda: w.call("nobody").final().code == 404, 3)


if __name__ == "__main__":
    sys.exit(main())
