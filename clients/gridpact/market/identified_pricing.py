"""Identified pricing: every buyer has a bid of its own, which follows how much of the community's energy it has had.

    b_i(t) = b_i(t-1) + D b_i(t)                                                          (4.6)
    D b_i(t) = alpha (u_i(t) - u_th) b_i(t-1)                                             (4.7)
    u_i(t) = sum of what i has had of neighbours / sum of what all have offered           (4.8)
    the most of sum of b_i(t) d_i(t)                                                      (4.9)

with alpha = 0.1, u_th = 0.9 and the import price C_bfg for a first bid, kept within [C_stg, C_bfg]; every trade is at
its buyer's bid. Both sums of (4.8) are over the steps before. A buyer's bid moves at the steps at which it wants
something and somebody offers something; before, there is nothing to bid for, and (4.8) is 0 / 0.

(4.9) is over who gets what. In the text an auction algorithm gives one buyer one seller, and min(what one wants, what
the other has) is traded: that is an assignment, solved as one. Beyond the text energies may be split: then the highest
bids are served first, and each seller sells the same part of its offer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import MICRO
from gridpact.market.matching import Book, agreed, books_of, in_turn, joined, shared
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class IdentifiedPricing:
    """A price a buyer; one seller each, or split energies."""

    split: bool
    rate: float = 0.1  # alpha
    threshold: float = 0.9  # u_th

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        books = books_of(prepared)
        return agreed(prepared, books, self.traded(books))

    def traded(self, books: Iterable[Book]) -> Iterator[Trade]:
        """The trades of a day, step by step."""
        bids: dict[int, int] = {}  # the last of each buyer, 1e-6 currency/kWh
        had: dict[int, int] = defaultdict(int)  # Wh
        offered = 0
        for book in books:
            if not book.offers:
                continue
            for order in book.bids:
                before = bids.get(order.node)
                moved = book.import_micro if before is None else self.moved(before, had[order.node] / offered)
                bids[order.node] = book.within(moved)
            for seller, buyer, energy_wh in (split_pairs if self.split else assigned_pairs)(book, bids):
                had[buyer] += energy_wh
                yield Trade(seller, buyer, book.step, energy_wh / 1000, bids[buyer] / MICRO)
            offered += book.offered_wh

    def moved(self, bid_micro: int, part: float) -> float:
        """(4.6) and (4.7). `part`: u."""
        return bid_micro * (1 + self.rate * (part - self.threshold))


def assigned_pairs(book: Book, bids: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """Seller, buyer, Wh: one of each, such that sum of bid x energy is the most."""
    from scipy.optimize import linear_sum_assignment  # takes half a second to import

    buyers = [order for order in book.bids if bids[order.node] >= 0]  # a bid below 0 is for nothing to be had
    energy = np.minimum.outer([o.energy_wh for o in book.offers], [o.energy_wh for o in buyers])
    worth = energy * np.array([bids[order.node] for order in buyers], dtype=float)
    rows, columns = linear_sum_assignment(worth, maximize=True) if buyers else ([], [])
    return [
        (book.offers[row].node, buyers[column].node, int(energy[row, column]))
        for row, column in zip(rows, columns, strict=True)
    ]


def split_pairs(book: Book, bids: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """The same where a buyer may have several sellers, and a seller several buyers."""
    buyers = sorted((o for o in book.bids if bids[o.node] >= 0), key=lambda order: (-bids[order.node], order.node))
    total = min(book.offered_wh, sum(order.energy_wh for order in buyers))
    return list(joined(shared(book.offers, total), in_turn(buyers, total)))
