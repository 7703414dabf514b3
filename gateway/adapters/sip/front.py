"""The one public SIP address of the gateway: a UDP proxy that spreads calls over the workers (RFC 3261 section 16).

It carries what sets a call up: the INVITE, its CANCEL, the ACK for a refusal and the responses. Everything later
goes straight to the worker, whose Contact the caller learns; there is no Record-Route. It keeps no transactions,
only which worker has which call, for as long as messages of its set-up may still come.

Nothing of a message reaches the log: neither URI, number, name nor address.
"""

import asyncio
import hashlib
import ipaddress
import secrets
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from gateway.wire.address import NameAddress, SipUri, Via
from gateway.wire.errors import SipMessageError
from gateway.wire.sip import BRANCH_COOKIE, Headers, Request, Response, check_request, parse, respond

_log = structlog.get_logger(__name__)

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"
IN_DIALOG_ONLY = frozenset(("BYE", "INFO", "PRACK", "UPDATE"))
METHODS = IN_DIALOG_ONLY | {
    *("INVITE", "ACK", "CANCEL", "OPTIONS", "REGISTER", "MESSAGE", "NOTIFY", "PUBLISH", "REFER", "SUBSCRIBE")
}
MAX_FORWARDS = 70
RETRY_AFTER_S = 4
KEEP_S = 64.0
"""How long a call's worker is remembered after its last message: twice the life of a transaction (64*T1)."""
KEEP_RINGING_S = 200.0
"""The same while no final response came: over the three minutes of timer C (section 16.6 step 11)."""
LOG_EVERY_S = 10.0
RECEIVE_BUFFER_BYTES = 1 << 20
"""Asked of the kernel (which may give less): a burst waits here while the control process is busy."""

Address = tuple[str, int]


