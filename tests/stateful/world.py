"""A call with the world around it: a log, a media server and timers that answer when they please, and a watcher that
checks the promise after every event. The watcher believes commands, entries and events only, never the core's state.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, Call
from gateway.domain.rules import FailMode, Rules
from gateway.domain.spoken import Hearing, Hypothesis
from gateway.evidence.canonical import Entry
from gateway.evidence.semantics import read_story

COVERING = ("granted", "not_required")
SECRET = "PERSONAL-4711"
LESS = (do.PauseRecorder, do.CloseRecorder)
MORE = (do.OpenRecorder, do.ResumeRecorder)


YES, WEAK = {"Yes, I agree."}, {"Okay."}


@dataclass
class World:
    """Feeds events to a call and to its twin, and keeps what an observer outside could know."""

    rules: Rules
    now_ns: int = 1_000_000_000
    pending: dict[int, do.AppendEvidence] = field(default_factory=dict)
    durable: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    entries: list[do.AppendEvidence] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)
    verdict_tokens: dict[str, int] = field(default_factory=dict)
    holds: set[str] = field(default_factory=set)
    writing: set[str] = field(default_factory=set)
    ever_opened: set[str] = field(default_factory=set)
    timers: dict[str, int] = field(default_factory=dict)
    plays: dict[str, str] = field(default_factory=dict)
    asked_play: str = ""
    told_play: str = ""
    minimum_ms: int = 0
    heard: dict[str, int] = field(default_factory=dict)
    accepts: int = 0
    question: str = ""
    started: dict[str, int] = field(default_factory=dict)
    said: dict[object, ev.AnswerSpoken] = field(default_factory=dict)
    gate: list[ev.Event] = field(default_factory=list)
    dialled: bool = False
    bridged: bool = False
    ringing: list[str] = field(default_factory=list)
    up: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    hang_ups: list[str] = field(default_factory=list)
    ended_entry: do.AppendEvidence | None = None
    over: int = 0
    purges: bool = False
    barred: frozenset[str] = frozenset()
    """What the agent may not do by his keys."""
    declined: bool = False
    also: set[str] = field(default_factory=set)
    """The purposes beside recording that were agreed to one by one."""
    sinks: set[tuple[str, str]] = field(default_factory=set)
    replies: list[do.Reply] = field(default_factory=list)
    honest: bool = True
    """Nothing impossible was reported so far: the log must tell a story that the offline verifier believes."""
    impatient: bool = False
    """A watchdog on the recorder ran out: what the recorder reports afterwards is unexpected, honest or not."""

    def __post_init__(self) -> None:
        self.call, self.twin = Call("call", self.rules), Call("call", self.rules)

    # --- feeding ----------------------------------------------------------------------------------------------------

    def feed(self, kind: type[ev.Event], **fields: Any) -> list[do.Command]:
        """Give the call one event and check everything that must hold after it."""
        event = kind(at_ns=self.now_ns, **fields)
        over = self.over
        self._before(event)
        commands = self.call.handle(event)
        assert commands == self.twin.handle(event), "the same events must give the same commands"
        assert not (over and commands), "a call that is over asks for nothing"
        self._less_first(commands)
        for place, command in enumerate(commands):
            self._see(command, event, commands[:place])
        self._after(event)
        return commands

    def _before(self, event: ev.Event) -> None:
        if isinstance(event, ev.EvidenceDurable | ev.EvidenceFailed) and event.token in self.pending:
            self.pending.pop(event.token)
            (self.durable if isinstance(event, ev.EvidenceDurable) else self.lost).add(event.token)
        elif isinstance(event, ev.RecorderClosed):
            self.writing.discard(event.recording)
        elif isinstance(event, ev.LegEnded) and (event.leg == CALLER or self.dialled):
            self.gone.add(event.leg)
            self.up.discard(event.leg)
        elif isinstance(event, ev.LegAnswered) and (event.leg == CALLER or (event.leg == AGENT and self.dialled)):
            if event.leg not in self.gone:
                self.up.add(event.leg)
        elif isinstance(event, ev.PromptFinished) and event.play in self.plays:
            self.heard.setdefault(event.play, event.played_ms)
        elif isinstance(event, ev.DigitPressed) and event.leg == CALLER and event.value in self.rules.accept_keys:
            self.accepts += 1
        elif isinstance(event, ev.AgentsKnown):
            self.barred = frozenset(event.barred)
            self.declined = self.declined if self.dialled else event.declined
        elif isinstance(event, ev.PromptStarted):
            self.started.setdefault(event.play, self.now_ns)
        elif isinstance(event, ev.AnswerSpoken):
            self.said[event.facts["number"]] = event

    @property
    def _announcement(self) -> str:
        return "announced_may_object" if self.rules.may_withdraw else "announced"

    @staticmethod
    def _less_first(commands: list[do.Command]) -> None:
        less = [isinstance(command, LESS) for command in commands]
        assert less == sorted(less, reverse=True), "what records less comes first"

    # --- watching ---------------------------------------------------------------------------------------------------

    def _see(self, command: do.Command, event: ev.Event, before: list[do.Command]) -> None:
        match command:
            case do.AppendEvidence():
                self._entry(command, event, before)
            case do.OpenRecorder() | do.ResumeRecorder():
                self._records_more(command, before)
            case do.PauseRecorder(recording=recording):
                self.writing.discard(recording)
                self._observe(recording, "paused")
            case do.CloseRecorder(recording=recording, purge=purge):
                self.writing.discard(recording)
                if recording in self.ever_opened:
                    facts = {"purged": purge, "sha256": "", "size": 0, "frames": 1, "spans": []}
                    self.gate.append(ev.RecorderClosed(at_ns=0, recording=recording, facts=facts))
                self.purges = self.purges or purge
            case do.PlayPrompt(play=play, leg=leg, prompt=prompt):
                assert play not in self.plays and leg in self.up
                self.plays[play] = "due"
                if prompt.startswith("announced"):
                    assert leg == CALLER and prompt == self._announcement
                    self.told_play = play
                elif prompt.startswith(("ask", "confirm", "also_")):
                    assert leg == CALLER
                    assert not prompt.startswith("also_") or (
                        self.rules.one_by_one and self.verdicts[CALLER] == "granted"
                    )
                    self.asked_play, self.accepts, self.question = play, 0, prompt
                    rules = self.rules
                    self.minimum_ms = {
                        "ask": rules.minimum_heard_ms,
                        "ask_again": rules.minimum_heard_again_ms,
                        "ask_spoken": rules.minimum_heard_spoken_ms,
                        "ask_again_spoken": rules.minimum_heard_again_spoken_ms,
                        "confirm_spoken": rules.minimum_heard_confirm_ms,
                        **{f"also_{purpose}": ms for purpose, ms in rules.minimum_also_ms},
                    }[prompt]
                    assert rules.by_voice or not prompt.endswith("_spoken")
            case do.StopPrompt(play=play):
                assert play in self.plays
            case do.StartTimer(timer=timer, after_ms=after_ms):
                assert after_ms > 0
                self.timers[timer] = self.now_ns + after_ms * 1_000_000
            case do.StopTimer(timer=timer):
                self.timers.pop(timer, None)
            case do.ConnectAgent():
                assert not self.dialled and CALLER in self.verdicts and not self.gone
                assert command.recorded == (self.verdicts[CALLER] in COVERING and not self.declined)
                assert command.recorded or self.rules.fail_mode is FailMode.CONNECT_UNRECORDED
                self.dialled = True
                self.ringing.append(AGENT)
            case do.BridgeLegs():
                assert self.up == {CALLER, AGENT} and not self.bridged
                self.bridged = True
            case do.HangUpLeg(leg=leg):
                assert leg not in self.gone
                self.hang_ups.append(leg)
            case do.RelayDigits():
                self._relays(command, event)
            case do.Reply():
                assert command.request and command.request not in [reply.request for reply in self.replies]
                self.replies.append(command)
            case do.CallOver():
                self.over += 1

    def _observe(self, recording: str, state: str) -> None:
        self.gate.append(ev.RecorderObserved(at_ns=0, recording=recording, state=state))

    def _records_more(self, command: do.OpenRecorder | do.ResumeRecorder, before: list[do.Command]) -> None:
        assert not self.pending, "recorded before the evidence was durable"
        assert not any(isinstance(earlier, do.AppendEvidence) for earlier in before)
        self._may_write()
        for party in (CALLER, AGENT):
            assert self.verdict_tokens[party] in self.durable
        assert command.token in self.durable and command.token in self.verdict_tokens.values()
        assert self.bridged and self.up == {CALLER, AGENT}
        opens = isinstance(command, do.OpenRecorder)
        assert opens == (command.recording not in self.ever_opened)
        kind = "open" if opens else "resume"
        last = [entry for entry in self.entries if entry.kind == "recorder.command"][-1].facts
        assert (last["command"], last["recording"]) == (kind, command.recording), "the intention is written down first"
        self.ever_opened.add(command.recording)
        self.writing.add(command.recording)
        assert len(self.writing) == 1
        self._observe(command.recording, "on")

    def _may_write(self) -> None:
        assert not self.lost, "recorded after evidence was lost"
        assert "recording" in self.rules.purposes, "recorded for a purpose nobody was asked for"
        assert not self.holds, "recorded during a hold"
        assert not self.gone and not self.hang_ups, "recorded while the call ends"
        assert self.verdicts.get(CALLER) in COVERING, "the caller is not covered"
        assert self.verdicts.get(AGENT) in COVERING, "the agent is not covered"

    def _entry(self, entry: do.AppendEvidence, event: ev.Event, before: list[do.Command]) -> None:
        assert self.ended_entry is None, "call.ended is the last entry"
        assert entry.token == len(self.entries) + 1
        self.entries.append(entry)
        self.pending[entry.token] = entry
        facts = entry.facts
        assert SECRET not in repr(facts)
        if entry.kind == "answer.digit":
            self._digit_entry(facts)
        elif entry.kind == "answer.speech":
            assert facts["leg"] == CALLER and bool(entry.personal) <= bool(facts["counted"])
        elif entry.kind == "verdict":
            self._verdict_entry(entry, event, before)
        elif entry.kind == "ask.again":
            self._may("record", facts["actor"], event)
            self.verdicts[str(facts["party"])] = "pending"
        elif entry.kind == "control.refused":
            self._refusal(facts, event)
        elif entry.kind == "sink.allowed":
            assert self._granted_now(str(facts["purpose"])), "a sink was allowed without a grant"
            self.sinks.add((str(facts["sink"]), str(facts["purpose"])))
        elif entry.kind == "sink.refused":
            assert not self._granted_now(str(facts["purpose"])) or self.lost or self.hang_ups or self.gone
        elif entry.kind == "sink.ended":
            self.sinks.remove((str(facts["sink"]), str(facts["purpose"])))
        elif entry.kind == "hold.set":
            private = facts["reason"] == "private_call"
            self._may("private" if private else "pause", facts["actor"], event)
            assert not (private and facts["expires_in_ms"])
            self.holds.add(str(facts["reason"]))
        elif entry.kind == "hold.cleared":
            self._may("private" if facts["reason"] == "private_call" else "resume", facts["actor"], event)
            self.holds.remove(str(facts["reason"]))
        elif entry.kind == "call.ended":
            assert not self.writing and self.gone == {CALLER, *([AGENT] if self.dialled else [])}
            assert len(self.pending) == 1 and facts["entries"] == len(self.durable) + 1
            self.ended_entry = entry

    def _granted_now(self, purpose: str) -> bool:
        verdict, rules = self.verdicts.get(CALLER), self.rules
        if verdict == "granted" and rules.one_by_one:
            return purpose in {"recording", *self.also}
        return verdict in COVERING and purpose in rules.purposes

    def _may(self, act: str, actor: object, event: ev.Event) -> None:
        """Nobody did what he may not."""
        assert not getattr(event, "barred", "") or isinstance(event, ev.AgentsKnown)
        assert actor != AGENT or act not in self.barred

    def _refusal(self, facts: Any, event: ev.Event) -> None:
        assert set(facts) == {"act", "actor", "because"} and facts["because"]
        if isinstance(event, ev.DigitPressed):
            assert (facts["actor"], event.leg) == (AGENT, AGENT) and facts["act"] in self.barred
        elif not isinstance(event, ev.ActRefused):
            assert facts["because"] == getattr(event, "barred", "")

    def _digit_entry(self, facts: Any) -> None:
        assert set(facts) <= {"leg", "transport", "counted", "because", "key"}
        assert ("key" in facts) == facts["counted"]
        if facts["counted"]:
            rules = self.rules
            known = rules.accept_keys | rules.refuse_keys | rules.repeat_keys
            assert facts["key"] in known | {rules.withdraw_code, rules.reconsent_code}
            assert facts["leg"] == CALLER

    def _verdict_entry(self, entry: do.AppendEvidence, event: ev.Event, before: list[do.Command]) -> None:
        party, verdict = str(entry.facts["party"]), str(entry.facts["verdict"])
        covering = verdict in COVERING
        assert verdict != "pending"
        if "asked" in entry.facts:
            self._purpose_answered(entry.facts, before)
        elif party == CALLER:
            self.also = set()
        of_its_own = party == CALLER and verdict == "granted" and self.rules.one_by_one
        granted = {"recording", *self.also} if of_its_own else set(self.rules.purposes)
        assert entry.facts["purposes"] == {p: covering and p in granted for p in self.rules.purposes}
        if "asked" in entry.facts:
            self.verdict_tokens[party] = entry.token
            return
        if isinstance(event, ev.DigitPressed):
            assert party == event.leg, "a key answers for its own leg only"
        if verdict == "granted":
            answer = before[-1]
            assert isinstance(answer, do.AppendEvidence) and answer.facts["counted"] and party == CALLER
            if answer.kind == "answer.speech":
                self._said_yes(self.said[answer.facts["number"]])
            else:
                assert answer.kind == "answer.digit" and answer.facts["key"] in self.rules.accept_keys and self.accepts
            assert self.heard[self.asked_play] >= self.minimum_ms, "the question was not heard"
        elif verdict == "not_required":
            assert party == AGENT or not self.rules.ask
            if party == CALLER and self.rules.announce:
                assert isinstance(event, ev.PromptFinished) and event.play == self.told_play
                assert event.completed, "the announcement was not heard"
        elif verdict == "withdrawn":
            assert self.rules.may_withdraw
        self.verdicts[party], self.verdict_tokens[party] = verdict, entry.token

    def _purpose_answered(self, facts: Any, before: list[do.Command]) -> None:
        """A purpose is granted by the accept key after its own question was heard, and by nothing else."""
        assert (facts["party"], facts["verdict"]) == (CALLER, "granted") and self.rules.one_by_one
        assert facts["asked"] in self.rules.purposes and self.question == f"also_{facts['asked']}"
        if facts["answer"] == "granted":
            answer = before[-1]
            assert isinstance(answer, do.AppendEvidence) and answer.kind == "answer.digit" and answer.facts["counted"]
            assert answer.facts["key"] in self.rules.accept_keys and self.accepts
            assert self.heard[self.asked_play] >= self.minimum_ms, "the question was not heard"
            self.also.add(str(facts["asked"]))

    def _said_yes(self, spoken: ev.AnswerSpoken) -> None:
        """What was said may be consent: words of a list, to a question that may be answered so, after it was heard, and
        not our own prompt's. A word alone is one when it was asked back."""
        assert spoken.leg == CALLER and self.question.endswith("_spoken") and not spoken.over_prompt
        assert spoken.began_ns - self.started[self.asked_play] >= self.minimum_ms * 1_000_000
        looks = spoken.hearings or ()
        alike = self.question == "confirm_spoken" and len(looks) == 2
        assert looks and {look.hypotheses[0].text for look in looks} <= (YES | WEAK if alike else YES)

    def _relays(self, command: do.RelayDigits, event: ev.Event) -> None:
        assert self.bridged and self.verdicts.get(CALLER, "pending") != "pending", "relayed while the caller is asked"
        sender = AGENT if command.leg == CALLER else CALLER
        rules = self.rules
        agents = (rules.pause_code, rules.resume_code, rules.private_code)
        codes = agents if sender == AGENT else (rules.withdraw_code, rules.reconsent_code)
        assert not any(code and code in command.digits for code in codes), "a code was relayed"
        if isinstance(event, ev.DigitPressed):
            assert event.leg == sender
        else:
            assert isinstance(event, ev.TimerFired) and event.timer == f"code:{sender}"

    def _after(self, event: ev.Event) -> None:
        assert all(self._granted_now(purpose) for _, purpose in self.sinks), "a sink outlives its grant"
        for purpose, may in self.call.purposes.items():
            assert not may or (self._granted_now(purpose) and self.bridged and not self.holds and not self.lost)
        if self.writing:
            self._may_write()
        if self.purges:
            assert self.rules.purge_on_withdrawal and self.verdicts[CALLER] == "withdrawn"
            self.purges = False
        assert self.over <= 1
        if self.over:
            assert self.ended_entry is not None and not self.pending and not self.writing
            if not self.lost:
                assert self.ended_entry.facts["entries"] == len(self.durable)

    # --- the honest world -------------------------------------------------------------------------------------------

    def log_answers(self, token: int, ok: bool = True) -> None:
        self.feed(ev.EvidenceDurable if ok else ev.EvidenceFailed, token=token)

    def log_catches_up(self) -> None:
        while self.pending:
            self.log_answers(min(self.pending))

    def gate_answers(self, place: int = 0) -> None:
        event = self.gate.pop(place)
        if isinstance(event, ev.RecorderObserved):
            self.feed(ev.RecorderObserved, recording=event.recording, state=event.state, at_frame=7, cause="command")
        elif isinstance(event, ev.RecorderClosed):
            self.feed(ev.RecorderClosed, recording=event.recording, facts=event.facts)

    def play_begins(self, play: str) -> None:
        self.plays[play] = "playing"
        self.feed(ev.PromptStarted, play=play)

    def play_ends(self, play: str, played_ms: int, length_ms: int = 5_000) -> None:
        self.plays[play] = "over"
        played_ms = min(played_ms, length_ms)
        self.feed(
            ev.PromptFinished, play=play, played_ms=played_ms, length_ms=length_ms, completed=played_ms == length_ms
        )

    def due_plays(self) -> list[str]:
        return [play for play, state in self.plays.items() if state != "over"]

    def timer_fires(self, timer: str) -> None:
        if timer.startswith("observe:"):
            self.impatient = True
        self.now_ns = max(self.now_ns, self.timers.pop(timer))
        self.feed(ev.TimerFired, timer=timer)

    def leg_answers(self, leg: str) -> None:
        self.ringing.remove(leg)
        self.feed(ev.LegAnswered, leg=leg, codec="PCMU")

    def media_catches_up(self) -> None:
        """Everything the media server owes, at once and honestly; prompts play to their ends."""
        while True:
            if self.gate:
                self.gate_answers()
            elif self.due_plays():
                play = self.due_plays()[0]
                self.play_begins(play)
                self.now_ns += 5_000_000_000
                self.play_ends(play, 5_000)
            elif self.hang_ups:
                leg = self.hang_ups.pop(0)
                if leg not in self.gone:
                    self.feed(ev.LegEnded, leg=leg, code=200, by="local")
            else:
                return

    def arrive(self) -> None:
        personal = {"caller_number": SECRET, "sip_call_id": SECRET}
        self.feed(ev.CallArrived, facts={"parties": [{"role": CALLER}]}, personal=personal)

    def say(self, key: str) -> None:
        """The caller presses a key in the answer window."""
        self.now_ns += 500_000_000
        self.feed(ev.DigitPressed, leg=CALLER, value=key)

    def quiesce(self) -> None:
        """Log and media catch up with each other."""
        for _ in range(20):
            self.log_catches_up()
            self.media_catches_up()
            if not self.pending:
                return
        raise AssertionError("the call never comes to rest")

    def speak(self, text: str, *, over_prompt: bool = False) -> None:
        """The caller says something in the answer window."""
        self.now_ns += 500_000_000
        heard = (Hearing(8_000, 0.01, (Hypothesis(text, -0.1),)),) * 2
        number = {"number": len(self.said)}
        began_ns = self.now_ns
        self.now_ns += 1_500_000_000
        fields = {"hearings": heard, "over_prompt": over_prompt, "facts": number, "words": {"heard_1.1": SECRET}}
        self.feed(ev.AnswerSpoken, leg=CALLER, began_ns=began_ns, **fields)

    def asked_by_voice(self, *answers: str) -> None:
        """The caller hears the question, and each further one, and says the answers."""
        self.arrive()
        self.feed(ev.LegAnswered, leg=CALLER, codec="PCMU")
        for answer in answers:
            self.quiesce()
            self.speak(answer)
        self.quiesce()

    def talk(self, key: str = "1") -> None:
        """The whole way into the conversation, with the caller's answer *key*."""
        self.arrive()
        self.feed(ev.LegAnswered, leg=CALLER, codec="PCMU")
        self.quiesce()
        if self.rules.ask:
            self.say(key)
            self.quiesce()
        if AGENT in self.ringing and AGENT not in self.gone:
            self.leg_answers(AGENT)
        self.quiesce()

    def finish(self) -> None:
        """Play honestly to the end: the caller stays until the agent is dialled, then hangs up; check the ending."""
        if CALLER not in self.up | self.gone and not self.hang_ups:
            self.feed(ev.LegAnswered, leg=CALLER, codec="PCMU")
        for _ in range(40):
            self.quiesce()
            answers = [timer for timer in self.timers if timer.startswith("answer:")]
            if self.dialled or self.gone or not answers:
                break
            self.timer_fires(answers[0])
        if not self.gone and CALLER in self.verdicts:
            assert self.dialled, "the caller was not connected"
        for leg in (CALLER, AGENT):
            if leg not in self.gone and (leg == CALLER or self.dialled):
                self.feed(ev.LegEnded, leg=leg)
        for _ in range(5):
            self.quiesce()
            for timer in [timer for timer in self.timers if timer.startswith("observe:")]:
                self.timer_fires(timer)
        assert self.over == 1, "the call never ended"
        assert self.ended_entry is self.entries[-1]
        assert [entry.kind for entry in self.entries].count("call.ended") == 1
        self.feed(ev.LegHeld, leg=CALLER, held=True)
        if self.honest and not self.lost:
            self._verifier_believes()

    def _verifier_believes(self) -> None:
        facts = [dict(entry.facts) for entry in self.entries]
        story = read_story(
            [
                Entry("origin", "call", entry.kind, seq, None, "2026-01-01T00:00:00.000Z", facts[seq], {})
                for seq, entry in enumerate(self.entries)
            ]
        )
        assert not story.unknown and story.ended_at == len(self.entries) - 1
        assert not story.unexpected or self.impatient, "the recorder ran when none was to run"
