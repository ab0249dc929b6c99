"""A street with phases, two suppliers and all fees on a chain: who is paid what, and how others become suppliers."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from chains import skip_without

import gridpact.run.onchain
from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.day import DaySettlement
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.encoding import decode_fees, decode_tariff
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Setting, Theta
from gridpact.cli import main
from gridpact.community.read import Community, read_community
from gridpact.community.street import PhaseFeeder
from gridpact.errors import ContractError
from gridpact.events import Event
from gridpact.grid.street_limits import PublishedStreet, decoded_street
from gridpact.manage.metering import comes_to
from gridpact.node.audit import audit_round
from gridpact.outcome.account import account_table, read_account
from gridpact.outcome.day import HouseholdDay, day_of
from gridpact.problem.scenario import Scenario
from gridpact.run.onchain import RunSettings
from gridpact.run.staging import TEST_TOKENS, TOKEN_DECIMALS

TINY = Path(gridpact.__file__).parent / "community" / "cases" / "tiny3"

MORE = """transformer = { kva = 50 }

[fees]
grid_per_kwh = 0.05
tax_per_kwh = 0.02
traded_per_kwh = 0.04
peak_per_kw = 0.10

[tariff.green]
supplier = "Green"
prices = "green.csv"
feed_in_share = 0.4
"""
GREEN = "time,import_price\n1 00:00,0.26\n1 06:00,0.34\n1 12:00,0.26\n1 18:00,0.34\n"
UNIT = 10**TOKEN_DECIMALS


def supplied(folder: Path) -> Community:
    """tiny3 on single phases behind a transformer, whose bob is the customer of another supplier."""
    shutil.copytree(TINY, folder)
    (folder / "community.toml").write_text((folder / "community.toml").read_text() + MORE)
    (folder / "green.csv").write_text(GREEN)
    head, ann, bob, *others = (folder / "households.csv").read_text().splitlines()
    rows = [f"{head},tariff,phases", f"{ann},,1", f"{bob},green,2 3", *(f"{other},,3" for other in others)]
    (folder / "households.csv").write_text("\n".join(rows) + "\n")
    return read_community(str(folder))


class Kept:
    """The record of a run, for whoever wants to look at its chain afterwards."""

    record: Record

    def hear(self, event: Event) -> None: ...

    @contextmanager
    def looking(self, record: Record, network: Network) -> Iterator[None]:
        self.record = record
        yield


def test_everyHouseholdPaysItsSupplierAndAllFees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the contract takes and pays is the household's bill but for neighbours' part and losses; each supplier has
    what its customers paid, or is owed it. Node 0 has published the street, and nothing in the round is false."""
    skip_without("anvil")
    community = supplied(tmp_path / "supplied3").on("1")
    kept, settings = Kept(), RunSettings(Scenario.TG, chain="anvil", sealed=False)
    with open_network(settings.chain) as network:

        @contextmanager
        def opened(name: str) -> Iterator[Network]:
            yield replace(network, rpc_url=None)

        monkeypatch.setattr(gridpact.run.onchain, "open_network", opened)
        monkeypatch.setattr(gridpact.run.onchain, "warm_up", lambda: None)
        result = gridpact.run.onchain.run(community, settings, kept, kept.looking)
        web3 = network.connect()
        settlement = Settlement.of(kept.record, web3)
        deliveries, suppliers = settlement.deliveries(1), settlement.suppliers_of(1, [1, 2, 3])
        free = Counter({address: settlement.free(address) for address in set(suppliers.values())})
        for node, account in Aggregator.of(kept.record, web3).accounts_in(1, [1, 2, 3]).items():
            free[suppliers[node]] += settlement.arrears(account)
        readings = {node: delivery.energies_wh for node, delivery in deliveries.items()}
        aggregator = Aggregator.of(kept.record, web3)
        book, audited = aggregator.declarations(1)[0].book, audit_round(aggregator, 1)
        told = {one.delivery.node: one.delivery.payment for one in comes_to(settlement, 1, readings)}
        accounts = {
            node: read_account(aggregator, settlement, address, 1)
            for node, address in aggregator.accounts_in(1, [1, 2, 3]).items()
        }
    assert isinstance(community.feeder, PhaseFeeder)
    assert decoded_street(book) == PublishedStreet.of(community.feeder)
    assert not audited.plan_errors
    assert result.ledger is not None
    assert result.ledger.sums_to_zero
    assert told == {node: delivery.payment for node, delivery in deliveries.items()}
    assert suppliers[1] == suppliers[3] != suppliers[2]
    paid: Counter[str] = Counter()
    for home in day_of(result).households:
        assert -deliveries[home.node].payment == pytest.approx(UNIT * billed(home), abs=0.002 * UNIT)
        paid[suppliers[home.node]] -= deliveries[home.node].payment
        (of_round,) = accounts[home.node].rounds
        assert of_round.fees.trades == pytest.approx(UNIT * home.trade_fee, abs=0.001 * UNIT)
        assert of_round.fees.peak == pytest.approx(UNIT * home.peak_fee, abs=0.001 * UNIT)
        assert "of it a fee on the peak" in account_table(accounts[home.node], 0.0)
    assert sum(one.rounds[0].fees.trades for one in accounts.values()) > 0
    for supplier, left in free.items():
        assert left == TEST_TOKENS * UNIT + paid[supplier]


def billed(home: HouseholdDay) -> float:
    """By its supplier, with what that collects for grid operator and state."""
    assert home.peak_fee > 0
    return home.import_cost + home.trade_fee + home.peak_fee


