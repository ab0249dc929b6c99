"""A sealed round before its referee: it is played with open numbers, which tell what is true; what nodes seal of them
goes to the contract."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from accusing import (
    ANSWER,
    Court,
    OpenedPlan,
    Partner,
    SealedEvidence,
    aged_evidence,
    history,
    partner_of,
    plan_evidence,
    residual_evidence,
)
from eth_abi import encode
from eth_utils import keccak
from helpers import Community
from link import Link
from reference.aggregator_model import Part, Round, unpack
from reference.referee_model import BIAS, Iteration, Residuals, bid, comes_to, read_answer, read_book

from gridpact.chain.sealing import SealingKey
from gridpact.market.admm.answers import PairPart, encode_answer
from gridpact.market.admm.codec import encode_bids, with_key
from gridpact.market.admm.pads import Pads, lanes_in, seal_word

GRID = 0
NOBODY: Residuals = (0, 0, 0, 0)
"""What a node claims of an iteration in which it was not there."""


def key_of(node: int) -> SealingKey:
    return SealingKey(bytes([node + 1]) * 32, b"a round")


def sealed_book(node: int, book: bytes) -> bytes:
    return with_key(book, key_of(node).public)


def pads_of(node: int, other: int, silent: Iterable[int]) -> Pads:
    """What two nodes have in common.

    Args:
        silent: who has declared no key.
    """
    public = None if {node, other} & set(silent) else key_of(other).public
    return Pads(key_of(node).common_secret(public))


class SealedCourt(Court):
    """Node 0 with households around it.

    Args:
        silent: who has declared no key.
    """

    def __init__(self, referee: Link, made: Community, silent: Iterable[int] = ()) -> None:
        super().__init__(referee, made)
        made.model.sums = 3 * made.steps
        self.silent = set(silent)
        self.said: dict[tuple[int, int], Part] = {}  # what stands behind submissions, by iteration and node
        self.claimed: dict[tuple[int, int], Residuals] = {}  # by the iteration that it is about, and node

    # -- what nodes say

    @property
    def opened(self) -> Round:
        """The round as it is under the seals."""
        now = self.made.model.now
        closed = [
            replace(one, parts={node: self.said[one.iteration, node] for node in one.parts}) for one in now.closed
        ]
        return replace(now, closed=closed)

    def of(self, iteration: int) -> Iteration:
        return Iteration(self.opened, iteration, self.made.steps)

    def truth(self, node: int, iteration: int) -> Residuals:
        return self.of(iteration).residuals(node)

    def submit(self, node: int, claim: Residuals) -> None:
        """Random numbers, sealed, and what it claims of the iteration before."""
        now = self.made.model.now
        part = self.made.part(node, claim)
        self.said[now.iteration, node] = part
        self.claimed[now.iteration - 1, node] = claim
        self.made.submit(node, part=replace(part, words=self._words(part), bids=self._bids(part)))

    def iterate(self, nodes: Iterable[int], lies: dict[int, Residuals] | None = None) -> None:
        """An iteration of these nodes, which claim the truth, or what `lies` has; the others are missing."""
        now = self.made.model.now
        nodes = sorted(set(nodes) & now.active)
        before = len(now.closed)
        claims = {node: (lies or {}).get(node) or (self.truth(node, before) if before else NOBODY) for node in nodes}
        for node in nodes:
            self.submit(node, claims[node])
        if len(now.closed) == before:
            self.made.close(self.made.manager)

    def _words(self, part: Part) -> tuple[int, ...]:
        now, width = self.made.model.now, self.made.model.width
        sealed = []
        for at, word in enumerate(part.words):
            kind, line = now.blocks(part.node)[at // width]
            number = "PQ".index(kind) * width + at % width
            pads = pads_of(part.node, GRID if part.node != GRID else line, self.silent)
            lanes = lanes_in(at % width, self.made.steps)
            sealed.append(seal_word(word, pads.word(now.iteration, part.node, number), lanes))
        return tuple(sealed)

    def _bids(self, part: Part) -> bytes:
        """Bids under their pads, and the sums of those that count."""
        if not part.bids:
            return b""
        now, node = self.made.model.now, part.node
        sealed, sums = [], dict[int, int]()
        for partner, (steps, first) in self.partners(node).items():
            bids = [bid(part.bids, first + at) for at in range(len(steps))]
            pads = pads_of(node, partner, self.silent).bids(now.iteration, node, len(steps))
            sealed += [(one + int(pad) + 2**15) % 2**16 - 2**15 for one, pad in zip(bids, pads, strict=True)]
            if self.is_mirrored(node, partner):
                shares = self._shares(node, partner, now.iteration, bids)
                for step, share in zip(steps, shares, strict=True):
                    if step < self.made.steps:
                        sums[step] = sums.get(step, 0) + share
        behind = b"".join((sums[step] % 2**24).to_bytes(3, "big") for step in sorted(sums))
        return encode_bids(np.array(sealed)) + behind

    def _shares(self, node: int, partner: int, iteration: int, bids: list[int]) -> list[int]:
        """Of bids under the pads of their steps; zero for a partner that is out, and at steps that are none."""
        steps = self.partners(node)[partner][0]
        if partner in self.out_before(iteration):
            return [0] * len(steps)
        masks = pads_of(node, partner, self.silent).pool(iteration, self.made.steps)
        signs = 1 if node < partner else -1
        return [
            (one + signs * int(masks[step])) % 2**24 if step < self.made.steps else 0
            for one, step in zip(bids, steps, strict=True)
        ]

    def partners(self, node: int) -> dict[int, tuple[bytes, int]]:
        """The household's book, without its key."""
        book = read_book(self.made.model.now.declared[node].book)
        return {partner: listed for partner, listed in book.items() if partner in self.made.tree}

    def is_mirrored(self, node: int, partner: int) -> bool:
        steps = self.partners(node)[partner][0]
        return steps != b"" and self.partners(partner).get(node, (None, 0))[0] == steps

    def out_before(self, iteration: int) -> set[int]:
        """Who has been missing as often as one may, before an iteration."""
        now, most = self.made.model.now, self.made.setting[5]
        closed = now.closed[: iteration - 1]
        return {node for node in now.nodes if sum(node not in one.parts for one in closed) >= most}

    # -- what nodes answer

    def honest_answer(self, node: int, iteration: int) -> dict[int, PairPart]:
        """By partner."""
        opened, parts = self.of(iteration), dict[int, PairPart]()
        said = opened.now.parts.get(node)
        for partner, (steps, first) in self.partners(node).items():
            if not self.is_mirrored(node, partner):
                continue
            shares = [0] * len(steps)
            if said is not None:
                shares = self._shares(
                    node, partner, iteration, [bid(said.bids, first + at) for at in range(len(steps))]
                )
            parts[partner] = PairPart(*opened.pair(node, partner), tuple(shares))
        return parts

    def encoded(self, node: int, parts: dict[int, PairPart]) -> bytes:
        book = {partner: tuple(steps) for partner, (steps, _) in self.partners(node).items()}
        return encode_answer(book, parts)

    def told(self, node: int, iteration: int, answer: bytes) -> None:
        """The node was asked about an iteration, and has answered. Who asks may do it three times a round."""
        made = self.made
        number = made.model.now.number
        made.send(made.accounts[GRID], "ask", number, node, iteration)
        made.send(made.accounts[node], "answer", number, iteration, answer)

    # -- charges

    def shared(self, other: int, node: int, iteration: int, answer: bytes = b"") -> SealedEvidence:
        """What one node shows of what it shares with another."""
        now = self.made.model.now
        said = residual_evidence(now, node, iteration)
        theirs = partner_of(now, other, iteration)
        if not theirs.book:  # it was not there
            theirs = Partner(now.declared[other].book, history(now, other, max(iteration - 1, 1)))
        before = (
            now.closed[iteration - 2].parts.get(node)
            if iteration > 1 and node in now.closed[iteration - 1].parts
            else None
        )
        silent = {other, node} & self.silent
        return SealedEvidence(
            replace(said, partners=(theirs,)),
            before.words if before and other == GRID else (),
            other,
            (0, 0, 0, 0) if silent else key_of(other).proof(key_of(node).public),
            answer,
        )

    def of_answer(self, node: int, iteration: int, answer: bytes, back: int) -> SealedEvidence:
        """That an answer does not come to what was said, with so many iterations before."""
        now = self.made.model.now
        every = aged_evidence(now, node, iteration)
        first = max(iteration - 1 - back, 0)
        head = now.closed[first].previous
        said = replace(every, head_before=head, closed=every.closed[first:], partners=())
        return SealedEvidence(said, other=node, answer=answer, charge=ANSWER)

    def opened_plan(self, step: int, signer: int = GRID) -> OpenedPlan:
        """Node 0's newest answer with what opens it, signed by a node's key of the round."""
        now = self.made.model.now
        plan = plan_evidence(now, GRID, step)
        iteration = plan.newest[0]
        keys = tuple(pads_of(GRID, child, self.silent).key(iteration) for child in now.nodes[GRID].children)
        types = ["address", "uint32", "uint16", "bytes32[]"]
        digest = keccak(encode(types, [str(self.made.aggregator), now.number, iteration, keys]))
        return OpenedPlan(plan, keys, *key_of(signer).sign(digest))

    # -- what is true

    def claims_closed(self) -> list[tuple[int, int]]:
        """All that was claimed: node, and of which iteration."""
        return sorted((node, about) for about, node in self.claimed if about)

    def answered(self, step: int) -> dict[int, tuple[int, int]]:
        """P and Q that node 0 answered each of its children last, in resolution units."""
        now, width = self.made.model.now, self.made.model.width
        words = self.said[now.history[GRID][-1][0], GRID].words
        lanes = [unpack(words[at : at + width], self.made.steps)[step] for at in range(0, len(words), width)]
        children = now.nodes[GRID].children
        return {child: (lanes[2 * at] - BIAS["P"], lanes[2 * at + 1] - BIAS["Q"]) for at, child in enumerate(children)}

    def is_false_of_the_network(self, node: int, iteration: int) -> bool:
        claim = self.claimed[iteration, node]
        if node not in self.opened.closed[iteration - 1].parts:
            return claim != NOBODY
        return claim[:2] != self.truth(node, iteration)[:2]

    def is_less(self, node: int, iteration: int, partner: int) -> bool:
        """Whether it claims less of trades than its bids with one partner come to."""
        claim = self.claimed[iteration, node]
        if node not in self.opened.closed[iteration - 1].parts:
            return claim != NOBODY
        primal, dual = self.of(iteration).pair(node, partner)
        return claim[2] < primal or claim[3] < -(-dual // 4)

    def is_part_false(self, node: int, iteration: int, partner: int, answer: bytes) -> bool:
        if node not in self.opened.closed[iteration - 1].parts:
            return self.claimed[iteration, node] != NOBODY
        pairs = read_book(self.made.model.now.declared[node].book)
        told, true = read_answer(answer, pairs)[0].get(partner), self.honest_answer(node, iteration).get(partner)
        if told is None or true is None:
            return (told is None) != (true is None)
        shares = zip(pairs[partner][0], told.shares, true.shares, strict=True)
        differ = any(one != other for step, one, other in shares if step < self.made.steps)
        return (told.primal, told.dual) != (true.primal, true.dual) or differ

    def is_unsound(self, node: int, iteration: int, answer: bytes, back: int) -> bool:
        """Whether an answer does not come to what was said, as evidence shows with so many iterations before."""
        opened, most = self.opened, self.made.setting[5]
        now = opened.closed[iteration - 1]
        absent = set(opened.nodes) - set(now.parts)
        first = iteration - 1 - most
        out = {
            other
            for other in absent
            if back >= most and first >= 0 and not any(other in one.parts for one in opened.closed[first:iteration])
        }
        declared = self.made.model.now.declared[node]
        sealed = self.made.model.now.closed[iteration - 1].parts.get(node)
        return not comes_to(
            answer,
            read_book(declared.book),
            self.claimed[iteration, node][2:],
            None if sealed is None else sealed.bids[2 * declared.bids :],
            self.made.steps,
            absent,
            out,
        )
