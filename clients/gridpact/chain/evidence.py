"""Evidence against a node, put together from the chain alone, and what the referee says of it.

The contract keeps hashes only. What they were made from stands in the log and in calldata; `IReferee` says which of it
proves what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.artifacts import REFEREE, load
from gridpact.chain.commitments import START, extended, submission_hash, words_hash
from gridpact.chain.contract import checked_address
from gridpact.chain.ledger import RoundLog
from gridpact.chain.reverts import learn_errors, readable
from gridpact.chain.sealing import NO_PROOF, Proof
from gridpact.chain.values import (
    RESIDUAL_LANE,
    ClosedIteration,
    Declaration,
    IterationLog,
    Submission,
    nodes_to_bitmap,
    pack_residuals,
)
from gridpact.errors import ChainError, ContractError, Reorganised

_LINK = "(uint16,bytes32,bytes32,uint256)"
_HISTORY = f"(bytes32,{_LINK}[])"
_CLOSED = "(uint16,uint128,uint256,bytes32)"
_PARTNER = f"(bytes,{_HISTORY},bytes,bytes)"
_RESIDUAL_EVIDENCE = (
    f"(uint16,bytes32,{_CLOSED}[],uint256[],uint256[],{_HISTORY},uint256[],bytes,bytes,bytes,{_PARTNER}[])"
)
_PLAN_EVIDENCE = f"(uint256,bytes32,{_LINK},uint256[],bytes)"
_OPENED_PLAN = f"({_PLAN_EVIDENCE},bytes32[],bytes32,bytes32)"
_SEALED_EVIDENCE = f"({_RESIDUAL_EVIDENCE},uint256[],uint8,(uint256,uint256,uint256,uint256),bytes)"

_Link = tuple[int, bytes, bytes, int]
_History = tuple[bytes, list[_Link]]


class Charge(IntEnum):
    """What a node can be accused of, in the contract's order."""

    RESIDUALS = 0
    PLAN = 1
    SEALED = 2
    ANSWER = 3
    LATE = 4


def residual_evidence(aggregator: RoundLog, round: int, node: int, iteration: int, departed: bool = False) -> bytes:
    """That the residuals which the node claimed for a closed iteration, in its next submission, are false.

    Args:
        departed: that what it submitted in the iteration was beyond reach, instead; then the evidence also shows for
            how long the same nodes have been there.

    Raises:
        ChainError: the chain does not have what is needed, or a submission went through another contract.
    """
    values = _Case(aggregator, round).residuals(node, iteration, departed)
    return _evidence(Charge.RESIDUALS, _RESIDUAL_EVIDENCE, values)


def sealed_evidence(
    aggregator: RoundLog,
    round: int,
    node: int,
    iteration: int,
    departed: bool,
    other: int,
    proof: Proof,
    answer: bytes = b"",
) -> bytes:
    """The same of a sealed round, by a node that shares something with the accused, which it opens with that.

    Args:
        other: that node.
        proof: of what the two have in common.
        answer: of the accused about the iteration, where it is that node's part in it that is false.

    Raises:
        ChainError: see `residual_evidence`.
    """
    case = _Case(aggregator, round)
    values = case.residuals(node, iteration, departed, only=(other,))
    before = case.copies(node, iteration - 1) if other == 0 else ()  # the grid operator's node
    return _evidence(Charge.SEALED, _SEALED_EVIDENCE, (values, before, other, proof, answer))


def answer_evidence(aggregator: RoundLog, round: int, node: int, iteration: int, answer: bytes) -> bytes:
    """That the parts of an answer do not come to what the node submitted, of a sealed round, by anybody.

    Raises:
        ChainError: see `residual_evidence`.
    """
    back = aggregator.setting().max_misses
    values = _Case(aggregator, round).residuals(node, iteration, False, only=(), back=back)
    return _evidence(Charge.ANSWER, _SEALED_EVIDENCE, (values, (), node, NO_PROOF, answer))


def late_evidence(aggregator: RoundLog, round: int, node: int, iteration: int) -> bytes:
    """That a node of a sealed round claims residuals of trades of an iteration, and of a later one, where bids can be
    nothing but what was agreed, by anybody.

    Raises:
        ChainError: see `residual_evidence`.
    """
    values = _Case(aggregator, round).residuals(node, iteration, True, only=())
    return _evidence(Charge.LATE, _SEALED_EVIDENCE, (values, (), node, NO_PROOF, b""))


