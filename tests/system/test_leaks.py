#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Kamailio's memory, as its own per-module statistics see it, is the same before and after many
rounds of register, call, bye, de-register."""

import re

from rig import overlay, proc, sipp, tap

USERS = 10


def two():
    def debug_memory(p):
        p.kamailio.options += ["-x", "qm", "-X", "qm"]
    return overlay.Overlay(2, prepare=debug_memory)


def rounds(s, count):
    """count rounds, USERS at a time."""
    users = ["leak%d" % i for i in range(USERS)]
    for _ in range(count // USERS):
        sipp.register_many(s.host("callee"), s.b.address, users)
        proc.wait_for("all are found", lambda: all(s.a.gateway.lookup(u) for u in users), 10)
        uas = sipp.Sipp(s.host("callee"), sipp.answer_scenario(5), calls=USERS)
        uac = sipp.Sipp(s.host(), sipp.call_scenario(50), s.a.address,
                        [("c%d" % i, u) for i, u in enumerate(users)], calls=USERS, rate=50)
        uac.finish()
        uas.finish()
        sipp.register_many(s.host("callee"), s.b.address, users, expires=0)
        proc.wait_for("all are gone",
                      lambda: not any(s.a.gateway.lookup(u) for u in users), 10)
    s.quiet(30)


def memory(p):
    """{what: bytes}: shared memory by module, private memory by process."""
    out = {}
    for name, total in re.findall(r"^Module: (\S+)\n\{.*?^\tTotal: (\d+)",
                                  p.kamailio.text("mod.stats", "all", "shm"), re.M | re.S):
        out["shm " + name] = int(total)
    for x in p.kamailio.rpc("pkg.stats"):
        out["pkg %s (%s)" % (x["entry"], x["desc"])] = x["used"]
    return out


def allowed(key, count):
    """Our shared memory: not a byte. Kamailio's own: less than a byte a round (it caches).
    Private memory: a few output buffers, which grow by steps of 16 KiB and stay."""
    if key.startswith("shm p2p_"):
        return 0
    return count if key.startswith("shm ") else 65536 + count


def compare(s, count):
    rounds(s, 50)       # what is allocated once, at the first use
    before = [memory(p) for p in s.peers]
    if not any(k.startswith("shm p2p_") for k in before[0]):
        raise proc.Failed("mod.stats tells nothing of our modules: %s" % sorted(before[0])[:9])
    rounds(s, count)
    grown = []
    for p, b in zip(s.peers, before):
        for key, used in memory(p).items():
            more = used - b.get(key, 0)
            if more > allowed(key, count):
                grown.append("%s: %s has %d bytes more" % (p.name, key, more))
    if grown:
        raise proc.Failed("after %d rounds:\n%s" % (count, "\n".join(grown)))


@tap.on(two)
@tap.limit(240)
def test_memory_is_the_same_after_100_rounds(s):
    compare(s, 100)


@tap.on(two)
@tap.long
@tap.limit(3600)
def test_memory_is_the_same_after_1000_rounds(s):
    compare(s, 1000)


if __name__ == "__main__":
    tap.main(globals())
