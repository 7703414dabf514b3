"""No guard of the consent core can be wrong unnoticed: each mutant is killed by the core's own tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
INI = "[pytest]\npythonpath = .\nmarkers =\n  slow: not here\n"

_ONE_PASS = "one pass reaches the fixed point today; the loop of _settle is there so that it may take more"
_DUTY = "where refusal ends the call, nobody uncovered stays to be asked anew"
EQUIVALENT: dict[str, str] = {
    "call.py: _reconcile_recorder returns self.recorder != before, always false": _ONE_PASS,
    "call.py: _let_waiting_act returns self.recorder != before, always false": _ONE_PASS,
    "call.py: _finish returns True, negated": _ONE_PASS,
    "call.py: _finish returns True, always false": _ONE_PASS,
    "call.py: _finish returns True, negated (another)": _ONE_PASS,
    "call.py: _finish returns True, always false (another)": _ONE_PASS,
    "pbx_call.py: _give_back returns True, negated": _ONE_PASS,
    "pbx_call.py: _give_back returns True, always false": _ONE_PASS,
    "pbx_call.py: _ask_who_joined returns True, negated": _ONE_PASS,
    "pbx_call.py: _ask_who_joined returns True, always false": _ONE_PASS,
    "call.py: _verdict_changed tests verdict not in COVERED and self.rules.fail_mode is FailMode.REFUSE_CALL "
    "without verdict not in COVERED": _DUTY,
    "call.py: _leg_answered tests leg is None or leg.up or leg.gone or (self.phase is Phase.ENDING) "
    "without leg.gone": "a leg that is gone has begun the end of the call",
    "call.py: _ordinary_digits tests event.leg != CALLER and asked without event.leg != CALLER": (
        "a caller who is asked was dealt with just before"
    ),
    "call.py: _step tests party == CALLER and self._topic is not None without party == CALLER": (
        "what reaches every party reaches the caller first, and the dialogue has taken it then"
    ),
    "call.py: _act tests self._why or 'policy' without 'policy'": "the conversation's beginning is the first reason",
    "call.py: _finish tests self.recorder.stage in LIVE or self.recorder.stage is Stage.CLOSING "
    "without self.recorder.stage in LIVE": "a call that ends has closed its recorder before it looks",
    "call.py: _recorder_is_closed tests self.recorder.stage is Stage.FAILED and self.rules.fail_mode is "
    "FailMode.REFUSE_CALL without self.recorder.stage is Stage.FAILED": (
        "where refusal ends the call, a recorder that did not fail is closed by the call's end only"
    ),
}
"""Mutants that change nothing anybody could see, each with the reason."""


def _copy(folder: Path) -> Path:
    """Copy what the tests need, and nothing that was compiled: no mutant may run another's code."""
    ignore = shutil.ignore_patterns("__pycache__", "adapters", "cli", "api", "console", "test_mutations.py")
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=ignore)
    for part in ("unit/domain", "stateful"):
        shutil.copytree(ROOT / "tests" / part, folder / "tests" / part, ignore=ignore)
    (folder / "tests" / "__init__.py").touch()
    (folder / "pytest.ini").write_text(INI)
    return folder


@pytest.mark.slow
def test_every_mutant_of_the_core_is_killed(tmp_path: Path) -> None:
    environment = os.environ | {"CALL_EXAMPLES": "60", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    runners = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.stateful.run_mutants", str(_copy(tmp_path / str(n))), str(n), str(WORKERS)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(WORKERS)
    ]
    lines: list[str] = []
    for runner in runners:
        told, trouble = runner.communicate()
        assert runner.returncode == 0, trouble
        lines += told.splitlines()
    names = {line.partition(" ")[2] for line in lines}
    survivors = {line.partition(" ")[2] for line in lines if line.startswith("ALIVE")}
    print(f"{len(names)} mutants, {len(names - survivors)} killed, {len(EQUIVALENT)} equivalent")
    assert sorted(survivors - EQUIVALENT.keys()) == []
    assert sorted(EQUIVALENT.keys() - names) == [], "no such mutant (any more)"
