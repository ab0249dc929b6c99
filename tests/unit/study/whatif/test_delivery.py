"""Delivery of a household's plan: by hand, against CVXPY, and within what its devices can do."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from gridpact.community.model import Array, CommunityDay, Household, Prices
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device, flat
from gridpact.devices.pv import Panels
from gridpact.outcome.day import DayOutcome, solve_day
from gridpact.problem.constraints import supply_contract
from gridpact.problem.meter import behind_meter
from gridpact.problem.scenario import Scenario
from gridpact.study.whatif.delivery import Actual, Recourse, Terms, deliver

PRICES = Prices(np.array([0.2, 0.4, 0.2, 0.4]), 0.5)
NOTHING = np.zeros(4)


def home(load: Array, pv: Array | None = None, *more: Device) -> Household:
    panels = () if pv is None else (Panels(pv, float(pv.max())),)
    return Household(1, "ann", load, 0 * load, (*panels, *more))


def known(
    one: Household, load: Array, pv: Array, at_home: Array | None = None, guesses: tuple[Array, Array] | None = None
) -> Actual:
    """What happens, and is guessed right unless told: load and PV output."""
    steps = len(load)
    guess_load, guess_pv = guesses or (load, pv)
    there = NOTHING if at_home is None else at_home
    realised: list[dict[str, Array]] = []
    guessed: list[dict[str, Array]] = []
    for device in one.devices:
        now = {"pv_kw": pv, "plugged_in": there}
        then = {"pv_kw": np.tile(guess_pv, (steps, 1)), "plugged_in": np.tile(there, (steps, 1))}
        realised.append({name: now[name] for name in device.uncertain})
        guessed.append({name: then[name] for name in device.uncertain})
    return Actual(load, np.tile(guess_load, (steps, 1)), realised, guessed)


def test_settlement_by_hand() -> None:
    """Sold 1 kW at step 1 and planned to import 1 kW at steps 0, 2, 3; really it uses more, and the sun is weaker."""
    load, pv = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 2.0, 0.0, 0.0])
    terms = Terms(PRICES, np.array([0, 1.0, 0, 0]), np.array([1.0, 0, 1, 1]), adder=0.1, public_price=1.0)
    one = home(load, pv)
    actual = known(one, np.array([1.5, 1.0, 1.0, 0.5]), np.array([0.0, 1.5, 0.0, 0.0]))
    ended = deliver(one, {}, actual, terms, Recourse.NONE, step_hours=6)
    np.testing.assert_allclose(ended.injection_kw, [-1.5, 0.5, -1.0, -0.5])
    np.testing.assert_allclose(ended.net_import_kw, [1.5, 0.5, 1.0, 0.5])  # 1 kW was sold, half of it is bought for it
    np.testing.assert_allclose(ended.deviation_kw, [0.5, 0.5, 0.0, -0.5])
    assert ended.supply == pytest.approx(6 * (0.2 * 1.5 + 0.4 * 0.5 + 0.2 * 1.0 + 0.4 * 0.5))
    assert ended.adder == pytest.approx(6 * 0.1 * 1.5)
    assert ended.cost == pytest.approx(ended.supply + ended.adder)


def test_surplus_that_was_not_planned_is_curtailed_where_the_adder_eats_its_price() -> None:
    load, pv = np.ones(4), np.array([0.0, 3.0, 0.0, 0.0])  # feeds in 1 kW more than planned at 0.20
    terms = Terms(PRICES, NOTHING, np.array([1.0, -1.0, 1.0, 1.0]), adder=0.3, public_price=1.0)
    for recourse, injected in ((Recourse.NONE, 2.0), (Recourse.ROLLING, 1.0), (Recourse.HINDSIGHT, 1.0)):
        one = home(load, pv)
        ended = deliver(one, {"curtailed_kw": NOTHING}, known(one, load, pv), terms, recourse, 1)
        assert ended.injection_kw[1] == pytest.approx(injected, abs=1e-6)


def test_car_that_is_away_charges_later_or_elsewhere() -> None:
    """6 kWh planned for step 0; away then, it takes 2 kW at the one step it is there, and 4 kWh at a public charger."""
    car = ElectricCar(6.0, 2.0, 1.0, np.array([True, True, False, False]))
    one = home(np.zeros(4), None, car)
    terms = Terms(PRICES, NOTHING, np.array([2.0, 2.0, 2.0, 0]), adder=0.0, public_price=0.7)
    actual = known(one, NOTHING, NOTHING, np.array([0.0, 0.0, 1.0, 0.0]))
    plan = {"car_kw": np.array([2.0, 2.0, 2.0, 0.0])}
    for recourse in Recourse:
        ended = deliver(one, plan, actual, terms, recourse, 1)
        np.testing.assert_allclose(ended.injection_kw, [0, 0, -2, 0], atol=1e-7)
        assert ended.public_kwh == pytest.approx(4.0, abs=1e-7)
        assert ended.public == pytest.approx(2.8, abs=1e-6)


def test_planning_anew_uses_what_is_known_now() -> None:
    """The battery was to discharge at step 1; the load comes at step 3 instead, and costs the same: so it moves."""
    battery = Battery(4.0, 4.0, 1.0, 1.0, 2.0)
    one = home(np.array([0.0, 2.0, 0.0, 0.0]), None, battery)
    plan = {"charge_kw": np.array([0.0, 0, 2, 0]), "discharge_kw": np.array([0.0, 2, 0, 0])}
    terms = Terms(Prices(PRICES.import_price, 0.0), NOTHING, NOTHING, adder=0.0, public_price=1.0)
    actual = known(one, np.array([0.0, 0.0, 0.0, 2.0]), NOTHING)
    stiff, anew = (deliver(one, plan, actual, terms, r, 1) for r in (Recourse.NONE, Recourse.ROLLING))
    assert stiff.supply == pytest.approx(0.2 * 2 + 0.4 * 2)  # feeds in for nothing, charges, and imports at 0.40
    assert anew.supply == pytest.approx(0.2 * 2, abs=1e-6)  # charges at 0.20 for the end of the day


# ---------------------------------------------------------------------- a real day


@pytest.fixture(scope="module")
def day() -> CommunityDay:
    return read_community("fontana16").on("06-10")


@pytest.fixture(scope="module")
def alone(day: CommunityDay) -> DayOutcome:
    return solve_day(day, Scenario.B)


def presence(one: Household) -> Array | None:
    return next((car.plugged_in.astype(float) for car in one.having(ElectricCar)), None)


def by_cvxpy(one: Household, actual: Actual, terms: Terms, dt: float) -> float:
    """The cheapest day with everything known, from the market's own constraints."""
    meter = behind_meter(one, dt)
    contract = supply_contract(terms.prices, dt)
    deviation = contract.net_import - terms.planned_import_kw
    problem = cp.Problem(
        cp.Minimize(contract.cost + dt * terms.adder * cp.norm1(deviation)),
        [contract.net_import + meter.injection_kw == terms.net_sold_kw, *flat(meter.constraints)],
    )
    problem.solve(solver=cp.CLARABEL)
    return float(problem.value)


