"""A home in a market on a chain: it plans its day on its own, and orders what its plan leaves.

In an order book it places its orders, and in each of some rounds takes out what rests and places anew what is left, at
the price that the market's strategy says, whatever the others do meanwhile. In an auction it seals its bids, and
reveals them. In a community with a manager it plans by the manager's prices, until they fit all.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.contract import chain_time
from gridpact.chain.encoding import encode_trades
from gridpact.chain.market import (
    AuctionContract,
    BidsOpening,
    BookContract,
    MarketContract,
    MarketRecord,
    PriceContract,
    Priced,
)
from gridpact.chain.values import Phase
from gridpact.community.model import Array
from gridpact.errors import ContractError, InputError
from gridpact.files import parse_json, write_atomically
from gridpact.market.bids import MICRO, LimitOrder, orders_of
from gridpact.market.community_manager import ManagedMember, ManagedTerms, Manager, tariff_micro
from gridpact.market.double_auction import ContinuousDoubleAuction, Grid
from gridpact.market.matching import Book
from gridpact.market.registry import market_of, scenario_named
from gridpact.problem.baseline import fallback
from gridpact.problem.view import NodeView

OVER = frozenset({"NotOpen", "GateClosed"})
"""What a book says to who comes too late: the order is filled, or the step is over."""

GONE_ON = frozenset({"WrongIteration", "WrongHistory"})
"""What a community's price says to who tells for an iteration that is closed."""

LEFT = frozenset({"NotInRound", "WrongPhase", "WrongRound", "AlreadyTold"})
"""What it says to who is out of the round, or where that is settled or over."""


@dataclass(frozen=True)
class Placing:
    """An order that came into a book, or what was taken out of it, and where that stands in the chain."""

    block: int
    index: int  # of the transaction in it
    order: LimitOrder
    out: bool = False  # the node's order at that step is taken out

    @property
    def came(self) -> tuple[int, int]:
        return self.block, self.index


@dataclass
class TradingReport:
    """What a home tells after a day's market."""

    node: int
    schedule: Mapping[str, list[float]]  # kW, kvar or kWh, (T,) each
    placings: list[Placing] = field(default_factory=list)
    gas: Counter[str] = field(default_factory=Counter)  # by what it was used for
    transactions: int = 0
    solve_s: float = 0.0
    wall_s: float = 0.0

    def write(self, path: Path) -> None:
        placings = [asdict(placing) for placing in self.placings]
        write_atomically(path, json.dumps(vars(self) | {"placings": placings}) + "\n", 0o600)

    @staticmethod
    def read(path: Path) -> TradingReport:
        values = parse_json(path.read_text(encoding="utf-8"))
        placings = [Placing(**one | {"order": LimitOrder(**one["order"])}) for one in values["placings"]]
        return TradingReport(**values | {"placings": placings, "gas": Counter(values["gas"])})


HandOver = Callable[[BidsOpening], None]
"""Gives what opens a home's bids to one who clears for all."""


def trade(
    record: MarketRecord, view: NodeView, account: ChainAccount, deposit: int, hand_over: HandOver
) -> TradingReport:
    """A day's market, from the deposits to the home's last order.

    Args:
        deposit: token units in the market, and as many in the settlement.

    Raises:
        InfeasibleError: the home has no plan.
        ChainError: the chain failed.
    """
    started = time.perf_counter()
    plan = fallback(view)
    solve_s = time.perf_counter() - started
    report = TradingReport(view.node, {name: values.tolist() for name, values in plan.items()}, solve_s=solve_s)
    market = MarketContract.of(record, account.web3, account)
    with _counted(report, account, "deposit"):
        market.deposit(deposit)
        record.settlement_of(account.web3, account).deposit(deposit)
    if isinstance(market, PriceContract):
        _Planner(market, view, account, report).plan(plan)
    else:
        orders = orders_of(view.node, plan["injection_kw"], view.own_prices, view.step_hours)
        if isinstance(market, BookContract):
            _Trader(market, record, view, account, report).trade(orders)
        else:
            _bid(market, account, report, orders, hand_over)
    report.transactions, report.wall_s = account.transactions, time.perf_counter() - started
    return report


@contextmanager
def _counted(report: TradingReport, account: ChainAccount, what: str) -> Iterator[None]:
    before = account.gas_used
    yield
    report.gas[what] += account.gas_used - before


def _bid(
    market: AuctionContract,
    account: ChainAccount,
    report: TradingReport,
    orders: Sequence[LimitOrder],
    hand_over: HandOver,
) -> None:
    """Commits, and tells what opens that once nobody can commit any more. Where all do, they are cleared at once; where
    that has not come about after half of the phase, or somebody reveals, it reveals."""
    round_ = market.round()
    bids = encode_trades([(o.step, o.energy_wh if o.sells else -o.energy_wh, o.price_micro) for o in orders])
    opening = BidsOpening(secrets.token_bytes(32), bids)
    with _counted(report, account, "declare"):
        market.commit(round_, opening.salt, bids)
    market.wait_until(lambda: market.iteration(round_) > 0 or market.outcome(round_).phase.is_final)
    hand_over(opening)
    late = market.deadline() - market.setting().phase_seconds // 2

    def cleared() -> bool:
        return market.outcome(round_).phase.is_final

    market.wait_until(lambda: cleared() or bool(market.present(round_)) or chain_time(account.web3) > late)
    if cleared():
        return
    try:
        with _counted(report, account, "submit"):
            market.reveal(round_, opening.salt, bids)
    except ContractError:
        if not cleared():  # at this moment, with all
            raise


def terms_of(market: PriceContract) -> ManagedTerms:
    """What a round was opened with."""
    rho, base, feed_in, imports = market.terms()
    return ManagedTerms(feed_in, imports, market.unit_mwh, rho, base)


