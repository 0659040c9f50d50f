# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs under test: started inside a namespace, weighed by the scheduler, ended by pid."""
import ctypes
import glob
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """One running program with all its processes."""

    def __init__(self, name, argv, ns, directory):
        self.name = name
        self.log = os.path.join(directory, name + ".log")
        with open(self.log, "ab") as log:
            # nsenter execs: the pid is the program's own
            self.popen = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{ns}", "--"] + argv, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=directory, start_new_session=True,
                preexec_fn=die_with_parent)
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def tree(self):
        """Pids of the program's processes."""
        todo, found = [self.pid], []
        while todo:
            pid = todo.pop()
            found.append(pid)
            for path in glob.glob(f"/proc/{pid}/task/*/children"):
                try:
                    with open(path) as f:
                        todo += [int(p) for p in f.read().split()]
                except OSError:
                    pass
        return found

    def cpu_ns(self):
        """CPU time that the scheduler gave to all threads of all its processes so far."""
        total = 0
        for pid in self.tree():
            for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
                try:
                    with open(path) as f:
                        total += int(f.read().split()[0])
                except OSError:
                    pass
        return total

    def log_tail(self, lines=15):
        with open(self.log, errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def wait_ready(self, ready, timeout=20):
        """Until ready() is true; the error carries the end of the program's log."""
        end = time.monotonic() + timeout
        while not ready():
            if not self.alive():
                raise RuntimeError(f"{self.name} ended with status {self.popen.returncode}:\n"
                                   + self.log_tail())
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} not ready after {timeout} s:\n"
                                   + self.log_tail())
            time.sleep(0.05)

    def stop(self):
        pids = self.tree() if self.alive() else []
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(8)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pid in pids[1:]:  # children that outlived it
            try:
                if os.path.realpath(f"/proc/{pid}/cwd") == os.path.dirname(self.log):
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


def settle(programs, timeout=10, quiet=0.02):
    """Wait until the programs have (almost) nothing left to do: less than `quiet` of one core
    over a quarter of a second. Work put off till later is so weighed, too."""
    end = time.monotonic() + timeout
    last = sum(p.cpu_ns() for p in programs)
    while time.monotonic() < end:
        time.sleep(0.25)
        now = sum(p.cpu_ns() for p in programs)
        if now - last < quiet * 0.25e9:
            return
        last = now
