"""Where cars are and what they charge: time-varying Markov chains over home, public charger and away.

Estimated from trips whose arrivals, connection times and energies follow the distributions that ElaadNL published of
its chargers (`charging/README.md`). They are of sessions, not of cars: how many sessions a car has, at home and at the
public charger, is stated here. A session there brings 22 kWh on average, what is driven on three days; a car here
charges whenever it comes to a charger, what it has driven since: the same energies, made smaller in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.community.tables import rows

HALF_HOURS = 48
HOME, PUBLIC, AWAY = 0, 1, 2
PLACES = ("home", "public charger", "away")

PUBLIC_PART = 0.15
"""Of all sessions, those at the public charger on the feeder."""

DRIVEN_KWH = 7.0
"""What a car needs of a day: 35 km at 0.2 kWh."""

TRIPS = 3000
"""Cars that are followed over a week to estimate the chains."""

DAYS = 7

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sessions:
    """What is known of sessions; private ones first, public ones second."""

    arrival: Array  # (2, 48), probability by half-hour
    connected_h: Array  # (2, 101), hours by the share of sessions, in percent, that are longer
    energy_kwh: Array  # (2, 101), the same of their energy

    @property
    def driven_kwh(self) -> Array:
        """What cars want that charge whenever they come, by the share of sessions with more, (2, 101)."""
        by_place = (self.energy_kwh[:, 1:] + self.energy_kwh[:, :-1]).mean(axis=1) / 2
        mean = (1 - PUBLIC_PART) * by_place[HOME] + PUBLIC_PART * by_place[PUBLIC]
        return np.asarray(DRIVEN_KWH / mean * self.energy_kwh)


@lru_cache
def sessions(weekend: bool) -> Sessions:
    """ElaadNL's distributions."""
    folder = Path(str(resources.files("gridpact.aggregator"))) / "charging"

    def table(name: str) -> Array:
        read = rows(folder / name, ["private", "public"], None)
        shares: Array = np.array([[row.number_in("private", 0), row.number_in("public", 0)] for row in read]).T
        return shares

    arrival = table("distribution-of-arrival-weekend.csv" if weekend else "distribution-of-arrival.csv")
    arrival = arrival.reshape(2, HALF_HOURS, -1).sum(axis=2)
    return Sessions(
        arrival / arrival.sum(axis=1, keepdims=True),
        table("distribution-of-connection-time.csv"),
        table("distribution-of-energy-demand.csv"),
    )


def places_of_trips(weekend: bool, rng: np.random.Generator, cars: int = TRIPS) -> Whole:
    """Where cars are by half-hour, one session a day or less, (cars, DAYS * 48): they arrive, stay as long as such
    sessions last, go away, and come back at the next time of arrival."""
    known = sessions(weekend)
    result = np.full((cars, DAYS * HALF_HOURS), AWAY)
    for car in result:
        at = 0
        while True:
            place = int(rng.random() < PUBLIC_PART)
            step = int(rng.choice(HALF_HOURS, p=known.arrival[place]))
            arrives = at + (step - at) % HALF_HOURS
            if arrives >= len(car):
                break
            stays = max(1, round(2 * float(_drawn(known.connected_h[place], rng))))
            car[arrives : arrives + stays] = place
            at = arrives + stays + 1
    return result


def chains(weekend: bool, rng: np.random.Generator) -> Array:
    """Probabilities to be at a place at the end of each half-hour, by the place at its beginning, (48, 3, 3)."""
    places = places_of_trips(weekend, rng)[:, HALF_HOURS:]  # the first day has not settled
    before, after = places[:, :-1], places[:, 1:]
    step = np.broadcast_to(np.arange(before.shape[1]) % HALF_HOURS, before.shape)
    counts = np.zeros((HALF_HOURS, 3, 3))
    np.add.at(counts, (step, before, after), 1)
    seen = counts.sum(axis=2, keepdims=True)
    return np.where(seen > 0, counts / np.maximum(seen, 1), np.eye(3))


@dataclass(frozen=True, eq=False)
class Cars:
    """Days of cars: where each is, and what it charges there."""

    place: Whole  # (days, cars, 48)
    charging_kw: Array  # (days, cars, 48)


def drawn_cars(matrices: Array, weekend: bool, days: int, cars: int, power_kw: float, rng: np.random.Generator) -> Cars:
    """Days of cars by their chains, each after a day to settle: who arrives charges at once until it has its energy."""
    wanted = sessions(weekend).driven_kwh
    count = days * cars
    place = np.full(count, AWAY)
    left = np.zeros(count)  # kWh that it still wants
    taken_place = np.zeros((count, HALF_HOURS), dtype=int)
    taken_kw = np.zeros((count, HALF_HOURS))
    above = np.cumsum(matrices, axis=2)
    for slot in range(1, 2 * HALF_HOURS):
        now = (slot - 1) % HALF_HOURS
        moved = (rng.random((count, 1)) > above[now, place]).sum(axis=1).clip(0, AWAY)
        arrived = (moved != place) & (moved != AWAY)
        for where in (HOME, PUBLIC):
            here = np.flatnonzero(arrived & (moved == where))
            left[here] = _drawn(wanted[where], rng, len(here))
        left[moved == AWAY] = 0
        charging = np.minimum(power_kw, 2 * left)
        left -= charging / 2
        if slot >= HALF_HOURS:
            taken_place[:, slot - HALF_HOURS], taken_kw[:, slot - HALF_HOURS] = moved, charging
        place = moved
    shape = days, cars, HALF_HOURS
    return Cars(taken_place.reshape(shape), taken_kw.reshape(shape))


def _drawn(longer: Array, rng: np.random.Generator, size: int | None = None) -> Array:
    return np.interp(100 * rng.random(size), np.arange(len(longer)), longer)
