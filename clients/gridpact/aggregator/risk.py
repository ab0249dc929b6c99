"""How much of its flexibility an aggregator must hold back for the feeder, and how sure it can be of that.

Half-hourly PV, meter and heat pump demand are drawn by kernel density: a day that was, and around each of its values
noise of the kernel's width. So each home's distribution at each half-hour is its kernel density estimate, and what
homes have in common (the sun, the cold) stays common. Cars come from their Markov chains. Of every half-hour that was
drawn the load flow says whether limits are broken, and a linear program how much cars and panels have to be adjusted
for them to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import gaussian_kde

from gridpact.aggregator.cars import HALF_HOURS, HOME, PUBLIC, Cars, chains, drawn_cars
from gridpact.aggregator.congestion import EDGE, TOLERANCE, carried, limits_of, of_sizes, past, perturbed, rows_of
from gridpact.aggregator.warmth import heat_pump_days
from gridpact.community.grown import finer
from gridpact.community.model import Array, CommunityDay, Feeder
from gridpact.community.street import PHASES, Connection, PhaseFeeder, PhaseLine, by_sequence
from gridpact.errors import InputError, SolverError
from gridpact.grid.three_phase import phase_flow

MONTHS = {"winter": (12, 1, 2), "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}

LEAST_DAYS = 6
"""So many days a density and its test need at least, half of them each."""

NEUTRAL_RATIO = 4.0
"""Zero to positive sequence impedance of a balanced feeder's lines: a neutral like the phases."""

PASSES = 2
"""How often adjustments are worked out, the second time around those of the first: a voltage that falls by a tenth is
not linear."""

AT_ONCE = 100
"""Half-hours whose sensitivities are held at once."""

ENOUGH_KW = 1e-9
"""What is held back is enough where so much more is needed."""

SHORT_KW = 1e5
"""Weight of what a limit is still beyond, against a kW of adjustment."""


@dataclass(frozen=True, eq=False)
class HalfHours:
    """Half-hours of days, (days, n, 48), kW."""

    load_kw: Array
    pv_kw: Array
    heat_kw: Array  # of heat pumps

    def of(self, days: NDArray[np.intp]) -> HalfHours:
        return HalfHours(self.load_kw[days], self.pv_kw[days], self.heat_kw[days])

    @property
    def days(self) -> int:
        return len(self.load_kw)


@dataclass(frozen=True, eq=False)
class Adjustments:
    """What each half-hour needs for the feeder's limits, (days, 48), kW of all agents."""

    down_kw: Array  # less charging
    up_kw: Array  # less PV
    short: NDArray[np.bool_]  # where limits cannot be kept so
    flexible_kw: Array  # what agents' cars charge, all of which they could leave off

    @property
    def size_kw(self) -> Array:
        return self.down_kw + self.up_kw

    def enough(self, certainty: float) -> Array:
        """What is enough at each half-hour in that share of days at least, (48,)."""
        return np.asarray(np.quantile(self.size_kw, certainty, axis=0, method="higher"))

    def non_delivery(self, certainty: float) -> Array:
        """In which share of days agents' cars charge less than has to be held back of it, by half-hour, (48,)."""
        held = np.quantile(self.down_kw, certainty, axis=0, method="higher")
        return np.asarray((self.flexible_kw < held - ENOUGH_KW).mean(axis=0))


@dataclass(frozen=True)
class Assumed:
    """What is drawn, and how."""

    certainty: float = 0.95  # with which what is held back is to be enough at each half-hour, above 0 and below 1
    draws: int = 90  # days
    seed: int = 0
    cars: float = 1.0  # share of homes that have one, the first ones
    heat_pumps: float = 0.0  # the same
    agents: float = 1.0  # share of homes whose cars and panels may be adjusted, drawn with the seed
    car_kw: float = 7.4
    weekend: bool = False
    months: tuple[int, ...] = MONTHS["winter"]  # of the weather that heat pumps have

    def count(self, share: float, homes: int) -> int:
        return round(share * homes)

    def agent(self, homes: int) -> NDArray[np.bool_]:
        """Which homes are agents, (homes,)."""
        order = np.random.default_rng([self.seed, homes]).permutation(homes)
        return np.asarray(np.isin(np.arange(homes), order[: self.count(self.agents, homes)]))


