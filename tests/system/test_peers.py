#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gateways that ask each other whether a user is there: stale records, peers that do not answer or
are not who they should be, and strangers."""

import os
import random
import signal
import socket
import statistics
import time

from rig import fake, overlay, proc, resp, sipp, tap

PORT = 7443
ASK_MS = 300


def three():
    s = overlay.Overlay(3, prepare=settings)
    for p in s.peers:
        named(p)
    return s


def settings(p):
    p.gateway.settings["peers"] = {"ask_ms": ASK_MS}


def named(p):
    """Waits until p's Kamailio has named its users to the gateway."""
    proc.wait_for("%s's Kamailio has named its users" % p.name,
                  lambda: p.gateway.proc.said("has named its"), 10)


class Module:
    """In the place of a Kamailio: the modules' commands at a gateway."""

    def __init__(self, gateway, instance):
        self.client = resp.Client(gateway.socket)
        self.client("HANDSHAKE", "2", "test", instance)

    def close(self):
        self.client.close()

    def publish(self, name):
        self.client("PUBLISH", name, "1")

    def route(self, name, fresh=False):
        """(HITs of the candidates or None, milliseconds)"""
        t0 = time.monotonic()
        try:
            reply = self.client(*(["ROUTE", name, "3000"] + (["FRESH"] if fresh else [])))
            hits = [c[0] for c in reply]
        except resp.Error as e:
            if e.code != "NOTFOUND":
                raise
            hits = None
        return hits, (time.monotonic() - t0) * 1000


def hit(p):
    return p.gateway.status()["hit"]


def metric(p, name):
    for line in p.gateway.ask("METRICS").splitlines():
        if line.startswith("p2psip_gateway_" + name + " "):
            return int(float(line.split()[-1]))
    raise proc.Failed("no metric %s" % name)


def forget(p):
    """The gateway loses its users; what it signed is still out there."""
    p.gateway.stop()
    open(p.gateway.state + "/users.journal", "w", encoding="ascii").close()
    p.gateway.start()
    named(p)


def stale(s, p, name):
    """A record of p for a user whom it does not serve."""
    m = Module(p.gateway, "former")
    m.publish(name)
    for q in s.peers:
        if q is not p:
            s.found(name, q)
    m.close()
    forget(p)
    s.joined()


def invite(s, at, user, *codes):
    steps = [sipp.invite(), sipp.recv(response=100, optional=True)] + sipp.refused(*codes)
    uac = sipp.Sipp(s.host(), steps, at.address, [("alice", user)])
    uac.finish()
    m = uac.messages()
    final = next(x for x in m if x[1] == "received" and not x[2].startswith("SIP/2.0 1"))
    return (final[0] - m[0][0]) * 1000


def call(s, at, user):
    """A whole short call; milliseconds from INVITE to 200."""
    uac = sipp.Sipp(s.host(), sipp.call_scenario(50), at.address, [("alice", user)])
    uac.finish()
    m = uac.messages()
    ok = next(x for x in m if x[1] == "received" and x[2].startswith("SIP/2.0 200"))
    return (ok[0] - m[0][0]) * 1000


@tap.on(three)
def test_peers_answer_for_their_users(s):
    s.phone("bob", s.b, answer="auto")
    s.found("bob", s.a)
    m = Module(s.a.gateway, "asker")
    times = []
    for _ in range(5):
        hits, ms = m.route("bob", fresh=True)
        if hits != [hit(s.b)]:
            raise proc.Failed("bob is at %s, not only at b" % hits)
        times.append(ms)
    m.close()
    tap.say("ROUTE by a search and the peer's word: first %.1f ms, then %.1f ms" %
            (times[0], statistics.median(times[1:])))
    call(s, s.a, "bob")
    if not metric(s.a, 'asks_total{result="yes"}') or \
       not metric(s.b, 'answers_total{result="yes"}'):
        raise proc.Failed("nobody was asked")
    st = s.a.gateway.status()
    if int(st["peer_connections_out"]) < 1:
        raise proc.Failed("no connection was kept: %s" % st)
    if "closed" not in str(s.a.gateway.ask("PEERS")):
        raise proc.Failed("PEERS does not show the breaker")
    s.quiet()


