"""The settlement in plain Python: dictionaries of integers, no packing, no hashes, no gas.

Written from the text of the interface, to compare the contract with. Money is in token units. A statement is a tuple
of (step, energy in Wh, price in 1e-6 currency/kWh); accounts are names.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Entries = tuple[tuple[int, int, int], ...]


class Refused(Exception):
    """What the contract refuses, by the name of its error."""


def towards_zero(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


def begun(exact: int) -> int:
    """Token units that have begun, of billionths of them."""
    return -(-exact // 10**9)


def payment(entries: Entries, decimals: int) -> int:
    """From the higher to the lower node, token units."""
    exact = sum(energy * price for _, energy, price in entries) * 10**decimals
    return begun(exact) if exact > 0 else -begun(-exact)


def agreed(own: int, other: int, milliwatt: int, seconds: int) -> int:
    """Energy that the lower node sells, Wh, from the two bids of a step: to the nearest, halves away from zero."""
    twice, of = 2 * (own - other) * milliwatt * seconds, 2 * 3_600_000
    return towards_zero(twice + (of if twice > 0 else -of), 2 * of)


def delivery_payment(
    readings: Sequence[int], sold: Sequence[int], tariff: Sequence[tuple[int, int]], decimals: int
) -> int:
    """From the supplier to the household, token units. Tariff: import and feed-in price of each step."""
    total = 0
    for read, traded, (imported, fed_in) in zip(readings, sold, tariff, strict=True):
        # Where feeding in earns more than drawing costs, what was read and what was traded are apart.
        parts = [(1, read), (-1, traded)] if fed_in > imported else [(1, read - traded)]
        total += sum(sign * energy * (fed_in if energy > 0 else imported) for sign, energy in parts)
    return -begun(-total * 10**decimals)


def limited(
    payment_: int,
    most: int,
    readings: Sequence[int],
    sold: Sequence[int],
    tariff: Sequence[tuple[int, int]],
    decimals: int,
) -> int:
    """What a delivery comes to for a household with a limit (0: none), token units: it pays the limit, what it sold and
    did not feed in at the dearer price of the step, and what it bought and did not draw where the cheaper one is below
    zero, at that; where all of it is less."""
    if not most or payment_ >= -most:
        return payment_
    missing = 0
    for read, traded, prices in zip(readings, sold, tariff, strict=True):
        missing += max(traded - max(read, 0), 0) * max(*prices, 0)
        missing += max(-traded - max(-read, 0), 0) * max(-min(prices), 0)
    return max(payment_, -most - begun(missing * 10**decimals))


@dataclass
class Ended:
    """A finished round, as far as the settlement knows it."""

    converged: bool
    accounts: Mapping[int, str]  # who declared
    present: frozenset[int]  # at the end
    bids: Mapping[tuple[int, int], Mapping[int, int]]  # (node, partner): bid by step
    tariff: Sequence[tuple[int, int]] | None = None


@dataclass
class Stated:
    entries: Entries
    amount: int = 0
    deadline: int = 0


@dataclass
class SettlementModel:
    steps: int
    milliwatt: int  # of a unit of a bid
    seconds: int  # of a step
    lock_seconds: int
    decimals: int
    supplier: str
    rounds: dict[int, Ended] = field(default_factory=dict)
    free: Counter[str] = field(default_factory=Counter)
    locked: Counter[str] = field(default_factory=Counter)
    arrears: Counter[str] = field(default_factory=Counter)
    net: Counter[tuple[int, int]] = field(default_factory=Counter)  # round and node
    supplier_net: Counter[int] = field(default_factory=Counter)
    sides: dict[tuple[int, int, int], Stated] = field(default_factory=dict)  # round, node, partner
    recorded: dict[tuple[int, int, int], Entries] = field(default_factory=dict)  # round, lower, higher
    delivered: dict[tuple[int, int], int] = field(default_factory=dict)  # what the supplier paid
    consents: dict[tuple[int, int], dict[str, tuple[int, ...]]] = field(default_factory=dict)

    # ------------------------------------------------------------------ deposits

    def deposit(self, account: str, amount: int) -> None:
        self._credit(account, amount)

    def withdraw(self, account: str, amount: int) -> None:
        self._take(account, amount)

    def _take(self, account: str, amount: int) -> None:
        if self.free[account] < amount:
            raise Refused("InsufficientDeposit")
        self.free[account] -= amount

    def _credit(self, account: str, amount: int) -> None:
        paid = min(amount, self.arrears[account])
        self.arrears[account] -= paid
        self.free[self.supplier] += paid
        self.free[account] += amount - paid

    # ------------------------------------------------------------------ trades

    def state(self, now: int, round_: int, account: str, partner: int, entries: Entries, opened: bool = True) -> None:
        """One statement. `opened`: whether the openings are right, or not needed."""
        ended = self.rounds[round_]
        if not ended.converged:
            raise Refused("NotConverged")
        node = self.node_in(round_, account)
        if partner == node or not {node, partner} <= ended.present:
            raise Refused("InvalidPartner")
        lower, higher = min(node, partner), max(node, partner)
        if (round_, lower, higher) in self.recorded:
            return  # skipped
        if entries:
            if (round_, node) in self.delivered:
                raise Refused("AlreadyDelivered")
            if (round_, partner) in self.delivered:
                return self._end_lock((round_, node, partner), account)  # skipped
            if not all(first[0] < second[0] for first, second in itertools.pairwise(entries)):
                raise Refused("InvalidTrades")
        to_lower = payment(entries, self.decimals)
        due = max(to_lower if node == higher else -to_lower, 0)
        old = self.sides.get((round_, node, partner), Stated(()))
        would_have = self.free[account] + max(old.amount - self.arrears[account], 0)
        if would_have < due:
            raise Refused("InsufficientDeposit")
        # What was agreed is looked at last, when all else holds.
        if entries and not opened:
            raise Refused("WrongOpening")
        energies = {step: energy for step, energy, _ in entries}
        if entries and node == lower and self.fitting(round_, lower, higher) != energies:
            raise Refused("DoesNotFitBids")
        self._end_lock((round_, node, partner), account)
        if not entries:
            return
        self._take(account, due)
        other = self.sides.get((round_, partner, node))
        if other is not None and other.entries == entries:
            receiver = ended.accounts[lower if to_lower > 0 else higher]
            if not due:
                payer = ended.accounts[partner]
                self.locked[payer] -= other.amount
                assert other.amount == abs(to_lower)
            self._credit(receiver, abs(to_lower))
            del self.sides[round_, partner, node]
            self.recorded[round_, lower, higher] = entries
            self.net[round_, lower] += to_lower
            self.net[round_, higher] -= to_lower
        else:
            self.locked[account] += due
            self.sides[round_, node, partner] = Stated(entries, due, now + self.lock_seconds if due else 0)

    def vouch(self, party: str, metering: str, round_: int, lower: int, higher: int, entries: Entries) -> None:
        """The metering account's word for a pair of which one side states nothing, or each something else."""
        if party != metering:
            raise Refused("NotMetering")
        ended = self.rounds[round_]
        if ended.tariff is None:
            raise Refused("WrongTariff")
        if not ended.converged:
            raise Refused("NotConverged")
        if not {lower, higher} <= ended.present or higher <= lower:
            raise Refused("InvalidPartner")
        sides = [(round_, lower, higher), (round_, higher, lower)]
        if (round_, lower, higher) in self.recorded or not any(side in self.sides for side in sides):
            return  # skipped
        if (round_, lower) in self.delivered or (round_, higher) in self.delivered:
            return  # skipped
        if not entries or not all(first[0] < second[0] for first, second in itertools.pairwise(entries)):
            raise Refused("InvalidTrades")
        if not all(min(ended.tariff[step]) <= price <= max(ended.tariff[step]) for step, _, price in entries):
            raise Refused("OutsideTariff")
        to_lower = payment(entries, self.decimals)
        payer, receiver = (ended.accounts[node] for node in ((higher, lower) if to_lower > 0 else (lower, higher)))
        due = abs(to_lower)
        freed = sum(self.sides[side].amount for side in sides if side in self.sides and self.account(side) == payer)
        owing = max(due - self.free[payer] - max(freed - self.arrears[payer], 0), 0)
        if self.free[self.supplier] < owing:
            return  # skipped: nobody can lay it out
        if self.fitting(round_, lower, higher) != {step: energy for step, energy, _ in entries}:
            raise Refused("DoesNotFitBids")
        for side in sides:
            self._end_lock(side, self.account(side))
        self._charge(payer, due)
        self.free[self.supplier] -= due
        self._credit(receiver, due)
        self.recorded[round_, lower, higher] = entries
        self.net[round_, lower] += to_lower
        self.net[round_, higher] -= to_lower

    def account(self, side: tuple[int, int, int]) -> str:
        """Who states it."""
        round_, node, _ = side
        return self.rounds[round_].accounts[node]

    def fitting(self, round_: int, lower: int, higher: int) -> dict[int, int]:
        """Agreed energy by step, Wh, where it is not zero."""
        bids = self.rounds[round_].bids
        own, other = bids.get((lower, higher), {}), bids.get((higher, lower), {})
        if own.keys() != other.keys():
            return {}
        energies = {step: agreed(own[step], other[step], self.milliwatt, self.seconds) for step in sorted(own)}
        return {step: energy for step, energy in energies.items() if energy}

    def release(self, now: int, round_: int, account: str, partner: int) -> None:
        side = (round_, self.node_in(round_, account), partner)
        if side not in self.sides or self.sides[side].amount == 0:
            raise Refused("NothingLocked")
        if now <= self.sides[side].deadline:
            raise Refused("LockedUntil")
        self._end_lock(side, account)

    def _end_lock(self, side: tuple[int, int, int], account: str) -> None:
        old = self.sides.pop(side, Stated(()))
        self.locked[account] -= old.amount
        self._credit(account, old.amount)

    # ------------------------------------------------------------------ delivery

    def deliver(self, round_: int, node: int, energies: Sequence[int]) -> None:
        """A reading with a good signature and all recorded positions."""
        ended = self.rounds[round_]
        if (round_, node) in self.delivered:
            raise Refused("AlreadyDelivered")
        amount = self._deviation(round_, node, energies)
        if node not in ended.accounts:
            raise Refused("WrongReading")
        account = ended.accounts[node]
        if amount >= 0:
            self._take(self.supplier, amount)
            self._credit(account, amount)
        else:
            self._charge(account, -amount)
        self.delivered[round_, node] = amount
        self._book(round_, node, amount)

    def correct(self, party: str, round_: int, node: int, energies: Sequence[int]) -> None:
        """A party's consent to another reading; the second settles the difference."""
        if (round_, node) not in self.delivered:
            raise Refused("NotDelivered")
        account = self.rounds[round_].accounts[node]
        if party not in (account, self.supplier):
            raise Refused("NotConcerned")
        amount = self._deviation(round_, node, energies)
        consents = {**self.consents.get((round_, node), {}), party: tuple(energies)}
        if consents.get(account) != consents.get(self.supplier):
            self.consents[round_, node] = consents
            return
        change = amount - self.delivered[round_, node]
        if change < 0:
            self._charge(account, -change)
        else:
            cancelled = min(change, self.arrears[account])
            if self.free[self.supplier] < change - cancelled:
                raise Refused("InsufficientDeposit")
            self.arrears[account] -= cancelled
            self.free[self.supplier] -= change - cancelled
            self.free[account] += change - cancelled
        self.consents[round_, node] = {}
        self.delivered[round_, node] = amount
        self._book(round_, node, change)

    def forgive(self, party: str, account: str, amount: int) -> None:
        if party != self.supplier:
            raise Refused("NotSupplier")
        self.arrears[account] -= min(amount, self.arrears[account])

    def _deviation(self, round_: int, node: int, energies: Sequence[int]) -> int:
        """What the supplier pays for a reading beyond the recorded trades."""
        tariff = self.rounds[round_].tariff
        if tariff is None:
            raise Refused("WrongTariff")
        sold = [0] * len(energies)
        for (of, lower, higher), entries in self.recorded.items():
            for step, energy, _ in entries if of == round_ and node in (lower, higher) else ():
                sold[step] += energy if node == lower else -energy
        return delivery_payment(energies, sold, tariff, self.decimals)

    def _charge(self, account: str, amount: int) -> None:
        paid = min(amount, self.free[account])
        self.free[account] -= paid
        self.free[self.supplier] += paid
        self.arrears[account] += amount - paid

    def _book(self, round_: int, node: int, amount: int) -> None:
        self.net[round_, node] += amount
        self.supplier_net[round_] -= amount

    # ------------------------------------------------------------------ views

    def node_in(self, round_: int, account: str) -> int:
        for node, who in self.rounds[round_].accounts.items():
            if who == account:
                return node
        raise Refused("NotEnrolled")

    def positions(self, round_: int, node: int) -> list[tuple[int, Entries]]:
        """The recorded trades of a node, partners ascending."""
        found = [
            (higher if node == lower else lower, entries)
            for (of, lower, higher), entries in self.recorded.items()
            if of == round_ and node in (lower, higher)
        ]
        return sorted(found)
