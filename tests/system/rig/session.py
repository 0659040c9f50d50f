# SPDX-License-Identifier: GPL-2.0-or-later
"""The header between peers as docs/peer-protocol.md tells it, worked out here for itself: for tests
that speak as a peer, good or bad."""

import hashlib
import hmac
import struct
import time


def authenticator(key, session, t_ms, hops, method, uri, callid, cseq, tag):
    """key: 32 bytes; session: 32 hexadecimal digits."""
    text = b"p2psip-sip\0" + bytes.fromhex(session) + struct.pack(">QI", t_ms, hops)
    for part in (method, uri, callid, str(cseq), tag):
        text += struct.pack(">H", len(part.encode())) + part.encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def header(hit, key, session, method, uri, callid, cseq, tag, hops=1, t_ms=None, mac=None,
           dialog=False):
    """The value of P2P-Peer; dialog: of a request within one."""
    t_ms = int(time.time() * 1000) if t_ms is None else t_ms
    u = ""
    if dialog:
        uri = hashlib.sha256(uri.encode()).hexdigest()[:16]
        u = ";u=" + uri
    mac = mac or authenticator(key, session, t_ms, hops, method, uri, callid, cseq, tag)
    return "%s;v=2;hops=%d;s=%s;t=%d%s;mac=%s" % (hit, hops, session, t_ms, u, mac)


class Fixed:
    """Sessions that need no gateway: one between each two HITs, all of it made from them."""

    def __init__(self, salt="session"):
        self.salt = salt

    def _make(self, *what):
        return hashlib.sha256("|".join((self.salt,) + what).encode()).digest()

    def id(self, one, other):
        return self._make("id", *sorted((one, other)))[:16].hex()

    def key(self, sender, receiver):
        return self._make("key", sender, receiver)

    def reply(self, own, other, uris, ttl_ms=600000):
        """As the gateway of `own` tells Kamailio: SESSION's reply."""
        first = uris[0]
        stream = next((u for u in uris if "transport=tcp" in u), "") \
            if "transport=t" not in first else ""
        return [self.id(own, other), other, "initiator" if own < other else "responder", ttl_ms,
                self.key(own, other).hex(), self.key(other, own).hex(),
                "tls" if "transport=tls" in first else "tcp" if "transport=tcp" in first else "udp",
                6 if "[" in first else 4, "rtp", first, stream, 0]

    def header(self, own, other, **request):
        return header(own, self.key(own, other), self.id(own, other), **request)
