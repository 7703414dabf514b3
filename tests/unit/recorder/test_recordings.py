"""A recording from the first frame to the opened file, and everything that can go wrong with a disk."""

import errno
import hashlib
import io
import os
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyrage
import pytest

from gateway.adapters.recorder import (
    AgeRecordingWriter,
    RecordingMismatch,
    RecordingUnreadable,
    check_against_spans,
    export_wav,
    open_recording,
)
from gateway.adapters.recorder import writer as writer_module
from gateway.ports.media import Span
from gateway.ports.recording import FRAME_BYTES, FakeRecordingWriter, RecordingWriter, Sealed

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
SECRET = str(IDENTITY)


def frame(number: int) -> bytes:
    return np.full((160, 2), number, np.int16).tobytes()


def seal(writer: RecordingWriter, *, purge: bool = False) -> Sealed:
    done: list[Sealed] = []
    event = threading.Event()

    def on_done(sealed: Sealed) -> None:
        done.append(sealed)
        event.set()

    writer.seal(on_done, purge=purge)
    assert event.wait(5), "the writer never sealed"
    assert len(done) == 1
    return done[0]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# --- the contract: the real writer and the fake ---------------------------------------------------------


@pytest.fixture(params=["age", "fake"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> RecordingWriter:
    path = str(tmp_path / "r.age")
    return AgeRecordingWriter(path, RECIPIENT) if request.param == "age" else FakeRecordingWriter(path, RECIPIENT)


def test_contract_a_recording_is_sealed_once_with_its_size(writer: RecordingWriter) -> None:
    writer.write(frame(1))
    writer.silence(3)
    sealed = seal(writer)
    assert sealed.size >= 4 * FRAME_BYTES
    assert len(sealed.sha256) == 64
    assert sealed.failed == ""
    writer.seal(lambda again: pytest.fail("sealed twice"))


def test_contract_nothing_written_is_no_recording(writer: RecordingWriter) -> None:
    assert seal(writer) == Sealed("", 0)


def test_contract_nothing_written_cannot_be_purged(writer: RecordingWriter) -> None:
    assert seal(writer, purge=True) == Sealed("", 0)


def test_contract_a_purged_recording_is_none(writer: RecordingWriter) -> None:
    writer.write(frame(1))
    assert seal(writer, purge=True) == Sealed("", 0, purged=True)


def test_contract_nothing_is_taken_after_the_seal(writer: RecordingWriter) -> None:
    writer.write(frame(1))
    sealed = seal(writer)
    writer.write(frame(2))
    writer.silence(1)
    writer.seal(lambda again: pytest.fail("sealed twice"))
    assert sealed.size > 0


# --- the age file ---------------------------------------------------------------------------------------


def test_what_was_written_is_what_opens(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    for number in range(1, 301):
        writer.write(frame(number))
    writer.silence(250)
    writer.write(frame(5))
    sealed = seal(writer)
    assert sealed.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sealed.size == path.stat().st_size
    recording = open_recording(path, SECRET)
    assert not recording.truncated
    numbers = recording.samples[::160, 0].tolist()
    assert numbers == [*range(1, 301), *[0] * 250, 5]
    assert recording.duration_ms == 551 * 20


def test_no_file_exists_before_the_first_frame_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    assert not path.exists()
    writer.write(frame(1))
    until(path.exists)
    assert path.stat().st_mode & 0o777 == 0o600
    seal(writer)


def test_no_plain_audio_is_on_the_disk(tmp_path: Path) -> None:
    writer = AgeRecordingWriter(str(tmp_path / "r.age"), RECIPIENT)
    for _ in range(400):
        writer.write(frame(0x4141))
    seal(writer)
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.age"]
    assert b"A" * 16 not in (tmp_path / "r.age").read_bytes()


def test_a_purged_recording_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    for _ in range(200):
        writer.write(frame(1))
    until(path.exists)
    seal(writer, purge=True)
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    path.write_bytes(b"evidence")
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    writer.write(frame(1))
    until(lambda: writer.failed == "file exists")
    assert seal(writer) == Sealed("", 0, "file exists")
    assert path.read_bytes() == b"evidence"


def test_a_recipient_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="age recipient"):
        AgeRecordingWriter(str(tmp_path / "r.age"), "age1nonsense")


def test_a_crash_leaves_all_but_the_last_three_seconds(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    frames = 1000
    for _ in range(frames):
        writer.write(frame(7))
    until(lambda: writer._queued == 0)
    time.sleep(0.1)
    crashed = tmp_path / "crashed.age"
    crashed.write_bytes(path.read_bytes())
    recording = open_recording(crashed, SECRET)
    assert recording.truncated
    assert recording.duration_ms >= frames * 20 - 3000
    assert (recording.samples == 7).all()
    seal(writer)


@pytest.mark.parametrize("cut", [0, 1, 16, 17, 5_000, 65_552, 65_553, 65_570, 70_000])
def test_a_file_cut_anywhere_opens_up_to_the_cut(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    for number in range(300):
        writer.write(frame(number))
    seal(writer)
    whole = open_recording(path, SECRET).samples
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - cut])
    recording = open_recording(path, SECRET)
    assert recording.truncated == (cut > 0)
    assert (recording.samples == whole[: len(recording.samples)]).all()
    assert len(whole) - len(recording.samples) <= (cut + 2 * 65_552) // 4


@pytest.mark.parametrize("keep", [0, 10, 150, 223, 300])
def test_a_file_without_a_whole_chunk_gives_nothing_or_says_so(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    writer.write(frame(1))
    seal(writer)
    path.write_bytes(path.read_bytes()[:keep])
    try:
        recording = open_recording(path, SECRET)
    except RecordingUnreadable:
        return
    assert recording.truncated
    assert len(recording.samples) == 0


def test_another_key_does_not_open_it(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    writer.write(frame(1))
    seal(writer)
    with pytest.raises(RecordingUnreadable):
        open_recording(path, str(pyrage.x25519.Identity.generate()))
    with pytest.raises(RecordingUnreadable):
        open_recording(path, "nonsense")


def test_a_changed_byte_never_gives_changed_audio(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    for number in range(300):
        writer.write(frame(number))
    seal(writer)
    whole = open_recording(path, SECRET).samples
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1
    path.write_bytes(data)
    recording = open_recording(path, SECRET)
    assert recording.truncated
    assert (recording.samples == whole[: len(recording.samples)]).all()


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    path.write_bytes(pyrage.encrypt(b"x" * 100, [IDENTITY.to_public()]))
    with pytest.raises(RecordingUnreadable, match="not a recording"):
        open_recording(path, SECRET)


def test_an_export_is_a_wav_file_with_true_sizes(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    writer.write(frame(9))
    seal(writer)
    out = io.BytesIO()
    export_wav(path, SECRET, out)
    out.seek(0)
    with wave.open(out) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (2, 2, 8000, 160)


# --- failing disks --------------------------------------------------------------------------------------


def test_a_full_disk_fails_closed_and_leaves_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.age"
    writer = AgeRecordingWriter(str(path), RECIPIENT)
    real, space = os.write, 150_000

    def write(fd: int, data: bytes) -> int:
        nonlocal space
        if space <= 0:
            raise OSError(errno.ENOSPC, "no space")
        written = real(fd, data[:space])
        space -= written
        return written

    monkeypatch.setattr(writer_module.os, "write", write)
    for _ in range(400):
        writer.write(frame(7))
    until(lambda: writer.failed == "disk full")
    writer.write(frame(8))
    sealed = seal(writer)
    assert sealed.failed == "disk full"
    assert sealed.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sealed.size == path.stat().st_size
    recording = open_recording(path, SECRET)
    assert recording.truncated
    assert (recording.samples == 7).all()
    assert len(recording.samples) >= 16_000


def test_a_disk_that_stands_still_fails_closed_and_memory_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    real = os.fdatasync

    def sync(fd: int) -> None:
        gate.wait(5)
        real(fd)

    monkeypatch.setattr(writer_module.os, "fdatasync", sync)
    writer = AgeRecordingWriter(str(tmp_path / "r.age"), RECIPIENT)
    for _ in range(2 * writer_module.QUEUE_LIMIT_BYTES // FRAME_BYTES):
        writer.write(frame(1))
    assert writer.failed == "disk too slow"
    gate.set()
    assert seal(writer).failed == "disk too slow"


# --- the check against the spans ------------------------------------------------------------------------


def spans() -> list[Span]:
    return [Span("on", 0, 2, "a"), Span("paused", 2, 4, "b"), Span("on", 4, 5, "c")]


def samples(*numbers: int) -> np.ndarray:
    return np.concatenate([np.full((160, 2), number, np.int16) for number in numbers])


def test_audio_that_matches_its_spans_passes() -> None:
    check_against_spans(samples(1, 2, 0, 0, 3), spans())
    check_against_spans(samples(1, 2, 3), spans(), "gap")


def test_one_sample_in_a_paused_span_is_found_and_the_span_named() -> None:
    audio = samples(1, 2, 0, 0, 3)
    audio[3 * 160 + 17, 1] = 1
    with pytest.raises(RecordingMismatch, match="frame 3") as failure:
        check_against_spans(audio, spans())
    assert failure.value.span == spans()[1]


@pytest.mark.parametrize("numbers", [(1, 2, 0, 0), (1, 2, 0, 0, 3, 4)])
def test_a_wrong_length_is_found(numbers: tuple[int, ...]) -> None:
    with pytest.raises(RecordingMismatch):
        check_against_spans(samples(*numbers), spans())


def test_spans_that_do_not_join_are_found() -> None:
    with pytest.raises(RecordingMismatch, match="join"):
        check_against_spans(samples(1, 2), [Span("on", 0, 1, ""), Span("on", 2, 3, "")])
    with pytest.raises(RecordingMismatch, match="join"):
        check_against_spans(samples(1), [Span("on", 0, 1, ""), Span("paused", 1, 1, "")])
