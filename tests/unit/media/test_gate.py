"""The recorder's gate, rule by rule and then over arbitrary commands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.gate import (
    FRAME_BYTES,
    Fill,
    GateClosed,
    GateObserved,
    GateSpan,
    RecordingGate,
    Segment,
)


def side(value: int) -> np.ndarray:
    return np.full(160, value, np.int16)


def feed(gate: RecordingGate, *numbers: int) -> list[Segment]:
    return [segment for number in numbers for segment in gate.feed(side(number), side(-number))]


def left_numbers(segments: list[Segment]) -> list[int]:
    """The left side's number of every frame, 0 for silence."""
    numbers: list[int] = []
    for segment in segments:
        if isinstance(segment, int):
            numbers += [0] * segment
        else:
            assert len(segment) == FRAME_BYTES
            frame = np.frombuffer(segment, np.int16).reshape(160, 2)
            assert (frame[:, 0] == frame[0, 0]).all()
            numbers.append(int(frame[0, 0]))
    return numbers


def test_an_open_gate_lets_both_sides_through() -> None:
    (frame,) = RecordingGate().feed(side(7), side(-9))
    assert isinstance(frame, bytes)
    assert np.frombuffer(frame, np.int16).reshape(160, 2).tolist() == [[7, -9]] * 160


def test_a_side_without_a_frame_is_silence() -> None:
    (frame,) = RecordingGate().feed(None, side(3))
    assert np.frombuffer(frame, np.int16).reshape(160, 2).tolist() == [[0, 3]] * 160


def test_a_paused_span_is_silence_of_the_same_length() -> None:
    gate = RecordingGate(cause="granted")
    out = feed(gate, 1, 2)
    gate.pause("card_entry")
    out += feed(gate, 3, 4, 5)
    gate.resume("card_entry over")
    out += feed(gate, 6)
    out += gate.close()
    assert left_numbers(out) == [1, 2, 0, 0, 0, 6]
    assert gate.spans == (
        GateSpan("on", 0, 2, "granted"),
        GateSpan("paused", 2, 5, "card_entry"),
        GateSpan("on", 5, 6, "card_entry over"),
    )


def test_a_gap_leaves_nothing_but_still_counts() -> None:
    gate = RecordingGate(fill="gap")
    out = feed(gate, 1)
    gate.pause("p")
    out += feed(gate, 2, 3)
    gate.resume("r")
    out += feed(gate, 4)
    assert left_numbers(out) == [1, 4]
    assert [(span.from_frame, span.to_frame) for span in gate.spans] == [(0, 1), (1, 3), (3, 4)]


def test_a_pause_reaches_back_over_the_look_behind() -> None:
    gate = RecordingGate(look_behind=3)
    out = feed(gate, 1, 2, 3, 4, 5)
    assert left_numbers(out) == [1, 2]
    gate.pause("card")
    out += feed(gate, 6)
    assert gate.take_observed() == [GateObserved("on", 0, ""), GateObserved("paused", 2, "card")]
    out += gate.close()
    assert left_numbers(out) == [1, 2, 0, 0, 0, 0]
    assert gate.spans == (GateSpan("on", 0, 2, ""), GateSpan("paused", 2, 6, "card"))


def test_a_second_pause_keeps_the_first_ones_cause() -> None:
    gate = RecordingGate(look_behind=4)
    out = feed(gate, 1)
    gate.pause("first")
    out += feed(gate, 2)
    gate.resume("r")
    out += feed(gate, 3)
    gate.pause("second")
    out += feed(gate, 4)
    out += gate.close()
    assert left_numbers(out) == []
    assert [(span.state, span.cause, span.to_frame) for span in gate.spans] == [
        ("paused", "first", 2),
        ("paused", "second", 4),
    ]


def test_each_side_is_silent_until_what_it_sent_before_the_opening_is_out() -> None:
    gate = RecordingGate(opening=0)
    assert np.frombuffer(gate.feed(side(1), side(-1))[0], np.int16).tolist() == [0] * 320  # type: ignore[arg-type]
    gate.drained(0, 0, 2)
    gate.drained(0, 1, 1)
    out = [np.frombuffer(gate.feed(side(n), side(-n))[0], np.int16)[:2].tolist() for n in (2, 3, 4)]  # type: ignore[arg-type]
    assert out == [[0, 0], [0, -3], [4, -4]]


def test_a_resume_drains_anew_and_an_earlier_opening_cannot_end_it() -> None:
    gate = RecordingGate(opening=0)
    gate.drained(0, 0)
    out = feed(gate, 1)
    gate.pause("p")
    out += feed(gate, 2)
    gate.resume("r", 1)
    gate.drained(0, 0)
    out += feed(gate, 3)
    gate.drained(1, 0, 1)
    gate.drained(1, 0, 9)
    out += feed(gate, 4, 5)
    assert left_numbers(out) == [1, 0, 0, 0, 5]
    assert gate.spans[-1].state == "on"


