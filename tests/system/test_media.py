#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""p2p_media and p2psip-relay with real rtpengines, without the overlay around them: two proxies
with a static way, sipp as phones, RTP of our own.  After each kind of ending nothing may be left."""

import json
import os
import re
import signal
import socket
import struct
import time

from rig import overlay, peer, proc, resp, scene, sipp, tap, world

CFG = world.SOURCE + "/tests/system/media.cfg"
CALLEE, CALLEE2 = 5080, 5082


class MediaPeer:
    def __init__(self, node, nexthop, rtpengines=1, defines=(), **kw):
        self.node = node
        ua, ovl = node.addr4["ua"], node.addr4["ovl"]
        self.address = ua
        self.rtpengines = [
            peer.Rtpengine(node, "rtpengine-%s%s" % (node.name, i or ""),
                           ["ua/" + ua, "ovl/" + ovl], peer.NG_PORT + i,
                           (30000 + 2000 * i, 31998 + 2000 * i)) for i in range(rtpengines)]
        self.rtpengine = self.rtpengines[0]
        self.relay = overlay.Relay(node, self.rtpengines)
        self.relay.settings["rtpengine"].update(deadline_ms=800)
        self.relay.settings["sweep"].update(lease_s=5, media_timeout_s=10, reconcile_interval_s=2,
                                            owner_grace_s=1)
        self.kamailio = peer.Kamailio(node, "kamailio-" + node.name, CFG,
                                      ["udp:%s:5060" % ua, "udp:%s:5060" % ovl], **kw)
        self.kamailio.defines += ['CTLSOCK="unix:%s"' % self.kamailio.ctl,
                                  'RELAY_SOCKET="%s"' % self.relay.socket,
                                  'NEXTHOP="sip:%s"' % nexthop] + list(defines)
        if not any(d.startswith("FR_INV_TIMER") for d in defines):
            self.kamailio.defines.append("FR_INV_TIMER=20000")
        self.kamailio.options += ["-L", overlay.module_path()]

    def start(self):
        for r in self.rtpengines:
            r.start()
        self.relay.start()
        self.kamailio.start()
        self.up()

    def up(self, n=None):
        n = len(self.rtpengines) if n is None else n
        proc.wait_for("relay %s sees %d rtpengines" % (self.node.name, n),
                      lambda: int(self.relay.status()["rtpengines_up"]) == n, 5)

    def stop(self):
        for x in [self.kamailio, self.relay] + self.rtpengines:
            if x.proc and x.proc.running():
                x.stop()

    def calls(self):
        return [resp.pairs(c) for c in self.relay.ask("CALLS")[1]]

    def metric(self, name):
        m = re.search(r"^%s (\d+)$" % re.escape(name), self.relay.ask("METRICS"), re.M)
        return int(m.group(1))

    def media(self):
        return [c for r in self.rtpengines if r.proc.running() for c in r.calls()]

    def stats(self):
        return self.kamailio.rpc("p2p_media.stats")

    def quiet(self, timeout=3):
        proc.wait_for("no media is left at %s" % self.node.name, lambda: not self.media(), timeout)
        if self.relay.proc.running():
            proc.wait_for("no call is left in relay %s" % self.node.name,
                          lambda: not self.calls(), timeout)
        if self.kamailio.proc.running():
            proc.wait_for("no session is left in Kamailio %s" % self.node.name,
                          lambda: int(self.stats()["sessions"]) == 0, 12)


class Pair(scene.Scene):
    def __init__(self, a=(), b=(), start=True, **kw):
        super().__init__()
        self.load = self.host()
        host = self.load.addr4["ua"]
        na, nb = self.node("a", self.ua, self.ovl), self.node("b", self.ua, self.ovl)
        self.b = MediaPeer(nb, "%s:%d" % (host, CALLEE),
                           defines=[d.replace("CALLEE2", "%s:%d" % (host, CALLEE2)) for d in b])
        self.a = MediaPeer(na, "%s:5060" % nb.addr4["ovl"], defines=a, **kw)
        self.peers = [self.a, self.b]
        if start:
            for p in self.peers:
                p.start()

    def callee(self, steps, port=CALLEE, **kw):
        return sipp.Sipp(self.load, steps, port=port, **kw)

    def caller(self, steps, **kw):
        return sipp.Sipp(self.load, steps, "%s:5060" % self.a.address, port=kw.pop("port", 5070),
                         **kw)

    def call(self, caller, callee, timeout=20, **kw):
        b = self.callee(callee, **kw)
        a = self.caller(caller, **kw)
        a.finish(timeout)
        b.finish(timeout)
        return a, b

    def quiet(self):
        for p in self.peers:
            p.quiet()


def pair():
    return Pair()


RING_ANSWER = sipp.answer_scenario(20)


# sipp answers the request that came last; what is needed for another one is kept aside.
def keep(*what):
    return "".join('<ereg regexp=".*" search_in="hdr" header="%s:" occurrence="%d" '
                   'check_it="true" assign_to="%s"/>' % x for x in what)


TAGS = keep(("From", 1, "from"), ("To", 1, "to"))
KEEP = keep(("Via", 1, "via1"), ("Via", 2, "via2"), ("Via", 3, "via3")) + TAGS
OURS = ";tag=[pid]s[call_number]"


def reply_to_invite(code, reason):
    return sipp.send("""<![CDATA[

SIP/2.0 %d %s
Via:[$via1]
Via:[$via2]
Via:[$via3]
From:[$from]
To:[$to]%s
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]>""" % (code, reason, OURS), **({"retrans": 500} if code == 200 else {}))


def bye_of_callee():
    return sipp.send("""<![CDATA[

BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From:[$to]%s
To:[$from]
Call-ID: [call_id]
CSeq: 1 BYE
Max-Forwards: 70
Content-Length: 0

]]>""" % OURS, retrans=500)


# The 200 of the CANCEL may come before or after the 487 of the INVITE.
CANCELLED = [sipp.cancel(), sipp.recv(response=200, optional=True)] + sipp.refused(487)
# Rings until it is cancelled.
RING_CANCELLED = [sipp.recv(request="INVITE", timeout=0, actions=KEEP),
                  sipp.reply(180, "Ringing"), sipp.recv(request="CANCEL"),
                  sipp.reply(200, "OK", tag=False), reply_to_invite(487, "Request Terminated"),
                  sipp.recv(request="ACK")]


def bodies(run, direction, first):
    """SDP of the messages of a sipp whose first line begins so."""
    return [t.split("v=0", 1)[1] for _, d, line, t in run.messages()
            if d == direction and line.startswith(first) and "v=0" in t]


def endpoint(sdp):
    return (re.search(r"^c=IN IP4 (\S+)", sdp, re.M).group(1),
            int(re.search(r"^m=audio (\d+)", sdp, re.M).group(1)))


def speak(node, local_port, to, n=50):
    """n RTP packets as fast as a phone with a hurry."""
    with node.inside():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((node.addr4["ua"], local_port))
    s.settimeout(0.2)
    for i in range(n):
        s.sendto(struct.pack("!BBHII", 0x80, 0, i, i * 160, 0x1234) + b"\xff" * 160, to)
        time.sleep(0.002)
    return s


def heard(s):
    n = 0
    try:
        while True:
            s.recv(2048)
            n += 1
    except socket.timeout:
        return n


# --- the usual ----------------------------------------------------------------------------------
@tap.on(pair)
def test_a_call_is_anchored_at_both_sides_and_released(s):
    a, b = s.call(sipp.call_scenario(300), RING_ANSWER)
    offer, answer = bodies(b, "received", "INVITE")[0], bodies(a, "received", "SIP/2.0 200")[0]
    assert endpoint(offer)[0] == s.b.address, offer
    assert endpoint(answer)[0] == s.a.address, answer
    assert s.load.addr4["ua"] not in offer and s.load.addr4["ua"] not in answer
    s.quiet()


@tap.on(pair)
def test_packets_go_through_both(s):
    b = s.callee(sipp.answer_scenario(20), media_port=21000)
    a = s.caller(sipp.call_scenario(2500), media_port=22000)
    proc.wait_for("the call is up", lambda: bodies(a, "received", "SIP/2.0 200")
                  and bodies(b, "received", "INVITE"), 5)
    to_a = endpoint(bodies(a, "received", "SIP/2.0 200")[0])
    to_b = endpoint(bodies(b, "received", "INVITE")[0])
    # sipp holds the ports of its SDP: these are neighbours, which rtpengine learns
    sa, sb = speak(s.load, 23000, to_a), speak(s.load, 23100, to_b)
    speak(s.load, 23001, to_b, 1).close()
    for p in s.peers:
        call = s_query(p)
        assert call["totals"]["RTP"]["packets"] >= 100, call["totals"]
    sa.close()
    sb.close()
    a.finish()
    b.finish()
    s.quiet()


def s_query(p):
    """What p's only call says of itself, asked through the relay as p2p_media could."""
    prefix, handle, callid = p.calls()[0]["id"].split("-", 2)
    assert prefix == "p2p"
    with resp.Client(p.relay.socket) as c:
        c("HANDSHAKE", 1, "test", "test")
        return json.loads(c("QUERY", "handle", handle, "callid", callid))


@tap.on(pair)
def test_the_callee_hangs_up(s):
    s.call([sipp.invite(), sipp.recv(response=100, optional=True),
            sipp.recv(response=180, optional=True), sipp.recv(response=200, rrs="true"),
            sipp.in_dialog("ACK", 1), sipp.recv(request="BYE"),
            sipp.reply(200, "OK", tag=False)],
           [sipp.recv(request="INVITE", rrs="true", timeout=0, actions=TAGS),
            sipp.reply(180, "Ringing"), sipp.pause(20),
            sipp.reply(200, "OK", sipp.sdp(), retrans=500), sipp.recv(request="ACK"),
            sipp.pause(200), bye_of_callee(), sipp.recv(response=200)])
    s.quiet()


@tap.on(pair)
def test_busy(s):
    s.call([sipp.invite(), sipp.recv(response=100, optional=True)] + sipp.refused(486),
           sipp.busy_scenario())
    s.quiet()


@tap.on(pair)
def test_cancelled_while_ringing(s):
    b = s.callee(RING_CANCELLED)
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180), sipp.pause(100)] + CANCELLED)
    proc.wait_for("it rings with media held", lambda: s.b.media(), 5)
    a.finish()
    b.finish()
    s.quiet()


