"""TS10, TS14: households in league, which limit what they owe, are paid for no energy that nobody has.

They play on the plain model of a delivery, with which the contract is compared
(tests/contracts/test_settlement_delivery.py).
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from reference.settlement_model import delivery_payment, limited

STEPS, DECIMALS = 3, 6
UNITS = 1
"""Of rounding, a household."""

prices = st.tuples(st.integers(-300_000, 2_000_000_000), st.integers(-300_000, 2_000_000_000))
energies = st.lists(st.one_of(st.just(0), st.integers(-5000, 5000)), min_size=STEPS, max_size=STEPS)
limits = st.sampled_from([0, 1, 500_000, 20_000_000])


@st.composite
def leagues(draw):
    """Readings, limits and trades of three households, which sell each other what they like."""
    read = [draw(energies) for _ in range(3)]
    bought = [draw(energies) for _ in range(2)]
    sold = [*bought, [-sum(of_step) for of_step in zip(*bought, strict=True)]]
    return read, sold, [draw(limits) for _ in range(3)], [draw(prices) for _ in range(STEPS)]


def paid(read, sold, most, tariff):
    """From the supplier, token units."""
    return limited(delivery_payment(read, sold, tariff, DECIMALS), most, read, sold, tariff, DECIMALS)


@given(league=leagues())
def test_league_isPaidForNothingThatNoMeterHasRead(league):
    """At the most for what was fed in at the dearer price of its step, and what was drawn where that is paid for."""
    read, sold, most, tariff = league
    worth = sum(
        max(wh, 0) * max(*both, 0) + max(-wh, 0) * max(-min(both), 0)
        for series in read
        for wh, both in zip(series, tariff, strict=True)
    )
    together = sum(paid(*one, tariff) for one in zip(read, sold, most, strict=True))
    assert together <= worth // 1000 + 3 * UNITS


@given(league=leagues())
def test_limit_isAllThatReadingsTake(league):
    """TS10: whoever trades nothing, or has what it trades, pays its limit at most, at any prices."""
    read, sold, most, tariff = league
    for series, traded, limit in zip(read, sold, most, strict=True):
        has = [
            min(max(wh, 0), max(sale, 0)) + max(min(wh, 0), min(sale, 0))
            for wh, sale in zip(series, traded, strict=True)
        ]
        assert not limit or paid(series, has, limit, tariff) >= -limit
