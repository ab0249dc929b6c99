"""How the day turns out beside its forecast: load, PV output and when cars are at home, drawn by a stated model.

The day of the community file is the forecast; a draw is a reality. Everything is drawn from one seed.

*Load and PV*: the forecast times exp(e - sigma^2/2), so that it is right on average. e is normal with standard
deviation sigma and correlated in time (AR(1): the correlation of an hour with the next is given). Loads err
independently of each other. Of the variance of the PV error, a share is that of the sky and common to all; the rest is
each home's own. PV output never exceeds the size of the panels, or the forecast where that is higher.

*Cars*: a Markov chain with a transition matrix for each step over three states: at home and plugged in, driving, and
parked elsewhere. A car leaves around the end of its window and comes home around the start, both normally distributed
about it; between 7 and 23 h it may make short trips besides. A drive ends at home in the half of the day about the
start of the window, elsewhere in the half about its end. The chain runs through the day before, so that it begins the
day as it would be.

*Appliances* but those that are told what to expect are decided step by step (`devices.jobs`), by the price that a kWh
has at the household's meter in reality, and the prices that it may have later: those of the forecast, corrected by the
error of now as far as that lasts, times quantiles of the error that is still to come, of load and of PV output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import erf, exp, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.devices.appliance import Appliance
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Outlook
from gridpact.devices.jobs import as_expected, runs_now
from gridpact.devices.pv import Panels

HOME, DRIVING, ELSEWHERE = range(3)
"""States of a car."""

TRIPS_FROM, TRIPS_TO = 7.0, 23.0
"""Hours in which cars make short trips."""


@dataclass(frozen=True)
class ErrorModel:
    """How wrong forecasts are. Errors are relative standard deviations, 0 for a forecast that is always right."""

    load: float = 0.30
    pv: float = 0.25
    correlation: float = 0.8  # of an hour's error with the next one's
    common_sky: float = 0.8  # share of the PV error's variance that is the same for all
    departure_hours: float = 1.0  # standard deviation of leaving and coming home about the window's ends
    trips_a_day: float = 0.5  # short ones, besides
    drive_hours: float = 0.5  # mean length of a drive
    cars: bool = True  # whether cars behave otherwise than forecast


@dataclass(frozen=True)
class Reality:
    """How a day turned out."""

    load_kw: Array  # (n, T)
    series: tuple[tuple[dict[str, Array], ...], ...]  # the uncertain ones of each device of each household, by name
    load_error: Array  # (n, T), e above
    pv_error: Array  # (n, T)

    @property
    def pv_kw(self) -> Array:
        """What all panels of each household can give, (n, T)."""
        nothing = np.zeros(self.load_kw.shape[1])
        return np.array([sum((one.get("pv_kw", nothing) for one in home), nothing) for home in self.series])


@dataclass(frozen=True)
class Seen:
    """What a household sees of its load and PV output at each step, and then guesses of the steps after it."""

    prices: Prices
    load_kw: Array  # (T,)
    pv_kw: Array  # (T,)
    guess_load_kw: Array  # (T, T): row t is what is guessed at step t, whose entries after t count
    guess_pv_kw: Array  # (T, T)


@dataclass(frozen=True)
class LivedRuns:
    """In which steps an appliance ran, (T,), and is expected to at every step, (T, T); 1 where it does."""

    runs: Array
    guesses: Array


def draw(community: CommunityDay, model: ErrorModel, random: np.random.Generator) -> Reality:
    """One reality of a day."""
    homes, steps, dt = community.households, community.steps, community.step_hours
    n = len(homes)
    load_error = model.load * _correlated(random, (n, steps), model.correlation, dt)
    sky = _correlated(random, (1, steps), model.correlation, dt)
    own = _correlated(random, (n, steps), model.correlation, dt)
    pv_error = model.pv * (sqrt(model.common_sky) * sky + sqrt(1 - model.common_sky) * own)
    load = np.array([home.load_kw for home in homes]) * np.exp(load_error - model.load**2 / 2)
    series = []
    for home, error in zip(homes, pv_error, strict=True):
        drawn: list[dict[str, Array]] = []
        for device in home.devices:
            if isinstance(device, Panels):
                output = np.minimum(device.pv_kw * np.exp(error - model.pv**2 / 2), most_kw(device))
                drawn.append({"pv_kw": output})
            elif isinstance(device, ElectricCar):
                there = presence(device, model, dt, random) if model.cars else device.plugged_in
                drawn.append({"plugged_in": there.astype(float)})
            else:
                drawn.append({name: getattr(device, name) for name in device.uncertain})
        series.append(tuple(drawn))
    reality = Reality(load, tuple(series), load_error, pv_error)
    return replace(reality, series=tuple(_with_runs(community, reality, row, model) for row in range(n)))


def _with_runs(community: CommunityDay, reality: Reality, row: int, model: ErrorModel) -> tuple[dict[str, Array], ...]:
    """A household's series with what its appliances do."""
    home, drawn = community.households[row], reality.series[row]
    if not home.having(Appliance):
        return drawn
    at_meter = seen(community, reality, row, model)
    return tuple(
        {"runs": decided(device, at_meter, model, community.step_hours).runs} if isinstance(device, Appliance) else own
        for device, own in zip(home.devices, drawn, strict=True)
    )


