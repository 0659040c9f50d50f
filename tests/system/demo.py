#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration behind `quickstart demo`: three overlay peers, two phones, one call; then a
fourth peer joins.

It tells what happens as it happens, measured on the wire, and leaves nothing behind.
"""

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from rig import audio, enrol, overlay, pcap, proc, tap, world     # noqa: E402

PLACE = "/run/p2psip-demo"      # sockets, logs and settings while it runs
PIDFILE = PLACE + "/pid"
LINK = "p2psip-demo"            # the host's end of the way in, with --keep
HOST4 = "192.0.2.1"
DOMAIN = "sip.example"
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "christmas", "guest": "guest"}
SECONDS = 8
TERMINAL = sys.stdout.isatty()


class Teller:
    """Prints the story, and keeps the facts for --json."""

    def __init__(self):
        self.began = time.monotonic()
        self.facts = {"times": {}, "packets": {}, "loss": {}}
        self.bold = ("\033[1m", "\033[0m") if TERMINAL else ("", "")

    def part(self, text):
        print("\n%s%5.1f s  %s%s" % (self.bold[0], time.monotonic() - self.began, text,
                                     self.bold[1]), flush=True)

    def line(self, text=""):
        for x in str(text).splitlines() or [""]:
            print(("         " + x).rstrip(), flush=True)

    def took(self, key, ms):
        self.facts["times"][key] = round(ms, 2)
        return "%.1f ms" % ms if ms < 1000 else "%.2f s" % (ms / 1000)


def since(start):
    return (time.monotonic() - start) * 1000


def peers_start(t):
    t.part("Three overlay peers start, each in a network namespace of its own")
    s = overlay.Overlay(3, start=False, prepare=prepare, enrolled=True)
    start = time.monotonic()
    for p in s.peers:
        s.enrol(p)
        p.start()
        hit = p.gateway.status().get("hit", "?")
        t.line("peer %s  phones: %s  other peers: %s  HIT %s" %
               (p.name, p.address, p.overlay_address, hit))
        t.facts.setdefault("peers", {})[p.name] = {
            "phones": p.address, "overlay": p.overlay_address, "hit": hit}
    t.line("each runs kamailio, rtpengine, p2psip-gateway with its own DHT node, p2psip-relay")
    t.line("peer a has begun the overlay (p2psipctl overlay create); b and c have joined it (p2psipctl")
    t.line("join) with tokens that peer a has made (p2psipctl invite)")
    t.line("all are up after %s" % t.took("start_ms", since(start)))
    start = time.monotonic()
    s.joined()
    t.line("their DHT nodes are connected after another %s" % t.took("join_ms", since(start)))
    return s


def prepare(p):
    p.kamailio.defines += ['P2P_DOMAIN="%s"' % DOMAIN, "WITH_P2P_AUTH"]
    p.gateway.settings["log"]["level"] = "info"
    p.node.run("ip", "route", "add", "default", "via", HOST4)


def enrol_users(t, s):
    t.part("The authority, at peer a, enrols users")
    start = time.monotonic()
    enrol.ctl(s.a, "overlay", "rules", "--realm", DOMAIN, "--digests", "MD5", "--permission",
              "required")
    for user, password in PASSWORDS.items():
        enrol.ctl(s.a, "user", "add", user, "--any", stdin=password + "\n")
    for p in s.peers:
        proc.wait_for("peer %s knows the realm" % p.name, lambda p=p: p.kamailio.rpc(
            "p2p_usrloc.status")["realm"] == DOMAIN, 10, 0.02)
    t.line("p2psipctl user add NAME --any: %s, each with a password, may register at any peer" %
           ", ".join(PASSWORDS))
    t.line("all peers know after %s; no server has a table of users" %
           t.took("users_ms", since(start)))


def register(t, s, user, at, seed, **kw):
    start = time.monotonic()
    p = s.phone(user, at, seed=seed, domain=DOMAIN, proxy=at.address, seconds=60,
                password=PASSWORDS[user], **kw)
    contact = next((c for aor, found in at.kamailio.contacts().items() if user in aor
                    for c in found), "?")
    t.line("%s (baresip at %s) is registered at peer %s; phone and all: %s" %
           (p.aor, p.address, at.name, t.took("register_%s_ms" % user, since(start))))
    t.line("    usrloc there has the contact %s" % contact)
    return p


def show_dht(t, s, users):
    t.part("What the DHT holds")
    found = {}
    for user, at in users:
        for p in s.peers:
            if p is at:
                continue
            start = time.monotonic()
            s.found(user, p)
            found[user] = p.gateway.lookup(user)
            took = t.took("lookup_%s_from_%s_ms" % (user, p.name), since(start))
        t.line("%s: found from peer %s in %s" % (user, p.name, took))
        for c in found[user]:
            t.line("    " + candidate(c))
    t.facts["records"] = found
    t.line("nothing but that: no phone's address, and the key is an HMAC of the name")


def candidate(c):
    """One candidate of a lookup as a line."""
    return "served by %s at %s; vouched for during the next %d s" % (
        c["peer"], c["uris"], int(c["ttl_ms"]) // 1000)


def sdp_lines(m):
    return [x for x in m.body.splitlines() if x[:2] in ("c=", "m=")]


def call(t, s, alice, bob):
    t.part("alice calls bob")
    captures = {p.name: pcap.Capture(p.node) for p in (s.a, s.b)}
    bob.forget()
    start = time.monotonic()
    alice.dial("sip:bob@" + DOMAIN)
    bob.wait("CALL_INCOMING")
    ring = since(start)
    t.line("bob's phone rings after %s" % t.took("invite_to_ringing_ms", ring))
    bob.answer()
    alice.wait("CALL_ESTABLISHED")
    t.line("bob answers; they talk for %d s" % SECONDS)
    time.sleep(SECONDS - 0.5)
    queries = {p.name: p.rtpengine.query(p.media_calls()[0]) for p in (s.a, s.b)
               if p.media_calls()}
    time.sleep(0.5)
    alice.hangup()
    bob.wait("CALL_CLOSED")
    t.line("alice hangs up")
    seen = {name: c.stop() for name, c in captures.items()}
    return seen, queries


def tell_signalling(t, s, seen):
    t.part("Which way the call went")
    at_a = pcap.sip(seen["a"])
    at_b = pcap.sip(seen["b"])
    invite = [m for m in at_a if m.method == "INVITE" and m.code is None]
    to_b = next(m for m in invite if m.dst == s.b.overlay_address)
    # the one with her password's digest: the first one was challenged
    sent = [m for m in invite if m.src == invite[0].src and m.time <= to_b.time][-1]
    ms = (to_b.time - sent.time) * 1000
    t.line("peer a found bob's peer and sent the INVITE on to %s over %s after %s" %
           (to_b.dst, to_b.proto.upper(), t.took("invite_in_to_invite_out_ms", ms)))
    to_bob = [m for m in at_b if m.method == "INVITE" and m.code is None][-1]
    t.line("what the SDP offers, as")
    for who, m in (("alice sent it", sent), ("peer b got it", to_b), ("bob got it", to_bob)):
        t.line("    %-14s %s" % (who, "   ".join(sdp_lines(m))))
    answers = [m for m in at_b + at_a if m.code == 200 and m.method == "INVITE" and m.body]
    t.line("and the answer, as")
    ways = (("bob sent it", lambda m: m.src == to_bob.dst),
            ("peer a got it", lambda m: m.dst == s.a.overlay_address),
            ("alice got it", lambda m: m.dst == sent.src))
    for who, test in ways:
        m = next(filter(test, answers))
        t.line("    %-14s %s" % (who, "   ".join(sdp_lines(m))))
    t.facts["sdp"] = {"offer": {"sent": sent.body, "between": to_b.body,
                                "received": to_bob.body}}


def tell_media(t, s, seen, queries, alice, bob):
    t.part("Packets and loss on each leg")
    name = {alice.address: "alice", bob.address: "bob", s.a.address: "a", s.b.address: "b",
            s.a.overlay_address: "a", s.b.overlay_address: "b"}
    for at, pkts in seen.items():
        for leg in pcap.rtp(pkts, pcap.media_endpoints(pcap.sip(pkts))):
            frm, to = name.get(leg.src_ip, leg.src_ip), name.get(leg.dst_ip, leg.dst_ip)
            if at == "b" and {frm, to} == {"a", "b"} and frm == "b" or \
               at == "a" and {frm, to} == {"a", "b"} and frm == "a":
                continue        # told where it arrives
            key = "%s_to_%s" % (frm, to)
            t.facts["packets"][key] = leg.packets
            t.facts["loss"][key] = leg.lost
            t.line("%-6s -> %-6s %5d packets, %d lost   (%s > %s)" %
                   (frm, to, leg.packets, leg.lost, leg.src, leg.dst))
    for at, q in queries.items():
        totals = q.get("totals", {}).get("RTP", {})
        t.line("rtpengine of peer %s: %s packets relayed, %s errors" %
               (at, totals.get("packets"), totals.get("errors")))
    t.part("How well what was heard matches what was said")
    for key, frm, to in (("audio_correlation_a_to_b", alice, bob),
                         ("audio_correlation_b_to_a", bob, alice)):
        c, _ = audio.match(frm.sent, to.heard())
        t.facts[key] = round(c, 5)
        t.line("%s -> %s: correlation %.4f" % (frm.user, to.user, c))


def leave(t, s, alice, bob):
    t.part("bob de-registers")
    bob.account_remove()
    start = time.monotonic()
    proc.wait_for("bob is gone", lambda: s.c.gateway.lookup("bob") is None, 10)
    t.line("peer c finds him no more after %s" % t.took("deregister_ms", since(start)))
    alice.dial("sip:bob@" + DOMAIN)
    e = alice.wait("CALL_CLOSED")
    t.line("alice calls him again: %s" % e.get("param"))
    t.facts["call_after_deregister"] = e.get("param")
    alice.account_remove()
    s.quiet()
    t.line("alice de-registers too; no call is left in kamailio, relay or rtpengine")


def fourth_peer(t, s, alice):
    t.part("A fourth peer joins")
    d = s.add()
    token = enrol.invite(s.a)
    t.line("at peer a:  p2psipctl invite")
    t.line("    " + token[:40] + "...")
    start = time.monotonic()
    enrol.join(d, token)
    t.line("at peer d:  p2psipctl join %s...   took %s" % (token[:16], t.took("join_command_ms",
                                                                            since(start))))
    d.start()
    proc.wait_for("peer d's DHT node is connected", d.gateway.joined, 10, 0.02)
    t.line("its four servers are up, and it is connected, after %s" %
           t.took("fourth_peer_joined_ms", since(start)))
    t.facts["peers"]["d"] = {"phones": d.address, "overlay": d.overlay_address,
                             "hit": d.gateway.status().get("hit", "?")}
    carol = register(t, s, "carol", d, 3, answer="auto")
    t.line("    with the password that she has at every peer; nothing was set up for her here")
    t.took("fourth_peer_ms", since(start))
    for frm, to in ((alice, carol), (carol, alice)):
        start = time.monotonic()
        frm.dial("sip:%s@%s" % (to.user, DOMAIN))
        if to is alice:
            to.wait("CALL_INCOMING")
            to.answer()
        frm.wait("CALL_ESTABLISHED")
        t.line("%s calls %s: answered after %s" %
               (frm.user, to.user, t.took("call_%s_%s_ms" % (frm.user, to.user), since(start))))
        time.sleep(0.5)
        frm.hangup()
        for p in (frm, to):
            p.wait("CALL_CLOSED")
    listed = enrol.members(s.a)
    t.line("p2psipctl peer list, at peer a, names %d members" % len(listed))
    t.facts["members"] = len(listed)
    s.drop(carol)


KEEP = """
The four peers go on running, alice (peer a) and bob (peer b) answer by themselves.

