"""The four-wire street against OpenDSS, which has the neutral as a conductor and shares no code with the planner."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from streets import street

from gridpact.community.street import (
    PHASES,
    Connection,
    PhaseFeeder,
    PhaseLine,
    Source,
    Transformer,
    by_sequence,
)
from gridpact.errors import InputError, SolverError
from gridpact.grid.four_wire import four_wire_flow
from gridpact.grid.three_phase import loading, phase_flow, reduced_of
from gridpact.grid.three_phase_plan import no_load_pu, phase_plan
from gridpact.problem.solving import solve

SAME_PU = 1e-7  # OpenDSS stops at 1e-9; sums of some hundred currents between
SAME_KW = 1e-5
SAME_AT_SOURCE_KW = 1e-4  # its current is a difference of voltages over 1e-9 ohm there


@pytest.mark.parametrize("seed", range(12))
def test_flow_isThatOfFourWires(seed: int) -> None:
    rng = np.random.default_rng(seed)
    feeder = street(rng)
    n = len(feeder.connections)
    kw, kvar = rng.normal(0, 1.5, (n, 4)), rng.normal(0, 0.4, (n, 4))
    mine, theirs = phase_flow(feeder, kw, kvar), four_wire_flow(feeder, kw, kvar)
    np.testing.assert_allclose(mine.magnitude_pu, theirs.voltage_pu, rtol=0, atol=SAME_PU)
    np.testing.assert_allclose(mine.losses_kw, theirs.losses_kw, rtol=0, atol=SAME_KW)
    np.testing.assert_allclose(mine.import_kw, theirs.import_kw, rtol=0, atol=SAME_AT_SOURCE_KW)
    used = loading(feeder, mine)
    sections = reduced_of(feeder).names
    row = {line.name: k for k, line in enumerate(feeder.lines)}
    for g, names in enumerate(sections):
        for name in names:  # all lines in a row carry the same
            of = row[name]
            here = np.nan_to_num(theirs.phase_a[of])
            np.testing.assert_allclose(used.phase_a[g], here, rtol=0, atol=1e-4)
            np.testing.assert_allclose(used.neutral_a[g], theirs.neutral_a[of], rtol=0, atol=1e-4)
    if feeder.transformer:
        np.testing.assert_allclose(used.transformer, theirs.transformer_loading, rtol=0, atol=1e-6)


def test_sections_areFewerThanLines() -> None:
    """Where nobody is connected between lines, or behind them, they make no difference."""
    z = by_sequence(0.01 + 0.002j, 0.04 + 0.008j)
    row = tuple(PhaseLine(f"l{k}", f"b{k}", f"b{k - 1}", PHASES, z, 100 + k) for k in range(1, 51))
    dead = PhaseLine("dead", "nowhere", "b20", PHASES, z)
    feeder = PhaseFeeder(400, 0.9, 1.1, "b0", (*row, dead), (Connection("b30", (0,)), Connection("b50", (1,))))
    reduced = reduced_of(feeder)
    assert [len(names) for names in reduced.names] == [30, 20]
    np.testing.assert_allclose(reduced.impedance[0], 30 * z)
    assert list(reduced.rating_a) == [101, 131]


@pytest.mark.parametrize("seed", range(4))
def test_plan_keepsLimits_byFourWires(seed: int) -> None:
    """The nearest injections to wishes that break limits: found in few passes, and within them by OpenDSS."""
    rng = np.random.default_rng(100 + seed)
    feeder = street(rng, buses=16, homes=10)
    feeder = PhaseFeeder(**{**vars(feeder), "voltage_min_pu": 0.96, "voltage_max_pu": 1.04, "source": Source()})
    if feeder.transformer is not None:
        feeder = PhaseFeeder(**{**vars(feeder), "transformer": Transformer(63, 1.5, 4.0)})
    n, steps = len(feeder.connections), 3
    wish = rng.normal(0, 4, (n, steps))
    kw, kvar = cp.Variable((n, steps)), cp.Variable((n, steps))
    at, moved = no_load_pu(feeder, steps), np.inf
    while moved > 1e-5:
        plan = phase_plan(feeder, kw, kvar, at)
        away = cp.sum_squares(kw - wish) + cp.sum_squares(kvar) + 0.1 * cp.sum(plan.lost_kw)
        problem = cp.Problem(cp.Minimize(away), [c for family in plan.constraints.values() for c in family])
        solve(problem, "the test")
        before, at = at, plan.follow(kw.value, kvar.value).voltage_pu
        moved = float(np.max(np.abs(at - before)))
    theirs = four_wire_flow(feeder, kw.value, kvar.value)
    assert theirs.voltage_pu.min() > 0.96 - 1e-4  # linear to first order around a point that stands to 1e-5
    assert theirs.voltage_pu.max() < 1.04 + 1e-4
    assert np.nanmax(theirs.line_loading, initial=0) < 1 + 1e-3
    assert np.nanmax(theirs.neutral_loading, initial=0) < 1 + 1e-3
    assert np.nanmax(theirs.transformer_loading, initial=0) < 1 + 1e-3
    np.testing.assert_allclose(plan.lost_kw.value, theirs.losses_kw, rtol=1e-2, atol=2e-3)


def test_flow_withoutSolution_isSaid() -> None:
    z = by_sequence(0.3 + 0.1j, 1.2 + 0.4j)
    feeder = PhaseFeeder(400, 0.9, 1.1, "b0", (PhaseLine("l", "b1", "b0", PHASES, z),), (Connection("b1", (0,)),))
    with pytest.raises(SolverError, match="cannot carry this plan"):
        phase_flow(feeder, np.array([[-80.0]]), np.array([[0.0]]))


Z = by_sequence(0.01 + 0.002j, 0.04 + 0.008j)


@pytest.mark.parametrize(
    ("lines", "connections", "says"),
    [
        ([("a", "b1", "b0", PHASES), ("b", "b1", "b0", PHASES)], [], "line 'b' feeds bus 'b1', which line 'a' feeds"),
        ([("a", "b1", "b2", PHASES), ("b", "b2", "b1", PHASES)], [], "line 'a' is part of a loop"),
        ([("a", "b1", "b9", PHASES)], [], "line 'a' begins at bus 'b9', to which no line leads"),
        ([("a", "b1", "b0", (0,)), ("b", "b2", "b1", (0, 1))], [], "line 'b' has phases 1, 2, line 'a'"),
        ([("a", "b1", "b0", PHASES)], [("b7", (0,))], "home 1 is connected to bus 'b7', which does not exist"),
        ([("a", "b1", "b0", (0, 1))], [("b1", (2,))], "home 1 is on phases 3, bus 'b1' has 1, 2"),
        ([("a", "b1", "b0", ())], [], "line 'a' has no impedance"),
    ],
)
def test_feeder_thatCannotBe_isRefused(
    lines: list[tuple[str, str, str, tuple[int, ...]]], connections: list[tuple[str, tuple[int, ...]]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        PhaseFeeder(
            *(400, 0.9, 1.1, "b0"),
            tuple(PhaseLine(*line, Z) for line in lines),
            tuple(Connection(*connection) for connection in connections),
        )


def test_transformer_ofNothing_isRefused() -> None:
    with pytest.raises(InputError, match="the transformer has 0 kVA"):
        PhaseFeeder(400, 0.9, 1.1, "b0", (), (), Transformer(0, 1, 4))


def test_linesOfOneName_areTwoLines() -> None:
    """In pandapower's files names are anybody's."""
    feeder = street(np.random.default_rng(5))
    alike = replace(feeder, lines=tuple(replace(line, name="cable") for line in feeder.lines))
    given = np.full((len(feeder.connections), 1), -1.5)
    for wanted, found in zip(*(phase_flow(of, given, 0.1 * given).voltage_pu for of in (feeder, alike)), strict=True):
        np.testing.assert_array_equal(found, wanted)
