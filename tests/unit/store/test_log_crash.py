"""SIGKILL at any moment: nothing acknowledged is lost, and the log goes on."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.unit.store.processes import Acknowledged, acknowledged, check_log, launch


async def kill_and_check(folder: Path, promised: Acknowledged, writers: int, after_s: float) -> int:
    process = launch(folder, writers)
    assert process.stdout is not None
    await asyncio.sleep(after_s)
    process.kill()
    fresh = acknowledged(iter(process.stdout))
    process.wait()
    process.stdout.close()
    assert fresh, "the process was killed before it did anything"
    assert not fresh.keys() & promised.keys(), "an acknowledged place in the log was given away again"
    promised.update(fresh)
    return await check_log(folder, promised)


@pytest.mark.parametrize("writers", [1, 20])
async def test_nothing_acknowledged_is_lost(tmp_path: Path, writers: int) -> None:
    promised: Acknowledged = {}
    for _ in range(2):
        await kill_and_check(tmp_path, promised, writers, 0.15)


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_in_a_dozen_kills(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    promised: Acknowledged = {}
    for _ in range(12):
        stored = await kill_and_check(tmp_path, promised, chance.choice([1, 3, 30]), chance.uniform(0.05, 0.5))
        assert stored >= len(promised), f"seed {seed}"
