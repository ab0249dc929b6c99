"""How submissions of an iteration reach the chain and the grid operator's node: sent directly, or left at a relay."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gridpact.chain.ledger import RoundLedger
from gridpact.chain.values import Phase, Progress, SignedSubmission
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.assembly import Integers
from gridpact.market.admm.residuals import Residuals
from gridpact.node.memory import Laps, Memory
from gridpact.node.sending import Sending
from gridpact.problem.blocks import Block
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient, RelayUnavailable

log = logging.getLogger(__name__)

LAST_CALL = 0.5
"""Part of a phase after which the grid operator's node answers those who are there; and of what is left of the phase,
after which a node whose relayed submission is not on the chain sends it directly."""

BOARD_SECONDS = 1.0
"""How long the grid operator's node waits at the relay before it looks at the chain."""


class Exchange:
    """One node's submissions on their way, and what it hears of others before an iteration is closed.

    Args:
        relay: where to leave signed submissions, and to hear others'; without it there is the chain only.
    """

    def __init__(
        self,
        view: NodeView,
        aggregator: RoundLedger,
        relay: RelayClient | None,
        phase_seconds: float,
        sending: Sending,
    ) -> None:
        self.view = view
        self._aggregator = aggregator
        self._relay = relay
        self._phase_seconds = phase_seconds
        self._sending = sending

    def opened(self, round_: int, progress: Progress, memory: Memory, laps: Laps) -> OpenOnChain:
        """The open iteration, for the node's turn in it."""
        return OpenOnChain(self, round_, progress, memory, laps, self._aggregator.elapsed())

    def submit(
        self, opened: OpenOnChain, words: list[int], bids: bytes, residuals: tuple[int, int, int, int]
    ) -> Progress | None:
        """Leaves a submission at the relay, or sends it.

        Returns:
            The progress that was seen last, where any was waited for.
        """
        round_, iteration, memory = opened.round, opened.progress.iteration, opened.memory
        head, aggregator = memory.head, self._aggregator
        if self._relay is not None and not memory.relay_failed:
            signed = aggregator.sign(round_, iteration, head, self.view.node, words, bids, residuals)
            with opened.laps.doing("waiting"):
                seen = self.leave(round_, opened.progress, signed, opened.since)
            if seen:
                return seen
            memory.relay_failed = True
        self._sending.send("submit", lambda: aggregator.submit(round_, iteration, head, words, bids, residuals))
        return None

    def leave(self, round_: int, progress: Progress, signed: SignedSubmission, since: float) -> Progress | None:
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

        left = self._phase_seconds - (self._aggregator.elapsed() - since)
        now = self._aggregator.wait_for(there, max(LAST_CALL * left, 0.0), look_first=False)
        return now if there(now) else None

    def hear(self, round_: int, progress: Progress, memory: Memory, since: float) -> dict[Block, Integers] | None:
        """The grid operator's node waits for the households' wishes before it answers them.

        Returns:
            The wishes that have arrived; None where the iteration ended meanwhile, or they are not told.
        """
        agent, iteration = memory.agent, progress.iteration
        others = agent.assembly.nodes - memory.gone - {self.view.node}
        last_call = since + LAST_CALL * self._phase_seconds
        wishes: dict[int, Integers] = {}

        def moved(now: Progress) -> bool:
            return (now.round, now.iteration, now.phase) != (round_, iteration, Phase.ITERATING)

        def complete(now: Progress) -> bool:
            """All are there that the contract waits for: who was proved false meanwhile is not."""
            left = now.expected - now.counter - len(wishes.keys() - now.present)
            return moved(now) or others <= now.present | wishes.keys() or left <= 1

        now = progress
        while not complete(now) and (left := last_call - self._aggregator.elapsed()) > 0:
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
            if running.iteration != iteration or not running.present >= others & now.present:
                return None  # it ended, or the endpoint is behind what it told: this node looks again
            heard |= memory.form.running(running)
        return heard

    def _wishes_at_relay(
        self, round_: int, iteration: int, memory: Memory, missing: frozenset[int], seconds: float
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
        return {
            signed.node: memory.form.copies(iteration, signed.node, signed.copies)
            for signed in board
            if signed.node in missing
            and self._aggregator.signer_of(round_, iteration, memory.head, signed) == memory.accounts[signed.node]
        }


@dataclass
class OpenOnChain:
    """An open iteration on a chain, as this node takes part in it: an `OpenIteration`.

    Attributes:
        since: when the node turned to it, on the chain's clock.
        seen: the progress that was seen last, where any was waited for.
    """

    exchange: Exchange
    round: int
    progress: Progress
    memory: Memory
    laps: Laps
    since: float
    seen: Progress | None = None

    def wishes(self) -> dict[Block, Integers] | None:
        with self.laps.doing("waiting"):
            return self.exchange.hear(self.round, self.progress, self.memory, self.since)

    def submit(self, submission: IntegerSubmission, residuals: Residuals) -> None:
        memory, iteration = self.memory, self.progress.iteration
        with self.laps.doing("sending"):
            words, bids = memory.form.encode(iteration, submission, memory.gone)
            memory.sent[iteration] = words
            self.seen = self.exchange.submit(self, words, bids, residuals.as_tuple())
