#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated network: what it is told is what packets meet, and peers call each other over it."""

import re
import socket
import threading
import time

from rig import net, overlay, proc, scene, sipp, tap

RTT_MS = 20


class Nodes:
    """Eight nodes and nothing else."""

    def __init__(self):
        self.net = net.EmulatedNetwork("ovl", "198.51.100", "2001:db8:2")
        self.nodes = {x: net.Node(x, [self.net]) for x in "abcdefgh"}
        self.a, self.b = self.nodes["a"], self.nodes["b"]

    def check(self):
        self.net.up()
        tap.check_processes()

    def close(self):
        for n in self.nodes.values():
            n.remove()
        self.net.remove()


def nodes():
    return Nodes()


def ping(frm, to, count, interval=0.002, size=56, wait=1):
    """(received, [ms])"""
    out = frm.run("ping", "-n", "-c", str(count), "-i", str(interval), "-W", str(wait), "-s",
                  str(size), to, check=False, timeout=60).stdout
    times = [float(x) for x in re.findall(r"time=([\d.]+) ms", out)]
    return len(times), sorted(times)


def burst(frm, to, count, size=100, wait=1.0):
    """Datagrams one right after the other: [ms from the first one's start to each arrival]"""
    with to.inside():
        rx = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with frm.inside():
        tx = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with rx, tx:
        rx.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        rx.bind((to.addr4["ovl"], 9))
        rx.settimeout(wait)
        t0, out = time.monotonic(), []
        for _ in range(count):
            tx.sendto(bytes(size), (to.addr4["ovl"], 9))
        try:
            while len(out) < count:
                rx.recv(2000)
                out.append((time.monotonic() - t0) * 1000)
        except socket.timeout:
            pass
    return out


@tap.on(nodes)
def test_round_trip_time(s):
    s.net.set(delay_ms=RTT_MS / 2, loss_pct=0)
    for to in (s.b.addr4["ovl"], s.b.addr6["ovl"]):
        if ":" in to and not net.ipv6_works():
            continue
        got, times = ping(s.a, to, 100, 0.005)
        if got != 100:
            raise proc.Failed("%d of 100 came back from %s" % (got, to))
        tap.say("%s: median %.2f ms, least %.2f" % (to, times[50], times[0]))
        # nothing is early; what is late is the machine's
        if times[0] < RTT_MS or times[50] > RTT_MS + 3:
            raise proc.Failed("round trips of %.2f to %.2f ms" % (times[0], times[-1]))
    # of one pair in one direction
    s.net.set("a", "c", delay_ms=50)
    _, there = ping(s.a, s.nodes["c"].addr4["ovl"], 5, 0.01)
    _, other = ping(s.a, s.nodes["d"].addr4["ovl"], 5, 0.01)
    if there[0] < 50 + RTT_MS / 2 or other[-1] > 50:
        raise proc.Failed("a to c %s, a to d %s" % (there, other))
    s.net.set("a", "c", delay_ms=RTT_MS / 2)


@tap.on(nodes)
def test_loss_comes_at_its_rate(s):
    s.net.set(delay_ms=0, loss_pct=0)
    s.net.set("a", "b", loss_pct=10)
    before = s.net.stats("a", "b")
    got = sum(len(burst(s.a, s.b, 200, wait=0.3)) for _ in range(10))
    after = s.net.stats("a", "b")
    lost = after["lost"] - before["lost"]
    if after["packets"] - before["packets"] != 2000 or got != 2000 - lost:
        raise proc.Failed("%d sent, %d lost, %d arrived" %
                          (after["packets"] - before["packets"], lost, got))
    # 200 expected, the standard deviation is 13
    if not 140 <= lost <= 260:
        raise proc.Failed("%d of 2000 were lost, not a tenth" % lost)
    tap.say("%d of 2000 lost at 10%%" % lost)
    s.net.set("a", "b", loss_pct=0, burst_enter_pct=1, burst_leave_pct=20)
    got = sum(len(burst(s.a, s.b, 200, wait=0.3)) for _ in range(10))
    s.net.set("a", "b", burst_enter_pct=0)
    # 1/21 of the time is bad: 95 expected in some 19 bursts
    lost = s.net.stats("a", "b")["burst_lost"]
    if not 20 <= lost <= 250 or got != 2000 - lost:
        raise proc.Failed("%d of 2000 were lost in bursts, %d arrived" % (lost, got))


