"""Tariffs and fees: plans against a program written here alone, bills against what passed, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.chain.account import ChainAccount
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import open_network
from gridpact.chain.settlement import Settlement
from gridpact.cli import main
from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.battery import Battery
from gridpact.errors import InputError
from gridpact.market.registry import AS_ONE, MARKETS, Market
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.day import day_of
from gridpact.outcome.outcome import solved
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.report import report
from gridpact.run.supplying import StagedSuppliers
from gridpact.study.markets import _best
from gridpact.study.weeks.store import outcome_of, to_fields
from gridpact.study.weeks.totals import Totals
from unit.problem.helpers import community, household

ENERGY = np.array([0.12, 0.10, 0.14, 0.20, 0.11, 0.13, 0.28, 0.18])
HOURS = 3.0


def street(fees: tuple[float, float, float, float], own: Array | None = None, chi: float = 0.0) -> CommunityDay:
    """Three homes: panels, a battery, and nothing; the last may have another supplier."""
    battery = Battery(6.0, 2.0, 0.95, 0.95, 2.0)
    grid, tax, traded, peak = fees

    def priced(energy: Array) -> Prices:
        return Prices(energy, 0.5).with_fees(*(np.full(8, fee) for fee in (grid, tax, traded)), peak)

    last = household(3, [0.5, 0.4, 0.6, 0.9, 0.8, 0.7, 2.4, 1.0], [0.0] * 8)
    homes = [
        household(1, [0.3, 0.3, 0.5, 0.4, 0.4, 0.6, 0.9, 0.5], [0, 0, 0.8, 2.6, 3.0, 1.4, 0.1, 0]),
        household(2, [0.4, 0.2, 0.9, 0.5, 0.5, 0.8, 1.6, 0.7], [0.0] * 8, devices=(battery,)),
        last if own is None else replace(last, tariff=priced(own)),
    ]
    day = community(homes, list(ENERGY), trading_coefficient=chi)
    return replace(day, prices=priced(ENERGY))


def least(day: CommunityDay, fees: tuple[float, float, float, float], own: Array | None, in_common: bool) -> float:
    """What the street can pay at least where trades cost nothing but their fee, by a program of its own."""
    grid, tax, traded, peak = fees
    charge, discharge = cp.Variable(8, nonneg=True), cp.Variable(8, nonneg=True)
    level = 2.0 + HOURS * cp.cumsum(0.95 * charge - discharge / 0.95)
    curtailed = cp.Variable(8, nonneg=True)
    output = day.households[0].pv_kw
    fed = [output - curtailed, discharge - charge, np.zeros(8)]
    net = [one - home.load_kw for one, home in zip(fed, day.households, strict=True)]
    within = [curtailed <= output, charge <= 2, discharge <= 2, level >= 0, level <= 6, level[-1] >= 2]
    energy = [ENERGY, ENERGY, ENERGY if own is None else own]
    cost = peak * sum(cp.maximum(0, cp.max(-one)) for one in net)
    if in_common:
        total, imported = sum(net), cp.Variable(8, nonneg=True)
        fed_in = imported + total
        within.append(fed_in >= 0)
        cost += HOURS * ((ENERGY + grid + tax - traded) @ imported - 0.5 * ENERGY @ fed_in)
        cost += HOURS * traded * sum(cp.sum(cp.pos(-one)) for one in net)
    else:
        imported, fed_in = cp.Variable((3, 8), nonneg=True), cp.Variable((3, 8), nonneg=True)
        sold = [imported[k] - fed_in[k] + net[k] for k in range(3)]
        within.append(sum(sold) == 0)
        for k in range(3):
            cost += HOURS * ((energy[k] + grid + tax) @ imported[k] - 0.5 * energy[k] @ fed_in[k])
            cost += HOURS * traded * cp.sum(cp.pos(-sold[k]))
    problem = cp.Problem(cp.Minimize(cost), within)
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == cp.OPTIMAL
    return float(problem.value)


rates = st.floats(0, 0.12).map(lambda x: round(x, 3))


@settings(max_examples=12, deadline=None)
@given(grid=rates, tax=rates, part=st.floats(0, 1), peak=st.sampled_from([0.0, 0.1, 0.6]), other=st.booleans())
def test_optimum_isThatOfAPlainProgram(grid: float, tax: float, part: float, peak: float, other: bool) -> None:
    fees = grid, tax, round(part * (grid + tax), 4), peak
    own = np.roll(ENERGY, 3) * 1.1 if other else None
    if own is not None and (0.5 * np.maximum(own, ENERGY) > np.minimum(own, ENERGY) + fees[0]).any():
        return  # refused when it is read
    day = street(fees, own)
    found = centralised_optimum(day, Scenario.T)
    assert found.cost == pytest.approx(least(day, fees, own, in_common=False), abs=2e-5)
    as_one = centralised_optimum(day, AS_ONE)
    assert as_one.cost == pytest.approx(least(day, fees, own, in_common=own is None), abs=2e-5)
    assert as_one.supply + as_one.fees == pytest.approx(as_one.cost, abs=1e-9)


FEES = (0.06, 0.03, 0.04, 0.3)
OTHER = ENERGY[::-1] * 0.9


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.scenario.value)
@pytest.mark.parametrize("several", [False, True], ids=["fees", "tariffs"])
def test_everyMarket_keepsToThem_orSaysSo(market: Market, several: bool) -> None:
    """Bills add up to what all pay, the optimum is near where it is promised, nobody pays more than import costs."""
    day = street(FEES, OTHER if several else None, chi=0.02)
    if several and market.one_tariff:
        with pytest.raises(InputError, match=f"'{market.scenario.value}' makes its prices of one tariff.* have 2: "):
            solved(day, market.scenario)
        return
    outcome = solved(day, market.scenario)
    assert outcome.converged
    optimal = market.scenario.mechanism in ("admm", "alone", "community-manager")
    assert not optimal or abs(outcome.implemented_gap) < 1e-3
    found = day_of(outcome)
    assert sum(home.cost for home in found.households) == pytest.approx(outcome.cost.paid, abs=1e-7)
    assert outcome.cost.paid <= outcome.paid_alone + 0.02 * outcome.paid_alone
    injection = np.array([home.schedule["injection_kw"] for home in found.households])
    peaks = 0.3 * np.maximum(-injection, 0).max(axis=1)
    assert [home.peak_fee for home in found.households] == pytest.approx(peaks, abs=1e-9)
    if market.scenario.has_contracts:
        bought = [HOURS * np.maximum(-home.schedule["net_sold_kw"], 0).sum() for home in found.households]
        assert [home.trade_fee for home in found.households] == pytest.approx(0.04 * np.array(bought), abs=1e-9)
        assert [home.grid_cost for home in found.households] == pytest.approx(
            [0.06 * home.import_kwh for home in found.households], abs=1e-9
        )
    else:
        drawn = HOURS * np.maximum(-injection, 0).sum(axis=1)
        assert [home.trade_fee for home in found.households] == pytest.approx(0.04 * drawn, abs=1e-9)
        to_grid = sum(home.grid_cost + home.trade_fee for home in found.households)
        assert to_grid == pytest.approx(0.06 * found.import_kwh + 0.04 * (drawn.sum() - found.import_kwh), abs=1e-9)
        assert sum(home.tax_cost for home in found.households) == pytest.approx(0.03 * found.import_kwh, abs=1e-9)
    most = (ENERGY if not several else np.maximum(ENERGY, OTHER)) + 0.05  # import with fees, less that on trades
    if market.scenario.mechanism not in ("admm", "double-auction-zero"):
        assert all(trade.price_per_kwh <= most[trade.step] + 2e-6 for trade in outcome.trades)


@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.TG], ids=lambda s: s.name)
def test_studyKnowsEachHomesTariff(scenario: Scenario) -> None:
    """What readings would cost alone is in B what is paid but for losses, also of a day that was kept."""
    found = day_of(solved(street(FEES, OTHER), scenario))
    again = outcome_of(json.loads(json.dumps(to_fields(found))))
    for kept, home in zip(Totals(scenario, (again,)).households, found.households, strict=True):
        tariff = street(FEES, OTHER).households[home.node - 1].tariff or street(FEES).prices
        drawn = np.maximum(-home.schedule["injection_kw"], 0), np.maximum(home.schedule["injection_kw"], 0)
        paid = HOURS * float(tariff.import_price @ drawn[0] - tariff.feed_in_price @ drawn[1]) + 0.3 * drawn[0].max()
        assert kept.alone == pytest.approx(paid, abs=1e-9)
        if scenario == Scenario.B:
            assert kept.alone == pytest.approx(home.cost - home.loss_cost, abs=1e-6)


def test_marketsAreComparedWithWhatIsPaid() -> None:
    """No market saves more than what is best for all, fees in."""
    day = street(FEES)
    alone, best = solved(day, Scenario.B).cost.paid, _best(day)
    assert best < alone - 0.05
    for scenario in (Scenario.T, Scenario.G, next(m.scenario for m in MARKETS if m.one_tariff)):
        assert solved(day, scenario).cost.paid >= best - 1e-4


def test_peakFee_flattensWhatAHomeDraws() -> None:
    peaks = []
    for peak in (0.0, 0.6):
        plan = solved(street((0.0, 0.0, 0.0, peak)), Scenario.B).households[1].schedule["injection_kw"]
        peaks.append(float((-plan).max()))
    assert peaks[1] < peaks[0] - 0.2


def test_lowerFee_movesTradesBack() -> None:
    """What stays in the community for a fee is less than for none, and more than where it costs as much as import."""
    kept = [solved(street((0.06, 0.03, fee, 0.0), chi=0.02), Scenario.T).traded_kwh for fee in (0.0, 0.04, 0.09)]
    assert kept[0] >= kept[1] - 0.2 >= kept[2] - 0.4
    assert kept[2] < kept[0] - 1


def test_householdFile_keepsThem(tmp_path: Path) -> None:
    for view in node_views(street(FEES, OTHER), Scenario.TG, NetworkAgreement.DSO):
        write_view(view, tmp_path / "view.json")
        again = read_view(tmp_path / "view.json")
        pairs = zip(*((one.prices, one.between, one.own_prices) for one in (view, again)), strict=True)
        for told, known in pairs:
            assert told is not None
            assert known is not None
            assert vars(told).keys() == vars(known).keys()
            for name, value in vars(told).items():
                assert np.array_equal(getattr(known, name), value), name


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The case `tiny3`, whose third home has another supplier, with fees."""
    folder = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    table = folder / "households.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    table.write_text(
        "\n".join([f"{header},tariff", *(f"{row},{'sun' if row.startswith('cem') else ''}" for row in rows)]) + "\n",
        encoding="utf-8",
    )
    prices = (folder / "prices.csv").read_text(encoding="utf-8")
    (folder / "sun.csv").write_text(prices.replace("0.40", "0.30").replace("0.4", "0.30"), encoding="utf-8")
    with (folder / "community.toml").open("a", encoding="utf-8") as toml:
        toml.write(
            "\n[fees]\ngrid_per_kwh = 0.05\ntax_per_kwh = 0.02\ntraded_per_kwh = 0.03\npeak_per_kw = 0.1\n"
            '\n[tariff.sun]\nsupplier = "Sun and Sons"\nprices = "sun.csv"\nfeed_in_share = 0.4\n'
        )
    return folder


