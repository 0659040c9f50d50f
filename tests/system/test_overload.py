#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""More than can be done: what a peer turns down is turned down at once and with 503, what it answers
is right, nobody is taken for dead because we are late, and when it is over all is as before.

A machine's size decides what is too much. So here gateways are late by as much on any of them: they
are stopped for four fifths of the time, and are as late as one that has five times as much to do as
it can."""

import contextlib
import os
import signal
import threading
import time

from rig import location, proc, tap

USERS = 400
STOPPED_S, RUNS_S = 0.4, 0.1   # longer than a question may take ([peers] ask_ms)


def four():
    return location.Location(4)


def demand(holds, text, *args):
    if not holds:
        raise proc.Failed(text % args)


def metric(p, name):
    """The sum over its labels."""
    values = [float(x.rsplit(" ", 1)[1]) for x in p.gateway.ask("METRICS", timeout=20).splitlines()
              if x.split("{")[0].split(" ")[0] == "p2psip_gateway_" + name]
    demand(values, "no such metric: %s", name)
    return sum(values)


@contextlib.contextmanager
def late(peers):
    """While it is entered, their gateways run for a fifth of the time only."""
    over = threading.Event()
    pids = [p.gateway.proc.pid for p in peers]

    def stutter():
        while not over.is_set():
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            time.sleep(RUNS_S)
    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def say(what, got):
    tap.say("%s: %r; arrived p50 %.0f, max %.0f ms; refused p50 %.0f, max %.0f ms" % (
        what, got["responses"], got["arrival_ms"].get("p50", 0), got["arrival_ms"].get("max", 0),
        got["refusal_ms"].get("p50", 0), got["refusal_ms"].get("max", 0)))


@tap.on(four)
@tap.limit(120)
def test_who_is_late_turns_down_some_and_doubts_nobody(s):
    others = s.peers[1:]
    s.register(s.a, 0, USERS)
    s.settled(0, USERS, [s.b])
    with late(others):
        time.sleep(1)
        # half of whom nobody here has asked for yet
        s.register(s.a, USERS, USERS, rate=200)
        got = s.lookup(others, 0, 2 * USERS, 800, 200, timeout=4000)
    say("late", got)
    demand(set(got["responses"]) <= {"200", "480", "503", "none"}, "wrong answers: %r",
           got["failures"][:5])
    demand(got["responses"].get("503", 0) > 0, "nothing was turned down: %r", got["responses"])
    ended = time.monotonic()
    for p in others:
        proc.wait_for("%s is not behind any more" % p.name,
                      lambda p=p: p.gateway.status()["overloaded"] == "no", 10, 0.05)
    for p in others:
        s.settled(0, 2 * USERS, [p], 10)
    tap.say("all is found again after %.1f s, at three peers" % (time.monotonic() - ended))
    for p in s.peers:
        demand(metric(p, "member_suspicions_total") == 0, "%s doubted others", p.name)
        demand(metric(p, "breaker_opened_total") == 0, "%s left others alone", p.name)
        demand(p.gateway.status()["members_alive"] == "4", "%s misses some", p.name)
    tap.say("turned down %d, of deadlines %d were ours" % (
        sum(metric(p, "limits_reached_total") for p in others),
        sum(metric(p, "timeouts_ours_total") for p in others)))


if __name__ == "__main__":
    tap.main(globals())
