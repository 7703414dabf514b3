"""The parts of a worker that need no call: prompts, its protocol, a recording's frames, its link to control."""

import json
import queue
import socket
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from gateway.adapters.sip import frames
from gateway.adapters.sip.legmedia import LEFT, RIGHT
from gateway.adapters.sip.link import ControlLink
from gateway.adapters.sip.protocol import (
    Health,
    Lingering,
    Ping,
    Pong,
    Ready,
    Shutdown,
    WorkerConfig,
    decode_any,
    encode_internal,
)
from gateway.adapters.sip.recording import CONTROL_LOST, Recording
from gateway.adapters.sip.sound import NotAPrompt, Prompt, load_prompt, ring_back
from gateway.media.gate import RecordingGate
from gateway.ports.media import (
    HangUp,
    MediaCommand,
    MediaEvent,
    ProtocolError,
    RecorderClosed,
    RecorderObserved,
    encode,
)
from gateway.ports.recording import FRAME_BYTES, FakeRecordingWriter

# --- sound ----------------------------------------------------------------------------------------------


def test_a_prompt_counts_the_samples_it_gave() -> None:
    prompt = Prompt("p", np.ones(250, np.int16).tobytes())
    assert (prompt.length_ms, prompt.played_ms, prompt.completed) == (31, 0, False)
    prompt.next_frame()
    assert (prompt.played_ms, prompt.completed) == (20, False)
    last = prompt.next_frame()
    assert (prompt.played_ms, prompt.completed) == (31, True)
    assert np.frombuffer(last, np.int16).tolist() == [1] * 90 + [0] * 70
    assert prompt.next_frame() == bytes(320)


@pytest.mark.parametrize(("rate", "channels", "width"), [(16_000, 1, 2), (8_000, 2, 2), (8_000, 1, 1)])
def test_another_format_is_no_prompt(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    path = str(tmp_path / "p.wav")
    with wave.open(path, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(64))
    with pytest.raises(NotAPrompt):
        load_prompt(path)


def test_garbage_is_no_prompt_and_an_absent_file_an_os_error(tmp_path: Path) -> None:
    path = tmp_path / "p.wav"
    path.write_bytes(b"RIFF")
    with pytest.raises(NotAPrompt):
        load_prompt(str(path))
    with pytest.raises(OSError, match="absent"):
        load_prompt(str(tmp_path / "absent"))


def test_the_ring_back_tone_sounds_one_second_in_five() -> None:
    loud = [any(ring_back(frame)) for frame in range(500)]
    assert loud[:50] == [True] * 50
    assert not any(loud[50:250])
    assert loud[250:] == loud[:250]


# --- protocol -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Ready("h", 1, 4, "2.15.1", True),
        Ping(1),
        Pong(2),
        Health(20.1, 25.0, 2, 1),
        Lingering(3),
        Shutdown(),
        HangUp("leg", 486),
    ],
)
def test_every_message_survives_the_wire(message: object) -> None:
    line = encode(message) if isinstance(message, HangUp) else encode_internal(message)  # type: ignore[arg-type]
    assert line.endswith(b"\n")
    assert decode_any(line) == message


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"1", b"{}", b'{"kind":"Ping"}', b'{"kind":"Ping","x":1}', b'{"kind":[]}', b"\xff"]
)
def test_another_line_is_an_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_any(line)


def test_the_configuration_survives_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = WorkerConfig(control_fd=5, rtp_ports=(1, 9), sources=("10.0.0.0/8",), media_lost_s=1.5)
    for name, value in config.to_environment().items():
        monkeypatch.setenv(name, value)
    assert WorkerConfig.from_environment() == config


def test_frames_are_read_fast_on_this_machine() -> None:
    assert frames.self_test()


# --- a recording ----------------------------------------------------------------------------------------


class Desk:
    """A recording with its writer and what it said."""

    def __init__(self, path: str = "/r", **gate: object) -> None:
        self.said: list[MediaEvent] = []
        self.forgotten: list[Recording] = []
        self.writer = FakeRecordingWriter(path, "age1x")
        self.recording = Recording(
            "r",
            path,
            RecordingGate(**gate),  # type: ignore[arg-type]
            self.writer,
            emit=self.said.append,
            on_closed=self.forgotten.append,
        )

    def tick(self, tick: int, left: int | None, right: int | None) -> None:
        self.recording.finish_before(tick)
        for side, number in ((RIGHT, right), (LEFT, left)):
            if number is not None:
                self.recording.arrived(side, tick, np.full(160, number, np.int16))

    def pairs(self) -> list[list[int]]:
        return np.frombuffer(bytes(self.writer.audio), np.int16).reshape(-1, 160, 2)[:, 0].tolist()


def test_the_two_sides_of_one_tick_make_one_frame() -> None:
    desk = Desk()
    desk.tick(7, 1, 2)
    desk.tick(8, 3, 4)
    assert desk.pairs() == [[1, 2], [3, 4]]


def test_a_side_that_gave_nothing_is_silent_in_that_tick_only() -> None:
    desk = Desk()
    desk.tick(1, 1, 2)
    desk.tick(2, 3, None)
    desk.tick(3, None, None)
    desk.tick(4, 5, 6)
    assert desk.pairs() == [[1, 2], [3, 0], [0, 0], [5, 6]]


