# SPDX-License-Identifier: GPL-2.0-or-later
"""A network of namespaces, one a machine, on one bridge in a namespace of its own.

The names carry the pid of the run, so that runs side by side do not meet, and so that what a killed
run left behind can be told and removed by the next one."""
import glob
import os
import re
import shutil
import socket
import subprocess
import tempfile

from .proc import Program

PREFIX = "p2pbench"


def ip(*args, ns=None):
    cmd = ["ip"] + (["-n", ns] if ns else []) + list(args)
    r = subprocess.run(cmd, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"{' '.join(cmd)}: {r.stderr.strip()}")
    return r.stdout


class Network:
    def __init__(self, hosts):
        """hosts: {name: address with prefix length}; ends with close()."""
        self.hosts = hosts
        self.made = []
        remove_stale()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def ns(self, host):
        return f"{PREFIX}{os.getpid()}-{host}"

    def addr(self, host):
        return self.hosts[host].split("/")[0]

    def _add(self, host):
        ip("netns", "add", self.ns(host))
        self.made.append(self.ns(host))
        ip("link", "set", "lo", "up", ns=self.ns(host))

    def _build(self):
        self._add("net")
        net = self.ns("net")
        ip("link", "add", "br0", "type", "bridge", ns=net)
        ip("link", "set", "br0", "up", ns=net)
        for host, addr in self.hosts.items():
            self._host(host, addr)

    def _host(self, host, addr):
        net = self.ns("net")
        self._add(host)
        ip("link", "add", f"v-{host}", "type", "veth", "peer", "name", "eth0",
           "netns", self.ns(host), ns=net)
        ip("link", "set", f"v-{host}", "master", "br0", "up", ns=net)
        ip("addr", "add", addr, "dev", "eth0", ns=self.ns(host))
        ip("link", "set", "eth0", "up", ns=self.ns(host))

    def join(self, hosts):
        """More hosts, until leave()."""
        for host, addr in hosts.items():
            self.hosts = {**self.hosts, host: addr}
            self._host(host, addr)
        for ns in self.made:    # one may have been here before, with another MAC address
            ip("neigh", "flush", "all", ns=ns)

    def leave(self, hosts):
        for host in hosts:
            if self.ns(host) in self.made:
                subprocess.run(["ip", "netns", "del", self.ns(host)], capture_output=True)
                self.made.remove(self.ns(host))
                self.hosts = {h: a for h, a in self.hosts.items() if h != host}

    def close(self):
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        self.made = []


class Emulator:
    """A second network between hosts, 198.51.100.0/24, with a delay: tests/tools/netemu, a TUN
    device in each. A context manager."""

    def __init__(self, bench, directory, delay_ms):
        self.bench, self.numbers, self.delay_ms = bench, {}, delay_ms
        program = os.path.join(bench.args.build, "tests/tools/netemu")
        if not os.access(program, os.X_OK) or not os.path.exists("/dev/net/tun"):
            raise RuntimeError(f"needs TUN devices and {program} (make all)")
        path = os.path.join(directory, "netemu.sock")
        self.program = Program("netemu", [program, path, "1"], bench.net.ns("net"), directory)
        self.control = None
        try:
            self.program.wait_ready(lambda: os.path.exists(path))
            self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.control.settimeout(5)
            self.control.connect(path)
        except BaseException:
            self.__exit__()
            raise

    def _command(self, line):
        self.control.send(line.encode())
        reply = self.control.recv(2000).decode()
        if not reply.startswith("ok"):
            raise RuntimeError(f"netemu: {line}: {reply}")

    def join(self, host, number):
        self.numbers[host] = number
        ns = self.bench.net.ns(host)
        self._command(f"node {host} /run/netns/{ns} far {self.addr(host)} -")
        for pair in (f"{host} *", f"* {host}"):
            self._command(f"set {pair} delay_ms={self.delay_ms}")
        ip("link", "set", "far", "up", ns=ns)
        ip("addr", "add", self.addr(host) + "/24", "dev", "far", ns=ns)

    def addr(self, host):
        return f"198.51.100.{self.numbers[host]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.control:
            self.control.close()
        self.program.stop()


def remove_stale():
    """Remove the namespaces and directories of runs that are no more."""
    for line in ip("netns", "list").splitlines():
        m = re.match(rf"({PREFIX}(\d+)-\w+)", line)
        if m and not os.path.exists(f"/proc/{m.group(2)}"):
            subprocess.run(["ip", "netns", "del", m.group(1)], capture_output=True)
    for path in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*-*")):
        m = re.match(rf"{PREFIX}(\d+)-", os.path.basename(path))
        if m and not os.path.exists(f"/proc/{m.group(1)}"):
            shutil.rmtree(path, ignore_errors=True)
