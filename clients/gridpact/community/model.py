"""What exists: households with their assets, the feeder between them, and the prices of a day.

Units at every boundary: kW, kvar, kWh, V, ohm, and the community's currency (EUR or USD) per kWh. Arrays over a day
have shape (T,), one entry a time step of `step_hours`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from gridpact.community.called import Called
from gridpact.community.street import PhaseFeeder
from gridpact.devices.device import Array as Array
from gridpact.devices.device import Device, Self
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.errors import InputError

LEAST_LOSS_PRICE = 1e-3
"""Currency/kWh: where losing energy costs nothing, lines could seem to lose any of it."""

GRID_CONNECTION = 0
"""Node number of the grid connection, run by the distribution system operator."""


@dataclass(frozen=True)
class Household:
    """One household on one day. It stays at home: only its own node reads it."""

    node: int
    name: str
    load_kw: Array  # (T,)
    load_kvar: Array  # (T,)
    devices: tuple[Device, ...] = ()  # in the order of the registry; several of one kind may be there
    tariff: Prices | None = None  # of its own supplier; None: the community's
    connection_kw: float | None = None  # what it may draw and feed in at most; None: nobody says
    peak_kw: float = 0.0  # the highest mean power of a step that it has drawn before, and pays the peak fee for already
    called: tuple[Called, ...] = ()  # what its meter is asked for; only its own node plans with it

    def having(self, kind: type[Self]) -> tuple[Self, ...]:
        """Its devices of a kind."""
        return tuple(device for device in self.devices if isinstance(device, kind))

    def without(self, kind: type[Device]) -> tuple[Device, ...]:
        """Its devices but those of a kind."""
        return tuple(device for device in self.devices if not isinstance(device, kind))

    @property
    def steps(self) -> int:
        return len(self.load_kw)

    @property
    def pv_kw(self) -> Array:
        """What its devices could give without anybody's doing, (T,); the household may curtail it."""
        return sum((device.available_kw(self.steps) for device in self.devices), np.zeros(self.steps))

    @property
    def pv_kwp(self) -> float:
        return sum((panels.pv_kwp for panels in self.having(Panels)), 0.0)

    @property
    def inverter_kvar(self) -> float:
        """Limit of its reactive power besides that of the load."""
        return sum((inverter.inverter_kvar for inverter in self.having(Inverter)), 0.0)

    @property
    def inverter_even_share(self) -> float:
        """Share of that with which it may even out what its load takes."""
        even = sum((one.inverter_even_share * one.inverter_kvar for one in self.having(Inverter)), 0.0)
        return even / self.inverter_kvar if even else 0.0

    @property
    def first_kvar(self) -> Array:
        """The reactive power that it wishes for before anybody asks for another, (T,), positive where it takes it: its
        load's, evened out as far as its inverters may do that."""
        room = self.inverter_even_share * self.inverter_kvar
        low, high = self.load_kvar - room, self.load_kvar + room
        level = np.clip(self.load_kvar.mean(), low.max(), high.min())  # within reach at all steps, if any is
        evened: Array = np.clip(level, low, high)
        return evened

    @property
    def is_prosumer(self) -> bool:
        return self.pv_kwp > 0

    @property
    def net_load_kw(self) -> Array:
        """l - pv, the negative of P_net of eq. (26)."""
        return self.load_kw - self.pv_kw

    def rest(
        self,
        first: int,
        load_kw: Array,
        done: Sequence[Mapping[str, Array]],
        expected: Sequence[Mapping[str, Array]],
        step_hours: float,
        levels: Sequence[float | None] = (),
    ) -> Household:
        """It on the steps that are left of a day, from one on.

        Args:
            load_kw: what is expected of its load there, (T - first,).
            done: what each device did, and
            expected: what is expected of it, see `Device.rest`;
            levels: what was measured of each, where anything was.
        """
        forecast = self.load_kw[first:]
        more = np.divide(load_kw, forecast, out=np.ones_like(load_kw), where=forecast > 0)
        measured = levels or [None] * len(self.devices)
        devices = tuple(
            device.rest(first, own, guess, step_hours, level)
            for device, own, guess, level in zip(self.devices, done, expected, measured, strict=True)
        )
        reactive, tariff = more * self.load_kvar[first:], self.tariff and self.tariff.since(first)
        called = tuple(one.since(first) for one in self.called)
        return replace(self, load_kw=load_kw, load_kvar=reactive, devices=devices, tariff=tariff, called=called)


