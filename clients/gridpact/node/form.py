"""The form in which a round's submissions stand on the chain: open, as they are, or sealed, so that only the node at
the other end of a variable or a bid reads them.

Both forms lead to the same integers at the nodes that need them, see `market.admm.pads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gridpact.chain.ledger import RoundLedger
from gridpact.chain.values import Coupling, IterationLog
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.answers import PairPart, encode_answer
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.codec import (
    decode_bids,
    decode_copies,
    decode_counted,
    encode_bids,
    encode_copies,
    key_in,
    words_of_block,
)
from gridpact.market.admm.pads import (
    POOL_BITS,
    Pads,
    decode_pool,
    encode_pool,
    lanes_in,
    open_word,
    seal_word,
    signed,
)
from gridpact.market.admm.residuals import pair_squares
from gridpact.node.round_log import closing_of, whole
from gridpact.problem.blocks import Block


class OpenForm:
    """Everybody reads everything.

    Args:
        node: whose submissions are encoded.
    """

    def __init__(self, assembly: Assembly, node: int) -> None:
        self.assembly, self.node = assembly, node

    def encode(self, iteration: int, submission: IntegerSubmission, gone: frozenset[int]) -> tuple[list[int], bytes]:
        """The words and bytes that the node submits.

        Args:
            gone: who is out.
        """
        del iteration, gone
        return encode_copies(self.assembly.blocks(self.node), submission.copies), encode_bids(submission.bids)

    def copies(self, iteration: int, author: int, words: Sequence[int]) -> Integers:
        """What a node submitted, (blocks, T): this one, or one whose copies are all shared with it."""
        del iteration
        return decode_copies(self.assembly.blocks(author), words, self.assembly.steps)

    def closing(self, entry: IterationLog, gone: frozenset[int], own: Sequence[int] | None) -> Closing:
        """A closed iteration.

        Args:
            gone: nodes that were out before.
            own: the words that this node submitted in it; None where it was absent.

        Raises:
            Reorganised: the log lacks a submission that the contract counted.
        """
        del own
        return closing_of(self.assembly, entry, gone)

    def running(self, coupling: Coupling) -> dict[Block, Integers]:
        """The sums of the open iteration of this node's blocks of which a copy is there, before it has submitted."""
        blocks = self.assembly.blocks(self.node)
        lanes = decode_copies(blocks, coupling.sums, self.assembly.steps)
        return {block: row for block, row in zip(blocks, lanes, strict=True) if block.node in coupling.present}

    def key(self, iteration: int, partner: int) -> bytes:
        """What opens the bids of an iteration between this node and a partner to somebody else."""
        del iteration, partner
        return b""


