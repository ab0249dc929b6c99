"""Offers and calls of flexibility in plain Python: dictionaries, one rule a method, nothing packed.

Of the day's settlement it knows what anybody can read there, as a `Ledger`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from reference.day_model import Refused


@dataclass
class Ledger:
    """One day."""

    start: int
    step_seconds: int
    gate_seconds: int
    steps: int
    members: dict[str, int] = field(default_factory=dict)  # nodes
    planned: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))  # what is fed in: node, step
    nominated: set[int] = field(default_factory=set)
    readings: dict[tuple[int, int], int] = field(default_factory=dict)  # node, step
    settled: int = 0  # steps


@dataclass(frozen=True)
class Terms:
    """In the order of the contract."""

    aggregator: str
    fee: int
    device: bytes
    bond: int
    begins: int
    until: int
    up: int
    down: int
    energy: int
    price: int
    fine: int
    tolerance: int
    notice: int

    def encoded(self, addresses: dict[str, str]) -> tuple[object, ...]:
        return (
            addresses[self.aggregator], self.fee, self.device.ljust(16, b"\0"), self.bond, self.begins, self.until,
            self.up, self.down, self.energy, self.price, self.fine, self.tolerance, self.notice,
        )  # fmt: skip


@dataclass
class Offer:
    member: str
    terms: Terms
    bond: int
    energy: int = 0  # called in the day
    open: int = 0
    ended: bool = False


@dataclass
class Called:
    offer: int
    first: int
    energies: Sequence[int]
    baselines: Sequence[int]
    reserve: int
    settled: bool = False


def moved_value(terms: Terms, energy: int, moved: int) -> tuple[Fraction, int]:
    """Of a step: what it is worth, currency's millionths of a unit a kWh times kWh, and whether it is kept."""
    same_way = min(abs(moved), abs(energy)) if moved * energy > 0 else 0
    away = abs(moved - energy)
    return (
        Fraction(terms.price * same_way, 1000) - Fraction(terms.fine * max(away - terms.tolerance, 0), 1000),
        int(away <= terms.tolerance),
    )


class FlexibilityModel:
    """Money of a token with six decimals."""

    def __init__(self, ledger: Ledger, deposits: dict[str, int]) -> None:
        self.ledger = ledger
        self.free = dict(deposits)
        self.locked: dict[str, int] = defaultdict(int)
        self.offers: list[Offer] = []
        self.calls: list[Called] = []
        self.called: set[tuple[int, int]] = set()  # node, step

    def lock(self, who: str, amount: int) -> None:
        if amount > self.free[who]:
            raise Refused("InsufficientDeposit")
        self.free[who] -= amount
        self.locked[who] += amount

    def unlock(self, who: str, amount: int, to: str | None = None) -> None:
        self.locked[who] -= amount
        self.free[to or who] += amount

    def live(self, now: int, member: str, device: bytes) -> bool:
        return any(
            one.member == member and one.terms.device == device and not one.ended and now < one.terms.until
            for one in self.offers
        )

    def opt_in(self, now: int, who: str, terms: Terms) -> None:
        if terms.until <= max(now, terms.begins) or not (terms.up or terms.down) or not terms.energy:
            raise Refused("InvalidOffer")
        if self.live(now, who, terms.device):
            raise Refused("DeviceOffered")
        self.lock(who, terms.bond)
        self.offers.append(Offer(who, terms, terms.bond))

    def offer(self, number: int) -> Offer:
        if not 1 <= number <= len(self.offers):
            raise Refused("NoSuchOffer")
        return self.offers[number - 1]

    def end(self, now: int, who: str, number: int) -> None:
        one = self.offer(number)
        if one.ended:
            raise Refused("OfferOver")
        if who != one.member and now < one.terms.until:
            raise Refused("NotOwner")
        one.ended = True
        self.free_bond(one)

    def free_bond(self, one: Offer) -> None:
        if one.ended and not one.open:
            self.unlock(one.member, one.bond)
            one.bond = 0

    def call(
        self, now: int, who: str, number: int, first: int, energies: Sequence[int], baselines: Sequence[int]
    ) -> None:
        day, one = self.ledger, self.offer(number)
        terms, steps = one.terms, range(first, first + len(energies))
        if not energies or len(energies) != len(baselines) or steps.stop > day.steps:
            raise Refused("InvalidCall")
        if who != terms.aggregator:
            raise Refused("NotAggregator")
        if one.ended:
            raise Refused("OfferOver")
        if one.member not in day.members:
            raise Refused("NotMember")
        node = day.members[one.member]
        begins, ends = (day.start + step * day.step_seconds for step in (first, steps.stop))
        if now + terms.notice >= begins - day.gate_seconds:
            raise Refused("CallTooLate")
        if begins < terms.begins or ends > terms.until:
            raise Refused("OutsideSpan")
        if any((node, step) in self.called for step in steps):
            raise Refused("CalledAlready")
        if node not in day.nominated:
            raise Refused("NotNominated")
        if [day.planned[node, step] for step in steps] != list(baselines):
            raise Refused("OtherBaseline")
        if any(
            abs(energy) * 3600 > (terms.up if energy >= 0 else terms.down) * day.step_seconds for energy in energies
        ):
            raise Refused("BeyondPower")
        size = sum(map(abs, energies))
        if one.energy + size > terms.energy:
            raise Refused("BeyondEnergy")
        reserve = ceil(Fraction(size * terms.price, 1000)) + terms.fee * len(energies)
        self.lock(who, reserve)
        one.energy += size
        one.open += 1
        self.called |= {(node, step) for step in steps}
        self.calls.append(Called(number, first, list(energies), list(baselines), reserve))

    def settle(self, number: int) -> int:
        if not 1 <= number <= len(self.calls):
            raise Refused("NoSuchCall")
        made = self.calls[number - 1]
        if made.settled:
            raise Refused("CallSettledAlready")
        if self.ledger.settled < made.first + len(made.energies):
            raise Refused("StepsAwaited")
        one = self.offers[made.offer - 1]
        node = self.ledger.members[one.member]
        worth, kept = Fraction(0), 0
        for step, energy, baseline in zip(
            range(made.first, self.ledger.steps), made.energies, made.baselines, strict=False
        ):
            if (read := self.ledger.readings.get((node, step))) is not None:
                value, good = moved_value(one.terms, energy, read - baseline)
                worth, kept = worth + value, kept + good
        payment = max(ceil(worth) + kept * one.terms.fee, -one.bond)
        made.settled = True
        self.unlock(one.terms.aggregator, made.reserve)
        if payment >= 0:
            self.free[one.terms.aggregator] -= payment
            self.free[one.member] += payment
        else:
            one.bond += payment
            self.unlock(one.member, -payment, one.terms.aggregator)
        one.open -= 1
        self.free_bond(one)
        return payment
