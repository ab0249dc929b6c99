"""One round as a household goes through it: forecast, plan, negotiation, schedule, settlement.

Before anything is declared, the plan with the supplier alone is written as a provisional schedule: whatever happens,
the home energy manager has one. What keeps the household from planning is said in one sentence, to the log and, by
`abstain`, to the contract, so that the others need not wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from gridpact.chain.values import Phase
from gridpact.community.model import GRID_CONNECTION, Array, PriceRange, Prices
from gridpact.errors import (
    ChainError,
    ContractError,
    GridpactError,
    InfeasibleError,
    InputError,
    InsufficientFunds,
    Reorganised,
    Unreadable,
)
from gridpact.events import Event, Listener, Planned
from gridpact.files import reason_of
from gridpact.market.admm.agent import Agent
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.node.sending import MOVED_ON
from gridpact.problem.baseline import fallback
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient
from gridpact.service.alone import PlanAlone
from gridpact.service.connection import ChainConnection, gas_of_a_round
from gridpact.service.day_run import DayRun
from gridpact.service.days import RunningDays
from gridpact.service.forecast import NoForecast, take_forecast
from gridpact.service.health import Health
from gridpact.service.money import OverLimit, bill_of, check_bill, check_prices, check_published, units_of
from gridpact.service.plan import own_prices, prices_in, ranges_of, view_of
from gridpact.service.round_end import RoundEnd
from gridpact.service.schedule import Schedule
from gridpact.service.settings import Settings
from gridpact.service.state import State

log = logging.getLogger(__name__)

WAIT_SHARE = 0.5
"""Part of what is left of the time for declaring that a node waits for forecast and tariff."""

TARIFF_SECONDS = 1.0
"""Between looks for the tariff."""


LEAST_SECONDS = 1.0
"""While more is left of the time for declaring, what the chain's endpoint does not give is asked for again."""


class PlannedAlready(InputError):
    """The day has an agreed plan."""


