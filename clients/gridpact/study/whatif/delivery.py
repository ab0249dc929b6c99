"""What a household does, and pays, when its day turns out otherwise than it was planned.

The trades stand as they were agreed, and so does their payment. What the meter reads beyond them is settled with the
supplier at its tariff; what differs from the plan costs an adder besides, in either direction:

    cost = sum dt (kappa g+ - f g- + adder |g - planned g|) + what the car took from a public charger

with g = g+ - g- = (agreed net sale) - (net injection). Without an agreement there is no plan that anybody was told, and
so no adder. What a household can still do is its `Recourse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
import scipy.sparse as sp

from gridpact.community.model import Array, Household, Prices
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.problem.solving import LinearProgram


class Recourse(Enum):
    """What a household can do while the day goes otherwise than planned.

    `NONE`: its devices do what was planned, as far as they can: the car charges as planned while it is there, and makes
    up for what it missed as soon as it is back.
    `ROLLING`: at every step it plans the rest of its day anew. It knows its load, its PV output and where its car is
    now; for the rest it takes the forecast, with the error of now as far as that will last, and the car's usual hours.
    `HINDSIGHT`: it plans its day anew knowing all of it: more than anybody can, as a bound.
    """

    NONE = "none"
    ROLLING = "rolling"
    HINDSIGHT = "hindsight"


@dataclass(frozen=True)
class Terms:
    """What a household has agreed to and what deviating costs, (T,) each, kW and currency/kWh."""

    prices: Prices
    net_sold_kw: Array  # to neighbours, agreed
    planned_import_kw: Array  # net, from the supplier, g of the plan
    adder: float  # currency/kWh of deviation
    public_price: float  # currency/kWh into the car's battery at a public charger


@dataclass(frozen=True)
class Actual:
    """What really happens behind a meter, and what is guessed of it, (T,)."""

    load_kw: Array
    pv_kw: Array
    at_home: Array | None  # 1 where the car is plugged in
    guess_load_kw: Array  # (T, T): row t is what is guessed at step t, whose entries after t count
    guess_pv_kw: Array  # (T, T)


@dataclass(frozen=True)
class Delivered:
    """How a household's day ended. (T,) each, kW."""

    injection_kw: Array
    net_import_kw: Array  # from the supplier
    deviation_kw: Array  # net import beyond the plan
    public_kwh: float  # what the car took elsewhere
    supply: float  # currency: imports less feed-in
    adder: float  # currency
    public: float  # currency

    @property
    def cost(self) -> float:
        """All but the trades and the losses."""
        return self.supply + self.adder + self.public


def deliver(
    home: Household, plan: Mapping[str, Array], actual: Actual, terms: Terms, recourse: Recourse, step_hours: float
) -> Delivered:
    """Carries a household's plan out on the day as it is.

    Args:
        plan: of its devices: charge_kw, discharge_kw, car_kw, curtailed_kw where it has them.

    Raises:
        SolverError, InfeasibleError: see `LinearProgram`; a household can always import, so there is always a plan.
    """
    if recourse is Recourse.NONE:
        devices = _as_planned(home, plan, actual, step_hours)
    else:
        devices = _replanned(home, actual, terms, recourse, step_hours)
    return _settled(home, actual, terms, devices, step_hours)


def _battery(home: Household) -> Battery | None:
    return next(iter(home.having(Battery)), None)


def _car(home: Household) -> ElectricCar | None:
    return next(iter(home.having(ElectricCar)), None)


@dataclass(frozen=True)
class _Devices:
    """What the devices did, (T,) each, kW."""

    curtailed: Array
    to_battery: Array  # charge less discharge
    car: Array


def _settled(home: Household, actual: Actual, terms: Terms, devices: _Devices, dt: float) -> Delivered:
    injection = actual.pv_kw - devices.curtailed - actual.load_kw - devices.to_battery - devices.car
    net_import = terms.net_sold_kw - injection
    deviation = net_import - terms.planned_import_kw
    imported, fed_in = np.maximum(net_import, 0), np.maximum(-net_import, 0)
    prices = terms.prices
    own_car = _car(home)
    lacking = 0.0
    if own_car is not None:
        lacking = max(own_car.energy_kwh - dt * own_car.efficiency * float(devices.car.sum()), 0.0)
    return Delivered(
        injection_kw=injection,
        net_import_kw=net_import,
        deviation_kw=deviation,
        public_kwh=lacking,
        supply=float(dt * np.sum(prices.import_price * imported - prices.feed_in_price * fed_in)),
        adder=float(dt * terms.adder * np.abs(deviation).sum()),
        public=terms.public_price * lacking,
    )


def _as_planned(home: Household, plan: Mapping[str, Array], actual: Actual, dt: float) -> _Devices:
    own_car = _car(home)
    steps = len(actual.load_kw)
    nothing = np.zeros(steps)
    curtailed = np.minimum(plan.get("curtailed_kw", nothing), actual.pv_kw)
    to_battery = plan.get("charge_kw", nothing) - plan.get("discharge_kw", nothing)
    car = np.zeros(steps)
    if own_car is not None and actual.at_home is not None:
        needed, due = own_car.energy_kwh / (own_car.efficiency * dt), 0.0  # kW over steps, and what was missed
        for t in range(steps):
            due += plan["car_kw"][t]
            car[t] = min(due, own_car.power_kw, needed) * actual.at_home[t]
            due -= car[t]
            needed -= car[t]
    return _Devices(curtailed, to_battery, car)


