# SPDX-License-Identifier: GPL-2.0-or-later
"""Lookups between eight peers, 20 ms there and back between each two: what a first call to a user
costs beyond that, how soon new users are found and old ones are not, how fast users that do not exist
are 404, and whether ever anybody is who does."""
import statistics
import threading
import time

from . import calls, contact
from .net import Emulator

RTT_MS = 20
PEERS = 7               # besides A
USERS_EACH = 30         # called, of each peer
BARS = {"lookup_cold_extra_ms": 2, "visible_p99_ms": 1000, "gone_p99_ms": 1000, "false_404": 0,
        "miss_p99_ms": 300}
NEW_RATE, MISS_RATE = 300, 100
KILLS = 4


def run(bench, figures):
    with bench.side_dir("fresh") as directory, Emulator(bench, directory, RTT_MS / 2) as far:
        site = Far(bench, far, directory)
        try:
            site.start()
            for n in range(min(bench.args.runs, 3)):
                cold(bench, figures, site, n)
                visible(bench, figures, site, n)
                miss(bench, figures, site, n)
            false_404(bench, figures, site)
        finally:
            site.stop()


class Far(contact.Sites):
    """A and the others, all of them up."""

    def __init__(self, bench, far, directory):
        super().__init__(bench, far, directory, "udp")
        self.peers = self.peers[:PEERS + 1]
        self.gateways = {}
        self.next_user = 0

    def _daemon(self, binary, template, host, role):
        self.gateways[host] = super()._daemon(binary, template, host, role)
        return self.gateways[host]

    def start(self):
        super().start()
        self.restart_a()

    def known(self):
        """Enough when it knows all the others, or a bucket full of them."""
        return max(super().known(), contact.BUCKET * (super().known() >= PEERS))

    def users(self, n):
        first = self.next_user
        self.next_user += n
        return first

    def ways(self, hosts):
        return [f"{self.bench.net.addr(h)}:{contact.PORT}" for h in hosts]

    def load(self, mode, seed, **options):
        net = self.bench.net
        return self.bench.load.run(
            mode, check=False, local=f"{net.addr('u')}:{next(calls.CALLER_PORT)}",
            local_netns=net.ns("u"), callee=calls.callee(self.bench), callee_netns=net.ns("v"),
            seed=seed, **options)


def cold(bench, figures, site, n):
    """Users of all peers that A has never asked for, over open sessions, one after the other; then
    once more. A itself is a holder of about half of them, and asks nobody: the figure is of the
    others, whose first call takes half a round trip more at the least."""
    hosts = site.peers[1:]
    first = site.users(len(hosts) * (USERS_EACH + 1))
    for i, host in enumerate(hosts):
        calls.register(bench, USERS_EACH + 1, first + i * (USERS_EACH + 1), f"cold{n}x{i}", host,
                       (contact.PORT,))
    site.wait_published(range(first, site.next_user))
    time.sleep(1)   # what was put off is done
    times = {}
    for which in ("open", "cold", "cached"):
        got = []
        for i in range(len(hosts)):
            at = first + i * (USERS_EACH + 1)
            users = (at + USERS_EACH, 1) if which == "open" else (at, USERS_EACH)
            got += site.load("call", f"{which}{n}x{i}", target=site.ways("a")[0], first=users[0],
                             users=users[1], sdp=True, samples=True)["target"]["arrival_ms"]["samples"]
        times[which] = got
        if which == "cold" and len(got) != len(hosts) * USERS_EACH:
            raise RuntimeError("location: not all calls to users not known yet went through")
    cached = statistics.median(times["cached"])
    away = [ms for ms in times["cold"] if ms > cached + RTT_MS / 2]
    if len(away) < USERS_EACH:
        raise RuntimeError(f"location: only {len(away)} of {len(times['cold'])} users that A had to ask for")
    extra = statistics.median(away) - cached - RTT_MS
    figures.add("lookup_cold_extra_ms", "ms", "ours", extra, BARS["lookup_cold_extra_ms"])
    figures.add("lookup_cold_extra_ms", "ms", "baseline", cached + RTT_MS)
    bench.say("  first call {:.2f} ({} of {} users, A holds the others), again {:.2f} ms: {:.2f} beyond one "
              "round trip".format(statistics.median(away), len(away), len(times["cold"]), cached, extra))


def visible(bench, figures, site, n):
    users = int(NEW_RATE * bench.args.duration / 4)
    first = site.users(users)
    where = {"target": site.ways("a")[0], "via": site.ways(site.peers[1:]), "first": first,
             "users": users}
    got = site.load("visible", f"visible{n}", rate=NEW_RATE, gap=50, timeout=10000, **where)
    if got["registered"] != users or got["never"]:
        raise RuntimeError(f"location: {got['registered']} of {users} registered, "
                           f"{got['never']} never found")
    figures.add("visible_p99_ms", "ms", "ours", got["visible_ms"]["p99"], BARS["visible_p99_ms"])
    users = where["users"] = max(100, users // 4)
    gone = site.load("visible", f"visible{n}", rate=NEW_RATE / 3, gap=200, timeout=2000, expires=0,
                     cseq=2, **where)
    figures.add("gone_p99_ms", "ms", "ours", gone["gone_ms"]["p99"], BARS["gone_p99_ms"])
    bench.say("  found {:.1f} ms after the 200 at p99, still routed {:.1f} ms after".format(
        got["visible_ms"]["p99"], gone["gone_ms"]["p99"]))


def miss(bench, figures, site, n):
    count = int(MISS_RATE * bench.args.duration / 4)
    got = site.load("lookup", f"miss{n}", via=site.ways(["a"] + site.peers[1:]),
                    first=600000 + n * count, users=count, count=count, rate=MISS_RATE)
    if got["responses"] != {"404": count}:
        raise RuntimeError(f"location: users that do not exist: {got['responses']}")
    figures.add("miss_p99_ms", "ms", "ours", got["refusal_ms"]["p99"], BARS["miss_p99_ms"])


def false_404(bench, figures, site):
    """Gateways are killed and started again while everybody is called from everywhere."""
    hosts = site.peers[1:]
    first = site.users(len(hosts) * USERS_EACH)
    for i, host in enumerate(hosts):
        calls.register(bench, USERS_EACH, first + i * USERS_EACH, f"false{i}", host,
                       (contact.PORT,))
    site.wait_published(range(first, site.next_user))
    rate = 100
    count = int(rate * (KILLS * 3 + 2))
    result = {}
    thread = threading.Thread(target=lambda: result.update(site.load(
        "lookup", "false", via=site.ways(["a"] + hosts), first=first,
        users=len(hosts) * USERS_EACH, count=count, rate=rate, random=True, active=5000)))
    thread.start()
    for host in hosts[:KILLS]:
        time.sleep(1.5)
        site.gateways[host].popen.kill()
        site.gateways[host].popen.wait()
        time.sleep(1)
        site.others.remove(site.gateways[host])
        site.others.insert(0, site._daemon(site.gateway, contact.GATEWAY, host, "gateway"))
    thread.join(120)
    false = result["responses"].get("404", 0)
    figures.add("false_404", "of %d" % count, "ours", false, BARS["false_404"])
    bench.say(f"  {count} lookups, {KILLS} gateways killed meanwhile: {result['responses']}")
