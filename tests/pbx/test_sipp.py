"""SIPp, which shares no line with us, calls through a real Asterisk to the gateway as shipped."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from gateway.app.tasks import spawn
from tests.pbx.test_gateway import kept
from tests.pbx.whole import Whole, whole
from tests.support.mixed import AGENT

pytestmark = pytest.mark.slow
SCENARIO = Path(__file__).parent / "sipp" / "caller.xml"


async def sipp(w: Whole, key: str, *, before_ms: int = 600, talk_ms: int = 6_000) -> None:
    """Make one call. Raises `AssertionError` when SIPp was not content with it."""
    text = SCENARIO.read_text()
    for name, value in {"key": key, "before": str(before_ms), "talk": str(talk_ms)}.items():
        text = text.replace(f'"[{name}]"', f'"{value}"')
    scenario = w.folder / "caller.xml"
    scenario.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *("sipp", "-sf", str(scenario), f"127.0.0.1:{w.switch.sip_port}", "-i", "127.0.0.1", "-m", "1", "-s", "100"),
        *("-nostdin", "-timeout", "40s", "-timeout_error"),
        cwd=w.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 0, complaint


@pytest.mark.parametrize(("key", "verdict"), [("1", "granted"), ("2", "refused")])
async def test_a_foreign_caller_is_asked_and_answers(tmp_path: Path, key: str, verdict: str) -> None:
    async with whole(tmp_path) as w:
        calling = spawn(sipp(w, key), name="sipp")
        session = await w.session()
        await w.agent_answers()
        assert await session.wait_for(lambda: session.call.phase == "talking", 10_000)
        await calling
        entries = await w.over(session)
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == [verdict]
        if verdict == "granted":
            assert frozenset({AGENT}) in await kept(w)
        else:
            assert w.switch.recordings() == []


async def test_a_foreign_caller_who_hangs_up_in_the_prompt_rings_nobody(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        await sipp(w, "9", before_ms=200, talk_ms=300)
        await w.until(lambda: not w.gateway.switchboard.sessions)
        (call,) = await w.gateway.services.registry.calls()
        assert call.verdict == "unanswered" and w.agent.calls == [] and w.switch.recordings() == []
