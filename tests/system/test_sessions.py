#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions between peers, as gateways and Kamailios have them: opened by the first call, used by
the next ones, renewed, closed when nothing runs over them, learned again after a restart."""

import time

from rig import overlay, proc, resp, tap

LIFETIME_S, LINGER_S = 4, 2


def two():
    return overlay.Overlay(2, prepare=short)


def short(p):
    p.gateway.settings["sessions"] = {"lifetime_s": LIFETIME_S, "linger_s": LINGER_S}


def phones(s):
    s.bob = s.phone("bob", s.b, seed=2, answer="auto")
    s.alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)


def call(s, seconds=0.3):
    s.alice.dial("sip:bob@%s" % s.a.address)
    s.alice.wait("CALL_ESTABLISHED")
    time.sleep(seconds)
    s.alice.hangup()
    s.alice.wait("CALL_CLOSED")
    s.bob.wait("CALL_CLOSED")


def known(p, state="open"):
    """id -> what p's Kamailio says of it."""
    sessions = p.kamailio.rpc("p2p_usrloc.sessions").get("sessions") or []
    if isinstance(sessions, dict):
        sessions = [sessions]
    return {x["id"]: x for x in sessions if x["state"] == state}


def at_gateway(p):
    """id -> what p's gateway says of it."""
    reply = p.gateway.ask("SESSIONS", "0", 500)
    return {x["id"]: x for x in map(resp.pairs, reply[1])}


def one(s):
    """The one session that all four know; its id."""
    last = []

    def same():
        last[:] = [sorted(known(p)) for p in s.peers] + [sorted(at_gateway(p)) for p in s.peers]
        return len(last[0]) == 1 and all(x == last[0] for x in last) and last[0][0]
    try:
        return proc.wait_for("all know one session", same, 5)
    except proc.Failed as e:
        raise proc.Failed("%s; Kamailio a, b, gateway a, b know %r" % (e, last)) from None


def none(s, timeout=LIFETIME_S + LINGER_S + 3):
    proc.wait_for("no session is left",
                  lambda: not any(known(p) or at_gateway(p) for p in s.peers), timeout)


@tap.on(two)
def test_the_first_call_opens_one_and_the_next_uses_it(s):
    phones(s)
    call(s)
    first = one(s)
    a, b = known(s.a)[first], known(s.b)[first]
    expected = {"state": "open", "signalling": "udp", "family": 4, "media": "rtp"}
    for peer, other, role, got in ((s.a, s.b, "initiator", a), (s.b, s.a, "responder", b)):
        expected.update(peer=other.gateway.status()["hit"], role=role, uri=other.uri_ovl)
        for key, value in expected.items():
            if got[key] != value:
                raise proc.Failed("%s says %s=%r, not %r" % (peer.name, key, got[key], value))
    printed = s.a.kamailio.text("p2p_usrloc.sessions")
    if "key" in printed or any(len(w) > 40 and all(c in "0123456789abcdef" for c in w)
                               for w in printed.split()):
        raise proc.Failed("a key is shown:\n" + printed)
    call(s)
    if one(s) != first:
        raise proc.Failed("the second call has opened another session")


@tap.on(two)
def test_one_that_nothing_runs_over_is_closed_on_all_sides(s):
    phones(s)
    call(s)
    one(s)
    none(s)


@tap.on(two)
def test_a_cached_user_without_session_is_asked_for_again(s):
    phones(s)
    call(s)
    first = one(s)
    none(s)
    call(s)         # bob is in a's cache, but not the session
    if one(s) == first:
        raise proc.Failed("a session has come back from the dead")


@tap.on(two)
def test_a_restarted_kamailio_learns_it_again(s):
    phones(s)
    call(s)
    first = one(s)
    s.b.kamailio.stop()
    s.b.kamailio.start()
    proc.wait_for("b's Kamailio is connected", lambda: s.b.kamailio.rpc("p2p_usrloc.status")
                  ["gateway"] == "connected", 5)
    found = known(s.b)
    if found and set(found) != {first}:
        raise proc.Failed("b's Kamailio has a session of its own: %r" % found)
    proc.wait_for("bob is registered again", lambda: s.b.serves("bob"), 15)


@tap.on(two)
def test_a_restarted_gateway_ends_them(s):
    phones(s)
    call(s)
    first = one(s)
    s.a.gateway.stop()
    s.a.gateway.start()
    s.joined()
    proc.wait_for("a's Kamailio has dropped it", lambda: first not in known(s.a), 5)
    s.found("bob", s.a)
    call(s)
    if one(s) == first:
        raise proc.Failed("a session has survived its gateway")


if __name__ == "__main__":
    tap.main(globals())
