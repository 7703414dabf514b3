"""From what a caller said to what it may mean: a recogniser listens, and the call is told.

The sound is in memory until the recogniser has answered, and nowhere else. Words go into the evidence, as personal
values, and nowhere else.
"""

import base64
from dataclasses import replace
from math import isfinite

import numpy as np

from gateway.domain import events as ev
from gateway.domain.rules import Rules
from gateway.domain.spoken import Hearing
from gateway.ports.media import Utterance
from gateway.ports.prompts import PromptLibrary
from gateway.ports.recogniser import MAX_UTTERANCE_MS, Engine, NotRecognised, Recogniser, Recognition

_MS = 1_000_000


def may_be_answered_by_voice(rules: Rules, recogniser: Recogniser, prompts: PromptLibrary) -> Rules:
    """Return *rules* as they can be kept: by voice where somebody understands the language and a prompt asks so."""
    able = rules.ask and recogniser.serves(rules.language) and prompts.asks_by_voice(rules.language)
    return replace(rules, by_voice=rules.by_voice and able)


def heard(utterance: Utterance, leg: str, arrived_ns: int) -> ev.AnswerSpoken:
    """Return what the call is told of something that nobody listened to: said, and no answer. Its time is when the
    sound had ended; in its facts, times are milliseconds since the call arrived (*arrived_ns*), levels dBov."""
    return ev.AnswerSpoken(
        at_ns=utterance.mono_ns,
        leg=leg,
        began_ns=utterance.began_ns,
        hearings=(),
        over_prompt=utterance.prompt_ms >= utterance.speech_ms,
        facts={
            "began_ms": (utterance.began_ns - arrived_ns) // _MS,
            "ended_ms": (utterance.ended_ns - arrived_ns) // _MS,
            "speech_ms": utterance.speech_ms,
            "level_dbov": round(utterance.level_dbov),
            "noise_dbov": round(utterance.noise_dbov),
            "cut": utterance.cut,
            "over_key_ms": utterance.key_ms,
            "over_prompt_ms": utterance.prompt_ms,
        },
    )


async def listened(
    spoken: ev.AnswerSpoken, utterance: Utterance, recogniser: Recogniser, language: str
) -> ev.AnswerSpoken:
    """Have a recogniser listen to *utterance*, of which the call would be told *spoken*; return what it is told now. A
    monologue (`cut`) stays no answer: the end of it was not heard. Scores are thousandths."""
    samples = np.frombuffer(base64.b64decode(utterance.audio), "<i2").astype(np.int16)
    if utterance.cut or not 0 < len(samples) <= MAX_UTTERANCE_MS * 8:
        return spoken
    recognition = await recogniser.recognise(samples, language)
    words: dict[str, str] = {}
    facts = dict(spoken.facts) | _described(recognition, words)
    return replace(spoken, hearings=_hearings(recognition), facts=facts, words=words)


def _hearings(recognition: Recognition) -> tuple[Hearing, ...] | None:
    return None if isinstance(recognition, NotRecognised) else recognition.hearings


def _described(recognition: Recognition, words: dict[str, str]) -> dict[str, object]:
    """What the evidence keeps of an answer of the recogniser; the texts go to *words*, as "PASS.RANK"."""
    if isinstance(recognition, NotRecognised):
        return {"failure": str(recognition.failure), "elapsed_ms": recognition.elapsed_ms}
    passes = []
    for number, hearing in enumerate(recognition.hearings, 1):
        scores = [round(hypothesis.score * 1000) for hypothesis in hearing.hypotheses if isfinite(hypothesis.score)]
        no_speech = round(hearing.no_speech * 1000) if isfinite(hearing.no_speech) else None
        passes.append({"window_ms": hearing.window_ms, "no_speech": no_speech, "scores": scores})
        words |= {f"heard_{number}.{rank}": one.text for rank, one in enumerate(hearing.hypotheses, 1) if one.text}
    second = recognition.second
    other = {} if second is None else {f"second_{name}": value for name, value in _named(second).items()}
    return {
        **_named(recognition.engine),
        **other,
        "passes": passes,
        "cpu_ms": recognition.cpu_ms,
        "elapsed_ms": recognition.elapsed_ms,
    }


def _named(engine: Engine) -> dict[str, object]:
    return {
        "engine": engine.name,
        "engine_version": engine.version,
        "model": engine.model,
        "model_sha256": engine.model_sha256,
        "pinned": engine.pinned,
    }
