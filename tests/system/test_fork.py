#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One user at two peers: both ring, the first answer wins, the other's media is released."""

import time

from rig import overlay, proc, scene, tap


def three():
    return overlay.Overlay(3)


def both_ring(s, first, second, caller_at):
    """bob at two peers; the second one answers."""
    one = s.phone("bob", first, node="bob1", seed=2)
    two = s.phone("bob", second, node="bob2", seed=3)
    alice = s.phone("alice", caller_at, seed=1)
    want = [p for p in (first, second) if p is not caller_at]
    proc.wait_for("%s finds all of bob's peers" % caller_at.name,
                  lambda: all(p.node.addr4["ovl"] in str(caller_at.gateway.lookup("bob"))
                              for p in want), 5)
    one.forget()
    two.forget()
    alice.dial("sip:bob@%s" % caller_at.address)
    one.wait("CALL_INCOMING")
    two.wait("CALL_INCOMING")
    two.answer()
    alice.wait("CALL_ESTABLISHED")
    one.wait("CALL_CLOSED", timeout=3)
    # the caller's own peer keeps the one call that goes on
    keeps = 1 if first is caller_at else 0
    proc.wait_for("the loser's media at %s is released" % first.name,
                  lambda: len(first.media_calls()) <= keeps, 3)
    time.sleep(2)       # the length of the call
    alice.hangup()
    two.wait("CALL_CLOSED")
    scene.heard(alice, two, 2)
    scene.heard(two, alice, 2)
    s.quiet()


@tap.on(three)
def test_two_peers_ring_and_the_first_answer_wins(s):
    both_ring(s, s.a, s.b, s.c)


@tap.on(three)
def test_the_callers_own_peer_is_one_of_them(s):
    both_ring(s, s.a, s.b, s.a)


@tap.on(three)
def test_the_callers_own_peer_wins(s):
    both_ring(s, s.b, s.a, s.a)


@tap.on(three)
def test_cancel_reaches_all_of_them(s):
    one = s.phone("bob", s.a, node="bob1")
    two = s.phone("bob", s.b, node="bob2")
    alice = s.phone("alice", s.c)
    proc.wait_for("c finds both", lambda: len(s.c.gateway.lookup("bob") or []) == 2, 5)
    one.forget()
    two.forget()
    alice.dial("sip:bob@%s" % s.c.address)
    one.wait("CALL_INCOMING")
    two.wait("CALL_INCOMING")
    alice.hangup()
    one.wait("CALL_CLOSED", timeout=3)
    two.wait("CALL_CLOSED", timeout=3)
    s.quiet()


if __name__ == "__main__":
    tap.main(globals())
