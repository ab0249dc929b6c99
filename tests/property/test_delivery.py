"""What members of a round are paid for their readings, whatever the tariff, the trades and the readings are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gridpact.chain.encoding import encode_tariff
from gridpact.chain.values import TradedStep, TradeRecord
from gridpact.manage.metering import comes_to
from property.readings import DECIMALS, Told

NODES = 4
wh = st.integers(-(2**31), 2**31 - 1)
micro = st.integers(-(2**31), 2**31 - 1)


@st.composite
def settled(draw: st.DrawFn) -> tuple[Any, dict[int, list[int]], list[tuple[int, int]]]:
    """A round of four nodes whose pairs have traded anything, and their readings: near their trades, or anything."""
    steps = draw(st.integers(1, 3))
    prices = draw(st.lists(st.tuples(micro, micro), min_size=steps, max_size=steps))
    records = []
    sold = {node: [0] * steps for node in range(NODES)}
    for lower in range(NODES):
        for higher in range(lower + 1, NODES):
            energies = draw(st.lists(st.one_of(st.just(0), wh), min_size=steps, max_size=steps))
            trades = tuple(TradedStep(step, energy, 0) for step, energy in enumerate(energies))
            records.append(TradeRecord(1, lower, higher, 0, trades))
            for step, energy in enumerate(energies):
                sold[lower][step] += energy
                sold[higher][step] -= energy
    read = {
        node: [draw(st.one_of(st.just(0), st.just(traded), st.just(-traded), wh)) for traded in sold[node]]
        for node in range(NODES)
    }
    tariff = encode_tariff([imported for imported, _ in prices], [fed_in for _, fed_in in prices])
    return Told(records, tariff), read, prices


def worth(energy: int, prices: tuple[int, int]) -> int:
    imported, fed_in = prices
    return energy * (fed_in if energy > 0 else imported)


@given(settled())
def test_trades_earnNothingFromTheSupplier(drawn: tuple[Any, dict[int, list[int]], list[tuple[int, int]]]) -> None:
    """TS14: all together get no more than for their readings alone: each for its own, or all for the sum, by step."""
    told, read, prices = drawn
    paid = sum(one.delivery.payment for one in comes_to(told, 1, read))
    most = 0
    for step, both in enumerate(prices):
        readings = [energies[step] for energies in read.values()]
        most += max(sum(worth(energy, both) for energy in readings), worth(sum(readings), both))
    assert paid * 10 ** (9 - DECIMALS) <= most


@given(settled())
def test_whoDeliversItsTrades_owesNothing(drawn: tuple[Any, dict[int, list[int]], list[tuple[int, int]]]) -> None:
    """Who reads what it sold is paid nothing besides, whatever the tariff."""
    told, read, _ = drawn
    exact = {one.delivery.node: list(one.traded_wh) for one in comes_to(told, 1, read)}
    assert [one.delivery.payment for one in comes_to(told, 1, exact)] == [0] * NODES
