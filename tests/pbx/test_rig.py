"""The rig itself: it starts a real Asterisk, leaves nothing behind, and says what to do when there is none."""

import asyncio
import signal
from pathlib import Path

import pytest

from gateway.adapters.asterisk import local
from gateway.adapters.asterisk.local import installation
from tests.support import asterisk
from tests.support.ami import logged_in

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
    monkeypatch.setattr(asterisk, "PROJECT", tmp_path)
    monkeypatch.setattr(installation, "BESIDE_THE_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(asterisk.AsteriskMissing, match="run `make asterisk` once, as root"):
        async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY):
            pass


async def test_one_on_the_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usr, installed = asterisk.PROJECT / ".cache" / "asterisk" / "root" / "usr", tmp_path / "usr"
    (installed / "sbin").mkdir(parents=True)
    for name in ("lib", "share"):
        (installed / name).symlink_to(usr / name)
    program = installed / "sbin" / "asterisk"
    program.write_text(
        local.find_asterisk(asterisk.PROJECT).script
    )  # as any program runs: the loader is its own business
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    found = local.find_asterisk(tmp_path)
    assert (found.binary, found.loader) == (program, None)
    async with local.running(found, asterisk.FRAGMENTS, local.Peers(NOBODY, NOBODY, NOBODY)) as switch:
        assert (await switch.cli("core show version")).startswith("Asterisk 22.")
        assert "'consent-gate'" in await switch.cli("dialplan show consent-gate")
    assert not switch.folder.exists()


async def test_a_start_that_is_not_clean_fails() -> None:
    with pytest.raises(asterisk.AsteriskFailed, match="res_there_is_none"):
        async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY, modules="res_there_is_none"):
            pass


async def test_it_is_killed_and_started_and_restarted_on_the_same_ports() -> None:
    async with asterisk.running(gateway=NOBODY, agent=NOBODY, trunk=NOBODY) as switch:
        assert switch.process is not None
        first = switch.process
        await switch.kill()
        assert first.returncode == -signal.SIGKILL
        assert "Unable to connect" in await switch.cli("core show version")
        await switch.start()
        assert switch.process is not None and switch.process.pid != first.pid
        same = switch.process.pid
        begun = await switch.cli("core show settings")
        await asyncio.sleep(1)  # Asterisk tells the time of its start in whole seconds
        async with switch.restarting("now"):
            pass
        assert switch.process.pid == same and switch.process.returncode is None
        assert "Asterisk 22." in await switch.cli("core show version")
        assert started(begun) != started(await switch.cli("core show settings"))
        async with logged_in(switch.ami_port, "consent-gateway", switch.secrets["consent-gateway"]):
            pass


def started(settings: str) -> str:
    """When Asterisk says it was started."""
    return next(line for line in settings.splitlines() if "Startup time" in line)
