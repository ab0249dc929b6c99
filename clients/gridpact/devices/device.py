"""What every device behind a meter says of itself, once, for all that read, plan, show and deliver it.

A device is a frozen dataclass of what it is on one day. Its class says besides

- what people state of it (`attributes`): columns of households.csv, keys of household.toml, bounds and defaults;
- what a day's forecast may tell of it (`told`);
- its physics, as one convex block (`block`, which imports CVXPY only when it is called);
- what its plan is called in tables and plots (`columns`, `bands`), and
- what it does when the day turns out otherwise than it was planned (`uncertain`, `carried_out`).

Units: kW, kvar, kWh. Series have shape (T,), one entry a time step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridpact.errors import InputError

if TYPE_CHECKING:
    import cvxpy as cp  # takes a second, and who only reads a community needs none of it

    from gridpact.devices.price_model import PriceModel

Array = NDArray[np.float64]

Constraints: TypeAlias = "dict[str, list[cp.Constraint]]"
"""Families of constraints by their names in words, for the case that one cannot hold."""

Stated = Mapping[str, float]
"""What is stated of a device, by the keys of its attributes; times are minutes since midnight."""

Realised: TypeAlias = "Mapping[str, cp.Expression]"
"""In place of series of a device, by their names: what they will turn out to be."""


def flat(constraints: Constraints) -> list[cp.Constraint]:
    """All constraints of all families."""
    return [constraint for family in constraints.values() for constraint in family]


class DeviceError(InputError):
    """What is stated or told of a device cannot be. `key`: the attribute that is to blame."""

    def __init__(self, key: str, complaint: str) -> None:
        super().__init__(complaint)
        self.key = key


@dataclass(frozen=True)
class Attribute:
    """Something that people state of a device. Of its first attribute nothing, or 0, means that it is not there."""

    key: str  # in the device's table of household.toml
    column: str  # in households.csv
    meaning: str
    example: float | str  # in a new household.toml
    unit: str = ""
    low: float = 0.0
    high: float = math.inf
    default: float | None = None  # None: it must be stated where the device is
    is_clock: bool = False  # a time HH:MM, without bounds and default
    most: float = math.inf  # that people have: beyond, it is asked about

    def doubt(self, value: float, file: str) -> str | None:
        """What is asked about a value that can be and hardly is, in words; `file` has the list `accept`."""
        if value <= self.most:
            return None
        return (
            f"{value:g} {self.unit} is more than the {self.most:g} that homes, schools and farms have; is it in "
            f'another unit? If it is so, say accept = ["size"] in {file}'
        )


@dataclass(frozen=True)
class ForecastField:
    """Something that a forecast may tell of a device for its day."""

    key: str
    meaning: str
    is_series: bool = True  # else one number
    in_community: bool = False  # whether a community file has it, too, as a table
    shared: bool = False  # one series for all households
    low: float = 0.0  # the least that it can be
    harmless: float = 0.0  # with which what is stated can be checked before any day is known
    needed_with: tuple[str, ...] = ()  # attributes of which one above 0 makes it needed; none: always


@dataclass(frozen=True)
class Column:
    """One series of a device's plan, as schedules and tables call it."""

    name: str  # with its unit
    meaning: str


@dataclass(frozen=True)
class Band:
    """What a device does to the community's power, as pictures show it: `plus` less `minus`, both columns."""

    label: str
    colour: str
    plus: str
    minus: str | None = None
    is_source: bool = False  # else a use
    comes_back: bool = False  # energy that the device gives again
    hatch: str = ""

    def of(self, total: Callable[[str], Array]) -> Array:
        """Its power, (T,).

        Args:
            total: a column of all households together, (T,).
        """
        return total(self.plus) - total(self.minus) if self.minus else total(self.plus)


@dataclass(frozen=True)
class Opposed:
    """Two powers of which only one can be above 0 at a step, which no convex block can say by itself; kW, (T,)."""

    one: cp.Variable
    other: cp.Variable
    most_kw: float  # of each


