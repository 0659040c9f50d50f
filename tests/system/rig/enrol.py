# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlays with an authority: p2psipctl as an operator uses it, and certificates as no authority
would issue them."""

import http.client
import json
import os
import ssl
import subprocess

from . import proc, world

CTL = world.BUILD + "/ctl/p2psipctl"
CERTTOOL = world.BUILD + "/tests/tools/certtool"
PORT = 7443


def ctl(p, *args, check=True, timeout=20, stdin=""):
    """p2psipctl at a peer; (exit status, output, errors)."""
    r = subprocess.run(p.node.prefix() + [CTL, "-g", p.gateway.admin, *args], check=False,
                       timeout=timeout, input=stdin, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    if check and r.returncode:
        raise proc.Failed("p2psipctl %s: %s" % (" ".join(args), r.stderr))
    return r.returncode, r.stdout.strip(), r.stderr.strip()


def create(p):
    return json.loads(ctl(p, "-j", "overlay", "create", "--state", p.gateway.state)[1])


def invite(p, *options):
    return ctl(p, "invite", *options)[1]


def join(p, token):
    return json.loads(ctl(p, "-j", "join", token, "--state", p.gateway.state)[1])


def refused(p, said, *args):
    """p2psipctl must end with 1 and say this."""
    code, _, err = ctl(p, *args, check=False)
    if code != 1 or said not in err:
        raise proc.Failed("p2psipctl %s: status %d, %r, not %r" % (args[0], code, err, said))


def members(p):
    """HIT -> what p's gateway says of it."""
    return {m["peer"]: m for m in json.loads(ctl(p, "-j", "peer", "list")[1])}


def certificate(authority_dir, identity, out, begin=-86400, end=86400, overlay="-", hit=None):
    """A peer's certificate in a file, by that authority; returns (certificate, key)."""
    argv = [CERTTOOL, authority_dir, identity, str(begin), str(end), overlay] + ([hit] if hit else [])
    with open(out, "wb") as f:
        subprocess.run(argv, check=True, stdout=f, stdin=subprocess.DEVNULL, timeout=10)
    return out, identity


def identity(folder):
    """A new Host Identity; its file and HIT."""
    path = folder + "/identity.pem"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    hit = subprocess.run([CTL, "identity", "new", path], check=True, stdout=subprocess.PIPE,
                         text=True, timeout=10).stdout.strip()
    return path, hit


def ask(node, address, cert, method, path, body=None):
    """One request to a gateway, from a node, with that (certificate, key); (status, answer)."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    ctx.load_cert_chain(*cert)
    with node.inside():
        conn = http.client.HTTPSConnection(address, PORT, context=ctx, timeout=5)
        try:
            conn.request(method, path, body=None if body is None else json.dumps(body))
            r = conn.getresponse()
            return r.status, json.loads(r.read())
        finally:
            conn.close()


def revoke(at, hit):
    return json.loads(ctl(at, "-j", "peer", "revoke", hit)[1])
