"""Does a frame hold a voice? The question behind one interface, and the detector that is asked by default."""

from typing import Final, Protocol

import numpy as np
import webrtcvad

from gateway.media.g711 import Samples

FRAME_SAMPLES: Final = 160
"""Samples of a frame: 20 ms at 8 kHz."""

FRAME_MS: Final = 20

MODE: Final = 3
"""The least eager of webrtcvad's modes, 0 to 3."""


class VoiceDetector(Protocol):
    """Tells voice from other sound in one stream of 20 ms frames (int16 mono, 8 kHz, 160 samples).

    It may remember frames, so each stream has its own, and it is given every frame, in order. Its answers depend on
    nothing but these. It judges kind and not loudness: `SpeechGate` asks whether a sound stands out.
    """

    def is_voice(self, frame: Samples) -> bool:
        """Take the next frame. A detector with longer windows answers for the latest one that is complete."""
        ...


class WebrtcDetector:
    """webrtcvad, mode 3: it hears every voice; alone it starts at any noise.

    It is deaf to speech below about -42 dBov, so it gets everything twice as loud, clipped where that is too loud.
    """

    def __init__(self) -> None:
        self._vad = webrtcvad.Vad(MODE)

    def is_voice(self, frame: Samples) -> bool:
        louder = np.minimum(np.maximum(frame, -16384), 16383) * 2
        return bool(self._vad.is_speech(louder.tobytes(), 8000))


__all__ = ["FRAME_MS", "FRAME_SAMPLES", "MODE", "VoiceDetector", "WebrtcDetector"]
