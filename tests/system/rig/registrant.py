# SPDX-License-Identifier: GPL-2.0-or-later
"""A phone that does nothing but register, as often, as fast and as oddly as it is told; all that
comes back is kept."""

import contextlib
import re
import select
import socket
import time

from . import proc
from .sipc import Message


class Registrant:
    """In a node (None: here), towards the registrar at address."""

    def __init__(self, node=None, address="127.0.0.1"):
        self.to = (address, 5060)
        self.address = node.addr4["ua"] if node else "127.0.0.1"
        with node.inside() if node else contextlib.nullcontext():
            self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.s.bind((self.address, 0))
        self.port = self.s.getsockname()[1]
        self.n = 0
        self.run = "%x" % time.monotonic_ns()
        self.replies = {}       # branch -> [Message]
        self.at = {}            # branch -> when it was sent
        self.took = {}          # branch -> seconds to the first final reply

    def text(self, user, contacts=None, expires=600, instance=None, headers=(), cseq=None, callid=None):
        self.n += 1
        branch = "z9hG4bK%s.%d" % (self.run, self.n)
        if contacts is None:
            contacts = ["<sip:%s@%s:%d>;expires=%d%s" % (
                user, self.address, self.port, expires, ';+sip.instance="<%s>"' % instance if instance else "")]
        lines = ["REGISTER sip:%s SIP/2.0" % self.to[0],
                 "Via: SIP/2.0/UDP %s:%d;rport;branch=%s" % (self.address, self.port, branch),
                 "Max-Forwards: 70", "From: <sip:%s@%s>;tag=t%d" % (user, self.to[0], self.n),
                 "To: <sip:%s@%s>" % (user, self.to[0]),
                 "Call-ID: %s" % (callid or "%s-%s" % (user, self.run)),
                 "CSeq: %d REGISTER" % (cseq or self.n)]
        lines += ["Contact: " + c for c in contacts] + list(headers)
        return branch, "\r\n".join(lines + ["Content-Length: 0", "", ""])

    def send(self, branch, text):
        self.at.setdefault(branch, time.monotonic())
        self.s.sendto(text.encode(), self.to)

    def read(self, seconds, until=None):
        """What comes within that time, or until the final reply to a request is there."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if not select.select([self.s], [], [], max(left, 0))[0]:
                return
            m = Message(self.s.recv(65535))
            branch = re.search(r"branch=([^;,\s]+)", m.get("Via")).group(1)
            self.replies.setdefault(branch, []).append(m)
            if m.code >= 200:
                self.took.setdefault(branch, time.monotonic() - self.at[branch])
                if branch == until:
                    return

    def final(self, branch, timeout=5.0):
        end = time.monotonic() + timeout
        while True:
            for m in self.replies.get(branch, []):
                if m.code >= 200:
                    return m
            if time.monotonic() > end:
                raise proc.Failed("no final reply to %s within %g s" % (branch, timeout))
            self.read(end - time.monotonic(), until=branch)

    def register(self, user, want=200, timeout=5.0, **kw):
        """(reply, seconds)"""
        branch, text = self.text(user, **kw)
        self.send(branch, text)
        m = self.final(branch, timeout)
        if m.code != want:
            raise proc.Failed("REGISTER of %s: %s, not %d" % (user, m.first, want))
        return m, self.took[branch]
