#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlays with an authority: beginning one, inviting, joining, and who is refused."""

import os
import random
import shutil
import signal
import subprocess
import time

from rig import enrol, overlay, proc, sipp, tap, world

FAKE = world.SOURCE + "/tests/system/fake_gateway.py"


def three():
    """a and b are in the overlay; c is a machine that has nothing yet."""
    s = overlay.Overlay(3, start=False, enrolled=True)
    for p in (s.a, s.b):
        s.enrol(p)
        p.start()
    return s


def two():
    return overlay.Overlay(2, enrolled=True)


def hit(p):
    return p.gateway.status()["hit"]


def fresh(p):
    """p's machine is new."""
    if p.gateway.proc and p.gateway.proc.running():
        p.stop()
    shutil.rmtree(p.gateway.state)
    os.makedirs(p.gateway.state, mode=0o700)
    shutil.chown(p.gateway.state, p.gateway.user)


def call(s, at, user):
    uac = sipp.Sipp(s.host(), sipp.call_scenario(50), at.address, [("alice", user)])
    uac.finish()


@tap.on(three)
def test_one_command_joins_and_calls_go_through(s):
    fresh(s.c)
    t0 = time.monotonic()
    token = enrol.invite(s.a)
    t1 = time.monotonic()
    said = enrol.join(s.c, token)
    t2 = time.monotonic()
    s.c.gateway.start()
    proc.wait_for("c's DHT node is connected", s.c.gateway.joined, 10)
    t3 = time.monotonic()
    tap.say("invite %.2f s, join %.2f s, connected after %.2f s" % (t1 - t0, t2 - t1, t3 - t0))
    if t3 - t0 > 10:
        raise proc.Failed("it took %.1f s" % (t3 - t0))
    s.c.gateway.stop()
    s.c.start()
    if said["hit"] != hit(s.c) or said["overlay"] != s.a.gateway.status()["overlay"]:
        raise proc.Failed("join said %s" % said)
    for x in ("identity.pem", "overlay.secret", "peer.pem", "authority.pem"):
        st = os.stat(s.c.gateway.state + "/" + x)
        if st.st_mode & 0o777 != 0o600 or st.st_uid == 0:
            raise proc.Failed("%s: mode %o, uid %d" % (x, st.st_mode, st.st_uid))
    s.phone("bob", s.b, answer="auto")
    s.phone("carol", s.c, answer="auto")
    s.found("carol", s.b)
    s.found("bob", s.c)
    call(s, s.b, "carol")
    call(s, s.c, "bob")
    if not any("peer_requests_total" in x and not x.endswith(" 0")
               for x in s.c.gateway.ask("METRICS").splitlines()):
        raise proc.Failed("c's gateway was not asked")
    listed = enrol.members(s.a)
    if set(listed) != {hit(p) for p in s.peers} or \
       any(m["state"] != "member" for m in listed.values()):
        raise proc.Failed("peer list: %s" % listed)
    for p in s.peers:
        if any("is refused" in x for x in p.gateway.proc.text().splitlines()):
            raise proc.Failed("%s refuses somebody" % p.name)
    enrol.refused(s.c, "is in an overlay already", "join", token, "--state", s.c.gateway.state)
    enrol.refused(s.a, "is in an overlay already", "overlay", "create", "--state",
                  s.a.gateway.state)
    enrol.refused(s.b, "the overlay's authority is not here", "invite")


