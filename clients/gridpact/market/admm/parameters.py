"""The rule that sets every parameter of the agreement from the data, and theta, which puts them on the chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay, Feeder, Household, Prices
from gridpact.community.street import PhaseFeeder
from gridpact.devices.battery import Battery
from gridpact.errors import InputError
from gridpact.grid.three_phase import lossless_pu, reduced_of
from gridpact.limits import MOST_BID
from gridpact.market.admm.assembly import Mask
from gridpact.market.admm.reach import BIAS
from gridpact.problem.blocks import Kind, blocks
from gridpact.problem.scenario import NetworkAgreement
from gridpact.problem.view import NodeView

PENALTY_UNIT = 1e-9
"""rho and phi stand on the chain as multiples of this, currency/kW^2."""

OVER_RELAXATION = 1.6
EARLY_OVER_RELAXATION = 1.8
"""Of trades, in the first iterations: up to `LAST_EARLY`."""
LAST_EARLY = 10
RESUMED_OVER_RELAXATION = 1.4
"""Of all that goes on from another negotiation that stood: with a larger penalty, more would swing to and fro."""

FIRST_RESUMED, DOUBLED_EVERY, MOST_RESUMED = 0.5, 2, 8.0
"""Times phi, where a negotiation goes on from another that stood: at first, after so many iterations, and at most."""

ROUNDING_UNITS = 2
"""RMS residual, in resolution units, below which rounding may be what is left."""

LAST_OVER_RELAXED = 100
"""The last iteration that may be over-relaxed, whatever the residual."""

FLOW_LIMIT = BIAS[Kind.P] - 1
"""Of a copy of a power flow, resolution units."""
MOST_MILLIWATT = 2**16 - 1
"""The coarsest resolution of power that the contract takes."""
COARSE_MARGIN = 1.25

POWERS = "power_kw", "charge_kw", "discharge_kw"
"""How devices call what they take or give at most."""

POOL = 0.5
"""Penalty on a household's trades of a step together, of phi."""

_TRADE, _MOST_TRADE = 1.08, 0.54  # of what a trade can gain; of the import price
_STAR = {Kind.P: 1.0, Kind.Q: 0.33}
_PRIMAL, _DUAL = 0.0011, 0.0044  # in TG, of the power
_PRIMAL_TOGETHER, _DUAL_TOGETHER = 0.00046, 0.00345  # in G, of the bill, in W
_PRIMAL_TRADE, _DUAL_TRADE = 0.0037, 0.0074  # of the bill, in W, by the bids of a household in a step
_LEAST_KW = 0.01
_LEAST_MARGIN = 0.02  # of the import price
_LEAST_W = 0.25  # 0.21 W is what the rounding of bids to 0.5 W has left for ever
_LEAST_TOGETHER_W = 0.1  # that of wishes and answers less, since z is one of the two
_LEAST_BILL, _LEAST_LOSS = 0.1, 0.1  # of the power at the mean import price; of that price
_FINEST_PARTS = 4000  # of what the largest household takes or gives, in a resolution unit
_USUAL_GAIN = 0.5  # of the import price
_LEAST_LOCAL = 0.004  # of what is imported, given by neighbours
_LEAST_LOCAL_OF_BATTERIES = 0.032
_STRAIN = 7.0  # where voltages are beyond their limits, what counts like the root of what neighbours could give
_OF_GAIN = 2.4  # the dual limit in G, of what agreeing could gain; the primal one in proportion
_LEAST_GAIN = 0.003  # of the bill: a smaller gain is none
_LEAST_GAIN_AT_IMPORT = 0.006  # in TG, where it is mostly of losses, of which less is avoided
_LOSSES_AVOIDED = 0.5  # of those without an agreement, about
_USUAL_BILL = 1 / 3  # of the power, over what a kWh loses: less where as much is fed in as imported
_FEWEST_BIDS = 3.0  # of a household in a step
_WORTH_NOTHING = 0.05  # feeding in, of the mean import price
_OPEN = 4.0
"""How many times as much as of a day may be left open of the rest of one, where hardly a step is over."""

_LINE = {Kind.P: 0.005, Kind.Q: 0.005}
_VOLTAGE = 0.18


