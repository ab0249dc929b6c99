"""Solving again with new linear terms gives what CVXPY gives from the start."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from gridpact.community.read import read_community
from gridpact.errors import InfeasibleError
from gridpact.market.admm.parameters import Penalties
from gridpact.problem.local import LocalProblem
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.solving import Repeated
from gridpact.problem.view import node_views
from unit.problem.helpers import point

SAME_OPTIMUM = 1e-6
"""Relative; the solver's own tolerance is 1e-8."""

FLAT = 1e-4
"""kW, or of the value where that is more: the minimum of a problem whose cost is right to 1e-8 is that flat."""


def with_parameters(limit: float = 1.0) -> tuple[cp.Problem, cp.Variable]:
    """Parameters in both places that they may have: a linear term and a constant; a cone, and a kink. And the variable
    whose squares are to be weighted."""
    a, most = cp.Parameter((2, 3)), cp.Parameter()
    x, y = cp.Variable((2, 3)), cp.Variable(3, nonneg=True)
    cost = cp.sum(cp.multiply(a, x)) + cp.sum_squares(y - 1) / 2 + 0.1 * cp.sum_squares(x[:, 0] - y[:2])
    limits = [cp.norm(x, 2, axis=0) <= limit + y, cp.sum(y) <= most, y >= x[0]]
    return cp.Problem(cp.Minimize(cost + cp.norm1(y - 0.3)), limits), x


def draw(problem: cp.Problem, seed: int) -> np.ndarray:
    """Sets the parameters and returns weights."""
    chance = np.random.default_rng(seed)
    for parameter in problem.parameters():
        parameter.value = np.abs(chance.normal(size=parameter.shape)) + 0.5
    return chance.uniform(0.1, 3.0, size=(2, 3))


def test_repeated_hasTheOptimumThatCvxpyHas() -> None:
    problem, x = with_parameters()
    again = Repeated(problem, "test", weighted=x)
    values = []
    for seed in range(20):
        weights = draw(problem, seed)
        again.solve(weights)
        fresh, y = with_parameters()
        draw(fresh, seed)
        whole = cp.Problem(
            cp.Minimize(fresh.objective.expr + cp.sum(cp.multiply(weights / 2, cp.square(y)))), fresh.constraints
        )
        values.append(problem.objective.value + np.sum(weights / 2 * x.value**2))
        assert values[-1] == pytest.approx(whole.solve(solver=cp.CLARABEL), rel=SAME_OPTIMUM)
    assert len({round(value, 3) for value in values}) == 20


def test_repeated_withoutWeights() -> None:
    problem, _ = with_parameters()
    again = Repeated(problem, "test")
    for seed in range(3):
        draw(problem, seed)
        again.solve()
        fresh, _ = with_parameters()
        draw(fresh, seed)
        assert problem.objective.value == pytest.approx(fresh.solve(solver=cp.CLARABEL), rel=SAME_OPTIMUM)


def test_repeated_saysWhoHasNoPlan() -> None:
    problem, x = with_parameters(limit=-9.0)
    weights = draw(problem, 1)
    again = Repeated(problem, "household 'one'", weighted=x)
    for _ in range(2):
        with pytest.raises(InfeasibleError, match="no plan of household 'one' satisfies its constraints"):
            again.solve(weights)


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.G, Scenario.TG])
@pytest.mark.parametrize("agreement", NetworkAgreement)
def test_localProblem_answersAsAFreshOne(scenario: Scenario, agreement: NetworkAgreement) -> None:
    """Copies and bids are unique: they stand in squares."""
    penalties = Penalties(0.4, 0.3)
    chance = np.random.default_rng(1)
    case = read_community("tiny3")
    for view in node_views(case.on(case.days[0]), scenario, agreement):
        rho = penalties.of_blocks(view)
        again = LocalProblem(view, penalties.phi, 0.2)
        for _ in range(4):
            linear = chance.normal(scale=0.3, size=(len(again.blocks), view.steps))
            trades = chance.normal(-0.2, 0.1, view.bid_count)
            there = point(again, rho * chance.uniform(0.5, 2.0), linear, trades, chance.normal(scale=0.1))
            fresh = LocalProblem(view, penalties.phi, 0.2).solve(there)
            answer = again.solve(there)
            assert answer.copies == pytest.approx(fresh.copies, abs=FLAT, rel=FLAT)
            assert answer.bids_kw == pytest.approx(fresh.bids_kw, abs=FLAT, rel=FLAT)
