"""What would be worth buying: annuities and savings against sums made here, days that stand for a year, and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from gridpact.cli import main
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.pv import Panels
from gridpact.errors import InputError
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.workers import HERE
from gridpact.study.whatif.invest import DEFAULTS, Asset, InvestSettings, Part, Purchase, invest, standing_days
from unit.problem.helpers import community, household, sweep


def asset(kind: str, **changes: float) -> Asset:
    return Asset(kind, {**DEFAULTS[kind], **changes})


@pytest.mark.parametrize("interest", [0.0, 0.03, 0.08])
def test_annuity_paysTheDebtOff(interest: float) -> None:
    part = Part(4200.0, 17.0)
    debt = part.price
    for _ in range(17):
        debt = debt * (1 + interest) - part.yearly(interest)
    assert debt == pytest.approx(0, abs=1e-6)


def test_battery_savesWhatAPlainProgramFinds() -> None:
    """Of a home on its own: 365 times what a linear program says of the one day."""
    kappa = np.array([0.10, 0.50, 0.20, 0.60])
    load = np.array([0.5, 1.5, 0.5, 2.0])
    day = community([household(1, list(load), [0.0] * 4)], list(kappa))
    bought = asset("battery", size=6.0, power_kw=1.0)
    saved = Purchase(day, Scenario.B, 1, bought).solve()
    way, eye = np.sqrt(0.9), np.eye(4)
    sums = 6 * np.tril(np.ones((4, 4)))
    level = np.hstack([np.zeros((4, 8)), way * sums, -sums / way])
    floor = np.array([0, 0, 0, 3.0])
    found = linprog(
        6 * np.concatenate([kappa, -0.5 * kappa, np.zeros(8)]),
        A_eq=np.hstack([eye, -eye, -eye, eye]),
        b_eq=load,
        A_ub=np.vstack([level, -level]),
        b_ub=np.concatenate([np.full(4, 3.0), 3.0 - floor]),
        bounds=[(0, None)] * 8 + [(0, 1)] * 8,
    )
    assert saved == pytest.approx(6 * float(kappa @ load) - found.fun, abs=1e-5)
    assert saved > 0.5


def test_panels_saveWhatTheyGive() -> None:
    """Alone a home saves what it need not import; together all save what the lines lose the less, too."""
    rows = [household(1, [0.5, 3.0, 0.5], [0.0, 2.0, 0.0]), household(2, [0.5, 5.0, 0.5], [0.0] * 3)]
    day = community(rows, [0.2, 0.4, 0.2], trading_coefficient=0.0)
    saved = {s: Purchase(day, s, 2, asset("pv", size=2.0)).solve() for s in (Scenario.B, Scenario.T)}
    assert saved[Scenario.B] == pytest.approx(8 * 2.0 * 0.4, abs=1e-4)
    lost = [sweep(day.balanced, np.array([-1.0, at_noon]), np.zeros(2))[1].sum() for at_noon in (-5.0, -3.0)]
    assert saved[Scenario.T] == pytest.approx(8 * 0.4 * (2.0 + lost[0] - lost[1]), abs=1e-4)


def test_heatPump_savesFuel() -> None:
    """A pump that is paid for by nothing but fuel: its heat by its own COP, less what its power costs."""
    pump = HeatPump(2.0, 0.15, 8.0, 19.0, 22.0, 20.0, 0.3, 35.0, 0.45, np.full(8, 2.0))
    rows = [household(1, [0.5] * 8, [0.0] * 8, devices=(pump,)), household(2, [0.5] * 8, [0.0] * 8)]
    day = community(rows, [0.3] * 8)
    saved = Purchase(day, Scenario.B, 2, asset("heat_pump")).solve()
    cop = 0.45 * 308.15 / 33.0
    # The house of the default needs (20 - 2) K x 0.15 kW/K - 0.3 kW at 20 degrees, and less where it may be colder.
    heat = 24 * (18 * 0.15 - 0.3)
    assert saved == pytest.approx(heat / 0.975 * 0.10 - heat / cop * 0.3, abs=0.25)


def test_whoHasOne_isOfferedNone() -> None:
    car = ElectricCar(8.0, 3.7, 1.0, np.array([True, False, True]))
    rich = household(1, [0.5] * 3, [0.0, 2.0, 0.0], devices=(Battery(5, 2.5, 1, 1, 2.5), car))
    poor = household(2, [0.5] * 3, [0.0] * 3)
    day = community([rich, poor], [0.2, 0.4, 0.2])
    offered = {k: [asset(k).bought(home, day) is not None for home in (rich, poor)] for k in DEFAULTS}
    assert offered == {
        "pv": [False, True], "battery": [False, True], "charger": [True, False], "heat_pump": [False, False]
    }  # fmt: skip
    faster = asset("charger").bought(rich, day)
    assert faster is not None
    assert [one.power_kw for one in faster.having(ElectricCar)] == [11.0]
    richer = asset("pv").bought(poor, day)
    assert richer is not None
    assert richer.having(Panels)[0].pv_kw.tolist() == [0.0, 4.0, 0.0]


def test_standingDays_areOneAMonth_andAYear() -> None:
    year = read_community("fontana16year")
    days = standing_days(year, None)
    assert len(days) == 12
    assert [day[-5:-3] for day in days] == [f"{month:02d}" for month in range(1, 13)]
    assert sum(days.values()) == pytest.approx(365)
    assert standing_days(read_community("tiny3"), None) == {"1": 365.0}
    with pytest.raises(InputError, match="has no day '9'"):
        standing_days(read_community("tiny3"), ["9"])


def test_year_addsUp(tmp_path: Path) -> None:
    """By scenario: bills of homes come to what all pay, and what is left is the saving less an annuity."""
    tiny = read_community("tiny3")
    scenarios = (Scenario.B, Scenario.T)
    settings = InvestSettings((asset("pv"), asset("battery"), asset("charger"), asset("heat_pump")))
    found = invest(tiny, {"1": 365.0}, scenarios, settings, tmp_path, HERE)
    nodes = [home.node for home in tiny.on("1").households]
    for scenario in scenarios:
        assert found.yearly(scenario) == pytest.approx(sum(found.yearly(scenario, node) for node in nodes))
        assert found.yearly(scenario) == pytest.approx(365 * found.outcomes["1", scenario].cost)
    assert {(option.name, option.asset.kind) for option in found.options} == {
        ("ann", "pv"), ("cem", "pv"), ("ann", "battery"), ("bob", "battery"), ("cem", "charger")
    }  # fmt: skip
    for option in found.options:
        for scenario in scenarios:
            assert option.net(scenario) == pytest.approx(option.saving[scenario] - option.asset.yearly(0.04))
            years = option.payback_years(scenario)
            if years is not None:
                assert years * (option.saving[scenario] - option.asset.upkeep) == pytest.approx(option.asset.price)
    best = found.best(Scenario.B)
    assert [one.net(Scenario.B) for one in best] == sorted((one.net(Scenario.B) for one in best), reverse=True)
    (missing,) = found.not_offered
    assert missing.startswith("A heat pump of 2 kW was not offered: no home without one, or nobody has one")
    (cem,) = [home for home in tiny.on("1").households if home.name == "cem"]
    assert found.owned(cem.node) == pytest.approx(asset("battery", size=6.0, power_kw=1.0).yearly(0.04))


def test_command_writesAPage_andGoesOn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offers = tmp_path / "offers.toml"
    offers.write_text("interest = 0.02\n[battery]\nprice = 1\npower_price = 1\n", encoding="utf-8")
    files = ["--offers", str(offers), "--out", str(tmp_path / "o")]
    command = ["study", "--invest", "--case", "tiny3", "--jobs", "1", *files]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "should buy a battery of 5 kWh" in told
    fields = json.loads((tmp_path / "o" / "invest.json").read_text(encoding="utf-8"))
    assert (fields["interest"], set(fields["assets"])) == (0.02, {"battery"})
    assert {option["asset"] for option in fields["options"]} == {"battery"}
    assert "Paid back, years" in (tmp_path / "o" / "index.html").read_text(encoding="utf-8")
    assert main([*command, "--json"]) == 0
    assert "6 of 6 points taken over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("offers", "options", "message"),
    [
        ("[boat]\nprice = 1\n", [], "offers.toml: 'boat' is not known; known: interest, pv, battery"),
        ("[pv]\ncolour = 1\n", [], "offers.toml, [pv]: 'colour' is not known; known keys: size, price"),
        ("[pv]\nlife_years = 0\n", [], "offers.toml, [pv]: 'life_years' = 0 must be a number above 0"),
        ("interest = -1\n", [], "offers.toml: 'interest' = -1 must be a number of at least 0"),
        ("", ["--continuous"], "--continuous is no option of --invest"),
        ("", ["--chain", "anvil"], "--invest plans in memory"),
    ],
)
def test_whatCannotBe_isOneSentence(
    tmp_path: Path, offers: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "offers.toml").write_text(offers, encoding="utf-8")
    files = ["--offers", str(tmp_path / "offers.toml"), "--out", str(tmp_path / "o")]
    assert main(["study", "--invest", "--case", "tiny3", *files, *options]) == 2
    assert message in capsys.readouterr().err


def test_offersAlone_areRefused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["study", "--offers", "x.toml", "--out", str(tmp_path)]) == 2
    assert "--offers are what --invest asks about" in capsys.readouterr().err
