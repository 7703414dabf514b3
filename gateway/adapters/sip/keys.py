"""The keys the far ends press, told once each, whatever carries them, and not when they are an echo."""

import math
import time
from collections.abc import Callable
from typing import Any, Final

import pjsua2 as pj

from gateway.adapters.sip.leg import Leg
from gateway.media.dtmf import DtmfEdge
from gateway.ports.media import Digit, DigitEnded, DtmfTransport, MediaEvent

DTMF_ALLOWED: Final = frozenset("0123456789*#ABCD")
SENT_DIGIT_MS: Final = 400
"""The longest the library takes to send one digit by RFC 4733, and the pause after it."""


class Keys:
    """Turns what the library and the detectors hear into `Digit` and `DigitEnded`."""

    def __init__(self, tell: Callable[[MediaEvent], None]) -> None:
        self._tell = tell

    def signalled(self, leg: Leg, prm: Any) -> None:
        """From the library: the media thread for RFC 4733, the stack thread for SIP INFO. Flag 1: not the first
        packet of this press; flag 2: the end."""
        info = prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO
        transport: DtmfTransport = "info" if info else "rfc4733"
        digit, flags, duration = str(prm.digit).upper()[:1], int(prm.flags), int(prm.duration)
        if digit not in DTMF_ALLOWED:
            return
        if info or not flags & 1:
            self._down(leg, digit, transport, time.monotonic_ns())
        if flags & 2:
            self._up(leg, digit, transport, time.monotonic_ns(), duration)

    def sounded(self, leg: Leg, edge: DtmfEdge, age_ms: int, counts: bool) -> None:
        """Media thread: a digit in the leg's audio began or ended *age_ms* ago.

        One that does not count, because a prompt plays to the leg, is heard by the leg's peer all the same, and may
        come back from there.
        """
        at_ns = time.monotonic_ns() - age_ms * 1_000_000
        if edge.kind == "up":
            leg.spoken.up(edge.digit, at_ns / 1e6)
            if counts:
                self._up(leg, edge.digit, "inband", at_ns, edge.duration_ms)
        elif not counts:
            leg.spoken.down(edge.digit, at_ns / 1e6)
        elif not _may_be_echo(leg, edge.digit, at_ns / 1e6):
            # An echo is not noted: else the next press of that key would be taken for the echo of the echo.
            leg.spoken.down(edge.digit, at_ns / 1e6)
            self._down(leg, edge.digit, "inband", at_ns)

    def sent(self, leg: Leg, digits: str) -> None:
        """Stack thread: *digits* go to the leg's far end as signals, which it may turn into tones on its line."""
        now_ms = time.monotonic_ns() / 1e6
        leg.sending_until_ms = max(leg.sending_until_ms, now_ms) + SENT_DIGIT_MS * len(digits)
        for digit in digits:
            leg.sent_digits.sound(digit, now_ms, leg.sending_until_ms)

    def _down(self, leg: Leg, digit: str, transport: DtmfTransport, at_ns: int) -> None:
        if leg.presses.down(digit, transport, at_ns / 1e6):
            self._tell(Digit(at_ns, leg.id, digit, transport))

    def _up(self, leg: Leg, digit: str, transport: DtmfTransport, at_ns: int, duration_ms: int) -> None:
        held_ms = leg.presses.up(digit, transport, at_ns / 1e6, duration_ms)
        if held_ms is not None:
            self._tell(DigitEnded(at_ns, leg.id, digit, held_ms))


def _may_be_echo(leg: Leg, digit: str, at_ms: float) -> bool:
    """Tell whether the leg's line may only give back what it has just heard: its peer, or a digit that we sent."""
    source = leg.peer or leg.early
    until_ms = leg.isolated_at_ms if leg.isolated else math.inf
    return leg.sent_digits.may_echo(digit, at_ms) or (
        source is not None and source.spoken.may_echo(digit, at_ms, heard_until_ms=until_ms)
    )
