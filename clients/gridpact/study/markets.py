"""Markets side by side: every way to agree on the same homes and days, settled alike, and what it comes to.

A household's saving is what it would pay on its own (B) less what it pays, losses and trades in. Of the savings:

- *Gini*: sum over all pairs |s_i - s_j| / (2 n^2 mean(s)): 0 where all save the same, near 1 where one saves it all;
  above 1 where some lose what others gain. Where all together save nothing there is none.
- *worst off*: the least saving of a home, negative where it pays more than on its own.
- *part better off*: the part of homes that save more than `LEAST_SAVING`.

The optimum that savings are shares of is the same for all: the community dealing with its supplier as one, all devices
planned together, whichever costs less of two plans, losses in: one that knows no network, and that of G, which counts
losses but keeps the limits of the feeder.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.devices.battery import Battery
from gridpact.errors import InexactRelaxationError, InfeasibleError, InputError, SolverError
from gridpact.market.prepared import Prepared
from gridpact.market.registry import AS_ONE, NAMES, market_of
from gridpact.outcome.day import HouseholdDay, day_of
from gridpact.outcome.outcome import LEAST_SAVING, Optimum, losses_paid, outcome_of
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import fingerprint
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.totals import outside, passed_kw
from gridpact.study.weeks.workers import ALL_CORES, Workers
from gridpact.text import count, plain

LEAST_ENERGY = 1e-6
"""kWh or kW, below which there is nothing to take a part of."""

NUMBER_BYTES = 8
"""Of a number that is sent, where nobody packs it."""


@dataclass(frozen=True)
class MarketDay:
    """One day in one market. Where `failure` is set there was no plan, and all that follows is empty."""

    scenario: Scenario
    day: str
    failure: str | None = None
    failure_status: int = 0
    costs: tuple[float, ...] = ()  # of the households, in order, currency
    best: float | None = None  # what the optimum would have all pay; of B only, which is always played
    energy_shared_kwh: float = 0.0  # traded; without trades what passed from meter to meter, in B none
    peak_kw: float = 0.0  # highest import of the feeder
    steps_outside: int = 0  # with a voltage outside its limits, by power flow
    used_kwh: float = 0.0  # by the homes, what batteries lose and keep over midnight included
    imported_kwh: float = 0.0  # by the feeder
    exchanged_kwh: float = 0.0  # by the feeder, both ways added up
    metered_kwh: float = 0.0  # by the homes, both ways added up
    highest_kw: float = 0.0  # the feeder's highest exchange, either way
    hours: float = 0.0
    rounds: int = 0
    bytes: int = 0  # of what households and the others sent, `NUMBER_BYTES` a number
    seconds: float = 0.0  # of agreeing, what each knows being prepared
    checks_held: bool = True


@dataclass(frozen=True)
class MarketRow:
    """A market on a day, or on all, beside everybody on its own. None: there is no such number."""

    mechanism: str
    day: str
    cost: float | None = None
    saving: float | None = None
    saving_share_of_optimum: float | None = None
    energy_shared_kwh: float | None = None
    gini: float | None = None
    worst_off: float | None = None
    part_better_off: float | None = None
    peak_kw: float | None = None
    energy_balance: float | None = None
    power_flatness: float | None = None
    self_sufficiency: float | None = None
    steps_outside: int | None = None
    rounds: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    gas: int | None = None  # in memory there is none
    failure: str | None = None


@dataclass(frozen=True)
class MarketTask:
    """A day to be played in a market; a `store.Task`."""

    community: CommunityDay
    scenario: Scenario

    @property
    def name(self) -> str:
        day = re.sub(r"[^\w.-]+", "-", self.community.day)
        return f"{day}_{self.scenario.value}_market_{self.fingerprint[:16]}"

    @property
    def effort(self) -> int:
        return 2 * self.scenario.has_network + self.scenario.has_trades

    @property
    def fingerprint(self) -> str:
        inputs = {"scenario": self.scenario.value, "market": True}
        return fingerprint(self.community, inputs, "study/markets.py", "study/weeks/totals.py")

    def solve(self) -> MarketDay:
        try:
            return self._played()
        except (InfeasibleError, SolverError, InexactRelaxationError) as error:
            return MarketDay(self.scenario, self.community.day, str(error), error.exit_status)

    def _played(self) -> MarketDay:
        community, scenario = self.community, self.scenario
        optimum = Optimum.of(community, scenario)
        prepared = Prepared.of(community, scenario)
        begun = time.perf_counter()
        agreed = market_of(scenario).mechanism.agree(prepared)
        seconds = time.perf_counter() - begun
        day = day_of(outcome_of(prepared, agreed, optimum))
        passed = 0.0 if scenario == Scenario.B else day.energy_kwh(passed_kw(day))
        return MarketDay(
            scenario=scenario,
            day=day.day,
            costs=tuple(home.cost for home in day.households),
            best=_best(community) if scenario == Scenario.B else None,
            energy_shared_kwh=day.traded_kwh if scenario.has_trades else passed,
            peak_kw=day.peak_kw,
            steps_outside=int(outside(day).any(axis=0).sum()),
            used_kwh=sum(day.energy_kwh(_used_kw(home)) for home in day.households),
            imported_kwh=day.import_kwh,
            exchanged_kwh=day.import_kwh + day.feed_in_kwh,
            metered_kwh=sum(day.energy_kwh(np.abs(home.schedule["injection_kw"])) for home in day.households),
            highest_kw=float(np.abs(day.exchange_kw).max(initial=0.0)),
            hours=day.step_hours * day.exchange_kw.size,
            rounds=agreed.rounds,
            bytes=NUMBER_BYTES * agreed.messages,
            seconds=seconds,
            checks_held=day.checks_held,
        )

    def read(self, fields: Mapping[str, Any]) -> MarketDay:
        values = dict(fields)
        return MarketDay(**values | {"scenario": NAMES[values["scenario"]], "costs": tuple(values["costs"])})


@dataclass(frozen=True)
class Compared:
    """All markets on all days; B is the first."""

    days: tuple[CommunityDay, ...]
    scenarios: tuple[Scenario, ...]
    played: tuple[MarketDay, ...]

    @cached_property
    def _by_place(self) -> dict[tuple[Scenario, str], MarketDay]:
        return {(one.scenario, one.day): one for one in self.played}

    def of(self, scenario: Scenario) -> list[MarketDay]:
        return [self._by_place[scenario, day.day] for day in self.days]

    @cached_property
    def rows(self) -> tuple[MarketRow, ...]:
        """A row a day and market, day by day."""
        return tuple(
            _row(scenario, day.day, [self._by_place[scenario, day.day]], [self._by_place[Scenario.B, day.day]])
            for day in self.days
            for scenario in self.scenarios
        )

    @cached_property
    def totals(self) -> tuple[MarketRow, ...]:
        """A row a market, of all days together."""
        return tuple(_row(scenario, "all", self.of(scenario), self.of(Scenario.B)) for scenario in self.scenarios)

    def savings(self, scenario: Scenario) -> Array | None:
        """Of every home over all days, (n,); None where a day has no plan."""
        return _savings(self.of(scenario), self.of(Scenario.B))

    @property
    def best_saving(self) -> float | None:
        """What the optimum saves over all days."""
        alone = self.of(Scenario.B)
        return None if any(day.failure for day in alone) else _possible(alone)

    @property
    def checks_held(self) -> bool:
        """A day that no plan is feasible on is an answer, too."""
        return all(day.checks_held and day.failure_status in (0, InfeasibleError.exit_status) for day in self.played)


def compare(
    days: Sequence[CommunityDay],
    scenarios: Sequence[Scenario],
    folder: Path,
    workers: Workers = ALL_CORES,
    tally: Tally | None = None,
) -> Compared:
    """Plays markets on days of a community, and everybody on its own besides.

    Raises:
        InputError: a market needs what the community lacks.
        GridpactError: see `play`.
    """
    every = (Scenario.B, *(scenario for scenario in scenarios if scenario != Scenario.B))
    for scenario in every:
        check_able(days[0], scenario)
    tasks = [MarketTask(day, scenario) for day in days for scenario in every]
    return Compared(tuple(days), every, tuple(play(tasks, folder, workers, tally)))


def check_able(community: CommunityDay, scenario: Scenario) -> None:
    """Whether there is what a market needs.

    Raises:
        InputError: trades need two homes, and one that can give energy.
    """
    if not scenario.has_trades:
        return
    homes = community.households
    lacks = None
    if len(homes) < 2:
        lacks = f"two homes, and '{plain(community.name, 40)}' has {count(len(homes), 'home')}"
    elif not any(home.pv_kw.any() or home.having(Battery) for home in homes):
        lacks = f"a home that produces, and of '{plain(community.name, 40)}' none has panels or a battery"
    if lacks:
        raise InputError(f"mechanism '{scenario.value}' needs {lacks}; leave it out with --mechanisms b,g")


def gini(savings: Array) -> float | None:
    """Of what homes save, see above; None where they save nothing together."""
    total = float(np.sum(savings))
    if total <= LEAST_SAVING:
        return None
    return float(np.abs(savings[:, None] - savings[None, :]).sum() / (2 * len(savings) * total))


def _used_kw(home: HouseholdDay) -> Array:
    """What is used behind a meter: what the panels gave, less what left."""
    given: Array = home.schedule["pv_kw"] - home.schedule.get("curtailed_kw", 0.0)
    return given - home.schedule["injection_kw"]


def _less(part_kwh: float, of_kwh: float) -> float | None:
    """1 less a part; None of nothing."""
    return 1 - part_kwh / of_kwh if of_kwh > LEAST_ENERGY else None


def _flatness(played: Sequence[MarketDay]) -> float | None:
    """The feeder's mean exchange of its highest; None where it never exchanges."""
    highest, hours = max(one.highest_kw for one in played), sum(one.hours for one in played)
    return sum(one.exchanged_kwh for one in played) / hours / highest if highest > LEAST_ENERGY else None


