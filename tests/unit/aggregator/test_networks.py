"""The loop on networks with and without problems, made here in the form of those that CSIRO published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridpact.aggregator.plan import ControlPlayed, FeederOptimum, plan_day
from gridpact.aggregator.portfolio import REACTIVE_PART, on_network
from gridpact.cli import main
from gridpact.community.assigned import with_share
from gridpact.community.networks.files import read_network
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder
from gridpact.devices.car import ElectricCar
from gridpact.grid.four_wire import four_wire_flow

HOMES = 4


def network(folder: Path, metres: float, kva: float) -> Path:
    """A transformer, a line with a home on a single phase at each of its buses."""
    lines = [
        "clear",
        "new circuit.made bus1=hv basekv=11 pu=1.0 phases=3 r1=0 x1=0.0001 r0=0 x0=0.0001",
        f"new transformer.t phases=3 windings=2 buses=[hv, b0] conns=[delta, wye] kvs=[11, 0.4] kvas=[{kva}, {kva}] "
        "xhl=4 %loadloss=1",
    ]
    for k in range(HOMES):
        lines.append(
            f"new line.l{k} bus1=b{k} bus2=b{k + 1} phases=3 length={metres / 1000} units=km "
            "r1=0.32 x1=0.08 r0=1.2 x0=0.3 c1=0 c0=0 normamps=200"
        )
        lines.append(f"new load.home{k} bus1=b{k + 1}.{k % 3 + 1} phases=1 kv=0.23 kw=1 kvar=0")
    path = folder / "made.dss"
    path.write_text("\n".join([*lines, "set voltagebases=[11, 0.4]", "calcvoltagebases", "solve"]) + "\n")
    return path


@pytest.mark.parametrize(("metres", "kva", "kind"), [(20, 200, ""), (450, 200, "voltage"), (20, 11, "current")])
def test_problems_areRemoved_withNoMoreThanTheOptimumNeeds(
    tmp_path: Path, metres: float, kva: float, kind: str
) -> None:
    made = read_network(network(tmp_path, metres, kva))
    day = with_share(read_community("fontana16x3").on("12-22"), ElectricCar, 1.0, seed=1)
    community = on_network(day, made, 0.95, 1.05)
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    plan = plan_day(community)
    before = plan.direct.before
    assert (before.voltage > 0, before.current > 0) == (kind == "voltage", kind == "current")
    assert plan.optimum is not None
    for played in (plan.direct, plan.signals):
        assert played.after.count == 0
        assert played.loops <= 10
        flow = four_wire_flow(feeder, played.position.injection_kw, played.position.injection_kvar)
        assert flow.voltage_pu.min() >= 0.95 - 1e-4
        assert flow.voltage_pu.max() <= 1.05 + 1e-4
        assert np.nanmax(flow.transformer_loading) <= 1 + 1e-4

    def objective(of: ControlPlayed | FeederOptimum) -> float:
        price = 0.1 * community.prices.mean_import
        return of.cost + price * (of.adjusted_kwh + REACTIVE_PART * of.adjusted_kvarh)

    # The loop's cuts stay 1e-4 p.u. inside, times its loops; nothing is better than the optimum by more than its passes
    # leave.
    assert -1e-4 <= objective(plan.direct) / objective(plan.optimum) - 1 <= 0.01
    assert plan.direct.adjusted_kwh <= 1.3 * plan.optimum.adjusted_kwh + 1e-3  # a watt-hour is what solvers leave


def test_whoAsksLess_isAdjustedFirst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below a transformer that is too small all move it alike, so what they ask decides; and nothing is better than
    what comes of it but the optimum, by as much as its passes leave."""
    path = network(tmp_path, 20, 11)
    day = with_share(read_community("fontana16x3").on("12-22"), ElectricCar, 1.0, seed=1)
    community = on_network(day, read_network(path), 0.95, 1.05)
    mean = community.prices.mean_import
    moved = []
    for cheap in (0, 1):
        asked = np.full(HOMES, 0.2 * mean)
        asked[cheap] = 0.02 * mean
        plan = plan_day(community, adjustment_price=asked)
        assert plan.direct.after.count == 0
        assert plan.optimum is not None
        away = np.abs(plan.direct.position.injection_kw - plan.direct.wished.injection_kw)
        moved.append(community.step_hours * away.sum(axis=1))
        reactive = REACTIVE_PART * float(asked.mean())
        paid = plan.direct.cost + float(asked @ moved[-1]) + reactive * plan.direct.adjusted_kvarh
        optimum = plan.optimum.cost + float(asked @ plan.optimum.moved_kwh) + reactive * plan.optimum.adjusted_kvarh
        assert -1e-4 <= paid / optimum - 1 <= 0.01
    assert moved[0][0] > moved[1][0] + 0.1
    assert moved[1][1] > moved[0][1] + 0.1
    offers = tmp_path / "offers.csv"
    for text, said in (
        ("home_1,0.1\nhome_1,0.2\n", "row 3, column 'home': 'home_1' offers twice"),
        ("home_99,0.1\n", "row 2, column 'home': 'home_99' is no home of 'fontana16x3', which has home_1, "),
        ("home_1,-1\n", "row 2, column 'price': -1 must be at least 0"),
    ):
        offers.write_text(f"home,price\n{text}")
        assert main(["aggregator", "plan", "--feeder", str(path), "--offers", str(offers)]) == 2
        assert said in capsys.readouterr().err


def test_whatHasNoPowerFlow_isMended(tmp_path: Path) -> None:
    """Cars that all charge at once, as a price of one cheap hour has it, on a line that cannot carry that at all."""
    made = read_network(network(tmp_path, 1400, 200))
    day = with_share(read_community("fontana16x3").on("06-10"), ElectricCar, 1.0, seed=1)
    community = on_network(day, made, 0.85, 1.15)
    signal = np.full(community.steps, 0.5)
    signal[3:5] = 0.01
    plan = plan_day(community, signal)
    assert plan.signals.before.collapsed > 0
    assert plan.signals.after.count == 0
    assert plan.signals.loops <= 10
