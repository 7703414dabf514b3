"""From `[speech]` in `gateway.toml` to the recogniser."""

from pathlib import Path

import pytest

from gateway import bootstrap
from gateway.adapters.config.settings import SettingsError, Speech, load_settings
from gateway.adapters.speech.models import PACKAGED, Choice
from gateway.adapters.speech.pool import Sizes
from gateway.ports.recogniser import NoRecogniser, Recogniser


def read(tmp_path: Path, text: str) -> Speech:
    file = tmp_path / "gateway.toml"
    file.write_text(f"[speech]\n{text}\n")
    return load_settings(file).speech


async def opened(section: Speech, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Choice], Sizes]:
    given: list[tuple[list[Choice], Sizes]] = []

    async def note(choices: list[Choice], sizes: Sizes) -> Recogniser:
        given.append((choices, sizes))
        return NoRecogniser()

    monkeypatch.setattr(bootstrap, "open_recogniser", note)
    await bootstrap.start_recogniser(section)
    return given[0]


async def test_by_default_english_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices, sizes = await opened(read(tmp_path, ""), monkeypatch)
    assert choices == [Choice("tiny.en"), Choice("base")] and sizes == Sizes()


async def test_a_folder_comes_before_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        engines = ["tiny.en", "base"]
        folder = "/models/nl"
        folder_languages = ["nl", "en"]
        workers = 3
        waiting = 5
        deadline_ms = 1500
    """
    choices, sizes = await opened(read(tmp_path, text), monkeypatch)
    assert choices == [Choice("own", "/models/nl", ("nl", "en")), Choice("tiny.en"), Choice("base")]
    assert (sizes.workers, sizes.waiting, sizes.deadline_s, sizes.hung_after_s) == (3, 5, 1.5, 4.5)


async def test_no_engine_is_no_speech(tmp_path: Path) -> None:
    assert isinstance(await bootstrap.start_recogniser(read(tmp_path, "engines = []")), NoRecogniser)


@pytest.mark.parametrize("text", ['engines = ["huge"]', "waiting = 0", "deadline_ms = 50", 'folder_languages = ["EN"]'])
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"speech\."):
        read(tmp_path, text)


def test_every_packaged_model_can_be_named(tmp_path: Path) -> None:
    assert read(tmp_path, f"engines = {list(PACKAGED)}").engines == tuple(PACKAGED)
