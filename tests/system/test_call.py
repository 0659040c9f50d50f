#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls across the overlay: two peers, real phones, audio both ways, and every way to end."""

import time

from rig import audio, overlay, pcap, proc, scene, sipp, tap


def udp():
    return overlay.Overlay()


def ipv6():
    return overlay.Overlay(ipv6=True)


def tcp():
    return overlay.Overlay(transport="tcp")


def direct():
    return overlay.Overlay(anchor="never")


def pair(s, **kw):
    """bob at b, alice at a, and a knows where bob is."""
    bob = s.phone("bob", s.b, seed=2, **kw)
    alice = s.phone("alice", s.a, seed=1, **kw)
    s.found("bob", s.a)
    return alice, bob


def whole_call(s, seconds=4, between="udp", **kw):
    """A call with captures at both peers; checks audio, packets and loss of every leg."""
    alice, bob = pair(s, **kw)
    captures = [pcap.Capture(p.node) for p in (s.a, s.b)]
    facts = scene.talk(alice, bob, "sip:bob@%s" % s.a.address, seconds)
    pkts = [c.stop() for c in captures]
    ab, ba = scene.heard(alice, bob, seconds), scene.heard(bob, alice, seconds)
    tap.say("ringing after %.0f ms, correlation %.4f and %.4f" %
            (facts["invite_to_ring_ms"], ab, ba))
    least = (seconds - 0.4) * 50
    for p, seen in zip((s.a, s.b), pkts):
        messages = pcap.sip(seen)
        legs = pcap.rtp(seen, pcap.media_endpoints(messages))
        for leg in legs:
            tap.say("%s: %s" % (p.name, leg))
        if len(legs) != 4:
            raise proc.Failed("%d media legs at %s, not 4" % (len(legs), p.name))
        for leg in legs:
            if leg.lost or leg.packets < least:
                raise proc.Failed("%s lacks packets: %s" % (p.name, leg))
    proxies = {x.overlay_address.strip("[]") for x in (s.a, s.b)}
    hops = [m for m in pcap.sip(pkts[0]) if m.src in proxies and m.dst in proxies]
    if not hops or any(m.proto != between for m in hops):
        raise proc.Failed("between the proxies: %s" % sorted({m.proto for m in hops}))
    s.quiet()


@tap.on(udp)
def test_audio_both_ways_over_ipv4_and_udp(s):
    whole_call(s)


@tap.on(udp)
def test_sdp_shows_each_side_only_its_own_rtpengine(s):
    alice, bob = pair(s)
    capture = pcap.Capture(s.a.node)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 1)
    messages = pcap.sip(capture.stop())
    ua, ovl = s.a.node.addr4["ua"], s.a.node.addr4["ovl"]
    for m in messages:
        if "m=audio" not in m.body:
            continue
        at = {a for a, _ in pcap.media_endpoints([m])}
        want = {alice.address} if m.src == alice.address else \
            {ua} if m.dst == alice.address else \
            {ovl} if m.dst == s.b.node.addr4["ovl"] else {s.b.node.addr4["ovl"]}
        if at != want:
            raise proc.Failed("%r announces %s, not %s" % (m, sorted(at), sorted(want)))
    s.quiet()


@tap.on(udp)
def test_both_phones_at_one_peer(s):
    bob = s.phone("bob", s.a, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 2)
    scene.heard(alice, bob, 2)
    scene.heard(bob, alice, 2)
    s.quiet()


@tap.on(udp)
def test_callee_hangs_up_first(s):
    alice, bob = pair(s)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 1, hangup=bob)
    s.quiet()


@tap.on(udp)
def test_callee_declines(s):
    alice, bob = pair(s)
    bob.forget()
    alice.dial("sip:bob@%s" % s.a.address)
    bob.wait("CALL_INCOMING")
    bob.hangup()
    alice.wait("CALL_CLOSED", param="486")
    s.quiet()


@tap.on(udp)
def test_cancelled_while_ringing(s):
    alice, bob = pair(s)
    bob.forget()
    alice.dial("sip:bob@%s" % s.a.address)
    bob.wait("CALL_INCOMING")
    alice.wait("CALL_RINGING")
    alice.hangup()
    bob.wait("CALL_CLOSED", timeout=3)
    s.quiet()


