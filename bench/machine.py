"""What the figures were taken on, and the clocks they were taken with."""

import math
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def describe() -> dict[str, object]:
    """Name the processor, the cores this process may use, and the load before anything was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def process_cpu(pid: int) -> float:
    """Return user plus system seconds of a process.

    The kernel's clock of that process: the same sum as in /proc/PID/stat, which counts only in hundredths of a
    second, too coarse for one call.
    """
    return time.clock_gettime((~pid << 3) | 2)


def thread_cpu(native_id: int | None) -> float:
    """Return user plus system seconds of a thread of this process, 0 for one that never started."""
    return time.clock_gettime((~native_id << 3) | 6) if native_id else 0.0


def processes_cpu(pids: Iterable[int]) -> float:
    return sum(process_cpu(pid) for pid in pids)


def everybody() -> dict[int, float]:
    """Return the CPU seconds of every process that can be seen.

    Not /proc/stat: it samples at the tick, which work that wakes every 20 ms mostly escapes.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                found[int(entry.name)] = process_cpu(int(entry.name))
    return found


def others(before: dict[int, float], after: dict[int, float], ours: Iterable[int]) -> float:
    """Return what processes but *ours* used in between; those that ended in between are not seen."""
    own = set(ours)
    return sum(used - before.get(pid, 0.0) for pid, used in after.items() if pid not in own)


def resident_mb(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


def quantile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank quantile: a value that was really seen."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]