@dataclass(frozen=True)
class Resolution:
    """What one integer unit on the chain stands for."""

    power_kw: float = 0.0005  # P, Q, bids
    voltage: float = 1e-5  # V, p.u. squared

    @staticmethod
    def from_chain(power_milliwatt: int, voltage_millionths: int) -> Resolution:
        """From the setting of the contract: mW, and 1e-6 p.u. squared."""
        return Resolution(power_milliwatt / 1e6, voltage_millionths / 1e6)

    @staticmethod
    def fitting(community: CommunityDay) -> Resolution:
        """Half a watt, or less where no household takes or gives so much that half a watt is little to it."""
        most = max(most_kw(home) for home in community.households)
        milliwatt = max(min(round(Resolution.power_kw * 1e6), math.ceil(most * 1e6 / _FINEST_PARTS)), 1)
        return Resolution(milliwatt / 1e6)

    def carrying(self, community: CommunityDay) -> Resolution:
        """The same, or as much coarser as the powers of a community's households need.

        A bid is as large as what a household takes or gives at most, and has 15 bits; on its way to agreement it may be
        larger, so what is coarsened gets a margin. A flow has 19 bits, and is at most all of them together.

        Raises:
            InputError: a household is too large for any resolution.
        """
        most = {home.name: most_kw(home) for home in community.households}
        name, largest = max(most.items(), key=lambda item: item[1])
        needed = max(largest / MOST_BID, sum(most.values()) / FLOW_LIMIT)
        if needed <= self.power_kw:
            return self
        units = math.ceil(COARSE_MARGIN * needed / self.power_kw)
        coarser = replace(self, power_kw=self.power_kw * units)
        if coarser.on_chain()[0] > MOST_MILLIWATT:
            raise InputError(
                f"'{name}' takes or gives up to {largest:,.6g} kW, all together {sum(most.values()):,.6g} kW, more "
                "than fits into the chain's integers at any resolution: correct its load, PV or devices"
            )
        return coarser

    def on_chain(self) -> tuple[int, int]:
        return round(self.power_kw * 1e6), round(self.voltage * 1e6)

    def of(self, kind: Kind) -> float:
        return self.voltage if kind is Kind.V else self.power_kw


def most_kw(home: Household) -> float:
    """What a household may take or give, kW or kvar."""
    loads = max(float(home.load_kw.max()), float(np.abs(home.load_kvar).max()))
    return max(loads, float(home.pv_kw.max()), home.pv_kwp) + most_of_devices_kw(home)


def most_of_devices_kw(home: Household) -> float:
    """What its devices but the panels may take or give, kW."""
    return sum(max(float(getattr(device, name, 0.0)) for name in POWERS) for device in home.devices)


@dataclass(frozen=True)
class Penalties:
    """rho and phi of theta, currency/kW^2, exactly as all nodes read them from the chain.

    rho is the community's scale kappa_mean dt / p, p being the RMS of the households' baseline net power; every class
    of coupling variable takes a fixed multiple of it, so that one number configures all nodes. phi follows what a trade
    can gain, import less feed-in: prices end between the two.
    """

    rho: float
    phi: float

    @staticmethod
    def of_community(community: CommunityDay, baseline_net_kw: Array) -> Penalties:
        """The rule. `baseline_net_kw`: net power of every household on its own, shape (n, T)."""
        prices, hours = community.prices, community.step_hours
        power = max(float(np.sqrt(np.mean(baseline_net_kw**2))), _LEAST_KW)
        worth = min(_TRADE * _margin(prices), _MOST_TRADE * prices.mean_import)
        penalties = Penalties(hours * prices.mean_import / power, hours * worth / power)
        return Penalties.from_chain(*penalties.on_chain())

    @property
    def pool(self) -> float:
        """On a household's trades of a step together."""
        return POOL * self.phi

    def on_chain(self) -> tuple[int, int]:
        return round(self.rho / PENALTY_UNIT), round(self.phi / PENALTY_UNIT)

    @staticmethod
    def from_chain(rho: int, phi: int) -> Penalties:
        return Penalties(rho * PENALTY_UNIT, phi * PENALTY_UNIT)

    def power_kw(self, view: NodeView) -> float:
        """p of the rule: kappa_mean dt / rho."""
        return view.prices.mean_import * view.step_hours / self.rho

    def of_blocks(self, view: NodeView) -> Array:
        """rho of every block of a node, in the star the most that it can be, shape (blocks,): currency/kW^2, for V
        currency/(p.u. squared)^2."""
        star = view.agreement is NetworkAgreement.DSO
        multiples = _STAR if star else _LINE
        result = []
        for block in blocks(view.node, view.parent, view.children, view.depth):
            if block.kind is Kind.V:
                assert view.feeder is not None
                result.append(self._voltage(view, view.feeder))
            else:
                result.append(multiples[block.kind] * self.rho)
        return np.array(result)

    def _voltage(self, view: NodeView, feeder: Feeder | PhaseFeeder) -> float:
        """0.18 kappa dt p / dv^2."""
        span = feeder.voltage_max_pu - feeder.voltage_min_pu
        return _VOLTAGE * self.rho * (self.power_kw(view) / span) ** 2


