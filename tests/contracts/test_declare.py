"""VirtualAggregator: declaring, and the agreement of parents and children."""

import itertools

import brownie
import pytest
from helpers import FEEDER, PHASE_SECONDS, STAR, Community, bitmap, low, plain, setting, theta
from reference.aggregator_model import Declared


@pytest.fixture
def open_star(community):
    made = community(STAR)
    made.open()
    return made


@pytest.fixture
def open_feeder(community):
    made = community(FEEDER)
    made.open()
    return made


def test_declare_isStoredAndPassedOn(open_star):
    tx = open_star.declare(1, book=b"partners and steps")
    assert dict(tx.events["Declared"]) == {
        "round": 1,
        "node": 1,
        "parent": 0,
        "depth": 1,
        "children": 0,
        "bids": 100,
        "book": "0x" + b"partners and steps".hex(),
    }
    assert plain(open_star.aggregator.declaration(1)) == (1, 0, 1, 100, 0)
    assert open_star.aggregator.copiesLength(1) == 4
    assert plain(open_star.aggregator.scalars()) == (48, 100)
    assert plain(open_star.aggregator.progress())[4:] == (1, 1 << 1)
    assert open_star.aggregator.nodeIn(1, open_star.accounts[1]) == 1


def test_declare_lastStartsTheFirstIteration(open_star, chain):
    for node in (3, 1, 0, 4):
        tx = open_star.declare(node)
        assert "IterationOpened" not in tx.events
    tx = open_star.declare(2)
    deadline = chain[-1].timestamp + PHASE_SECONDS
    assert dict(tx.events["IterationOpened"]) == {"round": 1, "iteration": 1, "deadline": deadline}
    assert plain(open_star.aggregator.progress()) == (1, 1, 2, deadline, 0, 0)
    open_star.check()


@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::97])
def test_declare_takesAnyOrder(open_feeder, order):
    for node in order:
        open_feeder.declare(node)
    open_feeder.check()


def test_declare_failsIfTwice(open_star):
    """VA1, VA6"""
    open_star.declare(1)
    before = plain(open_star.aggregator.progress())
    with brownie.reverts("AlreadyDeclared: 1"):
        open_star.declare(1, bids=3)
    assert plain(open_star.aggregator.progress()) == before
    assert plain(open_star.aggregator.declaration(1))[3] == 100


def test_declare_failsIfNotEnrolled(open_star, outsider):
    """VA5"""
    with brownie.reverts(f"NotEnrolled: {low(outsider)}"):
        open_star.aggregator.declare(1, 0, 0, 1, 0, b"", {"from": outsider})
    with brownie.reverts(f"NotEnrolled: {low(outsider)}"):
        open_star.aggregator.nodeIn(1, outsider)


def test_declare_failsIfWrongRound(open_star):
    with brownie.reverts("WrongRound: 1, 2"):
        open_star.declare(1, round=2)


def test_declare_failsIfIterating(star):
    with brownie.reverts("WrongPhase: 2"):
        star.declare(1)


def test_declare_failsBeforeTheFirstRound(community):
    with brownie.reverts("WrongPhase: 0"):
        community(STAR).declare(1, round=0)


def test_declare_countsAfterTheDeadline(open_star, chain):
    """Late is better than never, as long as nobody has abandoned the round."""
    chain.sleep(PHASE_SECONDS + 1)
    open_star.declare(1)
    assert plain(open_star.aggregator.progress())[4] == 1


# ---------------------------------------------------------------------- the tree


def test_declare_failsIfParentOutOfRange(open_star):
    with brownie.reverts("NodeOutOfRange: 128"):
        open_star.declare(1, parent=128)


