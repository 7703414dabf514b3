"""No frame too many, no frame too few: random calls with numbered packets (see `tests/support/leak.py`).

Together at least 200 calls: one at a time, the machine's full number at once, with look-behind, with gaps.
"""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from gateway.media import g711
from tests.support import leak, numbered

FULL = 8
"""Calls at once that two cores carry beside the test's own phones, which cost more than the gateway."""

RUNS = [
    pytest.param(1, 30, "", id="one-at-a-time"),
    pytest.param(FULL, 120, "", id="full"),
    pytest.param(FULL, 40, "look_behind_ms = 1000", id="look-behind"),
    pytest.param(FULL, 20, 'on_withdrawal = "purge"', id="purge"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "calls", "recording"), RUNS)
async def test_nothing_leaks_and_nothing_is_lost(tmp_path: Path, at_once: int, calls: int, recording: str) -> None:
    seed = int(os.environ.get("LEAK_SEED", random.randrange(10_000)))
    totals = await leak.run(tmp_path, calls=calls, at_once=at_once, seed=seed, recording=recording)
    report = totals.report()
    told = f"seed {seed} (repeat with LEAK_SEED={seed}): {report}"
    assert report["leaked"] == [], told
    assert report["lost"] == [], told
    assert report["wrong"] == [], told
    assert report["calls"] == calls
    assert report["recordings"] > calls / 10 or "purge" in recording, told
    assert report["recorded_packets"] > 20 * report["recordings"], told


# --- the judge itself can fail ---


def _recorded(numbers: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return g711.decode("PCMU", b"".join(numbered.source(number) for number in numbers))


SENT = {n: n * 20_000_000 for n in range(600)}


def test_the_judge_names_every_packet() -> None:
    heard = numbered.packets(_recorded(list(range(300, 400))), begun_ns=SENT[300] + 80_000_000, sent=SENT)
    assert {n: what.samples for n, what in heard.items()} == dict.fromkeys(range(300, 400), 160)


def test_the_judge_sees_one_leaked_packet() -> None:
    heard = numbered.packets(_recorded(list(range(299, 400))), begun_ns=SENT[299] + 80_000_000, sent=SENT)
    window = leak.Window(SENT[300], SENT[400], (), 0)
    assert list(numbered.compare(heard, SENT, window.forbidden, lambda at, out: False).leaked) == [299]


def test_the_judge_sees_one_packet_of_a_paused_span_and_of_the_look_behind() -> None:
    heard = numbered.packets(_recorded(list(range(300, 400))), begun_ns=SENT[300] + 80_000_000, sent=SENT)
    window = leak.Window(SENT[300], SENT[500], ((SENT[399], SENT[450]),), 0)
    assert list(numbered.compare(heard, SENT, window.forbidden, lambda at, out: False).leaked) == [399]
    behind = leak.Window(SENT[300], SENT[500], ((SENT[399], SENT[450]),), 40_000_000)
    assert list(numbered.compare(heard, SENT, behind.forbidden, lambda at, out: False).leaked) == [397, 398, 399]


def test_the_judge_sees_one_lost_packet() -> None:
    heard = numbered.packets(
        _recorded([n for n in range(300, 400) if n != 350]), begun_ns=SENT[300] + 80_000_000, sent=SENT
    )
    window = leak.Window(SENT[300], SENT[400], (), 0)
    required = numbered.compare(heard, SENT, window.forbidden, lambda at, out: window.required(at, out, []))
    assert required.lost == [350]


def test_the_judge_wants_nothing_that_came_too_late_to_be_recorded() -> None:
    """The buffer is 80 ms long; of what was sent in the 100 ms before a pause some is still in it."""
    heard = numbered.packets(_recorded(list(range(300, 391))), begun_ns=SENT[300] + 80_000_000, sent=SENT)
    pause = leak.Window(SENT[280], SENT[500], ((SENT[395], SENT[450]),), 0)
    lost = numbered.compare(heard, SENT, pause.forbidden, lambda at, out: pause.required(at, out, [])).lost
    assert [n for n in lost if 300 <= n < 450] == []
    later = leak.Window(SENT[280], SENT[500], ((SENT[405], SENT[450]),), 0)
    lost = numbered.compare(heard, SENT, later.forbidden, lambda at, out: later.required(at, out, [])).lost
    assert [n for n in lost if 300 <= n < 450] == list(range(391, 399))


def test_the_judge_knows_a_late_sender() -> None:
    """A burst after 200 ms without a packet makes the buffer longer: its last packets come out that much later."""
    sent = {n: at + (200_000_000 - (n - 390) * 20_000_000 if 390 <= n < 400 else 0) for n, at in SENT.items()}
    heard = numbered.packets(_recorded(list(range(300, 390))), begun_ns=SENT[300] + 80_000_000, sent=sent)
    window = leak.Window(SENT[280], SENT[500], ((SENT[404], SENT[450]),), 0)
    lost = numbered.compare(heard, sent, window.forbidden, lambda at, out: window.required(at, out, [])).lost
    assert [n for n in lost if 300 <= n < 404] == []


def test_the_judge_refuses_foreign_sound() -> None:
    with pytest.raises(numbered.Foreign):
        numbered.runs(np.array([1234] * 160, np.int16))
