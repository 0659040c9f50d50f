#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the simulator for overlays of 10 to 10,000 peers and draws what comes out.

usage: plots.py SIM DIRECTORY [--quick] [--draw]

Writes DIRECTORY/results.json and the plots *.svg, and the tables into DIRECTORY.md where it says so.
--quick: small overlays only; --draw: from the results.json that is there. The same seeds give the
same results, but for memory, which malloc has a say in."""
import concurrent.futures
import io
import json
import math
import os
import subprocess
import sys

PEERS = (10, 30, 100, 300, 1000, 3000, 10000)
WHOLE = 1000            # up to here every peer has a membership machine of its own
COMMON = ["--users", "500", "--warm", "30", "--run", "120", "--rtt", "40", "--loss", "0.01"]
SLOW_ENGINE_MS = 300    # longer than it is waited for
CHURN = 1               # restarts of each peer an hour
USERS_EACH = (1000, 10000, 100000)
CHANGES_PER_DAY = 4     # first registrations, moves and leaves of a user
CALLS_PER_DAY = 20      # of a user, not answered from a cache
HOLDERS = 5
BEGIN, END = "<!-- tables: written by tests/bench/sim/plots.py -->", "<!-- end -->"
COLOURS = ("#1b6ca8", "#c0392b", "#1e8449", "#8e44ad", "#b9770e")


def runs(peers):
    machines = peers if peers <= WHOLE else 400
    base = COMMON + ["--peers", str(peers), "--machines", str(machines)]
    return {"steady": base + ["--churn", "0"], "churn": base + ["--churn", str(CHURN)],
            "engine": base + ["--churn", str(CHURN), "--engine", str(SLOW_ENGINE_MS)]}


def simulate(sim, sizes):
    jobs = [(n, kind, argv) for n in sizes for kind, argv in runs(n).items()]
    out = {str(n): {} for n in sizes}

    def one(job):
        r = subprocess.run([sim] + job[2], capture_output=True, text=True, check=False)
        if r.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(job[2])}: {r.stderr}")
        print(f"{job[0]} peers, {job[1]}: done", flush=True)
        return json.loads(r.stdout)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for job, result in zip(jobs, pool.map(one, jobs)):
            out[str(job[0])][job[1]] = result
    return out


# ---- plots -------------------------------------------------------------------------------------

def ticks(low, high):
    return [10 ** k for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def short(x):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if x >= size:
            return f"{x / size:g} {unit}"
    return f"{x:g}"


def plot(path, title, x_name, y_name, lines):
    """lines: [(name, [(x, y), ...])]; both axes are logarithmic."""
    points = [p for _, line in lines for p in line if p[1] > 0]
    xs, ys = ticks(min(p[0] for p in points), max(p[0] for p in points)), \
        ticks(min(p[1] for p in points), max(p[1] for p in points))
    if len(ys) < 2:
        ys.append(ys[0] * 10)
    left, top, width, height = 80, 40, 520, 280

    def at(x, y):
        return (left + width * math.log10(x / xs[0]) / math.log10(xs[-1] / xs[0]),
                top + height - height * math.log10(y / ys[0]) / math.log10(ys[-1] / ys[0]))
    out = ['<!-- SPDX-License-Identifier: GPL-2.0-or-later; made by tests/bench/sim/plots.py -->',
           '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 380" width="780" height="380" '
           'font-family="sans-serif" font-size="12">', '<rect width="780" height="380" fill="white"/>',
           f'<text x="{left}" y="22" font-size="15">{title}</text>',
           f'<text x="{left + width / 2}" y="372" text-anchor="middle">{x_name}</text>',
           f'<text transform="translate(16 {top + height / 2}) rotate(-90)" '
           f'text-anchor="middle">{y_name}</text>']
    for x in xs:
        px, _ = at(x, ys[0])
        out.append(f'<line x1="{px:.1f}" y1="{top}" x2="{px:.1f}" y2="{top + height}" '
                   f'stroke="#ddd"/><text x="{px:.1f}" y="{top + height + 16}" '
                   f'text-anchor="middle">{short(x)}</text>')
    for y in ys:
        _, py = at(xs[0], y)
        out.append(f'<line x1="{left}" y1="{py:.1f}" x2="{left + width}" y2="{py:.1f}" '
                   f'stroke="#ddd"/><text x="{left - 6}" y="{py + 4:.1f}" '
                   f'text-anchor="end">{short(y)}</text>')
    for i, (name, line) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        path_points = " ".join("%.1f,%.1f" % at(x, y) for x, y in line if y > 0)
        out.append(f'<polyline points="{path_points}" fill="none" stroke="{colour}" '
                   'stroke-width="2"/>')
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*at(x, y), colour)
                for x, y in line if y > 0]
        out.append(f'<text x="{left + width + 12}" y="{top + 16 + 18 * i}" '
                   f'fill="{colour}">{name}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


def draw(results, directory):
    sizes = sorted(map(int, results))
    steady = {n: results[str(n)]["steady"] for n in sizes}
    churn = {n: results[str(n)]["churn"] for n in sizes}
    engine = {n: results[str(n)]["engine"] for n in sizes}
    whole = [n for n in sizes if n <= WHOLE]

    def save(name):
        return os.path.join(directory, name)
    plot(save("membership.svg"), "What membership costs a peer", "peers", "bytes a second", [
        ("nobody dies", [(n, steady[n]["per_peer"]["members_bytes_per_s"]) for n in sizes]),
        ("each restarts hourly", [(n, churn[n]["per_peer"]["members_bytes_per_s"])
                                  for n in whole])])
    plot(save("memory.svg"), "What a peer remembers", "peers", "bytes", [
        ("all members", [(n, steady[n]["per_peer"]["gossip_bytes"]) for n in sizes])] + [
        (f"records, {short(u)} users each", [(n, held(churn[n], n, u)) for n in sizes])
        for u in USERS_EACH[:2]])
    plot(save("latency.svg"), "How long it takes, 40 ms round trip in the mean", "peers", "ms", [
        ("found, p50", [(n, churn[n]["found_ms"]["p50"]) for n in sizes]),
        ("found, p99", [(n, churn[n]["found_ms"]["p99"]) for n in sizes]),
        ("absent, p99", [(n, churn[n]["absent_ms"]["p99"]) for n in sizes]),
        ("absent, slow engine, p99", [(n, engine[n]["absent_ms"]["p99"]) for n in sizes]),
        ("registered safely, p99", [(n, churn[n]["confirmed_ms"]["p99"]) for n in sizes])])
    plot(save("users.svg"), "What users cost a peer, 1,000 peers", "users at each peer",
         "bytes a second", [
             ("telling holders", [(u, told(churn[whole[-1]], u)) for u in USERS_EACH]),
             ("lookups", [(u, asked(churn[whole[-1]], u)) for u in USERS_EACH]),
             ("membership", [(u, steady[whole[-1]]["per_peer"]["members_bytes_per_s"])
                             for u in USERS_EACH])])


def held(run, peers, users):
    return users * min(HOLDERS, peers) * run["held_bytes_per_record"]


def told(run, users):
    return users * CHANGES_PER_DAY / 86400 * run["bytes_per_registration"]


def asked(run, users):
    return users * CALLS_PER_DAY / 86400 * run["bytes_per_lookup"]


# ---- tables ------------------------------------------------------------------------------------

def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def tables(results, f):
    sizes = sorted(map(int, results))
    print(row("peers", "exchanges/s", "bytes/s", "with restarts", "members in memory",
              "a death is known, p50, p99"), file=f)
    print(row(*["---"] * 6), file=f)
    for n in sizes:
        s, c = results[str(n)]["steady"], results[str(n)]["churn"]
        d = c["death_known_ms"]
        print(row(f"{n:,}", f"{s['per_peer']['members_per_s']:.2f}",
                  f"{s['per_peer']['members_bytes_per_s']:,.0f}",
                  f"{c['per_peer']['members_bytes_per_s']:,.0f}" if n <= WHOLE else "",
                  f"{s['per_peer']['gossip_bytes'] / 1e6:.2f} MB",
                  f"{d['p50'] / 1000:.1f}, {d['p99'] / 1000:.1f} s" if d["n"] else ""), file=f)
    print(file=f)
    print(row("peers", "found, p50, p99", "absent, p50, p99", "with a slow engine", "registered safely, p50, p99",
              "questions a lookup", "bytes a lookup", "bytes a registration",
              "lookups", "not known, of living peers", "called absent falsely"), file=f)
    print(row(*["---"] * 11), file=f)
    for n in sizes:
        c = results[str(n)]["churn"]

        def ms(what, c=c):
            return f"{c[what]['p50']:.0f}, {c[what]['p99']:.0f} ms"
        print(row(f"{n:,}", ms("found_ms"), ms("absent_ms"),
                  ms("absent_ms", results[str(n)]["engine"]), ms("confirmed_ms"),
                  f"{c['asks_per_lookup']:.1f}", f"{c['bytes_per_lookup']:,.0f}",
                  f"{c['bytes_per_registration']:,.0f}", f"{c['lookups']:,}",
                  c["unknown_of_living"], c["false_absent"]), file=f)


def main():
    sim, directory = sys.argv[1:3]
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "results.json")
    if "--draw" in sys.argv:
        with open(path, encoding="utf-8") as f:
            results = json.load(f)
    else:
        results = simulate(sim, PEERS[:3] if "--quick" in sys.argv else PEERS)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
            f.write("\n")
    draw(results, directory)
    text = io.StringIO()
    tables(results, text)
    print(text.getvalue())
    page = directory.rstrip("/") + ".md"
    if os.path.exists(page):
        with open(page, encoding="utf-8") as f:
            head, _, rest = f.read().partition(BEGIN)
        with open(page, "w", encoding="utf-8") as f:
            f.write(head + BEGIN + "\n" + text.getvalue() + END + rest.partition(END)[2])


main()
