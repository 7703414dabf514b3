"""The clips that are measured: spoken by voices from packages, recorded by people, made by machines; or one's own.

A clip is a file (or, where a machine makes the sound, a name for it) and what it is: `yes`, `no` or `other`. Spoken
clips are kept in `.cache/speech` and spoken once.
"""

import functools
import hashlib
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.speech import sound, voices
from bench.speech.seen import TEXTS as SEEN_TEXTS
from bench.speech.seen import VOICES as SEEN_VOICES
from bench.speech.sound import RATE, Audio, SoundError
from bench.speech.texts import TEXTS
from bench.speech.voices import VOICES, Voice, VoicesMissing
from tests.support import speech

ROOT: Final = Path(__file__).parents[2] / ".cache" / "speech"
SOUNDS: Final = Path("/usr/share/asterisk/sounds")
MUSIC: Final = Path("/usr/share/asterisk/moh")
PEOPLE: Final = {"en": "en_US_f_Allison", "es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo"}
"""Recordings of people in Debian's `asterisk-core-sounds-*-wav`, by language. None of them says yes."""
LABELS: Final = ("yes", "no", "other")
LONGEST_S: Final = 12.0
"""So much of a recording is played: an answer may be 10 s long, what is longer is a monologue."""


@dataclass(frozen=True, slots=True)
class Clip:
    """*kind*: `LABEL` or `LABEL.WHAT`; *speaker*: clips of one are what a caller says in a row; *path*: a WAV file, or
    a machine's sound as `made:WHAT:SEED`; *native*: the speaker is known to have no accent."""

    kind: str
    speaker: str
    path: str
    text: str = ""
    native: bool = True

    @property
    def label(self) -> str:
        return self.kind.partition(".")[0]

    @property
    def seed(self) -> int:
        """A number of its own: the noise and the level that go with it are the same each time, wherever it is kept."""
        name = "/".join(Path(self.path).parts[-2:])
        return int.from_bytes(hashlib.sha256(f"{self.speaker}|{name}".encode()).digest()[:4])

    def audio(self) -> Audio:
        """Return at most `LONGEST_S`. Raises `SoundError`."""
        if self.path.startswith("made:"):
            _, what, seed = self.path.split(":")
            return _MADE[what](int(seed))
        return sound.read(Path(self.path))[: round(LONGEST_S * RATE)]


# --- spoken ---


Texts = Mapping[str, tuple[str, ...]]


def _spoken(
    language: str, who: Sequence[Voice], quick: bool, what: Texts | None = None
) -> Iterator[tuple[Voice, Clip]]:
    for kind, texts in (what or TEXTS[language]).items():
        for number, text in enumerate(texts):
            for voice in who[number % 5 :: 5] if quick else who:
                digest = hashlib.sha256(f"{voice}|{voice.tongue}|{text}".encode()).hexdigest()[:10]
                name = f"{voice.engine}-{voice.name}-{digest}.wav".replace("+", "_")
                path = ROOT / language / kind.replace(", ", "_").replace(" ", "_").replace(".", "/") / name
                yield voice, Clip(kind, str(voice), str(path), text, voice.native)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _speak(voice: Voice, text: str, path: str) -> None:
    audio = voices.say(voice, text)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sound.write(Path(path), audio * 0.7 / max(1e-9, float(np.abs(audio).max())))


def speak(language: str, who: Sequence[Voice], quick: bool = False, what: Texts | None = None) -> list[Clip]:
    """Return what the voices *who* say, *what* or the texts of the language; what is not there yet is spoken now, on
    all cores. Raises `VoicesMissing`."""
    clips = list(_spoken(language, who, quick, what))
    wanted = [(voice, clip) for voice, clip in clips if not Path(clip.path).exists()]
    if wanted:
        voices.fetch({voice.engine for voice, _ in wanted})
        minutes = sum(voice.engine == "kokoro" for voice, _ in wanted) / 90
        _log(f"speaking {len(wanted)} clips in {language}, once: about {minutes:.0f} minutes on two cores")
        with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            jobs = [pool.submit(_speak, voice, clip.text, clip.path) for voice, clip in wanted]
            for job in jobs:
                job.result()
    return [clip for _, clip in clips]


# --- recorded, and made ---


def recorded(language: str) -> list[Path]:
    """Return the recordings of people who speak *language* and say something else than yes. Raises `VoicesMissing`."""
    folder = SOUNDS / PEOPLE[language]
    if found := sorted(path for path in folder.rglob("*.wav") if path.parent.name != "silence"):
        return found
    raise VoicesMissing(f"{folder} has no sounds: apt-get install asterisk-core-sounds-{language}-wav")