class SealedForm(OpenForm):
    """Copies are read by the two that share a variable, bids by the two partners. The sums of a household's bids go out
    besides, masked so that only what they come to over all can be read.

    Args:
        pads: with every node of the round that this one shares something with.
    """

    def __init__(self, assembly: Assembly, node: int, pads: Mapping[int, Pads]) -> None:
        super().__init__(assembly, node)
        self._pads = pads
        self._trading: dict[int, Integers] = {}

    @staticmethod
    def of(assembly: Assembly, node: int, ledger: RoundLedger, round_: int, books: Mapping[int, bytes]) -> SealedForm:
        """With the keys that all have declared.

        Args:
            books: as declared.
        """
        key = ledger.round_key(round_)
        others = {*assembly.book(node), *assembly.children[node], assembly.parents[node]} & assembly.nodes - {node}
        pads = {other: Pads(key.common_secret(key_in(books[other]))) for other in others}
        return SealedForm(assembly, node, pads)

    # ------------------------------------------------------------------ what goes out

    def encode(self, iteration: int, submission: IntegerSubmission, gone: frozenset[int]) -> tuple[list[int], bytes]:
        words = encode_copies(self.assembly.blocks(self.node), submission.copies)
        sealed = [
            seal_word(word, pad, lanes)
            for word, (pad, lanes) in zip(words, self._pads_of(iteration, self.node), strict=True)
        ]
        return sealed, self._sealed_bids(iteration, submission.bids, gone)

    def _sealed_bids(self, iteration: int, bids: Integers, gone: frozenset[int]) -> bytes:
        if not len(bids):
            return b""
        assembly, sealed, at = self.assembly, bids.copy(), 0
        sums = np.zeros(assembly.steps, dtype=np.int64)
        for partner, steps in assembly.book(self.node).items():
            part = slice(at, at := at + len(steps))
            pads = self._pads.get(partner)
            if pads is None:
                continue  # not in the round: nothing is bid to it
            sealed[part] += pads.bids(iteration, self.node, len(steps))
            if assembly.mirrors(self.node, partner) and partner not in gone:
                known = np.array(steps) < assembly.steps
                here = np.array(steps)[known]
                mask = pads.pool(iteration, assembly.steps)[here]
                np.add.at(sums, here, bids[part][known] + (mask if self.node < partner else -mask))
        return signed(sealed, 16).astype(">i2").tobytes() + encode_pool(sums[self._steps(self.node)])

    # ------------------------------------------------------------------ what comes in

    def copies(self, iteration: int, author: int, words: Sequence[int]) -> Integers:
        opened = [
            open_word(word, pad, lanes)
            for word, (pad, lanes) in zip(words, self._pads_of(iteration, author), strict=True)
        ]
        return decode_copies(self.assembly.blocks(author), opened, self.assembly.steps)

    def closing(self, entry: IterationLog, gone: frozenset[int], own: Sequence[int] | None) -> Closing:
        closed = whole(entry)
        here = Closing(closed.iteration, closed.present, closed.residuals, {}, {}, gone | entry.excluded, entry.proved)
        width = words_of_block(self.assembly.steps)
        sums = [
            word
            for at, block in enumerate(self.assembly.all_blocks)
            if block in set(self.assembly.blocks(self.node))
            for word in closed.sums[at * width : (at + 1) * width]
        ]
        ordered = self._in_own_order(sums, width)
        return replace(
            here,
            sums=self._sums(closed.iteration, closed.present, ordered, own),
            bids=self._bids(closed.iteration, entry),
            sealed=True,
            pool=self._pool(entry, closed.present, gone),
        )

    def _in_own_order(self, sums: Sequence[int], width: int) -> list[int]:
        """Words of this node's blocks, which come as the contract puts them out, as the node submits them."""
        blocks = self.assembly.blocks(self.node)
        mine = set(blocks)
        place = {block: at for at, block in enumerate(one for one in self.assembly.all_blocks if one in mine)}
        return [word for block in blocks for word in sums[place[block] * width : (place[block] + 1) * width]]

    def _sums(
        self, iteration: int, present: frozenset[int], sums: Sequence[int], own: Sequence[int] | None
    ) -> dict[Block, Integers]:
        """Sums of this node's blocks, with the pads of those who are in them taken off."""
        blocks, width = self.assembly.blocks(self.node), words_of_block(self.assembly.steps)
        mine = [0] * len(sums) if own is None else list(own)
        opened = [0] * len(sums)
        for at, (total, word_of_own) in enumerate(zip(sums, mine, strict=True)):
            block, word = blocks[at // width], at % width
            other, lanes = self._other(block), lanes_in(word, self.assembly.steps)
            number = block.kind * width + word
            pads = self._pads[other]
            if own is not None:
                opened[at] += open_word(word_of_own, pads.word(iteration, self.node, number), lanes)
            if other in present:
                opened[at] += open_word(total - word_of_own, pads.word(iteration, other, number), lanes)
        counts = [self.assembly.count(block, present) for block in blocks]
        return dict(zip(blocks, decode_counted(blocks, opened, self.assembly.steps, counts), strict=True))

    def _bids(self, iteration: int, entry: IterationLog) -> dict[int, Integers]:
        """The bids of this node and those to it; what cannot be read is zero."""
        assembly, node = self.assembly, self.node
        opened = {
            one: np.zeros(assembly.bid_count(one), dtype=np.int64) for one in entry.submissions if one in assembly.nodes
        }
        for partner, pads in self._pads.items():
            for author, to in ((node, partner), (partner, node)):
                if author not in opened or to not in assembly.book(author):
                    continue
                part = self.assembly.part(author, to)
                sealed = decode_bids(entry.submissions[author].bids[2 * part.start : 2 * part.stop])
                bids = signed(sealed - pads.bids(iteration, author, len(sealed)), 16)
                opened[author][part.start : part.start + len(sealed)] = bids
        return opened

    def _pool(self, entry: IterationLog, present: frozenset[int], gone: frozenset[int]) -> Integers | None:
        """What the bids of all come to at every step, (T,); None where somebody is missing and masks do not cancel."""
        assembly = self.assembly
        there = assembly.nodes - gone
        traders = [
            node
            for node in there
            if any(other in there and assembly.mirrors(node, other) for other in assembly.book(node))
        ]
        if not present.issuperset(traders):
            return None
        total = np.zeros(assembly.steps, dtype=np.int64)
        for node in traders:
            steps, bids = self._steps(node), entry.submissions[node].bids
            total[steps] += decode_pool(self.sums_behind(node, bids), len(steps))
        return signed(total, POOL_BITS)

    def _steps(self, node: int) -> Integers:
        """The steps at which a node has bids that count, ascending."""
        assembly = self.assembly
        if node not in self._trading:
            at = {
                step
                for partner, steps in assembly.book(node).items()
                if assembly.mirrors(node, partner)
                for step in steps
                if step < assembly.steps
            }
            self._trading[node] = np.array(sorted(at), dtype=np.int64)
        return self._trading[node]

    def running(self, coupling: Coupling) -> dict[Block, Integers]:
        opened = self._sums(coupling.iteration, coupling.present, coupling.sums, None)
        return {block: row for block, row in opened.items() if self._other(block) in coupling.present}

    def key(self, iteration: int, partner: int) -> bytes:
        return self._pads[partner].key(iteration)

    # ------------------------------------------------------------------ answers

    def answer(self, entry: IterationLog, before: IterationLog | None, gone: frozenset[int]) -> bytes:
        """What this node answers when it is asked about a closed iteration.

        Args:
            before: the iteration before that.
            gone: who was out before it.
        """
        book, node = self.assembly.book(self.node), self.node
        parts = {other: self.part(node, other, entry, before, gone) for other in book}
        return encode_answer(book, {other: part for other, part in parts.items() if part is not None})

    def part(
        self, author: int, to: int, entry: IterationLog, before: IterationLog | None, gone: frozenset[int]
    ) -> PairPart | None:
        """The part of a node in what another one said about an iteration, of which one is this node; None where their
        bids to each other do not count.

        Args:
            before, gone: see `answer`.
        """
        assembly, partner = self.assembly, to if author == self.node else author
        steps = np.array(assembly.book(author).get(to, ()), dtype=np.int64)
        if not assembly.mirrors(author, to) or not len(steps):
            return None
        now = self.of_bids(entry)
        primal, dual = pair_squares(assembly, self.node, partner, now, None if before is None else self.of_bids(before))
        shares = np.zeros(len(steps), dtype=np.int64)
        if author in now.present and to not in gone:
            bids = now.bids[author][assembly.part(author, to)]
            known = steps < assembly.steps
            mask = self._pads[partner].pool(now.iteration, assembly.steps)[steps[known]]
            shares[known] = (bids[known] + (mask if author < to else -mask)) % (1 << POOL_BITS)
        return PairPart(primal, dual, tuple(shares.tolist()))

    def of_bids(self, entry: IterationLog) -> Closing:
        """A closed iteration with the bids of this node and those to it, and no more."""
        closed = whole(entry)
        bids = self._bids(closed.iteration, entry)
        return Closing(closed.iteration, closed.present, closed.residuals, {}, bids, sealed=True)

    def sums_behind(self, author: int, bids: bytes) -> bytes:
        """The sums for the pool in what a node submitted."""
        return bids[2 * self.assembly.bid_count(author) :]

    # ------------------------------------------------------------------ pads of copies

    def _other(self, block: Block) -> int:
        """With whom this node shares a variable of a line."""
        return block.node if block.node != self.node else self.assembly.parents[self.node]

    def _pads_of(self, iteration: int, author: int) -> list[tuple[int, int]]:
        """Pad and lanes in use of each word of an author's copies, which are shared with this node or its own."""
        width = words_of_block(self.assembly.steps)
        pads_and_lanes = []
        for block in self.assembly.blocks(author):
            pads = self._pads[self._other(block) if author == self.node else author]
            for word in range(width):
                pad = pads.word(iteration, author, block.kind * width + word)
                pads_and_lanes.append((pad, lanes_in(word, self.assembly.steps)))
        return pads_and_lanes
