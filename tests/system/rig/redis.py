# SPDX-License-Identifier: GPL-2.0-or-later
"""Redis as the overlay's engine: one server, or a Cluster of masters and replicas, at a node."""

import os
import shutil
import subprocess

from . import proc, tap, world

PORT = 6390
MASTERS = 3
FAILOVER_MS = 1000      # after which a master that does not answer is replaced


def wanted():
    if not shutil.which("redis-server") or not shutil.which("redis-cli"):
        raise tap.Skip("no redis-server and redis-cli on this machine")


def use(p, backend, redis):
    """The peer's gateway is told of it, for its next start."""
    p.gateway.settings["dht"]["backend"] = backend
    p.gateway.settings["redis"] = {"server": redis.setting(), "timeout_ms": 200} \
        if "redis" in backend else {}


class Redis:
    def __init__(self, node, port=PORT, options=()):
        self.node, self.address, self.port = node, node.addr4["ovl"], port
        self.dir = os.path.join(world.WORK, "redis-%d" % port)
        os.makedirs(self.dir, exist_ok=True)
        self.options = list(options)
        self.proc = None

    def start(self):
        self.proc = proc.Proc("redis-%d" % self.port, [
            "redis-server", "--port", str(self.port), "--bind", self.address,
            "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", self.dir] +
            self.options, self.node)
        proc.wait_for("redis answers", lambda: self.proc.said("Ready to accept connections"), 10,
                      alive=[self.proc])
        return self

    def setting(self):
        return "%s:%d" % (self.address, self.port)


class Cluster:
    """Three masters, each with a replica."""

    def __init__(self, node):
        self.node = node
        self.servers = [Redis(node, PORT + i, [
            "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
            "--cluster-node-timeout", str(FAILOVER_MS), "--cluster-require-full-coverage", "no"])
            for i in range(2 * MASTERS)]

    def _cli(self, *args):
        return subprocess.run(list(self.node.prefix()) + ["redis-cli", *args], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60).stdout

    def start(self):
        for s in self.servers:
            s.start()
        said = self._cli("--cluster-yes", "--cluster", "create",
                         *[s.setting() for s in self.servers], "--cluster-replicas", "1")
        proc.wait_for("the Cluster is complete: " + said, self.complete, 30, 0.2)
        return self

    def nodes(self):
        """[(port, flags)], as one that lives sees them."""
        alive = next(s for s in self.servers if s.proc.running())
        lines = self._cli("-h", alive.address, "-p", str(alive.port), "cluster", "nodes")
        words = [line.split() for line in lines.splitlines()]
        return [(int(w[1].partition("@")[0].rpartition(":")[2]), w[2].split(",")) for w in words
                if len(w) > 7]

    def complete(self):
        """Every server knows each replica and that all slots are served."""
        for s in self.servers:
            at = ["-h", s.address, "-p", str(s.port), "cluster"]
            if "cluster_state:ok" not in self._cli(*at, "info") or \
                    self._cli(*at, "nodes").count("slave") != MASTERS:
                return False
        return True

    def masters(self):
        ports = [port for port, flags in self.nodes() if "master" in flags and "fail" not in flags]
        return [s for s in self.servers if s.port in ports]

    def setting(self):
        """Two of them: the others are found."""
        return ", ".join(s.setting() for s in self.servers[:2])
