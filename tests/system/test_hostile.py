#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Malformed and hostile input on each socket: an error or a drop, never a crash, and a log that
cannot be flooded."""

import os
import random
import re
import socket

from rig import ng, overlay, proc, resp, sipc, tap


def two():
    return overlay.Overlay(2)


def garbage(seed, count):
    rnd = random.Random(seed)
    for _ in range(count):
        yield rnd.randbytes(rnd.choice((1, 7, 33, 200, 1400)))


RESP_CASES = [
    b"*1000000000\r\n", b"*-5\r\n", b"*1\r\n$1000000000\r\n", b"*1\r\n$-7\r\nPING\r\n",
    b"*2\r\n$4\r\nPING\r\n:abc\r\n", b"$" * 70000, b"*" + b"9" * 60 + b"\r\n",
    b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", b"\r\n\r\n\r\n", b"\x00" * 4096,
    b"*1\r\n$4\r\nPI", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"*0\r\n",
    b"*3\r\n$7\r\nPUBLISH\r\n$0\r\n\r\n$1\r\n1\r\n", b"*2\r\n$9\r\nHANDSHAKE\r\n$2\r\n99\r\n",
]

COMMANDS = [
    ("NOSUCH",), ("PUBLISH",), ("PUBLISH", "x" * 5000, "1"), ("PUBLISH", "bob", "-1"),
    ("PUBLISH", "bob", "18446744073709551616"), ("WITHDRAW", "\0\0", "1"), ("ROUTE", "bob"),
    ("ROUTE", "bob", "99999999999999"), ("ROUTE", "", "100"), ("PEER", "zz", "10"),
    ("HANDSHAKE", "2", "x"), ("HANDSHAKE", "2", "x", "y", "uri", "http://x"), ("SYNCED", "x"),
    ("SUBSCRIBE",), ("OFFER",), ("OFFER", "handle", "nothex"), ("ANSWER", "sdp", "v=0"),
    ("DELETE", "handle", "0123456789abcdef"), ("QUERY", "handle"),
    ("INFO", "\xff" * 300), ("COMMAND", "DOCS", "x"), ("USERS", "-1"), ("RECORDS", "x", "y"),
    ("LOOKUP", ""), ("LOGLEVEL", "loud"),
]


def log_lines(p):
    return len(p.proc.text().splitlines())


OURS = re.compile(r"(?:ERROR|WARNING|CRITICAL|NOTICE|INFO|BUG).*"
                  r"\bp2p_(?:usrloc|route|registrar|media)\b")


def our_lines(p):
    """What this project's modules said in Kamailio's log."""
    return [x for x in p.kamailio.proc.text().splitlines() if OURS.search(x)]


def still_well(s):
    for p in s.peers:
        for d in (p.gateway, p.relay):
            if not d.answers():
                raise proc.Failed("%s no longer answers (%s)" % (d.name, d.proc.how()))
        p.kamailio.rpc("core.version")
        if not p.rtpengine.answers():
            raise proc.Failed("%s no longer answers" % p.rtpengine.name)


@tap.on(two)
def test_malformed_resp(s):
    for d in (s.a.gateway, s.a.relay):
        for path in (d.socket, d.admin):
            for case in RESP_CASES + list(garbage(1, 40)):
                with resp.Client(path, timeout=0.3) as c:
                    try:
                        c.raw(case)
                        c.s.shutdown(socket.SHUT_WR)
                        while c.s.recv(65536):
                            pass
                    except OSError:
                        pass
    still_well(s)


@tap.on(two)
def test_commands_with_bad_arguments_get_an_error(s):
    for d in (s.a.gateway, s.a.relay):
        for path in (d.socket, d.admin):
            for args in COMMANDS:
                one_command(d, path, args)
    still_well(s)


def one_command(daemon, path, args):
    """On a connection of its own: an argument over the limits ends it, after an error."""
    with resp.Client(path) as c:
        if path == daemon.socket:
            c("HANDSHAKE", daemon.RESP_VERSION, "test", os.urandom(8).hex())
        try:
            c(*args)
        except resp.Error as e:
            if not e.code.isupper() or "\n" in str(e):
                raise proc.Failed("%s: error without a code word: %s" % (args[0], e)) from None
        except (ConnectionError, TimeoutError):
            raise proc.Failed("%s: no answer to %r" % (daemon.name, args)) from None


@tap.on(two)
def test_pipelines_many_clients_and_one_that_does_not_read(s):
    for d in (s.a.gateway, s.a.relay):
        clients = []
        try:
            for _ in range(400):
                clients.append(resp.Client(d.socket, timeout=1))
        except OSError:
            pass
        for c in clients:
            c.close()
        proc.wait_for("%s takes clients again" % d.name, d.answers, 3)
        with resp.Client(d.socket, timeout=1) as c:
            one = b"*1\r\n$4\r\nINFO\r\n"
            try:
                for _ in range(2000):       # never reads: is cut off, not buffered for ever
                    c.raw(one * 50)
            except OSError:
                pass
    still_well(s)


@tap.on(two)
def test_garbage_at_ng_dht_and_sip(s):
    targets = [("127.0.0.1", 2223), (s.a.overlay_address, overlay.DHT_PORT),
               (s.a.overlay_address, 5060), (s.a.address, 5060)]
    with s.b.node.inside():
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with s.a.node.inside():
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    before = {d.name: log_lines(d) for p in s.peers for d in (p.gateway, p.relay)}
    with far, near:
        for target in targets:
            sock = near if target[0].startswith("127.") else far
            for data in garbage(3, 300):
                sock.sendto(data, target)
    still_well(s)
    for p in s.peers:
        for d in (p.gateway, p.relay):
            said = log_lines(d) - before[d.name]
            if said > 30:
                raise proc.Failed("%s logged %d lines for 300 bad packets" % (d.name, said))


@tap.on(two)
def test_ng_replies_from_a_liar(s):
    """Replies to the relay from elsewhere, with and without a cookie, are ignored."""
    with s.a.node.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        for port in range(32768, 33268, 5):
            sock.sendto(b'1 {"result":"ok","sdp":"v=0"}', ("127.0.0.1", port))
    still_well(s)
    if ng.ask(s.a.node, 2223, "ping").get("result") != "pong":
        raise proc.Failed("rtpengine does not answer")


BODIES = [
    "v=0", "v=0\r\nm=audio", "m=audio 0 RTP/AVP\r\n" * 500, "v=0\r\no=\r\ns=\r\nc=IN IP4\r\n",
    "v=0\r\no=- 1 1 IN IP4 999.1.1.1\r\ns=-\r\nc=IN IP4 999.1.1.1\r\nt=0 0\r\n"
    "m=audio 99999 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP " + " ".join(str(i % 128) for i in range(3000)) + "\r\n",
    "\x00" * 500, "a=" + "x" * 50000,
]


@tap.on(two)
def test_hostile_sip_and_sdp_bodies(s):
    s.phone("bob", s.b)
    s.found("bob", s.a)
    host = s.host()
    with host.inside():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host.addr4["ua"], 5099))
    before = {p.name: (len(our_lines(p)), log_lines(p.kamailio)) for p in s.peers}
    sent = 0
    with udp:
        for again in range(5):
            for i, body in enumerate(BODIES):
                message = invite(s.a.address, host.addr4["ua"], "body%d-%d" % (i, again), body)
                if len(message) < 60000:
                    udp.sendto(message, (s.a.address, 5060))
                    sent += 1
            for i, line in enumerate(HEADERS):
                udp.sendto(invite(s.a.address, host.addr4["ua"], "head%d-%d" % (i, again),
                                  BODIES[0], line), (s.a.address, 5060))
                sent += 1
            still_well(s)
    s.quiet(60)
    for p in s.peers:
        said, lines = our_lines(p)[before[p.name][0]:], log_lines(p.kamailio) - before[p.name][1]
        tap.say("%s: %d lines of ours, %d in all, for %d hostile requests" %
                (p.name, len(said), lines, sent))
        # one source, less than two minutes
        if len(said) > 2:
            raise proc.Failed("%s: the modules logged %d lines:\n%s" %
                              (p.name, len(said), "\n".join(said[:12])))


HEADERS = [
    b"P2P-Peer: 2001:db8::1;v=2;hops=0", b"P2P-Peer: ;;;;", b"P2P-Peer: " + b"9" * 5000,
    b"P2P-Peer: 2001:20::1;v=99;hops=-1", b"Route: <sip:bob@127.0.0.1:2223;lr>",
    b"Route: <sip:198.51.100.12:4222;lr>", b"Record-Route: <sip:x;lr;p2p=../../x>",
    b"Contact: *", b"Max-Forwards: -1", b"Content-Length: 99999",
]


def invite(to, frm, callid, body, header=b"Subject: x"):
    b = body.encode()
    return (b"INVITE sip:bob@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5099;branch=z9hG4bK%s\r\n"
            b"From: <sip:mallory@%s>;tag=1\r\nTo: <sip:bob@%s>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\n"
            b"Contact: <sip:mallory@%s:5099>\r\nMax-Forwards: 70\r\n%s\r\n"
            b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" %
            (to.encode(), frm.encode(), callid.encode(), frm.encode(), to.encode(),
             callid.encode(), frm.encode(), header, len(b), b))


@tap.on(two)
def test_strangers_are_not_relayed(s):
    """A host of the overlay's network that is no peer gets nothing carried for it."""
    stranger = s.nodes.get("stranger") or s.node("stranger", s.ua, s.ovl)
    with stranger.inside():
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((stranger.addr4["ovl"], 5060))
    udp.settimeout(3)
    with udp:
        m = invite(s.a.overlay_address, stranger.addr4["ovl"], "stranger", BODIES[0],
                   b"Route: <sip:%s:5060;lr>" % s.b.overlay_address.encode())
        m = m.replace(b"INVITE sip:bob@%s " % s.a.overlay_address.encode(),
                      b"INVITE sip:bob@example.net ")
        m = m.replace(b":5099", b":5060")
        udp.sendto(m, (s.a.overlay_address, 5060))
        while True:
            data = udp.recv(65536)
            if not data.startswith(b"SIP/2.0 1"):
                break
    code = int(data.split()[1])
    tap.say("refused with %d" % code)
    if not 400 <= code < 500:
        raise proc.Failed("a stranger's request got %d" % code)


