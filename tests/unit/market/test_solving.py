"""Solving again with new linear terms gives what CVXPY gives from the start."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from gridpact.admm.parameters import Penalties
from gridpact.community.read import read_community
from gridpact.errors import InfeasibleError
from gridpact.market.local import LocalProblem
from gridpact.market.scenario import NetworkAgreement, Scenario
from gridpact.market.solving import Repeated
from gridpact.market.view import node_views

SAME_OPTIMUM = 1e-6
"""Relative; the solver's own tolerance is 1e-8."""

FLAT = 1e-4
"""kW, or of the value where that is more: the minimum of a problem whose cost is right to 1e-8 is that flat."""


def with_parameters(limit: float = 1.0) -> tuple[cp.Problem, cp.Parameter, cp.Parameter]:
    """Two parameters, one of them a matrix, a cone, and a cost with a kink."""
    a, b = cp.Parameter((2, 3)), cp.Parameter(3)
    x, y = cp.Variable((2, 3)), cp.Variable(3, nonneg=True)
    cost = cp.sum(cp.multiply(a, x)) + b @ y + cp.sum_squares(x) / 2 + cp.norm1(y - 0.3)
    return cp.Problem(cp.Minimize(cost), [cp.norm(x, 2, axis=0) <= limit + y, cp.sum(y) <= 2, y >= x[0]]), a, b


def test_repeated_hasTheOptimumThatCvxpyHas() -> None:
    problem, a, b = with_parameters()
    again = Repeated(problem, "test")
    chance = np.random.default_rng(3)
    for _ in range(20):
        a.value, b.value = chance.normal(size=(2, 3)), chance.normal(size=3)
        again.solve()
        found = problem.value
        fresh, fresh_a, fresh_b = with_parameters()
        fresh_a.value, fresh_b.value = a.value, b.value
        assert found == pytest.approx(fresh.solve(solver=cp.CLARABEL), rel=SAME_OPTIMUM)


def test_repeated_saysWhoHasNoPlan() -> None:
    problem, a, b = with_parameters(limit=-3.0)
    a.value, b.value = np.zeros((2, 3)), np.zeros(3)
    for _ in range(2):
        with pytest.raises(InfeasibleError, match="no plan of household 'one' satisfies its constraints"):
            Repeated(problem, "household 'one'").solve()


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.G, Scenario.TG])
@pytest.mark.parametrize("agreement", NetworkAgreement)
def test_localProblem_answersAsAFreshOne(scenario: Scenario, agreement: NetworkAgreement) -> None:
    """Copies and bids are unique: they stand in squares."""
    penalties = Penalties(0.4, 0.3)
    chance = np.random.default_rng(1)
    case = read_community("tiny3")
    for view in node_views(case.on(case.days[0]), scenario, agreement):
        rho = penalties.of_blocks(view)
        again = LocalProblem(view, rho, penalties.phi)
        for _ in range(4):
            linear = chance.normal(scale=0.3, size=(len(again.blocks), view.steps))
            trades = chance.normal(-0.2, 0.1, view.bid_count)
            fresh = LocalProblem(view, rho, penalties.phi).solve(linear, trades)
            answer = again.solve(linear, trades)
            assert answer.copies == pytest.approx(fresh.copies, abs=FLAT, rel=FLAT)
            assert answer.bids_kw == pytest.approx(fresh.bids_kw, abs=FLAT, rel=FLAT)
