# SPDX-License-Identifier: GPL-2.0-or-later
"""Something else where a peer's gateway should be."""

import os
import subprocess

from . import proc, world

PORT = 7443


def certificate(name, key=None):
    """(certificate, key) of that name, as files; with a key of its own unless one is given."""
    base = os.path.join(world.WORK, name)
    if not key:
        key = base + ".key"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
                        key], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["openssl", "req", "-new", "-x509", "-key", key, "-subj", "/CN=" + name,
                    "-days", "2", "-out", base + ".crt"], check=True, stdin=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return base + ".crt", key


class Gateway:
    """A TLS server with that certificate that answers every request with 200 and body."""

    def __init__(self, p, cert, body):
        program = world.SOURCE + "/tests/system/fake_gateway.py"
        self.proc = proc.Proc("fake-" + p.name,
                              [program, p.node.addr4["ovl"], str(PORT), *cert, body], p.node)
        proc.wait_for("the fake listens", lambda: self.proc.said("ready"), 10, alive=[self.proc])

    def stop(self):
        self.proc.expected = True
        self.proc.kill()
