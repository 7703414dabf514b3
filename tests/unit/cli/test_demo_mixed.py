"""A recording with two people in one channel is taken apart to the packet, and what is in it by mistake is seen."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.cli.demo_asterisk import LOUDNESS
from gateway.cli.demo_mixed import PACKET, Audio, Sent, heard, is_tone
from gateway.cli.demo_people import speech
from gateway.media import g711

MS = 1_000_000
PACKETS = 400


def sent(role: str, first_ms: int = 0) -> Sent:
    """What a phone of the demonstration sends from *first_ms* on, a packet every 20 ms."""
    source = speech(role, loudness=LOUDNESS)
    samples = g711.decode("PCMU", b"".join(source(number) for number in range(PACKETS)))
    return Sent(samples.reshape(-1, PACKET), (np.arange(PACKETS) * 20 + first_ms) * MS)


CALLER, AGENT = sent("caller"), sent("agent", first_ms=2_000)


def mixed(first_ms: int, last_ms: int) -> Audio:
    """A recording of both from one moment until another."""
    moments = range(first_ms, last_ms, 20)
    frames = [CALLER.packets[ms // 20] + AGENT.packets[(ms - 2_000) // 20] for ms in moments]
    return np.concatenate(frames).astype(np.int16)


def with_sound(one: Sent, first_ms: int, last_ms: int) -> list[int]:
    """When *one* sent packets that are not silence."""
    return [
        int(at_ns)
        for packet, at_ns in zip(one.packets, one.at_ns, strict=True)
        if packet.any() and first_ms * MS <= at_ns < last_ms * MS
    ]


def test_the_speech_of_both_together_is_never_cut_off() -> None:
    loudest = [
        int(np.abs(g711.decode("PCMU", b"".join(speech(role, loudness=LOUDNESS)(n) for n in range(2_800)))).max())
        for role in ("caller", "agent")
    ]
    assert sum(loudest) < 2**15, loudest


def test_each_packet_of_both_is_found_with_the_time_it_was_sent() -> None:
    found = heard(mixed(3_000, 6_000), CALLER, AGENT, 3_000 * MS)
    assert found.caller_ns == with_sound(CALLER, 3_000, 6_000)
    assert found.agent_ns == with_sound(AGENT, 3_000, 6_000)
    assert (found.ringing, found.strange) == (0, 0)
    assert len(found.caller_ns) > 100 and len(found.agent_ns) > 100


def test_what_was_sent_before_a_moment_is_counted_in_samples() -> None:
    found = heard(mixed(3_000, 4_000), CALLER, AGENT, 3_000 * MS)
    early = len(with_sound(CALLER, 3_000, 3_200)) + len(with_sound(AGENT, 3_000, 3_200))
    assert early > 10
    assert found.samples(0, 3_200 * MS) == early * PACKET
    assert found.samples(0, 3_000 * MS) == 0


def test_one_of_them_alone_a_silence_and_a_hole_are_no_riddle() -> None:
    recorded = mixed(3_000, 6_000)
    recorded[: 20 * PACKET] = AGENT.packets[50:70].ravel()  # the caller came later
    recorded[60 * PACKET : 90 * PACKET] = 0  # paused
    recorded = np.concatenate((recorded[: 100 * PACKET], recorded[104 * PACKET :]))  # 80 ms are lost
    found = heard(recorded, CALLER, AGENT, 3_000 * MS)
    assert found.strange == 0
    expected = [
        at for at in with_sound(CALLER, 3_400, 6_000) if not (4_200 <= at / MS < 4_800 or 5_000 <= at / MS < 5_080)
    ]
    assert found.caller_ns == expected


def test_speech_that_is_repeated_is_taken_for_what_was_sent_nearest() -> None:
    twice = Sent(np.concatenate((CALLER.packets, CALLER.packets)), np.arange(2 * PACKETS) * 20 * MS)
    nobody = Sent(np.zeros((0, PACKET), np.int16), np.zeros(0, np.int64))
    recorded = CALLER.packets[100:200].ravel()
    for near_ms, begin_ms in ((2_000, 2_000), (10_000, 10_000)):
        found = heard(recorded, twice, nobody, near_ms * MS)
        assert found.caller_ns[0] == pytest.approx(begin_ms * MS, abs=400 * MS)
        assert all(after > before for before, after in pairwise(found.caller_ns))


def test_sound_that_neither_sent_is_told_apart_from_asterisks_ringing_tone() -> None:
    recorded = mixed(3_000, 4_000)
    noise = np.random.default_rng(3).integers(-8_000, 8_000, PACKET).astype(np.int16)
    tone = np.round(7_219 * np.sin(2 * np.pi * 440 * np.arange(5_000, 5_160) / 8_000)).astype(np.int16)
    strange = np.concatenate((tone, recorded[: 10 * PACKET], noise, recorded[11 * PACKET :], noise[:7]))
    found = heard(strange, CALLER, AGENT, 3_000 * MS)
    assert found.ringing == PACKET
    assert found.strange == int(np.count_nonzero(noise)) + 7
    assert len(found.agent_ns) >= len(with_sound(AGENT, 3_000, 4_000)) - 1


@pytest.mark.parametrize("hz", [350, 480])
def test_a_tone_of_another_pitch_is_not_the_ringing_tone(hz: int) -> None:
    assert not is_tone(np.round(7_000 * np.sin(2 * np.pi * hz * np.arange(PACKET) / 8_000)).astype(np.int16), 440)
    assert not is_tone(np.zeros(PACKET, np.int16), 440)
    assert not any(is_tone(packet, 440) for one in (CALLER, AGENT) for packet in one.packets)
