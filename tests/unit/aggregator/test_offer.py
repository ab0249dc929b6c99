"""What is offered: against what a battery can do by hand, and against each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.aggregator.offer import MarketPrices, Purpose, offered
from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder
from gridpact.devices.battery import Battery

STEPS = 24


def batteries(weaker: float = 1.0) -> CommunityDay:
    """Two homes of fontana16x3 with a battery each and nothing else."""
    community = read_community("fontana16x3").on("12-22")
    assert isinstance(community.feeder, PhaseFeeder)
    own = Battery(capacity_kwh=10.0, power_kw=5.0, charge_efficiency=0.9, discharge_efficiency=0.8, start_kwh=6.0)
    homes = tuple(replace(home, devices=(own,)) for home in community.households[:2])
    lines = tuple(replace(line, impedance_ohm=weaker * line.impedance_ohm) for line in community.feeder.lines)
    feeder = replace(community.feeder, lines=lines, connections=community.feeder.connections[:2])
    return replace(community, households=homes, feeder=feeder)


def test_reserve_isWhatBatteriesCanGiveAllTheTime_lessWhatIsHeldBack() -> None:
    flat, held = np.full(STEPS, 0.05), np.where(np.arange(STEPS) < 20, 0.4, 0.0)
    found = offered(batteries(), MarketPrices(flat, reserve=np.full(STEPS, 0.002)), Purpose.PROFIT, held)
    # At one price batteries with losses stand still: what 4 kWh more in each would bring over a day is less than they
    # lose. For 4 h each gives 6 kWh * 0.8 / 4 h, in any block but the last, after which there is no time to charge
    # again what the day has to end with.
    each = 6.0 * 0.8 / 4
    assert found.volume_kw["reserve"][:20] == pytest.approx(np.full(20, 2 * each - 0.4), abs=1e-2)
    assert found.volume_kw["reserve"][20:] == pytest.approx(0, abs=1e-2)
    assert found.pays["reserve"] == pytest.approx(20 * 0.002 * (2 * each - 0.4), rel=0.01)
    assert found.brings["reserve"] == pytest.approx(found.pays["reserve"], rel=0.01)
    assert found.held_back_cost == found.grid_cost == pytest.approx(20 * 0.002 * 0.4, rel=0.01)
    assert found.short_kw == pytest.approx(0, abs=1e-4)


def test_reserve_isChargedFor_whereItPays() -> None:
    """Served after day-ahead, batteries would stand still, as above."""
    flat = np.full(STEPS, 0.05)
    found = offered(batteries(), MarketPrices(flat, reserve=np.full(STEPS, 0.02)), Purpose.PROFIT, np.zeros(STEPS))
    assert found.profit > 20 * 0.02 * 2 * 6.0 * 0.8 / 4 + 0.01
    assert found.brings["reserve"] == pytest.approx(found.profit - found.brings["day_ahead"], abs=1e-6)
    assert found.pays["day_ahead"] < found.brings["day_ahead"]  # that is what it costs


def test_dayAhead_isWhatABatteryEarnsByHand() -> None:
    price = np.full(STEPS, 0.05)
    price[10] = 0.50
    found = offered(batteries(), MarketPrices(price), Purpose.PROFIT, np.zeros(STEPS))
    # Both give 5 kW for an hour where a kWh is worth ten times as much, and charge 5 / 0.8 / 0.9 kWh for that; what
    # homes do otherwise, at their own tariff, is to leave the day-ahead price alone.
    alone = offered(batteries(), MarketPrices(np.full(STEPS, 0.05)), Purpose.MEMBERS, np.zeros(STEPS))
    wanted = np.sum([home.load_kw for home in batteries().households], axis=0)
    bought = wanted @ price - 2 * (5 * 0.50 - 5 / 0.8 / 0.9 * 0.05)
    assert found.volume_kw["day_ahead"] @ price == pytest.approx(bought, rel=1e-4)
    assert alone.members_saved >= -1e-6


def test_aims_makeTheMostOfWhatTheyAreFor() -> None:
    rng = np.random.default_rng(1)
    prices = MarketPrices(
        rng.uniform(0.02, 0.2, STEPS), intraday=rng.uniform(0.02, 0.2, STEPS), carbon_kg=rng.uniform(0.1, 0.6, STEPS)
    )
    found = {aim: offered(batteries(), prices, aim, np.zeros(STEPS)) for aim in Purpose}
    assert found[Purpose.PROFIT].profit == max(one.profit for one in found.values())
    assert found[Purpose.PROFIT].brings["intraday"] >= -1e-6
    assert found[Purpose.MEMBERS].members_saved == max(one.members_saved for one in found.values())
    saved = [one.carbon_saved_kg for one in found.values()]
    assert found[Purpose.CARBON].carbon_saved_kg == max(one for one in saved if one is not None)
    assert all(not one.violations for one in found.values())


def test_weakFeeder_costsMarkets() -> None:
    price = np.where(np.arange(STEPS) < 12, 0.02, 0.3)
    strong, weak = (offered(batteries(of), MarketPrices(price), Purpose.PROFIT, np.zeros(STEPS)) for of in (1.0, 25.0))
    assert strong.grid_cost == pytest.approx(0, abs=1e-6)
    assert weak.grid_cost > 1e-3
    assert weak.brings["day_ahead"] == pytest.approx(strong.brings["day_ahead"] - weak.grid_cost, abs=1e-3)
    assert weak.feeder_cost == weak.grid_cost
    assert not weak.violations


def test_command_readsItsFiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices, risk, broken = tmp_path / "prices.csv", tmp_path / "risk.json", tmp_path / "broken.json"
    prices.write_text("time,day_ahead\n" + "".join(f"2018-12-21 {hour:02d}:00,{40 + hour}\n" for hour in range(24)))
    short = tmp_path / "short.csv"
    short.write_text("time,day_ahead\n2018-12-21 00:00,40\n2018-12-21 01:00,41\n")
    evening = [{"held_back_kw": 1.0 if at >= 40 else 0.0} for at in range(48)]
    risk.write_text(json.dumps({"half_hours": evening}))
    broken.write_text("{}")
    listed, one = tmp_path / "listed.json", tmp_path / "one.json"
    listed.write_text("[]")
    one.write_text('{"half_hours": [{"held_back_kw": 1}]}')
    of = ["aggregator", "offer", "--days", "2018-12-21"]
    assert main([*of, "--prices", str(prices), "--hold-back", str(risk), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["half_hours"]) == 48
    assert printed["profit"] == pytest.approx(printed["brings"]["day_ahead"])
    assert printed["profit"] == pytest.approx(printed["pays"]["day_ahead"])
    assert printed["brings"]["intraday"] == printed["brings"]["reserve"] == 0
    assert printed["held_back_cost"] >= -1e-6
    for options, said in (
        (["--prices", str(short)], "the price series has 2 values of 60 minutes, the horizon is 48 steps"),
        (["--prices", "nowhere.csv"], "nowhere.csv"),
        (["--prices", str(prices), "--objective", "carbon"], "needs the column 'carbon'"),
        (["--objective", "fame"], "there is no objective 'fame'"),
        (["--hold-back", str(broken)], "is no risk.json"),
        (["--hold-back", str(listed)], "is no risk.json"),
        (["--hold-back", str(one)], "half_hours must have 48 numbers"),
        (["--hold-back", str(tmp_path / "none.json")], "cannot be read"),
    ):
        assert main([*of, *options]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
