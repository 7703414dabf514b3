"""A desk for every test that wants one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.app.desk import Desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    opened = await Desk(tmp_path).open()
    yield opened
    opened.log.release()
    await opened.rest()
