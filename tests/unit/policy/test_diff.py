"""What a change of policies means for sample calls, and the example policies that ship."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.config.policies import load_book, prompt_problems
from gateway.adapters.config.shelf import open_policies
from gateway.adapters.prompts.library import load_prompts
from gateway.domain.rules import Basis, FailMode, Rules
from gateway.policy.authority import Act, Actor, Circumstances
from gateway.policy.book import Book, Occasion, make_book, parse_policy
from gateway.policy.diff import CALLERS, MOST_SAMPLES, Sample, changes, read_samples, samples_of
from gateway.policy.errors import PolicyError
from gateway.ports.policy import CallFacts, Decision

NOW = datetime.fromisoformat("2026-11-28T10:00+01:00")
ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples" / "policies"


def book(*texts: str) -> Book:
    heads = (f'name = "p{number}"\nversion = "1"\n{text}' for number, text in enumerate(texts))
    return make_book([parse_policy(head.encode(), "p.toml") for head in heads])


def occasion(sample: Sample) -> Occasion:
    return Occasion(called=sample.called, at=sample.at, line=sample.line, trunk=sample.trunk)


def test_without_patterns_there_is_one_call_now() -> None:
    assert samples_of([book("")], NOW) == [Sample("to any other number", NOW)]


def test_places_bring_a_caller_of_every_kind() -> None:
    samples = samples_of([book(""), book('[jurisdiction]\nhome = "DE"')], NOW)
    assert [sample.caller for sample in samples] == list(CALLERS.values())


PATTERNS = st.lists(st.sampled_from(["4930*", "49??", "*", "1", "desk-*", "+1*"]), max_size=3, unique=True)
HOURS = st.lists(
    st.tuples(st.sampled_from(["mon", "sun"]), st.integers(0, 23), st.integers(0, 23)).filter(lambda h: h[1] != h[2]),
    max_size=2,
)


@settings(max_examples=60)
@given(called=PATTERNS, lines=PATTERNS, trunks=PATTERNS, hours=HOURS)
def test_every_policy_has_a_sample_that_it_is_for(
    called: list[str], lines: list[str], trunks: list[str], hours: list[tuple[str, int, int]]
) -> None:
    times = ", ".join(
        f'{{ zone = "Asia/Tokyo", days = ["{day}"], start = "{start:02}:00", end = "{end:02}:00" }}'
        for day, start, end in hours
    )
    named = book(
        f"[match]\ncalled = {called}\nlines = {lines}\ntrunks = {trunks}\ntimes = [{times}]".replace("'", '"'), ""
    )
    samples = samples_of([named], NOW)
    for policy in named.policies:
        assert any(policy.matches(occasion(sample)) for sample in samples), policy.file.name
    assert len({sample.name for sample in samples}) == len(samples)


def test_there_are_not_more_samples_than_can_be_decided() -> None:
    many = [f'"{number}*"' for number in range(200)]
    wide = book(f"[match]\ncalled = [{', '.join(many)}]\nlines = [{', '.join(many)}]", "")
    assert len(samples_of([wide], NOW)) == MOST_SAMPLES


def test_what_is_another_is_named_as_text() -> None:
    before = replace(Rules(), policy=("a", "1", "x"))
    after = replace(before, ask=False, basis=Basis.CONTRACT, accept_keys=frozenset("52"), policy=("b", "1", "y"))
    assert changes(before, after) == {
        "accept_keys": ("1", "2/5"),
        "ask": ("yes", "no"),
        "basis": ("consent", "contract"),
        "policy": ("a", "b"),
    }
    assert changes(before, replace(before, policy=("a", "2", "z"))) == {}


def test_samples_of_ones_own() -> None:
    text = b"""
