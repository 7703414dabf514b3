"""Opening a PBX's recorder, beside the call: the registry must know the recording first, so that whatever is recorded
is known. The caller waits for it with us, as long as a recorder may stay unseen (2 s); then his call goes on without.
"""

from collections.abc import Awaitable, Callable

import structlog

from gateway.app.pbx_session import PbxSession
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.ports.pbx import NO_FILE
from gateway.ports.registry import PbxPlace, RegistryUnavailable

_log = structlog.get_logger(__name__)

NOT_REGISTERED = "the registry did not take the recording"
NOT_TOLD = "the PBX did not take the verdict"

Tell = Callable[[], Awaitable[bool]]
"""Lets the PBX know that it may record, and gives the caller back; says whether it took it."""


def begin_pbx_opening(session: PbxSession, command: do.OpenRecorder, tell: Tell) -> None:
    """*tell* as soon as the registry has the call and the recording; return at once.

    A registry that does not take them, or a PBX that does not, closes the recording as failed.
    """
    session.openings[command.recording] = []

    def failed(_: BaseException) -> None:
        session.openings.pop(command.recording, None)
        _close(session, command.recording, "the recorder could not be allowed")

    spawn(_open(session, command.recording, tell), name="return call to be recorded", on_failure=failed)


def end_pbx_opening(session: PbxSession, recording: str) -> bool:
    """See to it that a recording whose row is still waited for is never allowed. Says whether there is one."""
    if session.openings.pop(recording, None) is None:
        return False
    session.post(ev.RecorderClosed(at_ns=session.now_ns(), recording=recording, facts={**NO_FILE, "file": ""}))
    return True


async def _open(session: PbxSession, recording: str, tell: Tell) -> None:
    registered = await _register(session, recording)
    if session.openings.pop(recording, None) is None:  # closed meanwhile, or the session is over
        if registered:
            await session.services.note_closed(recording, "", 0, 0)
        return
    if not registered:
        _close(session, recording, NOT_REGISTERED)
        return
    session.rows[recording] = ""
    if not await tell():
        _close(session, recording, NOT_TOLD)
        await session.services.note_closed(recording, "", 0, 0)


async def _register(session: PbxSession, recording: str) -> bool:
    """Wait for the registry; return whether it has the recording."""
    try:
        if not await session.registered():
            return False
        place = str(PbxPlace(session.channel.server))
        await session.services.registry.recording_opened(
            recording, call_id=session.call_id, path=place, recipient="", wrapped=b""
        )
    except (RegistryUnavailable, KeyError, ValueError):
        _log.error("the registry did not take a recording of the PBX", recording=recording)
        return False
    return True


def _close(session: PbxSession, recording: str, failed: str) -> None:
    session.post(ev.RecorderClosed(at_ns=session.now_ns(), recording=recording, failed=failed))