@tap.on(udp)
def test_cancelled_while_the_lookup_runs(s):
    """The gateway is held, so that the lookup cannot end; CANCEL is answered all the same."""
    host = s.host()
    s.a.gateway.proc.signal(19)
    try:
        # the 200 of the CANCEL may come before or after the 487 of the INVITE
        uac = sipp.Sipp(host, [sipp.invite(), sipp.recv(response=100), sipp.pause(100),
                               sipp.cancel(), sipp.recv(response=200, optional=True)] +
                        sipp.refused(487), s.a.address, [("alice", "held")])
        uac.finish(10)
    finally:
        s.a.gateway.proc.signal(18)
    s.quiet()


@tap.on(udp)
def test_callee_is_busy(s):
    callee, caller = s.host("callee"), s.host()
    sipp.register_many(callee, s.b.address, ["busy"])
    s.found("busy", s.a)
    uas = sipp.Sipp(callee, sipp.busy_scenario())
    uac = sipp.Sipp(caller, [sipp.invite(), sipp.recv(response=100, optional=True)] +
                    sipp.refused(486), s.a.address, [("alice", "busy")])
    uac.finish()
    uas.finish()
    s.quiet()


@tap.on(udp)
@tap.limit(90)
def test_nobody_answers(s):
    """The callee rings for ever: its own proxy gives up, and the caller learns of it."""
    callee, caller = s.host("callee"), s.host()
    sipp.register_many(callee, s.b.address, ["away"])
    s.found("away", s.a)
    uas = sipp.Sipp(callee, [sipp.recv(request="INVITE", timeout=0), sipp.reply(180, "Ringing"),
                             sipp.recv(request="CANCEL", timeout=60000), sipp.reply(200, "OK")])
    s.b.kamailio.rpc("cfg.seti", "tm", "fr_inv_timer", 3000)
    try:
        uac = sipp.Sipp(caller, [sipp.invite(), sipp.recv(response=100, optional=True),
                                 sipp.recv(response=180)] + sipp.refused(408), s.a.address,
                        [("alice", "away")])
        uac.finish(60)
    finally:
        s.b.kamailio.rpc("cfg.seti", "tm", "fr_inv_timer", 120000)
        uas.stop()
    s.quiet(40)


@tap.on(udp)
def test_hold_and_resume(s):
    alice, bob = pair(s)
    bob.forget()
    alice.dial("sip:bob@%s" % s.a.address)
    bob.wait("CALL_INCOMING")
    bob.answer()
    alice.wait("CALL_ESTABLISHED")
    time.sleep(1.5)
    alice.do("hold")
    time.sleep(1)
    capture = pcap.Capture(s.b.node)
    time.sleep(1)
    pkts = capture.stop()
    # On hold nothing that bob says is to reach alice's side.
    silent = [x for x in pcap.rtp(pkts, {(s.b.node.addr4["ua"], p) for p in range(30000, 35000)})
              if x.src_ip == bob.address and x.packets > 10]
    if silent:
        raise proc.Failed("media flows on hold: %s" % silent)
    alice.do("resume")
    time.sleep(2)
    alice.hangup()
    bob.wait("CALL_CLOSED")
    # What was heard lies on both sides of the pause: the end must match too.
    tail = alice.heard()[-audio.RATE:]
    c, _ = audio.match(bob.sent, tail)
    tap.say("correlation after the hold %.4f" % c)
    if c < 0.95:
        raise proc.Failed("after resuming alice hears bob with a correlation of %.3f" % c)
    s.quiet()


