"""The whole market's optimum by remembered matrices is that of CVXPY, which is given everything anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import InfeasibleError
from gridpact.problem import centralised, daily, translation
from gridpact.problem.centralised import CentralisedSolution, centralised_optimum
from gridpact.problem.daily import TradedPairs, solve_daily
from gridpact.problem.scenario import Scenario
from gridpact.problem.solving import solve


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "_known", type(translation._known)())
    monkeypatch.setattr(translation, "_kinds_again", set())


def by_cvxpy(problem: cp.Problem, whose: str, trades: TradedPairs | None = None, once: bool = False) -> float:
    """All of it stated in CVXPY, trades too, and nothing remembered."""
    if trades is None:
        solve(problem, whose)
        return 0.0
    sold = cp.Variable(len(trades.gamma))
    sums = cp.vec(trades.sums, order="F") == trades.place @ sold
    cost = trades.gamma @ cp.abs(sold)
    solve(cp.Problem(problem.objective + cp.Minimize(cost), [*problem.constraints, sums]), whose)
    return float(cost.value)


def days(tiny3: CommunityDay) -> Iterator[CommunityDay]:
    """Four days that differ in load and prices, and so in who may trade when."""
    random = np.random.default_rng(5)
    for _ in range(4):
        homes = [
            replace(home, load_kw=home.load_kw * random.uniform(0.6, 1.4, tiny3.steps)) for home in tiny3.households
        ]
        price = tiny3.prices.import_price * random.uniform(0.8, 1.2, tiny3.steps)
        prices = replace(tiny3.prices, import_price=price)
        yield replace(tiny3, households=tuple(homes), prices=prices)


@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.T, Scenario.G, Scenario.TG])
def test_everyDay_isSolvedAsByCvxpy(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    community = read_community("tiny3")
    remembered, anew = [], []
    for day in days(community.on(community.days[0])):
        remembered.append(centralised_optimum(day, scenario))
        with monkeypatch.context() as patched:
            patched.setattr(centralised, "solve_daily", by_cvxpy)
            anew.append(centralised_optimum(day, scenario))
    assert any(isinstance(one, tuple) for one in translation._known.values())  # a day came by a remembered one's
    for one, other in zip(remembered, anew, strict=True):
        assert_alike(one, other)


def assert_alike(one: CentralisedSolution, other: CentralisedSolution) -> None:
    """Clarabel stops at a gap of 1e-8, relative; prices are as good as its duals."""
    assert one.cost == pytest.approx(other.cost, rel=1e-6)
    if other.nodal_price is None:
        assert one.nodal_price is None
    else:
        assert one.nodal_price == pytest.approx(other.nodal_price, abs=1e-4 * np.abs(other.nodal_price).max())


def test_dualsOfEqualities_areTheirs() -> None:
    """What a kW more of each demand costs, in a problem whose rows CVXPY puts in another order than they are stated."""
    costs, demands = np.array([[1.0, 4.0, 2.0], [3.0, 2.0, 5.0]]), [np.array([0.3, 0.8, 0.4]), np.array([0.5, 0.1])]
    for factor in (1.0, 1.5, 2.0):  # the last by what was remembered
        used, spare = cp.Variable((2, 3), nonneg=True), cp.Variable(2, nonneg=True)
        limits = used <= 2.0
        first = cp.sum(used, axis=0) == factor * demands[0]
        second = spare == factor * demands[1]
        cost = cp.sum(cp.multiply(costs, used)) + 7 * cp.sum(spare)
        solve_daily(cp.Problem(cp.Minimize(cost), [limits, first, second]), "it")
        assert -first.dual_value == pytest.approx(costs.min(axis=0), abs=1e-6)
        assert -second.dual_value == pytest.approx([7.0, 7.0], abs=1e-6)
        assert used.value.sum(axis=0) == pytest.approx(factor * demands[0], abs=1e-6)


def test_whatCannotHold_isSaid() -> None:
    x = cp.Variable(3)
    with pytest.raises(InfeasibleError, match="no plan of it"):
        daily.solve_daily(cp.Problem(cp.Minimize(cp.sum(x)), [x >= 1, x <= 0]), "it")
