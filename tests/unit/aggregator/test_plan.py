"""The aggregator's loop: against OpenDSS and the planner's own linearisation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest

from gridpact.aggregator.congestion import limits_of, of_sizes, rows_of, sensitivities, violations
from gridpact.aggregator.plan import plan_day
from gridpact.aggregator.portfolio import Control, position
from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community, shipped_cases
from gridpact.community.street import PhaseFeeder, Transformer
from gridpact.events import Event, Stage
from gridpact.grid.four_wire import four_wire_flow
from gridpact.grid.three_phase import phase_flow
from gridpact.grid.three_phase_plan import phase_plan
from gridpact.problem.baseline import baseline_net_kw


def day_on(
    day: str, weaker: float = 1.0, rating_a: float | None = None, kva: float | None = None, homes: int = 16
) -> CommunityDay:
    """The first homes of fontana16x3 on a cable that is so many times weaker."""
    community = read_community("fontana16x3").on(day)
    assert isinstance(community.feeder, PhaseFeeder)
    lines = tuple(
        replace(line, impedance_ohm=weaker * line.impedance_ohm, rating_a=rating_a or line.rating_a)
        for line in community.feeder.lines
    )
    transformer = Transformer(kva, 1.5, 3.7) if kva else None
    connections = community.feeder.connections[:homes]
    feeder = replace(community.feeder, lines=lines, transformer=transformer, connections=connections)
    return replace(community, households=community.households[:homes], feeder=feeder)


class Heard:
    """What was told of stages."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def hear(self, event: Event) -> None:
        assert isinstance(event, Stage)
        self.texts.append(event.text)


