"""How our client connects, keeps a connection and comes back: what only it and its scripted server can show."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.adapters.asterisk.ami import delivery, handshake
from gateway.adapters.asterisk.ami.client import AmiClient
from gateway.adapters.asterisk.ami.settings import Patience, Surroundings
from gateway.app.tasks import spawn
from gateway.ports.manager import (
    ActionRefused,
    ConnectionLost,
    LoginRefused,
    ManagerState,
    NotConnected,
    Unreachable,
)
from tests.support.ami_server import PERMITS, SECRET, Channel
from tests.support.manager_rigs import SOON, Seen, scene, server_at

LONG_S = 30.0


class Clock:
    """Sleeps only as long as a test wants: `pass_` ends the sleep that is under way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeping: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.sleeping.put_nowait((seconds, woken))
        await woken.wait()

    async def ignore(self) -> float:
        """Wait for the next sleep, and never end it."""
        async with asyncio.timeout(LONG_S):
            return (await self.sleeping.get())[0]

    async def pass_(self) -> float:
        """Wait for the next sleep, let it pass, and return how long it was."""
        async with asyncio.timeout(LONG_S):
            seconds, woken = await self.sleeping.get()
        self.now += seconds
        woken.set()
        return seconds

    def surroundings(self, chance: Callable[[], float] = lambda: 0.5) -> Surroundings:
        return Surroundings(sleep=self.sleep, monotonic=lambda: self.now, chance=chance)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- coming back ---


