#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Other configurations: side by side with dialog, acc, auth, tsilo, tls and topos, a second domain,
Debian's own kamailio.cfg, KEMI, and settings that are refused."""
import hashlib
import os
import re
import shutil
import subprocess
import sys

from rig.routing import Kamailio, main, test
from rig.routing_base import (C, D, DEAD, DOMAIN, HIT_A, HIT_B, HIT_C, HIT_D, HIT_DEAD, RUN,
                              STRANGER, TOP, check, die_with_parent, equal, sip, wait_for)
from rig.routing_phone import Phone, TlsPhone
from rig.world import STOCK_MODULES


@test
def t_dialog(w):
    """side by side with dialog and acc: nothing is left, one record for each call and BYE"""
    k = Kamailio("dialog", D, HIT_D, defines=["WITH_DIALOG", "WITH_ACC"])
    k.gateway.peers = dict(w.b.gateway.peers)
    k.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.65", "dora")
    dora.register(k)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    k.gateway.users["deaf"] = [(HIT_DEAD, ["sip:%s:5060" % DEAD], {})]
    w.b.gateway.peers[HIT_D] = k.uris()

    def dialogs():
        m = re.search(r"all: (\d+)", k.rpc("dlg.stats_active") or "")
        return int(m.group(1)) if m else -1
    c = dora.send("INVITE", sip("bob"), (D, 5060))
    equal(c.final().code, 200, "INVITE, suspended")
    equal(dialogs(), 1, "dialogs in the call")
    c.bye()
    equal(dora.send("INVITE", sip("nobody"), (D, 5060)).final().code, 404, "INVITE to nobody")
    equal(dora.send("INVITE", sip("deaf"), (D, 5060)).final().code, 503, "INVITE to a dead peer")
    k.gateway.delay["slow"] = 0.5
    c = dora.send("INVITE", sip("slow"), (D, 5060))
    c.code(100)
    c.cancel()
    equal(c.final().code, 487, "INVITE, cancelled")
    wait_for("no dialog left", lambda: dialogs() == 0, 10)
    acc = [x for x in k.logged().splitlines() if "ACC: transaction answered" in x]
    equal(len([x for x in acc if "method=INVITE" in x]), 1, "records of INVITE")
    equal(len([x for x in acc if "method=BYE" in x]), 1, "records of BYE")
    k.stop()


@test
def t_auth(w):
    """phones that authenticate: challenged, then called over the overlay"""
    ha1 = hashlib.md5(b"ann:%s:secret" % DOMAIN.encode()).hexdigest()
    users = RUN.work + "/users.cfg"
    with open(users, "w", encoding="utf-8") as f:
        f.write("event_route[htable:mod-init] {\n\t$sht(users=>ann) = \"%s\";\n}\n" % ha1)
    k = Kamailio("auth", D, HIT_D, defines=["WITH_AUTH"],
                 edit=[('import_file "p2psip-users.cfg"', 'include_file "%s"' % users)])
    k.gateway.peers = dict(w.b.gateway.peers)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    w.b.gateway.peers[HIT_D] = k.uris()
    ann = Phone("10.88.0.66", "ann")

    def ask(method, uri, **kw):
        c = ann.send(method, uri, (D, 5060), **kw)
        code = c.final().code
        if code not in (401, 407):
            return c
        ch = c.final().get("WWW-Authenticate") or c.final().get("Proxy-Authenticate")
        realm, nonce = (re.search(r'%s="([^"]*)"' % x, ch).group(1) for x in ("realm", "nonce"))
        equal(realm, DOMAIN, "realm")
        ha2 = hashlib.md5(("%s:%s" % (method, uri)).encode()).hexdigest()
        response = hashlib.md5(("%s:%s:%s" % (ha1, nonce, ha2)).encode()).hexdigest()
        kw["headers"] = list(kw.get("headers", [])) + [
            '%s: Digest username="ann", realm="%s", nonce="%s", uri="%s", response="%s"' % (
                "Authorization" if code == 401 else "Proxy-Authorization", realm, nonce, uri,
                response)]
        return ann.send(method, uri, (D, 5060), **kw)
    c = ask("REGISTER", "sip:" + DOMAIN, to=sip("ann"), headers=["Contact: " + ann.contact()])
    equal(c.final().code, 200, "REGISTER")
    c = ask("INVITE", sip("bob"))
    equal(c.final().code, 200, "INVITE")
    check(not w.bob.got("INVITE")[-1].get("Proxy-Authorization"), "credentials went on")
    c.bye()
    w.served("ann", (HIT_D, k.uris()))
    c = w.call("ann")
    equal(c.final().code, 200, "INVITE from the overlay is not challenged")
    c.bye()
    s = Phone(STRANGER, "mallory3")
    equal(s.send("INVITE", sip("bob"), (D, 5060)).final().code, 407, "INVITE without credentials")
    k.stop()


