"""What the days of a study add up to: bills, energy, network and trust, by period, scenario and household."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.community.read import Community
from gridpact.devices.device import summed
from gridpact.devices.registry import consumed_kw
from gridpact.outcome.day import DayOutcome, HouseholdDay
from gridpact.outcome.indicators import VOLTAGE_TOLERANCE_PU
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import StudySettings, by_season, date_of, rows_of_days
from gridpact.study.weeks.published import SUMMER, TABLES, WINTER, Published
from gridpact.text import share

PEAK_HOURS = (6, 7, 8, 17, 18, 19)
"""Hours of the day in which imports count as peak imports: 6 to 9 and 17 to 20 h, as in the report's Table 5."""

SEASONS_APART = range(90, 276)
"""Days of the year that a summer and a winter may lie apart."""


@dataclass(frozen=True)
class Bill:
    """Costs of some households over some days, currency. Losses are part of the imports."""

    supply: float  # imports less feed-in, and the part of the losses
    losses: float  # of that, for losses in the lines; 0 in G, where they are not told apart
    trade: float  # to neighbours, less what came from them
    fees: float = 0.0  # to the grid operator beside the supplier's bill

    @property
    def total(self) -> float:
        return self.supply + self.trade + self.fees

    @staticmethod
    def of(days: Sequence[HouseholdDay]) -> Bill:
        return Bill(
            supply=sum(day.import_cost + day.loss_cost for day in days),
            losses=sum(day.loss_cost for day in days),
            trade=sum(day.trade_cost for day in days),
            fees=sum(day.trade_fee + day.peak_fee for day in days),
        )


@dataclass(frozen=True)
class HouseholdWeek:
    """One household over a period in one scenario, kWh and currency."""

    node: int
    name: str
    is_prosumer: bool
    assets: tuple[str, ...]
    used_kwh: float  # load and car
    pv_kwh: float  # used, not curtailed
    import_kwh: float
    feed_in_kwh: float
    sold_kwh: float
    bought_kwh: float
    sales: float  # what neighbours paid it
    sales_fed_in: float  # what the same energy would have earned as feed-in
    purchases: float  # what it paid them
    purchases_imported: float  # what the same energy would have cost as imports
    alone: float  # what its meter's readings would cost with its supplier alone, without losses
    bill: Bill

    @property
    def cost(self) -> float:
        return self.bill.total


