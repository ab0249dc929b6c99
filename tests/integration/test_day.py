"""A day on the chain with nodes of their own, from the forward to the last payment, on tiny3."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpact.chain.day import DaySettlement
from gridpact.chain.feed import Feed
from gridpact.chain.flexibility import OfferTerms
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community, shipped_cases
from gridpact.day.files import Deal, MeterFiles, Orders, read_actual, write_actual
from gridpact.errors import InputError
from gridpact.live.reader import Reader
from gridpact.live.store import Store
from gridpact.live.view import About, RoundView
from gridpact.problem.verification import trades_charged
from gridpact.products.pool import PoolRules
from gridpact.run.launch import NodeFiles
from gridpact.study.whatif.following import AskedPart, DecidedStep
from gridpact.study.whatif.forecast import ErrorModel, draw
from gridpact.study.whatif.realised import actual_of
from gridpact.study.whatif.rules import netted_adders, saved_by_pool
from measure.days import DayCampaign
from measure.faulty_day import JOINS_LATE, DayFault


def played(folder: Path, *options: str, case: str = "tiny3") -> dict[str, Any]:
    """`gridpact day` on tiny3; its result.json."""
    assert main(["day", "--case", case, "--out", str(folder), *options]) == 0
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_day_fromTheForwardToTheLastPayment(tmp_path: Path, anvil: Network, capsys: pytest.CaptureFixture[str]):
    """TG, processes, agreed anew twice; what is paid for trades sums to zero over the households, and what is paid for
    steps with the supplier's part. Then the chain tells where the day stands."""
    url = str(anvil.rpc_url)
    result = played(tmp_path / "day", "--scenario", "tg", "--re-agreements", "2", "--chain", url)
    assert result["re_agreements"] == 2
    assert result["nominations"] == 9
    assert result["money_conserved"]
    assert result["all_locks_ended"]
    assert (result["options_exercised"], result["spot_trades"], result["forwards_settled"]) == (1, 1, 1)
    homes = result["households"]
    for received in ("received_for_trades", "received_for_deals"):
        assert sum(home[received] for home in homes) == pytest.approx(0, abs=1e-9)
    by_steps = sum(home["received_by_steps"] for home in homes) + result["supplier_received"]
    assert by_steps == pytest.approx(0, abs=1e-9)
    assert sum(step["day_ahead_kwh"] for step in result["steps"]) > 0
    for home in homes:  # nobody has a car on tiny3, nor a peak fee
        received = sum(home[f"received_{what}"] for what in ("for_trades", "by_steps", "for_deals"))
        assert home["paid"] == pytest.approx(-received, abs=1e-6)
    assert {path.name for path in (tmp_path / "day").iterdir()} >= {
        "index.html",
        "layers.svg",
        "money.svg",
        "steps.csv",
    }
    capsys.readouterr()
    place = ["--rpc", url, "--network", "local", "--contracts", str(tmp_path / "day" / "contracts.json")]
    assert main(["positions", "--day", "1", *place]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in told[1:5]] == ["settled"] * 4
    pooled = [step["pool_kwh"] for step in result["steps"]]
    assert [float(line[5]) for line in told[1:5]] == pytest.approx(pooled, abs=1e-3)
    assert [(line[1], line[-1]) for line in told[-3:]] == [
        *(("spot", "taken"), ("option", "exercised"), ("forward", "settled"))
    ]
    assert main(["positions", "--day", "2", *place]) == 2
    assert "was not opened" in capsys.readouterr().err
    check_page(tmp_path / "day" / "contracts.json", anvil, homes)
    ledger = DaySettlement.of(Record.read(tmp_path / "day" / "contracts.json"), anvil.connect())
    assert ledger.terms(1).step_seconds == 6 * 3600  # tiny3's four steps


def check_page(record: Path, network: Network, homes: list[dict[str, Any]]) -> None:
    """What the live page shows of trades, steps, and of spot, option and forward is what the households received."""
    store, deployed = Store(None), Record.read(record)
    Reader(lambda: Feed(deployed, network.connect()), lambda: store, lambda: None).look(store)
    about = About.of(store)
    assert about is not None
    through = RoundView(store, about, 1).day()["through"]
    assert through["closed"]
    states = [(deal["kind"], deal["state"]) for deal in through["deals"]]
    assert sorted(states) == [("forward", "settled"), ("option", "exercised"), ("spot", "taken")]
    unit = 10 ** -about.currency["decimals"]
    for home in homes:
        node = home["node"]
        paid = [payment for deal in through["deals"] for payment in deal["paid"]]
        units = sum(units * ((to == node) - (payer == node)) for payer, to, units in paid)
        assert unit * units == pytest.approx(home["received_for_deals"], abs=1e-9)
        assert unit * through["traded"][node][2] == pytest.approx(home["received_for_trades"], abs=1e-9)
        assert unit * through["received"][node] == pytest.approx(home["received_by_steps"], abs=1e-9)