@tap.on(three)
def test_tokens_that_are_no_good(s):
    fresh(s.c)
    state = ("--state", s.c.gateway.state)
    other = s.c.gateway.dir + "/other"
    used = enrol.invite(s.a)
    enrol.join(s.c, used)
    # the same peer may say it again, as long as nothing was lost by it
    os.unlink(s.c.gateway.state + "/overlay.secret")
    enrol.join(s.c, used)
    os.makedirs(other, mode=0o700, exist_ok=True)
    enrol.refused(s.c, "the invitation was used by another peer", "join", used, "--state", other)
    fresh(s.c)
    short = enrol.invite(s.a, "--expires", "1s")
    time.sleep(1.2)
    enrol.refused(s.c, "the invitation has expired", "join", short, *state)
    enrol.refused(s.c, "the token is damaged", "join", used[:-2], *state)
    enrol.refused(s.c, "that is no token", "join", "p2p" + used, *state)
    # one that is well formed, and was never given out: of the authority of another machine
    # that has the same key
    token = enrol.invite(s.a)
    shutil.rmtree(s.a.gateway.state + "/authority/invitations")
    enrol.refused(s.c, "there is no such invitation", "join", token, *state)
    # who answers there is somebody else
    token = enrol.invite(s.a, "--address", s.b.node.addr4["ovl"])
    enrol.refused(s.c, "not the peer that invites", "join", token, *state)
    token = enrol.invite(s.a, "--address", s.b.node.addr4["ovl"] + ":9")
    enrol.refused(s.c, "cannot be reached", "join", token, *state)
    enrol.refused(s.a, "is no address", "invite", "--address", "a b")
    enrol.refused(s.a, "is no time", "invite", "--expires", "soon")
    for why in ("the invitation was used by another peer", "the invitation has expired",
                "there is no such invitation"):
        lines = [x for x in s.a.gateway.proc.text().splitlines() if why in x]
        if len(lines) != 1:
            raise proc.Failed("%d lines of %r: %s" % (len(lines), why, lines))
    if os.path.exists(s.c.gateway.state + "/overlay.secret"):
        raise proc.Failed("something came of it")


@tap.on(three)
@tap.limit(90)
def test_killed_at_any_moment(s):
    """The joiner and the authority's gateway; the same token finishes it."""
    rng = random.Random(7)
    argv = [enrol.CTL, "join", "", "--state", s.c.gateway.state]
    cut = 0
    for i in range(24):
        fresh(s.c)
        argv[2] = enrol.invite(s.a)
        p = subprocess.Popen(list(s.c.node.prefix()) + argv, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 0.05))
        if i % 4 == 3:
            s.a.gateway.kill()
            p.wait(20)
            s.a.gateway.start()
        else:
            p.send_signal(signal.SIGKILL)
            p.wait(10)
        if not os.path.exists(s.c.gateway.state + "/overlay.secret"):
            cut += 1
            enrol.join(s.c, argv[2])
        files = set(os.listdir(s.c.gateway.state))
        if not {"identity.pem", "peer.pem", "authority.pem", "overlay.secret"} <= files:
            raise proc.Failed("after round %d there are %s" % (i, files))
        left = [x for x in os.listdir(s.a.gateway.state + "/authority/members")
                if len(x) != 32]
        if left:
            raise proc.Failed("left over: %s" % left)
    tap.say("cut short in %d of 24 rounds" % cut)
    if not 3 <= cut:
        raise proc.Failed("nothing was cut short: the test tests nothing")
    s.c.gateway.start()
    proc.wait_for("c's DHT node is connected", s.c.gateway.joined, 10)
    s.c.gateway.stop()


def call_503(s, at, user):
    """What the caller is told."""
    steps = [sipp.invite(), sipp.recv(response=100, optional=True)] + sipp.refused(503)
    uac = sipp.Sipp(s.host(), steps, at.address, [("alice", user)])
    uac.finish()
    return [m[3] for m in uac.messages() if "SIP/2.0 503" in m[2]]


def refused_call(s, at, user, why):
    """The caller is told, in the Reason."""
    told = call_503(s, at, user)
    if not any(why in x for x in told):
        raise proc.Failed("no 503 with %r: %s" % (why, told))


