"""How soon the command line answers, beside a Python that does nothing."""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTRACT_S = 0.3
"""What `--help` may take (the project's contract)."""


def processor_s(*arguments: str) -> float:
    """Processor time of one Python process: a busy machine does not count against it."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


async def run(folder: Path, quick: bool) -> dict[str, Any]:
    """Median processor seconds of `consent-gateway --help` and of a bare Python, in turns."""
    bare, helped = [], []
    for _ in range(3 if quick else 11):
        bare.append(processor_s("-c", "pass"))
        helped.append(processor_s("-m", "gateway.cli.main", "--help"))
    return {"bare_s": statistics.median(bare), "help_s": statistics.median(helped)}


def show(found: dict[str, Any]) -> None:
    ratio = found["help_s"] / found["bare_s"]
    print(f"consent-gateway --help: {found['help_s']:.2f} s of processor, {ratio:.1f} times a bare Python", end=" ")
    print(f"(the contract: under {CONTRACT_S} s)")
