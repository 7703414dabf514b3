"""Taking over after a crash: what the last control process left open is closed in the log, truthfully.

The media processes of the last life go on without us: bridged calls stay up, unrecorded. They sealed their recordings
when the control process died and left a note (`<file>.closed.json`) beside each. A PBX goes on recording: its recorders
are stopped when it can be seen again, and only then is anything said of their files.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from gateway.app.services import Services
from gateway.app.switchboard import file_facts
from gateway.ports.pbx import LeftBehind, evident_name, not_configured
from gateway.ports.registry import CallRecord, PbxPlace, RecordingRecord

_log = structlog.get_logger(__name__)

SEALING_S = 2.0
"""How long orphaned media processes may take to seal their recordings, all together: callers wait for our start."""

LOST = "control process lost"


async def recorded_by_pbx(services: Services, calls: Sequence[CallRecord]) -> list[CallRecord]:
    """Return those of *calls* whose recovery has to wait for a PBX: one keeps a recording that was never closed.
    Raises `RegistryUnavailable`."""
    waiting = {record.call_id for record in await services.registry.open_recordings() if record.kept_by is not None}
    return [call for call in calls if call.call_id in waiting]


async def recover(services: Services, calls: Sequence[CallRecord] | None = None) -> int:
    """Close every call that was open when the last control process ended, or *calls*. Returns how many.

    Takes the reading of the lost recordings, and `SEALING_S` once, however many there are; of those that a PBX keeps
    as long as `Pbx.left_behind`. Raises `EvidenceUnavailable` and `RegistryUnavailable`: a gateway that cannot write
    must not start.
    """
    if calls is None:
        calls = await services.registry.open_calls()
    sealed_by = asyncio.get_running_loop().time() + SEALING_S
    recovering = [_recover(services, record, sealed_by) for record in calls]
    for outcome in await asyncio.gather(*recovering, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
    if calls:
        _log.warning("took over calls of the last control process", calls=len(calls))
    return len(calls)


async def _recover(services: Services, record: CallRecord, sealed_by: float) -> None:
    call_id = record.call_id
    try:
        entries = await services.evidence.entries(call_id)
    except KeyError:
        await services.registry.call_ended(call_id, verdict="unanswered")
        return
    kinds = [entry.kind for entry in entries]
    verdicts = [str(e.facts["verdict"]) for e in entries if e.kind == "verdict" and e.facts.get("party") == "caller"]
    verdict = verdicts[-1] if verdicts else "unanswered"
    if "call.ended" not in kinds:
        if kinds[-1] != "call.recovered":  # that is one whose recovery was cut short
            await services.evidence.append(call_id, "call.recovered", {"cause": LOST})
        closed = {str(e.facts.get("recording")): e.facts for e in entries if e.kind == "recording.closed"}
        for recording in await services.registry.recordings(call_id):
            if recording.state == "open" and recording.kept_by is not None:
                await _close_at_pbx(services, recording, recording.kept_by, closed.get(recording.recording, {}))
            elif recording.state == "open":
                await _close(services, recording, sealed_by)
        total = len(await services.evidence.entries(call_id)) + 1
        await services.evidence.append(call_id, "call.ended", {"cause": LOST, "entries": total})
    await services.registry.call_ended(call_id, verdict=verdict)


async def _close_at_pbx(
    services: Services, record: RecordingRecord, place: PbxPlace, closed: Mapping[str, Any]
) -> None:
    """Write down what became of a recording that a PBX made; *closed* is what the log says of its end already."""
    facts = closed
    if "sha256" not in closed:
        left = await _left_behind(services, record, place)
        facts = {
            **left.facts,
            "recording": record.recording,
            "failed": LOST,
            "file": evident_name(left.file, record.call_id),
        }
        await services.evidence.append(record.call_id, "recording.closed", facts)
        if left.file != place.file:
            path = str(PbxPlace(place.server, left.file))
            await services.registry.recording_placed(record.recording, path=path)
    known = {name: facts[name] for name in ("sha256", "size", "frames")}
    await services.registry.recording_closed(record.recording, **known)
    if facts["purged"]:
        await services.registry.recording_destroyed(record.recording)


async def _left_behind(services: Services, record: RecordingRecord, place: PbxPlace) -> LeftBehind:
    if services.pbx is None:
        return not_configured(place.file)
    siblings = await services.registry.recordings(record.call_id)
    others = [known.kept_by.file for known in siblings if known.kept_by and known.recording != record.recording]
    return await services.pbx.left_behind(place.server, record.call_id, place.file, others=others)


async def _close(services: Services, record: RecordingRecord, sealed_by: float) -> None:
    """Write down what became of a recording nobody closed."""
    path = Path(record.path)
    note = await _sealing_note(path, sealed_by)
    sha256, size = await asyncio.to_thread(file_facts, path)
    sealed = bool(note) and note.get("sha256") == sha256
    frames = int(note.get("frames", 0)) if sealed else 0
    facts: dict[str, Any] = {
        "recording": record.recording,
        "sha256": sha256,
        "size": size,
        "frames": frames,
        "spans": note.get("spans", []) if sealed else [],
        "checked": "sealed by the media process" if sealed else "ends where the disk has it",
        "failed": LOST if sealed else "control and media process lost",
        "purged": False,
    }
    await services.evidence.append(record.call_id, "recording.closed", facts)
    if sha256:
        await services.registry.recording_closed(record.recording, sha256=sha256, size=size, frames=frames)
    else:
        await services.registry.recording_destroyed(record.recording)
    await asyncio.to_thread(_note_path(path).unlink, missing_ok=True)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.closed.json")


async def _sealing_note(path: Path, sealed_by: float) -> Mapping[str, Any]:
    """Return the note beside a recording, empty when there is none. One that is being written is waited for until
    *sealed_by* (the event loop's clock, seconds)."""
    while True:
        try:
            note = json.loads(await asyncio.to_thread(_note_path(path).read_text))
            return note if isinstance(note, dict) else {}
        except FileNotFoundError:
            gone = not await asyncio.to_thread(path.exists)
            if gone or asyncio.get_running_loop().time() >= sealed_by:
                return {}
            await asyncio.sleep(0.1)
        except ValueError:
            return {}
