"""Markets with contracts of their own: tiny3, from deployment to delivery, every home on its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from chains import skip_without

import gridpact.run.market
from gridpact.chain.market import AuctionContract, BidsOpening
from gridpact.community.model import Array, CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import GridpactError, InputError
from gridpact.market.agreement import Trade
from gridpact.market.bids import truthful_orders
from gridpact.market.community_manager import ManagedTerms
from gridpact.market.prepared import Prepared
from gridpact.market.registry import NAMES
from gridpact.outcome.outcome import Outcome, solved
from gridpact.run.market import CHAIN_ROUNDS, by_step, replayed, run_market
from gridpact.run.trading import TradingReport


@pytest.fixture(scope="module")
def day() -> CommunityDay:
    return read_community("tiny3").on("1")


@dataclass
class Remembered:
    """What homes reported, and what the outcome was."""

    outcome: Outcome
    reports: dict[int, TradingReport]


def remembered(day: CommunityDay, name: str, chain: str, **settings: Any) -> Remembered:
    reports: dict[int, TradingReport] = {}

    class Keeping(TradingReport):
        @staticmethod
        def read(path: Any) -> TradingReport:
            found = TradingReport.read(path)
            reports[found.node] = found
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gridpact.run.market, "TradingReport", Keeping)
        return Remembered(run_market(day, NAMES[name], chain, **settings), reports)


def check_money(ran: Remembered) -> None:
    """All payments cancel, in the token's smallest unit, and every home's gas is counted."""
    ledger = ran.outcome.ledger
    assert ledger is not None
    assert ledger.sums_to_zero
    assert ran.outcome.agreed.balanced
    assert set(ledger.gas_by_node) == {home.node for home in ran.outcome.community.households}
    spent = sum((report.gas for report in ran.reports.values()), Counter[str]())
    assert sum(ledger.gas_by_node.values()) == spent.total()
    assert all(ledger.gas_by_step[what] >= gas for what, gas in spent.items())
    # What the supplier gets for what the meters read beyond trades, to a thousandth: energies are whole watt-hours.
    dt, prices = day_of(ran).step_hours, day_of(ran).prices
    sold = defaultdict(float)
    for trade in ran.outcome.trades:
        sold[trade.seller, trade.step] += trade.energy_kwh
        sold[trade.buyer, trade.step] -= trade.energy_kwh
    due = 0.0
    for home in ran.outcome.households:
        beyond = dt * home.schedule["injection_kw"] - [sold[home.node, step] for step in range(day_of(ran).steps)]
        due -= float(np.sum(np.where(beyond > 0, prices.feed_in_price, prices.import_price) * beyond))
    assert ledger.supplier_received == pytest.approx(due, abs=2e-3)


def day_of(ran: Remembered) -> CommunityDay:
    return ran.outcome.community


def test_callAuction_tradesAsInMemory(day: CommunityDay) -> None:
    """Trade for trade, though bids were sealed, and the clearing was checked by the contract."""
    ran = remembered(day, "call-auction", "eth-tester")
    memory = solved(day, NAMES["call-auction"])
    check_money(ran)
    assert ran.outcome.trades == memory.trades != ()
    assert ran.outcome.cost.paid == memory.cost.paid
    ledger = ran.outcome.ledger
    assert ledger is not None
    assert ledger.sealed
    bought = Counter({home.node: home.paid for home in memory.households})
    assert ledger.transferred == pytest.approx(sum(paid for paid in bought.values() if paid > 0), abs=2e-5)
    assert {"declare", "settle", "deliver"} < set(ledger.gas_by_step)
    assert all(report.gas["submit"] == 0 for report in ran.reports.values())  # opened and cleared at once


def test_callAuction_whereOneTellsNobody_isRevealedAndClearedTheSame(
    day: CommunityDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homes find it late at once, and reveal by themselves."""
    monkeypatch.setattr(AuctionContract, "deadline", lambda market: 0)
    monkeypatch.setattr(BidsOpening, "write", lambda opening, path: None)
    ran = remembered(day, "call-auction", "eth-tester")
    check_money(ran)
    assert ran.outcome.trades == solved(day, NAMES["call-auction"]).trades != ()
    assert all(report.gas["submit"] > 0 for report in ran.reports.values())


