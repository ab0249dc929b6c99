"""The contract `VirtualAggregator`, typed: what an account does there, the manager's, a node's, a relay's.

Four classes, each of which adds one thing to the one before: `AggregatorViews` asks the contract, `AggregatorLog` reads
what it told, `WatchedAggregator` waits for what comes, `Aggregator` sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from hexbytes import HexBytes
from web3.exceptions import TransactionNotFound
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount, ContractCall
from gridpact.chain.aggregator_watch import WatchedAggregator
from gridpact.chain.artifacts import REFEREE, load
from gridpact.chain.commitments import bids_hash, domain_separator, relayed_digest, submission_hash, words_hash
from gridpact.chain.contract import arguments_of, checked_address
from gridpact.chain.keys import NOBODY, signer_of
from gridpact.chain.reverts import learn_errors, reason
from gridpact.chain.sealing import SealingKey
from gridpact.chain.values import WHOLE, Residuals, SignedSubmission, Submission, nodes_to_bitmap, pack_residuals
from gridpact.errors import ChainError, ContractError, Reorganised
from gridpact.limits import LANES

ENROL_GAS, SEAT_GAS, FRESH_GAS = 14_000_000, 160_000, 22_500
"""What enrolling may cost a transaction, what it costs a node, and a word of a large deployment (see Sizes.sol)."""

DONE_ALREADY = ("AlreadySubmitted", "WrongIteration", "WrongPhase")
"""What a submission is refused with that counted already, sent twice or relayed by somebody else."""


class Aggregator(WatchedAggregator):
    """The aggregator at an address. One object a thread; `account` is needed to send and to sign."""

    _estimated: tuple[int, frozenset[int]] | None = None  # round and nodes of the batch whose gas is known

    # ------------------------------------------------------------------ manager

    def enrol(self, accounts: dict[int, str]) -> TxReceipt:
        """Enrols accounts as nodes, by node number, as many in a transaction as fit. Returns the last receipt."""
        nodes = sorted(accounts)
        width = -(-self.setting().steps // LANES)
        most = max(1, ENROL_GAS // (SEAT_GAS + 2 * width * FRESH_GAS))
        for first in range(0, max(len(nodes), 1), most):
            few = nodes[first : first + most]
            receipt = self._send("enrol", few, [checked_address(accounts[node]) for node in few])
        return receipt

    def expel(self, nodes: Iterable[int]) -> TxReceipt:
        """Ends the enrolment of nodes."""
        return self._send("expel", sorted(nodes))

    def tie(self, above: str | None, below: Mapping[str, Iterable[int]]) -> TxReceipt:
        """Says what is above it and below it, where it is a `TiedAggregator`.

        Args:
            above: an address; None where nothing is.
            below: gateways, nodes of this one, by the address of what is below.
        """
        branches = [(checked_address(one), nodes_to_bitmap(nodes)) for one, nodes in below.items()]
        return self._send("tie", checked_address(above) if above else NOBODY, branches)

    def opening(self, day: int, replaced: int = 0, percent: int = WHOLE) -> ContractCall:
        """The call of `open_round`."""
        if percent != WHOLE:
            return self.call("openRoundWithin", self.product, day, replaced, percent)
        if self.product:
            return self.call("openRoundOf", self.product, day, replaced)
        return self.call("replaceRound", day, replaced) if replaced else self.call("openRound", day)

    def open_round(self, day: int, replaced: int = 0, percent: int = WHOLE) -> int:
        """Opens the next round of the product, labelled with a day (yyyymmdd). Returns its number.

        Args:
            replaced: the round in which the day was agreed; 0 where it was in none.
            percent: of the limits of theta, within which the round ends.
        """
        if self.account is None:
            raise ChainError("Opening a round needs an account: this connection only reads.")
        receipt = self.account.send(self.opening(day, replaced, percent))
        number = int(self._said_in(receipt, "RoundOpened")["round"])
        self._blocks[number, 0] = int(receipt["blockNumber"])
        return number

    # ------------------------------------------------------------------ node

    def declare(
        self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes
    ) -> TxReceipt:
        """Step 2: declares participation."""
        if self.account is None:
            raise ChainError("`declare` needs an account: this connection only reads.")
        return self.account.send(self.declaring(round, parent, children, depth, bids, book), spare=self.starting_gas())

    def declaring(
        self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes
    ) -> ContractCall:
        """The call of `declare`."""
        return self.call("declare", round, parent, nodes_to_bitmap(children), depth, bids, book)

    def abstain(self, round: int) -> TxReceipt:
        """Instead of declaring: keeps out of the round, so that nobody waits."""
        return self._send("abstain", round, spare=self.starting_gas())

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> TxReceipt:
        """Steps 3 and 5: copies, bids, and the partial residuals of the iteration before.

        It is no error if it counts already, in whatever transaction; then the receipt of that one is returned.

        Args:
            head: of the closed iterations that it builds on; if the chain was taken back and has others, it is refused.
        """
        history = int.from_bytes(head[-2:], "big")
        arguments = round, iteration, history, list(copies), bids, pack_residuals(residuals)
        try:
            return self._send("submit", *arguments, spare=self.closing_gas())
        except ContractError as error:
            if error.name not in DONE_ALREADY:
                raise
            counted = self._counted(round, iteration)
            if counted is None or (counted.bids, counted.residuals) != (bids, residuals):
                raise
            if self.copies_of(counted) != tuple(copies):
                raise
            try:
                return self.web3.eth.get_transaction_receipt(HexBytes(counted.transaction))
            except TransactionNotFound:
                named = f"transaction 0x{counted.transaction.hex()}"
                raise Reorganised(f"The log tells of {named}, whose receipt is not there: read it again.") from None

    def _counted(self, round: int, iteration: int) -> Submission | None:
        """The account's own submission in an iteration, as it stands on the chain."""
        assert self.account is not None
        return self.iteration(round, iteration).submissions.get(self.node_in(round, self.account.address))

    def round_key(self, round: int) -> SealingKey:
        """The account's key for a round of this deployment."""
        if self.account is None:
            raise ChainError("A round is sealed by an account: this connection only reads.")
        return self.account.round_key(b"".join((self._domain, round.to_bytes(4, "big"))))

    def accuse(self, round: int, node: int, evidence: bytes) -> TxReceipt:
        """Excludes a node, on evidence that `gridpact.chain.evidence` puts together."""
        learn_errors(load(REFEREE).abi)
        return self._send("accuse", round, node, evidence, spare=self.closing_gas(), afresh=True)

    def ask(self, round: int, node: int, about: int) -> TxReceipt:
        """Asks a node of a sealed round for its partners' parts in what it said about an iteration."""
        return self._send("ask", round, node, about)

    def answer(self, round: int, about: int, parts: bytes) -> TxReceipt:
        """Answers such a question, see `SealedForm.answer`."""
        return self._send("answer", round, about, parts)

    def accuse_of_silence(self, round: int, node: int, about: int) -> TxReceipt:
        """Excludes a node that goes on without an answer."""
        return self._send("accuseOfSilence", round, node, about, spare=self.closing_gas(), afresh=True)

    # ------------------------------------------------------------------ relaying

    def sign(
        self,
        round: int,
        iteration: int,
        head: bytes,
        node: int,
        copies: Sequence[int],
        bids: bytes,
        residuals: Residuals,
    ) -> SignedSubmission:
        """Signs a submission that builds on a head, for anybody to relay. No request."""
        if self.account is None:
            raise ChainError("A submission is signed by an account: this connection only reads.")
        unsigned = SignedSubmission(node, tuple(copies), bids, residuals, b"", b"")
        return self.signed_by(self.account, round, iteration, head, unsigned)

    def signed_by(
        self, account: ChainAccount, round: int, iteration: int, head: bytes, unsigned: SignedSubmission
    ) -> SignedSubmission:
        """The same with any account. What stands in place of its signature does not count."""
        r, vs = account.sign(self._digest(round, iteration, head, unsigned))
        return replace(unsigned, r=r, vs=vs)

    def signer_of(self, round: int, iteration: int, head: bytes, signed: SignedSubmission) -> str:
        """The account that signed a submission that builds on a head, `keys.NOBODY` where none did. No request."""
        return signer_of(self._digest(round, iteration, head, signed), signed.r, signed.vs)

    @cached_property
    def _domain(self) -> bytes:
        return domain_separator(self.chain_id, self.address)

    def _digest(self, round: int, iteration: int, head: bytes, submission: SignedSubmission) -> bytes:
        copies, bids, residuals = words_hash(submission.copies), bids_hash(submission.bids), submission.residuals
        hashed = submission_hash(round, iteration, submission.node, copies, bids, pack_residuals(residuals))
        return relayed_digest(self._domain, hashed, head)

    def relay(self, round: int, iteration: int, batch: Sequence[SignedSubmission], of_all: bool = False) -> TxReceipt:
        """Submits for the authors of a batch. What does not count is told by `skipped`.

        Args:
            of_all: whether the batch has all nodes that are not out, so that it costs about what the last such batch of
                the round did: its gas is not estimated anew.
        """
        known = (round, frozenset(one.node for one in batch)) if of_all else None
        afresh, self._estimated = known is None or known != self._estimated, None
        parts = [(one.node, list(one.copies), one.bids, pack_residuals(one.residuals), one.r, one.vs) for one in batch]
        receipt = self._send("relay", round, iteration, parts, spare=self.closing_gas(), afresh=afresh)
        self._estimated = known
        return receipt

    def skipped(self, receipt: TxReceipt) -> dict[int, str]:
        """The nodes of which a part of a relayed batch did not count, and why."""
        events = (arguments_of(event) for event in self.own_events(receipt["logs"]) if event["event"] == "Skipped")
        return {int(event["node"]): reason(bytes(event["reason"])) for event in events}
