"""`evidence proof`, `verify-proof` and `tiles` on a real log, read by a second implementation."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run
from tests.vectors import second_reader

CALL = "call-1"


def append(var: Path, count: int) -> None:
    """Append entries of two calls that take turns."""

    async def work() -> None:
        log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
        steps = [
            log.append(f"call-{number % 2}", "step.made", {"number": number, "text": "ü" * (number % 50)})
            for number in range(count)
        ]
        await asyncio.gather(*steps)
        await log.aclose()

    asyncio.run(work())


@pytest.fixture
def var(config: Path) -> Path:
    folder = config.parent / "var"
    append(folder, 300)
    return folder


def test_an_entry_is_proven_without_its_call(config: Path, var: Path, tmp_path: Path) -> None:
    proof, entry, key = tmp_path / "p.tlog-proof", tmp_path / "entry.json", var / "keys" / "log.pub"
    said = run(
        "evidence", "proof", CALL, "--entry", "3", "-o", proof, "--entry-data", entry, "--json", "--config", config
    )
    assert said.code == 0 and said.json["index"] == 7
    assert second_reader.verify_proof(proof.read_text(), entry.read_bytes(), key.read_text()) == (7, 300)
    check = ["evidence", "verify-proof", proof, "--entry-data", entry, "--key", key]
    said = run(*check)
    assert said.code == 0 and "are entry 7 of the log consent-gateway/local, whose first 300 entries" in said.out
    assert (
        "it is entry 3 (step.made) of call call-1" in said.out and "NOT proven: that the call has no other" in said.out
    )
    said = run("evidence", "verify-proof", proof, "--entry-data", entry, "--key", key, "--json")
    assert said.json["verified"] is True and said.json["index"] == 7

    entry.write_bytes(entry.read_bytes().replace(b'"number":7', b'"number":8'))
    said = run(*check)
    assert said.code == 1 and said.err.startswith("NOT VALID: the proof of leaf 7 of 300")
    assert (
        run("evidence", "verify-proof", proof, "--entry-data", entry, "--key", key, "--json").json["verified"] is False
    )


def test_the_last_entry_is_proven_when_none_is_named(config: Path, var: Path) -> None:
    said = run("evidence", "proof", CALL, "--config", config)
    assert said.code == 0 and "\nindex 299\n" in said.out


def test_a_proof_may_hang_on_an_anchored_head(config: Path, var: Path, tmp_path: Path) -> None:
    said = run("evidence", "proof", CALL, "--anchored", "--config", config)
    assert said.code == 1 and "consent-gateway evidence anchor" in said.err
    (tmp_path / "worm").mkdir()
    run("evidence", "anchor", "--folder", tmp_path / "worm", "--config", config)
    append(var, 5)
    assert "\n300\n" in run("evidence", "proof", CALL, "--entry", "0", "--anchored", "--config", config).out
    assert "\n305\n" in run("evidence", "proof", CALL, "--entry", "0", "--config", config).out


@pytest.mark.parametrize("arguments", [["nobody"], [CALL, "--entry", "150"]])
def test_an_entry_that_is_not_there_is_told(config: Path, var: Path, arguments: list[str]) -> None:
    said = run("evidence", "proof", *arguments, "--config", config)
    assert said.code == 3 and "no such entry" in said.err and said.out == ""


def test_a_damaged_log_gives_no_proof(config: Path, var: Path) -> None:
    with sqlite3.connect(var / "evidence.db") as connection:
        connection.execute("UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND idx = 2")
    said = run("evidence", "proof", CALL, "--entry", "3", "--config", config)
    assert said.code == 1 and "fsck" in said.err and said.out == ""


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_tiles_are_the_log(config: Path, var: Path, tmp_path: Path) -> None:
    out, key = tmp_path / "site", (var / "keys" / "log.pub").read_text()
    said = run("evidence", "tiles", out, "--json", "--config", config)
    assert said.code == 0 and said.json["size"] == 300 and said.json["written"] == 5
    assert sorted(files(out)) == [
        *("checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44")
    ]
    entries = second_reader.read_tiles(out, key)
    with sqlite3.connect(var / "evidence.db") as connection:
        assert entries == [data for (data,) in connection.execute("SELECT data FROM entries ORDER BY idx")]


def test_tiles_grow_and_full_ones_are_never_written_again(config: Path, var: Path, tmp_path: Path) -> None:
    out, key = tmp_path / "site", (var / "keys" / "log.pub").read_text()
    run("evidence", "tiles", out, "--config", config)
    before = files(out)
    first = (out / "checkpoint").read_text()
    append(var, 400)
    said = run("evidence", "tiles", out, "--json", "--config", config)
    assert said.code == 0 and said.json["size"] == 700
    after = files(out)
    assert after["tile/0/000"] == before["tile/0/000"] and after["tile/entries/000"] == before["tile/entries/000"]
    assert "tile/0/001.p/44" not in after and "tile/0/001" in after and "tile/0/002.p/188" in after
    assert len(second_reader.read_tiles(out, key)) == 700
    assert len(second_reader.read_tiles(out, key, first)) == 300, "who has the old checkpoint finds its tiles"
    assert run("evidence", "tiles", out, "--json", "--config", config).json["written"] == 0


def test_an_interrupted_export_shows_no_checkpoint_and_goes_on(
    config: Path, var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, key = tmp_path / "site", (var / "keys" / "log.pub").read_text()
    append(var, 700)
    real, left = os.fsync, [4]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    said = run("evidence", "tiles", out, "--config", config)
    assert said.code == 3 and "No space left" in said.err and not (out / "checkpoint").exists()
    monkeypatch.setattr(os, "fsync", real)
    said = run("evidence", "tiles", out, "--json", "--config", config)
    assert said.code == 0 and said.json["known"] == 4
    assert len(second_reader.read_tiles(out, key)) == 1_000
    assert not list(out.rglob(".*.new"))


def test_the_tiles_of_another_log_are_left_alone(config: Path, var: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    run("evidence", "tiles", out, "--config", config)
    before = files(out)
    for name in ("evidence.db", "keys/log.key", "keys/log.pub", "keys/log.head"):
        (var / name).unlink()
    append(var, 600)
    said = run("evidence", "tiles", out, "--config", config)
    assert said.code == 1 and "is not of this log" in said.err and files(out) == before
    (out / "checkpoint").unlink()
    said = run("evidence", "tiles", out, "--config", config)
    assert said.code == 1 and "of another log or another history" in said.err


def test_a_log_that_became_shorter_is_told(config: Path, var: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "site", {}
    for name in ("evidence.db", "keys/log.head"):
        kept[name] = (var / name).read_bytes()
    append(var, 10)
    run("evidence", "tiles", out, "--config", config)
    for extra in ("evidence.db-wal", "evidence.db-shm"):
        (var / extra).unlink(missing_ok=True)
    for name, data in kept.items():
        (var / name).write_bytes(data)
    said = run("evidence", "tiles", out, "--config", config)
    assert said.code == 1 and "the folder has 310 entries, the log 300: it was restored" in said.err


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET data = x'00' WHERE idx = 100",
        "UPDATE entries SET leaf_hash = zeroblob(32) WHERE idx = 100",
        "UPDATE entries SET data = x'00' WHERE idx = 299",
        "DELETE FROM entries WHERE idx = 100",
    ],
)
def test_a_damaged_log_is_not_published(config: Path, var: Path, tmp_path: Path, damage: str) -> None:
    with sqlite3.connect(var / "evidence.db") as connection:
        connection.execute(damage)
    said = run("evidence", "tiles", tmp_path / "site", "--config", config)
    assert said.code == 3 and "holds damaged evidence (at entry" in said.err and "fsck" in said.err, said.err
    assert not (tmp_path / "site" / "checkpoint").exists()


def test_an_empty_log_has_a_checkpoint_and_no_tiles(config: Path, tmp_path: Path) -> None:
    append(config.parent / "var", 0)
    said = run("evidence", "tiles", tmp_path / "site", "--json", "--config", config)
    assert said.code == 0 and said.json["size"] == 0 and list(files(tmp_path / "site")) == ["checkpoint"]
