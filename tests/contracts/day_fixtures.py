"""Fixtures of the tests of a day."""

from __future__ import annotations

from typing import Any

import pytest
from brownie import accounts
from days import BOOKS, DEPOSIT, METER, NODES, STEPS, World, new_world
from helpers import PHASE_SECONDS
from settling import MILLIWATT, STEP_SECONDS


@pytest.fixture(scope="module")
def world(
    Referee: Any, VirtualAggregator: Any, Clerk: Any, TradeSettlement: Any, DaySettlement: Any, Clearing: Any,
    DayProducts: Any, TestEuro: Any,
    manager: Any, nodes: Any, outsider: Any,
) -> World:  # fmt: skip
    """Households 1 to 4, customers of the community's supplier, and another one, with deposits; no day is open."""
    people = {f"node {node}": nodes[node] for node in NODES}
    people |= {"supplier": nodes[7], "green": nodes[6], "outsider": outsider}
    theta = (len(BOOKS), 10**9, 10**9, 1000, 1000, 1000, 1000, 50)
    setting = (STEPS, STEP_SECONDS, MILLIWATT, 100, PHASE_SECONDS, 1)
    aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta, setting, manager.deploy(Referee)))
    aggregator.enrol(list(BOOKS), [nodes[node] for node in BOOKS], {"from": manager})
    token = manager.deploy(TestEuro)
    settlement = manager.deploy(TradeSettlement, aggregator, token, nodes[7], METER.address)
    clearing = manager.deploy(Clearing, settlement, token, nodes[7])
    ledger = manager.deploy(DaySettlement, settlement, token, nodes[7], METER.address, clearing)
    manager.transfer(METER.address, "1 ether")
    settlement.admitSupplier(nodes[6], {"from": accounts.add(METER.key)})
    for account in people.values():
        token.mint(account, 3 * DEPOSIT, {"from": manager})
        for contract in (settlement, ledger):
            token.approve(contract, DEPOSIT, {"from": account})
            if account != outsider:
                contract.deposit(DEPOSIT, {"from": account})
    return new_world(aggregator, settlement, ledger, DayProducts.at(ledger.products()), token, people, nodes[7])
