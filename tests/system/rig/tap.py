# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the test functions of a script in a world of its own and reports in TAP.

    @tap.on(two_peers)          # the scene it plays in: a function that builds one
    @tap.limit(90)              # seconds; 60 unless told
    @tap.long                   # only with --long
    def test_unknown_user_is_404(s): ...

    if __name__ == "__main__":
        tap.main(globals())

Tests run in the order written.  Neighbours on the same scene share it; after a failure it is
built anew, so that one failure does not become several.  A function that raises tap.Skip is
reported as skipped, with the reason.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import time
import traceback

from . import net, pace, proc, world

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TREE = os.path.dirname(os.path.dirname(HERE))

# What a daemon that must not crash says when it does.
CRASH = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|exited by a signal|"
                   r"core was generated|terminate called|Assertion .* failed|stack smashing|"
                   r"double free|qm_debug_(check|frag)")

# What every start says.
NOISE = re.compile(r"INFO: (<core>|rr|ctl) |^Listening on|^Aliases:|^\s+(udp|tcp): |^\s*$")


class Skip(Exception):
    """This machine lacks something the test needs; the reason is reported."""


def on(scene):
    def mark(f):
        f.scene = scene
        return f
    return mark


def limit(seconds):
    def mark(f):
        f.limit = seconds
        return f
    return mark


def long(f):            # pylint: disable=redefined-builtin
    f.long = True
    return f


def say(text=""):
    for line in str(text).rstrip("\n").split("\n"):
        print("# " + line if line else "#", flush=True)


class _TimeUp(BaseException):
    pass


def _alarm(_signum, _frame):
    raise _TimeUp


def build_tree():
    """The build tree: P2PSIP_BUILD, or what is usual; None when there is none."""
    for d in (os.environ.get("P2PSIP_BUILD_TREE"), os.environ.get("top_builddir"),
              os.path.join(TREE, "build", "tree"), TREE):
        if d and os.path.exists(os.path.join(d, "config.status")):
            return os.path.abspath(d)
    return None


def main(namespace, needs_build=True):
    script = os.path.basename(sys.argv[0])
    ap = argparse.ArgumentParser(prog=script)
    ap.add_argument("pattern", nargs="?", default="", help="only tests whose name holds this")
    ap.add_argument("--long", action="store_true", help="also those that take minutes")
    ap.add_argument("--list", action="store_true", help="name the tests and stop")
    ap.add_argument("--evidence", metavar="DIR", default=os.environ.get("P2PSIP_EVIDENCE"),
                    help="where to put the logs of failed tests")
    args = ap.parse_args()
    tests = [(n, f) for n, f in namespace.items()
             if n.startswith("test_") and callable(f) and args.pattern in n
             and (args.long or args.list or not getattr(f, "long", False))]
    if args.list:
        print("\n".join(n for n, _ in tests))
        return
    if not tests:
        print("1..0 # SKIP no test of that name, or only long ones")
        return
    tree = build_tree()
    if needs_build and not tree:
        print("1..0 # SKIP no build tree: ./quickstart build, or set P2PSIP_BUILD_TREE")
        return
    evidence = args.evidence or os.path.join(tree or "/tmp", "test-logs")
    os.makedirs(evidence, exist_ok=True)
    evidence_fd = os.open(evidence, os.O_PATH | os.O_DIRECTORY)
    try:
        world.enter(TREE, tree)
    except world.Unavailable as e:
        print("1..0 # SKIP %s" % e)
        return
    code = 1
    net.loopback_up()
    pace.start()
    try:
        code = _run(script, tests, "/proc/self/fd/%d" % evidence_fd, evidence)
    except KeyboardInterrupt:
        print("Bail out! interrupted")
        code = 130
    try:
        os.rmdir(evidence)      # where nothing failed there is none
    except OSError:
        pass
    sys.stdout.flush()
    os._exit(code)


