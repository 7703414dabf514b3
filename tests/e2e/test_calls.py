"""Whole calls through the production gateway: real SIP and RTP on loopback, both sides scripted."""

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.adapters.softphone import Call, CallFailed, Softphone
from gateway.app.session import CallSession
from gateway.bootstrap import Gateway
from gateway.domain import commands as do
from gateway.domain import events as ev
from gateway.domain.call import Phase
from gateway.evidence.bundle import verify_bundle
from gateway.media import g711
from tests.e2e.worker_support import echoing
from tests.support import gateway as support
from tests.support import numbered

CALLER = "+4915550100"


@dataclass
class Scene:
    """A gateway with a caller's and an agent's phone."""

    folder: Path
    gateway: Gateway
    journal: support.Journal
    caller: Softphone
    agent: Softphone

    async def call(self, name: str = "Ada Lovelace", **more: object) -> tuple[Call, CallSession]:
        call = await self.caller.call(
            f"sip:sales@{self.gateway.front.address}",
            from_number=CALLER,
            from_name=name,
            **more,  # type: ignore[arg-type]
        )
        call.audio_source = numbered.source
        session = await support.session_of(self.gateway, CALLER)
        await call.answered(10)
        return call, session

    async def agent_answers(self) -> Call:
        agent = await self.agent.incoming(10)
        agent.audio_source = numbered.source
        await agent.accept()
        return agent

    async def over(self, session: CallSession) -> str:
        """Wait for the end, check the evidence, return the verdict."""
        await asyncio.wait_for(session.over.wait(), 15)
        evidence = self.gateway.services.evidence
        verify_bundle(await evidence.export(session.call_id), evidence.verifier_key())
        return str(session.call.verdict)

    def files(self) -> list[Path]:
        return sorted((self.folder / "var" / "recordings").glob("*"))


@asynccontextmanager
async def scene(folder: Path, **more: Any) -> AsyncIterator[Scene]:
    async with (
        await Softphone.open(user="agent") as agent,
        await Softphone.open() as caller,
        support.running(support.settings(folder, agent.address, **more)) as (gateway, journal),
    ):
        yield Scene(folder, gateway, journal, caller, agent)


async def talking(session: CallSession) -> None:
    assert await session.wait_for(lambda: session.call.phase is Phase.TALKING, 10_000)


async def test_a_granted_call_is_recorded_and_shows_the_agent_who_calls(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.7)
        await call.send_digit("1")
        agent = await s.agent_answers()
        assert (agent.from_number, agent.from_name) == (CALLER, "Ada Lovelace")
        headers = {name.lower(): value for name, value in agent.headers}
        assert headers["x-consent-call-id"] == session.call_id
        assert headers["x-consent-verdict"] == "granted"
        await talking(session)
        await asyncio.sleep(1.0)
        await call.hang_up()
        await agent.ended(5)
        assert await s.over(session) == "granted"
        assert len(s.files()) == 1
        assert s.files()[0].read_bytes().startswith(b"age-encryption.org/v1")


@pytest.mark.parametrize("name", ['Eve" <sip:x@y>', "Zoë; tag=1", "x" * 200, "<script>", "a,b;c"])
async def test_an_awkward_display_name_reaches_the_agent_unharmed(tmp_path: Path, name: str) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call(name)
        await asyncio.sleep(0.5)
        await call.send_digit("2")
        agent = await s.agent_answers()
        assert agent.from_number == CALLER
        assert agent.from_name in (name, name[:128])
        await call.hang_up()
        assert await s.over(session) == "refused"


