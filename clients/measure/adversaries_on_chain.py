"""Adversaries against nodes on a real chain: every message that contracts take, said wrongly by one or two homes.

    python -m measure.adversaries_on_chain [--rounds 48] [--sealed] [--json reports/adversaries-on-chain.json]

The nodes are those of `gridpact node`, as threads, on Anvil. An adversary submits what the kinds of
`measure.adversaries` say, claims false residuals, accuses honest nodes with garbage and with evidence that proves
nothing, relays batches with signatures that are not the authors', or replayed, states other trades than were agreed, or
none, and tries whatever the settlement contract must refuse. After the round the others are checked: whether it ended
in agreement, with all of them, what they paid beside what they would pay without the adversaries, and all the money.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.evidence import residual_evidence, sealed_evidence
from gridpact.chain.networks import Network, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import WebSocketTransport
from gridpact.chain.values import Phase, Residuals
from gridpact.community.model import Array
from gridpact.errors import ChainError, ContractError, GridpactError
from gridpact.files import write_atomically
from gridpact.manage.vouching import one_sided, shown, to_vouch, vouch_calls
from gridpact.market.admm import residuals as claims
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Assembly, Integers
from gridpact.market.admm.codec import key_in
from gridpact.market.admm.pads import Pads
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.node.audit import Audit
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.problem.blocks import Block
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient
from measure import faults
from measure.adversaries import MOST_MOVED
from measure.adverse_round import undisturbed
from measure.faults import CASE, CONFIRM_SECONDS, Fault, Gone
from measure.malice import CLAIMS, SUBMISSIONS, HostileAgent

SAID = (
    "random copies and bids",
    "bids as high as fits",
    "copies that swing",
    "greedy, giving",
    "greedy, taking",
    "agrees to anything",
    "half insists on taking 6 kW",
    "bids that contradict",
    "random, then silent",
)
"""Of `SUBMISSIONS`."""

CLAIMED = ("claims nothing", "claims one more", "claims anything")

MESSAGES = {
    "accuses with garbage": "of every honest node, in every iteration",
    "accuses the honest": "with evidence that is true and proves nothing",
    "relays forged signatures": "submissions of others, signed by itself, by nobody, or under another number",
    "relays replayed signatures": "its own of the iteration before, of another round, and twice in a batch",
    "declares for another": "a second time, and a book that is too long",
    "closes early": "an iteration, before its deadline",
}
STATEMENTS = {
    "states nothing": "though it agreed",
    "states other prices": "than were agreed",
    "states other energies": "than its bids",
    "takes statements back": "and leaves it there",
}
SETTLED = {
    "forges readings": "of all homes, signed by itself",
    "takes what is not its own": "withdraws more than is free, releases what is not due, forgives, publishes a tariff",
    "corrects alone": "a delivery, without the supplier's consent",
}
TOGETHER = "claims as much more as its partner"
"""Of two in a sealed round: nobody else sees what is between them."""

KINDS = (*SAID, *CLAIMED, *MESSAGES, *STATEMENTS, *SETTLED)


class LeavingAgent(HostileAgent):
    """Where it is silent, it is gone for good."""

    def solve(self, running: Mapping[Block, Integers] | None = None) -> IntegerSubmission:
        sent = super().solve(running)
        if self.silent:
            raise Gone
        return sent


class HostileNode(Node):
    """A node that says what its kind says."""

    kind, seed = "honest", 0

    def _begin(self, assembly: Assembly, penalties: Penalties, resolution: Resolution, most: int) -> Agent:
        agent = LeavingAgent(self.view, assembly, penalties, resolution, most)
        agent.kind, agent.random = self.kind, np.random.default_rng(self.seed)
        return agent


class HostileAggregator(Aggregator):
    """The contract in the hands of an adversary."""

    def arm(self, kinds: Sequence[str], node: int, seed: int) -> None:
        self.kinds, self.node, self.random = kinds, node, np.random.default_rng(seed)
        self.refused = 0
        self.before: tuple[Any, ...] | None = None

    def declare(self, round: int, parent: int, children: Any, depth: int, bids: int, book: bytes) -> Any:
        if "declares for another" in self.kinds:
            self._tries("declare", round, parent, depth, 2**16 - 1, 0, bytes(9))
        receipt = super().declare(round, parent, children, depth, bids, book)
        if "declares for another" in self.kinds:
            self._tries("declare", round, parent, depth, bids, 0, book + book)
        return receipt

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> Any:
        self._annoy(round, iteration, head, copies, bids)
        return super().submit(round, iteration, head, copies, bids, self._claimed(residuals))

    def sign(
        self,
        round: int,
        iteration: int,
        head: bytes,
        node: int,
        copies: Sequence[int],
        bids: bytes,
        residuals: Residuals,
    ) -> Any:
        self._annoy(round, iteration, head, copies, bids)
        return super().sign(round, iteration, head, node, copies, bids, self._claimed(residuals))

    def _claimed(self, true: Residuals) -> Residuals:
        for kind in self.kinds:
            if kind in CLAIMS:
                return CLAIMS[kind](claims.Residuals(*true), self.random).as_tuple()
            if kind == TOGETHER:
                return true[0], true[1], true[2] + 10**9, true[3]
        return true

    def _annoy(self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes) -> None:
        """Everything that must be refused, or must count for nothing."""
        others = sorted(self.roster().active - {self.node})
        if "accuses with garbage" in self.kinds:
            for other in others:
                self._tries("accuse", round, other, self.random.bytes(200))
        if "accuses the honest" in self.kinds and iteration > 2:
            for other in others:
                try:
                    evidence = self._true_evidence(round, other, iteration - 2)
                except ChainError:
                    continue  # it was not there
                self._tries("accuse", round, other, evidence)
        if "closes early" in self.kinds:
            self._tries("closeOverdue")
        words = list(copies)
        if "relays forged signatures" in self.kinds:
            own = super().sign(round, iteration, head, self.node, copies, bids, (0, 0, 0, 0))
            forged = [(other, words, bids, 0, own.r, own.vs) for other in others]
            forged += [(other, words, bids, 0, self.random.bytes(32), self.random.bytes(32)) for other in (*others, 99)]
            self._nothing_counts(round, iteration, forged)
        if "relays replayed signatures" in self.kinds:
            signed = super().sign(round + 1, iteration, head, self.node, copies, bids, (0, 0, 0, 0))
            batch = [(self.node, words, bids, 0, signed.r, signed.vs)] * 2
            if self.before is not None:
                batch.append(self.before)
            self._nothing_counts(round, iteration, batch)
            mine = super().sign(round, iteration, head, self.node, copies, bids, (0, 0, 0, 0))
            self.before = (self.node, words, bids, 0, mine.r, mine.vs)

    def _true_evidence(self, round: int, other: int, iteration: int) -> bytes:
        """What stands on the chain of an honest node."""
        departed = bool(self.random.integers(2))
        if not self.sealed:
            return residual_evidence(self, round, other, iteration, departed)
        proof = self.round_key(round).proof(key_in(self.declarations(round)[other].book))
        return sealed_evidence(self, round, other, iteration, departed, self.node, proof)

    def _nothing_counts(self, round: int, iteration: int, batch: Sequence[Any]) -> None:
        present = self.progress().present
        with suppress(ContractError):  # the iteration is closed
            self._send("relay", round, iteration, list(batch), gas=6_000_000)
        now = self.progress()
        if (now.round, now.iteration) == (round, iteration) and self.node in now.present - present:
            raise AssertionError(f"a batch of forged or replayed signatures counts in iteration {iteration}")
        self.refused += len(batch)

    def _tries(self, name: str, *arguments: Any) -> None:
        try:
            self._send(name, *arguments, gas=6_000_000)
        except ContractError:
            self.refused += 1
            return
        except (ValueError, TypeError) as error:
            raise AssertionError(f"{name} is no call: {error}") from error
        raise AssertionError(f"the contract took {name}{arguments}"[:300])


class HostileSettlement(Settlement):
    """Settlement in the hands of an adversary."""

    kinds: Sequence[str] = ()

    def state(self, round: int, node: int, statements: Any, openings: Any) -> Any:
        if "states nothing" in self.kinds:
            raise Gone
        changed = {partner: bytearray(entry) for partner, entry in statements.items()}
        if "states other energies" in self.kinds or "states other prices" in self.kinds:
            at = 4 if "states other energies" in self.kinds else 8
            for entry in changed.values():
                entry[at] ^= 1
            try:
                return super().state(round, node, {one: bytes(entry) for one, entry in changed.items()}, openings)
            except ContractError:  # what does not fit the bids is refused where the lower node states it
                return super().state(round, node, statements, openings)
        receipt = super().state(round, node, statements, openings)
        if "takes statements back" in self.kinds:
            for partner in statements:
                try:
                    super().state(round, node, {partner: b""}, openings)
                except ContractError:
                    continue  # recorded already
        return receipt


@dataclass
class OnChainTally(faults.FaultTally):
    """What a campaign counted besides."""

    kinds: Counter[str] = field(default_factory=Counter)
    honest_lost: int = 0
    moved: list[float] = field(default_factory=list)
    vouched: int = 0  # pairs that only one side stated, or each otherwise

    def add(self, other: faults.FaultTally) -> None:
        super().add(other)
        if isinstance(other, OnChainTally):
            self.kinds.update(other.kinds)
            self.honest_lost += other.honest_lost
            self.moved += other.moved
            self.vouched += other.vouched

    def as_json(self) -> dict[str, object]:
        return {
            "rounds": self.rounds,
            "finished_in_agreement": self.rounds_converged,
            "honest_homes_lost": self.honest_lost,
            "most_cost_moved": max(self.moved, default=0.0),
            "rounds_moved_by_more_than_0.1_percent": sum(moved > MOST_MOVED for moved in self.moved),
            "pairs_vouched_for": self.vouched,
            "money_lost_token_units": self.money_lost,
            "kinds": dict(sorted(self.kinds.items())),
            "problems": self.problems,
        }


class AdversaryCampaign(faults.FaultCampaign):
    """One deployment on which round after round is played against adversaries."""

    tolerances = None
    most_iterations = MOST_ITERATIONS
    round_seconds = 300.0

    def __init__(
        self,
        network: Network,
        scenario: Scenario,
        seed: int,
        first: int,
        phase_seconds: int = faults.PHASE_SECONDS,
        sealed: bool = False,
    ) -> None:
        self.scenario, self.sealed = scenario, sealed
        self._next = first
        super().__init__(network, seed, phase_seconds)

    def against(self, kinds: Sequence[str]) -> OnChainTally:
        """A round against adversaries: one kind each."""
        homes = [home.node for home in self._community.households]
        nodes = self._random.sample(homes, len(kinds))
        self._drawn = [Fault(kind, node, 0) for kind, node in zip(kinds, nodes, strict=True)]
        result = OnChainTally()
        self._moved = result
        result.add(self.play())
        result.kinds.update(kinds)
        return result

    def _draw(self, with_relay: bool) -> list[Fault]:
        return self._drawn

    def _life(
        self, view: NodeView, round_: int, faults_: Sequence[Fault], relay: str | None
    ) -> NodeReport | Exception | None:
        if not faults_:
            return super()._life(view, round_, (), relay)
        kinds, seed = [fault.kind for fault in faults_], self._random.randrange(2**32)
        transport = WebSocketTransport(self._url)
        web3 = Web3(transport, middleware=[])
        try:
            account = ChainAccount(web3, self._keys[view.node], replace_after=2.0)
            aggregator = HostileAggregator.of(self._record, web3, account)
            settlement = HostileSettlement.of(self._record, web3, account)
            assert isinstance(aggregator, HostileAggregator)
            assert isinstance(settlement, HostileSettlement)
            aggregator.arm(kinds, view.node, seed)
            settlement.kinds = kinds
            client = RelayClient(relay) if relay else None
            node = HostileNode(view, aggregator, settlement, client, CONFIRM_SECONDS)
            node.kind, node.seed = next((kind for kind in kinds if kind in SUBMISSIONS), "honest"), seed
            node.run(round_)
            self._unsettle(kinds, round_, view.node, settlement)
        except (Gone, GridpactError):
            pass  # what becomes of it is its own business
        except Exception as error:
            return error
        finally:
            transport.close()
        return None

    def _unsettle(self, kinds: Sequence[str], round_: int, node: int, settlement: Settlement) -> None:
        """What the settlement contract must refuse."""
        steps, key = self._community.steps, self._keys[node]
        account = settlement.account
        assert account is not None
        attempts: list[Callable[[], object]] = []
        if "forges readings" in kinds:
            attempts += [
                partial(settlement.deliver, round_, home.node, [9_000] * steps, key)
                for home in self._community.households
            ]
        if "takes what is not its own" in kinds:
            others = [home.node for home in self._community.households if home.node != node]
            attempts += [partial(settlement.withdraw, settlement.free(account.address) + 1)]
            attempts += [partial(settlement.forgive, account.address, 1)]
            attempts += [partial(settlement.publish_tariff, round_ + 1, bytes(8 * steps))]
            attempts += [partial(settlement.release, round_, other) for other in others]
        for attempt in attempts:
            before = settlement.locked(account.address)
            try:
                attempt()
            except ContractError:
                continue
            if settlement.locked(account.address) == before:  # a lock that was due is its own
                raise AssertionError(f"the contract took {attempt}")

    def _check(self, round_: int, faults_: Sequence[Fault], reports: dict[int, Any]) -> None:
        liars = [Fault("lies about residuals", fault.node, 0) for fault in faults_]  # all may be proved false
        strange = frozenset(fault.node for fault in faults_ if fault.node is not None)
        honest = {home.node for home in self._community.households} - strange
        outcome = self._manager.outcome(round_)
        if outcome.phase is not Phase.CONVERGED:
            self._tally.problems.append(f"the round ended as {outcome.phase.name.lower()}")
        else:
            lost = honest - outcome.present
            self._moved.honest_lost += len(lost)
            if lost:
                self._tally.problems.append(f"honest nodes {sorted(lost)} are not in the agreement")
            self._vouch(round_)
            self._compare(round_, honest, strange, reports)
        super()._check(round_, [*faults_, *liars], reports)
        if any(fault.kind == "corrects alone" for fault in faults_):
            self._correct_alone(round_, strange)

    def _compare(self, round_: int, honest: set[int], strange: frozenset[int], reports: dict[int, Any]) -> None:
        """What the honest pay for supply and trades, beside what they would pay without the adversaries."""
        prices, dt = self._community.prices, self._community.step_hours
        paid = 0.0
        sold = {node: np.zeros(self._community.steps) for node in honest}
        for record in self._settlement.recorded(round_):
            for node, sign in ((record.lower, 1), (record.higher, -1)):
                if node in honest:
                    for trade in record.trades:
                        sold[node][trade.step] += sign * trade.energy_wh / 1000 / dt
                        paid -= sign * trade.energy_wh * trade.price_micro / 1e9
        alone = 0.0
        for node in honest:
            report = reports.get(node)
            if not isinstance(report, NodeReport):
                return
            paid += self._bill(sold[node] - np.array(report.schedule["injection_kw"]), prices, dt)
            alone += self._bill(-np.array(self._prepared.alone[node]["injection_kw"]), prices, dt)
        reference = undisturbed(CASE, self.scenario, NetworkAgreement.DSO, strange)
        scale = max(abs(reference.cost), 0.1)
        self._moved.moved.append((paid - alone - sum(reference.paid.values())) / scale)
        if self._moved.moved[-1] > MOST_MOVED:
            self._tally.problems.append(f"cost moved by {100 * self._moved.moved[-1]:.3f} %")

    def _vouch(self, round_: int) -> None:
        """The metering account says what pairs agreed on of which not both sides state it."""
        pads = self._shown(round_) if self.sealed else None
        pairs = to_vouch(self._manager, self._settlement, round_, pads)
        metering = ChainAccount(self._web3, self._metering)
        self._rpc("anvil_setBalance", metering.address, hex(10**20))
        settlement = Settlement.of(self._record, self._web3, metering)
        settlement.send_all(
            [
                settlement.vouch_call(call.round, call.lower, call.statements, call.openings)
                for call in vouch_calls(self._manager, round_, pairs, pads)
            ]
        )
        self._moved.vouched += len(pairs)

    def _shown(self, round_: int) -> dict[tuple[int, int], Pads]:
        """What those who have stated show of a sealed round, of the pairs that wait for the others."""
        pads = {}
        for pair, who in one_sided(self._settlement, round_).items():
            node = min(who)
            own = Aggregator.of(self._record, self._web3, ChainAccount(self._web3, self._keys[node]))
            pads[pair] = shown(own, round_, node, sum(pair) - node).pads(self._manager)
        return pads

    def _audit(self, round_: int) -> Audit:
        """Of a sealed round it says of residuals of the network that somebody is false, not who."""
        audit = super()._audit(round_)
        return replace(audit, false_claims=()) if self.sealed else audit

    @staticmethod
    def _bill(net_import: Array, prices: Any, dt: float) -> float:
        price = np.where(net_import > 0, prices.import_price, prices.feed_in_price)
        return float(dt * np.sum(price * net_import))

    def _correct_alone(self, round_: int, strange: frozenset[int]) -> None:
        """One side's word changes nothing."""
        for node in sorted(strange):
            own = Settlement.of(self._record, self._web3, ChainAccount(self._web3, self._keys[node]))
            before = own.net_payment(round_, node)
            try:
                own.correct(round_, node, [50_000] * self._community.steps)
            except ContractError:
                continue
            if own.net_payment(round_, node) != before:
                self._tally.problems.append("a household's own correction counts")


