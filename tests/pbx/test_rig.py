"""The rig itself: it starts a real Asterisk, leaves nothing behind, and says what to do when there is none."""

from pathlib import Path

import pytest

from tests.support import asterisk

pytestmark = pytest.mark.slow
NOBODY = "127.0.0.1:9"


async def test_it_is_asterisk_22_and_nothing_of_it_is_left() -> None:
    async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY) as switch:
        assert switch.process is not None
        assert (await switch.cli("core show version")).startswith("Asterisk 22.")
        assert (Path("/proc") / str(switch.process.pid)).exists()
    assert switch.process.returncode is not None
    assert not switch.folder.exists()


async def test_without_an_asterisk_it_fails_and_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asterisk, "ROOT", tmp_path)
    with pytest.raises(asterisk.AsteriskMissing, match="run `make asterisk` once, as root"):
        async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY):
            pass


async def test_a_start_that_is_not_clean_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asterisk, "MODULES", asterisk.MODULES + " res_there_is_none")
    with pytest.raises(AssertionError, match="res_there_is_none"):
        async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY):
            pass
