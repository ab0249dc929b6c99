"""The bidding game: by trying every other offer, by Cournot's formulas, and as a mechanism of a whole day."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.market.orders import BOOKS, book, check_kept, filled_wh

from gridpact.community.read import read_community
from gridpact.market.game import best_offer, play, price, traded
from gridpact.market.matching import Book
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day
from gridpact.problem.scenario import Scenario


def earned(of: Book, offers: Sequence[int], k: int) -> float:
    """What seller k gets at the price that would be paid, within the tariff, Wh times 1e-6 currency/kWh."""
    rest = of.offers[k].energy_wh - offers[k]
    return offers[k] * price(of, offers) + rest * of.feed_in_micro


@given(BOOKS)
def test_nobodyGainsByLeaving(of: Book) -> None:
    """Every other offer is tried, at the price as it is paid; it is rounded to 1e-6, so by that much one may gain."""
    game = play(of)
    assert game.reached
    if not of.bids:
        assert not any(game.offered_wh)
        return
    assert sum(game.offered_wh) <= of.wanted_wh
    for k, order in enumerate(of.offers):
        now = earned(of, game.offered_wh, k)
        room = min(order.energy_wh, of.wanted_wh - sum(game.offered_wh) + game.offered_wh[k])
        for other in range(0, room + 1, max(room // 50, 1)):
            left = [*game.offered_wh[:k], other, *game.offered_wh[k + 1 :]]
            assert earned(of, left, k) <= now + max(other, game.offered_wh[k])


@given(BOOKS)
def test_tradesAreTheOffers_withinTheLimits(of: Book) -> None:
    game = play(of)
    trades = traded(of, game)
    check_kept([*of.offers, *of.bids], trades)
    sold, _ = filled_wh(trades)
    assert sold == {order.node: wh for order, wh in zip(of.offers, game.offered_wh, strict=True) if wh}


@given(st.integers(1, 6), st.integers(0, 200_000), st.integers(1, 200_000))
def test_equalSellers_offerWhatCournotSays(sellers: int, feed_in: int, margin: int) -> None:
    """n sellers with enough each offer (1 - C_stg / C_bfg) D / (n + 1), here to whole Wh."""
    of = book([(100_000, True)] * sellers + [(100_000, False)], (feed_in, feed_in + margin))
    game = play(of)
    each = 100_000 * margin / (feed_in + margin) / (sellers + 1)
    assert game.offered_wh == pytest.approx([each] * sellers, abs=1.5)


@given(BOOKS, st.integers(0, 3000), st.integers(0, 3000))
def test_bestOffer_isTheBestOfAll(of: Book, left: int, others: int) -> None:
    """Against every whole number, by (4.4) as printed."""
    if not of.bids:
        return
    best = best_offer(of, left, others)
    assert 0 <= best <= left
    if of.import_micro <= 0:
        return

    def gain(q: int) -> int:
        return q * ((of.import_micro - of.feed_in_micro) * of.wanted_wh - of.import_micro * (q + others))

    assert gain(best) == max(gain(q) for q in range(max(min(left, of.wanted_wh - others), 0) + 1))


def test_byHand() -> None:
    """One seller with 800 Wh, 1000 wanted, 0.10 and 0.20: the best offer is half of (1 - 1/2) 1000 = 250 Wh, at (1 -
    1/4) 0.20 = 0.15; a second one with 100 Wh sells all, and the first then (500 - 100) / 2."""
    one = book([(800, True), (1000, False)], (100_000, 200_000))
    assert (play(one).offered_wh, price(one, play(one).offered_wh)) == ((250,), 150_000)
    two = book([(800, True), (1000, False), (100, True)], (100_000, 200_000))
    assert play(two).offered_wh == (200, 100)
    assert play(two).turns > 1


def test_aDay_sellersHoldBack_andNobodyLoses() -> None:
    community = read_community("fontana16").on("06-10")
    game, alone = solve_day(community, NAMES["game"]), solve_day(community, Scenario.B)
    assert game.checks_held
    assert 1 < game.traded_kwh < solve_day(community, NAMES["unified-pricing"]).traded_kwh
    for home, before in zip(game.households, alone.households, strict=True):
        assert home.cost <= before.cost + 1e-9
