"""Words for what a database did not do: without statement or parameters, which hold personal values."""

import sqlalchemy as sa

from gateway.evidence.errors import EvidenceInvalid

_WORDS = {
    "SQLITE_BUSY": "another process has it locked",
    "SQLITE_CANTOPEN": "it cannot be opened",
    "SQLITE_CORRUPT": "its pages are damaged",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_IOERR": "the disk failed",
    "SQLITE_NOTADB": "it is damaged, or not a database",
    "SQLITE_READONLY": "it cannot be written",
}


def describe(error: BaseException) -> str:
    """Name an error of the store by SQLite's name for it and in plain words."""
    if isinstance(error, sa.exc.DBAPIError):
        name = str(getattr(error.orig, "sqlite_errorname", type(error.orig).__name__))
        if name == "SQLITE_ERROR" and str(error.orig).startswith("no such table"):
            return f"{name} (it lacks a table: not the database of this program)"
        words = next((words for known, words in _WORDS.items() if name.startswith(known)), "")
        return f"{name} ({words})" if words else name
    if isinstance(error, OSError):
        return f"{type(error).__name__} {error.errno} ({error.strerror})"
    if isinstance(error, LookupError | EvidenceInvalid):
        return str(error)
    return type(error).__name__
