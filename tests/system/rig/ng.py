# SPDX-License-Identifier: GPL-2.0-or-later
"""rtpengine's ng protocol, for looking at it from outside."""

import json
import os
import socket


def ask(node, port, command, timeout=2.0, **args):
    """One command to the rtpengine on 127.0.0.1:port of the node; returns its answer."""
    with node.inside():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with s:
        s.settimeout(timeout)
        s.connect(("127.0.0.1", port))
        cookie = os.urandom(6).hex()
        args["command"] = command
        s.send(cookie.encode() + b" " + json.dumps(args).encode())
        while True:
            data = s.recv(65536)
            head, _, body = data.partition(b" ")
            if head.decode() == cookie:
                return json.loads(body)

