"""Calls written as they happen: `<<` is what the call must ask for, `>>` is what happens to it.

Every act must be expected, in order. Entries and timers may be left out, but those that are written down must come, in
order too. `DURABLE` lets a slow log catch up; with a fast log (the default) every entry is durable at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, Call
from gateway.domain.commands import Command
from gateway.domain.rules import Rules

DURABLE = "everything asked for becomes durable"


@dataclass(frozen=True)
class Entry:
    """Expect an entry of *kind* whose facts include these."""

    kind: str
    facts: dict[str, Any]

    def matches(self, command: Command) -> bool:
        return (
            isinstance(command, do.AppendEvidence)
            and command.kind == self.kind
            and all(command.facts.get(name, "no such fact") == value for name, value in self.facts.items())
        )


@dataclass(frozen=True)
class Any_:
    """Expect a command of this type with these fields, whatever the others."""

    kind: type[Command]
    fields: dict[str, Any]

    def matches(self, command: Command) -> bool:
        return type(command) is self.kind and all(getattr(command, k) == v for k, v in self.fields.items())


def entry(kind: str, **facts: Any) -> Entry:
    return Entry(kind, facts)


def verdict(value: str, party: str = CALLER) -> Entry:
    return Entry("verdict", {"party": party, "verdict": value})


def digit(because: str, *, counted: bool = False, **facts: Any) -> Entry:
    return Entry("answer.digit", {"because": because, "counted": counted, **facts})


def opens(recording: str = "call-1") -> Any_:
    return Any_(do.OpenRecorder, {"recording": recording})


def resumes(recording: str = "call-1") -> Any_:
    return Any_(do.ResumeRecorder, {"recording": recording})


def pauses(recording: str = "call-1") -> Any_:
    return Any_(do.PauseRecorder, {"recording": recording})


def closes(recording: str = "call-1", **fields: Any) -> Any_:
    return Any_(do.CloseRecorder, {"recording": recording, **fields})


def says(prompt: str, leg: str = CALLER) -> Any_:
    return Any_(do.PlayPrompt, {"leg": leg, "prompt": prompt})


# --- what happens, at a time in milliseconds -------------------------------------------------------------------------


def ns(ms: int) -> int:
    return ms * 1_000_000


def key(value: str, ms: int = 0, leg: str = CALLER) -> ev.DigitPressed:
    return ev.DigitPressed(at_ns=ns(ms), leg=leg, value=value)


def keys(text: str, leg: str = CALLER, ms: int = 20_000) -> list[ev.Event]:
    return [key(value, ms, leg) for value in text]


def starts(play: str, ms: int = 0) -> ev.PromptStarted:
    return ev.PromptStarted(at_ns=ns(ms), play=play)


def ends(play: str, played_ms: int = 5_000, length_ms: int = 5_000, *, completed: bool | None = None) -> ev.Event:
    whole = played_ms == length_ms if completed is None else completed
    return ev.PromptFinished(at_ns=ns(played_ms), play=play, played_ms=played_ms, length_ms=length_ms, completed=whole)


def hears(play: str) -> list[ev.Event]:
    """A prompt of five seconds, heard from beginning to end."""
    return [starts(play), ends(play)]


def fires(timer: str) -> ev.TimerFired:
    return ev.TimerFired(at_ns=ns(600_000), timer=timer)


def answers(leg: str) -> ev.LegAnswered:
    return ev.LegAnswered(at_ns=0, leg=leg, codec="PCMU")


def gone(leg: str, code: int = 200, by: str = "remote") -> ev.LegEnded:
    return ev.LegEnded(at_ns=ns(40_000), leg=leg, code=code, by=by)


def seen(state: str, recording: str = "call-1") -> ev.RecorderObserved:
    return ev.RecorderObserved(at_ns=0, recording=recording, state=state)


def closed(recording: str = "call-1", failed: str = "", **facts: Any) -> ev.RecorderClosed:
    return ev.RecorderClosed(at_ns=0, recording=recording, facts=facts, failed=failed)


def pause(reason: str = "agent_key", request: str = "") -> ev.PauseRequested:
    return ev.PauseRequested(at_ns=ns(20_000), reason=reason, actor="desk", request=request)


def resume(reason: str = "agent_key", request: str = "") -> ev.ResumeRequested:
    return ev.ResumeRequested(at_ns=ns(21_000), reason=reason, actor="desk", request=request)


def withdraw(party: str = CALLER, request: str = "") -> ev.WithdrawRequested:
    return ev.WithdrawRequested(at_ns=0, party=party, actor="desk", request=request)


def reconsent(party: str = CALLER, request: str = "") -> ev.ReconsentRequested:
    return ev.ReconsentRequested(at_ns=0, party=party, actor="desk", request=request)


ARRIVES = ev.CallArrived(at_ns=0)
ASK = "caller:ask:1"
ASK_2 = "caller:ask:2"
TOLD = "caller:notice:1"

LENIENT = (do.AppendEvidence, do.StartTimer, do.StopTimer)


class Playbook:
    """One call and the script it must follow."""

    kind: ClassVar[type[Call]] = Call

    def __init__(self, *, slow_log: bool = False, **rules: Any) -> None:
        self.call = self.kind("call", Rules(**rules))
        self.slow_log = slow_log
        self.asked: list[Command] = []
        self.seen: list[Command] = []
        self.pending: list[int] = []

    def __rshift__(self, happens: ev.Event | Sequence[ev.Event] | str) -> "Playbook":
        self._nothing_left()
        if isinstance(happens, str):
            assert happens == DURABLE
            self._durable()
            return self
        for event in [happens] if isinstance(happens, ev.Event) else happens:
            self._handle(event)
            if not self.slow_log:
                self._durable()
        return self

    def __lshift__(self, expected: Command | Entry | Any_) -> "Playbook":
        asked = list(self.asked)
        while self.asked:
            command = self.asked.pop(0)
            if command == expected if isinstance(expected, Command) else expected.matches(command):
                return self
            assert isinstance(command, LENIENT), f"{command} came before {expected}"
        raise AssertionError(f"{expected} was not asked for, but {asked}")

    def lose(self, kind: str) -> "Playbook":
        """The newest waiting entry of *kind* is lost."""
        self._nothing_left()
        token = [e.token for e in self.seen if isinstance(e, do.AppendEvidence) and e.kind == kind][-1]
        self.pending.remove(token)
        self._handle(ev.EvidenceFailed(at_ns=0, token=token))
        return self

    def end(self) -> None:
        """Nothing else was asked for."""
        self._nothing_left()

    def entries(self, kind: str) -> list[do.AppendEvidence]:
        return [e for e in self.seen if isinstance(e, do.AppendEvidence) and e.kind == kind]

    def commands(self, kind: type[do.Command]) -> list[do.Command]:
        """Every command of a type so far."""
        return [command for command in self.seen if isinstance(command, kind)]

    def _nothing_left(self) -> None:
        left = [command for command in self.asked if not isinstance(command, LENIENT)]
        assert not left, f"nobody expected {left}"
        self.asked.clear()

    def _handle(self, event: ev.Event) -> None:
        commands = self.call.handle(event)
        self.asked += commands
        self.seen += commands
        self.pending += [c.token for c in commands if isinstance(c, do.AppendEvidence)]

    def _durable(self) -> None:
        while self.pending:
            self._handle(ev.EvidenceDurable(at_ns=0, token=self.pending.pop(0)))


# --- the beginnings of many calls ------------------------------------------------------------------------------------


def asked(**rules: Any) -> Playbook:
    """A call whose caller hears the question."""
    book = Playbook(**rules)
    return (
        book >> ARRIVES << do.AnswerCall(CALLER) >> answers(CALLER) << do.PlayPrompt(CALLER, "ask", ASK) >> starts(ASK)
    )


def listening(**rules: Any) -> Playbook:
    """A call whose caller heard the whole question."""
    return asked(**rules) >> ends(ASK) << do.StartTimer("answer:caller:1", 6_000)


def dialling(answer: str = "1", **rules: Any) -> Playbook:
    """A call whose caller answered and was told; the agent's phone rings."""
    told = {"1": "granted", "2": "refused"}[answer]
    return (
        listening(**rules)
        >> key(answer, 6_000)
        << says(told)
        >> hears(TOLD)
        << do.ConnectAgent(AGENT, recorded=answer == "1")
    )


def recording(**rules: Any) -> Playbook:
    """A call that is being recorded, and seen to be."""
    book = dialling(**rules) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT)
    if book.slow_log:
        book >> DURABLE
    return book << opens() >> seen("on")


def refused(**rules: Any) -> Playbook:
    """A call whose caller said no, and who talks to the agent all the same."""
    return dialling("2", **rules) >> answers(AGENT) << do.BridgeLegs(CALLER, AGENT)


def paused(**rules: Any) -> Playbook:
    """A recorded call, paused by the agent's key."""
    return recording(**rules) >> keys("*71", AGENT) << pauses() >> seen("paused") << says("paused", AGENT)
