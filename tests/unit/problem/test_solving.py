"""Solving again with new linear terms gives what CVXPY gives from the start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from gridpact.community.model import Array
from gridpact.community.read import read_community
from gridpact.errors import InfeasibleError
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import Penalties
from gridpact.market.prepared import Prepared
from gridpact.problem.local import LocalProblem
from gridpact.problem.repeated import Answer, Repeated
from gridpact.problem.scenario import NetworkAgreement, Scenario
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
    costs = []
    for seed in range(20):
        weights = draw(problem, seed)
        values = again.solve(weights=weights).values({"cost": problem.objective.expr, "x": x})
        fresh, y = with_parameters()
        draw(fresh, seed)
        whole = cp.Problem(
            cp.Minimize(fresh.objective.expr + cp.sum(cp.multiply(weights / 2, cp.square(y)))), fresh.constraints
        )
        costs.append(float(values["cost"]) + np.sum(weights / 2 * values["x"] ** 2))
        assert costs[-1] == pytest.approx(whole.solve(solver=cp.CLARABEL), rel=SAME_OPTIMUM)
    assert len({round(cost, 3) for cost in costs}) == 20


def test_repeated_withoutWeights() -> None:
    problem, _ = with_parameters()
    again = Repeated(problem, "test")
    for seed in range(3):
        draw(problem, seed)
        values = again.solve().values({"cost": problem.objective.expr})
        fresh, _ = with_parameters()
        draw(fresh, seed)
        assert values["cost"] == pytest.approx(fresh.solve(solver=cp.CLARABEL), rel=SAME_OPTIMUM)


def test_repeated_saysWhoHasNoPlan() -> None:
    problem, x = with_parameters(limit=-9.0)
    weights = draw(problem, 1)
    again = Repeated(problem, "household 'one'", weighted=x)
    for _ in range(2):
        with pytest.raises(InfeasibleError, match="no plan of household 'one' satisfies its constraints"):
            again.solve(weights=weights)


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


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
def test_localProblem_withAnotherPenaltyOnTrades_answersAsOneThatWasBuiltWithIt(scenario: Scenario) -> None:
    """Also where partners are absent, and back at the first penalty."""
    penalties = Penalties(0.4, 0.3)
    chance = np.random.default_rng(2)
    case = read_community("tiny3")
    for view in node_views(case.on(case.days[0]), scenario, NetworkAgreement.DSO):
        for parted in (None, np.arange(view.bid_count) < view.steps):
            if not view.bid_count:
                continue
            again = LocalProblem(view, penalties.phi, 0.2, parted=parted)
            for times in (0.5, 1.0, 8.0, 1.0):
                linear = chance.normal(scale=0.3, size=(len(again.blocks), view.steps))
                trades = chance.normal(-0.2, 0.1, view.bid_count)
                there = point(again, penalties.of_blocks(view), linear, trades, chance.normal(scale=0.1))
                built = LocalProblem(view, times * penalties.phi, times * 0.2, parted=parted).solve(there)
                answer = again.solve(replace(there, trade_times=times))
                assert answer.bids_kw == pytest.approx(built.bids_kw, abs=FLAT, rel=FLAT)
                assert answer.copies == pytest.approx(built.copies, abs=FLAT, rel=FLAT)


ORACLE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.G, Scenario.TG])
def test_roundOfAShippedDay_isSolvedToAHundredMillionth_andToATenthOfAUnit(scenario: Scenario) -> None:
    """All x-steps of an iteration, households by PIQP and node 0 by Clarabel, against CVXPY and Clarabel to 1e-12."""
    case = read_community("fontana16")
    negotiation = Negotiation.of(Prepared.of(case.on("06-10"), scenario))
    costs, apart = [], []
    solved = Repeated.solve

    def checked(
        self: Repeated, linear: Sequence[Array] = (), weights: Array | None = None, times: float = 1.0
    ) -> Answer:
        answer = solved(self, linear, weights, times)
        more = sum(cp.sum(cp.multiply(a, x)) for a, x in zip(linear, self._linear, strict=True))
        if weights is not None:
            more += cp.sum(cp.multiply(weights / 2, cp.square(self._weighted)))
        objective = self._problem.objective.expr + more
        cost = float(answer.values({"": objective})[""])
        best = cp.Problem(cp.Minimize(objective), self._problem.constraints).solve(solver=cp.CLARABEL, **ORACLE)
        costs.append(abs(cost - best) / max(abs(best), 1.0))
        shared = self._linear if self._weighted is None else [self._weighted, *self._linear]
        apart.extend(float(np.abs(answer.value(x) - x.value).max()) for x in shared)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        iterates = negotiation.iterates()
        for _ in range(6):
            next(iterates)
        patch.setattr(Repeated, "solve", checked)
        next(iterates)
    assert len(costs) == len(negotiation.views)
    assert max(costs) < 1e-8
    assert max(apart) < negotiation.resolution.power_kw / 10


def test_elementsThatOneEquationGives_leaveTheProblem() -> None:
    """Whatever else the problem has: the weighted variable may be given, given in part, or free; parameters may move
    the equation that gives it."""
    for given in range(4):
        x, y, z = cp.Variable(4), cp.Variable(4, nonneg=True), cp.Variable(4)
        moves = cp.Parameter(4)
        limits = [y <= 3, cp.abs(z) <= 2, z[0] + y[3] == 0.5, y + 0.1 * z >= 0.2]
        limits += [2 * x[k] == y[k] - 3 * z[k] + moves[k] for k in range(given)]
        limits += [cp.abs(x) <= 5, x[3] == 0.7] if given == 2 else [x[3] + x[2] == 1] if given < 3 else []
        problem = cp.Problem(cp.Minimize(cp.sum(cp.abs(y - z)) + cp.sum_squares(y + z - 1)), limits)
        again = Repeated(problem, "test", [x, z], weighted=x)
        chance = np.random.default_rng(given)
        for _ in range(5):
            moves.value = chance.normal(size=4)
            a, c, weights = chance.normal(size=4), chance.normal(size=4), chance.uniform(0.1, 2.0, 4)
            answer = again.solve([a, c], weights)
            objective = problem.objective.expr + a @ x + c @ z + cp.sum(cp.multiply(weights / 2, cp.square(x)))
            cost = answer.values({"": objective})[""]
            best = cp.Problem(cp.Minimize(objective), limits).solve(solver=cp.CLARABEL, **ORACLE)
            assert float(cost) == pytest.approx(best, rel=1e-8, abs=1e-8)
            assert answer.value(x) == pytest.approx(x.value, abs=1e-6)


def test_answer_staysAsItIs() -> None:
    """What a node solves next does not change what it has."""
    y, x = cp.Variable(2, nonneg=True), cp.Variable(2)
    again = Repeated(cp.Problem(cp.Minimize(cp.sum(y)), [y >= x - 1]), "test", [x], weighted=x)
    one, other = (again.solve([np.array([a, -a])], np.ones(2)) for a in (-2.5, -5.0))
    assert other.values({"y": y})["y"] == pytest.approx([3, 0], abs=1e-6)
    assert one.values({"y": y})["y"] == pytest.approx([0.5, 0], abs=1e-6)
    assert one.value(x) == pytest.approx([1.5, -2.5], abs=1e-6)


def test_whatCvxpyLeavesUnwritten_isNotTold() -> None:
    """It finds the shape of a sum by summing memory that nobody has written; infinities in it are nothing to tell."""
    sums = "cp.sum(cp.Variable((2, 2)))"
    program = f"import cvxpy as cp, numpy as np\nnp.empty = lambda shape: np.array([[np.inf, -np.inf]])\n{sums}\n"
    said = [
        subprocess.run([sys.executable, "-c", first + program], capture_output=True, text=True, check=True).stderr
        for first in ("", "import gridpact.problem.solving\n")
    ]
    assert "invalid value encountered in reduce" in said[0]
    assert said[1] == ""
