"""One household's side of a day on the chain: it joins, agrees, nominates, agrees anew, and delivers.

It looks at the chain and does what is to be done next: rounds that are opened for the day, and steps that begin. What
it decides at a step it decides with what it knows then; what it brings to a round about the rest of the day is what it
expects of that rest in the step before.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.contract import arguments_of
from gridpact.chain.day import DaySettlement, Formula
from gridpact.chain.flexibility import Flexibility
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.reverts import readable
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import connect
from gridpact.chain.values import Phase
from gridpact.community.model import Array
from gridpact.day.files import Deal, MeterFiles, Orders, read_actual
from gridpact.errors import ContractError, InfeasibleError, InputError, SolverError
from gridpact.files import write_atomically
from gridpact.market.admm.agent import Agent
from gridpact.node.household_file import read_view
from gridpact.node.node import Node
from gridpact.problem.baseline import with_positions
from gridpact.problem.view import NodeView
from gridpact.relay.client import RelayClient
from gridpact.run.launch import NodeFiles, read_key
from gridpact.service.calls import calls_on_chain
from gridpact.service.positions import Positions
from gridpact.study.whatif.delivery import Replanning, Terms
from gridpact.study.whatif.following import TOLD, AskedPart, DecidedStep, answered

log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds between looks at the chain."""

PATIENCE = 120.0
"""How long a partner's statement or offer is waited for, s."""


def play(files: NodeFiles, network: Network | str) -> None:
    """A whole day of a household, or of the grid operator's node."""
    web3 = connect(network) if isinstance(network, str) else network.connect()
    record, view = Record.read(files.record), read_view(files.household)
    account = ChainAccount(web3, read_key(files.key))
    aggregator = Aggregator.of(record, web3, account)
    try:
        DayNode(files, view, record, aggregator, account).play()
    finally:
        aggregator.close()