def people(language: str, quick: bool = False) -> list[Clip]:
    """Return recordings of people who say something else, in *language* and in others. Raises `VoicesMissing`."""
    clips = []
    for spoken, folder in PEOPLE.items():
        if spoken == language:
            kind, every = "other.people", 9 if quick else 1
        else:
            kind, every = "other.people, foreign", 31 if quick else 1 if language == "en" else 10
        clips += [Clip(kind, folder, str(path)) for path in recorded(spoken)[::every]]
    return clips


def machines(quick: bool = False) -> list[Clip]:
    """Return hold music, tones and noise. Raises `VoicesMissing`."""
    music = sorted(MUSIC.glob("*.wav"))
    if not music:
        raise VoicesMissing(f"{MUSIC} has no music: apt-get install asterisk-moh-opsound-wav")
    made = {"music": 100, "babble": 40, "noise": 30, "breath": 20, "fax": 10, "tones": 20}
    return [
        Clip(f"other.{what}", what, f"made:{what}:{seed}")
        for what, count in made.items()
        for seed in range(max(1, count // 10) if quick else count)
    ]


def _music(seed: int) -> Audio:
    tracks = sorted(MUSIC.glob("*.wav"))
    audio = _track(tracks[seed % len(tracks)])
    at = random.Random(seed).randrange(len(audio) - 5 * RATE)
    return audio[at : at + 5 * RATE]


_track = functools.cache(sound.read)


def _babble(seed: int) -> Audio:
    return speech.noise("babble", 3.0, -22.0, seed)


def _noise(seed: int) -> Audio:
    """A burst of noise: a door, a car, wind."""
    kind = ("white", "pink", "hum")[seed % 3]
    length = 0.3 + 0.2 * (seed % 9)
    return speech.noise(kind, length, -18.0, seed) * np.hanning(speech.seconds(length))


def _breath(seed: int) -> Audio:
    rng = np.random.default_rng(seed)
    puffs = [speech.noise("white", 0.4, -30.0, seed + at) * np.hanning(3200) for at in range(int(rng.integers(1, 4)))]
    return np.concatenate([np.concatenate((puff, np.zeros(2400))) for puff in puffs])


def _fax(seed: int) -> Audio:
    """CNG, CED, or V.21 marks and spaces (ITU-T T.30)."""
    if seed % 3 == 0:
        return np.concatenate((speech.tone(0.5, 1100.0), np.zeros(RATE), speech.tone(0.5, 1100.0)))
    if seed % 3 == 1:
        return speech.tone(3.0, 2100.0)
    rng = np.random.default_rng(seed)
    hertz = np.repeat(rng.choice((1650.0, 1850.0), 600), RATE // 300)
    return 0.2 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)


def _tones(seed: int) -> Audio:
    """Keys in the audio, ringing, busy and "no such number"."""
    low, high = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
    if seed < 12:
        return speech.tone(0.3, low[seed % 4], high[seed % 3])
    if seed < 15:
        return np.concatenate([np.concatenate((speech.tone(0.5, 480.0, 620.0), np.zeros(RATE // 2)))] * 3)
    if seed < 17:
        return speech.tone(2.0, 440.0, 480.0)
    return np.concatenate([speech.tone(0.34, hertz) for hertz in (950.0, 1400.0, 1800.0)])


_MADE = {"music": _music, "babble": _babble, "noise": _noise, "breath": _breath, "fax": _fax, "tones": _tones}


# --- the operator's own ---


def own(folder: Path) -> list[Clip]:
    """Return the clips in `FOLDER/LABEL/*.wav`: `yes`, `no`, and every other label, which is what must not be a yes.

    Raises `SoundError` when there are none, or one of them cannot be read.
    """
    if not folder.is_dir():
        raise SoundError(f"{folder}: no such folder")
    clips = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        label = part.name if part.name.partition(".")[0] in LABELS else f"other.{part.name}"
        clips += [Clip(label, "own", str(path), native=False) for path in sorted(part.rglob("*.[wW][aA][vV]"))]
    if not clips:
        raise SoundError(f"{folder}: no WAV files in {folder}/yes, {folder}/no or {folder}/other")
    for clip in clips:
        clip.audio()
    return clips


def built(language: str, quick: bool = False, *, seen: bool = False) -> list[Clip]:
    """Return the whole corpus of a language; *seen*: with the English texts and voices of `bench.speech.seen`. Raises
    `VoicesMissing`."""
    old = seen and language == "en"
    spoken = speak(language, SEEN_VOICES, quick, SEEN_TEXTS) if old else speak(language, VOICES[language], quick)
    clips = [*spoken, *people(language, quick), *machines(quick)]
    assert {clip.label for clip in clips} == set(LABELS)
    return clips
