"""A running Asterisk: an ordinary process, with everything of it in a folder of its own that goes with it."""

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.adapters.asterisk.local.configuration import Peers, configure
from gateway.adapters.asterisk.local.installation import Installation

BOOT_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 10
LAST_WORDS: Final = 3000
STARTED: Final = "nothing-the-start-is-over"


class AsteriskFailed(RuntimeError):
    """Asterisk did not start, did not do what was waited for, or ended by itself; the text has its last words."""


def free_port(kind: socket.SocketKind) -> int:
    """A port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="asterisk-"))  # short: the console's socket has room for 107 characters


@dataclass
class Asterisk:
    """An Asterisk with ports of its own, in a new folder: `configure` it, `start` it, and `close` it in any case."""

    folder: Path = field(default_factory=_folder)
    sip_port: int = field(default_factory=lambda: free_port(socket.SOCK_DGRAM))
    ami_port: int = field(default_factory=lambda: free_port(socket.SOCK_STREAM))
    secrets: dict[str, str] = field(default_factory=lambda: {"consent-gateway": secrets.token_hex(24)}, repr=False)
    """AMI user -> secret."""
    process: asyncio.subprocess.Process | None = None
    boot_s: float = 0.0

    @property
    def command(self) -> tuple[str, ...]:
        """How its program is run, as the server or as the console of the one that runs."""
        return str(self.folder / "asterisk"), "-C", str(self.folder / "etc" / "asterisk.conf")

    @property
    def sip(self) -> str:
        """A number of the example's inbound route."""
        return f"sip:100@127.0.0.1:{self.sip_port}"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "messages"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def recordings(self) -> list[Path]:
        """Every file below the folder that recordings go to."""
        return sorted(path for path in (self.spool / "monitor").rglob("*") if path.is_file())

    async def start(self) -> None:
        """Begin it, and wait until it is fully booted. Raises `AsteriskFailed` when it complains of anything.

        It ends with this process, however that ends, and hears nothing of a Ctrl-C that is meant for us.
        """
        assert self.process is None, "it runs"
        begun = time.monotonic()
        with (self.folder / "log" / "output").open("ab") as output:
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *("setpriv", "--pdeathsig", "KILL", "--", *self.command, "-f"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise AsteriskFailed("Asterisk is run by `setpriv`, which is not here: install util-linux") from None
        await self.booted(begun)

    async def booted(self, begun: float) -> None:
        """Wait until a start at *begun* (`time.monotonic`) is over, and judge what it logged. Raises
        `AsteriskFailed`."""
        assert self.process is not None
        try:
            async with asyncio.timeout(BOOT_TIMEOUT_S):
                while "fully booted" not in (await self.cli("core waitfullybooted")).lower():
                    if self.process.returncode is not None:
                        raise AsteriskFailed(f"Asterisk ended while starting: {self.last_words()}")
                    await asyncio.sleep(0.02)
                self.boot_s = time.monotonic() - begun
                # The log is written beside the rest, in order: a complaint of ours is in it after those of the start.
                await self.cli(f"module unload {STARTED}")
                while STARTED not in (said := self._log_of_this_start()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AsteriskFailed(f"Asterisk did not boot in {BOOT_TIMEOUT_S} s: {self.last_words()}") from None
        if " ERROR[" in said:
            raise AsteriskFailed(f"Asterisk complained while starting: {self.last_words()}")

    async def stop(self) -> None:
        """End it, gently first. Raises `AsteriskFailed` when it had ended by itself."""
        process = self.process
        if process is None:
            return
        if process.returncode is not None:
            raise AsteriskFailed(f"Asterisk ended by itself with {process.returncode}: {self.last_words()}")
        process.send_signal(signal.SIGTERM)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def close(self) -> None:
        """`stop` it, and remove its folder, recordings and all."""
        try:
            await self.stop()
        finally:
            shutil.rmtree(self.folder)

    def _log_of_this_start(self) -> str:
        return self.log.read_text(errors="replace").rpartition(" built by ")[2]

    def last_words(self) -> str:
        """The end of what it printed and logged."""
        paths = (self.folder / "log" / "output", self.log)
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())[-LAST_WORDS:]

    async def cli(self, command: str) -> str:
        """Run a command of Asterisk's console and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(*self.command, "-rx", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return output.decode(errors="replace").strip()

    async def cli_until(self, command: str, wanted: str, timeout_s: float = 20.0) -> str:
        """Repeat a command until its output has *wanted* in it, and return the output. Raises `AsteriskFailed`."""
        output = ""
        try:
            async with asyncio.timeout(timeout_s):
                while wanted not in (output := await self.cli(command)):  # noqa: ASYNC110 (Asterisk calls nobody back)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AsteriskFailed(f"Asterisk's {command!r} never said {wanted!r}, but: {output}") from None
        return output


@asynccontextmanager
async def running(installation: Installation, fragments: Path, peers: Peers) -> AsyncIterator[Asterisk]:
    """Start an Asterisk between *peers*, and leave nothing of it behind. Raises `AsteriskFailed`, and what `configure`
    raises."""
    switch = Asterisk()
    try:
        configure(switch, installation, fragments, peers)
        await switch.start()
        yield switch
    finally:
        await switch.close()
