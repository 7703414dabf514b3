"""Asterisk's own files, read where its monitor folder is at hand."""

import hashlib
import threading
import time
import wave
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.asterisk import spool


def write(path: Path, frames: int) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(frames * 320))
    return path.read_bytes()


CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
WHERE = "/var/spool/asterisk/monitor/consent/call.wav"


def test_a_final_file_has_its_hash_and_length(tmp_path: Path) -> None:
    data = write(tmp_path / "consent" / "call.wav", 150)
    facts = spool.file_facts(tmp_path, WHERE, purge=False)
    assert (facts["sha256"], facts["size"], facts["frames"]) == (hashlib.sha256(data).hexdigest(), len(data), 150)


def test_a_file_that_becomes_final_a_moment_later_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "consent" / "call.wav"
    data = write(path, 20)
    path.write_bytes(data[:4] + bytes(4) + data[8:40] + bytes(4) + data[44:])

    def close() -> None:
        time.sleep(0.1)
        path.write_bytes(data)

    closing = threading.Thread(target=close)
    closing.start()
    facts = spool.file_facts(tmp_path, WHERE, purge=False)
    closing.join()
    assert facts["frames"] == 20 and facts["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("content", [b"", b"not a wave file", b"RIFF" + bytes(40)])
def test_a_file_that_never_becomes_one_has_no_frame(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "FINAL_WAIT_S", 0)
    path = tmp_path / "consent" / "call.wav"
    path.parent.mkdir()
    path.write_bytes(content)
    facts = spool.file_facts(tmp_path, WHERE, purge=False)
    assert (facts["frames"], facts["size"]) == (0, len(content))
    assert facts["checked"] == "read in the PBX's spool, which never finished it"


def test_a_purge_removes_the_file(tmp_path: Path) -> None:
    write(tmp_path / "consent" / "call.wav", 1)
    facts = spool.file_facts(tmp_path, WHERE, purge=True)
    assert facts["purged"] is True and facts["sha256"] == ""
    assert not list((tmp_path / "consent").iterdir())


@pytest.mark.parametrize("path", ["/elsewhere/other/call.wav", "/no/folder.wav"])
def test_a_purge_that_finds_nothing_has_removed_nothing(tmp_path: Path, path: str) -> None:
    write(tmp_path / "consent" / "call.wav", 1)
    facts = spool.file_facts(tmp_path, path, purge=True)
    assert facts["purged"] is False and "FileNotFoundError" in str(facts["checked"])
    assert list((tmp_path / "consent").iterdir())


def test_a_file_that_is_not_there_or_not_ours_to_see_says_so(tmp_path: Path) -> None:
    assert "FileNotFoundError" in str(spool.file_facts(tmp_path, WHERE, purge=False)["checked"])
    assert "not shared" in str(spool.file_facts(None, WHERE, purge=False)["checked"])
    assert spool.file_facts(tmp_path, "", purge=False)["checked"] == "no file"


def test_a_path_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "monitor").mkdir()
    (tmp_path / "secret").write_text("x")
    facts = spool.file_facts(tmp_path / "monitor", "/x/../secret", purge=True)
    assert (tmp_path / "secret").exists() and facts["purged"] is False


# --- what a killed gateway left behind -------------------------------------------------------------------------------

NAME = f"{CALL}-20261127T120000000.wav"
OTHER = f"{CALL}-20261127T110000000.wav"


def left(folder: Path | None, path: str = "", *, others: tuple[str, ...] = (), stopped: bool = True) -> tuple[str, Any]:
    return spool.left_behind(folder, path, CALL, others=others, stopped=stopped)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "FINAL_WAIT_S", 0)


@pytest.mark.parametrize("path", ["", f"/var/spool/asterisk/monitor/consent/{NAME}"])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_final_file_is_found_by_path_or_call(tmp_path: Path, path: str, stopped: bool) -> None:
    data = write(tmp_path / "consent" / NAME, 150)
    (tmp_path / "consent" / "01ARZ3NDEKTSV4RRFFQ69G5FAW-20261127T120000000.wav").write_bytes(b"of another call")
    file, facts = left(tmp_path, path, stopped=stopped)
    assert file == (path or f"consent/{NAME}")
    assert (facts["sha256"], facts["size"], facts["frames"]) == (hashlib.sha256(data).hexdigest(), len(data), 150)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("stopped", "says"), [(True, "not final"), (False, "not reached")])
def test_a_file_that_may_still_grow_has_neither_hash_nor_size(tmp_path: Path, stopped: bool, says: str) -> None:
    data = write(tmp_path / "consent" / NAME, 20)
    (tmp_path / "consent" / NAME).write_bytes(data[:40] + bytes(4) + data[44:])
    file, facts = left(tmp_path, stopped=stopped)
    assert file == f"consent/{NAME}" and says in facts["checked"]
    assert (facts["sha256"], facts["size"], facts["frames"], facts["purged"]) == ("", 0, 0, False)


def test_a_file_without_a_frame_is_final_only_when_its_recorder_was_stopped(tmp_path: Path) -> None:
    write(tmp_path / "consent" / NAME, 0)
    assert left(tmp_path, stopped=True)[1]["size"] == 44
    assert left(tmp_path, stopped=False)[1]["size"] == 0


def test_of_two_files_of_a_call_that_is_taken_which_is_no_others(tmp_path: Path) -> None:
    write(tmp_path / "consent" / NAME, 5)
    write(tmp_path / "consent" / OTHER, 7)
    assert left(tmp_path, others=(f"/elsewhere/consent/{OTHER}",))[0] == f"consent/{NAME}"
    file, facts = left(tmp_path)
    assert file == "" and facts["sha256"] == "" and "2 files" in facts["checked"]


@pytest.mark.parametrize(("stopped", "says"), [(True, "no file of the call"), (False, "not reached")])
def test_a_call_without_a_file_has_none(tmp_path: Path, stopped: bool, says: str) -> None:
    assert says in left(tmp_path, stopped=stopped)[1]["checked"]
    write(tmp_path / "consent" / f"{CALL}-Erika.wav", 5)
    file, facts = left(tmp_path, stopped=stopped)
    assert file == "" and says in facts["checked"] and facts["sha256"] == ""


def test_a_spool_that_is_away_or_not_shared_says_so(tmp_path: Path) -> None:
    assert left(None, WHERE)[0] == WHERE and "not shared" in left(None, WHERE)[1]["checked"]
    assert "FileNotFoundError" in left(tmp_path / "unmounted")[1]["checked"]
    assert "FileNotFoundError" in left(tmp_path, WHERE)[1]["checked"]
