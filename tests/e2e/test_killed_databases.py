"""Two hundred ends in the wrong moment: of the process that writes, of PostgreSQL, of both, of an upgrade, of the disk.
Whatever was acknowledged is there afterwards, once and in its place; nothing forks; every log verifies."""

import asyncio
import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.adapters.store import migrations, schema
from gateway.adapters.store.databases import Database, SqliteFile
from gateway.adapters.store.evidence_log import PostgresEvidenceLog, SqliteEvidenceLog
from gateway.adapters.store.migrations import REGISTRY
from gateway.adapters.store.postgresql import PostgresSchema, log_schema
from gateway.evidence.bundle import verify_bundle
from gateway.ports.evidence import EvidenceUnavailable, ForkDetected
from tests.e2e.test_kill import fill, small_disk
from tests.e2e.upgrader import kind_of, place_of
from tests.support.postgres import Cluster, cluster
from tests.unit.store.appender import ORIGIN, PARTIES
from tests.unit.store.processes import Acknowledged, acknowledged, launch
from tests.unit.store.test_migrations import walk

ROOT = Path(__file__).parents[2]
SEED = random.randrange(2**32)


class Life:
    """One log, and what its writers were promised in all their lives."""

    def __init__(self, folder: Path, server: Cluster | None = None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.promised: Acknowledged = {}
        self._cluster = server
        self._database = server.new_database() if server else ""

    def launch(self, writers: int, *, eager: bool) -> "subprocess.Popen[str]":
        environment = {"EAGER": "1"} if eager else {}
        if self._cluster is not None:
            environment["POSTGRES"] = json.dumps(self._cluster.parameters(self._database))
        return launch(self.folder, writers, **environment)

    def note(self, process: "subprocess.Popen[str]") -> None:
        """Take down what a killed writer had acknowledged."""
        assert process.stdout is not None
        fresh = acknowledged(iter(process.stdout))
        process.wait()
        process.stdout.close()
        assert not fresh.keys() & self.promised.keys(), f"a place in the log was given away again, seed {SEED}"
        self.promised.update(fresh)

    def open(self) -> SqliteEvidenceLog | PostgresEvidenceLog:
        if self._cluster is None:
            return SqliteEvidenceLog(self.folder / "evidence.db", self.folder / "keys", ORIGIN)
        return PostgresEvidenceLog(self._cluster.server(self._database), self.folder / "keys", ORIGIN)

    def place(self) -> Database:
        if self._cluster is None:
            return SqliteFile(self.folder / "evidence.db")
        return PostgresSchema(self._cluster.server(self._database), log_schema(ORIGIN))

    async def check(self) -> None:
        """Nothing promised is lost, everything fits, bundles verify, and the log goes on."""
        log = self.open()
        try:
            assert not await log.fsck(), f"seed {SEED}"
            with self.place().reader().connect() as connection:
                query = sa.select(schema.entries.c.idx, schema.entries.c.leaf_hash, schema.entries.c.call_id)
                stored = {row.idx: (row.leaf_hash.hex(), row.call_id) for row in connection.execute(query)}
            assert self.promised.items() <= stored.items(), f"seed {SEED}"
            for call_id in sorted({call for _, call in self.promised.values()})[-2:]:
                verify_bundle(await log.export(call_id), log.verifier_key())
            await log.append("after", "call.arrived", PARTIES)
        finally:
            await log.aclose()


async def kills(life: Life, count: int, chance: random.Random) -> None:
    """Kill the writer *count* times; half of its lives it signs between any two commits."""
    for number in range(count):
        process = await asyncio.to_thread(life.launch, chance.choice([1, 5, 30]), eager=bool(number % 2))
        await asyncio.sleep(chance.uniform(0.01, 0.25))
        process.kill()
        await asyncio.to_thread(life.note, process)
    assert life.promised
    await life.check()


async def test_eighty_killed_writers(tmp_path: Path, postgres_cluster: Cluster) -> None:
    lives = [Life(tmp_path / "files"), Life(tmp_path / "server", postgres_cluster)]
    await asyncio.gather(*(kills(life, 40, random.Random(SEED + number)) for number, life in enumerate(lives)))


async def test_forty_killed_servers_under_a_writer_that_lives_on(tmp_path: Path) -> None:
    """SIGKILL is a power cut as far as the server can tell, SIGQUIT its own way of crashing."""
    chance = random.Random(SEED)
    with cluster() as own:
        life = Life(tmp_path / "log", own)
        log = life.open()
        ended = asyncio.Event()

        async def write(call_id: str) -> None:
            kind = "call.arrived"
            while not ended.is_set():
                try:
                    receipt = await log.append(call_id, kind, PARTIES, {"caller_number": call_id})
                except ForkDetected:
                    raise
                except EvidenceUnavailable:
                    await asyncio.sleep(0.02)
                else:
                    assert receipt.index not in life.promised
                    life.promised[receipt.index] = (receipt.leaf_hash.hex(), call_id)
                    kind = "step.made"

        async def crash() -> None:
            for _ in range(40):
                await asyncio.sleep(chance.uniform(0.02, 0.15))
                await asyncio.to_thread(own.end, chance.choice([signal.SIGKILL, signal.SIGQUIT]))
                await asyncio.to_thread(own.start)
                before = len(life.promised)
                async with asyncio.timeout(10):
                    while len(life.promised) == before:  # noqa: ASYNC110 (every life of the server takes an entry)
                        await asyncio.sleep(0.01)
            ended.set()

        writers = (write(f"call{number}") for number in range(8))
        await asyncio.gather(crash(), *writers)
        assert log.statistics.failed_commits >= 10
        await log.aclose()
        await life.check()


async def test_twenty_times_writer_and_server_at_once(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with cluster() as own:
        life = Life(tmp_path / "log", own)
        for number in range(20):
            process = await asyncio.to_thread(life.launch, 10, eager=bool(number % 2))
            await asyncio.sleep(chance.uniform(0.01, 0.2))
            acts = [process.kill, lambda: own.end(signal.SIGKILL)]
            chance.shuffle(acts)
            for act in acts:
                act()
            await asyncio.to_thread(life.note, process)
            await asyncio.to_thread(own.start)
        await life.check()


# --- upgrades ------------------------------------------------------------------------------------------

STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade():
    op.create_table("extra{revision}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("what", sa.Text))
    op.add_column("calls", sa.Column("extra{revision}", sa.Text, nullable=False, server_default="x"))
    op.execute("UPDATE calls SET policy = policy || '+'")
"""
LAST = 12


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """The steps of the registry, and ten more that build on each other."""
    folder = tmp_path / "steps"
    shutil.copytree(REGISTRY.steps, folder)
    for number in range(int(REGISTRY.newest) + 1, LAST + 1):
        text = STEP.format(revision=f"{number:04}", before=f"{number - 1:04}")
        (folder / f"v{number:04}_extra.py").write_text(text)
    return folder


def policy_of(place: Database) -> tuple[str | None, str, set[str]]:
    """Return the version of a database, what the steps made of a row of before, and the tables they made."""
    with place.reader().connect() as connection:
        found = migrations.stored(connection, REGISTRY)
        policy = connection.execute(sa.text("SELECT policy FROM calls")).scalar_one()
        return found, policy, {name for name in sa.inspect(connection).get_table_names() if name.startswith("extra")}


def check_upgrade(place: Database) -> bool:
    """A database is as it was or as it shall be, and nothing in between. Returns whether it was upgraded."""
    found, policy, extra = policy_of(place)
    if found == "0001":
        assert (policy, extra) == ("default", set())
        return False
    added = LAST - int(REGISTRY.newest)
    assert (found, policy, len(extra)) == (f"{LAST:04}", "default" + "+" * added, added)
    return True


ROW = "INSERT INTO {}calls (call_id, started_at, state, verdict, policy) VALUES ('call1', 1, 'open', '', 'default')"


def kill_upgrades(steps: Path, places: list[str], delay_s: float, server: Cluster | None = None) -> int:
    """Start upgrading, and kill what does it (and the server, where there is one) so much later; return how many are
    done."""
    command = [sys.executable, str(ROOT / "tests/e2e/upgrader.py"), str(steps), *places]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay_s)
    if server is not None:
        server.end(signal.SIGKILL)
    process.kill()
    process.communicate()
    if server is not None:
        server.start()
    return sum(check_upgrade(place_of(place)) for place in places)


def kill_until_done(steps: Path, places: list[str], count: int, server: Cluster | None, chance: random.Random) -> int:
    """Kill *count* upgrades; every time those that are left go on. Returns how many kills came before the end."""
    met, done = 0, 0
    for _ in range(count):
        now = kill_upgrades(steps, places, chance.uniform(0.0, 0.12), server)
        assert now >= done
        met += now < len(places)
        done = now
    kind = kind_of(str(steps))
    for place in places:
        migrations.upgrade(place_of(place), kind)
        assert check_upgrade(place_of(place))
    return met


def test_twenty_five_killed_upgrades_of_files(tmp_path: Path, steps: Path) -> None:
    places = []
    for number in range(60):
        path = tmp_path / f"registry{number}.db"
        walk(SqliteFile(path), REGISTRY, "0001") if not number else shutil.copy(places[0], path)
        if not number:
            with SqliteFile(path).writer().connect() as connection:
                connection.execute(sa.text(ROW.format("")))
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        places.append(str(path))
    assert kill_until_done(steps, places, 25, None, random.Random(SEED)) >= 5


@pytest.fixture
def own() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.mark.parametrize("with_server", [False, True])
def test_twenty_five_killed_upgrades_of_postgresql(own: Cluster, steps: Path, with_server: bool) -> None:
    places = []
    database = own.new_database()
    for number in range(20):
        places.append(json.dumps({"schema": f"registry{number}", **own.parameters(database)}))
        walk(place_of(places[-1]), REGISTRY, "0001")
        own.run(database, ROW.format(f"registry{number}."))
    count = 10 if with_server else 15
    assert kill_until_done(steps, places, count, own if with_server else None, random.Random(SEED)) >= 3


# --- a full disk ---------------------------------------------------------------------------------------


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that the server, who is another user, is let through."""
    folder = Path(tempfile.mkdtemp(prefix="consent-disk-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("writers", [1, 8])
async def test_five_times_a_full_disk_under_postgresql(tmp_path: Path, passable: Path, writers: int) -> None:
    """Sometimes the server reports it, sometimes its write-ahead log has no room and it ends by itself."""
    small = small_disk(passable / "disk", "96m")
    noise = random.Random(SEED)
    with small as disk, cluster(disk, max_wal_size="4MB", min_wal_size="2MB") as own:
        life = Life(tmp_path / "log", own)
        log = life.open()
        said: set[str] = set()

        async def write(call_id: str, until_full: bool) -> None:
            for _ in range(3_000):
                try:
                    receipt = await log.append(
                        call_id, "call.arrived", {**PARTIES, "filler": noise.randbytes(15_000).hex()}
                    )
                except EvidenceUnavailable as error:
                    assert not isinstance(error, ForkDetected)
                    said.add(str(error))
                    return
                life.promised[receipt.index] = (receipt.leaf_hash.hex(), call_id)
                if not until_full:
                    return
            raise AssertionError("the disk is never full")

        for number in range(5):
            filler = await asyncio.to_thread(fill, disk)
            await asyncio.gather(*(write(f"call{number}-{name}", True) for name in range(writers)))
            filler.unlink()
            await asyncio.to_thread(own.revive)
            for _ in range(200):
                before = len(life.promised)
                await write(f"call{number}-after", False)
                if len(life.promised) > before:
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("there is room again, and nothing is written")
        assert any(re.search(r"PostgreSQL (53100|57P|08)", text) for text in said), said
        await log.aclose()
        await life.check()
