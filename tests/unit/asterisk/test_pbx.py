"""Whose channel is whose, and what a recorder does when Asterisk says strange things: on a scripted manager."""

import asyncio
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.adapters.asterisk.channel import AsteriskChannel
from gateway.adapters.asterisk.pbx import AsteriskPbx, AsteriskServer
from gateway.app.tasks import spawn
from gateway.ports import pbx
from gateway.ports.manager import (
    ActionRefused,
    ActionTimedOut,
    FakeManagerClient,
    ManagerBridge,
    ManagerChannel,
    ManagerResponse,
    ManagerSnapshot,
    Unreachable,
)
from gateway.ports.media import Incoming

CHANNEL, LINKEDID, RECORDER = "1.1", "1.0", "0x7f01"
FILE = "/var/spool/asterisk/monitor/consent/call.wav"
NAMES = {CHANNEL: "PJSIP/trunk-0000000a", "1.2": "PJSIP/alice-0000000b", "1.3": "PJSIP/trunk-0000000c"}


@dataclass
class Manager(FakeManagerClient):
    """A manager whose `Getvar` knows variables, and whose recorders can be made to lie."""

    variables: dict[str, str] = field(default_factory=dict)

    async def action(self, name, fields=None, **more):  # type: ignore[no-untyped-def,override]
        answer = await super().action(name, fields or {}, **more)
        if name == "Getvar":
            return ManagerResponse(fields=(("Value", self.variables.get((fields or {})["Variable"], "")),))
        return answer

    def told(self, name: str) -> list[dict[str, str]]:
        """What was sent with an action, without the channel."""
        return [
            {key: value for key, value in action.fields.items() if key != "Channel"}
            for action in self.sent
            if action.name == name
        ]

    def records(self) -> None:
        """A recorder with our id runs."""
        self.variables |= {"CONSENT_MIXMONITOR_ID": RECORDER, f"MIXMONITOR({RECORDER},filename)": FILE}

    def ends(self) -> None:
        """It does not any more."""
        self.variables.pop(f"MIXMONITOR({RECORDER},filename)", None)


@dataclass
class Scene:
    """One server with one watched channel."""

    manager: Manager
    pbx: AsteriskPbx
    channel: AsteriskChannel
    heard: list[pbx.PbxEvent]

    def of(self, kind: type[pbx.PbxEvent]) -> list[pbx.PbxEvent]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def rest(self) -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    def enter(self, bridge: str, *channels: str, kind: str = "basic", **names: str) -> None:
        for uniqueid in channels:
            name = names.get("name", NAMES.get(uniqueid, ""))
            place = ("BridgeUniqueid", bridge), ("BridgeType", kind)
            self.manager.report("BridgeEnter", *place, ("Uniqueid", uniqueid), ("Channel", name))

    def leave(self, bridge: str, uniqueid: str) -> None:
        self.manager.report("BridgeLeave", ("BridgeUniqueid", bridge), ("Uniqueid", uniqueid))

    def event(self, name: str, uniqueid: str = CHANNEL, **fields: str) -> None:
        self.manager.report(name, ("Uniqueid", uniqueid), *fields.items())

    async def recording(self) -> None:
        await self.channel.expect_recorder("call")
        self.manager.records()
        self.event("MixMonitorStart")
        await self.until(lambda: self.of(pbx.RecorderRuns))


def invite(source: str = "192.0.2.1:5060", channel: str = CHANNEL, linkedid: str = LINKEDID) -> Incoming:
    headers = (("X-Consent-Channel", channel), ("X-Consent-Linkedid", linkedid))
    return Incoming(0, "leg", "sip-id", "+4915550100", "", "consent", source, headers)


async def open_scene(
    guard: str = "ignore", snapshot: ManagerSnapshot | None = None, spool: Path | None = None
) -> Scene:
    manager = Manager(switch=snapshot or ManagerSnapshot())
    agents = ("PJSIP/alice", "PJSIP/1*")
    server = AsteriskServer(manager, "192.0.2.1", agents, guard=guard, spool=spool)  # type: ignore[arg-type]
    made = AsteriskPbx([server])
    await made.start()
    heard: list[pbx.PbxEvent] = []
    channel = made.find(invite(), heard.append)
    assert isinstance(channel, AsteriskChannel)
    scene = Scene(manager, made, channel, heard)
    await scene.rest()
    return scene


# --- finding the call ------------------------------------------------------------------------------------------------


async def test_only_a_consent_gates_invite_is_one() -> None:
    scene = await open_scene()
    assert scene.pbx.sends(invite())
    assert not scene.pbx.sends(invite(channel=""))
    assert (scene.channel.channel, scene.channel.linkedid, scene.channel.server) == (CHANNEL, LINKEDID, "fake")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (invite(source="192.0.2.9:5060"), "no .*section has as `source`"),
        (invite(channel="1.1\r\nAction: Originate"), "no id of Asterisk's"),
        (invite(linkedid=""), "no id of Asterisk's"),
        (invite(channel="x" * 151), "no id of Asterisk's"),
    ],
)
async def test_what_cannot_be_found_is_refused(wrong: Incoming, says: str) -> None:
    scene = await open_scene()
    with pytest.raises(pbx.PbxUnavailable, match=says):
        scene.pbx.find(wrong, scene.heard.append)


async def test_two_servers_at_one_address_are_told_apart_by_port_or_not_at_all() -> None:
    managers = [Manager(server="a"), Manager(server="b")]
    agents = ("PJSIP/*",)
    made = AsteriskPbx([AsteriskServer(m, "192.0.2.1", agents) for m in managers])
    await made.start()
    with pytest.raises(pbx.PbxUnavailable, match=r"two .*sections"):
        made.find(invite(), print)
    made = AsteriskPbx(
        [AsteriskServer(m, f"192.0.2.1:{p}", agents) for m, p in zip(managers, (5060, 5061), strict=True)]
    )
    assert made.find(invite(source="192.0.2.1:5061"), print).server == "b"
    sources = ("192.0.2.1:5060", "192.0.2.1:5061", "192.0.2.1:5062", "192.0.2.2:5060")
    assert [made.server_of(invite(source=source)) for source in sources] == ["a", "b", "", ""]


async def test_without_a_connection_nothing_is_found() -> None:
    manager = Manager(problem=Unreachable("fake", "nobody there"))
    made = AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",))])
    await made.start()
    assert made.servers == {"fake": False}
    with pytest.raises(pbx.PbxUnavailable, match="nobody there"):
        made.find(invite(), print)


# --- who is connected ------------------------------------------------------------------------------------------------


async def test_who_is_in_the_same_bridge_has_joined() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL, "1.2")
    (joined,) = scene.of(pbx.Joined)
    assert isinstance(joined, pbx.Joined)
    assert (joined.party, joined.line, joined.covered) == ("1.2", "PJSIP/alice", True)
    scene.enter("other", "1.3")
    scene.leave("b", "1.2")
    assert [event.party for event in scene.of(pbx.Left) if isinstance(event, pbx.Left)] == ["1.2"]
    scene.enter("b", "1.3")
    assert [e.covered for e in scene.of(pbx.Joined) if isinstance(e, pbx.Joined)] == [True, False]


async def test_our_own_leg_and_announcements_are_nobody() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL)
    for number, name in enumerate(
        ("PJSIP/consent-gateway-00000001", "CBAnn/room-00000001;1", "Announcer/ARI-00000001")
    ):
        scene.enter("b", f"9.{number}", name=name)
    assert not scene.of(pbx.Joined)


