#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Users of an overlay with an authority: enrolled at one peer, with their password they are
authenticated at each peer that may serve them, and nowhere else."""

import os
import pty
import select
import subprocess
import time

from rig import enrolled, overlay, pcap, proc, scene, sipc, tap, world
from rig.enrolled import Phone, add, auth, ctl, ha1s, hit, passwd


def three():
    return enrolled.build(3)


def says(p, name, want, timeout=5):
    """Waits until p's gateway says so of a user."""
    last = []

    def same():
        last[:] = [auth(p, name)]
        return last[0] == want
    try:
        proc.wait_for("%s says %r of %s" % (p.name, want, name), same, timeout, 0.1)
    except proc.Failed as e:
        raise proc.Failed("%s; it says %r" % (e, last[0])) from None


@tap.on(three)
def test_each_peer_that_may_serve_a_user_is_told_its_ha1(s):
    add(s, "alice", "wonder land", s.b)
    add(s, "bob", "builder")
    want = ha1s("alice", "wonder land")
    for p, answer in ((s.b, want), (s.a, "DENIED"), (s.c, "DENIED")):
        if auth(p, "alice") != answer:
            raise proc.Failed("%s: %r" % (p.name, auth(p, "alice")))
    for p in s.peers:
        if auth(p, "bob") != ha1s("bob", "builder") or auth(p, "nobody") != "NOTFOUND":
            raise proc.Failed("%s: %r, %r" % (p.name, auth(p, "bob"), auth(p, "nobody")))
    listed = ctl(s.a, "user", "list")
    if hit(s.b) not in listed or "any" not in listed or want["MD5"] in listed:
        raise proc.Failed("user list:\n" + listed)
    refused = ctl(s.b, "user", "add", "eve", "--any", stdin="x\n", fails=True)
    if "authority" not in refused:
        raise proc.Failed("b is no authority, and says: " + refused)


@tap.on(three)
def test_changes_are_heard_of_within_seconds(s):
    add(s, "carol", "one", s.b, s.c)
    for p in (s.b, s.c):
        says(p, "carol", ha1s("carol", "one"))
    passwd(s, "carol", "two")
    for p in (s.b, s.c):
        says(p, "carol", ha1s("carol", "two"))
    ctl(s.a, "user", "allow", "carol", "--deny", "--peer", hit(s.c))
    says(s.c, "carol", "DENIED")
    says(s.b, "carol", ha1s("carol", "two"))
    ctl(s.a, "user", "remove", "carol")
    for p in s.peers:
        says(p, "carol", "NOTFOUND")
    add(s, "carol", "three", s.c)
    says(s.c, "carol", ha1s("carol", "three"))
    says(s.b, "carol", "DENIED")


@tap.on(three)
def test_an_authority_that_is_offline_is_not_missed(s):
    add(s, "dave", "one", s.b)
    says(s.b, "dave", ha1s("dave", "one"))
    s.a.gateway.stop()
    for p in (s.b, s.c):
        p.gateway.kill()
        p.gateway.start()
    says(s.b, "dave", ha1s("dave", "one"), 15)
    s.a.gateway.start()
    s.joined()
    passwd(s, "dave", "two")
    says(s.b, "dave", ha1s("dave", "two"), 15)


@tap.on(three)
def test_another_registrars_ha1_is_taken(s):
    want = ha1s("erin", "old password")
    ctl(s.a, "user", "add", "erin", "--any", "--ha1", stdin="\n".join(want.values()) + "\n")
    says(s.c, "erin", want)
    ctl(s.a, "overlay", "rules", "--digests", "MD5")
    for p in s.peers:
        proc.wait_for("%s knows that" % p.name,
                      lambda p=p: p.gateway.status()["digests"] == "MD5", 5)
    ctl(s.a, "user", "passwd", "erin", "--ha1", stdin=want["MD5"] + "\n")
    says(s.c, "erin", {"MD5": want["MD5"]})
    refused = ctl(s.a, "overlay", "rules", "--digests", "SHA-256", fails=True)
    if "'erin' has no HA1 for SHA-256" not in refused:
        raise proc.Failed("erin would be shut out: " + refused)
    passwd(s, "erin", "old password")
    says(s.c, "erin", want)
    ctl(s.a, "overlay", "rules", "--digests", "MD5 SHA-256")
    refused = ctl(s.a, "user", "passwd", "erin", "--ha1", stdin=want["MD5"] + "\n", fails=True)
    if "each of the overlay's digests" not in refused:
        raise proc.Failed("one digest of two is taken: " + refused)


