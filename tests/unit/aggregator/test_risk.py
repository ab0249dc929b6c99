"""What is drawn against what it is drawn from, and adjustments against OpenDSS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import gaussian_kde

from gridpact.aggregator.cars import (
    AWAY,
    DRIVEN_KWH,
    HALF_HOURS,
    HOME,
    PLACES,
    Cars,
    chains,
    drawn_cars,
    places_of_trips,
    sessions,
)
from gridpact.aggregator.congestion import TOLERANCE
from gridpact.aggregator.risk import SHORT_KW, HalfHours, adjustments, again, drawn_days, least, measured, with_charger
from gridpact.aggregator.warmth import heat_pump_days, outdoor_c
from gridpact.cli import main
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder
from gridpact.devices.heat_pump import HeatPump
from gridpact.grid.four_wire import four_wire_flow


def test_chains_areWhereTripsAre() -> None:
    rng = np.random.default_rng(0)
    matrices = chains(False, rng)
    assert matrices.sum(axis=2) == pytest.approx(1)
    cars = drawn_cars(matrices, False, 1, 3000, 7.4, rng)
    trips = places_of_trips(False, np.random.default_rng(1))[:, 2 * HALF_HOURS :].reshape(-1, HALF_HOURS)
    for place in range(len(PLACES)):
        # 3000 cars that are independent: 4 standard deviations are below 0.04; the chain forgets how long one stays
        assert (cars.place == place).mean(axis=(0, 1)) == pytest.approx((trips == place).mean(axis=0), abs=0.06)


def test_cars_chargeOnlyWhereTheyAre_andNoMoreThanTheyWant() -> None:
    cars = drawn_cars(chains(True, np.random.default_rng(2)), True, 10, 30, 3.7, np.random.default_rng(3))
    assert cars.charging_kw[cars.place == AWAY].max() == 0
    assert 0 < cars.charging_kw.max() <= 3.7
    most = sessions(True).energy_kwh.max()
    assert cars.charging_kw.sum(axis=2).max() / 2 <= 24 * 3.7 * min(1.0, 2 * most / 24)


def test_cars_chargeWhatTheyDrive_mostInTheEvening() -> None:
    matrices = chains(False, np.random.default_rng(8))
    charging = drawn_cars(matrices, False, 3, 1000, 7.4, np.random.default_rng(9)).charging_kw
    # who leaves before it is done drives less; cars come 1.3 times a day
    assert charging.sum(axis=2).mean() / 2 == pytest.approx(DRIVEN_KWH, rel=0.1)
    by_hour = charging.mean(axis=(0, 1)).reshape(24, 2).mean(axis=1)
    arrived = sessions(False).arrival[0].reshape(24, 2).sum(axis=1)
    assert arrived.argmax() == 18
    assert 17 <= by_hour.argmax() < 20
    assert by_hour[21:].max() < 0.75 * by_hour.max()  # nobody is full only at midnight


def test_days_areDrawnByKernelDensity() -> None:
    rng = np.random.default_rng(4)
    load = rng.gamma(2.0, 1.0, (40, 2, HALF_HOURS))
    load[:, 1] = 5 + load[:, 0]  # two homes that do alike
    drawn = drawn_days(HalfHours(load, np.zeros_like(load), np.zeros_like(load)), 4000, rng)
    assert not drawn.pv_kw.any()
    density = gaussian_kde(load[:, 1, 7])
    for level in np.quantile(load[:, 1, 7], [0.1, 0.5, 0.9]):
        # a share of 4000 draws: 4 standard deviations are 0.032
        assert (drawn.load_kw[:, 1, 7] <= level).mean() == pytest.approx(
            density.integrate_box_1d(-np.inf, level), abs=0.032
        )
    assert np.corrcoef(drawn.load_kw[:, 0, 7], drawn.load_kw[:, 1, 7])[0, 1] > 0.8


@pytest.mark.parametrize("weaker", [True, False])
def test_adjustment_isWhatOpenDssNeeds(weaker: bool) -> None:
    """One car at the end of the feeder; how much it must charge less is found by bisection."""
    feeder = read_community("fontana16x3").feeder
    assert isinstance(feeder, PhaseFeeder)
    feeder = with_charger(feeder)
    homes, power = 16, 22.0 if weaker else 2.0
    load = np.full((1, homes, HALF_HOURS), 0.5)
    place = np.full((1, homes, HALF_HOURS), AWAY)
    place[0, -1, 36] = HOME
    charging = np.where(place == HOME, power, 0.0)
    needed = adjustments(feeder, HalfHours(load, np.zeros_like(load), np.zeros_like(load)), Cars(place, charging))

    def lowest(car: float) -> float:
        kw = np.full((homes + 1, 1), -0.5)
        kw[-1], kw[-2] = 0, -0.5 - car
        return float(four_wire_flow(feeder, kw, np.zeros_like(kw)).voltage_pu.min())

    low, high = 0.0, power
    for _ in range(30):
        low, high = ((low + high) / 2, high) if lowest((low + high) / 2) > 0.95 else (low, (low + high) / 2)
    assert (needed.down_kw[0, 36] > 0) == weaker
    # what two linearisations leave of a voltage that falls by 0.1
    assert needed.down_kw[0, 36] == pytest.approx(power - low if weaker else 0, rel=0.02, abs=1e-6)
    assert np.delete(needed.size_kw[0], 36).max() == 0


def test_heatPumps_keepTheHouseAsItsThermostatWants() -> None:
    """By the device's own exact solution of the house's warmth."""
    months = (12, 1, 2)
    power = heat_pump_days(months, 1, np.random.default_rng(5))[:, 0]
    size = np.random.default_rng(5).uniform(0.8, 1.2, 1)[0]
    known, by_day = outdoor_c()
    outside = by_day[np.isin(known, months)]
    house = HeatPump(3.5 * size, 0.16 * size, 8.0 * size, 17.0, 20.0, 17.0, 0.3, 35.0, 0.45, outside.ravel())
    warmth = house._path_c(power.ravel(), 0.5).reshape(power.shape)
    assert 0 < power.max() <= 3.5 * size
    assert warmth.min() > 16.9  # never below what it is to be by night, once it began with that
    running = (power > 0.01) & (power < 3.4 * size)
    assert (
        np.minimum(abs(warmth - 20), abs(warmth - 17))[running].max() < 1e-6
    )  # as wanted where it is not at its limit
    mean = power.mean(axis=1)
    assert np.corrcoef(mean, outside.mean(axis=1))[0, 1] < -0.8


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), agents=st.integers(1, 8), rows=st.integers(1, 12))
def test_least_isTheWholeProgram(seed: int, agents: int, rows: int) -> None:
    """What is left out of the program before it is solved changes nothing: the same cost as of all rows and agents."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(0, 0.01, (rows, agents))
    room = rng.normal(0.01, 0.03, rows)
    most = rng.uniform(0, 7.4, (2, agents)) * (rng.random((2, agents)) < 0.6)
    taken, short = least(slopes, room, most)
    whole = linprog(
        np.append(np.ones(2 * agents), SHORT_KW),
        A_ub=np.hstack([slopes, -slopes, -np.ones((rows, 1))]),
        b_ub=room,
        bounds=[*((0, one) for one in most.ravel()), (0, None)],
    )
    assert taken.min() >= 0
    assert (most - taken).min() >= -1e-9
    beyond = max(0.0, float((slopes @ (taken[0] - taken[1]) - room).max()))
    # HiGHS keeps rows to 1e-7, of which a kW is 1e-2
    assert taken.sum() + SHORT_KW * beyond == pytest.approx(whole.fun, rel=1e-6, abs=1e-4 + SHORT_KW * 1e-7)
    assert short == (whole.x[-1] > TOLERANCE)


