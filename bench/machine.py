"""What the figures were taken on, and the clocks they were taken with."""

import math
import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


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


def busy() -> float:
    """Return the seconds in which any core worked for anybody."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS


def resident_mb(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


def quantile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank quantile: a value that was really seen."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]
