"""What sealing costs is told by pairs of runs."""

from __future__ import annotations

import pytest

from measure.sealing import Cost, ratios


def test_ratios_areOfPairs() -> None:
    """A machine that is slow for a pair does not count: 1.02, 1.05 and 1.5 times, whatever each took."""
    opened = [Cost(10.0, 100.0), Cost(100.0, 100.0), Cost(10.0, 100.0)]
    sealed = [Cost(10.2, 107.0), Cost(105.0, 106.0), Cost(15.0, 108.0)]
    assert ratios(opened, sealed) == {"round_s": pytest.approx(1.05), "gas": pytest.approx(1.07)}
