#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking up through p2p_usrloc: what is cached, who waits, and that every question is answered."""

import time

from rig import pace, proc, tap
from rig.solo import (LOOKUP_MODULES, LOOKUP_ROUTE, LOOKUP_ROUTES, PEER, Sip, Solo, count, lookups,
                      need, stale_lookups)


@tap.on(lookups)
def test_found_is_cached_and_told_changes_are_believed(s):
    s.gw.routes["remote"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999;transport=udp"],
                              "order": 77, "hashes": ["0badcafe"]}]
    code, reason, _ = s.sip.ask("remote")
    need(code == 202 and "5999" in reason, "%d %s" % (code, reason))
    asked = count(s, "ROUTE")
    for _ in range(3):
        code, _, took = s.sip.ask("remote")
        need(code == 202, code)
    need(count(s, "ROUTE") == asked, "asked again though it is cached")
    shown = s.text("p2p_usrloc.show", "remote")
    need("cache: fresh" in shown and PEER in shown, shown)
    s.gw.routes["remote"][0]["uris"] = ["sip:127.0.0.1:5998;transport=udp"]
    proc.wait_for("subscribed", lambda: s.gw.subscribers.get("users"))
    s.gw.notify("users", "remote")
    proc.wait_for("the new address", lambda: "5998" in s.sip.ask("remote")[1])
    del s.gw.routes["remote"]
    s.gw.notify("users", "remote")
    proc.wait_for("absence", lambda: s.sip.ask("remote")[0] == 404)


