"""What the contract of the manager port is tried on: a client, and what a test may do to its server.

Every rig passes every test of the contract; none is skipped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.adapters.asterisk.ami.client import AmiClient
from gateway.adapters.asterisk.ami.settings import ManagerServer, Patience, Surroundings
from gateway.adapters.asterisk.ami_library import library_client
from gateway.ports.manager import (
    ActionRefused,
    FakeManagerClient,
    LoginRefused,
    ManagerBridge,
    ManagerChannel,
    ManagerClient,
    ManagerEvent,
    ManagerResponse,
    ManagerSnapshot,
    ManagerState,
    MixMonitor,
    SentAction,
    Unreachable,
)
from tests.support.ami_server import SECRET, USER, Channel, ScriptedManager

SOON = Patience(first_s=0.01, longest_s=0.05, ping_every_s=3600.0, connect_s=30.0, ping_s=30.0)
"""Comes back at once, and waits long for a slow machine."""


OF_THE_SYSTEM = frozenset(
    {"FullyBooted", "PeerStatus", "ContactStatus", "Load", "Reload", "Shutdown", "LogChannel", "TestEvent"}
)


class Seen:
    """Everything the handlers of a client heard, in order."""

    def __init__(self) -> None:
        self.all: list[ManagerEvent | ManagerState] = []
        self._news = asyncio.Event()
        self.fail_on = ""

    def take(self, item: ManagerEvent | ManagerState) -> None:
        self.all.append(item)
        self._news.set()
        if isinstance(item, ManagerEvent) and item.name == self.fail_on:
            raise RuntimeError("a handler that fails")

    @property
    def states(self) -> list[ManagerState]:
        return [item for item in self.all if isinstance(item, ManagerState)]

    @property
    def events(self) -> list[ManagerEvent]:
        """All events but those of the system itself, which some servers send and others do not."""
        return [item for item in self.all if isinstance(item, ManagerEvent) and item.name not in OF_THE_SYSTEM]

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not enough():
                self._news.clear()
                await self._news.wait()


class Rig(Protocol):
    """A client that was not started, and its server, of which nothing is known but that it has a manager interface."""

    client: Any

    def emit(self, name: str, *fields: tuple[str, str]) -> None:
        """Let an event come."""

    def cut(self) -> None:
        """Break the connection. The client makes a new one."""

    async def until_sent(self, action: str, count: int = 1) -> list[SentAction]:
        """Wait until the action reached the server *count* times."""

    def silence(self, action: str) -> None:
        """Let the action have no answer, and perhaps others none either."""

    def speak(self) -> None:
        """Let everything be answered again. Breaking the connection does so too where all is silent."""

    def refuse(self, action: str, message: str) -> None:
        """Let the action be answered with an error, for a channel that is not there."""

    async def variable(self, name: str, value: str) -> None:
        """Let a variable have a value, which `Getvar` tells."""

    async def wrong_secret(self, wrong: bool) -> None:
        """Let the client's secret be wrong, or right again."""


class ScriptRig(Rig, Protocol):
    """And a server that does as a test says."""

    def reply(self, action: str, *fields: tuple[str, str]) -> None:
        """Let the action be answered with these fields."""

    def switch(self, *channels: Channel, bridges: dict[str, str] | None = None) -> None:
        """Let these channels and bridges be on the server."""


