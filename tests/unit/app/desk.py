"""A switchboard with fakes around it, and a caller, an agent and a recorder who do as a test says."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.app.colleagues import Colleagues
from gateway.app.services import Services
from gateway.app.switchboard import Switchboard
from gateway.domain.rules import Rules
from gateway.policy.authority import Authority
from gateway.policy.staff import Directory, make_directory, parse_staff
from gateway.ports import media
from gateway.ports.evidence import FakeEvidenceLog
from gateway.ports.keys import FakeKeyStore
from gateway.ports.media import FakeMediaServer
from gateway.ports.policy import CallFacts, Decision, PolicyVersion, Reloaded
from gateway.ports.prompts import PROMPT_NAMES, SPOKEN_PROMPT_NAMES, Prompt, PromptMissing
from gateway.ports.registry import FakeCallRegistry

NUMBER = "+4915112345678"
NAME = "Erika Mustermann"
CALL = "CALL1"
CALLER, AGENT = "leg-1", f"{CALL}:agent"


class Clock:
    """Moves only when told to."""

    ns = 1_000_000_000

    def monotonic_ns(self) -> int:
        return self.ns

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


class Counting:
    """Call ids CALL1, CALL2, ..."""

    made = 0

    def call_id(self) -> str:
        self.made += 1
        return f"CALL{self.made}"


@dataclass
class Prompts:
    """Every prompt but those named in *missing*."""

    missing: set[str] = field(default_factory=set)

    def languages(self) -> tuple[str, ...]:
        return ("en",)

    def asks_by_voice(self, language: str) -> bool:
        return not self.missing & set(SPOKEN_PROMPT_NAMES)

    def prompt(self, language: str, name: str) -> Prompt:
        if name in self.missing:
            raise PromptMissing(name)
        assert language == "en" and name in (*PROMPT_NAMES, *SPOKEN_PROMPT_NAMES)
        return Prompt(name, language, f"/prompts/{name}.wav", f"text of {name}", f"sha of {name}", 5_000)


@dataclass
class Policies:
    """One set of rules for everybody."""

    rules: Rules
    who_may: Authority = field(default_factory=Authority)

    def resolve(self, facts: CallFacts) -> Decision:
        return Decision(self.rules, ("the only policy",), authority=self.who_may)

    def resolve_joining(self, facts: CallFacts, joined: Decision) -> Decision:
        return Decision(joined.rules.for_who_joins(), (joined.rules.joining_reason,), authority=joined.authority)

    def authority(self, policy: str) -> Authority:
        return self.who_may

    def in_force(self) -> tuple[PolicyVersion, ...]:
        return (PolicyVersion(*self.rules.policy),)

    async def reload(self) -> Reloaded:
        return Reloaded(self.in_force(), (), ())


@dataclass
class Vault:
    """Finds what a test tells it to find."""

    wrong: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def mismatch(self, path: str, identity: str, spans: Sequence[media.Span], fill: media.PausedFill) -> str:
        self.asked.append((path, identity))
        return self.wrong


@dataclass
class Desk:
    """One switchboard and everything around it."""

    folder: Path
    rules: Rules = field(default_factory=Rules)
    server: FakeMediaServer = field(default_factory=FakeMediaServer)
    log: FakeEvidenceLog = field(default_factory=FakeEvidenceLog)
    registry: FakeCallRegistry = field(default_factory=FakeCallRegistry)
    keys: FakeKeyStore = field(default_factory=FakeKeyStore)
    vault: Vault = field(default_factory=Vault)
    prompts: Prompts = field(default_factory=Prompts)
    clock: Clock = field(default_factory=Clock)

    staff: str = ""
    """Colleagues, as TOML."""

    def directory(self) -> Directory:
        return make_directory([parse_staff(self.staff.encode(), "staff.toml")] if self.staff else [])

    async def open(self) -> "Desk":
        self.policies = Policies(self.rules)
        self.services = Services(
            media=self.server,
            evidence=self.log,
            registry=self.registry,
            keys=self.keys,
            vault=self.vault,
            prompts=self.prompts,
            policy=self.policies,
            clock=self.clock,
            identities=Counting(),
            route=lambda facts: "sip:anna@agents.example",
            recordings=self.folder,
            staff=Colleagues(self.directory),
        )
        self.board = Switchboard(self.services)
        await self.server.start(self.board.on_media)
        return self

    # --- what was sent ----------------------------------------------------------------------------------------------

    def sent(self, kind: type[media.MediaCommand]) -> list[Any]:
        return [command for command in self.server.sent if isinstance(command, kind)]

    async def until(self, condition: Callable[[], object], what: str = "") -> Any:
        """Let the loop run until *condition* holds."""
        for _ in range(500):
            found = condition()
            if found:
                return found
            await asyncio.sleep(0.001)
        raise AssertionError(f"never came: {what or condition}; sent {self.server.sent}, log {self.log.kinds(CALL)}")

    async def rest(self) -> None:
        """Let everything that is on its way arrive."""
        for _ in range(60):
            await asyncio.sleep(0)

    async def sends(self, kind: type[media.MediaCommand], count: int = 1) -> Any:
        await self.until(lambda: len(self.sent(kind)) >= count, kind.__name__)
        return self.sent(kind)[count - 1]

    # --- what happens -----------------------------------------------------------------------------------------------

    def report(self, kind: type[media.MediaEvent], *fields: Any, **more: Any) -> None:
        self.server.report(kind(self.clock.ns, *fields, **more))

    def incoming(self, leg: str = CALLER) -> None:
        self.report(media.Incoming, leg, "sip-id@pbx", NUMBER, NAME, "+4930999", "192.0.2.7:5060", ())

    async def hears(self, prompt: str, count: int = 1) -> None:
        """Wait for the *count*th play of a prompt and play it to its end."""

        def due() -> list[media.Play]:
            return [play for play in self.sent(media.Play) if play.path.endswith(f"/{prompt}.wav")][count - 1 :]

        play = (await self.until(due, prompt))[0]
        self.report(media.PlayStarted, play.leg, play.play)
        self.clock.ns += 5_000_000_000
        self.report(media.PlayFinished, play.leg, play.play, 5_000, 5_000, True)

    def press(self, keys: str, leg: str = CALLER) -> None:
        for key in keys:
            self.report(media.Digit, leg, key, "rfc4733")

    async def asks(self) -> None:
        self.incoming()
        await self.sends(media.Answer)
        self.report(media.LegAnswered, CALLER, "sip-id@pbx", "PCMU")

    async def dials(self, key: str = "1") -> media.Dial:
        await self.asks()
        await self.hears("ask")
        self.press(key)
        await self.hears("granted" if key == "1" else "refused")
        dialled: media.Dial = await self.sends(media.Dial)
        return dialled

    async def talks(self, key: str = "1") -> None:
        await self.dials(key)
        self.report(media.LegAnswered, AGENT, "sip-id@agent", "PCMU")
        await self.sends(media.Bridge)

    async def records(self) -> media.RecordOpen:
        await self.talks()
        opened: media.RecordOpen = await self.sends(media.RecordOpen)
        self.gate("on")
        await self.until(lambda: "recorder.observed" in self.log.kinds(CALL))
        return opened

    def gate(self, state: str, recording: str = f"{CALL}-1") -> None:
        self.report(media.RecorderObserved, recording, state, 12, "command")

    def closed(
        self,
        recording: str = f"{CALL}-1",
        sha256: str = "ab" * 32,
        failed: str = "",
        frames: int = 50,
        *,
        purged: bool = False,
    ) -> None:
        spans = (media.Span("on", 0, frames, "conversation began"),)
        size = 640 if sha256 else 0
        self.report(media.RecorderClosed, recording, sha256, size, frames, spans, failed, purged=purged)

    async def ends(self) -> None:
        """The caller hangs up, and everybody does as told."""
        self.report(media.LegEnded, CALLER, 200, "remote")
        if self.sent(media.Dial):
            await self.until(lambda: [h for h in self.sent(media.HangUp) if h.leg == AGENT])
            self.report(media.LegEnded, AGENT, 200, "local")
        if self.sent(media.RecordOpen) and self.log.kinds(CALL).count("recording.closed") < len(
            self.sent(media.RecordOpen)
        ):
            await self.sends(media.RecordClose)
            self.closed()
        await self.over()

    async def over(self) -> None:
        await self.until(lambda: not self.board.sessions, "the end of the call")

    def facts(self, kind: str, call_id: str = CALL) -> list[Any]:
        return [entry.facts for entry in self.log.appended if entry.kind == kind and entry.call == call_id]
