"""Calls through real media workers: SIP and RTP on loopback, one scripted phone on each side."""

import asyncio
import os
import signal
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import pytest_asyncio

from gateway.adapters.softphone import CallFailed, Softphone
from gateway.app.tasks import spawn
from gateway.media import g711
from gateway.ports.media import (
    Answer,
    Bridge,
    Dial,
    Digit,
    DigitEnded,
    HangUp,
    Incoming,
    Isolate,
    LegAnswered,
    LegEnded,
    LegHeld,
    LegRinging,
    Play,
    PlayFinished,
    Reject,
    SendDtmf,
    StopPlay,
)
from tests.e2e.worker_support import Rig, numbered, offer_video_first, running_pool

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running_pool(2) as running:
        yield running


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


@pytest_asyncio.fixture
async def agent() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


def write_wav(path: Path, samples: int, *, rate: int = 8_000, channels: int = 1) -> str:
    tone = (8_000 * np.sin(np.arange(samples * channels) / 3)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone.tobytes())
    return str(path)


async def test_a_call_arrives_with_who_calls_and_is_answered(rig: Rig, caller: Softphone) -> None:
    call, incoming = await rig.call_in(caller, from_number="+4915112345", from_name='Ann "A" Berg')
    assert (incoming.from_number, incoming.from_name, incoming.to_number) == ("+4915112345", 'Ann "A" Berg', "line")
    rig.pool.send(Answer(incoming.leg))
    await call.answered(5)
    answered = await rig.event(LegAnswered)
    assert (answered.leg, answered.codec) == (incoming.leg, "PCMU")
    await call.hang_up()
    ended = await rig.event(LegEnded)
    assert (ended.leg, ended.code, ended.by) == (incoming.leg, 200, "remote")


async def test_a_call_is_refused_with_the_code_asked_for(rig: Rig, caller: Softphone) -> None:
    call, incoming = await rig.call_in(caller)
    rig.pool.send(Reject(incoming.leg, 480))
    with pytest.raises(CallFailed) as failure:
        await call.answered(5)
    assert failure.value.code == 480
    assert (await rig.event(LegEnded)).by == "local"


async def test_a_caller_who_gives_up_before_the_answer_ends_the_leg(rig: Rig, caller: Softphone) -> None:
    call, incoming = await rig.call_in(caller)
    await call.hang_up()
    ended = await rig.event(LegEnded)
    assert (ended.leg, ended.code, ended.by) == (incoming.leg, 487, "remote")


async def test_a_prompt_is_heard_whole_and_reported_to_the_millisecond(
    rig: Rig, caller: Softphone, tmp_path: Path
) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 8_123)))
    done = await rig.event(PlayFinished)
    assert (done.play, done.played_ms, done.length_ms, done.completed) == ("p", 1015, 1015, True)
    await asyncio.sleep(0.1)
    heard = g711.decode("PCMU", b"".join(payload for *_, payload in call.received)).astype(float)
    assert abs(int((np.abs(heard) > 50).sum()) - 8_123 * 0.995) < 150


async def test_a_prompt_cut_short_reports_what_was_heard(rig: Rig, caller: Softphone, tmp_path: Path) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 40_000)))
    await asyncio.sleep(0.5)
    rig.pool.send(StopPlay(leg, "other"))
    rig.pool.send(StopPlay(leg, "p"))
    done = await rig.event(PlayFinished)
    assert not done.completed
    assert 400 <= done.played_ms <= 540
    await asyncio.sleep(0.1)
    loud = [payload for *_, payload in call.received if len(set(payload)) > 4]
    assert abs(len(loud) * 20 - done.played_ms) <= 20


async def test_a_prompt_that_follows_cuts_the_first(rig: Rig, caller: Softphone, tmp_path: Path) -> None:
    _, leg = await rig.answered_call(caller)
    path = write_wav(tmp_path / "p.wav", 4_000)
    rig.pool.send(Play(leg, "first", path))
    await asyncio.sleep(0.2)
    rig.pool.send(Play(leg, "second", path))
    second = await rig.event(PlayFinished, lambda event: event.play == "second")
    first = await rig.event(PlayFinished, lambda event: event.play == "first")
    assert (first.completed, second.completed) == (False, True)
    assert len(rig.have(PlayFinished)) == 2


