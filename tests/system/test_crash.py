#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGKILL to each part in the middle of running calls; docs/failures.md is the table of what
must go on and what may end."""

import os
import random
import time

from rig import overlay, proc, scene, sipp, tap

CALLS = 50
RATE = 12       # calls a second until they are up: what is tested is not how many a second
KILLS = 200


def two():
    return overlay.Overlay(2)


class Calls:
    """CALLS running calls of sipp from a to b, and one of phones that can be heard."""

    def __init__(self, s, talk_ms, heard=True):
        self.s = s
        self.bob = s.phone("bob", s.b, seed=2, answer="auto")
        self.alice = s.phone("alice", s.a, seed=1)
        self.heard = heard
        users = ["u%d" % i for i in range(CALLS)]
        sipp.register_many(s.host("callee"), s.b.address, users)
        s.found(users[-1], s.a)
        proc.wait_for("all are found", lambda: all(s.a.gateway.lookup(u) for u in users), 10)
        self.uas = sipp.Sipp(s.host("callee"), sipp.answer_scenario(), calls=CALLS)
        # the first one is still up when the last one is
        self.uac = sipp.Sipp(s.host(), sipp.call_scenario(talk_ms + 1000 * CALLS // RATE),
                             s.a.address,
                             [("c%d" % i, u) for i, u in enumerate(users)], calls=CALLS, rate=RATE)
        s.found("bob", s.a)
        self.alice.dial("sip:bob@%s" % s.a.address)
        self.alice.wait("CALL_ESTABLISHED")
        proc.wait_for("%d calls are up" % CALLS, self.up, 20, 0.1)

    def up(self):
        return self.media() and \
            sum(1 for m in self.uac.messages() if m[1] == "sent" and
                m[2].startswith("ACK")) >= CALLS

    def media(self):
        """Every call, the phones' one too, is in both rtpengines."""
        return all(len(p.media_calls()) == CALLS + 1 for p in self.s.peers)

    def all_end_well(self):
        self.uac.finish(60)
        self.uas.finish(60)
        self.alice.hangup()
        self.bob.wait("CALL_CLOSED")
        if self.heard:
            scene.heard(self.alice, self.bob, 4)
            scene.heard(self.bob, self.alice, 4)
        self.s.quiet(60)


@tap.on(two)
@tap.limit(150)
def test_gateway_killed_running_calls_go_on(s):
    c = Calls(s, 6000)
    s.a.gateway.kill()
    s.b.gateway.kill()
    s.a.gateway.start()
    s.b.gateway.start()
    c.all_end_well()
    s.joined()
    s.found("u0", s.a, 10)


@tap.on(two)
@tap.limit(150)
def test_relay_killed_media_goes_on_and_bye_releases_it(s):
    c = Calls(s, 6000)
    for p in s.peers:
        p.relay.kill()
    if not c.media():
        raise proc.Failed("media ended with the relay")
    for p in s.peers:
        p.relay.start()
    c.all_end_well()


@tap.on(two)
@tap.limit(150)
def test_kamailio_killed_bye_after_its_restart_releases_the_media(s):
    c = Calls(s, 8000)
    for p in s.peers:
        p.kamailio.kill()
    if not c.media():
        raise proc.Failed("media ended with Kamailio")
    for p in s.peers:
        p.kamailio.start()
    c.all_end_well()


@tap.on(two)
@tap.limit(150)
def test_kamailio_killed_its_phones_are_called_as_before(s):
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    s.b.kamailio.kill()
    s.b.kamailio.start()
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address)     # bob has not registered again
    s.quiet()


@tap.on(two)
@tap.limit(150)
def test_kamailio_killed_without_its_contacts_its_users_are_480_elsewhere_not_404(s):
    s.phone("bob", s.b)
    s.found("bob", s.a)
    s.b.kamailio.kill()
    os.unlink(os.path.join(s.b.kamailio.dir, "contacts"))
    s.b.kamailio.start()
    time.sleep(0.5)
    uac = sipp.Sipp(s.host(), [sipp.invite(), sipp.recv(response=100, optional=True)] +
                    sipp.refused(480), s.a.address, [("alice", "bob")])
    uac.finish()


@tap.on(two)
@tap.limit(150)
def test_rtpengine_killed_signalling_goes_on(s):
    c = Calls(s, 6000, heard=False)
    for p in s.peers:
        p.rtpengine.kill()
    for p in s.peers:
        p.rtpengine.start()
    c.all_end_well()
    s.check()
    again = Calls(s, 6000)
    again.all_end_well()


@tap.on(two)
@tap.long
@tap.limit(3600)
def test_hundreds_of_kills_and_thousands_of_calls_leave_nothing(s):
    """Any part of either site, at any moment, again and again; whatever became of the calls,
    in the end nothing of them is left and new calls go through."""
    rnd = random.Random(1)
    users = ["u%d" % i for i in range(CALLS)]
    callers = [("c%d" % i, u) for i, u in enumerate(users)]
    for kill in range(KILLS):
        if kill % 20 == 0:
            sipp.register_many(s.host("callee"), s.b.address, users)
        uas = sipp.Sipp(s.host("callee"), sipp.answer_scenario(), calls=CALLS)
        uac = sipp.Sipp(s.host(), sipp.call_scenario(500), s.a.address, callers, calls=10,
                        rate=20)
        p = rnd.choice(s.peers)
        part = rnd.choice([p.gateway, p.relay, p.rtpengine, p.kamailio])
        time.sleep(rnd.uniform(0, 1))       # the moment is what is tested
        part.kill()
        part.start()
        if part is s.b.kamailio:
            sipp.register_many(s.host("callee"), s.b.address, users)
        try:
            uac.finish(60)
        except proc.Failed:
            pass        # it may have cost the calls of that moment
        uac.stop()
        uas.stop()
        s.check()
    s.quiet(120)
    s.joined()
    Calls(s, 5000).all_end_well()


if __name__ == "__main__":
    tap.main(globals())
