"""When appliances run, compared with all that they could have done."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.devices.jobs import Job, Pattern, hurdle, played, values
from gridpact.devices.price_model import ForecastUpdates, PriceModel
from gridpact.errors import InputError

CERTAIN = PriceModel.certain()
SAME = 1e-9  # sums of a few floats in another order

prices = st.lists(st.floats(-1, 1), min_size=1, max_size=8)


def whole(job: Job, series: Sequence[float]) -> float:
    runs = played(job, series, series, CERTAIN)
    assert runs.sum() == job.steps
    return float(np.array(series)[runs].sum())


@given(series=prices, data=st.data())
@settings(max_examples=100, deadline=None)
def test_whatIsCertain_isDoneAtLeastCost(series: list[float], data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, len(series)))
    in_parts = whole(Job(steps, True, Pattern.PREDICTION), series)
    assert in_parts == pytest.approx(sum(sorted(series)[:steps]), abs=SAME)
    in_one_go = whole(Job(steps, False, Pattern.PREDICTION), series)
    rows = [sum(series[k : k + steps]) for k in range(len(series) - steps + 1)]
    assert in_one_go == pytest.approx(min(rows), abs=SAME)
    assert whole(Job(steps, False, Pattern.NORMAL), series) == pytest.approx(sum(series[:steps]), abs=SAME)


def best_policy(outcomes: list[list[float]], steps: int) -> float:
    """The least expected cost by writing out the whole tree of decisions, in a way that shares nothing with V."""

    def cost(at: int, needed: int, seen: float) -> float:
        left = len(outcomes) - at
        ways = []
        if needed:
            ways.append(seen + ahead(at + 1, needed - 1))
        if needed < left:
            ways.append(ahead(at + 1, needed))
        return min(ways)

    def ahead(at: int, needed: int) -> float:
        if at == len(outcomes):
            return 0.0
        return sum(cost(at, needed, price) for price in outcomes[at]) / len(outcomes[at])

    return ahead(0, steps)


@given(
    outcomes=st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=3), min_size=1, max_size=5),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_values_areThoseOfTheBestPolicy(outcomes: list[list[float]], data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, len(outcomes)))
    found = values([np.array(prices) for prices in outcomes], steps)[len(outcomes), steps]
    assert found == pytest.approx(best_policy(outcomes, steps), abs=SAME)


def test_hurdle_byHand() -> None:
    """Two steps after this one, each 1 or 3: waiting for one of them costs E[min(P, 2)] = 1.5."""
    ahead = [np.array([1.0, 3.0])] * 2
    assert hurdle(ahead, 1) == 1.5
    assert hurdle(ahead, 2) == 2 + 2 - 1.5  # both of them, or this one and the cheaper
    assert hurdle(ahead, 3) == np.inf


@pytest.mark.parametrize("steps", [1, 3])
def test_hurdle_costsWhatItExpects_andLessThanTheForecastsChoice(steps: int) -> None:
    """On days that are drawn of the model: their mean cost is V, and below that of the steps that are cheapest by
    forecast, which is known beforehand and never reconsidered."""
    rng = np.random.default_rng(5)
    model = PriceModel(0.1, 0.02, 0.9, np.array([-0.8, -0.3, 0.0, 0.2, 0.9]))
    forecasts = [0.10, 0.07, 0.12, 0.08, 0.09, 0.11]
    outcomes = [model.outcomes(forecast) for forecast in forecasts]
    cheapest = np.argsort(model.expected(forecasts))[:steps]
    drawn = np.array([[rng.choice(prices) for prices in outcomes] for _ in range(500)])
    job = Job(steps, True, Pattern.PREDICTION)
    costs = np.array([day[played(job, forecasts, list(day), model)].sum() for day in drawn])
    error = costs.std() / len(costs) ** 0.5
    assert costs.mean() == pytest.approx(values(outcomes, steps)[len(forecasts), steps], abs=4 * error)
    assert costs.mean() < drawn[:, cheapest].sum(axis=1).mean() - 4 * error


def test_acceptance_runsAtTheEnd_whateverItCosts() -> None:
    series = [5.0, 4.0, 6.0, 7.0]
    runs = played(Job(2, True, Pattern.ACCEPTANCE, most=1.0), series, series, CERTAIN)
    assert list(runs) == [False, False, True, True]
    runs = played(Job(2, True, Pattern.ACCEPTANCE, most=4.5), series, series, CERTAIN)
    assert list(runs) == [False, True, False, True]
    runs = played(Job(2, False, Pattern.ACCEPTANCE, most=10.0), series, series, CERTAIN)
    assert list(runs) == [True, True, False, False]  # 9, the first that is at most 10


@given(forecasts=st.lists(st.floats(-1, 1), min_size=2, max_size=10), data=st.data())
@settings(max_examples=60, deadline=None)
def test_job_isDoneWithinItsWindow(forecasts: list[float], data: st.DataObject) -> None:
    seen = data.draw(st.lists(st.floats(-1, 1), min_size=len(forecasts), max_size=len(forecasts)))
    pattern = data.draw(st.sampled_from(Pattern))
    in_parts = data.draw(st.booleans())
    job = Job(data.draw(st.integers(1, len(seen))), in_parts, pattern, 0.1 if pattern is Pattern.ACCEPTANCE else None)
    runs = played(job, forecasts, seen, PriceModel(0.2, 0.01, 0.9, np.array([-0.3, 0.0, 0.4])))
    assert runs.sum() == job.steps
    if not in_parts:
        first = int(np.argmax(runs))
        assert runs[first : first + job.steps].all()


def test_model_findsWhatMadeThePrices() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0.5, 0.7, 20_000)
    errors = rng.normal(0, 0.3, 20_000)
    model = PriceModel.fitted(np.sinh(x), np.sinh(0.1 + 0.8 * x + errors))
    middle = np.sinh(0.1 + 0.8 * np.arcsinh(2.0))
    assert np.median(model.outcomes(2.0)) == pytest.approx(middle, rel=0.05)  # the transform's scale is another
    assert np.mean(model.outcomes(2.0) < middle) == pytest.approx(0.5, abs=0.05)


def test_errors_areSumsOfUpdates() -> None:
    forecasts = np.array([[1.0, 1.2, 0.9, 2.0], [3.0, 2.5, 2.5, 2.0]])
    updates = ForecastUpdates.of(forecasts)
    for lead in range(4):
        np.testing.assert_allclose(updates.errors(lead), forecasts[:, lead] - forecasts[:, 0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PriceModel.fitted(np.ones(30), np.ones(29)), "30 forecasts and 29 prices"),
        (lambda: PriceModel.fitted(np.ones(3), np.ones(3)), "3 prices is too short"),
        (lambda: PriceModel.fitted(np.full(30, np.nan), np.ones(30)), "has gaps"),
        (lambda: Job(0, True, Pattern.NORMAL), "a job of 0 steps"),
        (lambda: Job(1, True, Pattern.ACCEPTANCE), "a highest cost where it runs by acceptance"),
        (lambda: played(Job(3, True, Pattern.NORMAL), [1.0], [1.0], CERTAIN), "does not fit into a window of 1"),
        (lambda: played(Job(1, True, Pattern.NORMAL), [1.0], [1.0, 2.0], CERTAIN), "1 forecasts and 2 prices"),
        (lambda: ForecastUpdates.of(np.ones(3)), "a table of days by lead"),
    ],
)
def test_whatCannotBe_isOneSentence(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()  # type: ignore[operator]


def published() -> list[Path]:
    """Real day-ahead and real-time prices of New York, where GRIDPACT_PRICES names the file; it is not shipped."""
    return [Path(name) for name in [os.environ.get("GRIDPACT_PRICES", "")] if name]


@pytest.mark.parametrize("path", published(), ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("zone", "window", "steps", "at_least", "day_ahead"),
    [
        ("N.Y.C.", (16, 24), 1, 0.74, 0.64),
        ("N.Y.C.", (16, 24), 4, 0.84, 0.61),
        ("WEST", (8, 20), 1, 0.74, -0.72),
        ("WEST", (8, 20), 4, 0.59, 0.15),
    ],
)
def test_hurdle_onRealPrices(
    path: Path, zone: str, window: tuple[int, int], steps: int, at_least: float, day_ahead: float
) -> None:
    """Fitted on February, played in March: the share of what the best choice saves against a random one."""
    months: dict[int, dict[str, list[tuple[float, float]]]] = {2: {}, 3: {}}
    for row in csv.DictReader(path.open()):
        if row["zone"] == zone:
            at = datetime.strptime(row["time"], "%m/%d/%Y %H:%M")
            pair = float(row["day_ahead_usd_per_mwh"]) / 1000, float(row["real_time_usd_per_mwh"]) / 1000
            months[at.month].setdefault(f"{at:%d}", []).append(pair)
    past = np.array(list(itertools.chain.from_iterable(months[2].values())))
    model = PriceModel.fitted(past[:, 0], past[:, 1])
    by_hurdle = by_day_ahead = best = chance = 0.0
    for day in months[3].values():
        if len(day) == 24:
            ahead, real = np.array(day)[slice(*window)].T
            job = Job(steps, True, Pattern.PREDICTION)
            by_hurdle += real[played(job, list(ahead), list(real), model)].sum()
            by_day_ahead += real[np.argsort(ahead, kind="stable")[:steps]].sum()
            best += np.sort(real)[:steps].sum()
            chance += steps * real.mean()
    assert (chance - by_hurdle) / (chance - best) >= at_least
    assert (chance - by_day_ahead) / (chance - best) == pytest.approx(day_ahead, abs=0.005)