async def test_a_stranger_counts_from_the_moment_he_is_called() -> None:
    scene = await open_scene()
    scene.event("Newchannel", "1.3", Linkedid=LINKEDID, Channel=NAMES["1.3"])
    scene.event("Newchannel", "1.2", Linkedid=LINKEDID, Channel=NAMES["1.2"])
    scene.event("Newchannel", "5.5", Linkedid="5.5", Channel="PJSIP/trunk-0000000f")
    assert [(e.party, e.covered) for e in scene.of(pbx.Joined) if isinstance(e, pbx.Joined)] == [("1.3", False)]
    scene.enter("b", CHANNEL, "1.3")
    assert len(scene.of(pbx.Joined)) == 1 and not scene.of(pbx.Left)
    scene.event("Hangup", "1.3")
    assert len(scene.of(pbx.Left)) == 1


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations settle at once."""
    monkeypatch.setattr("gateway.adapters.asterisk.channel.SETTLE_S", 0)


async def askable(scene: Scene) -> list[set[str]]:
    """Who could be asked, each time that changed."""
    await scene.rest()
    return [set(event.parties) for event in scene.of(pbx.Askable) if isinstance(event, pbx.Askable)]


async def test_the_only_other_in_a_conversation_can_be_asked_unless_he_is_an_agent() -> None:
    scene = await open_scene()
    scene.event("Newchannel", "1.3", Linkedid=LINKEDID, Channel=NAMES["1.3"])
    scene.enter("b", CHANNEL, "1.2")
    assert await askable(scene) == [], "who is being called cannot be asked"
    scene.leave("b", "1.2")
    scene.enter("b", "1.3")
    assert await askable(scene) == [{"1.3"}]
    scene.leave("b", "1.3")
    assert await askable(scene) == [{"1.3"}, set()]


async def test_a_conversation_that_does_not_settle_has_nobody_to_ask() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL, "1.3")
    scene.leave("b", "1.3")
    assert await askable(scene) == [set()]


async def test_of_three_in_one_bridge_the_stranger_can_be_asked() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL, "1.2", "1.3")
    assert await askable(scene) == [{"1.3"}]


async def test_of_three_nobody_can_be_asked_who_is_behind_another_channel() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL, "1.2")
    scene.enter("b", "2.1", name="Local/100@queue-00000004;1")
    scene.enter("c", "2.2", name="Local/100@queue-00000004;2")
    scene.enter("c", "1.3")
    assert len(scene.of(pbx.Joined)) == 2 and await askable(scene) == []


async def test_in_a_conference_a_stranger_can_be_asked() -> None:
    scene = await open_scene()
    scene.enter("room", CHANNEL, "1.3", kind="base")
    assert await askable(scene) == [{"1.3"}]


async def test_nobody_can_be_asked_whose_own_bridge_is_a_conference() -> None:
    scene = await open_scene()
    scene.enter("near", CHANNEL)
    scene.enter("near", "2.1", name="Local/100@queue-00000004;1")
    scene.enter("room", "2.2", kind="base", name="Local/100@queue-00000004;2")
    scene.enter("room", "1.3", kind="base")
    assert len(scene.of(pbx.Joined)) == 1 and await askable(scene) == []


def sent(scene: Scene, to: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The variables that were set on a channel, and how it was redirected."""
    mine = [action for action in scene.manager.sent if action.fields.get("Channel") == to]
    told = {a.fields["Variable"]: a.fields["Value"] for a in mine if a.name == "Setvar"}
    return told, [dict(a.fields) for a in mine if a.name == "Redirect"]


TOLD = {"CONSENT_PEER": NAMES[CHANNEL], "CONSENT_PLACE": "", "CONSENT_JOINS": "CALL", "CONSENT_LAMP": ""}
ASIDE = TOLD | {"CONSENT_PEER": ""}
WAITS = {"CHANNEL(after_bridge_goto)": "consent-wait,s,1"}


async def test_the_only_other_is_sent_to_be_asked_and_the_asked_person_waits() -> None:
    scene = await open_scene()
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.enter("b", CHANNEL, "1.3")
    with pytest.raises(pbx.PbxRefused):
        await scene.channel.ask_party("1.2", "CALL")
    await scene.channel.ask_party("1.3", "CALL")
    told, (redirect,) = sent(scene, "1.3")
    assert told == TOLD
    assert (redirect["Context"], redirect["ExtraChannel"], redirect["ExtraContext"]) == (
        "consent-gate-again",
        CHANNEL,
        "consent-wait",
    )


async def asked_aside() -> Scene:
    """A scene of three of whom one was taken aside, and has left the bridge."""
    scene = await open_scene()
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.enter("b", CHANNEL, "1.2", "1.3")
    await scene.channel.ask_party("1.3", "CALL")
    scene.leave("b", "1.3")
    return scene


async def test_of_three_one_is_sent_alone_and_the_asked_person_would_wait_for_him() -> None:
    scene = await asked_aside()
    told, (redirect,) = sent(scene, "1.3")
    assert told == ASIDE and redirect["Context"] == "consent-gate-aside" and "ExtraChannel" not in redirect
    assert sent(scene, CHANNEL) == (WAITS, [])


async def test_who_is_asked_aside_still_counts_until_he_is_back_or_gone() -> None:
    scene = await asked_aside()
    theirs = scene.pbx.find(invite(channel="1.3"), lambda event: None)
    scene.enter("gate", "1.3")
    scene.enter("gate", "9.9", name="PJSIP/consent-gateway-0000000d")
    assert not scene.of(pbx.Left), "he talks to nobody but us"
    theirs.covers(True)
    scene.leave("gate", "1.3")
    scene.enter("b", "1.3")
    joined = [(e.party, e.covered) for e in scene.of(pbx.Joined) if isinstance(e, pbx.Joined)]
    assert joined == [("1.2", True), ("1.3", False), ("1.3", True)], "covered before he is back"
    scene.manager.variables["CHANNEL(after_bridge_goto)"] = "consent-wait,s,1"
    await scene.until(lambda: sent(scene, CHANNEL)[0] == {"CHANNEL(after_bridge_goto)": ""})
    assert not scene.manager.told("Hangup")


async def test_nobody_else_is_taken_from_a_caller_who_is_alone_with_him_while_one_is_aside() -> None:
    scene = await asked_aside()
    scene.enter("b", "1.4", name="PJSIP/trunk-0000000e")
    scene.leave("b", "1.2")
    assert (await askable(scene))[-1] == set(), "the conversation that the first comes back to must go on"


def as_channels(scene: Scene) -> dict[tuple[str, str], str]:
    """From now on variables are each channel's own, and are what they were set to."""
    values: dict[tuple[str, str], str] = {}
    real = scene.manager.action

    async def action(name, fields=None, **more):  # type: ignore[no-untyped-def]
        answer = await real(name, fields, **more)
        if name == "Setvar":
            values[fields["Channel"], fields["Variable"]] = fields["Value"]
        if name == "Getvar" and (found := values.get((fields["Channel"], fields["Variable"]))) is not None:
            return ManagerResponse(fields=(("Value", found),))
        return answer

    scene.manager.action = action  # type: ignore[method-assign]
    return values


AFTER = "CHANNEL(after_bridge_goto)"


def redirects(scene: Scene) -> list[tuple[str, str]]:
    return [(a.fields["Channel"], a.fields["Context"]) for a in scene.manager.sent if a.name == "Redirect"]


