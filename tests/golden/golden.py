#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden vectors of the record format, computed apart from lib/: plain Python, its own P-256, its
own ECDSA with RFC 6979 nonces, its own encoder, written from docs/records.md.

    golden.py            print the vectors (what vectors.txt holds)
    golden.py --check    compare them with vectors.txt; exit 1 when they differ

vectors.txt is what tests/unit/test_golden reads. It never changes: a change there is a change of the
format, which breaks every network that runs. New vectors may be added at the end.
"""
import hashlib
import hmac
import ipaddress
import os
import struct
import sys

# --- P-256 (FIPS 186-4, D.1.2.3) and ECDSA ---------------------------------------------------------
P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff
N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b
G = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,
     0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)


def add(p, q):
    if p is None:
        return q
    if q is None:
        return p
    if p[0] == q[0]:
        if (p[1] + q[1]) % P == 0:
            return None
        m = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, P)
    else:
        m = (q[1] - p[1]) * pow(q[0] - p[0], -1, P)
    x = (m * m - p[0] - q[0]) % P
    return x, (m * (p[0] - x) - p[1]) % P


def mul(k, p):
    r = None
    while k:
        if k & 1:
            r = add(r, p)
        p = add(p, p)
        k >>= 1
    return r


assert (G[1] ** 2 - (G[0] ** 3 - 3 * G[0] + B)) % P == 0 and mul(N, G) is None


def b32(i):
    return i.to_bytes(32, "big")


def nonce(d, h):
    """RFC 6979, section 3.2, with SHA-256."""
    def mac(k, m):
        return hmac.new(k, m, hashlib.sha256).digest()
    h = b32(int.from_bytes(h, "big") % N)
    v, k = b"\1" * 32, b"\0" * 32
    for sep in (b"\0", b"\1"):
        k = mac(k, v + sep + b32(d) + h)
        v = mac(k, v)
    while True:
        v = mac(k, v)
        c = int.from_bytes(v, "big")
        if 0 < c < N:
            return c
        k = mac(k, v + b"\0")
        v = mac(k, v)


def sign(d, msg, high=False):
    h = hashlib.sha256(msg).digest()
    k = nonce(d, h)
    r = mul(k, G)[0] % N
    s = pow(k, -1, N) * (int.from_bytes(h, "big") + r * d) % N
    if (s > N // 2) != high:
        s = N - s
    return b32(r) + b32(s)


def compressed(q):
    return bytes([2 + (q[1] & 1)]) + b32(q[0])


# RFC 6979, A.2.5: P-256, SHA-256, "sample" (its s is high; ours is the low one)
RFC_D = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
assert sign(RFC_D, b"sample", high=True).hex() == (
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")


# --- HITs: RFC 7343, RFC 7401 section 5.2.9 --------------------------------------------------------
def hit(q):
    host_id = struct.pack(">H", 1) + b"\4" + b32(q[0]) + b32(q[1])
    h = hashlib.sha384(bytes.fromhex("F0EFF02FBFF43D0FE7930C3C6E6174EA") + host_id).digest()
    return bytes.fromhex("20010022") + h[18:30]


# --- records ---------------------------------------------------------------------------------------
USER, PEER, RELAY, ENROLMENT, REVOCATION = 1, 2, 3, 4, 5
SIP, GATEWAY, HIP = 1, 2, 3
UDP, TCP, TLS = 1, 2, 4
SECRET = b"golden overlay secret, 32 bytes!"
# 2026-01-01 00:00:00 UTC
T0 = 1767225600000


def key(kind, name):
    return hmac.new(SECRET, bytes([kind]) + name, hashlib.sha256).digest()[:20]


def tlv(t, v):
    return bytes([t, len(v)]) + v


def epoch(v):
    return tlv(0x01, struct.pack(">Q", v))


def lease(v):
    return tlv(0x02, struct.pack(">Q", v))


def locator(service, transports, port, addr):
    return tlv(0x03, struct.pack(">BBH", service, transports, port) + ipaddress.ip_address(addr).packed)


def instances(*v):
    return tlv(0x84, b"".join(struct.pack(">I", i) for i in v))


def permission(v):
    return tlv(0x85, v)


def software(v):
    return tlv(0x86, v.encode())


# --- enrolment -------------------------------------------------------------------------------------
def chacha20(k, counter, n, msg):
    """RFC 8439, 2.4."""
    def quarter(s, a, b, c, d):
        for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xffffffff
            v = s[z] ^ s[x]
            s[z] = (v << r | v >> (32 - r)) & 0xffffffff
    out = b""
    for i in range(0, len(msg), 64):
        start = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", k) +
                     (counter + i // 64,) + struct.unpack("<3I", n))
        s = list(start)
        for _ in range(10):
            for q in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15),
                      (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(s, *q)
        stream = struct.pack("<16I", *((x + y) & 0xffffffff for x, y in zip(s, start)))
        out += bytes(a ^ b for a, b in zip(msg[i:i + 64], stream))
    return out


def aead(k, plain):
    """RFC 8439, 2.8: nonce of zeros, nothing but the text is authenticated."""
    n = bytes(12)
    c = chacha20(k, 1, n, plain)
    one = chacha20(k, 0, n, bytes(32))
    r = int.from_bytes(one[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    data = c + bytes(-len(c) % 16) + struct.pack("<QQ", 0, len(c))
    acc = 0
    for i in range(0, len(data), 16):
        acc = (acc + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return c + ((acc + int.from_bytes(one[16:], "little")) % (1 << 128)).to_bytes(16, "little")


# RFC 8439, 2.4.2
assert chacha20(bytes(range(32)), 1, bytes.fromhex("000000000000004a00000000"),
                b"Ladies and Gentlemen").hex() == "6e2e359a2568f98041ba0728dd0d6981e97e7aec"


def seal_peer(e, q, k, plain):
    """To the peer with the public key q; e: the ephemeral private key."""
    head = compressed(mul(e, G))
    seal_key = hmac.new(b32(mul(e, q)[0]), b"p2psip-seal\0" + OVERLAY + k + hit(q) + head, hashlib.sha256)
    return head + aead(seal_key.digest(), plain)


def seal_any(salt, k, plain):
    seal_key = hmac.new(SECRET, b"p2psip-seal\0" + OVERLAY + k + bytes(16) + salt, hashlib.sha256)
    return salt + aead(seal_key.digest(), plain)


def permit(d, expiry, user=None, peer=None):
    scope = (0 if user else 1) | (0 if peer else 2)
    return struct.pack(">BQ", scope, expiry) + sign(
        d, b"p2psip-permission\0" + OVERLAY + struct.pack(">BQ", scope, expiry) + (user or bytes(20)) +
        (peer or bytes(16)))


def ha1(algorithm, user, realm, password):
    return hashlib.new(algorithm, ("%s:%s:%s" % (user, realm, password)).encode()).digest()


OVERLAY = hmac.new(SECRET, b"\0overlay-id", hashlib.sha256).digest()[:16]


def record(d, kind, k, order, expiry, body=b"", flags=0, version=1, magic=b"p2p", overlay=OVERLAY,
           high=False, pubkey=None):
    m = (magic + bytes([version, kind, flags]) + overlay + k + (pubkey or compressed(mul(d, G))) +
         struct.pack(">QQH", order, expiry, len(body)) + body)
    return m + sign(d, m, high)


def vectors():
    d = [int.from_bytes(hashlib.sha256(b"golden key %d" % i).digest(), "big") % N for i in range(3)]
    q = [mul(x, G) for x in d]
    hits = [hit(x) for x in q]
    yield "secret", SECRET.hex()
    yield "overlay", OVERLAY.hex()
    for i in range(3):
        yield "private%d" % i, b32(d[i]).hex()
        yield "public%d" % i, compressed(q[i]).hex()
        yield "point%d" % i, (b32(q[i][0]) + b32(q[i][1])).hex()
        yield "hit%d" % i, hits[i].hex()
        yield "hit-text%d" % i, str(ipaddress.ip_address(hits[i]))
        yield "value-id%d" % i, hits[i][8:].hex()
    for n in ("alice", "bob@example.com", "jos\u00e9", "+493012345678"):
        yield "user-key:" + n.encode().hex(), key(USER, n.encode()).hex()
    for i in range(3):
        yield "peer-key%d" % i, key(PEER, hits[i]).hex()
        yield "relay-key%d" % i, key(RELAY, hits[i]).hex()

    alice = key(USER, b"alice")
    e0 = 0x0102030405060708
    v4 = locator(SIP, UDP | TCP, 5060, "192.0.2.1")
    v6 = locator(SIP, TCP, 5060, "2001:db8::1")
    week = 7 * 86400000
    body = epoch(e0) + v4
    yield "record:user", record(d[0], USER, alice, T0, T0 + week, body).hex()
    yield "record:user-full", record(
        d[1], USER, alice, T0 + 1, T0 + 86400000, epoch(1) + v6 + v4 + locator(SIP, TLS, 5061, "198.51.100.7") +
        instances(1, 0x7fffffff, 0xffffffff) + permission(bytes(range(104)))).hex()
    yield "record:user-tombstone", record(d[0], USER, alice, T0 + 5000, T0 + week, flags=1).hex()
    yield "record:peer", record(
        d[0], PEER, key(PEER, hits[0]), T0, T0 + 86400000, epoch(e0) + lease(T0 + 180000) + v4 +
        locator(GATEWAY, TCP, 8443, "192.0.2.1") + locator(HIP, UDP | TLS, 10500, "2001:db8::1") +
        software("p2psip 0.1.0")).hex()
    yield "record:peer-tombstone", record(d[0], PEER, key(PEER, hits[0]), T0 + 9, T0 + 86400000,
                                          flags=1).hex()
    yield "record:relay", record(d[2], RELAY, key(RELAY, hits[2]), T0, T0 + 3600000,
                                 tlv(0x10, b"later") + tlv(0x90, b"")).hex()
    yield "record:enrolment", record(d[2], ENROLMENT, key(ENROLMENT, b"alice"), T0, T0 + 400 * 86400000).hex()
    yield "record:revocation", record(d[2], REVOCATION, key(REVOCATION, hits[1]), T0,
                                      T0 + 3660 * 86400000, tlv(0x01, hits[1])).hex()
    # what a later version may add: skipped by this one
    yield "record:user-later", record(d[0], USER, alice, T0, T0 + week, body + tlv(0xf0, b"from the future")).hex()

    def bad(name, *a, **k):
        return "bad:" + name, record(*a, **k).hex()
    u = (d[0], USER, alice, T0, T0 + week)
    good = record(*u, body)
    yield bad("magic", *u, body, magic=b"p2q")
    yield bad("version", *u, body, version=2)
    yield bad("kind:0", d[0], 0, alice, T0, T0 + week, body)
    yield bad("kind:6", d[0], 6, alice, T0, T0 + week, body)
    yield bad("flags", *u, body, flags=2)
    yield bad("overlay", *u, body, overlay=bytes(16))
    yield bad("key", d[0], USER, key(USER, b"bob"), T0, T0 + week, body)
    yield "bad:size:short", good[:-1].hex()
    yield "bad:size:long", (good + b"\0").hex()
    yield bad("size:501", *u, body + tlv(0xf0, bytes(255)) + tlv(0xf1, bytes(501 - 93 - 64 - len(body) - 259)))
    yield bad("body:no-epoch", *u, v4)
    yield bad("body:no-locator", *u, epoch(1))
    yield bad("body:epoch-0", *u, epoch(0) + v4)
    yield bad("body:short-tlv", *u, body + b"\xf0")
    yield bad("body:long-tlv", *u, body + b"\xf0\x01")
    yield bad("body:order", *u, v4 + epoch(1))
    yield bad("body:doubled", *u, epoch(1) + epoch(1) + v4)
    yield bad("body:type-0", *u, tlv(0, b"") + body)
    yield bad("body:lease-in-user", *u, epoch(1) + lease(T0) + v4)
    yield bad("body:software-in-user", *u, body + software("x"))
    yield bad("body:locator-size", *u, epoch(1) + tlv(3, bytes([1, 1, 0x13, 0xc4, 192, 0, 2])))
    yield bad("body:port-0", *u, epoch(1) + locator(SIP, UDP, 0, "192.0.2.1"))
    yield bad("body:no-transport", *u, epoch(1) + locator(SIP, 0, 5060, "192.0.2.1"))
    yield bad("body:multicast", *u, epoch(1) + locator(SIP, UDP, 5060, "224.0.0.1"))
    yield bad("body:any", *u, epoch(1) + locator(SIP, UDP, 5060, "::"))
    yield bad("body:mapped", *u, epoch(1) + locator(SIP, UDP, 5060, "::ffff:192.0.2.1"))
    yield bad("body:9-locators", *u, epoch(1) + 9 * v4)
    yield bad("body:instances-0", *u, body + instances(0))
    yield bad("body:instances-none", *u, body + instances())
    yield bad("body:instances-order", *u, body + instances(2, 1))
    yield bad("body:instances-doubled", *u, body + instances(2, 2))
    yield bad("body:9-instances", *u, body + instances(*range(1, 10)))
    yield bad("body:instances-size", *u, body + tlv(0x84, bytes(5)))
    yield bad("body:permission-none", *u, body + permission(b""))
    yield bad("body:permission-long", *u, body + permission(bytes(105)))
    yield bad("body:tombstone-with-locator", *u, body, flags=1)
    yield bad("body:peer-without-lease", d[0], PEER, alice, T0, T0 + week, body)
    yield bad("body:peer-software-control", d[0], PEER, alice, T0, T0 + week,
              epoch(1) + lease(T0 + 1) + software("a\n"))
    yield bad("body:relay-form", d[0], RELAY, alice, T0, T0 + week, b"\x10\x05abc")
    yield bad("unknown", *u, epoch(1) + v4 + tlv(0x10, b"must be understood"))
    yield bad("future", d[0], USER, alice, T0 + 1000 + 120001, T0 + week, body)
    yield bad("life:none", d[0], USER, alice, T0, T0, body)
    yield bad("life:long", d[0], USER, alice, T0, T0 + week + 1, body)
    yield bad("life:order-0", d[0], USER, alice, 0, week, body)
    yield bad("expired", d[0], USER, alice, T0 - 86400000, T0 + 1000, body)
    yield bad("signer:other", d[1], USER, alice, T0, T0 + week, body)
    yield bad("signer:form", *u, body, pubkey=b"\4" + b32(q[0][0]))
    yield bad("signer:no-point", *u, body, pubkey=b"\2" + b32(5))
    yield bad("signature:high", *u, body, high=True)
    yield "bad:signature:flipped", (good[:-1] + bytes([good[-1] ^ 1])).hex()
    yield "bad:signature:content", (good[:82] + bytes([good[82] ^ 1]) + good[83:]).hex()
    yield "bad:signature:zero", (good[:-64] + bytes(64)).hex()
    yield bad("body:lease-past-expiry", d[0], PEER, alice, T0, T0 + 1000, epoch(1) + lease(T0 + 1001))

    # enrolment: the authority is key 2, the serving peer key 0
    k = key(ENROLMENT, b"alice")
    until = T0 + 30 * 86400000
    realm = tlv(0x13, b"example.org")
    both = ha1("md5", "alice", "example.org", "secret") + ha1("sha256", "alice", "example.org", "secret")
    yield "ha1", both.hex()
    e = int.from_bytes(hashlib.sha256(b"golden ephemeral key").digest(), "big") % N
    yield "enrolment:user", record(
        d[2], ENROLMENT, k, T0, until, tlv(0x10, b"\1") + tlv(0x11, hits[0]) + tlv(0x12, b"\3") + realm +
        tlv(0x14, seal_peer(e, q[0], k, both)) + tlv(0x15, permit(d[2], until, alice, hits[0]))).hex()
    yield "enrolment:user-tombstone", record(
        d[2], ENROLMENT, k, T0 + 1, until, tlv(0x10, b"\1") + tlv(0x11, hits[0]), flags=1).hex()
    yield "enrolment:user-any", record(
        d[2], ENROLMENT, k, T0, until, tlv(0x10, b"\2") + tlv(0x12, b"\2") + realm +
        tlv(0x14, seal_any(b"golden salt 16 b", k, both[16:])) + tlv(0x15, permit(d[2], until, alice))).hex()
    yield "enrolment:peer", record(
        d[2], ENROLMENT, key(ENROLMENT, hits[0]), T0, until, tlv(0x10, b"\3") + tlv(0x11, hits[0]) +
        tlv(0x15, permit(d[2], until, peer=hits[0]))).hex()
    yield "enrolment:overlay", record(
        d[2], ENROLMENT, key(ENROLMENT, b"\0"), T0, until, tlv(0x10, b"\4") + tlv(0x12, b"\1") + realm +
        tlv(0x16, b"\1") + tlv(0x17, struct.pack(">Q", 7) + k[:4] + b"\0\0\0\1")).hex()
    yield "record:user-permitted", record(
        d[0], USER, alice, T0, T0 + week, body + permission(permit(d[2], until, alice, hits[0]))).hex()

    def badly(name, b, flags=0):
        return "bad-enrolment:" + name, record(d[2], ENROLMENT, k, T0, until, b, flags=flags).hex()
    user, peer, sealed = tlv(0x10, b"\1"), tlv(0x11, hits[0]), tlv(0x14, bytes(33 + 16 + 16))
    permitted = tlv(0x15, bytes(73))
    yield badly("body:none", b"")
    yield badly("body:no-peer", user + tlv(0x12, b"\1") + realm + sealed + permitted)
    yield badly("body:no-realm", user + peer + tlv(0x12, b"\1") + sealed + permitted)
    yield badly("body:no-permission", user + peer + tlv(0x12, b"\1") + realm + sealed)
    yield badly("body:digests-0", user + peer + tlv(0x12, b"\0") + realm + sealed + permitted)
    yield badly("body:digests-8", user + peer + tlv(0x12, b"\x08") + realm + sealed + permitted)
    yield badly("body:realm-quote", user + peer + tlv(0x12, b"\1") + tlv(0x13, b'a"b') + sealed + permitted)
    yield badly("body:realm-long", user + peer + tlv(0x12, b"\1") + tlv(0x13, b"r" * 65) + sealed + permitted)
    yield badly("body:sealed-size", user + peer + tlv(0x12, b"\3") + realm + sealed + permitted)
    yield badly("body:any-with-peer", tlv(0x10, b"\2") + peer + tlv(0x12, b"\1") + realm +
                tlv(0x14, bytes(48)) + permitted)
    yield badly("body:rules-of-user", user + peer + tlv(0x12, b"\1") + realm + sealed + permitted +
                tlv(0x16, b"\0") + tlv(0x17, bytes(8)))
    yield badly("body:overlay-without-rules", tlv(0x10, b"\4") + tlv(0x12, b"\1") + realm)
    yield badly("body:more-changed-than-changes", tlv(0x10, b"\4") + tlv(0x12, b"\1") + realm + tlv(0x16, b"\0") +
                tlv(0x17, struct.pack(">QII", 1, 1, 2)))
    yield badly("body:changes-size", tlv(0x10, b"\4") + tlv(0x12, b"\1") + realm + tlv(0x16, b"\0") +
                tlv(0x17, bytes(9)))
    yield badly("body:tombstone-with-realm", user + peer + realm, flags=1)
    yield badly("unknown:subject", tlv(0x10, b"\5"))
    yield badly("unknown:part", user + peer + tlv(0x20, b""), flags=1)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    text = "".join("%s %s\n" % v for v in vectors())
    if "--check" not in sys.argv[1:]:
        sys.stdout.write(text)
        return 0
    with open(os.path.join(here, "vectors.txt"), encoding="utf-8") as f:
        want = "".join(line for line in f if not line.startswith("#"))
    if want != text:
        print("golden.py and vectors.txt differ", file=sys.stderr)
        return 1
    print("%d vectors agree" % text.count("\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