def typed(s, lines_typed, *args):
    """p2psipctl at a terminal: (exit code, what the terminal shows)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(world.BUILD + "/ctl/p2psipctl",
                 ["p2psipctl", "-g", s.a.gateway.admin, *args])
    shown = b""
    try:
        for line in lines_typed:
            n = shown.count(b": ")
            proc.wait_for("a prompt", lambda n=n: select.select([fd], [], [], 0)[0], 5)
            while shown.count(b": ") <= n:
                shown += os.read(fd, 1024)
            os.write(fd, line.encode() + b"\n")
        while True:
            shown += os.read(fd, 1024)
    except OSError:
        pass        # it has ended
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@tap.on(three)
def test_a_terminal_does_not_show_the_password(s):
    rc, shown = typed(s, ["open sesame", "open sesame"], "user", "add", "ali", "--any")
    if rc or "sesame" in shown or "Password for ali" not in shown:
        raise proc.Failed("%d: %r" % (rc, shown))
    says(s.b, "ali", ha1s("ali", "open sesame"))
    rc, shown = typed(s, ["one", "another"], "user", "passwd", "ali")
    if rc != 1 or "not the same" not in shown:
        raise proc.Failed("%d: %r" % (rc, shown))
    ctl(s.a, "user", "passwd", "ali", stdin="", fails=True)
    says(s.b, "ali", ha1s("ali", "open sesame"))


def phones():
    def prepare(p):
        p.kamailio.defines += ["WITH_P2P_AUTH"]
        if p.name == "a":
            p.kamailio.defines += ["WITH_ACC", "WITH_DIALOG"]
    s = enrolled.build(3, prepare=prepare)
    for p in s.peers:
        proc.wait_for("%s's Kamailio knows the realm" % p.name, lambda p=p: p.kamailio.rpc(
            "p2p_usrloc.status")["realm"] == enrolled.REALM, 5)
    return s


def code(r, want, what):
    if r.code != want:
        raise proc.Failed("%s: %s, not %d" % (what, r.first, want))


def lines_of(daemon, text):
    with open(daemon.proc.log, encoding="utf-8", errors="replace") as f:
        return [x for x in f if text in x]


def lines(p, text):
    return lines_of(p.kamailio, text)


@tap.on(phones)
def test_one_password_at_each_peer_that_may_serve(s):
    add(s, "alice", "wonder land", s.a, s.b)
    with Phone(s, "alice", "wonder land") as alice:
        found = [x.get("algorithm") for x in alice.challenged(s.a)]
        if found != ["SHA-256", "MD5"]:
            raise proc.Failed("challenges: %r" % found)
        for p in (s.a, s.b):
            for algorithm in ("SHA-256", "MD5"):
                code(alice.register(p, algorithm), 200, "%s at %s" % (algorithm, p.name))
        code(alice.register(s.a, password="wrong"), 401, "a wrong password")
        code(alice.register(s.c), 403, "a peer that may not serve alice")
        code(alice.register(s.c), 403, "a peer that may not serve alice")
    refused = lines(s.c, "the authority does not allow this peer to serve it")
    if len(refused) != 1 or "[alice]" not in refused[0]:
        raise proc.Failed("not one line: %r" % refused)
    with Phone(s, "nobody", "x", port=5071) as nobody:
        code(nobody.register(s.a), 401, "a user that is not enrolled")
    s.found("alice", s.c)
    for p in (s.a, s.b):
        if not p.kamailio.contacts().get("alice"):
            raise proc.Failed("%s: %r" % (p.name, p.kamailio.contacts()))


@tap.on(phones)
def test_credentials_are_good_once_and_for_their_user_only(s):
    add(s, "carol", "one")
    with Phone(s, "carol", "one") as carol:
        c = carol.challenged(s.a)[1]
        again = carol.request(s.a, extra=["Authorization: " + carol.credentials(
            c, "REGISTER", "sip:" + s.a.address, "MD5")])
        for _ in range(3):      # a phone that does not hear the answer
            code(carol.ask(again, s.a.address), 200, "good credentials")
        r = carol.answer(s.a, c, change={"nc": 1})
        code(r, 401, "a nonce count that was seen")
        if "stale" not in enrolled.challenges(r)[0]:
            raise proc.Failed("the phone would ask for the password: " + r.text)
        code(carol.answer(s.a, c, change={"nc": 2}), 200, "the next count")
        code(carol.answer(s.a, dict(c, nonce="x" + c["nonce"][1:])), 401, "no nonce of ours")
        code(carol.answer(s.a, c, change={"response": "0" * 32}), 401, "a wrong response")
        code(carol.answer(s.a, c, change={"username": "nobody"}), 401, "another's user name")
        code(carol.answer(s.a, c, algorithm="MD5-sess"), 401, "an algorithm not offered")
        code(carol.answer(s.a, c, change={"nonce": "n" * 600}), 401, "much too long")
        other = "sip:dave@" + s.a.address
        code(carol.answer(s.a, carol.challenged(s.a)[1], to=other), 403, "To names another user")
        code(carol.answer(s.a, carol.challenged(s.a)[1], frm=other), 403, "so does From")
    if len(lines(s.a, "it names another user")) != 1:
        raise proc.Failed("not one line of it")
    st = s.a.kamailio.rpc("p2p_registrar.stats")
    if int(st["auth_ok"]) < 2 or int(st["auth_denied"]) < 2 or int(st["auth_wrong"]) < 2:
        raise proc.Failed("counted: %r" % st)


@tap.on(phones)
def test_a_call_of_a_phone_that_authenticates(s):
    """baresip knows MD5 only, and gives up where it is offered more."""
    ctl(s.a, "overlay", "rules", "--digests", "MD5")
    for p in s.peers:
        proc.wait_for("%s knows that" % p.name, lambda p=p: p.kamailio.rpc("p2p_usrloc.status")
                      ["digests"] == "MD5", 5)
    add(s, "erin", "erins-own", s.a)
    add(s, "frank", "franks-own", s.b)
    capture = pcap.Capture(s.b.node)
    erin = s.phone("erin", s.a, password="erins-own", seed=1)
    frank = s.phone("frank", s.b, password="franks-own", seed=2)
    s.found("frank", s.a)
    for _ in range(2):      # asking for frank, and from the cache
        s.a.kamailio.rpc("p2p_usrloc.cache_flush")
        scene.talk(erin, frank, "sip:frank@" + s.a.address, 1)
    scene.talk(erin, frank, "sip:frank@" + s.a.address, 1)
    time.sleep(1.5)         # tcpdump hands packets on a second later
    between = [m for m in pcap.sip(capture.stop()) if m.src == s.a.overlay_address]
    if not [m for m in between if m.method == "INVITE"]:
        raise proc.Failed("no INVITE was captured")
    if not all(len(m.get("Record-Route")) for m in between if m.method == "INVITE"):
        raise proc.Failed("a is not in the way of the call")
    for m in between:
        if "Authorization" in m.text:
            raise proc.Failed("credentials are shown to the other peer:\n" + m.text)
    ctl(s.a, "overlay", "rules", "--digests", "MD5 SHA-256")
    s.quiet()
    answered = [x for x in lines(s.a, "ACC: transaction answered") if "method=INVITE" in x]
    if len(answered) != 3:
        raise proc.Failed("three calls were accounted for as %r" % answered)
    if s.a.kamailio.text("dlg.list").strip():
        raise proc.Failed("dialogs are left:\n" + s.a.kamailio.text("dlg.list"))


@tap.on(phones)
def test_a_password_is_changed_and_a_user_removed(s):
    add(s, "hank", "old", s.b, s.c)
    with Phone(s, "hank", "old") as hank:
        for p in (s.b, s.c):
            code(hank.register(p), 200, "the password at " + p.name)
        s.found("hank", s.a)
        passwd(s, "hank", "new")
        for p in (s.b, s.c):
            proc.wait_for("%s refuses the old password" % p.name,
                          lambda p=p: hank.register(p).code == 401, 5, 0.1)
            code(hank.register(p, password="new"), 200, "the new one at " + p.name)
        ctl(s.a, "user", "deny", "hank", "--peer", hit(s.c))
        proc.wait_for("c lets go of hank", lambda: not [
            u for u in s.c.gateway.users() if u["desired"] == "claimed"], 5)
        code(hank.register(s.c, password="new"), 403, "at a peer that may not any more")
        code(hank.register(s.b, password="new"), 200, "at the other")
        ctl(s.a, "user", "remove", "hank")
        proc.wait_for("nobody finds hank", lambda: s.a.gateway.lookup("hank") is None, 10)
        code(hank.register(s.b, password="new"), 401, "when she is removed")
        with sipc.Udp(s.host(), 5080) as caller:
            for p in s.peers:
                m = caller.ask(sipc.request("MESSAGE", "sip:hank@" + p.address, caller.via,
                                            "sip:x@elsewhere.example"), p.address)
                code(m, 404, "a message to hank at " + p.name)
        for p in (s.b, s.c):
            proc.wait_for("%s has no contact" % p.name,
                          lambda p=p: not p.kamailio.contacts().get("hank"), 15, 0.2)


@tap.on(phones)
def test_without_a_gateway(s):
    add(s, "ivan", "one", s.b)
    add(s, "judy", "two", s.b)
    with Phone(s, "ivan", "one") as ivan, Phone(s, "judy", "two", port=5071) as judy:
        code(ivan.register(s.b), 200, "with it")
        s.b.gateway.stop()
        code(ivan.register(s.b), 200, "without it, remembered")
        r = judy.register(s.b)
        code(r, 503, "without it, not remembered")
        if not r.get("Retry-After"):
            raise proc.Failed("no Retry-After:\n" + r.text)
        s.b.gateway.start()
        s.a.gateway.stop()      # the authority's
        proc.wait_for("judy may register", lambda: judy.register(s.b).code == 200, 15, 0.2)
        s.a.gateway.start()
        s.joined()


def scripted():
    """b's script is in Lua."""
    if not os.path.exists(world.STOCK_MODULES + "app_lua.so"):
        raise tap.Skip("kamailio-lua-modules is not installed")
    here = world.SOURCE + "/tests/system/"

    def prepare(p):
        p.kamailio.defines += ["WITH_P2P_AUTH"]
        if p.name == "b":
            p.kamailio.cfg = here + "users.cfg"
            p.kamailio.defines += ['LUA_FILE="%susers.lua"' % here]
    s = enrolled.build(2, prepare=prepare)
    for p in s.peers:
        proc.wait_for("%s's Kamailio knows the realm" % p.name, lambda p=p: p.kamailio.rpc(
            "p2p_usrloc.status")["realm"] == enrolled.REALM, 5)
    return s


