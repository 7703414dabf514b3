"""The log in a real PostgreSQL: what is particular to it. What every log promises is in tests/contract."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters.store import postgresql
from gateway.adapters.store.evidence_log import EvidenceReader, PostgresEvidenceLog
from gateway.adapters.store.fsck import fsck
from gateway.adapters.store.postgresql import PostgresSchema, log_schema
from gateway.evidence.bundle import verify_bundle
from gateway.evidence.checkpoint import parse_checkpoint
from gateway.ports.evidence import EntryRefused, EvidenceUnavailable, ForkDetected
from tests.support.postgres import PASSWORD, Cluster, cluster

pytestmark = pytest.mark.slow
PARTIES = {"parties": [{"role": "caller", "kind": "customer"}]}
ORIGIN = "gateway.example/log"
SCHEMA = log_schema(ORIGIN)


class Site:
    """A gateway's keys, and the database its log is in."""

    def __init__(self, server: Cluster, database: str, folder: Path) -> None:
        self.cluster, self.database, self.keys = server, database, folder / "keys"

    def open(self, origin: str = ORIGIN, keys: str = "keys", **parameters: str) -> PostgresEvidenceLog:
        server = self.cluster.server(self.database, **parameters)
        return PostgresEvidenceLog(server, self.keys.with_name(keys), origin)

    def schema(self) -> PostgresSchema:
        return PostgresSchema(self.cluster.server(self.database), SCHEMA)

    async def write(self, count: int) -> None:
        log = self.open()
        for number in range(count):
            await log.append("call1", "call.arrived" if number == 0 else "step.made", PARTIES)
        await log.aclose()

    def run(self, statement: str) -> list[tuple[object, ...]]:
        return self.cluster.run(self.database, f"SET search_path = {SCHEMA}, public", statement)

    def copy(self, name: str) -> None:
        """Keep the database as it is: a backup."""
        self.cluster.run("postgres", f"CREATE DATABASE {name} TEMPLATE {self.database}")

    def restore(self, name: str) -> None:
        self.cluster.run("postgres", f"DROP DATABASE {self.database}")
        self.cluster.run("postgres", f"CREATE DATABASE {self.database} TEMPLATE {name}")


@pytest.fixture
def site(postgres_cluster: Cluster, postgres_database: str, tmp_path: Path) -> Site:
    return Site(postgres_cluster, postgres_database, tmp_path)


@pytest.fixture
async def log(site: Site) -> AsyncIterator[PostgresEvidenceLog]:
    opened = site.open()
    yield opened
    await opened.aclose()


async def lose_connections(site: Site, count: int) -> None:
    """End the sessions of the database, and wait until they are gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ended = site.cluster.run(site.database, f"SELECT pg_terminate_backend(pid) {others}")
    assert len(ended) == count
    for _ in range(200):
        if site.cluster.run(site.database, f"SELECT count(*) {others}") == [(0,)]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("sessions do not end")


# --- one log, one writer, one history ------------------------------------------------------------------


async def test_the_log_goes_on_where_it_stopped(site: Site) -> None:
    await site.write(3)
    log = site.open()
    assert (await log.append("call1", "call.ended", {"cause": "bye", "entries": 4})).index == 3
    assert verify_bundle(await log.export("call1"), log.verifier_key()).entries == 4
    assert not await log.fsck()
    await log.aclose()
    assert fsck(site.schema(), site.keys) == []
    assert parse_checkpoint((site.keys / "log.head").read_text())[0].size == 4


async def test_appends_that_wait_together_share_a_commit(log: PostgresEvidenceLog) -> None:
    await asyncio.gather(*(log.append(f"call{number}", "call.arrived", PARTIES) for number in range(2_000)))
    assert log.statistics.entries == 2_000
    assert log.statistics.commits < 200, "ten appends a commit at the very least"


async def test_a_second_writer_of_the_same_log_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same key on another machine, whose folder of keys nobody here can lock."""
    monkeypatch.setattr(postgresql, "CLAIM_S", 0.2)
    log = site.open()
    await log.append("call1", "call.arrived", PARTIES)
    with pytest.raises(ForkDetected, match="second instance signs with this key"):
        site.open()
    elsewhere = site.keys.with_name("elsewhere")
    elsewhere.mkdir()
    for name in ("log.key", "log.head"):
        (elsewhere / name).write_bytes((site.keys / name).read_bytes())
        (elsewhere / name).chmod(0o600)
    with pytest.raises(
        EvidenceUnavailable, match=r"cannot be used: another process has it in use: a gateway that runs"
    ):
        site.open(keys="elsewhere")
    await log.append("call1", "call.ended", {"cause": "bye", "entries": 2})
    await log.aclose()