def line(p, who, why):
    """p's gateway has said this of who, once."""
    def said():
        return [x for x in p.gateway.proc.text().splitlines()
                if "is refused" in x and who in x and why in x]
    proc.wait_for("a line that %s is refused: %s" % (who, why), said, 5)
    if len(said()) != 1:
        raise proc.Failed("%d lines: %s" % (len(said()), said()))


@tap.on(two)
def test_who_is_no_member_is_refused(s):
    """At a's gateway, by what they show: one line each."""
    authority = s.a.gateway.state + "/authority"
    work = s.a.gateway.dir
    other = work + "/other-authority"
    strangers = work + "/stranger-overlay"
    os.makedirs(strangers, mode=0o700)
    subprocess.run([enrol.CTL, "overlay", "create", "--state", strangers, "--authority", other],
                   check=True, stdout=subprocess.DEVNULL, timeout=10)
    base = "/v1/" + s.a.gateway.status()["overlay"]
    address = s.a.node.addr4["ovl"]

    def show(name, why, dates=(-86400, 86400), by=authority, **kw):
        path, who = enrol.identity(work + "/" + name)
        cert = enrol.certificate(by, path, work + "/" + name + ".crt", *dates, **kw)
        for method, resource, body in (("GET", "/peer", None), ("GET", "/users/" + "0" * 40, None),
                                       ("PUT", "/sessions/" + "1" * 32, {}),
                                       ("GET", "/peer", None)):
            status, answer = enrol.ask(s.b.node, address, cert, method, base + resource, body)
            if status != 403 or answer["error"] != "member":
                raise proc.Failed("%s %s: %d, %s" % (name, resource, status, answer))
        line(s.a, who, why)

    overlay_id = s.a.gateway.status()["overlay"]
    show("expired", "its certificate has expired", (-172800, -3))
    show("early", "is not valid yet", (3600, 86400))
    show("foreign", "its certificate is of another overlay", by=other)
    show("forged", "was not signed by this overlay's authority", by=other, overlay=overlay_id)
    show("named", "names the HIT of another key", hit=hit(s.b))
    # one that it signed itself, as in an overlay without an authority
    path, who = enrol.identity(work + "/none")
    subprocess.run(["openssl", "req", "-new", "-x509", "-key", path, "-subj", "/CN=none", "-days",
                    "2", "-out", work + "/none.crt"], check=True, stdin=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=10)
    status, _ = enrol.ask(s.b.node, address, (work + "/none.crt", path), "GET", base + "/peer")
    if status != 403:
        raise proc.Failed("status %d without a certificate" % status)
    line(s.a, who, "it has no certificate of this overlay's authority")
    # a member of another overlay, who asks for its own
    status, answer = enrol.ask(s.b.node, address, (strangers + "/peer.pem",
                                                   strangers + "/identity.pem"), "GET",
                               "/v1/" + "0" * 32 + "/peer")
    if status != 404 or answer["error"] != "overlay":
        raise proc.Failed("another overlay: %d, %s" % (status, answer))
    # a good one, a minute and a half off either way, is let in
    for name, dates in (("soon", (-60, 90)), ("good", (-86400, 86400))):
        path, who = enrol.identity(work + "/" + name)
        cert = enrol.certificate(authority, path, work + "/" + name + ".crt", *dates)
        status, _ = enrol.ask(s.b.node, address, cert, "GET", base + "/peer")
        if status != 200:
            raise proc.Failed("%s: status %d" % (name, status))
    # and none of them gets a certificate without an invitation
    status, answer = enrol.ask(s.b.node, address, cert, "POST", base + "/enrolment", {})
    if status != 403 or answer["error"] != "member":
        raise proc.Failed("a certificate for the asking: %d, %s" % (status, answer))