@pytest.mark.parametrize(
    ("keys", "verdict"), [("2", "refused"), ("7", "unclear"), ("", "unanswered")], ids=["no", "wrong", "silence"]
)
async def test_whoever_does_not_agree_is_connected_unrecorded(tmp_path: Path, keys: str, verdict: str) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.75)
        for key in keys * 2:
            await call.send_digit(key)
            await asyncio.sleep(0.9)
        agent = await s.agent_answers()
        await talking(session)
        await asyncio.sleep(0.5)
        assert agent.received_audio().any() and call.received_audio().any()
        await agent.hang_up()
        await call.ended(5)
        assert await s.over(session) == verdict
        assert s.files() == []


@pytest.mark.parametrize("how", ["rfc4733", "info", "inband"])
async def test_every_transport_of_a_key_counts_once(tmp_path: Path, how: str) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.9)
        if how == "rfc4733":
            await call.send_digit("1", 200)
        elif how == "inband":
            await call.send_inband_digit("1", 200)
        else:
            assert await call.send_info_digit("1") == 200
        await s.agent_answers()
        await talking(session)
        digits = s.journal.of(session.call_id, ev.DigitPressed)
        assert len(digits) == 1
        assert digits[0][1].transport == how  # type: ignore[union-attr]
        await call.hang_up()
        assert await s.over(session) == "granted"


async def test_a_key_before_the_question_was_heard_does_not_count(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await call.send_digit("1", 60)
        await asyncio.sleep(0.1)
        assert session.call.verdict == "pending"
        await call.hang_up()
        assert await s.over(session) == "unanswered"


@pytest.mark.parametrize(
    ("code", "cause"),
    [(486, "agent busy"), (603, "agent declined"), (480, "agent did not answer"), (404, "agent unreachable")],
)
async def test_an_agent_who_cannot_be_reached_ends_the_call(tmp_path: Path, code: int, cause: str) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1")
        agent = await s.agent.incoming(10)
        await agent.reject(code)
        await call.ended(5)
        assert await s.over(session) == "granted"
        assert session.call.cause == cause
        assert s.files() == []


async def test_an_agent_who_never_answers_is_given_up(tmp_path: Path) -> None:
    async with scene(tmp_path, top="ring_timeout_ms = 1000") as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1")
        agent = await s.agent.incoming(10)
        agent.ring()
        await call.ended(8)
        with pytest.raises((CallFailed, TimeoutError)):
            await agent.answered(0.1)
        await s.over(session)
        assert session.call.cause == "agent did not answer"


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.75, 1.1, 1.6])
async def test_the_caller_may_hang_up_at_any_moment(tmp_path: Path, after_s: float) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        if after_s > 0.6:
            await asyncio.sleep(0.65)
            await call.send_digit("1", 60)
            await asyncio.sleep(after_s - 0.7)
        else:
            await asyncio.sleep(after_s)
        await call.hang_up()
        await s.over(session)
        assert s.files() == []


