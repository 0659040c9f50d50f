#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""p2p_usrloc in a real Kamailio, against a gateway that does what it is told (tests/mock)."""

import os
import re
import socket
import subprocess
import sys
import threading
import time

from rig import peer, proc, tap, world

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "mock"))
import mock_gateway         # noqa: E402  pylint: disable=wrong-import-position

ADDR = ("127.0.0.1", 5060)
DEBIAN = "/usr/lib/x86_64-linux-gnu/kamailio/modules/"
PEER = "2001:21:aaaa::1"
PEER2 = "2001:21:bbbb::2"

CFG = """#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
%(core)s
mpath="%(debian)s:%(build)s/"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:%(dir)s/ctl.sock")
loadmodule "kex.so"
loadmodule "corex.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
%(first)s
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "timer_interval", 1)
modparam("registrar", "min_expires", 1)
loadmodule "p2p_usrloc.so"
modparam("p2p_usrloc", "gateway_socket", "%(dir)s/gateway.sock")
%(more)s
request_route {
	if (is_method("REGISTER")) {
		if ($hdr(X-Table) == "other") { save("other"); } else { save("location"); }
		exit;
	}
%(route)s
}
%(routes)s
"""

LOOKUP_MODULES = """
loadmodule "rr.so"
loadmodule "p2p_route.so"
modparam("p2p_route", "advertise", "sip:127.0.0.1:5060;transport=udp")
loadmodule "p2p_registrar.so"
modparam("p2p_registrar", "lookup_timeout_ms", 1500)
modparam("p2p_usrloc", "cache_fresh_ms", %d)
"""
LOOKUP_ROUTE = """	p2p_lookup("location", "FOUND");
	exit;"""
LOOKUP_ROUTES = """route[FOUND] {
	if ($var(p2p_result) == "found") { send_reply("202", "found $du"); exit; }
	if ($var(p2p_result) == "absent") { send_reply("404", "absent"); exit; }
	if ($var(p2p_result) == "unknown") { send_reply("480", "unknown"); exit; }
	send_reply("503", "$var(p2p_result)");
	exit;
}"""


class Sip:
    """Requests over UDP, answered in the order sent."""

    def __init__(self):
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.s.settimeout(5)
        self.port = self.s.getsockname()[1]
        self.n = 0
        self.run = "%x" % time.monotonic_ns()

    def close(self):
        self.s.close()

    def send(self, method, user, domain="127.0.0.1", headers=(), cseq=None):
        self.n += 1
        self.s.sendto(("\r\n".join([
            "%s sip:%s%s SIP/2.0" % (method, "" if method == "REGISTER" else user + "@", domain),
            "Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%s%d" % (self.port, self.run, self.n),
            "Max-Forwards: 70",
            "From: <sip:%s@%s>;tag=t%d" % (user if method == "REGISTER" else "tester", domain,
                                           self.n),
            "To: <sip:%s@%s>" % (user, domain),
            "Call-ID: %s-%s%s" % (user, self.run, "" if method == "REGISTER" else self.n),
            "CSeq: %d %s" % (cseq or self.n, method)] + list(headers) +
            ["Content-Length: 0", "", ""])).encode(), ADDR)
        return self.n

    def answer(self):
        """(code, reason, CSeq number)"""
        while True:
            text = self.s.recv(65535).decode(errors="replace")
            code = int(text.split(" ", 2)[1])
            if code >= 200:
                seq = int(re.search(r"^CSeq: *(\d+)", text, re.M | re.I).group(1))
                return code, text.split("\r\n", 1)[0].split(" ", 2)[2], seq

    def register(self, user, expires=600, instance=None, contact=None, want=200, headers=(),
                 domain="127.0.0.1"):
        extra = ';+sip.instance="<%s>"' % instance if instance else ""
        self.send("REGISTER", user, domain, list(headers) + [
            "Contact: <%s>;expires=%d%s" % (contact or "sip:%s@127.0.0.1:%d" % (user, self.port),
                                            expires, extra)])
        code, reason, _ = self.answer()
        if code != want:
            raise proc.Failed("REGISTER of %s: %d %s" % (user, code, reason))

    def many(self, users, expires=600):
        """Registers all, several at a time."""
        users = list(users)
        ahead = 20
        for i, u in enumerate(users):
            self.send("REGISTER", u, headers=[
                "Contact: <sip:%s@127.0.0.1:%d>;expires=%d" % (u, self.port, expires)])
            if i >= ahead:
                self.answer()
        for _ in range(min(ahead, len(users))):
            self.answer()

    def ask(self, user, method="OPTIONS", domain="127.0.0.1"):
        start = time.monotonic()
        self.send(method, user, domain)
        code, reason, _ = self.answer()
        return code, reason, time.monotonic() - start


