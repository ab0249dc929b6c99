"""VirtualAggregator: declaring, abstaining, and the tree that is left when the round starts."""

import itertools
import random

import pytest
from helpers import FEEDER, LARGE, NONE, PHASE_SECONDS, STAR, TRADERS, book_of, low, overdue, setting, theta
from link import Link, refused
from reference.aggregator_model import Declared, bitmap, keccak


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
    book = book_of(1, 50, STAR, 24) + b"and more"
    tx = open_star.declare(1, book=book)
    assert tx.one("Declared").values == {
        "round": 1,
        "node": 1,
        "parent": 0,
        "depth": 1,
        "children": 0,
        "bids": 50,
        "book": book,
    }
    assert open_star.view("declaration", 1) == (1, 0, 1, 50, 0, 0, False)
    assert open_star.view("commitment", 1, 1) == (bytes(32), keccak(book))
    assert open_star.view("copiesLength", 1) == 4
    assert open_star.view("progress")[4:] == (1, 5, 0, 1 << 1)
    assert open_star.view("nodeIn", 1, str(open_star.accounts[1])) == 1
    assert open_star.view("accountIn", 1, 1) == low(open_star.accounts[1])
    open_star.check()


def test_declare_lastStartsTheFirstIteration(open_star):
    for node in (3, 1, 0, 4):
        assert open_star.declare(node).names == ["Declared"]
    tx = open_star.declare(2)
    deadline = tx.timestamp + PHASE_SECONDS
    assert tx.one("RoundStarted").values == {"round": 1, "nodes": 0b11111, "lines": 0b11110, "inner": 0}
    assert tx.one("IterationOpened").values == {"round": 1, "iteration": 1, "deadline": deadline}
    assert tx.names == ["Declared", "RoundStarted", "IterationOpened"]
    assert open_star.view("progress") == (1, 1, 2, deadline, 0, 5, 0, 0)
    assert open_star.view("scalars") == ((4 + 4) * 2 * 24, 59)
    open_star.check()


def test_declare_ofAFeederHasVoltages(open_feeder):
    for node in FEEDER:
        tx = open_feeder.declare(node)
    assert tx.one("RoundStarted").values == {"round": 1, "nodes": 0b111111, "lines": 0b111110, "inner": 0b110}
    open_feeder.check()


@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::97])
def test_declare_takesAnyOrder(open_feeder, order):
    for node in order:
        open_feeder.declare(node)
    open_feeder.check()


def test_declare_failsIfTwice(open_star):
    """VA1, VA6"""
    open_star.declare(1)
    before = open_star.view("progress")
    with refused("AlreadyDeclared: 1"):
        open_star.declare(1, bids=3)
    assert open_star.view("progress") == before
    assert open_star.view("declaration", 1)[3] == 50


def test_declare_failsIfNotEnrolled(open_star, outsider):
    """VA5"""
    with refused(f"NotEnrolled: {low(outsider)}"):
        open_star.send(outsider, "declare", 1, 0, 0, 1, 0, b"")


@pytest.mark.parametrize("round_", [0, 2])
def test_declare_failsIfWrongRound(open_star, round_):
    with refused(f"WrongRound: 1, {round_}"):
        open_star.declare(1, round_)


def test_declare_failsIfIterating(star):
    with refused("WrongPhase: 2"):
        star.declare(1)


def test_declare_failsBeforeTheFirstRound(community):
    with refused("WrongPhase: 0"):
        community(STAR).declare(1, 0)


def test_declare_countsAfterTheDeadline(open_star):
    """Late is better than never, as long as nobody has started the round."""
    overdue()
    open_star.declare(1)
    assert open_star.view("progress")[4] == 1


# ---------------------------------------------------------------------- one declaration for itself


def test_declare_failsIfParentOutOfRange(open_star):
    with refused("NodeOutOfRange: 128"):
        open_star.declare(1, parent=128)


