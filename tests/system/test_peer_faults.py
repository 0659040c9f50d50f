#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that is dead, hangs, or is not what it should be: calls to its users fail in time and say
why, and calls to others do not notice, while 200 calls a minute go to it."""

import os
import signal
import statistics
import time

from rig import fake, overlay, proc, sipc, sipload, sipp, tap

DEADLINE_MS = 2000
USERS = 20              # at each of b and c
AT_B, AT_C = 0, 100     # the first ones' numbers
PORT_B, PORT_C = 5071, 5072
FAULTY_RATE = 200 / 60
RATE = 30               # calls a second to others
RATIO = 1.2


def three():
    s = overlay.Overlay(3)
    for p in s.peers:
        proc.wait_for("%s's Kamailio has named its users" % p.name,
                      lambda p=p: p.gateway.proc.said("has named its"), 10)
    callee = s.host("callee")
    for p, first, port in ((s.b, AT_B, PORT_B), (s.c, AT_C, PORT_C)):
        sipload.register(callee, port, p, first, USERS)
        for n in range(first, first + USERS):
            s.found(sipload.user(n), s.a, 10)
    return s


# --- ways to be faulty: each returns what puts an end to it -------------------------------------
def dead(s):
    """All its programs are gone; the host says so where it is asked over TCP."""
    parts = [s.b.kamailio, s.b.gateway, s.b.relay, s.b.rtpengine]
    for x in parts:
        x.kill()
    return lambda: None


def unplugged(s):
    """Nothing comes back at all."""
    s.b.node.link("ovl", False)
    return lambda: s.b.node.link("ovl", True)


def hanging(s):
    """Connections are accepted, by the kernel, and datagrams taken; nothing is said."""
    pids = [s.b.kamailio.proc.pid, s.b.gateway.proc.pid]
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)

    def end():
        for pid in pids:
            os.killpg(pid, signal.SIGCONT)
    return end


def impostor(s):
    """Another key, where its gateway should be."""
    s.b.gateway.stop()
    return fake.Gateway(s.b, fake.certificate("impostor"), "{}").stop


def rubbish(s):
    """The right key, and answers that are none."""
    s.b.gateway.stop()
    return fake.Gateway(s.b, fake.certificate("rubbish", s.b.gateway.state + "/identity.pem"),
                        '{"signalling":').stop


# --- calls --------------------------------------------------------------------------------------
def to_c(s, count, rate=RATE):
    return sipload.Calls(s.host(), s.a, s.host("callee"), PORT_C, AT_C, USERS, count, rate)


def to_b(s, count):
    return sipload.Calls(s.host(), s.a, s.host("callee"), PORT_B, AT_B, USERS, count, FAULTY_RATE,
                         timeout=DEADLINE_MS)


def all_answered(result):
    if result["ok"] != result["calls"] or result["retransmitted"]:
        raise proc.Failed("of %d calls to others %d went through, %d requests were sent again: %s"
                          % (result["calls"], result["ok"], result["retransmitted"],
                             result["responses"]))
    return result["target"]["ringing_ms"]["samples"]


def all_refused(result):
    codes = result["responses"]
    if set(codes) - {"480", "503"} or sum(codes.values()) != result["calls"]:
        raise proc.Failed("calls to the faulty peer's users end with %s within %d ms" %
                          (codes, DEADLINE_MS))


SDP = "\r\n".join(sipp.sdp().replace("[local_ip_type]", "4").replace("[media_ip_type]", "4").replace(
    "[local_ip]", "192.0.2.99").replace("[media_ip]", "192.0.2.99").replace(
        "[media_port]", "20000").split("\n"))


def refused(s, n):
    """One call to a user of b: milliseconds until it was refused, and the reason that was told."""
    uri = "sip:%s@%s" % (sipload.user(AT_B + n), s.a.address)
    with sipc.Udp(s.host(), 5090) as ua:
        invite = sipc.request("INVITE", uri, ua.via, "sip:alice@" + s.a.address, body=SDP, extra=[
            "Contact: <sip:alice@%s:%d>" % (ua.address, ua.port), "Content-Type: application/sdp"])
        t0 = time.monotonic()
        final = ua.ask(invite, s.a.address, 10)
        ms = (time.monotonic() - t0) * 1000
        asked = sipc.Message(invite)
        ua.send("\r\n".join(["ACK %s SIP/2.0" % uri, "Via: " + asked.get("Via"),
                             "From: " + final.get("From"), "To: " + final.get("To"),
                             "Call-ID: " + final.get("Call-ID"), "CSeq: 1 ACK",
                             "Max-Forwards: 70", "Content-Length: 0", "", ""]), s.a.address)
    if final.code not in (480, 503) or not final.get("Reason"):
        raise proc.Failed("neither 480 nor 503 with a Reason:\n" + final.text)
    if ms > DEADLINE_MS:
        raise proc.Failed("%s after %.0f ms" % (final.first, ms))
    return ms, "%s, Reason: %s" % (final.first, final.get("Reason"))


def fails_in_time(s, fault, opened):
    """opened: whether b was called before, so that a session with it is open."""
    if opened:
        first = to_b(s, 3)
        if first.finish(20)["ok"] != 3:
            raise proc.Failed("b's users cannot be called")
    normal = all_answered(to_c(s, 45).finish(20))
    end = fault(s)
    try:
        for n in range(3):
            ms, said = refused(s, 5 + n)
            tap.say("%.0f ms: %s" % (ms, said))
        load = to_b(s, 10)
        times = all_answered(to_c(s, 90).finish(30))
        all_refused(load.finish(20))
    finally:
        end()
    tap.say("others ring after %.2f ms, before that %.2f ms (medians)" %
            (statistics.median(times), statistics.median(normal)))


def dead_peer():
    return three()


@tap.on(dead_peer)
@tap.limit(90)
def test_dead_peer(s):
    fails_in_time(s, dead, True)


def unplugged_peer():
    return three()


@tap.on(unplugged_peer)
@tap.limit(90)
def test_peer_that_nothing_comes_back_from(s):
    fails_in_time(s, unplugged, False)


def hanging_peer():
    return three()


@tap.on(hanging_peer)
@tap.limit(90)
def test_hanging_peer(s):
    fails_in_time(s, hanging, False)


def hanging_peer_with_session():
    return three()


@tap.on(hanging_peer_with_session)
@tap.limit(90)
def test_hanging_peer_with_a_session(s):
    fails_in_time(s, hanging, True)


def other_key():
    return three()


@tap.on(other_key)
@tap.limit(90)
def test_impostor(s):
    fails_in_time(s, impostor, False)


def talker_of_rubbish():
    return three()


@tap.on(talker_of_rubbish)
@tap.limit(90)
def test_right_key_and_rubbish(s):
    fails_in_time(s, rubbish, False)


# --- how long others wait -----------------------------------------------------------------------
WINDOWS, WINDOW_S = 8, 10


def p99(times):
    return statistics.quantiles(times, n=100, method="inclusive")[-1]


def others_keep_their_p99(s, fault):
    """Windows with and without calls to the faulty peer, in turn: what else happens on the machine
    meets both alike."""
    all_answered(to_c(s, 100).finish(20))
    end = fault(s)
    times = {False: [], True: []}
    try:
        for w in range(2 * WINDOWS):
            busy = w % 4 in (1, 2)
            load = to_b(s, int(FAULTY_RATE * WINDOW_S)) if busy else None
            times[busy] += all_answered(to_c(s, RATE * WINDOW_S).finish(WINDOW_S + 20))
            if load:
                all_refused(load.finish(10))
            time.sleep(0.5)     # what belongs to a window is over
    finally:
        end()
    (n50, n99), (f50, f99) = ((statistics.median(times[x]), p99(times[x])) for x in (False, True))
    tap.say("%d calls each: p50 %.2f and %.2f ms, p99 %.2f and %.2f ms: %.2f times" %
            (len(times[True]), n50, f50, n99, f99, f99 / n99))
    if f99 > RATIO * n99:
        raise proc.Failed("p99 of calls to others is %.2f ms, without calls to the faulty peer "
                          "%.2f ms" % (f99, n99))


@tap.on(dead_peer)
@tap.long
@tap.limit(900)
def test_p99_with_a_dead_peer(s):
    others_keep_their_p99(s, dead)


@tap.on(unplugged_peer)
@tap.long
@tap.limit(900)
def test_p99_with_a_peer_that_nothing_comes_back_from(s):
    others_keep_their_p99(s, unplugged)


@tap.on(hanging_peer)
@tap.long
@tap.limit(900)
def test_p99_with_a_hanging_peer(s):
    others_keep_their_p99(s, hanging)


@tap.on(other_key)
@tap.long
@tap.limit(900)
def test_p99_with_an_impostor(s):
    others_keep_their_p99(s, impostor)


@tap.on(talker_of_rubbish)
@tap.long
@tap.limit(900)
def test_p99_with_right_key_and_rubbish(s):
    others_keep_their_p99(s, rubbish)


if __name__ == "__main__":
    tap.main(globals())
