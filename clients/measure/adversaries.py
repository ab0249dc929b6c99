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

from gridpact.community.model import Array, CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import GridpactError
from gridpact.files import write_atomically
from gridpact.market.admm.agent import Agent, Submission
from gridpact.market.admm.assembly import Closing, Integers
from gridpact.market.admm.codec import encode_bids, encode_copies
from gridpact.market.admm.memory import Iterate, Round
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.market.admm.reach import BIAS, MOST_ITERATIONS, Reach, agreed_bids, centre_of_copies, departed
from gridpact.market.admm.register import Rules
from gridpact.market.admm.residuals import Residuals
from gridpact.problem.baseline import baseline_net_kw, fallback
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import booked, implemented_cost
from gridpact.problem.view import NodeView, node_views

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

Random = np.random.Generator


@dataclass(frozen=True)
class Moment:
    """What an adversary knows when it acts: all that is public, and what an honest node in its place would say."""

    agent: Agent
    honest: Submission
    before: Iterate | None
    iteration: int
    random: Random


Act = Callable[[Moment], Submission | None]
"""What an adversary submits; None where it is silent."""


def _lanes(agent: Agent, value: Callable[[Integers], Integers | Array]) -> Integers:
    """Copies from the highest number that fits each lane, (blocks, 1)."""
    top = np.array([BIAS[block.kind] - 1 for block in agent.blocks], dtype=np.int64).reshape(-1, 1)
    return np.broadcast_to(value(top), (len(agent.blocks), agent.view.steps)).astype(np.int64)


def _with(now: Moment, copies: Integers | None = None, bids: Integers | None = None) -> Submission:
    return Submission(now.honest.copies if copies is None else copies, now.honest.bids if bids is None else bids)


def _all_bids(now: Moment, value: int) -> Integers:
    return np.full(len(now.honest.bids), value, dtype=np.int64)


def _random_bids(now: Moment) -> Integers:
    return now.random.integers(-(2**15), 2**15, len(now.honest.bids))


def _random_copies(now: Moment) -> Integers:
    top = _lanes(now.agent, lambda top: top)
    return now.random.integers(-top - 1, top + 1)


def _one_partner(now: Moment) -> Submission:
    """Anything to one partner, honest to the others."""
    bids = now.honest.bids.copy()
    if now.agent.view.partners:
        count = len(now.agent.view.partners[0].steps)
        bids[:count] = now.random.integers(-(2**15), 2**15, count)
    return _with(now, bids=bids)


def _greedy(sign: int) -> Act:
    """As far from what was agreed as reach allows, always to the same side."""

    def act(now: Moment) -> Submission:
        if now.before is None:
            return now.honest
        agent, closing = now.agent, now.before.closing
        reach, age = Reach(), max(agent.iteration + 1 - agent.disturbed, 1)
        copies, bids = now.honest.copies, now.honest.bids
        if (far := reach.of_copies(age)) is not None and len(agent.blocks):
            centre, counted = centre_of_copies(agent.assembly, agent.view.node, closing)
            copies = np.where(counted, centre + sign * far, copies)
            copies = np.clip(copies, _lanes(agent, lambda top: -top - 1), _lanes(agent, lambda top: top))
        if (far := reach.of_bids(age)) is not None and len(bids):
            centre, counted = agreed_bids(agent.assembly, agent.view.node, closing)
            bids = np.clip(np.where(counted, centre + sign * far, bids), -(2**15) + 1, 2**15 - 1)
        return Submission(copies, bids)

    return act


def _contrary(now: Moment) -> Submission:
    """Wants of every partner what that partner wants of it."""
    if now.before is None or not len(now.honest.bids):
        return now.honest
    return _with(now, bids=now.agent.assembly.bids(now.before.closing, now.agent.view.node).theirs)


def _silent_from(first: int) -> Act:
    return lambda now: None if now.iteration >= first else now.honest


def _rude_then_silent(now: Moment) -> Submission | None:
    return Submission(_random_copies(now), _random_bids(now)) if now.iteration == 1 else None


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
    "random copies and bids": lambda now: Submission(_random_copies(now), _random_bids(now)),
    "greedy, giving": _greedy(1),
    "greedy, taking": _greedy(-1),
    "silent": _silent_from(1),
    "silent after a while": _silent_from(4),
    "random, then silent": _rude_then_silent,
    "misses one": lambda now: None if now.iteration == 5 else now.honest,
    "honest, then random": lambda now: (
        now.honest if now.iteration < 12 else Submission(_random_copies(now), _random_bids(now))
    ),
}

CLAIMS: dict[str, Callable[[Residuals, Random], Residuals]] = {
    "true claims": lambda true, random: true,
    "claims nothing": lambda true, random: Residuals(0, 0, 0, 0),
    "claims one more": lambda true, random: replace(true, primal_trade=true.primal_trade + 1),
    "claims anything": lambda true, random: Residuals(*random.integers(0, 2**50, 4).tolist()),
}

