"""The one place in the whole gateway where a recorder is opened or let run on.

Both functions ask for the receipt of a durable verdict: without one they cannot be called (invariant 2).
An AST test keeps `RecordOpen` and `RecordResume` from being made anywhere else.
"""

from collections.abc import Callable

from gateway.ports.evidence import Receipt
from gateway.ports.media import MediaCommand, PausedFill, RecordOpen, RecordResume


class NoDurableVerdict(RuntimeError):
    """The receipt is not that of a verdict of this call."""


def _require_verdict(receipt: Receipt | None, call_id: str) -> None:
    if receipt is None or receipt.kind != "verdict" or receipt.call_id != call_id:
        raise NoDurableVerdict("a recorder runs only on the receipt of a durable verdict of its own call")


def open_recorder(
    send: Callable[[MediaCommand], None],
    receipt: Receipt | None,
    *,
    call_id: str,
    recording: str,
    left: str,
    right: str,
    path: str,
    recipient: str,
    look_behind_ms: int,
    paused_fill: PausedFill,
    cause: str,
) -> None:
    """Open *recording* on the strength of *receipt*. Raises `NoDurableVerdict`."""
    _require_verdict(receipt, call_id)
    send(RecordOpen(recording, left, right, path, recipient, look_behind_ms, paused_fill, False, cause))


def resume_recorder(
    send: Callable[[MediaCommand], None], receipt: Receipt | None, *, call_id: str, recording: str, cause: str
) -> None:
    """Let *recording* run on, on the strength of *receipt*. Raises `NoDurableVerdict`."""
    _require_verdict(receipt, call_id)
    send(RecordResume(recording, cause))
