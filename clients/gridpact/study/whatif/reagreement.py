"""The rest of a day agreed anew while it runs: positions, nominations and devices follow what has been seen.

Before the gate of a step closes, all that is left of the day is negotiated again by the same ADMM with the same
partners, coefficients and penalties. Households bring forecasts corrected by the error of the step before, and
batteries, tanks and cars as they stand. The negotiation goes on from where the last one stood: consensus, duals,
penalties, trades and prices of the steps that are left. What is agreed replaces positions; only the change is paid, at
the new price:

    paid += (new energy - old energy) * new price

so that what was agreed before keeps its price. With it every household's plan of imports from the supplier is nominated
anew. At the step itself each plans the rest of its own day once more, now knowing its load, PV output and car, and
answers to the positions and the nomination that stand. Then stores follow the community's meter (`following`).

Where no plan keeps the limits any more, or the negotiation does not end, positions and nominations stay as they are.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.errors import InfeasibleError, SolverError
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.memory import Iterate
from gridpact.market.admm.negotiation import Negotiation, plan_of
from gridpact.market.admm.parameters import percent_of_limits
from gridpact.market.admm.register import End
from gridpact.market.admm.trades import bid_steps
from gridpact.market.prepared import Prepared
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from gridpact.study.whatif.delivery import Actual, Delivered, Replanning, Terms
from gridpact.study.whatif.following import follow

LEAD_HOURS = 3.0
"""So long before the import price rises most the rest of the day is agreed anew: stores can still be filled at the
lower price then, and what the sun gives until the rise is known better than before. On a day with little sun two hours
later or earlier kept much less of a plan."""

LEAST_RISE = 0.25
"""Of the mean import price: less is no rise that one prepares for."""


@dataclass(frozen=True)
class Course:
    """What a community stands by at some time of the day; (n, T) each, kW and kvar."""

    positions_kw: Mapping[int, Array]  # by node, of its bids of the whole day, positive where it sells
    sold_kw: Array  # the same by step; in G the injection that was promised
    nominated_kw: Array  # net import from the supplier; in G 0
    planned_kvar: Array
    planned_kw: Array  # injection
    paid: Array  # (n,), currency, for positions

    @staticmethod
    def nothing(prepared: Prepared) -> Course:
        community = prepared.community
        zeros = np.zeros((len(community.households), community.steps))
        positions = {view.node: np.zeros(view.bid_count) for view in prepared.views}
        return Course(positions, zeros, zeros, zeros, zeros, np.zeros(len(zeros)))

    def held_wh(self, prepared: Prepared, first: int) -> dict[int, dict[tuple[int, int], int]]:
        """Positions at the steps from one on, which are counted from there: by node, then by partner and step."""
        unit = 1000 * prepared.community.step_hours
        held: dict[int, dict[tuple[int, int], int]] = {}
        for view in prepared.views:
            places = [(partner.node, step) for partner in view.partners for step in partner.steps]
            energies = zip(places, np.rint(unit * self.positions_kw[view.node]).astype(int).tolist(), strict=True)
            held[view.node] = {(node, step - first): energy for (node, step), energy in energies if step >= first}
        return held

    def renewed(self, prepared: Prepared, agents: Mapping[int, Agent], first: int) -> Course:
        """After an agreement on the steps from one on.

        Raises:
            InfeasibleError, SolverError: a household cannot carry its trades out, see `Agent.plan`.
        """
        hours, views = prepared.community.step_hours, {view.node: view for view in prepared.views}
        positions = dict(self.positions_kw)
        sold, nominated, kvar, kw, paid = (
            array.copy() for array in (self.sold_kw, self.nominated_kw, self.planned_kvar, self.planned_kw, self.paid)
        )
        for row, home in enumerate(prepared.community.households):
            agent = agents[home.node]
            plan, trades = plan_of(agent).schedule, agent.trades
            steps = bid_steps(views[home.node])
            later = steps >= first
            held = positions[home.node].copy()
            change = trades.recorded_kw - held[later]
            paid[row] -= float(change @ (trades.stated_micro / 1e6)) * hours
            held[later] = trades.recorded_kw
            positions[home.node] = held
            kw[row, first:], kvar[row, first:] = plan["injection_kw"], plan["injection_kvar"]
            if prepared.scenario.has_contracts:
                sold[row] = np.bincount(steps, weights=held, minlength=prepared.community.steps)
                nominated[row, first:] = plan["import_kw"] - plan["feed_in_kw"]
            else:
                sold[row, first:] = plan["injection_kw"]
        return Course(positions, sold, nominated, kvar, kw, paid)


@dataclass(frozen=True)
class ReAgreed:
    """How a day went that was agreed anew."""

    course: Course  # as each step found it
    delivered: tuple[Delivered, ...]
    iterations: tuple[int, ...]  # of each re-agreement that was reached
    kept: int  # how often what stood was kept, since nothing was agreed
    skipped: int = 0  # how often it was kept, since less than the threshold was expected to be otherwise


def re_agreement_steps(day: CommunityDay, number: int | None) -> tuple[int, ...]:
    """Before which steps the rest of a day is agreed anew; the first step's plan is that of the day before.

    Args:
        number: of re-agreements, spread evenly, of which the one that is nearest to it, or the earlier of two, is
            `LEAD_HOURS` before the import price rises most; None, or more than there are gates: before every step.
    """
    steps = day.steps
    if number is None or number >= steps - 1:
        return tuple(range(1, steps))
    gates = [round(k * steps / (number + 1)) for k in range(1, number + 1)]
    rises = np.diff(day.prices.import_price)
    if gates and rises.max() >= LEAST_RISE * day.prices.mean_import > 0:
        in_time = int(np.argmax(rises)) + 1 - round(LEAD_HOURS / day.step_hours)
        if in_time >= 1:
            nearest = min(gates, key=lambda gate: abs(gate - in_time))
            gates[gates.index(nearest)] = in_time
    return tuple(gates)


def through_the_day(
    community: CommunityDay,
    scenario: Scenario,
    actual: Sequence[Actual],
    terms: Terms,
    at: Sequence[int],
    threshold_kwh: float = 0.0,
    following: bool = True,
) -> ReAgreed:
    """Plays a day.

    Args:
        actual: of each household.
        terms: the adder; prices are each household's own, positions and nominations the course's.
        at: before which steps the rest is agreed anew, ascending;
        threshold_kwh: where what is expected of the community's loads and PV output in the rest of the day, step by
            step, is otherwise by so much than when it was agreed on last.
        following: whether stores follow the community's meter, or each its own home's.

    Raises:
        SolverError, InfeasibleError: see `deliver`.
    """
    fee, groups = community.prices.peak_fee, community.customers(not scenario.has_contracts)
    prices = {row: group.prices for group in groups for row in group.rows}
    homes = [
        Replanning(home, own, community.step_hours, fee) for home, own in zip(community.households, actual, strict=True)
    ]
    prepared, round_, standing = _day_ahead(pickle.dumps((community, scenario)))
    course, stands_at = Course.nothing(prepared).renewed(prepared, standing, 0), 0
    iterations, kept, skipped = [], 0, 0
    foreseen = sum((home.net_load_kw for home in community.households), np.zeros(community.steps))
    for step in range(community.steps):
        expected = _expected_kw(homes, step) if step in at else None
        if expected is not None and community.step_hours * apart(expected, foreseen) < threshold_kwh:
            skipped += 1
        elif expected is not None:
            try:
                rest = _shortened(round_, _rest(prepared, step, homes))
                final = _played(rest, standing, step - stands_at, course.held_wh(prepared, step))
                course = course.renewed(prepared, final.agents, step)
            except (InfeasibleError, SolverError):
                kept += 1
            else:
                standing, stands_at = final.agents, step
                foreseen = expected
                iterations.append(final.iteration)
        later = next((gate for gate in at if gate > step), None)
        stood = [replace(_terms(terms, prices[row], course, row), renewed_at=later) for row in range(len(homes))]
        for home, own in zip(homes, stood, strict=True):
            home.step(step, own)
        for group in groups if following else ():  # a supplier's imbalance is of its customers
            follow([homes[row] for row in group.rows], [stood[row] for row in group.rows], step)
    delivered = tuple(home.delivered(_terms(terms, prices[row], course, row)) for row, home in enumerate(homes))
    return ReAgreed(course, delivered, tuple(iterations), kept, skipped)


def _expected_kw(homes: Sequence[Replanning], first: int) -> Array:
    """What the community's loads less its PV output are expected to be from a step on, (T - first,)."""
    expected: Array = np.sum([home.rest(first).net_load_kw for home in homes], axis=0)
    return expected