class Solo:
    """One Kamailio, one mock gateway."""

    def __init__(self, gateway=True, start=True, options=(), shm=64, **parts):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.kam = peer.Kamailio(None, "kam", os.path.join(world.WORK, "kam.cfg"),
                                 ["udp:127.0.0.1:5060"], options=options, shm=shm)
        self.write(**parts)
        self.gw = mock_gateway.Gateway(os.path.join(self.kam.dir, "gateway.sock"))
        self.sip = Sip()
        if gateway:
            self.gw.start()
        if start:
            self.kam.start()
            if gateway:
                self.in_step()

    def write(self, core="", first="", more="", route='\tsl_send_reply("404", "no");',
              routes=""):
        self.core = core
        with open(self.kam.cfg, "w", encoding="ascii") as f:
            f.write(CFG % dict(core=core, debian=DEBIAN, build=world.BUILD + "/.libs",
                               dir=self.kam.dir, first=first, more=more, route=route,
                               routes=routes))

    def text(self, *command):
        """What kamcmd prints."""
        r = subprocess.run(["kamcmd", "-s", "unix:" + self.kam.ctl] + [str(c) for c in command],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=10, check=False)
        return r.stdout

    def status(self):
        return self.kam.rpc("p2p_usrloc.status")

    def stats(self):
        return self.kam.rpc("p2p_usrloc.stats")

    def in_step(self, timeout=10):
        proc.wait_for("Kamailio is in step with the gateway",
                      lambda: self.status()["synced"] == "yes"
                      and self.status()["publishing"] == 0, timeout)

    def published(self, *names, timeout=5):
        proc.wait_for("%s published" % ", ".join(names),
                      lambda: all(n in self.gw.users for n in names), timeout)

    def gone(self, *names, timeout=5):
        proc.wait_for("%s withdrawn" % ", ".join(names),
                      lambda: not any(n in self.gw.users for n in names), timeout)

    def away(self, timeout=8):
        proc.wait_for("Kamailio notices that the gateway is gone",
                      lambda: self.status()["gateway"] == "away", timeout)

    def check(self):
        self.gw.mode = "good"
        tap.check_processes()

    def close(self):
        self.sip.close()
        if self.kam.proc:
            self.kam.proc.stop()
        self.gw.stop()
        tap.check_processes()


def solo():
    return Solo()


def lookups():
    return Solo(more=LOOKUP_MODULES % 30000, route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES)


def stale_lookups():
    return Solo(more=LOOKUP_MODULES % 0, route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES)


def need(condition, what):
    if not condition:
        raise proc.Failed(what)


def count(s, cmd):
    return s.gw.counts.get(cmd, 0)


# --- publishing ---

@tap.on(solo)
def test_register_publishes_refresh_does_not_deregister_withdraws(s):
    s.sip.register("alice", instance="urn:uuid:1")
    s.published("alice")
    need(len(s.gw.users["alice"][2]) == 1, "instance hash: %r" % (s.gw.users["alice"],))
    before = count(s, "PUBLISH")
    for _ in range(5):
        s.sip.register("alice", instance="urn:uuid:1")
    s.sip.register("carol")       # what comes after the refreshes has been published...
    s.published("carol")
    need(count(s, "PUBLISH") == before + 1, "a refresh was published")
    s.sip.register("alice", expires=0, instance="urn:uuid:1")
    s.gone("alice")
    proc.wait_for("nothing left to withdraw", lambda: s.status()["withdrawn"] == 0)


@tap.on(solo)
def test_second_contact_publishes_only_a_new_instance(s):
    s.sip.register("dave", instance="urn:uuid:1", contact="sip:dave@127.0.0.1:7001")
    s.published("dave")
    s.sip.register("dave", instance="urn:uuid:2", contact="sip:dave@127.0.0.1:7002")
    proc.wait_for("two instances", lambda: len(s.gw.users["dave"][2]) == 2)
    before = s.gw.users["dave"][1]
    s.sip.register("dave", contact="sip:dave@127.0.0.1:7003")     # none: no news
    s.sip.register("dave", expires=0, contact="sip:dave@127.0.0.1:7003")
    s.sip.register("dave", expires=0, instance="urn:uuid:2", contact="sip:dave@127.0.0.1:7002")
    proc.wait_for("one instance", lambda: len(s.gw.users["dave"][2]) == 1)
    need(s.gw.users["dave"][1] > before, "the sequence did not grow")
    shown = s.text("p2p_usrloc.show", "dave")
    need("state: published" in shown, shown)


@tap.on(solo)
def test_expiry_withdraws(s):
    s.sip.register("erin", expires=1)
    s.published("erin")
    s.gone("erin", timeout=6)


@tap.on(solo)
def test_names_are_unescaped_and_lower_case(s):
    s.sip.register("F%72ANK")
    s.published("frank")
    s.sip.register("per%25cent")
    s.published("per%cent")
    s.sip.register("frank", expires=0, contact="sip:F%%72ANK@127.0.0.1:%d" % s.sip.port)
    s.gone("frank")


@tap.on(solo)
def test_table_of_another_name_is_published_too(s):
    s.sip.register("gina", headers=["X-Table: other"])
    s.published("gina")
    need("table: other" in s.text("p2p_usrloc.show", "gina"), "not in table other")


@tap.on(solo)
def test_list_is_paged_without_loss_or_repetition(s):
    s.sip.many("page%d" % i for i in range(120))
    s.published("page119")
    seen, cursor = [], "0"
    while True:
        page = s.text("p2p_usrloc.list", cursor, 50)
        seen += re.findall(r"name: (page\d+)", page)
        cursor = re.search(r"next: (\S+)", page).group(1)
        if cursor == "0":
            break
    need(sorted(seen) == sorted("page%d" % i for i in range(120)),
         "%d names, %d different" % (len(seen), len(set(seen))))


@tap.on(lambda: Solo(gateway=False))
def test_kamailio_starts_before_the_gateway(s):
    s.sip.register("early")
    need(s.status()["gateway"] == "away", "connected to what?")
    s.gw.start()
    s.published("early")
    s.in_step()
    need(s.gw.synced[-1][1] == 1, "SYNCED said %r" % (s.gw.synced,))
    index = [a[0] for _, a in s.gw.log]
    need(index.index("PUBLISH") < index.index("SYNCED"), "SYNCED came before PUBLISH")