@test
def t_use_domain(w):
    """names with their domain (use_domain, name_format user@domain), a second table"""
    edit = [('modparam("usrloc", "use_domain", 0)', 'modparam("usrloc", "use_domain", 1)'),
            ('modparam("usrloc", "preload", "location")',
             'modparam("usrloc", "preload", "location")\n'
             'modparam("usrloc", "preload", "staff")\nalias="second.test"'),
            ('\tp2p_save("location");',
             '\tif ($td == "second.test") {\n\t\tp2p_save("staff");\n\t\texit;\n\t}\n'
             '\tp2p_save("location");'),
            ('\troute(CALLER);\n',
             '\tif ($rd == "second.test") {\n\t\tp2p_lookup("staff", "P2P_CALL");\n'
             '\t\texit;\n\t}\n\troute(CALLER);\n')]
    k = Kamailio("domain", D, HIT_D, defines=['P2P_NAME_FORMAT="user@domain"'], edit=edit)
    k.gateway.peers = dict(w.b.gateway.peers)
    k.gateway.users["bob@" + DOMAIN] = [(HIT_B, w.b.uris(), {})]
    w.b.gateway.peers[HIT_D] = k.uris()
    dora, other = Phone("10.88.0.67", "dora"), Phone("10.88.0.68", "dora")
    dora.register(k)
    c = other.send("REGISTER", "sip:second.test", (D, 5060), to="sip:dora@second.test",
                   frm="sip:dora@second.test", headers=["Contact: " + other.contact()])
    equal(c.final().code, 200, "REGISTER in the second domain")
    wait_for("both published", lambda: {"dora@" + DOMAIN, "dora@second.test"}
             <= set(k.gateway.published))
    c = dora.send("INVITE", sip("bob"), (D, 5060))
    equal(c.final().code, 200, "INVITE over the overlay")
    c.bye()
    for uri, phone in (("sip:dora@second.test", other), (sip("dora"), dora)):
        equal(dora.send("MESSAGE", uri, (D, 5060)).final().code, 200, "MESSAGE to " + uri)
        equal(len(phone.got("MESSAGE")), 1, "MESSAGEs at " + uri)
    equal(dora.send("MESSAGE", "sip:bob@second.test", (D, 5060)).final().code, 404,
          "MESSAGE to bob in the other domain")
    equal([a[1] for a in k.gateway.asked if a[0] == "ROUTE" and "bob" in a[1]],
          ["bob@" + DOMAIN, "bob@second.test"], "names asked for")
    k.stop()


@test
def t_tsilo(w):
    """side by side with tsilo: a phone that registers while the call rings elsewhere rings too"""
    edit = [('loadmodule "ipops.so"', 'loadmodule "ipops.so"\nloadmodule "tsilo.so"'),
            ('\tp2p_save("location");\n', '\tp2p_save("location");\n'
             '\tts_append("location", "$tu");\n'),
            ('\tif (is_method("INVITE|SUBSCRIBE|REFER")) {\n\t\trecord_route();\n\t}\n#!ifdef WITH_D',
             '\tif (is_method("INVITE|SUBSCRIBE|REFER")) {\n\t\trecord_route();\n\t}\n'
             '\tif (is_method("INVITE")) {\n\t\tt_newtran();\n\t\tts_store();\n\t}\n#!ifdef WITH_D')]
    k = Kamailio("tsilo", D, HIT_D, edit=edit)
    k.gateway.peers = dict(w.b.gateway.peers)
    w.b.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.69", "dora")
    dora.register(k)
    # eve's phone at A rings and rings; then she switches on another one here
    first = w.phone("eve", 70, w.a)
    first.answer["INVITE"] = [(0, 180)]
    k.gateway.users["eve"] = [(HIT_A, w.a.uris(), {})]
    w.a.gateway.peers[HIT_D] = k.uris()
    c = dora.send("INVITE", sip("eve"), (D, 5060))
    c.code(180)
    second = Phone("10.88.0.71", "eve")
    second.register(k)
    equal(c.final().code, 200, "INVITE")
    check(second.got("INVITE"), "the second phone was not called")
    wait_for("the first is cancelled", lambda: first.got("CANCEL"))
    names = [x.lower() for x, _ in second.got("INVITE")[0].headers]
    check("p2p-peer" not in names, "the peers' header at a phone")
    c.bye()
    k.stop()


