"""Runs `appender.py` and reads the log it left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from gateway.adapters.store import schema
from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.evidence.bundle import verify_bundle

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("appender.py")
Acknowledged = dict[int, tuple[str, str]]


def launch(folder: Path, writers: int, *rounds: int, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), str(folder), str(writers), *map(str, rounds)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def acknowledged(lines: Iterator[str]) -> Acknowledged:
    """Read index -> (leaf, call); a last line cut off by the kill was never a receipt anybody saw."""
    found: Acknowledged = {}
    for line in lines:
        if line.endswith("\n") and not line.startswith("FULL"):
            index, leaf, call = line.split()
            found[int(index)] = (leaf, call)
    return found


async def check_log(folder: Path, promised: Acknowledged) -> int:
    """Reopen the log: nothing promised is lost, everything fits, a bundle verifies, and it goes on."""
    log = SqliteEvidenceLog(folder / "evidence.db", folder / "keys", "gateway.example/log")
    try:
        assert not await log.fsck()
        with schema.open_reader(folder / "evidence.db").connect() as connection:
            rows = connection.execute(
                select(schema.entries.c.idx, schema.entries.c.leaf_hash, schema.entries.c.call_id)
            )
            stored = {row.idx: (row.leaf_hash.hex(), row.call_id) for row in rows}
        assert promised.items() <= stored.items()
        for call_id in sorted({call for _, call in promised.values()})[:2]:
            verify_bundle(await log.export(call_id), log.verifier_key())
        await log.append("after", "call.arrived", {"parties": [{"role": "caller"}]})
        return len(stored)
    finally:
        await log.aclose()
