"""The front as callers and workers see it: real datagrams on loopback, a clock of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog

from gateway.adapters.sip.front import KEEP_S, RETRY_AFTER_S, SipFront, TokenBucket
from gateway.wire.sip import Request, Response, parse, respond


class Peer(asyncio.DatagramProtocol):
    """A UDP socket that keeps what it gets."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    @classmethod
    async def open(cls) -> "Peer":
        peer = cls()
        loop = asyncio.get_running_loop()
        peer.transport, _ = await loop.create_datagram_endpoint(lambda: peer, local_addr=("127.0.0.1", 0))
        peer.address = peer.transport.get_extra_info("sockname")
        return peer

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.put_nowait(data)

    async def message(self) -> Request | Response:
        async with asyncio.timeout(2):
            return parse(await self.got.get())

    async def nothing(self) -> None:
        await asyncio.sleep(0.05)
        assert self.got.empty()


class Scene:
    """A caller, two workers and the front between them."""

    def __init__(self, caller: Peer, workers: list[Peer], front: SipFront) -> None:
        self.caller, self.workers, self.front = caller, workers, front
        self.now = 1000.0
        self.choice: tuple[str, int] | None = workers[0].address

    def send(self, data: bytes | Request | Response, sender: Peer | None = None) -> None:
        datagram = data if isinstance(data, bytes) else data.encode()
        (sender or self.caller).transport.sendto(datagram, (self.front.host, self.front.port))

    async def asked(self, data: bytes | Request) -> Response:
        self.send(data)
        response = await self.caller.message()
        assert isinstance(response, Response)
        return response

    async def forwarded(self, data: bytes | Request, worker: int = 0) -> Request:
        self.send(data)
        request = await self.workers[worker].message()
        assert isinstance(request, Request)
        return request


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., Any]]:
    opened: list[Any] = []

    async def make(**options: Any) -> Scene:
        caller, *workers = [await Peer.open() for _ in range(3)]
        front = SipFront("127.0.0.1", 0, choose_worker=lambda call_id: scene.choice, clock=lambda: scene.now, **options)
        scene = Scene(caller, workers, front)
        await front.start()
        opened.extend([front, caller, *workers])
        return scene

    yield make
    for item in opened:
        if isinstance(item, SipFront):
            await item.stop()
            await item.stop()
        else:
            item.transport.close()


@pytest.fixture
async def scene(build: Callable[..., Any]) -> Scene:
    made: Scene = await build()
    return made


def message(
    scene: Scene,
    method: str = "INVITE",
    *,
    branch: str = "z9hG4bKone",
    cseq: int = 1,
    call_id: str = "call-1",
    to_tag: str = "",
    more: tuple[tuple[str, str], ...] = (("Max-Forwards", "70"),),
    uri: str = "sip:consent@127.0.0.1",
) -> Request:
    return Request(
        method=method,
        uri=uri,
        headers=(
            ("Via", f"SIP/2.0/UDP phone.invalid:{scene.caller.address[1]};branch={branch}"),
            ("From", "<sip:+4512345678@phone.invalid>;tag=a"),
            ("To", "<sip:consent@127.0.0.1>" + (f";tag={to_tag}" if to_tag else "")),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            *more,
        ),
    )


async def test_an_invite_goes_to_the_worker_and_its_answer_comes_back(scene: Scene) -> None:
    forwarded = await scene.forwarded(message(scene))
    ours, theirs = forwarded.vias
    assert (ours.host, ours.port) == ("127.0.0.1", scene.front.port)
    assert ours.branch.startswith("z9hG4bK")
    assert theirs.parameter("received") == "127.0.0.1"
    assert forwarded.first("max-forwards") == "69"
    assert forwarded.rows("record-route") == ()
    scene.send(respond(forwarded, 200, to_tag="w"), scene.workers[0])
    answer = await scene.caller.message()
    assert isinstance(answer, Response) and answer.status == 200
    assert [via.branch for via in answer.vias] == ["z9hG4bKone"]


async def test_a_caller_behind_a_translator_is_answered_where_the_packet_came_from(scene: Scene) -> None:
    via = "SIP/2.0/UDP 10.9.9.9:4444;rport;branch=z9hG4bKnat"
    forwarded = await scene.forwarded(message(scene).with_rows("Via", [via]))
    assert forwarded.vias[1].parameter("rport") == str(scene.caller.address[1])
    scene.send(respond(forwarded, 180), scene.workers[0])
    assert (await scene.caller.message()).first("via")


async def test_repetitions_cancel_and_ack_follow_the_invite_with_the_same_branch(scene: Scene) -> None:
    branches = {(await scene.forwarded(message(scene))).top_via.branch for _ in range(2)}
    scene.choice = scene.workers[1].address
    for method, to_tag in (("CANCEL", ""), ("ACK", "w")):
        branches.add((await scene.forwarded(message(scene, method, to_tag=to_tag))).top_via.branch)
    assert len(branches) == 1


