"""Whatever happens, in whatever order: the promise of docs/architecture.md over arbitrary sequences of events."""

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER
from gateway.domain.rules import FailMode, PauseLimitAction, Rules
from gateway.domain.spoken import Hearing, Hypothesis
from tests.stateful.world import SECRET, World

HURRIED = "CALL_EXAMPLES" in os.environ
"""Set by the mutation run: few and always the same sequences, and no search for the shortest that fails."""
EXAMPLES = int(os.environ.get("CALL_EXAMPLES", "300"))

ASKS, TELLS, IS_SILENT = (True, False), (False, True), (False, False)


def rules_of(way: tuple[bool, bool], **rules: Any) -> Rules:
    asks, tells = way
    return Rules(ask=asks, announce=tells, **rules)


ALL_RULES = st.builds(
    rules_of,
    way=st.sampled_from([ASKS, ASKS, ASKS, TELLS, IS_SILENT]),
    stop_unconfirmed=st.sampled_from([True, True, False]),
    fail_mode=st.sampled_from(FailMode),
    attempts=st.integers(1, 3),
    repeats=st.integers(0, 2),
    minimum_heard_ms=st.sampled_from([0, 1_000, 3_000]),
    minimum_heard_again_ms=st.sampled_from([0, 1_000, 3_000]),
    by_voice=st.booleans(),
    minimum_heard_spoken_ms=st.sampled_from([0, 1_000, 3_000]),
    minimum_heard_again_spoken_ms=st.sampled_from([0, 1_000]),
    minimum_heard_confirm_ms=st.sampled_from([0, 1_000]),
    may_withdraw=st.sampled_from([True, True, False]),
    purge_on_withdrawal=st.booleans(),
    pause_limit_ms=st.sampled_from([0, 30_000]),
    pause_limit_action=st.sampled_from(PauseLimitAction),
    private_code=st.sampled_from(["", "*70"]),
    purposes=st.sampled_from(
        [("recording",), ("recording", "analysis"), ("analysis",), ("recording", "analysis", "sharing")]
    ),
    one_by_one=st.booleans(),
    minimum_also_ms=st.sampled_from([(("analysis", 0), ("sharing", 1_000)), (("analysis", 3_000), ("sharing", 0))]),
)
WAYS = ["arrived", "arrived", "yes", "yes", "yes", "no", "said", "said", "foreign"]
WORDS = {1: ["Yes, I agree."], 2: ["Okay.", "Okay."], 3: ["What?", "Okay.", "Yes, I agree."]}
"""What a caller says, by the attempts he has: so many answers need so many questions."""
LEGS = st.sampled_from([CALLER, AGENT])
KEYS = st.sampled_from("1112223334*#0")
PLAYS = st.sampled_from(["", "caller:ask:0", "caller:ask:1", "caller:ask:2", "caller:notice:1", "agent:notice:2", "x"])
RECORDINGS = st.sampled_from(["call-0", "call-1", "call-2", "other-1", ""])
REASONS = st.sampled_from(["agent_key", "card_entry", "supervisor", "private_call"])
ACTS = st.sets(st.sampled_from(["pause", "resume", "record", "withdraw", "private"]), max_size=3)
BARRED = st.sampled_from(["", "", "", "the policy"])
TIMERS = st.sampled_from(
    [
        *("answer:caller:0", "answer:caller:1", "answer:caller:2", "answer:agent:0", "answer", "", "x:y:z"),
        *("code:caller", "code:agent", "code:nobody", "hold:agent_key", "hold:card_entry", "hold:", "hold"),
        *("reminder:agent_key", "observe:call-0", "observe:call-1", "observe:call-2", "observe:other-1"),
    ]
)


