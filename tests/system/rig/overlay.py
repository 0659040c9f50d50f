# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlay peers: Kamailio with the modules of this project, rtpengine, gateway and relay."""

import glob
import os
import subprocess

from . import enrol, net, peer, proc, resp, scene, world

DHT_PORT = 4222
CFG = world.SOURCE + "/cfg/kamailio.cfg"
DAEMON_USER = "kamailio"


def clock_env(seconds):
    """The environment of a process whose wall clock is off."""
    if not seconds:
        return None
    return {"LD_PRELOAD": world.BUILD + "/tests/tools/.libs/clockshift.so",
            "CLOCKSHIFT_S": str(seconds)}


class Daemon:
    """p2psip-gateway or p2psip-relay: settings file, sockets and state below dir."""

    def __init__(self, node, name, program, settings):
        self.node, self.name = node, name
        self.program = os.path.join(world.BUILD, program)
        self.user = peer.user_for(DAEMON_USER)
        self.dir = os.path.join(world.WORK, name)
        self.state = os.path.join(self.dir, "state")
        os.makedirs(self.state, exist_ok=True)
        os.chmod(self.state, 0o700)
        peer.own(self.dir, self.user)
        peer.own(self.state, self.user)
        self.socket = self.dir + "/socket"
        self.admin = self.dir + "/admin"
        self.settings = settings
        self.conf = self.dir + "/settings.conf"
        self.clock_s = 0            # its wall clock is so much off
        self.proc = None

    def write(self):
        """The settings file; a list makes one line per value."""
        with open(self.conf, "w", encoding="utf-8") as f:
            for section, keys in self.settings.items():
                f.write("[%s]\n" % section)
                for key, value in keys.items():
                    for v in value if isinstance(value, list) else [value]:
                        f.write("%s = %s\n" % (key, v))
                f.write("\n")

    def start(self, wait=True):
        self.write()
        self.proc = proc.Proc(self.name, [self.program, "--config", self.conf], self.node,
                              self.user, env=clock_env(self.clock_s), cwd=self.dir, nofile=65536)
        if wait:
            self.ready()
        return self

    def ready(self, timeout=10):
        proc.wait_for("%s answers" % self.name, self.answers, timeout, 0.02, [self.proc])

    def answers(self):
        try:
            return resp.call(self.admin, "PING", timeout=0.5) == "PONG"
        except (OSError, resp.Error):
            return False

    def ask(self, *args, timeout=5.0):
        return resp.call(self.admin, *args, timeout=timeout)

    def status(self):
        flat = self.ask("STATUS")
        return resp.pairs(flat) if isinstance(flat, list) else flat

    def stop(self):
        return self.proc.stop()

    def kill(self):
        self.proc.kill()


class Gateway(Daemon):
    RESP_VERSION = 2            # in its HANDSHAKE

    def __init__(self, node, bootstrap, secret, ipv6=False, uris=(), backend="opendht"):
        name = "gateway-" + node.name
        dht = {"backend": backend, "port": DHT_PORT,
               "bind4": "" if ipv6 else node.addr4["ovl"],
               "bind6": node.addr6["ovl"] if ipv6 else "",
               "bootstrap": list(bootstrap)}
        super().__init__(node, name, "dht-gateway/p2psip-gateway", {
            "overlay": {}, "identity": {}, "dht": dht, "sip": {"uri": list(uris)},
            "control": {}, "log": {"level": "dbg"}})
        s = self.settings
        s["identity"].update(file=self.state + "/identity.pem", state_dir=self.state)
        s["control"].update(socket=self.socket, admin_socket=self.admin)
        s["tls"] = {"dir": self.state + "/tls"}
        if secret is None:      # enrolled: p2psipctl writes it all
            s["overlay"].update(secret_file=self.state + "/overlay.secret",
                                authority_dir=self.state + "/authority")
            return
        s["overlay"]["secret_file"] = self.dir + "/overlay.secret"
        with open(self.dir + "/overlay.secret", "w", encoding="ascii") as f:
            f.write(secret + "\n")
        os.chmod(self.dir + "/overlay.secret", 0o600)
        peer.own(self.dir + "/overlay.secret", self.user)

    def joined(self):
        """Its DHT node has answered by another."""
        st = self.status()
        return st["dht_state"] == "connected" and \
            int(st["dht_nodes_ipv4"]) + int(st["dht_nodes_ipv6"]) > 0

    def holds(self, members):
        """It knows so many members, and has all records of users that are its to hold."""
        st = self.status()
        return int(st["members_alive"]) >= members and int(st["arcs_unsynced"]) == 0

    def unpublished(self):
        """Users whose record the DHT was not given yet, or has not taken."""
        st = self.status()
        return int(st["users_dirty"]) + int(st["users_in_flight"])

    def users(self):
        """Names that are published here, each with how far that is."""
        return self._scan("USERS")

    def records(self):
        """What it remembers of the overlay's records."""
        return self._scan("RECORDS")

    def _scan(self, command):
        out, cursor = [], "0"
        while True:
            reply = self.ask(command, cursor, 500)
            cursor, rows = str(reply[0]), reply[1]
            out += [resp.pairs(r) for r in rows]
            if cursor == "0":
                return out

    def lookup(self, name):
        """The candidates for a name, best first; None when a completed search found none, [] when no search
        could be completed."""
        try:
            return [resp.pairs(c) for c in self.ask("LOOKUP", name)]
        except resp.Error as e:
            if e.code == "NOTFOUND":
                return None
            if e.code == "TIMEOUT":
                return []
            raise


