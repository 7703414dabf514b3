"""Acknowledgements of the policy's text, in the registry's database."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gateway.adapters.store.registry import check_types, from_us, to_us
from gateway.adapters.store.registry_database import RegistryDatabase
from gateway.adapters.store.registry_tables import acknowledgements as _table
from gateway.ports.education import Acknowledgement


def _now() -> datetime:
    return datetime.now(UTC)


class SqlAcknowledgements:
    """`ports.education.Acknowledgements` in the registry."""

    def __init__(self, database: RegistryDatabase, *, clock: Callable[[], datetime] = _now) -> None:
        self._work = database.work
        self._read = database.read
        self._clock = clock

    async def acknowledge(self, agent: str, role: str, sha256: str, *, by: str) -> Acknowledgement:
        new = Acknowledgement(agent, role, sha256, self._clock(), by)
        this = sa.and_(_table.c.agent == agent, _table.c.role == role, _table.c.sha256 == sha256)

        def keep(connection: sa.Connection) -> Acknowledgement:
            known = connection.execute(sa.select(_table).where(this)).first()
            if known is not None:
                return _acknowledgement(known)
            row = {"agent": agent, "role": role, "sha256": sha256, "acknowledged_at": to_us(new.at), "by": by}
            connection.execute(sa.insert(_table), row)
            return new

        return await self._work(keep)

    async def all(self) -> Sequence[Acknowledgement]:
        query = sa.select(_table).order_by(_table.c.acknowledged_at, _table.c.agent, _table.c.role)
        return await self._read(lambda connection: [_acknowledgement(row) for row in connection.execute(query)])


def _acknowledgement(row: Any) -> Acknowledgement:
    check_types(row, _table)
    return Acknowledgement(row.agent, row.role, row.sha256, from_us(row.acknowledged_at), row.by)
