"""Digits in the audio, and lines that echo what they hear. Real workers and RTP on loopback."""

import asyncio
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from gateway.adapters.softphone import Call, Softphone
from gateway.ports.media import Digit, Isolate, Play, PlayFinished, SendDtmf
from tests.e2e.worker_support import Rig, echoing, numbered, running_pool

pytestmark = pytest.mark.slow

CODE = "*72"


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running_pool(1) as running:
        yield running


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


@pytest_asyncio.fixture
async def agent() -> AsyncIterator[Softphone]:
    async with await Softphone.open(host="127.0.0.1") as phone:
        yield phone


async def dial_inband(call: Call, digits: str) -> None:
    for digit in digits:
        await call.send_inband_digit(digit, 100)


def keys(rig: Rig, leg: str) -> str:
    return "".join(event.value for event in rig.have(Digit) if event.leg == leg)


def prompt(path: Path, seconds: float) -> str:
    tone = (3_000 * np.sin(np.arange(int(seconds * 8_000)) / 3)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(tone.tobytes())
    return str(path)


@pytest.mark.parametrize("delay_ms", [40, 300, 700])
@pytest.mark.parametrize("dialler", ["caller", "agent"])
async def test_a_code_that_the_other_line_echoes_is_dialled_once(
    rig: Rig, caller: Softphone, agent: Softphone, dialler: str, delay_ms: int
) -> None:
    call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    sides = [(call, leg), (agent_call, agent_leg)]
    (dialling, its_leg), (other, other_leg) = sides if dialler == "caller" else sides[::-1]
    other.audio_source = echoing(other, delay_ms)
    await asyncio.sleep(1)
    await dial_inband(dialling, CODE)
    await asyncio.sleep(1.3)
    assert (keys(rig, its_leg), keys(rig, other_leg)) == (CODE, "")


async def test_a_long_press_whose_echo_breaks_off_is_one_press(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    echo = echoing(agent_call, 200)
    agent_call.audio_source = lambda n: echo(n) if n % 25 < 20 else b"\xff" * 160
    await asyncio.sleep(1)
    await call.send_inband_digit("7", 3_000)
    await asyncio.sleep(1)
    assert (keys(rig, leg), keys(rig, agent_leg)) == ("7", "")


async def test_an_echo_of_what_is_dialled_over_a_prompt_is_no_key_either(
    rig: Rig, caller: Softphone, agent: Softphone, tmp_path: Path
) -> None:
    """While a prompt plays to the caller his tones are no keys of his: the agent hears them all the same."""
    call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    agent_call.audio_source = echoing(agent_call, 300)
    await asyncio.sleep(1)
    rig.pool.send(Play(leg, "p", prompt(tmp_path / "p.wav", 1.5)))
    await asyncio.sleep(0.2)
    await dial_inband(call, CODE)
    await rig.event(PlayFinished)
    await asyncio.sleep(0.5)
    assert (keys(rig, leg), keys(rig, agent_leg)) == ("", "")


async def test_an_agent_whose_line_echoes_dials_for_himself(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    agent_call.audio_source = echoing(agent_call, 300)
    await asyncio.sleep(1)
    await call.send_inband_digit("7", 100)
    await agent_call.send_inband_digit("1", 100)
    await agent_call.send_digit("7", 100)
    await asyncio.sleep(1.4)
    await agent_call.send_inband_digit("7", 100)
    await asyncio.sleep(0.3)
    assert (keys(rig, leg), keys(rig, agent_leg)) == ("7", "177")


async def test_who_did_not_hear_a_digit_does_not_echo_it(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    """A caller who is asked hears prompts only: his answer counts, whatever the agent dials."""
    call, leg, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    rig.pool.send(Isolate(leg, True))
    await asyncio.sleep(0.3)
    await agent_call.send_inband_digit("1", 100)
    await call.send_inband_digit("1", 100)
    await asyncio.sleep(0.3)
    assert (keys(rig, leg), keys(rig, agent_leg)) == ("1", "1")


async def test_a_signalled_digit_is_not_heard_by_the_other_party(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    """No tone is made of it on its way: it can have no echo, unless we pass it on."""
    call, leg, agent_call, _ = await rig.bridged_call(caller, agent)
    call.audio_source = None
    await asyncio.sleep(0.5)
    await call.send_digit("7", 300)
    await asyncio.sleep(0.3)
    assert keys(rig, leg) == "7"
    assert np.abs(agent_call.received_audio()).max() < 50


async def test_a_digit_passed_on_may_come_back_as_a_tone(rig: Rig, caller: Softphone, agent: Softphone) -> None:
    """An adapter for analogue telephones makes a tone of it on its line, which echoes."""
    _, _, agent_call, agent_leg = await rig.bridged_call(caller, agent)
    agent_call.audio_source = numbered()
    rig.pool.send(SendDtmf(agent_leg, CODE))
    for heard, digit in enumerate(CODE, 1):
        await agent_call.until(lambda heard=heard: len(agent_call.digits) >= heard)  # type: ignore[misc]
        await agent_call.send_inband_digit(digit, 100)
    await asyncio.sleep(0.3)
    assert keys(rig, agent_leg) == ""
    await asyncio.sleep(1.5)
    await dial_inband(agent_call, CODE)
    await asyncio.sleep(0.3)
    assert keys(rig, agent_leg) == CODE
