# SPDX-License-Identifier: GPL-2.0-or-later
"""Single SIP messages from Python: what neither a phone nor a scenario can be told to say."""

import base64
import itertools
import os
import socket
import struct

from . import proc

_numbers = itertools.count(1)


class Message:
    """A message as it came over the wire."""

    def __init__(self, data):
        self.text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        head, _, self.body = self.text.partition("\r\n\r\n")
        self.first, *self.lines = head.split("\r\n")
        self.code = int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else 0
        self.method = "" if self.code else self.first.split()[0]

    def all(self, name):
        out = []
        for line in self.lines:
            key, _, value = line.partition(":")
            if key.strip().lower() == name.lower():
                out.append(value.strip())
        return out

    def get(self, name, default=""):
        return next(iter(self.all(name)), default)


def reply(request, code, reason, extra=(), body="", tag="rig"):
    """The reply to a request (a Message)."""
    lines = ["SIP/2.0 %d %s" % (code, reason)]
    for name in ("Via", "Record-Route"):
        lines += ["%s: %s" % (name, v) for v in request.all(name)]
    to = request.get("To")
    lines += ["From: " + request.get("From"),
              "To: " + to + ("" if ";tag=" in to else ";tag=" + tag),
              "Call-ID: " + request.get("Call-ID"), "CSeq: " + request.get("CSeq"), *extra,
              "Content-Length: %d" % len(body)]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def request(method, uri, via, frm, to=None, extra=(), body="", callid=None, cseq=1, tag="",
            branch=None):
    """via: "UDP host:port"; frm, to: URIs."""
    n = next(_numbers)
    lines = ["%s %s SIP/2.0" % (method, uri),
             "Via: SIP/2.0/%s;rport;branch=%s" % (via, branch or "z9hG4bKrig%d" % n),
             "From: <%s>;tag=f%d" % (frm, n), "To: <%s>%s" % (to or uri, tag and ";tag=" + tag),
             "Call-ID: %s" % (callid or "rig-%d" % n), "CSeq: %d %s" % (cseq, method),
             "Max-Forwards: 70", *extra, "Content-Length: %d" % len(body)]
    return "\r\n".join(lines) + "\r\n\r\n" + body


class Udp:
    """A UDP socket in a node."""

    def __init__(self, node, port, address=None):
        with node.inside():
            self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = address or next(iter(node.addr4.values()))
        self.port = port
        self.s.bind((self.address, port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    @property
    def via(self):
        return "UDP %s:%d" % (self.address, self.port)

    def send(self, text, to, port=5060):
        self.s.sendto(text if isinstance(text, bytes) else text.encode(), (to, port))

    def receive(self, timeout=5):
        """The next message, or None."""
        self.s.settimeout(timeout)
        try:
            return Message(self.s.recv(65536))
        except TimeoutError:
            return None

    def ask(self, text, to, timeout=5):
        """Sends a request; its final reply."""
        branch = Message(text).get("Via").partition("branch=")[2]
        self.send(text, to)
        while True:
            m = self.receive(timeout)
            if m is None:
                raise proc.Failed("no reply within %g s to:\n%s" % (timeout, text[:600]))
            if m.code >= 200 and branch in m.get("Via"):
                return m


class WebSocket:
    """SIP over WebSocket (RFC 7118), as a browser speaks it."""

    def __init__(self, node, to, port=5060):
        with node.inside():
            self.s = socket.create_connection((to, port), 5)
        self.host = "r%d.invalid" % next(_numbers)      # a browser does not know its address
        self.via = "WS " + self.host
        self.s.sendall(("GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n" %
                        (to, base64.b64encode(os.urandom(16)).decode())).encode())
        self.buf = b""
        while b"\r\n\r\n" not in self.buf:
            self._more(5)
        head, _, self.buf = self.buf.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise proc.Failed("no WebSocket: " + head.decode("utf-8", "replace"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def _more(self, timeout):
        self.s.settimeout(timeout)
        data = self.s.recv(65536)
        if not data:
            raise ConnectionError("the WebSocket was closed")
        self.buf += data

    def _frame(self, opcode, data):
        n, mask = len(data), os.urandom(4)
        size = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n)
        self.s.sendall(bytes([0x80 | opcode]) + size + mask +
                       bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def send(self, text):
        self._frame(1, text.encode())

    def receive(self, timeout=5):
        """The next message; pings are answered. TimeoutError when there is none."""
        while True:
            while len(self.buf) < 2:
                self._more(timeout)
            n, off = self.buf[1] & 0x7f, 2
            if n >= 126:
                off = 4 if n == 126 else 10
                while len(self.buf) < off:
                    self._more(timeout)
                n = int.from_bytes(self.buf[2:off], "big")
            while len(self.buf) < off + n:
                self._more(timeout)
            opcode, data = self.buf[0] & 15, self.buf[off:off + n]
            self.buf = self.buf[off + n:]
            if opcode in (1, 2):
                return Message(data)
            if opcode == 8:
                raise ConnectionError("the WebSocket was closed")
            if opcode == 9:
                self._frame(10, data)
