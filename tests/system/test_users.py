#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Users of an overlay with an authority: enrolled at one peer, with their password they are
authenticated at each peer that may serve them, and nowhere else."""

from rig import enrolled, proc, tap
from rig.enrolled import add, auth, ctl, ha1s, hit, passwd


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
    refused = ctl(s.a, "user", "passwd", "erin", "--ha1", stdin=want["MD5"] + "\n", fails=True)
    if "each of the overlay's digests" not in refused:
        raise proc.Failed("one digest of two is taken: " + refused)


if __name__ == "__main__":
    tap.main(globals())
