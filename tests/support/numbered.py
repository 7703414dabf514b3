"""Numbered packets: every 20 ms packet carries one constant G.711 code, so that every recorded sample names its packet.

`codes_of` turns recorded audio back into packet numbers; `sent_ns` of the softphone says when each was sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.media import g711

CODES = bytes(code for code in range(256) if code not in (0x7F, 0xFF))
"""Every mu-law code but the two that decode to silence."""
CYCLE = 250
"""Packets until a code comes again: 5 s, far longer than any delay to be told apart."""
_NUMBER = {int(g711.decode("PCMU", CODES[n : n + 1])[0]): n for n in range(CYCLE)}


def source(packet: int) -> bytes:
    """The payload of packet *packet*."""
    return CODES[packet % CYCLE : packet % CYCLE + 1] * 160


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive recorded samples of one value: packet number modulo `CYCLE`, None for silence."""

    sample: int
    length: int
    number: int | None


class Foreign(AssertionError):
    """The recording has a sample nobody sent."""


def runs(samples: NDArray[np.int16]) -> list[Run]:
    """Split a recorded side into runs. Raises `Foreign` for a value that is no packet's."""
    if not len(samples):
        return []
    edges = np.flatnonzero(np.diff(samples)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(samples)]))
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        value = int(samples[start])
        if value and value not in _NUMBER:
            raise Foreign(f"sample {start} is {value}, which no packet carries")
        found.append(Run(start, end - start, _NUMBER[value] if value else None))
    return found


def packets(
    samples: NDArray[np.int16], begun_ns: int, sent: Mapping[int, int], delay_ns: int = 80_000_000
) -> dict[int, int]:
    """Return {packet number: recorded samples} of one recorded side.

    *begun_ns*: when the recording's first frame was handled; *sent*: packet -> when it was sent. Of the packets that
    share a code, the one sent nearest to *delay_ns* before its sample was handled is meant: others are 5 s away.
    """
    by_code: dict[int, list[int]] = {}
    for packet in sent:
        by_code.setdefault(packet % CYCLE, []).append(packet)
    heard: dict[int, int] = {}
    for run in runs(samples):
        if run.number is None:
            continue
        at_ns = begun_ns + run.sample * 125_000 - delay_ns
        candidates = by_code.get(run.number)
        if not candidates:
            raise Foreign(f"sample {run.sample} carries a code that was never sent")
        packet = min(candidates, key=lambda n: abs(sent[n] - at_ns))
        heard[packet] = heard.get(packet, 0) + run.length
    return heard


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing one side of one recording with what was sent gave."""

    leaked: dict[int, int]
    lost: list[int]
    recorded: int


def compare(
    heard: Mapping[int, int],
    sent: Mapping[int, int],
    forbidden: Callable[[int], bool],
    required: Callable[[int], bool],
) -> Verdict:
    """*forbidden* and *required* are asked with the time a packet was sent; lost is what is required and not whole."""
    leaked = {packet: length for packet, length in heard.items() if forbidden(sent[packet])}
    lost = [packet for packet, at_ns in sent.items() if required(at_ns) and heard.get(packet, 0) < 160]
    return Verdict(leaked, lost, len(heard))
