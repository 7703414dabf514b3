"""What pool and worker say to each other beside the commands and events of `gateway.ports.media`.

One JSON object a line, on an AF_UNIX stream that the worker inherits. None of it carries personal data.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway.ports.media import MediaCommand, MediaEvent, ProtocolError, decode

CONFIG_VARIABLE: Final = "CONSENT_GATEWAY_WORKER"

MAX_CALL_ID = 256
"""Characters of a SIP Call-ID that are passed on; the rest is cut off."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How one worker process is set up. Times in ms unless named otherwise.

    *public_address* is the one `host:port` that callers dial: where a full worker redirects to. *sources* are the
    networks initial INVITEs are accepted from. *rtp_ports* is a half-open range, two ports a leg.
    *advertised_host* is what SDP and Contact show when it differs from *bind_host* (NAT), "" for the same.
    """

    control_fd: int
    index: int = 0
    bind_host: str = "127.0.0.1"
    sip_port: int = 0
    advertised_host: str = ""
    public_address: str = ""
    rtp_ports: tuple[int, int] = (20_000, 30_000)
    sources: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    max_calls: int = 1_000
    media_lost_s: float = 30.0
    unanswered_s: float = 60.0
    jitter_buffer_ms: int = 60
    jitter_buffer_max_ms: int = 500
    inband_dtmf: bool = True

    def to_environment(self) -> dict[str, str]:
        return {CONFIG_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "WorkerConfig":
        """Read what the pool set. Raises `KeyError` when this process was not started by a pool."""
        fields: dict[str, Any] = json.loads(os.environ[CONFIG_VARIABLE])
        for name in ("rtp_ports", "sources"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to pool, once: where it listens and what the loaded library can do. *max_calls* counts SIP dialogs."""

    host: str
    port: int
    max_calls: int
    version: str
    fast_frames: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Pool to worker."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Worker to pool, sent by the thread that owns the SIP stack, and only while the media clock runs too."""

    number: int


@dataclass(frozen=True, slots=True)
class Health:
    """Worker to pool, every second. *gap_p99_ms*: between conference ticks, 20 is perfect."""

    gap_p99_ms: float
    gap_max_ms: float
    legs: int
    recordings: int


@dataclass(frozen=True, slots=True)
class Lingering:
    """Worker to pool, at each change: so many slots are still held by calls whose legs have ended, because nobody has
    answered our BYE or CANCEL. It comes before the `LegEnded` of a leg that we end: no slot is believed free that is
    not."""

    slots: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Pool to worker: end all calls and exit."""


Internal = Ready | Ping | Pong | Health | Lingering | Shutdown

_KINDS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in (Ready, Ping, Pong, Health, Lingering, Shutdown)}


def encode_internal(message: Internal) -> bytes:
    return json.dumps({"kind": type(message).__name__, **asdict(message)}, separators=(",", ":")).encode() + b"\n"


def decode_any(line: bytes) -> MediaCommand | MediaEvent | Internal:
    """Read one line of either protocol. Raises `ProtocolError`."""
    try:
        fields = json.loads(line)
        kind = _KINDS.get(fields.get("kind"))
        if kind is None:
            return decode(line)
        del fields["kind"]
        message: Internal = kind(**fields)
    except (ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"not a worker protocol line ({type(error).__name__})") from None
    return message
