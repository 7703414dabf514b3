"""What a decoder of the wire raises: it says what is wrong and where, and never quotes what was sent.

Everything on this wire comes from strangers and most of it is personal (numbers, names, digits), so an error
text that quotes a value would carry it into a log (invariant 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.wire.sip import Request


class WireError(ValueError):
    """Base: *where* in the message (a header's name, a line's number) and *what* is wrong with it."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class SipMessageError(WireError):
    """Not a usable SIP message.

    *status* is the response RFC 3261 asks for and *request* what could be read of a request that can still be
    answered; None when there is nothing to answer (a response, or no readable request line).
    """

    def __init__(self, where: str, what: str, *, status: int = 400, request: Request | None = None) -> None:
        super().__init__(where, what)
        self.status = status
        self.request = request


class SdpError(WireError):
    """Not a session description with an audio stream we can read."""


class RtpError(WireError):
    """Not an RTP packet, or not a telephone event."""


class AmiError(WireError):
    """Not a message of the Asterisk Manager Interface, or one that must never be sent to it."""
