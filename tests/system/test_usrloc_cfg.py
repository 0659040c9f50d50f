#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""p2p_usrloc's configurations: contacts of a database, domains, tables, what is refused; and that its
manual names everything."""

import os
import re
import subprocess

from rig import proc, tap, world
from rig.solo import Solo, need, solo


def database(s):
    """Has s use a text database; returns its directory."""
    db = os.path.join(s.kam.dir, "db")
    subprocess.run(["cp", "-r", "/usr/share/kamailio/dbtext/kamailio", db], check=True)
    with open(os.path.join(db, "version"), "r+", encoding="ascii") as f:
        text = f.read()
        f.write(re.search(r"^\d+:location:\d+$", text, re.M).group(0)
                .replace("location", "other") + "\n")
    subprocess.run(["cp", os.path.join(db, "location"), os.path.join(db, "other")], check=True)
    subprocess.run(["chown", "-R", s.kam.user, db], check=True)
    s.write(core=s.core, first='loadmodule "db_text.so"',
            more='modparam("usrloc", "db_mode", 1)\n'
                 'modparam("usrloc", "db_url", "text://%s")\n'
                 'modparam("db_text", "db_mode", 1)\n' % db)
    return db


@tap.on(lambda: Solo(start=False))
def test_contacts_of_the_database_are_published(s):
    database(s)
    s.kam.start()
    s.in_step()
    s.sip.many("db%d" % i for i in range(20))
    s.published("db19")
    s.kam.proc.stop()
    s.gw.forget()
    s.kam.start()
    proc.wait_for("20 users of the database published", lambda: len(s.gw.users) == 20)
    proc.wait_for("SYNCED with 20", lambda: s.gw.synced and s.gw.synced[-1][1] == 20)


@tap.on(lambda: Solo(core="server_id=7", start=False))
def test_contacts_of_other_servers_are_left_to_them(s):
    db = database(s)
    s.kam.start()
    s.in_step()
    s.sip.register("mine")
    s.sip.register("theirs")
    s.published("mine", "theirs")
    s.kam.proc.stop()
    path = os.path.join(db, "location")
    with open(path, encoding="ascii") as f:
        rows = f.read().split("\n")
    column = [c.split("(")[0] for c in rows[0].split()].index("server_id")
    for i, row in enumerate(rows):
        if ":theirs:" in row:
            cells = re.split(r"(?<!\\):", row)
            need(cells[column] == "7", row)
            cells[column] = "8"
            rows[i] = ":".join(cells)
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(rows))
    s.gw.forget()
    s.kam.start()
    s.in_step()
    need(list(s.gw.users) == ["mine"], s.gw.users)
    s.sip.register("theirs")        # now it is registered here
    s.published("theirs")


@tap.on(lambda: Solo(core='alias="one.example"\nalias="two.example"',
                     more='modparam("usrloc", "use_domain", 1)\n'
                          'modparam("p2p_usrloc", "name_format", "user@domain")'))
def test_names_with_domain(s):
    s.sip.register("ivy", domain="one.example")
    s.sip.register("Ivy", domain="TWO.example")
    s.published("ivy@one.example", "ivy@two.example")
    s.sip.register("ivy", domain="one.example", expires=0)
    s.gone("ivy@one.example")
    need("ivy@two.example" in s.gw.users, "both are gone")


@tap.on(lambda: Solo(start=False))
@tap.limit(90)
def test_configurations_that_are_refused(s):
    def check(want, **parts):
        s.write(**parts)
        r = subprocess.run(["kamailio", "-c", "-f", s.kam.cfg, "-l", "udp:127.0.0.1:5060"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=30, check=False)
        return r.returncode, r.stdout

    def run(want, **parts):
        s.write(**parts)
        s.kam.proc = p = proc.Proc("refused", s.kam.argv(), None, s.kam.user, cwd=s.kam.dir)
        p.expected = True
        proc.wait_for("Kamailio ends", lambda: not p.running())
        need(p.p.returncode != 0, "accepted: %s" % parts)
        need(want in p.text(), "no word of \"%s\":\n%s" % (want, p.tail(5)))

    s.gw.stop()
    code, text = check("")
    need(code == 0, text)
    domains = 'alias="one.example"\nalias="two.example"'
    run("several local domains", core=domains)
    run("use_domain", more='modparam("p2p_usrloc", "name_format", "user@domain")')
    run("name_format", more='modparam("p2p_usrloc", "name_format", "name")')
    run("cache_size", more='modparam("p2p_usrloc", "cache_size", 5)')
    run("db_mode 3", first='loadmodule "db_text.so"',
        more='modparam("usrloc", "db_mode", 3)\n'
             'modparam("usrloc", "db_url", "text:///usr/share/kamailio/dbtext/kamailio")')
    run("gateway_socket", more='modparam("p2p_usrloc", "gateway_socket", "relative.sock")')
    s.write(core=domains, more='modparam("p2p_usrloc", "name_format", "user")')
    s.kam.start()
    # a SIGTERM that comes before all its processes run is lost on some (Kamailio 5.6)
    proc.wait_for("Kamailio has started as a whole", lambda: s.stats()["scans"] > 0)


@tap.on(lambda: Solo(more='modparam("registrar", "case_sensitive", 1)\n'
                          'modparam("p2p_usrloc", "tables", "location, third")'))
def test_case_and_tables_as_configured(s):
    s.sip.register("Kim", headers=["X-Table: other"])
    s.sip.register("Lee")
    s.published("Lee")
    need(list(s.gw.users) == ["Lee"], s.gw.users)
    need(s.status()["users"] == 1, s.status())


def default(module, param):
    """Of a parameter, which the source and the manual have to agree about."""
    with open(os.path.join(world.SOURCE, "docs/modules/%s.md" % module), encoding="utf-8") as f:
        told = re.search(r"^\| `%s` \|[^|]*\|[^|]*\| (\w+) \|" % param, f.read(), re.M).group(1)
    sources = os.path.join(world.SOURCE, "modules", module)
    text = ""
    for name in os.listdir(sources):
        with open(os.path.join(sources, name), encoding="utf-8") as f:
            text += f.read()
    is_ = re.search(r"^\t\.%s = (\w+)," % param, text, re.M).group(1)
    need(told == is_, "%s: %s is %s, the manual says %s" % (module, param, is_, told))
    return is_


@tap.on(solo)
def test_manual_names_everything_there_is(s):
    with open(os.path.join(world.SOURCE, "docs/modules/p2p_usrloc.md"), encoding="utf-8") as f:
        manual = f.read()
    with open(os.path.join(world.SOURCE, "modules/p2p_usrloc/p2p_usrloc_settings.c"),
              encoding="utf-8") as f:
        params = re.findall(r'{"(\w+)", PARAM_', f.read())
    need(len(params) > 10, params)
    counters = re.findall(r"^\t(\w+): ", s.text("p2p_usrloc.stats"), re.M)
    commands = [c for c in s.text("system.listMethods").split() if c.startswith("p2p_usrloc.")]
    need(len(counters) > 20 and len(commands) == 10, "%s %s" % (counters, commands))
    missing = [w for w in params + counters + commands if "`%s" % w not in manual]
    need(not missing, "not in the manual: %s" % missing)
    # each suspended request asks: neither limit is to make the other one useless
    limits = [default("p2p_usrloc", "question_max"), default("p2p_registrar", "lookups_max")]
    need(limits[0] == limits[1], limits)
    for c in commands:
        need("ocumentation" not in s.text("system.methodHelp", c), c)
    group = s.text("stats.get_statistics", "p2p_usrloc:")
    need("gateway_up = 1" in group, group)


if __name__ == "__main__":
    tap.main(globals())
