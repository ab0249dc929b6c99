"""The shipped cases are what their descriptions say. The figures are those of the issue, not of the files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.networks.opendss import read_opendss
from gridpact.community.read import read_community, shipped_cases
from gridpact.community.street import PhaseFeeder
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.grid.three_phase import phase_flow, reduced_of

FONTANA_DAYS = [f"06-{d}" for d in range(10, 17)] + [f"12-{d}" for d in range(21, 28)]


CASES = ["amsterdam16", "eulv55", "fontana16", "fontana16x3", "fontana16year", "stress16", "tiny3", "winter16x3"]


def test_shippedCases_areThese() -> None:
    assert sorted(shipped_cases()) == CASES


@pytest.mark.parametrize("name", CASES)
def test_everyDay_hasWholeSeries(name: str) -> None:
    community = read_community(name)
    assert community.source
    assert community.licence
    for label in community.days:
        day = community.on(label)
        assert day.steps * day.step_hours == 24
        assert len(day.prices.import_price) == day.steps
        for household in day.households:
            for series in (household.load_kw, household.load_kvar, household.pv_kw):
                assert series.shape == (day.steps,)
                assert np.isfinite(series).all()
                assert (series >= 0).all()
            if not household.is_prosumer:
                assert not household.pv_kw.any()
        assert [household.node for household in day.households] == list(range(1, len(day.households) + 1))


def test_fontana16_isAsDescribed() -> None:
    community = read_community("fontana16")
    assert list(community.days) == FONTANA_DAYS
    homes = community.on("06-10").households
    assert len(homes) == 16
    assert [h.node for h in homes if h.is_prosumer] == [1, 2, 4, 5, 7, 9, 10, 12, 13, 16]
    assert [h.node for h in homes if h.having(Battery)] == [1, 2, 5, 9, 10, 12, 13]
    assert [h.node for h in homes if h.having(ElectricCar)] == [1, 3, 4, 7, 8, 10, 13, 16]
    for home in homes:
        for battery in home.having(Battery):
            assert (battery.capacity_kwh, battery.power_kw) == (6.4, 5.0)
            # the product of two square roots, within their rounding
            assert battery.charge_efficiency * battery.discharge_efficiency == pytest.approx(0.9, abs=1e-15)
        for car in home.having(ElectricCar):
            assert car.energy_kwh == 7
            assert np.flatnonzero(car.plugged_in).tolist() == [
                0,
                1,
                2,
                3,
                4,
                5,
                6,
                18,
                19,
                20,
                21,
                22,
                23,
            ]
    prices = np.concatenate([community.on(label).prices.import_price for label in community.days])
    assert (prices.min(), prices.max()) == (0.21, 0.54)


def test_fontana16year_hasTheDaysOfFontana16() -> None:
    year, weeks = read_community("fontana16year"), read_community("fontana16")
    for label in FONTANA_DAYS:
        mine, theirs = year.on(label), weeks.on(label)
        assert mine.prices.import_price.tolist() == theirs.prices.import_price.tolist()
        for one, other in zip(mine.households, theirs.households, strict=True):
            assert one.load_kw == pytest.approx(other.load_kw, abs=1e-4)  # what a meter gives for nothing is 0 here
            assert one.pv_kw.tolist() == other.pv_kw.tolist()
            assert one.having(Battery) == other.having(Battery)
            assert len(one.having(ElectricCar)) == len(other.having(ElectricCar))


def test_amsterdam16_isAsDescribed() -> None:
    community = read_community("amsterdam16")
    homes = community.on(community.days[0]).households
    assert len([h for h in homes if h.is_prosumer]) == 8
    assert len([h for h in homes if not h.is_prosumer]) == 8
    assert all(3 <= h.pv_kwp <= 4 for h in homes if h.is_prosumer)
    assert len([h for h in homes if h.having(Battery)]) == 5
    assert len([h for h in homes if h.having(ElectricCar)]) == 8
    for season, daily_kwh in (("2018-06", 9.0), ("2018-12", 10.5)):
        days = [label for label in community.days if label.startswith(season)]
        assert days[0].endswith("-21")
        assert len(days) >= 7
        # The shapes are scaled over the week; the values in the file have four significant digits.
        loads = [h.load_kw.sum() for label in days for h in community.on(label).households]
        assert np.mean(loads) == pytest.approx(daily_kwh, rel=0.15)


def test_feeder16_isAMainWithThreeLaterals(fontana: CommunityDay) -> None:
    assert fontana.feeder.parent == {k: k - 1 for k in range(1, 11)} | {
        11: 3,
        12: 11,
        13: 6,
        14: 13,
        15: 8,
        16: 15,
    }
    assert max(fontana.feeder.depth.values()) == 10
    # 45-75 m of 0.641 ohm/km
    resistances = [line.resistance_ohm for line in fontana.feeder.lines]
    assert min(resistances) >= 0.045 * 0.641 - 1e-12
    assert max(resistances) <= 0.075 * 0.641 + 1e-12
    assert {line.rating_a for line in fontana.feeder.lines} == {142.0}


def test_stress16_isFontanaOnALongerFeeder(fontana: CommunityDay) -> None:
    stress = read_community("stress16")
    assert list(stress.days) == [label for label in FONTANA_DAYS if label.startswith("12")]
    day = stress.on("12-22")
    for mine, theirs in zip(day.households, fontana.households, strict=True):
        assert mine.load_kw.tolist() == theirs.load_kw.tolist()
    ratios = [a.resistance_ohm / b.resistance_ohm for a, b in zip(day.feeder.lines, fontana.feeder.lines, strict=True)]
    assert ratios == pytest.approx([4 / 3] * 16, rel=0.5 / 60)  # 60-100 m for 45-75 m, in whole metres


def test_feeder_perUnit(tiny3: CommunityDay) -> None:
    """50 m of 0.641 + 0.08j ohm/km are 0.03205 + 0.004j ohm; the base is V^2 / S, 160 ohm for 1 kVA at 400 V."""
    feeder = tiny3.feeder
    assert feeder.base_ohm * feeder.base_kva == pytest.approx(160, rel=1e-12)  # rounding only, as below
    assert feeder.resistance_pu() * feeder.base_ohm == pytest.approx([0.03205] * 3, rel=1e-12)
    assert feeder.reactance_pu() * feeder.base_ohm == pytest.approx([0.004] * 3, rel=1e-12)
    assert tiny3.feeder.children == {0: (1,), 1: (2, 3), 2: (), 3: ()}
    assert tiny3.feeder.depth == {0: 0, 1: 1, 2: 2, 3: 2}


def test_tiny3_carWindow_spansMidnight(tiny3: CommunityDay) -> None:
    car = next(iter(tiny3.households[2].having(ElectricCar)), None)
    assert car is not None
    assert car.plugged_in.tolist() == [True, False, False, True]


EUROPEAN_PU = [
    1.046137, 1.034829, 1.046183, 1.042397, 1.042413, 1.034785, 1.020412, 1.055291, 1.041065, 1.01912,
    1.01941, 1.055622, 1.015566, 1.039855, 1.015646, 1.057523, 1.057589, 1.061913, 1.060058, 1.035257,
    1.037445, 1.035253, 1.007459, 1.060814, 1.023587, 1.000352, 1.061048, 1.061059, 1.016848, 1.023613,
    1.017972, 1.061974, 1.068131, 1.025948, 0.997816, 1.000833, 1.00072, 1.0023, 1.062273, 1.001503, 1.000253,
    1.062228, 1.062931, 1.002357, 1.000242, 1.036336, 1.062933, 1.036124, 1.036237, 0.996997, 1.037046,
    1.037355, 0.996418, 1.037002, 1.03739,
]  # fmt: skip
"""Voltages at the 55 loads of IEEE_European_LV_On_Peak_566.json by pandapower 3.5.4's `runpp_3ph`, with a stiff source
and without the transformer's magnetising impedance (s_sc_max_mva and mag0_percent of 1e9)."""


