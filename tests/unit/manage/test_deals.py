"""What of a day's offers, options and forwards is over is ended by anybody, and what is not stays."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gridpact.chain.account import ChainAccount
from gridpact.chain.contract import chain_time
from gridpact.chain.day import DaySettlement, DayTerms, Formula
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.travel import Traveller
from gridpact.community.read import read_community
from gridpact.manage.deals import deals_of, end_over
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.prepared import Prepared
from gridpact.problem.scenario import Scenario
from gridpact.run.staging import tariff_of

DAY, STEP, UNITS = 1, 3600, 10**6
PRICE = 200_000


@dataclass
class Opened:
    """A day that 1 and 2 have joined, and who looks on."""

    homes: dict[int, DaySettlement]
    other: DaySettlement
    oracle: str  # its key

    @property
    def now(self) -> int:
        return chain_time(self.other.web3)

    def until(self, moment: int) -> None:
        Traveller(self.other.web3).until(moment)

    def told(self) -> list[tuple[str, str]]:
        return [(deal.kind, deal.state) for deal in deals_of(self.other, DAY)]

    def end(self) -> int:
        return end_over(self.other, deals_of(self.other, DAY), self.now)


@pytest.fixture
def opened(anvil: Network) -> Opened:
    community = read_community("tiny3").on("1")
    web3 = anvil.connect()
    manager, keys = anvil.manager(web3), {node: new_key() for node in (1, 2, 3)}
    theta, setting = terms_of(Negotiation.of(Prepared.of(community, Scenario.T)), 300, max_misses=2)
    supplier, other, oracle = new_key(), new_key(), new_key()
    addresses = {node: str(address_of(key)) for node, key in keys.items()}
    record = deploy_contracts(
        manager, theta, setting, anvil.name, address_of(supplier), address_of(oracle), days=True, sealed=False
    )
    everybody = [*addresses.values(), str(address_of(supplier)), str(address_of(other))]
    anvil.fund(everybody, ETHER, web3)
    enrol_households(manager, record, addresses)
    mint_tokens(manager, record, everybody, 100 * UNITS)
    start = chain_time(web3) + 2 * STEP
    ledger = DaySettlement.of(record, web3, ChainAccount(web3, supplier))
    ledger.deposit(100 * UNITS)
    terms = DayTerms(start, STEP, STEP // 4, STEP // 4, adder=50_000, least_lock=UNITS)
    ledger.open_day(DAY, terms, tariff_of(community.prices), 50 * UNITS)
    homes = {node: DaySettlement.of(record, web3, ChainAccount(web3, keys[node])) for node in (1, 2)}
    for home in homes.values():
        home.deposit(100 * UNITS)
        home.join(DAY, 20 * UNITS)
    return Opened(homes, DaySettlement.of(record, web3, ChainAccount(web3, other)), oracle)


def test_whatIsOver_isEndedByAnybody(opened: Opened) -> None:
    """What is not taken by then, at its end or the gate; what is held, at the gate; and a forward when its condition is
    reported, or when no report is waited for."""
    one, two = opened.homes[1].products, opened.homes[2].products
    gate = opened.other.gate_of(DAY, 1)
    early = opened.now + STEP // 2
    formula = Formula(PRICE, 1000, PRICE, PRICE, 0, str(address_of(opened.oracle)))
    silent = Formula(PRICE, 1000, PRICE, PRICE, 0, opened.other.address)
    one.post_spot(DAY, 1, True, 300, PRICE)
    two.take_spot(1, 100)
    two.post_spot(DAY, 1, False, 50, PRICE)
    one.take_spot(2, 50)
    for until in (early, gate, gate):
        one.write_option(DAY, 1, 200, PRICE, 1000, UNITS, until)
    two.take_option(4)
    two.take_option(5)
    two.exercise(5, 150)
    for until, terms in ((early, formula), (gate, formula), (gate, formula), (gate, silent)):
        one.offer_forward(DAY, 1, True, 100, terms, until)
    two.take_forward(7)
    two.take_forward(9)
    kinds = ["spot"] * 2 + ["option"] * 3 + ["forward"] * 4
    states = ["offered", "taken", "offered", "held", "exercised", "offered", "held", "offered", "held"]
    assert opened.told() == list(zip(kinds, states, strict=True))
    assert opened.end() == 0
    opened.until(early)
    assert opened.end() == 2
    states[2] = states[5] = "lapsed"
    assert opened.told() == list(zip(kinds, states, strict=True))
    opened.until(gate)
    assert opened.end() == 3
    states[0] = states[3] = states[7] = "lapsed"
    assert opened.told() == list(zip(kinds, states, strict=True))
    opened.until(opened.other.start_of(DAY, 1))
    assert opened.end() == 0
    opened.other.products.report(opened.oracle, DAY, 1, 0)
    assert opened.end() == 1
    states[6] = "settled"
    assert opened.told() == list(zip(kinds, states, strict=True))
    opened.until(opened.other.start_of(DAY, 2) + STEP // 4 + 1)
    assert opened.end() == 1
    states[8] = "settled"
    assert opened.told() == list(zip(kinds, states, strict=True))
    assert opened.end() == 0
