"""The judge: one recording of Asterisk's, compared packet by packet with what the evidence of its call says.

The evidence cuts its times to milliseconds. Where a time begins a prohibition the end of its millisecond counts, where
it ends one the beginning: a packet sent exactly then is nobody's fault.
"""

import bisect
import time
import wave
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tests.support.cast import COVERED, Packet, Sendings
from tests.support.mixed import PACKET_SAMPLES, PERSON, Samples, pieces

MS = 1_000_000
SETTLING_NS = 80 * MS
"""What was sent so shortly after the recorder was seen on need not be in the file: Asterisk's audiohook pairs both
directions anew, letting go of what waited. Measured from the *command* on: 65 to 100 ms until the first packet after a
resume (80 of them are our own waiting), 7 to 108 ms after an opening, the connecting of the agent included."""
ENDING_NS = 60 * MS
"""What was sent so shortly before a pause or the end was commanded need not be either: it waits in Asterisk. Measured:
up to 49 ms."""
HOLE_PACKETS = 5
"""A hole of so many packets of one party is Asterisk's own: when one direction is late its audiohook writes the other
alone, and lets go of what comes to more than 100 ms. Measured: one packet in some 11 000 with 24 calls at once, none
with one call."""
HOLES_SHARE = 0.05
"""More than `HOLE_PACKETS` and this share of what had to be there is too much, in however short holes."""

UNKNOWN_NS = 20 * MS
"""A stranger who comes from a call of his own is known from his `BridgeEnter` on, and Asterisk mixes him from the same
moment. What he sent so shortly before the hold can be in the file; docs/status.md says so, and more is a leak."""


class State(Enum):
    """What the evidence says of a recorder at one moment."""

    FORBIDDEN = "forbidden"
    BETWEEN = "between a command and its effect"
    CERTAIN = "certainly on"