def injections(community: CommunityDay, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = len(community.households), 2
    return rng.uniform(-4, 3, shape), rng.uniform(-1, 1, shape)


@pytest.mark.parametrize(("case", "agents"), [("fontana16x3", (0, 6, 15)), ("eulv55", (0, 54))])
def test_sensitivities_areFiniteDifferencesOfOpenDss(case: str, agents: tuple[int, ...]) -> None:
    community = day_on("06-10", kva=50) if case == "fontana16x3" else read_community(case).on("12-22")
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    kw, kvar = injections(community, 1)
    moved, limits = sensitivities(feeder, kw, kvar), limits_of(feeder)
    rows = rows_of(feeder, phase_flow(feeder, kw, kvar))
    voltages = slice(0, limits.voltages)
    for agent in agents:
        for complex_slopes, reactive in ((moved.per_kw, 0.0), (moved.per_kvar, 1.0)):
            of = of_sizes(rows, complex_slopes)
            step = np.zeros_like(kw)
            step[agent] = 0.5
            up, down = (
                four_wire_flow(feeder, kw + sign * (1 - reactive) * step, kvar + sign * reactive * step)
                for sign in (1, -1)
            )
            slope = (up.voltage_pu - down.voltage_pu) / 1.0
            # 1 % of what the agent moves most: slopes of other phases pass through 0
            assert of[voltages, agent] == pytest.approx(slope, rel=0.01, abs=0.01 * np.abs(slope).max())
            by_kva = up.transformer_loading - down.transformer_loading
            assert of[-1, agent] == pytest.approx(by_kva, rel=0.01, abs=1e-5)


@pytest.mark.parametrize("load", [0.1, 1.5])
def test_sensitivities_areThePlannersLinearisation(load: float) -> None:
    community = day_on("06-10")
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    kw, kvar = injections(community, 2)
    kw, kvar = load * kw, load * kvar
    moved, voltages = sensitivities(feeder, kw, kvar), limits_of(feeder).voltages
    flow = phase_flow(feeder, kw, kvar)
    given, reactive = cp.Variable(kw.shape), cp.Constant(kvar)
    # Without currents the planner leaves out what voltages do to them, which matters away from no load only.
    plan = phase_plan(feeder, given, reactive, flow.voltage_pu, current_a=flow.current_a if load > 1 else None)
    for agent in (2, 15):
        found = []
        for more in (0.0, 1.0):
            step = kw.copy()
            step[agent] += more
            only = plan.constraints["the power flow of the feeder"]
            cp.Problem(cp.Minimize(cp.sum(plan.lost_kw)), [*only, given == step]).solve(solver=cp.CLARABEL)
            found.append(plan.voltage_pu.value)
        slope = found[1] - found[0]
        assert moved.per_kw[:voltages, agent].real == pytest.approx(slope, abs=0.01 * np.abs(slope).max())


@pytest.mark.parametrize(("weaker", "rating_a"), [(16.0, None), (1.0, 18.0)])
def test_loop_leavesNothingViolatedByOpenDss(weaker: float, rating_a: float | None) -> None:
    community = day_on("06-10", weaker, rating_a, homes=6)
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    plan = plan_day(community)
    for played in (plan.direct, plan.signals):
        assert played.after.count == 0
        assert played.loops <= 10
        flow = four_wire_flow(feeder, played.position.injection_kw, played.position.injection_kvar)
        assert flow.voltage_pu.min() >= 0.95 - 1e-4
        assert flow.voltage_pu.max() <= 1.05 + 1e-4
        assert np.nanmax(np.maximum(flow.line_loading, flow.neutral_loading)) <= 1 + 1e-4
    assert plan.direct.before.count > 0
    assert plan.optimum is not None
    # The optimum is the least cost on the feeder, up to what its passes and the loop's margin leave.
    assert plan.direct.cost >= plan.optimum.cost - 1e-3 * abs(plan.optimum.cost)
    assert plan.direct.adjusted_kwh <= 1.3 * plan.optimum.adjusted_kwh


def test_signals_areAnsweredByEachHomeAlone() -> None:
    community = day_on("06-10")
    net = position(community, Control.SIGNALS).injection_kw
    alone = baseline_net_kw(community)  # each home's own problem, solved by itself
    prices, dt = community.prices, community.step_hours

    def bills(kw: np.ndarray) -> np.ndarray:
        paid = np.maximum(-kw, 0) * prices.import_price - np.maximum(kw, 0) * prices.feed_in_price
        return np.asarray(dt * paid.sum(axis=1))

    assert bills(net) == pytest.approx(bills(alone), abs=1e-4)  # both to Clarabel's 1e-8 of the whole bill


def test_whatCannotBeMended_isSaid() -> None:
    community = day_on("12-22", weaker=10.0, homes=5)
    homes = tuple(replace(home, devices=()) for home in community.households)
    plan = plan_day(replace(community, households=homes))  # nobody has anything to move
    assert plan.optimum is None
    assert "12-22" in plan.bound
    assert plan.is_impossible
    assert plan.direct.after.count == plan.direct.before.count > 0
    assert not plan.direct.position.cuts_hold


def test_optimumThatDoesNotStand_isSaid_besideWhatTheLoopDid() -> None:
    """One pass is around the voltages without any load, which no plan has."""
    community, heard = day_on("12-22", weaker=2.0, homes=8), Heard()
    plan = plan_day(community, most_passes=1, listener=heard)
    assert plan.optimum is None
    assert "does not settle on its street" in plan.bound
    assert not plan.is_impossible
    assert plan.direct.before.count > 0 == plan.direct.after.count
    assert (plan.direct.before.count, plan.direct.loops) == (1, 1)
    assert heard.texts[:2] == [
        "Direct control: 1 violation after 0 loops",
        "Direct control: 0 violations after 1 loop",
    ]
    assert heard.texts[-1].startswith("The optimum: pass 1, voltages ")
    assert plan_day(community, most_passes=0).bound == "it was not looked for"


def test_violations_areCountedByStep() -> None:
    community = day_on("06-10", rating_a=30.0)
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    kw = np.zeros((len(community.households), 2))
    kw[-1, 1] = -9.0  # some 41 A through one phase and the neutral of every line on its way
    found = violations(feeder, kw, np.zeros_like(kw))
    path, bus = 0, feeder.connections[-1].bus
    above = {line.bus: line.parent for line in feeder.lines}
    while bus != feeder.root:
        path, bus = path + 1, above[bus]
    volts = 230.94 * phase_flow(feeder, kw, 0 * kw).magnitude_pu[-1, 1]
    assert found.current == path
    assert found.worst_pu == pytest.approx(9000 / volts / 30 - 1, rel=1e-4)  # what OpenDSS rounds, and 230.94


def test_command_printsFigures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aggregator", "plan", "--days", "12-22", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"loops", "violations_after", "adjusted_kwh", "optimum_adjusted_kwh", "curtailed_kwh"} <= printed.keys()
    assert printed["violations_before"] > 0 == printed["violations_after"]
    assert printed["signals"]["violations_after"] == 0


NO_LOAD = (
    "clear\nnew circuit.a basekv=0.4 bus1=a\nnew line.l bus1=a bus2=b length=0.1 units=km r1=0.2 x1=0.1 r0=0.8 x0=0.3\n"
)


def test_badInput_isOneSentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, short = tmp_path / "empty.dss", tmp_path / "short.csv"
    empty.write_text(NO_LOAD)
    short.write_text("price\n0.1\n0.2\n")
    case = tmp_path / "case"
    case.mkdir()
    shipped = shipped_cases()["fontana16x3"].parent
    for name in ("households.csv", "feeder.csv"):
        (case / name).write_text((shipped / name).read_text())
    toml = (shipped / "community.toml").read_text().replace("../fontana16", str(shipped.parent / "fontana16"))
    (case / "community.toml").write_text(toml)
    nowhere = (case / "feeder.csv").read_text().splitlines()
    (case / "feeder.csv").write_text("\n".join(nowhere[:-1]) + "\n")  # the last home's bus is gone
    for options, said in (
        (["--feeder", str(empty)], "no load"),
        (["--case", str(case)], "no line leads to bus '16'"),
        (["--passes", "-1"], "--passes -1 must be 0 or more"),
        (["--signal", str(short)], "the price series has 2 values, the horizon 96 half-hours"),
        (["--case", "fontana16"], "is balanced"),
        (["--pv", "120"], "--pv 120"),
        (["--heat-pumps", "50"], "has no heat pumps"),
        (["--adjustment-price", "-1"], "--adjustment-price -1"),
        (["--days", "1"], "has no day '1'"),
    ):
        assert main(["aggregator", "plan", *options]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