def test_homesAgain_areThoseOfEulv55() -> None:
    """The case is made in the same way, of the same homes: home 17 and on, one, two and three weeks later."""
    year, street = read_community("fontana16year"), read_community("eulv55")
    days = list(year.days)[list(year.days).index("06-10") :][:22]
    found = again(measured([year.on(day) for day in days]), 55)
    hours = found.load_kw.reshape(len(days), 55, -1, 2).mean(axis=3)
    for home, one in enumerate(street.on("06-10").households):
        assert hours[0, home] == pytest.approx(one.load_kw, abs=1e-9)


def test_aDayOfCars_isOneDay() -> None:
    """Half-hour after half-hour, midnight to midnight, cars move as their chains let them."""
    matrices = chains(False, np.random.default_rng(6))
    place = drawn_cars(matrices, False, 3, 500, 7.4, np.random.default_rng(7)).place
    for step in range(1, HALF_HOURS):
        seen = np.zeros((3, 3))
        np.add.at(seen, (place[..., step - 1], place[..., step]), 1)
        assert not seen[matrices[step - 1] == 0].any()
    arrived = (place[..., 1:] == HOME) & (place[..., :-1] != HOME)
    share = arrived.sum(axis=(0, 1)) / arrived.sum()
    known = sessions(False).arrival[0][1:]
    # some 1500 arrivals: 4 standard deviations of the largest share, 0.09, are 0.03
    assert share == pytest.approx(known / known.sum(), abs=0.03)


