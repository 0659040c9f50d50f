# SPDX-License-Identifier: GPL-2.0-or-later
"""BENCH=register: what a REGISTER costs Kamailio, p2p modules against stock usrloc and registrar.

Each run starts both sides afresh, registers N users at a fixed rate, and refreshes them once. The
load goes to the two sides in slices of a quarter of a second in turn, so that what happens on the
machine meanwhile meets both alike; each slice is weighed, over all of Kamailio's processes, from
its first request until they (and, of ours, the gateway) have nothing left to do, so that work put
off till later counts, and the other side never works at the same time. A run's figure is the median
of its slices: a compiler on the same core makes single ones half as dear again.

Records go into the engine at a pace of their own, long after the REGISTERs: what a put costs the
gateway is weighed apart, between the two halves of a run."""
import itertools
import re
import statistics
import subprocess
import time

from . import sides
from .proc import settle

BAR = 1.10
SLICE_S = 0.25
PORTS = {"ours": 5060, "baseline": 5080}
ASKED_DHT = 20  # users of a run that are looked for in the DHT
SLOW = 1        # puts a second while REGISTERs are weighed
PUTS_S = 4      # seconds of puts at the gateway's own pace


def run(bench, figures):
    slice_users = max(50, int(SLICE_S * bench.args.rate))
    users = bench.args.users or int(bench.args.duration / 5 * bench.args.rate)
    slices = max(1, round(users / slice_users))
    bench.say(f"{slices * slice_users} users on each side, first and refresh, in slices of "
              f"{slice_users} at {bench.args.rate:g} REGISTERs a second")
    for n in range(bench.args.runs):
        with bench.side_dir("register") as directory:
            programs = {"baseline": [], "ours": []}  # Kamailio first; of ours the gateway follows
            try:
                start(bench, directory, programs)
                once(bench, n, slices, slice_users, programs, figures)
            finally:
                for p in programs["ours"][::-1] + programs["baseline"]:
                    p.stop()


def start(bench, directory, programs):
    ns, addr = bench.net.ns("a"), bench.net.addr("a")
    programs["baseline"].append(sides.kamailio(
        "stock", ns, directory, "register.cfg", f"{addr}:{PORTS['baseline']}", {}))
    if bench.overlay:
        bench.overlay.register_side(directory, PORTS["ours"], programs["ours"])
        bench.overlay.pace("a", SLOW)
    else:
        programs["ours"].append(sides.kamailio(
            "null", ns, directory, "register.cfg", f"{addr}:{PORTS['ours']}", {}))


def once(bench, n, slices, users, programs, figures):
    """One run into figures."""
    every = programs["ours"] + programs["baseline"]
    # [phase][side][program]: us a REGISTER, slice by slice
    cost = {cseq: {side: [[] for _ in ps] for side, ps in programs.items()} for cseq in (1, 2)}
    again = {"ours": 0, "baseline": 0}
    orders = itertools.cycle((("ours", "baseline"), ("baseline", "ours")))
    if n % 2:
        next(orders)
    settle(every)
    memory = {side: memory_of(programs[side]) for side in programs}
    for cseq, i in itertools.product((1, 2), range(slices)):
        if (cseq, i) == (2, 0):
            memory = {side: [(now - was) / slices / users for now, was in
                             zip(memory_of(programs[side]), memory[side])] for side in programs}
            if bench.overlay:
                bench.overlay.check_published(slices * users, ASKED_DHT)
                settle(every)
                puts(bench, programs["ours"][1], figures)
                settle(every)
        for side in next(orders):
            before = [p.cpu_ns() for p in programs[side]]
            got = bench.load.run(
                "register", local=bench.net.addr("u") + ":5060", local_netns=bench.net.ns("u"),
                target=f"{bench.net.addr('a')}:{PORTS[side]}", users=users, first=i * users,
                rate=bench.args.rate, cseq=cseq, seed=f"{side}{i}", max_time=60000)
            settle(every)
            again[side] += got["retransmitted"]
            for k, p in enumerate(programs[side]):
                cost[cseq][side][k].append((p.cpu_ns() - before[k]) / users / 1000)
    us = {}
    for side in ("ours", "baseline"):
        first, refresh = (statistics.median(cost[c][side][0]) for c in (1, 2))
        us[side] = (first + refresh) / 2
        figures.add("register_cpu", "us/REGISTER", side, us[side], BAR)
        figures.add("register_cpu_first", "us/REGISTER", side, first)
        figures.add("register_cpu_refresh", "us/REGISTER", side, refresh)
        figures.add("register_shm", "B/user", side, memory[side][0])
        if again[side]:
            bench.say(f"  {side}: {again[side]} requests had to be sent again")
    note = ""
    if len(programs["ours"]) > 1:
        first, refresh = (statistics.median(cost[c]["ours"][1]) for c in (1, 2))
        figures.add("gateway_cpu_first", "us/REGISTER", "ours", first)
        figures.add("gateway_cpu_refresh", "us/REGISTER", "ours", refresh)
        figures.add("gateway_memory", "B/user", "ours", memory["ours"][1])
        note = f"; gateway, first {first:.1f}, refresh {refresh:.1f}"
    bench.say(f"  {us['ours']:.1f}, stock {us['baseline']:.1f} us{note}")


def puts(bench, gateway, figures):
    """CPU of the gateway for a put into the engine, OpenDHT's threads included, less what it takes when
    there are none."""
    overlay = bench.overlay
    idle = gateway.cpu_ns()
    time.sleep(PUTS_S)
    idle = gateway.cpu_ns() - idle
    overlay.pace("a", None)
    waiting, begun, cpu = overlay.engine_waiting("a"), time.monotonic(), gateway.cpu_ns()
    time.sleep(PUTS_S)
    cpu = gateway.cpu_ns() - cpu - idle * (time.monotonic() - begun) / PUTS_S
    done = waiting - overlay.engine_waiting("a")
    overlay.pace("a", SLOW)
    if done < PUTS_S * 10:
        bench.say(f"  only {done} records were left to put: not weighed")
        return
    figures.add("gateway_cpu_put", "us/put", "ours", cpu / done / 1000)
    bench.say(f"  {done} puts into the engine, {cpu / done / 1000:.0f} us of the gateway each")


def memory_of(programs):
    """Bytes: Kamailio's shared memory in use; of ours, the gateway's resident memory too."""
    out = subprocess.run(["kamcmd", "-s", "unix:" + programs[0].ctl, "core.shmmem"],
                         capture_output=True, text=True, check=True).stdout
    found = [int(re.search(r"real_used: (\d+)", out).group(1))]
    if len(programs) > 1:
        with open(f"/proc/{programs[1].pid}/status") as f:
            found.append(int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024)
    return found
