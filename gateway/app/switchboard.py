"""All calls of this gateway: brings media events to their sessions, and requests to their calls."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from gateway.app.feed import Feed
from gateway.app.listening import may_be_answered_by_voice
from gateway.app.pbx_session import PbxSession
from gateway.app.services import Services
from gateway.app.session import CallSession, Outcome
from gateway.app.tasks import spawn
from gateway.domain import events as ev
from gateway.domain.call import AGENT_KEY, CALLER, Call, Phase
from gateway.domain.pbx_call import PbxCall
from gateway.domain.recording import RecorderState
from gateway.ports import media
from gateway.ports.pbx import Pbx, PbxUnavailable
from gateway.ports.policy import CallFacts, Decision
from gateway.ports.registry import RegistryUnavailable

_log = structlog.get_logger(__name__)

PLACE_HEADER = "x-consent-jurisdiction"
LINE_HEADER = "x-consent-line"
TRUNK_HEADER = "x-consent-trunk"


class NoSuchCall(LookupError):
    """No live call has that id, or the agent has none."""


@dataclass(slots=True, eq=False)
class Switchboard:
    """Owns the live sessions. *trust_jurisdiction*: whether what sends calls here knows where its callers are."""

    services: Services
    trust_jurisdiction: bool = False
    feed: Feed = field(default_factory=Feed)
    sessions: dict[str, CallSession] = field(default_factory=dict)
    draining: bool = False
    totals: dict[str, int] = field(default_factory=dict)
    _legs: dict[str, CallSession] = field(default_factory=dict)
    _recordings: dict[str, CallSession] = field(default_factory=dict)

    # --- media ------------------------------------------------------------------------------------------------------

    def on_media(self, event: media.MediaEvent) -> None:
        """Take one event of the media server. Called in the event loop's thread; never raises for a caller's doing."""
        if isinstance(event, media.Incoming):
            self._incoming(event)
        elif isinstance(event, media.WorkerLost):
            self._worker_lost(event)
        elif isinstance(event, media.RecorderObserved | media.RecorderClosed):
            session = self._by_recording(event.recording)
            if session is not None:
                session.media_event(event)
            elif isinstance(event, media.RecorderClosed):
                spawn(self._closed_too_late(event), name="late recording")
        else:
            session = self._by_leg(getattr(event, "leg", ""))
            if session is not None:
                session.media_event(event)

    def _by_leg(self, leg: str) -> CallSession | None:
        known = self._legs.get(leg)
        return known if known is not None else self.sessions.get(leg.partition(":")[0])

    def _by_recording(self, recording: str) -> CallSession | None:
        return self.sessions.get(recording.rpartition("-")[0])

    def _incoming(self, event: media.Incoming) -> None:
        if self.draining:
            self.services.media.send(media.Reject(event.leg, 503, "Service Unavailable"))
            return
        headers = {name.lower(): value for name, value in event.headers}
        if self.services.pbx is not None and self.services.pbx.sends(event):
            self._sent_by_pbx(self.services.pbx, event, headers)
            return
        facts = CallFacts(
            caller=event.from_number,
            called=event.to_number,
            at=self.services.clock.utc(),
            trunk=event.source.rpartition(":")[0].strip("[]"),
            place=headers.get(PLACE_HEADER, ""),
            place_trusted=self.trust_jurisdiction,
            headers=headers,
        )
        decision = self._resolve(facts)
        session = CallSession(
            services=self.services,
            call=Call(self.services.identities.call_id(), decision.rules),
            incoming=event,
            facts=facts,
            decision=decision,
            agent_uri=self.services.route(facts),
            started=self.services.clock.utc(),
            on_change=self._publish,
        )
        self._begin(session)

    def _resolve(self, facts: CallFacts) -> Decision:
        """The policy's decision, as far as it can be kept."""
        decision = self.services.policy.resolve(facts)
        rules = may_be_answered_by_voice(decision.rules, self.services.recogniser, self.services.prompts)
        return replace(decision, rules=rules)

    def _begin(self, session: CallSession) -> None:
        event = session.incoming
        self.sessions[session.call_id] = session
        self._legs[event.leg] = session
        spawn(self._serve(session), name="call")

    def _sent_by_pbx(self, pbx: Pbx, event: media.Incoming, headers: Mapping[str, str]) -> None:
        """A dialplan sends its caller to be asked. What cannot be watched is not asked: the dialplan goes on."""
        server = pbx.server_of(event)
        running = self._on_channel(headers.get("x-consent-channel", ""), server)
        if running is not None:
            if running.sent_again(event):
                self._legs[event.leg] = running
            else:
                self.services.media.send(media.Reject(event.leg, 503, "Service Unavailable"))
            return
        facts = CallFacts(
            caller=event.from_number,
            called=headers.get("x-consent-called") or event.to_number,
            at=self.services.clock.utc(),
            line=headers.get(LINE_HEADER, ""),
            trunk=headers.get(TRUNK_HEADER, ""),
            place=headers.get(PLACE_HEADER, ""),
            place_trusted=True,
            headers=headers,
        )
        joins = self._joined_by(headers.get("x-consent-joins", ""), server)
        decision = self._resolve(facts) if joins is None else joins.decision
        if joins is not None:
            decision = self.services.policy.resolve_joining(facts, replace(joins.decision, rules=joins.call.rules))
            decision = replace(decision, reasons=(f"joined call {joins.call_id}", *decision.reasons))
        session = PbxSession(
            services=self.services,
            call=PbxCall(self.services.identities.call_id(), decision.rules),
            incoming=event,
            facts=facts,
            decision=decision,
            agent_uri="",
            joins="" if joins is None else joins.call_id,
            agent_paused=self._agent_paused,
            started=self.services.clock.utc(),
            on_change=self._publish,
        )
        try:
            session.channel = pbx.find(event, session.pbx_event)
        except PbxUnavailable as error:
            _log.error("a call of a PBX is not asked", error=str(error))
            self.services.media.send(media.Reject(event.leg, 503, "Service Unavailable"))
            return
        self._begin(session)

    def _agent_paused(self, session: PbxSession) -> bool:
        """Whether another recorder of this call's conversation waits for the agent's resume."""
        others = [other for other in self.sessions.values() if other is not session]
        paused = [s for s in others if AGENT_KEY in s.call.holds and s.call.desired is RecorderState.PAUSED]
        return any(other.agent_parties & session.agent_parties for other in paused)

    def _joined_by(self, call_id: str, server: str) -> PbxSession | None:
        """The live call, of the PBX *server*, whose party an INVITE sends: the policy of that call is also his."""
        session = self.sessions.get(call_id)
        return session if isinstance(session, PbxSession) and session.channel.server == server else None

    def _on_channel(self, channel: str, server: str) -> PbxSession | None:
        """The live call of a channel of the PBX *server*."""
        for session in self.sessions.values():
            if isinstance(session, PbxSession) and (session.channel.server, session.channel.channel) == (
                server,
                channel,
            ):
                return session
        return None

    async def _serve(self, session: CallSession) -> None:
        """Run one call from its arrival to its end. Its registration runs beside it."""
        session.registration = spawn(self._register(session), name="register call")
        try:
            await session.run()
        finally:
            self.sessions.pop(session.call_id, None)
            self._legs = {leg: known for leg, known in self._legs.items() if known is not session}
            self._count(f"verdict_{session.call.verdict}")
            self.services.media.send(media.HangUp(session.incoming.leg, 500))
            session.over.set()
            self.feed.publish("call", self.view(session))

    async def _register(self, session: CallSession) -> bool:
        """Return whether the registry took the call. One that it did not take is served all the same, but never
        recorded: recordings need the registry."""
        try:
            await self.services.registry.call_started(session.call_id, policy=session.call.rules.policy[0])
        except (RegistryUnavailable, ValueError):
            _log.error("the registry did not take a call", call_id=session.call_id)
            return False
        return True

    def _worker_lost(self, event: media.WorkerLost) -> None:
        """A media process died: its legs are gone; its recordings end where the disk has them."""
        self._count("worker_lost")
        for recording in event.recordings:
            session = self._by_recording(recording)
            if session is not None:
                spawn(self._recording_lost(session, recording), name="lost recording")
        for leg in event.legs:
            session = self._by_leg(leg)
            if session is not None:
                session.media_event(media.LegEnded(event.mono_ns, leg, 500, "media"))

    async def _recording_lost(self, session: CallSession, recording: str) -> None:
        opened = session.recordings.pop(recording, None)
        sha256, size = await asyncio.to_thread(file_facts, Path(opened.path)) if opened else ("", 0)
        facts = {"sha256": sha256, "size": size, "frames": 0, "checked": "media process lost", "spans": []}
        await self.services.note_closed(recording, sha256, size, 0)
        session.post(
            ev.RecorderClosed(at_ns=session.now_ns(), recording=recording, facts=facts, failed="media process lost")
        )

    async def _closed_too_late(self, event: media.RecorderClosed) -> None:
        """A recording became final after its call's last entry: the registry at least has to know its file."""
        _log.error("a recording was sealed after its call had ended", recording=event.recording)
        await self.services.note_closed(event.recording, event.sha256, event.size, event.frames)
        if not event.sha256:
            await self.services.note_destroyed(event.recording)

    # --- requests ---------------------------------------------------------------------------------------------------

    def session(self, call_id: str) -> CallSession:
        """Return a live call's session. Raises `NoSuchCall`."""
        try:
            return self.sessions[call_id]
        except KeyError:
            raise NoSuchCall("no live call has that id") from None

    def agents_call(self, agent: str) -> CallSession:
        """Return the call *agent* is talking on (the newest of several). Raises `NoSuchCall`."""
        of_agent = [s for s in self.sessions.values() if s.is_with(agent) and s.call.rules.records]
        talking = [s for s in of_agent if s.call.phase is Phase.TALKING]
        if not talking:
            raise NoSuchCall("the agent is on no call")
        return talking[-1]

    async def for_agent(
        self, agent: str, ask: Callable[[CallSession], Awaitable[Outcome]], *, pauses: bool
    ) -> tuple[CallSession, Outcome]:
        """Ask the same of the call *agent* is talking on and of every other call that has its recorder in the same
        conversation (a conference of several callers who were asked). Returns the call whose outcome counts: one that
        was accepted and not observed before all others, and one that was refused only if all were, or if it records
        all the same though a pause was asked (*pauses*). Raises `NoSuchCall`."""
        newest = self.agents_call(agent)
        others = [s for s in self.sessions.values() if s is not newest and s.agent_parties & newest.agent_parties]
        sessions = [newest, *others]
        outcomes = await asyncio.gather(*(ask(session) for session in sessions))

        def rank(one: tuple[CallSession, Outcome]) -> tuple[bool, bool]:
            session, outcome = one
            records = pauses and session.call.recorder.observed is RecorderState.ON
            return not outcome.accepted and not records, outcome.observed

        return min(zip(sessions, outcomes, strict=True), key=rank)

    async def pause(self, call_id: str, *, actor: str, reason: str = AGENT_KEY, barred: str = "") -> Outcome:
        """Set a hold; answers when the pause was observed, or says that it was not.

        *barred*: why the call's policy does not let the *actor*, empty when it does (`CallSession.why_not`); then
        nothing is done, and that is logged. So in every request.
        """
        return await self.pause_session(self.session(call_id), actor=actor, reason=reason, barred=barred)

    async def pause_session(self, session: CallSession, *, actor: str, reason: str, barred: str = "") -> Outcome:
        """As `pause`, of a session that may be over by now."""
        return await session.request(
            lambda request: ev.PauseRequested(
                at_ns=session.now_ns(), reason=reason, actor=actor, request=request, barred=barred
            ),
            RecorderState.PAUSED,
        )

    async def resume(self, call_id: str, *, actor: str, reason: str = AGENT_KEY, barred: str = "") -> Outcome:
        """Give a hold up; other holds stay."""
        return await self.resume_session(self.session(call_id), actor=actor, reason=reason, barred=barred)

    async def resume_session(self, session: CallSession, *, actor: str, reason: str, barred: str = "") -> Outcome:
        """As `resume`, of a session that may be over by now."""
        return await session.request(
            lambda request: ev.ResumeRequested(
                at_ns=session.now_ns(), reason=reason, actor=actor, request=request, barred=barred
            ),
            RecorderState.ON,
        )

    async def withdraw(self, call_id: str, *, actor: str, party: str = CALLER, barred: str = "") -> Outcome:
        """Take a party's consent back on his request."""
        session = self.session(call_id)
        return await session.request(
            lambda request: ev.WithdrawRequested(
                at_ns=session.now_ns(), party=party, actor=actor, request=request, barred=barred
            ),
            None,
        )

    async def reconsent(self, call_id: str, *, actor: str, party: str = CALLER, barred: str = "") -> Outcome:
        """Ask a party again in the middle of the call; the answer shows in the call's verdict."""
        session = self.session(call_id)
        return await session.request(
            lambda request: ev.ReconsentRequested(
                at_ns=session.now_ns(), party=party, actor=actor, request=request, barred=barred
            ),
            None,
        )

    async def sink(self, call_id: str, *, sink: str, purpose: str, actor: str) -> Outcome:
        """Ask whether *sink* may do something with the call for *purpose*. What it may do now, while the call goes on,
        is in the call's view: a pause is for sinks too."""
        session = self.session(call_id)
        return await session.ask(
            lambda request: ev.SinkRequested(
                at_ns=session.now_ns(), sink=sink, purpose=purpose, actor=actor, request=request
            )
        )

    # --- watching ---------------------------------------------------------------------------------------------------

    def view(self, session: CallSession) -> dict[str, Any]:
        """What may be shown of a live call: no number, name or digit."""
        call = session.call
        now = session.now_ns()
        return {
            "call_id": call.call_id,
            "phase": str(call.phase),
            "verdict": str(call.verdict),
            "basis": str(call.rules.basis),
            "policy": call.rules.policy[0],
            "purposes": dict(call.purposes),
            "started": session.started.isoformat(timespec="milliseconds"),
            "recorder": {
                "desired": str(call.desired),
                "commanded": str(call.recorder.stage),
                "observed": str(call.recorder.observed),
                "confirmed": call.confirmed,
                "recording": call.recording if call.recorder.ordinal else None,
            },
            "holds": [
                {
                    "reason": hold.reason,
                    "actor": hold.actor,
                    "expires_in_ms": None if hold.expires_ns is None else max(0, (hold.expires_ns - now) // 1_000_000),
                }
                for hold in call.holds.values()
            ],
        }

    def views(self) -> list[dict[str, Any]]:
        """All live calls, oldest first."""
        return [self.view(session) for session in self.sessions.values()]

    def _publish(self, session: CallSession) -> None:
        self.feed.publish("call", self.view(session))

    def _count(self, name: str) -> None:
        self.totals[name] = self.totals.get(name, 0) + 1

    # --- life -------------------------------------------------------------------------------------------------------

    async def drain(self, *, cause: str, wait_s: float = 30.0) -> None:
        """Take no more calls, end the live ones and wait for their last entries: a recording on a slow disk takes a
        while to seal. At most *wait_s* seconds; what is not over then is taken over at the next start."""
        self.draining = True
        sessions = list(self.sessions.values())
        for session in sessions:
            session.post(ev.HangUpRequested(at_ns=session.now_ns(), cause=cause))
        waits = [asyncio.wait_for(session.over.wait(), wait_s) for session in sessions]
        await asyncio.gather(*waits, return_exceptions=True)
        self.feed.close()


def file_facts(path: Path) -> tuple[str, int]:
    """Return the SHA-256 (hex) and size in bytes of a file, ("", 0) when there is none."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), path.stat().st_size
    except FileNotFoundError:
        return "", 0
