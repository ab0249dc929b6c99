"""What a household reads and plans while its day runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Household
from gridpact.devices.battery import Battery
from gridpact.devices.boiler import Boiler
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Array, Device
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.problem.baseline import fallback, with_positions
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.forecast import NoForecast
from gridpact.service.readings import parse_reading, take_reading
from unit.problem.helpers import household
from unit.service.helpers import HOUSEHOLD, settings_of

DAY = "2026-11-22"
STEPS = 6


def told(text: str) -> str:
    """The complaint about a reading."""
    with pytest.raises(NoForecast) as caught:
        parse_reading(text, "the readings 'x'", DAY, 3)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no JSON"),
        ("[-420]", "must be an object"),
        ('{"stored_kwh": 1}', "has no meter_wh: give what was fed into the grid in step 3"),
        ('{"meter_wh": null}', "meter_wh of the readings 'x' is missing"),
        ('{"meter_wh": NaN}', "no finite number"),
        ('{"meter_wh": "much"}', "is 'much', which is no number"),
        ('{"meter_wh": 1e12}', "which no meter reads in a step"),
        ('{"meter_wh": 1, "meter_wh": 2}', "'meter_wh' is given twice"),
        ('{"meter_wh": 1, "battery": 2}', "'battery' is not known; known keys: day, step, meter_wh, stored_kwh"),
        ('{"meter_wh": 1, "step": 2}', "is for step 2, not for 3"),
        ('{"meter_wh": 1, "day": "2026-11-21"}', "is for day 2026-11-21, not for 2026-11-22"),
        ('{"meter_wh": 1, "stored_kwh": "full"}', "stored_kwh of the readings 'x' is 'full'"),
    ],
)
def test_wrongReading_isNamed(text: str, words: str) -> None:
    assert words in told(text)


def test_reading_isOfAFileOrOfACommand(tmp_path: Path) -> None:
    by_file = settings_of(tmp_path, HOUSEHOLD + '[day]\nreadings = "{day}-{step}.json"\n').day
    assert by_file is not None
    with pytest.raises(NoForecast, match="there is no readings"):
        take_reading(by_file, DAY, 2)
    (tmp_path / f"{DAY}-2.json").write_text('{"day": "2026-11-22", "step": 2, "meter_wh": -420.4, "stored_kwh": 2.5}')
    reading = take_reading(by_file, DAY, 2)
    assert (reading.step, reading.meter_wh, reading.levels) == (2, -420, {"battery": 2.5})
    program = "import json, sys; assert sys.argv[1] == '2026-11-22'; print(json.dumps({'meter_wh': int(sys.argv[2])}))"
    by_command = replace(by_file, file=None, command=(sys.executable, "-c", program, "{day}", "{step}"))
    assert take_reading(by_command, DAY, 5).meter_wh == 5
    with pytest.raises(NoForecast, match=r"the readings command .* ended with status 1"):
        take_reading(by_command, "2026-11-23", 5)


def devices() -> list[Device]:
    there = np.array([True, True, False, False, True, True])
    return [
        Battery(6.0, 2.0, 0.9, 0.9, 3.0),
        ElectricCar(5.0, 2.0, 0.9, there),
        Boiler(8.0, 2.0, 0.1, 4.0, 1.0, np.full(STEPS, 0.4)),
        HeatPump.customary(STEPS, 4.0),
        TwoWayCar(40.0, 4.0, 3.0, 0.9, 0.9, 20.0, 2.0, 20.0, there, 1.0),
    ]


def home() -> Household:
    whole = household(1, [0.4, 0.6, 0.5, 0.9, 1.2, 0.3], [0.0, 1.0, 2.0, 1.5, 0.2, 0.0])
    return replace(whole, devices=(*whole.devices, *(one for one in devices() if one is not None)))


def plan_of(whole: Household, day: CommunityDay) -> dict[str, Array]:
    view = node_views(day, Scenario.B, NetworkAgreement.DSO)[0]
    return fallback(replace(view, household=whole))


@pytest.fixture
def day() -> CommunityDay:
    from unit.problem.helpers import community

    return community([home()], [0.3, 0.1, 0.25, 0.4, 0.35, 0.2])


def levels_after(plan: dict[str, Array], whole: Household, step: int, hours: float) -> list[float | None]:
    """What a meter of each device would read after a step, by the plan."""
    found: list[float | None] = []
    for device in whole.devices:
        if isinstance(device, ElectricCar):
            found.append(device.energy_kwh - hours * device.efficiency * float(plan["car_kw"][: step + 1].sum()))
        else:
            found.append(float(plan[device.measured.name][step]) if device.measured is not None else None)
    return found


def test_rest_fromReadings_isThatFromThePlan(day: CommunityDay) -> None:
    """Where devices did what was planned, what was read after a step says what follows from the plan; and so does the
    rest of a rest."""
    (whole,), hours = day.households, day.step_hours
    plan = plan_of(whole, day)
    done = [{one.name: plan[one.name] for one in device.columns} for device in whole.devices]
    nothing: list[dict[str, Array]] = [{} for _ in whole.devices]
    planned = whole.rest(4, whole.load_kw[4:], done, nothing, hours)
    read = whole.rest(2, whole.load_kw[2:], done, nothing, hours, levels_after(plan, whole, 1, hours))
    later = [{name: series[2:] for name, series in own.items()} for own in done]
    again = read.rest(2, whole.load_kw[4:], later, nothing, hours)
    for one, other in zip(planned.devices, again.devices, strict=True):
        for name, value in vars(one).items():
            expected = pytest.approx(np.asarray(value, dtype=float), abs=1e-4, nan_ok=True)
            assert np.asarray(vars(other)[name], dtype=float) == expected


def test_positions_areDeliveredAtTheLeastCost(day: CommunityDay) -> None:
    """What is sold is added to what is drawn; nothing sold is the plan alone, and at one price at all steps, for both
    directions, a kWh sold costs that price wherever it is."""
    view = node_views(day, Scenario.TG, NetworkAgreement.DSO)[1]
    alone, none = fallback(view), with_positions(view, np.zeros(STEPS))

    def cost(plan: dict[str, Array]) -> float:
        prices = view.prices
        return float(prices.import_price @ plan["import_kw"] - prices.feed_in_price @ plan["feed_in_kw"])

    assert cost(none) == pytest.approx(cost(alone), abs=1e-5)
    sold = np.array([0.5, -1.0, 0.0, 2.0, 0.0, -0.3])
    plan = with_positions(view, sold)
    drawn = plan["import_kw"] - plan["feed_in_kw"]
    assert drawn == pytest.approx(sold - plan["injection_kw"], abs=1e-5)
    stiff = sold - none["injection_kw"]
    prices = view.prices
    bill = prices.import_price @ np.maximum(stiff, 0) - prices.feed_in_price @ np.maximum(-stiff, 0)
    assert cost(plan) <= bill + 1e-6, "planned anew it is no dearer than with the devices as they were"