def test_waits_double_up_to_the_longest_and_vary() -> None:
    patience = Patience(first_s=1.0, longest_s=8.0)
    assert [patience.wait_s(attempt, 0.0) for attempt in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert patience.wait_s(10_000, 0.999) == pytest.approx(8.0, rel=0.001)


async def test_it_comes_back_more_and_more_slowly_and_tells_it_once() -> None:
    clock, seen = Clock(), Seen()
    client = AmiClient(
        server_at(free_port()),
        patience=Patience(first_s=1.0, longest_s=6.0),
        surroundings=clock.surroundings(chance=lambda: 0.0),
    )
    await client.start(seen.take, seen.take)
    assert [await clock.pass_() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    with pytest.raises(Unreachable, match=r"Asterisk pbx1: no connection .*is it up"):
        await client.connected(0.0)
    await client.stop()
    assert [type(state.problem) for state in seen.states] == [Unreachable]


async def test_only_a_connection_that_held_makes_it_hurry_again() -> None:
    clock = Clock()
    patience = replace(SOON, first_s=1.0, longest_s=60.0, steady_s=10.0, ping_every_s=20.0)
    async with scene(patience=patience, surroundings=clock.surroundings()) as (server, client, seen):
        waits = []
        for held in (False, False, True):
            await client.connected(LONG_S)
            if held:
                assert await clock.pass_() == 20.0, "a ping is answered: the connection is 20 s old"
            assert await clock.ignore() == 20.0, "the keep-alive of this connection wakes no more"
            states = len(seen.states)
            server.cut()
            await seen.until(lambda states=states: len(seen.states) > states)  # type: ignore[misc]
            waits.append(await clock.pass_())
        assert waits == [0.75, 1.5, 0.75]


async def test_events_since_the_login_come_after_the_state() -> None:
    async with scene(booted=False, permits=PERMITS - {"corestatus"}) as (server, client, seen):
        await server.until_heard("ListCommands")
        server.emit("DTMFEnd", ("Digit", "9"))
        assert not client.state.connected
        server.boot()
        await client.connected(LONG_S)
        await seen.until(lambda: len(seen.all) >= 3)
        assert isinstance(seen.all[0], ManagerState)
        assert [event.name for event in seen.events] == ["DTMFEnd"]


# --- the boot ---


async def test_without_class_system_a_server_has_booted_when_it_learns_no_action_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshake, "BOOT_POLL_S", 0.05)
    async with scene(booted=False, tells_boot=False) as (server, client, _):
        await server.until_heard("ListCommands")
        server.boot()  # what was listed before it is less than what is listed now
        await client.connected(LONG_S)
        assert len(server.all_heard("ListCommands")) >= 3
        assert len(server.all_heard("CoreShowChannels")) == 1


async def test_the_end_of_the_boot_is_waited_for_though_the_start_has_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asterisk 22 tells the date of its start before it has loaded a module."""
    monkeypatch.setattr(handshake, "BOOT_POLL_S", LONG_S)
    async with scene(booted=False) as (server, client, _):
        await server.until_heard("ListCommands")
        assert not client.state.connected
        server.boot()
        await client.connected(LONG_S)
        assert client._session is not None and "stopmixmonitor" in client._session.permitted


async def test_a_server_that_never_tells_is_not_used() -> None:
    patience = replace(SOON, boot_s=0.01)
    async with scene(patience=patience, tells_boot=False, permits=PERMITS - {"corestatus"}) as (server, client, seen):
        await seen.until(lambda: bool(seen.states))
        assert "read class system or write class reporting" in str(seen.states[0].problem)
        assert not client.state.connected
        assert server.all_heard("CoreShowChannels") == []


async def test_a_cut_in_the_boot_is_a_loss() -> None:
    async with scene(booted=False, permits=PERMITS - {"corestatus"}) as (server, client, seen):
        await server.until_heard("ListCommands")
        server.cut()
        await seen.until(lambda: bool(seen.states))
        assert isinstance(seen.states[0].problem, Unreachable)
        await server.until_heard("ListCommands", 2)
        server.boot()
        assert (await client.connected(LONG_S)).generation == 1


# --- what the user may ---


async def test_without_class_command_mixmonitors_are_unknown() -> None:
    async with scene(permits=PERMITS - {"command"}) as (server, client, _):
        server.channels = [Channel("PJSIP/a-1", "1.1", mixmonitors=[("0x1", "a.wav")])]
        await client.connected(LONG_S)
        [channel] = (await client.snapshot(LONG_S)).channels
        assert channel.mixmonitors is None
        assert server.all_heard("Command") == []


async def test_a_command_that_is_refused_leaves_mixmonitors_unknown() -> None:
    async with scene() as (server, client, _):
        await client.connected(LONG_S)
        server.errors["command"] = "Command blacklisted"
        server.channels = [Channel("PJSIP/a-1", "1.1"), Channel("odd name with spaces", "1.2")]
        assert [channel.mixmonitors for channel in (await client.snapshot(LONG_S)).channels] == [None, None]
        assert len(server.all_heard("Command")) == 1, "the odd name was never sent"


async def test_without_class_reporting_channels_are_read_by_status() -> None:
    async with scene(permits=PERMITS - {"coreshowchannels"}) as (server, client, _):
        server.channels = [Channel("PJSIP/a-1", "1.1", "b1")]
        await client.connected(LONG_S)
        snapshot = await client.snapshot(LONG_S)
        assert [(channel.uniqueid, channel.bridge) for channel in snapshot.channels] == [("1.1", "b1")]
        assert [(bridge.id, bridge.members) for bridge in snapshot.bridges] == [("b1", ("1.1",))]


async def test_a_user_who_may_read_no_channels_is_told_what_he_lacks() -> None:
    permits = PERMITS - {"coreshowchannels", "status"}
    async with scene(permits=permits) as (_, client, seen):
        await seen.until(lambda: bool(seen.states))
        assert isinstance(seen.states[0].problem, ActionRefused)
        assert "give the user the class this action needs" in str(seen.states[0].problem)
        assert not client.state.connected


# --- what a server may do ---


async def test_a_server_that_gives_no_sign_of_life_is_given_up() -> None:
    clock = Clock()
    patience = replace(SOON, ping_every_s=5.0, ping_s=0.01)
    async with scene(patience=patience, surroundings=clock.surroundings()) as (server, client, seen):
        await client.connected(LONG_S)
        server.silent.add("ping")
        assert await clock.pass_() == 5.0
        await seen.until(lambda: len(seen.states) >= 2)
        assert "no sign of life" in str(seen.states[1].problem)
        assert len(server.all_heard("Ping")) == 1


async def test_lines_may_end_with_lf_alone() -> None:
    async with scene(line_end="\n", piece=3) as (server, client, _):
        server.channels = [Channel("PJSIP/a-1", "1.1")]
        await client.connected(LONG_S)
        assert len((await client.snapshot(LONG_S)).channels) == 1


async def test_what_is_no_manager_is_told() -> None:
    async with scene(greeting="SSH-2.0-OpenSSH_9.2") as (server, _, seen):
        await seen.until(lambda: bool(seen.states))
        assert "no Asterisk manager interface" in str(seen.states[0].problem)
        assert server.heard == []


async def test_a_server_without_a_greeting_is_given_up() -> None:
    async with asyncio.timeout(LONG_S):
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        client, seen = (
            AmiClient(server_at(silent.sockets[0].getsockname()[1]), patience=replace(SOON, connect_s=0.01)),
            Seen(),
        )
        await client.start(seen.take, seen.take)
        await seen.until(lambda: bool(seen.states))
        assert "no connection with a greeting within" in str(seen.states[0].problem)
        await client.stop()
        silent.close()


async def test_a_message_without_end_costs_the_connection_and_no_more() -> None:
    async with scene() as (server, client, seen):
        await client.connected(LONG_S)
        server.say(b"Event: " + b"4930123456" * 7_000)
        await seen.until(lambda: len(seen.states) >= 3)
        assert "line: longer than 65536 bytes" in str(seen.states[1].problem)
        assert "4930" not in str(seen.states[1].problem)
        assert client.state.generation == 2


async def test_messages_of_no_kind_are_passed_over() -> None:
    async with scene() as (server, client, seen):
        await client.connected(LONG_S)
        server.say(b"Something: else\r\n\r\n")
        server.emit("Hangup")
        await seen.until(lambda: bool(seen.events))
        assert [event.name for event in seen.events] == ["Hangup"]


async def test_a_login_without_an_answer_is_an_attempt_that_failed() -> None:
    async with scene(patience=replace(SOON, connect_s=0.05)) as (server, _, seen):
        server.silent.add("challenge")
        await seen.until(lambda: any(state.problem for state in seen.states))
        problem = next(state.problem for state in seen.states if state.problem)
        assert isinstance(problem, Unreachable)
        assert str(problem).count("Asterisk pbx1") == 1


async def test_a_consumer_that_cannot_follow_costs_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MAX_BACKLOG", 100)
    async with scene() as (server, client, seen):
        await client.connected(LONG_S)
        for writer in server._writers:
            writer.write(server.block([("Event", "Hangup")]) * 2_000)
        await seen.until(lambda: len(seen.states) >= 3)
        assert "could not follow" in str(seen.states[1].problem)
        assert len(seen.events) < 2_000
        assert seen.all.index(seen.states[1]) > seen.all.index(seen.events[-1]), "what was read is told before the loss"


async def test_a_stop_in_every_stage_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "BOOT_POLL_S", 0.0)
    for stage in ("Challenge", "Login", "ListCommands", "CoreStatus", "CoreShowChannels", "BridgeList"):
        async with scene(tells_boot=False) as (server, client, seen):
            server.silent.add(stage.lower())
            await server.until_heard(stage)
            await client.stop()
            assert seen.all == []
            assert client.state == ManagerState()
            with pytest.raises(NotConnected):
                await client.action("Ping")


async def test_the_stop_logs_off() -> None:
    async with scene() as (server, client, _):
        await client.connected(LONG_S)
        await client.stop()
        await server.until_heard("Logoff")


async def test_no_secret_number_or_name_reaches_the_log() -> None:
    with capture_logs() as logs:
        async with scene() as (server, client, seen):
            server.channels = [Channel("PJSIP/alice-00000001", "1.1")]
            await client.connected(LONG_S)
            server.silent.add("stopmixmonitor")
            stopping = spawn(client.action("StopMixMonitor", {"Channel": "PJSIP/alice-00000001"}), name="stopping")
            await server.until_heard("StopMixMonitor")
            server.secret = "another"
            server.cut()
            with pytest.raises(ConnectionLost):
                await stopping
            await seen.until(lambda: isinstance(seen.states[-1].problem, LoginRefused))
    assert {entry["event"] for entry in logs} >= {
        "manager connected",
        "manager connection lost",
        "manager not connected",
    }
    assert not any(word in str(logs) for word in (SECRET, "alice", "4930123456"))
