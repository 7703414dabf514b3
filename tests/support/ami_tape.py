"""What passed between a gateway and an Asterisk in one call, on tape: recorded from a real call, replayed without one.

A tape is JSON lines in the order of what happened: `state` (a connection with its snapshot, or none), `event` (from
Asterisk), `watch` and `asked` (what the gateway wanted of a channel), `action` (with its response or error), `told`
(what the handler made of it). A replay feeds the first four to the real handler, answers its actions from the tape, and
returns what it told.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from gateway.adapters.asterisk.ami.client import AmiClient
from gateway.adapters.asterisk.channel import UNMUTE_AFTER_S, AsteriskChannel
from gateway.adapters.asterisk.pbx import AsteriskServer, Switch
from gateway.adapters.config.settings import Evidence
from gateway.app.tasks import spawn
from gateway.ports import pbx
from gateway.ports.manager import (
    ActionRefused,
    ManagerBridge,
    ManagerChannel,
    ManagerError,
    ManagerEvent,
    ManagerResponse,
    ManagerSnapshot,
    ManagerState,
    NotConnected,
)

Line = dict[str, Any]
WISHES = (
    *("tell", "expect_recorder", "begin_recorder", "covers", "mute", "unmute", "close"),
    *("lamp", "ask_again", "ask_party", "hang_up", "forget"),
)
USED = frozenset(
    {
        "BridgeEnter",
        "BridgeLeave",
        "Newchannel",
        "Hangup",
        "HangupRequest",
        "DTMFEnd",
        "MixMonitorStart",
        "MixMonitorStop",
        "UserEvent",
        "ConfbridgeRecord",
        "ConfbridgeStopRecord",
        "ConfbridgeEnd",
    }
)
"""Events that the handler looks at; the others are not kept."""
FIELDS = frozenset(
    {
        *("Uniqueid", "Linkedid", "Channel", "BridgeUniqueid", "BridgeType", "Conference"),
        *("Digit", "Direction", "UserEvent", "ConsentCallID"),
    }
)
ORIGIN = Evidence().origin
"""The name of the gateway that the tapes were recorded with."""


# --- recording -------------------------------------------------------------------------------------------------------


@contextmanager
def recording(path: Path) -> Iterator[None]:
    """Write everything that passes to *path* while the context is open."""
    lines: list[Line] = []
    begun_ns = time.monotonic_ns()
    on_event, on_state, watch = Switch.on_event, Switch.on_state, Switch.watch
    action, told = AmiClient.action, AsteriskChannel._tell

    def event_came(self: Switch, event: ManagerEvent) -> None:
        if event.name in USED:
            kept = [pair for pair in event.fields if pair[0] in FIELDS]
            at_ms = (time.monotonic_ns() - begun_ns) // 1_000_000
            lines.append({"event": event.name, "at_ms": at_ms, "fields": kept})
        on_event(self, event)

    def state_came(self: Switch, state: ManagerState) -> None:
        snapshot = asdict(state.snapshot) if state.snapshot else None
        lines.append({"state": state.connected, "snapshot": snapshot})
        on_state(self, state)

    def watched(self: Switch, channel: str, linkedid: str, sink: pbx.PbxSink) -> AsteriskChannel:
        lines.append({"watch": channel, "linkedid": linkedid})
        return watch(self, channel, linkedid, sink)

    async def acted(self: AmiClient, name: str, fields: Mapping[str, str] = {}, **more: Any) -> ManagerResponse:
        line: Line = {"action": name, "fields": dict(fields)}
        lines.append(line)
        try:
            response = await action(self, name, fields, **more)
        except ManagerError as error:
            line["error"] = type(error).__name__
            raise
        line["value"] = response.get("Value")
        return response

    def was_told(self: AsteriskChannel, event: pbx.PbxEvent) -> None:
        if not (isinstance(event, pbx.RecorderRuns) and "growing file" in event.how):  # that is not on the tape
            lines.append(as_line(event))
        told(self, event)

    def wished(name: str) -> Any:
        real = getattr(AsteriskChannel, name)

        def asked(self: AsteriskChannel, *arguments: Any) -> Any:
            lines.append({"asked": name, "of": self.channel, "with": arguments})
            return real(self, *arguments)

        return patch.object(AsteriskChannel, name, asked)

    patches = [
        patch.object(Switch, "on_event", event_came),
        patch.object(Switch, "on_state", state_came),
        patch.object(Switch, "watch", watched),
        patch.object(AmiClient, "action", acted),
        patch.object(AsteriskChannel, "_tell", was_told),
        *(wished(name) for name in WISHES),
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def as_line(event: pbx.PbxEvent) -> Line:
    """What was told, without its moment."""
    facts = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(event).items()}
    del facts["mono_ns"]
    return {"told": type(event).__name__, "facts": facts}


# --- replaying -------------------------------------------------------------------------------------------------------


@dataclass
class TapeClient:
    """A manager whose answers are on the tape: the next recorded answer to the same action with the same fields."""

    answers: dict[str, list[Line]]
    server: str = "tape"
    state: ManagerState = field(default_factory=ManagerState)
    asked: list[str] = field(default_factory=list)

    async def action(self, name: str, fields: Mapping[str, str] = {}, **more: Any) -> ManagerResponse:
        if not self.state.connected:
            raise NotConnected(self.server, "not sent, there is no connection")
        self.asked.append(name)
        left = self.answers.get(_key(name, fields), [])
        line = left.pop(0) if len(left) > 1 else next(iter(left), {})
        if "error" in line:
            raise ActionRefused(self.server, name, "as on the tape")
        return ManagerResponse(fields=(("Value", line.get("value", "")),))


def _key(name: str, fields: Mapping[str, str]) -> str:
    return json.dumps([name, dict(sorted(fields.items()))])


async def replay(tape: str, agents: tuple[str, ...]) -> tuple[list[Line], list[Line]]:
    """Feed a tape to the real handler; return what it told now, and what it told then."""
    lines = [json.loads(line) for line in tape.splitlines()]
    answers: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if "action" in line:
            answers[_key(line["action"], line["fields"])].append(line)
    client = TapeClient(answers)
    switch = Switch(AsteriskServer(client, "", agents), ORIGIN)  # type: ignore[arg-type]
    clock = SimpleNamespace(monotonic_ns=lambda: now_ms * 1_000_000)
    now_ms = 0
    told: list[Line] = []
    channels: dict[str, AsteriskChannel] = {}
    with (
        patch("gateway.adapters.asterisk.channel.time", clock),
        patch("gateway.adapters.asterisk.channel.SETTLE_S", 0),
    ):
        for line in lines:
            now_ms = line.get("at_ms", now_ms)
            await _play(line, client, switch, channels, told)
    return told, [line for line in lines if "told" in line]


async def _play(
    line: Line, client: TapeClient, switch: Switch, channels: dict[str, AsteriskChannel], told: list[Line]
) -> None:
    if "state" in line:
        client.state = ManagerState(line["state"], client.state.generation + 1, _snapshot(line["snapshot"]))
        switch.on_state(client.state)
    elif "event" in line:
        switch.on_event(ManagerEvent(line["event"], tuple((key, value) for key, value in line["fields"])))
    elif "watch" in line:
        channels[line["watch"]] = switch.watch(
            line["watch"], line["linkedid"], lambda event: told.append(as_line(event))
        )
    elif "asked" in line:
        _ask(channels[line["of"]], line)
    for _ in range(30):
        await asyncio.sleep(0)
    if line.get("action") == "MixMonitorMute" and line["fields"]["State"] == "0":
        await asyncio.sleep(2 * UNMUTE_AFTER_S)  # then, no other wish had overtaken it


def _ask(channel: AsteriskChannel, line: Line) -> None:
    doing = getattr(channel, line["asked"])(*line["with"])

    async def do() -> None:
        try:
            await doing
        except pbx.PbxError:
            return  # as it was then

    if doing is not None:
        spawn(do(), name="replayed wish")


def _snapshot(line: Line | None) -> ManagerSnapshot | None:
    if line is None:
        return None
    return ManagerSnapshot(
        tuple(ManagerChannel(**{**channel, "mixmonitors": None}) for channel in line["channels"]),
        tuple(ManagerBridge(b["id"], b["technology"], tuple(b["members"]), b["kind"]) for b in line["bridges"]),
    )