@pytest.mark.parametrize(
    ("node", "changes", "error"),
    [
        (1, {"parent": 7}, "7, 1"),  # parent not enrolled
        (0, {"children": bitmap([1, 2, 3, 4, 9])}, "0, 9"),  # child not enrolled
        (1, {"depth": 0}, "0, 1"),  # not a root, yet depth 0
        (1, {"parent": 1}, "1, 1"),  # a root, yet depth 1
        (0, {"children": bitmap([0, 1, 2, 3, 4])}, "0, 0"),  # its own child
    ],
)
def test_declare_failsIfAloneInconsistent(open_star, node, changes, error):
    with brownie.reverts(f"TopologyMismatch: {error}"):
        open_star.declare(node, **changes)


@pytest.mark.parametrize(
    ("first", "node", "changes", "error"),
    [
        # the child comes second
        ([(0, {"children": bitmap([2, 3, 4])})], 1, {}, "0, 1"),  # parent does not list it
        ([(0, {})], 1, {"depth": 2}, "0, 1"),  # depth does not grow by one
        ([(0, {})], 1, {"parent": 2}, "2, 1"),  # listed by 0, names 2, who has not declared
        ([(0, {})], 1, {"parent": 1, "depth": 0}, "1, 1"),  # listed by 0, a root
        # the parent comes second
        ([(1, {"depth": 2})], 0, {}, "0, 1"),  # depth does not grow by one
        ([(1, {"parent": 2})], 0, {}, "0, 1"),  # the child names another
        ([(1, {"parent": 1, "depth": 0})], 0, {}, "0, 1"),  # the child is a root
        ([(0, {})], 2, {"children": bitmap([3])}, "2, 3"),  # two parents list node 3
    ],
)
def test_declare_failsIfItContradictsAnEarlierOne(open_star, first, node, changes, error):
    """VA6"""
    for earlier, its_changes in first:
        open_star.declare(earlier, **its_changes)
    before = plain(open_star.aggregator.progress())
    with brownie.reverts(f"TopologyMismatch: {error}"):
        open_star.declare(node, **changes)
    assert plain(open_star.aggregator.progress()) == before


def test_declare_lastFailsIfAParentDoesNotListItsChild(open_star):
    """Node 1 names 0; 0 declares later without it; when all have declared, nobody can list it any more."""
    open_star.declare(1)
    open_star.declare(0, children=bitmap([2, 3, 4]))
    open_star.declare(2)
    open_star.declare(3)
    with brownie.reverts("TopologyMismatch: 0, 1"):
        open_star.declare(4)


def test_declare_failsOnACycle(VirtualAggregator, manager, nodes):
    """1 - 2 - 3 - 1: some depth must break off."""
    tree = {1: Declared(3, 1, (2,), 0), 2: Declared(1, 2, (3,), 0), 3: Declared(2, 3, (1,), 0)}
    made = Community(manager.deploy(VirtualAggregator, theta(3), setting()), tree, nodes)
    made.enrol()
    made.open()
    made.declare(1)
    made.declare(2)
    with brownie.reverts("TopologyMismatch: 3, 1"):
        made.declare(3)


@pytest.mark.parametrize(("parent", "depth"), [(0, 1), (1, 0)])
def test_declare_failsIfTooManyChildren(VirtualAggregator, manager, nodes, parent, depth):
    """33 holders of one voltage would overflow a lane; the root has none, so it may have any number."""
    aggregator = manager.deploy(VirtualAggregator, theta(35), setting())
    # Addresses nobody has the key of: they need not declare here.
    others = ["0x" + f"{node:040x}" for node in range(2, 35)]
    aggregator.enrol(list(range(35)), [nodes[0], nodes[1], *others], {"from": manager})
    aggregator.openRound(1, {"from": manager})
    children = bitmap(range(2, 34))
    if depth:
        with brownie.reverts("TooManyChildren: 1, 32"):
            aggregator.declare(1, parent, children, depth, 0, b"", {"from": nodes[1]})
        children = bitmap(range(2, 33))
    aggregator.declare(1, parent, children, depth, 0, b"", {"from": nodes[1]})
    assert plain(aggregator.declaration(1))[4] == children
