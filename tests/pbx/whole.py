"""A real Asterisk, the gateway as it is shipped, and the phones of a person outside and of an agent.

Both send numbered packets, so that every sample of a recording tells whose it is and when it was sent. At the end of
every test all files are judged by the evidence, packet by packet.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from gateway.adapters.config.settings import Asterisk as AsteriskSettings
from gateway.adapters.config.settings import RecorderLogin
from gateway.adapters.softphone import Call, Softphone
from gateway.api.app import make_app
from gateway.app.pbx_session import PbxSession
from gateway.bootstrap import Gateway
from gateway.domain import commands as do
from gateway.evidence.bundle import verify_bundle
from tests.pbx.judging import everybody_hangs_up, judge_files, logged
from tests.pbx.scene import hears_only, speaking
from tests.support import asterisk
from tests.support import gateway as support
from tests.support.ami import Ami, logged_in
from tests.support.mixed import AGENT, PERSON
from tests.support.site import MODULES, SITE
from tests.support.wire import Wire, wire


@dataclass
class Whole:
    """The PBX, the gateway and the phones."""

    folder: Path
    switch: asterisk.Asterisk
    agent: Softphone
    outside: Softphone
    observer: Ami
    settings: support.Settings
    gateways: AsyncExitStack
    wire: Wire
    """Between the gateway and Asterisk's manager interface."""
    rogues: dict[str, bool] = field(default_factory=dict)
    """How the names of files begin whose recorders the test itself started, and whether the gateway can stop them."""
    to_judge: bool = True
    """Whether the files are judged at the end."""
    gateway: Gateway = field(init=False)
    journal: support.Journal = field(init=False)

    async def start_gateway(self) -> None:
        """Start the gateway, and wait until it and Asterisk see each other."""
        self.gateway, self.journal = await self.gateways.enter_async_context(support.running(self.settings))
        await self.switch.cli_until("pjsip show contacts", " Avail ")
        await self.until(lambda: not self.gateway.not_ready())

    async def call(self, to: str = "") -> tuple[Call, PbxSession]:
        """A person calls from outside and hears the gateway."""
        call = speaking(await self.outside.call(to or self.switch.sip, from_number="+4915550100"), PERSON)
        return call, await self.session()

    async def session(self) -> PbxSession:
        """The newest live call of the gateway."""
        await self.until(lambda: bool(self.gateway.switchboard.sessions))
        session = list(self.gateway.switchboard.sessions.values())[-1]
        assert isinstance(session, PbxSession)
        return session

    async def asked(self, session: PbxSession) -> None:
        """Wait until the caller is being asked and his keys count."""
        assert await session.wait_for(lambda: session.call.phase == "asking", 10_000)
        await asyncio.sleep(0.4)

    async def agent_answers(self) -> Call:
        """The agent takes the next call."""
        leg = speaking(await self.agent.incoming(15), AGENT)
        await leg.accept()
        return leg

    async def connected(self, person: Call, agent: Call) -> None:
        """Wait until both hear each other."""
        await person.until(lambda: hears_only(person, AGENT) and hears_only(agent, PERSON), 10)

    async def judged(self) -> None:
        """End everything, and judge all files."""
        await everybody_hangs_up(self.switch)
        await self.until(lambda: not self.gateway.switchboard.sessions, 15)
        await self.gateways.aclose()
        opened = [(what, at_ns) for at_ns, _, what in self.journal.entries if isinstance(what, do.OpenRecorder)]
        durable = {what.recording: at_ns for what, at_ns in opened}
        judge_files(await logged(self.folder), self.switch, self.observer, self.rogues, durable)

    async def over(self, session: PbxSession) -> dict[str, list[dict[str, object]]]:
        """Wait for the end of the call, check its evidence offline, and return its entries by kind."""
        await asyncio.wait_for(session.over.wait(), 15)
        log = self.gateway.services.evidence
        verify_bundle(await log.export(session.call_id), log.verifier_key())
        entries: dict[str, list[dict[str, object]]] = {}
        for entry in await log.entries(session.call_id):
            entries.setdefault(entry.kind, []).append(dict(entry.facts))
        return entries

    @asynccontextmanager
    async def agents_api(self) -> AsyncIterator[httpx.AsyncClient]:
        """The gateway's HTTP interface, with the key of the agent "agent"."""
        _, clear = await self.gateway.api_keys.create("hotkey", "agent", "agent")
        app = make_app(
            self.gateway.switchboard, self.gateway.api_keys, self.gateway.policies, is_ready=self.gateway.not_ready
        )
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {clear}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as api:
            yield api

    def rogue(self) -> AbstractAsyncContextManager[Ami]:
        """Somebody else's connection, with class `system`."""
        name = "consent-gateway-recorder"
        return logged_in(self.switch.ami_port, name, self.switch.secrets[name])

    async def until(self, condition: Callable[[], Awaitable[bool] | bool], timeout_s: float = 10) -> None:
        """Wait until *condition* holds of what calls nobody back."""
        async with asyncio.timeout(timeout_s):
            while not (found if isinstance(found := condition(), bool) else await found):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def recorders(self, session: PbxSession) -> list[str]:
        """The files of the recorders that run on the asked person's channel, as Asterisk's own console lists them."""
        name = await self.variable(session, "CHANNEL(name)")
        listed = (await self.switch.cli(f"mixmonitor list {name}")).splitlines()
        assert listed and listed[0].startswith("MixMonitor ID"), listed
        return [line.split("\t")[1] for line in listed if line.startswith("0x")]

    async def records(self, session: PbxSession, *names: str) -> bool:
        """Whether exactly the recorders with these in their files' names run."""
        files = await self.recorders(session)
        return len(files) == len(names) and all(name in file for name, file in zip(names, files, strict=True))

    async def variable_becomes(self, session: PbxSession, name: str, value: str) -> None:
        """Wait until a variable of the asked person's channel has a value."""

        async def has() -> bool:
            return await self.variable(session, name) == value

        await self.until(has)

    async def variable(self, session: PbxSession, name: str) -> str:
        """A variable of the asked person's channel."""
        return await self.observer.variable(session.channel.channel, name)


