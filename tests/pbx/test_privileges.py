"""What the shipped AMI user may do, and what it may not: whoever has its secret has no shell."""

import pytest

from tests.pbx.scene import scene
from tests.support.ami import AmiError, logged_in

pytestmark = pytest.mark.slow

REFUSED: tuple[tuple[str, dict[str, str]], ...] = (
    ("Command", {"Command": "core show version"}),
    ("Originate", {"Channel": "PJSIP/agent", "Application": "System", "Data": "touch {mark}"}),
    ("Originate", {"Channel": "PJSIP/agent", "Context": "consent-gate", "Exten": "s", "Priority": "1"}),
    ("MixMonitor", {"Channel": "{channel}", "File": "x.wav", "Command": "touch {mark}"}),
    ("MixMonitor", {"Channel": "{channel}", "File": "x.wav"}),
    ("GetConfig", {"Filename": "manager.conf"}),
    ("UpdateConfig", {"SrcFilename": "extensions.conf", "DstFilename": "extensions.conf", "Reload": "yes"}),
    ("DialplanExtensionAdd", {"Context": "x", "Extension": "s", "Priority": "1", "Application": "System"}),
    ("ModuleLoad", {"LoadType": "reload"}),
    ("Getvar", {"Channel": "{channel}", "Variable": "SHELL(touch {mark})"}),
    ("Setvar", {"Channel": "{channel}", "Variable": "FILE({mark})", "Value": "x"}),
)


async def test_the_gateways_user_is_refused_what_leads_to_a_shell() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        channel = await s.decide(leg, "refused")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        mark = s.switch.folder / "mark"
        for action, headers in REFUSED:
            filled = {key: value.format(mark=mark, channel=channel) for key, value in headers.items()}
            answer = await s.ami.ask(action, **filled)
            assert answer["Response"] == "Error", (action, filled, answer)
        # Asterisk answers Success to this one and gives nothing; that it refused stands in its log.
        assert await s.ami.variable(channel, f"FILE({s.switch.folder}/etc/manager.conf)") == ""
        assert "Dangerous function FILE read blocked" in s.switch.log.read_text()
        await caller.hang_up()
        await s.nothing_recorded()
        assert not mark.exists()


async def test_the_gateways_user_may_do_what_the_gateway_needs() -> None:
    async with scene() as s:
        caller = await s.call()
        leg = await s.gateway_answers()
        channel = await s.decide(leg, "granted")
        await leg.hang_up()
        agent = await s.agent_answers()
        await s.connected(caller, agent)
        recorder = await s.ami.variable(channel, "CONSENT_MIXMONITOR_ID")
        name = await s.ami.variable(channel, "CHANNEL(name)")
        await s.ami.action("MixMonitorMute", Channel=name, State="1", Direction="both", MixMonitorID=recorder)
        with pytest.raises(AmiError):
            await s.ami.action("MixMonitorMute", Channel=name, State="1", Direction="both", MixMonitorID="0x1")
        await s.ami.action("Setvar", Variable="DEVICE_STATE(Custom:consent-agent)", Value="RINGING")
        await s.ami.action("StopMixMonitor", Channel=name, MixMonitorID=recorder)
        assert await s.recorders(channel) == 0
        assert await s.ami.variable(channel, f"MIXMONITOR({recorder},filename)") == ""
        await s.ami.action("CoreShowChannels")
        await s.ami.event("CoreShowChannel", Uniqueid=channel)
        await s.ami.action("Hangup", Channel=name)
        await caller.ended(10)


async def test_the_opt_in_user_has_a_shell_which_is_why_it_is_opt_in() -> None:
    async with scene() as s:
        secret = s.switch.secrets["consent-gateway-recorder"]
        async with logged_in(s.switch.ami_port, "consent-gateway-recorder", secret) as recorder:
            caller = await s.call()
            leg = await s.gateway_answers()
            channel = await s.decide(leg, "refused")
            await leg.hang_up()
            agent = await s.agent_answers()
            await s.connected(caller, agent)
            mark = s.switch.folder / "mark"
            name = await s.observer.variable(channel, "CHANNEL(name)")
            await recorder.action("MixMonitor", Channel=name, File="again.wav", Command=f"touch {mark}")
            assert await s.recorders(channel) == 1
            await caller.hang_up()
            await caller.until(mark.exists, 20)
            assert (await recorder.ask("Command", Command="core show version"))["Response"] == "Error"
