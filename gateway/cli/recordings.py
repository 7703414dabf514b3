"""`consent-gateway recordings`: open what was sealed."""

import asyncio
from pathlib import Path

from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.adapters.recorder.reader import RecordingUnreadable, export_wav
from gateway.adapters.recorder.vault import AgeVault
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from gateway.app.switchboard import file_facts
from gateway.bootstrap import Folders
from gateway.cli.evidence import read_entries
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit, why, within_reach
from gateway.ports.media import Span
from gateway.ports.registry import RecordingRecord


async def _find(folders: Folders, recording: str) -> RecordingRecord:
    database = RegistryDatabase(folders.registry, read_only=True)
    try:
        return await SqliteCallRegistry(database).recording(recording)
    finally:
        await database.aclose()


def _open(recording: str, config: Path | None) -> tuple[RecordingRecord, str] | int:
    """Return the record and the recording's key, or the exit code after saying why not."""
    folders = Folders(settings_or_exit(config).storage.folder.resolve())
    if not folders.registry.exists():
        complain(f"{folders.registry} is not there: name the configuration with --config")
        return OUT_OF_REACH
    try:
        record = asyncio.run(_find(folders, recording))
    except KeyError:
        complain("no recording has that id")
        return OUT_OF_REACH
    if record.state == "destroyed":
        complain("the recording was destroyed: its key is gone, and nobody can open it any more")
        return NO
    store = FileKeyStore(folders.keys, create=False)
    try:
        return record, store.unwrap(recording, record.wrapped)
    except ValueError as error:
        complain(f"the recording's key cannot be unwrapped: {error}")
        return NO


@within_reach()
def export(recording: str, out: Path, config: Path | None, *, as_json: bool) -> int:
    """Write the recording as a plain WAV file."""
    opened = _open(recording, config)
    if isinstance(opened, int):
        return opened
    record, identity = opened
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
    opened = _open(recording, config)
    if isinstance(opened, int):
        return opened
    record, identity = opened
    wrong = _wrong(record, identity, config)
    if as_json:
        say_json({"recording": recording, "ok": not wrong, "because": wrong})
    elif wrong:
        complain(f"{recording}: {wrong}")
    else:
        say(f"{recording}: the file is the one of the log, and sample by sample what its timeline says")
    return NO if wrong else OK


def _wrong(record: RecordingRecord, identity: str, config: Path | None) -> str:
    entries = [e for e in read_entries(config, record.call_id) if e.kind == "recording.closed"]
    closed = [entry.facts for entry in entries if entry.facts.get("recording") == record.recording]
    if not closed:
        return "the log has no entry that closes it"
    facts = closed[-1]
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
