"""A campaign of adversaries: do the rounds of the others end, where they would have ended, at the same cost?

    python -m measure.adversaries [--rounds 300] [--seed 1] [--json reports/adversaries.json]

Every round draws from the seed a street, a form of agreement, one or two adversaries among its households, and what
they do: declare, submit and claim anything that the contract takes, or nothing. The others are the agents that run
everywhere, on the integers of the chain, in memory. What the contract would do is done by the same rules: a node that
misses too often is out; one that claims false residuals or goes beyond its reach is out two iterations later, when
somebody has proved it; the round ends by the contract's test.

Then the same round is played without the adversaries, who are silent from the start. What the others' plan costs is
compared, with nobody counting on the adversaries: trades with them are not recorded, and what they draw is what they
do on their own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import GridpactError, InfeasibleError
from gridpact.files import write_atomically
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Closing, Integers
from gridpact.market.admm.codec import encode_bids, encode_copies
from gridpact.market.admm.memory import Iterate, Round
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.reach import BIAS, MOST_ITERATIONS, Reach, agreed_bids, centre_of_copies, departed
from gridpact.market.admm.register import End
from gridpact.market.admm.residuals import Residuals
from gridpact.market.admm.trades import bid_steps
from gridpact.market.prepared import Prepared
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import Traded, implemented_cost
from gridpact.problem.view import NodeView
from measure import streets

FORMS = (
    (Scenario.T, NetworkAgreement.DSO),
    (Scenario.G, NetworkAgreement.DSO),
    (Scenario.TG, NetworkAgreement.DSO),
    (Scenario.G, NetworkAgreement.NEIGHBOURS),
    (Scenario.TG, NetworkAgreement.NEIGHBOURS),
)
MAX_MISSES = 2
PROVED_AFTER = 2
"""Iterations from what was false to the one in which its author is out: it is seen when the next one is closed."""

MOST_MOVED = 1e-3
LEAST_BILL = 0.1
"""Currency, by which the cost moved is measured where the bill is smaller."""

Random = np.random.Generator


@dataclass(frozen=True)
class Moment:
    """What an adversary knows when it acts: all that is public, and what an honest node in its place would say."""

    milliwatt: int  # resolution
    agent: Agent
    honest: IntegerSubmission
    before: Closing | None
    iteration: int
    random: Random
    league: frozenset[int] = frozenset()  # adversaries that know of each other, this one among them


Act = Callable[[Moment], IntegerSubmission | None]
"""What an adversary submits; None where it is silent."""


def _lanes(agent: Agent, value: Callable[[Integers], Integers | Array]) -> Integers:
    """Copies from the highest number that fits each lane, (blocks, 1)."""
    top = np.array([BIAS[block.kind] - 1 for block in agent.blocks], dtype=np.int64).reshape(-1, 1)
    return np.broadcast_to(value(top), (len(agent.blocks), agent.view.steps)).astype(np.int64)


def _with(now: Moment, copies: Integers | None = None, bids: Integers | None = None) -> IntegerSubmission:
    return IntegerSubmission(now.honest.copies if copies is None else copies, now.honest.bids if bids is None else bids)


def _all_bids(now: Moment, value: int) -> Integers:
    return np.full(len(now.honest.bids), value, dtype=np.int64)


def _random_bids(now: Moment) -> Integers:
    return now.random.integers(-(2**15), 2**15, len(now.honest.bids))


def _random_copies(now: Moment) -> Integers:
    top = _lanes(now.agent, lambda top: top)
    return now.random.integers(-top - 1, top + 1)


def _one_partner(now: Moment) -> IntegerSubmission:
    """Anything to one partner, honest to the others."""
    bids = now.honest.bids.copy()
    if now.agent.view.partners:
        count = len(now.agent.view.partners[0].steps)
        bids[:count] = now.random.integers(-(2**15), 2**15, count)
    return _with(now, bids=bids)


def _greedy(sign: int) -> Act:
    """As far from what was agreed as reach allows, always to the same side."""

    def act(now: Moment) -> IntegerSubmission:
        if now.before is None:
            return now.honest
        agent, closing = now.agent, now.before
        reach, age = Reach(now.milliwatt), max(agent.iteration + 1 - agent.disturbed, 1)
        copies, bids = now.honest.copies, now.honest.bids
        if (far := reach.of_copies(age)) is not None and len(agent.blocks):
            centre, counted = centre_of_copies(agent.assembly, agent.view.node, closing)
            copies = np.where(counted, centre + sign * far, copies)
            copies = np.clip(copies, _lanes(agent, lambda top: -top - 1), _lanes(agent, lambda top: top))
        if (far := reach.of_bids(age)) is not None and len(bids):
            centre, counted = agreed_bids(agent.assembly, agent.view.node, closing)
            bids = np.clip(np.where(counted, centre + sign * far, bids), -(2**15) + 1, 2**15 - 1)
        return IntegerSubmission(copies, bids)

    return act


def _contrary(now: Moment) -> IntegerSubmission:
    """Wants of every partner what that partner wants of it."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=now.agent.assembly.bids(now.before, now.agent.view.node).theirs)


