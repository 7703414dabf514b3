"""Real workers, scripted phones, and packets that carry their own number.

A numbered packet is 160 times one mu-law code; the code is the packet's number modulo `CODES`. Codes that decode to
zero are left out, so silence in a recording is never a packet.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyrage
import pytest

from gateway.adapters.sip.pool import SipWorkerPool
from gateway.adapters.sip.protocol import WorkerConfig
from gateway.adapters.softphone import Call, Softphone
from gateway.media import g711
from gateway.ports.media import Answer, Bridge, Dial, Incoming, LegAnswered, MediaEvent

ENTRY = Path(__file__).with_name("worker_entry.py")
ROOT = Path(__file__).parents[2]

_DECODED = g711.decode("PCMU", bytes(range(256)))
_CODES = [code for code in range(256) if _DECODED[code] != 0]
CODES = len(_CODES)
_NUMBER = {int(_DECODED[code]): index for index, code in enumerate(_CODES)}

Event = TypeVar("Event", bound=MediaEvent)


def numbered(first: int = 0) -> Callable[[int], bytes]:
    """An audio source whose packet n says n + *first*."""
    return lambda n: bytes([_CODES[(n + first) % CODES]]) * 160


def echoing(call: Call, delay_ms: int, *, loss_db: float = 12.0) -> Callable[[int], bytes]:
    """An audio source that gives back what *call* hears, *delay_ms* later and weaker by *loss_db*."""
    gain, taken = 10 ** (-loss_db / 20), [len(call.received)]

    def source(n: int) -> bytes:
        heard = call.received[taken[0] : taken[0] + 1]
        if not heard or heard[0][2] > time.monotonic_ns() - delay_ms * 1_000_000:
            return bytes([g711.SILENCE["PCMU"]]) * 160
        taken[0] += 1
        return g711.encode("PCMU", (g711.decode("PCMU", heard[0][3]) * gain).astype(np.int16))

    return source


def packet_numbers(side: "np.ndarray[Any, Any]") -> list[int]:
    """The numbers (modulo CODES) of the packets a recorded side holds, in order. Silence is left out: a jitter buffer
    that ran empty may put it anywhere."""
    starts = np.concatenate(([0], np.flatnonzero(np.diff(side)) + 1)) if len(side) else []
    return [_NUMBER[int(value)] for value in side[starts] if value]


@dataclass(slots=True)
class Key:
    """A recording's key."""

    identity: str
    recipient: str

    @classmethod
    def new(cls) -> "Key":
        identity = pyrage.x25519.Identity.generate()
        return cls(str(identity), str(identity.to_public()))


@dataclass(slots=True)
class Rig:
    """A running pool and everything it has said."""

    pool: SipWorkerPool
    events: list[MediaEvent] = field(default_factory=list)

    async def event(
        self, kind: type[Event], condition: Callable[[Event], bool] = lambda event: True, within: float = 5.0
    ) -> Event:
        """The first event of that kind that satisfies *condition*, had already or awaited."""
        deadline = time.monotonic() + within
        while True:
            for event in self.events:
                if isinstance(event, kind) and condition(event):
                    return event
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {kind.__name__} in {within} s")
            await asyncio.sleep(0.002)

    def have(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def call_in(self, phone: Softphone, **how: Any) -> tuple[Call, Incoming]:
        """A call that has arrived and waits for its answer."""
        reserved = f"reserved-{time.monotonic_ns()}"
        place = self.pool.choose_worker(reserved)
        assert place is not None, "the pool is full"
        known = {event.leg for event in self.have(Incoming)}
        call = await phone.call(f"sip:line@{place[0]}:{place[1]}", **how)
        incoming = await self.event(
            Incoming, lambda event: event.leg not in known and event.sip_call_id == call.sip_call_id
        )
        self.pool.release(reserved)
        return call, incoming

    async def answered_call(self, phone: Softphone, fallback_uri: str = "", **how: Any) -> tuple[Call, str]:
        call, incoming = await self.call_in(phone, **how)
        self.pool.send(Answer(incoming.leg, fallback_uri))
        await call.answered()
        await self.event(LegAnswered, lambda event: event.leg == incoming.leg)
        return call, incoming.leg

    async def bridged_call(
        self, caller: Softphone, agent: Softphone, fallback_uri: str = ""
    ) -> tuple[Call, str, Call, str]:
        """Caller and agent connected: (caller's call, its leg, agent's call, its leg)."""
        call, leg = await self.answered_call(caller, fallback_uri)
        agent_leg = f"agent-of-{leg}"
        self.pool.send(Dial(agent_leg, leg, agent.uri))
        agent_call = await agent.incoming()
        await agent_call.accept()
        await self.event(LegAnswered, lambda event: event.leg == agent_leg)
        self.pool.send(Bridge(leg, agent_leg))
        return call, leg, agent_call, agent_leg


def offer_video_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on softphones offer a video stream before the audio."""
    offer = Call._offer

    def with_video(call: Call) -> bytes:
        head, audio, rest = offer(call).partition(b"m=audio")
        return head + b"m=video 40002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" + audio + rest

    monkeypatch.setattr(Call, "_offer", with_video)


def worker_argv() -> list[str]:
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(ENTRY)!r}, run_name='__main__')"
    return [sys.executable, "-c", code]


@asynccontextmanager
async def running_pool(calls: int = 2, **config: Any) -> AsyncIterator[Rig]:
    pool = SipWorkerPool(
        worker_argv(), calls=calls, address="127.0.0.1:5060", template=WorkerConfig(control_fd=-1, **config)
    )
    rig = Rig(pool)
    await pool.start(rig.events.append)
    try:
        yield rig
    finally:
        await pool.stop()