async def test_early_media_is_heard_and_never_recorded(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1", 60)
        agent = await s.agent.incoming(10)
        agent.audio_source = numbered.source
        await agent.early_media()
        before = len(call.received)
        await asyncio.sleep(0.8)
        assert s.files() == []
        heard = b"".join(payload for _, _, _, payload in call.received[before:])
        assert len(set(heard)) > 10, "the caller hears the agent's early media"
        await agent.reject(486)
        await call.ended(5)
        assert await s.over(session) == "granted"
        assert s.files() == []


@pytest.mark.parametrize("side", ["caller", "agent"])
async def test_hold_and_return_by_either_side(tmp_path: Path, side: str) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1", 60)
        agent = await s.agent_answers()
        await talking(session)
        holder = call if side == "caller" else agent
        assert await holder.hold() == 200
        assert await session.wait_for(lambda: session.call.legs[side].held, 3_000)
        await asyncio.sleep(0.4)
        assert await holder.resume() == 200
        assert await session.wait_for(lambda: not session.call.legs[side].held, 3_000)
        before = len(agent.received), len(call.received)
        await asyncio.sleep(0.5)
        assert len(agent.received) > before[0] + 15 and len(call.received) > before[1] + 15
        await call.hang_up()
        assert await s.over(session) == "granted"


async def test_digits_of_the_conversation_pass_and_codes_do_not(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1", 60)
        agent = await s.agent_answers()
        await talking(session)
        for key in "45*9":
            await call.send_digit(key, 80)
            await asyncio.sleep(0.1)
        assert await session.wait_for(lambda: session.call.verdict == "withdrawn", 3_000)
        await agent.until(lambda: len(agent.digits) >= 2, 5)
        await asyncio.sleep(0.3)
        assert [digit.digit for digit in agent.digits] == ["4", "5"]
        await call.hang_up()
        assert await s.over(session) == "withdrawn"


async def test_withdrawal_purges_when_the_policy_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path, recording='on_withdrawal = "purge"') as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1", 60)
        await s.agent_answers()
        await talking(session)
        await asyncio.sleep(0.8)
        assert len(s.files()) == 1
        for key in "*9":
            await call.send_digit(key, 80)
            await asyncio.sleep(0.1)
        assert await session.wait_for(lambda: session.call.recorder.observed == "off", 3_000)
        assert s.files() == []
        await call.hang_up()
        assert await s.over(session) == "withdrawn"
        (record,) = await s.gateway.services.registry.recordings(session.call_id)
        assert record.state == "destroyed" and record.wrapped == b""


async def test_calls_up_to_the_capacity_are_served_and_the_next_is_told_503(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        capacity = s.gateway.pool.max_calls
        calls = []
        for number in range(capacity):
            made = await s.caller.call(f"sip:sales@{s.gateway.front.address}", from_number=f"+49{number}")
            await made.answered(10)
            calls.append(made)
        late = await s.caller.call(f"sip:sales@{s.gateway.front.address}", from_number="+49999")
        with pytest.raises(CallFailed) as refused:
            await late.answered(10)
        assert refused.value.code == 503
        for made in calls:
            await made.hang_up()


async def test_a_foreign_user_agent_is_served(tmp_path: Path) -> None:
    """SIPp, which shares no line with us, is asked, does not answer, and is connected unrecorded."""
    async with scene(tmp_path) as s:
        host, _, port = s.gateway.front.address.rpartition(":")
        command = ["sipp", "-sn", "uac", f"{host}:{port}", "-i", "127.0.0.1", "-m", "1", "-d", "5000", "-s", "sales"]
        process = await asyncio.create_subprocess_exec(
            *command, "-nostdin", "-timeout", "20s", cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        await s.agent_answers()
        assert process.stderr is not None
        complaint = await asyncio.wait_for(process.stderr.read(), 25)
        assert await process.wait() == 0, complaint
        await asyncio.sleep(0.5)
        assert not s.gateway.switchboard.sessions
        assert s.files() == []


async def test_the_recording_opens_with_the_age_tool_chain_of_anybody(tmp_path: Path) -> None:
    """The sealed file is plain age: the wrapped key, unwrapped, is all it takes."""
    import pyrage

    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1", 60)
        await s.agent_answers()
        await talking(session)
        await asyncio.sleep(0.8)
        await call.hang_up()
        await s.over(session)
        (record,) = await s.gateway.services.registry.recordings(session.call_id)
        identity = pyrage.x25519.Identity.from_str(s.gateway.services.keys.unwrap(record.recording, record.wrapped))
        plain = pyrage.decrypt(Path(record.path).read_bytes(), [identity])  # noqa: ASYNC240
        assert plain[:4] == b"RIFF" and plain[8:12] == b"WAVE"
        samples = np.frombuffer(plain[44:], "<i2")
        assert samples[0::2].any() and samples[1::2].any()


TO_RECEPTION = "sip:reception@pbx.example"


async def test_a_forwarded_call_goes_to_whom_the_request_is_for(tmp_path: Path) -> None:
    """A PBX that forwards leaves To as it was: reception was called, sales is to be reached."""
    async with scene(tmp_path) as s:
        call, session = await s.call(to_uri=TO_RECEPTION)
        assert session.facts.called == "sales"
        agent = await s.agent_answers()
        assert agent.to_number == "sales"
        await call.hang_up()
        await s.over(session)


async def test_a_call_that_a_full_worker_turns_away_keeps_the_number_it_dialled(tmp_path: Path) -> None:
    async with scene(tmp_path, calls=4) as s:
        full = s.gateway.pool.choose_worker("the worker to be filled")
        assert full is not None
        address = f"{full[0]}:{full[1]}"
        for number in ("+491", "+492"):
            before = await s.caller.call(f"sip:sales@{address}", from_number=number)
            await before.answered(10)
        call = await s.caller.call(f"sip:+49%2030;phone-context=x@{address}", from_number=CALLER, to_uri=TO_RECEPTION)
        session = await support.session_of(s.gateway, CALLER)
        await call.answered(10)
        assert call.redirects == 1
        assert call.invite is not None and call.invite.uri.endswith(s.gateway.front.address)
        assert session.facts.called == "+49 30"


def echo(call: Call) -> Callable[[int], bytes]:
    """A line that gives back what it hears, 15 dB weaker."""

    def source(n: int) -> bytes:
        payload = call.received[-1][3] if call.received else b"\xff" * 160
        return g711.encode(call.codec, (g711.decode(call.codec, payload) * 0.18).astype(np.int16))

    return source


async def asked_again(s: Scene) -> tuple[Call, CallSession, Call]:
    """A call in which the caller refused, was connected, and is now to answer once more."""
    call, session = await s.call()
    await asyncio.sleep(0.7)
    await call.send_digit("2")
    agent = await s.agent_answers()
    await talking(session)
    call.audio_source = echo(call)
    assert (await s.gateway.switchboard.reconsent(session.call_id, actor="supervisor")).code == "asking"
    assert await session.wait_for(lambda: session.call.parties["caller"].state == "listening", 5_000)
    return call, session, agent


async def test_a_key_of_the_agent_echoed_by_the_callers_line_is_no_answer_of_the_caller(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session, agent = await asked_again(s)
        await agent.send_inband_digit("1", 150)
        assert await session.wait_for(lambda: session.call.verdict != "pending", 10_000)
        digits = s.journal.of(session.call_id, ev.DigitPressed)
        assert [(digit.leg, digit.value) for _, digit in digits] == [("caller", "2"), ("agent", "1")]  # type: ignore[union-attr]
        await call.hang_up()
        assert await s.over(session) == "unanswered"
        assert s.files() == []


async def test_the_callers_own_tone_answers_and_then_he_hears_the_agent_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session, _ = await asked_again(s)
        await asyncio.sleep(0.25)
        assert not call.received_audio()[-800:].any(), "after the question there is silence"
        await call.send_inband_digit("1", 150)
        assert await session.wait_for(lambda: session.call.verdict == "granted", 5_000)
        await asyncio.sleep(1.0)
        assert call.received_audio()[-800:].any()
        await call.hang_up()
        assert await s.over(session) == "granted"
        assert len(s.files()) == 1


async def test_a_locked_registry_holds_no_call_up(tmp_path: Path) -> None:
    """Another program has `registry.db` locked: the caller is answered, asked and connected, and only not recorded."""
    async with scene(tmp_path) as s:
        other = sqlite3.connect(tmp_path / "var" / "registry.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            begun = time.monotonic()
            call, session = await s.call()
            assert time.monotonic() - begun < 1.0, "nobody waits for the registry before he is answered"
            await asyncio.sleep(0.7)
            await call.send_digit("1")
            agent = await s.agent_answers()
            await talking(session)
            assert time.monotonic() - begun < 3.0
            assert session.call.verdict == "granted" and not s.files()
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 5_000), "it is recorded at last"
        await call.hang_up()
        await agent.ended(5)
        assert await s.over(session) == "granted"


async def test_a_resume_code_of_the_caller_echoed_by_the_agents_line_lifts_no_pause(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        call, session = await s.call()
        await asyncio.sleep(0.6)
        await call.send_digit("1", 60)
        agent = await s.agent_answers()
        await talking(session)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 3_000)
        agent.audio_source = echoing(agent, 200)
        for key in "*71":
            await agent.send_digit(key, 80)
        assert await session.wait_for(lambda: session.call.recorder.observed == "paused", 3_000)
        await asyncio.sleep(1.0)
        for key, duration_ms in (("*", 100), ("7", 100), ("2", 700)):
            # A key passed on to the agent takes the place of the audio: he hears the rest of a long press only.
            await call.send_inband_digit(key, duration_ms)
            await asyncio.sleep(0.5)
        await asyncio.sleep(2.0)
        assert session.call.recorder.observed == "paused" and session.call.holds
        for key in "*72":
            await agent.send_inband_digit(key, 100)
        assert await session.wait_for(lambda: session.call.recorder.observed == "on", 3_000)
        await call.hang_up()
        assert await s.over(session) == "granted"


# --- agents who are not recorded --------------------------------------------------------------------------------------

DECLINED = '[[person]]\nagent = "sales"\nkind = "employee"\nrecorded = false\nsince = 2026-10-01\n'


async def test_a_call_with_an_agent_who_declined_is_held_and_not_recorded(tmp_path: Path) -> None:
    async with scene(tmp_path, staff=DECLINED) as s:
        call, session = await s.call()
        await asyncio.sleep(0.7)
        await call.send_digit("1")
        agent = await s.agent_answers()
        await talking(session)
        await asyncio.sleep(0.5)
        assert agent.received_audio().any() and call.received_audio().any()
        await call.hang_up()
        await agent.ended(5)
        assert await s.over(session) == "granted"
        assert s.files() == []
        entries = await s.gateway.services.evidence.entries(session.call_id)
        assert [e.facts["verdict"] for e in entries if e.kind == "verdict"] == ["granted", "refused"]


async def test_a_call_that_has_to_be_recorded_does_not_reach_an_agent_who_declined(tmp_path: Path) -> None:
    duty = 'basis = "legal_obligation"\njustification = "x"\nfail_mode = "refuse_call"'
    async with scene(tmp_path, staff=DECLINED, top=duty) as s:
        call, session = await s.call()
        await call.ended(10)
        assert await s.over(session) == "not_required"
        entries = await s.gateway.services.evidence.entries(session.call_id)
        assert entries[-1].facts["cause"] == "agent declined to be recorded"
        assert s.files() == [] and not s.journal.of(session.call_id, do.ConnectAgent)


async def test_an_agent_makes_a_call_his_own_affair_by_a_key_and_ends_that_by_the_same(tmp_path: Path) -> None:
    async with scene(tmp_path, codes='private = "*70"\n') as s:
        call, session = await s.call()
        await asyncio.sleep(0.7)
        await call.send_digit("1")
        agent = await s.agent_answers()
        await talking(session)
        for state in ("on", "paused", "on"):
            assert await session.wait_for(lambda wanted=state: session.call.recorder.observed == wanted, 3_000)  # type: ignore[misc]
            await asyncio.sleep(0.4)
            for key in "*70":
                await agent.send_digit(key, 60)
        await call.hang_up()
        await s.over(session)
        entries = await s.gateway.services.evidence.entries(session.call_id)
        (closed,) = [dict(e.facts) for e in entries if e.kind == "recording.closed"]
        spans = [(span["state"], span["cause"]) for span in closed["spans"]]  # type: ignore[attr-defined]
        assert [state for state, _ in spans][:3] == ["on", "paused", "on"] and spans[1][1] == "private_call"
        assert closed["checked"] == "sample-exact"
