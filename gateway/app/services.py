"""What a call session works with, wired once by `gateway.bootstrap`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.app.colleagues import Colleagues
from gateway.domain.commands import Command
from gateway.domain.events import Event
from gateway.ports.clock import Clock, Identities
from gateway.ports.evidence import EvidenceLog
from gateway.ports.keys import KeyStore
from gateway.ports.media import MediaServer
from gateway.ports.pbx import Pbx
from gateway.ports.policy import CallFacts, PolicyBook
from gateway.ports.prompts import PromptLibrary
from gateway.ports.recogniser import NoRecogniser, Recogniser
from gateway.ports.registry import CallRegistry, RegistryUnavailable
from gateway.ports.vault import RecordingVault

_log = structlog.get_logger(__name__)

Tap = Callable[[str, Event | Command, int], None]
"""Sees every event and command of every call: (call id, event or command, CLOCK_MONOTONIC ns). Must not block."""

Route = Callable[[CallFacts], str]
"""Returns the SIP URI of the agent for a call."""


@dataclass(slots=True)
class Services:
    """Ports and settings shared by all calls."""

    media: MediaServer
    evidence: EvidenceLog
    registry: CallRegistry
    keys: KeyStore
    vault: RecordingVault
    prompts: PromptLibrary
    policy: PolicyBook
    clock: Clock
    identities: Identities
    route: Route
    recordings: Path
    pbx: Pbx | None = None
    recogniser: Recogniser = field(default_factory=NoRecogniser)
    staff: Colleagues = field(default_factory=Colleagues)
    taps: list[Tap] = field(default_factory=list)

    async def note_closed(self, recording: str, sha256: str, size: int, frames: int) -> None:
        """Note a final recording. The evidence has the same facts, so a registry that cannot write is only logged; its
        row then stays open."""
        try:
            await self.registry.recording_closed(recording, sha256=sha256, size=size, frames=frames)
        except (RegistryUnavailable, KeyError):
            _log.error("the registry did not take a closed recording", recording=recording)

    async def note_placed(self, recording: str, path: str) -> None:
        """Note where a PBX keeps a recording."""
        try:
            await self.registry.recording_placed(recording, path=path)
        except (RegistryUnavailable, KeyError):
            _log.error("the registry did not take a recording's place", recording=recording)

    async def note_destroyed(self, recording: str) -> None:
        """Destroy the key of a recording that has no file (any more)."""
        try:
            await self.registry.recording_destroyed(recording)
        except (RegistryUnavailable, KeyError):
            _log.error("the registry did not destroy a key", recording=recording)

    def tap(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        """Show *what* to everybody who watches."""
        for tap in self.taps:
            tap(call_id, what, mono_ns)
