"""Roles and communities for the contract tests. Run with `brownie test`."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "contracts")]

from helpers import FEEDER, STAR, TRADERS, Community, setting, theta  # noqa: E402


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test starts from the same chain."""


@pytest.fixture(scope="session")
def manager(accounts):
    return accounts[0]


@pytest.fixture(scope="session")
def outsider(accounts):
    return accounts[1]


@pytest.fixture(scope="session")
def nodes(accounts):
    """Accounts of the nodes 0 to 7."""
    return dict(enumerate(accounts[2:10]))


@pytest.fixture(scope="session")
def grid_operator(nodes):
    """Node 0."""
    return nodes[0]


@pytest.fixture(scope="session")
def household(nodes):
    """Node 1."""
    return nodes[1]


@pytest.fixture(scope="session")
def neighbour(nodes):
    """Node 2."""
    return nodes[2]


@pytest.fixture(scope="module")
def community(VirtualAggregator, manager, nodes):
    """Makes a community, enrolled, no round open."""

    def make(tree, mu=50, steps=24, seed=1, accounts=nodes):
        aggregator = manager.deploy(VirtualAggregator, theta(len(tree), mu), setting(steps))
        made = Community(aggregator, tree, accounts, seed)
        made.enrol()
        return made

    return make


def started(community, tree):
    made = community(tree)
    made.start()
    return made


@pytest.fixture(scope="module")
def started_star(community):
    return started(community, STAR)


@pytest.fixture(scope="module")
def started_feeder(community):
    return started(community, FEEDER)


@pytest.fixture
def star(started_star):
    """Node 0 and four households around it; a round was opened and declared."""
    return started_star.again()


@pytest.fixture
def feeder(started_feeder):
    """Agreement between neighbours; a round was opened and declared."""
    return started_feeder.again()


@pytest.fixture
def traders(community):
    """A round without a network, opened and declared."""
    return started(community, TRADERS)