def test_eulv55_carriesTheCurrentsOfPandapower() -> None:
    """The shipped text, its tap undone, at the loads that the network was published with."""
    network = read_opendss(shipped_cases()["eulv55"].parent / "network.dss")
    assert network.transformer is not None
    assert network.transformer.tap == pytest.approx(1 / 1.05)
    published = replace(network, transformer=replace(network.transformer, tap=1.0))
    feeder = published.feeder([load.connection for load in network.loads], 0.9, 1.1)
    kw, kvar = (-np.array([[getattr(load, part)] for load in network.loads]) for part in ("kw", "kvar"))
    np.testing.assert_allclose(phase_flow(feeder, kw, kvar).magnitude_pu[:, 0], EUROPEAN_PU, rtol=0, atol=2e-6)


def test_eulv55_isReducedToWhatMatters() -> None:
    """905 lines come to 109 sections and the transformer, every line that carries anything in one of them."""
    feeder = read_community("eulv55").feeder
    assert isinstance(feeder, PhaseFeeder)
    assert len(feeder.lines) == 905
    assert Counter(at.phases for at in feeder.connections) == {(0,): 21, (1,): 19, (2,): 15}
    sections = [names for names in reduced_of(feeder).names if names]
    assert len(sections) == 109
    merged = [name for names in sections for name in names]
    assert len(set(merged)) == len(merged)
    above = {line.bus: line for line in feeder.lines}
    needed = set()
    for at in feeder.connections:
        bus = at.bus
        while bus != feeder.root:
            needed.add(above[bus].name)
            bus = above[bus].parent
    assert set(merged) == needed


def test_winter16x3_hasWhatPeopleHaveInWinter() -> None:
    day = read_community("winter16x3").on("2018-12-22")
    assert [h.node for h in day.households if h.having(HeatPump)] == [1, 2, 4, 6, 8, 11, 14]
    assert [h.node for h in day.households if h.having(TwoWayCar)] == [3, 7, 10, 13]
    assert not any(h.having(TwoWayCar) and h.having(ElectricCar) for h in day.households)
