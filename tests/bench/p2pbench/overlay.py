# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlay peers out of a build tree. Peers A and B carry calls; a third gateway, C, is the DHT node
that the others join by, and what asks whether a record can be found, so that nobody asks A, whose
caches are what is measured."""
import contextlib
import os
import secrets
import time

from . import sides
from .proc import Program

GATEWAY = """\
[overlay]
secret_file = {dir}/secret
[identity]
file = {dir}/{host}/identity.pem
state_dir = {dir}/{host}
[dht]
backend = opendht
bind4 = {addr}
port = {dht_port}
{bootstrap}
[peers]
listen = {addr}:{https_port}
{more}
[control]
socket = {dir}/{host}/gw.sock
admin_socket = {dir}/{host}/gw-admin.sock
[log]
level = warn
"""

RELAY = """\
[relay]
socket = {dir}/{host}/relay.sock
admin_socket = {dir}/{host}/relay-admin.sock
log_level = warn
[rtpengine]
instance = one udp:127.0.0.1:2223
"""


DHT_PORT, HTTPS_PORT = 4222, 7443


class Overlay:
    """One overlay. build: its build tree, if not the one under test; version: of RESP, that its
    gateway speaks; shift: is added to the ports of its gateways, so that two overlays can be on the
    same hosts; settings: {section: {key: value}} of the gateways, besides the usual ones."""

    CENTRE = "c"    # the host that the others join the DHT by

    def __init__(self, bench, build=None, version=2, cfg_dir=None, shift=0, settings=None):
        self.bench = bench
        self.version, self.cfg_dir, self.shift = version, cfg_dir or "", shift
        self.settings = settings or {}
        self.own_settings = {}  # by host, of running gateways
        build = build or bench.args.build
        self.module_dirs = sides.built_module_dirs(build)
        self.gateway = sides.built_program(build, "dht-gateway", "p2psip-gateway")
        self.relay = sides.built_program(build, "relay", "p2psip-relay")
        self.dir = None

    def addr(self, host):
        """Where the other peers reach a host."""
        return self.bench.net.addr(host)

    def _settings_text(self, template, host):
        boot = "" if host == self.CENTRE else \
            f"bootstrap = {self.addr(self.CENTRE)}:{DHT_PORT + self.shift}"
        more = "".join(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                       for own in (self.settings, self.own_settings.get(host, {}))
                       for section, keys in own.items())
        return template.format(dir=self.dir, host=host, bootstrap=boot, addr=self.addr(host),
                               dht_port=DHT_PORT + self.shift,
                               https_port=HTTPS_PORT + self.shift, more=more)

    def _write(self, template, host, role):
        path = os.path.join(self.dir, host, role + ".conf")
        with open(path, "w") as f:
            f.write(self._settings_text(template, host))
        return path

    def _daemon(self, binary, template, host, role):
        """Write a settings file, start the daemon, wait until it answers PING."""
        os.makedirs(os.path.join(self.dir, host), exist_ok=True)
        path = self._write(template, host, role)
        program = Program(f"{role}-{host}", [binary, "--config", path], self.bench.net.ns(host),
                          self.dir)
        sock = self.socket(host, "gw.sock" if role == "gateway" else "relay.sock")

        def ready():
            try:
                with contextlib.closing(sides.Resp(sock)) as daemon:
                    return daemon.ask("PING") == "PONG"
            except OSError:
                return False

        try:
            program.wait_ready(ready)
        except BaseException:
            program.stop()
            raise
        return program

    def socket(self, host, name):
        return os.path.join(self.dir, host, name)

    def _gateways(self, directory, hosts, programs, sip=None):
        """sip: {host: its SIP address}, of those that have no Kamailio to say it."""
        self.dir = directory
        secret = os.path.join(directory, "secret")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(secrets.token_hex(32) + "\n")
        self.own_settings = {host: {"sip": {"uri": uri}} for host, uri in (sip or {}).items()}
        for host in hosts:
            programs.append(self._daemon(self.gateway, GATEWAY, host, "gateway"))

    def pace(self, host, puts_per_s):
        """From now on a host's gateway puts so many records a second into the engine; None: as many as
        it does by itself."""
        own = self.own_settings.setdefault(host, {})
        own.pop("dht", None)
        if puts_per_s is not None:
            own["dht"] = {"puts_per_s": puts_per_s}
        self._write(GATEWAY, host, "gateway")
        with self.admin(host) as gateway:
            gateway.ask("RELOAD")

    def engine_waiting(self, host):
        return int(self.status(host)["engine_waiting"])

    def _kamailio(self, host, cfg, port, defines, memory=128):
        net = self.bench.net
        return sides.kamailio(
            "kamailio-" + host, net.ns(host), self.dir, os.path.join(self.cfg_dir, cfg),
            f"{net.addr(host)}:{port}",
            {"P2P": None, "GATEWAY": self.socket(host, "gw.sock"),
             "CONTACTS": self.socket(host, "contacts"),
             "CONTACTS_MEMORY": os.path.join(self.bench.memory, f"{host}-{self.shift}"),
             "PIECES": 0 if self.bench.args.no_pieces else 1,
             **defines}, self.module_dirs, memory)

    def register_side(self, directory, port, programs, memory=128):
        """programs becomes Kamailio, its gateway, and C's, which is a peer as any other: it holds A's
        users. Returns when they know each other."""
        self._gateways(directory, ("c", "a"), programs, {"c": f"sip:{self.addr('c')}:{port}"})
        programs.reverse()
        programs.insert(0, self._kamailio("a", "register.cfg", port, {}, memory))
        for host in ("a", "c"):
            self._wait_members(host, 2)

    def status(self, host):
        with self.admin(host) as gateway:
            flat = gateway.ask("STATUS")
        return dict(zip(flat[::2], flat[1::2]))

    def _wait_members(self, host, count, timeout=30):
        end = time.monotonic() + timeout
        while int(self.status(host)["members_alive"]) < count:
            if time.monotonic() > end:
                raise RuntimeError(f"the gateway of {host} does not know {count} members after "
                                   f"{timeout} s")
            time.sleep(0.05)

    def invite_side(self, directory, port, anchored, programs, phone_media="rtp"):
        """phone_media: what the called phone is offered, if media is anchored; stock offers RTP."""
        self._gateways(directory, ("c", "a", "b"), programs)
        for host in ("a", "b"):
            media = {}
            if anchored:
                programs.append(self._daemon(self.relay, RELAY, host, "relay"))
                media = {"ANCHOR": None, "MEDIA": self.socket(host, "relay.sock"),
                         "PHONE_MEDIA": phone_media}
            programs.append(self._kamailio(host, "proxy.cfg", port, media))

    @contextlib.contextmanager
    def ask(self, host):
        """A connection to a host's gateway, as a module has one."""
        with contextlib.closing(sides.Resp(self.socket(host, "gw.sock"))) as gateway:
            gateway.ask("HANDSHAKE", self.version, "bench", secrets.token_hex(8))
            yield gateway

    @contextlib.contextmanager
    def admin(self, host):
        """A connection to the administrator's socket of a host's gateway."""
        with contextlib.closing(sides.Resp(self.socket(host, "gw-admin.sock"))) as gateway:
            yield gateway

    def wait_published(self, users, timeout=60):
        """Until the centre's gateway finds every one of these users (numbers) in the DHT."""
        end = time.monotonic() + timeout
        with self.ask(self.CENTRE) as gateway:
            for user in users:
                while not self._found(gateway, user):
                    if time.monotonic() > end:
                        raise RuntimeError(f"u{user:06d} not published after {timeout} s")
                    time.sleep(0.1)

    def check_published(self, users, sample):
        """The gateway of A serves all users 0..users-1, and C finds a sample of them."""
        with self.ask("a") as gateway:
            missing = [u for u in range(users) if gateway.ask("SERVES", f"u{u:06d}") != 1]
        if missing:
            raise RuntimeError(f"{len(missing)} of {users} users are not at the gateway, "
                               f"u{missing[0]:06d} first")
        self.wait_published(range(0, users, max(1, users // sample)))

    @staticmethod
    def _found(gateway, user):
        try:
            return bool(gateway.ask("ROUTE", f"u{user:06d}", 2000, "FRESH"))
        except RuntimeError as e:
            if str(e).split()[0] not in ("NOTFOUND", "TIMEOUT"):
                raise
            return False
