#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""After thousands of calls and restarts of every part, orderly and by SIGKILL, in any order:
nothing of them is left on either side."""

import os
import random
import time

from rig import leftovers, overlay, proc, sipload, tap, world

USERS = 20
FIRST = {"a": 0, "b": 100}      # users' numbers
PORT = {"a": 5071, "b": 5072}   # where they are reached, at the node "callee"
CALL_MAX_S = 60                 # a call whose BYE was lost counts no longer than that
GONE_S = 150                    # nothing may be left then
CALLS = 10000
LAST_CALLS = 2000               # of these, with nothing restarted: memory is compared
RSS_KB = 1024                   # the daemons' memory may grow by, meanwhile


def two():
    return overlay.Overlay(2, prepare=prepare, cfg=configuration())


def configuration():
    """kamailio.cfg, but calls and dialogs whose end is never heard of are given up sooner."""
    with open(overlay.CFG, encoding="utf-8") as f:
        text = f.read()
    include = 'include_file "kamailio-p2psip.cfg"\n'
    for old, new in ((include, include.replace("kamailio-p2psip", world.SOURCE +
                                               "/cfg/kamailio-p2psip") +
                      'modparam("p2p_route", "call_max_s", %d)\n' % CALL_MAX_S),
                     ('"default_timeout", 43200', '"default_timeout", %d' % CALL_MAX_S),
                     ('"dialog", "dlg_match_mode", 1)', '"dialog", "dlg_match_mode", 1)\n'
                      'modparam("dialog", "early_timeout", 30)\n'
                      'modparam("dialog", "noack_timeout", 30)')):
        if text.count(old) != 1:
            raise proc.Failed("%r is in kamailio.cfg %d times" % (old, text.count(old)))
        text = text.replace(old, new)
    path = os.path.join(world.WORK, "leftovers.cfg")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def prepare(p):
    p.gateway.settings["sessions"] = {"lifetime_s": 30, "linger_s": 3}
    p.gateway.settings["peers"] = {"idle_s": 5}
    p.relay.settings["sweep"] = {"lease_s": 5, "media_timeout_s": 20, "ring_timeout_s": 30}
    p.kamailio.defines.append("WITH_DIALOG")
    p.kamailio.options += ["-x", "qm", "-X", "qm"]     # statistics of memory by module


def register(s, p):
    sipload.register(s.host("callee"), PORT[p.name], p, FIRST[p.name], USERS)


def found(s, p):
    """The other one finds p's users."""
    other = s.b if p is s.a else s.a
    for n in range(FIRST[p.name], FIRST[p.name] + USERS):
        s.found(sipload.user(n), other, 15)


def calls(s, count, rate):
    """count calls in each direction."""
    return [sipload.Calls(s.host("caller-" + frm.name), frm, s.host("callee"), PORT[to.name],
                          FIRST[to.name], USERS, count, rate, timeout=4000)
            for frm, to in ((s.a, s.b), (s.b, s.a))]


def restart(s, p, part, kill):
    program = getattr(p, part)
    if kill:
        program.kill()
    else:
        program.stop()
    program.start()
    if part == "kamailio":
        register(s, p)


def deck(s, rnd):
    """Each part of each site, killed and stopped, in any order."""
    out = [(p, part, kill) for p in s.peers for part in ("kamailio", "gateway", "relay")
           for kill in (False, True)]
    rnd.shuffle(out)
    return out


def same(what, before, after):
    if before != after:
        raise proc.Failed("%s: %s before, %s after" % (what, before, after))


def steady(s, count, rate):
    """Calls with nothing restarted: all go through, and cost no memory, socket or file. What is
    allocated once, at the first use, has been before."""
    for load in calls(s, 100, rate):
        load.finish(30)

    def state():
        leftovers.none(s.peers, GONE_S)
        return [(leftovers.memory(p), leftovers.files(p), leftovers.datagram_sockets(p),
                 leftovers.resident(p.gateway), leftovers.resident(p.relay)) for p in s.peers]
    before = state()
    for load in calls(s, count // 2, rate):
        got = load.finish(count / rate + 30)
        if got["ok"] != got["calls"]:
            raise proc.Failed("not all calls went through: %s" % got["responses"])
    for p, b, a in zip(s.peers, before, state()):
        (was, clients), (files, more) = b[1], a[1]
        if more > clients:      # a process of Kamailio's that was not connected yet
            was["kamailio"] = min(was["kamailio"] + more - clients, files["kamailio"])
        same(p.name + ": open files", was, files)
        same(p.name + ": UDP sockets", b[2], a[2])
        ours = {k: (b[0].get(k, 0), n) for k, n in a[0].items()
                if k.startswith("shm p2p_") and n > b[0].get(k, 0)}
        if ours:
            raise proc.Failed("%s: shared memory has grown (bytes): %s" % (p.name, ours))
        for what, was, is_now in (("gateway", b[3], a[3]), ("relay", b[4], a[4])):
            tap.say("%s: memory of the %s %d kB, %+d kB in %d calls" %
                    (p.name, what, is_now, is_now - was, count))
            if is_now - was > RSS_KB:
                raise proc.Failed("%s: the %s has grown by %d kB" % (p.name, what, is_now - was))


def sites(s):
    for p in s.peers:
        register(s, p)
        found(s, p)


@tap.on(two)
@tap.limit(300)
def test_restarts_between_calls_leave_nothing(s):
    sites(s)
    rnd = random.Random(2)
    for p, part, kill in deck(s, rnd)[:6]:
        for load in calls(s, 5, 20):
            load.finish(20)
        restart(s, p, part, kill)
    s.joined()
    for p in s.peers:
        found(s, p)
    leftovers.none(s.peers, GONE_S, ended=False)
    for load in calls(s, 10, 20):
        if load.finish(20)["ok"] != 10:
            raise proc.Failed("calls do not go through any more")
    leftovers.none(s.peers, GONE_S, ended=False)


@tap.on(two)
@tap.long
@tap.limit(3600)
def test_10000_calls_and_a_shuffle_of_restarts_leave_nothing(s):
    sites(s)
    rnd = random.Random(1)
    through = placed = restarts = 0
    todo = []
    while through < CALLS - LAST_CALLS:
        todo = todo or deck(s, rnd)
        loads = calls(s, 75, 40)
        time.sleep(rnd.uniform(0, 1.5))     # the moment is what is tested
        restart(s, *todo.pop())
        restarts += 1
        for load in loads:
            got = load.finish(30)
            through += got["ok"]
            placed += got["calls"]
        tap.check_processes()
    tap.say("%d restarts: %d of %d calls went through" % (restarts, through, placed))
    if placed > 1.5 * CALLS:
        raise proc.Failed("too many calls were lost to the restarts")
    s.joined()
    for p in s.peers:
        found(s, p)
    steady(s, LAST_CALLS, 40)


if __name__ == "__main__":
    tap.main(globals())
