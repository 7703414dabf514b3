"""When is everything that a far end had sent before an opening out of our hands?

A recording may hold only what was *sent* after it was opened. Audio sent before may still wait in two places: in the
socket, when the library's receiving thread is late, and in the jitter buffer, which may hold it back for as long as it
fills (it gives silence meanwhile, so that counting frames from the opening would count the wrong ones). So the gate
stays shut on a side until a `Drain` has seen both places give up what they held.
"""

from dataclasses import dataclass
from typing import Final

SETTLED_NS: Final = 20_000_000
"""What was read from the socket is in the jitter buffer this much later: it takes microseconds."""

UNKNOWN_SOCKET_NS: Final = 100_000_000
"""Where nobody can tell what waits in the socket: so long after the opening nothing of before does any more."""

FRAMES_IN_HAND: Final = 1
"""Frames of 20 ms that are still silenced when the buffer has given up its last old frame: it may be half played."""


@dataclass(frozen=True, slots=True)
class JitterBuffer:
    """A reading: frames of *frame_ms* that wait (*size*, lost ones included), that were ever put into it (*put*), and
    how many of these it did not take (*discarded*): it had them already, or had played them by then."""

    size: int
    put: int
    discarded: int = 0
    frame_ms: int = 10


NO_STREAM: Final = JitterBuffer(0, 0)
"""There is no stream: nothing waits, and what comes with a new one was sent after now."""


class Drain:
    """One side of one opening, at *opened_ns* (CLOCK_MONOTONIC). Feed it readings until `step` says done.

    *longest_ms* is how much the jitter buffer can hold at all.
    """

    def __init__(self, opened_ns: int, longest_ms: int) -> None:
        self._opened_ns = opened_ns
        self._longest_ns = longest_ms * 1_000_000
        self._read_out_ns: int | None = None
        self._before: JitterBuffer | None = None
        self._before_ns = 0

    def step(self, now_ns: int, waiting_bytes: int | None, buffer: JitterBuffer | None) -> bool:
        """Take readings that were made at *now_ns* or later, and say whether all that is older than the opening is out.

        *waiting_bytes* is what waits in the socket, *buffer* the jitter buffer. None: that cannot be told, and may be
        anything. It is waited for, but not for ever: after 100 ms a socket has been read, after *longest_ms* a buffer
        has been played.

        What waited in the buffer is out when as many frames were put into it since as wait there now, and not before
        it can have been played: a packet that came twice fills no place, however it was counted.
        """
        if self._read_out_ns is None:
            empty = waiting_bytes == 0
            if waiting_bytes is None:
                empty = now_ns - self._opened_ns >= UNKNOWN_SOCKET_NS
            if empty:
                self._read_out_ns = now_ns
            return False
        settled_ns = now_ns - self._read_out_ns - SETTLED_NS
        if settled_ns < 0:
            return False
        if buffer is None:
            return settled_ns >= self._longest_ns
        if self._before is None:
            self._before, self._before_ns = buffer, now_ns
        before = self._before
        if buffer.put < before.put:  # the counter of a new stream, which began after the opening
            return True
        played_ns = before.size * before.frame_ms * 1_000_000
        new = buffer.put - before.put - max(0, buffer.discarded - before.discarded)
        return now_ns - self._before_ns >= played_ns and buffer.size <= new


__all__ = ["FRAMES_IN_HAND", "NO_STREAM", "SETTLED_NS", "UNKNOWN_SOCKET_NS", "Drain", "JitterBuffer"]