def test_a_recording_that_begins_inside_a_tick_begins_with_the_next() -> None:
    desk = Desk()
    desk.recording.arrived(RIGHT, 4, np.full(160, 9, np.int16))
    desk.tick(5, 1, 2)
    assert desk.pairs() == [[1, 2]]


def test_commands_count_from_the_next_frame_and_are_told_when_observed() -> None:
    desk = Desk(cause="granted")
    desk.tick(1, 1, 1)
    desk.recording.pause("card")
    assert len(desk.said) == 1
    desk.tick(2, 2, 2)
    before_ns = time.monotonic_ns()
    opening = desk.recording.resume("card")
    desk.recording.drained(opening, LEFT)
    desk.tick(3, 3, 3)
    desk.recording.drained(opening, RIGHT)
    desk.tick(4, 4, 4)
    desk.tick(5, 5, 5)
    assert desk.pairs() == [[1, 1], [0, 0], [0, 0], [4, 0], [5, 5]]
    observed = [event for event in desk.said if isinstance(event, RecorderObserved)]
    assert [(event.state, event.at_frame, event.cause) for event in observed] == [
        ("on", 0, "granted"),
        ("paused", 1, "card"),
        ("on", 2, "card"),
    ]
    assert observed[1].asked_ns < before_ns <= observed[2].asked_ns <= time.monotonic_ns()


def test_a_close_is_carried_out_at_the_next_tick_and_nothing_follows() -> None:
    desk = Desk(look_behind=5)
    desk.tick(1, 1, 1)
    desk.recording.close("end")
    desk.tick(2, 2, 2)
    assert desk.pairs() == [[1, 1]]
    closed = desk.said[-1]
    assert isinstance(closed, RecorderClosed)
    assert (closed.frames, closed.failed, len(closed.spans)) == (1, "", 1)
    assert desk.forgotten == [desk.recording]
    assert desk.recording.finished.is_set()


def test_a_failing_writer_ends_the_recording_and_says_why() -> None:
    desk = Desk()
    desk.tick(1, 1, 1)
    desk.writer.fail("disk full")
    desk.tick(2, 2, 2)
    desk.tick(3, 3, 3)
    closed = [event for event in desk.said if isinstance(event, RecorderClosed)]
    assert [event.failed for event in closed] == ["disk full"]
    assert desk.pairs() == [[1, 1]]


def test_when_control_is_lost_a_sidecar_tells_what_it_missed(tmp_path: Path) -> None:
    path = tmp_path / "r.age"
    desk = Desk(str(path))
    desk.tick(1, 1, 1)
    desk.recording.close(CONTROL_LOST)
    desk.tick(2, 2, 2)
    told = json.loads(Path(f"{path}.closed.json").read_text())
    assert (told["recording"], told["cause"], told["frames"], told["size"]) == ("r", "control lost", 1, FRAME_BYTES)
    assert told["spans"] == [{"state": "on", "from_frame": 0, "to_frame": 1, "cause": ""}]


def test_a_normal_close_leaves_no_sidecar(tmp_path: Path) -> None:
    desk = Desk(str(tmp_path / "r.age"))
    desk.tick(1, 1, 1)
    desk.recording.close("end")
    desk.tick(2, 2, 2)
    assert list(tmp_path.iterdir()) == []


# --- the link -------------------------------------------------------------------------------------------


def linked() -> tuple[ControlLink, socket.socket, "queue.Queue[object]", list[str]]:
    ours, theirs = socket.socketpair()
    messages: queue.Queue[object] = queue.Queue()
    lost: list[str] = []
    link = ControlLink(theirs, on_message=messages.put, on_lost=lambda: lost.append("lost"))
    link.start()
    return link, ours, messages, lost


def until_lost(lost: list[str]) -> None:
    deadline = time.monotonic() + 5
    while not lost and time.monotonic() < deadline:
        time.sleep(0.005)
    assert lost == ["lost"]


def test_lines_arrive_whole_however_they_are_cut() -> None:
    _, ours, messages, lost = linked()
    data = encode(HangUp("a")) + b"garbage\n" + encode_internal(Ping(3))
    for at in range(0, len(data), 7):
        ours.sendall(data[at : at + 7])
    first = messages.get(timeout=5)
    assert isinstance(first, MediaCommand)
    assert messages.get(timeout=5) == Ping(3)
    assert lost == []
    ours.close()
    until_lost(lost)


def test_what_is_told_is_sent_and_after_the_loss_dropped() -> None:
    link, ours, _, lost = linked()
    link.tell(Pong(1))
    assert decode_any(ours.makefile("rb").readline()) == Pong(1)
    ours.shutdown(socket.SHUT_RDWR)
    until_lost(lost)
    assert link.lost
    link.tell(Pong(2))


def test_a_control_process_that_does_not_read_never_blocks_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.sip.link.OUTBOX_LIMIT", 1000)
    link, ours, _, lost = linked()
    started = time.monotonic()
    while not link.lost:
        link.tell(Health(1.0, 1.0, 1, 1))
        assert time.monotonic() - started < 5
    until_lost(lost)
    ours.close()
