"""A day's settlement and its products in plain Python: dictionaries, one rule a method, nothing packed.

What a step comes to is worked out by `gridpact.products`, which knows nothing of the contract.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from gridpact.products.imbalance import imbalance
from gridpact.products.pool import Key, PoolRules, Pricing, pool
from gridpact.products.shares import apportioned

SUPPLIER = 255
LABEL = 2**31
ONE = 10**9


class Refused(Exception):
    """The name of the error."""


def truncated(product: int, unit: int) -> int:
    """Towards zero."""
    return product // unit if product >= 0 else -(-product // unit)


def due(product: int, unit: int) -> int:
    """What is owed by who takes: a begun unit as a whole; below zero, whole units that it is paid."""
    return -(-product // unit)


def payment_of(energy: int, price: int, buyer_takes: bool) -> int:
    """From buyer to seller, rounded against who takes; of a token with six decimals."""
    return due(energy * price, 1000) if buyer_takes else -due(-energy * price, 1000)


@dataclass(frozen=True)
class Terms:
    start: int
    step_seconds: int
    gate_seconds: int
    reading_seconds: int
    key: int
    pricing: int
    adder: int
    tolerance: int
    least_lock: int
    most_adder: int

    def encoded(self) -> tuple[int, ...]:
        return (
            self.start, self.step_seconds, self.gate_seconds, self.reading_seconds, self.key, self.pricing, self.adder,
            self.tolerance, self.least_lock, self.most_adder,
        )  # fmt: skip


@dataclass(frozen=True)
class Cleared:
    payments: list[int]  # received by customers, and their supplier
    uncovered: list[int]
    pool_wh: int
    pool_price: int
    deviation: int


def supplied(energy: int, bought: int, fed_in: int) -> int:
    """What energy that is lacking, or (negative) over, is worth."""
    return energy * (bought if energy > 0 else fed_in)


def cleared(
    nets: Sequence[int],
    positions: Sequence[int],
    deviations: Sequence[int],
    balances: Sequence[int],
    shares: Sequence[int],
    terms: Terms,
    prices: tuple[int, int],
    supplier_balance: int,
    trade_fee: int = 0,
    peak_fee: int = 0,
    peaks: Sequence[int] | None = None,
) -> Cleared:
    """A step among a supplier and its customers, of a token with six decimals.

    Args:
        peaks: what each drew beyond the most of the period, Wh; default nothing.
    """
    bought, fed_in = prices
    dearest = max(bought, -fed_in)
    able = [abs(net) * dearest // 1000 + 1 <= balance for net, balance in zip(nets, balances, strict=True)]
    pooled = [net if can else 0 for net, can in zip(nets, able, strict=True)]
    if terms.key == 2:  # whoever has a share and is not there is one that lacks nothing
        rules = PoolRules(
            Key.FIXED, list(Pricing)[terms.pricing], tuple(share / ONE for share in (*shares, ONE - sum(shares)))
        )
        pooled.append(0)
    else:
        rules = PoolRules((Key.PROPORTIONAL, Key.EQUAL)[terms.key], list(Pricing)[terms.pricing])
    matched = pool(pooled, bought - trade_fee, fed_in, rules)
    shared = imbalance(deviations, terms.adder, terms.most_adder)
    left = [balance - paid for balance, paid in zip(balances, matched.paid, strict=False)]
    uncovered = [0] * len(nets)
    claims = [0] * len(nets)
    has = supplier_balance
    for k, net in enumerate(nets):
        rest, sold = net - matched.got_wh[k], positions[k]
        if fed_in > bought:  # what was read, and apart from it what was sold at the dearer, or bought at the cheaper
            worth = supplied(rest - sold, bought, fed_in) + max(sold * fed_in, sold * bought)
        else:
            worth = supplied(rest, bought, fed_in)
        stays = max(matched.got_wh[k], 0) + max(-sold, 0)  # from neighbours, by the pool and by the position
        worth += trade_fee * stays + peak_fee * (peaks[k] if peaks is not None else 0)
        owed = due(worth, 1000) + shared.owed[k]
        claims[k] = max(-owed, 0)
        paid = min(max(owed, 0), left[k])
        uncovered[k] = max(owed, 0) - paid
        left[k] -= paid
        has += paid
    kept = claims if sum(claims) <= has else list(apportioned(has, claims))
    for k, amount in enumerate(kept):
        uncovered[k] -= claims[k] - amount
        left[k] += amount
        has -= amount
    payments = [now - before for now, before in zip(left, balances, strict=True)]
    return Cleared([*payments, has - supplier_balance], uncovered, matched.energy_wh, matched.price, shared.net_wh)


@dataclass(frozen=True)
class Tariff:
    """What a supplier asks: import and feed-in price of each step, and fees."""

    prices: Sequence[tuple[int, int]]
    trade_fees: Sequence[int] = ()  # of each step; none: no fees at all
    peak_fee: int = 0
    period: int | None = None  # over which a peak counts; None: the day

    def trade_fee(self, step: int) -> int:
        return self.trade_fees[step] if self.trade_fees else 0

    def encoded(self) -> bytes:
        found = b"".join(price.to_bytes(4, "big", signed=True) for both in self.prices for price in both)
        if self.trade_fees:
            found += b"".join(fee.to_bytes(4, "big", signed=True) for fee in self.trade_fees)
            found += self.peak_fee.to_bytes(6, "big")
        return found if self.period is None else found + self.period.to_bytes(4, "big")


@dataclass
class Day:
    index: int
    terms: Terms
    tariffs: dict[str, Tariff]  # by supplier, the community's first
    shares: Mapping[int, int]
    members: dict[int, str] = field(default_factory=dict)
    suppliers: dict[int, str] = field(default_factory=dict)  # of members
    balances: dict[int, int] = field(default_factory=dict)
    positions: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))  # node, step
    nominated: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    readings: dict[tuple[int, int], int] = field(default_factory=dict)  # step, node
    next: int = 0
    closed: bool = False

    def start(self, step: int) -> int:
        return self.terms.start + step * self.terms.step_seconds

    def gate(self, step: int) -> int:
        return self.start(step) - self.terms.gate_seconds

    def report_end(self, step: int) -> int:
        return self.start(step + 1) + self.terms.reading_seconds

    def supplier_party(self, name: str) -> int:
        return SUPPLIER - list(self.tariffs).index(name)

    def cover(self, node: int, step: int, position: int) -> int:
        """What a member's position costs at worst, if nothing of it is fed in or drawn."""
        tariff = self.tariffs[self.suppliers[node]]
        dear, cheap = max(tariff.prices[step]), min(tariff.prices[step])
        # The fee on what was bought is due in any case, and at worst it pays besides for having it over.
        over = min(cheap - self.terms.adder, 0) - tariff.trade_fee(step)
        price = dear + self.terms.adder if position > 0 else over
        return max(due(position * price, 1000), 0)

    def covers(self) -> dict[int, int]:
        """Of positions in steps that are not settled, by node."""
        found = dict.fromkeys(self.members, 0)
        for (node, step), position in self.positions.items():
            if step >= self.next and node != SUPPLIER:
                found[node] += self.cover(node, step, position)
        return found


