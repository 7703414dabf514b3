"""The gateway fails in every way it can: the caller reaches the agent all the same, and nothing is recorded."""

import pytest

from gateway.adapters.softphone import Call
from tests.pbx.scene import CALL_ID, Scene, Stopwatch, heard, hears, scene, speaking
from tests.support import asterisk
from tests.support.mixed import AGENT, GATEWAY, PERSON

pytestmark = pytest.mark.slow


async def reaches_the_agent_unrecorded(s: Scene, caller: Call, watch: Stopwatch, failure: str) -> None:
    """Ends the call."""
    agent = await s.agent_answers()
    watch.note(f"to the agent: {failure}")
    await s.connected(caller, agent)
    assert s.switch.recordings() == []
    await caller.hang_up()
    await agent.ended(10)
    await s.nothing_recorded()


async def test_the_gateway_is_known_to_be_down() -> None:
    async with scene() as s:
        await s.gateway_dies()
        await s.switch.cli_until("pjsip show contacts", " Unavail ")
        watch = Stopwatch()
        await reaches_the_agent_unrecorded(s, await s.call(), watch, "gateway down, noticed by qualify")


async def test_the_gateway_went_down_a_moment_ago() -> None:
    async with scene() as s:
        await s.gateway_dies()
        watch = Stopwatch()
        await reaches_the_agent_unrecorded(s, await s.call(), watch, "gateway down, not noticed yet")


async def test_the_gateway_never_answers_the_invite() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway.incoming(15)
        watch = Stopwatch()
        await reaches_the_agent_unrecorded(s, caller, watch, "gateway never answers the INVITE")
        assert await leg.ended(10) == 487


async def test_the_gateway_is_full() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway.incoming(15)
        watch = Stopwatch()
        await leg.reject(503)
        await reaches_the_agent_unrecorded(s, caller, watch, "gateway answers 503")


async def test_the_gateway_is_killed_in_the_prompt() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        await caller.until(lambda: hears(caller, GATEWAY), 20)
        watch = Stopwatch()
        await s.gateway_dies(leg)
        await reaches_the_agent_unrecorded(s, caller, watch, "gateway killed in the prompt")


async def test_the_gateway_freezes_in_the_prompt_with_its_registration_alive() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        await caller.until(lambda: hears(caller, GATEWAY), 20)
        watch = Stopwatch()
        leg.stop_rtp()
        await reaches_the_agent_unrecorded(s, caller, watch, "gateway's media stop, its SIP lives")


async def test_a_verdict_that_was_set_counts_even_if_the_gateway_dies_right_after() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        channel = await s.decide(leg, "granted")
        watch = Stopwatch()
        await s.gateway_dies(leg)
        agent = await s.agent_answers()
        watch.note("to the agent: gateway killed after the verdict was set")
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 1
        await caller.hang_up()
        await s.all_over()
        assert {PERSON, AGENT} in heard(s.switch.recordings()[0])


ROUTE = """
[consent-example-inbound](+)
exten = 110,1,Set(__CONSENT_FAIL_MODE=refuse_call)
same = n,Goto(100,1)
"""
DUTY: asterisk.Edits = {"extensions": lambda old: old + ROUTE}


async def is_not_connected(s: Scene, caller: Call) -> None:
    await caller.ended(15)
    await s.nothing_recorded()
    assert s.agent.calls == []


async def with_a_duty(s: Scene) -> Call:
    to = s.switch.sip.replace("100@", "110@")
    return speaking(await s.outside.call(to, from_number="+4915550100"), PERSON)


async def test_under_a_duty_to_record_nobody_is_connected_without_the_gateway() -> None:
    async with scene(DUTY) as s:
        await s.gateway_dies()
        await is_not_connected(s, await with_a_duty(s))


@pytest.mark.parametrize(("verdict", "call_id"), [("refused", CALL_ID), ("unknown", CALL_ID), ("granted", "")])
async def test_under_a_duty_to_record_nobody_is_connected_without_a_verdict_for_it(verdict: str, call_id: str) -> None:
    async with scene(DUTY) as s:
        caller = await with_a_duty(s)
        leg = await s.gateway_answers()
        await s.decide(leg, verdict, call_id)
        await leg.hang_up()
        await is_not_connected(s, caller)


async def test_under_a_duty_to_record_a_call_that_is_recorded_is_connected() -> None:
    async with scene(DUTY) as s:
        caller = await with_a_duty(s)
        leg = await s.gateway_answers()
        channel = await s.decide(leg, "not_required")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 1
        await caller.hang_up()
        await s.all_over()


async def test_the_caller_hangs_up_in_the_prompt() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        await caller.until(lambda: hears(caller, GATEWAY), 20)
        await caller.hang_up()
        assert await leg.ended(10) == 200
        await s.nothing_recorded()
        assert s.agent.calls == []
