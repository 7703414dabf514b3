"""Whose law a call is under: one row for each way a place is known, or not, and what never loosens a decision."""

import re
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.jurisdiction import (
    ANYWHERE,
    UNKNOWN,
    AreaCodes,
    Finding,
    Party,
    Resolution,
    merge,
    resolve,
    stricter,
)
from gateway.policy.law import Law, Requirement, Rule, Status, make_law, parse_law
from tests.unit.policy.places import LAW, NUMBERING, TABLES

ONE, NOTICE, ALL = Requirement.ONE_PARTY, Requirement.NOTICE, Requirement.ALL_PARTY
TEXAS, NEW_YORK, CALIFORNIA, ONTARIO, JAMAICA = (
    "+15125550100",
    "+12125550100",
    "+14155550100",
    "+14165550100",
    "+18765550100",
)


def call(*parties: Party, law: Law = LAW, home: str = "", area_codes: AreaCodes = AreaCodes.HINT) -> Resolution:
    return resolve(parties, law, NUMBERING, home=home, area_codes=area_codes)


def caller(number: str = "", **known: str | bool) -> Party:
    return Party(role="caller", number=number, **known)  # type: ignore[arg-type]


def agent(place: str) -> Party:
    return Party(role="agent", line=place)


@pytest.mark.parametrize(
    ("number", "area_codes", "requirement", "places"),
    [
        # country code 1: the area code's place, and as far as it is believed
        (TEXAS, "hint", ALL, "US US-TX anywhere"),
        (TEXAS, "country", ALL, "US"),
        (TEXAS, "trust", ONE, "US US-TX"),
        (CALIFORNIA, "hint", ALL, "US US-CA anywhere"),
        (CALIFORNIA, "trust", ALL, "US US-CA"),
        ("+13135550100", "trust", ALL, "US US-MI"),
        ("+17875550100", "trust", ALL, "US US-PR"),
        (ONTARIO, "hint", ALL, "CA CA-ON anywhere"),
        (ONTARIO, "country", NOTICE, "CA"),
        (ONTARIO, "trust", NOTICE, "CA CA-ON"),
        ("+18675550100", "trust", NOTICE, "CA CA-NT CA-NU CA-YT"),
        ("+18675550100", "country", NOTICE, "CA"),
        (JAMAICA, "hint", ALL, "JM anywhere"),
        (JAMAICA, "trust", ALL, "JM"),
        ("+18005550100", "hint", ALL, "anywhere"),
        ("+18005550100", "trust", ALL, "anywhere"),
        ("+15005550100", "trust", ALL, "anywhere"),
        ("+12995550100", "trust", ALL, "anywhere"),
        # fixed lines elsewhere are believed
        ("+4612345678", "hint", NOTICE, "SE"),
        ("+4722345678", "hint", NOTICE, "NO"),
        ("+35312345678", "hint", NOTICE, "IE"),
        ("+442071234567", "hint", NOTICE, "GB"),
        ("+493012345678", "hint", ALL, "DE"),
        ("+41441234567", "hint", ALL, "CH"),
        ("+4312345678", "hint", ALL, "AT"),
        ("+35621234567", "hint", ALL, "MT"),
        # mobiles, and what is not known for a fixed line
        ("+46701234567", "hint", ALL, "SE anywhere"),
        ("+46701234567", "country", NOTICE, "SE"),
        ("+46701234567", "trust", NOTICE, "SE"),
        ("+4532123456", "hint", ALL, "DK anywhere"),
        ("+4532123456", "trust", NOTICE, "DK"),
        ("+447912345678", "hint", ALL, "GB anywhere"),
        ("+447912345678", "trust", NOTICE, "GB"),
        ("+448001234567", "hint", ALL, "anywhere"),
        ("+448001234567", "trust", ALL, "anywhere"),
        ("+447012345678", "trust", ALL, "GB GG IM"),
        ("+4915112345678", "trust", ALL, "DE"),
        # the islands that share the United Kingdom's numbers are not part of it
        ("+441534123456", "trust", ALL, "JE"),
        ("+441481256789", "hint", ALL, "GG"),
        ("+447781123456", "hint", ALL, "GG anywhere"),
        ("+447924123456", "trust", ALL, "GB IM"),
        ("+441481123456", "trust", ALL, "unknown"),
        ("+447624123456", "trust", ALL, "IM"),
        # places of which there is no row
        ("+74951234567", "trust", ALL, "RU"),
        ("+911123456789", "trust", ALL, "IN"),
        ("+80012345678", "trust", ALL, "anywhere"),
        # nothing known
        ("", "trust", ALL, "unknown"),
        ("anonymous", "trust", ALL, "unknown"),
        ("sip:anonymous@anonymous.invalid", "trust", ALL, "unknown"),
        ("sip:alice@example.org", "trust", ALL, "unknown"),
        ("1001", "trust", ALL, "unknown"),
        ("*98", "trust", ALL, "unknown"),
    ],
)
def test_a_number(number: str, area_codes: str, requirement: Requirement, places: str) -> None:
    found = call(caller(number), area_codes=AreaCodes(area_codes))
    assert found.requirement is requirement
    assert " ".join(found.places) == places


