"""Policies: what is wrong and where, what is allowed, and which one a call lives by."""

import hashlib
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.rules import Basis, FailMode, Joining, PauseLimitAction, Rules
from gateway.policy.book import Book, Occasion, Policy, make_book, parse_policy, warnings
from gateway.policy.errors import PolicyError, Problem
from gateway.policy.model import Minima

HEAD = 'name = "a"\nversion = "1"\n'
CONTRACT = 'basis = "contract"\njustification = "j"'


def parse(text: str, source: str = "p.toml") -> Policy:
    return parse_policy(text.encode(), source)


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.encode() if isinstance(text, str) else text, "p.toml")
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return caught.value.problems


WRONG = [
    ('[ask]\naccept_keys = [\n  "1",\n  "x",\n]', 4, "ask.accept_keys.1: String should match"),
    ("[ask]\naccept_keys = []", 4, "ask.accept_keys: "),
    ("[ask]\nrefuse_keys = []", 4, "ask.refuse_keys: "),
    ("[ask]\nattempts = 0", 4, "ask.attempts: "),
    ("[ask]\nattempts = 10", 4, "ask.attempts: "),
    ('[ask]\nattempts = "2"', 4, "ask.attempts: Input should be a valid integer"),
    ("ask.attempts = 2.0", 3, "ask.attempts: "),
    ("[ask]\nanswer_timeout_ms = 499", 4, "ask.answer_timeout_ms: "),
    ("[ask]\nminimum_heard_ms = -1", 4, "ask.minimum_heard_ms: "),
    ("\n\nask = 3", 5, "ask: Input should be a table"),
    ('[codes]\nwithdraw = "*"', 4, "codes.withdraw: String should match"),
    ('[codes]\n\npause = "*E"', 5, "codes.pause: String should match"),
    ("[codes]\ngap_ms = 1", 4, "codes.gap_ms: "),
    ("[pause]\nlimit_ms = 3_600_001", 4, "pause.limit_ms: "),
    ('[pause]\nat_limit = "shout"', 4, "pause.at_limit: Input should be 'resume' or 'stay_paused'"),
    ("[recording]\nlook_behind_ms = 5001", 4, "recording.look_behind_ms: "),
    ('[recording]\npaused_fill = "noise"', 4, "recording.paused_fill: Input should be 'silence' or 'gap'"),
    ('[recording]\non_withdrawal = "sell"', 4, "recording.on_withdrawal: Input should be 'keep' or 'purge'"),
    ('purposes = ["recording", "spying"]', 3, "purposes.1: "),
    ("purposes = []", 3, "purposes: "),
    ('basis = "because"', 3, "basis: Input should be 'consent'"),
    ('fail_mode = "shrug"', 3, "fail_mode: Input should be 'connect_unrecorded' or 'refuse_call'"),
    ('language = "english"', 3, "language: String should match"),
    ('match.called = "49*"', 3, 'match.called: Input should be a list, such as ["1"]'),
    (f'justification = "{"x" * 501}"', 3, "justification: keep the justification under 500 characters"),
    (
        '[aks]\naccept_keys = ["1"]',
        3,
        "aks: unknown key; did you mean one of: agent_basis, announce, ask, authority, basis",
    ),
    ('[joining]\nwhat = "announce"', 4, "nobody consents by being told: give [joining] a basis"),
    ('joining.basis = "contract"', 3, 'only what = "announce" has a basis of its own'),
    (
        '[joining]\nwhat = "announce"\nbasis = "contract"',
        5,
        'basis "contract" needs a justification: name the law, contract or assessment it rests on',
    ),
    ("[pause]\nlimit = 3", 4, "pause.limit: unknown key; did you mean one of: at_limit, limit_ms, reminder_ms?"),
    ("pause.limit = 3", 3, "pause.limit: unknown key; did you mean one of: at_limit, limit_ms, reminder_ms?"),
    (
        '[ask]\nrefuse_keys = ["1"]',
        3,
        "key 1 has two meanings in [ask]: give accept, refuse and repeat keys of their own",
    ),
    ('[ask]\nrepeat_keys = ["2"]', 3, "key 2 has two meanings in [ask]"),
    ('[ask]\naccept_keys = ["1", "1"]', 3, "key 1 has two meanings in [ask]"),
    ('[codes]\nwithdraw = "19"', 4, "code 19 begins with the answer key 1: begin codes with a key [ask] does not use"),
    ('[codes]\nresume = "#2"\npause = "31"', 5, "code 31 begins with the answer key 3"),
    ('[codes]\npause = "*9"', 3, "code *9 is also the beginning of another code: it could never be told apart"),
    ('[codes]\npause = "*91"', 3, "code *9 is also the beginning of another code"),
    ('\nbasis = "contract"', 4, 'basis "contract" needs a justification: name the law, contract or assessment'),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_every_error_has_its_line_and_says_what_to_do(text: str, line: int, message: str) -> None:
    found = problems(HEAD + text + "\n")
    assert [problem.line for problem in found] == [line]
    assert found[0].message.startswith(message)
    assert str(found[0]).startswith(f"p.toml:{line}: error: ")


@pytest.mark.parametrize(
    ("name", "lines"), [('"A"', [1]), ('"-a"', [1]), ('""', [1]), ("1", [1]), (f'"{"a" * 64}"', [1])]
)
def test_a_name_is_short_and_plain(name: str, lines: list[int]) -> None:
    assert [problem.line for problem in problems(f'name = {name}\nversion = "1"\n')] == lines


def test_all_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems('[pause]\nlimit_ms = "x"\n[ask]\nattempts = 99\n')
    assert [(problem.line, problem.message.partition(":")[0]) for problem in found] == [
        (0, "name"),
        (0, "version"),
        (2, "pause.limit_ms"),
        (4, "ask.attempts"),
    ]
    assert str(found[0]) == "p.toml: error: name: this key is required"


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b'name = "a"\nversion = "\xff"\n', 2, "not UTF-8: save the file as UTF-8"),
        (b'name = "a"\n\nversion = \n', 3, "not TOML: "),
        (b'name = "a"\nname = "b"\n', 2, "not TOML: Cannot overwrite a value"),
        (b'name = "a"\n[ask\n', 2, "not TOML: "),
        (b'name = """a\n', 2, "not TOML: "),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(data: bytes, line: int, message: str) -> None:
    (found,) = problems(data)
    assert found.line == line and found.message.startswith(message)
    assert "(at" not in found.message


