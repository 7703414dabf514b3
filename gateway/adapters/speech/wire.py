"""What the pool and a worker say to each other over their socket: one line of JSON each way, sound behind a request.

Requests and answers carry what a caller said: they exist in the two processes' memory and on this socket alone.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway.domain.spoken import Hearing, Hypothesis
from gateway.ports.recogniser import MAX_UTTERANCE_MS, Engine

MAX_LINE_BYTES: Final = 65_536
MAX_SAMPLES: Final = MAX_UTTERANCE_MS * 8


class WireError(ValueError):
    """A line that is not of this protocol. The text never quotes it."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded these engines, first choice first."""

    engines: tuple[Engine, ...]


@dataclass(frozen=True, slots=True)
class Unusable:
    """The worker cannot load what it was told to; *because* says what helps."""

    because: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What engine number *engine* heard in the utterance of request *job*; None: it failed. *doubt*: another engine
    should look at the same sound."""

    job: int
    engine: int
    doubt: bool
    cpu_ms: int
    hearings: tuple[Hearing, ...] | None


def encode_request(job: int, language: str, look: int, samples: bytes) -> bytes:
    """Return a request: *samples* is int16 mono 8 kHz, little-endian; *look*: 1, or 2 for that of another engine."""
    fields = {"job": job, "language": language, "look": look, "bytes": len(samples)}
    head = json.dumps(fields, separators=(",", ":"))
    return head.encode() + b"\n" + samples


def decode_request(line: bytes) -> tuple[int, str, int, int]:
    """Return job, language, look and the number of bytes that follow. Raises `WireError`."""
    try:
        fields = json.loads(line)
        job, language, look, size = fields["job"], fields["language"], fields["look"], fields["bytes"]
    except (ValueError, KeyError, TypeError):
        raise WireError("not a request") from None
    if not (isinstance(job, int) and isinstance(language, str) and isinstance(size, int)) or type(look) is not int:
        raise WireError("not a request")
    if look not in (1, 2):
        raise WireError("not a request")
    if not 0 < size <= 2 * MAX_SAMPLES or size % 2:
        raise WireError("not the size of an utterance")
    return job, language, look, size


def encode(message: Ready | Unusable | Answer) -> bytes:
    """Return what a worker says as one line."""
    line = json.dumps({type(message).__name__: asdict(message)}, separators=(",", ":"), allow_nan=False)
    return line.encode() + b"\n"


def decode(line: bytes) -> Ready | Unusable | Answer:
    """Read one line of a worker. Raises `WireError`."""
    try:
        [(kind, fields)] = json.loads(line).items()
        if kind == "Ready":
            return Ready(tuple(_engine(engine) for engine in fields["engines"]))
        if kind == "Unusable":
            return Unusable(str(fields["because"]))
        if kind == "Answer":
            heard = fields["hearings"]
            hearings = None if heard is None else _hearings(heard)
            numbers = int(fields["job"]), int(fields["engine"])
            return Answer(*numbers, fields["doubt"] is True, int(fields["cpu_ms"]), hearings)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise WireError("not a line of a speech worker")


def _engine(fields: dict[str, Any]) -> Engine:
    return Engine(**{**fields, "languages": tuple(fields["languages"])})


def _hearings(heard: Sequence[dict[str, Any]]) -> tuple[Hearing, ...]:
    return tuple(
        Hearing(
            int(one["window_ms"]),
            float(one["no_speech"]),
            tuple(Hypothesis(str(each["text"]), float(each["score"])) for each in one["hypotheses"]),
        )
        for one in heard
    )
