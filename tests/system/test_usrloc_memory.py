#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""p2p_usrloc's memory: the same over many rounds, kept in pieces, and valgrind's word."""

import os
import re
import subprocess

from rig import proc, tap
from rig.solo import LOOKUP_MODULES, LOOKUP_ROUTE, LOOKUP_ROUTES, PEER, Solo, need, solo


def rounds(s, first, n):
    for i in range(first, first + n):
        user = "mem%d" % (i % 200)
        s.sip.register(user)
        s.sip.ask("away%d" % (i % 100))
        s.sip.register(user, expires=0)


@tap.on(lambda: Solo(more=LOOKUP_MODULES % 30000, route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES,
                     options=["-x", "qm", "-X", "qm"]))
@tap.limit(300)
def test_memory_is_the_same_after_a_thousand_rounds(s):
    for i in range(50):
        s.gw.routes["away%d" % i] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]

    def settled():
        proc.wait_for("transactions are gone",
                      lambda: s.kam.rpc("tm.stats")["current"] == 0, 60, 0.5)
        proc.wait_for("all withdrawn and answered",
                      lambda: s.status()["withdrawn"] == 0 and s.status()["questions"] == 0
                      and s.status()["lookups"] == 0)
        shared = s.text("mod.stats", "p2p_usrloc", "shm")
        # of the pieces that are held back one may be a little larger than asked for
        return {k: n for k, n in re.findall(r"(\w+\(\d+\)): (\d+)", shared)
                if not k.startswith("shared_cut") or int(n) > 80 * 4096}, private(s)

    rounds(s, 0, 500)
    before = settled()
    need(len(before[0]) > 4, "no statistics: %r" % (before,))
    # Private memory keeps the buffers of as many connections as were once busy together, so that
    # it may grow by another one's; what is lost with the rounds is lost in every thousand.
    seen = [before]
    for n in range(4):
        rounds(s, 500 + n * 1000, 1000)
        after = settled()
        seen.append(after)
        need(before[0] == after[0], "shared memory: before %s\nafter %s" % (before, after))
        if after[1] <= seen[-2][1]:
            break
    tap.say("p2p_usrloc, shared: %s; client process, private: %s" % after)
    need(after[1] <= seen[-2][1], "private memory grew with each thousand rounds: %s"
         % [x[1] for x in seen])


def private(s):
    """Private memory that the client process uses."""
    table = s.text("core.psx")
    pid = re.search(r"PID: (\d+)\s+DSC: P2P USRLOC CLIENT", table)
    need(pid, "no client process: " + table)
    for entry in s.text("pkg.stats").split("}"):
        if re.search(r"pid: %s\b" % pid.group(1), entry):
            return int(re.search(r"\bused: (\d+)", entry).group(1))
    raise proc.Failed("no private memory of the client process")


def free_pieces(s):
    """How many pieces of shared memory are free; the same of each SIP worker's own memory."""
    workers = re.findall(r"PID: (\d+)\s+DSC: udp receiver", s.text("core.psx"))
    own = {re.search(r"pid: (\d+)", e).group(1): int(re.search(r"total_frags: (\d+)", e).group(1))
           for e in s.text("pkg.stats").split("}") if "pid:" in e}
    return s.kam.rpc("core.shmmem")["fragments"], [own[w] for w in workers]


@tap.on(solo)
def test_memory_is_kept_in_pieces_and_given_back(s):
    def used():
        m = s.kam.rpc("core.shmmem")
        return m["used"]

    proc.wait_for("pieces", lambda: free_pieces(s)[0] >= 48)
    need(min(free_pieces(s)[1]) >= 48, "own memory: %r" % (free_pieces(s),))
    s.sip.many(["piece%d" % i for i in range(50)])
    s.sip.many(["piece%d" % i for i in range(50)], expires=0)
    proc.wait_for("all withdrawn", lambda: s.status()["withdrawn"] == 0)
    before = used()
    for start in range(0, 2000, 500):
        s.sip.many(["piece%d" % i for i in range(start, start + 500)])
        proc.wait_for("there are pieces again", lambda: free_pieces(s)[0] >= 24)
    need(used() > before + 2000 * 300, "2000 users take %d bytes" % (used() - before))
    s.sip.many(["piece%d" % i for i in range(2000)], expires=0)
    proc.wait_for("all withdrawn", lambda: s.status()["withdrawn"] == 0)
    # pieces that are held back may have had to be a little larger
    proc.wait_for("all is given back", lambda: used() < before + 8192, 10)
    need(min(free_pieces(s)[1]) >= 48, "own memory: %r" % (free_pieces(s),))


@tap.on(lambda: Solo(more='modparam("p2p_usrloc", "memory_pieces", 0)'))
def test_no_pieces_when_they_are_not_wanted(s):
    s.sip.many(["piece%d" % i for i in range(50)])
    s.published("piece49")
    shared, own = free_pieces(s)
    need(shared < 40 and max(own) < 40, "%d, %r" % (shared, own))


@tap.on(lambda: Solo(options=["-x", "fm", "-X", "fm"]))
def test_other_allocators_are_left_alone(s):
    s.sip.many(["piece%d" % i for i in range(50)])
    s.published("piece49")
    need("shared_cut" not in s.text("mod.stats", "p2p_usrloc", "shm"), "pieces were cut")


@tap.limit(150)
@tap.long
def test_valgrind_finds_no_invalid_access():
    if subprocess.run(["which", "valgrind"], stdout=subprocess.DEVNULL, check=False).returncode:
        raise tap.Skip("valgrind is not installed")
    s = Solo(gateway=True, start=False, more=LOOKUP_MODULES % 0, route=LOOKUP_ROUTE,
             routes=LOOKUP_ROUTES)
    argv = s.kam.argv()
    # What other processes wrote to shared memory is undefined to valgrind: it sees one at a time.
    s.kam.argv = lambda: ["valgrind", "--trace-children=yes", "--undef-value-errors=no",
                          "--leak-check=full", "--show-leak-kinds=definite",
                          "--log-file=%s/valgrind.%%p" % s.kam.dir] + argv
    s.kam.start(wait=False)
    s.kam.ready(60)
    s.in_step(30)
    for i in range(0, 50, 2):
        s.gw.routes["away%d" % i] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    rounds(s, 0, 150)
    for mode in ("garbage", "nonsense", "close", "good"):
        s.gw.mode = mode
        for i in range(10):
            s.sip.ask("%s%d" % (mode, i))
    for command in ("status", "list", "show mem1", "stats", "cache", "peers", "sync",
                    "cache_flush"):
        s.text("p2p_usrloc." + command.split()[0], *command.split()[1:])
    s.close()
    logs = 0
    for name in os.listdir(s.kam.dir):
        if name.startswith("valgrind."):
            logs += 1
            with open(os.path.join(s.kam.dir, name), encoding="utf-8", errors="replace") as f:
                text = f.read()
            need("Invalid" not in text, "%s:\n%s" % (name, text[:3000]))
            need(not re.search(r"definitely lost: [1-9]", text) or "pul_" not in text,
                 "%s:\n%s" % (name, text[-3000:]))
    need(logs > 5, "%d logs of valgrind" % logs)


if __name__ == "__main__":
    tap.main(globals())
