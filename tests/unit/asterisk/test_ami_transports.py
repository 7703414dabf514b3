"""The two carriers of messages, ours and the one of `asterisk-ami`, and what would harm a gateway in each."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ssl import create_default_context

import pytest

from gateway.adapters.asterisk import ami_library
from gateway.adapters.asterisk.ami import transport as ami_transport
from gateway.adapters.asterisk.ami.codec import Message
from gateway.adapters.asterisk.ami.transport import OpenTransport, Outgoing, Transport, open_stream
from gateway.adapters.asterisk.ami_library import library_client, open_library
from gateway.app.tasks import spawn
from gateway.wire.errors import AmiError
from tests.support.ami_server import ScriptedManager
from tests.support.manager_rigs import server_at

BOTH = pytest.mark.parametrize("open_transport", [open_stream, open_library])
LONG_S = 30.0


class Told:
    """What a transport told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.losses: list[str] = []
        self._news = asyncio.Event()

    def message(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    def loss(self, reason: str) -> None:
        self.losses.append(reason)
        self._news.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(LONG_S):
            while not enough():
                self._news.clear()
                await self._news.wait()


def ping(number: int = 1, **fields: str) -> Outgoing:
    return Outgoing("Ping", fields, {}, str(number), False, False)


@asynccontextmanager
async def connection(
    open_transport: OpenTransport, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
) -> AsyncIterator[tuple[Transport, Told]]:
    """A transport to a server that does what *serve* does."""
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        serve(reader, writer)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    told = Told()
    server = server_at(listening.sockets[0].getsockname()[1])
    transport = await open_transport(server, told.message, told.loss)
    try:
        yield transport, told
    finally:
        transport.abort()
        for writer in writers:
            writer.transport.abort()
        listening.close()


async def ended(name: str) -> None:
    """Wait for the threads of that name."""
    for thread in threading.enumerate():
        if thread.name.startswith(name):
            await asyncio.to_thread(thread.join, LONG_S)
            assert not thread.is_alive(), thread.name


@BOTH
async def test_a_close_before_the_greeting_is_told(open_transport: OpenTransport) -> None:
    async with connection(open_transport, lambda _, writer: writer.close()) as (transport, told):
        await told.until(lambda: bool(told.losses))
        with pytest.raises(OSError):
            transport.send(ping())
    assert len(told.losses) == 1
    assert told.messages == []


@BOTH
async def test_a_reset_before_the_greeting_is_told(open_transport: OpenTransport) -> None:
    async with connection(open_transport, lambda _, writer: writer.transport.abort()) as (_, told):
        await told.until(lambda: bool(told.losses))
    assert len(told.losses) == 1


@BOTH
async def test_what_is_no_manager_is_told(open_transport: OpenTransport) -> None:
    async with connection(open_transport, lambda _, writer: writer.write(b"SSH-2.0-x\r\n")) as (_, told):
        await told.until(lambda: bool(told.losses))
    assert "manager interface" in told.losses[0]
    assert told.messages == []


@BOTH
async def test_a_server_that_no_longer_reads_holds_nobody_up(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ami_library, "MAX_UNSENT", 100)
    monkeypatch.setattr(ami_transport, "MAX_UNSENT_BYTES", 100_000)

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]

    fields = {f"Filler{number}": "x" * 1_000 for number in range(100)}
    async with connection(open_transport, serve) as (transport, told):
        with pytest.raises(OSError):
            for number in range(10_000):
                transport.send(ping(number, **fields))
        await told.until(lambda: bool(told.losses))
    assert told.losses == ["the server no longer reads"]


@BOTH
async def test_after_the_close_nothing_is_told_or_sent(open_transport: OpenTransport) -> None:
    greet = ScriptedManager().greeting.encode() + b"\r\n"
    async with connection(open_transport, lambda _, writer: writer.write(greet)) as (transport, told):
        await told.until(lambda: bool(told.messages))
        assert told.messages == [Message("greeting", "11.0.0")]
        assert transport.private
        await transport.close(LONG_S)
        with pytest.raises(OSError):
            transport.send(ping())
        await ended("asterisk-ami")
        await asyncio.sleep(0)
    assert told.losses == []


@BOTH
async def test_the_guard_stands_in_the_transport_too(open_transport: OpenTransport) -> None:
    async with connection(open_transport, lambda *_: None) as (transport, told):
        for action in (
            Outgoing("Originate", {}, {}, "1", False, False),
            Outgoing("Login", {"Username": "x\r\nAction: Originate"}, {}, "1", True, False),
        ):
            with pytest.raises(AmiError):
                transport.send(action)
        assert told.losses == []


@BOTH
async def test_nobody_there_is_an_os_error(open_transport: OpenTransport) -> None:
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    told = Told()
    with pytest.raises(OSError):
        await open_transport(server_at(port), told.message, told.loss)
    await ended("asterisk-ami")
    assert told.losses == []


# --- asterisk-ami alone ---


async def test_the_package_is_left_without_a_time_out_of_its_own() -> None:
    """With one, its listener ends after that time without traffic."""
    async with connection(open_library, lambda *_: None) as (transport, _):
        assert transport._client._socket.gettimeout() is None  # type: ignore[attr-defined]


async def test_a_connection_that_comes_too_late_is_closed() -> None:
    server = ScriptedManager()
    await server.start()
    told = Told()
    opening = spawn(open_library(server_at(server.port), told.message, told.loss), name="opening")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})
    assert opening.cancelled()
    await ended("asterisk-ami")
    await server.stop()
    assert (told.messages, told.losses) == ([], [])


async def test_a_long_action_arrives_whole() -> None:
    server = ScriptedManager()
    await server.start()
    told = Told()
    transport = await open_library(server_at(server.port), told.message, told.loss)
    fields = {f"Filler{number}": "x" * 1_000 for number in range(120)}
    for number in range(20):
        transport.send(ping(number, **fields))
    heard = await server.until_heard("Ping", 20)
    assert [one.get("ActionID") for one in heard] == [str(number) for number in range(20)]
    assert all(len(one.pairs) == 121 for one in heard)
    transport.abort()
    await ended("asterisk-ami")
    await server.stop()


def test_the_package_has_no_tls() -> None:
    with pytest.raises(ValueError, match="has no TLS"):
        library_client(server_at(5039, tls=create_default_context()))


def test_the_package_is_imported_late() -> None:
    code = "import sys, gateway.adapters.asterisk.ami_library; sys.exit('asterisk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