@dataclass(slots=True)
class FrontCounters:
    """What happened since the start. *answered* counts own responses by status, *dropped* silent losses by cause."""

    requests_forwarded: int = 0
    responses_forwarded: int = 0
    answered: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class TokenBucket:
    """Lets *rate* events a second through on average and *burst* at once. Time comes in, in seconds."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = 0.0

    def has(self, now: float) -> bool:
        """Tell whether one event may pass at *now*, without counting it."""
        self._tokens = min(self.burst, self._tokens + max(now - self._at, 0.0) * self.rate)
        self._at = now
        return self._tokens >= 1.0

    def take(self, now: float) -> bool:
        """Count one event; False: it is one too many."""
        if not self.has(now):
            return False
        self._tokens -= 1.0
        return True


@dataclass(slots=True)
class _Route:
    """The worker of one call, and how far its set-up is."""

    worker: Address
    cseq: int
    expires: float
    branches: list[str]
    status: int = 0


class SipFront(asyncio.DatagramProtocol):
    """The proxy. *choose_worker* names the worker for a new call, by its Call-ID, or None when all are full.
    *refused* is told the Call-ID of a call that its worker did not take.

    *can_take* says, without reserving anything, whether a call could be taken now (for OPTIONS; default: yes).
    *allowed_sources*: networks whose requests are answered; from elsewhere an INVITE gets 403 and the rest nothing.
    *invites_per_second*: new calls let through on average, from all sources and (*per_source*, default the same)
    from one; a burst of two seconds' worth is let through at once. *max_routes* bounds the memory for calls.
    """

    MAX_SOURCES = 1024
    MAX_BRANCHES = 16

    def __init__(
        self,
        host: str,
        port: int,
        *,
        choose_worker: Callable[[str], Address | None],
        refused: Callable[[str], None] = lambda call_id: None,
        can_take: Callable[[], bool] = lambda: True,
        allowed_sources: Iterable[str] = ("127.0.0.0/8", "::1/128"),
        invites_per_second: float = 100.0,
        invites_per_second_per_source: float | None = None,
        max_routes: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.port = port
        self.draining = False
        self.counters = FrontCounters()
        self._choose_worker = choose_worker
        self._refused = refused
        self._can_take = can_take
        self._networks = tuple(ipaddress.ip_network(network) for network in allowed_sources)
        self._per_source_rate = invites_per_second_per_source or invites_per_second
        self._global_bucket = TokenBucket(invites_per_second, max(2 * invites_per_second, 1.0))
        self._refusals = TokenBucket(20.0, 40.0)
        self._source_buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._max_routes = max_routes
        self._routes: OrderedDict[tuple[str, str], _Route] = OrderedDict()
        self._by_branch: dict[str, tuple[str, str]] = {}
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._transport: asyncio.DatagramTransport | None = None
        self._logged: dict[str, float] = {}

    # --- life ---

    async def start(self) -> None:
        """Bind the address; port 0 is replaced by the port taken. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, self.port))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    async def stop(self) -> None:
        """Free the address. Stopping twice, or before `start`, does nothing."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)

    @property
    def address(self) -> str:
        """`host:port` that callers dial."""
        return f"{self._sent_by}:{self.port}"

    @property
    def routes(self) -> int:
        """Calls whose worker is remembered."""
        return len(self._routes)

    def forget_worker(self, worker: Address) -> None:
        """A worker is gone: repeated INVITEs of calls it did not answer go to another one."""
        for key in [key for key, route in self._routes.items() if route.worker == worker]:
            self._forget(key)

    @property
    def _sent_by(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    # --- datagrams ---

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        source = str(addr[0]), int(addr[1])
        if not data.strip(b"\r\n\x00"):
            self.counters.dropped["keep-alive"] += 1
            return
        try:
            message = parse(data)
            if isinstance(message, Response):
                self._on_response(message, source)
            elif self._admitted(message, source):
                self._on_request(message, source)
        except SipMessageError as error:
            self._on_malformed(error, source)
        except Exception as error:
            # One message must not hurt the next; its text stays out of the log (invariant 7).
            self.counters.dropped["internal error"] += 1
            _log.error("a SIP message could not be handled", error=type(error).__name__)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error for a datagram sent earlier: SIP's own retransmission deals with the loss."""
        self.counters.dropped["unreachable"] += 1

    def _on_malformed(self, error: SipMessageError, source: Address) -> None:
        request = error.request
        if request is None or request.method == "ACK" or not self._is_allowed(source):
            self.counters.dropped["malformed"] += 1
            return
        try:
            via = request.top_via.received_from(*source)
            self._answer(request.with_top_via(via), error.status)
        except SipMessageError:
            self.counters.dropped["malformed"] += 1

    def _is_allowed(self, source: Address) -> bool:
        address = ipaddress.ip_address(source[0].partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def _admitted(self, request: Request, source: Address) -> bool:
        if self._is_allowed(source):
            return True
        self.counters.dropped["source"] += 1
        if request.method == "INVITE" and self._refusals.take(self._clock()):
            self._note("an INVITE from a source that is not allowed was refused")
            self._answer(request.with_top_via(request.top_via.received_from(*source)), 403)
        return False

    # --- requests ---

    def _on_request(self, request: Request, source: Address) -> None:
        try:
            check_request(request)
            self._route_request(request, source)
        except SipMessageError as error:
            error.request = request
            raise

    def _route_request(self, request: Request, source: Address) -> None:
        if request.method not in METHODS and not request.to_address.tag:
            self._answer(_received(request, source), 501, (("Allow", ALLOW),))
            return
        key = request.call_id, request.from_address.tag
        route = self._route(key)
        request = _received(request, source)
        if self._loops(request):
            self._refuse(request, 482)
        elif request.method in ("INVITE", "ACK", "CANCEL") or route is not None or request.to_address.tag:
            self._on_call_message(request, key, route, source)
        elif request.method == "OPTIONS":
            self._on_options(request)
        elif request.method in IN_DIALOG_ONLY:
            self._refuse(request, 481)
        else:
            self._refuse(request, 405, (("Allow", ALLOW),))

    def _on_options(self, request: Request) -> None:
        required = ", ".join(item for name in ("require", "proxy-require") for item in request.listed(name) if item)
        if required:
            self._refuse(request, 420, (("Unsupported", required),))
        elif self.draining or not self._can_take():
            self._refuse(request, 503, (("Retry-After", str(RETRY_AFTER_S)),))
        else:
            self._refuse(request, 200, (("Allow", ALLOW), ("Accept", "application/sdp")))

    def _on_call_message(self, request: Request, key: tuple[str, str], route: _Route | None, source: Address) -> None:
        hops = request.first("max-forwards")
        unsupported = ", ".join(item for item in request.listed("proxy-require") if item)
        in_dialog = bool(request.to_address.tag)
        if hops is not None and int(hops) == 0 and request.method != "ACK":
            self._refuse(request, 483)
            return
        if unsupported and request.method not in ("ACK", "CANCEL"):
            self._refuse(request, 420, (("Unsupported", unsupported),))
            return
        if request.method == "INVITE" and not in_dialog:
            route = self._route_for_invite(request, key, route, source)
            if route is None:
                return
        if route is None:
            self._refuse(request, 481)
            return
        self._forward(request, key, route)

    def _route_for_invite(
        self, request: Request, key: tuple[str, str], route: _Route | None, source: Address
    ) -> _Route | None:
        """Return the worker of a new or repeated INVITE, or answer it and return None."""
        cseq = request.cseq[0]
        # A refused or redirected caller comes again with the next CSeq (section 8.1.3.4) and may go elsewhere.
        if route is not None and (route.cseq == cseq or route.status < 300):
            route.cseq = cseq
            return route
        now = self._clock()
        busy = (("Retry-After", str(RETRY_AFTER_S)),)
        if self.draining:
            self._refuse(request, 503, busy)
            return None
        if not self._within_rate(source[0], now):
            self._note("new calls come faster than allowed, some were refused")
            self._refuse(request, 503, busy)
            return None
        if not self._has_room(now):
            self._note("too many calls are being set up, some were refused")
            self._refuse(request, 503, busy)
            return None
        worker = self._choose_worker(request.call_id)
        if worker is None:
            self._note("all workers are full, calls were refused")
            self._refuse(request, 503, busy)
            return None
        if route is not None:
            self._forget(key)
        route = _Route(worker, cseq, now + KEEP_RINGING_S, [])
        self._routes[key] = route
        return route

    def _within_rate(self, source: str, now: float) -> bool:
        bucket = self._source_buckets.pop(source, None)
        if bucket is None:
            bucket = TokenBucket(self._per_source_rate, max(2 * self._per_source_rate, 1.0))
        self._source_buckets[source] = bucket
        if len(self._source_buckets) > self.MAX_SOURCES:
            self._source_buckets.popitem(last=False)
        return bucket.has(now) and self._global_bucket.take(now) and bucket.take(now)

    def _forward(self, request: Request, key: tuple[str, str], route: _Route) -> None:
        hops = request.first("max-forwards")
        left = MAX_FORWARDS if hops is None else max(int(hops) - 1, 0)
        branch = self._branch(request)
        via = Via(self._sent_by, self.port, "UDP", (("rport", None), ("branch", branch)))
        outgoing = request.with_rows("Max-Forwards", (str(left),)).with_first("Via", str(via))
        outgoing = self._without_own_route(outgoing)
        datagram = outgoing.encode()
        if branch not in self._by_branch:
            if len(route.branches) >= self.MAX_BRANCHES:
                self._by_branch.pop(route.branches.pop(0), None)
            route.branches.append(branch)
            self._by_branch[branch] = key
        self._touch(key, route)
        self.counters.requests_forwarded += 1
        self._send(datagram, route.worker)

    def _without_own_route(self, request: Request) -> Request:
        """Take our own address off the Route (section 16.4)."""
        routes = request.listed("route")
        if not routes:
            return request
        uri = SipUri.parse(NameAddress.parse(routes[0], "Route").uri, "Route")
        if (uri.host.strip("[]"), uri.port or 5060) != (self.host, self.port):
            return request
        return request.with_rows("Route", routes[1:])

    def _branch(self, request: Request) -> str:
        """The same for every repetition of a request, its CANCEL and the ACK of its refusal (section 16.11)."""
        via = request.top_via
        parts = [request.call_id, request.from_address.tag, str(request.cseq[0]), via.host, str(via.port), via.branch]
        if not via.branch.startswith(BRANCH_COOKIE):
            parts += [request.uri]
        return f"{BRANCH_COOKIE}{self._hash(*parts)}.{self._loop_mark(request)}"

    def _loop_mark(self, request: Request) -> str:
        return self._hash("loop", request.uri, request.call_id, request.from_address.tag, str(request.cseq[0]))

    def _loops(self, request: Request) -> bool:
        """Tell whether the request went through here before, unchanged (section 16.3 step 4)."""
        mark = f".{self._loop_mark(request)}"
        return any(via.branch.endswith(mark) and via.branch.startswith(BRANCH_COOKIE) for via in request.vias)

    def _hash(self, *parts: str) -> str:
        text = "\x00".join(parts).encode(errors="surrogateescape")
        return hashlib.blake2s(text, digest_size=8, key=self._secret).hexdigest()

    # --- responses ---

    def _on_response(self, response: Response, source: Address) -> None:
        values = response.listed("via")
        via = Via.parse(values[0]) if values else None
        key = self._by_branch.get(via.branch) if via is not None else None
        route = self._routes.get(key) if key is not None else None
        # Only the worker that got the request may answer it: nobody else can use us to send to third parties.
        if key is None or route is None or route.worker != source or len(values) < 2:
            self.counters.dropped["unmatched response"] += 1
            return
        onward = response.with_rows("Via", values[1:])
        destination = onward.top_via.reply_to
        method = response.cseq[1]
        if method == "INVITE" and response.status >= 200 and response.cseq[0] == route.cseq:
            route.status = response.status
            if response.status >= 300:
                self._refused(response.call_id)
        self._touch(key, route)
        self.counters.responses_forwarded += 1
        self._send(onward.encode(), destination)

    # --- what is remembered ---

    def _route(self, key: tuple[str, str]) -> _Route | None:
        route = self._routes.get(key)
        if route is not None and route.expires < self._clock():
            self._forget(key)
            return None
        return route

    def _touch(self, key: tuple[str, str], route: _Route) -> None:
        route.expires = self._clock() + (KEEP_S if route.status else KEEP_RINGING_S)
        self._routes.move_to_end(key)

    def _forget(self, key: tuple[str, str]) -> None:
        route = self._routes.pop(key, None)
        for branch in route.branches if route else ():
            self._by_branch.pop(branch, None)

    def _has_room(self, now: float) -> bool:
        """Forget what expired, a few entries at a time; tell whether another call can be remembered."""
        for key in [key for key, _ in zip(self._routes, range(8), strict=False)]:
            if self._routes[key].expires < now:
                self._forget(key)
        if len(self._routes) < self._max_routes:
            return True
        # Full: of the calls silent for longest, one whose set-up is over can be missed best. At worst the ACK of a
        # refusal is lost, and its worker repeats the refusal for a while.
        oldest = [key for key, _ in zip(self._routes, range(64), strict=False)]
        done = next((key for key in oldest if self._routes[key].status >= 200), None)
        if done is not None:
            self._forget(done)
        return done is not None

    # --- own responses ---

    def _refuse(self, request: Request, status: int, headers: Headers = ()) -> None:
        if request.method != "ACK":
            self._answer(request, status, headers)
        else:
            # The ACK for a refusal of our own, or a stray one: an ACK is never answered.
            self.counters.dropped["absorbed ACK"] += 1

    def _answer(self, request: Request, status: int, headers: Headers = ()) -> None:
        tag = self._hash("tag", request.call_id, request.first("from") or "", request.first("cseq") or "")
        destination = request.top_via.reply_to
        datagram = respond(request, status, to_tag=tag, headers=headers).encode()
        self.counters.answered[status] += 1
        self._send(datagram, destination)

    def _send(self, datagram: bytes, destination: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(datagram, destination)

    def _note(self, event: str) -> None:
        """Log *event*, a constant, at most once in ten seconds."""
        now = self._clock()
        if now - self._logged.get(event, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged[event] = now
            _log.warning("SIP messages were refused", because=event)


def _received(request: Request, source: Address) -> Request:
    return request.with_top_via(request.top_via.received_from(*source))