# ---------------------------------------------------------------------- planning anew


def _replanned(home: Household, actual: Actual, terms: Terms, recourse: Recourse, dt: float) -> _Devices:
    """One linear program of the rest of the day for every step, or one for the whole day."""
    own_battery, own_car = _battery(home), _car(home)
    steps = len(actual.load_kw)
    couples_steps = own_battery is not None or own_car is not None
    once = recourse is Recourse.HINDSIGHT or not couples_steps  # a step on its own needs no forecast
    curtailed, to_battery, car = np.zeros(steps), np.zeros(steps), np.zeros(steps)
    stored = own_battery.start_kwh if own_battery else 0.0
    needed = own_car.energy_kwh if own_car else 0.0
    for now in [0] if once else range(steps):
        load, pv = actual.load_kw[now:].copy(), actual.pv_kw[now:].copy()
        at_home = None if actual.at_home is None else np.array(actual.at_home[now:])
        if not once:
            load[1:], pv[1:] = actual.guess_load_kw[now, now + 1 :], actual.guess_pv_kw[now, now + 1 :]
            if own_car is not None and at_home is not None:
                at_home[1:] = own_car.plugged_in[now + 1 :]
        rest = _rest_of_day(home, terms, now, load, pv, at_home, stored, needed, dt)
        upto = steps if once else now + 1
        curtailed[now:upto] = rest.curtailed[: upto - now]
        to_battery[now:upto] = rest.to_battery[: upto - now]
        car[now:upto] = rest.car[: upto - now]
        if own_battery is not None:
            gained = np.where(
                to_battery[now] > 0,
                own_battery.charge_efficiency * to_battery[now],
                to_battery[now] / own_battery.discharge_efficiency,
            )
            stored = float(np.clip(stored + dt * gained, 0.0, own_battery.capacity_kwh))
        if own_car is not None:
            needed = max(needed - dt * own_car.efficiency * car[now], 0.0)
    return _Devices(curtailed, to_battery, car)


def _rest_of_day(
    home: Household,
    terms: Terms,
    now: int,
    load: Array,
    pv: Array,
    at_home: Array | None,
    stored: float,
    needed: float,
    dt: float,
) -> _Devices:
    """The cheapest rest of a day, from step `now` on, as far as it is known.

    Variables a step: import, feed-in, above and below the plan, curtailed, charge, discharge, stored after it, car; and
    what the car takes at a public charger.
    """
    h = len(load)
    battery, car = _battery(home), _car(home)
    program = _program(
        h, dt, battery.charge_efficiency if battery else 1.0, battery.discharge_efficiency if battery else 1.0,
        car.efficiency if car else 1.0,
    )  # fmt: skip
    none = np.zeros(h)
    kappa, feed_in = terms.prices.import_price[now:], terms.prices.feed_in_price[now:]
    adder = np.full(h, terms.adder)
    c = np.concatenate([dt * np.concatenate([kappa, -feed_in, adder, adder, none, none, none, none, none]),
                        [terms.public_price]])  # fmt: skip
    of_battery = np.full(h, battery.power_kw if battery else 0.0)
    unlimited = np.full(h, np.inf)
    full = np.full(h, battery.capacity_kwh if battery else 0.0)
    empty = none.copy()
    if battery is not None:
        # What can be charged until the end is enough, but for rounding in what was stored.
        most = stored + dt * h * battery.charge_efficiency * battery.power_kw
        empty[-1] = min(battery.start_kwh, most, battery.capacity_kwh)
    of_car = car.power_kw * at_home if car is not None and at_home is not None else none
    low = np.concatenate([none, none, none, none, none, none, none, empty, none, [0.0]])
    high = np.concatenate([unlimited, unlimited, unlimited, unlimited, np.maximum(pv, 0), of_battery, of_battery, full,
                           of_car, [needed]])  # fmt: skip
    balance = terms.net_sold_kw[now:] - pv + load
    b = np.concatenate([balance, terms.planned_import_kw[now:], [stored], none[1:], [needed]])
    x = program.solve(c, b, low, high)
    curtailed, charge, discharge = (x[k * h : (k + 1) * h] for k in (4, 5, 6))
    # Charging and discharging at once only wastes; where waste pays (negative prices) the rest is curtailed instead.
    return _Devices(curtailed, charge - discharge, x[8 * h : 9 * h])


@lru_cache(maxsize=4096)
def _program(h: int, dt: float, charge: float, discharge: float, car: float) -> LinearProgram:
    """The equations of the rest of a day: balance, deviation from the plan, battery, car."""
    eye, zero = sp.eye_array(h), sp.csr_array((h, h))
    step = sp.eye_array(h) - sp.eye_array(h, k=-1)
    column = sp.csr_array((h, 1))
    balance = sp.hstack([eye, -eye, zero, zero, -eye, -eye, eye, zero, -eye, column])
    deviation = sp.hstack([eye, -eye, -eye, eye, zero, zero, zero, zero, zero, column])
    battery = sp.hstack([zero, zero, zero, zero, zero, -dt * charge * eye, dt / discharge * eye, step, zero, column])
    of_car = np.zeros((1, 9 * h + 1))
    of_car[0, 8 * h : 9 * h] = dt * car
    of_car[0, -1] = 1.0
    return LinearProgram(sp.csr_array(sp.vstack([balance, deviation, battery, of_car])), "a household")