# --- what it means ---------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_rules() -> None:
    rules = parse(HEAD).file.rules("ab", Minima(1_234, 900))
    asked = 'basis "consent": who joins is asked before he is recorded'
    assert rules == Rules(
        minimum_heard_ms=1_234,
        minimum_heard_again_ms=900,
        joining_reason=asked,
        policy=("a", "1", "ab"),
    )


def test_every_key_reaches_the_rules() -> None:
    text = """
        basis = "legitimate_interests"
        justification = "assessment 7"
        agent_basis = "legal_obligation"
        fail_mode = "refuse_call"
        language = "pt-BR"
        purposes = ["recording", "analysis"]
        ring_timeout_ms = 20000
        ask = { accept_keys = ["4"], refuse_keys = ["5"], repeat_keys = [], attempts = 3, repeats = 1, \
answer_timeout_ms = 7000, by_voice = true, minimum_heard_ms = 50 }
        codes = { withdraw = "#9", reconsent = "#1", pause = "#71", resume = "#72", gap_ms = 900 }
        pause = { limit_ms = 0, reminder_ms = 2000, at_limit = "resume" }
        recording = { look_behind_ms = 500, paused_fill = "gap", on_withdrawal = "purge", \
on_unconfirmed = "alarm" }
        joining = { what = "announce", basis = "contract", justification = "clause 3" }
    """
    rules = parse(HEAD + text).file.rules("ab", Minima(1_234, 900, 1_500, 1_200, 800))
    assert rules == Rules(
        basis=Basis.LEGITIMATE_INTERESTS,
        agent_basis=Basis.LEGAL_OBLIGATION,
        ask=False,
        announce=True,
        fail_mode=FailMode.REFUSE_CALL,
        purposes=("recording", "analysis"),
        language="pt-BR",
        accept_keys=frozenset("4"),
        refuse_keys=frozenset("5"),
        repeat_keys=frozenset(),
        attempts=3,
        repeats=1,
        answer_timeout_ms=7_000,
        by_voice=True,
        minimum_heard_ms=50,
        minimum_heard_again_ms=50,
        minimum_heard_spoken_ms=50,
        minimum_heard_again_spoken_ms=50,
        minimum_heard_confirm_ms=800,
        withdraw_code="#9",
        reconsent_code="#1",
        pause_code="#71",
        resume_code="#72",
        code_gap_ms=900,
        look_behind_ms=500,
        paused_fill="gap",
        pause_limit_ms=0,
        pause_reminder_ms=2_000,
        pause_limit_action=PauseLimitAction.RESUME,
        purge_on_withdrawal=True,
        stop_unconfirmed=False,
        joining=Joining.ANNOUNCE,
        joining_basis=Basis.CONTRACT,
        joining_reason='basis "contract": who joins is told, and not asked; justification: clause 3',
        may_withdraw=True,
        ring_timeout_ms=20_000,
        policy=("a", "1", "ab"),
    )


