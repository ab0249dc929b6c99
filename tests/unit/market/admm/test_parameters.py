"""The parameter rule and the stopping test, against floats calculated beside them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Prices
from gridpact.devices.battery import Battery
from gridpact.devices.pv import Panels
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.errors import InputError
from gridpact.grid.powerflow import power_flow
from gridpact.limits import MOST_BID
from gridpact.market.admm.parameters import (
    OVER_RELAXATION,
    Penalties,
    Resolution,
    Tolerances,
    most_of_devices_kw,
    percent_of_limits,
    relaxation_at,
    resumed_penalty,
)
from gridpact.problem.blocks import Kind, blocks
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from unit.market.admm.helpers import view


def test_resolution_onChain() -> None:
    """0.5 W are 500 mW; 1e-5 p.u. squared are 10 millionths."""
    assert Resolution().on_chain() == (500, 10)
    assert Resolution.from_chain(500, 10) == Resolution()
    assert Resolution(0.001, 1e-4).of(Kind.V) == 1e-4
    assert Resolution(0.001, 1e-4).of(Kind.Q) == 0.001


def test_resolution_carriesATwoWayCar(tiny3: CommunityDay) -> None:
    """Which has a power of its own for each way: of 20 kW, 20 / 16.38 x 1.25 times half a watt."""
    car = TwoWayCar(40.0, 20.0, 3.0, 0.9, 0.9, 20.0, 0.0, 20.0, np.array([True] * 4), 1.0)
    ann = replace(tiny3.households[0], devices=(car,))
    assert most_of_devices_kw(ann) == 20.0
    day = replace(tiny3, households=(ann, *tiny3.households[1:]))
    assert Resolution().carrying(day).power_kw * MOST_BID >= 20.0


def test_penalties_ofTiny3(tiny3: CommunityDay) -> None:
    """kappa_mean dt / p = 0.30 x 6 / p, with p the RMS of the baseline net power, here 2 kW for all."""
    penalties = Penalties.of_community(tiny3, np.array([[2.0] * 4, [-2.0] * 4, [2.0] * 4]))
    assert penalties.rho == pytest.approx(0.30 * 6 / 2, abs=1e-9)  # a multiple of 1e-9 on the chain
    assert Penalties.from_chain(*penalties.on_chain()) == penalties  # all nodes read the same floats


@pytest.mark.parametrize(
    ("share", "part"), [(0.0, 0.54), (0.5, 0.54), (0.75, 0.27), (0.97, 0.0324), (1.0, 0.0216), (1.2, 0.0216)]
)
def test_phi_followsWhatATradeGains(tiny3: CommunityDay, share: float, part: float) -> None:
    """1.08 times import less feed-in, at most 0.54 times the import price, at least for a margin of a fiftieth."""
    day = replace(tiny3, prices=replace(tiny3.prices, feed_in_share=share))
    penalties = Penalties.of_community(day, np.full((3, 4), 2.0))
    assert penalties.phi == pytest.approx(part * 0.30 * 6 / 2, abs=1e-9)
    assert penalties.rho == pytest.approx(0.30 * 6 / 2, abs=1e-9)


def test_phi_countsTheStepsAtWhichATradeGains(tiny3: CommunityDay) -> None:
    """Feed-in is as negative as the import price in two of four steps: what is left has its margin of 0.5 x 0.40."""
    day = replace(tiny3, prices=Prices(np.array([-0.20, 0.40, -0.20, 0.40])))
    assert Penalties.of_community(day, np.full((3, 4), 2.0)).phi == pytest.approx(0.54 * 0.30 * 6 / 2, abs=1e-9)


def test_batteriesWithoutPanels_couldServeNeighbours(tiny3: CommunityDay) -> None:
    """The limits in G fall to half, (0.004 / 0.032)^(1/3), where nobody has panels and somebody a battery."""
    bare = tuple(replace(home, devices=home.without(Panels)) for home in tiny3.households)
    assert any(home.having(Battery) for home in bare)
    none = tuple(replace(home, devices=home.without(Battery)) for home in bare)
    limits = []
    for homes in (bare, none):
        views = node_views(replace(tiny3, households=homes), Scenario.G, NetworkAgreement.DSO)
        views = [replace(one, feeder=None) for one in views]  # what losses are worth does not hide it
        limits.append(Tolerances.of(views, np.full((3, 4), -2.0)).limits_w[:2])
    assert limits[0] == pytest.approx([limit / 2 for limit in limits[1]], rel=1e-9)


def test_penalties_withoutPriceOrPower_areFigures(tiny3: CommunityDay) -> None:
    """A thousandth a kWh, which losses cost at least; 10 W."""
    free = replace(tiny3, prices=Prices(np.zeros(4)))
    assert Penalties.of_community(free, np.full((3, 4), 2.0)).rho == pytest.approx(0.001 * 6 / 2, abs=1e-9)
    assert Penalties.of_community(tiny3, np.zeros((3, 4))).rho == pytest.approx(0.30 * 6 / 0.01, rel=1e-9)
    assert Penalties.of_community(free, np.zeros((3, 4))).phi > 0


def test_penalties_ofBlocks_areOneFigureTimesTheirKind() -> None:
    penalties = Penalties(rho=0.5, phi=0.3)
    star = view(1)
    assert penalties.of_blocks(star).shape == (2,)
    neighbour = view(2, agreement=NetworkAgreement.NEIGHBOURS, parent=1, children=(3,), depth=2)
    kinds = [b.kind for b in blocks(2, 1, (3,), 2)]
    rho = penalties.of_blocks(neighbour)
    assert kinds == [Kind.P, Kind.Q, Kind.V, Kind.P, Kind.Q, Kind.V]
    assert rho[0] == rho[1] == rho[3] == rho[4]
    # 0.18 kappa dt p / dv^2 with kappa_mean 0.3, dt 0.25, dv 0.1 and p = kappa dt / rho = 0.15 kW
    assert rho[2] == pytest.approx(0.18 * 0.3 * 0.25 * 0.15 / 0.1**2, rel=1e-12)
    assert rho[5] == rho[2]
    assert penalties.of_blocks(view(5, parent=5, depth=0)).shape == (0,)


@pytest.mark.parametrize("seed", range(200))
def test_tolerances_judgeLikeAFloat(seed: int) -> None:
    """RMS in W against the limits in W; random sums around the limit, the exact limit left to the next test."""
    random = np.random.default_rng(seed)
    resolution, tolerances = Resolution(), Tolerances(2.0, 2.0, 1.0, 1.0)
    scalars = (int(random.integers(1, 5000)), int(random.integers(1, 5000)))
    counts = (scalars[0], scalars[0], scalars[1], scalars[1])
    limits = (2.0, 2.0, 1.0, 1.0)
    unit_w = 1000 * resolution.power_kw
    squares = [
        int(n * (limit / unit_w) ** 2 * random.uniform(0.5, 1.1)) for n, limit in zip(counts, limits, strict=True)
    ]
    rms = [unit_w * math.sqrt(s / n) for s, n in zip(squares, counts, strict=True)]
    within = all(r <= limit for r, limit in zip(rms, limits, strict=True))
    assert tolerances.hold(squares, scalars, resolution) == within


def test_tolerances_includeTheLimit() -> None:
    """2 W are 4 units of 0.5 W: 100 copies may have 1600 units squared, not one more. Nothing to agree on holds."""
    tolerances = Tolerances(2.0, 2.0, 1.0, 1.0)
    assert tolerances.on_chain(Resolution()) == (4000, 4000, 2000, 2000)
    assert tolerances.hold((1600, 1600, 0, 0), (100, 0), Resolution())
    assert not tolerances.hold((1601, 1600, 0, 0), (100, 0), Resolution())
    assert not tolerances.hold((1600, 1601, 0, 0), (100, 0), Resolution())
    assert tolerances.hold((0, 0, 400, 400), (0, 100), Resolution())
    assert not tolerances.hold((0, 0, 400, 401), (0, 100), Resolution())
    assert tolerances.hold((0, 0, 0, 0), (0, 0), Resolution())


@pytest.mark.parametrize("steps", [1, 4, 24, 96, 192])
def test_percentOfLimits_growsAsStepsGoBy_andAContractTakesIt(steps: int) -> None:
    percents = [percent_of_limits(steps, left) for left in range(steps, 0, -1)]
    assert percents == sorted(percents)
    assert percents[0] == 400
    assert percents[-1] <= 10_000  # MOST_PERCENT of Clerk.sol


@pytest.mark.parametrize(
    ("iteration", "squares", "alpha"),
    [(1, 0, OVER_RELAXATION), (2, 0, OVER_RELAXATION), (3, 32, 1.0), (3, 33, OVER_RELAXATION), (50, 0, 1.0),
     (100, 10**9, OVER_RELAXATION), (101, 10**9, 1.0)],
)  # fmt: skip
def test_relaxation_endsAtRounding(iteration: int, squares: int, alpha: float) -> None:
    """An RMS of 2 units over 8 scalars is a sum of 32. Residuals of iteration 1 are public when 2 is closed: before
    the third there is none, and its zero means nothing."""
    assert relaxation_at(iteration, squares, 8) == alpha


@pytest.mark.parametrize(
    ("iteration", "squares", "alpha"),
    [(1, 0, 1.8), (2, 0, 1.8), (3, 32, 1.0), (3, 33, 1.8), (10, 33, 1.8), (11, 33, 1.6), (101, 33, 1.0)],
)
def test_relaxationOfTrades_isStrongerInTheBeginning(iteration: int, squares: int, alpha: float) -> None:
    assert relaxation_at(iteration, squares, 8, of_new_trades=True) == alpha


@pytest.mark.parametrize(("iteration", "squares", "alpha"), [(1, 0, 1.4), (3, 32, 1.0), (3, 33, 1.4), (101, 33, 1.0)])
def test_relaxation_isWeaker_whereANegotiationGoesOn(iteration: int, squares: int, alpha: float) -> None:
    for of_new_trades in (False, True):
        assert relaxation_at(iteration, squares, 8, of_new_trades, resumed=True) == alpha


def test_penaltyOnTrades_rises_whereANegotiationGoesOn() -> None:
    """From half to eight times what it is in another, doubled every other iteration, by a power of two: what two nodes
    multiply alike is alike."""
    assert [resumed_penalty(k) for k in range(1, 12)] == [0.5, 0.5, 1, 1, 2, 2, 4, 4, 8, 8, 8]


LEAST_LOCAL = 0.004 ** (1 / 3)
"""What limits are divided by where nobody feeds in."""


def test_tolerances_followPowerAndBill() -> None:
    """Two households draw 1 kW at a constant price: the power is 1 kW, and their bill that of 2 kW, at half the price,
    which is what feeding in loses. With four bids a step, a quarter of it comes on one; who feeds in 1 kW is paid, so a
    tenth of the power counts."""
    views = [view(node, 4, price=[0.3] * 4, partners=dict.fromkeys((3, 4, 5, 6), range(4))) for node in (1, 2)]
    drawn = np.full((2, 4), -1.0)
    trades = np.array([3.7 * 2 / 4, 7.4 * 2 / 4]) / LEAST_LOCAL
    assert Tolerances.of(views, drawn).limits_w == pytest.approx((1.1, 4.4, *trades))
    assert Tolerances.of(views, drawn).on_chain(Resolution()) == (2200, 8800, *(round(2000 * w) for w in trades))
    assert Tolerances.of(views, 3 * drawn).limits_w == pytest.approx((3.3, 13.2, *(3 * trades)))
    assert Tolerances.of(views, -drawn).limits_w == pytest.approx((1.1, 4.4, *(trades / 10)))


@pytest.mark.parametrize(
    ("fed_in_kw", "local"),
    [
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.5, 0.5, 0.0, 0.0], 0.25),
        ([2.0, 2.0, 0.0, 0.0], 0.5),  # two of four kWh at the same step, and half of four
        ([3.0, 3.0, 0.0, 0.0], 0.75),  # half of six, where a car or a battery can wait for it
        ([9.0, 0.0, 0.0, 0.0], 1.0),
        ([0.0, 0.0, 0.0, 0.0], 0.004),
    ],
)
def test_tolerances_areLowerWhereNeighboursCanTrade(fed_in_kw: list[float], local: float) -> None:
    """One draws 1 kW in four steps, the other feeds in, where that is worth nothing: what they pay stays the same."""
    views = [view(node, 4, price=[0.3] * 4, partners=dict.fromkeys((3, 4, 5, 6), range(4))) for node in (1, 2)]
    views = [replace(one, prices=replace(one.prices, feed_in_share=0.0)) for one in views]
    limits = Tolerances.of(views, np.array([[-1.0] * 4, fed_in_kw]))
    assert limits.primal_trade_w == pytest.approx(3.7 * 0.5 / 4 / local ** (1 / 3))


@pytest.mark.parametrize(("share", "bill_kw"), [(0.0, 1.0), (0.5, 2.0), (0.75, 4.0), (0.9, 10.0), (1.0, 10.0)])
def test_tolerances_followWhatFeedingInLoses(share: float, bill_kw: float) -> None:
    views = [view(node, 4, price=[0.3] * 4, partners=dict.fromkeys((3, 4, 5, 6), range(4))) for node in (1, 2)]
    views = [replace(one, prices=replace(one.prices, feed_in_share=share)) for one in views]
    primal_w = Tolerances.of(views, np.full((2, 4), -1.0)).primal_trade_w
    assert primal_w == pytest.approx(3.7 * bill_kw / 4 / LEAST_LOCAL)


@pytest.mark.parametrize(("share", "bill_kw"), [(0.0, 0.5), (0.5, 2.0), (0.75, 1.0), (0.9, 0.4)])
def test_tolerances_inG(share: float, bill_kw: float) -> None:
    """They follow the bill, up to that of twice the power; they are lower where a kWh gains little or is lost
    altogether, and where neighbours can give each other power."""
    views = [view(node, 4, scenario=Scenario.G, price=[0.3] * 4) for node in (1, 2)]
    views = [replace(one, prices=replace(one.prices, feed_in_share=share)) for one in views]
    limits_w = Tolerances.of(views, np.full((2, 4), -1.0)).limits_w
    bill_w = 1000 * bill_kw / LEAST_LOCAL
    assert limits_w == pytest.approx((0.00046 * bill_w, 0.00345 * bill_w, 0, 0))
    if share == 0.0:
        shared_w = Tolerances.of(views, np.array([[-1.0] * 4, [0.5, 0.5, 0.0, 0.0]])).limits_w
        assert shared_w == pytest.approx((0.115 / 0.25 ** (1 / 3), 0.8625 / 0.25 ** (1 / 3), 0, 0))


def test_tolerances_inG_whereNothingIsPaid_followThePower() -> None:
    """There is no bill: voltages are all that there is to keep, to what they are kept to elsewhere at most."""
    views = [view(node, 4, scenario=Scenario.G, price=[0.0] * 4) for node in (1, 2)]
    limits_w = Tolerances.of(views, np.full((2, 4), -1.0)).limits_w
    assert limits_w == pytest.approx((0.00046 * 2000 / LEAST_LOCAL, 0.00345 * 2000 / LEAST_LOCAL, 0, 0))


@pytest.mark.parametrize("net_kw", [-12.0, -18.0])
def test_tolerances_inG_followWhatAgreeingCouldGain(tiny3: CommunityDay, net_kw: float) -> None:
    """Where nobody feeds in, that is half of the losses, here of the exact power flow, a kWh worth twice the margin."""
    views = node_views(tiny3, Scenario.G, NetworkAgreement.DSO)
    drawn = np.full((3, 4), net_kw)
    flow = power_flow(tiny3.feeder, drawn, -np.array([home.load_kvar for home in tiny3.households]))
    gain_w = 1000 * 0.5 * flow.losses_kw.mean() / 3 * 2
    primal_w, dual_w = Tolerances.of(views, drawn).limits_w[:2]
    assert dual_w == pytest.approx(2.4 * gain_w, rel=0.1)
    assert primal_w / dual_w == pytest.approx(0.00046 / 0.00345)
    junction = replace(tiny3.feeder, lines=(*tiny3.feeder.lines, replace(tiny3.feeder.lines[-1], node=4, parent=3)))
    beside = [replace(one, feeder=junction) if one.feeder is not None else one for one in views]
    assert Tolerances.of(beside, drawn).dual_grid_w == pytest.approx(dual_w)


def test_tolerances_inTG_followLossesWhereNobodyCanTrade(tiny3: CommunityDay) -> None:
    """Half of them, here of the exact power flow, are all that agreeing can gain; what is fed in counts for nothing.
    Where all can trade, it counts, and the limits are those of the power."""
    net = np.array([[0.7] * 4, [0.7] * 4, [-1.5] * 4])
    flow = power_flow(tiny3.feeder, net, -np.array([home.load_kvar for home in tiny3.households]))
    power_w = 1000 * np.sqrt(np.mean(net**2))
    views = node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)
    primal_w, dual_w = Tolerances.of([replace(one, partners=()) for one in views], net).limits_w[:2]
    paid_w = (1.5 - 1.4 / 2) / 3 * 1000  # a household, over the import price
    assert dual_w == pytest.approx(max(500 * flow.losses_kw.mean() / 3, 0.006 * paid_w), rel=0.1)
    assert dual_w < 0.0044 * power_w
    assert primal_w / dual_w == pytest.approx(0.0011 / 0.0044)
    assert Tolerances.of(views, net).limits_w[:2] == pytest.approx((0.0011 * power_w, 0.0044 * power_w))


@pytest.mark.parametrize("fed_in_kw", [1.2, 2.4])
def test_tolerances_inG_ofABillThatIsADifference(fed_in_kw: float) -> None:
    """Below a third of the power they fall like the square of the bill, not like the bill."""
    views = [view(node, 4, scenario=Scenario.G, price=[0.3] * 4) for node in (1, 2)]
    net_kw = np.array([[-1.0, -1.0, fed_in_kw, 0.0]] * 2)
    power_w, bill_w = 1000 * np.sqrt(np.mean(net_kw**2)), 1000 * (2 - fed_in_kw / 2) / 4 / 0.5
    local = min(fed_in_kw / 2 / 2, 1.0)
    counted_w = bill_w * min(3 * bill_w / power_w, 1.0)
    assert Tolerances.of(views, net_kw).dual_grid_w == pytest.approx(0.00345 * counted_w / local ** (1 / 3))


@pytest.mark.parametrize(("largest_kw", "milliwatt"), [(20.0, 500), (2.0, 500), (0.4, 100), (0.0001, 1)])
def test_resolution_isFinerWhereHouseholdsAreSmall(tiny3: CommunityDay, largest_kw: float, milliwatt: int) -> None:
    """A four-thousandth of what the largest takes; half a watt at most, which the shipped cases have."""
    load = np.full(tiny3.steps, largest_kw)
    homes = tuple(replace(home, load_kw=load, load_kvar=0 * load, devices=()) for home in tiny3.households)
    fitting = Resolution.fitting(replace(tiny3, households=homes))
    assert fitting.on_chain()[0] == milliwatt
    assert Resolution.fitting(tiny3) == Resolution()


@pytest.mark.parametrize("net_kw", [-120.0, -90.0, -40.0, 40.0, 150.0])
def test_tolerances_inG_areLowerWhereVoltagesAreBeyondLimits(tiny3: CommunityDay, net_kw: float) -> None:
    """At two of four steps. Against the exact power flow by OpenDSS, from which the one without losses is not far."""
    views = node_views(tiny3, Scenario.G, NetworkAgreement.DSO)
    drawn = np.repeat([[net_kw, net_kw, -0.1, -0.1]], 3, axis=0)
    blind = Tolerances.of([replace(one, feeder=None) for one in views], drawn)
    seen = Tolerances.of(views, drawn)
    feeder = tiny3.feeder
    flow = power_flow(feeder, drawn, -np.array([home.load_kvar for home in tiny3.households]))
    beyond = np.maximum(feeder.voltage_min_pu - flow.voltage_pu, flow.voltage_pu - feeder.voltage_max_pu).max(axis=0)
    strain = np.maximum(beyond, 0.0).mean() / 0.05
    local = 1.0 if net_kw > 0 else 0.004  # half of what is fed in is more than all that is drawn
    by = (max(local, (7 * strain) ** 2) / local) ** (1 / 3)
    assert blind.primal_grid_w / seen.primal_grid_w == pytest.approx(by, rel=0.1)
    assert blind.dual_grid_w / seen.dual_grid_w == pytest.approx(by, rel=0.1)


def test_tolerances_withFewBidsOrNone() -> None:
    drawn = np.full((2, 4), -1.0)
    now_and_then = [view(node, 4, price=[0.3] * 4, partners={3 - node: [0]}) for node in (1, 2)]
    assert Tolerances.of(now_and_then, drawn).limits_w == pytest.approx(
        (1.1, 4.4, 3.7 * 2 / 3 / LEAST_LOCAL, 7.4 * 2 / 3 / LEAST_LOCAL)
    )
    many = [view(node, 4, price=[0.3] * 4, partners=dict.fromkeys(range(3, 63), range(4))) for node in (1, 2)]
    weak = Tolerances.of(many, drawn / 4)
    assert weak.limits_w == pytest.approx((0.275, 1.1, 0.25, 7.4 * 0.5 / 60 / LEAST_LOCAL))  # as rounding leaves 0.21 W
    free = [view(node, 4, price=[0.0] * 4) for node in (1, 2)]
    trades = np.array([3.7 * 0.1 / 3, 7.4 * 0.1 / 3]) / LEAST_LOCAL
    assert Tolerances.of(free, drawn).limits_w == pytest.approx((1.1, 4.4, *trades))
    neighbours = [view(node, 4, agreement=NetworkAgreement.NEIGHBOURS) for node in (1, 2)]
    assert Tolerances.of(neighbours, drawn).limits_w == (100.0, 100.0, 1.0, 1.0)


# ---------------------------------------------------------------------- what powers are counted in


def test_resolution_carriesTheLargestHousehold(tiny3: CommunityDay) -> None:
    """A bid has 15 bits: what a household takes or gives fits, with a margin; small communities stay as they are."""
    assert Resolution().carrying(tiny3) == Resolution()
    ann = replace(tiny3.households[0], load_kw=np.array([1.0, 60.0, 1.0, 1.0]))
    school = replace(tiny3, households=(ann, *tiny3.households[1:]))
    coarser = Resolution().carrying(school)
    assert coarser.power_kw * MOST_BID >= 1.25 * 60
    assert coarser.power_kw / Resolution.power_kw == round(coarser.power_kw / Resolution.power_kw)
    assert coarser.carrying(school) == coarser
    assert Resolution(power_kw=0.01).carrying(school) == Resolution(power_kw=0.01)
    assert coarser.on_chain() == (round(1e6 * coarser.power_kw), 10)


def test_resolution_isRefusedBeyondAnyReason(tiny3: CommunityDay) -> None:
    ann = replace(tiny3.households[0], load_kw=np.full(4, 1e9))
    with pytest.raises(InputError, match=r"'ann' takes or gives up to 1e\+09 kW, .* correct its load"):
        Resolution().carrying(replace(tiny3, households=(ann, *tiny3.households[1:])))


def test_limits_areNotBelowTheRounding(tiny3: CommunityDay) -> None:
    views = node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)
    little = np.full((3, 4), -1e-6)
    assert Tolerances.of(views, little).primal_trade_w == 0.25
    assert Tolerances.of(views, little, Resolution(power_kw=0.002)).primal_trade_w == 1.0
