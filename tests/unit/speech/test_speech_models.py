"""Where the weights come from: only from the pinned files, and without running anything."""

import hashlib
from pathlib import Path

import pytest

from gateway.adapters.speech import models
from gateway.adapters.speech.models import PACKAGED, Choice, Packaged, read_model
from gateway.ports.recogniser import RecogniserUnusable

FILES = {"config.json": b"{}", "vocabulary.txt": b"a\nb\n", "model.bin.1": b"first", "model.bin.2": b"second"}
WEIGHTS = FILES["model.bin.1"] + FILES["model.bin.2"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def place(name: str, *parts: str) -> tuple[tuple[str, str], ...]:
    return tuple(("test-speech-model", f"test_speech_model/{part}") for part in parts or (name,))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose code must not be run; returns the folder of its files."""
    folder, metadata = tmp_path / "test_speech_model", tmp_path / "test_speech_model-1.2.dist-info"
    folder.mkdir()
    metadata.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('this code must not be run')")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: test-speech-model\nVersion: 1.2\n")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    packaged = Packaged(
        "speech",
        {
            "config.json": place("config.json"),
            "vocabulary.txt": place("vocabulary.txt"),
            "model.bin": place("", "model.bin.1", "model.bin.2"),
        },
        {
            "config.json": sha256(FILES["config.json"]),
            "vocabulary.txt": sha256(FILES["vocabulary.txt"]),
            "model.bin": sha256(WEIGHTS),
        },
        ("en", "de"),
    )
    monkeypatch.setattr(models, "PACKAGED", {"test": packaged})
    return folder


def test_a_package_is_read_and_not_run(package: Path) -> None:
    model = read_model(Choice("test"))
    assert model.files["model.bin"] == WEIGHTS, "parts are joined"
    assert (model.sha256, model.pinned, model.languages) == (sha256(WEIGHTS), True, ("en", "de"))
    assert model.origin == "test-speech-model 1.2"


@pytest.mark.parametrize("name", ["config.json", "vocabulary.txt", "model.bin.1", "model.bin.2"])
def test_a_file_that_is_not_the_pinned_one_is_refused(package: Path, name: str) -> None:
    (package / name).write_bytes(FILES[name] + b"x")
    with pytest.raises(RecogniserUnusable, match="not the pinned one"):
        read_model(Choice("test"))


def test_a_file_that_is_missing_is_said_with_what_to_install(package: Path) -> None:
    (package / "model.bin.2").unlink()
    with pytest.raises(RecogniserUnusable, match=r"pip install 'consent-gateway\[speech\]'"):
        read_model(Choice("test"))


def test_a_package_that_is_missing_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Packaged("speech-languages", {"model.bin": (("no-such-package", "x"),)}, {}, ("en",))
    monkeypatch.setattr(models, "PACKAGED", {"test": missing})
    with pytest.raises(RecogniserUnusable, match=r"no-such-package.*'consent-gateway\[speech-languages\]'"):
        read_model(Choice("test"))


def test_a_model_that_does_not_exist_is_said() -> None:
    with pytest.raises(RecogniserUnusable, match=r"tiny\.en, base"):
        read_model(Choice("huge"))


def test_a_folder_of_the_operators_own_is_hashed(package: Path) -> None:
    (package / "model.bin").write_bytes(b"own")
    model = read_model(Choice("own", str(package), ("nl",)))
    assert (model.sha256, model.pinned, model.languages) == (sha256(b"own"), False, ("nl",))
    assert set(model.files) == {"config.json", "vocabulary.txt", "model.bin"}


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecogniserUnusable, match="converted for CTranslate2"):
        read_model(Choice("own", str(tmp_path), ("en",)))


def test_every_packaged_model_pins_all_of_its_files() -> None:
    for model in PACKAGED.values():
        assert set(model.files) == set(model.sha256) and "model.bin" in model.files
        assert all(len(bytes.fromhex(digest)) == 32 for digest in model.sha256.values())
