"""Which Asterisk is found, what is said when there is none, and that its configuration is the shipped one."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.asterisk.local import (
    Asterisk,
    AsteriskFailed,
    AsteriskMissing,
    Installation,
    Peers,
    configure,
    find_asterisk,
    installation,
)
from gateway.adapters.config.settings import ROOT

FRAGMENTS = ROOT / "dialplan" / "asterisk"
PEERS = Peers("127.0.0.1:5070", "127.0.0.1:5071", "127.0.0.1:5072")
VERSIONS = {
    "Asterisk 22.10.1~dfsg+~cs6.15.60671435-1": 22,
    "Asterisk 23.0.0": 23,
    "Asterisk certified/20.7-cert2": 20,
    "Asterisk certified-22.8-cert1": 22,
    "Asterisk GIT-22-6cc1ae5d38": 22,
    "no such option": 0,
}


@pytest.fixture(autouse=True)
def nothing_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has installed is not seen."""
    (tmp_path / "usr" / "sbin").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}/usr/sbin:/usr/bin:/bin")
    monkeypatch.setattr(installation, "BESIDE_THE_PATH", ())


def install(prefix: Path, says: str = "Asterisk 22.10.1") -> Path:
    """Make what looks like an installed Asterisk; it says its version."""
    program = prefix / "sbin" / "asterisk"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    modules = prefix / "lib" / "x86_64-linux-gnu" / "asterisk" / "modules"
    modules.mkdir(parents=True)
    (modules / "chan_pjsip.so").touch()
    (prefix / "share" / "asterisk" / "documentation").mkdir(parents=True)
    return program


def checkout(tmp_path: Path) -> Path:
    """A checkout with the Asterisk of `make asterisk`."""
    usr = tmp_path / "checkout" / ".cache" / "asterisk" / "root" / "usr"
    install(usr)
    (usr / "lib" / "x86_64-linux-gnu" / "ld-linux-x86-64.so.2").touch()
    return tmp_path / "checkout"


def test_the_one_of_make_asterisk_comes_first_and_brings_its_own_loader(tmp_path: Path) -> None:
    install(tmp_path / "usr")
    usr = checkout(tmp_path) / ".cache" / "asterisk" / "root" / "usr"
    found = find_asterisk(tmp_path / "checkout")
    assert found.binary == usr / "sbin" / "asterisk"
    assert found.loader == usr / "lib" / "x86_64-linux-gnu" / "ld-linux-x86-64.so.2"
    assert found.script.startswith(f'#!/bin/sh\nexec {found.loader} --argv0 "$0" --library-path {found.loader.parent} ')


def test_else_the_one_on_the_path_with_its_modules_and_data(tmp_path: Path) -> None:
    program = install(tmp_path / "usr")
    found = find_asterisk(tmp_path / "nowhere")
    assert (found.binary, found.loader) == (program, None)
    assert found.modules == tmp_path / "usr" / "lib" / "x86_64-linux-gnu" / "asterisk" / "modules"
    assert found.data == tmp_path / "usr" / "share" / "asterisk"


def test_a_program_is_run_with_whatever_characters_its_path_has(tmp_path: Path) -> None:
    program = install(tmp_path / "it's $HOME", says="ran")
    script = tmp_path / "script"
    script.write_text(Installation(program, tmp_path, tmp_path).script)
    script.chmod(0o700)
    assert subprocess.run([script], capture_output=True, check=True).stdout == b"ran\n"


@pytest.mark.parametrize("says", VERSIONS)
def test_an_old_one_on_the_path_is_not_taken(tmp_path: Path, says: str) -> None:
    program = install(tmp_path / "usr", says)
    if VERSIONS[says] >= 22:
        assert find_asterisk(tmp_path).binary == program
        return
    is_what = f"is of version {VERSIONS[says]}, and 22 is needed" if VERSIONS[says] else "does not say its version"
    with pytest.raises(AsteriskMissing) as refused:
        find_asterisk(tmp_path)
    assert f"{program} {is_what}: run `make asterisk` once, as root" in str(refused.value)


def test_where_there_is_none_it_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AsteriskMissing) as missing:
        find_asterisk(tmp_path)
    assert f"neither in {tmp_path}/.cache/asterisk/root nor on the PATH" in str(missing.value)
    assert "run `make asterisk` once, as root" in str(missing.value)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("lib/x86_64-linux-gnu/asterisk/modules/chan_pjsip.so", "chan_pjsip.so"),
        ("share/asterisk/documentation", "docu"),
    ],
)
def test_one_that_is_not_whole_is_not_taken(tmp_path: Path, gone: str, named: str) -> None:
    install(tmp_path / "usr")
    (tmp_path / "usr" / gone).rename(tmp_path / "away")
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(AsteriskMissing, match=named):
        find_asterisk(tmp_path / "nowhere")


@pytest.mark.parametrize(("there", "code"), [(True, 0), (False, 1)])
def test_make_is_told_whether_there_is_one(tmp_path: Path, there: bool, code: int) -> None:
    place = checkout(tmp_path) if there else tmp_path
    asked = [sys.executable, "-c", MAKE_ASKS, str(place)]
    assert subprocess.run(asked, check=False, cwd=ROOT).returncode == code


MAKE_ASKS = """
import runpy
from gateway.adapters.asterisk.local import installation
installation.BESIDE_THE_PATH = ()
runpy.run_module("gateway.adapters.asterisk.local", run_name="__main__")
"""


def configured(tmp_path: Path, fragments: Path = FRAGMENTS) -> Asterisk:
    install(tmp_path / "usr")
    place = tmp_path / "place"
    place.mkdir()
    switch = Asterisk(folder=place)
    configure(switch, find_asterisk(tmp_path), fragments, PEERS, modules="app_more")
    return switch


def test_its_dialplan_is_the_shipped_one_and_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    switch = configured(tmp_path)
    texts = {path.stem: path.read_text() for path in (switch.folder / "etc").iterdir()}
    for name in shipped():
        assert any(f'#include "{FRAGMENTS / name}"' in text for text in texts.values()), name
    bound = [line for text in texts.values() for line in text.splitlines() if line.startswith("bind")]
    assert sorted(bound) == [f"bind = 127.0.0.1:{switch.sip_port}", "bindaddr = 127.0.0.1"]
    assert f"secret = {switch.secrets['consent-gateway']}" in texts["manager"]
    assert switch.secrets["consent-gateway"] not in repr(switch)
    assert "contact = sip:consent@127.0.0.1:5070" in texts["pjsip"]
    assert "load = app_more.so" in texts["modules"]
    assert "app_system" not in texts["modules"]


def shipped() -> list[str]:
    """Every fragment that is shipped."""
    return sorted(path.name for path in FRAGMENTS.glob("*.conf"))


def test_without_the_checkout_it_says_what_is_missing_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(AsteriskMissing) as missing:
        configured(tmp_path, tmp_path / "site-packages" / "dialplan" / "asterisk")
    assert f"no {tmp_path}/site-packages/dialplan/asterisk/manager_consent.conf" in str(missing.value)
    assert "in a checkout" in str(missing.value)


async def test_one_that_dies_at_its_start_is_told_with_its_last_words_and_leaves_no_folder(tmp_path: Path) -> None:
    switch = configured(tmp_path)
    with pytest.raises(AsteriskFailed, match=r"ended while starting: Asterisk 22\.10\.1"):
        await switch.start()
    with pytest.raises(AsteriskFailed, match="ended by itself with 0"):
        await switch.close()
    assert not switch.folder.exists()