def test_day_goesOnWithoutWhoIsSilent(tmp_path: Path, anvil: Network):
    """3 is not heard from step 2 on, and the oracle never. The others agree anew without it, and it keeps the positions
    of the day before; its readings are waited for in vain, and every lock ends."""
    told = ["--relay", "--re-agreements", "1", "--silent", "3@2", "--oracle", "silent", "--chain", str(anvil.rpc_url)]
    result = played(tmp_path / "day", *told)
    assert result["re_agreements"] == 1
    record, web3 = Record.read(tmp_path / "day" / "contracts.json"), anvil.connect()
    ledger, trades = DaySettlement.of(record, web3), Settlement.of(record, web3)
    of_before = [one for one in trades.recorded(1) if 3 in (one.lower, one.higher)]
    assert of_before
    assert not any(3 in (one.lower, one.higher) for one in trades.recorded(2))
    for step in range(ledger.steps):
        bought = sum(trade.energy_wh for one in of_before for trade in one.trades if trade.step == step)
        assert ledger.position(1, 3, step) == -bought  # 3 is the higher of each pair
    assert result["missing_readings"] == 2
    assert result["money_conserved"]
    assert result["all_locks_ended"]


def test_day_ofLiars_losesNoUnit(anvil: Network):
    """A sample of `make faultydays`: meters and nominations that cannot be, an absurd oracle, and somebody who comes
    when the first gate is closed, and is a plain customer that day."""
    campaign = DayCampaign(anvil, seed=1, patience_s=120.0, phase_seconds=300)  # nobody is late on a slow machine
    faults = [DayFault("meter lies", 1, 1), DayFault("nominates anything", 2, 1), DayFault(JOINS_LATE, 3, 1)]
    campaign.go_through(0, "absurd", faults)
    assert campaign.tally.problems == []
    assert (campaign.tally.days_closed, campaign.tally.money_lost, campaign.tally.locked) == (1, 0, 0)
    assert (campaign.tally.plain_customers, campaign.tally.missing_readings) == (1, 0)
    assert campaign.tally.rounds_agreed == 3


def test_day_withCalls(tmp_path: Path, anvil: Network):
    """3, with a battery, is called for its baseline, and for half a kWh less drawn after that; 1, with nothing but a
    load that turns out otherwise, for more; 2 is not heard any more by then. What each receives is worked out from
    baselines and readings, and is what the live page shows."""
    called = ["--calls", "3@1:0,3@2:0.5,1@3:-0.3,2@3:1", "--call-price", "0.4", "--silent", "2@3"]
    plain = ["--no-deals", "--re-agreements", "0", "--chain", str(anvil.rpc_url)]
    result = played(tmp_path / "day", *called, *plain)
    assert (result["money_conserved"], result["all_locks_ended"]) == (True, True)
    store, deployed = Store(None), Record.read(tmp_path / "day" / "contracts.json")
    Reader(lambda: Feed(deployed, anvil.connect()), lambda: store, lambda: None).look(store)
    about = About.of(store)
    assert about is not None
    shown = {one["node"]: one for one in RoundView(store, about, 1).day()["through"]["calls"]}
    assert [(call["node"], call["device"], call["step"]) for call in result["calls"]] == [
        *((3, "battery", 1), (1, "meter", 3)),
    ]
    assert result["calls"][0]["asked_kwh"] == [0, 0.5]
    for call in result["calls"]:
        moved = np.array(call["read_kwh"]) - np.array(call["baseline_kwh"])
        asked = np.array(call["asked_kwh"])
        delivered = np.clip(moved * np.sign(asked), 0, np.abs(asked)).sum()
        otherwise = np.maximum(np.abs(moved - asked) - 0.1, 0).sum()
        most = 0.4 * 2 * np.maximum(np.abs(asked), 1).sum()  # the bond
        payment = max(0.4 * (delivered - otherwise), -most)
        assert call["payment"] == pytest.approx(payment, abs=3e-6)
        own = shown[call["node"]]
        assert own["moved_wh"] == [round(1000 * one) for one in moved]
        assert own["payment"] == round(1e6 * call["payment"])
        (home,) = (home for home in result["households"] if home["node"] == call["node"])
        assert home["received_for_calls"] == call["payment"]
        received = sum(home[f"received_{what}"] for what in ("for_trades", "by_steps", "for_deals", "for_calls"))
        assert home["paid"] == pytest.approx(-received, abs=1e-6)
    battery = result["calls"][0]
    assert battery["delivered_kwh"] == 0.5
    assert (tmp_path / "day" / "calls.csv").read_text().count("\n") == 4
    page = (tmp_path / "day" / "index.html").read_text()
    assert "The aggregator called for 0.80 kWh in 3 steps" in page


