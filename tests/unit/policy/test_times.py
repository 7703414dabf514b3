"""Which policy a call lives by, by line, trunk and the hours of the week."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.book import Occasion, Policy, make_book, parse_policy
from gateway.policy.errors import PolicyError
from gateway.policy.times import WEEK, Times

BERLIN = ZoneInfo("Europe/Berlin")


def policy(match: str, name: str = "p") -> Policy:
    return parse_policy(f'name = "{name}"\nversion = "1"\n[match]\n{match}\n'.encode(), f"{name}.toml")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOON = at("2026-11-30T12:00Z")


@pytest.mark.parametrize(
    ("match", "line", "trunk", "matches"),
    [
        ('lines = ["sales"]', "sales", "", True),
        ('lines = ["sales*"]', "sales-2", "", True),
        ('lines = ["sales"]', "support", "", False),
        ('lines = ["4930*"]', "", "", True),
        ('lines = ["4930*"]', "sales", "", False),
        ('trunks = ["dallas?"]', "", "dallas1", True),
        ('trunks = ["dallas?"]', "", "", False),
        ('trunks = ["*"]', "", "", True),
        ('called = ["4930*"]\nlines = ["sales"]', "sales", "", True),
        ('called = ["33*"]\nlines = ["sales"]', "sales", "", False),
        ('called = ["4930*"]\nlines = ["sales"]\ntrunks = ["t"]', "sales", "u", False),
    ],
)
def test_every_list_must_have_something_for_the_call(match: str, line: str, trunk: str, matches: bool) -> None:
    assert policy(match).matches(Occasion(called="4930123", at=NOON, line=line, trunk=trunk)) is matches


OFFICE = 'times = [{ zone = "Europe/Berlin", days = ["mon", "fri"], start = "08:00", end = "18:00" }]'
NIGHT = 'times = [{ zone = "Europe/Berlin", days = ["fri"], start = "22:00", end = "06:00" }]'
TWO = f"{OFFICE[:-1]}, {{ zone = 'Asia/Tokyo', days = ['sun'] }}]"


@pytest.mark.parametrize(
    ("match", "when", "matches"),
    [
        # 2026-11-27 is a Friday; Berlin is one hour ahead of UTC in winter
        (OFFICE, "2026-11-27T06:59Z", False),
        (OFFICE, "2026-11-27T07:00Z", True),
        (OFFICE, "2026-11-27T16:59:59Z", True),
        (OFFICE, "2026-11-27T17:00Z", False),
        (OFFICE, "2026-11-26T12:00Z", False),
        (OFFICE, "2026-11-27T07:30-01:00", True),
        # and two hours in summer: 2026-07-03 is a Friday
        (OFFICE, "2026-07-03T06:00Z", True),
        (OFFICE, "2026-07-03T16:00Z", False),
        # the night of Friday goes on into Saturday, that of Thursday is not meant
        (NIGHT, "2026-11-27T21:00Z", True),
        (NIGHT, "2026-11-28T04:59Z", True),
        (NIGHT, "2026-11-28T05:00Z", False),
        (NIGHT, "2026-11-27T04:59Z", False),
        (NIGHT, "2026-11-28T22:00Z", False),
        # Sunday in Tokyo begins on Saturday afternoon here
        (TWO, "2026-11-28T15:00Z", True),
        (TWO, "2026-11-29T15:00Z", False),
        (TWO, "2026-11-27T12:00Z", True),
        # on the night the clocks go back the hour from 02:00 is there twice
        ('times = [{ zone = "Europe/Berlin", start = "02:00", end = "03:00" }]', "2026-10-25T00:30Z", True),
        ('times = [{ zone = "Europe/Berlin", start = "02:00", end = "03:00" }]', "2026-10-25T01:30Z", True),
        ('times = [{ zone = "Europe/Berlin", start = "02:00", end = "03:00" }]', "2026-10-25T02:00Z", False),
    ],
)
def test_hours_are_those_of_the_clock_on_the_wall(match: str, when: str, matches: bool) -> None:
    assert policy(match).matches(Occasion(called="1", at=at(when))) is matches


@given(
    start=st.integers(0, 1_439),
    end=st.integers(0, 1_440),
    days=st.lists(st.sampled_from(WEEK), min_size=1, max_size=7, unique=True),
    minute=st.integers(0, 10_079),
)
def test_a_week_is_covered_minute_by_minute(start: int, end: int, days: list[str], minute: int) -> None:
    """Against the plain list of all minutes that are meant, counted from Monday's midnight."""
    if start == end:
        return
    text = [f"{m // 60:02}:{m % 60:02}" for m in (start, end)]
    times = Times.model_validate({"zone": "UTC", "days": days, "start": text[0], "end": text[1]})
    length = end - start if start < end else end - start + 1_440
    meant = {(WEEK.index(day) * 1_440 + start + n) % 10_080 for day in times.days for n in range(length)}
    assert times.covers(at("2026-11-30T00:00Z") + timedelta(minutes=minute)) is (minute in meant)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="of no place"):
        Times(zone="Europe/Berlin").covers(datetime(2026, 11, 30, 12))  # noqa: DTZ001


def test_a_policy_of_hours_counts_before_the_general_one_in_them_and_only_in_them() -> None:
    duty = parse_policy(
        f'name = "desk"\nversion = "1"\nbasis = "legal_obligation"\njustification = "j"\n[match]\n{OFFICE}'.encode(),
        "d",
    )
    book = make_book([duty, parse_policy(b'name = "general"\nversion = "1"', "g")])
    inside, outside = (Occasion(called="1", at=at(when)) for when in ("2026-11-27T12:00Z", "2026-11-27T19:00Z"))
    assert book.choose(inside).policy is duty
    assert book.choose(outside).policy.file.name == "general"
    assert book.choose(inside).reasons[0] == "the call is named by 1 of the 1 policies with [match]"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[[match.times]]\nzone = "Berlin"', 4, "match.times.0.zone: no time zone is called so: write an IANA name"),
        ('[[match.times]]\nzone = "../etc/passwd"', 4, "match.times.0.zone: no time zone"),
        ("[[match.times]]\ndays = ['mon']", 3, "match.times.0.zone: this key is required"),
        ('[[match.times]]\nzone = "UTC"\nstart = "8:00"', 5, "match.times.0.start"),
        ('[[match.times]]\nzone = "UTC"\nstart = 08:00:00', 5, "match.times.0.start"),
        ('[[match.times]]\nzone = "UTC"\nstart = "08:00"\nend = "08:00"', 6, "start and end are the same"),
        ('[[match.times]]\nzone = "UTC"\nstart = "24:00"', 5, "nothing starts at 24:00"),
        ('[[match.times]]\nzone = "UTC"\ndays = ["monday"]', 5, "match.times.0.days.0"),
        ('[[match.times]]\nzone = "UTC"\ndays = []', 5, "match.times.0.days"),
        (
            '[[match.times]]\nzone = "UTC"\n[[match.times]]\nzone = "UTC"\nfrom = "1"',
            7,
            "did you mean one of: days, end",
        ),
    ],
)
def test_wrong_hours_say_where_and_what_to_write(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(f'name = "a"\nversion = "1"\n{text}'.encode(), "a.toml")
    problem = caught.value.problems[0]
    assert (problem.line, message in problem.message) == (line, True), str(problem)
