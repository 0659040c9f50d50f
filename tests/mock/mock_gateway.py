#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A p2psip-gateway that does what it is told, for tests of the modules without an overlay.

As a library: Gateway(path).start(), then look at .users, set .routes, .peers, .mode.
As a program: mock_gateway.py SOCKET [--route NAME=HIT,URI[,URI]...] [--mode MODE]; it prints the
commands it gets. Anyone may switch the mode on a running one:  redis-cli -s SOCKET MOCK MODE

Modes:
  good       as the RESP pages in docs/ say
  silent     reads, never answers
  silent-route  answers everything but ROUTE, SERVES and PEER
  slow       answers after .delay seconds (connections do not wait for each other)
  garbage    answers bytes that are no RESP
  nonsense   answers RESP that is no answer to the command
  huge       begins an answer that does not end
  elements   begins an array of a thousand million elements
  close      closes in the middle of an answer
  busy       says BUSY to whatever needs a handshake
  version    does not speak the handshake's version
  internal   says INTERNAL to whatever needs a handshake
  stale      says STALE to each first PUBLISH of a name
"""
import argparse
import os
import socket
import sys
import threading
import time

OWN_HIT = "2001:21:1:2:3:4:5:6"


class Gone(Exception):
    pass


class Gateway:
    def __init__(self, path, verbose=False):
        self.path = path
        self.verbose = verbose
        self.mode = "good"
        self.delay = 0.5
        self.confirms = 0    # seconds until CONFIRM is answered on its channel; None: never
        self.refuse = {}     # name -> the error that PUBLISH answers
        self.hit = OWN_HIT
        self.overlay = "mock"
        self.epoch = 1
        self.users = {}      # name -> (instance, seq, [instance hash])
        self.withdrawn = []  # names
        self.routes = {}     # name -> [candidate: dict(hit, order, ttl, flags, uris, hashes)]
        self.peers = {}      # hit -> dict(epoch, lease, uris)
        self.counts = {}     # command -> how often
        self.log = []        # (time, argv)
        self.handshakes = []  # argv
        self.synced = []     # (time, users it said, instance)
        self.staled = set()
        self.run = os.urandom(8).hex()   # None: as a gateway that knows nothing of runs
        self.begun = {}      # instance -> the highest number taken since it began to name its users
        self.cut_after = None  # PUBLISH commands until all connections are cut, once
        self.lock = threading.RLock()
        self.conns = set()
        self.subscribers = {}
        self.listener = None
        self.running = False

    # --- life cycle ---

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o666)
        self.listener.listen(128)
        self.running = True
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """As if the process had been stopped: the socket's file goes, connections close."""
        if self.run:
            self.run = os.urandom(8).hex()
        self.begun = {}
        self.away()

    def away(self):
        """Nobody reaches it until it is started again, and it forgets nothing."""
        self.running = False
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        # a thread in accept() keeps a closed listener alive: shut it down first
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.drop_all()

    def drop_all(self):
        with self.lock:
            conns = list(self.conns)
            self.subscribers = {}
        for c in conns:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def forget(self):
        with self.lock:
            self.users = {}
            self.withdrawn = []
            self.synced = []

    def accept(self, listener):
        while self.running:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.conns.add(conn)
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    # --- wire ---

    @staticmethod
    def bulk(v):
        v = str(v).encode()
        return b"$%d\r\n%s\r\n" % (len(v), v)

    @classmethod
    def array(cls, items):
        return b"*%d\r\n" % len(items) + b"".join(
            cls.array(i) if isinstance(i, (list, tuple)) else cls.bulk(i) for i in items)

    @staticmethod
    def parse(buf):
        """(argv, rest), or None when the command is not complete yet."""
        def line(at):
            end = buf.find(b"\r\n", at)
            return None if end < 0 else (buf[at:end], end + 2)
        got = line(0)
        if not got:
            return None
        first, at = got
        if not first.startswith(b"*"):
            return [w.decode("utf-8", "replace") for w in first.split()], buf[at:]
        argv = []
        for _ in range(int(first[1:])):
            got = line(at)
            if not got:
                return None
            head, at = got
            if not head.startswith(b"$"):
                raise Gone
            n = int(head[1:])
            if len(buf) < at + n + 2:
                return None
            argv.append(buf[at:at + n].decode("utf-8", "replace"))
            at += n + 2
        return argv, buf[at:]

    def serve(self, conn):
        state = {"shaken": False, "conn": conn, "instance": None, "lock": threading.Lock(),
                 "out": []}
        buf = b""
        try:
            while True:
                data = conn.recv(65536)
                if not data:
                    raise Gone
                buf += data
                while True:
                    got = self.parse(buf)
                    if not got:
                        break
                    argv, buf = got
                    if argv:
                        self.one(state, argv)
                self.flush(state)
        except (Gone, OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.conns.discard(conn)
                for subs in self.subscribers.values():
                    subs[:] = [s for s in subs if s["conn"] is not conn]
            conn.close()

    def send(self, state, data):
        """Answers to commands that came together go out together, as a real server's do."""
        with state["lock"]:
            state["out"].append(data)

    def flush(self, state):
        with state["lock"]:
            if state["out"]:
                state["conn"].sendall(b"".join(state["out"]))
                state["out"] = []

    def one(self, state, argv):
        cmd = argv[0].upper()
        with self.lock:
            self.counts[cmd] = self.counts.get(cmd, 0) + 1
            self.log.append((time.monotonic(), argv))
            del self.log[:-20000]
        if self.verbose:
            print(argv, flush=True)
        mode = self.mode
        if cmd == "MOCK":
            self.mode = argv[1]
            return self.send(state, b"+OK\r\n")
        if mode == "silent" or (mode == "silent-route" and cmd in ("ROUTE", "SERVES", "PEER")):
            return None
        if mode == "garbage":
            return self.send(state, b"\x00\xff\x01 garbage \r\n\r\n$-7\r\n")
        if mode == "huge":
            return self.send(state, b"$500000000\r\n" + b"x" * 3000000)
        if mode == "elements":
            return self.send(state, b"*1000000000\r\n")
        if mode == "slow":
            time.sleep(self.delay)
        reply = self.reply(state, cmd, argv, mode)
        if mode == "nonsense" and cmd not in ("HANDSHAKE", "PING", "SUBSCRIBE"):
            reply = b"*2\r\n*1\r\n:7\r\n$3\r\nabc\r\n"
        if mode == "close" and cmd not in ("HANDSHAKE", "PING", "SUBSCRIBE"):
            self.send(state, reply[:max(1, len(reply) // 2)])
            self.flush(state)
            raise Gone
        return self.send(state, reply)

    # --- commands ---

    def reply(self, state, cmd, argv, mode):
        if cmd == "PING":
            return b"+PONG\r\n"
        if cmd == "HANDSHAKE":
            if mode == "version" or argv[1] != "2":
                return b"-PROTO this gateway speaks version 7\r\n"
            with self.lock:
                self.handshakes.append(argv)
            pairs = list(zip(argv[4::2], argv[5::2]))
            if any(key not in ("uri", "resume") or (key == "resume" and not self.run)
                   for key, _ in pairs):
                return b"-BADARG what is that?\r\n"
            state["shaken"] = True
            state["instance"] = argv[3]
            reply = ["server", "mock", "version", "2", "hit", self.hit, "overlay", self.overlay,
                     "epoch", self.epoch] + (["run", self.run] if self.run else [])
            resume = dict(pairs).get("resume")
            if resume == self.run and resume and argv[3] in self.begun:
                reply += ["resumed", self.begun[argv[3]]]
            elif resume or argv[3] not in self.begun:
                self.begun[argv[3]] = 0
            return self.array(reply)
        if not state["shaken"]:
            return b"-NOHANDSHAKE say HANDSHAKE first\r\n"
        if mode == "busy" and cmd != "SUBSCRIBE":
            return b"-BUSY try later\r\n"
        if mode == "internal" and cmd != "SUBSCRIBE":
            return b"-INTERNAL it hurts\r\n"
        handler = getattr(self, "do_" + cmd.lower(), None)
        if handler is None:
            return b"-BADARG unknown command\r\n"
        with self.lock:
            return handler(state, argv)

    def do_publish(self, state, argv):
        name, seq = argv[1], int(argv[2])
        if self.mode == "stale" and name not in self.staled:
            self.staled.add(name)
            return b"-STALE %d\r\n" % (seq + 1000)
        if name in self.refuse:
            return b"-%s\r\n" % self.refuse[name].encode()
        have = self.users.get(name)
        if have and have[0] == state["instance"] and have[1] > seq:
            return b"-STALE %d\r\n" % have[1]
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut_after = None
                self.drop_all()
                raise Gone
        self.users[name] = (state["instance"], seq, argv[3:])
        self.taken(state, seq)
        return b"+OK\r\n"

    def taken(self, state, seq):
        self.begun[state["instance"]] = max(seq, self.begun.get(state["instance"], 0))

    def do_withdraw(self, state, argv):
        self.users.pop(argv[1], None)
        self.withdrawn.append(argv[1])
        self.taken(state, int(argv[2]))
        return b"+OK\r\n"

    def do_confirm(self, _state, argv):
        wait = self.confirms
        if wait is not None:
            tell = threading.Timer(wait, self.confirm, (argv[4], "%s %s" % (argv[2], argv[1])))
            tell.daemon = True
            tell.start()
        return b"+OK\r\n"

    def confirm(self, channel, message):
        try:
            self.notify(channel, message)
        except OSError:
            pass        # whom it was for is gone

    def do_synced(self, state, argv):
        self.synced.append((time.monotonic(), int(argv[1]), state["instance"]))
        orphans = sum(1 for u in self.users.values() if u[0] != state["instance"])
        return b":%d\r\n" % orphans

    def do_serves(self, state, argv):
        return b":%d\r\n" % (1 if argv[1] in self.users else 0)

    def do_route(self, state, argv):
        found = self.routes.get(argv[1])
        if found == "timeout":
            return b"-TIMEOUT no answer\r\n"
        if not found:
            return b"-NOTFOUND nobody\r\n"
        return self.array([[c["hit"], c.get("order", 1), c.get("ttl", 180000), c.get("flags", 0),
                            c.get("session", ""), len(c["uris"])] + list(c["uris"]) + list(c.get("hashes", []))
                           for c in found])

    def do_peer(self, state, argv):
        peer = self.peers.get(argv[1])
        if not peer:
            return b"-NOTFOUND nobody\r\n"
        return self.array([argv[1], peer.get("epoch", 1), peer.get("lease", 180000),
                           len(peer["uris"])] + list(peer["uris"]))

    def do_subscribe(self, state, argv):
        out = b""
        for i, ch in enumerate(argv[1:]):
            self.subscribers.setdefault(ch, []).append(state)
            out += b"*3\r\n$9\r\nsubscribe\r\n" + self.bulk(ch) + b":%d\r\n" % (i + 1)
        return out

    def notify(self, channel, payload):
        with self.lock:
            subs = list(self.subscribers.get(channel, []))
        for s in subs:
            self.send(s, self.array(["message", channel, payload]))
            self.flush(s)
        return len(subs)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("socket")
    ap.add_argument("--route", action="append", default=[], metavar="NAME=HIT,URI[,URI]...")
    ap.add_argument("--peer", action="append", default=[], metavar="HIT,URI[,URI]...")
    ap.add_argument("--mode", default="good")
    ap.add_argument("--delay", type=float, default=0.5)
    ap.add_argument("--hit", default=OWN_HIT)
    args = ap.parse_args()
    gw = Gateway(args.socket, verbose=True)
    gw.mode, gw.delay, gw.hit = args.mode, args.delay, args.hit
    for r in args.route:
        name, _, rest = r.partition("=")
        hit, *uris = rest.split(",")
        gw.routes.setdefault(name, []).append({"hit": hit, "uris": uris})
    for p in args.peer:
        hit, *uris = p.split(",")
        gw.peers[hit] = {"uris": uris}
    gw.start()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        gw.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
