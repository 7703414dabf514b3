"""What becomes of a policy by the places of a call: forty calls as counsel would read them, and what never happens."""

from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.rules import MAY_OBJECT, Basis, Joining, Rules
from gateway.policy.book import parse_policy
from gateway.policy.decide import Places, Whereabouts, tightened, tightened_for_who_joins
from gateway.policy.errors import PolicyError
from gateway.policy.jurisdiction import AreaCodes, Resolution
from gateway.policy.law import Requirement
from gateway.policy.model import JurisdictionTable, Minima, PolicyFile
from tests.unit.policy.places import LAW, NUMBERING

PLACES = Places(LAW, NUMBERING)
MINIMA = Minima(3_000, 3_000)


def policy(jurisdiction: str, top: str = 'basis = "legitimate_interests"\njustification = "file 7"') -> PolicyFile:
    text = f'name = "a"\nversion = "1"\n{top}\n[jurisdiction]\n{jurisdiction}'
    return parse_policy(text.encode(), "a.toml").file


GERMAN = policy('home = "DE"')
BRITISH = policy('home = "GB"')
BELIEVING = policy('home = "GB"\narea_codes = "country"')
TEXAN = policy('home = "US-TX"\narea_codes = "trust"')
CAUTIOUS_TEXAN = policy('home = "US-TX"')
ONTARIAN = policy('home = "CA-ON"\narea_codes = "trust"')
SILENT = policy(
    'home = "US-TX"\narea_codes = "trust"',
    'basis = "legitimate_interests"\njustification = "file 7"\nannounce = false',
)
MIFID = policy(
    'home = "DE"\nall_party = "announce"\njustification = "WpHG 83"',
    'basis = "legal_obligation"\njustification = "WpHG 83"\nfail_mode = "refuse_call"',
)
CONSENT = policy('home = "US-TX"\narea_codes = "trust"', "")
LINES = policy(
    'home = "US-TX"\narea_codes = "trust"\n'
    '[jurisdiction.lines]\n"sales-ca" = "US-CA"\n"+1415*" = "US-CA"\n"support" = "US-NY"\n'
    '[jurisdiction.trunks]\n"dallas*" = "US-TX"\n"berlin" = "DE"'
)

TEXAS, CALIFORNIA, NEW_YORK, TORONTO = "+15125550100", "+14155550100", "+12125550100", "+14165550100"
LONDON, BERLIN, ZURICH, STOCKHOLM = "+442079460000", "+493012345678", "+41442345678", "+468123456"
BRITISH_MOBILE, FREEPHONE = "+447700900123", "+18005550100"


class Row(NamedTuple):
    """A call as it was seen, and what must become of it."""

    file: PolicyFile
    caller: str
    outcome: str
    need: str
    line: str = "100"
    trunk: str = ""
    place: str = ""
    trusted: bool = False


