"""The machine's clocks and its randomness."""

import secrets
import time
from datetime import UTC, datetime

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemClock:
    """`ports.clock.Clock` on the machine's own clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def utc(self) -> datetime:
        return datetime.now(UTC)


class Ulids:
    """`ports.clock.Identities`: 48 bits of milliseconds, 80 random bits, Crockford base 32 (ULID specification)."""

    def call_id(self) -> str:
        value = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
        return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