@dataclass(frozen=True, eq=False)
class Risk:
    """All that came of it."""

    certainty: float
    trained_on: int  # days
    tested_on: int
    drawn: Adjustments
    tested: Adjustments  # on days that were not used
    sample: HalfHours
    cars: Cars

    def shares(self, certainty: float) -> tuple[float, float]:
        """In which share of half-hours what is enough with a certainty is enough: as drawn, and on days not used."""
        held = self.drawn.enough(certainty) + ENOUGH_KW
        claimed, observed = (float(np.mean(of.size_kw <= held)) for of in (self.drawn, self.tested))
        return claimed, observed


def measured(days: Sequence[CommunityDay]) -> HalfHours:
    """Half-hours of days whose steps are hours, half-hours, or parts of them, without heat pumps."""

    def half_hours(power: Array) -> Array:
        if len(power) < HALF_HOURS:
            return finer(power, HALF_HOURS // len(power))
        return np.asarray(power.reshape(HALF_HOURS, -1).mean(axis=1))

    steps = days[0].steps
    if HALF_HOURS % steps and steps % HALF_HOURS:
        raise InputError(f"'{days[0].name}' has {steps} steps a day, of which no half-hours can be made")
    load = [[half_hours(home.load_kw) for home in day.households] for day in days]
    panels = [[half_hours(np.asarray(home.pv_kw)) for home in day.households] for day in days]
    return HalfHours(np.array(load), np.array(panels), np.zeros((len(days), len(load[0]), HALF_HOURS)))


def again(of: HalfHours, homes: int) -> HalfHours:
    """Of more homes: the same again, as they were metered one week later, two weeks later, and so on, under the sun of
    the day itself; as the homes of the case `eulv55` are made."""
    known = of.load_kw.shape[1]

    def spread(values: Array, weeks: bool) -> Array:
        parts = [np.roll(values, -7 * k if weeks else 0, axis=0) for k in range(-(-homes // known))]
        return np.concatenate(parts, axis=1)[:, :homes]

    return HalfHours(spread(of.load_kw, True), spread(of.pv_kw, False), spread(of.heat_kw, False))


def heated(of: HalfHours, known_kw: Array, pumps: int) -> HalfHours:
    """The same days with heat pumps at the first homes.

    Args:
        known_kw: heat pumps' days, any number of them, (., n, 48); in turn, as the weather is another place's.
    """
    heat = np.zeros_like(of.load_kw)
    heat[:, :pumps] = known_kw[np.arange(of.days) % len(known_kw), :pumps]
    return replace(of, heat_kw=heat)


def on_phases(feeder: Feeder | PhaseFeeder) -> PhaseFeeder:
    """A balanced feeder with its homes on phases 1, 2, 3 in turn, and a neutral like the phases."""
    if isinstance(feeder, PhaseFeeder):
        return feeder
    lines = [
        PhaseLine(
            f"{line.parent}-{line.node}",
            str(line.node),
            str(line.parent),
            PHASES,
            by_sequence(z := complex(line.resistance_ohm, line.reactance_ohm), NEUTRAL_RATIO * z),
            line.rating_a,
        )
        for line in feeder.lines
    ]
    homes = tuple(Connection(str(node), (PHASES[k % 3],)) for k, node in enumerate(feeder.nodes))
    return PhaseFeeder(feeder.nominal_voltage_v, feeder.voltage_min_pu, feeder.voltage_max_pu, "0", tuple(lines), homes)


def drawn_days(of: HalfHours, days: int, rng: np.random.Generator) -> HalfHours:
    """Days by kernel density: days that were, with the kernel's noise. Heat pumps have weather of their own."""
    which, cold = rng.integers(of.days, size=days), rng.integers(of.days, size=days)

    def smooth(values: Array, which: NDArray[np.int64]) -> Array:
        width = np.zeros(values.shape[1:])
        for home in range(values.shape[1]):
            for step in range(values.shape[2]):
                seen = values[:, home, step]
                if np.ptp(seen) > 0:
                    width[home, step] = np.sqrt(gaussian_kde(seen).covariance[0, 0])
        noisy = values[which] + width * rng.standard_normal((days, *width.shape))
        return np.where(width > 0, np.maximum(noisy, 0), values[which])

    return HalfHours(smooth(of.load_kw, which), smooth(of.pv_kw, which), smooth(of.heat_kw, cold))


def adjustments(
    feeder: PhaseFeeder,
    of: HalfHours,
    cars: Cars,
    agent: NDArray[np.bool_] | None = None,
    tell: Callable[[int], None] = lambda half_hours: None,
) -> Adjustments:
    """What every half-hour needs, by itself, of cars that charge and panels that give.

    Args:
        feeder: the last connection is the public charger's, the others are the homes'.
        agent: which homes' may be adjusted, and the charger always, (n,); None: all.
        tell: is told how many half-hours more are done.

    Raises:
        SolverError: see `least`.
    """
    days, homes = of.load_kw.shape[:2]
    at_home = np.where(cars.place == HOME, cars.charging_kw, 0)
    charging = np.zeros((days, homes + 1, HALF_HOURS))
    charging[:, : at_home.shape[1]] = at_home
    charging[:, homes] = np.where(cars.place == PUBLIC, cars.charging_kw, 0).sum(axis=1)
    panels = np.zeros_like(charging)
    panels[:, :homes] = of.pv_kw
    load = np.zeros_like(charging)
    load[:, :homes] = of.load_kw + of.heat_kw
    net, less, curtailed = (
        np.moveaxis(part, 1, 0).reshape(homes + 1, -1) for part in (panels - load - charging, charging, panels)
    )
    if agent is not None:
        less[:homes][~agent], curtailed[:homes][~agent] = 0, 0
    there = carried(feeder, EDGE * net, np.zeros_like(net))
    beyond = np.full(net.shape[1], -np.inf)
    flow = phase_flow(feeder, net[:, there], np.zeros_like(net[:, there]))
    beyond[there] = past(limits_of(feeder), rows_of(feeder, flow)).max(axis=0)
    broken = np.flatnonzero(beyond > TOLERANCE)
    down = np.where(there, 0, less.sum(axis=0))  # where there is hardly a power flow, all charging has to go
    up, short = np.zeros(net.shape[1]), ~there
    tell(net.shape[1] - len(broken))
    for first in range(0, len(broken), AT_ONCE):
        some = broken[first : first + AT_ONCE]
        taken, short[some] = _taken(feeder, net[:, some], np.stack([less[:, some], curtailed[:, some]]))
        down[some], up[some] = taken.sum(axis=1)
        tell(len(some))
    shape, flexible = (days, HALF_HOURS), less.sum(axis=0)
    return Adjustments(down.reshape(shape), up.reshape(shape), short.reshape(shape), flexible.reshape(shape))


def _taken(feeder: PhaseFeeder, net: Array, most: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The least of less charging and less PV with which limits hold, (2, n, m), and where it is not enough, (m,).

    Args:
        net: what agents give at half-hours, (n, m).
        most: how much less they could charge, and give from panels, (2, n, m).
    """
    limits, idle = limits_of(feeder), np.zeros_like(net)
    taken, short = np.zeros_like(most), np.zeros(net.shape[1], dtype=bool)
    free = np.flatnonzero(most.any(axis=(0, 2)))
    for _ in range(PASSES):
        at = net + taken[0] - taken[1]
        flow = phase_flow(feeder, at, idle)
        rows = rows_of(feeder, flow)
        moved = of_sizes(rows, perturbed(feeder, at, idle, free, 1.0, flow.voltage_pu))
        size, voltages = np.abs(rows), slice(0, limits.voltages)
        for k in range(net.shape[1]):
            slopes = np.vstack([moved[:, :, k], -moved[voltages, :, k]])
            room = np.concatenate([limits.high - size[:, k], size[voltages, k] - limits.low[voltages]])
            room += slopes @ (taken[0, free, k] - taken[1, free, k])
            taken[:, free, k], short[k] = least(slopes, room, most[:, free, k])
    return taken, short


def least(slopes: Array, room: Array, most: Array) -> tuple[Array, bool]:
    """The least of both with which no row is beyond its room, or as near to that as they come.

    Rows that cannot come beyond it, whatever is taken, and agents with nothing to take are left out first: that
    changes nothing.

    Args:
        slopes: of rows by what agents give more, (K, n).
        room: of the rows, (K,).
        most: see `_taken`, (2, n).

    Returns:
        What is taken, (2, n), and whether some row is beyond its room.

    Raises:
        SolverError: HiGHS failed.
    """
    taken = np.zeros(most.size)
    chosen = np.flatnonzero(most.ravel() > 0)
    matrix, bound = np.hstack([slopes, -slopes])[:, chosen], most.ravel()[chosen]
    reach = np.flatnonzero(np.maximum(matrix, 0) @ bound > room)
    if not len(reach):
        return taken.reshape(most.shape), False
    cost = np.concatenate([np.ones(len(chosen)), [SHORT_KW]])
    result = linprog(
        cost,
        A_ub=np.hstack([matrix[reach], -np.ones((len(reach), 1))]),
        b_ub=room[reach],
        bounds=np.column_stack([np.zeros(len(cost)), np.append(bound, np.inf)]),
        method="highs",
    )
    if result.x is None:
        raise SolverError(f"the least adjustment of a half-hour was not found: {result.message}")
    taken[chosen] = result.x[:-1]
    return taken.reshape(most.shape), bool(result.x[-1] > TOLERANCE)


def with_charger(feeder: PhaseFeeder) -> PhaseFeeder:
    """With a public charger at the first home's bus, on all its phases."""
    bus = feeder.connections[0].bus
    phases = next((line.phases for line in feeder.lines if line.bus == bus), PHASES)
    return replace(feeder, connections=(*feeder.connections, Connection(bus, phases)))


def check_certainty(certainty: float) -> None:
    """Whether densities can give it.

    Raises:
        InputError: they cannot.
    """
    if not 0 < certainty < 1:
        raise InputError(
            f"a certainty of {certainty:g} cannot be had: densities have no last value; give one above 0 and below 1"
        )


def assess(
    days: Sequence[CommunityDay],
    assumed: Assumed,
    feeder: Feeder | PhaseFeeder | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Risk:
    """Fits to every second day, draws, and tests on the days between.

    Args:
        feeder: of the same homes, or of more (`again`); default: the days' own.
        tell: is told how many half-hours are done, of how many.

    Raises:
        InputError: the certainty is none, there are too few days, or the feeder has too few places.
    """
    check_certainty(assumed.certainty)
    if len(days) < LEAST_DAYS:
        raise InputError(f"{len(days)} days are too few to fit to and to test on; give at least {LEAST_DAYS}")
    of = measured(days)
    street = on_phases(days[0].feeder if feeder is None else feeder)
    homes = len(street.connections)
    if homes < of.load_kw.shape[1]:
        raise InputError(
            f"the feeder has places for {homes} homes, the days are of {of.load_kw.shape[1]}; give a feeder for all of "
            "them"
        )
    of = again(of, homes)
    on, agent = with_charger(street), assumed.agent(homes)
    rng = np.random.default_rng(assumed.seed)
    matrices, cars = chains(assumed.weekend, rng), assumed.count(assumed.cars, homes)

    def moving(days: int) -> Cars:
        return drawn_cars(matrices, assumed.weekend, days, cars, assumed.car_kw, rng)

    fitted, kept = of.of(np.arange(0, of.days, 2)), of.of(np.arange(1, of.days, 2))
    if pumps := assumed.count(assumed.heat_pumps, homes):
        warmth = heat_pump_days(assumed.months, homes, np.random.default_rng(assumed.seed))
        fitted, kept = heated(fitted, warmth[::2], pumps), heated(kept, warmth[1::2], pumps)
    sample, driven = drawn_days(fitted, assumed.draws, rng), moving(assumed.draws)
    done, every = 0, HALF_HOURS * (sample.days + kept.days)

    def more(half_hours: int) -> None:
        nonlocal done
        done += half_hours
        tell(done, every)

    needed = adjustments(on, sample, driven, agent, more)
    tested = adjustments(on, kept, moving(kept.days), agent, more)
    return Risk(assumed.certainty, fitted.days, kept.days, needed, tested, sample, driven)
