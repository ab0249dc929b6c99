"""What transactions to the aggregator were called with: copies of submissions, and the day of a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from hexbytes import HexBytes
from web3.exceptions import TransactionNotFound
from web3.types import EventData

from gridpact.chain.contract import READ_ATTEMPTS, READ_PAUSE, DeployedContract, arguments_of, input_of
from gridpact.chain.reverts import readable
from gridpact.chain.values import Submission, unpack_residuals
from gridpact.errors import ChainError, Reorganised
from gridpact.limits import MOST_NODES

OPENING = {"openRound": 0, "replaceRound": 0, "openRoundOf": 1, "openRoundWithin": 1}
"""What the manager calls to open a round, and the place of the day among the arguments; before it stands the product,
where it is not 0."""

GET_TRANSACTION = "eth_getTransactionByHash"

COUNTED = ("Submitted", "Sealed")
"""The events that an accepted submission leaves."""

REMEMBERED_PARTS = 2 * MOST_NODES
"""Of an iteration and the one before."""

Part = Mapping[str, Any]
"""One submission in a transaction: node, copies, bids, residuals as packed; an iteration, where it is told."""

Read = TypeVar("Read")


class Calldata:
    """Reads the transactions to an aggregator, and remembers the last ones, of which one may be a batch of many."""

    def __init__(self, contract: DeployedContract) -> None:
        self._contract = contract
        self._known: dict[bytes, list[Part]] = {}

    def copies_of(self, submission: Submission) -> tuple[int, ...]:
        """The copies of a node's submission, in words.

        Raises:
            Reorganised: the transaction is not on the chain any longer, or did something else.
        """
        part = self._part_of(submission)
        submitted = submission.bids, submission.residuals
        if part is None or (bytes(part["bids"]), unpack_residuals(int(part["residuals"]))) != submitted:
            raise _is_not(submission)
        return tuple(part["copies"])

    def whole(self, submission: Submission) -> Submission:
        """A sealed submission with its bids and residuals.

        Raises:
            Reorganised: see `copies_of`.
        """
        part = self._part_of(submission)
        if part is None:
            raise _is_not(submission)
        bids, residuals = bytes(part["bids"]), unpack_residuals(int(part["residuals"]))
        return replace(submission, bids=bids, residuals=residuals, in_calldata=False)

    def read(self, submissions: Iterable[Submission]) -> None:
        """Asks for the transactions of several submissions at once, to be remembered. What is not told so is asked for
        when it is needed."""
        new = list({one.transaction: one for one in submissions if one.transaction not in self._known}.values())
        if len(new) < 2:
            return
        asked = [[HexBytes(one.transaction).to_0x_hex()] for one in new]
        for one, transaction in zip(new, self._contract.request_together(GET_TRANSACTION, asked), strict=True):
            if transaction is not None and HexBytes(transaction.get("hash", b"")) == one.transaction:
                self._remember(one, transaction)

    def _part_of(self, submission: Submission) -> Part | None:
        """What a submission was sent with; None where its transaction was none of the node for the iteration.

        In a batch the node may occur more than once, by the relayer's mistake or malice. Each part of a batch leaves
        one event, so the part is the one at the place of the accepted one among the events of the node.
        """
        node, iteration = submission.node, submission.iteration
        parts = [
            part
            for part in self._parts_of(submission)
            if (part["node"], part.get("iteration", iteration)) == (node, iteration)
        ]
        place = self._place_of(submission) if len(parts) > 1 else 0
        return parts[place] if place < len(parts) else None

    def _parts_of(self, submission: Submission) -> list[Part]:
        """What a transaction called `submit` or `relay` with, in order; or what it left in the log."""
        if submission.transaction not in self._known:
            self._remember(submission, _still_there(submission, "a submission's transaction", self._transaction))
        return self._known[submission.transaction]

    def _remember(self, submission: Submission, transaction: Mapping[str, Any]) -> None:
        if str(transaction.get("to")).lower() == self._contract.address.lower():
            parts = self._called_parts(submission.node, input_of(transaction))
        else:
            parts = self._forwarded_parts(submission)
        known = self._known
        known[submission.transaction] = parts
        while len(known) > 1 and sum(map(len, known.values())) > REMEMBERED_PARTS:
            del known[next(iter(known))]

    def _transaction(self, hash: HexBytes) -> Mapping[str, Any]:
        """As the endpoint tells it. web3 puts every field into its own types, which takes three times as long, and in a
        sealed round every node reads what every other sends.

        Raises:
            TransactionNotFound: there is none.
        """
        transaction = self._contract.request(GET_TRANSACTION, hash.to_0x_hex())
        if transaction is None:
            raise TransactionNotFound(f"Transaction with hash {hash.to_0x_hex()} not found.")
        return cast("Mapping[str, Any]", transaction)

    def _called_parts(self, node: int, data: bytes) -> list[Part]:
        function, arguments = self._contract.interface.called(data)
        if function == "relay":
            return list(arguments["batch"])
        return [{"node": node, **arguments}] if function == "submit" else []

    def _forwarded_parts(self, submission: Submission) -> list[Part]:
        """The parts that came through other contracts: `Forwarded` follows right after its `Submitted`."""
        parts: list[Part] = []
        submitted: Part = {}
        for event in self._events_of(submission):
            if event["event"] == "Submitted":
                submitted = arguments_of(event)
            elif event["event"] == "Forwarded":
                parts.append({**submitted, **arguments_of(event)})
        return parts

    def _place_of(self, submission: Submission) -> int:
        """The place of a submission among the node's parts of a transaction."""
        kinds = [
            event["event"]
            for event in self._events_of(submission)
            if event["event"] in (*COUNTED, "Skipped") and arguments_of(event)["node"] == submission.node
        ]
        return next((place for place, kind in enumerate(kinds) if kind in COUNTED), len(kinds))

    def _events_of(self, submission: Submission) -> list[EventData]:
        """The contract's events in a submission's transaction, in order."""
        receipt = _still_there(submission, "a submission's receipt", self._contract.web3.eth.get_transaction_receipt)
        return sorted(self._contract.own_events(receipt["logs"]), key=lambda event: event["logIndex"])

    def day_opened(self, at: int, first_block: int, product: int = 0) -> int | None:
        """The label of the round that was opened at a time, which the contract was called with; None where it is not
        found: the manager sent it through another contract, or the blocks are not there.

        Args:
            at: unix time of the block.
            first_block: no block is older.
            product: of the round.
        """
        eth, interface = self._contract.web3.eth, self._contract.interface
        opening = {interface.functions[name].selector: name for name in OPENING if name in interface.functions}
        with readable("a block"):
            low, newest = first_block, int(eth.block_number)
            high = newest
            while low < high:  # the first block that is not older
                middle = (low + high) // 2
                if int(eth.get_block(middle)["timestamp"]) < at:
                    low = middle + 1
                else:
                    high = middle
            for number in range(low, newest + 1):
                block = eth.get_block(number, full_transactions=True)
                if int(block["timestamp"]) > at:
                    break
                for transaction in cast("list[Mapping[str, Any]]", block["transactions"]):
                    data = input_of(transaction)
                    name = opening.get(data[:4])
                    if transaction.get("to") != self._contract.address or name is None:
                        continue
                    *products, day = interface.functions[name].inputs.decode(data[4:])[: OPENING[name] + 1]
                    if (products or [0]) == [product]:
                        return int(day)
        return None


def _is_not(submission: Submission) -> Reorganised:
    return Reorganised(
        f"The transaction 0x{submission.transaction.hex()} is not the submission of node {submission.node}: read"
        " the iteration again."
    )


def _still_there(submission: Submission, what: str, read: Callable[[HexBytes], Read]) -> Read:
    """What is read of the transaction of a submission: asked for again where it is not found, as endpoints lose some.

    Raises:
        Reorganised: it has vanished.
    """
    for _ in range(READ_ATTEMPTS):
        try:
            with readable(what):
                return read(HexBytes(submission.transaction))
        except ChainError as error:
            if not isinstance(error.__cause__, TransactionNotFound):
                raise
        time.sleep(READ_PAUSE)
    raise Reorganised(
        f"The chain no longer has the transaction 0x{submission.transaction.hex()}: read the iteration again."
    )