@tap.on(lambda: Pair(b=["FR_INV_TIMER=1500"]))
def test_nobody_answers(s):
    b = s.callee(RING_CANCELLED)
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180)] + sipp.refused(408))
    a.finish()
    b.finish()
    s.quiet()


@tap.on(pair)
def test_early_media(s):
    a, _ = s.call(
        [sipp.invite(), sipp.recv(response=100, optional=True), sipp.recv(response=183),
         sipp.recv(response=200, rrs="true"), sipp.in_dialog("ACK", 1), sipp.pause(100),
         sipp.in_dialog("BYE", 2), sipp.recv(response=200)],
        [sipp.recv(request="INVITE", rrs="true", timeout=0),
         sipp.reply(183, "Session Progress", sipp.sdp()), sipp.pause(200),
         sipp.reply(200, "OK", sipp.sdp(), retrans=500), sipp.recv(request="ACK"),
         sipp.recv(request="BYE"), sipp.reply(200, "OK", tag=False)])
    early, final = bodies(a, "received", "SIP/2.0 183")[0], bodies(a, "received", "SIP/2.0 200")[0]
    assert endpoint(early) == endpoint(final) and endpoint(early)[0] == s.a.address
    s.quiet()


@tap.on(pair)
def test_early_media_that_cannot_be_anchored_is_left_out(s):
    b = s.callee([sipp.recv(request="INVITE", rrs="true", timeout=0), sipp.pause(700),
                  sipp.reply(183, "Session Progress", sipp.sdp()), sipp.pause(1200),
                  sipp.reply(200, "OK", sipp.sdp(), retrans=500), sipp.recv(request="ACK"),
                  sipp.recv(request="BYE"), sipp.reply(200, "OK", tag=False)])
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True), sipp.recv(response=183),
                  sipp.recv(response=200, rrs="true"), sipp.in_dialog("ACK", 1), sipp.pause(100),
                  sipp.in_dialog("BYE", 2), sipp.recv(response=200)])
    proc.wait_for("the offer has passed", lambda: bodies(b, "received", "INVITE"), 5)
    s.a.relay.stop()
    proc.wait_for("the 183 has passed", lambda: any(
        line.startswith("SIP/2.0 183") for _, _, line, _ in a.messages()), 5)
    s.a.relay.start()
    s.a.up()
    a.finish()
    b.finish()
    text = next(t for _, _, line, t in a.messages() if line.startswith("SIP/2.0 183"))
    assert "v=0" not in text and "Content-Type" not in text, text
    assert re.search(r"Content-Length:\s*0", text), text
    assert endpoint(bodies(a, "received", "SIP/2.0 200")[0])[0] == s.a.address
    s.quiet()


