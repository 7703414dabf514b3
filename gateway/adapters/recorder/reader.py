"""Reads sealed recordings back and checks them against what the gate said it did."""

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

import numpy as np
import pyrage
from numpy.typing import NDArray

from gateway.adapters.recorder.writer import RATE, WAV_HEADER
from gateway.ports.media import Span

FRAME_SAMPLES: Final = 160

StereoSamples = NDArray[np.int16]


class RecordingUnreadable(ValueError):
    """No part of the file opens with this identity: another key, or not a recording."""


class RecordingMismatch(ValueError):
    """The audio is not what the spans say. *span* is the first that does not hold, None when it is the length."""

    def __init__(self, message: str, span: Span | None = None) -> None:
        super().__init__(message)
        self.span = span


@dataclass(frozen=True, slots=True)
class DecryptedRecording:
    """The authenticated audio: int16, shape (samples, 2), left is column 0, 8 kHz.

    *truncated*: the file ends, or stops authenticating, before its seal; the samples are those before that place.
    """

    samples: StereoSamples
    truncated: bool

    @property
    def duration_ms(self) -> int:
        return len(self.samples) * 1000 // RATE


def open_recording(path: Path | str, identity: str) -> DecryptedRecording:
    """Decrypt a recording in memory with its age identity (`AGE-SECRET-KEY-1...`).

    A file that a crash cut short gives the samples that authenticate. Raises `RecordingUnreadable` and `OSError`.
    """
    try:
        key = pyrage.x25519.Identity.from_str(identity)
    except pyrage.IdentityError:
        raise RecordingUnreadable("not an age identity") from None
    plain = io.BytesIO()
    truncated = False
    with Path(path).open("rb") as sealed:
        try:
            pyrage.decrypt_io(sealed, plain, [key])
        except pyrage.DecryptError:
            if not plain.tell():
                raise RecordingUnreadable("the recording does not open with this identity") from None
            truncated = True
        except OSError:
            truncated = True
    content = plain.getvalue()
    if not content and truncated:
        return DecryptedRecording(np.zeros((0, 2), np.int16), truncated=True)
    if content[: len(WAV_HEADER)] != WAV_HEADER:
        raise RecordingUnreadable("the content is not a recording of this gateway")
    audio = content[len(WAV_HEADER) :]
    audio = audio[: len(audio) // 4 * 4]
    return DecryptedRecording(np.frombuffer(audio, np.int16).reshape(-1, 2), truncated)


def export_wav(path: Path | str, identity: str, out: BinaryIO) -> DecryptedRecording:
    """Decrypt a recording and write it to *out* as a WAV file with its true sizes. Errors as `open_recording`."""
    recording = open_recording(path, identity)
    with wave.open(out, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(recording.samples.tobytes())
    return recording


def check_against_spans(
    samples: StereoSamples, spans: Sequence[Span], fill: Literal["silence", "gap"] = "silence"
) -> None:
    """Raise `RecordingMismatch` unless the audio is what *spans* tell: they join from frame 0 on, every paused span
    is exact silence (or, with *fill* "gap", is not there), and nothing is missing or left over."""
    at_frame = at_sample = 0
    for span in spans:
        if span.from_frame != at_frame or span.to_frame <= span.from_frame:
            raise RecordingMismatch(f"the span from frame {span.from_frame} does not join frame {at_frame}", span)
        at_frame = span.to_frame
        if fill == "gap" and span.state == "paused":
            continue
        length = (span.to_frame - span.from_frame) * FRAME_SAMPLES
        part = samples[at_sample : at_sample + length]
        if len(part) < length:
            raise RecordingMismatch(f"the audio ends inside the span from frame {span.from_frame}", span)
        if span.state == "paused" and part.any():
            first = int(np.argmax(part.any(axis=1))) // FRAME_SAMPLES + span.from_frame
            raise RecordingMismatch(f"the paused span from frame {span.from_frame} has audio in frame {first}", span)
        at_sample += length
    if len(samples) != at_sample:
        raise RecordingMismatch(f"{len(samples)} samples where the spans tell of {at_sample}")
