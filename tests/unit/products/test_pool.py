"""The pool and the imbalance: energy and money are conserved, whatever is given."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.errors import InputError
from gridpact.products.imbalance import borne_by_gain, imbalance
from gridpact.products.pool import Key, PoolRules, Pricing, pool
from gridpact.products.shares import apportioned, filled

ENERGY = st.integers(-(10**6), 10**6)
PRICE = st.integers(-(10**6), 10**7)


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[int], int, int, PoolRules]:
    nets = draw(st.lists(ENERGY, min_size=1, max_size=12))
    key = draw(st.sampled_from(Key))
    shares: tuple[float, ...] = ()
    if key is Key.FIXED:
        parts = draw(st.lists(st.integers(0, 100), min_size=len(nets), max_size=len(nets)).filter(any))
        shares = tuple(part / sum(parts) for part in parts)
    return nets, draw(PRICE), draw(PRICE), PoolRules(key, draw(st.sampled_from(Pricing)), shares)


@given(steps())
def test_pool_losesNoEnergyAndNoMoney(step):
    nets, import_price, feed_in_price, rules = step

    pooled = pool(nets, import_price, feed_in_price, rules)

    assert sum(pooled.got_wh) == 0
    assert sum(pooled.paid) == 0
    for net, got in zip(nets, pooled.got_wh, strict=True):
        assert min(net, 0) <= got <= max(net, 0)  # nobody gives or gets more than it has over or lacks


@given(steps())
def test_pool_isNeverWorseThanTheSupplier(step):
    nets, import_price, feed_in_price, rules = step

    pooled = pool(nets, import_price, feed_in_price, rules)

    for got, paid in zip(pooled.got_wh, pooled.paid, strict=True):
        supplier = Fraction(got * (import_price if got > 0 else feed_in_price), 1000)
        assert paid < supplier + 1  # the last unit is rounding
        assert got or not paid


@given(steps())
def test_pool_leavesNothingToTheSupplierThatANeighbourLacks(step):
    nets, import_price, feed_in_price, rules = step
    entitled = [not rules.shares or round(share * 10**9) > 0 for share in rules.shares or nets]

    pooled = pool(nets, import_price, feed_in_price, rules)

    over, lacking = -sum(min(n, 0) for n in nets), sum(max(n, 0) for n, e in zip(nets, entitled, strict=True) if e)
    assert pooled.energy_wh == (min(over, lacking) if import_price > feed_in_price else 0)


def test_pool_ofThreeByHand():
    nets = [-300, 100, 500]  # Wh: 300 are over, 600 lack

    def got(rules: PoolRules) -> tuple[int, ...]:
        return pool(nets, 300_000, 100_000, rules).got_wh

    assert got(PoolRules()) == (-300, 50, 250)
    assert got(PoolRules(Key.EQUAL)) == (-300, 100, 200)
    assert got(PoolRules(Key.FIXED, shares=(0.0, 0.2, 0.8))) == (-300, 60, 240)
    assert got(PoolRules(Key.FIXED, shares=(0.5, 0.5, 0.0))) == (-100, 100, 0)
    assert pool(nets, 300_000, 100_000).paid == (-60_000, 10_000, 50_000)  # 0.20 a kWh
    assert pool(nets, 300_000, 100_000, PoolRules(pricing=Pricing.RATIO)).price == 200_000  # half of it is there
    assert pool([-600, 100, 500], 300_000, 100_000, PoolRules(pricing=Pricing.RATIO)).price == 100_000


@pytest.mark.parametrize(
    ("key", "shares", "complaint"),
    [
        (Key.FIXED, (0.5, 0.4), "sum to 0.9, not to 1"),
        (Key.FIXED, (1.5, -0.5), "at least 0"),
        (Key.FIXED, (float("nan"), 1.0), "at least 0"),
        (Key.FIXED, (), "with the fixed key"),
        (Key.EQUAL, (1.0,), "with the fixed key"),
    ],
)
def test_poolRules_refuseShares(key, shares, complaint):
    with pytest.raises(InputError, match=complaint):
        PoolRules(key, shares=shares)


def test_pool_refusesSharesOfOthers():
    with pytest.raises(InputError, match="2 shares for 3 members"):
        pool([1, -1, 0], 2, 1, PoolRules(Key.FIXED, shares=(0.5, 0.5)))


@given(st.lists(ENERGY, min_size=1, max_size=12), st.integers(0, 10**6), st.none() | st.integers(0, 10**6))
def test_imbalance_isSharedByWhoCausedIt(deviations, adder, most):
    shared = imbalance(deviations, adder, most)

    net = sum(deviations)
    assert shared.due == abs(net) * adder // 1000
    assert shared.uncovered >= 0
    for deviation, owed in zip(deviations, shared.owed, strict=True):
        assert 0 <= owed < Fraction(abs(deviation) * adder, 1000) + 1  # never more than alone
        assert owed == 0 or deviation * net > 0
        assert most is None or owed <= most
    if most is None:
        assert shared.uncovered == 0


@given(st.lists(st.tuples(st.integers(-(10**7), 10**7), st.integers(0, 10**6)), min_size=1, max_size=12))
def test_adders_areBorneByGain(rows):
    gained, caused = [gain for gain, _ in rows], [part for _, part in rows]

    borne = borne_by_gain(sum(caused), gained, caused)

    assert sum(borne) == sum(caused)
    of_all = sum(gain for gain in gained if gain > 0)
    beyond = max(sum(caused) - of_all, 0)
    for gain, of_own, part in zip(gained, caused, borne, strict=True):
        by_cause = Fraction(beyond * of_own, max(sum(caused), 1))
        if beyond:  # all that was gained is gone, and no more
            assert abs(part - max(gain, 0) - by_cause) < 1
        else:
            assert part <= max(gain, 0)
            assert abs(part - Fraction(sum(caused) * max(gain, 0), max(of_all, 1))) < 1


def test_imbalance_ofThreeByHand():
    assert imbalance([300, -100, 100], 50_000).owed == (11_250, 0, 3_750)
    capped = imbalance([300, -100, 100], 50_000, most=10_000)
    assert (capped.owed, capped.uncovered) == ((10_000, 0, 3_750), 1_250)


@pytest.mark.parametrize(("adder", "most"), [(-1, None), (1, -1)])
def test_imbalance_refusesWhatIsNegative(adder, most):
    with pytest.raises(InputError, match="negative"):
        imbalance([1], adder, most)


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(any))
def test_apportioned_addsUp(total, weights):
    parts = apportioned(total, weights)

    assert sum(parts) == total
    assert all(abs(part - Fraction(total * w, sum(weights))) < 1 for part, w in zip(parts, weights, strict=True))


@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**5)), min_size=1, max_size=9))
def test_filled_fillsInProportion(total, rows):
    weights, most = [w for w, _ in rows], [m for _, m in rows]

    parts = filled(total, weights, most)

    assert sum(parts) == min(total, sum(m for w, m in rows if w))
    assert all(0 <= part <= m for part, m in zip(parts, most, strict=True))
    levels = [(part, w, m) for part, w, m in zip(parts, weights, most, strict=True) if w]
    for part, w, m in levels:  # who is not full has as much a weight as anybody, to a unit
        assert part == m or all((part + 1) * other_w >= (other - 1) * w for other, other_w, _ in levels)
