#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What two gateways agreed on is what is on the wire: SIP and RTP between the peers, for each
combination of signalling, IP family and media, chosen by the settings of either side; whatever the
phones speak. What is not as agreed is refused."""

import itertools
import subprocess

from rig import overlay, pcap, proc, resp, scene, session, sipc, tap, tls

SECONDS = 1.6
PROFILE = {"rtp": "RTP/AVP", "srtp-sdes": "RTP/SAVP", "srtp-dtls": "UDP/TLS/RTP/SAVP"}


def both_families():
    return overlay.Overlay(2, both=True, prepare=prepare)


def prepare(p):
    v4, v6 = p.node.addr4["ovl"], "[%s]" % p.node.addr6["ovl"]
    p.v4, p.v6 = v4, v6.strip("[]")
    p.kamailio.listen += ["udp:%s:5060" % v6, "tcp:%s:5060" % v6]
    p.gateway.settings["sip"]["uri"] = ["sip:%s:5060;transport=%s" % (a, t)
                                        for a in (v4, v6) for t in ("udp", "tcp")]
    p.gateway.settings["transport"] = {}


def with_tls():
    return overlay.Overlay(2, both=True, prepare=prepare_tls)


def prepare_tls(p):
    tls.prepare(p)
    prepare(p)
    v6 = "[%s]" % p.v6
    p.kamailio.listen.append("tls:%s:%d" % (v6, tls.PORT))
    p.gateway.settings["sip"]["uri"] = ["sip:%s:%d;transport=tls" % (a, tls.PORT)
                                        for a in (p.v4, v6)] + ["sip:%s:5060" % p.v4]


def agree(s, at=None, **policy):
    """Settings of [transport] at one peer, and at the others as good as none (in a closed overlay TLS
    has to be allowed); the sessions so far are retired."""
    others = {"signalling": "udp tcp tls"} if policy.get("signalling") == "tls" else {}
    for p in s.peers:
        p.gateway.settings["transport"] = policy if p is at else others
        p.gateway.write()
        p.gateway.ask("RELOAD")


def rule(s, **by_peer):
    """[transport] at each of the peers named."""
    for p in s.peers:
        p.gateway.settings["transport"] = by_peer.get(p.name, {})
        p.gateway.write()
        p.gateway.ask("RELOAD")


def pair(s, alice=None, bob=None):
    s.bob = s.phone("bob", s.b, seed=2, **(bob or {}))
    s.alice = s.phone("alice", s.a, seed=1, **(alice or {}))
    s.found("bob", s.a)


def tshark(path, condition):
    """Numbers of the packets in a capture file that a condition holds for."""
    out = subprocess.run(["tshark", "-r", path, "-Y", condition, "-T", "fields", "-e",
                          "frame.number"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         timeout=60, check=True, text=True).stdout
    return out.split()


class Seen:
    """A call as it was seen at a: between the servers, and at the phone."""

    def __init__(self, s, seconds=SECONDS):
        capture = pcap.Capture(s.a.node)
        scene.talk(s.alice, s.bob, "sip:bob@%s" % s.a.address, seconds)
        self.packets = capture.stop()
        self.path = capture.path
        ovl = {x for p in s.peers for x in (p.v4, p.v6)}
        self.sip = [m for m in pcap.sip(self.packets) if m.src in ovl and m.dst in ovl]
        ports = range(30000, 35000)
        self.between = [p for p in self.packets if p.proto == "udp" and p.src in ovl and
                        p.dst in ovl and p.sport in ports and p.dport in ports]
        self.tls = [p for p in self.packets if p.proto == "tcp" and p.src in ovl and
                    p.dst in ovl and tls.PORT in (p.sport, p.dport)]
        # RTP as the phones speak it, and so in clear: 160 bytes of G.711
        self.phones = {p.data[12:] for p in self.packets if p.proto == "udp" and
                       {p.src, p.dst} & {s.alice.address} and len(p.data) == 172 and
                       p.data[0] == 0x80}

    def clear(self):
        """Packets between the servers in which a phone's audio can be read."""
        return [p for p in self.between if p.data[12:172] in self.phones]

    def rtp(self):
        return [p for p in self.between if p.data[:1] == b"\x80"]


def nothing_in_clear(what, seen, addresses):
    if seen.sip:
        raise proc.Failed(what + "SIP in clear between the servers: %s" % seen.sip[0])
    if any(w in p.data for p in seen.tls for w in (b"SIP/2.0", b"a=crypto", b"a=fingerprint")):
        raise proc.Failed(what + "SIP can be read")
    if sum(len(p.data) for p in seen.tls) < 3000:
        raise proc.Failed(what + "no call went over TLS")
    if {p.src for p in seen.tls} - addresses:
        raise proc.Failed(what + "TLS between %s" % sorted({p.src for p in seen.tls}))