@pytest.mark.parametrize(
    ("node", "changes", "error"),
    [
        (1, {"parent": 7}, "7, 1"),  # parent not enrolled
        (0, {"children": (1, 2, 3, 4, 9)}, "0, 9"),  # child not enrolled
        (1, {"depth": 0}, "0, 1"),  # not a root, yet depth 0
        (1, {"parent": 1}, "1, 1"),  # a root, yet depth 1
        (0, {"children": (0, 1, 2, 3, 4)}, "0, 0"),  # its own child
    ],
)
def test_declare_failsIfAloneInconsistent(open_star, node, changes, error):
    """VA6"""
    before = open_star.view("progress")
    with refused(f"TopologyMismatch: {error}"):
        open_star.declare(node, **changes)
    assert open_star.view("progress") == before


@pytest.mark.parametrize("node", [1, 0])
def test_declare_failsIfTooManyChildren(VirtualAggregator, Clerk, manager, referee, nodes, node):
    """33 holders of one voltage would overflow a lane; the root has none, so it may have any number."""
    depth = min(node, 1)
    link = Link(manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(35), setting(), referee)))
    # Addresses nobody has the key of: they need not declare here.
    others = ["0x" + f"{node:040x}" for node in range(2, 35)]
    link.send(manager, "enrol", list(range(35)), [str(nodes[0]), str(nodes[1]), *others])
    link.send(manager, "openRound", 1)
    children = bitmap(range(2, 34))
    if depth:
        with refused("TooManyChildren: 1, 32"):
            link.send(nodes[1], "declare", 1, 0, children, depth, 0, b"")
        children = bitmap(range(2, 33))
    link.send(nodes[node], "declare", 1, 0, children, depth, 0, b"")
    assert link.view("declaration", node)[4] == children


@pytest.mark.parametrize("node", [1, 3])
def test_declare_failsIfARootBesidesTheGridConnectionHasChildren(open_star, node):
    """VA6, VA10: there is one tree, so nobody's exclusion can be taken for that of its root."""
    with refused(f"TopologyMismatch: {node}, 2"):
        open_star.declare(node, parent=node, depth=0, children=(2,))


# What a book of a length can carry for node 1 of the star, 24 steps: a header and a byte a step for each of 4 partners.
BOOKS = {
    "no book": (b"", 0),
    "a header": (bytes((2, 0)), 0),
    "one step": (bytes((2, 1, 0)), 1),
    "two partners with few steps": (bytes((2, 3, 0, 1, 2, 3, 2, 5, 6)), 7),
    "all steps of one": (bytes((2, 24, *range(24))), 24),
    "and half a header": (bytes((2, 24, *range(24), 3)), 24),
    "and a header": (bytes((2, 24, *range(24), 3, 0)), 24),
    "and a step of another": (bytes((2, 24, *range(24), 3, 1, 0)), 25),
    "all steps of all": (b"".join(bytes((partner, 24, *range(24))) for partner in (0, 2, 3, 4)), 96),
    "more than that": (bytes(1_000), 96),
}


@pytest.mark.parametrize("name", BOOKS)
def test_declare_failsIfBidsBeyondTheBook(open_star, name):
    """VA11: bids that nobody can mean would loosen the limits for all."""
    book, most = BOOKS[name]
    for bids in (most + 1, 60_000, 2**16 - 1):
        with refused(f"TooManyBids: {most}, {bids}"):
            open_star.declare(1, bids=bids, book=book)
    open_star.declare(1, bids=most, book=book)
    open_star.declare(2, bids=0, book=book)
    open_star.check()