@tap.on(pair)
def test_late_offer(s):
    b = s.callee(RING_ANSWER)
    a = s.caller([sipp.request("INVITE"), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180), sipp.recv(response=200, rrs="true"),
                  sipp.in_dialog("ACK", 1, sipp.sdp()), sipp.pause(300),
                  sipp.in_dialog("BYE", 2), sipp.recv(response=200)])
    a.finish()
    b.finish()
    assert endpoint(bodies(a, "received", "SIP/2.0 200")[0])[0] == s.a.address
    assert endpoint(bodies(b, "received", "ACK")[0])[0] == s.b.address
    s.quiet()


@tap.on(pair)
def test_late_offer_answered_in_prack(s):
    b = s.callee([sipp.recv(request="INVITE", rrs="true", timeout=0, actions=KEEP),
                  sipp.reply(183, "Session Progress", sipp.sdp(), ["Require: 100rel", "RSeq: 1"]),
                  sipp.recv(request="PRACK"), sipp.reply(200, "OK", tag=False), sipp.pause(50),
                  reply_to_invite(200, "OK"), sipp.recv(request="ACK"), sipp.recv(request="BYE"),
                  sipp.reply(200, "OK", tag=False)])
    a = s.caller([sipp.request("INVITE", extra=["Supported: 100rel"]),
                  sipp.recv(response=100, optional=True), sipp.recv(response=183, rrs="true"),
                  sipp.in_dialog("PRACK", 2, sipp.sdp(), ["RAck: 1 1 INVITE"]),
                  sipp.recv(response=200), sipp.recv(response=200),
                  sipp.in_dialog("ACK", 1), sipp.pause(200),
                  sipp.in_dialog("BYE", 3), sipp.recv(response=200)])
    a.finish()
    b.finish()
    assert endpoint(bodies(a, "received", "SIP/2.0 183")[0])[0] == s.a.address
    assert endpoint(bodies(b, "received", "PRACK")[0])[0] == s.b.address
    for p in s.peers:
        assert int(p.stats()["answers"]) >= 1, p.stats()
    s.quiet()


