"""`ports.vault.RecordingVault` on age files."""

from collections.abc import Sequence

from gateway.adapters.recorder.reader import RecordingMismatch, RecordingUnreadable, check_against_spans, open_recording
from gateway.ports.media import PausedFill, Span


class AgeVault:
    """Opens a sealed recording in memory and compares it with its timeline."""

    def mismatch(self, path: str, identity: str, spans: Sequence[Span], fill: PausedFill) -> str:
        try:
            recording = open_recording(path, identity)
            if recording.truncated:
                return "the file ends before its seal"
            check_against_spans(recording.samples, spans, fill)
        except (RecordingUnreadable, RecordingMismatch) as error:
            return str(error)
        except OSError as error:
            return f"the file cannot be read ({type(error).__name__})"
        return ""