def test_declare_failsIfBidsCannotBeChecked(VirtualAggregator, Clerk, manager, referee, nodes):
    """VA12: evidence against a node holds the bids of all its partners."""
    link = Link(manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(128), setting(48), referee)))
    others = ["0x" + f"{node:040x}" for node in range(1, 61)]
    link.send(manager, "enrol", list(range(61)), [str(nodes[0]), *others])
    link.send(manager, "openRound", 1)
    book = b"".join(bytes((partner, 48, *range(48))) for partner in range(1, 61))
    most = 2**16 // 127
    with refused(f"TooManyBids: {most}, {most + 1}"):
        link.send(nodes[0], "declare", 1, 0, 0, 0, most + 1, book)
    link.send(nodes[0], "declare", 1, 0, 0, 0, most, book)


# ---------------------------------------------------------------------- declarations that do not agree

STRAY = {  # node, what it declares falsely, who is left, and whose children
    "the parent does not list the child": (0, {"children": (2, 3, 4)}, {0, 2, 3, 4}),
    "the depth does not grow by one": (1, {"depth": 2}, {0, 2, 3, 4}),
    "the child names another parent": (1, {"parent": 2}, {0, 2, 3, 4}),
    "the child is a root": (1, {"parent": 1, "depth": 0}, {0, 1, 2, 3, 4}),
    "a second parent lists the child": (2, {"children": (3,)}, {0, 1, 2, 3, 4}),
    "the root lists nobody": (0, {"children": ()}, {0}),
    "there is no root": (0, {"parent": 1, "depth": 2}, set()),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", STRAY)
def test_declarations_thatDoNotAgree(open_star, name, seed):
    """What is false hurts its author and those below it, in any order; the round starts with the others."""
    false, changes, left = STRAY[name]
    for node in random.Random(seed).sample(sorted(STAR), len(STAR)):
        tx = open_star.declare(node, **(changes if node == false else {}))
    assert set(open_star.model.now.nodes) == left
    assert ("RoundStarted" in tx.names) == bool(left)
    assert ("RoundEnded" in tx.names) == (not left)
    open_star.check()
    if left:
        open_star.iterate()
        open_star.iterate()
        open_star.check()
        for dropped in set(STAR) - left:
            with refused(f"NotInRound: {dropped}, 1"):
                open_star.send(open_star.accounts[dropped], "submit", 1, 3, open_star.view("progress")[6], [], b"", 0)


def test_declarations_ofACycleAreDropped(community):
    """1 - 2 - 3 - 1: some depth must break off, and nobody reaches a root."""
    tree = {1: Declared(3, 1, (2,), 0), 2: Declared(1, 2, (3,), 0), 3: Declared(2, 3, (1,), 0)}
    made = community(tree)
    tx = made.start()
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 0}
    made.check()
    made.open()
    made.declare(1, parent=1, depth=0, children=())
    made.check()


