"""What panels, a battery, a faster charger and a heat pump would cost and save: by home, and for the community.

A year is made of days that stand for its months. For each of them and each thing that somebody could buy

- alone, the home's own plan is made again with it, at its supplier's prices (scenario B), and
- in every other scenario the community's, all at once: what all pay together with it and without.

Buying costs an annuity a year, price i / (1 - (1 + i)^-n) of each part with its life of n years, and its upkeep. Who
buys has the saving; in the community it is a saving of all, whoever has it by the prices of the trades.
"""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array, CommunityDay, Household
from gridpact.community.read import Community
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.pv import Panels
from gridpact.devices.registry import in_order
from gridpact.errors import InputError
from gridpact.files import parse_toml
from gridpact.outcome.day import DayOutcome
from gridpact.outcome.outcome import Optimum
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import peaks_paid
from gridpact.problem.view import NodeView, node_views
from gridpact.study.weeks.plan import LONGEST, date_of, fingerprint
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.workers import ALL_CORES, Workers
from gridpact.study.whatif.sweep import DayPoint

DEA = "Danish Energy Agency, Technology Data, as compiled in PyPSA technology-data, costs_2025.csv"

DEFAULTS: Mapping[str, Mapping[str, float | str]] = {
    "pv": {"size": 4.0, "price": 1041.0, "life_years": 37.5, "upkeep_percent": 1.16, "source": DEA},
    "battery": {
        "size": 5.0, "price": 280.0, "life_years": 22.5, "power_kw": 2.5, "power_price": 321.0,
        "power_life_years": 10.0, "upkeep_percent": 0.25, "source": DEA,
    },
    "charger": {
        "size": 11.0, "price": 91.0, "life_years": 10.0, "upkeep_percent": 0.0,
        "source": "an assumption: 1,000 for a wall box of 11 kW, put up",
    },
    "heat_pump": {
        "size": 2.0, "price": 947.0, "life_years": 18.0, "upkeep_percent": 2.98, "heat_per_kw": 3.5,
        "loss_kw_per_k": 0.15, "stored_kwh_per_k": 8.0, "fuel_price": 0.10, "fuel_efficiency": 0.975,
        "source": f"{DEA}; fuel at 0.10 a kWh is an assumption",
    },
}  # fmt: skip
"""Sizes: kWp, kWh, kW, kW electric. Prices are a unit of size, of a heat pump a kW of heat, in the community's
currency: the sources have EUR."""

INTEREST = 0.04
"""A year, real: what PyPSA's technology-data has for what households own."""


@dataclass(frozen=True)
class Part:
    """What is bought, and how long it lasts."""

    price: float
    life_years: float

    def yearly(self, interest: float) -> float:
        """Its annuity."""
        if not interest:
            return self.price / self.life_years
        return self.price * interest / float(1 - (1 + interest) ** -self.life_years)


@dataclass(frozen=True)
class Asset:
    """Something that a household could buy."""

    kind: str  # a key of `DEFAULTS`
    stated: Mapping[str, float | str]

    def number(self, key: str) -> float:
        return float(self.stated[key])

    @property
    def size(self) -> float:
        return self.number("size")

    @property
    def parts(self) -> tuple[Part, ...]:
        units = self.size * float(self.stated.get("heat_per_kw", 1.0))
        parts = [Part(units * self.number("price"), self.number("life_years"))]
        if "power_kw" in self.stated:
            parts.append(Part(self.number("power_kw") * self.number("power_price"), self.number("power_life_years")))
        return tuple(parts)

    @property
    def price(self) -> float:
        return sum(part.price for part in self.parts)

    @property
    def upkeep(self) -> float:
        """A year."""
        return self.price * self.number("upkeep_percent") / 100

    def yearly(self, interest: float) -> float:
        """What it costs a year, upkeep in."""
        return sum(part.yearly(interest) for part in self.parts) + self.upkeep

    @property
    def words(self) -> str:
        return {
            "pv": f"panels of {self.size:g} kWp",
            "battery": f"a battery of {self.size:g} kWh",
            "charger": f"a charger of {self.size:g} kW",
            "heat_pump": f"a heat pump of {self.size:g} kW",
        }[self.kind]

    def bought(self, home: Household, day: CommunityDay) -> Household | None:
        """The household with it; None where it has one, or cannot use it."""
        devices = _BOUGHT[self.kind](self, home, day)
        return None if devices is None else replace(home, devices=in_order(devices))

    def other_costs(self, home: Household, plan: Mapping[str, Array], step_hours: float) -> float:
        """Of the day, beside power: the fuel that a heat pump saves, below 0."""
        if self.kind != "heat_pump":
            return 0.0
        (pump,) = home.having(HeatPump)
        heat = step_hours * float((pump.cop() * plan["heat_pump_kw"]).sum())
        return -heat / self.number("fuel_efficiency") * self.number("fuel_price")