@tap.on(pair)
def test_hold_and_resume(s):
    held = sipp.sdp("sendonly")
    back = [sipp.recv(request="INVITE"), sipp.reply(200, "OK", sipp.sdp("recvonly"), tag=False,
                                                    retrans=500), sipp.recv(request="ACK")]
    again = [sipp.recv(request="INVITE"), sipp.reply(200, "OK", sipp.sdp(), tag=False,
                                                     retrans=500), sipp.recv(request="ACK")]
    b = s.callee([sipp.recv(request="INVITE", rrs="true", timeout=0), sipp.reply(180, "Ringing"),
                  sipp.pause(20), sipp.reply(200, "OK", sipp.sdp(), retrans=500),
                  sipp.recv(request="ACK")] + back + again +
                 [sipp.recv(request="BYE"), sipp.reply(200, "OK", tag=False)])
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180, optional=True), sipp.recv(response=200, rrs="true"),
                  sipp.in_dialog("ACK", 1), sipp.pause(100),
                  sipp.in_dialog("INVITE", 2, held), sipp.recv(response=100, optional=True),
                  sipp.recv(response=200), sipp.in_dialog("ACK", 2), sipp.pause(300),
                  sipp.in_dialog("INVITE", 3, sipp.sdp()), sipp.recv(response=100, optional=True),
                  sipp.recv(response=200), sipp.in_dialog("ACK", 3), sipp.pause(100),
                  sipp.in_dialog("BYE", 4), sipp.recv(response=200)])
    a.finish()
    b.finish()
    seen = bodies(b, "received", "INVITE")
    assert len({endpoint(x) for x in seen}) == 1 and endpoint(seen[0])[0] == s.b.address, seen
    assert "a=sendonly" in seen[1] and "a=sendrecv" in seen[2]
    s.quiet()


