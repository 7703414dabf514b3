"""What the prompts of a policy's language give it, and what they cannot do for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.adapters.config.policies import prompt_minima, prompt_problems
from gateway.adapters.prompts.library import FilePromptLibrary, load_prompts
from gateway.policy.book import make_book, parse_policy
from gateway.policy.model import Minima
from gateway.ports.prompts import PROMPT_NAMES, SPOKEN_PROMPT_NAMES
from tests.support.gateway import write_prompts

Library = Callable[..., FilePromptLibrary]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    def made(spoken: bool = True, **lengths_ms: int) -> FilePromptLibrary:
        prompts, findings = load_prompts(write_prompts(tmp_path, lengths_ms=lengths_ms, spoken=spoken))
        assert findings == []
        return prompts

    return made


def problems(library: FilePromptLibrary, text: str) -> list[str]:
    policy = parse_policy(f'name = "a"\nversion = "1"\n{text}'.encode(), "p.toml")
    return [problem.message for problem in prompt_problems(make_book([policy]), library)]


def test_the_manifest_gives_the_minimum_of_each_prompt_that_asks() -> None:
    prompts, _ = load_prompts(Path(__file__).parents[3] / "ivr_prompts")
    minima = prompt_minima(prompts)
    for language in prompts.languages():
        names = ("ask", "ask_again", *SPOKEN_PROMPT_NAMES)
        told = [prompts.prompt(language, name).minimum_heard_ms for name in names]
        ask, ask_again, *spoken = told
        also = tuple(
            (purpose, prompts.prompt(language, f"also_{purpose}").minimum_heard_ms)
            for purpose in ("transcription", "analysis", "sharing")
        )
        assert minima(language) == Minima(ask, ask_again, *spoken, also) and len(set(told)) == 5


def test_a_language_without_prompts_for_spoken_answers_gives_the_minima_of_the_others(library: Library) -> None:
    prompts = library(spoken=False)
    told = [prompts.prompt("en", name).minimum_heard_ms for name in ("ask", "ask_again")]
    also = (("transcription", 200), ("analysis", 200), ("sharing", 200))
    assert prompt_minima(prompts)("en") == Minima(told[0], told[1], also=also)


def test_a_language_without_prompts_for_spoken_answers_is_no_problem(library: Library) -> None:
    assert problems(library(spoken=False), "[ask]\nminimum_heard_ms = 600") == []


@pytest.mark.parametrize("name", ["ask_again", "ask_spoken", "ask_again_spoken"])
def test_a_minimum_longer_than_any_wording_of_the_question_is_a_problem(library: Library, name: str) -> None:
    lengths = dict.fromkeys((*PROMPT_NAMES, *SPOKEN_PROMPT_NAMES), 900) | {name: 700}
    prompts = library(**lengths)
    assert problems(prompts, "[ask]\nby_voice = true\nminimum_heard_ms = 700") == []
    (found,) = problems(prompts, "[ask]\nby_voice = true\nminimum_heard_ms = 701")
    assert found.startswith(f'ask.minimum_heard_ms 701 is longer than prompt "{name}" (700 ms)')
    by_key = problems(prompts, "[ask]\nminimum_heard_ms = 701")
    assert by_key == ([] if name in SPOKEN_PROMPT_NAMES else [found])


def test_what_asks_back_is_not_held_to_the_minimum_of_the_question(library: Library) -> None:
    lengths = dict.fromkeys((*PROMPT_NAMES, *SPOKEN_PROMPT_NAMES), 900) | {"confirm_spoken": 700}
    assert problems(library(**lengths), "[ask]\nby_voice = true\nminimum_heard_ms = 900") == []


def test_a_policy_that_asks_nobody_needs_no_prompt_that_asks(library: Library) -> None:
    prompts = library(ask_spoken=500)
    told = 'basis = "contract"\njustification = "j"\n[ask]\nminimum_heard_ms = 600'
    assert problems(prompts, told) == []


@pytest.mark.parametrize(
    ("keys", "asked", "wrong"),
    [
        ('purposes = ["recording", "analysis"]', "", ["ask", "ask_again"]),
        ('purposes = ["recording", "analysis"]', 'purposes = "one_by_one"', []),
        ('purposes = ["recording", "analysis"]\nbasis = "contract"\njustification = "c"', "", []),
        ('purposes = ["recording"]', "", []),
    ],
    ids=["together", "one by one", "told", "recording alone"],
)
def test_nobody_agrees_to_what_the_prompt_does_not_name(
    library: Library, keys: str, asked: str, wrong: list[str]
) -> None:
    policy = parse_policy(f'name = "a"\nversion = "1"\n{keys}\n[ask]\n{asked}\n'.encode(), "a.toml")
    book = make_book([policy])
    found = [problem.message for problem in prompt_problems(book, library())]
    assert [message.split('"')[1] for message in found] == wrong
    assert all("asks for recording, not for analysis: write ask.purposes" in message for message in found)
