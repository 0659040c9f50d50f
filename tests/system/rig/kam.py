# SPDX-License-Identifier: GPL-2.0-or-later
"""kamcmd's answers as Python values."""

import subprocess


class Error(Exception):
    pass


def rpc(socket_path, method, *args, timeout=10):
    """Calls an RPC through kamcmd; a structure becomes a dict, several a list."""
    return parse(text(socket_path, method, *args, timeout=timeout))


def text(socket_path, method, *args, timeout=10):
    """What kamcmd prints."""
    r = subprocess.run(["kamcmd", "-s", "unix:" + socket_path, method] + [str(a) for a in args],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, errors="replace", timeout=timeout, check=False)
    if r.returncode or r.stdout.startswith("error:"):
        raise Error("%s: %s" % (method, r.stdout.strip()))
    return r.stdout


def parse(printed):
    lines = [x.strip() for x in printed.splitlines() if x.strip()]
    values, _ = _items(lines, 0, None)
    return values[0] if len(values) == 1 else values


def _items(lines, i, closer):
    out = []
    while i < len(lines) and lines[i] != closer:
        if lines[i] == "{":
            v, i = _struct(lines, i + 1)
        elif lines[i] == "[":
            v, i = _items(lines, i + 1, "]")
        else:
            v = _value(lines[i])
            i += 1
        out.append(v)
    return out, i + 1


def _struct(lines, i):
    out = {}
    while i < len(lines) and lines[i] != "}":
        key, _, rest = lines[i].partition(":")
        rest = rest.strip()
        if rest == "{" and i + 1 < len(lines) and lines[i + 1] == "{":
            v, i = _items(lines, i + 1, "}")    # a list of structures looks like this inside one
        elif rest == "{":
            v, i = _struct(lines, i + 1)
        elif rest == "[":
            v, i = _items(lines, i + 1, "]")
        else:
            v = _value(rest)
            i += 1
        if key in out:      # kamcmd prints the elements of a list one after the other
            if not isinstance(out[key], list):
                out[key] = [out[key]]
            out[key].append(v)
        else:
            out[key] = v
    return out, i + 1


def _value(s):
    try:
        return int(s)
    except ValueError:
        return s
