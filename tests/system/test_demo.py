#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo itself: what it measures, that it can be kept and stopped, and that it leaves nothing
behind, at whatever moment it is interrupted.  Not in a world of its own: it makes one."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import demo
from rig import tap

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo.py")


class Failure(Exception):
    pass


def start(*args):
    return subprocess.Popen([sys.executable, DEMO] + list(args), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def namespaces(pid):
    """PID namespaces of a process and of its descendants."""
    parents = {}
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % p, encoding="ascii", errors="replace") as f:
                parents[int(p)] = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    found, more = {pid}, True
    while more:
        more = {c for c, parent in parents.items() if parent in found} - found
        found |= more
    return {ns for ns in map(namespace, found) if ns} - {namespace("self")}


def namespace(pid):
    try:
        return os.readlink("/proc/%s/ns/pid" % pid)
    except OSError:
        return None


def nothing_left(spaces):
    end = time.monotonic() + 5
    while True:
        left = [p for p in filter(str.isdigit, os.listdir("/proc")) if namespace(p) in spaces]
        links = os.path.exists("/sys/class/net/" + demo.LINK)
        place = os.path.exists(demo.PLACE)
        if not (left or links or place):
            return
        if time.monotonic() > end:
            raise Failure("left behind: processes %s, link %s, folder %s" % (left, links, place))
        time.sleep(0.05)


def test_the_demo_measures_a_perfect_call():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "facts.json")
        p = start("--json", path)
        out, _ = p.communicate(timeout=90)
        if p.returncode:
            raise Failure("exit code %d\n%s" % (p.returncode, out))
        with open(path, encoding="utf-8") as f:
            facts = json.load(f)
    for key in ("audio_correlation_a_to_b", "audio_correlation_b_to_a"):
        if facts[key] < 0.95:
            raise Failure("%s is %s" % (key, facts[key]))
    if len(facts["packets"]) != 6 or any(facts["loss"].values()) or not facts["times"]:
        raise Failure("facts: %s" % facts)
    if not facts["call_after_deregister"].startswith("404"):
        raise Failure("after de-registering: %s" % facts["call_after_deregister"])
    times = facts["times"]
    if times["fourth_peer_ms"] > 10000 or times["join_command_ms"] > times["fourth_peer_joined_ms"] \
       or facts["members"] != 4 or not times["call_carol_alice_ms"]:
        raise Failure("the fourth peer: %s" % facts)
    nothing_left(set())


def test_a_kept_demo_runs_until_it_is_stopped():
    p = start("--keep")
    out, _ = p.communicate(timeout=90)      # returns although the demo goes on
    if p.returncode or "demo --stop" not in out:
        raise Failure("exit code %d\n%s" % (p.returncode, out))
    with open(demo.PIDFILE, encoding="ascii") as f:
        spaces = namespaces(int(f.read()))
    r = subprocess.run(["kamcmd", "-s", "unix:%s/kamailio-a/ctl.sock" % demo.PLACE, "ul.dump"],
                       stdout=subprocess.PIPE, text=True, timeout=10, check=False)
    if "alice" not in r.stdout:
        raise Failure("kamcmd from the host says: " + r.stdout)
    again = start()
    if again.wait(20) != 2:
        raise Failure("a second demo did not refuse to start")
    again.stdout.close()
    if start("--stop").wait(40) != 0:
        raise Failure("it could not be stopped")
    nothing_left(spaces)


def interrupted(sig, *moments):
    for moment in moments:
        p = start()
        time.sleep(moment)      # the moment is what is tested
        spaces = namespaces(p.pid)
        p.send_signal(sig)
        out, _ = p.communicate(timeout=30)
        if p.returncode == 0 or "Traceback" in out:
            raise Failure("interrupted after %g s: exit code %d\n%s" %
                          (moment, p.returncode, out))
        if sig == signal.SIGKILL:
            demo.running()      # as the next start does: sweeps what nobody could remove
        nothing_left(spaces)


def test_ctrl_c_at_any_moment_leaves_nothing():
    interrupted(signal.SIGINT, 0.25, 0.6, 1.5, 4)


def test_sigterm_leaves_nothing():
    interrupted(signal.SIGTERM, 3)


def test_sigkill_leaves_nothing():
    interrupted(signal.SIGKILL, 2)


def main():
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_")]
    pattern = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
    tests = [(n, f) for n, f in tests if pattern in n]
    if os.geteuid() != 0 or not tap.build_tree():
        print("1..0 # SKIP needs root and a build tree")
        return 0
    if demo.running():
        print("1..0 # SKIP a demo is running on this machine")
        return 0
    print("1..%d" % len(tests))
    failed = 0
    for i, (name, f) in enumerate(tests, 1):
        try:
            f()
            verdict = "ok"
        except (Failure, OSError, subprocess.SubprocessError, ValueError, KeyError) as e:
            failed += 1
            verdict = "not ok"
            tap.say(e)
            subprocess.run([sys.executable, DEMO, "--stop"], stdout=subprocess.DEVNULL,
                           timeout=60, check=False)
        print("%s %d - %s" % (verdict, i, name[5:].replace("_", " ")), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
