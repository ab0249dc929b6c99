"""Nodes to which things happen: tiny3 in TG on Anvil, a round a test, everything as it would be but for one fault.

Nodes run as threads, each with a connection of its own. After every round deliveries are settled, the round is audited
from the chain alone, and the money is counted.

No phase ends by the clock of this machine, however slow it is: a phase is an hour, and an hour passes, on the chain and
for the nodes, once nobody is missed but who is silent. So a test can tell which phases were waited out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from waiting import SECONDS
from web3 import Web3

import gridpact.chain.aggregator_watch
import gridpact.node.exchange
from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase, Roster, RoundOutcome, Setting, Theta
from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.node.audit import Audit, audit_round
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views
from gridpact.relay.client import RelayClient
from gridpact.relay.server import RelayServer
from gridpact.run.staging import tariff_of
from measure import faults
from measure.faults import WHO, WHOLE, Crash, Fault, Gone, TroubledSettlement, TroubledTransport

ALL = frozenset({0, 1, 2, 3})
TOKENS = 10**9
ROUND_SECONDS = 300.0  # until a test gives up: a hundred times what a round takes
PHASE_SECONDS = 3600
CONFIRM_SECONDS = 0.3

PATIENT_RELAY = f"""
import sys
from gridpact.cli import main
from gridpact.relay import board
board.CATCH_UP_SECONDS = {SECONDS}  # a busy machine is no fault
sys.exit(main())
"""

Event = Callable[["TroubledAggregator", int], None]
"""What happens before a node declares (iteration 0) or submits."""


class TroubledAggregator(faults.TroubledAggregator):
    """As in a campaign, but what happens is told by the test."""

    event: Event | None = None
    played: Round

    def elapsed(self) -> float:
        return super().elapsed() + self.played.passed

    def _before(self, iteration: int) -> None:
        super()._before(iteration)
        if self.event is not None:
            self.event(self, iteration)


@dataclass
class Round:
    """A round, and what became of the nodes."""

    street: Street
    number: int
    reports: dict[int, NodeReport | Exception | None] = field(default_factory=dict)  # None: the household went away
    nodes: dict[int, Node] = field(default_factory=dict)  # the last life of each
    asleep: dict[int, int] = field(default_factory=dict)  # in which iteration
    passed: float = 0.0  # by which the nodes' clock is ahead of this machine's, s
    waited_out: list[int] = field(default_factory=list)  # iterations (0: the declarations) that ended by the clock
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def outcome(self) -> RoundOutcome:
        return self.street.manager.outcome(self.number)

    def report(self, node: int) -> NodeReport:
        report = self.reports[node]
        assert isinstance(report, NodeReport), report
        return report

    def memory(self, node: int) -> Any:
        """What a node holds when it has ended."""
        memory = self.nodes[node]._follower.memory
        assert memory is not None
        return memory

    def misses(self) -> dict[int, int]:
        """Of those who missed an iteration."""
        misses = {node: self.street.manager.declaration(node).misses for node in ALL}
        return {node: count for node, count in misses.items() if count}

    def pass_time(self, seconds: int) -> None:
        """On the chain, and for the nodes."""
        self.street.rpc("evm_increaseTime", seconds)
        self.street.rpc("evm_mine")
        self.passed += seconds

    def watch(self) -> None:
        """Lets half a phase pass, after which the operator's node answers who is there, once it waits for the silent
        alone, and the other half once all but the silent have done what they have to do."""
        watch = self.street.watch
        halved = ended = None
        while not self.over.wait(0.02):
            now = watch.progress()
            if not now.phase.is_running or now.round != self.number:
                continue
            expected = ALL if now.phase is Phase.DECLARING else watch.roster().active
            asleep = {node for node, iteration in self.asleep.items() if iteration == now.iteration}
            missing, silent, place = expected - now.present, asleep | self.reports.keys(), now.place
            if place != watch.progress().place or not missing & silent:
                continue
            if missing - {0} <= silent and place != halved:
                halved = place
                self.pass_time(PHASE_SECONDS // 2)
            elif missing <= silent and place != ended:
                ended = place
                self.waited_out.append(now.iteration)
                self.pass_time(PHASE_SECONDS // 2 + 2)

    def audit(self) -> Audit:
        return audit_round(self.street.manager, self.number)

    def recorded(self) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
        """The recorded trades by pair: step, energy, price."""
        records = self.street.settlement.recorded(self.number)
        return {(r.lower, r.higher): sorted((t.step, t.energy_wh, t.price_micro) for t in r.trades) for r in records}

    def events(self, name: str) -> list[Any]:
        """Events of the aggregator in this round."""
        manager, record = self.street.manager, self.street.record
        contract = manager.web3.eth.contract(manager.address, abi=record.aggregator_abi)  # type: ignore[call-overload]
        found = contract.events[name]().get_logs(from_block=record.block)
        return [event for event in found if event["args"]["round"] == self.number]


class Street:
    """Four nodes and their supplier, on contracts of their own."""

    def __init__(self, network: Network, day: CommunityDay, max_misses: int) -> None:
        self.network, self.day = network, day
        self.views = {view.node: view for view in node_views(day, Scenario.TG, NetworkAgreement.DSO)}
        self.keys = {node: new_key() for node in self.views}
        self.accounts = {node: str(address_of(key)) for node, key in self.keys.items()}
        self.metering = new_key()
        web3 = network.connect()
        manager, self.supplier = network.manager(web3), ChainAccount(web3, new_key())
        resolution, penalties = Resolution(), Penalties.of_community(day, baseline_net_kw(day))
        # 12 iterations; nothing here depends on the last watt.
        eps = Tolerances(10.0, 10.0, 10.0, 10.0).on_chain(resolution)
        theta = Theta(len(self.views), *penalties.on_chain(), *eps, 60)
        setting = Setting(4, 6 * 3600, *resolution.on_chain(), PHASE_SECONDS, max_misses)
        metering = str(address_of(self.metering))
        self.record = deploy_contracts(manager, theta, setting, "anvil", self.supplier.address, metering)
        self.owners = [*self.accounts.values(), self.supplier.address]
        network.fund(self.owners, ETHER, web3)
        self.manager = enrol_households(manager, self.record, self.accounts)
        mint_tokens(manager, self.record, self.owners, TOKENS)
        self.settlement = Settlement.of(self.record, web3, self.supplier)
        self.settlement.deposit(TOKENS)
        self.watch = Aggregator.of(self.record, network.connect())

    def rpc(self, method: str, *arguments: Any) -> Any:
        return self.watch.web3.provider.make_request(method, list(arguments))["result"]  # type: ignore[arg-type]

    def play(
        self, events: Mapping[int, Event] | None = None, faults: Sequence[Fault] = (), relay: str | None = None
    ) -> Round:
        """A round from its opening until every node has ended.

        Args:
            events, faults: what happens to whom.
            relay: address of a relay that all nodes use.
        """
        give_up = time.monotonic() + ROUND_SECONDS
        number = self.manager.open_round(20260701 + self.manager.progress().round)  # each round a day of its own
        self.settlement.publish_tariff(number, tariff_of(self.day.prices))
        played = Round(self, number)

        def live(view: NodeView) -> None:
            own = [fault for fault in faults if fault.node == view.node]
            played.reports[view.node] = self._life(played, view, (events or {}).get(view.node), own, relay)

        threads = [threading.Thread(target=live, args=(view,), daemon=True) for view in self.views.values()]
        for thread in threads:
            thread.start()
        watch = threading.Thread(target=played.watch, daemon=True)
        watch.start()
        for thread in threads:
            thread.join(max(give_up - time.monotonic(), 0.0))
        played.over.set()
        watch.join()
        assert not any(thread.is_alive() for thread in threads), f"the round does not end: {self.manager.progress()}"
        return played

    def _life(
        self, played: Round, view: NodeView, event: Event | None, own: list[Fault], relay: str | None
    ) -> NodeReport | Exception | None:
        """A household's node, started again after a crash."""
        while True:
            with ExitStack() as stack:
                transport = TroubledTransport(str(self.network.rpc_url).replace("http://", "ws://"))
                stack.callback(transport.close)
                account = ChainAccount(Web3(transport, middleware=[]), self.keys[view.node], remind_after=0.5)
                aggregator = TroubledAggregator.of(self.record, account.web3, account)
                assert isinstance(aggregator, TroubledAggregator)
                stack.callback(aggregator.close)
                aggregator.event, aggregator.played = event, played
                aggregator.trouble(own, transport, seed=1)
                settlement = TroubledSettlement.of(self.record, account.web3, account)
                settlement.faults = tuple(fault.kind for fault in own)  # type: ignore[attr-defined]
                client = RelayClient(relay, timeout=SECONDS) if relay else None
                node = played.nodes[view.node] = Node(view, aggregator, settlement, client, CONFIRM_SECONDS)
                try:
                    return node.run()
                except Gone:
                    return None
                except Crash:
                    own = aggregator.faults
                except Exception as error:
                    return error

    def deliver(self, played: Round) -> None:
        """Meters read what was planned; of those who went away, their load."""
        for household in self.day.households:
            if self.manager.account_in(played.number, household.node) is not None:
                report = played.reports[household.node]
                plan = report.schedule["injection_kw"] if isinstance(report, NodeReport) else -household.net_load_kw
                energies = [round(6000 * power) for power in plan]
                self.settlement.deliver(played.number, household.node, energies, self.metering)