@tap.on(scripted)
def test_a_script_in_another_language(s):
    add(s, "leo", "one", s.b)
    add(s, "mia", "two", s.a)
    with Phone(s, "leo", "one") as leo, Phone(s, "mia", "two", port=5071) as mia:
        code(leo.register(s.b), 200, "REGISTER")
        c = leo.challenged(s.b)[0]
        again = leo.request(s.b, extra=["Authorization: " + leo.credentials(
            c, "REGISTER", "sip:" + s.b.address, "SHA-256")])
        for _ in range(3):      # a phone that has not heard the answer
            code(leo.ask(again, s.b.address), 200, "REGISTER, repeated")
        code(leo.register(s.b, password="wrong"), 401, "REGISTER, a wrong password")
        code(mia.register(s.b), 403, "REGISTER at the wrong peer")
        code(mia.register(s.a), 200, "REGISTER elsewhere")
        s.found("mia", s.b)
        to = "sip:mia@" + s.b.address
        for _ in range(2):      # asked for, and remembered
            c = leo.challenged(s.b, "MESSAGE", uri=to)[0]
            leo.send(leo.request(s.b, "MESSAGE", uri=to, extra=[
                "Proxy-Authorization: " + leo.credentials(c, "MESSAGE", to, "SHA-256")]),
                s.b.address)
            m = mia.receive()
            if not m or m.method != "MESSAGE" or "Authorization" in m.text:
                raise proc.Failed("mia gets %s" % (m and m.text))
            mia.send(sipc.reply(m, 200, "OK"), s.a.address)
            code(leo.receive(), 200, "MESSAGE")
            s.b.kamailio.rpc("p2p_usrloc.cache_flush")
        c = leo.challenged(s.b, "MESSAGE", uri=to)[0]
        code(leo.answer(s.b, c, "MESSAGE", uri=to, password="wrong"), 602, "a wrong password")
        code(leo.answer(s.b, dict(c, nonce="x" + c["nonce"][1:]), "MESSAGE", uri=to), 601,
             "no nonce of ours")
        code(leo.answer(s.b, leo.challenged(s.b, "MESSAGE", uri=to)[0], "MESSAGE", uri=to,
                        frm="sip:mia@" + s.b.address), 608, "in another's name")
        c = mia.challenged(s.b, "MESSAGE", uri=to)[0]
        code(mia.answer(s.b, c, "MESSAGE", uri=to), 609, "at the wrong peer")
        s.b.gateway.stop()
        s.b.kamailio.rpc("p2p_usrloc.cache_flush")
        c = leo.challenged(s.b, "MESSAGE", uri=to)[0]
        code(leo.answer(s.b, c, "MESSAGE", uri=to), 610, "without a gateway")
        s.b.gateway.start()
        s.joined()


