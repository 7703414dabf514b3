"""Numbered packets: every 20 ms packet carries one constant G.711 code, so that every recorded sample names its packet.

`codes_of` turns recorded audio back into packet numbers; `sent_ns` of the softphone says when each was sent.
"""

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.media import g711

CODES = bytes(code for code in range(256) if code not in (0x7F, 0xFF))
"""Every mu-law code but the two that decode to silence."""
CYCLE = 250
"""Packets until a code comes again: 5 s, far longer than any delay to be told apart."""
PACKET_NS = 20_000_000
PACKET_SAMPLES = 160
BUFFER_NS = 80_000_000
"""What the gateway's jitter buffer waits for before it plays (60 ms), and one frame."""
NEAR_PACKETS = 25
"""A late packet makes the buffer longer for those that follow it; these many are looked at (half a second)."""
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


@dataclass(slots=True)
class Heard:
    """What a recording has of one packet: samples, and when (CLOCK_MONOTONIC) the first of them was handled."""

    samples: int
    at_ns: int


def packets(
    samples: NDArray[np.int16], begun_ns: int, sent: Mapping[int, int], delay_ns: int = 80_000_000
) -> dict[int, Heard]:
    """Return {packet number: what was heard of it} of one recorded side.

    *begun_ns*: when the recording's first frame was handled; *sent*: packet -> when it was sent. Of the packets that
    share a code, the one sent nearest to *delay_ns* before its sample was handled is meant: others are 5 s away.
    """
    by_code: dict[int, list[int]] = {}
    for packet in sent:
        by_code.setdefault(packet % CYCLE, []).append(packet)
    heard: dict[int, Heard] = {}
    for run in runs(samples):
        if run.number is None:
            continue
        at_ns = begun_ns + run.sample * 125_000
        candidates = by_code.get(run.number)
        if not candidates:
            raise Foreign(f"sample {run.sample} carries a code that was never sent")
        packet = min(candidates, key=lambda n: abs(sent[n] + delay_ns - at_ns))
        heard.setdefault(packet, Heard(0, at_ns)).samples += run.length
    return heard


def lateness_ns(sent: Mapping[int, int]) -> dict[int, int]:
    """How much later than its place in an even 20 ms rhythm each packet was sent."""
    begun_ns = min((at_ns - packet * PACKET_NS for packet, at_ns in sent.items()), default=0)
    return {packet: at_ns - packet * PACKET_NS - begun_ns for packet, at_ns in sent.items()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing one side of one recording with what was sent gave."""

    leaked: dict[int, int]
    lost: list[int]
    recorded: int


def compare(
    heard: Mapping[int, Heard],
    sent: Mapping[int, int],
    forbidden: Callable[[int], bool],
    required: Callable[[int, int], bool],
) -> Verdict:
    """*forbidden* is asked with the time a packet was sent, *required* with that and the latest time at which it can
    have come out of the jitter buffer; lost is what is required and not whole.

    A packet comes out in its place of the 20 ms rhythm, as late as the buffer has become. That is what packets recorded
    before and after it show, or what the sender's own lateness near it makes of the buffer, whichever is more.
    """
    leaked = {packet: what.samples for packet, what in heard.items() if forbidden(sent[packet])}
    late = lateness_ns(sent)
    begun_ns = min((at_ns - packet * PACKET_NS for packet, at_ns in sent.items()), default=0)
    numbers = sorted(heard)
    delays = [heard[n].at_ns - n * PACKET_NS - begun_ns for n in numbers]
    lost = []
    for packet, at_ns in sent.items():
        if packet in heard and heard[packet].samples >= PACKET_SAMPLES:
            continue
        place = bisect.bisect_left(numbers, packet)
        shown = delays[max(0, place - 1) : place + 1]
        near = (late.get(n, 0) for n in range(packet - NEAR_PACKETS, packet + 1))
        delay_ns = max([*shown, max(near) + BUFFER_NS])
        if required(at_ns, begun_ns + packet * PACKET_NS + delay_ns):
            lost.append(packet)
    return Verdict(leaked, lost, len(heard))
