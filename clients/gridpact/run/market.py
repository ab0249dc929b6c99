"""One day of a community in a market with a contract of its own, every home a process; and what came of it."""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.contract import chain_time
from gridpact.chain.deploy import mint_units
from gridpact.chain.encoding import decode_trades
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.market import (
    AtOnePriceContract,
    AuctionContract,
    AuctionSetting,
    BidsOpening,
    BookContract,
    BookSetting,
    Deliveries,
    MarketContract,
    MarketRecord,
    PriceContract,
    Priced,
    PriceSetting,
    deploy_market,
)
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import connect
from gridpact.chain.travel import Traveller
from gridpact.chain.values import Phase, TradedStep
from gridpact.community.model import CommunityDay
from gridpact.errors import ContractError, GridpactError, InputError
from gridpact.events import SILENT, Listener, Stage
from gridpact.files import write_atomically
from gridpact.limits import MOST_ENTRIES
from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import MICRO, LimitOrder
from gridpact.market.call_auction import Cleared, clear, paired
from gridpact.market.community_manager import (
    GAP_PPM,
    MOST_ROUNDS,
    ManagedTerms,
    Manager,
    is_weighing,
    member_views,
)
from gridpact.market.double_auction import Grid, played
from gridpact.market.prepared import Prepared
from gridpact.market.registry import market_of
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.outcome import Ledger, Optimum, Outcome, outcome_of
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from gridpact.run.launch import NodeFiles, read_key, running_nodes
from gridpact.run.staging import TEST_TOKENS, TOKEN_DECIMALS, day_label
from gridpact.run.supplying import StagedSuppliers
from gridpact.run.trading import Placing, TradingReport, trade

UNITS = TEST_TOKENS * 10**TOKEN_DECIMALS // 2
"""Token units of a home in the market, and as many in the settlement."""

BOND = 10 ** (TOKEN_DECIMALS - 2)
"""Token units that who commits and does not reveal loses: a hundredth of a unit of currency."""

GATE_SECONDS = 86_400
"""Until the first gate closes, on a test chain: it is taken there when all have traded."""

WAITED_SECONDS = 600
"""The same on a chain that runs on its own."""

MISSES = 3
"""Iterations of a community's price that a home may miss before it is out."""

CHAIN_ROUNDS = 3
"""Of placing orders on a chain: the last of those in memory, since each order is a transaction."""


def run_market(
    community: CommunityDay,
    scenario: Scenario,
    chain: str,
    phase_seconds: int = 300,
    rounds: int = CHAIN_ROUNDS,
    listener: Listener = SILENT,
) -> Outcome:
    """Plays a day of a community in a market on a chain, settles what meters read beyond its trades, and checks it.

    Args:
        rounds: of placing orders, in an order book.

    Raises:
        InfeasibleError: no home may be without a plan; raised before a chain is started.
        InputError: homes have several tariffs, and the mechanism needs one; or they are too many for the contract.
        GridpactError: a home or the chain failed; all processes are ended.
    """
    market_of(scenario).require_tariffs(community)
    contract = market_of(scenario).contract
    homes = len(community.households)
    if contract != BookContract.CONTRACT and homes * community.steps > MOST_ENTRIES:
        raise InputError(
            f"what clears all steps at once on a chain takes {MOST_ENTRIES:,} bids at most, and {homes} homes with"
            f" {community.steps} steps have {homes * community.steps:,}: give --chain memory, or longer steps"
        )
    listener.hear(Stage(f"Solving {community.name} on {community.day} in one place, to compare with"))
    prepared = Prepared.of(community, scenario)
    optimum = Optimum.of(community, scenario)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gridpact-") as folder, open_network(chain) as network:
        listener.hear(Stage(f"Starting the chain ({chain}) and deploying the contracts"))
        office = _MarketOffice(network, community, scenario, phase_seconds, rounds, "://" in chain)
        if contract == PriceContract.CONTRACT:
            office.terms = ManagedTerms.of(community, prepared.baseline_net_kw)
        office.deploy(contract)
        files = office.equip(member_views(community) if office.terms else prepared.views, Path(folder))
        listener.hear(Stage(f"Starting {homes} homes, each a {'thread' if network.rpc_url is None else 'process'}"))
        with running_nodes(list(files.values()), network, one_day) as nodes:
            office.open()
            while nodes.running:
                nodes.check()
                office.clear_opened({node: _opening(item) for node, item in files.items()})
                time.sleep(0.05)
            nodes.check()
        reports = {node: TradingReport.read(item.report) for node, item in files.items()}
        listener.hear(Stage("Waiting for the last gate" if contract == BookContract.CONTRACT else "Clearing"))
        day = office.close(reports)
        listener.hear(Stage("Settling deliveries, as planned, with the supplier"))
        office.deliver(reports)
        ledger = office.ledger(reports, day, time.perf_counter() - started)
    plans = {
        node: {name: np.array(values) for name, values in report.schedule.items()} for node, report in reports.items()
    }
    agreed = Agreement(plans, tuple(day.trades), day.rounds, day.messages, balanced=day.as_in_memory)
    return outcome_of(prepared, agreed, optimum, chain, ledger)


