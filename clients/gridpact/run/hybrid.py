"""The hybrid market on a chain: a contract for each feeder and one above, their nodes as groups in few processes.

What is negotiated is `market.admm.levels`; here the contracts are deployed, the nodes of a feeder are a `Group`, and a
feeder's gateway takes part in two of them at once. Feeders go on side by side. One that fails leaves the others alone:
its gateway says nothing above any more, whether its process is there still or not, and is out when it has missed as
many iterations there as it may.
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import connect
from gridpact.chain.values import Phase, Progress
from gridpact.community.model import Array, CommunityDay
from gridpact.errors import GridpactError, InputError
from gridpact.events import SILENT, Listener, Stage
from gridpact.manage.terms import terms_of
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.levels import Gateway, Level, Levels, Standpoint, bids_beside
from gridpact.market.admm.negotiation import Negotiation, agreed_trades, plan_of
from gridpact.market.admm.parameters import Resolution
from gridpact.market.admm.register import MOST_MISSES
from gridpact.problem.baseline import baseline_net_kw
from gridpact.run.footprint import cpu_s, peak_memory_mb
from gridpact.run.group import Group
from gridpact.run.launch import NodeFiles, running_nodes
from gridpact.run.staging import TEST_TOKENS, TOKEN_DECIMALS, day_label
from gridpact.run.supplying import StagedSuppliers

PAUSE = 0.05
"""Seconds between looks at contracts that wait for others."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Post:
    """A contract as a process knows it: its record, and the nodes that the process runs, with their keys."""

    record: Record
    level: Level
    keys: Mapping[int, str]

    def group(self, payer: ChainAccount) -> Group:
        views = [view for view in self.level.views if view.node in self.keys]
        return Group(views, self.keys, self.record, payer)


@dataclass(frozen=True)
class Errand:
    """What a process is given: feeders by their place, the nodes of their gateways above, and who pays."""

    feeders: Mapping[int, Post]
    seats: Mapping[int, Mapping[int, int]]  # by place of the feeder: node above by node below
    above: Post
    payer: str  # key


@dataclass
class FeederReport:
    """What came of a feeder's contract."""

    phase: Phase
    iterations: int
    schedules: dict[int, Mapping[str, Array]] = field(default_factory=dict)  # by node, of households
    sold_wh: dict[int, list[int]] = field(default_factory=dict)  # by its gateways to it, (T,); none where none agreed
    sold_above_wh: dict[int, list[int]] = field(default_factory=dict)  # by its gateways above
    traded_kwh: float = 0.0  # that its homes sold
    beyond_kwh: float = 0.0  # of that to its gateways
    gas: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    failure: str = ""


@dataclass
class WorkerReport:
    """What came of a process: its feeders by place, and what its gateways spent above."""

    feeders: dict[int, FeederReport]
    gas_above: Counter[str]
    transactions: int  # above, and of who pays
    cpu_s: float
    memory_mb: float


