"""What the last control process left open is closed in the log, truthfully."""

import asyncio
import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.app import recovery
from gateway.app.recovery import recorded_by_pbx, recover
from gateway.app.switchboard import file_facts
from gateway.app.tasks import spawn
from gateway.evidence.bundle import verify_bundle
from gateway.ports import media, pbx
from gateway.ports.evidence import EvidenceUnavailable
from gateway.ports.registry import PbxPlace, RegistryUnavailable
from tests.unit.app.desk import CALL, Desk

RECORDING = f"{CALL}-1"
SPANS = [{"state": "on", "from_frame": 0, "to_frame": 50, "cause": "c"}]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "SEALING_S", 0.2)


async def crash(desk: Desk, *, audio: bytes | None = b"sealed", note: Any = None) -> None:
    """A recorded call whose control process is killed: log, registry and disk stay, the session is gone."""
    opened = await desk.records()
    await desk.rest()
    if audio is not None:
        (desk.folder / f"{RECORDING}.wav.age").write_bytes(audio)
    if note is not None:
        (desk.folder / f"{RECORDING}.wav.age.closed.json").write_text(
            note if isinstance(note, str) else json.dumps(note)
        )
    assert opened.recording == RECORDING


async def test_a_sealed_recording_is_taken_over_with_its_note(desk: Desk) -> None:
    await crash(desk, note={"sha256": hashlib.sha256(b"sealed").hexdigest(), "frames": 50, "spans": SPANS})
    assert await recover(desk.services) == 1
    closed = desk.facts("recording.closed")[0]
    assert (closed["failed"], closed["frames"], closed["size"]) == ("control process lost", 50, 6)
    assert closed["checked"] == "sealed by the media process"
    assert desk.log.kinds(CALL)[-3:] == ["call.recovered", "recording.closed", "call.ended"]
    assert desk.facts("call.ended")[0] == {"cause": "control process lost", "entries": len(desk.log.kinds(CALL))}
    record = await desk.registry.call(CALL)
    assert (record.state, record.verdict) == ("ended", "granted")
    assert (await desk.registry.recording(RECORDING)).state == "closed"
    assert not (desk.folder / f"{RECORDING}.wav.age.closed.json").exists()
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


@pytest.mark.parametrize("note", [None, "not json", "[]", {"sha256": "of another file", "frames": 9, "spans": SPANS}])
async def test_a_recording_without_its_own_note_ends_where_the_disk_has_it(desk: Desk, note: Any) -> None:
    await crash(desk, note=note)
    await recover(desk.services)
    closed = desk.facts("recording.closed")[0]
    assert (closed["failed"], closed["frames"], closed["spans"]) == ("control and media process lost", 0, [])
    assert closed["checked"] == "ends where the disk has it"
    assert closed["sha256"] == hashlib.sha256(b"sealed").hexdigest()
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_a_recording_without_a_file_loses_its_key(desk: Desk) -> None:
    await crash(desk, audio=None)
    await recover(desk.services)
    record = await desk.registry.recording(RECORDING)
    assert (record.state, record.wrapped) == ("destroyed", b"")
    assert desk.facts("recording.closed")[0]["sha256"] == ""


async def test_many_lost_recordings_are_waited_for_together(desk: Desk) -> None:
    late = desk.folder / "OLD7-1.wav.age.closed.json"
    for number in range(20):
        call, recording = f"OLD{number}", f"OLD{number}-1"
        await desk.registry.call_started(call, policy="p")
        await desk.log.append(call, "call.arrived", {})
        path = desk.folder / f"{recording}.wav.age"
        path.write_bytes(b"sealed")
        await desk.registry.recording_opened(
            recording, call_id=call, path=str(path), recipient="age1x", wrapped=b"a key"
        )

    async def seal_late() -> None:
        await asyncio.sleep(recovery.SEALING_S / 2)
        note = {"sha256": hashlib.sha256(b"sealed").hexdigest(), "frames": 50, "spans": SPANS}
        late.with_suffix(".new").write_text(json.dumps(note))
        late.with_suffix(".new").rename(late)

    begun = time.monotonic()
    recovered, _ = await asyncio.gather(recover(desk.services), seal_late())
    assert time.monotonic() - begun < 4 * recovery.SEALING_S, "one wait, not twenty"
    assert recovered == 20
    closed = {entry.facts["recording"]: entry.facts for entry in desk.log.appended if entry.kind == "recording.closed"}
    assert len(closed) == 20
    assert {name for name, facts in closed.items() if facts["frames"] == 50} == {"OLD7-1"}


