#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where users are, as callers elsewhere meet it: a MESSAGE by way of one peer to a phone that is
registered at another either arrives or is refused, and what it is refused with is what counts.

The short form has four peers and small loads, the long one eight, 20 ms apart, and large ones."""

import contextlib
import random
import select
import statistics
import time

from rig import location, proc, redis, sipc, sipload, tap

RTT_MS = 20
LOOKUP_RATE = 300   # at which all of many users are looked up
KNOWN_S = 0.2       # after which a peer that has come back is called again


def near():
    return location.Location(4)


def far():
    return location.Location(4, RTT_MS)


def eight():
    return location.Location(8, RTT_MS, shm=256)


def eight_lossy():
    return location.Location(8, RTT_MS, 1, shm=256)


def skewed(n=3, ahead=60):
    """A's clock is a minute ahead."""
    def prepare(p):
        p.gateway.clock_s = ahead if p.name == "a" else 0
    return location.Location(n, extra=prepare)


def demand(holds, text, *args):
    if not holds:
        raise proc.Failed(text % args)


def figures(name, stats):
    tap.say("%s: p50 %.1f, p99 %.1f, max %.1f ms (%d)" %
            (name, stats.get("p50", 0), stats.get("p99", 0), stats.get("max", 0), stats["n"]))


# ---- new users, and those that leave ----

def say_costs(costs, users):
    tap.say("CPU, us a user: %s; %.2f cores busy" % (", ".join(
        "%s %.0f" % (name, s / users * 1e6) for name, s in costs.items() if name != "cores"),
        costs["cores"]))


def load(s, users, rate, **how):
    costs = s.costs(s.a)
    got = s.visible(s.a, s.peers[1:], 0, users, rate, **how)
    say_costs(costs.seconds(), users)
    tap.say("%d probed; first probes: %r; REGISTER: %r, %d sent again; %.1f s" %
            (got["probed"], got["first_probes"], got["responses"], got["retransmitted"],
             got["seconds"]))
    demand(got["registered"] == users, "%d of %d answered: %r", got["registered"], users,
           got["responses"])
    return got


def new_users(s, users, rate, every=1):
    """Each so many-th is looked for from its 200 on, by way of the others in turn; when all are
    registered, all of them."""
    got = load(s, users, rate, gap=50, timeout=10000, probe_every=every)
    figures("found", got["visible_ms"])
    figures("arrived", got["arrival_ms"])
    demand(not got["never"], "%d are not found", got["never"])
    demand(got["arrival_ms"]["p99"] <= 1000 and got["arrival_ms"]["max"] <= 3000,
           "a probe arrived after %.0f ms at p99, %.0f at most", got["arrival_ms"]["p99"],
           got["arrival_ms"]["max"])
    if every > 1:
        all_of_them(s, users, "200")


def leaving_users(s, users, rate, every=1):
    """As above, but that they are not routed."""
    got = load(s, users, rate, expires=0, cseq=2, gap=200, timeout=2000, probe_every=every)
    figures("still routed", got["gone_ms"])
    tap.say("all probes: %r" % got["all_probes"])
    demand(got["gone_ms"]["p99"] <= 1000, "routed until %.0f ms after, at p99",
           got["gone_ms"]["p99"])
    if every > 1:
        all_of_them(s, users, "404")


def all_of_them(s, users, code):
    """Each looked up through one of the other peers. Of whom nothing is known in time (the machine
    has too much else to do), or who is not asked for, once more: that is no wrong answer."""
    costs = s.costs(s.a)
    got = s.lookup(s.peers[1:], 0, users, users, LOOKUP_RATE, random=False)
    say_costs(costs.seconds(), users)
    figures("all looked up: arrived", got["arrival_ms"])
    figures("all looked up: refused", got["refusal_ms"])
    unknown = [x[1] for x in got["failures"] if x[3] in (0, 480, 503)]
    tap.say("all looked up: %r" % got["responses"])
    demand(set(got["responses"]) <= {code, "480", "503", "none"} and len(unknown) <= users / 100,
           "all looked up: %r; %r", got["responses"], got["failures"][:5])
    for n in unknown:
        again = s.lookup(s.peers[1:], n, 1, 1, 10, random=False)["responses"]
        demand(again == {code: 1}, "%s is looked up again: %r", sipload.user(n), again)