def _with_panels(asset: Asset, home: Household, day: CommunityDay) -> tuple[Device, ...] | None:
    """With the mean output a kWp of those that are there."""
    owned = [panels for other in day.households for panels in other.having(Panels)]
    if home.having(Panels) or not owned:
        return None
    typical = Panels.middle(owned)
    return (*home.devices, typical.scaled(asset.size / typical.pv_kwp))


def _with_battery(asset: Asset, home: Household, day: CommunityDay) -> tuple[Device, ...] | None:
    if home.having(Battery):
        return None
    usual = Battery.customary(home.steps, day.step_hours)
    battery = replace(usual.scaled(asset.size / usual.capacity_kwh), power_kw=asset.number("power_kw"))
    return (*home.devices, battery)


def _with_charger(asset: Asset, home: Household, day: CommunityDay) -> tuple[Device, ...] | None:
    cars = home.having(ElectricCar)
    if not cars or all(car.power_kw >= asset.size for car in cars):
        return None
    faster = (replace(car, power_kw=max(car.power_kw, asset.size)) for car in cars)
    return (*home.without(ElectricCar), *faster)


def _with_heat_pump(asset: Asset, home: Household, day: CommunityDay) -> tuple[Device, ...] | None:
    known = [pump for other in day.households for pump in other.having(HeatPump)]
    if home.having(HeatPump) or not known:
        return None  # nobody knows how cold it is outside
    house = (asset.number("loss_kw_per_k"), asset.number("stored_kwh_per_k"))
    pump = HeatPump(asset.size, *house, 19.0, 22.0, 20.0, 0.3, 35.0, 0.45, known[0].outdoor_c)
    return (*home.devices, pump)


_BOUGHT: Mapping[str, Callable[[Asset, Household, CommunityDay], tuple[Device, ...] | None]] = {
    "pv": _with_panels, "battery": _with_battery, "charger": _with_charger, "heat_pump": _with_heat_pump,
}  # fmt: skip


@dataclass(frozen=True)
class InvestSettings:
    """What can be bought, at which interest."""

    assets: tuple[Asset, ...]
    interest: float = INTEREST

    @staticmethod
    def read(path: Path | None) -> InvestSettings:
        """The defaults, changed by a TOML file: `interest`, and a table for each kind.

        Raises:
            InputError: the file says what is not known, or cannot be.
        """
        if path is None:
            return InvestSettings(tuple(Asset(kind, stated) for kind, stated in DEFAULTS.items()))
        try:
            table = parse_toml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"the file '{path}' cannot be read: {error}") from None
        interest = _number(path.name, "interest", table.pop("interest", INTEREST), 0.0)
        for kind, stated in table.items():
            if kind not in DEFAULTS or not isinstance(stated, dict):
                raise InputError(f"{path.name}: '{kind}' is not known; known: interest, {', '.join(DEFAULTS)}")
            for key, value in stated.items():
                if key not in DEFAULTS[kind]:
                    known = ", ".join(DEFAULTS[kind])
                    raise InputError(f"{path.name}, [{kind}]: '{key}' is not known; known keys: {known}")
                if key != "source":
                    least = 0.0 if key in ("price", "power_price", "upkeep_percent", "fuel_price") else 1e-6
                    _number(f"{path.name}, [{kind}]", key, value, least)
        options = {kind: stated for kind, stated in DEFAULTS.items() if not table or kind in table}
        return InvestSettings(tuple(Asset(k, {**of, **table.get(k, {})}) for k, of in options.items()), interest)