@tap.on(two)
def test_strangers_do_not_reach_the_overlay(s):
    """A user of the other peer, by a local address: the domain is right, the caller is nobody's.
    Nor does it help to name a peer."""
    s.phone("bob", s.b)
    s.found("bob", s.a)
    stranger = s.nodes.get("stranger") or s.node("stranger", s.ua, s.ovl)
    hit = s.b.gateway.status()["hit"]
    branches = int(s.a.kamailio.rpc("p2p_route.stats")["branches"])
    suspended = int(s.a.kamailio.rpc("p2p_registrar.stats")["suspended"])
    uri = "sip:bob@" + s.a.overlay_address
    with sipc.Udp(stranger, 5062, stranger.addr4["ovl"]) as udp:
        for extra, codes in (((), (403, 404)),
                             (("Route: <sip:%s:5060;lr>" % s.b.overlay_address,), (403, 404)),
                             (("P2P-Peer: %s;v=2;hops=1" % hit,), (403,))):
            for method in ("INVITE", "MESSAGE", "OPTIONS"):
                r = udp.ask(sipc.request(method, uri, udp.via, "sip:mallory@" + udp.address,
                                         extra=["Contact: <sip:mallory@%s:5062>" % udp.address,
                                                *extra]), s.a.overlay_address)
                if r.code not in codes:
                    raise proc.Failed("%s of a stranger with %r: %s" % (method, extra, r.first))
                if method == "INVITE":
                    branch = re.search("branch=([^;]+)", r.get("Via")).group(1)
                    udp.send(sipc.request("ACK", uri, udp.via, "sip:mallory@" + udp.address,
                                          callid=r.get("Call-ID"), tag="x", branch=branch),
                             s.a.overlay_address)
    if int(s.a.kamailio.rpc("p2p_route.stats")["branches"]) != branches:
        raise proc.Failed("a branch to a peer was made for a stranger")
    tap.say("suspended for them: %d" %
            (int(s.a.kamailio.rpc("p2p_registrar.stats")["suspended"]) - suspended))