async def back(scene: Scene) -> list[tuple[str, str]]:
    """He has been asked, and waits: where he is sent."""
    before = len(redirects(scene))
    scene.event("UserEvent", "1.3", UserEvent="ConsentBack")
    await scene.rest()
    return redirects(scene)[before:]


async def test_who_was_asked_aside_is_brought_back_into_the_bridge_he_was_taken_from() -> None:
    scene = await asked_aside()
    assert await back(scene) == [("1.3", "consent-back")]
    assert sent(scene, "1.3")[0]["CONSENT_PEER"] == NAMES[CHANNEL]


@pytest.mark.parametrize(("context", "way"), [("consent-wait", [("1.3", "consent-back-both")]), ("from-site", [])])
async def test_who_was_asked_aside_is_brought_to_whom_all_others_left(context: str, way: list[tuple[str, str]]) -> None:
    scene = await asked_aside()
    scene.leave("b", "1.2")
    scene.leave("b", CHANNEL)
    scene.manager.variables["CONTEXT"] = context
    assert await back(scene) == way
    assert bool(scene.manager.told("Hangup")) is (not way), "the asked person is elsewhere: he is let go"
    scene.enter("c", CHANNEL)
    scene.enter("c", "1.3")
    if way:
        assert not scene.of(pbx.Left)[1:], "only the agent has left"


async def test_who_was_asked_aside_is_let_go_when_the_asked_person_talks_to_others() -> None:
    scene = await asked_aside()
    values = as_channels(scene)
    values[CHANNEL, AFTER] = "consent-wait,s,1"
    scene.leave("b", "1.2")
    scene.enter("c", CHANNEL)
    scene.enter("c", "1.4", name="PJSIP/alice-0000000e")
    await scene.rest()
    assert {event.party for event in scene.of(pbx.Left) if isinstance(event, pbx.Left)} == {"1.2", "1.3"}
    assert values[CHANNEL, AFTER] == "", "he waits for nobody in his next conversation"
    assert await back(scene) == []
    assert [a.fields for a in scene.manager.sent if a.name == "Hangup"] == [{"Channel": "1.3", "Cause": "16"}]


async def test_who_is_nobodys_here_is_left_to_the_gateway_whose_he_is() -> None:
    scene = await open_scene()
    assert await back(scene) == [] and not scene.manager.told("Hangup")


async def test_a_reconnection_does_not_forget_who_is_aside() -> None:
    scene = await asked_aside()
    values = as_channels(scene)
    values[CHANNEL, AFTER] = "consent-wait,s,1"
    names = {CHANNEL: NAMES[CHANNEL], "1.2": NAMES["1.2"], "1.3": NAMES["1.3"]}
    here = tuple(ManagerChannel(u, LINKEDID, name, "Up", "", None) for u, name in names.items())
    scene.manager.switch = ManagerSnapshot(here, (ManagerBridge("b", "softmix", (CHANNEL, "1.2")),))
    scene.manager.lose(None)
    await scene.rest()
    scene.manager.connect()
    await scene.rest()
    assert not scene.of(pbx.Left) and values[CHANNEL, AFTER] == "consent-wait,s,1"
    assert await back(scene) == [("1.3", "consent-back")]
    scene.manager.switch = ManagerSnapshot(here[:2], (ManagerBridge("b", "simple", (CHANNEL, "1.2")),))
    scene.manager.lose(None)
    await scene.rest()
    scene.manager.connect()
    await scene.until(lambda: values[CHANNEL, AFTER] == "")
    assert len(scene.of(pbx.Left)) == 1


async def test_a_redirect_that_nobody_answered_leaves_nothing_behind() -> None:
    scene = await open_scene()
    values = as_channels(scene)
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.manager.answers["Redirect"] = ActionTimedOut("fake", "no answer")
    scene.enter("b", CHANNEL, "1.2", "1.3")
    with pytest.raises(pbx.PbxUnavailable):
        await scene.channel.ask_party("1.3", "CALL")
    scene.leave("b", "1.3")
    assert not scene.of(pbx.Left), "perhaps it was carried out"
    scene.event("Hangup", "1.3")
    await scene.until(lambda: values[CHANNEL, AFTER] == "")
    assert len(scene.of(pbx.Left)) == 1


async def test_a_redirect_that_was_refused_leaves_nothing_behind_and_is_told_anew() -> None:
    scene = await open_scene()
    values = as_channels(scene)
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.manager.answers["Redirect"] = ActionRefused("fake", "Redirect", "no such channel")
    scene.enter("b", CHANNEL, "1.2", "1.3")
    before = await askable(scene)
    with pytest.raises(pbx.PbxRefused):
        await scene.channel.ask_party("1.3", "CALL")
    assert values[CHANNEL, AFTER] == "" and await askable(scene) == [*before, {"1.3"}]


async def test_a_stranger_of_two_asked_callers_is_taken_by_one_and_counts_for_both() -> None:
    scene = await open_scene()
    heard: list[pbx.PbxEvent] = []
    other = scene.pbx.find(invite(channel="1.5"), heard.append)
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.enter("b", CHANNEL, "1.2", "1.3")
    scene.enter("b", "1.5", name="PJSIP/trunk-000000aa")
    await scene.rest()
    await asyncio.gather(scene.channel.ask_party("1.3", "CALL"), other.ask_party("1.3", "OTHER"))
    assert redirects(scene) == [("1.3", "consent-gate-aside")]
    scene.leave("b", "1.3")
    gone = [event for event in (*heard, *scene.heard) if isinstance(event, pbx.Left)]
    assert not gone
    scene.enter("b", "1.6", name="PJSIP/trunk-000000ab")
    third: list[pbx.PbxEvent] = []
    scene.pbx.find(invite(channel="1.6"), third.append)
    scene.event("DTMFEnd", "1.6")
    scene.enter("b", "1.7", name="PJSIP/alice-000000ac")
    assert "1.3" in {event.party for event in third if isinstance(event, pbx.Joined)}, "whoever comes later, too"


async def test_two_strangers_of_one_bridge_are_asked_one_after_the_other() -> None:
    scene = await open_scene()
    values = as_channels(scene)
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.enter("b", CHANNEL, "1.2", "1.3")
    scene.enter("b", "1.4", name="PJSIP/trunk-0000000e")
    await scene.rest()
    await scene.channel.ask_party("1.3", "CALL")
    scene.leave("b", "1.3")
    await scene.channel.ask_party("1.4", "CALL")
    scene.leave("b", "1.4")
    scene.enter("b", "1.3")
    await scene.rest()
    assert values[CHANNEL, AFTER] == "consent-wait,s,1", "one of two is back"
    scene.event("Hangup", "1.4")
    await scene.until(lambda: values[CHANNEL, AFTER] == "")


async def test_who_goes_by_himself_before_he_could_be_taken_is_gone() -> None:
    scene = await in_a_room()
    real = scene.channel._usher._place

    async def leaves_meanwhile(channel: str) -> str:
        scene.leave("room", "1.3")
        scene.manager.variables["CHANNEL(appname)"] = "Wait"
        return await real(channel)

    scene.channel._usher._place = leaves_meanwhile  # type: ignore[method-assign]
    with pytest.raises(pbx.PbxRefused):
        await scene.channel.ask_party("1.3", "CALL")
    assert len(scene.of(pbx.Left)) == 1


