"""The prompts on disk: `<folder>/<locale>/manifest.json` beside the WAV files it names."""

import hashlib
import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from gateway.policy.model import Purpose
from gateway.ports.prompts import ALSO_PROMPT_NAMES, PROMPT_NAMES, SPOKEN_PROMPT_NAMES, Prompt, PromptMissing

LEVEL_DBFS = (-30.0, -14.0)
"""Allowed RMS level of speech, silence left out; telephone speech is aligned near -20 dBFS."""
PEAK_DBFS = -1.0
LENGTH_MS = (300, 30_000)
PURPOSES: tuple[str, ...] = get_args(Purpose)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a prompt: which file, what, and what to do."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class FilePromptLibrary:
    """Prompts that were read and verified once, when the gateway started."""

    prompts: dict[tuple[str, str], Prompt]

    def languages(self) -> tuple[str, ...]:
        found = {language for language, _ in self.prompts}
        return tuple(sorted(lang for lang in found if all((lang, name) in self.prompts for name in PROMPT_NAMES)))

    def asks_by_voice(self, language: str) -> bool:
        return all((language, name) in self.prompts for name in SPOKEN_PROMPT_NAMES)

    def prompt(self, language: str, name: str) -> Prompt:
        try:
            return self.prompts[language, name]
        except KeyError:
            raise PromptMissing(
                f'no prompt "{name}" in language "{language}": run consent-gateway prompts check'
            ) from None


def load_prompts(folder: Path) -> tuple[FilePromptLibrary, list[Finding]]:
    """Read every locale below *folder*. A prompt with a finding is left out of the library: it is not played."""
    prompts: dict[tuple[str, str], Prompt] = {}
    findings: list[Finding] = []
    manifests = sorted(folder.glob("*/manifest.json"))
    if not manifests:
        findings.append(Finding(str(folder), "no <locale>/manifest.json found: run consent-gateway prompts build"))
    for manifest in manifests:
        locale = manifest.parent.name
        try:
            entries = json.loads(manifest.read_text(encoding="utf-8"))["prompts"]
            wanted = {name: entries[name] for name in entries}
        except (ValueError, KeyError, TypeError, OSError) as error:
            findings.append(Finding(str(manifest), f"not a manifest ({type(error).__name__}): build the prompts again"))
            continue
        for name in PROMPT_NAMES:
            if name not in wanted:
                findings.append(Finding(str(manifest), f'prompt "{name}" is missing: build the prompts again'))
        spoken = [name for name in SPOKEN_PROMPT_NAMES if name in wanted]
        if spoken and len(spoken) < len(SPOKEN_PROMPT_NAMES):
            findings.append(Finding(str(manifest), _half(spoken, SPOKEN_PROMPT_NAMES, "to ask for a key only")))
        also = [name for name in ALSO_PROMPT_NAMES if name in wanted]
        if also and len(also) < len(ALSO_PROMPT_NAMES):
            findings.append(Finding(str(manifest), _half(also, ALSO_PROMPT_NAMES, "to ask for purposes together only")))
        for name, entry in wanted.items():
            prompt, wrong = _read(manifest.parent, locale, name, entry)
            findings += wrong
            if prompt is not None and not wrong:
                prompts[locale, name] = prompt
    return FilePromptLibrary(prompts), findings


def _half(there: list[str], names: tuple[str, ...], instead: str) -> str:
    missing = ", ".join(f'"{name}"' for name in names if name not in there)
    named = ", ".join(f'"{name}"' for name in there)
    return f"has {named}, but not {missing}: add what is missing, or leave out all three {instead}"