def one_day(files: NodeFiles, network: Network | str) -> None:
    """A home with what is in its folder, from its plan to its report."""
    web3 = connect(network) if isinstance(network, str) else network.connect()
    account = ChainAccount(web3, read_key(files.key))
    record, view = MarketRecord.read(files.record), read_view(files.household)
    trade(record, view, account, UNITS, lambda opening: opening.write(_opening(files))).write(files.report)


def _opening(files: NodeFiles) -> Path:
    """Where a home leaves what opens its bids, for the manager to clear all at once."""
    return files.folder / "opening"


@dataclass(frozen=True)
class TradedDay:
    """What the chain says of a day's market."""

    trades: Sequence[Trade]
    rounds: int
    messages: int  # numbers that went in or came back
    moved: int  # token units that changed hands
    as_in_memory: bool  # whether the mechanism in memory trades the same, of the same orders in the same turn


class _MarketOffice:
    """The manager's side: it deploys, enrols and opens the round, clears as anybody may, and has no say in trades."""

    def __init__(
        self,
        network: Network,
        community: CommunityDay,
        scenario: Scenario,
        phase_seconds: int,
        rounds: int,
        runs_on_its_own: bool,
    ) -> None:
        self._network, self._community, self._scenario = network, community, scenario
        self._phase_seconds, self._rounds, self._runs_on_its_own = phase_seconds, rounds, runs_on_its_own
        self._web3 = network.connect()
        self._manager = network.manager(self._web3)
        self._suppliers = StagedSuppliers(community, network)
        self._gas: Counter[str] = Counter()
        self._spent = 0
        self._cleared = False  # at once
        self.terms: ManagedTerms | None = None  # of a community with a manager

    def deploy(self, contract: str) -> None:
        setting = self._book() if contract == BookContract.CONTRACT else self._priced() or self._auction()
        roles = self._suppliers.common.address, self._suppliers.metering.address
        self._record = deploy_market(
            self._manager, contract, self._scenario.value, setting, self._network.name, *roles, self._rounds
        )
        self._market = MarketContract.of(self._record, self._web3, self._manager)
        self._settlement = self._settlement_of(self._suppliers.common)
        self._spend("deploy")

    def _settlement_of(self, account: ChainAccount) -> Settlement:
        return self._record.settlement_of(self._web3, account)

    def _prices(self) -> list[int]:
        prices = self._community.between
        return [int(price) for of in (prices.feed_in_price, prices.import_price) for price in np.rint(MICRO * of)]

    def _book(self) -> BookSetting:
        grid = Grid.of(self._prices())
        gate = chain_time(self._web3) + self._phase_seconds
        gate += WAITED_SECONDS if self._runs_on_its_own else GATE_SECONDS
        steps, homes = self._community.steps, len(self._community.households)
        return BookSetting(gate, 1, grid.lowest_micro, grid.tick_micro, grid.top, 1, steps, homes, self._phase_seconds)

    def _auction(self) -> AuctionSetting:
        prices = self._prices()
        homes = len(self._community.households)
        return AuctionSetting(self._community.steps, homes, self._phase_seconds, min(prices), max(prices), BOND)

    def _priced(self) -> PriceSetting | None:
        if self.terms is None:
            return None
        steps, homes = self._community.steps, len(self._community.households)
        return PriceSetting(steps, homes, self._phase_seconds, MOST_ROUNDS, MISSES, self.terms.unit_mwh, GAP_PPM)

    def equip(self, views: Sequence[NodeView], folder: Path) -> dict[int, NodeFiles]:
        """Gives every home its folder with key and household file, ether and test tokens; enrols all."""
        record = folder / "market.json"
        self._record.write(record)
        keys = {view.node: new_key() for view in views if view.household is not None}
        files = {}
        for view in views:
            if view.household is None:
                continue
            item = NodeFiles(folder / f"node-{view.node:02d}", record)
            # A home in a market plans on its own, and knows nothing of anybody else.
            alone = replace(
                view, scenario=Scenario.B, parent=view.node, children=(), depth=0, partners=(), line=None, feeder=None
            )
            write_view(view if self.terms else alone, item.household)
            write_atomically(item.key, keys[view.node] + "\n", mode=0o600)
            files[view.node] = item
        self._addresses = {node: str(address_of(key)) for node, key in keys.items()}
        owners = [*self._addresses.values(), *self._suppliers.addresses]
        self._network.fund(owners, ETHER, self._web3)
        self._market.enrol(self._addresses)
        self._spend("enrol")
        mint_units(self._manager, self._market.token, owners, 2 * UNITS)
        self._spend("test tokens")
        gas, self._transactions = self._suppliers.admit(self._settlement_of, keys)
        self._gas["enrol"] += gas
        self._suppliers.publish(self._settlement_of, 1, 2 * UNITS)
        return files

    def open(self) -> None:
        day, terms = day_label(self._community.day), self.terms
        if isinstance(self._market, PriceContract) and terms is not None:
            self._round = self._market.open_on(day, terms.rho, terms.base_nano, terms.feed_in_micro, terms.import_micro)
        else:
            self._round = self._market.open_round(day)
        self._spend("enrol")

    def clear_opened(self, openings: Mapping[int, Path]) -> None:
        """Clears an auction as soon as all who have committed have told what opens their bids. Where somebody does not,
        all reveal, and it is cleared at the end."""
        market, round_ = self._market, self._round
        if not isinstance(market, AuctionContract) or self._cleared or market.iteration(round_) != 1:
            return
        committed = market.committed(round_)
        if market.present(round_) or not all(openings[node].exists() for node in committed):
            return
        told = {node: BidsOpening.read(openings[node]) for node in sorted(committed)}
        bids = {node: decode_trades(opening.bids) for node, opening in told.items()}
        cleared = _cleared_of(bids)
        try:
            market.clear_opened(round_, told, _fills(cleared, bids))
        except ContractError as error:
            if error.name not in ("RevealedAlready", "WrongPhase"):
                raise
        self._cleared = True
        self._spend("settle")

    def close(self, reports: Mapping[int, TradingReport]) -> TradedDay:
        """Brings the market to its end, and says what was traded in it."""
        if isinstance(self._market, BookContract):
            last = self._market.first_step(self._round) + self._community.steps - 1
            Traveller(self._web3).until(self._market.gate(last))
            return self._of_book(self._market, reports)
        return self._of_one_price(self._market)

    def _of_book(self, market: BookContract, reports: Mapping[int, TradingReport]) -> TradedDay:
        nodes = {address.lower(): node for node, address in self._addresses.items()}
        first, trades, moved = market.first_step(self._round), [], 0
        for one in market.trades():
            maker, taker = nodes[one.maker.lower()], nodes[one.taker.lower()]
            seller, buyer = (taker, maker) if one.taker_sells else (maker, taker)
            trades.append(Trade(seller, buyer, one.step - first, one.energy_wh / 1000, one.price_micro / MICRO))
            moved += abs(one.payment)
        placings = [placing for report in reports.values() for placing in report.placings]
        messages = 2 * len(placings) + 4 * len(trades)
        return TradedDay(trades, self._rounds, messages, moved, replayed(placings) == by_step(trades))

    def _of_one_price(self, market: AtOnePriceContract) -> TradedDay:
        round_ = self._round

        def can_clear() -> bool:
            if isinstance(market, PriceContract):
                return market.is_settled(round_)
            return market.iteration(round_) == AuctionContract.CLEARING

        market.wait_until(lambda: can_clear() or _is_over(market, round_))
        bids = market.bids(round_)
        cleared = _cleared_of(bids)
        if not _is_over(market, round_):
            market.clear(round_, _fills(cleared, bids))
            self._spend("settle")
        if market.outcome(round_).phase is not Phase.CONVERGED:
            raise GridpactError(
                f"no price was found in {MOST_ROUNDS:,} iterations: all keep to their own plans"
                if isinstance(market, PriceContract)
                else "nobody revealed any bids in time: give the homes more time"
            )
        prices, _, payments = market.cleared(round_)
        trades = [trade for step, one in cleared.items() for trade in paired(step, one)]
        same = all(prices[step] == one.price_micro for step, one in cleared.items() if one.energy_wh)
        moved = sum(max(paid, 0) for paid in payments.values())
        if not isinstance(market, PriceContract) or self.terms is None:
            return TradedDay(trades, 1, 4 * sum(map(len, bids.values())), moved, same)
        priced = market.priced(round_)
        weighings = [market.weighed(round_, one.iteration) for one in priced if is_weighing(one.iteration)]
        same = same and is_as_in_memory(self.terms, priced, weighings)
        asked = len(priced) + len(weighings)
        return TradedDay(trades, len(priced), asked * 2 * len(bids) * self._community.steps, moved, same)

    def deliver(self, reports: Mapping[int, TradingReport]) -> None:
        """Meters that read what was planned, signed by the metering account; suppliers settle the rest."""
        hours = self._community.step_hours
        readings = [
            self._settlement.sign_reading(
                self._suppliers.metering_key,
                self._round,
                node,
                [round(1000 * hours * power) for power in report.schedule["injection_kw"]],
            )
            for node, report in reports.items()
        ]
        traded = {node: self._market.traded(self._round, node) for node in reports}
        Deliveries.of(self._record, self._web3, self._suppliers.common).deliver(self._settlement, traded, readings)
        self._gas["deliver"] += self._suppliers.gas_used

    def ledger(self, reports: Mapping[int, TradingReport], day: TradedDay, wall_s: float) -> Ledger:
        unit = 10.0**-TOKEN_DECIMALS
        received = self._settlement.supplier_payment(self._round)
        nets = sum(self._settlement.net_payment(self._round, node) for node in reports)
        market = self._market
        held = sum(market.free(address) + market.locked(address) for address in self._addresses.values())
        conserved = held == market.total_deposits() == market.token.balance(market.address) == len(reports) * UNITS
        solve_s = max(report.solve_s for report in reports.values())
        accounts = (self._manager, self._suppliers)
        return Ledger(
            relayed=False,
            sealed=isinstance(market, AuctionContract),
            gas_by_step=dict(self._gas + sum((report.gas for report in reports.values()), Counter())),
            transactions=self._transactions
            + sum(account.transactions for account in accounts)
            + sum(report.transactions for report in reports.values()),
            transferred=day.moved * unit,
            supplier_received=received * unit,
            sums_to_zero=conserved and nets + received == 0 and day.as_in_memory,
            wall_s=wall_s,
            solve_s=solve_s,
            chain_s=max(report.wall_s for report in reports.values()) - solve_s,
            gas_by_node={node: report.gas.total() for node, report in sorted(reports.items())},
        )

    def _spend(self, what: str) -> None:
        spent = self._manager.gas_used
        self._gas[what] += spent - self._spent
        self._spent = spent


