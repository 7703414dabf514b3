"""The one action of the user who may run anything: what it sends, and when."""

import asyncio
import re
from collections.abc import Callable

import pytest

from gateway.adapters.asterisk.channel import AsteriskChannel
from gateway.adapters.asterisk.starter import RecorderStarter
from gateway.ports import pbx
from gateway.ports.manager import ActionRefused, FakeManagerClient, Unreachable

CALL = "01K0W9G9V7R5D2Q4M8T3X6Y1ZB"


async def a_starter(**more: object) -> tuple[RecorderStarter, FakeManagerClient]:
    client = FakeManagerClient(allow_system=True, **more)  # type: ignore[arg-type]
    starter = RecorderStarter(client)
    await starter.start()
    return starter, client


async def test_it_starts_what_the_dialplan_would() -> None:
    starter, client = await a_starter()
    assert starter.is_connected
    await starter.start_recorder("1.1", CALL)
    (sent,) = client.sent
    assert sent.name == "MixMonitor" and set(sent.fields) == {"Channel", "File", "Options"}
    assert (sent.fields["Channel"], sent.fields["Options"]) == ("1.1", "bi(CONSENT_MIXMONITOR_ID)")
    assert re.fullmatch(rf"consent/{CALL}-\d{{8}}T\d{{9}}\.wav", sent.fields["File"])
    await starter.stop()
    assert not starter.is_connected


@pytest.mark.parametrize(("channel", "call"), [("1.1", "../x"), ("1.1", CALL.lower()), ("a b", CALL), ("", CALL)])
async def test_it_takes_ids_and_nothing_else(channel: str, call: str) -> None:
    starter, client = await a_starter()
    with pytest.raises(ValueError, match="started for a call id"):
        await starter.start_recorder(channel, call)
    assert client.sent == []


@pytest.mark.parametrize(
    ("problem", "raised"),
    [
        (ActionRefused("fake", "MixMonitor", "no such channel"), pbx.PbxRefused),
        (Unreachable("fake", "gone"), pbx.PbxUnavailable),
    ],
)
async def test_what_fails_is_told(problem: Exception, raised: type[Exception]) -> None:
    starter, _ = await a_starter(answers={"MixMonitor": problem})
    with pytest.raises(raised):
        await starter.start_recorder("1.1", CALL)


async def a_channel(bridged: Callable[[], bool]) -> tuple[AsteriskChannel, FakeManagerClient, FakeManagerClient]:
    starter, system = await a_starter()
    manager = FakeManagerClient()
    await manager.start(lambda _: None, lambda _: None)
    channel = AsteriskChannel(
        manager,
        "1.1",
        "1.0",
        lambda _: None,
        gateway="gw/1",
        spool=None,
        guard="ignore",
        starter=starter,
        is_bridged=bridged,
        on_forget=lambda _: None,
        on_change=lambda: None,
        on_aside=lambda _party, _goes: None,
    )
    return channel, manager, system


async def started(channel: AsteriskChannel) -> None:
    await channel.expect_recorder(CALL)
    await channel.begin_recorder(CALL)
    await rest()


async def rest() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_conferences_recorder_is_stopped_by_who_may() -> None:
    channel, manager, system = await a_channel(lambda: True)
    channel._guard = "stop"
    await channel.stop_room("room", [channel])
    assert manager.sent == [] and [(sent.name, sent.fields) for sent in system.sent] == [
        ("ConfbridgeStopRecord", {"Conference": "room"})
    ]


async def test_it_waits_until_the_leg_to_us_has_ended_and_starts_once() -> None:
    channel, manager, system = await a_channel(lambda: True)
    await started(channel)
    assert [sent.fields["Variable"] for sent in manager.sent] == [
        "CONSENT_GATEWAY",
        "CONSENT_RECORDER",
    ] and system.sent == []
    channel.moved(bridged=True)
    await rest()
    assert system.sent == []
    channel.moved(bridged=False)
    channel.moved(bridged=False)
    await rest()
    assert [sent.name for sent in system.sent] == ["MixMonitor"]


async def test_a_leg_that_has_ended_already_is_not_waited_for() -> None:
    channel, _, system = await a_channel(lambda: False)
    await started(channel)
    assert [sent.name for sent in system.sent] == ["MixMonitor"]


async def test_a_recorder_that_is_not_wanted_any_more_is_not_started() -> None:
    channel, _, system = await a_channel(lambda: True)
    await started(channel)
    await channel.close()
    channel.moved(bridged=False)
    await rest()
    assert system.sent == []
