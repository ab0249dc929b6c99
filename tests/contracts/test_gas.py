"""What a submission costs, against figures that are committed: a change must be deliberate."""

import json
from pathlib import Path

import pytest
from helpers import FEEDER, Community, setting, theta
from reference.aggregator_model import Declared

SNAPSHOT = Path(__file__).with_name("gas.json")
# Random payloads have a few zero bytes more or less; anything else is a change of the contract.
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def measured():
    """Compares with the snapshot; writes the figures to it where it has none."""
    snapshot = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}

    def compare(name, gas):
        print(f"\n  gas {name}: {gas:,}")
        if name not in snapshot:
            snapshot[name] = gas
            SNAPSHOT.write_text(json.dumps(snapshot, indent=1, sort_keys=True) + "\n")
        assert gas == pytest.approx(snapshot[name], rel=TOLERANCE)

    return compare


def steady(community):
    """Gas a node in the third iteration: every slot has been written before."""
    order = list(community.tree)
    for _ in range(2):
        community.iterate(order=order)
    return {node: community.submit(node).gas_used for node in order}


def test_submit_star16(VirtualAggregator, manager, accounts, measured):
    """The target: 16 households, 24 steps, 100 bids each, at most 100,000 gas a household and iteration."""
    tree = {0: Declared(0, 0, tuple(range(1, 17)), 0)}
    tree |= {node: Declared(0, 1, (), 100) for node in range(1, 17)}
    people = {}
    for node in tree:
        people[node] = accounts.add()
        accounts[2].transfer(people[node], "1 ether")
    aggregator = manager.deploy(VirtualAggregator, theta(17), setting())
    community = Community(aggregator, tree, people)
    community.enrol()
    community.open()
    measured("declare, star, household, first", community.declare(1).gas_used)
    for node in range(2, 17):
        tx = community.declare(node)
    measured("declare, star, household, later", tx.gas_used)
    measured("declare, star, node 0, last", community.declare(0).gas_used)
    gas = steady(community)
    measured("submit, star, node 0 with 16 children, first", gas[0])
    measured("submit, star, household", gas[2])
    measured("submit, star, household, closes", gas[16])
    assert gas[2] <= 100_000
    assert gas[16] <= 100_000


def test_submit_feeder(community, measured):
    made = community(FEEDER)
    made.start()
    gas = steady(made)
    measured("submit, feeder, node 2 with parent and 2 children", gas[2])
    measured("submit, feeder, leaf 3", gas[3])
