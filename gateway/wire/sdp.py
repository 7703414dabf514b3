"""The part of SDP an audio call needs (RFC 8866, RFC 3264): one audio stream with PCMU, PCMA and telephone-event.

Pure. `parse` reads any session description whose first audio stream is plain RTP and raises `SdpError` for all
others; streams of other kinds are remembered so that an answer can refuse each of them in its place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from gateway.wire.errors import SdpError

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

STATIC_PAYLOADS = {0: ("PCMU", 8000), 3: ("GSM", 8000), 8: ("PCMA", 8000), 9: ("G722", 8000), 18: ("G729", 8000)}
"""Payload types that need no rtpmap (RFC 3551 section 6), those in use."""

MAX_LINES = 1000
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_MIRRORED: dict[Direction, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
_ADDRESS = re.compile(r"IN IP[46] ([0-9A-Za-z.:\-]+)(?:/[0-9/]+)?")


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of the audio stream; *name* in upper case."""

    payload_type: int
    name: str
    clock_rate: int = 8000


@dataclass(frozen=True, slots=True)
class AudioSession:
    """An offer or answer. *port* 0: the stream is refused. *address* "0.0.0.0": hold as RFC 2543 phones say it.

    *other_streams* are the `m=` lines before and after the audio stream, as written; *index* is its place.
    """

    address: str
    port: int
    codecs: tuple[Codec, ...]
    direction: Direction = "sendrecv"
    session_id: int = 0
    version: int = 0
    ptime_ms: int = 20
    index: int = 0
    other_streams: tuple[str, ...] = field(default=(), repr=False)

    def codec(self, name: str) -> Codec | None:
        """Return the first payload type with this encoding at 8 kHz, or None."""
        return next((item for item in self.codecs if item.name == name.upper() and item.clock_rate == 8000), None)

    @property
    def on_hold(self) -> bool:
        """Whether the sender of this description does not want to hear audio (RFC 3264 section 8.4)."""
        return self.direction in ("sendonly", "inactive") or self.address == "0.0.0.0"  # noqa: S104


def mirrored(direction: Direction) -> Direction:
    """Return the direction as the other side sees it (RFC 3264 section 6.1)."""
    return _MIRRORED[direction]


def parse(body: bytes) -> AudioSession:
    """Read a session description. Raises `SdpError`, never anything else."""
    lines = _lines(body)
    if not lines or lines[0] != ("v", "0"):
        raise SdpError("line 1", "not a session description of version 0")
    sections: list[list[tuple[str, str]]] = [[]]
    for line in lines:
        if line[0] == "m":
            sections.append([])
        sections[-1].append(line)
    session, *streams = sections
    index = next((at for at, stream in enumerate(streams) if stream[0][1].startswith("audio ")), None)
    if index is None:
        raise SdpError("m=", "no audio stream")
    others = tuple(stream[0][1] for at, stream in enumerate(streams) if at != index)
    return _audio(session, streams[index], index, others)


