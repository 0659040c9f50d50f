# SPDX-License-Identifier: GPL-2.0-or-later
"""What a node's interfaces saw: SIP messages, and RTP packets and loss per leg."""

import ipaddress
import os
import re
import struct
import subprocess

from . import proc, world


class Capture:
    """tcpdump on all interfaces of a node, from start until stop()."""

    def __init__(self, node, name=None, rule="udp or tcp"):
        self.path = os.path.join(world.WORK, "%s.pcap" % (name or node.name))
        self.proc = proc.Proc("tcpdump-" + (name or node.name),
                              ["tcpdump", "-i", "any", "--immediate-mode", "-U", "-s", "0", "-B",
                               "8192", "-Z", "root", "-w", self.path, rule], node)
        proc.wait_for("tcpdump listens", lambda: self.proc.said("listening on"),
                      alive=[self.proc])

    def stop(self):
        self.proc.stop()
        return packets(self.path)


class Packet:
    __slots__ = ("time", "proto", "src", "sport", "dst", "dport", "seq", "data")

    def __init__(self, when, proto, src, sport, dst, dport, seq, data):
        self.time, self.proto, self.src, self.sport = when, proto, src, sport
        self.dst, self.dport, self.seq, self.data = dst, dport, seq, data


def packets(path):
    """All UDP and TCP packets of a capture file; IPv4 fragments are put together."""
    with open(path, "rb") as f:
        raw = f.read()
    if len(raw) < 24:
        return []
    linktype = struct.unpack_from("<I", raw, 20)[0] & 0xffff
    link, type_at = {1: (14, 12), 113: (16, 14), 276: (20, 0)}[linktype]
    out = []
    fragments = {}
    at = 24
    while at + 16 <= len(raw):
        sec, usec, caplen, _ = struct.unpack_from("<IIII", raw, at)
        frame = raw[at + 16:at + 16 + caplen]
        at += 16 + caplen
        if len(frame) < link:
            continue
        ethertype = struct.unpack_from(">H", frame, type_at)[0]
        whole = _whole(fragments, ethertype, frame[link:])
        p = whole and _ip(sec + usec / 1e6, ethertype, whole)
        if p:
            out.append(p)
    return out


def _whole(fragments, ethertype, b):
    """The IP packet as it is, or when its last fragment has come; None until then."""
    if ethertype != 0x0800 or len(b) < 20:
        return b
    place = struct.unpack_from(">H", b, 6)[0]
    if not place & 0x3fff:
        return b
    head, total = (b[0] & 15) * 4, struct.unpack_from(">H", b, 2)[0]
    key = (b[12:20], b[4:6], b[9])
    parts = fragments.setdefault(key, {})
    parts[(place & 0x1fff) * 8] = (place & 0x2000, b[head:total])
    data = b""
    while len(data) in parts:
        more, piece = parts[len(data)]
        data += piece
        if not more:
            del fragments[key]
            return b[:2] + struct.pack(">H", head + len(data)) + b[4:6] + b"\0\0" + \
                b[8:head] + data
    return None


def _ip(when, ethertype, b):
    if ethertype == 0x0800 and len(b) >= 20:
        head, number = (b[0] & 15) * 4, b[9]
        src, dst = b[12:16], b[16:20]
        b = b[:struct.unpack_from(">H", b, 2)[0]]
    elif ethertype == 0x86dd and len(b) >= 40:
        head, number = 40, b[6]
        src, dst = b[8:24], b[24:40]
        b = b[:40 + struct.unpack_from(">H", b, 4)[0]]
    else:
        return None
    if len(b) < head + 8 or number not in (6, 17):
        return None
    sport, dport = struct.unpack_from(">HH", b, head)
    if number == 17:
        seq, data = 0, b[head + 8:]
    else:
        seq = struct.unpack_from(">I", b, head + 4)[0]
        data = b[head + (b[head + 12] >> 4) * 4:]
    return Packet(when, "udp" if number == 17 else "tcp", str(ipaddress.ip_address(src)), sport,
                  str(ipaddress.ip_address(dst)), dport, seq, data)


class Sip:
    """One SIP message seen on the wire."""

    def __init__(self, p, data):
        self.time, self.proto = p.time, p.proto
        self.src, self.sport, self.dst, self.dport = p.src, p.sport, p.dst, p.dport
        head, _, body = data.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode(errors="replace")).split("\r\n")
        self.first = lines[0]
        self.headers = [tuple(x.strip() for x in s.partition(":")[::2]) for s in lines[1:]]
        self.body = body.decode(errors="replace")
        self.text = data.decode(errors="replace")

    def get(self, name):
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return None

    @property
    def code(self):
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else None

    @property
    def method(self):
        if self.code is None:
            return self.first.split(" ", 1)[0]
        return (self.get("CSeq") or " ").split()[-1]

    def __repr__(self):
        return "%s:%d > %s:%d %s" % (self.src, self.sport, self.dst, self.dport, self.first)


