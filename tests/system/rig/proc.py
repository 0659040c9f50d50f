# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a test: started in a node, as an unprivileged user, each with a log of its own."""

import os
import re
import resource
import signal
import subprocess
import time

from . import world


started = []       # every process of this world, for the evidence


class Failed(Exception):
    """A condition the test demands does not hold; its text is for whoever reads the report."""


def has_waited(pid):
    """Has it given up the processor of its own accord, or ended?"""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
            return any(x.split()[1] != "0" for x in f if x.startswith("voluntary_ctxt"))
    except OSError:
        return True


def wait_for(what, condition, timeout=10.0, every=0.02, alive=()):
    """Polls until condition() is true and returns its value; raises Failed after timeout.

    alive: processes whose death ends the wait at once.
    """
    end = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        for p in alive:
            if not p.running():
                raise Failed("%s: %s died (%s)\n%s" % (what, p.name, p.how(), p.tail()))
        if time.monotonic() >= end:
            raise Failed("not within %gs: %s" % (timeout, what))
        time.sleep(pause)
        pause = min(pause * 2, every)


def signal_all(child, sig):
    """To a process that leads a session, and to those it started. False: there is none any more."""
    try:
        os.killpg(child.pid, sig)
        return True
    except ProcessLookupError:
        return False


def end(child, text, timeout=10):
    """SIGTERM to a process that leads a session; its exit code. Raises subprocess.TimeoutExpired.
    `text` returns what it has logged."""
    child.terminate()
    try:
        return child.wait(min(3, timeout))
    except subprocess.TimeoutExpired:
        # A child of stock Kamailio's that was forked a moment ago loses the signal its main
        # process passes on (5.6.3, about one stop in ten right after the start).
        signal_all(child, signal.SIGTERM)
    try:
        return child.wait(min(3, timeout))
    except subprocess.TimeoutExpired:
        _end_stuck(child, text())
    return child.wait(timeout)


def _end_stuck(child, text):
    """Stock Kamailio's children take a lock in their handler of SIGTERM, and end there, whatever
    locks they hold (5.6.3): now and then one waits for the lock of one that has ended. Its main
    process kills those after 60 s. Others, which have not said that they are in that handler,
    are left as they are."""
    for pid in re.findall(r"\((\d+)\) INFO: <core> \[main\.c:\d+\]: sig_usr\(\): signal 15", text):
        try:
            if os.getsid(int(pid)) == child.pid:
                os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


class Proc:
    """One process.  It is told to end by stop(); its death before that is a failure."""

    def __init__(self, name, argv, node=None, user=None, env=None, cwd=None, stdin=False,
                 nofile=None):
        self.name = name
        self.argv = argv
        self.expected = False       # the test ended it, or expects it to end
        self.log = os.path.join(world.WORK, "%s.log" % name)
        n = 1
        while os.path.exists(self.log):
            n += 1
            self.log = os.path.join(world.WORK, "%s.%d.log" % (name, n))
        full = list(node.prefix()) if node else []
        if nofile:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            if hard != resource.RLIM_INFINITY:
                nofile = min(nofile, hard)
            full += ["prlimit", "--nofile=%d" % nofile, "--"]
        if user:
            full += ["setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups",
                     "--no-new-privs", "--"]
        full += argv
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                   "HOME": cwd or world.WORK}
        environ.update(env or {})
        with open(self.log, "wb") as out:
            self.p = subprocess.Popen(full, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                      stdout=out, stderr=subprocess.STDOUT, env=environ,
                                      cwd=cwd or world.WORK, start_new_session=True)
        self.pid = self.p.pid
        started.append(self)

    def running(self):
        return self.p.poll() is None

    def how(self):
        rc = self.p.poll()
        if rc is None:
            return "running"
        if rc < 0:
            return "signal %s" % signal.Signals(-rc).name
        return "exit code %d" % rc

    def signal(self, sig):
        if self.running():
            self.p.send_signal(sig)

    def stop(self, timeout=10):
        """SIGTERM, then SIGKILL; returns the exit code, raises Failed if it had to be killed."""
        self.expected = True
        if not self.running():
            return self.p.returncode
        try:
            return end(self.p, self.text, timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed("%s did not end within %gs of SIGTERM" % (self.name, timeout)) from None

    def kill(self):
        """SIGKILL to the process and to those it started (they share its session)."""
        self.expected = True
        if signal_all(self.p, signal.SIGKILL):
            self.p.wait(10)
            wait_for("the last process of %s is gone" % self.name,
                     lambda: not signal_all(self.p, 0), 10)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def tail(self, lines=15, skip=None):
        text = [x for x in self.text().splitlines() if not (skip and skip.search(x))]
        return "".join("    %s\n" % x[:500] for x in text[-lines:])

    def said(self, *words):
        """A line of its log that holds all the words, or None."""
        for line in self.text().splitlines():
            if all(w in line for w in words):
                return line
        return None
