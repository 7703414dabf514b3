"""The one place in the whole gateway where a recorder is opened or let run on.

Every function here asks for the receipt of a durable verdict: without one it cannot be called (invariant 2).
An AST test keeps `RecordOpen` and `RecordResume` from being made, and `expect_recorder`, `begin_recorder` and `unmute`
of a PBX's channel from being called, anywhere else.
"""

from collections.abc import Callable, Mapping

from gateway.ports.evidence import Receipt
from gateway.ports.media import MediaCommand, PausedFill, RecordOpen, RecordResume
from gateway.ports.pbx import PbxChannel


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


async def allow_recorder(
    channel: PbxChannel, receipt: Receipt | None, *, call_id: str, variables: Mapping[str, str]
) -> None:
    """Tell a PBX on the strength of *receipt* that it may record; *variables* has the verdict last, so that a
    dialplan that reads it has the rest. Raises `NoDurableVerdict`, `PbxUnavailable`, `PbxRefused`."""
    _require_verdict(receipt, call_id)
    await channel.expect_recorder(call_id)
    await channel.tell(variables)
    await channel.begin_recorder(call_id)


async def resume_pbx_recorder(channel: PbxChannel, receipt: Receipt | None, *, call_id: str) -> None:
    """Let a PBX's recorder run on, on the strength of *receipt*. Raises as `allow_recorder`."""
    _require_verdict(receipt, call_id)
    await channel.unmute()
