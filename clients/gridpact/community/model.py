"""What exists: households with their assets, the feeder between them, and the prices of a day.

Units at every boundary: kW, kvar, kWh, V, ohm, and the community's currency (EUR or USD) per kWh. Arrays over a day
have shape (T,), one entry a time step of `step_hours`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

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
        return replace(self, load_kw=load_kw, load_kvar=more * self.load_kvar[first:], devices=devices)


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
    """Prices of a day, currency per kWh, shape (T,)."""

    import_price: Array  # kappa
    feed_in_share: float = 0.5
    own_feed_in_price: Array | None = None  # where it is no share of the import price; nowhere above that

    @property
    def feed_in_price(self) -> Array:
        """f, given or min(kappa, share * kappa): never above the import price, also where that is negative."""
        if self.own_feed_in_price is not None:
            return np.minimum(self.import_price, self.own_feed_in_price)
        return np.minimum(self.import_price, self.feed_in_share * self.import_price)

    @property
    def mean_feed_in_share(self) -> float:
        """The share, or where feed-in has prices of its own what they are of the import price on average."""
        if self.own_feed_in_price is None:
            return self.feed_in_share
        imported = float(np.sum(self.import_price))
        return float(np.sum(self.feed_in_price)) / imported if imported > 0 else 0.0

    def in_parts(self, parts: int) -> Prices:
        """The same with each step in so many parts."""
        own = self.own_feed_in_price
        return replace(
            self,
            import_price=np.repeat(self.import_price, parts),
            own_feed_in_price=None if own is None else np.repeat(own, parts),
        )

    def since(self, first: int) -> Prices:
        """Those from a step on."""
        own = self.own_feed_in_price
        return replace(
            self, import_price=self.import_price[first:], own_feed_in_price=None if own is None else own[first:]
        )

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
        """(kappa + f)/2: half way between what a kWh costs and what it earns."""
        return (self.import_price + self.feed_in_price) / 2


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
