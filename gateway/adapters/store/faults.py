"""Words for what a database did not do, and what helps: without statement or parameters, which hold personal values."""

import sqlalchemy as sa

from gateway.adapters.store.databases import DatabaseUnusable
from gateway.evidence.errors import EvidenceInvalid

_WORDS = {
    "SQLITE_BUSY": "another process has it locked: end that, and try again",
    "SQLITE_CANTOPEN": "it cannot be opened: look at its owner and mode, and at those of its folder",
    "SQLITE_CORRUPT": "its pages are damaged: restore it from a backup",
    "SQLITE_FULL": "the disk is full: make room",
    "SQLITE_IOERR": "it cannot be read or written: is it a file, and is its disk sound?",
    "SQLITE_NOTADB": "it is damaged, or not a database: restore it from a backup",
    "SQLITE_READONLY_DIRECTORY": "its folder cannot be written, which even a reader of its write-ahead log has to",
    "SQLITE_READONLY": "it cannot be written: look at its owner and mode",
}
OTHER_PROGRAM = "it lacks a table: it is empty, or not the database of this program; --config names the right one"

_STATES = {
    "08": "the connection was lost: is the server running?",
    "22": "it does not take such a value",
    "25006": "it cannot be written: the server or this role is set to read only",
    "28": "the server refuses this user: look at user and password, and at pg_hba.conf",
    "3D000": "there is no such database: make it with createdb",
    "3F000": "its schema is not there, or this user may not see it",
    "40": "it collided with another transaction: try again",
    "42501": "this user lacks a privilege: it must own the tables, and needs CREATE on the database to make its schema",
    "42P01": OTHER_PROGRAM,
    "53100": "the server's disk is full: make room there",
    "53200": "the server is out of memory",
    "53300": "the server has too many connections: raise max_connections, or end some",
    "53": "the server lacks something it needs: look at its log",
    "55P03": "another session has it locked: end that, and try again",
    "57014": "the server cancelled the statement",
    "57P01": "the server is being shut down, or an administrator ended the connection",
    "57P02": "the server ended because another of its processes crashed: it comes back by itself, look at its log",
    "57P03": "the server is starting or stopping: try again",
    "58": "the server cannot read or write its files: look at its log, and at its disk",
    "XX": "its files are damaged: look at the server's log, and restore it from a backup",
}
"""By SQLSTATE, or the class that begins it (PostgreSQL, appendix A)."""
_SAID = (
    ("password", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("authentication failed", "28000"),
    ('role "', "28000"),
    ('database "', "3D000"),
    ("too many connections", "53300"),
    ("too many clients", "53300"),
    ("connection slots are reserved", "53300"),
    ("starting up", "57P03"),
    ("shutting down", "57P03"),
    ("in recovery mode", "57P03"),
    ("not yet accepting connections", "57P03"),
    ("No space left on device", "53100"),
)
"""What a refused connection says, which comes without its SQLSTATE. One in another language stays a riddle."""
_UNREACHED = "08001 (the server cannot be reached, or refuses the connection: is it running, and does `psql` connect?)"


UNUSABLE = (sa.exc.SQLAlchemyError, DatabaseUnusable)
"""What opening a database raises, and `describe` has words for."""
STRANGE_VALUES = (TypeError, ValueError, AttributeError, OverflowError)
"""What reading a row raises that this program never wrote: SQLite keeps any value in any column, any bytes as text."""
STRANGE = "it holds values this program never wrote: restore it from a backup"


def describe(error: BaseException) -> str:
    """Name an error of the store by SQLite's or PostgreSQL's name for it and in plain words."""
    if isinstance(error, sa.exc.DBAPIError):
        if type(error.orig).__module__.startswith("psycopg"):
            return _postgresql(error)
        name = str(getattr(error.orig, "sqlite_errorname", type(error.orig).__name__))
        if name == "SQLITE_ERROR" and str(error.orig).startswith("no such table"):
            return f"{name} ({OTHER_PROGRAM})"
        words = next((words for known, words in _WORDS.items() if name.startswith(known)), "")
        return f"{name} ({words})" if words else name
    if isinstance(error, OSError):
        return f"{type(error).__name__} {error.errno} ({error.strerror})"
    if isinstance(error, LookupError | EvidenceInvalid | DatabaseUnusable):
        return str(error)
    return type(error).__name__


def _postgresql(error: sa.exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if not state:
        text = str(error.orig)
        state = next((state for words, state in _SAID if words in text), "")
        if not state and error.connection_invalidated:
            state = "08006"
    if not state:
        return f"PostgreSQL {_UNREACHED}" if isinstance(error, sa.exc.OperationalError) else type(error.orig).__name__
    words = next((_STATES[part] for part in (state, state[:2]) if part in _STATES), "")
    return f"PostgreSQL {state} ({words})" if words else f"PostgreSQL {state}"
