"""Numbered packets that can be told apart after they were added: every sample of a mono mix names its packet.

Asterisk's MixMonitor adds both directions into one file. Each `Voice` has levels of its own, so chosen that every sum
of one level of each voice (or none) is another number, and far from clipping. A packet is ten runs of 16 samples: a
mark, eight digits and a check digit, so that it is found wherever it lies in the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.media import g711

Samples = NDArray[np.int16]

PACKET_SAMPLES: Final = 160
RUN_SAMPLES: Final = 16
BASE: Final = 6
DIGITS: Final = 8
NUMBERS: Final = BASE**DIGITS
"""Packets a voice can number: nine hours of them."""
_WEIGHTS: Final = BASE ** np.arange(DIGITS)
_NOTHING, _MARK = 0, 1
_STARTS: Final = np.arange(0, PACKET_SAMPLES, RUN_SAMPLES)


class Foreign(AssertionError):
    """The recording has a sample that nobody sent."""


@dataclass(frozen=True, slots=True)
class Voice:
    """The codes that one party's packets are made of: a mark and digits, or one constant code without numbers."""

    name: str
    codes: bytes

    @property
    def levels(self) -> list[int]:
        """The samples that the codes stand for."""
        return [int(level) for level in g711.decode("PCMU", self.codes)]

    def packet(self, number: int) -> bytes:
        """The payload of packet *number*."""
        if len(self.codes) == 1:
            return self.codes * PACKET_SAMPLES
        digits = number // _WEIGHTS % BASE
        runs = (0, *(digits + 1), check_digit(digits) + 1)
        return b"".join(self.codes[at : at + 1] * RUN_SAMPLES for at in runs)

    def sounds_in(self, payload: bytes) -> bool:
        """Whether a payload consists of this voice alone."""
        return set(payload) <= set(self.codes)

    def number(self, payload: bytes) -> int | None:
        """The number of a packet that is this voice's, None for any other payload."""
        if not self.sounds_in(payload) or len(self.codes) == 1 or len(payload) != PACKET_SAMPLES:
            return None
        number = sum(
            (self.codes.index(payload[at]) - 1) * int(w) for at, w in zip(_STARTS[1:-1], _WEIGHTS, strict=True)
        )
        return number if number >= 0 and self.packet(number) == payload else None


def check_digit(digits: NDArray[np.int64]) -> int:
    """The digit that a packet ends with: halves of two packets are no third one, but for one in six."""
    return int(digits.sum()) % BASE


def _voices(sizes: dict[str, int]) -> list[Voice]:
    """Give each voice levels that are further apart than all the voices before it reach together."""
    rising = [(int(g711.decode("PCMU", bytes([code]))[0]), code) for code in range(255, 127, -1)]
    voices: list[Voice] = []
    reach = 0
    for name, size in sizes.items():
        codes: list[int] = []
        last = 0
        for level, code in rising:
            if len(codes) < size and level > last + reach:
                codes.append(code)
                last = level
        voices.append(Voice(name, bytes(codes)))
        reach += last
    assert reach < 2**15, "a sum of all voices clips"
    return voices


PERSON, AGENT, STRANGER, GATEWAY, RINGING = VOICES = tuple(
    _voices({"person": BASE + 1, "agent": BASE + 1, "stranger": BASE + 1, "gateway": 1, "ringing": 1})
)


def _sums() -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Every sum of the voices' levels, rising, and beside it what each voice adds: 0 nothing, else the code's place."""
    sums, parts = np.zeros(1, np.int32), np.zeros((1, 0), np.uint8)
    for voice in VOICES:
        levels = np.array([0, *voice.levels], np.int32)
        sums = (sums[:, None] + levels).ravel()
        which = np.tile(np.arange(len(levels), dtype=np.uint8), len(parts))
        parts = np.column_stack((np.repeat(parts, len(levels), axis=0), which))
    order = np.argsort(sums)
    return sums[order], parts[order]


_SUMS, _PARTS = _sums()


def taken_apart(samples: Samples) -> NDArray[np.uint8]:
    """Return what each voice (a column each, in the order of `VOICES`) adds to each sample. Raises `Foreign`."""
    at = np.searchsorted(_SUMS, samples)
    at[at == len(_SUMS)] = 0
    strange = np.flatnonzero(_SUMS[at] != samples)
    if len(strange):
        where = int(strange[0])
        raise Foreign(f"{len(strange)} samples are no sum of voices; the first is {samples[where]} at {where}")
    found: NDArray[np.uint8] = _PARTS[at]
    return found


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive samples of one packet: *number* of *voice* (None: a voice without numbers), from *sample* on."""

    voice: Voice
    number: int | None
    sample: int
    length: int


def _symbols(voice: Voice, number: int) -> NDArray[np.uint8]:
    """A packet as `taken_apart` shows it."""
    place = np.zeros(256, np.uint8)
    place[list(voice.codes)] = np.arange(1, len(voice.codes) + 1)
    return place[np.frombuffer(voice.packet(number), np.uint8)]


def pieces(samples: Samples) -> list[Piece]:
    """Attribute every sample that is not silence, voice by voice, in the order of their beginnings.

    Raises `Foreign` for anything that nobody sent, and for a packet that is not whole: Asterisk was never seen to cut
    one, and a few of its samples would not tell which it is.
    """
    parts = taken_apart(samples)
    return [piece for voice, symbols in zip(VOICES, parts.T, strict=True) for piece in _pieces(voice, symbols)]


def _pieces(voice: Voice, symbols: NDArray[np.uint8]) -> Iterable[Piece]:
    before = np.concatenate(([_NOTHING], symbols[:-1]))
    begins = (before == _NOTHING) != (symbols == _NOTHING)
    if len(voice.codes) > 1:
        begins |= (symbols == _MARK) & (before != _MARK)
    edges = np.append(np.flatnonzero(begins), len(symbols))
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if symbols[start]:
            number = None if len(voice.codes) == 1 else _number(voice, symbols[start:end], start)
            yield Piece(voice, number, start, end - start)


def _number(voice: Voice, symbols: NDArray[np.uint8], start: int) -> int:
    """The number of a packet, whole. Raises `Foreign` when it is none."""
    if len(symbols) == PACKET_SAMPLES:
        number = int(((symbols[_STARTS[1:-1]].astype(int) - 2) * _WEIGHTS).sum())
        if number >= 0 and np.array_equal(_symbols(voice, number), symbols):
            return number
    raise Foreign(f"{len(symbols)} samples from {start} on are the {voice.name}'s and no packet of his")
