"""Hostile and broken SIP against the gateway's address: it answers what can be answered, and goes on working.

Every test runs twice: against the front alone, with a small user agent behind it as a worker, and against a whole
gateway in processes of its own, as `consent-gateway serve` starts it.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from gateway.adapters.sip.front import SipFront
from gateway.adapters.softphone import CallFailed, Softphone
from gateway.wire import sdp
from gateway.wire.address import SipUri, Via
from gateway.wire.errors import SdpError, SipMessageError
from gateway.wire.sip import Request, Response, parse, respond
from tests.e2e.rfc4475 import MESSAGES, SDP, SILENCE, Torture
from tests.support.serving import Served, children, free_port

ALLOWED, STRANGER = "127.0.0.1", "127.0.0.2"
PERSONAL = ("user", "rosenberg", "watson", "4512345678", "example")


class StubWorker(asyncio.DatagramProtocol):
    """Answers every call it is sent at once, and keeps nothing."""

    async def open(self) -> "StubWorker":
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.address: tuple[str, int] = self.transport.get_extra_info("sockname")
        return self

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = parse(data)
        if not isinstance(request, Request) or request.method == "ACK":
            return
        contact = (("Contact", f"<sip:worker@127.0.0.1:{self.address[1]}>"), ("Content-Type", "application/sdp"))
        status, body = 200, b""
        if request.method == "INVITE":
            try:
                offer = sdp.parse(request.body) if request.body else None
                own = sdp.AudioSession("127.0.0.1", 40000, (sdp.Codec(0, "PCMU"), sdp.Codec(101, "TELEPHONE-EVENT")))
                body = sdp.build(own)
                status = 200 if offer is None or offer.codec("PCMU") else 488
            except SdpError:
                status = 488
        try:
            self.transport.sendto(respond(request, status, to_tag="w", headers=contact, body=body).encode(), addr)
        except SipMessageError:
            return


@dataclass
class GatewayUnderTest:
    """Where the gateway listens and which processes are it. *front* only where it runs in this process."""

    address: tuple[str, int]
    pids: tuple[int, ...]
    front: SipFront | None = None
    log: Path | None = None
    http_port: int = 0

    @property
    def uri(self) -> str:
        return f"sip:consent@{self.address[0]}:{self.address[1]}"

    def resident_bytes(self) -> int:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextlib.contextmanager
    def saying(self) -> Iterator[list[str]]:
        """What the gateway logs meanwhile."""
        said: list[str] = []
        before = self.log.stat().st_size if self.log is not None else 0
        with structlog.testing.capture_logs() as logs:
            yield said
        said.append(repr(logs))
        if self.log is not None:
            said.append(self.log.read_bytes()[before:].decode())

    async def live_calls(self) -> int:
        """Calls that the whole gateway knows of."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self.http_port}/readyz")
        return int(answer.json()["calls"])


