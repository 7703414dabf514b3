"""Who may do what with a recording: rows of a policy, the defaults, and what nobody may be kept from."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.rules import Basis
from gateway.policy.authority import KEPT, LIVE, TEACHABLE, Act, Actor, Authority, Circumstances, Education, Grant
from gateway.policy.book import parse_policy, warnings
from gateway.policy.errors import PolicyError
from gateway.policy.staff import Kind

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
HEAD = 'name = "a"\nversion = "1"\n'
DUTY = HEAD + 'basis = "legal_obligation"\njustification = "MiFID II 16(7)"\nfail_mode = "refuse_call"\n'


def call(line: str = "desk-1", basis: Basis = Basis.CONSENT, at: datetime = NOON) -> Circumstances:
    return Circumstances(line, basis, at)


def row(*may: str, **names: Any) -> Grant:
    return Grant.model_validate({"may": may, **names})


def authority(text: str) -> Authority:
    return parse_policy((HEAD + text).encode(), "p.toml").file.who_may


DEFAULTS = {
    "agent": {"pause", "resume", "record", "withdraw"},
    "supervisor": {"pause", "resume", "record", "withdraw", "listen", "export", "hold", "destroy"},
    "officer": {"withdraw", "listen", "export", "hold", "destroy"},
    "viewer": set(),
    "janitor": set(),
    "admin": {str(act) for act in Act},
}


@pytest.mark.parametrize("role", DEFAULTS)
def test_without_a_row_each_role_may_what_its_office_needs(role: str) -> None:
    may = {str(act) for act in Act if not Authority().why_not(act, Actor(role), call())}
    assert may == DEFAULTS[role]


def test_a_private_call_is_an_agents_where_the_policy_has_a_key_for_it() -> None:
    with_key = authority('[codes]\nprivate = "*70"')
    assert not with_key.why_not(Act.PRIVATE, Actor("agent"), call())
    assert with_key.why_not(Act.PRIVATE, Actor("supervisor"), call())
    assert authority("").why_not(Act.PRIVATE, Actor("agent"), call())


ROWS = [
    (row("pause"), Actor("agent"), call(), True),
    (row("resume"), Actor("agent"), call(), False),
    (row("pause", roles=("supervisor",)), Actor("agent"), call(), False),
    (row("pause", roles=("supervisor", "agent")), Actor("agent"), call(), True),
    (row("pause", kinds=("employee",)), Actor("agent", Kind.EMPLOYEE), call(), True),
    (row("pause", kinds=("employee",)), Actor("agent", Kind.OUTSOURCER), call(), False),
    (row("pause", kinds=("employee",)), Actor("agent"), call(), False),
    (row("pause", lines=("desk-*",)), Actor("agent"), call(), True),
    (row("pause", lines=("desk-*",)), Actor("agent"), call("help"), False),
    (row("pause", bases=("contract", "consent")), Actor("agent"), call(), True),
    (row("pause", bases=("contract",)), Actor("agent"), call(), False),
    (row("pause", times=({"zone": "UTC", "start": "08:00", "end": "18:00"},)), Actor("agent"), call(), True),
    (row("pause", times=({"zone": "UTC", "end": "08:00"},)), Actor("agent"), call(), False),
    (row("pause", roles=("agent",), kinds=("employee",), lines=("x",)), Actor("agent", Kind.EMPLOYEE), call(), False),
]


@pytest.mark.parametrize(("grant", "actor", "of", "may"), ROWS, ids=range(len(ROWS)))
def test_a_row_is_about_whoever_is_all_that_it_names(grant: Grant, actor: Actor, of: Circumstances, may: bool) -> None:
    assert (not Authority((grant,)).why_not(Act.PAUSE, actor, of)) is may


def test_who_may_not_is_told_what_would_have_to_be_different() -> None:
    rows = Authority((row("resume", roles=("agent",), kinds=("employee",), lines=("desk-*",)),))
    why = rows.why_not(Act.RESUME, Actor("agent", Kind.CONTRACTOR), call())
    assert why == (
        "the policy does not let an agent (contractor) resume on this call "
        "(a row grants it, but not for these kinds, lines)"
    )
    assert rows.why_not(Act.PAUSE, Actor("supervisor"), call()) == (
        "the policy does not let a supervisor pause on this call"
    )


@pytest.mark.parametrize("act", LIVE)
def test_what_is_barred_has_a_reason(act: Act) -> None:
    barred = Authority((row(str(act)),)).barred(Actor("agent"), call())
    assert set(barred) == {str(other) for other in LIVE if other is not act}
    assert all(barred.values())


def test_who_has_not_learnt_the_policy_may_not_what_it_says() -> None:
    learnt = Authority(education=Education(until_acknowledged_not=(Act.RESUME, Act.RECORD)))
    new, old = Actor("agent"), Actor("agent", acknowledged=True)
    assert set(learnt.barred(new, call())) - {"private"} == {"resume", "record"}
    assert "acknowledge it first" in learnt.why_not(Act.RESUME, new, call())
    assert set(learnt.barred(old, call())) == {"private"}
    assert not learnt.why_not(Act.RESUME, Actor("admin"), call())


def test_what_protects_people_needs_no_learning() -> None:
    assert set(Act) - set(TEACHABLE) == {Act.PAUSE, Act.PRIVATE, Act.HOLD}
    for act in ("pause", "private", "hold"):
        with pytest.raises(PolicyError) as caught:
            authority(f'[education]\nuntil_acknowledged_not = ["resume", "{act}"]')
        (problem,) = caught.value.problems
        assert problem.line == 4 and f"{act} protects people" in problem.message


grants = st.builds(
    Grant,
    may=st.lists(st.sampled_from(list(LIVE)), min_size=1, max_size=3, unique=True).map(tuple),
    roles=st.lists(st.sampled_from(["agent", "supervisor", "officer"]), max_size=2, unique=True).map(tuple),
    kinds=st.lists(st.sampled_from(list(Kind)), max_size=2, unique=True).map(tuple),
    lines=st.lists(st.sampled_from(["desk-*", "help", "*"]), max_size=2, unique=True).map(tuple),
    bases=st.lists(st.sampled_from(list(Basis)), max_size=2, unique=True).map(tuple),
)
actors = st.builds(
    Actor,
    st.sampled_from(["agent", "supervisor", "officer", "viewer"]),
    st.sampled_from([None, *Kind]),
    acknowledged=st.booleans(),
)
calls = st.builds(Circumstances, st.sampled_from(["desk-1", "help", ""]), st.sampled_from(list(Basis)), st.just(NOON))


@given(
    rows=st.lists(grants, min_size=1, max_size=4), more=grants, actor=actors, of=calls, act=st.sampled_from(list(Act))
)
def test_a_row_more_never_takes_anything_away(
    rows: list[Grant], more: Grant, actor: Actor, of: Circumstances, act: Act
) -> None:
    before, after = Authority(tuple(rows)), Authority((*rows, more))
    if not before.why_not(act, actor, of):
        assert not after.why_not(act, actor, of)


@given(rows=st.lists(grants, max_size=3), actor=actors, of=calls, act=st.sampled_from(list(Act)))
def test_education_never_adds_anything(rows: list[Grant], actor: Actor, of: Circumstances, act: Act) -> None:
    taught = Authority(tuple(rows), Education(until_acknowledged_not=TEACHABLE))
    if not taught.why_not(act, actor, of):
        assert not Authority(tuple(rows)).why_not(act, actor, of)
        assert actor.acknowledged or act not in TEACHABLE


WRONG = [
    ('[[authority]]\nroles = ["agent"]', 3, "authority.0.may: this key is required"),
    ("[[authority]]\nmay = []", 4, "authority.0.may: "),
    ('[[authority]]\nmay = ["delete"]', 4, "authority.0.may.0: Input should be 'pause'"),
    ('[[authority]]\nmay = ["pause"]\nroles = ["viewer"]', 5, "authority.0.roles.0: Input should be 'agent'"),
    (
        '[[authority]]\nmay = ["pause"]\nwho = "me"',
        5,
        "authority.0.who: unknown key; did you mean one of: bases, kinds",
    ),
    ('[[authority]]\nmay = ["pause", "listen"]\nroles = ["agent"]', 4, "listen is about what is kept of a call"),
    ('[codes]\nprivate = "*7"', 4, "code *7 is also the beginning of another code"),
    ('[codes]\nprivate = "1"', 4, "codes.private"),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        authority(text)
    found = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in said for at, said in found), found


def test_second_looks() -> None:
    def said(text: str) -> str:
        return " ".join(problem.message for problem in warnings(parse_policy(text.encode(), "p.toml")))

    assert "codes.private lets an agent keep a call" in said(DUTY + '[codes]\nprivate = "*70"')
    assert "codes.private" not in said(HEAD + '[codes]\nprivate = "*70"')
    assert "no [[authority]] lets anybody pause" in said(HEAD + '[[authority]]\nmay = ["resume"]')
    assert "lets anybody pause" not in said(HEAD + '[[authority]]\nmay = ["pause"]')


def test_kept_and_live_are_all_there_is() -> None:
    assert set(LIVE) | set(KEPT) == set(Act) and not set(LIVE) & set(KEPT)
