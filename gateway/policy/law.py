"""The law of recording, place by place: dated tables with a source for each row. Data for counsel, no legal advice.

A row says what the law of one place needs of somebody who records his own call. What the law disputes counts as its
strictest reading, and what nobody looked at as the strictest there is.
"""

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from gateway.policy.errors import PolicyError, Problem
from gateway.policy.tables import PLACE, Table, clash, read_table

LAW_FILES = ("us.toml", "ca.toml", "eea.toml", "gb.toml", "ch.toml")
"""The shipped tables, in the folder `law` of this package."""


class Rule(StrEnum):
    """How many sides of a call must agree to, or at least know of, its recording."""

    ONE_PARTY = "one_party"
    ALL_PARTY = "all_party"


class Status(StrEnum):
    """How certain a rule is. `UNKNOWN` says that nobody looked closely enough, or that the place itself is unknown."""

    SETTLED = "settled"
    CONTESTED = "contested"
    UNKNOWN = "unknown"


class Requirement(IntEnum):
    """What a recording needs, from loose to strict.

    >>> max(Requirement.NOTICE, Requirement.ONE_PARTY).label
    'notice'
    """

    ONE_PARTY = 1
    NOTICE = 2
    ALL_PARTY = 3

    @property
    def label(self) -> str:
        """The name for evidence and machines."""
        return self.name.lower()


Text = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class _RowTable(Table):
    rule: Rule = Field(strict=False)
    status: Status = Field(strict=False)
    strictest: Rule | None = Field(default=None, strict=False)
    notice: bool
    source: Text
    date: datetime.date
    note: Text | None = None

    @model_validator(mode="after")
    def _coherent(self) -> "_RowTable":
        if self.strictest is not None and self.status is not Status.CONTESTED:
            raise clash('only a row with status = "contested" has a strictest reading: leave it out', "strictest")
        if self.strictest is Rule.ONE_PARTY and self.rule is Rule.ALL_PARTY:
            raise clash('strictest is looser than rule: write "all_party" or leave it out', "strictest")
        if self.status is Status.UNKNOWN and self.rule is Rule.ONE_PARTY:
            raise clash('what is unknown counts as the strictest: write rule = "all_party"', "rule")
        return self


class _LawFile(Table):
    version: Text
    disclaimer: Text
    places: dict[Annotated[str, StringConstraints(pattern=PLACE)], _RowTable] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class TableId:
    """Which table a decision rests on: its name, its version, and the SHA-256 of its bytes, empty for a library."""

    source: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The law of one place. *strictest* is the reading that counts while the law is contested or unknown."""

    place: str
    rule: Rule
    status: Status
    strictest: Rule
    notice: bool
    source: str
    date: datetime.date
    note: str = ""

    @property
    def requirement(self) -> Requirement:
        """What a recording needs here."""
        if self.status is Status.UNKNOWN or Rule.ALL_PARTY in (self.rule, self.strictest):
            return Requirement.ALL_PARTY
        return Requirement.NOTICE if self.notice else Requirement.ONE_PARTY

    @property
    def because(self) -> str:
        """Why the row requires what it does, in words."""
        reason = {
            Requirement.ALL_PARTY: "everybody must agree or know",
            Requirement.NOTICE: "one side may record, and people must be told",
            Requirement.ONE_PARTY: "one side may record",
        }[self.requirement]
        if self.status is not Status.SETTLED:
            reason = f"{self.status}, so the strictest reading counts: {reason}"
        return f"{reason}. {self.note}" if self.note else reason

    def entry(self) -> dict[str, str | bool]:
        """Return the row for a list that machines read."""
        return {
            "place": self.place,
            "rule": self.rule.value,
            "status": self.status.value,
            "requirement": self.requirement.label,
            "notice": self.notice,
            "source": self.source,
            "date": self.date.isoformat(),
            "because": self.because,
        }


@dataclass(frozen=True, slots=True)
class LawTable:
    """One file of rows."""

    id: TableId
    rows: tuple[Row, ...]


def parse_law(data: bytes, source: str) -> LawTable:
    """Read one table of law. Raises `PolicyError` with file, line and remedy for everything that is wrong."""
    file = read_table(_LawFile, data, source)
    rows = tuple(
        Row(
            place=place,
            rule=row.rule,
            status=row.status,
            strictest=row.strictest or (row.rule if row.status is Status.SETTLED else Rule.ALL_PARTY),
            notice=row.notice,
            source=row.source,
            date=row.date,
            note=row.note or "",
        )
        for place, row in file.places.items()
    )
    return LawTable(TableId(source, file.version, hashlib.sha256(data).hexdigest()), rows)


@dataclass(frozen=True, slots=True)
class Law:
    """All rows in force, one for each place."""

    rows: Mapping[str, Row]
    tables: tuple[TableId, ...]

    @property
    def date(self) -> datetime.date:
        """When the row that was looked at last was looked at."""
        return max(row.date for row in self.rows.values())

    def parts(self, country: str) -> tuple[Row, ...]:
        """Return the rows of the parts of *country*, none where its law is one."""
        return tuple(row for place, row in self.rows.items() if place.startswith(f"{country}-"))

    def knows(self, place: str) -> bool:
        """Whether there is a row for *place*, for its country, or for a part of that."""
        country = place[:2]
        return place in self.rows or country in self.rows or bool(self.parts(country))

    def entries(self) -> list[dict[str, str | bool]]:
        """Return every row for a list that machines read, in the order of the places."""
        return [row.entry() for row in self.rows.values()]


def make_law(shipped: Iterable[LawTable], own: Iterable[LawTable] = ()) -> Law:
    """Put tables together; a row of an *own* table takes the place of the shipped one. Raises `PolicyError` when two
    tables of a kind have a row for one place, or when there is no row at all."""
    shipped, own = tuple(shipped), tuple(own)
    rows: dict[str, Row] = {}
    problems = []
    for kind in (shipped, own):
        seen: dict[str, str] = {}
        for table in kind:
            for row in table.rows:
                if row.place in seen:
                    message = f"places.{row.place}: has a row in {seen[row.place]} already: leave one of them out"
                    problems.append(Problem(table.id.source, 0, message))
                seen.setdefault(row.place, table.id.source)
                rows[row.place] = row
    if not rows:
        problems.append(Problem("law", 0, "no table of law: nothing could be decided by place"))
    if problems:
        raise PolicyError(problems)
    ordered = MappingProxyType(dict(sorted(rows.items())))
    return Law(ordered, tuple(table.id for table in (*shipped, *own)))


def law_warnings(shipped: Iterable[LawTable], own: Iterable[LawTable]) -> list[Problem]:
    """What an own table may do but deserves a second look: asking for less than the shipped row."""
    before = {row.place: row for table in shipped for row in table.rows}
    return [
        Problem(
            table.id.source,
            0,
            f"places.{row.place}: asks for {row.requirement.label} where the shipped row asks for "
            f"{before[row.place].requirement.label}: keep the opinion of counsel it rests on",
            "warning",
        )
        for table in own
        for row in table.rows
        if row.place in before and row.requirement < before[row.place].requirement
    ]
