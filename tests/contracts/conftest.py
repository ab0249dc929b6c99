"""Roles and communities for the contract tests. Run with `brownie test`."""

import json
import os
import sys
from pathlib import Path

import pytest
from brownie.network.transaction import TransactionReceipt

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "contracts")]

from helpers import FEEDER, MAX_MISSES, STAR, TRADERS, Community, setting, theta  # noqa: E402
from link import receipt_of, rpc  # noqa: E402

GAS = TESTS / "contracts" / "gas.json"
# Payloads and signatures have a few zero bytes more or less; anything else is a change of the contract.
GAS_TOLERANCE = 0.01


@pytest.fixture(scope="session", autouse=True)
def patience():
    """Brownie takes for dropped what a busy chain has counted and has no receipt of yet: let it wait for that."""
    confirm = TransactionReceipt._await_confirmation

    def confirm_received(self, *args, **kwargs):
        receipt_of(self.txid)
        return confirm(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionReceipt, "_await_confirmation", confirm_received)
        yield


@pytest.fixture(autouse=True)
def isolation(module_isolation, history):
    """Every test starts from the chain as the fixtures of its module left it."""
    snapshot = rpc("evm_snapshot")
    yield
    rpc("evm_revert", snapshot)
    history.clear()  # else brownie waits for nonces that are no more


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
def household(nodes):
    """Node 1."""
    return nodes[1]


@pytest.fixture(scope="session")
def neighbour(nodes):
    """Node 2."""
    return nodes[2]


@pytest.fixture(scope="module")
def signers(module_isolation, accounts):
    """Accounts of the nodes, with keys that sign: signers(n) are the nodes 0 to n - 1."""

    def add(node):
        account = accounts.add("0x" + f"{node + 1:02x}" * 32)
        accounts[9].transfer(account, "2 ether")
        return account

    first = {node: add(node) for node in range(8)}
    return lambda count: {node: first[node] if node in first else add(node) for node in range(count)}


@pytest.fixture(scope="module")
def referee(module_isolation, Referee, manager):
    return manager.deploy(Referee)


@pytest.fixture(scope="module")
def community(VirtualAggregator, Clerk, referee, manager, signers):
    """Makes a community, enrolled, no round open."""

    def make(tree, mu=50, steps=24, seed=1, max_misses=MAX_MISSES, milliwatt=10):
        chosen = setting(steps, max_misses, milliwatt)
        aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(len(tree), mu), chosen, referee))
        made = Community(aggregator, tree, signers(max(tree) + 1), seed)
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


@pytest.fixture(scope="session")
def measured():
    """Compares gas with the snapshot; with GAS_SNAPSHOT=write, writes the figure to it instead."""
    snapshot = json.loads(GAS.read_text())

    def compare(name, gas):
        print(f"\n  gas {name}: {gas:,}")
        if os.environ.get("GAS_SNAPSHOT") == "write":
            snapshot[name] = gas
            GAS.write_text(json.dumps(snapshot, indent=1, sort_keys=True) + "\n")
        assert name in snapshot, f"{GAS.name} has no figure for this call; run again with GAS_SNAPSHOT=write"
        assert gas == pytest.approx(snapshot[name], rel=GAS_TOLERANCE)

    return compare
