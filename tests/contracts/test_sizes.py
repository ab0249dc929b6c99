"""What the calls of a round cost at the largest sizes that can be deployed, each at its worst: below 2^24 gas (VA12).

Sent by nobody in particular: Anvil impersonates the accounts of the nodes. Storage is fresh, as it is only once.
"""

from __future__ import annotations

import random

import pytest
from accusing import Court, feeder_book, plan_evidence, residual_evidence
from brownie import network
from helpers import LARGE, bitmap, overdue, pack_residuals, setting, theta
from link import Link, rpc
from reference.aggregator_model import Declared, pack

MOST_GAS = 2**24  # of a transaction, EIP-7825

# Nodes and steps: (n - 1) * words is 512, or 508.
LARGEST = [(65, 96), (33, 192), (128, 48)]
ROOM = 0.95
"""What may be used at the largest sizes: chains differ a little in what they charge."""


class Street:
    """All nodes of a deployment, with random copies of full range.

    Args:
        tree: children by node.
    """

    def __init__(self, link, manager, n, steps, tree):
        self.link, self.n, self.steps, self.random = link, n, steps, random.Random(n)
        self.parent = {child: node for node, children in tree.items() for child in children} | {0: 0}
        self.tree = tree
        self.accounts = {node: f"0x{0x1000 + node:040x}" for node in range(n)}
        for account in self.accounts.values():
            rpc("anvil_setBalance", account, hex(10**22))
            rpc("anvil_impersonateAccount", account)
        self.gas = {}
        for first in range(0, n, 15):  # as the manager's client does
            few = range(first, min(first + 15, n))
            sent = link.send(manager, "enrol", list(few), [self.accounts[node] for node in few])
            self.note("enrol 15 nodes", sent)
        link.send(manager, "openRound", 1)

    def note(self, what, receipt):
        self.gas[what] = max(self.gas.get(what, 0), receipt.gas_used)

    def depth(self, node):
        return 0 if node == 0 else 1 + self.depth(self.parent[node])

    def declare(self, bids=0, book=lambda node: b""):
        for node in range(self.n):
            children = bitmap(self.tree.get(node, ()))
            values = (self.parent[node], children, self.depth(node), bids if node else 0, book(node) if node else b"")
            self.note("declare", self.link.send(self.accounts[node], "declare", 1, *values))
        self.bids = bids

    def block(self, bits):
        return pack([self.random.getrandbits(bits) for _ in range(self.steps)])

    def copies(self, node):
        children = self.tree.get(node, ())
        kinds = [20, 20, *([16] if children else [])] if self.depth(node) else []
        kinds += [20, 20] * len(children) + ([16] if self.depth(node) > 1 else [])
        return [word for bits in kinds for word in self.block(bits)]

    def submit(self, node, what):
        progress = self.link.view("progress")
        bids = self.random.randbytes(2 * self.bids) if node else b""
        values = (1, progress[1], progress[6], self.copies(node), bids, pack_residuals([10**9] * 4))
        self.note(what, self.link.send(self.accounts[node], "submit", *values))


def star(n):
    return {0: tuple(range(1, n))}


def chain_of(n):
    return {node: (node + 1,) for node in range(n - 1)}


def bushy(n):
    """Inner nodes with as many children as may be."""
    tree = {0: tuple(range(1, min(5, n)))}
    for inner in tree[0]:
        tree[inner] = tuple(range(inner + 4, n, 4))[:31]
    left = set(range(1, n)) - {child for children in tree.values() for child in children}
    return tree | {0: (*tree[0], *sorted(left))}


@pytest.mark.parametrize("shape", [star, chain_of, bushy])
@pytest.mark.parametrize(("n", "steps"), LARGEST)
def test_sizes_ofARound(VirtualAggregator, Clerk, referee, manager, outsider, n, steps, shape):
    """The centre first, while all is fresh; all present but one; closing late with all sums, and in time."""
    if network.show_active() != "development":
        pytest.skip("Ganache impersonates nobody")
    link = Link(manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(n), setting(steps), referee)))
    street = Street(link, manager, n, steps, shape(n))
    street.declare()
    order = sorted(street.tree, key=lambda node: -len(street.tree[node]))
    order += [node for node in range(n) if node not in order]
    for node in order[:-1]:
        street.submit(node, "submit, nothing there yet")
    street.submit(order[-1], "submit, the last one closes")
    for node in order[1:-1]:
        street.submit(node, "submit")
    street.submit(order[0], "submit, the centre after the others, one missing")
    overdue()
    street.note("closeOverdue", link.send(outsider, "closeOverdue"))
    for node in order[1:]:
        street.submit(node, "submit")
    street.submit(order[0], "submit, the centre closes")
    print(f"\n  {n} x {steps} {shape.__name__}: {street.gas}")
    assert max(street.gas.values()) <= ROOM * MOST_GAS
    assert link.view("progress")[1] == 4


@pytest.mark.parametrize("n", [17, 65, 128])
def test_sizes_ofBids(VirtualAggregator, Clerk, referee, manager, n):
    """As many bids as a node may declare."""
    if network.show_active() != "development":
        pytest.skip("Ganache impersonates nobody")
    steps = 48
    link = Link(manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(n), setting(steps), referee)))
    street = Street(link, manager, n, steps, {})
    street.parent = {node: node for node in range(n)}
    street.depth = lambda node: 0
    bids = min(2**16 // (n - 1), steps * (n - 2))

    def book(node):
        entries, left = b"", bids
        for partner in range(n):
            if partner != node and left:
                entries += bytes((partner, min(steps, left), *range(min(steps, left))))
                left -= min(steps, left)
        return entries

    street.declare(bids, book)
    for node in range(n):
        street.submit(node, "submit")
    print(f"\n  {n} nodes with {bids} bids: {street.gas}")
    assert max(street.gas.values()) <= ROOM * MOST_GAS


@pytest.mark.parametrize("charge", ["residuals", "plan"])
def test_sizes_ofEvidence(community, referee, outsider, charge):
    """Against the centre of the largest star: two iterations of all sums, or a plan for a feeder of all homes."""
    n, steps = LARGEST[0]
    feeder = feeder_book([(node, node - 1, 1e-2, 5e-3) for node in range(1, n)])  # one long line
    tree = {0: Declared(0, 0, tuple(range(1, n)), 0, feeder)} | {node: Declared(0, 1, (), 0) for node in range(1, n)}
    made = community(tree, steps=steps, milliwatt=500)
    made.start()
    court = Court(Link(referee), made)
    for _ in range(2):
        made.iterate(LARGE)
    made.submit(0, [1, 0, 0, 0])
    now = made.model.now
    evidence = residual_evidence(now, 0, 2) if charge == "residuals" else plan_evidence(now, 0, 95)
    gas = court.accuse(outsider, 0, evidence).gas_used
    print(f"\n  {n} x {steps} evidence of {charge}: {gas:,} gas, {len(evidence.encoded()):,} bytes")
    assert gas <= ROOM * MOST_GAS
    assert made.view("progress")[2] == 5
