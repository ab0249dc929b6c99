"""One household in a round: the six steps of the report (its Fig. 8), then settlement.

A node looks at the chain and does what is still to be done, again and again. It holds nothing that the chain does not
hold too, so it comes back after a crash, an outage, or a re-organisation of the chain by replaying the round. The same
code runs as a process of its own (`gridpact node`) and as a thread beside a chain inside the process.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping

from gridpact.chain.ledger import RoundLedger, TradeLedger
from gridpact.chain.values import WHOLE, Phase, Progress
from gridpact.community.model import GRID_CONNECTION, Array, PriceRange
from gridpact.errors import ChainError, ContractError, InputError, Reorganised, Unreadable
from gridpact.events import SILENT, Listener, Planned
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.codec import decode_copies, published, published_limits, with_key, without_key
from gridpact.market.admm.parameters import Penalties, Resolution, percent_of_limits
from gridpact.market.admm.steps import take_turn
from gridpact.node.accusing import Accusing
from gridpact.node.audit import part_errors, plan_errors
from gridpact.node.exchange import Exchange
from gridpact.node.follower import Follower
from gridpact.node.memory import Laps, Memory
from gridpact.node.report import NodeReport
from gridpact.node.round_log import resolution_of
from gridpact.node.sending import Sending
from gridpact.node.settling import Settling
from gridpact.problem.baseline import fallback
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.scenario import is_sealable
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a node that found the chain taken back begins anew, doubled each time."""

LEAST_PATIENCE = 30.0
"""Seconds, or a phase if that is longer, in which nothing fits what the contract counted, until a node gives up."""