ASK, TELL, SAY_NOTHING = "ask", "tell", "say nothing"
CALLS = [
    # agents in Germany: everybody must agree there, wherever the caller is
    Row(GERMAN, BERLIN, ASK, "all_party"),
    Row(GERMAN, LONDON, ASK, "all_party"),
    Row(GERMAN, TEXAS, ASK, "all_party"),
    Row(GERMAN, "anonymous", ASK, "all_party"),
    Row(GERMAN, LONDON, ASK, "all_party", place="GB", trusted=True),
    # agents in the United Kingdom: people must be told, unless the caller is somewhere stricter
    Row(BRITISH, LONDON, TELL, "notice"),
    Row(BRITISH, "02079460000", TELL, "notice"),
    Row(BRITISH, BERLIN, ASK, "all_party"),
    Row(BRITISH, ZURICH, ASK, "all_party"),
    Row(BRITISH, TORONTO, ASK, "all_party"),
    Row(BRITISH, BRITISH_MOBILE, ASK, "all_party"),
    Row(BRITISH, "", ASK, "all_party"),
    Row(BRITISH, "sip:alice@example.com", ASK, "all_party"),
    Row(BRITISH, LONDON, ASK, "all_party", place="CH"),
    Row(BRITISH, ZURICH, ASK, "all_party", place="GB"),
    Row(BRITISH, ZURICH, TELL, "notice", place="GB", trusted=True),
    Row(BRITISH, "anonymous", TELL, "notice", place="GB", trusted=True),
    Row(BRITISH, LONDON, ASK, "all_party", place="Britain", trusted=True),
    Row(BRITISH, LONDON, ASK, "all_party", place="IN", trusted=True),
    Row(BELIEVING, BRITISH_MOBILE, ASK, "all_party"),
    Row(BELIEVING, LONDON, TELL, "notice"),
    # agents in Texas, area codes trusted: one side may record, and a policy that tells goes on telling
    Row(TEXAN, TEXAS, TELL, "one_party"),
    Row(TEXAN, NEW_YORK, TELL, "one_party"),
    Row(TEXAN, CALIFORNIA, ASK, "all_party"),
    Row(TEXAN, TORONTO, TELL, "notice"),
    Row(TEXAN, FREEPHONE, ASK, "all_party"),
    Row(TEXAN, BERLIN, ASK, "all_party"),
    Row(TEXAN, TEXAS, ASK, "all_party", place="US", trusted=True),
    Row(CAUTIOUS_TEXAN, TEXAS, ASK, "all_party"),
    Row(CAUTIOUS_TEXAN, TEXAS, TELL, "one_party", place="US-TX", trusted=True),
    Row(ONTARIAN, TORONTO, TELL, "notice"),
    # a policy that tells nobody is made to tell where people must know, and to ask where they must agree
    Row(SILENT, TEXAS, SAY_NOTHING, "one_party"),
    Row(SILENT, TORONTO, TELL, "notice"),
    Row(SILENT, CALIFORNIA, ASK, "all_party"),
    # a duty to record, with an opinion that the announcement is enough
    Row(MIFID, BERLIN, TELL, "all_party"),
    Row(MIFID, "anonymous", TELL, "all_party"),
    # consent is as strict as any of them
    Row(CONSENT, TEXAS, ASK, "one_party"),
    Row(CONSENT, CALIFORNIA, ASK, "all_party"),
    # lines and trunks with places of their own
    Row(LINES, TEXAS, TELL, "one_party"),
    Row(LINES, TEXAS, ASK, "all_party", line="sales-ca"),
    Row(LINES, TEXAS, ASK, "all_party", line="+14155550111"),
    Row(LINES, TEXAS, TELL, "one_party", line="support"),
    Row(LINES, "anonymous", TELL, "one_party", trunk="dallas-2"),
    Row(LINES, TEXAS, ASK, "all_party", trunk="berlin"),
    Row(LINES, TEXAS, TELL, "one_party", trunk="of-another-name"),
]


def decided(file: PolicyFile, known: Whereabouts) -> tuple[Rules, Resolution, tuple[str, ...]]:
    assert file.jurisdiction is not None
    found = PLACES.of_call(file.jurisdiction, known)
    rules, reasons = tightened(file.rules("sha", MINIMA), file.jurisdiction, found)
    return rules, found, reasons


def outcome(rules: Rules) -> str:
    return ASK if rules.ask else TELL if rules.announce else SAY_NOTHING


@pytest.mark.parametrize("row", CALLS, ids=lambda row: f"{CALLS.index(row)}")
def test_a_call_is_decided_as_counsel_would(row: Row) -> None:
    known = Whereabouts(caller=row.caller, line=row.line, trunk=row.trunk, place=row.place, trusted=row.trusted)
    rules, found, reasons = decided(row.file, known)
    assert (outcome(rules), found.requirement.label) == (row.outcome, row.need)
    assert rules.basis is (Basis.CONSENT if rules.ask else row.file.basis)
    assert rules.may_withdraw is (rules.basis in MAY_OBJECT)
    assert reasons[0].startswith("law: ")
    digits = row.caller.lstrip("+")
    assert not digits.isdigit() or all(digits[-4:] not in reason for reason in reasons), "a number is in a reason"


def test_there_are_forty_calls_and_more() -> None:
    assert len(CALLS) >= 40


def test_what_is_known_of_a_call_does_not_show_its_numbers() -> None:
    assert "512" not in repr(Whereabouts(caller=TEXAS, line=TEXAS))


def test_where_everybody_must_agree_nobody_joins_by_being_told() -> None:
    rules, _, _ = decided(GERMAN, Whereabouts(caller=BERLIN, line="1"))
    assert (rules.joining, rules.joining_basis) == (Joining.ASK, Basis.CONSENT)
    assert "everybody must agree" in rules.joining_reason
    rules, _, _ = decided(TEXAN, Whereabouts(caller=TEXAS, line="1"))
    assert rules.joining is Joining.ANNOUNCE


