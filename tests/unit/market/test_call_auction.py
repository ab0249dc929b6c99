"""The call auction: against a linear program, against a case worked out by hand, and as a mechanism of a whole day."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from tests.unit.market.orders import LIMITED

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.market.bids import LimitOrder, truthful_orders
from gridpact.market.call_auction import CallAuction, clear, paired
from gridpact.market.matching import in_proportion
from gridpact.market.prepared import Prepared
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario

CALL_AUCTION = NAMES["call-auction"]


def surplus(orders: list[LimitOrder], filled: dict[int, int]) -> int:
    """sum b y - sum a x, millionths of the currency times 1000."""
    return sum((-1 if o.sells else 1) * o.price_micro * filled.get(o.node, 0) for o in orders)


def greatest_surplus(orders: list[LimitOrder]) -> float:
    """The same program given to HiGHS: it knows nothing of curves that cross."""
    if not orders:
        return 0.0
    value = np.array([(1 if o.sells else -1) * o.price_micro for o in orders], dtype=float)
    balance = np.array([[1.0 if o.sells else -1.0 for o in orders]])
    solution = linprog(value, A_eq=balance, b_eq=[0.0], bounds=[(0, o.energy_wh) for o in orders], method="highs")
    assert solution.status == 0
    return -float(solution.fun)


@given(LIMITED)
def test_surplusIsTheGreatest(orders: list[LimitOrder]) -> None:
    """Prices and energies are whole numbers, so both are exact but for HiGHS's 1e-9 of some 1e9."""
    cleared = clear(orders)
    assert sum(cleared.sold_wh.values()) == sum(cleared.bought_wh.values())
    assert surplus(orders, cleared.sold_wh | cleared.bought_wh) == pytest.approx(greatest_surplus(orders), abs=1)


@given(LIMITED)
def test_nobodyWouldRatherHaveActedOtherwise(orders: list[LimitOrder]) -> None:
    """At the price every better order is filled, and every worse one left out; nobody gets more than it ordered."""
    cleared = clear(orders)
    if not cleared.energy_wh:
        assert not any(a.price_micro <= b.price_micro for a in orders for b in orders if a.sells and not b.sells)
        return
    for order in orders:
        filled = (cleared.sold_wh if order.sells else cleared.bought_wh).get(order.node, 0)
        better = (cleared.price_micro - order.price_micro) * (1 if order.sells else -1)
        assert 0 <= filled <= order.energy_wh
        if better > 0:
            assert filled == order.energy_wh
        if better < 0:
            assert filled == 0


@given(LIMITED)
def test_tradesAreWhatWasFilled(orders: list[LimitOrder]) -> None:
    cleared = clear(orders)
    sold: dict[int, float] = defaultdict(float)
    bought: dict[int, float] = defaultdict(float)
    trades = paired(7, cleared)
    for trade in trades:
        assert (trade.step, trade.price_per_kwh) == (7, cleared.price_micro / 1e6)
        sold[trade.seller] += 1000 * trade.energy_kwh
        bought[trade.buyer] += 1000 * trade.energy_kwh
    assert {node: round(wh) for node, wh in sold.items()} == cleared.sold_wh
    assert {node: round(wh) for node, wh in bought.items()} == cleared.bought_wh
    assert len(trades) <= max(len(sold) + len(bought) - 1, 0)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=12).flatmap(
    lambda sizes: st.tuples(st.just(sizes), st.integers(0, sum(sizes)))))  # fmt: skip
def test_proportions_areWholeAndWithinSizes(given_: tuple[list[int], int]) -> None:
    sizes, total = given_
    parts = in_proportion(total, sizes)
    assert sum(parts) == total
    for part, size in zip(parts, sizes, strict=True):
        assert 0 <= part <= size
        assert abs(part - total * size / sum(sizes)) < 1


