#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is not there: 404 only from a search that was completed or from the serving peer, 480
where it is not known, and how fast a user who leaves is gone everywhere."""

import time

from rig import overlay, proc, sipc, sipp, tap


def three():
    return overlay.Overlay(3)


def ask(s, at, user, *codes, method="INVITE"):
    """One request to a user through a peer; returns (ms to the final reply, its text)."""
    steps = [sipp.request(method, body=sipp.sdp() if method == "INVITE" else None),
             sipp.recv(response=100, optional=True)]
    steps += sipp.refused(*codes) if method == "INVITE" else [sipp.recv(response=codes[0])]
    uac = sipp.Sipp(s.host(), steps, at.address, [("alice", user)])
    uac.finish()
    m = uac.messages()
    final = next(x for x in m if x[1] == "received" and not x[2].startswith("SIP/2.0 1"))
    return (final[0] - m[0][0]) * 1000, final[3]


@tap.on(three)
def test_unknown_user_is_404(s):
    for p in s.peers:
        ms, _ = ask(s, p, "nobody", 404)
        tap.say("404 from %s after %.0f ms" % (p.name, ms))
    s.quiet()


@tap.on(three)
def test_unknown_user_is_404_for_other_methods(s):
    ask(s, s.c, "nobody", 404, method="MESSAGE")
    ask(s, s.c, "nobody", 404, method="OPTIONS")


@tap.on(three)
def test_deregistered_user_is_404_everywhere_within_5s(s):
    bob = s.phone("bob", s.b)
    for p in (s.a, s.c):
        s.found("bob", p)
    bob.account_remove()
    proc.wait_for("bob is gone from usrloc", lambda: "bob" not in str(s.b.kamailio.contacts()), 5)
    gone = time.monotonic()
    gone_by(s, "bob", gone, (s.a, s.c))


def gone_by(s, user, since, peers, within=5.0):
    """Asks until each peer says 404; nothing but 404, or 480 on the way, is taken."""
    for p in peers:
        while True:
            with sipc.Udp(s.host(), 5092) as udp:
                uri = "sip:%s@%s" % (user, p.address)
                r = udp.ask(sipc.request("OPTIONS", uri, udp.via, "sip:alice@" + p.address),
                            p.address)
            if r.code == 404:
                break
            if r.code != 480 or time.monotonic() - since > within:
                raise proc.Failed("%d from %s after %.1f s" %
                                  (r.code, p.name, time.monotonic() - since))
        took = time.monotonic() - since
        tap.say("404 from %s after %.2f s" % (p.name, took))
        if took > within:
            raise proc.Failed("404 from %s only after %.1f s" % (p.name, took))


@tap.on(three)
@tap.limit(120)
def test_expired_user_is_404_everywhere_within_5s(s):
    s.b.kamailio.rpc("cfg.seti", "registrar", "min_expires", 1)     # a minute is the default
    sipp.register_many(s.host("callee"), s.b.address, ["brief"], expires=3)
    for p in (s.a, s.c):
        s.found("brief", p)
    proc.wait_for("usrloc says that brief expired",
                  lambda: "brief" not in str(s.b.kamailio.contacts()), 90, 0.1)
    gone_by(s, "brief", time.monotonic(), (s.a, s.c))


@tap.on(three)
def test_search_that_cannot_be_completed_is_480(s):
    s.c.node.link("ovl", False)
    try:
        ms, text = ask(s, s.c, "faraway", 480)
        tap.say("480 after %.0f ms" % ms)
        if "Retry-After:" not in text:
            raise proc.Failed("no Retry-After in:\n" + text)
    finally:
        s.c.node.link("ovl", True)
    s.joined(30)


@tap.on(three)
def test_moved_user_is_found_at_the_new_peer(s):
    bob = s.phone("bob", s.a, node="bob1")
    s.found("bob", s.c)
    s.drop(bob)
    s.phone("bob", s.b, node="bob2", answer="auto")

    def at_b():
        found = s.c.gateway.lookup("bob")
        return found and s.b.node.addr4["ovl"] in str(found) and \
            s.a.node.addr4["ovl"] not in str(found)
    proc.wait_for("c finds bob at b only", at_b, 5)
    uac = sipp.Sipp(s.host(), sipp.call_scenario(300), s.c.address, [("alice", "bob")])
    uac.finish()
    s.quiet()


if __name__ == "__main__":
    tap.main(globals())