@pytest.mark.parametrize(
    ("asked", "joins_from", "all_party", "covered"),
    [
        (False, CALIFORNIA, "ask", False),
        (False, TEXAS, "ask", True),
        (True, CALIFORNIA, "ask", True),
        (False, CALIFORNIA, "announce", True),
    ],
    ids=["told only", "told where that is enough", "asked", "told, by an opinion"],
)
def test_who_joins_from_where_everybody_must_agree_is_kept_out_of_a_call_whose_caller_was_told_only(
    asked: bool, joins_from: str, all_party: str, covered: bool
) -> None:
    why = {"justification": "an opinion"} if all_party == "announce" else {}
    table = JurisdictionTable.model_validate({"home": "US-TX", "area_codes": "trust", "all_party": all_party, **why})
    call = replace(Rules(), ask=asked, announce=not asked, basis=Basis.CONSENT if asked else Basis.CONTRACT)
    found = PLACES.of_who_joins(table, Whereabouts(caller=joins_from, line="1"))
    rules, reasons = tightened_for_who_joins(call, table, found)
    assert ("recording" in rules.purposes) is covered
    assert ("nothing is recorded meanwhile" in reasons[-1]) is not covered
    assert covered or not (rules.ask or rules.announce), "no answer of his would be enough: he is spared the question"


def test_the_opinion_an_announcement_rests_on_is_a_reason() -> None:
    _, _, reasons = decided(MIFID, Whereabouts(caller=BERLIN, line="1"))
    assert reasons[-1].endswith("by the policy: WpHG 83")


def test_a_reason_names_three_places_and_counts_the_others() -> None:
    table = JurisdictionTable(home="DE", lines={"*": "AT", "1*": "CH", "?": "DE"}, trunks={"t": "US-CA"})
    found = PLACES.of_call(table, Whereabouts(caller="", line="1", trunk="t"))
    _, reasons = tightened(GERMAN.rules("sha", MINIMA), table, found)
    assert reasons[0].count("(") == 3 and "and 1 more" in reasons[0]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("area_codes = 'hint'", 3, "jurisdiction.home: this key is required"),
        ('home = "Germany"', 4, "jurisdiction.home"),
        ('home = "DE"\nall_party = "announce"', 5, "needs a justification"),
        ('home = "DE"\njustification = "an opinion"', 5, 'all_party = "ask" needs none'),
        ('home = "DE"\narea_codes = "some"', 5, "jurisdiction.area_codes"),
        ('home = "DE"\n[jurisdiction.lines]\n"1" = "Bavaria"', 6, "jurisdiction.lines.1"),
        ('home = "DE"\nplace = "DE"', 5, "unknown key; did you mean one of: all_party, area_codes, home"),
    ],
)
def test_a_wrong_table_says_where_and_what_to_write(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(f'name = "a"\nversion = "1"\n[jurisdiction]\n{text}'.encode(), "a.toml")
    (problem,) = caught.value.problems
    assert problem.line == line and message in problem.message


NUMBERS = st.sampled_from([TEXAS, CALIFORNIA, NEW_YORK, TORONTO, LONDON, BERLIN, STOCKHOLM, BRITISH_MOBILE, "", "200"])
HOMES = st.sampled_from(["DE", "GB", "US-TX", "US-CA", "US", "CH", "IN", "SE"])
TABLES = st.builds(
    JurisdictionTable,
    home=HOMES,
    area_codes=st.sampled_from(AreaCodes),
    lines=st.dictionaries(st.sampled_from(["*", "1*", "200"]), HOMES, max_size=2),
    trunks=st.dictionaries(st.sampled_from(["*", "a"]), HOMES, max_size=1),
)
WHERE = st.builds(
    Whereabouts,
    caller=NUMBERS,
    line=st.sampled_from(["100", "200", ""]),
    trunk=st.sampled_from(["", "a", "b"]),
    place=st.sampled_from(["", "DE", "US-TX", "nowhere"]),
    trusted=st.booleans(),
)
RULES = st.builds(
    lambda way, joining, basis: replace(Rules(), ask=way[0], announce=way[1], joining=joining, basis=basis),
    st.sampled_from([(True, False), (False, True), (False, False)]),
    st.sampled_from(Joining),
    st.sampled_from(Basis),
)
STRICTNESS = {SAY_NOTHING: 0, TELL: 1, ASK: 2}
MUST = {Requirement.ONE_PARTY: 0, Requirement.NOTICE: 1, Requirement.ALL_PARTY: 2}


@settings(max_examples=300)
@given(rules=RULES, table=TABLES, known=WHERE)
def test_the_law_never_loosens_a_policy_and_is_always_kept(
    rules: Rules, table: JurisdictionTable, known: Whereabouts
) -> None:
    found = PLACES.of_call(table, known)
    after, _ = tightened(rules, table, found)
    assert STRICTNESS[outcome(after)] == max(STRICTNESS[outcome(rules)], MUST[found.requirement])
    assert after.joining is rules.joining or (rules.joining, after.joining) == (Joining.ANNOUNCE, Joining.ASK)
    told = tightened(rules, table.model_copy(update={"all_party": "announce", "justification": "x"}), found)[0]
    assert STRICTNESS[outcome(told)] == max(STRICTNESS[outcome(rules)], min(1, MUST[found.requirement]))
