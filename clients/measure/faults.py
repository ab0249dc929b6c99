"""A campaign of rounds in which things go wrong: does every round end, and is all money still there?

    python -m measure.faults [--rounds 200] [--seed 1] [--phase 3] [--json reports/faults.json]

Every round draws who does what to whom from the seed: households that are silent, abstain, are slow, crash and come
back, send twice, or again, or garbage, lie about their residuals or their place, or do not settle; endpoints that lose
requests, answers or transactions; a relay that dies; a chain that is taken back. After the round everything is checked
from the chain alone (see `gridpact.node.audit`), the plan by a power flow, and the money to the last token unit.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import WebSocketTransport
from gridpact.chain.values import Phase, Residuals
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import ContractError, GridpactError
from gridpact.files import write_atomically
from gridpact.grid.powerflow import power_flow
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import Tolerances
from gridpact.market.prepared import Prepared
from gridpact.node.audit import Audit, audit_round
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient
from gridpact.relay.server import RelayServer
from gridpact.run.staging import tariff_of

CASE = "tiny3"
PHASE_SECONDS = 3
MAX_MISSES = 2
MOST_ITERATIONS = 60
TOLERANCES = Tolerances(10.0, 10.0, 10.0, 10.0)  # the money and the feasibility do not depend on the last watt
TOKENS = 10**9
REVERT_SECONDS = 0.6
CONFIRM_SECONDS = 1.0
"""Nodes wait longer for the end of a round to stand than the chain is ever taken back."""

ROUND_SECONDS = 120.0
"""After which a round counts as stalled."""

WHO = {
    "silent": "never declares",
    "abstains": "has no plan for the day and keeps out",
    "leaves": "stops in mid-round and does not come back",
    "slow": "sleeps through a phase",
    "crashes": "loses its memory and is started again",
    "crashes after sending": "loses its memory before it knows that its submission counts",
    "sends twice": "submits the same again",
    "sends the last again": "submits the iteration before once more",
    "sends garbage": "wrong lengths, lanes that overflow, random bytes",
    "lies about residuals": "claims less than what follows from the public integers",
    "lies about the tree": "declares a parent that is none",
    "does not settle": "states none of its trades",
    "states other numbers": "states more than was agreed",
    "loses its endpoint": "no request gets an answer for a while",
    "loses an answer": "a transaction is taken, the answer is not heard",
    "loses a transaction": "the endpoint acknowledges a transaction that no block will ever hold",
}
WHOLE = {
    "the chain is taken back": "rolled back, with the transactions of some seconds",
    "the relay dies": "and does not come back",
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a round; `node` is None where it concerns all."""

    kind: str
    node: int | None
    iteration: int


class Crash(Exception):
    """The node's process ends and is started again."""


class Gone(Exception):
    """The household does nothing more in this round."""