class _Planner:
    """A home in a community with a manager. All that it needs besides its own plan stands in the contract's log."""

    def __init__(self, market: PriceContract, view: NodeView, account: ChainAccount, report: TradingReport) -> None:
        self._market, self._view, self._account, self._report = market, view, account, report

    def plan(self, alone: Mapping[str, Array]) -> None:
        """To the end of the round; its own plan stays where that is not settled with it."""
        market, number = self._market, self._market.round()
        terms = terms_of(market)
        fair = (terms.feed_in_micro, terms.import_micro) == tariff_micro(self._view.prices)
        with _counted(self._report, self._account, "declare"):
            (market.join if fair else market.abstain)(number)
        if not fair:  # other prices than its supplier's
            return
        started = time.perf_counter()
        member = ManagedMember(self._view, alone, terms)
        self._report.solve_s += time.perf_counter() - started
        market.wait_until(lambda: market.iteration(number) > 0 or market.outcome(number).phase.is_final)
        if self._is_settled(member, terms, number):
            self._report.schedule = {name: values.tolist() for name, values in member.plan.items()}

    def _is_settled(self, member: ManagedMember, terms: ManagedTerms, number: int) -> bool:
        first = tuple(Manager(terms).price_micro)
        prices, iteration, history = (first, first), 1, 0
        while True:
            started = time.perf_counter()
            units, gain = member.told(iteration, *prices)
            self._report.solve_s += time.perf_counter() - started
            priced = self._tell(number, iteration, history, units.tolist(), gain)
            if priced is None:
                return False
            if priced.settled:
                return self._view.node in priced.present
            if priced.iteration == iteration:
                prices = (priced.price_micro, prices[0])
            else:  # it was closed without this one, and so were others since
                before = [one.price_micro for one in self._market.priced(number)][-2:-1]
                prices = (priced.price_micro, before[0] if before else first)
            iteration, history = priced.iteration + 1, priced.history

    def _tell(self, number: int, iteration: int, history: int, units: Sequence[int], gain: int) -> Priced | None:
        """Tells, and waits until the iteration is closed; the last one that is, where this comes too late for it.

        Returns:
            None where the round goes on without this home, or is over.
        """
        market = self._market
        try:
            with _counted(self._report, self._account, "submit"):
                market.tell(number, iteration, history, units, gain)
        except ContractError as error:
            if error.name in GONE_ON:
                return None if market.outcome(number).phase.is_final else market.priced(number)[-1]
            if error.name in LEFT:
                return None
            raise
        return market.priced_in(number, iteration)


class _Trader:
    """A home in an order book."""

    def __init__(
        self, market: BookContract, record: MarketRecord, view: NodeView, account: ChainAccount, report: TradingReport
    ) -> None:
        mechanism = market_of(scenario_named(record.scenario)).mechanism
        if not isinstance(mechanism, ContinuousDoubleAuction):
            raise InputError(f"'{record.scenario}' is not played in an order book: deploy its own market")
        self._market, self._account, self._view, self._report = market, account, view, report
        self._strategy, self._rounds = mechanism.strategy, record.rounds
        setting = market.setting()
        self._grid = Grid(setting.lowest_micro, setting.tick_micro, setting.top)
        self._draws = np.random.default_rng([mechanism.seed, view.node])
        self._rests: dict[int, tuple[int, int]] = {}  # id and price by step
        between = view.between or view.prices
        self._ends = [
            (round(MICRO * fed_in), round(MICRO * bought))
            for fed_in, bought in zip(between.feed_in_price.tolist(), between.bought_price.tolist(), strict=True)
        ]

    def trade(self, orders: Sequence[LimitOrder]) -> None:
        market = self._market
        number = market.round()
        with _counted(self._report, self._account, "declare"):
            market.join(number)
        market.wait_until(lambda: market.outcome(number).phase.is_final)
        if market.outcome(number).phase is not Phase.CONVERGED:
            return
        self._first = market.first_step(number)
        with _counted(self._report, self._account, "submit"):
            for left in reversed(range(self._rounds)):
                for order in orders:
                    self._renew(order, left)

    def _renew(self, order: LimitOrder, left: int) -> None:
        """Takes out what rests of an order, and places anew what is left of it, where its price is another now."""
        book = Book(order.step, (), (), *self._ends[order.step])
        price = self._strategy.price(order, book, left, self._draws)
        named = self._grid.named(replace(order, price_micro=price))
        id, resting = self._rests.get(order.step, (0, 0))
        if id and resting == named.price_micro:
            return  # it keeps its turn
        self._rests.pop(order.step, None)
        if id and not self._send(lambda: self._take_out(order, id)):
            return  # it was filled, or the gate has closed
        energy = order.energy_wh - abs(self._market.position(self._first + order.step, self._account.address))
        if energy > 0:
            self._send(lambda: self._place(replace(named, energy_wh=energy)))

    def _send(self, send: Callable[[], None]) -> bool:
        try:
            send()
        except ContractError as error:
            if error.name not in OVER:
                raise
            return False
        return True

    def _take_out(self, order: LimitOrder, id: int) -> None:
        receipt = self._market.send_fresh(self._market.cancelling(id))
        self._report.placings.append(Placing(receipt["blockNumber"], receipt["transactionIndex"], order, out=True))

    def _place(self, order: LimitOrder) -> None:
        call = self._market.placing(self._first + order.step, order.sells, order.price_micro, order.energy_wh)
        receipt = self._market.send_fresh(call)
        self._report.placings.append(Placing(receipt["blockNumber"], receipt["transactionIndex"], order))
        if id := self._market.rests(receipt):
            self._rests[order.step] = id, order.price_micro
