# SPDX-License-Identifier: GPL-2.0-or-later
"""Single SIP messages from Python: what neither a phone nor a scenario can be told to say."""

import itertools
import socket

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
    lines += ["From: " + request.get("From"), "To: " + to + ("" if ";tag=" in to else ";tag=" + tag),
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
        callid = Message(text).get("Call-ID")
        self.send(text, to)
        while True:
            m = self.receive(timeout)
            if m is None:
                raise proc.Failed("no reply within %g s to:\n%s" % (timeout, text[:600]))
            if m.code >= 200 and m.get("Call-ID") == callid:
                return m