async def test_a_message_within_a_known_call_reaches_its_worker(scene: Scene) -> None:
    await scene.forwarded(message(scene))
    scene.choice = None
    bye = await scene.forwarded(message(scene, "BYE", cseq=2, branch="z9hG4bKbye", to_tag="w"))
    scene.send(respond(bye, 200), scene.workers[0])
    assert (await scene.caller.message()).cseq == (2, "BYE")


async def test_a_redirected_caller_may_go_to_another_worker(scene: Scene) -> None:
    forwarded = await scene.forwarded(message(scene))
    scene.send(respond(forwarded, 302, to_tag="w", headers=(("Contact", "<sip:127.0.0.1>"),)), scene.workers[0])
    assert (await scene.caller.message()).cseq == (1, "INVITE")
    scene.choice = scene.workers[1].address
    await scene.forwarded(message(scene), worker=0)
    await scene.forwarded(message(scene, cseq=2, branch="z9hG4bKtwo"), worker=1)


async def test_no_worker_is_503_and_so_is_options(build: Callable[..., Any]) -> None:
    room = [True]
    scene = await build(can_take=lambda: room[0])
    assert (await scene.asked(message(scene, "OPTIONS"))).status == 200
    scene.choice, room[0] = None, False
    for method in ("INVITE", "OPTIONS"):
        response = await scene.asked(message(scene, method))
        assert (response.status, response.first("retry-after")) == (503, str(RETRY_AFTER_S))
        assert response.to_address.tag
    scene.send(message(scene, "ACK", to_tag="x"))
    await scene.caller.nothing()


async def test_a_draining_front_takes_no_new_calls_but_serves_the_old(scene: Scene) -> None:
    await scene.forwarded(message(scene))
    scene.front.draining = True
    assert (await scene.asked(message(scene, call_id="call-2"))).status == 503
    assert (await scene.asked(message(scene, "OPTIONS", call_id="call-2"))).status == 503
    assert (await scene.forwarded(message(scene, "CANCEL"))).method == "CANCEL"


@pytest.mark.parametrize(
    ("method", "status"), [("REGISTER", 405), ("MESSAGE", 405), ("BYE", 481), ("CANCEL", 481), ("NEWMETHOD", 501)]
)
async def test_other_methods_outside_a_call(scene: Scene, method: str, status: int) -> None:
    response = await scene.asked(message(scene, method))
    assert response.status == status
    assert (response.first("allow") is not None) == (status in (405, 501))
    assert response.to_address.tag


async def test_hops_loops_and_extensions(scene: Scene) -> None:
    assert (await scene.asked(message(scene, more=(("Max-Forwards", "0"),)))).status == 483
    assert (await scene.asked(message(scene, "OPTIONS", more=(("Max-Forwards", "0"),)))).status == 200
    refused = await scene.asked(message(scene, more=(("Proxy-Require", "foo, bar"),)))
    assert (refused.status, refused.first("unsupported")) == (420, "foo, bar")
    assert (await scene.asked(message(scene, uri="tel:+4512345678"))).status == 416
    forwarded = await scene.forwarded(message(scene, more=()))
    assert forwarded.first("max-forwards") == "70"
    # The worker's message comes around to us again, with our own Via in it.
    top = f"SIP/2.0/UDP 127.0.0.1:{scene.caller.address[1]};branch=z9hG4bKagain"
    assert (await scene.asked(forwarded.with_first("Via", top))).status == 482


async def test_our_own_route_is_taken_off(scene: Scene) -> None:
    mine, other = f"<sip:{scene.front.address};lr>", "<sip:192.0.2.1;lr>"
    assert (await scene.forwarded(message(scene, more=(("Route", f"{mine}, {other}"),)))).rows("route") == (other,)
    foreign = message(scene, call_id="call-2", branch="z9hG4bKtwo", more=(("Route", other),))
    assert (await scene.forwarded(foreign)).rows("route") == (other,)


