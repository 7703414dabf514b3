"""A process of its own that upgrades one database after the other until it is killed, with steps that take a while.

    python upgrader.py STEPS PLACE ...

PLACE is a file of SQLite, or the parameters of libpq and a schema (JSON). It says `ready`, then each version it found.
"""

import json
import sys
from pathlib import Path

from alembic import command  # noqa: F401 (it is loaded before the first upgrade is timed)

from gateway.adapters.store import migrations
from gateway.adapters.store.databases import Database, SqliteFile
from gateway.adapters.store.migrations import REGISTRY, Kind
from gateway.adapters.store.postgresql import PostgresSchema, PostgresServer


def kind_of(steps: str) -> Kind:
    return Kind(steps, REGISTRY.metadata, REGISTRY.landmark)


def place_of(text: str) -> Database:
    if text.startswith("{"):
        parameters = json.loads(text)
        schema = parameters.pop("schema")
        return PostgresSchema(PostgresServer("the test's", parameters), schema)
    return SqliteFile(Path(text))


def main() -> None:
    kind = kind_of(sys.argv[1])
    print("ready", flush=True)
    for place in sys.argv[2:]:
        print(migrations.upgrade(place_of(place), kind), flush=True)


if __name__ == "__main__":
    main()