async def test_a_caller_who_hangs_up_in_the_prompt_heard_less(rig: Rig, caller: Softphone, tmp_path: Path) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 40_000)))
    await asyncio.sleep(0.3)
    await call.hang_up()
    done = await rig.event(PlayFinished)
    assert not done.completed
    assert done.played_ms < 500


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (8_000, 2)])
async def test_what_is_no_prompt_plays_nothing(
    rig: Rig, caller: Softphone, tmp_path: Path, rate: int, channels: int
) -> None:
    _, leg = await rig.answered_call(caller)
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 800, rate=rate, channels=channels)))
    done = await rig.event(PlayFinished)
    assert (done.played_ms, done.completed) == (0, False)
    rig.pool.send(Play(leg, "q", str(tmp_path / "absent.wav")))
    done = await rig.event(PlayFinished, lambda event: event.play == "q")
    assert (done.played_ms, done.completed) == (0, False)


async def test_keys_are_heard_on_three_transports_and_each_once(rig: Rig, caller: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    await call.send_digit("1", 120)
    await asyncio.sleep(0.1)
    assert await call.send_info_digit("2") == 200
    await call.send_inband_digit("3", 120)
    await asyncio.sleep(0.3)
    digits = rig.have(Digit)
    assert [(digit.value, digit.transport) for digit in digits] == [("1", "rfc4733"), ("2", "info"), ("3", "inband")]
    assert {digit.leg for digit in digits} == {leg}
    ends = rig.have(DigitEnded)
    assert [end.value for end in ends] == ["1", "2", "3"]
    assert [abs(end.duration_ms - wanted) <= 20 for end, wanted in zip(ends, (120, 100, 120), strict=True)]


async def test_one_press_by_event_and_by_tone_counts_once(rig: Rig, caller: Softphone) -> None:
    call, _ = await rig.answered_call(caller)
    event, tone = call.send_digit("5", 150), call.send_inband_digit("5", 150)
    await asyncio.gather(event, tone)
    await asyncio.sleep(0.3)
    assert len(rig.have(Digit)) == 1
    assert len(rig.have(DigitEnded)) == 1


async def test_a_tone_while_our_prompt_plays_is_not_a_key(rig: Rig, caller: Softphone, tmp_path: Path) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 16_000)))
    await asyncio.sleep(0.2)
    await call.send_inband_digit("1", 150)
    await call.send_digit("2")
    await rig.event(PlayFinished)
    await asyncio.sleep(0.2)
    assert [digit.value for digit in rig.have(Digit)] == ["2"]


async def test_the_agent_sees_who_calls_and_both_hear_each_other(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    headers = (("X-Consent-Call-ID", "01J"), ("X-Consent-Verdict", "refused"))
    rig.pool.send(Dial("agent", leg, agent.uri, "+4930 12", 'O"Neil \\ Ünal', headers))
    ringing = await agent.incoming()
    assert (ringing.from_number, ringing.from_name) == ("+4930 12", 'O"Neil \\ Ünal')
    assert set(headers) <= set(ringing.headers)
    await ringing.accept()
    answered = await rig.event(LegAnswered, lambda event: event.leg == "agent")
    assert answered.sip_call_id == ringing.sip_call_id
    rig.pool.send(Bridge(leg, "agent"))
    call.audio_source, ringing.audio_source = numbered(), numbered(100)
    await asyncio.sleep(1)
    for heard, said in ((ringing, numbered()), (call, numbered(100))):
        payloads = [payload for *_, payload in heard.received][-20:]
        start = next(n for n in range(256) if said(n) == payloads[0])
        assert payloads == [said(start + n) for n in range(20)]
    await ringing.hang_up()
    assert await call.ended(5) == 200
    assert (await rig.event(LegEnded, lambda event: event.leg == leg)).by == "local"


async def test_the_caller_hears_ringing_then_early_media(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Dial("agent", leg, agent.uri))
    ringing = await agent.incoming()
    await ringing.ring()
    assert not (await rig.event(LegRinging)).early_media
    await asyncio.sleep(0.5)
    tone = g711.decode("PCMU", b"".join(payload for *_, payload in call.received[-15:])).astype(float)
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert abs(np.argmax(spectrum) * 8_000 / len(tone) - 425) < 10
    ringing.audio_source = numbered(7)
    await ringing.early_media()
    await rig.event(LegRinging, lambda event: event.early_media)
    await asyncio.sleep(0.5)
    assert all(len(set(payload)) == 1 for *_, payload in call.received[-10:])
    assert len({payload for *_, payload in call.received[-10:]}) == 10


@pytest.mark.parametrize("code", [486, 603, 404, 503])
async def test_an_agent_who_refuses_ends_his_leg_with_his_code(
    rig: Rig, caller: Softphone, agent: Softphone, code: int
) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Dial("agent", leg, agent.uri))
    ringing = await agent.incoming()
    await ringing.reject(code)
    ended = await rig.event(LegEnded)
    assert (ended.leg, ended.code, ended.by) == ("agent", code, "remote")
    assert not call.is_over