async def test_one_call_that_cannot_be_recovered_does_not_hide_behind_the_others(desk: Desk) -> None:
    for number in range(5):
        await desk.registry.call_started(f"OLD{number}", policy="p")
        await desk.log.append(f"OLD{number}", "call.arrived", {})
    desk.registry.fail_next()
    with pytest.raises(RegistryUnavailable):
        await recover(desk.services)
    assert [call.state for call in await desk.registry.calls()].count("open") == 1
    assert await recover(desk.services) == 1


async def test_a_second_recovery_finds_nothing(desk: Desk) -> None:
    await crash(desk)
    assert (await recover(desk.services), await recover(desk.services)) == (1, 0)
    assert desk.log.kinds(CALL).count("call.ended") == 1


async def test_a_call_that_wrote_its_end_gets_no_second_one(desk: Desk) -> None:
    await desk.registry.call_started("OLD", policy="p")
    for kind, facts in (
        ("call.arrived", {}),
        ("verdict", {"party": "caller", "verdict": "refused"}),
        ("call.ended", {}),
    ):
        await desk.log.append("OLD", kind, facts)
    assert await recover(desk.services) == 1
    assert desk.log.kinds("OLD") == ["call.arrived", "verdict", "call.ended"]
    assert (await desk.registry.call("OLD")).verdict == "refused"


async def test_a_call_without_entries_is_unanswered(desk: Desk) -> None:
    await desk.registry.call_started("OLD", policy="p")
    assert await recover(desk.services) == 1
    record = await desk.registry.call("OLD")
    assert (record.state, record.verdict) == ("ended", "unanswered")


async def test_the_callers_verdict_is_taken_over_not_the_agents(desk: Desk) -> None:
    await desk.registry.call_started("OLD", policy="p")
    await desk.log.append("OLD", "verdict", {"party": "caller", "verdict": "withdrawn"})
    await desk.log.append("OLD", "verdict", {"party": "agent", "verdict": "not_required"})
    await recover(desk.services)
    assert (await desk.registry.call("OLD")).verdict == "withdrawn"


async def test_a_gateway_that_cannot_write_does_not_start(desk: Desk) -> None:
    await crash(desk)
    desk.log.fail_next()
    with pytest.raises(EvidenceUnavailable):
        await recover(desk.services)
    desk.registry.fail_next()
    with pytest.raises(RegistryUnavailable):
        await recover(desk.services)


def test_the_facts_of_a_file_that_is_not_there(desk: Desk) -> None:
    assert file_facts(desk.folder / "nothing") == ("", 0)


# --- what a PBX recorded ------------------------------------------------------------------------------------------

NAME = f"{CALL}-20261127T120000000.wav"
FILE = f"/spool/monitor/consent/{NAME}"
FINAL: dict[str, object] = {"sha256": "ab" * 32, "size": 364, "frames": 1, "checked": "read in the PBX's spool"}


@dataclass
class Away:
    """A PBX that is away until it is let; then it has *found*."""

    found: pbx.LeftBehind
    here: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str, str, list[str]]] = field(default_factory=list)

    def sends(self, incoming: media.Incoming) -> bool:
        return False

    def find(self, incoming: media.Incoming, sink: pbx.PbxSink) -> pbx.PbxChannel:
        raise AssertionError("nobody calls")

    async def left_behind(self, server: str, call_id: str, path: str, *, others: Collection[str]) -> pbx.LeftBehind:
        self.asked.append((server, call_id, path, list(others)))
        await self.here.wait()
        return self.found


async def crash_beside_pbx(desk: Desk, told: str = "", left: pbx.LeftBehind | None = None, call_id: str = CALL) -> Away:
    """A call that a PBX recorded when its control process was killed; *told*: the file the registry knows."""
    await desk.registry.call_started(call_id, policy="p")
    await desk.log.append(call_id, "call.arrived", {"parties": [{"role": "caller", "kind": "customer"}]})
    facts: dict[str, Any] = {"party": "caller", "verdict": "granted", "purposes": {"recording": True}}
    await desk.log.append(call_id, "verdict", facts)
    await desk.registry.recording_opened(
        f"{call_id}-1", call_id=call_id, path=str(PbxPlace("pbx1", told)), recipient="", wrapped=b""
    )
    away = Away(left or pbx.LeftBehind(FILE, {**pbx.NO_FILE, **FINAL}))
    desk.services.pbx = away
    return away