@test
def t_tls_phone(w):
    """a phone on TLS: calls and is called over the overlay"""
    pem = RUN.work + "/tls.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048",
                    "-nodes", "-subj", "/CN=" + DOMAIN, "-days", "2",
                    "-keyout", pem + ".key", "-out", pem], check=True, stderr=subprocess.DEVNULL)
    k = Kamailio("tls", D, HIT_D, listen=["udp:%s:5060" % D, "tcp:%s:5060" % D, "tls:%s:5061" % D],
                 edit=[('loadmodule "ipops.so"', 'loadmodule "ipops.so"\nenable_tls=yes\n'
                        'loadmodule "tls.so"\nmodparam("tls", "certificate", "%s")\n'
                        'modparam("tls", "private_key", "%s.key")\n'
                        'modparam("tls", "tls_method", "TLSv1.2+")' % (pem, pem))])
    k.gateway.peers = dict(w.b.gateway.peers)
    w.b.gateway.peers[HIT_D] = k.uris()
    tess = TlsPhone("10.88.0.79", "tess", D)
    tess.register(k)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    c = tess.send("INVITE", sip("bob"), None)
    equal(c.final().code, 200, "INVITE from it")
    c.bye()
    check("TLS" in w.bob.got("INVITE")[-1].all("Via")[2], "did not come over TLS")
    w.served("tess", (HIT_D, k.uris()))
    c = w.call("tess")
    equal(c.final().code, 200, "INVITE to it")
    c.bye()
    check(tess.got("BYE"), "BYE arrived")
    tess.close()
    k.stop()


@test
def t_topos(w):
    """side by side with topos: calls both ways, and their BYEs"""
    tables = RUN.work + "/dbtext"
    shutil.copytree("/usr/share/kamailio/dbtext/kamailio", tables)
    for name in ("topos_d", "topos_t"):     # topos leaves columns empty, db_text's schema does not
        with open(tables + "/" + name, encoding="ascii") as f:
            schema = re.sub(r"\((int|string|str)\)", r"(\1,null)", f.read())
        with open(tables + "/" + name, "w", encoding="ascii") as f:
            f.write(schema)
    k = Kamailio("topos", D, HIT_D, edit=[
        ('loadmodule "ipops.so"',
         'loadmodule "ipops.so"\nloadmodule "db_text.so"\nloadmodule "topos.so"'),
        ('modparam("sanity", "autodrop", 0)',
         'modparam("sanity", "autodrop", 0)\nmodparam("topos", "storage", "db")\n'
         'modparam("topos", "db_url", "text://%s")' % tables)])
    k.gateway.peers = dict(w.b.gateway.peers)
    w.b.gateway.peers[HIT_D] = k.uris()
    dora = Phone("10.88.0.79", "dora")
    dora.register(k)
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    for _ in (1, 2):        # suspended, then cached
        c = dora.send("INVITE", sip("bob"), (D, 5060))
        equal(c.final().code, 200, "INVITE")
        c.bye()
        inv = w.bob.got("INVITE")[-1]
        check(not [v for v in inv.all("Via") if "10.88.0.79" in v], "seen: %s" % inv.all("Via"))
    w.served("dora", (HIT_D, k.uris()))
    n = len(dora.got("INVITE"))
    c = w.call("dora")
    equal(c.final().code, 200, "INVITE from the overlay")
    c.bye()
    equal(len(dora.got("INVITE")), n + 1, "INVITEs")
    check(dora.got("BYE"), "BYE arrived")
    k.stop()


LUA = """
function ksr_request_route()
	if KSR.is_CANCEL() then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if not KSR.is_ACK() and KSR.tmx.t_precheck_trans() > 0 then
		KSR.tm.t_check_trans()
		return 1
	end
	if KSR.siputils.has_totag() > 0 then
		if KSR.rr.loose_route() > 0 then
			if KSR.p2p_route.dialog() < 0 then
				if KSR.is_method("ACK") then return 1 end
				KSR.tm.t_newtran()
				KSR.tm.t_reply(403, "Forbidden")
				return 1
			end
			KSR.tm.t_relay()
		end
		return 1
	end
	if KSR.is_REGISTER() then
		KSR.p2p_registrar.save("location", 0)
		return 1
	end
	if KSR.is_INVITE() then KSR.rr.record_route() end
	KSR.p2p_registrar.lookup_route("location", "ksr_p2p_call")
	return 1
end

function ksr_p2p_call()
	if KSR.pv.get("$var(p2p_result)") ~= "found" then
		KSR.p2p_registrar.reply()
		return 1
	end
	KSR.tm.t_on_failure("ksr_p2p_failure")
	KSR.tm.t_relay()
	return 1
end

function ksr_p2p_failure()
	KSR.p2p_registrar.next("location", "ksr_p2p_call")
	return 1
end
"""


