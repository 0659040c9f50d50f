#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig proves itself on stock parts: what fails here is not the fault of the overlay."""

import os
import subprocess
import time

from rig import pace, pcap, proc, scene, tap


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


def stopped(seconds):
    """This process is not run for so long, by nobody's fault but the machine's."""
    subprocess.run(["sh", "-c", "kill -STOP %d; sleep %s; kill -CONT %d" %
                    (os.getpid(), seconds, os.getpid())], check=True)


def test_time_that_the_machine_owes_does_not_count():
    begun = time.monotonic()
    time.sleep(0.3)
    took = time.monotonic() - begun
    if pace.within(took, 0.25) and pace.owed(begun) < 0.05:
        raise proc.Failed("what is slow by itself was excused")
    begun = time.monotonic()
    stopped(0.4)
    took = time.monotonic() - begun
    owed = pace.owed(begun)
    tap.say("%.3f s, of which %.3f s are the machine's" % (took, owed))
    if not 0.35 < owed <= took or not pace.within(took, 0.2):
        raise proc.Failed("%.3f s were excused of %.3f s" % (owed, took))


if __name__ == "__main__":
    tap.main(globals(), needs_build=False)
