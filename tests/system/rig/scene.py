# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenes: the networks, servers and phones a test plays with."""

import time

from . import audio, net, phone, proc, peer, tap


class Scene:
    """Two networks: `ua`, where phones are, and `ovl`, between the servers.

    emulate: what the network between the servers does to packets, as net.EmulatedNetwork.set()
    takes it; None for a bridge.
    """

    def __init__(self, emulate=None):
        self.ua = net.Network("ua", "192.0.2", "2001:db8:1")
        if emulate is None:
            self.ovl = net.Network("ovl", "198.51.100", "2001:db8:2")
        else:
            self.ovl = net.EmulatedNetwork("ovl", "198.51.100", "2001:db8:2")
            self.ovl.set(**emulate)
        self.nodes = {}
        self.peers = []
        self.phones = []

    def node(self, name, *networks):
        self.nodes[name] = net.Node(name, networks or (self.ua,))
        return self.nodes[name]

    def phone(self, user, at, **kw):
        """A phone of user, at a peer; waits until it is registered unless expires=0."""
        name = kw.pop("node", user)
        node = self.nodes.get(name) or self.node(name)
        kw.setdefault("name", "phone-%s" % name)
        p = phone.Phone(node, user, kw.pop("domain", at.address), **kw)
        self.phones.append(p)
        if kw.get("expires", 600):
            p.registered()
        return p

    def host(self, name="load"):
        """A node on the phones' network for sipp; made once."""
        return self.nodes.get(name) or self.node(name)

    def drop(self, p, kill=False):
        """The phone is put away, and its node with it."""
        if kill:
            p.kill()
        else:
            p.stop()
        self.phones.remove(p)
        self.nodes.pop(p.node.name).remove()

    def check(self):
        """After each test: phones put away, nothing died."""
        for p in list(self.phones):
            self.drop(p)
        tap.check_processes()

    def close(self):
        for p in list(self.phones):
            self.drop(p)
        for x in self.peers:
            x.stop()
        for n in self.nodes.values():
            n.remove()
        self.nodes.clear()
        for n in (self.ua, self.ovl):
            n.remove()
        tap.check_processes()


def talk(caller, callee, target, seconds=4.0, hangup=None):
    """A whole call with audio both ways; returns what can be measured of it."""
    callee.forget()
    t0 = time.monotonic()
    caller.dial(target)
    callee.wait("CALL_INCOMING", timeout=15)
    t1 = time.monotonic()
    callee.answer()
    callee.wait("CALL_ESTABLISHED")
    caller.wait("CALL_ESTABLISHED")
    t2 = time.monotonic()
    # The length of the call is what is tested here, not something waited for.
    time.sleep(seconds)
    (hangup or caller).hangup()
    for p in (caller, callee):
        if p is not (hangup or caller):
            p.wait("CALL_CLOSED")
    return {"invite_to_ring_ms": (t1 - t0) * 1000, "answer_to_established_ms": (t2 - t1) * 1000,
            "seconds": seconds}


def heard(frm, to, seconds, least=0.95):
    """Demands that `to` received what `frm` sent; returns the correlation."""
    got = to.heard()
    c, _ = audio.match(frm.sent, got)
    if c < least:
        raise proc.Failed("%s heard %s with a correlation of %.3f, below %g (%.2f s recorded)" %
                          (to.name, frm.name, c, least, len(got) / audio.RATE))
    if len(got) < (seconds - 0.5) * audio.RATE:
        raise proc.Failed("%s heard only %.2f of %.1f s" % (to.name, len(got) / audio.RATE,
                                                            seconds))
    return c


def stock_pair():
    """Two stock servers, a with a static way to b."""
    s = Scene()
    a, b = s.node("a", s.ua, s.ovl), s.node("b", s.ua, s.ovl)
    s.a = peer.StockPeer(a, nexthop=b.addr4["ovl"])
    s.b = peer.StockPeer(b)
    s.peers = [s.a, s.b]
    for p in s.peers:
        p.start()
    return s