@dataclass(frozen=True)
class SealedCharge:
    """What evidence of a sealed round says, beside what can be read on the chain."""

    charge: int
    about: int  # the iteration
    other: int  # who proves it
    proof: Proof
    answer: bytes

    @staticmethod
    def read(evidence: bytes) -> SealedCharge | None:
        """None where it is no evidence."""
        try:
            charge, content = decode(["uint8", "bytes"], evidence)
            ((residuals, _, other, proof, answer),) = decode([_SEALED_EVIDENCE], content)
        except (DecodingError, OverflowError):
            return None
        return SealedCharge(charge, residuals[0], other, proof, answer)


@dataclass(frozen=True)
class OpenedCharge:
    """What evidence about the operator's plan in a sealed round says, beside what can be read on the chain."""

    step: int
    iteration: int
    keys: tuple[bytes, ...]
    signature: tuple[bytes, bytes]

    @staticmethod
    def read(evidence: bytes) -> OpenedCharge | None:
        """None where it is no such evidence."""
        try:
            charge, content = decode(["uint8", "bytes"], evidence)
            (((step, _, newest, _, _), keys, *signature),) = decode([_OPENED_PLAN], content)
        except (DecodingError, OverflowError):
            return None
        r, vs = signature
        return OpenedCharge(step, newest[0], tuple(keys), (r, vs)) if charge == Charge.PLAN else None


def plan_evidence(step: int, newest: Submission, before: bytes, copies: Sequence[int], book: bytes) -> bytes:
    """That with the injections of the operator's newest submission, voltages of the feeder it published are outside
    its limits at a step.

    Args:
        before: the node's commitment before it.
        copies: of the submission, words.
        book: the feeder, as declared.
    """
    link = newest.iteration, words_hash(copies), keccak(newest.bids), pack_residuals(newest.residuals, RESIDUAL_LANE)
    return _evidence(Charge.PLAN, _PLAN_EVIDENCE, (step, before, link, tuple(copies), book))


def opened_plan_digest(address: str, round: int, iteration: int, keys: Sequence[bytes]) -> bytes:
    """What the operator's node signs to open its answer in an iteration of a sealed round.

    Args:
        address: of the aggregator.
        keys: of the iteration, with each of its children, ascending.
    """
    kinds = ["address", "uint32", "uint16", "bytes32[]"]
    return keccak(encode(kinds, [address, round, iteration, list(keys)]))


def opened_plan_evidence(
    step: int,
    newest: Submission,
    before: bytes,
    copies: Sequence[int],
    book: bytes,
    keys: Sequence[bytes],
    signature: tuple[bytes, bytes],
) -> bytes:
    """The same as `plan_evidence` of a sealed round, by whom the operator's node has opened its answer to.

    Args:
        keys, signature: see `opened_plan_digest`.
    """
    link = newest.iteration, words_hash(copies), keccak(newest.bids), pack_residuals(newest.residuals, RESIDUAL_LANE)
    plan = step, before, link, tuple(copies), book
    return _evidence(Charge.PLAN, _OPENED_PLAN, (plan, list(keys), *signature))


def judge(aggregator: Aggregator, round: int, node: int, evidence: bytes) -> str | None:
    """Asks the referee. Returns why the evidence does not prove its charge; None where it does, and `accuse` holds."""
    abi = load(REFEREE).abi
    learn_errors(abi)
    with readable("the referee"):
        referee = aggregator.web3.eth.contract(checked_address(aggregator.referee()), abi=cast(Any, abi))
    try:
        with readable("the evidence"):
            referee.functions.judge(aggregator.address, round, node, evidence).call()
    except ContractError as error:
        return str(error.values[0]) if error.name == "NotProved" else str(error)
    return None