def _agreeable(now: Moment) -> IntegerSubmission:
    """Takes whatever its partners offer, at any price, and wishes for nothing itself."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=-now.agent.assembly.bids(now.before, now.agent.view.node).theirs)


def _insisting(kw: float) -> Act:
    """The same power at every step, whatever the price, from all partners together and from the network."""

    def act(now: Moment) -> IntegerSubmission:
        agent, units = now.agent, round(kw * 1e6 / now.milliwatt)
        own = [block.kind is Kind.P and block.node == agent.view.node for block in agent.blocks]
        copies = np.where(np.array(own, dtype=bool).reshape(-1, 1), units, now.honest.copies)
        partners = max(len(agent.view.partners), 1)
        return IntegerSubmission(copies.astype(np.int64), _all_bids(now, units // partners))

    return act


def _half_insisting(kw: float) -> Act:
    """Half of what it would honestly say, and half of that: it seems to come to terms, and never does."""

    def act(now: Moment) -> IntegerSubmission:
        extreme = _insisting(kw)(now)
        assert extreme is not None
        return IntegerSubmission((now.honest.copies + extreme.copies) // 2, (now.honest.bids + extreme.bids) // 2)

    return act


def _changed(change: Callable[[Integers, Moment], Integers]) -> Act:
    """What it would honestly say, changed, as far as that fits."""

    def act(now: Moment) -> IntegerSubmission:
        low, high = _lanes(now.agent, lambda top: -top - 1), _lanes(now.agent, lambda top: top)
        copies = np.clip(change(now.honest.copies, now), low, high)
        return IntegerSubmission(copies, np.clip(change(now.honest.bids, now), -(2**15), 2**15 - 1))

    return act


def _first_step_only(now: Moment) -> IntegerSubmission:
    """As much as fits at one step, honest at all others."""
    copies, bids = now.honest.copies.copy(), now.honest.bids.copy()
    copies[:, :1] = _lanes(now.agent, lambda top: top)[:, :1]
    bids[bid_steps(now.agent.view) == now.agent.view.steps // 2] = 2**15 - 1
    return IntegerSubmission(copies, bids)


def _reactive(now: Moment) -> IntegerSubmission:
    """As much reactive power as fits."""
    reactive = np.array([block.kind is Kind.Q for block in now.agent.blocks], dtype=bool).reshape(-1, 1)
    return _with(now, np.where(reactive, _lanes(now.agent, lambda top: top), now.honest.copies))


def _stubborn(now: Moment) -> IntegerSubmission:
    """Repeats the bids that it made first."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=now.agent.assembly.bids(now.before, now.agent.view.node).own)


LEAST_DRAG = 160
"""Units by which bids of a league do not meet: as much as it takes, and no more, lasts longest."""