class Node:
    """A household's node (or the grid connection's), connected to the two contracts with its own account.

    Args:
        relay: where to leave signed submissions; without it the node sends its own transactions.
        confirm_seconds: how long the end of the round must stand before it is believed, on chains that may be
            re-organised.
        listener: is told where the round stands (`Progress`), and what is `Planned`.
        check: raises ChainError where the round is not the one that the view is for; asked before anything is declared,
            and before anything is paid.
    """

    def __init__(
        self,
        view: NodeView,
        aggregator: RoundLedger,
        settlement: TradeLedger,
        relay: RelayClient | None = None,
        confirm_seconds: float = 0.0,
        listener: Listener = SILENT,
        deposit_max: float | None = None,
        check: Callable[[], None] | None = None,
        standing: Agent | None = None,
        held_wh: Mapping[tuple[int, int], int] | None = None,
        supplied: bool = True,
        ranges: Callable[[Iterable[int]], Mapping[int, PriceRange]] | None = None,
    ) -> None:
        """Step 1: connects, reads theta and the setting.

        Args:
            deposit_max: what may be deposited for the round at most, currency.
            standing: of a round about the rest of a day, where this node stood in the last one that was agreed.
            held_wh: trades that were recorded before, which this round changes, see `Agent.hold`.
            supplied: whether the supplier is paid out of the same deposit, and not of what is locked for a day.
            ranges: asked once all have declared, of those who have, for what trades with them can be paid at, see
                `NodeView.trading_within`; None: as the view says.

        Raises:
            InputError: the account is not enrolled as this node, or the file does not fit the contract.
        """
        self.view = view
        self._aggregator = aggregator
        self._settlement = settlement
        self._confirm_seconds = confirm_seconds
        self._ranges = ranges
        self._listener = listener
        self._check = check or (lambda: None)
        setting = aggregator.setting()
        if setting.steps != view.first + view.steps or setting.step_seconds != round(3600 * view.step_hours):
            raise InputError(
                f"the household file of node {view.node} has {view.steps} steps of {3600 * view.step_hours:g} s, the "
                f"contract {setting.steps} of {setting.step_seconds} s: take the file that belongs to this contract"
            )
        if aggregator.sealed and not is_sealable(view.scenario, view.agreement):
            raise InputError(
                f"the household file of node {view.node} is for a network agreed on between neighbours, and rounds of"
                " these contracts are sealed, which takes the grid operator's node: take contracts for open rounds"
            )
        self._check_account()
        assert aggregator.account is not None
        self._sending = Sending(aggregator.account, view.node)
        self._settling = Settling(view, aggregator, settlement, self._sending, deposit_max, supplied)
        self._accusing = Accusing(view, aggregator, self._sending)
        self._exchange = Exchange(view, aggregator, relay, setting.phase_seconds, self._sending)
        self._phase_seconds = setting.phase_seconds
        self._patience = 2.0 * setting.phase_seconds + 60.0  # a phase that is overdue is closed long before
        self._follower = Follower(view, aggregator, self._accusing, self._begin, standing, held_wh)
        self._laps = Laps()

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
        started, self._laps = time.perf_counter(), Laps()
        if round_ is None:
            round_ = self._wait(self._concerns_me).round
        while True:
            progress = self._take_part(round_)
            try:
                schedule, statements = self._conclude(round_, progress)
            except Reorganised as error:
                log.warning("node %d goes back to the round: %s", self.view.node, error)
                self._follower.forget()
                continue
            if self._stands(progress):
                break
        assert self._aggregator.account is not None
        return NodeReport(
            node=self.view.node,
            phase=progress.phase,
            iterations=progress.iteration,
            agreed=statements is not None,
            schedule={name: values.tolist() for name, values in schedule.items() if name != "relaxation_gap_pu"},
            relaxation_gap_pu=schedule["relaxation_gap_pu"].tolist() if "relaxation_gap_pu" in schedule else [],
            statements=statements or {},
            solve_s=self._follower.solve_seconds,
            wall_s=time.perf_counter() - started,
            seconds=self._laps.seconds,
            gas=self._sending.gas,
            transactions=self._aggregator.account.transactions,
        )

    def replayed(self, round_: int) -> Agent | None:
        """Where this node stood when a round ended, from the chain alone; None where it was not in it any more.

        Raises:
            ChainError: the chain failed, or does not tell the round as it ended.
        """
        outcome = self._aggregator.outcome(round_)
        memory = self._follower.catch_up(round_, outcome.iterations, outcome.head)
        return None if memory is None or self.view.node in memory.gone else memory.agent

    def _conclude(
        self, round_: int, progress: Progress
    ) -> tuple[Mapping[str, Array], dict[int, list[tuple[int, int, int]]] | None]:
        """The schedule, and what was stated about trades; None where there is no agreement with this household.

        Raises:
            Reorganised: the end of the round was undone.
        """
        self._check()
        memory = self._follower.memory
        if progress.phase is not Phase.CONVERGED or memory is None or self.view.node in memory.gone:
            return self._planned(fallback(self.view), False), None
        if broken := self._broken_limits(memory):
            log.error("node %d does not take the plan: %s", self.view.node, "; ".join(broken))
            return self._planned(fallback(self.view), False), None
        schedule = self._planned(self._follower.plan(round_, memory, progress.iteration), True)
        try:
            return schedule, self._settling.settle(round_, memory, schedule)
        except ContractError as error:
            if error.name not in ("NotConverged", "WrongOpening"):
                raise
            raise Reorganised(f"the end of round {round_} was undone ({error})") from None

    def _planned(self, schedule: dict[str, Array], agreed: bool) -> dict[str, Array]:
        self._listener.hear(Planned(schedule, agreed))
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
            self._listener.hear(progress)
            try:
                if progress.phase.is_final:
                    outcome = self._aggregator.outcome(round_)
                    if outcome.phase is not progress.phase:
                        raise Reorganised(f"the end of round {round_} was undone")
                    self._follower.catch_up(round_, outcome.iterations, outcome.head)
                    return progress
                seen = self._act(round_, progress)
            except Reorganised as error:
                give_up = min(give_up, time.monotonic() + self._reading_patience)
                if time.monotonic() > give_up:
                    raise Unreadable(
                        f"the chain's endpoint does not tell round {round_} as the contract counted it ({error}): give "
                        "another"
                    ) from error
                log.warning("node %d begins anew: %s", self.view.node, error)
                self._follower.forget()
                if pause == LONGEST_PAUSE:
                    self._aggregator.ask_another()
                time.sleep(pause)
                pause, progress = min(2 * pause, LONGEST_PAUSE), None
                continue
            pause, give_up, reached = FIRST_PAUSE, math.inf, self._after(progress)
            progress = seen if seen is not None and reached(seen) else self._wait(reached)

    @property
    def _reading_patience(self) -> float:
        """How long nothing of what is read may fit what the contract counted, s."""
        return max(self._phase_seconds, LEAST_PATIENCE)

    def _act(self, round_: int, progress: Progress) -> Progress | None:
        """Does what is to be done now. Returns the progress that it saw last, if it waited for any."""
        node = self.view.node
        if progress.phase is Phase.DECLARING and node not in progress.present:
            self._declare(round_)
        elif progress.phase is Phase.ITERATING:
            with self._laps.doing("reading"):
                memory = self._follower.catch_up(round_, progress.iteration - 1, progress.history.to_bytes(2, "big"))
            if memory is None or node in memory.gone:
                log.warning("node %d is out of round %d", node, round_)
                self._wait(lambda now: now.round > round_ or now.phase.is_final)
            elif node not in progress.present:
                self._accusing.asking.answer(round_, memory)
                return self._submit(round_, progress, memory)
        return None

    def _after(self, seen: Progress) -> Callable[[Progress], bool]:
        """Whether there may be something to do since `seen` and what this node did then."""

        def reached(now: Progress) -> bool:
            same = (now.round, now.iteration, now.phase) == (seen.round, seen.iteration, seen.phase)
            return not same or (now.phase.is_running and self.view.node not in now.present)

        return reached

    def _broken_limits(self, memory: Memory) -> tuple[str, ...]:
        """Checks the grid operator's last answer at all steps, so that all households come to the same; of a sealed
        one, of which a household reads its own part only, whether that part can be."""
        book = memory.books.get(GRID_CONNECTION, b"")
        book = without_key(book) if memory.sealed else book
        if self.view.household is None or not book or GRID_CONNECTION not in memory.last:
            return ()
        if published_limits(book) is None:
            log.warning("the grid operator's node has published no limits: nobody can check its plan")
        if memory.sealed:
            return self._broken_part(memory, book)
        assembly, (newest, _) = memory.agent.assembly, memory.last[GRID_CONNECTION]
        copies = self._aggregator.copies_of(newest)
        answers = decode_copies(assembly.blocks(GRID_CONNECTION), copies, assembly.steps)
        return plan_errors(assembly, answers, book, resolution_of(self._aggregator))

    def _broken_part(self, memory: Memory, book: bytes) -> tuple[str, ...]:
        """The same of this household's part of a sealed answer."""
        _, now, own = memory.history[-1]
        agent, node = memory.agent, self.view.node
        blocks = Block(Kind.P, node), Block(Kind.Q, node)
        if GRID_CONNECTION not in now.present or not set(blocks) <= now.sums.keys():
            return ()
        mine = {} if own is None else dict(zip(agent.blocks, own, strict=True))
        active, reactive = (now.sums[block] - mine.get(block, 0) for block in blocks)
        return part_errors(node, active, reactive, book, resolution_of(self._aggregator))

    def _declare(self, round_: int) -> None:
        """Step 2: declares i, pi(i), delta(i), and what its bids refer to or, at the operator's node, the limits."""
        self._check()
        self._check_percent(round_)
        view, book = self.view, published(self.view)
        if self._aggregator.sealed:
            book = with_key(book, self._aggregator.round_key(round_).public)
        self._sending.send(
            "declare",
            lambda: self._aggregator.declare(round_, view.parent, view.children, view.depth, view.bid_count, book),
        )

    def _check_percent(self, round_: int) -> None:
        """The manager says when a round ends: within theta's limits or, about the rest of a day, within limits that are
        as wide as the rule makes them at most. Wider ones end it at once, with what was bid first, and narrower ones
        never.

        Raises:
            InputError: it said something else.
        """
        view, percent = self.view, self._aggregator.percent_of(round_)
        most = percent_of_limits(view.first + view.steps, view.steps) if view.first else WHOLE
        if not WHOLE <= percent <= most:
            about = f"{view.steps} of {view.first + view.steps} steps" if view.first else "a whole day"
            usual = f"{WHOLE} to {most} %" if view.first else f"{WHOLE} %"
            raise InputError(
                f"round {round_} is to end within {percent} % of the limits of the contract, where {usual} are right "
                f"for {about}: node {view.node} takes no part; ask the community manager"
            )

    # ------------------------------------------------------------------ steps 3 to 5

    def _submit(self, round_: int, progress: Progress, memory: Memory) -> Progress | None:
        """Returns what `_act` does."""
        opened = self._exchange.opened(round_, progress, memory, self._laps)
        with self._laps.doing("solving"):
            take_turn(memory.agent, opened)
        return opened.seen

    # ------------------------------------------------------------------ small things

    def _begin(self, assembly: Assembly, penalties: Penalties, resolution: Resolution, most: int) -> Agent:
        view = self.view if self._ranges is None else self.view.trading_within(self._ranges(assembly.nodes))
        return Agent(view, assembly, penalties, resolution, most)

    @property
    def agent(self) -> Agent | None:
        """Where it stands in the round; None where it is not in it."""
        return self._follower.memory.agent if self._follower.memory is not None else None

    def _wait(self, reached: Callable[[Progress], bool]) -> Progress:
        with self._laps.doing("waiting"):
            return self._aggregator.wait_until(reached, self._patience, close_overdue=True)