def apart(expected: Array, foreseen: Array) -> float:
    """Sum of magnitudes over the steps that are left, kW."""
    return float(np.abs(expected - foreseen[-len(expected) :]).sum())


def _terms(terms: Terms, prices: Prices, course: Course, row: int) -> Terms:
    return replace(terms, prices=prices, net_sold_kw=course.sold_kw[row], planned_import_kw=course.nominated_kw[row])


@lru_cache(maxsize=4)  # of a day in all its draws
def _day_ahead(pickled: bytes) -> tuple[Prepared, Negotiation, Mapping[int, Agent]]:
    """A day made ready, and where its agents stood in the end."""
    community, scenario = pickle.loads(pickled)
    prepared = Prepared.of(community, scenario)
    negotiation = Negotiation.of(prepared)
    return prepared, negotiation, _played(negotiation).agents


def _shortened(negotiation: Negotiation, views: Sequence[NodeView]) -> Negotiation:
    """The same about the steps that are left, within the limits that a contract would be told for them."""
    percent = percent_of_limits(negotiation.views[0].steps, views[0].steps)
    return replace(negotiation, views=views, tolerances=negotiation.tolerances.wider(percent / 100))


def _played(
    negotiation: Negotiation,
    standing: Mapping[int, Agent] | None = None,
    first: int = 0,
    held_wh: Mapping[int, Mapping[tuple[int, int], int]] | None = None,
) -> Iterate:
    """The last iterate.

    Raises:
        SolverError: it did not end.
    """
    *_, iterate = negotiation.iterates(standing, first, held_wh)
    if iterate.end is not End.CONVERGED:
        raise SolverError(f"the rest of the day was not agreed on in {iterate.iteration} iterations")
    return iterate


def _rest(prepared: Prepared, first: int, homes: Sequence[Replanning]) -> tuple[NodeView, ...]:
    """What each node knows of the steps from one on, as they are expected before it."""
    nodes = [home.node for home in prepared.community.households]
    households = {node: home.rest(first) for node, home in zip(nodes, homes, strict=True)}
    # In memory a round has no steps but these.
    return tuple(replace(view.since(first, households.get(view.node)), first=0) for view in prepared.views)
