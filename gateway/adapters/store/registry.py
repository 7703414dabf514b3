"""Calls, recordings and API keys in a database of their own (`docs/adr/0003-two-databases.md`)."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256 as _sha256
from typing import Any

import sqlalchemy as sa

from gateway.adapters.store.registry_database import RegistryDatabase as RegistryDatabase
from gateway.adapters.store.registry_tables import api_keys as _api_keys
from gateway.adapters.store.registry_tables import calls as _calls
from gateway.adapters.store.registry_tables import recordings as _recordings
from gateway.ports.registry import ApiKey, CallRecord, RecordingRecord, secret_matches, spell_key, split_key


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteCallRegistry:
    """`CallRegistry` in the registry's database, SQLite or PostgreSQL.

    *node*: the gateway among those that share the database. What is open is only told of its own calls: it is for
    recovery, and nobody may close a call that another gateway is still holding.
    """

    def __init__(self, database: RegistryDatabase, *, node: str = "", clock: Callable[[], datetime] = _now) -> None:
        self._node = node
        self._work = database.work
        self._read = database.read
        self._shred = database.shred
        self._clock = clock

    async def call_started(self, call_id: str, *, policy: str) -> None:
        started = to_us(self._clock())
        row = {"call_id": call_id, "started_at": started, "policy": policy, "state": "open", "verdict": ""}
        row["node"] = self._node

        def insert(connection: sa.Connection) -> None:
            if _exists(connection, _calls.c.call_id == call_id):
                raise ValueError("there is a call of this id")
            connection.execute(sa.insert(_calls), row)

        await self._work(insert)

    async def call_verdict(self, call_id: str, verdict: str) -> None:
        await self._work(lambda connection: _update(connection, _calls.c.call_id, call_id, verdict=verdict))

    async def call_ended(self, call_id: str, *, verdict: str) -> None:
        ended = to_us(self._clock())

        def end(connection: sa.Connection) -> None:
            if _one(connection, _calls.c.call_id, call_id).state == "open":
                values = {"ended_at": ended, "state": "ended", "verdict": verdict}
                _update(connection, _calls.c.call_id, call_id, **values)

        await self._work(end)

    async def call(self, call_id: str) -> CallRecord:
        return await self._read(lambda connection: _call(_one(connection, _calls.c.call_id, call_id)))

    async def open_calls(self) -> Sequence[CallRecord]:
        open_here = sa.and_(_calls.c.state == "open", _calls.c.node == self._node)
        query = sa.select(_calls).where(open_here).order_by(_calls.c.started_at, _calls.c.call_id)
        return await self._read(lambda connection: [_call(row) for row in connection.execute(query)])

    async def calls(self, limit: int = 100) -> Sequence[CallRecord]:
        query = sa.select(_calls).order_by(_calls.c.started_at.desc(), _calls.c.call_id.desc()).limit(limit)
        return await self._read(lambda connection: [_call(row) for row in connection.execute(query)])

    async def recording_opened(
        self, recording: str, *, call_id: str, path: str, recipient: str, wrapped: bytes
    ) -> None:
        row = {
            **{"recording": recording, "call_id": call_id, "path": path, "recipient": recipient, "state": "open"},
            **{"wrapped_key": wrapped, "opened_at": to_us(self._clock()), "sha256": "", "size": 0, "frames": 0},
        }

        def insert(connection: sa.Connection) -> None:
            _one(connection, _calls.c.call_id, call_id)
            if _exists(connection, _recordings.c.recording == recording):
                raise ValueError("there is a recording of this id")
            connection.execute(sa.insert(_recordings), row)

        await self._work(insert)

    async def recording_placed(self, recording: str, *, path: str) -> None:
        await self._work(lambda connection: _update(connection, _recordings.c.recording, recording, path=path))

    async def recording_closed(self, recording: str, *, sha256: str, size: int, frames: int) -> None:
        closed = to_us(self._clock())

        def close(connection: sa.Connection) -> None:
            known = _one(connection, _recordings.c.recording, recording)
            state = "destroyed" if known.state == "destroyed" else "closed"
            values = {"sha256": sha256, "size": size, "frames": frames, "closed_at": closed, "state": state}
            _update(connection, _recordings.c.recording, recording, **values)

        await self._work(close)

    async def recording_destroyed(self, recording: str) -> None:
        await self._shred(
            lambda connection: _update(
                connection, _recordings.c.recording, recording, wrapped_key=b"", state="destroyed"
            ),
            _recordings.name,
        )

    async def recording(self, recording: str) -> RecordingRecord:
        return await self._read(lambda connection: _recording(_one(connection, _recordings.c.recording, recording)))

    async def recordings(self, call_id: str) -> Sequence[RecordingRecord]:
        return await self._recordings(_recordings.c.call_id == call_id)

    async def latest_recordings(self, limit: int = 100) -> Sequence[RecordingRecord]:
        newest = (_recordings.c.opened_at.desc(), _recordings.c.recording.desc())
        query = sa.select(_recordings).order_by(*newest).limit(limit)
        return await self._read(lambda connection: [_recording(row) for row in connection.execute(query)])

    async def open_recordings(self) -> Sequence[RecordingRecord]:
        ours = sa.select(_calls.c.call_id).where(_calls.c.node == self._node)
        return await self._recordings(sa.and_(_recordings.c.state == "open", _recordings.c.call_id.in_(ours)))

    async def _recordings(self, condition: sa.ColumnElement[bool]) -> Sequence[RecordingRecord]:
        query = sa.select(_recordings).where(condition).order_by(_recordings.c.opened_at, _recordings.c.recording)
        return await self._read(lambda connection: [_recording(row) for row in connection.execute(query)])


class SqliteApiKeys:
    """`ApiKeys` in the registry's database, SQLite or PostgreSQL."""

    def __init__(
        self,
        database: RegistryDatabase,
        *,
        clock: Callable[[], datetime] = _now,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._work = database.work
        self._read = database.read
        self._clock = clock
        self._randomness = randomness

    async def create(self, name: str, role: str, agent: str = "") -> tuple[ApiKey, str]:
        key = ApiKey(self._randomness(8).hex(), name, role, agent, self._clock())
        secret = self._randomness(32)
        row = {
            **{"key_id": key.key_id, "name": name, "role": role, "agent": agent, "revoked": False},
            **{"sha256": _sha256(secret).digest(), "created_at": to_us(key.created_at)},
        }
        await self._work(lambda connection: connection.execute(sa.insert(_api_keys), row) and None)
        return key, spell_key(key.key_id, secret)

    async def check(self, clear: str) -> ApiKey | None:
        parts = split_key(clear)
        if parts is None:
            return None
        key_id, secret = parts
        query = sa.select(_api_keys).where(_api_keys.c.key_id == key_id)
        row = await self._read(lambda connection: connection.execute(query).first())
        matches = secret_matches(secret, bytes(32) if row is None else row.sha256)
        return _api_key(row) if row is not None and matches and not row.revoked else None

    async def revoke(self, key_id: str) -> None:
        await self._work(lambda connection: _update(connection, _api_keys.c.key_id, key_id, revoked=True))

    async def all(self) -> Sequence[ApiKey]:
        query = sa.select(_api_keys).order_by(_api_keys.c.created_at, _api_keys.c.key_id)
        return await self._read(lambda connection: [_api_key(row) for row in connection.execute(query)])


# --- rows -----------------------------------------------------------------------------------------------


def _one(connection: sa.Connection, column: sa.Column[str], value: str) -> Any:
    row = connection.execute(sa.select(column.table).where(column == value)).first()
    if row is None:
        raise KeyError(value)
    return row


def _exists(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> bool:
    return bool(connection.execute(sa.select(sa.exists().where(condition))).scalar())


def _update(connection: sa.Connection, column: sa.Column[str], value: str, **values: Any) -> None:
    _one(connection, column, value)
    connection.execute(sa.update(column.table).where(column == value).values(**values))


def check_types(row: Any, table: sa.Table) -> None:
    """Raise `TypeError` unless every value is of its column's type: SQLite itself does not see to it."""
    for column in table.columns:
        value = getattr(row, column.name)
        if not isinstance(value, column.type.python_type) and not (value is None and column.nullable):
            raise TypeError(f"{column.name} is not of its type")


def _call(row: Any) -> CallRecord:
    check_types(row, _calls)
    return CallRecord(
        call_id=row.call_id,
        started_at=from_us(row.started_at),
        policy=row.policy,
        state=row.state,
        verdict=row.verdict,
        ended_at=None if row.ended_at is None else from_us(row.ended_at),
    )


def _recording(row: Any) -> RecordingRecord:
    check_types(row, _recordings)
    return RecordingRecord(
        recording=row.recording,
        call_id=row.call_id,
        path=row.path,
        recipient=row.recipient,
        opened_at=from_us(row.opened_at),
        wrapped=row.wrapped_key,
        state=row.state,
        sha256=row.sha256,
        size=row.size,
        frames=row.frames,
        closed_at=None if row.closed_at is None else from_us(row.closed_at),
    )


def _api_key(row: Any) -> ApiKey:
    check_types(row, _api_keys)
    return ApiKey(row.key_id, row.name, row.role, row.agent, from_us(row.created_at), revoked=row.revoked)


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970. Raises `ValueError` for a time without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone cannot be kept")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(value: int) -> datetime:
    """Return the time of `to_us`, in UTC."""
    return datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)