@contextlib.asynccontextmanager
async def front_alone() -> AsyncIterator[GatewayUnderTest]:
    worker = await StubWorker().open()
    front = SipFront(
        "127.0.0.1",
        0,
        choose_worker=lambda call_id: worker.address,
        allowed_sources=[f"{ALLOWED}/32"],
        invites_per_second=200.0,
        max_routes=300,
    )
    await front.start()
    yield GatewayUnderTest((front.host, front.port), (os.getpid(),), front)
    await front.stop()
    worker.transport.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A whole gateway, the same for all tests of this file: what one test leaves behind meets the next."""
    folder = tmp_path_factory.mktemp("served")
    settings = f'allowed_sources = ["{ALLOWED}/32"]\ninvites_per_second = 200'
    gateway = Served(folder, agent=f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}", calls=4, sip_settings=settings)
    with (folder / "serve.log").open("wb") as log, gateway.launch(log) as process:
        assert process.stdout is not None
        assert any(line.startswith(b"Stop with") for line in process.stdout), (folder / "serve.log").read_text()
        gateway.workers = children(process.pid)
        pids = [process.pid, *gateway.workers]
        yield gateway
        assert [pid for pid in pids if not Path(f"/proc/{pid}").exists()] == [], "a process died of the tests"
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture(params=["front", "whole"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[GatewayUnderTest]:
    if request.param == "front":
        async with front_alone() as alone:
            yield alone
    else:
        whole: Served = request.getfixturevalue("served")
        assert whole.pid is not None
        pids = (whole.pid, *whole.workers)
        log = whole.folder / "serve.log"
        under_test = GatewayUnderTest(("127.0.0.1", whole.sip_port), pids, log=log, http_port=whole.http_port)
        await all_calls_over(under_test, left=2)
        yield under_test


@pytest.fixture
def gateway_address(gateway: GatewayUnderTest) -> tuple[str, int]:
    return gateway.address


@dataclass
class Attacker(asyncio.DatagramProtocol):
    """Sends anything and keeps the final responses, by Call-ID."""

    gateway_address: tuple[str, int]
    final: asyncio.Queue[Response] = field(default_factory=asyncio.Queue)

    async def open(self, host: str = ALLOWED) -> "Attacker":
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self.host, self.port = self.transport.get_extra_info("sockname")
        return self

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = parse(data)
        if isinstance(message, Response) and message.status >= 200:
            self.final.put_nowait(message)

    def send(self, data: bytes) -> None:
        self.transport.sendto(data, self.gateway_address)

    def relayed(self, name: str, data: bytes) -> bytes:
        """The message as it comes from an edge proxy of ours, so that the answer comes back here."""
        start, _, rest = data.partition(b"\r\n")
        via = f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK-{name}"
        return start + b"\r\n" + via.encode() + b"\r\n" + rest

    async def answer(self, seconds: float = 2.0) -> Response:
        async with asyncio.timeout(seconds):
            return await self.final.get()

    async def silence(self) -> None:
        await asyncio.sleep(0.1)
        assert self.final.empty()

    def put_away(self, answer: Response) -> None:
        """End what an INVITE began: ACK, and BYE where a call came of it."""
        with contextlib.suppress(SipMessageError):  # a message without From or To has nothing to acknowledge
            via, seq, destination = answer.top_via, answer.cseq[0], self.gateway_address
            if answer.status < 300 and answer.contact is not None:
                contact = SipUri.parse(answer.contact.uri)
                via = Via(self.host, self.port, parameters=(("branch", f"z9hG4bK{random.getrandbits(60)}"),))
                destination = contact.host, contact.port or 5060
            common = (
                ("Via", str(via)),
                *((name, answer.first(name) or "") for name in ("From", "To", "Call-ID")),
                ("Max-Forwards", "70"),
            )
            for method in ("ACK", "BYE") if answer.status < 300 else ("ACK",):
                cseq = ("CSeq", f"{seq + (method == 'BYE')} {method}")
                request = Request(method=method, uri="sip:consent@127.0.0.1", headers=(*common, cseq))
                self.transport.sendto(request.encode(), destination)


@pytest.fixture
async def attacker(gateway_address: tuple[str, int]) -> AsyncIterator[Attacker]:
    attacker = await Attacker(gateway_address).open()
    yield attacker
    attacker.transport.close()


def options(attacker: Attacker, call_id: str = "ping") -> bytes:
    return (
        f"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {attacker.host}:{attacker.port};branch=z9hG4bK{call_id}\r\n"
        f"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n\r\n"
    ).encode()


def invite(attacker: Attacker, call_id: str, body: bytes, more: str = "") -> bytes:
    head = (
        f"INVITE sip:consent@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {attacker.host}:{attacker.port};branch=z9hG4bK{call_id}\r\n"
        f"From: <sip:+4512345678@example.com>;tag=1\r\nTo: <sip:consent@127.0.0.1>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:x@{attacker.host}:{attacker.port}>\r\n{more}"
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def is_alive(attacker: Attacker) -> None:
    """Ask, again and again as SIP does, and wait for the answer to just that: late answers to others are left out."""
    call_id = f"ping{random.getrandbits(60)}"
    answer: Response | None = None
    async with asyncio.timeout(30):
        while answer is None:
            attacker.send(options(attacker, call_id))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while answer is None or answer.call_id != call_id:
                        answer = await attacker.final.get()
            answer = answer if answer is not None and answer.call_id == call_id else None
    assert answer.status in (200, 503)


async def a_good_call(gateway: GatewayUnderTest) -> None:
    """A caller who comes again when he is told to (503 with Retry-After)."""
    async with await Softphone.open() as phone, asyncio.timeout(60):
        while True:
            call = await phone.call(gateway.uri)
            try:
                await call.answered(20)
            except CallFailed as failure:
                assert failure.code == 503
                await asyncio.sleep(1)
            else:
                assert await call.hang_up() == 200
                return


@pytest.mark.parametrize("torture", MESSAGES, ids=lambda item: f"{item.section}-{item.name}")
async def test_the_torture_messages_of_rfc_4475(
    gateway: GatewayUnderTest, attacker: Attacker, torture: Torture
) -> None:
    with gateway.saying() as logs:
        attacker.send(torture.data)
        if torture.outcome is SILENCE:
            await attacker.silence()
        else:
            relayed = attacker.relayed(torture.name, torture.data)
            attacker.send(relayed)
            answer = await attacker.answer()
            assert answer.status in torture.outcome
            if relayed.startswith(b"INVITE"):
                attacker.put_away(answer)
        await asyncio.sleep(0.02)
        await is_alive(attacker)
    assert not [word for word in PERSONAL if word in repr(logs).lower()]


def test_all_of_them_are_here() -> None:
    assert len({item.name for item in MESSAGES}) == 49


BODIES = {
    "nothing in common": SDP.replace(" 0 12", " 99").encode(),
    "empty lines": b"\r\n\r\n\r\n",
    "no audio": SDP.replace("m=audio", "m=image").encode(),
    "no connection": SDP.replace("c=IN IP4 192.0.2.4\n", "").encode(),
    "bad port": SDP.replace("49217", "-5").encode(),
    "huge port": SDP.replace("49217", "9" * 400).encode(),
    "huge payload type": SDP.replace(" 0 12", " 0 999999999").encode(),
    "port zero": SDP.replace("49217", "0").encode(),
    "thousands of lines": SDP.encode() + b"a=x\r\n" * 5000,
    "long line": SDP.encode() + b"a=" + b"x" * 40_000,
    "NUL": SDP.encode() + b"a=\x00\x00\r\n",
    "not UTF-8": b"\xff\xfe\xfd" * 50,
    "format string": SDP.replace("s=-", "s=%s%n%x%p").encode(),
    "encrypted only": SDP.replace("RTP/AVP 0 12", "RTP/SAVP 0 12").encode(),
    "many streams": SDP.encode() + b"m=audio 1 RTP/AVP 0\r\n" * 200,
    "many codecs": SDP.replace(" 0 12", "".join(f" {at}" for at in range(1, 128))).encode(),
    "negative rtpmap": SDP.encode() + b"a=rtpmap:-1 PCMU/8000\r\na=rtpmap:0 /\r\na=fmtp:\r\na=ptime:0\r\n",
    "multicast": SDP.replace("192.0.2.4", "224.2.17.12/127").encode(),
    "bad address": SDP.replace("IN IP4 192.0.2.4", "IN IP9 nowhere nowhere").encode(),
    "cut off": SDP.encode()[:40],
}


@pytest.mark.parametrize("name", BODIES)
async def test_malformed_session_descriptions(attacker: Attacker, name: str) -> None:
    data = invite(attacker, f"sdp{list(BODIES).index(name)}", BODIES[name].replace(b"\n", b"\r\n"))
    attacker.send(data)
    answer = await attacker.answer()
    assert answer.cseq == (1, "INVITE")
    assert 200 <= answer.status < 500 or answer.status in (501, 606), "the caller's fault, not ours"
    attacker.put_away(answer)
    await asyncio.sleep(0.02)
    await is_alive(attacker)


async def test_unknown_sources(gateway: GatewayUnderTest, attacker: Attacker) -> None:
    stranger = await Attacker(gateway.address).open(STRANGER)
    with gateway.saying() as logs:
        stranger.send(invite(stranger, "unknown", SDP.encode()))
        assert (await stranger.answer()).status == 403
        stranger.send(options(stranger))
        stranger.send(b"\x00garbage" * 100)
        stranger.send(invite(stranger, "unknown", SDP.encode())[:-20])
        await stranger.silence()
    assert not [word for word in (*PERSONAL, STRANGER) if word in repr(logs).lower()]
    stranger.transport.close()
    await is_alive(attacker)


async def test_random_damage_and_noise(gateway: GatewayUnderTest, attacker: Attacker) -> None:
    rng = random.Random(4475)
    whole = [item.data for item in MESSAGES] + [invite(attacker, "whole", SDP.encode()), options(attacker)]
    for at in range(1500):
        data = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 8)):
            where = rng.randrange(len(data))
            data[where : where + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 4))
        attacker.send(bytes(data) if at % 3 else rng.randbytes(rng.randint(0, 1400)))
        if at % 100 == 99:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    await is_alive(attacker)
    await a_good_call(gateway)


async def flood(gateway: GatewayUnderTest, attacker: Attacker, count: int, per_second: float) -> Counter[int]:
    """Send INVITEs that are never acknowledged and return how they were answered.

    What a datagram socket dropped is sent again afterwards, as SIP does.
    """
    loop = asyncio.get_running_loop()
    start, answered = loop.time(), dict[str, int]()

    def collect() -> None:
        while not attacker.final.empty():
            answer = attacker.final.get_nowait()
            answered.setdefault(answer.call_id, answer.status)

    calls = [f"flood-{count}-{at}" for at in range(count)]
    for at, call in enumerate(calls):
        attacker.send(invite(attacker, call, SDP.encode()))
        await asyncio.sleep(max(start + (at + 1) / per_second - loop.time(), 0))
        if gateway.front is not None:
            assert gateway.front.routes <= 300
    for _ in range(10):
        await asyncio.sleep(0.5)
        collect()
        for call in calls:
            if call not in answered:
                attacker.send(invite(attacker, call, SDP.encode()))
                await asyncio.sleep(0.005)
    return Counter(answered[call] for call in calls if call in answered)


async def all_calls_over(gateway: GatewayUnderTest, left: int = 0) -> None:
    """Wait until at most *left* calls are up. One that nobody acknowledges is given up after 32 s (RFC 3261, 13.3.1.4),
    its BYE after 32 more."""
    async with asyncio.timeout(90):
        while gateway.front is None and await gateway.live_calls() > left:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


@pytest.mark.slow
async def test_a_flood_of_calls_that_come_and_go(gateway: GatewayUnderTest, attacker: Attacker) -> None:
    """Calls as fast as they can be had, each acknowledged and ended: nothing is left of any of them."""
    answered = Counter[int]()

    async def burst(calls: int, name: str) -> None:
        for at in range(calls):
            attacker.send(invite(attacker, f"{name}-{at}", SDP.encode()))
            answer = await attacker.answer(5)
            while (answer.call_id, answer.cseq[1]) != (f"{name}-{at}", "INVITE"):
                answer = await attacker.answer(5)
            answered[answer.status] += 1
            attacker.put_away(answer)
            await asyncio.sleep(0.01 if answer.status < 300 else 0.05)

    await burst(100, "warm")
    await all_calls_over(gateway)
    warm = gateway.resident_bytes()
    await burst(400, "more")
    await all_calls_over(gateway)
    assert set(answered) <= {200, 503}
    assert answered[200] >= 100
    assert gateway.resident_bytes() - warm < 8 * 2**20 * len(gateway.pids)
    await a_good_call(gateway)


@pytest.mark.slow
async def test_a_flood_of_calls_never_acknowledged(gateway: GatewayUnderTest, attacker: Attacker) -> None:
    """Two thousand at fifty a second: every one answered, memory flat, and afterwards no call is left."""
    answered = await flood(gateway, attacker, 500, 50)
    warm = gateway.resident_bytes()
    if gateway.front is not None:
        more, good = await asyncio.gather(flood(gateway, attacker, 1500, 50), _good_calls(gateway))
        assert good >= 10, "good calls get through"
    else:
        more = await flood(gateway, attacker, 1500, 50)
    assert sum(answered.values()) == 500 and sum(more.values()) == 1500
    assert set(answered + more) <= {200, 486, 503}
    await all_calls_over(gateway)
    grown = gateway.resident_bytes() - warm
    assert grown < 8 * 2**20 * len(gateway.pids)
    await a_good_call(gateway)


async def _good_calls(gateway: GatewayUnderTest) -> int:
    for _ in range(10):
        await a_good_call(gateway)
        await asyncio.sleep(2)
    return 10


async def test_a_burst_over_the_rate_is_refused_politely(gateway: GatewayUnderTest, attacker: Attacker) -> None:
    answered = await flood(gateway, attacker, 1000, 5000)
    assert sum(answered.values()) == 1000
    assert answered[503] > 200
    if gateway.front is not None:
        assert answered[200] >= 400, "two seconds' worth of calls pass at once"
    await asyncio.sleep(0.1)
    await is_alive(attacker)