def seen(community: CommunityDay, reality: Reality, row: int, model: ErrorModel) -> Seen:
    """At a household's meter."""
    home, dt, steps = community.households[row], community.step_hours, community.steps
    panels = [guessed_pv(one, reality.pv_error[row], model, dt) for one in home.having(Panels)]
    return Seen(
        community.prices_of(home),
        reality.load_kw[row],
        reality.pv_kw[row],
        _guesses(home.load_kw, reality.load_error[row], model.load, model.correlation, dt),
        sum(panels, np.zeros((steps, steps))),
    )


def guessed_pv(panels: Panels, error: Array, model: ErrorModel, dt: float) -> Array:
    """(T, T): row t is the output that is expected from t + 1 on, the error of t known."""
    return np.minimum(_guesses(panels.pv_kw, error, model.pv, model.correlation, dt), most_kw(panels))


def _guesses(forecast: Array, error: Array, sigma: float, correlation: float, dt: float) -> Array:
    """(T, T): row t is the expected series from t + 1 on, the error of t known."""
    steps = len(forecast)
    guesses = np.tile(forecast, (steps, 1))
    for t in range(steps - 1):
        faded = fading(correlation, dt, steps - 1 - t)
        guesses[t, t + 1 :] *= np.exp(faded * error[t] - (sigma * faded) ** 2 / 2)
    return guesses


def most_kw(panels: Panels) -> Array:
    """PV output never exceeds the size of the panels, or the forecast where that is higher, (T,)."""
    return np.maximum(panels.pv_kw, panels.pv_kwp)


def fading(correlation: float, step_hours: float, steps: int) -> Array:
    """What is left of an error after 1, 2, ... steps, (steps,): the best guess at each from the error of now."""
    faded: Array = np.power(correlation, step_hours * np.arange(1, steps + 1))
    return faded


# ---------------------------------------------------------------------- appliances

LEVELS = np.array([NormalDist().inv_cdf((2 * k + 1) / 14) for k in range(7)])
"""Equally likely errors in standard deviations."""


def decided(appliance: Appliance, at_meter: Seen, model: ErrorModel, dt: float) -> LivedRuns:
    """What an appliance does, each step decided when its price is seen; and what it is expected to do later."""
    window = np.flatnonzero(appliance.window)
    steps = len(appliance.window)
    runs, guesses = np.zeros(steps), np.tile(appliance.runs.astype(float), (steps, 1))
    if appliance.by_table:  # nothing is drawn of what it was told
        return LivedRuns(appliance.runs.astype(float), guesses)
    price = _outlook(at_meter.prices, at_meter.load_kw, at_meter.pv_kw).price_of(appliance.power_kw)
    job, running = appliance.job, False
    for step in range(steps):
        ahead = window[window > step]
        outcomes = _prices_ahead(appliance.power_kw, at_meter, step, model, dt)
        if appliance.window[step]:
            own = [outcomes[:, later] for later in ahead]
            running = runs_now(job, int(runs.sum()), running, float(price[step]), own)
            runs[step] = running
        guesses[step] = runs
        if left := job.steps - int(runs.sum()):
            expected = [float(outcomes[:, later].mean()) for later in ahead]
            guesses[step, ahead] = as_expected(replace(job, steps=left), expected, running=running)
    return LivedRuns(runs, guesses)


def _outlook(prices: Prices, load_kw: Array, pv_kw: Array) -> Outlook:
    return Outlook(prices.import_price, prices.feed_in_price, load_kw - pv_kw)


