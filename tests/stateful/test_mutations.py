"""No guard of the consent core can be wrong unnoticed: each mutant is killed by the core's own tests."""

import os
import queue
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.stateful.mutants import Mutant, all_mutants

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
ARGV = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow"]
INI = "[pytest]\npythonpath = .\nmarkers =\n  slow: not here\n"
TESTS = ["tests/unit/domain", "tests/stateful/test_call_invariants.py"]
HANGS_S = 60

EQUIVALENT: dict[str, str] = {}
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


def _put(path: Path, source: str) -> None:
    """Write a source that no compiled file can be taken for: each is one second younger than the last."""
    age = path.stat().st_mtime + 1
    path.write_text(source)
    os.utime(path, (age, age))


def _survives(mutant: Mutant, folder: Path) -> bool:
    path = folder / "gateway" / "domain" / mutant.file
    original = path.read_text()
    _put(path, mutant.source())
    environment = os.environ | {"CALL_EXAMPLES": "60", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run([*ARGV, *TESTS], cwd=folder, env=environment, capture_output=True, timeout=HANGS_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        _put(path, original)
    assert done.returncode in (0, 1, 2), done.stdout.decode() + done.stderr.decode()
    return done.returncode == 0


@pytest.mark.slow
def test_every_mutant_of_the_core_is_killed(tmp_path: Path) -> None:
    folders: queue.Queue[Path] = queue.Queue()
    for number in range(WORKERS):
        folders.put(_copy(tmp_path / str(number)))

    def survives(mutant: Mutant) -> bool:
        folder = folders.get()
        try:
            return _survives(mutant, folder)
        finally:
            folders.put(folder)

    mutants = all_mutants()
    untouched = Mutant("untouched", "codes.py", (ROOT / "gateway" / "domain" / "codes.py").read_text)
    assert survives(untouched), "the tests must pass on the core as it is"
    with ThreadPoolExecutor(WORKERS) as pool:
        survivors = [mutant.name for mutant, alive in zip(mutants, pool.map(survives, mutants), strict=True) if alive]
    print(f"{len(mutants)} mutants, {len(mutants) - len(survivors)} killed, {len(EQUIVALENT)} equivalent")
    assert sorted(set(survivors) - set(EQUIVALENT)) == []
    assert sorted(set(EQUIVALENT) - {mutant.name for mutant in mutants}) == [], "no such mutant (any more)"