async def test_who_is_back_in_an_empty_conference_is_not_aside_any_more() -> None:
    scene = await in_a_room()
    await scene.channel.ask_party("1.3", "CALL")
    scene.leave("room", "1.3")
    scene.leave("room", CHANNEL)
    assert not scene.of(pbx.Left)
    scene.enter("room2", "1.3", kind="base")
    assert len(scene.of(pbx.Left)) == 1


def hangups(scene: Scene) -> list[str]:
    return [action.fields["Channel"] for action in scene.manager.sent if action.name == "Hangup"]


async def test_who_was_lost_takes_nobody_with_him_who_waits_for_another() -> None:
    """One is aside; the agent gives the caller to another, who is taken with him: the caller waits."""
    scene = await asked_aside()
    scene.leave("b", CHANNEL)
    scene.enter("c", CHANNEL)
    scene.enter("c", "1.4", name="PJSIP/trunk-0000000e")
    await scene.rest()
    await scene.channel.ask_party("1.4", "CALL")
    assert redirects(scene)[-1] == ("1.4", "consent-gate-again")
    scene.leave("c", "1.4")
    scene.leave("c", CHANNEL)
    scene.manager.variables["CONTEXT"] = "consent-wait"
    assert await back(scene) == [] and hangups(scene) == ["1.3"]
    scene.event("Hangup", "1.3")
    await scene.rest()
    assert hangups(scene) == ["1.3"], "the caller waits for somebody else"


async def test_whoever_is_behind_a_local_channel_disturbs_a_question_too() -> None:
    scene = await open_scene()
    scene.enter("q", CHANNEL)
    scene.enter("q", "9.9", name="PJSIP/consent-gateway-00000001")
    scene.enter("x", "1.3")
    scene.enter("x", "8.2", name="Local/s@site-00000001;2")
    assert not scene.of(pbx.Disturbed)
    scene.enter("q", "8.1", name="Local/s@site-00000001;1")
    assert scene.of(pbx.Joined) and scene.of(pbx.Disturbed)


async def test_who_was_asked_comes_back_though_the_one_he_was_taken_from_has_left_the_others() -> None:
    scene = await open_scene()
    scene.pbx.find(invite(channel="1.5"), lambda event: None)
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.enter("b", CHANNEL, "1.2", "1.3")
    scene.enter("b", "1.5", name="PJSIP/trunk-000000aa")
    await scene.rest()
    await scene.channel.ask_party("1.3", "CALL")
    scene.leave("b", "1.3")
    scene.leave("b", CHANNEL)
    scene.event("Hangup", CHANNEL)
    assert await back(scene) == [("1.3", "consent-back")]


async def test_two_come_back_to_whom_all_others_left() -> None:
    scene = await open_scene()
    as_channels(scene)
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.enter("b", CHANNEL, "1.2", "1.3")
    scene.enter("b", "1.4", name="PJSIP/trunk-0000000e")
    await scene.rest()
    await scene.channel.ask_party("1.3", "CALL")
    scene.leave("b", "1.3")
    await scene.rest()
    await scene.channel.ask_party("1.4", "CALL")
    scene.leave("b", "1.4")
    scene.leave("b", "1.2")
    scene.leave("b", CHANNEL)
    scene.manager.variables["CONTEXT"] = "consent-wait"
    assert await back(scene) == [("1.3", "consent-back-both")]
    scene.enter("c", "1.3", CHANNEL)
    before = len(redirects(scene))
    scene.event("UserEvent", "1.4", UserEvent="ConsentBack")
    await scene.rest()
    assert not hangups(scene) and redirects(scene)[before:] == [("1.4", "consent-back")]


async def test_a_recorder_that_closes_takes_nobodys_waiting_away_and_giving_the_call_up_does() -> None:
    scene = await asked_aside()
    values = as_channels(scene)
    values[CHANNEL, AFTER] = "consent-wait,s,1"
    await scene.channel.close()
    await scene.rest()
    assert values[CHANNEL, AFTER] == "consent-wait,s,1", "he withdrew; the stranger may come back"
    await scene.channel.give_up()
    assert values[CHANNEL, AFTER] == ""
    scene.manager.sent.clear()
    await scene.channel.give_up()
    assert not scene.manager.sent


async def test_who_was_not_redirected_after_all_can_be_asked_once_that_is_seen() -> None:
    scene = await open_scene()
    scene.manager.variables["CHANNEL(name)"] = NAMES[CHANNEL]
    scene.manager.answers["Redirect"] = ActionTimedOut("fake", "no answer")
    scene.enter("b", CHANNEL, "1.2", "1.3")
    await scene.rest()
    with pytest.raises(pbx.PbxUnavailable):
        await scene.channel.ask_party("1.3", "CALL")
    del scene.manager.answers["Redirect"]
    names = {CHANNEL: NAMES[CHANNEL], "1.2": NAMES["1.2"], "1.3": NAMES["1.3"]}
    here = tuple(ManagerChannel(u, LINKEDID, name, "Up", "", None) for u, name in names.items())
    scene.manager.switch = ManagerSnapshot(here, (ManagerBridge("b", "basic", tuple(names)),))
    scene.manager.lose(None)
    await scene.rest()
    scene.manager.connect()
    await scene.rest()
    before = len(redirects(scene))
    await scene.channel.ask_party("1.3", "CALL")
    assert len(redirects(scene)) == before + 1


async def asked_on_a_local_channel(person: str) -> tuple[Scene, list[pbx.PbxEvent]]:
    """A gate that ran on a Local channel, with *person* behind it, and has asked; then an agent."""
    scene = await open_scene()
    heard: list[pbx.PbxEvent] = []
    scene.pbx.find(invite(channel="8.2"), heard.append)
    scene.enter("gate", "8.2", name="Local/7600@site-00000001;2")
    scene.enter("gate", "9.9", name="PJSIP/consent-gateway-00000001")
    scene.enter("y", "8.1", name="Local/7600@site-00000001;1")
    scene.enter("y", person)
    scene.leave("gate", "9.9")
    scene.leave("gate", "8.2")
    scene.enter("x", "8.2", name="Local/7600@site-00000001;2")
    scene.enter("x", "1.5", name="PJSIP/1001-0000000d")
    return scene, heard


def joined(heard: list[pbx.PbxEvent]) -> list[tuple[str, bool]]:
    return [(event.party, event.covered) for event in heard if isinstance(event, pbx.Joined)]


async def test_who_was_behind_a_local_channel_while_it_was_asked_is_the_one_who_was_asked() -> None:
    _, heard = await asked_on_a_local_channel("1.3")
    assert joined(heard) == [("1.5", True)] and not [event for event in heard if isinstance(event, pbx.Disturbed)]


async def test_who_comes_behind_a_local_channel_later_is_somebody_else() -> None:
    """An agent consulted a gated number, was asked there himself, and gave somebody who had refused to it."""
    scene, heard = await asked_on_a_local_channel("1.2")
    scene.leave("y", "1.2")
    scene.enter("y", "5.5", name="PJSIP/trunk-000000bb")
    assert joined(heard) == [("1.5", True), ("5.5", False)]


async def test_whoever_is_where_somebody_is_asked_disturbs_the_question() -> None:
    """It may be his keys that we hear."""
    scene = await open_scene()
    scene.enter("gate", CHANNEL)
    scene.enter("gate", "9.9", name="PJSIP/consent-gateway-0000000d")
    assert not scene.of(pbx.Disturbed)
    scene.enter("gate", "1.3")
    assert len(scene.of(pbx.Disturbed)) == 1
    scene.leave("gate", "1.3")
    scene.enter("gate", "1.2")
    assert len(scene.of(pbx.Disturbed)) == 2, "each time, an agent too"


