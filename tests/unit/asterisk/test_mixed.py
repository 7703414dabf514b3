"""The map of a mono recording finds whose every sample is, and finds what must not be there."""

import itertools
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gateway.media import g711
from gateway.media.dtmf import InbandDtmfDetector
from tests.support.cast import Sendings, Speaker
from tests.support.judged import MS, Judgement, State, Timeline, judge, timelines
from tests.support.mixed import (
    AGENT,
    GATEWAY,
    NUMBERS,
    PERSON,
    STRANGER,
    VOICES,
    Foreign,
    Samples,
    Voice,
    pieces,
    taken_apart,
)


def sound(voice: Voice, *numbers: int | None) -> Samples:
    """Packets one after the other as samples, None for a packet's length of silence."""
    parts = [np.zeros(160, np.int16) if n is None else g711.decode("PCMU", voice.packet(n)) for n in numbers]
    return np.concatenate(parts)


def mixed(*sides: Samples) -> Samples:
    """The sum, as Asterisk adds."""
    added = np.zeros(max(len(side) for side in sides), np.int32)
    for side in sides:
        added[: len(side)] += side
    return np.clip(added, -32768, 32767).astype(np.int16)


def found(samples: Samples) -> list[tuple[Voice, int | None, int, int]]:
    return [(piece.voice, piece.number, piece.sample, piece.length) for piece in pieces(samples)]


# --- the code --------------------------------------------------------------------------------------------------------


def test_every_sum_of_voices_is_another_number_and_none_clips() -> None:
    sums = [sum(levels) for levels in itertools.product(*([0, *voice.levels] for voice in VOICES))]
    assert len(set(sums)) == len(sums) and max(map(abs, sums)) < 32_000


@pytest.mark.parametrize("number", [0, 1, 4096, 46_656, 999_999, NUMBERS - 1])
def test_a_packet_tells_its_number(number: int) -> None:
    for voice in (PERSON, AGENT, STRANGER):
        assert voice.number(voice.packet(number)) == number
        assert found(sound(voice, number)) == [(voice, number, 0, 160)]
    assert PERSON.number(AGENT.packet(number)) is None and PERSON.number(b"\xff" * 160) is None


def test_a_packet_with_one_wrong_digit_is_none() -> None:
    packet = bytearray(PERSON.packet(77))
    packet[32:48] = PERSON.codes[3:4] * 16
    assert PERSON.sounds_in(bytes(packet)) and PERSON.number(bytes(packet)) is None
    with pytest.raises(Foreign, match="no packet of his"):
        pieces(g711.decode("PCMU", bytes(packet)))


def test_nobody_hears_keys_in_the_code() -> None:
    for voice in (PERSON, AGENT, STRANGER):
        detector = InbandDtmfDetector()
        for number in (*range(300), *range(50_000, 50_300), *range(1_000_000, 1_000_300)):
            assert not detector.feed(g711.decode("PCMU", voice.packet(number)))


# --- taking apart ----------------------------------------------------------------------------------------------------


def test_all_three_are_found_in_their_sum() -> None:
    samples = mixed(sound(PERSON, 5, 6), sound(AGENT, 9, None), sound(STRANGER, None, 3))
    assert found(samples) == [(PERSON, 5, 0, 160), (PERSON, 6, 160, 160), (AGENT, 9, 0, 160), (STRANGER, 3, 160, 160)]


def test_a_shifted_packet_lies_across_two_frames() -> None:
    shifted = np.concatenate((np.zeros(40, np.int16), sound(AGENT, 9, 10), np.zeros(120, np.int16)))
    assert found(mixed(sound(PERSON, 5, 6, 7), shifted))[3:] == [(AGENT, 9, 40, 160), (AGENT, 10, 200, 160)]


@pytest.mark.parametrize("part", [slice(1, 160), slice(0, 159), slice(0, 80), slice(80, 160)])
def test_a_part_of_a_packet_is_not_passed_over(part: slice) -> None:
    samples = np.concatenate((sound(PERSON, 7), np.zeros(9, np.int16), sound(PERSON, 8)[part]))
    with pytest.raises(Foreign, match="no packet of his"):
        pieces(samples)


def test_a_prompt_and_noise_are_nobodys() -> None:
    tone = (np.sin(np.arange(160) / 3) * 4000).astype(np.int16)
    for strange in (tone, mixed(sound(PERSON, 5), tone), sound(PERSON, 5) + 1, np.full(160, -32_768, np.int16)):
        with pytest.raises(Foreign, match="no sum of voices"):
            taken_apart(strange.astype(np.int16))


# --- judging ---------------------------------------------------------------------------------------------------------


def said(kind: str, at_ms: int, **facts: Any) -> Any:
    at = f"1970-01-01T00:00:{at_ms // 1000:02}.{at_ms % 1000:03}Z"
    return SimpleNamespace(kind=kind, at=at, facts={"recording": "R-1", **facts})


STORY = [
    said("recorder.command", 1000, command="open"),
    said("recorder.observed", 1010, state="on"),
    said("recorder.command", 3000, command="pause"),
    said("recorder.observed", 3005, state="paused"),
    said("recorder.command", 4000, command="resume"),
    said("recorder.observed", 4085, state="on"),
    said("recorder.command", 6000, command="close"),
    said("recording.closed", 6010, failed="", sha256="x"),
]
ALLOWED = {*range(55, 150), *range(204, 299)}
"""The packets that Asterisk would record: what is sent 100 ms after the opening, not in the pause, until the end."""