@tap.on(near)
def test_new_users_are_found_elsewhere(s):
    new_users(s, 900, 300)


@tap.on(near)
def test_users_who_left_are_not_routed(s):
    leaving_users(s, 300, 150)


@tap.on(eight)
@tap.limit(400)
@tap.long
def test_a_thousand_users_a_second_are_found_elsewhere_and_leave(s):
    new_users(s, 20000, 1000)
    leaving_users(s, 20000, 1000, every=40)


@tap.on(eight)
@tap.limit(200)
@tap.long
def test_users_who_left_eight_peers_are_not_routed(s):
    leaving_users(s, 2000, 100)


# ---- users that move ----

class Phones:
    """One phone a user, that can be at two addresses: port 5071 and port 5072 of a host."""

    def __init__(self, s):
        self.s = s
        self.at = [sipc.Udp(s.callee, port) for port in (5071, 5072)]
        self.caller = sipc.Udp(s.load, 5073)
        self.cseq = 0
        self.asked = {}     # Call-ID -> (branch, the places where it rang)

    def close(self):
        for x in self.at + [self.caller]:
            x.s.close()

    def register(self, user, peer, place, instance=None, expires=600):
        """When its 200 came."""
        udp, aor = self.at[place], "sip:%s@%s" % (user, location.DOMAIN)
        contact = "Contact: <sip:%s@%s:%d>;expires=%d" % (user, udp.address, udp.port, expires)
        if instance:
            contact += ';+sip.instance="<urn:uuid:%s>"' % instance
        self.cseq += 1
        r = udp.ask(sipc.request("REGISTER", "sip:" + location.DOMAIN, udp.via, aor, aor,
                                 [contact], cseq=self.cseq), peer.address)
        demand(r.code == 200, "REGISTER at %s: %s", peer.name, r.first)
        return time.monotonic()

    def call(self, user, through, within=4.0, places=()):
        """(the places it rang at, the final reply's code or 0). At these places it may ring after
        the first has answered, too: a MESSAGE that was forked is not cancelled."""
        uri = "sip:%s@%s" % (user, location.DOMAIN)
        text = sipc.request("MESSAGE", uri, self.caller.via, "sip:caller@" + location.DOMAIN,
                            extra=["Content-Type: text/plain"], body="hi")
        branch = sipc.Message(text).get("Via").partition("branch=")[2]
        self.caller.send(text, through.address)
        rang, code, end = set(), 0, time.monotonic() + within
        while time.monotonic() < end and not (code and rang.issuperset(places)):
            for place, udp in enumerate(self.at):
                with contextlib.suppress(BlockingIOError):
                    m = udp.receive(0.0)
                    if m and m.method == "MESSAGE":
                        rang.add(place)
                        udp.send(sipc.reply(m, 200, "OK"), *self._hop(m))
            with contextlib.suppress(BlockingIOError):
                m = self.caller.receive(0.005)
                if m and m.code >= 200 and branch in m.get("Via"):
                    code = m.code
                    end = min(end, time.monotonic() + 1)
        return rang, code

    def ask(self, user, through):
        """A call whose end answers() tells, by the branch that this returns."""
        uri = "sip:%s@%s" % (user, location.DOMAIN)
        text = sipc.request("MESSAGE", uri, self.caller.via, "sip:caller@" + location.DOMAIN,
                            extra=["Content-Type: text/plain"], body="hi")
        m = sipc.Message(text)
        branch = m.get("Via").partition("branch=")[2]
        self.asked[m.get("Call-ID")] = (branch, set())
        self.caller.send(text, through.address)
        return branch

    def answers(self, timeout):
        """[(branch, the places where it rang, code)] of what has ended since; phones answer."""
        out = []
        select.select([x.s for x in self.at + [self.caller]], [], [], timeout)
        for place, udp in enumerate(self.at):
            for m in self._received(udp):
                if m.method == "MESSAGE":
                    if m.get("Call-ID") in self.asked:
                        self.asked[m.get("Call-ID")][1].add(place)
                    udp.send(sipc.reply(m, 200, "OK"), *self._hop(m))
        for m in self._received(self.caller):
            if m.code >= 200 and m.get("Call-ID") in self.asked:
                out.append((*self.asked.pop(m.get("Call-ID")), m.code))
        return out

    @staticmethod
    def _received(udp):
        while True:
            try:
                m = udp.receive(0.0)
            except BlockingIOError:
                return
            if m is None:
                return
            yield m

    @staticmethod
    def _hop(m):
        host, _, port = m.get("Via").split(";")[0].split()[1].partition(":")
        return host, int(port or 5060)