KEMI_CFG = """
#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=1
auto_aliases=no
alias=P2P_DOMAIN
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "ctl.so"
loadmodule "p2p_usrloc.so"
loadmodule "p2p_route.so"
loadmodule "p2p_registrar.so"
loadmodule "app_lua.so"
modparam("ctl", "binrpc", CTLSOCK)
modparam("usrloc", "preload", "location")
modparam("p2p_usrloc", "gateway_socket", P2P_GATEWAY_SOCKET)
modparam("app_lua", "load", "%s")
cfgengine "lua"
"""


def kemi_peer(w):
    lua, cfg = RUN.work + "/kemi.lua", RUN.work + "/kemi.cfg"
    with open(lua, "w", encoding="utf-8") as f:
        f.write(LUA)
    with open(cfg, "w", encoding="utf-8") as f:
        f.write(KEMI_CFG.lstrip() % lua)
    k = Kamailio("kemi", C, HIT_C, cfg=cfg)
    k.gateway.peers = dict(w.a.gateway.peers)
    return k


@test
def t_kemi(w):
    """the same logic from a Lua script (KEMI): found, absent, suspended, failure route"""
    w.alice()
    k = kemi_peer(w)
    carol = Phone("10.88.0.60", "carol")
    carol.register(k)
    k.gateway.users["alice"] = [(HIT_A, w.a.uris(), {})]
    c = carol.send("INVITE", sip("alice"), (C, 5060))
    equal(c.final().code, 200, "INVITE, suspended")
    c.bye()
    c = carol.send("INVITE", sip("alice"), (C, 5060))
    equal(c.final().code, 200, "INVITE, cached")
    c.bye()
    equal(carol.send("INVITE", sip("nobody"), (C, 5060)).final().code, 404, "INVITE to nobody")
    equal(carol.send("INVITE", sip("carol"), (C, 5060)).final().code, 200, "INVITE, local")
    k.gateway.users["gone"] = [(HIT_A, w.a.uris(), {})]
    equal(carol.send("INVITE", sip("gone"), (C, 5060)).final().code, 404, "INVITE, stale")
    equal([len(r) for r in k.gateway.routes("gone")], [3, 4], "questions")
    k.stop()


DEBIAN = "/etc/kamailio/kamailio.cfg"


def debian_cfg():
    """The Debian package's own kamailio.cfg with the include, as docs/moving.md changes it."""
    with open(DEBIAN, encoding="utf-8") as f:
        text = f.read()

    def change(old, new):
        nonlocal text
        equal(text.count(old), 1, "in Debian's kamailio.cfg: %r" % old)
        text = text.replace(old, new)

    change("# ----------------- setting module-specific parameters ---------------\n",
           "#!define P2P_NATMANAGE_ROUTE NATMANAGE\n"
           'include_file "%s/cfg/kamailio-p2psip.cfg"\n' % TOP)
    change("\troute(WITHINDLG);\n", "\troute(WITHINDLG);\n\troute(P2P_IN);\n")
    change("\tif (loose_route()) {\n\t\troute(DLGURI);\n",
           "\tif (loose_route()) {\n\t\troute(P2P_DIALOG);\n\t\troute(DLGURI);\n")
    change('if (!save("location"))', 'if (!p2p_save("location"))')
    change('\tif (!lookup("location")) {\n',
           '\tif (is_method("INVITE")) {\n\t\tsetflag(FLT_ACCMISSED);\n\t}\n'
           '\tp2p_lookup("location", "P2P_CALL");\n\texit;\n\tif (!lookup("location")) {\n')
    # for the test only: its own sockets
    change("# ----- jsonrpcs params -----\n",
           'modparam("ctl", "binrpc", CTLSOCK)\nalias=P2P_DOMAIN\n'
           'modparam("jsonrpcs", "fifo_name", "%s/rpc.fifo")\n'
           'modparam("jsonrpcs", "dgram_socket", "%s/rpc.sock")\n' % (RUN.work, RUN.work))
    path = RUN.work + "/debian.cfg"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