def timeline() -> Timeline:
    (one,) = timelines(STORY, 0)
    return one


def conversation(other: Voice = AGENT, *, hears: bool = True) -> Sendings:
    """The person and somebody else talk for seven seconds, a packet every 20 ms each."""
    sent = [(packet, packet * 20 * MS) for packet in range(350)]
    speakers = []
    for voice, listened_to in ((PERSON, other), (other, PERSON)):
        heard = [(0, 0, 0, listened_to.packet(n)) for n, _ in sent] if hears else []
        call = cast(Any, SimpleNamespace(sent=sent, received=heard))
        speakers.append(Speaker(voice, call, 0, [n for n, _ in sent]))
    return Sendings(speakers)


def recorded(numbers: set[int], other: set[int] | None = None, voice: Voice = AGENT) -> Samples:
    """A recording of these packets of both sides."""
    theirs = numbers if other is None else other
    sides = [[n if n in who else None for n in sorted(numbers | theirs)] for who in (numbers, theirs)]
    return mixed(sound(PERSON, *sides[0]), sound(voice, *sides[1]))


def judged(samples: Samples, sent: Sendings | None = None) -> Judgement:
    return judge("file", samples, timeline(), sent or conversation())


def test_the_states_are_what_the_evidence_says() -> None:
    line = timeline()
    at = {500: "F", 1005: "B", 1012: "C", 2999: "C", 3001: "B", 3007: "F", 3999: "F", 4001: "B", 4090: "C", 6011: "F"}
    states = {"F": State.FORBIDDEN, "B": State.BETWEEN, "C": State.CERTAIN}
    assert {ms: line.state(ms * MS) for ms in at} == {ms: states[letter] for ms, letter in at.items()}


def test_what_may_be_recorded_and_is_all_there_is_right() -> None:
    judgement = judged(recorded(ALLOWED))
    judgement.insist()
    assert judgement.packets == 2 * len(ALLOWED) and judgement.required > 250


@pytest.mark.parametrize("packet", [10, 49, 151, 180, 199, 301, 340], ids=lambda n: f"sent at {20 * n} ms")
def test_one_leaked_packet_is_found(packet: int) -> None:
    for leak in ((ALLOWED | {packet}, ALLOWED), (ALLOWED, ALLOWED | {packet})):
        assert len(judged(recorded(*leak)).leaked) == 1


def test_a_stranger_may_never_be_recorded() -> None:
    judgement = judged(recorded(ALLOWED, {120}, STRANGER), conversation(STRANGER))
    assert len(judgement.leaked) == 1 and judgement.leaked[0].startswith("stranger 120")


def test_one_packet_of_a_stranger_of_whom_nobody_could_know_is_counted_and_two_are_a_leak() -> None:
    hold = SimpleNamespace(kind="hold.set", at="1970-01-01T00:00:02.415Z", facts={})
    (line,) = timelines([*STORY[:2], hold, *STORY[2:]], 0)
    for packets, leaked in (({120}, 0), ({119}, 1), ({121}, 1), ({120, 121}, 1)):
        judgement = judge("file", recorded(ALLOWED, packets, STRANGER), line, conversation(STRANGER))
        assert (judgement.unknown, len(judgement.leaked)) == (int(120 in packets), leaked)


def test_a_hole_is_found_where_the_other_had_heard_it() -> None:
    hole = recorded(ALLOWED - set(range(100, 106)), ALLOWED)
    assert [text[:10] for text in judged(hole).lost] == [f"person {n}" for n in range(100, 106)]
    assert not judged(hole, conversation(hears=False)).required


def test_a_hole_that_asterisk_makes_is_counted_and_many_are_too_much() -> None:
    judgement = judged(recorded(ALLOWED - set(range(100, 105)), ALLOWED))
    judgement.insist()
    assert (judgement.dropped, judgement.lost) == (5, [])
    with pytest.raises(AssertionError, match="missing in short holes"):
        judged(recorded(ALLOWED - set(range(60, 145, 2)), ALLOWED)).insist()


def test_a_frame_written_twice_is_found() -> None:
    samples = np.concatenate((recorded(ALLOWED), sound(AGENT, 120)))
    assert judged(samples).wrong == ["agent 120 is there 2.00 times"]


def test_whom_nobody_here_sent_and_the_question_are_wrong() -> None:
    samples = np.concatenate((recorded(ALLOWED), sound(AGENT, 5000), sound(GATEWAY, 0)))
    assert len(judged(samples).wrong) == 2


def test_a_pause_that_was_never_seen_forbids_nothing() -> None:
    (line,) = timelines([*STORY[:3], said("recording.closed", 5000, failed="the end was never observed")], 0)
    assert line.state(4900 * MS) is line.state(9000 * MS) is State.BETWEEN


def test_a_hold_before_its_pause_makes_nothing_certain() -> None:
    hold = SimpleNamespace(kind="hold.set", at="1970-01-01T00:00:02.000Z", facts={})
    (line,) = timelines([*STORY[:2], hold, *STORY[2:]], 0)
    assert line.state(1999 * MS) is State.CERTAIN and line.state(2500 * MS) is State.BETWEEN
