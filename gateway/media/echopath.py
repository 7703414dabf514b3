"""How much of what we play comes back? The caller may talk over our prompt; the prompt's echo may not pass for him.

What is heard is at least the echo, so over some time its quieter moments, measured against what was played before, show
how strong the echo is, also while somebody speaks. `EchoPath` learns that for every delay and band: the level heard,
less the level played *delay* frames ago, as a low quantile. At the true delay this is the echo's attenuation; at others
it is lower, as there the loud moments of the prompt meet its pauses. So nothing has to be decided about the delay, more
than one echo fits in, and the expected echo is the strongest that any delay predicts.

It begins with the strongest echo that is assumed at all and comes down by up to 50 dB a second of prompt: what is not
known yet is held for echo, and only who is louder than that is heard. ADR 0008 has the figures.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.media.loudness import BANDS, SILENCE_DBOV, Bands

REACH_FRAMES: Final = 30
"""Delays from 0 to 580 ms."""
STRONGEST_DB: Final = -6.0
"""What is assumed before anything was learnt."""
ACTIVE_DBOV: Final = -50.0
"""A band that plays less teaches nothing."""
_DOWN_DB: Final = 1.0
_UP_DB: Final = 0.4
"""Steps a frame. They balance where 29 % of the moments are below: what a caller adds in the others counts little."""
_LIMIT_DB: Final = (-70.0, 0.0)


class EchoPath:
    """One call's echo path. Feed it every frame: first `play`, then `expected`, then `learn`."""

    def __init__(self) -> None:
        self._played = np.full((REACH_FRAMES, BANDS), SILENCE_DBOV)
        self._gain = np.full((REACH_FRAMES, BANDS), STRONGEST_DB)
        self._since = REACH_FRAMES

    @property
    def sounding(self) -> bool:
        """Whether what was played may still be heard."""
        return self._since < REACH_FRAMES

    @property
    def attenuation_db(self) -> float:
        """How much weaker than what we play its echo is at most, in the band where it is strongest."""
        return -float(self._gain.max())

    def play(self, powers: Bands | None) -> None:
        """Take the bands of what is played in this frame (None: nothing)."""
        self._since = min(self._since + 1, REACH_FRAMES) if powers is None else 0
        if not self.sounding:
            return
        self._played[1:] = self._played[:-1]
        self._played[0] = SILENCE_DBOV if powers is None else decibels(powers)

    def expected(self) -> Bands:
        """Return the echo's level in dBov that is to be expected in this frame, one for each band.

        A delay may be a frame off: jitter buffers move it.
        """
        gain = self._gain.copy()
        np.maximum(gain[1:], self._gain[:-1], out=gain[1:])
        np.maximum(gain[:-1], self._gain[1:], out=gain[:-1])
        expected: Bands = (self._played + gain).max(axis=0)
        return expected

    def learn(self, heard_db: Bands) -> None:
        """Compare with what was heard, dBov, one for each band. Not for lost frames, and not for keys."""
        step: NDArray[np.float64] = np.where(heard_db - self._played > self._gain, _UP_DB, -_DOWN_DB)
        step *= self._played > ACTIVE_DBOV
        self._gain += step
        np.minimum(np.maximum(self._gain, _LIMIT_DB[0], out=self._gain), _LIMIT_DB[1], out=self._gain)


def decibels(powers: Bands) -> Bands:
    """Return dBov, not below `SILENCE_DBOV`."""
    levels: Bands = 10 * np.log10(np.maximum(powers, 1e-10))
    return levels