@dataclass(frozen=True)
class Line:
    """Line i, between node i and its parent. Its flow is counted towards the root, at the parent's end."""

    node: int
    parent: int
    resistance_ohm: float
    reactance_ohm: float
    rating_a: float | None = None  # what it may carry continuously, if that is known


@dataclass(frozen=True)
class Feeder:
    """A radial low-voltage feeder, three-phase and balanced."""

    nominal_voltage_v: float  # line to line
    voltage_min_pu: float
    voltage_max_pu: float
    lines: tuple[Line, ...]  # in ascending order of node: line k belongs to node k + 1

    base_kva: float = 10.0
    junctions: frozenset[int] = frozenset()
    """Nodes without a household, numbered after those that have one: cabinets, the buses of a transformer."""

    @cached_property
    def parent(self) -> dict[int, int]:
        return {line.node: line.parent for line in self.lines}

    @property
    def nodes(self) -> tuple[int, ...]:
        """Those with a household, ascending."""
        return tuple(line.node for line in self.lines if line.node not in self.junctions)

    @cached_property
    def children(self) -> dict[int, tuple[int, ...]]:
        """Children of every node, ascending."""
        result: dict[int, list[int]] = {GRID_CONNECTION: [], **{line.node: [] for line in self.lines}}
        for line in self.lines:
            result[line.parent].append(line.node)
        return {node: tuple(sorted(children)) for node, children in result.items()}

    @cached_property
    def depth(self) -> dict[int, int]:
        """Number of lines between a node and the grid connection."""
        depth = {GRID_CONNECTION: 0}
        todo = [GRID_CONNECTION]
        while todo:
            node = todo.pop()
            for child in self.children[node]:
                depth[child] = depth[node] + 1
                todo.append(child)
        return depth

    @property
    def base_ohm(self) -> float:
        return self.nominal_voltage_v**2 / (1000 * self.base_kva)

    def resistance_pu(self) -> Array:
        """r of every line, per unit, shape (n,)."""
        return np.array([line.resistance_ohm for line in self.lines]) / self.base_ohm

    def reactance_pu(self) -> Array:
        """x of every line, per unit, shape (n,)."""
        return np.array([line.reactance_ohm for line in self.lines]) / self.base_ohm


