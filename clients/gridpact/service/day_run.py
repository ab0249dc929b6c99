"""A day on the chain as one node goes through it, from joining to the last step.

What the day comes to stands on the chain, and what the household is to do in its schedule: from both, and from the view
with which it declared the day before, a node that was away goes on. Before the gate of each step closes, the forecast
is asked for again, the rest of the day planned with the positions that stand, and nominated where that is otherwise
than before; after each step its reading is taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from gridpact.chain.day import OpenedDay
from gridpact.chain.encoding import decode_tariff
from gridpact.chain.reverts import readable
from gridpact.chain.settlement import LAST_ROUND
from gridpact.community.called import Called
from gridpact.community.model import Array, Household, Prices
from gridpact.errors import ContractError, InfeasibleError, InputError, InsufficientFunds, SolverError
from gridpact.files import reason_of
from gridpact.market.admm.agent import Agent
from gridpact.node.node import Node
from gridpact.problem.baseline import with_positions
from gridpact.problem.view import NodeView
from gridpact.service.alone import PlanAlone
from gridpact.service.calls import Allowed, PlannedAnew, called_in, calls_on_chain, kept_calls
from gridpact.service.connection import ChainConnection
from gridpact.service.forecast import NoForecast, take_forecast
from gridpact.service.health import Health
from gridpact.service.money import OverLimit, check_prices
from gridpact.service.plan import household_of, prices_in, view_of
from gridpact.service.positions import Positions
from gridpact.service.readings import take_reading
from gridpact.service.rest import rest_of
from gridpact.service.schedule import Schedule, Standing
from gridpact.service.settings import Settings
from gridpact.service.state import State

log = logging.getLogger(__name__)

LEAST_CHANGE_WH = 10
"""What a nomination must change at a step by, at least, to be sent again."""

ASK_SECONDS = 5.0
"""Between questions for the reading of a step that is not there yet. Nobody complains while the chain waits for it."""


class DayRun:
    """One day.

    Args:
        opened: as its supplier has opened it.
    """

    def __init__(
        self,
        settings: Settings,
        connection: ChainConnection,
        state: State,
        alone: PlanAlone,
        health: Health,
        opened: OpenedDay,
    ) -> None:
        assert connection.ledger is not None
        self.opened = opened
        self.day = datetime.strptime(f"{opened.day:08d}", "%Y%m%d").date().isoformat()
        self._settings, self._connection, self._state = settings, connection, state
        self._alone, self._health, self._ledger = alone, health, connection.ledger
        self._hours = connection.setting.step_seconds / 3600
        self._positions = Positions(
            settings.node, opened.day, self._hours,
            connection.account, connection.aggregator, connection.settlement, connection.ledger,
        )  # fmt: skip
        self._schedule = Schedule.read(settings.service.schedule, self.day, settings.service.timezone)
        self._stood: tuple[int, Agent | None] | None = None  # the round that was agreed last, and where it ended
        self._joined = False  # as far as it is known
        self._renewed = -1  # the step before whose gate the rest was planned last
        self._read = -1  # the newest step that was read
        self._levels: tuple[int, Mapping[str, float]] = (-1, {})  # after which step, by kind of device
        self._asked = -1, 0.0  # for the reading of which step, and when
        self._calls: tuple[Called, ...] = ()  # on the chain
        self._known_calls: tuple[frozenset[int], list[Allowed]] | None = None  # when the rest was planned last for them
        self._anew = PlannedAnew()
        self._said: set[str] = set()  # what is said once

    @property
    def prices(self) -> Prices:
        """Its supplier's. Raises NoForecast where no plan can be made with them."""
        return prices_in(self._tariff(), self._hours)

    def _tariff(self) -> bytes:
        """What its supplier asks that day; the grid operator's node has the community's.

        Raises:
            NoForecast: that does not supply in the day, so far.
        """
        connection = self._connection
        if self._settings.home is None:
            return self.opened.tariff
        if self.is_member:
            return self.tariffs([self._settings.node])[self._settings.node]
        supplier = connection.settlement.supplier_in(LAST_ROUND, connection.account.address)
        for opened in reversed(self._ledger.opened()):
            if opened.index == self.opened.index and supplier in (told := dict(opened.tariffs)):
                return told[supplier]
        raise NoForecast(f"the supplier {supplier} has published no tariff for {self.day}: ask it why")

    def tariffs(self, nodes: Iterable[int]) -> dict[int, bytes]:
        """By which those of some nodes that are members are settled."""
        return self._ledger.tariffs_of(self.opened.day, nodes)

    @property
    def schedule(self) -> Schedule | None:
        """The newest."""
        return self._schedule

    @property
    def steps(self) -> int:
        return self._connection.setting.steps

    @property
    def is_over(self) -> bool:
        """Whether all of it is settled."""
        return self._now() >= self.opened.start_of(self.steps) and self._ledger.standing(self.opened.day).closed

    @property
    def is_member(self) -> bool:
        """Whether the household has joined; the grid operator's node never does."""
        self._joined = self._joined or self._settings.node in self._ledger.standing(self.opened.day).members
        return self._joined

    def join(self) -> None:
        """Takes part, unless it does already.

        Raises:
            OverLimit: its terms are beyond what the household lets them be.
            NoForecast: its supplier does not supply in it.
            InsufficientFunds: it lacks what it is to lock.
        """
        own, limits, terms = self._settings.day, self._settings.limits, self.opened.terms
        if own is None or limits is None or self.is_member:
            return
        if terms.step_seconds != self._connection.setting.step_seconds:
            raise OverLimit(
                f"the steps of {self.day} are of {terms.step_seconds} s, and those that are agreed on of "
                f"{self._connection.setting.step_seconds} s: ask the supplier to open it anew under another label"
            )
        if terms.adder > own.adder_max * 1e6:
            raise OverLimit(
                f"on {self.day} a kWh of deviation costs {terms.adder / 1e6:g}, more than the {own.adder_max:g} of "
                "[day] adder_max: ask the supplier, or raise it"
            )
        import_price, feed_in_price = (np.array(series) / 1e6 for series in decode_tariff(self._tariff()))
        check_prices(limits, import_price, feed_in_price, f"the tariff of {self.day}")
        unit = self._connection.unit
        units = round(own.lock / unit)
        if units < terms.least_lock:
            raise OverLimit(
                f"{self.day} asks to lock {terms.least_lock * unit:g}, more than the {own.lock:g} of [day] lock: "
                "raise it if that is right"
            )
        self._deposit(units)
        self._ledger.join(self.opened.day, units)
        log.info("node %d has joined %s, with %g locked", self._settings.node, self.day, own.lock)

    def _deposit(self, units: int) -> None:
        address, unit, token = self._connection.account.address, self._connection.unit, self._ledger.token
        missing = units - self._ledger.free(address)
        if missing <= 0:
            return
        if (short := missing - token.balance(address)) > 0:
            raise InsufficientFunds(
                f"the account {address} lacks {short * unit:g} {self._connection.symbol} of what is to be locked for "
                f"{self.day}: send it {short * unit:g} {self._connection.symbol}"
            )
        self._ledger.deposit(missing)

    # ------------------------------------------------------------------ rounds about the rest of the day

    def view_since(self, first: int) -> NodeView:
        """What the node knows of the steps from one on, the forecast asked for again and devices as they stand.

        Raises:
            InputError: nothing is known of the day.
        """
        base = self._base()
        if base.household is None:
            return base.since(first, None)
        return base.since(first, self._rest(self._refreshed(base.household), first))

    def _base(self) -> NodeView:
        """With which it declared the day before, or would have.

        Raises:
            NoForecast: it did not, and there is no forecast.
        """
        round_ = self._connection.aggregator.agreed_in(self.opened.day)
        view = self._state.view(round_) if round_ else None
        if view is not None and view.day == self.day:
            return view
        settings, forecast, aggregator = self._settings, None, self._connection.aggregator
        if settings.forecast is not None:
            forecast = take_forecast(settings.forecast, self.day, self.steps, 0.0)
        enrolled, nodes = aggregator.enrolled(), aggregator.theta().n
        doubts = self._connection.doubts(settings.partners, settings.undelivered)
        return view_of(settings, self.day, self._hours, forecast, self.prices, enrolled, nodes, doubts)

    def _refreshed(self, before: Household) -> Household:
        """The household by the forecast as it is now, or else by the one before."""
        settings = self._settings
        if settings.forecast is None or settings.home is None:
            return before
        seconds = settings.day.timeout_s if settings.day is not None else 0.0
        try:
            forecast = take_forecast(settings.forecast, self.day, self.steps, seconds)
            return household_of(settings, settings.home, self._hours, forecast, settings.tariff.charged(self.prices))
        except NoForecast as error:
            self._say_once(f"{self.day} goes on with the forecast that it had: {error}")
            return before

    def _rest(self, home: Household, first: int) -> Household:
        """It from a step on: its devices as they were read, or else as they were planned to be; what is called for."""
        values = self._schedule.values if self._schedule is not None else {}
        self._take_levels(self._over(self._now()))
        read, levels = self._levels[0] + 1, self._levels[1]  # what is in devices then was read, later is planned
        events = kept_calls(self._settings) if self._settings.openadr is not None else []
        called = (*called_in(self._settings, self.day, self.steps, self._hours, events), *self._calls)
        return rest_of(replace(home, called=called), values, first, self._hours, read, levels)

    def standing(self, round_: int) -> Agent | None:
        """Where the node stood in the round of the day that was agreed last before another one, which all of it begin
        from; None where it was not in it.

        Raises:
            ChainError: the chain failed.
        """
        rounds = {number: first for first, number in self._positions.rounds().items() if number < round_}
        if not rounds:
            self._positions.recall(())
            return None
        last = max(rounds)
        if self._stood is None or self._stood[0] != last:
            self._stood = last, self._replayed(dict(sorted(rounds.items())))
        self._positions.recall(sorted(rounds))
        return self._stood[1]

    def _replayed(self, rounds: Mapping[int, int]) -> Agent | None:
        """From the chain: what was agreed in each round began where the one before had ended."""
        base, before = self._base(), list[int]()
        agent: Agent | None = None
        for round_, first in rounds.items():
            view = base
            if first:
                self._positions.recall(before)
                home = base.household
                bare = home and replace(
                    home, load_kw=home.load_kw[first:], load_kvar=home.load_kvar[first:], devices=()
                )
                view = base.since(first, bare)
            held = self._positions.held_since(first) if first else None
            aggregator, settlement = self._connection.aggregator, self._connection.settlement
            agent = Node(view, aggregator, settlement, standing=agent, held_wh=held).replayed(round_)
            before.append(round_)
        return agent

    def held_since(self, first: int) -> dict[tuple[int, int], int]:
        """What was recorded before, of steps from one on; `standing` has read it."""
        return self._positions.held_since(first)

    def ended(self, round_: int, agent: Agent | None) -> None:
        """A round of the day was agreed: where it ended is not to be replayed."""
        self._stood = round_, agent

    # ------------------------------------------------------------------ plan and nomination

    def keep(self, schedule: Schedule) -> None:
        """Takes over a schedule of the whole day, which is written by who made it."""
        self._schedule = schedule

    def plan(self, first: int, values: Mapping[str, Array | Sequence[float]], round_: int, status: str) -> None:
        """A new plan of the steps from one on, which is written at once; what went before stays."""
        before = self._schedule.values if self._schedule is not None else {}
        nothing = np.zeros(first)
        whole = {
            name: np.concatenate([before[name][:first] if name in before else nothing, np.asarray(series)])
            for name, series in values.items()
            if name != "relaxation_gap_pu"
        }
        if not whole:  # the grid operator's node
            return
        standing = self._schedule.standing if self._schedule is not None else None
        made = self._alone.schedule(self.day, round_, status, whole, self.day)
        self._write(replace(made, since=first, standing=standing))

    def settle(self, round_: int, first: int, partners: Collection[int]) -> None:
        """Brings what was agreed in a round, and nominates what the plan then draws."""
        if self._settings.home is None or not self.is_member:
            return
        if partners:
            self._positions.bring(round_, first, partners)
        self._nominate(max(first, self._first_open(self._now())))

    def _nominate(self, first: int) -> None:
        """From a step on, where that is otherwise than what was nominated last."""
        schedule = self._schedule
        if first >= self.steps or schedule is None or "injection_kw" not in schedule.values:
            return
        sold = self._positions.sold_kw()
        drawn = (sold - schedule.values["injection_kw"])[first:]
        stands, _ = self._ledger.nomination(self.opened.day, self._settings.node)
        nominated = self._positions.nominated_kw()
        changed_wh = 1000 * self._hours * np.abs(drawn - nominated[first:]).max(initial=0.0)
        if not any(stands) or changed_wh >= LEAST_CHANGE_WH:  # nor does what was told of other positions
            if not self._positions.nominate(first, drawn):
                log.warning("the gate of step %d of %s closed before it was nominated", first, self.day)
            nominated = self._positions.nominated_kw()
        self._renewed = max(self._renewed, first)
        self._stand(sold, nominated)

    def _stand(self, sold_kw: Array, nominated_kw: Array) -> None:
        """What it stands by now, in its schedule and in its health."""
        schedule = self._schedule
        assert schedule is not None
        before = schedule.standing or Standing.nothing(self.steps)
        position, nominated = (_wh(power, self._hours) for power in (sold_kw, nominated_kw))
        self._write(replace(schedule, standing=replace(before, position_wh=position, nominated_wh=nominated)))
        self._tell(max(self._read, 0))

    def _renew(self, step: int) -> None:
        """Plans the rest of the day from a step on with the positions that stand."""
        self._renewed = step
        try:
            values = with_positions(self.view_since(step), self._positions.sold_kw()[step:])
        except (InputError, InfeasibleError, SolverError) as error:
            self._say_once(f"the plan of {self.day} stays as it is from step {step} on: {error}")
            return
        self.plan(step, values, self._schedule.round if self._schedule is not None else 0, "renewed")
        self._nominate(step)

    # ------------------------------------------------------------------ while it runs

    def look(self) -> bool:
        """Does what is due now. Returns whether anything was.

        Raises:
            ChainError: the chain failed.
        """
        own, now = self._settings.day, self._now()
        if own is None or self._settings.home is None or not self.is_member:
            return False
        over = self._over(now)
        done = over > self._read and self._take_reading(over)
        step = self._first_open(now)
        called = self._is_called()
        if step < self.steps and (called or (step > self._renewed and self.opened.gate_of(step) - now <= own.renew_s)):
            done = True
            try:
                self._renew(step)
            except (ContractError, InsufficientFunds) as error:
                self._say_once(f"the rest of {self.day} is not nominated anew from step {step} on: {error}")
        return done

    def _is_called(self) -> bool:
        """Whether it is called otherwise than when it was asked last: on the chain, or by OpenADR, which is heard so
        often only, and else waits until the rest is planned anyway.

        Raises:
            ChainError: the chain failed.
        """
        day, node, flexibility = self.opened.day, self._settings.node, self._connection.flexibility
        steps = frozenset[int]() if flexibility is None else flexibility.called_steps(day, node)
        events = kept_calls(self._settings) if self._settings.openadr is not None else []
        known, before = (steps, events), self._known_calls
        if known == before:
            return False
        if before is not None and before[0] == steps and not self._anew.again():
            return False
        if flexibility is not None and steps:
            self._calls = calls_on_chain(flexibility, day, node, self.steps, self._hours)
        self._known_calls = known
        if before is not None or steps or events:
            log.info("what is called for of %s is another: steps %s on the chain", self.day, sorted(steps))
            return True
        return False

    def _take_reading(self, step: int) -> bool:
        """Of a step that is over, and what it deviates from what was nominated. False: it is not there yet."""
        self._take_levels(step)
        schedule = self._schedule
        if self._levels[0] != step or schedule is None:
            return False
        self._read = step
        meter_wh = round(self._levels[1]["meter"])
        sold, nominated = (self._ledger.position, self._ledger.nominated)
        place = self.opened.day, self._settings.node, step
        deviation = sold(*place) - meter_wh - nominated(*place)
        standing = schedule.standing or Standing.nothing(self.steps)
        deviations = list(standing.deviation_wh)
        deviations[step] = deviation
        self._write(replace(schedule, standing=replace(standing, deviation_wh=tuple(deviations))))
        log.info("step %d of %s deviates by %.3f kWh from its nomination", step, self.day, deviation / 1000)
        self._tell(step)
        return True

    def _take_levels(self, step: int) -> None:
        """The reading of a step, if it is there by now."""
        if step < 0 or self._settings.day is None or self._levels[0] == step:
            return
        if self._asked[0] == step and time.monotonic() < self._asked[1] + ASK_SECONDS:
            return
        self._asked = step, time.monotonic()
        try:
            reading = take_reading(self._settings.day, self.day, step)
        except NoForecast as error:
            if self._now() > self.opened.start_of(step + 1) + self.opened.terms.reading_seconds:
                self._say_once(f"step {step} of {self.day} is not read: {error}")
        else:
            self._levels = step, {**reading.levels, "meter": float(reading.meter_wh)}

    def _tell(self, step: int) -> None:
        """The health of a step."""
        schedule, health = self._schedule, self._health
        if schedule is None or schedule.standing is None:
            return
        standing = schedule.standing
        health.delivery, health.step = self.day, step
        health.position_kwh, health.nominated_kwh, health.deviation_kwh = (
            (series[step] or 0) / 1000
            for series in (standing.position_wh, standing.nominated_wh, standing.deviation_wh)
        )

    def _over(self, now: int) -> int:
        """The newest step that is over; -1 where none is."""
        passed = max(now - self.opened.start_of(0), 0) // self.opened.terms.step_seconds
        return min(passed, self.steps) - 1

    def _first_open(self, now: int) -> int:
        """The first step whose gate is open; T where none is."""
        return next((step for step in range(self.steps) if self.opened.gate_of(step) > now), self.steps)

    def _now(self) -> int:
        """The chain's time."""
        with readable("the last block"):
            return int(self._connection.account.web3.eth.get_block("latest")["timestamp"])

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("%s", sentence)
            self._health.error(sentence)

    def _write(self, schedule: Schedule) -> None:
        self._schedule = schedule
        try:
            schedule.write(self._settings.service.schedule)
        except OSError as error:
            self._say_once(f"the schedule for {self.day} cannot be written: {reason_of(error)}")


def _wh(power_kw: Array, hours: float) -> tuple[int, ...]:
    return tuple(round(1000 * hours * power) for power in power_kw.tolist())
