#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every shipped configuration file is loaded; the Debian package's own kamailio.cfg with the
include works as before and over the overlay too; bad settings are refused with file, line and
reason."""

import glob
import os
import shutil
import subprocess

from rig import debian, overlay, pcap, proc, scene, sipp, tap, world

DEFINES = ([], ["WITH_AUTH"], ["WITH_ACC"], ["WITH_DIALOG"], ["WITHOUT_NAT"], ["WITH_P2P_MEDIA"],
           ["WITH_P2P_AUTH"], ["WITH_P2P_AUTH", "WITH_ACC", "WITH_DIALOG", "WITHOUT_NAT"],
           ["WITH_AUTH", "WITH_ACC", "WITH_DIALOG", "WITH_P2P_MEDIA"],
           ["WITH_P2P_MEDIA", "WITH_P2P_TLS"],
           ["WITH_P2P_MEDIA", 'P2P_ANCHOR="nat"', "P2P_LOOKUP_WORKERS=4",
            'P2P_NAME_FORMAT="user@domain"', 'P2P_DOMAIN="sip.example"'])


def command(*argv, **kw):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=30,
                          check=False, **kw)


def check_cfg(path, defines=()):
    argv = ["kamailio", "-c", "-f", path, "-L", overlay.module_path(), "-E", "-w", world.WORK,
            "-Y", world.WORK, "-l", "udp:127.0.0.1:5060"]    # whatever this host is called
    for d in defines:
        argv += ["-A", d]
    r = command(*argv)
    if r.returncode:
        raise proc.Failed("kamailio -c %s %s:\n%s" % (path, " ".join(defines), r.stdout[-2500:]))


def test_kamailio_cfg_is_accepted_with_no_daemon_running():
    for defines in DEFINES:
        check_cfg(overlay.CFG, defines)


def test_debians_cfg_with_the_include_is_accepted():
    path = debian.write("debian.cfg", debian.with_overlay())
    ctl = ['CTLSOCK="unix:%s/ctl"' % world.WORK]
    for defines in ([], ["WITH_P2P_MEDIA"], ["WITH_NAT", "WITH_RTPENGINE"], ["WITH_P2P_TLS"],
                    ["WITH_TLS", "WITH_P2P_TLS"]):
        check_cfg(path, ctl + defines)


def daemon_files():
    """(program, shipped settings file)"""
    out = []
    for kind, program in (("gateway", "dht-gateway/p2psip-gateway"),
                          ("relay", "relay/p2psip-relay")):
        found = [f for f in glob.glob(world.SOURCE + "/cfg/*" + kind + "*.conf")]
        if not found:
            raise proc.Failed("no settings file for the %s in cfg/" % kind)
        out += [(os.path.join(world.BUILD, program), f) for f in found]
    return out


def test_shipped_settings_files_are_accepted():
    for program, path in daemon_files():
        r = command(program, "--config", path, "--check-config")
        if r.returncode:
            raise proc.Failed("%s: %s" % (path, r.stdout))


BAD = [
    ("an unknown key", lambda t: t + "\n[log]\nno_such_key = 1\n"),
    ("an unknown section", lambda t: t + "\n[nosuch]\nkey = 1\n"),
    ("no section", lambda t: "orphan = 1\n" + t),
    ("no value", lambda t: t + "\n[log]\nlevel\n"),
]
BAD_NUMBERS = {"gateway": ("limits", "users_max"), "relay": ("sweep", "lease_s")}


def test_bad_settings_are_refused_with_file_line_and_reason():
    for program, path in daemon_files():
        kind = "gateway" if "gateway" in program else "relay"
        section, key = BAD_NUMBERS[kind]
        cases = BAD + [("%s = %s" % (key, v),
                        lambda t, v=v: t + "\n[%s]\n%s = %s\n" % (section, key, v))
                       for v in ("-1", "many", "10s", "0x10", "99999999999999999999", "")]
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for what, change in cases:
            bad = debian.write("bad.conf", change(text))
            r = command(program, "--config", bad, "--check-config")
            if r.returncode == 0:
                raise proc.Failed("%s accepts %s" % (kind, what))
            if r.returncode < 0:
                raise proc.Failed("%s dies of %s" % (kind, what))
            line = r.stdout.strip().splitlines()[-1] if r.stdout.strip() else ""
            if not any("bad.conf:%d" % n in line for n in range(1, 500)) or len(line) < 20:
                raise proc.Failed("%s, %s: no file, line and reason in: %s" %
                                  (kind, what, r.stdout))


def test_missing_settings_file_is_refused():
    for program, _ in daemon_files():
        r = command(program, "--config", "/nonexistent/x.conf", "--check-config")
        if r.returncode <= 0 or "/nonexistent/x.conf" not in r.stdout:
            raise proc.Failed("%s: %d %s" % (program, r.returncode, r.stdout))


def test_systemd_units_are_valid():
    if not shutil.which("systemd-analyze"):
        raise tap.Skip("no systemd-analyze on this machine")
    for unit in ("p2psip-gateway", "p2psip-relay"):
        program = {"p2psip-gateway": "dht-gateway", "p2psip-relay": "relay"}[unit]
        with open("%s/cfg/%s.service.in" % (world.SOURCE, unit), encoding="utf-8") as f:
            text = f.read().replace("@sbindir@", os.path.join(world.BUILD, program))
        path = debian.write(unit + ".service", text)
        r = command("systemd-analyze", "verify", "--man=no", path)
        bad = [x for x in r.stdout.splitlines() if unit in x]
        if r.returncode and bad or any("Unknown" in x for x in bad):
            raise proc.Failed(r.stdout)


def test_users_and_folders_are_made_as_described():
    if not shutil.which("systemd-sysusers"):
        raise tap.Skip("no systemd-sysusers on this machine")
    root = world.WORK + "/sysroot"
    os.makedirs(root + "/etc")
    r = command("systemd-sysusers", "--root=" + root, world.SOURCE + "/cfg/sysusers.conf")
    if r.returncode:
        raise proc.Failed(r.stdout)
    with open(root + "/etc/passwd", encoding="utf-8") as f:
        users = f.read()
    for u in ("p2psip-gateway:", "p2psip-relay:"):
        if u not in users:
            raise proc.Failed("no user %s in:\n%s" % (u, users))
    r = command("systemd-tmpfiles", "--root=" + root, "--create",
                world.SOURCE + "/cfg/tmpfiles.conf")
    if not os.path.isdir(root + "/var/lib/p2psip-kamailio"):
        raise proc.Failed("no /var/lib/p2psip-kamailio: " + r.stdout)
    if not os.path.isdir(root + "/run/p2psip"):
        raise proc.Failed("no /run/p2psip: " + r.stdout)


def debian_peers():
    path = debian.write("debian.cfg", debian.with_overlay())
    return overlay.Overlay(2, cfg=path)


@tap.on(debian_peers)
def test_debians_cfg_calls_over_the_overlay(s):
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    capture = pcap.Capture(s.a.node)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 2)
    capture.stop()
    scene.heard(alice, bob, 2)
    scene.heard(bob, alice, 2)
    s.quiet()


@tap.on(debian_peers)
def test_debians_cfg_calls_at_home_and_returns_codes_as_before(s):
    callee = s.host("callee")
    sipp.register_many(callee, s.a.address, ["home"])
    uas = sipp.Sipp(callee, sipp.answer_scenario())
    uac = sipp.Sipp(s.host(), sipp.call_scenario(300), s.a.address, [("alice", "home")])
    uac.finish()
    uas.finish()
    for method, user, code in (("INVITE", "nobody", 404), ("MESSAGE", "nobody", 404)):
        steps = [sipp.request(method, body=sipp.sdp() if method == "INVITE" else None),
                 sipp.recv(response=100, optional=True)]
        steps += sipp.refused(code) if method == "INVITE" else [sipp.recv(response=code)]
        sipp.Sipp(s.host(), steps, s.a.address, [("alice", user)]).finish()
    s.quiet()


def rtpengine_beside():
    """Debian's NAT handling with its rtpengine module, on the rtpengine that the relay uses."""
    path = debian.write("debian-nat.cfg", debian.with_overlay())
    return overlay.Overlay(2, cfg=path, prepare=lambda p: p.kamailio.defines.extend(
        ["WITH_NAT", "WITH_RTPENGINE"]))


