# SPDX-License-Identifier: GPL-2.0-or-later
"""How much time the machine has owed its processes: what a bar on a time is measured against.

A thread of the test's own wants to run every few milliseconds and keeps how late it was each time.
Where an answer took longer than its bar while this thread, which needs next to nothing, was kept
waiting too, the machine was at fault and not what is tested: within() gives that time back, and no
other. On a machine that is idle it gives back well under a millisecond.
"""

import collections
import threading
import time

EVERY = 0.005               # seconds
KEPT = 120 / EVERY          # samples: two minutes

_late = collections.deque(maxlen=int(KEPT))     # (when it ran, seconds late)


def _watch():
    want = time.monotonic() + EVERY
    while True:
        time.sleep(max(0.0, want - time.monotonic()))
        now = time.monotonic()
        # a timer's own slack is no lateness
        _late.append((now, max(0.0, now - want - 0.0005)))
        want = now + EVERY


def start():
    """Watch from now on. For the process that measures, after its last fork."""
    threading.Thread(target=_watch, daemon=True).start()


def owed(since):
    """Seconds for which this process was kept waiting from that moment on (time.monotonic())."""
    time.sleep(2 * EVERY)       # that one which is late now is counted too
    return sum(late for when, late in list(_late) if when >= since)


def within(took, bar, ended=None):
    """Did something that ended at `ended` (now, unless told), and took so many seconds, keep to
    its bar? The time that the machine owed meanwhile does not count."""
    if took < bar:
        return True
    ended = time.monotonic() if ended is None else ended
    return took - owed(ended - took) < bar
