"""The campaign of adversaries in the sealed form: the same kinds of malice, and those that only this form has.

    python -m measure.adversaries_sealed [--rounds 180] [--seed 1] [--json reports/adversaries-sealed.json]

The nodes are those of `gridpact node`, on the twin of the chain in memory (`gridpact.node.twin`), which judges what is
proved by the rules of the referee of sealed rounds. What the round comes to for the honest is compared with the open
round without the adversaries, as `measure.adversaries` compares it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gridpact.chain.evidence import sealed_evidence
from gridpact.chain.values import Phase, Residuals
from gridpact.errors import ChainError, ContractError, InfeasibleError
from gridpact.files import write_atomically
from gridpact.limits import SUM_BYTES
from gridpact.manage.terms import terms_of
from gridpact.market.admm import residuals as claims
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.answers import PairPart, decode_answer, encode_answer
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.codec import key_in, with_key, without_key
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.node.turns import Turns
from gridpact.node.twin import Twin
from gridpact.node.twin_ledger import TwinLedger, TwinSettlement
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView
from measure.adversaries import AdversaryTally, play, where
from measure.adverse_round import MAX_MISSES, Ending, Play, street
from measure.malice import CLAIMS, DECLARATIONS, HONEST_PLACE, LEAGUE, SUBMISSIONS, HostileAgent, Malice, Random

FORMS = tuple((scenario, NetworkAgreement.DSO) for scenario in (Scenario.T, Scenario.G, Scenario.TG))
PHASE_SECONDS = 600
MUCH = 10**9
"""More than the residuals of an honest round come to on a small street."""


class Out(Exception):
    """Nobody listens to it any more."""


class HostileLedger(TwinLedger):
    """The contract in the hands of an adversary."""

    agent: HostileAgent

    def __init__(
        self, twin: Twin, node: int, malice: Malice, league: frozenset[int], random: Random, plot: int
    ) -> None:
        """
        Args:
            league: all adversaries.
            plot: a number that they share.
        """
        super().__init__(twin, node)
        self.malice, self.league, self.random, self.plot = malice, league, random, plot

    @property
    def book(self) -> dict[int, tuple[int, ...]]:
        return dict(self._twin.now.books.assembly.book(self._node))

    def declare(self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes) -> None:
        change = KEYS.get(self.malice.sealing)
        super().declare(round, parent, children, depth, bids, book if change is None else change(book))

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> None:
        for act in ANNOYING.get(self.malice.sealing, ()):
            act(self, round, iteration)
        if self.agent.silent:
            self.wait_for(lambda now: now.iteration != iteration or now.phase.is_final, np.inf)
            return
        claim = CLAIMS[self.malice.claims](claims.Residuals(*residuals), self.random).as_tuple()
        if lie := LIES.get(self.malice.sealing):
            bids, claim = lie(self, iteration, bids, claim)
        try:
            super().submit(round, iteration, head, copies, bids, claim)
        except ContractError as error:
            if error.name == "NotInRound":
                raise Out from error
            raise

    def answer(self, round: int, about: int, told: bytes) -> None:
        changed = ANSWERS[self.malice.answers](self, told)
        if changed is not None:
            super().answer(round, about, changed)

    def accuse(self, round: int, node: int, evidence: bytes) -> None:
        """Who is in league proves nothing of the others there."""
        if node not in self.league:
            super().accuse(round, node, evidence)

    def accuse_of_silence(self, round: int, node: int, about: int) -> None:
        if node not in self.league:
            super().accuse_of_silence(round, node, about)


# ---------------------------------------------------------------------- what only this form has

Lie = Callable[[HostileLedger, int, bytes, Residuals], tuple[bytes, Residuals]]


def _more(lane: int, first: int = 1) -> Lie:
    """Claims much more of the trades than is true."""

    def lie(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
        if iteration < first or not ledger.book:
            return bids, claim
        more = list(claim)
        more[lane] += MUCH
        return bids, (more[0], more[1], more[2], more[3])

    return lie


def _nothing(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    """Claims less, though not less than with one partner: a half."""
    return bids, (claim[0], claim[1], claim[2] // 2, claim[3] // 2)


def _other_sums(change: int) -> Lie:
    """Its last sum for the pool is another one, by as many units."""

    def lie(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
        at = max(len(bids) - SUM_BYTES, 0)
        told = (int.from_bytes(bids[at:], "big") + change) % (1 << 8 * SUM_BYTES)
        return (bids[:at] + told.to_bytes(SUM_BYTES, "big") if ledger.book else bids), claim

    return lie


def _random_sums(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    at = 2 * ledger._twin.now.books.assembly.bid_count(ledger._node)
    return bids[:at] + ledger.random.bytes(len(bids) - at), claim


def _alike(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    """Each of a league claims as much of the others as these do."""
    return _more(2)(ledger, iteration, bids, claim) if len(ledger.league) > 1 else (bids, claim)


def _alike_by_turns(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    """The same for some iterations, and then not for as many."""
    return _alike(ledger, iteration, bids, claim) if iteration // 6 % 2 else (bids, claim)


def _in_turn(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    """For some iterations the lower of a league claims much more, and for as many the others do."""
    mine = iteration // 6 % 2 == (ledger._node == min(ledger.league))
    return _more(2)(ledger, iteration, bids, claim) if mine and len(ledger.league) > 1 else (bids, claim)


def _covered_sums(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    """The lower of a league says other sums for the pool, and all claim what covers them."""
    if ledger._node == min(ledger.league):
        bids, _ = _other_sums(1 << 14)(ledger, iteration, bids, claim)
    return _alike(ledger, iteration, bids, claim)


def _plotted(ledger: HostileLedger, iteration: int, bids: bytes, claim: Residuals) -> tuple[bytes, Residuals]:
    """Whatever two can say of what is between them, by a plan that they share: some iterations this, some that."""
    plan = np.random.default_rng(ledger.plot)
    every, until = int(plan.integers(1, 30)), int(plan.integers(5, 300))
    if iteration > until or len(ledger.league) < 2 or not ledger.book:
        return bids, claim
    window = np.random.default_rng([ledger.plot, iteration // every])
    more = [0, 0, *(int(10 ** window.uniform(0, 11)) if window.random() < 0.5 else 0 for _ in range(2))]
    if window.random() < 0.5 and ledger._node == window.choice(sorted(ledger.league)):
        bids, _ = _other_sums(int(window.choice((-1, 1)) * 2 ** window.uniform(0, 22)))(ledger, iteration, bids, claim)
    return bids, (claim[0], claim[1], claim[2] + more[2], claim[3] + more[3])


LIES: dict[str, Lie] = {
    "claims much more of the trades": _more(2),
    "claims much more of the dual residual": _more(3),
    "claims much more late": _more(2, 140),
    "claims half of the trades": _nothing,
    "other sums for the pool": _other_sums(1 << 20),
    "sums for the pool by a unit": _other_sums(1),
    "random sums for the pool": _random_sums,
    "claims the same as its partner": _alike,
    "claims the same as its partner by turns": _alike_by_turns,
    "claims in turn with its partner": _in_turn,
    "other sums, covered by a partner": _covered_sums,
    "by a plan with its partner": _plotted,
}

KEYS: dict[str, Callable[[bytes], bytes]] = {
    "declares no key": without_key,
    "declares what is no key": lambda book: with_key(without_key(book), b"\x02" + bytes(31) + b"\x05"),
    "declares another key": lambda book: with_key(without_key(book), b"\x02" + bytes.fromhex(GENERATOR_X)),
}
GENERATOR_X = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
"""Of the key 1, which everybody has, and this node does not use."""


def _asks_all(ledger: HostileLedger, round: int, iteration: int) -> None:
    for other in sorted(ledger.roster().active - {ledger._node}):
        with suppress(ContractError):
            ledger.ask(round, other, max(iteration - 2, 0))


def _answers_unasked(ledger: HostileLedger, round: int, iteration: int) -> None:
    with suppress(ContractError):
        TwinLedger.answer(ledger, round, max(iteration - 2, 0), b"")


def _accuses(ledger: HostileLedger, round: int, iteration: int) -> None:
    """Of garbage, of silence, and with evidence that is true and proves nothing."""
    books = {node: said.book for node, said in ledger.declarations(round).items()}
    for other in sorted(ledger.roster().active - {ledger._node}):
        with suppress(ContractError):
            ledger.accuse(round, other, ledger.random.bytes(300))
        with suppress(ContractError):
            ledger.accuse_of_silence(round, other, max(iteration - 3, 1))
        with suppress(ContractError, ChainError):
            proof = ledger.round_key(round).proof(key_in(books[other]))
            ledger.accuse(round, other, sealed_evidence(ledger, round, other, iteration - 2, True, ledger._node, proof))


ANNOYING: dict[str, tuple[Callable[[HostileLedger, int, int], None], ...]] = {
    "asks everybody": (_asks_all,),
    "answers unasked": (_answers_unasked,),
    "accuses everybody": (_accuses,),
}

SEALING = (*LIES, *KEYS, *ANNOYING)


def _on_a_partner(ledger: HostileLedger, told: bytes) -> bytes:
    """What it claimed too much is put on a partner: of its league, if it has one."""
    parts = decode_answer(ledger.book, told, ledger.setting().steps)
    if not parts:
        return told
    who = min(parts.keys() & ledger.league or parts)
    part = parts[who]
    shares = tuple((share + (1 << 20)) % (1 << 24) for share in part.shares)
    return encode_answer(ledger.book, parts | {who: PairPart(part.primal + MUCH, part.dual, shares)})


ANSWERS: dict[str, Callable[[HostileLedger, bytes], bytes | None]] = {
    "true answers": lambda ledger, told: told,
    "no answers": lambda ledger, told: None,
    "empty answers": lambda ledger, told: b"",
    "random answers": lambda ledger, told: ledger.random.bytes(len(told)),
    "answers that put it on a partner": _on_a_partner,
}


# ---------------------------------------------------------------------- a round


class SealedPlay(Play):
    """One sealed round."""

    def run(self) -> Ending:
        views = [self._view(view) for view in self.prepared.views]
        turns = Turns()
        theta, setting = terms_of(self.negotiation, PHASE_SECONDS, MAX_MISSES)
        twin = Twin(theta, setting, {view.node: f"account {view.node}" for view in views}, turns, sealed=True)
        agents: dict[int, Agent] = {}
        number, plot = twin.open_round(20260701), int(self.random.integers(2**32))
        lives = [partial(self._life, twin, view, number, agents, plot) for view in views]
        ends = dict(zip((view.node for view in views), turns.play(lives), strict=True))
        closed = twin.now.closed
        proved = frozenset(node for entry in closed for node in entry.proved)
        lost = frozenset(node for entry in closed for node in entry.excluded) - self.strange - self.cut_off
        failures = [str(end) for node, end in ends.items() if isinstance(end, Exception) and node not in self.strange]
        failures += [f"honest node {node} is out" for node in sorted(lost)]
        if twin.now.register is None:
            return Ending(0, proved, frozenset(), tuple(failures))
        self.round.assembly = twin.now.books.assembly
        # The honest first: an adversary that is out does not see who else is.
        self.round.agents = dict(sorted(agents.items(), key=lambda entry: entry[0] in self.strange))
        agreed = [end for end in ends.values() if isinstance(end, NodeReport) and end.agreed]
        if failures or not agreed or twin.now.phase is not Phase.CONVERGED:
            return Ending(0, proved, proved - self.strange, tuple(failures))
        return self._ended(len(closed), set(proved), set(proved - self.strange))

    def _life(self, twin: Twin, view: NodeView, number: int, agents: dict[int, Agent], plot: int) -> NodeReport:
        malice = self.adversaries.get(view.node)
        if malice is None:
            return KeptNode(agents, view, TwinLedger(twin, view.node), TwinSettlement(twin, view.node)).run(number)
        ledger = HostileLedger(twin, view.node, malice, frozenset(self.adversaries), self.random, plot)
        return HostileTwinNode(agents, view, ledger, TwinSettlement(twin, view.node)).run(number)


class KeptNode(Node):
    """A node of which the agent is kept."""

    def __init__(self, agents: dict[int, Agent], view: NodeView, ledger: TwinLedger, side: TwinSettlement) -> None:
        self._agents, self._ledger = agents, ledger
        super().__init__(view, ledger, side)

    def _begin(self, assembly: Assembly, penalties: Penalties, resolution: Resolution, most: int) -> Agent:
        return self._agents.setdefault(self.view.node, super()._begin(assembly, penalties, resolution, most))


class HostileTwinNode(KeptNode):
    """A node that says what its kind says."""

    def _begin(self, assembly: Assembly, penalties: Penalties, resolution: Resolution, most: int) -> Agent:
        agent, ledger = HostileAgent(self.view, assembly, penalties, resolution, most), self._ledger
        assert isinstance(ledger, HostileLedger)
        agent.kind, agent.league, agent.random = ledger.malice.submits, ledger.league, ledger.random
        ledger.agent = agent
        self._agents[self.view.node] = agent
        return agent


# ---------------------------------------------------------------------- the campaign


def drawn(random: Random) -> Malice:
    """Half of it what both forms have, half what only this one has, with any answer."""
    malice = Malice.drawn(random)
    if random.random() < 0.5:
        return malice
    alone = random.random() < 0.6
    return Malice(
        "honest" if alone else malice.submits,
        declares=HONEST_PLACE if alone else malice.declares,
        sealing=str(random.choice(SEALING)),
        answers=str(random.choice(list(ANSWERS))),
    )


def alone() -> list[Malice]:
    """Every kind."""
    kinds = [Malice(submits) for submits in SUBMISSIONS if submits != "honest"]
    kinds += [Malice(claims=claim) for claim in list(CLAIMS)[1:]] + [Malice(declares=how) for how in DECLARATIONS[1:]]
    kinds += [Malice(sealing=kind) for kind in SEALING]
    return kinds + [Malice(sealing=next(iter(LIES)), answers=answer) for answer in list(ANSWERS)[1:]]


def leagues() -> list[Malice]:
    """What two do together."""
    together = [Malice(kind) for kind in LEAGUE]
    together += [
        Malice(sealing=kind, answers=answer)
        for kind in (
            "claims the same as its partner",
            "claims in turn with its partner",
            "other sums, covered by a partner",
        )
        for answer in ANSWERS
    ]
    together.append(Malice("beyond reach where there is none", sealing="claims the same as its partner"))
    plans = [Malice(sealing="by a plan with its partner", answers=answer) for answer in ANSWERS]
    return [*together, Malice(sealing="claims the same as its partner by turns"), *plans, *plans]


def partners(name: str) -> list[int]:
    """Two households that trade with each other, beside others; fewer where there are none."""
    views = SealedPlay(name, Scenario.T, NetworkAgreement.DSO, {}, 0).prepared.views
    for view in views:
        if view.partners and len(views) > 2:
            return [view.node, view.partners[0].node]
    return [views[0].node]


def campaign(rounds: int, seed: int, places: Sequence[str] = (), show: bool = False) -> AdversaryTally:
    """Plays rounds: every kind of malice alone, then by two in league, then drawn ones."""
    random, tally = np.random.default_rng(seed), AdversaryTally()
    one, two = alone(), leagues()
    for number in tqdm(range(rounds), disable=not show):
        scenario, form = FORMS[number % len(FORMS)]
        each = number < len(one) + len(two)
        name = str(random.choice(places)) if places else "tiny3" if number < len(one) else where(random)
        nodes = [household.node for household in street(name).households]
        if number < len(one):
            who = {int(random.choice(nodes)): one[number]}
        elif each or random.random() < 0.25:
            scenario = (Scenario.T, Scenario.TG)[number % 2]
            malice = two[number - len(one)] if each else two[int(random.integers(len(two)))]
            who = dict.fromkeys(partners(name), malice)
        else:
            count = int(random.integers(1, 3)) if len(nodes) > 2 else 1
            who = {int(node): drawn(random) for node in random.choice(nodes, count, replace=False)}
        with suppress(InfeasibleError):  # of a drawn street: nobody could have agreed
            play(tally, name, scenario, form, who, int(random.integers(2**32)), SealedPlay)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--street", action="append", default=[], help="a case, or a kind and a seed, flat:3")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    logging.disable(logging.ERROR)
    tally = campaign(options.rounds, options.seed, options.street, show=True)
    text = json.dumps(tally.as_json(), indent=1)
    if options.json:
        write_atomically(options.json, text + "\n")
    print(text)
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