class Relay(Daemon):
    RESP_VERSION = 1

    def __init__(self, node, rtpengines):
        super().__init__(node, "relay-" + node.name, "relay/p2psip-relay", {
            "relay": {"log_level": "dbg"},
            "rtpengine": {"instance": ["%s udp:127.0.0.1:%d" % (r.name, r.port)
                                       for r in rtpengines]},
            "sweep": {}})
        self.settings["relay"].update(socket=self.socket, admin_socket=self.admin)


class OverlayPeer:
    """One site.  Everything can be told before start(): defines, settings, instances.
    media: whether it has rtpengines and a relay."""

    def __init__(self, node, secret, bootstrap=(), ipv6=False, transport="udp", anchor="always",
                 rtpengines=1, backend="opendht", cfg=CFG, both=False, media=True):
        self.node, self.name = node, node.name
        self.ipv6 = ipv6
        ua, ovl = self.addresses(ipv6)
        self.address = ua
        self.uri_ua = "sip:%s:5060" % ua
        self.uri_ovl = "sip:%s:5060;transport=%s" % (ovl, transport)
        self.overlay_address = ovl
        self.rtpengines = [
            peer.Rtpengine(node, "rtpengine-%s%s" % (node.name, i or ""), self.interfaces(both),
                           peer.NG_PORT + i, (30000 + 5000 * i, 34998 + 5000 * i))
            for i in range(rtpengines if media else 0)]
        self.rtpengine = self.rtpengines[0] if media else None
        self.gateway = Gateway(node, bootstrap, secret, ipv6, [self.uri_ovl], backend)
        self.relay = Relay(node, self.rtpengines) if media else None
        listen = []
        for a in (ua, ovl):
            listen += ["udp:%s:5060" % a, "tcp:%s:5060" % a]
        self.kamailio = peer.Kamailio(node, "kamailio-" + node.name, cfg, listen)
        self.kamailio.defines += [
            'CTLSOCK="unix:%s"' % self.kamailio.ctl,
            'P2P_GATEWAY_SOCKET="%s"' % self.gateway.socket,
            'P2P_CONTACTS_FILE="%s/contacts"' % self.kamailio.dir,
            'P2P_CONTACTS_MEMORY="%s/contacts.memory"' % self.kamailio.dir,
            'P2P_ANCHOR="%s"' % anchor,
            *(['P2P_RELAY_SOCKET="%s"' % self.relay.socket, "WITH_P2P_MEDIA"] if media
              else ["WITHOUT_P2P_MEDIA"]),
            'P2P_CALLERS="192.0.2.0/24"']       # sipp calls without having registered
        self.kamailio.options += ["-L", module_path()]

    def addresses(self, ipv6):
        n = self.node
        if ipv6:
            return "[%s]" % n.addr6["ua"], "[%s]" % n.addr6["ovl"]
        return n.addr4["ua"], n.addr4["ovl"]

    def interfaces(self, both):
        n = self.node
        out = []
        if both or not self.ipv6:
            out += ["ua/" + n.addr4["ua"], "ovl/" + n.addr4["ovl"]]
        if both or self.ipv6:
            out += ["ua/" + n.addr6["ua"], "ovl/" + n.addr6["ovl"]]
        return out

    def dht_address(self):
        n = self.node
        return "[%s]:%d" % (n.addr6["ovl"], DHT_PORT) if self.ipv6 else \
            "%s:%d" % (n.addr4["ovl"], DHT_PORT)

    def start(self):
        for r in self.rtpengines:
            r.start(wait=False)
        self.gateway.start(wait=False)
        self.gateway.ready()
        for r in self.rtpengines:
            proc.wait_for("rtpengine answers", r.answers, 10, 0.05, [r.proc])
        if self.relay:
            self.relay.start()
        self.kamailio.start()
        return self

    def stop(self):
        for x in [self.kamailio, self.relay, self.gateway] + self.rtpengines:
            if x and x.proc and x.proc.running():
                x.stop()

    def media_calls(self):
        return [c for r in self.rtpengines if r.proc.running() for c in r.calls()]

    def serves(self, name):
        return any(u["name"] == name for u in self.gateway.users())

    def quiet(self):
        """What is left of calls, in words; "" when there is nothing."""
        left = []
        n = len(self.media_calls())
        if n:
            left.append("%d calls in rtpengine" % n)
        if self.kamailio.proc.running():
            n = self.kamailio.transactions()
            if n:
                left.append("%d transactions in Kamailio" % n)
        if self.relay and self.relay.proc.running():
            n = int(self.relay.status().get("calls", 0))
            if n:
                left.append("%d calls in the relay" % n)
        return ", ".join("%s: %s" % (self.name, x) for x in left)


