"""The contract `VirtualAggregator`, typed: steps 2 to 6 of a round as one node sees them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from web3 import Web3
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount
from gridpact.chain.contract import DeployedContract, arguments_of, chain_time, checked_address
from gridpact.chain.record import Record
from gridpact.chain.reverts import Abi
from gridpact.chain.transport import url_of
from gridpact.chain.values import (
    ClosedIteration,
    Coupling,
    Declaration,
    Outcome,
    Phase,
    Progress,
    Residuals,
    Setting,
    Submission,
    Theta,
    bitmap_to_nodes,
    nodes_to_bitmap,
    pack_residuals,
    unpack_residuals,
)
from gridpact.chain.watch import LOOK_SECONDS, Watch, watch_events
from gridpact.errors import ChainError, ContractError, InputError

CLOSE_GAS = 3_000_000
"""Closing is not estimated: nodes that have no new block yet would estimate at a time before the deadline."""

MILESTONES = ("RoundOpened", "IterationOpened", "RoundEnded")
"""Events that tell a waiting node that the round has moved on."""


class Aggregator(DeployedContract):
    """The aggregator at an address. One object a thread; `account` is needed to send."""

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
        self._round_block: tuple[int, int] = (0, first_block)  # round, the block that opened it
        self._submissions_seen: tuple[int, int, int, int] = (0, 0, 0, 0)  # round, iteration, first block, last block
        self._closed: tuple[int, list[ClosedIteration], int] = (0, [], 0)  # round, known, block of the last
        self._watches: dict[bool, Watch] = {}
        try:
            self._theta = self._read_theta()
            self._setting = Setting(*self._read("setting"))
        except TypeError as error:  # more or fewer values than there are fields
            raise InputError(f"The ABI of {self.address} is of another version: use the ABI of the record.") from error

    @classmethod
    def of(cls, record: Record, web3: Web3, account: ChainAccount | None = None) -> Aggregator:
        """The aggregator of a deployment."""
        return cls(web3, record.aggregator, record.aggregator_abi, account, record.chain_id, record.block)

    def _read_theta(self) -> Theta:
        theta = Theta(*self._read("theta"))
        if not 1 <= theta.n <= 128 or theta.mu < 1:
            raise InputError(
                f"The contract at {self.address} is no aggregator (n = {theta.n}, mu = {theta.mu}): check the address."
            )
        return theta

    # ------------------------------------------------------------------ manager

    def enrol(self, accounts: dict[int, str]) -> TxReceipt:
        """Enrols accounts as nodes, by node number."""
        nodes = sorted(accounts)
        return self._send("enrol", nodes, [checked_address(accounts[node]) for node in nodes])

    def expel(self, nodes: Iterable[int]) -> TxReceipt:
        """Ends the enrolment of nodes."""
        return self._send("expel", sorted(nodes))

    def open_round(self, day: int) -> int:
        """Opens the next round, labelled with a day (yyyymmdd). Returns its number."""
        receipt = self._send("openRound", day)
        (event,) = self._contract.events.RoundOpened().process_receipt(receipt)
        number = int(arguments_of(event)["round"])
        self._round_block = (number, int(receipt["blockNumber"]))
        return number

    # ------------------------------------------------------------------ node

    def declare(
        self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes
    ) -> TxReceipt:
        """Step 2: declares participation."""
        return self._send("declare", round, parent, nodes_to_bitmap(children), depth, bids, book)

    def submit(self, round: int, iteration: int, copies: Sequence[int], bids: bytes, residuals: Residuals) -> TxReceipt:
        """Steps 3 and 5: copies, bids, and the partial residuals of the iteration before."""
        return self._send("submit", round, iteration, list(copies), bids, pack_residuals(residuals))

    def close_overdue(self) -> bool:
        """Ends a phase whose deadline has passed. False: it was not overdue, or somebody else was first."""
        try:
            self._send("closeOverdue", gas=CLOSE_GAS)
        except ContractError as error:
            if error.name in ("DeadlineNotPassed", "WrongPhase"):
                return False
            raise
        return True

    # ------------------------------------------------------------------ views

    def theta(self) -> Theta:
        """The parameters of the agreement: constant, read once."""
        return self._theta

    def setting(self) -> Setting:
        """Horizon and resolutions: constant, read once."""
        return self._setting

    def progress(self) -> Progress:
        """Where the current round stands."""
        number, iteration, phase, deadline, counter, present = self._read("progress")
        return Progress(number, iteration, Phase(phase), deadline, counter, bitmap_to_nodes(present))

    def outcome(self, round: int) -> Outcome:
        """How a round ended."""
        phase, iterations, present = self._read("outcome", round)
        return Outcome(Phase(phase), iterations, bitmap_to_nodes(present))

    def node_of(self, address: str) -> int:
        """The node that an account is enrolled as; `ContractError` NotEnrolled where it is not."""
        return int(self._read("nodeOf", checked_address(address)))

    def account_of(self, node: int) -> str | None:
        """The account of a node; None where nobody is enrolled."""
        address = str(self._read("accountOf", node))
        return None if int(address, 16) == 0 else address

    def enrolled(self) -> frozenset[int]:
        """The enrolled nodes."""
        return bitmap_to_nodes(self._read("enrolled"))

    def scalars(self) -> tuple[int, int]:
        """Number of coupled scalars of the network and of the bids: what the RMS divides by."""
        grid, trade = self._read("scalars")
        return int(grid), int(trade)

    def coupling(self, node: int) -> Coupling:
        """Step 4: the sums of a node's blocks in the last closed iteration."""
        iteration, present, sums = self._read("coupling", node)
        return Coupling(iteration, bitmap_to_nodes(present), tuple(sums))

    def running(self, node: int) -> Coupling:
        """The same of the open iteration, as far as it has come."""
        iteration, present, sums = self._read("running", node)
        return Coupling(iteration, bitmap_to_nodes(present), tuple(sums))

    def copies_length(self, node: int) -> int:
        """Number of words in a submission of the node."""
        return int(self._read("copiesLength", node))

    def bids_hash(self, round: int, node: int) -> bytes:
        """keccak256 of the node's last bids in the round; zero before the first."""
        return bytes(self._read("bidsHash", round, node))

    def residuals(self) -> Residuals:
        """Step 6: the sums that the last closed iteration was judged by."""
        return unpack_residuals(self._read("residuals"))

    # ------------------------------------------------------------------ events

    def declarations(self, round: int) -> dict[int, Declaration]:
        """What the nodes declared for a round, with their books."""
        found = {}
        for event in self._events("Declared", self._opened_at(round), round=round):
            said = arguments_of(event)
            found[int(said["node"])] = Declaration(
                node=said["node"],
                parent=said["parent"],
                children=bitmap_to_nodes(said["children"]),
                depth=said["depth"],
                bids=said["bids"],
                book=bytes(said["book"]),
            )
        return found

    def submissions(self, round: int, iteration: int) -> dict[int, Submission]:
        """Step 4: what was submitted in an iteration beside the copies, by node. A silent node is missing."""
        seen_round, seen_iteration, first, last = self._submissions_seen
        if seen_round != round or seen_iteration > iteration:
            first = self._opened_at(round)
        elif seen_iteration < iteration:
            first = last  # the block that closed an earlier iteration
        events = self._events("Submitted", first, round=round, iteration=iteration)
        last = max((int(event["blockNumber"]) for event in events), default=first)
        self._submissions_seen = (round, iteration, first, last)
        return {
            int(said["node"]): Submission(unpack_residuals(int(said["residuals"])), bytes(said["bids"]))
            for said in map(arguments_of, events)
        }

    def closed_iterations(self, round: int) -> list[ClosedIteration]:
        """The closed iterations of a round, in order. Asks the chain only for what it has not told yet."""
        known_round, known, last = self._closed
        if known_round != round:
            known, last = [], self._opened_at(round)
        for event in self._events("IterationClosed", last, round=round):
            said = arguments_of(event)
            if int(said["iteration"]) > len(known):
                present, residuals = int(said["present"]), unpack_residuals(int(said["residuals"]))
                known.append(ClosedIteration(int(said["iteration"]), bitmap_to_nodes(present), residuals))
                last = int(event["blockNumber"])
        self._closed = (round, known, last)
        return list(known)

    def _opened_at(self, round: int) -> int:
        """The block that opened a round."""
        if self._round_block[0] != round:
            events = self._events("RoundOpened", self._first_block, round=round)
            if not events:
                raise ChainError(f"Round {round} was never opened: read the current round from the chain.")
            self._round_block = (round, int(events[0]["blockNumber"]))
        return self._round_block[1]

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
                f" iteration {progress.iteration}, {progress.counter} of {self._theta.n} nodes): check"
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
                if chain_time(self.web3) > progress.deadline + patience and self.close_overdue():
                    continue
            watch.wait(min(give_up - now, LOOK_SECONDS))

    def _watching(self, each_submission: bool) -> Watch:
        if each_submission not in self._watches:
            names = (*MILESTONES, "Submitted") if each_submission else MILESTONES
            events: Any = self._contract.events
            topics = [str(getattr(events, name)().topic) for name in names]
            self._watches[each_submission] = watch_events(url_of(self.web3), self.address, topics)
        return self._watches[each_submission]

    def close(self) -> None:
        """Ends the subscriptions of `wait_until`."""
        while self._watches:
            self._watches.popitem()[1].close()
