"""What the evidence keeps of an answer that somebody listened to."""

import base64

import numpy as np
import pytest

from gateway.app.listening import heard, listened
from gateway.domain.spoken import Hearing, Hypothesis
from gateway.ports.media import Utterance
from gateway.ports.recogniser import Engine, Failure, FakeRecogniser

TINY = Engine("whisper", "1", "tiny", "a" * 64, ("en",), pinned=True)
BASE = Engine("whisper", "1", "base", "b" * 64, ("en", "de"), pinned=True)
YES = Hearing(8_000, 0.25, (Hypothesis("Yes.", -0.5), Hypothesis("Yet.", -0.75)))
UTTERANCE = Utterance(
    leg="caller",
    mono_ns=9_000_000_000,
    began_ns=7_000_000_000,
    ended_ns=8_000_000_000,
    audio=base64.b64encode(np.zeros(8_000, "<i2").tobytes()).decode(),
    speech_ms=700,
    level_dbov=-20.4,
    noise_dbov=-61.0,
    cut=False,
    key_ms=0,
    prompt_ms=0,
)


async def facts(*script: object, second: Engine | None = None) -> tuple[dict[str, object], dict[str, str]]:
    recogniser = FakeRecogniser(list(script), engine=TINY, second=second)  # type: ignore[arg-type]
    await recogniser.start()
    spoken = await listened(heard(UTTERANCE, "caller", 1_000_000_000), UTTERANCE, recogniser, "en")
    return dict(spoken.facts), dict(spoken.words)


async def test_one_look_is_described_with_its_engine() -> None:
    kept, words = await facts([YES])
    assert kept["model"] == "tiny" and kept["model_sha256"] == "a" * 64 and kept["pinned"] is True
    assert kept["passes"] == [{"window_ms": 8_000, "no_speech": 250, "scores": [-500, -750]}]
    assert not any(name.startswith("second") for name in kept)
    assert words == {"heard_1.1": "Yes.", "heard_1.2": "Yet."}


async def test_a_second_look_of_another_engine_is_described_with_that_one() -> None:
    kept, words = await facts([YES, YES], second=BASE)
    assert kept["model"] == "tiny" and len(kept["passes"]) == 2  # type: ignore[arg-type]
    assert (kept["second_engine"], kept["second_engine_version"], kept["second_model"]) == ("whisper", "1", "base")
    assert kept["second_model_sha256"] == "b" * 64 and kept["second_pinned"] is True
    assert words["heard_2.1"] == "Yes."


async def test_a_second_look_of_the_same_engine_names_no_other() -> None:
    kept, _ = await facts([YES, YES])
    assert len(kept["passes"]) == 2 and "second_engine" not in kept  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", Failure)
async def test_who_did_not_listen_is_described_by_why(failure: Failure) -> None:
    kept, words = await facts(failure)
    assert kept["failure"] == str(failure) and "passes" not in kept and not words
