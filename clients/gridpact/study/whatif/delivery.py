"""What a household does, and pays, when its day turns out otherwise than it was planned.

The trades stand as they were agreed, and so does their payment. What the meter reads beyond them is settled with the
supplier at its tariff; what differs from the plan costs an adder besides, in either direction:

    cost = sum dt (kappa g+ - f g- + adder |g - planned g|) + what the car took from a public charger

with g = g+ - g- = (agreed net sale) - (net injection). Without an agreement there is no plan that anybody was told, and
so no adder. What a household can still do is its `Recourse`.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

import cvxpy as cp
import numpy as np

from gridpact.community.called import Called
from gridpact.community.model import Array, Household, Prices
from gridpact.devices.device import flat, numbered
from gridpact.problem.directions import AT_ONCE_KW
from gridpact.problem.solving import Linear

OF_NO_USE = 10.0
"""What a kWh beyond an aim costs a household, in multiples of what any costs."""


class Recourse(Enum):
    """What a household can do while the day goes otherwise than planned.

    `NONE`: its devices do what was planned, as far as they can (`Device.carried_out`): the car charges as planned while
    it is there, and makes up for what it missed as soon as it is back.
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
    renewed_at: int | None = None  # before this step it is nominated anew, and deviating from then on costs nothing


@dataclass(frozen=True)
class Aim:
    """What a household is asked to draw at the step that it decides, beside its terms."""

    drawn_kw: float  # net, from the supplier
    price: float  # of each kWh more or less, currency
    from_above: bool  # whether it draws more now: less than the aim is of no use then, and else more than it


