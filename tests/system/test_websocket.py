#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Phones on WebSocket: registered at one peer, called from another."""

import os
import threading

from rig import debian, overlay, proc, sipc, sipp, tap, world

MODULES = 'loadmodule "xhttp.so"\nloadmodule "websocket.so"\ntcp_accept_no_cl=yes\n'
EVENT = """
event_route[xhttp:request] {
	set_reply_close();
	set_reply_no_connect();
	if ($hdr(Upgrade) =~ "websocket" && $rm == "GET") {
		ws_handle_handshake();
		exit;
	}
	xhttp_reply("404", "Not Found", "", "");
}
"""


def web_peers():
    """a takes WebSockets on its TCP port besides."""
    if not os.path.exists(world.STOCK_MODULES + "websocket.so"):
        raise tap.Skip("Kamailio's websocket module is not installed")
    with open(overlay.CFG, encoding="utf-8") as f:
        text = f.read()
    text = text.replace('include_file "kamailio-p2psip.cfg"',
                        'include_file "%s/cfg/kamailio-p2psip.cfg"' % world.SOURCE)
    mark = 'modparam("ctl", "binrpc", CTLSOCK)\n'
    if text.count(mark) != 1:
        raise proc.Failed("cfg/kamailio.cfg is not what this test knows")
    path = debian.write("web.cfg", text.replace(mark, MODULES + mark) + EVENT)

    def prepare(p):
        if p.name == "a":
            p.kamailio.cfg = path
    return overlay.Overlay(2, prepare=prepare)


SDP = ("v=0\r\no=- 1 1 IN IP4 192.0.2.240\r\ns=-\r\nc=IN IP4 192.0.2.240\r\nt=0 0\r\n"
       "m=audio 4000 RTP/AVP 0\r\n")


class WebPhone(threading.Thread):
    """Answers one call, and its BYE; got: the methods it saw."""

    def __init__(self, ws, user):
        super().__init__(daemon=True)
        self.ws, self.contact = ws, "Contact: <sip:%s@%s;transport=ws>" % (user, ws.host)
        self.got, self.failed = [], None

    def run(self):
        try:
            while "BYE" not in self.got:
                m = self.ws.receive(20)
                self.got.append(m.method)
                if m.method == "INVITE":
                    self.ws.send(sipc.reply(m, 180, "Ringing", [self.contact]))
                    self.ws.send(sipc.reply(m, 200, "OK", [
                        self.contact, "Content-Type: application/sdp"], SDP))
                elif m.method != "ACK":
                    self.ws.send(sipc.reply(m, 200, "OK"))
        except (OSError, TimeoutError) as e:
            self.failed = e


def register(s, ws, user, expires=600):
    ws.send(sipc.request("REGISTER", "sip:" + s.a.address, ws.via, "sip:%s@%s" %
                         (user, s.a.address), "sip:%s@%s" % (user, s.a.address),
                         ["Contact: <sip:%s@%s;transport=ws>" % (user, ws.host),
                          "Expires: %d" % expires]))
    m = ws.receive()
    if m.code != 200:
        raise proc.Failed("REGISTER over WebSocket:\n" + m.text)


@tap.on(web_peers)
def test_a_phone_on_websocket_is_called_from_another_peer(s):
    with sipc.WebSocket(s.host("browser"), s.a.address) as ws:
        register(s, ws, "web")
        s.found("web", s.b)
        phone = WebPhone(ws, "web")
        phone.start()
        sipp.Sipp(s.host(), sipp.call_scenario(300), s.b.address, [("alice", "web")]).finish()
        phone.join(10)
        if phone.failed or [x for x in phone.got if x] != ["INVITE", "ACK", "BYE"]:
            raise proc.Failed("the phone saw %r, %r" % (phone.got, phone.failed))
        s.quiet()


@tap.on(web_peers)
def test_it_calls_a_phone_of_another_peer(s):
    sipp.register_many(s.host("callee"), s.b.address, ["home"])
    uas = sipp.Sipp(s.host("callee"), sipp.answer_scenario())
    s.found("home", s.a)
    with sipc.WebSocket(s.host("browser"), s.a.address) as ws:
        register(s, ws, "web2")
        me, to = "sip:web2@" + s.a.address, "sip:home@" + s.a.address
        contact = "Contact: <sip:web2@%s;transport=ws>" % ws.host
        ask = sipc.request("INVITE", to, ws.via, me, extra=[
            contact, "Content-Type: application/sdp"], body=SDP)
        ws.send(ask)
        m = ws.receive()
        while m.code < 200:
            m = ws.receive()
        if m.code != 200:
            raise proc.Failed("INVITE over WebSocket:\n" + m.text)
        frm, tag = me, m.get("To").rsplit(";tag=", 1)[1]
        target = m.get("Contact").split("<")[1].split(">")[0]
        routes = ["Route: " + x for x in reversed(",".join(m.all("Record-Route")).split(","))]
        for method, cseq in (("ACK", 1), ("BYE", 2)):
            text = sipc.request(method, target, ws.via, frm, to, routes, "", m.get("Call-ID"), cseq,
                                tag)
            # the dialog's own From tag
            text = text.replace(sipc.Message(text).get("From"), m.get("From"), 1)
            ws.send(text)
        bye = ws.receive()
        if bye.code != 200:
            raise proc.Failed("BYE over WebSocket:\n" + bye.text)
    uas.finish()
    s.quiet()


@tap.on(web_peers)
def test_it_is_gone_with_its_contact(s):
    with sipc.WebSocket(s.host("browser"), s.a.address) as ws:
        register(s, ws, "web3")
        s.found("web3", s.b)
        register(s, ws, "web3", 0)
        proc.wait_for("b does not find it any more", lambda: s.b.gateway.lookup("web3") is None, 5)


if __name__ == "__main__":
    tap.main(globals())
