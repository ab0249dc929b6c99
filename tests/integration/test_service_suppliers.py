"""Services of a community with two suppliers, two days on Anvil: tiny3 in TG, agreed in rounds, read and settled."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from chains import skip_without
from pilots import PHASE_SECONDS, key_of, outcome, running, schedule

from gridpact.chain.account import ChainAccount
from gridpact.chain.deploy import mint_tokens
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase
from gridpact.community.model import PriceRange, Prices
from gridpact.node.audit import audit_round
from gridpact.node.round_log import assembly_of
from gridpact.run.staging import TOKEN_DECIMALS, tariff_with_fees
from measure.soak import TOKENS, Pilot

HOMES = (1, 2, 3)
BOB = 2
UNIT = 10**TOKEN_DECIMALS
FEE, PEAK = 0.03, 0.10  # currency/kWh of what comes from neighbours, and currency/kW of the highest power of a day


class Suppliers:
    """The community's, and another one whose customer bob is, with fees."""

    def __init__(self, pilot: Pilot) -> None:
        self.pilot = pilot
        network, web3 = pilot.network, pilot.network.connect()
        metering, green = pilot.keys["metering"], new_key()
        accounts = [ChainAccount(web3, key) for key in (metering, key_of(pilot, BOB), green)]
        network.fund([account.address for account in accounts], 10 * ETHER, web3)
        mint_tokens(pilot._manager, pilot.record, [accounts[2].address], TOKENS)
        admits, wishes, self.green = (Settlement.of(pilot.record, web3, account) for account in accounts)
        self.green_address = accounts[2].address
        admits.admit_supplier(self.green_address)
        wishes.wish_supplier(self.green_address)
        self.green.supply(accounts[1].address)
        self.green.deposit(TOKENS // 2)
        common = pilot.community.prices
        self.common, self.own = (
            common.with_fees(np.zeros(4), np.zeros(4), np.full(4, FEE), PEAK),
            Prices(0.95 * np.roll(common.import_price, 1), 0.4, trade_fee=np.full(4, FEE / 2), peak_fee=PEAK / 2),
        )

    def publish(self, round_: int, *, who: Settlement, prices: Prices) -> None:
        who.publish_tariff(round_, tariff_with_fees(prices, self.pilot.community.step_hours))

    def of(self, node: int) -> Prices:
        return self.own if node == BOB else self.common

    def address_of(self, node: int) -> str:
        return self.green_address if node == BOB else self.pilot.record.supplier

    def balances(self) -> dict[str, int]:
        """What each has, or is owed by its customers."""
        owed: Counter[str] = Counter()
        for node in HOMES:
            owed[self.address_of(node)] += self.green.arrears(str(self.pilot.aggregator.account_of(node)))
        addresses = map(self.address_of, HOMES)
        return {address: self.green.free(address) + owed[address] for address in addresses}


def test_twoSuppliers_overTwoDays(tmp_path: Path) -> None:
    """On day 1 both publish before the round is opened; on day 2 the other one does after the community's, when all
    services are waiting: nobody declares before it has."""
    skip_without("anvil")
    with open_network("anvil") as network:
        pilot = Pilot(network, tmp_path, phase_seconds=PHASE_SECONDS)
        suppliers, settlement = Suppliers(pilot), pilot.settlement
        with running(pilot, 0, *HOMES):
            for round_, day in enumerate(("2026-02-01", "2026-02-02"), start=1):
                pilot.write_forecasts(day)
                suppliers.publish(round_, who=settlement, prices=suppliers.common)
                if round_ == 1:
                    suppliers.publish(round_, who=suppliers.green, prices=suppliers.own)
                assert pilot.aggregator.open_round(int(day.replace("-", ""))) == round_
                if round_ == 2:
                    time.sleep(3.0)
                    assert not pilot.aggregator.progress().present
                    suppliers.publish(round_, who=suppliers.green, prices=suppliers.own)
                assert pilot.end_of(round_) is Phase.CONVERGED
                for node in (0, *HOMES):
                    assert outcome(pilot, node, round_)["outcome"] == "agreed", outcome(pilot, node, round_)
                check(pilot, suppliers, round_, day)


def check(pilot: Pilot, suppliers: Suppliers, round_: int, day: str) -> None:
    """What was agreed is what both sides of a pair name, at prices that suit both tariffs; and what was read is billed
    by the household's own supplier: a plain sum over meters and trades."""
    settlement, steps, hours = pilot.settlement, pilot.community.steps, pilot.community.step_hours
    assert audit_round(pilot.aggregator, round_).clean
    declared = assembly_of(pilot.aggregator, round_)
    assert declared is not None
    books = {node: declared[0].book(node) for node in HOMES}
    for node, book in books.items():
        assert book == {partner: books[partner][node] for partner in book}
    assert {node: outcome(pilot, node, round_)["outcome"] for node in HOMES} == dict.fromkeys(HOMES, "agreed")

    sold = {node: np.zeros(steps) for node in HOMES}
    across = PriceRange.of(suppliers.own, suppliers.common)
    records = settlement.recorded(round_)
    for record in records:
        for trade in record.trades:
            sold[record.lower][trade.step] += trade.energy_wh
            sold[record.higher][trade.step] -= trade.energy_wh
            if BOB in (record.lower, record.higher):
                price = trade.price_micro / 1e6
                assert across.low[trade.step] - 2e-6 <= price <= across.high[trade.step] + 2e-6
    assert records

    before = suppliers.balances()
    pilot.deliver(round_, day)
    expected: Counter[str] = Counter()
    for node, delivery in settlement.deliveries(round_).items():
        prices, read = suppliers.of(node), np.array(delivery.energies_wh)
        assert read.tolist() == [step["meter_wh"] for step in schedule(pilot, node, day)["steps"]]  # type: ignore[attr-defined]
        beyond = (read - sold[node]) / 1000
        worth = np.where(beyond > 0, prices.feed_in_price, prices.import_price) @ beyond
        bought, peak_kw = np.maximum(-sold[node], 0) / 1000, max(-read.min(), 0) / 1000 / hours
        assert prices.trade_fee is not None
        fees = prices.trade_fee @ bought + prices.peak_fee * peak_kw
        assert delivery.payment / UNIT == pytest.approx(worth - fees, abs=1e-5)
        expected[suppliers.address_of(node)] -= delivery.payment
    after = suppliers.balances()
    assert {who: after[who] - before[who] for who in after} == dict(expected)
    assert len(expected) == 2
