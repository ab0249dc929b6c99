"""A day of four households on a settlement of days, and an aggregator that may call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from days import DAY, DEPOSIT, GATE, NODES, READING, STEP, STEPS, World, series
from days import terms as day_terms
from link import Link, Receipt
from reference.flexibility_model import FlexibilityModel, Ledger, Terms

PLANNED = {node: [-1000 - 100 * node] * STEPS for node in NODES}
"""What each tells that it will feed in: it draws."""


class Called:
    """The contract, and its model beside it. People are `node 1` to `node 4`, `outsider` aggregates."""

    def __init__(self, world: World, flexibility: Any) -> None:
        self.world, self.link = world, Link(flexibility)
        self.link.errors |= world.ledger.errors
        start = world.now() + GATE + 2 * STEP
        self.day = Ledger(start, STEP, GATE, STEPS, {f"node {node}": node for node in NODES})
        world.open(day_terms(start), DAY)
        hash_ = world.ledger.view("standing", DAY)[-1]
        for node in NODES:
            world.ledger.send(self.who(f"node {node}"), "join", DAY, hash_, 5_000_000)
        self.model = FlexibilityModel(self.day, dict.fromkeys(world.addresses, DEPOSIT // 2))

    def again(self) -> Called:
        """With the model as it was when all had nominated, as the chain is before each test."""
        day = self.day
        self.day = Ledger(day.start, STEP, GATE, STEPS, dict(day.members), nominated=set(NODES))
        for node, planned in PLANNED.items():
            self.day.planned |= {(node, step): wh for step, wh in enumerate(planned)}
        self.model = FlexibilityModel(self.day, dict.fromkeys(self.world.addresses, DEPOSIT // 2))
        return self

    def who(self, name: str) -> str:
        return self.world.addresses[name]

    def terms(self, **changes: Any) -> Terms:
        """A battery of 3 kW up, 2 kW down, all day."""
        usual = Terms(
            "outsider", 1000, b"battery", 50_000, self.day.start, self.day.start + STEPS * STEP, 3000, 2000, 6000,
            200_000, 300_000, 50, 300,
        )  # fmt: skip
        return replace(usual, **changes)

    def opt_in(self, node: int = 1, **changes: Any) -> int:
        terms = self.terms(**changes)
        self.link.send(self.who(f"node {node}"), "optIn", terms.encoded(self.world.addresses))
        self.model.opt_in(self.world.now(), f"node {node}", terms)
        return len(self.model.offers)

    def nominate(self, node: int, planned: Sequence[int], first: int = 0) -> None:
        drawn = [-wh for wh in planned]
        self.world.ledger.send(self.who(f"node {node}"), "nominate", DAY, first, series(drawn))
        self.day.nominated.add(node)
        for step, wh in enumerate(planned, start=first):
            self.day.planned[node, step] = wh

    def call(self, offer: int, first: int, energies: Sequence[int], by: str = "outsider", **given: Any) -> Receipt:
        node = self.day.members[self.model.offers[offer - 1].member]
        stand = [self.day.planned[node, first + k] for k in range(len(energies))]
        baselines = given.get("baselines", stand)
        receipt = self.link.send(self.who(by), "call", offer, DAY, first, series(energies), series(baselines))
        self.model.call(receipt.timestamp, by, offer, first, energies, baselines)
        return receipt

    def at(self, step: int, seconds: int = 1) -> None:
        self.world.until(self.day.start + step * STEP + seconds)

    def read(self, step: int, **fed_in: int) -> None:
        """What was read in a step that is over, of those named: `node_1=-500`."""
        readings = {int(name.removeprefix("node_")): wh for name, wh in fed_in.items()}
        self.at(step + 1)
        self.world.ledger.send(self.who("outsider"), "read", *self.world.reading(DAY, step, readings))
        self.day.readings |= {(node, step): wh for node, wh in readings.items()}

    def over(self, until: int = STEPS) -> None:
        """The day's settlement settles all steps before one, read or not."""
        self.at(until, READING + 1)
        while self.day.settled < until:
            self.world.ledger.send(self.who("outsider"), "settleStep", DAY)
            self.day.settled += 1

    def settle(self, call: int = 1, by: str = "node 4") -> int:
        told = self.link.send(self.who(by), "settle", call).one("CallSettled")
        assert told["payment"] == self.model.settle(call)
        return int(told["payment"])

    def check(self) -> None:
        """FX1, FX2, and all money as in the model."""
        names = sorted(self.world.addresses)
        for name in names:
            held = tuple(self.link.view(kind, self.who(name)) for kind in ("free", "locked"))
            assert held == (self.model.free[name], self.model.locked[name]), name
        total = self.link.view("totalDeposits")
        assert total == sum(self.model.free.values()) + sum(self.model.locked.values())
        assert self.world.token.view("balanceOf", self.link.address) == total
        reserves = sum(one.reserve for one in self.model.calls if not one.settled)
        assert sum(self.model.locked.values()) == reserves + sum(one.bond for one in self.model.offers)


@pytest.fixture(scope="module")
def flexible(world: World, Flexibility: Any, manager: Any) -> Called:
    """The day is open, all have joined and nominated, and nobody has opted in."""
    made = Called(world, manager.deploy(Flexibility, world.ledger.address))
    for name in world.addresses:
        world.token.send(manager, "mint", made.who(name), DEPOSIT)
        world.token.send(made.who(name), "approve", made.link.address, DEPOSIT)
        made.link.send(made.who(name), "deposit", DEPOSIT // 2)
    for node, planned in PLANNED.items():
        made.nominate(node, planned)
    return made


@pytest.fixture
def played(flexible: Called) -> Called:
    """As the fixture left it."""
    return flexible.again()
