"""SIP transactions over UDP (RFC 3261 section 17): retransmission, matching and absorption, nothing else."""

import asyncio
import time
from collections.abc import Callable

from gateway.wire.sip import Request, Response

T1_S = 0.5
T2_S = 4.0
GIVE_UP_S = 64 * T1_S
LINGER_S = 32.0

Send = Callable[[bytes, tuple[str, int]], None]


def _nothing(_datagram: bytes, _destination: tuple[str, int]) -> None:
    pass


class ClientTransaction:
    """A request on its way. *on_response* gets every provisional and final response; of an INVITE also every
    repeated 2xx (its ACK is the dialog's business, section 13.2.2.4). No final answer in time: *on_timeout*."""

    def __init__(
        self,
        request: Request,
        destination: tuple[str, int],
        send: Send,
        on_response: Callable[[Response], None],
        on_timeout: Callable[[], None],
    ) -> None:
        self.request = request
        self.destination = destination
        self.proceeding = False
        self.finished_at = 0.0
        self._send = send
        self._datagram = request.encode()
        self._on_response = on_response
        self._on_timeout = on_timeout
        self._invite = request.method == "INVITE"
        self._ack: bytes | None = None
        self._interval = T1_S
        self._loop = asyncio.get_running_loop()
        self._retransmit: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def finished(self) -> bool:
        return self.finished_at > 0

    def mute(self) -> None:
        """Send nothing any more."""
        self.stop()
        self._send = _nothing

    def start(self) -> None:
        self._send(self._datagram, self.destination)
        self._retransmit = self._loop.call_later(self._interval, self._again)
        self._deadline = self._loop.call_later(GIVE_UP_S, self._timed_out)

    def stop(self) -> None:
        """Stop all timers; late responses are still matched."""
        for timer in (self._retransmit, self._deadline):
            if timer is not None:
                timer.cancel()
        self._retransmit = self._deadline = None

    def receive(self, response: Response) -> None:
        """Take a response that matched this transaction."""
        if response.status < 200:
            if self.finished:
                return
            self.proceeding = True
            if self._invite:
                # Timers A and B run only until the first provisional response (section 17.1.1.2).
                self.stop()
            self._on_response(response)
            return
        if self._invite and response.status >= 300:
            self._acknowledge(response)
        repeated = self.finished
        self.finished_at = time.monotonic()
        self.stop()
        if not repeated or (self._invite and response.status < 300):
            self._on_response(response)

    def _acknowledge(self, response: Response) -> None:
        if self._ack is None:
            # Section 17.1.1.3: the ACK for a refusal repeats the request's top Via, with the response's To.
            headers: list[tuple[str, str]] = [("Via", self.request.listed("via")[0])]
            headers += [("Route", value) for value in self.request.rows("route")]
            headers += [
                ("Max-Forwards", "70"),
                ("From", self.request.first("from") or ""),
                ("To", response.first("to") or ""),
                ("Call-ID", self.request.call_id),
                ("CSeq", f"{self.request.cseq[0]} ACK"),
            ]
            self._ack = Request(method="ACK", uri=self.request.uri, headers=tuple(headers)).encode()
        self._send(self._ack, self.destination)

    def _again(self) -> None:
        self._send(self._datagram, self.destination)
        self._interval = self._interval * 2 if self._invite else min(self._interval * 2, T2_S)
        if not self._invite and self.proceeding:
            self._interval = T2_S
        self._retransmit = self._loop.call_later(self._interval, self._again)

    def _timed_out(self) -> None:
        self.stop()
        self.finished_at = time.monotonic()
        self._on_timeout()


class ServerTransaction:
    """A request being answered: a repeated request gets the last response again, a refusal of an INVITE is
    repeated until its ACK comes (section 17.2)."""

    def __init__(self, request: Request, source: tuple[str, int], send: Send) -> None:
        self.request = request
        self.source = source
        self._send = send
        self.finished_at = 0.0
        self._last: bytes | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._interval = T1_S
        self._elapsed = 0.0

    def respond(
        self, response: Response, *, until_ack: bool = False, on_no_ack: Callable[[], None] | None = None
    ) -> None:
        """Send *response*. With *until_ack* it is repeated until `acknowledged`; not within 32 s: *on_no_ack*."""
        self._last = response.encode()
        self._send(self._last, self.source)
        if response.status >= 200:
            self.finished_at = time.monotonic()
        if until_ack:
            self._interval, self._elapsed = T1_S, 0.0
            self._timer = self._loop.call_later(self._interval, self._again, on_no_ack)

    def repeated(self) -> None:
        """The request came again."""
        if self._last is not None:
            self._send(self._last, self.source)

    def acknowledged(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    stop = acknowledged

    def mute(self) -> None:
        """Send nothing any more."""
        self.stop()
        self._send = _nothing

    def _again(self, on_no_ack: Callable[[], None] | None) -> None:
        self._elapsed += self._interval
        if self._elapsed >= GIVE_UP_S:
            self._timer = None
            if on_no_ack is not None:
                on_no_ack()
            return
        self.repeated()
        self._interval = min(self._interval * 2, T2_S)
        self._timer = self._loop.call_later(self._interval, self._again, on_no_ack)