def _drags_on(now: Moment) -> IntegerSubmission:
    """Two agree with each other on as much as fits, and take it back as slowly as holds the round up: within their
    reach as long as there is any, then one of them by less and less at one step after the other."""
    agent, partners = now.agent, sorted(now.league & now.agent.assembly.book(now.agent.view.node).keys())
    if now.before is None or not partners or not len(now.honest.bids):
        return now.honest
    node, bids, assembly = agent.view.node, now.honest.bids.copy(), agent.assembly
    far = Reach(now.milliwatt).of_bids(max(agent.iteration + 1 - agent.disturbed, 1))
    agreed, counted = agreed_bids(assembly, node, now.before)
    for partner in partners:
        part = assembly.part(node, partner)
        sign, centre = (1 if node < partner else -1), np.where(counted, agreed, 0)[part]
        if far is None or far >= LEAST_DRAG:
            said = centre + sign * (far or 0) if far is None or now.iteration % 2 == (sign > 0) else centre
        else:
            said = centre.copy()
            left = np.flatnonzero(np.abs(said) > LEAST_DRAG)
            if sign < 0 and len(left):
                said[left[0]] += LEAST_DRAG
        bids[part] = np.clip(said, -(2**15) + 1, 2**15 - 1)
    return _with(now, bids=bids)


def _noise(values: Integers, now: Moment) -> Integers:
    return values + now.random.integers(-round(5e4 / now.milliwatt), round(5e4 / now.milliwatt) + 1, values.shape)