def test_day_withTwoSuppliersAndFees(tmp_path: Path, anvil: Network):
    """What the contract takes of each home is its own supplier's bill for what was read beyond its positions, less what
    the pool of that supplier's customers saves it, with their adders, the fee on what it has bought and taken, and that
    on the month's peak; worked out from readings, positions and nominations alone."""
    case = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    fees = "[fees]\ngrid_per_kwh = 0.05\ntax_per_kwh = 0.02\ntraded_per_kwh = 0.04\n"
    peak = 'peak_per_kw = 0.3\npeak_over = "month"\n'
    green = '[tariff.green]\nsupplier = "Green"\nprices = "green.csv"\nfeed_in_share = 0.4\n'
    with (case / "community.toml").open("a", encoding="utf-8") as toml:
        toml.write(f"\n{fees}{peak}\n{green}")
    (case / "green.csv").write_text("time,import_price\n1 00:00,0.26\n1 06:00,0.34\n1 12:00,0.26\n1 18:00,0.34\n")
    head, first, *others = (case / "households.csv").read_text().splitlines()
    rows = [f"{head},tariff", f"{first},", *(f"{other},green" for other in others)]
    (case / "households.csv").write_text("\n".join(rows) + "\n")
    result = played(tmp_path / "day", "--re-agreements", "1", "--chain", str(anvil.rpc_url), case=str(case))
    assert (result["money_conserved"], result["all_locks_ended"], result["missing_readings"]) == (True, True, 0)
    community = read_community(str(case)).on("1")
    ledger = DaySettlement.of(Record.read(tmp_path / "day" / "contracts.json"), anvil.connect())
    hours, nodes = community.step_hours, [home.node for home in community.households]
    fed_kw, sold_kw, nominated_kw = np.zeros((3, 3, community.steps))
    for row, node in enumerate(nodes):
        for step in range(community.steps):
            fed_kw[row, step] = ledger.readings(1)[step, node] / 1000 / hours
            sold_kw[row, step] = ledger.position(1, node, step) / 1000 / hours
            nominated_kw[row, step] = ledger.nominated(1, node, step) / 1000 / hours
    net_kw, paid = sold_kw - fed_kw, np.zeros(3)
    for group in community.customers():
        rows_, prices = group.places, group.prices
        supply = np.maximum(net_kw, 0) * prices.import_price - np.maximum(-net_kw, 0) * prices.feed_in_price
        paid[rows_] += hours * (supply + trades_charged(prices, sold_kw))[rows_].sum(axis=1)
        paid[rows_] -= saved_by_pool(net_kw[rows_], prices, PoolRules(), hours)
        paid[rows_] += netted_adders((net_kw - nominated_kw)[rows_], 0.05, hours)
        paid[rows_] += 0.3 * np.maximum(-fed_kw[rows_], 0).max(axis=1)
    received = [home["received_by_steps"] for home in result["households"]]
    assert received == pytest.approx(-paid, abs=3e-5)
    assert (sold_kw < 0).any()
    assert sum(home["peak_fee"] for home in result["households"]) > 0
    assert len(community.customers()) == 2
    assert sum(received) + result["supplier_received"] == pytest.approx(0, abs=1e-9)


