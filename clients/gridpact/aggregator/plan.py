"""Portfolio and feeder in turn, until the feeder carries the portfolio: load flow, sensitivities, adjustments.

A loop asks the load flow which limits are broken, how much each agent moves them by perturbation, and the portfolio for
the least adjustment of those that move them most. What was broken once is watched from then on at all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gridpact.aggregator.congestion import (
    TOLERANCE,
    Limits,
    Sensitivities,
    Violations,
    carried,
    limits_of,
    of_sizes,
    past,
    rows_of,
    scaled_until_carried,
    sensitivities,
    violations,
)
from gridpact.aggregator.portfolio import Control, Cuts, Near, Position, curtailed_of, departing, position
from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.errors import InexactRelaxationError, InfeasibleError, InputError, SolverError
from gridpact.events import SILENT, Listener, Stage
from gridpact.grid.three_phase import phase_flow
from gridpact.problem.centralised import MOST_PASSES, NEARNESS, centralised_optimum
from gridpact.problem.scenario import Scenario
from gridpact.text import count

MOST_LOOPS = 10

INSIDE = 1e-4
"""By how much the first loop's cuts stay inside the limits, the second's twice as much, and so on: what they leave out
does not matter then, nor that two positions in turn each make good what the other breaks."""

NEAR = 0.01
"""So near to a limit, a row is watched before it breaks it: energy that is moved breaks others."""

NEAR_VOLTAGE, NEAR_CURRENT = 0.02, 0.25
"""The same of rows that are beyond their limits at another step."""

WATCHED = 6
"""Of each kind and step, the rows that are worst."""

DAMPING = 4.0
"""How many times as much each loop pays to stay near to the position before."""

WORDS = {Control.DIRECT: "Direct control", Control.SIGNALS: "Incentive signals"}

Key = tuple[int, int]  # row, step


@dataclass(frozen=True)
class Effective:
    """Who moves the worst violation most."""

    violation: str
    step: int
    agent: str
    per_kw: float  # of the row, per unit a kW into the feeder


@dataclass(frozen=True, eq=False)
class ControlPlayed:
    """One way to control, on one day."""

    control: Control
    loops: int
    before: Violations
    after: Violations
    wished: Position
    position: Position
    cost: float  # of what comes through the head of the feeder, losses with it, currency
    adjusted_kwh: float
    adjusted_kvarh: float
    curtailed_kwh: float
    peak_before_kw: float  # of the import at the head
    peak_kw: float
    effective: tuple[Effective, ...]  # at the wished position


@dataclass(frozen=True, eq=False)
class FeederOptimum:
    """G on the same feeder and day, with what the loop pays for adjustments."""

    cost: float
    moved_kwh: Array  # from what direct control wished, by home, (n,)
    adjusted_kvarh: float
    curtailed_kwh: float
    peak_kw: float

    @property
    def adjusted_kwh(self) -> float:
        return float(self.moved_kwh.sum())


@dataclass(frozen=True, eq=False)
class PortfolioDay:
    """All of one day."""

    day: str
    direct: ControlPlayed
    signals: ControlPlayed
    optimum: FeederOptimum | None
    bound: str  # why there is no optimum; empty where there is one
    is_impossible: bool = False  # whether that is so because no position is without violations


def plan_day(
    community: CommunityDay,
    signal: Array | None = None,
    adjustment_price: float | Array | None = None,
    most_passes: int = MOST_PASSES,
    listener: Listener = SILENT,
) -> PortfolioDay:
    """Plays both ways to control on a day, and the optimum.

    Args:
        signal: prices that homes are sent, (T,) or longer; default: what they pay.
        adjustment_price: currency a kWh, by home, (n,), or of all; default a tenth of the mean import price.
        most_passes: of the optimum, see `centralised_optimum`; 0: it is not looked for.

    Raises:
        InputError: the feeder has no phases, or the signal is shorter than the day.
        InfeasibleError, SolverError: a home has no plan, or the wished position has no power flow.
    """
    feeder = street_of(community)
    price = 0.1 * community.prices.mean_import if adjustment_price is None else adjustment_price
    direct = _played(community, feeder, Control.DIRECT, community.prices, price, listener)
    signals = _played(community, feeder, Control.SIGNALS, _sent(community, signal), price, listener)
    if not most_passes:
        return PortfolioDay(community.day, direct, signals, None, "it was not looked for")
    try:
        optimum = _optimum(community, feeder, direct.wished, price, most_passes, listener)
    except InfeasibleError as error:
        return PortfolioDay(community.day, direct, signals, None, str(error), is_impossible=True)
    except (InexactRelaxationError, SolverError) as error:
        return PortfolioDay(community.day, direct, signals, None, str(error))
    return PortfolioDay(community.day, direct, signals, optimum, "")


def street_of(community: CommunityDay) -> PhaseFeeder:
    """Its feeder, where an aggregator can plan on it.

    Raises:
        InputError: it has no phases, there are no homes, or they have several tariffs.
    """
    if not isinstance(community.feeder, PhaseFeeder):
        raise InputError(
            f"the feeder of '{community.name}' is balanced; an aggregator plans on one with phases: take fontana16x3, "
            "or give a network file with --feeder"
        )
    if not community.households:
        raise InputError(f"'{community.name}' has no homes, so there is no load to plan for")
    community.require_one_tariff("an aggregator, who buys for all homes by one contract,")
    return community.feeder


def _optimum(
    community: CommunityDay,
    feeder: PhaseFeeder,
    wished: Position,
    adjustment_price: float | Array,
    most_passes: int,
    listener: Listener,
) -> FeederOptimum:
    def tell(number: int, off_pu: float) -> None:
        listener.hear(Stage(f"The optimum: pass {number}, voltages {off_pu:.1e} p.u. from their power flow's"))

    departure = departing(community, wished, adjustment_price)
    listener.hear(Stage("The optimum of the feeder"))
    solution = centralised_optimum(community, Scenario.G, departure, most_passes, tell)
    flow = phase_flow(feeder, solution.injection_kw, solution.injection_kvar)
    return FeederOptimum(
        cost=_cost(community, flow.import_kw),
        moved_kwh=community.step_hours * np.abs(solution.injection_kw - wished.injection_kw).sum(axis=1),
        adjusted_kvarh=_moved(community, solution.injection_kvar, wished.injection_kvar),
        curtailed_kwh=community.step_hours * float(curtailed_of(community, solution.injection_kw).sum()),
        peak_kw=float(flow.import_kw.max()),
    )


def _sent(community: CommunityDay, signal: Array | None) -> Prices:
    if signal is None:
        return community.prices
    if len(signal) < community.steps:
        raise InputError(
            f"the price series has {len(signal)} values, the horizon {community.steps} half-hours; give a price "
            "for each"
        )
    return replace(community.prices, import_price=signal[: community.steps], own_feed_in_price=None)


def _played(
    community: CommunityDay,
    feeder: PhaseFeeder,
    control: Control,
    prices: Prices,
    adjustment_price: float | Array,
    listener: Listener,
) -> ControlPlayed:
    def tell(loops: int, found: Violations) -> None:
        listener.hear(Stage(f"{WORDS[control]}: {count(found.count, 'violation')} after {count(loops, 'loop')}"))

    priced = replace(community, prices=prices)
    wished = position(priced, control)
    departure = departing(priced, wished, adjustment_price)
    mended = until_carried(
        community, feeder, wished, lambda cuts, near: position(priced, control, departure, cuts, near), tell=tell
    )
    at = mended.position
    imported = [_imported(feeder, one) for one in (wished, at)]
    return ControlPlayed(
        control=control,
        loops=mended.loops,
        before=mended.before,
        after=mended.after,
        wished=wished,
        position=at,
        cost=_cost(community, imported[1]),
        adjusted_kwh=_moved(community, at.injection_kw, wished.injection_kw),
        adjusted_kvarh=_moved(community, at.injection_kvar, wished.injection_kvar),
        curtailed_kwh=community.step_hours * float(at.curtailed_kw.sum()),
        peak_before_kw=float(imported[0].max()),
        peak_kw=float(imported[1].max()),
        effective=mended.effective,
    )


@dataclass(frozen=True, eq=False)
class Mended:
    """A position that the feeder carries, or as near to that as the loop came."""

    position: Position
    loops: int
    before: Violations
    after: Violations
    effective: tuple[Effective, ...]


def until_carried(
    community: CommunityDay,
    feeder: PhaseFeeder,
    first: Position,
    again: Callable[[Cuts, Near], Position],
    further: int = 0,
    tell: Callable[[int, Violations], None] = lambda loops, found: None,
) -> Mended:
    """The loop, from a position on.

    Args:
        again: the portfolio, optimised again within cuts, near to the position that they are around.
        further: how often it is optimised once more when nothing is violated, as long as nothing is: the position that
            mends is near to one that did not.
        tell: is told how many loops are done, and what is violated.
    """
    at, before = first, violations(feeder, first.injection_kw, first.injection_kvar)
    tell(0, before)
    after, limits, known = before, limits_of(feeder), set[Key]()
    loops, effective = 0, tuple[Effective, ...]()

    def once_more(inside: float, weight: float) -> Position:
        nonlocal effective
        kw, kvar = scaled_until_carried(feeder, at.injection_kw, at.injection_kvar)
        flow = phase_flow(feeder, kw, kvar)
        rows = rows_of(feeder, flow)
        known.update(_watched(limits, rows))
        moved = _at_steps({step for _, step in known}, feeder, kw, kvar, flow.voltage_pu)
        if not loops:
            effective = _effective(community, limits, rows, moved)
        return again(_cuts(sorted(known), limits, rows, moved, kw, kvar, inside), Near(at, weight))

    while after.count and loops < MOST_LOOPS:
        at = once_more(INSIDE * (loops + 1), NEARNESS * DAMPING**loops)
        after = violations(feeder, at.injection_kw, at.injection_kvar)
        loops += 1
        tell(loops, after)
    if loops and not after.count:
        for _ in range(further):
            better = once_more(INSIDE, NEARNESS)
            if violations(feeder, better.injection_kw, better.injection_kvar).count:
                break
            at = better
    return Mended(at, loops, before, after, effective)


def _imported(feeder: PhaseFeeder, of: Position) -> Array:
    """At the head of the feeder, (T,); where there is no power flow without losses."""
    there = carried(feeder, of.injection_kw, of.injection_kvar)
    result: Array = -of.injection_kw.sum(axis=0)
    result[there] = phase_flow(feeder, of.injection_kw[:, there], of.injection_kvar[:, there]).import_kw
    return result


def _at_steps(steps: set[int], feeder: PhaseFeeder, kw: Array, kvar: Array, around_pu: Complex) -> Sensitivities:
    """Sensitivities at some steps, (K, n, T); elsewhere nothing."""
    columns = sorted(steps)
    there = sensitivities(feeder, kw[:, columns], kvar[:, columns], around_pu[:, columns])

    def spread(of: Complex) -> Complex:
        result = np.zeros((*of.shape[:2], kw.shape[1]), dtype=complex)
        result[:, :, columns] = of
        return result

    return Sensitivities(spread(there.per_kw), spread(there.per_kvar))


def _watched(limits: Limits, rows: Complex) -> set[Key]:
    """Rows that are beyond their limits or near them, the worst of each kind and step; where they are beyond at any
    step, all steps at which they might come there."""
    beyond = past(limits, rows)
    might = beyond > np.where(np.arange(len(rows)) < limits.voltages, -NEAR_VOLTAGE, -NEAR_CURRENT)[:, None]
    might &= (beyond.max(axis=1) > TOLERANCE)[:, None]
    watched = {(int(row), int(step)) for row, step in np.argwhere(might)}
    for kind in (slice(0, limits.voltages), slice(limits.voltages, len(rows))):
        worst = np.argsort(-beyond[kind], axis=0)[:WATCHED] + kind.start
        for row, step in zip(worst.ravel(), np.tile(np.arange(rows.shape[1]), len(worst)), strict=True):
            if beyond[row, step] > -NEAR:
                watched.add((int(row), int(step)))
    return watched


def _cuts(
    keys: list[Key], limits: Limits, rows: Complex, moved: Sensitivities, kw: Array, kvar: Array, inside: float
) -> Cuts:
    row, step = np.array(keys, dtype=np.intp).T
    per_kw, per_kvar = moved.per_kw[row, :, step], moved.per_kvar[row, :, step]
    here = np.einsum("mn,nm->m", per_kw, kw[:, step]) + np.einsum("mn,nm->m", per_kvar, kvar[:, step])
    real = int((row < limits.voltages).sum())
    return Cuts(
        step, per_kw, per_kvar, rows[row, step] - here, limits.low[row] + inside, limits.high[row] - inside, real
    )


def _effective(
    community: CommunityDay, limits: Limits, rows: Complex, moved: Sensitivities, most: int = 5
) -> tuple[Effective, ...]:
    """The agents that move the worst violation most."""
    beyond = past(limits, rows)
    row, step = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    if beyond[row, step] <= TOLERANCE:
        return ()
    slopes = of_sizes(rows[[row], step : step + 1], moved.per_kw[[row], :, step : step + 1])[0, :, 0]
    agents = np.argsort(-np.abs(slopes), kind="stable")[:most]
    return tuple(
        Effective(limits.names[row], int(step), community.households[agent].name, float(slopes[agent]))
        for agent in agents
    )


def _cost(community: CommunityDay, import_kw: Array) -> float:
    return community.step_hours * float(community.prices.paid(import_kw).sum())


def _moved(community: CommunityDay, power: Array, wished: Array) -> float:
    return community.step_hours * float(np.abs(power - wished).sum())
