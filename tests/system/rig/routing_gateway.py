# SPDX-License-Identifier: GPL-2.0-or-later
"""The gateway's place in test_routing*.py: its directory is what the test says, at once, late, or
not at all."""
import os
import socket
import threading
import time

from .routing_base import SESSIONS


class Gateway:
    """Speaks the gateway's RESP commands to one Kamailio."""
    known = {}      # HIT -> its gateway

    def __init__(self, path, hit):
        self.path, self.hit = path, hit
        self.known[hit] = self
        self.users = {}      # name -> list of (hit, [uri], {options})
        self.delay = {}      # name -> seconds
        self.error = {}      # name -> error line
        self.serves = {}     # name -> 0, 1, 2
        self.peers = {}      # hit -> [uri]
        self.published = {}
        self.asked = []
        self.uris = []
        self.lock = threading.Lock()
        self.clients = set()
        self.subscribers = set()
        self.listener = None
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        os.unlink(self.path)
        for c in list(self.clients):
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        self.clients.add(c)
        f = c.makefile("rb")
        try:
            while True:
                line = f.readline()
                if not line.startswith(b"*"):
                    return
                args = []
                for _ in range(int(line[1:])):
                    n = int(f.readline()[1:])
                    args.append(f.read(n + 2)[:n].decode())
                delay = self.delay.get(args[1], 0) if args[0].upper() == "ROUTE" else 0
                if delay:
                    # replies are in order on one connection: the search holds the line up here,
                    # as the gateway would not. The module has other connections.
                    limit = int(args[2]) / 1000.0
                    time.sleep(min(delay, limit + 0.5))
                    if delay > limit:       # later than asked for: the module has given it up
                        c.sendall(b"-TIMEOUT search not completed\r\n")
                        continue
                c.sendall(self._answer(c, args))
        except (OSError, ValueError, IndexError):
            pass
        finally:
            self.clients.discard(c)
            self.subscribers.discard(c)
            c.close()

    @staticmethod
    def _bulk(v):
        if isinstance(v, list):
            return b"*%d\r\n" % len(v) + b"".join(Gateway._bulk(x) for x in v)
        b = str(v).encode()
        return b"$%d\r\n%s\r\n" % (len(b), b)

    def _candidates(self, name):
        out = []
        for i, (hit, uris, opt) in enumerate(self.users.get(name, [])):
            out.append([hit, opt.get("order", 1000 + i), opt.get("ttl", 60000),
                        opt.get("flags", 0), opt.get("session", SESSIONS.reply(self.hit, hit, uris)),
                        len(uris)] + uris + opt.get("instances", []))
        return out

    def _session(self, ident):
        """The session of this id, whoever it is with."""
        for hit, g in self.known.items():
            if hit != self.hit and SESSIONS.id(self.hit, hit) == ident:
                return SESSIONS.reply(self.hit, hit, g.uris or ["sip:192.0.2.254:5060"])
        return None

    def _answer(self, c, args):
        cmd = args[0].upper()
        with self.lock:
            if cmd == "HANDSHAKE":
                self.uris = args[5::2]
                return self._bulk(["server", "mock", "version", "0", "hit", self.hit,
                                   "overlay", "test", "epoch", "1"])
            if cmd == "PING":
                return b"+PONG\r\n"
            if cmd == "PUBLISH":
                self.published[args[1]] = args[3:]
                return b"+OK\r\n"
            if cmd == "WITHDRAW":
                self.published.pop(args[1], None)
                return b"+OK\r\n"
            if cmd == "SYNCED":
                return b":%d\r\n" % sum(1 for v in self.serves.values() if v == 2)
            if cmd == "SERVES":
                self.asked.append(tuple(args))
                return b":%d\r\n" % self.serves.get(args[1], 0)
            if cmd == "ROUTE":
                self.asked.append(tuple(args))
                if args[1] in self.error:
                    return b"-" + self.error[args[1]].encode() + b"\r\n"
                found = self._candidates(args[1])
                return self._bulk(found) if found else b"-NOTFOUND nobody serves it\r\n"
            if cmd == "PEER":
                self.asked.append(tuple(args))
                uris = self.peers.get(args[1])
                if uris is None:
                    return b"-NOTFOUND no such peer\r\n"
                return self._bulk([args[1], 1, 100000, len(uris)] + uris)
            if cmd == "SESSION":
                self.asked.append(tuple(args))
                found = self._session(args[1])
                return self._bulk(found) if found else b"-NOTFOUND no such session\r\n"
            if cmd in ("USED", "REFUSED"):
                self.asked.append(tuple(args))
                return b"+OK\r\n"
            if cmd == "SUBSCRIBE":
                self.subscribers.add(c)
                return b"".join(b"*3\r\n" + self._bulk("subscribe") + self._bulk(ch) + b":%d\r\n"
                                % (i + 1) for i, ch in enumerate(args[1:]))
            return b"-BADARG unknown command\r\n"

    def publish(self, channel, payload):
        for c in list(self.subscribers):
            c.sendall(self._bulk(["message", channel, payload]))

    def routes(self, name):
        with self.lock:
            return [a for a in self.asked if a[0].upper() == "ROUTE" and a[1] == name]
