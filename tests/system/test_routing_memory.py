#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of the modules, shared and private, over many rounds of everything."""
import re
import sys
import time

from rig.routing import Kamailio, main, test
from rig.routing_base import DEAD, E, F, RUN, check, equal, sip, wait_for
from rig.routing_phone import Phone


def memory(k):
    """Shared memory per place of allocation, and each process's private memory."""
    shm, module = {}, ""
    for line in (k.rpc("mod.stats", "all", "shm") or "").splitlines():
        m = re.match(r"Module: (\S+)", line)
        if m:
            module = m.group(1)
        m = re.match(r"\s*(\S+\(\d+\)): (-?\d+)", line)
        if m:
            shm[module + " " + m.group(1)] = shm.get(module + " " + m.group(1), 0) \
                + int(m.group(2))
    pkg = {}
    for x in re.findall(r"\{(.*?)\}", k.rpc("pkg.stats") or "", re.S):
        f = dict(re.findall(r"(\w+): (\S+)", x))
        pkg[f["desc"] + f["pid"] if "desc" in f else f["pid"]] = int(f["used"])
    return shm, pkg


@test
def t_memory(w):
    """memory, shared and private: the same before and after many rounds of everything"""
    # room for all transactions of the long run, which may end sooner than tm forgets the first
    options = ["-x", "qm", "-X", "qm", "-m", "256"]
    e = Kamailio("e", E, "2001:22:e:1::e", options=options)
    f = Kamailio("f", F, "2001:22:f:1::f", options=options)
    for k in (e, f):
        k.gateway.peers = {e.hit: e.uris(), f.hit: f.uris()}
    alice, bob = Phone("10.88.0.63", "alice"), Phone("10.88.0.64", "bob")
    alice.answer["INVITE"] = [(0, 200)]
    bob.register(f)
    g = f.gateway
    g.users = {"alice": [(e.hit, e.uris(), {})], "ghost": [(e.hit, e.uris(), {})],
               "dead": [("2001:22:d:9::1", ["sip:%s:5060" % DEAD], {})],
               "lazy": [(e.hit, e.uris(), {})]}
    # "nowhere" does not exist; "slow" is not found in time
    g.error["slow"] = "TIMEOUT search not completed"

    def ask(user, method="INVITE"):
        return bob.send(method, sip(user), (F, 5060))

    def round_of(i):
        alice.register(e)
        if i % 10 == 0:
            bob.register(f)     # a refresh
        if i % 3 == 0:
            g.publish("users", "alice")
        c = ask("alice")
        equal(c.final().code, 200, "INVITE")
        c.bye()
        equal(ask("nowhere").final().code, 404, "INVITE to nowhere")
        equal(ask("alice", "MESSAGE").final().code, 200, "MESSAGE")
        if i % 4 == 0:
            equal(ask("ghost").final().code, 404, "INVITE to a stale record")
            equal(ask("slow").final().code, 480, "INVITE, search not completed")
        if i % 25 == 0:
            check(ask("dead").final().code == 503, "INVITE to a dead peer")
            g.delay["lazy"] = 0.2
            g.publish("users", "lazy")
            time.sleep(0.02)
            c = ask("lazy")
            c.code(100)
            c.cancel()
            equal(c.final().code, 487, "cancelled INVITE")
            g.delay.clear()
        alice.register(e, expires=0)
        bob.calls.clear()
        del alice.requests[:], bob.requests[:]
        alice.calls.clear()

    def drained():
        for k in (e, f):
            wait_for(k.name + ": transactions end", k.idle, 60)
        time.sleep(6)       # tcp and usrloc timers
        return [memory(k) for k in (e, f)]

    for i in range(40):
        round_of(i)
    before = drained()
    for i in range(RUN.rounds):
        round_of(i)
    after = drained()
    grown = []
    for k, b, a in zip((e, f), before, after):
        for part in (0, 1):
            for what in sorted(set(b[part]) | set(a[part])):
                d = a[part].get(what, 0) - b[part].get(what, 0)
                if d != 0:
                    grown.append((k.name, ("shm", "pkg")[part], what, d))
    for x in grown:
        print("# %s %s %s: %+d" % x)
    check(before[0][0] and before[0][1], "no statistics")
    # a Call-ID one digit longer is no leak; a byte for each round is. p2p_usrloc holds 64 pieces of
    # 4,096 bytes; q_malloc leaves up to 104 bytes more on each, where it cannot make a piece of them
    slack = {"p2p_usrloc shared_cut": 64 * 104}
    bad = [x for x in grown if x[3] - slack.get(x[2].split("(")[0], 0) >= 16 * RUN.rounds]
    equal(bad, [], "grown in %d rounds" % RUN.rounds)
    for k in (e, f):
        k.stop()


if __name__ == "__main__":
    sys.exit(main(with_world=False))
