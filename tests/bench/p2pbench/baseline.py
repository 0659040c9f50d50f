# SPDX-License-Identifier: GPL-2.0-or-later
"""An earlier state of this tree, out of the repository's history, built once beside the build tree
that is measured and kept there."""
import os
import re
import shutil
import subprocess
import time

from .proc import die_with_parent

COMMIT = "541d5af"      # the last one before peers had sessions
LIMIT_S = 900
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


class Missing(Exception):
    """There is no baseline on this machine; the text says why."""


def build(bench):
    """(build tree, source tree) of the commit."""
    top = os.path.join(bench.args.build, "baseline-" + COMMIT)
    tree, source = os.path.join(top, "tree"), os.path.join(top, "source")
    if not os.path.exists(os.path.join(top, "built")):
        bench.say(f"building {COMMIT} to compare with, in {top}: a few minutes, once")
        shutil.rmtree(top, ignore_errors=True)
        os.makedirs(tree)
        os.makedirs(source)
        run = Steps(os.path.join(top, "log"))
        archive(run, source)
        run(["./autogen.sh"], source)
        run([os.path.join(source, "configure"), *options(bench.args.build)], tree)
        run(["make", f"-j{os.cpu_count() or 1}"], tree)
        with open(os.path.join(top, "built"), "w"):
            pass
    return tree, source


class Steps:
    """Commands, all within one limit of time and with one log."""

    def __init__(self, log):
        self.log = log
        self.end = time.monotonic() + LIMIT_S

    def __call__(self, argv, cwd, **kw):
        with open(self.log, "ab") as log:
            kw.setdefault("stdout", log)
            try:
                r = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stderr=log,
                                   timeout=max(1, self.end - time.monotonic()),
                                   preexec_fn=die_with_parent, **kw)
            except (OSError, subprocess.TimeoutExpired) as e:
                raise Missing(f"{argv[0]}: {e}") from None
        if r.returncode:
            raise Missing(f"{argv[0]} ended with status {r.returncode}: see {self.log}")
        return r


def archive(run, target):
    """The files of the commit, unpacked."""
    path = target + ".tar"
    with open(path, "wb") as out:
        try:
            run(["git", "-c", "safe.directory=" + repository(), "archive", COMMIT], SOURCE,
                stdout=out)
        except Missing as e:
            raise Missing(f"this is no clone that has commit {COMMIT} ({e})") from None
    run(["tar", "-xf", path], target)
    os.unlink(path)


def repository():
    """The folder that git would ask its owner's trust for."""
    d = SOURCE
    while not os.path.exists(os.path.join(d, ".git")) and d != "/":
        d = os.path.dirname(d)
    return d


def options(build):
    """Configure's options that say where Kamailio is, as the tree that is measured has them."""
    with open(os.path.join(build, "config.log"), errors="replace") as f:
        line = re.search(r"^  \$ \S*configure(.*)$", f.read(), re.M)
    words = [w.strip("'") for w in (line.group(1).split() if line else [])]
    return [f"{key}={os.path.join(build, value) if value[:1] == '.' else value}"
            for key, _, value in (w.partition("=") for w in words)
            if key.startswith("--with-kamailio") and value]