@dataclass(frozen=True)
class Tolerances:
    """When to stop: limits on the RMS residual per coupled scalar, W (for V in 2e-5 p.u. squared).

    What a residual leaves open costs a part of the bill. So in the star and without a network the limits on trades
    follow the bill, over what a kWh loses that is fed in and imported again. They are the lower, the more neighbours
    can do for each other, since there is more that may be off; and the more bids a household has in a step, since all
    of them may be off to the same side. Those on the network follow the power where there are trades, in G the bill;
    there they are the lower, too, the further voltages are beyond their limits without an agreement, and no larger than
    about twice what agreeing could gain. Tighter ones cost
    iterations; with these the implemented gap was below 0.1 % on all days of the shipped cases.
    """

    primal_grid_w: float
    dual_grid_w: float
    primal_trade_w: float
    dual_trade_w: float

    @staticmethod
    def of(views: Sequence[NodeView], baseline_net_kw: Array, resolution: Resolution = Resolution()) -> Tolerances:
        """The rule.

        Args:
            views: of all nodes of a contract.
            baseline_net_kw: net power of every household on its own, kW into the feeder, shape (n, T).
            resolution: of the chain, whose rounding no limit may be below.
        """
        view = views[0]
        least_w = _LEAST_W * resolution.power_kw / Resolution.power_kw
        if view.agreement is NetworkAgreement.NEIGHBOURS:
            # rho is small, copies of a flow stay some tens of W apart where that costs nothing.
            return Tolerances(100.0, 100.0, 1.0, 1.0)
        power_w = 1000 * float(np.sqrt(np.mean(baseline_net_kw**2)))
        bill_w = _bill_w(view, baseline_net_kw, power_w)
        local = max(_local(baseline_net_kw), _least_local(views))
        strain = _STRAIN * _strain(views, baseline_net_kw)
        if not view.scenario.has_contracts:
            together_w = _at_stake_w(view.prices, bill_w, power_w) / max(local, strain**2) ** (1 / 3)
            if view.prices.import_price.any():
                gain_w = max(_gain_w(views, baseline_net_kw), _LEAST_GAIN * bill_w)
                together_w = min(together_w, _OF_GAIN / _DUAL_TOGETHER * gain_w)
            least_w *= _LEAST_TOGETHER_W / _LEAST_W
            primal_w, dual_w = (factor * together_w for factor in (_PRIMAL_TOGETHER, _DUAL_TOGETHER))
            return Tolerances(max(primal_w, least_w), max(dual_w, least_w), 0.0, 0.0)
        bids = sum(view.bid_count for view in views) / baseline_net_kw.size  # of a household in a step
        trade_w = bill_w / local ** (1 / 3) / max(bids, _FEWEST_BIDS)
        primal_w, dual_w = (factor * trade_w for factor in (_PRIMAL_TRADE, _DUAL_TRADE))
        gain_w = _gain_at_import_w(views, baseline_net_kw, bill_w, min(bids, 1.0))
        kept_w = power_w / max(strain, 1.0) ** (2 / 3)
        primal_grid_w, dual_grid_w = _PRIMAL * kept_w, _DUAL * kept_w
        most_w = max(gain_w, least_w * _LEAST_TOGETHER_W / _LEAST_W)
        if dual_grid_w > most_w:
            primal_grid_w, dual_grid_w = most_w * _PRIMAL / _DUAL, most_w
        return Tolerances(primal_grid_w, dual_grid_w, max(primal_w, least_w), max(dual_w, least_w))

    @property
    def limits_w(self) -> tuple[float, float, float, float]:
        """For r_grid, s_grid, r_trade, s_trade."""
        return self.primal_grid_w, self.dual_grid_w, self.primal_trade_w, self.dual_trade_w

    def wider(self, factor: float) -> Tolerances:
        """Limits of so many times the size."""
        return Tolerances(*(factor * limit for limit in self.limits_w))

    def on_chain(self, resolution: Resolution) -> tuple[int, int, int, int]:
        """eps_p^g, eps_d^g, eps_p^t, eps_d^t of theta, 1/1000 resolution unit."""
        r_grid, s_grid, r_trade, s_trade = (round(w / resolution.power_kw) for w in self.limits_w)
        return r_grid, s_grid, r_trade, s_trade

    def hold(self, squares: Sequence[int], scalars: tuple[int, int], resolution: Resolution) -> bool:
        """The contract's test: whether four sums of squares, in resolution units squared, are within the limits.

        Args:
            squares: r_grid, s_grid, r_trade, s_trade.
            scalars: number of copies of the network, and of bids.
        """
        return within(self.on_chain(resolution), squares, scalars)


