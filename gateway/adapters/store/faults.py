"""Words for what a database did not do, and what helps: without statement or parameters, which hold personal values."""

import sqlalchemy as sa

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


STRANGE_VALUES = (TypeError, ValueError, AttributeError, OverflowError)
"""What reading a row raises that this program never wrote: SQLite keeps any value in any column, any bytes as text."""
STRANGE = "it holds values this program never wrote: restore it from a backup"


def describe(error: BaseException) -> str:
    """Name an error of the store by SQLite's name for it and in plain words."""
    if isinstance(error, sa.exc.DBAPIError):
        name = str(getattr(error.orig, "sqlite_errorname", type(error.orig).__name__))
        if name == "SQLITE_ERROR" and str(error.orig).startswith("no such table"):
            return f"{name} ({OTHER_PROGRAM})"
        words = next((words for known, words in _WORDS.items() if name.startswith(known)), "")
        return f"{name} ({words})" if words else name
    if isinstance(error, OSError):
        return f"{type(error).__name__} {error.errno} ({error.strerror})"
    if isinstance(error, LookupError | EvidenceInvalid):
        return str(error)
    return type(error).__name__
