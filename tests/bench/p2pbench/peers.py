# SPDX-License-Identifier: GPL-2.0-or-later
"""BENCH=peers: what sessions between peers cost.

Calls over an open session are compared with the same calls through an overlay of the last commit
before there were sessions (baseline.py): both overlays are up all the time, on the same hosts, and
calls go to the two in turn. What the first call to a peer costs is contact.py."""
import itertools
import re
import statistics
import subprocess

from . import baseline, contact, sides
from . import calls as load
from .calls import OURS_PORT, STOCK_PORT
from .overlay import Overlay
from .proc import settle

BAR = 1.05
RATE_BAR = 300
SHIFT = 100             # of the ports of the baseline's gateways
USERS = 100             # of the loads at a rate
CPU_RATE, CPU_S = 100, 1.0
TRIAL_S, RATE_MAX, STEP = 4, 3000, 1.06
SEEDS = itertools.count(1)
REQUESTS = 3            # INVITE, ACK, BYE


PARTS = ("latency", "cpu", "rate", "contact")


def run(bench, figures):
    if bench.args.null:
        raise RuntimeError("peers: there is no --null: the baseline is an overlay, too")
    parts = bench.args.parts or PARTS
    if set(parts) & {"latency", "cpu", "rate"}:
        base = None
        try:
            base = baseline.build(bench)
        except baseline.Missing as e:
            figures.skip("invite_open_session_p50, call_cpu", f"no baseline: {e}")
        open_session(bench, figures, base, parts)
    if "contact" in parts:
        contact.run(bench, figures)


def open_session(bench, figures, base, parts):
    calls = bench.args.users or max(30, int(bench.args.duration / 4 / 0.03))
    with bench.side_dir("ours") as ours, bench.side_dir("baseline") as theirs:
        programs = {"ours": [], "baseline": []}
        try:
            bench.overlay.invite_side(ours, OURS_PORT, False, programs["ours"])
            before = base and Overlay(bench, base[0], 1, base[1] + "/tests/bench/cfg", SHIFT)
            if before:
                before.invite_side(theirs, STOCK_PORT, False, programs["baseline"])
            if before and "latency" in parts:
                bench.say(f"open session: {calls} calls a run through each overlay, one after "
                          "the other")
                for n in range(bench.args.runs):
                    latency(bench, figures, before, n, calls)
            prepare(bench, before)
            if before and "cpu" in parts:
                for n in range(bench.args.runs):
                    cpu(bench, figures, programs)
            if "rate" in parts:
                for n in range(min(bench.args.runs, 3)):
                    rates(bench, figures, programs)
        finally:
            for p in reversed(programs["ours"] + programs["baseline"]):
                p.stop()


def latency(bench, figures, before, n, calls):
    """Users of this run's own, called twice: the second time nothing has to be asked."""
    first, tag = (n + 1) * calls + USERS, f"open{n}"
    load.register(bench, calls, first, tag)
    for overlay in (bench.overlay, before):
        overlay.wait_published(range(first, first + calls))
    for which in ("first", "again"):
        got = load.probe(bench, "peers", calls, first, which + tag, True)
    sessions_are_open(bench)
    for side in ("ours", "baseline"):
        figures.add("invite_open_session_p50", "ms", side, got[side]["p50"], BAR)
        figures.add("invite_open_session_p90", "ms", side, got[side]["p90"])
    bench.say("  p50 {:.3f}, without sessions {:.3f} ms".format(
        got["ours"]["p50"], got["baseline"]["p50"]))


def sessions_are_open(bench):
    """A and B have one session, and A's requests are signed."""
    with bench.overlay.ask("a") as gateway:
        if not gateway.ask("SESSIONS")[1]:
            raise RuntimeError("peers: A has no session")


def prepare(bench, before):
    """Users 0.. for the loads, known to A."""
    ports = (OURS_PORT, STOCK_PORT) if before else (OURS_PORT,)
    load.register(bench, USERS, 0, "load", ports=ports)
    for overlay in filter(None, (bench.overlay, before)):
        overlay.wait_published(range(USERS))
    for port in ports:
        drive(bench, port, USERS, 50)


def drive(bench, port, count, rate, check=True):
    net = bench.net
    return bench.load.run(
        "call", check, local=f"{net.addr('u')}:{next(load.CALLER_PORT)}", local_netns=net.ns("u"),
        callee=load.callee(bench), callee_netns=net.ns("v"), target=f"{net.addr('a')}:{port}",
        users=USERS, count=count, rate=rate, active=300, sdp=True, seed=f"drive{next(SEEDS)}")


def proxies(programs):
    return [p for p in programs if p.name.startswith("kamailio-")]


def cpu(bench, figures, programs):
    """CPU of both Kamailios and of both gateways for a call, the sides in turn."""
    every = programs["ours"] + programs["baseline"]
    ports = {"ours": OURS_PORT, "baseline": STOCK_PORT}
    cost = {side: ([], []) for side in ports}
    settle(every)
    for side in ("ours", "baseline", "baseline", "ours") * 2:
        groups = proxies(programs[side]), \
            [p for p in programs[side] if p.name.startswith("gateway-")]
        before = [sum(p.cpu_ns() for p in g) for g in groups]
        drive(bench, ports[side], int(CPU_RATE * CPU_S), CPU_RATE)
        settle(every)
        for out, group, was in zip(cost[side], groups, before):
            out.append((sum(p.cpu_ns() for p in group) - was) / (CPU_RATE * CPU_S) / 1000)
    us = {side: [statistics.median(x) for x in cost[side]] for side in cost}
    for side in us:
        figures.add("call_cpu", "us/call", side, us[side][0])
        figures.add("call_gateway_cpu", "us/call", side, us[side][1])
    bench.say("  a call costs both Kamailios {:.0f} us, without sessions {:.0f}".format(
        us["ours"][0], us["baseline"][0]))


# ---- how many calls a second ----

def received(program):
    """Requests that a Kamailio has received so far."""
    out = subprocess.run(["kamcmd", "-s", "unix:" + program.ctl, "stats.fetch",
                          "core:rcv_requests"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"rcv_requests\s*[=:]\s*(\d+)", out)
    if not found:
        raise RuntimeError(f"{program.name} does not count its requests: {out}")
    return int(found.group(1))


def clean(bench, port, programs, rate):
    """Did all calls at this rate go through, with nothing sent twice by anybody?"""
    count = int(rate * TRIAL_S)
    settle(programs)
    before = [received(p) for p in proxies(programs)]
    got = drive(bench, port, count, rate, check=False)
    settle(programs)
    more = [received(p) - was for p, was in zip(proxies(programs), before)]
    return got["ok"] == count and not got["retransmitted"] and not got["unexpected"] \
        and got["seconds"] < TRIAL_S * 1.05 + 0.2 and all(n == REQUESTS * count for n in more)


def rates(bench, figures, programs):
    found = {}
    for side, port in (("ours", OURS_PORT), ("baseline", STOCK_PORT)):
        if programs[side]:
            found[side] = load.highest(
                lambda rate: clean(bench, port, programs[side], rate), 200, RATE_MAX, STEP)
            figures.add("calls_per_second", "calls/s", side, found[side],
                        f">={RATE_BAR}")
    bench.say("  calls a second: " + ", ".join(
        f"{'without sessions ' if side == 'baseline' else ''}{rate:.0f}"
        for side, rate in found.items()))
