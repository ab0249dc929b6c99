"""The loop of a node that runs day after day.

What a round is about stands on the chain, so the loop may end anywhere and begin anew: only what the node declared with
is on its disk (see `state`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from web3 import Web3

from gridpact.chain.clock import LARGEST_GAP, clock_gap, told_gap
from gridpact.chain.transport import connect
from gridpact.chain.values import Phase, Progress
from gridpact.errors import ChainError
from gridpact.events import Event
from gridpact.relay.client import RelayClient
from gridpact.service.alone import PlanAlone
from gridpact.service.connection import ChainConnection, open_connection, read_record
from gridpact.service.days import RunningDays
from gridpact.service.health import Health
from gridpact.service.identity import ChainReplaced, Identity
from gridpact.service.participation import Participation
from gridpact.service.re_agreement import ReAgreement
from gridpact.service.round_end import RoundEnd
from gridpact.service.settings import Settings
from gridpact.service.state import State

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""How long an outage is waited out without a word."""

STAND_IN_AFTER = 2
"""Attempts in a row that failed, after which today and tomorrow get schedules without the chain."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Between attempts after an outage, seconds; the pause doubles."""

POLL_SECONDS = 2.0
"""Between looks for a new round where the endpoint has no websocket."""

LOOK_SECONDS = 5.0
"""How long a wait for a new round lasts where it has one."""

BALANCE_SECONDS = 300.0
"""Between looks at balance and meter while nothing happens."""

LINE_SECONDS = 3600.0
"""Between health lines in the log while nothing happens."""

METER_ROUNDS = 4
"""Newest rounds of which a delivery is looked for."""


