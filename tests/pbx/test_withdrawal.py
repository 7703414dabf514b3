"""The caller takes consent back by feature code. It is Asterisk's own, so it works without a gateway."""

import pytest

from gateway.adapters.softphone import Call
from tests.pbx.scene import Scene, heard, scene
from tests.support.cast import still_hear
from tests.support.mixed import AGENT, PERSON

pytestmark = pytest.mark.slow


async def recorded_call(s: Scene) -> tuple[str, Call, Call]:
    caller = await s.call()
    leg = await s.gateway_answers()
    channel = await s.decide(leg, "granted")
    await leg.hang_up()
    agent = await s.agent_answers()
    await s.connected(caller, agent)
    assert await s.recorders(channel) == 1
    return channel, caller, agent


async def type_code(call: Call, code: str) -> None:
    for key in code:
        await call.send_digit(key)


async def lamp(s: Scene) -> str:
    answer = await s.observer.action("ExtensionState", Exten="lamp-agent", Context="consent-hints")
    return answer["StatusText"]


async def test_the_caller_withdraws_with_the_gateway_dead() -> None:
    async with scene() as s:
        channel, caller, agent = await recorded_call(s)
        await s.gateway_dies()
        assert await lamp(s) == "InUse"
        await type_code(caller, "*90")
        await s.observer.event("MixMonitorStop", Uniqueid=channel)
        said = await s.observer.event("UserEvent", UserEvent="ConsentWithdrawn")
        assert said["Uniqueid"] == channel
        assert await s.recorders(channel) == 0
        assert await lamp(s) == "Idle"
        size = s.switch.recordings()[0].stat().st_size
        await still_hear(caller, agent)
        assert await s.observer.variable(channel, "CONSENT_VERDICT") == "withdrawn"
        await caller.hang_up()
        await agent.ended(10)
        await s.all_over()
        (path,) = s.switch.recordings()
        assert path.stat().st_size == size
        assert {PERSON, AGENT} in heard(path)


async def test_the_agents_keys_withdraw_nothing() -> None:
    async with scene() as s:
        channel, caller, agent = await recorded_call(s)
        await type_code(agent, "*90")
        await caller.until(lambda: "".join(digit.digit for digit in caller.digits) == "*90", 20)
        assert await s.recorders(channel) == 1
        assert await lamp(s) == "InUse"
        await agent.hang_up()
        await caller.ended(10)
        await s.all_over()
        assert await lamp(s) == "Idle"


async def test_a_withdrawal_does_not_touch_the_recorder_of_somebody_else() -> None:
    async with scene() as s:
        channel, caller, _ = await recorded_call(s)
        name = await s.observer.variable(channel, "CHANNEL(name)")
        ours = await s.observer.variable(channel, "CONSENT_MIXMONITOR_ID")
        s.rogues.add("of-the-site.wav")
        await s.switch.cli(f"mixmonitor start {name} of-the-site.wav")
        assert await s.recorders(channel) == 2
        await type_code(caller, "*90")
        await s.observer.event("UserEvent", UserEvent="ConsentWithdrawn")
        assert await s.recorders(channel) == 1
        assert await s.observer.variable(channel, f"MIXMONITOR({ours},filename)") == ""
        await type_code(caller, "*90")
        await s.observer.event("DTMFEnd", Digit="0", Direction="Received")
        assert await s.recorders(channel) == 1
        await caller.hang_up()
