"""A real PostgreSQL of the tests' own: a cluster in a folder of its own, reached by its socket alone, a database for
each test. It refuses to be root, so root lends it another user. Without the Debian package `postgresql` tests fail."""

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from gateway.adapters.store.postgresql import PostgresServer

PASSWORD = "a password that nobody may read"
LIBRARY = Path("/usr/lib/postgresql")
START_S = 30.0
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2**30


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL: of the newest version that Debian has installed, or on the PATH."""
    versions = sorted(LIBRARY.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise RuntimeError(f"PostgreSQL's {name} is not installed: apt-get install postgresql (make test does)")
    return found


def roomy_folder() -> Path:
    """Make a folder for a cluster: in memory where there is room, for no test here takes the power away, and a server
    that was killed first reads and syncs all it has."""
    there = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix="consent-pg-", dir=MEMORY if there else None))


def _unprivileged() -> str:
    if os.geteuid():
        return getpass.getuser()
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


class Cluster:
    """One server. Stopped when the process that made it ends, however it ends."""

    def __init__(self, folder: Path, data: Path, segment_mb: int, **settings: str) -> None:
        self.folder = folder
        self.data = data
        self._user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._settings = {
            **{"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "30"},
            **{
                "shared_buffers": "16MB",
                "max_wal_size": "64MB",
                "min_wal_size": "16MB",
                "wal_level": "minimal",
                "max_wal_senders": "0",
                "lc_messages": "C",
            },
            **settings,
        }
        password = folder / "password"
        password.write_text(PASSWORD)
        data.mkdir(mode=0o700)
        if not os.geteuid():
            entry = pwd.getpwnam(self._user)
            for path in (folder, password, data):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        made = [program("initdb"), "--pgdata", str(self.data), "--username", "owner", "--pwfile", str(password)]
        made += [
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
            "--wal-segsize",
            str(segment_mb),
        ]
        subprocess.run(self._as_user(made), check=True, capture_output=True, cwd=folder)

    def _as_user(self, command: list[str]) -> list[str]:
        ids = [f"--reuid={self._user}", f"--regid={pwd.getpwnam(self._user).pw_gid}", "--clear-groups"]
        return ["setpriv", *([] if os.geteuid() else ids), "--pdeathsig", "INT", *command]

    def start(self, **settings: str) -> "Cluster":
        """Start the server and wait until it answers. *settings* are for this start alone."""
        options = [f"--{name}={value}" for name, value in {**self._settings, **settings}.items()]
        give_up = time.monotonic() + START_S
        while True:
            with (self.folder / "log").open("ab") as log:
                command = self._as_user([program("postgres"), "-D", str(self.data), *options])
                self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
            while self._process.poll() is None and time.monotonic() < give_up:
                with contextlib.suppress(psycopg.Error):
                    self.connect("postgres").close()
                    return self
                time.sleep(0.02)
            if time.monotonic() > give_up:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)  # the children of a killed server may still be leaving

    def end(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT in good order, SIGQUIT as in a crash of its own, SIGKILL as in a power cut."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(START_S)

    def revive(self) -> None:
        """Wait until the server answers again, and start it where it gave itself up."""
        for _ in range(100):
            if self._process is None or self._process.poll() is not None:
                self.start()
                return
            with contextlib.suppress(psycopg.Error):
                self.connect("postgres").close()
                return
            time.sleep(0.05)

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        parameters = self.parameters(database)
        return psycopg.connect(autocommit=True, connect_timeout=5, **parameters)  # type: ignore[arg-type]

    def parameters(self, database: str) -> dict[str, str]:
        return {"host": str(self.folder), "user": "owner", "password": PASSWORD, "dbname": database}

    def server(self, database: str, **other: str) -> PostgresServer:
        """Return the address of a database; *other* parameters of libpq take the place of the right ones."""
        parameters = {**self.parameters(database), **other}
        return PostgresServer(f"postgresql://{parameters['user']}@/{parameters['dbname']}", parameters)

    def url(self, database: str) -> str:
        return f"postgresql://owner@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database; return its name."""
        name = f"test{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def run(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as somebody else would; return what the last one found."""
        with self.connect(database) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def files_hold(self, database: str, table: str, needle: bytes) -> bool:
        """Whether the table's own file has these bytes, after what is in memory was written out."""
        self.run(database, "CHECKPOINT")
        [(path,)] = self.run(database, f"SELECT pg_relation_filepath('{table}')")
        return needle in (self.data / str(path)).read_bytes()


@contextlib.contextmanager
def cluster(where: Path | None = None, *, segment_mb: int = 1, **settings: str) -> Iterator[Cluster]:
    """A running cluster, gone at the end with all it held. *where*: the folder for its data, which everybody must be
    let through to."""
    folder = roomy_folder()
    try:
        made = Cluster(folder, (where or folder) / "data", segment_mb, **settings)
        try:
            yield made.start()
        finally:
            made.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
