"""`make demo` brings an Asterisk when its call goes through one, and never otherwise."""

import subprocess

import pytest

from gateway.adapters.config.settings import ROOT


@pytest.mark.parametrize(
    ("arguments", "brings"),
    [
        ("--path asterisk", True),
        ("--answer dtmf-no --path=asterisk", True),
        ("--path   asterisk --json", True),
        ("", False),
        ("--path inline", False),
        ("--out asterisk", False),
    ],
)
def test_make_demo_brings_an_asterisk_when_it_is_needed(arguments: str, brings: bool) -> None:
    said = subprocess.run(
        ["make", "--no-print-directory", "-n", "demo", f"ARGS={arguments}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *before, demo = said.stdout.strip().splitlines()
    assert demo.split() == [".venv/bin/consent-gateway", "demo", *arguments.split()]
    assert any("bash .ci/asterisk" in line for line in before) is brings
