"""Is the far end of a leg still there?

While audio is due, audio is the only proof: a far end that signals and sends none has lost its media. A leg on hold
may rightly be silent for an hour, so it is asked: an OPTIONS inside the dialog, which every user agent answers
(RFC 3261 section 11). Session timers (RFC 4028) would need the far end's consent and take 90 s at least.
"""

from dataclasses import dataclass
from typing import Literal

Sign = Literal["there", "ask", "lost"]


@dataclass(slots=True)
class Liveness:
    """One leg. All times in seconds of one clock (CLOCK_MONOTONIC)."""

    _packets: int | None = None
    _audio_at: float = 0.0
    _spoke_at: float = 0.0
    _asked_at: float = 0.0

    def begin(self, now: float) -> None:
        """Audio, or a hold, was agreed on just now: every limit counts from here."""
        self._audio_at = now

    def spoke(self, now: float) -> None:
        """A SIP message of the far end arrived, whatever it says. It counts while no audio is due."""
        self._spoke_at = now

    def look(self, now: float, packets: int | None, *, audio_due: bool, limit_s: float) -> Sign:
        """Say what *packets*, the number of RTP packets received so far (None: it cannot be told), amounts to.

        *lost*: no audio for over *limit_s*, where it is due. Where it is not, or cannot be told, *ask* after half of
        that without a sign of life, and *lost* when there was none for another half either; the answer, if one comes,
        is a `spoke`.
        """
        if packets is not None and packets != self._packets:
            self._packets, self._audio_at = packets, now
        if audio_due and packets is not None:
            return "lost" if now - self._audio_at > limit_s else "there"
        seen = max(self._audio_at, self._spoke_at)
        asked = self._asked_at > seen
        if now - (self._asked_at if asked else seen) <= limit_s / 2:
            return "there"
        self._asked_at = now
        return "lost" if asked else "ask"
