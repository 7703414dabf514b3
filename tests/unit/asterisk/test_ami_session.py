"""One connection: which answer belongs to which action, and what is news."""

import asyncio
from collections.abc import Awaitable

import pytest

from gateway.adapters.asterisk.ami import session as session_module
from gateway.adapters.asterisk.ami.codec import Message
from gateway.adapters.asterisk.ami.session import Session
from gateway.adapters.asterisk.ami.transport import Outgoing
from gateway.app.tasks import spawn
from gateway.ports.manager import (
    ActionForbidden,
    ActionRefused,
    ActionTimedOut,
    ConnectionLost,
    ManagerError,
    ManagerEvent,
    ManagerResponse,
    NotConnected,
    Unreachable,
)


class Wire:
    """A transport that keeps what it was given."""

    private = True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.aborted = 0
        self.broken = False

    def send(self, action: Outgoing) -> None:
        action.encode()
        if self.broken:
            raise ConnectionResetError
        self.sent.append(action)

    def abort(self) -> None:
        self.aborted += 1

    async def close(self, within_s: float) -> None:
        self.aborted += 1


class Scene:
    def __init__(self) -> None:
        self.wire = Wire()
        self.events: list[ManagerEvent] = []
        self.losses: list[ManagerError] = []
        self.session = Session(
            "pbx1",
            7,
            "abc",
            allow_system=False,
            on_event=lambda _, event: self.events.append(event),
            on_lost=lambda _, problem: self.losses.append(problem),
        )
        self.session.attach(self.wire)

    async def ask(self, name: str, **fields: str) -> "asyncio.Task[ManagerResponse]":
        """Send an action and let it wait for its answer."""
        asking = spawn(self.session.ask(name, fields, deadline_s=3600.0), name=name)
        await asyncio.sleep(0)
        assert self.wire.sent[-1].name == name
        return asking

    def response(self, number: int, status: str = "Success", **fields: str) -> None:
        self.session.take(Message("response", status, (("ActionID", f"abc-{number}"), *fields.items())))

    def event(self, name: str, number: int | None = None, **fields: str) -> None:
        mark = () if number is None else (("ActionID", f"abc-{number}"),)
        self.session.take(Message("event", name, (*mark, *fields.items())))

    def names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def timed_out(asking: Awaitable[ManagerResponse]) -> None:
    with pytest.raises(ActionTimedOut):
        await asking


async def test_answers_may_come_in_any_order(scene: Scene) -> None:
    first, second = await scene.ask("Getvar"), await scene.ask("Status")
    scene.response(2, Message="two")
    scene.response(1, Message="one")
    assert ((await first).message, (await second).message) == ("one", "two")


async def test_lists_may_be_mixed_with_news_and_with_each_other(scene: Scene) -> None:
    first, second = await scene.ask("CoreShowChannels"), await scene.ask("BridgeList")
    scene.response(1, EventList="start")
    scene.event("CoreShowChannel", 1)
    scene.response(2, EventList="start")
    scene.event("Hangup")
    scene.event("BridgeListItem", 2)
    scene.event("CoreShowChannel", 1)
    scene.event("CoreShowChannelsComplete", 1, EventList="Complete")
    scene.event("BridgeListComplete", 2, EventList="Complete")
    assert [event.name for event in (await first).events] == ["CoreShowChannel"] * 2
    assert [event.name for event in (await second).events] == ["BridgeListItem"]
    assert scene.names() == ["Hangup"]
    assert scene.events[0].generation == 7


async def test_a_cancelled_list_is_an_error(scene: Scene) -> None:
    listing = await scene.ask("CoreShowChannels")
    scene.response(1, EventList="start")
    scene.event("CoreShowChannelsComplete", 1, EventList="cancelled")
    with pytest.raises(ActionRefused, match="cancelled"):
        await listing


async def test_events_with_an_actions_id_that_are_no_list_are_news(scene: Scene) -> None:
    asking = await scene.ask("UserEvent")
    scene.event("UserEvent", 1)
    scene.response(1)
    await asking
    scene.event("OriginateResponse", 1)
    assert scene.names() == ["UserEvent", "OriginateResponse"]