def _prices_ahead(power_kw: float, at_meter: Seen, step: int, model: ErrorModel, dt: float) -> Array:
    """Equally likely prices of each step, of which those after one count, (k, T)."""
    steps = len(at_meter.load_kw)
    left = np.zeros(steps)  # standard deviation of the error that is still to come, relative to all of it
    left[step + 1 :] = np.sqrt(1 - fading(model.correlation, dt, steps - 1 - step) ** 2)
    load, pv = (
        guess[step] * np.exp(sigma * left * LEVELS[:, None] - (sigma * left) ** 2 / 2)
        for guess, sigma in ((at_meter.guess_load_kw, model.load), (at_meter.guess_pv_kw, model.pv))
    )
    pairs = [_outlook(at_meter.prices, one, other).price_of(power_kw) for one in load for other in pv]
    return np.array(pairs)


def _correlated(random: np.random.Generator, shape: tuple[int, int], correlation: float, dt: float) -> Array:
    """Normal with variance 1, AR(1) along the second axis, stationary from the first step on."""
    a = correlation**dt
    shocks = random.standard_normal(shape)
    series = np.empty(shape)
    series[:, 0] = shocks[:, 0]
    for t in range(1, shape[1]):
        series[:, t] = a * series[:, t - 1] + sqrt(1 - a * a) * shocks[:, t]
    return series


# ---------------------------------------------------------------------- cars


def presence(car: ElectricCar, model: ErrorModel, dt: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """When a car is at home on a day, (T,)."""
    matrices = transitions(car, model, dt)
    steps = len(matrices)
    uniform = random.random(2 * steps)
    state = HOME
    at_home = np.zeros(steps, dtype=bool)
    for k in range(2 * steps):  # a day to come into step, then the day
        state = int(np.searchsorted(np.cumsum(matrices[k % steps][state]), uniform[k], side="right"))
        state = min(state, ELSEWHERE)  # rounding of the sum
        if k >= steps:
            at_home[k - steps] = state == HOME
    return at_home


def transitions(car: ElectricCar, model: ErrorModel, dt: float) -> Array:
    """Transition matrices into each step from the step before, (T, 3, 3), rows sum to 1.

    A car counts as where it is in the middle of a step.
    """
    steps = len(car.plugged_in)
    window = _window(car.plugged_in, dt)
    stay_driving = exp(-dt / model.drive_hours) if model.drive_hours > 0 else 0.0
    matrices = np.zeros((steps, 3, 3))
    for t in range(steps):
        if window is None:  # always plugged in, or never: it has no usual hours
            leave = come = 0.0
        else:
            comes_at, leaves_at = window
            middle_before = (t - 0.5) * dt
            leave = _hazard(middle_before, dt, leaves_at, model.departure_hours)
            come = _hazard(middle_before, dt, comes_at - dt / (1 - stay_driving), model.departure_hours)
        if TRIPS_FROM <= (t + 0.5) * dt % 24 < TRIPS_TO:
            leave = 1 - (1 - leave) * exp(-model.trips_a_day * dt / (TRIPS_TO - TRIPS_FROM))
        homeward = 1.0 if window is None else float(_homeward((t + 0.5) * dt, *window))
        matrices[t, HOME] = [1 - leave, leave, 0.0]
        matrices[t, DRIVING] = [(1 - stay_driving) * homeward, stay_driving, (1 - stay_driving) * (1 - homeward)]
        matrices[t, ELSEWHERE] = [0.0, come, 1 - come]
    return matrices


def _window(plugged_in: NDArray[np.bool_], dt: float) -> tuple[float, float] | None:
    """Hours at which a car comes home and leaves; None where it is always or never there."""
    before = np.roll(plugged_in, 1)
    comes, leaves = np.flatnonzero(plugged_in & ~before), np.flatnonzero(~plugged_in & before)
    return None if not len(comes) else (float(comes[0] * dt), float(leaves[0] * dt))


def _hazard(start: float, hours: float, centre: float, deviation: float) -> float:
    """Probability that what happens once a day around a time happens within some hours, if it did not before.

    From three standard deviations after its time on it does not happen any more.
    """
    from_centre = (start - centre + 12) % 24 - 12  # -12 to 12
    if deviation <= 0:
        return float(from_centre < 1e-9 and from_centre + hours > 1e-9)
    if from_centre > 3 * deviation:
        return 0.0
    done, then = (0.5 * (1 + erf(x / deviation / sqrt(2))) for x in (from_centre, from_centre + hours))
    return (then - done) / (1 - done)


def _homeward(hour: float, comes_at: float, leaves_at: float) -> bool:
    """Whether a drive now ends at home: from the middle of the hours away to the middle of those at home."""
    away = (comes_at - leaves_at) % 24
    since_leaving = (hour - leaves_at) % 24
    return away / 2 <= since_leaving <= away + (24 - away) / 2