@pytest.mark.parametrize("basis", Basis)
def test_only_consent_asks_and_only_some_bases_can_be_objected_to(basis: Basis) -> None:
    rules = parse(f'{HEAD}basis = "{basis}"\njustification = "j"\n').file.rules("", Minima(0, 0))
    assert rules.ask is (basis is Basis.CONSENT)
    may = {Basis.CONSENT, Basis.LEGITIMATE_INTERESTS, Basis.PUBLIC_TASK}
    assert rules.may_withdraw is (basis in may)


@pytest.mark.parametrize(
    ("text", "joining", "basis"),
    [
        ("", Joining.ASK, Basis.CONSENT),
        ('joining.what = "keep_out"', Joining.KEEP_OUT, Basis.CONSENT),
        ('basis = "contract"\njustification = "j"', Joining.ANNOUNCE, Basis.CONTRACT),
        ('basis = "contract"\njustification = "j"\njoining.what = "ask"', Joining.ASK, Basis.CONSENT),
        (
            'joining = { what = "announce", basis = "public_task", justification = "j" }',
            Joining.ANNOUNCE,
            Basis.PUBLIC_TASK,
        ),
    ],
)
def test_who_joins_is_asked_under_consent_and_told_under_any_other_basis(
    text: str, joining: Joining, basis: Basis
) -> None:
    rules = parse(f"{HEAD}{text}\n").file.rules("", Minima(0, 0))
    assert (rules.joining, rules.joining_basis) == (joining, basis)
    his = rules.for_who_joins()
    assert (his.ask, his.announce, his.basis) == (joining is Joining.ASK, joining is not Joining.ASK, basis)
    assert his.may_withdraw is (basis in {Basis.CONSENT, Basis.LEGITIMATE_INTERESTS, Basis.PUBLIC_TASK})


def test_a_policy_carries_the_hash_of_its_bytes() -> None:
    text = HEAD + "# a comment counts\n"
    assert parse(text).sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert parse(text).sha256 != parse(HEAD).sha256


def test_the_built_in_policy_is_sound_and_covers_every_call() -> None:
    data = (resources.files("gateway.policy") / "default.toml").read_bytes()
    policy = parse_policy(data, "default.toml")
    assert warnings(policy) == []
    assert make_book([policy]).choose(to("anything")).policy is policy


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('fail_mode = "refuse_call"', "not freely given"),
        ("ask.minimum_heard_ms = 0", "lets a key count before the question was heard"),
        ("pause.limit_ms = 0", "lets a forgotten pause last"),
        ('recording.paused_fill = "gap"', "shorter than the call"),
        ('purposes = ["analysis"]', "nothing will be recorded"),
    ],
)
def test_what_deserves_a_second_look_is_a_warning(text: str, hint: str) -> None:
    (found,) = warnings(parse(HEAD + text + "\n"))
    assert hint in found.message and str(found).startswith("p.toml: warning: ")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"{CONTRACT}\nannounce = false", "nobody is told in the call"),
        ('basis = "legal_obligation"\njustification = "j"', 'a duty wants fail_mode = "refuse_call"'),
        (
            'basis = "legal_obligation"\njustification = "j"\nfail_mode = "refuse_call"\n[jurisdiction]\nhome = "DE"',
            "his no ends the call",
        ),
    ],
)
def test_a_basis_that_nobody_hears_of_and_a_duty_without_its_end_are_warned_of(text: str, hint: str) -> None:
    (found,) = warnings(parse(HEAD + text + "\n"))
    assert hint in found.message


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        (f"{CONTRACT}\n", ("announced",)),
        ('basis = "public_task"\njustification = "j"', ("announced_may_object",)),
        (
            f'{CONTRACT}\njoining = {{ what = "announce", basis = "public_task", justification = "j" }}',
            ("announced", "announced_may_object"),
        ),
        (f'{CONTRACT}\nannounce = false\njoining.what = "keep_out"', ()),
        ("", ("ask", "ask_again")),
    ],
)
def test_who_is_told_needs_the_prompt_that_tells(text: str, prompts: tuple[str, ...]) -> None:
    assert parse(f"{HEAD}{text}\n").file.prompts == prompts


