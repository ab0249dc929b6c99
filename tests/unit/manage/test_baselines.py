"""Who nominates falsely before any call gains nothing, where an aggregator calls for nothing often enough."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.chain.flexibility import OfferTerms
from gridpact.manage.flexibility import DeliveredStep, comes_to, control_share

UNITS = 10**6


def gained(terms: OfferTerms, truth: int, baseline: int, asked: int, cost: float) -> float:
    """What a member gets at best, currency: it may do anything, and what it does otherwise than it would costs it."""
    best = -np.inf
    for moved in {0, *range(-4000, 4001, 100), asked, baseline - truth, asked + baseline - truth}:
        outcome = comes_to([DeliveredStep(0, baseline, asked, truth + moved)], terms, UNITS)
        best = max(best, outcome.payment / UNITS - cost * abs(moved) / 1000)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_falseBaseline_doesNotPay_onAverageOfCalls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    price, fine = (int(value) for value in rng.integers(50_000, 600_000, 2))
    tolerance = int(rng.integers(0, 2)) * int(rng.integers(0, 200))
    fee = int(rng.integers(0, 20_000))
    terms = OfferTerms("0x" + "1" * 40, fee, "battery", 10 * UNITS, 0, 1, 4000, 4000, 4000, price, fine, tolerance, 0)
    share, cost = control_share(terms), rng.uniform(0.2, 1.0) * price / 1e6
    energy_price = fine / 1e6 + 0.01  # drawing what was nominated costs more than the fine
    for _ in range(8):
        truth, asked = int(rng.integers(-2000, 0)), int(rng.integers(1, 30)) * 100
        off = int(rng.integers(1, 30)) * 100

        def expected(baseline: int, truth: int = truth, asked: int = asked) -> float:
            called = gained(terms, truth, baseline, asked, cost)
            return (1 - share) * called + share * gained(terms, truth, baseline, 0, energy_price)

        most = share * fine / 1e6 * tolerance / 1000 + 2 / UNITS  # and what rounding gives
        assert expected(truth - off) <= expected(truth) + most


def test_withoutCallsForNothing_itPays() -> None:
    terms = OfferTerms("0x" + "1" * 40, 0, "battery", 10 * UNITS, 0, 1, 4000, 4000, 4000, 250_000, 500_000, 0, 0)
    assert gained(terms, -1000, -2000, 1000, 0.2) > gained(terms, -1000, -1000, 1000, 0.2) + 0.19
    assert control_share(terms) == pytest.approx(1 / 3)
