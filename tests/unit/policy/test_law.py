"""The tables of law: which places are in them, what a row comes to, and what a malformed table is told."""

import datetime
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.book import parse_policy
from gateway.policy.errors import PolicyError, Problem
from gateway.policy.law import LAW_FILES, LawTable, Requirement, Rule, Status, law_warnings, make_law, parse_law
from tests.unit.policy.places import FOLDER, LAW, TABLES

STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC "
    "ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR GU VI AS MP"
)
EEA = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO"
PROVINCES = "AB BC MB NB NL NS NT NU ON PE QC SK YT"
EVERY = [
    "US",
    *(f"US-{state}" for state in STATES.split()),
    "CA",
    *(f"CA-{province}" for province in PROVINCES.split()),
    *EEA.split(),
    *("GB", "JE", "GG", "IM", "CH"),
]

HEAD = 'version = "1"\ndisclaimer = "none"\n'
ROW = 'rule = "one_party"\nstatus = "settled"\nnotice = false\nsource = "S 1"\ndate = 2026-11-28\n'


def table(place: str = "DE", row: str = ROW, source: str = "own.toml") -> LawTable:
    return parse_law(f"{HEAD}[places.{place}]\n{row}".encode(), source)


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        parse_law(text.encode() if isinstance(text, str) else text, "own.toml")
    return caught.value.problems


def test_every_place_is_there_exactly_once() -> None:
    places = [row.place for table in TABLES for row in table.rows]
    assert sorted(places) == sorted(EVERY)
    assert len(places) == len(set(places)) == 106
    assert list(LAW.rows) == sorted(EVERY)


def test_the_folder_has_no_table_that_is_not_read() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*LAW_FILES, "nanp.toml"}


@pytest.mark.parametrize("row", LAW.rows.values(), ids=list(LAW.rows))
def test_every_row_has_a_source_and_a_date(row) -> None:
    assert len(row.source) > 5
    assert datetime.date(2026, 1, 1) <= row.date <= datetime.date(2026, 11, 28)
    if row.status is not Status.SETTLED:
        assert row.requirement is Requirement.ALL_PARTY
    if row.status is Status.CONTESTED:
        assert row.note
    if row.place in EEA.split():
        assert row.notice
        assert "GDPR art. 13" in row.source or row.place == "IS"


def test_the_tables_say_that_they_are_no_advice() -> None:
    for name in LAW_FILES:
        assert (
            "no legal advice" in (FOLDER / name).read_text(encoding="utf-8").split("disclaimer = ")[1].splitlines()[0]
        )


@pytest.mark.parametrize("state", ["CA", "FL", "IL", "MD", "MA", "MT", "NV", "NH", "PA", "WA"])
def test_the_settled_all_party_states(state: str) -> None:
    row = LAW.rows[f"US-{state}"]
    assert (row.rule, row.status) == (Rule.ALL_PARTY, Status.SETTLED)


@pytest.mark.parametrize("state", ["CT", "DE", "MI", "OR", "VT", "PR"])
def test_the_contested_states_count_as_all_party(state: str) -> None:
    row = LAW.rows[f"US-{state}"]
    assert (row.status, row.requirement) == (Status.CONTESTED, Requirement.ALL_PARTY)


@pytest.mark.parametrize(
    ("place", "requirement"),
    [
        ("US", Requirement.ONE_PARTY),
        ("US-TX", Requirement.ONE_PARTY),
        ("US-NY", Requirement.ONE_PARTY),
        ("US-GU", Requirement.ALL_PARTY),
        ("DE", Requirement.ALL_PARTY),
        ("AT", Requirement.ALL_PARTY),
        ("CH", Requirement.ALL_PARTY),
        ("FR", Requirement.ALL_PARTY),
        ("SE", Requirement.NOTICE),
        ("DK", Requirement.NOTICE),
        ("GB", Requirement.NOTICE),
        ("JE", Requirement.ALL_PARTY),
        ("MT", Requirement.ALL_PARTY),
        ("CA", Requirement.NOTICE),
        ("CA-QC", Requirement.NOTICE),
    ],
)
def test_what_a_row_comes_to(place: str, requirement: Requirement) -> None:
    assert LAW.rows[place].requirement is requirement


def test_entries_are_for_machines() -> None:
    entries = LAW.entries()
    assert len(entries) == 106
    assert all({"place", "rule", "status", "source", "date", "because"} <= set(entry) for entry in entries)
    by_place = {entry["place"]: entry for entry in entries}
    assert by_place["US-CA"] == {
        "place": "US-CA",
        "rule": "all_party",
        "status": "settled",
        "requirement": "all_party",
        "notice": True,
        "source": "Cal. Penal Code §§ 632, 632.7",
        "date": "2026-11-28",
        "because": "everybody must agree or know. "
        "§ 632.7 covers cordless and cellular calls whether or not the conversation is confidential.",
    }
    assert str(by_place["MT"]["because"]).startswith("unknown, so the strictest reading counts: ")
    assert by_place["US-TX"]["because"] == "one side may record"


def test_tables_are_named_with_their_hash() -> None:
    for found, name in zip(TABLES, LAW_FILES, strict=True):
        assert found.id.source == name
        assert found.id.version == "2026-11-28"
        assert found.id.sha256 == hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    assert LAW.tables == tuple(found.id for found in TABLES)
    assert LAW.date == datetime.date(2026, 11, 28)


