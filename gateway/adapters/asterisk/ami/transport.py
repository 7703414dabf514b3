"""Carries messages to and from one server, over TCP or TLS, in the event loop."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.adapters.asterisk.ami.codec import Decoder, Message, encode_action, encode_own_action
from gateway.adapters.asterisk.ami.settings import ManagerServer
from gateway.wire.errors import AmiError

MAX_UNSENT_BYTES: Final = 1_048_576
"""What a server may leave unread before it counts as lost."""

OnMessage = Callable[[Message], None]
OnLost = Callable[[str], None]


@dataclass(frozen=True, slots=True, repr=False)
class Outgoing:
    """An action to be sent; *own*: one with which the client keeps its connection."""

    name: str
    fields: Mapping[str, str]
    variables: Mapping[str, str]
    action_id: str
    own: bool
    allow_system: bool

    def encode(self) -> bytes:
        """Return its bytes. Raises `AmiError` when it must not be sent."""
        if self.own:
            return encode_own_action(self.name, self.fields, action_id=self.action_id)
        return encode_action(
            self.name,
            self.fields,
            variables=self.variables,
            action_id=self.action_id,
            allow_system=self.allow_system,
        )


class Transport(Protocol):
    """An open connection. It tells the loss once, with a constant text for the reason, unless it closed itself."""

    @property
    def private(self) -> bool:
        """Whether nobody on the way could read what is sent: TLS, or a loopback address."""
        ...

    def send(self, action: Outgoing) -> None:
        """Send without waiting. Raises `AmiError` (must not be sent) or `OSError` (gone); then nothing was sent."""
        ...

    def abort(self) -> None:
        """Close now. Nothing is told after it."""
        ...

    async def close(self, within_s: float) -> None:
        """Send what is queued, then close, and wait for that, at most *within_s*."""
        ...


OpenTransport = Callable[[ManagerServer, OnMessage, OnLost], Awaitable[Transport]]
"""Connects. Raises `OSError`. Both functions are called in the event loop's thread."""


def is_loopback(host: str) -> bool:
    """Tell whether *host* is a loopback address in its numeric form."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


class _Stream(asyncio.Protocol):
    def __init__(self, on_message: OnMessage, on_lost: OnLost) -> None:
        self._on_message = on_message
        self._on_lost: OnLost | None = on_lost
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self.private = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.private = transport.get_extra_info("sslcontext") is not None or is_loopback(peer[0] if peer else "")

    def data_received(self, data: bytes) -> None:
        if self._on_lost is None:
            return
        try:
            messages = self._decoder.feed(data)
        except AmiError as error:
            self._lose(f"what it sent is not to be read: {error}")
            return
        for message in messages:
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self._lose("the server closed the connection" if exc is None else "the connection broke")

    def send(self, action: Outgoing) -> None:
        line = action.encode()
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(line)
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._lose("the server no longer reads")

    def abort(self) -> None:
        self._on_lost = None
        if self._transport is not None:
            self._transport.abort()

    async def close(self, within_s: float) -> None:
        self._on_lost = None
        if self._transport is not None:
            self._transport.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._closed.wait()
            self._transport.abort()

    def _lose(self, reason: str) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if self._transport is not None:
            self._transport.abort()
        if on_lost is not None:
            on_lost(reason)


async def open_stream(server: ManagerServer, on_message: OnMessage, on_lost: OnLost) -> Transport:
    """Connect as an `OpenTransport` does."""
    _, stream = await asyncio.get_running_loop().create_connection(
        lambda: _Stream(on_message, on_lost),
        server.host,
        server.port,
        ssl=server.tls,
        server_hostname=server.host if server.tls else None,
    )
    return stream
