"""What the command line says at night: databases and keys that are damaged, missing or somebody else's."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.adapters.keys.file_keys import FileKeyStore
from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run

CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
RECORDING = f"{CALL}-1"
EVIDENCE = (["list"], ["show", CALL], ["export", CALL], ["fsck"])
RECORDINGS = (["verify", RECORDING], ["export", RECORDING, "--out", "never.wav"], ["list"])
COMMANDS = [["evidence", *rest] for rest in EVIDENCE] + [["recordings", *rest] for rest in RECORDINGS]


async def fill(var: Path) -> None:
    """One recorded call."""
    log = SqliteEvidenceLog(var / "evidence.db", var / "keys", "consent-gateway/local")
    database = RegistryDatabase(var / "registry.db")
    registry = SqliteCallRegistry(database)
    key = FileKeyStore(var / "keys").new_recording_key(RECORDING)
    await registry.call_started(CALL, policy="p")
    await registry.recording_opened(RECORDING, call_id=CALL, path="gone", recipient="age1x", wrapped=key.wrapped)
    for kind in ("call.arrived", "prompt.played", "call.ended"):
        await log.append(CALL, kind, {"text": "x" * 2_000})
    await database.aclose()
    await log.aclose()


@pytest.fixture
def var(config: Path) -> Path:
    """The storage folder of a gateway that is not running."""
    folder = config.parent / "var"
    asyncio.run(fill(folder))
    return folder


def test_a_whole_folder_can_be_read(config: Path, var: Path) -> None:
    assert [run(*command, "--config", config).code for command in COMMANDS] == [0, 0, 0, 0, 1, 1, 0]
    assert run("doctor", "--config", config).code == 0


def _garbage(database: Path) -> None:
    database.write_bytes(b"\x93garbage" * 2_000)


def _cut_short(database: Path) -> None:
    with database.open("r+b") as file:
        file.truncate(5_000)


def _empty(database: Path) -> None:
    database.write_bytes(b"")


def _a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def _of_another_program(database: Path) -> None:
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE songs (title)")


def _bytes_that_are_no_text(database: Path) -> None:
    data = database.read_bytes()
    assert b"CREATE TABLE" in data
    database.write_bytes(data.replace(b"CREATE TABLE", b"CREATE \xd1ABLE"))


@pytest.mark.parametrize(
    "damage", [_garbage, _cut_short, _empty, _a_folder, _of_another_program, _bytes_that_are_no_text]
)
def test_a_database_that_cannot_be_read_is_named(config: Path, var: Path, damage: Callable[[Path], None]) -> None:
    for name in ("evidence.db", "registry.db"):
        for extra in (f"{name}-wal", f"{name}-shm"):
            (var / extra).unlink(missing_ok=True)
        damage(var / name)
    for command in COMMANDS:
        for option in ([], ["--json"]):
            said = run(*command, *option, "--config", config)
            name = "evidence.db" if command[0] == "evidence" else "registry.db"
            assert said.code == 3 and said.out == "", (command, said.out)
            assert len(said.err.splitlines()) == 1 and str(var / name) in said.err, said.err
            assert any(word in said.err for word in ("restore", "--config", "look at", "is it a file")), said.err
    said = run("doctor", "--config", config)
    assert said.code == 1 and str(var / "evidence.db") in said.err and str(var / "registry.db") in said.err


@pytest.mark.parametrize("value", [5, "text", b"\xff\xfe", b"{}", 1.5])
def test_values_that_no_gateway_wrote_are_damage(config: Path, var: Path, value: object) -> None:
    with sqlite3.connect(var / "evidence.db") as connection:
        connection.execute("UPDATE entries SET data = ?", (value,))
    for command in (["evidence", "list"], ["evidence", "show", CALL], ["evidence", "export", CALL]):
        said = run(*command, "--config", config)
        assert said.code == 3 and len(said.err.splitlines()) == 1 and str(var / "evidence.db") in said.err
    said = run("evidence", "fsck", "--config", config)
    assert said.code == 1 and "entry 0 of the log" in said.err
    with sqlite3.connect(var / "registry.db") as connection:
        connection.execute("UPDATE recordings SET path = ?, opened_at = 'noon'", (value,))
    for command in COMMANDS[4:]:
        said = run(*command, "--config", config)
        assert said.code == 3 and len(said.err.splitlines()) == 1 and str(var / "registry.db") in said.err


def test_a_node_that_is_missing_is_damage(config: Path, var: Path) -> None:
    with sqlite3.connect(var / "evidence.db") as connection:
        connection.execute("DELETE FROM nodes")
    said = run("evidence", "export", CALL, "--config", config)
    assert said.code in (1, 3) and len(said.err.splitlines()) == 1 and "node" in said.err


def test_a_writer_keeps_nobody_from_reading(config: Path, var: Path) -> None:
    other = sqlite3.connect(var / "registry.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    said = run("recordings", "verify", RECORDING, "--config", config)
    other.close()
    assert said.code == 1 and "no entry that closes it" in said.err


@pytest.mark.parametrize("damage", ["missing", "garbage", "open to others"])
def test_keys_that_cannot_be_used_are_named(config: Path, var: Path, damage: str) -> None:
    for key in ("log.key", "recordings.key"):
        path = var / "keys" / key
        if damage == "missing":
            path.unlink()
        elif damage == "garbage":
            path.write_bytes(b"\x93 no key")
        else:
            path.chmod(0o644)
    for command, key in ((COMMANDS[2], "log.key"), (COMMANDS[4], "recordings.key"), (COMMANDS[5], "recordings.key")):
        said = run(*command, "--config", config)
        assert said.code == 3 and said.out == "", said.out
        assert len(said.err.splitlines()) == 1 and str(var / "keys" / key) in said.err
    assert damage != "missing" or not (var / "keys" / "recordings.key").exists(), "looking makes no key"


@pytest.mark.parametrize("content", [b"\x93\xff", b"no key line\n", b""])
def test_a_public_key_that_is_none_is_named(config: Path, var: Path, content: bytes) -> None:
    (var / "keys" / "log.pub").write_bytes(content)
    said = run("evidence", "fsck", "--config", config)
    assert said.code == 3 and len(said.err.splitlines()) == 1 and str(var / "keys" / "log.pub") in said.err


@pytest.mark.parametrize(
    "file", ["evidence.db", "registry.db", "keys/log.key", "keys/recordings.key"], ids=lambda file: Path(file).name
)
def test_a_gateway_does_not_start_on_damage_and_says_on_which(config: Path, var: Path, file: str) -> None:
    (var / file).write_bytes(b"\x93garbage" * 2_000)
    command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 3 and done.stdout == "", done.stderr
    assert len(lines) == 1 and str(var / file) in lines[0] and "restore" in lines[0], done.stderr


def test_a_log_of_another_origin_says_what_to_put_back(config: Path, var: Path) -> None:
    config.write_text(config.read_text() + '[evidence]\norigin = "elsewhere/log"\n')
    shutil.rmtree(var / "recordings", ignore_errors=True)
    said = run("evidence", "export", CALL, "--config", config)
    assert said.code == 1 and "evidence.origin" in said.err and len(said.err.splitlines()) == 1


def test_a_folder_that_may_not_be_looked_into_is_named(config: Path, var: Path) -> None:
    """As root without the privilege to look everywhere: whoever else runs this lacks it anyway."""
    var.chmod(0)
    script = "import sys; from gateway.cli.main import app; app(sys.argv[1:])"
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        for command, code in (*((command, 3) for command in COMMANDS), (["doctor"], 1)):
            arguments = [*drop, sys.executable, "-c", script, *command, "--config", str(config)]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
            assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
            assert str(var) in done.stderr and "Permission denied" in done.stderr, done.stderr
    finally:
        var.chmod(0o700)