def moving_users(s, users, instance, prefix):
    """Each registers at A and is called through C, registers at B, and is called through C a second
    after that 200."""
    phones, wrong, both = Phones(s), [], 0
    try:
        names = ["%s%03d" % (prefix, i) for i in range(users)]
        for i, name in enumerate(names):
            uuid = "00000000-0000-4000-8000-%012x" % i if instance else None
            phones.register(name, s.a, 0, uuid)
        time.sleep(0.5)
        for name in names:
            rang, code = phones.call(name, s.c)
            demand(rang == {0} and code == 200, "before it moved, %s rang at %r: %d", name, rang,
                   code)
        moved = {}
        for i, name in enumerate(names):
            uuid = "00000000-0000-4000-8000-%012x" % i if instance else None
            moved[name] = phones.register(name, s.b, 1, uuid)
        for name in names:
            # the second is what is tested
            time.sleep(max(0, moved[name] + 1 - time.monotonic()))
            rang, code = phones.call(name, s.c, places={1})
            both += rang == {0, 1}
            if 1 not in rang or (instance and 0 in rang):
                wrong.append((name, sorted(rang), code))
    finally:
        phones.close()
    tap.say("%d of %d rang at both" % (both, users))
    demand(not wrong, "%d of %d did not ring where they are: %r", len(wrong), users, wrong[:5])


@tap.on(near)
def test_a_user_who_moved_rings_where_he_is(s):
    moving_users(s, 20, True, "mover")


@tap.on(near)
def test_a_second_phone_elsewhere_rings_too(s):
    moving_users(s, 10, False, "second")


@tap.on(skewed)
def test_a_user_who_moved_from_a_clock_ahead_rings_where_he_is(s):
    moving_users(s, 20, True, "skewed")


# ---- users that there are not ----

def missing_users(s, count, rate):
    got = s.lookup(s.peers, 700000, count, count, rate, random=False, timeout=8000)
    figures("refused", got["refusal_ms"])
    tap.say("answers: %r" % got["responses"])
    demand(got["responses"] == {"404": count}, "users that do not exist: %r", got["responses"])
    demand(got["refusal_ms"]["p99"] <= 300, "404 after %.0f ms at p99", got["refusal_ms"]["p99"])


@tap.on(far)
def test_users_who_do_not_exist_are_404(s):
    missing_users(s, 400, 100)


@tap.on(eight_lossy)
@tap.limit(120)
@tap.long
def test_users_who_do_not_exist_are_404_with_loss(s):
    missing_users(s, 4000, 100)


# ---- peers that die and come back ----