@pytest.mark.parametrize("seed", range(8))
def test_declarations_fuzzed(community, seed):
    """Any declarations that are consistent for themselves, in any order, against the plain model."""
    chance = random.Random(seed)
    everybody = list(range(8))
    tree = {node: Declared(node, 0, (), node) for node in everybody}
    made = community(tree, seed=seed)
    for _ in range(2):
        made.open()
        for node in chance.sample(everybody, len(everybody)):
            parent = chance.choice([node, 0, 0, 1, 2, node // 2])
            depth = 0 if parent == node else chance.choice([1, 1, 2, 2, 3])
            alone = depth == 0 and node != 0
            children = () if alone else tuple(one for one in everybody if one != node and chance.random() < 0.6)
            made.declare(node, parent=parent, depth=depth, children=children)
        made.check()
        if made.model.now.phase == "Iterating":
            made.iterate()
            made.check()
            for _ in range(made.model.max_misses):
                made.close(made.accounts[0])
        made.check()


# ---------------------------------------------------------------------- abstaining


def test_abstain_isHeard(open_star):
    """It counts as heard, and is one of the round for settlement, but has nothing to submit."""
    tx = open_star.abstain(2)
    assert tx.names == ["Abstained"]
    assert tx.one("Abstained").values == {"round": 1, "node": 2}
    assert open_star.view("progress")[4:] == (1, 5, 0, 1 << 2)
    assert open_star.view("declaration", 2) == (1, 2, 1, 0, 0, 0, True)
    assert open_star.view("nodeIn", 1, str(open_star.accounts[2])) == 2
    assert open_star.view("accountIn", 1, 2) == low(open_star.accounts[2])
    open_star.check()


@pytest.mark.parametrize("last", [2, 4])
def test_abstain_keepsNobodyWaiting(open_star, last):
    """VA1: the round starts before the deadline with the others, whoever is the last to be heard, and converges."""
    order = [node for node in STAR if node != last] + [last]
    for node in order:
        tx = open_star.abstain(node) if node == 2 else open_star.declare(node)
    assert tx.one("RoundStarted").values == {"round": 1, "nodes": 0b11011, "lines": 0b11010, "inner": 0}
    assert open_star.view("progress")[4:6] == (0, 4)
    open_star.check()
    with refused("NotInRound: 2, 1"):
        open_star.send(open_star.accounts[2], "submit", 1, 1, 0, [], b"", 0)
    for residuals in (LARGE, LARGE, NONE):
        tx = open_star.iterate(residuals)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 3, "iterations": 3}
    open_star.check()
    open_star.start()  # in the next round it is there again
    assert open_star.view("roster")[0] == 0b11111
    open_star.check()


def test_abstain_takesThoseBelowAlong(open_feeder):
    for node in (0, 1, 3, 4, 5):
        open_feeder.declare(node)
    open_feeder.abstain(2)
    assert set(open_feeder.model.now.nodes) < set(FEEDER) - {2}
    open_feeder.check()


@pytest.mark.parametrize("first", ["declare", "abstain"])
@pytest.mark.parametrize("second", ["declare", "abstain"])
def test_abstain_isOneOfTwo(open_star, first, second):
    """VA1, VA6: who was heard is not heard again."""
    getattr(open_star, first)(1)
    before = open_star.view("progress"), open_star.view("declaration", 1)
    with refused("AlreadyDeclared: 1"):
        getattr(open_star, second)(1)
    assert before == (open_star.view("progress"), open_star.view("declaration", 1))


def test_abstain_endsTheRoundIfAllDo(open_star):
    for node in STAR:
        tx = open_star.abstain(node)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 0}
    open_star.check()


def test_abstain_failsIfNotEnrolled(open_star, outsider):
    """VA5"""
    with refused(f"NotEnrolled: {low(outsider)}"):
        open_star.send(outsider, "abstain", 1)


@pytest.mark.parametrize("round_", [0, 2])
def test_abstain_failsIfWrongRound(open_star, round_):
    with refused(f"WrongRound: 1, {round_}"):
        open_star.abstain(1, round_)


def test_abstain_failsIfIterating(star):
    with refused("WrongPhase: 2"):
        star.abstain(1)


# ---------------------------------------------------------------------- silence


@pytest.mark.parametrize("tree", [STAR, FEEDER, TRADERS], ids=["star", "feeder", "traders"])
@pytest.mark.parametrize("missing", [1, 2])
def test_closeOverdue_startsWithThoseWhoDeclared(community, outsider, tree, missing):
    """A silent node stops nobody but those below it."""
    made = community(tree)
    made.open()
    for node in tree:
        if node != missing:
            made.declare(node)
    tx = made.close(outsider)
    assert tx.one("RoundStarted")["nodes"] == bitmap(made.model.now.nodes)
    made.check()
    made.iterate()
    made.iterate()
    made.check()
    with refused(f"NotInRound: {missing}, 1"):
        made.send(made.accounts[missing], "submit", 1, 3, made.view("progress")[6], [], b"", 0)


def test_closeOverdue_abandonsIfNobodyDeclared(community, outsider):
    made = community(STAR)
    made.open()
    tx = made.close(outsider)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 0}
    made.check()
    made.start()
    assert made.view("progress")[:3] == (2, 1, 2)