class Said(Protocol):
    """An entry of the evidence, as far as it is read here."""

    @property
    def kind(self) -> str: ...

    @property
    def at(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...


@dataclass
class Timeline:
    """The states of one recording, each from a moment on (CLOCK_MONOTONIC ns), and what is said of its file."""

    recording: str
    marks: list[tuple[int, State, str]] = field(default_factory=list)
    closed: Mapping[str, Any] = field(default_factory=dict)

    def add(self, at_ns: int, state: State, what: str) -> None:
        """From *at_ns* on, and never before what is known already, it is in *state*."""
        self.marks.append((max(at_ns, self.marks[-1][0] if self.marks else at_ns), state, what))

    def end(self, at_ns: int, what: str) -> None:
        """It ended then, whatever was believed of the time after."""
        self.marks = [mark for mark in self.marks if mark[0] < at_ns] + [(at_ns, State.FORBIDDEN, what)]

    def state(self, at_ns: int) -> State:
        """The state at a moment."""
        place = bisect.bisect_right(self.marks, at_ns, key=lambda mark: mark[0])
        return self.marks[place - 1][1] if place else State.FORBIDDEN

    def certain(self, at_ns: int) -> bool:
        """Whether a packet sent then must have been recorded."""
        first, last = at_ns - SETTLING_NS, at_ns + ENDING_NS
        crossed = [state for mark_ns, state, _ in self.marks if first <= mark_ns <= last]
        return self.state(first) is State.CERTAIN and all(state is State.CERTAIN for state in crossed)

    def unknown(self, at_ns: int) -> bool:
        """Whether a hold was set so shortly afterwards that nobody could know yet of a stranger who sent then."""
        return any(what == "hold.set" and 0 <= mark_ns - at_ns <= UNKNOWN_NS for mark_ns, _, what in self.marks)

    def place(self, at_ns: int) -> str:
        """Where a moment lies, in words."""
        near = sorted(self.marks, key=lambda mark: abs(mark[0] - at_ns))[:3]
        return ", ".join(f"{(at_ns - mark[0]) / MS:+.1f} ms from {mark[2]}" for mark in near)


def clock_offset_ns() -> int:
    """What CLOCK_MONOTONIC is ahead of the wall clock (far behind it, that is)."""
    return time.monotonic_ns() - time.time_ns()


def moment_ns(entry: Said, offset_ns: int) -> int:
    """The beginning of the millisecond in which an entry was made (CLOCK_MONOTONIC)."""
    return round(datetime.fromisoformat(entry.at).timestamp() * 1000) * MS + offset_ns


def timelines(entries: Sequence[Said], offset_ns: int) -> list[Timeline]:
    """Every recording of a call, in the order of their openings."""
    found: dict[str, Timeline] = {}
    for entry in entries:
        at_ns = moment_ns(entry, offset_ns)
        what = f"{entry.kind} {entry.facts.get('command', entry.facts.get('state', ''))}".strip()
        if what == "recorder.command open":
            found[str(entry.facts["recording"])] = Timeline(str(entry.facts["recording"]))
        concerns = entry.facts.get("recording")
        for timeline in found.values() if concerns is None else [t for t in found.values() if t.recording == concerns]:
            _note(timeline, entry, what, at_ns)
    return list(found.values())


_LESS = ("recorder.command pause", "recorder.command close", "hold.set", "leg.ended", "call.recovered")
_MORE = ("recorder.command open", "recorder.command resume")


def _note(timeline: Timeline, entry: Said, what: str, at_ns: int) -> None:
    """Take one entry into a timeline."""
    state = timeline.marks[-1][1] if timeline.marks else State.FORBIDDEN
    commands = [mark[2] for mark in timeline.marks if mark[2].startswith("recorder.command")]
    last = commands[-1] if commands else ""
    if what in _MORE:
        timeline.add(at_ns, State.BETWEEN, what)
    elif what == "recorder.observed on" and last in _MORE:
        timeline.add(at_ns + MS, State.CERTAIN, what)
    elif what == "recorder.observed paused" and last == "recorder.command pause":
        timeline.add(at_ns + MS, State.FORBIDDEN, what)
    elif what == "recording.closed":
        timeline.closed = entry.facts
        if not entry.facts["failed"]:
            timeline.add(at_ns + MS, State.FORBIDDEN, what)
    elif what in _LESS and (what != "leg.ended" or entry.facts["leg"] == "channel"):
        timeline.add(at_ns, State.FORBIDDEN if state is State.FORBIDDEN else State.BETWEEN, what)


@dataclass
class Judgement:
    """What was found in one recording."""

    name: str
    leaked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    packets: int = 0
    required: int = 0
    dropped: int = 0
    """What had to be there and is not, in holes as short as Asterisk makes them."""
    unknown: int = 0
    """Packets of a stranger of whom nobody could know yet."""
    margins: dict[str, list[float]] = field(default_factory=dict)

    def insist(self) -> None:
        """Raise `AssertionError` unless everything is right."""
        found = [f"{name}: {text}" for name in ("leaked", "lost", "wrong") for text in getattr(self, name)[:8]]
        counts = f"{len(self.leaked)} leaked, {len(self.lost)} of {self.required} lost, {len(self.wrong)} wrong"
        assert not found, f"{self.name}, {self.packets} packets, {counts}\n" + "\n".join(found)


def read(path: Path) -> Samples:
    """The samples of a finished recording."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)


def judge(name: str, samples: Samples, timeline: Timeline, sent: Sendings) -> Judgement:
    """Compare a recording with its timeline. Raises `Foreign` for a sample that nobody sent."""
    found = Judgement(name)
    recorded: Counter[Packet] = Counter()
    for piece in pieces(samples):
        if piece.number is None or (piece.voice, piece.number) not in sent.at:
            found.wrong.append(f"sample {piece.sample}: {piece.voice.name} {piece.number}, whom nobody here sent")
        else:
            recorded[piece.voice, piece.number] += piece.length
    found.packets = len(recorded)
    for packet, length in recorded.items():
        who, at_ns = f"{packet[0].name} {packet[1]}", sent.at[packet]
        forbidden = timeline.state(at_ns) is State.FORBIDDEN
        if packet[0] not in COVERED and not forbidden and not found.unknown and timeline.unknown(at_ns):
            found.unknown += 1
        elif packet[0] not in COVERED or forbidden:
            found.leaked.append(f"{who}, {length} samples, {timeline.place(at_ns)}")
        if length > PACKET_SAMPLES:
            found.wrong.append(f"{who} is there {length / PACKET_SAMPLES:.2f} times")
    there = {id(sent.of[packet].call) for packet in recorded if packet[0] is PERSON}
    if len(there) > 1:
        found.wrong.append(f"{len(there)} callers are in one file")
    for required in _must_be_there(timeline, sent, recorded):
        found.required += len(required)
        for there_is, group in groupby(required, lambda packet: packet in recorded):
            hole = [] if there_is else list(group)
            if len(hole) > HOLE_PACKETS:
                found.lost += [f"{packet[0].name} {packet[1]}, {timeline.place(sent.at[packet])}" for packet in hole]
            else:
                found.dropped += len(hole)
    if found.dropped > max(HOLE_PACKETS, HOLES_SHARE * found.required):
        found.wrong.append(f"{found.dropped} packets are missing in short holes")
    found.margins = _margins(sorted(sent.at[packet] for packet in recorded), timeline)
    return found


def _must_be_there(timeline: Timeline, sent: Sendings, recorded: Iterable[Packet]) -> Iterable[list[Packet]]:
    """What somebody else in the conversation heard, of each who is covered, while the recorder was certainly on."""
    for speaker in sent.conversation(recorded):
        if speaker.voice in COVERED:
            sendings = [((speaker.voice, number), at_ns) for number, at_ns in speaker.sent.items()]
            yield [packet for packet, at_ns in sendings if packet in sent.heard and timeline.certain(at_ns)]


def _margins(times: list[int], timeline: Timeline) -> dict[str, list[float]]:
    """How far the recorded packets stay from what the evidence states, in ms. None below zero, or there is a leak."""
    margins: dict[str, list[float]] = {}
    for at_ns, _, what in timeline.marks:
        before = times[: bisect.bisect_left(times, at_ns)]
        after = times[len(before) :]
        if what in _MORE and after:
            margins.setdefault(f"{what}: first recorded packet was sent so much later, ms", []).append(
                (after[0] - at_ns) / MS
            )
        elif what in ("recorder.observed paused", "recorder.command close", "recording.closed") and before:
            margins.setdefault(f"{what}: last recorded packet was sent so much earlier, ms", []).append(
                (at_ns - before[-1]) / MS
            )
    return margins
