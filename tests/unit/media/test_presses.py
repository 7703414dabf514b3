"""One press is one press."""

from gateway.media.presses import KeyPresses


def test_a_press_is_reported_once_and_its_length_with_its_end() -> None:
    keys = KeyPresses()
    assert keys.down("1", "rfc4733", 0)
    assert keys.up("1", "rfc4733", 120, 100) == 100


def test_without_a_stated_length_the_clock_tells_it() -> None:
    keys = KeyPresses()
    keys.down("1", "inband", 10)
    assert keys.up("1", "inband", 90) == 80


def test_the_tone_beside_the_event_is_the_same_press() -> None:
    keys = KeyPresses()
    assert keys.down("5", "rfc4733", 0)
    assert not keys.down("5", "inband", 45)
    assert keys.up("5", "rfc4733", 100) is not None
    assert keys.up("5", "inband", 110) is None


def test_the_tone_may_come_first() -> None:
    keys = KeyPresses()
    assert keys.down("5", "inband", 0)
    assert not keys.down("5", "info", 300)
    assert keys.up("5", "info", 300, 100) is None
    assert keys.up("5", "inband", 310) == 310


def test_three_transports_of_one_press_are_one() -> None:
    keys = KeyPresses()
    assert keys.down("5", "rfc4733", 0)
    assert not keys.down("5", "info", 20)
    assert not keys.down("5", "inband", 40)


def test_within_half_a_second_of_the_release_it_is_still_the_echo() -> None:
    keys = KeyPresses()
    keys.down("5", "rfc4733", 0)
    keys.up("5", "rfc4733", 100)
    assert not keys.down("5", "inband", 600)


def test_later_it_is_a_press_of_its_own() -> None:
    keys = KeyPresses()
    keys.down("5", "rfc4733", 0)
    keys.up("5", "rfc4733", 100)
    assert keys.down("5", "inband", 601)


def test_two_quick_presses_carried_twice_are_two() -> None:
    keys = KeyPresses()
    reported = 0
    for start in (0, 160):
        reported += keys.down("1", "rfc4733", start)
        reported += keys.down("1", "inband", start + 50)
        keys.up("1", "rfc4733", start + 80)
        keys.up("1", "inband", start + 100)
    assert reported == 2


def test_another_key_is_another_press() -> None:
    keys = KeyPresses()
    assert keys.down("1", "rfc4733", 0)
    assert keys.down("2", "inband", 10)


def test_a_lost_end_does_not_swallow_the_next_press() -> None:
    keys = KeyPresses()
    assert keys.down("1", "rfc4733", 0)
    assert keys.down("2", "rfc4733", 200)
    assert keys.up("2", "rfc4733", 300) == 100
    assert keys.up("1", "rfc4733", 310) is None