def test_day_agreesAnewOnlyAboveTheThreshold(tmp_path: Path, anvil: Network):
    """Nothing is agreed anew, no household spends gas on it, and positions are those of the day before. What the grid
    operator asks for peaks is by what meters have read."""
    case = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    with (case / "community.toml").open("a", encoding="utf-8") as toml:
        toml.write("\n[fees]\ngrid_per_kwh = 0.05\npeak_per_kw = 0.3\n")
    told = "--no-deals", "--re-agreements", "2", "--re-agree-above", "1000", "--chain", str(anvil.rpc_url)
    result = played(tmp_path / "day", *told, case=str(case))
    ledger = DaySettlement.of(Record.read(tmp_path / "day" / "contracts.json"), anvil.connect())
    drawn: dict[int, float] = {}
    for (_, node), fed_wh in ledger.readings(1).items():
        drawn[node] = max(drawn.get(node, 0.0), -fed_wh / 6000)  # a step has six hours
    assert {home["node"]: home["peak_fee"] for home in result["households"]} == pytest.approx(
        {node: 0.3 * kw for node, kw in drawn.items()}
    )
    assert min(drawn.values()) > 0
    assert (result["re_agreements"], result["re_agreements_skipped"], len(result["iterations"])) == (0, 2, 1)
    assert not any(result["gas"].get(what, 0) for what in ("negotiate", "bring again", "nominate again"))
    assert result["gas"]["day-ahead"] > 0
    assert result["gas_of_a_re_agreement"] == 0
    assert not any(step["changed_kwh"] for step in result["steps"])
    assert result["nominations"] == 3
    assert result["money_conserved"]
    assert result["all_locks_ended"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scenario", "g"], "scenario"),
        (["--stores", "mine"], "no stores 'mine'"),
        (["--re-agree-above", "nan"], "--re-agree-above needs a number of at least 0"),
        (["--lock", "0"], "--lock needs an amount above 0"),
        (["--pool-key", "a,b,c"], "--pool-key 'a,b,c' is none of proportional, equal, nor a share of each household"),
        (["--adder", "-1"], "--adder needs a number of at least 0"),
        (["--silent", "9@1"], "no household and step"),
        (["--silent", "1@0"], "no household and step"),
        (["--pool-key", "0.5,0.3,0.1"], "sum to 0.9, not to 1"),
        (["--pool-key", "0.5,0.5"], "2 shares for 3 members"),
        (["--oracle", "drunk"], "oracle"),
        (["--step-seconds", "1"], "no time before its gate"),
        (["--re-agreements", "-1"], "at least 0"),
        (["--calls", "9@1:1"], "is for no household and step"),
        (["--calls", "1@4:1"], "is for no household and step"),
        (["--calls", "1:1"], "is for no household and step"),
        (["--calls", "1@2"], "has no number of kWh"),
        (["--calls", "1@2:much"], "has no number of kWh"),
        (["--calls", "1@2:nan"], "has no number of kWh"),
        (["--calls", "1@2:1e9"], "has no number of kWh"),
        (["--calls", "1@2:1,1@2:0.5"], "called twice at step 2, and its one meter tells of one call"),
        (["--calls", ","], "--calls is empty"),
        (["--call-price", "0.3"], "nobody is called"),
        (["--call-price", "-1", "--calls", "1@2:1"], "--call-price needs a number of at least 0"),
    ],
)
def test_day_refusesInOneSentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str):
    assert main(["day", "--case", "tiny3", "--out", str(tmp_path / "day"), *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "day").exists()


def test_files_sayTheSameAgain(tmp_path: Path):
    community: CommunityDay = read_community("tiny3").on("1")
    reality = draw(community, ErrorModel(), np.random.default_rng(1))
    actual = actual_of(community, 2, reality, ErrorModel())
    write_actual(actual, tmp_path)
    again = read_actual(tmp_path)
    assert np.array_equal(again.guess_load_kw, actual.guess_load_kw)
    assert [sorted(one) for one in again.realised] == [sorted(one) for one in actual.realised]
    offer = OfferTerms("0x" + 40 * "1", 0, "battery", 5, 7, 9, 500, 0, 1000, 300_000, 300_000, 100, 0)
    orders = Orders(1, 1, 5, 0.05, 0.4, (Deal("spot", 1, 2, 3, 100, 5),), 2, (2, 4), False, offer)
    orders.write(tmp_path)
    assert Orders.read(tmp_path) == orders


def test_meterFiles_sayWhatWasSaid(tmp_path: Path):
    files = MeterFiles(NodeFiles(tmp_path, tmp_path / "contracts.json"))
    assert files.said(3, 0) is None
    assert files.asked(3, 0) == (False, None)
    decided, part = DecidedStep(-0.1, 1 / 3, True), AskedPart(-0.25, False)
    files.say(3, 0, decided)
    files.ask(3, 0, part)
    files.ask(3, 1, None)
    assert files.said(3, 0) == decided
    assert files.asked(3, 0) == (True, part)
    assert files.asked(3, 1) == (True, None)


def test_shares_sumToOne():
    from gridpact.chain.day import encode_shares

    assert encode_shares({1: 1 / 3, 2: 1 / 3, 3: 1 / 3}) == bytes(4) + b"".join(
        share.to_bytes(4, "big") for share in (333_333_334, 333_333_333, 333_333_333)
    )
    with pytest.raises(InputError, match="not to 1"):
        encode_shares({1: 0.4, 2: 0.5})