DECLARATIONS = ("true declaration", "no book", "book of other steps", "root of its own")


def declared(view: NodeView, how: str) -> NodeView:
    """What an adversary declares."""
    if how == "no book":
        return replace(view, partners=())
    if how == "book of other steps":
        return replace(view, partners=tuple(_other_steps(partner) for partner in view.partners))
    if how == "root of its own" and view.parent != view.node:
        return replace(view, parent=view.node, children=(), depth=0)
    return view


def _other_steps(partner: Partner) -> Partner:
    return replace(partner, steps=partner.steps[:-1], coefficient=partner.coefficient[:-1])


@dataclass(frozen=True)
class Malice:
    """What one adversary does."""

    submits: str = "honest"
    claims: str = "true claims"
    declares: str = "true declaration"

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
        return [said for said, none in zip(vars(self).values(), vars(usual).values(), strict=True) if said != none]


@dataclass
class Ending:
    """How a round ended for the honest.

    Attributes:
        iterations: in which the contract's test held; 0 where it did not within mu.
        out: adversaries that were proved false, and honest nodes that could have been.
        failures: errors of honest nodes, in words.
    """

    iterations: int
    out: frozenset[int]
    accusable: frozenset[int]
    failures: tuple[str, ...]
    cost: float


@cache
def street(name: str) -> tuple[CommunityDay, Array]:
    """A shipped day: all of tiny3, or the first households of fontana16."""
    community = read_community(name)
    day = community.on(community.days[0])
    return day, baseline_net_kw(day)


class Play:
    """One round."""

    def __init__(
        self, name: str, scenario: Scenario, form: NetworkAgreement, adversaries: Mapping[int, Malice], seed: int
    ) -> None:
        self.day, net_kw = street(name)
        self.scenario = scenario
        honest = node_views(self.day, scenario, form)
        self.tolerances = Tolerances.of(honest, net_kw)
        self.adversaries = adversaries
        views = [
            declared(view, adversaries[view.node].declares) if view.node in adversaries else view for view in honest
        ]
        self.round = Round(views, Penalties.of_community(self.day, net_kw), Resolution(), Rules(MAX_MISSES))
        self.random = np.random.default_rng(seed)

    def run(self) -> Ending:
        round_, reach = self.round, Reach()
        before: Iterate | None = None
        steady, disturbed = 0, 0
        lies: dict[int, Residuals] = {}
        accused: dict[int, int] = {}  # node -> iteration in which it is out
        out: set[int] = set()
        accusable: set[int] = set()
        last: list[Closing] = []
        for iteration in range(1, MOST_ITERATIONS + 1):
            proved = frozenset(node for node, when in accused.items() if when == iteration)
            out |= proved
            said = self._said(before, iteration, out)
            missing = frozenset(node for node, submission in said.items() if submission is None)
            given = {node: submission for node, submission in said.items() if submission is not None}
            try:
                now = round_.iterate(missing, given, proved)
                for node, submission in now.submissions.items():
                    if node not in self.adversaries:
                        encode_copies(round_.agents[node].blocks, submission.copies)
                        encode_bids(submission.bids)
            except GridpactError as error:
                return Ending(0, frozenset(out), frozenset(accusable), (str(error),), np.nan)
            closing = now.closing
            if missing - (last[-1].gone if last else frozenset()) or proved:
                disturbed = iteration
            if iteration >= disturbed + 2 and self._holds(now):
                return Ending(iteration, frozenset(out), frozenset(accusable), (), self._cost())
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
        return Ending(0, frozenset(out), frozenset(accusable), (), self._cost())

    def _holds(self, now: Iterate) -> bool:
        """The contract's test: of the residuals that came with the iteration."""
        return self.tolerances.hold(now.closing.residuals, now.scalars, Resolution())

    def _said(self, before: Iterate | None, iteration: int, out: set[int]) -> dict[int, Submission | None]:
        """What adversaries submit, who are not out."""
        result: dict[int, Submission | None] = {}
        for node, malice in self.adversaries.items():
            agent = self.round.agents[node]
            if node in out or node in (before.closing.gone if before else ()):
                continue
            try:
                honest = agent.solve() if malice.declares == "true declaration" else self._zero(agent)
            except GridpactError:
                honest = self._zero(agent)
            act = SUBMISSIONS[malice.submits]
            result[node] = act(Moment(agent, honest, before, iteration, self.random))
        return result

    @staticmethod
    def _zero(agent: Agent) -> Submission:
        steps = agent.view.steps
        return Submission(
            np.zeros((len(agent.blocks), steps), dtype=np.int64), np.zeros(agent.view.bid_count, dtype=np.int64)
        )

    def _lie(self, now: Iterate) -> dict[int, Residuals]:
        """Changes what adversaries claim about an iteration; who lies is proved false."""
        lies = {}
        for node, malice in self.adversaries.items():
            true = self.round.agents[node].residuals
            claim = CLAIMS[malice.claims](true, self.random)
            if claim != true and node in now.closing.present:
                self.round.claim(node, claim)
                lies[node] = claim
        return lies

    def _cost(self) -> float:
        """Of the plans of the honest when they are carried out, without what they agreed on with adversaries."""
        shape = (len(self.day.households), self.day.steps)
        active, reactive = np.zeros(shape), np.zeros(shape)
        books, trades_kw = {}, {}
        alone = node_views(self.day, Scenario.B, NetworkAgreement.DSO)
        for row, household in enumerate(self.day.households):
            agent = self.round.agents[household.node]
            if household.node in self.adversaries:
                schedule = fallback(alone[row])
            else:
                schedule = self._schedule(agent)
                books[household.node] = agent.view.partners
                strange = [partner.node in self.adversaries for partner in agent.view.partners for _ in partner.steps]
                trades_kw[household.node] = np.where(strange, 0.0, agent.trades.recorded_kw)
            active[row], reactive[row] = schedule["injection_kw"], schedule["injection_kvar"]
        traded = booked(self.day, books, trades_kw)
        return implemented_cost(self.day, self.scenario, active, reactive, traded).objective

    @staticmethod
    def _schedule(agent: Agent) -> dict[str, Array]:
        if agent.view.partners:
            return agent.conclude().schedule
        assert agent.solution is not None
        return agent.solution.schedule


