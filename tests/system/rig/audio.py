# SPDX-License-Identifier: GPL-2.0-or-later
"""Audio to send, and how well what arrived matches it.  8 kHz, mono, 16 bits."""

import array
import math
import random
import wave
from operator import mul

RATE = 8000
FRAME = 80      # 10 ms: the step of the coarse search


def speech(path, seconds, seed):
    """Writes noise with the envelope and colour of speech: no two stretches of it are alike."""
    rnd = random.Random(seed)
    out = array.array("h")
    level = target = 0.0
    left = 0
    low = band = 0.0
    for _ in range(int(seconds * RATE)):
        if left == 0:       # a syllable or a pause
            left = rnd.randrange(RATE // 12, RATE // 4)
            target = 0.02 if rnd.random() < 0.25 else rnd.uniform(0.3, 1.0)
            tone = rnd.uniform(0.15, 0.6)
        left -= 1
        level += (target - level) * 0.004
        # a resonance at the syllable's formant
        low += tone * band
        band += tone * (rnd.uniform(-1.0, 1.0) - low - 0.5 * band)
        out.append(max(-30000, min(30000, int(band * level * 9000))))
    write(path, out)
    return out


def write(path, samples):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes(samples.tobytes())


def read(path):
    """Samples of a WAV file, one whose writer was killed before it set the length included."""
    with open(path, "rb") as f:
        data = f.read()
    at = data.find(b"data")
    if data[:4] != b"RIFF" or at < 0:
        raise ValueError("%s is no WAV file" % path)
    body = data[at + 8:]
    out = array.array("h")
    out.frombytes(body[:len(body) // 2 * 2])
    return out


def _envelope(x):
    return [sum(map(abs, x[i:i + FRAME])) / FRAME for i in range(0, len(x) - FRAME + 1, FRAME)]


def _pearson(a, b):
    n = len(a)
    if n == 0:
        return 0.0
    ma, mb = sum(a) / n, sum(b) / n
    saa = sum(map(mul, a, a)) - n * ma * ma
    sbb = sum(map(mul, b, b)) - n * mb * mb
    if saa <= 0 or sbb <= 0:
        return 0.0
    return (sum(map(mul, a, b)) - n * ma * mb) / math.sqrt(saa * sbb)


def _overlap(sent, got, lag):
    """The parts of both that fall together when got[i] is sent[i + lag]."""
    start = max(0, -lag)
    end = min(len(got), len(sent) - lag)
    return sent[start + lag:end + lag], got[start:end]


def match(sent, got):
    """(correlation, lag in samples) of got with sent at the delay where they fit best.

    The delay is found from one loud second; the correlation is that of all that was received.
    """
    if len(got) < RATE:
        return 0.0, 0
    es, eg = _envelope(sent), _envelope(got)
    probe = min(len(eg), 200)
    at = max(range(0, len(eg) - probe + 1, 10), key=lambda i: sum(eg[i:i + probe]))
    piece = eg[at:at + probe]
    best = max(range(0, max(1, len(es) - probe)), key=lambda i: _pearson(es[i:i + probe], piece))
    coarse = (best - at) * FRAME
    start = at * FRAME
    n = min(RATE, len(got) - start)
    fragment = got[start:start + n]

    def score(lag):
        lo = start + lag
        if lo < 0 or lo + n > len(sent):
            return -1.0
        return _pearson(sent[lo:lo + n], fragment)
    lag = max(range(coarse - 2 * FRAME, coarse + 2 * FRAME), key=score)
    return _pearson(*_overlap(sent, got, lag)), lag


def _ulaw(byte):
    byte = ~byte & 0xff
    x = (((byte & 15) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -x if byte & 0x80 else x


def _alaw(byte):
    byte ^= 0x55
    x = (byte & 15) << 4
    x = x + 8 if byte & 0x70 == 0 else x + 0x108 << (byte >> 4 & 7) - 1
    return x if byte & 0x80 else -x


_TABLES = {0: [_ulaw(i) for i in range(256)], 8: [_alaw(i) for i in range(256)]}


def decode(payload_type, payload):
    """Samples of G.711 (RTP payload type 0 PCMU, 8 PCMA)."""
    table = _TABLES[payload_type]
    return array.array("h", [table[b] for b in payload])
