"""A real Asterisk beside a gateway that is a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.adapters.softphone import Softphone
from tests.pbx.judging import everybody_hangs_up, judge_files, logged
from tests.pbx.scene import Scene
from tests.support import asterisk
from tests.support.ami import logged_in
from tests.support.serving import Served
from tests.support.site import MODULES, SITE


@asynccontextmanager
async def served(folder: Path, *, calls: int = 1, judged: bool = True) -> AsyncIterator[tuple[Scene, Served]]:
    """A PBX whose gateway is a process of its own. The scene's gateway phone is not used. *judged*: at the end the
    gateway is stopped, and every file is judged by its evidence."""
    async with (
        await Softphone.open(user="unused") as unused,
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as outside,
    ):
        process = Served(folder, agent.address, calls=calls)
        async with asterisk.running(
            gateway=f"127.0.0.1:{process.sip_port}",
            agent=agent.address,
            trunk=outside.address,
            edits=SITE,
            modules=MODULES,
        ) as switch:
            secret = switch.secrets["consent-gateway"]
            (folder / "ami.secret").write_text(f"{secret}\n")
            process.config.write_text(
                f'{process.config.read_text()}[[asterisk]]\nami = "127.0.0.1:{switch.ami_port}"\n'
                f'secret_file = "{folder / "ami.secret"}"\nsource = "127.0.0.1:{switch.sip_port}"\n'
                f'agents = ["PJSIP/agent"]\nspool = "{switch.spool / "monitor"}"\n'
            )
            await process.start()
            try:
                async with logged_in(switch.ami_port, "consent-gateway", secret) as observer:
                    await switch.cli_until("pjsip show contacts", " Avail ")
                    yield Scene(switch, unused, agent, outside, observer, None, observer), process  # type: ignore[arg-type]
                    if judged:
                        await everybody_hangs_up(switch)
                        await process.stop()
                        judge_files(await logged(folder), switch, observer)
            finally:
                await process.stop()
                process.kill_workers()
