# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks' load generator (tests/bench/sipload): many calls, and how long each step took.
Users are called u000000, u000001 and so on."""

import itertools
import json
import os
import time

from . import proc, world

PROGRAM = os.path.join(world.BUILD, "tests/bench/sipload")
_numbers = itertools.count(1)
_ports = itertools.count(6000)


def user(n):
    return "u%06d" % n


def _run(mode, node, port, at=None, **options):
    """at: the peer that it goes to; an option's list is that option for each of its values."""
    n = next(_numbers)
    argv = [PROGRAM, mode, "--local", "%s:%d" % (node.addr4["ua"], port), "--local-netns",
            node.name]
    if at:
        argv += ["--target", at.address + ":5060"]
    options.setdefault("domain", at and at.address)
    options.setdefault("seed", "load%d" % n)
    for key, value in options.items():
        for v in value if isinstance(value, list) else [value]:
            if v is not None and v is not False:
                argv += ["--" + key.replace("_", "-")] + ([] if v is True else [str(v)])
    p = proc.Proc("sipload.%d" % n, argv, node)
    p.expected = True
    return p


def _result(p, timeout):
    """What it has measured, whether all went well or not."""
    proc.wait_for("%s ends" % p.name, lambda: not p.running(), timeout, 0.05)
    if p.p.returncode not in (0, 1):
        raise proc.Failed("sipload: %s" % p.tail())
    return json.loads(p.text().splitlines()[-1])


class Calls:
    """Calls from a node to users first to first + users - 1 through a peer, at a rate."""

    def __init__(self, node, at, callee, callee_port, first, users, count, rate, **options):
        self.count = count
        self.proc = _run("call", node, next(_ports), at,
                         callee="%s:%d" % (callee.addr4["ua"], callee_port),
                         callee_netns=callee.name, first=first, users=users, count=count,
                         rate=rate, active=100, sdp=True, samples=True, **options)

    def finish(self, timeout):
        """What it has measured, whether all calls went through or not."""
        return _result(self.proc, timeout)

    def stop(self):
        if self.proc.running():
            self.proc.kill()


def register(node, port, at, first, users):
    """Users are registered at a peer, with a contact at this node's port, which may be in use."""
    p = _run("register", node, next(_ports), at, contact="%s:%d" % (node.addr4["ua"], port),
             first=first, users=users, rate=100)
    proc.wait_for("%s ends" % p.name, lambda: not p.running(), 20)
    if p.p.returncode:
        raise proc.Failed("not all were registered: %s" % p.tail())


class Load:
    """One that goes on by itself: finish() waits for it and returns what it has measured."""

    def __init__(self, mode, node, at=None, **options):
        self.began = time.time()
        self.proc = _run(mode, node, next(_ports), at, **options)

    def finish(self, timeout=60):
        return _result(self.proc, timeout)

    def running(self):
        return self.proc.running()

    def stop(self):
        if self.proc.running():
            self.proc.kill()
