"""The policies in plain words."""

from pathlib import Path

import pytest

from gateway.adapters.config.policies import load_book
from gateway.adapters.config.settings import ROOT
from gateway.policy.book import Book, make_book, parse_policy
from gateway.policy.plain import ROLES, WIDTH, plain_text

HEAD = 'name = "a"\nversion = "1"\n'


def book(*policies: str) -> Book:
    return make_book([parse_policy(text.encode(), "p.toml") for text in policies])


def says(text: str, role: str = "agent") -> str:
    """The text on one line."""
    return " ".join(plain_text(book(HEAD + text), role).text.split())


CASES = [
    ("", "It is for every call."),
    ("", "because the person on the line has agreed to it"),
    ("", "1 means yes, 2 means no. Silence means no."),
    ("", "takes his yes back with *9, and agrees anew with *1"),
    ("", "*71 pauses the recording, *72 lets it go on."),
    ("", "A pause longer than 3 min stays a pause, and is raised as an alarm."),
    ('pause.at_limit = "resume"\npause.limit_ms = 90_000', "A pause longer than 1 min 30 s ends by itself."),
    ('ask.accept_keys = ["1", "5"]', "1 or 5 means yes"),
    ("ask.by_voice = true", "He may also answer by voice."),
    ('codes.private = "*70"', "*70 makes the call your own affair"),
    ('codes.private = "*70"', "and make a call a private one."),
    ('fail_mode = "refuse_call"', "or cannot be, is not connected."),
    ('joining.what = "keep_out"', "While somebody from outside is there who joined later, nothing is recorded."),
    ('purposes = ["recording", "analysis", "sharing"]', "also about analysis and sharing."),
    ('purposes = ["analysis"]', "Nothing is recorded; what is asked or told is about analysis."),
    ('basis = "legal_obligation"\njustification = "MiFID II"', "because a law orders it (MiFID II)."),
    ('basis = "legitimate_interests"\njustification = "LIA 7"', "He may object in the call with *9"),
    ('basis = "contract"\njustification = "c"\nannounce = false', "neither asked nor told by the system"),
    ('basis = "contract"\njustification = "c"\njurisdiction.home = "DE"', "Where the law of his place wants more"),
    ('[[authority]]\nmay = ["resume"]', "You may not pause the recording."),
    ('[[authority]]\nmay = ["pause"]\nroles = ["officer"]', "You may do nothing about a recording."),
    (
        '[[authority]]\nmay = ["pause", "resume"]\nkinds = ["employee", "contractor"]\nlines = ["desk-*"]\n'
        'bases = ["legal_obligation"]\n[[authority.times]]\nzone = "Europe/Berlin"\ndays = ["mon", "wed"]\n',
        "You may, if you are of the employees or of the contractors, on desk-*, where the basis is legal obligation, "
        "mon and wed (Europe/Berlin), pause the recording; and let a paused recording go on.",
    ),
    ('education.until_acknowledged_not = ["resume"]', "Until you have acknowledged this text you may not let a paused"),
]


@pytest.mark.parametrize(("text", "sentence"), CASES)
def test_what_a_policy_says_is_said_in_words(text: str, sentence: str) -> None:
    assert sentence in says(text)


def test_each_role_reads_what_is_its_own() -> None:
    agent, supervisor, officer = (says("", role) for role in ROLES)
    assert "destroy recordings" in supervisor and "destroy recordings" in officer and "destroy" not in agent
    assert "*71" in agent and "*71" not in supervisor
    assert "pause the recording" in supervisor and "pause the recording" not in officer


def test_the_general_policy_stands_before_those_that_name_calls() -> None:
    text = plain_text(
        book(HEAD, 'name = "0-desk"\nversion = "2"\nmatch.called = ["49*", "1?"]\nmatch.trunks = ["t"]\n'), "agent"
    ).text
    assert text.index('Policy "a", version 1') < text.index('Policy "0-desk", version 2')
    assert "It is for every call that no other policy names." in text
    assert "It is for calls to 49* or 1?, by the trunk t." in text


def test_a_change_that_people_notice_is_a_new_text_and_no_other() -> None:
    before = plain_text(book(HEAD), "agent")
    assert plain_text(book(HEAD + "# a remark\n"), "agent") == before
    assert plain_text(book(HEAD + "ask.attempts = 3"), "agent").sha256 == before.sha256
    assert plain_text(book(HEAD + 'codes.pause = "*75"'), "agent").sha256 != before.sha256
    assert plain_text(book(HEAD + 'codes.pause = "*75"'), "officer").sha256 == plain_text(book(HEAD), "officer").sha256


@pytest.mark.parametrize("role", ROLES)
def test_the_examples_can_be_read(role: str) -> None:
    text = plain_text(load_book(ROOT / "docs" / "examples" / "policies"), role).text
    assert text.endswith(".\n") and not text.startswith("\n") and "  - " not in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count('Policy "') == 5


def test_a_role_without_a_text_is_told() -> None:
    with pytest.raises(ValueError, match="the roles are agent, supervisor, officer"):
        plain_text(load_book(Path(ROOT / "docs" / "examples" / "policies")), "viewer")
