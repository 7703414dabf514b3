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
from gateway.ports.prompts import PROMPT_NAMES, PromptMissing
from tests.support.gateway import write_prompts

SHIPPED = ROOT / "ivr_prompts"


def test_the_shipped_prompts_are_complete_in_six_languages() -> None:
    library, findings = load_prompts(SHIPPED)
    assert findings == []
    assert library.languages() == ("de", "en", "es", "fr", "it", "pt")
    for language in library.languages():
        for name in PROMPT_NAMES:
            prompt = library.prompt(language, name)
            asks = name.startswith("ask")
            assert prompt.text and (0 < prompt.minimum_heard_ms < prompt.duration_ms) == asks
            assert 8 < len(prompt.text) * 1000 / prompt.duration_ms < 26, (
                f"{language}/{name} is spoken too fast or slow"
            )


def test_the_shipped_prompts_begin_at_once_and_the_notices_are_short() -> None:
    library, _ = load_prompts(SHIPPED)
    longest_ms = {"ask": 17_000, "ask_again": 10_000, "granted": 6_500, "announced_may_object": 8_000}
    for (language, name), prompt in library.prompts.items():
        with wave.open(prompt.path) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.flatnonzero(np.abs(samples) > 300)[0] < 800, f"{language}/{name} begins with silence"
        assert prompt.duration_ms <= longest_ms.get(name, 4_000), f"{language}/{name} is long"
        if name == "ask":
            assert prompt.minimum_heard_ms < 9_000, f"{language}: the question comes late"


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


def test_a_missing_prompt_is_named(tmp_path: Path) -> None:
    folder = write_prompts(tmp_path)
    manifest = json.loads((folder / "en" / "manifest.json").read_text())
    del manifest["prompts"]["reminder"]
    (folder / "en" / "manifest.json").write_text(json.dumps(manifest))
    library, findings = load_prompts(folder)
    assert ['"reminder" is missing' in str(finding) for finding in findings] == [True]
    assert library.languages() == ()
