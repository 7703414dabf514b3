"""What the store of acknowledgements promises: fake and real alike."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.adapters.store.acknowledgements import SqlAcknowledgements
from gateway.adapters.store.registry import RegistryDatabase
from gateway.ports.education import Acknowledgement, Acknowledgements, FakeAcknowledgements

START = datetime(2026, 11, 28, 8, 0, 0, 123_456, tzinfo=UTC)
ONE, TWO = "1" * 64, "2" * 64


class Ticking:
    """One second later with every look."""

    def __init__(self) -> None:
        self.now = START - timedelta(seconds=1)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture(params=["fake", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Acknowledgements]:
    if request.param == "fake":
        yield FakeAcknowledgements(clock=Ticking())
        return
    database = RegistryDatabase(tmp_path / "registry.db")
    yield SqlAcknowledgements(database, clock=Ticking())
    await database.aclose()


async def test_what_was_acknowledged_is_kept_with_who_said_so(store: Acknowledgements) -> None:
    assert list(await store.all()) == []
    made = await store.acknowledge("201", "agent", ONE, by="agent:aa")
    assert made == Acknowledgement("201", "agent", ONE, START, "agent:aa")
    assert list(await store.all()) == [made]


async def test_the_first_time_stays(store: Acknowledgements) -> None:
    first = await store.acknowledge("201", "agent", ONE, by="agent:aa")
    assert await store.acknowledge("201", "agent", ONE, by="admin:bb") == first
    assert list(await store.all()) == [first]


async def test_texts_roles_and_people_are_apart_and_oldest_first(store: Acknowledgements) -> None:
    made = [
        await store.acknowledge("202", "agent", ONE, by="x"),
        await store.acknowledge("201", "agent", TWO, by="x"),
        await store.acknowledge("201", "supervisor", ONE, by="x"),
        await store.acknowledge("201", "agent", ONE, by="x"),
    ]
    assert list(await store.all()) == made


async def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    database = RegistryDatabase(path)
    made = await SqlAcknowledgements(database, clock=Ticking()).acknowledge("201", "agent", ONE, by="x")
    await database.aclose()
    again = RegistryDatabase(path, read_only=True)
    assert list(await SqlAcknowledgements(again).all()) == [made]
    await again.aclose()
