"""What the registry of calls and recordings and the store of API keys promise: fake and real alike."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.adapters.store.postgresql import REGISTRY_SCHEMA, PostgresSchema
from gateway.adapters.store.registry import RegistryDatabase, SqliteApiKeys, SqliteCallRegistry
from gateway.ports.registry import ApiKeys, CallRegistry, FakeApiKeys, FakeCallRegistry, PbxPlace, RegistryUnavailable

START = datetime(2026, 11, 24, 16, 0, 0, 123_456, tzinfo=UTC)


@dataclass
class Ticking:
    """A clock that moves one second with every look."""

    now: datetime = field(default=START - timedelta(seconds=1))

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


Opened = tuple[CallRegistry, ApiKeys]


def open_database(request: pytest.FixtureRequest, folder: Path) -> RegistryDatabase:
    if request.param == "sqlite":
        return RegistryDatabase(folder / "gateway.db")
    cluster = request.getfixturevalue("postgres_cluster")
    server = cluster.server(request.getfixturevalue("postgres_database"))
    return RegistryDatabase(PostgresSchema(server, REGISTRY_SCHEMA))


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    if request.param == "fake":
        yield FakeCallRegistry(clock=Ticking()), FakeApiKeys(clock=Ticking())
        return
    database = open_database(request, tmp_path)
    yield SqliteCallRegistry(database, clock=Ticking()), SqliteApiKeys(database, clock=Ticking())
    await database.aclose()


@pytest.fixture
def registry(opened: Opened) -> CallRegistry:
    return opened[0]


@pytest.fixture
def keys(opened: Opened) -> ApiKeys:
    return opened[1]


async def start(registry: CallRegistry, call_id: str = "call1") -> None:
    await registry.call_started(call_id, policy="default")


async def record(registry: CallRegistry, recording: str = "r1", call_id: str = "call1") -> None:
    await registry.recording_opened(
        recording, call_id=call_id, path=f"/var/{recording}.age", recipient="age1x", wrapped=b"wrapped"
    )


async def test_a_call_lives_from_its_start_to_its_end(registry: CallRegistry) -> None:
    await start(registry)
    call = await registry.call("call1")
    assert (call.state, call.verdict, call.policy) == ("open", "", "default")
    assert (call.started_at, call.ended_at) == (START, None)
    await registry.call_verdict("call1", "granted")
    assert (await registry.call("call1")).verdict == "granted"
    await registry.call_ended("call1", verdict="withdrawn")
    ended = await registry.call("call1")
    assert (ended.state, ended.verdict) == ("ended", "withdrawn")
    assert ended.ended_at is not None
    assert ended.ended_at > START


async def test_the_first_end_stands(registry: CallRegistry) -> None:
    await start(registry)
    await registry.call_ended("call1", verdict="granted")
    first = await registry.call("call1")
    await registry.call_ended("call1", verdict="refused")
    assert await registry.call("call1") == first


async def test_open_calls_are_those_to_recover(registry: CallRegistry) -> None:
    for name in ("b", "a", "c"):
        await start(registry, name)
    await registry.call_ended("a", verdict="refused")
    assert [call.call_id for call in await registry.open_calls()] == ["b", "c"]
    assert [call.call_id for call in await registry.calls(limit=2)] == ["c", "a"]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RegistryDatabase]:
    opened = open_database(request, tmp_path)
    yield opened
    await opened.aclose()


async def test_gateways_that_share_a_registry_recover_their_own_calls(shared: RegistryDatabase) -> None:
    one, other = (SqliteCallRegistry(shared, node=node, clock=Ticking()) for node in ("one/log", "other/log"))
    for registry, call in ((one, "call1"), (other, "call2")):
        await start(registry, call)
        await record(registry, f"{call}-1", call)
    assert [call.call_id for call in await one.open_calls()] == ["call1"]
    assert [recording.recording for recording in await other.open_recordings()] == ["call2-1"]
    assert {call.call_id for call in await one.calls()} == {"call1", "call2"}, "everybody sees what there was"
    assert [recording.recording for recording in await one.recordings("call2")] == ["call2-1"]
    await one.call_ended("call1", verdict="granted")
    assert list(await one.open_calls()) == []
    assert [call.call_id for call in await other.open_calls()] == ["call2"]


async def test_a_recording_lives_from_its_opening_to_its_destruction(registry: CallRegistry) -> None:
    await start(registry)
    await record(registry)
    opened = await registry.recording("r1")
    assert (opened.state, opened.wrapped, opened.path) == ("open", b"wrapped", "/var/r1.age")
    assert await registry.open_recordings() == [opened]
    await registry.recording_closed("r1", sha256="ab", size=7, frames=3)
    closed = await registry.recording("r1")
    assert (closed.state, closed.sha256, closed.size, closed.frames) == ("closed", "ab", 7, 3)
    assert closed.closed_at is not None
    for _ in range(2):
        await registry.recording_destroyed("r1")
        gone = await registry.recording("r1")
        assert (gone.state, gone.wrapped, gone.sha256) == ("destroyed", b"", "ab")
    assert list(await registry.open_recordings()) == []


async def test_a_destroyed_recording_stays_destroyed_when_its_end_comes_late(registry: CallRegistry) -> None:
    await start(registry)
    await record(registry)
    await registry.recording_destroyed("r1")
    await registry.recording_closed("r1", sha256="ab", size=7, frames=3)
    assert (await registry.recording("r1")).state == "destroyed"


async def test_recordings_of_a_call_come_oldest_first(registry: CallRegistry) -> None:
    for call in ("call1", "call2"):
        await start(registry, call)
    for name, call in (("r2", "call1"), ("r1", "call1"), ("r3", "call2")):
        await record(registry, name, call)
    assert [item.recording for item in await registry.recordings("call1")] == ["r2", "r1"]
    assert list(await registry.recordings("nobody")) == []


async def test_the_latest_recordings_of_all_calls_come_newest_first(registry: CallRegistry) -> None:
    for call in ("call1", "call2"):
        await start(registry, call)
    for name, call in (("r2", "call1"), ("r1", "call2"), ("r3", "call1")):
        await record(registry, name, call)
    assert [item.recording for item in await registry.latest_recordings()] == ["r3", "r1", "r2"]
    assert [item.recording for item in await registry.latest_recordings(limit=1)] == ["r3"]


async def test_a_recording_of_a_pbx_has_no_key_and_its_place_is_told_later(registry: CallRegistry) -> None:
    await start(registry)
    await registry.recording_opened("r1", call_id="call1", path=str(PbxPlace("pbx.1")), recipient="", wrapped=b"")
    opened = await registry.recording("r1")
    assert (opened.kept_by, opened.wrapped, opened.recipient) == (PbxPlace("pbx.1"), b"", "")
    assert await registry.open_recordings() == [opened]
    await registry.recording_placed("r1", path=str(PbxPlace("pbx.1", "/spool/a:b.wav")))
    assert (await registry.recording("r1")).kept_by == PbxPlace("pbx.1", "/spool/a:b.wav")
    await registry.recording_closed("r1", sha256="ab", size=7, frames=3)
    closed = await registry.recording("r1")
    assert (closed.state, closed.sha256, closed.path) == ("closed", "ab", "asterisk:pbx.1:/spool/a:b.wav")


async def test_a_recording_of_our_own_is_kept_by_nobody_else(registry: CallRegistry) -> None:
    await start(registry)
    await record(registry)
    assert (await registry.recording("r1")).kept_by is None


async def test_what_is_there_already_is_refused(registry: CallRegistry) -> None:
    await start(registry)
    await record(registry)
    with pytest.raises(ValueError, match="call of this id"):
        await start(registry)
    with pytest.raises(ValueError, match="recording of this id"):
        await record(registry)


async def test_what_is_not_there_is_a_key_error(registry: CallRegistry) -> None:
    questions: list[Callable[[], object]] = [
        lambda: registry.call("x"),
        lambda: registry.call_verdict("x", "granted"),
        lambda: registry.call_ended("x", verdict="granted"),
        lambda: registry.recording("x"),
        lambda: registry.recording_closed("x", sha256="", size=0, frames=0),
        lambda: registry.recording_destroyed("x"),
        lambda: registry.recording_placed("x", path="/var/x"),
        lambda: record(registry, "r1", "x"),
    ]
    for question in questions:
        with pytest.raises(KeyError):
            await question()  # type: ignore[misc]


async def test_a_key_is_shown_once_and_recognised(keys: ApiKeys) -> None:
    key, clear = await keys.create("console", "admin")
    other, other_clear = await keys.create("desk phone", "agent", "alice")
    assert await keys.check(clear) == key
    assert await keys.check(other_clear) == other
    assert (other.role, other.agent, other.revoked) == ("agent", "alice", False)
    assert [known.key_id for known in await keys.all()] == [key.key_id, other.key_id]
    assert clear not in repr(await keys.all())


async def test_a_wrong_key_is_nobodys(keys: ApiKeys) -> None:
    key, clear = await keys.create("console", "admin")
    _, other = await keys.create("another", "admin")
    spliced = "_".join([*clear.split("_")[:2], other.split("_")[2]])
    for wrong in (
        "",
        "x",
        clear[:-1],
        clear + "0",
        clear[:-1] + "x",
        clear.upper(),
        spliced,
        clear.replace("cgk", "abc"),
    ):
        assert await keys.check(wrong) is None
    assert await keys.check(f"cgk_{'0' * 15}f_{clear[-64:]}") is None
    assert await keys.check(clear) == key


async def test_a_revoked_key_opens_nothing(keys: ApiKeys) -> None:
    key, clear = await keys.create("console", "admin")
    await keys.revoke(key.key_id)
    assert await keys.check(clear) is None
    assert [known.revoked for known in await keys.all()] == [True]
    with pytest.raises(KeyError):
        await keys.revoke("nothing")


async def test_the_fake_fails_as_a_test_asks() -> None:
    fake = FakeCallRegistry()
    fake.fail_next()
    with pytest.raises(RegistryUnavailable):
        await start(fake)
    await start(fake)
