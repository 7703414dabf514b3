"""Whisper on CTranslate2, without anything that could fetch a model: one utterance in, hypotheses with scores out."""

from typing import Any, Final

import numpy as np

from gateway.adapters.speech.features import log_mel
from gateway.adapters.speech.models import Model
from gateway.domain.spoken import Hearing, Hypothesis, wants_another_look, wants_another_pass
from gateway.media.denoise import without_noise
from gateway.media.g711 import Samples
from gateway.ports.recogniser import MAX_UTTERANCE_MS, Engine, RecogniserUnusable, base_language

FIRST_WINDOW_MS: Final = 8_000
"""Sound looked at first. In 4 s the model loops on one-word answers three times as often, and is no cheaper for it."""
WHOLE_WINDOW_MS: Final = 30_000
"""The window the model was trained with: seven times the cost."""
MINIMUM_TAIL_MS: Final = 500
"""Silence that must fit behind an utterance: a text that ends with the window may have been cut."""
BEAM: Final = 5
UNLIKELY: Final = -99.0
MAXIMUM_TOKENS: Final = 32
"""Longer than any answer on the lists, so that no answer can be the beginning of something longer."""


def _byte_of() -> dict[str, int]:
    """Return the byte that each letter of the vocabulary stands for: printable bytes are themselves, the others are
    numbered upwards from U+0100 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTE_OF = _byte_of()


def text_of(tokens: list[str]) -> str:
    """Return the text of *tokens*; marks such as `<|en|>` are left out, broken characters replaced.

    >>> text_of(["<|en|>", "ĠYes", ",", "ĠI", "Ġagree"])
    'Yes, I agree'
    """
    letters = "".join(token for token in tokens if not (token.startswith("<|") and token.endswith("|>")))
    return bytes(_BYTE_OF[letter] for letter in letters if letter in _BYTE_OF).decode(errors="replace").strip()


class Whisper:
    """One loaded model. Belongs to one thread."""

    def __init__(self, model: Model) -> None:
        """Raises `RecogniserUnusable` when the library is missing or cannot read the model."""
        try:
            import ctranslate2
        except ImportError:
            raise RecogniserUnusable(
                "speech is off, ctranslate2 is not installed: pip install 'consent-gateway[speech]'"
            ) from None
        try:
            self._model: Any = ctranslate2.models.Whisper(
                model.name, compute_type="int8", inter_threads=1, intra_threads=1, files=dict(model.files)
            )
        except (RuntimeError, ValueError) as error:
            raise RecogniserUnusable(
                f"speech model {model.name}: ctranslate2 {ctranslate2.__version__} failed, {type(error).__name__}"
            ) from None
        self._storage = ctranslate2.StorageView.from_array
        languages = model.languages if self._model.is_multilingual else ("en",)
        self.engine = Engine(
            name="whisper",
            version=f"ctranslate2 {ctranslate2.__version__}",
            model=f"{model.name} ({model.origin})",
            model_sha256=model.sha256,
            languages=languages,
            pinned=model.pinned,
        )

    def hear(self, utterance: Samples, language: str, window_ms: int) -> Hearing:
        """Look once at *utterance* (int16 mono 8 kHz) and silence behind it up to *window_ms*."""
        assert len(utterance) <= window_ms * 8 <= MAX_UTTERANCE_MS * 8
        spectrogram = log_mel(utterance, window_ms, self._model.n_mels)
        tongue = [f"<|{base_language(language)}|>", "<|transcribe|>"] if self._model.is_multilingual else []
        [result] = self._model.generate(
            self._storage(np.ascontiguousarray(spectrogram[None])),
            [["<|startoftranscript|>", *tongue, "<|notimestamps|>"]],
            beam_size=BEAM,
            num_hypotheses=BEAM,
            max_length=MAXIMUM_TOKENS,
            return_scores=True,
            return_no_speech_prob=True,
        )
        hypotheses = tuple(
            Hypothesis(text_of(tokens), _score(score, len(tokens)))
            for tokens, score in zip(result.sequences, result.scores, strict=True)
        )
        return Hearing(window_ms, round(min(1.0, float(result.no_speech_prob)), 3), hypotheses)


def first_look(engine: Whisper, utterance: Samples, language: str, *, alone: bool) -> tuple[Hearing, ...]:
    """Return what is heard in *utterance* (int16 mono 8 kHz), its noise turned down. *alone*: no other engine can be
    asked, so what could not be believed is looked at again, with more silence. Nothing is ever cut."""
    quieter = without_noise(utterance)
    window_ms = _window_ms(quieter)
    heard = engine.hear(quieter, language, window_ms)
    if alone and window_ms < WHOLE_WINDOW_MS and wants_another_pass(heard, language):
        return heard, engine.hear(quieter, language, WHOLE_WINDOW_MS)
    return (heard,)


def second_look(engine: Whisper, utterance: Samples, language: str) -> tuple[Hearing, ...]:
    """Return what another engine hears in the same sound."""
    quieter = without_noise(utterance)
    return (engine.hear(quieter, language, _window_ms(quieter)),)


def listen(first: Whisper, second: Whisper | None, utterance: Samples, language: str) -> tuple[Hearing, ...]:
    """Return what *first* hears, and behind it what *second* does where that left a doubt: in one process and at once
    what a worker and the pool do with everybody else's first look in between."""
    heard = first_look(first, utterance, language, alone=second is None)
    if second is None or not wants_another_look(heard[0], language):
        return heard
    return heard + second_look(second, utterance, language)


def _window_ms(utterance: Samples) -> int:
    short = len(utterance) <= (FIRST_WINDOW_MS - MINIMUM_TAIL_MS) * 8
    return FIRST_WINDOW_MS if short else WHOLE_WINDOW_MS


def _score(given: float, tokens: int) -> float:
    """Return the log-probability a token, of *tokens* and the end of the text: the library sums over all of them, and
    divides by *tokens*. What is no number is unlikely (`max` and `min` take their first argument then)."""
    return round(max(UNLIKELY, given * tokens / (tokens + 1)), 3)