@dataclass(frozen=True)
class Totals:
    """A community over a period in one scenario, of the days that have a plan in all scenarios."""

    scenario: Scenario
    days: tuple[DayOutcome, ...]

    @cached_property
    def households(self) -> tuple[HouseholdWeek, ...]:
        return tuple(self._household(k) for k in range(len(self.days[0].households))) if self.days else ()

    # ------------------------------------------------------------------ economic, Table 4

    @cached_property
    def prosumers(self) -> Bill:
        return Bill.of([home for day in self.days for home in day.households if home.is_prosumer])

    @cached_property
    def consumers(self) -> Bill:
        return Bill.of([home for day in self.days for home in day.households if not home.is_prosumer])

    @cached_property
    def community(self) -> Bill:
        return Bill.of([home for day in self.days for home in day.households])

    @cached_property
    def transfers(self) -> float:
        """Paid from neighbour to neighbour, each payment counted once."""
        return sum(abs(t.energy_kwh * t.price_per_kwh) for day in self.days for t in day.trades)

    # ------------------------------------------------------------------ energy, Table 5

    @property
    def traded_kwh(self) -> float:
        return sum(day.traded_kwh for day in self.days)

    @cached_property
    def passed_kwh(self) -> float:
        """What went from meter to meter over the feeder, whatever the contracts say: at every step the lesser of what
        households gave and what households took."""
        return sum(day.energy_kwh(passed_kw(day)) for day in self.days)

    @property
    def exchange_kwh(self) -> float:
        """Local exchange as the report counts it: trades where there are trades, else what passed from meter to meter;
        none in B."""
        if self.scenario == Scenario.B:
            return 0.0
        return self.traded_kwh if self.scenario.has_trades else self.passed_kwh

    @cached_property
    def import_kwh(self) -> float:
        """Bought from suppliers: by all households, in G at the grid connection."""
        return sum(day.energy_kwh(bought_kw(day)) for day in self.days)

    @cached_property
    def peak_kwh(self) -> float:
        """Of that in peak hours."""
        return sum(day.energy_kwh(bought_kw(day)[peak_steps(day)]) for day in self.days)

    @property
    def peak_ratio(self) -> float:
        return self.peak_kwh / self.import_kwh if self.import_kwh else 0.0

    @property
    def grid_import_kwh(self) -> float:
        """Through the grid connection."""
        return sum(day.import_kwh for day in self.days)

    @property
    def grid_peak_kwh(self) -> float:
        """Of that in peak hours."""
        return sum(day.energy_kwh(np.maximum(day.exchange_kw, 0)[peak_steps(day)]) for day in self.days)

    @property
    def grid_feed_in_kwh(self) -> float:
        return sum(day.feed_in_kwh for day in self.days)

    @property
    def losses_kwh(self) -> float:
        return sum(day.losses_kwh for day in self.days)

    @property
    def pv_kwh(self) -> float:
        return sum(home.pv_kwh for home in self.households)

    @property
    def used_kwh(self) -> float:
        return sum(home.used_kwh for home in self.households)

    # ------------------------------------------------------------------ network

    @property
    def peak_kw(self) -> float:
        return max((day.peak_kw for day in self.days), default=0.0)

    @property
    def voltage_pu(self) -> tuple[float, float]:
        """The lowest and the highest."""
        return (
            min((day.voltage_min_pu for day in self.days), default=1.0),
            max((day.voltage_max_pu for day in self.days), default=1.0),
        )

    @cached_property
    def hours_outside(self) -> float:
        """Hours in which the voltage of some household is outside its limits."""
        return sum(day.energy_kwh(outside(day).any(axis=0).astype(float)) for day in self.days)

    @property
    def current_a(self) -> float:
        """The highest of any line."""
        return max((float(day.current_a.max(initial=0.0)) for day in self.days), default=0.0)

    @property
    def loading(self) -> float | None:
        """The highest of any line, a fraction of its rating; None where none is known."""
        highest = [float(loading.max()) for day in self.days if (loading := day.loading) is not None]
        return max(highest, default=None)

    # ------------------------------------------------------------------ trust

    @property
    def checks_held(self) -> bool:
        return all(day.checks_held for day in self.days)

    @property
    def gap(self) -> float:
        """The largest gap to the centralised optimum, a fraction."""
        return max((day.gap for day in self.days), key=abs, default=0.0)

    @property
    def relaxation_gap(self) -> float:
        return max((day.relaxation_gap for day in self.days), default=0.0)

    @property
    def iterations(self) -> tuple[float, int]:
        """Median and most."""
        counts = [day.iterations for day in self.days]
        return (float(statistics.median(counts)), max(counts)) if counts else (0.0, 0)

    def _household(self, row: int) -> HouseholdWeek:
        first, days = self.days[0].households[row], [day.households[row] for day in self.days]
        used = pv = alone = sales = sales_fed_in = purchases = purchases_imported = 0.0
        for day, home in zip(self.days, days, strict=True):
            schedule = home.schedule
            own = partial(summed, schedule, steps=len(day.start_times))
            used += day.energy_kwh(own("load_kw") + consumed_kw(own))
            pv += day.energy_kwh(own("pv_kw") - own("curtailed_kw"))
            injection = schedule["injection_kw"]
            import_price = day.import_price if home.import_price is None else home.import_price
            feed_in_price = day.feed_in_price if home.feed_in_price is None else home.feed_in_price
            alone += home.peak_fee + day.energy_kwh(
                import_price * np.maximum(-injection, 0) - feed_in_price * np.maximum(injection, 0)
            )
            for trade in day.trades:
                if trade.seller == home.node:
                    sales += trade.energy_kwh * trade.price_per_kwh
                    sales_fed_in += trade.energy_kwh * float(feed_in_price[trade.step])
                if trade.buyer == home.node:
                    purchases += trade.energy_kwh * trade.price_per_kwh
                    purchases_imported += trade.energy_kwh * float(import_price[trade.step])
        return HouseholdWeek(
            node=first.node,
            name=first.name,
            is_prosumer=first.is_prosumer,
            assets=first.assets,
            used_kwh=used,
            pv_kwh=pv,
            import_kwh=sum(home.import_kwh for home in days),
            feed_in_kwh=sum(home.feed_in_kwh for home in days),
            sold_kwh=sum(home.sold_kwh for home in days),
            bought_kwh=sum(home.bought_kwh for home in days),
            sales=sales,
            sales_fed_in=sales_fed_in,
            purchases=purchases,
            purchases_imported=purchases_imported,
            alone=alone,
            bill=Bill.of(days),
        )