@tap.on(three)
@tap.limit(120)
def test_latency_with_and_without_asking(s):
    """The question may cost one round trip."""
    s.phone("bob", s.b)
    s.found("bob", s.a)
    m = Module(s.a.gateway, "asker")
    m.route("bob", fresh=True)
    out = {}
    for fresh_ms in ("0", "60000"):
        s.a.gateway.settings["peers"]["ask_fresh_ms"] = fresh_ms
        s.a.gateway.settings["limits"] = {"cache_fresh_ms": "60000"}
        s.a.gateway.write()
        s.a.gateway.ask("RELOAD")
        m.route("bob")
        out[fresh_ms] = statistics.median(m.route("bob")[1] for _ in range(100))
    m.close()
    del s.a.gateway.settings["limits"], s.a.gateway.settings["peers"]["ask_fresh_ms"]
    s.a.gateway.write()
    s.a.gateway.ask("RELOAD")
    tap.say("ROUTE from the cache: %.2f ms asked each time, %.2f ms not asked" %
            (out["0"], out["60000"]))
    if out["0"] - out["60000"] > 20:
        raise proc.Failed("asking over an open connection costs %.1f ms" %
                          (out["0"] - out["60000"]))


@tap.on(three)
@tap.limit(90)
def test_stale_record_is_404_in_one_attempt(s):
    stale(s, s.b, "ghost")
    before = metric(s.b, 'answers_total{result="no"}')
    ms = invite(s, s.a, "ghost", 404)
    tap.say("404 for a stale record after %.0f ms" % ms)
    if metric(s.b, 'answers_total{result="no"}') == before:
        raise proc.Failed("b was not asked")
    if not metric(s.a, "routes_refuted_total"):
        raise proc.Failed("the record was not dropped by b's word")
    s.quiet()


@tap.on(three)
@tap.limit(90)
def test_stale_record_then_the_next_candidate(s):
    stale(s, s.b, "carol")
    s.phone("carol", s.c, answer="auto")
    proc.wait_for("a finds both records", lambda: len(s.a.gateway.lookup("carol") or []) == 2, 10)
    tap.say("called at the second of two after %.0f ms" % call(s, s.a, "carol"))
    m = Module(s.a.gateway, "asker")
    hits, _ = m.route("carol", fresh=True)
    m.close()
    if hits != [hit(s.c)]:
        raise proc.Failed("carol is at %s, not only at c" % hits)
    s.quiet()


def unaffected(s, user, at, limit_ms):
    times = [call(s, at, user) for _ in range(5)]
    tap.say("others meanwhile: %s ms" % ", ".join("%.0f" % t for t in times))
    if statistics.median(times) > limit_ms:
        raise proc.Failed("calls to others take %.0f ms" % statistics.median(times))


def answers_again(s, user, m):
    def closed():
        m.route(user)
        return "open" not in str(s.a.gateway.ask("PEERS")) and \
            "probing" not in str(s.a.gateway.ask("PEERS"))
    proc.wait_for("a asks b again", closed, 20, 0.2)


