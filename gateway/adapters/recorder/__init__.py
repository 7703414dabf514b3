"""Recordings on disk: one age file each, and how to open them again."""

from gateway.adapters.recorder.reader import (
    DecryptedRecording,
    RecordingMismatch,
    RecordingUnreadable,
    check_against_spans,
    export_wav,
    open_recording,
)
from gateway.adapters.recorder.writer import AgeRecordingWriter

__all__ = [
    "AgeRecordingWriter",
    "DecryptedRecording",
    "RecordingMismatch",
    "RecordingUnreadable",
    "check_against_spans",
    "export_wav",
    "open_recording",
]