def within(limits: Sequence[int], squares: Sequence[int], scalars: tuple[int, int]) -> bool:
    """The contract's test, with the limits as theta has them, see `Tolerances.on_chain`."""
    counts = (scalars[0], scalars[0], scalars[1], scalars[1])
    return all(10**6 * s <= eps**2 * n for s, eps, n in zip(squares, limits, counts, strict=True))


def percent_of_limits(steps: int, left: int) -> int:
    """Within how many percent of the limits of a whole day the rest of it is agreed anew.

    What is agreed anew moves little, and leaves the less of the day's bill open the fewer steps are left. The rule kept
    what it leaves open within 0.23 % of that bill, mostly 0.1, on the shipped days that it was measured on.
    """
    return round(100 * _OPEN * math.sqrt(steps / left))


def _margin(prices: Prices) -> float:
    """What a kWh gains that is not fed in and imported again, currency/kWh, on average over the steps at which it gains
    something; at least a fiftieth of the import price."""
    gains = prices.margin
    gained = float(np.mean(gains[gains > 0])) if (gains > 0).any() else 0.0
    return max(gained, _LEAST_MARGIN * prices.mean_import)


def _bill_w(view: NodeView, baseline_net_kw: Array, power_w: float) -> float:
    """What households pay on their own over what a kWh loses that is fed in and imported again, W a household.

    The first is at least what a tenth of the power costs, for neighbours who hardly pay; the second a tenth of the
    import price, where feeding in is paid like import.
    """
    prices = view.prices
    if not prices.import_price.any():
        return _LEAST_BILL * power_w
    price = prices.mean_import
    imported, fed_in = np.maximum(-baseline_net_kw, 0.0), np.maximum(baseline_net_kw, 0.0)
    paid = 1000 * float(np.mean(imported * prices.import_price - fed_in * prices.feed_in_price))
    return max(paid, _LEAST_BILL * price * power_w) / _lost(prices)


def _lost(prices: Prices) -> float:
    """What a kWh loses that is fed in and imported again, currency/kWh; at least a tenth of the import price."""
    return max(_margin(prices), _LEAST_LOSS * prices.mean_import)


def _at_stake_w(prices: Prices, bill_w: float, power_w: float) -> float:
    """The bill in G. Voltages want to be kept whatever a tariff makes of it, so it counts as twice the power at most;
    less where agreeing can gain little, where what is lost is lost altogether, and where the bill is small beside the
    power, a difference of what is imported and what is fed in. Where nothing is paid, voltages are all there is.
    """
    if not prices.import_price.any():
        return 2 * power_w
    bill_w *= min(1.0, bill_w / (_USUAL_BILL * power_w)) if power_w else 1.0
    gains = _margin(prices) / prices.mean_import  # half of the import price in an ordinary tariff
    return min(1.0, _USUAL_GAIN / gains) * min(bill_w, 2 * min(1.0, gains / _USUAL_GAIN) * power_w)


