#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer is put out of an overlay: its sessions end, its records are not used, the others have a
new secret and go on, with the authority away, and so does who was away meanwhile."""

import os
import random
import subprocess
import threading
import time

from rig import enrol, enrolled, overlay, proc, resp, sipp, tap


def four():
    return overlay.Overlay(4, enrolled=True, prepare=settings)


def remembers(p, who):
    with open(p.gateway.state + "/gateways", encoding="ascii") as f:
        return who in f.read().split()


def four_again():
    return four()


def three():
    return overlay.Overlay(3, enrolled=True, prepare=settings)


def settings(p):
    p.gateway.settings["sip"]["uri"] = [p.uri_ovl]


def hit(p):
    return p.gateway.status()["hit"]


def generation(p):
    st = p.gateway.status()
    return int(st["revocations"]), int(st["secret_generation"])


def sessions_with(p, who):
    reply = p.gateway.ask("SESSIONS", "0", 500)
    return [x for x in map(resp.pairs, reply[1]) if x["peer"] == who]


def call(s, at, user):
    uac = sipp.Sipp(s.host(), sipp.call_scenario(50), at.address, [("alice", user)])
    uac.finish()


def refused(s, at, user, *codes):
    steps = [sipp.invite(), sipp.recv(response=100, optional=True)] + sipp.refused(*codes)
    sipp.Sipp(s.host(), steps, at.address, [("alice", user)]).finish()


def caught_up(p, want, timeout=5):
    proc.wait_for("%s knows %s" % (p.name, want), lambda: generation(p) == want, timeout, 0.05)


def people(s, *names):
    for name, p in zip(names, s.peers):
        s.phone(name, p, answer="auto")
    for name, p in zip(names, s.peers):
        for q in s.peers:
            if p is not q:
                s.found(name, q)


class Caller(threading.Thread):
    """Asks a gateway for users, all the time, and counts what it says."""

    def __init__(self, p, names):
        super().__init__(daemon=True)
        self.p, self.names, self.end = p, names, False
        self.asked, self.wrong = 0, []

    def run(self):
        c = resp.Client(self.p.gateway.socket)
        c("HANDSHAKE", "2", "test", "caller-" + self.p.name)
        while not self.end:
            for n in self.names:
                self.asked += 1
                try:
                    if not c("ROUTE", n, "2000", "FRESH"):
                        self.wrong.append((n, "nothing"))
                except resp.Error as e:
                    self.wrong.append((n, e.code))
            time.sleep(0.01)
        c.close()

    def stop(self):
        self.end = True
        self.join(10)
        if self.wrong:
            raise proc.Failed("%s: %d of %d lookups went wrong: %s" %
                              (self.p.name, len(self.wrong), self.asked, self.wrong[:5]))


@tap.on(four)
@tap.limit(90)
def test_out_while_the_others_go_on(s):
    people(s, "ann", "bob", "carol", "dave")
    call(s, s.b, "dave")            # b and d have a session
    call(s, s.d, "bob")
    out, old = hit(s.d), s.a.gateway.status()["overlay"]
    for p in (s.b, s.d):
        if not sessions_with(p, hit(s.d if p is s.b else s.b)):
            raise proc.Failed("no session between b and d")
    with open(s.b.gateway.state + "/overlay.secret", encoding="ascii") as f:
        secret = f.readline()
    callers = [Caller(s.b, ["ann", "carol"]), Caller(s.c, ["ann", "bob"]), Caller(s.a, ["carol"])]
    for c in callers:
        c.start()
    time.sleep(0.3)
    t0 = time.monotonic()
    said = enrol.revoke(s.a, out)
    if (said["revoked"], said["number"], said["secret_generation"]) != (out, 1, 1):
        raise proc.Failed("peer revoke said %s" % said)
    for p in (s.a, s.b, s.c):
        caught_up(p, (1, 1))
    tap.say("all members have the new secret after %.2f s" % (time.monotonic() - t0))
    for p in (s.b, s.d):
        proc.wait_for("%s has no session left of b and d" % p.name,
                      lambda p=p: not sessions_with(p, hit(s.d if p is s.b else s.b)), 5)
    time.sleep(1.5)
    for c in callers:
        c.stop()
    tap.say("%d lookups meanwhile, all answered" % sum(c.asked for c in callers))
    # what d publishes is nobody's, what it asks is refused
    refused(s, s.b, "dave", 404)
    if s.b.gateway.lookup("dave"):
        raise proc.Failed("b still finds dave: %s" % s.b.gateway.lookup("dave"))
    cert = (s.d.gateway.state + "/peer.pem", s.d.gateway.state + "/identity.pem")
    for path in ("/peer", "/secret", "/revocations/1"):
        status, answer = enrol.ask(s.d.node, s.b.node.addr4["ovl"], cert, "GET",
                                   "/v1/" + old + path)
        if status != 403 or answer["error"] != "member":
            raise proc.Failed("%s: %d, %s" % (path, status, answer))
    lines = [x for x in s.b.gateway.proc.text().splitlines()
             if "gateway of %s is refused: it was revoked" % out in x]
    if len(lines) != 1:
        raise proc.Failed("%d lines: %s" % (len(lines), lines))
    # the others call each other, and find their users under the new secret alone
    for p in (s.a, s.b, s.c):
        with open(p.gateway.state + "/overlay.secret", encoding="ascii") as f:
            if f.readline() == secret:
                raise proc.Failed("%s uses the old secret" % p.name)
    for at, user in ((s.a, "bob"), (s.b, "carol"), (s.c, "ann")):
        call(s, at, user)
    m = enrol.members(s.a)
    if m[out]["state"] != "revoked" or [x["state"] for h, x in m.items() if h != out] != \
       ["member"] * 3:
        raise proc.Failed("peer list: %s" % m)
    enrol.refused(s.a, "is revoked already", "peer", "revoke", out)
    enrol.refused(s.a, "does not revoke itself", "peer", "revoke", hit(s.a))
    enrol.refused(s.a, "is no member", "peer", "revoke", "2001:22::1")
    enrol.refused(s.b, "the overlay's authority is not here", "peer", "revoke", hit(s.c))
    # nor does it come back by itself, or by an invitation
    token = enrol.invite(s.a)
    s.d.gateway.stop()
    os.unlink(s.d.gateway.state + "/overlay.secret")
    enrol.refused(s.d, "this Host Identity was revoked", "join", token, "--state",
                  s.d.gateway.state)


@tap.on(four_again)
@tap.limit(90)
def test_who_was_away_learns_of_it_though_the_authority_is_away_now(s):
    people(s, "ann", "bob", "carol", "dave")
    out, stays = hit(s.d), hit(s.b)
    proc.wait_for("c remembers b's gateway", lambda: remembers(s.c, stays), 10)
    s.c.gateway.stop()
    before = generation(s.a)
    after = (before[0] + 1, before[1] + 1)
    enrol.revoke(s.a, out)
    caught_up(s.b, after)
    s.a.gateway.stop()
    t0 = time.monotonic()
    s.c.gateway.start()
    caught_up(s.c, after, 20)
    tap.say("caught up %.1f s after the start" % (time.monotonic() - t0))
    s.found("carol", s.b, 20)
    s.found("bob", s.c, 20)
    call(s, s.b, "carol")
    call(s, s.c, "bob")
    if s.c.gateway.lookup("dave"):
        raise proc.Failed("c still finds dave")
    # and over a restart with nobody there to tell
    s.b.gateway.stop()
    s.c.gateway.stop()
    s.c.gateway.start()
    if generation(s.c) != after:
        raise proc.Failed("c has forgotten it: %s" % (generation(s.c),))


def with_users():
    def prepare(p):
        p.kamailio.defines += ["WITH_P2P_AUTH"]
    s = enrolled.build(4, prepare=prepare)
    for p in s.peers:
        proc.wait_for("%s's Kamailio knows the realm" % p.name, lambda p=p: p.kamailio.rpc(
            "p2p_usrloc.status")["realm"] == enrolled.REALM, 5)
    return s


@tap.on(with_users)
@tap.limit(90)
def test_users_and_their_permissions_move_to_the_new_secret(s):
    """Users' enrolment, sealed to a peer and for any, and the permissions in their records."""
    enrolled.add(s, "eve", "one", s.b)
    enrolled.add(s, "fred", "two")
    enrolled.add(s, "gil", "three")
    with enrolled.Phone(s, "eve", "one") as eve, \
            enrolled.Phone(s, "fred", "two", port=5071) as fred, \
            enrolled.Phone(s, "gil", "three", port=5072) as gil:
        for phone, at in ((eve, s.b), (fred, s.c)):
            r = phone.register(at)
            if r.code != 200:
                raise proc.Failed("%s at %s: %s" % (phone.user, at.name, r.first))
            for p in s.peers:
                if p is not at:
                    s.found(phone.user, p)
        callers = [Caller(s.a, ["eve", "fred"]), Caller(s.b, ["fred"]), Caller(s.c, ["eve"])]
        for c in callers:
            c.start()
        enrol.revoke(s.a, hit(s.d))
        for p in (s.b, s.c):
            caught_up(p, (1, 1))
        # who was never here comes now, and who is here comes again
        for phone, at in ((gil, s.b), (eve, s.b), (fred, s.c)):
            r = phone.register(at)
            if r.code != 200:
                raise proc.Failed("%s at %s, after the change: %s" % (phone.user, at.name, r.first))
        s.found("gil", s.c, 10)
        time.sleep(1)
        for c in callers:
            c.stop()
    # one that has the new secret alone
    s.a.gateway.stop()
    path = s.a.gateway.state + "/overlay.secret"
    with open(path, encoding="ascii") as f:
        lines = [x for x in f if not x.startswith("before")]
    with open(path, "w", encoding="ascii") as f:
        f.writelines(lines)
    s.a.gateway.start()
    for user, at in (("eve", s.b), ("fred", s.c), ("gil", s.b)):
        found = s.found(user, s.a, 15)
        if [c["peer"] for c in found] != [hit(at)]:
            raise proc.Failed("%s is at %s" % (user, found))


