#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGKILL to each part in the middle of running calls; docs/failures.md is the table of what
must go on and what may end."""

import time

from rig import overlay, proc, sipp, tap

CALLS = 50


def two():
    return overlay.Overlay(2)


class Calls:
    """CALLS running calls of sipp from a to b."""

    def __init__(self, s, talk_ms):
        self.s = s
        users = ["u%d" % i for i in range(CALLS)]
        sipp.register_many(s.host("callee"), s.b.address, users)
        s.found(users[-1], s.a)
        proc.wait_for("all are found", lambda: all(s.a.gateway.lookup(u) for u in users), 10)
        self.uas = sipp.Sipp(s.host("callee"), sipp.answer_scenario(), calls=CALLS)
        self.uac = sipp.Sipp(s.host(), sipp.call_scenario(talk_ms), s.a.address,
                             [("c%d" % i, u) for i, u in enumerate(users)], calls=CALLS, rate=20)
        proc.wait_for("%d calls are up" % CALLS, self.up, 20, 0.1)

    def up(self):
        return all(len(p.media_calls()) == CALLS for p in self.s.peers) and \
            sum(1 for m in self.uac.messages() if m[1] == "sent" and
                m[2].startswith("ACK")) >= CALLS

    def all_end_well(self):
        self.uac.finish(60)
        self.uas.finish(60)
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
    if any(len(p.media_calls()) != CALLS for p in s.peers):
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
    if any(len(p.media_calls()) != CALLS for p in s.peers):
        raise proc.Failed("media ended with Kamailio")
    for p in s.peers:
        p.kamailio.start()
    c.all_end_well()


@tap.on(two)
@tap.limit(150)
def test_kamailio_killed_its_users_are_480_elsewhere_not_404(s):
    s.phone("bob", s.b)
    s.found("bob", s.a)
    s.b.kamailio.kill()
    s.b.kamailio.start()
    time.sleep(0.5)
    uac = sipp.Sipp(s.host(), [sipp.invite(), sipp.recv(response=100, optional=True)] +
                    sipp.refused(480), s.a.address, [("alice", "bob")])
    uac.finish()


@tap.on(two)
@tap.limit(150)
def test_rtpengine_killed_signalling_goes_on(s):
    c = Calls(s, 6000)
    for p in s.peers:
        p.rtpengine.kill()
    for p in s.peers:
        p.rtpengine.start()
    c.all_end_well()
    again = Calls(s, 6000)
    again.all_end_well()


if __name__ == "__main__":
    tap.main(globals())
