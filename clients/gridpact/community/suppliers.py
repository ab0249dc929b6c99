"""What power costs whom: the suppliers' tariffs, and what grid operator and state take on top.

A price table has what a supplier asks (`import_price`) and pays (`feed_in_price`, or a share). Fees come on top: on
every kWh that a supplier delivers, a lower one on what comes from a neighbour, and one on the highest power of a
day or a month. They are the network's, and the same for all homes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array, Prices
from gridpact.community.tables import Profile, Row, profile
from gridpact.community.usual import LEAST_PRICE, MOST_PRICE
from gridpact.errors import InputError

GRID, TAX, TRADED, PEAK = "grid_per_kwh", "tax_per_kwh", "traded_per_kwh", "peak_per_kw"
PEAK_OVER, DAY, MONTH = "peak_over", "day", "month"
FEES = (GRID, TAX, TRADED, PEAK)
SERIES = (GRID, TAX, TRADED)
"""NetworkFees that may be columns of the price table, too."""

UNLESS = 'If it is so, say accept = ["price"] in {}'

TARIFF_KEYS = ("supplier", "prices", "feed_in_share")


@dataclass(frozen=True)
class Tariff:
    """What a supplier asks and pays."""

    supplier: str
    feed_in_share: float
    prices: Profile

    def on(self, day: str, fees: NetworkFees) -> Prices:
        """On a day, with fees on top."""
        of_day = self.prices.values[day]
        prices = Prices(of_day["import_price"], self.feed_in_share, of_day.get("feed_in_price"), self.supplier)
        if not fees.are_there:
            return prices
        grid, tax, traded = (fees.series(key, day) for key in SERIES)
        return replace(prices.with_fees(grid, tax, traded, fees.constant[PEAK]), monthly_peak=fees.monthly_peak)


@dataclass(frozen=True)
class NetworkFees:
    """What comes on top of the supplier's price."""

    constant: Mapping[str, float]  # by the keys of `FEES`
    prices: Profile  # the community's, whose columns may have them
    monthly_peak: bool  # whether a peak counts over the billing month, not over the day

    @property
    def are_there(self) -> bool:
        priced = any(key in of_day for of_day in self.prices.values.values() for key in SERIES)
        return priced or any(self.constant.values())

    def series(self, key: str, day: str) -> Array:
        """Of a kWh, (T,)."""
        of_day = self.prices.values[day]
        return of_day.get(key, np.full(len(of_day["import_price"]), self.constant[key]))


@dataclass(frozen=True)
class Suppliers:
    """Whose customer each household is."""

    common: Tariff  # of the community, and of all who name no other
    others: Mapping[str, Tariff]  # by name, of those who have customers
    of_household: Mapping[str, str]  # names of tariffs, of those who name one
    fees: NetworkFees

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """All price tables, the community's first."""
        return (self.common.prices, *(tariff.prices for tariff in self.others.values()))

    def prices(self, day: str, name: str | None = None) -> Prices:
        """The community's, or those of another supplier.

        Raises:
            InputError: there is none of this name.
        """
        if name is None:
            return self.common.on(day, self.fees)
        if name not in self.others:
            known = f"those with customers are {', '.join(self.others)}" if self.others else "no household has any"
            raise InputError(f"there is no tariff '{name}'; {known}")
        return self.others[name].on(day, self.fees)

    def own(self, household: str, day: str) -> Prices | None:
        """Of a household with another supplier."""
        name = self.of_household.get(household)
        return None if name is None else self.prices(day, name)


def read_suppliers(
    community: Path,
    table: Mapping[str, Any],
    prices: Path,
    households: Sequence[Row],
    step_minutes: int,
    accepted: bool,
) -> Suppliers:
    """Reads and checks all that power costs.

    Args:
        community: the community file, for complaints and as the folder of other tables.
        table: its keys; `feed_in_share`, `fees` and `tariff` count.
        prices: the community's price table.
        accepted: whether prices that look like those of something else than a kWh are so.

    Raises:
        InputError: says what is wrong, in which file, row and column; among that, prices with which a plan could earn
            without end.
    """
    share = table.get("feed_in_share")
    common = _tariff(community, "", share, prices, step_minutes, accepted, SERIES)
    fees = _network_fees(community, table.get("fees", {}), common.prices, accepted)
    others = {}
    for name, stated in table.get("tariff", {}).items():
        where = f"{community.name}, [tariff.{name}]"
        if not isinstance(stated, dict) or not isinstance(stated.get("prices"), str):
            raise InputError(f"{where}: needs prices, the name of a table like {prices.name}")
        for key in stated:
            if key not in TARIFF_KEYS:
                raise InputError(f"{where}: '{key}' is not known; known keys: {', '.join(TARIFF_KEYS)}")
        if not isinstance(supplier := stated.get("supplier", name), str):
            raise InputError(f"{where}: 'supplier' must be a name")
        if "feed_in_share" in stated:
            _number(where, "feed_in_share", stated["feed_in_share"], 1.0)
        path = community.parent / stated["prices"]
        others[name] = _tariff(community, supplier, stated.get("feed_in_share"), path, step_minutes, accepted)
    of_household = {row.text("household"): name for row in households if (name := row.cells.get("tariff", "").strip())}
    for row in households:
        if (name := row.cells.get("tariff", "").strip()) and name not in others:
            known = f"the tariffs are {', '.join(others)}" if others else f"no [tariff.{name}] is in {community.name}"
            raise row.error("tariff", f"there is no tariff '{name}'; {known}")
    used = {name: others[name] for name in dict.fromkeys(of_household.values())}
    suppliers = Suppliers(common, used, of_household, fees)
    _check_fees(community, suppliers)
    _check_bounded(suppliers)
    return suppliers


