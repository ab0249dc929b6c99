"""One household in a round: the six steps of the report (its Fig. 8), then settlement.

The same code runs as a process of its own (`gridpact node`) and as a thread beside a chain inside the process.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gridpact.admm.agent import Agent
from gridpact.admm.codec import (
    Book,
    bids_for,
    book_of,
    decode_book,
    decode_sums,
    encode_bids,
    encode_book,
    encode_copies,
)
from gridpact.admm.consensus import Integers, StarCentre
from gridpact.admm.parameters import OVER_RELAXATION, Penalties, Resolution
from gridpact.admm.trades import partner_bids, relaxation_at
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.settlement import Settlement, encode_trades
from gridpact.chain.values import Coupling, Declaration, Phase, Progress
from gridpact.errors import ContractError, GridpactError, InputError
from gridpact.files import write_atomically
from gridpact.market.blocks import holders
from gridpact.market.view import NodeView


@dataclass
class NodeReport:
    """What a node tells its household, and nobody else, after a round."""

    node: int
    phase: Phase
    iterations: int
    schedule: Mapping[str, list[float]]  # kW, kvar or kWh, (T,) each
    relaxation_gap_pu: list[float]  # of the part of the network that the node solved, (T,) or empty
    statements: Mapping[int, list[tuple[int, int, int]]]  # partner -> (step, energy Wh, price 1e-6 currency/kWh)
    solve_s: float
    wall_s: float
    gas: Counter[str] = field(default_factory=Counter)  # by what it was used for
    transactions: int = 0

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(vars(self) | {"phase": self.phase.name}) + "\n")

    @staticmethod
    def read(path: Path) -> NodeReport:
        values = json.loads(path.read_text(encoding="utf-8"))
        statements = {int(partner): [tuple(entry) for entry in said] for partner, said in values["statements"].items()}
        return NodeReport(
            **values | {"phase": Phase[values["phase"]], "statements": statements, "gas": Counter(values["gas"])}
        )


class Node:
    """A household's node (or the grid connection's), connected to the two contracts with its own account."""

    def __init__(self, view: NodeView, aggregator: Aggregator, settlement: Settlement) -> None:
        """Step 1: connects, reads theta and the setting, and sets up the local problem.

        Raises:
            InputError: the account is not enrolled as this node, or the file does not fit the contract.
        """
        self.view = view
        self._aggregator = aggregator
        self._settlement = settlement
        setting, theta = aggregator.setting(), aggregator.theta()
        self._patience = 2.0 * setting.phase_seconds + 60.0  # a phase that is overdue is closed long before
        if setting.steps != view.steps or setting.step_seconds != round(3600 * view.step_hours):
            raise InputError(
                f"the household file of node {view.node} has {view.steps} steps of {3600 * view.step_hours:g} s, the "
                f"contract {setting.steps} of {setting.step_seconds} s: take the file that belongs to this contract"
            )
        assert aggregator.account is not None
        address = aggregator.account.address
        try:
            enrolled_as = aggregator.node_of(address)
        except ContractError as error:
            if error.name != "NotEnrolled":
                raise
            raise InputError(
                f"the account {address} is not enrolled in the contract at {aggregator.address}: ask the community "
                "manager to enrol it, or use the household's own key"
            ) from None
        if enrolled_as != view.node:
            raise InputError(
                f"the account {address} is enrolled as node {enrolled_as}, the household file is of "
                f"node {view.node}: use the key and the file of the same household"
            )
        penalties = Penalties.from_chain(theta.rho, theta.phi)
        resolution = Resolution.from_chain(setting.power_resolution_milliwatt, setting.voltage_resolution)
        self._agent = Agent(view, penalties, resolution)
        self._gas: Counter[str] = Counter()
        self._books: dict[int, Book] = {}
        self._last_bids: dict[int, bytes] = {}
        self._declared: dict[int, Declaration] = {}
        self._trade_scalars = 0

    def run(self) -> NodeReport:
        """Takes part in the round that is open, or the next one to open, until it ends and is settled."""
        started = time.perf_counter()
        round_ = self._declare()
        progress = self._wait(lambda now: now.round == round_ and now.phase is not Phase.DECLARING)
        if progress.phase is Phase.ITERATING:
            self._read_declarations(round_)
        while progress.phase is Phase.ITERATING:
            progress = self._iterate(round_, progress.iteration)
        statements = self._settle(round_) if progress.phase is Phase.CONVERGED else {}
        assert self._aggregator.account is not None
        solution = self._agent.solution
        schedule = {name: values.tolist() for name, values in solution.schedule.items()} if solution else {}
        return NodeReport(
            node=self.view.node,
            phase=progress.phase,
            iterations=progress.iteration,
            schedule=schedule,
            relaxation_gap_pu=schedule.pop("relaxation_gap_pu", []),
            statements=statements,
            solve_s=self._agent.solve_seconds,
            wall_s=time.perf_counter() - started,
            gas=self._gas,
            transactions=self._aggregator.account.transactions,
        )

    def _declare(self) -> int:
        """Step 2: declares i, pi(i), delta(i), and what its bids refer to."""
        view = self.view
        progress = self._wait(lambda now: now.phase is Phase.DECLARING)
        self._count(
            "declare",
            lambda: self._aggregator.declare(
                progress.round,
                view.parent,
                view.children,
                view.depth,
                view.bid_count,
                encode_book(book_of(view)),
            ),
        )
        return progress.round

    def _read_declarations(self, round_: int) -> None:
        """Learns the declared tree and the partners' books, which must mirror this household's own."""
        self._declared = self._aggregator.declarations(round_)
        self._trade_scalars = sum(declaration.bids for declaration in self._declared.values())
        for partner in self.view.partners:
            declaration = self._declared.get(partner.node)
            try:
                book = decode_book(declaration.book) if declaration else {}
            except ValueError as error:
                raise GridpactError(f"the book of node {partner.node} cannot be read: {error}") from None
            if declaration and sum(len(steps) for steps in book.values()) != declaration.bids:
                raise GridpactError(f"the book of node {partner.node} does not list the bids that it declared")
            self._books[partner.node] = book
            if self._books[partner.node].get(self.view.node) != partner.steps:
                raise GridpactError(
                    f"nodes {self.view.node} and {partner.node} do not bid for the same steps: their household files "
                    "are not of the same day and community"
                )

    def _iterate(self, round_: int, iteration: int) -> Progress:
        """Steps 3 to 6."""
        agent = self._agent
        heard = None
        if isinstance(agent.consensus, StarCentre):
            heard = self._hear_the_others(agent.consensus, round_, iteration)
        submission = agent.solve()
        residuals = agent.residuals.as_tuple()
        words = encode_copies(agent.blocks, submission.copies)
        self._count(
            "submit",
            lambda: self._aggregator.submit(
                round_,
                iteration,
                words,
                encode_bids(submission.bids),
                residuals,
            ),
        )
        progress = self._aggregator.wait_until(
            lambda now: now.round == round_ and (now.iteration > iteration or now.phase.is_final),
            self._patience,
            close_overdue=True,
            look_first=False,
        )

        counts: Integers = np.zeros(0, dtype=np.int64)
        sums: Integers = counts
        if heard is not None:  # with its own copies, the last ones, that makes the sums
            counts, sums = np.full(len(agent.blocks), 2), heard + submission.copies
        elif agent.blocks:
            coupling = self._aggregator.coupling(self.view.node)
            if coupling.iteration != iteration:
                raise GridpactError(
                    f"node {self.view.node} came too late to read iteration {iteration}: the chain shows "
                    f"{coupling.iteration}"
                )
            counts = self._present_counts(coupling)
            sums = decode_sums(agent.blocks, coupling.sums, self.view.steps, counts)
        sums = sums.reshape(submission.copies.shape)
        relaxation = OVER_RELAXATION
        if self.view.partners:
            submissions = self._aggregator.submissions(round_, iteration)
            self._last_bids |= {node: submission.bids for node, submission in submissions.items()}
            primal_trade = sum(submission.residuals[2] for submission in submissions.values())
            relaxation = relaxation_at(iteration, primal_trade, self._trade_scalars)
        theirs = {
            partner.node: bids_for(self._books[partner.node], self._last_bids.get(partner.node), self.view.node)
            for partner in self.view.partners
        }
        agent.update(submission, sums, counts, partner_bids(self.view, theirs), relaxation)
        return progress

    def _hear_the_others(self, consensus: StarCentre, round_: int, iteration: int) -> Integers | None:
        """The grid operator's node waits for the households' wishes before it answers them.

        Returns:
            The wishes, (blocks, T), where all households are present.
        """
        others = self._aggregator.theta().n - 1
        self._aggregator.wait_until(
            lambda now: now.round != round_ or now.iteration > iteration or now.counter >= others,
            self._patience,
            close_overdue=True,
            each_submission=True,
        )
        running = self._aggregator.running(self.view.node)
        present = np.array([block.node in running.present for block in self._agent.blocks])
        counts = present.astype(np.int64)
        wishes = decode_sums(self._agent.blocks, running.sums, self.view.steps, counts)
        consensus.hear(wishes, present)
        return wishes if present.all() else None

    def _present_counts(self, coupling: Coupling) -> Integers:
        parents = {node: said.parent for node, said in self._declared.items()}
        children = {node: sorted(said.children) for node, said in self._declared.items()}
        return np.array(
            [len(holders(block, parents, children) & coupling.present) for block in self._agent.blocks],
            dtype=np.int64,
        )

    def _settle(self, round_: int) -> dict[int, list[tuple[int, int, int]]]:
        """States the agreed trades, after depositing what this household has to pay."""
        statements = self._agent.trades.statements()
        encoded = {partner: encode_trades(entries) for partner, entries in statements.items()}
        if not encoded:
            return {}
        owed = 0
        for partner, trades in encoded.items():
            to_lower = self._settlement.payment(trades)
            owed += max(to_lower if self.view.node > partner else -to_lower, 0)
        if owed:
            self._count("settle", lambda: self._settlement.deposit(owed))
        self._count("settle", lambda: self._settlement.state(round_, encoded))
        return statements

    def _wait(self, reached: Callable[[Progress], bool]) -> Progress:
        return self._aggregator.wait_until(reached, self._patience, close_overdue=True)

    def _count(self, what: str, send: Callable[[], object]) -> None:
        assert self._aggregator.account is not None
        before = self._aggregator.account.gas_used
        send()
        self._gas[what] += self._aggregator.account.gas_used - before
