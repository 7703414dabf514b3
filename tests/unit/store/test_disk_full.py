"""A full disk fails the waiters, harms nothing, and is forgotten when there is room again."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.evidence.bundle import verify_bundle
from gateway.ports.evidence import EvidenceUnavailable
from tests.unit.store.processes import ROOT, acknowledged, check_log, launch

PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}


async def test_a_full_database_fails_every_waiter_and_recovers(tmp_path: Path) -> None:
    log = SqliteEvidenceLog(tmp_path / "evidence.db", tmp_path / "keys", "gateway.example/log")
    await log.append("call1", "call.arrived", PARTIES, {"caller_number": "+4930123456"})
    limit_pages(log, 40)
    failures = 0
    durable = 1
    while failures < 40:
        results = await asyncio.gather(
            *(log.append("call1", "step.made", {"filler": "x" * 2_000}) for _ in range(8)), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        assert all(type(error) is EvidenceUnavailable for error in failed)
        assert len(failed) in (0, 8), "waiters of one commit share its fate"
        failures += len(failed)
        durable += len(results) - len(failed)
        if failed:
            assert "SQLITE_FULL" in str(failed[0])
            limit_pages(log, 40)
    assert log.statistics.entries == durable
    limit_pages(log, 1_000_000)
    receipt = await log.append("call1", "call.ended", {"cause": "bye", "entries": durable + 1})
    assert receipt.index == durable
    assert verify_bundle(await log.export("call1"), log.verifier_key()).entries == durable + 1
    assert not await log.fsck()
    await log.aclose()


def limit_pages(log: SqliteEvidenceLog, pages: int) -> None:
    """The writer is idle: its connection can be talked to from here."""
    connection, _ = log._writer._opened()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


async def test_a_limit_on_file_sizes_is_survived_and_the_waiting_entry_is_written_after_all(tmp_path: Path) -> None:
    process = launch(tmp_path, 4, 60, FILE_LIMIT="150000")
    assert process.stdout is not None
    lines = []
    refusals = 0
    for line in process.stdout:
        lines.append(line)
        refusals += line.startswith("FULL")
        if refusals == 6:
            process.send_signal(signal.SIGUSR1)
    assert process.wait() == 0
    process.stdout.close()
    assert refusals >= 6
    promised = acknowledged(iter(lines))
    assert len(promised) == 240, "every append was acknowledged in the end, once"
    assert await check_log(tmp_path, promised) == 240


MOUNTED = """
import asyncio, resource, sys
from pathlib import Path
from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.ports.evidence import EvidenceUnavailable

async def main(folder, keys):
    log = SqliteEvidenceLog(folder / "evidence.db", keys, "gateway.example/log")
    written = 0
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    if sys.argv[3] == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    while True:
        try:
            await log.append("call1", "call.arrived", {"parties": [{"role": "caller"}], "filler": "x" * 20_000})
            written += 1
        except EvidenceUnavailable as error:
            print(error, file=sys.stderr)
            break
    ballast.unlink()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    receipt = await log.append("call1", "step.made", {})
    assert receipt.index == written, (receipt.index, written)
    assert not await log.fsck()
    await log.aclose()
    print("recovered after", written)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""
"""Arguments: the folder, the keys, and how the room is limited."""


def test_a_file_system_without_room_is_survived(tmp_path: Path) -> None:
    """On a tmpfs of 3 MB in a mount namespace of its own; where nobody may mount one, files are limited instead."""
    folder, keys, script = tmp_path / "small", tmp_path / "keys", tmp_path / "script.py"
    folder.mkdir()
    script.write_text(MOUNTED)
    run = shlex.join([sys.executable, str(script), str(folder), str(keys)])
    mount = f"mount -t tmpfs -o size=3m none {shlex.quote(str(folder))}"
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} || exit 99; exec {run} mounted"]
    ran = run_script(inside)
    if ran.returncode == 99 or "unshare failed" in ran.stderr:
        ran = run_script(["sh", "-c", f"exec {run} limited"])
    assert ran.returncode == 0, ran.stderr
    assert "recovered after" in ran.stdout
    assert "SQLITE_FULL" in ran.stderr or "SQLITE_IOERR" in ran.stderr


def run_script(command: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60, check=False)


async def test_a_folder_that_cannot_be_written_is_said_to_be_that(tmp_path: Path) -> None:
    keys, blocked = tmp_path / "keys", tmp_path / "evidence.db"
    SqliteEvidenceLog(tmp_path / "other.db", keys, "gateway.example/log").close()
    blocked.mkdir()
    with pytest.raises(EvidenceUnavailable, match="SQLITE_CANTOPEN"):
        SqliteEvidenceLog(blocked, keys, "gateway.example/log")
    blocked.rmdir()
    blocked.write_bytes(b"this is no database, and long enough to be read as one" * 100)
    with pytest.raises(EvidenceUnavailable, match="SQLITE_NOTADB"):
        SqliteEvidenceLog(blocked, keys, "gateway.example/log")
