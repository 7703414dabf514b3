"""A whole gateway for tests: production wiring, loopback, free ports, prompts of a second."""

import asyncio
import hashlib
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from gateway.adapters.config.settings import Policies, Prompts, Settings, Sip, Speech, Staff, Storage
from gateway.app.session import CallSession
from gateway.bootstrap import Gateway, start_gateway
from gateway.domain.commands import Command
from gateway.domain.events import Event
from gateway.ports.prompts import ALSO_PROMPT_NAMES, PROMPT_NAMES, SPOKEN_PROMPT_NAMES

POLICY = """
name = "test"
version = "1"
{top}

[ask]
attempts = 2
answer_timeout_ms = 800
minimum_heard_ms = 200
{ask}

[pause]
{pause}
"""


def write_prompts(
    folder: Path, language: str = "en", lengths_ms: dict[str, int] | None = None, *, spoken: bool = False
) -> Path:
    """Make a complete set of short prompts (a 440 Hz tone each) with a true manifest, with those that ask for a spoken
    answer or without."""
    place = folder / language
    place.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name in (*PROMPT_NAMES, *ALSO_PROMPT_NAMES, *(SPOKEN_PROMPT_NAMES if spoken else ())):
        asks = name.startswith(("ask", "confirm", "also"))
        length_ms = (lengths_ms or {}).get(name, 600 if asks else 300)
        tone = np.sin(2 * np.pi * 440 * np.arange(length_ms * 8) / 8000) * 4000
        path = place / f"{name}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(tone.astype("<i2").tobytes())
        entries[name] = {
            "file": path.name,
            "text": f"test prompt {name}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "duration_ms": length_ms,
            "minimum_heard_ms": 200 if asks else 0,
        }
    (place / "manifest.json").write_text(json.dumps({"prompts": entries}))
    return folder


def write_policy(folder: Path, *, top: str = "", ask: str = "", pause: str = "", **tables: str) -> Path:
    """Make a policy folder with one policy."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = POLICY.format(top=top, ask=ask, pause=pause)
    more = "".join(f"[{name}]\n{keys}\n" for name, keys in tables.items())
    (folder / "test.toml").write_text(policy + more)
    return folder


def settings(
    folder: Path,
    agent: str,
    *,
    calls: int = 1,
    lengths_ms: dict[str, int] | None = None,
    bind: str = "127.0.0.1:0",
    media_timeout_s: int = 30,
    speech: bool = False,
    trust_jurisdiction: bool = False,
    staff: str = "",
    **policy: str,
) -> Settings:
    """Settings of a gateway that keeps everything below *folder* and sends its calls to *agent* (`host:port`).
    *speech*: it listens, and asks so that callers may answer by voice. *staff*: its colleagues, as TOML."""
    if staff:
        (folder / "staff.d").mkdir(parents=True, exist_ok=True)
        (folder / "staff.d" / "staff.toml").write_text(staff)
    return Settings(
        sip=Sip(
            bind=bind,
            calls=calls,
            agent=f"sip:{{called}}@{agent}",
            invites_per_second=1000,
            media_timeout_s=media_timeout_s,
            trust_jurisdiction=trust_jurisdiction,
        ),
        storage=Storage(folder=folder / "var"),
        staff=Staff(folder=folder / "staff.d" if staff else None),
        policy=Policies(folder=write_policy(folder / "policy.d", **policy)),
        prompts=Prompts(folder=write_prompts(folder / "prompts", lengths_ms=lengths_ms, spoken=speech)),
        speech=Speech() if speech else Speech(engines=()),
    )


class Journal:
    """A tap that keeps everything: (mono_ns, call id, event or command)."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, Event | Command]] = []

    def __call__(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        self.entries.append((mono_ns, call_id, what))

    def of(self, call_id: str, kind: type) -> list[tuple[int, Event | Command]]:
        """All entries of one call and type, oldest first."""
        return [(at, what) for at, call, what in self.entries if call == call_id and isinstance(what, kind)]


@asynccontextmanager
async def running(made: Settings) -> AsyncIterator[tuple[Gateway, Journal]]:
    """A started gateway with a journal."""
    gateway = await start_gateway(made)
    journal = Journal()
    gateway.services.taps.append(journal)
    try:
        yield gateway, journal
    finally:
        await gateway.stop()


async def session_of(gateway: Gateway, number: str, timeout_s: float = 10.0) -> CallSession:
    """Wait for the session of the call from *number*."""
    async with asyncio.timeout(timeout_s):
        while True:
            for session in list(gateway.switchboard.sessions.values()):
                if session.facts.caller == number:
                    return session
            await asyncio.sleep(0.005)
