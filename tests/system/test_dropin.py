#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The registrar's functions and those that take their place, side by side: the same requests to
two Kamailios with the same script, one with the stock functions and one with ours. Return code,
reply and effect must be the same. Then, what ours know besides: users of other peers."""

import re

from rig import overlay, proc, sipc, sipp, tap

CFG = overlay.world.SOURCE + "/tests/system/dropin.cfg"
HOME = "sip.example"


def side_by_side():
    """a: the stock functions. b: ours. c: an ordinary peer, for users elsewhere."""
    def prepare(p):
        if p.name in "ab":
            p.kamailio.cfg = CFG
        if p.name == "b":
            p.kamailio.defines.append("WITH_P2P")
    return overlay.Overlay(3, prepare=prepare)


def same(text):
    """Without what is different in each run: instance ids made from the process and the time."""
    return re.sub(r"(gr|ruid)=[^;>\s,]*", r"\1=*", re.sub(r"uloc-[0-9a-f-]+", "uloc-*", text))


def do(udp, at, what, method="OPTIONS", user="bob", uri=None, extra=(), callid=None, cseq=1):
    """(reply's code, its Contacts, return code, effect)"""
    aor = "sip:%s@%s" % (user, HOME)
    extra = ["X-Do: " + what, "X-Uri: " + (uri or aor), *extra]
    r = udp.ask(sipc.request(method, "sip:" + HOME if method == "REGISTER" else aor, udp.via,
                             "sip:alice@" + HOME, aor, extra, callid=callid, cseq=cseq),
                at.address)
    last = udp.ask(sipc.request("OPTIONS", aor, udp.via, "sip:alice@" + HOME,
                                extra=["X-Do: last"]), at.address)
    return (r.code, [same(x) for x in r.all("Contact")], last.get("X-Code"),
            same(last.get("X-Effect")), r)


def contacts(p):
    return {k: sorted(v) for k, v in p.kamailio.contacts().items()}


class Pair:
    """Does the same at both, and demands the same of both."""

    def __init__(self, s):
        self.s = s
        self.udp = sipc.Udp(s.host(), 5090)
        self.codes = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.udp.s.close()

    def __call__(self, what, *args, code=None, **kw):
        stock = do(self.udp, self.s.a, what, *args, **kw)[:4]
        ours = do(self.udp, self.s.b, what, *args, **kw)[:4]
        if "none" in stock:
            raise proc.Failed("%s: the script noted no return code" % what)
        if stock != ours:
            raise proc.Failed("%s %r:\n stock %r\n ours  %r" % (what, kw, stock, ours))
        if code is not None and stock[2] != str(code):
            raise proc.Failed("%s %r: both return %s, %s expected: %r" % (what, kw, stock[2], code,
                                                                         stock))
        there = [contacts(p) for p in (self.s.a, self.s.b)]
        if there[0] != there[1]:
            raise proc.Failed("%s %r: contacts\n stock %r\n ours  %r" % (what, kw, *there))
        self.codes.setdefault(what, set()).add(stock[2])
        return stock

    def register(self, user, *uris, what="save", expires=600, **kw):
        extra = ["Contact: " + x for x in uris] + ["Expires: %s" % expires]
        return self(what, method="REGISTER", user=user, extra=extra, **kw)


def contact(n, more=""):
    return "<sip:c%d@192.0.2.250:5%03d>%s" % (n, n, more)


@tap.on(side_by_side)
def test_save_with_each_flag(s):
    with Pair(s) as pair:
        pair.register("bob", contact(1), code=1, callid="one")
        pair.register("bob", contact(1), code=2, callid="one", cseq=2)
        pair.register("bob", contact(2, ";q=0.5"), code=1)
        pair("save", method="REGISTER")          # a query
        pair.register("bob", contact(3), what="save 0", code=1)
        r = pair.register("bob", contact(4), contact(5), code=-2)
        if r[0] != 503:
            raise proc.Failed("too many contacts: %r" % (r,))
        if len(pair.register("bob", contact(6), what="save 4")[1]) != 1:
            raise proc.Failed("0x04 keeps more than one contact")
        r = pair.register("bob", contact(7), what="save 2", code=1)
        if r[0] != 299 or r[1]:
            raise proc.Failed("0x02: %r" % (r,))
        r = pair.register("bob", contact(8), what="save 6")
        if r[0] != 299 or r[1]:
            raise proc.Failed("0x06: %r" % (r,))
        pair.register("bob", contact(9), what="save 1")
        pair.register("bob", contact(10), what="save 18")
        pair.register("brief", contact(11), what="save 8", expires=7)
        pair.register("brief", contact(12), expires=7)
        r = pair.register("bob", contact(13), what="save uri", uri="sip:other@" + HOME, code=1)
        if "other" not in contacts(s.b) or contact(13)[1:-1] not in contacts(s.b)["other"]:
            raise proc.Failed("with a URI: %r" % contacts(s.b))
        pair.register("bob", contact(14), what="save uri", uri="nonsense")
        pair.register("bob", contact(15, ';+sip.instance="<urn:uuid:1>";reg-id=1'),
                      contact(16, ";expires=0"))
        pair.register("bob", contact(17), expires="x")
        pair.register("bob", "<nonsense>")
        pair.register("bob", "*", expires=5)
        pair.register("bob", "*", expires=0)
        pair.register("other", "*", expires=0)
        pair.register("brief", "*", expires=0)
        if contacts(s.b):
            raise proc.Failed("still there: %r" % contacts(s.b))
        tap.say("return codes seen: %r" % pair.codes)
        unpublished(s.b)


def published(p):
    return {u["name"] for u in p.gateway.users() if u["desired"] != "gone"}


def unpublished(p):
    try:
        proc.wait_for("nobody is published", lambda: not published(p), 10)
    except proc.Failed as e:
        raise proc.Failed("%s: %r" % (e, p.gateway.users())) from None


def two_users(pair):
    pair.register("bob", contact(1), callid="bob-1")
    pair.register("bob", contact(2, ";q=0.5"), callid="bob-2")
    pair.register("carol", contact(3), callid="carol-1")


def clear(pair):
    for user in ("bob", "carol"):
        pair.register(user, "*", expires=0)


@tap.on(side_by_side)
def test_registered(s):
    with Pair(s) as pair:
        two_users(pair)
        for user, code in (("bob", 1), ("carol", 1), ("nobody", -1)):
            uri = "sip:%s@%s" % (user, HOME)
            pair("registered", user=user, code=code)
            pair("registered uri", user="x", uri=uri, code=code)
            pair("registered 2", user="x", uri=uri)
            pair("registered 1", user="x", uri=uri, extra=["X-Callid: bob-2"],
                 code=1 if user == "bob" else -1)
            pair("registered 1", user="x", uri=uri, extra=["X-Callid: none"], code=-1)
            pair("registered 0 1", user="x", uri=uri, code=code)
            pair("registered 0 2", user="x", uri=uri, code=code)
        pair("registered uri", uri="nonsense")
        clear(pair)


@tap.on(side_by_side)
def test_lookup_to_dset_and_lookup_branches(s):
    with Pair(s) as pair:
        two_users(pair)
        for user, code in (("bob", 1), ("carol", 1), ("nobody", -1)):
            uri = "sip:%s@%s" % (user, HOME)
            pair("lookup", user=user, code=code)
            pair("to_dset", user=user, code=code)
            for other in ("bob", "carol", "nobody"):
                pair("to_dset uri", user=other, uri=uri, code=code)
                pair("branches", user=other, uri=uri)
            pair("branches alone", user=user)
        pair("to_dset uri", uri="nonsense")
        pair("branches", uri="sip:carol@192.0.2.251")
        clear(pair)


@tap.on(side_by_side)
def test_fetch_contacts(s):
    with Pair(s) as pair:
        two_users(pair)
        r = pair("fetch", code=1)
        if " 2 " not in r[3] or "c1@" not in r[3] or "c2@" not in r[3]:
            raise proc.Failed(r[3])
        pair("fetch", uri="sip:carol@" + HOME, code=1)
        pair("fetch", uri="sip:nobody@" + HOME, code=-1)
        pair("fetch", uri="nonsense")
        clear(pair)


@tap.on(side_by_side)
def test_unregister(s):
    with Pair(s) as pair:
        two_users(pair)
        proc.wait_for("both are published", lambda: published(s.b) == {"bob", "carol"}, 10)
        pair("unregister", uri="sip:nobody@" + HOME)
        pair("unregister", uri="nonsense")
        pair("unregister no ruid", code=-3)
        pair("unregister ruid", code=1)
        if len(contacts(s.b)["bob"]) != 1:
            raise proc.Failed("by ruid: %r" % contacts(s.b))
        pair("unregister ruid only", uri="sip:carol@" + HOME)
        pair("unregister", uri="sip:carol@" + HOME)
        pair("unregister", code=1)
        if contacts(s.b):
            raise proc.Failed("still there: %r" % contacts(s.b))
        unpublished(s.b)


@tap.on(side_by_side)
def test_users_of_other_peers_once_they_are_cached(s):
    """Without a route nothing is waited for. What is not cached is not known (480, never 404), and
    asked about for the next time."""
    sipp.register_many(s.host("callee"), s.c.address, ["dave", "erin", "frank"])
    for user in ("dave", "erin", "frank"):
        s.found(user, s.b)
    way = s.c.overlay_address
    with sipc.Udp(s.host(), 5091) as udp:
        for what, user in (("lookup", "dave"), ("to_dset", "erin"), ("branches", "frank")):
            first = do(udp, s.b, what + " and reply", user=user)
            if first[0] != 480 or first[2] != "-1" or not first[4].get("Retry-After"):
                raise proc.Failed("%s of what is not cached: %r\n%s" % (what, first[:4],
                                                                        first[4].text))

            def cached(what=what if what != "branches" else "branches alone", user=user):
                r = do(udp, s.b, what, user=user)
                return r[2] == "1" and way in r[3] and r
            r = proc.wait_for("%s knows %s" % (what, user), cached, 5, 0.1)
            tap.say("%s: %s" % (what, r[3]))
            if do(udp, s.b, "registered 8", user="x", uri="sip:%s@%s" % (user, HOME))[2] != "1":
                raise proc.Failed("p2p_registered with 8 does not know " + user)
            if do(udp, s.b, "registered uri", user="x", uri="sip:%s@%s" % (user, HOME))[2] != "-1":
                raise proc.Failed("p2p_registered takes %s for one of ours" % user)
        r = do(udp, s.b, "lookup and reply", user="nobody")
        if r[0] != 480 or r[2] != "-1":
            raise proc.Failed("a 404 that nobody searched for: %r" % (r[:4],))
        # both at once: ours are branches beside what is registered here
        do(udp, s.b, "save", "REGISTER", "bob", extra=["Contact: " + contact(1)])
        r = do(udp, s.b, "branches", user="bob", uri="sip:frank@" + HOME)
        if r[2] != "1" or way not in r[3] or "c1@" not in r[3]:
            raise proc.Failed("lookup_branches, a user here and one elsewhere: %r" % (r[:4],))
        s.b.gateway.kill()
        proc.wait_for("b notices that its gateway is gone", lambda: do(
            udp, s.b, "lookup and reply", user="nobody2")[0] == 503, 5, 0.1)


if __name__ == "__main__":
    tap.main(globals())