def skewed():
    """b's clock is a minute fast, c's a minute slow."""
    def prepare(p):
        p.kamailio.defines += ["WITH_P2P_AUTH"]
        p.gateway.clock_s = {"b": 60, "c": -60}.get(p.name, 0)
    s = enrolled.build(3, prepare=prepare)
    for p in s.peers:
        proc.wait_for("%s's Kamailio knows the realm" % p.name, lambda p=p: p.kamailio.rpc(
            "p2p_usrloc.status")["realm"] == enrolled.REALM, 5)
    return s


@tap.on(skewed)
def test_with_clocks_a_minute_off(s):
    shown = int(subprocess.run(["date", "+%s"], env=overlay.clock_env(60), check=True,
                               stdout=subprocess.PIPE, text=True).stdout)
    if not 58 <= shown - time.time() <= 62:
        raise proc.Failed("the clock is not shifted")
    add(s, "kate", "one", s.b, s.c)
    with Phone(s, "kate", "one") as kate:
        for p in (s.b, s.c):
            code(kate.register(p), 200, "at " + p.name)
        proc.wait_for("a finds both", lambda: {c["peer"] for c in s.a.gateway.lookup("kate") or ()}
                      == {hit(s.b), hit(s.c)}, 10, 0.1)
        passwd(s, "kate", "two")
        for p in (s.b, s.c):
            proc.wait_for("%s refuses the old password" % p.name,
                          lambda p=p: kate.register(p).code == 401, 5, 0.1)
            code(kate.register(p, password="two"), 200, "the new one at " + p.name)
        ctl(s.a, "user", "deny", "kate", "--peer", hit(s.c))
        proc.wait_for("a finds one", lambda: [c["peer"] for c in s.a.gateway.lookup("kate") or ()]
                      == [hit(s.b)], 10, 0.1)
        ctl(s.a, "user", "remove", "kate")
        proc.wait_for("nobody finds kate", lambda: s.a.gateway.lookup("kate") is None, 10, 0.1)