@dataclass(frozen=True)
class Outlook:
    """What a household expects at its meter, those of its devices left out that can choose; (T,)."""

    import_price: Array  # currency/kWh
    feed_in_price: Array  # the same
    net_load_kw: Array  # load less what panels give

    def price_of(self, power_kw: float) -> Array:
        """What a kWh costs a further load of some power, currency, (T,): the import price but for what panels have
        over, which would else earn the feed-in price."""
        own = np.clip(-self.net_load_kw / power_kw, 0.0, 1.0)
        price: Array = (1 - own) * self.import_price + own * self.feed_in_price
        return price


@dataclass(frozen=True)
class Occasion:
    """A day for which devices are made of what is stated of them."""

    steps: int
    step_hours: float
    series: Mapping[str, Array] = field(default_factory=dict)  # by the keys of `ForecastField`
    numbers: Mapping[str, float] = field(default_factory=dict)
    outlook: Outlook | None = None  # None: no day is known yet
    price_model: PriceModel | None = None  # how prices turn out by their forecasts; None: as they are forecast


@dataclass(frozen=True)
class DeviceBlock:
    """A device's physics: what it feeds in, and the constraints between its variables. Expressions of shape (T,)."""

    injection_kw: cp.Expression
    constraints: Constraints
    schedule: dict[str, cp.Expression]  # by the names of the device's columns
    injection_kvar: cp.Expression | None = None  # None: nothing
    opposed: tuple[Opposed, ...] = ()
    elsewhere_kwh: cp.Expression | None = None  # what it needs and takes elsewhere, on the day itself only


KELVIN = 273.15
LEAST_LIFT_K = 10.0
"""Between air and water at least: no heat pump gets better by a lift that is smaller still."""


def carnot_cop(quality: float, flow_c: float | Array, outdoor_c: Array) -> Array:
    """Coefficient of performance of a heat pump, (T,): a share of Carnot's between the outdoor air and its water."""
    cop: Array = quality * (flow_c + KELVIN) / np.maximum(flow_c - outdoor_c, LEAST_LIFT_K)
    return cop


def warmth(
    start_c: float, kept: float | Array, towards_c: Array, low_c: Array | None = None, high_c: Array | None = None
) -> Array:
    """Temperature of a thermal mass after each step, (T,).

    Args:
        kept: of how far it is from what it goes towards, what is left after a step, (T,) or the same at all.
        towards_c: what it would become at last, (T,).
        low_c: where cooling stops, (T,).
        high_c: where heating stops, (T,).
    """
    level, path = start_c, np.empty(len(towards_c))
    for step, (part, towards) in enumerate(zip(np.broadcast_to(kept, path.shape), towards_c, strict=True)):
        level = part * level + (1 - part) * towards
        level = level if low_c is None else max(level, low_c[step])
        level = path[step] = level if high_c is None else min(level, high_c[step])
    return path


Self = TypeVar("Self", bound="Device")