@tap.on(rtpengine_beside)
def test_debians_cfg_with_its_own_nat_handling_and_rtpengine(s):
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 2)
    scene.heard(alice, bob, 2)
    scene.heard(bob, alice, 2)
    s.quiet()


def all_behind_nat():
    """The same, and every phone is taken for one behind NAT: the rtpengine module has its media,
    and p2p_media leaves it alone."""
    text = debian.with_overlay()
    test = 'if (nat_uac_test("19")) {'
    if text.count(test) != 1:
        raise tap.Skip("%s was changed by hand" % debian.ORIGINAL)
    path = debian.write("debian-allnat.cfg", text.replace(
        test, 'if (nat_uac_test("19") || $si =~ "^192") {'))
    return overlay.Overlay(2, cfg=path, prepare=lambda p: p.kamailio.defines.extend(
        ["WITH_NAT", "WITH_RTPENGINE"]))


@tap.on(all_behind_nat)
def test_debians_cfg_with_phones_behind_nat_and_rtpengine(s):
    bob = s.phone("bob", s.b, seed=2)
    alice = s.phone("alice", s.a, seed=1)
    s.found("bob", s.a)
    scene.talk(alice, bob, "sip:bob@%s" % s.a.address, 2)
    scene.heard(alice, bob, 2)
    scene.heard(bob, alice, 2)
    s.quiet()


if __name__ == "__main__":
    tap.main(globals())