async def test_an_agent_who_does_not_answer_is_given_up(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Dial("agent", leg, agent.uri, timeout_ms=700))
    ringing = await agent.incoming()
    await ringing.ring()
    ended = await rig.event(LegEnded)
    assert (ended.leg, ended.code, ended.by) == ("agent", 408, "timeout")
    assert await ringing.ended(5) == 487
    assert not call.is_over


async def test_a_caller_who_hangs_up_while_the_agent_rings_ends_both(
    rig: Rig, caller: Softphone, agent: Softphone
) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(Dial("agent", leg, agent.uri))
    ringing = await agent.incoming()
    await ringing.ring()
    await call.hang_up()
    assert await ringing.ended(5) == 487
    await rig.event(LegEnded, lambda event: event.leg == "agent")


@pytest.mark.parametrize(
    "more",
    [
        {"from_name": "A\r\nX-Evil: 1"},
        {"from_number": "1\n2"},
        {"headers": (("X-A", "1\r\nX-Evil: 1"),)},
        {"headers": (("X-A:\r\nX-B", "1"),)},
        {"uri": "sip:a@127.0.0.1:9\r\nX: 1"},
        {"uri": "not a uri"},
    ],
)
async def test_a_value_that_would_break_a_header_is_refused(
    rig: Rig, caller: Softphone, more: dict[str, object]
) -> None:
    _, leg = await rig.answered_call(caller)
    arguments: dict[str, object] = {"leg": "agent", "beside": leg, "uri": "sip:a@127.0.0.1:9", **more}
    rig.pool.send(Dial(**arguments))  # type: ignore[arg-type]
    assert (await rig.event(LegEnded)).code == 400


async def test_a_dial_beside_a_call_that_is_gone_ends_at_once(rig: Rig) -> None:
    rig.pool.send(Dial("agent", "nobody", "sip:a@127.0.0.1"))
    assert (await rig.event(LegEnded)).code == 487


async def test_hold_and_resume_from_either_side(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    call.audio_source, agent_call.audio_source = numbered(), numbered(100)
    for phone_call, its_leg in ((call, leg), (agent_call, agent_leg)):
        for direction in ("sendonly", "inactive"):
            rig.events.clear()
            assert await phone_call.hold(direction) == 200  # type: ignore[arg-type]
            await rig.event(LegHeld, lambda event, its_leg=its_leg: event.leg == its_leg and event.held)  # type: ignore[misc]
            assert await phone_call.resume() == 200
            await rig.event(LegHeld, lambda event, its_leg=its_leg: event.leg == its_leg and not event.held)  # type: ignore[misc]
    await asyncio.sleep(0.5)
    assert len({payload for *_, payload in call.received[-10:]}) == 10
    assert len({payload for *_, payload in agent_call.received[-10:]}) == 10
    assert not rig.have(LegEnded)


async def test_digits_are_sent_by_telephone_event(rig: Rig, caller: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    rig.pool.send(SendDtmf(leg, "42#"))
    await call.until(lambda: len(call.digits) == 3)
    assert [digit.digit for digit in call.digits] == ["4", "2", "#"]


async def test_a_prompt_in_a_connected_call_is_heard_over_the_agent(
    rig: Rig, caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    call, leg, agent_call, _ = await rig.bridged_call(caller, agent)
    agent_call.audio_source = numbered()
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 4_000)))
    done = await rig.event(PlayFinished)
    assert done.completed
    await asyncio.sleep(0.3)
    assert all(len(set(payload)) == 1 for *_, payload in call.received[-8:])