@tap.on(nodes)
def test_outage_and_end_of_it(s):
    s.net.set(delay_ms=1, loss_pct=0)
    s.net.down("a", "b")
    if ping(s.a, s.b.addr4["ovl"], 3, 0.01, wait=0.2)[0]:
        raise proc.Failed("a reaches b during the outage")
    if ping(s.a, s.nodes["c"].addr4["ovl"], 3, 0.01)[0] != 3:
        raise proc.Failed("the outage reaches c")
    s.net.up("a", "b")
    if ping(s.a, s.b.addr4["ovl"], 3, 0.01)[0] != 3:
        raise proc.Failed("the outage does not end")
    s.net.down("*", "*", 300)
    if ping(s.a, s.b.addr4["ovl"], 1, wait=0.1)[0]:
        raise proc.Failed("a reaches b during the short outage")
    proc.wait_for("the short outage ends",
                  lambda: ping(s.a, s.b.addr4["ovl"], 1, wait=0.1)[0], 2)


@tap.on(nodes)
def test_rate(s):
    """1028 bytes of IP at 822.4 kbit/s are 10 ms."""
    s.net.set(delay_ms=0, loss_pct=0)
    s.net.set("a", "b", rate_kbps=822.4, queue_ms=500)
    times = burst(s.a, s.b, 20, 1000)
    if len(times) != 20 or times[0] < 10 or not 200 <= times[-1] <= 230:
        raise proc.Failed("%d of 20, after %s ms" % (len(times), times))
    s.net.set("a", "b", queue_ms=95)
    times = burst(s.a, s.b, 20, 1000)
    s.net.set("a", "b", rate_kbps=0)
    # ten wait, and what the first ones leave free while the others are sent
    if not 10 <= len(times) <= 12:
        raise proc.Failed("%d of 20 went through a queue of 95 ms" % len(times))


@tap.on(nodes)
def test_all_pairs_at_once(s):
    s.net.set(delay_ms=RTT_MS / 2, loss_pct=0)
    before = s.net.stats()
    bad = []

    def one(frm, to):
        got, times = ping(frm, to.addr4["ovl"], 50, 0.01, 200)
        if got != 50 or times[0] < RTT_MS:
            bad.append("%s to %s: %d of 50" % (frm.name, to.name, got))
    all_nodes = list(s.nodes.values())
    threads = [threading.Thread(target=one, args=(f, t))
               for f in all_nodes for t in all_nodes if f is not t]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if bad:
        raise proc.Failed("; ".join(bad))
    after = s.net.stats()
    if after["packets"] - before["packets"] < 56 * 100 or \
       any(after[k] != before[k] for k in after if k.endswith("lost")):
        raise proc.Failed("%s, then %s" % (before, after))


def far_apart():
    return overlay.Overlay(2, emulate={"delay_ms": RTT_MS / 2})


@tap.on(far_apart)
@tap.limit(90)
def test_call_over_it(s):
    bob, alice = s.phone("bob", s.b), s.phone("alice", s.a)
    s.found("bob", s.a)
    got = scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 3)
    scene.heard(alice, bob, 3)
    scene.heard(bob, alice, 3)
    tap.say("rings after %.0f ms at a round trip of %d" % (got["invite_to_ring_ms"], RTT_MS))
    if got["invite_to_ring_ms"] < RTT_MS / 2:
        raise proc.Failed("the INVITE did not go through the emulator")
    if s.ovl.stats("a", "b")["packets"] < 100:
        raise proc.Failed("the media did not go through the emulator")
    s.quiet()


@tap.on(far_apart)
@tap.limit(120)
def test_calls_with_loss(s):
    """1% lost: SIP over UDP sends again, every call is made. They last long enough for an answer to
    be sent again whose ACK was lost: a BYE before that is another matter."""
    users = ["lossy%d" % i for i in range(5)]
    sipp.register_many(s.host("callee"), s.b.address, users)
    for u in users:
        s.found(u, s.a)
    s.ovl.set(loss_pct=1)
    uas = sipp.Sipp(s.host("callee"), sipp.answer_scenario(5), calls=100)
    uac = sipp.Sipp(s.host(), sipp.call_scenario(4000), s.a.address, [("c", u) for u in users],
                    calls=100, rate=20)
    uac.finish(60)
    uas.finish(60)
    s.ovl.set(loss_pct=0)
    if not s.ovl.stats()["lost"]:
        raise proc.Failed("nothing was lost")
    s.quiet(40)


if __name__ == "__main__":
    tap.main(globals())
