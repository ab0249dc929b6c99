"""Prices and trades of two partners, by hand. That both hold the same bits: `tests/property`."""

from __future__ import annotations

import numpy as np
import pytest

from admm.helpers import STEP_HOURS, view
from gridpact.admm.parameters import OVER_RELAXATION, Penalties, Resolution
from gridpact.admm.trades import ROUNDING_UNITS, Trades, bid_steps, partner_bids, relaxation_at

PENALTIES, UNIT = Penalties(rho=0.4, phi=0.2), Resolution(power_kw=0.001)


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
    Residuals in units of 1 W: (2000 - 1000)^2 and 1500^2 + 500^2.
    """
    seller, buyer = pair()
    before = seller.price.copy()
    residuals = seller.update(np.array([2000, 500]), np.array([-1000, -500]), 1.0)
    assert residuals == (1000**2, 1500**2 + 500**2)
    assert seller.value == pytest.approx([1.5, 0.5], rel=1e-12)
    assert seller.price == pytest.approx(before - [0.1, 0.0], rel=1e-12)
    assert seller.agreed.tolist() == [3000, 1000]
    assert buyer.update(np.array([-1000, -500]), np.array([2000, 500]), 1.0) == residuals
    assert buyer.value.tolist() == (-seller.value).tolist()
    assert buyer.price.tolist() == seller.price.tolist()


def test_price_rises_whereDemandExceeds() -> None:
    seller, _ = pair()
    before = seller.price.copy()
    seller.update(np.array([500, 2000]), np.array([-1000, -1000]), OVER_RELAXATION)
    assert seller.price[0] > before[0]
    assert seller.price[1] < before[1]


def test_linearTerm_isThatOfTheAugmentedLagrangian() -> None:
    """-xi d + phi/2 (d - z)^2 = b d + phi/2 d^2 + constant with b = -xi - phi z."""
    seller, _ = pair()
    seller.update(np.array([2000, 500]), np.array([-1000, -700]), OVER_RELAXATION)
    d = np.array([0.3, -1.7])
    lagrangian = -seller.price * d + 0.1 * (d - seller.value) ** 2
    assert lagrangian - 0.1 * seller.value**2 == pytest.approx(seller.linear() * d + 0.1 * d**2, rel=1e-12)


def test_rounding_isToTheNearest() -> None:
    seller, _ = pair()
    assert seller.to_integers(np.array([0.0014, -0.0016])).tolist() == [1, -2]


@pytest.mark.parametrize(
    ("iteration", "primal", "alpha"),
    [(1, 0, OVER_RELAXATION), (2, ROUNDING_UNITS**2 * 8, 1.0), (2, ROUNDING_UNITS**2 * 8 + 1, OVER_RELAXATION),
     (50, 0, 1.0)],
)  # fmt: skip
def test_relaxation_endsAtRounding(iteration: int, primal: int, alpha: float) -> None:
    """In the first iteration there is no residual yet, so its zero means nothing."""
    assert relaxation_at(iteration, primal, 8) == alpha


def test_partnerBids_areInTheOwnOrder() -> None:
    me = view(2, partners={1: (0, 1), 3: (2,)})
    assert partner_bids(me, {3: np.array([7]), 1: np.array([5, 6])}).tolist() == [5, 6, 7]
    assert partner_bids(view(2), {}).tolist() == []


def test_statements_byHand_sameAtBothPartners() -> None:
    """1.5 kW and 0.5 kW as in the test above, over one step each; the lower node sells, so energy is positive."""
    seller, buyer = pair()
    seller.update(np.array([2000, 500]), np.array([-1000, -500]), 1.0)
    buyer.update(np.array([-1000, -500]), np.array([2000, 500]), 1.0)
    first = round((0.75 * 0.1 * STEP_HOURS - 0.1) / STEP_HOURS * 1e6)
    expected = [(0, round(1500 * STEP_HOURS), first), (2, round(500 * STEP_HOURS), round(0.75 * 0.5 * 1e6))]
    assert seller.statements() == {2: expected}
    assert buyer.statements() == {1: expected}


def test_statements_truncateTowardsZero_andLeaveOutLessThanOneWattHour() -> None:
    """A lower node that buys 1.5 W, and sells 0.5 W in the other step."""
    one, _ = pair()
    one.agreed = np.array([-3, 1])  # twice the trade, W
    hours = STEP_HOURS
    energies = {step: energy for step, energy, _ in one.statements().get(2, [])}
    assert energies == {step: wh for step, wh in ((0, -int(1.5 * hours)), (2, int(0.5 * hours))) if wh}