def _read(folder: Path, locale: str, name: str, entry: object) -> tuple[Prompt | None, list[Finding]]:
    manifest = str(folder / "manifest.json")
    if not isinstance(entry, dict) or not {"file", "text", "sha256", "duration_ms"} <= set(entry):
        return None, [Finding(manifest, f'prompt "{name}" needs file, text, sha256 and duration_ms')]
    lengths = (entry["duration_ms"], entry.get("minimum_heard_ms", 0))
    if not all(isinstance(length, int) and length >= 0 for length in lengths):
        return None, [Finding(manifest, f'prompt "{name}": duration_ms and minimum_heard_ms must be whole numbers')]
    stated_ms, minimum = lengths
    purposes = entry.get("purposes", _purposes(name))
    if not isinstance(purposes, list) or not purposes or not all(purpose in PURPOSES for purpose in purposes):
        return None, [Finding(manifest, f'prompt "{name}": purposes must be a list of {", ".join(PURPOSES)}')]
    path = folder / str(entry["file"])
    if path.parent != folder:
        return None, [Finding(manifest, f'prompt "{name}": the file must stand beside the manifest')]
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [Finding(str(path), f"cannot be read ({type(error).__name__})")]
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != entry["sha256"]:
        return None, [Finding(str(path), "is not the file of the manifest (SHA-256 differs): build the prompts again")]
    try:
        duration_ms, wrong = check_wav(path)
    except (wave.Error, EOFError) as error:
        return None, [Finding(str(path), f"not a WAV file ({error})")]
    if abs(duration_ms - stated_ms) > 1:
        wrong.append(f"lasts {duration_ms} ms, the manifest says {stated_ms} ms")
    if name in (*SPOKEN_PROMPT_NAMES, *ALSO_PROMPT_NAMES) and minimum == 0:
        wrong.append("needs minimum_heard_ms: the end of the sentence that says how to agree")
    if minimum > duration_ms:
        wrong.append(f"minimum_heard_ms {minimum} is longer than the prompt ({duration_ms} ms)")
    text = str(entry["text"])
    prompt = Prompt(name, locale, str(path.resolve()), text, sha256, duration_ms, minimum, tuple(purposes))
    return prompt, [Finding(str(path), message) for message in wrong]


def _purposes(name: str) -> list[str]:
    """What a prompt is about whose manifest does not say."""
    return [name.removeprefix("also_")] if name in ALSO_PROMPT_NAMES else ["recording"]


def check_wav(path: Path) -> tuple[int, list[str]]:
    """Return a prompt's duration in ms and what is wrong with its format, level or length.

    Raises `wave.Error` or `EOFError` for something that is no WAV file.
    """
    with wave.open(str(path), "rb") as file:
        shape = (file.getframerate(), file.getnchannels(), file.getsampwidth())
        frames = file.getnframes()
        audio = file.readframes(frames)
    if shape != (8000, 1, 2):
        return 0, [f"is {shape[0]} Hz, {shape[1]} channel(s), {8 * shape[2]} bit: needs 8000 Hz, mono, 16 bit"]
    samples = np.frombuffer(audio, dtype="<i2").astype(np.float64) / 32768.0
    duration_ms = round(len(samples) / 8)
    wrong = []
    if not LENGTH_MS[0] <= duration_ms <= LENGTH_MS[1]:
        wrong.append(f"lasts {duration_ms} ms: allowed are {LENGTH_MS[0]} to {LENGTH_MS[1]} ms")
    if len(samples) < 160:
        return duration_ms, wrong
    level, peak = speech_level(samples)
    if not LEVEL_DBFS[0] <= level <= LEVEL_DBFS[1]:
        wrong.append(f"speech level {level:.1f} dBFS: allowed are {LEVEL_DBFS[0]:.0f} to {LEVEL_DBFS[1]:.0f} dBFS")
    if peak > PEAK_DBFS:
        wrong.append(f"peaks at {peak:.1f} dBFS: keep below {PEAK_DBFS:.0f} dBFS")
    return duration_ms, wrong


def speech_level(samples: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
    """Return (RMS of the frames that carry speech, peak) in dBFS, full scale 1.0."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    power = (frames**2).mean(axis=1)
    loud = power[power > power.max() / 1000] if power.max() > 0 else power
    level = 10 * np.log10(max(float(loud.mean()), 1e-12))
    peak = 20 * np.log10(max(float(np.abs(samples).max()), 1e-6))
    return float(level), float(peak)