@dataclass(frozen=True)
class Period:
    """A row of days, see `rows_of_days`, or a season of a year, in all scenarios."""

    name: str  # "summer week", or the days
    season: str | None  # SUMMER or WINTER, where there are two rows of days and one has more sun
    days: tuple[str, ...]
    missing: int  # days between the first and the last that are not of the study
    failures: tuple[DayOutcome, ...]  # days without a plan in some scenario
    totals: dict[Scenario, Totals]
    published: Mapping[Scenario, Published] = field(default_factory=dict)  # the report's, where it has a counterpart

    @property
    def compared(self) -> tuple[Scenario, ...]:
        """The scenarios that the report has figures of."""
        return tuple(scenario for scenario in self.totals if scenario in self.published)

    @property
    def counted(self) -> tuple[str, ...]:
        """Days with a plan in all scenarios: those that all figures are of."""
        failed = {day.day for day in self.failures}
        return tuple(day for day in self.days if day not in failed)

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        return tuple(self.totals)

    @property
    def baseline(self) -> Totals:
        return self.totals[Scenario.B]

    def savings(self, scenario: Scenario) -> Array:
        """What every household saves on every day against its baseline, currency, (n, days)."""
        pairs = zip(self.baseline.days, self.totals[scenario].days, strict=True)
        costs = [
            [b.cost - a.cost for b, a in zip(before.households, after.households, strict=True)]
            for before, after in pairs
        ]
        saved: Array = np.array(costs).T
        return saved

    def relative(self, scenario: Scenario) -> float:
        """Cost of the community, as a fraction of the baseline's; where the baseline earns, what it earns less of it is
        more, as of what it pays. 1 where the baseline costs nothing."""
        base = self.baseline.community.total
        return 1 + (share(self.totals[scenario].community.total - base, base) or 0.0)