def plan(rounds: int, seed: int) -> list[tuple[Scenario, tuple[str, ...]]]:
    """Every kind alone, by turns in TG and T, then pairs."""
    random = np.random.default_rng(seed)
    drawn: list[tuple[Scenario, tuple[str, ...]]] = []
    for number in range(rounds):
        scenario = (Scenario.TG, Scenario.T)[number % 2]
        if number < len(KINDS):
            drawn.append((scenario, (KINDS[number],)))
        else:
            drawn.append((scenario, tuple(str(kind) for kind in random.choice(KINDS, 2, replace=False))))
    return drawn


def campaign(
    rounds: Sequence[tuple[Scenario, tuple[str, ...]]],
    seed: int,
    show: bool = False,
    phase_seconds: int = faults.PHASE_SECONDS,
    sealed: bool = False,
) -> OnChainTally:
    """Plays rounds, on a chain for each scenario."""
    tally = OnChainTally()
    with tqdm(total=len(rounds), unit=" rounds", disable=not show) as bar:
        for scenario in dict.fromkeys(scenario for scenario, _ in rounds):
            with open_network("anvil") as network:
                played = AdversaryCampaign(network, scenario, seed, 0, phase_seconds, sealed)
                for _, kinds in (one for one in rounds if one[0] is scenario):
                    tally.add(played.against(kinds))
                    bar.update()
                tally.money_lost += played.withdraw_all()
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sealed", action="store_true", help="in the sealed form")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    drawn = plan(options.rounds, options.seed)
    if options.sealed:
        drawn.append((Scenario.T, (TOGETHER, TOGETHER)))
    tally = campaign(drawn, options.seed, show=True, sealed=options.sealed)
    text = json.dumps(tally.as_json(), indent=1)
    if options.json:
        write_atomically(options.json, text + "\n")
    print(text)
    return 1 if tally.problems or tally.money_lost else 0


if __name__ == "__main__":
    sys.exit(main())