def _lines(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise SdpError("session", "not UTF-8") from None
    if "\x00" in text:
        raise SdpError("session", "holds a NUL")
    raw = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if len(raw) > MAX_LINES:
        raise SdpError("session", f"more than {MAX_LINES} lines")
    for number, line in enumerate(raw, 1):
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise SdpError(f"line {number}", "not of the form x=")
    return [(line[0], line[2:].strip()) for line in raw]


def _audio(
    session: list[tuple[str, str]], stream: list[tuple[str, str]], index: int, others: tuple[str, ...]
) -> AudioSession:
    media = re.fullmatch(r"audio ([0-9]{1,5})(?:/[0-9]{1,5})? (RTP/S?AVPF?)((?: [0-9]{1,3})+)", stream[0][1])
    if media is None:
        raise SdpError("m=audio", "malformed, or not RTP")
    if media[2] != "RTP/AVP" and media[2] != "RTP/AVPF" and int(media[1]):
        raise SdpError("m=audio", "encrypted media is not supported")
    port, payload_types = int(media[1]), [int(item) for item in media[3].split()]
    if port > 65_535 or max(payload_types) > 127:
        raise SdpError("m=audio", "port or payload type out of range")
    connection = [value for kind, value in stream if kind == "c"] or [value for kind, value in session if kind == "c"]
    address = _ADDRESS.fullmatch(connection[0]) if connection else None
    if address is None:
        raise SdpError("c=", "missing or malformed")
    attributes = [value for kind, value in stream if kind == "a"]
    directions = [value for value in attributes if value in _DIRECTIONS]
    directions += [value for kind, value in session if kind == "a" and value in _DIRECTIONS]
    origin = next((value.split() for kind, value in session if kind == "o"), [])
    return AudioSession(
        address=address[1],
        port=port,
        codecs=tuple(_codecs(payload_types, attributes)),
        direction=cast(Direction, directions[0] if directions else "sendrecv"),
        session_id=_number(origin, 1),
        version=_number(origin, 2),
        ptime_ms=_ptime(attributes),
        index=index,
        other_streams=others,
    )


def _codecs(payload_types: Iterable[int], attributes: list[str]) -> Iterable[Codec]:
    mapped: dict[int, Codec] = {}
    for attribute in attributes:
        if attribute.startswith("rtpmap:"):
            found = re.fullmatch(r"rtpmap:([0-9]{1,3})\s+([A-Za-z0-9.\-_+]+)/([0-9]{1,6})(?:/[0-9]{1,2})?", attribute)
            if found is None:
                raise SdpError("a=rtpmap", "malformed")
            mapped[int(found[1])] = Codec(int(found[1]), found[2].upper(), int(found[3]))
    for payload_type in payload_types:
        if payload_type in mapped:
            yield mapped[payload_type]
        elif payload_type in STATIC_PAYLOADS:
            yield Codec(payload_type, *STATIC_PAYLOADS[payload_type])


def _number(origin: list[str], at: int) -> int:
    return int(origin[at]) if len(origin) > at and re.fullmatch(r"[0-9]{1,20}", origin[at]) else 0


def _ptime(attributes: list[str]) -> int:
    for attribute in attributes:
        found = re.fullmatch(r"ptime:([0-9]{1,3})(?:\.[0-9]+)?", attribute)
        if found and int(found[1]):
            return int(found[1])
    return 20


def build(session: AudioSession) -> bytes:
    """Return the session description; streams in `other_streams` are refused with port 0 (RFC 3264 section 6).

    Raises `SdpError` when a value cannot be written.
    """
    if not re.fullmatch(r"[0-9A-Za-z.:\-]+", session.address) or not 0 <= session.port <= 65_535:
        raise SdpError("c=", "address or port cannot be written")
    if not session.codecs or any(not re.fullmatch(r"[A-Za-z0-9.\-_+]+", codec.name) for codec in session.codecs):
        raise SdpError("a=rtpmap", "no codec, or one that cannot be written")
    family = "IP6" if ":" in session.address else "IP4"
    audio = [
        f"m=audio {session.port} RTP/AVP {' '.join(str(codec.payload_type) for codec in session.codecs)}",
        *(f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}" for codec in session.codecs),
        *(f"a=fmtp:{codec.payload_type} 0-16" for codec in session.codecs if codec.name == "TELEPHONE-EVENT"),
        f"a=ptime:{session.ptime_ms}",
        f"a={session.direction}",
    ]
    streams = [[_refused(media)] for media in session.other_streams]
    streams.insert(session.index, audio)
    lines = [
        "v=0",
        f"o=- {session.session_id} {session.version} IN {family} {session.address}",
        "s=-",
        f"c=IN {family} {session.address}",
        "t=0 0",
        *(line for stream in streams for line in stream),
    ]
    return "\r\n".join(lines).replace("TELEPHONE-EVENT/", "telephone-event/").encode() + b"\r\n"


def _refused(media: str) -> str:
    words = media.split()
    if len(words) < 4 or not all(re.fullmatch(r"[\x21-\x7e]+", word) for word in words):
        raise SdpError("m=", "stream that cannot be refused in place")
    return f"m={words[0]} 0 {' '.join(words[2:])}"