@pytest.mark.parametrize(("context", "hung_up"), [("consent-wait", True), ("from-site", False)])
async def test_who_waits_for_somebody_who_hangs_up_is_let_go(context: str, hung_up: bool) -> None:
    scene = await asked_aside()
    scene.leave("b", "1.2")
    scene.leave("b", CHANNEL)
    scene.manager.variables |= {"CONTEXT": context, "CHANNEL(after_bridge_goto)": ""}
    scene.event("Hangup", "1.3")
    await scene.rest()
    assert bool(scene.manager.told("Hangup")) is hung_up
    assert len(scene.of(pbx.Left)) == 2


async def test_who_talks_on_is_not_let_go_when_somebody_hangs_up_aside() -> None:
    scene = await asked_aside()
    scene.manager.variables["CONTEXT"] = "consent-wait"
    scene.event("Hangup", "1.3")
    await scene.rest()
    assert not scene.manager.told("Hangup")


async def test_a_dialplans_own_plan_for_after_the_conversation_is_not_overwritten() -> None:
    scene = await open_scene()
    scene.manager.variables |= {"CHANNEL(name)": NAMES[CHANNEL], "CHANNEL(after_bridge_goto)": "survey,s,1"}
    scene.enter("b", CHANNEL, "1.2", "1.3")
    with pytest.raises(pbx.PbxRefused, match="plans"):
        await scene.channel.ask_party("1.3", "CALL")
    assert sent(scene, CHANNEL) == ({}, []) and not scene.manager.told("Redirect")
    scene.leave("b", "1.3")
    assert len(scene.of(pbx.Left)) == 1, "he was not taken aside: he is gone"
    scene.enter("b", "1.3")
    scene.event("Hangup", "1.3")
    await scene.rest()
    assert sent(scene, CHANNEL) == ({}, [])


ROOM = {"CHANNEL(appname)": "ConfBridge", "CONTEXT": "rooms", "EXTEN": "72*0", "PRIORITY": "3"}


async def in_a_room(**variables: str) -> Scene:
    scene = await open_scene()
    scene.manager.variables |= {"CHANNEL(name)": NAMES[CHANNEL], **ROOM, **variables}
    scene.enter("room", CHANNEL, "1.3", kind="base")
    return scene


async def test_in_a_conference_one_is_sent_alone_and_comes_back_by_his_dialplan() -> None:
    scene = await in_a_room()
    await scene.channel.ask_party("1.3", "CALL")
    told, (redirect,) = sent(scene, "1.3")
    assert told == ASIDE | {"CONSENT_PLACE": "rooms,72*0,3"} and redirect["Context"] == "consent-gate-aside"
    assert sent(scene, CHANNEL) == ({}, []), "a conference waits for nobody"
    scene.leave("room", "1.3")
    assert not scene.of(pbx.Left)


@pytest.mark.parametrize(
    ("name", "value"), [("CHANNEL(appname)", "AppDial"), ("EXTEN", "72,1)Hangup("), ("CONTEXT", ""), ("EXTEN", "${X}")]
)
async def test_nobody_is_taken_out_of_a_conference_that_he_cannot_be_brought_back_to(name: str, value: str) -> None:
    scene = await in_a_room(**{name: value})
    with pytest.raises(pbx.PbxRefused, match="conference"):
        await scene.channel.ask_party("1.3", "CALL")
    assert not scene.manager.told("Redirect")


async def test_who_may_be_recorded_in_a_call_of_his_own_is_covered_and_no_agent() -> None:
    scene = await open_scene()
    theirs = scene.pbx.find(invite(channel="1.3"), lambda event: None)
    scene.enter("b", CHANNEL, "1.3")
    theirs.covers(True)
    theirs.covers(True)
    joined = [event for event in scene.of(pbx.Joined) if isinstance(event, pbx.Joined)]
    assert [(event.covered, event.agent) for event in joined] == [(False, False), (True, False)]
    assert await askable(scene) == [], "who has a call of his own was asked in it"
    theirs.covers(False)
    joined = [event for event in scene.of(pbx.Joined) if isinstance(event, pbx.Joined)]
    assert [event.covered for event in joined] == [False, True, False]


async def test_a_stranger_who_never_answers_is_gone_when_his_channel_is() -> None:
    scene = await open_scene()
    scene.event("Newchannel", "1.3", Linkedid=LINKEDID, Channel=NAMES["1.3"])
    scene.event("Hangup", "1.3")
    assert len(scene.of(pbx.Joined)) == len(scene.of(pbx.Left)) == 1


async def test_local_channels_are_looked_through() -> None:
    scene = await open_scene()
    scene.enter("near", CHANNEL)
    scene.enter("near", "2.1", name="Local/100@queue-00000004;1")
    assert not scene.of(pbx.Joined)
    scene.enter("far", "2.2", name="Local/100@queue-00000004;2")
    scene.enter("far", "1.2")
    assert [e.party for e in scene.of(pbx.Joined) if isinstance(e, pbx.Joined)] == ["1.2"]
    scene.event("DTMFEnd", "1.2", Digit="*", Direction="Received")
    (key,) = scene.of(pbx.KeyPressed)
    assert isinstance(key, pbx.KeyPressed) and not key.by_asked


async def test_keys_are_told_once_and_by_whom() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL, "1.2")
    for uniqueid, digit, direction in (
        (CHANNEL, "1", "Received"),
        (CHANNEL, "1", "Received"),
        ("1.2", "1", "Sent"),
        ("1.2", "7", "Received"),
        ("9.9", "5", "Received"),
    ):
        scene.event("DTMFEnd", uniqueid, Digit=digit, Direction=direction)
    pressed = [(e.by_asked, e.digit) for e in scene.of(pbx.KeyPressed) if isinstance(e, pbx.KeyPressed)]
    assert pressed == [(True, "1"), (False, "7")]
    await asyncio.sleep(0.07)
    scene.event("DTMFEnd", "1.2", Digit="7", Direction="Received")
    assert len(scene.of(pbx.KeyPressed)) == 3


# --- the recorder ----------------------------------------------------------------------------------------------------


async def test_a_recorder_that_was_allowed_is_told_when_it_is_there() -> None:
    scene = await open_scene()
    assert scene.channel.file == ""
    await scene.recording()
    assert scene.channel.file == FILE
    (runs,) = scene.of(pbx.RecorderRuns)
    assert isinstance(runs, pbx.RecorderRuns) and runs.state == "on"
    assert not scene.manager.told("MixMonitorMute")


async def test_a_pause_from_before_the_start_mutes_at_the_start() -> None:
    scene = await open_scene()
    await scene.channel.expect_recorder("call")
    await scene.channel.mute()
    assert not scene.manager.told("MixMonitorMute")
    scene.manager.records()
    scene.event("MixMonitorStart")
    await scene.until(lambda: scene.of(pbx.RecorderRuns))
    assert [e.state for e in scene.of(pbx.RecorderRuns) if isinstance(e, pbx.RecorderRuns)] == ["paused"]
    assert scene.manager.told("MixMonitorMute") == [{"Direction": "both", "State": "1", "MixMonitorID": RECORDER}]


