#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""publish=confirmed: a REGISTER is answered 200 when other peers can find the phone, with the reply
that the stock registrar would have sent; else 503; once, whatever dies meanwhile. First a real
Kamailio against a gateway that does what it is told (tests/mock), then a real overlay."""

import os
import re
import socket
import subprocess
import threading
import time

from rig import overlay, pace, peer, proc, registrant, tap, world
from rig.solo import mock_gateway, need

CONFIRM_MS = 1500

CFG = """loadmodule "xlog.so"
loadmodule "path.so"
loadmodule "rr.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "timer_interval", 1)
modparam("usrloc", "preload", "location")
modparam("tm", "wt_timer", 1500)
modparam("registrar", "min_expires", 60)
modparam("registrar", "min_expires_mode", 1)
modparam("registrar", "max_contacts", 3)
modparam("registrar", "received_param", "rcv")
modparam("registrar", "received_avp", "$avp(rcv)")
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 2)
modparam("registrar", "outbound_mode", 1)
modparam("registrar", "regid_mode", 1)
modparam("registrar", "flow_timer", 25)
loadmodule "p2p_usrloc.so"
modparam("p2p_usrloc", "gateway_socket", "%(dir)s/gateway.sock")
modparam("p2p_usrloc", "gateway_timeout_ms", 1000)
modparam("p2p_usrloc", "reconnect_max_ms", 200)
loadmodule "p2p_route.so"
modparam("p2p_route", "advertise", "sip:127.0.0.1:5060;transport=udp")
loadmodule "p2p_registrar.so"
modparam("p2p_registrar", "lookup_timeout_ms", 1000)
modparam("p2p_registrar", "publish", "%(publish)s")
modparam("p2p_registrar", "confirm_ms", %(confirm_ms)d)
%(more)s
"""

SCRIPT = """request_route {
	if (is_method("CANCEL")) {
		if (t_check_trans()) { t_relay(); }
		exit;
	}
	if ($hdr(X-Received) != $null) { $avp(rcv) = $hdr(X-Received); }
	if ($hdr(X-Service-Route) != $null) {
		append_to_reply("Service-Route: <sip:edge.example;lr>\\r\\n");
	}
	switch ($hdr(X-How)) {
	case "stock": save("location"); break;
	case "late": p2p_lookup("location", "LATE"); break;
	case "call": p2p_lookup("location", "CALL"); break;
	case "route": p2p_save("location", "0", "", "SAVED"); break;
	case "script": p2p_save("location", "2", "", "ANSWER"); break;
	case "async": p2p_save("location", "64"); break;
	case "confirmed": p2p_save("location", "32"); break;
	case "uri": p2p_save("location", "0", "sip:other@127.0.0.1"); break;
	default:
		p2p_save("location");
		xlog("L_NOTICE", "p2p_save returned to the script\\n");
	}
	exit;
}
# after a suspension, as behind p2p_authenticate()
route[LATE] {
	append_to_reply("X-Late: yes\\r\\n");
	p2p_save("location");
	exit;
}
route[CALL] {
	p2p_reply();
	exit;
}
route[SAVED] {
	xlog("L_NOTICE", "saved route: $var(p2p_result) [$var(p2p_reason)]\\n");
	exit;
}
route[ANSWER] {
	if ($var(p2p_result) == "saved") { t_reply("200", "Script"); exit; }
	p2p_reply();
	exit;
}
"""

LUA = """function ksr_request_route()
	KSR.p2p_registrar.save_route("location", 0, "sip:kemi@127.0.0.1", "ksr_saved")
	return 1
end
function ksr_saved()
	KSR.notice("kemi route: " .. KSR.pv.getw("$var(p2p_result)") .. "\\n")
	return 1
