"""Prices and trades of two partners, by hand. That both hold the same bits: `tests/property`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.community.model import Household, PriceRange, Prices
from gridpact.devices.pv import Panels
from gridpact.market.admm.assembly import Bids
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import OVER_RELAXATION, Penalties, Resolution, Tolerances
from gridpact.market.admm.reach import Bounds
from gridpact.market.admm.register import End
from gridpact.market.admm.trades import Trades, bid_steps
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView
from unit.market.admm.helpers import STEP_HOURS, view

PENALTIES, UNIT = Penalties(rho=0.4, phi=0.2), Resolution(power_kw=0.001)
BOTH = np.array([True, True])


def pair() -> tuple[Trades, Trades]:
    """Node 1 and node 2 in steps 0 and 2."""
    one, two = view(1, partners={2: (0, 2)}), view(2, partners={1: (0, 2)})
    return Trades(one, PENALTIES, UNIT), Trades(two, PENALTIES, UNIT)


def test_prices_startBetweenFeedInAndImport() -> None:
    seller, _ = pair()
    assert seller.price / STEP_HOURS == pytest.approx([0.75 * 0.1, 0.75 * 0.5], rel=1e-12)  # products of three numbers
    assert bid_steps(seller.view).tolist() == [0, 2]


def test_update_byHand() -> None:
    """1 offers 2.0 kW and 2 wants 1.0 kW in the first step; in the second both are at 0.5 kW.

    With alpha 1: z = (2.0 + 1.0) / 2 = 1.5 and xi falls by phi/2 x 1.0 = 0.1; the second: z = 0.5, xi stays.
    """
    seller, buyer = pair()
    before = seller.price.copy()
    seller.update(Bids(np.array([2000, 500]), np.array([-1000, -500]), BOTH), 1.0)
    assert seller.value == pytest.approx([1.5, 0.5], rel=1e-12)
    assert seller.price == pytest.approx(before - [0.1, 0.0], rel=1e-12)
    assert seller.agreed.tolist() == [3000, 1000]
    buyer.update(Bids(np.array([-1000, -500]), np.array([2000, 500]), BOTH), 1.0)
    assert buyer.value.tolist() == (-seller.value).tolist()
    assert buyer.price.tolist() == seller.price.tolist()


def test_price_rises_whereDemandExceeds() -> None:
    seller, _ = pair()
    before = seller.price.copy()
    seller.update(Bids(np.array([500, 2000]), np.array([-1000, -1000]), BOTH), OVER_RELAXATION)
    assert seller.price[0] > before[0]
    assert seller.price[1] < before[1]


def test_linearTerm_isThatOfTheAugmentedLagrangian() -> None:
    """-xi d + phi/2 (d - z)^2 = b d + phi/2 d^2 + constant with b = -xi - phi z."""
    seller, _ = pair()
    seller.update(Bids(np.array([2000, 500]), np.array([-1000, -700]), BOTH), OVER_RELAXATION)
    d = np.array([0.3, -1.7])
    lagrangian = -seller.price * d + 0.1 * (d - seller.value) ** 2
    assert lagrangian - 0.1 * seller.value**2 == pytest.approx(seller.linear() * d + 0.1 * d**2, rel=1e-12)


def test_rounding_isToTheNearest() -> None:
    seller, _ = pair()
    assert seller.to_integers(np.array([0.0014, -0.0016])).tolist() == [1, -2]


def test_absentPartner_leavesAllAsItWas() -> None:
    """2 speaks to nobody in the second iteration; whatever stands in its place, z, xi and the trade stay."""
    seller, _ = pair()
    seller.update(Bids(np.array([2000, 500]), np.array([-1000, -500]), BOTH), 1.0)
    value, price = seller.value.tolist(), seller.price.tolist()
    seller.update(Bids(np.array([1700, 300]), np.array([0, -200]), np.array([False, True])), OVER_RELAXATION)
    assert (seller.value[0], seller.price[0], seller.agreed[0]) == (value[0], price[0], 3000)
    assert seller.agreed[1] == 500
    assert seller.price[1] < price[1]


def test_statements_byHand_sameAtBothPartners() -> None:
    """1.5 kW and 0.5 kW as in the test above, over one step each; the lower node sells, so energy is positive. The
    first is at the feed-in price, below which the negotiation has left it."""
    seller, buyer = pair()
    seller.update(Bids(np.array([2000, 500]), np.array([-1000, -500]), BOTH), 1.0)
    buyer.update(Bids(np.array([-1000, -500]), np.array([2000, 500]), BOTH), 1.0)
    first = round(0.5 * 0.1 * 1e6)
    assert round((0.75 * 0.1 * STEP_HOURS - 0.1) / STEP_HOURS * 1e6) < first
    expected = [(0, round(1500 * STEP_HOURS), first), (2, round(500 * STEP_HOURS), round(0.75 * 0.5 * 1e6))]
    assert seller.statements() == {2: expected}
    assert buyer.statements() == {1: expected}


@pytest.mark.parametrize("apart", [True, False], ids=["another supplier's", "of its own supplier"])
def test_priceThatIsNotStated_isNotPlannedWith(apart: bool) -> None:
    """With a partner of another supplier; at most its own coefficient beyond, by which prices of an optimum can be."""
    own = view(1, partners={2: (0, 2)})
    partner = replace(own.partners[0], coefficient=np.array([0.01, 0.03]))
    own = replace(own, partners=(partner,))
    if apart:
        own = own.trading_within({2: PriceRange(np.full(3, 0.18), np.full(3, 0.2))})
    trades = Trades(own, PENALTIES, UNIT)
    trades.pool_price = np.array([0.05, 0.0, -0.07])
    for price, planned in (([0.0, 0.5], [0.17, 0.23]), ([0.5, 0.0], [0.21, 0.15]), ([0.205, 0.16], [0.205, 0.16])):
        trades.price = STEP_HOURS * np.array(price) + trades.pool_price[[0, 2]]
        seen = -trades.linear() - trades.pool_price[[0, 2]]
        assert seen / STEP_HOURS == pytest.approx(planned if apart else price)
        assert trades.paid_price / STEP_HOURS == pytest.approx(price)  # what both know alike stays


@pytest.mark.parametrize("crossing", [(True, True), (True, False), (False, False)])
def test_statements_areOfNobodyWithoutAPrice(crossing: tuple[bool, bool]) -> None:
    """Where no price suits both at any step of a pair, neither states what the other has bid; where one does, both
    state all of it, since a statement has to fit the bids. A step without one is at a price between the two tariffs."""
    low = np.array([0.3 if crossing[0] else 0.1, 0.0, 0.3 if crossing[1] else 0.1])
    stated = []
    for own, other, bids in ((1, 2, [1000, 1000]), (2, 1, [0, 0])):
        within = {other: PriceRange(low, np.full(3, 0.2))}
        trades = Trades(view(own, partners={other: (0, 2)}).trading_within(within), PENALTIES, UNIT)
        mine, theirs = (np.array(bids), np.array([1000, 1000]) - bids)
        trades.update(Bids(mine, theirs, BOTH), 1.0)
        stated.append(trades.statements().get(other, []))
    assert stated[0] == stated[1]
    assert [step for step, *_ in stated[0]] == ([] if all(crossing) else [0, 2])
    assert all(200_000 <= price <= 300_000 for step, _, price in stated[0] if crossing[step // 2])


@pytest.mark.parametrize(
    ("quarters", "energies"), [((-6, 2), (-2, 1)), ((-5, 1), (-1, 0)), ((7, -3), (2, -1)), ((0, -1), (0, 0))]
)
def test_statements_nearestWattHour_halvesAwayFromZero(quarters: tuple[int, int], energies: tuple[int, int]) -> None:
    """Trades in quarters of a watt-hour; an energy of zero is not stated."""
    one, _ = pair()
    one.agreed = np.array(quarters) * round(0.5 / STEP_HOURS)  # twice the trade, W
    assert {step: energy for step, energy, _ in one.statements().get(2, [])} == {
        step: energy for step, energy in zip((0, 2), energies, strict=True) if energy
    }
    assert one.recorded_kw == pytest.approx(np.array(energies) / (1000 * STEP_HOURS), rel=1e-12)


def test_balance_byHand() -> None:
    """Four households offer 2 kW more than is wanted in step 0: 0.5 kW each, and lambda rises by pool x 0.5, for all
    pairs of the step. This one sold 1.2 kW, 0.7 above the average."""
    seller, _ = pair()
    pool = 0.5 * PENALTIES.phi
    total, households = np.array([2000, 0, 0]), np.array([4, 0, 2])
    seller.balance(np.array([1200, 0, -300]), total, households, 1.0)
    assert seller.pool_price == pytest.approx([pool * 0.5, 0, 0], rel=1e-12)
    assert seller.pool_value == pytest.approx([0.7, 0, -0.3], rel=1e-12)
    assert seller.pool_linear() == pytest.approx([pool * (0.5 - 0.7), 0, pool * 0.3], rel=1e-12)
    seller.balance(None, total, households, OVER_RELAXATION)  # absent: the price is everybody's, the rest stays
    assert seller.pool_price == pytest.approx([pool * 0.5 * (1 + OVER_RELAXATION), 0, 0], rel=1e-12)
    assert seller.pool_value == pytest.approx([0.7, 0, -0.3], rel=1e-12)


def test_statements_haveThePriceOfThePool() -> None:
    """What is too much in a step is cheaper for both partners."""
    seller, buyer = pair()
    seller.update(Bids(np.array([2000, 500]), np.array([-1000, -500]), BOTH), 1.0)
    buyer.update(Bids(np.array([-1000, -500]), np.array([2000, 500]), BOTH), 1.0)
    before = seller.paid_price
    for trades in (seller, buyer):
        trades.balance(np.zeros(3, dtype=np.int64), np.array([1000, 0, 0]), np.array([2, 0, 0]), 1.0)
    assert seller.statements()[2] == buyer.statements()[1]
    assert before - seller.paid_price == pytest.approx([0.5 * PENALTIES.phi * 0.5, 0], rel=1e-12)
    low, high = 1e6 * seller.within.low, 1e6 * seller.within.high
    kept = np.clip(1e6 * seller.paid_price / STEP_HOURS, low, high)
    assert [entry[2] for entry in seller.statements()[2]] == np.rint(kept).tolist()


def test_whatASmallHomePassesOn_isNotBounded() -> None:
    """A roof and a workshop that are no partners of each other, and a home of 300 W that both trade with: the optimum
    has it buy from the one and sell to the other thirty times what it uses."""
    flat, sun = np.ones(2), Panels(np.full(2, 10.0), 10.0)
    homes = [
        Household(1, "roof", 0.1 * flat, 0 * flat, (sun,)),
        Household(2, "home", 0.3 * flat, 0 * flat),
        Household(3, "workshop", 9.5 * flat, 0 * flat),
    ]
    prices = Prices(np.array([0.3, 0.2]), 0.25)
    books = {1: (2,), 2: (1, 3), 3: (2,)}
    views = [
        NodeView(
            home.node, "drawn", Scenario.T, NetworkAgreement.DSO, 1.0, prices, home.node, (), 0, home,
            tuple(Partner(other, (0, 1), np.zeros(2)) for other in books[home.node]),
        )
        for home in homes
    ]  # fmt: skip
    alone = np.array([home.pv_kw - home.load_kw for home in homes])
    rho = 0.25 / float(np.sqrt(np.mean(alone**2)))
    tolerances = Tolerances.of(views, alone)
    *_, last = Negotiation(views, Penalties(rho, rho / 2), Resolution(), tolerances).iterates()
    assert last.end is End.CONVERGED
    passed = last.agents[2].trades.recorded_kw
    assert passed[2:] == pytest.approx([9.5, 9.5], abs=0.05)
    assert np.all((-passed[:2] > 9.75) & (-passed[:2] < 9.95))  # 9.8 are used, 9.9 are there, and worth feed-in beyond


@given(data=st.data(), low=st.integers(-40000, 0), high=st.integers(0, 40000))
def test_integers_addUpToWhatOneCanTakeAndGive(data: st.DataObject, low: int, high: int) -> None:
    """Beyond it less is bought, or sold; never more than was wanted, nor the other way round; else nothing changes."""
    trader = Trades(view(1, partners={2: (0, 2), 3: (0, 2), 4: (2,)}), PENALTIES, UNIT)
    wanted = np.array(data.draw(st.lists(st.integers(-20000, 20000), min_size=5, max_size=5)))
    bids = trader.to_integers(wanted * UNIT.power_kw, net=Bounds(np.array(low), np.array(high)))
    assert np.all(np.abs(bids) <= np.abs(wanted))
    assert np.all(bids * wanted >= 0)
    steps = bid_steps(trader.view)
    for step in (0, 2):
        total, before = bids[steps == step].sum(), wanted[steps == step].sum()
        assert low <= total <= high
        if low <= before <= high:
            assert bids[steps == step].tolist() == wanted[steps == step].tolist()
