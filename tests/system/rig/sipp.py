# SPDX-License-Identifier: GPL-2.0-or-later
"""sipp, for what a phone with a user cannot be told to do, and for many calls at once.

A scenario is a list of steps made with the functions below; xml() turns it into sipp's format.
"""

import itertools
import os
import re

from . import proc, world

_numbers = itertools.count(1)

SDP = """v=0
o=sipp 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a={direction}
"""


def sdp(direction="sendrecv"):
    return SDP.format(direction=direction)


def _message(first, headers, body):
    text = first + "\n" + "\n".join(headers)
    if body:
        text += "\nContent-Type: application/sdp\nContent-Length: [len]\n\n" + body
    else:
        text += "\nContent-Length: 0\n\n"
    return "<![CDATA[\n%s\n]]>" % text


def send(text, **attributes):
    attrs = "".join(' %s="%s"' % kv for kv in attributes.items())
    return "<send%s>\n%s\n</send>" % (attrs, text)


def recv(request=None, response=None, optional=False, timeout=15000, actions="", **attributes):
    what = ' request="%s"' % request if request else ' response="%d"' % response
    if optional:
        what += ' optional="true"'
    elif timeout:
        what += ' timeout="%d"' % timeout
    what += "".join(' %s="%s"' % kv for kv in attributes.items())
    return "<recv%s>%s</recv>" % (what, "<action>%s</action>" % actions if actions else "")


def pause(ms):
    return '<pause milliseconds="%d"/>' % ms


# --- the caller's messages ----------------------------------------------------------------------
# INVITE and its CANCEL have one branch; sipp's own [branch-N] counts all steps between them.
INVITE_BRANCH = "z9hG4bK[pid]-[call_number]-i"


def _dialog(method, cseq, to_tag="[peer_tag_param]", uri="[next_url]", routes=True, extra=(),
            body=None, branch="[branch]"):
    headers = ["Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=" + branch]
    if routes:
        headers.append("[routes]")
    headers += ["From: <sip:[field0]@[remote_ip]>;tag=[pid]c[call_number]",
                "To: <sip:[field1]@[remote_ip]>" + to_tag,
                "Call-ID: [call_id]", "CSeq: %d %s" % (cseq, method),
                "Contact: <sip:[field0]@[local_ip]:[local_port];transport=[transport]>",
                "Max-Forwards: 70"] + list(extra)
    return _message("%s %s SIP/2.0" % (method, uri), headers, body)


def request(method, cseq=1, body=None, extra=()):
    """Outside of a dialog: to user field1, from user field0 (of the -inf file)."""
    return send(_dialog(method, cseq, "", "sip:[field1]@[remote_ip]", False, extra, body,
                        INVITE_BRANCH if method == "INVITE" else "[branch]"), retrans=500)


def invite(body=None, extra=()):
    return request("INVITE", 1, sdp() if body is None else body, extra)


def in_dialog(method, cseq, body=None, extra=()):
    return send(_dialog(method, cseq, body=body, extra=extra),
                **({} if method == "ACK" else {"retrans": 500}))


def refused(*codes, cseq=1):
    """An INVITE's final failure and its ACK, in the transaction (same branch)."""
    out = []
    for c in codes:
        out.append(recv(response=c))
        out.append(send(_message("ACK sip:[field1]@[remote_ip] SIP/2.0", [
            "[last_Via:]", "[last_From:]", "[last_To:]", "Call-ID: [call_id]",
            "CSeq: %d ACK" % cseq, "Max-Forwards: 70"], None)))
    return out


def cancel():
    return send(_message("CANCEL sip:[field1]@[remote_ip] SIP/2.0", [
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=" + INVITE_BRANCH,
        "From: <sip:[field0]@[remote_ip]>;tag=[pid]c[call_number]",
        "To: <sip:[field1]@[remote_ip]>", "Call-ID: [call_id]", "CSeq: 1 CANCEL",
        "Max-Forwards: 70"], None))


def register(expires=600, contact="[field0]@[local_ip]:[field1]"):
    """field0: user, field1: the port where a UAS of the same address listens."""
    return [send(_message("REGISTER sip:[remote_ip] SIP/2.0", [
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        "From: <sip:[field0]@[remote_ip]>;tag=[pid]r[call_number]",
        "To: <sip:[field0]@[remote_ip]>", "Call-ID: [call_id]", "CSeq: 1 REGISTER",
        "Contact: <sip:%s>" % contact, "Expires: %d" % expires, "Max-Forwards: 70"], None),
        retrans=500), recv(response=200)]


# --- the callee's -------------------------------------------------------------------------------
def reply(code, reason, body=None, extra=(), tag=True, **attributes):
    """To the last request.  (To one before it sipp cannot: it forgets that one's Via.  What is
    cancelled while it rings is therefore a baresip.)"""
    headers = ["[last_Via:]", "[last_From:]",
               "[last_To:]" + (";tag=[pid]s[call_number]" if tag else ""), "[last_Call-ID:]",
               "[last_CSeq:]", "[last_Record-Route:]",
               "Contact: <sip:[local_ip]:[local_port];transport=[transport]>"] + list(extra)
    return send(_message("SIP/2.0 %d %s" % (code, reason), headers, body), **attributes)


