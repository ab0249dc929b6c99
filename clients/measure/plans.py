"""Which pricing suits whom: homes for a year, by the thesis's two pricings and the mid-market rate.

    python -m measure.plans --json reports/plans.json        (`make plans`; a minute or two)

The thesis (Wu, UNSW 2019, chapter 5) has 15 homes of Ausgrid, which may not be passed on. In their place stand shipped
homes of fontana16 at its prices, 0.25 and 0.06 a kWh, with their panels and without batteries and cars, as there: the
first 15 on all shipped days for its Table 5.3, and once more with batteries and cars, of which they bid what their own
plans leave, as in all markets of orders (`market/bids.py`). For "which plan suits whom" there are 64 homes over
fontana16year, every home four times with its load scaled by 0.8 to 1.2 and its panels by 0.2 to 1.2 (seed 1). A plan is
what a home pays where all are on it.

What is recommended is a tree of three questions at most about a home's profile. It is tried on homes that it has not
seen: of which no other copy was among those that it was made from.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.community.read import Community, read_community
from gridpact.devices.pv import Panels
from gridpact.files import write_atomically
from gridpact.market.agreement import Trade
from gridpact.market.bids import MICRO, orders_of
from gridpact.market.identified_pricing import IdentifiedPricing
from gridpact.market.matching import Book
from gridpact.market.mid_market_rate import at_mid_market_rate
from gridpact.market.unified_pricing import UnifiedPricing
from gridpact.problem.baseline import baseline_net_kw
from gridpact.text import listed

IMPORT, FEED_IN = 0.25, 0.06
"""A kWh, in the thesis's AUD."""

COPIES, SEED = 4, 1
STORES = frozenset({"battery", "car"})
DAYTIME = range(9, 17)
"""Hours in which somebody with a day job is away."""

QUANTILES = np.linspace(0.05, 0.95, 19)
"""Of the homes' values, between which a question may part them."""

Pricing = Callable[[Sequence[Book]], Iterable[Trade]]

PLANS: Mapping[str, Pricing] = {
    "unified": lambda books: itertools.chain.from_iterable(map(UnifiedPricing().traded, books)),
    "identified": IdentifiedPricing(split=False).traded,
    "mid-market": lambda books: itertools.chain.from_iterable(map(at_mid_market_rate, books)),
}


@dataclass(frozen=True)
class BilledHomes:
    """What many homes use and make on many days.

    Attributes:
        load_kw, pv_kw: (days, homes, T).
        planned_kw: what their own plans of batteries and cars leave, kW into the feeder, (days, homes, T); None: they
            have none.
        of: the shipped home that each is a copy of.
    """

    load_kw: Array
    pv_kw: Array
    pv_kwp: Array  # (homes,)
    of: tuple[int, ...]
    step_hours: float
    planned_kw: Array | None = None

    @property
    def net_kw(self) -> Array:
        """Into the feeder, (days, homes, T)."""
        return self.pv_kw - self.load_kw if self.planned_kw is None else self.planned_kw

    def with_devices(self, days: Iterable[CommunityDay]) -> BilledHomes:
        """The same homes on the same days with all their devices, each planned by itself at the tariff."""
        planned = []
        for day in days:
            prices = Prices(np.full(day.steps, IMPORT), FEED_IN / IMPORT)
            planned.append(baseline_net_kw(replace(day, prices=prices))[list(self.of)])
        return replace(self, planned_kw=np.array(planned))

    @staticmethod
    def of_case(community: Community, homes: int, copies: int = 1) -> BilledHomes:
        """The first homes of a case on all its days; more copies are scaled."""
        days = [community.on(day) for day in community.days]
        some = [day.households[:homes] for day in days]
        load = np.array([[home.load_kw for home in day] for day in some])
        pv = np.array([[home.pv_kw for home in day] for day in some])
        kwp = np.array([sum(d.pv_kwp for d in home.devices if isinstance(d, Panels)) for home in some[0]])
        of = np.tile(np.arange(homes), copies)
        if copies == 1:
            return BilledHomes(load, pv, kwp, tuple(of.tolist()), days[0].step_hours)
        random = np.random.default_rng(SEED)
        of_load, of_pv = random.uniform(0.8, 1.2, len(of)), random.uniform(0.2, 1.2, len(of))
        scaled = load[:, of] * of_load[:, None], pv[:, of] * of_pv[:, None]
        return BilledHomes(*scaled, kwp[of] * of_pv, tuple(of.tolist()), days[0].step_hours)

    def bills(self) -> dict[str, Array]:
        """What each home pays a day on average, alone and on each plan, (homes,)."""
        paid = {"alone": np.zeros(len(self.of))} | {plan: np.zeros(len(self.of)) for plan in PLANS}
        for net_kw in self.net_kw:
            alone = self.step_hours * (IMPORT * np.maximum(-net_kw, 0) - FEED_IN * np.maximum(net_kw, 0)).sum(axis=1)
            books = books_of(net_kw, self.step_hours)
            paid["alone"] += alone
            for plan, traded in PLANS.items():
                paid[plan] += alone - saved(traded(books), len(self.of))
        return {plan: total / len(self.load_kw) for plan, total in paid.items()}

    def profiles(self) -> dict[str, Array]:
        """What a home can tell of itself, (homes,) each."""
        a_day = self.step_hours * self.load_kw.sum(axis=2).mean(axis=0)
        hours = (np.arange(self.load_kw.shape[2]) * self.step_hours).astype(int)
        by_day = self.step_hours * self.load_kw[:, :, np.isin(hours, DAYTIME)].sum(axis=2).mean(axis=0)
        return {"panels, kWp": self.pv_kwp, "use, kWh a day": a_day, "used from 9 to 17 h, %": 100 * by_day / a_day}