class RunningFeeder:
    """One feeder in a process: its group, and its gateways' seats above.

    Args:
        seats: nodes above, by node of the gateway.
    """

    def __init__(self, post: Post, seats: Mapping[int, int], above: Group, payer: ChainAccount) -> None:
        self.below, self.above, self._seats = post.group(payer), above, seats
        self._now: Progress | None = None
        self.failure = ""

    def look(self) -> None:
        if not self.failure:
            self._now = self.below.look()

    @property
    def now(self) -> Progress:
        assert self._now is not None
        return self._now

    def standpoints(self, above: Progress) -> dict[int, tuple[Standpoint, Standpoint]] | None:
        """Where each gateway stands below and above; None where that is to be waited for."""
        stands = {}
        for node, seat in self._seats.items():
            low = Standpoint.NOTHING if self.failure else _standpoint(self.now, self.below, node)
            high = _standpoint(above, self.above, seat)
            if low is None or high is None:
                return None
            stands[node] = low, high
        return stands

    def is_over(self, above: Progress) -> bool:
        """Whether nothing is left to negotiate."""
        stands = self.standpoints(above)
        if self.failure:
            return True
        return stands is not None and all(Standpoint.OPEN not in pair for pair in stands.values())

    def step(self, above: Progress) -> bool:
        """Does what can be done now. Returns whether there was anything."""
        stands = self.standpoints(above)
        if stands is None or self.failure:
            return False
        goes_on = self.now.phase is Phase.ITERATING
        mine = self.below.awaited(self.now) if goes_on else frozenset[int]()
        seats = {self._seats[node] for node, (_, high) in stands.items() if high is Standpoint.OPEN}
        at_above = bool(seats) and seats <= self.above.awaited(above)
        is_tied = goes_on and bool(seats)
        if not (mine and at_above if is_tied else mine or at_above):
            return False
        low: dict[int, IntegerSubmission] = {}
        high: dict[int, IntegerSubmission] = {}
        for node, pair in stands.items():
            bids = self._gateway(node, *pair)
            low |= {} if bids[0] is None else {node: bids[0]}
            high |= {} if bids[1] is None else {self._seats[node]: bids[1]}
        self.above.take_turns(above, high, high)
        if mine:
            self.below.take_turns(self.now, low, mine)
            self.below.send(self.now)
        return True

    def _gateway(
        self, node: int, low: Standpoint, high: Standpoint
    ) -> tuple[IntegerSubmission | None, IntegerSubmission | None]:
        """What a gateway bids below and above. Where nothing was agreed on one side, there may be no agent of it."""
        seat = self._seats[node]
        if Standpoint.OPEN not in (low, high):
            return None, None
        if low is Standpoint.NOTHING:
            return None, bids_beside(self.above.agents[seat], None)
        if high is Standpoint.NOTHING:
            return bids_beside(self.below.agents[node], None), None
        return Gateway(self.below.agents[node], self.above.agents[seat]).solve(low, high)

    def settled(self, above: Progress) -> FeederReport:
        """What came of it, after everybody has stated its trades."""
        now = self._now
        report = FeederReport(Phase.NONE, 0) if now is None else FeederReport(now.phase, now.iteration)
        try:
            self._settle(report, above)
        except GridpactError as error:
            log.exception("a feeder fails")
            self.failure = str(error)
        report.gas, report.transactions, report.failure = self.below.gas, self.below.transactions, self.failure
        return report

    def _settle(self, report: FeederReport, above: Progress) -> None:
        stands = self.standpoints(above) or {}
        if report.phase is Phase.CONVERGED and not self.failure:
            homes = {node: agent for node, agent in self.below.agents.items() if agent.view.household is not None}
            report.schedules = {node: dict(plan_of(agent).schedule) for node, agent in homes.items()}
            self.below.settle(self.now.round, report.schedules | {key: {} for key in self._seats})
            report.sold_wh = {node: _sold_wh(self.below.agents[node]) for node in self._seats}
            trades, _ = agreed_trades(self.below.agents)
            sold = [trade for trade in trades if trade.seller not in self._seats]
            report.traded_kwh = sum(trade.energy_kwh for trade in sold)
            report.beyond_kwh = sum(trade.energy_kwh for trade in sold if trade.buyer in self._seats)
        report.sold_above_wh = {
            node: self._settle_above(above, node, report.sold_wh.get(node))
            for node, (_, high) in stands.items()
            if high is Standpoint.AGREED
        }

    def _settle_above(self, above: Progress, node: int, sold_below_wh: Sequence[int] | None) -> list[int]:
        """States what a gateway has traded above, whose meter there reads what it sold to its feeder."""
        seat = self._seats[node]
        view, sold_wh = self.above.agents[seat].view, _sold_wh(self.above.agents[seat])
        has_kw, sold_kw = (
            np.array(energies) / (1000 * view.step_hours)
            for energies in ([-wh for wh in sold_below_wh or [0] * view.steps], sold_wh)
        )
        lacks_kw = sold_kw - has_kw
        schedule = {
            "injection_kw": has_kw,
            "import_kw": np.maximum(lacks_kw, 0),
            "feed_in_kw": np.maximum(-lacks_kw, 0),
        }
        self.above.settle(above.round, {seat: schedule})
        return sold_wh


def _sold_wh(agent: Agent) -> list[int]:
    """What a node has sold less what it has bought, by step."""
    sold = np.bincount(agent.trades.steps, agent.trades.energies_wh, agent.view.steps)
    return [int(wh) for wh in sold]


