"""`consent-gateway serve` as a process of its own, for tests that kill it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gateway.adapters.asterisk.local import free_port
from tests.support import gateway as support


def children(pid: int) -> list[int]:
    """The living child processes of *pid*."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@dataclass
class Served:
    """A gateway in a process of its own, that can be killed and started again on the same folder and ports."""

    folder: Path
    agent: str
    calls: int = 1
    policy: dict[str, str] = field(default_factory=dict)
    sip_settings: str = ""
    more: str = ""
    """More of its `gateway.toml`: sections that are not in it otherwise."""
    process: asyncio.subprocess.Process | None = None
    workers: list[int] = field(default_factory=list)
    pid: int | None = None

    def __post_init__(self) -> None:
        self.sip_port, self.http_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        support.write_policy(self.folder / "policy.d", **self.policy)
        support.write_prompts(self.folder / "prompts")
        self.config = self.folder / "gateway.toml"
        self.config.write_text(
            f'[sip]\nbind = "127.0.0.1:{self.sip_port}"\ncalls = {self.calls}\nagent = "sip:{{called}}@{self.agent}"\n'
            f"{self.sip_settings}\n"
            f'[http]\nbind = "127.0.0.1:{self.http_port}"\n[storage]\nfolder = "{self.folder / "var"}"\n'
            f'[policy]\nfolder = "{self.folder / "policy.d"}"\n[prompts]\nfolder = "{self.folder / "prompts"}"\n'
            f"{self.more}"
        )

    @property
    def sip(self) -> str:
        return f"sip:sales@127.0.0.1:{self.sip_port}"

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(self.config))

    def launch(self, log: BinaryIO) -> "subprocess.Popen[bytes]":
        """Start without an event loop: for a gateway that outlives a test's loop. It serves once its output says so."""
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log)
        self.pid = process.pid
        return process

    async def start(self) -> None:
        """Start and wait until it says that it serves."""
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder / "serve.log").open("ab"),
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while line := await self.process.stdout.readline():
                if line.startswith(b"Stop with"):
                    self.workers = children(self.process.pid)
                    return
        log = (self.folder / "serve.log").read_text()
        raise AssertionError(f"the gateway did not start: {log}")

    async def kill_control(self) -> None:
        """SIGKILL the control process; its workers live on."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    def kill_workers(self) -> None:
        """SIGKILL the SIP workers."""
        for pid in self.workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 20)
