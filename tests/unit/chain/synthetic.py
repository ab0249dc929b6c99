"""Rounds of random integers: what nodes declare and submit, and residuals, by the text of `IVirtualAggregator` alone.

A block is a (kind, node) pair, kind one of "P", "Q" (flow over the line to the node's parent) and "V" (its voltage).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chains import pass_time
from waiting import until

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.record import Record
from gridpact.chain.values import Residuals, Setting, SignedSubmission, Theta
from gridpact.market.admm.codec import with_key

Block = tuple[str, int]
Book = Mapping[int, tuple[int, ...]]

LANES, LANE_BITS = 12, 21
BIAS = {"P": 1 << 19, "Q": 1 << 19, "V": 1 << 15}
NEVER, AT_ONCE = 1, 2**32 - 1
"""Limits on the residuals with which random integers never, or at once, converge."""


@dataclass(frozen=True)
class Place:
    """A node in the declared tree, and what its bids refer to."""

    parent: int
    depth: int
    children: tuple[int, ...] = ()
    book: Book = field(default_factory=dict)


def star(households: int, steps: tuple[int, ...] = (0, 3, 5)) -> dict[int, Place]:
    """Households around node 0; each trades with the next."""
    nodes = range(1, households + 1)
    books: dict[int, dict[int, tuple[int, ...]]] = {node: {} for node in nodes}
    for node in range(1, households):
        books[node][node + 1] = books[node + 1][node] = steps
    return {0: Place(0, 0, tuple(nodes))} | {
        node: Place(0, 1, book=dict(sorted(books[node].items()))) for node in nodes
    }


FEEDER = {
    0: Place(0, 0, (1,)),
    1: Place(0, 1, (2, 3), {3: (1, 2)}),
    2: Place(1, 2),
    3: Place(1, 2, (), {1: (1, 2), 4: (7,)}),
    4: Place(4, 0, (), {3: (7,)}),
}
"""0 - 1, with branches to 2 and 3; 4 only trades."""


@dataclass
class Iteration:
    """What the nodes that were present submitted."""

    copies: dict[int, dict[Block, list[int]]]  # node -> block -> (T,)
    bids: dict[int, list[int]]


class Community:
    """What its nodes submit in each iteration: random, but each time the same for the same seed."""

    def __init__(self, tree: Mapping[int, Place], steps: int = 24, seed: int = 1) -> None:
        self.tree = tree
        self.steps = steps
        self._random = random.Random(seed)
        self._iterations: list[Iteration] = []
        self.absent: dict[int, set[int]] = {}  # iteration -> nodes

    # ------------------------------------------------------------------ what is declared

    def book(self, node: int) -> bytes:
        return b"".join(bytes((partner, len(s), *s)) for partner, s in self.tree[node].book.items())

    def blocks(self, node: int) -> list[Block]:
        """The blocks that a node holds, in the order of its copies."""
        me = self.tree[node]
        blocks: list[Block] = []
        if me.depth:
            blocks += [("P", node), ("Q", node)]
            if me.children:
                blocks.append(("V", node))
        for child in me.children:
            blocks += [("P", child), ("Q", child)]
        if me.depth > 1:
            blocks.append(("V", me.parent))
        return blocks

    def holders(self, block: Block) -> set[int]:
        return {node for node in self.tree if block in self.blocks(node)}

    # ------------------------------------------------------------------ what is submitted

    def at(self, iteration: int) -> Iteration:
        """The iteration, of all who are present in it."""
        while len(self._iterations) < iteration:
            self._iterations.append(self._draw())
        drawn, absent = self._iterations[iteration - 1], self.absent.get(iteration, set())
        return Iteration(
            {node: copies for node, copies in drawn.copies.items() if node not in absent},
            {node: bids for node, bids in drawn.bids.items() if node not in absent},
        )

    def _draw(self) -> Iteration:
        def lanes(count: int) -> list[int]:
            return [self._random.randint(-1000, 1000) for _ in range(count)]

        return Iteration(
            {node: {block: lanes(self.steps) for block in self.blocks(node)} for node in self.tree},
            {node: lanes(sum(map(len, place.book.values()))) for node, place in self.tree.items()},
        )

    def words(self, node: int, iteration: int) -> tuple[int, ...]:
        """A node's copies, packed."""
        words: list[int] = []
        for (kind, _), lanes in self.at(iteration).copies[node].items():
            for start in range(0, self.steps, LANES):
                part = lanes[start : start + LANES]
                words.append(sum((x + BIAS[kind]) << LANE_BITS * lane for lane, x in enumerate(part)))
        return tuple(words)

    def bids(self, node: int, iteration: int) -> bytes:
        return b"".join(bid.to_bytes(2, "big", signed=True) for bid in self.at(iteration).bids[node])

    # ------------------------------------------------------------------ residuals

    def residuals(self, node: int, iteration: int) -> Residuals:
        """Of a node for an iteration that is closed; zero for the one before the first."""
        if iteration < 1 or node not in self.at(iteration).copies:
            return (0, 0, 0, 0)
        primal = dual = 0
        for block, x in self.at(iteration).copies[node].items():
            c, s = self._sum(block, iteration)
            if c < 2:
                continue
            c_before, s_before = self._sum(block, iteration - 1)
            if c_before < 2 or node not in self.at(iteration - 1).copies:
                c_before, s_before = 1, [0] * self.steps
            primal += -(-sum((c * a - b) ** 2 for a, b in zip(x, s, strict=True)) // c**2)
            change = sum((c_before * a - c * b) ** 2 for a, b in zip(s, s_before, strict=True))
            dual += -(-change // (c * c_before) ** 2)
        pairs, before = self._pairs(node, iteration), self._pairs(node, iteration - 1)
        disagreement = sum((own + theirs) ** 2 for own, theirs in pairs.values())
        moved = 0
        for bid, (own, theirs) in pairs.items():
            own_before, theirs_before = before.get(bid, (0, 0))
            moved += (own - theirs - own_before + theirs_before) ** 2
        return (primal, dual, disagreement, -(-moved // 4))

    def _sum(self, block: Block, iteration: int) -> tuple[int, list[int]]:
        """Number of copies in the sum of a block, and the sum."""
        if iteration < 1:
            return 0, [0] * self.steps
        there = [copies[block] for copies in self.at(iteration).copies.values() if block in copies]
        return len(there), [sum(lane) for lane in zip(*there, strict=True)]

    def _pairs(self, node: int, iteration: int) -> dict[tuple[int, int], tuple[int, int]]:
        """(partner, step) -> own bid and the partner's, where both were present."""
        if iteration < 1 or node not in self.at(iteration).bids:
            return {}
        mine = self._by_partner(node, iteration)
        found = {}
        for partner in self.tree[node].book:
            if partner not in self.tree or partner not in self.at(iteration).bids:
                continue
            if self.tree[partner].book.get(node) != self.tree[node].book[partner]:
                continue
            theirs = self._by_partner(partner, iteration)
            for step in self.tree[node].book[partner]:
                found[partner, step] = mine[partner, step], theirs[node, step]
        return found

    def _by_partner(self, node: int, iteration: int) -> dict[tuple[int, int], int]:
        keys = [(partner, step) for partner, steps in self.tree[node].book.items() for step in steps]
        return dict(zip(keys, self.at(iteration).bids[node], strict=True))


@dataclass
class Played:
    """A community on a chain: who deploys, and a connection with an account for each node."""

    community: Community
    network: Network
    manager: Aggregator
    nodes: dict[int, Aggregator]
    record: Record

    @property
    def tree(self) -> Mapping[int, Place]:
        return self.community.tree

    def open(self) -> int:
        """Opens a round in which all nodes declare."""
        number = self.manager.open_round(20260701 + self.manager.progress().round)  # each round a day of its own
        for node in self.tree:
            self.declare(number, node)
        return number

    def declare(self, number: int, node: int) -> None:
        place, book = self.tree[node], self.book(node)
        if self.record.sealed:
            book = with_key(book, self.nodes[node].round_key(number).public)
        bids = sum(map(len, place.book.values()))
        self.nodes[node].declare(number, place.parent, place.children, place.depth, bids, book)

    def book(self, node: int) -> bytes:
        """What it declares, without the key."""
        return self.community.book(node)

    def submission(self, node: int, iteration: int) -> tuple[tuple[int, ...], bytes, Residuals]:
        """Copies, bids, and honest residuals."""
        said = self.community
        return said.words(node, iteration), said.bids(node, iteration), said.residuals(node, iteration - 1)

    def submit(self, number: int, iteration: int, node: int, residuals: Residuals | None = None) -> None:
        copies, bids, honest = self.submission(node, iteration)
        self.nodes[node].submit(number, iteration, self.head(iteration), copies, bids, residuals or honest)

    def iterate(self, number: int, iteration: int) -> None:
        """All who are not absent submit."""
        for node in self.community.at(iteration).copies:
            self.submit(number, iteration, node)

    def head(self, iteration: int = 0) -> bytes:
        """That the open iteration follows, `iteration` at the earliest: while it makes a block, a chain may be behind
        what it told a moment before."""
        until(lambda: self.manager.head()[0] + 1 >= iteration, f"iteration {iteration} does not open")
        return self.manager.head()[1]

    def sign(self, number: int, iteration: int, node: int) -> SignedSubmission:
        return self.nodes[node].sign(number, iteration, self.head(iteration), node, *self.submission(node, iteration))

    def batch(self, number: int, iteration: int, nodes: Iterable[int] | None = None) -> list[SignedSubmission]:
        return [self.sign(number, iteration, node) for node in (self.tree if nodes is None else nodes)]

    def aggregator(self) -> Aggregator:
        """A connection with a fresh account that has ether."""
        web3 = self.network.connect()
        account = ChainAccount(web3, new_key(), remind_after=0.3)
        self.network.fund([account.address], 10 * ETHER, web3)
        return Aggregator.of(self.record, web3, account)

    def pass_time(self, seconds: int) -> None:
        """The next block is that much later."""
        pass_time(self.network, self.manager.web3, seconds)

    def close(self) -> None:
        for aggregator in (self.manager, *self.nodes.values()):
            aggregator.close()


class Operator(Played):
    """Node 0 publishes a feeder of 0.5 ohm to each household, 400 V, 0.95 to 1.05 p.u."""

    def book(self, node: int) -> bytes:
        if node:
            return super().book(node)
        limits = struct.pack(">III", 400_000, 950_000, 1_050_000)
        return limits + b"".join(struct.pack(">BBII", child, 0, 500_000, 0) for child in self.tree[0].children)


def played(
    network: Network,
    tree: Mapping[int, Place],
    steps: int = 24,
    eps: int = NEVER,
    phase_seconds: int = 600,
    max_misses: int = 2,
    mu: int = 20,
    sealed: bool = False,
) -> Played:
    """Deploys for a community and enrols it."""
    manager = network.manager()
    theta = Theta(len(tree), 10**9, 10**9, eps, eps, eps, eps, mu)
    setting = Setting(steps, 3600, 500, 10, phase_seconds, max_misses)
    roles = manager.address, manager.address
    record = deploy_contracts(manager, theta, setting, network.name, *roles, sealed=sealed)
    accounts = {node: ChainAccount(network.connect(), new_key(), remind_after=0.3) for node in tree}
    addresses = {node: str(account.address) for node, account in accounts.items()}
    network.fund(list(addresses.values()), 10 * ETHER)
    office = enrol_households(manager, record, addresses)
    nodes = {node: Aggregator.of(record, account.web3, account) for node, account in accounts.items()}
    return Played(Community(tree, steps), network, office, nodes, record)
