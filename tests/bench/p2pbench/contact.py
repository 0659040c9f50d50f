# SPDX-License-Identifier: GPL-2.0-or-later
"""The first call to a peer with nothing open, at a round trip of 20 ms between the peers.

A has to find the user in the DHT, its gateway to connect to that of the user's peer and to open a
session, then A's Kamailio sends the INVITE there. Phones are next to their proxies; the peers are
joined by tests/tools/netemu. A calls a user at each of PEERS peers, one after the other: each call
meets a peer that A has never spoken to. Then, when the sessions have been closed for want of use,
one more user at each, over the connections that A's gateway has kept. Then A is started afresh."""
import os
import statistics
import time

from . import sides
from . import calls as load
from .net import Emulator
from .overlay import GATEWAY, Overlay

RTT_MS = 20
PEERS = 10
BUCKET = 8              # nodes of a DHT node's bucket: it may not keep more in sight
LINGER_S = 2
BARS = {"udp": 160, "tcp": None, "tls": 230}    # ms
PORT, TLS_PORT = 5060, 5061


def run(bench, figures):
    for signalling in bench.args.signalling:
        measure(bench, figures, signalling)


def measure(bench, figures, signalling):
    bench.say(f"first contact over {signalling}: {PEERS} calls a run, {RTT_MS} ms there and back")
    with bench.side_dir("contact") as directory, Emulator(bench, directory, RTT_MS / 2) as far:
        site = Sites(bench, far, directory, signalling)
        try:
            site.start()
            first, kept = [], []
            for n in range(bench.args.runs):
                a, b = site.once(n)
                first += a
                kept += b
                bench.say("  median {:.1f} ms, connection kept {:.1f} ms".format(
                    statistics.median(a), statistics.median(b)))
        finally:
            site.stop()
    bar = BARS[signalling]
    name = "" if signalling == "udp" else "_" + signalling
    for what, times, limit in (("first", first, bar), ("kept", kept, bar and bar - RTT_MS)):
        figures.add(f"invite_{what}_contact{name}_p95_ms", "ms", "ours", p95(times), limit)
        figures.add(f"invite_{what}_contact{name}_p50_ms", "ms", "ours", statistics.median(times))


def p95(times):
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


class Sites(Overlay):
    """Peers at hosts 0 (nobody's), a, and 1 to PEERS, far from each other."""

    CENTRE = "p0"

    def __init__(self, bench, far, directory, signalling):
        super().__init__(bench, settings={"transport": {"signalling": signalling},
                                          "sessions": {"linger_s": LINGER_S}})
        self.far, self.directory, self.signalling = far, directory, signalling
        self.peers = [f"p{n}" for n in range(PEERS + 1)]
        self.others, self.a = [], []

    def addr(self, host):
        return self.far.addr(host)

    def start(self):
        for n, host in enumerate(self.peers):
            self.bench.net.join({host: f"192.0.2.{11 + n}/24"})
        for n, host in enumerate(["a"] + self.peers):
            self.far.join(host, n + 1)
        self._gateways(self.directory, self.peers, self.others)
        for host in self.peers[1:]:
            self.others.append(self.proxy(host))

    def proxy(self, host):
        net = self.bench.net
        defines, tls = {}, []
        if self.signalling == "tls":
            place = os.path.join(self.dir, host)
            tls = [f"{self.addr(host)}:{TLS_PORT}"]
            defines = sides.certificate(self.bench.args.build, os.path.join(self.dir, "authority"),
                                        os.path.join(place, "identity.pem"),
                                        os.path.join(place, "tls"))
        return sides.kamailio(
            "kamailio-" + host, net.ns(host), self.dir, "proxy.cfg",
            [f"{self.addr(host)}:{PORT}", f"{net.addr(host)}:{PORT}"],
            {"P2P": None, "GATEWAY": self.socket(host, "gw.sock"), "CHILDREN": 2,
             "PIECES": 0 if self.bench.args.no_pieces else 1, **defines},
            self.module_dirs, memory=64 if tls else 32, tls=tls)

    def restart_a(self):
        """A, as one that has never been here before."""
        self.stop_a()
        self.a.append(self._daemon(self.gateway, GATEWAY, "a", "gateway"))
        self.a.append(self.proxy("a"))
        self.wait("A's DHT node knows the others", lambda: self.known() >= BUCKET, 30)

    def known(self):
        status = self.status("a")
        return int(status["dht_nodes_ipv4"]) if status["dht_state"] == "connected" else 0

    def status(self, host):
        with self.admin(host) as gateway:
            flat = gateway.ask("STATUS")
        return dict(zip(flat[::2], flat[1::2]))

    def sessions(self):
        with self.admin("a") as gateway:
            return len(gateway.ask("SESSIONS", 0, 500)[1])

    @staticmethod
    def wait(what, condition, timeout):
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"contact: not within {timeout} s: {what}")
            time.sleep(0.05)

    def once(self, n):
        """(arrival times of first calls, of calls over kept connections)"""
        first = 2 * n * PEERS
        for k in range(2):
            for i, host in enumerate(self.peers[1:]):
                load.register(self.bench, 1, first + k * PEERS + i, f"far{self.signalling}{n}{k}{i}",
                              host, (PORT,))
        self.wait_published(range(first, first + 2 * PEERS))
        self.restart_a()
        if self.sessions() or int(self.status("a")["peer_connections_out"]):
            raise RuntimeError("contact: A is connected before it has called anybody")
        new = self.call(first, f"first{n}")
        if self.sessions() < PEERS:
            raise RuntimeError(f"contact: {self.sessions()} sessions after {PEERS} calls")
        self.wait("the sessions are closed", lambda: not self.sessions(), 30)
        if int(self.status("a")["peer_connections_out"]) < PEERS:
            raise RuntimeError("contact: A has not kept its connections")
        return new, self.call(first + PEERS, f"kept{n}")

    def call(self, first, seed):
        net = self.bench.net
        got = self.bench.load.run(
            "call", local=f"{net.addr('u')}:{next(load.CALLER_PORT)}", local_netns=net.ns("u"),
            callee=load.callee(self.bench), callee_netns=net.ns("v"),
            target=f"{net.addr('a')}:{PORT}", users=PEERS, first=first, sdp=True, samples=True,
            seed=seed + self.signalling)
        times = got["target"]["arrival_ms"]["samples"]
        # a question, and half a round trip for the INVITE, at the very least
        if min(times) < 1.5 * RTT_MS:
            raise RuntimeError(f"contact: a call took {min(times)} ms: not by way of the emulator")
        return times

    def stop_a(self):
        while self.a:
            self.a.pop().stop()

    def stop(self):
        self.stop_a()
        while self.others:
            self.others.pop().stop()
        self.bench.net.leave(self.peers)
