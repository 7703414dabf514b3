"""What the doctor asks a server, and what it makes of answers that are missing."""

import pytest

from gateway.adapters.asterisk.ami.settings import ManagerServer
from gateway.adapters.asterisk.inspection.survey import Step, Survey, survey
from gateway.app.tasks import spawn
from gateway.ports.manager import LoginRefused, Unreachable
from gateway.wire.ami import PERMITTED
from tests.support.ami_server import PERMITS, SECRET, USER, ScriptedManager

ASKED = PERMITS | {"coresettings", "showdialplan", "queuestatus"}


async def ask(
    server: ScriptedManager, *, secret: str = SECRET, agents: tuple[str, ...] = (), now: float = 1.0
) -> Survey:
    where = ManagerServer("pbx1", "127.0.0.1", USER, secret, port=server.port)
    return await survey(where, "PJSIP/consent-gateway", agents, now=lambda: now, connect_s=5.0)


async def running(permits: frozenset[str] = ASKED, **more: bool) -> ScriptedManager:
    server = ScriptedManager(permits=permits, **more)  # type: ignore[arg-type]
    await server.start()
    return server


async def test_a_server_that_answers_everything() -> None:
    server = await running()
    server.variables = {
        f"AST_CONFIG(manager.conf,{USER},read,-1)": "call, DTMF",
        "ENV(AST_VERSION)": "22.10.1",
        "FEATUREMAP(automixmon)": "*3",
        "PJSIP_DIAL_CONTACTS(consent-gateway)": "PJSIP/g/sip:a@127.0.0.1:1&PJSIP/g/sip:b@127.0.0.1:2",
        "DEVICE_STATE(PJSIP/consent-gateway)": "NOT_INUSE",
        "PJSIP_ENDPOINT(consent-gateway,one_touch_recording)": "false",
        "PJSIP_ENDPOINT(alice,one_touch_recording)": "true",
        "PJSIP_ENDPOINT(bob,one_touch_recording)": "false",
        "PJSIP_ENDPOINT(trunk,one_touch_recording)": "true",
        "PJSIP_ENDPOINT(desk,one_touch_recording)": "true",
        "AST_CONFIG(queues.conf,sales,monitor-format,-1)": "wav",
        "ASTSPOOLDIR": "/var/spool/asterisk",
    }
    steps = [("in", "1", "Dial", "PJSIP/bob&PJSIP/${N}@trunk,30"), ("in", "2", "Hangup", "")]
    keys = ("Context", "Priority", "Application", "AppData")
    server.lists = {
        "showdialplan": ("ListDialplan", [list(zip(keys, step, strict=True)) for step in steps]),
        "queuestatus": (
            "QueueParams",
            [[("Queue", "sales"), ("Location", "PJSIP/desk")], [("Queue", "a queue of ours")]],
        ),
    }
    told = await ask(server, agents=("PJSIP/alice", "PJSIP/1???", "SIP/carol"), now=4.0)
    assert told == Survey(
        actions=ASKED,
        reads_system=True,
        read=frozenset({"call", "dtmf"}),
        dangerous=False,
        automixmon="*3",
        dialplan=tuple(Step(*step) for step in steps),
        one_touch={"consent-gateway": False, "alice": True, "desk": True, "bob": False, "trunk": True},
        queues={"sales": "wav", "a queue of ours": None},
        state="NOT_INUSE",
        contacts=("PJSIP/g/sip:a@127.0.0.1:1", "PJSIP/g/sip:b@127.0.0.1:2"),
        spool="/var/spool/asterisk",
        ahead_s=-3.0,
        version="22.10.1",
    )
    await server.stop()


async def test_nothing_is_sent_that_changes_anything() -> None:
    server = await running()
    server.lists = {"queuestatus": ("QueueParams", [[("Queue", "sales")]])}
    await ask(server, agents=("PJSIP/alice",))
    await server.until_heard("Logoff")
    sent = {heard.action.lower() for heard in server.heard}
    assert sent == {*("challenge", "login", "listcommands", "getvar", "showdialplan", "queuestatus", "ping", "logoff")}
    assert sent - {"challenge", "login", "logoff"} <= PERMITTED
    assert all(heard.get("Channel") == "" for heard in server.heard)
    await server.stop()


async def test_empty_answers_say_nothing() -> None:
    server = await running(tells_boot=False)
    told = await ask(server)
    assert (told.read, told.dangerous, told.reads_system) == (None, None, False)
    assert (told.one_touch, told.contacts, told.state) == ({}, (), "")
    await server.stop()


async def test_of_functions_that_are_not_loaded_the_server_hears_once() -> None:
    """Each is a line of level ERROR in its log."""
    server = await running()
    await ask(server, agents=tuple(f"PJSIP/agent{number}" for number in range(9)))
    asked = [heard.get("Variable") for heard in server.all_heard("Getvar")]
    assert len([variable for variable in asked if variable.startswith("PJSIP_ENDPOINT")]) == 1
    assert len(asked) == len(set(asked))
    await server.stop()


async def test_a_read_line_that_is_not_there_is_no_class_at_all() -> None:
    server = await running()
    server.variables = {f"AST_CONFIG(manager.conf,{USER},write,-1)": "call"}
    assert (await ask(server)).read == frozenset()
    await server.stop()


async def test_dangerous_functions_that_are_carried_out() -> None:
    server = await running()
    server.variables = {"STAT(e,/)": "1", "ENV(AST_VERSION)": "22"}
    assert (await ask(server)).dangerous is True
    await server.stop()


async def test_a_user_who_may_do_nothing_is_told_apart_from_one_who_is_told_nothing() -> None:
    server = await running(permits=frozenset({"ping", "listcommands"}))
    told = await ask(server)
    assert told.actions == {"ping", "listcommands"}
    assert (told.dialplan, told.state, told.automixmon, told.spool, told.booted) == (None, None, None, None, True)
    assert told.ahead_s == 0.0
    await server.stop()


async def test_a_server_that_is_still_starting() -> None:
    server = await running(booted=False)
    assert (await ask(server)).booted is True, "who is not told cannot know"
    server.variables = {f"AST_CONFIG(manager.conf,{USER},read,-1)": "call,system"}
    assert (await ask(server)).booted is False
    await server.stop()


async def test_a_time_that_is_no_number() -> None:
    server = await running()
    server.replies = {"ping": [("Ping", "Pong")]}
    assert (await ask(server)).ahead_s is None
    await server.stop()


async def test_a_wrong_secret_and_nobody_at_all() -> None:
    server = await running()
    with pytest.raises(LoginRefused) as refused:
        await ask(server, secret="another-secret")
    assert "another-secret" not in str(refused.value)
    await server.stop()
    with pytest.raises(Unreachable):
        await ask(server)


async def test_a_connection_that_is_lost_in_the_middle() -> None:
    server = await running()
    server.silent = {"queuestatus"}
    asking = spawn(ask(server), name="asking")
    await server.until_heard("QueueStatus")
    server.cut()
    with pytest.raises(Unreachable):
        await asking
    await server.stop()


async def test_what_is_no_manager_interface() -> None:
    server = ScriptedManager(greeting="SSH-2.0-OpenSSH_9.2")
    await server.start()
    with pytest.raises(Unreachable):
        await ask(server)
    await server.stop()
