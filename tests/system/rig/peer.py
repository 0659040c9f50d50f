# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers of one site, in a node: Kamailio and rtpengine, and for an overlay peer the
gateway and the relay."""

import os
import shutil

from . import kam, ng, proc, world

NG_PORT = 2223

CFG_HEAD = """#!KAMAILIO
debug=2
log_stderror=yes
children=%(children)d
auto_aliases=no
mpath="%(stock)s:%(build)s/.libs/"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:%(ctl)s")
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
"""


def user_for(name):
    """An unprivileged user: the package's own, else nobody."""
    with open("/etc/passwd", encoding="utf-8") as f:
        return name if any(x.startswith(name + ":") for x in f) else "nobody"


def own(path, user):
    shutil.chown(path, user)


class Kamailio:
    """A Kamailio process tree in a node, reachable through kamcmd."""

    def __init__(self, node, name, cfg, listen, defines=(), options=(), shm=64, pkg=8):
        self.node, self.name = node, name
        self.cfg, self.listen = cfg, listen
        self.defines, self.options = list(defines), list(options)
        self.memory = (shm, pkg)
        self.user = user_for("kamailio")
        self.dir = os.path.join(world.WORK, name)
        os.makedirs(self.dir, exist_ok=True)
        own(self.dir, self.user)
        self.ctl = os.path.join(self.dir, "ctl.sock")
        self.proc = None

    def cfg_write(self, rest, children=4):
        """Its kamailio.cfg: the modules that every script wants, then this."""
        with open(self.cfg, "w", encoding="ascii") as f:
            f.write(CFG_HEAD % dict(children=children, stock=world.STOCK_MODULES, build=world.BUILD,
                                    ctl=self.ctl) + rest)

    def argv(self):
        out = ["kamailio", "-f", self.cfg, "-DD", "-E", "-P", self.dir + "/pid", "-w", self.dir,
               "-Y", self.dir, "-m", str(self.memory[0]), "-M", str(self.memory[1])]
        for x in self.listen:
            out += ["-l", x]
        for d in self.defines:
            out += ["-A", d]
        return out + self.options

    def start(self, wait=True):
        self.proc = proc.Proc(self.name, self.argv(), self.node, self.user, cwd=self.dir)
        if wait:
            self.ready()
        return self

    def ready(self, timeout=15):
        proc.wait_for("%s answers kamcmd" % self.name, self._answers, timeout, 0.05, [self.proc])
        # A process that has not begun yet takes SIGTERM for the main process's, and does not end.
        seen = [None]
        proc.wait_for("all processes of %s run" % self.name, lambda: self._run(seen), timeout,
                      0.02, [self.proc])

    def _run(self, seen):
        """The same ones twice, and each has waited for something."""
        before, seen[0] = seen[0], self.children()
        return before == seen[0] and all(proc.has_waited(pid) for pid in before)

    def _answers(self):
        try:
            self.rpc("core.version")
            return True
        except (kam.Error, OSError):
            return False

    def rpc(self, method, *args):
        return kam.rpc(self.ctl, method, *args)

    def text(self, method, *args):
        return kam.text(self.ctl, method, *args, timeout=30)

    def children(self):
        """PIDs of all its processes."""
        out = [self.proc.pid]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as f:
                    ppid = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if ppid == self.proc.pid:
                out.append(int(pid))
        return out

    def transactions(self):
        return int(self.rpc("tm.stats").get("current", 0))

    def contacts(self):
        """Contacts in usrloc's memory: {aor: [contact uri, ...]}."""
        dump = self.rpc("ul.dump")
        out = {}

        def walk(v):
            if isinstance(v, list):
                for x in v:
                    walk(x)
            elif isinstance(v, dict):
                if "AoR" in v and "Contacts" in v:
                    found = []
                    addresses(v["Contacts"], found)
                    out[str(v["AoR"])] = found
                else:
                    for x in v.values():
                        walk(x)

        def addresses(v, found):
            if isinstance(v, list):
                for x in v:
                    addresses(x, found)
            elif isinstance(v, dict):
                if "Address" in v:
                    found.append(v["Address"])
                else:
                    for x in v.values():
                        addresses(x, found)
        walk(dump)
        return out

    def stop(self):
        return self.proc.stop()

    def kill(self):
        """SIGKILL to every process of it at once, as the kernel's OOM killer might."""
        self.proc.kill()


class Rtpengine:
    """rtpengine in a node, controlled on 127.0.0.1:port."""

    def __init__(self, node, name, interfaces, port=NG_PORT, ports=(30000, 34999), options=()):
        self.node, self.name, self.port = node, name, port
        self.argv = ["rtpengine", "-f", "-E", "-t", "-1", "-L", "5", "--no-log-timestamps",
                     "-n", "127.0.0.1:%d" % port, "-m", str(ports[0]), "-M", str(ports[1]),
                     "-d", "0", "--num-threads=2", "--config-file=none"]
        for i in interfaces:
            self.argv += ["-i", i]
        self.argv += list(options)
        self.proc = None

    def start(self, wait=True):
        self.proc = proc.Proc(self.name, self.argv, self.node, user_for("rtpengine"),
                              nofile=20000)
        if wait:
            proc.wait_for("%s answers ping" % self.name, self.answers, 10, 0.05, [self.proc])
        return self

    def answers(self):
        try:
            return self.ask("ping", timeout=0.3).get("result") == "pong"
        except OSError:
            return False

    def ask(self, command, timeout=2.0, **args):
        return ng.ask(self.node, self.port, command, timeout, **args)

    def calls(self):
        return self.ask("list", limit=10000).get("calls", [])

    def query(self, callid):
        return self.ask("query", **{"call-id": callid})

    def stop(self):
        return self.proc.stop()

    def kill(self):
        self.proc.kill()


class StockPeer:
    """Kamailio and rtpengine as the distribution ships them."""

    def __init__(self, node, nexthop=None):
        self.node = node
        ua, ovl = node.addr4["ua"], node.addr4["ovl"]
        self.address = ua
        self.rtpengine = Rtpengine(node, "rtpengine-" + node.name, ["ua/" + ua, "ovl/" + ovl])
        name = "kamailio-" + node.name
        self.kamailio = Kamailio(node, name, world.SOURCE + "/tests/system/rig/stock.cfg",
                                 ["udp:%s:5060" % ua, "udp:%s:5060" % ovl])
        self.kamailio.defines.append('CTLSOCK="unix:%s"' % self.kamailio.ctl)
        if nexthop:
            self.kamailio.defines.append("NEXTHOP=%s" % nexthop)

    def start(self):
        self.rtpengine.start()
        self.kamailio.start()
        return self

    def stop(self):
        for x in (self.kamailio, self.rtpengine):
            if x.proc and x.proc.running():
                x.stop()

