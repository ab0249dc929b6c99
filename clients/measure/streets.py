"""Streets that nobody tuned: communities of every kind, drawn by chance, and how well rounds end on them.

    python -m measure.streets [--seeds FIRST LAST] [--kinds NAME ...] [--scenarios T TG G] [--json FILE]

draws a street of each kind for each seed, solves it in one place, negotiates it in memory as `gridpact run` would, and
prints what each round leaves: of the bill, and of what agreeing can save. No street is made from data.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay, Feeder, Household, Line, Prices
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.errors import GridpactError, InfeasibleError
from gridpact.files import write_atomically
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.outcome.indicators import GAP_LIMIT, gap_limit
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario
from gridpact.report.markdown import markdown

SCENARIOS = (Scenario.T, Scenario.TG, Scenario.G)
INFEASIBLE = "infeasible"
"""No plan keeps the limits: such streets do not count."""
PARTNERS_FROM = 24
"""Homes from which each has eight partners at most."""

# ---------------------------------------------------------------------- streets


@dataclass(frozen=True)
class Plan:
    """What a street is to be like; shares are of its homes, prices in currency/kWh."""

    homes: int
    steps: int
    feeder: str  # of FEEDERS
    tariff: str  # of TARIFFS
    price: float  # mean
    feed_in_share: float
    chi: float
    pv: float  # share of homes with panels
    pv_size: float  # times what a home uses in a year
    batteries: float
    cars: float
    sun: float  # 0.15 in winter to 1
    scale: float = 1.0  # of all powers
    identical: bool = False
    farms: float = 0.0
    empty: float = 0.0  # homes without load


FEEDERS: dict[str, tuple[float, float, float, float, float]] = {
    # length of a line, m; ohm/km, reactance; chance that a line goes on from the last node, not from any
    "rural": (60.0, 160.0, 0.32, 0.08, 0.6),
    "village": (30.0, 60.0, 0.32, 0.08, 0.4),
    "urban": (8.0, 25.0, 0.21, 0.08, 0.3),
    "long": (25.0, 50.0, 0.21, 0.08, 1.0),
}
TARIFFS = ("flat", "two-step", "dynamic")


def _any(chance: np.random.Generator) -> Plan:
    def one(values: Sequence[float]) -> float:
        return float(values[int(chance.integers(len(values)))])

    steps = int(one((24, 24, 24, 48, 96)))
    return Plan(
        homes=int(one((3, 4, 6, 8, 11) if steps > 24 else (3, 4, 6, 8, 11, 16, 23))),
        steps=steps,
        feeder=tuple(FEEDERS)[chance.integers(len(FEEDERS))],
        tariff=TARIFFS[chance.integers(len(TARIFFS))],
        price=one((0.08, 0.15, 0.25, 0.40)),
        feed_in_share=one((0.0, 0.25, 0.5, 0.5, 0.75, 0.9, 0.97, 1.0)),
        chi=one((0.0, 0.02, 0.1)),
        pv=one((0.0, 0.3, 0.6, 1.0)),
        pv_size=one((0.5, 1.0, 2.0)),
        batteries=one((0.0, 0.3, 0.6, 1.0)),
        cars=one((0.0, 0.3, 1.0)),
        sun=one((0.15, 0.5, 1.0)),
        identical=chance.random() < 0.1,
        farms=one((0.0, 0.0, 0.0, 0.3)),
        empty=one((0.0, 0.0, 0.0, 0.3)),
    )


KINDS: dict[str, Callable[[Plan], Plan]] = {
    "any": lambda plan: plan,
    "margin small": lambda plan: replace(plan, feed_in_share=0.97, chi=0.0, pv=max(plan.pv, 0.5)),
    "net metering": lambda plan: replace(plan, feed_in_share=1.0, pv=max(plan.pv, 0.5), batteries=0.5),
    "feed-in worth nothing": lambda plan: replace(plan, feed_in_share=0.0, pv=max(plan.pv, 0.5)),
    "bill near zero": lambda plan: replace(plan, pv=1.0, pv_size=0.75, sun=0.8, feed_in_share=0.75, steps=24),
    "flat": lambda plan: replace(plan, tariff="flat", batteries=max(plan.batteries, 0.3), pv=max(plan.pv, 0.3)),
    "no panels": lambda plan: replace(plan, pv=0.0, batteries=max(plan.batteries, 0.6)),
    "no batteries": lambda plan: replace(plan, batteries=0.0, cars=max(plan.cars, 0.3)),
    "quarter hours": lambda plan: replace(plan, steps=96, homes=min(plan.homes, 12)),
    "few watts": lambda plan: replace(plan, scale=0.02, homes=6),
    "identical": lambda plan: replace(plan, identical=True, pv=1.0),
    "farms": lambda plan: replace(plan, farms=0.4, feeder="rural"),
    "much sun": lambda plan: replace(plan, pv=1.0, pv_size=4.0, sun=1.0),
    "nothing to gain": lambda plan: replace(plan, pv=0.0, batteries=0.0, cars=0.0),
    "empty homes": lambda plan: replace(plan, empty=0.5),
    "no loads": lambda plan: replace(plan, empty=1.0, cars=0.0, pv=0.0),
    "free hours": lambda plan: replace(plan, tariff="free hours"),
    "free day": lambda plan: replace(plan, tariff="flat", price=0.0),
    "negative hours": lambda plan: replace(plan, tariff="negative hours"),
    "many homes": lambda plan: replace(plan, homes=60, steps=24),
}


def street(kind: str, seed: int) -> CommunityDay:
    """A street of a kind of `KINDS`, the same for the same seed."""
    chance = np.random.default_rng([seed, list(KINDS).index(kind)])
    plan = KINDS[kind](_any(chance))
    hours = 24 / plan.steps
    clock = np.asarray((np.arange(plan.steps) + 0.5) * hours, dtype=np.float64)
    homes: list[Household] = []
    sun = plan.sun * np.maximum(np.cos((clock - 12.5) / (4 + 4 * plan.sun) * np.pi / 2), 0.0) ** 1.3
    cloud = np.clip(chance.normal(0.8, 0.2, plan.steps), 0.1, 1.0)
    for k in range(plan.homes):
        if k and plan.identical:
            homes.append(replace(homes[0], node=k + 1, name=f"home{k + 1}"))
        else:
            homes.append(_home(plan, k + 1, clock, sun * cloud, chance))
    return CommunityDay(
        name=f"{kind} {seed}",
        day="drawn",
        currency="EUR",
        step_hours=hours,
        start_times=tuple(f"{int(60 * t * hours) // 60:02d}:{int(60 * t * hours) % 60:02d}" for t in range(plan.steps)),
        households=tuple(homes),
        feeder=_feeder(plan, chance),
        prices=Prices(_tariff(plan, clock, chance), plan.feed_in_share),
        trading_coefficient=plan.chi,
        most_partners=8 if plan.homes >= PARTNERS_FROM else None,
    )


def _home(plan: Plan, node: int, clock: Array, sun: Array, chance: np.random.Generator) -> Household:
    """A home, or a farm: load of one of four shapes, and what devices it has."""
    farm = chance.random() < plan.farms

    def bump(hour: float, width: float) -> Array:
        apart = np.abs((clock - hour + 12) % 24 - 12)
        return np.exp(-((apart / width) ** 2))

    shapes = (
        0.3 + bump(7.5, 1.5) + 1.6 * bump(19.5, 2.5),  # at work by day
        0.4 + bump(8, 2) + 0.9 * bump(12.5, 2) + 1.2 * bump(19, 3),  # at home
        0.3 + 1.8 * bump(2.5, 2.5) + 0.7 * bump(19, 2),  # heats by night
        1.0 + 0.5 * bump(13, 5),  # goes on all day
    )
    shape = shapes[chance.integers(4)] * np.exp(chance.normal(0, 0.35, len(clock)))
    daily = chance.uniform(5, 16) * (4 if farm else 1) * plan.scale  # kWh
    load = daily * shape / shape.sum() / (24 / len(clock))
    if chance.random() < plan.empty:
        load = np.zeros_like(load)
    devices: list[Device] = []
    if chance.random() < plan.pv:
        kwp = daily * 365 / 1000 * plan.pv_size * chance.uniform(0.6, 1.4)
        devices.append(Panels(kwp * 0.85 * sun, kwp))
    if chance.random() < plan.batteries:
        size = daily * chance.uniform(0.3, 1.0)
        eta = float(np.sqrt(chance.choice([0.85, 0.9, 0.95])))
        devices.append(Battery(size, size * chance.uniform(0.3, 0.6), eta, eta, size * chance.choice([0.2, 0.5])))
    if chance.random() < plan.cars:
        away = (clock > chance.uniform(6.5, 9)) & (clock < chance.uniform(14, 18.5))
        power = chance.choice([3.7, 7.4]) * plan.scale
        devices.append(ElectricCar(min(chance.uniform(4, 12) * plan.scale, 0.6 * power * 10), power, 0.9, ~away))
    if any(isinstance(device, Panels | Battery) for device in devices):
        devices.append(Inverter(0.3 * daily / 4))
    return Household(node, f"home{node}", load, load * chance.uniform(0.1, 0.35), tuple(devices))


def _feeder(plan: Plan, chance: np.random.Generator) -> Feeder:
    """A tree; its lines the thicker, the more homes there are, so that voltages are near their limits at times."""
    shortest, longest, resistance, reactance, on = FEEDERS[plan.feeder]
    thicker = max(plan.homes / 10, 0.5) * (1 + 2 * plan.farms) * plan.scale
    lines = []
    for node in range(1, plan.homes + 1):
        parent = GRID_CONNECTION if node == 1 else node - 1 if chance.random() < on else int(chance.integers(0, node))
        length = chance.uniform(shortest, longest) / 1000
        lines.append(Line(node, parent, length * resistance / thicker, length * reactance / thicker))
    return Feeder(400.0, 0.95, 1.05, tuple(lines))


def _tariff(plan: Plan, clock: Array, chance: np.random.Generator) -> Array:
    if plan.tariff == "flat":
        return np.full_like(clock, plan.price)
    if plan.tariff == "two-step":
        return plan.price * np.where((clock < 6) | (clock > 22), 0.6, 1.2)
    hourly = 1 + 0.3 * np.sin((np.arange(24) - 13) / 24 * 4 * np.pi) + chance.normal(0, 0.12, 24)
    dynamic = plan.price * np.maximum(hourly, 0.1)[clock.astype(int)]
    if plan.tariff == "free hours":
        return np.where((clock > 11) & (clock < 15), 0.0, dynamic)
    if plan.tariff == "negative hours":
        return np.where((clock > 11) & (clock < 15), -0.3 * plan.price, dynamic)
    return np.asarray(dynamic)


# ---------------------------------------------------------------------- rounds


@dataclass(frozen=True)
class Ended:
    """How a round on a street ended, currency."""

    kind: str
    seed: int
    scenario: str
    homes: int
    steps: int
    refused: str = ""  # why there was no round
    iterations: int = 0
    agreed: bool = True
    optimum: float = 0.0
    bill: float = 0.0  # what a gap is a part of: see `gap_limit`
    left: float = 0.0  # cost of the plan as carried out, less the optimum
    saving: float = 0.0  # what the optimum saves, of what all pay on their own
    voltage_beyond: float = 0.0  # p.u., of the plan
    seconds: float = 0.0

    @property
    def gap(self) -> float:
        """Of the bill."""
        return self.left / self.bill

    @property
    def lost(self) -> float | None:
        """Of what agreeing can save; None where that is less than a thousandth of the bill."""
        return self.left / self.saving if self.saving > 1e-3 * self.bill else None


def play(kind: str, seed: int, scenario: Scenario) -> Ended:
    """A round on a street, as `gridpact run --chain memory` would negotiate it."""
    community = street(kind, seed)
    about = Ended(kind, seed, scenario.name, len(community.households), community.steps)
    started = time.perf_counter()
    try:
        outcome = solved(community, scenario)
    except InfeasibleError:
        return replace(about, refused=INFEASIBLE)
    except (GridpactError, ArithmeticError, ValueError) as error:
        return replace(about, refused=f"{type(error).__name__}: {error}")
    voltage, feeder = outcome.flow.voltage_pu, community.feeder
    beyond = max(feeder.voltage_min_pu - voltage.min(), voltage.max() - feeder.voltage_max_pu, 0.0)
    return replace(
        about,
        iterations=outcome.iterations,
        agreed=outcome.converged,
        optimum=outcome.optimum.objective,
        bill=gap_limit(outcome) / GAP_LIMIT,
        left=outcome.cost.objective - outcome.optimum.objective,
        saving=outcome.paid_alone - outcome.optimum.paid,
        voltage_beyond=float(beyond) if scenario.has_network else 0.0,
        seconds=time.perf_counter() - started,
    )


def table(rows: Sequence[Ended]) -> str:
    """By scenario: how many, how far from the optimum, how much of the saving is lost."""
    lines = []
    for scenario in dict.fromkeys(row.scenario for row in rows):
        some = [row for row in rows if row.scenario == scenario and row.refused != INFEASIBLE]
        ran = [row for row in some if not row.refused]
        if not ran:
            continue
        gaps, counts = [abs(row.gap) for row in ran], [row.iterations for row in ran]
        lost = [row.lost for row in ran if row.lost is not None]
        lines.append(
            f"{scenario} | {len(some)} | {len(some) - len(ran)} | {np.mean([gap <= 0.001 for gap in gaps]):.1%} "
            f"| {np.mean([gap <= 0.002 for gap in gaps]):.1%} | {max(gaps):.3%} "
            f"| {sum(part > 0.05 for part in lost)} of {len(lost)} | {max(lost, default=0.0):.1%} "
            f"| {np.median(counts):g}, {np.quantile(counts, 0.9):.3g}, {max(counts)}"
        )
    return markdown(
        "scenario | feasible | refused | within 0.1 % | within 0.2 % | gap, most | lose more than 5 % of the saving "
        "| lost, most | iterations: median, 90 %, most",
        lines,
    )


def kinds_table(rows: Sequence[Ended]) -> str:
    """By kind and scenario."""
    lines = []
    for kind in dict.fromkeys(row.kind for row in rows):
        for scenario in dict.fromkeys(row.scenario for row in rows):
            some = [row for row in rows if (row.kind, row.scenario) == (kind, scenario) and row.refused != INFEASIBLE]
            ran = [row for row in some if not row.refused]
            if not some:
                continue
            gaps = ", ".join(f"{row.gap:.3%}" for row in ran)
            lost = ", ".join("-" if row.lost is None else f"{row.lost:.1%}" for row in ran)
            counts = ", ".join(str(row.iterations) for row in ran)
            lines.append(f"{kind} | {scenario} | {len(some) - len(ran)} | {gaps} | {lost} | {counts}")
    return markdown("kind | scenario | refused | gap at the stop | lost of the saving | iterations", lines)


def _play(task: tuple[str, int, Scenario]) -> Ended:
    return play(*task)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 9), metavar=("FIRST", "LAST"))
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenarios", nargs="*", choices=names, default=names)
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--json", type=Path, help="write the rows to a file")
    arguments = parser.parse_args(argv)
    tasks = [
        (kind, seed, scenario)
        for seed in range(arguments.seeds[0], arguments.seeds[1] + 1)
        for kind in arguments.kinds
        for scenario in SCENARIOS
        if scenario.name in arguments.scenarios
    ]
    rows: list[Ended] = []
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for row in pool.imap(_play, tasks):
            rows.append(row)
            print(f"\r{len(rows)} of {len(tasks)} rounds", end="", file=sys.stderr, flush=True)
            if arguments.json:
                write_atomically(arguments.json, json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(file=sys.stderr)
    first, last = arguments.seeds
    print(f"Seeds {first} to {last}, {len(rows)} rounds of at most {MOST_ITERATIONS} iterations.\n")
    print(f"{table(rows)}\n\n{kinds_table(rows)}")
    for row in rows:
        if row.refused not in ("", INFEASIBLE):
            print(f"\n{row.kind} {row.seed} {row.scenario}: {row.refused}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