def _standpoint(now: Progress, group: Group, node: int) -> Standpoint | None:
    """Where a node of a group stands in its round; None before it has begun."""
    if now.phase in (Phase.NONE, Phase.DECLARING):
        return None
    if not group.is_in(node) or now.phase not in (Phase.ITERATING, Phase.CONVERGED):
        return Standpoint.NOTHING
    return Standpoint.OPEN if now.phase is Phase.ITERATING else Standpoint.AGREED


class FeederProcess:
    """A process's feeders, side by side. `step` does what can be done, once; tests call it by turns."""

    def __init__(self, errand: Errand, payer: ChainAccount) -> None:
        self._payer = payer
        self._above = errand.above.group(payer)
        self._streets = {
            place: RunningFeeder(post, errand.seats[place], self._above, payer)
            for place, post in errand.feeders.items()
        }
        self._now: Progress | None = None

    def step(self) -> bool:
        """Whether there was anything to do."""
        streets = self._streets.values()
        if self._now is None:
            self._above.look()  # its few nodes declare before those of all feeders do, whose phases are longer
        for street in streets:
            self._guarded(street, street.look)
        self._now = above = self._above.look()
        acted = [self._guarded(street, lambda street=street: street.step(above)) for street in streets]  # type: ignore[misc]
        self._above.send(above)
        return any(acted)

    @staticmethod
    def _guarded(street: RunningFeeder, act: Callable[[], object]) -> bool:
        """A feeder that fails leaves the others alone."""
        try:
            return bool(act())
        except (GridpactError, ArithmeticError, ValueError) as error:
            log.exception("a feeder fails")
            street.failure = str(error)
            return True

    @property
    def is_over(self) -> bool:
        streets, now = self._streets.values(), self._now
        return now is not None and all(street.is_over(now) for street in streets)

    def play(self) -> None:
        """To the end."""
        while not self.is_over:
            if not self.step():
                time.sleep(PAUSE)

    def report(self) -> WorkerReport:
        """Settles, and tells what came of it."""
        assert self._now is not None
        feeders = {}
        for place, street in self._streets.items():
            feeders[place] = street.settled(self._now)
        transactions = self._above.transactions + self._payer.transactions
        return WorkerReport(feeders, self._above.gas, transactions, cpu_s(), peak_memory_mb())


def one_errand(files: NodeFiles, network: Network | str) -> None:
    """What a process does: its folder has the errand, and gets the report."""
    errand = pickle.loads(files.record.read_bytes())
    web3 = connect(network) if isinstance(network, str) else network.connect()
    worker = FeederProcess(errand, ChainAccount(web3, errand.payer))
    worker.play()
    files.report.write_bytes(pickle.dumps(worker.report()))


# ---------------------------------------------------------------------- a whole run


@dataclass(frozen=True)
class HybridSettings:
    """What a run does."""

    chain: str = "anvil"
    processes: int | None = None  # as many as cores
    phase_seconds: int = 120  # above; a feeder waits while above somebody is waited for until it is out
    max_misses: int = MOST_MISSES
    resolution: Resolution = field(default_factory=Resolution)


@dataclass(frozen=True)
class LevelResult:
    """What came of a contract. Gas by what it was used for, of all who take part, the manager and the supplier."""

    name: str
    nodes: int
    phase: str
    iterations: int
    gas: Mapping[str, int]
    sums_to_zero: bool | None  # payments; None where nothing was settled
    failure: str = ""


