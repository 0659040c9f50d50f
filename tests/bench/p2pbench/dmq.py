# SPDX-License-Identifier: GPL-2.0-or-later
"""What registrations cost here, Kamailio and gateway, against two stock Kamailios that replicate them
with dmq_usrloc. First registrations and refreshes are mixed 1 to MIX, as phones that register every
some minutes and a site that grows."""
import itertools
import re
import statistics
import subprocess

from . import calls, sides
from .proc import settle

MIX = 5                 # refreshes for each first registration
POOL = 500              # users that are refreshed
SLICE_NEW = 40          # first registrations in a slice
CPU_BAR, RATE_BAR = 0.5, 1.6
TRIAL_S, RATE_START, RATE_MAX, STEP = 3, 4000, 60000, 1.03
SETTLE_S = 3            # between trials; the engine is told of the users in its own time
ASKED = 20              # of a trial's new users, that are looked for elsewhere
PORTS = {"ours": 5060, "baseline": 5080}
MEMORY = 512


def run(bench, figures, parts):
    for n in range(bench.args.runs):
        with bench.side_dir("dmq") as directory:
            programs = {"ours": [], "baseline": []}
            try:
                start(bench, directory, programs)
                registered = {side: Registered(bench, side, programs) for side in PORTS}
                for r in registered.values():
                    r.pool()
                if "cpu" in parts:
                    cpu(bench, n, registered, figures)
                if "rate" in parts and n < 3:
                    rate(bench, registered, figures)
            finally:
                for p in programs["ours"][::-1] + programs["baseline"]:
                    p.stop()


def start(bench, directory, programs):
    """ours: Kamailio, its gateway, the other one's; baseline: the Kamailio that is registered at, the
    other."""
    net, port = bench.net, PORTS["baseline"]
    uri = {h: f"sip:{net.addr(h)}:{port}" for h in ("a", "b")}
    for host, other in (("b", "a"), ("a", "b")):
        programs["baseline"].insert(0, sides.kamailio(
            "dmq-" + host, net.ns(host), directory, "register.cfg", f"{net.addr(host)}:{port}",
            {"DMQ": None, "DMQ_OWN": uri[host], "DMQ_OTHER": uri[other]}, memory=MEMORY))
    bench.overlay.register_side(directory, PORTS["ours"], programs["ours"], memory=MEMORY)
    settle(programs["ours"] + programs["baseline"])


class Registered:
    """One side, and the users that it has."""

    def __init__(self, bench, side, programs):
        self.bench, self.side, self.programs = bench, side, programs[side]
        self.every = programs["ours"] + programs["baseline"]
        self.users = 0
        self.cseq = itertools.count(2000, 2000)

    def _load(self, **options):
        net = self.bench.net
        return self.bench.load.run(
            "register", local=net.addr("u") + ":5060", local_netns=net.ns("u"),
            target=f"{net.addr('a')}:{PORTS[self.side]}", seed=self.side, **options)

    def pool(self):
        self._load(users=POOL, rate=500)
        self.users = POOL
        settle(self.every)

    def mixed(self, new, rate, check=True):
        """Registers `new` more users, and refreshes the POOL before them."""
        first = self.users - POOL
        self.users += new
        return self._load(users=POOL + new, first=first, pool=POOL, mix=MIX, rate=rate,
                          cseq=next(self.cseq), check=check, max_time=30000)

    def complete(self):
        """Does the other side know all users? Of ours: all are published, a sample is found."""
        if self.side == "ours":
            self.bench.overlay.wait_published(
                range(self.users - ASKED, self.users), self.bench.args.limit)
            status = self.bench.overlay.status("a")
            return int(status["users_claimed"]) == self.users and not int(status["users_dirty"])
        return contacts(self.programs[1]) == self.users


def contacts(program):
    out = subprocess.run(["kamcmd", "-s", "unix:" + program.ctl, "stats.fetch",
                          "usrloc:registered_users"], capture_output=True, text=True,
                         check=True).stdout
    return int(re.search(r"registered_users\s*[=:]\s*(\d+)", out).group(1))


def cpu(bench, n, registered, figures):
    requests = SLICE_NEW * (MIX + 1)
    slices = max(4, round(bench.args.duration * bench.args.rate / 4 / requests))
    cost = {side: [[], []] for side in PORTS}
    gateway = []
    orders = itertools.cycle((("ours", "baseline"), ("baseline", "ours")))
    if n % 2:
        next(orders)
    for _ in range(slices):
        for side in next(orders):
            r = registered[side]
            before = [p.cpu_ns() for p in r.programs]
            r.mixed(SLICE_NEW, bench.args.rate)
            settle(r.every)
            us = [(p.cpu_ns() - was) / requests / 1000 for p, was in zip(r.programs, before)]
            cost[side][0].append(us[0] + us[1])
            cost[side][1].append(us[2] if side == "ours" else us[1])
            if side == "ours":
                gateway.append(us[1])
    for side, r in registered.items():
        if not r.complete():
            raise RuntimeError(f"location: {side}: not all {r.users} users are everywhere")
        figures.add("register_cpu_vs_dmq", "us/REGISTER", side, statistics.median(cost[side][0]),
                    CPU_BAR)
    # of the figure: the gateway's share
    figures.add("register_cpu_gateway", "us/REGISTER", "ours", statistics.median(gateway))
    # of what the figure holds: dmq's share of the second node; ours is not in it
    figures.add("register_cpu_elsewhere", "us/REGISTER", "ours", statistics.median(cost["ours"][1]))
    figures.add("register_cpu_elsewhere", "us/REGISTER", "baseline",
                statistics.median(cost["baseline"][1]))
    bench.say("  {:.1f}, its gateway's share {:.1f}, dmq_usrloc {:.1f} us; another gateway {:.1f}".format(
        statistics.median(cost["ours"][0]), statistics.median(gateway),
        statistics.median(cost["baseline"][0]), statistics.median(cost["ours"][1])))


def clean(r, rate):
    """At this rate all were answered, nothing was sent twice, and the other side has them all."""
    new = max(ASKED, int(rate * TRIAL_S / (MIX + 1)))
    settle(r.every, SETTLE_S)
    got = r.mixed(new, rate, check=False)
    settle(r.every, SETTLE_S)
    lost = new * (MIX + 1) - got["ok"]
    in_time = got["seconds"] < TRIAL_S * 1.05 + 0.2
    ok = not lost and not got["retransmitted"] and in_time and r.complete()
    r.bench.say("    {} {:.0f}: {}".format(
        r.side, rate, "clean" if ok else "{} unanswered, {} sent twice, {:.2f} s{}".format(
            lost, got["retransmitted"], got["seconds"],
            "" if lost or got["retransmitted"] or not in_time else ", not all are everywhere")))
    return ok


def rate(bench, registered, figures):
    found = calls.highest_of(
        {side: lambda x, r=r: clean(r, x) for side, r in registered.items()}, RATE_START, RATE_MAX,
        STEP)
    for side, highest in found.items():
        figures.add("register_rate_vs_dmq", "REGISTER/s", side, highest, f">={RATE_BAR}")
    bench.say("  highest clean rate {:.0f}, dmq_usrloc {:.0f} REGISTERs a second".format(
        found["ours"], found["baseline"]))
