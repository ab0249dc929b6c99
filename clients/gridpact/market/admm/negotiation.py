"""A round of ADMM as it would be opened on a chain: everything that all nodes must know alike, worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gridpact.market.admm.agent import Agent
from gridpact.market.admm.memory import Iterate, Round
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.market.admm.register import MOST_MISSES, End, Rules
from gridpact.market.admm.residuals import rms_w
from gridpact.market.agreement import Agreement, Convergence, Trade, stated_alike
from gridpact.market.mechanism import OnIteration, nobody
from gridpact.market.prepared import Prepared
from gridpact.problem.local import LocalSolution
from gridpact.problem.view import NodeView


@dataclass(frozen=True)
class Negotiation:
    """A round's views and numbers: on a chain theta and the setting are made from them, in memory it is played here."""

    views: Sequence[NodeView]
    penalties: Penalties
    resolution: Resolution
    tolerances: Tolerances

    @staticmethod
    def of(prepared: Prepared, resolution: Resolution | None = None) -> Negotiation:
        """The round of a community, by the rules of `parameters`.

        Args:
            resolution: the finest, by default that which fits; what powers need is taken where they need a coarser one.
        """
        carrying = (resolution or Resolution.fitting(prepared.community)).carrying(prepared.community)
        net_kw = prepared.baseline_net_kw
        penalties = Penalties.of_community(prepared.community, net_kw)
        tolerances = Tolerances.of(prepared.views, net_kw, carrying)
        return Negotiation(prepared.views, penalties, carrying, tolerances)

    def iterates(
        self,
        standing: Mapping[int, Agent] | None = None,
        first: int = 0,
        held_wh: Mapping[int, Mapping[tuple[int, int], int]] | None = None,
    ) -> Iterator[Iterate]:
        """All iterates until the contract's test stops the round, or there are too many.

        The test is passed one iteration late: only then have the residuals reached the chain.

        Args:
            standing, first, held_wh: where it goes on from, see `Round.resume`.
        """
        round_ = Round(self.views, self.penalties, self.resolution, self.rules())
        round_.resume(standing or {}, first, held_wh or {})
        while round_.register.end is None:
            yield round_.iterate()

    def rules(self, most_misses: int = MOST_MISSES) -> Rules:
        """What the contract of such a round goes by.

        Args:
            most_misses: see `Rules`.
        """
        return Rules(most_misses, within=self._within)

    def _within(self, squares: Sequence[int], scalars: tuple[int, int]) -> bool:
        return self.tolerances.hold(squares, scalars, self.resolution)

    def agreement(self, on_iteration: OnIteration = nobody) -> Agreement:
        """Plays the round to its end.

        Args:
            on_iteration: is told every iteration but the first, with the residuals that have reached the chain by then.
        """
        rms: list[tuple[float, ...]] = []
        for iterate in self.iterates():
            if rms:
                on_iteration(iterate.iteration, rms[-1])
            rms.append(self.rms_w(iterate))
        agents = iterate.agents
        trades, balanced = agreed_trades(agents)
        return Agreement(
            plans={view.node: plan_of(agents[view.node]).schedule for view in self.views if view.household is not None},
            trades=trades,
            rounds=iterate.iteration,
            messages=iterate.iteration * sum(view.steps * len(agents[view.node].blocks) + view.bid_count
                                             for view in self.views),
            reached=iterate.end is End.CONVERGED,
            balanced=balanced,
            relaxation_gap=relaxation_gap(agents),
            convergence=Convergence.of(rms[:-1], self.tolerances.limits_w),  # the last residuals reach no chain
        )  # fmt: skip

    def rms_w(self, iterate: Iterate) -> tuple[float, ...]:
        """The four residuals of an iterate, W a coupled scalar."""
        return rms_w(iterate.residuals.as_tuple(), iterate.scalars, self.resolution)


def agreed_trades(agents: Mapping[int, Agent]) -> tuple[tuple[Trade, ...], bool]:
    """What the settlement contract would record, and whether all partners state the same."""
    stated = {(node, partner): rows for node in agents for partner, rows in agents[node].trades.statements().items()}
    agreed = stated_alike(stated)
    trades = tuple(Trade.stated(*pair, *row) for pair, rows in sorted(agreed.items()) for row in rows)
    return trades, 2 * len(agreed) == len(stated)


def plan_of(agent: Agent) -> LocalSolution:
    """What the household would do if the round ended here."""
    return agent.plan()


def relaxation_gap(agents: Mapping[int, Agent]) -> float:
    """The largest relaxation gap in what the nodes solved last, p.u. on 100 kVA; 0 without a network."""
    solutions = [agent.solution for agent in agents.values() if agent.solution]
    gaps = [s.schedule["relaxation_gap_pu"].max() for s in solutions if "relaxation_gap_pu" in s.schedule]
    return float(max(gaps, default=0.0))
