"""How much room the pool believes its workers to have. The pool itself is tested with real workers."""

import pytest

from gateway.adapters.sip.pool import CALLS_A_SECOND, FULL_GAP_MS, _Slot
from gateway.adapters.sip.protocol import Health, Ready

NOW = 100.0


def slot(**more: object) -> _Slot:
    return _Slot(0, ready=Ready("127.0.0.1", 5062, 4, "2.15.1", True), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("callers", "dialled", "free"),
    [
        ((), {}, 2),
        (("c",), {"a": "c"}, 1),
        (("c", "d"), {"a": "c", "b": "d"}, 0),
        (("c",), {"a": "c", "b": "gone"}, 0),
        ((), {"a": "gone"}, 1),
        ((), {"a": "gone", "b": "gone too"}, 1),
    ],
)
def test_an_agents_leg_that_still_hangs_up_holds_half_a_calls_room(
    callers: tuple[str, ...], dialled: dict[str, str], free: int
) -> None:
    """The worker counts like this; a pool that counted otherwise would send it calls that it turns away."""
    assert slot(callers=set(callers), dialled=dialled).free(NOW) == free


@pytest.mark.parametrize(
    ("callers", "lingering", "free"), [(0, 1, 1), (0, 2, 1), (0, 4, 0), (1, 1, 0), (2, 0, 0), (2, 4, 0)]
)
def test_a_slot_that_the_library_still_has_is_no_room(callers: int, lingering: int, free: int) -> None:
    assert slot(callers=set("cd"[:callers]), lingering=lingering).free(NOW) == free


def test_room_is_kept_for_a_call_that_is_on_its_way_but_not_for_ever() -> None:
    kept = slot(reserved={"x": NOW + 5})
    assert (kept.free(NOW), kept.free(NOW + 5)) == (1, 2)


def test_an_overloaded_worker_gets_no_further_call_until_its_last_has_ended() -> None:
    late = Health(FULL_GAP_MS + 0.1, 40.0, 2, 1)
    assert slot(callers={"c"}, health=late).free(NOW) == 0
    assert slot(callers=set(), health=late).free(NOW) == 2
    assert slot(callers={"c"}, health=Health(FULL_GAP_MS, 40.0, 2, 1)).free(NOW) == 1


def test_a_worker_that_is_not_ready_has_no_room() -> None:
    assert _Slot(0).free(NOW) == 0


def test_a_worker_is_given_so_many_calls_a_second_and_no_more() -> None:
    """Thirty within half a second aborted it: its library's socket table was full."""
    busy = slot(begun=[NOW + n / 100 for n in range(CALLS_A_SECOND)])
    assert busy.free(NOW + 0.5) == 0
    assert busy.free(NOW + 1.001) == 2
