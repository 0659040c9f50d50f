# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlays with an authority, and their users; phones that authenticate."""

import hashlib
import re
import subprocess

from . import overlay, proc, resp, sipc, world

REALM = "overlay.example.org"


def build(peers=2, digests="MD5 SHA-256", permission="required", prepare=None, rules=True, **kw):
    """Peers of an overlay whose authority the first of them has."""
    s = overlay.Overlay(peers, prepare=prepare, enrolled=True, **kw)
    if rules:
        ctl(s.a, "overlay", "rules", "--realm", REALM, "--digests", digests,
            "--permission", permission)
        for p in s.peers:
            proc.wait_for("%s knows the rules" % p.name,
                          lambda p=p: p.gateway.status().get("realm") == REALM, 10, 0.05)
    return s


def ctl(p, *args, stdin="", fails=False):
    """p2psipctl at a peer; its output. fails: it must, and says so."""
    r = subprocess.run([world.BUILD + "/ctl/p2psipctl", "-g", p.gateway.admin, *args],
                       input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=60, check=False)
    if bool(r.returncode) != fails:
        raise proc.Failed("p2psipctl %s: %d\n%s%s" % (" ".join(args), r.returncode, r.stdout,
                                                      r.stderr))
    return r.stderr if fails else r.stdout


def hit(p):
    return p.gateway.status()["hit"]


def add(s, name, password, *peers):
    """Enrols a user: at these peers, or at any."""
    where = [x for p in peers for x in ("--peer", hit(p))] or ["--any"]
    ctl(s.a, "user", "add", name, *where, stdin=password + "\n")


def passwd(s, name, password):
    ctl(s.a, "user", "passwd", name, stdin=password + "\n")


def auth(p, name, deadline=3000):
    """What p's gateway says to AUTH: {"MD5": HA1, ...}, or the code word of its refusal."""
    with resp.Client(p.gateway.socket) as c:
        c("HANDSHAKE", "2", "test", "users-test-" + p.name)
        try:
            r = c("AUTH", name, str(deadline))
        except resp.Error as e:
            return e.code
    if r[0] != REALM:
        raise proc.Failed("AUTH names the realm %r" % r[0])
    return resp.pairs(r[2:])


def ha1(name, password, digest, realm=REALM):
    h = hashlib.md5 if digest == "MD5" else hashlib.sha256
    return h(("%s:%s:%s" % (name, realm, password)).encode()).hexdigest()


def ha1s(name, password, digests=("SHA-256", "MD5")):
    return {d: ha1(name, password, d) for d in digests}


def challenges(reply):
    """A 401's or 407's challenges, in their order: [{realm, nonce, algorithm, ...}, ...]."""
    out = []
    for value in reply.all("WWW-Authenticate") + reply.all("Proxy-Authenticate"):
        out.append(dict(re.findall(r'(\w+)="?([^",]*)"?', value.split(None, 1)[1])))
    return out


class Phone(sipc.Udp):
    """A phone that says exactly what it is told, and answers challenges."""

    def __init__(self, s, user, password, node=None, port=5070):
        node = node or s.host("phone")
        super().__init__(node, port, node.addr4["ua"])
        self.user, self.password = user, password
        self.username, self.nc, self.cseq = user, 0, 0

    def credentials(self, c, method, uri, algorithm, password=None, **change):
        self.nc += 1
        h = hashlib.sha256 if algorithm == "SHA-256" else hashlib.md5

        def hx(text):
            return h(text.encode()).hexdigest()
        first = ha1(self.username, password or self.password, algorithm, c["realm"])
        second, nc = hx("%s:%s" % (method, uri)), "%08x" % change.pop("nc", self.nc)
        response = hx(":".join((first, c["nonce"], nc, "rig", "auth", second)))
        parts = {"username": self.username, "realm": c["realm"], "nonce": c["nonce"], "uri": uri,
                 "response": response, "cnonce": "rig"}
        parts.update(change)
        return "Digest " + ", ".join('%s="%s"' % x for x in parts.items()) + \
            ", algorithm=%s, qop=auth, nc=%s" % (algorithm, nc)

    def request(self, p, method="REGISTER", uri=None, frm=None, to=None, extra=(), **kw):
        aor = "sip:%s@%s" % (self.user, p.address)
        uri = uri or ("sip:" + p.address if method == "REGISTER" else aor)
        self.cseq += 1
        extra = list(extra) + ["Contact: <sip:%s@%s:%d>" % (self.user, self.address, self.port)]
        return sipc.request(method, uri, self.via, frm or aor, to or
                            (aor if method == "REGISTER" else uri), extra, cseq=self.cseq, **kw)

    def challenged(self, p, method="REGISTER", **kw):
        """What p challenges a request with."""
        r = self.ask(self.request(p, method, **kw), p.address)
        if r.code != (401 if method == "REGISTER" else 407):
            raise proc.Failed("not challenged, but " + r.first)
        self.nc = 0
        return challenges(r)

    def answer(self, p, c, method="REGISTER", algorithm=None, password=None, change=None, **kw):
        """The request with credentials for a challenge; the final reply."""
        uri = kw.get("uri") or "sip:" + p.address
        header = "Authorization: " if method == "REGISTER" else "Proxy-Authorization: "
        header += self.credentials(c, method, uri, algorithm or c.get("algorithm", "MD5"),
                                   password, **(change or {}))
        return self.ask(self.request(p, method, extra=[header], **kw), p.address)

    def register(self, p, algorithm=None, **kw):
        """As a phone does: challenged, and answering the first challenge that it understands."""
        found = self.challenged(p)
        c = next((x for x in found if algorithm in (None, x.get("algorithm", "MD5"))), None)
        if not c:
            raise proc.Failed("no challenge for %s: %r" % (algorithm, found))
        return self.answer(p, c, **kw)
