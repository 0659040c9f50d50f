# SPDX-License-Identifier: GPL-2.0-or-later
"""BENCH=invite: how long an INVITE takes from the caller through A and B to the callee.

Both pairs of proxies run all the time and share the machine, the namespaces and the rtpengines;
the prober calls each user through one pair and then through the other, one call at a time, so that
what happens on the machine meanwhile meets both alike. The time is from just before the caller
sends to the kernel's receive stamp at the callee, by one clock."""
from . import calls as load
from . import sides
from .calls import OURS_PORT, STOCK_PORT

BAR = 1.15
# figure: what is anchored, and what the called phone is offered then
KINDS = {"invite_cached": None, "invite_anchored": "rtp", "invite_osrtp": "osrtp"}
COLD_BAR_MS = 10


def run(bench, figures):
    calls = bench.args.users or max(30, int(bench.args.duration / 4 / 0.03))
    bench.say(f"{calls} calls a run through each pair, one after the other")
    with bench.side_dir("rtpengine") as directory:
        engines = []
        try:
            for host in ("a", "b"):
                engines.append(sides.rtpengine("rtpengine-" + host, bench.net.ns(host), directory,
                                               bench.net.addr(host)))
            for name, phone_media in KINDS.items():
                if not (bench.args.null and name == "invite_osrtp"):
                    compare(bench, figures, calls, name, phone_media)
        finally:
            for p in reversed(engines):
                p.stop()


def compare(bench, figures, calls, name, phone_media):
    """Start both pairs and alternate between them."""
    anchored = phone_media is not None
    bench.say(name + (": media through rtpengine, the called phone is offered " + phone_media
                      if anchored else ": anchor=never"))
    with bench.side_dir(name) as directory:
        programs = []
        try:
            stock_pair(bench, directory, "stock", STOCK_PORT, anchored, programs)
            if bench.args.null:
                stock_pair(bench, directory, "null", OURS_PORT, anchored, programs)
            else:
                bench.overlay.invite_side(directory, OURS_PORT, anchored, programs, phone_media)
            for n in range(bench.args.runs):
                once(bench, figures, name, n, calls, anchored)
        finally:
            for p in reversed(programs):
                p.stop()


def stock_pair(bench, directory, name, port, anchored, programs):
    media = {"ANCHOR": None, "MEDIA": "udp:127.0.0.1:2223"} if anchored else {}
    net = bench.net
    hop = {"NEXT_HOP": f"sip:{net.addr('b')}:{port}"}
    for host, more in (("a", hop), ("b", {})):
        programs.append(sides.kamailio(f"{name}-{host}", net.ns(host), directory, "proxy.cfg",
                                       f"{net.addr(host)}:{port}", {**media, **more}))


def once(bench, figures, name, n, calls, anchored):
    """Users of this run's own register at both Bs; each is called once (ours: not cached at A)
    and once more (ours: cached), through the two pairs in turn."""
    first = n * calls
    tag = f"{name.replace('_', '')}{n}"
    load.register(bench, calls, first, tag)
    if bench.overlay:
        bench.overlay.wait_published(range(first, first + calls))
    cold, cached = (load.probe(bench, name, calls, first, which + tag, not anchored)
                    for which in ("first", "again"))
    for side in ("ours", "baseline"):
        figures.add(name + "_p50", "ms", side, cached[side]["p50"],
                    None if name == "invite_osrtp" else BAR)
        figures.add(name + "_p90", "ms", side, cached[side]["p90"])
    note = ""
    if bench.overlay and not anchored:
        extra = cold["ours"]["p50"] - cached["ours"]["p50"]
        figures.add("invite_cold_extra_ms", "ms", "ours", extra, COLD_BAR_MS)
        figures.add("invite_cold_extra_ms", "ms", "baseline", cached["ours"]["p50"])
        note = f"; not cached {extra:.3f} more"
    bench.say("  p50 {:.3f}, stock {:.3f} ms{}".format(
        cached["ours"]["p50"], cached["baseline"]["p50"], note))
