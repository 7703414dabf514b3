"""What is left standing when a process dies, wedges or its disk is full."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.adapters.recorder import check_against_spans, open_recording
from gateway.adapters.sip.pool import SipWorkerPool
from gateway.adapters.sip.protocol import WorkerConfig
from gateway.adapters.softphone import Call, CallFailed, Softphone
from gateway.ports.media import (
    Dial,
    Isolate,
    LegEnded,
    RecordClose,
    RecorderClosed,
    RecorderObserved,
    RecordOpen,
    RecordPause,
    RecordResume,
    Span,
    WorkerLost,
)
from tests.e2e.worker_support import Key, Rig, numbered, packet_numbers, running_pool, worker_argv

# ruff: noqa: ASYNC240 (a test may look at a small file)

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


@pytest_asyncio.fixture
async def agent() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


async def gone(pid: int, within: float = 5.0) -> bool:
    """Whether the process ends in time. Reaped or a zombie counts."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        await asyncio.sleep(0.02)
    return False


def cut_control(rig: Rig) -> None:
    """What the worker sees when the control process dies: its end of the socket is closed."""
    for slot in rig.pool._slots:
        assert slot.writer is not None
        slot.writer.transport.abort()


async def abandon(rig: Rig) -> tuple[int, ...]:
    """Make the pool forget its workers without killing them, as a SIGKILL of the control process would."""
    pids = rig.pool.worker_pids
    rig.pool._stopping = True
    cut_control(rig)
    await asyncio.sleep(0.05)
    return pids