@dataclass(frozen=True)
class Actual:
    """What really happens behind a meter, and what is guessed of it, (T,)."""

    load_kw: Array
    guess_load_kw: Array  # (T, T): row t is what is guessed at step t, whose entries after t count
    realised: Sequence[Mapping[str, Array]]  # the uncertain series of each device, by name
    guesses: Sequence[Mapping[str, Array]]  # the same as guessed, (T, T) each

    def expected_rest(self, home: Household, done: Done, first: int, step_hours: float) -> Household:
        """The household on the steps from one on, as is expected of them in the step before; 1 or later."""
        expected = [{name: guess[first - 1] for name, guess in guesses.items()} for guesses in self.guesses]
        return home.rest(first, self.guess_load_kw[first - 1, first:], done, expected, step_hours)


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
        plan: of its devices, by the columns that they have.

    Raises:
        SolverError, InfeasibleError: see `Linear`; a household can always import, so there is always a plan.
    """
    program = _program(pickle.dumps((home, step_hours, terms.prices.peak_fee)))
    stiff = recourse is Recourse.NONE
    done = program.as_planned(plan, actual) if stiff else program.replanned(actual, terms, recourse)
    return _delivered(program, done, actual, terms, step_hours)


class Replanning:
    """A household that plans the rest of its day anew at every step, whatever it has agreed to by then."""

    def __init__(self, home: Household, actual: Actual, step_hours: float, peak_fee: float = 0.0) -> None:
        self._home, self._actual, self._step_hours, self._peak_fee = home, actual, step_hours, peak_fee
        self._program = _program(pickle.dumps((home, step_hours, peak_fee)))
        self._done = self._program.nothing_done()

    def call(self, called: tuple[Called, ...]) -> None:
        """What its meter is called for from now on, instead of what it was before."""
        self._home = replace(self._home, called=called)
        self._program = _program(pickle.dumps((self._home, self._step_hours, self._peak_fee)))

    def rest(self, first: int) -> Household:
        """The household from a step on, its devices as they stand, as is expected in the step before."""
        home = self._actual.expected_rest(self._home, self._done, first, self._step_hours)
        return replace(home, peak_kw=self._program.peak_kw(self._done, self._actual, first))

    @property
    def has_choice(self) -> bool:
        """Whether what it does at one step can be made up for at another."""
        return any(device.couples_steps for device in self._home.devices)

    def step(self, now: int, terms: Terms) -> None:
        """Decides a step."""
        self._program.decide(self._done, self._actual, terms, now, now + 1)

    def step_again(self, now: int, terms: Terms, aim: Aim) -> float:
        """Decides a step again that was decided; it stays as it was where it would go away from the aim.

        Returns:
            How much less it draws, kW; negative: more.
        """
        before = self.injection_kw(now)
        stood = [{name: powers[now] for name, powers in own.items()} for own in self._done]
        self._program.decide(self._done, self._actual, terms, now, now + 1, aim)
        moved = self.injection_kw(now) - before
        if moved > 0 if aim.from_above else moved < 0:
            return moved
        for own, powers in zip(self._done, stood, strict=True):
            for name, power in powers.items():
                own[name][now] = power
        return 0.0

    def injection_kw(self, step: int) -> float:
        """What the household feeds in at a step that is decided."""
        return float((self._program.injection_kw(self._done, self._actual) - self._actual.load_kw)[step])

    def delivered(self, terms: Terms) -> Delivered:
        """How the day ended.

        Args:
            terms: as they stood at each step.
        """
        return _delivered(self._program, self._done, self._actual, terms, self._step_hours)


def _delivered(program: _DeliveryProgram, done: Done, actual: Actual, terms: Terms, step_hours: float) -> Delivered:
    injection = program.injection_kw(done, actual) - actual.load_kw
    lacking = sum(device.lacking_kwh(own, step_hours) for device, own in zip(program.devices, done, strict=True))
    net_import = terms.net_sold_kw - injection
    deviation = net_import - terms.planned_import_kw
    imported, fed_in = np.maximum(net_import, 0), np.maximum(-net_import, 0)
    prices = terms.prices
    return Delivered(
        injection_kw=injection,
        net_import_kw=net_import,
        deviation_kw=deviation,
        public_kwh=lacking,
        supply=float(step_hours * np.sum(prices.import_price * imported - prices.feed_in_price * fed_in)),
        adder=float(step_hours * terms.adder * np.abs(deviation).sum()),
        public=terms.public_price * lacking,
    )


Done = list[dict[str, Array]]
"""What each device did: its decisions by column, (T,) each."""


@lru_cache(maxsize=1024)  # of a household in all draws, with all recourses, with its plan and alone
def _program(pickled: bytes) -> _DeliveryProgram:
    return _DeliveryProgram(*pickle.loads(pickled))


class _DeliveryProgram:
    """A household's day as one linear program of its devices' blocks, with what really happens as parameters.

    The rest of a day is planned anew by the same program, what went before being fixed.

    Args:
        peak_fee: currency/kW of what the household draws beyond its peak so far.
    """

    def __init__(self, home: Household, step_hours: float, peak_fee: float = 0.0) -> None:
        steps = self._steps = home.steps
        self._step_hours, self._peak_fee, self._peak_kw = step_hours, peak_fee, home.peak_kw
        self.devices = home.devices
        self._realised = [{name: cp.Parameter(steps) for name in device.uncertain} for device in home.devices]
        self._blocks = [
            device.block(steps, step_hours, realised)
            for device, realised in zip(home.devices, self._realised, strict=True)
        ]
        self._decisions = [
            {name: power for name, power in block.schedule.items() if isinstance(power, cp.Variable)}
            for block in self._blocks
        ]
        # What gives and takes reactive power only does that as planned.
        active = [block for block in self._blocks if not block.injection_kw.is_constant()]
        self._opposed = [pair for block in active for pair in block.opposed]
        self._imported, self._fed_in, self._above, self._below = (cp.Variable(steps, nonneg=True) for _ in range(4))
        self._kappa, self._feed_in, self._due, self._planned = (cp.Parameter(steps) for _ in range(4))
        self._more, self._less, self._public = cp.Parameter(steps), cp.Parameter(steps), cp.Parameter()
        net_import = self._imported - self._fed_in
        cost = step_hours * (self._kappa @ self._imported - self._feed_in @ self._fed_in)
        cost += step_hours * (self._more @ self._above + self._less @ self._below)
        for device, block in zip(home.devices, self._blocks, strict=True):
            cost += sum(device.costs(block.schedule, step_hours).values())
        for block in active:
            if block.elsewhere_kwh is not None:
                cost += self._public * block.elsewhere_kwh
        injection = sum((block.injection_kw for block in active), cp.Constant(np.zeros(steps)))
        constraints = [
            net_import + injection == self._due,
            net_import - self._above + self._below == self._planned,
            *(constraint for block in active for constraint in flat(block.constraints)),
        ]
        self._sold = cp.Parameter(steps)
        for call in home.called:
            cost += call.cost(self._sold - net_import, step_hours)
        self._unpaid = cp.Parameter(steps)  # what may be imported before it is a new peak
        if peak_fee:
            peak = cp.Variable(nonneg=True)
            cost += peak_fee * peak
            constraints.append(net_import - peak <= self._unpaid)
        order = [self._imported, self._fed_in, self._above, self._below]
        for block in active:
            order += [power for power in block.schedule.values() if isinstance(power, cp.Variable)]
            order += [v for one in flat(block.constraints) for v in one.variables() if v is not block.elsewhere_kwh]
        self._linear = Linear(cp.Problem(cp.Minimize(cost), constraints), f"household '{home.name}'", order)

    def injection_kw(self, done: Done, actual: Actual) -> Array:
        """What the devices give together, (T,)."""
        self._know(actual.realised)
        for powers, own in zip(self._decisions, done, strict=True):
            for name, power in powers.items():
                power.save_value(own[name])
        given: Array = sum((block.injection_kw.value for block in self._blocks), np.zeros(self._steps))
        return given

    def peak_kw(self, done: Done, actual: Actual, first: int) -> float:
        """The highest power that the household has drawn before a step; without a fee on it, before the day."""
        if not self._peak_fee:
            return self._peak_kw
        drawn = (actual.load_kw - self.injection_kw(done, actual))[:first]
        return float(max(self._peak_kw, drawn.max(initial=0.0)))

    def as_planned(self, plan: Mapping[str, Array], actual: Actual) -> Done:
        done: Done = []
        numbers: Counter[str] = Counter()
        for device, powers, realised in zip(self.devices, self._decisions, actual.realised, strict=True):
            numbers[device.kind] += 1
            nothing = np.zeros(self._steps)
            own = {name: plan.get(numbered(name, numbers[device.kind]), nothing) for name in powers}
            done.append(device.carried_out(own, realised, self._step_hours))
        return done

    def replanned(self, actual: Actual, terms: Terms, recourse: Recourse) -> Done:
        """One linear program for the rest of the day at every step, or one for the whole day."""
        steps, done = self._steps, self.nothing_done()
        # A step on its own needs no forecast.
        once = recourse is Recourse.HINDSIGHT or not any(device.couples_steps for device in self.devices)
        for now in [0] if once else range(steps):
            self.decide(done, actual, terms, now, steps if once else now + 1)
        return done

    def nothing_done(self) -> Done:
        return [{name: np.full(self._steps, np.nan) for name in powers} for powers in self._decisions]

    def decide(self, done: Done, actual: Actual, terms: Terms, now: int, last: int, aim: Aim | None = None) -> None:
        """What is done from a step on until another, up to which things are known, the rest of the day in view.

        Args:
            aim: at the first of these steps.
        """
        for own in done:
            for decided in own.values():
                decided[now:last] = np.nan
        if self._peak_fee:
            before = self.peak_kw(done, actual, now)
            self._unpaid.value = np.where(np.arange(self._steps) < now, before, before + terms.net_sold_kw)
        kappa, feed_in = np.array(terms.prices.import_price), np.array(terms.prices.feed_in_price)
        planned = np.array(terms.planned_import_kw)
        more, less = np.full(self._steps, terms.adder), np.full(self._steps, terms.adder)
        if terms.renewed_at is not None:
            more[terms.renewed_at :] = less[terms.renewed_at :] = 0.0
        if aim is not None:
            kappa[now] = feed_in[now] = aim.price
            planned[now] = aim.drawn_kw
            (less if aim.from_above else more)[now] += OF_NO_USE * (1 + np.abs(kappa).max())
        self._kappa.value, self._feed_in.value, self._planned.value = kappa, feed_in, planned
        self._more.value, self._less.value = more, less
        self._public.value = terms.public_price
        load = np.concatenate([actual.load_kw[:last], actual.guess_load_kw[now, last:]])
        self._due.value = terms.net_sold_kw + load
        self._sold.value = terms.net_sold_kw
        self._know(
            [
                {name: np.concatenate([series[:last], guessed[name][now, last:]]) for name, series in own.items()}
                for own, guessed in zip(actual.realised, actual.guesses, strict=True)
            ]
        )
        self._decide(done, now, last)

    def _decide(self, done: Done, first: int, last: int) -> None:
        """What is done from a step on until another, all the rest of the day in view."""
        steps = self._steps
        past = np.where(np.arange(steps) < first, 0.0, np.nan)
        given = [(power, past) for power in (self._imported, self._fed_in, self._above, self._below)]
        for powers, own in zip(self._decisions, done, strict=True):
            given += [(power, own[name]) for name, power in powers.items()]
        while True:
            self._linear.solve(given)
            now = slice(first, last)
            kept = []
            for pair in self._opposed:
                at_once = np.minimum(pair.one.value, pair.other.value) > AT_ONCE_KW
                at_once[:first], at_once[last:] = False, False
                more = pair.one.value >= pair.other.value
                kept += [(pair.other, np.where(at_once & more, 0.0, np.nan))]
                kept += [(pair.one, np.where(at_once & ~more, 0.0, np.nan))]
            if all(np.isnan(zero).all() for _, zero in kept):
                break
            given += kept
        for powers, own in zip(self._decisions, done, strict=True):
            for name, power in powers.items():
                own[name][now] = 0.0 if power.value is None else power.value[now]

    def _know(self, realised: Sequence[Mapping[str, Array]]) -> None:
        for parameters, series in zip(self._realised, realised, strict=True):
            for name, parameter in parameters.items():
                parameter.value = np.asarray(series[name], dtype=float)