class Homes:
    """Users in blocks, one a peer: whose they are, and when who was dead."""

    def __init__(self, s, each):
        self.s, self.each = s, each
        self.dead = {p.name: [] for p in s.peers}      # [[from, until], ...] by the wall clock
        for i, p in enumerate(s.peers):
            s.register(p, i * each, each)
        for p in s.peers:
            s.settled(0, each * len(s.peers), [p])

    def home(self, user):
        return self.s.peers[user // self.each]

    def kill(self, p, **what):
        self.dead[p.name].append([time.time(), float("inf")])
        location.kill(p, **what)

    def up(self, p, users_return=True, **what):
        """users_return: they are there again once it runs."""
        location.up(p, **what)
        if users_return:
            self.dead[p.name][-1][1] = time.time()

    def was_dead(self, p, at, ms, back_s=0):
        """At any time from when the probe was sent until its answer; or it had come back less than
        back_s before."""
        return any(a <= at + ms / 1000 and at <= b + back_s for a, b in self.dead[p.name])

    def judge(self, failures, peers):
        """(failures of users of living peers, through living peers that knew that they live; 404s
        for users of living peers; 404s for users of dead ones)"""
        lost, false, dead404 = [], [], []
        for at, user, way, status, ms in failures:
            home, through = self.home(user), peers[way]
            what = (round(at, 2), user, home.name, through.name, status, round(ms))
            if self.was_dead(home, at, ms):
                if status == 404:
                    dead404.append(what)
                continue
            if status == 404:
                false.append(what)
            if not self.was_dead(through, at, ms) and not self.was_dead(home, at, ms, KNOWN_S):
                lost.append(what)
        return lost, false, dead404


def lookups_while_peers_die(s, each, count, rate, down_s, between_s):
    homes = Homes(s, each)
    load = s.lookup(s.peers, 0, each * len(s.peers), count, rate, wait=False, timeout=8000,
                    active=5000)
    end, kills = time.monotonic() + count / rate, 0
    for p in s.peers[1:] * 1000:
        if time.monotonic() > end - down_s - between_s - 2:
            break
        time.sleep(between_s)
        homes.kill(p)
        kills += 1
        time.sleep(down_s)
        homes.up(p)
    got = load.finish(count / rate + 90)
    lost, false, dead = homes.judge(got["failures"], s.peers)
    figures("arrived", got["arrival_ms"])
    tap.say("%d lookups, %d kills: %r; users of living peers through living ones: %d not reached "
            "%r; 404 for users of living peers: %d %r; for users of dead ones: %d" %
            (count, kills, got["responses"], len(lost), lost[:4], len(false), false[:4],
             len(dead)))
    demand(got["ended"] == count and not got["refused"], "only %d of %d ended", got["ended"], count)
    demand(not false, "404 for users of living peers: %r", false[:10])
    demand(not dead, "404 for users whose peer was dead: %r", dead[:10])
    demand(len(lost) * 1000 <= count, "%d of %d users of living peers were not reached: %r",
           len(lost), count, lost[:10])


@tap.on(far)
def test_no_404_while_peers_die_and_return(s):
    lookups_while_peers_die(s, 50, 2400, 200, 1, 1)


@tap.on(eight_lossy)
@tap.limit(900)
@tap.long
def test_a_hundred_thousand_lookups_while_peers_die_and_return(s):
    lookups_while_peers_die(s, 200, 100000, 400, 3, 5)


def a_third_dies(s, each, dying, rate, gap):
    """Calls to users of the others go on; those of the dead are refused, and found again where they
    register next, at that rate, and are called every `gap` ms until then."""
    homes = Homes(s, each)
    alive, dead = s.peers[:-dying], s.peers[-dying:]
    n, count = each * len(alive), 6 * rate
    load = s.lookup(alive, 0, each * len(s.peers), count, rate, wait=False, timeout=8000)
    time.sleep(1)
    for p in dead:
        homes.kill(p)
    at = time.time()
    got = load.finish(60)
    figures("arrived", got["arrival_ms"])
    others = [x for x in got["failures"] if x[1] < n]
    refused = {True: [], False: []}     # asked for after the first two seconds or not
    for sent, user, _, status, ms in got["failures"]:
        if user >= n:
            refused[sent > at + 2].append((status, ms))
    slow = [(round(x[0] - at, 2), x[1], x[2], x[3], round(x[4])) for x in got["failures"]
            if x[1] >= n and x[0] > at + 2 and x[4] > 300]
    if slow:
        tap.say("slowly refused (seconds after, user, through, code, ms): %r" % slow[:20])
    for later, what in refused.items():
        tap.say("users of the dead, %s: %r, p50 %.0f, at most %.0f ms" %
                ("later" if later else "at first", counted(x for x, _ in what),
                 statistics.median([ms for _, ms in what] or [0]), max([ms for _, ms in what] or [0])))
    demand(not others, "users of the others: %r", others[:5])
    demand(got["arrival_ms"]["max"] <= 1000, "a pause of %.0f ms", got["arrival_ms"]["max"])
    wrong = [x for x in refused[True] + refused[False] if x[0] not in (480, 503)]
    demand(not wrong, "users of the dead: %r", wrong[:5])
    # at once: the first ones too, who find out that their peer's Kamailio is no more (a peer that
    # is silent costs them 1.5 s)
    early = sorted(ms for _, ms in refused[False])
    demand(early and statistics.median(early) <= 300 and early[len(early) * 9 // 10] <= 700,
           "users of the dead are refused after %.0f ms at first", statistics.median(early or [0]))
    late = sorted(ms for _, ms in refused[True])
    demand(late and late[len(late) * 99 // 100] <= 300,
           "users of the dead are refused after %.0f ms", max(late or [0]))
    again = s.visible(s.a, alive[1:], n, each * dying, rate, gap=gap, timeout=5000, cseq=5)
    figures("of the dead, registered elsewhere: found", again["visible_ms"])
    demand(not again["never"] and again["visible_ms"]["max"] <= 1000, "%d are not found, or late",
           again["never"])
    for p in dead:
        homes.up(p)
    s.joined()


def counted(values):
    out = {}
    for v in values:
        out[v] = out.get(v, 0) + 1
    return out


@tap.on(far)
def test_a_quarter_of_the_peers_dies_at_once(s):
    a_third_dies(s, 50, 1, 100, 100)


@tap.on(eight)
@tap.limit(180)
@tap.long
def test_a_third_of_the_peers_dies_at_once(s):
    a_third_dies(s, 200, 3, 200, 50)


# ---- parts of a serving peer that die ----

def refusals_while_parts_die(s, users, rate, kills, seed=2):
    """Its users are called while its Kamailio, its gateway or both are killed and started again: its
    callers hear that it is out of service, and nothing else."""
    dice = random.Random(seed)
    parts = [(True, False), (False, True), (True, True)]
    first = 5000
    s.register(s.a, first, users)
    s.settled(first, users, s.peers[1:])
    seconds = kills * 1.5 + 2
    load = s.lookup(s.peers[1:], first, users, int(seconds * rate), rate, wait=False, timeout=8000)
    for n in range(kills):
        time.sleep(dice.uniform(0.3, 0.6))
        what = parts[n % len(parts)]
        location.kill(s.a, *what)
        time.sleep(dice.uniform(0.0, 0.3))
        location.up(s.a, *what)
    got = load.finish(seconds + 60)
    tap.say("%d kills: %r" % (kills, got["responses"]))
    demand(not set(got["responses"]) - {"200", "480", "503"}, "callers were told %r",
           got["responses"])
    demand(got["arrived"] * 3 > got["ended"], "only %d of %d arrived", got["arrived"], got["ended"])
    s.settled(first, users, s.peers[1:], 5)


@tap.on(far)
def test_callers_hear_of_503_only_while_parts_of_a_peer_die(s):
    refusals_while_parts_die(s, 100, 200, 6)


# ---- SIGKILL under load ----

def acknowledged(got):
    return [u for a, b in got["acknowledged"] for u in range(a, b + 1)]


def kills_under_load(s, rounds, users, rate, kills, confirmed, seed=1):
    """Registrations at A while its parts are killed, a tenth of them probed through the others from
    their 200 on. Whoever had a 200 is found when all is up again; confirmed: and is at no time said
    not to exist. Each round's users leave at its end."""
    dice = random.Random(seed)
    missing, told, made, slowest = [], 0, 0, 0
    windows, never, probes, answers = [], 0, {}, {}
    probed = users // 10
    for n in range(rounds):
        first = n * users
        load = s.register(s.a, first, users - probed, rate * 9 // 10, wait=False, acknowledged=True,
                          timeout=20000)
        seen = s.visible(s.a, s.peers[1:], first + users - probed, probed, rate // 10, wait=False,
                         gap=50, timeout=20000, samples=True)
        for _ in range(kills):
            time.sleep(dice.uniform(0.05, users / rate / kills))
            what = dice.choice([(True, False), (False, True), (True, True)])
            location.kill(s.a, *what)
            location.up(s.a, *what)
            made += 1
        done = load.finish(users / rate + 60)
        acked = acknowledged(done)
        told += len(acked)
        demand(acked, "nobody was registered in round %d: %r", n, done["responses"])
        seen = seen.finish(users / rate + 60)       # the lookups are answered at the same place
        wanted, began = set(acked), time.monotonic()
        while wanted and time.monotonic() - began < 20:
            got = s.lookup(s.peers[1:], first, users, users, 1000, random=False, timeout=4000)
            refused = {x[1] for x in got["failures"]}
            wanted &= refused
        slowest = max(slowest, time.monotonic() - began)
        missing += sorted(wanted)
        windows += seen["visible_ms"].get("samples", [])
        never += seen["never"]
        told += seen["registered"]
        count_into(answers, done["responses"])
        count_into(answers, seen["responses"])
        count_into(probes, seen["all_probes"])
        s.register(s.a, first, users, 1500, expires=0, cseq=1000, seed="leave%d" % first)
    windows.sort()
    tap.say("%d kills, %d acknowledged of %d (%r), %d missing; all others found within %.1f s" %
            (made, told, rounds * users, answers, len(missing), slowest))
    tap.say("of %d the first probe that arrived was sent so long after the 200: p50 %.0f, p99 %.0f, "
            "at most %.0f ms; probes: %r" % (len(windows), windows[len(windows) // 2],
                                             windows[len(windows) * 99 // 100], windows[-1], probes))
    demand(not missing and not never, "%d of %d acknowledged registrations are lost: %r",
           len(missing) + never, told, missing[:10])
    demand(not confirmed or not probes.get("404"), "404 after a confirmed 200: %r", probes)


def count_into(total, counts):
    for k, v in counts.items():
        total[k] = total.get(k, 0) + v


# a thousand lookups a second at one peer, each a transaction for some seconds
def roomy():
    return location.Location(4, shm=256)


def confirming():
    return location.Location(
        4, shm=256, extra=lambda p: p.kamailio.defines.append('P2P_PUBLISH="confirmed"'))


@tap.on(roomy)
@tap.limit(90)
def test_no_acknowledged_registration_is_lost_when_its_peer_is_killed(s):
    kills_under_load(s, 1, 1500, 300, 3, False)


@tap.on(confirming)
@tap.limit(90)
def test_no_confirmed_registration_is_lost_when_its_peer_is_killed(s):
    kills_under_load(s, 1, 1500, 300, 3, True)


@tap.on(roomy)
@tap.limit(3000)
@tap.long
def test_no_acknowledged_registration_is_lost_in_200_kills(s):
    kills_under_load(s, 20, 5000, 500, 10, False)


@tap.on(confirming)
@tap.limit(3000)
@tap.long
def test_no_confirmed_registration_is_lost_in_200_kills(s):
    kills_under_load(s, 20, 5000, 500, 10, True)


# ---- the network in two ----

class Changed:
    """Users whose phones register, move and leave, and who asks for them through many peers at once:
    each has a place 0 or 1 where its phone is now, or None."""

    AGAIN_S = 0.2       # after an answer that is not the one
    RATE = 500          # questions a second, all in all

    def __init__(self, s, phones):
        self.s, self.phones = s, phones
        self.now = {}

    def register(self, users, peer, place, expires=600):
        """The phones of these users, all at once."""
        for user in users:
            self.phones.register(user, peer, place, self._instance(user), expires)
            self.now[user] = place if expires else None

    @staticmethod
    def _instance(user):
        return "00000000-0000-4000-8000-%s" % user.encode().hex().zfill(12)[-12:]

    def right(self, user, rang, code):
        place = self.now[user]
        if place is None:
            return not rang and code in (404, 480)
        return rang == {place} and code == 200

    def settle(self, peers, since, within):
        """All are asked for through all of these peers, at once, each until its answer is the newest
        registration; when the last one was, in seconds after since, and what was wrong until when."""
        waiting = [(since, u, p) for u in self.now for p in peers]
        random.Random(3).shuffle(waiting)
        asked, wrong, right, began = {}, {}, 0, time.monotonic()
        last, paced = began, began
        while waiting or asked:
            now = time.monotonic()
            if now > since + within:
                break
            while waiting and waiting[0][0] <= now and paced <= now:
                _, user, peer = waiting.pop(0)
                paced = max(paced, now - 0.1) + 1 / self.RATE
                asked[self.phones.ask(user, peer)] = (user, peer)
            for branch, rang, code in self.phones.answers(0.002):
                if branch not in asked:
                    continue
                user, peer = asked.pop(branch)
                last = time.monotonic()
                if self.right(user, rang, code):
                    right += 1
                else:
                    wrong.setdefault((user, peer.name), []).append(
                        (round(last - since, 2), sorted(rang), code))
                    waiting.append((last + self.AGAIN_S, user, peer))
        left = [(u, p.name) for _, u, p in waiting] + [(u, p.name) for u, p in asked.values()]
        return last - since, right, wrong, left


def split_and_healed(s, each, split_s):
    """each: users of each peer, as many new ones on either side, and half as many who move to the other
    side or leave."""
    homes = Homes(s, each)
    half = len(s.peers) // 2
    left, right = s.peers[:half], s.peers[half:]
    n = each * len(s.peers)

    def all_pairs(do):
        for x in left:
            for y in right:
                do(x.name, y.name)
                do(y.name, x.name)
    phones = Phones(s)
    changed = Changed(s, phones)
    try:
        movers = ["mover%03d" % i for i in range(each // 2 or 1)]
        gone = ["gone%03d" % i for i in range(each // 2 or 1)]
        for i, user in enumerate(movers + gone):
            changed.register([user], s.peers[i % half], 0)
        changed.settle(s.peers, time.monotonic(), 20)       # all have them in their caches
        all_pairs(s.ovl.down)
        began = time.monotonic()
        # each side goes on with what it has: its own users, and new ones
        s.register(left[0], n, each)
        s.register(right[0], n + each, each)
        for i, user in enumerate(movers):
            changed.register([user], right[i % half], 1)
        for i, user in enumerate(gone):
            changed.register([user], s.peers[(len(movers) + i) % half], 0, 0)
        changed.register(["newl%03d" % i for i in range(each // 2 or 1)], left[-1], 0)
        changed.register(["newr%03d" % i for i in range(each // 2 or 1)], right[-1], 1)
        answers = {}
        while True:
            for side, mine in ((left, range(half)), (right, range(half, len(s.peers)))):
                got = s.lookup(side, mine[0] * each, each * half, 200, 200, timeout=8000)
                demand(got["arrived"] == 200, "a side does not reach its own: %r",
                       got["responses"])
                there = s.lookup(side, (n - each * half) if side is left else 0, each * half, 50,
                                 100, timeout=8000)
                for code, count in there["responses"].items():
                    answers[code] = answers.get(code, 0) + count
            if time.monotonic() - began > split_s:
                break
        new = [s.lookup(side, u, each, each, 200, random=False, timeout=8000)
               for side, u in ((left[1:], n), (right[1:], n + each))]
        tap.say("users of the other side: %r; new ones: %r" % (answers,
                                                              [x["responses"] for x in new]))
        demand("404" not in answers, "404 for users of the other side: %r", answers)
        for x in new:
            demand(x["arrived"] == each, "new users of the own side: %r", x["responses"])
        all_pairs(s.ovl.up)
        healed, at = time.monotonic(), time.time()
        took, met, wrong, still = changed.settle(s.peers, healed, 15)
        tap.say("healed at %.3f: %d users that changed, through each of %d peers: all as they were "
                "registered last after %.1f s; %d were asked for more than once, the last:" %
                (at % 1000, len(changed.now), len(s.peers), took, len(wrong)))
        for who, what in sorted(wrong.items(), key=lambda x: x[1][-1])[-8:]:
            tap.say("  %s through %s: %r" % (*who, what[-6:]))
        demand(not still, "15 s after healing %d are not found where they are: %r", len(still),
               still[:8])
        demand(met == len(changed.now) * len(s.peers), "%d of all were right", met)
        demand(took <= 5, "converged %.1f s after healing", took)
        # and the users who did not change
        for p in s.peers:
            s.settled(0, n + 2 * each, [p], 5)
    finally:
        phones.close()
    del homes


@tap.on(far)
def test_a_split_network_goes_on_and_converges(s):
    split_and_healed(s, 10, 2)


@tap.on(eight)
@tap.limit(240)
@tap.long
def test_eight_peers_split_for_a_minute_converge(s):
    split_and_healed(s, 30, 60)


# ---- many users at one gateway ----

def many_users(s, users, rate, bytes_max, start_max_s):
    before = location.memory(s.a.gateway.proc)
    s.register(s.a, 0, users, rate)
    proc.wait_for("all are published", lambda: not s.a.gateway.unpublished(), 120, 0.2)
    time.sleep(1)
    each = (location.memory(s.a.gateway.proc) - before) / users
    was = cpu_s = location.cpu_s(s.a.gateway.proc)
    time.sleep(10)      # what an idle gateway costs is what is measured
    cpu_s = (location.cpu_s(s.a.gateway.proc) - was) / 10
    s.a.gateway.kill()
    began = time.monotonic()
    s.a.gateway.start()
    proc.wait_for("all its users are there again", lambda: users_there(s.a) >= users, 120, 0.05)
    there = time.monotonic() - began
    sample = s.lookup(s.peers[1:], 0, users, 200, 100, timeout=8000)
    tap.say("%d users: %.0f bytes each, %.1f%% of a core when idle, after a restart there in %.1f s;"
            " lookups then: %r" % (users, each, 100 * cpu_s, there, sample["responses"]))
    demand(sample["arrived"] == 200, "after the restart: %r", sample["responses"])
    demand(each <= bytes_max, "%.0f bytes a user", each)
    demand(there <= start_max_s, "%.1f s", there)
    demand(cpu_s <= 0.05, "%.1f%% of a core", 100 * cpu_s)


def users_there(p):
    return int(p.gateway.status()["users_claimed"])


def two():
    return location.Location(2, shm=512)


@tap.on(near)
@tap.long
def test_a_gateway_with_5000_users(s):
    many_users(s, 5000, 1000, 2048 * 1.5, 2)


@tap.on(two)
@tap.limit(600)
@tap.long
def test_a_gateway_with_100000_users(s):
    many_users(s, 100000, 1500, 2048, 10)


# ---- an existing Redis Cluster in place of the embedded engine ----

def clustered(holders):
    redis.wanted()
    s = location.Location(4, start=False, backend="redis",
                          extra=lambda p: p.gateway.settings["overlay"].update(holders=holders))
    s.redis = redis.Cluster(s.node("redis", s.ovl)).start()
    for p in s.peers:
        redis.use(p, "redis", s.redis)
    s.begin()
    return s


def cluster_behind():
    """The gateways hold the users' records, and the Cluster behind them."""
    return clustered(5)


def cluster_alone():
    """The Cluster holds them, and nobody else."""
    return clustered(0)


def lookups_while_a_master_dies(s, first, users, rate):
    """Each user is looked up once: no cache knows it."""
    s.register(s.a, first, users)
    proc.wait_for("all are published", lambda: s.a.gateway.unpublished() == 0, 30, 0.05)
    load = s.lookup(s.peers[1:], first, users, users, rate, wait=False, random=False, timeout=8000)
    time.sleep(users / rate / 4)
    dead = s.redis.masters()[0]
    dead.proc.kill()
    died = time.monotonic()

    def replaced():
        masters = s.redis.masters()
        return dead not in masters and len(masters) == redis.MASTERS
    proc.wait_for("its replica is master", replaced, 30, 0.1)
    tap.say("a replica took over %.1f s after the kill" % (time.monotonic() - died))
    demand(load.proc.running(), "the lookups were over before a replica took over")
    got = load.finish(users / rate + 90)
    figures("arrived", got["arrival_ms"])
    demand(got["arrived"] == users, "%d of %d lookups failed: %r", users - got["arrived"], users,
           got["responses"])
    dead.start()
    proc.wait_for("the Cluster is complete", s.redis.complete, 30, 0.2)


@tap.on(cluster_behind)
@tap.limit(120)
def test_on_a_redis_cluster_users_are_where_they_are(s):
    new_users(s, 300, 100)
    leaving_users(s, 300, 100)
    moving_users(s, 10, True, "clustered")
    missing_users(s, 200, 100)
    lookups_while_a_master_dies(s, 1000, 1000, 100)


@tap.on(cluster_alone)
@tap.limit(120)
def test_a_redis_cluster_alone_loses_a_master_and_no_lookup(s):
    new_users(s, 300, 100)
    missing_users(s, 200, 100)
    lookups_while_a_master_dies(s, 1000, 1000, 100)


if __name__ == "__main__":
    tap.main(globals())
