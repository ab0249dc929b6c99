"""Fixtures of the settlement tests: a token, a market that has converged, and the settlement contract on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from settling import BOOKS, DEPOSIT, METER, NODES, SETTING, START, Market, Settling


@pytest.fixture(scope="module")
def supplier(nodes: Any) -> Any:
    """An account that is no node of the market."""
    return nodes[7]


@pytest.fixture(scope="module")
def token(TestEuro: Any, manager: Any, nodes: Any, supplier: Any) -> Any:
    made = manager.deploy(TestEuro)
    for account in (*(nodes[node] for node in NODES), supplier):
        made.mint(account, START, {"from": manager})
    return made


@pytest.fixture(scope="module")
def new_market(Referee: Any, VirtualAggregator: Any, Clerk: Any, manager: Any, nodes: Any) -> Callable[..., Market]:
    """Makes a market whose nodes are enrolled, on an aggregator of its own."""

    def make(enrolled: Iterable[int] = BOOKS, mu: int = 50, people: Mapping[int, Any] = nodes) -> Market:
        chosen = list(enrolled)
        theta = (len(chosen), 10**9, 10**9, 1000, 1000, 1000, 1000, mu)
        aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta, SETTING, manager.deploy(Referee)))
        aggregator.enrol(chosen, [people[node] for node in chosen], {"from": manager})
        return Market(aggregator, people)

    return make


@pytest.fixture(scope="module")
def market(new_market: Callable[..., Market]) -> Market:
    """Round 1 has converged."""
    made = new_market()
    assert made.converge() == 1
    return made


@pytest.fixture(scope="module")
def settle(TradeSettlement: Any, manager: Any, nodes: Any, supplier: Any, market: Market, token: Any) -> Settling:
    """With a deposit of 10 tEUR by each household and the supplier."""
    made = manager.deploy(TradeSettlement, market.aggregator, token, supplier, METER.address)
    for account in (*(nodes[node] for node in NODES), supplier):
        token.approve(made, START, {"from": account})
        made.deposit(DEPOSIT, {"from": account})
    return Settling(made, market, token)


@pytest.fixture
def contract(settle: Settling) -> Any:
    return settle.contract


@pytest.fixture
def gifts() -> list[int]:
    """Tokens sent past `deposit` in a test."""
    return []


@pytest.fixture
def books_balance(settle: Settling, nodes: Any, supplier: Any, gifts: list[int]) -> Iterator[None]:
    """TS1 and TS3, after a test."""
    yield
    settle.check([*nodes.values(), supplier], sum(gifts))
