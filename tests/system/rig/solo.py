# SPDX-License-Identifier: GPL-2.0-or-later
"""One Kamailio with p2p_usrloc, and a gateway that does what it is told (tests/mock)."""

import os
import re
import socket
import subprocess
import sys
import time

from . import peer, proc, tap, world

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))), "mock"))
import mock_gateway         # noqa: E402  pylint: disable=wrong-import-position

ADDR = ("127.0.0.1", 5060)
PEER = "2001:21:aaaa::1"
PEER2 = "2001:21:bbbb::2"

CFG = """%(core)s
loadmodule "corex.so"
%(first)s
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "timer_interval", 1)
modparam("registrar", "min_expires", 1)
loadmodule "p2p_usrloc.so"
modparam("p2p_usrloc", "gateway_socket", "%(dir)s/gateway.sock")
%(more)s
request_route {
	if (is_method("REGISTER")) {
		if ($hdr(X-Table) == "other") { save("other"); } else { save("location"); }
		exit;
	}
%(route)s
}
%(routes)s
"""

LOOKUP_MODULES = """
loadmodule "rr.so"
loadmodule "p2p_route.so"
modparam("p2p_route", "advertise", "sip:127.0.0.1:5060;transport=udp")
loadmodule "p2p_registrar.so"
modparam("p2p_registrar", "lookup_timeout_ms", 1500)
modparam("p2p_usrloc", "cache_fresh_ms", %d)
"""
LOOKUP_ROUTE = """	p2p_lookup("location", "FOUND");
	exit;"""
LOOKUP_ROUTES = """route[FOUND] {
	if ($var(p2p_result) == "found") { send_reply("202", "found $du"); exit; }
	if ($var(p2p_result) == "absent") { send_reply("404", "absent"); exit; }
	if ($var(p2p_result) == "unknown") { send_reply("480", "unknown"); exit; }
	send_reply("503", "$var(p2p_result)");
	exit;
}"""


class Sip:
    """Requests over UDP, answered in the order sent."""

    def __init__(self):
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.s.settimeout(5)
        self.port = self.s.getsockname()[1]
        self.n = 0
        self.run = "%x" % time.monotonic_ns()

    def close(self):
        self.s.close()

    def send(self, method, user, domain="127.0.0.1", headers=(), cseq=None):
        self.n += 1
        self.s.sendto(("\r\n".join([
            "%s sip:%s%s SIP/2.0" % (method, "" if method == "REGISTER" else user + "@", domain),
            "Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%s%d" % (self.port, self.run, self.n),
            "Max-Forwards: 70",
            "From: <sip:%s@%s>;tag=t%d" % (user if method == "REGISTER" else "tester", domain,
                                           self.n),
            "To: <sip:%s@%s>" % (user, domain),
            "Call-ID: %s-%s%s" % (user, self.run, "" if method == "REGISTER" else self.n),
            "CSeq: %d %s" % (cseq or self.n, method)] + list(headers) +
            ["Content-Length: 0", "", ""])).encode(), ADDR)
        return self.n

    def answer(self):
        """(code, reason, CSeq number)"""
        while True:
            text = self.s.recv(65535).decode(errors="replace")
            code = int(text.split(" ", 2)[1])
            if code >= 200:
                seq = int(re.search(r"^CSeq: *(\d+)", text, re.M | re.I).group(1))
                return code, text.split("\r\n", 1)[0].split(" ", 2)[2], seq

    def register(self, user, expires=600, instance=None, contact=None, want=200, headers=(),
                 domain="127.0.0.1"):
        extra = ';+sip.instance="<%s>"' % instance if instance else ""
        self.send("REGISTER", user, domain, list(headers) + [
            "Contact: <%s>;expires=%d%s" % (contact or "sip:%s@127.0.0.1:%d" % (user, self.port),
                                            expires, extra)])
        code, reason, _ = self.answer()
        if code != want:
            raise proc.Failed("REGISTER of %s: %d %s" % (user, code, reason))

    def many(self, users, expires=600):
        """Registers all, several at a time."""
        users = list(users)
        ahead = 20
        for i, u in enumerate(users):
            self.send("REGISTER", u, headers=[
                "Contact: <sip:%s@127.0.0.1:%d>;expires=%d" % (u, self.port, expires)])
            if i >= ahead:
                self.answer()
        for _ in range(min(ahead, len(users))):
            self.answer()

    def ask(self, user, method="OPTIONS", domain="127.0.0.1"):
        start = time.monotonic()
        self.send(method, user, domain)
        code, reason, _ = self.answer()
        return code, reason, time.monotonic() - start


class Solo:
    """One Kamailio, one mock gateway."""

    def __init__(self, gateway=True, start=True, options=(), shm=64, **parts):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.kam = peer.Kamailio(None, "kam", os.path.join(world.WORK, "kam.cfg"),
                                 ["udp:127.0.0.1:5060"], options=options, shm=shm)
        self.write(**parts)
        self.gw = mock_gateway.Gateway(os.path.join(self.kam.dir, "gateway.sock"))
        self.sip = Sip()
        if gateway:
            self.gw.start()
        if start:
            self.kam.start()
            if gateway:
                self.in_step()

    def write(self, core="", first="", more="", route='\tsl_send_reply("404", "no");',
              routes=""):
        self.core = core
        self.kam.cfg_write(CFG % dict(core=core, dir=self.kam.dir, first=first, more=more,
                                      route=route, routes=routes), children=2)

    def text(self, *command):
        """What kamcmd prints."""
        r = subprocess.run(["kamcmd", "-s", "unix:" + self.kam.ctl] + [str(c) for c in command],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=10, check=False)
        return r.stdout

    def status(self):
        return self.kam.rpc("p2p_usrloc.status")

    def stats(self):
        return self.kam.rpc("p2p_usrloc.stats")

    def in_step(self, timeout=10):
        proc.wait_for("Kamailio is in step with the gateway",
                      lambda: self.status()["synced"] == "yes"
                      and self.status()["publishing"] == 0, timeout)

    def published(self, *names, timeout=5):
        proc.wait_for("%s published" % ", ".join(names),
                      lambda: all(n in self.gw.users for n in names), timeout)

    def gone(self, *names, timeout=5):
        proc.wait_for("%s withdrawn" % ", ".join(names),
                      lambda: not any(n in self.gw.users for n in names), timeout)

    def away(self, timeout=8):
        proc.wait_for("Kamailio notices that the gateway is gone",
                      lambda: self.status()["gateway"] == "away", timeout)

    def check(self):
        self.gw.mode = "good"
        tap.check_processes()

    def close(self):
        self.sip.close()
        if self.kam.proc:
            self.kam.proc.stop()
        self.gw.stop()
        tap.check_processes()


def solo():
    return Solo()


def lookups():
    return Solo(more=LOOKUP_MODULES % 30000, route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES)


def stale_lookups():
    return Solo(more=LOOKUP_MODULES % 0, route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES)


def need(condition, what):
    if not condition:
        raise proc.Failed(what)


def count(s, cmd):
    return s.gw.counts.get(cmd, 0)
