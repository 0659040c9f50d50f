# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package's own kamailio.cfg, as it is and with the overlay added to it."""

import os

from . import tap, world

ORIGINAL = "/etc/kamailio/kamailio.cfg"

# The changes that the head of cfg/kamailio-p2psip.cfg asks for: (what is there, what takes its
# place), each exactly once in the file.
CHANGES = [
    ('####### Routing Logic ########\n',
     '#!define P2P_NATMANAGE_ROUTE NATMANAGE\n'
     'include_file "%s/cfg/kamailio-p2psip.cfg"\n'
     '####### Routing Logic ########\n' % world.SOURCE),
    ('\troute(WITHINDLG);\n', '\troute(WITHINDLG);\n\troute(P2P_IN);\n'),
    ('\tif (loose_route()) {\n', '\tif (loose_route()) {\n\t\troute(P2P_DIALOG);\n'),
    ('save("location")', 'p2p_save("location")'),
]
LOCATION = ('\tif (!lookup("location")) {\n', '\tp2p_lookup("location", "P2P_CALL");\n\texit;\n')
CTL = '\nmodparam("ctl", "binrpc", CTLSOCK)\n'


def original():
    """The file's text with one addition: where its control socket is."""
    try:
        with open(ORIGINAL, encoding="utf-8") as f:
            text = f.read()
    except OSError as e:
        raise tap.Skip("no %s: %s" % (ORIGINAL, e.strerror)) from None
    return text.replace("# ----- ctl params -----", "# ----- ctl params -----" + CTL)


def with_overlay():
    text = original()
    for old, new in CHANGES:
        if text.count(old) != 1:
            raise tap.Skip("%s was changed by hand: %r is there %d times" %
                           (ORIGINAL, old, text.count(old)))
        text = text.replace(old, new)
    # lookup() and what follows it up to the end of the route
    start = text.index(LOCATION[0])
    end = text.index("\troute(RELAY);\n\texit;\n}", start)
    return text[:start] + LOCATION[1] + text[end:]


def write(name, text):
    path = os.path.join(world.WORK, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path