A phone of your own, on this machine:
    registrar / proxy   {c}   (peer c; or {a}, {b})
    user                guest, password {guest}; domain {domain}
    then call           sip:alice@{domain}  or  sip:bob@{domain}
More users:
    {ctl} --gateway {place}/gateway-a/admin user add NAME --any
For one on another machine, send 192.0.2.0/24 to this machine there, and switch on
net.ipv4.ip_forward here.

To look inside:
    kamcmd -s unix:{place}/kamailio-a/ctl.sock ul.dump
    kamcmd -s unix:{place}/kamailio-a/ctl.sock p2p_usrloc.stats
    kamcmd -s unix:{place}/kamailio-a/ctl.sock p2p_route.peers
    {ctl} --gateway {place}/gateway-c/admin lookup bob
    {ctl} --gateway {place}/gateway-a/admin status
Logs: {place}/*.log

To end it:  sudo ./quickstart demo --stop
"""


def keep(t, s, told):
    """Re-registers the phones as answering machines, tells how to get in, and waits."""
    for user, at, seed in (("alice", s.a, 1), ("bob", s.b, 2)):
        for p in [x for x in s.phones if x.user == user]:
            s.drop(p)
        s.phone(user, at, seed=seed, domain=DOMAIN, proxy=at.address, answer="auto",
                password=PASSWORDS[user])
    subprocess.run(["ip", "link", "set", "host", "master", "ua", "up"], check=True, timeout=5)
    print(KEEP.format(a=s.a.address, b=s.b.address, c=s.c.address, domain=DOMAIN, place=PLACE,
                      guest=PASSWORDS["guest"],
                      ctl=os.path.join(tap.build_tree() or "", "ctl/p2psipctl")), flush=True)
    os.write(told, b"k")
    os.close(told)
    while True:
        signal.pause()


class Unbroken:
    """Standard output whose reader may go (`... | head`): the demo goes on without it."""

    def __init__(self, out):
        self.out = out

    def write(self, text):
        try:
            self.out.write(text)
        except BrokenPipeError:
            pass

    def flush(self):
        try:
            self.out.flush()
        except BrokenPipeError:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)


def story(args, told):
    sys.stdout = Unbroken(sys.stdout)
    t = Teller()
    s = None
    code = 1
    try:
        s = peers_start(t)
        enrol_users(t, s)
        t.part("Two phones register")
        bob = register(t, s, "bob", s.b, 2)
        alice = register(t, s, "alice", s.a, 1)
        show_dht(t, s, (("alice", s.a), ("bob", s.b)))
        seen, queries = call(t, s, alice, bob)
        tell_signalling(t, s, seen)
        tell_media(t, s, seen, queries, alice, bob)
        fourth_peer(t, s, alice)
        leave(t, s, alice, bob)
        worst = min(t.facts["audio_correlation_a_to_b"], t.facts["audio_correlation_b_to_a"])
        code = 0 if worst >= 0.95 and not any(t.facts["loss"].values()) else 1
        t.facts["ok"] = code == 0
        if args.json_fd is not None:
            with os.fdopen(args.json_fd, "w", encoding="utf-8") as f:
                json.dump(t.facts, f, indent=2, default=str)
                f.write("\n")
        if args.keep and code == 0:
            keep(t, s, told)
        t.part("The end" if code == 0 else "Something was lost on the way: see above")
        s.close()
        t.line("all processes have ended, the namespaces are gone with them")
    except KeyboardInterrupt:
        print("\ninterrupted: everything is being taken down", flush=True)
        code = 130
    except Exception as e:      # pylint: disable=broad-except
        if isinstance(e, proc.Failed):
            print("\nthe demo failed: %s" % e)
        else:
            import traceback        # pylint: disable=import-outside-toplevel
            traceback.print_exc()
        for p in proc.started:
            text = p.tail(12, skip=tap.NOISE)
            if text and not p.name.startswith("tcpdump"):
                print("--- %s (%s)\n%s" % (p.name, p.how(), text))
        save_logs()
    sys.stdout.flush()
    os._exit(code)


def save_logs():
    target = os.path.join(os.environ.get("P2PSIP_BUILD_TREE") or "/tmp", "demo-logs")
    try:
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        for name in os.listdir(world.WORK):
            if name.endswith((".log", ".pcap")):
                shutil.copy(os.path.join(world.WORK, name), target)
        print("the logs are in %s" % target)
    except OSError as e:
        print("the logs could not be saved: %s" % e)


# --- outside of the world -----------------------------------------------------------------------
def running():
    """The PID of a demo that is there, or None; leftovers of a killed one are removed."""
    try:
        with open(PIDFILE, encoding="ascii") as f:
            pid = int(f.read())
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            if b"demo.py" in f.read():
                return pid
    except (OSError, ValueError):
        pass
    shutil.rmtree(PLACE, ignore_errors=True)
    return None


def stop():
    pid = running()
    if not pid:
        print("no demo is running")
        return 0
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 30
    while running() == pid:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)        # the kernel takes the world down with it
            shutil.rmtree(PLACE, ignore_errors=True)
            break
        time.sleep(0.05)
    print("the demo has ended")
    return 0


def way_in(pid):
    """A link from the host into the phones' network; it goes when the world's end of it goes."""
    def ip(*args):
        subprocess.run(["ip"] + list(args), check=True, timeout=5)
    ip("link", "add", LINK, "type", "veth", "peer", "name", "host", "netns", str(pid))
    ip("addr", "add", HOST4 + "/24", "dev", LINK)
    ip("link", "set", LINK, "up")


def background():
    """For --keep: the demo runs in a child whose output this process passes on, and which goes
    on alone when it has said its piece (this process returns to the shell then)."""
    r, w = os.pipe()
    out_r, out_w = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        os.close(out_r)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd, to in ((null, 0), (out_w, 1), (out_w, 2)):
            os.dup2(fd, to)
        os.close(null)
        os.close(out_w)
        return w
    os.close(w)
    os.close(out_w)

    def pass_on(signum, _frame):
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass
    for sig in world.END_SIGNALS:
        signal.signal(sig, pass_on)
    kept = False
    while not kept:
        ready, _, _ = select.select([r, out_r], [], [])
        if out_r in ready:
            text = os.read(out_r, 65536)
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            if not text:
                break
        elif r in ready:
            kept = bool(os.read(r, 1))
            if not kept:
                break
    if kept:
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xff)


def main():
    ap = argparse.ArgumentParser(prog="quickstart demo", description=__doc__.splitlines()[0])
    ap.add_argument("--keep", action="store_true", help="leave it running")
    ap.add_argument("--json", metavar="FILE", help="write the facts there")
    ap.add_argument("--stop", action="store_true", help="end one that was left running")
    args = ap.parse_args()
    if args.stop:
        return stop()
    tree = tap.build_tree()
    if not tree:
        print("no build tree: use ./quickstart demo", file=sys.stderr)
        return 2
    if running():
        print("a demo is running already: sudo ./quickstart demo --stop", file=sys.stderr)
        return 2
    args.json_fd = None
    if args.json:
        args.json_fd = os.open(args.json, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    told = background() if args.keep else None
    os.makedirs(PLACE)
    with open(PIDFILE, "w", encoding="ascii") as f:
        f.write("%d\n" % os.getpid())
    try:
        world.enter(tap.TREE, tree, PLACE, way_in if args.keep else None,
                    lambda: shutil.rmtree(PLACE, ignore_errors=True))
    except world.Unavailable as e:
        shutil.rmtree(PLACE, ignore_errors=True)
        print("the demo cannot run here: %s" % e, file=sys.stderr)
        return 1
    return story(args, told)


if __name__ == "__main__":
    sys.exit(main())