Build = Callable[..., Street]


@pytest.fixture
def street(anvil: Network, tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds a street. Nodes look around twice a second, so that a deadline is not overslept."""
    monkeypatch.setattr(gridpact.chain.aggregator_watch, "LOOK_SECONDS", 0.5)
    return lambda max_misses=2: Street(anvil, tiny3, max_misses)


def check_agreement(played: Round, among: frozenset[int]) -> None:
    """Exactly these nodes agreed; both partners of each pair say the same, and that is recorded and paid."""
    assert (played.outcome.phase, played.outcome.present) == (Phase.CONVERGED, among)
    agreed = {node for node, report in played.reports.items() if isinstance(report, NodeReport) and report.agreed}
    assert agreed == among
    said = {
        (min(node, partner), max(node, partner), node): sorted(entries)
        for node in among
        for partner, entries in played.report(node).statements.items()
    }
    recorded = played.recorded()
    assert recorded
    assert said == {(*pair, node): trades for pair, trades in recorded.items() for node in pair}


def check_prices(played: Round) -> None:
    """Both partners of a pair hold the same prices, to the last bit; all know the same history."""
    prices = {}
    for node in ALL:
        memory, start = played.memory(node), 0
        assert memory.head == played.outcome.head
        for partner in memory.agent.view.partners:
            prices[node, partner.node] = memory.agent.trades.price[start : start + len(partner.steps)].tolist()
            start += len(partner.steps)
    assert prices
    for (node, partner), own in prices.items():
        assert prices[partner, node] == own


def check_fallback(played: Round, nodes: frozenset[int]) -> None:
    """These households do what they would do without neighbours."""
    alone = baseline_net_kw(played.street.day)
    for node in nodes:
        report = played.report(node)
        assert not report.agreed
        assert report.statements == {}
        assert report.schedule["injection_kw"] == alone[node - 1].tolist()


def check_clean(played: Round) -> None:
    """The round is as it must be, and after the deliveries every token unit is where it must be."""
    audit, street = played.audit(), played.street
    assert audit.iterations == played.outcome.iterations
    assert (audit.false_claims, audit.contract_errors, audit.plan_errors) == ((), (), ())
    check_money(played, street)


def check_money(played: Round, street: Street) -> None:
    """Payments sum to zero, and the tokens are where the contract says."""
    street.deliver(played)
    settlement, owners = street.settlement, street.owners
    paid = sum(settlement.net_payment(played.number, node) for node in ALL)
    assert paid + settlement.supplier_payment(played.number) == 0
    deposits = sum(settlement.free(owner) + settlement.locked(owner) for owner in owners)
    assert deposits == settlement.total_deposits() == settlement.token.balance(settlement.address)
    assert deposits + sum(settlement.token.balance(owner) for owner in owners) == TOKENS * len(owners)


def at(iteration: int, happens: Callable[[TroubledAggregator], object]) -> Event:
    """Once, the first time that the node is to submit in this iteration (0: to declare), or a later one."""
    done = []

    def event(aggregator: TroubledAggregator, now: int) -> None:
        if now >= iteration and not done:
            done.append(now)
            happens(aggregator)

    return event


def leave(aggregator: TroubledAggregator) -> None:
    raise Gone


def crash(aggregator: TroubledAggregator) -> None:
    raise Crash


def oversleep(aggregator: TroubledAggregator) -> None:
    """Until the others have gone on."""
    assert aggregator.account is not None
    now, node = aggregator.progress().iteration, aggregator.node_of(aggregator.account.address)
    aggregator.played.asleep[node] = now
    aggregator.wait_until(lambda progress: progress.iteration > now, 10 * PHASE_SECONDS)


def lose_endpoint(aggregator: TroubledAggregator) -> None:
    """No request gets through for a second."""
    aggregator.transport.down_until = time.monotonic() + 1.0


def test_nothingHappens(street: Build) -> None:
    played = street().play()
    check_agreement(played, ALL)
    check_prices(played)
    assert played.misses() == {}
    check_clean(played)


# ---------------------------------------------------------------------- silence


def test_household_neverDeclares(street: Build) -> None:
    """The round begins without it, after one phase."""
    played = street().play({3: at(0, leave)})
    check_agreement(played, ALL - {3})
    assert played.street.manager.account_in(played.number, 3) is None
    assert played.waited_out == [0]
    check_clean(played)


def test_household_abstains(street: Build) -> None:
    """The round begins without it, at once; its meter is settled all the same."""
    played = street().play(faults=[Fault("abstains", 3, 0)])
    check_agreement(played, ALL - {3})
    assert played.street.manager.abstained(played.number) == {3}
    assert played.street.manager.account_in(played.number, 3) is not None
    assert played.waited_out == []
    check_clean(played)
    assert played.street.settlement.delivery(played.number, 3) is not None


def test_household_leaves(street: Build) -> None:
    """Two iterations are closed without it, then it is out; the others trade with each other."""
    played = street().play({3: at(4, leave)})
    check_agreement(played, ALL - {3})
    assert played.misses() == {3: 2}
    (out,) = (event["args"] for event in played.events("Excluded"))
    assert (out["node"], out["iteration"], out["proved"]) == (3, 5, False)
    assert played.waited_out == [4, 5]
    check_clean(played)


def test_household_isSlowAndReturns(street: Build) -> None:
    played = street().play({1: at(4, oversleep)})
    check_agreement(played, ALL)
    assert played.misses() == {1: 1}
    assert played.waited_out == [4]
    assert played.events("Excluded") == []
    check_clean(played)


@pytest.mark.parametrize("iteration", [0, 4])
def test_operatorsNode_isSilent(street: Build, iteration: int) -> None:
    """Nothing can be agreed on without it: the round is abandoned, and everybody stays with its supplier."""
    played = street(max_misses=1).play({0: at(iteration, leave)})
    assert (played.outcome.phase, played.outcome.iterations) == (Phase.ABANDONED, iteration)
    assert played.waited_out == [iteration]
    check_fallback(played, ALL - {0})
    assert played.recorded() == {}
    check_clean(played)


# ---------------------------------------------------------------------- crashes, and lines that are cut


def test_household_crashes(street: Build) -> None:
    """One before it submits, another before it hears that its submission counts: both stand where they stood."""
    played = street().play({1: at(4, crash)}, [Fault("crashes after sending", 2, 6)])
    check_agreement(played, ALL)
    check_prices(played)
    assert played.misses() == {}
    check_clean(played)


def test_transaction_isLost(street: Build) -> None:
    """Acknowledged, but in no block and in no mempool: it is sent again."""
    played = street().play(faults=[Fault("loses a transaction", node, 4) for node in (1, 2, 3)])
    check_agreement(played, ALL)
    assert played.misses() == {}
    assert played.waited_out == []
    check_clean(played)


def test_answer_isLost(street: Build) -> None:
    """The chain has the transaction, and the household sends it again: it counts once."""
    played = street().play(faults=[Fault("loses an answer", node, 4) for node in ALL])
    check_agreement(played, ALL)
    assert played.misses() == {}
    assert len(played.events("Submitted")) == len(ALL) * played.outcome.iterations
    check_clean(played)


def test_endpoint_isAway(street: Build) -> None:
    """Of one household while it is to submit, and of the operator's node: they wait, and so do the others."""
    played = street().play({0: at(6, lose_endpoint), 3: at(4, lose_endpoint)})
    check_agreement(played, ALL)
    assert played.misses() == {}
    check_clean(played)


def test_log_isBehindTheState(street: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that see that the round has started before they find it in the log do not believe to be out of it."""
    read, asked = Aggregator.started, Counter[Aggregator]()

    def behind(self: Aggregator, round: int) -> Roster | None:
        asked[self] += 1
        return None if asked[self] < 3 else read(self, round)

    monkeypatch.setattr(Aggregator, "started", behind)
    played = street().play()
    check_agreement(played, ALL)
    assert played.misses() == {}


# ---------------------------------------------------------------------- the relay


def transactions(played: Round) -> list[int]:
    """How many transactions submitted, by iteration."""
    found: dict[int, set[bytes]] = defaultdict(set)
    for event in played.events("Submitted"):
        found[event["args"]["iteration"]].add(bytes(event["transactionHash"]))
    return [len(found[iteration]) for iteration in sorted(found)]


def test_relay_dies(street: Build, anvil: Network, tmp_path: Path) -> None:
    """One transaction an iteration until it is killed; then the nodes send for themselves. Those whose submission died
    with it notice after half a phase."""
    built, key = street(), new_key()
    built.record.write(tmp_path / "contracts.json")
    (tmp_path / "key").write_text(key)
    anvil.fund([address_of(key)], ETHER)
    files = ["--contracts", str(tmp_path / "contracts.json"), "--key-file", str(tmp_path / "key")]
    command = ["relay", *files, "--port", "0", "--rpc", str(anvil.rpc_url)]
    with subprocess.Popen(
        [sys.executable, "-c", PATIENT_RELAY, *command], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3].rstrip(";")

            def kill(aggregator: TroubledAggregator) -> None:
                process.kill()
                process.wait()
                aggregator.played.passed += PHASE_SECONDS  # for the nodes only: no phase of the chain is over

            played = built.play({1: at(5, kill)}, relay=url)
        finally:
            process.kill()
    check_agreement(played, ALL)
    assert played.misses() == {}
    assert transactions(played)[:4] == [1, 1, 1, 1]
    assert set(transactions(played)[4:]) == {len(ALL)}
    check_clean(played)


def test_relay_withholds(street: Build, anvil: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on taking submissions, but brings none to the chain: nodes wait for a part of a phase, no longer."""
    monkeypatch.setattr(gridpact.node.exchange, "LAST_CALL", 1.0 / PHASE_SECONDS)
    built = street()
    account = ChainAccount(anvil.connect(), new_key())
    anvil.fund([account.address], ETHER)
    aggregator = Aggregator.of(built.record, account.web3, account)
    with RelayServer(aggregator) as relay:
        played = built.play({1: at(11, lambda _: relay.__exit__(None, None, None))}, relay=relay.url)
    check_agreement(played, ALL)
    assert played.misses() == {}
    check_clean(played)


# ---------------------------------------------------------------------- lies


def test_liar_isExcluded(street: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another node proves it, at once: the others agree, the liar stays with its supplier. An audit tells it."""
    played = street().play(faults=[Fault("lies about residuals", 3, 4)])
    check_agreement(played, ALL - {3})
    (out,) = (event["args"] for event in played.events("Excluded"))
    assert (out["node"], out["proved"]) == (3, True)
    # 5, unless submissions overtake the accusation, and the evidence has to be put together anew.
    assert 5 <= out["iteration"] < played.outcome.iterations
    check_fallback(played, frozenset({3}))
    audit = played.audit()
    assert [claim.split(" claims ")[0] for claim in audit.false_claims] == ["node 3"]
    assert (audit.contract_errors, audit.plan_errors) == ((), ())
    check_money(played, played.street)

    played.street.record.write(tmp_path / "contracts.json")
    url = str(played.street.network.rpc_url)
    assert main(["audit", "--contracts", str(tmp_path / "contracts.json"), "--rpc", url]) == 1
    said = capsys.readouterr().out
    assert said.startswith("gridpact: node 3 claims residuals ")
    assert "see above" in said


def test_falsePlace_hurtsItsAuthorOnly(street: Build) -> None:
    """It names a parent that does not know it: the round begins without it, and without delay."""
    played = street().play(faults=[Fault("lies about the tree", 3, 0)])
    check_agreement(played, ALL - {3})
    assert played.street.manager.roster().nodes == ALL - {3}
    assert played.waited_out == []
    check_fallback(played, frozenset({3}))
    check_clean(played)


@pytest.mark.parametrize(
    ("kind", "without"), [("does not settle", {1, 3}), ("states other numbers", {1})], ids=["nothing", "other numbers"]
)
def test_seller_doesNotStateWhatWasAgreed(
    street: Build,
    kind: str,
    without: set[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of these trades is recorded or paid, and what the buyers locked comes back."""
    built = street()
    played = built.play(faults=[Fault(kind, 2, 0)])
    assert played.outcome.phase is Phase.CONVERGED
    assert {node for pair in played.recorded() for node in pair} - {2} == {1, 3} - without
    built.record.write(tmp_path / "contracts.json")
    place = ["--contracts", str(tmp_path / "contracts.json"), "--rpc", str(built.network.rpc_url)]
    for node in without:
        account = ChainAccount(built.network.connect(), built.keys[node])
        own = Settlement.of(built.record, account.web3, account)
        assert own.net_payment(played.number, node) == 0
        assert own.locked(account.address) > 0
        monkeypatch.setenv("GRIDPACT_MANAGER_KEY", built.keys[node])
        release = ["deposit", "release", "--round", str(played.number), "--yes", *place]
        if node == min(without):
            assert main(release) == 2
            assert f"The partners of node {node} may still state their trades" in capsys.readouterr().err
        built.rpc("evm_increaseTime", PHASE_SECONDS + 1)
        built.rpc("evm_mine")
        assert main(release) == 0
        assert "0.0000 locked" in capsys.readouterr().out
        assert own.locked(account.address) == 0
        assert main(release) == 2
        assert f"Nothing of node {node} is locked in round {played.number}" in capsys.readouterr().err
    check_clean(played)


# ---------------------------------------------------------------------- a chain that is taken back


def test_chain_isTakenBack(street: Build) -> None:
    """Three iterations never happened: everybody reads anew and goes on, the operator's node as well."""
    built = street()
    kept: list[int] = []

    def keep(aggregator: TroubledAggregator) -> None:
        kept.append(aggregator.web3.eth.block_number)

    def revert(aggregator: TroubledAggregator) -> None:
        built.rpc("anvil_rollback", aggregator.web3.eth.block_number - kept[0])

    played = built.play({2: at(4, keep), 3: at(7, revert)})
    check_agreement(played, ALL)
    check_prices(played)
    assert played.misses() == {}
    check_clean(played)


# ---------------------------------------------------------------------- all of it at once


def test_campaign_ofTwoRounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of those drawn nobody is silent, so that no phase is waited out, and a long one costs nothing."""
    of_seed = ["--rounds", "2", "--shard", "1", "--seed", "33", "--phase", "3600"]
    assert faults.main([*of_seed, "--json", str(tmp_path / "faults.json")]) == 0
    told = json.loads((tmp_path / "faults.json").read_text())
    assert (told["rounds"], told["rounds_finished"], told["money_lost"], told["problems"]) == (2, 2, 0, 0)
    assert told["faults_injected"] == sum(told["faults"].values()) >= 2
    assert set(told["faults"]) <= set(WHO | WHOLE) - {"silent", "leaves", "slow", "loses its endpoint"}
    assert "money lost       0" in capsys.readouterr().out
