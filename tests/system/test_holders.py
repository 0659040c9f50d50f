#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Users' records at the gateways that hold them: how soon they are there and gone, what is known while
gateways die and come back, while the network is split, and what a hostile member can do."""

import base64
import os
import random
import signal
import statistics
import threading
import time

from rig import holders, member, proc, resp, tap
from rig.pace import within


def eight():
    return holders.Holders(8)


def skewed():
    return holders.Holders(5, clocks=[(0, 60)])


def demand(holds, text, *args):
    if not holds:
        raise proc.Failed(text % args)


def say_times(what, ms):
    ms = sorted(ms)
    tap.say("%s: p50 %.1f, p99 %.1f, max %.1f ms (%d)" %
            (what, statistics.median(ms), ms[int(len(ms) * 0.99)], ms[-1], len(ms)))
    return ms[int(len(ms) * 0.99)]


def serves(s, i, out):
    """Is gateway i, and nobody else, who is named?"""
    return isinstance(out, list) and [c[0] for c in out] == [s.hits[i]]


def hits(s):
    s.hits = [g.status()["hit"] for g in s.gw]


class Asking:
    """Asks for users without end, from gateways that live, and keeps what it was told."""

    def __init__(self, s, from_whom, names, absent=(), deadline=2000):
        self.s, self.names, self.absent, self.deadline = s, names, list(absent), deadline
        self.from_whom = from_whom
        self.told = {"found": 0, "TIMEOUT": 0, "NOTFOUND": 0}
        self.nobody = {"found": 0, "TIMEOUT": 0, "NOTFOUND": 0}
        self.wrong, self.ms = [], []
        self.ended = False
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(2)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        for t in self.threads:
            t.join(30)

    def run(self, n):
        rnd, clients = random.Random(n), {}
        while not self.ended:
            i = rnd.choice(self.from_whom)
            try:
                if i not in clients:
                    clients[i] = self.s.client(self.s.gw[i], "asking-%d" % n)
                name = rnd.choice(self.names)
                ms, out = holders.ask(clients[i], name, self.deadline)
                self.ms.append(ms)
                self.told["found" if isinstance(out, list) else out] += 1
                if out == "NOTFOUND":
                    self.wrong.append((time.monotonic(), self.s.gw[i].name, name))
                if self.absent and rnd.random() < 0.2:
                    out = holders.ask(clients[i], rnd.choice(self.absent), self.deadline)[1]
                    self.nobody["found" if isinstance(out, list) else out] += 1
            except (OSError, KeyError):
                clients.pop(i, None)    # it was killed
        for c in clients.values():
            c.close()


@tap.on(eight)
def test_users_are_held_and_gone_in_no_time(s):
    hits(s)
    names = ["many%d" % n for n in range(2000)]
    begun = time.monotonic()
    s.publish(0, names)
    s.settled(0)
    took = time.monotonic() - begun
    tap.say("2,000 users are held after %.2f s" % took)
    demand(within(took, 4), "2,000 users were held after %.1f s only", took)
    for i in (1, 4, 7):
        for name, out in s.many(i, names):
            demand(serves(s, 0, out), "%s at %s: %s", name, s.gw[i].name, out)
    held = sum(s.number(i, "held_records") for i in range(8))
    demand(held == holders.HOLDERS * len(names), "%d copies of %d users", held, len(names))
    ms = []
    for n in range(100):
        name = "one%d" % n
        begun = time.monotonic()
        s.publish(1, [name])
        proc.wait_for("%s is found" % name, lambda name=name: isinstance(s.route(2, name, 200)[1], list),
                      5, 0.001)
        ms.append((time.monotonic() - begun) * 1000)
    demand(say_times("PUBLISH until it is found at another peer", ms) < 1000, "too late")
    begun = time.monotonic()
    s.withdraw(0, names)
    gone = [name for name, out in s.many(3, names) if isinstance(out, list)]
    s.settled(0)
    took = time.monotonic() - begun
    proc.wait_for("the last of %d is gone" % len(gone),
                  lambda: not [n for n, out in s.many(5, names) if out != "NOTFOUND"], 1, 0.05)
    tap.say("2,000 users are withdrawn after %.2f s" % took)


def requests(g):
    """By which it told holders."""
    return next(int(x.split()[1]) for x in g.ask("METRICS").splitlines()
                if x.startswith("p2psip_gateway_announces_total "))


@tap.on(eight)
def test_what_comes_together_is_told_together(s):
    """A request to a holder costs more than a record in it."""
    told = requests(s.gw[0])
    for n in range(10):
        s.publish(0, ["together%d-%d" % (n, k) for k in range(40)])
    s.settled(0)
    told = requests(s.gw[0]) - told
    demand(7 <= told <= 200, "400 users were told to seven others in %d requests", told)
    tap.say("400 users were told to seven others in %d requests" % told)


@tap.on(eight)
def test_who_does_not_exist_is_absent_soon(s):
    ms = []
    for n in range(300):
        t, out = s.route(n % 8, "nobody%d" % n)
        demand(out == "NOTFOUND", "nobody%d at %d: %s after %.0f ms", n, n % 8, out, t)
        ms.append(t)
    demand(say_times("absent", ms) < 300, "too late")


@tap.on(eight)
def test_nobody_is_absent_while_gateways_die_and_return(s):
    names = ["stays%d" % n for n in range(400)]
    s.publish(0, names)
    s.settled(0)
    with Asking(s, [1, 7], names, ["nobody%d" % n for n in range(100)]) as asking:
        for i in (2, 3, 4, 5, 6):
            before = len(asking.ms)
            s.kill(i)
            proc.wait_for("it goes on", lambda before=before: len(asking.ms) > before + 100, 20, 0.05)
            s.again(i)
            # the first things that it is asked, it knows or says that it does not
            for n in names[:20]:
                t, out = s.route(i, n, 3000)
                demand(isinstance(out, list), "%s at %s after its start: %s after %.0f ms", n,
                       s.gw[i].name, out, t)
            s.synced(i)
    tap.say("%r, %r of who is nobody, %d lookups" % (asking.told, asking.nobody, len(asking.ms)))
    say_times("meanwhile", asking.ms)
    demand(not asking.wrong, "absent, though registered: %r", asking.wrong[:5])
    demand(not asking.nobody["found"], "somebody who is nobody was found")
    demand(asking.told["found"] > 500, "only %r", asking.told)


@tap.on(eight)
def test_a_third_dies_at_once(s):
    names = ["left%d" % n for n in range(400)]
    s.publish(0, names)
    s.publish(6, ["dies%d" % n for n in range(50)])
    s.settled(0)
    s.settled(6)
    with Asking(s, [1, 2, 3, 4], names) as asking:
        proc.wait_for("it goes on", lambda: len(asking.ms) > 100, 20, 0.05)
        asking.ms.clear()
        for i in (5, 6, 7):
            s.kill(i)
        proc.wait_for("it goes on", lambda: len(asking.ms) > 1000, 40, 0.05)
    worst = max(asking.ms)
    say_times("while three of eight die", asking.ms)
    demand(not asking.wrong, "absent, though registered: %r", asking.wrong[:5])
    demand(worst < 1000 and not asking.told["TIMEOUT"], "a pause of %.0f ms, %r", worst, asking.told)
    # users of the dead, when it is known that they are: that they were there is said soon, though
    # most of a user's holders may be dead, too
    proc.wait_for("all know", lambda: all(s.number(i, "members_dead") == 3 for i in range(5)), 20,
                  0.05)
    asked = [s.route(1 + n % 4, "dies%d" % n, fresh=False) for n in range(50)]
    tap.say("users of the dead: " + ", ".join("%.0f" % ms for ms, _ in asked) + " ms")
    demand(not [out for _, out in asked if out == "NOTFOUND"], "absent, though registered")
    demand(sorted(ms for ms, _ in asked)[45] < 1000, "users of the dead are searched for too long")
    # users of the dead register elsewhere
    s.publish(1, ["dies0"])
    begun = time.monotonic()
    proc.wait_for("dies0 is found elsewhere",
                  lambda: [c for c in s.route(2, "dies0")[1] if c[0] == s.gw[1].status()["hit"]], 5, 0.01)
    tap.say("found elsewhere after %.0f ms" % ((time.monotonic() - begun) * 1000))
    for i in (5, 6, 7):
        s.again(i)
    s.joined()


@tap.on(skewed)
def test_a_move_is_told_to_who_watches(s):
    hits(s)
    moves = ["moves%d" % n for n in range(20)]
    s.publish(0, moves)     # its clock is a minute ahead
    s.settled(0)
    for n in moves:
        demand(serves(s, 0, s.route(2, n, fresh=False)[1]), "%s is not at the first", n)
    with resp.Client(s.gw[2].socket, 10) as sub:
        sub("SUBSCRIBE", "users")
        ms = []
        for n in moves:
            begun = time.monotonic()
            s.publish(1, [n])
            told = sub.reply()
            ms.append((time.monotonic() - begun) * 1000)
            demand(told[1:] == ["users", n], "%s, not %s", told, n)
        demand(say_times("a second peer is told to who watches", ms) < 1000, "too late")
        ms = []
        for n in moves:
            begun = time.monotonic()
            s.withdraw(0, [n])
            told = sub.reply()
            ms.append((time.monotonic() - begun) * 1000)
            demand(told[1:] == ["users", n], "%s, not %s", told, n)
        demand(say_times("that the first has it no more is told", ms) < 1000, "too late")
    # from the cache, without a question
    asked = s.number(2, "holder_queries")
    for n in moves:
        demand(serves(s, 1, s.route(2, n, fresh=False)[1]), "%s is not at the second", n)
    demand(s.number(2, "holder_queries") == asked, "holders were asked again for what is watched")


@tap.on(skewed)
def test_who_could_not_be_told_of_a_move_is_when_it_is_back(s):
    hits(s)
    names = ["away%d" % n for n in range(20)]
    s.publish(0, names)
    s.settled(0)
    for n in names:
        demand(serves(s, 0, s.route(2, n, fresh=False)[1]), "%s is not at the first", n)
    s.gw[2].proc.signal(signal.SIGSTOP)
    try:
        s.publish(1, names)
        s.settled(1)
        proc.wait_for("it is dead for the others", lambda: all(
            s.number(i, "members_dead") == 1 for i in (0, 1, 3, 4)), 30, 0.05)
    finally:
        s.gw[2].proc.signal(signal.SIGCONT)
    begun = time.monotonic()
    proc.wait_for("it knows of both peers", lambda: all(
        sorted(c[0] for c in s.route(2, n, fresh=False)[1]) == sorted(s.hits[:2]) for n in names),
        20, 0.05)
    tap.say("told %.1f s after it went on" % (time.monotonic() - begun))
    demand(all(s.number(i, "changes_lost") == 0 for i in range(5)), "changes were lost")


def emulated():
    return holders.Holders(4, emulate={"delay_ms": 1})


class Orders:
    """Asks gateways which records they hold, as a member, and says their orders."""

    def __init__(self, s):
        self.node = s.node("m", s.ovl)
        self.members = [member.Member(self.node, s.secret, g.node.addr4["ovl"]) for g in s.gw]

    def of(self, i, names):
        m = self.members[i]
        status, body = m.post("records/query", {"keys": [m.user_key(n).hex() for n in names]})
        demand(status == 200, "%d, %r", status, body)
        raw = [base64.urlsafe_b64decode(r + "==") for a in body["answers"] for r in a["records"]]
        return {r[22:42]: int.from_bytes(r[75:83], "big") for r in raw}

    def close(self):
        for m in self.members:
            m.close()


@tap.on(emulated)
def test_a_holder_that_says_late_that_it_has_a_later_record(s):
    """The majority has kept a record and its user counts as published when one holder, the slowest,
    says that it has a later one of the same peer: that peer signs again past it. (Of a former life, whose
    clock was a minute ahead and which only that holder could be told of.)"""
    names = ["late%d" % n for n in range(40)]
    orders = Orders(s)
    s.publish(0, names)
    s.settled(0)
    first = orders.of(3, names)
    demand(len(first) == len(names), "%d of %d are held", len(first), len(names))
    s.cut([0], [1, 2])
    try:
        s.kill(0)
        s.gw[0].clock_s = 60
        s.again(0)
        s.publish(0, names)
        proc.wait_for("the last has its later records", lambda: all(
            order > first[key] + 30000 for key, order in orders.of(3, names).items()), 40, 0.1)
        ahead = orders.of(3, names)
        s.kill(0)
    finally:
        s.cut([0], [1, 2], apart=False)
    for i in (1, 2):
        got = orders.of(i, names)
        demand(all(got[key] < ahead[key] for key in ahead), "others have the later records, too")
    for name in ("epoch", "users.journal"):
        os.unlink(os.path.join(s.gw[0].state, name))
    s.gw[0].clock_s = 0
    s.ovl.set("d", "a", delay_ms=500)
    said = len(s.gw[0].proc.text())
    s.again(0)
    s.joined()
    s.publish(0, names)
    s.settled(0)
    s.ovl.set("d", "a", delay_ms=1)

    def all_have_the_newest():
        got = [orders.of(i, names) for i in (1, 2, 3)]
        return got[0] == got[1] == got[2] and all(got[0][key] > ahead[key] for key in ahead)

    begun = time.monotonic()
    proc.wait_for("all have records that are later still", all_have_the_newest, 8, 0.05)
    tap.say("all have later ones still after %.1f s" % (time.monotonic() - begun))
    early = s.gw[0].proc.text()[said:].count("is signed again past a later one")
    tap.say("%d of %d users were published before the holder said so" % (len(names) - early, len(names)))
    demand(early < len(names) / 2, "%d were told of it before they counted as published", early)
    hits(s)
    for i in (1, 3):
        for name, out in s.many(i, names):
            demand(serves(s, 0, out), "%s at %s: %s", name, s.gw[i].name, out)
    orders.close()


@tap.on(eight)
def test_split_and_healed(s):
    hits(s)
    one, other = [0, 1, 2, 3], [4, 5, 6, 7]
    names = ["split%d" % n for n in range(100)]
    s.publish(0, names)
    s.settled(0)
    s.cut(one, other)
    try:
        # both sides have what was there, and nobody is absent of whom the other side may know
        for i in (1, 5):
            for name, out in s.many(i, names[:40], 3000):
                demand(isinstance(out, list), "%s at %s, cut off: %s", name, s.gw[i].name, out)
        s.publish(1, ["here%d" % n for n in range(50)])
        s.publish(5, ["there%d" % n for n in range(50)] + names[:50])
        proc.wait_for("the side goes on", lambda: isinstance(s.route(2, "here1")[1], list), 20, 0.05)
        proc.wait_for("the other side goes on", lambda: isinstance(s.route(6, "there1")[1], list), 20, 0.05)
        for i in (2, 6):
            out = s.route(i, "nobody", 300)[1]
            demand(out in ("TIMEOUT", "NOTFOUND"), "nobody: %s", out)
    finally:
        s.cut(one, other, apart=False)
    begun = time.monotonic()

    def healed():
        for i, prefix, at in ((6, "here%d", 1), (2, "there%d", 5)):
            for name, out in s.many(i, [prefix % n for n in range(50)], 1000):
                if not serves(s, at, out):
                    return False
        # of two the newest first
        return all(isinstance(out, list) and s.hits[5] in [c[0] for c in out]
                   for _, out in s.many(3, names[:50], 1000))

    proc.wait_for("both sides know all", healed, 5, 0.05)
    tap.say("both sides know all %.2f s after the network was whole again" % (time.monotonic() - begun))


@tap.on(eight)
def test_a_hostile_member(s):
    s.publish(0, ["alice"])
    s.settled(0)
    node = s.node("m", s.ovl)
    m = member.Member(node, s.secret, s.gw[1].node.addr4["ovl"])
    try:
        # garbage
        for body in (b"\0" * 60000, '{"records":[' + '"AA",' * 10000 + '"AA"]}', "[" * 30000, "{}"):
            status = m.post("records", body)[0]
            demand(status == 400, "garbage is answered %d", status)
        # more than anybody reads
        try:
            status = m.post("records", '{"records":["' + "A" * 200000 + '"]}')[0]
            demand(status >= 400, "200 kB are answered %d", status)
        except OSError:
            pass
        m.close()
        # other peers' records, without their signature
        key = m.user_key("alice")
        bad = member.b64(m.record(key, int(time.time() * 1000) + 60000, b"\2" + m.point[32:]))
        got = m.post("records", {"records": [bad] * 50})
        demand(got[0] == 200 and set(got[1]["results"]) == {"refused"}, "others' records: %r", got)
        got = m.post("changes", {"records": [bad] * 50})
        demand(got[0] == 200 and set(got[1]["results"]) <= {"refused", "unwanted"}, "others' changes: %r", got)
        for late in (m.record(key, int(time.time() * 1000) + 600000), m.record(key, 5)):
            demand(m.post("records", {"records": [member.b64(late)]})[1]["results"] == ["refused"],
                   "a record with a wrong date is kept")
        # a flood of its own
        kept, results = 0, set()
        for n in range(60):
            rows = [member.b64(m.record(m.user_key("flood%d-%d" % (n, k)))) for k in range(200)]
            got = m.post("records", {"records": rows})
            if got[0] == 200:
                kept += got[1]["results"].count("kept")
                results |= set(got[1]["results"])
        demand(kept == holders.PER_PEER and "full" in results, "%d of a flood are kept, %r", kept, results)
        tap.say("a flood of 12,000: %d are kept, %r" % (kept, results))
        # questions
        for n in range(30):
            m.post("records/query", {"watch_s": 3600, "keys": [m.user_key("w%d-%d" % (n, k)).hex()
                                                               for k in range(128)]})
        demand(isinstance(s.route(1, "alice")[1], list), "alice was taken away")
        demand(isinstance(s.route(2, "alice")[1], list), "alice was taken away")
        lines = [x for x in s.gw[1].proc.text().splitlines() if "announces user records that are refused" in x]
        demand(len(lines) == 1, "%d lines: %r", len(lines), lines[:3])
    finally:
        m.close()


def memory(g):
    """Bytes that are its own, resident."""
    with open("/proc/%d/smaps_rollup" % g.proc.pid, encoding="ascii") as f:
        return sum(int(x.split()[1]) * 1024 for x in f if x.startswith(("Private_Dirty", "Private_Clean")))


def cpu_s(g):
    with open("/proc/%d/stat" % g.proc.pid, encoding="ascii") as f:
        w = f.read().rsplit(")", 1)[1].split()
    return (int(w[11]) + int(w[12])) / os.sysconf("SC_CLK_TCK")


def four():
    s = holders.Holders(4, per_peer=200000)
    pace(s.gw[0], 1)    # the engine's share is weighed for itself
    return s


def pace(g, puts_per_s):
    """From now on so many records a second are put into the engine."""
    g.settings["dht"]["puts_per_s"] = puts_per_s
    g.write()
    g.ask("RELOAD")


def engine_share(s, count):
    """Bytes for each of count users of gateway 0, once the engine has all of them: OpenDHT keeps them here,
    as any node of so small an overlay stores all, and what it remembers of having put them."""
    before = [memory(g) for g in s.gw], s.number(1, "dht_values"), cpu_s(s.gw[0])
    begun = time.monotonic()
    pace(s.gw[0], 1000)
    proc.wait_for("the engine has all", lambda: s.number(0, "engine_waiting") == 0, 900, 1)
    took, cpu = time.monotonic() - begun, cpu_s(s.gw[0]) - before[2]
    pace(s.gw[0], 1)
    proc.wait_for("others store them all", lambda: all(
        s.number(i, "dht_values") >= count for i in (1, 2, 3)), 30, 0.2)
    puts = s.number(1, "dht_values") - before[1]
    grown = [(memory(g) - was) / puts for g, was in zip(s.gw, before[0])]
    tap.say("OpenDHT: %d records after %.0f s, %.2f ms of the gateway's CPU each; %.0f bytes for each here, "
            "%.0f where it is only stored" % (puts, took, 1000 * cpu / puts, grown[0],
                                              statistics.median(grown[1:])))
    return grown[0]


@tap.on(four)
@tap.limit(1200)
@tap.long
def test_a_hundred_thousand_users(s):
    count = 100000
    names = ["subscriber%06d" % n for n in range(count)]
    before = memory(s.gw[0])
    begun = time.monotonic()
    for at in range(0, count, 1000):
        s.publish(0, names[at:at + 1000])
    s.settled(0, 120)
    tap.say("100,000 users are held after %.1f s" % (time.monotonic() - begun))
    each = (memory(s.gw[0]) - before) / count
    # its cpu, when nothing happens
    time.sleep(20)
    idle = cpu_s(s.gw[0])
    time.sleep(20)
    idle = (cpu_s(s.gw[0]) - idle) / 20
    later = (memory(s.gw[0]) - before) / count
    tap.say("%.0f bytes each, %.0f later; %.1f %% of a core; %s" %
            (each, later, 100 * idle, {k: v for k, v in s.gw[0].status().items()
                                       if k in ("held_records", "engine_waiting", "dht_values", "dht_value_bytes")}))
    engine = engine_share(s, count)
    s.kill(0)
    begun = time.monotonic()
    s.again(0)
    started = time.monotonic() - begun
    for i in range(count // 100):
        out = s.route(1, names[i * 100])[1]
        demand(isinstance(out, list), "%s is %s", names[i * 100], out)
    s.settled(0, 120)
    tap.say("restarted in %.1f s, all are held again after %.1f s" % (started, time.monotonic() - begun))
    demand(started < 10, "the start takes %.1f s", started)
    demand(max(each, later) + engine <= 2048, "%.0f bytes for each user, and %.0f in the engine",
           max(each, later), engine)
    demand(idle < 0.05, "%.1f %% of a core for nothing", 100 * idle)


if __name__ == "__main__":
    tap.main(globals())