@pytest.mark.parametrize("row", [0, 3, 9, 12])  # battery and car, PV and car, all three, all three
def test_hindsight_is_what_cvxpy_finds(day: CommunityDay, row: int) -> None:
    one = day.households[row]
    random = np.random.default_rng(row)
    terms = Terms(day.prices, random.normal(0, 1, 24), random.normal(0, 1, 24), adder=0.07, public_price=5.0)
    at_home = presence(one)
    actual = known(one, one.load_kw, one.pv_kw, at_home)
    ended = deliver(one, {}, actual, terms, Recourse.HINDSIGHT, day.step_hours)
    assert ended.cost == pytest.approx(by_cvxpy(one, actual, terms, day.step_hours), abs=1e-5)  # two solvers
    anew = deliver(one, {}, actual, terms, Recourse.ROLLING, day.step_hours)
    assert anew.cost == pytest.approx(ended.cost, abs=1e-5)  # guesses that are right are as good


def test_plan_of_the_baseline_costs_what_it_costs(day: CommunityDay, alone: DayOutcome) -> None:
    for row, (one, home_day) in enumerate(zip(day.households, alone.households, strict=True)):
        if row % 4:
            continue  # every fourth will do
        schedule = home_day.schedule
        planned = schedule["import_kw"] - schedule["feed_in_kw"]
        terms = Terms(day.prices, NOTHING[0] * planned, planned, adder=1.0, public_price=1.0)
        at_home = presence(one)
        ended = deliver(one, schedule, known(one, one.load_kw, one.pv_kw, at_home), terms, Recourse.NONE, 1.0)
        assert ended.cost == pytest.approx(home_day.import_cost, abs=1e-6)