async def test_the_last_wish_counts() -> None:
    scene = await open_scene()
    await scene.recording()
    resuming = spawn(scene.channel.unmute(), name="resume")
    await scene.rest()
    await scene.channel.mute()
    await resuming
    assert [told["State"] for told in scene.manager.told("MixMonitorMute")] == ["1", "1"]
    assert [e.state for e in scene.of(pbx.RecorderRuns) if isinstance(e, pbx.RecorderRuns)][1:] == ["paused", "paused"]


async def test_a_mute_that_succeeds_with_nothing_to_mute_is_found_out() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.manager.ends()  # Asterisk says Success all the same
    await scene.channel.mute()
    assert [e.state for e in scene.of(pbx.RecorderRuns) if isinstance(e, pbx.RecorderRuns)] == ["on"]
    (gone,) = scene.of(pbx.RecorderGone)
    assert isinstance(gone, pbx.RecorderGone) and gone.file == FILE


async def test_a_mute_that_is_refused_is_an_error_while_the_recorder_is_there() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.manager.answers["MixMonitorMute"] = ActionRefused("fake", "MixMonitorMute", "Permission denied")
    with pytest.raises(pbx.PbxRefused, match=r"manager\.conf"):
        await scene.channel.mute()
    scene.manager.ends()
    await scene.channel.mute()
    assert scene.of(pbx.RecorderGone)


async def test_an_asterisk_that_is_shutting_down_says_nothing_about_its_recorder() -> None:
    """It refuses every action, and the calls it still has are recorded on."""
    scene = await open_scene()
    await scene.recording()
    for action in ("MixMonitorMute", "StopMixMonitor", "Getvar"):
        scene.manager.answers[action] = ActionRefused("fake", action, "Asterisk is shutting down")
    for command in (scene.channel.mute, scene.channel.close):
        with pytest.raises(pbx.PbxUnavailable):
            await command()
    scene.event("MixMonitorStop")
    await scene.rest()
    assert not scene.of(pbx.RecorderGone)


async def test_no_answer_is_no_observation() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.manager.answers["MixMonitorMute"] = ActionTimedOut("fake", "no answer")
    with pytest.raises(pbx.PbxUnavailable):
        await scene.channel.mute()
    assert len(scene.of(pbx.RecorderRuns)) == 1


def states(scene: Scene) -> list[tuple[str, str]]:
    return [(event.state, event.how) for event in scene.of(pbx.RecorderRuns) if isinstance(event, pbx.RecorderRuns)]


