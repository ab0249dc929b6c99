"""Suppliers beside each other: one with a customer and a tariff beyond all sense, or one that publishes late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.chain.encoding import decode_tariff, encode_tariff
from gridpact.community.model import CommunityDay, PriceRange, Prices
from gridpact.manage.vouching import agreed_trades
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import Tolerances
from gridpact.market.agreement import Agreement
from gridpact.market.prepared import Prepared
from gridpact.node.twin_ledger import TwinLedger
from gridpact.problem.scenario import Scenario
from gridpact.service.plan import prices_in, ranges_of
from unit.node.rounds import Played

CUSTOMER = 3
"""Of the other supplier, in tiny3."""

COARSE = Tolerances(10.0, 10.0, 10.0, 10.0)

ABSURD = {
    "dear": (2000.0, 0.08),
    "dear, both ways": (2000.0, 1000.0),
    "cheap": (0.001, 0.0),
    "paid for": (-1000.0, -2000.0),
}


def supplied(day: CommunityDay, prices: Prices) -> CommunityDay:
    """With another supplier for one home."""
    homes = (replace(home, tariff=prices) if home.node == CUSTOMER else home for home in day.households)
    return replace(day, households=tuple(homes))


def cost(day: CommunityDay, agreement: Agreement, nodes: Iterable[int]) -> float:
    """What homes pay to neighbours and suppliers, currency."""
    total = 0.0
    for home in day.households:
        if home.node in nodes:
            beyond = np.array(agreement.plans[home.node]["injection_kw"]) * day.step_hours
            for trade in agreement.trades:
                sold = (trade.seller == home.node) - (trade.buyer == home.node)
                beyond[trade.step] -= sold * trade.energy_kwh
                total -= sold * trade.amount
            total += float(np.sum(day.prices_of(home).paid(-beyond)))
    return total


@pytest.mark.parametrize("kind", ABSURD)
def test_others_areNoWorseOffForAnAbsurdTariff(tiny3: CommunityDay, kind: str) -> None:
    """L10: the homes that it does not supply agree with each other as if its customer were not there, within 0.1 %, or
    better; by theta and limits of the contracts, which do not know of it. Nobody trades at a price beyond those of its
    own supplier."""
    imported, fed_in = ABSURD[kind]
    steps = tiny3.steps
    day = supplied(tiny3, Prices(np.full(steps, imported), own_feed_in_price=np.full(steps, fed_in)))
    fixed = Negotiation.of(Prepared.of(tiny3, Scenario.T))
    negotiation = replace(
        Negotiation.of(Prepared.of(day, Scenario.T)), penalties=fixed.penalties, tolerances=fixed.tolerances
    )
    agreement = negotiation.agreement()
    assert agreement.reached
    assert agreement.balanced
    others = {home.node for home in day.households} - {CUSTOMER}
    alone = replace(tiny3, households=tuple(home for home in tiny3.households if home.node in others))
    without = Negotiation.of(Prepared.of(alone, Scenario.T)).agreement()
    among = [trade for trade in agreement.trades if CUSTOMER not in (trade.seller, trade.buyer)]
    assert sum(trade.energy_kwh for trade in among) > 1
    assert cost(day, agreement, others) <= cost(alone, without, others) * 1.001 + 0.001
    for trade in agreement.trades:
        for node in (trade.seller, trade.buyer):
            own = day.prices_of(day.households[node - 1])
            assert own.feed_in_price[trade.step] - 1e-6 <= trade.price_per_kwh <= own.import_price[trade.step] + 1e-6


prices = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2)
tariffs = st.none() | st.builds(encode_tariff, prices, prices)


@given(own=tariffs, other=tariffs)
def test_range_isTheSameToBoth_andWhatTheContractTakes(own: bytes | None, other: bytes | None) -> None:
    """Whatever two suppliers publish, or do not: both partners come to the same prices, to the last bit; none is beyond
    what either supplier asks or pays."""
    told = {node: tariff for node, tariff in ((1, own), (2, other)) if tariff is not None}
    mine, theirs = ranges_of(1, told, [1, 2], 2, 1.0), ranges_of(2, told, [1, 2], 2, 1.0)
    assert mine.keys() == ({2} if own != other else set())
    assert theirs.keys() == ({1} if own != other else set())
    if not mine:
        return
    within = mine[2]
    for series in ("low", "high"):
        assert getattr(within, series).tolist() == getattr(theirs[1], series).tolist()
    for step in np.flatnonzero(within.low <= within.high):
        for tariff in (own, other):
            assert tariff is not None
            bounds = sorted(series[step] for series in decode_tariff(tariff))
            assert bounds[0] - 2 <= 1e6 * within.low[step] <= 1e6 * within.high[step] <= bounds[1] + 2


@settings(max_examples=3)
@given(dear=st.sampled_from([210_000, 400_000, 2_000_000_000]), late=st.sampled_from([{2}, {1, 2}]))
def test_tariffPublishedLate_splitsNoPrices(tiny3: CommunityDay, dear: int, late: set[int]) -> None:
    """Some homes have read no tariff of the other supplier when they declare. Prices begin at what stands once all have
    declared, so that all pairs state the same; and metering works out the same."""
    common = encode_tariff(
        [round(1e6 * price) for price in tiny3.prices.import_price],
        [round(1e6 * price) for price in tiny3.prices.feed_in_price],
    )
    other = encode_tariff([dear] * tiny3.steps, [120_000] * tiny3.steps)
    told = {1: common, 2: common, CUSTOMER: other}

    def ranges(node: int, nodes: Iterable[int]) -> Mapping[int, PriceRange]:
        return ranges_of(node, told, [one for one in nodes if one], tiny3.steps, tiny3.step_hours)

    played = Played(supplied(tiny3, prices_in(other, tiny3.step_hours)), Scenario.T, tolerances=COARSE, ranges=ranges)
    views = [view.trading_within({}) if view.node in late else view for view in played.prepared.views]
    played.prepared = replace(played.prepared, views=views)
    reports = played.play()
    stated = {(node, partner): said for node, one in reports.items() for partner, said in one.statements.items()}
    assert any(CUSTOMER in pair for pair in stated)
    assert any(CUSTOMER not in pair for pair in stated)
    assert all(stated[pair[::-1]] == said for pair, said in stated.items())
    agreed = agreed_trades(TwinLedger(played.twin, 1), played.number, told)
    some = {node: told[node] for node in (1, CUSTOMER)}  # only these are waiting for it, or have a tariff
    assert agreed_trades(TwinLedger(played.twin, 1), played.number, some) == {
        pair: entries for pair, entries in agreed.items() if set(pair) <= some.keys()
    }
    for pair, entries in agreed.items():
        for (step, wh, price), (own_step, own_wh, own_price) in zip(entries, stated[pair], strict=True):
            assert (step, wh) == (own_step, own_wh)
            assert abs(price - own_price) <= 1  # a tariff has six digits
