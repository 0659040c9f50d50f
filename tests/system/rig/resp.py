# SPDX-License-Identifier: GPL-2.0-or-later
"""A small RESP2 client for the daemons' unix sockets, and the odd raw byte for hostile tests."""

import socket


class Error(Exception):
    """An error reply; code is its first word."""

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Client:
    def __init__(self, path, timeout=5.0):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(path)
        self.f = self.s.makefile("rb")

    def close(self):
        self.f.close()
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def raw(self, data):
        self.s.sendall(data)

    def __call__(self, *args):
        self.send(*args)
        return self.reply()

    def send(self, *args):
        out = [b"*%d\r\n" % len(args)]
        for a in args:
            b = a if isinstance(a, bytes) else str(a).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(b), b))
        self.raw(b"".join(out))

    def reply(self):
        line = self.f.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the other side closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise Error(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            n = int(rest)
            if n < 0:
                return None
            data = self.f.read(n + 2)
            return data[:-2].decode(errors="replace")
        if kind == b"*":
            n = int(rest)
            out = []
            for _ in range(max(n, 0)):
                try:
                    out.append(self.reply())
                except Error as e:
                    out.append(e)
            return out
        raise ConnectionError("no RESP: %r" % line)


def pairs(flat):
    """key, value, key, value ... as a dictionary."""
    return dict(zip(flat[0::2], flat[1::2]))


def call(path, *args, timeout=5.0):
    with Client(path, timeout) as c:
        return c(*args)
