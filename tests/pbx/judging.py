"""The end of every test with a gateway: each file that Asterisk wrote is judged packet by packet by the evidence.

A file belongs to the recording whose hash the evidence has. One that a killed gateway never closed belongs to its call
by name, and its end is the one that Asterisk told of. A file that no evidence knows fails the test, unless the test
started that recorder itself.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.bootstrap import Folders
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.canonical import Entry
from tests.pbx.figures import FIGURES
from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.cast import CAST
from tests.support.judged import (
    MS,
    Judgement,
    State,
    Timeline,
    clock_offset_ns,
    judge,
    moment_ns,
    read,
    timelines,
)

Calls = dict[str, Sequence[Entry]]


async def everybody_hangs_up(switch: Asterisk) -> None:
    """End whatever call is still up, and wait until every file is final."""
    for call in {id(speaker.call): speaker.call for speaker in CAST.speakers}.values():
        if not call.is_over and not call.is_vanished:
            await call.hang_up()
    await switch.cli_until("core show channels count", "0 active channels")


async def logged(folder: Path) -> Calls:
    """Every call's entries, checked, as a stopped gateway left them below *folder*."""
    folders = Folders(folder / "var")
    log = SqliteEvidenceLog(folders.evidence, folders.keys, "consent-gateway/local")
    try:
        calls = [one.call_id for one in await log.calls()]
        for call_id in calls:
            verify_bundle(await log.export(call_id), log.verifier_key())
        return {call_id: await log.entries(call_id) for call_id in calls}
    finally:
        await log.aclose()


def judge_files(
    calls: Calls,
    switch: Asterisk,
    observer: Ami,
    rogues: Mapping[str, bool] | None = None,
    durable: Mapping[str, int] | None = None,
) -> None:
    """Judge every file of Asterisk's. *rogues*: how the names of files begin whose recorders the test itself
    started, and whether the gateway can stop them. *durable*: when the evidence of a recording's verdict was on the
    disk, where that was noted; nothing that was sent before may be recorded.

    Raises `AssertionError` for the first that holds what it must not, or lacks what it must hold.
    """
    sent, offset_ns = CAST.sent(), clock_offset_ns()
    known = {call_id: timelines(entries, offset_ns) for call_id, entries in calls.items()}
    for one in (one for of_call in known.values() for one in of_call):
        one.marks[0] = (max(one.marks[0][0], (durable or {}).get(one.recording, 0)), *one.marks[0][1:])
    closed = {str(one.closed["sha256"]): one for of_call in known.values() for one in of_call if "sha256" in one.closed}
    files = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in switch.recordings()}
    for digest, file in files.items():
        samples = read(file)
        stops = next((stops for begin, stops in (rogues or {}).items() if file.name.startswith(begin)), None)
        if stops is not None:
            timeline = _rogue(calls, offset_ns, stops=stops)
        else:
            timeline = closed.get(digest) or _unclosed(file, known)
            timeline = _ended_unseen(file, timeline, calls, observer)
        judgement = judge(file.name, samples, timeline, sent)
        judgement.insist()
        note(judgement)
        frames = timeline.closed.get("frames", len(samples) // 160)
        assert len(samples) == 160 * frames, f"{file.name}: {len(samples)} samples, the evidence says {frames} frames"
    missing = closed.keys() - files.keys() - {""}
    assert not missing, f"files that the evidence has are not there: {[closed[one].recording for one in missing]}"


def _unclosed(file: Path, known: dict[str, list[Timeline]]) -> Timeline:
    """What is known of a file whose end no gateway saw."""
    unclosed = [one for one in known.get(file.name.partition("-")[0], []) if not one.closed.get("sha256")]
    assert unclosed, f"no evidence knows of {file.name}"
    return unclosed[0]


def _ended_unseen(file: Path, timeline: Timeline, calls: Calls, observer: Ami) -> Timeline:
    """A recording whose end its gateway did not see, because it was killed, ended when AMI told of it."""
    if timeline.closed.get("failed", "unclosed"):
        entries = calls[file.name.partition("-")[0]]
        channel = str(next(entry.facts["channel"] for entry in entries if entry.kind == "call.arrived"))
        timeline.end(end_of_recorder(observer, channel, timeline.marks[0][0]), "end seen on AMI")
    return timeline


def end_of_recorder(observer: Ami, channel: str, after_ns: int) -> int:
    """When AMI told of the end of a recorder, or of its channel."""
    return next(told_of(observer, channel, after_ns, "MixMonitorStop", "Hangup"))


def told_of(observer: Ami, channel: str, after_ns: int, *names: str) -> Iterator[int]:
    """When AMI told of events of a channel, after a moment."""
    for at_ns, event in zip(observer.arrived_ns, observer.events, strict=True):
        if event["Event"] in names and event.get("Uniqueid") == channel and at_ns > after_ns:
            yield at_ns


def _rogue(calls: Calls, offset_ns: int, *, stops: bool) -> Timeline:
    """What a foreign recorder may hold: everything, until the evidence says that it was found and could be stopped."""
    timeline = Timeline("foreign", [(0, State.BETWEEN, "the beginning")])
    entries = [entry for of_call in calls.values() for entry in of_call if entry.kind == "recorder.unexpected"]
    if stops:
        timeline.add(moment_ns(entries[0], offset_ns) + MS, State.FORBIDDEN, "recorder.unexpected")
    return timeline


def note(judgement: Judgement) -> None:
    """Keep what was measured."""
    for name, values in judgement.margins.items():
        FIGURES.setdefault(f"mapped: {name}", []).extend(values)
    FIGURES.setdefault("mapped: packets in a recording", []).append(judgement.packets)
    FIGURES.setdefault("mapped: packets of a stranger in the file before his hold", []).append(judgement.unknown)
    FIGURES.setdefault("mapped: packets that had to be in it", []).append(judgement.required)
    FIGURES.setdefault("mapped: packets that Asterisk dropped", []).append(judgement.dropped)
