# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers without media, and what is asked of where they say that users are: loads from one host, for
users whose contacts are at another, both on the phones' network."""

import os
import time

from . import costs, overlay, proc, sipload

DOMAIN = "example.org"
CALLEE_PORT = 5060


def prepare(p):
    p.kamailio.defines += ['P2P_DOMAIN="%s"' % DOMAIN, "P2P_WORKERS=2", "P2P_DEBUG=1"]
    p.gateway.settings["log"]["level"] = "info"


class Location(overlay.Overlay):
    """n peers that know each other, rtt_ms apart and with loss_pct of what they send lost."""

    def __init__(self, n=8, rtt_ms=None, loss_pct=0, start=True, extra=None, shm=64,
                 **kw):
        def all_of(p):
            prepare(p)
            p.kamailio.memory = (shm, 8)
            if extra:
                extra(p)
        emulate = None
        if rtt_ms is not None:
            emulate = {"delay_ms": rtt_ms / 2, "loss_pct": loss_pct}
        super().__init__(n, start=False, prepare=all_of, emulate=emulate, media=False, **kw)
        self.load, self.callee = self.node("load"), self.node("callee")
        if start:
            self.begin()

    def begin(self):
        for p in self.peers:
            p.gateway.start(wait=False)
        for p in self.peers:
            p.gateway.ready()
            p.kamailio.start(wait=False)
        for p in self.peers:
            p.kamailio.ready(30)
        self.joined(30)

    def joined(self, timeout=15):
        super().joined(timeout)
        for p in self.peers:
            proc.wait_for("%s knows the others" % p.name, lambda p=p: self.knows(p), timeout, 0.1)

    def knows(self, p):
        """All members, and all records that it is to keep for others."""
        st = p.gateway.status()
        return int(st["members_alive"]) >= len(self.peers) and st["arcs_unsynced"] == "0"

    # ---- loads ----

    def _contact(self):
        return {"callee": "%s:%d" % (self.callee.addr4["ua"], CALLEE_PORT),
                "callee_netns": self.callee.name}

    @staticmethod
    def _ways(peers):
        return ["%s:5060" % p.address for p in peers]

    def register(self, at, first, users, rate=500, wait=True, **more):
        """Users with their contact at the callee's host. wait: until all have their 200."""
        more.setdefault("contact", "%s:%d" % (self.callee.addr4["ua"], CALLEE_PORT))
        more.setdefault("seed", "user%d" % first)
        load = sipload.Load("register", self.load, at, domain=DOMAIN, first=first, users=users,
                            rate=rate, **more)
        if not wait:
            return load
        got = load.finish(users / rate + 30)
        if got["ok"] != users:
            raise proc.Failed("%d of %d users registered at %s: %r" %
                              (got["ok"], users, at.name, got["responses"]))
        return got

    def visible(self, at, through, first, users, rate, wait=True, **more):
        """Users register at a peer and are probed through others; with expires=0 they leave."""
        more.setdefault("seed", "user%d" % first)
        load = sipload.Load("visible", self.load, at, domain=DOMAIN, first=first, users=users,
                            rate=rate, via=self._ways(through), **self._contact(), **more)
        return load.finish(users / rate + 60) if wait else load

    def costs(self, at):
        """From now on: the CPU of one peer, of all others, of the network between them."""
        others = [p for p in self.peers if p is not at]
        return costs.Costs({
            "its Kamailio": [at.kamailio.proc],
            "its gateway": [at.gateway.proc],
            "the others' Kamailios": [p.kamailio.proc for p in others],
            "the others' gateways": [p.gateway.proc for p in others],
            "the network": [self.ovl.proc] if hasattr(self.ovl, "proc") else []})

    def lookup(self, through, first, users, count, rate, wait=True, **more):
        """Probes of users, at random unless random=False, through peers at random."""
        more.setdefault("random", True)
        load = sipload.Load("lookup", self.load, domain=DOMAIN, first=first, users=users,
                            count=count, rate=rate, via=self._ways(through),
                            max_time=int(count / rate * 1000) + 60000, **self._contact(), **more)
        return load.finish(count / rate + 90) if wait else load

    def settled(self, first, users, through, timeout=30):
        """Waits until each of these users is reached through each of these peers; after how long
        that was, in seconds."""
        began = time.monotonic()
        for p in through:
            while True:
                got = self.lookup([p], first, users, users, 500, random=False, timeout=4000)
                if got["arrived"] == users:
                    break
                if time.monotonic() - began > timeout:
                    raise proc.Failed("after %g s %d of %d users are not reached through %s: %r" %
                                      (timeout, users - got["arrived"], users, p.name,
                                       got["responses"]))
                time.sleep(0.1)
        return time.monotonic() - began


def kill(p, kamailio=True, gateway=True):
    if kamailio:
        p.kamailio.kill()
    if gateway:
        p.gateway.kill()


def up(p, kamailio=True, gateway=True):
    """Started again, both at once."""
    if gateway:
        p.gateway.start(wait=False)
    if kamailio:
        p.kamailio.start(wait=False)
    if gateway:
        p.gateway.ready()
    if kamailio:
        p.kamailio.ready(30)


def memory(process):
    """Its resident memory, bytes."""
    with open("/proc/%d/status" % process.pid, encoding="ascii") as f:
        return next(int(x.split()[1]) * 1024 for x in f if x.startswith("VmRSS:"))


def cpu_s(process):
    """What all its threads were given so far, seconds."""
    with open("/proc/%d/stat" % process.pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