def _number(where: str, key: str, value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise InputError(f"{where}: '{key}' = {value!r} must be a number {'above' if least else 'of at least'} 0")
    return float(value)


# ---------------------------------------------------------------------- days


def standing_days(community: Community, named: Sequence[str] | None) -> dict[str, float]:
    """The days that stand for a year, and for how many each does.

    Those that are named, or all where there are few, alike; else of each month the one whose energy left after what its
    panels could give, at its mean price, is nearest to that of the month's days on average.

    Raises:
        InputError: the community has no such day.
    """
    days = community.days if named is None else tuple(dict.fromkeys(named))
    for day in days:
        if day not in community.days:
            community.on(day)  # says so
    if named is not None or len(days) <= LONGEST:
        return dict.fromkeys(days, 365 / len(days))
    months: dict[int, list[str]] = defaultdict(list)
    for day in days:
        months[when.month if (when := date_of(day)) else 0].append(day)
    length = {month: calendar.monthrange(2001, month)[1] if month else 365 for month in months}
    whole = sum(length.values())
    return {_middle(community, of): 365 * length[month] / whole for month, of in sorted(months.items())}


def _middle(community: Community, days: Sequence[str]) -> str:
    left, price = [], []
    panels = community.device_series.get("pv_kw")
    for day in days:
        load = np.sum(list(community.load.values[day].values()))
        given = 0.0 if panels is None else float(np.sum(list(panels.values[day].values())))
        left.append(float(load) - given)
        price.append(float(np.mean(community.prices.values[day]["import_price"])))
    scaled = [(np.array(of) - np.mean(of)) / (np.std(of) or 1.0) for of in (left, price)]
    return days[int(np.argmin(np.hypot(*scaled)))]


# ---------------------------------------------------------------------- what is solved


@dataclass(frozen=True)
class Purchase:
    """A day with something bought, and without; a `store.Task`."""

    community: CommunityDay
    scenario: Scenario
    node: int
    asset: Asset

    @property
    def name(self) -> str:
        return f"{self.community.day}_{self.scenario.value}_{self.node}_{self.asset.kind}_{self.fingerprint[:12]}"

    @property
    def effort(self) -> int:
        return 1 + 4 * (self.scenario != Scenario.B) + 4 * self.scenario.has_network

    @property
    def fingerprint(self) -> str:
        asset = [self.asset.kind, dict(self.asset.stated)]
        about = {"scenario": self.scenario.value, "node": self.node, "asset": asset}
        return fingerprint(self.community, about, "study/whatif/invest.py")

    def solve(self) -> float:
        """What is saved on the day, currency: by the home on its own, else by all together."""
        (home,) = [home for home in self.community.households if home.node == self.node]
        richer = self.asset.bought(home, self.community)
        assert richer is not None
        changed = replace(
            self.community, households=tuple(richer if h is home else h for h in self.community.households)
        )
        fuel = self.asset.other_costs(richer, _alone(changed, self.node)[1], self.community.step_hours)
        if self.scenario == Scenario.B:
            return _alone(self.community, self.node)[0] - _alone(changed, self.node)[0] - fuel
        return _together(self.community, self.scenario) - _together(changed, self.scenario) - fuel

    def read(self, fields: Any) -> float:
        return float(fields)


def _alone(community: CommunityDay, node: int) -> tuple[float, dict[str, Array]]:
    """What a home pays on its own, currency, and its plan."""
    (view,) = [view for view in node_views(community, Scenario.B, NetworkAgreement.DSO) if view.node == node]
    plan = fallback(view)
    return _paid(view, plan), plan


def _paid(view: NodeView, plan: Mapping[str, Array]) -> float:
    assert view.household is not None
    paid = view.step_hours * float(view.own_prices.paid(plan["import_kw"] - plan["feed_in_kw"]).sum())
    return paid + float(peaks_paid(view.prices, plan["injection_kw"][None], view.household.peak_kw).sum())


_known: dict[tuple[str, str], float] = {}


def _together(community: CommunityDay, scenario: Scenario) -> float:
    """What all pay in the scenario's optimum, currency; of a community as it is once in a process."""
    key = fingerprint(community, {}), scenario.value
    if key not in _known:
        _known[key] = Optimum.of(community, scenario).paid
    return _known[key]


# ---------------------------------------------------------------------- what comes of it


@dataclass(frozen=True)
class Option:
    """Something that a household could buy, over a year, currency."""

    node: int
    name: str
    asset: Asset
    interest: float
    saving: Mapping[Scenario, float]  # in B the home's own, else of all together

    def net(self, scenario: Scenario) -> float:
        """What is left of the saving a year when it is paid for."""
        return self.saving[scenario] - self.asset.yearly(self.interest)

    def payback_years(self, scenario: Scenario) -> float | None:
        """After how many years savings have paid the price, without interest; None where they never do."""
        gained = self.saving[scenario] - self.asset.upkeep
        return self.asset.price / gained if gained > 0 else None


@dataclass(frozen=True)
class Invested:
    """A year of a community by scenario, and what could be bought for it."""

    community: Community
    days: Mapping[str, float]
    settings: InvestSettings
    scenarios: tuple[Scenario, ...]
    outcomes: Mapping[tuple[str, Scenario], DayOutcome]
    options: tuple[Option, ...]
    not_offered: tuple[str, ...] = ()  # sentences

    def yearly(self, scenario: Scenario, node: int | None = None) -> float:
        """What the bills of a home come to in a year, or of all, currency."""
        return sum(
            weight * sum(home.cost for home in self.outcomes[day, scenario].households if node in (None, home.node))
            for day, weight in self.days.items()
        )

    def owned(self, node: int) -> float:
        """What a year of what a home has costs, by the same prices: panels, battery, heat pump."""
        asset = {one.kind: one for one in self.settings.assets}
        (home,) = [h for h in self.community.on(next(iter(self.days))).households if h.node == node]
        sizes: dict[str, list[tuple[float, dict[str, float]]]] = {
            "pv": [(one.pv_kwp, {}) for one in home.having(Panels)],
            "battery": [(one.capacity_kwh, {"power_kw": one.power_kw}) for one in home.having(Battery)],
            "heat_pump": [(one.power_kw, {}) for one in home.having(HeatPump)],
        }
        return sum(
            Asset(kind, {**asset[kind].stated, "size": size, **more}).yearly(self.settings.interest)
            for kind, of in sizes.items()
            if kind in asset
            for size, more in of
        )

    def best(self, scenario: Scenario) -> list[Option]:
        """What leaves most, dearest first; what leaves nothing is not among it."""
        worth = [option for option in self.options if option.net(scenario) > 0]
        return sorted(worth, key=lambda option: -option.net(scenario))


def invest(
    community: Community,
    days: Mapping[str, float],
    scenarios: Sequence[Scenario],
    settings: InvestSettings,
    folder: Path,
    workers: Workers = ALL_CORES,
    tally: Tally | None = None,
) -> Invested:
    """Solves what is not kept yet.

    Raises:
        InputError: the folder takes no more files.
        InfeasibleError, SolverError: a day has no plan.
    """
    on = {day: community.on(day) for day in days}
    next(iter(on.values())).require_daily_peaks("`gridpact study --invest`")
    first = on[next(iter(days))]
    points = [DayPoint.of(on[day], scenario) for day in days for scenario in scenarios]
    offered = [
        (home, asset)
        for home in first.households
        for asset in settings.assets
        if all(asset.bought(h, of) is not None for of in on.values() for h in of.households if h.node == home.node)
    ]
    purchases = {
        (day, scenario, home.node, asset.kind): Purchase(on[day], scenario, home.node, asset)
        for home, asset in offered
        for scenario in scenarios
        for day in days
    }
    tally = tally or Tally()
    tally.of = len(points) + len(purchases)
    outcomes = dict(
        zip(((p.community.day, p.scenario) for p in points), play(points, folder, workers, tally), strict=True)
    )
    for outcome in outcomes.values():
        if not outcome.feasible:
            raise InputError(f"day {outcome.day} stands for a part of the year and has no plan: {outcome.failure}")
    saved = dict(zip(purchases, play(list(purchases.values()), folder, workers, tally), strict=True))
    options = []
    for home, asset in offered:
        saving = {
            scenario: sum(weight * saved[day, scenario, home.node, asset.kind] for day, weight in days.items())
            for scenario in scenarios
        }
        options.append(Option(home.node, home.name, asset, settings.interest, saving))
    kinds = {asset.kind for _, asset in offered}
    missing = tuple(
        f"{asset.words[0].upper()}{asset.words[1:]} was not offered: {_WHY_NOT[asset.kind]}."
        for asset in settings.assets
        if asset.kind not in kinds
    )
    return Invested(community, days, settings, tuple(scenarios), outcomes, tuple(options), missing)


_WHY_NOT = {
    "pv": "every home has panels, or nobody, so that no output is known",
    "battery": "every home has one",
    "charger": "nobody has a car that charges slower",
    "heat_pump": "no home without one, or nobody has one, so that no outdoor temperature is known",
}
