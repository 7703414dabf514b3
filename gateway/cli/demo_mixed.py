"""Who of two people is heard in a recording that has both in one channel, packet by packet.

Asterisk's MixMonitor adds whole packets: every 20 ms of its file are the sum of one packet of each party, or of one
party's alone. What both sent is known to the sample, so each sum can be taken apart, and each packet knows its time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.int16]
PACKET: Final = 160
NOBODY: Final = -1
RINGING_HZ: Final = 440
"""The ringing tone of `indications.conf` as we write it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What one party sent: *packets* (int16, one row of 160 samples each), and when each (CLOCK_MONOTONIC ns)."""

    packets: Audio
    at_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert self.packets.shape == (len(self.at_ns), PACKET)


@dataclass(slots=True)
class Heard:
    """What is in a recording: when each party's packets with sound in it were sent; how many samples are the ringing
    tone that Asterisk makes itself; and how many with sound are nobody's."""

    caller_ns: list[int] = field(default_factory=list)
    agent_ns: list[int] = field(default_factory=list)
    ringing: int = 0
    strange: int = 0

    def samples(self, from_ns: int, to_ns: int) -> int:
        """How many recorded samples are of packets sent from *from_ns* on and before *to_ns*."""
        return sum(PACKET for at_ns in (*self.caller_ns, *self.agent_ns) if from_ns <= at_ns < to_ns)


def heard(recorded: Audio, caller: Sent, agent: Sent, near_ns: int) -> Heard:
    """Return whose packets a recording is made of.

    A packet follows the one before it where that explains the sum; otherwise all are tried, and of several that fit
    the ones sent nearest to it are taken (speech is repeated): at the beginning, nearest to *near_ns*. Two parties
    must not be so loud together that their sum is cut off.
    """
    found = Heard()
    rest = len(recorded) % PACKET
    found.strange = int(np.count_nonzero(recorded[len(recorded) - rest :]))
    places = _Places(caller, agent)
    for begin in range(0, len(recorded) - rest, PACKET):
        frame = recorded[begin : begin + PACKET]
        if not frame.any():
            places.go_on()
            continue
        place = places.next(frame) or places.nearest(frame, near_ns)
        if place is None:
            if is_tone(frame, RINGING_HZ):
                found.ringing += PACKET
            else:
                found.strange += int(np.count_nonzero(frame))
            places.go_on()
            continue
        places.at(*place)
        for number, sent, times in ((place[0], caller, found.caller_ns), (place[1], agent, found.agent_ns)):
            if number != NOBODY and sent.packets[number].any():
                times.append(int(sent.at_ns[number]))
                near_ns = times[-1]
    return found


def is_tone(frame: Audio, hz: float) -> bool:
    """Whether samples are one steady tone: what is left without it is a thousandth of the energy, or less."""
    angle = 2 * np.pi * hz * np.arange(len(frame)) / 8000
    waves = np.column_stack((np.sin(angle), np.cos(angle)))
    energy = frame.astype(float) @ frame
    _, left, _, _ = np.linalg.lstsq(waves, frame.astype(float), rcond=None)
    return bool(energy > 0 and left.sum() <= energy / 1000)


class _Places:
    """Where in each party's packets a recording has come to."""

    def __init__(self, caller: Sent, agent: Sent) -> None:
        self._caller, self._agent = caller, agent
        self._next = [NOBODY, NOBODY]
        self._caller_speaks = np.flatnonzero(caller.packets.any(axis=1))
        self._agent_numbers = _by_sound(agent)

    def go_on(self) -> None:
        """A packet's time has passed for both."""
        self._next = [number + 1 if number != NOBODY else NOBODY for number in self._next]

    def at(self, caller: int, agent: int) -> None:
        """These were heard; a party who was not is still where he was."""
        for party, number in enumerate((caller, agent)):
            if number != NOBODY:
                self._next[party] = number + 1

    def next(self, frame: Audio) -> tuple[int, int] | None:
        """The packets that follow, both or one of them, if they are this sum."""
        caller, agent = self._next
        for pair in ((caller, agent), (caller, NOBODY), (NOBODY, agent)):
            if pair != (NOBODY, NOBODY) and np.array_equal(self._packet(0, pair[0]) + self._packet(1, pair[1]), frame):
                return pair
        return None

    def nearest(self, frame: Audio, near_ns: int) -> tuple[int, int] | None:
        """Of all packets of both that are this sum, those sent nearest to *near_ns*."""
        return min(self._fitting(frame), key=lambda pair: self._distance(pair, near_ns), default=None)

    def _fitting(self, frame: Audio) -> Iterator[tuple[int, int]]:
        yield from ((NOBODY, agent) for agent in self._agent_numbers.get(frame.tobytes(), ()))
        remainders = frame - self._caller.packets[self._caller_speaks]
        for caller, remainder in zip(self._caller_speaks.tolist(), remainders, strict=True):
            if not remainder.any():
                yield caller, NOBODY
            yield from ((caller, agent) for agent in self._agent_numbers.get(remainder.tobytes(), ()))

    def _distance(self, pair: tuple[int, int], near_ns: int) -> int:
        times = [int(s.at_ns[n]) for s, n in zip((self._caller, self._agent), pair, strict=True) if n != NOBODY]
        return max(abs(at_ns - near_ns) for at_ns in times)

    def _packet(self, party: int, number: int) -> Audio:
        packets = (self._caller, self._agent)[party].packets
        return packets[number] if 0 <= number < len(packets) else np.zeros(PACKET, np.int16)


def _by_sound(sent: Sent) -> Mapping[bytes, list[int]]:
    """The numbers of a party's packets that have sound, by their samples."""
    numbers: dict[bytes, list[int]] = {}
    for number in np.flatnonzero(sent.packets.any(axis=1)).tolist():
        numbers.setdefault(sent.packets[number].tobytes(), []).append(number)
    return numbers
