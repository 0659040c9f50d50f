#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Other ways to build than the one the other tests run on: clang, Kamailio 6.0's headers, no
OpenDHT, sanitizers, an installation, a tarball."""

import os
import re
import shutil
import subprocess

from rig import proc, tap, world

WARNING = re.compile(r"^.*\.(?:c|h|cpp):\d+:\d+: warning: .*$", re.M)
MODULES = ("p2p_usrloc", "p2p_registrar", "p2p_route", "p2p_media")


def run(log, *argv, cwd=None, env=None, check=True):
    """A command with its output in a log; returns the output, raises Failed with its end."""
    path = os.path.join(world.WORK, log + ".log")
    environ = dict(os.environ)
    environ.update(env or {})
    with open(path, "a", encoding="utf-8") as out:
        code = subprocess.call(argv, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=out,
                               stderr=subprocess.STDOUT)
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    if check and code:
        raise proc.Failed("%s: exit code %d\n%s" % (" ".join(argv), code, text[-3000:]))
    return text


def source(*, variable="P2PSIP_KAMAILIO_SRC"):
    """Kamailio's source tree; where the tests were not started by quickstart, the build's own."""
    d = os.environ.get(variable)
    if not d and variable == "P2PSIP_KAMAILIO_SRC":
        with open(world.BUILD + "/config.log", encoding="utf-8", errors="replace") as f:
            m = re.search(r"--with-kamailio-src=(\S+)", f.read())
        d = m and m.group(1).strip("'")
    if not d:
        raise tap.Skip(os.environ.get("P2PSIP_KAMAILIO6_SKIP") or "no source tree in " + variable)
    return d


def build(name, *options, targets=("all",), env=None):
    """Configures and makes in a folder of its own; returns (folder, output of make)."""
    d = os.path.join(world.WORK, "build-" + name)
    os.makedirs(d)
    run("configure-" + name, world.SOURCE + "/configure", *options, cwd=d, env=env)
    return d, run("make-" + name, "make", "-j%d" % (os.cpu_count() or 1), *targets, cwd=d)


def no_warnings(text):
    found = WARNING.findall(text)
    if found:
        raise proc.Failed("%d warnings:\n%s" % (len(found), "\n".join(found[:12])))


@tap.limit(600)
def test_clang_builds_all_without_warnings():
    if not shutil.which("clang"):
        raise tap.Skip("no clang on this machine")
    d, text = build("clang", "--with-kamailio-src=" + source(), "CC=clang", "CXX=clang++")
    no_warnings(text)
    shutil.rmtree(d)


@tap.limit(600)
def test_modules_compile_against_kamailio_6_0_without_warnings():
    d, text = build("kamailio6", "--with-kamailio-src=" + source(variable="P2PSIP_KAMAILIO6_SRC"),
                    "--without-kamailio", "--without-opendht",
                    "--with-kamailio-moddir=/modules",
                    targets=["install-kamailiomodLTLIBRARIES", "DESTDIR=" + world.WORK + "/k6"])
    no_warnings(text)
    for m in MODULES:
        if not os.path.exists(world.WORK + "/k6/modules/" + m + ".so"):
            raise proc.Failed("no %s.so" % m)
    shutil.rmtree(d)


@tap.limit(300)
def test_opendht_shim_compiles_against_opendht_3_without_warnings():
    """With the headers of both; an object of either has what the gateway calls."""
    tree = os.environ.get("P2PSIP_OPENDHT3")
    if not tree:
        raise tap.Skip(os.environ.get("P2PSIP_OPENDHT3_SKIP") or
                       "no headers in P2PSIP_OPENDHT3 (quickstart test fetches them)")
    with open(tree + "/usr/include/opendht/node_export.h", encoding="utf-8") as f:
        if "SockAddr addr" not in f.read():
            raise proc.Failed("%s does not hold OpenDHT 3's headers" % tree)
    symbols = {}
    for name, include in (("own", []), ("3", ["-I" + tree + "/usr/include"])):
        for compiler in filter(shutil.which, ("g++", "clang++")):
            obj = os.path.join(world.WORK, "shim-%s.o" % name)
            text = run("shim-%s-%s" % (name, compiler), compiler, "-std=c++17", "-Wall", "-Wextra",
                       "-Wshadow", "-I" + world.SOURCE, *include, "-c", "-o", obj,
                       world.SOURCE + "/dht-gateway/engine/opendht_shim.cpp")
            no_warnings("\n".join(x for x in text.splitlines() if "opendht_shim.cpp" in x))
            out = run("nm-%s-%s" % (name, compiler), "nm", "--defined-only", "--extern-only", obj)
            symbols[name, compiler] = sorted(set(re.findall(r" T (odht_\w+)", out)))
    if len(set(map(tuple, symbols.values()))) != 1 or len(symbols["3", "g++"]) < 9:
        raise proc.Failed("not the same functions: %r" % symbols)


@tap.limit(600)
def test_gateway_builds_without_opendht():
    d, text = build("plain", "--disable-modules", "--without-opendht")
    no_warnings(text)
    out = run("ldd", "ldd", d + "/dht-gateway/p2psip-gateway")
    if "opendht" in out:
        raise proc.Failed("it links OpenDHT all the same:\n" + out)
    shutil.rmtree(d)


@tap.limit(900)
def test_unit_tests_are_clean_under_asan_and_ubsan():
    d = os.path.join(world.WORK, "build-san")
    os.makedirs(d)
    run("configure-san", world.SOURCE + "/configure", "--disable-modules", "--enable-sanitizers",
        cwd=d)
    text = run("make-san", "make", "-j%d" % (os.cpu_count() or 1), "check", "VERBOSE=1", cwd=d,
               env={"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
                    "UBSAN_OPTIONS": "print_stacktrace=1"})
    passed = re.search(r"^# PASS:\s+(\d+)", text, re.M)
    tap.say("%s programs passed" % (passed and passed.group(1)))
    shutil.rmtree(d)


@tap.limit(300)
def test_gcc_built_this_tree_without_warnings():
    log = os.path.join(os.environ.get("P2PSIP_BUILD_TREE") or "", "..", "logs", "make.log")
    if not os.path.exists(log):
        raise tap.Skip("this tree was not built by quickstart")
    with open(log, encoding="utf-8", errors="replace") as f:
        no_warnings(f.read())


@tap.limit(300)
def test_install_puts_everything_where_it_belongs():
    root = os.path.join(world.WORK, "root")
    copy = os.path.join(world.WORK, "tree")
    shutil.copytree(world.BUILD, copy, symlinks=True,
                    ignore=shutil.ignore_patterns("test-logs", "bench-results"))
    run("install", "make", "install", "DESTDIR=" + root, cwd=copy)
    found = [os.path.relpath(os.path.join(d, f), root)
             for d, _, files in os.walk(root) for f in files]
    for want in [m + ".so" for m in MODULES] + [
            "p2psip-gateway", "p2psip-relay", "p2psipctl", "kamailio-p2psip.cfg", "kamailio.cfg",
            "p2psip-gateway.service", "p2psip-relay.service", "p2psip-gateway.8"]:
        if not any(os.path.basename(f) == want for f in found):
            raise proc.Failed("%s is not installed; there is\n%s" % (want, "\n".join(found)))
    stray = [f for f in found if f.endswith(".a") or f.startswith("etc/")]
    if stray:
        raise proc.Failed("installed too: %s" % stray)


def script(name, text):
    path = os.path.join(world.WORK, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)


@tap.limit(300)
def test_quickstart_configures_again_once_cmocka_is_there():
    """quickstart build on a machine without the tests' packages, then with them. The tree itself
    is not made: what configure found is what is tested."""
    script("hidden/pkg-config",
           'case "$*" in *cmocka*) exit 1 ;; esac\nexec %s "$@"\n' % shutil.which("pkg-config"))
    for d in ("hidden", "seen"):
        script(d + "/make", 'case "$*" in *quick/tree*) exit 0 ;; esac\nexec %s "$@"\n' %
               shutil.which("make"))
    top = os.path.join(world.WORK, "quick")

    def quickstart(n, path):
        text = run("quickstart-%d" % n, world.SOURCE + "/quickstart", "build", env={
            "PATH": "%s/%s:%s" % (world.WORK, path, os.environ["PATH"]), "P2PSIP_BUILD": top,
            "P2PSIP_KAMAILIO_SRC": source()})
        with open(top + "/tree/config.status", encoding="utf-8") as f:
            with_cmocka = 'S["WITH_CMOCKA_TRUE"]=""' in f.read()
        return "Configuring" in text, with_cmocka
    for n, path, expected in ((1, "hidden", (True, False)), (2, "hidden", (False, False)),
                              (3, "seen", (True, True)), (4, "seen", (False, True))):
        got = quickstart(n, path)
        if got != expected:
            raise proc.Failed("run %d (%s): configured, with cmocka: %r, not %r" %
                              (n, path, got, expected))
    shutil.rmtree(top)


def test_shell_scripts_pass_shellcheck():
    if not shutil.which("shellcheck"):
        raise tap.Skip("no shellcheck on this machine")
    run("shellcheck", "shellcheck", "quickstart", ".ci/run", "autogen.sh", cwd=world.SOURCE)


def test_every_source_file_names_its_licence():
    """OpenDHT is GPL-3.0-or-later, and so is what links it; everything else is 2.0-or-later."""
    wrong = []
    for d, dirs, files in os.walk(world.SOURCE):
        dirs[:] = [x for x in dirs if not x.startswith(".") and
                   x not in ("build", "build-aux", "autom4te.cache", "m4", "golden", "corpus")]
        for f in files:
            if not f.endswith((".c", ".h", ".cpp", ".py", ".am", ".mk", ".cfg", ".sh")):
                continue
            path = os.path.join(d, f)
            with open(path, encoding="utf-8", errors="replace") as src:
                head = src.read(600)
            shim = "opendht" in f
            m = re.search(r"SPDX-License-Identifier: GPL-([23])\.0-or-later", head)
            if not m or (shim and m.group(1) != "3"):
                wrong.append(os.path.relpath(path, world.SOURCE))
    if wrong:
        raise proc.Failed("no licence, or not the right one: %s" % ", ".join(wrong))


if __name__ == "__main__":
    tap.main(globals())