async def a_pause_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, Path]:
    monkeypatch.setattr("gateway.adapters.asterisk.channel.LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("gateway.adapters.asterisk.channel.UNMUTE_AFTER_S", 0)
    (tmp_path / "consent").mkdir()
    file = tmp_path / "consent" / "call.wav"
    file.write_bytes(b"RIFF")
    scene = await open_scene(spool=tmp_path)
    await scene.recording()
    await scene.channel.mute()
    await asyncio.sleep(0.05)
    return scene, file


async def test_the_growing_file_confirms_a_pause_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, file = await a_pause_with_its_file(tmp_path, monkeypatch)
    before = len(states(scene))
    file.write_bytes(bytes(100_000))
    await scene.until(lambda: states(scene)[before:] == [("paused", "the growing file is silent")])
    file.write_bytes(bytes(200_000))
    await asyncio.sleep(0.05)
    assert len(states(scene)) == before + 1


async def test_sound_in_a_pause_is_told_as_a_recorder_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, file = await a_pause_with_its_file(tmp_path, monkeypatch)
    file.write_bytes(bytes(99_999) + b"\1")
    await scene.until(lambda: states(scene)[-1] == ("on", "the growing file has sound in the pause"))


async def test_what_is_recorded_after_a_pause_is_nobodys_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, file = await a_pause_with_its_file(tmp_path, monkeypatch)
    await scene.channel.unmute()
    file.write_bytes(b"\1" * 200_000)
    await asyncio.sleep(0.05)
    assert states(scene)[-1] == ("on", "acknowledged, and the recorder is there")
    assert "sound" not in str(states(scene))


async def test_a_verdict_that_allows_recording_is_not_told_after_a_close() -> None:
    scene = await open_scene()
    await scene.channel.expect_recorder("call")
    await scene.channel.close()
    with pytest.raises(pbx.PbxRefused, match="closed before"):
        await scene.channel.tell({"CONSENT_CALL_ID": "x", "CONSENT_VERDICT": "granted"})
    await scene.channel.tell({"CONSENT_VERDICT": "withdrawn"})
    verdicts = [told["Value"] for told in scene.manager.told("Setvar") if told["Variable"] == "CONSENT_VERDICT"]
    assert verdicts == ["withdrawn"]


async def test_a_withdrawal_that_nobody_saw_is_told_before_anything_else() -> None:
    scene = await open_scene(snapshot=there(CHANNEL))
    await scene.recording()
    scene.manager.lose(Unreachable("fake", "gone"))
    scene.manager.ends()
    scene.manager.variables["CONSENT_VERDICT"] = "withdrawn"
    await scene.rest()
    before = len(scene.heard)
    scene.manager.connect()
    await scene.until(lambda: scene.of(pbx.RecorderGone))
    assert [type(event) for event in scene.heard[before:]] == [pbx.Withdrew, pbx.Sight, pbx.RecorderGone]


async def test_a_close_stops_by_id_and_tells_the_file_once() -> None:
    scene = await open_scene()
    await scene.recording()
    await scene.channel.close()
    scene.manager.ends()
    scene.event("MixMonitorStop")
    await scene.rest()
    await scene.channel.close()
    scene.event("Hangup")
    assert scene.manager.told("StopMixMonitor") == [{"MixMonitorID": RECORDER}]
    assert [e.file for e in scene.of(pbx.RecorderGone) if isinstance(e, pbx.RecorderGone)] == [FILE]
    assert len(scene.of(pbx.ChannelEnded)) == 1


async def test_a_close_before_the_start_ends_what_starts_after_it() -> None:
    scene = await open_scene()
    await scene.channel.expect_recorder("call")
    await scene.channel.close()
    assert len(scene.of(pbx.RecorderGone)) == 1
    scene.manager.records()
    scene.event("MixMonitorStart")
    await scene.until(lambda: scene.manager.told("StopMixMonitor"))
    assert not scene.of(pbx.RecorderRuns)


async def test_a_stop_that_is_refused_while_the_recorder_is_there_is_an_error() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.manager.answers["StopMixMonitor"] = ActionRefused("fake", "StopMixMonitor", "Permission denied")
    with pytest.raises(pbx.PbxRefused):
        await scene.channel.close()
    assert not scene.of(pbx.RecorderGone)


async def test_the_channels_end_ends_its_recorder_first() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.event("Hangup")
    assert [type(event) for event in scene.heard[-2:]] == [pbx.RecorderGone, pbx.ChannelEnded]
    scene.event("Hangup")
    assert len(scene.of(pbx.ChannelEnded)) == 1


@pytest.mark.parametrize(("guard", "stops", "told"), [("stop", 1, [True]), ("alarm", 0, [False]), ("ignore", 0, [])])
async def test_a_recorder_nobody_allowed(guard: str, stops: int, told: list[bool]) -> None:
    scene = await open_scene()
    scene.channel._guard = guard  # type: ignore[assignment]
    await scene.recording()
    scene.event("MixMonitorStart")  # another one: the id on the channel is still ours
    await scene.rest()
    assert scene.manager.told("StopMixMonitor") == [{}] * stops
    assert [e.stopped for e in scene.of(pbx.ForeignRecorder) if isinstance(e, pbx.ForeignRecorder)] == told


async def test_whatever_records_before_the_question_is_stopped() -> None:
    manager = Manager()
    answers = iter([ManagerResponse(), ManagerResponse(), ActionRefused("fake", "StopMixMonitor", "none")])
    real = manager.action

    async def action(name, fields=None, **more):  # type: ignore[no-untyped-def]
        if name == "StopMixMonitor":
            manager.answers[name] = next(answers)
        return await real(name, fields, **more)

    manager.action = action  # type: ignore[method-assign]
    made = AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",))])
    await made.start()
    heard: list[pbx.PbxEvent] = []
    made.find(invite(), heard.append)
    for _ in range(40):
        await asyncio.sleep(0)
    assert [e.stopped for e in heard if isinstance(e, pbx.ForeignRecorder)] == [True, True]


@pytest.mark.parametrize("first", ["the recorder", "the caller"])
async def test_a_conference_that_records_is_stopped(first: str) -> None:
    scene = await open_scene()
    scene.channel._guard = "stop"
    room = (("BridgeUniqueid", "room"), ("Conference", "team"))
    if first == "the caller":
        scene.enter("room", CHANNEL)
    scene.manager.report("ConfbridgeRecord", *room)
    scene.enter("room", CHANNEL, "1.2")
    await scene.rest()
    assert scene.manager.told("ConfbridgeStopRecord") == [{"Conference": "team"}]
    assert [e.stopped for e in scene.of(pbx.ForeignRecorder) if isinstance(e, pbx.ForeignRecorder)] == [True]


async def test_a_conference_whose_recorder_cannot_be_stopped_is_told() -> None:
    scene = await open_scene()
    scene.channel._guard = "stop"
    scene.manager.answers["ConfbridgeStopRecord"] = ActionRefused("fake", "ConfbridgeStopRecord", "Permission denied")
    scene.enter("room", CHANNEL)
    scene.manager.report("ConfbridgeRecord", ("BridgeUniqueid", "room"), ("Conference", "team"))
    await scene.rest()
    assert [e.stopped for e in scene.of(pbx.ForeignRecorder) if isinstance(e, pbx.ForeignRecorder)] == [False]


async def test_a_conference_that_goes_on_recording_is_told_to_everybody_who_joins() -> None:
    scene = await open_scene()
    scene.channel._guard = "alarm"
    scene.enter("room", CHANNEL)
    scene.manager.report("ConfbridgeRecord", ("BridgeUniqueid", "room"), ("Conference", "team"))
    await scene.rest()
    second: list[pbx.PbxEvent] = []
    other = scene.pbx.find(invite(channel="1.3"), second.append)
    other._guard = "alarm"  # type: ignore[attr-defined]
    scene.enter("room", "1.3")
    await scene.rest()
    assert len(scene.of(pbx.ForeignRecorder)) == 1
    assert [type(event) for event in second if isinstance(event, pbx.ForeignRecorder)] == [pbx.ForeignRecorder]


async def test_who_watches_a_channel_that_another_takes_over_is_told_the_end() -> None:
    scene = await open_scene()
    second: list[pbx.PbxEvent] = []
    scene.pbx.find(invite(), second.append)
    (ended,) = scene.of(pbx.ChannelEnded)
    assert isinstance(ended, pbx.ChannelEnded) and not ended.seen
    scene.event("Hangup")
    assert len(scene.of(pbx.ChannelEnded)) == 1 and [type(event) for event in second] == [pbx.ChannelEnded]


async def test_a_conference_without_ours_may_record() -> None:
    scene = await open_scene()
    scene.channel._guard = "stop"
    scene.manager.report("ConfbridgeRecord", ("BridgeUniqueid", "room"), ("Conference", "team"))
    scene.manager.report("ConfbridgeStopRecord", ("BridgeUniqueid", "room"), ("Conference", "team"))
    scene.enter("room", CHANNEL)
    await scene.rest()
    assert not scene.manager.told("ConfbridgeStopRecord")


# --- out of sight ----------------------------------------------------------------------------------------------------


def there(*channels: str) -> ManagerSnapshot:
    return ManagerSnapshot(
        tuple(ManagerChannel(c, LINKEDID, NAMES[c], "Up", "b", None) for c in channels),
        (ManagerBridge("b", "simple_bridge", channels),),
    )


async def test_a_lost_connection_is_told_and_what_was_is_compared_with_what_is() -> None:
    scene = await open_scene()
    await scene.recording()
    await scene.channel.mute()
    scene.manager.lose(Unreachable("fake", "gone"))
    with pytest.raises(pbx.PbxUnavailable):
        await scene.channel.unmute()
    await scene.channel.lamp("on")
    scene.manager.switch = there(CHANNEL, "1.2")
    scene.manager.connect()
    await scene.until(lambda: len(scene.manager.told("MixMonitorMute")) == 2)
    await scene.rest()
    assert [e.clear for e in scene.of(pbx.Sight) if isinstance(e, pbx.Sight)] == [False, True]
    assert [e.party for e in scene.of(pbx.Joined) if isinstance(e, pbx.Joined)] == ["1.2"]


async def test_a_channel_that_is_gone_when_it_can_be_looked_for_has_ended() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.manager.lose(Unreachable("fake", "gone"))
    scene.manager.connect()
    await scene.until(lambda: scene.of(pbx.ChannelEnded))
    (ended,) = scene.of(pbx.ChannelEnded)
    assert isinstance(ended, pbx.ChannelEnded) and not ended.seen and scene.of(pbx.RecorderGone)


async def test_a_recorder_that_is_gone_when_it_can_be_looked_for_has_ended() -> None:
    scene = await open_scene()
    await scene.recording()
    scene.manager.lose(Unreachable("fake", "gone"))
    scene.manager.ends()
    scene.manager.switch = there(CHANNEL)
    scene.manager.connect()
    await scene.until(lambda: scene.of(pbx.RecorderGone))
    assert not scene.of(pbx.ChannelEnded)


@pytest.mark.parametrize("owner", ["", "gw/1"])
async def test_a_recorder_of_ours_on_a_channel_nobody_watches_is_stopped(owner: str) -> None:
    manager = Manager(switch=there(CHANNEL), variables={"CONSENT_GATEWAY": owner})
    manager.records()
    made = AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",))], "gw/1")
    await made.start()
    for _ in range(40):
        await asyncio.sleep(0)
    assert manager.told("StopMixMonitor") == [{"MixMonitorID": RECORDER}]
    assert manager.told("Setvar") == [{"Variable": "CONSENT_VERDICT", "Value": "unknown"}]


async def test_another_gateways_recorder_is_left_alone() -> None:
    manager = Manager(switch=there(CHANNEL), variables={"CONSENT_GATEWAY": "gw/2"})
    manager.records()
    await AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",))], "gw/1").start()
    for _ in range(40):
        await asyncio.sleep(0)
    assert manager.told("Getvar")[-1] == {"Variable": "CONSENT_GATEWAY"} and not manager.told("StopMixMonitor")


async def test_the_channel_bears_the_name_of_the_gateway_that_allows_its_recorder() -> None:
    manager = Manager()
    made = AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",))], "gw/1")
    await made.start()
    await made.find(invite(), lambda event: None).expect_recorder("call")
    assert manager.told("Setvar") == [{"Variable": "CONSENT_GATEWAY", "Value": "gw/1"}]


@pytest.mark.parametrize("ours", [True, False])
async def test_a_recorder_of_ours_that_starts_where_nobody_watches_is_stopped(ours: bool) -> None:
    manager = Manager(switch=there(CHANNEL))
    made = AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",))])
    await made.start()
    for _ in range(40):
        await asyncio.sleep(0)
    if ours:
        manager.records()
    manager.report("MixMonitorStart", ("Uniqueid", CHANNEL))
    for _ in range(40):
        await asyncio.sleep(0)
    assert manager.told("StopMixMonitor") == [{"MixMonitorID": RECORDER}] * ours


CALL = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
LEFT = f"consent/{CALL}-20261127T120000000.wav"


async def left_behind(folder: Path, manager: Manager, *, server: str = "fake") -> pbx.LeftBehind:
    """What is told of a final file of a call that an earlier gateway let be recorded."""
    (folder / "consent").mkdir()
    with wave.open(str(folder / LEFT), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"" if manager.problem else bytes(320))
    made = AsteriskPbx([AsteriskServer(manager, "192.0.2.1", ("PJSIP/*",), spool=folder)])
    await made.start()
    return await made.left_behind(server, CALL, "", others=())


async def test_a_file_is_looked_at_when_the_recorders_of_an_earlier_gateway_were_stopped(tmp_path: Path) -> None:
    manager = Manager(switch=there(CHANNEL))
    manager.records()
    manager.answers["StopMixMonitor"] = None  # it takes its time
    asking = spawn(left_behind(tmp_path, manager), name="left behind")
    await manager.until_sent("StopMixMonitor")
    await asyncio.sleep(0.05)
    assert not asking.done()
    manager.answers.clear()
    manager.lose(Unreachable("fake", "cut"))
    await asyncio.sleep(0.05)
    assert not asking.done(), "nothing is known of a recorder whose stop was not answered"
    manager.connect()
    left = await asyncio.wait_for(asking, 5)
    assert left.file == LEFT and left.facts["frames"] == 1
    assert len(manager.told("StopMixMonitor")) == 2


@pytest.mark.parametrize("why", ["unreachable", "not stopped"])
async def test_a_server_that_stays_away_is_waited_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr("gateway.adapters.asterisk.pbx.AWAY_S", 0.05)
    manager = Manager(
        switch=there(CHANNEL), problem=Unreachable("fake", "nobody there") if why == "unreachable" else None
    )
    manager.records()
    manager.answers["StopMixMonitor"] = ActionTimedOut("fake", "no answer")
    left = await left_behind(tmp_path, manager)
    if why == "unreachable":
        assert left.facts["sha256"] == "" and "not reached" in str(left.facts["checked"])
    else:
        assert left.facts["frames"] == 1, "a header that is final is proof enough"


async def test_a_server_that_is_not_configured_is_not_waited_for(tmp_path: Path) -> None:
    left = await left_behind(tmp_path, Manager(), server="gone")
    assert left.file == "" and "not configured" in str(left.facts["checked"])


# --- the rest --------------------------------------------------------------------------------------------------------


async def test_variables_are_set_in_order() -> None:
    scene = await open_scene()
    await scene.channel.tell({"CONSENT_CALL_ID": "x", "CONSENT_VERDICT": "granted"})
    assert [told["Variable"] for told in scene.manager.told("Setvar")] == ["CONSENT_CALL_ID", "CONSENT_VERDICT"]


async def test_the_lamp_follows_where_there_is_one() -> None:
    scene = await open_scene()
    await scene.channel.lamp("on")
    assert not scene.manager.told("Setvar")
    scene = await open_scene()
    scene.manager.variables["CONSENT_LAMP"] = "alice"
    for state in ("on", "paused", "off"):
        await scene.channel.lamp(state)  # type: ignore[arg-type]
    assert scene.manager.told("Setvar") == [
        {"Variable": "DEVICE_STATE(Custom:consent-alice)", "Value": value}
        for value in ("INUSE", "RINGING", "NOT_INUSE")
    ]


async def test_asking_again_takes_both_out_of_a_conversation_of_two() -> None:
    scene = await open_scene()
    scene.manager.variables["CHANNEL(name)"] = NAMES["1.2"]
    with pytest.raises(pbx.PbxRefused, match="conversation of two"):
        await scene.channel.ask_again()
    scene.enter("b", CHANNEL, "1.2")
    await scene.channel.ask_again()
    (redirect,) = scene.manager.told("Redirect")
    assert (redirect["Context"], redirect["ExtraChannel"], redirect["ExtraContext"]) == (
        "consent-gate-again",
        "1.2",
        "consent-wait",
    )
    scene.enter("b", "1.3")
    with pytest.raises(pbx.PbxRefused):
        await scene.channel.ask_again()


@pytest.mark.parametrize(
    ("event", "kind"),
    [("ConsentWithdrawn", pbx.Withdrew), ("ConsentAgain", pbx.WantsAgain), ("ConsentGate", pbx.TakenBack)],
)
async def test_the_dialplans_own_keys(event: str, kind: type[pbx.PbxEvent]) -> None:
    scene = await open_scene()
    scene.event("UserEvent", UserEvent=event)
    scene.event("UserEvent", "9.9", UserEvent=event)
    scene.event("UserEvent", UserEvent="Other")
    assert [type(heard) for heard in scene.heard] == [kind]


async def test_an_agents_own_keys_count_from_his_channel_only() -> None:
    scene = await open_scene()
    scene.enter("b", CHANNEL, "1.2", "1.3")
    for uniqueid in ("1.3", "9.9", CHANNEL):
        scene.event("UserEvent", uniqueid, UserEvent="ConsentPause")
    assert not scene.of(pbx.AgentWants)
    for name in ("ConsentPause", "ConsentResume"):
        scene.event("UserEvent", "1.2", UserEvent=name)
    assert [e.pause for e in scene.of(pbx.AgentWants) if isinstance(e, pbx.AgentWants)] == [True, False]


async def test_who_called_and_hung_up_is_told() -> None:
    scene = await open_scene()
    scene.event("HangupRequest", CHANNEL)
    assert not scene.heard
    scene.event("HangupRequest", LINKEDID)
    scene.event("Hangup", LINKEDID)
    assert [type(heard) for heard in scene.heard] == [pbx.Abandoned]


async def test_a_channel_is_in_one_bridge_at_a_time() -> None:
    scene = await open_scene()
    scene.enter("one", CHANNEL, "1.2")
    scene.enter("two", "1.2")
    assert len(scene.of(pbx.Left)) == 1
    scene.leave("one", "1.2")  # comes late: he is in the other by now
    scene.enter("two", CHANNEL)
    assert len(scene.of(pbx.Joined)) == 2
    for uniqueid in (CHANNEL, "1.2"):
        scene.leave("two", uniqueid)
    switch = scene.pbx._switches[0]
    assert not switch._bridges and not switch._where and not switch._named


async def test_a_call_is_ended_by_hanging_up_its_channel() -> None:
    scene = await open_scene()
    await scene.channel.hang_up()
    assert scene.manager.told("Hangup") == [{"Cause": "21"}]


async def test_what_was_kept_is_read_where_the_spool_is_shared(tmp_path: Path) -> None:
    scene = await open_scene()
    assert (await scene.channel.kept("", purge=False))["checked"] == "no file"
    assert "not shared" in str((await scene.channel.kept(FILE, purge=False))["checked"])
    scene.channel._spool = tmp_path
    assert "FileNotFoundError" in str((await scene.channel.kept(FILE, purge=False))["checked"])
