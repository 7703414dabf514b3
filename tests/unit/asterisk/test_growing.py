"""What a recording that is still written tells of a pause."""

from pathlib import Path

import pytest

from gateway.adapters.asterisk.growing import BLOCK_BYTES, QUEUED_BYTES, PausedFile

SURE = BLOCK_BYTES + QUEUED_BYTES
"""What may still have been said before the pause."""


def grown(path: Path, *pieces: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(pieces)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "call.wav"
    made.write_bytes(b"\1" * BLOCK_BYTES)
    return made


async def test_what_may_be_from_before_the_pause_tells_nothing(path: Path) -> None:
    file = PausedFile(path)
    assert await file.look() == "nothing"
    grown(path, b"\1" * SURE)
    assert await file.look() == "nothing"
    grown(path, b"\0")
    assert await file.look() == "silent"
    assert await file.look() == "nothing"


async def test_one_sample_of_sound_after_it_is_found(path: Path) -> None:
    file = PausedFile(path)
    await file.look()
    grown(path, b"\1" * SURE, bytes(2 * BLOCK_BYTES))
    assert await file.look() == "silent"
    grown(path, bytes(BLOCK_BYTES - 2), b"\1\0")
    assert await file.look() == "sound"


async def test_sound_in_the_same_look_as_the_last_of_before_is_found(path: Path) -> None:
    file = PausedFile(path)
    await file.look()
    grown(path, b"\1" * SURE, b"\1\0")
    assert await file.look() == "sound"


async def test_a_file_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert await PausedFile(tmp_path / "gone.wav").look() == "gone"
