"""An order book beside its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from link import Link, Receipt, Reverted, grouped, rpc
from reference.book_model import BookModel, Refused

STEP_SECONDS = 900
GATE = 100_000  # seconds until that of step 0
STEPS, JOIN_SECONDS, DAY = 96, 300, 20_300_101
LOWEST, TICK, TOP = -2_000, 1_000, 255
DEPOSIT = 10**6


def event_of(event: Any) -> tuple[object, ...]:
    return (event.name, *event.values.values())


@dataclass
class Desk:
    """Calls to the contract, and to its model."""

    book: Link
    token: Link
    model: BookModel
    people: Mapping[str, Any]

    def now(self) -> int:
        return self.book.timestamp()

    def until(self, time: int) -> None:
        rpc("evm_setNextBlockTimestamp", time)
        rpc("evm_mine")

    def place(
        self, who: str, step: int, sells: bool, price: int, energy: int, fills: int = 255, rests: bool = True
    ) -> Receipt | None:
        """None: it was refused, by both for the same reason."""
        arguments = (step, sells, price, energy, fills, rests)
        return self._both(who, "place", arguments, lambda: self.model.place(self.now(), who, *arguments))

    def cancel(self, who: str, id_: int) -> Receipt | None:
        return self._both(who, "cancel", (id_,), lambda: self.model.cancel(self.now(), who, id_))

    def _both(self, who: str, name: str, arguments: tuple[Any, ...], expected: Any) -> Receipt | None:
        reason, said, receipt, events = None, None, None, []
        try:
            events = expected()
        except Refused as error:
            reason = str(error)
        try:
            receipt = self.book.send(self.people[who], name, *arguments)
        except Reverted as error:
            said = str(error).partition(":")[0]
        assert said == reason, (who, name, arguments)
        if receipt is None:
            return None
        names = {str(account): known for known, account in self.people.items()}
        assert [tuple(names.get(value, value) for value in event_of(event)) for event in receipt.events] == events
        return receipt

    def agrees(self) -> None:
        """Deposits, positions and the whole book are those of the model; OB3 to OB6, OB10."""
        model = self.model
        steps = sorted({step for step, _ in model.positions} | {order.step for order in model.orders})
        each = [(str(account), who) for who, account in self.people.items()]
        orders = model.orders
        free, locked, positions, best, read, total = grouped(
            [(self.book, "free", account) for account, _ in each],
            [(self.book, "locked", account) for account, _ in each],
            [(self.book, "position", step, account) for step in steps for account, _ in each],
            [(self.book, "best", step, sells) for step in steps for sells in (False, True)],
            [(self.book, "order", order.id) for order in orders],
            [(self.book, "totalDeposits")],
        )
        assert free == [model.free[who] for _, who in each]
        assert locked == [model.locked(who) for _, who in each]
        assert sum(free) + sum(locked) == total[0]
        assert positions == [model.positions[step, who] for step in steps for _, who in each]
        for at in range(0, len(positions), len(each)):
            assert sum(positions[at : at + len(each)]) == 0
        sides = [model.side(step, sells) for step in steps for sells in (False, True)]
        assert best == [side[0].id if side else 0 for side in sides]
        for bids, asks in zip(sides[::2], sides[1::2], strict=True):
            assert not bids or not asks or bids[0].price < asks[0].price
        neighbours = {}
        for side in sides:
            for price in {order.price for order in side}:
                ids = [0, *(order.id for order in side if order.price == price), 0]
                neighbours |= {ids[i]: (ids[i - 1], ids[i + 1]) for i in range(1, len(ids) - 1)}
                assert all(order.energy >= model.least for order in side if order.price == price and ids[1] != order.id)
        assert [(owner.lower(), *rest) for owner, *rest in read] == [
            (str(self.people[one.owner]).lower(), one.step, one.sells, one.price, one.energy, *neighbours[one.id])
            for one in orders
        ]


def desk_of(OrderBook: Any, token: Any, manager: Any, accounts: Any, least: int = 10, **other: int) -> Desk:
    """A book, and five people with deposits, who have joined its first day."""
    people = {f"person {i}": account for i, account in enumerate(accounts[2:7])}
    first_gate = Link(token).timestamp() + GATE
    setting = {"lowest": LOWEST, "tick": TICK, "top": TOP} | other
    book = Link(
        manager.deploy(
            OrderBook,
            (
                *(first_gate, STEP_SECONDS, setting["lowest"], setting["tick"], setting["top"], least),
                *(STEPS, len(people), JOIN_SECONDS),
            ),
            token,
        )
    )
    book.send(manager, "enrol", list(range(len(people))), [str(account) for account in people.values()])
    book.send(manager, "openRound", DAY)
    model = BookModel(first_gate, STEP_SECONDS, least=least, currency=10 ** token.decimals(), **setting)
    link = Link(token)
    for who, account in people.items():
        link.send(manager, "mint", str(account), 2 * DEPOSIT)
        link.send(account, "approve", book.address, 2 * DEPOSIT)
        book.send(account, "deposit", DEPOSIT)
        book.send(account, "join", 1)
        model.free[who] = DEPOSIT
    return Desk(book, link, model, people)
