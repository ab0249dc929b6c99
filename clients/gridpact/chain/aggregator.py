"""The contract `VirtualAggregator`, typed: steps 2 to 6 of a round as one node sees them."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.types import EventData, TxReceipt

from gridpact.chain.account import MOST_GAS, NOBODY, ChainAccount, signer_of
from gridpact.chain.artifacts import REFEREE, load
from gridpact.chain.clock import ChainClock
from gridpact.chain.commitments import domain_separator, relayed_digest, submission_hash, words_hash
from gridpact.chain.contract import (
    READ_ATTEMPTS,
    READ_PAUSE,
    DeployedContract,
    Told,
    arguments_of,
    checked_address,
    in_time,
)
from gridpact.chain.logs import Openings
from gridpact.chain.record import Record
from gridpact.chain.reverts import Abi, learn_errors, readable, reason
from gridpact.chain.transport import url_of
from gridpact.chain.values import (
    ClosedIteration,
    Coupling,
    Declaration,
    DeclarationState,
    IterationLog,
    Outcome,
    Phase,
    Progress,
    Residuals,
    Roster,
    Setting,
    SignedSubmission,
    Submission,
    Theta,
    bitmap_to_nodes,
    nodes_to_bitmap,
    pack_residuals,
    unpack_residuals,
)
from gridpact.chain.watch import LOOK_SECONDS, Watch, watch_events
from gridpact.errors import ChainError, ContractError, InputError, Reorganised
from gridpact.limits import LANES, MOST_NODES

log = logging.getLogger(__name__)

CLOSE_GAS = 250_000
"""What closing an overdue phase may cost, beside what starting or closing costs a node or a word. It is not estimated:
a node that has no new block yet would estimate at a time before the deadline."""

ENROL_GAS, SEAT_GAS, FRESH_GAS = 14_000_000, 160_000, 22_500
"""What enrolling may cost a transaction, what it costs a node, and a word of a large deployment (see Sizes.sol)."""

START_GAS = 15_000
"""What starting the round may cost the last declaration, a node that can be enrolled."""

WORD_GAS = 3_000
"""What closing an iteration may cost the last submission, a word of sums."""

"""Time steps in a word."""

REMEMBERED_BLOCKS = 512
"""Of how many rounds and iterations it is remembered where they were opened."""

MILESTONES = ("RoundOpened", "IterationOpened", "RoundEnded")
"""Events that tell a waiting node that the round has moved on."""

OPENING = ("RoundOpened", "Declared", "Abstained", "RoundStarted")
NEGOTIATION = ("IterationOpened", "Submitted", "IterationClosed", "Excluded")
"""Events of the two phases of a round, and, the first of each, the event that all others follow."""

DONE_ALREADY = ("AlreadySubmitted", "WrongIteration", "WrongPhase")
"""What a submission is refused with that counted already, sent twice or relayed by somebody else."""


class Aggregator(DeployedContract):
    """The aggregator at an address. One object a thread; `account` is needed to send and to sign.

    Nothing that it remembers must hold: where the chain is taken back, it reads again.
    """

    def __init__(
        self,
        web3: Web3,
        address: str,
        abi: Abi,
        account: ChainAccount | None = None,
        chain_id: int | None = None,
        first_block: int = 0,
    ) -> None:
        super().__init__(web3, address, abi, account, chain_id)
        self._first_block = first_block
        self._blocks: dict[tuple[int, int], int] = {}  # where rounds (iteration 0) and iterations were opened
        self._last: tuple[tuple[int, int, int], int, frozenset[int]] = (0, 0, 0), 0, frozenset()  # progress seen last
        self._parts: tuple[bytes, list[Mapping[str, Any]]] = b"", []  # of the transaction that was read last
        self._estimated: tuple[int, frozenset[int]] | None = None  # round and nodes of the batch whose gas is known
        self._watches: dict[bool, Watch] = {}
        self._clock = ChainClock(web3)
        self._days: dict[int, int] = {}  # labels of rounds that the log did not tell
        self._unclosed: tuple[int, int, int] = (0, 0, 0)  # the overdue phase that could not be closed
        try:
            self._theta = self._read_theta()
            self._setting = Setting(*self._read("setting"))
            if "agreedIn" not in self._interface.functions:
                raise TypeError("no view agreedIn")
        except TypeError as error:  # more or fewer values than there are fields
            raise InputError(f"The ABI of {self.address} is of another version: use the ABI of the record.") from error
        (opened,) = self._interface.topics(["RoundOpened"])
        self._openings = Openings(self._logs, self.address, opened, first_block)
        with readable("its chain id"):
            self._domain = domain_separator(self.web3.eth.chain_id, self.address)

    @classmethod
    def of(cls, record: Record, web3: Web3, account: ChainAccount | None = None) -> Aggregator:
        """The aggregator of a deployment."""
        return cls(web3, record.aggregator, record.aggregator_abi, account, record.chain_id, record.block)

    def _read_theta(self) -> Theta:
        theta = Theta(*self._read("theta"))
        if not 1 <= theta.n <= MOST_NODES or theta.mu < 1:
            raise InputError(
                f"The contract at {self.address} is no aggregator (n = {theta.n}, mu = {theta.mu}): check the address."
            )
        return theta

    # ------------------------------------------------------------------ manager

    def enrol(self, accounts: dict[int, str]) -> TxReceipt:
        """Enrols accounts as nodes, by node number, as many in a transaction as fit. Returns the last receipt."""
        nodes = sorted(accounts)
        width = -(-self._setting.steps // LANES)
        most = max(1, ENROL_GAS // (SEAT_GAS + 2 * width * FRESH_GAS))
        for first in range(0, max(len(nodes), 1), most):
            few = nodes[first : first + most]
            receipt = self._send("enrol", few, [checked_address(accounts[node]) for node in few])
        return receipt

    def expel(self, nodes: Iterable[int]) -> TxReceipt:
        """Ends the enrolment of nodes."""
        return self._send("expel", sorted(nodes))

    def open_round(self, day: int, replaced: int = 0) -> int:
        """Opens the next round, labelled with a day (yyyymmdd). Returns its number.

        Args:
            replaced: the round in which the day was agreed; 0 where it was in none.
        """
        receipt = self._send("replaceRound", day, replaced) if replaced else self._send("openRound", day)
        (event,) = (event for event in self._told(receipt["logs"]) if event["event"] == "RoundOpened")
        number = int(arguments_of(event)["round"])
        self._blocks[number, 0] = int(receipt["blockNumber"])
        return number

    # ------------------------------------------------------------------ node

    def declare(
        self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes
    ) -> TxReceipt:
        """Step 2: declares participation."""
        spare = START_GAS * self._theta.n
        return self._send("declare", round, parent, nodes_to_bitmap(children), depth, bids, book, spare=spare)

    def abstain(self, round: int) -> TxReceipt:
        """Instead of declaring: keeps out of the round, so that nobody waits."""
        return self._send("abstain", round, spare=START_GAS * self._theta.n)

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
            return self._send("submit", *arguments, spare=self._closing_gas())
        except ContractError as error:
            if error.name not in DONE_ALREADY:
                raise
            counted = self._counted(round, iteration)
            if counted is None or (counted.bids, counted.residuals) != (bids, residuals):
                raise
            if self.copies_of(counted) != tuple(copies):
                raise
            return self.web3.eth.get_transaction_receipt(HexBytes(counted.transaction))

    def _counted(self, round: int, iteration: int) -> Submission | None:
        """The account's own submission in an iteration, as it stands on the chain."""
        assert self.account is not None
        return self.iteration(round, iteration).submissions.get(self.node_in(round, self.account.address))

    def _closing_gas(self) -> int:
        """What a submission costs more if it closes the iteration: it reads and emits the sums."""
        return WORD_GAS * 3 * self._theta.n * -(-self._setting.steps // LANES)

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
        r, vs = self.account.sign(self._digest(round, iteration, head, unsigned))
        return replace(unsigned, r=r, vs=vs)

    def signer_of(self, round: int, iteration: int, head: bytes, signed: SignedSubmission) -> str:
        """The account that signed a submission that builds on a head, `account.NOBODY` where none did. No request."""
        return signer_of(self._digest(round, iteration, head, signed), signed.r, signed.vs)

    def _digest(self, round: int, iteration: int, head: bytes, said: SignedSubmission) -> bytes:
        copies, bids, residuals = words_hash(said.copies), keccak(said.bids), pack_residuals(said.residuals)
        hashed = submission_hash(round, iteration, said.node, copies, bids, residuals)
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
        receipt = self._send("relay", round, iteration, parts, spare=self._closing_gas(), afresh=afresh)
        self._estimated = known
        return receipt

    def skipped(self, receipt: TxReceipt) -> dict[int, str]:
        """The nodes of which a part of a relayed batch did not count, and why."""
        events = (arguments_of(event) for event in self._told(receipt["logs"]) if event["event"] == "Skipped")
        return {int(said["node"]): reason(bytes(said["reason"])) for said in events}

    # ------------------------------------------------------------------ anyone

    def close_overdue(self) -> bool:
        """Ends a phase whose deadline has passed. False: it was not overdue, or somebody else was first.

        It is asked for before it is sent; that the deadline has not passed may be the newest block's time only.
        """
        try:
            self._read("closeOverdue")
        except ContractError as error:
            if error.name == "WrongPhase":
                return False
            if error.name != "DeadlineNotPassed":
                raise
        gas = CLOSE_GAS + START_GAS * self._theta.n + self._closing_gas()
        try:
            self._send("closeOverdue", gas=min(gas, MOST_GAS))
        except ContractError as error:
            if error.name in ("DeadlineNotPassed", "WrongPhase"):
                self._clock.forget()
                return False
            raise
        return True

    def _close_if_overdue(self, progress: Progress, patience: float) -> None:
        """While it waits. That it fails, for want of ether or at a fee above the ceiling, costs no turn."""
        place = (progress.round, progress.phase, progress.iteration)
        if self._clock.now() <= progress.deadline + patience:
            return
        try:
            self.close_overdue()
        except Reorganised:
            raise
        except ChainError as error:
            if place != self._unclosed:
                log.warning("the overdue phase of round %d is left to others: %s", progress.round, error)
            self._unclosed = place

    def accuse(self, round: int, node: int, evidence: bytes) -> TxReceipt:
        """Excludes a node, on evidence that `gridpact.chain.evidence` puts together."""
        learn_errors(load(REFEREE).abi)
        return self._send("accuse", round, node, evidence, spare=self._closing_gas(), afresh=True)

    # ------------------------------------------------------------------ views

    def theta(self) -> Theta:
        """The parameters of the agreement: constant, read once."""
        return self._theta

    def setting(self) -> Setting:
        """Horizon and resolutions: constant, read once."""
        return self._setting

    def progress(self) -> Progress:
        """Where the current round stands."""
        now = in_time(self._progress, lambda now: not self._is_earlier(now))  # or one node of several lags behind
        if self.account is not None and self._is_earlier(now):
            self.account.forget_nonce()  # the chain was taken back, perhaps with transactions of this account
        self._last = (now.round, now.phase, now.iteration), now.history, now.present
        return now

    def _progress(self) -> Progress:
        number, iteration, phase, deadline, counter, expected, history, present = self._read("progress")
        return Progress(number, iteration, Phase(phase), deadline, counter, expected, history, bitmap_to_nodes(present))

    def _is_earlier(self, now: Progress) -> bool:
        """Whether a progress is from before the one that was seen last, or of another history."""
        place = (now.round, now.phase, now.iteration)
        before, history, present = self._last
        return place < before or (place == before and not (now.history == history and now.present >= present))

    def outcome(self, round: int) -> Outcome:
        """How a round ended."""
        phase, iterations, present, day, head = self._read("outcome", round)
        return Outcome(Phase(phase), iterations, bitmap_to_nodes(present), day, bytes(head))

    def agreed_in(self, day: int) -> int:
        """The round in which a day (yyyymmdd) was agreed; 0 where none was, or it was replaced."""
        return int(self._read("agreedIn", day))

    def roster(self) -> Roster:
        """Who is in the current round, from its start."""
        return Roster(*map(bitmap_to_nodes, self._read("roster")))

    def declaration(self, node: int) -> DeclarationState:
        """What holds of the node's last declaration."""
        round, parent, depth, bids, children, misses, out = self._read("declaration", node)
        return DeclarationState(round, parent, depth, bids, bitmap_to_nodes(children), misses, out)

    def node_of(self, address: str) -> int:
        """The node that an account is enrolled as; `ContractError` NotEnrolled where it is not."""
        return int(self._read("nodeOf", checked_address(address)))

    def account_of(self, node: int) -> str | None:
        """The account of a node; None where nobody is enrolled."""
        return _somebody(self._read("accountOf", node))

    def enrolled(self) -> frozenset[int]:
        """The enrolled nodes."""
        return bitmap_to_nodes(self._read("enrolled"))

    def node_in(self, round: int, address: str) -> int:
        """The node as which an account declared in a round; `ContractError` NotEnrolled where it did not."""
        return int(self._read("nodeIn", round, checked_address(address)))

    def account_in(self, round: int, node: int) -> str | None:
        """The account that declared as the node in a round; None where none did."""
        return _somebody(self._read("accountIn", round, node))

    def accounts_in(self, round: int, nodes: Iterable[int]) -> dict[int, str]:
        """The accounts of those of the nodes that declared in a round."""
        accounts = {node: self.account_in(round, node) for node in sorted(nodes)}
        return {node: account for node, account in accounts.items() if account is not None}

    def scalars(self) -> tuple[int, int]:
        """Number of coupled scalars of the network and of the bids: what the RMS divides by."""
        grid, trade = self._read("scalars")
        return int(grid), int(trade)

    def chain_now(self) -> float:
        """Unix time by the chain."""
        return self._clock.now()

    def running(self, node: int) -> Coupling:
        """The sums of a node's blocks in the open iteration, as far as it has come."""
        iteration, present, sums = self._read("running", node)
        return Coupling(iteration, bitmap_to_nodes(present), tuple(sums))

    def copies_length(self, node: int) -> int:
        """Number of words in a submission of the node."""
        return int(self._read("copiesLength", node))

    def commitment(self, round: int, node: int) -> tuple[bytes, bytes]:
        """The hash chain of the node's submissions in a round, and the hash of its book."""
        submissions, book = self._read("commitment", round, node)
        return bytes(submissions), bytes(book)

    def head(self) -> tuple[int, bytes]:
        """Number of closed iterations of the current round, and their hash chain."""
        iteration, head = self._read("head")
        return int(iteration), bytes(head)

    def manager(self) -> str:
        """The account of the community manager."""
        return str(self._read("owner"))

    def referee(self) -> str:
        """The address of the contract that decides on accusations."""
        return str(self._read("referee"))

    # ------------------------------------------------------------------ log

    def day_of(self, round: int) -> int:
        """The label with which a round was opened, yyyymmdd."""
        try:
            for said in self._opening(round).get("RoundOpened", ()):
                return int(said["day"])
        except ChainError:
            if round not in self._days and (day := self._day_by_calldata(round)) is not None:
                self._days[round] = day
            if round not in self._days:
                raise
            return self._days[round]
        raise Reorganised(f"The log does not tell how round {round} was opened: read it again.")

    def _day_by_calldata(self, round: int) -> int | None:
        """The label, from the transaction that opened a round which still takes declarations; None where it is not
        found: the manager sent it through another contract, or the blocks are not there."""
        now = self.progress()
        if now.round != round or now.phase is not Phase.DECLARING:
            return None
        opened = now.deadline - self._setting.phase_seconds
        with readable("a block"):
            newest = int(self.web3.eth.block_number)
            low, high = self._first_block, newest
            while low < high:  # the first block that is not older
                middle = (low + high) // 2
                if int(self.web3.eth.get_block(middle)["timestamp"]) < opened:
                    low = middle + 1
                else:
                    high = middle
            for number in range(low, newest + 1):
                block = self.web3.eth.get_block(number, full_transactions=True)
                if int(block["timestamp"]) > opened:
                    break
                for transaction in cast("Sequence[Mapping[str, Any]]", block["transactions"]):
                    data = bytes(HexBytes(transaction["input"]))
                    is_it = data[:4] == self._interface.functions["openRound"].selector
                    if transaction.get("to") == self.address and is_it:
                        return int(self._interface.called(data)[1]["day"])
        return None

    def days(self) -> dict[int, int]:
        """The labels of all rounds, yyyymmdd, by round."""
        opened = map(arguments_of, self._events("RoundOpened", self._first_block))
        return {int(said["round"]): int(said["day"]) for said in opened}

    def abstained(self, round: int) -> frozenset[int]:
        """The nodes that keep out of a round."""
        return frozenset(int(said["node"]) for said in self._opening(round).get("Abstained", ()))

    def declarations(self, round: int) -> dict[int, Declaration]:
        """What the nodes declared for a round, with their books."""
        return {
            int(said["node"]): Declaration(
                node=said["node"],
                parent=said["parent"],
                children=bitmap_to_nodes(said["children"]),
                depth=said["depth"],
                bids=said["bids"],
                book=bytes(said["book"]),
            )
            for said in self._opening(round).get("Declared", ())
        }

    def transactions(self, round: int, since: int = 0) -> dict[bytes, int]:
        """The transactions that moved a round on: block by hash, in order.

        Args:
            since: a block before which nothing is looked for.
        """
        events = self._log(
            (*OPENING, *NEGOTIATION, "RoundEnded"),
            max(since, self._first_block),
            round,
            lowest=partial(self._openings.before, round),
        )
        return {bytes(event["transactionHash"]): int(event["blockNumber"]) for event in events}

    def started(self, round: int) -> Roster | None:
        """Who was in a round when it started; None where it did not start (yet)."""
        for said in self._opening(round).get("RoundStarted", ()):
            nodes, lines, inner = (bitmap_to_nodes(said[name]) for name in ("nodes", "lines", "inner"))
            return Roster(nodes, nodes, lines, inner)
        return None

    def iteration(self, round: int, iteration: int) -> IterationLog:
        """Step 4: what was submitted in an iteration, and what came of it. A silent node is missing."""
        found = self._negotiated(round, iteration, 1 if iteration <= self._closed_in(round) else 0, iteration)
        return found.get(iteration, IterationLog(None, {}, frozenset()))

    def history(self, round: int, first: int = 1) -> list[IterationLog]:
        """The closed iterations of a round, in order, from the iteration `first` on."""
        found = self._negotiated(round, first, self._closed_in(round) - first + 1)
        return [found[number] for number in sorted(found) if number >= first and found[number].closed is not None]

    def copies_of(self, submission: Submission) -> tuple[int, ...]:
        """The copies of a node's submission, in words, from the calldata of its transaction.

        In a batch the node may occur more than once, by the relayer's mistake or malice. Each part of a batch leaves
        one event, so the part is the one at the place of `Submitted` among the events of the node.

        Raises:
            Reorganised: the transaction is not on the chain any longer, or did something else.
        """
        node, iteration = submission.node, submission.iteration
        parts = [
            part
            for part in self._parts_of(submission)
            if (part["node"], part.get("iteration", iteration)) == (node, iteration)
        ]
        place = self._place_of(submission) if len(parts) > 1 else 0
        told = submission.bids, submission.residuals
        for part in parts[place : place + 1]:
            if (bytes(part["bids"]), unpack_residuals(int(part["residuals"]))) == told:
                return tuple(part["copies"])
        raise Reorganised(
            f"The transaction 0x{submission.transaction.hex()} is not the submission of node {submission.node}: read"
            " the iteration again."
        )

    def _parts_of(self, submission: Submission) -> list[Mapping[str, Any]]:
        """What a transaction called `submit` or `relay` with, in order; or what it left in the log."""
        if self._parts[0] == submission.transaction:
            return self._parts[1]
        transaction = _still_there(submission, "a submission's transaction", self.web3.eth.get_transaction)
        if transaction.get("to") == self.address:
            parts = self._called_parts(submission.node, bytes(transaction["input"]))
        else:
            parts = self._forwarded_parts(submission)
        self._parts = submission.transaction, parts
        return parts

    def _called_parts(self, node: int, data: bytes) -> list[Mapping[str, Any]]:
        function, arguments = self._interface.called(data)
        if function == "relay":
            return list(arguments["batch"])
        return [{"node": node, **arguments}] if function == "submit" else []

    def _forwarded_parts(self, submission: Submission) -> list[Mapping[str, Any]]:
        """The parts that came through other contracts: `Forwarded` follows right after its `Submitted`."""
        parts: list[Mapping[str, Any]] = []
        said: Mapping[str, Any] = {}
        for event in self._events_of(submission):
            if event["event"] == "Submitted":
                said = arguments_of(event)
            elif event["event"] == "Forwarded":
                parts.append({**said, **arguments_of(event)})
        return parts

    def _events_of(self, submission: Submission) -> list[EventData]:
        """The contract's events in a submission's transaction, in order."""
        receipt = _still_there(submission, "a submission's receipt", self.web3.eth.get_transaction_receipt)
        return sorted(self._told(receipt["logs"]), key=lambda event: event["logIndex"])

    def _place_of(self, submission: Submission) -> int:
        """The place of a submission among the node's parts of a transaction."""
        kinds = [
            event["event"]
            for event in self._events_of(submission)
            if event["event"] in ("Submitted", "Skipped") and arguments_of(event)["node"] == submission.node
        ]
        return kinds.index("Submitted") if "Submitted" in kinds else len(kinds)

    def _opening(self, round: int) -> dict[str, list[Mapping[str, Any]]]:
        """What happened while a round was opened and declared, by event."""
        (number, phase, _), *_ = self._last
        expected = {"RoundOpened"} if round <= number else set()
        if round == number and phase in (Phase.ITERATING, Phase.CONVERGED, Phase.EXHAUSTED):
            expected.add("RoundStarted")

        def read() -> dict[str, list[Mapping[str, Any]]]:
            found: dict[str, list[Mapping[str, Any]]] = {}
            for event in self._since((round, 0), OPENING, round):
                found.setdefault(str(event["event"]), []).append(arguments_of(event))
            return found

        found = in_time(read, lambda found: found.keys() >= expected)
        if not found:
            if round <= number:
                raise ChainError(
                    f"The endpoint's log has nothing of round {round}, which the contract has opened: give another"
                    " endpoint."
                )
            raise ChainError(f"Round {round} was never opened: read the current round from the chain.")
        return found

    def _by_iteration(self, events: Iterable[EventData]) -> dict[int, IterationLog]:
        """Sorts the events of a negotiation."""
        found: dict[int, IterationLog] = {}
        for event in events:
            said = arguments_of(event)
            number = int(said["iteration"])
            log = found.setdefault(number, IterationLog(None, {}, frozenset()))
            if event["event"] == "Submitted":
                submission = Submission(
                    node=int(said["node"]),
                    iteration=number,
                    residuals=unpack_residuals(int(said["residuals"])),
                    bids=bytes(said["bids"]),
                    commitment=bytes(said["commitment"]),
                    transaction=bytes(event["transactionHash"]),
                )
                log = replace(log, submissions={**log.submissions, submission.node: submission})
            elif event["event"] == "Excluded":
                node = int(said["node"])
                proved = log.proved | ({node} if said["proved"] else frozenset())
                log = replace(log, excluded=log.excluded | {node}, proved=proved)
            elif event["event"] == "IterationClosed":
                closed = ClosedIteration(
                    iteration=number,
                    present=bitmap_to_nodes(said["present"]),
                    residuals=unpack_residuals(int(said["residuals"])),
                    sums=tuple(said["sums"]),
                    head=bytes(said["head"]),
                )
                log = replace(log, closed=closed)
            found[number] = log
        return found

    def _negotiated(self, round: int, first: int, closed: int, *indexed: int) -> dict[int, IterationLog]:
        """The log of a negotiation from the iteration `first` on.

        Args:
            closed: how many of its iterations are closed at least, by what the contract said.
        """
        return in_time(
            lambda: self._by_iteration(self._since((round, first), NEGOTIATION, round, *indexed)),
            lambda found: sum(log.is_whole for number, log in found.items() if number >= first) >= closed,
        )

    def _closed_in(self, round: int) -> int:
        """How many iterations of a round were closed when the contract was last asked where it stands."""
        (number, phase, iteration), *_ = self._last
        if number != round:
            return 0
        return iteration if phase in (Phase.CONVERGED, Phase.EXHAUSTED) else max(iteration - 1, 0)

    def _since(self, place: tuple[int, int], names: Sequence[str], *indexed: int) -> list[EventData]:
        """The log from where a round or an iteration was opened, an event that is the first of `names`.

        The search begins at the last block that is remembered from before. If the opening is not in what it finds, a
        re-organisation has moved it, and the search begins anew where the contract was deployed.
        """
        hint = max((known for known in self._blocks if known <= place), default=None)
        first = self._first_block if hint is None else self._blocks[hint]

        def opens(event: EventData) -> bool:
            return event["event"] == names[0] and _place_of(event) == place

        try:
            events = self._log(names, first, *indexed, lowest=partial(self._openings.before, place[0]), found=opens)
        except ChainError:
            if hint is None:
                raise
            events = []  # the chain is shorter now
        opened = {_place_of(event): int(event["blockNumber"]) for event in events if event["event"] == names[0]}
        if place not in opened and hint is not None:
            self._blocks.clear()
            return self._since(place, names, *indexed)
        self._blocks |= opened
        for oldest in sorted(self._blocks)[:-REMEMBERED_BLOCKS]:
            del self._blocks[oldest]
        return events

    # ------------------------------------------------------------------ waiting

    def wait_until(
        self,
        reached: Callable[[Progress], bool],
        timeout: float,
        close_overdue: bool = False,
        each_submission: bool = False,
        look_first: bool = True,
    ) -> Progress:
        """Waits until `reached` holds for the progress and returns it; `ChainError` after `timeout` seconds.

        Rounds, iterations and phases are noticed at once; a mere change of the counter too with
        `each_submission`, else within two seconds. With `close_overdue` the account closes a phase whose
        deadline has passed, if no other node does it first.
        """
        progress = self.wait_for(reached, timeout, close_overdue, each_submission, look_first)
        if not reached(progress):
            raise ChainError(
                f"Round {progress.round} did not get on within {timeout:.0f} s (phase"
                f" {progress.phase.name.lower()},"
                f" iteration {progress.iteration}, {progress.counter} of {progress.expected} nodes): check"
                " that all nodes run."
            )
        return progress

    def wait_for(
        self,
        reached: Callable[[Progress], bool],
        seconds: float,
        close_overdue: bool = False,
        each_submission: bool = False,
        look_first: bool = True,
    ) -> Progress:
        """The same, but returns the progress as it is after `seconds`, whether reached or not."""
        watch = self._watching(each_submission)
        now = time.monotonic()
        give_up, next_look = now + seconds, now + LOOK_SECONDS
        patience = random.uniform(0.0, LOOK_SECONDS)  # not all nodes at once
        if not look_first:
            watch.wait(min(seconds, LOOK_SECONDS))
        while True:
            progress = self.progress()
            now = time.monotonic()
            if reached(progress) or now >= give_up:
                return progress
            if close_overdue and progress.phase.is_running and now >= next_look:
                next_look = now + LOOK_SECONDS
                self._close_if_overdue(progress, patience)
                continue
            watch.wait(min(give_up - now, LOOK_SECONDS))

    def _watching(self, each_submission: bool) -> Watch:
        if each_submission not in self._watches:
            names = (*MILESTONES, "Submitted") if each_submission else MILESTONES
            topics = self._interface.topics(names)
            self._watches[each_submission] = watch_events(url_of(self.web3), self.address, topics)
        return self._watches[each_submission]

    def close(self) -> None:
        """Ends the subscriptions of `wait_until`."""
        while self._watches:
            self._watches.popitem()[1].close()


def _place_of(event: EventData) -> tuple[int, int]:
    """The round and, of an iteration's, the iteration of an event; 0 of the others."""
    said = arguments_of(event)
    return int(said["round"]), int(said.get("iteration", 0))


def _still_there(submission: Submission, what: str, read: Callable[[HexBytes], Told]) -> Told:
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


def _somebody(address: str) -> str | None:
    return None if address == NOBODY else address