end
"""


class Solo:
    """One Kamailio, one mock gateway."""

    def __init__(self, publish="confirmed", more="", script=SCRIPT, confirm_ms=CONFIRM_MS, start=True,
                 lua=None, keeps=False):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.kam = peer.Kamailio(None, "kam", os.path.join(world.WORK, "kam.cfg"),
                                 ["udp:127.0.0.1:5060"])
        if keeps:
            more += 'modparam("p2p_usrloc", "contacts_file", "%s/contacts")\n' % self.kam.dir
        if lua:
            path = os.path.join(world.WORK, "kam.lua")
            with open(path, "w", encoding="ascii") as f:
                f.write(lua)
            os.chmod(path, 0o644)
            more += 'loadmodule "app_lua.so"\nmodparam("app_lua", "load", "%s")\n' \
                    'cfgengine "lua"\n' % path
        self.kam.cfg_write(CFG % dict(dir=self.kam.dir, publish=publish, confirm_ms=confirm_ms,
                                      more=more) + ("" if lua else script))
        self.gw = mock_gateway.Gateway(os.path.join(self.kam.dir, "gateway.sock"))
        self.phone = registrant.Registrant()
        if start:
            self.gw.start()
            self.kam.start()
            self.in_step()

    def stats(self, module="p2p_registrar"):
        return self.kam.rpc(module + ".stats")

    def in_step(self):
        proc.wait_for("Kamailio is in step with the gateway",
                      lambda: self.kam.rpc("p2p_usrloc.status")["synced"] == "yes", 10)

    def nothing_left(self, timeout=10):
        def nothing():
            return (self.stats()["suspended_now"] == 0 and
                    self.stats("p2p_usrloc")["questions_open"] == 0 and
                    self.kam.transactions() == 0)
        proc.wait_for("no request waits, and no transaction is left", nothing, timeout, 0.1)

    def check(self):
        self.gw.mode, self.gw.confirms = "good", 0
        self.gw.refuse.clear()
        tap.check_processes()

    def close(self):
        self.nothing_left()
        if self.kam.proc:
            self.kam.proc.stop()
        self.gw.stop()
        tap.check_processes()


def solo():
    return Solo()


def count(s, command):
    return s.gw.counts.get(command, 0)


# --- when it is answered ------------------------------------------------------------------------

@tap.on(solo)
def test_first_registration_waits_refresh_does_not(s):
    s.gw.confirms = 0.3
    _, took = s.phone.register("alice", instance="urn:uuid:1")
    need(0.3 <= took and pace.within(took, 0.6), "answered after %.3f s" % took)
    need("alice" in s.gw.users, "answered before it was published")
    confirms, publishes = count(s, "CONFIRM"), count(s, "PUBLISH")
    for _ in range(5):
        _, took = s.phone.register("alice", instance="urn:uuid:1")
        need(pace.within(took, 0.1), "a refresh took %.3f s" % took)
    need((count(s, "CONFIRM"), count(s, "PUBLISH")) == (confirms, publishes),
         "a refresh asked the gateway")
    # a contact that changes nothing in what is published, and one that does
    _, took = s.phone.register("alice", contacts=["<sip:a2@127.0.0.1:7001>;expires=600"])
    need(pace.within(took, 0.1), "a contact without an instance took %.3f s" % took)
    _, took = s.phone.register("alice", contacts=[
        '<sip:a3@127.0.0.1:7002>;expires=600;+sip.instance="<urn:uuid:2>"'])
    need(0.3 <= took and pace.within(took, 0.6), "a new instance was answered after %.3f s" % took)
    need(s.stats()["confirmed"] == 2 and s.stats()["confirmed_at_once"] == 6, "counted: %r" % s.stats())
    # leaving, and asking for what is there, do not wait
    m, took = s.phone.register("alice", contacts=[])
    need(pace.within(took, 0.1) and len(m.get("Contact").split(",")) == 3, "a query: %.3f s, %s" % (took, m.text))
    _, took = s.phone.register("alice", contacts=["*"], headers=["Expires: 0"])
    need(pace.within(took, 0.1), "leaving took %.3f s" % took)
    # coming back does, though it is as it was before
    _, took = s.phone.register("alice", instance="urn:uuid:1")
    need(0.3 <= took and pace.within(took, 0.6), "coming back was answered after %.3f s" % took)


@tap.on(solo)
def test_without_delay_of_the_gateway_it_takes_milliseconds(s):
    times = []
    for i in range(200):
        times.append(s.phone.register("fast%d" % i)[1])
    times.sort()
    tap.say("first registrations: p50 %.2f ms, p99 %.2f ms" % (times[100] * 1e3, times[197] * 1e3))
    need(times[100] < 0.015, "p50 %.1f ms" % (times[100] * 1e3))


@tap.on(solo)
def test_not_confirmed_is_503_and_the_binding_stays(s):
    s.gw.confirms = None
    m, took = s.phone.register("bob", want=503)
    need(CONFIRM_MS / 1e3 <= took and pace.within(took, CONFIRM_MS / 1e3 + 0.3), "answered after %.3f s" % took)
    need(m.get("Retry-After") == "10" and "not known to other peers yet" in m.get("Reason"), m.text)
    need(not m.all("Contact"), "a 503 with a Contact")
    need(s.kam.contacts().get("bob"), "the binding is gone")
    s.gw.confirms = 0.1
    m, took = s.phone.register("bob")
    need(pace.within(took, 0.5) and "expires=600" in m.get("Contact"), "the phone's next try: %.3f s" % took)
    need(sum(a[:2] == ["PUBLISH", "bob"] for _, a in s.gw.log) == 1, "it was published twice")


@tap.on(solo)
def test_a_registration_that_changes_while_it_waits(s):
    """The answer waits for the newest state, and is not confirmed by an older one."""
    s.gw.confirms = 0.4
    first, text = s.phone.text("carol", contacts=[
        '<sip:c1@127.0.0.1:7001>;expires=600;+sip.instance="<urn:uuid:1>"'])
    s.phone.send(first, text)
    s.phone.read(0.2)
    second, text = s.phone.text("carol", contacts=[
        '<sip:c2@127.0.0.1:7002>;expires=600;+sip.instance="<urn:uuid:2>"'])
    s.phone.send(second, text)
    need(s.phone.final(first).code == 200 and s.phone.final(second).code == 200, "not 200")
    need(s.phone.took[second] >= 0.4, "the second one was answered by the first one's confirmation")
    # one that leaves again while it waits
    s.gw.confirms = None
    third, text = s.phone.text("dan")
    s.phone.send(third, text)
    proc.wait_for("dan is published", lambda: "dan" in s.gw.users)
    s.phone.register("dan", expires=0)
    m = s.phone.final(third)
    need(m.code == 503 and pace.within(s.phone.took[third], 1), "%s after %.1f s" % (m.first, s.phone.took[third]))


# --- the reply ----------------------------------------------------------------------------------

OUTBOUND = ["Supported: path, gruu, outbound"]
PATH = ["Path: <sip:edge.example;lr;ob>"]
INSTANCE = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'
CASES = {
    "plain": dict(),
    "q and two contacts": dict(contacts=["<sip:x@127.0.0.1:7001>;q=0.5;expires=600",
                                         "<sip:x@127.0.0.1:7002>;q=0.25;expires=300"]),
    "gruu": dict(contacts=["<sip:x@127.0.0.1:7001>;expires=600" + INSTANCE], headers=["Supported: gruu"]),
    "outbound": dict(contacts=["<sip:x@127.0.0.1:7001>;expires=600;reg-id=1" + INSTANCE],
                     headers=OUTBOUND + PATH),
    "path": dict(headers=["Supported: path"] + PATH + PATH),
    "received": dict(headers=["X-Received: sip:192.0.2.9:7777"]),
    "service route": dict(headers=["X-Service-Route: yes"]),
    "expires header": dict(contacts=["<sip:x@127.0.0.1:7001>"], headers=["Expires: 120"]),
    "query": dict(contacts=[]),
    "nothing to take away": dict(expires=0),
    "too brief": dict(expires=5),
    "too many": dict(contacts=["<sip:x@127.0.0.1:700%d>;expires=600" % i for i in range(5)]),
    "path unsupported": dict(headers=PATH),
    "star with others": dict(contacts=["*", "<sip:x@127.0.0.1:7001>"], headers=["Expires: 0"]),
    "bad q": dict(contacts=["<sip:x@127.0.0.1:7001>;q=7"]),
}


def comparable(m):
    """The reply without what differs from one to the next: tags and ids made for each."""
    text = re.sub(r"(To: [^\r\n]*;tag=)[^\r\n]*", r"\1T", m.text)
    text = re.sub(r"branch=[^;\r\n]*", "branch=B", text)
    text = re.sub(r"From: [^\r\n]*;tag=t\d+", "From", text)
    return re.sub(r"uloc-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+", "RUID", text)


@tap.on(solo)
def test_the_reply_is_as_stock_byte_for_byte(s):
    for n, (what, kw) in enumerate(CASES.items()):
        replies = {}
        for how in ("stock", "waits", "late"):
            # one user, so that nothing in the reply differs by the name; registered anew each time
            s.gw.confirms = 0.05
            s.phone.register("same", contacts=["*"], headers=["Expires: 0", "X-How: stock"])
            proc.wait_for("nobody is registered", lambda: "same" not in s.gw.users)
            headers = kw.get("headers", []) + ({"stock": ["X-How: stock"], "late": ["X-How: late"]}
                                               .get(how, []))
            branch, text = s.phone.text("same", **dict(kw, headers=headers, cseq=1000 + n,
                                                       callid="%s-%d" % (how, n)))
            s.phone.send(branch, text)
            m = s.phone.final(branch)
            replies[how] = comparable(m).replace("Call-ID: %s-" % how, "Call-ID: ").replace(
                "X-Late: yes\r\n", "")
            if how == "waits" and m.code == 200 and "<sip:" in m.get("Contact"):
                need(s.phone.took[branch] >= 0.05, "%s: it did not wait" % what)
            if how == "late" and m.code == 200:
                need(m.get("X-Late") == "yes", "%s: what the script has added is lost" % what)
        tap.say("%-22s %s" % (what, replies["stock"].split("\r\n", 1)[0]))
        need(replies["waits"] == replies["stock"],
             "%s: stock says\n%s\nand here\n%s" % (what, replies["stock"], replies["waits"]))
        # the stock registrar answers no error in a failure route; here it is the same as ever
        need(replies["late"] == replies["stock"],
             "%s, suspended before: stock says\n%s\nand here\n%s" % (what, replies["stock"],
                                                                    replies["late"]))


@tap.on(solo)
def test_other_uri_and_the_script(s):
    s.gw.confirms = 0.1
    _, took = s.phone.register("uri", headers=["X-How: uri"])
    need(took >= 0.1 and "other" in s.gw.users, "the third parameter was not waited for")
    s.phone.register("routed", headers=["X-How: route"])
    proc.wait_for("the route has run", lambda: s.kam.proc.said("saved route: saved []"))
    m, _ = s.phone.register("scripted", headers=["X-How: script"])
    need(m.first.endswith("200 Script") and "scripted@" in m.get("Contact"), m.text)
    s.gw.confirms = None
    s.phone.register("routed2", want=503, headers=["X-How: route"])
    proc.wait_for("the route has run",
                  lambda: s.kam.proc.said("saved route: unavailable [not known to other peers yet]"))
    m, _ = s.phone.register("scripted2", want=503, headers=["X-How: script"])
    need(m.get("Retry-After") == "10", m.text)
    # for one call
    _, took = s.phone.register("now", headers=["X-How: async"])
    need(pace.within(took, 0.1), "async waited for %.3f s" % took)


@tap.on(lambda: Solo(publish="async"))
def test_async_is_the_other_way(s):
    s.gw.confirms = None
    _, took = s.phone.register("now")
    need(pace.within(took, 0.1), "async waited for %.3f s" % took)
    proc.wait_for("p2p_save has returned",
                  lambda: s.kam.proc.said("p2p_save returned to the script"))
    s.phone.register("later", want=503, headers=["X-How: confirmed"])


@tap.on(lambda: Solo(lua=LUA))
def test_kemi(s):
    s.gw.confirms = 0.1
    _, took = s.phone.register("kemi")
    need(took >= 0.1, "it did not wait")
    proc.wait_for("the function has run", lambda: s.kam.proc.said("kemi route: saved"))


# --- what goes wrong ----------------------------------------------------------------------------

@tap.on(solo)
def test_retransmissions_are_absorbed(s):
    s.gw.confirms = 0.6
    branch, text = s.phone.text("erin")
    for _ in range(4):
        s.phone.send(branch, text)
        s.phone.read(0.1)
    m = s.phone.final(branch)
    s.phone.read(0.3)
    finals = [x for x in s.phone.replies[branch] if x.code >= 200 and "REGISTER" in x.get("CSeq")]
    need(len(finals) == 1, "answers:\n" + "\n".join(x.first for x in s.phone.replies[branch]))
    s.phone.send(branch, text)          # later: the same answer again
    s.phone.read(0.3)
    again = [x for x in s.phone.replies[branch] if x.code >= 200 and "REGISTER" in x.get("CSeq")]
    need(len(again) == 2 and again[0].text == again[1].text, "a retransmission got another answer")
    need(m.code == 200, m.first)
    need(sum(a[:2] == ["CONFIRM", "erin"] for _, a in s.gw.log) == 1, "it was asked again")


@tap.on(solo)
def test_a_cancel_is_as_for_any_request_that_waits(s):
    """No phone sends one for a REGISTER (RFC 3261, 9.1). tm answers 487, and that is the one answer."""
    s.gw.confirms = 0.5
    branch, text = s.phone.text("eve")
    s.phone.send(branch, text)
    s.phone.read(0.1)
    s.phone.send(branch, text.replace("REGISTER sip:", "CANCEL sip:").replace(
        " REGISTER\r\n", " CANCEL\r\n"))
    s.phone.read(1)
    finals = [x.code for x in s.phone.replies[branch] if x.code >= 200 and "REGISTER" in x.get("CSeq")]
    need(finals == [487], "answers: %r" % finals)
    s.nothing_left()


@tap.on(solo)
def test_gateway_that_comes_back_in_time(s):
    s.gw.confirms = None
    branch, text = s.phone.text("frank")
    s.phone.send(branch, text)
    proc.wait_for("frank is published", lambda: "frank" in s.gw.users)
    s.gw.stop()
    s.gw.forget()
    second, text = s.phone.text("fred")         # while it is away
    s.phone.send(second, text)
    s.phone.read(0.3)
    s.gw.confirms = 0
    s.gw.start()
    for b in (branch, second):
        m = s.phone.final(b)
        need(m.code == 200, m.first)
        need(pace.within(s.phone.took[b], CONFIRM_MS / 1e3), "after %.1f s" % s.phone.took[b])
    # who is confirmed stays so while it is started again
    s.gw.stop()
    _, took = s.phone.register("frank")
    need(pace.within(took, 0.1), "a refresh without a gateway took %.3f s" % took)
    # and new ones do not gather when it stays away
    _, took = s.phone.register("gina", want=503)
    time.sleep(max(0, CONFIRM_MS / 1e3 - took + 0.1))
    m, took = s.phone.register("gus", want=503)
    need(pace.within(took, 0.1) and "no gateway" in m.get("Reason"), "%.3f s: %s" % (took, m.text))
    s.gw.start()
    s.in_step()
    s.phone.register("gus")


@tap.on(solo)
def test_the_channel_alone_is_lost(s):
    s.gw.confirms = None
    branch, text = s.phone.text("hank")
    s.phone.send(branch, text)
    proc.wait_for("it is asked", lambda: count(s, "CONFIRM") >= 1)
    s.gw.confirms = 0
    for state in list(next(v for k, v in s.gw.subscribers.items() if k.startswith("confirms:"))):
        state["conn"].shutdown(socket.SHUT_RDWR)
    m = s.phone.final(branch)
    need(m.code == 200 and pace.within(s.phone.took[branch], 1),
         "%s after %.1f s" % (m.first, s.phone.took[branch]))


@tap.on(solo)
def test_gateway_that_refuses_or_is_busy(s):
    s.gw.refuse["ivan"] = "DENIED not here"
    m, took = s.phone.register("ivan", want=503)
    need(pace.within(took, 0.5) and "did not take it" in m.get("Reason"), "%.3f s: %s" % (took, m.text))
    s.gw.refuse["judy"] = "BUSY no room"
    branch, text = s.phone.text("judy")
    s.phone.send(branch, text)
    s.phone.read(0.4)
    del s.gw.refuse["judy"]
    need(s.phone.final(branch).code == 200, "BUSY for a while: " + s.phone.final(branch).first)
    for word in ("garbage", "nonsense", "close", "silent"):
        s.gw.mode = word
        branch, text = s.phone.text("kate" + word)
        s.phone.send(branch, text)
        m = s.phone.final(branch)
        # nonsense and half an answer come with the message on the channel, which is true
        need(m.code in ((200, 503) if word in ("nonsense", "close") else (503,)), word + ": " + m.first)
        need(pace.within(s.phone.took[branch], CONFIRM_MS / 1e3 + 0.5), "%s took too long" % word)
        s.gw.mode = "good"
        s.gw.drop_all()
        s.in_step()
    need(s.phone.register("kategarbage")[0].code == 200, "the next try")


@tap.on(lambda: Solo(more='modparam("p2p_registrar", "lookups_max", 3)\n'))
def test_over_the_limit_is_503_at_once(s):
    s.gw.confirms = 1.0
    branches = []
    for i in range(5):
        branches.append(s.phone.text("limit%d" % i))
        s.phone.send(*branches[-1])
        s.phone.read(0.05)
    codes = [s.phone.final(b).code for b, _ in branches]
    need(sorted(codes) == [200, 200, 200, 503, 503], "answers: %r" % codes)
    refused = [b for b, _ in branches if s.phone.final(b).code == 503]
    need(all(pace.within(s.phone.took[b], 0.2) for b in refused), "503 took too long")
    need(all(s.phone.final(b).get("Retry-After") == "10" for b in refused), "no Retry-After")
    need(s.stats()["refused"] == 2, "counted %r" % s.stats()["refused"])


@tap.on(lambda: Solo(more='modparam("p2p_registrar", "lookups_max", 8)\n'))
def test_calls_to_nobody_leave_room_for_registrations(s):
    s.gw.mode = "silent-route"
    calls = []
    for i in range(10):
        b, text = s.phone.text("caller%d" % i, headers=["X-How: call"])
        calls.append(b)
        s.phone.send(b, text.replace("sip:127.0.0.1 SIP", "sip:nobody%d@127.0.0.1 SIP" % i, 1))
    s.phone.read(0.1)
    branches = []
    for i in range(2):
        b, text = s.phone.text("phone%d" % i)
        branches.append(b)
        s.phone.send(b, text)
    s.phone.read(0.3)
    codes = [s.phone.final(b).code for b in branches]
    need(codes == [200, 200], "answers: %r" % codes)
    need(s.stats()["refused"] == 4, "refused: %r" % s.stats()["refused"])


@tap.on(solo)
@tap.limit(90)
def test_500_at_once_with_the_gateway_dying_each_is_answered_once(s):
    s.gw.confirms = 0.2
    stop = threading.Event()

    def die():
        while not stop.wait(0.4):
            s.gw.stop()
            if stop.wait(0.15):
                break
            s.gw.start()
    killer = threading.Thread(target=die)
    killer.start()
    branches = []
    try:
        for i in range(500):
            b, text = s.phone.text("many%d" % i)
            branches.append(b)
            s.phone.send(b, text)
            s.phone.read(0.002)
        s.phone.read(CONFIRM_MS / 1e3 + 1)
    finally:
        stop.set()
        killer.join()
        if not s.gw.running:
            s.gw.start()
    finals = [[m.code for m in s.phone.replies.get(b, []) if m.code >= 200] for b in branches]
    tap.say("200: %d, 503: %d" % (sum(f == [200] for f in finals), sum(f == [503] for f in finals)))
    need(all(f in ([200], [503]) for f in finals), "answers: %r" % [f for f in finals if len(f) != 1][:5])
    need(sum(f == [200] for f in finals) > 100, "hardly any was confirmed")
    s.in_step()
    s.nothing_left()


def test_settings_are_checked_at_the_start():
    for kw, said in ((dict(publish="soon"), "neither"),
                     (dict(confirm_ms=99), "out of range 100..30000"),
                     (dict(confirm_ms=4500, more='modparam("tm", "fr_timer", 5000)\n'),
                      "confirm_ms: 4500 must be at least 1000 below")):
        s = Solo(start=False, **kw)
        s.kam.start(wait=False)
        proc.wait_for("Kamailio refuses to start", lambda s=s: not s.kam.proc.running(), 10)
        s.kam.proc.expected = True
        need(s.kam.proc.said(said), "not said: %s\n%s" % (said, s.kam.proc.tail()))


# --- a phone whose REGISTER was under way when Kamailio was killed --------------------------------

CSEQ_DELAY_S = 1


def remembering(**kw):
    """Contacts come back after a SIGKILL. How long usrloc takes the same CSeq again (20 s as a rule)
    is short, for the test to be."""
    return Solo(keeps=True, more='modparam("usrloc", "cseq_delay", %d)\n' % CSEQ_DELAY_S, **kw)


def forgotten(s, user, cseq=7):
    """A REGISTER that is saved, and not answered: Kamailio is killed, and the contact comes back with
    the next one, older than CSEQ_DELAY_S. (branch, text)"""
    s.gw.confirms = None
    branch, text = s.phone.text(user, cseq=cseq, headers=["X-How: confirmed"])
    s.phone.send(branch, text)
    proc.wait_for("%s is saved" % user, lambda: user in s.gw.users)
    saved = time.monotonic()
    s.kam.kill()
    s.phone.read(0)
    need(not [m for m in s.phone.replies.get(branch, []) if m.code >= 200], "answered before the kill")
    s.gw.confirms = 0
    s.kam.start()
    s.in_step()
    need(s.kam.contacts().get(user), "the contact of %s is not back" % user)
    time.sleep(max(0.0, saved + CSEQ_DELAY_S + 1.5 - time.monotonic()))
    return branch, text


def cseq_of(s, user):
    """{contact: CSeq} of what usrloc has of a user"""
    text = s.kam.text("ul.dump").partition("AoR: %s\n" % user)[2].partition("AoR: ")[0]
    return dict(re.findall(r"Address: (\S+).*?CSeq: (\d+)", text, re.S))


@tap.on(remembering)
def test_sent_again_after_a_kill_it_is_200(s):
    branch, text = forgotten(s, "again")
    s.phone.send(branch, text)
    m = s.phone.final(branch)
    need(m.code == 200 and "sip:again@" in m.get("Contact"), m.text)
    need(s.stats()["sent_again"] == 1, "counted: %r" % s.stats()["sent_again"])
    # killed again; a new transaction of the same, answered when it is confirmed, and not before
    forgotten(s, "other")
    s.gw.forget()
    s.gw.drop_all()
    s.gw.confirms = 0.3
    _, took = s.phone.register("again", cseq=7)
    need(took >= 0.2, "it was answered after %.3f s, unconfirmed" % took)
    need(list(cseq_of(s, "again").values()) == ["7"], "usrloc has %r" % cseq_of(s, "again"))
    s.phone.register("again", cseq=8)


@tap.on(remembering)
def test_an_older_register_after_a_kill_is_refused_as_ever(s):
    forgotten(s, "older")
    before = s.kam.text("ul.dump")
    for kw in (dict(cseq=6), dict(cseq=6, expires=0), dict(cseq=7, expires=0)):
        m, _ = s.phone.register("older", want=400, **kw)
        need("Invalid CSeq" in m.text, m.text)
    now = s.kam.text("ul.dump")
    need(re.sub(r"Expires: \d+", "", now) == re.sub(r"Expires: \d+", "", before),
         "it has changed from\n%s\nto\n%s" % (before, now))
    # nor does one of this Kamailio's own get older than stock allows
    s.phone.register("older", cseq=9)
    time.sleep(CSEQ_DELAY_S + 1.2)
    s.phone.register("older", cseq=9, want=400)
    need(s.stats()["sent_again"] == 0, "counted: %r" % s.stats()["sent_again"])


@tap.on(lambda: remembering(publish="async"))
def test_sent_again_after_a_kill_it_is_200_at_once(s):
    branch, text = forgotten(s, "async")
    text = text.replace("X-How: confirmed\r\n", "")
    s.gw.confirms = None
    s.phone.send(branch, text)
    m = s.phone.final(branch)
    need(m.code == 200 and "sip:async@" in m.get("Contact"), m.text)


# --- a real overlay -----------------------------------------------------------------------------

def two():
    return overlay.Overlay(2, prepare=lambda p: p.kamailio.defines.append('P2P_PUBLISH="confirmed"'))


@tap.on(two)
def test_found_at_another_peer_when_the_200_is_there(s):
    phone = registrant.Registrant(s.host(), s.a.address)
    times = []
    for i in range(60):
        user = "real%02d" % i
        times.append(phone.register(user)[1])
        found = s.b.gateway.lookup(user)
        need(found, "%s is not found at b (%r) after its 200" % (user, found))
    times.sort()
    tap.say("REGISTER to 200, confirmed: p50 %.1f ms, p99 %.1f ms" % (times[30] * 1e3, times[-1] * 1e3))


@tap.on(two)
@tap.limit(90)
def test_sigkill_of_the_gateway_in_the_middle(s):
    """Each REGISTER is answered once, and whoever got a 200 is found."""
    phone = registrant.Registrant(s.host(), s.a.address)
    branches = {}
    for i in range(240):
        user = "kill%03d" % i
        branches[user], text = phone.text(user)
        phone.send(branches[user], text)
        phone.read(0.01)
        if i in (60, 140, 200):
            s.a.gateway.kill()
            s.a.gateway.start(wait=False)
    phone.read(4)
    finals = {u: [m.code for m in phone.replies.get(b, []) if m.code >= 200] for u, b in branches.items()}
    bad = {u: f for u, f in finals.items() if f not in ([200], [503])}
    need(not bad, "answers: %r" % bad)
    good = [u for u, f in finals.items() if f == [200]]
    tap.say("200: %d, 503: %d" % (len(good), len(finals) - len(good)))
    need(len(good) > 60, "hardly any was confirmed")
    s.joined()
    missing = [u for u in good if not s.b.gateway.lookup(u)]
    need(not missing, "acknowledged, and not found: %r" % missing)


if __name__ == "__main__":
    tap.main(globals())