def price_doubt(price: float, accepted: bool, file: str) -> str | None:
    """What is asked about a price of a kWh that hardly anybody pays, in words; `file` has the list `accept`."""
    if accepted or abs(price) <= MOST_PRICE:
        return None
    return f"{price:g} for a kWh; is it per MWh, or in cents? {UNLESS.format(file)}"


def _tariff(
    community: Path, supplier: str, share: Any, path: Path, step_minutes: int, accepted: bool, more: Sequence[str] = ()
) -> Tariff:
    """
    Raises:
        InputError: besides what `profile` raises, feed-in is priced twice, or prices are rather of something else than
            a kWh.
    """
    unless = UNLESS.format(community.name)

    def question(price: float) -> str | None:
        return price_doubt(price, accepted, community.name)

    prices = profile(path, ("import_price",), step_minutes, -math.inf, ("feed_in_price", *more), question)
    largest = max(float(np.abs(of_day["import_price"]).max()) for of_day in prices.values.values())
    if 0 < largest < LEAST_PRICE and not accepted:
        raise InputError(f"{path.name}: at most {largest:g} for a kWh; are the prices per Wh? {unless}")
    if share is not None and any("feed_in_price" in of_day for of_day in prices.values.values()):
        raise InputError(f"{path.name} has feed_in_price, {community.name} feed_in_share; remove one of them")
    return Tariff(supplier, 0.5 if share is None else float(share), prices)


def _network_fees(community: Path, stated: Mapping[str, Any], prices: Profile, accepted: bool) -> NetworkFees:
    """`[fees]`, with nothing for what is not there."""
    where = f"{community.name}, [fees]"
    over = stated.get(PEAK_OVER, DAY)
    if over not in (DAY, MONTH):
        raise InputError(f'{where}: \'{PEAK_OVER}\' = {over!r} must be "{DAY}" or "{MONTH}"')
    if PEAK_OVER in stated and not stated.get(PEAK):
        raise InputError(f"{where}: '{PEAK_OVER}' says over which time '{PEAK}' counts, which is not there; give that")
    for key, value in stated.items():
        if key == PEAK_OVER:
            continue
        if key not in FEES:
            raise InputError(f"{where}: '{key}' is not known; known keys: {', '.join((*FEES, PEAK_OVER))}")
        _number(where, key, value)
        if key != PEAK and (doubt := price_doubt(value, accepted, community.name)):
            raise InputError(f"{where}: '{key}' = {doubt}")
        if any(key in of_day for of_day in prices.values.values()):
            raise InputError(f"{prices.file} has {key}, {where}, too; remove one of them")
    return NetworkFees({key: float(stated.get(key, 0.0)) for key in FEES}, prices, over == MONTH)


def _number(where: str, key: str, value: Any, high: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high or value == math.inf:
        bounds = "at least 0" if high == math.inf else f"between 0 and {high:g}"
        raise InputError(f"{where}: '{key}' = {value!r} must be a number {bounds}")


def _check_fees(community: Path, suppliers: Suppliers) -> None:
    """
    Raises:
        InputError: a fee is below 0, or that on what comes from a neighbour above those on what a supplier delivers.
    """
    prices = suppliers.common.prices
    for day in prices.times if suppliers.fees.are_there else ():
        grid, tax, traded = (suppliers.fees.series(key, day) for key in SERIES)
        for key, series in zip(SERIES, (grid, tax, traded), strict=True):
            if (below := np.flatnonzero(series < 0)).size:
                raise InputError(f"{prices.file}, day {day}, {prices.times[day][below[0]]}: {key} must be at least 0")
        if (above := np.flatnonzero(traded > grid + tax)).size:
            step = int(above[0])
            raise InputError(
                f"{community.name}: on day {day}, {prices.times[day][step]}, {TRADED} is {traded[step]:g}, more than "
                f"the {grid[step] + tax[step]:g} of {GRID} and {TAX}; what stays in the community is not to cost more "
                "than what comes from outside"
            )


def _check_bounded(suppliers: Suppliers) -> None:
    """
    Raises:
        InputError: somebody's feed-in pays more than energy costs another, or itself, so that buying only to feed in
            would earn without end.
    """
    common = suppliers.common.prices
    for day in (day for day in common.times if all(day in prices.times for prices in suppliers.profiles)):
        fees = [suppliers.fees.series(key, day) for key in SERIES]
        traded = fees[2]
        for prices in suppliers.profiles:
            own = prices.values[day].get("feed_in_price")
            dearest = prices.values[day]["import_price"] + fees[0] + fees[1] - traded
            if own is not None and (above := np.flatnonzero(own > dearest)).size:
                raise InputError(
                    f"{prices.file}, day {day}, {prices.times[day][above[0]]}: feed_in_price is above import_price, so "
                    "that buying only to feed in would earn without end; give at most the import price"
                )
        tariffs = [suppliers.common, *suppliers.others.values()]
        on_day = [tariff.on(day, suppliers.fees) for tariff in tariffs]
        for buys, cheap in zip(tariffs, on_day, strict=True):
            for sells, dear in zip(tariffs, on_day, strict=True):
                above = np.flatnonzero(dear.feed_in_price > cheap.import_price + traded)
                if above.size:
                    raise InputError(
                        f"{sells.prices.file}, day {day}, {common.times[day][above[0]]}: feed-in earns more than "
                        f"import costs by {buys.prices.file}, so that buying there for a neighbour to feed in would "
                        "earn without end; no feed-in price may be above any import price"
                    )
