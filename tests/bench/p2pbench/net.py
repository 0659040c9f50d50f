# SPDX-License-Identifier: GPL-2.0-or-later
"""A network of namespaces, one a machine, on one bridge in a namespace of its own.

The names carry the pid of the run, so that runs side by side do not meet, and so that what a killed
run left behind can be told and removed by the next one."""
import glob
import os
import re
import shutil
import subprocess
import tempfile

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
            self._add(host)
            ip("link", "add", f"v-{host}", "type", "veth", "peer", "name", "eth0",
               "netns", self.ns(host), ns=net)
            ip("link", "set", f"v-{host}", "master", "br0", "up", ns=net)
            ip("addr", "add", addr, "dev", "eth0", ns=self.ns(host))
            ip("link", "set", "eth0", "up", ns=self.ns(host))

    def close(self):
        for name in reversed(self.made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        self.made = []


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