def books_of(net_kw: Array, step_hours: float) -> list[Book]:
    """The books of a day in which all order what they lack or have left, at the tariff."""
    steps = net_kw.shape[1]
    prices = Prices(np.full(steps, IMPORT), FEED_IN / IMPORT)
    orders = [order for node, own in enumerate(net_kw) for order in orders_of(node, own, prices, step_hours)]
    at: list[list[list[object]]] = [[[], []] for _ in range(steps)]
    for order in orders:
        at[order.step][not order.sells].append(order)
    limits = round(FEED_IN * MICRO), round(IMPORT * MICRO)
    return [
        Book(step, tuple(offers), tuple(bids), *limits)  # type: ignore[arg-type]
        for step, (offers, bids) in enumerate(at)
        if offers or bids
    ]


def saved(trades: Iterable[Trade], homes: int) -> Array:
    """What each pays less, or earns more, than with the supplier, (homes,)."""
    gains = np.zeros(homes)
    for trade in trades:
        gains[trade.seller] += trade.energy_kwh * (trade.price_per_kwh - FEED_IN)
        gains[trade.buyer] += trade.energy_kwh * (IMPORT - trade.price_per_kwh)
    return gains


# ---------------------------------------------------------------------- a rule


@dataclass(frozen=True)
class PlanRule:
    """A plan, or a question and two rules: for homes at or below a value, and for those above."""

    plan: str
    what: str = ""
    value: float = 0.0
    below: PlanRule | None = None
    above: PlanRule | None = None

    def of(self, profile: Mapping[str, float]) -> str:
        if self.below is None or self.above is None:
            return self.plan
        return (self.below if profile[self.what] <= self.value else self.above).of(profile)

    def words(self) -> str:
        if self.below is None or self.above is None:
            return self.plan
        below, above = (f"({rule.words()})" if rule.what else rule.words() for rule in (self.below, self.above))
        return f"{self.what} up to {self.value:.3g}: {below}; above: {above}"


def rule_for(profiles: Mapping[str, Array], best: Sequence[str], depth: int = 2) -> PlanRule:
    """The tree with the fewest wrong recommendations; of as good ones that with fewer questions."""
    return _fitted(profiles, best, depth)[0]


