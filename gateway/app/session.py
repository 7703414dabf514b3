"""One call: one queue, one task. Media events and requests go in; the call decides; handlers act."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from gateway.app.listening import heard, listened
from gateway.app.services import Services
from gateway.app.tasks import spawn
from gateway.app.translate import LEG_EVENTS
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER, Call, Phase
from gateway.domain.consent import Verdict, said_early
from gateway.domain.recording import RecorderState, Stage
from gateway.domain.rules import Rules
from gateway.policy.authority import Act, Circumstances
from gateway.policy.staff import Colleague
from gateway.ports import media
from gateway.ports.evidence import Receipt
from gateway.ports.policy import CallFacts, Decision

_log = structlog.get_logger(__name__)


PLAY_GRACE_MS = 3_000
"""A media server that has not told the end of a prompt this long after it must have come is not waited for."""

NOTHING_DUE = frozenset({Stage.IDLE, Stage.FAILED})
"""Stages in which no observation is on its way."""

SEEN_IN = {
    RecorderState.ON: frozenset({Stage.ON}),
    RecorderState.PAUSED: frozenset({Stage.PAUSED}),
    RecorderState.OFF: NOTHING_DUE | {Stage.OPEN_WAITS},
}
"""Stages in which an observation is of what was commanded last, not of something before it."""


@dataclass(slots=True)
class OpenRecording:
    """A recording of this call that is not final yet."""

    path: str
    wrapped: bytes
    fill: media.PausedFill


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a request. *observed*: the effect was seen, not only commanded; *because* says why not."""

    accepted: bool
    code: str
    observed: bool = False
    because: str = ""


def _minima(rules: Rules) -> dict[str, object]:
    """How much of each prompt that asks must have been heard before an answer counts."""
    if not rules.by_voice:
        return {"minimum_heard_ms": rules.minimum_heard_ms, "minimum_heard_again_ms": rules.minimum_heard_again_ms}
    return {
        "by_voice": True,
        "minimum_heard_ms": rules.minimum_heard_spoken_ms,
        "minimum_heard_again_ms": rules.minimum_heard_again_spoken_ms,
        "minimum_heard_confirm_ms": rules.minimum_heard_confirm_ms,
    }