def _is_over(market: MarketContract, round_: int) -> bool:
    return market.outcome(round_).phase.is_final


def _cleared_of(bids: Mapping[int, Sequence[TradedStep]]) -> dict[int, Cleared]:
    """The clearing of all bids, by step."""
    orders: defaultdict[int, list[LimitOrder]] = defaultdict(list)
    for node, own in bids.items():
        for bid in own:
            orders[bid.step].append(LimitOrder(node, bid.step, abs(bid.energy_wh), bid.price_micro, bid.energy_wh > 0))
    return {step: clear(some) for step, some in sorted(orders.items())}


def _fills(cleared: Mapping[int, Cleared], bids: Mapping[int, Sequence[TradedStep]]) -> dict[int, list[int]]:
    """How much of each bid is filled, by node and in their order."""
    return {node: [_fill(cleared[bid.step], node) for bid in own] for node, own in bids.items()}


def _fill(cleared: Cleared, node: int) -> int:
    return cleared.sold_wh.get(node, 0) + cleared.bought_wh.get(node, 0)


def is_as_in_memory(
    terms: ManagedTerms, priced: Sequence[Priced], weighings: Sequence[Mapping[int, tuple[int, bytes]]]
) -> bool:
    """Whether the manager in memory takes the steps of the contract, of the same sums, and ends where it did.

    Args:
        weighings: what was told in each weighing iteration.
    """
    manager, weighed = Manager(terms), iter(weighings)
    for one in priced:
        gains = sum(gain for gain, _ in next(weighed).values()) if is_weighing(one.iteration) else 0
        all_told = len(one.present) == max(len(other.present) for other in priced)
        if one.settled != (is_weighing(one.iteration) and all_told and manager.is_settled(one.sums, gains)):
            return False
        if not one.settled and one.present:
            manager.step(one.sums, len(one.present))
        if tuple(manager.price_micro) != one.price_micro:
            return False
    return priced[-1].settled


def by_step(trades: Sequence[Trade]) -> dict[int, list[Trade]]:
    """Trades of each step, in their order."""
    grouped: defaultdict[int, list[Trade]] = defaultdict(list)
    for one in trades:
        grouped[one.step].append(one)
    return dict(grouped)


def replayed(placings: Sequence[Placing]) -> dict[int, list[Trade]]:
    """What the order book in memory trades at each step, of the same orders in the turn in which they came."""
    came: defaultdict[int, list[LimitOrder | int]] = defaultdict(list)
    for placing in sorted(placings, key=lambda one: one.came):
        order = placing.order
        came[order.step].append(order.node if placing.out else order)
    books = {step: played(step, some).trades for step, some in came.items()}
    return {step: trades for step, trades in books.items() if trades}
