"""A bare AMI connection for tests: actions with their answers, events to wait for. It plays the gateway's part."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.app.tasks import spawn

Packet = dict[str, str]


class AmiError(Exception):
    """Asterisk refused an action. The text is its own."""


class Ami:
    """One logged-in connection. Made by `logged_in`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[Packet] = []
        self.arrived_ns: list[int] = []
        """When each event was read (CLOCK_MONOTONIC)."""
        self._reader, self._writer = reader, writer
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Packet]] = {}
        self._changed = asyncio.Condition()

    async def action(self, name: str, **headers: str) -> Packet:
        """Send an action and return the answer. Raises `AmiError` for an answer that is no success."""
        answer = await self.ask(name, **headers)
        if answer["Response"] != "Success":
            raise AmiError(f"{name}: {answer.get('Message', answer['Response'])}")
        return answer

    async def ask(self, name: str, **headers: str) -> Packet:
        """Send an action and return the answer, whatever it is."""
        action_id = str(next(self._ids))
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._answers[action_id] = answer
        rows = {"Action": name, "ActionID": action_id, **headers}
        self._writer.write("".join(f"{key}: {value}\r\n" for key, value in rows.items()).encode() + b"\r\n")
        await self._writer.drain()
        try:
            async with asyncio.timeout(10):
                return await answer
        finally:
            del self._answers[action_id]

    def say(self, name: str, *rows: tuple[str, str]) -> None:
        """Send an action, whose answer nobody waits for. A row's key may repeat."""
        lines = [("Action", name), *rows]
        self._writer.write("".join(f"{key}: {value}\r\n" for key, value in lines).encode() + b"\r\n")

    async def set_variable(self, channel: str, name: str, value: str) -> None:
        """Set a variable on a channel, given by name or Uniqueid."""
        await self.action("Setvar", Channel=channel, Variable=name, Value=value)

    async def variable(self, channel: str, name: str) -> str:
        """Read a variable or function of a channel."""
        return (await self.action("Getvar", Channel=channel, Variable=name)).get("Value", "")

    async def event(self, name: str, such_that: Callable[[Packet], bool] = lambda _: True, **fields: str) -> Packet:
        """Wait for an event that came or comes with these fields. Raises `TimeoutError` after 15 s."""

        def found() -> Packet | None:
            wanted = {"Event": name, **fields}.items()
            return next((event for event in self.events if wanted <= event.items() and such_that(event)), None)

        async with asyncio.timeout(15), self._changed:
            await self._changed.wait_for(found)
        match = found()
        assert match is not None
        return match

    async def read_for_ever(self) -> None:
        """Sort what comes in, until the connection ends."""
        while packet := await _packet(self._reader):
            answer = self._answers.get(packet.get("ActionID", ""))
            if "Response" in packet and answer is not None and not answer.done():
                answer.set_result(packet)
            elif "Event" in packet:
                async with self._changed:
                    self.arrived_ns.append(time.monotonic_ns())
                    self.events.append(packet)
                    self._changed.notify_all()


async def _packet(reader: asyncio.StreamReader) -> Packet:
    """The next packet as a dictionary; empty at the end of the connection."""
    packet: Packet = {}
    while line := await reader.readline():
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text and packet:
            return packet
        key, colon, value = text.partition(": ")
        if colon:
            packet[key] = value
        elif text.endswith(":"):
            packet[text[:-1]] = ""
    return packet


@asynccontextmanager
async def logged_in(port: int, user: str, secret: str) -> AsyncIterator[Ami]:
    """Connect to the AMI on loopback and log in. Raises `AmiError` when the login is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    ami = Ami(reader, writer)
    task = spawn(ami.read_for_ever(), name="test ami")
    try:
        await ami.action("Login", Username=user, Secret=secret)
        yield ami
    finally:
        task.cancel()
        writer.close()