@tap.on(solo)
@tap.limit(90)
def test_gateway_restarted_without_its_state_gets_500_users_again(s):
    s.sip.many("user%d" % i for i in range(500))
    proc.wait_for("500 users published", lambda: len(s.gw.users) >= 500)
    s.gw.stop()
    s.away()
    s.sip.register("user0", expires=0)
    s.sip.register("late")
    s.gw.forget()
    s.gw.epoch += 1
    start = time.monotonic()
    s.gw.start()
    s.published("late", timeout=5)
    proc.wait_for("500 users published again", lambda: len(s.gw.users) >= 500, 5)
    took = time.monotonic() - start
    s.in_step()
    tap.say("500 users published again in %.3f s" % took)
    need(took < 5, "it took %.1f s" % took)
    need("user0" in s.gw.withdrawn, "the one who left meanwhile was not withdrawn")
    need("user0" not in s.gw.users, "the one who left meanwhile was published")


@tap.on(solo)
def test_lost_connection_is_made_up_for(s):
    s.sip.register("henry")
    s.published("henry")
    s.gw.drop_all()
    proc.wait_for("connected again",
                  lambda: s.stats()["connects"] >= 2 and s.status()["synced"] == "yes")
    s.sip.register("henry", expires=0)
    s.gone("henry")


def unanswered_withdrawal(s, user):
    """The gateway reads a WITHDRAW, and does nothing about it."""
    read = []
    s.sip.register(user)
    s.published(user)
    s.in_step()
    s.gw.do_withdraw = lambda state, argv: read.append(argv[1]) or b""
    s.sip.register(user, expires=0)
    proc.wait_for("WITHDRAW", lambda: read)
    need(read == [user] and user in s.gw.users, "%s %s" % (read, s.gw.users))


@tap.on(solo)
def test_gateway_dies_with_a_withdraw_unanswered(s):
    unanswered_withdrawal(s, "iris")
    s.gw.stop()
    s.away()
    del s.gw.do_withdraw
    s.gw.start()
    s.in_step()
    s.gone("iris")
    # and when only the connection was lost
    unanswered_withdrawal(s, "jack")
    del s.gw.do_withdraw
    s.gw.drop_all()
    s.gone("jack")
    # one who comes back meanwhile stays
    unanswered_withdrawal(s, "kate")
    s.gw.stop()
    s.away()
    del s.gw.do_withdraw
    s.sip.register("kate")
    s.gw.start()
    s.in_step()
    need("kate" in s.gw.users, "the one who came back was withdrawn")
    proc.wait_for("nothing left to withdraw", lambda: s.status()["withdrawn"] == 0)


@tap.on(solo)
@tap.limit(120)
def test_misbehaving_gateway_loses_nothing(s):
    lines = len(s.kam.proc.text().splitlines())
    for i, mode in enumerate(("silent", "garbage", "nonsense", "huge", "elements", "close",
                              "busy", "internal", "version", "slow", "stale")):
        began = time.monotonic()
        s.gw.mode = mode
        name = "bad%d" % i
        s.sip.register(name)
        if mode in ("silent", "garbage", "huge", "elements", "version"):
            if mode == "version":
                s.gw.drop_all()
            s.away(20)
        elif mode not in ("stale", "slow"):
            # it must have met the misbehaviour before it ends
            tries = count(s, "PUBLISH")
            proc.wait_for("PUBLISH tried", lambda t=tries: count(s, "PUBLISH") > t)
        s.sip.register("other%d" % i)
        s.gw.mode = "stale" if mode == "stale" else "good"
        s.published(name, "other%d" % i, timeout=20)
        tap.say("%s: %.1f s" % (mode, time.monotonic() - began))
    said = s.kam.proc.text().splitlines()[lines:]
    tap.say("%d lines logged" % len(said))
    need(len(said) < 120, "%d lines logged" % len(said))


@tap.on(solo)
def test_sync_command_publishes_all_again(s):
    s.sip.many("sync%d" % i for i in range(10))
    s.published("sync9")
    s.in_step()
    s.gw.forget()
    s.kam.rpc("p2p_usrloc.sync")
    proc.wait_for("10 users published again", lambda: len(s.gw.users) >= 10)
    proc.wait_for("SYNCED", lambda: s.gw.synced)


def database(s):
    """Has s use a text database; returns its directory."""
    db = os.path.join(s.kam.dir, "db")
    subprocess.run(["cp", "-r", "/usr/share/kamailio/dbtext/kamailio", db], check=True)
    with open(os.path.join(db, "version"), "r+", encoding="ascii") as f:
        text = f.read()
        f.write(re.search(r"^\d+:location:\d+$", text, re.M).group(0)
                .replace("location", "other") + "\n")
    subprocess.run(["cp", os.path.join(db, "location"), os.path.join(db, "other")], check=True)
    subprocess.run(["chown", "-R", s.kam.user, db], check=True)
    s.write(core=s.core, first='loadmodule "db_text.so"',
            more='modparam("usrloc", "db_mode", 1)\n'
                 'modparam("usrloc", "db_url", "text://%s")\n'
                 'modparam("db_text", "db_mode", 1)\n' % db)
    return db


@tap.on(lambda: Solo(start=False))
def test_contacts_of_the_database_are_published(s):
    database(s)
    s.kam.start()
    s.in_step()
    s.sip.many("db%d" % i for i in range(20))
    s.published("db19")
    s.kam.proc.stop()
    s.gw.forget()
    s.kam.start()
    proc.wait_for("20 users of the database published", lambda: len(s.gw.users) == 20)
    proc.wait_for("SYNCED with 20", lambda: s.gw.synced and s.gw.synced[-1][1] == 20)