async def test_malformed_is_answered_if_it_can_be(scene: Scene) -> None:
    good = message(scene).encode()
    assert (await scene.asked(good.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"))).status == 400
    assert (await scene.asked(good.replace(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"))).status == 505
    assert (await scene.asked(good.replace(b"Content-Length: 0", b"Content-Length: 9"))).status == 400
    scene.send(good.replace(b"Via: SIP/2.0/UDP", b"Via: nonsense"))
    scene.send(good.replace(b"INVITE", b"ACK").replace(b"Max-Forwards: 70", b"Max-Forwards: x"))
    for garbage in (b"\x00" * 40, b"hello", b"\xff\xfe" * 100, b"\r\n\r\n", b"SIP/2.0 9999 x\r\n\r\n"):
        scene.send(garbage)
    await scene.caller.nothing()
    assert scene.front.counters.dropped["malformed"] == 5
    assert scene.front.counters.dropped["keep-alive"] == 2


async def test_sources_that_are_not_allowed(build: Callable[..., Any]) -> None:
    scene = await build(allowed_sources=["192.0.2.0/24"])
    assert (await scene.asked(message(scene))).status == 403
    scene.send(message(scene, "OPTIONS"))
    scene.send(b"INVITE garbage")
    await scene.caller.nothing()
    assert scene.front.routes == 0
    for _ in range(200):
        scene.send(message(scene))
    await asyncio.sleep(0.1)
    assert scene.front.counters.answered[403] == 40, "the burst, then nothing: we are nobody's amplifier"


async def test_new_calls_over_the_rate_are_refused_and_repetitions_are_free(build: Callable[..., Any]) -> None:
    scene = await build(invites_per_second=1.0)
    for call in ("a", "a", "a", "b"):
        await scene.forwarded(message(scene, call_id=call, branch=f"z9hG4bK{call}"))
    assert (await scene.asked(message(scene, call_id="c"))).status == 503
    scene.now += 1
    await scene.forwarded(message(scene, call_id="c", branch="z9hG4bKc"))


async def test_the_room_kept_for_a_call_is_given_back_when_its_worker_refuses_it(build: Callable[..., Any]) -> None:
    refused: list[str] = []
    scene = await build(refused=refused.append)
    for call, status in (("a", 488), ("b", 200), ("c", 180)):
        forwarded = await scene.forwarded(message(scene, call_id=call, branch=f"z9hG4bK{call}"))
        scene.send(respond(forwarded, status, to_tag="w"), scene.workers[0])
        await scene.caller.message()
    assert refused == ["a"]


async def test_the_map_expires(scene: Scene) -> None:
    for at in range(3):
        forwarded = await scene.forwarded(message(scene, call_id=f"c{at}", branch=f"z9hG4bK{at}"))
        scene.send(respond(forwarded, 486, to_tag="w"), scene.workers[0])
        await scene.caller.message()
    assert scene.front.routes == 3
    scene.now += KEEP_S + 1
    await scene.forwarded(message(scene, call_id="c3", branch="z9hG4bK3"))
    assert scene.front.routes == 1
    assert (await scene.asked(message(scene, "CANCEL", call_id="c0", branch="z9hG4bK0"))).status == 481


async def test_the_map_is_bounded(build: Callable[..., Any]) -> None:
    scene = await build(max_routes=3)
    invites = [message(scene, call_id=f"c{at}", branch=f"z9hG4bK{at}") for at in range(5)]
    forwarded = [await scene.forwarded(invite) for invite in invites[:3]]
    assert (await scene.asked(invites[3])).status == 503, "three calls wait for their answer, none can be forgotten"
    scene.send(respond(forwarded[1], 200, to_tag="w"), scene.workers[0])
    assert (await scene.caller.message()).cseq == (1, "INVITE")
    await scene.forwarded(invites[3])
    assert scene.front.routes == 3
    assert (await scene.asked(invites[4])).status == 503
    assert (await scene.forwarded(message(scene, "CANCEL", call_id="c0", branch="z9hG4bK0"))).method == "CANCEL"


async def test_only_the_worker_itself_may_answer(scene: Scene) -> None:
    forwarded = await scene.forwarded(message(scene))
    scene.send(respond(forwarded, 200, to_tag="x"), scene.workers[1])
    stranger = respond(forwarded, 200, to_tag="x").with_rows("Via", ["SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKno", "x"])
    scene.send(stranger, scene.workers[0])
    await scene.caller.nothing()
    assert scene.front.counters.dropped["unmatched response"] == 2


async def test_a_lost_worker_is_replaced_for_callers_still_trying(scene: Scene) -> None:
    await scene.forwarded(message(scene))
    scene.front.forget_worker(scene.workers[0].address)
    scene.choice = scene.workers[1].address
    await scene.forwarded(message(scene), worker=1)


async def test_a_chooser_that_fails_costs_one_message_and_its_text_is_not_logged(build: Callable[..., Any]) -> None:
    scene = await build()
    before, scene.front._choose_worker = scene.front._choose_worker, lambda call_id: {}["+4512345678"]
    with structlog.testing.capture_logs() as logs:
        scene.send(message(scene))
        await scene.caller.nothing()
    assert logs == [{"event": "a SIP message could not be handled", "error": "KeyError", "log_level": "error"}]
    scene.front._choose_worker = before
    await scene.forwarded(message(scene))


async def test_logs_say_what_happened_and_never_who(build: Callable[..., Any]) -> None:
    scene = await build(invites_per_second=0.5)
    with structlog.testing.capture_logs() as logs:
        for at in range(5):
            scene.send(message(scene, call_id=f"+4512345678-{at}"))
        await asyncio.sleep(0.05)
    because = "new calls come faster than allowed, some were refused"
    assert logs == [{"event": "SIP messages were refused", "because": because, "log_level": "warning"}]


def test_the_bucket_lets_the_rate_through() -> None:
    bucket = TokenBucket(10.0, 2.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(0.1), bucket.take(0.1)] == [True, False]
    assert sum(bucket.take(1 + at / 1000) for at in range(1000)) in (11, 12)