def _local(baseline_net_kw: Array) -> float:
    """Which part of what households import on their own neighbours could give, 0 to 1: what others feed in at the same
    step, and at least half of what is fed in all day, since cars and batteries can wait for it.
    """
    imported = np.maximum(-baseline_net_kw, 0.0).sum(axis=0)
    fed_in = np.maximum(baseline_net_kw, 0.0).sum(axis=0)
    given = max(float(np.minimum(imported, fed_in).sum()), float(fed_in.sum()) / 2)
    return min(given / float(imported.sum()), 1.0) if imported.any() else 0.0


def _least_local(views: Sequence[NodeView]) -> float:
    """Where nobody has panels, nobody feeds in alone; but batteries that are too large for their own homes could."""
    homes = [view.household for view in views if view.household is not None]
    idle = any(home.having(Battery) for home in homes) and not any(home.is_prosumer for home in homes)
    return _LEAST_LOCAL_OF_BATTERIES if idle else _LEAST_LOCAL


def _gain_at_import_w(views: Sequence[NodeView], baseline_net_kw: Array, bill_w: float, traded: float) -> float:
    """About what agreeing could gain in TG, W a household that need not be imported. Where hardly anybody can trade,
    that is little more than half of the losses; at least what counts as a gain.

    Args:
        bill_w: see `_bill_w`.
        traded: which part of what neighbours could give has bids.
    """
    prices = views[0].prices
    if not prices.import_price.any():
        return math.inf
    gain_w = _gain_w(views, baseline_net_kw, traded) * _margin(prices)
    return max(gain_w, _LEAST_GAIN_AT_IMPORT * bill_w * _lost(prices)) / prices.mean_import


def _gain_w(views: Sequence[NodeView], baseline_net_kw: Array, traded: float = 1.0) -> float:
    """About what agreeing could gain, W a household that need not be fed in and imported again: what neighbours could
    give, or that part of it, and half of the losses at their price. Infinite where nobody knows the lines.

    Losses without an agreement are what is fed in times how far the voltage rises there.
    """
    known = _lines_of(views)
    if known is None:
        return math.inf
    feeder, drawn_kvar = known
    prices = views[0].prices
    nothing = np.zeros_like(baseline_net_kw)
    rise = _lossless(feeder, baseline_net_kw, -drawn_kvar) - _lossless(feeder, nothing, nothing)
    power = baseline_net_kw
    if isinstance(feeder, PhaseFeeder):
        power = reduced_of(feeder).to_connections @ baseline_net_kw
    losses = max(float(np.sum(power * rise[: len(power)])) / baseline_net_kw.size, 0.0)  # kW a household
    given = traded * _local(baseline_net_kw) * float(np.mean(np.maximum(-baseline_net_kw, 0.0)))
    return 1000 * (given + _LOSSES_AVOIDED * losses * prices.mean_import / _margin(prices))


def _lines_of(views: Sequence[NodeView]) -> tuple[Feeder | PhaseFeeder, Array] | None:
    """The feeder, of whoever knows it, and what the homes draw, kvar, (n, T). None where nobody does, and where the
    views are of several feeders (`levels`), none of which has all the homes."""
    feeders = {id(view.feeder): view.feeder for view in views if view.feeder is not None and view.feeder.lines}
    if len(feeders) != 1:
        return None
    (feeder,) = feeders.values()
    return feeder, np.array([view.household.load_kvar for view in views if view.household is not None])


def _strain(views: Sequence[NodeView], baseline_net_kw: Array) -> float:
    """How far voltages are beyond their limits if every household does what is best for it alone: that of the worst
    node, on average over the steps, as a part of half the band that the limits leave. 0 where nobody knows the lines.

    By the power flow without losses (LinDistFlow), which has a solution whatever the injections.
    """
    known = _lines_of(views)
    if known is None:
        return 0.0
    feeder, drawn_kvar = known
    voltage = _lossless(feeder, baseline_net_kw, -drawn_kvar)
    beyond = np.maximum(feeder.voltage_min_pu - voltage, voltage - feeder.voltage_max_pu).max(axis=0)
    half_band = (feeder.voltage_max_pu - feeder.voltage_min_pu) / 2
    return float(np.mean(np.maximum(beyond, 0.0))) / half_band


