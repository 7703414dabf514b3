"""The shipped prompts are whole, and every kind of damage is named."""

import hashlib
import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.adapters.config.settings import ROOT
from gateway.adapters.prompts.library import load_prompts
from gateway.domain.spoken import Meaning, read_text
from gateway.ports.prompts import ALSO_PROMPT_NAMES, PROMPT_NAMES, SPOKEN_PROMPT_NAMES, PromptMissing
from tests.support import speech
from tests.support.gateway import write_prompts

SHIPPED = ROOT / "ivr_prompts"
NAMED = {
    "de": ("die 1 drücken oder „", "Ja, ich stimme zu", "“ sagen."),
    "en": ("say: ", "yes, I agree", ". Or press 1."),
    "es": ("pulse 1, o diga «", "sí, estoy de acuerdo", "» si lo prefiere."),
    "fr": ("tapez 1, ou dites « ", "oui, je suis d'accord", " » si vous préférez."),
    "it": ("digiti 1, o dica «", "sì, sono d'accordo", "» se preferisce."),
    "pt": ("digite 1, ou diga “", "sim, eu concordo", "” se preferir."),
}
"""What stands before and behind the phrase that a prompt names as a yes."""


def test_the_shipped_prompts_are_complete_in_six_languages() -> None:
    library, findings = load_prompts(SHIPPED)
    assert findings == []
    assert library.languages() == ("de", "en", "es", "fr", "it", "pt")
    for language in library.languages():
        spoken = SPOKEN_PROMPT_NAMES if library.asks_by_voice(language) else ()
        for name in (*PROMPT_NAMES, *spoken):
            prompt = library.prompt(language, name)
            asks = name in ("ask", "ask_again", *SPOKEN_PROMPT_NAMES, *ALSO_PROMPT_NAMES)
            assert prompt.text and (0 < prompt.minimum_heard_ms < prompt.duration_ms) == asks
            assert 8 < len(prompt.text) * 1000 / prompt.duration_ms < 26, (
                f"{language}/{name} is spoken too fast or slow"
            )


def test_the_shipped_prompts_begin_at_once_and_the_notices_are_short() -> None:
    library, _ = load_prompts(SHIPPED)
    longest_ms = {"ask": 17_000, "ask_again": 10_000, "granted": 6_500, "announced_may_object": 8_000}
    longest_ms |= {"ask_spoken": 18_000, "ask_again_spoken": 12_000, "confirm_spoken": 8_500}
    longest_ms |= dict.fromkeys(ALSO_PROMPT_NAMES, 11_500)
    for (language, name), prompt in library.prompts.items():
        with wave.open(prompt.path) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.flatnonzero(np.abs(samples) > 300)[0] < 800, f"{language}/{name} begins with silence"
        assert prompt.duration_ms <= longest_ms.get(name, 4_000), f"{language}/{name} is long"
        latest_ms = {"ask": 9_000, "ask_spoken": 10_500}.get(name, prompt.duration_ms)
        assert prompt.minimum_heard_ms <= latest_ms, f"{language}: the question comes late"


def test_every_shipped_language_can_ask_for_a_spoken_answer() -> None:
    library, _ = load_prompts(SHIPPED)
    assert all(library.asks_by_voice(language) for language in library.languages())


@pytest.mark.parametrize("name", SPOKEN_PROMPT_NAMES)
@pytest.mark.parametrize("language", NAMED)
def test_our_own_voice_does_not_say_yes_for_the_caller(language: str, name: str) -> None:
    """It names the phrase that is a yes. What comes back of it on a loudspeaker telephone is longer than the phrase,
    and begins before an answer counts."""
    library, _ = load_prompts(SHIPPED)
    prompt = library.prompt(language, name)
    before, phrase, after = NAMED[language]
    assert f"{before}{phrase}{after}" in prompt.text
    assert read_text(phrase, language).meaning is Meaning.YES
    for heard in (f"{phrase}{after}", f"{phrase} {after}", f"{before}{phrase}", prompt.text):
        assert read_text(heard, language).meaning is Meaning.UNCLEAR
    pieces = speech.spoken(speech.read(f"{language}/{name}"))
    begin, end = next(piece for piece in pieces if piece[1] * 20 >= prompt.minimum_heard_ms - 20)
    assert end * 20 <= prompt.minimum_heard_ms + 60
    assert end - begin >= 75, "there is a pause before or behind the phrase: it could come back alone"


@pytest.mark.parametrize("name", SPOKEN_PROMPT_NAMES)
@pytest.mark.parametrize("language", sorted(set(NAMED) - {"en"}))
def test_where_recognition_is_weak_the_key_comes_first(language: str, name: str) -> None:
    library, _ = load_prompts(SHIPPED)
    text = library.prompt(language, name).text
    no = {"de": "„Nein“", "es": "«no»", "fr": "« non »", "it": "«no»", "pt": "“não”"}[language]
    assert text.index("1") < text.index(NAMED[language][1]) < text.index("2") < text.index(no)


