"""How long things took, seen from outside the calls: a tap that pairs events and commands by time.

* answer_to_verdict: the counting key went down, or it was known that the counting words had ended -> the verdict is
  durable
* verdict_to_recording: verdict durable and both parties connected -> recorder observed on. Where a PBX connects them
  later: the verdict is being told to it -> recorder observed on
* pause_to_silence: the pause was asked for -> recorder observed paused
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT
from gateway.domain.commands import Command
from gateway.domain.events import Event

NAMES = ("answer_to_verdict", "verdict_to_recording", "pause_to_silence")


@dataclass(slots=True)
class _Marks:
    pressed_ns: int | None = None
    spoken_ns: int | None = None
    answer_ns: int | None = None
    verdict_token: int | None = None
    durable_ns: int | None = None
    connected_ns: int | None = None
    pause_ns: int | None = None
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class LatencyTap:
    """A `Tap`. *observe* is told (name, seconds) once per measurement; `of` gives one call's first values in ms."""

    observe: Callable[[str, float], None] = lambda name, seconds: None
    _marks: dict[str, _Marks] = field(default_factory=dict)

    def __call__(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        marks = self._marks.setdefault(call_id, _Marks())
        match what:
            case ev.DigitPressed() if marks.verdict_token is None:
                marks.pressed_ns = what.at_ns
            case ev.AnswerSpoken() if marks.verdict_token is None:
                marks.spoken_ns = what.at_ns
            case do.AppendEvidence(kind="answer.speech") if marks.verdict_token is None and what.facts["counted"]:
                marks.answer_ns = marks.spoken_ns
            case do.AppendEvidence(kind="answer.digit") if marks.verdict_token is None and what.facts["counted"]:
                marks.answer_ns = marks.pressed_ns
            case do.AppendEvidence(kind="verdict") if marks.verdict_token is None:
                marks.verdict_token = what.token
            case ev.EvidenceDurable() if what.token == marks.verdict_token and marks.durable_ns is None:
                marks.durable_ns = what.at_ns
                self._measure(marks, "answer_to_verdict", marks.answer_ns, what.at_ns)
            case ev.LegAnswered(leg=leg) if leg == AGENT:
                marks.connected_ns = what.at_ns
            case do.OpenRecorder():
                marks.connected_ns = marks.connected_ns or mono_ns
            case ev.RecorderObserved(state="on") if marks.durable_ns is not None:
                begin = max(marks.durable_ns, marks.connected_ns or 0)
                if "verdict_to_recording" not in marks.measured:
                    self._measure(marks, "verdict_to_recording", begin, what.at_ns)
            case do.PauseRecorder():
                marks.pause_ns = marks.pause_ns or mono_ns
            case ev.PauseRequested():
                marks.pause_ns = what.at_ns
            case ev.RecorderObserved(state="paused"):
                self._measure(marks, "pause_to_silence", marks.pause_ns, what.at_ns)
                marks.pause_ns = None

    def _measure(self, marks: _Marks, name: str, begin_ns: int | None, end_ns: int) -> None:
        if begin_ns is None:
            return
        seconds = max(0, end_ns - begin_ns) / 1e9
        marks.measured.setdefault(name, round(seconds * 1000, 3))
        self.observe(name, seconds)

    def of(self, call_id: str) -> dict[str, float | None]:
        """Return the call's first measurement of each name in milliseconds, None where there was none."""
        marks = self._marks.get(call_id, _Marks())
        return {name: marks.measured.get(name) for name in NAMES}

    def forget(self, call_id: str) -> None:
        """Drop a call that is over."""
        self._marks.pop(call_id, None)