def _fitted(profiles: Mapping[str, Array], best: Sequence[str], depth: int) -> tuple[PlanRule, int]:
    """The same, with how many it is wrong for."""
    common, often = Counter(best).most_common(1)[0]
    rule, wrong = PlanRule(common), len(best) - often
    if not depth or not wrong:
        return rule, wrong
    for what, values in profiles.items():
        for value in np.unique(np.quantile(values, QUANTILES)):
            sides = [values <= value, values > value]
            if not all(side.any() for side in sides):
                continue
            (below, missed), (above, more) = (
                _fitted({name: of[side] for name, of in profiles.items()}, _some(best, side), depth - 1)
                for side in sides
            )
            if missed + more < wrong:
                rule, wrong = PlanRule(common, what, float(value), below, above), missed + more
    return rule, wrong


def _some(best: Sequence[str], side: Array) -> list[str]:
    return [one for one, there in zip(best, side, strict=True) if there]


@dataclass(frozen=True)
class RuleTrial:
    """How a rule does on homes that it has not seen, beside what is most common among those that it has."""

    right: float  # part of the homes
    right_common: float
    lost: float  # currency a home and day, beside the best plan
    lost_common: float


def tried(homes: BilledHomes, bills: Mapping[str, Array]) -> RuleTrial:
    profiles, best = homes.profiles(), best_of(bills)
    of, count = np.array(homes.of), len(homes.of)
    given, common = [""] * count, [""] * count
    for original in sorted(set(homes.of)):
        seen = of != original
        rule = rule_for({name: values[seen] for name, values in profiles.items()}, _some(best, seen))
        most = Counter(_some(best, seen)).most_common(1)[0][0]
        for k in np.flatnonzero(~seen):
            given[k], common[k] = rule.of({name: float(values[k]) for name, values in profiles.items()}), most

    def right(plans: Sequence[str]) -> float:
        return float(np.mean([one == two for one, two in zip(plans, best, strict=True)]))

    def lost(plans: Sequence[str]) -> float:
        return float(np.mean([bills[plan][k] - bills[best[k]][k] for k, plan in enumerate(plans)]))

    return RuleTrial(right(given), right(common), lost(given), lost(common))


def best_of(bills: Mapping[str, Array]) -> list[str]:
    """The plan on which each pays least; of equal ones the first."""
    return [min(PLANS, key=lambda plan: bills[plan][k]) for k in range(len(bills["alone"]))]


def report() -> dict[str, object]:
    case = read_community("fontana16")
    few = BilledHomes.of_case(case, 15)
    table, stored = few.bills(), few.with_devices(map(case.on, case.days)).bills()
    devices = [listed(sorted({d.kind for d in home.devices} & STORES)) for home in case.on(case.days[0]).households]
    many = BilledHomes.of_case(read_community("fontana16year"), 16, COPIES)
    bills = many.bills()
    best, profiles = best_of(bills), many.profiles()
    return {
        "import_price": IMPORT,
        "feed_in_price": FEED_IN,
        "thesis": [
            {"home": k + 1, "kwp": float(few.pv_kwp[k])} | {plan: float(of[k]) for plan, of in table.items()}
            for k in range(len(few.of))
        ],
        "thesis_with_devices": [
            {"home": k + 1, "kwp": float(few.pv_kwp[k]), "devices": devices[k]}
            | {plan: float(of[k]) for plan, of in stored.items()}
            for k in range(len(few.of))
        ],
        "thesis_best": dict(Counter(best_of(table))),
        "thesis_best_with_devices": dict(Counter(best_of(stored))),
        "days": len(many.load_kw),
        "homes": len(many.of),
        "best": dict(Counter(best)),
        "rule": rule_for(profiles, best).words(),
        "trial": asdict(tried(many, bills)),
        "groups": [
            {"plan": plan, "homes": len(some)}
            | {name: float(np.mean(values[some])) for name, values in profiles.items()}
            | {f"saves by {other}": float(np.mean((bills["alone"] - bills[other])[some])) for other in PLANS}
            for plan in PLANS
            if len(some := [k for k, one in enumerate(best) if one == plan])
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("reports/plans.json"), metavar="FILE")
    arguments = parser.parse_args()
    write_atomically(arguments.json, json.dumps(report(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
