"""Memory of a process is its own, whatever started it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from gridpact.run.footprint import cpu_s, peak_memory_mb

HUNDRED_MB = 100 * 2**20
TELL = "from gridpact.run.footprint import peak_memory_mb; print(peak_memory_mb())"


def test_peakMemory_isNotThatOfWhoStartedIt() -> None:
    """A child of a process with 100 MB more than another's child has no more: importing takes the same in both."""
    told = []
    for size in (1, HUNDRED_MB):
        held = np.ones(size, dtype=np.uint8)
        before = peak_memory_mb()
        told.append(float(subprocess.run([sys.executable, "-c", TELL], capture_output=True, check=True).stdout))
        assert held.sum() == size
    assert before > 100
    assert abs(told[1] - told[0]) < 20
    assert told[0] > 5


def test_peakMemory_staysWhereItWasHighest() -> None:
    held = np.ones(HUNDRED_MB, dtype=np.uint8)
    most = peak_memory_mb()
    assert held.any()
    del held
    assert most > 100
    assert peak_memory_mb() > most - 1  # the kernel counts pages in batches


def test_cpuTime_goesOn() -> None:
    before = cpu_s()
    while cpu_s() < before + 0.02:
        np.linalg.svd(np.ones((40, 40)))
