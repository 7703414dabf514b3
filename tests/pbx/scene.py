"""A real Asterisk with our dialplan between four scripted phones. One of them, and an AMI connection, play the gateway.

Everybody sends numbered packets in a voice of his own, so that who hears whom is a matter of looking at the packets,
and every sample of a recording names who sent it and when.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gateway.adapters.softphone import Call, Softphone
from tests.pbx.figures import FIGURES
from tests.pbx.judging import end_of_recorder, everybody_hangs_up, note, told_of
from tests.support import asterisk
from tests.support.ami import Ami, logged_in
from tests.support.cast import CAST
from tests.support.judged import State, Timeline, judge, read
from tests.support.mixed import AGENT, GATEWAY, PERSON, VOICES, Samples, Voice, taken_apart

SILENCE = b"\xff" * 160
CALL_ID = "01K0W9G9V7R5D2Q4M8T3X6Y1ZB"
POLICY = "de-sales_2@1.4"


def speaking(call: Call, voice: Voice) -> Call:
    """Let a call send numbered packets of *voice* from now on."""
    CAST.speaks(call, voice)
    return call


def silent(call: Call) -> None:
    """Let a call send silence from now on: of two who speak at once a conference makes sums that are rounded."""
    call.audio_source = lambda packet: SILENCE


def hears(call: Call, voice: Voice) -> bool:
    """Whether one of the last packets is *voice* alone."""
    return any(voice.sounds_in(packet[3]) for packet in call.received[-10:])


def hears_only(call: Call, voice: Voice) -> bool:
    """Whether the last packets are *voice* alone."""
    return len(call.received) > 3 and all(voice.sounds_in(packet[3]) for packet in call.received[-3:])


def header(call: Call, name: str) -> str | None:
    """A header of the INVITE that a call came with."""
    return next((value for key, value in call.headers if key.lower() == name.lower()), None)


def heard(path: Path) -> set[frozenset[Voice]]:
    """Who is heard at the same time anywhere in a finished recording."""
    return voices(read(path))


def voices(samples: Samples) -> set[frozenset[Voice]]:
    """Who is heard at the same time anywhere in these samples."""
    together = np.unique(taken_apart(samples) != 0, axis=0)
    return {frozenset(voice for voice, there in zip(VOICES, row, strict=True) if there) for row in together}


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
    decided_ns: list[int] = field(default_factory=list)
    """When a verdict was about to be set."""
    rogues: set[str] = field(default_factory=set)
    """Names of files whose recorders the test itself started: they may hold whom they like."""

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
        self.decided_ns.append(time.monotonic_ns())
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

    async def judged(self) -> None:
        """End everything, and judge each file by what the AMI told of its recorder: there is no evidence here."""
        await everybody_hangs_up(self.switch)
        starts = [
            (at_ns, event["Uniqueid"])
            for at_ns, event in zip(self.observer.arrived_ns, self.observer.events, strict=True)
            if event["Event"] == "MixMonitorStart"
        ]
        sent = CAST.sent()
        for path, (started_ns, channel) in zip(self.switch.recordings(), starts, strict=True):
            line = Timeline(path.name)
            line.add(max(at_ns for at_ns in self.decided_ns if at_ns < started_ns), State.BETWEEN, "verdict")
            if path.name not in self.rogues:
                for joined_ns in told_of(self.observer, channel, started_ns, "BridgeEnter"):
                    line.add(joined_ns, State.CERTAIN, "bridged")
                ended_ns = end_of_recorder(self.observer, channel, started_ns)
                line.marks = [mark for mark in line.marks if mark[0] < ended_ns]
                line.add(ended_ns, State.FORBIDDEN, "end")
            judgement = judge(path.name, read(path), line, sent)
            judgement.insist()
            note(judgement)

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
            made = Scene(switch, gateway, agent, outside, ami, ami_closes, observer)
            yield made
            await made.judged()


class Stopwatch:
    """Measures from its making to `note`."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def note(self, name: str) -> None:
        FIGURES.setdefault(name, []).append(time.monotonic() - self._begun)
