"""Whose law a call is under: every party's place, what each place requires, and the strictest of them all.

A place that somebody who knows has named is a fact: the header of a trusted switch, else the line, else the trunk. A
number is a hint. What a hint cannot rule out counts, so more parties and stricter rows never loosen a decision.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.policy.law import Law, Requirement, Row, Rule, Status, TableId
from gateway.policy.numbering import Hint, Kind, Numbering
from gateway.policy.tables import PLACE

UNKNOWN = "unknown"
"""The place of a party of whom nothing is known."""
ANYWHERE = "anywhere"
"""The place of a party whose number may have been carried or moved."""


class AreaCodes(StrEnum):
    """How far numbers that move with their owners are believed: area codes of country code 1, mobiles, and numbers
    tied to no place. From strict to loose; a fixed line elsewhere is believed by all three.

    `HINT`: the place, and anywhere. `COUNTRY`: the country, any part of it. `TRUST`: the place alone.
    """

    HINT = "hint"
    COUNTRY = "country"
    TRUST = "trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One party of a call, as it was seen. Places are ISO 3166 codes such as "DE" or "US-CA"; empty ones say nothing.

    *number* as on the wire: with "+", as dialled, a SIP or tel URI, "anonymous", or nothing; never shown in a repr.
    *override*: the place a header names. Unless *override_trusted*, it may add a place and never take one away.
    *line*, *trunk*: the place that is configured for the party's own line, or for the trunk it comes by.
    """

    role: str
    number: str = field(default="", repr=False)
    override: str = ""
    override_trusted: bool = False
    line: str = ""
    trunk: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the law of one place requires for one party, and why that place. No digit of a number is in *because*.

    *place* is an ISO 3166 code, `UNKNOWN` or `ANYWHERE`. *date* is when the row was looked at.
    """

    role: str
    place: str
    rule: Rule
    status: Status
    notice: bool
    requirement: Requirement
    source: str
    date: datetime.date
    because: str

    def entry(self) -> dict[str, str | bool]:
        """Return the finding for the evidence."""
        return {
            "role": self.role,
            "place": self.place,
            "rule": self.rule.value,
            "status": self.status.value,
            "notice": self.notice,
            "requirement": self.requirement.label,
            "source": self.source,
            "date": self.date.isoformat(),
            "because": self.because,
        }


@dataclass(frozen=True, slots=True)
class Resolution:
    """Every finding, in an order that does not depend on that of the parties, and the tables they rest on."""

    findings: tuple[Finding, ...]
    tables: tuple[TableId, ...]

    @property
    def requirement(self) -> Requirement:
        """The strictest requirement of all findings."""
        return max(finding.requirement for finding in self.findings)

    @property
    def places(self) -> tuple[str, ...]:
        """Every place that counts, each once."""
        return tuple(sorted({finding.place for finding in self.findings}))

    def entry(self) -> dict[str, object]:
        """Return the whole for the evidence."""
        return {
            "requirement": self.requirement.label,
            "findings": [finding.entry() for finding in self.findings],
            "tables": [{"source": t.source, "version": t.version, "sha256": t.sha256} for t in self.tables],
        }


def stricter(one: Requirement, other: Requirement) -> Requirement:
    """Return the stricter of two requirements.

    >>> stricter(Requirement.NOTICE, Requirement.ALL_PARTY)
    <Requirement.ALL_PARTY: 3>
    """
    return max(one, other)


def merge(first: Resolution, *others: Resolution) -> Resolution:
    """Return the findings of all together, for a call that somebody joined: never looser than one of them."""
    findings = {finding for resolution in (first, *others) for finding in resolution.findings}
    tables = dict.fromkeys(table for resolution in (first, *others) for table in resolution.tables)
    return Resolution(_ordered(findings), tuple(tables))


def resolve(
    parties: Iterable[Party],
    law: Law,
    numbering: Numbering,
    *,
    home: str = "",
    area_codes: AreaCodes = AreaCodes.HINT,
) -> Resolution:
    """Return what the law requires for a call among *parties*; equal findings of one role count once.

    *home* is the place whose national form numbers may be in. Raises `ValueError` without a party: nobody's law is not
    the loosest.
    """
    search = _Search(law, numbering, home, area_codes)
    findings = {finding for party in parties for finding in search.party(party)}
    if not findings:
        raise ValueError("a call without parties is under nobody's law")
    return Resolution(_ordered(findings), (*law.tables, *numbering.tables))


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    def key(found: Finding) -> tuple[str, int, str, str, str, str]:
        return (found.role, -found.requirement, found.place, found.because, found.source, found.date.isoformat())

    return tuple(sorted(findings, key=key))


_UNPLACED = {
    Kind.WITHHELD: (UNKNOWN, "the number is withheld or missing: taken as the strictest there is"),
    Kind.NO_NUMBER: (UNKNOWN, "what was sent is no telephone number: taken as the strictest there is"),
    Kind.UNREADABLE: (UNKNOWN, "the number cannot be read, or is not in use: taken as the strictest there is"),
    Kind.FREEPHONE: (ANYWHERE, "a freephone number is answered anywhere: taken as the strictest there is"),
    Kind.PLACELESS: (
        ANYWHERE,
        "the area code is of no place, or newer than the table: taken as the strictest there is",
    ),
    Kind.WORLD: (ANYWHERE, "the calling code belongs to no country: taken as the strictest there is"),
}
_PLACED = {
    Kind.AREA: "the area code belongs to it",
    Kind.FIXED: "a fixed line of this country",
    Kind.MOBILE: "a mobile of this country, whose owner may roam",
    Kind.LOOSE: "a number of this country, not known for a fixed line",
}
_MOVED = {
    Kind.AREA: "numbers with area codes are carried and ported, may be anywhere: taken as the strictest there is",
    Kind.MOBILE: "mobile, may be anywhere: taken as the strictest there is",
    Kind.LOOSE: "not known for a fixed line, may be anywhere: taken as the strictest there is",
}


@dataclass(frozen=True, slots=True)
class _Search:
    law: Law
    numbering: Numbering
    home: str
    area_codes: AreaCodes

    def party(self, party: Party) -> Iterator[Finding]:
        """Return the findings of one party."""
        facts = (
            (party.override if party.override_trusted else "", "named by a header of a trusted peer"),
            (party.line, "configured for the line"),
            (party.trunk, "configured for the trunk"),
        )
        place, because = next(((place, because) for place, because in facts if place.strip()), ("", ""))
        if place:
            yield from self.at(party.role, place, because)
        else:
            yield from self.by_number(party.role, self.numbering.read(party.number, self.home))
        if party.override.strip() and not party.override_trusted:
            yield from self.at(party.role, party.override, "named by a header that is not trusted: it may only add")

    def by_number(self, role: str, hint: Hint) -> Iterator[Finding]:
        """Return what a hint comes to, as far as hints are believed."""
        if hint.kind in _UNPLACED:
            place, because = _UNPLACED[hint.kind]
            yield self.strictest(role, place, because)
            return
        for place in hint.places:
            if hint.kind is Kind.AREA and self.area_codes is AreaCodes.COUNTRY:
                yield from self.at(role, place[:2], "the area code belongs to this country")
            else:
                yield from self.at(role, place, _PLACED[hint.kind])
        if self.area_codes is AreaCodes.HINT and hint.kind in _MOVED:
            yield self.strictest(role, ANYWHERE, _MOVED[hint.kind])

    def at(self, role: str, place: str, because: str) -> Iterator[Finding]:
        """Return what the law requires at *place*: its row and its country's. A country whose parts differ, when the
        part is not known, counts as the strictest of them."""
        place = place.strip()
        place = place.upper() if place.isascii() else ""
        if not re.fullmatch(PLACE, place):
            yield self.strictest(role, UNKNOWN, f"{because}, but it is no place that can be read")
            return
        country, rows = place[:2], self.law.rows
        parts = self.law.parts(country)
        if place in rows and (place != country or not parts):
            yield _of_row(role, rows[place], because)
            if place != country and country in rows:
                yield _of_row(role, rows[country], f"{because}; the law of the whole country counts too")
        elif parts:
            every = [*parts, *([rows[country]] if country in rows else [])]
            yield _widened(role, country, every, f"{because}; which part of the country is not known")
        elif country in rows:
            yield _of_row(role, rows[country], because)
        else:
            yield self.strictest(role, country, f"{because}; no table has a row for it")

    def strictest(self, role: str, place: str, because: str) -> Finding:
        """Return the strictest finding there is."""
        return Finding(
            role=role,
            place=place,
            rule=Rule.ALL_PARTY,
            status=Status.UNKNOWN,
            notice=True,
            requirement=Requirement.ALL_PARTY,
            source="no law of one place: what is unknown is taken as the strictest",
            date=self.law.date,
            because=because,
        )


def _of_row(role: str, row: Row, because: str) -> Finding:
    return Finding(
        role=role,
        place=row.place,
        rule=row.rule,
        status=row.status,
        notice=row.notice,
        requirement=row.requirement,
        source=row.source,
        date=row.date,
        because=because,
    )


def _widened(role: str, country: str, rows: list[Row], because: str) -> Finding:
    row = min(rows, key=lambda row: (-row.requirement, row.status is not Status.SETTLED, row.place))
    return Finding(
        role=role,
        place=country,
        rule=Rule.ALL_PARTY if row.requirement is Requirement.ALL_PARTY else Rule.ONE_PARTY,
        status=Status.UNKNOWN,
        notice=any(row.notice for row in rows),
        requirement=row.requirement,
        source=f"the strictest of its parts, {row.place}: {row.source}",
        date=row.date,
        because=because,
    )
