#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Contacts that outlive Kamailio: what was registered before a SIGKILL is there after it, and
nothing else is."""

import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time

from rig import peer, proc, sipc, tap, world
from rig.solo import mock_gateway, need

HOST, PORT = "127.0.0.1", 5060

CFG = """tcp_accept_no_cl=yes
modparam("ctl", "binrpc_max_body_size", 4096)
modparam("ctl", "binrpc_struct_max_body_size", 4096)
loadmodule "corex.so"
loadmodule "rr.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
%(first)s
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
modparam("nathelper", "received_avp", "$avp(received)")
modparam("registrar", "received_avp", "$avp(received)")
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 0)
modparam("registrar", "gruu_enabled", 1)
modparam("registrar", "min_expires", 1)
modparam("registrar", "max_contacts", 0)
modparam("registrar", "xavp_cfg", "reg")
modparam("usrloc", "xavp_contact", "ulattrs")
modparam("usrloc", "timer_interval", 1)
modparam("usrloc", "nat_bflag", 6)
loadmodule "p2p_usrloc.so"
modparam("p2p_usrloc", "gateway_socket", "%(dir)s/gateway.sock")
modparam("p2p_usrloc", "contacts_file", "%(file)s")
modparam("p2p_usrloc", "contacts_memory", "%(memory)s")
loadmodule "p2p_route.so"
modparam("p2p_route", "advertise", "sip:127.0.0.1:5060;transport=udp")
loadmodule "p2p_registrar.so"
modparam("p2p_registrar", "lookup_timeout_ms", 1500)
%(more)s
request_route {
	if (is_method("REGISTER")) {
		if ($hdr(X-Received) != $null) { fix_nated_register(); setbflag(6); }
		if ($hdr(X-Attr) != $null) {
			$xavp(ulattrs=>attr) = $hdr(X-Attr);
			$xavp(ulattrs[0]=>number) = 17;
		}
		save("location");
		exit;
	}
	p2p_lookup("location", "FOUND");
	exit;
}
route[FOUND] {
	if ($var(p2p_result) == "found") { t_relay(); exit; }
	if ($var(p2p_result) == "absent") { send_reply("404", "absent"); exit; }
	if ($var(p2p_result) == "unknown") { send_reply("480", "unknown"); exit; }
	send_reply("503", "$var(p2p_result)");
	exit;
}
event_route[xhttp:request] {
	set_reply_close();
	set_reply_no_connect();
	if ($hdr(Upgrade) =~ "websocket" && $rm == "GET") { ws_handle_handshake(); exit; }
	xhttp_reply("404", "Not Found", "", "");
}
"""

# What may differ after a restart: the time went on, and what is of this run of Kamailio only.
OF_THE_RUN = ("Expires", "State", "Last-Keepalive", "KA-Roundtrip", "Tcpconn-Id")


class Udp(sipc.Udp):
    """A phone on UDP, without a node: this world has one."""

    def __init__(self):     # pylint: disable=super-init-not-called
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind((HOST, 0))
        self.address, self.port = self.s.getsockname()

    def request(self, text):
        return self.ask(text, HOST)


class Tcp:
    def __init__(self):
        self.s = socket.create_connection((HOST, PORT), 5)
        self.address, self.port = self.s.getsockname()
        self.via = "TCP %s:%d" % (self.address, self.port)

    def request(self, text):
        self.s.sendall(text.encode())
        data = b""
        self.s.settimeout(5)
        while b"\r\n\r\n" not in data:
            more = self.s.recv(65536)
            need(more, "the connection was closed")
            data += more
        return sipc.Message(data)

    def close(self):
        self.s.close()


class Here:
    """Stands in for a node: this world's only one."""

    def inside(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Web(sipc.WebSocket):
    def __init__(self):
        super().__init__(Here(), HOST, PORT)

    def request(self, text):
        self.send(text)
        return self.receive()

    def close(self):
        self.s.close()


def register(phone, user, contact, expires=600, params="", extra=(), callid=None, cseq=1,
             want=200):
    text = sipc.request("REGISTER", "sip:" + HOST, phone.via, "sip:%s@%s" % (user, HOST),
                        "sip:%s@%s" % (user, HOST),
                        ["Contact: <%s>%s;expires=%d" % (contact, params, expires), *extra],
                        callid=callid or "reg-" + user, cseq=cseq)
    m = phone.request(text)
    need(m.code == want, "REGISTER of %s: %s" % (user, m.first))
    return m


class Site:
    def __init__(self, start=True, file=None, memory=True, **parts):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.kam = peer.Kamailio(None, "kam", os.path.join(world.WORK, "kam.cfg"),
                                 ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"])
        self.file = file or os.path.join(self.kam.dir, "contacts")
        self.memory = os.path.join(self.kam.dir, "memory") if memory else ""
        for path in (self.file, self.memory):
            if path and os.path.exists(path):
                os.unlink(path)
        self.write(**parts)
        self.gw = mock_gateway.Gateway(os.path.join(self.kam.dir, "gateway.sock"))
        self.gw.start()
        self.phone = Udp()
        if start:
            self.kam.start()

    def write(self, first="", more=""):
        self.kam.cfg_write(CFG % dict(dir=self.kam.dir, file=self.file, memory=self.memory,
                                      first=first, more=more))

    def again(self, down=0.0):
        """SIGKILL to all of it, and a new start."""
        self.kam.kill()
        time.sleep(down)
        self.kam.start()

    def dump(self):
        """{(table, AoR, ruid): {field: value}} of usrloc."""
        out, aor, c = {}, None, {}
        for line in self.kam.text("ul.dump").splitlines():
            key, _, value = line.strip().partition(": ")
            if key == "AoR":
                aor = value
            elif key == "Address":
                c = {"AoR": aor}
            if c is not None and value and key not in ("AoR",) and not value.startswith("{"):
                c[key] = value
            if key == "Ruid":
                out[value] = c
        return out

    def store(self):
        return self.kam.rpc("p2p_usrloc.contacts")

    def absent(self, user):
        self.in_step()
        m = self.phone_call(user)
        need(m.code == 404, "a call to %s: %s" % (user, m.first))

    def phone_call(self, user):
        caller = Udp()
        try:
            return caller.request(sipc.request("OPTIONS", "sip:%s@%s" % (user, HOST), caller.via,
                                               "sip:caller@" + HOST))
        finally:
            caller.s.close()

    def rings(self, user, phone):
        """A call for user arrives at this phone."""
        caller = Udp()
        with caller:
            text = sipc.request("OPTIONS", "sip:%s@%s" % (user, HOST), caller.via,
                                "sip:caller@" + HOST)
            caller.send(text, HOST)
            m = phone.receive(5)
            need(m is not None and m.method == "OPTIONS", "%s is not called" % user)
            phone.send(sipc.reply(m, 200, "OK"), HOST)
            got = caller.receive(5)
            need(got is not None and got.code == 200, "the caller got %s" % (got and got.first))
        return m

    def in_step(self):
        proc.wait_for("in step with the gateway",
                      lambda: self.kam.rpc("p2p_usrloc.status")["synced"] == "yes", 10)

    def check(self):
        tap.check_processes()

    def close(self):
        self.phone.s.close()
        if self.kam.proc and self.kam.proc.running():
            self.kam.proc.stop()
        self.gw.stop()
        tap.check_processes()


def alone(**how):
    """A site for one test only."""
    return tap.on(lambda: Site(**how))


def same(before, after):
    need(set(before) == set(after), "gone: %r, new: %r" % (sorted(set(before) - set(after)),
                                                           sorted(set(after) - set(before))))
    for ruid, b in before.items():
        a = after[ruid]
        for field in set(a) | set(b):
            if field not in OF_THE_RUN:
                need(a.get(field) == b.get(field), "%s of %s: %r before, %r after" %
                     (field, ruid, b.get(field), a.get(field)))
        if b.get("Expires") not in (None, "permanent"):
            left = int(b["Expires"]) - int(a["Expires"])
            need(0 <= left <= 15, "%s has %d s less" % (ruid, left))


@alone()
def test_contacts_come_back_with_all_they_had(s):
    p = s.phone
    at = "%s:%d" % (p.address, p.port)
    register(p, "plain", "sip:plain@" + at)
    register(p, "full", "sip:full@" + at, params=';q=0.7;reg-id=2;methods="INVITE,OPTIONS";'
             '+sip.instance="<urn:uuid:11111111-2222-3333-4444-555555555555>"',
             extra=["User-Agent: rig/1", "X-Received: 1", "X-Attr: of this contact",
                    "Supported: path, outbound, gruu"], cseq=7)
    register(p, "path", "sip:path@192.0.2.9:5060",
             extra=["Path: <sip:%s;lr>" % at, "Supported: path"])
    register(p, "long", "sip:long@%s;with=%s" % (at, "x" * 200), callid="z" * 250,
             extra=["User-Agent: " + "y" * 250, "X-Received: 1", "X-Attr: " + "w" * 1500])
    for i in range(3):
        register(p, "many", "sip:many%d@%s" % (i, at), callid="many%d" % i)
    before = s.dump()
    need(len(before) == 7, "%d contacts" % len(before))
    s.again()
    same(before, s.dump())
    st = s.store()
    need((st["stored"], st["restored"], st["damaged"], st["skipped"]) == (7, 7, 0, 0), str(st))
    line = s.kam.proc.said("contacts: 7 contacts are back")
    need(line, "the log does not say it")

    for user in ("plain", "full", "long"):
        s.rings(user, p)
    m = s.rings("path", p)
    need("192.0.2.9" in m.first and at in m.get("Route"), m.text)
    s.in_step()
    need(all(u in s.gw.users for u in ("plain", "full", "path", "long", "many")),
         "published: %r" % sorted(s.gw.users))

    # the next REGISTER of each phone finds its binding
    ruid = {c["AoR"]: r for r, c in before.items()}
    m = register(p, "plain", "sip:plain@" + at, cseq=2)
    need(len(m.all("Contact")[0].split(",")) == 1, m.text)
    register(p, "full", "sip:full@" + at, params=';q=0.7;reg-id=2;'
             '+sip.instance="<urn:uuid:11111111-2222-3333-4444-555555555555>"',
             callid="another", cseq=1, extra=["Supported: path, outbound, gruu"])
    after = s.dump()
    need(set(after) == set(before) and after[ruid["full"]]["Call-ID"] == "another", str(after))
    register(p, "plain", "sip:plain@" + at, expires=0, cseq=3)
    need(ruid["plain"] not in s.dump(), "it did not de-register")
    s.again()
    after2 = s.dump()
    need(ruid["plain"] not in after2, "a de-registered contact came back")
    need(after2[ruid["full"]]["Call-ID"] == "another", str(after2[ruid["full"]]))
    s.absent("plain")
    # the attribute is still there, and is told to the script with the contact
    need(s.store()["xavp_left"] == 0, str(s.store()))


@alone()
def test_a_lost_connection_is_480_until_the_phone_is_back(s):
    t, w = Tcp(), Web()
    tcp_contact = "sip:tess@%s:%d;transport=tcp" % (t.address, t.port)
    register(t, "tess", tcp_contact, params=';+sip.instance="<urn:uuid:t>"',
             extra=["Supported: gruu"])
    register(w, "wanda", "sip:wanda@%s;transport=ws" % w.host)
    register(w, "short", "sip:short@%s;transport=ws" % w.host, expires=5)
    start = time.monotonic()
    register(s.phone, "ulla", "sip:ulla@%s:%d" % (HOST, s.phone.port))
    need(len(s.dump()) == 4, str(s.dump()))
    s.again()
    t.close()
    w.close()
    need([c["AoR"] for c in s.dump().values()] == ["ulla"], str(s.dump()))
    st = s.store()
    need((st["stale"], st["restored"]) == (3, 1), str(st))
    s.in_step()
    need(all(u in s.gw.users for u in ("tess", "wanda", "short", "ulla")), "not published: %r" %
         sorted(s.gw.users))
    for user in ("tess", "wanda"):
        m = s.phone_call(user)
        need(m.code == 480, "%s: %s" % (user, m.first))
    s.absent("nobody")

    t, w = Tcp(), Web()
    register(t, "tess", "sip:tess@%s:%d;transport=tcp" % (t.address, t.port),
             params=';+sip.instance="<urn:uuid:t>"', extra=["Supported: gruu"], callid="new")
    register(w, "wanda", "sip:wanda@%s;transport=ws" % w.host)     # its Call-ID is the old one
    need(s.store()["stale"] == 1, str(s.store()))
    shown = s.kam.text("p2p_usrloc.show", "tess")
    need(shown.count("ruid:") == 1, shown)
    proc.wait_for("the one whose time is over is gone", lambda: "short" not in s.gw.users,
                  max(1.0, 12 - (time.monotonic() - start)))
    s.absent("short")
    need(s.store()["stale"] == 0, str(s.store()))
    t.close()
    w.close()
    # and once more: what came back before is stale now
    s.again()
    need(s.store()["stale"] == 2, str(s.store()))
    # the phone has registered at another peer meanwhile: what is kept of it is over
    s.in_step()
    need("tess" in s.gw.users and s.gw.users["tess"][2], "%r" % s.gw.users)
    phone = s.gw.users["tess"][2][0]
    s.gw.notify("moves", "2001:21:aaaa::1 %s wanda" % phone)
    s.gw.notify("moves", "2001:21:aaaa::1 %s tess" % phone)
    proc.wait_for("it is withdrawn", lambda: "tess" not in s.gw.users, 5)
    need("wanda" in s.gw.users and s.store()["stale"] == 1, str(s.store()))
    s.absent("tess")


@alone()
def test_what_is_over_meanwhile_does_not_come_back(s):
    p = s.phone
    register(p, "brief", "sip:brief@%s:%d" % (HOST, p.port), expires=2)
    register(p, "lasting", "sip:lasting@%s:%d" % (HOST, p.port), expires=60)
    s.again(down=2.5)
    need([c["AoR"] for c in s.dump().values()] == ["lasting"], str(s.dump()))
    need(s.store()["expired"] == 1, str(s.store()))
    s.absent("brief")


DB = """
loadmodule "db_text.so"
"""
DB_MORE = """
modparam("usrloc", "db_url", "text://%s")
modparam("usrloc", "db_mode", 1)
modparam("usrloc", "version_table", 0)
"""


def with_database():
    s = Site(start=False)
    db = os.path.join(s.kam.dir, "db")
    os.makedirs(db)
    source = next((d for d in ("/usr/share/kamailio/dbtext/kamailio",
                               "/usr/share/kamailio/dbtext") if os.path.exists(d + "/location")),
                  None)
    if source is None:
        s.close()
        raise tap.Skip("no dbtext tables on this machine")
    for name in ("location", "location_attrs", "version"):
        if os.path.exists(os.path.join(source, name)):
            shutil.copy(os.path.join(source, name), db)
    for name in [db] + [os.path.join(db, x) for x in os.listdir(db)]:
        peer.own(name, s.kam.user)
    s.write(first=DB, more=DB_MORE % db)
    s.kam.start()
    return s


@tap.on(with_database)
def test_a_newer_binding_stays(s):
    p = s.phone
    instance = ';+sip.instance="<urn:uuid:d>"'
    register(p, "moved", "sip:moved@192.0.2.1:1", params=instance, extra=["Supported: gruu"])
    register(p, "only", "sip:only@%s:%d" % (HOST, p.port))
    s.kam.proc.stop()
    shutil.copy(s.file, s.file + ".old")
    s.kam.start()
    proc.wait_for("usrloc has its database", lambda: len(s.dump()) == 2, 5)
    time.sleep(1.1)         # usrloc counts in seconds
    register(p, "moved", "sip:moved@%s:%d" % (HOST, p.port), params=instance,
             extra=["Supported: gruu"], cseq=2)
    before = s.dump()
    s.kam.proc.stop()
    shutil.copy(s.file + ".old", s.file)
    os.unlink(s.memory)
    s.kam.start()
    proc.wait_for("usrloc has its database", lambda: len(s.dump()) == 2, 5)
    after = s.dump()
    need(set(after) == set(before), "%r, %r" % (before, after))
    for ruid in before:
        need(after[ruid]["Address"] == before[ruid]["Address"], str(after[ruid]))
    s.rings("moved", p)
    s.rings("only", p)
    # and the file has it too by now
    need(s.store()["older"] == 2 and s.store()["stored"] == 2, str(s.store()))


@alone()
def test_one_kamailio_only_and_a_check_touches_nothing(s):
    register(s.phone, "one", "sip:one@%s:%d" % (HOST, s.phone.port))
    stat = os.stat(s.file)
    need(stat.st_mode & 0o777 == 0o600, "mode %o" % stat.st_mode)
    with open(s.file, "rb") as f:
        data = f.read()
    r = subprocess.run(["kamailio", "-f", s.kam.cfg, "-c"], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=20, check=False, text=True)
    need(r.returncode == 0, r.stdout)
    with open(s.file, "rb") as f:
        need(f.read() == data, "kamailio -c changed the file")
    other = peer.Kamailio(None, "other", s.kam.cfg, ["udp:127.0.0.1:5070"])
    cfg = os.path.join(world.WORK, "other.cfg")
    with open(s.kam.cfg, encoding="ascii") as f, open(cfg, "w", encoding="ascii") as out:
        out.write(f.read().replace("unix:%s/ctl.sock" % s.kam.dir, "unix:" + other.ctl))
    other.cfg = cfg
    other.start(wait=False)
    other.proc.expected = True
    proc.wait_for("the second one refuses", lambda: not other.proc.running(), 15)
    need(other.proc.said(s.file, "another Kamailio keeps its contacts there"), other.proc.tail())
    need(other.proc.p.returncode != 0, "it ended with 0")
    s.rings("one", s.phone)


@tap.on(lambda: Site(start=False))
def test_what_is_no_file_of_contacts_is_left_alone(s):
    with open(s.file, "wb") as f:
        f.write(b"somebody's thesis" * 1000)
    peer.own(s.file, s.kam.user)
    with open(s.file, "rb") as f:
        before = f.read()
    s.kam.start(wait=False)
    s.kam.proc.expected = True
    proc.wait_for("it refuses", lambda: not s.kam.proc.running(), 15)
    need(s.kam.proc.said("this is no file of contacts"), s.kam.proc.tail())
    with open(s.file, "rb") as f:
        need(f.read() == before, "it was changed")


@alone()
def test_what_is_on_the_disk_comes_back_after_a_reboot(s):
    p = s.phone
    for u in ("r1", "r2", "r3"):
        register(p, u, "sip:%s@%s:%d" % (u, HOST, p.port))
    register(p, "r2", "sip:r2@%s:%d" % (HOST, p.port), expires=0, cseq=2)
    before = s.dump()
    syncs = s.store()["syncs"]
    proc.wait_for("they are on the disk", lambda: s.store()["syncs"] > syncs, 5)
    s.kam.kill()
    os.unlink(s.memory)
    s.kam.start()
    same(before, s.dump())
    for u in ("r1", "r3"):
        s.rings(u, p)
    s.absent("r2")


@alone(memory=False)
def test_a_file_on_the_disk_alone_does(s):
    register(s.phone, "disk", "sip:disk@%s:%d" % (HOST, s.phone.port))
    before = s.dump()
    s.again()
    same(before, s.dump())
    register(s.phone, "disk", "sip:disk@%s:%d" % (HOST, s.phone.port), cseq=2)
    s.rings("disk", s.phone)


@alone(memory=False)
def test_damaged_contacts_are_passed_over(s):
    p = s.phone
    users = ["d%d" % i for i in range(20)]
    for u in users:
        register(p, u, "sip:%s@%s:%d" % (u, HOST, p.port))
    s.kam.kill()
    with open(s.file, "r+b") as f:
        data = f.read()
        at = data.index(b"sip:d7@")
        f.seek(at + 5)
        f.write(b"8")
    s.kam.start()
    after = sorted(c["AoR"] for c in s.dump().values())
    need(after == sorted(u for u in users if u != "d7"), str(after))
    need(s.store()["damaged"] == 1, str(s.store()))
    need(s.kam.proc.said("1 contacts were damaged"), s.kam.proc.tail())


def small_disk():
    path = os.path.join(world.WORK, "disk")
    os.makedirs(path, exist_ok=True)
    world.mount("tmpfs", path, "tmpfs", 0, "size=3m,mode=0777")
    return Site(file=path + "/contacts", memory=False)


def fill(s, n, first=0):
    """Registers many; the 200s are counted."""
    ok = 0
    for i in range(first, first + n):
        u = "f%d" % i
        m = s.phone.request(sipc.request(
            "REGISTER", "sip:" + HOST, s.phone.via, "sip:%s@%s" % (u, HOST),
            "sip:%s@%s" % (u, HOST), ["Contact: <sip:%s@%s:%d>;expires=600" %
                                      (u, HOST, s.phone.port)], callid="reg-" + u))
        ok += m.code == 200
    return ok


@tap.on(lambda: Site(more='modparam("p2p_usrloc", "contacts_max", 100)\n'))
def test_a_full_table_is_told_and_registers_go_on(s):
    need(fill(s, 150) == 150, "REGISTERs failed")
    st = s.store()
    # each try counts: a look through usrloc, whenever it comes, finds some of them again
    need(st["stored"] == 100 and st["not_kept"] >= 50, str(st))
    lines = [x for x in s.kam.proc.text().splitlines() if "will not outlive a restart" in x]
    need(len(lines) == 1 and "contacts_max" in lines[0], str(lines))
    for i in range(10):     # what leaves makes room
        register(s.phone, "f%d" % i, "sip:f%d@%s:%d" % (i, HOST, s.phone.port), expires=0, cseq=9)
    need(fill(s, 10, 150) == 10, "REGISTERs failed")
    s.again()
    aors = {c["AoR"] for c in s.dump().values()}
    need(aors == {"f%d" % i for i in list(range(10, 100)) + list(range(150, 160))},
         str(sorted(aors)))


@tap.on(small_disk)
@tap.limit(120)
def test_a_full_disk_is_told_and_registers_go_on(s):
    # room for the first step of the file and not for the next one
    more = 0
    t = LoadMany(s, 4200)
    more = t.run()
    need(more == 4200, "%d of 4200 REGISTERs were answered" % more)
    st = s.store()
    need(st["slots"] == 4096 and st["stored"] == 4096 and st["not_kept"] >= 104, str(st))
    need(s.kam.proc.said("will not outlive a restart", "disk"), s.kam.proc.tail())
    proc.wait_for("it is told", lambda: s.kam.proc.said("cannot grow", "No space left"), 5)
    s.again()
    need(s.store()["restored"] == 4096, str(s.store()))


class LoadMany:
    """Registers n users once, many at a time."""

    def __init__(self, s, n):
        self.s, self.n = s, n

    def run(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((HOST, 0))
        sock.settimeout(5)
        port = sock.getsockname()[1]
        ok = sent = 0
        while ok < self.n:
            while sent < self.n and sent - ok < 50:
                sock.sendto(reg_text("m%d" % sent, port, 1), (HOST, PORT))
                sent += 1
            m = sock.recv(65536)
            if not m.startswith(b"SIP/2.0 200"):
                break
            ok += 1
        sock.close()
        return ok


def reg_text(user, port, cseq, expires=600):
    return ("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;branch=z9hG4bK%s.%d\r\n"
            "From: <sip:%s@%s>;tag=1\r\nTo: <sip:%s@%s>\r\nCall-ID: load-%s\r\n"
            "CSeq: %d REGISTER\r\nContact: <sip:%s@%s:%d>;expires=%d\r\nMax-Forwards: 70\r\n"
            "Content-Length: 0\r\n\r\n" % (HOST, HOST, port, user, cseq, user, HOST, user, HOST,
                                            user, cseq, user, HOST, port, expires)).encode()


class Load(threading.Thread):
    """REGISTERs at some hundred a second: first ones, refreshes, de-registrations. What was
    acknowledged last is known of each user; of those on their way at the end either may be."""

    RATE = 500
    PORT = 15060            # the same phones each time

    cseq = 0                # goes on from one load to the next

    def __init__(self, users):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((HOST, self.PORT))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.users = users
        self.there = {}         # user -> (cseq, there?) as acknowledged
        self.asked = {}         # user -> {cseq: there?} not answered yet
        self.acked = 0
        self.ending = False

    def run(self):
        begin, n = time.monotonic(), 0
        while not self.ending:
            self.take()
            if n < (time.monotonic() - begin) * self.RATE:
                n += 1
                self.ask(random.choice(self.users))
            else:
                time.sleep(0.0005)
        end = time.monotonic() + 0.3        # what Kamailio had said before it was killed
        while time.monotonic() < end:
            self.take()
            time.sleep(0.005)

    def ask(self, user):
        Load.cseq += 1
        stay = random.random() < 0.8
        self.asked.setdefault(user, {})[self.cseq] = stay
        try:
            self.sock.sendto(reg_text(user, self.port, self.cseq, 600 if stay else 0),
                             (HOST, PORT))
        except OSError:
            pass

    def take(self):
        while True:
            try:
                text = self.sock.recv(65536)
            except OSError:
                return
            if not text.startswith(b"SIP/2.0 200"):
                continue
            user = re.search(rb"Call-ID: load-(\S+)", text).group(1).decode()
            cseq = int(re.search(rb"CSeq: (\d+)", text).group(1))
            stay = self.asked.get(user, {}).pop(cseq, None)
            if stay is None:
                continue
            self.acked += 1
            if cseq > self.there.get(user, (0, False))[0]:
                self.there[user] = (cseq, stay)

    def stop(self):
        self.ending = True
        self.join(10)
        self.sock.close()


def kills(s, rounds):
    """SIGKILL at random moments under load: what was acknowledged is there, what left is not."""
    acked = 0
    users = ["k%d" % i for i in range(150)]    # kamcmd prints no more
    for _ in range(rounds):
        load = Load(users)
        # what is there from the rounds before
        for c in s.dump().values():
            load.there[c["AoR"]] = (0, True)
        load.start()
        time.sleep(random.uniform(0.3, 0.9))
        s.kam.kill()
        load.stop()
        acked += load.acked
        s.kam.start()
        after = s.dump()
        have = {c["AoR"]: c for c in after.values()}
        need(len(have) == len(after), "two bindings of one phone")
        for u in users:
            cseq, stay = load.there.get(u, (0, False))
            later = {c: t for c, t in load.asked.get(u, {}).items() if c > cseq}
            allowed = {stay} | set(later.values())
            need((u in have) in allowed, "%s is %s; acknowledged: %s; on their way: %r" %
                 (u, "there" if u in have else "not there", stay, later))
            if u in have and cseq and stay and not later:
                need(int(have[u]["CSeq"]) >= cseq, "%s has CSeq %s, not %d" %
                     (u, have[u]["CSeq"], cseq))
        st = s.store()
        need(st["damaged"] == 0 and st["stored"] == len(after), str(st))
    tap.say("%d kills, %d REGISTERs acknowledged, none lost" % (rounds, acked))
    need(acked > rounds * 20, "only %d REGISTERs were acknowledged" % acked)


@alone()
@tap.limit(120)
def test_ten_kills_under_load_lose_nothing(s):
    kills(s, 10)


@tap.long
@alone()
@tap.limit(1200)
def test_two_hundred_kills_under_load_lose_nothing(s):
    kills(s, 200)


if __name__ == "__main__":
    tap.main(globals())
