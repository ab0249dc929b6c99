"""Communities grown from a shipped day keep what they are said to keep."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from gridpact.community.grown import SPREAD, finer, grown
from gridpact.community.model import CommunityDay
from gridpact.devices.car import ElectricCar
from gridpact.errors import InputError
from gridpact.grid.powerflow import power_flow
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.coefficients import partners
from gridpact.problem.scenario import Scenario


def test_grown_toItsOwnSize_isAsShipped(fontana: CommunityDay) -> None:
    same = grown(fontana, 16, 24, seed=1, most_partners=None)
    np.testing.assert_equal(asdict(replace(same, name=fontana.name)), asdict(fontana))


@pytest.mark.parametrize("households", [4, 8, 16, 20, 64, 256])
def test_grown_hasWhatIsAskedFor(fontana: CommunityDay, households: int) -> None:
    day = grown(fontana, households, 96, seed=1)
    assert [household.node for household in day.households] == list(range(1, households + 1))
    assert len({household.name for household in day.households}) == households
    assert sorted(day.feeder.depth) == list(range(households + 1))  # every node leads to node 0
    assert day.steps == 96
    assert day.step_hours == pytest.approx(0.25)
    assert day.start_times[:6] == ("00:00", "00:15", "00:30", "00:45", "01:00", "01:15")
    assert day.start_times[-1] == "23:45"
    lengths = {len(series) for home in day.households for series in (home.load_kw, home.load_kvar, home.pv_kw)}
    assert lengths == {96}


def test_finer_byHand() -> None:
    """Half way up a slope of 4 a step; flat at the ends, where a slope turns, and at a peak."""
    assert finer(np.array([0.0, 4.0, 8.0, 8.0, 2.0, 5.0]), 2).tolist() == [0, 0, 3, 5, 8, 8, 8, 8, 2, 2, 5, 5]
    # the smaller of the rises 2 and 4, on both sides of the middle
    assert finer(np.array([1.0, 3.0, 7.0]), 4).tolist() == [1, 1, 1, 1, 2.25, 2.75, 3.25, 3.75, 7, 7, 7, 7]


def test_finer_keepsEnergyAndExtremes() -> None:
    hourly = np.random.default_rng(3).uniform(0, 5, 24) * np.random.default_rng(4).integers(0, 2, 24)
    quarters = finer(hourly, 4)
    # 1e-12: four numbers of at most 5 added up in double precision
    assert quarters.reshape(24, 4).mean(axis=1) == pytest.approx(hourly, abs=1e-12)
    assert quarters.min() >= hourly.min()
    assert quarters.max() <= hourly.max()


def test_repetitions_varyWithinTheSpread(fontana: CommunityDay) -> None:
    day = grown(fontana, 48, 24, seed=5)
    factors = []
    for home in day.households[16:]:
        source = fontana.households[(home.node - 1) % 16]
        factor = home.load_kw.sum() / source.load_kw.sum()
        factors.append(factor)
        assert home.load_kw == pytest.approx(factor * source.load_kw)
        assert home.load_kvar == pytest.approx(factor * source.load_kvar)
        assert [type(device) for device in home.devices] == [type(device) for device in source.devices]
        for car, own in zip(home.having(ElectricCar), source.having(ElectricCar), strict=True):
            assert car.energy_kwh / car.power_kw == pytest.approx(own.energy_kwh / own.power_kw)  # it can be charged
    assert len(set(factors)) == 32
    assert 1 - SPREAD <= min(factors) < 0.9 < 1.1 < max(factors) <= 1 + SPREAD


def test_seed_decides(fontana: CommunityDay) -> None:
    one, again, other = (grown(fontana, 32, 24, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_equal(asdict(one), asdict(again))
    assert not np.array_equal(one.households[31].load_kw, other.households[31].load_kw)


def test_feeders_areEqualAndHangOnNode0(fontana: CommunityDay) -> None:
    feeder = grown(fontana, 40, 24, seed=1).feeder
    shipped = fontana.feeder.parent
    for line in feeder.lines:
        repetition, place = divmod(line.node - 1, 16)
        parent = shipped[place + 1]
        assert line.parent == (16 * repetition + parent if parent else 0)


def test_voltages_areNoFurtherOffOnARepetition(fontana: CommunityDay) -> None:
    """All loads at once and no PV, then all PV and no loads: the second feeder stays closer to 1 p.u. than the first
    one, though each of its households may have up to 1.2 times as much."""
    day = grown(fontana, 32, 24, seed=1)
    load = np.array([home.load_kw for home in day.households])
    kvar = np.array([home.load_kvar for home in day.households])
    pv = np.array([home.pv_kw for home in day.households])
    down = power_flow(day.feeder, -load, -kvar).voltage_pu
    assert down[16:].min() >= down[:16].min()
    up = power_flow(day.feeder, pv, 0 * pv).voltage_pu
    assert up[16:].max() <= up[:16].max()


@pytest.mark.parametrize(("households", "steps"), [(4, 24), (32, 24), (16, 96)])
def test_grown_hasAFeasiblePlan(fontana: CommunityDay, households: int, steps: int) -> None:
    day = grown(fontana, households, steps, seed=1)
    plan = centralised_optimum(day, Scenario.TG)  # raises where there is none
    voltage = power_flow(day.feeder, plan.injection_kw, plan.injection_kvar).voltage_pu
    # 1e-4 p.u.: the solver's tolerance on a binding limit, seen by the exact power flow
    assert 0.95 - 1e-4 <= voltage.min() <= voltage.max() <= 1.05 + 1e-4


def test_bids_doNotGrowWithTheCommunity(fontana: CommunityDay) -> None:
    def bids(households: int) -> float:
        books = partners(grown(fontana, households, 24, seed=1))
        assert all(len(book) <= 8 for book in books.values())
        return float(np.mean([sum(len(partner.steps) for partner in book) for book in books.values()]))

    assert bids(128) < 1.5 * bids(16)


@pytest.mark.parametrize(("households", "steps"), [(0, 24), (257, 24), (16, 36), (16, 12)])
def test_grown_refusesWhatItCannotDo(fontana: CommunityDay, households: int, steps: int) -> None:
    with pytest.raises(InputError):
        grown(fontana, households, steps, seed=1)