@tap.on(lookups)
def test_absence_is_never_cached(s):
    need(s.sip.ask("newcomer")[0] == 404, "found whom?")
    s.gw.routes["newcomer"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    need(s.sip.ask("newcomer")[0] == 202, "absence was cached")


@tap.on(lookups)
def test_search_that_does_not_complete_is_480(s):
    s.gw.routes["slow"] = "timeout"
    need(s.sip.ask("slow")[0] == 480, "not 480")
    s.gw.mode = "silent-route"
    code, _, took = s.sip.ask("nobody")
    need(code == 480, code)
    need(1.4 < took and pace.within(took, 1.8), "answered after %.2f s, not 1.5" % took)


@tap.on(lookups)
def test_own_users_do_not_wait_and_others_are_found(s):
    s.sip.register("judy")
    s.published("judy")
    code, _, took = s.sip.ask("judy")
    need(code == 202, code)
    proc.wait_for("asked in the background who else serves judy",
                  lambda: any(a[0] == "ROUTE" and a[1] == "judy" for _, a in s.gw.log))
    s.gw.routes["judy"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    proc.wait_for("subscribed", lambda: s.gw.subscribers.get("users"))
    s.gw.notify("users", "judy")
    proc.wait_for("the other peer is known",
                  lambda: PEER in s.text("p2p_usrloc.show", "judy"))


@tap.on(lookups)
def test_gateway_stopped_cached_users_go_on_others_get_503_at_once(s):
    s.gw.routes["cached"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"], "ttl": 1000}]
    need(s.sip.ask("cached")[0] == 202, "not found")
    s.gw.stop()
    s.away()
    worst = 0
    for i in range(20):
        code, _, took = s.sip.ask("stranger%d" % i)
        need(code == 503, code)
        need(pace.within(took, 0.1), "503 took %.0f ms" % (took * 1000))
        worst = max(worst, took)
    tap.say("503 within %.1f ms" % (worst * 1000))
    # beyond the record's time: the gateway is away, it is all there is
    time.sleep(1.2)     # the record's time to live is what is tested
    need(s.sip.ask("cached")[0] == 202, "a cached user was given up")
    s.gw.start()
    s.in_step()


@tap.on(lambda: Solo(start=False, more=LOOKUP_MODULES % 30000, route=LOOKUP_ROUTE,
                     routes=LOOKUP_ROUTES))
@tap.limit(120)
def test_a_call_right_after_kamailio_starts_waits_for_its_handshake(s):
    s.gw.routes["early"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    for _ in range(8):
        s.gw.mode, s.gw.delay = "slow", 1.0
        s.kam.start()
        s.gw.mode = "good"      # what has come by now is answered late, and nothing else
        soon = s.status()["gateway"] == "away"
        code, reason, took = s.sip.ask("early")
        if soon:
            need(code == 202, "%d %s after %.2f s" % (code, reason, took))
            need(s.status()["gateway"] == "connected", "found without the gateway?")
            return
        s.kam.proc.stop()
    raise proc.Failed("Kamailio never came up before its gateway had answered")


@tap.on(lookups)
def test_many_callers_of_one_user_make_one_lookup(s):
    s.gw.mode = "slow"
    s.gw.delay = 0.3
    s.gw.routes["star"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    before = count(s, "ROUTE")
    for _ in range(50):
        s.sip.send("OPTIONS", "star")
    codes = [s.sip.answer()[0] for _ in range(50)]
    need(codes == [202] * 50, codes)
    need(count(s, "ROUTE") == before + 1, "%d lookups" % (count(s, "ROUTE") - before))


@tap.on(lookups)
def test_slow_search_does_not_stand_before_a_fast_one(s):
    done = []

    def slow(gw=s.gw):
        old = gw.do_route

        def do_route(state, argv):
            if argv[1].startswith("tarpit"):
                gw.lock.release()       # the mock's own lock: other connections go on
                try:
                    time.sleep(1.0)
                finally:
                    gw.lock.acquire()
            return old(state, argv)
        gw.do_route = do_route
    slow()
    s.gw.routes["quick"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    for i in range(10):
        s.sip.send("OPTIONS", "tarpit%d" % i)
    other = Sip()
    code, _, took = other.ask("quick")
    other.close()
    need(code == 202, code)
    tap.say("answered after %.1f ms behind ten slow searches" % (took * 1000))
    need(pace.within(took, 0.5), "%.2f s" % took)
    for _ in range(10):
        done.append(s.sip.answer()[0])
    need(set(done) == {404}, done)


@tap.on(lookups)
@tap.limit(120)
def test_every_question_is_answered_whatever_the_gateway_does(s):
    for mode in ("garbage", "nonsense", "huge", "elements", "close", "busy", "internal", "silent",
                 "version"):
        s.gw.mode = "good"
        s.in_step()
        s.gw.mode = mode
        if mode == "version":
            s.gw.drop_all()
        for i in range(30):
            s.sip.send("OPTIONS", "q%s%d" % (mode, i))
        codes = [s.sip.answer()[0] for _ in range(30)]
        need(set(codes) <= {480, 503}, "%s: %s" % (mode, codes))
        tap.say("%s: %s" % (mode, sorted(set(codes))))
    s.gw.mode = "good"
    s.in_step()
    need(s.sip.ask("after")[0] == 404, "no recovery")
    proc.wait_for("no question left", lambda: s.status()["questions"] == 0)
    need(s.status()["lookups"] == 0, s.status())


@tap.on(lookups)
def test_gateway_dies_while_questions_are_open(s):
    s.gw.mode = "silent-route"
    for i in range(50):
        s.sip.send("OPTIONS", "open%d" % i)
    proc.wait_for("50 open", lambda: s.status()["lookups"] == 50)
    start = time.monotonic()
    s.gw.stop()
    codes = [s.sip.answer()[0] for _ in range(50)]
    need(set(codes) == {503}, codes)
    took = time.monotonic() - start
    need(pace.within(took, 0.5), "it took %.2f s" % took)


@tap.on(lambda: Solo(more=LOOKUP_MODULES % 30000 + 'modparam("p2p_usrloc", "question_max", 20)',
                     route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES))
def test_more_questions_than_allowed_are_refused_at_once(s):
    s.gw.mode = "silent-route"
    start = time.monotonic()
    for i in range(60):
        s.sip.send("OPTIONS", "limit%d" % i)
    first = [s.sip.answer()[0] for _ in range(40)]
    took = time.monotonic() - start
    rest = [s.sip.answer()[0] for _ in range(20)]
    need(set(first) == {503} and set(rest) == {480}, "%s %s" % (first, rest))
    need(pace.within(took, 1), "refused after %.2f s" % took)
    proc.wait_for("no question left", lambda: s.status()["questions"] == 0)
    s.gw.mode = "good"
    need(s.sip.ask("afterwards")[0] == 404, "it did not recover")


@tap.on(stale_lookups)
def test_stale_entries_are_used_and_refreshed(s):
    s.gw.routes["old"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"], "ttl": 5000}]
    need(s.sip.ask("old")[0] == 202, "not found")
    s.gw.mode = "silent-route"
    code, _, took = s.sip.ask("old")
    need(code == 202 and pace.within(took, 0.5), "%d after %.2f s" % (code, took))
    s.gw.mode = "good"
    before = count(s, "ROUTE")
    s.gw.routes["old"][0]["uris"] = ["sip:127.0.0.1:5997"]
    proc.wait_for("refreshed in the background", lambda: "5997" in s.sip.ask("old")[1],
                  timeout=9, every=0.2)
    need(count(s, "ROUTE") - before <= 4, "%d lookups" % (count(s, "ROUTE") - before))


if __name__ == "__main__":
    tap.main(globals())
