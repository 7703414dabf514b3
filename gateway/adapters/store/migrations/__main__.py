"""Write the next step: `python -m gateway.adapters.store.migrations evidence|registry "what it is for"`.

Compares the tables of the models with those of a new database of the present version, and writes what differs.
Read it before it is committed: Alembic sees tables, columns and indexes, not conditions or what SQLite alone knows.
"""

import re
import sys

import sqlalchemy as sa

from gateway.adapters.store.migrations import EVIDENCE, REGISTRY, Kind, configuration


def write_step(kind: Kind, purpose: str) -> str:
    """Write the file of the next step; return its path."""
    from alembic import command

    engine = sa.create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        config = configuration(connection, kind)
        command.upgrade(config, "head")
        number = f"{int(kind.newest) + 1:04}"
        made = command.revision(config, purpose, autogenerate=True, rev_id=number, version_path=str(kind.steps))
    step = made[0] if isinstance(made, list) else made
    assert step is not None
    return str(step.path)


def main() -> None:
    kinds = {kind.name: kind for kind in (EVIDENCE, REGISTRY)}
    match sys.argv[1:]:
        case [name, purpose] if name in kinds and re.search(r"[a-z]", purpose):
            sys.stdout.write(f"{write_step(kinds[name], purpose)}\n")
        case _:
            sys.exit((__doc__ or "").strip())


if __name__ == "__main__":
    main()