def sip_as_agreed(what, seen, addresses, signalling, media):
    elsewhere = [m for m in seen.sip if not {m.src, m.dst} <= addresses]
    other = [m for m in seen.sip if m.proto != signalling]
    if elsewhere or other:
        raise proc.Failed(what + "SIP went otherwise: %s" % (elsewhere + other))
    methods = {m.method for m in seen.sip}
    if not methods >= {"INVITE", "ACK", "BYE"}:
        raise proc.Failed(what + "only %s between the servers" % sorted(methods))
    bodies = [m.body for m in seen.sip if "m=audio" in m.body]
    lines = {x.split()[2] for b in bodies for x in b.splitlines() if x.startswith("m=audio")}
    # with fingerprints an INVITE may be two datagrams, which are not put together here
    least = 1 if media == "srtp-dtls" and signalling == "udp" else 2
    if len(bodies) < least or lines != {PROFILE[media]}:
        raise proc.Failed(what + "SDP between the servers says %s" % sorted(lines))
    if any(("a=crypto:" in b) != (media == "srtp-sdes") or
           ("a=fingerprint:" in b) != (media == "srtp-dtls") for b in bodies):
        raise proc.Failed(what + "the keys in the SDP are others:\n" + bodies[0])


def as_agreed(s, seen, signalling, family, media, seconds=SECONDS):
    what = "%s, %s, %s: " % (signalling, family, media)
    for frm, to in ((s.alice, s.bob), (s.bob, s.alice)):
        scene.heard(frm, to, seconds)
    addresses = {s.a.v4, s.b.v4} if family == "ipv4" else {s.a.v6, s.b.v6}
    if signalling == "tls":
        nothing_in_clear(what, seen, addresses)
    else:
        sip_as_agreed(what, seen, addresses, signalling, media)
    wrong = {p.src for p in seen.between} - addresses
    if wrong:
        raise proc.Failed(what + "media went from %s" % sorted(wrong))
    rtp, clear = seen.rtp(), seen.clear()
    if len(rtp) < 60 * seconds or len(seen.phones) < 60 * seconds:
        raise proc.Failed(what + "%d packets of media between the servers, %d at the phone" %
                          (len(rtp), len(seen.phones)))
    if media == "rtp" and len(clear) < 0.9 * len(rtp):
        raise proc.Failed(what + "only %d of %d packets in clear: this test would see no clear "
                          "text" % (len(clear), len(rtp)))
    if media != "rtp" and clear:
        raise proc.Failed(what + "%d of %d packets can be read" % (len(clear), len(rtp)))
    hellos = tshark(seen.path, "dtls.handshake.type == 1")
    if bool(hellos) != (media == "srtp-dtls"):
        raise proc.Failed(what + "%d DTLS handshakes" % len(hellos))
    tap.say(what + "%d SIP messages, %d packets of media, %d of them readable" %
            (len(seen.sip), len(rtp), len(clear)))


def combination(s, number, signalling, family, media):
    """One call, agreed on by what one of the two requires, in turn."""
    agree(s, s.peers[number % 2], signalling=signalling, family=family, media=media)
    seen = Seen(s)
    as_agreed(s, seen, signalling, family, media)
    known = s.a.kamailio.rpc("p2p_usrloc.sessions")["sessions"]
    known = known if isinstance(known, list) else [known]
    mine = [x for x in known if (x["signalling"], x["media"]) == (signalling, media) and
            x["family"] == int(family[-1])]
    if not mine:
        raise proc.Failed("no such session at a: %r" % known)


@tap.on(both_families)
@tap.limit(240)
def test_each_combination_is_used_as_agreed(s):
    pair(s)
    every = itertools.product(("udp", "tcp"), ("ipv4", "ipv6"), PROFILE)
    for number, (signalling, family, media) in enumerate(every):
        combination(s, number, signalling, family, media)
    s.quiet()


@tap.on(with_tls)
@tap.limit(240)
def test_each_combination_over_tls_too(s):
    pair(s)
    for number, (family, media) in enumerate(itertools.product(("ipv4", "ipv6"), PROFILE)):
        combination(s, number, "tls", family, media)
    s.quiet()


