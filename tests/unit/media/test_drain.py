"""When audio from before an opening is out: a jitter buffer and a socket, simulated packet by packet."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.drain import NO_STREAM, SETTLED_NS, UNKNOWN_SOCKET_NS, Drain, JitterBuffer

MS = 1_000_000
LONGEST_MS = 500


def test_an_empty_buffer_is_done_when_the_socket_has_settled() -> None:
    drain = Drain(0, LONGEST_MS)
    assert not drain.step(0, 0, JitterBuffer(0, 10))
    assert not drain.step(SETTLED_NS - 1, 0, JitterBuffer(0, 10))
    assert drain.step(SETTLED_NS, 0, JitterBuffer(0, 10))


def test_a_socket_that_still_holds_something_keeps_the_side_silent() -> None:
    drain = Drain(0, LONGEST_MS)
    assert not drain.step(0, 200, JitterBuffer(0, 0))
    assert not drain.step(500 * MS, 200, JitterBuffer(0, 0))
    assert not drain.step(510 * MS, 0, JitterBuffer(0, 0))
    assert not drain.step(510 * MS + SETTLED_NS - 1, 0, JitterBuffer(0, 0))
    assert drain.step(510 * MS + SETTLED_NS, 0, JitterBuffer(0, 0))


def test_a_buffer_that_fills_up_first_gives_nothing_up_until_it_plays() -> None:
    """The leak of November 2026: two packets waited for the buffer to fill while silent ticks were counted."""
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, JitterBuffer(2, 2))
    assert not drain.step(20 * MS, 0, JitterBuffer(4, 4))
    assert not drain.step(40 * MS, 0, JitterBuffer(6, 6))
    assert not drain.step(60 * MS, 0, JitterBuffer(6, 8))
    assert not drain.step(80 * MS, 0, JitterBuffer(6, 9))
    assert drain.step(100 * MS, 0, JitterBuffer(6, 10))


def test_an_unknown_socket_is_given_its_time() -> None:
    drain = Drain(7, LONGEST_MS)
    assert not drain.step(7 + UNKNOWN_SOCKET_NS - 1, None, NO_STREAM)
    assert not drain.step(7 + UNKNOWN_SOCKET_NS, None, NO_STREAM)
    assert drain.step(7 + UNKNOWN_SOCKET_NS + SETTLED_NS, None, NO_STREAM)


def test_without_a_stream_nothing_old_can_come() -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, JitterBuffer(6, 6))
    assert drain.step(SETTLED_NS, 0, NO_STREAM)


def test_a_buffer_nobody_can_read_is_not_an_empty_one() -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, None)
    assert not drain.step(SETTLED_NS, 0, None)
    assert not drain.step(SETTLED_NS + LONGEST_MS * MS - 1, 0, None)
    assert drain.step(SETTLED_NS + LONGEST_MS * MS, 0, None)


def test_a_buffer_that_can_be_read_again_is_believed() -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, None)
    drain.step(SETTLED_NS, 0, None)
    assert not drain.step(SETTLED_NS + 490 * MS, 0, JitterBuffer(2, 10))
    assert not drain.step(SETTLED_NS + 600 * MS, 0, JitterBuffer(2, 11))
    assert drain.step(SETTLED_NS + 601 * MS, 0, JitterBuffer(2, 12))


def test_packets_that_come_twice_take_no_place_in_the_buffer() -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, JitterBuffer(20, 20))
    assert not drain.step(20 * MS, 0, JitterBuffer(20, 20))
    for ms in range(40, 220, 20):  # two frames of 10 ms every 20 ms, each put twice
        once = (ms - 20) // 10
        assert not drain.step(ms * MS, 0, JitterBuffer(20, 20 + 2 * once, once))
    assert drain.step(220 * MS, 0, JitterBuffer(20, 60, 20))


@pytest.mark.parametrize("frame_ms", [10, 20])
def test_whatever_was_counted_a_buffer_is_not_out_before_it_can_have_been_played(frame_ms: int) -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, JitterBuffer(10, 10, 0, frame_ms))
    played = 20 * MS + 10 * frame_ms * MS
    assert not drain.step(20 * MS, 0, JitterBuffer(10, 10, 0, frame_ms))
    assert not drain.step(played - 1, 0, JitterBuffer(10, 1000, 0, frame_ms))
    assert drain.step(played, 0, JitterBuffer(10, 1000, 0, frame_ms))


def test_a_buffer_that_was_emptied_and_counts_its_discards_anew_is_no_gain() -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, JitterBuffer(6, 60, 50))
    assert not drain.step(20 * MS, 0, JitterBuffer(6, 60, 50))
    assert not drain.step(100 * MS, 0, JitterBuffer(6, 65, 0))
    assert drain.step(101 * MS, 0, JitterBuffer(6, 66, 0))


def test_a_stream_that_was_set_up_anew_began_after_the_opening() -> None:
    drain = Drain(0, LONGEST_MS)
    drain.step(0, 0, JitterBuffer(6, 60))
    assert not drain.step(SETTLED_NS, 0, JitterBuffer(6, 61))
    assert drain.step(SETTLED_NS + 1, 0, JitterBuffer(4, 4))


@dataclass
class Path:
    """A far end's packets (each one frame) on their way: socket, jitter buffer, out."""

    socket: deque[int] = field(default_factory=deque)
    buffer: deque[int] = field(default_factory=deque)
    put: int = 0
    discarded: int = 0
    filling: bool = True

    def receive(self) -> None:
        while self.socket:
            self.buffer.append(self.socket.popleft())
            self.put += 1

    def receive_again(self) -> None:
        """A packet that is there already arrives once more."""
        self.put += 1
        self.discarded += 1

    def play(self, prefetch: int) -> int | None:
        if self.filling and len(self.buffer) < prefetch:
            return None
        self.filling = not self.buffer
        return self.buffer.popleft() if self.buffer else None


@given(
    script=st.lists(st.sampled_from(["send", "receive", "again", "play", "step"]), max_size=120),
    opened=st.integers(0, 30),
    prefetch=st.integers(0, 6),
)
def test_nothing_old_comes_out_after_the_drain_says_so(script: list[str], opened: int, prefetch: int) -> None:
    path = Path()
    drain: Drain | None = None
    done = False
    for now, what in enumerate(script):
        if now == opened:
            drain = Drain(now * SETTLED_NS, LONGEST_MS)
        if what == "send":
            path.socket.append(now)
        elif what == "receive":
            path.receive()
        elif what == "again":
            path.receive_again()
        elif what == "play":
            came = path.play(prefetch)
            assert not (done and came is not None and came < opened)
        elif drain is not None:
            buffer = JitterBuffer(len(path.buffer), path.put, path.discarded, frame_ms=0)
            done = done or drain.step(now * SETTLED_NS, len(path.socket), buffer)


@pytest.mark.parametrize("prefetch", [0, 3, 6])
def test_a_steady_stream_is_let_through_again(prefetch: int) -> None:
    path, drain = Path(), Drain(0, LONGEST_MS)
    for now in range(30):
        path.socket.append(now)
        path.receive()
        path.play(prefetch)
        if drain.step(now * SETTLED_NS, 0, JitterBuffer(len(path.buffer), path.put)):
            assert now <= prefetch * 2 + 2
            return
    raise AssertionError("never let through")
