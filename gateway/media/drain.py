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
    """A reading: frames that wait (*size*, lost ones included) and frames ever put into it (*put*)."""

    size: int
    put: int


class Drain:
    """One side of one opening, at *opened_ns* (CLOCK_MONOTONIC). Feed it readings until `step` says done."""

    def __init__(self, opened_ns: int) -> None:
        self._opened_ns = opened_ns
        self._read_out_ns: int | None = None
        self._before: JitterBuffer | None = None

    def step(self, now_ns: int, waiting_bytes: int | None, buffer: JitterBuffer | None) -> bool:
        """Take readings that were made at *now_ns* or later, and say whether all that is older than the opening is out.

        *waiting_bytes* is what waits in the socket (None: cannot be told), *buffer* the jitter buffer (None: there is
        no stream, so none of it can come any more).
        """
        if self._read_out_ns is None:
            empty = waiting_bytes == 0
            if waiting_bytes is None:
                empty = now_ns - self._opened_ns >= UNKNOWN_SOCKET_NS
            if empty:
                self._read_out_ns = now_ns
            return False
        if now_ns - self._read_out_ns < SETTLED_NS:
            return False
        if buffer is None:
            return True
        if self._before is None:
            self._before = buffer
        new = buffer.put - self._before.put
        # A counter that went back belongs to a new stream: it began after the opening.
        return new < 0 or buffer.size <= new


__all__ = ["FRAMES_IN_HAND", "SETTLED_NS", "UNKNOWN_SOCKET_NS", "Drain", "JitterBuffer"]