class TroubledTransport(WebSocketTransport):
    """An endpoint that can be made to fail."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.down_until = 0.0
        self.lose_answer = self.lose_transaction = False

    def _send(self, request: Any) -> Any:
        if time.monotonic() < self.down_until:
            raise ConnectionError("the endpoint is down")
        sends = isinstance(request, dict) and request["method"] == "eth_sendRawTransaction"
        if sends and self.lose_transaction:
            self.lose_transaction = False
            return {"jsonrpc": "2.0", "id": 0, "result": Web3.to_hex(Web3.keccak(hexstr=request["params"][0]))}
        answer = super()._send(request)
        if sends and self.lose_answer:
            self.lose_answer = False
            raise ConnectionError("the answer was lost")
        return answer


class TroubledAggregator(Aggregator):
    """The contract in the hands of a household to which faults happen."""

    def trouble(self, faults: Sequence[Fault], transport: TroubledTransport, seed: int) -> None:
        self.faults = list(faults)
        self.transport = transport
        self.random = random.Random(seed)
        self.sent: tuple[Any, ...] | None = None

    def _happens(self, kind: str, iteration: int) -> bool:
        """Once each."""
        for fault in self.faults:
            if fault.kind == kind and fault.iteration <= iteration:
                self.faults.remove(fault)
                return True
        return False

    def declare(self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes) -> Any:
        self._before(0)
        if self._happens("silent", 10**6):
            raise Gone
        if self._happens("abstains", 10**6):
            self.abstain(round)
            raise Gone
        if self._happens("lies about the tree", 10**6):
            others = [node for node in (1, 2, 3) if node != self.node_of(str(self.account and self.account.address))]
            return super().declare(round, self.random.choice(others), (), 2, bids, book)
        return super().declare(round, parent, children, depth, bids, book)

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> Any:
        self._before(iteration)
        if self._happens("lies about residuals", iteration) and iteration > 1:
            residuals = (max(residuals[0] - 7, 0), residuals[1], residuals[2] // 2, residuals[3] + 1)
        if self._happens("sends garbage", iteration):
            self._send_garbage(round, iteration, head, copies, bids)
        receipt = super().submit(round, iteration, head, copies, bids, residuals)
        history = int.from_bytes(head[-2:], "big")
        if self._happens("sends twice", iteration):
            self._refused(lambda: self._send("submit", round, iteration, history, list(copies), bids, 0))
        if self.sent is not None and self._happens("sends the last again", iteration):
            last = self.sent
            self._refused(lambda: self._send("submit", *last))
        self.sent = (round, iteration, history, list(copies), bids, 0)
        if self._happens("crashes after sending", iteration):
            raise Crash
        return receipt

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
        self._before(iteration)
        if self._happens("lies about residuals", iteration) and iteration > 1:
            residuals = (residuals[0] + 9, residuals[1], residuals[2], residuals[3])
        return super().sign(round, iteration, head, node, copies, bids, residuals)

    def _before(self, iteration: int) -> None:
        if self._happens("leaves", iteration):
            raise Gone
        if self._happens("crashes", iteration):
            raise Crash
        if self._happens("slow", iteration):
            time.sleep(self.random.uniform(0.5, 1.8) * self.setting().phase_seconds)
        if self._happens("loses its endpoint", iteration):
            self.transport.down_until = time.monotonic() + self.random.uniform(0.2, 1.5) * self.setting().phase_seconds
        if self._happens("loses an answer", iteration):
            self.transport.lose_answer = True
        if self._happens("loses a transaction", iteration):
            self.transport.lose_transaction = True

    def _send_garbage(self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes) -> None:
        noise, history = self.random.randbytes, int.from_bytes(head[-2:], "big")
        for arguments in (
            (round, iteration, history, [*copies, 0], bids, 0),
            (round, iteration, history, [2**256 - 1] * max(len(copies), 1), bids, 0),
            (round, iteration, history, list(copies), bids + noise(3), 0),
            (round, iteration, history ^ 1, list(copies), bids, 0),
            (round + 1, iteration, history, list(copies), bids, 0),
            (round, iteration + 1, history, list(copies), bids, 0),
        ):
            self._refused(lambda arguments=arguments: self._send("submit", *arguments))  # type: ignore[misc]
        assert self.account is not None
        parts = [(number, list(copies), noise(len(bids)), 0, noise(32), noise(32)) for number in (0, 1, 77, 200)]
        self._send("relay", round, iteration, parts, gas=3_000_000)  # nothing of it counts
        self._refused(lambda: self._send("accuse", round, 1, noise(100), gas=3_000_000))

    def _refused(self, send: Callable[[], object]) -> None:
        try:
            send()
        except ContractError:
            return
        raise AssertionError("the contract took what it must refuse")


class TroubledSettlement(Settlement):
    """Settlement by a household that does not do what it should."""

    faults: tuple[str, ...] = ()

    def state(self, round: int, node: int, statements: Any, openings: Any) -> Any:
        if "does not settle" in self.faults:
            raise Gone
        if "states other numbers" in self.faults:
            first = min(statements)
            wrong = bytearray(statements[first])
            wrong[8] ^= 1  # the price of the first entry
            statements = {**statements, first: bytes(wrong)}
        return super().state(round, node, statements, openings)


@dataclass
class FaultTally:
    """What a campaign counted."""

    rounds: int = 0
    rounds_finished: int = 0
    rounds_converged: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    money_lost: int = 0  # token units
    problems: list[str] = field(default_factory=list)

    def add(self, other: FaultTally) -> None:
        self.rounds += other.rounds
        self.rounds_finished += other.rounds_finished
        self.rounds_converged += other.rounds_converged
        self.faults.update(other.faults)
        self.money_lost += other.money_lost
        self.problems += other.problems


class FaultCampaign:
    """One deployment on which round after round is played."""

    scenario = Scenario.TG
    tolerances: Tolerances | None = TOLERANCES  # None: those of the rule
    most_iterations = MOST_ITERATIONS
    round_seconds = ROUND_SECONDS
    sealed = False

    def __init__(self, network: Network, seed: int, phase_seconds: int = PHASE_SECONDS) -> None:
        assert network.rpc_url is not None
        self._phase_seconds = phase_seconds
        self._network = network
        self._url = network.rpc_url.replace("http://", "ws://")
        self._seed, self._random = seed, random.Random(seed)
        self._web3 = network.connect()
        self._community: CommunityDay = (case := read_community(CASE)).on(case.days[0])
        self._prepared = Prepared.of(self._community, self.scenario)
        self._views = {view.node: view for view in self._prepared.views}
        self._keys = {node: new_key() for node in self._views}
        self._metering = new_key()
        self._tally = FaultTally()
        self._deploy()

    def _deploy(self) -> None:
        manager = self._network.manager(self._web3)
        negotiation = Negotiation.of(self._prepared)
        negotiation = replace(negotiation, tolerances=self.tolerances or negotiation.tolerances)
        theta, setting = terms_of(negotiation, self._phase_seconds, MAX_MISSES, self.most_iterations)
        self._supplier = ChainAccount(self._web3, new_key())
        relayer = self._relayer_key = new_key()
        metering = str(address_of(self._metering))
        self._record = deploy_contracts(
            manager, theta, setting, "faults", self._supplier.address, metering, sealed=self.sealed
        )
        addresses = {node: str(address_of(key)) for node, key in self._keys.items()}
        rich = [*addresses.values(), self._supplier.address, str(address_of(relayer))]
        self._network.fund(rich, 100 * ETHER, self._web3)
        self._manager = enrol_households(manager, self._record, addresses)
        self._owners = [*addresses.values(), self._supplier.address]
        mint_tokens(manager, self._record, self._owners, TOKENS)
        self._settlement = Settlement.of(self._record, self._web3, self._supplier)
        self._settlement.deposit(TOKENS // 2)

    # ------------------------------------------------------------------ a round

    def play(self) -> FaultTally:
        """One round with faults; returns what this round counted."""
        self._tally = FaultTally(rounds=1)
        with_relay = self._random.random() < 0.3
        faults = self._draw(with_relay)
        self._tally.faults.update(fault.kind for fault in faults)
        drawn = ", ".join(f"{fault.kind} ({fault.node}, {fault.iteration})" for fault in faults)
        drawing = f"[seed {self._seed}, round {self._manager.progress().round + 1}: {drawn}{', relayed' * with_relay}]"
        try:
            round_ = self._manager.open_round(20260701 + self._manager.progress().round)  # each a day of its own
            self._settlement.publish_tariff(round_, tariff_of(self._community.prices))
            reports = self._run_nodes(round_, faults, with_relay)
            self._check(self._manager.progress().round, faults, reports)
        except Exception as error:
            self._tally.problems.append(f"{type(error).__name__}: {error}")
            self._end_round()
        self._tally.problems = [f"{problem} {drawing}" for problem in self._tally.problems]
        return self._tally

    def _draw(self, with_relay: bool) -> list[Fault]:
        faults = []
        households = [node for node, view in self._views.items() if view.household is not None]
        for _ in range(self._random.choice((1, 1, 2, 3))):
            if self._random.random() < 0.15:
                kind, node = self._random.choice([k for k in WHOLE if with_relay or k != "the relay dies"]), None
            else:
                kind, node = self._random.choice(list(WHO)), self._random.choice(households)
            faults.append(Fault(kind, node, self._random.randint(1, 8)))
        return faults

    def _run_nodes(
        self, round_: int, faults: Sequence[Fault], with_relay: bool
    ) -> dict[int, NodeReport | Exception | None]:
        """Starts all nodes as threads and lets the faults happen. None: a household that went away by a fault."""
        reports: dict[int, NodeReport | Exception | None] = {}
        with ExitStack() as stack:
            url = None
            relaying = stack.enter_context(ExitStack())
            if with_relay:
                web3 = self._network.connect()
                account = ChainAccount(web3, self._relayer_key)
                url = relaying.enter_context(RelayServer(Aggregator.of(self._record, web3, account))).url

            def life(view: NodeView) -> None:
                reports[view.node] = self._life(view, round_, [f for f in faults if f.node == view.node], url)

            threads = [threading.Thread(target=life, args=(view,), daemon=True) for view in self._views.values()]
            for thread in threads:
                thread.start()
            for fault in sorted((f for f in faults if f.node is None), key=lambda f: f.iteration):
                self._strike(fault, relaying)
            give_up = time.monotonic() + self.round_seconds
            for thread in threads:
                thread.join(max(give_up - time.monotonic(), 0.0))
            if any(thread.is_alive() for thread in threads):
                raise TimeoutError(f"nodes still run after {self.round_seconds:g} s")
        return reports

    def _life(
        self, view: NodeView, round_: int, faults: Sequence[Fault], relay: str | None
    ) -> NodeReport | Exception | None:
        """A household's node, started again after a crash, perhaps when the round is over."""
        left, seed = list(faults), self._random.randrange(2**32)
        aggregator: TroubledAggregator | None = None
        while True:
            transport = TroubledTransport(self._url)
            web3 = Web3(transport, middleware=[])
            try:
                account = ChainAccount(web3, self._keys[view.node], replace_after=2.0)
                aggregator = TroubledAggregator.of(self._record, web3, account)
                assert aggregator is not None
                aggregator.trouble(left, transport, seed)
                settlement = TroubledSettlement.of(self._record, web3, account)
                settlement.faults = tuple(fault.kind for fault in faults)
                client = RelayClient(relay) if relay else None
                return Node(view, aggregator, settlement, client, CONFIRM_SECONDS).run(round_)
            except Gone:
                return None
            except Crash:
                assert aggregator is not None
                left = aggregator.faults
                time.sleep(0.3)
            except Exception as error:
                return error
            finally:
                if aggregator is not None:
                    aggregator.close()
                transport.close()

    def _strike(self, fault: Fault, relaying: ExitStack) -> None:
        """What happens to all at once, in mid-round."""
        now = self._manager.wait_for(lambda now: now.phase.is_final or now.iteration >= fault.iteration, 30.0)
        if now.phase.is_final:
            return
        if fault.kind == "the relay dies":
            relaying.close()
            return
        kept = self._web3.eth.block_number
        time.sleep(self._random.uniform(0.05, REVERT_SECONDS))
        # Not a snapshot: one taken while a block is mined may hold the block's state without its log.
        self._rpc("anvil_rollback", max(self._web3.eth.block_number - kept, 1))

    def _rpc(self, method: str, *arguments: Any) -> Any:
        return self._web3.provider.make_request(method, list(arguments))["result"]  # type: ignore[arg-type]

    def _end_round(self) -> None:
        """After a failure: lets the round run out, so that the next one can be opened."""
        for _ in range(self.most_iterations * MAX_MISSES):
            if not self._manager.progress().phase.is_running:
                return
            self._rpc("evm_increaseTime", 2 * self._phase_seconds)
            self._rpc("evm_mine")
            self._manager.close_overdue()

    # ------------------------------------------------------------------ after a round

    def _check(self, round_: int, faults: Sequence[Fault], reports: dict[int, Any]) -> None:
        tally = self._tally
        outcome = self._manager.outcome(round_)
        failed = {node: report for node, report in reports.items() if isinstance(report, Exception)}
        for node, error in failed.items():
            tally.problems.append(f"node {node} ended with {type(error).__name__}: {error}")
        if outcome.phase.is_final and not failed:
            tally.rounds_finished += 1
        if outcome.phase is Phase.CONVERGED:
            tally.rounds_converged += 1
            self._check_plan(reports)
        elif outcome.phase is Phase.ABANDONED:
            tally.problems.append("the round was abandoned")
        audit = self._audit(round_)
        liars = {fault.node for fault in faults if fault.kind == "lies about residuals"}
        accused = {int(claim.split()[1]) for claim in audit.false_claims}
        tally.problems += [claim for claim in audit.false_claims if int(claim.split()[1]) not in liars]
        tally.problems += [*audit.contract_errors, *audit.plan_errors]
        if outcome.phase is Phase.CONVERGED and accused & outcome.present:
            tally.problems.append(f"nodes {accused & outcome.present} lied and are in the agreement")
        self._deliver(round_, reports)
        tally.money_lost += self._missing_money(round_)

    def _audit(self, round_: int) -> Audit:
        return audit_round(self._manager, round_)

    def _check_plan(self, reports: dict[int, Any]) -> None:
        """The agreed plans, and what the others do with their supplier, by a power flow."""
        feeder, steps = self._community.feeder, self._community.steps
        p, q = np.zeros((len(feeder.lines), steps)), np.zeros((len(feeder.lines), steps))
        for row, household in enumerate(self._community.households):
            report = reports.get(household.node)
            p[row], q[row] = -household.net_load_kw, -household.load_kvar
            if isinstance(report, NodeReport):
                p[row], q[row] = report.schedule["injection_kw"], report.schedule["injection_kvar"]
        voltage = power_flow(feeder, p, q).voltage_pu
        if voltage.min() < feeder.voltage_min_pu - 1e-3 or voltage.max() > feeder.voltage_max_pu + 1e-3:
            self._tally.problems.append(f"voltages from {voltage.min():.4f} to {voltage.max():.4f} p.u.")

    def _deliver(self, round_: int, reports: dict[int, Any]) -> None:
        """Meters of the households that declared; now and then one that reads something else than planned."""
        for household in self._community.households:
            if self._manager.account_in(round_, household.node) is None:
                continue
            report = reports.get(household.node)
            plan = report.schedule["injection_kw"] if isinstance(report, NodeReport) else -household.net_load_kw
            scale = self._random.choice((1.0, 1.0, 0.8, 1.3))
            energies = [round(1000 * self._community.step_hours * scale * power) for power in plan]
            self._settlement.deliver(round_, household.node, energies, self._metering)

    def _missing_money(self, round_: int) -> int:
        """Token units that are not where they must be."""
        settlement = self._settlement
        deposits, held = settlement.total_deposits(), settlement.token.balance(settlement.address)
        accounts = sum(settlement.free(owner) + settlement.locked(owner) for owner in self._owners)
        outside = sum(settlement.token.balance(owner) for owner in self._owners)
        paid = sum(settlement.net_payment(round_, node) for node in self._views) + settlement.supplier_payment(round_)
        minted = TOKENS * len(self._owners)
        return abs(minted - outside - held) + abs(held - deposits) + abs(held - accounts) + abs(paid)

    def withdraw_all(self) -> int:
        """Everybody takes its money home; returns the token units that did not come out."""
        self._rpc("evm_increaseTime", 10 * self._phase_seconds)
        self._rpc("evm_mine")
        for node, key in self._keys.items():
            account = ChainAccount(self._web3, key)
            own = Settlement.of(self._record, self._web3, account)
            for round_ in range(1, self._manager.progress().round + 1):
                for partner in self._views:
                    if own.locked(account.address) and partner != node:
                        try:
                            own.release(round_, partner)
                        except ContractError as error:
                            if error.name not in ("NothingLocked", "NotEnrolled"):
                                raise
            if (free := own.free(account.address)) > own.arrears(account.address):
                own.withdraw(free - own.arrears(account.address))
        if rest := self._settlement.free(self._supplier.address):
            self._settlement.withdraw(rest)
        return int(self._settlement.token.balance(self._settlement.address))