def test_the_manifests_say_who_speaks_and_on_what_terms() -> None:
    for manifest in SHIPPED.glob("*/manifest.json"):
        told = json.loads(manifest.read_text(encoding="utf-8"))
        assert told["locale"] == manifest.parent.name
        assert told["voice"] and told["engine"] and told["engine_version"] and "Apache-2.0" in told["licence"]


def test_the_demonstration_speaks_without_long_silences() -> None:
    for role in ("caller", "agent"):
        with wave.open(str(SHIPPED / "demo" / f"{role}.wav")) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert len(samples) > 40 * 8000
        spoken = np.abs(samples[: len(samples) // 8000 * 8000].reshape(-1, 8000)).max(axis=1)
        assert (spoken > 500).all()


def _rewrite(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    manifest = json.loads(path.read_text())
    change(manifest["prompts"]["ask"])
    path.write_text(json.dumps(manifest))


def _tone(
    path: Path, *, rate: int = 8000, channels: int = 1, width: int = 2, level: float = 4000, ms: int = 600
) -> None:
    tone = np.sin(np.arange(rate * ms // 1000) / 3) * level
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone, channels).astype("<i2" if width == 2 else "<i1").tobytes())


def _trusting(folder: Path, **tone: float) -> None:
    """Replace a prompt *and* its hash: only the audio is wrong."""
    path = folder / "en" / "ask.wav"
    _tone(path, **tone)  # type: ignore[arg-type]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    length = int(tone.get("ms", 600))
    _rewrite(folder / "en" / "manifest.json", lambda ask: ask.update(sha256=digest, duration_ms=length))


def _bytes(folder: Path, content: bytes) -> None:
    """Replace a prompt by something that is no WAV file, and its hash with it."""
    (folder / "en" / "ask.wav").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    _rewrite(folder / "en" / "manifest.json", lambda ask: ask.update(sha256=digest))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("other bytes", lambda f: _tone(f / "en" / "ask.wav", level=3000), "SHA-256 differs"),
    ("gone", lambda f: (f / "en" / "ask.wav").unlink(), "cannot be read"),
    ("rate", lambda f: _trusting(f, rate=16000), "needs 8000 Hz"),
    ("stereo", lambda f: _trusting(f, channels=2), "needs 8000 Hz, mono"),
    ("loud", lambda f: _trusting(f, level=32767), "peaks at"),
    ("quiet", lambda f: _trusting(f, level=100), "speech level"),
    ("short", lambda f: _trusting(f, ms=100), "lasts 100 ms: allowed"),
    (
        "length",
        lambda f: _rewrite(f / "en" / "manifest.json", lambda a: a.update(duration_ms=1)),
        "the manifest says 1 ms",
    ),
    (
        "minimum",
        lambda f: _rewrite(f / "en" / "manifest.json", lambda a: a.update(minimum_heard_ms=9999)),
        "longer than the prompt",
    ),
    (
        "escape",
        lambda f: _rewrite(f / "en" / "manifest.json", lambda a: a.update(file="../x.wav")),
        "beside the manifest",
    ),
    ("no text", lambda f: _rewrite(f / "en" / "manifest.json", lambda a: a.pop("text")), "needs file, text"),
    (
        "words for lengths",
        lambda f: _rewrite(f / "en" / "manifest.json", lambda a: a.update(duration_ms="long")),
        "must be whole numbers",
    ),
    (
        "minimum below nothing",
        lambda f: _rewrite(f / "en" / "manifest.json", lambda a: a.update(minimum_heard_ms=-1)),
        "must be whole numbers",
    ),
    ("no WAV", lambda f: _bytes(f, b"not audio at all"), "not a WAV file"),
    ("a list for prompts", lambda f: (f / "en" / "manifest.json").write_text('{"prompts": ["ask"]}'), "not a manifest"),
    ("not JSON", lambda f: (f / "en" / "manifest.json").write_text("{"), "not a manifest"),
    ("no manifest", lambda f: shutil.rmtree(f / "en"), "prompts build"),
]


@pytest.mark.parametrize(("damage", "message"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_damage_is_named_and_the_prompt_not_used(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = write_prompts(tmp_path)
    assert load_prompts(folder)[1] == []
    damage(folder)
    library, findings = load_prompts(folder)
    assert any(message in str(finding) for finding in findings), findings
    with pytest.raises(PromptMissing, match="prompts check"):
        library.prompt("en", "ask")
    assert library.languages() == ()


def _spoken_without(folder: Path, *names: str) -> Path:
    """Write prompts with those that ask for a spoken answer, but for *names*."""
    write_prompts(folder, spoken=True)
    path = folder / "en" / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in names:
        del manifest["prompts"][name]
    path.write_text(json.dumps(manifest))
    return folder


def test_a_language_has_all_prompts_that_ask_for_a_spoken_answer_or_none(tmp_path: Path) -> None:
    library, findings = load_prompts(_spoken_without(tmp_path / "all"))
    assert findings == [] and library.asks_by_voice("en") and not library.asks_by_voice("de")
    assert library.prompt("en", "confirm_spoken").minimum_heard_ms == 200
    library, findings = load_prompts(_spoken_without(tmp_path / "none", *SPOKEN_PROMPT_NAMES))
    assert findings == [] and not library.asks_by_voice("en") and library.languages() == ("en",)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["confirm_spoken"], 'has "ask_spoken", "ask_again_spoken", but not "confirm_spoken": '),
        (["ask_spoken", "ask_again_spoken"], 'has "confirm_spoken", but not "ask_spoken", "ask_again_spoken": '),
    ],
)
def test_some_of_them_are_an_error_and_callers_answer_by_key(tmp_path: Path, missing: list[str], message: str) -> None:
    library, findings = load_prompts(_spoken_without(tmp_path, *missing))
    (found,) = findings
    assert found.file.endswith("manifest.json") and found.message.startswith(message)
    assert "leave out all three to ask for a key only" in found.message
    assert not library.asks_by_voice("en") and library.languages() == ("en",)


def test_a_damaged_one_leaves_callers_their_keys(tmp_path: Path) -> None:
    folder = _spoken_without(tmp_path)
    (folder / "en" / "ask_again_spoken.wav").unlink()
    library, findings = load_prompts(folder)
    assert ["cannot be read" in str(finding) for finding in findings] == [True]
    assert not library.asks_by_voice("en") and library.languages() == ("en",)


@pytest.mark.parametrize("name", SPOKEN_PROMPT_NAMES)
def test_a_spoken_answer_never_counts_from_the_first_word_of_the_question(tmp_path: Path, name: str) -> None:
    folder = _spoken_without(tmp_path)
    path = folder / "en" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["prompts"][name]["minimum_heard_ms"]
    path.write_text(json.dumps(manifest))
    library, findings = load_prompts(folder)
    assert ["needs minimum_heard_ms" in str(finding) for finding in findings] == [True]
    assert not library.asks_by_voice("en")


def test_a_missing_prompt_is_named(tmp_path: Path) -> None:
    folder = write_prompts(tmp_path)
    manifest = json.loads((folder / "en" / "manifest.json").read_text())
    del manifest["prompts"]["reminder"]
    (folder / "en" / "manifest.json").write_text(json.dumps(manifest))
    library, findings = load_prompts(folder)
    assert ['"reminder" is missing' in str(finding) for finding in findings] == [True]
    assert library.languages() == ()


# --- purposes ---------------------------------------------------------------------------------------------------------


def edited(folder: Path, **changes: dict[str, object]) -> Path:
    """A set of prompts whose manifest says something else; a prompt with `None` is taken out."""
    write_prompts(folder)
    manifest = folder / "en" / "manifest.json"
    table = json.loads(manifest.read_text())
    for name, change in changes.items():
        table["prompts"][name] |= change
    manifest.write_text(json.dumps(table))
    return folder


def test_a_prompt_is_about_what_its_manifest_says(tmp_path: Path) -> None:
    library, findings = load_prompts(edited(tmp_path, ask={"purposes": ["recording", "analysis"]}))
    assert findings == []
    assert library.prompt("en", "ask").purposes == ("recording", "analysis")
    assert library.prompt("en", "ask_again").purposes == ("recording",)
    assert library.prompt("en", "also_sharing").purposes == ("sharing",)


@pytest.mark.parametrize("purposes", ["recording", [], ["spying"], [1], [[1]], None])
def test_purposes_that_are_none_are_named(tmp_path: Path, purposes: object) -> None:
    library, findings = load_prompts(edited(tmp_path, ask={"purposes": purposes}))
    assert [finding.message for finding in findings] == [
        'prompt "ask": purposes must be a list of recording, transcription, analysis, sharing'
    ]
    assert library.languages() == ()


def test_a_language_has_all_questions_about_further_purposes_or_none(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    manifest = tmp_path / "en" / "manifest.json"
    table = json.loads(manifest.read_text())
    for name in ALSO_PROMPT_NAMES:
        del table["prompts"][name]
        manifest.write_text(json.dumps(table))
        _, findings = load_prompts(tmp_path)
        half = name != ALSO_PROMPT_NAMES[-1]
        assert [str(f).endswith("leave out all three to ask for purposes together only") for f in findings] == [
            True
        ] * half


def test_a_question_about_a_purpose_says_how_much_of_it_must_be_heard(tmp_path: Path) -> None:
    _, findings = load_prompts(edited(tmp_path, also_analysis={"minimum_heard_ms": 0}))
    assert ["needs minimum_heard_ms" in finding.message for finding in findings] == [True]