async def test_an_isolated_leg_hears_prompts_only_and_is_heard(
    rig: Rig, caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    call, leg, agent_call, _ = await rig.bridged_call(caller, agent)
    call.audio_source, agent_call.audio_source = numbered(), numbered(100)
    await asyncio.sleep(0.5)
    rig.pool.send(Isolate(leg, True))
    rig.pool.send(Play(leg, "p", write_wav(tmp_path / "p.wav", 4_000)))
    await rig.event(PlayFinished)
    await asyncio.sleep(0.3)
    assert {payload for *_, payload in call.received[-8:]} == {b"\xff" * 160}
    assert len({payload for *_, payload in agent_call.received[-8:]}) == 8
    assert await call.hold() == 200
    assert await call.resume() == 200
    await asyncio.sleep(0.4)
    assert {payload for *_, payload in call.received[-8:]} == {b"\xff" * 160}
    rig.pool.send(Isolate(leg, False))
    await asyncio.sleep(0.3)
    assert len({payload for *_, payload in call.received[-8:]}) == 8


async def test_a_silent_line_is_ended_as_media_lost(caller: Softphone) -> None:
    async with running_pool(1, media_lost_s=1.5) as rig:
        call, leg = await rig.answered_call(caller)
        call.audio_source = numbered()
        await asyncio.sleep(2.5)
        assert not call.is_over
        call.stop_rtp()
        ended = await rig.event(LegEnded, within=6)
        assert (ended.leg, ended.by) == (leg, "media")


async def test_a_line_that_offered_video_first_is_watched_too(
    caller: Softphone, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_video_first(monkeypatch)
    async with running_pool(1, media_lost_s=1.5) as rig:
        call, leg = await rig.answered_call(caller)
        assert rig.have(LegAnswered)[0].codec == "PCMU"
        call.audio_source = numbered()
        await asyncio.sleep(2.5)
        assert not call.is_over
        call.stop_rtp()
        ended = await rig.event(LegEnded, within=6)
        assert (ended.leg, ended.by) == (leg, "media")


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_a_far_end_on_hold_may_be_silent_for_as_long_as_it_is_there(
    caller: Softphone, agent: Softphone, direction: Literal["sendonly", "inactive"]
) -> None:
    async with running_pool(1, media_lost_s=2.0) as rig:
        call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
        call.audio_source = agent_call.audio_source = numbered()
        assert await agent_call.hold(direction) == 200
        await asyncio.sleep(7)
        assert not rig.have(LegEnded)
        assert not call.is_over
        agent_call.vanish()
        ended = await rig.event(LegEnded, lambda event: event.leg == agent_leg, within=5)
        assert (ended.code, ended.by) == (408, "media")
        assert await call.ended(2) == 200
        await rig.event(LegEnded, lambda event: event.leg == leg)


async def test_an_unknown_source_is_refused_and_nobody_hears_of_it() -> None:
    async with running_pool(1, sources=("192.0.2.0/24",)) as rig, await Softphone.open(host="127.0.0.2") as stranger:
        place = rig.pool.choose_worker("stranger")
        assert place is not None
        call = await stranger.call(f"sip:line@{place[0]}:{place[1]}")
        with pytest.raises(CallFailed) as failure:
            await call.answered(5)
        assert failure.value.code == 403
        assert not rig.have(Incoming)


async def test_a_full_pool_says_so_and_a_full_worker_turns_calls_away(rig: Rig, caller: Softphone) -> None:
    places = [rig.pool.choose_worker(f"call-{n}") for n in range(rig.pool.max_calls)]
    assert None not in places
    assert rig.pool.choose_worker("one more") is None
    assert rig.pool.free_calls == 0
    host, port = places[0] or ("", 0)
    legs = []
    for _ in range(2):
        call = await caller.call(f"sip:line@{host}:{port}")
        await rig.event(Incoming, lambda event, call=call: event.sip_call_id == call.sip_call_id)  # type: ignore[misc]
        legs.append(call)
    third = await caller.call(f"sip:line@{host}:{port}")
    third.follow_redirects = False
    with pytest.raises(CallFailed) as failure:
        await third.answered(5)
    assert failure.value.code == 302
    for call in legs:
        await call.hang_up()
    while len(rig.have(LegEnded)) < len(legs):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for n in range(rig.pool.max_calls):
        assert rig.pool.free_calls == n
        rig.pool.release(f"call-{n}")
    assert rig.pool.free_calls == rig.pool.max_calls


async def test_a_caller_nobody_answers_is_released(caller: Softphone) -> None:
    async with running_pool(1, unanswered_s=0.5) as rig:
        call, incoming = await rig.call_in(caller)
        with pytest.raises(CallFailed) as failure:
            await call.answered(5)
        assert failure.value.code == 480
        ended = await rig.event(LegEnded)
        assert (ended.leg, ended.by) == (incoming.leg, "timeout")


async def test_commands_for_legs_that_are_gone_are_dropped(rig: Rig, caller: Softphone) -> None:
    call, leg = await rig.answered_call(caller)
    await call.hang_up()
    await rig.event(LegEnded)
    for command in (Answer(leg), HangUp(leg), StopPlay(leg, "p"), SendDtmf(leg, "1"), Bridge(leg, "x")):
        rig.pool.send(command)
    _, other = await rig.answered_call(caller)
    assert other != leg


@pytest.mark.parametrize("others", range(4))
async def test_a_call_that_comes_the_moment_another_ends_is_not_ended_with_it(caller: Softphone, others: int) -> None:
    """The library gives the new call the slot of the old one, whose object is still to be destroyed.

    The worker stands still meanwhile, so that it reads the BYE and two INVITEs at once; *others* moves the slot.
    """
    async with running_pool(1) as rig:
        before, _ = await rig.answered_call(caller)
        for n in range(others):
            call, _ = await rig.answered_call(caller)
            await call.hang_up()
            await rig.event(LegEnded, lambda event, n=n: len(rig.have(LegEnded)) > n)  # type: ignore[misc]
        (pid,) = rig.pool.worker_pids
        place = rig.pool.choose_worker("next")
        assert place is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            ending = spawn(before.hang_up(), name="the call before")
            await asyncio.sleep(0.05)
            calls = [await caller.call(f"sip:line@{place[0]}:{place[1]}") for _ in range(2)]
            await asyncio.sleep(0.05)
        finally:
            os.kill(pid, signal.SIGCONT)
        for call in calls:
            of = call.sip_call_id
            arrived = await rig.event(Incoming, lambda event, of=of: event.sip_call_id == of)  # type: ignore[misc]
            rig.pool.send(Answer(arrived.leg))
        for call in calls:
            await call.answered(10)
            await call.hang_up()
        await ending


async def test_twenty_calls_a_second_come_and_go_without_a_crash(caller: Softphone, agent: Softphone) -> None:
    async with running_pool(8) as rig:
        pids = rig.pool.worker_pids
        end, done = time.monotonic() + 6, 0

        async def one(number: int) -> bool:
            place = rig.pool.choose_worker(f"call-{number}")
            if place is None:
                return False
            call = await caller.call(f"sip:line@{place[0]}:{place[1]}")
            try:
                incoming = await rig.event(Incoming, lambda event: event.sip_call_id == call.sip_call_id)
            except TimeoutError:
                return False
            rig.pool.release(f"call-{number}")
            rig.pool.send(Answer(incoming.leg))
            if number % 3 == 0:
                rig.pool.send(Play(incoming.leg, "p", "/nonexistent"))
            await call.answered(5)
            await asyncio.sleep(0.05 * (number % 4))
            if number % 2:
                await call.hang_up()
            else:
                rig.pool.send(HangUp(incoming.leg))
                await call.ended(5)
            return True

        running: list[asyncio.Future[bool]] = []
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < end:
                running.append(group.create_task(one(len(running))))
                await asyncio.sleep(0.05)
        done = sum(task.result() for task in running)
        await asyncio.sleep(0.2)
        assert rig.pool.worker_pids == pids
        assert done > 80
        assert len(rig.have(LegEnded)) == len(rig.have(Incoming))
        assert rig.pool.free_calls == rig.pool.max_calls
