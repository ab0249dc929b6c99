"""What a house, a building and goods have in common, that electricity keeps within a band of temperatures: a store.

One thermal mass C goes towards a temperature that its losses L, a kelvin, and what is put into it or taken out of it
make. With all of that constant over a step of dt, its equation C dT/dt = L (T_towards - T) has the exact solution

    T[k + 1] = a[k] T[k] + (1 - a[k]) T_towards[k],    a[k] = exp(-L[k] dt / C),

which is linear in the electric power, as T_towards is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from gridpact.devices.device import (
    Array,
    Attribute,
    DeviceBlock,
    Realised,
    StoringDevice,
    StoringSelf,
    carnot_cop,
    warmth,
)

INERTIA = "EN ISO 13790 has 22 to 103 Wh a square metre, very light to very heavy"


@dataclass(frozen=True)
class ThermalStore(StoringDevice):
    """A thermal mass that is heated or cooled to stay within a band, and ends the day no colder, or no warmer, than it
    began it, as far as the band and the power allow. Outside of the band it is brought into it as fast as that goes.

    Its columns are its electric power and its temperature after each step, which is what is `measured`.
    """

    power_kw: float  # electric, at most
    loss_kw_per_k: float
    stored_kwh_per_k: float  # C
    low_c: float
    high_c: float
    start_c: float

    heats: ClassVar[bool] = True  # or cools
    power_of: ClassVar[str]  # what constraints are called: whose power,
    level_of: ClassVar[str]  # which temperature of what,
    mass: ClassVar[str]  # and of what
    scales: ClassVar[tuple[str, ...]] = ("power_kw", "loss_kw_per_k", "stored_kwh_per_k")
    """Fields that are larger where all of it is."""

    @abstractmethod
    def _towards_c(self, power_kw: Array) -> Array:
        """What it would become at last, (T,): of the electric power, (T,), linear in it."""

    @property
    def _lost_kw_per_k(self) -> float | Array:
        """L, (T,) or the same at all steps."""
        return self.loss_kw_per_k

    @property
    def _furthest_c(self) -> float | Array:
        """How cold it may be after each step where it is heated, or how warm where it is cooled: (T,), or always."""
        return self.low_c if self.heats else self.high_c

    @property
    def start(self) -> float:
        """As far as it is wanted so."""
        return min(max(self.start_c, self.low_c), self.high_c)

    def _kept(self, step_hours: float) -> float | Array:
        """a: what is left after a step of how far it was from what it goes towards, (T,) or always."""
        kept: float | Array = np.exp(-self._lost_kw_per_k * step_hours / self.stored_kwh_per_k)
        return kept

    def _path_c(self, power_kw: Array, step_hours: float, stop_c: Array | None = None) -> Array:
        """Temperature after each step, (T,).

        Args:
            power_kw: electric, (T,).
            stop_c: where heating, or cooling, stops, (T,).
        """
        towards, kept = self._towards_c(power_kw), self._kept(step_hours)
        if self.heats:
            return warmth(self.start_c, kept, towards, high_c=stop_c)
        return warmth(self.start_c, kept, towards, low_c=stop_c)

    def _stops_c(self, steps: int, step_hours: float) -> Array:
        """Warmest after each step where it is heated, coldest where it is cooled, (T,): the end of its band, or what it
        becomes from there without any power."""
        unpowered, kept = self._towards_c(np.zeros(steps)), self._kept(step_hours)
        if self.heats:
            return warmth(self.start_c, kept, unpowered, low_c=np.full(steps, self.high_c))
        return warmth(self.start_c, kept, unpowered, high_c=np.full(steps, self.low_c))

    def _reached_c(self, steps: int, step_hours: float) -> Array:
        """What all of its power can do, (T,)."""
        return self._path_c(np.full(steps, self.power_kw), step_hours, self._stops_c(steps, step_hours))

    def _missed(self, steps: int, step_hours: float) -> int | None:
        """The first step after which it is out of its band although all of its power is used, if there is one."""
        beyond = self._furthest_c - self._reached_c(steps, step_hours)
        missed = np.flatnonzero((beyond if self.heats else -beyond) > 1e-9)
        return int(missed[0]) if missed.size else None

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        power = cp.Variable(steps, nonneg=True)
        level = cp.Variable(steps + 1)  # before the first step and after each
        kept = np.broadcast_to(self._kept(step_hours), steps)
        reached, stops = self._reached_c(steps, step_hours), self._stops_c(steps, step_hours)
        if self.heats:
            furthest = np.minimum(self._furthest_c, reached)
            furthest[-1] = max(furthest[-1], min(self.wanted, reached[-1]))
            band = [level[1:] >= furthest, level[1:] <= stops]
        else:
            furthest = np.maximum(self._furthest_c, reached)
            furthest[-1] = min(furthest[-1], max(self.wanted, reached[-1]))
            band = [level[1:] <= furthest, level[1:] >= stops]
        unpowered = self._towards_c(np.zeros(steps))
        per_kw = (1 - kept) * (self._towards_c(np.ones(steps)) - unpowered)
        towards = (1 - kept) * unpowered + cp.multiply(per_kw, power)
        power_name, level_name = (column.name for column in self.columns)
        return DeviceBlock(
            injection_kw=-power,
            constraints={
                f"the power of {self.power_of}": [power <= self.power_kw],
                f"the {self.level_of} of {self.mass}": band,
                f"the {self.level_of} of {self.mass} at the start": [level[0] == self.start_c],
                f"the heat balance of {self.mass}": [level[1:] == cp.multiply(kept, level[:-1]) + towards],
            },
            schedule={power_name: power, level_name: level[1:]},
        )

    def rest(
        self: StoringSelf,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> StoringSelf:
        assert isinstance(self, ThermalStore)
        if level is None:
            power = self.columns[0].name
            level = float(self._path_c(done[power], step_hours)[first - 1]) if first > 0 else self.start_c
        series = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        rest: dict[str, Any] = {name: value[first:] for name, value in series.items()}
        return replace(self, start_c=level, end=self.wanted, **rest)

    def scaled(self: StoringSelf, factor: float) -> StoringSelf:
        """One that is so many times as large."""
        assert isinstance(self, ThermalStore)
        return replace(self, **{name: factor * getattr(self, name) for name in self.scales})

    @property
    def size(self) -> tuple[float, ...]:
        return (self.power_kw,)


class AirSource:
    """Heat of the outdoor air, which a heat pump brings into the water of a heating."""

    flow_c: float
    quality: float
    outdoor_c: Array  # (T,)

    def cop(self) -> Array:
        """Coefficient of performance: a share `quality` of Carnot's between air and water, both in kelvin, (T,)."""
        return carnot_cop(self.quality, self.flow_c, self.outdoor_c)


def air_source_attributes(prefix: str, flow_c: float) -> tuple[Attribute, Attribute]:
    """What is stated of one.

    Args:
        prefix: of its columns.
        flow_c: default of the water's temperature.
    """
    return (
        Attribute(
            "flow_c", f"{prefix}_flow_c", unit="°C", low=20, high=75, default=flow_c, example=float(flow_c),
            meaning="heating water: some 35 for floors, 55 for radiators",
        ),
        Attribute(
            "quality", f"{prefix}_quality", low=0.1, high=0.7, default=0.45, example=0.45,
            meaning="coefficient of performance as a share of Carnot's",
        ),
    )  # fmt: skip