[[call]]
name = "the desk at night"
line = "desk-1"
at = 2026-12-24T23:00:00
[[call]]
caller = "+14155550100"
place = "US-CA"
at = 2026-12-24T23:00:00Z
[[call]]
trunk = "t"
"""
    first, second, third = read_samples(text, "calls.toml", NOW)
    assert (first.name, first.line, first.at.isoformat()) == (
        "the desk at night",
        "desk-1",
        "2026-12-24T23:00:00+01:00",
    )
    assert (second.name, second.place, second.at.isoformat()) == ("call 2", "US-CA", "2026-12-24T23:00:00+00:00")
    assert (third.trunk, third.at) == ("t", NOW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "call: this key is required"),
        ("[[call]]\ncalling = '1'", "2: error: call.0.calling: unknown key"),
        ("[[call]]\nat = 'noon'", "2: error: call.0.at"),
        ("[call]\ncalled = '1'", "call"),
    ],
)
def test_wrong_samples_say_where(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_samples(text.encode(), "calls.toml", NOW)
    assert message in str(caught.value)


# --- the examples ----------------------------------------------------------------------------------------------------


def decided(
    caller: str = "", called: str = "0", line: str = "", trunk: str = "", at: str = "2026-11-30T12:00Z"
) -> Decision:
    prompts, _ = load_prompts(ROOT / "ivr_prompts")
    shelf = open_policies(EXAMPLES, None, prompts)
    return shelf.resolve(CallFacts(caller=caller, called=called, at=datetime.fromisoformat(at), line=line, trunk=trunk))


@pytest.mark.parametrize(
    ("call", "policy", "ask", "announce", "fail_mode"),
    [
        ({"caller": "+493012345678"}, "eu-support-line", True, False, FailMode.CONNECT_UNRECORDED),
        ({"line": "us-sales", "caller": "+15125550100"}, "us-multi-state", True, False, FailMode.CONNECT_UNRECORDED),
        ({"line": "us-sales", "trunk": "tx-internal"}, "us-multi-state", False, True, FailMode.CONNECT_UNRECORDED),
        ({"line": "us-service", "trunk": "tx-internal"}, "us-multi-state", True, False, FailMode.CONNECT_UNRECORDED),
        ({"line": "desk-fx"}, "mifid-trading-desk", False, True, FailMode.REFUSE_CALL),
        ({"line": "desk-fx", "at": "2026-11-29T12:00Z"}, "eu-support-line", True, False, FailMode.CONNECT_UNRECORDED),
        ({"line": "payments", "called": "+49305555019"}, "card-payments", True, False, FailMode.CONNECT_UNRECORDED),
        ({"trunk": "internal"}, "internal-line", False, False, FailMode.CONNECT_UNRECORDED),
    ],
)
def test_the_examples_decide_what_they_say(
    call: dict[str, str], policy: str, ask: bool, announce: bool, fail_mode: FailMode
) -> None:
    rules = decided(**call).rules
    assert (rules.policy[0], rules.ask, rules.announce, rules.fail_mode) == (policy, ask, announce, fail_mode)
    assert ("recording" in rules.purposes) is (policy != "internal-line")


def test_the_examples_can_be_used_with_the_shipped_prompts() -> None:
    prompts, _ = load_prompts(ROOT / "ivr_prompts")
    examples = load_book(EXAMPLES)
    assert prompt_problems(examples, prompts) == [] and len(examples.policies) == 5


@pytest.mark.parametrize(
    ("call", "role", "acknowledged", "may"),
    [
        ({"line": "desk-fx"}, "agent", True, set()),
        ({"line": "desk-fx"}, "supervisor", False, {"pause", "hold"}),
        ({"line": "desk-fx"}, "supervisor", True, {"pause", "resume", "listen", "export", "hold"}),
        ({"line": "desk-fx"}, "officer", True, {"listen", "export", "hold", "destroy"}),
        ({"line": "payments", "called": "+49305555019"}, "agent", False, {"pause", "withdraw"}),
        ({"line": "payments", "called": "+49305555019"}, "agent", True, {"pause", "resume", "record", "withdraw"}),
        ({}, "agent", False, {"pause", "resume", "record", "withdraw", "private"}),
    ],
)
def test_the_examples_let_people_do_what_they_say(
    call: dict[str, str], role: str, acknowledged: bool, may: set[str]
) -> None:
    decision = decided(**call)
    of = Circumstances(call.get("line", "0"), decision.rules.basis, NOW)
    actor = Actor(role, acknowledged=acknowledged)
    assert {str(act) for act in Act if not decision.authority.why_not(act, actor, of)} == may


def test_the_support_line_asks_for_analysis_on_its_own() -> None:
    rules = decided().rules
    assert rules.one_by_one and rules.purposes == ("recording", "analysis") and dict(rules.minimum_also_ms)["analysis"]
