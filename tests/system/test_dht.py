#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gateways alone, on a real DHT: how soon a user is found elsewhere, what is known and what is not
while peers come and go, and what strangers can do."""

import os
import socket
import statistics
import time

from rig import net, overlay, proc, resp, scene, tap


class Gateways(scene.Scene):
    """Gateways 0, 1, 2 ... of one overlay, joined, each with a client that shook hands."""

    def __init__(self, count=3, ipv6=False, join=True):
        super().__init__()
        if ipv6 and not net.ipv6_works():
            raise tap.Skip("no IPv6 in this kernel")
        self.ipv6 = ipv6
        self.secret = os.urandom(32).hex()
        self.gw, self.cl = [], []
        for _ in range(count):
            self.add()
        if join:
            self.joined()

    def add(self, secret=None, bootstrap=None):
        node = self.node("abcdefgh"[len(self.gw)], self.ovl)
        if bootstrap is None:
            bootstrap = [self.address(self.gw[0])] if self.gw else []
        uri = "sip:%s:5060;transport=udp" % (
            "[%s]" % node.addr6["ovl"] if self.ipv6 else node.addr4["ovl"])
        g = overlay.Gateway(node, bootstrap, secret or self.secret, self.ipv6, [uri])
        self.gw.append(g.start())
        self.cl.append(self.client(g))
        return g

    def client(self, g, instance=None):
        c = resp.Client(g.socket, 20)
        c("HANDSHAKE", "2", "test", instance or "instance-" + g.node.name)
        return c

    def address(self, g):
        n = g.node
        return "[%s]:%d" % (n.addr6["ovl"], overlay.DHT_PORT) if self.ipv6 else \
            "%s:%d" % (n.addr4["ovl"], overlay.DHT_PORT)

    def joined(self, timeout=15):
        for g in self.gw:
            proc.wait_for("%s knows the others" % g.name,
                          lambda g=g: self.nodes_of(g) >= len(self.gw) - 1, timeout, 0.05, [g.proc])
        # and who has all records that it holds can say that there is none
        for g in self.gw:
            proc.wait_for("%s has what it holds" % g.name, lambda g=g: self.holds(g), timeout, 0.05, [g.proc])

    def holds(self, g):
        st = g.status()
        return int(st["members_alive"]) >= len(self.gw) and int(st["arcs_unsynced"]) == 0

    @staticmethod
    def nodes_of(g):
        st = g.status()
        return int(st["dht_nodes_ipv4"]) + int(st["dht_nodes_ipv6"])

    def publish(self, i, names, seq=[0]):       # pylint: disable=dangerous-default-value
        c = self.cl[i]
        for n in names:
            seq[0] += 1
            c.send("PUBLISH", n, seq[0])
        for _ in names:
            if c.reply() != "OK":
                raise proc.Failed("PUBLISH was not taken")

    def withdraw(self, i, name):
        self.publish(i, [])
        self.cl[i]("WITHDRAW", name, 1 << 40)

    def route(self, i, name, deadline=3000):
        """(ms, candidates | code word of the error)"""
        begun = time.monotonic()
        try:
            out = self.cl[i]("ROUTE", name, deadline, "FRESH")
        except resp.Error as e:
            out = e.code
        return (time.monotonic() - begun) * 1000, out

    def found(self, i, name, timeout=5):        # pylint: disable=arguments-renamed
        return proc.wait_for("%s finds %s" % (self.gw[i].name, name),
                             lambda: isinstance(self.route(i, name)[1], list), timeout, 0.005)

    def settled(self, i, timeout=20):
        proc.wait_for("%s has published all" % self.gw[i].name,
                      lambda: self.gw[i].unpublished() == 0, timeout, 0.02, [self.gw[i].proc])

    def again(self, i):
        """Started again after a kill."""
        self.cl[i].close()
        self.gw[i].start()
        self.cl[i] = self.client(self.gw[i])

    def close(self):
        for c in self.cl:
            c.close()
        for g in self.gw:
            if g.proc and g.proc.running():
                g.stop()
        super().close()


def three():
    return Gateways(3)


def eight():
    return Gateways(8)


def three6():
    return Gateways(3, ipv6=True)


def say_times(what, ms):
    ms = sorted(ms)
    tap.say("%s: p50 %.1f, p90 %.1f, max %.1f ms" %
            (what, statistics.median(ms), ms[int(len(ms) * 0.9)], ms[-1]))


def visible_and_found(s, count=30):
    ms = []
    for n in range(count):
        begun = time.monotonic()
        s.publish(0, ["seen%d" % n])
        s.found(1, "seen%d" % n)
        ms.append((time.monotonic() - begun) * 1000)
    say_times("PUBLISH to found at another peer", ms)
    s.settled(0)
    names = ["cold%d" % n for n in range(100)]
    s.publish(0, names)
    s.settled(0)
    ms = []
    for n, name in enumerate(names):
        t, out = s.route(1 + n % (len(s.gw) - 1), name)
        if not isinstance(out, list):
            raise proc.Failed("%s: %s" % (name, out))
        ms.append(t)
    say_times("ROUTE of users not read before", ms)
    ms = []
    for n in range(20):
        t, out = s.route(1, "nobody%d" % n)
        if out != "NOTFOUND":
            raise proc.Failed("nobody: %s" % out)
        ms.append(t)
    say_times("ROUTE of users that are nowhere", ms)


@tap.on(three)
def test_published_users_are_found_three_peers(s):
    visible_and_found(s)


@tap.on(eight)
def test_published_users_are_found_eight_peers(s):
    visible_and_found(s)


@tap.on(three6)
def test_published_users_are_found_ipv6(s):
    visible_and_found(s, 5)


@tap.on(three)
def test_withdrawn_users_are_gone(s):
    s.publish(0, ["leaves"])
    s.found(1, "leaves")
    begun = time.monotonic()
    s.withdraw(0, "leaves")
    proc.wait_for("leaves is gone", lambda: s.route(1, "leaves")[1] == "NOTFOUND", 5, 0.01)
    tap.say("NOTFOUND %.0f ms after WITHDRAW" % ((time.monotonic() - begun) * 1000))
    # and back
    s.publish(1, ["leaves"])
    s.found(2, "leaves")


@tap.on(three)
def test_second_serving_peer_is_told_to_the_first(s):
    s.publish(0, ["both"])
    s.settled(0)
    with resp.Client(s.gw[0].socket, 10) as sub:
        sub("SUBSCRIBE", "users")
        begun = time.monotonic()
        s.publish(1, ["both"])
        if sub.reply()[1:] != ["users", "both"]:
            raise proc.Failed("another message")
        tap.say("told after %.0f ms" % ((time.monotonic() - begun) * 1000))
    if len(s.route(0, "both")[1]) != 1 or len(s.route(2, "both")[1]) != 2:
        raise proc.Failed("not each peer finds the others")


@tap.on(three)
def test_five_hundred_users_again_within_5s_of_a_kill(s):
    names = ["u%d" % n for n in range(500)]
    s.publish(0, names)
    s.settled(0)
    s.gw[0].kill()
    begun = time.monotonic()
    s.again(0)
    s.settled(0, 5)
    tap.say("500 users were put again and read back %.2f s after the start" %
            (time.monotonic() - begun))
    # Kamailio names them again, as one that was started anew: nothing is lost, nobody an orphan
    s.cl[0].close()
    s.cl[0] = s.client(s.gw[0], "another")
    s.publish(0, names)
    s.cl[0]("SYNCED", len(names))
    for n in names:
        if s.cl[0]("SERVES", n) != 1:
            raise proc.Failed("%s is an orphan" % n)
    s.settled(0)


@tap.on(three)
def test_a_gateway_without_its_state_makes_nobody_absent(s):
    names = ["u%d" % n for n in range(1000)]
    s.publish(0, names)
    s.settled(0)
    epoch = s.gw[0].status()["epoch"]
    s.gw[0].kill()
    for name in ("epoch", "users.journal"):
        os.unlink(os.path.join(s.gw[0].state, name))
    s.again(0)
    if s.gw[0].status()["epoch"] == epoch:
        raise proc.Failed("no new epoch")
    s.publish(0, names)     # Kamailio names all; they are put one after the other
    asked = lapsed = 0
    while s.gw[0].unpublished() > 0:
        name = names[-1 - asked % len(names)]
        out = s.route(1, name)[1]
        if not isinstance(out, list):
            raise proc.Failed("%s: %s, though it is registered" % (name, out))
        asked += 1
        lapsed += int(out[0][3]) & 1
    tap.say("%d asked about meanwhile, %d of them named as lapsed" % (asked, lapsed))
    if not asked:
        raise tap.Skip("all were put before anybody asked")
    s.settled(0)
    for name in names[:50]:
        if int(s.route(1, name)[1][0][3]) & 1:
            raise proc.Failed("%s is lapsed though it was put again" % name)


@tap.on(three)
def test_a_dead_peer_hides_nobody(s):
    names = ["u%d" % n for n in range(50)]
    s.publish(0, names)
    s.publish(2, ["dead"])
    s.settled(0)
    s.settled(2)
    s.gw[2].kill()
    ms = []
    for n in names:
        t, out = s.route(1, n)
        if not isinstance(out, list):
            raise proc.Failed("%s: %s, though it is registered" % (n, out))
        ms.append(t)
    say_times("ROUTE with a dead node among three", ms)
    # its own user is still named: whether it lives shows when it is called
    if not isinstance(s.route(1, "dead")[1], list):
        raise proc.Failed("the dead peer's user was forgotten at once")
    # absence is said by a search that was completed, or not at all
    ms, out = s.route(1, "nobody", 5000)
    tap.say("nobody: %s after %.0f ms" % (out, ms))
    if out not in ("NOTFOUND", "TIMEOUT"):
        raise proc.Failed(out)
    s.again(2)
    s.found(2, "u1")


def one():
    return Gateways(1, join=False)


@tap.on(one)
def test_the_first_peer_is_complete_alone_and_tells_who_comes(s):
    if s.gw[0].status()["dht_state"] != "alone":
        raise proc.Failed("not alone")
    ms, out = s.route(0, "nobody")
    if out != "NOTFOUND":
        raise proc.Failed("%s after %.0f ms" % (out, ms))
    s.publish(0, ["early"])
    s.add()
    s.joined()
    s.found(1, "early")


def another():
    return Gateways(1, join=False)


@tap.on(another)
def test_without_the_others_absence_is_unknown(s):
    s.add(bootstrap=["198.51.100.250"])     # nobody is there
    ms, out = s.route(1, "nobody", 500)
    if out != "TIMEOUT" or not 450 < ms < 1500:
        raise proc.Failed("%s after %.0f ms" % (out, ms))


@tap.on(three)
def test_strangers(s):
    """A gateway that does not hold the secret, and one that sends garbage."""
    s.publish(0, ["alice"])
    s.settled(0)
    s.add(secret=os.urandom(32).hex())
    if isinstance(s.route(3, "alice", 1000)[1], list):
        raise proc.Failed("a stranger reads our users")
    s.publish(3, ["mallory"])
    time.sleep(1)
    if s.route(0, "mallory")[1] != "NOTFOUND":
        raise proc.Failed("a stranger's user is found")
    with s.gw[3].node.inside():
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for n in range(2000):
            u.sendto(os.urandom(1 + n % 1200), (s.gw[0].node.addr4["ovl"], overlay.DHT_PORT))
        u.close()
    if not isinstance(s.route(1, "alice")[1], list):
        raise proc.Failed("garbage took the users away")
    if s.gw[0].status()["dht_state"] != "connected":
        raise proc.Failed("garbage took the connection away")


if __name__ == "__main__":
    tap.main(globals())
