"""The nodes of one contract that one process runs: each signs for itself, and they read the chain and pay together.

A `Node` is a household's own program and trusts nobody. Here an operator runs many, as in a study of a thousand homes:
what the contract told is read once for all of them, and what they submit in an iteration goes out signed in one
transaction. The integers, the turn (`market.admm.steps`) and the contracts are the same. Rounds are open ones. Nodes of
the same contract that another process runs are not trusted: what they claim of trades, and whether they keep within
reach, is looked at, and who is false is accused.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.commitments import START, head_with
from gridpact.chain.evidence import residual_evidence
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase, Progress, SignedSubmission, Submission
from gridpact.community.model import Array
from gridpact.errors import ChainError, ContractError, InputError
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.codec import published
from gridpact.market.admm.parameters import Penalties
from gridpact.market.admm.residuals import Residuals
from gridpact.market.admm.steps import take_turn
from gridpact.node.audit import departures, false_claims
from gridpact.node.form import OpenForm
from gridpact.node.memory import Memory
from gridpact.node.round_log import assembly_of, closing_of, reach_of, resolution_of
from gridpact.node.sending import MOVED_ON, Sending
from gridpact.node.settling import Settling
from gridpact.problem.blocks import Block
from gridpact.problem.view import NodeView
from gridpact.relay.server import batches

log = logging.getLogger(__name__)


class Group:
    """Nodes of a deployment, in the first round that is opened there.

    Args:
        views: of the nodes.
        keys: of their accounts, by node.
        payer: sends what they sign. One account in one process.

    Attributes:
        agents: of those that are in the round, from its start.
    """

    def __init__(self, views: Sequence[NodeView], keys: Mapping[int, str], record: Record, payer: ChainAccount) -> None:
        self.views = {view.node: view for view in views}
        self.agents: dict[int, Agent] = {}
        self._record, self._payer = record, payer
        self._accounts = {node: ChainAccount(payer.web3, keys[node]) for node in self.views}
        self._aggregator = Aggregator.of(record, payer.web3, payer)
        if self._aggregator.sealed:
            raise InputError("nodes that read the chain together take part in open rounds: deploy without sealing")
        self._assembly: Assembly | None = None
        self._books: dict[int, bytes] = {}
        self._declared = False
        self._closed = 0  # iterations that were taken in
        self._judged = 0  # up to which of them others were looked at
        self._head = START
        self._gone: frozenset[int] = frozenset()
        self._sent: dict[int, Integers] = {}  # copies in the open iteration, by node
        self._last: dict[int, tuple[Submission, bytes]] = {}  # by node: last submission, commitment before it
        self._signed: list[SignedSubmission] = []  # on their way
        self._history: deque[tuple[Mapping[int, Submission], Closing, int]] = deque(maxlen=3)  # see `_accuse`
        self.gas: Counter[str] = Counter()

    # ------------------------------------------------------------------ where the round stands

    def look(self, takes_part: bool = True) -> Progress:
        """Where the round stands. Does what is due by that: declares, takes in what was closed, ends what is overdue.

        Args:
            takes_part: whether it is time to; before, nothing is done.
        """
        progress = self._aggregator.progress()
        if not takes_part:
            return progress
        if progress.phase is Phase.DECLARING and not self._declared:
            self._declare(progress.round)
            progress = self._aggregator.progress()
        if progress.phase is Phase.ITERATING or progress.phase.is_final:
            self._catch_up(progress)
            if progress.phase is Phase.ITERATING and self._accuse(progress.round):
                progress = self._aggregator.progress()
        if progress.phase.is_running and self._aggregator.chain_now() > progress.deadline:
            self._aggregator.close_overdue()
        return progress

    def awaited(self, progress: Progress) -> frozenset[int]:
        """Nodes of this group that the open iteration lacks."""
        if progress.phase is not Phase.ITERATING or progress.closed != self._closed:
            return frozenset()
        return frozenset(node for node in self.agents if self.is_in(node)) - self._sent.keys()

    def is_in(self, node: int) -> bool:
        """Whether a node is in the round, and not out of it."""
        return node in self.agents and node not in self._gone

    def _declare(self, round_: int) -> None:
        """Step 2, for all: all transactions first, then all receipts. Who comes too late is not in the round."""
        aggregator, spare = self._aggregator, self._aggregator.starting_gas()
        self._declared, pendings = True, []
        for node, account in self._accounts.items():
            view = self.views[node]
            call = aggregator.declaring(round_, view.parent, view.children, view.depth, view.bid_count, published(view))
            with self._in_time(node):
                pendings.append((node, account, account.post(call, spare=spare)))
        for node, account, pending in pendings:
            with self._in_time(node):
                account.settle(pending)
            self.gas["declare"] += account.gas_used

    @staticmethod
    @contextmanager
    def _in_time(node: int) -> Iterator[None]:
        try:
            yield
        except ContractError as error:
            if error.name not in MOVED_ON:
                raise
            log.warning("node %d declares too late, and is not in the round: %s", node, error)

    def _catch_up(self, progress: Progress) -> None:
        """Step 4, once for all agents."""
        round_, aggregator = progress.round, self._aggregator
        if self._assembly is None:
            declared = assembly_of(aggregator, round_)
            if declared is None:
                return
            self._assembly, self._books = declared
            theta, resolution = aggregator.theta(), resolution_of(aggregator)
            penalties = Penalties.from_chain(theta.rho, theta.phi)
            self.agents = {
                node: Agent(view, self._assembly, penalties, resolution, theta.mu)
                for node, view in self.views.items()
                if node in self._assembly.nodes
            }
        while self._closed < progress.closed:
            entry = aggregator.iteration(round_, self._closed + 1)
            closing, closed = closing_of(self._assembly, entry, self._gone), entry.closed
            assert closed is not None
            if head_with(self._head, round_, closed) != closed.head:
                raise ChainError(f"the chain of round {round_} changed while a group of nodes read it: begin anew")
            for node, agent in self.agents.items():
                agent.take_in(closing, self._sent.get(node) if node in closing.present else None)
            before = self._history[-1] if self._history else None
            steady = before[2] + 1 if before is not None and before[1].present == closing.present else 0
            self._history.append((entry.submissions, closing, steady))
            for node, submission in entry.submissions.items():
                self._last[node] = submission, self._last[node][0].commitment if node in self._last else START
            self._closed, self._head, self._gone, self._sent = closing.iteration, closed.head, closing.gone, {}

    def _accuse(self, round_: int) -> bool:
        """Looks at what nodes of others said in the iteration before the newest that is closed, and claim of it in that
        one. Returns whether somebody was accused."""
        if len(self._history) < 2 or self._judged == self._closed:
            return False
        self._judged = self._closed
        assert self._assembly is not None
        said, _, _ = self._history[-1]
        if not (others := said.keys() - self.views.keys() - self._gone):
            return False
        _, now, steady = self._history[-2]
        before = self._history[0][1] if len(self._history) == 3 else None
        claims = {node: said[node].residuals for node in others}
        age = steady - self._aggregator.setting().max_misses
        false = false_claims(self._assembly, claims, now, before, {})
        gone = departures(self._assembly, others, now, before, {}, reach_of(self._aggregator), age)
        for node, what in (false | gone).items():
            log.warning("node %d %s", node, what)
            try:
                evidence = residual_evidence(self._aggregator, round_, node, now.iteration, node not in false)
                self._aggregator.accuse(round_, node, evidence)
            except ChainError as error:  # another process may have been before
                log.warning("accusing node %d failed: %s", node, error)
        return bool(false or gone)

    # ------------------------------------------------------------------ steps 3 and 5

    def take_turns(self, progress: Progress, given: Mapping[int, IntegerSubmission], nodes: Collection[int]) -> None:
        """Some nodes solve and sign, the grid operator's last; `send` brings it to the chain.

        Args:
            given: submissions of nodes that solve elsewhere.
        """
        for node in sorted(nodes, key=lambda node: self.agents[node].answers):
            agent, opened = self.agents[node], _Signing(self, progress, node)
            if node in given:
                opened.submit(given[node], agent.residuals)
            else:
                take_turn(agent, opened)

    def send(self, progress: Progress) -> None:
        """What was signed for the open iteration, in as few transactions as it takes."""
        signed, self._signed = self._signed, []
        complete = progress.counter + len(signed) == progress.expected
        before = self._payer.gas_used
        try:
            for batch in batches(signed, complete) if signed else ():
                self._relay(progress, batch)
        except ContractError as error:
            if error.name not in MOVED_ON:
                raise
            log.warning("what a group of nodes submitted came too late: %s", error)
        self.gas["submit"] += self._payer.gas_used - before

    def _relay(self, progress: Progress, batch: Sequence[SignedSubmission]) -> None:
        aggregator, of_all = self._aggregator, len(batch) == progress.expected
        receipt = aggregator.relay(progress.round, progress.iteration, batch, of_all=of_all)
        if skipped := aggregator.skipped(receipt):
            log.warning("the contract did not count what some of a group of nodes submitted: %s", skipped)

    def sums(self) -> dict[Block, Integers]:
        """Of the copies in the open iteration, as far as these nodes have said them."""
        assert self._assembly is not None
        sums: dict[Block, Integers] = {}
        for node, copies in self._sent.items():
            for block, lanes in zip(self._assembly.blocks(node), copies, strict=True):
                sums[block] = sums[block] + lanes if block in sums else lanes
        return sums

    def sign(self, progress: Progress, node: int, submission: IntegerSubmission, residuals: Residuals) -> None:
        """Signs what a node says with the node's key."""
        assert self._assembly is not None
        words, bids = OpenForm(self._assembly, node).encode(progress.iteration, submission, self._gone)
        unsigned = SignedSubmission(node, tuple(words), bids, residuals.as_tuple(), b"", b"")
        self._sent[node] = submission.copies
        self._signed.append(
            self._aggregator.signed_by(self._accounts[node], progress.round, progress.iteration, self._head, unsigned)
        )

    # ------------------------------------------------------------------ settling

    def settle(self, round_: int, schedules: Mapping[int, Mapping[str, Array]]) -> None:
        """Step 6, of a round that converged: nodes that are in it deposit what they have to pay, and state.

        Args:
            schedules: what each of them does: what it expects to pay its supplier follows from it.
        """
        for node, schedule in schedules.items():
            agent = self.agents[node]
            if node in self._gone or not agent.view.partners:
                continue
            assert self._assembly is not None
            memory = Memory(agent, OpenForm(self._assembly, node), self._books)
            memory.last = self._last
            account = self._accounts[node]
            own = Spokesman(account, self._aggregator)
            settlement = Settlement.of(self._record, account.web3, account)
            sending = Sending(account, node)
            Settling(agent.view, own, settlement, sending, None).settle(round_, memory, schedule)
            self.gas += sending.gas

    @property
    def transactions(self) -> int:
        """Of the nodes, without those of who pays for them."""
        return sum(account.transactions for account in self._accounts.values())


@dataclass(frozen=True)
class Spokesman:
    """Who settles for a node: its account, and somebody who reads the chain."""

    account: ChainAccount
    reader: Aggregator

    def copies_of(self, submission: Submission) -> tuple[int, ...]:
        return self.reader.copies_of(submission)


@dataclass(frozen=True)
class _Signing:
    """The open iteration as a node of a group takes part in it: its `OpenIteration`."""

    group: Group
    progress: Progress
    node: int

    def wishes(self) -> Mapping[Block, Integers]:
        return self.group.sums()

    def submit(self, submission: IntegerSubmission, residuals: Residuals) -> None:
        self.group.sign(self.progress, self.node, submission, residuals)
