"""G.711 against the sample-by-sample arithmetic of ITU-T G.191."""

import numpy as np
import pytest

from gateway.media import g711
from gateway.media.g711 import G711


def reference_ulaw_encode(sample: int) -> int:
    magnitude = ((~sample) >> 2 if sample < 0 else sample >> 2) + 33
    magnitude = min(magnitude, 0x1FFF)
    rest, segment = magnitude >> 6, 1
    while rest:
        segment, rest = segment + 1, rest >> 1
    code = ((8 - segment) << 4) | (0x0F - ((magnitude >> segment) & 0x0F))
    return code | 0x80 if sample >= 0 else code


def reference_alaw_encode(sample: int) -> int:
    value = (~sample) >> 4 if sample < 0 else sample >> 4
    if value > 15:
        exponent = 1
        while value > 31:
            value, exponent = value >> 1, exponent + 1
        value = value - 16 + (exponent << 4)
    return (value | 0x80 if sample >= 0 else value) ^ 0x55


def reference_ulaw_decode(code: int) -> int:
    sign = -1 if code < 0x80 else 1
    inverted = ~code
    exponent, mantissa = (inverted >> 4) & 7, inverted & 0x0F
    step = 4 << (exponent + 1)
    return sign * ((0x80 << exponent) + step * mantissa + step // 2 - 4 * 33)


def reference_alaw_decode(code: int) -> int:
    value = (code ^ 0x55) & 0x7F
    exponent, mantissa = value >> 4, value & 0x0F
    mantissa = ((mantissa + 16 if exponent else mantissa) << 4) + 8
    mantissa <<= max(exponent - 1, 0)
    return mantissa if code > 127 else -mantissa


EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int16)


@pytest.mark.parametrize(
    ("codec", "encode", "decode"),
    [
        ("PCMU", reference_ulaw_encode, reference_ulaw_decode),
        ("PCMA", reference_alaw_encode, reference_alaw_decode),
    ],
)
def test_every_sample_and_every_code_as_the_reference(codec: G711, encode, decode) -> None:
    assert g711.encode(codec, EVERY_SAMPLE) == bytes(encode(int(sample)) for sample in EVERY_SAMPLE)
    assert g711.decode(codec, bytes(range(256))).tolist() == [decode(code) for code in range(256)]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_a_code_survives_decoding_and_encoding(codec: G711) -> None:
    codes = bytes(range(256))
    changed = {a: b for a, b in zip(codes, g711.encode(codec, g711.decode(codec, codes)), strict=True) if a != b}
    assert changed == ({0x7F: 0xFF} if codec == "PCMU" else {})


def test_known_values_of_the_recommendation() -> None:
    assert g711.encode("PCMU", np.array([0, -1, 32767, -32768], np.int16)) == bytes([0xFF, 0x7F, 0x80, 0x00])
    assert g711.encode("PCMA", np.array([0, -1, 32767, -32768], np.int16)) == bytes([0xD5, 0x55, 0xAA, 0x2A])
    assert g711.decode("PCMU", bytes([0x80, 0x00])).tolist() == [32124, -32124]
    assert g711.decode("PCMA", bytes([0xAA, 0x2A])).tolist() == [32256, -32256]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_silence_is_quiet(codec: G711) -> None:
    assert abs(int(g711.decode(codec, bytes([g711.SILENCE[codec]]))[0])) <= 8
