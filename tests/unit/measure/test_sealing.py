"""What sealing costs is told by turns of runs."""

from __future__ import annotations

import pytest

from measure.sealing import Cost, ratios


def test_ratios_areOfTurns() -> None:
    """A machine that gets slower within a turn, or is slow for one, does not count: of rounds that take 1.05 times as
    long in the sealed form."""
    opened, sealed = [], []
    for base, drift in ((10.0, 1.0), (10.0, 3.0), (200.0, 0.0)):
        opened += [Cost(base, 100.0, base), Cost(base + 3 * drift, 100.0, base)]
        sealed += [Cost(1.05 * (base + (1 + more) * drift), 107.0, 1.1 * base) for more in (0, 1)]
    assert ratios(opened, sealed) == {
        "round_s": pytest.approx(1.05),
        "cpu_s": pytest.approx(1.1),
        "gas": pytest.approx(1.07),
    }