@dataclass
class FakeRig:
    client: FakeManagerClient = field(default_factory=FakeManagerClient)

    def emit(self, name: str, *fields: tuple[str, str]) -> None:
        self.client.report(name, *fields)

    def cut(self) -> None:
        self.client.lose(Unreachable("fake", "cut"))
        asyncio.get_running_loop().call_soon(self.client.connect)

    async def until_sent(self, action: str, count: int = 1) -> list[SentAction]:
        async with asyncio.timeout(30):
            return await self.client.until_sent(action, count)

    def silence(self, action: str) -> None:
        self.client.answers[action] = None

    def speak(self) -> None:
        self.client.answers.clear()

    async def variable(self, name: str, value: str) -> None:
        self.reply("Getvar", ("Variable", name), ("Value", value))

    def refuse(self, action: str, message: str) -> None:
        self.client.answers[action] = ActionRefused("fake", action, message)

    def reply(self, action: str, *fields: tuple[str, str]) -> None:
        self.client.answers[action] = ManagerResponse(dict(fields).get("Message", ""), fields)

    def switch(self, *channels: Channel, bridges: dict[str, str] | None = None) -> None:
        ids = dict.fromkeys([*(bridges or {}), *(channel.bridge for channel in channels if channel.bridge)])
        self.client.switch = ManagerSnapshot(
            tuple(
                ManagerChannel(
                    channel.uniqueid,
                    channel.uniqueid,
                    channel.name,
                    channel.state,
                    channel.bridge,
                    tuple(MixMonitor(id, (file,)) for id, file in channel.mixmonitors),
                )
                for channel in channels
            ),
            tuple(
                ManagerBridge(
                    id,
                    (bridges or {}).get(id, ""),
                    tuple(channel.uniqueid for channel in channels if channel.bridge == id),
                )
                for id in ids
            ),
        )
        items = tuple(
            ManagerEvent("CoreShowChannel", (*channel.pairs(), ("BridgeId", channel.bridge))) for channel in channels
        )
        self.client.answers["CoreShowChannels"] = ManagerResponse("It will follow", events=items)

    async def wrong_secret(self, wrong: bool) -> None:
        if wrong:
            self.client.problem = LoginRefused("fake", "refused")
        else:
            asyncio.get_running_loop().call_soon(self.client.connect)


@dataclass
class ScriptedRig:
    client: ManagerClient
    server: ScriptedManager

    def emit(self, name: str, *fields: tuple[str, str]) -> None:
        self.server.emit(name, *fields)

    def cut(self) -> None:
        self.server.cut()

    async def until_sent(self, action: str, count: int = 1) -> list[SentAction]:
        heard = await self.server.until_heard(action, count)
        return [
            SentAction(
                one.action,
                {key: value for key, value in one.pairs if key != "ActionID" and "=" not in value},
                dict(value.split("=", 1) for value in one.all("Variable") if "=" in value),
            )
            for one in heard
        ]

    def silence(self, action: str) -> None:
        self.server.silent.add(action.lower())

    def speak(self) -> None:
        self.server.silent.clear()

    async def variable(self, name: str, value: str) -> None:
        self.server.variables[name] = value

    def refuse(self, action: str, message: str) -> None:
        self.server.errors[action.lower()] = message

    def reply(self, action: str, *fields: tuple[str, str]) -> None:
        self.server.replies[action.lower()] = list(fields)

    def switch(self, *channels: Channel, bridges: dict[str, str] | None = None) -> None:
        self.server.channels = list(channels)
        self.server.bridges = dict(bridges or {})

    async def wrong_secret(self, wrong: bool) -> None:
        self.server.secret = "another" if wrong else SECRET


def server_at(port: int, **more: Any) -> ManagerServer:
    return ManagerServer(
        **({"label": "pbx1", "host": "127.0.0.1", "port": port, "user": USER, "secret": SECRET} | more)
    )


@asynccontextmanager
async def fake_rig() -> AsyncIterator[ScriptRig]:
    yield FakeRig()


@asynccontextmanager
async def scripted_rig(make: Callable[..., AmiClient], *, piece: int | None = None) -> AsyncIterator[ScriptRig]:
    server = ScriptedManager(piece=piece)
    await server.start()
    rig = ScriptedRig(make(server_at(server.port), patience=SOON), server)
    try:
        yield rig
    finally:
        await rig.client.stop()
        await server.stop()


@asynccontextmanager
async def scene(
    settings: dict[str, Any] | None = None,
    *,
    patience: Patience = SOON,
    surroundings: Surroundings | None = None,
    **server: Any,
) -> AsyncIterator[tuple[ScriptedManager, AmiClient, Seen]]:
    """A scripted server, a client of it that was started, and what its handlers hear."""
    scripted = ScriptedManager(**server)
    await scripted.start()
    client = AmiClient(server_at(scripted.port, **(settings or {})), patience=patience, surroundings=surroundings)
    seen = Seen()
    await client.start(seen.take, seen.take)
    try:
        yield scripted, client, seen
    finally:
        await client.stop()
        await scripted.stop()


RIGS: dict[str, Callable[[], Any]] = {
    "fake": fake_rig,
    "own": lambda: scripted_rig(AmiClient),
    "own, split": lambda: scripted_rig(AmiClient, piece=7),
    "asterisk-ami": lambda: scripted_rig(library_client),
    "asterisk-ami, split": lambda: scripted_rig(library_client, piece=7),
}
"""Every client with every kind of server it is tried on."""