class Service:
    """A node that takes part in every round.

    Args:
        key: the private key of its account.
        link: opens a connection to the chain; by default to the address in the settings.
        stop: ends the loop at the next opportunity.

    Raises:
        InputError: the record of the deployment or the folder of the state cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        key: str,
        health: Health,
        link: Callable[[], Web3] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._settings = settings
        self._key = key
        self._health = health
        self._link = link or self._connect
        self._turned = 0  # how often the first endpoint did not serve
        self._stop = stop or threading.Event()
        self._record = read_record(settings)
        self._state = State(settings.service.state / self._record.aggregator)
        self._alone = PlanAlone(settings, self._record, self._state)
        self._identity: Identity | None = None  # of the chain that the rounds are of
        self._relay = RelayClient(settings.chain.relay) if settings.chain.relay else None
        self._connection: ChainConnection | None = None
        self._days: RunningDays | None = None
        self._beside = False  # whether a day runs beside what the node takes part in
        self._done = 0  # the newest round that has ended for this node
        self._undelivered: dict[int, RoundEnd] = {}
        self._place = (0, 0, 0)  # round, phase and iteration that were seen last
        self._suspect = False  # the chain was away: perhaps it is another one now
        self._mute = False  # it was said that the health cannot be written
        self._looked = self._said = float("-inf")  # at balance and meter; the health line

    @property
    def alone(self) -> PlanAlone:
        """Who plans without the chain."""
        return self._alone

    def run(self, once: bool = False) -> RoundEnd | None:
        """Goes from round to round until it is told to stop, or through one round.

        Returns:
            how the last round ended.

        Raises:
            InputError: what the household gave does not fit the chain.
        """
        end, pause, failed = None, FIRST_PAUSE, 0
        try:
            while not self._stop.is_set():
                try:
                    end = self._turn() or end
                except ChainError as error:
                    self._outage(error)
                    self._suspect = True
                    self._ask_another()
                    failed += 1
                    if failed >= STAND_IN_AFTER:
                        for day in self._alone.days_due():
                            self._alone.stand_in(day)
                    self._stop.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                pause, failed = FIRST_PAUSE, 0
                if once and end is not None and end.outcome != "missed":
                    break
        finally:
            if self._connection is not None:
                self._connection.aggregator.close()
            if self._relay is not None:
                self._relay.close()
        return end

    def _connect(self) -> Web3:
        urls = self._settings.chain.rpc.split(",")
        first = self._turned % len(urls)
        return connect(",".join([*urls[first:], *urls[:first]]), PATIENCE_SECONDS)

    def _ask_another(self) -> None:
        """An endpoint that answers may still be wrong, about its log, or the account's transactions."""
        if self._connection is None:
            self._turned += 1
        elif "," in self._settings.chain.rpc:
            self._connection.aggregator.ask_another()
            self._connection.account.forget_nonce()

    def _turn(self) -> RoundEnd | None:
        """Waits for a round and takes part in it. None: the loop is to stop.

        Raises:
            ChainError: the chain failed.
        """
        if self._connection is None:
            self._connection = open_connection(self._settings, self._record, self._key, self._link)
            self._health.symbol = self._connection.symbol
            self._check_chain(self._connection)
            if not self._connection.aggregator.sealed:
                log.warning("rounds of this deployment are open: everybody reads what is submitted, loads too")
            self._compare_clocks(self._connection)
            self._days = RunningDays(self._settings, self._connection, self._state, self._alone, self._health)
            self._look(self._connection)
            self._said = time.monotonic()
            log.info("%s", self._health.line())
        connection = self._connection
        if self._suspect:
            self._check_chain(connection)
            self._suspect = False
        now = self._next_round(connection)
        if now is None:
            return None
        if self._check_chain(connection):
            return None
        self._look(connection)
        assert self._days is not None
        rest = self._days.of_rest(connection.aggregator.day_of(now.round))
        given = (
            *(self._settings, connection, self._relay, self._state, self._alone, self._health, self._days),
            *(now.round, self, self._check_same, self._stop),
        )
        participation = Participation(*given) if rest is None else ReAgreement(*rest, *given)
        self._beside = rest is None
        try:
            end = participation.run(now.phase)
        finally:
            self._beside = False
        self._done = end.round
        self._undelivered[end.round] = end
        self._undelivered.pop(end.round - METER_ROUNDS, None)
        with suppress(ChainError):  # the round has ended, whether the chain answers now or later
            self._look(connection)
        return end

    def _check_chain(self, connection: ChainConnection) -> bool:
        """Whether the chain was replaced since it was last looked at, by one that has the contracts at the same
        addresses: what is known of rounds is put aside then."""
        now, known = Identity.of(connection.account.web3, self._record), self._identity or self._state.identity()
        replaced = known is not None and not now.is_same(known)
        if replaced:
            aside = self._state.set_aside()
            reason = (
                f"the chain is not the one of before (chain {now.chain_id}, with other blocks): what was known of its"
                f" rounds is in '{aside}', and the rounds begin anew"
            )
            log.error("%s", reason)
            self._health.error(reason)
            self._done = 0
            self._undelivered.clear()
            connection.account.forget_nonce()
        if known is None or replaced:
            self._state.keep_identity(now)
        self._identity = now
        return replaced

    def _check_same(self) -> None:
        """Raises ChainReplaced where the chain is not the one on which the round began."""
        assert self._connection is not None
        assert self._identity is not None
        if not Identity.of(self._connection.account.web3, self._record).is_same(self._identity):
            raise ChainReplaced("the chain was replaced by another one in the middle of the round")

    def _compare_clocks(self, connection: ChainConnection) -> None:
        """A clock that is wrong makes log and metrics wrong; deadlines go by the chain's."""
        gap = clock_gap(connection.account.web3)
        if gap is not None and abs(gap) > LARGEST_GAP:
            log.warning("%s", told_gap(gap))
            self._health.error(told_gap(gap))

    # ------------------------------------------------------------------ waiting

    def _next_round(self, connection: ChainConnection) -> Progress | None:
        """Waits for a round that has not ended for this node; None where the loop is to stop."""

        def new(now: Progress) -> bool:
            return now.phase is not Phase.NONE and now.round > self._done

        while not self._stop.is_set():
            now = connection.aggregator.wait_for(new, LOOK_SECONDS if connection.tells else 0.0)
            place = (now.round, now.phase, now.iteration)
            earlier, self._place = place < self._place, place
            if earlier and self._check_chain(connection):  # or it was only taken back
                continue
            self.hear(now)
            if not new(now):
                self._look_at_days()
                self._idle(connection)
                if not connection.tells:
                    self._stop.wait(POLL_SECONDS)
            elif (end := self._state.end(now.round)) is not None:  # before a restart
                self._done, self._undelivered[end.round] = end.round, end
            elif now.phase.is_final and self._state.last_view() is None:  # before this node's time
                self._done = now.round
            else:
                return now
        return None

    def _look_at_days(self) -> None:
        """Does what is due in days that run.

        Raises:
            ChainError: the chain failed.
        """
        if self._days is not None and self._days.look():
            self._write_health()

    def _idle(self, connection: ChainConnection) -> None:
        """What is to be done now and then."""
        now = time.monotonic()
        if now - self._looked > BALANCE_SECONDS:
            self._look(connection)
        if now - self._said > LINE_SECONDS:
            self._said = now
            log.info("%s", self._health.line())

    def hear(self, event: Event) -> None:
        """From the round, and while waiting for one: for the health, which is written where the place is another."""
        if self._beside and isinstance(event, Progress):
            self._look_at_days()
        health = self._health
        before = health.round, health.phase, health.chain
        health.hear(event)
        if health.chain and not before[2] and health.last_error:
            log.info("the chain answers again")
        if (health.round, health.phase, health.chain) != before:
            self._write_health()

    def _outage(self, error: ChainError) -> None:
        """One line when it begins."""
        reason, health = str(error).rstrip("."), self._health
        if health.chain or not health.last_error:
            log.warning("%s; it is tried again until it answers", reason)
            health.error(reason)
        health.chain = False
        self._write_health()

    def _look(self, connection: ChainConnection) -> None:
        """At the balance, and at deliveries that were settled, to compare them with what was planned."""
        health = self._health
        health.ether, health.deposit = connection.ether(), connection.deposit()
        health.limit = connection.debit_limit()
        for round_, end in list(self._undelivered.items()):
            delivery = connection.settlement.delivery(round_, self._settings.node)
            if delivery is None:
                continue
            del self._undelivered[round_]
            read, planned = sum(delivery.energies_wh) / 1000, sum(end.meter_wh) / 1000
            health.meter_deviation_kwh = read - planned
            log.info(
                "round %d for %s is delivered: the meter read %.3f kWh fed in, planned were %.3f kWh, the supplier "
                "paid %.2f %s",
                *(round_, end.day, read, planned, delivery.payment * connection.unit, health.symbol),
            )
        health.chain = True
        self._looked = time.monotonic()
        self._write_health()

    def _write_health(self) -> None:
        """A full disk must not cost a round."""
        try:
            self._health.write(self._settings.service.state / "health.json")
        except OSError as error:
            if not self._mute:
                log.error("the health cannot be written (%s): make room", error.strerror)
            self._mute = True
        else:
            self._mute = False
