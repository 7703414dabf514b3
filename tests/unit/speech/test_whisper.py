"""The real engine, on speech that is an answer and on sound that is none. A missing package fails, it skips nothing."""

import json
import math
import os
import resource
import shutil
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from gateway.adapters.config.settings import ROOT
from gateway.adapters.speech.models import PACKAGED, Choice, Model, read_model
from gateway.adapters.speech.pool import NICENESS, RecogniserPool, Sizes
from gateway.adapters.speech.whisper import FIRST_WINDOW_MS, UNLIKELY, WHOLE_WINDOW_MS, Whisper, _score, listen, text_of
from gateway.domain.spoken import Decision, Hearing, Hypothesis, Question, decide
from gateway.media.dtmf import dtmf_tone
from gateway.media.g711 import Samples, decode, encode
from gateway.ports.prompts import SPOKEN_PROMPT_NAMES
from gateway.ports.recogniser import MAX_UTTERANCE_MS, RecogniserUnusable
from tests.support.spoken import recording

MAX_SAMPLES = MAX_UTTERANCE_MS * 8
GRANTING = {Decision.YES, Decision.CONFIRM}


@pytest.fixture(scope="module")
def tiny() -> Iterator[Whisper]:
    yield Whisper(read_model(Choice("tiny.en")))


@pytest.fixture(scope="module")
def base() -> Iterator[Whisper]:
    yield Whisper(read_model(Choice("base")))


def ruling(engine: Whisper, sound: Samples, language: str = "en") -> Decision:
    return decide(listen(engine, None, sound, language), language, Question.ASK, 1).decision


def prompts(language: str) -> list[Path]:
    return sorted((ROOT / "ivr_prompts" / language).glob("*.wav"))


