"""`consent-gateway keys`: API keys for agents, supervisors and programs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys
from gateway.adapters.store.registry_database import is_there
from gateway.bootstrap import registry_database
from gateway.cli.output import OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit, table, within_reach
from gateway.ports.registry import ApiKey

T = TypeVar("T")


def _with_keys(config: Path | None, work: Callable[[SqliteApiKeys], Awaitable[T]]) -> T | None:
    """Do *work* with the key table; None, after saying why, when there is no registry yet."""
    place = registry_database(settings_or_exit(config))
    if not is_there(place):
        complain(f"{place.label} is not there: name the configuration with --config, and serve once before")
        return None

    async def run() -> T:
        database = RegistryDatabase(place)
        try:
            return await work(SqliteApiKeys(database))
        finally:
            await database.aclose()

    return asyncio.run(run())


@within_reach()
def create(name: str, role: str, agent: str, out: Path | None, config: Path | None, *, as_json: bool) -> int:
    """Make a key and write its clear text to *out* (mode 600), or print it: it is kept nowhere else."""
    if out is not None and out.exists():
        complain(f"{out} exists already: no key was made")
        return OUT_OF_REACH
    made = _with_keys(config, lambda keys: keys.create(name, role, agent))
    if made is None:
        return OUT_OF_REACH
    key, clear = made
    if out is not None:
        out.touch(mode=0o600, exist_ok=False)
        out.write_text(f"{clear}\n", encoding="ascii")
    if as_json:
        say_json({"key_id": key.key_id, "role": role, "agent": agent, "key": clear if out is None else str(out)})
    elif out is None:
        say(clear)
    else:
        say(f"key {key.key_id} ({role}{f' {agent}' if agent else ''}) is in {out}")
    return OK


@within_reach()
def listing(config: Path | None, *, as_json: bool) -> int:
    """Print every key, without its secret."""

    async def everything(keys: SqliteApiKeys) -> Sequence[ApiKey]:
        return await keys.all()

    found = _with_keys(config, everything)
    if found is None:
        return OUT_OF_REACH
    rows = [[k.key_id, k.role, k.agent, k.name, "revoked" if k.revoked else "valid"] for k in found]
    if as_json:
        say_json([dict(zip(("key_id", "role", "agent", "name", "state"), row, strict=True)) for row in rows])
    else:
        table(["KEY", "ROLE", "AGENT", "NAME", "STATE"], rows)
    return OK


@within_reach()
def revoke(key_id: str, config: Path | None, *, as_json: bool) -> int:
    """Make a key worthless, at once."""

    async def gone(keys: SqliteApiKeys) -> bool:
        try:
            await keys.revoke(key_id)
        except KeyError:
            return False
        return True

    done = _with_keys(config, gone)
    if done is None:
        return OUT_OF_REACH
    if not done:
        complain("no key has that id; `keys list` shows them")
        return OUT_OF_REACH
    if as_json:
        say_json({"key_id": key_id, "revoked": True})
    else:
        say(f"key {key_id} is worth nothing any more")
    return OK