@tap.on(lambda: Solo(core="server_id=7", start=False))
def test_contacts_of_other_servers_are_left_to_them(s):
    db = database(s)
    s.kam.start()
    s.in_step()
    s.sip.register("mine")
    s.sip.register("theirs")
    s.published("mine", "theirs")
    s.kam.proc.stop()
    path = os.path.join(db, "location")
    with open(path, encoding="ascii") as f:
        rows = f.read().split("\n")
    column = [c.split("(")[0] for c in rows[0].split()].index("server_id")
    for i, row in enumerate(rows):
        if ":theirs:" in row:
            cells = re.split(r"(?<!\\):", row)
            need(cells[column] == "7", row)
            cells[column] = "8"
            rows[i] = ":".join(cells)
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(rows))
    s.gw.forget()
    s.kam.start()
    s.in_step()
    need(list(s.gw.users) == ["mine"], s.gw.users)
    s.sip.register("theirs")        # now it is registered here
    s.published("theirs")


@tap.on(lambda: Solo(core='alias="one.example"\nalias="two.example"',
                     more='modparam("usrloc", "use_domain", 1)\n'
                          'modparam("p2p_usrloc", "name_format", "user@domain")'))
def test_names_with_domain(s):
    s.sip.register("ivy", domain="one.example")
    s.sip.register("Ivy", domain="TWO.example")
    s.published("ivy@one.example", "ivy@two.example")
    s.sip.register("ivy", domain="one.example", expires=0)
    s.gone("ivy@one.example")
    need("ivy@two.example" in s.gw.users, "both are gone")


@tap.on(lambda: Solo(start=False))
@tap.limit(90)
def test_configurations_that_are_refused(s):
    def check(want, **parts):
        s.write(**parts)
        r = subprocess.run(["kamailio", "-c", "-f", s.kam.cfg, "-l", "udp:127.0.0.1:5060"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=30, check=False)
        return r.returncode, r.stdout

    def run(want, **parts):
        s.write(**parts)
        s.kam.proc = p = proc.Proc("refused", s.kam.argv(), None, s.kam.user, cwd=s.kam.dir)
        p.expected = True
        proc.wait_for("Kamailio ends", lambda: not p.running())
        need(p.p.returncode != 0, "accepted: %s" % parts)
        need(want in p.text(), "no word of \"%s\":\n%s" % (want, p.tail(5)))

    s.gw.stop()
    code, text = check("")
    need(code == 0, text)
    domains = 'alias="one.example"\nalias="two.example"'
    run("several local domains", core=domains)
    run("use_domain", more='modparam("p2p_usrloc", "name_format", "user@domain")')
    run("name_format", more='modparam("p2p_usrloc", "name_format", "name")')
    run("cache_size", more='modparam("p2p_usrloc", "cache_size", 5)')
    run("db_mode 3", first='loadmodule "db_text.so"',
        more='modparam("usrloc", "db_mode", 3)\n'
             'modparam("usrloc", "db_url", "text:///usr/share/kamailio/dbtext/kamailio")')
    run("gateway_socket", more='modparam("p2p_usrloc", "gateway_socket", "relative.sock")')
    s.write(core=domains, more='modparam("p2p_usrloc", "name_format", "user")')
    s.kam.start()
    # a SIGTERM that comes before all its processes run is lost on some (Kamailio 5.6)
    proc.wait_for("Kamailio has started as a whole", lambda: s.stats()["scans"] > 0)


@tap.on(lambda: Solo(more='modparam("registrar", "case_sensitive", 1)\n'
                          'modparam("p2p_usrloc", "tables", "location, third")'))
def test_case_and_tables_as_configured(s):
    s.sip.register("Kim", headers=["X-Table: other"])
    s.sip.register("Lee")
    s.published("Lee")
    need(list(s.gw.users) == ["Lee"], s.gw.users)
    need(s.status()["users"] == 1, s.status())


def default(module, param):
    """Of a parameter, which the source and the manual have to agree about."""
    with open(os.path.join(world.SOURCE, "docs/modules/%s.md" % module), encoding="utf-8") as f:
        told = re.search(r"^\| `%s` \|[^|]*\|[^|]*\| (\w+) \|" % param, f.read(), re.M).group(1)
    sources = os.path.join(world.SOURCE, "modules", module)
    text = ""
    for name in os.listdir(sources):
        with open(os.path.join(sources, name), encoding="utf-8") as f:
            text += f.read()
    is_ = re.search(r"^\t\.%s = (\w+)," % param, text, re.M).group(1)
    need(told == is_, "%s: %s is %s, the manual says %s" % (module, param, is_, told))
    return is_


@tap.on(solo)
def test_manual_names_everything_there_is(s):
    with open(os.path.join(world.SOURCE, "docs/modules/p2p_usrloc.md"), encoding="utf-8") as f:
        manual = f.read()
    with open(os.path.join(world.SOURCE, "modules/p2p_usrloc/p2p_usrloc_settings.c"),
              encoding="utf-8") as f:
        params = re.findall(r'{"(\w+)", PARAM_', f.read())
    need(len(params) > 10, params)
    counters = re.findall(r"^\t(\w+): ", s.text("p2p_usrloc.stats"), re.M)
    commands = [c for c in s.text("system.listMethods").split() if c.startswith("p2p_usrloc.")]
    need(len(counters) > 20 and len(commands) == 10, "%s %s" % (counters, commands))
    missing = [w for w in params + counters + commands if "`%s" % w not in manual]
    need(not missing, "not in the manual: %s" % missing)
    # each suspended request asks: neither limit is to make the other one useless
    limits = [default("p2p_usrloc", "question_max"), default("p2p_registrar", "lookups_max")]
    need(limits[0] == limits[1], limits)
    for c in commands:
        need("ocumentation" not in s.text("system.methodHelp", c), c)
    group = s.text("stats.get_statistics", "p2p_usrloc:")
    need("gateway_up = 1" in group, group)


# --- looking up ---

@tap.on(lookups)
def test_found_is_cached_and_told_changes_are_believed(s):
    s.gw.routes["remote"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999;transport=udp"],
                              "order": 77, "hashes": ["0badcafe"]}]
    code, reason, _ = s.sip.ask("remote")
    need(code == 202 and "5999" in reason, "%d %s" % (code, reason))
    asked = count(s, "ROUTE")
    for _ in range(3):
        code, _, took = s.sip.ask("remote")
        need(code == 202, code)
    need(count(s, "ROUTE") == asked, "asked again though it is cached")
    shown = s.text("p2p_usrloc.show", "remote")
    need("cache: fresh" in shown and PEER in shown, shown)
    s.gw.routes["remote"][0]["uris"] = ["sip:127.0.0.1:5998;transport=udp"]
    proc.wait_for("subscribed", lambda: s.gw.subscribers.get("users"))
    s.gw.notify("users", "remote")
    proc.wait_for("the new address", lambda: "5998" in s.sip.ask("remote")[1])
    del s.gw.routes["remote"]
    s.gw.notify("users", "remote")
    proc.wait_for("absence", lambda: s.sip.ask("remote")[0] == 404)


