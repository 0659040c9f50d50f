# SPDX-License-Identifier: GPL-2.0-or-later
"""What the scripts test_routing*.py share: addresses, HITs, and waiting for conditions."""
import ctypes
import os
import signal
import time

from .session import Fixed

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DOMAIN = "overlay.test"
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1

A, B, C, D, E, F = ("10.88.0.%d" % i for i in range(1, 7))
A6, B6 = "fd88::1", "fd88::2"
DEAD = "10.88.0.99"       # an address of ours where nothing listens and nothing is refused
STRANGER = "10.88.0.200"
SESSIONS = Fixed()
HIT_A, HIT_B, HIT_C, HIT_D, HIT_DEAD = ("2001:22:%x:1::%x" % (i, i)
                                        for i in (0xa, 0xb, 0xc, 0xd, 0xdead))


class Run:
    """Of the script that runs; rig.routing sets it."""
    work = modules = None       # directories
    rounds = 60                 # of what is repeated for long
    phones, servers = [], []


RUN = Run()


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_for(what, cond, timeout=5.0):
    end = time.monotonic() + timeout
    while True:
        r = cond()
        if r:
            return r
        if time.monotonic() > end:
            raise AssertionError("not within %.1f s: %s" % (timeout, what))
        time.sleep(0.01)


def check(cond, what):
    if not cond:
        raise AssertionError(what)


def equal(got, want, what):
    if got != want:
        raise AssertionError("%s: %r, not %r" % (what, got, want))


def sip(user):
    return "sip:%s@%s" % (user, DOMAIN)
