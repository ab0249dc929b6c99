"""One household in a round: the six steps of the report (its Fig. 8), then settlement.

A node looks at the chain and does what is still to be done, again and again. It holds nothing that the chain does not
hold too, so it comes back after a crash, an outage, or a re-organisation of the chain by replaying the round. The same
code runs as a process of its own (`gridpact node`) and as a thread beside a chain inside the process.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.commitments import START, head_with
from gridpact.chain.evidence import residual_evidence
from gridpact.chain.settlement import Opening, Settlement, encode_trades
from gridpact.chain.values import (
    ClosedIteration,
    IterationLog,
    Phase,
    Progress,
    SignedSubmission,
    Submission,
)
from gridpact.community.model import GRID_CONNECTION, Array, Feeder
from gridpact.errors import ChainError, ContractError, InputError, InsufficientFunds, Reorganised, Unreadable
from gridpact.files import write_atomically
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.codec import (
    book_of,
    decode_copies,
    encode_bids,
    encode_book,
    encode_copies,
    encode_feeder,
)
from gridpact.market.admm.consensus import StarCentre
from gridpact.market.admm.parameters import Penalties
from gridpact.node.audit import departures, false_claims, plan_errors
from gridpact.node.round_log import assembly_of, closing_of, reach_of, resolution_of
from gridpact.problem.baseline import fallback
from gridpact.problem.blocks import Block
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient, RelayUnavailable

log = logging.getLogger(__name__)

MOVED_ON = frozenset(
    {"WrongIteration", "WrongHistory", "WrongPhase", "WrongRound", "AlreadySubmitted", "AlreadyDeclared", "NotInRound"}
)
"""What a contract says to a call that came too late, or twice: look again."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a node that found the chain taken back begins anew, doubled each time."""

LEAST_PATIENCE = 30.0
"""Seconds, or a phase if that is longer, in which nothing fits what the contract counted, until a node gives up."""

LAST_CALL = 0.5
"""Part of a phase after which the grid operator's node answers those who are there; and of what is left of the phase,
after which a node whose relayed submission is not on the chain sends it directly."""


CHECK_EVERY = 4
"""Iterations from one check of another node's network residuals to the next."""


BOARD_SECONDS = 1.0
"""How long the grid operator's node waits at the relay before it looks at the chain."""

ATTEMPTS = 3
"""How often an accusation is made in an iteration."""


@dataclass
class NodeReport:
    """What a node tells its household, and nobody else, after a round."""

    node: int
    phase: Phase
    iterations: int
    agreed: bool  # else the schedule is what the household does with its supplier alone
    schedule: Mapping[str, list[float]]  # kW, kvar or kWh, (T,) each
    relaxation_gap_pu: list[float]  # of the part of the network that the node solved, (T,) or empty
    statements: Mapping[int, list[tuple[int, int, int]]]  # partner -> (step, energy Wh, price 1e-6 currency/kWh)
    solve_s: float
    wall_s: float
    seconds: Mapping[str, float]  # of the round by what the node did: solving, reading, sending, waiting
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


class Observer(Protocol):
    """Is told how a node gets on in a round."""

    def progress(self, now: Progress) -> None:
        """Where the round stands."""

    def planned(self, schedule: Mapping[str, Array], agreed: bool) -> None:
        """The schedule is certain, (T,) each: before trades are settled, which may fail."""