@tap.on(three)
@tap.limit(120)
def test_hanging_peer_costs_one_question(s):
    s.phone("bob", s.b, answer="auto")
    s.phone("carol", s.c, answer="auto")
    for user in ("bob", "carol"):
        s.found(user, s.a)
        call(s, s.a, user)
    m = Module(s.a.gateway, "asker")
    at_b = [hit(s.b)]
    os.kill(s.b.gateway.proc.pid, signal.SIGSTOP)
    try:
        time.sleep(2.1)         # a yes is believed for so long
        hits, first = m.route("bob")
        times = [m.route("bob")[1] for _ in range(10)]
        tap.say("ROUTE while b hangs: %.0f ms, then %.0f ms" % (first, max(times)))
        if hits != at_b:
            raise proc.Failed("bob's record is not used: %s" % hits)
        if first > ASK_MS + 400:
            raise proc.Failed("the first one took %.0f ms" % first)
        if statistics.median(times) > ASK_MS / 2:
            raise proc.Failed("the others took %.0f ms" % statistics.median(times))
        call(s, s.a, "bob")     # Kamailio is well: by the record
        unaffected(s, "carol", s.a, 200)
    finally:
        os.kill(s.b.gateway.proc.pid, signal.SIGCONT)
    if metric(s.a, "breaker_opened_total") != 1:
        raise proc.Failed("the breaker opened %d times" % metric(s.a, "breaker_opened_total"))
    answers_again(s, "bob", m)
    m.close()
    s.quiet()


def instead_of_b(s, cert, body, said):
    """b's gateway is replaced; calls go on by the record, and a says why it does not believe it."""
    m = Module(s.a.gateway, "asker")
    at_b = [hit(s.b)]
    s.b.gateway.stop()
    instead = fake.Gateway(s.b, cert, body)
    try:
        proc.wait_for("a asked, and did not like what it heard",
                      lambda: m.route("bob")[0] == at_b and
                      s.a.gateway.proc.said("is not asked for a while", said), 20, 0.2)
        unaffected(s, "carol", s.a, 200)
    finally:
        instead.stop()
        s.b.gateway.start()
        m.close()
    s.joined()
    named(s.b)


def impostors():
    return three()


def talkers_of_rubbish():
    return three()      # a scene of its own: a log line about one peer comes once a minute


def bob_and_carol(s):
    s.phone("bob", s.b, answer="auto")
    s.phone("carol", s.c, answer="auto")
    for user in ("bob", "carol"):
        s.found(user, s.a)
        call(s, s.a, user)


@tap.on(impostors)
@tap.limit(120)
def test_impostor_with_another_key(s):
    bob_and_carol(s)
    instead_of_b(s, fake.certificate("impostor"), '{"user":"no"}', "does not have this peer's key")


@tap.on(talkers_of_rubbish)
@tap.limit(120)
def test_right_key_and_rubbish(s):
    bob_and_carol(s)
    instead_of_b(s, fake.certificate("rubbish", s.b.gateway.state + "/identity.pem"),
                 '{"user":', "it answers rubbish")


@tap.on(three)
@tap.limit(120)
def test_dead_gateway(s):
    bob_and_carol(s)
    m = Module(s.a.gateway, "asker")
    s.b.gateway.kill()
    s.b.gateway.proc.expected = True
    time.sleep(2.1)
    _, first = m.route("bob")
    tap.say("ROUTE with b's gateway dead: %.0f ms" % first)
    if first > ASK_MS:
        raise proc.Failed("it took %.0f ms" % first)
    unaffected(s, "carol", s.a, 200)
    s.b.gateway.start()
    named(s.b)
    answers_again(s, "bob", m)
    m.close()


def curl(node, url, *cert):
    args = ["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}"]
    if cert:
        args += ["--cert", cert[0], "--key", cert[1]]
    r = node.run(*args, url, check=False)
    return r.stdout.strip()


