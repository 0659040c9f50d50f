# SPDX-License-Identifier: GPL-2.0-or-later
"""A world of its own for one test script, which vanishes whole when the script ends.

enter() moves the calling program into new mount, network, IPC and PID namespaces:

    outer            stays in the host's namespaces, waits, passes signals on
      `- middle      made the namespaces, waits
           `- init   PID 1 of the world: reaps orphans, ends when main ends
                `- main    returns from enter()

Whatever way it ends, SIGKILL of the outer process included, the kernel kills what is left in
the PID namespace and frees the network namespaces, whose names live in a mount namespace that
nobody else holds.  /run is a tmpfs of the world, so neither names nor files can meet those of
another run: several scripts run side by side.
"""

import ctypes
import errno
import glob
import os
import signal
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1

WORK = "/run/rig"        # logs, configurations, sockets of this run
BUILD = "/run/build"     # the build tree, wherever it is on the host
SOURCE = "/run/source"   # the source tree, likewise
# Kamailio's own modules
STOCK_MODULES = (glob.glob("/usr/lib/*/kamailio/modules/") + ["/usr/lib/kamailio/modules/"])[0]

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This machine cannot give us namespaces; tests are skipped with the reason."""


def _call(name, *args):
    if getattr(_libc, name)(*args) != 0:
        e = ctypes.get_errno()
        raise OSError(e, "%s: %s" % (name, os.strerror(e)))


def mount(source, target, fstype=None, flags=0, data=None):
    def enc(s):
        return s.encode() if isinstance(s, str) else s
    _call("mount", enc(source), enc(target), enc(fstype), ctypes.c_ulong(flags), enc(data))


def setns(fd, kind=CLONE_NEWNET):
    _call("setns", fd, kind)


def die_with_parent():
    _call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


class _Child:
    """One child whose end is ours, and which gets the signals that ask us to end."""

    def __init__(self):
        self.pid = 0
        self.asked = 0

    def adopt_signals(self):
        for s in END_SIGNALS:
            signal.signal(s, self._on_signal)

    def _on_signal(self, signum, _frame):
        self.asked += 1
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL if self.asked > 3 else signum)
            except ProcessLookupError:
                pass

    def wait(self):
        """Waits for it, and for orphans that have become ours; returns its exit code."""
        while True:
            try:
                pid, status = os.wait()
            except InterruptedError:
                continue
            if pid == self.pid:
                self.pid = 0
                if os.WIFSIGNALED(status):
                    return 128 + os.WTERMSIG(status)
                return os.WEXITSTATUS(status)


def _furnish(binds):
    """Mounts of the world: its own /proc, /run, and the trees under fixed, readable paths.

    Daemons run as unprivileged users, and a checkout below /root is not readable to them:
    reached through a bind mount it is.
    """
    fds = [(os.open(src, os.O_PATH | os.O_DIRECTORY), dst) for src, dst in binds]
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for fd, dst in fds:
        os.makedirs(dst, exist_ok=True)
        mount("/proc/self/fd/%d" % fd, dst, None, MS_BIND)
        os.close(fd)
    os.makedirs(WORK, exist_ok=True)
    os.chmod(WORK, 0o755)
    # Kamailio resolves the host's own name at start; not every machine's /etc/hosts knows it.
    if os.path.exists("/etc/hosts"):
        with open("/run/hosts", "w", encoding="ascii") as f:
            f.write("127.0.0.1 localhost %s\n::1 localhost ip6-localhost\n" % os.uname().nodename)
        mount("/run/hosts", "/etc/hosts", None, MS_BIND)


def enter(source, build=None, work=None, started=None, ended=None):
    """Returns inside the world, as its main process; the calling process never returns.

    source, build: trees to bind to SOURCE and BUILD.
    work: a directory of the host to use as WORK instead of the world's tmpfs.
    started(pid): called outside, once, with the PID of the world's init.
    ended(): called outside when the world is gone; then the program exits with main's code.
    Raises Unavailable, still outside, where rights or kernel do not allow it.
    """
    if os.geteuid() != 0:
        raise Unavailable("network namespaces need root")
    binds = [(source, SOURCE)]
    if build:
        binds.append((build, BUILD))
    if work:
        binds.append((work, WORK))
    sys.stdout.flush()
    sys.stderr.flush()

    said_r, said_w = os.pipe()
    before = {s: signal.getsignal(s) for s in END_SIGNALS}
    child = _Child()
    child.adopt_signals()
    outer_pid = os.getpid()
    child.pid = os.fork()
    if child.pid:
        os.close(said_w)
        said = os.read(said_r, 4096)
        os.close(said_r)
        if not said.startswith(b"pid "):
            child.wait()
            for s, handler in before.items():
                signal.signal(s, handler)
            raise Unavailable(said.decode(errors="replace") or "the namespaces did not start")
        if started:
            started(int(said.split()[1]))
        code = child.wait()
        if ended:
            ended()
        os._exit(code)

    # Middle.  A session of its own: the terminal's Ctrl-C reaches only the outer process, which
    # passes it on once, instead of every daemon at once.
    die_with_parent()
    if os.getppid() != outer_pid:
        os._exit(1)
    os.close(said_r)
    os.setsid()
    try:
        _call("unshare", CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET)
        # Fails in a chroot whose / is no mount: what we mount would show on the host.
        mount(None, "/", None, MS_REC | MS_PRIVATE)
    except OSError as e:
        os.write(said_w, ("no namespaces: %s" % e).encode())
        os._exit(1)
    alive_r, alive_w = os.pipe()
    child = _Child()
    child.adopt_signals()
    child.pid = os.fork()
    if child.pid:
        os.close(alive_w)
        os.write(said_w, b"pid %d" % child.pid)
        os.close(said_w)
        os._exit(child.wait())

    # Init.  Its parent has no PID here that could be compared; a parent that died before the
    # prctl shows as a pipe that nobody reads.
    die_with_parent()
    os.close(said_w)
    os.close(alive_r)
    try:
        os.write(alive_w, b".")
    except OSError as e:
        if e.errno == errno.EPIPE:
            os._exit(1)
        raise
    os.close(alive_w)
    child = _Child()
    child.adopt_signals()
    _furnish(binds)
    child.pid = os.fork()
    if child.pid:
        os._exit(child.wait())

    def end(_signum, _frame):
        for s in END_SIGNALS:      # once: the cleaning up is not to be interrupted
            signal.signal(s, signal.SIG_IGN)
        raise KeyboardInterrupt
    for s in END_SIGNALS:
        signal.signal(s, end)