class Participation:
    """A node in one round.

    Args:
        listener: is told where the round stands, and how it ended for this node.
        check: raises ChainError where the chain is not the one on which the round began.
        stop: ends waiting.
    """

    def __init__(
        self,
        settings: Settings,
        connection: ChainConnection,
        relay: RelayClient | None,
        state: State,
        alone: PlanAlone,
        health: Health,
        days: RunningDays,
        round_: int,
        listener: Listener,
        check: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._relay = relay
        self._state = state
        self._alone = alone
        self._health = health
        self._days = days
        self._run: DayRun | None = None  # the day itself, where the household takes part in it
        self._first = 0  # the step from which on the round is about the day
        self._round = round_
        self._listener = listener
        self._check = check
        self._stop = stop
        self._day = ""  # yyyy-mm-dd
        self._schedule: Schedule | None = None  # the newest

    def run(self, phase: Phase) -> RoundEnd:
        """Takes part, or takes part again after an interruption, until the round has ended for this node.

        Args:
            phase: of the round as it is now.

        Raises:
            ChainError: the chain failed; the round is to be taken up again.
        """
        try:
            view = self._kept()
            if view is None:
                if phase is not Phase.DECLARING:
                    return self._sit_out("missed", "the node was away while it began")
                view = self._prepare()
            return self._negotiate(view)
        except (ContractError, Unreadable) as error:
            return self._sit_out("failed", str(error))
        except (InputError, InfeasibleError, InsufficientFunds) as error:
            return self._abstain(error)
        except ChainError:
            self._stand_in()
            raise
        except GridpactError as error:  # a solver that gave up
            return self._sit_out("failed", str(error))
        except Exception as error:  # a mistake in gridpact must not cost the household tomorrow, too
            log.exception("unexpected")
            return self._sit_out("failed", f"unexpected {type(error).__name__}, see the log")

    # ------------------------------------------------------------------ before the negotiation

    def _kept(self) -> NodeView | None:
        """What the node declared with before it was interrupted; None where it has not declared."""
        view = self._state.view(self._round)
        if view is None:
            return None
        if view.day != (day := self._day_of_round()):
            log.warning("round %d is for %s, and what was kept of it for %s", self._round, day, view.day)
            return None
        self._set_day(view.day)
        self._run = self._days.of_day(self._label)
        log.info("node %d goes on in round %d for %s", self._settings.node, self._round, self._day)
        return view

    def _prepare(self) -> NodeView:
        """What the node declares with. A provisional schedule is there when this returns.

        Raises:
            NoForecast: no forecast came, or no tariff, or one that no plan can be made with.
            InfeasibleError: the household has no plan.
            OverLimit: the day may cost more than the household lets it.
            InsufficientFunds: a round may cost more ether than the account has.
        """
        self._set_day(self._day_of_round())
        log.info("round %d for %s is open", self._round, self._day)
        self._bound()
        self._check_earlier()
        self._join()
        try:
            view = self._new_view(patient=True)
        except (ContractError, InsufficientFunds):
            raise
        except ChainError as error:
            if self._seconds() > LEAST_SECONDS:
                raise
            raise NoForecast(f"the chain's endpoint does not give what planning needs: {error}") from error
        self._write(plan := fallback(view), "provisional", self._day)
        self._check_money(view, plan)
        self._connection.check_ether(gas_of_a_round(self._settings))
        self._state.keep_view(self._round, view)
        return view

    def _bound(self) -> None:
        """Has the contract take no more for a reading of the round than the household lets a day cost it: also where it
        keeps out, as who abstains is billed at the round's tariff. Before it says anything in the round."""
        limits, connection = self._settings.limits, self._connection
        if limits is None:
            return
        settlement, address = connection.settlement, connection.account.address
        units = units_of(limits, connection.unit)
        if (before := settlement.debit_limit(address, self._round)) == units:
            return
        settlement.limit_debit(units)
        log.info(
            "a day takes at most %.2f %s from its account from now on, whatever the tariff%s",
            *(units * connection.unit, connection.symbol),
            f"; before {before * connection.unit:.2f}" if before else "",
        )

    def _join(self) -> None:
        """Takes part in the day itself, if it is opened.

        Raises:
            OverLimit, InsufficientFunds: see `DayRun.join`.
        """
        if self._run is not None or (run := self._days.of_day(self._label)) is None:
            return
        if self._connection.tariff(self._round) is not None:
            log.warning("round %d has a tariff of its own: what it agrees on is none of %s", self._round, run.day)
            return
        run.join()
        self._run = run

    def _check_earlier(self) -> None:
        """The contract opens a second round for a day that was agreed only on purpose, and lets one of them settle it.

        Raises:
            PlannedAlready: the day was agreed, and something of it is settled, or may be, on a chain that was replaced.
        """
        day = self._day
        earlier, elsewhere = self._state.agreed_in(day, but=self._round), self._state.agreed_elsewhere(day)
        if elsewhere is None:
            if earlier is None:
                return
            if not self._connection.settlement.settled_in(int(day.replace("-", ""))):
                log.warning("%s was agreed in round %d, nothing of it is settled: it is agreed anew", day, earlier)
                return
        raise PlannedAlready(
            f"{day} was agreed in round {earlier or elsewhere} already: nothing is agreed, or paid, twice for one day"
        )

    def _new_view(self, patient: bool) -> NodeView:
        """From tariff and forecast, for which a patient node waits.

        Raises:
            NoForecast: see `_prepare`.
        """
        settings, setting = self._settings, self._connection.setting
        # The tariff first: once somebody has declared, or abstained, the supplier cannot publish it any more.
        published = self._published_prices(patient) if settings.tariff.source == "published" else None
        forecast = None
        if settings.forecast is not None:
            late = min(settings.forecast.timeout_s, self._seconds()) if patient else 0.0
            forecast = take_forecast(settings.forecast, self._day, setting.steps, late, self._stop)
        prices = published or own_prices(settings.tariff, setting.steps, forecast)
        aggregator, hours = self._connection.aggregator, self._hours
        nodes, enrolled = aggregator.theta().n, aggregator.enrolled()
        if patient and published is not None:
            self._wait_for_suppliers(enrolled - {GRID_CONNECTION})
        tariffs = self._known_tariffs(enrolled & {settings.node, *settings.partners}, patient)
        told = tariffs.keys() & set(settings.partners) if settings.node in tariffs else ()
        ranges = ranges_of(settings.node, tariffs, told, setting.steps, hours)
        doubts = self._connection.doubts(settings.partners, settings.undelivered)
        return view_of(settings, self._day, hours, forecast, prices, enrolled, nodes, doubts, ranges)

    def _wait_for_suppliers(self, households: Iterable[int]) -> None:
        """Until whoever supplies one of them in the round has published its tariff, or time is up: once somebody has
        declared, nobody can publish any more, and those customers would be without prices. Days have theirs before."""
        if self._run is not None:
            return
        settlement = self._connection.settlement
        waiting = set(self._connection.suppliers_now(self._round, households).values())
        give_up = time.monotonic() + self._seconds()
        while waiting := {one for one in waiting if settlement.published_tariff(self._round, one) is None}:
            if time.monotonic() > give_up or self._stop.wait(TARIFF_SECONDS):
                return

    def _known_tariffs(self, nodes: Iterable[int], patient: bool) -> dict[int, bytes]:
        """By which those of some nodes are settled of whom it is told. Members of a day take part one after the other,
        and a patient household waits for partners that have not declared: the two are to name the same steps. Of whom
        nothing is told the tariff may be its own; what holds is seen once all have declared (`_ranges`)."""
        run, aggregator = self._run, self._connection.aggregator
        if run is None:
            return self._connection.tariffs_now(self._round, nodes)
        patient = patient and self._settings.home is not None
        wanted, give_up = set(nodes), time.monotonic() + (self._seconds() if patient else 0.0)
        while True:
            tariffs = run.tariffs(wanted)
            known = tariffs.keys() | aggregator.progress().present
            if known >= wanted or time.monotonic() > give_up or self._stop.wait(TARIFF_SECONDS):
                return tariffs

    def _ranges(self, nodes: Iterable[int]) -> Mapping[int, PriceRange]:
        """What trades can be paid at with whom, once all have declared: by what was published until then, which stands.
        With a tariff of its own beyond its limits it trades nothing."""
        settings, households = self._settings, sorted(set(nodes) - {GRID_CONNECTION})
        steps = self._connection.setting.steps
        if self._run is not None:
            ranges = ranges_of(settings.node, self._run.tariffs(households), households, steps, self._hours)
            return {node: within.since(self._first) for node, within in ranges.items()}
        tariffs = self._connection.settlement.published_tariffs_of(self._round, households)
        limits, own = settings.limits, tariffs.get(settings.node)
        if limits is not None and own is not None:
            try:
                check_published(limits, own)
            except OverLimit as error:
                self._complain(f"node {settings.node} trades nothing in round {self._round}: {error}")
                return dict.fromkeys(households, PriceRange.none(steps))
        return ranges_of(settings.node, tariffs, households, steps, self._hours)

    def _check_money(self, view: NodeView, plan: Mapping[str, Array]) -> None:
        """What the household can come to owe, before it declares: of its plan, and of what the supplier published, by
        which deliveries are settled, whatever it plans with itself.

        Raises:
            OverLimit: see `_prepare`.
        """
        limits = self._settings.limits
        if limits is None:
            return
        prices = view.prices
        published = self._connection.tariff(self._round)
        if published is not None:
            check_published(limits, published)
        check_prices(limits, prices.import_price, prices.feed_in_price, "its tariff")
        check_bill(limits, bill_of(plan, prices, view.step_hours))

    @property
    def _hours(self) -> float:
        """Of a step."""
        return self._connection.setting.step_seconds / 3600

    @property
    def _label(self) -> int:
        """Of the round, yyyymmdd."""
        return self._connection.aggregator.day_of(self._round)

    def _day_of_round(self) -> str:
        """yyyy-mm-dd."""
        label = self._label
        try:
            return datetime.strptime(f"{label:08d}", "%Y%m%d").date().isoformat()
        except ValueError:
            raise NoForecast(
                f"round {self._round} was opened for '{label}', which is no day yyyymmdd: ask the community manager"
            ) from None

    def _seconds(self) -> float:
        """How long the node may wait for what it needs to declare."""
        aggregator = self._connection.aggregator
        return WAIT_SHARE * max(aggregator.progress().deadline - aggregator.chain_now(), 0.0)

    def _published_prices(self, patient: bool) -> Prices:
        give_up = time.monotonic() + (self._seconds() if patient else 0.0)
        while self._run is None and (published := self._connection.tariff(self._round)) is None:
            if time.monotonic() > give_up or self._stop.is_set():
                raise NoForecast(f"the supplier has published no tariff for round {self._round} in time: ask it why")
            self._stop.wait(TARIFF_SECONDS)
            self._join()
        if self._run is not None:
            return self._run.prices
        assert published is not None
        return prices_in(published, self._hours)

    # ------------------------------------------------------------------ negotiation and settlement

    def _negotiate(self, view: NodeView) -> RoundEnd:
        """From declaring to settlement.

        Raises:
            ChainError, InfeasibleError, SolverError: as `Node.run`.
        """
        connection, confirm_s = self._connection, self._settings.chain.confirm_s
        limits, held = self._settings.limits, None
        deposit_max = None if limits is None else limits.deposit_max
        standing = self._standing()
        if self._first and self._run is not None:
            held = self._run.held_since(self._first)
        node = Node(
            view,
            connection.aggregator,
            connection.settlement,
            self._relay,
            confirm_s,
            self,
            deposit_max,
            self._check_round,
            standing,
            held,
            supplied=self._run is None,
            ranges=self._ranges,
        )
        agreed = False
        try:
            report = node.run(self._round)
            agreed = report.agreed
        except (ContractError, InsufficientFunds) as error:
            if self._schedule is None or self._schedule.status != "agreed":
                raise
            self._agreed()
            self._complain(why := f"the trades of round {self._round} are not settled: {error}")
            return self._ended("agreed", why)
        if self._run is not None and report.phase is Phase.CONVERGED:
            self._run.ended(self._round, node.agent)
        if agreed:
            self._agreed()
            return self._ended("agreed", "", report)
        phase = report.phase
        why = "it converged without this household" if phase is Phase.CONVERGED else f"it was {phase.name.lower()}"
        return self._ended("alone", why, report)

    def _standing(self) -> Agent | None:
        """Where the node begins from; None: from nothing."""
        return None

    def hear(self, event: Event) -> None:
        """From the node. What is planned is written at once, as settlement may take its time, or fail."""
        self._listener.hear(event)
        if isinstance(event, Planned):
            self._write(event.schedule, "agreed" if event.agreed else "alone", self._day)

    def _check_round(self) -> None:
        """Before anything is declared or paid.

        Raises:
            ChainError: the round is not the one that was planned for.
        """
        self._check()
        if (day := self._day_of_round()) != self._day:
            raise Reorganised(f"round {self._round} is for {day} now, and was planned for {self._day}")

    def _agreed(self) -> None:
        self._health.last_agreement, self._health.last_agreement_at = self._day, time.time()

    # ------------------------------------------------------------------ without an agreement

    def _abstain(self, reason: GridpactError) -> RoundEnd:
        """Tells the others that they need not wait, and plans for the household alone."""
        node, round_, why = self._settings.node, self._round, str(reason).rstrip(".")
        try:
            self._bound()
            self._connection.aggregator.abstain(round_)
            sentence = f"node {node} keeps out of round {round_}: {why}"
        except ContractError as error:
            if error.name not in MOVED_ON:
                raise
            sentence = f"node {node} is out of round {round_}: {why}"
        except ChainError as error:
            if not isinstance(reason, InsufficientFunds):
                raise
            sentence = f"node {node} is silent in round {round_}, since it cannot pay for abstaining either: {why}"
            log.info("%s", error)
        self._complain(sentence)
        if not isinstance(reason, PlannedAlready):
            self._plan_alone()
        return self._ended("abstained", why)

    def _sit_out(self, outcome: str, why: str) -> RoundEnd:
        self._complain(f"node {self._settings.node} has no part in round {self._round}: {why.rstrip('.')}")
        self._plan_alone()
        return self._ended(outcome, why)

    def _plan_alone(self) -> None:
        """The day with the supplier alone: as planned before the negotiation, by a forecast that is there now, or else
        by the newest that there was."""
        if self._settings.home is None:
            return
        if self._schedule is not None and self._schedule.status == "provisional":
            self._write(self._schedule.values, "alone", self._schedule.forecast)
            return
        try:
            self._set_day(self._day or self._day_of_round())
            planned = self._alone.plan(self._day, (self._kept_view, self._new_view_now))
        except (InputError, InfeasibleError) as error:
            log.warning("there is no schedule for %s: %s", self._day or f"round {self._round}", error)
        else:
            self._write(planned.values, "alone", planned.forecast)

    def _kept_view(self) -> NodeView | None:
        view = self._state.view(self._round)
        return view if view is not None and view.day == self._day else None

    def _new_view_now(self) -> NodeView | None:
        """None where the chain does not give what it takes."""
        try:
            return self._new_view(patient=False)
        except ChainError:
            return None

    def _stand_in(self) -> None:
        """The chain failed: the day has a schedule until it answers again."""
        if self._schedule is None and self._day:
            self._alone.stand_in(self._day, self._round)

    # ------------------------------------------------------------------ small things

    def _set_day(self, day: str) -> None:
        self._day = self._health.day = day

    def _complain(self, message: str) -> None:
        log.error("%s", message)
        self._health.error(message)

    def _write(self, values: Mapping[str, Array], status: str, forecast: str) -> None:
        """The schedule. Node 0 has one in G only."""
        made = self._alone.schedule(self._day, self._round, status, values, forecast)
        self._schedule = made
        if self._run is not None:
            self._run.keep(made)
        if not made.values:
            return
        try:
            path = made.write(self._settings.service.schedule)
        except OSError as error:
            self._complain(f"the schedule for {self._day} cannot be written: {reason_of(error)}")
        else:
            log.info("the schedule for %s is in '%s': %s", self._day, path, status)

    def _deliver(self, report: NodeReport | None) -> None:
        """In the day itself: counts what was agreed, and nominates.

        Raises:
            ChainError: the chain failed; the round is to be taken up again.
        """
        if self._run is None:
            return
        try:
            self._run.settle(self._round, self._first, report.statements if report is not None else ())
        except ContractError as error:
            self._complain(f"what was agreed in round {self._round} does not count for {self._day} yet: {error}")

    def _ended(self, outcome: str, why: str, report: NodeReport | None = None) -> RoundEnd:
        """Writes down how the round ended."""
        self._deliver(report)
        schedule = self._schedule
        meter = tuple(schedule.meter_wh) if schedule is not None else ()
        gas, iterations = (report.gas.total(), report.iterations) if report is not None else (0, 0)
        if report is not None:
            self._health.solve_s = report.solve_s
            trades = sum(len(entries) for entries in report.statements.values())
            log.info(
                "round %d for %s: %s%s; %d iterations, %d trades with %d partners, %d gas, %.1f s solving",
                *(self._round, self._day, outcome, f", {why}" if why else "", iterations, trades),
                *(len(report.statements), gas, report.solve_s),
            )
        end = RoundEnd(self._round, self._day, outcome, why, meter, gas, iterations, self._first)
        self._listener.hear(end)
        self._state.keep_end(end)
        return end
