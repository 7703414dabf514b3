"""Calls that went through a real Asterisk, replayed through the real handler from what passed over AMI.

Record them anew with `AMI_TAPES=FOLDER python -m pytest tests/pbx/test_{gateway,parties,joining,foreign}.py`.
"""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.support.ami_tape import Line, replay

TAPES = sorted((Path(__file__).parents[2] / "recordings" / "ami").glob("*.jsonl"))
AGENTS = ("PJSIP/agent",)


def by_kind(told: list[Line]) -> dict[str, list[Line]]:
    """What was told, each kind in its order: a replay answers at once, so that kinds may change places. The recorder's
    state counts when it changes: a wish that was overtaken by the next may be told twice, or once."""
    kinds: dict[str, list[Line]] = {}
    for line in told:
        seen = kinds.setdefault(line["told"], [])
        if line["told"] != "RecorderRuns" or seen[-1:] != [line["facts"]]:
            seen.append(line["facts"])
    return kinds


def test_there_are_tapes_of_every_sort_of_call() -> None:
    assert len(TAPES) >= 20, "tests/recordings/ami is empty: see above how to fill it"


@pytest.mark.parametrize("tape", TAPES, ids=lambda path: path.stem)
def test_a_tape_tells_the_same_again(tape: Path) -> None:
    now, then = asyncio.run(replay(tape.read_text(), AGENTS))
    assert then, "a tape on which nothing was told shows nothing"
    new, old = by_kind(now), by_kind(then)
    left = iter(new.pop("Askable", []))
    assert all(facts in left for facts in old.pop("Askable", [])), "what lasts is told; a replay's moments last longer"
    assert new == old


@pytest.mark.parametrize("tape", [path for path in TAPES if "stranger" in path.stem], ids=lambda path: path.stem)
def test_where_everybody_is_covered_no_stranger_is_told(tape: Path) -> None:
    """The tapes can fail: with other settings they tell something else."""
    now, then = asyncio.run(replay(tape.read_text(), ("PJSIP/*",)))
    assert Counter(line["facts"].get("covered") for line in then)[False]
    assert not Counter(line["facts"].get("covered") for line in now)[False]
