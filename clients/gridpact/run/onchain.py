"""The main job: one day of a community, agreed on a chain, settled, checked and reported."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import EMBEDDED, ETHER, Network, open_network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import ClosedIteration, Delivery, Phase, Progress, TradeRecord
from gridpact.community.model import GRID_CONNECTION, CommunityDay
from gridpact.errors import InputError
from gridpact.events import SILENT, Listener, RoundEnded, Stage
from gridpact.files import write_atomically
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import Resolution
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.admm.register import MOST_MISSES
from gridpact.market.admm.residuals import rms_w
from gridpact.market.agreement import Agreement, Convergence, Trade
from gridpact.market.prepared import Prepared
from gridpact.market.registry import market_of
from gridpact.node.household_file import write_view
from gridpact.node.report import NodeReport
from gridpact.outcome.outcome import Ledger, Optimum, Outcome, outcome_of
from gridpact.problem.scenario import NetworkAgreement, Scenario, is_sealable
from gridpact.problem.view import NodeView
from gridpact.relay.server import RelayServer
from gridpact.run.following import happened
from gridpact.run.launch import NodeFiles, Nodes, running_nodes, warm_up
from gridpact.run.market import run_market
from gridpact.run.staging import TEST_TOKENS, TOKEN_DECIMALS, day_label
from gridpact.run.supplying import StagedSuppliers

Spectator = Callable[[Record, Network], AbstractContextManager[object]]
"""Looks on from the deployment until all is settled."""


def nobody(record: Record, network: Network) -> AbstractContextManager[object]:
    """Looks on."""
    return nullcontext()


@dataclass(frozen=True)
class RunSettings:
    """What a run does."""

    scenario: Scenario = Scenario.TG
    agreement: NetworkAgreement = NetworkAgreement.DSO
    chain: str = "anvil"
    most_iterations: int = MOST_ITERATIONS
    resolution: Resolution | None = None  # the least of powers; None: what fits
    phase_seconds: int = 300
    max_misses: int = MOST_MISSES  # iterations that a silent node may miss before it is out
    relay: bool = False  # signed submissions in one transaction an iteration, instead of a transaction each
    sealed: bool | None = None  # whether submissions are read by those only whom they concern; None: where that can be
    record: Path | None = None  # where to leave the record of the deployment too, on a chain that goes on

    def __post_init__(self) -> None:
        if self.sealed and not is_sealable(self.scenario, self.agreement):
            raise InputError(
                "a round between neighbours cannot be sealed, since voltages have more than two holders: agree with the"
                " grid operator's node (dso), or in the open form"
            )

    @property
    def seals(self) -> bool:
        """Whether the round is sealed."""
        return is_sealable(self.scenario, self.agreement) if self.sealed is None else self.sealed


def run(
    community: CommunityDay, settings: RunSettings, listener: Listener = SILENT, spectator: Spectator = nobody
) -> Outcome:
    """Runs a day of a community from deployment to settlement, and checks it.

    Raises:
        InfeasibleError: no plan keeps all limits on this day; raised before a chain is started.
        GridpactError: a node or the chain failed; all processes are ended.
    """
    if settings.chain != EMBEDDED:
        warm_up()  # while this process solves
    if market_of(settings.scenario).contract:
        return run_market(community, settings.scenario, settings.chain, settings.phase_seconds, listener=listener)
    listener.hear(Stage(f"Solving {community.name} on {community.day} in one place, to compare with"))
    prepared = Prepared.of(community, settings.scenario, settings.agreement)  # names a household that has no plan
    optimum = Optimum.of(community, settings.scenario)
    views, negotiation = prepared.views, Negotiation.of(prepared, settings.resolution)

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gridpact-") as folder:
        listener.hear(Stage(f"Starting the chain ({settings.chain}) and deploying the contracts"))
        with open_network(settings.chain) as network:
            office = _RoundOffice(network, community, settings, negotiation)
            office.deploy()
            with spectator(office.record, network), office.relaying() as relay:
                files = office.equip(views, Path(folder), relay.url if relay else None)
                kind = "thread" if network.rpc_url is None else "process"
                listener.hear(Stage(f"Starting {len(views)} nodes, each a {kind}"))
                office.open_round()
                with running_nodes(files, network) as nodes:
                    office.follow(nodes, listener)
                    trades = settings.scenario.has_trades
                    listener.hear(Stage("Settling the trades" if trades else "Waiting for the nodes to end"))
                    while nodes.running:
                        nodes.check()
                        time.sleep(0.05)
                    nodes.check()
                reports = {view.node: NodeReport.read(item.report) for view, item in zip(views, files, strict=True)}
                for record in (records := office.records()):
                    listener.hear(record)
                if settings.scenario.has_trades:
                    listener.hear(Stage("Settling deliveries, as planned, with the supplier"))
                    for delivery in office.deliver({node: report.schedule for node, report in reports.items()}):
                        listener.hear(delivery)
            closed = office.closed_round(records)
    agreed = _agreed(community, reports, closed)
    ledger = _ledger(settings, reports, closed, time.perf_counter() - started)
    return outcome_of(prepared, agreed, optimum, settings.chain, ledger)


@dataclass(frozen=True)
class _ClosedRound:
    """What the chain says after a round."""

    phase: Phase
    iterations: int
    convergence: Convergence
    records: Sequence[TradeRecord]
    token_unit: float  # currency
    net_payments: dict[int, int]  # token units, received by households, from neighbours and the supplier
    supplier_received: int  # token units
    gas: Counter[str]  # the manager's, by what it was used for
    transactions: int


class _RoundOffice:
    """The community manager's side of a run: it deploys, enrols and opens the round, and has no say in it."""

    def __init__(
        self, network: Network, community: CommunityDay, settings: RunSettings, negotiation: Negotiation
    ) -> None:
        self._network = network
        self._community = community
        self._settings = settings
        self._negotiation = negotiation
        self._web3 = network.connect()
        self._manager = network.manager(self._web3)
        self._gas: Counter[str] = Counter()
        self._spent = 0  # by the manager, gas
        self._transactions = 0  # of the relay and the supplier
        self._round = 0
        self._suppliers = StagedSuppliers(community, network)

    def deploy(self) -> None:
        settings = self._settings
        theta, setting = terms_of(
            self._negotiation, settings.phase_seconds, settings.max_misses, settings.most_iterations
        )
        roles = self._suppliers.common.address, self._suppliers.metering.address
        self.record = deploy_contracts(self._manager, theta, setting, self._network.name, *roles, sealed=settings.seals)
        self._spend("deploy")

    @contextmanager
    def relaying(self) -> Iterator[RelayServer | None]:
        """A relay with an account of its own, where the settings ask for one."""
        if not self._settings.relay:
            yield None
            return
        web3 = self._network.connect()
        self._relayer = ChainAccount(web3, new_key())
        self._network.fund([self._relayer.address], ETHER, self._web3)
        with RelayServer(Aggregator.of(self.record, web3, self._relayer)) as relay:
            yield relay
        self._gas["submit"] += self._relayer.gas_used
        self._transactions += self._relayer.transactions

    def equip(self, views: Sequence[NodeView], folder: Path, relay: str | None) -> list[NodeFiles]:
        """Gives every node its folder with key and household file, ether and test tokens; enrols all."""
        record = folder / "contracts.json"
        self.record.write(record)
        if self._settings.record is not None:
            self.record.write(self._settings.record)
        keys = {view.node: new_key() for view in views}
        files = []
        for view in views:
            item = NodeFiles(folder / f"node-{view.node:02d}", record, relay)
            write_view(view, item.household)
            write_atomically(item.key, keys[view.node] + "\n", mode=0o600)
            files.append(item)
        addresses = {node: str(address_of(key)) for node, key in keys.items()}
        self._network.fund(list(addresses.values()), ETHER, self._web3)
        self._aggregator = enrol_households(self._manager, self.record, addresses)
        self._addresses = addresses
        self._spend("enrol")
        if self._settings.scenario.has_trades:
            self._network.fund(self._suppliers.addresses, ETHER, self._web3)
            gas, transactions = self._suppliers.admit(self._settlement, keys)
            self._gas["enrol"] += gas
            self._transactions += transactions
            owners = [*self._suppliers.addresses, *(addresses[view.node] for view in views if view.partners)]
            mint_tokens(self._manager, self.record, owners, TEST_TOKENS * 10**TOKEN_DECIMALS)
            self._spend("test tokens")
        return files

    def open_round(self) -> None:
        self._round = self._aggregator.open_round(day_label(self._community.day))
        self._spend("enrol")
        if self._settings.scenario.has_trades:
            self._suppliers.publish(self._settlement, self._round, TEST_TOKENS * 10**TOKEN_DECIMALS)

    def _settlement(self, account: ChainAccount) -> Settlement:
        return Settlement.of(self.record, self._web3, account)

    def deliver(self, schedules: Mapping[int, Mapping[str, Sequence[float]]]) -> list[Delivery]:
        """Meters that read what was planned, signed by the metering account; suppliers settle the rest."""
        settlement = self._settlement(self._suppliers.common)
        dt = self._community.step_hours
        energies = {
            household.node: [round(1000 * dt * power) for power in schedules[household.node]["injection_kw"]]
            for household in self._community.households
        }
        key, round_ = self._suppliers.metering_key, self._round
        settlement.deliver_readings([settlement.sign_reading(key, round_, node, wh) for node, wh in energies.items()])
        self._gas["deliver"] += self._suppliers.gas_used
        self._transactions += self._suppliers.transactions
        return list(settlement.deliveries(self._round).values())

    def records(self) -> list[TradeRecord]:
        """The trades that both sides stated alike."""
        return Settlement.of(self.record, self._web3).recorded(self._round)

    def follow(self, nodes: Nodes, listener: Listener) -> None:
        """Tells what happens in the negotiation until the round ends."""
        reported, inside = 0, frozenset[int]()
        while True:
            nodes.check()
            progress = self._aggregator.wait_for(self._later_than(reported), seconds=2.0)
            for entry in self._aggregator.history(self._round, reported + 1):
                closed = entry.closed
                assert closed is not None
                inside = inside or self._started_with()
                for event in happened(self._round, entry, inside, self._rms_w(closed.residuals)):
                    listener.hear(event)
                reported, inside = closed.iteration, inside - entry.excluded
            if progress.phase.is_final:
                listener.hear(RoundEnded(self._round, progress.phase.name.lower(), reported))
                return

    def _started_with(self) -> frozenset[int]:
        roster = self._aggregator.started(self._round)
        return roster.nodes if roster is not None else frozenset()

    def _later_than(self, iteration: int) -> Callable[[Progress], bool]:
        return lambda now: now.phase.is_final or now.iteration > iteration + 1

    def closed_round(self, records: Sequence[TradeRecord]) -> _ClosedRound:
        settlement = Settlement.of(self.record, self._web3)
        outcome = self._aggregator.outcome(self._round)
        closed = self._closed()
        rms = [self._rms_w(item.residuals) for item in closed[1:]]
        self._aggregator.close()
        return _ClosedRound(
            phase=outcome.phase,
            iterations=outcome.iterations,
            convergence=Convergence.of(rms, self._negotiation.tolerances.limits_w),
            records=records,
            token_unit=10.0 ** -settlement.token.decimals(),
            net_payments={node: settlement.net_payment(self._round, node) for node in self._addresses},
            gas=self._gas,
            supplier_received=settlement.supplier_payment(self._round),
            transactions=self._manager.transactions + self._transactions,
        )

    def _closed(self, first: int = 1) -> list[ClosedIteration]:
        return [entry.closed for entry in self._aggregator.history(self._round, first) if entry.closed]

    def _rms_w(self, squares: Sequence[int]) -> tuple[float, ...]:
        """RMS residuals per coupled scalar, W, from the sums on the chain."""
        return rms_w(squares, self._aggregator.scalars(), self._negotiation.resolution)

    def _spend(self, what: str) -> None:
        spent = self._manager.gas_used
        self._gas[what] += spent - self._spent
        self._spent = spent


