# SPDX-License-Identifier: GPL-2.0-or-later
"""Routing between overlay peers, for test_routing*.py: real Kamailios with the shipped
configuration, small SIP phones, and gateways whose directory the test holds in its hands (so
that a search can be slow, fail, or be out of date at will). Everything runs in a network
namespace of the script's own process, which goes away with it, and every child dies with it too.

    test_routing_X.py [--modules DIR] [--keep-logs] [--long] [pattern]      TAP on stdout
"""
import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

from . import pace, proc
from .routing_base import (A, A6, B, B6, C, DEAD, DOMAIN, HIT_A, HIT_B, HIT_C, LIBC, RUN, TOP,
                           check, die_with_parent, equal, sip, wait_for)
from .routing_gateway import Gateway
from .routing_phone import Phone
from .world import STOCK_MODULES

CLONE_NEWNET = 0x40000000


class Kamailio:
    def __init__(self, name, addr, hit, addr6=None, cfg=None, defines=(), edit=(), listen=None,
                 options=()):
        self.name, self.addr, self.addr6, self.hit = name, addr, addr6, hit
        self.dir = os.path.join(RUN.work, name)
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o777)
        self.gateway = Gateway(self.dir + "/gw.sock", hit)
        self.ctl = self.dir + "/ctl.sock"
        self.log = self.dir + "/log"
        self.cfg = cfg or TOP + "/cfg/kamailio.cfg"
        if edit:
            with open(self.cfg, encoding="utf-8") as f:
                text = f.read()
            for old, new in list(edit) + [('"kamailio-p2psip.cfg"',
                                           '"%s/cfg/kamailio-p2psip.cfg"' % TOP)]:
                equal(text.count(old), 1, "in %s: %r" % (self.cfg, old))
                text = text.replace(old, new)
            self.cfg = self.dir + "/kamailio.cfg"
            with open(self.cfg, "w", encoding="utf-8") as f:
                f.write(text)
        self.listen = listen or ["udp:%s:5060" % addr, "tcp:%s:5060" % addr] + (
            ["udp:[%s]:5060" % addr6, "tcp:[%s]:5060" % addr6] if addr6 else [])
        self.defines, self.options = list(defines), list(options)
        self.proc = None
        RUN.servers.append(self)
        self.start()

    def start(self):
        argv = ["kamailio", "-f", self.cfg, "-DD", "-E", "-P", self.dir + "/pid", "-w", self.dir,
                "-Y", self.dir, "-m", "64", "-M", "8", "-L", RUN.modules + ":" + STOCK_MODULES]
        for x in self.listen:
            argv += ["-l", x]
        for d in self.defines + ['CTLSOCK="unix:%s"' % self.ctl, "P2P_WORKERS=2", "WITHOUT_P2P_MEDIA",
                                 'P2P_DOMAIN="%s"' % DOMAIN,
                                 'P2P_GATEWAY_SOCKET="%s"' % self.gateway.path,
                                 'P2P_CONTACTS_FILE="%s/contacts"' % self.dir,
                                 'P2P_CONTACTS_MEMORY="%s/contacts.memory"' % self.dir]:
            argv += ["-A", d]
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(argv + self.options, stdout=log, stderr=log,
                                         stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
                                         start_new_session=True)
        try:
            wait_for("kamcmd answers", lambda: self.rpc("core.version") is not None, 15)
            wait_for("handshake", lambda: self.gateway.clients and self.gateway_up(), 5)
        except AssertionError:
            print("# " + "\n# ".join(self.logged().splitlines()[-25:]))
            raise

    def gateway_up(self):
        """It has the gateway's answer to its handshake: what it asks from now on is sent."""
        return "gateway: connected" in (self.rpc("p2p_usrloc.status") or "")

    def stop(self, sig=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
            if sig == signal.SIGTERM:
                proc.end(self.proc, self.logged)
            else:
                self.proc.send_signal(sig)
                self.proc.wait(15)

    def rpc(self, *args):
        r = subprocess.run(["kamcmd", "-s", "unix:" + self.ctl] + [str(a) for a in args],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=10,
                           check=False)
        return r.stdout if r.returncode == 0 and not r.stdout.startswith("error") else None

    def stat(self, module, name):
        m = re.search(r"\b%s: (-?\d+)" % name, self.rpc(module + ".stats") or "")
        return int(m.group(1)) if m else None

    def knows(self, user):
        """Its cache says which other peers serve the user."""
        return "cache: fresh" in (self.rpc("p2p_usrloc.show", user) or "")

    def logged(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def idle(self):
        """Transactions are gone, seconds after their ends too."""
        m = re.search(r"current: (\d+)", self.rpc("tm.stats") or "")
        return m and int(m.group(1)) == 0

    def uris(self, *transports):
        return ["sip:%s:5060;transport=%s" % (self.addr, t) for t in transports or ("udp", "tcp")]


TESTS = []


def test(f):
    TESTS.append(f)
    return f


class World:
    """Two overlay peers, shared by the tests of a script: phones at A, callers at B."""

    def __init__(self):
        self.a = Kamailio("a", A, HIT_A, A6)
        self.b = Kamailio("b", B, HIT_B, B6)
        for k in (self.a, self.b):
            k.gateway.peers = {HIT_A: self.a.uris() + ["sip:[%s]:5060;transport=udp" % A6],
                               HIT_B: self.b.uris() + ["sip:[%s]:5060;transport=udp" % B6],
                               HIT_C: ["sip:%s:5060" % C]}
        self.bob = Phone("10.88.0.20", "bob")
        self.bob.register(self.b)
        self._alice = None

    def phone(self, user, n, kam=None, **kw):
        p = Phone("10.88.0.%d" % n, user, **kw)
        if kam:
            p.register(kam)
        return p

    def alice(self):
        """Her phone is at A, and B's gateway knows it."""
        if self._alice is None:
            self._alice = self.phone("alice", 10, self.a)
            self.served("alice", (HIT_A, self.a.uris()))
        return self._alice

    def served(self, name, *where, at=None, **opt):
        (at or self.b).gateway.users[name] = [(h, u, opt) for h, u in where]

    def call(self, user, method="INVITE", frm=None, **kw):
        p = frm or self.bob
        return p.send(method, sip(user), (B, 5060), **kw)


def t_quiet(w):
    """nothing is left: no transaction, no suspended request, no crash, no complaint of tm's"""
    for k in (w.a, w.b):
        wait_for(k.name + ": transactions end", k.idle, 60)
        equal(k.stat("p2p_registrar", "suspended_now"), 0, k.name + ": suspended")
        bad = [x for x in k.logged().splitlines()
               if re.search(r"CRITICAL|BUG|ERROR|signal 11|core dump|didn't release", x)
               # said for the peers that are dead on purpose, and the gateway that was stopped
               and not re.search(r"tcp_main.c|tcp_send failed|t_forward_noack failed|"
                                 r"send to precreated request|gateway_lost", x)]
        equal(bad, [], k.name + ": log")
        check(k.proc.poll() is None, k.name + " runs")


def network():
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for path in ("/proc/sys/net/ipv6/conf/all/disable_ipv6",
                 "/proc/sys/net/ipv6/conf/default/disable_ipv6"):
        try:
            with open(path, "w", encoding="ascii") as f:
                f.write("0")
        except OSError:
            pass
    run = lambda *a: subprocess.run(["ip"] + list(a), check=True)   # noqa: E731
    run("link", "set", "lo", "up")
    run("link", "add", "d0", "type", "veth", "peer", "name", "d1")
    run("link", "set", "d0", "up")
    run("link", "set", "d1", "up")
    for n in list(range(1, 10)) + list(range(10, 80)) + [200]:
        run("addr", "add", "10.88.0.%d/24" % n, "dev", "d0")
    # packets to this one go out and vanish
    run("neigh", "add", DEAD, "lladdr", "02:00:00:00:de:ad", "dev", "d0")
    for a in (A6, B6):
        run("-6", "addr", "add", a + "/64", "dev", "d0", "nodad")


def janitor(path):
    """Removes the directory when this process is gone, however it went."""
    r, wr = os.pipe()
    os.set_inheritable(r, False)
    subprocess.Popen(["sh", "-c", "cat >/dev/null; rm -rf '%s'" % path], stdin=r,
                     start_new_session=True)
    os.close(r)
    return wr


def main(with_world=True):
    """Runs the tests of the script, and with a world t_quiet after them."""
    ap = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__.splitlines()[0])
    ap.add_argument("--modules", metavar="DIR")
    ap.add_argument("--keep-logs", action="store_true")
    ap.add_argument("--long", action="store_true")
    ap.add_argument("pattern", nargs="?", default="")
    args = ap.parse_args()
    RUN.rounds = 1000 if args.long else 60
    build = os.environ.get("P2PSIP_BUILD_TREE") or os.environ.get("top_builddir") or TOP
    RUN.modules = os.path.abspath(args.modules or os.path.join(build, ".libs"))
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root (a network namespace)")
        return 0
    if not os.path.exists(RUN.modules + "/p2p_registrar.so"):
        print("1..0 # SKIP no modules in " + RUN.modules)
        return 0
    chosen = [t for t in TESTS + ([t_quiet] if with_world else []) if args.pattern in t.__name__]
    if not chosen:
        print("1..0 # SKIP no test of that name")
        return 0
    RUN.work = tempfile.mkdtemp(prefix="p2p-routing-")
    os.chmod(RUN.work, 0o755)
    lifeline = None if args.keep_logs else janitor(RUN.work)
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    print("1..%d" % len(chosen), flush=True)
    failed, world = 0, None
    try:
        network()
        pace.start()
        world = World() if with_world else None
        kept = (world.a, world.b) if world else ()
        for i, t in enumerate(chosen):
            what = t.__doc__.strip()
            marks = [(k, os.path.getsize(k.log)) for k in kept]
            try:
                t(world)
                print("ok %d - %s" % (i + 1, what), flush=True)
            except Exception as e:      # pylint: disable=broad-except
                failed += 1
                # before its verdict, as run takes them
                print("# %s: %s" % (type(e).__name__, e))
                if not isinstance(e, AssertionError):
                    print("# " + traceback.format_exc().replace("\n", "\n# "))
                else:
                    tb = traceback.extract_tb(e.__traceback__)
                    print("# at line %s" % [f.lineno for f in tb if f.name == t.__name__])
                since = dict(marks)
                for k in RUN.servers:
                    with open(k.log, encoding="utf-8", errors="replace") as f:
                        f.seek(since.get(k, 0))
                        for line in f.read().splitlines()[-12:]:
                            print("# %s: %s" % (k.name, line[:300]))
                print("not ok %d - %s" % (i + 1, what))
                sys.stdout.flush()
            for k in RUN.servers:       # a test that failed may have left one
                if k not in kept:
                    k.stop()
    finally:
        for k in RUN.servers:
            k.stop()
        if args.keep_logs:
            print("# logs in " + RUN.work)
        else:
            shutil.rmtree(RUN.work, ignore_errors=True)
        if lifeline is not None:
            os.close(lifeline)
    return 1 if failed else 0
