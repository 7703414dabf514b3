"""What a change of policies means for calls: sample calls, decided twice."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import Field

from gateway.domain.rules import Rules
from gateway.policy.book import Book
from gateway.policy.tables import Table, read_table
from gateway.policy.times import WEEK, Times

CALLERS = {
    "from Texas": "+15125550100",
    "from California": "+14155550100",
    "from Ontario": "+14165550100",
    "from Germany": "+493012345678",
    "from London": "+442079460000",
    "from a mobile": "+447700900123",
    "without a number": "",
}
"""Whom the sample calls come from where a policy looks at places: made-up numbers, one of each kind that matters."""
MOST_SAMPLES = 20_000
"""So many calls are made up at most; policies with more patterns than that are for samples of one's own."""
OTHER = "0"
"""A number that no pattern is likely to name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call to try: what is known of it, and its name for people. *at* has a time zone."""

    name: str
    at: datetime
    called: str = OTHER
    caller: str = ""
    line: str = ""
    trunk: str = ""
    place: str = ""


class _Call(Table):
    name: str = ""
    at: datetime | None = None
    called: str = ""
    caller: str = ""
    line: str = ""
    trunk: str = ""
    place: str = ""


class _Calls(Table):
    call: tuple[_Call, ...] = Field(min_length=1, strict=False)


def read_samples(data: bytes, source: str, now: datetime) -> list[Sample]:
    """Read sample calls, tables `[[call]]`; without `at` they are *now*, and a time without a zone is of *now*'s.
    Raises `PolicyError`."""
    samples = []
    for number, call in enumerate(read_table(_Calls, data, source).call, 1):
        at = call.at or now
        at = at if at.tzinfo is not None else at.replace(tzinfo=now.tzinfo)
        name = call.name or f"call {number}"
        samples.append(Sample(name, at, call.called, call.caller, call.line, call.trunk, call.place))
    return samples


def samples_of(books: Iterable[Book], now: datetime) -> list[Sample]:
    """Return calls that between them meet every pattern and every hour that the policies of *books* name, and calls
    that meet none; where a policy looks at places, each from every kind of caller. At most `MOST_SAMPLES`. *now* has a
    time zone."""
    files = [policy.file for book in books for policy in book.policies]
    tables = [file.jurisdiction for file in files if file.jurisdiction is not None]
    lines = [pattern for file in files for pattern in file.match.lines]
    lines += [pattern for table in tables for pattern in table.lines]
    trunks = [pattern for file in files for pattern in file.match.trunks]
    trunks += [pattern for table in tables for pattern in table.trunks]
    moments = dict(moment for file in files for times in file.match.times for moment in _moments(times, now))
    made = itertools.product(
        dict.fromkeys(("", *(_example(pattern) for file in files for pattern in file.match.called))),
        dict.fromkeys(("", *map(_example, lines))),
        dict.fromkeys(("", *map(_example, trunks))),
        moments.items() or [("", now)],
        CALLERS.items() if tables else [("", "")],
    )
    samples = []
    for called, line, trunk, (when, at), (who, caller) in itertools.islice(made, MOST_SAMPLES):
        names = (
            f"to {called or 'any other number'}",
            f"line {line}" if line else "",
            f"trunk {trunk}" if trunk else "",
            when,
            who,
        )
        samples.append(Sample(", ".join(filter(None, names)), at, called or OTHER, caller, line, trunk))
    return samples


def _example(pattern: str) -> str:
    """Something that *pattern* is of."""
    return pattern.replace("*", "").replace("?", "0")


def _moments(times: Times, now: datetime) -> Iterator[tuple[str, datetime]]:
    """A moment in the hours, and one in none of them if there is any, in the week from *now* on."""
    zone = ZoneInfo(times.zone)
    begin = now.astimezone(zone).replace(hour=0, minute=30, second=0, microsecond=0)
    hours = [begin + timedelta(hours=hour) for hour in range(7 * 24)]
    for within in (True, False):
        found = next((at for at in hours if times.covers(at) is within), None)
        if found is not None:
            yield f"{WEEK[found.weekday()]} {found:%H:%M} {times.zone}", found


def changes(before: Rules, after: Rules) -> dict[str, tuple[str, str]]:
    """Return what is another in *after*: by name, as text. A policy's version and hash alone change nothing."""
    found = {
        field.name: (_text(getattr(before, field.name)), _text(getattr(after, field.name)))
        for field in dataclasses.fields(Rules)
        if field.name != "policy"
    }
    found["policy"] = (before.policy[0], after.policy[0])
    return {name: values for name, values in sorted(found.items()) if values[0] != values[1]}


def _text(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return "/".join(sorted(str(each) for each in value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
