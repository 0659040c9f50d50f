# SPDX-License-Identifier: GPL-2.0-or-later
"""A member of a closed overlay that is no gateway: it asks others' gateways whatever it likes."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import subprocess
import time

from . import fake


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def hit_of(point):
    """RFC 7343 and RFC 7401, suite 2, of X and Y."""
    context = bytes.fromhex("f0eff02fbff43d0fe7930c3c6e6174ea")
    digest = hashlib.sha384(context + b"\0\1\4" + point).digest()
    bits = int.from_bytes(digest, "big") >> (384 - 240) & ((1 << 96) - 1)
    return (0x20010020 << 96 | 2 << 96 | bits).to_bytes(16, "big")


class Member:
    """On a node, with the overlay's secret (hexadecimal), speaking to the gateway at address."""

    def __init__(self, node, secret, address, name="member"):
        self.node, self.secret, self.address = node, bytes.fromhex(secret), address
        self.cert, self.key = fake.certificate(name)
        der = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER"],
                             check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             timeout=20).stdout
        self.point = der[-64:]
        self.hit = hit_of(self.point)
        self.pubkey = bytes([2 + self.point[63] % 2]) + self.point[:32]
        self.overlay = hmac.new(self.secret, b"\0overlay-id", hashlib.sha256).digest()[:16]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.load_cert_chain(self.cert, self.key)
        self.conn = self.theirs = None

    def connect(self):
        self.conn = http.client.HTTPSConnection(self.address, fake.PORT, context=self.context,
                                                timeout=10)
        with self.node.inside():
            self.conn.connect()
        der = self.conn.sock.getpeercert(True)
        # the key of a P-256 certificate: the point behind its algorithm's name
        at = der.index(bytes.fromhex("06082a8648ce3d030107034200")) + 13
        self.theirs = hit_of(der[at + 1:at + 65])

    def proof(self):
        ms = int(time.time() * 1000)
        mac = hmac.new(self.secret, b"p2psip-member\0" + self.overlay + self.hit + self.theirs +
                       ms.to_bytes(8, "big"), hashlib.sha256).hexdigest()
        return "%d:%s" % (ms, mac)

    def post(self, path, body):
        """(status, the body as an object)"""
        if not self.conn or not self.conn.sock:
            self.connect()
        self.conn.request("POST", "/v1/%s/%s" % (self.overlay.hex(), path),
                          body=body if isinstance(body, (str, bytes)) else json.dumps(body),
                          headers={"P2P-Member": self.proof()})
        r = self.conn.getresponse()
        text = r.read()
        try:
            return r.status, json.loads(text)
        except ValueError:      # refused before anybody looked at it
            return r.status, text

    def user_key(self, name):
        return hmac.new(self.secret, b"\1" + name.encode(), hashlib.sha256).digest()[:20]

    def record(self, key, order=None, pubkey=None, expiry=None):
        """A tombstone, whose signature is none."""
        now = int(time.time() * 1000)
        order = order or now
        return (b"p2p\1\1\1" + self.overlay + key + (pubkey or self.pubkey) +
                order.to_bytes(8, "big") + (expiry or order + 3600000).to_bytes(8, "big") +
                bytes(2) + bytes(63) + b"\1")

    def close(self):
        if self.conn:
            self.conn.close()
            self.conn = None
