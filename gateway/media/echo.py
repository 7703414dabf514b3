"""A line may echo what it hears: a tone of one party must not count as a key of the other.

A hybrid or a speakerphone gives back what we send it, weaker and up to a second later. A digit that one party dials in
the audio then arrives a second time, on the leg of the party who heard it, and would pause, resume or withdraw in his
name.
"""

import math
from dataclasses import dataclass, field
from typing import Final

ECHO_WITHIN_MS: Final = 1_000
"""The longest an echo may take: network, jitter buffers and an acoustic path, there and back."""


@dataclass(frozen=True, slots=True)
class _Tone:
    digit: str = field(repr=False)
    down_ms: float
    up_ms: float = math.inf


class AudibleDigits:
    """The digits that were audible on one path, for as long as the line at its end may echo them.

    All times in ms of one clock (CLOCK_MONOTONIC). One thread writes, any thread may read.

    What it costs: a genuine press of the same digit, in the audio, by the party who heard it, from its beginning until
    `ECHO_WITHIN_MS` after its end, is taken for the echo and does not count. Nothing in the audio tells the two apart.
    He may press again, and a key that his phone signals (RFC 4733, SIP INFO) always counts: signals have no echo.
    """

    def __init__(self) -> None:
        self._tones: tuple[_Tone, ...] = ()

    def down(self, digit: str, at_ms: float) -> None:
        """A digit began to sound, and sounds until `up`."""
        self._keep(_Tone(digit, at_ms), at_ms)

    def up(self, digit: str, at_ms: float) -> None:
        """It sounds no more."""
        self._tones = tuple(
            _Tone(tone.digit, tone.down_ms, at_ms) if tone.digit == digit and tone.up_ms == math.inf else tone
            for tone in self._tones
        )

    def sound(self, digit: str, from_ms: float, to_ms: float) -> None:
        """A digit sounds somewhere between the two."""
        self._keep(_Tone(digit, from_ms, to_ms), from_ms)

    def may_echo(self, digit: str, at_ms: float, *, heard_until_ms: float = math.inf) -> bool:
        """Tell whether *digit*, beginning at *at_ms*, may be an echo of one on this path.

        While the first lasts an echo may break off and begin anew, so each may be one until `ECHO_WITHIN_MS` after the
        first has ended. *heard_until_ms*: what began later was not heard at the path's end.
        """
        return any(
            tone.digit == digit and tone.down_ms <= heard_until_ms and at_ms - tone.up_ms <= ECHO_WITHIN_MS
            for tone in self._tones
        )

    def _keep(self, tone: _Tone, now_ms: float) -> None:
        self._tones = (*(old for old in self._tones if now_ms - old.up_ms <= ECHO_WITHIN_MS), tone)
