"""What a run means, in numbers: power and energy of community and households, and the checks of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from gridpact.community.model import Array, Household
from gridpact.devices.device import LEFT, WEAR, Band, summed
from gridpact.devices.registry import BANDS, at_once_kw, consumed_kw, costs
from gridpact.market.registry import Promise, market_of
from gridpact.outcome.outcome import LEAST_BILL, Outcome
from gridpact.problem.centralised import EXACTNESS_LIMIT
from gridpact.problem.directions import AT_ONCE_KW
from gridpact.problem.verification import peaks_paid, trades_charged

GAP_LIMIT = 1e-3
"""The agreed plan may cost this fraction more than the centralised optimum."""

GAP_FLOOR = 0.1
"""Where the optimum costs less than this part of what all that passes the meters would cost to import, the limit is the
fraction of that part: a bill near zero is a difference of large sums, and a fraction of it says nothing."""

VOLTAGE_TOLERANCE_PU = 1e-3
"""How far a voltage may lie outside its limits, see `Outcome.voltage_ok`."""


NOT_PROMISED = "not promised"
"""Verdict on what lies beyond a limit that the scenario does not look after."""


@dataclass(frozen=True)
class PowerBalance:
    """Power of the whole community at every step, kW, shape (T,) each; what comes in equals what goes out.

    The exchange with the grid is the physical one at the grid connection, from the power flow: neighbours of
    whom one buys and one feeds in at the same time exchange over the feeder, whatever their contracts say.
    """

    sources: tuple[tuple[Band, Array], ...]  # of devices
    uses: tuple[tuple[Band, Array], ...]  # of devices
    grid_import: Array
    load: Array
    feed_in: Array
    losses: Array


@dataclass(frozen=True)
class FeesPaid:
    """What a household's day has for grid operator and state, currency."""

    grid: float  # on what its supplier delivers, and in its bill; in G its part of the community's
    tax: float  # the same
    trade: float  # on what neighbours deliver; in G on all that it draws, of what is imported the rest being in `grid`
    peak: float  # on its highest power


@dataclass(frozen=True)
class HouseholdTotals:
    """One household's day, kWh and currency."""

    node: int
    name: str
    is_prosumer: bool
    assets: tuple[str, ...]
    load_kwh: float  # devices included
    pv_kwh: float  # used
    import_kwh: float  # from its supplier; in G, where it has none, from the feeder
    feed_in_kwh: float
    sold_kwh: float  # to neighbours
    bought_kwh: float
    trades_paid: float  # positive: paid more than received
    supplier_bill: float | None  # None in G
    fees: FeesPaid
    wear: float  # of its devices by their use; nobody is paid for it
    left: float  # what is in its batteries beyond the day's start is worth


@dataclass(frozen=True)
class TradePrices:
    """Prices of the trades of one step, currency/kWh; `mean` is weighted by energy."""

    step: int
    low: float
    median: float
    mean: float
    high: float
    energy_kwh: float


@dataclass(frozen=True)
class VoltageExtreme:
    """The lowest or the highest voltage of the day."""

    voltage_pu: float
    node: int
    step: int


@dataclass(frozen=True)
class Check:
    """One thing that must hold. `held` is None where the scenario promises nothing about it."""

    name: str
    value: str
    limit: str
    held: bool | None
    meaning: str

    @property
    def verdict(self) -> str:
        if self.held is None:
            return "does not apply" if self.value == "-" else NOT_PROMISED
        return "held" if self.held else "not held"


def percent(fraction: float) -> str:
    """Per cent with three digits; what rounds to nothing has no sign."""
    return f"{round(100 * fraction, 3) + 0.0:.3f} %"


def series_of(home: Household, schedule: Mapping[str, Array]) -> dict[str, Array]:
    """What a household does, with what it uses and could generate."""
    return {**schedule, "load_kw": home.load_kw, "pv_kw": home.pv_kw}


