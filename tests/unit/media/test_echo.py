"""Which digits may be echoes of others."""

import pytest

from gateway.media.echo import ECHO_WITHIN_MS, AudibleDigits


def pressed(digit: str, down_ms: float, up_ms: float) -> AudibleDigits:
    path = AudibleDigits()
    path.down(digit, down_ms)
    path.up(digit, up_ms)
    return path


@pytest.mark.parametrize("delay_ms", [20, 300, 900, 100 + ECHO_WITHIN_MS])
def test_the_same_digit_soon_after_may_be_the_echo(delay_ms: int) -> None:
    assert pressed("7", 5_000, 5_100).may_echo("7", 5_000 + delay_ms)


def test_another_digit_is_none() -> None:
    assert not pressed("7", 5_000, 5_100).may_echo("2", 5_200)


def test_the_same_digit_later_is_none() -> None:
    assert not pressed("7", 5_000, 5_100).may_echo("7", 5_101 + ECHO_WITHIN_MS)


def test_nothing_heard_gives_no_echo() -> None:
    assert not AudibleDigits().may_echo("7", 5_000)


def test_a_digit_that_is_held_may_be_echoed_for_as_long() -> None:
    path = AudibleDigits()
    path.down("7", 5_000)
    assert path.may_echo("7", 60_000)
    path.up("7", 60_100)
    assert path.may_echo("7", 61_000)
    assert not path.may_echo("7", 61_101)


def test_the_end_of_one_digit_is_not_the_end_of_another() -> None:
    path = AudibleDigits()
    path.down("7", 5_000)
    path.up("2", 5_100)
    assert path.may_echo("7", 9_000)


def test_each_digit_of_a_code_is_remembered() -> None:
    path = AudibleDigits()
    for at_ms, digit in ((5_000, "*"), (5_160, "7"), (5_320, "2")):
        path.down(digit, at_ms)
        path.up(digit, at_ms + 80)
    assert all(path.may_echo(digit, 5_600) for digit in "*72")


def test_the_second_of_two_equal_presses_starts_the_time_anew() -> None:
    path = pressed("7", 5_000, 5_100)
    path.down("7", 5_900)
    path.up("7", 6_000)
    assert path.may_echo("7", 6_900)


def test_what_began_unheard_has_no_echo_and_what_began_before_has() -> None:
    path = pressed("1", 5_000, 5_100)
    assert path.may_echo("1", 5_500, heard_until_ms=5_050)
    assert not path.may_echo("1", 5_500, heard_until_ms=4_950)


def test_a_digit_that_sounds_at_an_unknown_time_may_be_echoed_all_the_while() -> None:
    path = AudibleDigits()
    path.sound("7", 5_000, 5_800)
    assert path.may_echo("7", 5_800 + ECHO_WITHIN_MS)
    assert not path.may_echo("7", 5_801 + ECHO_WITHIN_MS)


def test_what_is_past_is_forgotten() -> None:
    path = AudibleDigits()
    for second in range(1_000):
        path.sound("7", second * 2_000, second * 2_000 + 100)
    assert len(path._tones) == 1