class CallMachine(RuleBasedStateMachine):
    """Honest steps, macros that lead deep into a call, and chaos in between."""

    world: World
    requests = 0

    @initialize(
        rules=ALL_RULES,
        way=st.sampled_from(["arrived", "arrived", "yes", "yes", "yes", "no", "said", "said", "foreign"]),
    )
    def begin(self, rules: Rules, way: str) -> None:
        self.world = World(rules)
        if way == "arrived":
            self.world.arrive()
        elif way == "said":
            self.world = World(replace(rules, ask=True, announce=False, by_voice=True))
            self.world.asked_by_voice(*WORDS[rules.attempts])
        elif way == "foreign":
            self.world.honest = False
        else:
            self.world.talk("1" if way == "yes" else "2")

    # --- the honest world -------------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 400, 1_000, 3_000, 6_000]))
    def time_passes(self, ms: int) -> None:
        self.world.now_ns += ms * 1_000_000

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data(), ok=st.sampled_from([True] * 15 + [False]))
    def log_answers(self, data: Any, ok: bool) -> None:
        self.world.log_answers(data.draw(st.sampled_from(sorted(self.world.pending))), ok)

    @rule()
    def log_catches_up(self) -> None:
        self.world.log_catches_up()

    @rule()
    def media_catches_up(self) -> None:
        self.world.media_catches_up()

    @rule()
    def all_catch_up(self) -> None:
        self.world.quiesce()

    @precondition(lambda self: self.world.gate)
    @rule()
    def gate_answers(self) -> None:
        self.world.gate_answers()

    @precondition(lambda self: self.world.due_plays())
    @rule(data=st.data())
    def play_begins(self, data: Any) -> None:
        self.world.play_begins(data.draw(st.sampled_from(self.world.due_plays())))

    @precondition(lambda self: self.world.due_plays())
    @rule(data=st.data(), played=st.sampled_from([0, 999, 1_000, 2_999, 3_000, 5_000]))
    def play_ends(self, data: Any, played: int) -> None:
        self.world.play_ends(data.draw(st.sampled_from(self.world.due_plays())), played)

    @precondition(lambda self: self.world.timers)
    @rule(data=st.data())
    def timer_fires(self, data: Any) -> None:
        self.world.timer_fires(data.draw(st.sampled_from(sorted(self.world.timers))))

    @precondition(lambda self: self.world.ringing)
    @rule()
    def agent_answers(self) -> None:
        self.world.leg_answers(self.world.ringing[0])

    @rule(leg=LEGS)
    def leg_answered(self, leg: str) -> None:
        self.world.feed(ev.LegAnswered, leg=leg, codec="PCMA")

    # --- people -----------------------------------------------------------------------------------------------------

    @rule(leg=LEGS, key=KEYS, transport=st.sampled_from(["rfc4733", "info", "inband"]))
    def press(self, leg: str, key: str, transport: str) -> None:
        self.world.feed(ev.DigitPressed, leg=leg, value=key, transport=transport)

    @rule(
        leg=st.sampled_from([CALLER, CALLER, CALLER, AGENT]),
        text=st.sampled_from(["Yes, I agree.", "Yes, I agree.", "Okay.", "No.", "What?", "Yes, but no.", None]),
        ago_ms=st.sampled_from([0, 500, 2_000, 4_000]),
        over_prompt=st.sampled_from([False, False, False, True]),
        listened=st.sampled_from([True, True, True, False]),
        looks=st.sampled_from([1, 2]),
    )
    def speak(self, leg: str, text: str | None, ago_ms: int, over_prompt: bool, listened: bool, looks: int) -> None:
        hearings = () if text is None else (Hearing(8_000, 0.01, (Hypothesis(text, -0.1),)),) * looks
        self.world.feed(
            ev.AnswerSpoken,
            leg=leg,
            began_ns=self.world.now_ns - ago_ms * 1_000_000,
            hearings=hearings if listened else None,
            over_prompt=over_prompt,
            facts={"number": len(self.world.said)},
            words={"heard_1.1": SECRET},
        )

    @rule(leg=LEGS)
    def seem_to_speak(self, leg: str) -> None:
        self.world.feed(ev.SpeechBegan, leg=leg)

    @rule(leg=LEGS, code=st.sampled_from(["*9", "*1", "*71", "*72", "*70", "**9", "*7*71", "411*"]))
    def type_code(self, leg: str, code: str) -> None:
        for key in code:
            self.world.feed(ev.DigitPressed, leg=leg, value=key)

    @rule(
        kind=st.sampled_from([ev.PauseRequested, ev.ResumeRequested]),
        reason=REASONS,
        waits=st.booleans(),
        barred=BARRED,
    )
    def ask_hold(self, kind: type[ev.Event], reason: str, waits: bool, barred: str) -> None:
        self.world.feed(kind, reason=reason, actor="desk", request=self._request() if waits else "", barred=barred)

    @rule(acts=ACTS, declined=st.sampled_from([False, False, True]))
    def agents_known(self, acts: set[str], declined: bool) -> None:
        self.world.feed(ev.AgentsKnown, barred=dict.fromkeys(sorted(acts), "learn"), declined=declined)

    @rule(sink=st.sampled_from(["a", "b"]), purpose=st.sampled_from(["recording", "analysis", "sharing", "spying"]))
    def ask_sink(self, sink: str, purpose: str) -> None:
        request = self._request()
        open_before = not self.world.over
        self.world.feed(ev.SinkRequested, sink=sink, purpose=purpose, actor="sink:1", request=request)
        if open_before:
            assert [reply.request for reply in self.world.replies].count(request) == 1

    @rule()
    def act_refused(self) -> None:
        self.world.feed(ev.ActRefused, act="export", actor="supervisor:9", because="the policy")

    @rule(
        kind=st.sampled_from([ev.WithdrawRequested, ev.ReconsentRequested]),
        party=st.sampled_from([CALLER, CALLER, AGENT, "nobody"]),
        barred=BARRED,
    )
    def ask_consent(self, kind: type[ev.Event], party: str, barred: str) -> None:
        request = self._request()
        open_before = not self.world.over
        self.world.feed(kind, party=party, actor="desk", request=request, barred=barred)
        if open_before:
            assert [reply.request for reply in self.world.replies].count(request) == 1

    def _request(self) -> str:
        self.requests += 1
        return f"request {self.requests}"

    @rule(leg=LEGS, code=st.sampled_from([200, 486, 603, 408, 500]), by=st.sampled_from(["remote", "media", "timeout"]))
    @precondition(lambda self: self.world.now_ns > 20_000_000_000)
    def leg_ended(self, leg: str, code: int, by: str) -> None:
        self.world.feed(ev.LegEnded, leg=leg, code=code, by=by)

    @rule(leg=st.sampled_from([CALLER, AGENT, "nobody"]), held=st.booleans())
    def leg_held(self, leg: str, held: bool) -> None:
        self.world.feed(ev.LegHeld, leg=leg, held=held)

    @precondition(lambda self: self.world.now_ns > 40_000_000_000)
    @rule()
    def hang_up(self) -> None:
        self.world.feed(ev.HangUpRequested, cause="shutdown")

    # --- chaos ------------------------------------------------------------------------------------------------------

    @rule(play=PLAYS, played=st.sampled_from([0, 2_999, 3_000, 5_000]), completed=st.booleans())
    def stray_prompt(self, play: str, played: int, completed: bool) -> None:
        self.world.honest = False
        self.world.feed(ev.PromptStarted, play=play)
        self.world.feed(ev.PromptFinished, play=play, played_ms=played, length_ms=5_000, completed=completed)

    @rule(timer=TIMERS)
    def stray_timer(self, timer: str) -> None:
        self.world.feed(ev.TimerFired, timer=timer)

    @rule(kind=st.sampled_from([ev.EvidenceDurable, ev.EvidenceFailed]), token=st.sampled_from([-1, 0, 999, 10_000]))
    def stray_token(self, kind: type[ev.Event], token: int) -> None:
        self.world.feed(kind, token=token)

    @rule(recording=RECORDINGS, state=st.sampled_from(["on", "paused", "off", "nonsense"]))
    def stray_observation(self, recording: str, state: str) -> None:
        self.world.honest = False
        self.world.feed(ev.RecorderObserved, recording=recording, state=state)

    @rule(recording=RECORDINGS, failed=st.sampled_from(["", "disk full"]))
    def stray_close(self, recording: str, failed: str) -> None:
        self.world.honest = False
        self.world.feed(ev.RecorderClosed, recording=recording, facts={"sha256": "", "frames": 0}, failed=failed)

    @rule(leg=st.sampled_from([CALLER, AGENT, "nobody", ""]))
    def stray_leg(self, leg: str) -> None:
        self.world.feed(ev.LegRang, leg=leg)

    @rule(leg=st.sampled_from(["nobody", ""]))
    def foreign_leg(self, leg: str) -> None:
        self.world.feed(ev.LegAnswered, leg=leg)
        self.world.feed(ev.DigitPressed, leg=leg, value="1")

    @rule()
    def arrives_again(self) -> None:
        self.world.honest = False
        self.world.arrive()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.finish()


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate] if HURRIED else list(Phase),
        derandomize=bool({"CALL_EXAMPLES", "CI"} & set(os.environ)),
        suppress_health_check=list(HealthCheck),
    )


def test_the_promise_holds_over_any_sequence_of_events() -> None:
    run_state_machine_as_test(CallMachine, settings=_settings(EXAMPLES, 40))


@pytest.mark.slow
def test_the_promise_holds_over_very_many_long_sequences() -> None:
    run_state_machine_as_test(CallMachine, settings=_settings(600, 60))


def test_the_promise_is_not_kept_by_doing_nothing() -> None:
    """An honest call really records, pauses and resumes: the invariants are not vacuous."""
    world = World(Rules())
    world.talk()
    assert world.writing == {"call-1"}
    world.feed(ev.PauseRequested, reason="agent_key", actor=AGENT, request="1")
    assert not world.writing
    world.quiesce()
    world.feed(ev.ResumeRequested, reason="agent_key", actor=AGENT, request="2")
    world.quiesce()
    assert world.writing == {"call-1"}
    world.finish()
