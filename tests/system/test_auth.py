#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests between peers are authenticated: the test speaks as peer a with the keys of a's session,
rightly and wrongly, to peer b. What is forged, changed, sent again, too old, or of another peer's
session is refused, with one line in the log and a count; what a phone says of itself is never
believed, and what peers say to each other is never shown to a phone."""

import time

from rig import overlay, pcap, proc, resp, session, sipc, tap

PORT = 5090


def three():
    s = overlay.Overlay(3)
    s.used = 0
    return s


class Keys:
    """A session of p's with another peer, as p's gateway tells its Kamailio."""

    def __init__(self, p, other):
        self.hit = p.gateway.status()["hit"]
        with resp.Client(p.gateway.socket) as c:
            c("HANDSHAKE", "2", "test", "auth-test-" + p.name)
            reply = c("PEERSESSION", other.gateway.status()["hit"], "3000")
        self.id, self.key = reply[0], bytes.fromhex(reply[4])
        self.key_in = bytes.fromhex(reply[5])


class Speaker:
    """Sends requests to bob at b from a's address, signed as told."""

    def __init__(self, s, keys, node=None):
        self.s, self.keys = s, keys
        node = node or s.a.node
        s.used += 1
        self.udp = sipc.Udp(node, PORT + s.used, node.addr4["ovl"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.udp.s.close()

    def text(self, method="MESSAGE", keys=None, signed=None, tag="", header=None, **with_):
        """A request; signed: what is signed in the place of what is sent."""
        uri = "sip:bob@" + self.s.a.address
        text = sipc.request(method, uri, self.udp.via, "sip:alice@" + self.s.a.address, tag=tag)
        m = sipc.Message(text)
        k = keys or self.keys
        what = {"method": method, "uri": uri, "callid": m.get("Call-ID"),
                "cseq": m.get("CSeq").split()[0], "tag": m.get("From").split("tag=")[1]}
        what.update(signed or {})
        value = header or session.header(with_.pop("hit", k.hit), with_.pop("key", k.key),
                                         with_.pop("id", k.id), dialog=bool(tag), **what, **with_)
        return text.replace("\r\nMax-Forwards:", "\r\nP2P-Peer: %s\r\nMax-Forwards:" % value)

    def ask(self, **kw):
        return self.udp.ask(self.text(**kw), self.s.b.overlay_address)


def stat(p, name):
    return int(p.kamailio.rpc("p2p_route.stats")[name])


def bob(s):
    phone = s.phone("bob", s.b, seed=2, answer="auto")
    s.found("bob", s.a)
    return phone


def code(r, want, what):
    if r.code != want:
        raise proc.Failed("%s: %s, not %d" % (what, r.first, want))


def counted(s, name, before, more, what):
    got = stat(s.b, name) - before
    if got != more:
        raise proc.Failed("%s: %s has counted %d, not %d" % (what, name, got, more))


def refusals(s):
    with open(s.b.kamailio.proc.log, encoding="utf-8", errors="replace") as f:
        return [x for x in f if "refused (403)" in x]


@tap.on(three)
def test_a_signed_request_is_taken_and_a_changed_one_refused(s):
    phone = bob(s)
    keys = Keys(s.a, s.b)
    with Speaker(s, keys) as a:
        r = a.ask()
        if r.code == 403:
            raise proc.Failed("a good request is refused: " + r.first)
        code(a.ask(t_ms=int(time.time() * 1000) - 60000), r.code, "from a clock a minute behind")
        code(a.ask(t_ms=int(time.time() * 1000) + 60000), r.code, "from a clock a minute ahead")
        before, lines = stat(s.b, "forged"), len(refusals(s))
        wrong = {"method": "INFO", "uri": "sip:carol@" + s.a.address, "callid": "other",
                 "cseq": "2", "tag": "other"}
        for key, value in wrong.items():
            code(a.ask(signed={key: value}), 403, "another %s than was signed" % key)
        code(a.ask(key=keys.key_in), 403, "signed with the other direction's key")
        code(a.ask(mac="00" * 32), 403, "no authenticator worth the name")
        counted(s, "forged", before, len(wrong) + 2, "forged requests")
        # hops and time are covered too
        for part, other in (("hops=1", "hops=2"), (";t=1", ";t=2")):
            text = a.text(t_ms=1999999999999 if part == ";t=1" else None)
            code(a.udp.ask(text.replace(part, other, 1), s.b.overlay_address), 403,
                 "%s made %s" % (part, other))
        if len(refusals(s)) != lines + 1:
            raise proc.Failed("not one line a minute of one source:\n" + "\n".join(refusals(s)))
        if "its signature is wrong" not in refusals(s)[-1] or keys.hit not in refusals(s)[-1]:
            raise proc.Failed("the line does not say why: " + refusals(s)[-1])
    del phone


@tap.on(three)
def test_replays_are_refused_and_retransmissions_are_not(s):
    phone = bob(s)
    keys = Keys(s.a, s.b)
    with Speaker(s, keys) as a, Speaker(s, keys, s.c.node) as elsewhere:
        text = a.text()
        before = stat(s.b, "replays")
        a.udp.send(text, s.b.overlay_address)
        a.udp.send(text, s.b.overlay_address)       # the same transaction
        r = a.udp.ask(text, s.b.overlay_address)
        if r.code == 403:
            raise proc.Failed("a retransmission is refused: " + r.first)
        counted(s, "replays", before, 0, "retransmissions")
        # the same once more in a transaction of its own, from here and from elsewhere
        again = text.replace("branch=z9hG4bKrig", "branch=z9hG4bKagain")
        code(a.udp.ask(again, s.b.overlay_address), 403, "a replay")
        again = text.replace("branch=z9hG4bKrig", "branch=z9hG4bKthird")
        again = again.replace(a.udp.via, elsewhere.udp.via)
        code(elsewhere.udp.ask(again, s.b.overlay_address), 403, "a replay from elsewhere")
        counted(s, "replays", before, 2, "replays")
        # when its transaction is over and forgotten
        proc.wait_for("b has no transaction", lambda: not s.b.kamailio.transactions(), 45)
        code(a.udp.ask(text, s.b.overlay_address), 403, "a replay after the transaction")
    if not any("a replay" in x for x in refusals(s)):
        raise proc.Failed("no line says that it is a replay: %r" % refusals(s))
    del phone


@tap.on(three)
def test_time_stamps_are_bounded(s):
    phone = bob(s)
    before = stat(s.b, "clock")
    with Speaker(s, Keys(s.a, s.b)) as a:
        for off in (-121000, 121000, -86400000):
            code(a.ask(t_ms=int(time.time() * 1000) + off), 403, "%d ms off" % off)
    counted(s, "clock", before, 3, "time stamps")
    del phone


@tap.on(three)
def test_a_session_is_good_for_its_own_peer_only(s):
    """c is a member of the overlay, too: its session with b is none of a's."""
    phone = bob(s)
    a, c = Keys(s.a, s.b), Keys(s.c, s.b)
    before = stat(s.b, "forged")
    with Speaker(s, c, s.c.node) as speaker:
        if speaker.ask().code == 403:
            raise proc.Failed("c's own request is refused")
        code(speaker.ask(hit=a.hit), 403, "c says that it is a, by its own session")
        code(speaker.ask(hit=a.hit, id=a.id), 403, "c says that it is a, with its own key")
        code(speaker.ask(id=a.id), 403, "c takes a's session")
    counted(s, "forged", before, 3, "another peer's sessions")
    del phone


@tap.on(three)
def test_unknown_sessions_are_told_to_the_sender(s):
    phone = bob(s)
    with Speaker(s, Keys(s.a, s.b)) as a:
        before = stat(s.b, "no_session")
        r = a.ask(id="00112233445566778899aabbccddeeff")
        code(r, 403, "an unknown session")
        if r.get("P2P-Refused") != "session":
            raise proc.Failed("the sender is not told:\n" + r.text)
        counted(s, "no_session", before, 1, "unknown sessions")
    del phone


@tap.on(three)
def test_what_is_not_signed_is_no_peers(s):
    phone = bob(s)
    keys = Keys(s.a, s.b)
    with Speaker(s, keys) as a:
        for header in ("%s;v=2;hops=1" % keys.hit, "%s;v=1;hops=1" % keys.hit, keys.hit,
                       "%s;v=2;hops=1;s=%s;t=1" % (keys.hit, keys.id)):
            code(a.ask(header=header), 403, header)
    del phone


@tap.on(three)
def test_within_a_call_each_side_must_sign(s):
    """A stranger knows all of a call but its keys, and cannot end it."""
    phone = bob(s)
    alice = s.phone("alice", s.a, seed=1)
    capture = pcap.Capture(s.b.node)
    alice.dial("sip:bob@%s" % s.a.address)
    alice.wait("CALL_ESTABLISHED")
    time.sleep(1.5)        # tcpdump hands packets on a second later
    seen = pcap.sip(capture.stop())
    phones = [m for m in seen if m.dst == phone.node.addr4["ua"]]
    for m in phones:
        if any(k.lower().startswith("p2p-") for k, _ in m.headers):
            raise proc.Failed("shown to a phone:\n" + m.text)
    if not phones or not [m for m in seen if m.get("P2P-Peer")]:
        raise proc.Failed("nothing was captured")
    ack = next(m for m in seen if m.method == "ACK" and m.src == s.a.overlay_address)
    with sipc.Udp(s.c.node, PORT, s.c.node.addr4["ovl"]) as stranger:
        bye = "\r\n".join(
            ["BYE %s SIP/2.0" % ack.first.split()[1],
             "Via: SIP/2.0/%s;rport;branch=z9hG4bKforged" % stranger.via] +
            ["Route: " + v for k, v in ack.headers if k == "Route"] +
            ["%s: %s" % (k, ack.get(k)) for k in ("From", "To", "Call-ID")] +
            ["CSeq: 99999 BYE", "Max-Forwards: 70", "Content-Length: 0\r\n\r\n"])
        code(stranger.ask(bye, s.b.overlay_address), 403, "a BYE that is not signed")
        replayed = bye.replace("Max-Forwards", "P2P-Peer: %s\r\nMax-Forwards" % ack.get("P2P-Peer"))
        replayed = replayed.replace("z9hG4bKforged", "z9hG4bKreplayed")
        code(stranger.ask(replayed, s.b.overlay_address), 403, "a BYE with the ACK's signature")
    if "CALL_CLOSED" in [e["type"] for e in phone.events]:
        raise proc.Failed("a stranger has ended the call")
    alice.hangup()
    phone.wait("CALL_CLOSED")
    s.quiet()


@tap.on(three)
def test_a_session_that_b_has_lost_is_opened_again_within_the_call(s):
    phone = bob(s)
    alice = s.phone("alice", s.a, seed=1)
    old = Keys(s.a, s.b)
    refused = int(s.a.kamailio.rpc("p2p_usrloc.stats")["sessions_refused"])
    s.b.gateway.stop()
    s.b.gateway.start()
    s.joined()
    proc.wait_for("b's Kamailio has dropped its sessions", lambda: not [
        x for x in lines_of(s.b) if x["state"] == "open"], 5)
    if not [x for x in lines_of(s.a) if x["id"] == old.id and x["state"] == "open"]:
        raise proc.Failed("a has dropped the session by itself: nothing to recover from")
    proc.wait_for("bob is served", lambda: s.b.serves("bob"), 10)
    alice.dial("sip:bob@%s" % s.a.address)
    alice.wait("CALL_ESTABLISHED")
    if int(s.a.kamailio.rpc("p2p_usrloc.stats")["sessions_refused"]) != refused + 1:
        raise proc.Failed("it was not refused: the test has shown nothing")
    alice.hangup()
    phone.wait("CALL_CLOSED")
    new = Keys(s.a, s.b)
    if new.id == old.id or new.key == old.key:
        raise proc.Failed("the session, or its key, is the old one")
    with Speaker(s, old) as a:
        code(a.ask(), 403, "signed with the former session's key")
    s.quiet()


def lines_of(p):
    got = p.kamailio.rpc("p2p_usrloc.sessions").get("sessions") or []
    return [got] if isinstance(got, dict) else got


if __name__ == "__main__":
    tap.main(globals())