@dataclass
class Tally:
    """What came of all rounds."""

    rounds: int = 0
    finished: int = 0
    honest_lost: int = 0
    honest_proved: int = 0
    moved: list[float] = field(default_factory=list)  # of the others' cost, as a part of it
    problems: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    moved_by: Counter[str] = field(default_factory=Counter)  # kinds in the rounds that moved by more
    iterations: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        worst = max(self.moved, default=0.0)
        return {
            "rounds": self.rounds,
            "finished": self.finished,
            "honest_homes_lost": self.honest_lost,
            "honest_homes_proved_false": self.honest_proved,
            "most_cost_moved": worst,
            "rounds_moved_by_more_than_0.1_percent": sum(moved > MOST_MOVED for moved in self.moved),
            "moved_by": dict(sorted(self.moved_by.items())),
            "most_iterations": max(self.iterations, default=0),
            "kinds": dict(sorted(self.kinds.items())),
            "problems": self.problems,
        }


@cache
def undisturbed(name: str, scenario: Scenario, form: NetworkAgreement, nodes: frozenset[int]) -> Ending:
    """The same round with the adversaries silent."""
    return Play(name, scenario, form, {node: Malice("silent") for node in sorted(nodes)}, 0).run()


def play(
    tally: Tally, name: str, scenario: Scenario, form: NetworkAgreement, who: Mapping[int, Malice], seed: int
) -> None:
    """Plays a round, and adds it up."""
    ending = Play(name, scenario, form, who, seed).run()
    reference = undisturbed(name, scenario, form, frozenset(who))
    tally.rounds += 1
    tally.kinds.update(kind for malice in who.values() for kind in malice.kinds)
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
    if ending.iterations and reference.iterations:
        moved = (ending.cost - reference.cost) / abs(reference.cost)
        tally.moved.append(moved)
        if moved > MOST_MOVED:
            tally.moved_by.update(kind for malice in who.values() for kind in malice.kinds)
            tally.problems.append(f"{what}: cost moved by {100 * moved:.3f} % in {ending.iterations} iterations")


def campaign(rounds: int, seed: int, streets: Sequence[str] = ("tiny3",), show: bool = False) -> Tally:
    """Plays rounds; every kind of malice alone before they are drawn."""
    random, tally = np.random.default_rng(seed), Tally()
    kinds = [Malice(submits) for submits in SUBMISSIONS if submits != "honest"]
    kinds += [Malice(claims=claims) for claims in list(CLAIMS)[1:]] + [Malice(declares=how) for how in DECLARATIONS[1:]]
    for number in tqdm(range(rounds), disable=not show):
        name = str(random.choice(streets))
        scenario, form = FORMS[number % len(FORMS)]
        nodes = [household.node for household in street(name)[0].households]
        count = int(random.integers(1, 3)) if len(nodes) > 2 else 1
        chosen = random.choice(nodes, count, replace=False).tolist()
        who = {int(node): Malice.drawn(random) for node in chosen}
        if number < len(kinds) * len(FORMS):
            who = {int(chosen[0]): kinds[number // len(FORMS)]}
        play(tally, name, scenario, form, who, int(random.integers(2**32)))
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--street", action="append", help="a case; tiny3 unless given")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    tally = campaign(options.rounds, options.seed, options.street or ("tiny3",), show=True)
    text = json.dumps(tally.as_json(), indent=1)
    if options.json:
        write_atomically(options.json, text + "\n")
    print(text)
    return 0 if tally.finished == tally.rounds and not tally.honest_lost + tally.honest_proved else 1


if __name__ == "__main__":
    sys.exit(main())
