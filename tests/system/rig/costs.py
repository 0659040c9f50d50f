# SPDX-License-Identifier: GPL-2.0-or-later
"""What a load costs: the CPU of all processes, by what they are."""

import os
import time

TICK = os.sysconf("SC_CLK_TCK")


def _sessions():
    """{session: ticks of user and system time of its processes}; each rig process has a session of
    its own, and those that it forks share it."""
    out = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as f:
                x = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        out[int(x[3])] = out.get(int(x[3]), 0) + int(x[11]) + int(x[12])
    return out


def _machine():
    """(seconds all cores were busy, seconds there were)"""
    with open("/proc/stat", encoding="ascii") as f:
        x = [int(v) for v in f.readline().split()[1:9]]
    return (sum(x) - x[3] - x[4]) / TICK, sum(x) / TICK


class Costs:
    """From when it is made on. groups: {name: processes (rig.proc.Proc)}"""

    def __init__(self, groups):
        self.groups = groups
        self.before, self.machine = _sessions(), _machine()
        self.began = time.monotonic()

    def seconds(self):
        """{name: CPU seconds}; "all": of everything on this machine; "cores": busy on average."""
        now, machine = _sessions(), _machine()
        out = {name: sum(now.get(p.pid, 0) - self.before.get(p.pid, 0) for p in procs) / TICK
               for name, procs in self.groups.items()}
        out["all"] = machine[0] - self.machine[0]
        out["cores"] = out["all"] / (time.monotonic() - self.began)
        return out
