#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Routing between overlay peers: real Kamailios with the shipped configuration, small SIP phones,
and gateways whose directory the test holds in its hands (so that a search can be slow, fail, or be
out of date at will). Everything runs in a network namespace of this process's own, which goes away
with it, and every child dies with it too.

    test_routing.py [--modules DIR] [--keep-logs] [pattern]      TAP on stdout
"""
import argparse
import ctypes
import hashlib
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from rig.session import Fixed

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
DOMAIN = "overlay.test"
STOCK = "/usr/lib/x86_64-linux-gnu/kamailio/modules"
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

A, B, C, D, E, F = ("10.88.0.%d" % i for i in range(1, 7))
A6, B6 = "fd88::1", "fd88::2"
DEAD = "10.88.0.99"       # an address of ours where nothing listens and nothing is refused
STRANGER = "10.88.0.200"
SESSIONS = Fixed()
HIT_A, HIT_B, HIT_C, HIT_D, HIT_DEAD = ("2001:22:%x:1::%x" % (i, i)
                                        for i in (0xa, 0xb, 0xc, 0xd, 0xdead))


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


# --- the gateway's place ---------------------------------------------------------------------------

class Gateway:
    """Speaks the gateway's RESP commands to one Kamailio."""
    known = {}      # HIT -> its gateway

    def __init__(self, path, hit):
        self.path, self.hit = path, hit
        self.known[hit] = self
        self.users = {}      # name -> list of (hit, [uri], {options})
        self.delay = {}      # name -> seconds
        self.error = {}      # name -> error line
        self.serves = {}     # name -> 0, 1, 2
        self.peers = {}      # hit -> [uri]
        self.published = {}
        self.asked = []
        self.uris = []
        self.lock = threading.Lock()
        self.clients = set()
        self.subscribers = set()
        self.listener = None
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        os.unlink(self.path)
        for c in list(self.clients):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        self.clients.add(c)
        f = c.makefile("rb")
        try:
            while True:
                line = f.readline()
                if not line.startswith(b"*"):
                    return
                args = []
                for _ in range(int(line[1:])):
                    n = int(f.readline()[1:])
                    args.append(f.read(n + 2)[:n].decode())
                delay = self.delay.get(args[1], 0) if args[0].upper() == "ROUTE" else 0
                if delay:
                    # replies are in order on one connection: the search holds the line up here,
                    # as the gateway would not. The module has other connections.
                    limit = int(args[2]) / 1000.0
                    time.sleep(min(delay, limit + 0.5))
                    if delay > limit:       # later than asked for: the module has given it up
                        c.sendall(b"-TIMEOUT search not completed\r\n")
                        continue
                c.sendall(self._answer(c, args))
        except (OSError, ValueError, IndexError):
            pass
        finally:
            self.clients.discard(c)
            self.subscribers.discard(c)
            c.close()

    @staticmethod
    def _bulk(v):
        if isinstance(v, list):
            return b"*%d\r\n" % len(v) + b"".join(Gateway._bulk(x) for x in v)
        b = str(v).encode()
        return b"$%d\r\n%s\r\n" % (len(b), b)

    def _candidates(self, name):
        out = []
        for i, (hit, uris, opt) in enumerate(self.users.get(name, [])):
            out.append([hit, opt.get("order", 1000 + i), opt.get("ttl", 60000),
                        opt.get("flags", 0), opt.get("session", SESSIONS.reply(self.hit, hit, uris)),
                        len(uris)] + uris + opt.get("instances", []))
        return out

    def _session(self, ident):
        """The session of this id, whoever it is with."""
        for hit, g in self.known.items():
            if hit != self.hit and SESSIONS.id(self.hit, hit) == ident:
                return SESSIONS.reply(self.hit, hit, g.uris or ["sip:192.0.2.254:5060"])
        return None

    def _answer(self, c, args):
        cmd = args[0].upper()
        with self.lock:
            if cmd == "HANDSHAKE":
                self.uris = args[5::2]
                return self._bulk(["server", "mock", "version", "0", "hit", self.hit,
                                   "overlay", "test", "epoch", "1"])
            if cmd == "PING":
                return b"+PONG\r\n"
            if cmd == "PUBLISH":
                self.published[args[1]] = args[3:]
                return b"+OK\r\n"
            if cmd == "WITHDRAW":
                self.published.pop(args[1], None)
                return b"+OK\r\n"
            if cmd == "SYNCED":
                return b":%d\r\n" % sum(1 for v in self.serves.values() if v == 2)
            if cmd == "SERVES":
                self.asked.append(tuple(args))
                return b":%d\r\n" % self.serves.get(args[1], 0)
            if cmd == "ROUTE":
                self.asked.append(tuple(args))
                if args[1] in self.error:
                    return b"-" + self.error[args[1]].encode() + b"\r\n"
                found = self._candidates(args[1])
                return self._bulk(found) if found else b"-NOTFOUND nobody serves it\r\n"
            if cmd == "PEER":
                self.asked.append(tuple(args))
                uris = self.peers.get(args[1])
                if uris is None:
                    return b"-NOTFOUND no such peer\r\n"
                return self._bulk([args[1], 1, 100000, len(uris)] + uris)
            if cmd == "SESSION":
                self.asked.append(tuple(args))
                found = self._session(args[1])
                return self._bulk(found) if found else b"-NOTFOUND no such session\r\n"
            if cmd in ("USED", "REFUSED"):
                self.asked.append(tuple(args))
                return b"+OK\r\n"
            if cmd == "SUBSCRIBE":
                self.subscribers.add(c)
                return b"".join(b"*3\r\n" + self._bulk("subscribe") + self._bulk(ch) + b":%d\r\n"
                                % (i + 1) for i, ch in enumerate(args[1:]))
            return b"-BADARG unknown command\r\n"

    def publish(self, channel, payload):
        for c in list(self.subscribers):
            c.sendall(self._bulk(["message", channel, payload]))

    def routes(self, name):
        with self.lock:
            return [a for a in self.asked if a[0].upper() == "ROUTE" and a[1] == name]


# --- Kamailio --------------------------------------------------------------------------------------