def shard(arguments: tuple[int, int, int]) -> FaultTally:
    """Plays a number of rounds from a seed, with phases of some seconds, on a chain of its own."""
    seed, rounds, phase_seconds = arguments
    logging.disable(logging.WARNING)
    tally = FaultTally()
    with open_network("anvil") as network:
        campaign = FaultCampaign(network, seed, phase_seconds)
        for _ in range(rounds):
            tally.add(campaign.play())
        tally.money_lost += campaign.withdraw_all()
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m measure.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", type=int, default=10, help="rounds on one deployment")
    parser.add_argument(
        "--phase", type=int, default=PHASE_SECONDS, metavar="S", help=f"time for an iteration; default {PHASE_SECONDS}"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    counts = [arguments.shard] * (arguments.rounds // arguments.shard)
    counts += [arguments.rounds % arguments.shard] * (arguments.rounds % arguments.shard > 0)
    jobs = [(arguments.seed * 10_000 + number, count, arguments.phase) for number, count in enumerate(counts)]
    tally = FaultTally()
    with (
        multiprocessing.get_context("spawn").Pool() as pool,
        tqdm(total=arguments.rounds, unit=" rounds", desc="Faults") as bar,
    ):
        for part in pool.imap_unordered(shard, jobs):
            tally.add(part)
            bar.update(part.rounds)
            for problem in part.problems:
                bar.write(problem)
    injected = sum(tally.faults.values())
    print(f"rounds           {tally.rounds}")
    print(f"faults injected  {injected}")
    for kind, count in sorted(tally.faults.items()):
        print(f"    {count:4d}  {kind}: {(WHO | WHOLE)[kind]}")
    print(f"rounds finished  {tally.rounds_finished}, {tally.rounds_converged} of them with an agreement")
    print(f"money lost       {tally.money_lost}")
    print(f"problems         {len(tally.problems)}")
    if arguments.json:
        values = {
            "rounds": tally.rounds,
            "faults_injected": injected,
            "rounds_finished": tally.rounds_finished,
            "rounds_converged": tally.rounds_converged,
            "money_lost": tally.money_lost,
            "problems": len(tally.problems),
            "seed": arguments.seed,
            "faults": dict(sorted(tally.faults.items())),
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.json, json.dumps(values, indent=1) + "\n")
    failed = tally.rounds_finished < tally.rounds or tally.money_lost or tally.problems
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GridpactError as error:
        sys.exit(f"gridpact: {error}")
