"""Time and identity, as data: nothing above the adapters reads a clock or rolls a die."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The machine's clocks."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC, shared by all processes of the machine."""
        ...

    def utc(self) -> datetime:
        """The time of day, UTC."""
        ...


class Identities(Protocol):
    """Makes ids."""

    def call_id(self) -> str:
        """Return a new ULID."""
        ...