def test_consent_is_asked_for_and_not_announced() -> None:
    for value in ("true", "false"):
        (found,) = problems(f"{HEAD}announce = {value}\n")
        assert found.line == 3 and "leave announce out, or choose another basis" in found.message


def test_a_policy_that_does_not_ask_needs_no_warning_about_asking() -> None:
    text = 'basis = "legal_obligation"\njustification = "j"\nfail_mode = "refuse_call"\nask.minimum_heard_ms = 0\n'
    assert warnings(parse(HEAD + text)) == []


# --- which one -------------------------------------------------------------------------------------------------------


def named(name: str, text: str = "", source: str = "") -> Policy:
    return parse(f'name = "{name}"\nversion = "1"\n{text}', source or f"{name}.toml")


def to(called: str, **more: Any) -> Occasion:
    """A call to a number, on a Monday at noon in London."""
    return Occasion(called=called, **{"at": MONDAY_NOON} | more)


MONDAY_NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ASKS = named("asks")
DUTY = named("duty", 'basis = "legal_obligation"\njustification = "MiFID II 16(7)"\nfail_mode = "refuse_call"')
TELLS = named("tells", 'basis = "contract"\njustification = "terms 4"')
STRICT = named("strict", 'fail_mode = "refuse_call"')


@pytest.mark.parametrize(
    ("called", "patterns", "matches"),
    [
        ("4930123", "[]", True),
        ("4930123", '["4930*"]', True),
        ("4930123", '["4931*", "49?0123"]', True),
        ("4930123", '["30*"]', False),
        ("4930123", '["4930"]', False),
        ("", '["*"]', True),
        ("493", '["4.3"]', False),
        ("4+3", '["4+3"]', True),
        ("443", '["4+3"]', False),
        ("49\n3", '["49*"]', True),
    ],
)
def test_a_pattern_matches_the_whole_number(called: str, patterns: str, matches: bool) -> None:
    assert named("p", f"match.called = {patterns}").matches(to(called)) is matches


@pytest.mark.parametrize(
    ("policies", "chosen"),
    [
        ([TELLS, ASKS, DUTY], ASKS),
        ([DUTY, TELLS], TELLS),
        ([STRICT, ASKS], ASKS),
        ([STRICT, TELLS], STRICT),
        ([named("b"), named("a-general")], "a-general"),
        ([ASKS, named("z-named", 'match.called = ["49*"]')], "z-named"),
        ([ASKS, named("other", 'match.called = ["33*"]')], "asks"),
        ([ASKS, named("tells-49", f'match.called = ["49*"]\n{CONTRACT}')], "tells-49"),
        ([named("x", 'match.called = ["4*"]'), named("tells-49", f'match.called = ["49*"]\n{CONTRACT}'), DUTY], "x"),
        ([named("silent", f"{CONTRACT}\nannounce = false"), TELLS], "tells"),
        ([named("silent", f"{CONTRACT}\nannounce = false"), DUTY], "duty"),
        ([ASKS, named("silent-49", f'match.called = ["49*"]\n{CONTRACT}\nannounce = false')], "silent-49"),
    ],
)
def test_the_most_protective_match_wins(policies: list[Policy], chosen: Policy | str) -> None:
    name = chosen if isinstance(chosen, str) else chosen.file.name
    assert make_book(policies).choose(to("4930")).policy.file.name == name
    assert make_book(policies[::-1]).choose(to("4930")).policy.file.name == name


