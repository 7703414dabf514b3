"""The whole way: a real Asterisk with the dialplan as shipped, and the gateway as shipped."""

import asyncio
from pathlib import Path

import pytest

from tests.pbx.scene import AGENT, PERSON, heard, level
from tests.pbx.whole import whole

pytestmark = pytest.mark.slow


async def test_a_yes_is_recorded_from_the_verdict_on_and_the_evidence_says_so(tmp_path: Path) -> None:
    async with whole(tmp_path) as w:
        caller, session = await w.call()
        await w.asked(session)
        await caller.send_digit("1", 80)
        agent = await w.agent_answers()
        await w.connected(caller, agent)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000)
        assert await w.variable(session, "CONSENT_VERDICT") == "granted"
        assert await w.variable(session, "CONSENT_CALL_ID") == session.call_id
        await asyncio.sleep(1)
        await caller.hang_up()
        entries = await w.over(session)
        await w.switch.cli_until("core show channels count", "0 active channels")
        kept = heard(w.switch.recordings()[0])
        assert level(PERSON) + level(AGENT) in kept
        assert [e["verdict"] for e in entries["verdict"] if e["party"] == "caller"] == ["granted"]
        (closed,) = entries["recording.closed"]
        assert closed["failed"] == "" and len(str(closed["sha256"])) == 64
