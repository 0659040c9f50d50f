# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls through two pairs of proxies that are up at once: what BENCH=invite and peers share; and
the search for the highest rate."""
import itertools

STOCK_PORT, OURS_PORT = 5080, 5060
CALLER_PORT, CALLEE_PORT = itertools.count(6000), 5060


def callee(bench):
    return f"{bench.net.addr('v')}:{CALLEE_PORT}"


def register(bench, users, first, seed, host="b", ports=(OURS_PORT, STOCK_PORT)):
    """Users first.. are registered at both Bs, with one contact at V."""
    net = bench.net
    for port in ports:
        bench.load.run("register", local=callee(bench), local_netns=net.ns("v"),
                       target=f"{net.addr(host)}:{port}", users=users, first=first, rate=200,
                       seed=seed)


def probe(bench, what, calls, first, seed, direct):
    """One call to each user through each pair, one after the other: arrival times by side.
    direct: does the SDP of the caller arrive as it was sent?"""
    net = bench.net
    got = bench.load.run(
        "call", local=f"{net.addr('u')}:{next(CALLER_PORT)}", local_netns=net.ns("u"),
        callee=callee(bench), callee_netns=net.ns("v"), target=f"{net.addr('a')}:{OURS_PORT}",
        also=f"{net.addr('a')}:{STOCK_PORT}", users=calls, first=first, sdp=True, seed=seed)
    for way in ("target", "also"):  # is it what it is called?
        if got[way]["direct"] != (calls if direct else 0):
            raise RuntimeError(f"{what}: {got[way]['direct']} of {calls} INVITEs arrived "
                               f"with the caller's own SDP ({way})")
    return {"ours": got["target"]["arrival_ms"], "baseline": got["also"]["arrival_ms"]}


def highest(attempt, start, most, step):
    """The highest rate, up to `most`, for which attempt(rate) holds, to within step."""
    return highest_of({None: attempt}, start, most, step)[None]


def highest_of(attempts, start, most, step):
    """The same of several that are tried in turn, so that what else the machine does meets all alike.
    An attempt that fails gets a second chance, for it may be the machine's fault."""
    searches = {side: search(start, most, step) for side in attempts}
    rates, found = {side: next(s) for side, s in searches.items()}, {}
    while rates:
        for side, rate in list(rates.items()):
            try:
                rates[side] = searches[side].send(attempts[side](rate) or attempts[side](rate))
            except StopIteration as end:
                found[side] = end.value
                del rates[side]
    return found


def search(start, most, step):
    """Yields the next rate to be tried, and is sent whether it was held; the last one is returned."""
    low, high, rate = 0, None, float(min(start, most))
    while True:
        if (yield rate):
            low = rate
            if rate == most:
                return low
        else:
            high = rate
            if not low and high < start / 10:
                return 0
        if high is not None and high <= low * step:
            return low
        if high is None:
            rate = min(rate * 1.5, most)
        else:
            rate = (low * high) ** 0.5 if low else high / 2
