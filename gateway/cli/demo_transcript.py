"""What the demonstration tells while its call goes on."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.cli.output import say
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.commands import Command
from gateway.domain.events import Event
from gateway.domain.pbx_call import CHANNEL

SAME_KEY_NS = 500_000_000
"""Asterisk tells of a key when it is released: a key that we heard ourselves so long ago is the same."""


@dataclass(slots=True)
class Transcript:
    """A tap that tells the call as it happens and keeps what the summary needs."""

    quiet: bool
    begun_ns: int = 0
    call_id: str = ""
    channel: str = ""
    """Asterisk's Uniqueid of the caller's channel, "" on the inline path."""
    verdict: str = "pending"
    basis: str = ""
    verdict_ns: int = 0
    """When the answer's verdict was durable; a withdrawal later does not move it."""
    states: list[tuple[str, int, str]] = field(default_factory=list)
    pauses: list[tuple[int, int]] = field(default_factory=list)
    """From when a pause was observed until it was to end."""
    closed: list[ev.RecorderClosed] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    hypotheses: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """What was heard, one a pass, and what it amounted to."""
    _spoken: ev.AnswerSpoken | None = field(default=None, repr=False)
    _cause: str = ""
    """Why the recorder was told what it was told last: an Asterisk says only what it does."""
    _heard_ns: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    _paused_ns: int = 0
    _verdict_token: int = 0

    def line(self, mono_ns: int, who: str, what: str) -> None:
        """Print one line of the transcript."""
        if not self.quiet:
            say(f"{(mono_ns - self.begun_ns) / 1e9:8.3f} s  {who:<9} {what}")

    def now(self, who: str, what: str) -> None:
        """Print a line about what happened this moment."""
        self.line(time.monotonic_ns(), who, what)

    def __call__(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        match what:
            case ev.CallArrived():
                self.begun_ns, self.call_id = mono_ns, call_id
                self.basis = str(what.facts.get("basis", ""))
                self.channel = str(what.facts.get("channel", ""))
                of_channel = f", Asterisk's Uniqueid {self.channel}" if self.channel else ""
                self.line(mono_ns, "caller", f"calls; our call id {call_id}{of_channel}")
            case ev.PromptStarted():
                self.line(mono_ns, "gateway", f"plays to the {what.play.partition(':')[0]}")
            case ev.PromptFinished():
                heard = "to its end" if what.completed else "cut short"
                self.line(mono_ns, "gateway", f"prompt heard {heard}: {what.played_ms} of {what.length_ms} ms")
            case ev.DigitPressed():
                self._pressed(what, mono_ns)
            case ev.SpeechBegan():
                self.line(mono_ns, what.leg, "begins to speak")
            case ev.AnswerSpoken():
                self._spoken = what
            case do.AppendEvidence(kind="answer.speech"):
                self._listened(what.facts, mono_ns)
            case do.AppendEvidence(kind="verdict") if what.facts["party"] == "caller":
                self.verdict = str(what.facts["verdict"])
                self._verdict_token = what.token
            case ev.EvidenceDurable() if what.token == self._verdict_token:
                self.verdict_ns = self.verdict_ns or what.at_ns
                self.line(mono_ns, "evidence", f"verdict {self.verdict} is durable")
            case ev.LegAnswered(leg="agent"):
                self.line(mono_ns, "agent", "answers; both are connected")
            case ev.PartyJoined():
                self.line(mono_ns, "agent", f"answers; both are connected (his channel is {what.party})")
            case do.OpenRecorder():
                allows = f"tells Asterisk over AMI: verdict {self.verdict}, it may record" if self.channel else ""
                self.line(mono_ns, "gateway", allows or "opens the recorder")
                self._cause = what.cause
            case do.ReturnCall():
                self.line(mono_ns, "gateway", f"tells Asterisk over AMI: verdict {what.verdict}, nothing is recorded")
            case do.PauseRecorder():
                self._cause = what.cause
            case do.ResumeRecorder():
                self._cause = what.cause
                self._resumes(mono_ns)
            case ev.RecorderObserved(recording="foreign"):
                self.line(what.at_ns, "recorder", "one that nobody allowed is running")
            case ev.RecorderObserved():
                self._observed(what)
            case ev.RecorderClosed():
                self._recorder_closed(what, mono_ns)
            case ev.LegEnded():
                self._leg_ended(what, mono_ns)
            case do.RaiseAlarm():
                self.alarms.append(what.alarm)
                self.line(mono_ns, "ALARM", what.alarm)
            case do.CallOver():
                self.line(mono_ns, "gateway", f"call over: {what.cause}")

    def _listened(self, facts: Mapping[str, object], mono_ns: int) -> None:
        """Tell what came of something the caller said."""
        counted, because = facts["counted"], str(facts["because"])
        hearings = (self._spoken.hearings or ()) if self._spoken is not None else ()
        meaning = str(facts.get("meaning", "no answer"))
        self.hypotheses += [
            {"text": one.text, "score": one.score, "meaning": meaning, "because": because}
            for hearing in hearings
            for one in hearing.hypotheses[:1]
        ]
        what = f"decides: {facts['decision']} ({because})" if counted else f"does not count: {because}"
        took = f", listened to in {facts['elapsed_ms']} ms" if "elapsed_ms" in facts else ""
        self.line(mono_ns, "caller", f"has said something for {facts['speech_ms']} ms{took}; it {what}")

    @property
    def on_ns(self) -> int:
        """When the recorder was first seen running."""
        return next((at for state, at, _ in self.states if state == "on"), 0)

    def recorder(self, end_ns: int) -> list[dict[str, Any]]:
        """Return the recorder's observed states, in ms since the call arrived."""
        moments = [("off", self.begun_ns, "call arrived"), *self.states]
        ends = [at for _, at, _ in moments[1:]] + [max(end_ns, moments[-1][1])]
        return [
            {"state": state, "from_ms": self._ms(at), "to_ms": self._ms(end), "cause": cause}
            for (state, at, cause), end in zip(moments, ends, strict=True)
        ]

    def _pressed(self, event: ev.DigitPressed, mono_ns: int) -> None:
        """Tell of a key once: one that we hear ourselves Asterisk tells of too, over AMI."""
        key = event.leg, event.value
        if event.transport != "ami":
            self._heard_ns[key] = mono_ns
        elif mono_ns - self._heard_ns.pop(key, mono_ns - SAME_KEY_NS) < SAME_KEY_NS:
            return
        self.line(mono_ns, event.leg, f"presses {event.value} ({event.transport})")

    def _observed(self, event: ev.RecorderObserved) -> None:
        if self.states and self.states[-1][0] == event.state:
            self.line(event.at_ns, "recorder", f"still {event.state}: {event.how}")
            return
        how = f": {event.how}" if self.channel else ""
        self._state(event.state, event.at_ns, event.cause or self._cause, how)

    def _recorder_closed(self, event: ev.RecorderClosed, mono_ns: int) -> None:
        self.closed.append(event)
        spans = event.facts.get("spans")
        self.spans += [{"recording": event.recording, **span} for span in spans] if isinstance(spans, list) else []
        self._resumes(event.at_ns)
        self._state("off", event.at_ns, event.failed or "closed")
        checked = f"recording checked against its timeline: {event.facts.get('checked', '-')}"
        if self.channel:
            checked = f"Asterisk's file {event.facts.get('file', '-')}: {event.facts.get('checked', '-')}"
        self.line(mono_ns, "evidence", checked)

    def _leg_ended(self, event: ev.LegEnded, mono_ns: int) -> None:
        """On the asterisk path the caller's leg is the one that asked him, and his channel is the call."""
        who, what = event.leg, f"leg ended ({event.code}, {event.by})"
        if self.channel and event.leg == CHANNEL:
            who, what = "caller", "has hung up" if event.by == "remote" else f"is gone ({event.by})"
        elif self.channel:
            who, what = "gateway", "has left the call to Asterisk" if event.by == "local" else "is out of the call"
        self.line(mono_ns, who, what)

    def _state(self, state: str, at_ns: int, cause: str, how: str = "") -> None:
        if state == "paused":
            self._paused_ns = self._paused_ns or at_ns
        self.states.append((state, at_ns, cause))
        self.line(at_ns, "recorder", f"{state} ({cause}){how}")

    def _resumes(self, at_ns: int) -> None:
        if self._paused_ns:
            self.pauses.append((self._paused_ns, at_ns))
        self._paused_ns = 0

    def _ms(self, at_ns: int) -> int:
        return max(0, (at_ns - self.begun_ns) // 1_000_000)
