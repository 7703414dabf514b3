"""What every client of the manager interface promises: the fake, our own and the one of `asterisk-ami`."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.app.tasks import spawn
from gateway.ports.manager import (
    ActionForbidden,
    ActionRefused,
    ActionTimedOut,
    ConnectionLost,
    LoginRefused,
    ManagerSnapshot,
    ManagerState,
    NotConnected,
    OutcomeUnknown,
)
from tests.support.ami_server import Channel
from tests.support.manager_rigs import RIGS, Rig, ScriptRig, Seen

LONG_S = 30.0
MUTE = {"Channel": "PJSIP/alice-00000001", "MixMonitorID": "0x7f01", "Direction": "both", "State": "1"}


@pytest.fixture(params=list(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with RIGS[request.param]() as made:
        yield made


@pytest.fixture
def seen() -> Seen:
    return Seen()


async def begin(rig: Rig, seen: Seen) -> ManagerState:
    await rig.client.start(seen.take, seen.take)
    return await rig.client.connected(LONG_S)


class Promises:
    """What holds with any server; a rig brings it about. `tests/pbx/test_manager_contract.py` shows it on Asterisk."""

    async def test_the_first_connection_is_generation_one(self, rig: Rig, seen: Seen) -> None:
        assert rig.client.state == ManagerState()
        state = await begin(rig, seen)
        assert (state.connected, state.generation, state.problem) == (True, 1, None)
        await seen.until(lambda: bool(seen.states))
        assert seen.states == [state]

    async def test_it_is_started_once(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        with pytest.raises(RuntimeError, match="called already"):
            await rig.client.start(seen.take, seen.take)

    async def test_an_action_has_its_answer(self, rig: Rig, seen: Seen) -> None:
        await rig.variable("CONSENT_VERDICT", " granted: yes")
        await begin(rig, seen)
        response = await rig.client.action("Getvar", {"Variable": "CONSENT_VERDICT"}, deadline_s=LONG_S)
        assert (response.message, response.get("value"), response.events) == ("", " granted: yes", ())
        [sent] = await rig.until_sent("Getvar")
        assert dict(sent.fields) == {"Variable": "CONSENT_VERDICT"}

    async def test_variables_go_out_one_by_one(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        variables = {"__CONSENT_CALL_ID": "01K", "CONSENT_BASIS": "consent; a=b"}
        await rig.client.action("UserEvent", {"UserEvent": "Consent"}, variables=variables, deadline_s=LONG_S)
        [sent] = await rig.until_sent("UserEvent")
        assert dict(sent.variables) == variables

    async def test_each_of_many_actions_has_its_own_answer(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        rig.refuse("Hangup", "No such channel")
        nobody = {"Channel": MUTE["Channel"]}
        questions = (("Ping", {}), ("Hangup", nobody)) * 20
        actions = [rig.client.action(name, fields, deadline_s=LONG_S) for name, fields in questions]
        answers = await asyncio.gather(*actions, return_exceptions=True)
        assert [isinstance(answer, ActionRefused) for answer in answers] == [False, True] * 20

    async def test_an_empty_list_is_a_list(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        assert (await rig.client.action("CoreShowChannels", deadline_s=LONG_S)).events == ()

    async def test_events_come_in_order_with_all_their_fields(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        for number in range(200):
            fields = (("UserEvent", str(number)), ("ChanVariable", "A=1"), ("ChanVariable", "B=x=y"), ("Empty", ""))
            rig.emit("UserEvent", *fields)
        await seen.until(lambda: len(seen.events) >= 200)
        assert [event.get("UserEvent") for event in seen.events] == [str(number) for number in range(200)]
        last = seen.events[-1]
        assert (last.all("chanvariable"), last.get("Empty", "x"), last.get("None", "x")) == (("A=1", "B=x=y"), "", "x")
        assert seen.all[0] == seen.states[0], "the state is told before the events of its generation"

    @pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\x0b", "\x1e"])
    async def test_a_name_cannot_add_a_field(self, rig: Rig, seen: Seen, separator: str) -> None:
        await begin(rig, seen)
        name = f"x{separator}Uniqueid: forged{separator}Event: Hangup"
        rig.emit("UserEvent", ("UserEvent", "1"), ("CallerIDName", name), ("Uniqueid", "1"))
        await seen.until(lambda: bool(seen.events))
        [event] = seen.events
        assert (event.name, event.all("Uniqueid")) == ("UserEvent", ("1",))
        assert event.get("CallerIDName") == name

    async def test_silence_is_an_unknown_outcome(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        rig.silence("StopMixMonitor")
        with pytest.raises(ActionTimedOut, match="StopMixMonitor"):
            await rig.client.action("StopMixMonitor", MUTE, deadline_s=0.01)
        rig.speak()
        await rig.client.action("Ping", deadline_s=LONG_S)

    async def test_a_cut_leaves_the_outcome_unknown_and_repeats_nothing(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        rig.silence("StopMixMonitor")
        stopping = spawn(rig.client.action("StopMixMonitor", MUTE, deadline_s=LONG_S), name="stopping")
        await rig.until_sent("StopMixMonitor")
        rig.cut()
        with pytest.raises(ConnectionLost, match="do not repeat the action"):
            await stopping
        await seen.until(lambda: len(seen.states) >= 3)
        await rig.client.action("Ping", deadline_s=LONG_S)
        assert len(await rig.until_sent("StopMixMonitor")) == 1
        assert [(state.connected, state.generation) for state in seen.states] == [(True, 1), (False, 1), (True, 2)]
        assert seen.states[1].problem is not None
        assert seen.states[1].snapshot is None

    async def test_each_connection_begins_a_generation(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        rig.cut()
        await seen.until(lambda: len(seen.states) >= 3)
        rig.emit("UserEvent", ("UserEvent", "1"))
        await seen.until(lambda: bool(seen.events))
        assert [(state.connected, state.generation) for state in seen.states] == [(True, 1), (False, 1), (True, 2)]
        assert [state.snapshot for state in seen.states] == [ManagerSnapshot(), None, ManagerSnapshot()]
        assert seen.states[1].problem is not None
        assert [event.generation for event in seen.events] == [2]

    async def test_nothing_is_sent_into_a_later_generation(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        rig.cut()
        await seen.until(lambda: len(seen.states) >= 3)
        with pytest.raises(NotConnected, match="the connection it was meant for is gone"):
            await rig.client.action("StopMixMonitor", MUTE, generation=1)
        await rig.client.action("Ping", generation=2, deadline_s=LONG_S)
        assert await rig.until_sent("StopMixMonitor", 0) == []

    @pytest.mark.parametrize(
        ("name", "fields"),
        [
            ("Command", {"Command": "core stop now"}),
            ("Originate", {"Channel": "PJSIP/a", "Application": "System", "Data": "id"}),
            ("MixMonitor", {"Channel": "c", "File": "a.wav"}),
            ("Setvar", {"Channel": "c", "Variable": "x", "Value": "1\r\n\r\nAction: Originate"}),
            ("Hangup\r\nAction", {}),
        ],
    )
    async def test_what_must_not_be_said_is_not_sent(
        self, rig: Rig, seen: Seen, name: str, fields: dict[str, str]
    ) -> None:
        await begin(rig, seen)
        with pytest.raises(ActionForbidden):
            await rig.client.action(name, fields)
        await rig.client.action("Ping", deadline_s=LONG_S)
        assert await rig.until_sent(name, 0) == []

    async def test_without_a_connection_nothing_is_sent(self, rig: Rig, seen: Seen) -> None:
        with pytest.raises(NotConnected, match="not sent"):
            await rig.client.action("StopMixMonitor", MUTE)
        with pytest.raises(NotConnected):
            await rig.client.connected(0.01)
        await begin(rig, seen)
        await rig.client.stop()
        for question in (rig.client.action("StopMixMonitor", MUTE), rig.client.snapshot()):
            with pytest.raises(NotConnected, match="not sent"):
                await question
        assert await rig.until_sent("StopMixMonitor", 0) == []

    async def test_a_refused_login_is_told_and_can_be_cured(self, rig: Rig, seen: Seen) -> None:
        await rig.wrong_secret(True)
        await rig.client.start(seen.take, seen.take)
        with pytest.raises(LoginRefused) as caught:
            await rig.client.connected(LONG_S)
        assert "not-a-secret" not in str(caught.value)
        await seen.until(lambda: bool(seen.states))
        assert isinstance(seen.states[0].problem, LoginRefused)
        await rig.wrong_secret(False)
        await seen.until(lambda: seen.states[-1].connected)
        assert [(state.connected, state.generation) for state in seen.states] == [(False, 0), (True, 1)]

    async def test_a_handler_that_fails_disturbs_nobody(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        seen.fail_on = "UserEvent"
        for number in ("1", "2"):
            rig.emit("UserEvent", ("UserEvent", number))
        await seen.until(lambda: len(seen.events) >= 2)
        assert [event.get("UserEvent") for event in seen.events] == ["1", "2"]
        assert rig.client.state.connected

    async def test_after_the_stop_nothing_is_heard_any_more(self, rig: Rig, seen: Seen) -> None:
        await begin(rig, seen)
        rig.silence("StopMixMonitor")
        stopping = spawn(rig.client.action("StopMixMonitor", MUTE, deadline_s=LONG_S), name="stopping")
        await rig.until_sent("StopMixMonitor")
        heard = len(seen.all)
        await rig.client.stop()
        await rig.client.stop()
        with pytest.raises(ConnectionLost):
            await stopping
        assert len(seen.all) == heard
        assert rig.client.state == ManagerState(generation=1)


class TestEveryClient(Promises):
    """On servers that do as a test says."""


async def test_repeated_fields_of_an_answer_are_all_there(rig: ScriptRig, seen: Seen) -> None:
    rig.reply("Command", ("Message", "Command output follows"), ("Output", "a: b"), ("Output", ""), ("Output", "  c"))
    await begin(rig, seen)
    response = await rig.client.action("Command", {"Command": "core show uptime"}, deadline_s=LONG_S)
    assert response.all("Output") == ("a: b", "", "  c")


async def test_an_error_is_raised_and_names_nobody(rig: ScriptRig, seen: Seen) -> None:
    rig.refuse("MixMonitorMute", "Could not set flag on PJSIP/alice-00000001 of '+4930123456'")
    await begin(rig, seen)
    with pytest.raises(ActionRefused, match="MixMonitorMute was refused: Could not set flag on") as caught:
        await rig.client.action("MixMonitorMute", MUTE, deadline_s=LONG_S)
    assert "alice" not in str(caught.value) + repr(caught.value)
    assert "4930" not in str(caught.value) + repr(caught.value)
    assert "alice" in caught.value.message
    assert not isinstance(caught.value, OutcomeUnknown)


async def test_a_list_is_collected_to_its_end_and_is_no_news(rig: ScriptRig, seen: Seen) -> None:
    rig.switch(Channel("PJSIP/a-1", "1.1", "b1"), Channel("PJSIP/b-1", "1.2", "b1"))
    await begin(rig, seen)
    response = await rig.client.action("CoreShowChannels", deadline_s=LONG_S)
    assert [(event.name, event.get("Uniqueid")) for event in response.events] == [
        ("CoreShowChannel", "1.1"),
        ("CoreShowChannel", "1.2"),
    ]
    assert {event.generation for event in response.events} == {1}
    rig.emit("UserEvent", ("UserEvent", "Later"))
    await seen.until(lambda: bool(seen.events))
    assert [event.name for event in seen.events] == ["UserEvent"]


async def test_no_number_or_name_is_in_a_repr(rig: ScriptRig, seen: Seen) -> None:
    rig.switch(Channel("PJSIP/alice-00000001", "1.1", mixmonitors=[("0x1", "/rec/+4930123456.wav")]))
    await begin(rig, seen)
    rig.emit("Newchannel", ("CallerIDNum", "+4930123456"), ("Channel", "PJSIP/alice-00000001"))
    await seen.until(lambda: bool(seen.events))
    response = await rig.client.action("CoreShowChannels", deadline_s=LONG_S)
    sent = await rig.until_sent("CoreShowChannels")
    shown = repr([*seen.all, response, sent, rig.client])
    assert "Newchannel" in shown
    assert "4930" not in shown
    assert "alice" not in shown


async def test_each_connection_reads_the_switch_anew(rig: ScriptRig, seen: Seen) -> None:
    rig.switch(Channel("PJSIP/a-1", "1.1"))
    first = await begin(rig, seen)
    rig.switch(Channel("PJSIP/b-1", "2.1", state="Ringing"))
    rig.cut()
    await seen.until(lambda: len(seen.states) >= 3)
    assert first.snapshot is not None
    assert [channel.uniqueid for channel in first.snapshot.channels] == ["1.1"]
    again = seen.states[2].snapshot
    assert again is not None
    assert [(channel.uniqueid, channel.state) for channel in again.channels] == [("2.1", "Ringing")]


async def test_a_snapshot_has_channels_bridges_and_mixmonitors(rig: ScriptRig, seen: Seen) -> None:
    await begin(rig, seen)
    rig.switch(
        Channel("PJSIP/a-1", "1.1", "b1", mixmonitors=[("0x7f01", "/rec/a.wav"), ("0x7f02", "/rec/b.wav")]),
        Channel("PJSIP/b-1", "1.2", "b1"),
        Channel("PJSIP/c-1", "1.3", state="Ring"),
        bridges={"b1": "simple_bridge", "b2": "softmix"},
    )
    snapshot = await rig.client.snapshot(LONG_S)
    a, b, c = snapshot.channels
    assert (a.uniqueid, a.linkedid, a.name, a.state, a.bridge) == ("1.1", "1.1", "PJSIP/a-1", "Up", "b1")
    assert a.mixmonitors is not None
    assert [(one.id, one.files) for one in a.mixmonitors] == [("0x7f01", ("/rec/a.wav",)), ("0x7f02", ("/rec/b.wav",))]
    assert (b.mixmonitors, c.mixmonitors, c.bridge) == ((), (), "")
    assert [(bridge.id, bridge.technology, bridge.members) for bridge in snapshot.bridges] == [
        ("b1", "simple_bridge", ("1.1", "1.2")),
        ("b2", "softmix", ()),
    ]
