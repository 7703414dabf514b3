"""The `asterisk-ami` package as the carrier of messages: a second client behind the same port.

The package brings its own thread, framing, parsing and text of actions; matching, login, reading of the state and
reconnection are those of our client. What it would do to a gateway is put right here:

- its listener dies after its time-out without traffic, and it connects with no other time-out: each has its own now
- a connection that ends before the greeting ends its thread without a word: the loss is always told
- it sends in the caller's thread, and what the socket does not take at once is dropped when there is a time-out: all
  is sent, by a thread of its own, so that nobody waits
- closing the socket does not wake its thread: it is shut down first
- it splits values at a single CR or LF, U+0085, U+2028 and the like, where a caller's name could put a field of his
  choice, and of a repeated key it keeps one value: the fields are read from the packet again
- it passes over a message after an empty line too many, which Asterisk 22 sends after `TestEvent` when a MixMonitor
  ends: the `Hangup` that comes next would be lost. Empty lines before a message are taken away
- it keeps every answer it waits for until the answer comes: its `send` is used, and the matching is ours
- it sends the secret in clear: we answer the challenge. It has no TLS, so that is refused.
"""

import asyncio
import functools
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from gateway.adapters.asterisk.ami.client import AmiClient
from gateway.adapters.asterisk.ami.codec import Message, read_message
from gateway.adapters.asterisk.ami.settings import ManagerServer, Patience, Surroundings
from gateway.adapters.asterisk.ami.transport import OnLost, OnMessage, Outgoing, Transport, is_loopback

MAX_UNSENT: Final = 1_000
"""Actions a server may leave unread before it counts as lost."""

CONNECT_S: Final = 10.0
"""Longest time the thread that connects may stay behind; the client itself gives up sooner."""


def library_client(
    server: ManagerServer, *, patience: Patience | None = None, surroundings: Surroundings | None = None
) -> AmiClient:
    """Return a `ManagerClient` that speaks through `asterisk-ami`. Raises `ValueError` for a server with TLS."""
    if server.tls is not None:
        raise ValueError("asterisk-ami has no TLS; use our own client for this server")
    return AmiClient(server, patience=patience, surroundings=surroundings, open_transport=open_library)


@functools.cache
def _listening_client() -> type[Any]:
    """Return the package's client with the cures above. Imported late: nobody else pays for it."""
    from asterisk.ami import AMIClient

    class ListeningClient(AMIClient):  # type: ignore[misc]
        """All of it but `send` runs in the listener's thread once it is connected."""

        def __init__(self, address: str, port: int, on_lost: Callable[[], None]) -> None:
            super().__init__(address=address, port=port, timeout=None)
            self._on_lost = on_lost
            self._shut = threading.Lock()
            self.packet = ""

        def connect(self) -> None:
            self._socket = socket.create_connection((self._address, self._port), timeout=CONNECT_S)
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.finished = threading.Event()
            self._thread = threading.Thread(target=self.listen, name="asterisk-ami", daemon=True)

        def begin(self) -> None:
            self._thread.start()

        def listen(self) -> None:
            with suppress(Exception):
                super().listen()
            self._on_lost()

        def send(self, pack: object) -> None:
            self._socket.sendall(f"{pack}\r\n".encode())

        def fire_recv_pack(self, pack: str) -> None:
            self.packet = pack.lstrip("\r\n")
            if self.packet:
                super().fire_recv_pack(self.packet)

        def peer(self) -> str:
            return str(self._socket.getpeername()[0])

        def shut(self) -> None:
            """Close, once, from any thread but the listener's."""
            if not self._shut.acquire(blocking=False):
                return
            self.finished.set()
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            if self._thread.ident is not None:
                self._thread.join()
            self._socket.close()

    return ListeningClient


class _LibraryTransport:
    def __init__(self, server: ManagerServer, on_message: OnMessage, on_lost: OnLost) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_lost: OnLost | None = on_lost
        self._client = _listening_client()(server.host, server.port, self._hear_loss)
        self._client.add_listener(
            on_connect=self._hear_greeting, on_response=self._hear_response, on_event=self._hear_event
        )
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="asterisk-ami-writer")
        self._unsent = 0
        self.private = False

    async def connect(self) -> None:
        connecting = self._loop.run_in_executor(self._writer, self._client.connect)
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._connected_too_late)
            raise
        except OSError:
            self._writer.shutdown(wait=False)
            raise
        self.private = is_loopback(self._client.peer())
        self._client.begin()

    def send(self, action: Outgoing) -> None:
        from asterisk.ami import Action

        action.encode()
        if self._on_lost is None:
            raise ConnectionResetError
        keys = {"ActionID": action.action_id, **action.fields}
        self._unsent += 1
        self._writer.submit(self._write, Action(action.name, keys, dict(action.variables)))
        if self._unsent > MAX_UNSENT:
            self._lose("the server no longer reads")

    def abort(self) -> None:
        self._on_lost = None
        self._writer.shutdown(wait=False, cancel_futures=True)
        threading.Thread(target=self._client.shut, name="asterisk-ami-closer", daemon=True).start()

    async def close(self, within_s: float) -> None:
        self._on_lost = None
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._loop.run_in_executor(self._writer, lambda: None)
        self.abort()

    def _connected_too_late(self, connecting: asyncio.Future[None]) -> None:
        if not connecting.cancelled() and connecting.exception() is None:
            self.abort()
        self._writer.shutdown(wait=False)

    # --- in the threads of the package ---

    def _write(self, action: object) -> None:
        try:
            self._client.send(action)
        except OSError:
            self._tell(self._lose, "the connection broke")
        self._tell(self._count_sent)

    def _hear_greeting(self, source: Any) -> None:
        self._tell(self._take, Message("greeting", str(source._ami_version)))

    def _hear_response(self, source: Any, response: Any) -> None:
        self._hear("response", source, str(response.status))

    def _hear_event(self, source: Any, event: Any) -> None:
        self._hear("event", source, str(event.name))

    def _hear(self, kind: Any, source: Any, name: str) -> None:
        fields = read_message(source.packet.split("\r\n")).fields
        self._tell(self._take, Message(kind, name.strip(), fields))

    def _hear_loss(self) -> None:
        self._tell(self._lose, "the server closed the connection, or is no manager interface")

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody is left to tell
            self._loop.call_soon_threadsafe(function, *arguments)

    # --- in the loop's thread ---

    def _take(self, message: Message) -> None:
        if self._on_lost is not None:
            self._on_message(message)

    def _count_sent(self) -> None:
        self._unsent -= 1

    def _lose(self, reason: str) -> None:
        on_lost = self._on_lost
        if on_lost is not None:
            self.abort()
            on_lost(reason)


async def open_library(server: ManagerServer, on_message: OnMessage, on_lost: OnLost) -> Transport:
    """Connect as an `OpenTransport` does, through the package."""
    transport = _LibraryTransport(server, on_message, on_lost)
    await transport.connect()
    return transport