def test_customersOfOneTariff_haveOneSupplier(files: Path) -> None:
    """Each home's tariff is read anew, and is the same one."""
    table = files / "households.csv"
    rows = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([rows[0], f"{rows[1]}sun", *rows[2:]]) + "\n", encoding="utf-8")
    day = read_community(str(files)).on("1")
    assert [home.tariff is not None for home in day.households] == [True, False, True]
    assert [group.rows for group in day.customers()] == [(0, 2), (1,)]
    assert [group.rows for group in day.customers(in_common=True)] == [(0, 1, 2)]
    assert [prices.supplier for prices in day.tariffs] == ["", "Sun and Sons"]
    asked: dict[str, list[str]] = {}

    class Recorded:
        def __init__(self, account: ChainAccount) -> None:
            self.of = account.address

        def admit_supplier(self, supplier: str) -> None:
            asked[supplier] = []

        def wish_supplier(self, supplier: str) -> None:
            asked[supplier].append(self.of)

        def supply(self, household: str) -> None:
            assert asked[self.of][-1] == household

    with open_network("eth-tester") as network:
        suppliers = StagedSuppliers(day, network)
        keys = {home.node: new_key() for home in day.households}
        suppliers.admit(cast(Callable[[ChainAccount], Settlement], Recorded), keys)
    assert asked == {suppliers.addresses[1]: [address_of(keys[1]), address_of(keys[3])]}


