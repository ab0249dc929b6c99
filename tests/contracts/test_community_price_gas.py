"""What finding the price of a community of 64 homes with 24 steps costs: joining, telling, closing, clearing."""

import random

import pytest
from link import rpc
from test_community_price import hall_of

HOMES, STEPS = 64, 24
MOST = 16_000_000  # of a transaction
ROOM = 0.92
"""What a clearing may use at the largest sizes: where bids are revealed with it, it takes 5 % more."""


def test_gas_ofARound(CommunityPrice, TestEuro, manager, accounts, measured):
    people = [accounts.add("0x" + f"{2_000 + node:064x}") for node in range(HOMES)]
    for who in people:
        rpc("eth_sendTransaction", {"from": str(accounts[9]), "to": str(who), "value": hex(10**18)})
    hall = hall_of(CommunityPrice, manager.deploy(TestEuro), manager, people, deposit=10**9)
    by = random.Random(2)
    units = {node: [by.randint(-6_000, 6_000) for _ in range(STEPS)] for node in range(HOMES)}
    hall.begin(base=10**16)
    named = "price of 64 homes, 24 steps"
    for number in range(1, 6):  # the fifth is weighed, and settles
        gas = [hall.tell(node, units[node]).gas_used for node in range(HOMES)]
        if number in (2, 5):  # the second: nothing is written for the first time
            what = "tell where gains are weighed" if number == 5 else "tell"
            measured(f"{named}: {what}, mean", sum(gas[:-1]) // (HOMES - 1))
            measured(f"{named}: {what}, the last, who closes", gas[-1])
        assert max(gas) < MOST
    assert hall.model.settled
    receipt, _ = hall.clear()
    measured(f"{named}: clear, in one transaction", receipt.gas_used)
    assert receipt.gas_used < MOST
    hall.check()


@pytest.mark.parametrize(("homes", "steps"), [(128, 37), (25, 192)])
def test_clearing_ofTheLargest_fitsATransaction(CommunityPrice, TestEuro, manager, accounts, homes, steps):
    """CP6, CP8: what can be deployed can be cleared; else a round would settle and nothing be traded. All bid at all
    steps, and one side is in proportion."""
    people = [accounts.add("0x" + f"{3_000 + node:064x}") for node in range(homes)]
    for who in people:
        rpc("anvil_setBalance", str(who), hex(10**18))
    hall = hall_of(CommunityPrice, manager.deploy(TestEuro), manager, people, deposit=10**10, steps=steps, misses=9)
    by = random.Random(homes)
    units = {node: [by.choice((-1, 1)) * by.randint(1_000, 100_000) for _ in range(steps)] for node in range(homes)}
    hall.begin(base=10**18)
    for _ in range(4):
        hall.overdue()  # nobody has to tell but in the fifth
    assert max(hall.tell(node, units[node]).gas_used for node in range(homes)) < MOST
    assert hall.model.settled
    cleared = hall.clear()[0].gas_used
    assert cleared < ROOM * 2**24
    hall.check()
