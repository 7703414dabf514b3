"""What a leg's party says, cut into utterances. Runs on the library's media thread, one frame of 20 ms at a time.

The audio of an utterance goes to the control process, which has a recogniser listen to it, and nowhere else.
"""

import base64
import time
from collections.abc import Callable

import numpy as np

from gateway.media.gate import FRAME_MS, Samples
from gateway.media.segmenter import Segmenter, SpeechBegan, SpeechEnded
from gateway.ports.media import MediaEvent, SpeechStarted, Utterance

_FRAME_NS = FRAME_MS * 1_000_000


class Ear:
    """Listens to one leg from its making on. It knows the noise of the line and the echo of the prompt only after it
    has heard some: better made when the leg is answered than when the question ends."""

    def __init__(self, leg: str, tell: Callable[[MediaEvent], None]) -> None:
        self._leg = leg
        self._tell = tell
        self._segmenter = Segmenter()
        self._began_ns = 0

    def hear(self, frame: Samples, played: bytes | None, *, key: bool) -> None:
        """One frame (int16, 160 samples) of the leg, what was played to it meanwhile, whether a key sounds in it."""
        reference = None if played is None else np.frombuffer(played, np.int16)
        event = self._segmenter.feed(frame, reference, key=key)
        if event is None:
            return
        now_ns = time.monotonic_ns()
        if isinstance(event, SpeechBegan):
            self._began_ns = now_ns - (event.at_frame - event.from_frame) * _FRAME_NS
            self._tell(SpeechStarted(now_ns, self._leg, self._began_ns))
        elif isinstance(event, SpeechEnded):
            self._tell(
                Utterance(
                    now_ns,
                    self._leg,
                    began_ns=self._began_ns,
                    ended_ns=self._began_ns + (event.to_frame - event.from_frame) * _FRAME_NS,
                    speech_ms=event.speech_frames * FRAME_MS,
                    level_dbov=round(event.level_dbov, 1),
                    noise_dbov=round(event.noise_dbov, 1),
                    cut=event.cut,
                    key_ms=event.key_frames * FRAME_MS,
                    prompt_ms=event.prompt_frames * FRAME_MS,
                    audio=base64.b64encode(event.samples.tobytes()).decode(),
                )
            )