@pytest.mark.parametrize("recourse", Recourse)
def test_devices_stay_within_what_they_can(day: CommunityDay, alone: DayOutcome, recourse: Recourse) -> None:
    one = day.households[9]
    ((battery,), (car,)) = one.having(Battery), one.having(ElectricCar)
    random = np.random.default_rng(4)
    load, pv = one.load_kw * random.uniform(0.3, 2, 24), one.pv_kw * random.uniform(0.3, 1.2, 24)
    at_home = (random.random(24) < 0.5).astype(float)
    actual = known(one, load, pv, at_home, (one.load_kw, one.pv_kw))
    before = at_home.copy()
    terms = Terms(day.prices, np.zeros(24), np.zeros(24), adder=0.05, public_price=0.5)
    ended = deliver(one, alone.households[9].schedule, actual, terms, recourse, 1.0)
    np.testing.assert_array_equal(at_home, before)  # nothing is written into what was given
    # What is not load, PV or car passed the battery; the car is seen in what it lacks.
    assert 0 <= ended.public_kwh <= car.energy_kwh + 1e-9
    assert np.all(ended.injection_kw <= pv - load + battery.power_kw + 1e-6)
    assert np.all(ended.injection_kw >= pv - load - pv - battery.power_kw - car.power_kw * at_home - 1e-6)
    # Over the day the battery gives no energy that it did not take: it ends as full as it began.
    taken = float(np.sum(pv - load - ended.injection_kw)) - (car.energy_kwh - ended.public_kwh) / car.efficiency
    assert taken >= -1e-6


@pytest.mark.parametrize("prices", [[-0.2, -0.1, -0.2, -0.1], [0.0] * 4, [0.3, -0.1, -0.1, 0.3], [0.2, 0.4, 0.2, 0.4]])
@pytest.mark.parametrize("efficiency", [0.8, 1.0])
@pytest.mark.parametrize("recourse", [Recourse.ROLLING, Recourse.HINDSIGHT])
def test_battery_isReal_atAnyPrice(prices: list[float], efficiency: float, recourse: Recourse) -> None:
    """What the meter sees is what a battery can do that does one thing at a step, as its own recursion tells."""
    battery = Battery(4.0, 2.0, efficiency, efficiency, 2.0)
    load = np.array([0.5, 1.5, 0.5, 1.0])
    one = home(load, None, battery)
    terms = Terms(Prices(np.array(prices), 0.5), NOTHING, NOTHING, adder=0.0, public_price=1.0)
    actual = known(one, 1.2 * load, NOTHING, None, (load, NOTHING))
    ended = deliver(one, {}, actual, terms, recourse, 1.0)
    net = -ended.injection_kw - 1.2 * load
    stored = 2.0 + np.cumsum(np.where(net > 0, efficiency * net, net / efficiency))
    assert stored.min() >= -1e-3
    assert stored.max() <= 4.0 + 1e-3
    assert stored[-1] >= 2.0 - 1e-3
    assert np.abs(net).max() <= 2.0 + 1e-6
