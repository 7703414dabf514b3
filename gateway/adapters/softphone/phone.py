"""The scripted softphone: a small SIP user agent for demonstrations, `doctor`, tests and benchmarks."""

# ruff: noqa: ASYNC109 (scripts read better as `await call.answered(5)`; each wait is an asyncio.timeout inside)

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from gateway.adapters.softphone.call import ALLOW, Call, CallFailed, HeaderPairs, header_pairs
from gateway.adapters.softphone.media import MediaStream
from gateway.adapters.softphone.transaction import LINGER_S, ClientTransaction, ServerTransaction
from gateway.media.g711 import G711
from gateway.wire.address import NameAddress, SipUri, Via
from gateway.wire.errors import SdpError, SipMessageError
from gateway.wire.sip import BRANCH_COOKIE, Request, Response, check_request, parse, respond

__all__ = ["Call", "CallFailed", "Softphone"]


class Softphone(asyncio.DatagramProtocol):
    """A SIP user agent on one UDP port, IPv4. Made by `open`, ended by `close` (or `async with`)."""

    def __init__(self, host: str, user: str, display_name: str) -> None:
        self.host = host
        self.port = 0
        self.user = user
        self.display_name = display_name
        self.contact = ""
        self.malformed = 0
        self.calls: list[Call] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._dialogs: dict[tuple[str, str], Call] = {}
        self._arrived: asyncio.Queue[Call] = asyncio.Queue()
        self._swept_at = 0.0

    @classmethod
    async def open(
        cls, host: str = "127.0.0.1", port: int = 0, user: str = "caller", display_name: str = ""
    ) -> "Softphone":
        """Bind *host*:*port* (0: any free port) and be ready. Raises `OSError` when it cannot be bound."""
        phone = cls(host, user, display_name)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: phone, local_addr=(host, port))
        phone._transport = transport
        phone.port = transport.get_extra_info("sockname")[1]
        phone.contact = str(SipUri(host, phone.port, user))
        return phone

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, timeout: float = 2.0) -> None:
        """Hang up what is still up, at most *timeout* seconds long, and free the port."""
        await asyncio.gather(*(call.hang_up(timeout) for call in list(self.calls) if not call.is_over))
        for client in self._clients.values():
            client.stop()
        for server in self._servers.values():
            server.stop()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    @property
    def address(self) -> str:
        """`host:port` of this phone."""
        return f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """The SIP URI that reaches this phone."""
        return self.contact

    async def call(
        self,
        uri: str,
        *,
        from_number: str | None = None,
        from_name: str | None = None,
        headers: HeaderPairs = (),
        codec: G711 | Sequence[G711] = "PCMU",
        early_offer: bool = True,
        follow_redirects: bool = True,
        audio_during_digit: bool = False,
        symmetric: bool = False,
        to_uri: str | None = None,
    ) -> Call:
        """Send an INVITE to *uri* and return at once; `Call.answered` tells how it went.

        *codec*: one name, or several in order of preference. *early_offer* False: the INVITE carries no session
        description, the answer goes with the ACK. *audio_during_digit*: audio goes on beside telephone events
        (common phones pause it). *symmetric*: send audio to where audio comes from, whatever the far end's
        session says. *to_uri*: whom To names when it is not *uri*, as after a forwarding. Raises `SipMessageError`
        for a URI or value that cannot be sent, `OSError` for a host that cannot be resolved.
        """
        target = SipUri.parse(uri)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port or 5060, family=2, type=2)
        number, name = self.user if from_number is None else from_number, from_name or ""
        local = NameAddress(
            str(SipUri(self.host, user=number)),
            self.display_name if from_name is None else name,
            (("tag", self.new_tag()),),
        )
        call = Call(self, MediaStream(self.host, secrets.randbits(64)), f"{secrets.token_hex(12)}@{self.host}", True)
        call.from_number, call.from_name, call.to_number = number, local.display_name, target.user
        call.follow_redirects = follow_redirects
        call.stream.audio_during_digit, call.stream.symmetric = audio_during_digit, symmetric
        codecs: tuple[G711, ...] = (codec,) if isinstance(codec, str) else tuple(codec)
        destination = str(found[0][4][0]), int(found[0][4][1])
        self._dialogs[call.sip_call_id, local.tag] = call
        self.calls.append(call)
        try:
            call.place(uri, destination, local, header_pairs(headers), codecs, early_offer, to_uri or uri)
        except SipMessageError:
            self.forget(call)
            call.stream.close()
            raise
        return call

    async def incoming(self, timeout: float = 10.0) -> Call:
        """Wait for the next call that comes in. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            return await self._arrived.get()

    # --- what a call needs ---

    def transact(
        self,
        request: Request,
        destination: tuple[str, int],
        on_response: Callable[[Response], None],
        on_timeout: Callable[[], None],
    ) -> ClientTransaction:
        """Start a client transaction."""
        transaction = ClientTransaction(request, destination, self.send, on_response, on_timeout)
        key = request.top_via.branch, request.method
        self._clients[key] = transaction
        self._sweep()
        transaction.start()
        return transaction

    def send(self, datagram: bytes, destination: tuple[str, int]) -> None:
        """Send a datagram; after `close` nothing is sent."""
        if self._transport is not None:
            self._transport.sendto(datagram, destination)

    def new_branch(self) -> str:
        """Return a branch no request had before."""
        return BRANCH_COOKIE + secrets.token_hex(8)

    def new_tag(self) -> str:
        """Return a tag no dialog had before."""
        return secrets.token_hex(6)

    def forget(self, call: Call) -> None:
        """A call is over: its dialog is matched for another 32 s (repeated BYE, late 200), then forgotten."""
        if call in self.calls:
            self.calls.remove(call)

    # --- datagrams ---

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        source = str(addr[0]), int(addr[1])
        try:
            message = parse(data)
            if isinstance(message, Response):
                self._on_response(message)
            else:
                check_request(message)
                self._on_request(message, source)
        except SipMessageError as error:
            self.malformed += 1
            if error.request is not None and error.request.method != "ACK":
                with contextlib.suppress(SipMessageError):
                    self.send(respond(error.request, error.status).encode(), source)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error of an earlier datagram: the transaction's own timer reports the silence."""

    def _on_response(self, response: Response) -> None:
        transaction = self._clients.get((response.top_via.branch, response.cseq[1]))
        if transaction is not None:
            transaction.receive(response)

    def _on_request(self, request: Request, source: tuple[str, int]) -> None:
        self._sweep()
        via = request.top_via.received_from(*source)
        request = request.with_top_via(via)
        method = request.method
        key = via.branch, f"{via.host}:{via.port}", "INVITE" if method == "ACK" else method
        known = self._servers.get(key)
        if method == "ACK":
            if known is not None:
                known.acknowledged()
            call = self._dialog(request)
            if call is not None:
                call.on_ack(request)
            return
        if known is not None:
            known.repeated()
            return
        if method == "CANCEL":
            self._on_cancel(request, key, source)
            return
        server = ServerTransaction(request, _reply_address(via, source), self.send)
        call = self._dialog(request)
        if call is not None and call.is_vanished:
            return
        self._servers[key] = server
        if call is not None:
            call.receive(request, server)
        elif request.to_address.tag:
            server.respond(respond(request, 481), until_ack=method == "INVITE")
        elif method == "INVITE":
            self._on_invite(request, server)
        elif method == "OPTIONS":
            rows = (("Allow", ALLOW), ("Accept", "application/sdp"))
            server.respond(respond(request, 200, to_tag=self.new_tag(), headers=rows))
        else:
            server.respond(respond(request, 405, to_tag=self.new_tag(), headers=(("Allow", ALLOW),)))

    def _on_cancel(self, request: Request, key: tuple[str, str, str], source: tuple[str, int]) -> None:
        invite = self._servers.get((key[0], key[1], "INVITE"))
        call = next((item for item in self.calls if invite is not None and item.came_with(invite)), None)
        if call is not None and call.is_vanished:
            return
        server = ServerTransaction(request, source, self.send)
        self._servers[key] = server
        server.respond(respond(request, 200 if invite is not None else 481, to_tag=self.new_tag()))
        if call is not None:
            call.on_cancel()

    def _on_invite(self, request: Request, server: ServerTransaction) -> None:
        required = [item for item in request.listed("require") if item]
        if required:
            server.respond(
                respond(request, 420, to_tag=self.new_tag(), headers=(("Unsupported", ", ".join(required)),)),
                until_ack=True,
            )
            return
        call = Call(self, MediaStream(self.host, secrets.randbits(64)), request.call_id, False)
        try:
            call.arrive(request, server)
        except (SipMessageError, SdpError) as error:
            call.stream.close()
            status = 488 if isinstance(error, SdpError) else 400
            server.respond(respond(request, status, to_tag=self.new_tag()), until_ack=True)
            return
        self._dialogs[call.sip_call_id, call.local.tag] = call
        self.calls.append(call)
        self._arrived.put_nowait(call)

    def _dialog(self, request: Request) -> Call | None:
        return self._dialogs.get((request.call_id, request.to_address.tag))

    def _sweep(self) -> None:
        """Forget transactions and dialogs that ended long enough ago to be repeated no more."""
        now = time.monotonic()
        if now < self._swept_at + 5.0:
            return
        self._swept_at = now
        since = now - LINGER_S
        self._clients = {key: item for key, item in self._clients.items() if not 0 < item.finished_at < since}
        self._servers = {key: item for key, item in self._servers.items() if not 0 < item.finished_at < since}
        self._dialogs = {key: call for key, call in self._dialogs.items() if not 0 < call.ended_ns / 1e9 < since}


def _reply_address(via: Via, source: tuple[str, int]) -> tuple[str, int]:
    try:
        host, port = via.reply_to
    except SipMessageError:
        return source
    return (host, port) if host == source[0] else source
