"""What a process takes of the machine."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def cpu_s() -> float:
    """User and system time of this process so far, s."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory_mb() -> float:
    """The most memory that this process ever had, MB of 1,024 kB.

    Linux counts that of a parent into `ru_maxrss` of its child, also of one that runs another program; VmHWM is of this
    program alone. Elsewhere there is no /proc, and `ru_maxrss` is taken.
    """
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)
