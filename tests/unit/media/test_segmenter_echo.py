"""The caller may talk over our prompt; the prompt's echo may not pass for him."""

import numpy as np
import pytest

from gateway.media.segmenter import Segmenter, SpeechBegan, SpeechEnded, SpeechEvent
from tests.support import speech
from tests.support.speech import Audio

PROMPTS = [np.concatenate((speech.read(f"{locale}/ask"), speech.silence(1))) for locale in ("de", "en", "fr")]
WITH_A_YES = [
    np.concatenate((speech.read(name), speech.silence(1)))
    for name in ("en/ask_spoken", "en/ask_again_spoken", *(f"{locale}/confirm_spoken" for locale in speech.LOCALES))
]
"""Prompts that name the phrase that is a yes, in each language."""
TALK_AT = 200
"""Frames: four seconds into the prompt."""


def listen(played: Audio, heard: Audio, *, told: bool = True) -> list[tuple[int, SpeechEvent]]:
    """Return each event with the number of frames heard by then. *told*: the segmenter knows what is played."""
    segmenter = Segmenter()
    noise = speech.noise("pink", len(heard) / 8000, -60, 1)
    pairs = zip(speech.frames(speech.line(heard + noise)), speech.frames(speech.pcm(played)), strict=True)
    events = ((at, segmenter.feed(frame, out if told else None)) for at, (frame, out) in enumerate(pairs, 1))
    return [(at, event) for at, event in events if event]


def talked_over(prompt: Audio, heard: Audio, phrase: speech.Phrase, dbov: float, at: int = TALK_AT) -> Audio:
    both = heard.copy()
    both[at * speech.FRAME : at * speech.FRAME + len(phrase.audio)] += speech.at_level(phrase.audio, dbov)
    return both


@pytest.mark.parametrize("attenuation_db", [6, 12, 20, 30, 50])
@pytest.mark.parametrize("delay_ms", [0, 45, 130, 307, 500])
def test_an_echo_is_nobody(delay_ms: int, attenuation_db: int) -> None:
    for prompt in PROMPTS + WITH_A_YES:
        assert listen(prompt, speech.echoed(prompt, delay_ms, attenuation_db)) == []


def test_an_echo_nobody_tells_of_would_be_somebody() -> None:
    prompt = PROMPTS[0]
    assert listen(prompt, speech.echoed(prompt, 130, 20), told=False)


@pytest.mark.parametrize("attenuation_db", [12, 15, 20, 40])
@pytest.mark.parametrize("delay_ms", [0, 130, 500])
def test_a_caller_is_heard_over_the_echo(delay_ms: int, attenuation_db: int) -> None:
    for index, prompt in enumerate(PROMPTS):
        echo = speech.echoed(prompt, delay_ms, attenuation_db)
        phrase = speech.phrases(("es", "it"))[index * 5]
        began_at, began = listen(prompt, talked_over(prompt, echo, phrase, -20))[0]
        assert isinstance(began, SpeechBegan)
        assert TALK_AT < began_at <= TALK_AT + 15


def test_the_first_word_over_a_prompt_that_was_never_heard_before_is_only_late() -> None:
    prompt = PROMPTS[1]
    phrase = speech.phrases(("es",), longest_s=2.4)[0]
    heard = talked_over(prompt, speech.echoed(prompt, 130, 20), phrase, -14, at=50)
    began_at, _ = listen(prompt, heard)[0]
    assert 50 < began_at < 50 + phrase.frames


def test_an_echo_goes_on_after_the_prompt_has_stopped() -> None:
    prompt = PROMPTS[1].copy()
    prompt[250 * speech.FRAME :] = 0
    assert listen(prompt, speech.echoed(prompt, 480, 8)) == []


def test_after_the_prompt_a_quiet_caller_is_heard_again() -> None:
    prompt = PROMPTS[1].copy()
    prompt[250 * speech.FRAME :] = 0
    heard = talked_over(prompt, speech.echoed(prompt, 130, 10), speech.phrases(("es",))[0], -38, at=300)
    events = listen(prompt, heard)
    assert [type(event) for _, event in events] == [SpeechBegan, SpeechEnded]
    assert events[0][0] <= 320


def test_what_is_learnt_lasts_until_the_next_prompt() -> None:
    twice = np.concatenate((PROMPTS[0], PROMPTS[1]))
    at = len(PROMPTS[0]) // speech.FRAME + 25
    heard = talked_over(twice, speech.echoed(twice, 130, 25), speech.phrases(("es",))[0], -20, at)
    assert at < listen(twice, heard)[0][0] <= at + 12


@pytest.mark.parametrize("rate", [1.002, 0.998])
def test_a_clock_that_drifts_changes_nothing(rate: float) -> None:
    prompt = PROMPTS[0]
    echo = speech.echoed(prompt, 130, 12)
    at = np.arange(len(echo))
    assert listen(prompt, np.interp(at * rate, at, echo)) == []


def test_the_echo_of_a_room_is_nobody() -> None:
    rng = np.random.default_rng(3)
    tail = rng.normal(size=2400) * 10 ** (-3 * np.arange(2400) / 2400)
    for prompt in PROMPTS:
        heard = np.convolve(speech.echoed(prompt, 80, 12), tail / np.sqrt((tail**2).sum()))[: len(prompt)]
        assert listen(prompt, heard) == []


def test_an_answer_over_the_prompt_says_so() -> None:
    prompt = PROMPTS[1]
    phrase = speech.phrases(("es",))[0]
    heard = talked_over(prompt, speech.echoed(prompt, 130, 25), phrase, -15)
    over = next(event for _, event in listen(prompt, heard) if isinstance(event, SpeechEnded))
    assert over.prompt_frames == over.to_frame - over.from_frame
    silent = np.zeros(len(prompt))
    alone = next(event for _, event in listen(silent, heard) if isinstance(event, SpeechEnded))
    assert alone.prompt_frames == 0