@dataclass(frozen=True)
class Prices:
    """Prices of a day, currency per kWh, shape (T,).

    The import price is all that a kWh costs that the supplier delivers; fees and taxes in it are told apart for bills.
    A kWh from a neighbour costs the buyer what it pays that, and `trade_fee`.
    """

    import_price: Array  # kappa
    feed_in_share: float = 0.5
    own_feed_in_price: Array | None = None  # where it is no share of the import price; nowhere above that
    supplier: str = ""  # whose they are, where that is told
    grid_fee: Array | None = None  # of the import price, what the grid operator gets; None: nothing
    tax: Array | None = None  # of the import price, what the state gets; None: nothing
    trade_fee: Array | None = None  # l, of what stays in the community, at most the two; None: nothing
    peak_fee: float = 0.0  # currency/kW of the highest mean power that a household draws in a step of the day,
    monthly_peak: bool = False  # or of the billing month: then of what goes beyond its `Household.peak_kw`

    @property
    def key(self) -> tuple[object, ...]:
        """By which a tariff is known again: whose it is, and its prices."""
        return self.supplier, self.import_price.tobytes(), self.feed_in_price.tobytes()

    @property
    def bought_price(self) -> Array:
        """kappa - l, what a kWh from a neighbour may cost at most."""
        return self.import_price if self.trade_fee is None else self.import_price - self.trade_fee

    def with_fees(self, grid: Array, tax: Array, trade: Array, peak: float) -> Prices:
        """With fees and taxes on top of the supplier's price, which feed-in is a share of."""
        own = self.own_feed_in_price
        if own is None and (grid.any() or tax.any()):
            own = self.feed_in_price
        return replace(
            self,
            import_price=self.import_price + grid + tax,
            own_feed_in_price=own,
            grid_fee=grid if grid.any() else None,
            tax=tax if tax.any() else None,
            trade_fee=trade if trade.any() else None,
            peak_fee=peak,
        )

    @property
    def has_own_fees(self) -> bool:
        """Whether something is paid beside supplier and neighbours."""
        return self.trade_fee is not None or self.peak_fee > 0

    @property
    def feed_in_price(self) -> Array:
        """f, given or share * kappa: never above kappa - l, also where that is negative."""
        if self.own_feed_in_price is not None:
            return np.minimum(self.bought_price, self.own_feed_in_price)
        return np.minimum(self.bought_price, self.feed_in_share * self.import_price)

    @property
    def mean_feed_in_share(self) -> float:
        """The share, or where feed-in has prices of its own what they are of the import price on average."""
        if self.own_feed_in_price is None:
            return self.feed_in_share
        imported = float(np.sum(self.import_price))
        return float(np.sum(self.feed_in_price)) / imported if imported > 0 else 0.0

    def in_parts(self, parts: int) -> Prices:
        """The same with each step in so many parts."""
        return self._each(lambda series: np.repeat(series, parts))

    def since(self, first: int) -> Prices:
        """Those from a step on."""
        return self._each(lambda series: series[first:])

    def _each(self, change: Callable[[Array], Array]) -> Prices:
        """With all series changed alike."""
        every = {one.name: getattr(self, one.name) for one in fields(self)}
        series: dict[str, Any] = {name: change(of) for name, of in every.items() if isinstance(of, np.ndarray)}
        return replace(self, **series)

    @property
    def loss_price(self) -> Array:
        """Price of the losses: kappa, but never so little that the relaxation could gain by fake losses."""
        return np.maximum(self.import_price, LEAST_LOSS_PRICE)

    @property
    def loss_surcharge(self) -> Array:
        """What a lost kWh is to cost in G beside what it is worth at node 0, so that it costs at least as much as in
        `loss_price`: where it is worth nothing, or less, lines could seem to lose any amount."""
        return np.maximum(LEAST_LOSS_PRICE - self.feed_in_price, 0.0)

    def paid(self, imported: Array) -> Array:
        """What the supplier gets, and pays where it is negative, currency: for energies, or for powers in an hour.

        Args:
            imported: kWh or kW, less what is fed in, (..., T), as the answer.
        """
        worth: Array = self.import_price * np.maximum(imported, 0) - self.feed_in_price * np.maximum(-imported, 0)
        return worth

    @property
    def mean_import(self) -> float:
        """Mean size of the import price; at least what losses count."""
        return max(float(np.mean(np.abs(self.import_price))), LEAST_LOSS_PRICE)

    @property
    def middle(self) -> Array:
        """(kappa + f)/2: half way between what a kWh costs and what it earns, known to all by the tariff alone."""
        return (self.import_price + self.feed_in_price) / 2

    @property
    def margin(self) -> Array:
        """kappa - l - f: what a kWh gains that goes to a neighbour, and is not fed in and imported again."""
        return self.bought_price - self.feed_in_price


@dataclass(frozen=True)
class PriceRange:
    """Prices that a trade can have: what neither side is worse off with than with its own supplier, whoever of the two
    buys. Currency/kWh, (T,) each; none where the lowest is above the highest."""

    low: Array
    high: Array

    @staticmethod
    def of(one: Prices, other: Prices | None) -> PriceRange:
        """Of a pair, by the tariffs of its two suppliers: the dearer feed-in and the cheaper import price. None where
        one has no tariff."""
        if other is None:
            return PriceRange.none(len(one.import_price))
        return PriceRange(
            np.maximum(one.feed_in_price, other.feed_in_price), np.minimum(one.import_price, other.import_price)
        )

    @staticmethod
    def none(steps: int) -> PriceRange:
        """Where no price suits both."""
        return PriceRange(np.ones(steps), np.zeros(steps))

    def since(self, first: int) -> PriceRange:
        """From a step on."""
        return PriceRange(self.low[first:], self.high[first:])


def between(tariffs: Sequence[Prices]) -> Prices:
    """The dearest and the least of tariffs, with the fees of the first."""
    return replace(
        tariffs[0],
        import_price=np.max([prices.import_price for prices in tariffs], axis=0),
        own_feed_in_price=np.min([prices.feed_in_price for prices in tariffs], axis=0),
    )


