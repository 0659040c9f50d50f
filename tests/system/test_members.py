#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is a member, and who of them lives: real gateways that find each other by addresses, by the
engine's seed keys, or by what they knew before; killed, stopped, cut off, and with clocks that are
wrong."""

import os
import signal
import time

from rig import enrol, overlay, pace, proc, scene, tap

N = 8


class Gateways(scene.Scene):
    """Gateways alone, each in its node."""

    def __init__(self, n, backend="none", emulate=None, secret=None):
        super().__init__(emulate)
        self.backend, self.secret = backend, secret or os.urandom(32).hex()
        self.gw = []
        for _ in range(n):
            self.add()

    def add(self, secret=None, start=True, bootstrap=None):
        node = self.node("abcdefghij"[len(self.gw)], self.ovl)
        address = node.addr4["ovl"]
        dht = ["%s:%d" % (self.gw[0].node.addr4["ovl"], overlay.DHT_PORT)] if self.gw else []
        g = overlay.Gateway(node, dht if self.backend == "opendht" else [], secret or self.secret,
                            uris=["sip:%s:5060" % address], backend=self.backend)
        g.settings["peers"] = {"listen": address}
        if self.backend == "none":
            g.settings["peers"]["bootstrap"] = bootstrap or \
                [self.gw[0].node.addr4["ovl"] if self.gw else address]
        self.gw.append(g)
        if start:
            g.start()
        return g

    def hit(self, g):
        if not hasattr(g, "hit"):
            g.hit = g.status()["hit"]
        return g.hit

    def members(self, g):
        """{HIT: state} of the others, as g sees them."""
        return {p["peer"]: p["member"] for p in g._scan("PEERS")}

    def whole(self, timeout=10, of=None, alive=None):
        of = of or self.gw
        want = alive or len(of)
        t0 = time.monotonic()
        last = [None]

        def all_alive():
            last[0] = [int(g.status()["members_alive"]) for g in of]
            return last[0] == [want] * len(of)
        try:
            proc.wait_for("all are members", all_alive, timeout, 0.05, [g.proc for g in of])
        except proc.Failed as e:
            raise proc.Failed("%s; they see %r" % (e, last[0])) from None
        return time.monotonic() - t0

    def until(self, victim, state, timeout, at=None):
        """Seconds until all others see it so."""
        at = [g for g in at or self.gw if g is not victim]
        hit, t0 = self.hit(victim), time.monotonic()
        proc.wait_for("%s is %s for all" % (victim.name, state),
                      lambda: all(self.members(g).get(hit) == state for g in at), timeout, 0.05)
        return time.monotonic() - t0

    def deaths(self):
        return sum(g.proc.text().count("is taken for dead") for g in self.gw)

    def close(self):
        for g in self.gw:
            if g.proc and g.proc.running():
                g.stop()
        super().close()


def demand(holds, text, *args):
    if not holds:
        raise proc.Failed(text % args)


def three():
    s = Gateways(3)
    s.whole()
    return s


def eight():
    s = Gateways(N)
    tap.say("%d members of one address: whole after %.1f s" % (N, s.whole()))
    for g in s.gw:
        s.hit(g)
    return s


def emulated():
    s = Gateways(N, emulate={"delay_ms": 10})
    s.whole(20)
    for g in s.gw:
        s.hit(g)
    return s


def engine():
    s = Gateways(4, "opendht")
    tap.say("by the engine's seed keys: whole after %.1f s" % s.whole(30))
    return s


@tap.on(three)
def test_one_address(s):
    """Three gateways without an engine form of one address; any of them may be restarted, the first
    one, too, and they find together without it."""
    for g in s.gw:
        s.hit(g)
    for g in s.gw:
        g.stop()
        took = s.until(g, "left", 3)
        tap.say("%s left: gone for all after %.2f s" % (g.name, took))
        g.start()
        s.whole(5)
    demand(not s.deaths(), "%d deaths", s.deaths())
    # the address that all were told is gone, and what they know is enough
    s.gw[0].stop()
    for g in s.gw[1:]:
        g.kill()
    for g in s.gw[1:]:
        g.start()
    s.whole(8, s.gw[1:])
    s.gw[0].start()
    s.whole(5)


def enrolled_three():
    s = overlay.Overlay(3, enrolled=True, media=False)
    for p in s.peers:
        proc.wait_for("%s has two others" % p.name, lambda p=p: alive(p.gateway) == 3, 15, 0.1)
    return s


def alive(g):
    return int(g.status()["members_alive"])


@tap.on(enrolled_three)
def test_revoked(s):
    """In an overlay with an authority: who is put out is no member any more, of nobody, and stays
    out; it is told so in one line."""
    out = s.c.gateway.status()["hit"]
    enrol.revoke(s.a, out)
    for p in (s.a, s.b):
        proc.wait_for("%s has one other" % p.name, lambda p=p: alive(p.gateway) == 2, 10, 0.1)
    time.sleep(3)
    demand([alive(p.gateway) for p in (s.a, s.b)] == [2, 2], "it came back")
    demand(any(p.gateway.proc.said("gateway of " + out, "is refused") for p in (s.a, s.b)),
           "nobody says that it is refused")


@tap.on(three)
def test_strangers(s):
    """Who does not have the secret is no member, whoever's address it has, and is told so in one
    line; and who comes with a record of another key is none either."""
    g = s.add(secret=os.urandom(32).hex())
    proc.wait_for("it is refused", lambda: any(x.proc.said("gateway of", "is refused")
                                               for x in s.gw[:3]), 10, 0.1)
    time.sleep(2)
    demand(int(g.status()["members_alive"]) == 1, "the stranger has members")
    demand([int(x.status()["members_alive"]) for x in s.gw[:3]] == [3] * 3, "it is a member")


@tap.on(engine)
def test_by_the_engine(s):
    """An overlay with the settings of before has its members."""
    g = s.add()
    tap.say("one more: known to all after %.1f s" % s.whole(15))
    s.hit(g)
    g.kill()
    took = s.until(g, "dead", 12)
    tap.say("killed: dead for all after %.1f s" % took)
    demand(pace.within(took, 8), "dead after %.1f s", took)


@tap.on(eight)
def test_killed(s):
    victim = s.gw[5]
    worst = 0
    for _ in range(3):
        victim.kill()
        took = s.until(victim, "dead", 15)
        worst = max(worst, took)
        time.sleep(0.5)
        victim.start()
        s.until(victim, "alive", 10)
    tap.say("killed: dead for all after at most %.1f s" % worst)
    demand(worst < 8, "dead for all after %.1f s", worst)
    demand(s.deaths() == 3 * (N - 1), "%d deaths", s.deaths())


@tap.on(eight)
def test_stopped(s):
    """Not dead but silent: suspected, taken for dead, and back when it goes on."""
    victim = s.gw[2]
    before = victim.proc.text().count("is taken for dead")
    victim.proc.signal(signal.SIGSTOP)
    others = [g for g in s.gw if g is not victim]
    took = s.until(victim, "dead", 20)
    time.sleep(3)
    victim.proc.signal(signal.SIGCONT)
    back = s.until(victim, "alive", 10)
    tap.say("stopped: dead for all after %.1f s; alive again %.1f s after it went on" %
            (took, back))
    demand(any(g.proc.said(s.hit(victim), "does not answer: suspect") for g in others),
           "it was never suspect")
    demand(victim.proc.text().count("is taken for dead") == before, "it took others for dead")
    demand(back < 5, "back after %.1f s", back)
    s.whole(5)


@tap.on(eight)
def test_idle(s):
    """What it costs when nothing happens."""
    time.sleep(2)
    ticks = os.sysconf("SC_CLK_TCK")

    def used(g):
        with open("/proc/%d/stat" % g.proc.pid, encoding="ascii") as f:
            v = f.read().rsplit(")", 1)[1].split()
        return (int(v[11]) + int(v[12])) / ticks
    before, t0 = [used(g) for g in s.gw], time.monotonic()
    time.sleep(10)
    spent = [(used(g) - b) / (time.monotonic() - t0) for g, b in zip(s.gw, before)]
    tap.say("idle, 8 members: %.2f%% of a core each" % (100 * sum(spent) / len(spent)))
    demand(sum(spent) / len(spent) < 0.01, "%r of a core", spent)


@tap.on(emulated)
def test_split(s):
    """The network is cut in two and heals."""
    left, right = s.gw[:4], s.gw[4:]
    for a in left:
        for b in right:
            s.ovl.down(a.node.name, b.node.name)
            s.ovl.down(b.node.name, a.node.name)
    s.whole(20, left, 4)
    s.whole(20, right, 4)
    for a in left:
        for b in right:
            s.ovl.up(a.node.name, b.node.name)
            s.ovl.up(b.node.name, a.node.name)
    took = s.whole(15)
    tap.say("healed: whole after %.1f s" % took)
    demand(pace.within(took, 8), "whole after %.1f s", took)


@tap.on(emulated)
def test_loss_and_clocks(s):
    """A tenth of the packets lost each way, and clocks a minute off: nobody is taken for dead."""
    for g, off in ((s.gw[1], 60), (s.gw[6], -60)):
        g.stop()
        g.clock_s = off
        g.start()
    s.whole(10)
    before = s.deaths()
    s.ovl.set(loss_pct=10, delay_ms=10)
    time.sleep(20)
    s.ovl.set(loss_pct=0, delay_ms=10)
    demand(s.deaths() == before, "%d deaths", s.deaths() - before)
    s.whole(10)


def calling():
    """Whole peers without an engine."""
    first = []

    def prepare(p):
        first.append(p.overlay_address)
        p.gateway.settings["overlay"]["holders"] = 5
        p.gateway.settings["peers"] = {"listen": p.overlay_address, "bootstrap": first[0]}
    s = overlay.Overlay(3, start=False, prepare=prepare, backend="none")
    for p in s.peers:
        p.start()
    for p in s.peers:
        proc.wait_for("%s has two others" % p.name,
                      lambda p=p: int(p.gateway.status()["members_alive"]) == 3, 15, 0.1,
                      [p.gateway.proc])
    return s


@tap.on(calling)
def test_calls_without_an_engine(s):
    """The gateways alone say where users are; also after one of them was restarted."""
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    got = scene.talk(alice, bob, "sip:bob@%s" % s.a.address, seconds=1.0)
    tap.say("a call rings after %.0f ms" % got["invite_to_ring_ms"])
    s.quiet()
    s.b.gateway.kill()
    s.b.gateway.start()
    s.c.gateway.kill()
    s.c.gateway.start()
    s.found("bob", s.a, 10)
    s.found("bob", s.c, 10)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, seconds=1.0)
    s.quiet()


if __name__ == "__main__":
    tap.main(globals())
