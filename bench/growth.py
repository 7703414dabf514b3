"""The log on PostgreSQL beside bare inserts into the same server, and what happens as a log grows."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from bench.machine import quantile
from gateway.adapters.store.evidence_log import DatabaseEvidenceLog, PostgresEvidenceLog, SqliteEvidenceLog
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.canonical import Json
from tests.support.postgres import Cluster, cluster

ORIGIN = "bench.example/log"
ARRIVED: dict[str, Json] = {"parties": [{"role": "caller", "kind": "customer"}]}
ENTRIES_A_CALL = 30
AT_ONCE = 400
"""Calls that fill a log side by side: a full commit each time."""


@contextmanager
def server() -> Iterator[Cluster]:
    """A PostgreSQL as Debian ships it, durable, on the disk that temporary files are on."""
    folder = Path(mkdtemp(prefix="consent-bench-"))
    folder.chmod(0o755)
    try:
        with cluster(folder, segment_mb=16, shared_buffers="128MB", max_wal_size="1GB", min_wal_size="80MB") as running:
            yield running
    finally:
        shutil.rmtree(folder)


def bare_inserts(running: Cluster, seconds: float, row_bytes: int) -> list[float]:
    """Commit one row at a time in the same server; return how many seconds each took."""
    database = running.new_database()
    running.run(database, "CREATE TABLE bare (id bigserial PRIMARY KEY, data bytea NOT NULL)")
    took = []
    with running.connect(database) as connection:
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            connection.execute("INSERT INTO bare (data) VALUES (%s)", (bytes(row_bytes),))
            took.append(time.perf_counter() - began)
    return took


def opener(running: Cluster, folder: Path) -> Callable[[str], DatabaseEvidenceLog]:
    """Return what opens a new log of a name, in a database of its own."""

    def open_log(name: str) -> DatabaseEvidenceLog:
        return PostgresEvidenceLog(running.server(running.new_database()), folder / f"keys-{name}", ORIGIN)

    return open_log


def file_size(path: Path) -> int:
    """Return the size of a database of SQLite with nothing left in its write-ahead log."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


async def fill(log: DatabaseEvidenceLog, calls: int, prompt: dict[str, Json], first: int) -> None:
    """Append *calls* calls of thirty entries."""

    async def call(name: str) -> None:
        await log.append(name, "call.arrived", ARRIVED, {"caller_number": "+4915550100"})
        for _ in range(ENTRIES_A_CALL - 2):
            await log.append(name, "prompt.played", prompt)
        await log.append(name, "call.ended", {"cause": "bye", "entries": ENTRIES_A_CALL})

    for begin in range(first, first + calls, AT_ONCE):
        await asyncio.gather(*(call(f"call{number}") for number in range(begin, min(begin + AT_ONCE, first + calls))))


async def grow(
    log: DatabaseEvidenceLog, size_of: Callable[[], int], prompt: dict[str, Json], largest: int
) -> list[dict[str, Any]]:
    """Measure a log at 10**3, 10**4, ... entries, as far as *largest*."""
    rows, calls, entries = [], 0, 1_000
    while entries <= largest:
        wanted = entries // ENTRIES_A_CALL
        began = time.perf_counter()
        await fill(log, wanted - calls, prompt, calls)
        fill_s, filled = time.perf_counter() - began, (wanted - calls) * ENTRIES_A_CALL
        calls = wanted
        took, exports = [], []
        for number in range(40):
            began = time.perf_counter()
            await log.append(f"late{entries}-{number}", "call.arrived", ARRIVED)
            took.append(time.perf_counter() - began)
        data = b""
        for number in range(5):
            began = time.perf_counter()
            data = await log.export(f"call{number * (calls // 5)}")
            exports.append(time.perf_counter() - began)
        verify_bundle(data, log.verifier_key())
        rows.append(
            {
                "entries": entries,
                "filled_per_s": filled / fill_s,
                "append_p50_ms": quantile(took, 0.5) * 1_000,
                "export_p50_ms": quantile(exports, 0.5) * 1_000,
                "bundle_bytes": len(data),
                "bytes_a_call": size_of() / (entries / ENTRIES_A_CALL),
            }
        )
        entries *= 10
    return rows


async def growth(running: Cluster, folder: Path, prompt: dict[str, Json], largest: int) -> dict[str, Any]:
    """Grow a log on either database."""
    path = folder / "grown.db"
    database = running.new_database()
    logs: dict[str, tuple[DatabaseEvidenceLog, Callable[[], int]]] = {
        "SQLite": (SqliteEvidenceLog(path, folder / "keys-grown", ORIGIN), lambda: file_size(path)),
        "PostgreSQL": (
            PostgresEvidenceLog(running.server(database), folder / "keys-grown-server", ORIGIN),
            lambda: int(running.run(database, "SELECT pg_database_size(current_database())")[0][0]),
        ),
    }
    found = {}
    for name, (log, size_of) in logs.items():
        empty = size_of()
        try:
            found[name] = await grow(log, lambda size_of=size_of, empty=empty: size_of() - empty, prompt, largest)
        finally:
            await log.aclose()
    return found


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    heads = ("entries", "filled/s", "append ms", "export ms", "kB a call", "bundle kB")
    print(f"{'a log of':12}" + "".join(f"{head:>11}" for head in heads))
    for name, rows in found.items():
        for row in rows:
            line = f"{name:12}{row['entries']:>11}{row['filled_per_s']:>11.0f}{row['append_p50_ms']:>11.2f}"
            sizes = "".join(f"{row[size] / 1000:>11.1f}" for size in ("bytes_a_call", "bundle_bytes"))
            print(f"{line}{row['export_p50_ms']:>11.1f}{sizes}")