@tap.on(udp)
def test_early_media(s):
    """183 with SDP: the caller has media to hear before the answer."""
    callee, caller = s.host("callee"), s.host()
    sipp.register_many(callee, s.b.address, ["early"])
    s.found("early", s.a)
    uas = sipp.Sipp(callee, [
        sipp.recv(request="INVITE", timeout=0), sipp.reply(183, "Session Progress", sipp.sdp()),
        sipp.pause(1000), sipp.reply(200, "OK", sipp.sdp(), retrans=500),
        sipp.recv(request="ACK"), sipp.recv(request="BYE"), sipp.reply(200, "OK", tag=False)])
    uac = sipp.Sipp(caller, [
        sipp.invite(), sipp.recv(response=100, optional=True), sipp.recv(response=183),
        sipp.recv(response=200, rrs="true"), sipp.in_dialog("ACK", 1), sipp.pause(500),
        sipp.in_dialog("BYE", 2), sipp.recv(response=200)], s.a.address, [("alice", "early")])
    uac.finish()
    uas.finish()
    bodies = [m for m in uac.messages() if m[1] == "received" and "m=audio" in m[3]]
    for _, _, first, text in bodies:
        if "c=IN IP4 %s" % s.a.node.addr4["ua"] not in text:
            raise proc.Failed("%s does not name a's rtpengine:\n%s" % (first, text))
    if len(bodies) < 2:
        raise proc.Failed("no SDP in 183")
    s.quiet()


@tap.on(udp)
def test_late_offer(s):
    """INVITE without a body: the offer is in the 200, the answer in the ACK."""
    callee, caller = s.host("callee"), s.host()
    sipp.register_many(callee, s.b.address, ["late"])
    s.found("late", s.a)
    uas = sipp.Sipp(callee, [
        sipp.recv(request="INVITE", timeout=0), sipp.reply(180, "Ringing"), sipp.pause(50),
        sipp.reply(200, "OK", sipp.sdp(), retrans=500), sipp.recv(request="ACK"),
        sipp.recv(request="BYE"), sipp.reply(200, "OK", tag=False)])
    uac = sipp.Sipp(caller, [
        sipp.invite(body=""), sipp.recv(response=100, optional=True),
        sipp.recv(response=180, optional=True), sipp.recv(response=200, rrs="true"),
        sipp.in_dialog("ACK", 1, body=sipp.sdp()), sipp.pause(500), sipp.in_dialog("BYE", 2),
        sipp.recv(response=200)], s.a.address, [("alice", "late")])
    uac.finish()
    uas.finish()
    offer = [m for m in uac.messages() if m[1] == "received" and "m=audio" in m[3]]
    answer = [m for m in uas.messages() if m[1] == "received" and m[2].startswith("ACK")]
    if not offer or "c=IN IP4 %s" % s.a.node.addr4["ua"] not in offer[0][3]:
        raise proc.Failed("the offer in the 200 does not name a's rtpengine")
    if not answer or "c=IN IP4 %s" % s.b.node.addr4["ua"] not in answer[0][3]:
        raise proc.Failed("the answer in the ACK does not name b's rtpengine")
    s.quiet()


@tap.on(udp)
def test_message_and_options_find_the_user_too(s):
    callee, caller = s.host("callee"), s.host()
    sipp.register_many(callee, s.b.address, ["im"])
    s.found("im", s.a)
    for method in ("MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER"):
        uas = sipp.Sipp(callee, [sipp.recv(request=method, timeout=0), sipp.reply(200, "OK")])
        extra = {"SUBSCRIBE": ["Event: presence", "Expires: 60"],
                 "REFER": ["Refer-To: <sip:carol@example.net>"]}.get(method, [])
        uac = sipp.Sipp(caller, [sipp.request(method, extra=extra),
                                 sipp.recv(response=100, optional=True),
                                 sipp.recv(response=200)], s.a.address, [("alice", "im")])
        uac.finish()
        uas.finish()
    s.quiet()


@tap.on(tcp)
def test_audio_both_ways_with_tcp_between_the_proxies(s):
    whole_call(s, between="tcp")


@tap.on(ipv6)
def test_audio_both_ways_over_ipv6(s):
    whole_call(s, ipv6=True)


@tap.on(direct)
def test_without_anchoring_media_runs_between_the_phones(s):
    alice, bob = pair(s)
    capture = pcap.Capture(alice.node)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 2)
    seen = capture.stop()
    scene.heard(alice, bob, 2)
    scene.heard(bob, alice, 2)
    legs = pcap.rtp(seen, pcap.media_endpoints(pcap.sip(seen)))
    ways = sorted((x.src_ip, x.dst_ip) for x in legs)
    if ways != sorted([(alice.address, bob.address), (bob.address, alice.address)]):
        raise proc.Failed("media went %s" % ways)
    s.quiet()


if __name__ == "__main__":
    tap.main(globals())
