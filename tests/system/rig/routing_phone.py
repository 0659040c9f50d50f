# SPDX-License-Identifier: GPL-2.0-or-later
"""The phones of test_routing*.py: small SIP user agents on UDP and TLS, and their calls."""
import os
import re
import select
import socket
import ssl
import sys
import threading
import time
import traceback

from . import pace
from .routing_base import DOMAIN, RUN, SESSIONS, equal, wait_for


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
        RUN.phones.append(self)
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
        RUN.phones.append(self)
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

    def took_at_most(self, bar):
        """Did the final reply come within so many seconds (see rig.pace)?"""
        return pace.within(self.seconds(), bar, self.final().when)

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