def _strictness(policy: Policy) -> tuple[bool, bool, bool]:
    file = policy.file
    return file.asks, file.asks or file.announces, file.fail_mode is FailMode.CONNECT_UNRECORDED


POLICIES = st.builds(
    lambda number, match, basis, announce, refuses: named(
        f"p{number}",
        f"{match}\n{basis}\n{announce if 'basis' in basis else ''}\n{refuses}\n",
    ),
    st.integers(0, 9_999),
    st.sampled_from(["", 'match.called = ["49*"]', 'match.called = ["4930"]', 'match.called = ["33*"]']),
    st.sampled_from(["", CONTRACT, 'basis = "legal_obligation"\njustification = "j"']),
    st.sampled_from(["", "announce = false"]),
    st.sampled_from(["", 'fail_mode = "refuse_call"']),
)


@given(st.lists(POLICIES, max_size=5, unique_by=lambda policy: policy.file.name), POLICIES)
def test_one_policy_more_of_those_that_count_never_loosens_a_decision(before: list[Policy], more: Policy) -> None:
    """Who names the call counts before who does not; among those that count, the strictest decides."""
    book = make_book([*before, named("general")])
    chosen = book.choose(to("4930")).policy
    if more.file.name in {policy.file.name for policy in book.policies} or more.named is not chosen.named:
        return
    after = make_book([*book.policies, more]).choose(to("4930")).policy
    assert _strictness(after) >= _strictness(chosen)
    assert after in (chosen, more)


def test_the_choice_gives_its_reasons_without_the_number() -> None:
    reasons = make_book([ASKS, DUTY]).choose(to("4930123")).reasons
    assert reasons == (
        "no [match] names the call: 2 of 2 policies are for all other calls",
        'the most protective of them is "asks"',
        'basis "consent": the caller is asked before anything is recorded',
        "a call that may not be recorded is connected unrecorded",
    )
    assert make_book([DUTY]).choose(to("1")).reasons[1:] == (
        'basis "legal_obligation": nobody is asked, the caller is told before anything is recorded; '
        "justification: MiFID II 16(7)",
        "a call that may not be recorded is refused",
    )
    book = make_book([ASKS, named("tells-49", f'match.called = ["49*"]\n{CONTRACT}\nannounce = false')])
    assert book.choose(to("4930123")).reasons[:2] == (
        "the call is named by 1 of the 1 policies with [match]",
        'basis "contract": nobody is asked, and nobody is told; justification: j',
    )
    objects = (
        make_book([named("lia", 'basis = "legitimate_interests"\njustification = "LIA 7"')]).choose(to("1")).reasons[1]
    )
    assert "is told before anything is recorded, and may object; justification: LIA 7" in objects


def test_the_rules_take_the_prompts_minimum_of_their_language() -> None:
    book = make_book([named("de", 'language = "de"')])
    choice = book.choose(to("4930"))
    rules = choice.rules(lambda language: {"de": Minima(2_500, 700, 2_900, 1_100, 600)}[language])
    assert (rules.minimum_heard_ms, rules.minimum_heard_again_ms) == (2_500, 700)
    assert (rules.minimum_heard_spoken_ms, rules.minimum_heard_again_spoken_ms) == (2_900, 1_100)
    assert rules.minimum_heard_confirm_ms == 600
    assert rules.policy[0] == "de" and choice.reasons


def test_a_book_covers_every_call_and_names_each_policy_once() -> None:
    with pytest.raises(PolicyError) as caught:
        make_book([named("a", 'match.called = ["49*"]', "1.toml"), named("a", 'match.called = ["33*"]', "2.toml")])
    assert [str(problem) for problem in caught.value.problems] == [
        '2.toml: error: policy "a" is defined in 1.toml already: choose another name',
        "1.toml: error: no policy is without [match]: add one that covers every other call",
    ]
    with pytest.raises(PolicyError, match=r"policy\.d: error: no policy is without"):
        make_book([])
    with pytest.raises(LookupError, match="no policy matches"):
        Book(()).choose(to("4930"))