async def test_a_bridged_call_outlives_control_and_its_recording_is_sealed(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source, agent_call.audio_source = numbered(), numbered(100)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient, cause="granted"))
        await rig.event(RecorderObserved)
        await asyncio.sleep(1)
        (pid,) = await abandon(rig)
        sidecar = Path(f"{path}.closed.json")
        await call.until(sidecar.exists)
        closed = json.loads(sidecar.read_text())
        data = path.read_bytes()
        assert (closed["sha256"], closed["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (closed["recording"], closed["cause"]) == ("r", "control lost")
        recording = open_recording(path, key.identity)
        assert not recording.truncated
        check_against_spans(recording.samples, [Span(**span) for span in closed["spans"]])
        heard = len(agent_call.received)
        await asyncio.sleep(1)
        assert not call.is_over
        assert len(agent_call.received) > heard + 40
        assert path.read_bytes() == data
        late = await caller.call(f"sip:line@127.0.0.1:{_port(agent_call.invite)}")
        with pytest.raises(CallFailed) as failure:
            await late.answered(5)
        assert failure.value.code == 503
        await agent_call.hang_up()
        assert await call.ended(5) == 200
        assert await gone(pid)


async def test_a_caller_who_was_being_asked_hears_his_peer_again_when_control_dies(
    caller: Softphone, agent: Softphone
) -> None:
    async with running_pool(1) as rig:
        call, leg, agent_call, _ = await rig.bridged_call(caller, agent)
        agent_call.audio_source = numbered(100)
        rig.pool.send(Isolate(leg, True))
        await asyncio.sleep(0.5)
        assert len({payload for *_, payload in call.received[-8:]}) == 1
        (pid,) = await abandon(rig)
        await asyncio.sleep(0.5)
        assert len({payload for *_, payload in call.received[-8:]}) == 8
        await call.hang_up()
        assert await gone(pid)


def _port(invite: object) -> int:
    contact = invite.contact  # type: ignore[attr-defined]
    return int(contact.uri.rsplit(":", 1)[1].split(";")[0].rstrip(">"))


async def test_a_waiting_caller_is_connected_unrecorded_when_control_dies(caller: Softphone, agent: Softphone) -> None:
    async with running_pool(1) as rig:
        call, _ = await rig.answered_call(caller, agent.uri, from_number="+49301", from_name="Ann")
        call.audio_source = numbered()
        (pid,) = await abandon(rig)
        agent_call = await agent.incoming()
        assert (agent_call.from_number, agent_call.from_name) == ("+49301", "Ann")
        await agent_call.accept()
        agent_call.audio_source = numbered(100)
        await asyncio.sleep(1)
        assert len({payload for *_, payload in call.received[-10:]}) == 10
        assert len({payload for *_, payload in agent_call.received[-10:]}) == 10
        await call.hang_up()
        assert await agent_call.ended(5) == 200
        assert await gone(pid)


async def test_a_caller_whose_fallback_refuses_is_not_left_in_silence(caller: Softphone, agent: Softphone) -> None:
    async with running_pool(1) as rig:
        call, _ = await rig.answered_call(caller, agent.uri)
        (pid,) = await abandon(rig)
        agent_call = await agent.incoming()
        await agent_call.reject(486)
        assert await call.ended(5) == 200
        assert await gone(pid)


async def test_a_call_that_nobody_answered_yet_is_told_to_try_again(caller: Softphone) -> None:
    async with running_pool(1) as rig:
        call, _ = await rig.call_in(caller)
        (pid,) = await abandon(rig)
        with pytest.raises(CallFailed) as failure:
            await call.answered(5)
        assert failure.value.code == 503
        assert await gone(pid)


async def test_a_killed_worker_is_reported_and_replaced_and_its_recording_opens(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source, agent_call.audio_source = numbered(), numbered(100)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient, cause="granted"))
        await rig.event(RecorderObserved)
        await asyncio.sleep(5)
        (pid,) = rig.pool.worker_pids
        os.kill(pid, signal.SIGKILL)
        lost = await rig.event(WorkerLost)
        assert set(lost.legs) == {leg, agent_leg}
        assert lost.recordings == ("r",)
        recording = open_recording(path, key.identity)
        assert recording.truncated
        assert recording.duration_ms >= 5_000 - 3_000
        assert len(set(packet_numbers(recording.samples[:, 0]))) > 50
        await call.until(lambda: rig.pool.free_calls == rig.pool.max_calls > 0)
        _, again = await rig.answered_call(caller)
        assert again != leg


async def test_a_wedged_worker_is_killed_and_reported(caller: Softphone) -> None:
    async with running_pool(1) as rig:
        _, leg = await rig.answered_call(caller)
        (pid,) = rig.pool.worker_pids
        os.kill(pid, signal.SIGSTOP)
        lost = await rig.event(WorkerLost, within=6)
        assert lost.legs == (leg,)
        assert await gone(pid)


async def test_a_full_disk_closes_the_gate_and_leaves_the_call_alone(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key = Key.new()
    async with running_pool(1) as rig:
        call, leg, _, agent_leg = await rig.bridged_call(caller, agent)
        rig.pool.send(RecordOpen("r", leg, agent_leg, "/dev/full/r.age", key.recipient))
        closed = await rig.event(RecorderClosed)
        assert closed.failed
        assert closed.sha256 == ""
        await asyncio.sleep(0.3)
        assert not call.is_over
        rig.pool.send(RecordOpen("r2", leg, agent_leg, str(tmp_path / "r2.age"), key.recipient))
        await rig.event(RecorderObserved, lambda event: event.recording == "r2")


async def test_a_pause_that_overtakes_a_resume_wins(caller: Softphone, agent: Softphone, tmp_path: Path) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source, agent_call.audio_source = numbered(), numbered(100)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient))
        rig.pool.send(RecordPause("r", "one"))
        for _ in range(50):
            rig.pool.send(RecordResume("r", "no"))
            rig.pool.send(RecordPause("r", "one"))
        await asyncio.sleep(0.5)
        rig.pool.send(RecordClose("r", "end"))
        closed = await rig.event(RecorderClosed)
        assert (closed.sha256, closed.size) == ("", 0)
        assert not path.exists()


async def test_purged_and_withdrawn_recordings_leave_no_file(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        _, leg, _, agent_leg = await rig.bridged_call(caller, agent)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient))
        await asyncio.sleep(0.5)
        assert path.exists()
        rig.pool.send(RecordClose("r", "withdrawn", purge=True))
        closed = await rig.event(RecorderClosed)
        assert (closed.sha256, closed.size, closed.failed, closed.purged) == ("", 0, "", True)
        assert list(tmp_path.iterdir()) == []


async def test_a_recording_whose_whole_sound_a_pause_took_back_was_never_one_and_is_not_called_destroyed(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        _, leg, _, agent_leg = await rig.bridged_call(caller, agent)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient, look_behind_ms=5_000))
        await rig.event(RecorderObserved, lambda event: event.state == "on")
        await asyncio.sleep(0.3)
        rig.pool.send(RecordPause("r", "agent_key"))
        await rig.event(RecorderObserved, lambda event: event.state == "paused")
        rig.pool.send(RecordClose("r", "withdrawn", purge=True))
        closed = await rig.event(RecorderClosed)
        assert closed.frames > 10 and all(span.state == "paused" for span in closed.spans)
        assert (closed.sha256, closed.purged) == ("", False)
        assert list(tmp_path.iterdir()) == []


