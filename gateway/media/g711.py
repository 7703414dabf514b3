"""G.711 mu-law and A-law, bit-exact to ITU-T G.711 as its reference code (G.191, `g711.c`) computes it.

Samples are int16, mono, 8 kHz, left-justified: mu-law uses the upper 14 bits, A-law the upper 13. Negative samples
are complemented before companding, as the reference does. Encoding what was decoded gives the same code back for
every code but mu-law 0x7F ("negative zero"): both it and 0xFF decode to 0, and 0 encodes to 0xFF.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

G711 = Literal["PCMU", "PCMA"]
Samples = NDArray[np.int16]

SILENCE: dict[G711, int] = {"PCMU": 0xFF, "PCMA": 0xD5}
"""The code that decodes to the smallest positive sample: digital silence."""


def _ulaw_tables() -> tuple[NDArray[np.uint8], Samples]:
    samples = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.minimum((np.where(samples < 0, ~samples, samples) >> 2) + 33, 0x1FFF)
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 4
    mantissa = 0x0F - ((magnitude >> segment) & 0x0F)
    codes = ((8 - segment) << 4) | mantissa | np.where(samples >= 0, 0x80, 0)
    inverted = ~np.arange(256, dtype=np.int32)
    exponent, step = (inverted >> 4) & 7, inverted & 0x0F
    values = (0x80 << exponent) + (8 << exponent) * step + (4 << exponent) - 132
    return np.roll(codes, 32768).astype(np.uint8), np.where(inverted & 0x80, -values, values).astype(np.int16)


def _alaw_tables() -> tuple[NDArray[np.uint8], Samples]:
    samples = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.where(samples < 0, ~samples, samples) >> 4
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 3, 0)
    mantissa = (magnitude >> np.maximum(exponent - 1, 0)) & 0x0F
    codes = ((exponent << 4) | mantissa | np.where(samples >= 0, 0x80, 0)) ^ 0x55
    plain = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, step = (plain >> 4) & 7, plain & 0x0F
    values = ((step + np.where(exponent > 0, 16, 0)) << 4) + 8 << np.maximum(exponent - 1, 0)
    return np.roll(codes, 32768).astype(np.uint8), np.where(plain & 0x80, values, -values).astype(np.int16)


_ENCODE: dict[G711, NDArray[np.uint8]] = {}
_DECODE: dict[G711, Samples] = {}
_ENCODE["PCMU"], _DECODE["PCMU"] = _ulaw_tables()
_ENCODE["PCMA"], _DECODE["PCMA"] = _alaw_tables()


def encode(codec: G711, samples: Samples) -> bytes:
    """Return one byte for each int16 sample."""
    return _ENCODE[codec][samples.view(np.uint16)].tobytes()


def decode(codec: G711, payload: bytes) -> Samples:
    """Return one int16 sample for each byte."""
    return _DECODE[codec][np.frombuffer(payload, dtype=np.uint8)]
