"""The model of how days turn out: right on average, as wide and as lasting as it says, and the same for a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.devices.car import ElectricCar
from gridpact.study.whatif.forecast import DRIVING, ELSEWHERE, HOME, ErrorModel, draw, fading, presence, transitions

CERTAIN = ErrorModel(load=0, pv=0, cars=False)


@pytest.fixture(scope="module")
def fontana() -> CommunityDay:
    return read_community("fontana16").on("06-10")


def overnight() -> ElectricCar:
    hours = np.arange(24)
    return ElectricCar(7.0, 3.7, 0.9, (hours >= 18) | (hours < 7))


def test_certain_forecasts_come_true(fontana: CommunityDay) -> None:
    reality = draw(fontana, CERTAIN, np.random.default_rng(1))
    for row, home in enumerate(fontana.households):
        np.testing.assert_array_equal(reality.load_kw[row], home.load_kw)
        np.testing.assert_array_equal(reality.pv_kw[row], home.pv_kw)
        there = [series["plugged_in"] for series in reality.series[row] if "plugged_in" in series]
        for car, plugged_in in zip(home.having(ElectricCar), there, strict=True):
            np.testing.assert_array_equal(plugged_in, car.plugged_in)


def test_seed_gives_the_same_day(fontana: CommunityDay) -> None:
    first, again, other = (draw(fontana, ErrorModel(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.load_kw, again.load_kw)
    np.testing.assert_array_equal(first.pv_kw, again.pv_kw)
    assert not np.array_equal(first.load_kw, other.load_kw)


def test_errors_are_as_wide_as_lasting_and_as_common_as_stated(fontana: CommunityDay) -> None:
    model = ErrorModel(load=0.3, pv=0.2, correlation=0.7, common_sky=0.6)
    random = np.random.default_rng(7)
    drawn = [draw(fontana, model, random) for _ in range(250)]
    load, pv = np.array([d.load_error for d in drawn]), np.array([d.pv_error for d in drawn])  # (250, 16, 24)
    # 4000 series of 24: the standard error of a standard deviation is about 1 %, of a correlation below 0.02
    assert load.std() == pytest.approx(0.3, rel=0.02)
    assert load[:, :, 0].std() == pytest.approx(load[:, :, -1].std(), rel=0.05)  # stationary
    assert np.corrcoef(load[:, :, :-1].ravel(), load[:, :, 1:].ravel())[0, 1] == pytest.approx(0.7, abs=0.02)
    assert np.corrcoef(load[:, 0].ravel(), load[:, 1].ravel())[0, 1] == pytest.approx(0, abs=0.05)
    # the sky's 250 series, correlated in time, are few: some 5 %
    assert pv.std() == pytest.approx(0.2, rel=0.08)
    assert np.corrcoef(pv[:, 0].ravel(), pv[:, 1].ravel())[0, 1] == pytest.approx(0.6, abs=0.07)
    forecast = np.array([home.load_kw for home in fontana.households])
    mean = np.mean([d.load_kw for d in drawn], axis=0).sum()
    assert mean == pytest.approx(forecast.sum(), rel=0.01)  # right on average


def test_correlation_is_of_an_hour_whatever_the_step(fontana: CommunityDay) -> None:
    half_hours = replace(fontana, step_hours=0.5)
    random = np.random.default_rng(3)
    load = np.array([draw(half_hours, ErrorModel(correlation=0.64), random).load_error for _ in range(150)])
    assert np.corrcoef(load[:, :, :-1].ravel(), load[:, :, 1:].ravel())[0, 1] == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(fading(0.64, 0.5, 3), [0.8, 0.64, 0.512])


def test_panels_give_no_more_than_their_size(fontana: CommunityDay) -> None:
    reality = draw(fontana, ErrorModel(pv=1.5), np.random.default_rng(1))
    for row, home in enumerate(fontana.households):
        assert np.all(reality.pv_kw[row] <= max(home.pv_kwp, home.pv_kw.max()) + 1e-12)
        assert np.all(reality.pv_kw[row][home.pv_kw == 0] == 0)


# ---------------------------------------------------------------------- cars


@pytest.mark.parametrize("hours", [0.25, 0.5, 1.0, 3.0])
def test_transition_matrices_are_stochastic(hours: float) -> None:
    starts = np.arange(0, 24, hours)
    car = replace(overnight(), plugged_in=(starts >= 18) | (starts + hours <= 7))
    matrices = transitions(car, ErrorModel(), hours)
    assert matrices.shape == (len(starts), 3, 3)
    assert np.all(matrices >= 0)
    np.testing.assert_allclose(matrices.sum(axis=2), 1, atol=1e-12)
    assert np.all(matrices[:, HOME, ELSEWHERE] == 0)  # who goes anywhere drives
    assert np.all(matrices[:, ELSEWHERE, HOME] == 0)


def test_matrices_vary_with_the_time_of_day() -> None:
    matrices = transitions(overnight(), ErrorModel(), 1.0)
    leaving = matrices[:, HOME, DRIVING]
    assert leaving[7] > 0.3
    assert leaving[[0, 1, 2, 3, 20, 21, 22, 23]].max() < 0.1
    assert np.all(matrices[8:12, DRIVING, HOME] == 0)  # in the morning a drive ends elsewhere
    assert np.all(matrices[15:20, DRIVING, ELSEWHERE] == 0)  # in the evening at home


def test_cars_are_mostly_where_they_are_expected() -> None:
    random = np.random.default_rng(1)
    days = np.array([presence(overnight(), ErrorModel(), 1.0, random) for _ in range(600)])
    mean = days.mean(axis=0)
    assert mean[[0, 1, 2, 3, 4, 21, 22, 23]].min() > 0.9
    assert mean[10:15].max() < 0.05
    assert 0.1 < mean[7] < 0.45  # some leave late
    assert 0.55 < mean[18] < 0.85  # some come late
    assert len({tuple(day) for day in days}) > 20


def test_cars_without_a_window_only_make_trips() -> None:
    always = replace(overnight(), plugged_in=np.ones(24, dtype=bool))
    random = np.random.default_rng(1)
    days = np.array([presence(always, ErrorModel(trips_a_day=0), 1.0, random) for _ in range(20)])
    assert days.all()
    trips = np.array([presence(always, ErrorModel(trips_a_day=2), 1.0, random) for _ in range(200)])
    assert trips[:, :7].mean() > 0.99  # not at night
    assert 0.7 < trips[:, 8:23].mean() < 0.95