@tap.on(phones)
def test_a_peer_that_serves_whom_it_may_not_is_not_believed(s):
    """c's operator does as he likes: his phones do not authenticate, his records need no
    permission."""
    add(s, "gina", "one", s.b)
    s.c.kamailio.stop()
    s.c.kamailio.defines.remove("WITH_P2P_AUTH")
    s.c.kamailio.start()
    s.c.gateway.stop()
    s.c.gateway.settings["overlay"]["permission"] = "off"
    s.c.gateway.start()
    s.joined()
    with Phone(s, "gina", "one") as gina:
        code(gina.ask(gina.request(s.c), s.c.address), 200, "c takes everybody")
        proc.wait_for("c publishes gina", lambda: "gina" in [
            u["name"] for u in s.c.gateway.users()], 5)

        def refused(p, metric):
            return [x for x in p.gateway.ask("METRICS").splitlines()
                    if x.startswith(metric) and 'fault="no permission"' in x and
                    not x.endswith(" 0")]
        proc.wait_for("a refuses to store it",
                      lambda: refused(s.a, "p2psip_gateway_values_refused_total"), 15, 0.2)
        if s.a.gateway.lookup("gina") is not None:
            raise proc.Failed("a believes it: %r" % s.a.gateway.lookup("gina"))
        code(gina.register(s.b), 200, "at the peer that may")
        found = s.found("gina", s.a)
        if [c["peer"] for c in found] != [hit(s.b)]:
            raise proc.Failed("a finds gina at %r" % found)
    if not lines_of(s.a.gateway, "no permission of the authority to serve this user"):
        raise proc.Failed("a's gateway does not say why")
    # until the authority says that c may serve whom it likes
    ctl(s.a, "peer", "allow", hit(s.c))
    proc.wait_for("a finds gina at c, too", lambda: hit(s.c) in [
        c["peer"] for c in s.a.gateway.lookup("gina") or ()], 20, 0.2)
    ctl(s.a, "peer", "deny", hit(s.c))


