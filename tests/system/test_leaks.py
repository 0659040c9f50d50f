#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Kamailio's memory, as its own per-module statistics see it, is the same before and after many
rounds of register, call, bye, de-register."""

from rig import enrolled, leftovers, overlay, proc, sipp, tap

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


WINDOWS = 4


def compare(s, rounds, count, counts=lambda key: True, strict=True):
    """Our shared memory may not grow at all, if strict. Other memory may be taken once more for good (a
    buffer that had to be larger, a cache of Kamailio's) - but what is lost with the rounds is lost
    in every window of count rounds: each key that counts has to go through one without growing."""
    rounds(s, 50)       # what is allocated once, at the first use
    before = [leftovers.memory(p) for p in s.peers]
    if not any(k.startswith("shm p2p_") for k in before[0]):
        raise proc.Failed("mod.stats tells nothing of our modules: %s" % sorted(before[0])[:9])
    growing = None      # {(peer, key): [bytes more in each window]}
    for _ in range(WINDOWS):
        rounds(s, count)
        after = [leftovers.memory(p) for p in s.peers]
        more = {(p.name, k): used - b.get(k, 0) for p, b, a in zip(s.peers, before, after)
                for k, used in a.items() if used > b.get(k, 0) and counts(k)}
        ours = ["%s: %s has %d bytes more" % (p, k, n) for (p, k), n in more.items()
                if k.startswith("shm p2p_")]
        if ours and strict:
            raise proc.Failed("after %d rounds:\n%s" % (count, "\n".join(ours)))
        if growing is None:
            growing = {x: [n] for x, n in more.items()}
        else:
            growing = {x: n + [more[x]] for x, n in growing.items() if x in more}
        if not growing:
            return
        before = after
    raise proc.Failed("grew in each of %d times %d rounds:\n%s" % (
        WINDOWS, count, "\n".join("%s: %s by %s bytes" % (p, k, n)
                                  for (p, k), n in growing.items())))


@tap.on(two)
@tap.limit(400)
def test_memory_is_the_same_after_100_rounds(s):
    compare(s, rounds, 100)


@tap.on(two)
@tap.long
@tap.limit(3600)
def test_memory_is_the_same_after_1000_rounds(s):
    compare(s, rounds, 1000)


def authenticated():
    def prepare(p):
        p.kamailio.options += ["-x", "qm", "-X", "qm"]
        p.kamailio.defines += ["WITH_P2P_AUTH"]
    s = enrolled.build(2, prepare=prepare)
    enrolled.add(s, "leak", "secret")
    for p in s.peers:
        proc.wait_for("%s's Kamailio knows the realm" % p.name, lambda p=p: p.kamailio.rpc(
            "p2p_usrloc.status")["realm"] == enrolled.REALM, 5)
    return s


@tap.on(authenticated)
def test_what_authenticates_is_given_back(s):
    """Requests that are suspended twice, for their user and for whom they are to; some of them with
    a wrong password."""
    def some(s, n):
        for i in range(n):
            s.a.kamailio.rpc("p2p_usrloc.cache_flush")
            to = "sip:nobody%d@%s" % (i, s.a.address)
            c = phone.challenged(s.a, "MESSAGE", uri=to)[0]
            r = phone.answer(s.a, c, "MESSAGE", uri=to, password="wrong" if i % 4 == 3 else None)
            if r.code != (407 if i % 4 == 3 else 404):
                raise proc.Failed(r.first)
            if i % 4 == 0 and phone.register(s.a).code != 200:
                raise proc.Failed("not registered")
        s.quiet(30)

    with enrolled.Phone(s, "leak", "secret") as phone:
        compare(s, some, 60, strict=False, counts=lambda key: key.startswith(
            ("shm p2p_", "shm tm", "shm core", "pkg")))


if __name__ == "__main__":
    tap.main(globals())
