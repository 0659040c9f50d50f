# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks (bridges) and nodes (network namespaces with an interface on each network)."""

import contextlib
import itertools
import os
import socket
import subprocess

from . import proc, world

_ports = itertools.count(1)


class Network:
    """A bridge with an IPv4 /24 and an IPv6 /64."""

    def __init__(self, name, net4, net6):
        self.name = name
        self.net4 = net4    # "192.0.2"
        self.net6 = net6    # "2001:db8:1"
        self._next = 11
        self._make()

    def _make(self):
        _ip("link add %s type bridge mcast_snooping 0" % self.name,
            "link set %s up" % self.name)

    def attach(self, node, _number):
        """Gives the node an interface of the network's name, without addresses."""
        # never a name used before: a removed namespace takes its interfaces along later
        port = "port%d" % next(_ports)
        _ip("link add %s type veth peer name %s netns %s" % (port, self.name, node.name),
            "link set %s master %s up" % (port, self.name))

    def detach(self, node):
        """The node is about to be removed."""

    def remove(self):
        _ip("link del " + self.name)

    def number(self):
        n = self._next
        self._next += 1
        return n

    def ip4(self, n):
        return "%s.%d" % (self.net4, n)

    def ip6(self, n):
        return "%s::%x" % (self.net6, n)


_emulators = itertools.count(1)


class EmulatedNetwork(Network):
    """A network whose packets go through netemu: each ordered pair of nodes has its own delay,
    jitter, loss, rate and outages.  What it does to which packet follows from the seed.

        s.ovl.set(delay_ms=10)                  all pairs: 20 ms there and back
        s.ovl.set("a", "b", loss_pct=1)         from a to b only
        s.ovl.down("a", "*"); s.ovl.up("a", "*")
    """

    def __init__(self, name, net4, net6, seed=1):
        self.seed = seed
        self._defaults = {}
        super().__init__(name, net4, net6)

    def _make(self):
        n = next(_emulators)
        program = os.path.join(world.BUILD, "tests/tools/netemu")
        if not os.path.exists("/dev/net/tun"):
            from . import tap       # pylint: disable=import-outside-toplevel
            raise tap.Skip("no TUN devices in this kernel")
        path = os.path.join(world.WORK, "netemu.%d" % n)
        self.proc = proc.Proc("netemu-%d" % n, [program, path, str(self.seed)])
        proc.wait_for("netemu listens", lambda: os.path.exists(path), 10, alive=[self.proc])
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(5)
        self._control.connect(path)

    def command(self, *words):
        self._control.send(" ".join(map(str, words)).encode())
        reply = self._control.recv(2000).decode()
        if not reply.startswith("ok"):
            raise OSError("netemu: %s: %s" % (" ".join(map(str, words)), reply))
        return reply[3:]

    def attach(self, node, number):
        six = self.ip6(number) if ipv6_works() else "-"
        self.command("node", node.name, node.path, self.name, self.ip4(number), six)
        if self._defaults:
            self.set(node.name, "*", **self._defaults)
            self.set("*", node.name, **self._defaults)

    def detach(self, node):
        self.command("remove", node.name)

    def set(self, frm="*", to="*", **params):
        """Each direction for itself; for all ("*", "*") it holds for nodes still to come, too.
        The keys are those of tests/tools/emu_command.h."""
        if (frm, to) == ("*", "*"):
            self._defaults.update(params)
        self.command("set", frm, to, *("%s=%s" % kv for kv in params.items()))

    def down(self, frm="*", to="*", ms=None):
        """An outage, of ms or until up()."""
        self.command("down", frm, to, *([ms] if ms else []))

    def up(self, frm="*", to="*"):
        self.command("up", frm, to)

    def stats(self, frm="*", to="*"):
        """{"packets", "bytes", "lost", "burst_lost", "outage_lost", "queue_lost"}"""
        words = self.command("stats", frm, to).split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def remove(self):
        self._control.close()
        self.proc.stop()


class Node:
    """A network namespace.  addr4, addr6: its address on each network, by the network's name."""

    def __init__(self, name, networks, number=None):
        self.name = name
        self.path = "/run/netns/" + name
        self.addr4 = {}
        self.addr6 = {}
        _ip("netns add " + name)
        lines = ["link set lo up"]
        numbers = {}
        self.networks = list(networks)
        for net in networks:
            n = numbers[net] = number or net.number()
            self.addr4[net.name] = net.ip4(n)
            self.addr6[net.name] = net.ip6(n)
            lines += ["link set %s up" % net.name,
                      "addr add %s/24 dev %s" % (net.ip4(n), net.name),
                      "addr add %s/64 dev %s nodad" % (net.ip6(n), net.name)]
        with self.inside():
            for f in ("accept_ra", "accept_dad"):
                for i in ("all", "default"):
                    _write("/proc/sys/net/ipv6/conf/%s/%s" % (i, f), "0")
        for net in networks:
            net.attach(self, numbers[net])
        _ip(*lines, netns=name)

    @contextlib.contextmanager
    def inside(self):
        """The calling thread's network is the node's: for sockets of the rig itself."""
        with open("/proc/thread-self/ns/net", encoding="ascii") as back, \
             open(self.path, encoding="ascii") as fd:
            world.setns(fd.fileno())
            try:
                yield self
            finally:
                world.setns(back.fileno())

    def prefix(self):
        return ["nsenter", "--net=" + self.path, "--"]

    def link(self, network, up):
        _ip("link set %s %s" % (network, "up" if up else "down"), netns=self.name)

    def run(self, *argv, check=True, timeout=20, **kw):
        return subprocess.run(self.prefix() + list(argv), check=check, timeout=timeout,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **kw)

    def remove(self):
        for net in self.networks:
            net.detach(self)
        _ip("netns del " + self.name)


def _write(path, text):
    try:
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
    except OSError:
        pass    # a kernel without IPv6: addresses fail later, with a clear message


def _ip(*lines, netns=None):
    argv = ["ip"] + (["-n", netns] if netns else []) + ["-batch", "-"]
    r = subprocess.run(argv, input="\n".join(lines) + "\n", stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    if r.returncode:
        raise OSError("ip: %s in: %s" % (r.stdout.strip(), "; ".join(lines)))


def ipv6_works():
    return os.path.exists("/proc/sys/net/ipv6")


def loopback_up():
    """A new network namespace, the world's too, starts with its loopback down."""
    _ip("link set lo up")


def bridges():
    out = subprocess.run(["ip", "-o", "link", "show", "type", "bridge"], stdout=subprocess.PIPE,
                         text=True, timeout=10, check=True).stdout
    return [line.split()[1].rstrip(":") for line in out.splitlines()]


def clear():
    """Removes every node and network there is, whoever made it."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else ():
        _ip("netns del " + name)
    for name in bridges():
        _ip("link del " + name)
