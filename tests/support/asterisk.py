"""A real Asterisk for tests: the package's own, with what only tests need: users, routes, kills, restarts."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from gateway.adapters.asterisk import local
from gateway.adapters.asterisk.local import AsteriskFailed, AsteriskMissing, Peers, configure, find_asterisk, free_port
from gateway.adapters.asterisk.local.server import BOOT_TIMEOUT_S
from gateway.app.tasks import spawn

__all__ = ["FRAGMENTS", "Asterisk", "AsteriskFailed", "AsteriskMissing", "Edits", "free_port", "running"]

PROJECT = Path(__file__).parents[2]
FRAGMENTS = PROJECT / "dialplan" / "asterisk"
MODULES = "bridge_softmix app_system func_env func_shell"
ROUTES = """
[of-the-site]
exten = stranger,1,Dial(PJSIP/trunk)
exten = colleague,1,Dial(PJSIP/agent)
"""
FEATURE = """[applicationmap]
of-the-site = *55,self,NoOp
"""

Edits = Mapping[str, Callable[[str], str]]


class Asterisk(local.Asterisk):
    """A running Asterisk that can be killed and restarted. Made by `running`."""

    async def kill(self) -> None:
        """End it with SIGKILL: no goodbye, and files and database as they are. `start` begins it again."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        self.process = None

    @asynccontextmanager
    async def restarting(self, how: Literal["now", "gracefully", "when convenient"]) -> AsyncIterator[None]:
        """`core restart`: the process replaces itself, at the end of every call, which *how* makes now or waits for.
        Leaving waits until it is fully booted anew."""
        socket_file = self.folder / "run" / "asterisk.ctl"
        before = socket_file.stat().st_ctime_ns
        begun = time.monotonic()
        asking = spawn(self.cli(f"core restart {how}"), name="core restart")  # the console waits for it as we do
        yield
        await asking
        async with asyncio.timeout(BOOT_TIMEOUT_S):
            while not socket_file.exists() or socket_file.stat().st_ctime_ns == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await self.booted(begun)


@asynccontextmanager
async def running(
    *, gateway: str, agent: str, trunk: str, edits: Edits | None = None, modules: str = ""
) -> AsyncIterator[Asterisk]:
    """Start an Asterisk whose gateway, agent and trunk are at these addresses (`host:port`), and stop it after.

    *edits*: for a test of a server that is set up wrongly, a configuration file's name (`pjsip`; a new one begins
    empty) to what makes another text of its text. *modules*: more than the rig's own, with spaces between them.

    A call from user `agent` takes the example's outbound route, any other call the inbound one. Raises
    `AsteriskMissing` when there is none.
    """
    switch = Asterisk()
    try:
        switch.secrets["consent-gateway-recorder"] = secrets.token_hex(24)
        installation = find_asterisk(PROJECT)
        configure(switch, installation, FRAGMENTS, Peers(gateway, agent, trunk), modules=f"{MODULES} {modules}")
        _edit(switch, _of_every_test(switch))
        _edit(switch, edits or {})
        _sounds(switch)
        await switch.start()
        yield switch
    finally:
        await switch.close()


def _of_every_test(switch: Asterisk) -> Edits:
    return {
        "manager": lambda old: old + _opt_in_user(switch.secrets["consent-gateway-recorder"]),
        "extensions": lambda old: old + ROUTES,
        "features": lambda old: FEATURE + old,
    }


def _edit(switch: Asterisk, edits: Edits) -> None:
    for name, edit in edits.items():
        file = switch.folder / "etc" / f"{name}.conf"
        old = file.read_text() if file.exists() else ""
        new = edit(old)
        assert new != old, f"the edit of {name}.conf changes nothing"
        file.write_text(new)


def _sounds(switch: Asterisk) -> None:
    """The sentence that begins a transfer is not in the installation, here it is a silence."""
    sounds = switch.folder / "data" / "sounds" / "en"
    (sounds / "pbx-transfer.ulaw").write_bytes(b"\xff" * 800)
    (sounds / "bench-ask.ulaw").write_bytes(b"\x40\xc0" * 2_400)  # as long as the tests' question


def _opt_in_user(secret: str) -> str:
    """The second AMI user that the fragment ships commented out, taken in by removing the semicolons."""
    shipped = (FRAGMENTS / "manager_consent.conf").read_text().splitlines()
    lines = [line[1:] for line in shipped if line[:1] == ";" and line[1:2] not in ("", " ")]
    assert lines[0] == "[consent-gateway-recorder]", lines
    return "".join(f"secret = {secret}\n" if line.startswith("secret") else f"{line}\n" for line in lines)
