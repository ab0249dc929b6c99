"""Two partners and what they hold, after any bids whatever: equal to the last bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gridpact.community.model import Prices
from gridpact.market.admm.assembly import Bids
from gridpact.market.admm.parameters import OVER_RELAXATION, Penalties, Resolution
from gridpact.market.admm.trades import Trades
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView

BID = st.integers(-32767, 32767)
STEPS = 3


def trader(node: int, partner: int, prices: list[float]) -> NodeView:
    return NodeView(
        node, "1", Scenario.T, NetworkAgreement.DSO, 0.25, Prices(np.array(prices)), node, (), 0,
        partners=(Partner(partner, tuple(range(STEPS)), np.zeros(STEPS)),),
    )  # fmt: skip


@given(
    prices=st.lists(st.floats(0.01, 1.0), min_size=STEPS, max_size=STEPS),
    phi=st.floats(1e-3, 10),
    history=st.lists(
        st.tuples(
            st.lists(BID, min_size=STEPS, max_size=STEPS),
            st.lists(BID, min_size=STEPS, max_size=STEPS),
            st.sampled_from([1.0, OVER_RELAXATION]),
            st.lists(st.booleans(), min_size=STEPS, max_size=STEPS),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_partners_holdTheSameBits(
    prices: list[float], phi: float, history: list[tuple[list[int], list[int], float, list[bool]]]
) -> None:
    penalties, resolution = Penalties(1.0, phi), Resolution()
    one, two = (Trades(trader(a, b, prices), penalties, resolution) for a, b in ((1, 2), (2, 1)))
    for sold, bought, relaxation, there in history:
        before, value, agreed = one.price.copy(), one.value.copy(), one.agreed.copy()
        mine, theirs, counted = np.array(sold), np.array(bought), np.array(there)
        one.update(Bids(mine, theirs, counted), relaxation)
        two.update(Bids(theirs, mine, counted), relaxation)
        assert one.value.tolist() == (-two.value).tolist()
        assert one.price.tolist() == two.price.tolist()
        assert one.agreed.tolist() == (-two.agreed).tolist()
        # More offered than wanted: never dearer; less: never cheaper. (A tiny change may be lost in rounding.)
        surplus = np.where(counted, mine + theirs, 0)
        assert (one.price[surplus > 0] <= before[surplus > 0]).all()
        assert (one.price[surplus < 0] >= before[surplus < 0]).all()
        assert (one.price[surplus == 0] == before[surplus == 0]).all()
        # What does not count changes nothing.
        assert (one.value[~counted] == value[~counted]).all()
        assert (one.agreed == np.where(counted, mine - theirs, agreed)).all()


@given(
    held=st.lists(st.integers(-5000, 5000), min_size=STEPS, max_size=STEPS),
    agreed=st.lists(st.one_of(BID, st.integers(-1000, 1000)), min_size=STEPS, max_size=STEPS),
)
def test_changes_areStatedByBothOrNeither_andOnlyWhereTheyAreWorthIt(held: list[int], agreed: list[int]) -> None:
    """What both state after a re-agreement is what both hold then; less than 1 kWh of a pair is left to the pool."""
    one, two = (Trades(trader(a, b, [0.2] * STEPS), Penalties(1.0, 0.1), Resolution()) for a, b in ((1, 2), (2, 1)))
    one.hold({(2, step): energy for step, energy in enumerate(held)})
    two.hold({(1, step): -energy for step, energy in enumerate(held)})
    bids, counted = np.array(agreed), np.ones(STEPS, dtype=bool)
    one.update(Bids(bids, -bids, counted), 1.0)
    two.update(Bids(-bids, bids, counted), 1.0)
    assert one.statements().get(2) == two.statements().get(1)
    assert one.recorded_kw.tolist() == (-two.recorded_kw).tolist()
    stated = {step: energy for step, energy, _ in one.statements().get(2, [])}
    moved = [stated.get(step, 0) for step in range(STEPS)]
    assert np.rint(250 * one.recorded_kw).tolist() == (np.array(held) + moved).tolist()
    wh = bids * 0.5 * 0.25  # units of half a watt, a quarter of an hour
    if np.abs(wh).sum() >= 1000 + STEPS / 2:
        np.testing.assert_allclose(moved, wh, atol=0.5)
    if np.abs(wh).sum() < 1000 - STEPS / 2:
        assert not stated