@pytest.mark.parametrize(
    ("number", "home", "places"),
    [
        ("0812345678", "SE", "SE"),
        ("004612345678", "DE", "SE"),
        ("0114612345678", "US-TX", "SE"),
        ("0812345678", "", "unknown"),
        ("22345678", "NO", "NO"),
        ("41234567", "NO", "NO"),
        ("0401234567", "FI", "FI"),
        ("5125550100", "US", "US US-TX"),
        ("15125550100", "US", "US US-TX"),
        ("5125550100", "CA-ON", "US US-TX"),
        ("5125550100", "SE", "unknown"),
        ("02071234567", "GB", "GB"),
        ("0812345678", "JP", "unknown"),
    ],
)
def test_a_number_as_it_is_dialled_at_home(number: str, home: str, places: str) -> None:
    assert " ".join(call(caller(number), home=home, area_codes=AreaCodes.TRUST).places) == places


@pytest.mark.parametrize(
    ("party", "requirement", "places"),
    [
        # a fact counts instead of the number: header, then line, then trunk
        (caller(CALIFORNIA, override="US-TX", override_trusted=True, line="DE", trunk="FR"), ONE, "US US-TX"),
        (caller(CALIFORNIA, line="US-TX", trunk="FR"), ONE, "US US-TX"),
        (caller(CALIFORNIA, trunk="US-TX"), ONE, "US US-TX"),
        (caller("anonymous", override="SE", override_trusted=True), NOTICE, "SE"),
        (caller(TEXAS, override=" us-ca ", override_trusted=True), ALL, "US US-CA"),
        (caller(TEXAS, override=" ", override_trusted=True, line="SE"), NOTICE, "SE"),
        (caller("", trunk="CA-QC"), NOTICE, "CA CA-QC"),
        # a header that is not trusted may only add
        (caller(TEXAS, override="US-TX"), ALL, "US US-TX anywhere"),
        (caller("+4612345678", override="DE"), ALL, "DE SE"),
        (caller("+493012345678", override="SE"), ALL, "DE SE"),
        (caller("", override="DE", line="SE"), ALL, "DE SE"),
        # a country whose parts differ
        (caller(override="US", override_trusted=True), ALL, "US"),
        (caller(override="CA", override_trusted=True), NOTICE, "CA"),
        (caller(line="US-ZZ"), ALL, "US"),
        # a part of a country whose law is one
        (caller(line="DE-BY"), ALL, "DE"),
        (caller(line="GB-SCT"), NOTICE, "GB"),
        (caller(line="FR-75"), ALL, "FR"),
        # places without a row, and what is no place
        (caller(line="IN"), ALL, "IN"),
        (caller(line="IN-MH"), ALL, "IN"),
        (caller(line="Germany"), ALL, "unknown"),
        (caller(TEXAS, override="\r\nX: 1", override_trusted=True), ALL, "unknown"),
        (caller(TEXAS, override="uſ-tx", override_trusted=True), ALL, "unknown"),
        (caller(TEXAS, override=TEXAS), ALL, "US US-TX anywhere unknown"),
    ],
)
def test_a_place_that_is_named(party: Party, requirement: Requirement, places: str) -> None:
    found = call(party)
    assert found.requirement is requirement
    assert " ".join(found.places) == places


def test_the_strictest_party_decides() -> None:
    texas = caller(TEXAS, line="US-TX")
    assert call(texas, agent("US-TX")).requirement is ONE
    assert call(texas, agent("SE")).requirement is NOTICE
    assert call(texas, agent("SE"), Party(role="joined", line="US-CA")).requirement is ALL


