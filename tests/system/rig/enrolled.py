# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlays with an authority, and their users; phones that authenticate."""

import hashlib
import subprocess

from . import overlay, proc, resp, world

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