@tap.on(two)
def test_a_to_tag_is_no_way_into_the_overlay(s):
    """Within a dialog a request follows the Route that it brings, as on any proxy (p2p_route.md
    says so). It is not looked up, and what only peers may say is taken out."""
    s.phone("bob", s.b)
    s.found("bob", s.a)
    node = s.nodes.get("stranger") or s.node("stranger", s.ua, s.ovl)
    hit = s.b.gateway.status()["hit"]
    branches = int(s.a.kamailio.rpc("p2p_route.stats")["branches"])
    me = "sip:mallory@" + node.addr4["ovl"]
    route = "Route: <sip:%s:5060;lr>" % s.a.overlay_address
    with sipc.Udp(node, 5063, node.addr4["ovl"]) as udp, \
            sipc.Udp(node, 5064, node.addr4["ovl"]) as target:
        for uri, extra in (("sip:bob@" + s.a.overlay_address, ()),
                           ("sip:bob@" + s.a.overlay_address, (route,)),
                           ("sip:x@%s:5064" % node.addr4["ovl"], ())):
            r = udp.ask(sipc.request("MESSAGE", uri, udp.via, me, tag="dialog", extra=extra),
                        s.a.overlay_address)
            if not 400 <= r.code < 500:
                raise proc.Failed("%s with a To tag and %r: %s" % (uri, extra, r.first))
        udp.send(sipc.request("MESSAGE", "sip:x@%s:5064" % node.addr4["ovl"], udp.via, me,
                              tag="dialog", extra=[route, "P2P-Peer: %s;v=2;hops=1" % hit]),
                 s.a.overlay_address)
        m = target.receive(3)
        if m is None:
            raise proc.Failed("not relayed: p2p_route.md says otherwise")
        target.send(sipc.reply(m, 200, "OK"), s.a.overlay_address)
        if m.get("P2P-Peer"):
            raise proc.Failed("a stranger's P2P-Peer is carried on:\n" + m.text)
    if int(s.a.kamailio.rpc("p2p_route.stats")["branches"]) != branches:
        raise proc.Failed("a branch to a peer was made for a stranger")


if __name__ == "__main__":
    tap.main(globals())
