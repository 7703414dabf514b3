"""One call of the softphone: its dialog (RFC 3261 sections 12 to 15), its session (RFC 3264) and its media."""

# ruff: noqa: ASYNC109 (scripts read better as `await call.answered(5)`; each wait is an asyncio.timeout inside)

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from gateway.adapters.softphone.media import AudioSource, MediaStream, Press, ReceivedDigit
from gateway.adapters.softphone.transaction import ClientTransaction, ServerTransaction
from gateway.media.g711 import G711, Samples
from gateway.wire import sdp
from gateway.wire.address import NameAddress, SipUri, Via
from gateway.wire.errors import SdpError, SipMessageError
from gateway.wire.sip import REASONS, Headers, Request, Response, respond

MAX_REDIRECTS = 5
MAX_DIGIT_MS = 8000
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"
TELEPHONE_EVENT = "TELEPHONE-EVENT"
_STATIC: dict[G711, int] = {"PCMU": 0, "PCMA": 8}

EndedBy = Literal["", "local", "remote", "timeout"]
HeaderPairs = Mapping[str, str] | Sequence[tuple[str, str]]


class CallFailed(Exception):
    """The call was not answered. *code*: the final SIP status; 408 when nobody answered at all."""

    def __init__(self, code: int) -> None:
        super().__init__(f"call failed: {code} {REASONS.get(code, '')}".rstrip())
        self.code = code


class Line(Protocol):
    """What a call needs of the phone it belongs to."""

    host: str
    contact: str

    def transact(
        self,
        request: Request,
        destination: tuple[str, int],
        on_response: Callable[[Response], None],
        on_timeout: Callable[[], None],
    ) -> ClientTransaction: ...

    def send(self, datagram: bytes, destination: tuple[str, int]) -> None: ...

    def new_branch(self) -> str: ...

    def new_tag(self) -> str: ...

    def forget(self, call: "Call") -> None: ...


def header_pairs(headers: HeaderPairs) -> Headers:
    """Return headers given as a mapping or as pairs in one form."""
    return tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)


def _numeric(host: str) -> str | None:
    if host == "localhost":
        return "127.0.0.1"
    parts = host.split(".")
    return host if len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts) else None