@tap.on(three)
@tap.limit(90)
def test_killed_while_it_revokes(s):
    """Whatever is cut off, the number of revocations and the secret's generation end up alike, at
    the authority and everywhere, and each peer that was revoked stays so."""
    rng = random.Random(3)
    base = s.a.gateway.state
    for i in range(1, 9):
        path, who = enrol.identity(s.a.gateway.dir + "/member%d" % i)
        token = enrol.invite(s.a)
        subprocess.run(list(s.b.node.prefix()) + [enrol.CTL, "join", token, "--state",
                                                  os.path.dirname(path)], check=True, timeout=20,
                       stdout=subprocess.DEVNULL)
        p = subprocess.Popen(list(s.a.node.prefix()) + [enrol.CTL, "-g", s.a.gateway.admin, "peer",
                                                        "revoke", who],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.001, 0.02))
        s.a.gateway.kill()
        p.wait(10)
        s.a.gateway.start()
        n, g = generation(s.a)
        files = len([x for x in os.listdir(base + "/revoked") if x.isdigit()]) \
            if os.path.isdir(base + "/revoked") else 0
        if n != g or n != files:
            raise proc.Failed("round %d: %d revocations, generation %d, %d files" %
                              (i, n, g, files))
        if enrol.members(s.a)[who]["state"] != "revoked":
            enrol.revoke(s.a, who)
        if enrol.members(s.a)[who]["state"] != "revoked":
            raise proc.Failed("%s is not revoked" % who)
    s.joined()
    for p in (s.b, s.c):
        caught_up(p, generation(s.a), 25)


if __name__ == "__main__":
    tap.main(globals())