def gap_limit(outcome: Outcome) -> float:
    """By how much an agreed plan may cost more than the optimum, currency."""
    return GAP_LIMIT * max(abs(outcome.optimum.objective), GAP_FLOOR * outcome.turnover, LEAST_BILL)


class Indicators:
    """All that the tables, the plots, the report and the summary say about a run."""

    def __init__(self, result: Outcome) -> None:
        self.result = result

    @property
    def implemented_gap(self) -> float | None:
        """By what fraction the agreed plan costs more than the optimum; None if that costs nothing."""
        return self.result.implemented_gap if self.result.optimum.objective else None

    @cached_property
    def net_sold_kw(self) -> Array:
        """Sales less purchases of every household by the recorded trades, shape (n, T)."""
        community = self.result.community
        row = {household.node: k for k, household in enumerate(community.households)}
        sold = np.zeros((len(row), community.steps))
        for trade in self.result.trades:
            sold[row[trade.seller], trade.step] += trade.energy_kwh / community.step_hours
            sold[row[trade.buyer], trade.step] -= trade.energy_kwh / community.step_hours
        return sold

    @cached_property
    def supply_kw(self) -> Array:
        """What every household takes from its supplier after its trades (negative: feeds in), shape (n, T).

        In G nobody has a contract of his own; there it is what the meter takes from the feeder.
        """
        injection: Array = np.array([home.schedule["injection_kw"] for home in self.result.households])
        return self.net_sold_kw - injection

    @cached_property
    def balance(self) -> PowerBalance:
        flow = self.result.flow
        bands = [(band, band.of(self.total)) for band in BANDS]
        return PowerBalance(
            sources=tuple(pair for pair in bands if pair[0].is_source),
            uses=tuple(pair for pair in bands if not pair[0].is_source),
            grid_import=np.maximum(flow.import_kw, 0),
            load=self.total("load_kw"),
            feed_in=np.maximum(-flow.import_kw, 0),
            losses=flow.losses_kw,
        )

    def total(self, column: str) -> Array:
        """A column of all households' schedules together, with what they use and could generate, (T,)."""
        homes = zip(self.result.community.households, self.result.households, strict=True)
        series = [summed(series_of(home, outcome.schedule), column, home.steps) for home, outcome in homes]
        whole: Array = np.sum(series, axis=0)
        return whole

    def energy_kwh(self, power_kw: Array) -> float:
        """Energy of a power over the day."""
        return float(np.sum(power_kw) * self.result.community.step_hours)

    @cached_property
    def traded_kwh(self) -> Array:
        """Energy that each household (row) sold to each other (column) over the day, shape (n, n)."""
        row = {household.node: k for k, household in enumerate(self.result.community.households)}
        energy = np.zeros((len(row), len(row)))
        for trade in self.result.trades:
            energy[row[trade.seller], row[trade.buyer]] += trade.energy_kwh
        return energy

    @cached_property
    def trade_prices(self) -> tuple[TradePrices, ...]:
        """Trade prices of the steps with trades, in ascending order."""
        steps = np.array([trade.step for trade in self.result.trades], dtype=int)
        price = np.array([trade.price_per_kwh for trade in self.result.trades])
        energy = np.array([trade.energy_kwh for trade in self.result.trades])
        prices = []
        for step in np.unique(steps):
            p, e = price[steps == step], energy[steps == step]
            mean = float(np.average(p, weights=e)) if e.sum() > 0 else float(p.mean())
            prices.append(
                TradePrices(int(step), float(p.min()), float(np.median(p)), mean, float(p.max()), float(e.sum()))
            )
        return tuple(prices)

    @cached_property
    def households(self) -> tuple[HouseholdTotals, ...]:
        result, community = self.result, self.result.community
        fees = self._fees
        totals = []
        pairs = zip(result.community.households, result.households, strict=True)
        for row, (home, outcome) in enumerate(pairs):
            bought, fed_in = np.maximum(self.supply_kw[row], 0), np.maximum(-self.supply_kw[row], 0)
            series = series_of(home, outcome.schedule)
            own = partial(summed, series, steps=home.steps)
            pv_used = own("pv_kw") - own("curtailed_kw")
            bill, own_costs = None, costs(home.devices, outcome.schedule, result.community.step_hours)
            if result.scenario.has_contracts:
                prices = community.prices_of(home)
                bill = self.energy_kwh(prices.import_price * bought - prices.feed_in_price * fed_in)
            totals.append(
                HouseholdTotals(
                    node=home.node,
                    name=home.name,
                    is_prosumer=home.is_prosumer,
                    assets=tuple(device.asset for device in home.devices if device.asset),
                    load_kwh=self.energy_kwh(home.load_kw + consumed_kw(own)),
                    pv_kwh=self.energy_kwh(pv_used),
                    import_kwh=self.energy_kwh(bought),
                    feed_in_kwh=self.energy_kwh(fed_in),
                    sold_kwh=float(self.traded_kwh[row].sum()),
                    bought_kwh=float(self.traded_kwh[:, row].sum()),
                    trades_paid=outcome.paid,
                    supplier_bill=bill,
                    fees=fees[row],
                    wear=float(own_costs.get(WEAR, 0.0)),
                    left=-float(own_costs.get(LEFT, 0.0)) + 0.0,
                )
            )
        return tuple(totals)

    @property
    def _fees(self) -> list[FeesPaid]:
        """Of all households."""
        prices, supply = self.result.community.prices, np.maximum(self.supply_kw, 0.0)
        injection: Array = np.array([home.schedule["injection_kw"] for home in self.result.households])
        if self.result.scenario.has_contracts:
            imported, local = supply, self.net_sold_kw
        else:
            part = np.divide(supply, supply.sum(axis=0), out=np.zeros_like(supply), where=supply.sum(axis=0) > 0)
            imported, local = part * np.maximum(self.result.flow.import_kw, 0.0), injection
        nothing = np.zeros(self.result.community.steps)
        of_grid, of_tax, of_trade = (
            nothing if fee is None else fee for fee in (prices.grid_fee, prices.tax, prices.trade_fee)
        )
        if not self.result.scenario.has_contracts:
            of_grid = of_grid - of_trade
        grid, tax = ([self.energy_kwh(fee * row) for row in imported] for fee in (of_grid, of_tax))
        trade = [self.energy_kwh(row) for row in trades_charged(prices, local)]
        peaks = peaks_paid(prices, injection, self.result.community.peaks_kw).tolist()
        return [FeesPaid(*one) for one in zip(grid, tax, trade, peaks, strict=True)]

    @property
    def lowest_voltage(self) -> VoltageExtreme:
        voltage = self.result.flow.voltage_pu
        return self._extreme(int(voltage.argmin()))

    @property
    def highest_voltage(self) -> VoltageExtreme:
        return self._extreme(int(self.result.flow.voltage_pu.argmax()))

    @property
    def worst_voltage(self) -> VoltageExtreme:
        """The voltage that comes closest to its limit, or lies farthest beyond it."""
        feeder, low, high = self.result.community.feeder, self.lowest_voltage, self.highest_voltage
        below, above = low.voltage_pu - feeder.voltage_min_pu, feeder.voltage_max_pu - high.voltage_pu
        return low if below <= above else high

    @property
    def nearness(self) -> str:
        """Where the worst voltage lies, in words."""
        feeder, voltage = self.result.community.feeder, self.worst_voltage.voltage_pu
        margin = min(voltage - feeder.voltage_min_pu, feeder.voltage_max_pu - voltage)
        if abs(margin) <= VOLTAGE_TOLERANCE_PU:
            return "at its limit"
        return "closest to its limit" if margin > 0 else "farthest beyond its limit"

    def _extreme(self, flat: int) -> VoltageExtreme:
        flow = self.result.flow
        row, step = divmod(flat, flow.voltage_pu.shape[1])
        return VoltageExtreme(float(flow.voltage_pu[row, step]), flow.nodes[row], step)

    def name(self, node: int) -> str:
        """The household at a node."""
        households = self.result.community.households
        return next((home.name for home in households if home.node == node), f"node {node}")

    def clock(self, step: int) -> str:
        """When a step starts."""
        return self.result.community.start_times[step]

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        result, feeder = self.result, self.result.community.feeder
        gap = self.implemented_gap
        market = market_of(result.scenario)
        network = Promise.NETWORK in market.promises
        beyond, limit = result.cost.objective - result.optimum.objective, gap_limit(result)
        small = limit > GAP_LIMIT * abs(result.optimum.objective)  # the floor holds, and figures are currency
        near = math.isfinite(beyond) and abs(beyond) <= limit
        unit = result.community.currency
        low, high = self.lowest_voltage, self.highest_voltage
        voltages_held = result.voltage_ok if network or result.voltage_ok else None
        return (
            Check(
                "Agreement reached",
                f"{result.iterations:,} {'iteration' if result.iterations == 1 else 'iterations'}"
                if market.agrees
                else "-",
                self._residual_limits,
                result.converged if market.agrees else None,
                "There was nothing to agree on."
                if not market.agrees
                else "All households ended with the same numbers, up to the limit."
                if result.converged
                else "The iterations ended before all residuals were below their limits.",
            ),
            Check(
                "Cost above the optimum",
                f"{beyond + 0.0:.4f} {unit}" if small or gap is None else percent(gap),
                f"{limit:.4f} {unit}" if small or gap is None else f"{100 * GAP_LIMIT:g} %",
                near if Promise.OPTIMUM in market.promises else True if near else None,
                "The objective of the agreed plan, carried out exactly, against that of one optimiser that knows "
                "everything.",
            ),
            Check(
                "Relaxation gap",
                f"{result.relaxation_gap:.1e} p.u." if network else "-",
                f"{EXACTNESS_LIMIT:.0e} p.u.",
                result.relaxation_gap <= EXACTNESS_LIMIT if network else None,
                "Losses and voltages in the optimisation are physical."
                if network
                else "This scenario does not optimise the network, so nothing was relaxed.",
            ),
            Check(
                "Voltages",
                f"{low.voltage_pu:.3f} to {high.voltage_pu:.3f} p.u.",
                f"{feeder.voltage_min_pu:g} to {feeder.voltage_max_pu:g} p.u.",
                voltages_held,
                "By an independent power flow; "
                + (
                    f"0.1 % beyond a limit is tolerated. Worst at {self.name(self.worst_voltage.node)}, "
                    f"{self.clock(self.worst_voltage.step)}."
                    if voltages_held is not None
                    else "in this scenario nobody looks after the network, so nothing keeps the limits."
                ),
            ),
            self._one_way,
            Check(
                "Payments sum to zero",
                "yes" if result.payments_sum_to_zero else "no",
                "yes",
                result.payments_sum_to_zero,
                "What the buyers paid is what the sellers received."
                if result.trades
                else "Nothing was traded, so nothing was paid.",
            ),
        )

    @property
    def _one_way(self) -> Check:
        homes = zip(self.result.community.households, self.result.households, strict=True)
        most = max((at_once_kw(home.devices, outcome.schedule) for home, outcome in homes), default=0.0)
        return Check(
            "No battery does both",
            f"{1000 * most:.2f} W",
            f"{1000 * AT_ONCE_KW:g} W",
            most <= AT_ONCE_KW,
            "No device charges and discharges at once, so the plans are those of real ones.",
        )

    @property
    def _residual_limits(self) -> str:
        convergence = self.result.convergence
        if convergence is None:
            return "-"
        names = (("grid", convergence.limits_w[:2]), ("trades", convergence.limits_w[2:]))
        applies = (self.result.scenario.has_network, self.result.scenario.has_trades)
        limits = [f"{name} {a:.3g}, {b:.3g}" for (name, (a, b)), there in zip(names, applies, strict=True) if there]
        return "; ".join(limits) + " W RMS" if limits else "-"

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.held is False)
