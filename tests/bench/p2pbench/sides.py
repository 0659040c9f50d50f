# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of both sides of a comparison, each started with a directory of its own."""
import glob
import json
import os
import socket
import subprocess

from .proc import Program, die_with_parent

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODULES = ("p2p_usrloc", "p2p_route", "p2p_registrar", "p2p_media")


def stock_module_dir():
    for path in sorted(glob.glob("/usr/lib/*/kamailio/modules") + ["/usr/lib/kamailio/modules"]):
        if os.path.isfile(os.path.join(path, "usrloc.so")):
            return path
    raise RuntimeError("no Kamailio modules below /usr/lib: is kamailio installed?")


def built_module_dirs(build):
    """Where the p2p modules of a build tree are (libtool puts them below .libs)."""
    dirs = []
    for name in MODULES:
        for place in (".libs", f"modules/{name}/.libs"):
            path = os.path.abspath(os.path.join(build, place))
            if os.path.isfile(os.path.join(path, name + ".so")):
                dirs.append(path)
                break
        else:
            raise RuntimeError(f"{build}: no {name}.so: run make first")
    return sorted(set(dirs))


def built_program(build, directory, name):
    """A daemon of a build tree: libtool's own script starts it uninstalled, but as a child; the
    program itself is what is wanted."""
    for path in (os.path.join(build, directory, ".libs", name), os.path.join(build, directory, name)):
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise RuntimeError(f"{build}/{directory}/{name}: not built: run make first")


def certificate(build, authority, identity, directory):
    """A certificate for TLS between Kamailios and profiles for their tls module, in directory; what
    proxy.cfg is to be told of them."""
    os.makedirs(directory, exist_ok=True)
    subprocess.run([built_program(build, "tests/tools", "tlscerts"), authority, identity,
                    directory], check=True, stdout=subprocess.DEVNULL)
    profiles = os.path.join(directory, "tls.cfg")
    with open(os.path.join(HERE, "..", "..", "cfg", "p2psip-tls.cfg")) as f:
        text = f.read().replace("/var/lib/p2psip/tls", directory)
    with open(profiles, "w") as f:
        f.write(text)
    return {"PROFILES": profiles, "CERTIFICATE": os.path.join(directory, "sip-cert.pem")}


def kamailio(name, ns, directory, cfg, listen, defines, module_dirs=(), memory=128, tls=()):
    """Start Kamailio with a file of tests/bench/cfg and wait until it answers.
    listen: an address and port, or several; tls: likewise, for TLS. defines: {name: value or None}; a string value is put
    in quotes."""
    run = os.path.join(directory, name)
    os.makedirs(run, exist_ok=True)
    ctl = os.path.join(run, "ctl.sock")
    argv = ["kamailio", "-f", os.path.join(HERE, "cfg", cfg), "-DD", "-E", "-P",
            os.path.join(run, "kamailio.pid"), "-w", run, "-Y", run, "-m", str(memory), "-M", "8",
            "-L", ":".join([stock_module_dir(), *module_dirs])]
    for where in [listen] if isinstance(listen, str) else listen:
        for transport in ("udp", "tcp"):
            argv += ["-l", f"{transport}:{where}"]
    for where in tls:
        argv += ["-l", f"tls:{where}"]
    for key, value in {"CTLSOCK": "unix:" + ctl, **defines}.items():
        argv += ["-A", key if value is None else
                 f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"]
    program = Program(name, argv, ns, directory)

    def ready():
        return os.path.exists(ctl) and subprocess.run(
            ["kamcmd", "-s", "unix:" + ctl, "core.version"], capture_output=True).returncode == 0

    try:
        program.wait_ready(ready)
    except BaseException:
        program.stop()
        raise
    program.ctl = ctl
    return program


def rtpengine(name, ns, directory, addr):
    """Start an rtpengine with the interfaces ua and ovl; its ng port is 127.0.0.1:2223 there."""
    program = Program(name, [
        "rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
        f"--interface=ua/{addr}", f"--interface=ovl/{addr}", "--listen-ng=127.0.0.1:2223",
        "--port-min=30000", "--port-max=34000", "--delete-delay=0"], ns, directory)

    def ready():
        r = subprocess.run(["nsenter", f"--net=/run/netns/{ns}", "--", "ss", "-Hlun",
                            "sport = :2223"], capture_output=True, text=True)
        return "2223" in r.stdout

    try:
        program.wait_ready(ready)
    except BaseException:
        program.stop()
        raise
    return program


class Resp:
    """A connection to a daemon's RESP socket; error replies are raised as RuntimeError."""

    def __init__(self, path, timeout=5):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.file = self.sock.makefile("rwb")

    def ask(self, *words):
        self.file.write(b"*%d\r\n" % len(words))
        for word in words:
            w = str(word).encode()
            self.file.write(b"$%d\r\n%s\r\n" % (len(w), w))
        self.file.flush()
        return resp_read(self.file)

    def close(self):
        self.file.close()
        self.sock.close()


def resp_read(f):
    line = f.readline()
    if not line.endswith(b"\r\n"):
        raise RuntimeError("connection closed")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"+":
        return rest
    if kind == b"-":
        raise RuntimeError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if int(rest) < 0:
            return None
        body = f.read(int(rest) + 2)
        return body[:-2].decode()
    if kind == b"*":
        return [resp_read(f) for _ in range(int(rest))]
    raise RuntimeError(f"not RESP: {line!r}")


class Load:
    """sipload, run in the namespaces of the user agents."""

    def __init__(self, binary, domain="example.org"):
        self.binary = binary
        self.domain = domain

    def run(self, mode, check=True, **options):
        """Its result; check: an error when a request did not succeed."""
        argv = [self.binary, mode, "--domain", self.domain]
        for key, values in options.items():
            key = "--" + key.replace("_", "-")
            for value in values if isinstance(values, list) else [values]:
                if value is True:
                    argv.append(key)
                elif value is not None and value is not False:
                    argv += [key, str(value)]
        r = subprocess.run(argv, capture_output=True, text=True, timeout=600,
                           preexec_fn=die_with_parent)
        if r.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(argv)}: {r.stderr.strip()}")
        result = json.loads(r.stdout)
        if r.returncode and check:
            short = {k: v for k, v in result.items() if not isinstance(v, dict) or k == "responses"}
            raise RuntimeError(f"{' '.join(argv)}: not every request succeeded: {short}")
        return result
