# SPDX-License-Identifier: GPL-2.0-or-later
"""A phone: baresip in a node of its own, told what to do over its ctrl_tcp module."""

import glob
import itertools
import json
import os
import re
import socket
import time

from . import audio, proc, world

_numbers = itertools.count(1)

MODULES = ("g711", "aufile", "aubridge", "sndfile", "account", "ctrl_tcp", "menu")

CONFIG = """poll_method epoll
sip_listen {listen}
call_local_timeout 120
call_max_calls 10
audio_path /usr/share/baresip
audio_source aufile,{wav}
audio_player aubridge,none
audio_alert aubridge,none
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_txmode thread
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 40-200
jitter_buffer_delay 2-20
rtp_tos 184
rtp_ports {ports}
rtp_stats yes
rtcp_mux no
ctrl_tcp_listen 127.0.0.1:4444
ringback_disabled yes
statmode_default off
menu_bell no
snd_path {dump}
module_path /usr/lib/baresip/modules
"""


class Phone:
    """user@domain at a proxy.  Its recordings are in dump/, what it says is in sent."""

    def __init__(self, node, user, domain, proxy=None, password="", transport="udp", ipv6=False,
                 network=None, expires=600, seed=1, seconds=60, answer="manual", modules=(),
                 account="", name=None):
        self.node = node
        self.user = user
        self.name = name or "phone-" + user
        self.aor = "sip:%s@%s" % (user, domain)
        net = network or next(iter(node.addr4))
        self.address = node.addr6[net] if ipv6 else node.addr4[net]
        self.uri_address = "[%s]" % self.address if ipv6 else self.address
        self.dir = os.path.join(world.WORK, "%s.%d" % (self.name, next(_numbers)))
        self.dump = os.path.join(self.dir, "dump")
        os.makedirs(self.dump)
        self.wav = os.path.join(self.dir, "sent.wav")
        self.sent = audio.speech(self.wav, seconds, seed)
        self.events = []
        self._next = 0
        self._buf = b""
        self._token = 0
        self._replies = {}
        self.sock = None
        with open(os.path.join(self.dir, "config"), "w", encoding="utf-8") as f:
            f.write(CONFIG.format(listen="%s:5060" % self.uri_address, wav=self.wav,
                                  dump=self.dump, ports="10000-10999"))
            for m in MODULES + tuple(modules):
                kind = "module_tmp" if m == "account" else \
                    "module_app" if m in ("ctrl_tcp", "menu") else "module"
                f.write("%s %s.so\n" % (kind, m))
        self.account = "<%s;transport=%s>;regint=%d;answermode=%s;auth_user=%s;auth_pass=%s" % (
            self.aor, transport, expires, answer, user, password or "x")
        if proxy:
            self.account += ';outbound="sip:%s;transport=%s"' % (proxy, transport)
        self.account += account
        for e in ("accounts", "contacts", "uuid"):
            with open(os.path.join(self.dir, e), "w", encoding="utf-8") as f:
                f.write("# none\n")
        self.proc = proc.Proc(self.name, ["baresip", "-s", "-f", self.dir], node, cwd=self.dir,
                              stdin=True)
        proc.wait_for("%s answers" % self.name, self._connect, alive=[self.proc])
        self.account_add()

    def account_add(self):
        """Only now, so that the outcome of the registration is an event that we get."""
        self.do("uanew", self.account)

    def account_remove(self):
        """The account goes, and de-registers as it does."""
        self.do("uadel", self.aor)

    def _connect(self):
        with self.node.inside():
            s = socket.socket()
        s.settimeout(2)
        try:
            s.connect(("127.0.0.1", 4444))
        except OSError:
            s.close()
            return False
        self.sock = s
        return True

    def _pump(self, timeout):
        """Takes in what the phone said, at most timeout seconds of waiting."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data = self.sock.recv(65536)
        except (TimeoutError, BlockingIOError):
            return
        if not data:
            raise proc.Failed("%s closed its control connection (%s)\n%s" %
                              (self.name, self.proc.how(), self.proc.tail()))
        self._buf += data
        while b":" in self._buf:
            size, _, rest = self._buf.partition(b":")
            n = int(size)
            if len(rest) < n + 1:
                break
            said = json.loads(rest[:n].decode(errors="replace"))
            self._buf = rest[n + 1:]
            if said.get("event"):
                said["at"] = time.monotonic()
                self.events.append(said)
            else:
                self._replies[said.get("token")] = said

    def do(self, command, params="", timeout=5):
        """A command of baresip's menu; returns its text, raises Failed where it is refused."""
        self._token += 1
        token = str(self._token)
        body = json.dumps({"command": command, "params": params, "token": token})
        self.sock.sendall(b"%d:%s," % (len(body), body.encode()))
        end = time.monotonic() + timeout
        while token not in self._replies:
            left = end - time.monotonic()
            if left <= 0:
                raise proc.Failed("%s gave no answer to %s" % (self.name, command))
            self._pump(left)
        r = self._replies.pop(token)
        if not r.get("ok"):
            raise proc.Failed("%s refused %s %s: %s" % (self.name, command, params, r.get("data")))
        return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", r.get("data") or "")

    def forget(self):
        """Events before now no longer count for wait()."""
        self._pump(0)
        self._next = len(self.events)

    def wait(self, *types, timeout=10, param=None):
        """The next event of one of these types (with param in its parameter); takes it."""
        end = time.monotonic() + timeout
        at = self._next
        while True:
            while at < len(self.events):
                e = self.events[at]
                at += 1
                if e.get("type") in types and (param is None or param in str(e.get("param"))):
                    self._next = at
                    return e
            left = end - time.monotonic()
            if left <= 0:
                seen = ["%s %s" % (e.get("type"), e.get("param") or "")
                        for e in self.events[self._next:]]
                raise proc.Failed("%s: no %s within %gs; it saw: %s" % (
                    self.name, " or ".join(types), timeout, ", ".join(seen) or "nothing"))
            self._pump(left)

    def registered(self, timeout=10):
        e = self.wait("REGISTER_OK", "REGISTER_FAIL", timeout=timeout)
        if e["type"] != "REGISTER_OK":
            raise proc.Failed("%s cannot register: %s" % (self.name, e.get("param")))
        return e

    def dial(self, target):
        self.forget()
        self.do("dial", target)

    def answer(self):
        self.do("accept")

    def hangup(self):
        self.do("hangup")

    def heard(self):
        """The samples of the last call's received audio."""
        files = sorted(glob.glob(os.path.join(self.dump, "*-dec.wav")), key=os.path.getmtime)
        if not files:
            raise proc.Failed("%s heard nothing: no recording" % self.name)
        return audio.read(files[-1])

    def stop(self):
        """Ends it as its user would: it de-registers first."""
        self.proc.expected = True
        if self.proc.running():
            try:
                self.do("quit", timeout=2)
            except (proc.Failed, OSError):
                self.proc.signal(15)
            try:
                self.proc.p.wait(5)
            except Exception:       # pylint: disable=broad-except
                self.proc.kill()
        self.close()

    def kill(self):
        self.proc.kill()
        self.close()

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None