def test_files_sayWhoPaysWhom(files: Path) -> None:
    day = read_community(str(files)).on("1")
    before = read_community("tiny3").on("1").prices
    assert day.prices.import_price == pytest.approx(before.import_price + 0.07)
    assert day.prices.feed_in_price == pytest.approx(before.feed_in_price)  # of the supplier's price
    (own,) = [home.tariff for home in day.households if home.tariff is not None]
    assert (own.supplier, own.peak_fee) == ("Sun and Sons", 0.1)
    assert own.feed_in_price == pytest.approx(0.4 * (own.import_price - 0.07))
    assert [home.supplier for home in day_of(solved(day, Scenario.B)).households].count("Sun and Sons") == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("community.toml", "traded_per_kwh = 0.03", "traded_per_kwh = 0.08", "is 0.08, more than the 0.07 of"),
        ("community.toml", "peak_per_kw = 0.1", "peak_per_kw = -1", "'peak_per_kw' = -1 must be a number at least 0"),
        ("community.toml", "tax_per_kwh", "taxes", r"\[fees\]: 'taxes' is not known; known keys: grid_per_kwh"),
        ("community.toml", 'prices = "sun.csv"\n', "", "needs prices, the name of a table like prices.csv"),
        ("community.toml", "[tariff.sun]", "[tariff.moon]", "there is no tariff 'sun'; the tariffs are moon"),
        ("community.toml", "feed_in_share = 0.4", "feed_in_share = 4", "= 4 must be a number between 0 and 1"),
        ("sun.csv", "0.30", "0.9", "buying there for a neighbour to feed in would earn without end"),
        ("sun.csv", "0.30", "30", "30 for a kWh; is it per MWh, or in cents"),
    ],
)  # fmt: skip
def test_whatCannotBe_isOneSentence(files: Path, file: str, old: str, new: str, message: str) -> None:
    text = (files / file).read_text(encoding="utf-8")
    assert old in text
    if new == "0.9":
        (files / "community.toml").write_text(
            (files / "community.toml").read_text(encoding="utf-8").replace("feed_in_share = 0.4", "feed_in_share = 1"),
            encoding="utf-8",
        )
    (files / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_community(str(files))


def test_runTellsThem(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "drawn", lambda figures: {})  # takes seconds
    assert main(["run", "--chain", "memory", "--case", str(files), "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "bills.csv").open(encoding="utf-8") as file:
        bills = list(csv.DictReader(file))
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [bill["supplier"] for bill in bills] == ["", "", "Sun and Sons"]
    assert sum(float(bill["total"]) for bill in bills) == pytest.approx(result["cost"], abs=1e-7)
    for bill in bills:
        parts = ("energy", "grid_fee", "tax", "trade_fee", "peak_fee", "neighbours", "losses")
        assert sum(float(bill[part]) for part in parts) == pytest.approx(float(bill["total"]), abs=1e-7)
    assert result["cost_fees"] == pytest.approx(
        sum(float(bill["trade_fee"]) + float(bill["peak_fee"]) for bill in bills), abs=1e-7
    )
    assert "Fees go to the grid operator" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_aFeeGivenTwice_isRefused(files: Path) -> None:
    table = files / "prices.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([f"{header},grid_per_kwh", *(f"{row},0.05" for row in rows)]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"prices\.csv has grid_per_kwh, community\.toml, \[fees\], too; remove one"):
        read_community(str(files))