@dataclass(frozen=True)
class Customers:
    """Households with one tariff."""

    prices: Prices
    rows: tuple[int, ...]  # of the community's households

    @property
    def places(self) -> list[int]:
        """The rows, as an index."""
        return list(self.rows)


@dataclass(frozen=True)
class CommunityDay:
    """A community on one day: all that a round needs to know, and no single node does."""

    name: str
    day: str
    currency: str
    step_hours: float
    start_times: tuple[str, ...]  # (T,), "HH:MM"
    households: tuple[Household, ...]  # node 1 first
    feeder: Feeder | PhaseFeeder
    prices: Prices
    trading_coefficient: float  # chi, currency/kWh
    preferences: dict[tuple[str, str], float] = field(default_factory=dict)
    """Trading coefficients that users set themselves: (household, partner) -> currency/kWh."""
    most_partners: int | None = None
    """With how many others a household trades at most; None: with all where that can pay."""

    @property
    def peaks_kw(self) -> Array:
        """What each household has drawn at most before, see `Household.peak_kw`, (n,)."""
        return np.array([household.peak_kw for household in self.households])

    def prices_of(self, household: Household, in_common: bool = False) -> Prices:
        """What its supplier asks and pays; the community's where all have one contract in common."""
        return self.prices if in_common or household.tariff is None else household.tariff

    def customers(self, in_common: bool = False) -> tuple[Customers, ...]:
        """Households by their tariff, the one of the first household first; all together in common."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for row, household in enumerate(self.households):
            groups.setdefault(self.prices_of(household, in_common).key, []).append(row)
        return tuple(
            Customers(self.prices_of(self.households[rows[0]], in_common), tuple(rows)) for rows in groups.values()
        )

    @property
    def own_tariffs(self) -> bool:
        """Whether a household has another supplier than the community's."""
        return any(household.tariff is not None for household in self.households)

    def require_one_tariff(self, what: str, trade_fees: bool = False, peak_fees: bool = False) -> None:
        """
        Args:
            what: that knows one tariff only.
            trade_fees: whether it knows fees on trades.
            peak_fees: whether it knows fees on peaks.

        Raises:
            InputError: there are several, or fees on trades or peaks that it does not know.
        """
        if self.own_tariffs:
            raise InputError(
                f"{what} knows one tariff, and households of '{self.name}' have {len(self.tariffs)}: leave out the "
                "column 'tariff' of the households"
            )
        if self.prices.trade_fee is not None and not trade_fees:
            raise InputError(
                f"{what} knows no fee on trades, and '{self.name}' has one: leave out traded_per_kwh of [fees]"
            )
        if self.prices.peak_fee and not peak_fees:
            raise InputError(f"{what} knows no peak fee, and '{self.name}' has one: leave out peak_per_kw of [fees]")

    def require_daily_peaks(self, what: str) -> None:
        """
        Args:
            what: that takes days each by itself, and so would have each pay for a month's peak.

        Raises:
            InputError: the fee on peaks is a month's.
        """
        if self.prices.monthly_peak:
            raise InputError(
                f"{what} takes days each by itself, and the peak fee of '{self.name}' is a month's: take "
                "`gridpact study --continuous`, one day alone, or leave out peak_over of [fees]"
            )

    @property
    def tariffs(self) -> tuple[Prices, ...]:
        """Of all households, each once, the community's first."""
        others = [household.tariff for household in self.households if household.tariff is not None]
        return tuple({prices.key: prices for prices in (self.prices, *others)}.values())

    @property
    def between(self) -> Prices:
        """Within which prices of trades end: the dearest and the least of all tariffs."""
        if not self.own_tariffs:
            return self.prices
        return between([self.prices_of(household) for household in self.households])

    @property
    def steps(self) -> int:
        return len(self.start_times)

    @property
    def balanced(self) -> Feeder:
        """The feeder where it is balanced, with a home at every node.

        Raises:
            InputError: it is a street with phases.
        """
        if isinstance(self.feeder, PhaseFeeder):
            raise InputError(f"the feeder of '{self.name}' is a street with phases; this needs a balanced one")
        return self.feeder
