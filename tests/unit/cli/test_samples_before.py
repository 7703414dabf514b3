"""The demonstration's own measure of a leak must see one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.cli.demo_inline import samples_before
from gateway.media import g711

PACKETS = 200
NOISE = np.random.default_rng(7).integers(-8_000, 8_000, PACKETS * 160).astype(np.int16)
SENT = g711.encode("PCMU", NOISE)
STREAM = g711.decode("PCMU", SENT)
MS = 1_000_000


def caller() -> Any:
    """A caller who sent packet n at n * 20 ms."""
    return SimpleNamespace(
        audio_source=lambda packet: SENT[packet * 160 : packet * 160 + 160],
        sent=[(packet, packet * 20 * MS) for packet in range(PACKETS)],
    )


@pytest.mark.parametrize(("first_packet", "verdict_ms", "leaked"), [(100, 1_900, 0), (100, 2_000, 0), (95, 2_000, 800)])
def test_it_counts_what_was_sent_before_the_verdict(first_packet: int, verdict_ms: int, leaked: int) -> None:
    left = STREAM[first_packet * 160 :]
    assert samples_before(left, caller(), verdict_ms * MS, 2_000 * MS) == leaked


def test_leading_silence_belongs_to_the_recording() -> None:
    left = np.concatenate([np.zeros(480, np.int16), STREAM[100 * 160 :]])
    assert samples_before(left, caller(), 2_000 * MS, 2_000 * MS) == 480


def test_a_silent_recording_holds_nothing_and_foreign_sound_is_an_error() -> None:
    assert samples_before(np.zeros(8_000, np.int16), caller(), 0, 0) == 0
    assert samples_before(np.zeros(0, np.int16), caller(), 0, 0) == 0
    foreign = np.random.default_rng(8).integers(-8_000, 8_000, 8_000).astype(np.int16)
    with pytest.raises(ValueError, match="no sound that the caller sent"):
        samples_before(foreign, caller(), 0, 0)