@test
def t_debian(w):
    """the Debian package's own kamailio.cfg with the include: local calls, calls both ways, 404, 405"""
    if not os.path.exists(DEBIAN):
        return
    k = Kamailio("debian", D, HIT_D, cfg=debian_cfg())
    peers = dict(w.b.gateway.peers)
    peers[HIT_D] = k.uris()
    for g in (k.gateway, w.a.gateway, w.b.gateway):
        g.peers = peers
    dora, dan = Phone("10.88.0.61", "dora"), Phone("10.88.0.62", "dan")
    for p in (dora, dan):
        p.register(k)
    c = dora.send("INVITE", sip("dan"), (D, 5060))
    equal(c.final().code, 200, "INVITE, local")
    c.bye()
    k.gateway.users["bob"] = [(HIT_B, w.b.uris(), {})]
    for _ in (1, 2):
        c = dora.send("INVITE", sip("bob"), (D, 5060))
        equal(c.final().code, 200, "INVITE over the overlay")
        c.bye()
    w.served("dora", (HIT_D, k.uris()))
    c = w.call("dora")
    equal(c.final().code, 200, "INVITE from the overlay")
    c.bye()
    check(dora.got("BYE"), "BYE arrived")
    equal(dora.send("INVITE", sip("nobody"), (D, 5060)).final().code, 404, "INVITE to nobody")
    # allowed methods, as registrar's method_filtering sees them
    dan.register(k, contact="<sip:dan@%s>;methods=\"INVITE,ACK,BYE\"" % dan.host)
    equal(dora.send("MESSAGE", sip("dan"), (D, 5060)).final().code, 405, "MESSAGE, not allowed")
    dan.register(k, expires=0)
    equal(dora.send("INVITE", sip("dan"), (D, 5060)).final().code, 404, "INVITE, de-registered")
    bad = [x for x in k.logged().splitlines() if "ERROR" in x and "xhttp" not in x]
    equal(bad, [], "log")
    k.stop()


@test
def t_settings(w):
    """settings out of range: Kamailio refuses to start and says why"""
    for module, name, value, why in (
            ("p2p_registrar", "lookup_timeout_ms", "29500", "fr_timer"),
            ("p2p_registrar", "lookup_timeout_ms", "0", "out of range 50..30000"),
            ("p2p_registrar", "local_wait_ms", "2001", "more than lookup_timeout_ms"),
            ("p2p_registrar", "lookup_workers", "0", "out of range 1..64"),
            ("p2p_registrar", "lookup_timeout", "1000", "parameter <lookup_timeout>"),
            ("p2p_route", "peer_timeout_ms", "800", "less than 500 ms"),
            ("p2p_route", "tcp_threshold", "-1", "out of range"),
            ("p2p_route", "peer", '"192.0.2.300"', "no address and no network"),
            ("p2p_route", "socket", '"udp:192.0.2.1:5060"', "none of Kamailio's")):
        with open(TOP + "/cfg/kamailio.cfg", encoding="utf-8") as f:
            text = f.read()
        text = text.replace('include_file "kamailio-p2psip.cfg"',
                            'include_file "%s/cfg/kamailio-p2psip.cfg"\n'
                            'modparam("%s", "%s", %s)' % (TOP, module, name, value))
        path = RUN.work + "/bad.cfg"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        argv = ["kamailio", "-f", path, "-DD", "-E", "-P", RUN.work + "/bad.pid", "-w", RUN.work, "-Y", RUN.work,
                "-L", RUN.modules + ":" + STOCK_MODULES, "-l", "udp:10.88.0.9:5060", "-A", "WITHOUT_P2P_MEDIA",
                "-A", 'CTLSOCK="unix:%s/bad.sock"' % RUN.work,
                "-A", 'P2P_CONTACTS_FILE="%s/bad.contacts"' % RUN.work,
                "-A", 'P2P_CONTACTS_MEMORY="%s/bad.contacts.memory"' % RUN.work]
        try:
            r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               timeout=20, check=False, preexec_fn=die_with_parent)
        except subprocess.TimeoutExpired as e:
            raise AssertionError("%s %s %s: started" % (module, name, value)) from e
        check(r.returncode != 0, "%s %s started" % (name, value))
        check(why in r.stdout, "%s %s: not said why: %s" % (name, value, [
            x for x in r.stdout.splitlines() if "ERROR" in x or "CRIT" in x][:3]))


if __name__ == "__main__":
    sys.exit(main())
