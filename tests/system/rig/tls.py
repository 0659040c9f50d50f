# SPDX-License-Identifier: GPL-2.0-or-later
"""SIP over TLS between peers: their certificates, the profiles for Kamailio's tls module, and
a client and a server that speak as a peer, good or bad."""

import os
import socket
import ssl
import subprocess

from . import peer, proc, sipc, world

PORT = 5061
PHONE_PORT = 5071
RETRY_MS = 3000         # how long a peer that is not proven is left alone
AUTHORITY = world.WORK + "/authority"
TOOL = "tests/tools/tlscerts"
FILES = ("sip-key.pem", "sip-ca.pem", "sip-cert.pem")


def issue(directory, identity, user, authority=AUTHORITY, valid=None):
    """A new leaf for the peer of that Host Identity; valid: seconds from now, from and until."""
    os.makedirs(directory, exist_ok=True)
    argv = [os.path.join(world.BUILD, TOOL), authority, identity, directory]
    argv += [str(x) for x in valid or ()]
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=20, check=False)
    if r.returncode:
        raise proc.Failed("tlscerts: " + r.stdout)
    for f in FILES:
        peer.own(os.path.join(directory, f), user)


def new_identity(name):
    """A Host Identity of nobody's, in a file."""
    path = os.path.join(world.WORK, name + ".pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-out", path], check=True, timeout=10,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.chmod(path, 0o600)
    return path


def profiles(p, phones=False):
    """The shipped profiles with p's files, and an address for phones."""
    with open(world.SOURCE + "/cfg/p2psip-tls.cfg", encoding="utf-8") as f:
        text = f.read().replace("/var/lib/p2psip/tls", p.tls_dir)
    if phones:
        head = "#[server:192.0.2.1:5071]"
        at = text.index(head)
        text = text[:at] + text[at:].replace("\n#", "\n").replace(
            head, "[server:%s:%d]" % (p.address, PHONE_PORT)).replace(
            "/etc/kamailio/phones-key.pem", p.tls_dir + "/phones-key.pem").replace(
            "/etc/kamailio/phones-cert.pem", p.tls_dir + "/phones-cert.pem")
    path = p.kamailio.dir + "/tls.cfg"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def prepare(p, phones=False):
    """Before start(): p speaks TLS with other peers, and nothing else."""
    p.tls_dir = p.kamailio.dir + "/tls"
    p.gateway.settings["transport"] = {"signalling": "tls"}
    if p.ipv6:
        p.gateway.settings["transport"]["family"] = "ipv6"
    uris = prepare_kamailio(p, phones)
    p.gateway.settings["sip"]["uri"] = uris
    start = p.kamailio.start

    def with_certificate(wait=True):
        # the gateway has made its Host Identity by now
        if not os.path.exists(p.tls_dir + "/sip-cert.pem"):
            renew(p)
            if phones:
                self_signed(p)
        return start(wait)
    p.kamailio.start = with_certificate


def prepare_enrolled(p):
    """Before start(), in an enrolled overlay: with the certificate that the gateway makes, and
    nothing said about transports."""
    p.tls_dir = p.gateway.settings["tls"]["dir"]
    p.gateway.settings["sip"]["uri"] = [p.uri_ovl] + prepare_kamailio(p)


def prepare_kamailio(p, phones=False):
    """Returns the addresses."""
    p.identity = p.gateway.settings["identity"]["file"]
    p.uri_tls = "sip:%s:%d;transport=tls" % (p.overlay_address, PORT)
    path = p.kamailio.dir + "/kamailio.cfg"
    with open(path, "w", encoding="utf-8") as f:
        f.write('#!KAMAILIO\ninclude_file "%s"\nmodparam("p2p_route", "peer_down_ms", %d)\n' %
                (p.kamailio.cfg, RETRY_MS))
    p.kamailio.cfg = path
    p.kamailio.listen.append("tls:%s:%d" % (p.overlay_address, PORT))
    if phones:
        p.kamailio.listen.append("tls:%s:%d" % (p.address, PHONE_PORT))
    p.kamailio.defines += ["WITH_P2P_TLS", 'P2P_TLS_PROFILES="%s"' % profiles(p, phones),
                           'P2P_TLS_CERTIFICATE="%s/sip-cert.pem"' % p.tls_dir]
    return [p.uri_tls]


def renew(p, **kw):
    """New certificate files in the place of the old ones."""
    if p.kamailio.proc and p.kamailio.proc.running():
        p.reloads = reloads(p)
    issue(p.tls_dir, kw.pop("identity", p.identity), p.kamailio.user, **kw)


def reloads(p):
    return int(p.kamailio.rpc("p2p_route.stats")["tls_reloads"])


def reload(p):
    """Waits until what renew() wrote was read. Not by tls.reload: the tls module does not bear two
    of these at once."""
    proc.wait_for("%s has read its new certificate" % p.name, lambda: reloads(p) > p.reloads, 8)


def self_signed(p):
    """What phones are shown."""
    key, cert = p.tls_dir + "/phones-key.pem", p.tls_dir + "/phones-cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days",
                    "2", "-subj", "/CN=sip.example"], check=True, timeout=10,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for f in (key, cert):
        peer.own(f, p.kamailio.user)


class Client:
    """SIP over TLS to a server, with a certificate of directory (None: without)."""

    def __init__(self, node, to, port=PORT, directory=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if directory:
            context.load_cert_chain(directory + "/sip-cert.pem", directory + "/sip-key.pem")
        with node.inside():
            raw = socket.create_connection((to.strip("[]"), port), 5)
        host, local = raw.getsockname()[:2]
        self.s = context.wrap_socket(raw)
        self.via = "TLS %s:%d" % ("[%s]" % host if ":" in host else host, local)
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, text):
        self.s.sendall(text.encode())

    def receive(self, timeout=5):
        """The next message; ConnectionError when the other side has closed."""
        self.s.settimeout(timeout)
        while True:
            head, end, rest = self.buf.partition(b"\r\n\r\n")
            if end:
                size = int(sipc.Message(head + end).get("Content-Length", "0"))
                if len(rest) >= size:
                    self.buf = rest[size:]
                    return sipc.Message(head + end + rest[:size])
            data = self.s.recv(65536)
            if not data:
                raise ConnectionError("the connection was closed")
            self.buf += data

    def ask(self, text, timeout=5):
        """Sends a request; its final reply."""
        callid = sipc.Message(text).get("Call-ID")
        self.send(text)
        while True:
            m = self.receive(timeout)
            if m.code >= 200 and m.get("Call-ID") == callid:
                return m