@dataclass
class Offer:
    """A spot offer, an option or a forward."""

    kind: str
    day: int
    step: int
    by: int
    energy: int
    state: str = "offered"
    sells: bool = True
    price: int = 0
    until: int = 0
    premium: int = 0
    other: int | None = None
    locks: dict[int, int] = field(default_factory=dict)  # by party
    formula: tuple[int, int, int, int, int, str] | None = None  # base, slope, floor, cap, usual, oracle


@dataclass(frozen=True)
class Agreed:
    """A round that has ended, as the trade settlement has it."""

    label: int
    accounts: Mapping[int, str]
    recorded: Mapping[tuple[int, int], Sequence[tuple[int, int, int]]]  # lower, higher
    counts: bool = True  # agreed, and without a tariff of its own


class DayModel:
    def __init__(
        self,
        steps: int,
        supplier: str,
        accounts: Mapping[int, str],
        rounds: Mapping[int, Agreed],
        others: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            others: suppliers of those who are not the community's supplier's customers.
        """
        self.steps, self.supplier, self.accounts, self.rounds = steps, supplier, accounts, rounds
        self.others = dict(others or {})
        self.admitted = set(self.others.values())  # suppliers besides the community's
        self.peaks: dict[tuple[str, str, int], int] = defaultdict(int)  # account, supplier, period
        self.free: dict[str, int] = defaultdict(int)
        self.locked: dict[str, int] = defaultdict(int)
        self.days: dict[int, Day] = {}
        self.offers: dict[int, Offer] = {}
        self.reports: dict[tuple[str, int, int], int] = {}
        self.brought: set[tuple[int, int, int]] = set()
        self.history: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    # ------------------------------------------------------------------ money

    def deposit(self, who: str, amount: int) -> None:
        self.free[who] += amount

    def withdraw(self, who: str, amount: int) -> None:
        self._take(who, amount)

    def _take(self, who: str, amount: int) -> None:
        if amount > self.free[who]:
            raise Refused("InsufficientDeposit")
        self.free[who] -= amount

    def _lock(self, who: str, amount: int) -> None:
        self._take(who, amount)
        self.locked[who] += amount

    def _unlock(self, who: str, amount: int) -> None:
        self.locked[who] -= amount
        self.free[who] += amount

    # ------------------------------------------------------------------ the day

    def _day(self, day: int) -> Day:
        if day not in self.days:
            raise Refused("NoSuchDay")
        return self.days[day]

    def _opening(self, now: int, day: int, step: int) -> Day:
        found = self._day(day)
        if step >= self.steps:
            raise Refused("NoSuchStep")
        if now >= found.gate(step):
            raise Refused("GateClosed")
        return found

    def party(self, day: int, who: str) -> int:
        for node, account in self.days[day].members.items() if day in self.days else ():
            if account == who:
                return node
        if who == self.supplier:
            return SUPPLIER
        raise Refused("NotMember")

    def account(self, day: int, party: int) -> str:
        if party > 127:
            return list(self.days[day].tariffs)[SUPPLIER - party]
        return self.days[day].members[party]

    def _check_tariff(self, tariff: Tariff) -> None:
        if len(tariff.prices) != self.steps or len(tariff.trade_fees) not in (0, self.steps):
            raise Refused("LengthMismatch")
        if any(fee < 0 for fee in tariff.trade_fees):
            raise Refused("FeeBelowZero")

    def open_day(
        self, now: int, who: str, day: int, terms: Terms, tariff: Tariff, shares: Sequence[int], lock: int
    ) -> None:
        if who != self.supplier:
            raise Refused("NotSupplier")
        if day in self.days:
            raise Refused("DayOpenedAlready")
        if day >= LABEL or not 0 < terms.step_seconds <= 2**24 or terms.start <= now + terms.gate_seconds:
            raise Refused("InvalidTerms")
        if shares and terms.key != 2:
            raise Refused("LengthMismatch")
        if terms.key == 2 and sum(shares) != ONE:
            raise Refused("SharesDoNotSumToOne")
        self._check_tariff(tariff)
        self._lock(who, lock)
        opened = Day(len(self.days) + 1, terms, {who: tariff}, dict(enumerate(shares)))
        opened.balances[SUPPLIER] = lock
        self.days[day] = opened

    def supply_day(self, now: int, who: str, day: int, same_terms: bool, tariff: Tariff, lock: int) -> None:
        supplied = self._opening(now, day, 0)
        if who not in self.admitted:
            raise Refused("NotSupplier")
        if not same_terms:
            raise Refused("OtherTerms")
        if who in supplied.tariffs:
            raise Refused("SuppliesAlready")
        self._check_tariff(tariff)
        self._lock(who, lock)
        supplied.tariffs[who] = tariff
        supplied.balances[supplied.supplier_party(who)] = lock

    def join(self, now: int, who: str, day: int, same_terms: bool, lock: int) -> None:
        joined = self._opening(now, day, 0)
        supplier = self.others.get(who, self.supplier)
        if supplier not in joined.tariffs:
            raise Refused("NotSupplied")
        if not same_terms:
            raise Refused("OtherTerms")
        if lock < joined.terms.least_lock:
            raise Refused("LockTooSmall")
        node = next((node for node, account in self.accounts.items() if account == who), None)
        if node is None:
            raise Refused("NotEnrolled")
        if node in joined.members:
            raise Refused("JoinedAlready")
        self._lock(who, lock)
        joined.members[node] = who
        joined.suppliers[node] = supplier
        joined.balances[node] = lock

    def bring(self, now: int, day: int, round_: int, node: int, partners: Sequence[int], right: bool) -> None:
        into, agreed = self._day(day), self.rounds[round_]
        rest = agreed.label ^ LABEL
        ours = agreed.label == day or (agreed.label >= LABEL and rest >> 8 == into.index)
        if not agreed.counts or not ours or not self._takes_part(into, agreed, node):
            raise Refused("RoundOfOther")
        first = 0 if agreed.label == day else rest & 0xFF
        own: dict[int, int] = defaultdict(int)
        with self._whole():
            for partner in partners:
                pair = min(node, partner), max(node, partner)
                if pair not in agreed.recorded or not right:
                    raise Refused("NotRecorded")
                if (round_, *pair) in self.brought:
                    raise Refused("BroughtAlready")
                sold: dict[int, int] = defaultdict(int)
                for step, energy, _ in agreed.recorded[pair]:
                    if step >= first and now < self.days[day].gate(step):
                        sold[step] += energy if partner < node else -energy
                if not self._takes_part(into, agreed, partner):
                    continue
                if not self._change(day, partner, sold):
                    continue
                self.brought.add((round_, *pair))
                for step, energy in sold.items():
                    own[step] -= energy
            if not self._change(day, node, own):
                raise Refused("InsufficientDeposit")

    @staticmethod
    def _takes_part(into: Day, agreed: Agreed, node: int) -> bool:
        """Whether a node of a round is a member by the same account."""
        return into.members.get(node, "-") == agreed.accounts.get(node)

    def nominate(self, now: int, who: str, day: int, first: int, energies: Sequence[int]) -> None:
        into = self._opening(now, day, first)
        node = self.party(day, who)
        if node == SUPPLIER:
            raise Refused("NotMember")
        if len(energies) != self.steps - first:
            raise Refused("LengthMismatch")
        for step, energy in enumerate(energies, first):
            into.nominated[node, step] = energy

    def _change(self, day: int, party: int, sold: Mapping[int, int]) -> bool:
        """Adds to positions, and covers them: from the balance beyond the least lock, then from what is free. Whether
        that is enough; else nothing changes."""
        if party == SUPPLIER:
            return True
        into, who = self.days[day], self.account(day, party)
        more = sum(
            into.cover(party, step, into.positions[party, step] + energy)
            - into.cover(party, step, into.positions[party, step])
            for step, energy in sold.items()
        )
        own = min(more, max(into.balances[party] - into.terms.least_lock, 0))
        if more - own > self.free[who]:
            return False
        into.balances[party] -= own
        self._lock(who, more - own)
        for step, energy in sold.items():
            into.positions[party, step] += energy
        return True

    def _move(self, day: int, seller: int, buyer: int, step: int, energy: int) -> None:
        if not (self._change(day, seller, {step: energy}) and self._change(day, buyer, {step: -energy})):
            raise Refused("InsufficientDeposit")

    def _pay(self, payer: str, payee: str, amount: int) -> None:
        if amount < 0:
            payer, payee = payee, payer
        self._take(payer, abs(amount))
        self.free[payee] += abs(amount)

    def _cover_of(self, day: int, party: int, step: int, sold: int) -> int:
        return 0 if party == SUPPLIER else self.days[day].cover(party, step, sold)

    # ------------------------------------------------------------------ products

    def _offerable(self, now: int, day: int, step: int, energy: int, until: int | None = None) -> Day:
        into = self._opening(now, day, step)
        if not energy:
            raise Refused("NoEnergy")
        if until is not None and until > into.gate(step):
            raise Refused("UntilAfterGate")
        if until is not None and now >= until:
            raise Refused("UntilOver")
        return into

    def _new(self, offer: Offer) -> None:
        self.offers[len(self.offers) + 1] = offer

    def _found(self, kind: str, number: int, *states: str) -> Offer:
        offer = self.offers.get(number)
        if offer is None or offer.kind != kind or offer.state not in states:
            raise Refused("NotOpen")
        return offer

    def _take_energy(self, offer: Offer, energy: int) -> None:
        if not energy:
            raise Refused("NoEnergy")
        if energy > offer.energy:
            raise Refused("TooMuchEnergy")

    def post_spot(self, now: int, who: str, day: int, step: int, sells: bool, energy: int, price: int) -> None:
        self._offerable(now, day, step, energy)
        by = self.party(day, who)
        offer = Offer("spot", day, step, by, energy, sells=sells, price=price)
        offer.locks = {by: self._lock_of(offer)}
        self._lock(who, offer.locks[by])
        self._new(offer)

    def _lock_of(self, spot: Offer) -> int:
        """What its poster would pay for what is left, and what would cover it."""
        payment = payment_of(spot.energy, spot.price, spot.sells)
        sold = spot.energy if spot.sells else -spot.energy
        return max(-payment if spot.sells else payment, 0) + self._cover_of(spot.day, spot.by, spot.step, sold)

    def take_spot(self, now: int, who: str, number: int, energy: int) -> None:
        offer = self._found("spot", number, "offered")
        self._opening(now, offer.day, offer.step)
        self._take_energy(offer, energy)
        taker = self.party(offer.day, who)
        if taker == offer.by:
            raise Refused("OwnOffer")
        payment, poster = payment_of(energy, offer.price, offer.sells), self.account(offer.day, offer.by)
        seller, buyer = (offer.by, taker) if offer.sells else (taker, offer.by)
        with self._whole():
            offer.energy -= energy
            left = self._lock_of(offer)
            self._unlock(poster, offer.locks[offer.by] - left)
            offer.locks = {offer.by: left}
            if offer.sells:
                self._pay(who, poster, payment)
            else:
                self._pay(poster, who, payment)
            self._move(offer.day, seller, buyer, offer.step, energy)
            if not offer.energy:
                self._end(offer)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All of it, or where it is refused nothing."""
        before = self._state()
        try:
            yield
        except Refused:
            self._restore(before)
            raise

    def _state(self) -> dict[str, Any]:
        return deepcopy({name: value for name, value in vars(self).items() if name not in ("accounts", "rounds")})

    def _restore(self, before: dict[str, Any]) -> None:
        vars(self).update(before)

    def _end(self, offer: Offer) -> None:
        for party, lock in offer.locks.items():
            self._unlock(self.account(offer.day, party), lock)
        offer.locks, offer.state = {}, "ended"

    def _may_end(self, now: int, who: str, account: str, until: int) -> None:
        if who != account and now < until:
            raise Refused("NotYours")

    def end_spot(self, now: int, who: str, number: int) -> None:
        offer = self._found("spot", number, "offered")
        self._may_end(now, who, self.account(offer.day, offer.by), self.days[offer.day].gate(offer.step))
        self._end(offer)

    def write_option(
        self, now: int, who: str, day: int, step: int, energy: int, strike: int, premium: int, collateral: int,
        until: int,
    ) -> None:  # fmt: skip
        self._offerable(now, day, step, energy, until)
        by = self.party(day, who)
        if collateral < self._cover_of(day, by, step, energy):
            raise Refused("CollateralTooSmall")
        self._lock(who, collateral)
        self._new(
            Offer("option", day, step, by, energy, price=strike, until=until, premium=premium, locks={by: collateral})
        )

    def take_option(self, now: int, who: str, number: int) -> None:
        offer = self._found("option", number, "offered")
        if now >= offer.until:
            raise Refused("OfferEnded")
        taker = self.party(offer.day, who)
        if taker == offer.by:
            raise Refused("OwnOffer")
        self._take(who, offer.premium)
        self.free[self.account(offer.day, offer.by)] += offer.premium
        offer.other, offer.state = taker, "taken"

    def exercise(self, now: int, who: str, number: int, energy: int) -> None:
        offer = self._found("option", number, "taken")
        self._opening(now, offer.day, offer.step)
        assert offer.other is not None
        if who != self.account(offer.day, offer.other):
            raise Refused("NotYours")
        self._take_energy(offer, energy)
        with self._whole():
            self._pay(who, self.account(offer.day, offer.by), payment_of(energy, offer.price, True))
            self._end(offer)
            self._move(offer.day, offer.by, offer.other, offer.step, energy)

    def end_option(self, now: int, who: str, number: int) -> None:
        offer = self._found("option", number, "offered", "taken")
        party = offer.by if offer.state == "offered" else offer.other
        assert party is not None
        until = offer.until if offer.state == "offered" else self.days[offer.day].gate(offer.step)
        self._may_end(now, who, self.account(offer.day, party), until)
        self._end(offer)

    def offer_forward(
        self, now: int, who: str, day: int, step: int, sells: bool, energy: int,
        formula: tuple[int, int, int, int, int, str], until: int,
    ) -> None:  # fmt: skip
        self._offerable(now, day, step, energy, until)
        base, _, floor, cap, _, _ = formula
        if not floor <= base <= cap:
            raise Refused("InvalidFormula")
        by = self.party(day, who)
        offer = Offer("forward", day, step, by, energy, sells=sells, until=until, formula=formula)
        offer.locks = {by: self._worst(offer, sells) + self._cover_of(day, by, step, energy if sells else -energy)}
        self._lock(who, offer.locks[by])
        self._new(offer)

    @staticmethod
    def _worst(forward: Offer, sells: bool) -> int:
        """The most that a side can have to pay."""
        assert forward.formula is not None
        _, _, floor, cap, _, _ = forward.formula
        worst = payment_of(forward.energy, floor if sells else cap, forward.sells)
        return max(-worst if sells else worst, 0)

    def take_forward(self, now: int, who: str, number: int) -> None:
        offer = self._found("forward", number, "offered")
        if now >= offer.until:
            raise Refused("OfferEnded")
        taker = self.party(offer.day, who)
        if taker == offer.by:
            raise Refused("OwnOffer")
        seller, buyer = (offer.by, taker) if offer.sells else (taker, offer.by)
        with self._whole():
            lock, own = self._worst(offer, not offer.sells), self._worst(offer, offer.sells)
            self._lock(who, lock)
            self._unlock(self.account(offer.day, offer.by), offer.locks[offer.by] - own)
            offer.other, offer.state, offer.locks = taker, "taken", {taker: lock, offer.by: own}
            self._move(offer.day, seller, buyer, offer.step, offer.energy)

    def report(self, now: int, who: str, oracle: str, day: int, step: int, condition: int, signed: bool) -> None:
        if step >= self.steps:
            raise Refused("NoSuchStep")
        into = self._day(day)
        if now < into.start(step):
            raise Refused("ReportTooEarly")
        if now > into.report_end(step):
            raise Refused("ReportTooLate")
        if (oracle, day, step) in self.reports:
            raise Refused("ReportedAlready")
        if who != oracle and not signed:
            raise Refused("NotSignedBy")
        self.reports[oracle, day, step] = condition

    def settle_forward(self, now: int, number: int) -> int:
        offer = self._found("forward", number, "taken")
        assert offer.formula is not None
        assert offer.other is not None
        base, slope, floor, cap, usual, oracle = offer.formula
        condition = self.reports.get((oracle, offer.day, offer.step))
        if condition is None and now <= self.days[offer.day].report_end(offer.step):
            raise Refused("NotReported")
        price = base if condition is None else base + truncated(slope * (condition - usual), 1000)
        price = min(max(price, floor), cap)
        payment = payment_of(offer.energy, price, offer.sells)
        seller, buyer = (offer.by, offer.other) if offer.sells else (offer.other, offer.by)
        self._end(offer)
        self.free[self.account(offer.day, seller)] += payment
        self.free[self.account(offer.day, buyer)] -= payment
        return price

    def end_forward(self, now: int, who: str, number: int) -> None:
        offer = self._found("forward", number, "offered")
        self._may_end(now, who, self.account(offer.day, offer.by), offer.until)
        self._end(offer)

    # ------------------------------------------------------------------ delivery

    def read(self, now: int, day: int, step: int, energies: Mapping[int, int], signed: bool, length: bool) -> None:
        into = self._day(day)
        if step >= self.steps:
            raise Refused("NoSuchStep")
        if now < into.start(step + 1):
            raise Refused("StepNotOver")
        if step < into.next:
            raise Refused("StepSettledAlready")
        if energies.keys() - into.members.keys():
            raise Refused("NotMember")
        if any((step, node) in into.readings for node in energies):
            raise Refused("ReadTwice")
        if not length:
            raise Refused("LengthMismatch")
        if not signed:
            raise Refused("NotSignedBy")
        into.readings |= {(step, node): energy for node, energy in energies.items()}

    def settle_step(self, now: int, day: int) -> dict[str, Cleared]:
        """What it came to, by supplier."""
        into = self._day(day)
        step = into.next
        if step == self.steps:
            raise Refused("StepsLeft")
        if now < into.start(step + 1):
            raise Refused("StepNotOver")
        read = {node for node in into.members if (step, node) in into.readings}
        if now <= into.report_end(step) and read != into.members.keys():
            raise Refused("ReadingsAwaited")
        results = {name: self._settled(into, day, name, step, read) for name in into.tariffs}
        into.next += 1
        return results

    def _settled(self, into: Day, day: int, name: str, step: int, read: set[int]) -> Cleared:
        nodes = sorted(node for node in into.members if into.suppliers[node] == name)
        tariff = into.tariffs[name]
        nets, deviations, peaks = [], [], []
        positions = [into.positions[node, step] for node in nodes]
        for node, sold in zip(nodes, positions, strict=True):
            nominated = into.nominated[node, step]
            net, deviation, beyond = max(sold, 0), 0, 0
            if min(tariff.prices[step]) >= 0:  # else drawing may be paid, which nobody is without a reading
                net = max(net, nominated)
            if node in read:
                fed = into.readings[step, node]
                net = sold - fed
                deviation = net - nominated
                if sold:
                    had, delivered = self.history[into.members[node]]
                    missing = net if sold > 0 else -net
                    self.history[into.members[node]] = (had + 1, delivered + (missing <= into.terms.tolerance))
                if tariff.peak_fee:
                    over = LABEL | into.index if tariff.period is None else tariff.period
                    most = self.peaks[into.members[node], name, over]
                    beyond = max(-fed - most, 0)
                    self.peaks[into.members[node], name, over] = most + beyond
            nets.append(net)
            deviations.append(deviation)
            peaks.append(beyond)
        for node, sold in zip(nodes, positions, strict=True):
            into.balances[node] += into.cover(node, step, sold)
        party = into.supplier_party(name)
        result = cleared(
            nets,
            positions,
            deviations,
            [into.balances[node] for node in nodes],
            [into.shares.get(node, 0) for node in nodes],
            into.terms,
            (tariff.prices[step][0], tariff.prices[step][1]),
            into.balances[party],
            tariff.trade_fee(step),
            tariff.peak_fee,
            peaks,
        )
        for one, payment in zip([*nodes, party], result.payments, strict=True):
            into.balances[one] += payment
            self.locked[self.account(day, one)] += payment
        return result

    def close_day(self, day: int) -> None:
        into = self._day(day)
        if into.next < self.steps:
            raise Refused("StepsLeft")
        if into.closed:
            raise Refused("ClosedAlready")
        into.closed = True
        for party, balance in into.balances.items():
            self._unlock(self.account(day, party), balance)
            into.balances[party] = 0
