"""RTP packets (RFC 3550 section 5.1) and telephone events (RFC 4733 section 2.3). Pure: bytes in, values out."""

import struct
from dataclasses import dataclass

from gateway.wire.errors import RtpError

HEADER_BYTES = 12
DIGITS = "0123456789*#ABCD"
"""Event codes 0 to 15 (RFC 4733 section 3.2)."""

_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet. *sequence* 16 bits, *timestamp* and *ssrc* 32 bits; header extensions are skipped on reading."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    def encode(self) -> bytes:
        """Return the datagram. Raises `RtpError` for a number out of range."""
        if not 0 <= self.payload_type <= 127:
            raise RtpError("RTP", "payload type out of range")
        second = self.payload_type | (0x80 if self.marker else 0)
        try:
            return _HEADER.pack(0x80, second, self.sequence, self.timestamp, self.ssrc) + self.payload
        except struct.error:
            raise RtpError("RTP", "number out of range") from None

    @classmethod
    def decode(cls, datagram: bytes) -> "RtpPacket":
        """Read one datagram. Raises `RtpError`, never anything else."""
        if len(datagram) < HEADER_BYTES:
            raise RtpError("RTP", "shorter than a header")
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
        if first >> 6 != 2:
            raise RtpError("RTP", "not version 2")
        start = HEADER_BYTES + 4 * (first & 0x0F)
        if first & 0x10:
            if len(datagram) < start + 4:
                raise RtpError("RTP", "header extension cut off")
            start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        padding = datagram[-1] if first & 0x20 else 0
        end = len(datagram) - padding
        if start > end or (first & 0x20 and not padding):
            raise RtpError("RTP", "CSRC list, extension or padding exceed the packet")
        return cls(second & 0x7F, sequence, timestamp, ssrc, datagram[start:end], bool(second & 0x80))


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """The payload of one telephone-event packet. *duration* in time stamp units (8 a millisecond at 8 kHz)."""

    event: int
    duration: int
    end: bool = False
    volume: int = 10

    @property
    def digit(self) -> str:
        """The key, or "" for an event that is no key."""
        return DIGITS[self.event] if self.event < len(DIGITS) else ""

    def encode(self) -> bytes:
        """Return the four bytes. Raises `RtpError` for a number out of range."""
        if not (0 <= self.event <= 255 and 0 <= self.volume <= 63 and 0 <= self.duration <= 0xFFFF):
            raise RtpError("telephone event", "number out of range")
        return _EVENT.pack(self.event, self.volume | (0x80 if self.end else 0), self.duration)

    @classmethod
    def decode(cls, payload: bytes) -> "TelephoneEvent":
        """Read a payload; what follows the first four bytes is ignored. Raises `RtpError`, never anything else."""
        if len(payload) < _EVENT.size:
            raise RtpError("telephone event", "shorter than four bytes")
        event, flags, duration = _EVENT.unpack_from(payload)
        return cls(event, duration, bool(flags & 0x80), flags & 0x3F)


def event_code(digit: str) -> int:
    """Return the event code of a key. Raises `RtpError` for anything that is no key."""
    code = DIGITS.find(digit.upper()) if len(digit) == 1 else -1
    if code < 0:
        raise RtpError("telephone event", "not a key")
    return code