@dataclass(frozen=True)
class Study:
    """All days of a study."""

    community: Community
    settings: StudySettings
    outcomes: tuple[DayOutcome, ...]
    year: bool = False  # whether the periods are the seasons of a year
    gaps: Mapping[tuple[str, Scenario], Array] = field(default_factory=dict)
    """By day and scenario, of some days: gap to the optimum of every iterate, fraction, (iterations,); see `Trace`."""

    @cached_property
    def periods(self) -> tuple[Period, ...]:
        """The rows of days, in the order of the days; rows without any day that counts are among them."""
        days = dict.fromkeys(outcome.day for outcome in self.outcomes)
        if self.year:
            return tuple(self._period(row, None, name) for name, row in by_season(days).items())
        rows = rows_of_days(days)
        seasons = self._seasons(rows)
        return tuple(self._period(row, season) for row, season in zip(rows, seasons, strict=True))

    @property
    def counted(self) -> tuple[Period, ...]:
        """Periods with at least one day that counts."""
        return tuple(period for period in self.periods if period.counted)

    @property
    def beside_report(self) -> bool:
        """Whether some period has a counterpart in the report."""
        return any(period.published for period in self.periods)

    @property
    def after(self) -> Scenario:
        """The scenario that a household compares its baseline with: the fullest that was solved."""
        solved = self.settings.scenarios
        return next((s for s in (Scenario.TG, Scenario.T, Scenario.G, *solved[::-1]) if s in solved), Scenario.B)

    @property
    def trading(self) -> Scenario | None:
        """The same of those with trades; None where there is none."""
        scenarios = (self.after, Scenario.TG, *self.settings.scenarios[::-1])
        return next((s for s in scenarios if s.has_trades and s in self.settings.scenarios), None)

    @property
    def checks_held(self) -> bool:
        return all(outcome.checks_held for outcome in self.outcomes)

    def of_day(self, day: str, scenario: Scenario) -> DayOutcome:
        return next(o for o in self.outcomes if o.day == day and o.scenario == scenario)

    def _period(self, row: Sequence[str], season: str | None, name: str = "") -> Period:
        outcomes = [outcome for outcome in self.outcomes if outcome.day in row]
        failures = tuple(outcome for outcome in outcomes if not outcome.feasible)
        failed = {outcome.day for outcome in failures}
        counted = [outcome for outcome in outcomes if outcome.day not in failed]
        kind = "week" if len(row) >= 5 and _span(row) <= 9 else "day" if len(row) == 1 else "days"
        span = f"day {row[0]}" if len(row) == 1 else f"{row[0]} to {row[-1]}"
        like_the_report = self.community.shipped and kind == "week" and len(failed) < len(row)
        return Period(
            name=name or (f"{season} {kind}" if season else span),
            season=season,
            days=tuple(row),
            missing=0 if self.year else _span(row) - len(row),
            failures=failures,
            totals={
                scenario: Totals(scenario, tuple(o for o in counted if o.scenario == scenario))
                for scenario in self.settings.scenarios
            },
            published=TABLES.get(season or "", {}) if like_the_report else {},
        )

    def _seasons(self, rows: Sequence[Sequence[str]]) -> list[str | None]:
        """Of two rows of days in other parts of the year the one with more sun a day is summer."""
        starts = [start for row in rows if (start := date_of(row[0]))]
        if len(rows) != 2 or len(starts) != 2 or abs((starts[0] - starts[1]).days) % 365 not in SEASONS_APART:
            return [None] * len(rows)
        sun = []
        for row in rows:
            days = [o for o in self.outcomes if o.day in row and o.scenario == Scenario.B and o.feasible]
            pv = sum(o.energy_kwh(home.schedule["pv_kw"]) for o in days for home in o.households)
            sun.append(pv / max(len(days), 1))
        if sun[0] == sun[1]:
            return [None, None]
        return [SUMMER, WINTER] if sun[0] > sun[1] else [WINTER, SUMMER]


def _span(days: Sequence[str]) -> int:
    """How many days there are from the first to the last; of days that are no dates as many as they are."""
    first, last = date_of(days[0]), date_of(days[-1])
    return (last - first).days + 1 if first and last else len(days)


def left_out(before: str, after: str) -> int:
    """Days between two of a study that follow each other, 0 where they are no dates."""
    first, second = date_of(before), date_of(after)
    return (second - first).days - 1 if first and second else 0


def bought_kw(day: DayOutcome) -> Array:
    """What is bought from suppliers at every step, (T,)."""
    if not day.scenario.has_contracts:
        return np.maximum(day.exchange_kw, 0)
    bought: Array = np.sum([home.schedule["import_kw"] for home in day.households], axis=0)
    return bought


def passed_kw(day: DayOutcome) -> Array:
    """What goes from meter to meter over the feeder at every step, (T,)."""
    injection = np.array([home.schedule["injection_kw"] for home in day.households])
    passed: Array = np.minimum(np.maximum(injection, 0).sum(axis=0), np.maximum(-injection, 0).sum(axis=0))
    return passed


def peak_steps(day: DayOutcome) -> NDArray[np.bool_]:
    """Which steps start in peak hours, (T,)."""
    return np.array([int(time.split(":")[0]) in PEAK_HOURS for time in day.start_times])


def outside(day: DayOutcome) -> NDArray[np.bool_]:
    """Where the voltage is outside its limits, (n, T); as in all checks, 0.1 % beyond is tolerated."""
    low, high = day.voltage_limits_pu
    return (day.voltage_pu < low - VOLTAGE_TOLERANCE_PU) | (day.voltage_pu > high + VOLTAGE_TOLERANCE_PU)
