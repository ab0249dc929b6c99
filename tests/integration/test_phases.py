"""A small part of `make phases`: a whole round on a street, judged by OpenDSS."""

from __future__ import annotations

from gridpact.problem.scenario import Scenario
from measure.phases import measured


def test_winterDay_keepsEveryLimitOfTheStreet() -> None:
    """As reports/phases.json has it, but for the time: gap, agreement with OpenDSS, nothing outside."""
    row = measured("fontana16x3", "12-22", Scenario.G)
    assert row["steps_outside"] == 0
    assert row["voltage_difference_pu"] <= 1e-4
    assert abs(row["gap_at_stop"]) <= 1e-3
    assert 1 <= row["to_0_1_percent"] <= row["stopped_at"] <= 45
    assert row["voltage_min_pu"] >= 0.95 - 1e-4
