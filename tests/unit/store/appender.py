"""A process of its own that appends until it is killed, and tells a pipe what was acknowledged.

    python appender.py FOLDER WRITERS [ROUNDS]

Each line on stdout is `INDEX HEXLEAF CALL`, written only after the receipt was given. `FULL` reports an append
that was refused; the same append is tried again a little later. SIGUSR1 lifts a limit on file sizes.
POSTGRES: the log is there, with these parameters of libpq (JSON), and only its keys are in FOLDER. EAGER: the head is
signed between any two commits.
"""

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path

import structlog

from gateway.adapters.store import writer
from gateway.adapters.store.evidence_log import DatabaseEvidenceLog, PostgresEvidenceLog, SqliteEvidenceLog
from gateway.adapters.store.postgresql import PostgresServer
from gateway.ports.evidence import EvidenceUnavailable

ORIGIN = "gateway.example/log"
PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def write(log: DatabaseEvidenceLog, call_id: str, rounds: int) -> None:
    for number in range(rounds):
        kind = "call.arrived" if number == 0 else "step.made"
        while True:
            try:
                receipt = await log.append(call_id, kind, {**PARTIES, "filler": "x" * 300}, {"caller_number": call_id})
            except EvidenceUnavailable as error:
                say(f"FULL {error}")
                await asyncio.sleep(0.05)
            else:
                break
        say(f"{receipt.index} {receipt.leaf_hash.hex()} {call_id}")


def lift_limit(*_: object) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def open_log(folder: Path) -> DatabaseEvidenceLog:
    if parameters := os.environ.get("POSTGRES"):
        return PostgresEvidenceLog(PostgresServer("the test's", json.loads(parameters)), folder / "keys", ORIGIN)
    return SqliteEvidenceLog(folder / "evidence.db", folder / "keys", ORIGIN)


async def main(folder: Path, writers: int, rounds: int) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    log = open_log(folder)
    if "EAGER" in os.environ:
        writer.CHECKPOINT_LATEST_S = 0.0
    if limit := int(os.environ.get("FILE_LIMIT", "0")):
        signal.signal(signal.SIGUSR1, lift_limit)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    say("ready")
    await asyncio.gather(*(write(log, f"call{os.getpid()}-{number}", rounds) for number in range(writers)))
    await log.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 10**9))