def with_authentication():
    return phones()


@tap.on(with_authentication)
def test_a_peer_is_put_out(s):
    """The others have a new secret, and all users as before, without that peer."""
    add(s, "nina", "one", s.b, s.c)
    add(s, "otto", "two")
    add(s, "pia", "three", s.c)
    gone = hit(s.c)
    with Phone(s, "nina", "one") as nina, Phone(s, "otto", "two", port=5071) as otto:
        code(nina.register(s.b), 200, "before")
        overlay_c = s.c
        ctl(s.a, "peer", "revoke", gone)
        for p in (s.a, s.b):
            proc.wait_for("%s has the new secret" % p.name,
                          lambda p=p: p.gateway.status()["secret_generation"] == "1", 10, 0.1)
        s.b.kamailio.rpc("p2p_usrloc.cache_flush")
        code(nina.register(s.b), 200, "after it, while all is signed anew")
        proc.wait_for("a finds nina", lambda: [c["peer"] for c in s.a.gateway.lookup("nina") or ()]
                      == [hit(s.b)], 15, 0.2)
        for p in (s.a, s.b):
            p.kamailio.rpc("p2p_usrloc.cache_flush")
            code(otto.register(p), 200, "a user of any peer at " + p.name)
        passwd(s, "nina", "new")
        says(s.b, "nina", ha1s("nina", "new"))
        code(nina.register(s.b, password="new"), 200, "another password")
        if gone in ctl(s.a, "user", "list"):
            raise proc.Failed("user list:\n" + ctl(s.a, "user", "list"))
        said = ctl(s.a, "user", "allow", "nina", "--peer", gone, fails=True)
        if "put out" not in said and "no such peer" not in said:
            raise proc.Failed("nina may be allowed there: " + said)
    overlay_c.gateway.stop()


if __name__ == "__main__":
    tap.main(globals())
