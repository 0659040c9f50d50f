#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A part is stopped: what goes on, what is refused and how fast, and how it comes back."""

import signal
import time

from rig import overlay, proc, scene, sipp, tap

USERS = 500


def three():
    return overlay.Overlay(3)


def two_rtpengines():
    return overlay.Overlay(2, rtpengines=2)


def refusal(s, at, user, code):
    """An INVITE that is refused with code; (ms, text) of the reply."""
    uac = sipp.Sipp(s.host(), [sipp.invite(), sipp.recv(response=100, optional=True)] +
                    sipp.refused(code), at.address, [("alice", user)])
    uac.finish()
    m = uac.messages()
    final = next(x for x in m if x[1] == "received" and x[2].startswith("SIP/2.0 %d" % code))
    return (final[0] - m[0][0]) * 1000, final[3]


@tap.on(three)
def test_gateway_stopped_local_and_cached_calls_go_on(s):
    bob = s.phone("bob", s.b, seed=2, answer="auto")
    carol = s.phone("carol", s.a, seed=3, answer="auto")
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    # One call before, so that a's cache knows bob.
    call(alice, "sip:bob@%s" % s.a.address)
    s.a.gateway.stop()
    for target in ("bob", "carol"):
        call(alice, "sip:%s@%s" % (target, s.a.address))
    slowest = 0
    for _ in range(3):
        ms, text = refusal(s, s.a, "dave", 503)
        slowest = max(slowest, ms)
        if "Retry-After:" not in text:
            raise proc.Failed("no Retry-After in:\n" + text)
    tap.say("503 after %.1f ms at most" % slowest)
    if slowest > 100:
        raise proc.Failed("503 took %.0f ms" % slowest)
    s.a.gateway.start()
    s.joined()
    s.found("carol", s.b)
    s.quiet()
    del bob, carol


def call(caller, target, seconds=0.5):
    caller.dial(target)
    caller.wait("CALL_ESTABLISHED")
    time.sleep(seconds)
    caller.hangup()


@tap.on(three)
@tap.limit(120)
def test_gateway_started_again_publishes_500_users_within_5s(s):
    users = ["user%03d" % i for i in range(USERS)]
    sipp.register_many(s.host("callee"), s.a.address, users, rate=250)
    s.found(users[-1], s.b, 30)
    proc.wait_for("a publishes all of them", lambda: all_found(s.b, users), 60, 0.2)
    s.a.gateway.stop()
    before = counter(s.a, "registrations")
    start = time.monotonic()
    s.a.gateway.start(wait=False)
    proc.wait_for("a's gateway has %d users again" % USERS,
                  lambda: s.a.gateway.answers() and len(s.a.gateway.users()) >= USERS, 15, 0.05)
    taken = time.monotonic() - start
    proc.wait_for("all of them are published again", lambda: not s.a.gateway.unpublished(), 15, 0.05)
    took = time.monotonic() - start
    tap.say("desired state back after %.2f s, published after %.2f s" % (taken, took))
    if took > 5:
        raise proc.Failed("%d users were published again only after %.1f s" % (USERS, took))
    if not all_found(s.b, users):
        raise proc.Failed("not all of them are found at b")
    if counter(s.a, "registrations") != before:
        raise proc.Failed("phones had to register again")


def counter(p, _name):
    return p.kamailio.rpc("stats.get_statistics", "registrar:accepted_regs")


def all_found(p, users):
    return all(p.gateway.lookup(u) for u in users)


@tap.on(two_rtpengines)
def test_one_rtpengine_stopped_new_calls_use_the_next(s):
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    for which in (0, 1):
        s.a.rtpengines[which].stop()
        scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 3)
        scene.heard(alice, bob, 3)
        scene.heard(bob, alice, 3)
        s.a.rtpengines[which].start()
        proc.wait_for("the relay sees it again",
                      lambda: s.a.relay.status()["rtpengines_up"] == "2", 5)
    s.quiet()


@tap.on(three)
def test_relay_stopped_anchored_calls_are_503(s):
    bob = s.phone("bob", s.b, seed=2, answer="auto")
    s.found("bob", s.a)
    s.a.relay.stop()
    slowest = 0
    for _ in range(3):
        ms, _ = refusal(s, s.a, "bob", 503)
        slowest = max(slowest, ms)
    tap.say("503 after %.1f ms at most" % slowest)
    if slowest > 200:
        raise proc.Failed("503 took %.0f ms" % slowest)
    # What needs no media goes on.
    uac = sipp.Sipp(s.host(), [sipp.request("OPTIONS"), sipp.recv(response=200)],
                    s.a.address, [("alice", "bob")])
    uac.finish()
    s.a.relay.start()
    proc.wait_for("anchored calls go through again", lambda: goes_through(s), 8)
    s.quiet()
    del bob


def goes_through(s):
    uac = sipp.Sipp(s.host(), sipp.call_scenario(300), s.a.address, [("alice", "bob")])
    try:
        uac.finish()
        return True
    except proc.Failed:
        return False


@tap.on(three)
def test_peer_that_cannot_be_reached_is_503_with_a_reason_within_2s(s):
    s.phone("bob", s.b, answer="auto")
    s.found("bob", s.a)
    s.b.node.link("ovl", False)
    try:
        for _ in range(2):
            ms, text = refusal(s, s.a, "bob", 503)
            tap.say("503 after %.0f ms" % ms)
            if ms > 2100:
                raise proc.Failed("503 took %.0f ms" % ms)
            if "Reason:" not in text:
                raise proc.Failed("no Reason in:\n" + text)
    finally:
        s.b.node.link("ovl", True)
    s.joined(30)


@tap.on(three)
def test_kamailio_before_its_gateway(s):
    """Kamailio starts with no daemon there; both meet later."""
    s.c.kamailio.stop()
    s.c.gateway.stop()
    s.c.relay.stop()
    s.c.kamailio.start()
    carol = s.phone("carol", s.c)
    s.c.gateway.start()
    s.c.relay.start()
    s.joined()
    s.found("carol", s.a)
    del carol


def single():
    return overlay.Overlay(1, media=False)


@tap.on(single)
def test_gateway_that_hangs_for_a_while_is_told_what_changed_and_no_more(s):
    users = ["steady%03d" % i for i in range(300)]
    sipp.register_many(s.host("callee"), s.a.address, users, rate=250)

    def in_step(count):
        status = s.a.kamailio.rpc("p2p_usrloc.status")
        return status["synced"] == "yes" and status["publishing"] == 0 and \
            len([u for u in s.a.gateway.users() if u["desired"] == "claimed"]) == count

    proc.wait_for("the gateway has all", lambda: in_step(300), 20, 0.05)
    before = s.a.kamailio.rpc("p2p_usrloc.stats")
    s.a.gateway.proc.signal(signal.SIGSTOP)
    try:
        proc.wait_for("Kamailio has given it up",
                      lambda: s.a.kamailio.rpc("p2p_usrloc.status")["gateway"] == "away", 20, 0.05)
        sipp.register_many(s.host("callee"), s.a.address, ["late"], rate=10)
    finally:
        s.a.gateway.proc.signal(signal.SIGCONT)
    proc.wait_for("it has the one that came", lambda: in_step(301), 20, 0.05)
    after = s.a.kamailio.rpc("p2p_usrloc.stats")
    told = after["publishes"] - before["publishes"]
    tap.say("%d commands for 301 users" % told)
    if told > 3 or after["syncs_all"] != before["syncs_all"] or after["syncs_rest"] == 0:
        raise proc.Failed("%d told; %r" % (told, after))


if __name__ == "__main__":
    tap.main(globals())
