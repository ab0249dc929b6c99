"""Views made by hand, for agreements of a few numbers, and whole negotiations with what is expected of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from gridpact.community.model import CommunityDay, Feeder, Household, Prices
from gridpact.devices.pv import Panels
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.memory import Absence, Iterate, negotiate
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.problem.baseline import baseline_net_kw, fallback
from gridpact.problem.blocks import Block
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views

STEP_HOURS = 0.25
LIMITS = Feeder(400.0, 0.95, 1.05, ())
RESOLUTION = Resolution()
NOBODY: frozenset[int] = frozenset()


def view(
    node: int,
    steps: int = 3,
    *,
    scenario: Scenario = Scenario.TG,
    agreement: NetworkAgreement = NetworkAgreement.DSO,
    parent: int = 0,
    children: Sequence[int] = (),
    depth: int = 1,
    partners: Mapping[int, Sequence[int]] | None = None,
    net_kw: Sequence[float] | None = None,
    price: Sequence[float] | None = None,
) -> NodeView:
    """What a node knows; a household unless it is node 0."""
    net = np.zeros(steps) if net_kw is None else np.array(net_kw, dtype=float)
    kappa = np.linspace(0.1, 0.5, steps) if price is None else np.array(price, dtype=float)
    home = Household(
        node=node,
        name=f"home_{node}",
        load_kw=np.maximum(-net, 0),
        load_kvar=0.3 * np.maximum(-net, 0),
        devices=(Panels(np.maximum(net, 0), float(net.max())),) if net.max() > 0 else (),
    )
    return NodeView(
        node=node,
        day="1",
        scenario=scenario,
        agreement=agreement,
        step_hours=STEP_HOURS,
        prices=Prices(kappa),
        parent=parent,
        children=tuple(children),
        depth=depth,
        household=home if node else None,
        partners=tuple(Partner(j, tuple(t), np.full(len(t), 0.01)) for j, t in sorted((partners or {}).items())),
        feeder=LIMITS,
    )


def star(homes: int, steps: int = 3, scenario: Scenario = Scenario.TG) -> dict[int, NodeView]:
    """A grid operator's node and its households."""
    views = {0: view(0, steps, scenario=scenario, children=range(1, homes + 1), depth=0)}
    net = np.random.default_rng(homes).uniform(-3, 3, (homes, steps))
    return views | {k: view(k, steps, scenario=scenario, net_kw=net[k - 1]) for k in range(1, homes + 1)}


def main_line(homes: int, steps: int = 3) -> dict[int, NodeView]:
    """Nodes 0 - 1 - 2 - ... that agree with their neighbours."""
    return {
        k: view(
            k, steps, agreement=NetworkAgreement.NEIGHBOURS, parent=max(k - 1, 0),
            children=(k + 1,) if k < homes else (), depth=k,
        )
        for k in range(homes + 1)
    }  # fmt: skip


def closing_of(
    assembly: Assembly,
    copies: Mapping[int, Integers],
    bids: Mapping[int, Integers] | None = None,
    iteration: int = 1,
    gone: frozenset[int] = NOBODY,
) -> Closing:
    """A closed iteration of those who have copies: adds them up the way the contract is said to."""
    sums = {block: np.zeros(assembly.steps, dtype=np.int64) for block in assembly.all_blocks}
    for node, rows in copies.items():
        for block, lanes in zip(assembly.blocks(node), rows, strict=True):
            sums[block] = sums[block] + lanes
    nothing = {node: np.zeros(assembly.bid_count(node), dtype=np.int64) for node in copies}
    return Closing(iteration, frozenset(copies), (0, 0, 0, 0), sums, {**nothing, **(bids or {})}, gone)


def start(
    day: CommunityDay,
    scenario: Scenario,
    agreement: NetworkAgreement,
    absent: Absence = lambda iteration: NOBODY,
    most_misses: int = 2,
) -> Iterator[Iterate]:
    """A negotiation of a community, with the penalties that the rule gives it."""
    penalties = Penalties.of_community(day, baseline_net_kw(day))
    return negotiate(node_views(day, scenario, agreement), penalties, RESOLUTION, absent, most_misses)


def tolerances_of(iterate: Iterate) -> Tolerances:
    """When the contract of these agents ends the round."""
    views = [agent.view for agent in iterate.agents.values()]
    return Tolerances.of(views, np.array([fallback(view)["injection_kw"] for view in views if view.household]))


def last_of(iterates: Iterator[Iterate], most: int = 200) -> Iterate:
    """The first iterate in which nobody is missing and all residuals are within the limits: what the contract finds
    when it closes the next."""
    gone, tolerances = NOBODY, None
    for iterate in islice(iterates, most):
        tolerances = tolerances or tolerances_of(iterate)
        complete = iterate.closing.present | gone == frozenset(iterate.agents)
        gone = iterate.closing.gone
        if complete and tolerances.hold(iterate.residuals.as_tuple(), iterate.scalars, RESOLUTION):
            return iterate
    raise AssertionError(f"no agreement in {most} iterations")


def running_of(assembly: Assembly, iterate: Iterate) -> dict[Block, Integers]:
    """What the grid operator's node heard before it answered: in a star, each wish of those present."""
    return {
        block: lanes
        for node, submission in iterate.submissions.items()
        if assembly.depths[node] > 0
        for block, lanes in zip(assembly.blocks(node), submission.copies, strict=True)
    }
