"""What becomes of a call that the gateway was asked about, by its verdict. Real Asterisk, the dialplan as shipped."""

import pytest

from tests.pbx.scene import CALL_ID, POLICY, Stopwatch, header, heard, hears, scene, speaking
from tests.support.mixed import AGENT, GATEWAY, PERSON, RINGING

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("verdict", ["granted", "not_required"])
async def test_a_call_that_may_be_recorded_is_on_the_callers_channel(verdict: str) -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        await caller.until(lambda: hears(caller, GATEWAY) and hears(leg, PERSON), 20)
        assert s.switch.recordings() == []
        assert header(leg, "X-Consent-Called") == "100"
        channel = await s.decide(leg, verdict)
        assert header(leg, "X-Consent-Linkedid") == channel
        watch = Stopwatch()
        await leg.hang_up()
        agent = await s.agent.incoming(30)
        watch.note("verdict to the agent's INVITE")
        assert header(agent, "X-Consent-Verdict") == verdict
        assert header(agent, "X-Consent-Call-ID") == CALL_ID
        await speaking(agent, AGENT).accept()
        await s.connected(caller, agent)
        assert await s.observer.variable(channel, "CONSENT_BASIS") == "consent"
        assert await s.observer.variable(channel, "CONSENT_POLICY") == POLICY
        started = await s.observer.event("MixMonitorStart")
        assert started["Uniqueid"] == channel
        assert await s.recorders(channel) == 1
        recorder = await s.observer.variable(channel, "CONSENT_MIXMONITOR_ID")
        name = await s.observer.variable(channel, f"MIXMONITOR({recorder},filename)")
        await caller.until(lambda: [str(path) for path in s.switch.recordings()] == [name], 20)
        assert s.switch.recordings()[0].name.startswith(f"{CALL_ID}-")
        await caller.hang_up()
        await agent.ended(10)
        await s.all_over()
        assert {PERSON, AGENT} in heard(s.switch.recordings()[0])


@pytest.mark.parametrize(
    ("verdict", "call_id", "shown"),
    [
        ("refused", CALL_ID, "refused"),
        ("unanswered", CALL_ID, "unanswered"),
        ("unclear", CALL_ID, "unclear"),
        ("withdrawn", CALL_ID, "withdrawn"),
        ("unknown", CALL_ID, "unknown"),
        ("", CALL_ID, "unknown"),
        ("GRANTED", CALL_ID, "unknown"),
        ("granted", "", "unknown"),
        ("granted", "../../../tmp/x", "unknown"),
    ],
)
async def test_without_a_granted_verdict_the_agent_is_connected_and_nothing_is_recorded(
    verdict: str, call_id: str, shown: str
) -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        channel = await s.decide(leg, verdict, call_id)
        await leg.hang_up()
        agent = await s.agent_answers()
        assert header(agent, "X-Consent-Verdict") == shown
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 0
        await agent.hang_up()
        await caller.ended(10)
        await s.nothing_recorded()


async def test_a_gateway_that_says_nothing_leaves_the_verdict_unknown() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        await leg.hang_up()
        agent = await s.agent.incoming(30)
        assert header(agent, "X-Consent-Verdict") == "unknown"
        assert header(agent, "X-Consent-Call-ID") is None
        await speaking(agent, AGENT).accept()
        await s.connected(caller, agent)
        await caller.hang_up()
        await s.nothing_recorded()


async def test_ringing_and_early_media_are_never_recorded() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        await s.decide(leg, "granted")
        await leg.hang_up()
        agent = speaking(await s.agent.incoming(30), RINGING)
        await agent.early_media()
        await caller.until(lambda: hears(caller, RINGING), 20)
        await s.observer.event("MixMonitorStart")
        speaking(agent, AGENT)
        await caller.until(lambda: hears(caller, AGENT) and not hears(caller, RINGING), 20)
        await agent.accept()
        await s.connected(caller, agent)
        await caller.hang_up()
        await s.all_over()
        assert {PERSON, AGENT} in heard(s.switch.recordings()[0])


async def test_a_second_question_in_the_same_call_stops_the_recorder_and_names_the_call() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        assert header(leg, "X-Consent-Call-ID") is None
        channel = await s.decide(leg, "granted")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 1
        await s.ami.action("Redirect", Channel=channel, Context="consent-example-inbound", Exten="100", Priority="1")
        leg = await s.gateway_answers()
        assert header(leg, "X-Consent-Channel") == channel
        assert header(leg, "X-Consent-Call-ID") == CALL_ID
        assert await s.recorders(channel) == 0
        await s.decide(leg, "granted")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        await caller.hang_up()
        await s.all_over()
        first, second = s.switch.recordings()
        assert {PERSON, AGENT} in heard(first) & heard(second)


async def test_a_grant_does_not_outlive_a_second_question_that_nobody_answers() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        channel = await s.decide(leg, "granted")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        await s.ami.action("Redirect", Channel=channel, Context="consent-example-inbound", Exten="100", Priority="1")
        await s.gateway_dies(await s.gateway_answers())
        agent = await s.agent.incoming(30)
        assert header(agent, "X-Consent-Verdict") == "unknown"
        await speaking(agent, AGENT).accept()
        await s.connected(caller, agent)
        assert await s.recorders(channel) == 0
        await caller.hang_up()
        await s.all_over()
        assert len(s.switch.recordings()) == 1


async def test_keys_of_both_sides_reach_the_gateway_in_the_call() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        channel = await s.decide(leg, "refused")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        await caller.send_digit("5")
        key = await s.observer.event("DTMFEnd", Digit="5", Direction="Received")
        assert key["Uniqueid"] == channel
        await agent.send_digit("7")
        key = await s.observer.event("DTMFEnd", Digit="7", Direction="Received")
        assert key["Uniqueid"] != channel
        assert key["Linkedid"] == channel
        await caller.hang_up()
        await s.nothing_recorded()


async def test_what_the_caller_dials_does_not_become_options_of_dial() -> None:
    async with scene() as s:
        # Brackets and carets are what the options of Dial are made of.
        dialled = "100)G(consent-lamp-off%5Es%5E1"
        caller = speaking(await s.outside.call(f"sip:{dialled}@127.0.0.1:{s.switch.sip_port}"), PERSON)
        leg = await s.gateway_answers()
        assert header(leg, "X-Consent-Called") == "100Gconsentlampoffs1"
        await caller.until(lambda: hears(caller, GATEWAY), 20)
        await s.decide(leg, "refused")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        await caller.hang_up()
        await s.nothing_recorded()


async def test_nobody_becomes_the_gateway_by_saying_so() -> None:
    async with scene() as s:
        caller = await s.outside.call(s.switch.sip, from_number="consent-gateway")
        leg = await s.gateway_answers()
        name = await s.observer.variable(str(header(leg, "X-Consent-Channel")), "CHANNEL(name)")
        assert name.startswith("PJSIP/anonymous-")
        await caller.hang_up()
        await s.nothing_recorded()
