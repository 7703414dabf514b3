"""The tamper drill: each damage is found, in the words that belong to it, and the real log is only read."""

import asyncio
import re
from pathlib import Path

import pytest

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.cli import drill_damage, evidence_drill
from gateway.cli.drill_log import DrillFailed, prepare, story
from gateway.cli.evidence_drill import Finding
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run

NUMBER = "+442079460123"
SEALED = {"caller_number": NUMBER, "caller_name": "Ada Marker-Lovelace"}

WORDS = {
    "a byte of an entry changed": r"entry \d+ .*do not hash to the stored leaf",
    "an entry spelled another way": "not the canonical spelling",
    "an entry removed": r"entry \d+ of the log: is missing; entry \d+ follows",
    "the last entry removed": "covers .* entries, the database holds .*: it was cut short",
    "two entries swapped": "follows number",
    "a leaf hash changed": "do not hash to the stored leaf",
    "an entry filed under another call": "another call or number than the entry itself",
    "an entry filed under another number": "another call or number than the entry itself",
    "a node of the tree changed": "node 0 of level 1 above it is missing or wrong",
    "a node of the tree removed": "node 0 of level 1 above it is missing or wrong",
    "a node added to the tree": "inner nodes, the table has not",
    "the tree's frontier changed": "the stored frontier is not that",
    "the tree's size changed": "the stored frontier is not that",
    "a verdict changed, and every hash above it": "do not hash to its root: the history was changed",
    "the last entry changed, and every hash above it": r"^the last signed head .*the history was changed$",
    "a personal value changed": "is not the one committed to",
    "a salt changed": "is not the one committed to",
    "an opening moved to another entry": "which the entry does not commit to",
    "an opening moved to no entry": "values that belong to no entry",
    "an opening removed in silence": "is gone, and no entry says that it was erased",
    "an erased value put back": "of its call says was erased",
    "about.origin changed": "another log or key",
    "about.verifier_key changed": "another log or key",
    "the version of the schema changed": "of another version",
    "two entries of one number, signed": "is number 9 of its call, but follows number 9",
    "the chain of a call broken, signed": "does not name the entry before it",
    "an entry of another log, signed": "names another log as its origin",
    "a trigger in the database": "1 triggers, this program makes none",
    "the database cut short": "damaged",
    "pages of the database overwritten": "damaged",
    "the signed head missing": "is missing",
    "the signed head changed": "cannot be trusted",
    "a head signed with another key": "not signed by",
    "a head of another history, signed": "do not hash to its root",
    "a head of a larger tree, signed": "covers .* entries, the database holds",
    "another public key": "another log or key",
    "an older head put back, signed": r"^the anchor \d+\.checkpoint: .*put back to an older one$",
    "log and head restored together, signed": r"^the anchor \d+\.checkpoint: .*cut short or restored$",
    "the last entry rewritten, signed": r"^the anchor \d+\.checkpoint: .*the history was changed$",
    "an anchored head changed": "no checkpoint of this log: .*does not fit",
    "an anchored head of another history, signed": r"^the anchor .*the history was changed$",
    "an anchored head renamed": "it was renamed",
    "two anchored heads of one size, signed": "two histories of .* entries: the log was forked",
    "a time stamp without its head": r"3\.tsa\.tsr stamps 3\.checkpoint, which is not there",
    "an entry dropped from a bundle": "entry 3 is missing",
    "the last entry dropped from a bundle": "the bundle's signature does not fit",
    "two entries of a bundle swapped": "entries were swapped",
    "the verdict in a bundle changed": r"entry 3 \(verdict\) was changed",
    "a personal value in a bundle changed": "the value opened for 'caller_name' is not the one",
    "an opening in a bundle moved": "opening 0 belongs to no commitment",
    "an opening dropped from a bundle": "the bundle's signature does not fit",
    "a hash of an inclusion proof changed": "does not lead to the root",
    "an entry's place in the log changed": "its index",
    "a bundle's tree made smaller": "as when a tree is truncated",
    "a checkpoint's signature changed": "the checkpoint's signature",
    "a bundle's signature removed": "the bundle is not signed",
    "a party taken out of a bundle": "parties are not those of entry 0",
    "a bundle cut short": "its end was cut off",
    "white space put into a bundle": "not the canonical spelling",
    "one bit of a bundle, at 64 places": "was changed",
    "a witness's line from under another head": "does not fit the checkpoint and its time",
    "a verdict left out, signed": "while no verdict was on record",
    "the arrival left out, signed": "names no parties",
    "a recorder opened before the verdict, signed": "while no verdict was on record",
    "a recorder opened after a no, signed": "verdict of caller was 'refused'",
    "an end that counts other entries, signed": "entries were lost or added",
    "a recording whose beginning is missing, signed": "span 0 begins at frame 10",
}
"""What the check has to say of each damage: found for another reason is not found."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    """One drill on a log of its own."""
    place = tmp_path_factory.mktemp("drill")
    sound = prepare(place / "sound", None, "gateway.example/log")
    return {finding.damage: finding for finding in evidence_drill.drill(sound, place, keep=False)}


def test_every_damage_has_its_words_here(findings: dict[str, Finding]) -> None:
    assert set(findings) == set(WORDS) and len(WORDS) >= 50


@pytest.mark.parametrize("damage", WORDS)
def test_a_damage_is_found_in_its_own_words(findings: dict[str, Finding], damage: str) -> None:
    assert any(re.search(WORDS[damage], words) for words in findings[damage].words), findings[damage]


def test_what_nothing_finds_is_said_and_ends_with_1(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_damage, "DATABASE", {"nothing at all": lambda copy: None})
    said = run("evidence", "drill", "--config", config)
    assert said.code == 1 and re.search("nothing at all +NOT FOUND", said.out)
    said = run("evidence", "drill", "--json", "--config", config)
    assert said.code == 1 and said.json["ok"] is False
    assert [item["damage"] for item in said.json["damages"] if not item["found"]] == ["nothing at all"]


@pytest.fixture
def var(config: Path) -> Path:
    """The storage folder of a gateway that has had two calls of people."""
    folder = config.parent / "var"

    async def fill() -> None:
        log = SqliteEvidenceLog(folder / "evidence.db", folder / "keys", "consent-gateway/local")
        for call in ("call-1", "call-2"):
            for kind, facts in story():
                await log.append(call, kind, facts, SEALED if kind == "call.arrived" else {})
        await log.erase_personal("call-2", "request")
        await log.aclose()

    asyncio.run(fill())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_real_log_is_copied_and_only_read(config: Path, var: Path, tmp_path: Path) -> None:
    before = contents(var)
    said = run("evidence", "drill", "--dir", tmp_path / "kept", "--json", "--config", config)
    assert said.code == 0, said.out
    assert said.json["ok"] and said.json["log"] == str(var / "evidence.db") and len(said.json["damages"]) == len(WORDS)
    after = contents(var)
    assert {name: after[name] for name in before} == before
    beside = {name: len(data) for name, data in after.items() if name not in before}
    assert beside.pop("evidence.db-wal", 0) == 0 and set(beside) <= {"evidence.db-shm"}, "SQLite's, of any reader"
    kept = contents(tmp_path / "kept")
    assert b"call-1" in kept["sound/evidence.db"], "the copy is one of the real log"
    assert said.json["entries"] == 21 + 2 + 11 + 10, "the log's, two erasures of the copy, and the drill's own"
    key, head = before["keys/log.key"], before["keys/log.pub"].strip()
    for name, data in kept.items():
        assert NUMBER.encode() not in data and b"Marker" not in data, f"{name} holds a personal value"
        assert key not in data and head not in data, f"{name} has to do with the real key"


def test_of_a_long_log_the_first_entries_will_do(config: Path, var: Path) -> None:
    """Cut in the middle of the second call."""
    said = run("evidence", "drill", "--entries", "13", "--json", "--config", config)
    assert said.code == 0 and said.json["ok"] and said.json["entries"] == 13 + 2 + 11 + 10


def test_copies_go_away(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert run("evidence", "drill", "--config", config).code == 0
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_log_that_is_damaged_already_is_no_ground_for_a_drill(config: Path, var: Path) -> None:
    (var / "keys" / "log.head").unlink()
    said = run("evidence", "drill", "--config", config)
    assert said.code == 1 and "damaged already" in said.err and "fsck" in said.err and said.out == ""


def test_a_folder_with_something_in_it_is_left_alone(config: Path, var: Path) -> None:
    said = run("evidence", "drill", "--dir", var, "--config", config)
    assert said.code == 2 and "--dir" in said.err


def test_a_drill_runs_beside_the_gateway(config: Path, var: Path) -> None:
    """The writer has the log open; entries of the write-ahead log are in the copy."""
    log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
    try:
        said = run("evidence", "drill", "--json", "--config", config)
    finally:
        log.close()
    assert said.code == 0 and said.json["ok"]


def test_a_sound_log_that_is_called_damaged_is_an_error(tmp_path: Path) -> None:
    sound = prepare(tmp_path / "sound", None, "gateway.example/log")
    sound.head.unlink()
    with pytest.raises(DrillFailed, match="called damaged"):
        list(evidence_drill.drill(sound, tmp_path, keep=False))
