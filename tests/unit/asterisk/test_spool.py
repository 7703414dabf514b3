"""Asterisk's own files, read where its monitor folder is at hand."""

import hashlib
import threading
import time
import wave
from pathlib import Path

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
