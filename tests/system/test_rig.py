#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig proves itself on stock parts: what fails here is not the fault of the overlay."""

from rig import pcap, proc, scene, tap


@tap.on(scene.stock_pair)
def test_stock_call_has_audio_both_ways(s):
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    capture = pcap.Capture(s.a.node)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, seconds=3)
    messages = pcap.sip(capture.stop())
    ab, ba = scene.heard(alice, bob, 3), scene.heard(bob, alice, 3)
    tap.say("correlation %.4f and %.4f" % (ab, ba))
    pkts = pcap.packets(capture.path)
    legs = pcap.rtp(pkts, pcap.media_endpoints(messages))
    for leg in legs:
        tap.say(leg)
    if len(legs) != 4:
        raise proc.Failed("%d legs of media at a, not 4" % len(legs))
    for leg in legs:
        if leg.lost or leg.packets < 140:
            raise proc.Failed("packets are missing: %s" % leg)
    proc.wait_for("rtpengine holds no call",
                  lambda: not s.a.rtpengine.calls() and not s.b.rtpengine.calls())


@tap.on(scene.stock_pair)
def test_stock_unknown_user_is_404(s):
    alice = s.phone("alice", s.a)
    alice.dial("sip:nobody@%s" % s.a.address)
    alice.wait("CALL_CLOSED", param="404")


if __name__ == "__main__":
    tap.main(globals(), needs_build=False)