def _run(script, tests, evidence, shown):
    print("1..%d" % len(tests), flush=True)
    signal.signal(signal.SIGALRM, _alarm)
    scene = None
    built_by = None
    failed = 0
    for number, (name, f) in enumerate(tests, 1):
        factory = getattr(f, "scene", None)
        start = time.monotonic()
        seconds = getattr(f, "limit", 60)
        verdict, why, stop_scene = "ok", "", False
        try:
            signal.alarm(seconds)
            if factory is not built_by or (factory and not scene):
                old, scene, built_by = scene, None, None
                if old:
                    old.close()
                    _clear()        # the next scene's parts are to find nobody's state
                if factory:
                    scene = factory()
                    built_by = factory
            if factory:
                f(scene)
                scene.check()
            else:
                f()
            signal.alarm(0)
        except Skip as e:
            signal.alarm(0)
            verdict, why = "ok", " # SKIP %s" % e
        except _TimeUp:
            verdict = "not ok"
            say("not finished within %d s, at:" % seconds)
            say(traceback.format_exc(limit=-4))
        except KeyboardInterrupt:
            raise
        except Exception as e:      # pylint: disable=broad-except
            signal.alarm(0)
            verdict = "not ok"
            tb = traceback.extract_tb(e.__traceback__)
            spot = ["%s:%d %s" % (os.path.basename(x.filename), x.lineno, x.line) for x in tb
                    if "/rig/" not in x.filename or len(tb) < 3][-3:]
            say("%s%s" % ("" if isinstance(e, proc.Failed) else type(e).__name__ + ": ", e))
            say("at " + "\n   ".join(spot or ["?"]))
            if not isinstance(e, (proc.Failed, AssertionError)):
                say(traceback.format_exc())
        if verdict != "ok":
            failed += 1
            _save(script, name, evidence, shown)
            stop_scene = True
        print("%s %d - %s%s" % (verdict, number, name[5:].replace("_", " "), why), flush=True)
        say("%.1f s" % (time.monotonic() - start))
        if stop_scene:
            signal.alarm(0)
            _abandon()
            scene = built_by = None
    if scene:
        try:
            signal.alarm(60)
            scene.close()
            signal.alarm(0)
        except (_TimeUp, Exception) as e:      # pylint: disable=broad-except
            failed += 1
            say("at the end of the last scene: %r" % e)
            _save(script, "end", evidence, shown)
            print("not ok %d - the scene ends in order" % (len(tests) + 1))
    return 1 if failed else 0


def _abandon():
    """Nothing of the scene is to reach the next test."""
    for p in proc.started:
        p.expected = True
        if p.running():
            p.kill()
    _clear()


def _clear():
    proc.started.clear()
    net.clear()
    for entry in os.listdir(world.WORK):
        path = os.path.join(world.WORK, entry)
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def _save(script, name, evidence, shown):
    """Log tails to the report, everything to the evidence directory."""
    for p in proc.started:
        text = p.tail(12, skip=NOISE)
        if text and not p.name.startswith("tcpdump"):
            say("--- %s (%s)" % (p.name, p.how()))
            say(text)
    target = "%s-%s" % (script.removesuffix(".py"), name)
    try:
        shutil.rmtree(os.path.join(evidence, target), ignore_errors=True)
        shutil.copytree(world.WORK, os.path.join(evidence, target), symlinks=True,
                        ignore=_not_files)
        say("evidence: %s" % os.path.join(shown, target))
    except (OSError, shutil.Error) as e:
        say("evidence could not be saved: %s" % e)


def _not_files(folder, names):
    return [n for n in names if n == "sent.wav"
            or not (os.path.isfile(os.path.join(folder, n)) or
                    os.path.isdir(os.path.join(folder, n)))]


def check_processes():
    """Raises Failed if a process ended that nobody told to, or spoke of a crash."""
    for p in proc.started:
        if not p.expected and not p.running():
            raise proc.Failed("%s ended by itself: %s\n%s" % (p.name, p.how(), p.tail()))
        m = CRASH.search(p.text())
        if m and not p.name.startswith(("phone", "sipp")) and not getattr(p, "may_crash", False):
            raise proc.Failed("%s crashed: %s" % (p.name, m.group(0)))
    proc.started[:] = [p for p in proc.started if p.running()]
