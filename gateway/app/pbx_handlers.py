"""What is done for the commands of a call that stays in a PBX; every other command is done as for any call."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from gateway.app.handlers import HANDLERS
from gateway.app.pbx_opening import begin_pbx_opening, end_pbx_opening
from gateway.app.pbx_session import PbxSession
from gateway.app.recorder import allow_recorder, resume_pbx_recorder
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import CALLER
from gateway.domain.consent import COVERED, Verdict
from gateway.domain.pbx_call import CHANNEL, UNTOLD
from gateway.ports import media, pbx

_log = structlog.get_logger(__name__)


def _variables(session: PbxSession, verdict: str) -> dict[str, str]:
    """The dialplan's variables; the verdict is last: who sees it sees the others."""
    rules = session.call.rules
    name, version, _ = rules.policy
    return {
        "CONSENT_CALL_ID": session.call_id,
        "CONSENT_BASIS": str(rules.basis),
        "CONSENT_POLICY": f"{name}@{version}" if version else name,
        "CONSENT_VERDICT": verdict,
    }


async def _give_back(session: PbxSession, telling: Awaitable[None]) -> bool:
    """Let the PBX be told, then end the leg. Says whether it took it."""
    try:
        await telling
    except pbx.PbxError as error:
        _log.error("the PBX did not take a verdict", call_id=session.call_id, error=str(error))
        return False
    session.post(ev.CallReturned(at_ns=session.now_ns()))
    session.services.media.send(media.HangUp(session.legs[CALLER]))
    return True


async def _return(session: PbxSession, command: do.ReturnCall) -> None:
    async def give_back() -> None:
        if not await _give_back(session, session.channel.tell(_variables(session, command.verdict))):
            session.services.media.send(media.HangUp(session.legs[CALLER]))

    spawn(give_back(), name="return call")


async def _open(session: PbxSession, command: do.OpenRecorder) -> None:
    receipt = session.receipts.get(command.token)
    variables = _variables(session, str(session.call.verdict))

    async def tell() -> bool:
        telling = allow_recorder(session.channel, receipt, call_id=session.call_id, variables=variables)
        return await _give_back(session, telling)

    begin_pbx_opening(session, command, tell)


async def _resume(session: PbxSession, command: do.ResumeRecorder) -> None:
    receipt = session.receipts.get(command.token)
    _act(session, resume_pbx_recorder(session.channel, receipt, call_id=session.call_id))


async def _pause(session: PbxSession, command: do.PauseRecorder) -> None:
    _act(session, session.channel.mute())


async def _close(session: PbxSession, command: do.CloseRecorder) -> None:
    if command.recording != session.call.recording:
        return  # not ours: whoever watches the channel has dealt with it
    if end_pbx_opening(session, command.recording):
        return  # nothing was allowed yet
    if command.purge:
        session.to_remove.add(command.recording)
    verdict = session.call.verdict
    told = UNTOLD if verdict in COVERED or verdict is Verdict.PENDING else str(verdict)

    async def close() -> None:
        await session.channel.close()
        with suppress(pbx.PbxRefused):  # the channel is gone, nobody reads it any more
            await session.channel.tell({"CONSENT_VERDICT": told})

    _act(session, close())


def _act(session: PbxSession, doing: Awaitable[None]) -> None:
    """Do it beside the call. What fails is not seen, and what is not seen in time is stopped by the call itself."""

    async def act() -> None:
        try:
            await doing
        except pbx.PbxError as error:
            _log.error("the PBX did not do what it was told", call_id=session.call_id, error=str(error))

    spawn(act(), name="PBX recorder")


async def _hang_up(session: PbxSession, command: do.HangUpLeg) -> None:
    if command.leg != CHANNEL:
        await HANDLERS[do.HangUpLeg](session, command)
        return

    async def hang_up() -> None:
        try:
            await session.channel.hang_up()
        except pbx.PbxError as error:
            _log.error("the PBX did not end a call", call_id=session.call_id, error=str(error))
            session.post(ev.LegEnded(at_ns=session.now_ns(), leg=CHANNEL, code=500, by="local"))

    spawn(hang_up(), name="hang up channel")


async def _ask_again(session: PbxSession, command: do.AskAgain) -> None:
    _act(session, session.channel.ask_again())


async def _ask_party(session: PbxSession, command: do.AskParty) -> None:
    async def ask() -> None:
        try:
            await session.channel.ask_party(command.party, session.call_id)
        except pbx.PbxError as error:
            _log.error("somebody who joined was not sent to be asked", call_id=session.call_id, error=str(error))
            session.post(ev.PartyNotAsked(at_ns=session.now_ns(), party=command.party))

    spawn(ask(), name="ask who joined")


async def _over(session: PbxSession, command: do.CallOver) -> None:
    await HANDLERS[do.CallOver](session, command)
    await session.channel.give_up()
    session.channel.forget()


PBX_HANDLERS: Mapping[type[do.Command], Callable[[PbxSession, Any], Awaitable[None]]] = {
    **HANDLERS,
    do.ReturnCall: _return,
    do.OpenRecorder: _open,
    do.ResumeRecorder: _resume,
    do.PauseRecorder: _pause,
    do.CloseRecorder: _close,
    do.HangUpLeg: _hang_up,
    do.AskAgain: _ask_again,
    do.AskParty: _ask_party,
    do.CallOver: _over,
}