async def test_a_look_behind_takes_back_what_was_said_before_the_pause(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source, agent_call.audio_source = numbered(), numbered(100)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient, look_behind_ms=1_000))
        await asyncio.sleep(2)
        paused_ns = time.monotonic_ns()
        rig.pool.send(RecordPause("r", "card_entry"))
        await asyncio.sleep(0.3)
        rig.pool.send(RecordClose("r", "end"))
        closed = await rig.event(RecorderClosed)
        recording = open_recording(path, key.identity)
        check_against_spans(recording.samples, closed.spans)
        recorded = packet_numbers(recording.samples[:, 0])
        sent = dict(call.sent)
        assert sent[recorded[-1]] < paused_ns - 1_000_000_000
        assert closed.spans[-1].state == "paused"


async def test_a_recording_ends_with_its_call_even_if_nobody_closes_it(
    caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    key, path = Key.new(), tmp_path / "r.age"
    async with running_pool(1) as rig:
        call, leg, _, agent_leg = await rig.bridged_call(caller, agent)
        rig.pool.send(RecordOpen("r", leg, agent_leg, str(path), key.recipient))
        await asyncio.sleep(0.3)
        await call.hang_up()
        closed = await rig.event(RecorderClosed)
        assert closed.size == path.stat().st_size


async def test_a_worker_that_cannot_start_is_an_error() -> None:
    pool = SipWorkerPool([sys.executable, "-c", "pass"], calls=1, address="127.0.0.1:5060", ready_within_s=1.0)
    with pytest.raises(RuntimeError):
        await pool.start(lambda event: None)


async def test_the_library_is_asked_how_many_calls_it_can_take() -> None:
    pool = SipWorkerPool(worker_argv(), calls=3, address="127.0.0.1:5060", template=WorkerConfig(control_fd=-1))
    await pool.start(lambda event: None)
    try:
        assert pool.max_calls >= 3
        assert len(pool.worker_pids) == -(-3 // (pool.max_calls // len(pool.worker_pids)))
    finally:
        await pool.stop()


async def until_ended(rig: Rig, legs: int) -> None:
    await rig.event(LegEnded, lambda _: len(rig.have(LegEnded)) == legs)


async def until_free(rig: Rig, calls: int) -> None:
    async with asyncio.timeout(6):
        while rig.pool.free_calls != calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def come_back(phone: Softphone, calls: list[Call]) -> None:
    """Be reachable again and know nothing of these calls: their BYE is answered with 481."""
    for call in calls:
        del phone._dialogs[call.sip_call_id, call.local.tag]


async def test_a_slot_whose_bye_nobody_answers_is_no_room_for_a_call(caller: Softphone, agent: Softphone) -> None:
    """The library keeps it for 32 s, and declines calls for which none is left."""
    async with running_pool(2, media_lost_s=1.5) as rig:
        calls, agent_calls = [], []
        for _ in range(rig.pool.max_calls):
            call, _, agent_call, _ = await rig.bridged_call(caller, agent)
            call.audio_source = agent_call.audio_source = numbered()
            calls.append(call)
            agent_calls.append(agent_call)
        for call in calls + agent_calls:
            call.vanish()
        await until_ended(rig, 4)
        assert rig.pool.free_calls == 0
        assert rig.pool.choose_worker("next") is None
        come_back(caller, calls)
        await until_free(rig, 1)
        call, _, agent_call, _ = await rig.bridged_call(caller, agent)
        await call.hang_up()
        come_back(agent, agent_calls)
        await until_free(rig, 2)
        for _ in range(2):
            await rig.bridged_call(caller, agent)


async def test_an_agent_who_is_not_there_holds_his_slot_beyond_the_callers_call(caller: Softphone) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        async with running_pool(1) as rig:
            for taken in (1, 2):
                call, leg = await rig.answered_call(caller)
                rig.pool.send(
                    Dial(f"agent-{taken}", leg, f"sip:agent@127.0.0.1:{mute.getsockname()[1]}", timeout_ms=300)
                )
                await rig.event(LegEnded, lambda event, taken=taken: event.leg == f"agent-{taken}")  # type: ignore[misc]
                await call.hang_up()
                await rig.event(LegEnded, lambda event, leg=leg: event.leg == leg)  # type: ignore[misc]
                assert rig.pool.free_calls == 1
            call, leg = await rig.answered_call(caller)
            assert rig.pool.free_calls == 0
            await call.hang_up()
