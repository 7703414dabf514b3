"""A table: command -> what is done for it. Handlers act; they decide nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import structlog

from gateway.app.opening import begin_opening, close_recorder, send_to_recorder
from gateway.app.recorder import resume_recorder
from gateway.app.session import CallSession
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import CALLER
from gateway.ports import media
from gateway.ports.evidence import EvidenceUnavailable, Json
from gateway.ports.prompts import PromptMissing
from gateway.ports.registry import RegistryUnavailable

_log = structlog.get_logger(__name__)


async def _answer(session: CallSession, command: do.AnswerCall) -> None:
    session.services.media.send(media.Answer(session.legs[command.leg], fallback_uri=session.agent_uri))


async def _play(session: CallSession, command: do.PlayPrompt) -> None:
    try:
        prompt = session.services.prompts.prompt(session.call.rules.language, command.prompt)
    except PromptMissing:
        _log.error("prompt is missing", prompt=command.prompt, language=session.call.rules.language)
        session.prompt_unplayed(command.play)
        return
    session.play(command.leg, command.play, prompt.path, prompt.duration_ms)


async def _stop_play(session: CallSession, command: do.StopPrompt) -> None:
    session.services.media.send(media.StopPlay(session.legs[command.leg], command.play))


async def _start_timer(session: CallSession, command: do.StartTimer) -> None:
    await _stop_timer(session, do.StopTimer(command.timer))

    def fire() -> None:
        session.timers.pop(command.timer, None)
        session.post(ev.TimerFired(at_ns=session.now_ns(), timer=command.timer))

    session.timers[command.timer] = asyncio.get_running_loop().call_later(command.after_ms / 1000, fire)


async def _stop_timer(session: CallSession, command: do.StopTimer) -> None:
    timer = session.timers.pop(command.timer, None)
    if timer is not None:
        timer.cancel()


def _with_prompt(session: CallSession, facts: Mapping[str, object]) -> dict[str, object]:
    """A prompt's entry names the audio that was played, by text and hash."""
    language = session.call.rules.language
    try:
        prompt = session.services.prompts.prompt(language, str(facts["prompt"]))
    except PromptMissing:
        return {**facts, "language": language, "text": "", "sha256": ""}
    return {**facts, "language": language, "text": prompt.text, "sha256": prompt.sha256}


async def _append(session: CallSession, command: do.AppendEvidence) -> None:
    """Hand the entry to the log now, in order, and go on; what became of it comes back as an event."""
    facts = command.facts
    if command.kind == "prompt.played":
        facts = _with_prompt(session, facts)
    spawn(_report_durable(session, command, cast(Mapping[str, Json], facts)), name="append evidence")


async def _report_durable(session: CallSession, command: do.AppendEvidence, facts: Mapping[str, Json]) -> None:
    """Append, and tell what became of it. Without its first entry a call has none: nobody could say whose the others
    are, and no verifier takes them."""
    first = command.kind == "call.arrived"
    try:
        if not first and not await session.arrival:
            raise EvidenceUnavailable("the call's first entry was lost")
        receipt = await session.services.evidence.append(session.call_id, command.kind, facts, command.personal)
    except EvidenceUnavailable:
        _log.error("evidence was not written", kind=command.kind, call_id=session.call_id)
        if first:
            session.arrival.set_result(False)
        session.post(ev.EvidenceFailed(at_ns=session.now_ns(), token=command.token))
        return
    if first:
        session.arrival.set_result(True)
    session.receipts[command.token] = receipt
    session.post(ev.EvidenceDurable(at_ns=session.now_ns(), token=command.token))


async def _connect(session: CallSession, command: do.ConnectAgent) -> None:
    session.legs[command.leg] = f"{session.call_id}:{command.leg}"
    session.services.media.send(
        media.Dial(
            leg=session.legs[command.leg],
            beside=session.legs[CALLER],
            uri=session.agent_uri,
            from_number=session.facts.caller,
            from_name=session.incoming.from_name,
            headers=(
                ("X-Consent-Call-ID", session.call_id),
                ("X-Consent-Verdict", str(session.call.verdict)),
            ),
            timeout_ms=session.call.rules.ring_timeout_ms,
        )
    )


async def _bridge(session: CallSession, command: do.BridgeLegs) -> None:
    session.services.media.send(media.Bridge(session.legs[command.a], session.legs[command.b]))


async def _relay(session: CallSession, command: do.RelayDigits) -> None:
    session.services.media.send(media.SendDtmf(session.legs[command.leg], command.digits))


async def _hang_up(session: CallSession, command: do.HangUpLeg) -> None:
    leg = session.legs.get(command.leg)
    if leg is None:
        session.post(ev.LegEnded(at_ns=session.now_ns(), leg=command.leg, code=command.code, by="local"))
    else:
        session.services.media.send(media.HangUp(leg, command.code))


async def _open(session: CallSession, command: do.OpenRecorder) -> None:
    begin_opening(session, command)


async def _resume(session: CallSession, command: do.ResumeRecorder) -> None:
    resume_recorder(
        session.services.media.send,
        session.receipts.get(command.token),
        call_id=session.call_id,
        recording=command.recording,
        cause=command.cause,
    )


async def _pause(session: CallSession, command: do.PauseRecorder) -> None:
    send_to_recorder(session, media.RecordPause(command.recording, command.cause))


async def _close(session: CallSession, command: do.CloseRecorder) -> None:
    close_recorder(session, media.RecordClose(command.recording, command.cause, command.purge))


async def _alarm(session: CallSession, command: do.RaiseAlarm) -> None:
    _log.warning("alarm", alarm=command.alarm, call_id=session.call_id)


async def _reply(session: CallSession, command: do.Reply) -> None:
    reply = session.replies.get(command.request)
    if reply is not None and not reply.done():
        reply.set_result(command)


async def _over(session: CallSession, command: do.CallOver) -> None:
    if not await session.registered():
        return
    try:
        await session.services.registry.call_ended(session.call_id, verdict=str(session.call.verdict))
    except (RegistryUnavailable, KeyError):
        _log.error("the registry did not take a call's end", call_id=session.call_id)


HANDLERS: Mapping[type[do.Command], Callable[[CallSession, Any], Awaitable[None]]] = {
    do.AnswerCall: _answer,
    do.PlayPrompt: _play,
    do.StopPrompt: _stop_play,
    do.StartTimer: _start_timer,
    do.StopTimer: _stop_timer,
    do.AppendEvidence: _append,
    do.ConnectAgent: _connect,
    do.BridgeLegs: _bridge,
    do.RelayDigits: _relay,
    do.HangUpLeg: _hang_up,
    do.OpenRecorder: _open,
    do.ResumeRecorder: _resume,
    do.PauseRecorder: _pause,
    do.CloseRecorder: _close,
    do.RaiseAlarm: _alarm,
    do.Reply: _reply,
    do.CallOver: _over,
}
