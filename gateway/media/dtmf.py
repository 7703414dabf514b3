"""DTMF as tones in the audio (ITU-T Q.23 and Q.24)."""

import numpy as np

from gateway.media.g711 import Samples

LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")


def key_frequencies(digit: str) -> tuple[int, int]:
    """Return (low, high) in Hz. Raises `ValueError` for anything that is no key."""
    for row, keys in enumerate(KEYS):
        column = keys.find(digit.upper()) if len(digit) == 1 else -1
        if column >= 0:
            return LOW_HZ[row], HIGH_HZ[column]
    raise ValueError("not a DTMF key")


def dtmf_tone(
    digit: str, duration_ms: float, *, level_dbm0: float = -10.0, twist_db: float = 0.0, detune: float = 0.0
) -> Samples:
    """Return the tone pair of a key: int16 mono, 8 kHz.

    *level_dbm0* is the level of each tone (0 dBm0 is 3.17 dB below full scale, ITU-T G.711); *twist_db* raises the
    high tone over the low one; *detune* shifts both frequencies by this fraction. Raises `ValueError` for no key.
    """
    low, high = key_frequencies(digit)
    count = round(duration_ms * 8)
    seconds = np.arange(count) / 8000.0
    full_scale = 32767 * 10 ** ((level_dbm0 - 3.17) / 20)
    signal = np.sin(2 * np.pi * low * (1 + detune) * seconds) * 10 ** (-twist_db / 40)
    signal += np.sin(2 * np.pi * high * (1 + detune) * seconds) * 10 ** (twist_db / 40)
    return np.clip(np.rint(full_scale * signal), -32768, 32767).astype(np.int16)