@dataclass(frozen=True)
class HybridResult:
    """What came of a run. Energies in kWh, costs in currency, of all feeders that agreed."""

    feeders: int
    households: int  # of all feeders
    agreed: int  # feeders
    steps: int
    chain: str
    processes: int
    iterations: int  # of the contract that took most
    cost: float  # suppliers' bills of the households
    cost_alone: float  # of the same households, each on its own
    traded_kwh: float  # that homes sold, on their feeder or beyond it; what gateways pass on is not counted again
    beyond_kwh: float  # of that beyond their feeder, to gateways
    left_kwh: float  # with gateways, settled with the supplier above
    transactions: int
    wall_s: float
    cpu_s: float  # of the processes, without the chain's
    memory_mb: float  # of the process that took most
    levels: Sequence[LevelResult]

    @property
    def has_agreed(self) -> bool:
        """Whether all contracts came to an agreement, and every payment is somebody's."""
        return all(level.phase == "converged" and level.sums_to_zero for level in self.levels)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class _Contract:
    """The manager's side of one contract: it deploys, enrols and opens the round, and has no say in it."""

    def __init__(
        self, network: Network, manager: ChainAccount, name: str, level: Level, community: CommunityDay
    ) -> None:
        self._network, self._manager, self._community = network, manager, community
        self._suppliers = StagedSuppliers(community, network)
        self.name, self.level = name, level
        self.keys = {view.node: new_key() for view in level.views}
        self.gas: Counter[str] = Counter()
        self.round = 0

    def deploy(self, levels: Levels, settings: HybridSettings, token: str | None) -> None:
        """With limits of its own.

        Args:
            token: that of all; None: a new one.
        """
        terms = Negotiation(self.level.views, levels.penalties, settings.resolution, self.level.tolerances)
        suppliers, seconds = self._suppliers, settings.phase_seconds
        if self.level.community is not None:
            seconds *= settings.max_misses + 1
        roles = suppliers.common.address, suppliers.metering.address
        with self._counted("deploy"):
            self.record = deploy_contracts(
                self._manager,
                *terms_of(terms, seconds, settings.max_misses),
                self._network.name,
                *roles,
                token,
                tied=True,
            )

    def enrol(self) -> None:
        """Gives all ether and test tokens, and enrols them."""
        addresses = {node: str(address_of(key)) for node, key in self.keys.items()}
        self._network.fund([*addresses.values(), *self._suppliers.addresses], ETHER, self._manager.web3)
        with self._counted("enrol"):
            self._aggregator = enrol_households(self._manager, self.record, addresses)
        traders = [addresses[view.node] for view in self.level.views if view.partners]
        with self._counted("test tokens"):
            units = TEST_TOKENS * 10**TOKEN_DECIMALS
            mint_tokens(self._manager, self.record, [*self._suppliers.addresses, *traders], units)

    def tie(self, above: str | None, below: Mapping[str, frozenset[int]]) -> None:
        """Says on the chain what is above and below it, see `ITied.sol`."""
        with self._counted("deploy"):
            self._aggregator.tie(above, below)

    def post(self, nodes: Collection[int]) -> Post:
        """What a process that runs some of its nodes is told."""
        keys = {node: key for node, key in self.keys.items() if node in nodes}
        return Post(self.record, replace(self.level, community=None), keys)

    def open(self) -> None:
        """Tariffs come first: nodes that run already declare as soon as the round is open, and then it is too late."""
        coming = self.progress().round + 1
        self._suppliers.publish(self._settlement, coming, TEST_TOKENS * 10**TOKEN_DECIMALS)
        with self._counted("enrol"):
            self.round = self._aggregator.open_round(day_label(self._community.day))
        assert self.round == coming

    def progress(self) -> Progress:
        return self._aggregator.progress()

    def deliver(self, energies_wh: Mapping[int, Sequence[int]]) -> None:
        """Meters that read what was planned, signed by the metering account."""
        settlement, key = self._settlement(self._suppliers.common), self._suppliers.metering_key
        settlement.deliver_readings(
            [settlement.sign_reading(key, self.round, node, wh) for node, wh in sorted(energies_wh.items())]
        )
        self.gas["deliver"] += self._suppliers.gas_used

    def sums_to_zero(self) -> bool:
        """Whether every payment is somebody's."""
        settlement = self._settlement(self._suppliers.common)
        paid = sum(settlement.net_payment(self.round, node) for node in self.keys)
        return paid + settlement.supplier_payment(self.round) == 0

    def result(self, gas: Mapping[str, int], is_settled: bool, failure: str = "") -> LevelResult:
        now = self.progress()
        total = dict(self.gas + Counter(gas))
        phase, nodes = now.phase.name.lower(), len(self.keys)
        return LevelResult(
            self.name, nodes, phase, now.iteration, total, self.sums_to_zero() if is_settled else None, failure
        )

    @property
    def transactions(self) -> int:
        return self._suppliers.transactions

    def _settlement(self, account: ChainAccount) -> Settlement:
        return Settlement.of(self.record, self._manager.web3, account)

    @contextmanager
    def _counted(self, what: str) -> Iterator[None]:
        before = self._manager.gas_used
        yield
        self.gas[what] += self._manager.gas_used - before