_START = re.compile(rb"^(SIP/2\.0 \d{3} |[A-Z]+ sips?:[^ ]+ SIP/2\.0\r\n)")


def sip(pkts):
    """The SIP messages among packets, over UDP and TCP, in the order seen."""
    out = []
    flows = {}
    for p in pkts:
        if not p.data:
            continue
        if p.proto == "udp":
            if _START.match(p.data):
                out.append(Sip(p, p.data))
            continue
        key = (p.src, p.sport, p.dst, p.dport)
        flow = flows.setdefault(key, {"next": p.seq, "buf": b""})
        skip = (flow["next"] - p.seq) & 0xffffffff
        if skip >= len(p.data):
            continue        # sent again
        flow["buf"] += p.data[skip:]
        flow["next"] = (p.seq + len(p.data)) & 0xffffffff
        while True:
            buf = flow["buf"].lstrip(b"\r\n")
            end = buf.find(b"\r\n\r\n")
            if end < 0 or not _START.match(buf):
                flow["buf"] = buf if _START.match(buf) or len(buf) < 64 else b""
                break
            m = re.search(rb"\r\n(?:Content-Length|l)[ \t]*:[ \t]*(\d+)", buf[:end], re.I)
            size = end + 4 + (int(m.group(1)) if m else 0)
            if len(buf) < size:
                flow["buf"] = buf
                break
            out.append(Sip(p, buf[:size]))
            flow["buf"] = buf[size:]
    return out


def media_endpoints(messages):
    """(address, port) of every audio stream that an SDP body among the messages announces."""
    out = set()
    for m in messages:
        if "m=audio" not in m.body:
            continue
        session = None
        port = None
        for line in m.body.splitlines():
            if line.startswith("c=IN IP"):
                addr = line.split()[-1]
                if port is None:
                    session = addr
                else:
                    out.discard((session, port))
                    out.add((addr, port))
            elif line.startswith("m="):
                port = int(line.split()[1]) if line.startswith("m=audio") else None
                if port:
                    out.add((session, port))
    return out


class Leg:
    """RTP from one address to another: packets, and those missing by sequence number."""

    def __init__(self, p):
        self.src, self.dst = "%s:%d" % (p.src, p.sport), "%s:%d" % (p.dst, p.dport)
        self.src_ip, self.dst_ip = p.src, p.dst
        self.packets = 0
        self.first = self.last = p.time
        self._seen = {}

    def add(self, p):
        seq, ssrc = struct.unpack_from(">H", p.data, 2)[0], p.data[8:12]
        state = self._seen.setdefault(ssrc, {"top": seq, "set": set()})
        top = state["top"]
        ext = top + (((seq - top) + 0x8000) & 0xffff) - 0x8000
        state["top"] = max(top, ext)
        state["set"].add(ext)
        self.packets += 1
        self.last = p.time

    @property
    def lost(self):
        return sum(max(s["set"]) - min(s["set"]) + 1 - len(s["set"]) for s in self._seen.values())

    def __repr__(self):
        return "%s > %s: %d packets, %d lost" % (self.src, self.dst, self.packets, self.lost)


def rtp(pkts, endpoints):
    """RTP legs among packets, between endpoints that SDP announced."""
    legs = {}
    for p in pkts:
        if p.proto != "udp" or len(p.data) < 12 or p.data[0] >> 6 != 2:
            continue
        if 72 <= p.data[1] & 0x7f <= 76:
            continue        # RTCP
        if (p.src, p.sport) not in endpoints and (p.dst, p.dport) not in endpoints:
            continue
        key = (p.src, p.sport, p.dst, p.dport)
        if key not in legs:
            legs[key] = Leg(p)
        legs[key].add(p)
    return list(legs.values())


def rtp_between(pkts, src, dst):
    """[(payload type, sequence number, payload)] of the RTP, or what looks like it, from one
    address to another: for legs whose signalling cannot be read."""
    out = []
    for p in pkts:
        if p.proto != "udp" or p.src != src or p.dst != dst or min(p.sport, p.dport) < 10000:
            continue
        if len(p.data) < 12 or p.data[0] >> 6 != 2 or 72 <= p.data[1] & 0x7f <= 76:
            continue
        head = 12 + 4 * (p.data[0] & 15)
        if p.data[0] & 16 and len(p.data) >= head + 4:
            head += 4 + 4 * struct.unpack_from(">H", p.data, head + 2)[0]
        out.append((p.data[1] & 0x7f, struct.unpack_from(">H", p.data, 2)[0], p.data[head:]))
    return out


def tshark(path, show, *fields):
    """What tshark makes of a capture file: one list of the fields' texts for each frame that its
    display filter `show` lets through.  Fragments and TCP segments are put together."""
    argv = ["tshark", "-r", path, "-Y", show, "-T", "fields", "-E", "separator=/t"]
    for f in fields:
        argv += ["-e", f]
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    if r.returncode:
        raise proc.Failed("tshark: %s" % r.stderr[-500:])
    return [line.split("\t") for line in r.stdout.splitlines()]
