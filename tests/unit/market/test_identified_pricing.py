"""Identified pricing: by hand, against every assignment there is, and against a linear program."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from tests.unit.market.orders import BOOKS, TARIFFS, book, check_kept, filled_wh

from gridpact.community.read import read_community
from gridpact.market.bids import LimitOrder
from gridpact.market.identified_pricing import IdentifiedPricing, assigned_pairs, split_pairs
from gridpact.market.matching import Book
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day
from gridpact.problem.scenario import Scenario

PRICES = st.lists(st.integers(-50_000, 300_000), min_size=9, max_size=9)

SIDES = st.lists(st.tuples(st.integers(1, 2000), st.booleans()), min_size=1, max_size=7)


def worth(pairs: list[tuple[int, int, int]], bids: dict[int, int]) -> int:
    return sum(bids[buyer] * wh for _, buyer, wh in pairs)


@given(sizes=SIDES, tariff=TARIFFS, prices=PRICES)
def test_assignment_isTheBestOfAll(sizes: list[tuple[int, bool]], tariff: tuple[int, int], prices: list[int]) -> None:
    of = book(sizes, tariff)
    bids = {order.node: prices[k] for k, order in enumerate(of.bids)}
    pairs = assigned_pairs(of, bids)
    assert len({seller for seller, _, _ in pairs}) == len({buyer for _, buyer, _ in pairs}) == len(pairs)
    few, many = sorted((of.offers, of.bids), key=len)
    best = 0
    for some in permutations(many, len(few)):
        total = 0
        for one, other in zip(few, some, strict=True):
            buyer = other if one.sells else one
            total += max(bids[buyer.node] * min(one.energy_wh, other.energy_wh), 0)
        best = max(best, total)
    assert worth(pairs, bids) == best


@given(sizes=SIDES, tariff=TARIFFS, prices=PRICES)
def test_splitEnergies_areTheLinearPrograms(
    sizes: list[tuple[int, bool]], tariff: tuple[int, int], prices: list[int]
) -> None:
    of = book(sizes, tariff)
    bids = {order.node: prices[k] for k, order in enumerate(of.bids)}
    pairs = split_pairs(of, bids)
    assert worth(pairs, bids) >= worth(assigned_pairs(of, bids), bids)
    if not (of.offers and of.bids):
        assert not pairs
        return
    n, m = len(of.offers), len(of.bids)
    sold = np.kron(np.eye(n), np.ones(m))
    bought = np.kron(np.ones(n), np.eye(m))
    solution = linprog(
        -np.tile([float(bids[o.node]) for o in of.bids], n),
        A_ub=np.vstack([sold, bought]),
        b_ub=[*(o.energy_wh for o in of.offers), *(o.energy_wh for o in of.bids)],
        method="highs",
    )
    assert solution.status == 0
    assert worth(pairs, bids) == pytest.approx(-solution.fun, rel=1e-9, abs=1)


@pytest.mark.parametrize("split", [False, True])
@given(days=st.lists(st.tuples(BOOKS, st.integers(0, 9)), min_size=1, max_size=4))
def test_tradesKeepToTheOrders(split: bool, days: list[tuple[Book, int]]) -> None:
    """At every step, whatever the steps before have made of the bids."""
    books = [Book(step, of.offers, of.bids, of.feed_in_micro, of.import_micro) for step, (of, _) in enumerate(days)]
    trades = list(IdentifiedPricing(split).traded(books))
    for of in books:
        check_kept((*of.offers, *of.bids), [trade for trade in trades if trade.step == of.step])


def test_bids_byHand() -> None:
    """Between 0.06 and 0.25; 400 Wh are offered at three of four steps; the larger buyer wants 700, the other 300.

    First both bid 0.25, and the seller goes to who takes most: 400 to the larger, u = 400/400 = 1. Its next bid is
    0.25 (1 + 0.1 (1 - 0.9)) = 0.2525, kept at 0.25; the other's is 0.25 (1 + 0.1 (0 - 0.9)) = 0.2275. At the last step
    u = 0 / 800, and the other's 0.2275 x 0.91 = 0.207025; there only it wants something, and pays that.
    """
    offers, larger, other = (LimitOrder(1, 0, 400, 60_000, True), *wanting(700, 300))
    day = [
        Book(0, (offers,), (larger, other), 60_000, 250_000),
        Book(1, (), (other,), 60_000, 250_000),  # nobody offers: nothing moves
        Book(2, (offers,), (larger, other), 60_000, 250_000),
        Book(3, (offers,), (other,), 60_000, 250_000),
    ]
    trades = list(IdentifiedPricing(split=False).traded(day))
    assert [(t.step, t.seller, t.buyer, t.energy_kwh) for t in trades] == [
        (0, 1, 2, 0.4),
        (2, 1, 2, 0.4),
        (3, 1, 3, 0.3),
    ]
    assert [t.price_per_kwh for t in trades] == [0.25, 0.25, 0.207025]


def wanting(*sizes: int) -> list[LimitOrder]:
    """Buyers, from node 2 on."""
    return [LimitOrder(node, 0, wh, 250_000, False) for node, wh in enumerate(sizes, 2)]


@pytest.mark.parametrize("name", ["identified-pricing", "identified-pricing-split"])
def test_aDay_nobodyLoses(name: str) -> None:
    """Split, as much is traded as at auction; one to one, less. Bids fall from the import price."""
    community = read_community("fontana16").on("06-10")
    market, alone, auction = (solve_day(community, s) for s in (NAMES[name], Scenario.B, NAMES["call-auction"]))
    assert market.checks_held
    assert 0 < market.traded_kwh <= auction.traded_kwh + 1e-9
    assert (market.traded_kwh == pytest.approx(auction.traded_kwh, abs=1e-9)) is name.endswith("split")
    for home, before in zip(market.households, alone.households, strict=True):
        assert home.cost <= before.cost + 1e-4  # prices are rounded to 1e-6
    assert len({trade.price_per_kwh for trade in market.trades}) > 10
    for step in {trade.step for trade in market.trades}:
        some = [trade for trade in market.trades if trade.step == step]
        if not name.endswith("split"):
            assert len({t.buyer for t in some}) == len({t.seller for t in some}) == len(some)
        assert all(wh > 0 for wh in filled_wh(some)[0].values())
