"""`consent-gateway demo`, run as anybody runs it."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPOKEN = {"hypotheses"}
"""What is printed beside them for a caller who answers by voice."""
FIELDS = {
    "call_id",
    "verdict",
    "basis",
    "recorder",
    "samples_before_verdict",
    "samples_while_paused",
    "recording",
    "evidence",
    "verified",
    "latency_ms",
}
AT_ONCE = 5
LATENCIES = {"answer_to_verdict", "verdict_to_recording", "pause_to_silence"}


@dataclass(frozen=True)
class Ended:
    """One run of the command."""

    out: Path
    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def states(self) -> list[str]:
        return [span["state"] for span in self.said["recorder"]]

    @property
    def temporary(self) -> Path:
        """The folder of its temporary files."""
        return self.out.with_suffix(".tmp")


async def run(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Run `consent-gateway` with these arguments; returns its exit code, its output and its complaints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", *arguments),
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 150)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def all_at_once(root: Path, scripts: Mapping[str, Sequence[str]], *common: str) -> dict[str, Ended]:
    """Run every script, with the *common* arguments: each takes as long as its prompts and its talk. `AT_ONCE` of them
    at a time: more want for processor."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, script: Sequence[str]) -> Ended:
        await asyncio.sleep(number * 0.5)
        out = root / str(number)
        ended = Ended(out, 0, "", "")
        ended.temporary.mkdir()
        arguments = ("demo", "--out", str(out), *common, *script)
        async with room:
            return Ended(out, *await run(*arguments, cwd=root, TMPDIR=str(ended.temporary)))

    async def everything() -> list[Ended]:
        return await asyncio.gather(*(one(number, script) for number, script in enumerate(scripts.values())))

    return dict(zip(scripts, asyncio.run(everything()), strict=True))
