"""One round with adversaries among its households, in memory, and the same round without them.

The others are the agents that run everywhere, on the integers of the chain. What the contract would do is done by the
same rules: a node that misses too often is out; one that claims false residuals or goes beyond its reach is out two
iterations later, when somebody has proved it; the round ends by the contract's test. What the others' plan costs is
worked out with nobody counting on the adversaries: trades with them are not recorded, and what they draw is what they
do on their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay, PriceRange
from gridpact.community.read import read_community
from gridpact.errors import GridpactError
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Closing, Mask
from gridpact.market.admm.codec import encode_bids, encode_copies
from gridpact.market.admm.memory import Iterate, Round
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.reach import MOST_ITERATIONS, Reach, departed
from gridpact.market.admm.register import End
from gridpact.market.admm.residuals import Residuals
from gridpact.market.admm.trades import bid_steps
from gridpact.market.prepared import Prepared
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import Traded, implemented_cost
from gridpact.problem.view import NodeView
from measure import streets
from measure.malice import (
    ACTS,
    CLAIMS,
    HONEST_PLACE,
    PLACELESS,
    SUPPLIERS,
    USUAL_SUPPLIER,
    Malice,
    Moment,
    declared,
    kept_places,
)

MAX_MISSES = 2
PROVED_AFTER = 2
"""Iterations from what was false to the one in which its author is out: it is seen when the next one is closed."""


@dataclass
class Ending:
    """How a round ended for the honest.

    Attributes:
        iterations: in which the contract's test held; 0 where it did not within mu.
        out: adversaries that were proved false, and honest nodes that could have been.
        failures: errors of honest nodes, in words.
        cost: of the honest, with their trades with adversaries paid as agreed, and adversaries doing what the network
            was told that they do.
        broken: of the honest, where adversaries keep nothing of what they agreed to.
        unstated: how much of that is by the trades, and not by what adversaries draw.
        at_stake: import less feed-in price of all that the honest agreed on with adversaries.
        paid: what each household pays for supply and trades, as `cost` has it, less what it would pay alone.
        carried_out: what the network was told of each adversary that is not out, kW and kvar into the feeder.
    """

    iterations: int
    out: frozenset[int]
    accusable: frozenset[int]
    failures: tuple[str, ...]
    cost: float = np.nan
    broken: float = np.nan
    unstated: float = 0.0
    at_stake: float = 0.0
    paid: Mapping[int, float] = field(default_factory=dict)
    carried_out: Mapping[int, tuple[Array, Array]] = field(default_factory=dict)


@cache
def street(name: str) -> CommunityDay:
    """The first day of a case, or of `measure.streets` a kind and a seed, "flat:3"."""
    kind, _, seed = name.partition(":")
    if seed:
        return streets.street(kind, int(seed))
    community = read_community(name)
    return community.on(community.days[0])


@cache
def prepared(name: str, scenario: Scenario, form: NetworkAgreement) -> tuple[Prepared, Negotiation]:
    ready = Prepared.of(street(name), scenario, form)
    negotiation = Negotiation.of(ready)
    return ready, negotiation


class Play:
    """One round.

    Args:
        adversaries: what each does.
        carried_out: households that do nothing but draw and give what the network was told of them, kW and kvar.
    """

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        form: NetworkAgreement,
        adversaries: Mapping[int, Malice],
        seed: int,
        carried_out: Mapping[int, tuple[Array, Array]] | None = None,
    ) -> None:
        self.day = street(name)
        self.scenario, self.form = scenario, form
        self.prepared, self.negotiation = prepared(name, scenario, form)
        self.adversaries, self.carried_out = adversaries, carried_out or {}
        self.strange = frozenset(self.adversaries) | frozenset(self.carried_out)
        views = [self._view(view) for view in self.prepared.views]
        in_round = kept_places(views)
        self.cut_off = frozenset(view.node for view in views) - in_round
        views = [view for view in views if view.node in in_round]
        rules = self.negotiation.rules(MAX_MISSES)
        self.round = Round(views, self.negotiation.penalties, self.negotiation.resolution, rules)
        self.reach = Reach(self.negotiation.resolution.on_chain()[0])
        self.random = np.random.default_rng(seed)

    def _view(self, view: NodeView) -> NodeView:
        if view.node in self.carried_out and view.household is not None:
            kw, kvar = self.carried_out[view.node]
            home = replace(view.household, load_kw=-kw, load_kvar=-kvar, devices=())
            return replace(view, household=home, partners=())
        malice = self.adversaries.get(view.node)
        return self._supplied(view) if malice is None else declared(self._supplied(view), malice.declares)

    def _supplied(self, view: NodeView) -> NodeView:
        """With the suppliers of adversaries: what a node reads of them once all have declared."""
        usual = self.day.prices
        tariffs = {
            node: SUPPLIERS[malice.supplier](usual)
            for node, malice in self.adversaries.items()
            if malice.supplier != USUAL_SUPPLIER and self.scenario.has_contracts
        }
        if not tariffs or view.household is None:
            return view
        own = tariffs.get(view.node, usual)
        if own is not None and view.node in tariffs:
            view = replace(view, household=replace(view.household, tariff=own))
        apart = [one.node for one in view.partners if view.node in tariffs or one.node in tariffs]
        nothing = PriceRange.none(view.steps)
        ranges = {one: nothing if own is None else PriceRange.of(own, tariffs.get(one, usual)) for one in apart}
        return view.trading_within(ranges)

    def run(self) -> Ending:
        round_, reach = self.round, self.reach
        before: Iterate | None = None
        steady = 0
        lies: dict[int, Residuals] = {}
        accused: dict[int, int] = {}  # node -> iteration in which it is out
        out: set[int] = set()
        accusable: set[int] = set()
        last: list[Closing] = []
        for iteration in range(1, MOST_ITERATIONS + 1):
            proved = frozenset(node for node, when in accused.items() if when == iteration)
            out |= proved
            given_by = self._said(before, iteration, out)
            missing = frozenset(node for node, submission in given_by.items() if submission is None)
            given = {node: submission for node, submission in given_by.items() if submission is not None}
            try:
                now = round_.iterate(missing, given, proved, lies)
                for node, submission in now.submissions.items():
                    if node not in self.adversaries:
                        encode_copies(round_.agents[node].blocks, submission.copies)
                        encode_bids(submission.bids)
            except GridpactError as error:
                return Ending(0, frozenset(out), frozenset(accusable), (str(error),))
            closing = now.closing
            if now.end is not None:
                return self._ended(iteration if now.end is End.CONVERGED else 0, out, accusable)
            steady = steady + 1 if last and last[-1].present == closing.present else 0
            if before is not None:
                for node, submission in now.submissions.items():
                    copies, assembly = submission.copies, round_.assembly
                    if departed(assembly, node, closing, before.closing, copies, reach, steady - MAX_MISSES):
                        accused.setdefault(node, iteration + PROVED_AFTER)
            accused |= {node: iteration + 1 for node in lies if node in closing.present and node not in accused}
            lies = self._lie(now)
            accusable |= accused.keys() - self.adversaries.keys()
            before, last = now, [*last, closing][-2:]
        return self._ended(0, out, accusable)

    def _said(self, before: Iterate | None, iteration: int, out: set[int]) -> dict[int, IntegerSubmission | None]:
        """What adversaries submit, who are not out."""
        result: dict[int, IntegerSubmission | None] = {}
        for node, malice in self.adversaries.items():
            if node in out or node in (before.closing.gone if before else ()) or node in self.cut_off:
                continue
            agent = self.round.agents[node]
            try:
                honest = agent.solve() if malice.declares == HONEST_PLACE else self._zero(agent)
            except GridpactError:
                honest = self._zero(agent)
            act = ACTS[malice.submits]
            result[node] = act(
                Moment(
                    self.reach.milliwatt,
                    agent,
                    honest,
                    None if before is None else before.closing,
                    iteration,
                    self.random,
                    frozenset(self.adversaries),
                )
            )
        return result

    @staticmethod
    def _zero(agent: Agent) -> IntegerSubmission:
        steps = agent.view.steps
        return IntegerSubmission(
            np.zeros((len(agent.blocks), steps), dtype=np.int64), np.zeros(agent.view.bid_count, dtype=np.int64)
        )

    def _lie(self, now: Iterate) -> dict[int, Residuals]:
        """Changes what adversaries claim about an iteration; who lies is proved false."""
        lies = {}
        for node, malice in self.adversaries.items():
            if node in self.cut_off:
                continue
            true = self.round.agents[node].residuals
            claim = CLAIMS[malice.claims](true, self.random)
            if claim != true and node in now.closing.present:
                lies[node] = claim
        return lies

    # ------------------------------------------------------------------ what it comes to

    def _ended(self, iterations: int, out: set[int], accusable: set[int]) -> Ending:
        tree = self.round.assembly.parents
        carried_out = {
            node: self._told(node)
            for node in self.adversaries
            if node in tree.keys() - self._gone and (tree[node] != node or not self.scenario.has_network)
        }
        cost, paid = self._cost(carried_out, kept=True)
        broken, _ = self._cost({}, kept=False)
        unstated = broken - self._cost({}, kept=True)[0]
        return Ending(
            iterations,
            frozenset(out),
            frozenset(accusable),
            (),
            cost,
            broken,
            unstated,
            self._at_stake(),
            paid,
            carried_out,
        )

    def _at_stake(self) -> float:
        """What trades of the honest with adversaries move at most: import less feed-in price of each kWh."""
        result, prices = 0.0, self.day.prices
        for home in self.day.households:
            agent = self.round.agents.get(home.node)
            if home.node in self.strange or agent is None:
                continue
            foreign = self._foreign(agent)
            agreed_kwh = np.abs(np.where(foreign, agent.trades.recorded_kw, 0.0)) * self.day.step_hours
            result += float((prices.import_price - prices.feed_in_price)[bid_steps(agent.view)] @ agreed_kwh)
        return result

    def _foreign(self, agent: Agent) -> Mask:
        """Which of an agent's bids are to adversaries, (bids,)."""
        return np.array([one.node in self.strange for one in agent.view.partners for _ in one.steps], dtype=bool)

    @property
    def _gone(self) -> frozenset[int]:
        agent = next(iter(self.round.agents.values()))
        return agent.gone

    def _told(self, node: int) -> tuple[Array, Array]:
        """What the network was told of an adversary, kW and kvar; nothing where there is none."""
        agents = self.round.agents
        if not self.scenario.has_network:
            return np.zeros(self.day.steps), np.zeros(self.day.steps)
        agreed = agents[GRID_CONNECTION if self.form is NetworkAgreement.DSO else node].consensus
        value = dict(zip(agreed.blocks, agreed.value, strict=True))
        below = self.round.assembly.children[node] if self.form is NetworkAgreement.NEIGHBOURS else ()

        def flow(kind: Kind) -> Array:
            nothing = np.zeros(self.day.steps)
            own: Array = value.get(Block(kind, node), nothing)
            return own - sum((value[Block(kind, child)] for child in below), nothing)

        return flow(Kind.P), flow(Kind.Q)

    def _cost(self, carried_out: Mapping[int, tuple[Array, Array]], kept: bool) -> tuple[float, dict[int, float]]:
        """Of the plans of the honest when they are carried out, and what each pays less what it would pay alone.

        Args:
            carried_out: what adversaries draw and give; the others do what they do on their own.
            kept: whether trades with adversaries are recorded and paid.
        """
        shape = (len(self.day.households), self.day.steps)
        active, reactive, sold = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        received, coefficients = np.zeros(len(active)), 0.0
        honest = [row for row, home in enumerate(self.day.households) if home.node not in self.strange]
        for row, household in enumerate(self.day.households):
            node = household.node
            alone = self.prepared.alone[node]
            if node in self.strange:
                kw, kvar = (carried_out | self.carried_out).get(node, (None, None))  # type: ignore[operator]
                active[row] = sold[row] = alone["injection_kw"] if kw is None else kw
                reactive[row] = alone["injection_kvar"] if kvar is None else kvar
                continue
            agent = self.round.agents.get(node)
            schedule = alone if agent is None else agent.plan().schedule
            active[row], reactive[row] = schedule["injection_kw"], schedule["injection_kvar"]
            if agent is None:
                continue
            partners = agent.view.partners
            foreign = self._foreign(agent)
            trades = np.where(foreign & ~np.array(kept), 0.0, agent.trades.recorded_kw)
            np.add.at(sold[row], bid_steps(agent.view), trades)
            gamma = np.concatenate([[0.0], *(one.coefficient for one in partners)])[1:]
            coefficients += float(self.day.step_hours * gamma @ np.abs(np.where(foreign, 0.0, trades)))
            price = self.day.step_hours * 1e-6 * agent.trades.stated_micro  # at which they are recorded
            received[row] = float(trades @ price)
            coefficients -= float(np.where(foreign, trades, 0.0) @ price)
        cost = implemented_cost(self.day, self.scenario, active, reactive, Traded(sold, coefficients)).objective
        if not self.scenario.has_contracts:
            return cost, {}
        bills = self._supply(sold - active) - received
        more = bills - self._supply(-self.prepared.baseline_net_kw)
        return cost, {self.day.households[row].node: float(more[row]) for row in honest}

    def _supply(self, net_import: Array) -> Array:
        """What each pays its supplier, (n,)."""
        prices = self.day.prices
        by_step = np.where(net_import > 0, net_import * prices.import_price, net_import * prices.feed_in_price)
        bills: Array = self.day.step_hours * by_step.sum(axis=1)
        return bills


@cache
def undisturbed(
    name: str, scenario: Scenario, form: NetworkAgreement, nodes: frozenset[int], roots: frozenset[int] = frozenset()
) -> Ending:
    """The same round with the adversaries silent, some of which keep no place in the tree, nor do those below them."""
    silent = {node: Malice("silent", declares=PLACELESS if node in roots else HONEST_PLACE) for node in sorted(nodes)}
    return Play(name, scenario, form, silent, 0).run()


def without(
    ending: Ending,
    name: str,
    scenario: Scenario,
    form: NetworkAgreement,
    nodes: frozenset[int],
    roots: frozenset[int] = frozenset(),
) -> Ending:
    """The round of the others without the adversaries: those that the network was told of do what it was told, and
    agree with nobody."""
    if not scenario.has_network or not ending.carried_out:
        return undisturbed(name, scenario, form, nodes, roots)
    rest = sorted(nodes - ending.carried_out.keys())
    silent = {node: Malice("silent", declares=PLACELESS if node in roots else HONEST_PLACE) for node in rest}
    return Play(name, scenario, form, silent, 0, ending.carried_out).run()