@pytest.mark.parametrize("told", [FILE, ""])
async def test_what_a_pbx_recorded_is_closed_with_what_became_of_it(desk: Desk, told: str) -> None:
    away = await crash_beside_pbx(desk, told)
    away.here.set()
    assert await recover(desk.services) == 1
    assert away.asked == [("pbx1", CALL, told, [])]
    assert desk.log.kinds(CALL)[-3:] == ["call.recovered", "recording.closed", "call.ended"]
    closed = desk.facts("recording.closed")[0]
    assert (closed["failed"], closed["file"], closed["purged"]) == ("control process lost", NAME, False)
    assert {name: closed[name] for name in FINAL} == FINAL
    record = await desk.registry.recording(RECORDING)
    assert (record.state, record.kept_by, record.sha256) == ("closed", PbxPlace("pbx1", FILE), FINAL["sha256"])
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_nothing_is_said_of_a_file_that_nobody_has_seen(desk: Desk) -> None:
    unseen = pbx.LeftBehind("", {**pbx.NO_FILE, "checked": "kept by the PBX"})
    (await crash_beside_pbx(desk, left=unseen)).here.set()
    await recover(desk.services)
    closed = desk.facts("recording.closed")[0]
    assert (closed["sha256"], closed["size"], closed["checked"]) == ("", 0, "kept by the PBX")
    record = await desk.registry.recording(RECORDING)
    assert (record.state, record.kept_by, record.sha256) == ("closed", PbxPlace("pbx1"), "")
    verify_bundle(await desk.log.export(CALL), desk.log.verifier_key())


async def test_the_other_recordings_of_the_call_are_none_of_it(desk: Desk) -> None:
    away = await crash_beside_pbx(desk)
    first = str(PbxPlace("pbx1", "/spool/first.wav"))
    await desk.registry.recording_opened(f"{CALL}-0", call_id=CALL, path=first, recipient="", wrapped=b"")
    await desk.registry.recording_closed(f"{CALL}-0", sha256="cd", size=1, frames=1)
    away.here.set()
    await recover(desk.services)
    assert away.asked == [("pbx1", CALL, "", ["/spool/first.wav"])]
    assert len(desk.facts("recording.closed")) == 1


async def test_a_pbx_that_is_away_holds_up_its_own_calls_alone(desk: Desk) -> None:
    away = await crash_beside_pbx(desk, call_id="ATPBX")
    await crash(desk)
    lost = await desk.registry.open_calls()
    later = await recorded_by_pbx(desk.services, lost)
    assert [call.call_id for call in later] == ["ATPBX"]
    assert await recover(desk.services, [call for call in lost if call not in later]) == 1
    assert (await desk.registry.call(CALL)).state == "ended"
    waiting = spawn(recover(desk.services, later), name="later")
    await desk.rest()
    assert desk.log.kinds("ATPBX")[-1] == "call.recovered"
    assert (await desk.registry.call("ATPBX")).state == "open"
    away.here.set()
    assert await waiting == 1
    assert desk.log.kinds("ATPBX")[-2:] == ["recording.closed", "call.ended"]


async def test_a_recovery_that_is_cut_short_is_the_next_starts(desk: Desk) -> None:
    away = await crash_beside_pbx(desk)
    waiting = spawn(recover(desk.services), name="cut short")
    await desk.until(lambda: away.asked)
    waiting.cancel()
    await asyncio.wait([waiting])
    away.here.set()
    assert await recover(desk.services) == 1
    assert desk.log.kinds(CALL)[-3:] == ["call.recovered", "recording.closed", "call.ended"]
    assert desk.log.kinds(CALL).count("call.recovered") == 1


async def test_what_the_log_has_closed_already_is_not_closed_again(desk: Desk) -> None:
    away = await crash_beside_pbx(desk, FILE)
    facts: dict[str, Any] = {"recording": RECORDING, "failed": "", **pbx.NO_FILE, **FINAL}
    await desk.log.append(CALL, "recording.closed", facts)
    await recover(desk.services)
    assert not away.asked and len(desk.facts("recording.closed")) == 1
    record = await desk.registry.recording(RECORDING)
    assert (record.state, record.sha256) == ("closed", FINAL["sha256"])


async def test_a_file_that_the_log_has_as_removed_is_destroyed(desk: Desk) -> None:
    await crash_beside_pbx(desk, FILE)
    facts: dict[str, Any] = {"recording": RECORDING, "failed": "", **pbx.NO_FILE, "purged": True}
    await desk.log.append(CALL, "recording.closed", facts)
    await recover(desk.services)
    assert (await desk.registry.recording(RECORDING)).state == "destroyed"


async def test_a_pbx_that_is_not_configured_any_more_holds_nobody_up(desk: Desk) -> None:
    await crash_beside_pbx(desk, FILE)
    desk.services.pbx = None
    assert await recover(desk.services) == 1
    assert "not configured" in desk.facts("recording.closed")[0]["checked"]
