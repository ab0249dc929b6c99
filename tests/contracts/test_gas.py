"""What a round costs, against figures that are committed: a change must be deliberate."""

import random

import pytest
from helpers import FEEDER, Community, setting, theta
from link import Link
from reference.aggregator_model import Declared, Part, pack

HOUSEHOLDS, STEPS, PARTNERS, BIDS = 16, 24, 4, 104
BIAS = 1 << 19


def book_of(node):
    """Four partners on either side of the node in a ring, 13 steps each: 104 bids."""
    book = b""
    for partner in range(1, HOUSEHOLDS + 1):
        apart = (partner - node) % HOUSEHOLDS
        if 0 < min(apart, HOUSEHOLDS - apart) <= PARTNERS:
            common = random.Random(min(node, partner) * 100 + max(node, partner))
            book += bytes((partner, 13, *sorted(common.sample(range(STEPS), 13))))
    return book


def bids_of(chance, count):
    """Up to 3 kW in steps of 0.5 W; a third are zero, as a trade does not pay at every step."""
    values = [chance.choice([0, 1, 1]) * chance.randint(-6000, 6000) for _ in range(count)]
    return b"".join(value.to_bytes(2, "big", signed=True) for value in values)


@pytest.fixture
def star16(VirtualAggregator, Clerk, referee, manager, signers):
    """16 households with about 100 bids each, and node 0."""
    books = {node: book_of(node) for node in range(1, HOUSEHOLDS + 1)}
    tree = {0: Declared(0, 0, tuple(range(1, HOUSEHOLDS + 1)), 0, bytes(12 + 10 * HOUSEHOLDS))}
    tree |= {node: Declared(0, 1, (), BIDS, book) for node, book in books.items()}
    aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(len(tree)), setting(STEPS), referee))
    community = Community(aggregator, tree, signers(len(tree)))
    community.enrol()
    community.open()
    return community


def realistic(community, node):
    """Net injections of up to 5 kW in steps of 0.5 W, bids, residuals of thousands of units each."""
    chance = community.random
    words = []
    for _ in community.model.now.blocks(node):
        words += pack([BIAS + chance.randint(-10_000, 10_000) for _ in range(STEPS)])
    residuals = sum(chance.randint(10**6, 10**9) << 64 * lane for lane in range(4))
    return Part(node, tuple(words), bids_of(chance, community.tree[node].bids), residuals)


def iterate(community, order):
    """Directly; gas by node."""
    return {node: community.submit(node, part=realistic(community, node)).gas_used for node in order}


ORDER = [*range(1, HOUSEHOLDS + 1), 0]  # the operator's node answers last


def test_gas_declare(star16, measured):
    measured("star16: declare, the first household", star16.declare(1).gas_used)
    for node in range(2, HOUSEHOLDS + 1):
        tx = star16.declare(node)
    measured("star16: declare, a later household", tx.gas_used)
    measured("star16: declare, node 0, which starts the round", star16.declare(0).gas_used)


def test_gas_abstain(star16, measured):
    measured("star16: abstain", star16.abstain(1).gas_used)


def test_gas_direct(star16, measured):
    """The target: at most 100,000 gas a household and iteration, node 0's included."""
    for node in star16.tree:
        star16.declare(node)
    first = iterate(star16, ORDER)
    measured("star16: direct, a household, first iteration", first[8])
    iterate(star16, ORDER)
    gas = iterate(star16, ORDER)
    measured("star16: direct, a household", gas[8])
    measured("star16: direct, node 0, which closes the iteration", gas[0])
    each = sum(gas.values()) / HOUSEHOLDS
    measured("star16: direct, a household and iteration", round(each))
    assert each <= 100_000


def test_gas_relayed(star16, outsider, measured):
    """The target: at most 40,000 gas a household and iteration, in one transaction."""
    for node in star16.tree:
        star16.declare(node)
    for _ in range(3):
        gas = star16.relay([realistic(star16, node) for node in ORDER], outsider).gas_used
    measured("star16: relayed, an iteration", gas)
    measured("star16: relayed, a household and iteration", round(gas / HOUSEHOLDS))
    assert gas / HOUSEHOLDS <= 40_000


def test_gas_relayedInTwo(star16, outsider, measured):
    """The households first, then node 0, which has heard them."""
    for node in star16.tree:
        star16.declare(node)
    for _ in range(3):
        first = star16.relay([realistic(star16, node) for node in ORDER[:-1]], outsider).gas_used
        second = star16.submit(0, part=realistic(star16, 0)).gas_used
    measured("star16: relayed, all households", first)
    measured("star16: direct, node 0 after them", second)


def test_gas_feeder(community, outsider, measured):
    made = community(FEEDER)
    made.start()
    order = list(FEEDER)
    for _ in range(2):
        made.iterate(order=order)
    gas = {node: made.submit(node).gas_used for node in order}
    measured("feeder: direct, a node with a parent, two children and 3 bids", gas[2])
    measured("feeder: direct, a leaf with 2 bids", gas[3])
    gas = made.relay([made.part(node) for node in order], outsider).gas_used
    measured("feeder: relayed, an iteration of six nodes", gas)


def test_gas_reference(star16, ReferenceAggregator, manager, measured):
    """The same numbers, each in a slot of its own."""
    plain = Link(manager.deploy(ReferenceAggregator, theta(17), setting(STEPS)))
    nodes = star16.accounts
    plain.send(manager, "enrol", list(star16.tree), [str(nodes[node]) for node in star16.tree])
    plain.send(manager, "openRound")
    for node, said in star16.tree.items():
        plain.send(nodes[node], "declare", said.parent, said.children, said.depth, said.bids)
    chance = star16.random
    for iteration in (1, 2, 3):
        gas = 0
        for node in ORDER:
            copies = [chance.randint(-10_000, 10_000) for _ in range(plain.view("copiesLength", node))]
            bids = [chance.randint(-6000, 6000) for _ in range(star16.tree[node].bids)]
            gas += plain.send(nodes[node], "submit", iteration, copies, bids, [10**6] * 4).gas_used
    measured("star16: reference, a household and iteration", round(gas / HOUSEHOLDS))