@dataclass(slots=True, eq=False)
class CallSession:
    """Runs one `Call` against the services."""

    services: Services
    call: Call
    incoming: media.Incoming
    facts: CallFacts
    decision: Decision
    agent_uri: str = field(repr=False)
    started: datetime
    legs: dict[str, str] = field(default_factory=dict)
    receipts: dict[int, Receipt] = field(default_factory=dict)
    registration: asyncio.Task[bool] | None = None
    """Ends with whether the registry took the call. Only recording waits for it (invariant 4)."""
    recordings: dict[str, OpenRecording] = field(default_factory=dict)
    openings: dict[str, list[media.MediaCommand]] = field(default_factory=dict)
    """Recordings that are being opened, each with the commands that follow its opening (`app/opening.py`)."""
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    plays: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    """Prompts whose end was not told yet, each with what happens should it never be."""
    isolated: set[str] = field(default_factory=set)
    """Parties who hear prompts only: see `media.Isolate`."""
    listening: set[str] = field(default_factory=set)
    """Legs that are listened to: see `media.Listen`."""
    replies: dict[str, asyncio.Future[do.Reply]] = field(default_factory=dict)
    arrival: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Ends with whether the call's first entry is in the log."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    on_change: Callable[["CallSession"], None] = lambda session: None
    _queue: asyncio.Queue[ev.Event] = field(default_factory=asyncio.Queue)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _requests: int = 0

    @property
    def call_id(self) -> str:
        return self.call.call_id

    @property
    def agent(self) -> str:
        """The agent's name: the user part of the address the call was routed to."""
        return self.agent_uri.partition(":")[2].partition("@")[0]

    def is_with(self, agent: str) -> bool:
        """Whether *agent* is on this call."""
        return self.agent == agent

    # --- who may do what --------------------------------------------------------------------------------------------

    def why_not(self, act: Act, role: str, agent: str) -> str:
        """Return why the call's policy does not let somebody *act* on it now; empty when it does."""
        return self.decision.authority.why_not(act, self.services.staff.actor(role, agent), self._circumstances())

    def _circumstances(self) -> Circumstances:
        line = self.facts.line or self.facts.called
        return Circumstances(line, self.call.rules.basis, self.services.clock.utc())

    def _agents_known(self, agents: Iterable[str], *, declined: bool = False) -> ev.AgentsKnown:
        """What these agents, who share the keys of one leg, may not do by them: whatever one of them may not."""
        barred: dict[str, str] = {}
        for agent in agents:
            actor = self.services.staff.actor(AGENT, agent)
            barred = self.decision.authority.barred(actor, self._circumstances()) | barred
        return ev.AgentsKnown(at_ns=self.now_ns(), barred=barred, declined=declined)

    @property
    def agent_parties(self) -> frozenset[str]:
        """What a conversation that more than one call has a recorder in is known by: none here."""
        return frozenset()

    @property
    def handlers(self) -> Mapping[type[do.Command], Callable[[Any, Any], Awaitable[None]]]:
        """What is done for each command."""
        from gateway.app.handlers import HANDLERS

        return HANDLERS

    def now_ns(self) -> int:
        return self.services.clock.monotonic_ns()

    async def registered(self) -> bool:
        """Wait until the registry has answered; return whether it took the call."""
        return self.registration is not None and await self.registration

    # --- in ---------------------------------------------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        """Queue an event."""
        self._queue.put_nowait(event)

    def media_event(self, event: media.MediaEvent) -> None:
        """Queue what a media server reported of one of this call's legs or recordings."""
        if isinstance(event, media.RecorderObserved):
            self.post(
                ev.RecorderObserved(
                    at_ns=event.mono_ns,
                    recording=event.recording,
                    state=event.state,
                    at_frame=event.at_frame,
                    cause=event.cause,
                    asked_ns=event.asked_ns,
                )
            )
        elif isinstance(event, media.RecorderClosed):
            spawn(self._recording_closed(event), name="recording closed")
        elif isinstance(event, media.Utterance):
            leg = self._name_of(event.leg)
            if leg is not None:
                spawn(self._listen_to(event, leg), name="listen")
        elif type(event) in LEG_EVENTS:
            if isinstance(event, media.PlayFinished):
                self._play_ended(event.play)
            leg = self._name_of(getattr(event, "leg", ""))
            if leg is not None:
                self.post(LEG_EVENTS[type(event)](event, leg))

    def _name_of(self, leg: str) -> str | None:
        """The part in the call of a media server's leg."""
        return next((name for name, known in self.legs.items() if known == leg), None)

    async def _listen_to(self, utterance: media.Utterance, leg: str) -> None:
        """Have something that was said listened to, and tell the call."""
        spoken = heard(utterance, leg, self.incoming.mono_ns)
        party, rules = self.call.parties.get(leg), self.call.rules
        if party is not None and not said_early(party, spoken, rules):  # nobody listens to what cannot count
            spoken = await listened(spoken, utterance, self.services.recogniser, rules.language)
        self.post(spoken)

    def play(self, leg: str, play: str, path: str, length_ms: int) -> None:
        """Play a prompt of *length_ms* to a leg. Its end is told, whatever becomes of the media server's word: a call
        must not wait for ever to be asked or told."""
        self.services.media.send(media.Play(self.legs[leg], play, path))

        def give_up() -> None:
            _log.error("the end of a prompt was not told in time", call_id=self.call_id)
            self.services.media.send(media.StopPlay(self.legs[leg], play))
            self.prompt_unplayed(play, length_ms)

        self._play_ended(play)
        loop = asyncio.get_running_loop()
        self.plays[play] = loop.call_later((length_ms + PLAY_GRACE_MS) / 1000, give_up)

    def prompt_unplayed(self, play: str, length_ms: int = 0) -> None:
        """Tell the call that as far as anybody knows nothing of a prompt was heard."""
        self._play_ended(play)
        ended = ev.PromptFinished(at_ns=self.now_ns(), play=play, played_ms=0, length_ms=length_ms, completed=False)
        self.post(ended)

    def _play_ended(self, play: str) -> None:
        timer = self.plays.pop(play, None)
        if timer is not None:
            timer.cancel()

    async def _recording_closed(self, event: media.RecorderClosed) -> None:
        """Check the sealed file against its timeline, then tell the call."""
        opened = self.recordings.pop(event.recording, None)
        checked = "no file"
        failed = event.failed
        if event.sha256 and opened is not None:
            wrong = await self._mismatch(event, opened)
            checked = wrong or "sample-exact"
            failed = failed or ("does not match its timeline" if wrong else "")
        await self.services.note_closed(event.recording, event.sha256, event.size, event.frames)
        if not event.sha256:
            await self.services.note_destroyed(event.recording)
        facts = {
            "purged": event.purged,
            "sha256": event.sha256,
            "size": event.size,
            "frames": event.frames,
            "checked": checked,
            "spans": [
                {"state": s.state, "from_frame": s.from_frame, "to_frame": s.to_frame, "cause": s.cause}
                for s in event.spans
            ],
        }
        self.post(
            ev.RecorderClosed(
                at_ns=event.mono_ns,
                recording=event.recording,
                facts=facts,
                failed=failed,
                asked_ns=event.asked_ns,
            )
        )

    async def _mismatch(self, event: media.RecorderClosed, opened: OpenRecording) -> str:
        try:
            identity = self.services.keys.unwrap(event.recording, opened.wrapped)
        except ValueError:
            return "its key cannot be unwrapped"
        return await asyncio.to_thread(self.services.vault.mismatch, opened.path, identity, event.spans, opened.fill)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take the call from its arrival to its end. Never raises for what a caller did."""
        self.legs[CALLER] = self.incoming.leg
        self.post(ev.CallArrived(at_ns=self.incoming.mono_ns, facts=self._arrival(), personal=self._personal()))
        self.know_agents()
        try:
            while self.call.phase is not Phase.OVER:
                event = await self._queue.get()
                self.services.tap(self.call_id, event, event.at_ns)
                commands = self.call.handle(event)
                self.handled()
                for command in commands:
                    self.services.tap(self.call_id, command, self.now_ns())
                    await self.handlers[type(command)](self, command)
                self._changed.set()
                self.on_change(self)
        finally:
            self._let_go()

    def handled(self) -> None:
        """Do what follows from the call's new state, before its commands are."""
        self._isolate_who_is_asked()
        self._listen_to_who_may_speak()

    def _listen_to_who_may_speak(self) -> None:
        """A party is listened to from its question, if that may be answered by voice, to its answer; after a yes until
        the answer has been told, since a no counts that long."""
        until = {Verdict.PENDING, Verdict.GRANTED} if self.call.phase is Phase.TELLING else {Verdict.PENDING}
        parties = self.call.parties.items()
        may = {name for name, consent in parties if consent.by_voice and consent.verdict in until}
        wanted = {self.legs[party] for party in may if party in self.legs}
        for leg in sorted(wanted ^ self.listening):
            self.services.media.send(media.Listen(leg, leg in wanted))
        self.listening = wanted

    def _isolate_who_is_asked(self) -> None:
        """From its question to its answer a party of the conversation hears nothing that its line could echo."""
        if self.call.phase is not Phase.TALKING:
            return
        asked = {party for party, consent in self.call.parties.items() if consent.verdict is Verdict.PENDING}
        for party in sorted(asked ^ self.isolated):
            self.services.media.send(media.Isolate(self.legs[party], party in asked))
        self.isolated = asked

    def know_agents(self) -> None:
        """Let the call know what its agent may do. It is the only one."""
        self.post(self._agents_known([self.agent], declined=self._colleague().declined))

    def _let_go(self) -> None:
        """Whatever happened: no timer, leg or recording of this call outlives its session."""
        for timer in (*self.timers.values(), *self.plays.values()):
            timer.cancel()
        self.openings.clear()
        for recording in self.recordings:
            self.services.media.send(media.RecordClose(recording, "session ended"))
        for leg in self.legs.values():
            self.services.media.send(media.HangUp(leg))
        for future in self.replies.values():
            if not future.done():
                future.set_result(do.Reply("", False, "call_ended"))
        self._changed.set()
        self.over.set()

    def _arrival(self) -> dict[str, object]:
        rules, law = self.call.rules, self.decision.jurisdiction
        name, version, sha256 = rules.policy
        return {
            "path": "inline",
            "parties": [{"role": CALLER, "kind": "customer"}, {"role": AGENT, **self._colleague().facts()}],
            "policy": {"name": name, "version": version, "sha256": sha256},
            "basis": str(rules.basis),
            "agent_basis": str(rules.agent_basis),
            "purposes": list(rules.purposes),
            "fail_mode": str(rules.fail_mode),
            **_minima(rules),
            "look_behind_ms": rules.look_behind_ms,
            "paused_fill": rules.paused_fill,
            **({"line": self.facts.line} if self.facts.line else {}),
            "reasons": list(self.decision.reasons),
            **({} if law is None else {"jurisdiction": law.entry()}),
        }

    def _colleague(self) -> Colleague:
        """Who the agent is."""
        return self.services.staff.colleague(self.agent)

    def _personal(self) -> dict[str, str]:
        return {
            "sip_call_id": self.incoming.sip_call_id,
            "caller_number": self.facts.caller,
            "caller_name": self.incoming.from_name,
            "called_number": self.facts.called,
            "source": self.incoming.source,
        }

    # --- requests ---------------------------------------------------------------------------------------------------

    async def request(
        self, make: Callable[[str], ev.Event], seen: RecorderState | None, *, wait_ms: int = 2_000
    ) -> Outcome:
        """Ask, and when that was accepted wait until the recorder is observed in *seen* (None: not recording)."""
        answer = await self.ask(make)
        if not answer.accepted:
            return answer
        if answer.code == "still_paused":
            return Outcome(True, answer.code, self._is_seen(RecorderState.PAUSED), "other holds remain")
        await self.wait_for(lambda: self._is_seen(seen) or self.call.recorder.stage in NOTHING_DUE, wait_ms)
        observed = self._is_seen(seen)
        return Outcome(True, answer.code, observed, "" if observed else self._why_not(seen))

    async def ask(self, make: Callable[[str], ev.Event]) -> Outcome:
        """Post the event that *make* builds from a request id, and return the call's answer to it."""
        if self.over.is_set():
            return Outcome(False, "call_ended", because="the call is over")
        self._requests += 1
        request = f"{self.call_id}:{self._requests}"
        reply: asyncio.Future[do.Reply] = asyncio.get_running_loop().create_future()
        self.replies[request] = reply
        self.post(make(request))
        try:
            answer = await reply
        finally:
            self.replies.pop(request, None)
        return Outcome(answer.accepted, answer.code, because=answer.because)

    def _is_seen(self, seen: RecorderState | None) -> bool:
        recorder, wanted = self.call.recorder, seen or RecorderState.OFF
        return self.call.confirmed and recorder.observed is wanted and recorder.stage in SEEN_IN[wanted]

    def _why_not(self, seen: RecorderState | None) -> str:
        if seen is RecorderState.PAUSED and self.call.recorder.stage in NOTHING_DUE:
            return "nothing is being recorded yet; the hold is set"
        if self.call.recorder.stage in SEEN_IN[seen or RecorderState.OFF]:
            return "the PBX cannot be seen; this is what was seen last"
        return "the recorder did not confirm in time"

    async def wait_for(self, condition: Callable[[], bool], wait_ms: int) -> bool:
        """Wait until *condition* holds after some event of this call; False when it did not in time."""
        deadline = asyncio.get_running_loop().time() + wait_ms / 1000
        while not condition():
            if self.over.is_set():
                return condition()
            self._changed.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return condition()
        return True
