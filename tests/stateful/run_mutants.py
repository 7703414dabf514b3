"""Runs the core's tests against its mutants, each in a fork of this process: `run_mutants.py FOLDER SHARE OF`.

*FOLDER* is a copy of the core and its tests that may be overwritten. Prints one line a mutant: `killed NAME` or
`ALIVE NAME`.
"""

import os
import resource
import signal
import sys
from pathlib import Path

import hypothesis.stateful  # noqa: F401  (imported once, not once a mutant)
import pytest

import gateway.evidence.semantics  # noqa: F401
from tests.stateful.mutants import DOMAIN, Mutant, all_mutants

ARGS = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not slow"]
TESTS = ["tests/unit/domain", "tests/stateful/test_call_invariants.py"]
HANGS_S = 15
"""Seconds of processor time; a whole run takes about 4."""


def _put(path: Path, source: str) -> None:
    """Write a source that no compiled file can be taken for: each is one second younger than the last."""
    age = path.stat().st_mtime + 1
    path.write_text(source)
    os.utime(path, (age, age))


def _child(folder: Path) -> int:
    """Run the tests of *folder* in this fork, which forgets what it knows of the real core."""
    resource.setrlimit(resource.RLIMIT_CPU, (HANGS_S, HANGS_S + 1))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.chdir(folder)
    sys.path[:] = [str(folder), *(entry for entry in sys.path if Path(entry).resolve() != DOMAIN.parents[1])]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("gateway", "tests")]:
        del sys.modules[name]
    return int(pytest.main([*ARGS, *TESTS]))


def survives(mutant: Mutant, folder: Path) -> bool:
    """Whether the tests pass on *mutant*. One that hangs is killed."""
    path = folder / "gateway" / "domain" / mutant.file
    original = path.read_text()
    _put(path, mutant.source())
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _child(folder)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _put(path, original)
    if code not in (0, 1, 2, -signal.SIGXCPU, -signal.SIGKILL):
        raise RuntimeError(f"the tests did not run against {mutant.name}: {code}")
    return code == 0


def main(folder: Path, share: int, of: int) -> None:
    untouched = Mutant("untouched", "codes.py", (DOMAIN / "codes.py").read_text)
    if not survives(untouched, folder):
        raise SystemExit("the tests must pass on the core as it is")
    for mutant in all_mutants()[share::of]:
        print("ALIVE" if survives(mutant, folder) else "killed", mutant.name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
