#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SIP between peers over TLS, as their sessions say: nothing leaves for a peer but over
a connection whose certificate is that peer's own, and nothing is taken from one but over such
a connection. Calls outlive lost connections, new certificates and restarts; impostors that the
overlay's authority knows are refused on both sides."""

import os
import socket
import ssl
import subprocess
import threading
import time

from rig import kam, overlay, pcap, proc, resp, scene, session, sipc, sipp, tap, tls, world

CALLS = 150     # a second


def two():
    return overlay.Overlay(2, prepare=tls.prepare)


def two_v6():
    return overlay.Overlay(2, prepare=tls.prepare, ipv6=True)


# A connection that was proven is good as long as it stands: these begin without any.

def lifetimes():
    return two()


def far():
    return overlay.Overlay(2, prepare=tls.prepare, emulate={"delay_ms": 10}, anchor="never")


def impostor():
    return two()


def silent():
    return two()


def expired():
    return two()


def enrolled():
    return overlay.Overlay(2, prepare=tls.prepare_enrolled, enrolled=True)


def with_phones():
    return overlay.Overlay(2, prepare=lambda p: tls.prepare(p, phones=True))


def phones(s, **kw):
    s.bob = s.phone("bob", s.b, seed=2, ipv6=s.b.ipv6, **kw)
    s.alice = s.phone("alice", s.a, seed=1, ipv6=s.a.ipv6)
    s.found("bob", s.a)


def dial(s):
    s.bob.forget()
    s.alice.dial("sip:bob@%s" % s.a.address)
    s.alice.wait("CALL_ESTABLISHED")
    s.bob.wait("CALL_ESTABLISHED")


def hang_up(who, other):
    who.hangup()
    who.wait("CALL_CLOSED")
    other.wait("CALL_CLOSED")


def stat(p, name):
    return int(p.kamailio.rpc("p2p_route.stats")[name])


def logged(p, what):
    with open(p.kamailio.proc.log, encoding="utf-8", errors="replace") as f:
        return [x for x in f if what in x]


def one_line(p, *words):
    lines = logged(p, words[0])
    if len(lines) != 1 or not all(w in lines[0] for w in words):
        raise proc.Failed("not one line with %r in %s's log: %r" % (words, p.name, lines))


def proven(p):
    """What p's Kamailio says of the other peer."""
    try:
        got = p.kamailio.rpc("p2p_route.tls")
    except kam.Error:
        return {}
    return got if isinstance(got, dict) else {}


