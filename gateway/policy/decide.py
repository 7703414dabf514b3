"""What the law of the parties' places makes of a policy: it can only tighten it.

A policy that asks is as strict as any law here. One that only tells, or does neither, is made to ask where everybody
must agree, and to tell where people must know, unless the policy says by what law an announcement is enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.domain.rules import Basis, Joining, Rules
from gateway.policy.book import Book
from gateway.policy.errors import Problem
from gateway.policy.jurisdiction import Party, Resolution, resolve
from gateway.policy.law import Law, Requirement
from gateway.policy.model import JurisdictionTable
from gateway.policy.numbering import Numbering
from gateway.policy.patterns import matches

MOST_PLACES = 3
"""So many places are named in one reason; all are in the findings."""

_NEEDS = {
    Requirement.ONE_PARTY: "one side may record",
    Requirement.NOTICE: "one side may record, and people must be told",
    Requirement.ALL_PARTY: "everybody must agree, or at least know",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What is known of where the parties of a call are: numbers as on the wire, never shown in a repr.

    *line*: what was called, by name or number. *trunk*: the name of what the call came by. *place*: what a header says,
    a fact only if it is *trusted*.
    """

    caller: str
    line: str
    trunk: str = ""
    place: str = ""
    trusted: bool = False

    def __repr__(self) -> str:
        return f"Whereabouts(trunk={self.trunk!r}, place={self.place!r}, trusted={self.trusted})"


@dataclass(frozen=True, slots=True)
class Places:
    """The tables that say whose law a call is under."""

    law: Law
    numbering: Numbering

    def of_call(self, table: JurisdictionTable, known: Whereabouts) -> Resolution:
        """Return the law of a call: that of the person outside, and that of where the agents are."""
        lines = _configured(table.lines, known.line) or (table.home,)
        parties = (*self._person("caller", table, known), *(Party(role="agent", line=line) for line in lines))
        return resolve(parties, self.law, self.numbering, home=table.home, area_codes=table.area_codes)

    def of_who_joins(self, table: JurisdictionTable, known: Whereabouts) -> Resolution:
        """Return the law of somebody who joins a call, he alone."""
        parties = self._person("joins", table, known)
        return resolve(parties, self.law, self.numbering, home=table.home, area_codes=table.area_codes)

    def _person(self, role: str, table: JurisdictionTable, known: Whereabouts) -> tuple[Party, ...]:
        """The person outside, once for every configured trunk that he came by."""
        return tuple(
            Party(role=role, number=known.caller, override=known.place, override_trusted=known.trusted, trunk=trunk)
            for trunk in _configured(table.trunks, known.trunk) or ("",)
        )


def _configured(places: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Every place whose pattern is of *name*, in a fixed order: all of them count."""
    return tuple(sorted({place for pattern, place in places.items() if matches(pattern, name)}))


def tightened(rules: Rules, table: JurisdictionTable, found: Resolution) -> tuple[Rules, tuple[str, ...]]:
    """Return *rules* as the law allows them, and why. Never looser than they were."""
    need = found.requirement
    reasons = [_summary(found)]
    if need is Requirement.ALL_PARTY and table.all_party == "ask":
        if not rules.ask:
            reasons.append("everybody must agree there: the person is asked, where the policy would not have done so")
            rules = replace(rules, basis=Basis.CONSENT, ask=True, announce=False, may_withdraw=True)
        if rules.joining is Joining.ANNOUNCE:
            why = "everybody must agree where the call is: who joins is asked before he is recorded"
            rules = replace(rules, joining=Joining.ASK, joining_basis=Basis.CONSENT, joining_reason=why)
    elif need is Requirement.ALL_PARTY and not rules.ask:
        reasons.append(f"an announcement counts as everybody's agreement, by the policy: {table.justification}")
    if need > Requirement.ONE_PARTY and not rules.ask and not rules.announce:
        reasons.append("people must know of it there: the person is told, where the policy would not have done so")
        rules = replace(rules, announce=True)
    return rules, tuple(reasons)


def tightened_for_who_joins(
    joined: Rules, table: JurisdictionTable, found: Resolution
) -> tuple[Rules, tuple[str, ...]]:
    """Return the rules for somebody who joins a call with the rules *joined*, where *found* is the law of all of them.

    Where that is stricter than what the call began with, and its caller was told and never asked, no answer of who
    joins is enough: he is covered for no purpose, and nothing is recorded while he is there.
    """
    rules, reasons = tightened(joined.for_who_joins(), table, found)
    if found.requirement is Requirement.ALL_PARTY and table.all_party == "ask" and not joined.ask:
        why = "everybody must agree where who joins is, and the caller was never asked: nothing is recorded meanwhile"
        return replace(rules, ask=False, announce=False, purposes=()), (*reasons, why)
    return rules, reasons


def _summary(found: Resolution) -> str:
    """The strictest requirement and where it comes from, at most `MOST_PLACES` of them."""
    strictest = [finding for finding in found.findings if finding.requirement is found.requirement]
    places = list(dict.fromkeys(f"{finding.place} ({finding.role}: {finding.because})" for finding in strictest))
    more = f"; and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
    return f"law: {_NEEDS[found.requirement]}: {'; '.join(places[:MOST_PLACES])}{more}"


def place_warnings(book: Book, places: Places) -> list[Problem]:
    """Places of the policies that no table has a row for: every call there counts as the strictest."""
    found = []
    for policy in book.policies:
        table = policy.file.jurisdiction
        named = [] if table is None else [("home", table.home), *table.lines.items(), *table.trunks.items()]
        for name, place in named:
            if not places.law.knows(place):
                message = (
                    f'jurisdiction: no table has a row for "{place}" ({name}), so it counts as the strictest there is: '
                    "correct it, or give it a row in a table of your own (policy.law)"
                )
                found.append(Problem(policy.source, 0, message, "warning"))
    return found
