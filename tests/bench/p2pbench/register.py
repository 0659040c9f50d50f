# SPDX-License-Identifier: GPL-2.0-or-later
"""BENCH=register: what a REGISTER costs Kamailio, p2p modules against stock usrloc and registrar.

Each run starts its side afresh, registers N users at a fixed rate, refreshes them once, and weighs
all of Kamailio's processes from the first request until they have nothing left to do."""
from . import sides
from .proc import settle

BAR = 1.15


def measure(program, others, work):
    """CPU in ns that work() costs the program, and each of the others."""
    everything = [program] + others
    settle(everything)
    before = [p.cpu_ns() for p in everything]
    work()
    settle(everything)
    return [p.cpu_ns() - b for p, b in zip(everything, before)]


def run(bench, figures):
    users = bench.args.users or max(200, int(bench.args.duration / 2 * bench.args.rate))
    bench.say(f"{users} users, first and refresh, {bench.args.rate:g} REGISTERs a second")
    for side in bench.alternate():
        with bench.side_dir(side) as directory:
            programs = start(bench, side, directory)
            try:
                once(bench, side, users, programs, figures)
            finally:
                for p in reversed(programs):
                    p.stop()


def start(bench, side, directory):
    """Kamailio first; of ours the gateway follows."""
    ns, addr = bench.net.ns("a"), bench.net.addr("a")
    if side == "baseline" or bench.args.null:
        return [sides.kamailio("kamailio", ns, directory, "register.cfg", f"{addr}:5060", {})]
    return bench.overlay.register_side(directory)


def once(bench, side, users, programs, figures):
    common = {
        "local": bench.net.addr("u") + ":5060", "local_netns": bench.net.ns("u"),
        "target": bench.net.addr("a") + ":5060", "users": users, "rate": bench.args.rate,
        "max_time": 120000,
    }
    costs = []
    for cseq in (1, 2):
        loads = []
        costs.append(measure(programs[0], programs[1:], lambda n=cseq, r=loads: r.append(
            bench.load.run("register", cseq=n, **common))))
        if loads[0]["retransmitted"]:
            bench.say(f"  {side}: {loads[0]['retransmitted']} requests had to be sent again")
    first, refresh = (c[0] / users / 1000 for c in costs)
    figures.add("register_cpu", "us/REGISTER", side, (first + refresh) / 2, BAR)
    figures.add("register_cpu_first", "us/REGISTER", side, first)
    figures.add("register_cpu_refresh", "us/REGISTER", side, refresh)
    note = ""
    if len(programs) > 1:
        gateway = sum(c[1] for c in costs) / users / 2 / 1000
        figures.add("register_gateway_cpu", "us/REGISTER", side, gateway)
        note = f", gateway {gateway:.1f}"
    bench.say(f"  {side}: first {first:.1f}, refresh {refresh:.1f} us{note}")
