# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks (bridges) and nodes (network namespaces with an interface on each network)."""

import contextlib
import itertools
import os
import subprocess

from . import world

_ports = itertools.count(1)


class Network:
    """A bridge with an IPv4 /24 and an IPv6 /64."""

    def __init__(self, name, net4, net6):
        self.name = name
        self.net4 = net4    # "192.0.2"
        self.net6 = net6    # "2001:db8:1"
        self._next = 11
        _ip("link add %s type bridge mcast_snooping 0" % name,
            "link set %s up" % name)

    def number(self):
        n = self._next
        self._next += 1
        return n

    def ip4(self, n):
        return "%s.%d" % (self.net4, n)

    def ip6(self, n):
        return "%s::%x" % (self.net6, n)


class Node:
    """A network namespace.  addr4, addr6: its address on each network, by the network's name."""

    def __init__(self, name, networks, number=None):
        self.name = name
        self.path = "/run/netns/" + name
        self.addr4 = {}
        self.addr6 = {}
        _ip("netns add " + name)
        lines = ["link set lo up"]
        outside = []
        for net in networks:
            n = number or net.number()
            self.addr4[net.name] = net.ip4(n)
            self.addr6[net.name] = net.ip6(n)
            # never a name used before: a removed namespace takes its interfaces along later
            port = "port%d" % next(_ports)
            outside += ["link add %s type veth peer name %s netns %s" % (port, net.name, name),
                        "link set %s master %s up" % (port, net.name)]
            lines += ["link set %s up" % net.name,
                      "addr add %s/24 dev %s" % (net.ip4(n), net.name),
                      "addr add %s/64 dev %s nodad" % (net.ip6(n), net.name)]
        with self.inside():
            for f in ("accept_ra", "accept_dad"):
                for i in ("all", "default"):
                    _write("/proc/sys/net/ipv6/conf/%s/%s" % (i, f), "0")
        _ip(*outside)
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


def remove_network(n):
    _ip("link del " + n.name)


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