@tap.on(three)
def test_strangers_are_refused(s):
    overlay_id = s.b.gateway.status()["overlay"]
    url = "https://%s:%d/v1/%s/peer" % (s.b.node.addr4["ovl"], PORT, overlay_id)
    other = "https://%s:%d/v1/%s/peer" % (s.b.node.addr4["ovl"], PORT, "0" * 32)
    cert = fake.certificate("stranger")
    for what, args, want in (
            ("without a certificate", (url,), "000"),
            ("in plain HTTP", (url.replace("https", "http"),), "000"),
            ("with a key, without the overlay secret", (url,) + cert, "403"),
            ("for another overlay", (other,) + cert, "404"),
            ("a member's key without a proof", (url,) +
             fake.certificate("member", s.a.gateway.state + "/identity.pem"), "403")):
        got = curl(s.a.node, *args)
        if got != want:
            raise proc.Failed("%s: status %s, not %s" % (what, got, want))
    if not s.b.gateway.proc.said("does not prove that it is a member"):
        raise proc.Failed("b's log does not name the stranger")
    r = s.a.node.run("curl", "-sk", "--tls-max", "1.2", "-m", "5", "--cert", cert[0], "--key",
                     cert[1], url, check=False)
    if not r.returncode:
        raise proc.Failed("TLS 1.2 was taken")


@tap.on(three)
def test_garbage(s):
    """Whatever comes in on the port, the gateway goes on."""
    rnd = random.Random(7)
    with s.a.node.inside():
        for n in (0, 1, 5, 100, 3000, 70000):
            with socket.create_connection((s.b.node.addr4["ovl"], PORT), 5) as c:
                # some of it looks like the beginning of TLS
                c.sendall((b"\x16\x03\x01\x02\x00\x01" if n % 2 == 0 else b"") + rnd.randbytes(n))
                c.settimeout(1)
                try:
                    c.recv(100)
                except OSError:
                    pass
    url = "https://%s:%d/v1/" % (s.b.node.addr4["ovl"], PORT)
    cert = fake.certificate("garbage")
    for path in ("", "x" * 20000, "../../etc/passwd", "%00", "a/b/c/d"):
        if curl(s.a.node, url + path, *cert) == "200":
            raise proc.Failed("%s was answered" % path[:40])
    s.phone("bob", s.b)
    s.found("bob", s.a)
    m = Module(s.a.gateway, "asker")
    if m.route("bob", fresh=True)[0] != [hit(s.b)] or \
       not metric(s.a, 'asks_total{result="yes"}'):
        raise proc.Failed("b no longer answers")
    m.close()


def peer_of_another_overlay():
    """c has the secret of another overlay, and its records cannot be read; but it knows b."""
    def prepare(p):
        if p.name == "c":
            with open(p.gateway.dir + "/overlay.secret", "w", encoding="ascii") as f:
                f.write(os.urandom(32).hex() + "\n")
    return overlay.Overlay(3, prepare=prepare, start=False)


@tap.on(peer_of_another_overlay)
def test_gateway_of_another_overlay(s):
    for p in s.peers:
        p.gateway.start()
    named_cert = fake.certificate("other", s.c.gateway.state + "/identity.pem")
    own = s.c.gateway.status()["overlay"]
    for overlay_id, want in ((own, "404"), (s.b.gateway.status()["overlay"], "403")):
        got = curl(s.c.node, "https://%s:%d/v1/%s/peer" % (s.b.node.addr4["ovl"], PORT,
                                                           overlay_id), *named_cert)
        if got != want:
            raise proc.Failed("status %s, not %s" % (got, want))
    if not s.b.gateway.proc.said("it asks for another overlay"):
        raise proc.Failed("b's log does not name the other overlay")


def without_the_protocol():
    def prepare(p):
        settings(p)
        if p.name == "b":
            p.gateway.settings["peers"]["enabled"] = "no"
        # there are no sessions with b: it and the others are peers for each other by address
        p.kamailio.defines.append('P2P_PEER="198.51.100.0/24"')
    s = overlay.Overlay(3, prepare=prepare)
    for p in s.peers:
        named(p)
    return s


@tap.on(without_the_protocol)
def test_mixed_overlay(s):
    bob_and_carol(s)
    call(s, s.b, "carol")
    if metric(s.b, "peer_requests_total"):
        raise proc.Failed("b was asked")
    s.quiet()


if __name__ == "__main__":
    tap.main(globals())