@tap.on(pair)
def test_update(s):
    b = s.callee([sipp.recv(request="INVITE", rrs="true", timeout=0), sipp.reply(180, "Ringing"),
                  sipp.pause(20), sipp.reply(200, "OK", sipp.sdp(), retrans=500),
                  sipp.recv(request="ACK"), sipp.recv(request="UPDATE"),
                  sipp.reply(200, "OK", sipp.sdp("recvonly"), tag=False),
                  sipp.recv(request="BYE"), sipp.reply(200, "OK", tag=False)])
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180, optional=True), sipp.recv(response=200, rrs="true"),
                  sipp.in_dialog("ACK", 1), sipp.pause(100),
                  sipp.in_dialog("UPDATE", 2, sipp.sdp("sendonly")), sipp.recv(response=200),
                  sipp.in_dialog("BYE", 3), sipp.recv(response=200)])
    a.finish()
    b.finish()
    assert endpoint(bodies(b, "received", "UPDATE")[0])[0] == s.b.address
    assert endpoint(bodies(a, "received", "SIP/2.0 200")[-1])[0] == s.a.address
    s.quiet()


# --- forks --------------------------------------------------------------------------------------
@tap.on(lambda: Pair(b=['NEXTHOP2="sip:CALLEE2"']))
def test_the_losers_media_is_released_when_another_wins(s):
    lose = s.callee(RING_CANCELLED, CALLEE2)
    win = s.callee(sipp.answer_scenario(600))
    a = s.caller(sipp.call_scenario(1000))
    proc.wait_for("both branches hold media", lambda: len(s.b.media()) == 2, 5)
    proc.wait_for("only the winner's is left", lambda: len(s.b.media()) == 1, 3)
    for x in (a, win, lose):
        x.finish()
    s.quiet()


@tap.on(lambda: Pair(b=['NEXTHOP2="sip:CALLEE2"', "WITH_SERIAL"]))
def test_the_next_target_after_a_refusal(s):
    busy, win = s.callee(sipp.busy_scenario()), s.callee(sipp.answer_scenario(20), CALLEE2)
    a = s.caller(sipp.call_scenario(500))
    proc.wait_for("the second holds media alone",
                  lambda: bodies(a, "received", "SIP/2.0 200") and len(s.b.media()) == 1, 5)
    for x in (a, win, busy):
        x.finish()
    s.quiet()


# --- who crashes --------------------------------------------------------------------------------
@tap.on(pair)
def test_a_bye_after_kamailios_sigkill_releases(s):
    b = s.callee(RING_ANSWER)
    a = s.caller(sipp.call_scenario(3000))
    proc.wait_for("the call is up", lambda: bodies(a, "received", "SIP/2.0 200"), 5)
    time.sleep(0.2)
    for p in s.peers:
        p.kamailio.kill()
    for p in s.peers:
        p.kamailio.start()
        assert len(p.media()) == 1
    a.finish()
    b.finish()
    s.quiet()


@tap.on(pair)
def test_a_call_that_rang_dies_with_its_kamailio(s):
    b = s.callee([sipp.recv(request="INVITE", timeout=0), sipp.reply(180, "Ringing"),
                  sipp.pause(15000)])
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180), sipp.pause(15000)])
    proc.wait_for("it rings", lambda: bodies(b, "received", "INVITE"), 5)
    for p in s.peers:
        p.kamailio.kill()
    a.stop()
    b.stop()
    for p in s.peers:
        p.quiet(8)
        p.kamailio.start()


@tap.on(pair)
def test_kamailio_stops_in_order_while_it_rings(s):
    b = s.callee([sipp.recv(request="INVITE", timeout=0), sipp.reply(180, "Ringing"),
                  sipp.pause(15000)])
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180), sipp.pause(15000)])
    proc.wait_for("it rings", lambda: bodies(b, "received", "INVITE"), 5)
    for p in s.peers:
        p.kamailio.stop()
        assert p.kamailio.proc.p.returncode == 0, p.kamailio.proc.how()
    a.stop()
    b.stop()
    for p in s.peers:
        p.quiet(8)
        p.kamailio.start()