async def test_a_late_answer_disturbs_nobody(scene: Scene) -> None:
    await timed_out(scene.session.ask("Getvar", deadline_s=0.0))
    scene.response(1, Message="late")
    scene.event("UserEvent", 1)
    asking = await scene.ask("Status")
    scene.response(2, Message="mine")
    assert (await asking).message == "mine"
    assert scene.names() == ["UserEvent"]


async def test_the_late_items_of_a_list_are_no_news(scene: Scene) -> None:
    await timed_out(scene.session.ask("CoreShowChannels", deadline_s=0.0))
    scene.response(1, EventList="start")
    scene.event("CoreShowChannel", 1)
    scene.event("CoreShowChannelsComplete", 1, EventList="Complete")
    assert scene.names() == []
    scene.event("UserEvent", 1)
    assert scene.names() == ["UserEvent"], "after its end the list is forgotten"


async def test_a_list_given_up_in_its_middle_is_no_news_either(scene: Scene) -> None:
    listing = await scene.ask("CoreShowChannels")
    scene.response(1, EventList="start")
    scene.event("CoreShowChannel", 1)
    listing.cancel()
    await asyncio.wait({listing})
    scene.event("CoreShowChannel", 1)
    assert scene.names() == []


async def test_a_guessed_action_id_answers_nothing(scene: Scene) -> None:
    asking = await scene.ask("Getvar")
    scene.session.take(Message("response", "Success", (("ActionID", "1"), ("Message", "forged"))))
    scene.session.take(Message("response", "Success", (("Message", "no id"),)))
    scene.response(1, Message="true")
    assert (await asking).message == "true"


async def test_the_loss_is_told_once_and_ends_everything(scene: Scene) -> None:
    asking = await scene.ask("StopMixMonitor")
    scene.session.lose_because("the server closed the connection")
    scene.session.lose_because("again")
    with pytest.raises(ConnectionLost, match="Asterisk pbx1: the connection was lost before the answer to StopMix"):
        await asking
    assert [str(problem) for problem in scene.losses] == ["Asterisk pbx1: the server closed the connection"]
    scene.event("Hangup")
    assert scene.events == []
    with pytest.raises(NotConnected, match="not sent"):
        await scene.session.ask("Getvar")
    assert [one.name for one in scene.wire.sent] == ["StopMixMonitor"]
    await asyncio.wait_for(scene.session.ended(), 30)
    await scene.session.close(1.0)
    assert scene.wire.aborted == 1


async def test_a_connection_that_broke_meanwhile_sends_nothing(scene: Scene) -> None:
    scene.wire.broken = True
    with pytest.raises(NotConnected, match="StopMixMonitor was not sent"):
        await scene.session.ask("StopMixMonitor")
    await scene.session.close(1.0)
    assert scene.wire.sent == []
    assert isinstance(scene.session.problem, Unreachable)


async def test_the_session_guards_what_its_own_parts_say(scene: Scene) -> None:
    with pytest.raises(ActionForbidden, match="only `core show"):
        await scene.session.ask("Command", {"Command": "mixmonitor list a b"})
    with pytest.raises(ActionForbidden, match="allow_system"):
        await scene.session.ask("Originate")
    assert scene.wire.sent == []


async def test_a_list_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_LIST_EVENTS", 2)
    listing = await scene.ask("CoreShowChannels")
    scene.response(1, EventList="start")
    for _ in range(2):
        scene.event("CoreShowChannel", 1)
    assert scene.losses == []
    scene.event("CoreShowChannel", 1)
    with pytest.raises(ConnectionLost):
        await listing
    assert "more events" in str(scene.losses[0])


async def test_a_transport_that_comes_after_the_loss_is_closed() -> None:
    scene = Scene()
    scene.session.lose_because("the client was stopped")
    late = Wire()
    scene.session.attach(late)
    assert late.aborted == 1