def test_a_finding_says_which_law_and_why() -> None:
    [federal, state] = sorted(call(caller(line="US-CA")).findings, key=lambda found: found.place)
    assert state == Finding(
        role="caller",
        place="US-CA",
        rule=Rule.ALL_PARTY,
        status=Status.SETTLED,
        notice=True,
        requirement=ALL,
        source="Cal. Penal Code §§ 632, 632.7",
        date=LAW.rows["US-CA"].date,
        because="configured for the line",
    )
    assert federal.because == "configured for the line; the law of the whole country counts too"
    assert state.entry() == {
        "role": "caller",
        "place": "US-CA",
        "rule": "all_party",
        "status": "settled",
        "notice": True,
        "requirement": "all_party",
        "source": "Cal. Penal Code §§ 632, 632.7",
        "date": "2026-11-28",
        "because": "configured for the line",
    }


def test_a_country_is_the_strictest_of_its_parts() -> None:
    [found] = call(caller(line="US")).findings
    assert (found.place, found.rule, found.status, found.notice) == ("US", Rule.ALL_PARTY, Status.UNKNOWN, True)
    assert found.source == "the strictest of its parts, US-CA: Cal. Penal Code §§ 632, 632.7"
    assert found.because == "configured for the line; which part of the country is not known"


def test_a_mobile_may_be_anywhere() -> None:
    [anywhere, sweden] = call(caller("+46701234567")).findings
    assert (anywhere.place, anywhere.status, anywhere.rule) == (ANYWHERE, Status.UNKNOWN, Rule.ALL_PARTY)
    assert anywhere.because == "mobile, may be anywhere: taken as the strictest there is"
    assert sweden.because == "a mobile of this country, whose owner may roam"


def test_the_evidence_names_the_tables_and_every_reason() -> None:
    entry = call(caller("anonymous"), agent("SE")).entry()
    assert entry["requirement"] == "all_party"
    assert [(f["role"], f["place"]) for f in entry["findings"]] == [("agent", "SE"), ("caller", UNKNOWN)]  # type: ignore
    assert [table["source"] for table in entry["tables"]] == [  # type: ignore[attr-defined]
        *("us.toml", "ca.toml", "eea.toml", "gb.toml", "ch.toml", "nanp.toml", "phonenumbers")
    ]


def test_equal_findings_of_one_role_count_once() -> None:
    twice = call(agent("SE"), agent("SE"), caller(line="SE"))
    assert [(found.role, found.place) for found in twice.findings] == [("agent", "SE"), ("caller", "SE")]
    assert twice.places == ("SE",)


def test_nobody_is_under_no_law() -> None:
    with pytest.raises(ValueError, match="without parties"):
        call()


def test_who_joins_is_merged_in() -> None:
    before, joined = call(agent("US-TX")), call(Party(role="joined", line="DE"))
    both = merge(before, joined)
    assert both == merge(joined, before) == call(agent("US-TX"), Party(role="joined", line="DE"))
    assert both.requirement is stricter(before.requirement, joined.requirement) is ALL


def test_an_own_row_counts_where_the_party_is() -> None:
    own = b"""version = "1"
disclaimer = "counsel"
[places.IN]
rule = "one_party"
status = "settled"
notice = true
source = "opinion of 2026"
date = 2026-11-28
[places.DE-BY]
rule = "all_party"
status = "settled"
notice = true
source = "opinion of 2026"
date = 2026-11-28
"""
    law = make_law(TABLES, [parse_law(own, "own.toml")])
    assert call(caller(line="IN"), law=law).requirement is NOTICE
    assert call(caller(line="DE-BY"), law=law).places == ("DE", "DE-BY")
    [found] = call(caller(line="DE"), law=law).findings
    assert found.because == "configured for the line; which part of the country is not known"


def test_a_party_does_not_show_its_number() -> None:
    assert "512" not in repr(caller(TEXAS))