@dataclass(frozen=True)
class Device(ABC):
    """A device on one day."""

    kind: ClassVar[str]
    """Its table in household.toml, its key in household files, and its name in options."""

    a_name: ClassVar[str]
    """With its article."""

    plural: ClassVar[str]
    attributes: ClassVar[tuple[Attribute, ...]]
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = ()
    columns: ClassVar[tuple[Column, ...]] = ()
    bands: ClassVar[tuple[Band, ...]] = ()
    either: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Columns of its opposed powers: only one of two is above 0 at a step."""

    uncertain: ClassVar[tuple[str, ...]] = ()
    """Its series that turn out otherwise than was forecast."""

    @classmethod
    @abstractmethod
    def of(cls: type[Self], stated: Stated, day: Occasion) -> Self | None:
        """The device on a day, None where there is none on it.

        Raises:
            DeviceError: it cannot be as it is stated.
        """

    @classmethod
    def name(cls) -> str:
        """Without its article."""
        return cls.a_name.split(maxsplit=1)[-1]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of its own fields, but for what only a device has that is in the middle of its day (`StoringDevice.end`)."""
        return tuple(one.name for one in fields(cls) if not one.kw_only)

    @property
    def is_there(self) -> bool:
        """Whether it is of any size."""
        return True

    @abstractmethod
    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        """Its physics.

        Args:
            realised: on the day itself: parameters in place of its `uncertain` series. What it then cannot get any
                more, it takes elsewhere.
        """

    couples_steps: ClassVar[bool] = False
    """Whether what it does at one step has to do with another."""

    daily: ClassVar[bool] = False
    """Whether what it wants is of each day by itself, where days are one horizon."""

    measured: ClassVar[Column | None] = None
    """What a reading may tell of it after a step, where it keeps anything."""

    def costs(self, plan: Mapping[str, Any], step_hours: float) -> dict[str, Any]:
        """What using it costs beside the energy, by what for (`WEAR`, `LEFT`), currency: planned with, and on nobody's
        bill.

        Args:
            plan: its columns, (T,) each, as they are or as expressions; the answers are such, too.

        Returns:
            Nothing where it costs nothing, so that a plan without costs stays what it is.
        """
        return {}

    def carried_out(
        self, plan: Mapping[str, Array], realised: Mapping[str, Array], step_hours: float
    ) -> dict[str, Array]:
        """What it does of its plan on the day itself, where nobody plans anew: as planned, if that can be.

        Args:
            plan: its decisions by column.
            realised: its `uncertain` series as they are.
        """
        return dict(plan)

    def lacking_kwh(self, done: Mapping[str, Array], step_hours: float) -> float:
        """What it needed on the day itself, and had to take elsewhere."""
        return 0.0

    @property
    def asset(self) -> str:
        """What a list of a household's devices says of it; nothing where it is not worth a word."""
        return ""

    def available_kw(self, steps: int) -> Array:
        """What it could give without anybody's doing, (T,)."""
        return np.zeros(steps)

    def finer(self: Self, parts: int, cut: Callable[[Array, int], Array]) -> Self:
        """On a day whose every step is cut into parts.

        Args:
            cut: what makes a series of (parts T,) of one of (T,). What is true or false stays so in all parts.
        """
        series = {name: value for name, value in as_fields(self).items() if isinstance(value, np.ndarray)}
        return replace(
            self,
            **{
                name: np.repeat(value, parts) if value.dtype == bool else cut(value, parts)
                for name, value in series.items()
            },
        )

    def rest(
        self: Self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> Self:
        """What it is on the steps that are left of a day, from one on.

        Args:
            done: its decisions by column, (T,); those before the step count.
            expected: its `uncertain` series, (T,); those from the step on count.
            level: what was `measured` of it before that step; default: what follows from what is done.
        """
        own = {name: value for name, value in as_fields(self).items() if isinstance(value, np.ndarray)}
        return replace(
            self, **{name: expected.get(name, value)[first:].astype(value.dtype) for name, value in own.items()}
        )

    def after(self: Self, before: Self, plan: Mapping[str, Array], step_hours: float) -> Self:
        """It on a day that follows another, as that one has left it.

        Args:
            before: the same device on the day before.
            plan: its columns there, (T,) each.
        """
        return self

    @abstractmethod
    def scaled(self: Self, factor: float) -> Self:
        """A device of another size, used as much more or less."""

    varied: ClassVar[bool] = False
    """Whether shares of households can be given it (`size` or `middle`, `customary`, `in_words`)."""

    usual: ClassVar[bool] = False
    """Whether that is done unasked, and with all the usual ones together."""

    @classmethod
    def typical(cls: type[Self], owned: Sequence[Self], steps: int, step_hours: float) -> Self | None:
        """What a household gets that had none: the middle of those that are there, or what is usual; None where that
        is not known."""
        return cls.middle(owned) if owned else cls.customary(steps, step_hours)

    @classmethod
    def middle(cls: type[Self], owned: Sequence[Self]) -> Self:
        """Of those that are there, at least one: by their size, of two in the middle the smaller."""
        return sorted(owned, key=lambda one: one.size)[(len(owned) - 1) // 2]

    @classmethod
    def customary(cls: type[Self], steps: int, step_hours: float) -> Self | None:
        """What is usual where nobody has one."""
        return None

    @property
    def size(self) -> tuple[float, ...]:
        """By which those of its kind are put in order."""
        raise NotImplementedError

    @property
    def in_words(self) -> str:
        """A typical one, with its article and its numbers."""
        raise NotImplementedError


@dataclass(frozen=True)
class StoringDevice(Device):
    """A device that keeps energy or warmth over the day, and ends it with at least what it began with.

    While the day runs, what it begins with is not what the whole day began with: then `end` says how it is to end.
    """

    end: float | None = field(default=None, kw_only=True)

    couples_steps: ClassVar[bool] = True

    @property
    @abstractmethod
    def start(self) -> float:
        """What is in it at the start."""

    def after(self: StoringSelf, before: StoringSelf, plan: Mapping[str, Array], step_hours: float) -> StoringSelf:
        """It begins with what is left in it, and ends with at least what is stated for the start of a day, as far as it
        can."""
        assert self.measured is not None
        return self.rest(0, plan, {}, step_hours, float(plan[self.measured.name][-1]))

    @property
    def wanted(self) -> float:
        """What is in it at the end, at least."""
        return self.start if self.end is None else self.end


StoringSelf = TypeVar("StoringSelf", bound=StoringDevice)

Power = TypeVar("Power", "Array", "cp.Expression")


WEAR, LEFT = "wear", "left"
"""Of what devices cost beside energy: their use, and, below 0, what they keep for the days after."""


class Cells:
    """A battery, at home or in a car: part of what goes in and of what comes out is lost."""

    charge_efficiency: float
    discharge_efficiency: float
    wear_per_kwh: float  # currency, of what goes in or comes out
    left_per_kwh: float  # currency, of what is in it at the end beyond what was at the start

    def gained_kw(self, charge: Power, discharge: Power) -> Power:
        """What is in it rises by so much, eq. (7), (T,)."""
        return self.charge_efficiency * charge - discharge / self.discharge_efficiency

    def _costs(self, charge: Any, discharge: Any, more_kwh: Any, step_hours: float) -> dict[str, Any]:
        """See `Device.costs`.

        Args:
            charge, discharge: kW, (T,).
            more_kwh: in it at the end than at the start.
        """
        costs = {}
        if self.wear_per_kwh:
            costs[WEAR] = self.wear_per_kwh * step_hours * (charge + discharge).sum()
        if self.left_per_kwh:
            costs[LEFT] = -self.left_per_kwh * more_kwh
        return costs


def cell_prices(prefix: str) -> tuple[Attribute, Attribute]:
    """What people state of what using a battery costs, and of what is left in it.

    Args:
        prefix: of the columns in households.csv.
    """
    return (
        Attribute(
            "wear_per_kwh", f"{prefix}_wear_per_kwh", unit="currency/kWh", default=0.0, most=5.0, example=0.03,
            meaning="what it wears by each kWh that goes in or comes out: its plan counts it, nobody is paid for it",
        ),
        Attribute(
            "left_per_kwh", f"{prefix}_left_per_kwh", unit="currency/kWh", default=0.0, most=5.0, example=0.1,
            meaning="what each kWh is worth that is in it when the day ends, beyond what was when it began",
        ),
    )  # fmt: skip


def median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def steps_within(start: int, end: int, step_minutes: int) -> NDArray[np.bool_]:
    """The steps of a day that lie whole between two times, (T,); over midnight where the end is not after the start.

    Args:
        start: minutes since midnight.
        end: the same.
    """
    begins = np.arange(0, 24 * 60, step_minutes)
    ends = begins + step_minutes
    return (begins >= start) & (ends <= end) if start < end else (begins >= start) | (ends <= end)


def numbered(name: str, number: int, between: str = "_") -> str:
    """What the series of the first, second, ... device of a kind is called."""
    return name if number == 1 else f"{name}{between}{number}"


def summed(schedule: Mapping[str, Array], column: str, steps: int) -> Array:
    """A column of all devices of a household that have it, (T,)."""
    total, number = np.zeros(steps), 1
    while (name := numbered(column, number)) in schedule:
        total, number = total + schedule[name], number + 1
    return total


def as_fields(device: Device) -> dict[str, Any]:
    """A device's own fields by name."""
    return {name: getattr(device, name) for name in device.names()}


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
