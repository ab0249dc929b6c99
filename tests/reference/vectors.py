"""Test vectors: rounds that the models have played, as JSON that contracts, codec and any other reader eat.

    make vectors      writes tests/vectors/ again

`flexibility.json` is a day of an aggregator's calls, from opt-in to payment, by `flexibility_vectors.py`. The others
are rounds: a list of calls in order, each with its arguments and what comes of it. Numbers of more than 64 bits, hashes
and byte strings are hexadecimal. `values` are a submission's copies without packing and bias, by block, a number a
step.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_utils import keccak

from reference.aggregator_model import (
    PAYLOAD_BITS,
    PHASES,
    AggregatorModel,
    Declared,
    Part,
    bitmap,
    hash_words,
    pack,
    submission_hash,
)
from reference.flexibility_vectors import flexibility
from reference.settlement_model import Ended, Entries, SettlementModel, payment

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
DAY, MU, MAX_MISSES = 20260701, 8, 2
EPS = (1000, 2000, 3000, 4000)
LARGE = [1 << 50] * 4
PERCENT = {"feeder": 566}
"""Of the limits, within which a round ends, by shape; else 100. The last iteration is just within them."""

MILLIWATT, SECONDS, DECIMALS = 500, 3600, 6
VOUCHED_DEPOSIT = 10_000_000


def book(*pairs: tuple[int, tuple[int, ...]]) -> bytes:
    return b"".join(bytes((partner, len(steps), *steps)) for partner, steps in pairs)


SHAPES: Mapping[str, tuple[int, int, Mapping[int, Declared]]] = {
    # product, steps, what nodes declare
    "star": (
        0,
        13,
        {
            0: Declared(0, 0, (1, 2, 3), 0),
            1: Declared(0, 1, (), 3, book((2, (0, 7, 12)))),
            2: Declared(0, 1, (), 3, book((1, (0, 7, 12)))),
            3: Declared(0, 1, (), 0),
        },
    ),
    "feeder": (
        3,
        24,
        {
            0: Declared(0, 0, (1,), 0),
            1: Declared(0, 1, (2, 4), 2, book((3, (5, 23)))),
            2: Declared(1, 2, (3,), 0),
            3: Declared(2, 3, (), 2, book((1, (5, 23)))),
            4: Declared(1, 2, (), 0),
        },
    ),
    "traders": (
        0,
        24,
        {
            1: Declared(1, 0, (), 5, book((2, (3, 7, 11)), (3, (3, 7)))),
            2: Declared(2, 0, (), 4, book((1, (3, 7, 11)), (3, (3,)))),
            3: Declared(3, 0, (), 3, book((1, (3, 7)), (2, (3,)))),
        },
    ),
}


def hexadecimal(value: int | bytes) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else hex(value)


class Player:
    """Plays one round on the model, and writes down what it does."""

    def __init__(self, shape: str) -> None:
        self.shape = shape
        self.product, self.steps, self.tree = SHAPES[shape]
        self.model = AggregatorModel(
            set(self.tree), self.steps, MU, EPS, MAX_MISSES, n=len(self.tree), product=self.product
        )
        self.random = random.Random(shape)
        self.calls: list[dict[str, Any]] = []

    def play(self) -> dict[str, Any]:
        """All declare; the last node is silent in iterations 2 and 3 where there are four of them, and then out; from
        iteration 4 on all are content."""
        self.model.open_round(DAY, percent=PERCENT.get(self.shape, 100))
        now = self.model.now
        for node, said in self.tree.items():
            self.model.declare(now.number, node, said)
            told = {"parent": said.parent, "children": bitmap(said.children), "depth": said.depth, "bids": said.bids}
            self.calls.append({"call": "declare", "node": node, **told, "book": hexadecimal(said.book)})
        silent = max(self.tree) if len(self.tree) > 3 else None
        while now.running:
            here = now.active - ({silent} if now.iteration in (2, 3) else set())
            for node in self.random.sample(sorted(here), len(here)):
                self.submit(node)
            if now.running and now.open:
                self.calls.append({"call": "closeOverdue"})
                self.watched(lambda: self.model.close_overdue(True))
        return {
            "product": self.product,
            "steps": self.steps,
            "day": DAY,
            "percent": now.percent,
            "mu": MU,
            "eps": list(EPS),
            "max_misses": MAX_MISSES,
            "powerResolutionMilliwatt": MILLIWATT,
            "stepSeconds": SECONDS,
            "round": now.number,
            "calls": self.calls,
            "outcome": self.outcome(),
        }

    def outcome(self) -> dict[str, Any]:
        phase, iterations, present, day, head = self.model.outcome(self.model.now.number)
        told = {"phase": PHASES[phase], "iterations": iterations, "present": present, "day": day}
        return {**told, "head": hexadecimal(head)}

    def submit(self, node: int) -> None:
        now = self.model.now
        lanes = {}
        for kind, of in now.blocks(node):
            top = 1 << PAYLOAD_BITS[kind]
            lanes[kind, of] = [self.random.choice((0, top - 1, self.random.randrange(top))) for _ in range(self.steps)]
        words = tuple(word for block in lanes.values() for word in pack(block))
        numbers = [self.random.randint(-4000, 4000) for _ in range(now.nodes[node].bids)]
        bids = b"".join(number.to_bytes(2, "big", signed=True) for number in numbers)
        each = LARGE if now.iteration < 4 else self.content(node)
        residuals = sum(value << 64 * (3 - lane) for lane, value in enumerate(each))
        iteration, history = now.iteration, int.from_bytes(now.head[-2:], "big")
        h = submission_hash(now.number, iteration, node, hash_words(words), keccak(bids), residuals)
        self.calls.append(
            {
                "call": "submit",
                "iteration": iteration,
                "history": history,
                "node": node,
                "values": [
                    {"kind": kind, "node": of, "values": [lane - (1 << PAYLOAD_BITS[kind] - 1) for lane in block]}
                    for (kind, of), block in lanes.items()
                ],
                "copies": [hexadecimal(word) for word in words],
                "bidValues": numbers,
                "bids": hexadecimal(bids),
                "residuals": hexadecimal(residuals),
                "hash": hexadecimal(h),
            }
        )
        part = Part(node, words, bids, residuals)
        self.watched(lambda: self.model.submit(now.number, iteration, history, part))
        self.calls[-1]["commitment"] = hexadecimal(now.commitments[node])

    def content(self, node: int) -> list[int]:
        """Residuals of a node that together come to just what the limits allow, or, within theta's own, to none."""
        now = self.model.now
        if now.percent == 100 or node != min(now.active):
            return [0] * 4
        grid, trade = self.model.scalars()
        counts = grid, grid, trade, trade
        return [(eps * now.percent) ** 2 * count // 10**10 for eps, count in zip(EPS, counts, strict=True)]

    def watched(self, call: Any) -> None:
        """Writes down what a call closed, and who is out since."""
        now = self.model.now
        closed, out = len(now.closed), set(now.out)
        call()
        if len(now.closed) > closed:
            last = now.closed[-1]
            self.calls[-1]["closed"] = {
                "iteration": last.iteration,
                "present": last.present,
                "residuals": hexadecimal(last.residuals),
                "sums": [hexadecimal(word) for word in last.words],
                "head": hexadecimal(last.head),
                "excluded": sorted(now.out - out),
            }


def settled(player: Player) -> dict[str, Any]:
    """Statements about all pairs of a round that has converged, from both sides, and what the nodes are paid."""
    now = player.model.now
    bids: dict[tuple[int, int], dict[int, int]] = {}
    openings = {}
    for node, said in now.nodes.items():
        _, part, before = now.history[node][-1]
        numbers = [int.from_bytes(part.bids[at : at + 2], "big", signed=True) for at in range(0, len(part.bids), 2)]
        at = 0
        while at < len(said.book):
            partner, count = said.book[at : at + 2]
            steps, at = said.book[at + 2 : at + 2 + count], at + 2 + count
            bids[node, partner] = {step: numbers.pop(0) for step in steps}
        openings[node] = {
            "book": hexadecimal(said.book),
            "bids": hexadecimal(part.bids),
            "before": hexadecimal(before),
            "copies": hexadecimal(hash_words(part.words)),
            "residuals": hexadecimal(part.residuals),
        }
    accounts = {node: str(node) for node in now.nodes}
    model = SettlementModel(player.steps, MILLIWATT, SECONDS, 600, DECIMALS, "supplier")
    model.rounds[1] = Ended(True, accounts, frozenset(now.nodes), bids)
    for account in accounts.values():
        model.deposit(account, 10**9)
    pairs = []
    for lower, higher in sorted(pair for pair in bids if pair[0] < pair[1]):
        fitting = model.fitting(1, lower, higher)
        entries: Entries = tuple(
            (step, energy, player.random.randint(-50_000, 400_000)) for step, energy in fitting.items()
        )
        trades = b"".join(
            step.to_bytes(1, "big") + energy.to_bytes(4, "big", signed=True) + price.to_bytes(4, "big", signed=True)
            for step, energy, price in entries
        )
        for node, partner in ((lower, higher), (higher, lower)):
            model.state(0, 1, accounts[node], partner, entries)
        pairs.append(
            {
                "lower": lower,
                "higher": higher,
                "entries": [list(entry) for entry in entries],
                "trades": hexadecimal(trades),
                "payment": payment(entries, DECIMALS),
            }
        )
    nets = {node: model.net[1, node] for node in now.nodes}
    return {
        "decimals": DECIMALS,
        "openings": [{"node": node, **opening} for node, opening in openings.items()],
        "pairs": pairs,
        "net": [{"node": node, "payment": net} for node, net in nets.items()],
        "vouched": vouched(player.steps, Ended(True, accounts, frozenset(now.nodes), bids), pairs),
    }


def vouched(steps: int, ended: Ended, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """The same where only the lower node of each pair states it, who has a deposit, and metering vouches: what all have
    then, the supplier included, and what they owe."""
    # In every second step feeding in earns more than drawing costs.
    tariff = [(-50_000, 400_000) if step % 2 else (400_000, -50_000) for step in range(steps)]
    model = SettlementModel(steps, MILLIWATT, SECONDS, 600, DECIMALS, "supplier")
    model.rounds[1] = Ended(True, ended.accounts, ended.present, ended.bids, tariff)
    stating = sorted({pair["lower"] for pair in pairs})
    for account in ("supplier", *(ended.accounts[node] for node in stating)):
        model.deposit(account, VOUCHED_DEPOSIT)
    for pair in pairs:
        entries = tuple((step, energy, price) for step, energy, price in pair["entries"])
        model.state(0, 1, ended.accounts[pair["lower"]], pair["higher"], entries)
    for pair in pairs:
        entries = tuple((step, energy, price) for step, energy, price in pair["entries"])
        model.vouch("metering", "metering", 1, pair["lower"], pair["higher"], entries)
    return {
        "tariff": hexadecimal(b"".join(price.to_bytes(4, "big", signed=True) for prices in tariff for price in prices)),
        "deposit": VOUCHED_DEPOSIT,
        "stating": stating,
        "left": [
            {"node": node, "free": model.free[account], "arrears": model.arrears[account]}
            for node, account in ended.accounts.items()
        ],
        "supplier": model.free["supplier"],
        "delivered": delivered(model, ended, steps),
    }


def delivered(model: SettlementModel, ended: Ended, steps: int) -> list[dict[str, Any]]:
    """Readings of all nodes of a round whose trades are recorded, and what the supplier pays for them."""
    told = []
    for node in sorted(ended.accounts):
        energies = [(97 * node + 31 * step) % 900 - 450 for step in range(steps)]
        model.deliver(1, node, energies)
        reading = b"".join(energy.to_bytes(4, "big", signed=True) for energy in energies)
        told.append({"node": node, "reading": hexadecimal(reading), "payment": model.delivered[1, node]})
    return told


def vectors() -> dict[str, str]:
    """The text of each file, by name."""
    files = {}
    for shape in SHAPES:
        player = Player(shape)
        told = player.play()
        if shape == "traders":
            told["settlement"] = settled(player)
        files[f"{shape}.json"] = json.dumps(told, indent=1) + "\n"
    return {**files, "flexibility.json": flexibility()}


if __name__ == "__main__":
    VECTORS.mkdir(exist_ok=True)
    for name, text in vectors().items():
        (VECTORS / name).write_text(text)
