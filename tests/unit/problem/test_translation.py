"""What is remembered of one day's problem gives another day's matrices, to the last bit those of CVXPY."""

from __future__ import annotations

from collections.abc import Iterator

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.problem import translation
from gridpact.problem.local import LocalProblem
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.translation import Translation
from gridpact.problem.view import NodeView, node_views

DSO, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "_known", type(translation._known)())
    monkeypatch.setattr(translation, "_kinds_again", set())


def problems(day: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> Iterator[LocalProblem]:
    """Of every second household: its x-step, and what it does with the trades as agreed."""

    def of(view: NodeView, agreed: bool) -> LocalProblem:
        trade, pool = np.random.default_rng(int(day.day.replace("-", ""))).uniform(1e-3, 1.0, 2)
        return LocalProblem(view, trade, pool if view.partners else 0.0, agreed=agreed)

    for view in node_views(day, scenario, agreement):
        if view.household is not None and view.node % 2:
            yield from (of(view, agreed) for agreed in (False, True))


def by_cvxpy(problem: cp.Problem) -> tuple[sp.sparray, sp.sparray | None, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    data, *_ = problem.get_problem_data(cp.CLARABEL, solver_opts={})
    return data["A"], data.get("P"), data["c"], data["b"]


def assert_same(made: sp.sparray | None, expected: sp.sparray | None) -> None:
    """Bit by bit, and in no element more."""
    assert (made is None) == (expected is None)
    if made is not None and expected is not None:
        one, other = sp.csc_array(made), sp.csc_array(expected)
        for matrix in (one, other):
            matrix.sum_duplicates()
        assert one.shape == other.shape
        for part in ("indptr", "indices", "data"):
            assert np.array_equal(getattr(one, part), getattr(other, part)), part


@pytest.mark.parametrize(
    ("scenario", "agreement"), [(Scenario.T, DSO), (Scenario.TG, DSO), (Scenario.G, DSO), (Scenario.TG, NEIGHBOURS)]
)
def test_matricesOfLaterDays_areThoseOfCvxpy(scenario: Scenario, agreement: NetworkAgreement) -> None:
    case = read_community("fontana16year")
    days = [case.on(day) for day in list(case.days)[20::120]]
    bids = set()
    for number, day in enumerate(days):
        for of in problems(day, scenario, agreement):
            repeated = of._problem
            for parameter in repeated._problem.parameters():
                parameter.value = np.random.default_rng(number).normal(size=parameter.shape)
            made = Translation(repeated._problem, repeated._bids)
            a, p, q, b = by_cvxpy(repeated._problem)
            assert_same(made.a, a)
            assert_same(made.p, p)
            assert all(np.array_equal(*pair) for pair in zip(made.constants(), (q, b), strict=True))
            if repeated._bids is not None:
                bids.add(repeated._bids.variable.size)
                assert number < 2 or made._places is not None
    assert any(isinstance(kept, tuple) for kept in translation._known.values())
    assert len(bids) > 1 or not scenario.has_contracts  # days are not alike


def test_answersOfSharedTranslations_areTheProblemsOwn() -> None:
    """Two problems of one shape side by side, with signs, bounds and parameters of their own."""
    chance = np.random.default_rng(7)

    def made() -> tuple[cp.Problem, cp.Variable, cp.Variable]:
        x, y, moves = cp.Variable(5, nonneg=True), cp.Variable(5), cp.Parameter(5, value=chance.normal(size=5))
        cost = cp.sum_squares(x - y - chance.normal(size=5)) + np.abs(chance.normal(size=5)) @ cp.abs(y)
        return cp.Problem(cp.Minimize(cost), [y <= chance.uniform(0.1, 1, 5), x + y == moves, cp.sum(x) >= 1]), x, y

    for _ in range(6):
        problem, x, y = made()
        problem.solve(solver=cp.CLARABEL)
        best = x.value, y.value
        shared = Translation(problem)
        a, p, q, b = by_cvxpy(problem)
        assert_same(shared.a, a)
        assert_same(shared.p, p)
        assert all(np.array_equal(*pair) for pair in zip(shared.constants(), (q, b), strict=True))
        found = np.zeros(len(q))
        data, *_ = problem.get_problem_data(cp.CLARABEL)
        stacked = data["param_prob"]
        values = {v.id: v.value for v in (x, y)}
        known = [v for v in stacked.variables if v.id in values]
        for v in known:
            found[stacked.var_id_to_col[v.id] :][: v.size] = values[v.id]
        y.value = None
        shared.assign(found)
        assert y.value == pytest.approx(best[1])
        assert shared.columns(y) == slice(stacked.var_id_to_col[y.id], stacked.var_id_to_col[y.id] + 5)
    assert [isinstance(kept, tuple) for kept in translation._known.values()] == [True]


def test_whatIsNoSeries_isAnotherShape() -> None:
    """A matrix, the sign of a series, an index: none of them is taken for another's. A bound by a number is a limit,
    and the second problem of the first's shape."""
    series = np.arange(1.0, 4.0)

    def problem(bound: float, weights: np.ndarray, sign: float, at: int) -> cp.Problem:  # type: ignore[type-arg]
        x = cp.Variable(3)
        return cp.Problem(cp.Minimize(cp.sum_squares(weights @ x)), [x <= bound, x >= sign * series, x[at] == 0.5])

    eye = np.eye(3)
    variants = [(9.0, eye, 0.1, 1), (8.0, eye, 0.1, 1), (9.0, 2 * eye, 0.1, 1), (9.0, eye, -0.1, 1), (9.0, eye, 0.1, 2)]
    for _ in range(3):
        for variant in variants:
            one = problem(*variant)
            made = Translation(one)
            a, p, q, b = by_cvxpy(one)
            assert_same(made.a, a)
            assert_same(made.p, p)
            assert all(np.array_equal(*pair) for pair in zip(made.constants(), (q, b), strict=True))
    assert len(translation._known) == len(variants) - 1


def test_restsOfADay_areTranslatedWithParametersAtOnce() -> None:
    """A shape is known for what it is put together of once it has come again, and other lengths of it need not."""

    def problem(steps: int) -> cp.Problem:
        x, chance = cp.Variable(steps), np.random.default_rng(steps)
        return cp.Problem(cp.Minimize(chance.uniform(1, 2, steps) @ cp.abs(x)), [x <= chance.uniform(1, 2, steps)])

    for steps in (6, 5, 6, 4, 3):
        one = problem(steps)
        made, (a, _, q, b) = Translation(one), by_cvxpy(one)
        assert_same(made.a, a)
        assert all(np.array_equal(*pair) for pair in zip(made.constants(), (q, b), strict=True))
    assert [isinstance(kept, tuple) for kept in translation._known.values()] == [False, True, True, True]
    assert Translation(cp.Problem(cp.Minimize(cp.sum(cp.Variable(4, nonneg=True))))).a.shape[1] == 4
    assert list(translation._known.values())[-1] is translation._Met.ONCE


def test_seriesThatMultipliesAVariable_isTranslatedAnew() -> None:
    """Its matrix depends on it."""
    for seed in range(4):
        x, by = cp.Variable(4), np.random.default_rng(seed).normal(size=4)
        one = cp.Problem(cp.Minimize(cp.sum(x)), [cp.multiply(by, x) <= 1, x >= -1])
        assert_same(Translation(one).a, by_cvxpy(one)[0])
    assert set(translation._known.values()) == {translation._Met.UNFIT}
