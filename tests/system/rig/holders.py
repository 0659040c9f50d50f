# SPDX-License-Identifier: GPL-2.0-or-later
"""Gateways of one overlay, each with a client that speaks as Kamailio's modules do."""

import os
import time

from . import overlay, proc, resp, scene

HOLDERS = 5
PER_PEER = 5000       # records of one peer that another holds


class Holders(scene.Scene):
    """count gateways; each knows all others, and holds what is its to hold."""

    def __init__(self, count=8, emulate=None, clocks=(), per_peer=PER_PEER):
        super().__init__(emulate)
        self.secret = os.urandom(32).hex()
        self.gw, self.cl = [], []
        self.seq = 0
        for i in range(count):
            node = self.node("abcdefghijkl"[i], self.ovl)
            g = overlay.Gateway(node, ["%s:%d" % (self.gw[0].node.addr4["ovl"], overlay.DHT_PORT)]
                                if self.gw else [], self.secret, False,
                                ["sip:%s:5060;transport=udp" % node.addr4["ovl"]])
            g.settings["overlay"]["holders"] = HOLDERS
            g.settings["limits"] = {"held_per_peer_max": per_peer}
            g.clock_s = dict(clocks).get(i, 0)
            self.gw.append(g.start())
            self.cl.append(self.client(g))
        self.joined()

    def client(self, g, instance=None):
        c = resp.Client(g.socket, 20)
        c("HANDSHAKE", "2", "test", instance or "instance-" + g.node.name)
        c("SYNCED", 0)
        return c

    def running(self):
        return [i for i, g in enumerate(self.gw) if g.proc.running()]

    def number(self, i, key):
        return int(self.gw[i].status()[key])

    def joined(self, timeout=30):
        """All know all, and have what is theirs."""
        living = self.running()
        for i in living:
            proc.wait_for("%s knows the others" % self.gw[i].name,
                          lambda i=i: self.number(i, "members_alive") >= len(living), timeout, 0.05,
                          [self.gw[i].proc])
        for i in living:
            self.synced(i, timeout)

    def synced(self, i, timeout=30):
        proc.wait_for("%s has what it holds" % self.gw[i].name,
                      lambda: self.number(i, "arcs_unsynced") == 0 and self.number(i, "arcs") > 0,
                      timeout, 0.02, [self.gw[i].proc])

    def publish(self, i, names):
        c = self.cl[i]
        for n in names:
            self.seq += 1
            c.send("PUBLISH", n, self.seq)
        for _ in names:
            if c.reply() != "OK":
                raise proc.Failed("PUBLISH was not taken")

    def withdraw(self, i, names):
        c = self.cl[i]
        for n in names:
            self.seq += 1
            c.send("WITHDRAW", n, self.seq)
        for _ in names:
            if c.reply() != "OK":
                raise proc.Failed("WITHDRAW was not taken")

    def settled(self, i, timeout=20):
        """What is published is held."""
        proc.wait_for("%s has published all" % self.gw[i].name,
                      lambda: self.gw[i].unpublished() == 0, timeout, 0.02, [self.gw[i].proc])

    def route(self, i, name, deadline=2000, fresh=True):
        """(ms, candidates | code word of the error)"""
        return ask(self.cl[i], name, deadline, fresh)

    def many(self, i, names, deadline=2000, window=100):
        """ROUTE of each, some at a time: [(name, candidates | code word)]."""
        out, c = [], self.cl[i]
        for at in range(0, len(names), window):
            part = names[at:at + window]
            for n in part:
                c.send("ROUTE", n, deadline, "FRESH")
            for n in part:
                try:
                    out.append((n, c.reply()))
                except resp.Error as e:
                    out.append((n, e.code))
        return out

    def kill(self, i):
        self.cl[i].close()
        self.gw[i].kill()

    def again(self, i):
        self.gw[i].start()
        self.cl[i] = self.client(self.gw[i])

    def cut(self, one, other, apart=True):
        """No packet goes between the two sets of gateways, or it does again."""
        for here, there in ((one, other), (other, one)):
            for i in here:
                for j in there:
                    self.gw[i].node.run("iptables", "-A" if apart else "-D", "INPUT", "-s",
                                        self.gw[j].node.addr4["ovl"], "-j", "DROP")

    def close(self):
        for i, g in enumerate(self.gw):
            self.cl[i].close()
            if g.proc and g.proc.running():
                g.stop()
        super().close()


def ask(client, name, deadline=2000, fresh=True):
    begun = time.monotonic()
    try:
        out = client("ROUTE", name, deadline, *(["FRESH"] if fresh else []))
    except resp.Error as e:
        out = e.code
    return (time.monotonic() - begun) * 1000, out