def _lossless(feeder: Feeder | PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> Array:
    """Voltages of all homes, on a street of all their phases, p.u., by a power flow without losses."""
    if isinstance(feeder, PhaseFeeder):
        return lossless_pu(feeder, injection_kw, injection_kvar)
    paths = np.eye(len(feeder.lines))  # row k: the lines from node k + 1 to the grid connection
    for line in sorted(feeder.lines, key=lambda line: feeder.depth[line.node]):
        if line.parent != GRID_CONNECTION:
            paths[line.node - 1] += paths[line.parent - 1]
    resistance, reactance = feeder.resistance_pu()[:, None], feeder.reactance_pu()[:, None]
    homes = paths[: len(injection_kw)].T  # junctions inject nothing
    flows = resistance * (homes @ injection_kw) + reactance * (homes @ injection_kvar)
    voltage: Array = np.sqrt(np.maximum(1 + 2 * (paths @ flows) / feeder.base_kva, 0.0))
    return voltage


@dataclass(frozen=True)
class Balancing:
    """How the penalty of the star follows the residuals of a household at a step: it doubles where the wish stays away
    from an answer that hardly moves, since a limit binds there, and halves where it is the other way round.

    Residuals are averages of two iterations. Where node 0 looks for one price for all, the answers swing to and fro
    from one iteration to the next while the price crawls; without the average the swing would hide the crawl.

    With trades, who sells at a step at which feeding in is worth next to nothing curtails for nothing: its wish follows
    any answer, and both drift to where losses are least by steps as short as the penalty is large. So there it starts
    much lower; over-relaxation, which keeps a drifting answer ahead of the wish, does not count as their difference;
    and what an answer moves counts the more, the less the price between the two is beside that of energy.

    Attributes:
        least: of the penalty, as a fraction of what `Penalties.of_blocks` gives, (T,); it starts there.
        free: at which steps curtailing costs next to nothing, (T,).
    """

    least: Array
    free: Mask
    most: float = 1.0
    factor: float = 2.0
    apart: float = 5.0  # how many times one residual exceeds the other
    smallest: float = 4.0  # a residual below it is let alone, resolution units
    least_price: float = 0.1  # of that of energy: a smaller one between wish and answer counts as much

    @staticmethod
    def of(view: NodeView) -> Balancing:
        """In G the penalty alone holds a household back, which pays nothing itself; with trades it starts lower."""
        if not view.scenario.has_contracts:
            return Balancing(np.full(view.steps, 0.25), np.zeros(view.steps, dtype=bool))
        free = np.abs(view.prices.feed_in_price) <= _WORTH_NOTHING * view.prices.mean_import
        return Balancing(np.where(free, 2.0**-7, 0.125), free)

    def weight(self, price: Array) -> Array:
        """How much more a change of an answer counts, at the price between wish and answer, of that of energy."""
        return np.where(self.free, 1 / np.clip(np.abs(price), self.least_price, 1.0), 1.0)


def resumed_penalty(iteration: int) -> float:
    """Times phi in an iteration of a negotiation that goes on from another that stood.

    What has become otherwise since asks for energy at other steps, and a household moves it the further in an
    iteration, the less its penalty is. Where that is done, partners who are indifferent come to the same the sooner,
    the larger it is. One in between crept along where much was to be moved, and stopped on the way.
    """
    return min(FIRST_RESUMED * 2.0 ** ((iteration - 1) // DOUBLED_EVERY), MOST_RESUMED)


def relaxation_at(
    iteration: int, squares: int, scalars: int, of_new_trades: bool = False, resumed: bool = False
) -> float:
    """alpha of an iteration: over-relaxation until little more than rounding is left, of trades more in the beginning.

    Where a household is indifferent, over-relaxation keeps a mismatch of four units going round for ever. Few bids may
    all do so at a time: then it ends late, but it ends. The rule takes public figures only, so alpha is the same at all
    nodes.

    Args:
        squares: sum of the squared primal residuals of all nodes in the newest iteration whose sum is public,
            resolution units squared.
        scalars: number of what was squared.
        of_new_trades: alpha of trades that begin with nothing, not of the network.
        resumed: alpha in a negotiation that goes on from another.
    """
    rounding = iteration > 2 and squares <= ROUNDING_UNITS**2 * scalars
    if rounding or iteration > LAST_OVER_RELAXED:
        return 1.0
    if resumed:
        return RESUMED_OVER_RELAXATION
    return EARLY_OVER_RELAXATION if of_new_trades and iteration <= LAST_EARLY else OVER_RELAXATION