async def test_logs_of_several_gateways_share_a_database_and_nothing_else(site: Site) -> None:
    one, other = site.open("one/log", "keys1"), site.open("other/log", "keys2")
    for log in (one, other):
        assert (await log.append("call1", "call.arrived", PARTIES)).index == 0
        assert [call.entries for call in await log.calls()] == [1]
        verify_bundle(await log.export("call1"), log.verifier_key())
    await one.aclose()
    await other.append("call1", "call.ended", {"cause": "bye", "entries": 2})
    await other.aclose()
    with pytest.raises(FileNotFoundError):
        site.open("one/log", "keys3")
    with pytest.raises(ForkDetected, match="of another key than one/log"):
        site.open("one/log", "keys2")


async def test_a_restored_backup_is_refused(site: Site) -> None:
    await site.write(3)
    site.copy("backup")
    await site.write(2)
    site.restore("backup")
    with pytest.raises(ForkDetected, match=r"holds 3 entries, but a tree of 5 was signed.*restored from a backup"):
        site.open()


async def test_a_new_database_under_an_old_key_is_refused(site: Site) -> None:
    await site.write(3)
    site.run(f"DROP SCHEMA {SCHEMA} CASCADE")
    with pytest.raises(ForkDetected, match="holds 0 entries, but a tree of 3"):
        site.open()


async def test_a_log_cut_short_while_its_connection_was_lost_is_refused(site: Site) -> None:
    log = site.open()
    for _ in range(2):
        await log.append("call1", "call.arrived", PARTIES)
    await lose_connections(site, 1)
    [(first,)] = site.run("SELECT leaf_hash FROM entries WHERE idx = 0")
    assert isinstance(first, bytes)
    site.run(
        f"DELETE FROM entries WHERE idx = 1; DELETE FROM nodes; UPDATE tree SET size = 1, frontier = '\\x{first.hex()}'"
    )
    with pytest.raises(EvidenceUnavailable, match="57P01"):
        await log.append("call1", "call.arrived", PARTIES)
    with pytest.raises(ForkDetected, match="holds 1 entries, but a tree of 2 was acknowledged as durable"):
        await log.append("call1", "call.arrived", PARTIES)
    await log.aclose()


# --- connections that are lost ------------------------------------------------------------------------


async def test_a_lost_connection_fails_its_appends_and_is_made_again(site: Site, log: PostgresEvidenceLog) -> None:
    await log.append("call1", "call.arrived", PARTIES)
    await lose_connections(site, 1)
    with pytest.raises(EvidenceUnavailable, match=r"PostgreSQL 57P01 \(the server is being shut down"):
        await log.append("call1", "step.made", {})
    assert (await log.append("call1", "step.made", {})).index == 1
    assert not await log.fsck()


