"""Made `evidence.sql`, `registry.sql` and `log.head` beside it, with the program as it was before versions of tables
were kept (commit 68a1a69):

    git worktree add /tmp/then 68a1a69; PYTHONPATH=/tmp/then python make_first.py /tmp/work OUT
"""

import asyncio
import hashlib
import sqlite3
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.adapters.store.evidence_log import SqliteEvidenceLog
from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys, SqliteCallRegistry
from gateway.evidence.canonical import Json

ORIGIN = "gateway.example/log"
ARRIVED: dict[str, Json] = {"parties": [{"role": "caller", "kind": "customer"}]}


def write_key(folder: Path) -> None:
    """Write the log's key: no secret, anybody can make it."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(ORIGIN.encode()).digest())
    form = serialization.PrivateFormat.PKCS8
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "log.key"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    path.chmod(0o600)


async def main(work: Path, out: Path) -> None:
    write_key(work / "keys")
    log = SqliteEvidenceLog(work / "evidence.db", work / "keys", ORIGIN)
    for call in ("call1", "call2"):
        await log.append(call, "call.arrived", ARRIVED, {"caller_number": "+4915550100"})
        await log.append(call, "call.ended", {"cause": "bye", "entries": 2})
    await log.erase_personal("call2", "request")
    await log.aclose()
    database = RegistryDatabase(work / "registry.db")
    registry = SqliteCallRegistry(database)
    for call in ("call1", "call2"):
        await registry.call_started(call, policy="default")
        await registry.recording_opened(
            f"{call}-1", call_id=call, path=f"/var/{call}.age", recipient="age1x", wrapped=b"wrapped"
        )
    await registry.recording_closed("call1-1", sha256="ab", size=7, frames=3)
    await registry.call_ended("call1", verdict="granted")
    await SqliteApiKeys(database, randomness=bytes).create("console", "admin")
    await database.aclose()
    for name in ("evidence", "registry"):
        with sqlite3.connect(work / f"{name}.db") as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            lines = [f"PRAGMA user_version = {version};", *connection.iterdump()]
        (out / f"{name}.sql").write_text("\n".join(lines) + "\n")
    (out / "log.head").write_bytes((work / "keys" / "log.head").read_bytes())


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir()
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
