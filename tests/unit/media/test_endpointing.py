"""The rules that count frames, one verdict a character: `#` speech, `.` none, `k` a key sounds, `K` both."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.endpointing import Edge, Endpointing, Hysteresis

SMALL: dict[str, Any] = {
    "onset_frames": 2,
    "onset_within": 3,
    "hangover_frames": 5,
    "resume_frames": 2,
    "minimum_frames": 3,
    "maximum_frames": 25,
    "rest_frames": 8,
    "preroll_frames": 0,
    "postroll_frames": 0,
}


def edges(pattern: str, **rules: Any) -> list[tuple[int, Edge]]:
    """Return each edge with the number of frames that had been heard when it came."""
    hysteresis = Hysteresis(Endpointing(**SMALL | rules))
    steps = ((at, hysteresis.step(one in "#K", key=one in "kK")) for at, one in enumerate(pattern.replace(" ", ""), 1))
    return [(at, edge) for at, edge in steps if edge]


def test_an_answer_begins_and_ends() -> None:
    assert edges("....####......") == [
        (6, Edge("began", 4, 6, 2)),
        (13, Edge("ended", 4, 8, 4)),
    ]


@pytest.mark.parametrize("pattern", ["#..#..#..#", "....#....", "#", ""])
def test_fewer_than_the_onset_within_its_window_are_nothing(pattern: str) -> None:
    assert edges(pattern) == []


def test_the_onset_may_have_gaps() -> None:
    assert edges("...#.#") == [(6, Edge("began", 3, 6, 2))]


def test_the_onset_needs_all_its_frames() -> None:
    assert edges("..##", onset_frames=3, onset_within=5) == []
    assert edges("..#.#.#", onset_frames=3, onset_within=5) == [(7, Edge("began", 2, 7, 3))]
    assert edges("..#.#..#", onset_frames=3, onset_within=5) == []


def test_the_preroll_reaches_back() -> None:
    assert edges("......##", preroll_frames=4)[0][1].from_frame == 2


def test_the_preroll_does_not_reach_before_the_first_frame() -> None:
    assert edges("..##", preroll_frames=4)[0][1].from_frame == 0


@pytest.mark.parametrize(("first", "last"), [("####", 6), ("##", 4)])
def test_the_preroll_does_not_reach_into_what_was_reported(first: str, last: int) -> None:
    found = edges(first + "....." + "####", preroll_frames=9, postroll_frames=2)
    assert found[1][1].to_frame == last
    assert found[2][1] == Edge("began", last, len(first) + 7, 2)


def test_the_postroll_follows_the_last_speech() -> None:
    assert edges("####.....", postroll_frames=3)[-1] == (9, Edge("ended", 0, 7, 4))


def test_a_pause_shorter_than_the_hangover_belongs_to_the_answer() -> None:
    assert edges("####....##.....")[-1] == (15, Edge("ended", 0, 10, 6))


def test_a_pause_as_long_as_the_hangover_ends_it() -> None:
    assert [edge.kind for _, edge in edges("####.....##")] == ["began", "ended", "began"]


def test_a_click_in_the_pause_does_not_lengthen_it() -> None:
    assert edges("####..#..") == [(2, Edge("began", 0, 2, 2)), (9, Edge("ended", 0, 4, 4))]


def test_a_click_at_the_end_of_the_pause_ends_it_a_frame_later() -> None:
    assert edges("####....#.")[-1] == (10, Edge("ended", 0, 4, 4))


def test_a_click_does_not_count_towards_the_next_one() -> None:
    assert edges("####.#.#.")[-1] == (9, Edge("ended", 0, 4, 4))


def test_too_short_is_dropped() -> None:
    assert edges("..##.....", preroll_frames=1, postroll_frames=1) == [
        (4, Edge("began", 1, 4, 2)),
        (9, Edge("dropped", 1, 5, 2)),
    ]


def test_as_long_as_the_minimum_is_an_answer() -> None:
    assert edges("..###.....")[-1][1].kind == "ended"


def test_neither_preroll_nor_gaps_make_it_long_enough() -> None:
    assert edges(".....#.#.....", preroll_frames=5, postroll_frames=5)[-1][1].kind == "dropped"


def test_two_answers_in_a_row() -> None:
    assert [edge for _, edge in edges("####......###......")] == [
        Edge("began", 0, 2, 2),
        Edge("ended", 0, 4, 4),
        Edge("began", 10, 12, 2),
        Edge("ended", 10, 13, 3),
    ]


def test_as_long_as_the_maximum_is_an_answer() -> None:
    assert edges("#" * 25 + ".....")[-1] == (30, Edge("ended", 0, 25, 25))


def test_longer_than_the_maximum_is_cut_there_at_once() -> None:
    assert edges("#" * 26)[-1] == (26, Edge("ended", 0, 25, 26, cut=True))


def test_the_preroll_counts_towards_the_maximum() -> None:
    assert edges("...." + "#" * 22, preroll_frames=4)[-1] == (26, Edge("ended", 0, 25, 22, cut=True))


def test_the_postroll_does_not_reach_beyond_the_maximum() -> None:
    assert edges("#" * 23 + ".....", postroll_frames=4)[-1] == (28, Edge("ended", 0, 25, 23))


def test_a_pause_across_the_maximum_is_the_end_of_the_answer_unless_speech_goes_on() -> None:
    assert edges("#" * 23 + ".....")[-1][1].cut is False
    assert edges("#" * 23 + "....##")[-1] == (29, Edge("ended", 0, 25, 25, cut=True))


def test_a_monologue_is_one_cut_answer_and_an_end() -> None:
    assert edges("#" * 300 + "." * 20) == [
        (2, Edge("began", 0, 2, 2)),
        (26, Edge("ended", 0, 25, 26, cut=True)),
        (308, Edge("monologue_over", 25, 300)),
    ]


def test_a_breath_does_not_end_a_monologue_but_a_rest_does() -> None:
    breath, rest = "." * 7, "." * 8
    talk = "#" * 30 + breath + "#" * 10 + breath + "#" * 10
    assert [edge.kind for _, edge in edges(talk + rest + "###.....")] == [
        "began",
        "ended",
        "monologue_over",
        "began",
        "ended",
    ]


def test_a_click_does_not_prolong_a_monologue() -> None:
    assert edges("#" * 30 + "...#....")[-1] == (38, Edge("monologue_over", 25, 30))


def test_the_preroll_does_not_reach_into_a_monologue() -> None:
    assert edges("#" * 30 + "." * 8 + "##", preroll_frames=12)[-1] == (40, Edge("began", 30, 40, 2))


def test_a_key_is_not_speech() -> None:
    assert edges("kkkkkkkk") == []
    assert edges("####kkkkk")[-1] == (9, Edge("ended", 0, 4, 4))


def test_a_key_takes_the_frames_before_it_along() -> None:
    assert edges("..#k#...") == []


def test_a_key_does_not_take_along_what_has_begun() -> None:
    assert edges("####k#.....")[-1] == (9, Edge("ended", 0, 4, 4))
    assert edges("####k##.....")[-1] == (12, Edge("ended", 0, 7, 6))


def test_a_key_does_not_prolong_a_monologue() -> None:
    assert edges("#" * 30 + "k" * 8)[-1] == (38, Edge("monologue_over", 25, 30))


def test_a_key_that_is_taken_for_speech_is_still_none() -> None:
    assert edges("KKKKKK") == edges("KKK", onset_frames=1) == []
    assert edges("####KKKKK")[-1] == (9, Edge("ended", 0, 4, 4))


def test_no_key_sounds_unless_it_is_said() -> None:
    hysteresis = Hysteresis(Endpointing(**SMALL))
    assert [hysteresis.step(True), hysteresis.step(True)] == [None, Edge("began", 0, 2, 2)]


def test_what_is_promised_without_parameters() -> None:
    rules = Endpointing()
    assert (rules.hangover_frames, rules.maximum_frames, rules.rest_frames) == (25, 150, 50)
    assert (rules.minimum_frames, rules.resume_frames, rules.postroll_frames) == (6, 2, 15)


@given(st.text("#.kK", max_size=400), st.integers(0, 9), st.integers(0, 5))
def test_whatever_the_verdicts(pattern: str, preroll: int, postroll: int) -> None:
    found = edges(pattern, preroll_frames=preroll, postroll_frames=postroll)
    past = 0
    for (at, edge), (_, previous) in zip(found, [(0, None), *found], strict=False):
        assert past <= edge.from_frame < edge.to_frame <= at
        assert (edge.kind in ("ended", "dropped")) == (previous is not None and previous.kind == "began")
        if edge.kind == "began":
            assert edge.speech_frames >= 2
            continue
        past = edge.to_frame
        if edge.kind == "monologue_over":
            assert edge.speech_frames == 0
            assert previous is not None and previous.cut and edge.from_frame == previous.to_frame
            continue
        assert previous is not None and edge.from_frame == previous.from_frame
        assert edge.to_frame - edge.from_frame <= 25
        assert (edge.speech_frames >= 3) == (edge.kind == "ended")
        if edge.cut:
            assert edge.to_frame - edge.from_frame == 25


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("onset_frames", 0, "from 1 to 25"),
        ("onset_frames", 26, "from 1 to 25"),
        ("onset_within", 3, "from 4 to 50"),
        ("onset_within", 51, "from 4 to 50"),
        ("hangover_frames", 4, "from 5 to 200"),
        ("hangover_frames", 201, "from 5 to 200"),
        ("resume_frames", 0, "from 1 to 25"),
        ("resume_frames", 26, "from 1 to 25"),
        ("minimum_frames", 0, "from 1 to 129"),
        ("minimum_frames", 130, "from 1 to 129"),
        ("maximum_frames", 24, "from 25 to 1000"),
        ("maximum_frames", 1001, "from 25 to 1000"),
        ("rest_frames", 24, "from 25 to 500"),
        ("rest_frames", 501, "from 25 to 500"),
        ("preroll_frames", -1, "from 0 to 25"),
        ("preroll_frames", 26, "from 0 to 25"),
        ("postroll_frames", -1, "from 0 to 25"),
        ("postroll_frames", 26, "from 0 to 25"),
        ("noise_margin_db", 2.9, "from 3.0 to 20.0"),
        ("noise_margin_db", float("nan"), "from 3.0 to 20.0"),
        ("hold_margin_db", 2.9, "from 3.0 to 6.5"),
        ("hold_margin_db", 6.6, "from 3.0 to 6.5"),
        ("echo_margin_db", 20.1, "from 3.0 to 20.0"),
        ("floor_frames", 24, "from 25 to 500"),
        ("floor_frames", 501, "from 25 to 500"),
    ],
)
def test_parameters_out_of_bounds_are_refused_by_name(name: str, value: Any, bounds: str) -> None:
    with pytest.raises(ValueError, match=f"endpointing: {name} is {value}, it has to be {bounds}"):
        Endpointing(**{name: value})