def module_path():
    """Our modules from the build tree, Kamailio's own from where it has them."""
    out = subprocess.run(["kamailio", "-I"], stdout=subprocess.PIPE, text=True, timeout=10,
                         check=False).stdout
    own = [x.split(":", 1)[1].strip() for x in out.splitlines() if "paths to modules" in x]
    ours = sorted({os.path.dirname(x) for pattern in ("/.libs/p2p_*.so",
                                                      "/modules/*/.libs/p2p_*.so")
                   for x in glob.glob(world.BUILD + pattern)})
    return ":".join(ours + own)


class Overlay(scene.Scene):
    """Peers a, b, c ... that find each other through the DHT of the first; enrolled: a begins the
    overlay and has its authority, and the others join it (rig/enrol.py)."""

    def __init__(self, peers=2, start=True, prepare=None, emulate=None, enrolled=False, **kw):
        super().__init__(emulate)
        self.enrolled = enrolled
        self.secret = None if enrolled else os.urandom(32).hex()
        if kw.get("ipv6") and not net.ipv6_works():
            from . import tap       # pylint: disable=import-outside-toplevel
            raise tap.Skip("no IPv6 in this kernel")
        self.how = (prepare, kw)
        for _ in range(peers):
            self.add()
        if start:
            for p in self.peers:
                if enrolled:
                    self.enrol(p)
                p.start()
            self.joined()

    def add(self):
        """One peer more, not started; nor enrolled."""
        prepare, kw = self.how
        node = self.node("abcdefgh"[len(self.peers)], self.ua, self.ovl)
        bootstrap = [self.peers[0].dht_address()] if self.peers and not self.enrolled else ()
        p = OverlayPeer(node, self.secret, bootstrap, **kw)
        if prepare:
            prepare(p)
        self.peers.append(p)
        setattr(self, node.name, p)
        return p

    def enrol(self, p):
        """p begins the overlay, or is invited by the first peer and joins it."""
        if p is self.peers[0]:
            enrol.create(p)
        else:
            enrol.join(p, enrol.invite(self.peers[0]))

    def joined(self, timeout=15):
        """Waits until every gateway's DHT node is connected to the others, and has all that it holds: then
        it can say that a user is absent."""
        if len(self.peers) < 2:
            return
        speak = [p for p in self.peers if p.gateway.settings.get("peers", {}).get("enabled") != "no"]
        for p in self.peers:
            proc.wait_for("%s's DHT node is connected" % p.name, p.gateway.joined, timeout, 0.05,
                          [p.gateway.proc])
        for p in speak:
            proc.wait_for("%s has what it holds" % p.name, lambda p=p: p.gateway.holds(len(speak)), timeout,
                          0.05, [p.gateway.proc])

    def found(self, name, at, timeout=5):
        """Waits until the peer finds the name in the overlay."""
        return proc.wait_for("%s finds %s" % (at.name, name), lambda: at.gateway.lookup(name),
                             timeout, 0.05)

    def quiet(self, timeout=10):
        """Waits until nothing is left of any call anywhere."""
        last = [""]

        def nothing():
            last[0] = "; ".join(filter(None, (p.quiet() for p in self.peers)))
            return not last[0]
        try:
            proc.wait_for("nothing is left", nothing, timeout, 0.1)
        except proc.Failed:
            raise proc.Failed("%gs after the last call there are still %s" %
                              (timeout, last[0])) from None
