"""A real Asterisk with our dialplan between four scripted phones. One of them, and an AMI connection, play the gateway.

Everybody sends one constant code, so that who hears whom is a matter of looking at the packets.
"""

import time
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway.adapters.softphone import Call, Softphone
from gateway.media import g711
from tests.support import asterisk
from tests.support.ami import Ami, logged_in

CALL_ID = "01K0W9G9V7R5D2Q4M8T3X6Y1ZB"
POLICY = "de-sales_2@1.4"
PERSON, AGENT, GATEWAY, RINGING = 0x21, 0x35, 0x48, 0x5C
"""The mu-law codes that the person outside, the agent, the gateway's prompt and the agent's early media consist of."""
FIGURES: dict[str, list[float]] = {}


def level(code: int) -> int:
    """The sample that a code stands for."""
    return int(g711.decode("PCMU", bytes([code]))[0])


def speaking(call: Call, code: int) -> Call:
    """Let a call send *code* from now on."""
    call.audio_source = lambda _packet: bytes([code]) * 160
    return call


def hears(call: Call, code: int) -> bool:
    """Whether one of the last packets carries *code*."""
    return any(code in packet[3] for packet in call.received[-10:])


def hears_only(call: Call, code: int) -> bool:
    """Whether the last packets consist of *code*: a prompt has every code in it somewhere."""
    return len(call.received) > 3 and all(set(packet[3]) == {code} for packet in call.received[-3:])


def header(call: Call, name: str) -> str | None:
    """A header of the INVITE that a call came with."""
    return next((value for key, value in call.headers if key.lower() == name.lower()), None)


def heard(path: Path) -> set[int]:
    """Every sample value of a finished recording."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        return set(np.frombuffer(file.readframes(file.getnframes()), "<i2").tolist())


@dataclass
class Scene:
    """The PBX and the phones."""

    switch: asterisk.Asterisk
    gateway: Softphone
    agent: Softphone
    outside: Softphone
    ami: Ami
    """The gateway's connection; it ends with the gateway."""
    ami_closes: AsyncExitStack
    observer: Ami
    """A connection that outlives the gateway: what really happened."""

    async def call(self) -> Call:
        """A person calls from outside."""
        return speaking(await self.outside.call(self.switch.sip, from_number="+4915550100"), PERSON)

    async def gateway_answers(self) -> Call:
        """The gateway takes the call that Asterisk sends it."""
        leg = speaking(await self.gateway.incoming(15), GATEWAY)
        await leg.accept()
        return leg

    async def decide(self, leg: Call, verdict: str, call_id: str = CALL_ID) -> str:
        """Set the gateway's variables on the channel it was asked about, and return that channel's Uniqueid."""
        channel = header(leg, "X-Consent-Channel")
        assert channel
        values = {"CALL_ID": call_id, "BASIS": "consent", "POLICY": POLICY, "VERDICT": verdict}
        for name, value in values.items():
            await self.ami.set_variable(channel, f"CONSENT_{name}", value)
        return channel

    async def agent_answers(self) -> Call:
        """The agent takes the next call."""
        leg = speaking(await self.agent.incoming(30), AGENT)
        await leg.accept()
        return leg

    async def connected(self, person: Call, agent: Call) -> None:
        """Wait until both hear each other, and have gone on doing so for a second."""
        await person.until(lambda: hears(person, AGENT) and hears(agent, PERSON), 20)
        enough = len(person.received) + 50, len(agent.received) + 50
        await person.until(lambda: len(person.received) > enough[0] and len(agent.received) > enough[1], 20)
        assert hears(person, AGENT)
        assert hears(agent, PERSON)

    async def recorders(self, channel: str) -> int:
        """How many MixMonitors run on a channel, as Asterisk's own console lists them."""
        name = await self.observer.variable(channel, "CHANNEL(name)")
        listed = (await self.switch.cli(f"mixmonitor list {name}")).splitlines()
        assert listed and listed[0].startswith("MixMonitor ID"), listed
        return sum(line.startswith("0x") for line in listed)

    async def all_over(self) -> None:
        """Wait until no channel is left: then every file is final."""
        await self.switch.cli_until("core show channels count", "0 active channels")

    async def nothing_recorded(self) -> None:
        """End of a call of which nothing may be kept: no file, and no recorder was ever started."""
        await self.all_over()
        assert self.switch.recordings() == []
        assert not [event for event in self.observer.events if event["Event"] == "MixMonitorStart"]

    async def gateway_dies(self, leg: Call | None = None) -> None:
        """The gateway is gone without a word: no SIP, no RTP, no AMI."""
        if leg is not None:
            leg.vanish()
        await self.gateway.close()
        await self.ami_closes.aclose()


@asynccontextmanager
async def scene(edits: asterisk.Edits | None = None) -> AsyncIterator[Scene]:
    async with (
        await Softphone.open(user="consent") as gateway,
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as outside,
        asterisk.running(gateway=gateway.address, agent=agent.address, trunk=outside.address, edits=edits) as switch,
        AsyncExitStack() as ami_closes,
    ):
        FIGURES.setdefault("Asterisk boots", []).append(switch.boot_s)
        secret = switch.secrets["consent-gateway"]
        ami = await ami_closes.enter_async_context(logged_in(switch.ami_port, "consent-gateway", secret))
        async with logged_in(switch.ami_port, "consent-gateway", secret) as observer:
            await switch.cli_until("pjsip show contacts", " Avail ")
            yield Scene(switch, gateway, agent, outside, ami, ami_closes, observer)


class Stopwatch:
    """Measures from its making to `note`."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def note(self, name: str) -> None:
        FIGURES.setdefault(name, []).append(time.monotonic() - self._begun)
