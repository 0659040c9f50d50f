#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""p2p_usrloc goes on after a lost connection: what is told again, and what need not be."""

import time

from rig import proc, tap
from rig.solo import Solo, count, need


def resumed(s, users):
    """Lost and there again, with so many users: (seconds, commands that it took)."""
    proc.wait_for("all are published", lambda: len(s.gw.users) == users, 60)
    s.in_step()
    before, connects = count(s, "PUBLISH"), s.stats()["connects"]
    start = time.monotonic()
    s.gw.drop_all()
    proc.wait_for("connected again", lambda: s.stats()["connects"] == connects + 1)
    s.in_step()
    return time.monotonic() - start, count(s, "PUBLISH") - before


@tap.on(lambda: Solo())
def test_a_lost_connection_costs_what_changed_meanwhile(s):
    s.sip.many("same%d" % i for i in range(500))
    _, told = resumed(s, 500)
    need(told == 0, "%d were named again" % told)
    need(s.stats()["syncs_all"] == 1 and s.stats()["syncs_rest"] == 1, s.stats())
    # while it is away one comes, one goes, one gets another phone
    s.gw.away()
    s.away()
    s.sip.register("comes")
    s.sip.register("same7", expires=0)
    s.sip.register("same8", instance="urn:uuid:8", contact="sip:same8@127.0.0.1:7008")
    before = count(s, "PUBLISH"), count(s, "WITHDRAW")
    s.gw.start()
    s.published("comes")
    s.gone("same7")
    s.in_step()
    need(s.gw.users["same8"][2], "the phone was not told")
    need(s.stats()["syncs_all"] == 1 and s.stats()["syncs_rest"] == 2, s.stats())
    told = count(s, "PUBLISH") - before[0], count(s, "WITHDRAW") - before[1]
    need(told == (2, 1), "%d were published, %d withdrawn" % told)


@tap.on(lambda: Solo())
def test_what_was_on_its_way_is_told_again(s):
    s.sip.register("first")
    s.published("first")
    s.in_step()
    s.gw.mode = "silent"
    s.sip.many("way%d" % i for i in range(20))
    s.sip.register("first", expires=0)
    proc.wait_for("on their way", lambda: s.status()["publishing"] > 0)
    s.gw.drop_all()
    s.gw.mode = "good"
    s.published(*["way%d" % i for i in range(20)])
    s.gone("first")
    s.in_step()
    need(s.stats()["syncs_all"] == 1 and len(s.gw.users) == 20, s.stats())
    # another process of the gateway has to be told all, one that has lost something, too
    s.gw.stop()
    s.away()
    s.gw.forget()
    s.gw.start()
    s.published(*["way%d" % i for i in range(20)])
    s.in_step()
    need(s.stats()["syncs_all"] == 2, s.stats())
    for instance in s.gw.begun:
        s.gw.begun[instance] = 0
    s.gw.forget()
    s.gw.drop_all()
    s.published(*["way%d" % i for i in range(20)])
    s.in_step()
    need(s.stats()["syncs_all"] == 3, s.stats())


def cut_again_and_again(s, users, cuts):
    """All have to be named, and the connection is lost in the middle: each is named once, but for
    those whose answer was lost."""
    window = 64
    s.gw.stop()
    s.away()
    s.gw.forget()
    before, resumed_before = count(s, "PUBLISH"), s.stats()["syncs_rest"]
    s.gw.cut_after = users // (cuts + 1)
    s.gw.start()
    for n in range(cuts):
        proc.wait_for("cut off", lambda: s.gw.cut_after is None, 60, 0.005)
        if n + 1 < cuts:
            s.gw.cut_after = users // (cuts + 1)
    proc.wait_for("all are published", lambda: len(s.gw.users) == users, 120)
    s.in_step(30)
    told = count(s, "PUBLISH") - before
    tap.say("%d users, cut off %d times: %d commands" % (users, cuts, told))
    need(told <= users + cuts * window, "%d were told" % told)
    need(s.stats()["syncs_rest"] - resumed_before == cuts, s.stats())
    need(s.gw.synced[-1][1] == users, s.gw.synced[-1])


@tap.on(lambda: Solo())
def test_naming_all_goes_on_where_it_was(s):
    s.sip.many("cut%d" % i for i in range(1000))
    proc.wait_for("all are published", lambda: len(s.gw.users) == 1000, 60)
    cut_again_and_again(s, 1000, 3)


@tap.on(lambda: Solo(shm=512))
@tap.limit(600)
@tap.long
def test_a_hundred_thousand_users_and_lost_connections(s):
    n = 100000
    s.sip.many("user%d" % i for i in range(n))
    took, told = resumed(s, n)
    tap.say("connected again and in step after %.2f s, %d commands" % (took, told))
    need(told <= 64 and took < 5, "%d commands, %.1f s" % (told, took))
    cut_again_and_again(s, n, 5)


@tap.on(lambda: Solo())
def test_a_gateway_that_knows_nothing_of_runs(s):
    s.gw.stop()
    s.away()
    s.gw.run = None
    s.gw.start()
    s.sip.many("old%d" % i for i in range(50))
    s.in_step()
    connects = s.stats()["connects"]
    s.gw.drop_all()
    proc.wait_for("connected again", lambda: s.stats()["connects"] == connects + 1)
    s.in_step()
    need(s.stats()["syncs_rest"] == 0 and len(s.gw.users) == 50, s.stats())
    s.kam.rpc("p2p_usrloc.sync")
    all_named = s.stats()["syncs_all"]
    proc.wait_for("named again", lambda: s.stats()["syncs_all"] > all_named)


@tap.on(lambda: Solo(more='modparam("p2p_usrloc", "withdrawn_max", 3)\n'))
def test_who_left_beyond_withdrawn_max_is_told_by_naming_all_others(s):
    s.gw.mode = "silent"
    s.sip.many("left%d" % i for i in range(10))
    s.sip.register("stays")
    for i in range(10):
        s.sip.register("left%d" % i, expires=0)
    stats = s.stats()
    need(stats["withdrawn"] <= 3 and stats["withdrawals_left"] >= 7, stats)
    s.gw.drop_all()
    s.gw.mode = "good"
    s.in_step()
    # and while the gateway is there: it is in step, and all are named again
    left = s.stats()["withdrawals_left"]
    synced = len(s.gw.synced)
    s.sip.many("more%d" % i for i in range(10))
    s.published("more9")
    s.gw.mode = "busy"
    for i in range(10):
        s.sip.register("more%d" % i, expires=0)
    need(s.stats()["withdrawals_left"] > left, "nobody was left")
    s.gw.mode = "good"
    proc.wait_for("all are named again", lambda: len(s.gw.synced) > synced and
                  s.gw.synced[-1][1] == 1 and s.status()["synced"] == "yes", 15)
    proc.wait_for("told who left", lambda: s.stats()["withdrawn"] == 0)
    again = len(s.gw.synced)
    s.sip.register("calm")
    s.published("calm")
    need(len(s.gw.synced) == again, "named again for nothing")


if __name__ == "__main__":
    tap.main(globals())
