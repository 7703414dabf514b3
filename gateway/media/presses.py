"""One press of a key is one press, however many transports carry it."""

from dataclasses import dataclass, field
from typing import Final, Literal

Transport = Literal["rfc4733", "info", "inband"]

ECHO_MS: Final = 500
"""How long after a press the same key on another transport is still the same press."""


@dataclass(slots=True)
class _Press:
    digit: str
    down_ms: float
    up_ms: float | None = None
    echoed_by: set[Transport] = field(default_factory=set)


class KeyPresses:
    """Merges what the three DTMF transports report of one leg. The first to report a press wins.

    The same digit from another transport counts as the same press while the first is held and for `ECHO_MS`
    after its end. A second press of a key on the *same* transport is always a press of its own, and an echo is
    used up by the press it matches: two quick presses carried twice are two.
    """

    def __init__(self) -> None:
        self._held: dict[Transport, _Press] = {}
        self._recent: list[tuple[Transport, _Press]] = []
        self._echoing: set[Transport] = set()

    def down(self, digit: str, transport: Transport, now_ms: float) -> bool:
        """A key went down at *now_ms*. True: report it. False: it is the echo of a press reported already."""
        self._recent = [
            (carrier, press)
            for carrier, press in self._recent
            if press.up_ms is None or now_ms - press.up_ms <= ECHO_MS
        ]
        for carrier, press in self._recent:
            if carrier != transport and press.digit == digit and transport not in press.echoed_by:
                press.echoed_by.add(transport)
                self._echoing.add(transport)
                return False
        self._echoing.discard(transport)
        press = _Press(digit, now_ms)
        lost_end = self._held.get(transport)
        if lost_end is not None and lost_end.up_ms is None:
            lost_end.up_ms = now_ms
        self._held[transport] = press
        self._recent.append((transport, press))
        return True

    def up(self, digit: str, transport: Transport, now_ms: float, duration_ms: int | None = None) -> int | None:
        """A key was released. Returns how long it was held in ms, or None when that press was not reported."""
        if transport in self._echoing:
            self._echoing.discard(transport)
            return None
        press = self._held.get(transport)
        if press is None or press.digit != digit:
            return None
        del self._held[transport]
        press.up_ms = now_ms
        return duration_ms if duration_ms is not None else max(0, round(now_ms - press.down_ms))