class Node:
    """A household's node (or the grid connection's), connected to the two contracts with its own account.

    Args:
        relay: where to leave signed submissions; without it the node sends its own transactions.
        confirm_seconds: how long the end of the round must stand before it is believed, on chains that may be
            re-organised.
        observer: is told how the round gets on.
        check: raises ChainError where the round is not the one that the view is for; asked before anything is declared,
            and before anything is paid.
    """

    def __init__(
        self,
        view: NodeView,
        aggregator: Aggregator,
        settlement: Settlement,
        relay: RelayClient | None = None,
        confirm_seconds: float = 0.0,
        observer: Observer | None = None,
        deposit_max: float | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Step 1: connects, reads theta and the setting.

        Args:
            deposit_max: what may be deposited for the round at most, currency.

        Raises:
            InputError: the account is not enrolled as this node, or the file does not fit the contract.
        """
        self.view = view
        self._aggregator = aggregator
        self._settlement = settlement
        self._relay = relay
        self._confirm_seconds = confirm_seconds
        self._observer = observer
        self._deposit_max = deposit_max
        self._check = check or (lambda: None)
        setting, theta = aggregator.setting(), aggregator.theta()
        if setting.steps != view.steps or setting.step_seconds != round(3600 * view.step_hours):
            raise InputError(
                f"the household file of node {view.node} has {view.steps} steps of {3600 * view.step_hours:g} s, the "
                f"contract {setting.steps} of {setting.step_seconds} s: take the file that belongs to this contract"
            )
        self._check_account()
        self._phase_seconds = setting.phase_seconds
        self._patience = 2.0 * setting.phase_seconds + 60.0  # a phase that is overdue is closed long before
        self._penalties = Penalties.from_chain(theta.rho, theta.phi)
        self._most_iterations, self._most_misses = theta.mu, setting.max_misses
        self._reach = reach_of(aggregator)
        self._resolution = resolution_of(aggregator)
        self._gas: Counter[str] = Counter()
        self._solve_s = 0.0
        self._laps = _Laps()
        self._memory: _Memory | None = None

    def _check_account(self) -> None:
        assert self._aggregator.account is not None
        address = self._aggregator.account.address
        try:
            enrolled_as = self._aggregator.node_of(address)
        except ContractError as error:
            if error.name != "NotEnrolled":
                raise
            raise InputError(
                f"the account {address} is not enrolled in the contract at {self._aggregator.address}: ask the "
                "community manager to enrol it, or use the household's own key"
            ) from None
        if enrolled_as != self.view.node:
            raise InputError(
                f"the account {address} is enrolled as node {enrolled_as}, the household file is of "
                f"node {self.view.node}: use the key and the file of the same household"
            )

    # ------------------------------------------------------------------ a round

    def run(self, round_: int | None = None) -> NodeReport:
        """Takes part in a round until it ends and is settled: the one given, which is the current one, or else the one
        that is open, or the next to open.

        Raises:
            ChainError: the chain failed, or another round is the current one.
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        started, self._laps = time.perf_counter(), _Laps()
        if round_ is None:
            round_ = self._wait(self._concerns_me).round
        while True:
            progress = self._take_part(round_)
            try:
                schedule, statements = self._conclude(round_, progress)
            except Reorganised as error:
                log.warning("node %d goes back to the round: %s", self.view.node, error)
                self._forget()
                continue
            if self._stands(progress):
                break
        memory = self._memory
        assert self._aggregator.account is not None
        return NodeReport(
            node=self.view.node,
            phase=progress.phase,
            iterations=progress.iteration,
            agreed=statements is not None,
            schedule={name: values.tolist() for name, values in schedule.items() if name != "relaxation_gap_pu"},
            relaxation_gap_pu=schedule["relaxation_gap_pu"].tolist() if "relaxation_gap_pu" in schedule else [],
            statements=statements or {},
            solve_s=self._solve_s + (memory.agent.solve_seconds if memory else 0.0),
            wall_s=time.perf_counter() - started,
            seconds=self._laps.seconds,
            gas=self._gas,
            transactions=self._aggregator.account.transactions,
        )

    def _conclude(
        self, round_: int, progress: Progress
    ) -> tuple[Mapping[str, Array], dict[int, list[tuple[int, int, int]]] | None]:
        """The schedule, and what was stated about trades; None where there is no agreement with this household.

        Raises:
            Reorganised: the end of the round was undone.
        """
        self._check()
        memory = self._memory
        if progress.phase is not Phase.CONVERGED or memory is None or self.view.node in memory.gone:
            return self._planned(fallback(self.view), False), None
        if broken := self._broken_limits(memory):
            log.error("node %d does not take the plan: %s", self.view.node, "; ".join(broken))
            return self._planned(fallback(self.view), False), None
        schedule = self._planned(self._plan(round_, memory, progress.iteration), True)
        try:
            return schedule, self._settle(round_, memory, schedule)
        except ContractError as error:
            if error.name not in ("NotConverged", "WrongOpening"):
                raise
            raise Reorganised(f"the end of round {round_} was undone ({error})") from None

    def _planned(self, schedule: dict[str, Array], agreed: bool) -> dict[str, Array]:
        if self._observer is not None:
            self._observer.planned(schedule, agreed)
        return schedule

    def _stands(self, end: Progress) -> bool:
        """Whether the end of the round is still there after some time."""

        def undone(now: Progress) -> bool:
            return now.round < end.round or (now.round == end.round and (now.phase, now.iteration) != ended)

        ended = (end.phase, end.iteration)
        return not undone(self._aggregator.wait_for(undone, self._confirm_seconds))

    def _concerns_me(self, now: Progress) -> bool:
        """A round that takes declarations, or one that this node is in already: it comes back to it."""
        if now.phase is Phase.DECLARING:
            return True
        return now.phase is Phase.ITERATING and self.view.node in self._aggregator.roster().active

    def _take_part(self, round_: int) -> Progress:
        """Does what is to be done, until the round is over or goes on without this node."""
        pause, give_up = FIRST_PAUSE, math.inf
        progress: Progress | None = None
        while True:
            if progress is None or progress.round < round_:  # lower where the chain was taken back
                progress = self._wait(lambda now: now.round >= round_)
            if progress.round > round_:
                raise ChainError(f"round {round_} ended while node {self.view.node} was away")
            if self._observer is not None:
                self._observer.progress(progress)
            try:
                if progress.phase.is_final:
                    outcome = self._aggregator.outcome(round_)
                    if outcome.phase is not progress.phase:
                        raise Reorganised(f"the end of round {round_} was undone")
                    self._catch_up(round_, outcome.iterations, outcome.head)
                    return progress
                seen = self._act(round_, progress)
            except Reorganised as error:
                give_up = min(give_up, time.monotonic() + max(self._phase_seconds, LEAST_PATIENCE))
                if time.monotonic() > give_up:
                    raise Unreadable(
                        f"the chain's endpoint does not tell round {round_} as the contract counted it ({error}): give "
                        "another"
                    ) from error
                log.warning("node %d begins anew: %s", self.view.node, error)
                self._forget()
                if pause == LONGEST_PAUSE:
                    self._aggregator.ask_another()
                time.sleep(pause)
                pause, progress = min(2 * pause, LONGEST_PAUSE), None
                continue
            pause, give_up, reached = FIRST_PAUSE, math.inf, self._after(progress)
            progress = seen if seen is not None and reached(seen) else self._wait(reached)

    def _act(self, round_: int, progress: Progress) -> Progress | None:
        """Does what is to be done now. Returns the progress that it saw last, if it waited for any."""
        node = self.view.node
        if progress.phase is Phase.DECLARING and node not in progress.present:
            self._declare(round_)
        elif progress.phase is Phase.ITERATING:
            with self._laps.doing("reading"):
                memory = self._catch_up(round_, progress.iteration - 1, progress.history.to_bytes(2, "big"))
            if memory is None or node in memory.gone:
                log.warning("node %d is out of round %d", node, round_)
                self._wait(lambda now: now.round > round_ or now.phase.is_final)
            elif node not in progress.present:
                return self._submit(round_, progress, memory)
        return None

    def _after(self, seen: Progress) -> Callable[[Progress], bool]:
        """Whether there may be something to do since `seen` and what this node did then."""

        def reached(now: Progress) -> bool:
            same = (now.round, now.iteration, now.phase) == (seen.round, seen.iteration, seen.phase)
            return not same or (now.phase.is_running and self.view.node not in now.present)

        return reached

    def _broken_limits(self, memory: _Memory) -> tuple[str, ...]:
        """Checks the grid operator's last answer at all steps, so that all households come to the same."""
        book = memory.books.get(GRID_CONNECTION)
        if self.view.household is None or not book or GRID_CONNECTION not in memory.last:
            return ()
        assembly, (newest, _) = memory.agent.assembly, memory.last[GRID_CONNECTION]
        copies = self._aggregator.copies_of(newest)
        answers = decode_copies(assembly.blocks(GRID_CONNECTION), copies, self.view.steps)
        return plan_errors(assembly, answers, book, self._resolution)

    def _declare(self, round_: int) -> None:
        """Step 2: declares i, pi(i), delta(i), and what its bids refer to or, at the operator's node, the limits."""
        self._check()
        view = self.view
        # What a street's node 0 answers cannot be proved false by what it publishes, so it publishes nothing.
        feeder = view.feeder if view.household is None else None
        book = encode_feeder(feeder) if isinstance(feeder, Feeder) and feeder.lines else encode_book(book_of(view))
        self._try(
            "declare",
            lambda: self._aggregator.declare(round_, view.parent, view.children, view.depth, view.bid_count, book),
        )

    def _plan(self, round_: int, memory: _Memory, last: int) -> dict[str, Array]:
        """The agreed schedule. Without trades it is that of the last x-step, which a node that came back since takes
        once more."""
        agent = memory.agent
        if self.view.partners:
            return agent.plan().schedule
        if agent.solved != last:
            closing = memory.history[-1][1]
            again = self._new_memory(round_)
            assert again is not None
            for entry in self._aggregator.history(round_)[: last - 1]:
                self._take_in(again, entry)
            running = None
            if isinstance(agent.consensus, StarCentre):
                words = self._aggregator.copies_of(memory.last[self.view.node][0])
                own = decode_copies(agent.blocks, words, self.view.steps)
                running = {
                    block: closing.sums[block] - row
                    for block, row in zip(agent.blocks, own, strict=True)
                    if block.node in closing.present
                }
            agent = again.agent
            agent.solve(running)
            self._solve_s += agent.solve_seconds
        return agent.plan().schedule

    # ------------------------------------------------------------------ what the chain says

    def _catch_up(self, round_: int, upto: int, head: bytes) -> _Memory | None:
        """Takes in the iterations that were closed since. None: this node is not in the round.

        Where the chain tells another history than before, it is read from its beginning.

        Args:
            head: the last bytes, or all, of the head that it must lead to.

        Raises:
            Reorganised: the chain changed while it was read.
        """
        memory = self._memory
        if memory is not None and memory.agent.iteration <= upto:
            for iteration in range(memory.agent.iteration + 1, upto + 1):
                entry = self._aggregator.iteration(round_, iteration)
                if entry.closed is None or not memory.follows(round_, entry.closed):
                    break
                self._take_in(memory, entry)
                self._audit(round_, memory)
            if memory.agent.iteration == upto and memory.head.endswith(head):
                return memory
            log.warning("node %d: the chain was re-organised", self.view.node)
        self._forget()
        self._memory = memory = self._new_memory(round_)
        if memory is not None:
            for entry in self._aggregator.history(round_)[:upto]:
                self._take_in(memory, entry)
            memory.doubtful = upto + 1
            if memory.agent.iteration != upto or not memory.head.endswith(head):
                raise Reorganised(f"the chain of round {round_} changed while node {self.view.node} read it")
        return memory

    def _forget(self) -> None:
        if self._memory is not None:
            self._solve_s += self._memory.agent.solve_seconds
        self._memory = None

    def _new_memory(self, round_: int) -> _Memory | None:
        found = assembly_of(self._aggregator, round_)
        if found is None and self._aggregator.roster().nodes:
            raise Reorganised(f"the log does not tell yet that round {round_} started")
        if found is None or self.view.node not in found[0].nodes:
            return None
        assembly, books = found
        return _Memory(self._agent(assembly), books)

    def _agent(self, assembly: Assembly) -> Agent:
        return Agent(self.view, assembly, self._penalties, self._resolution, self._most_iterations)

    def _take_in(self, memory: _Memory, entry: IterationLog) -> None:
        """Step 4, from the logs; of its own submission the copies, which are not in the logs."""
        assert entry.closed is not None
        node, iteration = self.view.node, entry.closed.iteration
        closing = closing_of(memory.agent.assembly, entry, memory.gone)
        own: Integers | None = None
        if node in closing.present:
            own = memory.sent.get(iteration)
            if own is None or iteration <= memory.doubtful:  # another run of this node may have sent something else
                words = self._aggregator.copies_of(entry.submissions[node])
                own = decode_copies(memory.agent.blocks, words, self.view.steps)
        memory.take_in(entry, closing, own)

    def _audit(self, round_: int, memory: _Memory) -> None:
        """Checks what the others claimed in the newest iteration about the one before, and what they said there, and
        accuses who is false: at once where this node comes next after it, else if nobody else has done it by the next
        iteration."""
        if len(memory.history) < 2:
            return
        entry, now = memory.history[-1][0], memory.history[-2][1]
        before = memory.history[0][1] if len(memory.history) == 3 else None
        me, assembly = self.view.node, memory.agent.assembly
        if not (others := sorted(entry.submissions.keys() - {me})):
            return
        copies = self._copies_to_check(memory, others)
        claims = {node: entry.submissions[node].residuals for node in others}
        for node, what in false_claims(assembly, claims, now, before, copies).items():
            log.warning("node %d %s", node, what)
            memory.suspects.setdefault(node, (now.iteration, False))
        age = memory.steady[-2] - self._most_misses
        for node, what in departures(assembly, others, now, before, copies, self._reach, age).items():
            log.warning("node %d %s", node, what)
            memory.suspects.setdefault(node, (now.iteration, True))
        for node, (iteration, departed) in memory.suspects.items():
            honest = sorted(assembly.nodes - memory.gone - memory.suspects.keys())
            first = next((other for other in honest if other > node), honest[0])
            if node not in memory.gone and (me == first or iteration < now.iteration):
                self._accuse(round_, node, iteration, departed)

    def _copies_to_check(self, memory: _Memory, others: Sequence[int]) -> dict[int, Integers]:
        """What others submitted in the iteration before, as far as it is known: the grid operator's node heard all of
        it; a household asks for that of one other now and then, since it takes a request."""
        me, assembly = self.view.node, memory.agent.assembly
        entry, now, own = memory.history[-2]
        if isinstance(memory.agent.consensus, StarCentre):
            if own is None:
                return {}
            answers = dict(zip(memory.agent.blocks, own, strict=True))
            there = [node for node in others if node in now.present]
            return {
                node: np.array([now.sums[block] - answers[block] for block in assembly.blocks(node)]) for node in there
            }
        if not assembly.blocks(me) or (me + now.iteration) % CHECK_EVERY:
            return {}
        node = others[(me + now.iteration) // CHECK_EVERY % len(others)]
        if (said := entry.submissions.get(node)) is None:
            return {}
        return {node: decode_copies(assembly.blocks(node), self._aggregator.copies_of(said), self.view.steps)}

    def _accuse(self, round_: int, node: int, iteration: int, departed: bool) -> None:
        """Submissions of the accused and its partners overtake the evidence; then it is put together once more. The
        iteration stays open meanwhile, as this node has not submitted yet."""
        for _ in range(ATTEMPTS):
            try:
                evidence = residual_evidence(self._aggregator, round_, node, iteration, departed)
                self._try("accuse", partial(self._aggregator.accuse, round_, node, evidence))
                return
            except ChainError as error:
                log.warning("the accusation of node %d failed: %s", node, error)
                if getattr(error, "name", "") != "NotProved":
                    return

    # ------------------------------------------------------------------ steps 3 to 5

    def _submit(self, round_: int, progress: Progress, memory: _Memory) -> Progress | None:
        """Returns what `_act` does."""
        iteration, since = progress.iteration, time.monotonic()
        running = None
        if isinstance(memory.agent.consensus, StarCentre):
            with self._laps.doing("waiting"):
                running = self._hear(round_, progress, memory, since)
            if running is None:
                return None
        with self._laps.doing("solving"):
            submission = memory.agent.solve(running)
        memory.sent[iteration] = submission.copies
        with self._laps.doing("sending"):
            words, bids = encode_copies(memory.agent.blocks, submission.copies), encode_bids(submission.bids)
            residuals = memory.agent.residuals.as_tuple()
            head = memory.head
            if self._relay is not None and not memory.relay_failed:
                signed = self._aggregator.sign(round_, iteration, head, self.view.node, words, bids, residuals)
                if seen := self._leave_at_relay(round_, progress, signed, since):
                    return seen
                memory.relay_failed = True
            self._try("submit", lambda: self._aggregator.submit(round_, iteration, head, words, bids, residuals))
        return None

    def _leave_at_relay(
        self, round_: int, progress: Progress, signed: SignedSubmission, since: float
    ) -> Progress | None:
        """The progress once the relay brought the submission to the chain; None where it did not in time."""
        assert self._relay is not None
        try:
            self._relay.post(round_, progress.iteration, signed)
        except RelayUnavailable as error:
            log.warning("node %d sends directly: %s", self.view.node, error)
            return None

        def there(now: Progress) -> bool:
            moved = (now.round, now.iteration, now.phase) != (round_, progress.iteration, Phase.ITERATING)
            return moved or self.view.node in now.present

        left = self._phase_seconds - (time.monotonic() - since)
        with self._laps.doing("waiting"):
            now = self._aggregator.wait_for(there, max(LAST_CALL * left, 0.0), look_first=False)
        return now if there(now) else None

    def _hear(self, round_: int, progress: Progress, memory: _Memory, since: float) -> dict[Block, Integers] | None:
        """The grid operator's node waits for the households' wishes before it answers them.

        Returns:
            The wishes that have arrived; None where the iteration ended meanwhile.
        """
        agent, iteration = memory.agent, progress.iteration
        others = agent.assembly.nodes - memory.gone - {self.view.node}
        last_call = since + LAST_CALL * self._phase_seconds
        wishes: dict[int, Integers] = {}

        def moved(now: Progress) -> bool:
            return (now.round, now.iteration, now.phase) != (round_, iteration, Phase.ITERATING)

        def complete(now: Progress) -> bool:
            return moved(now) or others <= now.present | wishes.keys()

        now = progress
        while not complete(now) and (left := last_call - time.monotonic()) > 0:
            if self._relay is not None and not memory.relay_failed:  # some may send directly, so the chain is looked at
                left = min(left, BOARD_SECONDS)
                wishes = self._wishes_at_relay(round_, iteration, memory, others - now.present, left)
            now = self._aggregator.wait_for(complete, left, each_submission=True)
        if moved(now):
            return None
        heard = {
            block: lanes
            for node, copies in wishes.items()
            for block, lanes in zip(agent.assembly.blocks(node), copies, strict=True)
        }
        if others & now.present:
            running = self._aggregator.running(self.view.node)
            if running.iteration != iteration:
                return None
            lanes = decode_copies(agent.blocks, running.sums, self.view.steps)
            for block, row in zip(agent.blocks, lanes, strict=True):
                if block.node in running.present:
                    heard[block] = row
        return heard

    def _wishes_at_relay(
        self, round_: int, iteration: int, memory: _Memory, missing: frozenset[int], seconds: float
    ) -> dict[int, Integers]:
        """The copies of households whose signed submissions lie at the relay, once all are there or time is up."""
        assert self._relay is not None
        if not memory.accounts:
            memory.accounts = self._aggregator.accounts_in(round_, memory.agent.assembly.nodes)
        board: Sequence[SignedSubmission] = ()
        try:
            board = self._relay.board(round_, iteration, len(missing), seconds)
        except RelayUnavailable as error:
            log.warning("node %d hears the chain only: %s", self.view.node, error)
        assembly = memory.agent.assembly
        return {
            signed.node: decode_copies(assembly.blocks(signed.node), signed.copies, self.view.steps)
            for signed in board
            if signed.node in missing
            and self._aggregator.signer_of(round_, iteration, memory.head, signed) == memory.accounts[signed.node]
        }

    # ------------------------------------------------------------------ settlement

    def _settle(
        self, round_: int, memory: _Memory, schedule: Mapping[str, Array]
    ) -> dict[int, list[tuple[int, int, int]]]:
        """States the agreed trades, after depositing what this household has to pay."""
        statements = memory.agent.trades.statements()
        encoded = {
            partner: encode_trades(entries)
            for partner, entries in statements.items()
            if not self._settlement.is_recorded(round_, self.view.node, partner)
        }
        if not encoded:
            return statements
        owed = self._supplier_bill(schedule)
        for partner, trades in encoded.items():
            to_lower = self._settlement.payment(trades)
            owed += max(to_lower if self.view.node > partner else -to_lower, 0)
        assert self._aggregator.account is not None
        address = self._aggregator.account.address
        missing = owed + self._settlement.arrears(address) - self._settlement.free(address)
        if missing > 0:
            self._check_tokens(missing)
            self._try("settle", lambda: self._settlement.deposit(missing))
        # The lower node of a pair shows that the trades fit the bids.
        opened = {node for partner in encoded if partner > self.view.node for node in (partner, self.view.node)}
        openings = {node: self._opening(memory, node) for node in opened}
        self._try("settle", lambda: self._settlement.state(round_, self.view.node, encoded, openings))
        return statements

    def _check_tokens(self, units: int) -> None:
        """Raises InsufficientFunds where the account has not what it is to deposit, or may not deposit so much."""
        assert self._aggregator.account is not None
        token, address = self._settlement.token, self._aggregator.account.address
        unit, symbol = 10.0 ** token.decimals(), token.symbol()
        if self._deposit_max is not None and units > self._deposit_max * unit:
            raise InsufficientFunds(
                f"node {self.view.node} would have to deposit {units / unit:g} {symbol} for its trades and its "
                f"supplier, more than the {self._deposit_max:g} that it may: deposit it by hand (`gridpact deposit "
                "add`) if that is right"
            )
        if (short := units - token.balance(address)) > 0:
            raise InsufficientFunds(
                f"the account {address} of node {self.view.node} lacks {short / unit:g} {symbol} of the "
                f"{units / unit:g} {symbol} that it has to deposit for its trades and its supplier: send it "
                f"{short / unit:g} {symbol}"
            )

    def _supplier_bill(self, schedule: Mapping[str, Array]) -> int:
        """What the household expects to pay its supplier on delivery, token units."""
        prices = self.view.prices
        if "import_kw" not in schedule:
            return 0
        bought = prices.import_price @ schedule["import_kw"]
        sold = prices.feed_in_price @ schedule["feed_in_kw"]
        bill: float = self.view.step_hours * (bought - sold) * 10 ** self._settlement.token.decimals()
        return max(math.ceil(bill), 0)

    def _opening(self, memory: _Memory, node: int) -> Opening:
        """What the contract's commitment to a node's last submission was made from."""
        last, before = memory.last[node]
        copies = self._aggregator.copies_of(last)
        return Opening.of(memory.books[node], last.bids, before, copies, last.residuals)

    # ------------------------------------------------------------------ small things

    def _wait(self, reached: Callable[[Progress], bool]) -> Progress:
        with self._laps.doing("waiting"):
            return self._aggregator.wait_until(reached, self._patience, close_overdue=True)

    def _try(self, what: str, send: Callable[[], object]) -> None:
        """Sends, unless the round has moved on or has it already."""
        assert self._aggregator.account is not None
        before = self._aggregator.account.gas_used
        try:
            send()
        except ContractError as error:
            if error.name not in MOVED_ON:
                raise
            log.info("node %d: %s", self.view.node, error)
        finally:
            self._gas[what] += self._aggregator.account.gas_used - before


class _Laps:
    """How long a node did what; what is done within something else does not count for that."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._what, self._since = "", time.perf_counter()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        before = self._switch(what)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, what: str) -> str:
        now, before = time.perf_counter(), self._what
        if before:
            self.seconds[before] = self.seconds.get(before, 0.0) + now - self._since
        self._what, self._since = what, now
        return before


class _Memory:
    """What a node makes of a round as it reads it: nothing here that the chain could not tell again."""

    def __init__(self, agent: Agent, books: Mapping[int, bytes]) -> None:
        self.agent = agent
        self.books = books  # as declared
        self.gone: frozenset[int] = frozenset()
        self.sent: dict[int, Integers] = {}  # iteration -> copies that this node submitted
        self.doubtful = 0  # up to this iteration, an earlier run of this node may have submitted others
        self.last: dict[int, tuple[Submission, bytes]] = {}  # node -> last submission, commitment before it
        self.accounts: dict[int, str] = {}  # of the others, where this node reads the relay's board
        self.suspects: dict[int, tuple[int, bool]] = {}  # node -> iteration in which it was false; beyond its reach
        self.steady: deque[int] = deque(maxlen=3)  # for how many iterations the same nodes were there; newest last
        self.relay_failed = False  # then this node sends directly for the rest of the round
        self.history: deque[tuple[IterationLog, Closing, Integers | None]] = deque(maxlen=3)  # own copies; newest last
        self.head = START  # of the round, as it was read

    def follows(self, round_: int, closed: ClosedIteration) -> bool:
        """Whether an iteration continues the history that was read so far."""
        return head_with(self.head, round_, closed) == closed.head

    def take_in(self, entry: IterationLog, closing: Closing, own: Integers | None) -> None:
        assert entry.closed is not None
        self.head = entry.closed.head
        self.gone = closing.gone
        before = self.history[-1][1].present if self.history else None
        self.steady.append(self.steady[-1] + 1 if before == closing.present else 0)
        self.history.append((entry, closing, own))
        for node, submission in entry.submissions.items():
            commitment = self.last[node][0].commitment if node in self.last else START
            self.last[node] = (submission, commitment)
        self.agent.take_in(closing, own)
