"""One entry of the log as bytes, and back: canonical JSON (RFC 8785) that has exactly one spelling."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

import rfc8785

from gateway.evidence.errors import EntryInvalid

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]
"""What an entry may hold. No floats: their canonical form is a trap; use integers in the unit the name gives."""

VERSION = 1
MAX_ENTRY_BYTES = 65_535
MAX_DEPTH = 16
"""Levels of objects and arrays inside the facts."""
SALT_BYTES = 16
_MAX_INTEGER = 2**53 - 1

_MEMBERS = frozenset({"v", "kind", "origin", "call", "seq", "prev", "at", "facts", "commitments"})
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", re.ASCII)
_CALL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_ORIGIN = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log.

    *seq* counts the call's entries from 0; *prev* is the hex leaf hash of the call's entry before it, or
    `None`; *at* is RFC 3339, UTC, with milliseconds; *commitments* maps a name to the hex digest of a
    personal value that is not in the log.
    """

    origin: str
    call: str
    kind: str
    seq: int
    prev: str | None
    at: str
    facts: Mapping[str, Json] = field(repr=False)
    commitments: Mapping[str, str] = field(default_factory=dict, repr=False)


def timestamp(moment: datetime) -> str:
    """Return *moment* as RFC 3339 in UTC, cut (not rounded) to milliseconds.

    >>> timestamp(datetime(2026, 11, 24, 16, 0, 0, 123_999, tzinfo=UTC))
    '2026-11-24T16:00:00.123Z'
    """
    if moment.tzinfo is None:
        raise EntryInvalid("a time without a time zone cannot be logged")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def commit(salt: bytes, value: str) -> str:
    """Return the hex commitment SHA-256(salt || UTF-8 value).

    The salt has exactly 16 bytes: the border between it and the value is therefore never in doubt.
    """
    if len(salt) != SALT_BYTES:
        raise EntryInvalid(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    try:
        return hashlib.sha256(salt + value.encode()).hexdigest()
    except UnicodeEncodeError:
        raise EntryInvalid("a personal value is not valid Unicode text") from None


def checked(value: Any, where: str = "facts", depth: int = 0) -> Json:
    """Return a deep copy of *value* made of plain types, or raise `EntryInvalid` naming the place at fault.

    Refuses floats, integers beyond 2**53 - 1, lone surrogates, keys that are not text and nesting beyond
    `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise EntryInvalid(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise EntryInvalid(f"{where} is an integer beyond 2**53 - 1")
        return int(value)
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, Mapping):
        return {_key(key, where): checked(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [checked(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
    raise EntryInvalid(f"{where} is a {type(value).__name__}, which an entry cannot hold")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EntryInvalid(f"{where} is not valid Unicode text") from None
    return str.__str__(value)


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise EntryInvalid(f"{where} has a key that is not text")
    return _text(key, f"a key of {where}")


def dump(value: Any) -> bytes:
    """Return *value* as RFC 8785 bytes. Raises `EntryInvalid` for what has no canonical form."""
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise EntryInvalid(f"no canonical form ({type(error).__name__})") from None


def load(data: bytes) -> Any:
    """Parse bytes that must be the canonical spelling of what they say.

    Raises `EntryInvalid`: not UTF-8, not JSON, floats, or another spelling (spaces, order, escapes, a
    duplicate key), with the place of the first fault.
    """
    try:
        value = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except UnicodeDecodeError as error:
        raise EntryInvalid(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise EntryInvalid(f"not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise EntryInvalid("nested too deeply") from None
    except EntryInvalid:
        raise
    except ValueError:
        raise EntryInvalid("holds a number with too many digits") from None
    spelled = dump(value)
    if spelled != data:
        raise EntryInvalid(f"not the canonical spelling (RFC 8785) from byte {_first_difference(spelled, data)} on")
    return value


def _no_float(_: str) -> NoReturn:
    raise EntryInvalid("holds a number that is not an integer")


def _first_difference(one: bytes, other: bytes) -> int:
    length = min(len(one), len(other))
    return next((place for place in range(length) if one[place] != other[place]), length)


def to_object(entry: Entry) -> dict[str, Any]:
    """Return the JSON object of *entry*."""
    return {
        "v": VERSION,
        "kind": entry.kind,
        "origin": entry.origin,
        "call": entry.call,
        "seq": entry.seq,
        "prev": entry.prev,
        "at": entry.at,
        "facts": entry.facts,
        "commitments": entry.commitments,
    }


def from_object(value: Any) -> Entry:
    """Return the entry that a parsed JSON object spells. Raises `EntryInvalid` naming the member at fault."""
    if not isinstance(value, dict):
        raise EntryInvalid("an entry is a JSON object")
    if value.keys() != _MEMBERS:
        odd = sorted(_MEMBERS.symmetric_difference(value.keys()))
        raise EntryInvalid(f"an entry has exactly {len(_MEMBERS)} members; missing or too many: {', '.join(odd)[:200]}")
    if value["v"] is True or value["v"] != VERSION:
        raise EntryInvalid(f"entry version is not {VERSION}: this program cannot read it")
    entry = Entry(**{name: value[name] for name in _MEMBERS - {"v"}})
    _check(entry)
    return entry


def encode(entry: Entry) -> bytes:
    """Return the entry's canonical bytes: what is hashed, stored and proven.

    Raises `EntryInvalid`, also over `MAX_ENTRY_BYTES`.
    """
    _check(entry)
    data = dump(to_object(entry))
    if len(data) > MAX_ENTRY_BYTES:
        raise EntryInvalid(f"the entry takes {len(data)} bytes, over {MAX_ENTRY_BYTES}")
    return data


def decode(data: bytes) -> Entry:
    """Read an entry back. Raises `EntryInvalid` unless *data* is exactly what `encode` writes."""
    if len(data) > MAX_ENTRY_BYTES:
        raise EntryInvalid(f"the entry takes {len(data)} bytes, over {MAX_ENTRY_BYTES}")
    return from_object(load(data))


def check_origin(origin: str) -> None:
    """Raise `EntryInvalid` unless *origin* can name a log: a C2SP key name (no space, no plus sign)."""
    if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
        raise EntryInvalid("a log's origin is 1 to 255 characters without spaces, plus signs or control characters")


def _check(entry: Entry) -> None:
    check_origin(entry.origin)
    _match(_CALL, entry.call, "call")
    _match(_KIND, entry.kind, "kind")
    if len(entry.kind) > 64:
        raise EntryInvalid("kind is longer than 64 characters")
    _match(_AT, entry.at, "at")
    try:
        datetime.fromisoformat(entry.at)
    except ValueError:
        raise EntryInvalid("at is not a time of the calendar") from None
    if isinstance(entry.seq, bool) or not isinstance(entry.seq, int) or not 0 <= entry.seq <= _MAX_INTEGER:
        raise EntryInvalid("seq is not a whole number from 0 on")
    if (entry.prev is None) != (entry.seq == 0):
        raise EntryInvalid("prev is null for a call's first entry, and for no other")
    if entry.prev is not None:
        _match(_DIGEST, entry.prev, "prev")
    if not isinstance(entry.facts, Mapping):
        raise EntryInvalid("facts is not an object")
    checked(entry.facts)
    if not isinstance(entry.commitments, Mapping):
        raise EntryInvalid("commitments is not an object")
    for name, digest in entry.commitments.items():
        _match(_NAME, name, "a commitment's name")
        _match(_DIGEST, digest, f"commitments.{name}")


def _match(pattern: re.Pattern[str], value: Any, what: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise EntryInvalid(f"{what} is not of the form {pattern.pattern}")