def read_wav(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


ANSWERS = [
    ("yes-i-agree", Decision.YES),
    ("yes-please", Decision.CONFIRM),
    ("yes", Decision.CONFIRM),
    ("no", Decision.NO),
    ("no-thank-you", Decision.NO),
    ("i-do-not-agree", Decision.NO),
    ("no-problem", Decision.REPEAT),
    ("i-dont-know", Decision.REPEAT),
    ("yes-but-not-the-recording", Decision.REPEAT),
    ("hang-on-a-second", Decision.REPEAT),
    ("guess", Decision.REPEAT),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decision"), ANSWERS)
@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_spoken_answers(tiny: Whisper, name: str, decision: Decision, codec: str) -> None:
    sound = recording(name)
    assert ruling(tiny, decode(codec, encode(codec, sound))) is decision  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("quieter", [8, 60])
def test_a_quiet_answer_is_heard(tiny: Whisper, base: Whisper, quieter: int) -> None:
    """With the silence around it that endpointing leaves."""
    for name, decision in (("yes-i-agree", Decision.YES), ("no-thank-you", Decision.NO)):
        hearings = listen(tiny, base, np.pad(recording(name), 2_400) // quieter, "en")
        assert decide(hearings, "en", Question.ASK, 1).decision is decision


@pytest.mark.slow
@pytest.mark.parametrize("path", prompts("en"), ids=lambda path: path.stem)
def test_our_own_prompt_is_no_consent(tiny: Whisper, path: Path) -> None:
    """Its echo, and whoever reads it aloud."""
    sound = read_wav(path)[:MAX_SAMPLES]
    for start in range(0, len(sound), 24_000):
        piece = sound[start : start + 24_000]
        assert ruling(tiny, piece) not in GRANTING
    assert ruling(tiny, sound) not in GRANTING


def noises() -> dict[str, Samples]:
    random = np.random.default_rng(4)
    hiss = random.normal(0, 1_500, 24_000)
    return {
        "silence": np.zeros(24_000, np.int16),
        "hiss": hiss.astype(np.int16),
        "hum": (3_000 * np.sign(np.sin(2 * np.pi * 50 * np.arange(24_000) / 8_000))).astype(np.int16),
        "breath": (hiss * np.abs(np.sin(np.arange(24_000) / 2_500))).astype(np.int16),
        "key": np.tile(np.concatenate((dtmf_tone("1", 200), np.zeros(1_600, np.int16))), 5),
        "fax": (8_000 * np.sin(2 * np.pi * 2_100 * np.arange(24_000) / 8_000)).astype(np.int16),
        "click": np.concatenate((np.full(40, 20_000, np.int16), np.zeros(8_000, np.int16))),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(noises()))
def test_noise_is_no_consent(tiny: Whisper, name: str) -> None:
    assert ruling(tiny, noises()[name]) not in GRANTING


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0.3, 3.0, 8.0])
def test_what_follows_a_yes_is_always_heard(tiny: Whisper, pause_s: float) -> None:
    """However long the utterance is, it is never cut to the window."""
    parts = (recording("yes-i-agree"), np.zeros(int(pause_s * 8_000), np.int16), recording("no-thank-you"))
    hearings = listen(tiny, None, np.concatenate(parts), "en")
    assert hearings[0].window_ms == (WHOLE_WINDOW_MS if pause_s == 8.0 else FIRST_WINDOW_MS)
    assert decide(hearings, "en", Question.ASK, 1).decision not in GRANTING


@pytest.mark.slow
def test_the_second_pass_is_for_what_cannot_be_believed(tiny: Whisper) -> None:
    clear = listen(tiny, None, recording("no-thank-you"), "en")
    assert [hearing.window_ms for hearing in clear] == [FIRST_WINDOW_MS]
    nothing = listen(tiny, None, np.zeros(8_000, np.int16), "en")
    assert [hearing.window_ms for hearing in nothing] == [FIRST_WINDOW_MS, WHOLE_WINDOW_MS]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decision"), ANSWERS)
def test_two_engines_hear_what_one_does(tiny: Whisper, base: Whisper, name: str, decision: Decision) -> None:
    hearings = listen(tiny, base, recording(name), "en")
    assert decide(hearings, "en", Question.ASK, 1).decision is decision
    assert all(hearing.window_ms == FIRST_WINDOW_MS for hearing in hearings)


@pytest.mark.slow
def test_a_bare_yes_that_two_engines_hear_confirms_one(tiny: Whisper, base: Whisper) -> None:
    sound = recording("yes")
    alone, both = listen(tiny, None, sound, "en"), listen(tiny, base, sound, "en")
    assert decide(alone, "en", Question.CONFIRM, 2).decision is Decision.GIVE_UP
    assert decide(both, "en", Question.CONFIRM, 2).decision is Decision.YES


class Scripted:
    """Hears what it is told to, and keeps what it was asked."""

    def __init__(self, *heard: Hearing) -> None:
        self.heard, self.asked = list(heard), list[tuple[int, int]]()

    def hear(self, utterance: Samples, language: str, window_ms: int) -> Hearing:
        self.asked.append((len(utterance), window_ms))
        return self.heard.pop(0)


def hears(text: str, score: float = -0.1) -> Hearing:
    return Hearing(FIRST_WINDOW_MS, 0.01, (Hypothesis(text, score),))


@pytest.mark.parametrize(
    ("text", "score", "alone", "asked"),
    [
        ("Yes, I agree.", -0.1, [FIRST_WINDOW_MS], []),
        ("No.", -0.1, [FIRST_WINDOW_MS], []),
        ("Hang on a second.", -0.1, [FIRST_WINDOW_MS], []),
        ("Yes.", -0.1, [FIRST_WINDOW_MS], [FIRST_WINDOW_MS]),
        ("Yes, I agree.", -0.9, [FIRST_WINDOW_MS], [FIRST_WINDOW_MS]),
        ("you", -0.1, [FIRST_WINDOW_MS, WHOLE_WINDOW_MS], [FIRST_WINDOW_MS]),
    ],
)
def test_who_looks_again(text: str, score: float, alone: list[int], asked: list[int]) -> None:
    """Another engine at what the first doubts; without one, the first at what it could not believe."""
    sound = np.zeros(8_000, np.int16)
    one = Scripted(hears(text, score), hears("No."))
    assert len(listen(cast(Whisper, one), None, sound, "en")) == len(alone)
    assert one.asked == [(8_000, window_ms) for window_ms in alone]
    first, second = Scripted(hears(text, score)), Scripted(hears("No."))
    assert len(listen(cast(Whisper, first), cast(Whisper, second), sound, "en")) == 1 + len(asked)
    assert second.asked == [(8_000, window_ms) for window_ms in asked]


def test_both_look_at_the_whole_of_what_is_long() -> None:
    sound = np.zeros(9_000 * 8, np.int16)
    first, second = Scripted(hears("Yes.")), Scripted(hears("Yes."))
    listen(cast(Whisper, first), cast(Whisper, second), sound, "en")
    assert first.asked == second.asked == [(len(sound), WHOLE_WINDOW_MS)]
    one = Scripted(hears("you"))
    assert len(listen(cast(Whisper, one), None, sound, "en")) == 1


@pytest.mark.slow
def test_the_longest_utterance_is_heard(tiny: Whisper) -> None:
    sound = np.resize(recording("hang-on-a-second"), MAX_SAMPLES)
    assert ruling(tiny, sound) not in GRANTING


@pytest.mark.slow
def test_a_folder_of_the_operators_own_is_used(tmp_path: Path) -> None:
    packaged = read_model(Choice("tiny.en"))
    for name, data in packaged.files.items():
        (tmp_path / name).write_bytes(data)
    engine = Whisper(read_model(Choice("own", str(tmp_path), ("en",))))
    assert (engine.engine.model_sha256, engine.engine.pinned) == (packaged.sha256, False)
    assert ruling(engine, recording("yes-i-agree")) is Decision.YES
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("language", sorted(set(PACKAGED["base"].languages) - {"en"}))
def test_the_prompts_are_no_consent_in_any_language(base: Whisper, language: str) -> None:
    for name in ("announced", "granted", "paused", "refused"):
        sound = read_wav(ROOT / "ivr_prompts" / language / f"{name}.wav")
        hearings = listen(base, None, sound, language)
        assert hearings[0].hypotheses[0].text
        assert decide(hearings, language, Question.ASK, 1).decision not in GRANTING


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOKEN_PROMPT_NAMES)
@pytest.mark.parametrize("language", sorted(set(PACKAGED["base"].languages) - {"en"}))
def test_a_prompt_that_names_a_yes_is_none_in_any_language(base: Whisper, language: str, name: str) -> None:
    """The echo of the whole and, from whatever word on it is heard, of the sentence that names the phrase. That one
    sounds the same in all three prompts (sentences are spoken one by one), so one of them is enough."""
    path = ROOT / "ivr_prompts" / language / f"{name}.wav"
    sound = read_wav(path) // 4
    minimum_ms = json.loads((path.parent / "manifest.json").read_bytes())["prompts"][name]["minimum_heard_ms"]
    assert ruling(base, sound, language) not in GRANTING
    for before_ms in range(500, 2_600, 150) if name == "confirm_spoken" else ():
        assert ruling(base, sound[(minimum_ms - before_ms) * 8 : (minimum_ms + 60) * 8], language) not in GRANTING


