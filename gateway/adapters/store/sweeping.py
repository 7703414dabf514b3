"""PostgreSQL keeps a deleted or overwritten row until a VACUUM: tables with secrets are swept as soon as can be."""

import sqlalchemy as sa
from sqlalchemy import event


def keep_swept(table: sa.Table) -> None:
    """Let autovacuum look after *table* as soon as one row of it was deleted or changed: old versions hold secrets."""
    for statement in sweeping(table.name):
        event.listen(table, "after_create", _ddl(statement).execute_if(dialect="postgresql"))


def _ddl(statement: str) -> sa.DDL:
    made: sa.DDL = sa.DDL(statement)  # type: ignore[no-untyped-call]
    return made


def sweeping(table: str) -> tuple[str, ...]:
    """Return the statements that `keep_swept` runs, for a migration."""
    toast = "".join(f", toast.autovacuum_vacuum_{name} = 0" for name in ("threshold", "scale_factor"))
    return (f"ALTER TABLE {table} SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0{toast})",)
