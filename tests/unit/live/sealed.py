"""A sealed round of homes 1 - 2 - 3 in a row and 5 beside them, as contracts tell it: four hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gridpact.chain.encoding import encode_energies
from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.chain.values import nodes_to_bitmap
from gridpact.community.model import Feeder, Line
from gridpact.live.store import Store
from gridpact.market.admm.codec import encode_feeder, with_key

PARENTS = {1: 0, 2: 1, 3: 2, 5: 0}


def add(store: Store, number: int, told: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Events of a round, a block each."""
    for name, said in told:
        at = 1000 + store.count()
        store.add([], [ChainEvent(ChainBlock(at, f"0x{at}", at), 0, f"0x{at}", name, {"round": number, **said})], {})


def declare(store: Store, number: int) -> None:
    """All with a key, the operator with its feeder, too."""
    feeder = Feeder(400.0, 0.95, 1.05, tuple(Line(node, parent, 0.01, 0.01) for node, parent in PARENTS.items()))
    books = {0: with_key(encode_feeder(feeder), bytes(33)), **dict.fromkeys(PARENTS, with_key(b"", bytes(33)))}
    same = {"parent": 0, "children": 0, "bids": 0}
    told: list[tuple[str, Mapping[str, Any]]] = [
        ("Declared", {"node": node, "depth": int(node > 0), "book": book.hex(), **same}) for node, book in books.items()
    ]
    add(store, number, [*told, ("RoundStarted", {"nodes": nodes_to_bitmap(list(books)), "lines": 0, "inner": 0})])


def deliver(store: Store, number: int, energies_wh: Mapping[int, Sequence[int]], name: str = "Delivered") -> None:
    """What meters read, by home."""
    same = {"payment": 0, "arrears": 0}
    told = [(name, {"node": n, "energies": encode_energies(list(e)), **same}) for n, e in energies_wh.items()]
    add(store, number, told)
