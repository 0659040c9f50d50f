# SPDX-License-Identifier: GPL-2.0-or-later
"""BENCH=location: what it costs that users are found elsewhere, against stock Kamailio alone and with
dmq_usrloc, and how fast and how surely they are found."""
import statistics
import time

from . import calls, dmq, fresh, register, sides
from .proc import settle

CACHED_BAR = 0.95
CACHED_USERS, CACHED_RATE, CACHED_S = 100, 100, 1.0
BYTES_BAR, BYTES_USERS, BYTES_RATE = 2048, 100000, 1500
PARTS = ("register", "cpu", "rate", "cached", "fresh", "bytes")


def run(bench, figures):
    if bench.args.null:
        raise RuntimeError("location: there is no --null; register and invite have one")
    parts = bench.args.parts or PARTS
    if "register" in parts:
        register.run(bench, figures)
    if "cpu" in parts or "rate" in parts:
        dmq.run(bench, figures, parts)
    if "cached" in parts:
        cached(bench, figures)
    if "fresh" in parts:
        fresh.run(bench, figures)
    if "bytes" in parts:
        memory(bench, figures)


# ---- calls to users in A's cache ----

def cached(bench, figures):
    """What a call costs Kamailio A, that looks up the user and relays to B: ours in the cache in shared
    memory, stock in usrloc, with a contact that is B. Everything else is the same."""
    bench.say(f"calls to users that A knows, {CACHED_RATE} a second: A's CPU")
    with bench.side_dir("ours") as ours, bench.side_dir("stock") as stock:
        programs = {"ours": [], "baseline": []}
        try:
            bench.overlay.invite_side(ours, calls.OURS_PORT, False, programs["ours"])
            for host in ("a", "b"):
                programs["baseline"].append(sides.kamailio(
                    "kamailio-" + host, bench.net.ns(host), stock, "proxy.cfg",
                    f"{bench.net.addr(host)}:{calls.STOCK_PORT}", {}))
            calls.register(bench, CACHED_USERS, 0, "cached")
            net = bench.net
            bench.load.run("register", local=calls.callee(bench), local_netns=net.ns("v"),
                           contact=f"{net.addr('b')}:{calls.STOCK_PORT}", seed="through",
                           target=f"{net.addr('a')}:{calls.STOCK_PORT}", users=CACHED_USERS,
                           rate=200)
            bench.overlay.wait_published(range(CACHED_USERS))
            for side in programs:
                drive(bench, side, "warm")
            for n in range(bench.args.runs):
                cached_once(bench, figures, programs, n)
        finally:
            for p in reversed(programs["ours"] + programs["baseline"]):
                p.stop()


def drive(bench, side, seed):
    net, port = bench.net, calls.OURS_PORT if side == "ours" else calls.STOCK_PORT
    bench.load.run(
        "call", local=f"{net.addr('u')}:{next(calls.CALLER_PORT)}", local_netns=net.ns("u"),
        callee=calls.callee(bench), callee_netns=net.ns("v"), target=f"{net.addr('a')}:{port}",
        users=CACHED_USERS, count=int(CACHED_RATE * CACHED_S), rate=CACHED_RATE, sdp=True,
        seed=seed + side)


def cached_once(bench, figures, programs, n):
    every = programs["ours"] + programs["baseline"]
    a = {side: next(p for p in programs[side] if p.name == "kamailio-a") for side in programs}
    cost = {side: [] for side in programs}
    settle(every)
    for k, side in enumerate(("ours", "baseline", "baseline", "ours") * 3):
        before = a[side].cpu_ns()
        drive(bench, side, f"run{n}x{k}")
        settle(every)
        cost[side].append((a[side].cpu_ns() - before) / (CACHED_RATE * CACHED_S))
    for side in cost:
        figures.add("lookup_cached", "calls/CPU-s", side, 1e9 / statistics.median(cost[side]),
                    f">={CACHED_BAR}")
    bench.say("  {:.0f}, stock {:.0f} us a call".format(
        *(statistics.median(cost[s]) / 1000 for s in ("ours", "baseline"))))


# ---- memory of the gateway ----

def put_all(bench, users):
    """All records go into the engine: its memory is the gateway's too."""
    bench.overlay.pace("a", 1000)
    end = time.monotonic() + 60 + users / 200
    while bench.overlay.engine_waiting("a"):
        if time.monotonic() > end:
            raise RuntimeError(f"{bench.overlay.engine_waiting('a')} records are not in the engine")
        time.sleep(0.5)


def memory(bench, figures):
    users = bench.args.users or BYTES_USERS
    bench.say(f"memory of a gateway with {users} users")
    with bench.side_dir("bytes") as directory:
        programs = []
        try:
            bench.overlay.register_side(directory, 5060, programs, memory=1024)
            settle(programs)
            before = register.memory_of(programs)
            net = bench.net
            bench.load.run("register", local=net.addr("u") + ":5060", local_netns=net.ns("u"),
                           target=net.addr("a") + ":5060", users=users, rate=BYTES_RATE,
                           seed="bytes", max_time=int(users / BYTES_RATE * 1000) + 60000)
            settle(programs, timeout=60)
            put_all(bench, users)
            settle(programs, timeout=60)
            each = (register.memory_of(programs)[1] - before[1]) / users
            figures.add("bytes_per_user", "B/user", "ours", each, BYTES_BAR)
            bench.say(f"  {each:.0f} bytes a user")
        finally:
            for p in reversed(programs):
                p.stop()
