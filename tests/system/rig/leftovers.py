# SPDX-License-Identifier: GPL-2.0-or-later
"""What a site holds on to: memory, sockets, files, sessions, dialogs."""

import os
import re

from . import proc


def memory(p):
    """{what: bytes}: shared memory by module, private memory by process. What is cached goes
    first: which names and peers that is at the moment is nothing that grows with the rounds. Nor
    do the free pieces that p2p_usrloc holds back, but one may be larger than asked for."""
    out = {}
    p.kamailio.rpc("p2p_usrloc.cache_flush")
    for name, each, total in re.findall(r"^Module: (\S+)\n\{(.*?)^\tTotal: (\d+)",
                                        p.kamailio.text("mod.stats", "all", "shm"), re.M | re.S):
        held = re.search(r"shared_cut\(\d+\): (\d+)", each)
        out["shm " + name] = int(total) - (int(held.group(1)) if held else 0)
    for x in p.kamailio.rpc("pkg.stats"):
        out["pkg %s (%s)" % (x["entry"], x["desc"])] = x["used"]
    return out


def sessions(p, ended=True):
    """Sessions with other peers that p's Kamailio and gateway know of, in words. ended: also those
    that Kamailio keeps for a while to know what was on its way by."""
    known = p.kamailio.rpc("p2p_usrloc.sessions").get("sessions") or []
    known = [known] if isinstance(known, dict) else known
    out = ["session %s in Kamailio (%s, %s calls)" % (x["id"], x["state"], x["calls"])
           for x in known if ended or x["state"] != "closed"]
    _, rows = p.gateway.ask("SESSIONS", "0", "500")
    return out + ["session %s in the gateway" % r[1] for r in rows]


def connections(p):
    """TCP connections of the site's node, in any state but listening, and but one each way to each
    other gateway, over which members exchange; in words."""
    out, kept = [], set()
    for x in map(str.split, p.node.run("ss", "-Htan").stdout.splitlines()):
        if not x or x[0] == "LISTEN":
            continue
        here, there = x[3], x[4]
        way = (there.rsplit(":", 1)[0], here.endswith(":7443"))
        if here.endswith(":7443") or there.endswith(":7443"):
            # another one took the place of one that had been idle for long
            if x[0] == "TIME-WAIT":
                continue
            if x[0] == "ESTAB" and way not in kept:
                kept.add(way)
                continue
        out.append(" ".join(x))
    return out


def dialogs(p):
    """What the dialog module and tm have, in words."""
    out = ["%d dialogs %s" % (n, what)
           for what, n in p.kamailio.rpc("dlg.stats_active").items() if n]
    n = p.kamailio.transactions()
    return out + (["%d transactions" % n] if n else [])


def datagram_sockets(p):
    """Local addresses of UDP sockets in the site's node."""
    return sorted(x.split()[3] for x in p.node.run("ss", "-Huan").stdout.splitlines() if x.strip())


def files(p):
    """{program: open files of all its processes}, but of the daemons those that are not connections
    of Kamailio's processes; how many these are. Each process connects when it first has to."""
    out = {"kamailio": sum(len(os.listdir("/proc/%d/fd" % pid)) for pid in p.kamailio.children())}
    unix = p.node.run("ss", "-Hxan").stdout.splitlines()
    clients = 0
    for name, daemon in (("gateway", p.gateway), ("relay", p.relay)):
        n = sum(1 for x in unix if " ESTAB " in x and " %s " % daemon.socket in x)
        out[name] = len(os.listdir("/proc/%d/fd" % daemon.proc.pid)) - n
        clients += n
    return out, clients


def resident(daemon):
    """kB"""
    with open("/proc/%d/status" % daemon.proc.pid, encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def none(peers, timeout, ended=True):
    """Waits until nothing is left of any call and session, at any of the peers."""
    last = []

    def nothing():
        last[:] = ["%s: %s" % (p.name, x) for p in peers for x in
                   filter(None, [p.quiet()] + dialogs(p) + sessions(p, ended) +
                          connections(p))]
        return not last
    try:
        proc.wait_for("nothing is left", nothing, timeout, 0.5)
    except proc.Failed:
        raise proc.Failed("after %g s there are still\n%s" % (timeout, "\n".join(last))) from None
