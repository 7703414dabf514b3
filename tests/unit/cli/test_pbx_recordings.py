"""Recordings that a PBX keeps, on the command line: listed, compared and copied where its spool can be read."""

import asyncio
import hashlib
import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from gateway.ports.registry import PbxPlace
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run

CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEPT, OWN = f"{CALL}-1", f"{CALL}-2"
FILE = f"/var/spool/asterisk/monitor/consent/{CALL}-20261127T120000000.wav"


@dataclass
class Site:
    """A gateway that is not running, and the monitor folder of its PBX."""

    config: Path
    monitor: Path
    out: Path

    @property
    def file(self) -> Path:
        return self.monitor / "consent" / Path(FILE).name

    def run(self, *arguments: str) -> Any:
        return run("recordings", *arguments, "--config", self.config)

    def verify(self, *more: str) -> Any:
        return self.run("verify", KEPT, *more)

    def export(self, *more: str) -> Any:
        return self.run("export", KEPT, "--out", str(self.out), *more)

    def fill(self, *, file: str = FILE, closed: dict[str, Any] | None = None, state: str = "closed") -> None:
        asyncio.run(_fill(self.config.parent / "var", file, closed, state))

    def recorded(self) -> None:
        """A recording that was closed while its file could be read."""
        self.file.parent.mkdir(parents=True)
        with wave.open(str(self.file), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(320 * 75))
        data = self.file.read_bytes()
        self.fill(closed={"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "frames": 75})


async def _fill(var: Path, file: str, closed: dict[str, Any] | None, state: str) -> None:
    log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
    database = RegistryDatabase(var / "registry.db")
    registry = SqliteCallRegistry(database)
    await registry.call_started(CALL, policy="p")
    await registry.recording_opened(KEPT, call_id=CALL, path=str(PbxPlace("pbx1", file)), recipient="", wrapped=b"")
    key = FileKeyStore(var / "keys").new_recording_key(OWN)
    await registry.recording_opened(OWN, call_id=CALL, path="/own.wav.age", recipient="age1x", wrapped=key.wrapped)
    await log.append(CALL, "call.arrived", {})
    if closed is not None:
        facts = {"recording": KEPT, "failed": "", "checked": "kept by the PBX", "spans": [], "size": 0, "frames": 0}
        facts |= {"sha256": ""} | closed
        await log.append(CALL, "recording.closed", facts)
        await registry.recording_closed(KEPT, **{name: facts[name] for name in ("sha256", "size", "frames")})  # type: ignore[arg-type]
    if state == "destroyed":
        await registry.recording_destroyed(KEPT)
    await database.aclose()
    await log.aclose()


@pytest.fixture
def site(config: Path, tmp_path: Path) -> Site:
    made = Site(config, tmp_path / "monitor", tmp_path / "copy.wav")
    shared = f'[[asterisk]]\nname = "pbx1"\nsecret = "s"\nagents = ["PJSIP/a"]\nspool = "{made.monitor}"\n'
    config.write_text(config.read_text() + shared)
    return made


def unshared(site: Site) -> None:
    lines = site.config.read_text().splitlines()
    site.config.write_text("\n".join(line for line in lines if not line.startswith("spool")))


def test_the_list_says_where_each_is(site: Site) -> None:
    site.recorded()
    said = site.run("list")
    assert said.code == 0
    head, own, kept = said.out.splitlines()
    assert head.split()[:2] == ["RECORDING", "STATE"]
    assert own.split()[:2] == [OWN, "open"] and "/own.wav.age" in own
    assert kept.split()[:2] == [KEPT, "closed"] and f"pbx1:{FILE}" in kept and "1.5 s" in kept
    own, kept = json.loads(site.run("list", "--json").out)
    assert (own["kept_by"], own["path"], own["closed_at"]) == ("gateway", "/own.wav.age", None)
    assert (kept["kept_by"], kept["path"], kept["duration_ms"]) == ("asterisk pbx1", FILE, 1500)
    assert kept["sha256"] == hashlib.sha256(site.file.read_bytes()).hexdigest()


def test_the_list_can_be_limited_and_of_one_call(site: Site) -> None:
    site.fill()
    assert [r["recording"] for r in site.run("list", "--limit", "1", "--json").json] == [OWN]
    assert [r["recording"] for r in site.run("list", "--call", CALL, "--json").json] == [KEPT, OWN]
    assert site.run("list", "--call", "nobody", "--json").json == []
    assert site.run("list", "--call", "nobody").out == "there are no recordings of that call\n"


def test_a_file_nobody_told_is_said_so(site: Site) -> None:
    site.fill(file="", closed={"checked": "no file"})
    assert "pbx1 (no file told)" in site.run("list").out
    for said in (site.verify(), site.export()):
        assert said.code == 1 and "never told" in said.err and len(said.err.splitlines()) == 1


def test_a_recorder_that_runs_is_not_compared_yet(site: Site) -> None:
    site.fill(file="")
    assert "no entry that closes it" in site.verify().err and site.verify().code == 1
    assert "not told its file yet" in site.export().err


def test_the_file_of_the_log_is_verified_and_copied(site: Site) -> None:
    site.recorded()
    said = site.verify()
    assert said.code == 0 and str(site.file) in said.out
    assert site.verify("--json").json == {"recording": KEPT, "ok": True, "because": ""}
    copied = site.export("--json")
    assert copied.json == {"recording": KEPT, "path": str(site.out), "duration_ms": 1500, "truncated": False}
    assert site.out.read_bytes() == site.file.read_bytes()
    again = site.export()
    assert again.code == 3 and "exists already" in again.err


def test_another_file_is_found_out(site: Site) -> None:
    site.recorded()
    site.file.write_bytes(site.file.read_bytes()[:-2] + b"\1\1")
    said = site.verify()
    assert said.code == 1 and "SHA-256 differs" in said.err and str(site.file) in said.err
    said = site.verify("--json")
    assert said.code == 1 and said.json["ok"] is False and "SHA-256 differs" in said.json["because"]


def test_a_file_that_is_gone_is_missing(site: Site) -> None:
    site.recorded()
    site.file.unlink()
    assert site.verify().code == 1 and "missing" in site.verify().err
    said = site.export()
    assert said.code == 1 and str(site.file) in said.err and not site.out.exists()


@pytest.mark.parametrize("why", ["spool not shared", "server not configured"])
def test_a_file_that_cannot_be_read_from_here_is_out_of_reach(site: Site, why: str) -> None:
    site.recorded()
    if why == "spool not shared":
        unshared(site)
    else:
        site.config.write_text(site.config.read_text().replace('"pbx1"', '"pbx2"'))
    sha256 = hashlib.sha256(site.file.read_bytes()).hexdigest()
    for said in (site.verify(), site.export(), site.verify("--json")):
        assert said.code == 3 and said.out == "" and len(said.err.splitlines()) == 1
        assert "pbx1" in said.err and FILE in said.err and "`spool`" in said.err
    assert sha256 in site.verify().err
    assert not site.out.exists()


def test_what_was_never_read_has_nothing_to_compare_with(site: Site) -> None:
    site.fill(closed={"checked": "kept by the PBX, its spool is not shared"})
    said = site.verify()
    assert (
        said.code == 1 and "no hash of it (kept by the PBX, its spool is not shared)" in said.err and FILE in said.err
    )


def test_a_file_whose_header_is_not_final_is_copied_as_it_is(site: Site) -> None:
    site.recorded()
    data = site.file.read_bytes()
    site.file.write_bytes(data[:-320])
    said = site.export()
    assert said.code == 0 and "not final" in said.out and site.out.read_bytes() == data[:-320]


def test_a_removed_file_is_a_destroyed_recording(site: Site) -> None:
    site.fill(closed={"purged": True, "checked": "removed"}, state="destroyed")
    for said in (site.verify(), site.export()):
        assert said.code == 1 and "its file was removed" in said.err


def test_doctor_reads_a_registry_with_recordings_of_a_pbx(config: Path) -> None:
    asyncio.run(_fill(config.parent / "var", FILE, None, "open"))
    said = run("doctor", "--config", config)
    assert "registry.db can be read" in said.out
