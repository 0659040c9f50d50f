#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""p2p_usrloc in a real Kamailio: who registers is published, whatever the gateway does."""

import re
import time

from rig import pace, proc, tap
from rig.solo import Solo, count, need, solo


@tap.on(solo)
def test_register_publishes_refresh_does_not_deregister_withdraws(s):
    s.sip.register("alice", instance="urn:uuid:1")
    s.published("alice")
    need(len(s.gw.users["alice"][2]) == 1, "instance hash: %r" % (s.gw.users["alice"],))
    before = count(s, "PUBLISH")
    for _ in range(5):
        s.sip.register("alice", instance="urn:uuid:1")
    s.sip.register("carol")       # what comes after the refreshes has been published...
    s.published("carol")
    need(count(s, "PUBLISH") == before + 1, "a refresh was published")
    s.sip.register("alice", expires=0, instance="urn:uuid:1")
    s.gone("alice")
    proc.wait_for("nothing left to withdraw", lambda: s.status()["withdrawn"] == 0)


@tap.on(solo)
def test_second_contact_publishes_only_a_new_instance(s):
    s.sip.register("dave", instance="urn:uuid:1", contact="sip:dave@127.0.0.1:7001")
    s.published("dave")
    s.sip.register("dave", instance="urn:uuid:2", contact="sip:dave@127.0.0.1:7002")
    proc.wait_for("two instances", lambda: len(s.gw.users["dave"][2]) == 2)
    before = s.gw.users["dave"][1]
    s.sip.register("dave", contact="sip:dave@127.0.0.1:7003")     # none: no news
    s.sip.register("dave", expires=0, contact="sip:dave@127.0.0.1:7003")
    s.sip.register("dave", expires=0, instance="urn:uuid:2", contact="sip:dave@127.0.0.1:7002")
    proc.wait_for("one instance", lambda: len(s.gw.users["dave"][2]) == 1)
    need(s.gw.users["dave"][1] > before, "the sequence did not grow")
    shown = s.text("p2p_usrloc.show", "dave")
    need("state: published" in shown, shown)


@tap.on(solo)
def test_expiry_withdraws(s):
    s.sip.register("erin", expires=1)
    s.published("erin")
    s.gone("erin", timeout=6)


@tap.on(solo)
def test_names_are_unescaped_and_lower_case(s):
    s.sip.register("F%72ANK")
    s.published("frank")
    s.sip.register("per%25cent")
    s.published("per%cent")
    s.sip.register("frank", expires=0, contact="sip:F%%72ANK@127.0.0.1:%d" % s.sip.port)
    s.gone("frank")


@tap.on(solo)
def test_table_of_another_name_is_published_too(s):
    s.sip.register("gina", headers=["X-Table: other"])
    s.published("gina")
    need("table: other" in s.text("p2p_usrloc.show", "gina"), "not in table other")


@tap.on(solo)
def test_list_is_paged_without_loss_or_repetition(s):
    s.sip.many("page%d" % i for i in range(120))
    s.published("page119")
    seen, cursor = [], "0"
    while True:
        page = s.text("p2p_usrloc.list", cursor, 50)
        seen += re.findall(r"name: (page\d+)", page)
        cursor = re.search(r"next: (\S+)", page).group(1)
        if cursor == "0":
            break
    need(sorted(seen) == sorted("page%d" % i for i in range(120)),
         "%d names, %d different" % (len(seen), len(set(seen))))


@tap.on(lambda: Solo(gateway=False))
def test_kamailio_starts_before_the_gateway(s):
    s.sip.register("early")
    need(s.status()["gateway"] == "away", "connected to what?")
    s.gw.start()
    s.published("early")
    s.in_step()
    need(s.gw.synced[-1][1] == 1, "SYNCED said %r" % (s.gw.synced,))
    index = [a[0] for _, a in s.gw.log]
    need(index.index("PUBLISH") < index.index("SYNCED"), "SYNCED came before PUBLISH")


