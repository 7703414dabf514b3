"""Opening a recorder, beside the call: the registry must have the recording's key first, and a call never waits for it.

Until the media server has the command, what else is asked of the recording waits here in its order. A close waits for
nothing: it is the end of an opening that has not happened.
"""

from typing import cast

import structlog

from gateway.app.recorder import open_recorder
from gateway.app.session import CallSession, OpenRecording
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import AGENT, CALLER
from gateway.ports import media
from gateway.ports.registry import RegistryUnavailable

_log = structlog.get_logger(__name__)

NOT_REGISTERED = "the registry did not take the recording's key"
_NO_FILE: dict[str, object] = {
    "purged": False,
    "sha256": "",
    "size": 0,
    "frames": 0,
    "checked": "no file",
    "spans": [],
}


def begin_opening(session: CallSession, command: do.OpenRecorder) -> None:
    """Open the recorder as soon as the registry has the call and the recording's key; return at once.

    A registry that does not take them closes the recording as failed: there is never sound without its key.
    """
    recording = command.recording
    session.openings[recording] = []

    def failed(_: BaseException) -> None:
        _give_up(session, recording, "the recorder could not be opened")

    spawn(_open(session, command), name="open recorder", on_failure=failed)


def send_to_recorder(session: CallSession, command: media.RecordPause) -> None:
    """Send *command* now, or right behind the opening that is still under way."""
    waiting = session.openings.get(command.recording)
    if waiting is None:
        session.services.media.send(command)
    else:
        waiting.append(command)


def close_recorder(session: CallSession, command: media.RecordClose) -> None:
    """Close a recording, or see to it that the one under way is never opened."""
    if session.openings.pop(command.recording, None) is None:
        session.services.media.send(command)
        return
    closed = ev.RecorderClosed(at_ns=session.now_ns(), recording=command.recording, facts=_NO_FILE)
    session.post(closed)


async def _open(session: CallSession, command: do.OpenRecorder) -> None:
    recording, rules, services = command.recording, session.call.rules, session.services
    path = str(services.recordings / f"{recording}.wav.age")
    fill = cast(media.PausedFill, rules.paused_fill)
    key = services.keys.new_recording_key(recording)
    try:
        if not await session.registered():
            raise RegistryUnavailable(NOT_REGISTERED)
        await services.registry.recording_opened(
            recording, call_id=session.call_id, path=path, recipient=key.recipient, wrapped=key.wrapped
        )
    except (RegistryUnavailable, KeyError):
        _give_up(session, recording, NOT_REGISTERED)
        return
    if recording not in session.openings:
        await services.note_destroyed(recording)
        return
    session.recordings[recording] = OpenRecording(path, key.wrapped, fill)
    open_recorder(
        services.media.send,
        session.receipts.get(command.token),
        call_id=session.call_id,
        recording=recording,
        left=session.legs[CALLER],
        right=session.legs[AGENT],
        path=path,
        recipient=key.recipient,
        look_behind_ms=rules.look_behind_ms,
        paused_fill=fill,
        cause=command.cause,
    )
    for waiting in session.openings.pop(recording):
        services.media.send(waiting)


def _give_up(session: CallSession, recording: str, failed: str) -> None:
    """Tell the call that its recording could not be opened, unless it was closed meanwhile."""
    if session.openings.pop(recording, None) is not None:
        session.recordings.pop(recording, None)
        session.post(ev.RecorderClosed(at_ns=session.now_ns(), recording=recording, failed=failed))
