#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A phone that registers at another peer is over at the former one; no other is, and none for want
of a good reason. First a real Kamailio and a gateway that says what it is told, then an overlay."""

import time

from rig import overlay, proc, registrant, tap
from rig.solo import Solo, solo

HIT = "2001:21:aaaa::1"
PHONE = "urn:uuid:00000000-0000-1000-8000-00000000000a"
OTHER = "urn:uuid:00000000-0000-1000-8000-00000000000b"


def fnv(instance):
    h = 2166136261
    for c in instance.lower().encode():
        h = ((h ^ c) * 16777619) & 0xffffffff
    return "%08x" % (h or 1)


def without():
    return Solo(more='modparam("p2p_usrloc", "moves", 0)\n')


def register(s, user, instance, port):
    s.sip.register(user, instance=instance, contact="sip:%s@127.0.0.1:%d" % (user, port))


def contacts(s, user):
    return s.kam.contacts().get(user, [])


def moved(s):
    return s.stats()["moved"]


@tap.on(solo)
def test_only_the_phone_that_moved(s):
    register(s, "alice", PHONE, 7001)
    register(s, "alice", OTHER, 7002)
    proc.wait_for("both are published", lambda: len(s.gw.users.get("alice", (0, 0, []))[2]) == 2)
    s.gw.notify("moves", "%s %s alice" % (HIT, fnv(PHONE)))
    proc.wait_for("the smaller set is published", lambda: s.gw.users["alice"][2] == [fnv(OTHER)])
    proc.wait_for("usrloc has let it go", lambda: contacts(s, "alice") == ["sip:alice@127.0.0.1:7002"], 5)
    if moved(s) != 1 or not s.kam.proc.said("a phone of [alice] has registered at " + HIT):
        raise proc.Failed("not counted or not said: %r" % s.stats())
    # one that is not here, of a user that is not here
    s.gw.notify("moves", "%s %s alice" % (HIT, fnv("urn:uuid:c")))
    s.gw.notify("moves", "%s %s nobody" % (HIT, fnv(PHONE)))
    s.gw.notify("moves", "%s %s,%s alice" % (HIT, fnv(PHONE), fnv(OTHER)))
    s.gone("alice")


@tap.on(solo)
def test_what_makes_no_sense_is_not_believed(s):
    register(s, "bob", PHONE, 7001)
    s.published("bob")
    before = s.stats()["protocol_errors"]
    bad = ["", "bob", HIT, HIT + " bob", "x %s bob" % fnv(PHONE), "%s %s" % (HIT, fnv(PHONE)),
           "%s %s " % (HIT, fnv(PHONE)), "%s 00000000 bob" % HIT, "%s %s,bob" % (HIT, fnv(PHONE)),
           "%s %sbob" % (HIT, fnv(PHONE)), "%s %s bob" % (HIT, ",".join([fnv(PHONE)] * 9))]
    for text in bad:
        s.gw.notify("moves", text)
    # a user may be called like a message: names go over another channel
    s.gw.notify("users", "%s %s bob" % (HIT, fnv(PHONE)))
    proc.wait_for("all are refused", lambda: s.stats()["protocol_errors"] == before + len(bad))
    if not contacts(s, "bob") or "bob" not in s.gw.users:
        raise proc.Failed("bob is gone")


@tap.on(solo)
def test_no_ping_pong(s):
    for n in range(2):
        register(s, "carol", PHONE, 7001)
        s.published("carol")
        s.gw.notify("moves", "%s %s carol" % (HIT, fnv(PHONE)))
        s.gone("carol")
        proc.wait_for("counted", lambda n=n: s.stats()["moves_kept"] == 0)
    register(s, "carol", PHONE, 7001)
    s.published("carol")
    for _ in range(3):
        s.gw.notify("moves", "%s %s carol" % (HIT, fnv(PHONE)))
    proc.wait_for("it is kept", lambda: s.stats()["moves_kept"] == 3)
    if not contacts(s, "carol") or not s.kam.proc.said("goes to and fro"):
        raise proc.Failed("carol is gone, or nothing was said")


@tap.on(without)
def test_the_setting_turns_it_off(s):
    register(s, "dave", PHONE, 7001)
    s.published("dave")
    s.gw.notify("moves", "%s %s dave" % (HIT, fnv(PHONE)))
    register(s, "erin", PHONE, 7001)
    s.published("erin")
    if not contacts(s, "dave") or moved(s):
        raise proc.Failed("dave is gone")


# --- a real overlay -----------------------------------------------------------------------------

def two():
    return overlay.Overlay(2)


def a_ahead():
    def prepare(p):
        if p.name == "a":
            p.gateway.clock_s = 60
    return overlay.Overlay(2, prepare=prepare)


def move(s, user):
    """Registers at a, then at b: seconds until a has let it go."""
    at_a = registrant.Registrant(s.host(), s.a.address)
    at_b = registrant.Registrant(s.host("elsewhere"), s.b.address)
    at_a.register(user, instance=PHONE)
    at_a.register(user + "2", instance=PHONE)       # the same phone's other line stays
    s.found(user, s.b)
    s.found(user + "2", s.b)
    at_b.register(user + "2", instance=OTHER)       # though its user has another phone at b
    s.found(user + "2", s.a)
    at_b.register(user, instance=PHONE)
    start = time.monotonic()
    proc.wait_for("a has let it go", lambda: s.a.kamailio.rpc("p2p_usrloc.stats")["moved"] == 1, 10)
    took = time.monotonic() - start
    proc.wait_for("a serves it no longer", lambda: not s.a.serves(user) or next(
        u for u in s.a.gateway.users() if u["name"] == user)["desired"] == "gone")
    time.sleep(1)
    if s.b.kamailio.rpc("p2p_usrloc.stats")["moved"] or not s.b.kamailio.contacts().get(user):
        raise proc.Failed("b has let it go, too")
    if not s.a.kamailio.contacts().get(user + "2"):
        raise proc.Failed("the other line is gone")
    tap.say("over at a %.2f s after the 200 at b" % took)
    if took > 3:
        raise proc.Failed("it took %.1f s" % took)


@tap.on(two)
def test_registers_at_another_peer(s):
    move(s, "mover")


@tap.on(two)
def test_a_whole_network_of_phones_moves_at_once(s):
    at_a = registrant.Registrant(s.host(), s.a.address)
    at_b = registrant.Registrant(s.host("elsewhere"), s.b.address)
    users = ["crowd%d" % i for i in range(300)]
    for u in users:
        at_a.register(u, instance=PHONE)
    proc.wait_for("a has published them", lambda: s.a.gateway.unpublished() == 0, 20, 0.05)
    before = s.a.kamailio.rpc("p2p_usrloc.stats")["moved"]
    there = s.b.kamailio.rpc("p2p_usrloc.stats")["contacts"]
    for u in users:
        at_b.register(u, instance=PHONE)
    start = time.monotonic()
    proc.wait_for("a has let all go", lambda: s.a.kamailio.rpc("p2p_usrloc.stats")["moved"] - before == 300,
                  20, 0.05)
    tap.say("300 phones are over at a %.2f s after the last 200 at b" % (time.monotonic() - start))
    stats = s.b.kamailio.rpc("p2p_usrloc.stats")
    if stats["moved"] or stats["contacts"] - there != 300:
        raise proc.Failed("b has let some go, too: %r" % stats)


@tap.on(a_ahead)
def test_the_former_peers_clock_is_a_minute_ahead(s):
    move(s, "ahead")


if __name__ == "__main__":
    tap.main(globals())
