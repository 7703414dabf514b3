"""`consent-gateway db`: which versions the databases' tables have, and how they get the one this program needs."""

from collections.abc import Iterator
from pathlib import Path

from gateway.adapters.store.databases import Database
from gateway.adapters.store.faults import UNUSABLE, describe
from gateway.adapters.store.migrations import EVIDENCE, REGISTRY, Kind, say_version, upgrade, version
from gateway.bootstrap import evidence_database, registry_database
from gateway.cli.output import NO, OK, OUT_OF_REACH, complain, say, say_json, settings_or_exit, table, within_reach

NEW, CURRENT, OLD, NEWER = "not there", "current", "old", "of a newer program"


def _databases(config: Path | None) -> Iterator[tuple[Kind, Database]]:
    settings = settings_or_exit(config)
    yield EVIDENCE, evidence_database(settings)
    yield REGISTRY, registry_database(settings)


def _found(kind: Kind, database: Database) -> str | None:
    """Return the version a database has, None when there is none; leaves with 3 when it cannot be seen."""
    try:
        if not database.exists():
            return None
        found = version(database, kind)
    except UNUSABLE as error:
        complain(f"the {kind.name} database {database.label} cannot be read: {describe(error)}")
        raise SystemExit(OUT_OF_REACH) from None
    if found is None:
        complain(
            f"the {kind.name} database {database.label} is empty, or not of this program: --config names the right one"
        )
        raise SystemExit(OUT_OF_REACH)
    return found


def _state(found: str | None, kind: Kind) -> str:
    if found is None:
        return NEW
    return CURRENT if found == kind.newest else OLD if found < kind.newest else NEWER


@within_reach()
def show(config: Path | None, *, as_json: bool) -> int:
    """Print the versions; 0 when the gateway could start with them."""
    rows = []
    for kind, database in _databases(config):
        found = _found(kind, database)
        rows.append([kind.name, _state(found, kind), say_version(found), say_version(kind.newest), database.label])
    if as_json:
        say_json([dict(zip(("database", "state", "version", "needed", "where"), row, strict=True)) for row in rows])
    else:
        table(["DATABASE", "STATE", "VERSION", "NEEDED", "WHERE"], rows)
    if any(row[1] == OLD for row in rows):
        complain("run: consent-gateway db upgrade")
    return NO if any(row[1] in (OLD, NEWER) for row in rows) else OK


@within_reach()
def bring_up(config: Path | None, *, as_json: bool) -> int:
    """Bring every database that is there up to date, and say from what to what; what is up to date stays as it is."""
    done = []
    for kind, database in _databases(config):
        before = _found(kind, database)
        try:
            if before is not None:
                before = upgrade(database, kind)
        except UNUSABLE as error:
            complain(f"the {kind.name} database {database.label} was not upgraded: {describe(error)}")
            return OUT_OF_REACH
        after = None if before is None else kind.newest
        done.append(
            {
                "database": kind.name,
                "where": database.label,
                "before": before and int(before),
                "after": after and int(after),
            }
        )
        if as_json:
            continue
        if before is None:
            say(f"{kind.name}: {database.label} is not there yet, the first start makes it")
        elif before == kind.newest:
            say(f"{kind.name}: {database.label} has version {say_version(before)}, which is the newest")
        else:
            say(f"{kind.name}: {database.label} went from version {say_version(before)} to {say_version(kind.newest)}")
    if as_json:
        say_json(done)
    return OK