class DayNode:
    """A node through a day."""

    def __init__(
        self, files: NodeFiles, view: NodeView, record: Record, aggregator: Aggregator, account: ChainAccount
    ) -> None:
        self.view = view
        self._files = files
        self._orders = Orders.read(files.folder)
        self._account = account
        self._aggregator = aggregator
        self._settlement = Settlement.of(record, account.web3, account)
        self._ledger = DaySettlement.of(record, account.web3, account)
        offers = self._orders.offer is not None
        self._flexibility = Flexibility.of(record, account.web3, account) if offers else None
        self._called = frozenset[int]()  # steps
        self._home: Replanning | None = None
        if view.household is not None:
            actual, fee = read_actual(files.folder), view.own_prices.peak_fee
            self._home = Replanning(view.household, actual, view.step_hours, fee)
        self._standing: Agent | None = None
        self._handled = 0  # round
        hours = view.step_hours
        self._positions = Positions(
            view.node, self._orders.day, hours, account, aggregator, self._settlement, self._ledger
        )
        self._besides: Array = np.zeros(view.steps)  # kW sold by deals
        self._planned: Array = np.zeros(view.steps)  # kW drawn from pool and supplier, as it was nominated last
        self._iterations: dict[int, int] = {}  # by the first step of a round that was agreed
        self._elsewhere: float | None = None  # paid for what its cars took in there; None where the day was not ended
        self._gas: Counter[str] = Counter()
        self._spent = 0

    # ------------------------------------------------------------------ the day

    def play(self) -> None:
        """From joining to the last step; who comes too late to join is its supplier's plain customer that day."""
        day, steps = self._orders.day, self.view.steps
        if self._home is not None:
            if not self._join():
                self._report()
                return
            self._deal()
            self._opt_in()
        for step in range(steps):
            if self._orders.silent_from is not None and step >= self._orders.silent_from:
                break
            if step and self._home is not None:
                MeterFiles(self._files).expect(step, self._home.rest(step).net_load_kw)
            start = self._ledger.start_of(day, step)
            while self._now() < start:
                self._follow()
                self._answer_calls(step)
                time.sleep(PAUSE)
            if self._home is not None:
                self._decide(self._home, step)
                self._meter(step, round(1000 * self.view.step_hours * self._home.injection_kw(step)))
        else:
            if self._home is not None:
                self._elsewhere = self._home.delivered(self._terms(steps - 1)).public
        self._report()

    def _join(self) -> bool:
        """Takes part with a lock, and leaves as much again free for trades. False: the first step's gate is closed."""
        ledger, lock = self._ledger, self._orders.lock
        ledger.deposit(2 * lock)
        try:
            ledger.join(self._orders.day, lock)
        except ContractError as error:
            if error.name != "GateClosed":
                raise
            log.warning("node %d comes too late to join the day, and is a plain customer: %s", self.view.node, error)
            ledger.withdraw(2 * lock)
            return False
        finally:
            self._spend("join")
        return True

    def _meter(self, step: int, fed_wh: int) -> None:
        """What its meter reads."""
        MeterFiles(self._files).write(step, fed_wh)

    def _now(self) -> int:
        """The chain's time."""
        with readable("the last block"):
            return int(self._account.web3.eth.get_block("latest")["timestamp"])

    def _decide(self, home: Replanning, step: int) -> None:
        """By what happens behind its own meter; and then again by the community's, as far as its stores follow that."""
        terms, files = self._terms(step), MeterFiles(self._files)
        home.step(step, terms)
        decided = DecidedStep.of(home, terms, step)
        for turn in range(TOLD if self._orders.follows else 0):
            files.say(step, turn, decided)
            is_told, asked = self._wait_for_part(step, turn)
            if not is_told or asked is None:
                return
            decided = answered(home, terms, step, asked, decided)

    def _wait_for_part(self, step: int, turn: int) -> tuple[bool, AskedPart | None]:
        files, give_up = MeterFiles(self._files), time.monotonic() + PATIENCE
        while not (asked := files.asked(step, turn))[0] and time.monotonic() < give_up:
            time.sleep(PAUSE)
        return asked

    def _terms(self, step: int) -> Terms:
        orders = self._orders
        renewed = next((gate for gate in orders.re_agreed_at if gate > step), None)
        sold = self._besides + self._positions.held_kw
        return Terms(self.view.own_prices, sold, self._planned, orders.adder, orders.public_price, renewed)

    def _spend(self, what: str) -> None:
        self._gas[what] += self._account.gas_used - self._spent
        self._spent = self._account.gas_used

    # ------------------------------------------------------------------ rounds

    def _follow(self) -> None:
        """Takes part in a round of the day that is open, if there is one."""
        progress = self._aggregator.progress()
        if progress.round <= self._handled or progress.round < self._orders.round or progress.phase.is_final:
            return
        self._handled = progress.round
        label = self._aggregator.day_of(progress.round)
        first = 0 if label == self._orders.day else label & 0xFF
        self._agree(progress.round, first)

    def _agree(self, round_: int, first: int) -> None:
        """A round about the steps from one on; where it comes to nothing, what stood stands."""
        view = self.view
        if first:
            view = view.since(first, self._home.rest(first) if self._home is not None else None)
        held = self._positions.held_since(first) if first else None
        relay = RelayClient(self._files.relay) if self._files.relay else None
        node = Node(
            view, self._aggregator, self._settlement, relay, standing=self._standing, held_wh=held, supplied=False
        )
        try:
            report = node.run(round_)
        except (InfeasibleError, InputError, SolverError) as error:
            if not first:
                raise
            log.warning("node %d keeps what stood: %s", view.node, error)
            return
        finally:
            self._spend("negotiate" if first else "day-ahead")
        if report.phase is Phase.CONVERGED:
            self._standing = node.agent
            self._iterations[first] = report.iterations
        if first and not report.agreed:
            return
        if self._home is None:
            return
        self._bring(round_, first, report.statements)
        self._nominate(first, report.schedule, "nominate again" if first else "nominate")

    def _bring(self, round_: int, first: int, partners: Collection[int]) -> None:
        self._positions.bring(round_, first, partners)
        self._spend("bring again" if first else "bring")

    def _nominate(self, first: int, schedule: Mapping[str, list[float]], what: str) -> None:
        """What it will draw by its plan, and by what it has sold besides."""
        node, held, unit = self.view.node, self._positions.held_kw, 1000 * self.view.step_hours
        for deal in self._orders.deals:
            if node in (deal.seller, deal.buyer):
                position = self._ledger.position(self._orders.day, node, deal.step) / unit
                self._besides[deal.step] = position - held[deal.step]
        drawn = np.array(schedule["import_kw"]) - np.array(schedule["feed_in_kw"]) + self._besides[first:]
        self._planned = np.concatenate([self._planned[:first], drawn])
        if not self._positions.nominate(first, drawn):
            log.warning("node %d nominates too late: the gate of step %d is closed", node, first)
        self._spend(what)

    # ------------------------------------------------------------------ deals

    def _deal(self) -> None:
        """Offers what it sells besides, and takes what it buys; what the contract refuses is not dealt."""
        own = self.view.node
        for deal in sorted(self._orders.deals, key=lambda deal: deal.seller != own):
            try:
                if deal.seller == own:
                    self._offer(deal)
                elif deal.buyer == own:
                    self._take(deal)
            except ContractError as error:
                log.warning("node %d makes no deal about step %d (%s): %s", own, deal.step, deal.kind, error)
        self._spend("deals")

    def _take(self, deal: Deal) -> None:
        products, number = self._ledger.products, self._offered(deal)
        if number is None:
            return
        if deal.kind == "spot":
            products.take_spot(number, deal.energy_wh)
        elif deal.kind == "forward":
            products.take_forward(number)
        else:
            products.take_option(number)
            if deal.price < 1e6 * self.view.own_prices.bought_price[deal.step]:
                products.exercise(number, deal.energy_wh)  # cheaper than what its supplier asks

    def _offer(self, deal: Deal) -> None:
        day, products = self._orders.day, self._ledger.products
        until = self._ledger.gate_of(day, deal.step)
        if deal.kind == "spot":
            products.post_spot(day, deal.step, True, deal.energy_wh, deal.price)
        elif deal.kind == "option":
            arguments = (deal.energy_wh, deal.price, deal.premium, deal.collateral, until)
            products.write_option(day, deal.step, *arguments)
        else:
            formula = Formula(deal.price, deal.slope, deal.floor, deal.cap, deal.usual, deal.oracle)
            products.offer_forward(day, deal.step, True, deal.energy_wh, formula, until)

    def _offered(self, deal: Deal) -> int | None:
        """The number of a deal's offer, once it is there; None where it does not come: who is no member yet when the
        round of the day before is open is not waited for."""
        name = {"spot": "SpotPosted", "option": "OptionWritten", "forward": "ForwardOffered"}[deal.kind]
        by = {"spot": "poster", "option": "writer", "forward": "proposer"}[deal.kind]
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            is_open = self._aggregator.progress().round >= self._orders.round
            is_coming = not is_open or deal.seller in self._ledger.standing(self._orders.day).members
            for event in self._ledger.products.offers(name, self._orders.day):
                arguments = arguments_of(event)
                step = arguments[{"spot": "spot", "option": "option", "forward": "terms"}[deal.kind]]["step"]
                if int(arguments[by]) == deal.seller and int(step) == deal.step:
                    return int(arguments["id"])
            if not is_coming:
                break
            time.sleep(PAUSE)
        return None

    # ------------------------------------------------------------------ calls

    def _opt_in(self) -> None:
        if self._flexibility is not None and self._orders.offer is not None:
            self._flexibility.deposit(self._orders.offer.bond)
            self._flexibility.opt_in(self._orders.offer)
            self._spend("opt in")

    def _answer_calls(self, step: int) -> None:
        """Where it is called, the rest of the day from a step on is planned anew, and nominated."""
        flexibility, home, view, day = self._flexibility, self._home, self.view, self._orders.day
        if flexibility is None or home is None or view.household is None:
            return
        steps = flexibility.called_steps(day, view.node)
        if steps == self._called:
            return
        self._called = steps
        called = calls_on_chain(flexibility, day, view.node, view.steps, view.step_hours)
        home.call(called)
        at_once = replace(view, household=replace(view.household, called=called))
        rest = view.since(step, home.rest(step)) if step else at_once
        try:
            schedule = with_positions(rest, (self._besides + self._positions.held_kw)[step:])
        except (InfeasibleError, SolverError) as error:
            log.warning("node %d has no plan with what it is called for: %s", view.node, error)
            return
        self._nominate(step, {name: series.tolist() for name, series in schedule.items()}, "nominate a call")

    # ------------------------------------------------------------------ afterwards

    def _report(self) -> None:
        values = {
            "node": self.view.node,
            "iterations": self._iterations,
            "gas": self._gas,
            "transactions": self._account.transactions,
            "elsewhere": self._elsewhere,
        }
        write_atomically(Path(self._files.report), json.dumps(values) + "\n")
