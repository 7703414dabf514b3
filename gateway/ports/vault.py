"""Finished recordings, read back with their key."""

from collections.abc import Sequence
from typing import Protocol

from gateway.ports.media import PausedFill, Span


class RecordingVault(Protocol):
    """Opens sealed recordings. Blocking: call it from a thread."""

    def mismatch(self, path: str, identity: str, spans: Sequence[Span], fill: PausedFill) -> str:
        """Compare the recording sample by sample with its timeline: exact silence in every paused span, nothing outside
        the spans. Return "" or a sentence that names the offending span (or that the file cannot be opened)."""
        ...
