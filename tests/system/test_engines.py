#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Overlays on Redis instead of the embedded engine, and the way from one to the other: with real
servers, which are also stopped, killed, and come back empty."""

from rig import overlay, proc, redis, sipc, tap

def on_redis():
    redis.wanted()
    s = overlay.Overlay(3, start=False, prepare=prepare, backend="redis")
    s.redis = redis.Redis(s.node("redis", s.ovl)).start()
    for p in s.peers:
        redis.use(p, "redis", s.redis)
        p.start()
    s.joined()
    return s


def embedded():
    """On OpenDHT, and a Redis is there."""
    redis.wanted()
    s = overlay.Overlay(2, start=False, prepare=prepare)
    s.redis = redis.Redis(s.node("redis", s.ovl)).start()
    for p in s.peers:
        p.start()
    s.joined()
    return s


def prepare(p):
    p.gateway.settings["dht"]["reput_interval_s"] = 10
    p.gateway.settings.setdefault("redis", {})


def pair(s):
    s.bob = s.phone("bob", s.b, seed=2, answer="auto")
    s.alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)


def call(s):
    s.alice.dial("sip:bob@%s" % s.a.address)
    s.alice.wait("CALL_ESTABLISHED")
    s.alice.hangup()
    s.alice.wait("CALL_CLOSED")
    s.bob.wait("CALL_CLOSED")


def code(s, at, user):
    with sipc.Udp(s.host(), 5070 + len(user)) as u:
        return u.ask(sipc.request("OPTIONS", "sip:%s@%s" % (user, at.address), u.via,
                                  "sip:x@" + at.address), at.address).code


@tap.on(on_redis)
def test_a_call_and_a_user_who_leaves(s):
    pair(s)
    call(s)
    if code(s, s.c, "nobody") != 404:
        raise proc.Failed("nobody is not 404")
    s.drop(s.bob)
    proc.wait_for("bob is gone at c", lambda: code(s, s.c, "bob") == 404, 3, 0.05)
    s.quiet()


@tap.on(on_redis)
def test_without_redis_users_are_found_and_absent_all_the_same(s):
    pair(s)
    call(s)
    s.redis.proc.kill()
    proc.wait_for("a has noticed", lambda: s.a.gateway.status()["dht_state"] == "disconnected", 5)
    why = s.a.gateway.status()["dht_why"]
    if s.redis.setting() not in why:
        raise proc.Failed("dht_why is %r" % why)
    call(s)
    # those who hold users' records know, whatever the engine does
    for user, want in (("bob", 200), ("nobody", 404)):
        got = code(s, s.c, user)
        if got != want:
            raise proc.Failed("without Redis %s is %d, not %d" % (user, got, want))
    # it comes back with nothing: everybody is put again
    s.redis.start()
    s.joined()
    proc.wait_for("c finds bob again", lambda: code(s, s.c, "bob") == 200, 20, 0.2)
    if code(s, s.c, "nobody") != 404:
        raise proc.Failed("nobody is not 404")


@tap.on(embedded)
@tap.limit(120)
def test_the_engine_is_changed_with_no_call_lost(s):
    pair(s)
    call(s)
    for backend in ("opendht redis", "redis"):
        for p in (s.a, s.b):
            p.gateway.stop()
            redis.use(p, backend, s.redis)
            p.gateway.start()
            s.joined()
            proc.wait_for("%s has put its users" % p.name,
                          lambda q=p: q.kamailio.rpc("p2p_usrloc.status")["gateway"] ==
                          "connected" and q.gateway.unpublished() == 0, 15)
            # neither from the cache of Kamailio nor from that of the gateway
            s.a.kamailio.rpc("p2p_usrloc.cache_flush")
            call(s)
            if not s.a.gateway.lookup("bob"):
                raise proc.Failed("with %s at %s a does not find bob" % (backend, p.name))
    if s.a.gateway.status()["dht_backend"] != "redis":
        raise proc.Failed("a is not on Redis")


if __name__ == "__main__":
    tap.main(globals())
