"""An order book in plain Python: one list of orders, one rule a method, nothing linked and nothing packed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST_FILLS = 64


class Refused(Exception):
    """The name of the error."""


@dataclass
class Order:
    id: int
    owner: str
    step: int
    sells: bool
    price: int
    energy: int


@dataclass
class BookModel:
    """What IOrderBook says. Events are tuples: name and values."""

    first_gate: int
    step_seconds: int
    lowest: int
    tick: int
    top: int
    least: int
    currency: int
    free: Counter[str] = field(default_factory=Counter)
    positions: Counter[tuple[int, str]] = field(default_factory=Counter)
    orders: list[Order] = field(default_factory=list)  # the oldest first
    given: Counter[int] = field(default_factory=Counter)  # numbers, by step, side and price

    def value(self, energy: int, price: int) -> int:
        """Token units that a buyer pays, towards zero."""
        amount = energy * abs(price) * self.currency // 10**9
        return amount if price >= 0 else -amount

    def payment(self, energy: int, order: Order) -> int:
        """Token units that a buyer pays, rounded against who meets the order."""
        exact = energy * order.price * self.currency
        return -(-exact // 10**9) if order.sells else exact // 10**9

    def lock(self, order: Order) -> int:
        """What its owner would have to pay."""
        pays = order.price < 0 if order.sells else order.price > 0
        return abs(self.value(order.energy, order.price)) if pays else 0

    def locked(self, who: str) -> int:
        return sum(self.lock(order) for order in self.orders if order.owner == who)

    def side(self, step: int, sells: bool) -> list[Order]:
        """The best first, of equals the oldest."""
        found = [order for order in self.orders if (order.step, order.sells) == (step, sells)]
        return sorted(found, key=lambda order: order.price if sells else -order.price)

    def gate(self, step: int) -> int:
        return self.first_gate + step * self.step_seconds

    def place(
        self, now: int, who: str, step: int, sells: bool, price: int, energy: int, fills: int, rests: bool
    ) -> list[tuple[object, ...]]:
        if now >= self.gate(step):
            raise Refused("GateClosed")
        if energy < self.least:
            raise Refused("EnergyTooSmall")
        level, odd = divmod(price - self.lowest, self.tick)
        if odd or not 0 <= level <= self.top:
            raise Refused("InvalidPrice")
        met = [
            order for order in self.side(step, not sells) if (order.price >= price if sells else order.price <= price)
        ]
        plan, left = [], energy
        for order in met[: min(fills, MOST_FILLS)]:
            if left:
                if order.owner == who:
                    raise Refused("OwnOrder")
                plan.append((order, min(left, order.energy)))
                left -= min(left, order.energy)
        stays = rests and left >= self.least and len(plan) == len(met)
        payments = [self.payment(filled, order) for order, filled in plan]
        placed = Order(0, who, step, sells, price, left)
        pays = sum(-payment if sells else payment for payment in payments)
        if max(pays, 0) > self.free[who] or pays + (self.lock(placed) if stays else 0) > self.free[who]:
            raise Refused("InsufficientDeposit")

        events: list[tuple[object, ...]] = []
        for (order, filled), payment in zip(plan, payments, strict=True):
            before = self.lock(order)
            order.energy -= filled
            received = payment if order.sells else -payment
            self.free[order.owner] += before - self.lock(order) + received
            self.free[who] -= received
            bought = -filled if order.sells else filled
            self.positions[step, order.owner] += bought
            self.positions[step, who] -= bought
            events.append(("Traded", order.id, order.owner, who, filled, payment))
        self.orders = [order for order in self.orders if order.energy]
        if stays:
            key = step << 9 | sells << 8 | level
            self.given[key] += 1
            placed.id = key << 32 | self.given[key]
            self.orders.append(placed)
            self.free[who] -= self.lock(placed)
            events.append(("Placed", placed.id, who, left))
        elif left:
            events.append(("Returned", step, who, left))
        return events

    def cancel(self, now: int, who: str, id_: int) -> list[tuple[object, ...]]:
        found = [order for order in self.orders if order.id == id_]
        if not found:
            raise Refused("NotOpen")
        (order,) = found
        if order.owner != who and now < self.gate(order.step):
            raise Refused("NotYours")
        self.orders.remove(order)
        self.free[order.owner] += self.lock(order)
        return [("Cancelled", id_)]