class Kamailio:
    def __init__(self, name, addr, hit, addr6=None, cfg=None, defines=(), edit=(), listen=None,
                 options=()):
        self.name, self.addr, self.addr6, self.hit = name, addr, addr6, hit
        self.dir = os.path.join(WORK, name)
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
        SERVERS.append(self)
        self.start()

    def start(self):
        argv = ["kamailio", "-f", self.cfg, "-DD", "-E", "-P", self.dir + "/pid", "-w", self.dir,
                "-Y", self.dir, "-m", "64", "-M", "8", "-L", MODULES + ":" + STOCK]
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
                                         stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        try:
            wait_for("kamcmd answers", lambda: self.rpc("core.version") is not None, 15)
            wait_for("handshake", lambda: self.gateway.clients and self.gateway_up(), 5)
        except AssertionError:
            print("# " + "\n# ".join(self.logged().splitlines()[-25:]))
            raise

    def gateway_up(self):
        out = self.rpc("p2p_usrloc.stats") or ""
        return "gateway_up: 1" in out or "up: yes" in out or self.gateway.uris

    def stop(self, sig=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
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

    def logged(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def idle(self):
        m = re.search(r"current: (\d+)", self.rpc("tm.stats") or "")
        return m and int(m.group(1)) == 0

    def uris(self, *transports):
        return ["sip:%s:5060;transport=%s" % (self.addr, t) for t in transports or ("udp", "tcp")]


# --- phones ------------------------------------------------------------------------------------------

class Message:
    def __init__(self, data):
        head, _, self.body = data.partition("\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
        self.start = lines[0]
        self.headers = []
        for x in lines[1:]:
            k, _, v = x.partition(":")
            self.headers.append((k.strip(), v.strip()))
        self.code = int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else 0
        self.method = None if self.code else self.start.split()[0]
        self.ruri = None if self.code else self.start.split()[1]
        self.when = time.monotonic()
        self.source = None

    def all(self, name):
        out = []
        for k, v in self.headers:
            if k.lower() == name.lower():
                out += [x.strip() for x in v.split(",")] if name in ("Record-Route", "Route",
                                                                      "Via") else [v]
        return out

    def get(self, name):
        got = self.all(name)
        return got[0] if got else None

    @property
    def cseq(self):
        return self.get("CSeq").split()

    def tag(self, name):
        m = re.search(r";tag=([^;>\s]+)", self.get(name) or "")
        return m.group(1) if m else None

    def uri(self, name):
        v = self.get(name)
        m = re.search(r"<([^>]+)>", v or "")
        return m.group(1) if m else (v or "").split(";")[0]


class Phone:
    """A phone on UDP. answer[method]: list of (seconds, code) or (seconds, code, [header])."""
    count = 0

    def __init__(self, addr, user=None, port=0, instance=None):
        self.v6 = ":" in addr
        self.sock = socket.socket(socket.AF_INET6 if self.v6 else socket.AF_INET,
                                  socket.SOCK_DGRAM)
        self.sock.bind((addr, port))
        self.port = self.sock.getsockname()[1]
        self.addr, self.user, self.instance = addr, user or "anon", instance
        self.host = ("[%s]:%d" if self.v6 else "%s:%d") % (addr, self.port)
        self.answer = {"INVITE": [(0, 180), (0.03, 200)], "*": [(0, 200)]}
        self.requests, self.calls = [], {}
        self.cseq = 0
        self.closed = False
        PHONES.append(self)
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self.closed = True
        self.sock.close()

    @classmethod
    def unique(cls):
        Phone.count += 1
        return "%d-%d" % (os.getpid(), Phone.count)

    def contact(self):
        return "<sip:%s@%s>" % (self.user, self.host) + (
            ";+sip.instance=\"<%s>\"" % self.instance if self.instance else "")

    def _send(self, text, to):
        try:
            self.sock.sendto(text.encode(), to)
        except OSError:
            if not self.closed:
                raise

    def _run(self):
        while not self.closed:
            try:
                data, src = self.sock.recvfrom(65536)
            except OSError:
                return
            if len(data) < 20:
                continue
            m = Message(data.decode(errors="replace"))
            m.source = src
            try:
                if m.code:
                    call = self.calls.get((m.get("Call-ID"), m.cseq[0], m.cseq[1]))
                    if call:
                        call.reply(m)
                else:
                    self._request(m, src)
            except Exception:      # pylint: disable=broad-except
                traceback.print_exc(file=sys.stdout)

    def _request(self, m, src):
        old = [x for x in self.requests if x.get("Via") == m.get("Via") and x.method == m.method]
        self.requests.append(m)
        if m.method == "ACK" or (old and m.method != "CANCEL"):
            return
        if m.method == "CANCEL":
            self._reply(m, src, 200)
            for x in self.requests:
                if x.method == "INVITE" and x.get("Via") == m.get("Via"):
                    x.cancelled = True
                    if not getattr(x, "final", False):
                        x.final = True
                        self._reply(x, src, 487)
            return
        plan = self.answer.get(m.method, self.answer["*"])
        threading.Thread(target=self._play, args=(m, src, plan), daemon=True).start()

    def _play(self, m, src, plan):
        for step in plan:
            time.sleep(step[0])
            if self.closed or getattr(m, "final", False):
                return
            if step[1] >= 200:
                m.final = True
            self._reply(m, src, step[1], step[2] if len(step) > 2 else ())

    def _reply(self, m, src, code, extra=()):
        out = ["SIP/2.0 %d Reply" % code]
        for k, v in m.headers:
            if k in ("Via", "From", "Call-ID", "CSeq", "Record-Route"):
                out.append("%s: %s" % (k, v))
            if k == "To":
                out.append("To: " + v + ("" if "tag=" in v or code == 100
                                         else ";tag=" + self.user + str(self.port)))
        out += list(extra)
        if m.method in ("INVITE", "SUBSCRIBE") and 180 <= code < 300:
            out.append("Contact: " + self.contact())
        out.append("Content-Length: 0\r\n\r\n")
        self._send("\r\n".join(out), src)

    def send(self, method, uri, proxy, to=None, headers=(), body="", frm=None, dialog=None,
             route=(), via=None, peer=None, hops=1):
        """A request; returns the Call that gathers its replies. peer: (HIT, HIT) signed by the
        first for the second."""
        self.cseq += 1
        call = Call(self, method, uri, proxy)
        call.cid = dialog.cid if dialog else self.unique() + "@" + self.addr
        call.frm = dialog.frm if dialog else "<%s>;tag=%s" % (
            frm or "sip:%s@%s" % (self.user, DOMAIN), self.unique())
        call.to = dialog.to if dialog else "<%s>" % (to or uri)
        call.seq = str(self.cseq)
        call.via = via or "SIP/2.0/UDP %s;branch=z9hG4bK%s;rport" % (self.host, self.unique())
        call.headers, call.body, call.route = list(headers), body, list(route)
        call.peer = peer
        if peer:
            call.headers.append(call.sign(method, uri, hops))
        self.calls[(call.cid, call.seq, method)] = call
        call.text = self._build(call, method, uri)
        call.sent = time.monotonic()
        self._send(call.text, proxy)
        return call

    def _build(self, call, method, uri, to=None, seq=None):
        out = ["%s %s SIP/2.0" % (method, uri), "Via: " + call.via, "Max-Forwards: 70"]
        out += ["Route: " + r for r in call.route]
        out += ["From: " + call.frm, "To: " + (to or call.to), "Call-ID: " + call.cid,
                "CSeq: %s %s" % (seq or call.seq, method)]
        if method in ("INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"):
            out.append("Contact: " + self.contact())
        if method not in ("ACK", "CANCEL"):
            out += call.headers
        body = call.body if method not in ("ACK", "CANCEL") else ""
        if body:
            out.append("Content-Type: text/plain")
        out.append("Content-Length: %d" % len(body))
        return "\r\n".join(out) + "\r\n\r\n" + body

    def register(self, kam, expires=600, contact=None, headers=()):
        proxy = (kam.addr6 if self.v6 else kam.addr, 5060)
        c = self.send("REGISTER", "sip:" + DOMAIN, proxy,
                      to="sip:%s@%s" % (self.user, DOMAIN),
                      headers=["Contact: %s;expires=%d" % (contact or self.contact(), expires)]
                      + list(headers))
        equal(c.final(3).code, 200, "REGISTER of " + self.user)
        return c

    def got(self, method):
        return [r for r in self.requests if r.method == method]


class TlsPhone(Phone):
    """The same over one TLS connection to its server."""

    def __init__(self, addr, user, server):     # pylint: disable=super-init-not-called
        def connect():
            try:
                return socket.create_connection((server, 5061), 5, (addr, 0))
            except ConnectionRefusedError:      # Kamailio's TCP process comes last
                return None
        raw = wait_for("TLS port", connect)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(raw)
        self.sock.settimeout(5)
        self.v6, self.addr, self.user, self.instance = False, addr, user, None
        self.port = self.sock.getsockname()[1]
        self.host = "%s:%d" % (addr, self.port)
        self.answer = {"INVITE": [(0, 180), (0.03, 200)], "*": [(0, 200)]}
        self.requests, self.calls, self.cseq, self.closed = [], {}, 0, False
        self.lock = threading.Lock()
        PHONES.append(self)
        threading.Thread(target=self._read, daemon=True).start()

    def contact(self):
        return "<sip:%s@%s;transport=tls>" % (self.user, self.host)

    def send(self, *args, **kw):        # pylint: disable=arguments-differ
        return super().send(*args, via="SIP/2.0/TLS %s;branch=z9hG4bK%s;rport" % (
            self.host, self.unique()), **kw)

    def _send(self, text, to):
        with self.lock:
            self.sock.sendall(text.replace("SIP/2.0/UDP " + self.host,
                                           "SIP/2.0/TLS " + self.host).encode())

    def _recv(self):
        """What has come. OpenSSL bears no reading and writing of one connection at once."""
        while not self.closed:
            if not self.sock.pending() and not select.select([self.sock], [], [], 0.5)[0]:
                continue
            with self.lock:
                self.sock.settimeout(0)
                try:
                    return self.sock.recv(65536)
                except ssl.SSLWantReadError:        # part of a record, or a session ticket
                    pass
                finally:
                    self.sock.settimeout(5)
        return b""

    def _read(self):
        data = b""
        while not self.closed:
            head, sep, rest = data.partition(b"\r\n\r\n")
            m = re.search(rb"(?im)^content-length\s*:\s*(\d+)", head)
            n = int(m.group(1)) if m else 0
            if not sep or len(rest) < n:
                try:
                    more = self._recv()
                except (OSError, ValueError):       # closed meanwhile
                    return
                if not more:
                    return
                data = (data + more).lstrip(b"\r\n")
                continue
            data = rest[n:].lstrip(b"\r\n")
            m = Message((head + sep + rest[:n]).decode(errors="replace"))
            m.source = None
            if m.code:
                call = self.calls.get((m.get("Call-ID"), m.cseq[0], m.cseq[1]))
                if call:
                    call.reply(m)
            else:
                self._request(m, None)


class Call:
    def __init__(self, phone, method, uri, proxy):
        self.phone, self.method, self.uri, self.proxy = phone, method, uri, proxy
        self.replies = []
        self.event = threading.Condition()
        self.acked = None
        self.peer = None

    def sign(self, method, uri, hops=1):
        """The header of a peer's request."""
        return "P2P-Peer: " + SESSIONS.header(
            *self.peer, method=method, uri=uri, callid=self.cid, cseq=self.seq, hops=hops,
            dialog=";tag=" in self.to, tag=re.search(r";tag=([^;>]+)", self.frm).group(1))

    def reply(self, m):
        with self.event:
            self.replies.append(m)
            self.event.notify_all()
        if self.method == "INVITE" and m.code >= 300:
            self.phone._send(self.phone._build(self, "ACK", self.uri, to=m.get("To")), self.proxy)
        elif self.method == "INVITE" and m.code >= 200:
            self.to = m.get("To")
            self.routes = list(reversed(m.all("Record-Route")))
            self.target = m.uri("Contact")
            self.within("ACK")

    def wait(self, test, timeout, what):
        end = time.monotonic() + timeout
        with self.event:
            while True:
                for m in self.replies:
                    if test(m):
                        return m
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("%s %s: no %s within %.1f s (got %s)" % (
                        self.method, self.uri, what, timeout, [m.code for m in self.replies]))
                self.event.wait(left)

    def code(self, code, timeout=3):
        return self.wait(lambda m: m.code == code, timeout, str(code))

    def final(self, timeout=5):
        return self.wait(lambda m: m.code >= 200, timeout, "final reply")

    def seconds(self):
        return self.final().when - self.sent

    def cancel(self):
        p = self.phone
        c = Call(p, "CANCEL", self.uri, self.proxy)
        c.cid, c.seq = self.cid, self.seq
        p.calls[(c.cid, c.seq, "CANCEL")] = c
        p._send(p._build(self, "CANCEL", self.uri), self.proxy)
        return c

    def within(self, method, headers=(), body=""):
        """A request within the dialog that the 2xx made."""
        p = self.phone
        if method == "ACK":
            c = Call(p, "ACK", self.target, self.proxy)
            c.cid, c.frm, c.to, c.seq = self.cid, self.frm, self.to, self.seq
            c.via = "SIP/2.0/UDP %s;branch=z9hG4bK%s;rport" % (p.host, p.unique())
            c.route, c.headers, c.body = ["%s" % r for r in self.routes], [], ""
            self.acked = c
            text = p._build(c, "ACK", self.target)
            if self.peer:
                c.peer = self.peer
                text = text.replace("\r\nTo:", "\r\n%s\r\nTo:" % c.sign("ACK", self.target), 1)
            p._send(text, self.proxy)
            return c
        return p.send(method, self.target, self.proxy, headers=headers, body=body, dialog=self,
                      route=self.routes, peer=self.peer)

    def bye(self):
        c = self.within("BYE")
        equal(c.final(3).code, 200, "BYE")


def sip(user):
    return "sip:%s@%s" % (user, DOMAIN)


# --- the tests ---------------------------------------------------------------------------------------

TESTS = []


def test(f):
    TESTS.append(f)
    return f


class World:
    """Two overlay peers, shared by most tests: a phone of alice's at A, callers at B."""

    def __init__(self):
        self.a = Kamailio("a", A, HIT_A, A6)
        self.b = Kamailio("b", B, HIT_B, B6)
        for k in (self.a, self.b):
            k.gateway.peers = {HIT_A: self.a.uris() + ["sip:[%s]:5060;transport=udp" % A6],
                               HIT_B: self.b.uris() + ["sip:[%s]:5060;transport=udp" % B6],
                               HIT_C: ["sip:%s:5060" % C]}
        self.bob = Phone("10.88.0.20", "bob")
        self.bob.register(self.b)

    def phone(self, user, n, kam=None, **kw):
        p = Phone("10.88.0.%d" % n, user, **kw)
        if kam:
            p.register(kam)
        return p

    def served(self, name, *where, at=None, **opt):
        (at or self.b).gateway.users[name] = [(h, u, opt) for h, u in where]

    def call(self, user, method="INVITE", frm=None, **kw):
        p = frm or self.bob
        return p.send(method, sip(user), (B, 5060), **kw)


@test
def t_call(w):
    """call: not cached, over UDP; in-dialog requests take the same way"""
    alice = w.phone("alice", 10, w.a)
    w.served("alice", (HIT_A, w.a.uris()))
    c = w.call("alice")
    c.code(180)
    equal(c.final().code, 200, "INVITE")
    inv = alice.got("INVITE")[0]
    check(not [k for k, _ in inv.headers if k.lower().startswith("p2p-")],
          "the phone sees a header of the peers' own")
    wait_for("ACK at the phone", lambda: alice.got("ACK"))
    re_inv = c.within("INVITE")
    equal(re_inv.final().code, 200, "re-INVITE")
    c.bye()
    bye = alice.got("BYE")[0]
    for m in (inv, alice.got("INVITE")[1], bye):
        hosts = [re.search(r"UDP ([\d.]+)", v).group(1) for v in m.all("Via")]
        equal(hosts, [A, B, "10.88.0.20"], "way of " + m.method)
    check(w.b.gateway.routes("alice"), "the gateway was not asked")
    equal(w.b.stat("p2p_registrar", "suspended_now"), 0, "suspended")


@test
def t_cached(w):
    """call: cached, the gateway is not asked again"""
    n = len(w.b.gateway.routes("alice"))
    c = w.call("alice")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    equal(len(w.b.gateway.routes("alice")), n, "questions")


@test
def t_reverse(w):
    """call: the called side hangs up"""
    alice = [p for p in PHONES if p.user == "alice"][0]
    c = w.call("alice")
    equal(c.final().code, 200, "INVITE")
    inv = alice.got("INVITE")[-1]
    d = Call(alice, "BYE", None, None)
    d.cid, d.frm, d.to = inv.get("Call-ID"), inv.get("To") + ";tag=alice%d" % alice.port, \
        inv.get("From")
    bye = alice.send("BYE", inv.uri("Contact"), inv.source, dialog=d,
                     route=inv.all("Record-Route"))
    equal(bye.final().code, 200, "BYE from the called side")
    wait_for("BYE at the caller", lambda: w.bob.got("BYE"))
    hosts = [re.search(r"UDP ([\d.]+)", v).group(1) for v in w.bob.got("BYE")[-1].all("Via")]
    equal(hosts, [B, A, "10.88.0.10"], "way of BYE")


@test
def t_tcp(w):
    """call: a request above tcp_threshold takes TCP between the peers, in-dialog requests too"""
    before = w.b.stat("p2p_route", "tcp_for_size")
    c = w.call("alice", body="x" * 1200)
    equal(c.final().code, 200, "INVITE")
    alice = [p for p in PHONES if p.user == "alice"][0]
    equal(w.b.stat("p2p_route", "tcp_for_size"), before + 1, "tcp_for_size")
    via = alice.got("INVITE")[-1].all("Via")
    check("TCP " + B in via[1], "no TCP between the peers: %s" % via)
    c.bye()
    via = alice.got("BYE")[-1].all("Via")
    check("TCP " + B in via[1], "BYE did not take TCP: %s" % via)
    rr = alice.got("INVITE")[-1].all("Record-Route")
    check(len(rr) == 4, "Record-Routes: %s" % rr)


@test
def t_ipv6(w):
    """call: the peer has IPv6 only"""
    w.served("alice6", (HIT_A, ["sip:[%s]:5060;transport=udp" % A6]))
    p = w.phone("alice6", 11, w.a)
    c = w.call("alice6")
    equal(c.final().code, 200, "INVITE")
    check("[%s]" % B6 in p.got("INVITE")[0].all("Via")[1], "not over IPv6")
    c.bye()
    check("[%s]" % B6 in p.got("BYE")[0].all("Via")[1], "BYE not over IPv6")


@test
def t_unknown(w):
    """unknown user: 404"""
    c = w.call("nobody")
    equal(c.final().code, 404, "INVITE")


@test
def t_timeout(w):
    """search not completed: 480 with Retry-After, by the deadline"""
    w.b.gateway.error["slow"] = "TIMEOUT search not completed"
    c = w.call("slow")
    equal(c.final().code, 480, "INVITE")
    check(c.final().get("Retry-After"), "no Retry-After")
    equal(len(w.b.gateway.routes("slow")), 1, "questions")
    w.b.gateway.delay["slower"] = 9
    c = w.call("slower")
    equal(c.final().code, 480, "INVITE")
    check(1.5 < c.seconds() < 2.6, "after %.2f s" % c.seconds())
    w.b.gateway.delay.clear()


@test
def t_denied_busy(w):
    """gateway busy: 503 with Retry-After"""
    w.b.gateway.error["busy"] = "BUSY too many searches"
    c = w.call("busy")
    equal(c.final().code, 503, "INVITE")
    check(c.final().get("Retry-After"), "no Retry-After")


@test
def t_cancel_lookup(w):
    """CANCEL while the lookup runs: 487 at once, nothing sent on"""
    p = w.phone("late", 12, w.a)
    w.served("late", (HIT_A, w.a.uris()))
    w.b.gateway.delay["late"] = 0.8
    c = w.call("late")
    c.code(100, 1)
    time.sleep(0.1)
    x = c.cancel()
    equal(x.final().code, 200, "CANCEL")
    equal(c.final().code, 487, "INVITE")
    check(c.seconds() < 0.6, "487 after %.2f s" % c.seconds())
    w.b.gateway.delay.clear()
    wait_for("answer came", lambda: w.b.stat("p2p_registrar", "suspended_now") == 0)
    time.sleep(0.2)
    equal(p.got("INVITE"), [], "INVITEs at the phone")
    equal(w.b.stat("p2p_registrar", "cancelled"), 1, "counted as cancelled")
    check("transaction not found" not in w.b.logged(), "tm complains")


@test
def t_cancel_ringing(w):
    """CANCEL while ringing"""
    p = w.phone("ringing", 13, w.a)
    p.answer["INVITE"] = [(0, 180)]
    w.served("ringing", (HIT_A, w.a.uris()))
    c = w.call("ringing")
    c.code(180)
    c.cancel()
    equal(c.final().code, 487, "INVITE")
    wait_for("CANCEL at the phone", lambda: p.got("CANCEL"))


@test
def t_busy(w):
    """busy: the called phone's 486 passes"""
    p = w.phone("occupied", 14, w.a)
    p.answer["INVITE"] = [(0, 486)]
    w.served("occupied", (HIT_A, w.a.uris()))
    equal(w.call("occupied").final().code, 486, "INVITE")


@test
def t_unreachable(w):
    """peer that cannot be reached: 503 with Reason within 2 s, one log line, then at once"""
    w.served("far", (HIT_DEAD, ["sip:%s:5060" % DEAD]))
    c = w.call("far")
    equal(c.final().code, 503, "INVITE")
    check(c.seconds() < 2.0, "503 after %.2f s" % c.seconds())
    check("SIP;cause=503;text=" in (c.final().get("Reason") or ""), "no Reason")
    check(c.final().get("Retry-After"), "no Retry-After")
    times = []
    for _ in range(3):
        c = w.call("far")
        equal(c.final().code, 503, "INVITE")
        times.append(c.seconds())
    check(min(times) < 0.1, "503 after %s s when it is known" % times)
    lines = [x for x in w.b.logged().splitlines() if "does not answer" in x]
    equal(len(lines), 1, "log lines")
    check("state: down" in re.sub(r"\s+", " ", w.b.rpc("p2p_route.peers")), "not shown as down")


@test
def t_nobody_listens(w):
    """a peer whose host lives and whose Kamailio does not: 503 at once, the first time too"""
    for n, (transport, method) in enumerate((("udp", "INVITE"), ("udp", "MESSAGE"))):
        w.served("gone%d" % n, ("2001:22:d:6::%d" % (n + 1),
                                ["sip:%s:%d;transport=%s" % (C, 5990 + n, transport)]))
        c = w.call("gone%d" % n, method, body="hello" if method == "MESSAGE" else "")
        equal(c.final().code, 503, method)
        check(c.seconds() < 1.0, "503 after %.2f s" % c.seconds())
        check(c.final().get("Retry-After"), "no Retry-After")
        check("SIP;cause=503;text=" in (c.final().get("Reason") or ""), "no Reason")
    # a phone that takes its time is no peer that is gone
    p = w.phone("slowone", 16, w.a)
    p.answer["MESSAGE"] = [(1.0, 200)]
    w.served("slowone", (HIT_A, w.a.uris()))
    equal(w.call("slowone", "MESSAGE", body="hello").final(8).code, 200, "MESSAGE")


@test
def t_peer_503(w):
    """a peer's 503 is the caller's, with its Reason and a Retry-After; a phone's is a 500"""
    p = Phone(C, "unwell", port=5076)
    p.answer["INVITE"] = [(0, 503)]
    w.served("unwell", (HIT_C, ["sip:%s:5076" % C]))
    c = w.call("unwell")
    equal(c.final().code, 503, "INVITE")
    check(c.final().get("Retry-After"), "no Retry-After")
    check("SIP;cause=503;text=" in (c.final().get("Reason") or ""), "no Reason")
    p.close()
    here = w.phone("unwellhere", 53, w.b)
    here.answer["INVITE"] = [(0, 503)]
    equal(w.call("unwellhere").final().code, 500, "INVITE to a phone that says 503")


@test
def t_unreachable_tcp(w):
    """the same with a peer that only has TCP, and with one that refuses the connection"""
    hit = "2001:22:d:2::1"
    w.served("fartcp", (hit, ["sip:%s:5060;transport=tcp" % DEAD]))
    c = w.call("fartcp")
    equal(c.final().code, 503, "INVITE")
    check(c.seconds() < 2.0, "503 after %.2f s" % c.seconds())
    w.served("refuses", ("2001:22:d:3::1", ["sip:%s:5999;transport=tcp" % C]))
    c = w.call("refuses")
    equal(c.final().code, 503, "INVITE")
    check(c.seconds() < 2.0, "503 after %.2f s" % c.seconds())


@test
def t_unreachable_noninvite(w):
    """requests other than INVITE: 503 within 2 s too, but a slow phone may take its time"""
    w.served("farmsg", ("2001:22:d:4::1", ["sip:%s:5060" % DEAD]))
    c = w.call("farmsg", "MESSAGE", body="hello")
    equal(c.final().code, 503, "MESSAGE")
    check(c.seconds() < 2.0, "503 after %.2f s" % c.seconds())
    p = w.phone("slowmsg", 15, w.a)
    p.answer["MESSAGE"] = [(4.0, 200)]
    w.served("slowmsg", (HIT_A, w.a.uris()))
    c = w.call("slowmsg", "MESSAGE", body="hello")
    equal(c.final(8).code, 200, "MESSAGE")
    check(c.seconds() > 3.5, "after %.2f s" % c.seconds())


@test
def t_recovers(w):
    """a peer that was down is used again as soon as it answers"""
    hit = "2001:22:d:5::1"
    w.served("back", (hit, ["sip:%s:5070" % C]))
    equal(w.call("back").final().code, 503, "INVITE")
    # the peer comes to life: a bare socket that answers like a proxy
    p = Phone(C, "back", port=5070)
    p.answer["OPTIONS"] = [(0, 200)]
    wait_for("probe", lambda: p.got("OPTIONS"), 15)
    wait_for("up again", lambda: w.call("back").final().code == 200, 3)
    p.close()


@test
def t_stale(w):
    """stale record: the peer says 404, the fresh lookup finds the other peer"""
    p = w.phone("moved", 16, w.a)
    w.served("moved", (HIT_C, ["sip:%s:5071" % C]))
    old = Phone(C, "moved-c", port=5071)
    old.answer["INVITE"] = [(0, 404)]
    c = w.call("moved")
    equal(c.final().code, 404, "INVITE while nobody knows better")
    routes = w.b.gateway.routes("moved")
    equal([len(r) for r in routes], [3, 4], "questions, the last one FRESH")
    w.served("moved", (HIT_C, ["sip:%s:5071" % C]))
    wait_for("cached again", lambda: w.call("moved").final().code == 404)
    # now the truth comes out between the first and the fresh question

    def answered():
        w.served("moved", (HIT_A, w.a.uris()))
        return True
    old.answer["INVITE"] = [(0.1, 404)]
    w.served("moved2", (HIT_C, ["sip:%s:5071" % C]))
    p2 = w.phone("moved2", 17, w.a)
    c = w.call("moved2")
    wait_for("the stale peer is asked", lambda: any(r.ruri == sip("moved2")
                                                     for r in old.got("INVITE")))
    w.served("moved2", (HIT_A, w.a.uris()))
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(p2.got("INVITE"), "the right phone rang")
    # a fresh search that does not complete says nothing about where the user is now
    w.served("moved3", (HIT_C, ["sip:%s:5071" % C]))
    c = w.call("moved3")
    wait_for("the stale peer is asked", lambda: any(r.ruri == sip("moved3")
                                                     for r in old.got("INVITE")))
    w.b.gateway.error["moved3"] = "TIMEOUT search not completed"
    w.b.gateway.delay["moved3"] = 0.3
    equal(c.final().code, 480, "INVITE, fresh search not completed")
    # one that the gateway refuses neither
    w.b.gateway.error["refused"] = "BADARG deadline_ms is within 1 to 30000"
    equal(w.call("refused").final().code, 480, "INVITE, question not accepted")
    check(answered() and p, "")
    old.close()


@test
def t_next(w):
    """stale record: the next candidate is tried without another question"""
    p = w.phone("twice", 18, w.a)
    old = Phone(C, "twice-c", port=5072)
    old.answer["INVITE"] = [(0, 404)]
    # the second one's lease has lapsed: last resort only
    w.b.gateway.users["twice"] = [(HIT_C, ["sip:%s:5072" % C], {}),
                                  (HIT_A, w.a.uris(), {"flags": 1})]
    c = w.call("twice")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    equal(len(w.b.gateway.routes("twice")), 1, "questions")
    check(p.got("INVITE"), "the phone rang")
    old.close()


@test
def t_fork_remote(w):
    """user at two peers, the caller's own among them: both ring, the first answer wins"""
    here = w.phone("both", 30, w.b)
    there = w.phone("both", 31, w.a)
    here.answer["INVITE"] = [(0, 180)]
    there.answer["INVITE"] = [(0, 180), (0.3, 200)]
    w.served("both", (HIT_A, w.a.uris()))
    w.b.gateway.publish("users", "both")
    wait_for("both known", lambda: w.b.gateway.routes("both"), 3)
    time.sleep(0.2)
    c = w.call("both")
    equal(c.final().code, 200, "INVITE")
    check(here.got("INVITE") and there.got("INVITE"), "both rang")
    wait_for("the other is cancelled", lambda: here.got("CANCEL"))
    c.bye()
    check(there.got("BYE") and not here.got("BYE"), "BYE at the one that answered")


@test
def t_fork_wait(w):
    """others known, but gone from the cache: a short wait for them, and no longer than that"""
    here = w.phone("pair", 52, w.b)
    there = w.phone("pair", 53, w.a)
    here.answer["INVITE"] = [(0, 180)]
    there.answer["INVITE"] = [(0.1, 200)]
    w.served("pair", (HIT_A, w.a.uris()))
    w.b.gateway.publish("users", "pair")
    wait_for("both known", lambda: w.b.gateway.routes("pair"), 3)
    time.sleep(0.2)
    w.b.rpc("p2p_usrloc.cache_flush")
    c = w.call("pair")
    equal(c.final().code, 200, "INVITE")
    check(here.got("INVITE") and there.got("INVITE"), "both rang")
    c.bye()
    w.b.rpc("p2p_usrloc.cache_flush")
    w.b.gateway.delay["pair"] = 1.5
    here.answer["INVITE"] = [(0, 200)]
    n = len(there.got("INVITE"))
    c = w.call("pair")
    equal(c.final().code, 200, "INVITE while the gateway is slow")
    check(0.25 < c.seconds() < 0.7, "after %.2f s" % c.seconds())
    c.bye()
    w.b.gateway.delay.clear()
    equal(len(there.got("INVITE")), n, "rang there")


@test
def t_fork_background(w):
    """local user with nothing known of other peers: rings here at once, others from the next call"""
    here = w.phone("bg", 32, w.b)
    w.phone("bg", 33, w.a)
    w.served("bg", (HIT_A, w.a.uris()))
    c = w.call("bg")
    equal(c.final().code, 200, "INVITE")
    check(c.seconds() < 0.5, "slow: %.2f s" % c.seconds())
    c.bye()
    check(here.got("INVITE"), "rang here")


@test
def t_fork_dead(w):
    """forked to a phone here and a peer that is dead: the phone's own time counts"""
    here = w.phone("half", 34, w.b)
    here.answer["INVITE"] = [(2.6, 180), (0.1, 200)]
    w.served("half", ("2001:22:d:6::1", ["sip:%s:5060" % DEAD]))
    w.b.gateway.publish("users", "half")
    wait_for("known", lambda: w.b.gateway.routes("half"), 3)
    time.sleep(0.2)
    c = w.call("half")
    equal(c.final(6).code, 200, "INVITE")
    check(c.seconds() > 2.4, "after %.2f s" % c.seconds())
    c.bye()
    check(any("2001:22:d:6::1" in x and "does not answer" in x
              for x in w.b.logged().splitlines()), "the dead peer is noticed all the same")


@test
def t_two_remote(w):
    """user at two other peers: forked to both, one busy, one answers"""
    p = w.phone("tworem", 35, w.a)
    other = Phone(C, "tworem-c", port=5073)
    other.answer["INVITE"] = [(0, 100), (0.2, 486)]
    p.answer["INVITE"] = [(0, 180), (0.4, 200)]
    w.served("tworem", (HIT_A, w.a.uris()), (HIT_C, ["sip:%s:5073" % C]))
    c = w.call("tworem")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(other.got("INVITE"), "the other was asked")
    hdr = other.got("INVITE")[0].get("P2P-Peer") or ""
    check(hdr.startswith(HIT_B + ";v=2;hops=1;s=%s;t=" % SESSIONS.id(HIT_B, HIT_C)),
          "P2P-Peer: " + hdr)
    equal(other.got("INVITE")[0].ruri, sip("tworem"), "Request-URI")
    # 404 from one and 486 from the other: the busy one counts
    other.answer["INVITE"] = [(0, 404)]
    p.answer["INVITE"] = [(0.1, 486)]
    w.served("tworem2", (HIT_A, w.a.uris()), (HIT_C, ["sip:%s:5073" % C]))
    p2 = w.phone("tworem2", 36, w.a)
    p2.answer["INVITE"] = [(0.1, 486)]
    equal(w.call("tworem2").final().code, 486, "INVITE")
    # 404, which tm would pick, and later a challenge, or other places: with what is in them
    for i, (code, header) in enumerate((
            (407, 'Proxy-Authenticate: Digest realm="there",\r\n nonce="1"'),
            (302, "Contact: <sip:elsewhere@192.0.2.77>, <sip:more@192.0.2.78>"))):
        name = "tworem3%d" % i
        phone = w.phone(name, 61 + i, w.a)
        phone.answer["INVITE"] = [(0.1, code, [header])]
        w.served(name, (HIT_A, w.a.uris()), (HIT_C, ["sip:%s:5073" % C]))
        m = w.call(name).final()
        equal(m.code, code, "INVITE")
        key, value = header.replace("\r\n", "").split(": ", 1)
        equal((m.get(key) or "").replace("\r\n", ""), value, key)
        equal(len(m.all("Via")), 1, "Via")
    other.close()


@test
def t_methods(w):
    """MESSAGE, OPTIONS, SUBSCRIBE, REFER, NOTIFY, INFO by address of record"""
    p = w.phone("methods", 37, w.a)
    w.served("methods", (HIT_A, w.a.uris()))
    for method in ("MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER", "NOTIFY", "INFO"):
        extra = {"SUBSCRIBE": ["Event: dialog"], "NOTIFY": ["Event: dialog",
                 "Subscription-State: active"], "REFER": ["Refer-To: <sip:x@y>"]}.get(method, [])
        c = w.call("methods", method, headers=extra)
        equal(c.final().code, 200, method)
        check(p.got(method), method + " at the phone")
    # first time for each name: suspended, and non-INVITE all the same
    for i, method in enumerate(("MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER")):
        equal(w.call("nobody%d" % i, method).final().code, 404, method + " to nobody")


@test
def t_subscribe(w):
    """a subscription over the overlay: NOTIFY and the refresh within the dialog take its way"""
    p = w.phone("state", 55, w.a)
    w.served("state", (HIT_A, w.a.uris()))
    c = w.call("state", "SUBSCRIBE", headers=["Event: dialog", "Expires: 600"])
    m = c.final()
    equal(m.code, 200, "SUBSCRIBE")
    sub = p.got("SUBSCRIBE")[0]
    d = Call(p, "NOTIFY", None, None)
    d.cid, d.frm, d.to = sub.get("Call-ID"), m.get("To"), sub.get("From")
    n = p.send("NOTIFY", sub.uri("Contact"), sub.source, dialog=d, route=sub.all("Record-Route"),
               headers=["Event: dialog", "Subscription-State: active"])
    equal(n.final().code, 200, "NOTIFY")
    hosts = [re.search(r"UDP ([\d.]+)", v).group(1) for v in w.bob.got("NOTIFY")[-1].all("Via")]
    equal(hosts, [B, A, "10.88.0.55"], "way of NOTIFY")
    c.to, c.routes, c.target = m.get("To"), list(reversed(m.all("Record-Route"))), m.uri("Contact")
    r = c.within("SUBSCRIBE", headers=["Event: dialog", "Expires: 0"])
    equal(r.final().code, 200, "SUBSCRIBE within the dialog")
    equal(len(p.got("SUBSCRIBE")), 2, "SUBSCRIBEs at the phone")


@test
def t_gruu(w):
    """public GRUU: the one phone that it names"""
    inst = ["urn:uuid:00000000-0000-1000-8000-00000000000%d" % i for i in (1, 2)]
    p = [w.phone("gruu", 38 + i, instance=inst[i]) for i in (0, 1)]
    for x in p:
        x.register(w.a, headers=["Supported: gruu"])
    w.served("gruu", (HIT_A, w.a.uris()))
    uri = sip("gruu") + ";gr=" + inst[1]
    c = w.bob.send("INVITE", uri, (B, 5060))
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(p[1].got("INVITE") and not p[0].got("INVITE"), "only the named phone rang")
    # records that list their instances: a peer that has not the one meant is left out
    wait_for("instances published", lambda: len(w.a.gateway.published.get("gruu", [])) == 2)
    other = Phone(C, "gruu-c", port=5077)
    w.b.gateway.users["gruu"] = [(HIT_C, ["sip:%s:5077" % C], {"instances": ["deadbeef"]}),
                                 (HIT_A, w.a.uris(), {"instances": w.a.gateway.published["gruu"]})]
    w.b.gateway.publish("users", "gruu")
    time.sleep(0.2)
    equal(w.bob.send("MESSAGE", uri, (B, 5060)).final().code, 200, "MESSAGE to the GRUU")
    equal(other.got("MESSAGE"), [], "MESSAGEs at the other peer")
    equal(w.bob.send("MESSAGE", sip("gruu"), (B, 5060)).final().code, 200, "MESSAGE to the AoR")
    wait_for("the AoR reaches both", lambda: other.got("MESSAGE"))
    other.close()
    c = w.bob.send("MESSAGE", sip("gruu") + ";gr=urn:uuid:none", (B, 5060))
    equal(c.final().code, 404, "MESSAGE to an instance that is not there")


@test
def t_path(w):
    """Path: the edge proxy's address is used at the serving peer"""
    edge = Phone("10.88.0.45", "edge")
    p = w.phone("pathed", 46)
    p.register(w.a, headers=["Supported: path", "Path: <sip:%s;lr>" % edge.host])
    w.served("pathed", (HIT_A, w.a.uris()))
    c = w.call("pathed", "MESSAGE")
    equal(c.final().code, 200, "MESSAGE")
    check(edge.got("MESSAGE") and not p.got("MESSAGE"), "went to the edge proxy")
    check("10.88.0.45" in (edge.got("MESSAGE")[0].get("Route") or ""), "with its Route")


@test
def t_local(w):
    """call within one peer; two contacts; de-registration"""
    p = [w.phone("home", 47 + i, w.b) for i in (0, 1)]
    p[0].answer["INVITE"] = [(0, 180)]
    c = w.call("home")
    equal(c.final().code, 200, "INVITE")
    c.bye()
    check(p[0].got("INVITE") and p[1].got("INVITE"), "both contacts rang")
    wait_for("published", lambda: "home" in w.b.gateway.published)
    for x in p:
        x.register(w.b, expires=0)
    wait_for("withdrawn", lambda: "home" not in w.b.gateway.published)
    equal(w.call("home").final().code, 404, "INVITE after de-registration")


@test
def t_ack_totag(w):
    """ACK and requests with a To tag are never suspended"""
    before = w.b.stat("p2p_registrar", "suspended")
    d = Call(w.bob, "x", None, None)
    d.cid, d.frm, d.to = "nodialog-1", "<%s>;tag=1" % sip("bob"), "<%s>;tag=2" % sip("noone2")
    c = w.bob.send("MESSAGE", sip("noone2"), (B, 5060), dialog=d)
    check(c.final().code >= 400, "MESSAGE with a To tag")
    w.bob._send(w.bob._build(c, "ACK", sip("noone2"), to="<%s>" % sip("noone2")), (B, 5060))
    time.sleep(0.2)
    equal(w.b.stat("p2p_registrar", "suspended"), before, "suspended")


@test
def t_retransmit(w):
    """a retransmission while the lookup runs is absorbed"""
    p = w.phone("again", 49, w.a)
    w.served("again", (HIT_A, w.a.uris()))
    w.b.gateway.delay["again"] = 0.6
    c = w.call("again")
    for _ in range(3):
        time.sleep(0.1)
        w.bob._send(c.text, (B, 5060))
    equal(c.final().code, 200, "INVITE")
    c.bye()
    w.b.gateway.delay.clear()
    equal(len(p.got("INVITE")), 1, "INVITEs at the phone")
    equal(len(w.b.gateway.routes("again")), 1, "questions")


@test
def t_stranger(w):
    """strangers: no relaying over the overlay, no trusted headers"""
    s = Phone(STRANGER, "mallory")
    w.phone("inside", 50, w.b)
    c = s.send("INVITE", sip("alice"), (B, 5060))
    equal(c.final().code, 404, "INVITE to a user of another peer")
    c = s.send("MESSAGE", "sip:x@192.0.2.55", (B, 5060))
    equal(c.final().code, 403, "MESSAGE to somewhere else")
    c = s.send("INVITE", sip("inside"), (B, 5060))
    equal(c.final().code, 200, "INVITE to a phone of this peer")
    c.bye()
    # claims to be a peer, whose record lists other addresses
    c = s.send("INVITE", sip("inside"), (B, 5060), headers=["P2P-Peer: %s;v=2;hops=1" % HIT_A])
    equal(c.final().code, 403, "INVITE that names a peer")
    c = s.send("INVITE", sip("inside"), (B, 5060),
               headers=["P2P-Peer: 2001:22:bad::1;v=2;hops=1"])
    equal(c.final().code, 403, "INVITE that names nobody")
    c = s.send("INVITE", sip("inside"), (B, 5060), headers=["P2P-Peer: nonsense"])
    equal(c.final().code, 403, "INVITE that names nonsense")
    # with the route set of a dialog that does not exist
    d = Call(s, "x", None, None)
    d.cid, d.frm, d.to = "forged-1", "<sip:x@x>;tag=1", "<sip:y@y>;tag=2"
    c = s.send("MESSAGE", "sip:x@%s" % DOMAIN, (B, 5060), dialog=d)
    check(c.final().code in (403, 404), "request without a route set: %d" % c.final().code)


@test
def t_loop(w):
    """loops: a request that names this very peer, or more hops than allowed, is refused"""
    p = Phone(A, "peer", port=5075)
    c = p.send("INVITE", sip("bob"), (B, 5060), peer=(HIT_B, HIT_A))
    equal(c.final().code, 482, "INVITE that came back")
    c = p.send("INVITE", sip("bob"), (B, 5060), peer=(HIT_A, HIT_B), hops=99)
    equal(c.final().code, 483, "INVITE with too many hops")
    c = p.send("INVITE", sip("alice"), (B, 5060), peer=(HIT_A, HIT_B))
    check(c.final().code in (404, 480), "INVITE from a peer is not sent to a third: %d"
          % c.final().code)
    c = p.send("INVITE", sip("bob"), (B, 5060), peer=(HIT_A, HIT_B))
    equal(c.final().code, 200, "INVITE from a peer to a phone here")
    c.bye()
    p.close()


@test
def t_peer_list(w):
    """a peer known by its address: to phones here, and to nobody else"""
    k = Kamailio("listed", D, HIT_D,
                 edit=[('# modparam("p2p_route", "peer", "192.0.2.7") ',
                        'modparam("p2p_route", "peer", "10.88.0.76/31") ')])
    k.gateway.users["alice"] = [(HIT_A, w.a.uris(), {})]
    dora = Phone("10.88.0.78", "dora")
    dora.register(k)
    for n, code in ((76, 200), (77, 200)):
        p = Phone("10.88.0.%d" % n, "apeer")
        c = p.send("INVITE", "sip:dora@elsewhere.test", (D, 5060))
        equal(c.final().code, code, "INVITE from 10.88.0.%d" % n)
        c.bye()
        equal(p.send("INVITE", sip("alice"), (D, 5060)).final().code, 404, "INVITE to a third")
        p.close()
    p = Phone("10.88.0.75", "nopeer")
    equal(p.send("INVITE", "sip:dora@elsewhere.test", (D, 5060)).final().code, 403,
          "INVITE from the next address")
    equal(k.gateway.routes("alice"), [], "questions")
    equal(k.stat("p2p_route", "from_peer"), 4, "from_peer")
    k.stop()


@test
def t_two_addresses(w):
    """two addresses: requests come from the one that is advertised, or that the script says"""
    phone = w.phone("nina", 72, w.b)
    own = ["ip", "route", "replace", "local", B, "dev", "d0", "table", "local", "proto", "kernel",
           "scope", "host", "src"]
    k = None

    def server(name, *params):
        k = Kamailio(name, E, HIT_D, listen=["%s:%s:5060" % (t, a) for a in (E, F)
                                             for t in ("udp", "tcp")],
                     edit=[('# modparam("p2p_route", "peer", "192.0.2.7") ',
                            "\n".join('modparam("p2p_route", "%s", "%s")' % x for x in params)
                            + "\n# ")])
        k.gateway.users["nina"] = [(HIT_B, w.b.uris(), {})]
        k.gateway.peers = {HIT_B: w.b.uris()}
        return k

    def calls(k, name, code):
        p = w.phone(name, 73)
        p.register(k)
        for body in ("", "x" * 1400):       # over UDP, over TCP
            n = len(phone.got("MESSAGE"))
            m = p.send("MESSAGE", sip("nina"), (E, 5060), headers=["Subject: " + body])
            equal(m.final().code, code, "MESSAGE of %d bytes through %s" % (len(body), k.name))
            if code == 200:
                got = wait_for("MESSAGE at the phone", lambda: phone.got("MESSAGE")[n:])[0]
                vias = got.all("Via")
                check(("TCP" if body else "UDP") in vias[1], "transport between peers: " + vias[1])
        p.close()

    subprocess.run(own + [F], check=True)   # the kernel would take F towards B
    try:
        for at in (E, F):
            w.b.gateway.peers[HIT_D] = ["sip:%s:5060;transport=udp" % at]
            w.b.gateway.publish("peers", HIT_D)
            k = server("two-" + at, ("advertise", "sip:%s:5060;transport=udp" % at))
            calls(k, "norah", 200)
            k.stop()
        # F is advertised, and E told to be sent from: an address proves nothing, nor is it asked to
        k = server("two-other", ("advertise", "sip:%s:5060;transport=udp" % F),
                   ("socket", "udp:%s:5060" % E), ("socket", "tcp:%s:5060" % E))
        calls(k, "norah", 200)
        k.stop()
    finally:
        subprocess.run(own + [B], check=True)
        w.b.gateway.peers.pop(HIT_D, None)
        if k:
            k.stop()
    phone.close()


@test
def t_hostile(w):
    """hostile headers between peers: refused, no crash"""
    s = Phone(STRANGER, "mallory2")
    for value in ("", ";", ";;;;", "2001:22:a:1::a;", "2001:22:a:1::a;hops=" + "9" * 300,
                  "2001:22:a:1::a;v=1;hops=1", "2001:22:a:1::a;v=11", "::1;v=2;hops=1",
                  "2001:22:a:1::a" * 400, "\x00\x01;v=2", "%s%n%x;v=2;hops=1",
                  "2001:22:a:1::a;hops=-1", ";hops=1", "2001:22:a:1::a\t ; v=2 ; hops = 1"):
        c = s.send("MESSAGE", sip("bob"), (B, 5060), headers=["P2P-Peer: " + value])
        check(c.final().code in (400, 403, 483), "%r: %d" % (value[:40], c.final().code))
    c = s.send("MESSAGE", sip("bob"), (B, 5060), headers=["P2P-Peer: %s;v=2" % HIT_A,
                                                           "P2P-Peer: %s;v=2" % HIT_C])
    equal(c.final().code, 403, "two of them")
    # other P2P- headers of a stranger's do not reach a phone
    c = s.send("MESSAGE", sip("bob"), (B, 5060), headers=["P2P-Anything: x", "p2p-more: y"])
    equal(c.final().code, 200, "MESSAGE")
    names = [k.lower() for k, _ in w.bob.got("MESSAGE")[-1].headers]
    check(not [k for k in names if k.startswith("p2p-")], "headers seen: %s" % names)
    s.close()


@test
def t_many(w):
    """many searches at once: each is answered, none is lost"""
    n = 150
    before = w.b.stat("p2p_registrar", "continued")
    calls = [w.call("many%d" % i, "MESSAGE") for i in range(n)]
    equal({c.final(10).code for c in calls}, {404}, "MESSAGEs")
    equal(w.b.stat("p2p_registrar", "continued"), before + n, "continued")
    equal(w.b.stat("p2p_registrar", "suspended_now"), 0, "suspended")


@test
def t_race(w):
    """CANCEL racing with the answer, many times: each INVITE ends once, nothing is left"""
    p = w.phone("racer", 54, w.a)
    p.answer["INVITE"] = [(0.02, 180)]
    rnd = random.Random(7)
    n, calls = 120, []
    for i in range(n):
        name = "race%d" % i
        if i % 2:
            w.served(name, (HIT_A, w.a.uris()))     # ends at a peer that says 404, or cancelled
        if i % 3 == 0:
            w.served(name, (HIT_A, w.a.uris()))
            w.a.gateway.serves[name] = 2            # 480
        w.b.gateway.delay[name] = rnd.random() * 0.02

    def one(i):
        c = w.call("race%d" % i)
        calls.append(c)
        time.sleep(rnd.random() * 0.03)
        c.cancel()
    for i in range(n):
        t = threading.Thread(target=one, args=(i,))
        t.start()
        if i % 8 == 7:
            t.join()
    wait_for("all sent", lambda: len(calls) == n)
    codes = {}
    for c in calls:
        code = c.final(8).code
        codes[code] = codes.get(code, 0) + 1
        equal(len({m.code for m in c.replies if m.code >= 200}), 1, "final replies")
    check(set(codes) <= {404, 480, 487}, "ended with %s" % codes)
    check(codes.get(487, 0) > n // 4, "too few were cancelled: %s" % codes)
    wait_for("none suspended", lambda: w.b.stat("p2p_registrar", "suspended_now") == 0)
    w.b.gateway.delay.clear()
    w.a.gateway.serves.clear()


@test
def t_dialog(w):
    """side by side with dialog and acc: nothing is left, one record for each call and BYE"""
    k = Kamailio("dialog", D, HIT_D, defines=["WITH_DIALOG", "WITH_ACC"])
    k.gateway.peers = dict(w.b.gateway.peers)
    k.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.65", "dora")
    dora.register(k)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    k.gateway.users["deaf"] = [(HIT_DEAD, ["sip:%s:5060" % DEAD], {})]
    w.b.gateway.peers[HIT_D] = k.uris()

    def dialogs():
        m = re.search(r"all: (\d+)", k.rpc("dlg.stats_active") or "")
        return int(m.group(1)) if m else -1
    c = dora.send("INVITE", sip("bob"), (D, 5060))
    equal(c.final().code, 200, "INVITE, suspended")
    equal(dialogs(), 1, "dialogs in the call")
    c.bye()
    equal(dora.send("INVITE", sip("nobody"), (D, 5060)).final().code, 404, "INVITE to nobody")
    equal(dora.send("INVITE", sip("deaf"), (D, 5060)).final().code, 503, "INVITE to a dead peer")
    k.gateway.delay["slow"] = 0.5
    c = dora.send("INVITE", sip("slow"), (D, 5060))
    c.code(100)
    c.cancel()
    equal(c.final().code, 487, "INVITE, cancelled")
    wait_for("no dialog left", lambda: dialogs() == 0, 10)
    acc = [x for x in k.logged().splitlines() if "ACC: transaction answered" in x]
    equal(len([x for x in acc if "method=INVITE" in x]), 1, "records of INVITE")
    equal(len([x for x in acc if "method=BYE" in x]), 1, "records of BYE")
    k.stop()


@test
def t_auth(w):
    """phones that authenticate: challenged, then called over the overlay"""
    ha1 = hashlib.md5(b"ann:%s:secret" % DOMAIN.encode()).hexdigest()
    users = WORK + "/users.cfg"
    with open(users, "w", encoding="utf-8") as f:
        f.write("event_route[htable:mod-init] {\n\t$sht(users=>ann) = \"%s\";\n}\n" % ha1)
    k = Kamailio("auth", D, HIT_D, defines=["WITH_AUTH"],
                 edit=[('import_file "p2psip-users.cfg"', 'include_file "%s"' % users)])
    k.gateway.peers = dict(w.b.gateway.peers)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    w.b.gateway.peers[HIT_D] = k.uris()
    ann = Phone("10.88.0.66", "ann")

    def ask(method, uri, **kw):
        c = ann.send(method, uri, (D, 5060), **kw)
        code = c.final().code
        if code not in (401, 407):
            return c
        ch = c.final().get("WWW-Authenticate") or c.final().get("Proxy-Authenticate")
        realm, nonce = (re.search(r'%s="([^"]*)"' % x, ch).group(1) for x in ("realm", "nonce"))
        equal(realm, DOMAIN, "realm")
        ha2 = hashlib.md5(("%s:%s" % (method, uri)).encode()).hexdigest()
        response = hashlib.md5(("%s:%s:%s" % (ha1, nonce, ha2)).encode()).hexdigest()
        kw["headers"] = list(kw.get("headers", [])) + [
            '%s: Digest username="ann", realm="%s", nonce="%s", uri="%s", response="%s"' % (
                "Authorization" if code == 401 else "Proxy-Authorization", realm, nonce, uri,
                response)]
        return ann.send(method, uri, (D, 5060), **kw)
    c = ask("REGISTER", "sip:" + DOMAIN, to=sip("ann"), headers=["Contact: " + ann.contact()])
    equal(c.final().code, 200, "REGISTER")
    c = ask("INVITE", sip("bob"))
    equal(c.final().code, 200, "INVITE")
    check(not w.bob.got("INVITE")[-1].get("Proxy-Authorization"), "credentials went on")
    c.bye()
    w.served("ann", (HIT_D, k.uris()))
    c = w.call("ann")
    equal(c.final().code, 200, "INVITE from the overlay is not challenged")
    c.bye()
    s = Phone(STRANGER, "mallory3")
    equal(s.send("INVITE", sip("bob"), (D, 5060)).final().code, 407, "INVITE without credentials")
    k.stop()


@test
def t_q(w):
    """q-values: serial forking by t_load_contacts(), the remote peer in the first group"""
    edit = [('modparam("tm", "fr_timer", 30000)',
             'modparam("tm", "fr_timer", 30000)\nmodparam("tm", "contacts_avp", "tm_contacts")\n'
             'modparam("tm", "contact_flows_avp", "tm_contact_flows")'),
            ('\t\tp2p_lookup("location", "P2P_CALL");\n',
             '\t\tp2p_lookup("location", "SERIAL");\n'),
            ('request_route {\n',
             'route[SERIAL] {\n\tif ($var(p2p_result) != "found") {\n\t\tp2p_reply();\n\t\texit;\n\t}\n'
             '\tt_load_contacts();\n\tt_next_contacts();\n\tt_on_failure("SERIAL_NEXT");\n'
             '\tt_relay();\n\texit;\n}\nfailure_route[SERIAL_NEXT] {\n'
             '\tif (t_next_contacts()) {\n\t\tt_on_failure("SERIAL_NEXT");\n\t\tt_relay();\n'
             '\t\texit;\n\t}\n\tp2p_next("location", "SERIAL");\n}\n\nrequest_route {\n')]
    k = Kamailio("serial", D, HIT_D, edit=edit)
    k.gateway.peers = dict(w.b.gateway.peers)
    w.a.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.72", "dora")
    dora.register(k)
    order = []
    phones = [Phone("10.88.0.%d" % n, "queue") for n in (73, 74)]
    for p, q in zip(phones, ("0.9", "0.2")):
        p.register(k, contact="<sip:queue@%s>;q=%s" % (p.host, q))
    remote = w.phone("queue", 75, w.a)
    for p, code in zip(phones + [remote], (486, 200, 486)):
        p.answer["INVITE"] = [(0.05, code)]
    k.gateway.users["queue"] = [(HIT_A, w.a.uris(), {})]
    k.gateway.publish("users", "queue")
    wait_for("known", lambda: k.gateway.routes("queue"))
    time.sleep(0.2)
    c = dora.send("INVITE", sip("queue"), (D, 5060))
    equal(c.final().code, 200, "INVITE")
    order = [p.got("INVITE")[0].when for p in phones + [remote]]
    check(max(order[0], order[2]) < order[1], "the one with the lowest q was not last: %s" % order)
    c.bye()
    k.stop()


@test
def t_use_domain(w):
    """names with their domain (use_domain, name_format user@domain), a second table"""
    edit = [('modparam("usrloc", "use_domain", 0)', 'modparam("usrloc", "use_domain", 1)'),
            ('modparam("usrloc", "preload", "location")',
             'modparam("usrloc", "preload", "location")\n'
             'modparam("usrloc", "preload", "staff")\nalias="second.test"'),
            ('\tp2p_save("location");',
             '\tif ($td == "second.test") {\n\t\tp2p_save("staff");\n\t\texit;\n\t}\n'
             '\tp2p_save("location");'),
            ('\troute(CALLER);\n',
             '\tif ($rd == "second.test") {\n\t\tp2p_lookup("staff", "P2P_CALL");\n'
             '\t\texit;\n\t}\n\troute(CALLER);\n')]
    k = Kamailio("domain", D, HIT_D, defines=['P2P_NAME_FORMAT="user@domain"'], edit=edit)
    k.gateway.peers = dict(w.b.gateway.peers)
    k.gateway.users["bob@" + DOMAIN] = [(HIT_B, w.b.uris(), {})]
    w.b.gateway.peers[HIT_D] = k.uris()
    dora, other = Phone("10.88.0.67", "dora"), Phone("10.88.0.68", "dora")
    dora.register(k)
    c = other.send("REGISTER", "sip:second.test", (D, 5060), to="sip:dora@second.test",
                   frm="sip:dora@second.test", headers=["Contact: " + other.contact()])
    equal(c.final().code, 200, "REGISTER in the second domain")
    wait_for("both published", lambda: {"dora@" + DOMAIN, "dora@second.test"}
             <= set(k.gateway.published))
    c = dora.send("INVITE", sip("bob"), (D, 5060))
    equal(c.final().code, 200, "INVITE over the overlay")
    c.bye()
    for uri, phone in (("sip:dora@second.test", other), (sip("dora"), dora)):
        equal(dora.send("MESSAGE", uri, (D, 5060)).final().code, 200, "MESSAGE to " + uri)
        equal(len(phone.got("MESSAGE")), 1, "MESSAGEs at " + uri)
    equal(dora.send("MESSAGE", "sip:bob@second.test", (D, 5060)).final().code, 404,
          "MESSAGE to bob in the other domain")
    equal([a[1] for a in k.gateway.asked if a[0] == "ROUTE" and "bob" in a[1]],
          ["bob@" + DOMAIN, "bob@second.test"], "names asked for")
    k.stop()


@test
def t_tsilo(w):
    """side by side with tsilo: a phone that registers while the call rings elsewhere rings too"""
    edit = [('loadmodule "ipops.so"', 'loadmodule "ipops.so"\nloadmodule "tsilo.so"'),
            ('\tp2p_save("location");\n', '\tp2p_save("location");\n'
             '\tts_append("location", "$tu");\n'),
            ('\tif (is_method("INVITE|SUBSCRIBE|REFER")) {\n\t\trecord_route();\n\t}\n#!ifdef WITH_D',
             '\tif (is_method("INVITE|SUBSCRIBE|REFER")) {\n\t\trecord_route();\n\t}\n'
             '\tif (is_method("INVITE")) {\n\t\tt_newtran();\n\t\tts_store();\n\t}\n#!ifdef WITH_D')]
    k = Kamailio("tsilo", D, HIT_D, edit=edit)
    k.gateway.peers = dict(w.b.gateway.peers)
    w.b.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.69", "dora")
    dora.register(k)
    # eve's phone at A rings and rings; then she switches on another one here
    first = w.phone("eve", 70, w.a)
    first.answer["INVITE"] = [(0, 180)]
    k.gateway.users["eve"] = [(HIT_A, w.a.uris(), {})]
    w.a.gateway.peers[HIT_D] = k.uris()
    c = dora.send("INVITE", sip("eve"), (D, 5060))
    c.code(180)
    second = Phone("10.88.0.71", "eve")
    second.register(k)
    equal(c.final().code, 200, "INVITE")
    check(second.got("INVITE"), "the second phone was not called")
    wait_for("the first is cancelled", lambda: first.got("CANCEL"))
    names = [x.lower() for x, _ in second.got("INVITE")[0].headers]
    check("p2p-peer" not in names, "the peers' header at a phone")
    c.bye()
    k.stop()


@test
def t_tls_phone(w):
    """a phone on TLS: calls and is called over the overlay"""
    pem = WORK + "/tls.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048",
                    "-nodes", "-subj", "/CN=" + DOMAIN, "-days", "2",
                    "-keyout", pem + ".key", "-out", pem], check=True, stderr=subprocess.DEVNULL)
    k = Kamailio("tls", D, HIT_D, listen=["udp:%s:5060" % D, "tcp:%s:5060" % D, "tls:%s:5061" % D],
                 edit=[('loadmodule "ipops.so"', 'loadmodule "ipops.so"\nenable_tls=yes\n'
                        'loadmodule "tls.so"\nmodparam("tls", "certificate", "%s")\n'
                        'modparam("tls", "private_key", "%s.key")\n'
                        'modparam("tls", "tls_method", "TLSv1.2+")' % (pem, pem))])
    k.gateway.peers = dict(w.b.gateway.peers)
    w.b.gateway.peers[HIT_D] = k.uris()
    tess = TlsPhone("10.88.0.79", "tess", D)
    tess.register(k)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    c = tess.send("INVITE", sip("bob"), None)
    equal(c.final().code, 200, "INVITE from it")
    c.bye()
    check("TLS" in w.bob.got("INVITE")[-1].all("Via")[2], "did not come over TLS")
    w.served("tess", (HIT_D, k.uris()))
    c = w.call("tess")
    equal(c.final().code, 200, "INVITE to it")
    c.bye()
    check(tess.got("BYE"), "BYE arrived")
    tess.close()
    k.stop()


@test
def t_topos(w):
    """side by side with topos: calls both ways, and their BYEs"""
    tables = WORK + "/dbtext"
    shutil.copytree("/usr/share/kamailio/dbtext/kamailio", tables)
    for name in ("topos_d", "topos_t"):     # topos leaves columns empty, db_text's schema does not
        with open(tables + "/" + name, encoding="ascii") as f:
            schema = re.sub(r"\((int|string|str)\)", r"(\1,null)", f.read())
        with open(tables + "/" + name, "w", encoding="ascii") as f:
            f.write(schema)
    k = Kamailio("topos", D, HIT_D, edit=[
        ('loadmodule "ipops.so"',
         'loadmodule "ipops.so"\nloadmodule "db_text.so"\nloadmodule "topos.so"'),
        ('modparam("sanity", "autodrop", 0)',
         'modparam("sanity", "autodrop", 0)\nmodparam("topos", "storage", "db")\n'
         'modparam("topos", "db_url", "text://%s")' % tables)])
    k.gateway.peers = dict(w.b.gateway.peers)
    w.b.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.79", "dora")
    dora.register(k)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    for _ in (1, 2):        # suspended, then cached
        c = dora.send("INVITE", sip("bob"), (D, 5060))
        equal(c.final().code, 200, "INVITE")
        c.bye()
        inv = w.bob.got("INVITE")[-1]
        check(not [v for v in inv.all("Via") if "10.88.0.79" in v], "seen: %s" % inv.all("Via"))
    w.served("dora", (HIT_D, k.uris()))
    n = len(dora.got("INVITE"))
    c = w.call("dora")
    equal(c.final().code, 200, "INVITE from the overlay")
    c.bye()
    equal(len(dora.got("INVITE")), n + 1, "INVITEs")
    check(dora.got("BYE"), "BYE arrived")
    k.stop()


@test
def t_orphan(w):
    """a peer asks for a user whose phone has not come back after a restart: 480, not 404"""
    p = Phone(A, "peer", port=5076)
    w.b.gateway.serves["orphan"] = 2
    c = p.send("INVITE", sip("orphan"), (B, 5060), peer=(HIT_A, HIT_B))
    equal(c.final().code, 480, "INVITE for an orphan")
    c = p.send("INVITE", sip("never"), (B, 5060), peer=(HIT_A, HIT_B))
    equal(c.final().code, 404, "INVITE for a user that never was here")
    c = w.call("orphan")
    equal(c.final().code, 480, "INVITE of a phone here for an orphan")
    p.close()


@test
def t_gateway_down(w):
    """gateway stopped: 503 within 100 ms; local and cached users go on; then all is well again"""
    w.phone("inhouse", 51, w.b)
    c = w.call("alice")
    equal(c.final().code, 200, "INVITE to a cached user")
    c.bye()
    w.b.gateway.stop()
    wait_for("noticed", lambda: w.call("nn%s" % Phone.unique()).final().code == 503, 3)
    times = []
    for _ in range(3):          # the machine may be busy with something else once
        c = w.call("somebody")
        equal(c.final().code, 503, "INVITE")
        times.append(c.seconds())
    check(min(times) < 0.1, "503 after %s s" % times)
    check(c.final().get("Retry-After") and c.final().get("Reason"), "Retry-After and Reason")
    for user in ("inhouse", "alice"):
        c = w.call(user)
        equal(c.final().code, 200, "INVITE to " + user)
        c.bye()
    w.b.gateway.published.clear()
    w.b.gateway.start()
    wait_for("published again", lambda: "inhouse" in w.b.gateway.published, 5)
    wait_for("asked again", lambda: w.call("nobody").final().code == 404, 3)


@test
def t_kemi(w):
    """the same logic from a Lua script (KEMI): found, absent, suspended, failure route"""
    k = kemi_peer(w)
    carol = Phone("10.88.0.60", "carol")
    carol.register(k)
    k.gateway.users["alice"] = [(HIT_A, w.a.uris(), {})]
    c = carol.send("INVITE", sip("alice"), (C, 5060))
    equal(c.final().code, 200, "INVITE, suspended")
    c.bye()
    c = carol.send("INVITE", sip("alice"), (C, 5060))
    equal(c.final().code, 200, "INVITE, cached")
    c.bye()
    equal(carol.send("INVITE", sip("nobody"), (C, 5060)).final().code, 404, "INVITE to nobody")
    equal(carol.send("INVITE", sip("carol"), (C, 5060)).final().code, 200, "INVITE, local")
    k.gateway.users["gone"] = [(HIT_A, w.a.uris(), {})]
    equal(carol.send("INVITE", sip("gone"), (C, 5060)).final().code, 404, "INVITE, stale")
    equal([len(r) for r in k.gateway.routes("gone")], [3, 4], "questions")
    k.stop()


DEBIAN = "/etc/kamailio/kamailio.cfg"


def debian_cfg():
    """The Debian package's own kamailio.cfg with the include, as docs/moving.md changes it."""
    with open(DEBIAN, encoding="utf-8") as f:
        text = f.read()

    def change(old, new):
        nonlocal text
        equal(text.count(old), 1, "in Debian's kamailio.cfg: %r" % old)
        text = text.replace(old, new)

    change("# ----------------- setting module-specific parameters ---------------\n",
           "#!define P2P_NATMANAGE_ROUTE NATMANAGE\n"
           'include_file "%s/cfg/kamailio-p2psip.cfg"\n' % TOP)
    change("\troute(WITHINDLG);\n", "\troute(WITHINDLG);\n\troute(P2P_IN);\n")
    change("\tif (loose_route()) {\n\t\troute(DLGURI);\n",
           "\tif (loose_route()) {\n\t\troute(P2P_DIALOG);\n\t\troute(DLGURI);\n")
    change('if (!save("location"))', 'if (!p2p_save("location"))')
    change('\tif (!lookup("location")) {\n',
           '\tif (is_method("INVITE")) {\n\t\tsetflag(FLT_ACCMISSED);\n\t}\n'
           '\tp2p_lookup("location", "P2P_CALL");\n\texit;\n\tif (!lookup("location")) {\n')
    # for the test only: its own sockets
    change("# ----- jsonrpcs params -----\n",
           'modparam("ctl", "binrpc", CTLSOCK)\nalias=P2P_DOMAIN\n'
           'modparam("jsonrpcs", "fifo_name", "%s/rpc.fifo")\n'
           'modparam("jsonrpcs", "dgram_socket", "%s/rpc.sock")\n' % (WORK, WORK))
    path = WORK + "/debian.cfg"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


@test
def t_debian(w):
    """the Debian package's own kamailio.cfg with the include: local calls, calls both ways, 404, 405"""
    if not os.path.exists(DEBIAN):
        return
    k = Kamailio("debian", D, HIT_D, cfg=debian_cfg())
    peers = dict(w.b.gateway.peers)
    peers[HIT_D] = k.uris()
    for g in (k.gateway, w.a.gateway, w.b.gateway):
        g.peers = peers
    dora, dan = Phone("10.88.0.61", "dora"), Phone("10.88.0.62", "dan")
    for p in (dora, dan):
        p.register(k)
    c = dora.send("INVITE", sip("dan"), (D, 5060))
    equal(c.final().code, 200, "INVITE, local")
    c.bye()
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    for _ in (1, 2):
        c = dora.send("INVITE", sip("bob"), (D, 5060))
        equal(c.final().code, 200, "INVITE over the overlay")
        c.bye()
    w.served("dora", (HIT_D, k.uris()))
    c = w.call("dora")
    equal(c.final().code, 200, "INVITE from the overlay")
    c.bye()
    check(dora.got("BYE"), "BYE arrived")
    equal(dora.send("INVITE", sip("nobody"), (D, 5060)).final().code, 404, "INVITE to nobody")
    # allowed methods, as registrar's method_filtering sees them
    dan.register(k, contact="<sip:dan@%s>;methods=\"INVITE,ACK,BYE\"" % dan.host)
    equal(dora.send("MESSAGE", sip("dan"), (D, 5060)).final().code, 405, "MESSAGE, not allowed")
    dan.register(k, expires=0)
    equal(dora.send("INVITE", sip("dan"), (D, 5060)).final().code, 404, "INVITE, de-registered")
    bad = [x for x in k.logged().splitlines() if "ERROR" in x and "xhttp" not in x]
    equal(bad, [], "log")
    k.stop()


LUA = """
function ksr_request_route()
	if KSR.is_CANCEL() then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if not KSR.is_ACK() and KSR.tmx.t_precheck_trans() > 0 then
		KSR.tm.t_check_trans()
		return 1
	end
	if KSR.siputils.has_totag() > 0 then
		if KSR.rr.loose_route() > 0 then
			if KSR.p2p_route.dialog() < 0 then
				if KSR.is_method("ACK") then return 1 end
				KSR.tm.t_newtran()
				KSR.tm.t_reply(403, "Forbidden")
				return 1
			end
			KSR.tm.t_relay()
		end
		return 1
	end
	if KSR.is_REGISTER() then
		KSR.p2p_registrar.save("location", 0)
		return 1
	end
	if KSR.is_INVITE() then KSR.rr.record_route() end
	KSR.p2p_registrar.lookup_route("location", "ksr_p2p_call")
	return 1
end

function ksr_p2p_call()
	if KSR.pv.get("$var(p2p_result)") ~= "found" then
		KSR.p2p_registrar.reply()
		return 1
	end
	KSR.tm.t_on_failure("ksr_p2p_failure")
	KSR.tm.t_relay()
	return 1
end

function ksr_p2p_failure()
	KSR.p2p_registrar.next("location", "ksr_p2p_call")
	return 1
end
"""

KEMI_CFG = """
#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=1
auto_aliases=no
alias=P2P_DOMAIN
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "ctl.so"
loadmodule "p2p_usrloc.so"
loadmodule "p2p_route.so"
loadmodule "p2p_registrar.so"
loadmodule "app_lua.so"
modparam("ctl", "binrpc", CTLSOCK)
modparam("usrloc", "preload", "location")
modparam("p2p_usrloc", "gateway_socket", P2P_GATEWAY_SOCKET)
modparam("app_lua", "load", "%s")
cfgengine "lua"
"""


def kemi_peer(w):
    lua, cfg = WORK + "/kemi.lua", WORK + "/kemi.cfg"
    with open(lua, "w", encoding="utf-8") as f:
        f.write(LUA)
    with open(cfg, "w", encoding="utf-8") as f:
        f.write(KEMI_CFG.lstrip() % lua)
    k = Kamailio("kemi", C, HIT_C, cfg=cfg)
    k.gateway.peers = dict(w.a.gateway.peers)
    return k


def memory(k):
    """Shared memory per place of allocation, and each process's private memory."""
    shm, module = {}, ""
    for line in (k.rpc("mod.stats", "all", "shm") or "").splitlines():
        m = re.match(r"Module: (\S+)", line)
        if m:
            module = m.group(1)
        m = re.match(r"\s*(\S+\(\d+\)): (-?\d+)", line)
        if m:
            shm[module + " " + m.group(1)] = shm.get(module + " " + m.group(1), 0) \
                + int(m.group(2))
    pkg = {}
    for x in re.findall(r"\{(.*?)\}", k.rpc("pkg.stats") or "", re.S):
        f = dict(re.findall(r"(\w+): (\S+)", x))
        pkg[f["desc"] + f["pid"] if "desc" in f else f["pid"]] = int(f["used"])
    return shm, pkg


@test
def t_memory(w):
    """memory, shared and private: the same before and after many rounds of everything"""
    # room for all transactions of the long run, which may end sooner than tm forgets the first
    options = ["-x", "qm", "-X", "qm", "-m", "256"]
    e = Kamailio("e", E, "2001:22:e:1::e", options=options)
    f = Kamailio("f", F, "2001:22:f:1::f", options=options)
    for k in (e, f):
        k.gateway.peers = {e.hit: e.uris(), f.hit: f.uris()}
    alice, bob = Phone("10.88.0.63", "alice"), Phone("10.88.0.64", "bob")
    alice.answer["INVITE"] = [(0, 200)]
    bob.register(f)
    g = f.gateway
    g.users = {"alice": [(e.hit, e.uris(), {})], "ghost": [(e.hit, e.uris(), {})],
               "dead": [("2001:22:d:9::1", ["sip:%s:5060" % DEAD], {})],
               "lazy": [(e.hit, e.uris(), {})]}
    # "nowhere" does not exist; "slow" is not found in time
    g.error["slow"] = "TIMEOUT search not completed"

    def ask(user, method="INVITE"):
        return bob.send(method, sip(user), (F, 5060))

    def round_of(i):
        alice.register(e)
        if i % 10 == 0:
            bob.register(f)     # a refresh
        if i % 3 == 0:
            g.publish("users", "alice")
        c = ask("alice")
        equal(c.final().code, 200, "INVITE")
        c.bye()
        equal(ask("nowhere").final().code, 404, "INVITE to nowhere")
        equal(ask("alice", "MESSAGE").final().code, 200, "MESSAGE")
        if i % 4 == 0:
            equal(ask("ghost").final().code, 404, "INVITE to a stale record")
            equal(ask("slow").final().code, 480, "INVITE, search not completed")
        if i % 25 == 0:
            check(ask("dead").final().code == 503, "INVITE to a dead peer")
            g.delay["lazy"] = 0.2
            g.publish("users", "lazy")
            time.sleep(0.02)
            c = ask("lazy")
            c.code(100)
            c.cancel()
            equal(c.final().code, 487, "cancelled INVITE")
            g.delay.clear()
        alice.register(e, expires=0)
        bob.calls.clear()
        del alice.requests[:], bob.requests[:]
        alice.calls.clear()

    def drained():
        for k in (e, f):
            wait_for(k.name + ": transactions end", k.idle, 60)
        time.sleep(6)       # tcp and usrloc timers
        return [memory(k) for k in (e, f)]

    for i in range(40):
        round_of(i)
    before = drained()
    for i in range(ROUNDS):
        round_of(i)
    after = drained()
    grown = []
    for k, b, a in zip((e, f), before, after):
        for part in (0, 1):
            for what in sorted(set(b[part]) | set(a[part])):
                d = a[part].get(what, 0) - b[part].get(what, 0)
                if d != 0:
                    grown.append((k.name, ("shm", "pkg")[part], what, d))
    for x in grown:
        print("# %s %s %s: %+d" % x)
    check(before[0][0] and before[0][1], "no statistics")
    # a Call-ID one digit longer is no leak; a byte for each round is. p2p_usrloc holds 64 pieces of
    # 4,096 bytes; q_malloc leaves up to 104 bytes more on each, where it cannot make a piece of them
    slack = {"p2p_usrloc shared_cut": 64 * 104}
    bad = [x for x in grown if x[3] - slack.get(x[2].split("(")[0], 0) >= 16 * ROUNDS]
    equal(bad, [], "grown in %d rounds" % ROUNDS)
    for k in (e, f):
        k.stop()


@test
def t_settings(w):
    """settings out of range: Kamailio refuses to start and says why"""
    for module, name, value, why in (
            ("p2p_registrar", "lookup_timeout_ms", "29500", "fr_timer"),
            ("p2p_registrar", "lookup_timeout_ms", "0", "out of range 50..30000"),
            ("p2p_registrar", "local_wait_ms", "2001", "more than lookup_timeout_ms"),
            ("p2p_registrar", "lookup_workers", "0", "out of range 1..64"),
            ("p2p_registrar", "lookup_timeout", "1000", "parameter <lookup_timeout>"),
            ("p2p_route", "peer_timeout_ms", "800", "less than 500 ms"),
            ("p2p_route", "tcp_threshold", "-1", "out of range"),
            ("p2p_route", "peer", '"192.0.2.300"', "no address and no network"),
            ("p2p_route", "socket", '"udp:192.0.2.1:5060"', "none of Kamailio's")):
        with open(TOP + "/cfg/kamailio.cfg", encoding="utf-8") as f:
            text = f.read()
        text = text.replace('include_file "kamailio-p2psip.cfg"',
                            'include_file "%s/cfg/kamailio-p2psip.cfg"\n'
                            'modparam("%s", "%s", %s)' % (TOP, module, name, value))
        path = WORK + "/bad.cfg"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        argv = ["kamailio", "-f", path, "-DD", "-E", "-P", WORK + "/bad.pid", "-w", WORK, "-Y", WORK,
                "-L", MODULES + ":" + STOCK, "-l", "udp:10.88.0.9:5060", "-A", "WITHOUT_P2P_MEDIA",
                "-A", 'CTLSOCK="unix:%s/bad.sock"' % WORK,
                "-A", 'P2P_CONTACTS_FILE="%s/bad.contacts"' % WORK,
                "-A", 'P2P_CONTACTS_MEMORY="%s/bad.contacts.memory"' % WORK]
        try:
            r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               timeout=20, check=False, preexec_fn=die_with_parent)
        except subprocess.TimeoutExpired as e:
            raise AssertionError("%s %s %s: started" % (module, name, value)) from e
        check(r.returncode != 0, "%s %s started" % (name, value))
        check(why in r.stdout, "%s %s: not said why: %s" % (name, value, [
            x for x in r.stdout.splitlines() if "ERROR" in x or "CRIT" in x][:3]))


@test
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


# --- running -------------------------------------------------------------------------------------------

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


def main():
    global WORK, MODULES, PHONES, SERVERS, ROUNDS    # pylint: disable=global-variable-undefined
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--modules", metavar="DIR")
    ap.add_argument("--keep-logs", action="store_true")
    ap.add_argument("--long", action="store_true")
    ap.add_argument("pattern", nargs="?", default="")
    args = ap.parse_args()
    ROUNDS = 1000 if args.long else 60
    build = os.environ.get("P2PSIP_BUILD_TREE") or os.environ.get("top_builddir") or TOP
    MODULES = os.path.abspath(args.modules or os.path.join(build, ".libs"))
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root (a network namespace)")
        return 0
    if not os.path.exists(MODULES + "/p2p_registrar.so"):
        print("1..0 # SKIP no modules in " + MODULES)
        return 0
    WORK, PHONES, SERVERS = tempfile.mkdtemp(prefix="p2p-routing-"), [], []
    os.chmod(WORK, 0o755)
    lifeline = None if args.keep_logs else janitor(WORK)
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    chosen = [t for t in TESTS if args.pattern in t.__name__]
    print("1..%d" % len(chosen), flush=True)
    failed, world = 0, None
    try:
        network()
        world = World()
        for i, t in enumerate(chosen):
            what = t.__doc__.strip()
            marks = [(k, os.path.getsize(k.log)) for k in (world.a, world.b)]
            try:
                t(world)
                print("ok %d - %s" % (i + 1, what), flush=True)
            except Exception as e:      # pylint: disable=broad-except
                failed += 1
                print("not ok %d - %s" % (i + 1, what))
                print("# %s: %s" % (type(e).__name__, e))
                if not isinstance(e, AssertionError):
                    print("# " + traceback.format_exc().replace("\n", "\n# "))
                else:
                    tb = traceback.extract_tb(e.__traceback__)
                    print("# at line %s" % [f.lineno for f in tb if f.name == t.__name__])
                for k, at in marks:
                    with open(k.log, encoding="utf-8", errors="replace") as f:
                        f.seek(at)
                        for line in f.read().splitlines()[-12:]:
                            print("# %s: %s" % (k.name, line[:300]))
                sys.stdout.flush()
            for k in SERVERS:       # a test that failed may have left one
                if k not in (world.a, world.b):
                    k.stop()
    finally:
        for k in SERVERS:
            k.stop()
        if args.keep_logs:
            print("# logs in " + WORK)
        else:
            shutil.rmtree(WORK, ignore_errors=True)
        if lifeline is not None:
            os.close(lifeline)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