@tap.on(pair)
def test_a_bye_after_the_relays_sigkill_releases(s):
    b = s.callee(RING_ANSWER)
    a = s.caller(sipp.call_scenario(2500))
    proc.wait_for("the call is up", lambda: bodies(a, "received", "SIP/2.0 200"), 5)
    time.sleep(0.2)
    for p in s.peers:
        p.relay.kill()
        p.relay.start()
        p.up()
        proc.wait_for("the call is taken over", lambda p=p: len(p.calls()) == 1, 3)
    a.finish()
    b.finish()
    s.quiet()


@tap.on(pair)
def test_dead_phones_are_swept(s):
    b = s.callee(RING_ANSWER)
    a = s.caller(sipp.call_scenario(30000))
    proc.wait_for("the call is up", lambda: bodies(a, "received", "SIP/2.0 200"), 5)
    a.stop()
    b.stop()
    for p in s.peers:
        p.quiet(20)
        assert p.metric("p2psip_relay_swept_total") == 1


@tap.on(lambda: Pair(rtpengines=2))
def test_one_rtpengine_stopped(s):
    first = s.a.rtpengine
    b = s.callee(RING_ANSWER, calls=2)
    a = s.caller(sipp.call_scenario(8000))
    proc.wait_for("the call is up", lambda: bodies(a, "received", "SIP/2.0 200"), 5)
    used = next(r for r in s.a.rtpengines if r.calls())
    used.kill()
    used.proc.expected = True
    start = time.monotonic()
    c = s.caller(sipp.call_scenario(200), port=5071)
    c.finish()
    assert time.monotonic() - start < 3
    s.a.up(1)
    used.start()
    s.a.up(2)
    proc.wait_for("what it lost is dropped", lambda: not s.a.calls(), 6)
    assert s.a.metric("p2psip_relay_lost_total") == 1
    a.finish()
    b.finish()
    assert first
    s.quiet()


def refusal(s, steps=None):
    """How long a refused call takes, in ms."""
    a = s.caller(steps or [sipp.invite(), sipp.recv(response=100, optional=True)]
                 + sipp.refused(503))
    a.finish()
    m = a.messages()
    sent = next(t for t, d, line, _ in m if d == "sent" and line.startswith("INVITE"))
    got = next(t for t, d, line, _ in m if d == "received" and line.startswith("SIP/2.0 503"))
    return (got - sent) * 1000


def strict():
    return Pair(a=["TIMEOUT_MS=150"])


@tap.on(strict)
def test_without_relay_calls_get_503_at_once(s):
    s.a.relay.stop()
    for _ in range(5):
        ms = refusal(s)
        assert ms < 200, ms
    assert s.a.kamailio.rpc("p2p_media.status")["breaker"] != "closed"
    s.a.relay.start()
    s.a.up()
    proc.wait_for("calls pass again", lambda: _passes(s), 5)
    s.quiet()


def _passes(s):
    time.sleep(0.3)
    b = s.callee(RING_ANSWER)
    a = s.caller(sipp.call_scenario(50))
    try:
        a.finish(5)
        b.finish(5)
        return True
    except proc.Failed:
        b.stop()
        return False


@tap.on(strict)
def test_a_hanging_relay_costs_no_more_than_its_deadline(s):
    s.a.relay.proc.signal(signal.SIGSTOP)
    try:
        times = [refusal(s) for _ in range(5)]
    finally:
        s.a.relay.proc.signal(signal.SIGCONT)
    assert max(times) < 200, times
    assert min(times) < 50, times       # the breaker
    proc.wait_for("calls pass again", lambda: _passes(s), 5)
    s.quiet()


@tap.on(lambda: Pair(a=['ANCHOR="never"'], b=['ANCHOR="never"']))
def test_never_anchored_needs_no_relay(s):
    for p in s.peers:
        p.relay.stop()
    a, b = s.call(sipp.call_scenario(100), RING_ANSWER)
    assert endpoint(bodies(b, "received", "INVITE")[0])[0] == s.load.addr4["ua"]
    assert endpoint(bodies(a, "received", "SIP/2.0 200")[0])[0] == s.load.addr4["ua"]
    for p in s.peers:
        p.relay.start()


