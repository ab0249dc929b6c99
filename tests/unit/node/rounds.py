"""Rounds of real nodes on the twin of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gridpact.chain.values import ClosedIteration, Residuals, RoundOutcome
from gridpact.community.model import CommunityDay, PriceRange
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import Tolerances
from gridpact.market.prepared import Prepared
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.node.turns import Turns
from gridpact.node.twin import Twin
from gridpact.node.twin_ledger import TwinLedger, TwinSettlement
from gridpact.problem.scenario import NetworkAgreement, Scenario

PHASE_SECONDS = 600


class Crash(Exception):
    """A node's process ends."""


class Troubled(TwinLedger):
    """A ledger before every submission of which something happens."""

    def __init__(self, twin: Twin, node: int, before: Callable[[int], None]) -> None:
        super().__init__(twin, node)
        self._before = before

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> None:
        self._before(iteration)
        super().submit(round, iteration, head, copies, bids, residuals)


Trouble = Callable[["Played", int], None]
"""What happens to a node before it submits in an iteration."""


@dataclass
class Played:
    """A day's round on a twin, of all its nodes."""

    day: CommunityDay
    scenario: Scenario
    agreement: NetworkAgreement = NetworkAgreement.DSO
    tolerances: Tolerances | None = None
    sealed: bool = False
    ranges: Callable[[int, Iterable[int]], Mapping[int, PriceRange]] | None = None
    """What trades of a node can be paid at with whom, once all have declared."""
    turns: Turns = field(default_factory=Turns)
    lives: int = 0  # of nodes that were started

    def __post_init__(self) -> None:
        self.prepared = Prepared.of(self.day, self.scenario, self.agreement)
        self.negotiation = Negotiation.of(self.prepared)
        if self.tolerances is not None:
            self.negotiation = replace(self.negotiation, tolerances=self.tolerances)
        theta, setting = terms_of(self.negotiation, PHASE_SECONDS, max_misses=2)
        accounts = {view.node: f"account {view.node}" for view in self.prepared.views}
        self.twin = Twin(theta, setting, accounts, self.turns, sealed=self.sealed)

    def play(
        self,
        troubles: Mapping[int, Trouble] | None = None,
        absent: frozenset[int] = frozenset(),
        late: Mapping[int, float] | None = None,
    ) -> dict[int, NodeReport]:
        """The reports of all nodes but those that are absent.

        Args:
            troubles: what happens to whom; a node that crashes is started again.
            late: after how many seconds a node is started.
        """
        self.number = self.twin.open_round(20260701)
        views = [view for view in self.prepared.views if view.node not in absent]

        def life(node: int) -> NodeReport:
            self.turns.sleep((late or {}).get(node, 0.0))
            view = next(view for view in views if view.node == node)
            before = partial((troubles or {}).get(node, lambda played, iteration: None), self)
            while True:
                self.lives += 1
                try:
                    ledger = Troubled(self.twin, node, before)
                    ranges = None if self.ranges is None else partial(self.ranges, node)
                    return Node(view, ledger, TwinSettlement(self.twin, node), ranges=ranges).run(self.number)
                except Crash:
                    continue

        reports = {}
        for view, end in zip(views, self.turns.play([partial(life, view.node) for view in views]), strict=True):
            if isinstance(end, Exception):
                raise end
            reports[view.node] = end
        return reports

    @property
    def outcome(self) -> RoundOutcome:
        return TwinLedger(self.twin, self.prepared.views[0].node).outcome(self.number)

    @property
    def closed(self) -> list[ClosedIteration]:
        return [log.closed for log in self.twin.round(self.number).closed if log.closed is not None]
