"""The feeder's equations against a sweep with phasors written for the test, OpenDSS, and a closed formula."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Feeder, Line
from gridpact.devices.device import flat
from gridpact.errors import SolverError
from gridpact.grid.powerflow import power_flow
from gridpact.problem.coefficients import partners
from gridpact.problem.constraints import branch_flow
from gridpact.problem.scenario import Scenario
from gridpact.problem.verification import Traded, booked, implemented_cost
from unit.problem.helpers import sweep

TREE = Feeder(
    400.0,
    0.8,
    1.2,
    (Line(1, 0, 0.04, 0.005), Line(2, 1, 0.05, 0.01), Line(3, 1, 0.08, 0.006), Line(4, 3, 0.02, 0.3)),
)


@pytest.mark.parametrize("seed", range(5))
def test_powerFlows_agree(seed: int) -> None:
    """Three ways to the same voltages and losses: cone program, sweep, OpenDSS; loads and generation mixed."""
    random = np.random.default_rng(seed)
    p, q = random.uniform(-6, 6, (4, 3)), random.uniform(-2, 2, (4, 3))
    flow = branch_flow(TREE, cp.Constant(p), cp.Constant(q))
    problem = cp.Problem(cp.Minimize(cp.sum(flow.losses_kw)), flat(flow.constraints))
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == cp.OPTIMAL
    by_cone = np.sqrt(1 + flow.voltage.value)
    exact = power_flow(TREE, p, q)
    for t in range(3):
        voltage, losses = sweep(TREE, p[:, t], q[:, t])
        # 1e-5 p.u.: the solver's tolerance of 1e-8 on squared voltages, with a margin; 1 % of the smallest limit
        assert by_cone[:, t] == pytest.approx(voltage, abs=1e-5)
        assert exact.voltage_pu[:, t] == pytest.approx(voltage, abs=1e-5)
        # 1e-6 of the losses for OpenDSS, which iterates to 1e-9 of the voltage
        assert exact.losses_kw[t] == pytest.approx(losses.sum(), rel=1e-6)
        # The solver sees losses of some 1e-3 p.u. with an absolute tolerance of 1e-8.
        assert flow.losses_kw.value[:, t].sum() == pytest.approx(losses.sum(), rel=1e-5)
        # What enters at the root is what the homes take and the lines lose.
        assert exact.import_kw[t] == pytest.approx(losses.sum() - p[:, t].sum(), abs=1e-5)
        assert flow.root_kw.value[t] == pytest.approx(-exact.import_kw[t], abs=1e-5)


def test_oneLine_closedForm() -> None:
    """One line, one load p + jq. With V the voltage and z = r + jx per unit, |V + z conj(S/V)| = 1 gives
    V^4 + (2 (r p + x q) - 1) V^2 + (r^2 + x^2)(p^2 + q^2) = 0; the losses are r (p^2 + q^2) / V^2."""
    r, x, p, q = 0.32, 0.08, 10.0, 3.0  # ohm, kW
    feeder = Feeder(400.0, 0.8, 1.2, (Line(1, 0, r, x),))
    base_ohm, base_kva = 400**2 / 100e3, 100.0
    rp, xp, pp, qp = r / base_ohm, x / base_ohm, p / base_kva, q / base_kva
    b, c = 2 * (rp * pp + xp * qp) - 1, (rp**2 + xp**2) * (pp**2 + qp**2)
    squared = (-b + np.sqrt(b * b - 4 * c)) / 2
    flow = power_flow(feeder, np.array([[-p]]), np.array([[-q]]))
    # 1e-7: the tolerance of OpenDSS is 1e-9 of the voltage, its source has 1e-9 ohm
    assert flow.voltage_pu[0, 0] == pytest.approx(np.sqrt(squared), abs=1e-7)
    losses = base_kva * rp * (pp**2 + qp**2) / squared
    assert flow.losses_kw[0] == pytest.approx(losses, rel=1e-6)
    assert flow.import_kw[0] == pytest.approx(p + losses, rel=1e-6)
    # At the parent's end flows p plus the active and q plus the reactive losses.
    apparent = np.hypot(p + losses, q + losses * x / r)
    assert flow.current_a[0, 0] == pytest.approx(1000 * apparent / (np.sqrt(3) * 400), rel=1e-6)


def test_idleFeeder_isFlat() -> None:
    flow = power_flow(TREE, np.zeros((4, 1)), np.zeros((4, 1)))
    assert flow.voltage_pu[:, 0] == pytest.approx(np.ones(4), abs=1e-7)  # OpenDSS's source has 1e-9 ohm
    assert flow.losses_kw[0] == pytest.approx(0, abs=1e-9)


def test_overload_isSaid() -> None:
    """400 V over 0.32 ohm cannot carry more than 1/(4 r) = 125 kW to a resistive load; a megawatt has no solution."""
    with pytest.raises(SolverError, match="no solution at step 1"):
        power_flow(Feeder(400.0, 0.8, 1.2, (Line(1, 0, 0.32, 0.0),)), np.array([[-1.0, -1000.0]]), np.zeros((1, 2)))


def with_grid_losses(day: CommunityDay, kw: np.ndarray) -> float:
    """What the losses of tiny3 with injections in step 1 cost, by the sweep of this file."""
    _, losses = sweep(day.feeder, kw[:, 1], np.zeros(3))
    return 6 * 0.40 * float(losses.sum())


def test_implementedCost_byHand(tiny3: CommunityDay) -> None:
    """Everybody idle but ann, who takes 1 kW in step 1 (0.40 EUR/kWh) of which bob sells her 0.25 kW from his 2 kW.

    Six hours each: ann buys 0.75 kW = 1.80 EUR; bob feeds in 1.75 kW at 0.20 = -2.10 EUR; gamma is 0 to bob.
    """
    kw = np.zeros((3, 4))
    kw[0, 1], kw[1, 1] = -1.0, 2.0
    trades = {1: np.array([-0.25, 0.0]), 2: np.array([0.25, 0.0, 0.0, 0.0]), 3: np.zeros(2)}
    traded = booked(tiny3, partners(tiny3), trades)
    cost = implemented_cost(tiny3, Scenario.T, kw, np.zeros((3, 4)), traded)
    assert cost.supply == pytest.approx(1.80 - 2.10, rel=1e-12)  # sums of a few products
    assert cost.coefficients == pytest.approx(0, abs=1e-12)
    assert cost.losses == 0  # in T nobody looks after them; they are paid all the same
    assert cost.paid == pytest.approx(cost.supply + with_grid_losses(tiny3, kw), rel=1e-5)
    assert cost.objective == pytest.approx(cost.supply, abs=1e-12)
    # In TG node 0 also buys the losses, at the import price (and the loss price's 1e-6).
    _, losses = sweep(tiny3.feeder, kw[:, 1], np.zeros(3))
    with_grid = implemented_cost(tiny3, Scenario.TG, kw, np.zeros((3, 4)), traded)
    assert with_grid.losses == pytest.approx(6 * 0.40 * losses.sum(), rel=1e-5)  # 1e-6 EUR/kWh of 0.40
    # In G the community has one contract: 1 kW less the losses goes out, at 0.20.
    in_common = implemented_cost(tiny3, Scenario.G, kw, np.zeros((3, 4)), Traded.nothing(3, 4))
    # 1e-9 of 230 V over 0.03 ohm are some 5 mW in each of three steps: the power flow's accuracy, as above 1e-5 kW
    assert in_common.objective == pytest.approx(-6 * 0.20 * (1 - losses.sum()), abs=6 * 0.40 * 1e-5)