def test_communityManager_plansAsInMemory(day: CommunityDay) -> None:
    """Iteration for iteration, and plan for plan to the last bit; trades are those of memory in whole Wh."""
    ran = remembered(day, "community-manager", "eth-tester")
    memory = solved(day, NAMES["community-manager"])
    check_money(ran)
    assert ran.outcome.iterations == memory.iterations > 1
    for home, own in zip(ran.outcome.households, memory.households, strict=True):
        for name, values in own.schedule.items():
            assert np.array_equal(home.schedule[name], values)
    prices = {trade.step: trade.price_per_kwh for trade in memory.trades}
    assert {trade.step: trade.price_per_kwh for trade in ran.outcome.trades} == prices != {}
    sold, sold_there = (sum_by(outcome.trades) for outcome in (memory, ran.outcome))
    for key in sold.keys() | sold_there.keys():  # a Wh by rounding each bid, and one by sharing in whole Wh
        assert sold_there.get(key, 0.0) == pytest.approx(sold.get(key, 0.0), abs=2.001e-3)
    assert {"declare", "submit", "settle", "deliver"} < set(ran.outcome.ledger.gas_by_step)  # type: ignore[union-attr]


def sum_by(trades: Sequence[Trade]) -> dict[tuple[int, int], float]:
    """kWh sold less bought, by node and step."""
    sums: defaultdict[tuple[int, int], float] = defaultdict(float)
    for trade in trades:
        sums[trade.seller, trade.step] += trade.energy_kwh
        sums[trade.buyer, trade.step] -= trade.energy_kwh
    return dict(sums)


def test_communityManager_whoseTermsAreNotTheSuppliers_hasNobodyIn(
    day: CommunityDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All abstain, so there is no price, and the run says so."""
    honest = ManagedTerms.of

    def dearer(community: CommunityDay, alone_kw: Array) -> ManagedTerms:
        terms = honest(community, alone_kw)
        return replace(terms, import_micro=tuple(price + 1 for price in terms.import_micro))

    monkeypatch.setattr(ManagedTerms, "of", dearer)
    with pytest.raises(GridpactError, match="no price was found"):
        run_market(day, NAMES["community-manager"], "eth-tester")


def test_communityManager_withSeveralTariffs_isRefusedBeforeAChainIsStarted(day: CommunityDay) -> None:
    other = replace(day.prices, import_price=2 * day.prices.import_price, supplier="Other")
    first, *others = day.households
    several = replace(day, households=(replace(first, tariff=other), *others))
    with pytest.raises(InputError, match="makes its prices of one tariff"):
        run_market(several, NAMES["community-manager"], "no chain")


@pytest.mark.parametrize("name", ["double-auction-gate"])
def test_orderBook_tradesAsInMemoryOfWhatCame(day: CommunityDay, name: str) -> None:
    """The book in memory, of the same orders in the turn that the chain gave them, trades the same, and something else
    of other orders; nobody trades more than its plan leaves, or outside its limit."""
    skip_without("anvil")
    ran = remembered(day, name, "anvil", rounds=CHAIN_ROUNDS)
    check_money(ran)
    placings = [placing for report in ran.reports.values() for placing in report.placings]
    assert replayed(placings) == by_step(ran.outcome.trades) != {}
    assert replayed(placings[: len(placings) // 2]) != by_step(ran.outcome.trades)
    limits = {(order.node, order.step): order for order in truthful_orders(Prepared.of(day, NAMES[name]))}
    traded: Counter[tuple[int, int]] = Counter()
    for trade in ran.outcome.trades:
        seller, buyer = limits[trade.seller, trade.step], limits[trade.buyer, trade.step]
        assert seller.sells
        assert not buyer.sells
        assert seller.price_micro <= round(1e6 * trade.price_per_kwh) <= buyer.price_micro
        for node in (trade.seller, trade.buyer):
            traded[node, trade.step] += round(1000 * trade.energy_kwh)
    assert all(wh <= limits[of].energy_wh for of, wh in traded.items())
