"""Recordings that a PBX keeps as plain files of its own: looked at where its spool can be read from here."""

from pathlib import Path

from gateway.adapters.asterisk.spool import sound_length, spool_file
from gateway.adapters.config.settings import Settings
from gateway.app.switchboard import file_facts
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, why
from gateway.ports.evidence import Json
from gateway.ports.registry import PbxPlace, RecordingRecord


def where(place: PbxPlace) -> str:
    """Say where a recording is."""
    return f"{place.server}:{place.file}" if place.file else f"{place.server} (no file told)"


def _local(place: PbxPlace, settings: Settings) -> Path | None:
    """The file as it can be read from here, None when the server's spool cannot."""
    spools = [section.spool for section in settings.asterisk if section.name == place.server and section.spool]
    return spool_file(spools[0], place.file) if spools else None


def _no_file(record: RecordingRecord) -> str:
    if record.state == "open":
        return "the PBX has not told its file yet"
    return "there is no file of it as far as is known: the PBX never told one"


def _unreachable(place: PbxPlace, then: str) -> int:
    complain(
        f"the PBX {place.server} keeps it as {place.file}, which cannot be read from here: "
        f"set `spool` in its [[asterisk]] section, or {then}"
    )
    return OUT_OF_REACH


def export(record: RecordingRecord, place: PbxPlace, settings: Settings, out: Path, *, as_json: bool) -> int:
    """Copy the WAV file."""
    if not place.file:
        complain(f"the recording cannot be exported: {_no_file(record)}")
        return NO
    source = _local(place, settings)
    if source is None:
        return _unreachable(place, "copy it there")
    try:
        data = source.read_bytes()
    except FileNotFoundError as error:
        complain(f"the recording cannot be exported: {why(error)}")
        return NO
    try:
        with out.open("xb") as file:
            file.write(data)
    except FileExistsError:
        complain(f"{out} exists already: nothing was written")
        return OUT_OF_REACH
    duration_ms, final = sound_length(data)
    if as_json:
        say_json({"recording": record.recording, "path": str(out), "duration_ms": duration_ms, "truncated": not final})
        return OK
    cut = "" if final else "; its header is not final: the PBX still writes it, or was cut off"
    say(f"{out}: {duration_ms / 1000:.1f} s, a copy of {source}{cut}")
    return OK


def verify(
    record: RecordingRecord, place: PbxPlace, settings: Settings, closed: dict[str, Json], *, as_json: bool
) -> int:
    """Compare the file with *closed*, the facts of the log's `recording.closed` ({}: there is no such entry)."""
    source = _local(place, settings)
    wrong = _nothing_to_compare(record, place, closed)
    if not wrong and source is None:
        return _unreachable(place, f"compare there: sha256sum must print {closed['sha256']}")
    if not wrong and source is not None:
        sha256, size = file_facts(source)
        if not sha256:
            wrong = f"its file is missing: {source}"
        elif (sha256, size) != (closed["sha256"], closed.get("size")):
            wrong = f"the file is not the one of the log (SHA-256 differs): {source}"
    if as_json:
        say_json({"recording": record.recording, "ok": not wrong, "because": wrong})
    elif wrong:
        complain(f"{record.recording}: {wrong}")
    else:
        say(f"{record.recording}: {source} is the file of the log; what was to be silent in it was not compared")
    return NO if wrong else OK


def _nothing_to_compare(record: RecordingRecord, place: PbxPlace, closed: dict[str, Json]) -> str:
    if not closed:
        return "the log has no entry that closes it"
    if not place.file:
        return _no_file(record)
    if not closed.get("sha256"):
        because = closed.get("checked") or closed.get("failed")
        return f"the log has no hash of it ({because}); the PBX keeps it as {where(place)}"
    return ""
