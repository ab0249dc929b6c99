"""What the contract tests share: trees, signatures, calls in batches, and a community beside the reference model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from brownie import chain, web3
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak
from link import Link, Receipt, grouped
from reference.aggregator_model import (
    PAYLOAD_BITS,
    SUBMISSION,
    AggregatorModel,
    Block,
    Declared,
    Part,
    bitmap,
    capacity,
    hash_words,
    pack,
    submission_hash,
    unpack,
)

PHASE_SECONDS = 600
MAX_MISSES = 2
FIRST_DAY = 20260701
EPS = (1000, 2000, 3000, 4000)  # 1/1000 resolution unit
LARGE = [1 << 55] * 4  # residuals far beyond any limit
NONE = [0] * 4

STAR = {
    0: Declared(0, 0, (1, 2, 3, 4), 0),
    1: Declared(0, 1, (), 50),
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


def pack_residuals(values: Sequence[int]) -> int:
    return sum(value << 64 * (3 - lane) for lane, value in enumerate(values))


def theta(n: int, mu: int = 50, eps: tuple[int, int, int, int] = EPS) -> tuple[int, ...]:
    return (n, 10**9, 2 * 10**9, *eps, mu)


def setting(steps: int = 24, max_misses: int = MAX_MISSES, milliwatt: int = 10) -> tuple[int, ...]:
    return (steps, 900, milliwatt, 100, PHASE_SECONDS, max_misses)


def overdue() -> None:
    """Lets the deadline pass."""
    chain.sleep(PHASE_SECONDS + 5)
    chain.mine()


def book_of(node: int, bids: int, others: Iterable[int], steps: int) -> bytes:
    """A book that carries so many bids, at the first steps of the first of the others."""
    book = b""
    for other in sorted(set(others) - {node}):
        count = min(bids, steps)
        book += bytes((other, count, *range(count)))
        bids -= count
    assert not bids, "more bids than partners and steps"
    return book


# ---------------------------------------------------------------------- signatures


RELAYED = f"Relayed(Submission submission,bytes32 head){SUBMISSION}"
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def domain_separator(contract: str, chain_id: int) -> bytes:
    types = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    return keccak(encode(types, [keccak(text=DOMAIN), keccak(text="gridpact"), keccak(text="1"), chain_id, contract]))


def relay_digest(contract: str, chain_id: int, h: bytes, head: bytes) -> bytes:
    """What is signed: h in this history of this contract on this chain."""
    return keccak(
        b"\x19\x01"
        + domain_separator(contract, chain_id)
        + keccak(encode(["bytes32"] * 3, [keccak(text=RELAYED), h, head]))
    )


def signature(key: str, digest: bytes) -> tuple[bytes, bytes]:
    """r and vs of EIP-2098."""
    made = Account.unsafe_sign_hash(digest, key)
    return made.r.to_bytes(32, "big"), (made.s | (made.v - 27) << 255).to_bytes(32, "big")


# ---------------------------------------------------------------------- a community


OF_A_PRODUCT = frozenset(
    ("progress", "roster", "scalars", "head", "declaration", "running", "copiesLength", "agreedIn", "closeOverdue")
)
"""Calls that have a twin for any product, whose name ends in `Of`."""


class Community:
    """Accounts and their declarations for a product of one aggregator, with the reference model beside it."""

    def __init__(
        self,
        aggregator: Any,
        tree: Mapping[int, Declared],
        accounts: Mapping[int, Any],
        seed: int = 1,
        product: int = 0,
    ) -> None:
        self.product = product
        self.aggregator = aggregator
        self.link = Link(aggregator)
        self.manager = aggregator.owner()
        self.accounts = accounts  # local ones: their keys sign
        self.random = random.Random(seed)
        limits, self.setting = plain(aggregator.theta()), plain(aggregator.setting())
        self.steps = self.setting[0]
        self.tree = {node: self.carried(tree, node) for node in tree}
        self.chain_id = web3.eth.chain_id
        self.model = AggregatorModel(
            set(tree), self.steps, mu=limits[7], eps=tuple(limits[3:7]), max_misses=self.setting[5], n=limits[0]
        )
        self.model.product = product

    def carried(self, tree: Mapping[int, Declared], node: int) -> Declared:
        """What the node declares, with no more bids than its book can carry; where it has none, any that could."""
        me, others = tree[node], set(tree) - {node}
        most = capacity(len(me.book), len(others), self.steps) if me.book else self.steps * len(others)
        return replace(me, bids=min(me.bids, most))

    def again(self) -> Community:
        """As this one was when its first round had just started, to where the chain was taken back."""
        other = Community(self.aggregator, self.tree, self.accounts)
        other.model.open_round(FIRST_DAY)
        for node in self.tree:
            other.model.declare(1, node, self.said(node))
        return other

    def send(self, sender: Any, name: str, *arguments: Any) -> Receipt:
        return self.link.send(sender, *self.of_product(name, *arguments))

    def view(self, name: str, *arguments: Any) -> Any:
        return self.link.view(*self.of_product(name, *arguments))

    def of_product(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """A call, as it is for the product."""
        if self.product and name in OF_A_PRODUCT:
            return f"{name}Of", self.product, *arguments
        return name, *arguments

    # -- what the manager and the nodes do

    def enrol(self) -> Receipt:
        """As many in a call as fit where a deployment is large; returns the last."""
        nodes = list(self.tree)
        for first in range(0, len(nodes), 20):
            few = nodes[first : first + 20]
            tx = self.send(self.manager, "enrol", few, [str(self.accounts[node]) for node in few])
        return tx

    def open(self, percent: int = 100) -> Receipt:
        day = FIRST_DAY + len(self.model.rounds)
        call = ("openRoundOf", self.product, day, 0) if self.product else ("openRound", day)
        if percent != 100:
            call = ("openRoundWithin", self.product, day, 0, percent)
        tx = self.send(self.manager, *call)
        self.model.open_round(day, percent=percent)
        return tx

    def said(self, node: int, **changes: Any) -> Declared:
        """What a node declares, by default what the tree has and a book of its own."""
        me = self.tree[node]
        book = me.book or book_of(node, me.bids, self.tree, self.steps)
        values = {"parent": me.parent, "depth": me.depth, "children": me.children, "bids": me.bids, "book": book}
        return Declared(**{**values, **changes})

    def declare(self, node: int, round_: int | None = None, **changes: Any) -> Any:
        said = self.said(node, **changes)
        number = self.model.now.number if round_ is None else round_
        values = (said.parent, bitmap(said.children), said.depth, said.bids, said.book)
        tx = self.send(self.accounts[node], "declare", number, *values)
        self.model.declare(number, node, said)
        return tx

    def abstain(self, node: int, round_: int | None = None) -> Any:
        number = self.model.now.number if round_ is None else round_
        tx = self.send(self.accounts[node], "abstain", number)
        self.model.abstain(number, node)
        return tx

    def start(self, order: Sequence[int] | None = None, percent: int = 100) -> Any:
        """Opens a round and declares; returns the last declaration."""
        self.open(percent)
        for node in order or list(self.tree):
            tx = self.declare(node)
        return tx

    def copies(self, node: int, largest: bool = False) -> dict[Block, list[int]]:
        """Random copies of a node's blocks, sometimes at the ends of their range."""
        blocks = {}
        for block in self.model.now.blocks(node):
            top = (1 << PAYLOAD_BITS[block[0]]) - 1
            pick = [top] if largest else [0, top, self.random.randint(0, top), self.random.randint(0, top)]
            blocks[block] = [self.random.choice(pick) for _ in range(self.steps)]
        return blocks

    def part(self, node: int, residuals: Sequence[int] = LARGE, largest: bool = False, **changes: Any) -> Part:
        """A submission of random numbers."""
        values = {
            "words": tuple(word for lanes in self.copies(node, largest).values() for word in pack(lanes)),
            "bids": self.random.randbytes(2 * self.tree[node].bids),
            "residuals": pack_residuals(residuals),
            **changes,
        }
        return Part(node, **values)

    def submit(self, node: int, residuals: Sequence[int] = LARGE, part: Part | None = None, **changes: Any) -> Receipt:
        """Submits to the contract, and then to the model. Changes: round_, iteration, history, and those of a part."""
        now = self.model.now
        place = {
            "round_": now.number,
            "iteration": now.iteration,
            "history": int.from_bytes(now.head[-2:], "big"),
        }
        place |= {key: changes.pop(key) for key in place if key in changes}
        part = part or self.part(node, residuals, **changes)
        tx = self.send(self.accounts[node], "submit", *place.values(), part.words, part.bids, part.residuals)
        self.model.submit(*place.values(), part)
        return tx

    def iterate(self, residuals: Sequence[int] = LARGE, order: Sequence[int] | None = None) -> Any:
        """One iteration of all nodes that are not out; returns the last submission."""
        for node in order or self.random.sample(sorted(self.model.now.active), len(self.model.now.active)):
            tx = self.submit(node, residuals)
        return tx

    def close(self, sender: Any) -> Receipt:
        """Closes an overdue phase."""
        overdue()
        tx = self.send(sender, "closeOverdue")
        self.model.close_overdue(True)
        return tx

    # -- relayed

    def sign(self, part: Part, **changes: Any) -> tuple[Any, ...]:
        """A part as `relay` takes it. Changes: round_, iteration, head, contract, chain_id, key, claimed (the node)."""
        now = self.model.now
        get = changes.get
        h = submission_hash(
            get("round_", now.number),
            get("iteration", now.iteration),
            part.node,
            hash_words(part.words),
            keccak(part.bids),
            part.residuals,
        )
        digest = relay_digest(
            str(get("contract", self.aggregator)), get("chain_id", self.chain_id), h, get("head", now.head)
        )
        key = get("key", self.accounts[part.node].private_key if part.node in self.accounts else None)
        if key is None or not part.signed:
            key = "0x" + "11" * 32
        return (get("claimed", part.node), part.words, part.bids, part.residuals, *signature(key, digest))

    def relay(self, parts: Sequence[Part], sender: Any) -> Any:
        """Relays parts to the contract, and then to the model; the same ones are skipped."""
        now = self.model.now
        number, iteration = now.number, now.iteration
        batch = [self.sign(part) for part in parts]
        tx = self.send(sender, "relay", number, iteration, batch)
        skipped = self.model.relay(number, iteration, parts)
        assert [(event["node"], event["reason"]) for event in tx.all("Skipped")] == [
            (node, self.link.error_data(why.name, *why.values)) for node, why in skipped
        ]
        return tx

    # -- comparison

    def check(self) -> None:
        """Compares everything readable with the model."""
        model, link = self.model, self.link
        now = model.now
        nodes = sorted(self.tree)
        rounds = [one.number for one in model.rounds]

        def asked(name: str, *arguments: Any) -> tuple[Any, ...]:
            return link, *self.of_product(name, *arguments)

        progress, roster, scalars, head, outcomes, commitments, declarations, running = grouped(
            [asked("progress")],
            [asked("roster")],
            [asked("scalars")],
            [asked("head")],
            [asked("outcome", round_) for round_ in rounds],
            [asked("commitment", round_, node) for round_ in rounds for node in nodes],
            [asked("declaration", node) for node in nodes],
            [asked("running", node) for node in now.nodes] if now.phase == "Iterating" else [],
        )
        expected = model.progress()
        round_, iteration, phase, _, counter, wanted, history, present = progress[0]
        assert (round_, iteration, phase) == (expected["round"], expected["iteration"], expected["phase"])
        if now.running:
            assert (counter, wanted, present) == (expected["counter"], expected["expected"], expected["present"])
        assert history == expected["history"]
        assert roster[0] == model.roster()
        assert scalars[0] == model.scalars()
        assert head[0] == (len(now.closed), now.head)
        assert outcomes == [model.outcome(round_) for round_ in rounds]
        assert commitments == [model.commitment(round_, node) for round_ in rounds for node in nodes]
        for node, state in zip(nodes, declarations, strict=True):
            if node in now.nodes:
                me = now.nodes[node]
                assert state == (
                    *(now.number, me.parent, me.depth, me.bids, bitmap(me.children)),
                    *(now.misses[node], node in now.out),
                )
            elif node in now.declared and now.phase != "Declaring":
                assert state[6], "dropped nodes are out"
        for node, (iteration, present, words) in zip(now.nodes, running, strict=False):
            assert (iteration, present) == (now.iteration, bitmap(now.open))
            for at, lanes in enumerate(model.running(node).values()):
                if lanes is not None:
                    assert unpack(words[at * model.width : (at + 1) * model.width], self.steps) == lanes
