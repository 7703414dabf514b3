"""`consent-gateway recordings`: what there is, and what was sealed, opened."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.adapters.config.settings import Settings
from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.adapters.recorder.reader import RecordingUnreadable, export_wav
from gateway.adapters.recorder.vault import AgeVault
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from gateway.adapters.store.registry_database import is_there
from gateway.app.switchboard import file_facts
from gateway.bootstrap import Folders, registry_database
from gateway.cli import pbx_recordings
from gateway.cli.evidence import read_entries
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit, table, why, within_reach
from gateway.ports.evidence import Json
from gateway.ports.media import Span
from gateway.ports.registry import RecordingRecord

T = TypeVar("T")


def _read(settings: Settings, work: Callable[[SqliteCallRegistry], Awaitable[T]]) -> T:
    """Read something of the registry. Raises what *work* raises; leaves with 3 when there is no registry."""
    place = registry_database(settings)
    if not is_there(place):
        complain(f"{place.label} is not there: name the configuration with --config")
        raise SystemExit(OUT_OF_REACH)

    async def run() -> T:
        database = RegistryDatabase(place, read_only=True)
        try:
            return await work(SqliteCallRegistry(database))
        finally:
            await database.aclose()

    return asyncio.run(run())


def _find(settings: Settings, recording: str) -> RecordingRecord:
    """Return a recording that was not destroyed, or leave after saying why not."""
    try:
        record = _read(settings, lambda registry: registry.recording(recording))
    except KeyError:
        complain("no recording has that id")
        raise SystemExit(OUT_OF_REACH) from None
    if record.state == "destroyed":
        gone = "its file was removed" if record.kept_by else "its key is gone, and nobody can open it any more"
        complain(f"the recording was destroyed: {gone}")
        raise SystemExit(NO)
    return record


def _unwrap(settings: Settings, record: RecordingRecord) -> str:
    """Return the recording's key, or leave after saying why not."""
    store = FileKeyStore(Folders(settings.storage.folder.resolve()).keys, create=False)
    try:
        return store.unwrap(record.recording, record.wrapped)
    except ValueError as error:
        complain(f"the recording's key cannot be unwrapped: {error}")
        raise SystemExit(NO) from None


@within_reach()
def listing(call_id: str | None, limit: int, config: Path | None, *, as_json: bool) -> int:
    """Print the latest recordings, or those of one call, and where each is."""

    def these(registry: SqliteCallRegistry) -> Awaitable[Sequence[RecordingRecord]]:
        return registry.latest_recordings(limit) if call_id is None else registry.recordings(call_id)

    found = _read(settings_or_exit(config), these)
    if as_json:
        say_json([_as_object(record) for record in found])
    elif not found:
        say("there are no recordings" + ("" if call_id is None else " of that call"))
    else:
        rows = [
            [r.recording, r.state, f"{r.opened_at:%Y-%m-%dT%H:%M:%SZ}", _length(r), _where(r), r.sha256[:12]]
            for r in found
        ]
        table(["RECORDING", "STATE", "OPENED", "LENGTH", "WHERE", "SHA-256"], rows)
    return OK


def _length(record: RecordingRecord) -> str:
    return f"{record.frames / 50:.1f} s" if record.frames else "-"


def _where(record: RecordingRecord) -> str:
    return record.path if record.kept_by is None else pbx_recordings.where(record.kept_by)


def _as_object(record: RecordingRecord) -> dict[str, object]:
    place = record.kept_by
    return {
        "recording": record.recording,
        "call_id": record.call_id,
        "state": record.state,
        "opened_at": record.opened_at.isoformat(),
        "closed_at": record.closed_at and record.closed_at.isoformat(),
        "kept_by": "gateway" if place is None else f"asterisk {place.server}",
        "path": record.path if place is None else place.file,
        "sha256": record.sha256,
        "size": record.size,
        "duration_ms": record.frames * 20,
    }


@within_reach()
def export(recording: str, out: Path, config: Path | None, *, as_json: bool) -> int:
    """Write the recording as a plain WAV file."""
    settings = settings_or_exit(config)
    record = _find(settings, recording)
    if record.kept_by is not None:
        return pbx_recordings.export(record, record.kept_by, settings, out, as_json=as_json)
    identity = _unwrap(settings, record)
    try:
        with out.open("xb") as file:
            audio = export_wav(record.path, identity, file)
    except FileExistsError:
        complain(f"{out} exists already: nothing was written")
        return OUT_OF_REACH
    except (OSError, RecordingUnreadable) as error:
        out.unlink(missing_ok=True)
        complain(f"the recording cannot be exported: {why(error)}")
        return NO
    if as_json:
        say_json(
            {
                "recording": recording,
                "path": str(out),
                "duration_ms": audio.duration_ms,
                "truncated": audio.truncated,
            }
        )
        return OK
    cut = "; the file ends before its seal: a crash cut it short" if audio.truncated else ""
    say(f"{out}: {audio.duration_ms / 1000:.1f} s, left the caller, right the agent{cut}")
    return OK


@within_reach()
def verify(recording: str, config: Path | None, *, as_json: bool) -> int:
    """Compare the file with the log's `recording.closed` entry."""
    settings = settings_or_exit(config)
    record = _find(settings, recording)
    if record.kept_by is not None:
        facts = dict(_closing(record, config))
        return pbx_recordings.verify(record, record.kept_by, settings, facts, as_json=as_json)
    wrong = _wrong(record, _unwrap(settings, record), config)
    if as_json:
        say_json({"recording": recording, "ok": not wrong, "because": wrong})
    elif wrong:
        complain(f"{recording}: {wrong}")
    else:
        say(f"{recording}: the file is the one of the log, and sample by sample what its timeline says")
    return NO if wrong else OK


def _closing(record: RecordingRecord, config: Path | None) -> Mapping[str, Json]:
    """The facts of the log's last entry that closes the recording, empty when there is none."""
    entries = [e for e in read_entries(config, record.call_id) if e.kind == "recording.closed"]
    closed = [entry.facts for entry in entries if entry.facts.get("recording") == record.recording]
    return closed[-1] if closed else {}


def _wrong(record: RecordingRecord, identity: str, config: Path | None) -> str:
    facts = _closing(record, config)
    if not facts:
        return "the log has no entry that closes it"
    sha256, size = file_facts(Path(record.path))
    if not sha256:
        return "its file is missing"
    if (sha256, size) != (facts.get("sha256"), facts.get("size")):
        return "the file is not the one of the log (SHA-256 differs)"
    spans = facts.get("spans")
    assert isinstance(spans, list | tuple)
    timeline = [Span(**span) for span in spans if isinstance(span, dict)]
    begun = [e.facts for e in read_entries(config, record.call_id) if e.kind == "call.arrived"]
    fill = "gap" if begun and begun[0].get("paused_fill") == "gap" else "silence"
    return AgeVault().mismatch(record.path, identity, timeline, "gap" if fill == "gap" else "silence")