def test_auction_byHand() -> None:
    """Offers 300 Wh at 0.05, 200 at 0.10, 400 at 0.20; bids 250 at 0.30, 150 at 0.15, 350 at 0.08.

    Falling bids meet rising offers: 250 and 50 more at 0.05, then 100 of the 200 at 0.10 for the bid at 0.15; the next
    bid, 0.08, is below 0.10. So 400 Wh; the offer at 0.10 is at the margin, the bid at 0.15 is filled. The price may
    lie from max(0.10, 0.08) to min(0.15, 0.10): it is 0.10.
    """
    orders = [
        LimitOrder(1, 0, 300, 50_000, True),
        LimitOrder(2, 0, 200, 100_000, True),
        LimitOrder(3, 0, 400, 200_000, True),
        LimitOrder(4, 0, 250, 300_000, False),
        LimitOrder(5, 0, 150, 150_000, False),
        LimitOrder(6, 0, 350, 80_000, False),
    ]
    cleared = clear(orders)
    assert cleared.price_micro == 100_000
    assert cleared.sold_wh == {1: 300, 2: 100}
    assert cleared.bought_wh == {4: 250, 5: 150}
    assert [(t.seller, t.buyer, t.energy_kwh) for t in paired(0, cleared)] == [(1, 4, 0.25), (1, 5, 0.05), (2, 5, 0.1)]


def test_oneOfferOneBid_meetInTheMiddle_andTheLongSideIsShared() -> None:
    middle = clear([LimitOrder(1, 0, 100, 60_000, True), LimitOrder(2, 0, 100, 200_000, False)])
    assert middle.price_micro == 130_000
    scarce = clear(
        [
            LimitOrder(1, 0, 90, 60_000, True),
            LimitOrder(2, 0, 100, 200_000, False),
            LimitOrder(3, 0, 50, 200_000, False),
        ]
    )
    assert scarce.price_micro == 200_000  # another Wh would be worth that to a buyer
    assert scarce.bought_wh == {2: 60, 3: 30}


def test_ordersAreWhatThePlanLeaves(tiny3: CommunityDay) -> None:
    prepared = Prepared.of(tiny3, CALL_AUCTION)
    orders = truthful_orders(prepared)
    assert len({(order.node, order.step) for order in orders}) == len(orders)
    for row, home in enumerate(tiny3.households):
        left = 1000 * tiny3.step_hours * prepared.baseline_net_kw[row]
        of_home = {order.step: order for order in orders if order.node == home.node}
        for step, wh in enumerate(left):
            if step not in of_home:
                assert abs(wh) < 1
                continue
            order = of_home[step]
            assert 0 <= abs(wh) - order.energy_wh + 1e-6 < 1 + 2e-6  # whole Wh, never more than there is
            assert order.sells == (wh > 0)
            price = tiny3.prices.feed_in_price if order.sells else tiny3.prices.import_price
            assert order.price_micro == round(1e6 * price[step])


def test_aDayIsAgreedOn_andNobodyLoses() -> None:
    """Devices keep to their plans and prices lie between feed-in and import, so every bill is at most the one alone;
    what the community saves is what the trades move from feed-in to import price, to the last millionth."""
    community = read_community("fontana16").on("06-10")
    auction, alone = solve_day(community, CALL_AUCTION), solve_day(community, Scenario.B)
    assert auction.checks_held
    assert auction.traded_kwh > 10
    for home, before in zip(auction.households, alone.households, strict=True):
        assert home.cost <= before.cost + 1e-9
        assert np.array_equal(home.schedule["injection_kw"], before.schedule["injection_kw"])
    margin = community.prices.import_price - community.prices.feed_in_price
    moved = sum(trade.energy_kwh * margin[trade.step] for trade in auction.trades)
    assert alone.cost - auction.cost == pytest.approx(moved, abs=1e-9)
    assert auction.gap > 0  # devices do not follow the prices: the community as one would do better
    assert auction.cost >= solve_day(community, Scenario.T).cost - 1e-3 * alone.cost


def test_reference_isTheCommunityAsOne(tiny3: CommunityDay) -> None:
    """It costs at most what G does, which has losses and limits besides, and what any trading leaves to pay."""
    auction = solved(tiny3, CALL_AUCTION)
    assert auction.optimum.objective <= solved(tiny3, Scenario.G).optimum.objective + 1e-6
    assert auction.optimum.objective <= auction.cost.objective + 1e-6
    assert auction.trades == CallAuction().agree(Prepared.of(tiny3, CALL_AUCTION)).trades  # the same every time