def _best(community: CommunityDay) -> float:
    """What all would pay at best if they dealt with the supplier as one, losses in, currency."""
    blind = centralised_optimum(community, AS_ONE)
    paid = blind.paid + losses_paid(community, blind)
    if community.own_tariffs:
        return paid  # as one it would have one tariff
    try:
        return min(paid, centralised_optimum(community, Scenario.G).paid)
    except (InfeasibleError, InexactRelaxationError, SolverError):
        return paid  # the feeder has no such plan


def _possible(alone: Sequence[MarketDay]) -> float:
    return sum(sum(day.costs) - (day.best or 0.0) for day in alone)


def _savings(played: Sequence[MarketDay], alone: Sequence[MarketDay]) -> Array | None:
    if any(day.failure for day in (*played, *alone)):
        return None
    saved: Array = np.sum([np.subtract(b.costs, a.costs) for a, b in zip(played, alone, strict=True)], axis=0)
    return saved


def _row(scenario: Scenario, day: str, played: Sequence[MarketDay], alone: Sequence[MarketDay]) -> MarketRow:
    failure = next((one.failure for one in (*played, *alone) if one.failure), None)
    savings = _savings(played, alone)
    if savings is None:
        return MarketRow(scenario.value, day, failure=failure)
    saving, possible = float(savings.sum()), _possible(alone)
    return MarketRow(
        mechanism=scenario.value,
        day=day,
        cost=sum(sum(one.costs) for one in played),
        saving=saving,
        saving_share_of_optimum=saving / possible if possible > LEAST_SAVING else None,
        energy_shared_kwh=sum(one.energy_shared_kwh for one in played),
        gini=gini(savings),
        worst_off=float(savings.min()),
        part_better_off=float(np.mean(savings > LEAST_SAVING)),
        peak_kw=max(one.peak_kw for one in played),
        energy_balance=_less(sum(one.exchanged_kwh for one in played), sum(one.metered_kwh for one in played)),
        power_flatness=_flatness(played),
        self_sufficiency=_less(sum(one.imported_kwh for one in played), sum(one.used_kwh for one in played)),
        steps_outside=sum(one.steps_outside for one in played),
        rounds=sum(one.rounds for one in played),
        bytes=sum(one.bytes for one in played),
        seconds=sum(one.seconds for one in played),
    )
