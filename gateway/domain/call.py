"""The call: legs, parties, holds and the recorder, coupled to a fixed point after every event.

`handle` takes one event and returns the commands it leads to. It decides; it performs nothing. Commands that record
less stand first in the answer, so nothing can delay them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.codes import match_code
from gateway.domain.commands import Command
from gateway.domain.consent import COVERED, UNCOVERED, Consent, State, Verdict, digit_entry, step
from gateway.domain.recording import (
    AWAITED,
    LIVE,
    Act,
    Hold,
    Recorder,
    RecorderState,
    Stage,
    desired_state,
    hold_key,
)
from gateway.domain.rules import RECORDING, FailMode, PauseLimitAction, Rules

CALLER = "caller"
AGENT = "agent"
AGENT_KEY = "agent_key"
POLICY = "policy"
"""The actor of what nobody in particular did."""
PRIVATE_CALL = "private_call"
"""The reason of an agent's hold for a call that is his own affair: it has no limit."""
NOTES_CAP = 20
"""At most this many uncounted key presses and refused requests of one call are written down: nobody must fill the log
by typing."""
TOPICAL = (ev.DigitPressed, ev.PromptStarted, ev.PromptFinished, ev.TimerFired, ev.SpeechBegan, ev.AnswerSpoken)
"""What a dialogue about one purpose takes: everything else is about the caller as a whole."""
MOST_SINKS = 20
"""So many sinks one call may have."""
Request = ev.PauseRequested | ev.ResumeRequested | ev.WithdrawRequested | ev.ReconsentRequested


class Phase(StrEnum):
    """How far the call has come."""

    ARRIVED = "arrived"
    ASKING = "asking"
    TELLING = "telling"
    DIALLING = "dialling"
    RETURNING = "returning"
    TALKING = "talking"
    ENDING = "ending"
    OVER = "over"


PHASES: Mapping[Phase, tuple[Phase, ...]] = {
    Phase.ARRIVED: (Phase.ASKING, Phase.DIALLING, Phase.ENDING),
    Phase.ASKING: (Phase.TELLING, Phase.ENDING),
    Phase.TELLING: (Phase.DIALLING, Phase.ENDING),
    Phase.DIALLING: (Phase.TALKING, Phase.ENDING),
    Phase.TALKING: (Phase.ENDING,),
    Phase.ENDING: (Phase.OVER,),
    Phase.OVER: (),
}
"""Which phase may follow which; anything else is a bug in this file and raises."""


@dataclass(slots=True)
class Leg:
    """One leg of the call as far as the core cares."""

    up: bool = False
    gone: bool = False
    held: bool = False
    pending: str = ""


class IllegalPhase(RuntimeError):
    """A phase was to follow one that it cannot follow. Nothing was changed."""