class Staging:
    """Contracts of all levels on a chain, from the deployment to the last payment.

    Args:
        communities: one a feeder.
        levels: of them.
    """

    def __init__(
        self, network: Network, communities: Sequence[CommunityDay], settings: HybridSettings, levels: Levels
    ) -> None:
        self.levels = levels
        self._network, self._settings, self._communities = network, settings, communities
        self._manager = network.manager(network.connect())
        names = [*(community.name for community in communities), "above"]
        self.contracts = [
            _Contract(network, self._manager, name, level, level.community or communities[0])
            for name, level in zip(names, self.levels.contracts, strict=True)
        ]
        token = None
        for contract in self.contracts:
            contract.deploy(self.levels, settings, token)
            token = contract.record.token
            contract.enrol()
        for contract, (above, below) in zip(self.contracts, self._ties(), strict=True):
            contract.tie(above, below)

    def _ties(self) -> Iterator[tuple[str | None, dict[str, frozenset[int]]]]:
        """Of each contract what is above it, and by what is below it the gateways, nodes of this one."""
        addresses = [contract.record.aggregator for contract in self.contracts]
        for at in range(len(self.contracts)):
            above = {addresses[tie.above] for tie in self.levels.ties if tie.below == at}
            below: dict[str, frozenset[int]] = {}
            for tie in self.levels.ties:
                if tie.above == at:
                    below[addresses[tie.below]] = below.get(addresses[tie.below], frozenset()) | {tie.node_above}
            yield min(above, default=None), below

    @property
    def above(self) -> _Contract:
        return self.contracts[-1]

    @property
    def feeders(self) -> Sequence[_Contract]:
        return self.contracts[:-1]

    def errands(self, processes: int) -> list[Errand]:
        """Feeders dealt out, and an account with ether for each process."""
        errands = []
        for first in range(min(processes, len(self.feeders))):
            places = range(first, len(self.feeders), processes)
            seats = {
                place: {tie.node_below: tie.node_above for tie in self.levels.ties if tie.below == place}
                for place in places
            }
            posts = {place: self.feeders[place].post(self.feeders[place].keys.keys()) for place in places}
            payer = new_key()
            self._network.fund([str(address_of(payer))], 10 * ETHER, self._manager.web3)
            above = self.above.post({node for of_one in seats.values() for node in of_one.values()})
            errands.append(Errand(posts, seats, above, payer))
        return errands

    def open(self) -> None:
        for contract in self.contracts:
            contract.open()

    def settle(self, reports: Mapping[int, FeederReport]) -> None:
        """Delivers what meters read: on feeders those of households, above what gateways have from their feeders."""
        hours, beyond = self._communities[0].step_hours, {}
        for place, report in reports.items():
            if report.sold_wh:
                self.feeders[place].deliver(
                    {
                        node: [round(1000 * hours * power) for power in schedule["injection_kw"]]
                        for node, schedule in report.schedules.items()
                    }
                )
            for tie in self.levels.ties:
                if tie.below == place and tie.node_below in report.sold_above_wh:
                    sold = report.sold_wh.get(tie.node_below, [0] * self._steps)
                    beyond[tie.node_above] = [-wh for wh in sold]
        if beyond:
            self.above.deliver(beyond)

    @property
    def _steps(self) -> int:
        return self._communities[0].steps

    def result(
        self, reports: Mapping[int, FeederReport], workers: Sequence[WorkerReport], wall_s: float, processes: int
    ) -> HybridResult:
        lost = FeederReport(Phase.NONE, 0, failure="its process ended without a report")
        levels = []
        for place, contract in enumerate(self.feeders):
            report = reports.get(place, lost)
            levels.append(contract.result(report.gas, bool(report.sold_wh), report.failure))
        gas_above = sum((worker.gas_above for worker in workers), Counter[str]())
        is_settled = any(report.sold_above_wh for report in reports.values())
        levels.append(self.above.result(gas_above, is_settled))
        agreed = {place: report for place, report in reports.items() if report.sold_wh}
        left = [
            sum(abs(one + other) for one, other in zip(report.sold_wh[node], above, strict=True))
            for report in agreed.values()
            for node, above in report.sold_above_wh.items()
        ]
        return HybridResult(
            feeders=len(self.feeders),
            households=sum(len(community.households) for community in self._communities),
            agreed=len(agreed),
            steps=self._steps,
            chain=self._settings.chain,
            processes=processes,
            iterations=max(level.iterations for level in levels),
            cost=sum(self._bill(place, report) for place, report in agreed.items()),
            cost_alone=sum(_bill_of(self._communities[place]) for place in agreed),
            traded_kwh=sum(report.traded_kwh for report in agreed.values()),
            beyond_kwh=sum(report.beyond_kwh for report in agreed.values()),
            left_kwh=sum(left) / 1000,
            transactions=self._manager.transactions
            + sum(contract.transactions for contract in self.contracts)
            + sum(report.transactions for report in reports.values())
            + sum(worker.transactions for worker in workers),
            wall_s=wall_s,
            cpu_s=cpu_s() + sum(worker.cpu_s for worker in workers if self._network.rpc_url is not None),
            memory_mb=max([peak_memory_mb(), *(worker.memory_mb for worker in workers)]),
            levels=tuple(levels),
        )

    def _bill(self, place: int, report: FeederReport) -> float:
        prices, hours = self._communities[place].prices, self._communities[place].step_hours
        return sum(
            hours * float(prices.import_price @ plan["import_kw"] - prices.feed_in_price @ plan["feed_in_kw"])
            for plan in report.schedules.values()
        )