@tap.on(solo)
@tap.limit(90)
def test_gateway_restarted_without_its_state_gets_500_users_again(s):
    s.sip.many("user%d" % i for i in range(500))
    proc.wait_for("500 users published", lambda: len(s.gw.users) >= 500)
    s.gw.stop()
    s.away()
    s.sip.register("user0", expires=0)
    s.sip.register("late")
    s.gw.forget()
    s.gw.epoch += 1
    start = time.monotonic()
    s.gw.start()
    s.published("late", timeout=5)
    proc.wait_for("500 users published again", lambda: len(s.gw.users) >= 500, 5)
    took = time.monotonic() - start
    s.in_step()
    tap.say("500 users published again in %.3f s" % took)
    need(pace.within(took, 5), "it took %.1f s" % took)
    need("user0" in s.gw.withdrawn, "the one who left meanwhile was not withdrawn")
    need("user0" not in s.gw.users, "the one who left meanwhile was published")


@tap.on(solo)
def test_lost_connection_is_made_up_for(s):
    s.sip.register("henry")
    s.published("henry")
    s.gw.drop_all()
    proc.wait_for("connected again",
                  lambda: s.stats()["connects"] >= 2 and s.status()["synced"] == "yes")
    s.sip.register("henry", expires=0)
    s.gone("henry")


def unanswered_withdrawal(s, user):
    """The gateway reads a WITHDRAW, and does nothing about it."""
    read = []
    s.sip.register(user)
    s.published(user)
    s.in_step()
    s.gw.do_withdraw = lambda state, argv: read.append(argv[1]) or b""
    s.sip.register(user, expires=0)
    proc.wait_for("WITHDRAW", lambda: read)
    need(read == [user] and user in s.gw.users, "%s %s" % (read, s.gw.users))


@tap.on(solo)
def test_gateway_dies_with_a_withdraw_unanswered(s):
    unanswered_withdrawal(s, "iris")
    s.gw.stop()
    s.away()
    del s.gw.do_withdraw
    s.gw.start()
    s.in_step()
    s.gone("iris")
    # and when only the connection was lost
    unanswered_withdrawal(s, "jack")
    del s.gw.do_withdraw
    s.gw.drop_all()
    s.gone("jack")
    # one who comes back meanwhile stays
    unanswered_withdrawal(s, "kate")
    s.gw.stop()
    s.away()
    del s.gw.do_withdraw
    s.sip.register("kate")
    s.gw.start()
    s.in_step()
    need("kate" in s.gw.users, "the one who came back was withdrawn")
    proc.wait_for("nothing left to withdraw", lambda: s.status()["withdrawn"] == 0)


@tap.on(solo)
@tap.limit(120)
def test_misbehaving_gateway_loses_nothing(s):
    lines = len(s.kam.proc.text().splitlines())
    for i, mode in enumerate(("silent", "garbage", "nonsense", "huge", "elements", "close",
                              "busy", "internal", "version", "slow", "stale")):
        began = time.monotonic()
        s.gw.mode = mode
        name = "bad%d" % i
        s.sip.register(name)
        if mode in ("silent", "garbage", "huge", "elements", "version"):
            if mode == "version":
                s.gw.drop_all()
            s.away(20)
        elif mode not in ("stale", "slow"):
            # it must have met the misbehaviour before it ends
            tries = count(s, "PUBLISH")
            proc.wait_for("PUBLISH tried", lambda t=tries: count(s, "PUBLISH") > t)
        s.sip.register("other%d" % i)
        s.gw.mode = "stale" if mode == "stale" else "good"
        s.published(name, "other%d" % i, timeout=20)
        tap.say("%s: %.1f s" % (mode, time.monotonic() - began))
    said = s.kam.proc.text().splitlines()[lines:]
    tap.say("%d lines logged" % len(said))
    need(len(said) < 120, "%d lines logged" % len(said))


@tap.on(solo)
def test_sync_command_publishes_all_again(s):
    s.sip.many("sync%d" % i for i in range(10))
    s.published("sync9")
    s.in_step()
    s.gw.forget()
    s.kam.rpc("p2p_usrloc.sync")
    proc.wait_for("10 users published again", lambda: len(s.gw.users) >= 10)
    proc.wait_for("SYNCED", lambda: s.gw.synced)


if __name__ == "__main__":
    tap.main(globals())