@tap.on(both_families)
def test_both_sides_wishes_are_heard(s):
    """a likes DTLS best, b SDES; a allows no IPv6, b no UDP."""
    rule(s, a={"signalling": "udp tcp", "family": "ipv4", "media": "srtp-dtls srtp-sdes rtp"},
         b={"signalling": "tcp", "family": "ipv6 ipv4", "media": "srtp-sdes srtp-dtls"})
    pair(s)
    as_agreed(s, Seen(s), "tcp", "ipv4", "srtp-dtls")
    s.quiet()


@tap.on(both_families)
def test_a_setting_for_one_peer_counts_for_it(s):
    agree(s, s.a, signalling="udp", media="rtp",
          peer="%s media=srtp-sdes" % s.b.gateway.status()["hit"])
    pair(s)
    as_agreed(s, Seen(s), "udp", "ipv4", "srtp-sdes")
    s.quiet()


@tap.on(both_families)
def test_phones_that_encrypt_are_heard_in_both_kinds_of_session(s):
    """bob's phone insists on SRTP, alice's speaks RTP; the session has the one, then the other."""
    pair(s, bob={"modules": ("srtp",), "account": ";mediaenc=srtp"})
    for media in ("rtp", "srtp-sdes"):
        agree(s, s.a, media=media, signalling="udp", family="ipv4")
        as_agreed(s, Seen(s), "udp", "ipv4", media)
    s.quiet()


def lines(p, text):
    with open(p.kamailio.proc.log, encoding="utf-8", errors="replace") as f:
        return [x for x in f if text in x]


@tap.on(both_families)
def test_no_common_ground_is_named(s):
    pair(s)
    said = 0
    for a, b, code, reason in (
            ({"media": "srtp-dtls"}, {"media": "rtp"}, 488, "no common media"),
            ({"signalling": "tcp"}, {"signalling": "udp"}, 503, "no common signalling")):
        rule(s, a=a, b=b)
        proc.wait_for("no session is left for new calls", lambda: not [
            x for x in map(resp.pairs, s.a.gateway.ask("SESSIONS", "0", 500)[1])
            if x["state"] == "open"], 5)
        u = sipc.Udp(s.host(), 5070 + said)
        uri = "sip:bob@" + s.a.address
        r = u.ask(sipc.request("INVITE", uri, u.via, "sip:alice@" + s.a.address), s.a.address)
        if r.code != code or reason not in (r.get("Reason") or ""):
            raise proc.Failed("%r and %r: %s, Reason: %s" % (a, b, r.first, r.get("Reason")))
        said += 1
        if len(lines(s.a, reason)) != 1:
            raise proc.Failed("%d lines in a's log say %r" % (len(lines(s.a, reason)), reason))


@tap.on(both_families)
def test_an_sdp_that_is_not_as_agreed_gets_488(s):
    """Somebody between the peers has taken the keys out of the SDP: nothing else is signed."""
    agree(s, s.b, media="srtp-sdes", signalling="udp", family="ipv4")
    pair(s)
    before = int(s.b.kamailio.rpc("p2p_media.stats")["refused_transport"])
    hit = s.a.gateway.status()["hit"]
    with resp.Client(s.a.gateway.socket) as c:
        c("HANDSHAKE", "2", "test", "transport-test")
        reply = c("PEERSESSION", s.b.gateway.status()["hit"], "3000")
    u = sipc.Udp(s.a.node, 5090, s.a.v4)
    uri = "sip:bob@" + s.a.address
    text = sipc.request("INVITE", uri, u.via, "sip:alice@" + s.a.address,
                        extra=["Content-Type: application/sdp"], body="v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n"
                        "m=audio 40000 RTP/AVP 0\r\n".format(s.a.v4))
    m = sipc.Message(text)
    value = session.header(hit, bytes.fromhex(reply[4]), reply[0], "INVITE", uri,
                           m.get("Call-ID"), m.get("CSeq").split()[0],
                           m.get("From").split("tag=")[1])
    r = u.ask(text.replace("\r\nMax-Forwards:", "\r\nP2P-Peer: %s\r\nMax-Forwards:" % value),
              s.b.v4)
    want = "media is rtp, the session says srtp-sdes"
    if r.code != 488 or want not in (r.get("Reason") or ""):
        raise proc.Failed("%s, Reason: %s" % (r.first, r.get("Reason")))
    got = int(s.b.kamailio.rpc("p2p_media.stats")["refused_transport"]) - before
    if got != 1 or len(lines(s.b, want)) != 1:
        raise proc.Failed("counted %d, logged %d times" % (got, len(lines(s.b, want))))


if __name__ == "__main__":
    tap.main(globals())