def lose(s):
    """The connections between the peers are lost, if the kernel knows how."""
    for p in s.peers:
        subprocess.run(p.node.prefix() + ["ss", "-K", "-t", "( sport = :%d or dport = :%d )" %
                                          (tls.PORT, tls.PORT)], check=False, timeout=10,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cut(s):
    """Likewise, or when they have been idle for long enough."""
    lose(s)
    proc.wait_for("the connections are closed",
                  lambda: not any(connections(p) for p in s.peers), 15)


def connections(p):
    return int(p.kamailio.rpc("core.tcp_info")["opened_tls_connections"])


def refused(s, least=0.0, most=2.5):
    """alice's call to bob fails as one to a peer that cannot be reached."""
    s.alice.dial("sip:bob@%s" % s.a.address)
    t0 = time.monotonic()
    e = s.alice.wait("CALL_CLOSED", "CALL_ESTABLISHED")
    took = time.monotonic() - t0
    if e["type"] != "CALL_CLOSED" or "503" not in str(e.get("param")):
        raise proc.Failed("not refused: %r" % e)
    if not least <= took <= most:
        raise proc.Failed("refused after %.2f s" % took)
    if [x["type"] for x in s.bob.events if x["type"] == "CALL_INCOMING"]:
        raise proc.Failed("bob has heard of it")


# --- calls ----------------------------------------------------------------------------------------

def call_with_audio(s):
    phones(s)
    capture = pcap.Capture(s.b.node, rule="tcp or udp port 5060")
    scene.talk(s.alice, s.bob, "sip:bob@%s" % s.a.address, 2)
    time.sleep(1.2)             # tcpdump hands packets on a second later
    seen = capture.stop()
    scene.heard(s.alice, s.bob, 2)
    scene.heard(s.bob, s.alice, 2)
    s.quiet()
    peers = {s.a.overlay_address.strip("[]"), s.b.overlay_address.strip("[]")}
    between = [x for x in seen if {x.src, x.dst} == peers]
    clear = pcap.sip(between)
    if clear:
        raise proc.Failed("in clear text between the peers: %r" % clear[0])
    if any(w in x.data for x in between for w in (b"SIP/2.0", b"alice", b"P2P-Peer")):
        raise proc.Failed("SIP can be read between the peers")
    size = sum(len(x.data) for x in between if tls.PORT in (x.sport, x.dport))
    if size < 5000:
        raise proc.Failed("only %d bytes of TLS between the peers: no call" % size)
    if stat(s.a, "tls_proven") != 1 or proven(s.a).get("state") != "proven":
        raise proc.Failed("a says of b: %r" % proven(s.a))


@tap.on(two)
def test_a_call_over_ipv4_shows_nothing_in_clear_text(s):
    call_with_audio(s)


@tap.on(two_v6)
def test_a_call_over_ipv6_shows_nothing_in_clear_text(s):
    call_with_audio(s)


@tap.on(enrolled)
def test_an_enrolled_overlay_speaks_tls_of_itself(s):
    """With the certificates that the gateways make, and no word about transports."""
    phones(s, answer="auto")
    dial(s)
    hang_up(s.bob, s.alice)
    for p in s.peers:
        if proven(p).get("state") != "proven":
            raise proc.Failed("%s has not spoken TLS: %r" % (p.name, proven(p)))
    s.quiet()
    # a new certificate, made by the gateway
    old = shown(s.b)
    s.b.gateway.stop()
    os.unlink(s.b.tls_dir + "/sip-cert.pem")
    s.b.gateway.start()
    proc.wait_for("b's Kamailio has read it", lambda: stat(s.b, "tls_reloads") == 1, 8)
    if shown(s.b) == old:
        raise proc.Failed("the old certificate is shown still")


@tap.on(two)
def test_either_side_ends_a_call_and_the_caller_gives_one_up(s):
    phones(s, answer="auto")
    dial(s)
    hang_up(s.bob, s.alice)     # b proves a for it
    dial(s)
    hang_up(s.alice, s.bob)
    if stat(s.b, "tls_proven") < 1:
        raise proc.Failed("b has proven nothing: how has the BYE got here?")
    s.drop(s.bob)
    s.bob = s.phone("bob", s.b, seed=2)
    s.found("bob", s.a)
    s.bob.forget()
    s.alice.dial("sip:bob@%s" % s.a.address)
    s.bob.wait("CALL_INCOMING")
    s.alice.wait("CALL_RINGING")
    s.alice.hangup()
    s.bob.wait("CALL_CLOSED")
    s.quiet()


@tap.on(lifetimes)
def test_calls_outlive_their_connections(s):
    """The connections between the peers are lost while the phones talk; at b's address is then
    somebody else, who is not told that the call is over."""
    phones(s, answer="auto")
    for p in s.peers:
        p.kamailio.rpc("cfg.seti", "tls", "connection_timeout", 1)
    dial(s)
    cut(s)
    before = stat(s.b, "tls_proven")
    hang_up(s.bob, s.alice)
    if stat(s.b, "tls_proven") != before + 1:
        raise proc.Failed("nothing was proven anew")
    before = stat(s.a, "tls_proven")
    dial(s)
    if stat(s.a, "tls_proven") != before + 1:
        raise proc.Failed("nothing was proven anew")
    cut(s)
    tls.renew(s.b, identity=tls.new_identity("middle"))
    tls.reload(s.b)
    s.bob.forget()
    s.alice.hangup()
    s.alice.wait("CALL_CLOSED")
    proc.wait_for("a has noticed", lambda: stat(s.a, "tls_dropped"), 5)
    one_line(s.a, "nothing is sent over TLS", "an enrolled peer in the middle")
    time.sleep(0.5)     # in which a BYE would get to b
    if stat(s.a, "tls_dropped") != 1 or [e for e in s.bob.events[s.bob._next:]
                                         if e["type"] == "CALL_CLOSED"]:
        raise proc.Failed("the BYE has got to b")


@tap.on(far)
def test_many_calls_wait_for_the_first_proof_and_for_others(s):
    """Calls begin while a does not know b's connection yet; it is lost when all talk."""
    callee = s.host("callee")
    sipp.register_many(callee, s.b.address, ["many"])
    s.found("many", s.a)
    uas = sipp.Sipp(callee, sipp.answer_scenario(), calls=CALLS)
    uac = sipp.Sipp(s.host(), sipp.call_scenario(4000), s.a.address, [("alice", "many")],
                    calls=CALLS, rate=CALLS)
    # INVITE and ACK
    proc.wait_for("all talk", lambda: stat(s.a, "signed") >= 2 * CALLS, 10)
    time.sleep(0.3)     # until what is on its way has come
    lose(s)
    uac.finish()
    uas.finish()
    for p in s.peers:
        stats = p.kamailio.rpc("p2p_route.stats")
        tap.say("%s: %d held, %d proven, %d lost" % (p.name, stats["tls_held"],
                                                     stats["tls_proven"], stats["tls_dropped"]))
        if int(stats["tls_dropped"]) or proven(p).get("held"):
            raise proc.Failed("%s has lost, or still holds, messages: %r, %r" %
                              (p.name, stats, proven(p)))
    if stat(s.a, "tls_held") < 3 or stat(s.a, "tls_proven") < 2:
        raise proc.Failed("nothing had to wait: this test has shown nothing")
    s.quiet()


@tap.on(two)
def test_a_peer_that_was_restarted_is_called_again(s):
    phones(s, answer="auto")
    dial(s)
    hang_up(s.alice, s.bob)
    s.drop(s.bob, kill=True)
    s.b.kamailio.proc.expected = True
    s.b.kamailio.kill()
    s.b.kamailio.start()
    s.bob = s.phone("bob", s.b, seed=2, answer="auto")
    s.found("bob", s.a)
    dial(s)
    hang_up(s.bob, s.alice)
    s.quiet()


# --- new certificates -----------------------------------------------------------------------------

def shown(p):
    """The certificate that p shows."""
    with tls.Client(p.node, p.overlay_address, directory=p.tls_dir) as c:
        return c.s.getpeercert(True)


@tap.on(two)
def test_new_certificates_are_read_and_calls_go_on(s):
    phones(s)
    old = [shown(p) for p in s.peers]
    s.alice.dial("sip:bob@%s" % s.a.address)
    s.bob.wait("CALL_INCOMING")
    s.bob.answer()
    s.alice.wait("CALL_ESTABLISHED")
    connected = [connections(p) for p in s.peers]
    for p in s.peers:
        tls.renew(p)
    for p in s.peers:
        proc.wait_for("%s has read its new certificate" % p.name,
                      lambda p=p: stat(p, "tls_reloads") == 1, 8)
    new = [shown(p) for p in s.peers]
    if any(x == y for x, y in zip(old, new)):
        raise proc.Failed("the old certificate is shown still")
    if [connections(p) for p in s.peers] < connected:
        raise proc.Failed("connections were closed")
    time.sleep(2)       # of audio behind it
    hang_up(s.bob, s.alice)
    scene.heard(s.alice, s.bob, 2)
    scene.heard(s.bob, s.alice, 2)
    s.quiet()
    for p in s.peers:
        one_line(p, "is new: the tls module has read it", p.tls_dir)


# --- impostors ------------------------------------------------------------------------------------

@tap.on(impostor)
def test_an_enrolled_peer_in_the_middle_is_sent_nothing(s):
    """At b's address answers somebody whom the authority knows, and who is not b."""
    phones(s, answer="auto")
    middle = tls.new_identity("middle")
    tls.renew(s.b, identity=middle)
    tls.reload(s.b)
    refused(s)
    refused(s, most=1.0)        # it is known by now
    if stat(s.b, "from_peer"):
        raise proc.Failed("the call has got to the impostor")
    one_line(s.a, "nothing is sent over TLS", s.b.gateway.status()["hit"], s.b.uri_tls,
             "an enrolled peer in the middle")
    if stat(s.a, "tls_unproven") != 1 or proven(s.a)["state"] != "refused":
        raise proc.Failed("a says of b: %r" % proven(s.a))
    # b is itself again
    tls.renew(s.b)
    tls.reload(s.b)
    proc.wait_for("b may be tried again", lambda: proven(s.a)["retry_in_ms"] == 0, 5)
    dial(s)
    hang_up(s.alice, s.bob)
    s.quiet()


class Keys:
    """A session of a's with b, as a's gateway tells its Kamailio."""

    def __init__(self, s):
        self.hit = s.a.gateway.status()["hit"]
        with resp.Client(s.a.gateway.socket) as c:
            c("HANDSHAKE", "2", "test", "tls-test")
            reply = c("PEERSESSION", s.b.gateway.status()["hit"], "3000")
        self.id, self.key, self.signalling = reply[0], bytes.fromhex(reply[4]), reply[6]

    def message(self, s, via):
        uri = "sip:bob@" + s.a.address
        text = sipc.request("MESSAGE", uri, via, "sip:alice@" + s.a.address)
        m = sipc.Message(text)
        value = session.header(self.hit, self.key, self.id, "MESSAGE", uri, m.get("Call-ID"),
                               m.get("CSeq").split()[0], m.get("From").split("tag=")[1])
        return text.replace("\r\nMax-Forwards:", "\r\nP2P-Peer: %s\r\nMax-Forwards:" % value)


def code(r, want, what):
    if r.code != want:
        raise proc.Failed("%s: %s, not %d" % (what, r.first, want))


@tap.on(two)
def test_what_did_not_come_over_the_peers_own_tls_is_refused(s):
    """Rightly signed by a, and over the wrong channel."""
    phones(s)
    keys = Keys(s)
    if keys.signalling != "tls":
        raise proc.Failed("the session says %s" % keys.signalling)
    with tls.Client(s.a.node, s.b.overlay_address, directory=s.a.tls_dir) as a:
        good = a.ask(keys.message(s, a.via))
        if good.code == 403:
            raise proc.Failed("what came rightly is refused: " + good.first)
    middle = world.WORK + "/middle"
    tls.issue(middle, tls.new_identity("other"), "root")
    with tls.Client(s.a.node, s.b.overlay_address, directory=middle) as m:
        code(m.ask(keys.message(s, m.via)), 403, "over TLS with another peer's certificate")
    one_line(s.b, "refused (403)", keys.hit, "it came over TLS with the certificate of 2001:2")
    with sipc.Udp(s.a.node, 5099, s.a.node.addr4["ua"]) as udp:
        code(udp.ask(keys.message(s, udp.via), s.b.address), 403, "over UDP")
    if stat(s.b, "wrong_channel") != 2 or stat(s.b, "denied") != 2:
        raise proc.Failed("not counted: %r" % s.b.kamailio.rpc("p2p_route.stats"))
    if not any("its session says TLS, and it came over UDP" in x
               for x in logged(s.b, "refused (403)")):
        raise proc.Failed("no line says why: %r" % logged(s.b, "refused (403)"))


def fails(s, directory, what):
    try:
        with tls.Client(s.a.node, s.b.overlay_address, directory=directory) as c:
            c.send(sipc.request("OPTIONS", "sip:" + s.b.address, c.via, "sip:x@" + s.a.address))
            r = c.receive()
    except (ssl.SSLError, OSError):
        return
    raise proc.Failed("%s is spoken to: %s" % (what, r.first))


@tap.on(expired)
def test_certificates_that_are_none_are_refused(s):
    """Expired ones, another overlay's, none at all: where this server connects, and where it is
    connected to."""
    phones(s, answer="auto")
    fails(s, None, "a client without a certificate")
    for name, kw in (("expired", {"valid": (-7200, -3600)}),
                     ("foreign", {"authority": world.WORK + "/foreign"})):
        tls.issue(os.path.join(world.WORK, name), s.a.identity, "root", **kw)
        fails(s, os.path.join(world.WORK, name), "a client with an %s certificate" % name)
    tls.renew(s.b, valid=(-7200, -3600))
    tls.reload(s.b)
    refused(s)
    refused(s, most=1.0)
    one_line(s.a, "nothing is sent over TLS", s.b.gateway.status()["hit"],
             "does not answer there, or a certificate was refused")
    if not logged(s.a, "certificate has expired") and not logged(s.a, "verify"):
        raise proc.Failed("nothing says that it has expired")
    if stat(s.b, "from_peer"):
        raise proc.Failed("the call has got to b")
    s.quiet()


class Silent:
    """Somebody at b's address who takes connections; with b's certificate, and says no more."""

    def __init__(self, p, certificate):
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(p.tls_dir + "/sip-cert.pem", p.tls_dir + "/sip-key.pem")
        with p.node.inside():
            self.s = socket.create_server((p.overlay_address, tls.PORT))
        self.taken, self.read = [], b""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                c = self.s.accept()[0]
                self.taken.append(c)
                if self.context:
                    c.settimeout(5)
                    c = self.context.wrap_socket(c, server_side=True)
                    self.taken.append(c)
                    self.read += c.recv(65536)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.shutdown(socket.SHUT_RDWR)
        for c in self.taken + [self.s]:
            c.close()
        self.thread.join(5)


@tap.on(silent)
def test_who_is_silent_is_sent_nothing(s):
    """No connection; one, and no TLS; TLS, and no answer."""
    phones(s, answer="auto")
    s.b.kamailio.stop()
    refused(s)
    for certificate in (False, True):
        proc.wait_for("b may be tried again",
                      lambda: not proven(s.a).get("retry_in_ms") and
                      not int(s.a.kamailio.rpc("p2p_route.peer", s.b.gateway.status()["hit"])
                              ["retry_in_ms"]), 5)
        with Silent(s.b, certificate) as b:
            refused(s)
            refused(s, most=1.0)
            if len(b.taken) < 1 + certificate:
                raise proc.Failed("a has not come")
            if certificate and (not b.read.startswith(b"OPTIONS") or b"INVITE" in b.read):
                raise proc.Failed("it was sent %r" % b.read)
    if proven(s.a)["held"]:
        raise proc.Failed("something is held still: %r" % proven(s.a))
    s.b.kamailio.start()
    s.b.kamailio.ready()


# --- phones beside it -----------------------------------------------------------------------------

@tap.on(with_phones)
def test_phones_on_tls_need_no_certificate_of_theirs(s):
    alice = s.phone("alice", s.a, seed=1)
    desk = s.node("desk")
    with tls.Client(desk, s.b.address, tls.PHONE_PORT) as phone:
        contact = "<sip:desk@%s;transport=tls>" % phone.via.split()[1]
        code(phone.ask(sipc.request("REGISTER", "sip:" + s.b.address, phone.via,
                                    "sip:desk@" + s.b.address, "sip:desk@" + s.b.address,
                                    ["Contact: %s;expires=600" % contact])), 200, "REGISTER")
        s.found("desk", s.a)
        with sipc.Udp(alice.node, 5070, alice.address) as udp:
            text = sipc.request("MESSAGE", "sip:desk@" + s.a.address, udp.via,
                                "sip:alice@" + s.a.address, body="good day")
            udp.send(text, s.a.address)
            got = phone.receive()
            if got.method != "MESSAGE" or got.body != "good day":
                raise proc.Failed("the phone got " + got.first)
            phone.send(sipc.reply(got, 200, "OK"))
            while True:
                r = udp.receive()
                if r is None or r.code >= 200:
                    break
            if r is None or r.code != 200:
                raise proc.Failed("alice got %s" % (r and r.first))
    fails(s, None, "a client without a certificate")


if __name__ == "__main__":
    tap.main(globals())