class _Case:
    """What the chain tells of a round up to now."""

    def __init__(self, aggregator: RoundLog, round: int) -> None:
        self._aggregator = aggregator
        self._round = round
        history = aggregator.history(round)
        newest = aggregator.iteration(round, len(history) + 1)  # the open one
        self._logs: list[IterationLog] = [*history, newest]
        self._declarations: dict[int, Declaration] = aggregator.declarations(round)

    def residuals(
        self, node: int, iteration: int, departed: bool, only: Sequence[int] | None = None, back: int = 1
    ) -> tuple[object, ...]:
        """The fields of a `ResidualEvidence`.

        Args:
            only: the nodes that stand there as partners, in place of all.
            back: how many iterations before this one are shown.
        """
        closed = [log.closed for log in self._logs if log.closed is not None]
        if not 1 <= iteration <= len(closed):
            raise ChainError(f"Iteration {iteration} of round {self._round} is not closed: nothing is claimed of it.")
        first = max(iteration - 1, 1)
        opened = max(iteration - back, 1)
        while departed and opened > 1 and closed[opened - 2].present == closed[iteration - 1].present:
            opened -= 1
        own = self._submission(node, iteration)
        others = partners_in(self._book(node)) if own else ()
        return (
            iteration,
            closed[opened - 2].head if opened > 1 else START,
            [self._closed(one) for one in closed[opened - 1 :]],
            closed[iteration - 1].sums,
            closed[iteration - 2].sums if iteration > 1 else (),
            self._history(node, first),
            self.copies(node, iteration),
            own.bids if own else b"",
            self._bids(node, iteration - 1) if own else b"",
            self._book(node),
            [self._partner(other, iteration, only is not None) for other in (others if only is None else only)],
        )

    def copies(self, node: int, iteration: int) -> tuple[int, ...]:
        """What a node submitted, words; none where it was not there."""
        submission = self._submission(node, iteration)
        return self._aggregator.copies_of(submission) if submission else ()

    def _partner(self, node: int, iteration: int, anyhow: bool) -> tuple[bytes, _History, bytes, bytes]:
        """
        Args:
            anyhow: with its history even where it was not there.
        """
        if not anyhow and self._submission(node, iteration) is None:
            return self._book(node), (START, []), b"", b""
        history = self._history(node, max(iteration - 1, 1))
        return self._book(node), history, self._bids(node, iteration), self._bids(node, iteration - 1)

    def _history(self, node: int, first: int) -> _History:
        """The node's chain of submissions from an iteration on."""
        before = commitment = START
        links: list[_Link] = []
        for number, log in enumerate(self._logs, 1):
            submission = log.submissions.get(node)
            if submission is None:
                continue
            if number >= first:
                links.append(self._link(number, submission, commitment))
            else:
                before = submission.commitment
            commitment = submission.commitment
        return before, links

    def _link(self, iteration: int, submission: Submission, before: bytes) -> _Link:
        copies, bids = words_hash(self._aggregator.copies_of(submission)), keccak(submission.bids)
        residuals = pack_residuals(submission.residuals, RESIDUAL_LANE)
        hashed = submission_hash(self._round, iteration, submission.node, copies, bids, residuals)
        if extended(before, hashed) != submission.commitment:
            raise Reorganised(
                f"The calldata of node {submission.node} in iteration {iteration} does not fit its commitment: read the"
                " round again."
            )
        return iteration, copies, bids, residuals

    def _submission(self, node: int, iteration: int) -> Submission | None:
        return self._logs[iteration - 1].submissions.get(node) if iteration > 0 else None

    def _bids(self, node: int, iteration: int) -> bytes:
        submission = self._submission(node, iteration)
        return submission.bids if submission else b""

    def _book(self, node: int) -> bytes:
        declaration = self._declarations.get(node)
        return declaration.book if declaration else b""

    @staticmethod
    def _closed(one: ClosedIteration) -> tuple[int, int, int, bytes]:
        residuals = pack_residuals(one.residuals, RESIDUAL_LANE)
        return one.iteration, nodes_to_bitmap(one.present), residuals, words_hash(one.sums)


def partners_in(book: bytes) -> Iterator[int]:
    """The partners that a book lists, ascending; it ends before the first entry that is not whole, or not above."""
    at, lowest = 0, 0
    while at + 2 <= len(book) and book[at] >= lowest and at + 2 + book[at + 1] <= len(book):
        yield book[at]
        lowest = book[at] + 1
        at += 2 + book[at + 1]


def _evidence(charge: Charge, kind: str, values: Sequence[object]) -> bytes:
    return bytes(encode(["uint8", "bytes"], [charge, encode([kind], [values])]))