PLACES = ["", "US", "US-TX", "US-CA", "US-MI", "CA", "CA-QC", "SE", "DE", "GB", "JE", "IN", "DE-BY", "nowhere", "FR-75"]
NUMBERS = st.one_of(
    st.sampled_from(["", "anonymous", "sip:bob@example.org", TEXAS, NEW_YORK, CALIFORNIA, ONTARIO, JAMAICA]),
    st.sampled_from(["+493012345678", "+4612345678", "+46701234567", "+442071234567", "+447797123456", "+18005550100"]),
    st.from_regex(r"(\+|00|011|0|)[0-9]{4,13}", fullmatch=True),
    st.from_regex(r"(\+1|1|)[2-9][0-9]{2}[2-9][0-9]{6}", fullmatch=True),
    st.text(max_size=20),
)
PARTIES = st.builds(
    Party,
    role=st.sampled_from(["caller", "called", "agent"]),
    number=NUMBERS,
    override=st.sampled_from(PLACES),
    override_trusted=st.booleans(),
    line=st.sampled_from(["", "", *PLACES]),
    trunk=st.sampled_from(["", "", *PLACES]),
)
SOME = st.lists(PARTIES, min_size=1, max_size=4)
HOMES = st.sampled_from(["", "US-TX", "SE", "DE", "ES"])
BELIEF = st.sampled_from(AreaCodes)


@given(SOME, PARTIES, HOMES, BELIEF)
def test_one_party_more_never_loosens(parties: list[Party], more: Party, home: str, area_codes: AreaCodes) -> None:
    before = call(*parties, home=home, area_codes=area_codes)
    after = call(*parties, more, home=home, area_codes=area_codes)
    assert after.requirement >= before.requirement
    assert set(after.findings) >= set(before.findings)


@given(SOME, HOMES, BELIEF, st.lists(st.sampled_from(sorted(LAW.rows)), min_size=1, max_size=5, unique=True), st.data())
def test_a_stricter_row_never_loosens(
    parties: list[Party], home: str, area_codes: AreaCodes, places: list[str], data: st.DataObject
) -> None:
    changes = [{"rule": Rule.ALL_PARTY}, {"status": Status.UNKNOWN}, {"strictest": Rule.ALL_PARTY}, {"notice": True}]
    rows = dict(LAW.rows)
    for place in places:
        rows[place] = replace(rows[place], **data.draw(st.sampled_from(changes)))  # type: ignore[arg-type]
    stern = Law(MappingProxyType(rows), LAW.tables)
    before = call(*parties, home=home, area_codes=area_codes)
    assert call(*parties, law=stern, home=home, area_codes=area_codes).requirement >= before.requirement


@given(SOME, HOMES, BELIEF, st.randoms(use_true_random=False))
def test_the_order_of_the_parties_does_not_count(parties, home, area_codes, random) -> None:
    shuffled = parties.copy()
    random.shuffle(shuffled)
    assert call(*parties, home=home, area_codes=area_codes) == call(*shuffled, home=home, area_codes=area_codes)


@given(SOME, HOMES)
def test_more_belief_is_never_stricter(parties: list[Party], home: str) -> None:
    hint, country, trust = (call(*parties, home=home, area_codes=belief).requirement for belief in AreaCodes)
    assert hint >= country >= trust


@given(PARTIES, HOMES, BELIEF)
def test_a_header_that_is_not_trusted_never_loosens(party: Party, home: str, area_codes: AreaCodes) -> None:
    with_header = call(replace(party, override_trusted=False), home=home, area_codes=area_codes)
    without = call(replace(party, override=""), home=home, area_codes=area_codes)
    assert set(with_header.findings) >= set(without.findings)


@given(SOME, HOMES, BELIEF, st.text(max_size=30))
def test_no_reason_has_a_digit_of_a_number(parties: list[Party], home: str, area_codes: AreaCodes, header: str) -> None:
    hostile = [replace(party, override=party.number if party.override_trusted else header) for party in parties]
    for found in call(*parties, *hostile, home=home, area_codes=area_codes).findings:
        assert not any(char.isdigit() for char in found.because)
        assert found.place in (UNKNOWN, ANYWHERE) or re.fullmatch("[A-Z]{2}(-[A-Z]{2,3})?", found.place)
        for party in parties:
            assert len(party.number) < 4 or party.number.strip() not in found.source


@given(SOME, HOMES, BELIEF)
def test_the_requirement_is_that_of_the_strictest_finding(
    parties: list[Party], home: str, area_codes: AreaCodes
) -> None:
    found = call(*parties, home=home, area_codes=area_codes)
    assert found.requirement is max(one.requirement for one in found.findings)
    assert {one.role for one in found.findings} == {party.role for party in parties}
    assert found == merge(*(call(party, home=home, area_codes=area_codes) for party in parties))
    for one in found.findings:
        assert one.status is Status.SETTLED or one.place == "CA" or one.requirement is ALL