def answer_scenario(ring_ms=20, talk_timeout=600000):
    """Rings, answers, waits for BYE."""
    return [recv(request="INVITE", rrs="true", timeout=0), reply(180, "Ringing"), pause(ring_ms),
            reply(200, "OK", sdp(), retrans=500), recv(request="ACK"),
            recv(request="BYE", timeout=talk_timeout), reply(200, "OK", tag=False)]


def call_scenario(talk_ms=1000):
    """Calls field1, talks, hangs up."""
    return [invite(), recv(response=100, optional=True), recv(response=180, optional=True),
            recv(response=183, optional=True), recv(response=200, rrs="true"),
            in_dialog("ACK", 1), pause(talk_ms), in_dialog("BYE", 2), recv(response=200)]


def busy_scenario(code=486, reason="Busy Here"):
    return [recv(request="INVITE", timeout=0), reply(code, reason), recv(request="ACK")]


def xml(steps):
    return ('<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="rig">\n%s\n'
            '</scenario>\n' % "\n".join(steps))


class Sipp:
    """One sipp.  rows: lines of the -inf file (user;peer's user), one per call in turn."""

    def __init__(self, node, steps, remote=None, rows=(("sipp", "sipp"),), port=5070, calls=1,
                 rate=10, address=None, transport="u1", options=(), limit=None, media_port=None):
        number = next(_numbers)
        self.dir = os.path.join(world.WORK, "sipp.%d" % number)
        os.makedirs(self.dir)
        with open(self.dir + "/scenario.xml", "w", encoding="ascii") as f:
            f.write(xml(steps))
        with open(self.dir + "/rows.csv", "w", encoding="ascii") as f:
            f.write("SEQUENTIAL\n")
            f.writelines(";".join(map(str, r)) + "\n" for r in rows)
        addr = address or next(iter(node.addr4.values()))
        argv = ["sipp", "-sf", self.dir + "/scenario.xml", "-inf", self.dir + "/rows.csv",
                "-i", addr, "-mi", addr, "-p", str(port), "-m", str(calls), "-r", str(rate),
                "-t", transport, "-nostdin", "-cid_str", "%%u-%d-%%p@%%s" % number,
                "-trace_err", "-error_file", self.dir + "/errors.log",
                "-trace_msg", "-message_file", self.dir + "/messages.log",
                "-trace_stat", "-stf", self.dir + "/stat.csv", "-fd", "1",
                "-mp", str(media_port or 20000 + 200 * (number % 100))]
        if limit:
            argv += ["-l", str(limit)]
        argv += list(options)
        if remote:
            argv.append(remote)
        self.proc = proc.Proc("sipp.%d" % number, argv, node, cwd=self.dir)
        self.proc.expected = True

    def finish(self, timeout=30):
        """Waits for its end; raises Failed, with what it saw, if a call did not go as written."""
        proc.wait_for("%s ends" % self.proc.name, lambda: not self.proc.running(), timeout, 0.05)
        code = self.proc.p.returncode
        if code != 0:
            raise proc.Failed("sipp: a call went another way than the scenario (exit code %d)\n%s"
                              % (code, self.errors()))

    def errors(self):
        try:
            with open(self.dir + "/errors.log", encoding="utf-8", errors="replace") as f:
                return f.read()[-1500:]
        except OSError:
            return self.proc.tail()

    def messages(self):
        """[(seconds, 'sent' | 'received', first line, text)] of what went over the wire."""
        try:
            with open(self.dir + "/messages.log", encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            return []
        out = []
        for m in re.finditer(r"-{20,} (\S+ \S+)\n\w+ message (sent|received) .*?\n\n(.*?)"
                             r"(?=\n-{20,} |\Z)", text, re.S):
            clock = m.group(1).split()[-1]
            h, mi, s = clock.split(":")
            body = m.group(3)
            out.append((int(h) * 3600 + int(mi) * 60 + float(s), m.group(2),
                        body.split("\n", 1)[0].strip(), body))
        return out

    def stat(self):
        """The last line of the statistics, by column."""
        try:
            with open(self.dir + "/stat.csv", encoding="ascii", errors="replace") as f:
                lines = f.read().splitlines()
        except OSError:
            return {}
        if len(lines) < 2:
            return {}
        return dict(zip(lines[0].split(";"), lines[-1].split(";")))

    def successful(self):
        return int(self.stat().get("SuccessfulCall(C)") or 0)

    def current(self):
        return int(self.stat().get("CurrentCall") or 0)

    def stop(self):
        if self.proc.running():
            self.proc.kill()


def register_many(node, remote, users, port=5069, contact_port=5070, expires=600, rate=100,
                  address=None):
    """Registers users, all with a contact at this node's contact_port."""
    s = Sipp(node, register(expires), remote, [(u, contact_port) for u in users], port,
             len(users), rate, address)
    s.finish(30 + len(users) / rate * 2)
