"""The parts of `bench answers` that judge: what arrived of a prompt, when words ended, what counts as never."""

import math
import select
import socket
import time

import numpy as np
import pytest

from bench import answers
from bench.answers import FRAME_NS, SILENT, StampedSocket, Words, heard, same_sound, spread
from gateway.media import g711
from gateway.wire.rtp import RtpPacket
from tests.support.spoken import recording

PROMPT = g711.encode("PCMU", (np.sin(np.arange(1_600) * 0.35) * 4_000 + 300).astype(np.int16))
"""Ten packets."""
FRAMES = [PROMPT[at : at + 160] for at in range(0, len(PROMPT), 160)]


def stream(payloads: list[bytes], first: int = 0) -> list[tuple[int, bytes]]:
    """One packet every 20 ms."""
    return [
        (n * FRAME_NS, RtpPacket(0, (first + n) % 0x10000, n * 160, 7, payload).encode())
        for n, payload in enumerate(payloads)
    ]


def test_a_prompt_that_arrived_whole_is_the_prompt_and_nothing_is_missing() -> None:
    found = heard(stream([SILENT, SILENT, *FRAMES, SILENT]), PROMPT)
    assert (found.packets, found.missing, found.same) == (10, 0, True)
    assert found.between_ms == (20.0,) * 9, "silence around the prompt is not counted"


def test_what_was_lost_is_missing_and_leaves_a_gap() -> None:
    arrived = stream(FRAMES)
    del arrived[4]
    found = heard(arrived, PROMPT)
    assert (found.packets, found.missing, found.same) == (9, 1, False)
    assert max(found.between_ms) == 40.0


def test_a_stream_that_wraps_its_numbers_and_comes_out_of_order_is_still_the_prompt() -> None:
    arrived = stream(FRAMES, first=0xFFFC)
    (early, one), (late, other) = arrived[3:5]
    arrived[3:5] = (early, other), (late, one)
    found = heard(arrived, PROMPT)
    assert (found.missing, found.same) == (0, True)


def test_a_frame_that_was_put_in_or_repeated_is_not_the_prompt() -> None:
    assert not heard(stream([*FRAMES[:5], SILENT, *FRAMES[5:]]), PROMPT).same
    assert not heard(stream([*FRAMES[:5], FRAMES[4], *FRAMES[5:]]), PROMPT).same


def test_silence_alone_is_no_prompt() -> None:
    assert heard(stream([SILENT] * 5), PROMPT).packets == 0
    assert heard([], PROMPT).packets == 0


def test_telephone_events_are_no_audio() -> None:
    arrived = stream(FRAMES)
    arrived.insert(5, (5 * FRAME_NS, RtpPacket(101, 900, 0, 7, b"\x01\x8a\x00\xa0").encode()))
    assert heard(arrived, PROMPT) == heard(stream(FRAMES), PROMPT)


def test_two_encoders_may_differ_by_a_step_and_no_more() -> None:
    ranked = sorted(range(256), key=lambda code: int(g711.decode("PCMU", bytes((code,)))[0]))
    position = next(n for n, code in enumerate(ranked) if code == PROMPT[3])
    one, two = (PROMPT[:3] + bytes((ranked[position + by],)) + PROMPT[4:] for by in (1, 2))
    assert same_sound(one, PROMPT) and not same_sound(two, PROMPT)
    assert not same_sound(PROMPT[1:], PROMPT)


def test_words_end_with_their_last_sound_when_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 1_000 * FRAME_NS
    monkeypatch.setattr(answers.time, "monotonic_ns", lambda: now_ns)
    words, sent, payloads = Words(recording("yes-i-agree")), [], []
    for n in range(200):
        if n == 10:
            words.end_at(now_ns + 100 * FRAME_NS)
        payloads.append(words(n))
        sent.append((n, now_ns))
        now_ns += FRAME_NS
    assert words.ended_ns(sent) == 1_110 * FRAME_NS
    loud = [n for n, payload in enumerate(payloads) if abs(g711.decode("PCMU", payload).astype(int)).max() > 500]
    assert 105 < loud[-1] <= 110


def test_words_that_were_not_sent_have_no_end() -> None:
    with pytest.raises(RuntimeError, match="did not send"):
        Words(recording("yes-i-agree")).ended_ns([(0, 1), (1, 2)])


def test_what_never_came_is_slower_than_all_that_did() -> None:
    found = spread([*map(float, range(1, 20)), math.inf])
    assert found["p50_ms"] == 10 and found["p95_ms"] == 19
    assert found["max_ms"] is None


def test_the_kernel_stamps_what_arrives() -> None:
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.bind(("127.0.0.1", 0))
    with StampedSocket(plain) as there, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        before = time.time_ns()
        here.sendto(b"one", there.getsockname())
        select.select([there], [], [], 5)
        after = time.time_ns()
        assert there.recvfrom(2_048) == (b"one", here.getsockname())
        ((at_ns, data),) = there.stamped
        assert data == b"one" and before - 1_000_000 <= at_ns <= after + 1_000_000