def instead_of_b(s, cert, why):
    """b's gateway is replaced; a does not speak with what is there, and says why, once."""
    s.phone("bob", s.b, answer="auto")
    s.found("bob", s.a)
    who = hit(s.b)
    s.b.gateway.stop()
    fake = proc.Proc("fake-b", [FAKE, s.b.node.addr4["ovl"], "7443", *cert, '{"user":"no"}'],
                     s.b.node)
    try:
        proc.wait_for("the fake listens", lambda: fake.said("ready"), 10, alive=[fake])
        refused_call(s, s.a, "bob", why)
        line(s.a, who, why)
    finally:
        fake.expected = True
        fake.kill()
        s.b.gateway.start()
    s.joined()


@tap.on(two)
def test_right_key_and_an_expired_certificate(s):
    cert = enrol.certificate(s.a.gateway.state + "/authority", s.b.gateway.state + "/identity.pem",
                             s.b.gateway.dir + "/expired.crt", -172800, -3)
    instead_of_b(s, cert, "its certificate has expired")


def skewed():
    """b's clock is a minute fast, c's a minute slow."""
    def prepare(p):
        p.gateway.clock_s = {"b": 60, "c": -60}.get(p.name, 0)
    s = overlay.Overlay(3, start=False, enrolled=True, prepare=prepare)
    s.enrol(s.a)
    s.a.start()
    return s


@tap.on(skewed)
def test_with_clocks_a_minute_off(s):
    """Joining, calls all ways, another certificate, a revocation."""
    for p in (s.b, s.c):
        token = enrol.invite(s.a, "--expires", "5m")
        subprocess.run(list(p.node.prefix()) + [enrol.CTL, "join", token, "--state",
                                                p.gateway.state], check=True, timeout=20,
                       env=overlay.clock_env(p.gateway.clock_s), stdout=subprocess.DEVNULL)
        p.start()
    s.joined()
    for name, p in (("ann", s.a), ("bob", s.b), ("carol", s.c)):
        s.phone(name, p, answer="auto")
    for at, user in ((s.a, "bob"), (s.b, "carol"), (s.c, "ann"), (s.b, "ann"), (s.c, "bob")):
        s.found(user, at)
        call(s, at, user)
    for p in s.peers:
        if p.gateway.proc.said("is refused"):
            raise proc.Failed("%s refuses somebody" % p.name)
        status, _ = enrol.ask(p.node, s.a.node.addr4["ovl"],
                              (p.gateway.state + "/peer.pem", p.gateway.state + "/identity.pem"),
                              "POST", "/v1/%s/enrolment" % p.gateway.status()["overlay"], {})
        if status != 200:
            raise proc.Failed("another certificate for %s: status %d" % (p.name, status))
    out = hit(s.c)
    enrol.revoke(s.a, out)
    proc.wait_for("b has the new secret", lambda: s.b.gateway.status()["secret_generation"] == "1",
                  10)
    call(s, s.b, "ann")
    call(s, s.a, "bob")


def peers_in_the_middle():
    return overlay.Overlay(3, enrolled=True)


@tap.on(peers_in_the_middle)
def test_an_enrolled_peer_in_the_middle(s):
    """c is a good member, and stands where b's gateway should be."""
    s.phone("bob", s.b, answer="auto")
    s.found("bob", s.a)
    s.b.gateway.stop()
    cert = (s.c.gateway.state + "/peer.pem", s.c.gateway.state + "/identity.pem")
    fake = proc.Proc("fake-c", [FAKE, s.b.node.addr4["ovl"], "7443", *cert, '{"user":"no"}'],
                     s.b.node)
    try:
        proc.wait_for("the fake listens", lambda: fake.said("ready"), 10, alive=[fake])
        # a may have found out that nobody listens, and says so until it has asked again
        proc.wait_for("the caller is told why", lambda: any(
            "does not have this peer's key" in x for x in call_503(s, s.a, "bob")), 15)
        proc.wait_for("a says why", lambda: s.a.gateway.proc.said("does not have this peer's key"),
                      5)
    finally:
        fake.expected = True
        fake.kill()
        s.b.gateway.start()


if __name__ == "__main__":
    tap.main(globals())