class Call:
    """One call's whole truth. Deterministic: the same events give the same commands."""

    phases: ClassVar[Mapping[Phase, tuple[Phase, ...]]] = PHASES

    @property
    def handlers(self) -> "Handlers":
        """What is done for each type of event; a type that is not there is not of this call's way."""
        return HANDLERS

    def __init__(self, call_id: str, rules: Rules) -> None:
        self.call_id = call_id
        self.rules = rules
        self.phase = Phase.ARRIVED
        self.parties: dict[str, Consent] = {CALLER: Consent(CALLER)}
        self.legs: dict[str, Leg] = {CALLER: Leg()}
        self.holds: dict[str, Hold] = {}
        self.recorder = Recorder()
        self.provable = True
        self.cause = ""
        self._waiting: set[int] = set()
        self._tokens = 0
        self._lost = 0
        self._unclosed: set[str] = set()
        self._notes = 0
        self._notices = 0
        self._verdict_token = 0
        self._end_token = 0
        self._why = ""
        self._telling = ""
        self._topic: Consent | None = None
        """The dialogue about a purpose beside recording, while there is one."""
        self._topics: list[str] = []
        """Purposes that are still to be asked for, should he agree before the conversation."""
        self._also: set[str] = set()
        """Those that were agreed to by an answer of their own."""
        self._sinks: dict[tuple[str, str], None] = {}
        """(name, purpose) of what may do something with the call beside the recorder."""
        self._barred: Mapping[str, str] = {}
        self._declined = False
        self._out: list[Command] = []
        self._now = 0

    # --- what others may read ---------------------------------------------------------------------------------------

    @property
    def verdict(self) -> Verdict:
        """The caller's verdict."""
        return self.parties[CALLER].verdict

    @property
    def purposes(self) -> Mapping[str, bool]:
        """Every purpose of the call, and whether anything may be done for it now: while the parties talk, all of them
        cover it, and no hold is set. It is there for whoever transcribes or analyses beside the recorder."""
        free = self.phase is Phase.TALKING and self.provable and self._coverage() is RecorderState.ON
        return {purpose: free and purpose in self._granted(CALLER) for purpose in self.rules.purposes}

    @property
    def desired(self) -> RecorderState:
        """What the recorder should be. Before the parties talk, when evidence was lost, and when "recording" is not
        among the purposes that the parties are asked for: off."""
        return self._coverage() if self._may_be_recorded() else RecorderState.OFF

    def _coverage(self) -> RecorderState:
        return desired_state([party.verdict for party in self._present()], self._holds_that_count())

    def _may_be_recorded(self) -> bool:
        return self.phase is Phase.TALKING and self.provable and RECORDING in self.rules.purposes

    def _present(self) -> Iterable[Consent]:
        """The parties who can be heard on a recording."""
        return [party for name, party in self.parties.items() if self.legs[name].up]

    def _holds_that_count(self) -> Iterable[Hold]:
        return self.holds.values()

    @property
    def recording(self) -> str:
        """The id of the newest recording (not necessarily open)."""
        return f"{self.call_id}-{self.recorder.ordinal}"

    @property
    def confirmed(self) -> bool:
        """Whether the recorder was seen to do what it was told last."""
        return self.recorder.stage not in AWAITED

    @property
    def evidence_is_durable(self) -> bool:
        """Every entry asked for so far is on the disk."""
        return not self._waiting and self.provable

    # --- the machine ------------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event) -> list[Command]:
        """Take *event* in and return what is to be done, less-recording commands first. Total over all events."""
        self._out = []
        self._now = event.at_ns
        if self.phase is not Phase.OVER:
            self.handlers[type(event)](self, event)
            self._end_sinks()
            self._settle()
        less = [c for c in self._out if isinstance(c, do.PauseRecorder | do.CloseRecorder)]
        return less + [c for c in self._out if c not in less]

    def _settle(self) -> None:
        """Couple consent, holds, recorder and phase until nothing moves any more."""
        while self._reconcile_recorder() or self._let_waiting_act() or self._further() or self._finish():
            pass

    def _further(self) -> bool:
        """What a way through the network adds to the fixed point; say whether anything moved."""
        return False

    def _reconcile_recorder(self) -> bool:
        before = self.recorder
        self.recorder, act = before.reconcile(self.desired)
        self._act(act)
        return self.recorder != before

    def _let_waiting_act(self) -> bool:
        if not self.evidence_is_durable:
            return False
        before = self.recorder
        self.recorder, act = before.durable()
        self._act(act)
        return self.recorder != before

    def _act(self, act: Act) -> None:
        if act is Act.NOTHING:
            return
        cause = self._why or "policy"
        if act is Act.OPEN:
            self._emit(do.OpenRecorder(self.recording, self._verdict_token, cause))
        elif act is Act.RESUME:
            self._emit(do.ResumeRecorder(self.recording, self._verdict_token, cause))
        elif act is Act.PAUSE:
            self._emit(do.PauseRecorder(self.recording, cause))
        elif act is Act.CLOSE:
            purge = self.rules.purge_on_withdrawal and self.verdict is Verdict.WITHDRAWN
            self._emit(do.CloseRecorder(self.recording, cause, purge))
        command = {Act.LOG_OPEN: "open", Act.LOG_RESUME: "resume", Act.PAUSE: "pause", Act.CLOSE: "close"}.get(act)
        if command is not None:
            self._log("recorder.command", recording=self.recording, command=command, cause=cause)
        if self.recorder.stage in AWAITED:
            self._await_recorder()

    def _await_recorder(self) -> None:
        closing = self.recorder.stage is Stage.CLOSING
        limit = self._close_limit_ms() if closing else self.rules.observe_timeout_ms
        self._emit(do.StartTimer(self._observe_timer, limit))

    def _close_limit_ms(self) -> int:
        """How long the end of a recording may take."""
        return self.rules.close_timeout_ms

    @property
    def _observe_timer(self) -> str:
        return f"observe:{self.recording}"

    def _finish(self) -> bool:
        """When everything is gone and written down: the last entry, then the end."""
        if self.phase is not Phase.ENDING or self._waiting:
            return False
        if self.recorder.stage in LIVE or self.recorder.stage is Stage.CLOSING:
            return False
        if not all(leg.gone for leg in self.legs.values()):
            return False
        if not self._end_token:
            entries = self._tokens - self._lost + 1
            self._end_token = self._log("call.ended", cause=self.cause, entries=entries)
            return True
        self._go(Phase.OVER)
        self._emit(do.CallOver(self.cause))
        return True

    # --- small helpers ----------------------------------------------------------------------------------------------

    def _emit(self, command: Command) -> None:
        self._out.append(command)

    def _go(self, phase: Phase) -> None:
        if phase not in self.phases[self.phase]:
            raise IllegalPhase(f"{phase} cannot follow {self.phase}")
        self.phase = phase

    def _log(self, kind: str, personal: Mapping[str, str] | None = None, /, **facts: object) -> int:
        return self._append(do.AppendEvidence(kind, facts, 0, dict(personal or {})))

    def _append(self, entry: do.AppendEvidence) -> int:
        """Number an entry and ask for it. `call.ended` counts all entries: nothing may follow it."""
        if self._end_token:
            return 0
        self._tokens += 1
        self._waiting.add(self._tokens)
        self._emit(replace(entry, token=self._tokens))
        return self._tokens

    def _reply(self, request: str, accepted: bool, code: str, because: str = "") -> None:
        if request:
            self._emit(do.Reply(request, accepted, code, because))

    def _notice(self, leg: str, prompt: str) -> str:
        """Play a short notice to a leg that is up; nobody waits for it but the phase that asked for it."""
        self._notices += 1
        play = f"{leg}:notice:{self._notices}"
        if self.legs[leg].up:
            self._emit(do.PlayPrompt(leg, prompt, play))
        return play

    def _end(self, cause: str) -> None:
        """Begin to end the call: hang up every leg that is not gone."""
        if self.phase in (Phase.ENDING, Phase.OVER):
            return
        self._go(Phase.ENDING)
        self.cause = self._why = cause
        for name, leg in self.legs.items():
            if not leg.gone:
                self._emit(do.HangUpLeg(name))

    # --- consent ----------------------------------------------------------------------------------------------------

    def _step(self, party: str, event: ev.Event) -> None:
        """Let one party's machine take *event*; write its change of verdict down and let the call follow it."""
        if party == CALLER and self._topic is not None:
            if isinstance(event, TOPICAL):
                self._step_topic(self._topic, event)
                return
            self._drop_topics(self._topic)
        before = self.parties[party]
        after, wanted = step(before, event, self.rules)
        self.parties[party] = after
        self._carry_out(wanted)
        if after.verdict is not before.verdict:
            self._verdict_changed(party, event)

    def _carry_out(self, wanted: Iterable[Command]) -> None:
        for command in wanted:
            if isinstance(command, do.AppendEvidence) and command.kind in ("answer.digit", "answer.speech"):
                self._append_capped(command)
            elif isinstance(command, do.AppendEvidence):
                self._append(command)
            else:
                self._emit(command)

    def _step_topic(self, before: Consent, event: ev.Event) -> None:
        """Let the dialogue about another purpose take *event*; its answer is one about that purpose and no other."""
        self._topic, wanted = step(before, event, self.rules)
        self._carry_out(wanted)
        after = self._topic
        if after.verdict is Verdict.PENDING:
            return
        self._topic = None
        self.parties[CALLER] = replace(self.parties[CALLER], plays=after.plays)
        if after.verdict is Verdict.GRANTED:
            self._also.add(after.topic)
        self._log_verdict(CALLER, asked=after.topic, answer=str(after.verdict))
        self._ask_or_tell(CALLER, "granted")

    def _ask_or_tell(self, party: str, prompt: str) -> None:
        """Ask for the next purpose; when all were asked for, tell what was decided."""
        if self._topics:
            fresh = Consent(party, topic=self._topics.pop(0), plays=self.parties[party].plays)
            self._topic, wanted = step(fresh, ev.AskStarted(at_ns=self._now), self.rules)
            self._carry_out(wanted)
        else:
            self._go(Phase.TELLING)
            self._telling = self._notice(party, prompt)

    def _drop_topics(self, topic: Consent) -> None:
        """Ask for nothing more: the caller has gone, or taken everything back."""
        self._topic, self._topics = None, []
        self.parties[CALLER] = replace(self.parties[CALLER], plays=topic.plays)
        self._emit(do.StopTimer(topic.timer))
        if self.legs[CALLER].up:
            self._emit(do.StopPrompt(CALLER, topic.play))

    def _append_capped(self, entry: do.AppendEvidence) -> None:
        if not entry.facts.get("counted"):
            self._notes += 1
            if self._notes > NOTES_CAP:
                return
        self._append(entry)

    def _verdict_changed(self, party: str, event: ev.Event) -> None:
        verdict = self.parties[party].verdict
        if verdict is Verdict.PENDING:
            return
        self._why = f"{party} {verdict}"
        if party == CALLER:
            others = [purpose for purpose in self.rules.purposes if purpose != RECORDING]
            self._topics, self._also = others if self.rules.one_by_one else [], set()
        self._log_verdict(party)
        if isinstance(event, ev.PartyLeft):
            return
        refused_call = verdict not in COVERED and self.rules.fail_mode is FailMode.REFUSE_CALL
        prompt = {Verdict.GRANTED: "granted", Verdict.WITHDRAWN: "withdrawn"}.get(verdict, "refused")
        if self.phase is Phase.ASKING and verdict is Verdict.GRANTED:
            self._ask_or_tell(party, prompt)
            return
        if self.phase is Phase.ASKING:
            self._go(Phase.TELLING)
        if verdict is Verdict.NOT_REQUIRED:
            if self.phase is Phase.TELLING:  # by the announcement, unless the call is being ended already
                self._told()
        elif self.phase is Phase.TELLING:
            self._telling = self._notice(party, prompt)
        elif self.phase is Phase.DIALLING and refused_call:
            self._end("recording refused")
        elif self.phase is Phase.TALKING:
            self._notice(party, prompt)
            if refused_call:
                self._end("recording refused")

    def _log_verdict(self, party: str, **facts: object) -> None:
        granted = self._granted(party)
        self._verdict_token = self._log(
            "verdict",
            party=party,
            verdict=str(self.parties[party].verdict),
            basis=str(self.rules.agent_basis if party == AGENT else self.rules.basis),
            purposes={purpose: purpose in granted for purpose in self.rules.purposes},
            **facts,
        )

    def _granted(self, party: str) -> frozenset[str]:
        """The purposes that *party* covers: none without a verdict that does, and of those that are asked for one by
        one, each by an answer of its own."""
        verdict = self.parties[party].verdict
        if verdict not in COVERED:
            return frozenset()
        if self.rules.one_by_one and verdict is Verdict.GRANTED:
            return frozenset({RECORDING, *self._also})
        return frozenset(self.rules.purposes)

    def _told(self) -> None:
        """The caller heard what was decided: go on."""
        if self.verdict not in COVERED and self.rules.fail_mode is FailMode.REFUSE_CALL:
            self._end("recording refused")
        else:
            self._go_on()

    def _go_on(self) -> None:
        """The caller is decided about and knows it: to the agent."""
        if self._declined and self.rules.fail_mode is FailMode.REFUSE_CALL:
            self._end("agent declined to be recorded")
            return
        self._go(Phase.DIALLING)
        self.legs[AGENT] = Leg()
        self.parties[AGENT] = Consent(AGENT, state=State.REFUSED if self._declined else State.NOT_REQUIRED)
        self._emit(do.ConnectAgent(AGENT, recorded=self.verdict in COVERED and not self._declined))

    # --- events -----------------------------------------------------------------------------------------------------

    def _call_arrived(self, event: ev.CallArrived) -> None:
        self._log("call.arrived", event.personal, **event.facts)
        self._emit(do.AnswerCall(CALLER))

    def _leg_rang(self, event: ev.LegRang) -> None:
        """Ringing is not a conversation: nothing follows from it."""

    def _leg_answered(self, event: ev.LegAnswered) -> None:
        leg = self.legs.get(event.leg)
        if leg is None or leg.up or leg.gone or self.phase is Phase.ENDING:
            return
        leg.up = True
        self._log("leg.answered", leg=event.leg, codec=event.codec)
        if event.leg == AGENT:
            self._begin_conversation()
        elif self.rules.ask or self.rules.announce:
            self._go(Phase.ASKING)
            self._step(CALLER, ev.AskStarted(at_ns=event.at_ns))
        else:
            self.parties[CALLER] = Consent(CALLER, state=State.NOT_REQUIRED)
            self._log_verdict(CALLER)
            self._go_on()

    def _begin_conversation(self) -> None:
        self._log_verdict(AGENT)
        self.parties[CALLER] = replace(self.parties[CALLER], in_conversation=True)
        self._why = "conversation began"
        self._go(Phase.TALKING)
        self._emit(do.BridgeLegs(CALLER, AGENT))

    def _leg_held(self, event: ev.LegHeld) -> None:
        leg = self.legs.get(event.leg)
        if leg is None or leg.held == event.held:
            return
        leg.held = event.held
        self._log("leg.held", leg=event.leg, held=event.held)

    def _leg_ended(self, event: ev.LegEnded) -> None:
        leg = self.legs.get(event.leg)
        if leg is None or leg.gone:
            return
        leg.up, leg.gone = False, True
        self._log("leg.ended", leg=event.leg, code=event.code, by=event.by)
        if event.leg in self.parties:
            self._step(event.leg, ev.PartyLeft(at_ns=event.at_ns))
        if event.leg == AGENT and self.phase is Phase.DIALLING:
            self._end(_DIAL_FAILURES.get(event.code, "agent unreachable"))
        else:
            self._end(f"{event.leg} hung up" if event.by == "remote" else f"{event.leg} {event.by}")

    def _prompt(self, event: ev.PromptStarted | ev.PromptFinished) -> None:
        for party in tuple(self.parties):
            self._step(party, event)
        if isinstance(event, ev.PromptFinished) and self.phase is Phase.TELLING and event.play == self._telling:
            self._told()

    def _digit(self, event: ev.DigitPressed) -> None:
        name = self._pressed_on(event)
        leg = self.legs.get(name)
        if leg is None or not leg.up:
            return
        codes = self._codes(name)
        matched = match_code(leg.pending, event.value, codes)
        leg.pending = matched.pending
        self._emit(do.StopTimer(f"code:{name}"))
        if matched.pending:
            self._emit(do.StartTimer(f"code:{name}", self.rules.code_gap_ms))
        if matched.passed:
            self._ordinary_digits(event, matched.passed)
        if matched.code:
            codes[matched.code](event)

    def _spoke(self, event: ev.SpeechBegan | ev.AnswerSpoken) -> None:
        """Only the caller is asked, and only what is said on his own leg is his answer."""
        if event.leg == CALLER:
            self._step(CALLER, event)

    def _pressed_on(self, event: ev.DigitPressed) -> str:
        """The leg whose keys these are."""
        return event.leg

    def _codes(self, leg: str) -> dict[str, Callable[[ev.DigitPressed], None]]:
        """The in-call codes of a leg: a party's codes work on his own leg only."""
        if leg == AGENT:
            return {
                self.rules.pause_code: self._agent_pauses,
                self.rules.resume_code: self._agent_resumes,
                self.rules.private_code: self._agents_own_affair,
            }
        return {self.rules.withdraw_code: self._caller_withdraws, self.rules.reconsent_code: self._caller_consents_anew}

    def _agent_pauses(self, event: ev.DigitPressed) -> None:
        self._pause(ev.PauseRequested(at_ns=event.at_ns, reason=AGENT_KEY, actor=AGENT))

    def _agent_resumes(self, event: ev.DigitPressed) -> None:
        self._resume(ev.ResumeRequested(at_ns=event.at_ns, reason=AGENT_KEY, actor=AGENT))

    def _agents_own_affair(self, event: ev.DigitPressed) -> None:
        """Begin a private call, or end it: the same key does both."""
        if PRIVATE_CALL in self.holds:
            self._resume(ev.ResumeRequested(at_ns=event.at_ns, reason=PRIVATE_CALL, actor=AGENT))
        else:
            self._pause(ev.PauseRequested(at_ns=event.at_ns, reason=PRIVATE_CALL, actor=AGENT))

    def _caller_withdraws(self, event: ev.DigitPressed) -> None:
        wish = ev.WithdrawRequested(at_ns=event.at_ns, party=CALLER, actor=CALLER)
        self._note_code(event, self.rules.withdraw_code, self._withdrawal(wish), "withdrawn")
        self._withdraw(wish)

    def _caller_consents_anew(self, event: ev.DigitPressed) -> None:
        wish = ev.ReconsentRequested(at_ns=event.at_ns, party=CALLER, actor=CALLER)
        self._note_code(event, self.rules.reconsent_code, self._reconsenting(wish), "asking")
        self._reconsent(wish)

    def _note_code(self, event: ev.DigitPressed, code: str, outcome: str, counting: str) -> None:
        """Write a caller's in-call code down before what it does: as counted only when it will do it."""
        self._append_capped(digit_entry(replace(event, value=code), outcome == counting, outcome.replace("_", " ")))

    def _ordinary_digits(self, event: ev.DigitPressed, digits: str) -> None:
        """Digits outside every code: the caller's answer, a wrong leg's attempt at one, or the parties' own affair."""
        open_question = self.verdict is Verdict.PENDING or self._topic is not None
        asked = open_question and self.phase in (Phase.ASKING, Phase.TALKING)
        if event.leg == CALLER and (asked or event.value in self.rules.accept_keys | self.rules.refuse_keys):
            self._step(CALLER, event)
        elif event.leg != CALLER and asked:
            self._append_capped(digit_entry(event, False, "key of the wrong leg"))
        if self.phase is Phase.TALKING and not asked:
            self._relay(event.leg, digits)

    def _relay(self, leg: str, digits: str) -> None:
        """Digits pressed on *leg* in a conversation are for the other side."""
        self._emit(do.RelayDigits(AGENT if leg == CALLER else CALLER, digits))

    def _timer(self, event: ev.TimerFired) -> None:
        kind, _, rest = event.timer.partition(":")
        if kind == "answer":
            for party in self.parties:
                self._step(party, event)
        elif kind == "code" and rest in self.legs:
            leg = self.legs[rest]
            digits, leg.pending = leg.pending, ""
            if digits and self.phase is Phase.TALKING and self.verdict is not Verdict.PENDING:
                self._relay(rest, digits)
        elif kind == "hold" and rest in self.holds and self._is_due(self.holds[rest]):
            self._hold_expired(rest)
        elif kind == "reminder" and rest in self.holds:
            self._remind(rest)
        elif event.timer == self._observe_timer:
            self._not_observed()

    def _evidence_durable(self, event: ev.EvidenceDurable) -> None:
        self._waiting.discard(event.token)

    def _evidence_failed(self, event: ev.EvidenceFailed) -> None:
        """Evidence was lost: this call is not recorded any more, whatever else happens."""
        if event.token not in self._waiting:
            return
        self._waiting.discard(event.token)
        self._lost += 1
        if event.token == self._end_token or not self.provable:
            return
        self.provable = False
        self._why = "evidence unavailable"
        self._emit(do.RaiseAlarm("evidence_unavailable"))
        if self.rules.fail_mode is FailMode.REFUSE_CALL:
            self._end("evidence unavailable")

    # --- recorder ---------------------------------------------------------------------------------------------------

    def _recorder_observed(self, event: ev.RecorderObserved) -> None:
        if event.recording != self.recording or self.recorder.stage not in LIVE | {Stage.CLOSING}:
            self._log("recorder.unexpected", recording=event.recording, state=event.state)
            self._emit(do.RaiseAlarm("recorder_unexpected"))
            self._emit(do.CloseRecorder(event.recording, "nobody opened it"))
            return
        if event.state not in (RecorderState.ON, RecorderState.PAUSED):
            self._log("recorder.unexpected", recording=event.recording, state=event.state)
            self._escalate("recorder_contradicts")
            return
        stage = self.recorder.stage
        self.recorder, contradiction = self.recorder.observe(RecorderState(event.state))
        self._log(
            "recorder.observed",
            recording=event.recording,
            state=event.state,
            at_frame=event.at_frame,
            cause=event.cause,
            how=event.how,
        )
        if contradiction:
            self._escalate("recorder_contradicts")
        elif self.recorder.stage is not stage:
            self._emit(do.StopTimer(self._observe_timer))
            if self.recorder.stage is Stage.PAUSED:
                self._notice(AGENT, "paused")
            elif stage is Stage.RESUMING:
                self._notice(AGENT, "resumed")

    def _escalate(self, alarm: str) -> None:
        """What was commanded was not seen: stop the recorder for the rest of the call, and tell."""
        self._emit(do.RaiseAlarm(alarm))
        self._emit(do.CloseRecorder(self.recording, alarm))
        self._log("recorder.command", recording=self.recording, command="close", cause=alarm)
        self.recorder = replace(self.recorder, stage=Stage.CLOSING, distrusted=True)
        self._await_recorder()

    def _not_observed(self) -> None:
        if self.recorder.stage is Stage.CLOSING:
            self._log("recording.closed", recording=self.recording, failed="the end was never observed")
            self._unclosed.add(self.recording)
            self._emit(do.RaiseAlarm("recorder_unclosed"))
            self._recorder_is_closed("the end was never observed")
        elif self.recorder.stage in AWAITED and self.rules.stop_unconfirmed:
            self._escalate("recorder_unobserved")
        elif self.recorder.stage in AWAITED:
            self._log("recorder.unconfirmed", recording=self.recording, commanded=str(self.recorder.stage))
            self._emit(do.RaiseAlarm("recorder_unobserved"))

    def _recorder_closed(self, event: ev.RecorderClosed) -> None:
        if event.recording in self._unclosed:
            self._unclosed.discard(event.recording)
            self._log_closed(event)
            return
        if event.recording != self.recording or self.recorder.stage not in LIVE | {Stage.CLOSING}:
            return
        self._emit(do.StopTimer(self._observe_timer))
        self._log_closed(event)
        if event.failed or self.recorder.stage is not Stage.CLOSING:
            self._emit(do.RaiseAlarm("recording_failed"))
        self._recorder_is_closed(event.failed or ("" if self.recorder.stage is Stage.CLOSING else "closed by itself"))

    def _log_closed(self, event: ev.RecorderClosed) -> None:
        self._log("recording.closed", recording=event.recording, failed=event.failed, **event.facts)
        if event.facts.get("purged"):
            self._log("recording.destroyed", recording=event.recording, cause=self._why)

    def _recorder_is_closed(self, failed: str) -> None:
        self.recorder = self.recorder.closed(failed=bool(failed))
        if self.recorder.stage is Stage.FAILED and self.rules.fail_mode is FailMode.REFUSE_CALL:
            self._end("recording failed")

    # --- holds and requests -----------------------------------------------------------------------------------------

    def _sink(self, event: ev.SinkRequested) -> None:
        """A sink that was allowed once keeps that until the purpose is taken back; pauses it sees for itself."""
        allowed = event.purpose in self._granted(CALLER) and self.provable and self.phase is not Phase.ENDING
        if (event.sink, event.purpose) in self._sinks:
            self._reply(event.request, True, "granted")
        elif not allowed:
            because = "not granted" if event.purpose in self.rules.purposes else "not among the call's purposes"
            refused = {"sink": event.sink, "purpose": event.purpose, "actor": event.actor, "because": because}
            self._append_capped(do.AppendEvidence("sink.refused", refused, 0))
            self._reply(event.request, False, "purpose_not_granted", because)
        elif len(self._sinks) >= MOST_SINKS:
            self._reply(event.request, False, "too_many_sinks")
        else:
            self._sinks[event.sink, event.purpose] = None
            self._log("sink.allowed", sink=event.sink, purpose=event.purpose, actor=event.actor)
            self._reply(event.request, True, "granted")

    def _end_sinks(self) -> None:
        """Write down which sinks may not go on, because a purpose was taken back."""
        granted = self._granted(CALLER) if self.provable else frozenset()
        for sink, purpose in [known for known in self._sinks if known[1] not in granted]:
            del self._sinks[sink, purpose]
            self._log("sink.ended", sink=sink, purpose=purpose)

    def _agents_known(self, event: ev.AgentsKnown) -> None:
        self._barred = event.barred
        if AGENT not in self.parties:
            self._declined = event.declined

    def _may_not(self, event: Request, act: str) -> bool:
        """Whether the policy keeps *event*'s actor from *act*; then that is written down, and he is told. The caller is
        never kept from what is his."""
        why = event.barred or (self._barred.get(act, "") if event.actor == AGENT else "")
        if why:
            self._note_refusal(act, event.actor, why)
            self._reply(event.request, False, "not_authorised", why)
        return bool(why)

    def _note_refusal(self, act: str, actor: str, because: str) -> None:
        self._append_capped(do.AppendEvidence("control.refused", {"act": act, "actor": actor, "because": because}, 0))

    def _act_refused(self, event: ev.ActRefused) -> None:
        self._note_refusal(event.act, event.actor, event.because)

    def _pause(self, event: ev.PauseRequested) -> None:
        key = hold_key(event.reason, event.actor)
        private = event.reason == PRIVATE_CALL
        if self._may_not(event, "private" if private else "pause"):
            return
        if self._cannot_record():
            self._reply(event.request, False, "not_recording")
        elif key in self.holds:
            self._reply(event.request, True, "already_paused")
        else:
            limit = 0 if private else self.rules.pause_limit_ms
            expires_ns = event.at_ns + limit * 1_000_000 if limit else None
            self.holds[key] = Hold(event.reason, event.actor, event.at_ns, expires_ns)
            self._why = event.reason
            self._log("hold.set", hold=key, reason=event.reason, actor=event.actor, expires_in_ms=limit)
            if limit:
                self._emit(do.StartTimer(f"hold:{key}", limit))
                early = max(limit - self.rules.pause_reminder_ms, limit // 2)
                self._emit(do.StartTimer(f"reminder:{key}", early))
            self._reply(event.request, True, "paused")

    def _cannot_record(self) -> bool:
        """No pause can be meaningful: the answer is known and it is no, or the call is at its end."""
        decided_no = self.verdict not in COVERED and self.verdict is not Verdict.PENDING
        ended = self.phase in (Phase.ENDING, Phase.OVER)
        never = not self.provable or not self.rules.records or RECORDING not in self.rules.purposes or self._declined
        return decided_no or ended or never or self.recorder.stage is Stage.FAILED

    def _resume(self, event: ev.ResumeRequested) -> None:
        key = hold_key(event.reason, event.actor)
        if self._may_not(event, "private" if event.reason == PRIVATE_CALL else "resume"):
            return
        if self._cannot_record():
            self._reply(event.request, False, "not_allowed")
        elif key in self.holds:
            self._clear_hold(key, event.actor)
            self._reply(event.request, True, "resumed" if not self.holds else "still_paused")
        else:
            self._reply(event.request, True, "not_paused" if not self.holds else "still_paused")

    def _clear_hold(self, key: str, actor: str) -> None:
        reason = self.holds.pop(key).reason
        self._why = f"{reason} cleared"
        self._log("hold.cleared", hold=key, reason=reason, actor=actor)
        self._emit(do.StopTimer(f"hold:{key}"))
        self._emit(do.StopTimer(f"reminder:{key}"))

    def _is_due(self, hold: Hold) -> bool:
        """A timer of an earlier hold for the same reason may be on its way: it must not end this one."""
        return hold.expires_ns is not None and self._now >= hold.expires_ns

    def _hold_expired(self, key: str) -> None:
        self._emit(do.RaiseAlarm("pause_limit"))
        if self.rules.pause_limit_action is PauseLimitAction.RESUME:
            self._clear_hold(key, "pause limit")
        else:
            self._log("hold.overdue", hold=key, reason=self.holds[key].reason)
            self._remind(key)

    def _remind(self, key: str) -> None:
        if AGENT in self.legs:
            self._notice(AGENT, "reminder")
        if self.rules.pause_limit_action is PauseLimitAction.STAY_PAUSED:
            self._emit(do.StartTimer(f"reminder:{key}", max(self.rules.pause_reminder_ms, 5_000)))

    def _withdrawal(self, event: ev.WithdrawRequested) -> str:
        """What a wish to withdraw comes to; only "withdrawn" changes anything."""
        consent = self.parties.get(event.party)
        if consent is None or consent.state is State.NOT_ASKED or self.phase is Phase.ENDING:
            return "not_asked"
        if consent.state in UNCOVERED:
            return "already_not_recorded"
        after, _ = step(consent, event, self.rules)
        return "withdrawn" if after.state is State.WITHDRAWN else "withdrawal_not_offered"

    def _withdraw(self, event: ev.WithdrawRequested) -> None:
        if self._may_not(event, "withdraw"):
            return
        outcome = self._withdrawal(event)
        if outcome == "withdrawn":
            self._step(event.party, event)
        self._reply(event.request, outcome in ("withdrawn", "already_not_recorded"), outcome)

    def _reconsenting(self, event: ev.ReconsentRequested) -> str:
        """What a wish to be asked again comes to; only "asking" changes anything."""
        if self.phase is not Phase.TALKING or event.party != CALLER:
            return "not_connected"
        return "asking" if self.parties[CALLER].state in UNCOVERED else "nothing_to_ask"

    def _reconsent(self, event: ev.ReconsentRequested) -> None:
        if self._may_not(event, "record"):
            return
        outcome = self._reconsenting(event)
        if outcome == "asking":
            self._log("ask.again", party=event.party, actor=event.actor)
            self._step(event.party, event)
        self._reply(event.request, outcome == "asking", outcome)

    def _hang_up(self, event: ev.HangUpRequested) -> None:
        self._end(event.cause)


_DIAL_FAILURES = {486: "agent busy", 600: "agent busy", 603: "agent declined", 408: "agent did not answer"}
_DIAL_FAILURES |= {480: "agent did not answer", 487: "agent did not answer"}

Handlers = dict[type[ev.Event], Callable[..., None]]
HANDLERS: Handlers = {
    ev.CallArrived: Call._call_arrived,
    ev.LegRang: Call._leg_rang,
    ev.LegAnswered: Call._leg_answered,
    ev.LegHeld: Call._leg_held,
    ev.LegEnded: Call._leg_ended,
    ev.PromptStarted: Call._prompt,
    ev.PromptFinished: Call._prompt,
    ev.DigitPressed: Call._digit,
    ev.SpeechBegan: Call._spoke,
    ev.AnswerSpoken: Call._spoke,
    ev.TimerFired: Call._timer,
    ev.EvidenceDurable: Call._evidence_durable,
    ev.EvidenceFailed: Call._evidence_failed,
    ev.RecorderObserved: Call._recorder_observed,
    ev.RecorderClosed: Call._recorder_closed,
    ev.PauseRequested: Call._pause,
    ev.ResumeRequested: Call._resume,
    ev.WithdrawRequested: Call._withdraw,
    ev.ReconsentRequested: Call._reconsent,
    ev.AgentsKnown: Call._agents_known,
    ev.ActRefused: Call._act_refused,
    ev.SinkRequested: Call._sink,
    ev.HangUpRequested: Call._hang_up,
}
