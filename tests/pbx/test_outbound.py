"""Calls to outside: the person called is asked after answering and before the agent is joined."""

import pytest

from gateway.adapters.softphone import Call
from tests.pbx.scene import Scene, Stopwatch, header, heard, hears, scene, speaking
from tests.support.mixed import AGENT, GATEWAY, PERSON

pytestmark = pytest.mark.slow


async def call_and_answer(s: Scene) -> tuple[Call, Call]:
    """The agent calls, the person answers. Returns the agent's call and the person's."""
    agent = await s.agent.call(f"sip:4915550100@127.0.0.1:{s.switch.sip_port}", from_number="agent")
    person = speaking(await s.outside.incoming(15), PERSON)
    await person.accept()
    return speaking(agent, AGENT), person


async def test_a_person_who_agrees_is_recorded() -> None:
    async with scene() as s:
        agent, person = await call_and_answer(s)
        leg = await s.gateway_answers()
        await person.until(lambda: hears(person, GATEWAY) and hears(leg, PERSON), 20)
        assert not agent.is_answered
        channel = await s.decide(leg, "granted")
        assert (await s.observer.variable(channel, "CHANNEL(name)")).startswith("PJSIP/trunk-")
        assert header(leg, "X-Consent-Linkedid") == await s.observer.variable(channel, "CHANNEL(linkedid)") != channel
        assert (leg.from_number, header(leg, "X-Consent-Called")) == ("4915550100", None)
        await leg.hang_up()
        await agent.answered(20)
        await s.connected(person, agent)
        assert await s.recorders(channel) == 1
        await agent.hang_up()
        await person.ended(10)
        await s.all_over()
        assert {PERSON, AGENT} in heard(s.switch.recordings()[0])


@pytest.mark.parametrize("verdict", ["refused", "unanswered"])
async def test_a_person_who_does_not_is_not(verdict: str) -> None:
    async with scene() as s:
        agent, person = await call_and_answer(s)
        leg = await s.gateway_answers()
        channel = await s.decide(leg, verdict)
        await leg.hang_up()
        await agent.answered(20)
        await s.connected(person, agent)
        assert await s.recorders(channel) == 0
        await person.hang_up()
        await agent.ended(10)
        await s.nothing_recorded()


async def test_without_a_gateway_they_are_joined_unrecorded() -> None:
    async with scene() as s:
        await s.gateway_dies()
        await s.switch.cli_until("pjsip show contacts", " Unavail ")
        agent, person = await call_and_answer(s)
        watch = Stopwatch()
        await agent.answered(20)
        watch.note("to the agent: outbound, gateway down")
        await s.connected(person, agent)
        await person.hang_up()
        await agent.ended(10)
        await s.nothing_recorded()


async def test_the_gateway_is_killed_while_it_asks() -> None:
    async with scene() as s:
        agent, person = await call_and_answer(s)
        leg = await s.gateway_answers()
        await person.until(lambda: hears(person, GATEWAY), 20)
        watch = Stopwatch()
        await s.gateway_dies(leg)
        await agent.answered(20)
        watch.note("to the agent: outbound, gateway killed in the prompt")
        await s.connected(person, agent)
        await person.hang_up()
        await s.nothing_recorded()


async def test_the_person_hangs_up_while_being_asked() -> None:
    async with scene() as s:
        agent, person = await call_and_answer(s)
        leg = await s.gateway_answers()
        await person.until(lambda: hears(person, GATEWAY), 20)
        await person.hang_up()
        assert await leg.ended(10) == 200
        assert await agent.ended(10) >= 400
        assert not agent.is_answered
        await s.nothing_recorded()


async def test_the_agent_hangs_up_while_the_person_is_asked() -> None:
    async with scene() as s:
        agent, person = await call_and_answer(s)
        leg = await s.gateway_answers()
        linked = header(leg, "X-Consent-Linkedid")
        await person.until(lambda: hears(person, GATEWAY), 20)
        await agent.hang_up()
        await s.observer.event("HangupRequest", Uniqueid=str(linked))
        await s.decide(leg, "granted")
        await leg.hang_up()
        await person.ended(10)
        await s.all_over()
        assert all(heard(path) == set() for path in s.switch.recordings())
        assert s.outside.calls == []