def _agreed(community: CommunityDay, reports: Mapping[int, NodeReport], closed: _ClosedRound) -> Agreement:
    """What the nodes plan, and what the settlement has recorded."""
    households = [reports[home.node] for home in community.households]
    return Agreement(
        plans={
            report.node: {name: np.array(values) for name, values in report.schedule.items()} for report in households
        },
        trades=tuple(
            Trade.stated(record.lower, record.higher, trade.step, trade.energy_wh, trade.price_micro)
            for record in closed.records
            for trade in record.trades
        ),
        rounds=closed.iterations,
        reached=closed.phase is Phase.CONVERGED,
        relaxation_gap=max((gap for report in reports.values() for gap in report.relaxation_gap_pu), default=0.0),
        convergence=closed.convergence,
    )


def _ledger(settings: RunSettings, reports: Mapping[int, NodeReport], closed: _ClosedRound, wall_s: float) -> Ledger:
    gas = closed.gas + sum((report.gas for report in reports.values()), Counter())
    households = [report for node, report in reports.items() if node != GRID_CONNECTION]
    solve_s = max(report.solve_s for report in reports.values())
    return Ledger(
        relayed=settings.relay,
        sealed=settings.seals,
        gas_by_step=dict(gas),
        transactions=closed.transactions + sum(report.transactions for report in reports.values()),
        transferred=sum(abs(record.payment) for record in closed.records) * closed.token_unit,
        supplier_received=closed.supplier_received * closed.token_unit,
        sums_to_zero=sum(closed.net_payments.values()) + closed.supplier_received == 0,
        wall_s=wall_s,
        solve_s=solve_s,
        chain_s=max(report.wall_s for report in reports.values()) - solve_s,
        gas_by_node={node: report.gas.total() for node, report in sorted(reports.items())},
        node_s={
            what: float(np.mean([report.seconds.get(what, 0.0) for report in households]))
            for what in ("solving", "reading", "sending", "waiting")
        },
    )
