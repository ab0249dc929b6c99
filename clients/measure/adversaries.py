"""A campaign of adversaries: do the rounds of the others end, where they would have ended, at the same cost?

    python -m measure.adversaries [--rounds 300] [--seed 1] [--json reports/adversaries.json]

Every round draws from the seed a street, a form of agreement, one or two adversaries among its households, and what
they do (`measure.malice`): declare, submit and claim anything that the contract takes, or nothing. It is played, and
then the same without the adversaries (`measure.adverse_round`); what the others' plan costs is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gridpact.errors import InfeasibleError
from gridpact.files import write_atomically
from gridpact.problem.scenario import NetworkAgreement, Scenario
from measure.adverse_round import Play, street, undisturbed, without
from measure.malice import CLAIMS, DECLARATIONS, PLACELESS, SUBMISSIONS, SUPPLIERS, Malice, Random

FORMS = (
    (Scenario.T, NetworkAgreement.DSO),
    (Scenario.G, NetworkAgreement.DSO),
    (Scenario.TG, NetworkAgreement.DSO),
    (Scenario.G, NetworkAgreement.NEIGHBOURS),
    (Scenario.TG, NetworkAgreement.NEIGHBOURS),
)

MOST_MOVED = 1e-3
LEAST_BILL = 0.1
"""Currency, by which the cost moved is measured where the bill is smaller."""


@dataclass
class AdversaryTally:
    """What came of all rounds."""

    rounds: int = 0
    finished: int = 0
    honest_lost: int = 0
    honest_proved: int = 0
    moved: list[float] = field(default_factory=list)  # of the others' cost, as a part of it
    broken: list[float] = field(default_factory=list)  # the same where adversaries keep nothing
    unstated: list[tuple[float, float]] = field(default_factory=list)  # see `Ending`, where there is a stake
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
                "most_of_what_was_at_stake": max((lost / stake for lost, stake in self.unstated), default=0.0),
            },
            "most_iterations": max(self.iterations, default=0),
            "streets": dict(sorted(self.streets.items())),
            "kinds": dict(sorted(self.kinds.items())),
            "problems": self.problems,
        }


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
    if ending.at_stake:
        tally.unstated.append((ending.unstated, ending.at_stake))
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
    """Plays rounds: every kind of malice alone in every form on tiny3, suppliers in league with a customer where
    households have one, then drawn ones, and one in ten that looks for harm."""
    random, tally = np.random.default_rng(seed), AdversaryTally()
    kinds = [Malice(submits) for submits in SUBMISSIONS if submits != "honest"]
    kinds += [Malice(claims=claims) for claims in list(CLAIMS)[1:]] + [Malice(declares=how) for how in DECLARATIONS[1:]]
    alone = [(kind, form) for kind in kinds for form in FORMS]
    suppliers = [Malice(submits, supplier=how) for how in SUPPLIERS for submits in ("honest", "insists on giving 3 kW")]
    alone += [(kind, form) for kind in suppliers for form in FORMS if form[0].has_contracts]
    for number in tqdm(range(rounds), disable=not show):
        each = number < len(alone)
        name = str(random.choice(places)) if places else "tiny3" if each else where(random)
        scenario, form = alone[number][1] if each else FORMS[number % len(FORMS)]
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
