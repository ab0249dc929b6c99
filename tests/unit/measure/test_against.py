"""This version beside another: what is counted of what both say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from measure import against


class Playing:
    """A version that says how long it took; the first day in each scenario takes ten times as long."""

    days = ("01-01", "01-02", "01-03", "01-04", "01-05")

    def __init__(self, of: str, seconds: float, cost: float, order: list[tuple[str, str, str]]) -> None:
        self.of, self.seconds, self.cost, self.order = of, seconds, cost, order

    def solve(self, day: str, scenario: str) -> dict[str, Any]:
        self.order.append((self.of, day, scenario))
        return {"seconds": self.seconds * (10 if day == "01-01" else 1), "cost": self.cost}


def test_measured_countsAllDaysButTheFirst_andLetsEitherBegin(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, str, str]] = []

    @contextmanager
    def versions(commit: str) -> Iterator[tuple[Playing, Playing]]:
        assert commit == "abc"
        yield Playing("then", 4.0, 10.0, order), Playing("now", 1.0, 10.001, order)

    monkeypatch.setattr(against, "versions", versions)
    result = against.measured("abc", every=2)
    assert (result["days"], result["of"]) == (2, 5)
    assert result["cpu_s"] == {scenario: [8.0, 2.0] for scenario in ("tg", "t", "b")}
    assert result["ratio"] == {"tg": 0.25, "t": 0.25, "b": 0.25, "all": 0.25}
    assert result["costs_differ_by"] == pytest.approx(1e-4)
    assert order[:4] == [
        ("now", "01-01", "tg"),
        ("then", "01-01", "tg"),
        ("then", "01-03", "tg"),
        ("now", "01-03", "tg"),
    ]
    assert len(order) == 2 * 3 * 3
