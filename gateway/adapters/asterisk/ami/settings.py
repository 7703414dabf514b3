"""Where a server is, how to log in there, and how patient to be with it."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class ManagerServer:
    """One server. *label* is what logs and texts call it.

    *auth*: "md5" answers a challenge and never sends the secret. "plain" sends it, and does so only with *tls* or to
    a loopback address; there is no falling back from one to the other.
    *allow_system*: more actions may be sent (`gateway.wire.ami`), for a user who has class `system`.
    """

    label: str
    host: str
    user: str
    secret: str = field(repr=False)
    port: int = 5038
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    auth: Literal["md5", "plain"] = "md5"
    allow_system: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds.

    *connect_s*: for the connection with its greeting and login, each. *boot_s*: until a server that took the login
    is fully booted. *ping_every_s* and *ping_s*: how often to ask for a sign of life and how long to wait for it.
    *first_s* to *longest_s*: the wait before a new attempt, doubled each time. *steady_s*: a connection that held
    this long makes the next wait the first again.
    """

    connect_s: float = 5.0
    boot_s: float = 120.0
    ping_every_s: float = 5.0
    ping_s: float = 3.0
    first_s: float = 0.25
    longest_s: float = 30.0
    steady_s: float = 10.0

    def wait_s(self, attempt: int, chance: float) -> float:
        """Return the wait before attempt number *attempt* (0 is the first after a loss), with *chance* in [0, 1).

        Between half and all of the doubled time, so that many gateways do not come back at the same moment.

        >>> [Patience().wait_s(attempt, 0.0) for attempt in (0, 1, 2, 1000)]
        [0.125, 0.25, 0.5, 15.0]
        """
        longest = min(self.first_s * 2.0 ** min(attempt, 30), self.longest_s)
        return longest * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a client has of time and chance: the machine's, unless a test says otherwise."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.SystemRandom().random