def _bill_of(community: CommunityDay) -> float:
    """What households would pay that are each on their own."""
    prices, net_kw = community.prices, baseline_net_kw(community)
    paid = prices.import_price * np.maximum(-net_kw, 0) - prices.feed_in_price * np.maximum(net_kw, 0)
    return float(community.step_hours * paid.sum())


def check_alike(communities: Sequence[CommunityDay]) -> None:
    """Whether feeders can trade with each other.

    Raises:
        InputError: there is one only, or prices or steps differ, or a feeder has several tariffs.
    """
    if len(communities) < 2:
        raise InputError("a hybrid market has two feeders at least: name more cases, or give --feeders")
    first = communities[0]
    for one in communities:
        if len(one.tariffs) > 1:
            raise InputError(f"'{one.name}' has several tariffs: a hybrid market is for homes with one")
        if one.steps != first.steps or one.step_hours != first.step_hours:
            raise InputError(f"'{one.name}' and '{first.name}' have different time steps: they cannot trade")
        pairs = [(getattr(one.prices, name), getattr(first.prices, name)) for name in ("import_price", "feed_in_price")]
        if not all(np.array_equal(mine, theirs) for mine, theirs in pairs):
            raise InputError(f"'{one.name}' and '{first.name}' have different prices on {one.day}: they cannot trade")


def run_hybrid(
    communities: Sequence[CommunityDay], settings: HybridSettings, listener: Listener = SILENT
) -> HybridResult:
    """A day of several feeders on a chain, from deployment to settlement.

    Raises:
        InputError: the feeders cannot trade with each other.
        ChainError: the chain failed.
    """
    check_alike(communities)
    started, levels = time.perf_counter(), Levels.of(communities)
    processes = settings.processes or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="gridpact-") as name, open_network(settings.chain) as network:
        listener.hear(Stage(f"Deploying {len(communities) + 1} contracts ({settings.chain}), and enrolling"))
        staging = Staging(network, communities, settings, levels)
        files = []
        for number, errand in enumerate(staging.errands(1 if network.rpc_url is None else processes)):
            item = NodeFiles(Path(name) / f"group-{number}", Path(name) / f"group-{number}" / "errand")
            item.folder.mkdir()
            item.record.write_bytes(pickle.dumps(errand))
            files.append(item)
        staging.open()
        listener.hear(Stage(f"Negotiating on {len(communities)} feeders in {len(files)} processes"))
        with running_nodes(files, network, one_errand) as running:
            while running.running:
                time.sleep(0.2)
        workers = [pickle.loads(item.report.read_bytes()) for item in files if item.report.exists()]
        if not workers:
            said = [item.error.read_text(encoding="utf-8").strip() for item in files if item.error.exists()]
            raise GridpactError(said[0] if said else "all groups of nodes ended without a word")
        reports = {place: report for worker in workers for place, report in worker.feeders.items()}
        listener.hear(Stage("Settling deliveries, as planned, with the supplier"))
        staging.settle(reports)
        return staging.result(reports, workers, time.perf_counter() - started, len(files))