@pytest.mark.slow
def test_the_second_engine_hears_english_too(base: Whisper) -> None:
    assert base.engine.languages == ("de", "en", "es", "fr", "it", "pt")
    assert ruling(base, recording("yes-i-agree")) is Decision.YES
    assert ruling(base, recording("no-thank-you")) is Decision.NO


@pytest.mark.slow
async def test_the_worker_gives_way_and_leaves_no_core() -> None:
    pool = RecogniserPool([Choice("tiny.en"), Choice("base")], Sizes(workers=1))
    await pool.start()
    [pid] = pool.worker_pids
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert [engine.model.partition(" ")[0] for engine in pool.engines] == ["tiny.en", "base"]
    assert pool.serves("en") and pool.serves("pt-BR") and not pool.serves("nl")
    await pool.stop()


def test_without_the_library_speech_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(RecogniserUnusable, match=r"pip install 'consent-gateway\[speech\]'"):
        Whisper(Model("any", "folder", {}, "0" * 64, ("en",), pinned=False))


def test_a_model_that_the_library_cannot_read_is_said() -> None:
    with pytest.raises(RecogniserUnusable, match=r"speech model any: ctranslate2 .* failed"):
        Whisper(Model("any", "folder", {"model.bin": b"x", "config.json": b"{}"}, "0" * 64, ("en",), pinned=False))


@pytest.mark.parametrize(
    ("given", "tokens", "score"),
    [(-0.6, 2, -0.4), (0.0, 0, 0.0), (-math.inf, 3, UNLIKELY), (math.nan, 3, UNLIKELY)],
)
def test_scores_are_numbers(given: float, tokens: int, score: float) -> None:
    assert _score(given, tokens) == pytest.approx(score)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([], ""),
        (["ĠYes", ",", "ĠI", "Ġagree", "."], "Yes, I agree."),
        (["<|de|>", "ĠJa", ",", "Ġnat", "Ã¼r", "lich"], "Ja, natürlich"),
        (["ĠS", "Ã", "Ń"], "Sí"),
        (["Ã"], "�"),
        (["ĊĠno"], "no"),
        (["言"], ""),
    ],
)
def test_tokens_become_text(tokens: list[str], text: str) -> None:
    assert text_of(tokens) == text
