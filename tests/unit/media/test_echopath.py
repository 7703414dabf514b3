"""How well the echo of what we play is foretold."""

import numpy as np
import pytest

from gateway.media.echopath import REACH_FRAMES, STRONGEST_DB, EchoPath, decibels
from gateway.media.loudness import BANDS, bands_of, spectrum
from tests.support import speech

PROMPT = speech.read("en/ask")


def run(path: EchoPath, played: speech.Audio, heard: speech.Audio) -> tuple[np.ndarray, np.ndarray]:
    """Return what was expected and what came in each frame and band, dBov."""
    expected, came = [], []
    pairs = zip(speech.frames(speech.pcm(played)), speech.frames(speech.line(heard)), strict=True)
    for out, back in pairs:
        path.play(bands_of(spectrum(out)) if out.any() else None)
        levels = decibels(bands_of(spectrum(back)))
        expected.append(path.expected())
        came.append(levels)
        path.learn(levels)
    return np.array(expected), np.array(came)


def test_nothing_played_sounds_nothing() -> None:
    path = EchoPath()
    path.play(None)
    assert not path.sounding
    assert path.expected().max() <= -100


def test_what_was_played_sounds_for_as_long_as_an_echo_takes() -> None:
    path = EchoPath()
    path.play(np.full(BANDS, 0.01))
    for _ in range(29):
        path.play(None)
        assert path.sounding
        assert path.expected().max() == pytest.approx(-20 + STRONGEST_DB)
    path.play(None)
    assert not path.sounding


def test_what_is_not_known_yet_is_expected_to_be_strong() -> None:
    path = EchoPath()
    path.play(np.full(BANDS, 0.01))
    assert path.expected() == pytest.approx(np.full(BANDS, -20 + STRONGEST_DB))
    assert path.attenuation_db == 6


@pytest.mark.parametrize("delay_ms", [0, 50, 130, 307, 500])
@pytest.mark.parametrize("attenuation_db", [6, 15, 30])
def test_an_echo_hardly_ever_exceeds_what_is_expected_by_much(delay_ms: int, attenuation_db: int) -> None:
    echo = speech.echoed(PROMPT, delay_ms, attenuation_db)
    expected, came = run(EchoPath(), PROMPT, echo + speech.noise("pink", 14, -65, 1)[: len(echo)])
    loud = came > -60
    assert np.mean((came > expected + 9)[loud]) < 0.02
    learnt = slice(200, None)
    assert float(np.median((expected - came)[learnt][loud[learnt]])) < 12


def test_no_echo_is_soon_known() -> None:
    expected, _ = run(EchoPath(), PROMPT, speech.noise("pink", 14, -60, 1)[: len(PROMPT)])
    assert expected[150:].max() < -45


@pytest.mark.parametrize(("played_dbov", "learns"), [(-50.5, False), (-49.5, True)])
def test_a_pause_in_the_prompt_teaches_nothing(played_dbov: float, learns: bool) -> None:
    path = EchoPath()
    for _ in range(200):
        path.play(np.full(BANDS, 10 ** (played_dbov / 10)))
        path.learn(np.full(BANDS, -100.0))
    assert (path.attenuation_db > 30) == learns


def test_it_learns_at_the_delay_at_which_something_was_played() -> None:
    path = EchoPath()
    for at in range(2400):
        path.play(np.full(BANDS, 0.01) if at % 40 == 0 else None)
        path.learn(np.full(BANDS, -45.0 if at % 40 in (9, 10) else -90.0))
    path.play(np.full(BANDS, 0.01))
    expected = [float(path.expected()[0])]
    for _ in range(REACH_FRAMES - 1):
        path.play(None)
        expected.append(float(path.expected()[0]))
    known = [at for at, level in enumerate(expected) if level == pytest.approx(-45, abs=1.5)]
    assert known == [8, 9, 10, 11], "a frame to either side of the delays of the echo"
    assert max(level for at, level in enumerate(expected) if at not in known) < -70


def test_a_caller_who_talks_over_the_prompt_is_not_learnt_as_echo() -> None:
    echo = speech.echoed(PROMPT, 130, 20)
    talk = speech.at_level(speech.monologue(14, "fr"), -20)[: len(PROMPT)]
    alone, _ = run(EchoPath(), PROMPT, echo)
    both, _ = run(EchoPath(), PROMPT, np.concatenate((echo[:32000], (echo + talk)[32000:])))
    second_of_talk = slice(200, 250)
    assert float(np.median(both[second_of_talk] - alone[second_of_talk])) < 4


def test_an_echo_that_becomes_stronger_is_learnt() -> None:
    played = np.concatenate((PROMPT, PROMPT))
    heard = np.concatenate((speech.echoed(PROMPT, 130, 45), speech.echoed(PROMPT, 130, 10)))
    expected, came = run(EchoPath(), played, heard)
    last = slice(-250, None)
    assert np.mean((came > expected + 9)[last][came[last] > -60]) < 0.02


def test_a_delay_that_moves_by_a_frame_changes_little() -> None:
    half = len(PROMPT) // 320 * 160
    heard = np.concatenate((speech.echoed(PROMPT, 120, 10)[:half], speech.echoed(PROMPT, 140, 10)[half:]))
    expected, came = run(EchoPath(), PROMPT, heard)
    after = slice(half // 160, None)
    assert np.mean((came > expected + 9)[after][came[after] > -60]) < 0.03


def test_gain_has_bounds() -> None:
    path = EchoPath()
    for level, attenuation in ((0.0, 0.0), (-100.0, 70.0)):
        for _ in range(400):
            path.play(np.full(BANDS, 0.01))
            path.learn(np.full(BANDS, level))
        assert path.attenuation_db == attenuation