@asynccontextmanager
async def whole(
    folder: Path,
    *,
    agents: tuple[str, ...] = ("PJSIP/agent",),
    client: Literal["own", "asterisk-ami"] = "own",
    starts_recorders: bool = False,
    judged: bool = True,
    lengths_ms: dict[str, int] | None = None,
    **policy: str,
) -> AsyncIterator[Whole]:
    """A started PBX with a started gateway. *judged*: at the end every file is judged by the evidence."""
    port = asterisk.free_port(socket.SOCK_DGRAM)
    async with (
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as outside,
        asterisk.running(
            gateway=f"127.0.0.1:{port}", agent=agent.address, trunk=outside.address, edits=SITE, modules=MODULES
        ) as switch,
        logged_in(switch.ami_port, "consent-gateway", switch.secrets["consent-gateway"]) as observer,
        wire(switch.ami_port) as cable,
        AsyncExitStack() as gateways,
    ):
        bind = f"127.0.0.1:{port}"
        settings = support.settings(folder, agent.address, calls=2, bind=bind, lengths_ms=lengths_ms, **policy)
        pbx = AsteriskSettings(
            ami=f"127.0.0.1:{cable.port}",
            secret=switch.secrets["consent-gateway"],
            source=f"127.0.0.1:{switch.sip_port}",
            agents=agents,
            client=client,
            recorder=RecorderLogin(secret=switch.secrets["consent-gateway-recorder"]) if starts_recorders else None,
            spool=switch.spool / "monitor",
        )
        made = Whole(
            folder, switch, agent, outside, observer, settings.model_copy(update={"asterisk": (pbx,)}), gateways, cable
        )
        made.to_judge = judged
        await made.start_gateway()
        yield made
        if made.to_judge:
            await made.judged()
