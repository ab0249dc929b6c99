"""What the contract tests share: packing, trees, and a community that plays beside the reference model."""

from __future__ import annotations

import random
from typing import Any

from reference.aggregator_model import AggregatorModel, Block, Declared

PHASES = ["None", "Declaring", "Iterating", "Converged", "Exhausted", "Abandoned"]
LANES, LANE_BITS = 12, 21
PAYLOAD_BITS = {"P": 20, "Q": 20, "V": 16}
PHASE_SECONDS = 600
EPS = (1000, 2000, 3000, 4000)  # 1/1000 resolution unit

STAR = {
    0: Declared(0, 0, (1, 2, 3, 4), 0),
    1: Declared(0, 1, (), 100),
    2: Declared(0, 1, (), 7),
    3: Declared(0, 1, (), 0),
    4: Declared(0, 1, (), 2),
}
# The feeder 0 - 1 - 2 - 3 with branches 1 - 5 and 2 - 4.
FEEDER = {
    0: Declared(0, 0, (1,), 0),
    1: Declared(0, 1, (2, 5), 4),
    2: Declared(1, 2, (3, 4), 3),
    3: Declared(2, 3, (), 2),
    4: Declared(2, 3, (), 1),
    5: Declared(1, 2, (), 6),
}
# No network: every node is a root.
TRADERS = {1: Declared(1, 0, (), 4), 2: Declared(2, 0, (), 4), 3: Declared(3, 0, (), 4)}


def plain(value: Any) -> Any:
    """What a view returned, in plain types: brownie 1.22.2 cannot compare its own tuples with integers."""
    return tuple(map(plain, value)) if isinstance(value, tuple) else int(value)


def low(account: Any) -> str:
    """An address as brownie writes it in a custom error."""
    return str(account).lower()


def bitmap(nodes: Any) -> int:
    return sum(1 << node for node in nodes)


def pack(values: list[int]) -> list[int]:
    """Lanes of a block to words."""
    return [
        sum(value << LANE_BITS * lane for lane, value in enumerate(values[start : start + LANES]))
        for start in range(0, len(values), LANES)
    ]


def unpack(words: list[int], steps: int) -> list[int]:
    """Words of a block to lanes."""
    return [words[t // LANES] >> LANE_BITS * (t % LANES) & (1 << LANE_BITS) - 1 for t in range(steps)]


def pack_residuals(values: list[int]) -> int:
    return sum(value << 64 * (3 - lane) for lane, value in enumerate(values))


def theta(n: int, mu: int = 50, eps: tuple[int, int, int, int] = EPS) -> tuple[int, ...]:
    return (n, 10**9, 2 * 10**9, *eps, mu)


def setting(steps: int = 24) -> tuple[int, ...]:
    return (steps, 900, 10, 100, PHASE_SECONDS)


class Community:
    """Accounts and their declarations on one aggregator, with the reference model beside it."""

    def __init__(self, aggregator: Any, tree: dict[int, Declared], accounts: dict[int, Any], seed: int = 1) -> None:
        self.aggregator = aggregator
        self.tree = tree
        self.accounts = accounts
        self.random = random.Random(seed)
        self.steps = plain(aggregator.setting())[0]
        self.round = 0
        self.model = self._model()

    def again(self) -> Community:
        """As this one was when its round started, to where the chain was taken back."""
        other = Community(self.aggregator, self.tree, self.accounts)
        other.round = self.round
        return other

    def _model(self) -> AggregatorModel:
        limits = plain(self.aggregator.theta())
        return AggregatorModel(self.tree, self.steps, mu=limits[7], eps=tuple(limits[3:7]))

    def enrol(self) -> Any:
        manager = self.aggregator.owner()
        nodes = list(self.tree)
        return self.aggregator.enrol(nodes, [self.accounts[node] for node in nodes], {"from": manager})

    def open(self) -> Any:
        tx = self.aggregator.openRound(20260701, {"from": self.aggregator.owner()})
        self.round += 1
        self.model = self._model()
        return tx

    def declare(self, node: int, **changes: Any) -> Any:
        me = self.tree[node]
        values = {
            "round": self.round,
            "parent": me.parent,
            "children": bitmap(me.children),
            "depth": me.depth,
            "bids": me.bids,
            "book": b"book of %d" % node,
            **changes,
        }
        return self.aggregator.declare(*values.values(), {"from": self.accounts[node]})

    def start(self, order: list[int] | None = None) -> Any:
        """Opens a round and declares; returns the last declaration."""
        self.open()
        for node in order or list(self.tree):
            tx = self.declare(node)
        return tx

    def copies(self, node: int, largest: bool = False) -> dict[Block, list[int]]:
        """Random copies of a node's blocks, sometimes at the ends of their range."""
        blocks = {}
        for block in self.model.blocks(node):
            top = (1 << PAYLOAD_BITS[block[0]]) - 1
            pick = [top] if largest else [0, top, self.random.randint(0, top), self.random.randint(0, top)]
            blocks[block] = [self.random.choice(pick) for _ in range(self.steps)]
        return blocks

    def bids(self, node: int) -> bytes:
        return self.random.randbytes(2 * self.tree[node].bids)

    def submit(self, node: int, residuals: list[int] | None = None, largest: bool = False, **changes: Any) -> Any:
        """Submits random copies, to the contract and then to the model."""
        copies = self.copies(node, largest)
        residuals = residuals or [1 << 55] * 4
        values = {
            "round": self.round,
            "iteration": self.model.iteration,
            "copies": [word for lanes in copies.values() for word in pack(lanes)],
            "bids": self.bids(node),
            "residuals": pack_residuals(residuals),
            **changes,
        }
        tx = self.aggregator.submit(*values.values(), {"from": self.accounts[node]})
        self.model.submit(node, copies, residuals)
        return tx

    def iterate(self, residuals: list[int] | None = None, order: list[int] | None = None) -> Any:
        """One iteration of all nodes; returns the last submission."""
        for node in order or self.random.sample(list(self.tree), len(self.tree)):
            tx = self.submit(node, residuals)
        return tx

    def check(self) -> None:
        """Compares everything readable with the model."""
        model, aggregator = self.model, self.aggregator
        progress = plain(aggregator.progress())
        assert progress[0] == self.round
        assert PHASES[progress[2]] == model.phase
        assert plain(aggregator.scalars()) == model.scalars()
        if model.phase == "Iterating":
            assert progress[1] == model.iteration
            assert progress[4] == len(model.open.copies)
            assert progress[5] == bitmap(model.open.copies)
        else:
            assert plain(aggregator.outcome(self.round)) == (
                progress[2],
                len(model.closed),
                bitmap(model.present()),
            )
        if not model.closed:
            return
        assert aggregator.residuals() == pack_residuals(model.residuals())
        for node in self.tree:
            iteration, present, words = plain(aggregator.coupling(node))
            assert iteration == len(model.closed)
            assert present == bitmap(model.present())
            expected = model.coupling(node)
            per_block = -(-self.steps // LANES)
            assert len(words) == per_block * len(expected) == aggregator.copiesLength(node)
            for at, lanes in enumerate(expected.values()):
                if lanes is not None:
                    assert unpack(words[at * per_block : (at + 1) * per_block], self.steps) == lanes