def test_whoIsNoAgent_isNotAdjusted() -> None:
    feeder = read_community("fontana16x3").feeder
    assert isinstance(feeder, PhaseFeeder)
    load = np.full((1, 16, HALF_HOURS), 0.5)
    place = np.full((1, 16, HALF_HOURS), AWAY)
    place[0, 12:, 36] = HOME
    cars, of = Cars(place, np.where(place == HOME, 22.0, 0.0)), HalfHours(load, 0 * load, 0 * load)
    agent = np.ones(16, dtype=bool)
    every = adjustments(with_charger(feeder), of, cars, agent)
    agent[12:] = False
    nobody = adjustments(with_charger(feeder), of, cars, agent)
    assert every.flexible_kw[0, 36] == pytest.approx(4 * 22.0)
    assert 0 < every.down_kw[0, 36] < 4 * 22.0
    assert not every.short.any()
    assert nobody.flexible_kw.max() == nobody.size_kw.max() == 0
    assert nobody.short[0, 36]


def test_finishedPenetrations_areNotPlayedAgain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    played = ["aggregator", "risk", "--penetrations", "0", "--draws", "6", "--out", str(tmp_path), "--json"]
    assert main(played) == 0
    first = json.loads(capsys.readouterr().out)
    assert len(first["penetrations"]) == 1
    assert max(one["down_p95_kw"] for one in first["half_hours"]) == 0  # without cars nobody charges less
    kept = tmp_path / "penetration-0" / "risk.json"
    kept.write_text(kept.read_text().replace('"drawn_days": 6', '"drawn_days": 7'))
    assert main(played) == 0
    assert json.loads(capsys.readouterr().out)["drawn_days"] == 7


def test_command_testsOnDaysThatWereNotUsed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    assert main(["aggregator", "risk", "--cars", "50", "--draws", "30", "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["half_hours"]) == HALF_HOURS
    for key in ("held_back", "held_back_p99"):
        assert abs(printed[f"{key}_claimed"] - printed[f"{key}_observed"]) <= 0.03
    for one in printed["half_hours"]:
        assert 0 <= one["p05_kw"] <= one["p95_kw"]
        assert 0 <= one["probability"] <= 1
    assert {path.name for path in out.iterdir()} == {
        "distributions.svg", "adjustments.svg", "cars.svg", "risk.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--certainty", "1"], "a certainty of 1 cannot be had"),
        (["--certainty", "0"], "a certainty of 0 cannot be had"),
        (["--season", "monsoon"], "there is no season 'monsoon'"),
        (["--case", "fontana16", "--season", "spring"], "'fontana16' has no weekdays of spring, but"),
        (["--case", "tiny3"], "which is no date"),
        (["--feeder", "tiny3"], "the feeder has places for 3 homes"),
        (["--cars", "120"], "--cars 120"),
        (["--draws", "0"], "--draws 0"),
        (["--penetrations", "0,half"], "'half' is no number"),
        (["--heat-pumps", "-1"], "--heat-pumps -1"),
    ],
)
def test_badInput_isOneSentence(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aggregator", "risk", *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