def test_a_resume_of_an_open_gate_leaves_its_opening_as_it_is() -> None:
    gate = RecordingGate(opening=0)
    gate.resume("again", 1)
    gate.drained(1, 0)
    out = feed(gate, 1)
    gate.drained(0, 0)
    out += feed(gate, 2)
    assert left_numbers(out) == [0, 2]


def test_nothing_leaves_before_the_first_recorded_frame_and_then_nothing_is_missing() -> None:
    gate = RecordingGate(paused=True, cause="held")
    assert feed(gate, 1, 2) == []
    assert not gate.recorded
    gate.resume("go")
    out = feed(gate, 3)
    assert out[0] == 2
    assert left_numbers(out) == [0, 0, 3]


def test_a_recording_that_never_turned_on_is_empty() -> None:
    gate = RecordingGate(paused=True, look_behind=2)
    assert feed(gate, 1, 2, 3, 4) == []
    assert gate.close() == []
    assert not gate.recorded
    assert gate.spans == (GateSpan("paused", 0, 4, ""),)


def test_a_pause_inside_the_look_behind_of_the_opening_leaves_nothing_at_all() -> None:
    gate = RecordingGate(look_behind=10)
    feed(gate, 1, 2, 3)
    gate.pause("withdrawn")
    feed(gate, 4)
    assert gate.close() == []


def test_a_state_is_observed_with_its_first_frame_not_with_the_command() -> None:
    gate = RecordingGate(cause="granted")
    assert gate.take_observed() == []
    feed(gate, 1)
    assert gate.take_observed() == [GateObserved("on", 0, "granted")]
    gate.pause("p")
    assert gate.take_observed() == []
    feed(gate, 2)
    assert gate.take_observed() == [GateObserved("paused", 1, "p")]
    assert gate.take_observed() == []


def test_the_same_command_twice_changes_nothing() -> None:
    gate = RecordingGate()
    feed(gate, 1)
    gate.pause("p")
    gate.pause("q")
    feed(gate, 2)
    gate.resume("r")
    gate.resume("s", 9)
    out = feed(gate, 3, 4)
    assert left_numbers(out) == [3, 4]
    assert [span.cause for span in gate.spans] == ["", "p", "r"]


def test_after_the_close_nothing_is_taken() -> None:
    gate = RecordingGate()
    gate.close()
    for act in (lambda: gate.feed(None, None), lambda: gate.pause(""), lambda: gate.resume(""), gate.close):
        with pytest.raises(GateClosed):
            act()


def test_a_negative_look_behind_is_refused() -> None:
    with pytest.raises(ValueError, match="look_behind"):
        RecordingGate(look_behind=-1)


@given(
    commands=st.lists(
        st.one_of(
            st.just("feed"),
            st.just("pause"),
            st.tuples(st.just("resume"), st.none() | st.integers(1, 3)),
            st.tuples(st.just("drained"), st.integers(1, 3)),
        ),
        max_size=60,
    ),
    look_behind=st.integers(0, 8),
    fill=st.sampled_from(["silence", "gap"]),
    paused=st.booleans(),
)
def test_whatever_is_commanded_no_paused_frame_leaves_and_the_spans_tell_the_truth(
    commands: list[str | tuple[str, int | None]], look_behind: int, fill: Fill, paused: bool
) -> None:
    gate = RecordingGate(look_behind=look_behind, fill=fill, paused=paused, cause="0")
    out: list[Segment] = []
    number = 0
    on = not paused
    opening: int | None = None
    draining = False
    allowed: dict[int, int] = {}
    for place, command in enumerate(commands):
        if command == "feed":
            number += 1
            allowed[number] = number if on and not draining else 0
            out += feed(gate, number)
        elif command == "pause":
            if on:
                for back in range(number, max(0, number - look_behind), -1):
                    allowed[back] = 0
            on = False
            gate.pause(str(place))
        elif command[0] == "drained":
            draining = draining and command[1] != opening
            gate.drained(int(command[1] or 0), 0)
        else:
            if not on:
                opening, draining = command[1], command[1] is not None  # type: ignore[assignment]
            on = True
            gate.resume(str(place), command[1])  # type: ignore[arg-type]
    out += gate.close()
    assert gate.frames == number
    ends = [0, *(span.to_frame for span in gate.spans)]
    assert [span.from_frame for span in gate.spans] == ends[:-1]
    assert ends[-1] == number
    state = {frame: span.state for span in gate.spans for frame in range(span.from_frame, span.to_frame)}
    expected = [
        allowed[frame + 1] if state[frame] == "on" else 0
        for frame in range(number)
        if fill == "silence" or state[frame] == "on"
    ]
    assert all(allowed[frame + 1] == 0 for frame in range(number) if state[frame] == "paused")
    if not any(value == "on" for value in state.values()):
        expected = []
    assert left_numbers(out) == expected