@tap.on(lambda: Pair(a=['ANCHOR="nat"'], b=['ANCHOR="nat"']))
def test_anchored_only_where_there_is_a_nat(s):
    _, b = s.call(sipp.call_scenario(100), RING_ANSWER)
    assert endpoint(bodies(b, "received", "INVITE")[0])[0] == s.load.addr4["ua"]
    assert int(s.a.stats()["bypassed"]) == 1
    # the phone says another address than it comes from
    natted = [x.replace("[local_ip]:[local_port];branch", "10.1.2.3:[local_port];rport;branch")
              for x in sipp.call_scenario(100)]
    _, b = s.call(natted, RING_ANSWER)
    assert endpoint(bodies(b, "received", "INVITE")[0])[0] == s.a.address
    assert int(s.b.stats()["bypassed"]) == 2
    s.quiet()


@tap.on(lambda: Pair(a=["WITH_DIALOG"], b=["WITH_DIALOG"]))
def test_the_end_of_a_dialog_releases(s):
    b = s.callee(RING_ANSWER)
    a = s.caller(sipp.call_scenario(30000))
    proc.wait_for("the call is up", lambda: bodies(a, "received", "SIP/2.0 200"), 5)
    a.stop()
    b.stop()
    for p in s.peers:
        p.quiet(8)      # default_timeout is 3 s, the sweep's 10 s
        assert p.metric("p2psip_relay_swept_total") == 0


# --- bodies -------------------------------------------------------------------------------------
def multipart(parts, boundary="unique-boundary-1"):
    out = []
    for kind, body in parts:
        out.append("--%s\nContent-Type: %s\n\n%s" % (boundary, kind, body))
    return "\n".join(out) + "\n--%s--\n" % boundary


def invite_with(kind, body):
    text = sipp.invite(body)
    return text.replace("Content-Type: application/sdp", "Content-Type: " + kind, 1)


@tap.on(pair)
def test_only_the_sdp_of_a_multipart_body_is_replaced(s):
    other = "<info>keep --me</info>"
    body = multipart([("application/sdp", sipp.sdp().strip()), ("application/x-info", other)])
    a, b = s.call([invite_with('multipart/mixed;boundary="unique-boundary-1"', body)]
                  + sipp.call_scenario(100)[1:], RING_ANSWER)
    got = next(t for _, d, line, t in b.messages() if d == "received"
               and line.startswith("INVITE"))
    assert other in got and got.count("unique-boundary-1") == 4, got
    assert endpoint(got.split("v=0", 1)[1])[0] == s.b.address
    assert a
    s.quiet()


@tap.on(pair)
def test_bodies_that_are_no_sdp_get_488(s):
    for body in ["v=1\n", "nonsense", "v=0\n" + "m=audio 1 RTP/AVP 0\n" * 40,
                 "v=0\no=- 1 1 IN IP4 x\ns=-\nt=0 0\nm=audio 99999 RTP/AVP 0\n",
                 "v=0\nc=IN IP4 1.2.3.4\nm=audio 1 RTP/AVP 0\n" + "\x01\n"]:
        a = s.caller([sipp.invite(body), sipp.recv(response=100, optional=True)]
                     + sipp.refused(488))
        a.finish()
    s.call(sipp.call_scenario(100), RING_ANSWER)
    s.quiet()


# --- what else is shipped ------------------------------------------------------------------------
LUA = ["WITH_LUA", 'LUA_FILE="%s"' % (world.SOURCE + "/tests/system/media.lua")]


def kemi():
    own = overlay.module_path().split(":")
    if not any(os.path.exists(d + "/app_lua.so") for d in own):
        raise tap.Skip("kamailio-lua-modules is not installed")
    return Pair(a=LUA, b=LUA)


@tap.on(kemi)
def test_the_same_through_kemi(s):
    a, b = s.call(sipp.call_scenario(100), RING_ANSWER)
    assert endpoint(bodies(b, "received", "INVITE")[0])[0] == s.b.address
    assert endpoint(bodies(a, "received", "SIP/2.0 200")[0])[0] == s.a.address
    s.quiet()
    s.a.relay.stop()
    assert refusal(s) < 1200
    s.a.relay.start()


