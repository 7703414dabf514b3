"""A whole gateway in a process of its own, answered by key and by voice, and what it tells of its calls.

`python -m bench.whole FOLDER AGENT CALLS` runs it until its standard input ends, and prints one JSON object a line.
Times are CLOCK_MONOTONIC nanoseconds, one clock for all processes of a machine. What was said is not told.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from gateway.adapters.speech.pool import RecogniserPool
from gateway.app.tasks import spawn
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.commands import Command
from gateway.domain.events import Event
from tests.support import gateway as support

PROMPT_MS = 3_000
"""Length of the prompts that ask. Nobody answers before the end of one."""
ANSWER_TIMEOUT_MS = 15_000
"""Longer than it takes to bring up everybody who is to answer at the same moment."""
POLICY = f"""
name = "bench"
version = "1"

[ask]
attempts = 2
answer_timeout_ms = {ANSWER_TIMEOUT_MS}
by_voice = true
"""
UP_WITHIN_S = 60.0


class Teller:
    """A tap that prints what a measurement has to know of a call, under the caller's number."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}
        self._verdicts: dict[tuple[str, int], object] = {}

    def __call__(self, call_id: str, what: Event | Command, mono_ns: int) -> None:
        match what:
            case ev.CallArrived():
                self._numbers[call_id] = what.personal["caller_number"]
            case ev.PromptStarted():
                self._tell(call_id, "prompt started", what.at_ns)
            case ev.PromptFinished():
                self._tell(call_id, "prompt finished", what.at_ns, completed=what.completed)
            case ev.AnswerSpoken():
                facts = {name: what.facts.get(name) for name in ("failure", "cpu_ms", "elapsed_ms")}
                passes = what.facts.get("passes")
                self._tell(call_id, "spoken", what.at_ns, **facts, passes=len(passes) if passes else 0)  # type: ignore[arg-type]
            case do.AppendEvidence(kind="answer.speech"):
                facts = {name: what.facts.get(name) for name in ("counted", "because", "decision")}
                self._tell(call_id, "ruling", mono_ns, **facts)
            case do.AppendEvidence(kind="verdict"):
                self._verdicts[call_id, what.token] = what.facts["verdict"]
            case ev.EvidenceDurable() if (call_id, what.token) in self._verdicts:
                self._tell(call_id, "verdict", what.at_ns, verdict=self._verdicts.pop((call_id, what.token)))
            case do.AppendEvidence(kind="call.ended"):
                self._tell(call_id, "over", mono_ns)

    def _tell(self, call_id: str, what: str, at_ns: int, **more: object) -> None:
        if (number := self._numbers.get(call_id)) is not None:
            tell(what, number=number, at_ns=at_ns, **more)


def tell(what: str, **more: object) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


async def serve(folder: Path, agent: str, calls: int) -> None:
    """Run the gateway until standard input ends. Its recogniser has the settings it has by default."""
    spoken = dict.fromkeys(("ask_spoken", "ask_again_spoken", "confirm_spoken"), PROMPT_MS)
    made = support.settings(folder, agent, calls=calls, lengths_ms=spoken, speech=True)
    assert made.policy.folder is not None
    (made.policy.folder / "test.toml").write_text(POLICY)
    async with support.running(made) as (gateway, _):
        gateway.services.taps.append(Teller())
        recogniser = gateway.services.recogniser
        if not isinstance(recogniser, RecogniserPool):
            raise RuntimeError("nobody listens to spoken answers: the recogniser is not installed or did not start")
        prompt = gateway.services.prompts.prompt("en", "ask_spoken")
        tell(
            "up",
            address=gateway.front.address,
            media=gateway.pool.worker_pids,
            speech=recogniser.worker_pids,
            speech_settings=made.speech.model_dump(mode="json", include={"engines", "waiting", "deadline_ms"}),
            prompt=prompt.path,
        )
        await asyncio.to_thread(sys.stdin.read)


@dataclass(slots=True)
class Told:
    """What the gateway told of one call, in order."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def all(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["what"] == what]


@dataclass(slots=True)
class Whole:
    """The process that serves, seen from the one that measures."""

    process: asyncio.subprocess.Process
    up: dict[str, Any]
    calls: dict[str, Told] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pids(self) -> tuple[int, ...]:
        return self.process.pid, *self.up["media"], *self.up["speech"]

    def of(self, number: str) -> Told:
        return self.calls.setdefault(number, Told())

    async def reach(self, number: str, condition: Callable[[Told], Any], within_s: float) -> Any:
        """Wait until *condition* gives something true of what was told of a call, and return it. Raises
        `TimeoutError`, `RuntimeError` when the gateway ended."""
        async with asyncio.timeout(within_s):
            while not (found := condition(self.of(number))):
                if self.process.returncode is not None:
                    raise RuntimeError("the gateway ended in the middle of the measurement")
                self.news.clear()
                await self.news.wait()
        return found

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            told = json.loads(line)
            self.of(told.pop("number", "")).lines.append(told)
            self.news.set()
        await self.process.wait()
        self.news.set()


@asynccontextmanager
async def whole(folder: Path, agent: str, calls: int) -> AsyncIterator[Whole]:
    """A gateway for *calls* calls, in its own process, up and listening. Raises `RuntimeError` where it does not
    come up."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.whole", str(folder), agent, str(calls)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        async with asyncio.timeout(UP_WITHIN_S):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the gateway did not come up; what it wrote says why")
        run = Whole(process, json.loads(line))
        reading = spawn(run.read(), name="bench gateway")
        yield run
        process.stdin.close()
        await asyncio.wait([reading], timeout=30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