WRONG = [
    ("rule = 1\n" + ROW.partition("\n")[2], 4, "places.DE.rule: "),
    (ROW.replace("one_party", "two_party"), 4, "places.DE.rule: Input should be 'one_party' or 'all_party'"),
    (ROW.replace("settled", "sure"), 5, "places.DE.status: "),
    (ROW.replace("false", '"no"'), 6, "places.DE.notice: "),
    (ROW.replace('"S 1"', '""'), 7, "places.DE.source: "),
    (ROW.replace('"S 1"', '"a\\u0007b"'), 7, "places.DE.source: "),
    (ROW.replace("2026-11-28", '"2026-11-28"'), 8, "places.DE.date: write a date without quotes"),
    (ROW.replace("2026-11-28", "2026-11-28T10:00:00"), 8, "places.DE.date: "),
    (ROW.replace('source = "S 1"\n', ""), 3, "places.DE.source: this key is required"),
    (ROW + "sauce = 1\n", 9, "places.DE.sauce: unknown key"),
    (ROW + 'strictest = "all_party"\n', 9, "places.DE.strictest: only a row with status"),
    (
        ROW.replace("one_party", "all_party").replace("settled", "contested") + 'strictest = "one_party"\n',
        9,
        "places.DE.strictest: strictest is looser than rule",
    ),
    (ROW.replace("settled", "unknown"), 4, "places.DE.rule: what is unknown counts as the strictest"),
]


@pytest.mark.parametrize(("row", "line", "message"), WRONG)
def test_a_malformed_row_is_told_where_and_what(row: str, line: int, message: str) -> None:
    found = problems(f"{HEAD}[places.DE]\n{row}")
    assert [(problem.source, problem.line) for problem in found] == [("own.toml", line)]
    assert found[0].message.startswith(message)
    assert str(found[0]).startswith(f"own.toml:{line}: error: ")


def test_a_malformed_file_is_told_where_and_what() -> None:
    assert problems(b"version = '\xff'")[0] == Problem("own.toml", 1, "not UTF-8: save the file as UTF-8")
    assert problems(HEAD + "[places\n")[0].line == 3
    assert problems(HEAD + "[places.DE]\n" + ROW + "[places.DE]\n" + ROW)[0].message.startswith("not TOML: ")
    assert {problem.message for problem in problems("")} == {
        f"{key}: this key is required" for key in ("version", "disclaimer", "places")
    }
    assert "at least 1 item" in problems(HEAD + "places = {}\n")[0].message
    [lower] = problems(f"{HEAD}[places.Germany]\n{ROW}")
    assert (lower.line, lower.message) == (
        3,
        'places.Germany: not a place: write ISO 3166 codes such as "DE" or "US-CA"',
    )


def test_every_problem_is_told_in_the_order_of_the_lines() -> None:
    found = problems(f"{HEAD}[places.DE]\nrule = 1\nstatus = 2\nnotice = 3\nsource = 4\ndate = 5\n")
    assert [problem.line for problem in found] == [4, 5, 6, 7, 8]


def test_contested_counts_as_written() -> None:
    contested = ROW.replace("settled", "contested")
    [assumed] = table(row=contested).rows
    [written] = table(row=contested + 'strictest = "one_party"\n').rows
    assert (assumed.rule, assumed.requirement) == (Rule.ONE_PARTY, Requirement.ALL_PARTY)
    assert written.requirement is Requirement.ONE_PARTY


def test_an_own_row_takes_the_place_of_the_shipped_one() -> None:
    law = make_law(TABLES, [table("DE"), table("JP", source="japan.toml")])
    assert law.rows["DE"].requirement is Requirement.ONE_PARTY
    assert law.rows["JP"].requirement is Requirement.ONE_PARTY
    assert len(law.rows) == 107
    assert [found.source for found in law.tables[-2:]] == ["own.toml", "japan.toml"]
    assert LAW.rows["DE"].requirement is Requirement.ALL_PARTY


def test_two_rows_of_a_kind_for_one_place_are_refused() -> None:
    with pytest.raises(PolicyError) as caught:
        make_law(TABLES, [table("DE"), table("DE", source="second.toml")])
    assert caught.value.problems == [
        Problem("second.toml", 0, "places.DE: has a row in own.toml already: leave one of them out")
    ]
    with pytest.raises(PolicyError, match="no table of law"):
        make_law([])


def test_an_own_row_that_asks_for_less_is_warned_of() -> None:
    strict = table("SE", ROW.replace("one_party", "all_party"))
    [warning] = law_warnings(TABLES, [table("DE"), table("JP", source="japan.toml"), strict])
    assert warning.severity == "warning"
    assert warning.message.startswith("places.DE: asks for one_party where the shipped row asks for all_party")


@given(st.sampled_from(sorted(LAW.rows)), st.sampled_from(Rule), st.sampled_from(Status), st.booleans())
def test_no_field_made_stricter_makes_a_row_looser(place: str, rule: Rule, status: Status, notice: bool) -> None:
    row = replace(LAW.rows[place], rule=rule, status=status, notice=notice)
    for changed in (
        replace(row, rule=Rule.ALL_PARTY),
        replace(row, strictest=Rule.ALL_PARTY),
        replace(row, notice=True),
        replace(row, status=Status.UNKNOWN),
    ):
        assert changed.requirement >= row.requirement


def test_the_example_in_the_documentation_is_a_table() -> None:
    document = Path(__file__).parents[3] / "docs" / "jurisdictions.md"
    policy, example = re.findall(r"```toml\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    [row] = parse_law(example.encode(), "example").rows
    assert (row.place, row.requirement) == ("DE", Requirement.ALL_PARTY)
    head = 'name = "a"\nversion = "1"\nbasis = "contract"\njustification = "terms 4"\n'
    table = parse_policy((head + policy).encode(), "example").file.jurisdiction
    assert table is not None and (table.home, table.lines) == ("US-TX", {"sales-ca": "US-CA"})