@tap.on(pair)
def test_rpc_shows_what_rings(s):
    b = s.callee(RING_CANCELLED)
    a = s.caller([sipp.invite(), sipp.recv(response=100, optional=True),
                  sipp.recv(response=180), sipp.pause(700)] + CANCELLED)
    proc.wait_for("it rings", lambda: bodies(a, "received", "SIP/2.0 180") or
                  a.messages() and s.b.media(), 5)
    rows = s.b.kamailio.rpc("p2p_media.list")
    row = rows[0] if isinstance(rows, list) else rows
    assert row["kind"] == "new" and int(row["offered"]) == 1 and int(row["sdp"]) == 1, rows
    assert not s.b.kamailio.rpc("p2p_media.list", row["serial"])
    a.finish()
    b.finish()
    s.quiet()
    assert not s.b.kamailio.rpc("p2p_media.list")


@tap.on(pair)
def test_the_shipped_files_load(s):
    conf = world.SOURCE + "/cfg/p2psip-relay.conf"
    s.a.node.run(s.a.relay.program, "--config", conf, "--check-config")
    printed = s.a.node.run(s.a.relay.program, "--config", conf, "--print-config").stdout
    again = world.WORK + "/printed.conf"
    with open(again, "w", encoding="utf-8") as f:
        f.write(printed)
    assert s.a.node.run(s.a.relay.program, "--config", again, "--print-config").stdout == printed
    with open(world.SOURCE + "/cfg/rtpengine.conf", encoding="utf-8") as f:
        text = f.read()
    for old, new in (("192.0.2.10", s.a.node.addr4["ua"]), ("2223", "2229"),
                     ("198.51.100.10", s.a.node.addr4["ovl"]), ("log-facility = daemon\n", ""),
                     ("/run/rtpengine", world.WORK)):
        text = text.replace(old, new)
    with open(world.WORK + "/rtpengine.conf", "w", encoding="utf-8") as f:
        f.write(text)
    engine = peer.Rtpengine(s.a.node, "rtpengine-shipped", [], 2229)
    engine.argv = ["rtpengine", "-f", "-E", "--config-file=" + world.WORK + "/rtpengine.conf",
                   "--pidfile=/dev/null"]
    engine.start()
    engine.stop()


# --- memory -------------------------------------------------------------------------------------
def debug_memory():
    s = Pair(start=False)
    for p in s.peers:
        p.kamailio.options += ["-x", "qm", "-X", "qm"]
        p.start()
    return s


def memory(p):
    """{what: bytes}: our shared memory, and the private memory of each process."""
    m = re.search(r"^Module: p2p_media\n\{.*?^\tTotal: (\d+)",
                  p.kamailio.text("mod.stats", "p2p_media", "shm"), re.M | re.S)
    out = {"shm": int(m.group(1))}
    for x in p.kamailio.rpc("pkg.stats"):
        out["pkg %s (%s)" % (x["entry"], x["desc"])] = x["used"]
    return out


def rounds(s, n):
    """n calls, and a tenth as many of each other ending."""
    for caller, callee, calls in [
            (sipp.call_scenario(50), RING_ANSWER, n),
            ([sipp.invite(), sipp.recv(response=100, optional=True)] + sipp.refused(486),
             sipp.busy_scenario(), n // 10),
            ([sipp.invite(), sipp.recv(response=100, optional=True), sipp.recv(response=180),
              sipp.pause(50)] + CANCELLED,
             RING_CANCELLED, n // 10)]:
        b = s.callee(callee, calls=calls)
        a = s.caller(caller, calls=calls, rate=40)
        a.finish(60 + calls / 20)
        b.finish(30)
    s.quiet()
    for p in s.peers:
        proc.wait_for("transactions are drained", lambda p=p: p.kamailio.transactions() == 0, 30)


def same_memory(s, n):
    rounds(s, 50)       # what is allocated once, at the first use
    before = [memory(p) for p in s.peers]
    rounds(s, n)
    for p, old in zip(s.peers, before):
        for key, used in memory(p).items():
            more = used - old.get(key, 0)
            if more > 0 and (key == "shm" or more >= n):
                raise proc.Failed("%s: %s has %d bytes more after %d calls" %
                                  (p.node.name, key, more, n))


@tap.on(debug_memory)
@tap.limit(180)
def test_memory_is_the_same_after_200_calls(s):
    same_memory(s, 200)


@tap.long
@tap.on(debug_memory)
@tap.limit(600)
def test_memory_is_the_same_after_2000_calls(s):
    same_memory(s, 2000)


if __name__ == "__main__":
    tap.main(globals())
