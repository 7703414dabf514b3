"""Between reading and handlers: in order, a few at a time, and never silently less."""

import asyncio

from structlog.testing import capture_logs

from gateway.adapters.asterisk.ami.delivery import BATCH, MAX_BACKLOG, Delivery
from gateway.ports.manager import ManagerEvent, ManagerState


async def drained() -> None:
    """Let the loop run until it has nothing of ours to do."""
    for _ in range(MAX_BACKLOG // BATCH + 2):
        await asyncio.sleep(0)


async def test_a_burst_leaves_room_for_everybody_else() -> None:
    seen: list[object] = []
    delivery = Delivery(seen.append, seen.append)
    items = [ManagerState(), *(ManagerEvent(str(number)) for number in range(BATCH * 3))]
    for item in items:
        delivery.put(item)
    assert seen == []
    await asyncio.sleep(0)
    assert len(seen) == BATCH, "one turn of the loop, one batch"
    await drained()
    assert seen == items


async def test_it_says_when_the_consumer_is_too_far_behind() -> None:
    delivery = Delivery(lambda _: None, lambda _: None)
    for _ in range(MAX_BACKLOG - 1):
        delivery.put(ManagerEvent("DTMFEnd"))
    assert not delivery.full
    delivery.put(ManagerEvent("DTMFEnd"))
    assert delivery.full
    await drained()
    assert not delivery.full


async def test_a_failing_handler_is_logged_by_its_type() -> None:
    seen: list[str] = []

    def handle(event: ManagerEvent) -> None:
        seen.append(event.name)
        if event.name == "bad":
            raise ValueError("+4930123456")

    delivery = Delivery(handle, lambda _: None)
    with capture_logs() as logs:
        for name in ("bad", "good"):
            delivery.put(ManagerEvent(name))
        await drained()
    assert seen == ["bad", "good"]
    assert [(entry["log_level"], entry["error"]) for entry in logs] == [("error", "ValueError")]
    assert "4930" not in str(logs)


async def test_after_the_close_nothing_is_called() -> None:
    seen: list[object] = []
    delivery = Delivery(seen.append, seen.append)
    delivery.put(ManagerEvent("before"))
    delivery.close()
    delivery.put(ManagerEvent("after"))
    await drained()
    assert seen == []


async def test_a_handler_may_close_it() -> None:
    seen: list[str] = []

    def handle(event: ManagerEvent) -> None:
        seen.append(event.name)
        delivery.close()

    delivery = Delivery(handle, lambda _: None)
    for name in ("one", "two"):
        delivery.put(ManagerEvent(name))
    await drained()
    assert seen == ["one"]
