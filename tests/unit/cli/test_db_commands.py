"""`db show`, `db upgrade`, and every other command that opens a database, on files and on PostgreSQL."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.config.settings import load_settings
from gateway.adapters.store.migrations import EVIDENCE, REGISTRY
from gateway.adapters.store.postgresql import REGISTRY_SCHEMA, PostgresSchema
from gateway.adapters.store.registry import RegistryDatabase, SqliteCallRegistry
from gateway.bootstrap import open_log, registry_database
from tests.support.postgres import PASSWORD, Cluster
from tests.unit.cli.test_commands import config as config
from tests.unit.cli.test_commands import run
from tests.unit.store.first.make_first import ARRIVED
from tests.unit.store.test_migrations import FIRST, walk

CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def old(config: Path) -> Path:
    """A configuration whose folder has files of before."""
    var = config.parent / "var"
    var.mkdir()
    for name in ("evidence", "registry"):
        with sqlite3.connect(var / f"{name}.db") as connection:
            connection.executescript((FIRST / f"{name}.sql").read_text())
        connection.close()
    return config


@pytest.fixture
def remote(config: Path, postgres_cluster: Cluster, postgres_database: str) -> Path:
    """A configuration with both databases in PostgreSQL."""
    (config.parent / "password").write_text(f"{PASSWORD}\n")
    (config.parent / "password").chmod(0o600)
    keys = f'database = "{postgres_cluster.url(postgres_database)}"\npassword_file = "{config.parent / "password"}"\n'
    config.write_text(config.read_text() + f"[evidence]\n{keys}[registry]\n{keys}")
    return config


async def fill(config: Path) -> None:
    """One call of a gateway that is gone."""
    settings = load_settings(config)
    log = open_log(settings)
    await log.append(CALL, "call.arrived", ARRIVED, {"caller_number": "+4915550100"})
    await log.append(CALL, "call.ended", {"cause": "bye", "entries": 2})
    await log.aclose()
    database = RegistryDatabase(registry_database(settings))
    registry = SqliteCallRegistry(database)
    await registry.call_started(CALL, policy="p")
    await registry.recording_opened(f"{CALL}-1", call_id=CALL, path="gone", recipient="age1x", wrapped=b"x")
    await database.aclose()


def test_show_and_upgrade_of_files(old: Path) -> None:
    said = run("db", "show", "--config", old, "--json")
    states = {found["database"]: (found["state"], found["version"], found["needed"]) for found in said.json}
    newest = REGISTRY.newest.lstrip("0")
    assert said.code == 1 and states["registry"] == ("old", "1", newest)
    assert "run: consent-gateway db upgrade" in said.err
    text = run("db", "show", "--config", old)
    assert "STATE" in text.out and str(old.parent / "var" / "registry.db") in text.out
    done = run("db", "upgrade", "--config", old, "--json")
    assert done.code == 0
    assert {item["database"]: (item["before"], item["after"]) for item in done.json} == {
        "evidence": (1, int(EVIDENCE.newest)),
        "registry": (1, int(REGISTRY.newest)),
    }
    again = run("db", "upgrade", "--config", old)
    assert again.code == 0 and "which is the newest" in again.out
    assert run("db", "show", "--config", old).code == 0


def test_an_upgrade_says_from_and_to(old: Path) -> None:
    said = run("db", "upgrade", "--config", old)
    assert f"registry.db went from version 1 to {REGISTRY.newest.lstrip('0')}" in said.out


@pytest.mark.parametrize("verb", ["show", "upgrade"])
def test_a_folder_before_its_first_start_is_no_fault(config: Path, verb: str) -> None:
    said = run("db", verb, "--config", config)
    assert said.code == 0 and "not there" in said.out
    assert not (config.parent / "var").exists(), "looking makes nothing"


@pytest.mark.parametrize("verb", ["show", "upgrade"])
@pytest.mark.parametrize("content", [b"", b"\x93garbage" * 2_000])
def test_what_is_no_database_is_named(config: Path, verb: str, content: bytes) -> None:
    var = config.parent / "var"
    var.mkdir()
    (var / "evidence.db").write_bytes(content)
    said = run("db", verb, "--config", config, "--json")
    assert (
        said.code == 3 and said.out == "" and str(var / "evidence.db") in said.err and len(said.err.splitlines()) == 1
    )
    assert (var / "evidence.db").read_bytes() == content


def test_commands_on_an_old_registry_say_what_to_run(old: Path) -> None:
    said = run("recordings", "list", "--config", old)
    assert said.code == 3 and "run: consent-gateway db upgrade" in said.err and len(said.err.splitlines()) == 1


def test_databases_of_a_newer_program_are_not_touched(old: Path) -> None:
    with sqlite3.connect(old.parent / "var" / "registry.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    assert run("db", "show", "--config", old, "--json").json[1]["state"] == "of a newer program"
    said = run("db", "upgrade", "--config", old)
    assert said.code == 3 and "a newer program made it" in said.err


# --- PostgreSQL ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_command_works_on_postgresql(remote: Path, tmp_path: Path) -> None:
    assert run("db", "show", "--config", remote, "--json").json[0]["state"] == "not there"
    assert run("evidence", "list", "--config", remote).code == 3
    doctor = run("doctor", "--config", remote)
    assert "is made at the first start, and a durable commit takes" in doctor.out, doctor.out
    asyncio.run(fill(remote))
    listed = run("evidence", "list", "--config", remote, "--json")
    assert listed.json == [{"call_id": CALL, "first_at": listed.json[0]["first_at"], "entries": 2}]
    assert run("evidence", "show", CALL, "--config", remote).code == 0
    out = tmp_path / "bundle.json"
    assert run("evidence", "export", CALL, "--config", remote, "--out", out).code == 0
    assert run("evidence", "verify", out, "--key", remote.parent / "var" / "keys" / "log.pub").code == 0
    receipt = run("evidence", "export", CALL, "--format", "vcon", "--config", remote, "--out", tmp_path / "vcon.json")
    assert receipt.code == 0, receipt.err
    assert run("evidence", "fsck", "--config", remote).code == 0
    assert [found["recording"] for found in run("recordings", "list", "--config", remote, "--json").json] == [
        f"{CALL}-1"
    ]
    made = run("keys", "create", "console", "--role", "admin", "--config", remote, "--json")
    assert made.code == 0 and run("keys", "revoke", made.json["key_id"], "--config", remote).code == 0
    assert [item["state"] for item in run("db", "show", "--config", remote, "--json").json] == ["current", "current"]
    assert run("db", "upgrade", "--config", remote).code == 0
    doctor = run("doctor", "--config", remote)
    assert doctor.code == 0 and "consent_registry) can be read, and a durable commit takes" in doctor.out


@pytest.mark.slow
def test_an_old_registry_on_postgresql_keeps_the_gateway_from_starting(
    remote: Path, postgres_cluster: Cluster, postgres_database: str
) -> None:
    walk(PostgresSchema(postgres_cluster.server(postgres_database), REGISTRY_SCHEMA), REGISTRY, "0001")
    command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(remote)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 3 and done.stdout == "", done.stderr
    assert len(lines) == 1 and "run: consent-gateway db upgrade" in lines[0]
    assert run("db", "show", "--config", remote).code == 1
    said = run("db", "upgrade", "--config", remote)
    assert said.code == 0 and "went from version 1 to" in said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("owner@", "nobody@"), "28"),
        (("@/test", "@/nowhere"), "3D000"),
        (("host=/", "host=/nowhere/"), "08001"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_without_the_password(
    remote: Path, change: tuple[str, str], says: str
) -> None:
    remote.write_text(remote.read_text().replace(*change))
    commands = [["evidence", "list"], ["evidence", "fsck"], ["recordings", "list"], ["keys", "list"], ["db", "show"]]
    for command in [*commands, ["db", "upgrade"], ["evidence", "export", CALL]]:
        said = run(*command, "--config", remote, "--json")
        assert said.code == 3 and said.out == "", (command, said.out)
        assert len(said.err.splitlines()) == 1 and f"PostgreSQL {says}" in said.err, said.err
        assert "postgresql://" in said.err and PASSWORD not in said.err
    doctor = run("doctor", "--config", remote, "--json")
    wrong = {found["name"]: found["what"] for found in doctor.json["checks"] if found["state"] == "error"}
    assert doctor.code == 1 and {"evidence", "registry"} <= set(wrong), wrong
    assert PASSWORD not in doctor.out + doctor.err


@pytest.mark.slow
def test_doctor_warns_of_a_password_that_others_can_read(remote: Path) -> None:
    (remote.parent / "password").chmod(0o644)
    checks = run("doctor", "--config", remote, "--json").json["checks"]
    warned = [found["what"] for found in checks if found["state"] == "warning" and "password" in found["what"]]
    assert len(warned) == 2 and str(remote.parent / "password") in warned[0]


def test_doctor_warns_of_a_network_that_is_not_verified(config: Path) -> None:
    shutil.rmtree(config.parent / "var", ignore_errors=True)
    config.write_text(
        config.read_text()
        + '[registry]\ndatabase = "postgresql://u@192.0.2.1/x?connect_timeout=1"\npassword = "hunter2"\n'
    )
    config.chmod(0o644)
    said = run("doctor", "--config", config, "--json")
    found = [item["what"] for item in json.loads(said.out)["checks"] if item["name"] == "registry"]
    assert any("sslmode is prefer" in what for what in found) and any("chmod 600" in what for what in found), found
    assert "hunter2" not in said.out