async def test_a_connection_lost_while_nobody_used_it_costs_nothing(
    site: Site, log: PostgresEvidenceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.store.writer.QUIET_S", 0.0)
    await log.append("call1", "call.arrived", PARTIES)
    await lose_connections(site, 1)
    assert (await log.append("call1", "step.made", {})).index == 1


async def test_a_session_the_server_still_holds_keeps_its_successor_waiting(
    site: Site, log: PostgresEvidenceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last commit may still be under way: nobody knows the tree before it is gone."""
    monkeypatch.setattr(postgresql, "CLAIM_S", 0.2)
    await log.append("call1", "call.arrived", PARTIES)
    key = site.schema()._key("in use")
    with site.cluster.connect(site.database) as ghost:
        await lose_ours(site, log)
        ghost.execute("SELECT pg_advisory_lock(%s)", (key,))
        with pytest.raises(EvidenceUnavailable, match="57P01"):
            await log.append("call1", "step.made", {})
        with pytest.raises(EvidenceUnavailable, match="the server has not noticed yet") as refused:
            await log.append("call1", "step.made", {})
        assert not isinstance(refused.value, ForkDetected), "it can still become better"
    assert (await log.append("call1", "step.made", {})).index == 1


async def lose_ours(site: Site, log: PostgresEvidenceLog) -> None:
    connection = log._writer._connection
    assert connection is not None
    [pid] = connection.exec_driver_sql("SELECT pg_backend_pid()").scalars()
    site.cluster.run(site.database, f"SELECT pg_terminate_backend({pid}, 2000)")


# --- what the server must be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fsync": "off"}, r"fsync = off.*set fsync = on in postgresql\.conf"),
        ({"full_page_writes": "off"}, r"full_page_writes = off"),
        ({"synchronous_commit": "off"}, r"synchronous_commit is off.*before it is durable"),
        ({"synchronous_commit": "local"}, r"synchronous_commit is local"),
    ],
)
async def test_a_server_whose_word_is_not_durable_is_refused(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    with cluster() as own:
        site = Site(own, own.new_database(), tmp_path)
        await site.write(1)
        own.end()
        own.start(**settings)
        with pytest.raises(EvidenceUnavailable, match=f"cannot be used: .*{says}"):
            site.open()
        assert EvidenceReader(site.schema()).calls()[0].entries == 1, "it can be read all the same"


async def test_a_role_that_may_not_wait_for_the_disk_is_refused(site: Site) -> None:
    site.run("CREATE ROLE hasty LOGIN PASSWORD 'x' SUPERUSER; ALTER ROLE hasty SET synchronous_commit = off")
    with pytest.raises(EvidenceUnavailable, match="synchronous_commit is off"):
        site.open(user="hasty", password="x")


async def test_an_encoding_that_cannot_hold_every_name_is_refused(site: Site, tmp_path: Path) -> None:
    site.cluster.run("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(EvidenceUnavailable, match="encoding is LATIN1"):
        PostgresEvidenceLog(site.cluster.server("latin"), tmp_path / "keys", ORIGIN)


async def test_a_role_without_privileges_is_told_which(site: Site) -> None:
    site.run("CREATE ROLE poor LOGIN PASSWORD 'x'")
    with pytest.raises(EvidenceUnavailable, match=r"42501 \(this user lacks a privilege"):
        site.open(user="poor", password="x")
    site.run(f"GRANT CREATE ON DATABASE {site.database} TO poor")
    log = site.open(user="poor", password="x")
    await log.append("call1", "call.arrived", PARTIES, {"caller_number": "1"})
    await log.erase_personal("call1", "request")
    await log.aclose()
    assert log.statistics.failed_commits == 0


# --- faults in words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"password": "another secret"}, r"28P01 \(the server refuses this user"),
        ({"user": "nobody"}, r"28.* \(the server refuses this user"),
        ({"dbname": "nowhere"}, r"3D000 \(there is no such database"),
        ({"host": "/nowhere"}, r"08001 \(the server cannot be reached"),
        ({"host": "127.0.0.1", "port": "1"}, r"08001 \(the server cannot be reached"),
    ],
)
def test_an_address_that_leads_nowhere_is_said_to_be_that(site: Site, wrong: dict[str, str], says: str) -> None:
    with pytest.raises(EvidenceUnavailable, match=says) as refused:
        site.open(**wrong)
    told = str(refused.value) + repr(refused.value.__cause__) + repr(site.cluster.server(site.database, **wrong))
    assert PASSWORD not in told and "secret" not in told
    assert not site.keys.exists(), "no key is made for a log that was not seen"


async def test_a_server_with_too_many_connections_says_so(tmp_path: Path) -> None:
    with cluster(max_connections="3", superuser_reserved_connections="0") as own:
        site = Site(own, own.new_database(), tmp_path)
        taken = [own.connect("postgres") for _ in range(3)]
        with pytest.raises(EvidenceUnavailable, match=r"53300 \(the server has too many connections"):
            site.open()
        for connection in taken:
            connection.close()


async def test_a_server_that_goes_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with cluster() as own:
        site = Site(own, own.new_database(), tmp_path)
        log = site.open()
        for durable, number in enumerate((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL), 1):
            await log.append("call1", "call.arrived", PARTIES, {"caller_number": "+4930999999"})
            own.end(number)
            await asyncio.sleep(0.5)  # a killed server's child takes a moment to notice, and may serve one more commit
            for _ in range(2):
                with pytest.raises(EvidenceUnavailable) as refused:
                    await log.append("call1", "step.made", PARTIES, {"caller_number": "+4930999999"})
                assert re.search(r"PostgreSQL (57P0|08)", str(refused.value)), refused.value
                assert "4930" not in str(refused.value) and PASSWORD not in str(refused.value)
            with pytest.raises(EvidenceUnavailable, match="cannot be read: PostgreSQL 08001"):
                await log.entries("call1")
            own.start()
            assert len(await log.entries("call1")) == durable
        assert not await log.fsck()
        await log.aclose()
    assert not caplog.records, "the library says nothing: its warnings repeat rows"


async def test_a_value_that_postgresql_cannot_hold_fails_alone(log: PostgresEvidenceLog) -> None:
    results = await asyncio.gather(
        log.append("call1", "call.arrived", PARTIES, {"caller_name": "a"}),
        log.append("call1", "step.made", {}, {"caller_name": "a\0b"}),
        log.append("call\0", "step.made", {}),
        log.append("call1", "call.ended", {"cause": "a\0b", "entries": 2}),
        return_exceptions=True,
    )
    assert [isinstance(result, EntryRefused) for result in results] == [False, True, True, False]
    assert not await log.fsck()


# --- reading, checking, erasing ------------------------------------------------------------------------


async def test_a_reader_sees_one_state_and_can_change_nothing(site: Site, log: PostgresEvidenceLog) -> None:
    await log.append("call1", "call.arrived", PARTIES)
    reader = EvidenceReader(site.schema())
    assert reader.entries("call1") == await log.entries("call1")
    with pytest.raises(EvidenceUnavailable, match="25006"):
        reader.read(lambda connection: connection.exec_driver_sql("DELETE FROM personal"))
    with pytest.raises(EvidenceUnavailable, match="cannot be read: it is empty, or not of this program"):
        EvidenceReader(PostgresSchema(site.cluster.server(site.database), "evidence_other")).check()


DAMAGE = {
    "UPDATE entries SET data = '\\x00' WHERE idx = 4": "entry 4 .*is no entry",
    "UPDATE entries SET seq = 77 WHERE idx = 4": "entry 4 .*another call or number",
    "DELETE FROM personal WHERE idx = 4": "entry 4 .*the value of 'name' is gone",
    "UPDATE personal SET value = 'x' WHERE idx = 4": "entry 4 .*not the one committed to",
    "UPDATE nodes SET hash = '\\x00' WHERE level = 1 AND idx = 1": "entry 3 .*node 1 of level 1",
    "UPDATE tree SET size = 2": "the stored frontier is not that of the 5 entries",
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_fsck_finds_damage(site: Site, damage: str) -> None:
    log = site.open()
    for number in range(5):
        await log.append("call1", "call.arrived" if number == 0 else "step.made", PARTIES, {"name": f"n{number}"})
    await log.aclose()
    assert fsck(site.schema(), site.keys) == []
    site.run(damage)
    found = [str(problem) for problem in fsck(site.schema(), site.keys)]
    assert any(re.search(DAMAGE[damage], text) for text in found), found


async def test_erased_values_are_in_no_row_version_any_more(site: Site, log: PostgresEvidenceLog) -> None:
    await log.append("call1", "call.arrived", PARTIES, {"caller_name": "a name that nobody may find any more"})
    await log.append("call2", "call.arrived", PARTIES, {"caller_name": "somebody who stays"})
    await log.erase_personal("call1", "request of the data subject")
    site.run("CREATE EXTENSION pageinspect")
    versions = site.run("SELECT t_data FROM heap_page_items(get_raw_page('personal', 0)) WHERE t_data IS NOT NULL")
    assert len(versions) == 1 and b"somebody who stays" in bytes(versions[0][0])  # type: ignore[arg-type]
    assert not await log.fsck()


async def test_autovacuum_looks_after_what_could_not_be_swept_at_once(tmp_path: Path) -> None:
    """Somebody still reads an older state: the row's old version has to stay until he is done, and then goes."""
    with cluster(autovacuum_naptime="1s") as own:
        site = Site(own, own.new_database(), tmp_path)
        log = site.open()
        await log.append("call1", "call.arrived", PARTIES, {"caller_name": "a name that nobody may find any more"})
        with own.connect(site.database) as other:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            other.execute(f"SELECT * FROM {SCHEMA}.personal")
            await log.erase_personal("call1", "request of the data subject")
            assert own.files_hold(site.database, f"{SCHEMA}.personal", b"a name that nobody may find")
        for _ in range(200):
            if not own.files_hold(site.database, f"{SCHEMA}.personal", b"a name that nobody may find"):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("autovacuum did not come")
        await log.aclose()