class Call:
    """A call, outgoing or incoming.

    Everything is called in the event loop's thread. Methods that return a future act at once; awaiting the result
    waits for the far end. Once the call has ended they do nothing.
    """

    def __init__(self, line: Line, stream: MediaStream, call_id: str, outgoing: bool) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self.stream = stream
        self.sip_call_id = call_id
        self.outgoing = outgoing
        self.local = NameAddress("")
        self.remote = NameAddress("")
        self.codec: G711 = "PCMU"
        self.from_number = ""
        self.from_name = ""
        self.to_number = ""
        self.headers: Headers = ()
        self.invite: Request | None = None
        self.provisional: list[int] = []
        self.redirects = 0
        self.follow_redirects = True
        self.end_code = 0
        self.ended_by: EndedBy = ""
        self.answered_ns = 0
        self.ended_ns = 0
        self.held_by_remote = False
        self.info_bodies: list[tuple[str, bytes]] = []
        self.pressed: list[Press] = []
        self.response_headers: Headers = ()
        self._answered: asyncio.Future[int] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._direction: sdp.Direction = "sendrecv"
        self._remote_direction: sdp.Direction = "sendrecv"
        self._sdp_version = 0
        self._offer_codecs: tuple[G711, ...] = ("PCMU",)
        self._early_offer = True
        self._extra: Headers = ()
        self._target = ""
        self._peer: tuple[str, int] = ("127.0.0.1", 5060)
        self._routes: tuple[str, ...] = ()
        self._local_seq = 0
        self._remote_seq = -1
        self._acks: dict[int, tuple[bytes, tuple[str, int]]] = {}
        self._transaction: ClientTransaction | None = None
        self._server: ServerTransaction | None = None
        self._reinvite_server: ServerTransaction | None = None
        self._reinviting = False
        self._cancelling = False
        self._in_dialog = False
        self._quiet_on_hold = False
        self._remote_offer: sdp.AudioSession | None = None
        self._answer_in_ack = False
        self._accepted: asyncio.Future[None] | None = None
        self._vanished = False

    # --- what scripts read ---

    @property
    def is_answered(self) -> bool:
        return self.answered_ns > 0

    @property
    def is_over(self) -> bool:
        return self._ended.is_set()

    @property
    def is_vanished(self) -> bool:
        return self._vanished

    def came_with(self, server: ServerTransaction) -> bool:
        """Tell whether this call came in with that INVITE."""
        return self._server is server

    @property
    def sent(self) -> list[tuple[int, int]]:
        """(n, CLOCK_MONOTONIC ns) of every audio packet sent."""
        return self.stream.sent

    @property
    def received(self) -> list[tuple[int, int, int, bytes]]:
        """(sequence, time stamp, CLOCK_MONOTONIC ns, payload) of every audio packet received."""
        return self.stream.received

    @property
    def digits(self) -> list[ReceivedDigit]:
        """Keys the far end pressed, by telephone event or SIP INFO."""
        return self.stream.digits

    def received_audio(self) -> Samples:
        """See `MediaStream.received_audio`."""
        return self.stream.received_audio()

    @property
    def audio_source(self) -> AudioSource | None:
        return self.stream.audio_source

    @audio_source.setter
    def audio_source(self, source: AudioSource | None) -> None:
        self.stream.audio_source = source

    async def answered(self, timeout: float = 40.0) -> None:
        """Wait for the answer. Raises `CallFailed` for a refusal, `TimeoutError` after *timeout* seconds."""
        async with asyncio.timeout(timeout):
            code = await asyncio.shield(self._answered)
        if code >= 300:
            raise CallFailed(code)

    async def ended(self, timeout: float | None = None) -> int:
        """Wait for the end and return `end_code`: 200 after BYE, else the final status. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            await self._ended.wait()
        return self.end_code

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until *condition* holds, looking every 5 ms. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 (the condition may be fed by the media thread)
                await asyncio.sleep(0.005)

    # --- media ---

    def play(self, samples: Samples) -> None:
        """Queue int16 mono 8 kHz audio."""
        self.stream.play(samples)

    async def played(self, timeout: float | None = None) -> None:
        """Wait until everything queued with `play` was sent."""
        await self.until(lambda: self.stream.queued_samples <= 0 or self.is_over, timeout or 3600.0)

    def send_digit(self, digit: str, duration_ms: int = 100) -> "asyncio.Future[Press]":
        """Press a key by telephone event (RFC 4733); the future is done with the third end packet.

        Raises `ValueError` for no key or a duration outside 1 to 8,000 ms, and `RuntimeError` when the far end
        takes no telephone events or the call is over.
        """
        if not self.stream.remote_events:
            raise RuntimeError("the far end takes no telephone events")
        return self._press(digit, duration_ms, lambda press, done: self.stream.press(press, done))

    def send_inband_digit(
        self, digit: str, duration_ms: int = 100, *, level_dbm0: float = -10.0
    ) -> "asyncio.Future[Press]":
        """Press a key as two tones in the audio, which they replace. Errors as `send_digit`."""
        return self._press(digit, duration_ms, lambda press, done: self.stream.press_inband(press, level_dbm0, done))

    def _press(
        self, digit: str, duration_ms: int, put: Callable[[Press, Callable[[Press], None]], None]
    ) -> "asyncio.Future[Press]":
        if not 0 < duration_ms <= MAX_DIGIT_MS:
            raise ValueError("a key is pressed for 1 to 8,000 ms")
        if self.stream.stopped:
            raise RuntimeError("the call is over: nobody hears a key")
        future: asyncio.Future[Press] = self._loop.create_future()
        press = Press(digit, duration_ms)

        def done(finished: Press) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed under a call that still sent
                self._loop.call_soon_threadsafe(_settle, future, finished)

        put(press, done)
        self.pressed.append(press)
        return future

    def send_info_digit(
        self, digit: str, duration_ms: int = 100, *, content_type: str = "application/dtmf-relay"
    ) -> "asyncio.Future[int]":
        """Press a key by SIP INFO; the future holds the response's status (408 for none).

        *content_type*: "application/dtmf-relay" (Signal and Duration lines) or "application/dtmf" (the key alone).
        """
        if content_type == "application/dtmf":
            body = digit.encode()
        else:
            body = f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode()
        return self.send_info(content_type, body)

    def send_info(self, content_type: str, body: bytes, headers: HeaderPairs = ()) -> "asyncio.Future[int]":
        """Send any SIP INFO; the future holds the response's status (408 for none)."""
        return self._request("INFO", (("Content-Type", content_type), *header_pairs(headers)), body)

    def drop(self, predicate: Callable[[int], bool] | None) -> None:
        """Lose every audio packet n for which *predicate* holds (None: no more). Runs in the media thread."""
        self.stream.drop = predicate

    @property
    def jitter_ms(self) -> float:
        return self.stream.jitter_ms

    @jitter_ms.setter
    def jitter_ms(self, value: float) -> None:
        self.stream.jitter_ms = value

    def stop_rtp(self) -> None:
        """Send no audio and no digits any more; receiving and signalling go on."""
        self.stream.stopped = True

    def vanish(self) -> None:
        """Disappear like a phone that lost its network: nothing is sent or answered from now on, no BYE either."""
        self._vanished = True
        for transaction in (self._transaction, self._server, self._reinvite_server):
            if transaction is not None:
                transaction.mute()
        self._finish(0, "local")

    # --- outgoing calls ---

    def place(
        self,
        uri: str,
        destination: tuple[str, int],
        local: NameAddress,
        extra: Headers,
        codecs: tuple[G711, ...],
        early_offer: bool,
        to_uri: str,
    ) -> None:
        """Send the INVITE. Raises `SipMessageError` for a value that cannot be sent."""
        self.local, self.remote = local, NameAddress(to_uri)
        self._extra, self._offer_codecs, self._early_offer = extra, codecs, early_offer
        self.codec = self.stream.codec = codecs[0]
        self._target, self._peer = uri, destination
        self._invite(self._on_invite_response)

    def _invite(self, on_response: Callable[[Response], None]) -> None:
        self._local_seq += 1
        headers: Headers = (("Allow", ALLOW), *self._extra)
        body = b""
        if self._early_offer:
            headers, body = (*headers, ("Content-Type", "application/sdp")), self._offer()
        request = self._build("INVITE", self._local_seq, headers, body)
        self.invite = request
        self._transaction = self._line.transact(
            request, self._destination(), on_response, lambda: self._invite_failed(408, "timeout")
        )

    def _on_invite_response(self, response: Response) -> None:
        if self._vanished:
            return
        if response.status < 200:
            self._on_provisional(response)
        elif response.status < 300:
            self._on_answer(response)
        elif self.is_over or (response.status < 400 and self._redirected(response)):
            return
        else:
            self._invite_failed(response.status, "local" if self._cancelling else "remote")

    def _on_provisional(self, response: Response) -> None:
        self.provisional.append(response.status)
        if self._cancelling:
            self._send_cancel()
        elif response.status > 100 and response.body and not self.stream.remote:
            # Early media; an answer that cannot be read will show in the final response again.
            with contextlib.suppress(SdpError):
                self._use(sdp.parse(response.body))
                self.stream.start()

    def _on_answer(self, response: Response) -> None:
        seq = response.cseq[0]
        if seq in self._acks:
            self._line.send(*self._acks[seq])
            return
        try:
            remote = response.to_address
            contact = response.contact
            session = sdp.parse(response.body)
            answer = b"" if self._early_offer else self._answer(session)
            self._use(session)
        except (SdpError, SipMessageError):
            remote, contact, session, answer = NameAddress.parse(response.first("to") or "<sip:x>"), None, None, b""
        self.remote = remote
        if contact is not None:
            self._target = contact.uri
        self._routes = tuple(reversed(response.listed("record-route")))
        self.response_headers = response.headers
        self._in_dialog = True
        self._ack(seq, answer)
        if session is None or self._cancelling or self.is_over:
            # Answered with what we cannot use, or after we gave up: acknowledged first, then ended.
            self._bye("local", 488 if session is None else 487)
            return
        self.answered_ns = _now_ns()
        self.stream.start()
        _settle(self._answered, response.status)

    def _ack(self, seq: int, body: bytes) -> None:
        headers: Headers = (("Content-Type", "application/sdp"),) if body else ()
        self._acks[seq] = self._build("ACK", seq, headers, body).encode(), self._destination()
        self._line.send(*self._acks[seq])

    def _redirected(self, response: Response) -> bool:
        if not self.follow_redirects or self._cancelling or self.redirects >= MAX_REDIRECTS:
            return False
        try:
            contact = response.contact
            uri = SipUri.parse(contact.uri) if contact else None
        except SipMessageError:
            return False
        host = _numeric(uri.host) if uri else None
        if contact is None or uri is None or host is None:
            return False
        self.redirects += 1
        # RFC 3261 section 8.1.3.4: same To, From and Call-ID, the next CSeq, a new branch.
        self._target, self._peer = contact.uri, (host, uri.port or 5060)
        self._invite(self._on_invite_response)
        return True

    def _invite_failed(self, code: int, by: EndedBy) -> None:
        _settle(self._answered, code)
        self._finish(code, by)

    def _send_cancel(self) -> None:
        if self.invite is None or self._transaction is None or self._transaction.finished:
            return
        request = self.invite
        headers = tuple(row for row in request.headers if row[0] in ("Via", "From", "To", "Call-ID", "Route"))
        cancel = Request(
            method="CANCEL",
            uri=request.uri,
            headers=(*headers, ("Max-Forwards", "70"), ("CSeq", f"{request.cseq[0]} CANCEL")),
        )
        # Section 9.1: should the INVITE's final response never come, give up 64*T1 after the CANCEL.
        self._loop.call_later(32.0, self._invite_failed, 408, "timeout")
        self._line.transact(cancel, self._transaction.destination, lambda _: None, lambda: None)

    # --- incoming calls ---

    def arrive(self, request: Request, server: ServerTransaction) -> None:
        """Take the INVITE this call came with. Raises `SipMessageError` or `SdpError` when it cannot be answered."""
        self._server = server
        self.invite, self.headers = request, request.headers
        self.remote = request.from_address
        self.local = request.to_address.with_tag(self._line.new_tag())
        self.from_number, self.from_name = self.remote.number, self.remote.display_name
        self.to_number = self.local.number
        contact = request.contact
        self._target = contact.uri if contact else self.remote.uri
        self._peer = server.source
        self._routes = request.listed("record-route")
        self._remote_seq = request.cseq[0]
        self._remote_offer = sdp.parse(request.body) if request.body else None
        self._offer_codecs = ("PCMU", "PCMA")
        server.respond(respond(request, 100))

    def ring(self, headers: HeaderPairs = ()) -> "asyncio.Future[None]":
        """Send 180."""
        return self._provisional(180, header_pairs(headers), b"")

    def early_media(self, headers: HeaderPairs = ()) -> "asyncio.Future[None]":
        """Send 183 with our session and start sending audio. Nothing but 183 if the INVITE carried no offer."""
        body = b""
        if self._remote_offer is not None and not self._decided:
            body = self._answer(self._remote_offer)
            self._use(self._remote_offer)
            self.stream.start()
        return self._provisional(183, header_pairs(headers), body)

    def accept(self, headers: HeaderPairs = ()) -> "asyncio.Future[None]":
        """Answer with 200, repeated until the ACK; the future is done when the ACK came.

        An offer without a codec we have is refused with 488: the future then raises `CallFailed`.
        """
        self._accepted = self._loop.create_future()
        if self._decided or self.invite is None or self._server is None:
            return _done(self._accepted, self.end_code or 481)
        try:
            body = self._answer(self._remote_offer) if self._remote_offer else self._offer()
        except SdpError:
            accepted = self._accepted
            self.reject(488)
            return _done(accepted, 488)
        if self._remote_offer:
            self._use(self._remote_offer)
            self.stream.start()
        self._answer_in_ack = self._remote_offer is None
        self.answered_ns = _now_ns()
        rows: Headers = (
            *(("Record-Route", value) for value in self.invite.rows("record-route")),
            ("Contact", f"<{self._line.contact}>"),
            ("Allow", ALLOW),
            ("Content-Type", "application/sdp"),
            *header_pairs(headers),
        )
        response = respond(self.invite, 200, to_tag=self.local.tag, headers=rows, body=body)
        self._server.respond(response, until_ack=True, on_no_ack=self._never_acknowledged)
        _settle(self._answered, 200)
        return self._accepted

    def reject(self, code: int = 486, headers: HeaderPairs = ()) -> "asyncio.Future[None]":
        """Refuse with a final response (300 to 699; give a Contact for a redirection)."""
        if not self._decided and self.invite is not None and self._server is not None:
            response = respond(self.invite, code, to_tag=self.local.tag, headers=header_pairs(headers))
            self._server.respond(response, until_ack=True)
            self._invite_failed(code, "local")
        return _done(self._loop.create_future())

    @property
    def _decided(self) -> bool:
        return self.is_answered or self.is_over

    def _provisional(self, code: int, headers: Headers, body: bytes) -> "asyncio.Future[None]":
        if not self._decided and self.invite is not None and self._server is not None:
            rows: Headers = (("Contact", f"<{self._line.contact}>"), *headers)
            if body:
                rows = (*rows, ("Content-Type", "application/sdp"))
            self._server.respond(respond(self.invite, code, to_tag=self.local.tag, headers=rows, body=body))
            self.provisional.append(code)
        return _done(self._loop.create_future())

    def _never_acknowledged(self) -> None:
        if self._accepted is not None:
            _done(self._accepted, 408)
        self._bye("timeout", 408)

    # --- both ways: requests within the dialog ---

    async def hang_up(self, timeout: float = 5.0) -> int:
        """End the call as its state asks: BYE, CANCEL, or 486 for a call not yet accepted. Returns `end_code`.

        Waits at most *timeout* seconds for the far end's confirmation, then the call is over all the same.
        """
        if self.is_over:
            return self.end_code
        if self.is_answered:
            self._bye("local", 200)
        elif not self.outgoing:
            self.reject(486)
        elif not self._cancelling:
            self._cancelling = True
            # Section 9.1: no CANCEL before a provisional response came; `_on_provisional` sends it then.
            if self._transaction is not None and self._transaction.proceeding:
                self._send_cancel()
        with contextlib.suppress(TimeoutError):
            await self.ended(timeout)
        self._finish(408, "timeout")
        return self.end_code

    def _bye(self, by: EndedBy, code: int) -> None:
        self.stream.stopped = True
        future = self._request("BYE", even_if_over=True)
        future.add_done_callback(lambda _: self._finish(code, by))

    async def hold(self, direction: sdp.Direction = "sendonly", *, music: bool = False, timeout: float = 10.0) -> int:
        """Put the far end on hold by re-INVITE; returns the response's status (408 for none).

        Audio pauses as on a common phone; with *music* and "sendonly" it goes on.
        """
        return await self._renegotiate(direction, direction == "sendonly" and music, timeout)

    async def resume(self, timeout: float = 10.0) -> int:
        """Take the far end back from hold; returns the response's status (408 for none)."""
        return await self._renegotiate("sendrecv", True, timeout)

    async def _renegotiate(self, direction: sdp.Direction, sending: bool, timeout: float) -> int:
        if not self.is_answered or self.is_over:
            return 481
        if self._reinviting:
            return 491
        before, self._direction = self._direction, direction
        self._reinviting = True
        self.stream.sending = self.stream.sending and sending
        self._local_seq += 1
        self._sdp_version += 1
        seq = self._local_seq
        done: asyncio.Future[int] = self._loop.create_future()
        headers: Headers = (("Allow", ALLOW), ("Content-Type", "application/sdp"))
        request = self._build("INVITE", seq, headers, self._offer())

        def on_response(response: Response) -> None:
            if self._vanished or response.status < 200:
                return
            if response.status >= 300:
                _settle(done, response.status)
                return
            if seq in self._acks:
                self._line.send(*self._acks[seq])
                return
            with contextlib.suppress(SipMessageError):
                contact = response.contact
                self._target = contact.uri if contact else self._target
            with contextlib.suppress(SdpError):
                self._use(sdp.parse(response.body))
            self._ack(seq, b"")
            _settle(done, response.status)

        self._line.transact(request, self._destination(), on_response, lambda: _settle(done, 408))
        status = 408
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    status = await asyncio.shield(done)
        finally:
            self._reinviting = False
            if status >= 300:
                self._direction = before
            else:
                self._quiet_on_hold = not sending
            self._apply_direction()
        return status

    def _request(
        self, method: str, headers: Headers = (), body: bytes = b"", *, even_if_over: bool = False
    ) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = self._loop.create_future()
        if self._vanished or (self.is_over and not even_if_over):
            future.set_result(481)
            return future
        self._local_seq += 1

        def on_response(response: Response) -> None:
            if response.status >= 200:
                _settle(future, response.status)

        request = self._build(method, self._local_seq, headers, body)
        self._line.transact(request, self._destination(), on_response, lambda: _settle(future, 408))
        return future

    def receive(self, request: Request, server: ServerTransaction) -> None:
        """Answer a request of the far end within this dialog."""
        if self._vanished:
            return
        method, seq = request.method, request.cseq[0]
        if method not in ("ACK", "CANCEL"):
            if seq <= self._remote_seq:
                # Section 12.2.2: out of order.
                server.respond(respond(request, 500))
                return
            self._remote_seq = seq
        handler = {"BYE": self._on_bye, "INFO": self._on_info, "INVITE": self._on_reinvite, "UPDATE": self._on_reinvite}
        if method == "OPTIONS":
            server.respond(respond(request, 200, headers=(("Allow", ALLOW), ("Accept", "application/sdp"))))
        elif method in handler:
            handler[method](request, server)
        else:
            server.respond(respond(request, 405, headers=(("Allow", ALLOW),)))

    def _on_bye(self, request: Request, server: ServerTransaction) -> None:
        server.respond(respond(request, 200))
        if not self.is_answered and self._server is not None and self.invite is not None:
            self._server.respond(respond(self.invite, 487, to_tag=self.local.tag), until_ack=True)
        self._finish(200, "remote")

    def _on_info(self, request: Request, server: ServerTransaction) -> None:
        content_type = (request.first("content-type") or "").partition(";")[0].strip().lower()
        self.info_bodies.append((content_type, request.body))
        digit, duration_ms = _info_digit(content_type, request.body)
        if digit:
            self.stream.digits.append(ReceivedDigit(digit, "info", duration_ms, _now_ns()))
        server.respond(respond(request, 200))

    def _on_reinvite(self, request: Request, server: ServerTransaction) -> None:
        if self._reinviting:
            server.respond(respond(request, 491), until_ack=request.method == "INVITE")
            return
        try:
            offer = sdp.parse(request.body) if request.body else None
            contact = request.contact
            self._sdp_version += 1
            body = self._answer(offer) if offer else (self._offer() if request.method == "INVITE" else b"")
            if offer:
                self._use(offer)
        except (SdpError, SipMessageError):
            server.respond(respond(request, 488), until_ack=request.method == "INVITE")
            return
        if contact is not None:
            self._target = contact.uri
        rows: Headers = (("Contact", f"<{self._line.contact}>"), ("Allow", ALLOW))
        if body:
            rows = (*rows, ("Content-Type", "application/sdp"))
        response = respond(request, 200, headers=rows, body=body)
        if request.method == "UPDATE":
            server.respond(response)
            return
        self._reinvite_server, self._answer_in_ack = server, offer is None
        server.respond(response, until_ack=True, on_no_ack=self._never_acknowledged)

    def on_ack(self, request: Request) -> None:
        """Take the ACK for a 2xx of ours."""
        if self._vanished:
            return
        for server in (self._server, self._reinvite_server):
            if server is not None and server.request.cseq[0] == request.cseq[0]:
                server.acknowledged()
        if self._answer_in_ack:
            self._answer_in_ack = False
            with contextlib.suppress(SdpError):
                self._use(sdp.parse(request.body))
                self.stream.start()
        if self._accepted is not None:
            _done(self._accepted)

    def on_cancel(self) -> None:
        """The far end gave up before we answered (the CANCEL itself was answered by the phone)."""
        if self._vanished or self._decided or self._server is None or self.invite is None:
            return
        self._server.respond(respond(self.invite, 487, to_tag=self.local.tag), until_ack=True)
        self._invite_failed(487, "remote")

    # --- session ---

    def _session(self, codecs: Sequence[sdp.Codec], direction: sdp.Direction, **more: Any) -> bytes:
        return sdp.build(
            sdp.AudioSession(
                self._line.host, self.stream.port, tuple(codecs), direction, 1, self._sdp_version + 1, **more
            )
        )

    def _offer(self) -> bytes:
        codecs = [sdp.Codec(_STATIC[name], name) for name in self._offer_codecs]
        return self._session([*codecs, sdp.Codec(101, TELEPHONE_EVENT)], self._direction)

    def _answer(self, offer: sdp.AudioSession) -> bytes:
        chosen = next((codec for codec in offer.codecs if codec.name in _STATIC and codec.clock_rate == 8000), None)
        if chosen is None or not offer.port:
            raise SdpError("m=audio", "no codec in common")
        events = offer.codec(TELEPHONE_EVENT)
        codecs = [chosen, events] if events else [chosen]
        mine, theirs = self._direction, sdp.mirrored(offer.direction)
        sends = all(item in ("sendrecv", "sendonly") for item in (mine, theirs))
        hears = all(item in ("sendrecv", "recvonly") for item in (mine, theirs))
        direction: sdp.Direction = "sendrecv" if sends and hears else "sendonly" if sends else "inactive"
        if hears and not sends:
            direction = "recvonly"
        return self._session(codecs, direction, index=offer.index, other_streams=offer.other_streams)

    def _use(self, session: sdp.AudioSession) -> None:
        chosen = next((codec for codec in session.codecs if codec.name in _STATIC and codec.clock_rate == 8000), None)
        if chosen is None or not session.port:
            raise SdpError("m=audio", "no codec in common")
        host = _numeric(session.address)
        if host is None:
            raise SdpError("c=", "not an IPv4 address")
        self.codec = self.stream.codec = "PCMU" if chosen.name == "PCMU" else "PCMA"
        events = session.codec(TELEPHONE_EVENT)
        self.stream.remote_events = events is not None
        self.stream.event_payload_type = events.payload_type if events else 101
        if host != "0.0.0.0":  # noqa: S104 (hold as RFC 2543 phones say it)
            self.stream.remote = host, session.port
        self._remote_direction = session.direction
        self.held_by_remote = session.on_hold
        self._apply_direction()

    def _apply_direction(self) -> None:
        mine = self._direction in ("sendrecv", "sendonly")
        theirs = self._remote_direction in ("sendrecv", "recvonly")
        self.stream.sending = mine and theirs and not self._zero_address and not self._quiet_on_hold

    @property
    def _zero_address(self) -> bool:
        return self.held_by_remote and self._remote_direction == "sendrecv"

    # --- messages ---

    def _destination(self) -> tuple[str, int]:
        hop = NameAddress.parse(self._routes[0], "Route").uri if self._routes else self._target
        if self.outgoing and not self._in_dialog:
            return self._peer
        with contextlib.suppress(SipMessageError):
            uri = SipUri.parse(hop)
            host = _numeric(uri.host)
            if host is not None:
                return host, uri.port or 5060
        return self._peer

    def _build(self, method: str, seq: int, headers: Headers, body: bytes) -> Request:
        via = Via(self._line.host, SipUri.parse(self._line.contact).port, "UDP", (("rport", None),))
        rows: Headers = (
            ("Via", f"{via};branch={self._line.new_branch()}"),
            *(("Route", value) for value in self._routes),
            ("Max-Forwards", "70"),
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.sip_call_id),
            ("CSeq", f"{seq} {method}"),
            ("Contact", f"<{self._line.contact}>"),
            *headers,
        )
        return Request(method=method, uri=self._target, headers=rows, body=body)

    def _finish(self, code: int, by: EndedBy) -> None:
        if self._ended.is_set():
            return
        self.end_code, self.ended_by, self.ended_ns = code, by, _now_ns()
        self.stream.close()
        if self._transaction is not None and not self._transaction.finished:
            self._transaction.stop()
        if self._accepted is not None:
            _done(self._accepted, code if code >= 300 else 487)
        _settle(self._answered, code if code >= 300 else 487)
        self._ended.set()
        self._line.forget(self)


def _info_digit(content_type: str, body: bytes) -> tuple[str, int]:
    text = body.decode(errors="replace")
    if content_type == "application/dtmf":
        return text.strip()[:1], 0
    if content_type != "application/dtmf-relay":
        return "", 0
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    values = {name.strip().lower(): value.strip() for name, value in fields.items()}
    duration = values.get("duration", "")
    return values.get("signal", "")[:1], int(duration) if re.fullmatch(r"[0-9]{1,6}", duration) else 0


def _settle(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _done(future: "asyncio.Future[None]", failed: int = 0) -> "asyncio.Future[None]":
    if future.done():
        return future
    if failed:
        future.set_exception(CallFailed(failed))
        # Read once, so that a script which does not await it leaves no "never retrieved" behind.
        future.exception()
    else:
        future.set_result(None)
    return future


def _now_ns() -> int:
    return time.monotonic_ns()
