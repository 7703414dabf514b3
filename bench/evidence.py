"""How fast evidence becomes durable, beside the bare limit of the same disk, and how fast it is checked.

    .venv/bin/python -m bench.evidence [--json] [--seconds S] [--folder DIR] [--grow ENTRIES]

The bare limit is a transaction of one row of the same size in a database with the same pragmas (WAL, synchronous
FULL), committed by one thread without anything else to do, measured before and after the log in the same run. The same
for PostgreSQL, with a server of our own on the disk that temporary files are on, reached by its socket.
"""

import argparse
import asyncio
import json
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from bench import growth
from gateway.adapters.store.evidence_log import DatabaseEvidenceLog, SqliteEvidenceLog
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.canonical import Json

ORIGIN = "bench.example/log"
PROMPT: dict[str, Json] = {
    "prompt": "ask",
    "attempt": 1,
    "language": "en",
    "text": "This call may be recorded. Press 1 to accept, or 2 to go on without a recording.",
    "sha256": "ab" * 32,
    "played_ms": 5_200,
    "length_ms": 5_200,
    "completed": True,
}
ROW_BYTES = 480
"""Size of an entry like those of a call, so that both write the same amount."""


def bare_commits(folder: Path, seconds: float) -> list[float]:
    """Commit one row at a time; return how many seconds each took."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    took = timed(lambda: bare_commit(connection), seconds)
    connection.close()
    return took


def bare_commit(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO bare (data) VALUES (?)", (bytes(ROW_BYTES),))
    connection.execute("COMMIT")


def timed(action: Callable[[], object], seconds: float) -> list[float]:
    took = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        action()
        took.append(time.perf_counter() - began)
    return took


async def write(log: DatabaseEvidenceLog, call_id: str, end: float, took: list[float]) -> None:
    """One writer: a call whose every entry waits for the one before to be durable."""
    await log.append(call_id, "call.arrived", {"parties": [{"role": "caller", "kind": "customer"}]})
    while (began := time.perf_counter()) < end:
        await log.append(call_id, "prompt.played", PROMPT)
        took.append(time.perf_counter() - began)


async def durable_appends(log: DatabaseEvidenceLog, writers: int, seconds: float) -> tuple[list[float], int]:
    took: list[float] = []
    end = time.perf_counter() + seconds
    await asyncio.gather(*(write(log, f"call{number}", end, took) for number in range(writers)))
    return took, log.statistics.commits


async def checks(log: DatabaseEvidenceLog, seconds: float) -> dict[str, Any]:
    """Export and verify one ordinary call of 30 entries in a log that is thousands of entries long."""
    await log.append("ordinary", "call.arrived", {"parties": [{"role": "caller", "kind": "customer"}]})
    for _ in range(28):
        await log.append("ordinary", "prompt.played", PROMPT)
    await log.append("ordinary", "call.ended", {"cause": "bye", "entries": 30})
    began = time.perf_counter()
    data = await log.export("ordinary")
    export_s = time.perf_counter() - began
    took = timed(lambda: verify_bundle(data, log.verifier_key()), seconds)
    bundles = len(took) / sum(took)
    size = verify_bundle(data, log.verifier_key()).tree_size
    return {
        "bundles_per_s": bundles,
        "entries_per_s": bundles * 30,
        "bundle_bytes": len(data),
        "tree_size": size,
        "export_ms": export_s * 1_000,
    }


def percentile(took: list[float], part: float) -> float:
    """Return the percentile in milliseconds."""
    return sorted(took)[min(len(took) - 1, int(len(took) * part))] * 1_000


async def measured(
    open_log: Callable[[str], DatabaseEvidenceLog], bare: Callable[[], list[float]], seconds: float
) -> dict[str, Any]:
    """Measure one database: its bare limit before and after, and logs with 1, 10 and 100 writers in between."""
    before = bare()
    rows = []
    checked: dict[str, Any] = {}
    for writers in (1, 10, 100):
        log = open_log(str(writers))
        began = time.perf_counter()
        took, commits = await durable_appends(log, writers, seconds)
        rate = len(took) / (time.perf_counter() - began)
        rows.append({"writers": writers, "appends_per_s": rate, "commits": commits, **latency(took)})
        rows[-1]["appends_per_commit"] = (len(took) + writers) / commits
        if writers == 100:
            checked = await checks(log, seconds)
        await log.aclose()
    after = bare()
    limit = (len(before) + len(after)) / (sum(before) + sum(after))
    for row in rows:
        row["ratio_to_bare"] = row["appends_per_s"] / limit
    return {"bare": {"commits_per_s": limit, **latency(before + after)}, "appends": rows, "checks": checked}


async def run(folder: Path, seconds: float, largest: int = 10_000) -> dict[str, Any]:
    def open_file(name: str) -> DatabaseEvidenceLog:
        return SqliteEvidenceLog(folder / f"log{name}.db", folder / f"keys{name}", ORIGIN)

    found = {"machine": f"{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"}
    files = await measured(open_file, lambda: bare_commits(folder, seconds), seconds)
    with growth.server() as server:
        version = server.run("postgres", "SHOW server_version")[0][0]

        def bare() -> list[float]:
            return growth.bare_inserts(server, seconds, ROW_BYTES)

        remote = await measured(growth.opener(server, folder), bare, seconds)
        grown = await growth.growth(server, folder, PROMPT, largest)
    return {**found, **files, "postgresql": {"version": version, **remote}, "growth": grown}


def latency(took: list[float]) -> dict[str, float]:
    return {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}


def show(found: dict[str, Any]) -> None:
    print(f"{found['machine']}, PostgreSQL {found['postgresql']['version']}")
    for name, part in (("SQLite", found), ("PostgreSQL", found["postgresql"])):
        show_one(name, part)
    growth.show(found["growth"])


def show_one(name: str, found: dict[str, Any]) -> None:
    bare = found["bare"]
    print(f"{name:32}{'per second':>12}{'ratio':>8}{'per commit':>12}{'p50 ms':>9}{'p99 ms':>9}")
    line = f"{'bare one-row commit':32}{bare['commits_per_s']:12.0f}{1:8.2f}{1:12.1f}"
    print(f"{line}{bare['p50_ms']:9.2f}{bare['p99_ms']:9.2f}")
    for row in found["appends"]:
        what = f"durable appends, {row['writers']} writers"
        line = f"{what:32}{row['appends_per_s']:12.0f}{row['ratio_to_bare']:8.2f}{row['appends_per_commit']:12.1f}"
        print(f"{line}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}")
    checked = found["checks"]
    print(
        f"checks: {checked['bundles_per_s']:.0f} bundles of 30 entries a second "
        f"({checked['entries_per_s']:.0f} entries), {checked['bundle_bytes']} bytes each, "
        f"in a tree of {checked['tree_size']}; export {checked['export_ms']:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement takes")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to measure: the disk matters")
    parser.add_argument(
        "--grow", type=int, default=10_000, help="how many entries the longest log gets: 1000000 takes minutes"
    )
    options = parser.parse_args()
    structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".bench-evidence-") as folder:
        found = asyncio.run(run(Path(folder), options.seconds, options.grow))
    if options.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