@tap.on(lookups)
def test_absence_is_never_cached(s):
    need(s.sip.ask("newcomer")[0] == 404, "found whom?")
    s.gw.routes["newcomer"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    need(s.sip.ask("newcomer")[0] == 202, "absence was cached")


@tap.on(lookups)
def test_search_that_does_not_complete_is_480(s):
    s.gw.routes["slow"] = "timeout"
    need(s.sip.ask("slow")[0] == 480, "not 480")
    s.gw.mode = "silent-route"
    code, _, took = s.sip.ask("nobody")
    need(code == 480, code)
    need(1.4 < took < 1.8, "answered after %.2f s, not 1.5" % took)


@tap.on(lookups)
def test_own_users_do_not_wait_and_others_are_found(s):
    s.sip.register("judy")
    s.published("judy")
    code, _, took = s.sip.ask("judy")
    need(code == 202, code)
    proc.wait_for("asked in the background who else serves judy",
                  lambda: any(a[0] == "ROUTE" and a[1] == "judy" for _, a in s.gw.log))
    s.gw.routes["judy"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    proc.wait_for("subscribed", lambda: s.gw.subscribers.get("users"))
    s.gw.notify("users", "judy")
    proc.wait_for("the other peer is known",
                  lambda: PEER in s.text("p2p_usrloc.show", "judy"))


@tap.on(lookups)
def test_gateway_stopped_cached_users_go_on_others_get_503_at_once(s):
    s.gw.routes["cached"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"], "ttl": 1000}]
    need(s.sip.ask("cached")[0] == 202, "not found")
    s.gw.stop()
    s.away()
    worst = 0
    for i in range(20):
        code, _, took = s.sip.ask("stranger%d" % i)
        need(code == 503, code)
        worst = max(worst, took)
    tap.say("503 within %.1f ms" % (worst * 1000))
    need(worst < 0.1, "503 took %.0f ms" % (worst * 1000))
    # beyond the record's time: the gateway is away, it is all there is
    time.sleep(1.2)     # the record's time to live is what is tested
    need(s.sip.ask("cached")[0] == 202, "a cached user was given up")
    s.gw.start()
    s.in_step()


@tap.on(lookups)
def test_many_callers_of_one_user_make_one_lookup(s):
    s.gw.mode = "slow"
    s.gw.delay = 0.3
    s.gw.routes["star"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    before = count(s, "ROUTE")
    for _ in range(50):
        s.sip.send("OPTIONS", "star")
    codes = [s.sip.answer()[0] for _ in range(50)]
    need(codes == [202] * 50, codes)
    need(count(s, "ROUTE") == before + 1, "%d lookups" % (count(s, "ROUTE") - before))


@tap.on(lookups)
def test_slow_search_does_not_stand_before_a_fast_one(s):
    done = []

    def slow(gw=s.gw):
        old = gw.do_route

        def do_route(state, argv):
            if argv[1].startswith("tarpit"):
                gw.lock.release()       # the mock's own lock: other connections go on
                try:
                    time.sleep(1.0)
                finally:
                    gw.lock.acquire()
            return old(state, argv)
        gw.do_route = do_route
    slow()
    s.gw.routes["quick"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    for i in range(10):
        s.sip.send("OPTIONS", "tarpit%d" % i)
    other = Sip()
    code, _, took = other.ask("quick")
    other.close()
    need(code == 202, code)
    tap.say("answered after %.1f ms behind ten slow searches" % (took * 1000))
    need(took < 0.5, "%.2f s" % took)
    for _ in range(10):
        done.append(s.sip.answer()[0])
    need(set(done) == {404}, done)


@tap.on(lookups)
@tap.limit(120)
def test_every_question_is_answered_whatever_the_gateway_does(s):
    for mode in ("garbage", "nonsense", "huge", "elements", "close", "busy", "internal", "silent",
                 "version"):
        s.gw.mode = "good"
        s.in_step()
        s.gw.mode = mode
        if mode == "version":
            s.gw.drop_all()
        for i in range(30):
            s.sip.send("OPTIONS", "q%s%d" % (mode, i))
        codes = [s.sip.answer()[0] for _ in range(30)]
        need(set(codes) <= {480, 503}, "%s: %s" % (mode, codes))
        tap.say("%s: %s" % (mode, sorted(set(codes))))
    s.gw.mode = "good"
    s.in_step()
    need(s.sip.ask("after")[0] == 404, "no recovery")
    proc.wait_for("no question left", lambda: s.status()["questions"] == 0)
    need(s.status()["lookups"] == 0, s.status())


@tap.on(lookups)
def test_gateway_dies_while_questions_are_open(s):
    s.gw.mode = "silent-route"
    for i in range(50):
        s.sip.send("OPTIONS", "open%d" % i)
    proc.wait_for("50 open", lambda: s.status()["lookups"] == 50)
    start = time.monotonic()
    s.gw.stop()
    codes = [s.sip.answer()[0] for _ in range(50)]
    need(set(codes) == {503}, codes)
    need(time.monotonic() - start < 0.5, "it took %.2f s" % (time.monotonic() - start))


@tap.on(lambda: Solo(more=LOOKUP_MODULES % 30000 + 'modparam("p2p_usrloc", "question_max", 20)',
                     route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES))
def test_more_questions_than_allowed_are_refused_at_once(s):
    s.gw.mode = "silent-route"
    start = time.monotonic()
    for i in range(60):
        s.sip.send("OPTIONS", "limit%d" % i)
    first = [s.sip.answer()[0] for _ in range(40)]
    took = time.monotonic() - start
    rest = [s.sip.answer()[0] for _ in range(20)]
    need(set(first) == {503} and set(rest) == {480}, "%s %s" % (first, rest))
    need(took < 1, "refused after %.2f s" % took)
    proc.wait_for("no question left", lambda: s.status()["questions"] == 0)
    s.gw.mode = "good"
    need(s.sip.ask("afterwards")[0] == 404, "it did not recover")


@tap.on(stale_lookups)
def test_stale_entries_are_used_and_refreshed(s):
    s.gw.routes["old"] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"], "ttl": 5000}]
    need(s.sip.ask("old")[0] == 202, "not found")
    s.gw.mode = "silent-route"
    code, _, took = s.sip.ask("old")
    need(code == 202 and took < 0.5, "%d after %.2f s" % (code, took))
    s.gw.mode = "good"
    before = count(s, "ROUTE")
    s.gw.routes["old"][0]["uris"] = ["sip:127.0.0.1:5997"]
    proc.wait_for("refreshed in the background", lambda: "5997" in s.sip.ask("old")[1],
                  timeout=9, every=0.2)
    need(count(s, "ROUTE") - before <= 4, "%d lookups" % (count(s, "ROUTE") - before))


# --- going on after a lost connection ---

def resumed(s, users):
    """Lost and there again, with so many users: (seconds, commands that it took)."""
    proc.wait_for("all are published", lambda: len(s.gw.users) == users, 60)
    s.in_step()
    before, connects = count(s, "PUBLISH"), s.stats()["connects"]
    start = time.monotonic()
    s.gw.drop_all()
    proc.wait_for("connected again", lambda: s.stats()["connects"] == connects + 1)
    s.in_step()
    return time.monotonic() - start, count(s, "PUBLISH") - before


@tap.on(lambda: Solo())
def test_a_lost_connection_costs_what_changed_meanwhile(s):
    s.sip.many("same%d" % i for i in range(500))
    _, told = resumed(s, 500)
    need(told == 0, "%d were named again" % told)
    need(s.stats()["syncs_all"] == 1 and s.stats()["syncs_rest"] == 1, s.stats())
    # while it is away one comes, one goes, one gets another phone
    s.gw.away()
    s.away()
    s.sip.register("comes")
    s.sip.register("same7", expires=0)
    s.sip.register("same8", instance="urn:uuid:8", contact="sip:same8@127.0.0.1:7008")
    before = count(s, "PUBLISH"), count(s, "WITHDRAW")
    s.gw.start()
    s.published("comes")
    s.gone("same7")
    s.in_step()
    need(s.gw.users["same8"][2], "the phone was not told")
    need(s.stats()["syncs_all"] == 1 and s.stats()["syncs_rest"] == 2, s.stats())
    told = count(s, "PUBLISH") - before[0], count(s, "WITHDRAW") - before[1]
    need(told == (2, 1), "%d were published, %d withdrawn" % told)


@tap.on(lambda: Solo())
def test_what_was_on_its_way_is_told_again(s):
    s.sip.register("first")
    s.published("first")
    s.in_step()
    s.gw.mode = "silent"
    s.sip.many("way%d" % i for i in range(20))
    s.sip.register("first", expires=0)
    proc.wait_for("on their way", lambda: s.status()["publishing"] > 0)
    s.gw.drop_all()
    s.gw.mode = "good"
    s.published(*["way%d" % i for i in range(20)])
    s.gone("first")
    s.in_step()
    need(s.stats()["syncs_all"] == 1 and len(s.gw.users) == 20, s.stats())
    # another process of the gateway has to be told all, one that has lost something, too
    s.gw.stop()
    s.away()
    s.gw.forget()
    s.gw.start()
    s.published(*["way%d" % i for i in range(20)])
    s.in_step()
    need(s.stats()["syncs_all"] == 2, s.stats())
    for instance in s.gw.begun:
        s.gw.begun[instance] = 0
    s.gw.forget()
    s.gw.drop_all()
    s.published(*["way%d" % i for i in range(20)])
    s.in_step()
    need(s.stats()["syncs_all"] == 3, s.stats())


def cut_again_and_again(s, users, cuts):
    """All have to be named, and the connection is lost in the middle: each is named once, but for
    those whose answer was lost."""
    window = 64
    s.gw.stop()
    s.away()
    s.gw.forget()
    before, resumed_before = count(s, "PUBLISH"), s.stats()["syncs_rest"]
    s.gw.cut_after = users // (cuts + 1)
    s.gw.start()
    for n in range(cuts):
        proc.wait_for("cut off", lambda: s.gw.cut_after is None, 60, 0.005)
        if n + 1 < cuts:
            s.gw.cut_after = users // (cuts + 1)
    proc.wait_for("all are published", lambda: len(s.gw.users) == users, 120)
    s.in_step(30)
    told = count(s, "PUBLISH") - before
    tap.say("%d users, cut off %d times: %d commands" % (users, cuts, told))
    need(told <= users + cuts * window, "%d were told" % told)
    need(s.stats()["syncs_rest"] - resumed_before == cuts, s.stats())
    need(s.gw.synced[-1][1] == users, s.gw.synced[-1])


@tap.on(lambda: Solo())
def test_naming_all_goes_on_where_it_was(s):
    s.sip.many("cut%d" % i for i in range(1000))
    proc.wait_for("all are published", lambda: len(s.gw.users) == 1000, 60)
    cut_again_and_again(s, 1000, 3)


@tap.on(lambda: Solo(shm=512))
@tap.limit(600)
@tap.long
def test_a_hundred_thousand_users_and_lost_connections(s):
    n = 100000
    s.sip.many("user%d" % i for i in range(n))
    took, told = resumed(s, n)
    tap.say("connected again and in step after %.2f s, %d commands" % (took, told))
    need(told <= 64 and took < 5, "%d commands, %.1f s" % (told, took))
    cut_again_and_again(s, n, 5)


@tap.on(lambda: Solo())
def test_a_gateway_that_knows_nothing_of_runs(s):
    s.gw.stop()
    s.away()
    s.gw.run = None
    s.gw.start()
    s.sip.many("old%d" % i for i in range(50))
    s.in_step()
    connects = s.stats()["connects"]
    s.gw.drop_all()
    proc.wait_for("connected again", lambda: s.stats()["connects"] == connects + 1)
    s.in_step()
    need(s.stats()["syncs_rest"] == 0 and len(s.gw.users) == 50, s.stats())
    s.kam.rpc("p2p_usrloc.sync")
    all_named = s.stats()["syncs_all"]
    proc.wait_for("named again", lambda: s.stats()["syncs_all"] > all_named)


# --- limits ---

@tap.on(lambda: Solo(more='modparam("p2p_usrloc", "withdrawn_max", 3)\n'))
def test_who_left_beyond_withdrawn_max_is_told_by_naming_all_others(s):
    s.gw.mode = "silent"
    s.sip.many("left%d" % i for i in range(10))
    s.sip.register("stays")
    for i in range(10):
        s.sip.register("left%d" % i, expires=0)
    stats = s.stats()
    need(stats["withdrawn"] <= 3 and stats["withdrawals_left"] >= 7, stats)
    s.gw.drop_all()
    s.gw.mode = "good"
    s.in_step()
    # and while the gateway is there: it is in step, and all are named again
    left = s.stats()["withdrawals_left"]
    synced = len(s.gw.synced)
    s.sip.many("more%d" % i for i in range(10))
    s.published("more9")
    s.gw.mode = "busy"
    for i in range(10):
        s.sip.register("more%d" % i, expires=0)
    need(s.stats()["withdrawals_left"] > left, "nobody was left")
    s.gw.mode = "good"
    proc.wait_for("all are named again", lambda: len(s.gw.synced) > synced and
                  s.gw.synced[-1][1] == 1 and s.status()["synced"] == "yes", 15)
    proc.wait_for("told who left", lambda: s.stats()["withdrawn"] == 0)
    again = len(s.gw.synced)
    s.sip.register("calm")
    s.published("calm")
    need(len(s.gw.synced) == again, "named again for nothing")


# --- memory ---

def rounds(s, first, n):
    for i in range(first, first + n):
        user = "mem%d" % (i % 200)
        s.sip.register(user)
        s.sip.ask("away%d" % (i % 100))
        s.sip.register(user, expires=0)


@tap.on(lambda: Solo(more=LOOKUP_MODULES % 30000, route=LOOKUP_ROUTE, routes=LOOKUP_ROUTES,
                     options=["-x", "qm", "-X", "qm"]))
@tap.limit(300)
def test_memory_is_the_same_after_a_thousand_rounds(s):
    for i in range(50):
        s.gw.routes["away%d" % i] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]

    def settled():
        proc.wait_for("transactions are gone",
                      lambda: s.kam.rpc("tm.stats")["current"] == 0, 60, 0.5)
        proc.wait_for("all withdrawn and answered",
                      lambda: s.status()["withdrawn"] == 0 and s.status()["questions"] == 0
                      and s.status()["lookups"] == 0)
        shared = s.text("mod.stats", "p2p_usrloc", "shm")
        # of the pieces that are held back one may be a little larger than asked for
        return {k: n for k, n in re.findall(r"(\w+\(\d+\)): (\d+)", shared)
                if not k.startswith("shared_cut") or int(n) > 80 * 4096}, private(s)

    rounds(s, 0, 500)
    before = settled()
    need(len(before[0]) > 4, "no statistics: %r" % (before,))
    # Private memory keeps the buffers of as many connections as were once busy together, so that
    # it may grow by another one's; what is lost with the rounds is lost in every thousand.
    seen = [before]
    for n in range(4):
        rounds(s, 500 + n * 1000, 1000)
        after = settled()
        seen.append(after)
        need(before[0] == after[0], "shared memory: before %s\nafter %s" % (before, after))
        if after[1] <= seen[-2][1]:
            break
    tap.say("p2p_usrloc, shared: %s; client process, private: %s" % after)
    need(after[1] <= seen[-2][1], "private memory grew with each thousand rounds: %s"
         % [x[1] for x in seen])


def private(s):
    """Private memory that the client process uses."""
    table = s.text("core.psx")
    pid = re.search(r"PID: (\d+)\s+DSC: P2P USRLOC CLIENT", table)
    need(pid, "no client process: " + table)
    for entry in s.text("pkg.stats").split("}"):
        if re.search(r"pid: %s\b" % pid.group(1), entry):
            return int(re.search(r"\bused: (\d+)", entry).group(1))
    raise proc.Failed("no private memory of the client process")


def free_pieces(s):
    """How many pieces of shared memory are free; the same of each SIP worker's own memory."""
    workers = re.findall(r"PID: (\d+)\s+DSC: udp receiver", s.text("core.psx"))
    own = {re.search(r"pid: (\d+)", e).group(1): int(re.search(r"total_frags: (\d+)", e).group(1))
           for e in s.text("pkg.stats").split("}") if "pid:" in e}
    return s.kam.rpc("core.shmmem")["fragments"], [own[w] for w in workers]


@tap.on(solo)
def test_memory_is_kept_in_pieces_and_given_back(s):
    def used():
        m = s.kam.rpc("core.shmmem")
        return m["used"]

    proc.wait_for("pieces", lambda: free_pieces(s)[0] >= 48)
    need(min(free_pieces(s)[1]) >= 48, "own memory: %r" % (free_pieces(s),))
    s.sip.many(["piece%d" % i for i in range(50)])
    s.sip.many(["piece%d" % i for i in range(50)], expires=0)
    proc.wait_for("all withdrawn", lambda: s.status()["withdrawn"] == 0)
    before = used()
    for start in range(0, 2000, 500):
        s.sip.many(["piece%d" % i for i in range(start, start + 500)])
        proc.wait_for("there are pieces again", lambda: free_pieces(s)[0] >= 24)
    need(used() > before + 2000 * 300, "2000 users take %d bytes" % (used() - before))
    s.sip.many(["piece%d" % i for i in range(2000)], expires=0)
    proc.wait_for("all withdrawn", lambda: s.status()["withdrawn"] == 0)
    # pieces that are held back may have had to be a little larger
    proc.wait_for("all is given back", lambda: used() < before + 8192, 10)
    need(min(free_pieces(s)[1]) >= 48, "own memory: %r" % (free_pieces(s),))


@tap.on(lambda: Solo(more='modparam("p2p_usrloc", "memory_pieces", 0)'))
def test_no_pieces_when_they_are_not_wanted(s):
    s.sip.many(["piece%d" % i for i in range(50)])
    s.published("piece49")
    shared, own = free_pieces(s)
    need(shared < 40 and max(own) < 40, "%d, %r" % (shared, own))


@tap.on(lambda: Solo(options=["-x", "fm", "-X", "fm"]))
def test_other_allocators_are_left_alone(s):
    s.sip.many(["piece%d" % i for i in range(50)])
    s.published("piece49")
    need("shared_cut" not in s.text("mod.stats", "p2p_usrloc", "shm"), "pieces were cut")


@tap.limit(150)
@tap.long
def test_valgrind_finds_no_invalid_access():
    if subprocess.run(["which", "valgrind"], stdout=subprocess.DEVNULL, check=False).returncode:
        raise tap.Skip("valgrind is not installed")
    s = Solo(gateway=True, start=False, more=LOOKUP_MODULES % 0, route=LOOKUP_ROUTE,
             routes=LOOKUP_ROUTES)
    argv = s.kam.argv()
    # What other processes wrote to shared memory is undefined to valgrind: it sees one at a time.
    s.kam.argv = lambda: ["valgrind", "--trace-children=yes", "--undef-value-errors=no",
                          "--leak-check=full", "--show-leak-kinds=definite",
                          "--log-file=%s/valgrind.%%p" % s.kam.dir] + argv
    s.kam.start(wait=False)
    s.kam.ready(60)
    s.in_step(30)
    for i in range(0, 50, 2):
        s.gw.routes["away%d" % i] = [{"hit": PEER, "uris": ["sip:127.0.0.1:5999"]}]
    rounds(s, 0, 150)
    for mode in ("garbage", "nonsense", "close", "good"):
        s.gw.mode = mode
        for i in range(10):
            s.sip.ask("%s%d" % (mode, i))
    for command in ("status", "list", "show mem1", "stats", "cache", "peers", "sync",
                    "cache_flush"):
        s.text("p2p_usrloc." + command.split()[0], *command.split()[1:])
    s.close()
    logs = 0
    for name in os.listdir(s.kam.dir):
        if name.startswith("valgrind."):
            logs += 1
            with open(os.path.join(s.kam.dir, name), encoding="utf-8", errors="replace") as f:
                text = f.read()
            need("Invalid" not in text, "%s:\n%s" % (name, text[:3000]))
            need(not re.search(r"definitely lost: [1-9]", text) or "pul_" not in text,
                 "%s:\n%s" % (name, text[-3000:]))
    need(logs > 5, "%d logs of valgrind" % logs)


if __name__ == "__main__":
    tap.main(globals())