THETA = Theta(4, 1000, 1000, 1000, 1000, 1000, 1000, 50)
SETTING = Setting(4, 21_600, 500, 100, 600, 2)


def test_commandsOfSuppliers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Metering admits, a household asks, the supplier accepts and publishes; what is out of turn is said."""
    skip_without("anvil")
    supplied(folder := tmp_path / "supplied3")
    roles = {name: new_key() for name in ("supplier", "metering", "green", "bob", "ann")}
    with open_network("anvil") as network:
        web3 = network.connect()
        manager = network.manager(web3)
        address = {name: ChainAccount(web3, key).address for name, key in roles.items()}
        network.fund(list(address.values()), ETHER, web3)
        roles_ = address["supplier"], address["metering"]
        record = deploy_contracts(manager, THETA, SETTING, "local", *roles_, days=True)
        record.write(tmp_path / "record.json")
        enrol_households(manager, record, {1: address["ann"], 2: address["bob"]})
        mint_tokens(manager, record, [address[name] for name in ("supplier", "green", "bob")], 100 * UNIT)
        where = ["--contracts", str(tmp_path / "record.json"), "--network", "local", "--rpc", str(network.rpc_url)]

        def said(who: str | None, *words: str) -> tuple[int, str]:
            if who is not None:
                monkeypatch.setenv("GRIDPACT_MANAGER_KEY", roles[who])
            code = main([*words, *where, *(["--yes"] if who is not None else [])])
            out, err = capfd.readouterr()
            return code, out + err

        tariff = ("round", "tariff", "--community", str(folder), "--name", "green")
        assert "may not supply others yet" in said("green", *tariff)[1]
        assert "may not supply others" in said("bob", "supply", "ask", address["green"])[1]
        assert "only metering admits" in said("green", "supply", "admit", address["green"])[1]
        assert said("metering", "supply", "admit", address["green"])[0] == 0
        assert "Nobody asks" in said("green", "supply", "accept")[1]
        assert "nobody's account" in said("metering", "supply", "admit", "0x" + 40 * "0")[1]
        assert "cannot be its own customer" in said("green", "supply", "ask", address["green"])[1]
        assert said("bob", "supply", "ask", address["green"])[0] == 0
        asked = f"is a customer of the community's supplier from round 1 on, and asks to be one of {address['green']}"
        assert f"node 2 ({address['bob']}) {asked}" in said(None, "supply", "show")[1]
        assert "does not ask" in said("green", "supply", "accept", address["ann"])[1]
        assert said("green", "supply", "accept")[0] == 0
        shown = said(None, "supply", "show")[1]
        assert f"node 1 ({address['ann']}) is a customer of the community's supplier" in shown
        assert f"node 2 ({address['bob']}) is a customer of the supplier {address['green']}" in shown
        assert said("green", *tariff)[0] == 0
        assert "published before" in said("green", *tariff)[1]
        assert "is the community's supplier" in said("supplier", *tariff)[1]
        assert "there is no tariff 'blue'" in said("green", *tariff[:-1], "blue")[1]
        open_day = ("round", "day", "--community", str(folder), "--day", "2099-02-01", "--lock", "10")
        supplied_in = (*open_day, "--name", "green")
        assert "is not open" in said("green", *supplied_in)[1]
        assert "--start says when a day begins" in said("supplier", *open_day)[1]
        assert said("supplier", *open_day, "--start", "2099-02-01T00:00+00:00")[0] == 0
        assert "another one's key" in said("supplier", *supplied_in)[1]
        ledger = DaySettlement.of(record, web3, ChainAccount(web3, roles["bob"]))
        ledger.deposit(10 * UNIT)
        with pytest.raises(ContractError, match="NotSupplied"):
            ledger.join(20_990_201, UNIT)
        assert said("green", *supplied_in)[0] == 0
        assert "SuppliesAlready" in said("green", *supplied_in)[1]
        ledger.join(20_990_201, UNIT)
        told = ledger.tariffs_of(20_990_201, [1, 2])
        assert "only these two dismiss suppliers" in said("green", "supply", "dismiss", address["green"])[1]
        assert "is the community's supplier" in said("metering", "supply", "dismiss", address["supplier"])[1]
        assert "is no customer of" in said("green", "supply", "drop", address["ann"])[1]
        assert "it drops nobody" in said("supplier", "supply", "drop", address["ann"])[1]
        settlement = Settlement.of(record, web3)
        following = Aggregator.of(record, web3).progress().round + 1
        published = settlement.tariffs(following)
        assert settlement.tariffs(following, [address["ann"], address["bob"]]) == published
        assert settlement.tariffs(following, [address["ann"]]) == {}  # whose supplier has published none
        assert said("green", "supply", "drop", address["bob"])[0] == 0
        assert settlement.supplier_in(following, address["bob"]) == address["supplier"]
        assert said("metering", "supply", "dismiss", address["green"])[0] == 0
        assert "supplies nobody from round 1 on" in said("metering", "supply", "dismiss", address["green"])[1]
        assert not settlement.supplies(address["green"])
        assert settlement.has_supplied(address["green"])
    assert list(published) == [address["green"]]
    assert told == {2: published[address["green"]]}  # a peak counts over the day, in both
    assert decode_tariff(published[address["green"]])[0] == (330_000, 410_000, 330_000, 410_000)
    fees = decode_fees(published[address["green"]])
    assert fees is not None
    assert fees.traded_micro == (40_000,) * 4
    assert fees.peak_micro == round(1e6 * 0.10 / 6)