def _whole_kilowatts(values: Integers, now: Moment) -> Integers:
    unit = round(1e6 / now.milliwatt)
    return (values + unit // 2) // unit * unit


def _silent_from(first: int) -> Act:
    return lambda now: None if now.iteration >= first else now.honest


def _rude_then_silent(now: Moment) -> IntegerSubmission | None:
    return IntegerSubmission(_random_copies(now), _random_bids(now)) if now.iteration == 1 else None


SUBMISSIONS: dict[str, Act] = {
    "honest": lambda now: now.honest,
    "copies as high as fits": lambda now: _with(now, _lanes(now.agent, lambda top: top)),
    "copies as low as fits": lambda now: _with(now, _lanes(now.agent, lambda top: -top - 1)),
    "copies that swing": lambda now: _with(now, _lanes(now.agent, lambda top: top * (-1) ** now.iteration)),
    "random copies": lambda now: _with(now, _random_copies(now)),
    "copies of 30 kW": lambda now: _with(now, _lanes(now.agent, lambda top: np.minimum(60_000, top))),
    "bids as high as fits": lambda now: _with(now, bids=_all_bids(now, 2**15 - 1)),
    "bids as low as fits": lambda now: _with(now, bids=_all_bids(now, -(2**15))),
    "bids that swing": lambda now: _with(now, bids=_all_bids(now, (2**15 - 1) * (-1) ** now.iteration)),
    "random bids": lambda now: _with(now, bids=_random_bids(now)),
    "random bids to one partner": _one_partner,
    "bids that contradict": _contrary,
    "random copies and bids": lambda now: IntegerSubmission(_random_copies(now), _random_bids(now)),
    "greedy, giving": _greedy(1),
    "greedy, taking": _greedy(-1),
    "agrees to anything": _agreeable,
    "insists on taking 3 kW": _insisting(-3.0),
    "insists on giving 3 kW": _insisting(3.0),
    "half insists on taking 6 kW": _half_insisting(-6.0),
    "half insists on giving 6 kW": _half_insisting(6.0),
    "silent": _silent_from(1),
    "silent after a while": _silent_from(4),
    "random, then silent": _rude_then_silent,
    "misses one": lambda now: None if now.iteration == 5 else now.honest,
    "sign turned": _changed(lambda values, now: -values),
    "three times as much": _changed(lambda values, now: 3 * values),
    "a kilowatt more": _changed(lambda values, now: values + round(1e6 / now.milliwatt)),
    "50 W of noise": _changed(_noise),
    "whole kilowatts": _changed(_whole_kilowatts),
    "as high as fits at one step": _first_step_only,
    "reactive power as high as fits": _reactive,
    "the first bids for ever": _stubborn,
    "misses every third": lambda now: None if now.iteration % 3 == 0 else now.honest,
    "random every fifth": lambda now: (
        now.honest if now.iteration % 5 else IntegerSubmission(_random_copies(now), _random_bids(now))
    ),
    "honest, then random": lambda now: (
        now.honest if now.iteration < 12 else IntegerSubmission(_random_copies(now), _random_bids(now))
    ),
}


def _most_with_a_partner(now: Moment) -> IntegerSubmission:
    """Two sell each other as much as fits, which neither has."""
    agent, bids = now.agent, now.honest.bids.copy()
    book = agent.assembly.book(agent.view.node)
    for partner in now.league & book.keys():
        bids[agent.assembly.part(agent.view.node, partner)] = (2**15 - 1) * (1 if agent.view.node < partner else -1)
    return _with(now, bids=bids[: len(now.honest.bids)])


NO_REACH = 137
"""An iteration from which on it can be proved that bids reach nothing, where nobody was missing before."""

LEAGUE: dict[str, Act] = {
    "beyond reach where there is none": lambda now: (
        now.honest if now.iteration < NO_REACH else _with(now, bids=_random_bids(now))
    ),
    "drags on with a partner": _drags_on,
    "sells a partner all that fits": _most_with_a_partner,
}
"""What two do together, who know of each other."""


class HostileAgent(Agent):
    """Says what its kind says.

    Attributes:
        silent: whether it says nothing in this iteration, whatever `solve` returns.
    """

    kind = "honest"
    league: frozenset[int] = frozenset()
    random = np.random.default_rng(0)
    silent = False

    def solve(self, running: Mapping[Block, Integers] | None = None) -> IntegerSubmission:
        try:
            honest = super().solve(running)
        except GridpactError:
            shape = len(self.blocks), self.view.steps
            honest = IntegerSubmission(np.zeros(shape, np.int64), np.zeros(self.view.bid_count, np.int64))
        milliwatt = self._resolution.on_chain()[0]
        sent = {**SUBMISSIONS, **LEAGUE}[self.kind](
            Moment(milliwatt, self, honest, self._before, self.iteration + 1, self.random, self.league)
        )
        self.silent = sent is None
        return honest if sent is None else sent


CLAIMS: dict[str, Callable[[Residuals, Random], Residuals]] = {
    "true claims": lambda true, random: true,
    "claims nothing": lambda true, random: Residuals(0, 0, 0, 0),
    "claims one more": lambda true, random: replace(true, primal_trade=true.primal_trade + 1),
    "claims anything": lambda true, random: Residuals(*random.integers(0, 2**50, 4).tolist()),
}

HONEST_PLACE, PLACELESS = "true declaration", "root of its own"
DECLARATIONS = (HONEST_PLACE, "no book", "book of other steps", PLACELESS)


def declared(view: NodeView, how: str) -> NodeView:
    """What an adversary declares."""
    if how == "no book":
        return replace(view, partners=())
    if how == "book of other steps":
        return replace(view, partners=tuple(_other_steps(partner) for partner in view.partners))
    if how == PLACELESS and view.parent != view.node:
        return replace(view, parent=view.node, children=(), depth=0)
    return view


def kept_places(views: Sequence[NodeView]) -> frozenset[int]:
    """Who is in the round when it starts, as the contract has it: from the roots down, who is listed by its parent."""
    kept = {view.node for view in views if view.depth == 0}
    for view in sorted(views, key=lambda view: view.depth):
        if view.node in kept:
            below = (one for one in views if one.parent == view.node and one.depth == view.depth + 1)
            kept |= {one.node for one in below if one.node in view.children}
    return frozenset(kept)


def _other_steps(partner: Partner) -> Partner:
    return replace(partner, steps=partner.steps[:-1], coefficient=partner.coefficient[:-1])


@dataclass(frozen=True)
class Malice:
    """What one adversary does."""

    submits: str = "honest"
    claims: str = "true claims"
    declares: str = HONEST_PLACE
    sealing: str = "sealed as it should be"  # these two in sealed rounds, see `measure.adversaries_sealed`
    answers: str = "true answers"

    @staticmethod
    def drawn(random: Random) -> Malice:
        """Mostly one kind at a time, so that it does what it can."""
        kind = random.random()
        submits = str(random.choice(list(SUBMISSIONS)[1:]))
        if kind < 0.7:
            return Malice(submits)
        if kind < 0.8:
            return Malice(claims=str(random.choice(list(CLAIMS)[1:])))
        if kind < 0.9:
            return Malice(declares=str(random.choice(DECLARATIONS[1:])))
        return Malice(submits, str(random.choice(list(CLAIMS))), str(random.choice(DECLARATIONS)))

    @property
    def kinds(self) -> list[str]:
        usual = Malice()
        return [kind for kind, none in zip(vars(self).values(), vars(usual).values(), strict=True) if kind != none]


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
        paid: what each household pays for supply and trades, as `cost` has it, less what it would pay alone.
        carried_out: what the network was told of each adversary that is not out, kW and kvar into the feeder.
    """

    iterations: int
    out: frozenset[int]
    accusable: frozenset[int]
    failures: tuple[str, ...]
    cost: float = np.nan
    broken: float = np.nan
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
        return declared(view, self.adversaries[view.node].declares) if view.node in self.adversaries else view

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
            act = {**SUBMISSIONS, **LEAGUE}[malice.submits]
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
        return Ending(iterations, frozenset(out), frozenset(accusable), (), cost, broken, paid, carried_out)

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
            foreign = np.array([one.node in self.strange for one in partners for _ in one.steps], dtype=bool)
            trades = np.where(foreign & ~np.array(kept), 0.0, agent.trades.recorded_kw)
            np.add.at(sold[row], bid_steps(agent.view), trades)
            gamma = np.concatenate([[0.0], *(one.coefficient for one in partners)])[1:]
            coefficients += float(self.day.step_hours * gamma @ np.abs(np.where(foreign, 0.0, trades)))
            received[row] = float(trades @ agent.trades.paid_price)
            if foreign.any():
                coefficients -= float(np.where(foreign, trades, 0.0) @ agent.trades.paid_price)
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


@dataclass
class AdversaryTally:
    """What came of all rounds."""

    rounds: int = 0
    finished: int = 0
    honest_lost: int = 0
    honest_proved: int = 0
    moved: list[float] = field(default_factory=list)  # of the others' cost, as a part of it
    broken: list[float] = field(default_factory=list)  # the same where adversaries keep nothing
    lost: list[float] = field(default_factory=list)  # the most that a household pays beyond what it would alone
    problems: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    streets: Counter[str] = field(default_factory=Counter)
    moved_by: Counter[str] = field(default_factory=Counter)  # kinds in the rounds that moved by more
    broken_by: Counter[str] = field(default_factory=Counter)
    iterations: list[int] = field(default_factory=list)
    infeasible: int = 0  # streets on which there is no plan: not counted

    def as_json(self) -> dict[str, object]:
        return {
            "rounds": self.rounds,
            "finished": self.finished,
            "honest_homes_lost": self.honest_lost,
            "honest_homes_proved_false": self.honest_proved,
            "most_cost_moved": max(self.moved, default=0.0),
            "rounds_moved_by_more_than_0.1_percent": sum(moved > MOST_MOVED for moved in self.moved),
            "moved_by": dict(sorted(self.moved_by.items())),
            "where_agreed_trades_are_not_stated": {
                "most_cost_moved": max(self.broken, default=0.0),
                "rounds_moved_by_more_than_0.1_percent": sum(moved > MOST_MOVED for moved in self.broken),
                "moved_by": dict(sorted(self.broken_by.items())),
            },
            "most_iterations": max(self.iterations, default=0),
            "streets": dict(sorted(self.streets.items())),
            "kinds": dict(sorted(self.kinds.items())),
            "problems": self.problems,
        }


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


def play(
    tally: AdversaryTally,
    name: str,
    scenario: Scenario,
    form: NetworkAgreement,
    who: Mapping[int, Malice],
    seed: int,
    game: type[Play] = Play,
) -> None:
    """Plays a round, in the open form or another, and adds it up beside the open round without the adversaries."""
    ending = game(name, scenario, form, who, seed).run()
    nodes = frozenset(who)
    tally.rounds += 1
    tally.streets[name] += 1
    kinds = [kind for malice in who.values() for kind in malice.kinds]
    tally.kinds.update(kinds)
    what = ", ".join(f"node {node}: {' + '.join(malice.kinds)}" for node, malice in who.items())
    what = f"{name} {scenario.name} {form.name.lower()}, {what}"
    if ending.iterations:
        tally.finished += 1
        tally.iterations.append(ending.iterations)
    else:
        tally.problems.append(f"{what}: not finished ({', '.join(ending.failures) or 'no convergence'})")
    tally.honest_lost += len(ending.failures)
    tally.honest_proved += len(ending.accusable)
    if ending.accusable:
        tally.problems.append(f"{what}: honest {sorted(ending.accusable)} could be proved false")
    if not ending.iterations:
        return
    roots = frozenset(node for node, malice in who.items() if malice.declares == PLACELESS)
    silent = undisturbed(name, scenario, form, nodes, roots)
    apart = without(ending, name, scenario, form, nodes, roots)
    if silent.iterations:
        tally.broken.append((ending.broken - silent.broken) / max(abs(silent.cost), LEAST_BILL))
        if tally.broken[-1] > MOST_MOVED:
            tally.broken_by.update(kinds)
    scale = max(abs(apart.cost), LEAST_BILL)
    if apart.iterations:
        tally.moved.append((ending.cost - apart.cost) / scale)
        if tally.moved[-1] > MOST_MOVED:
            tally.moved_by.update(kinds)
            tally.problems.append(
                f"{what}: cost moved by {100 * tally.moved[-1]:.3f} % in {ending.iterations} iterations"
            )
    if ending.paid:
        tally.lost.append(max(ending.paid.values()) / scale)


HARMFUL = tuple(kind for kind in SUBMISSIONS if kind != "honest")
TRIES = 4


def searched(
    name: str, scenario: Scenario, form: NetworkAgreement, nodes: Sequence[int], random: Random
) -> dict[int, Malice]:
    """Who looks for harm: tries some kinds, each alone, and takes what cost the others most."""
    worst, worst_malice = -np.inf, Malice("silent")
    for kind in random.choice(HARMFUL, TRIES, replace=False).tolist():
        who = {nodes[0]: Malice(kind)}
        ending = Play(name, scenario, form, who, int(random.integers(2**32))).run()
        harm = ending.broken if ending.iterations else np.inf
        if harm > worst:
            worst, worst_malice = harm, Malice(kind)
    return dict.fromkeys(nodes, worst_malice)


def drawn_streets() -> tuple[str, ...]:
    """Streets of 3 to 12 homes, of kinds on which there is something to agree on and in no more than 48 steps."""
    kinds = ("any", "flat", "no batteries", "farms", "identical")
    named = [f"{kind}:{seed}" for kind in kinds for seed in range(20, 26)]
    return tuple(name for name in named if 3 <= len(street(name).households) <= 12 and street(name).steps <= 48)


def where(random: Random) -> str:
    """Half of the rounds on tiny3, most others on drawn streets, a few on fontana16."""
    chance = random.random()
    return "tiny3" if chance < 0.5 else "fontana16" if chance > 0.98 else str(random.choice(drawn_streets()))


def campaign(rounds: int, seed: int, places: Sequence[str] = (), show: bool = False) -> AdversaryTally:
    """Plays rounds: every kind of malice alone in every form on tiny3, then drawn ones, and one in ten that looks for
    harm."""
    random, tally = np.random.default_rng(seed), AdversaryTally()
    kinds = [Malice(submits) for submits in SUBMISSIONS if submits != "honest"]
    kinds += [Malice(claims=claims) for claims in list(CLAIMS)[1:]] + [Malice(declares=how) for how in DECLARATIONS[1:]]
    alone = [(kind, form) for kind in kinds for form in FORMS]
    for number in tqdm(range(rounds), disable=not show):
        each = number < len(alone)
        name = str(random.choice(places)) if places else "tiny3" if each else where(random)
        scenario, form = FORMS[number % len(FORMS)]
        nodes = [household.node for household in street(name).households]
        count = int(random.integers(1, 3)) if len(nodes) > 2 else 1
        chosen = [int(node) for node in random.choice(nodes, count, replace=False)]
        if each:
            who = {chosen[0]: alone[number][0]}
        elif number % 10 == 0:
            who = searched(name, scenario, form, chosen, random)
        else:
            who = {node: Malice.drawn(random) for node in chosen}
        try:
            play(tally, name, scenario, form, who, int(random.integers(2**32)))
        except InfeasibleError:  # of a drawn street: nobody could have agreed
            tally.infeasible += 1
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--street", action="append", default=[], help="a case, or a kind and a seed, flat:3")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    tally = campaign(options.rounds, options.seed, options.street, show=True)
    text = json.dumps(tally.as_json(), indent=1)
    if options.json:
        write_atomically(options.json, text + "\n")
    print(text)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
