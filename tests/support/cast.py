"""Who spoke in a test, and when each packet was sent: what a recording is compared with."""

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.adapters.softphone import Call
from tests.support.mixed import AGENT, NUMBERS, PERSON, STRANGER, Voice

NUMBERS_A_CALL = 4096
"""82 s of packets; 410 calls until a number comes again."""
SEQUENCE_STEP = 3000
"""Asterisk's MixMonitor takes for late, and leaves out, whoever comes after somebody with higher RTP sequence numbers
(`test_asterisk_leaves_out_who_counts_from_lower_numbers`); here everybody counts from higher ones than all before."""
COVERED = (PERSON, AGENT)
"""Who may be recorded when the recorder may be on. Nobody asked the stranger."""

Packet = tuple[Voice, int]


@dataclass(eq=False)
class Speaker:
    """One call's packets in one voice. Its numbers are its own."""

    voice: Voice
    call: Call
    first: int
    said: list[int] = field(default_factory=list)

    def source(self, packet: int) -> bytes:
        """The payload of the call's packet *packet*; runs in the media thread."""
        self.said.append(packet)
        return self.voice.packet(self.first + packet)

    @property
    def sent(self) -> Mapping[int, int]:
        """When each number was sent (CLOCK_MONOTONIC ns)."""
        at = dict(self.call.sent)
        return {self.first + packet: at[packet] for packet in self.said if packet in at}


class Cast:
    """Everybody who spoke since `clear`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everybody."""
        self.speakers: list[Speaker] = []
        self._numbers = itertools.count(0, NUMBERS_A_CALL)

    def speaks(self, call: Call, voice: Voice) -> None:
        """Let a call send numbered packets of *voice* from now on."""
        speaker = Speaker(voice, call, next(self._numbers) % NUMBERS)
        if not any(one.call is call for one in self.speakers):
            call.stream._sequence = len(self.speakers) * SEQUENCE_STEP % 2**16
        self.speakers.append(speaker)
        call.audio_source = speaker.source

    def sent(self) -> "Sendings":
        """What was sent until now, and what of it arrived at somebody."""
        return Sendings(self.speakers)


CAST = Cast()
"""Of the test that runs; the conftest of `tests/pbx` clears it."""


async def still_hear(one: Call, other: Call) -> None:
    """Wait until each of two has received something that the other sent after now. Raises `TimeoutError` after 10 s."""
    now_ns = time.monotonic_ns()
    for speaking, listening in ((one, other), (other, one)):
        speaker = next(s for s in reversed(CAST.speakers) if s.call is speaking)
        begun = len(listening.received)

        def arrived(speaker: Speaker = speaker, listening: Call = listening, begun: int = begun) -> bool:
            at = speaker.sent
            numbers = (speaker.voice.number(packet[3]) for packet in listening.received[begun:])
            return any(at.get(number, 0) > now_ns for number in numbers if number is not None)

        await listening.until(arrived, 10)


class Sendings:
    """The packets of some speakers: when each was sent, whose it is, and who heard it."""

    def __init__(self, speakers: Iterable[Speaker]) -> None:
        self.at: dict[Packet, int] = {}
        self.of: dict[Packet, Speaker] = {}
        self.heard: set[Packet] = set()
        """What another phone received."""
        calls: dict[int, Call] = {}
        for speaker in speakers:
            calls[id(speaker.call)] = speaker.call
            for number, at_ns in speaker.sent.items():
                assert (speaker.voice, number) not in self.at, "a number was used twice"
                self.at[speaker.voice, number] = at_ns
                self.of[speaker.voice, number] = speaker
        self._heard_by = {name: self._received(call) for name, call in calls.items()}

    def _received(self, call: Call) -> set[Speaker]:
        """Whom a phone heard."""
        voices = (PERSON, AGENT, STRANGER)
        heard = {
            (voice, number)
            for *_, payload in call.received
            for voice in voices
            if (number := voice.number(payload)) is not None
        } & self.at.keys()
        self.heard |= heard
        return {self.of[packet] for packet in heard}

    def conversation(self, packets: Iterable[Packet]) -> set[Speaker]:
        """Whose *packets* are, and whom those heard; everybody when there is no packet."""
        speaking = {self.of[packet] for packet in packets}
        if not speaking:
            return set(self.of.values())
        return speaking.union(*(self._heard_by[id(speaker.call)] for speaker in speaking))
