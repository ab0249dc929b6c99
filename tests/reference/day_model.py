"""A day's settlement and its products in plain Python: dictionaries, one rule a method, nothing packed.

What a step comes to is worked out by `gridpact.products`, which knows nothing of the contract.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    payments: list[int]  # received by members, and the supplier
    uncovered: list[int]
    pool_wh: int
    pool_price: int
    deviation: int


def cleared(
    nets: Sequence[int],
    deviations: Sequence[int],
    balances: Sequence[int],
    shares: Sequence[int],
    terms: Terms,
    prices: tuple[int, int],
    supplier_balance: int,
) -> Cleared:
    """A step, of a token with six decimals."""
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
    matched = pool(pooled, bought, fed_in, rules)
    shared = imbalance(deviations, terms.adder, terms.most_adder)
    left = [balance - paid for balance, paid in zip(balances, matched.paid, strict=False)]
    uncovered = [0] * len(nets)
    claims = [0] * len(nets)
    has = supplier_balance
    for k, net in enumerate(nets):
        rest = net - matched.got_wh[k]
        due = truncated(rest * (bought if rest > 0 else fed_in), 1000) + shared.owed[k]
        claims[k] = max(-due, 0)
        paid = min(max(due, 0), left[k])
        uncovered[k] = max(due, 0) - paid
        left[k] -= paid
        has += paid
    kept = claims if sum(claims) <= has else list(apportioned(has, claims))
    for k, amount in enumerate(kept):
        uncovered[k] -= claims[k] - amount
        left[k] += amount
        has -= amount
    payments = [now - before for now, before in zip(left, balances, strict=True)]
    return Cleared([*payments, has - supplier_balance], uncovered, matched.energy_wh, matched.price, shared.net_wh)


@dataclass
class Day:
    index: int
    terms: Terms
    tariff: Sequence[tuple[int, int]]
    shares: Mapping[int, int]
    members: dict[int, str] = field(default_factory=dict)
    balances: dict[int, int] = field(default_factory=dict)
    committed: int = 0  # locked for it, by whatever way
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
    def __init__(self, steps: int, supplier: str, accounts: Mapping[int, str], rounds: Mapping[int, Agreed]) -> None:
        self.steps, self.supplier, self.accounts, self.rounds = steps, supplier, accounts, rounds
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
        return self.supplier if party == SUPPLIER else self.days[day].members[party]

    def open_day(
        self, now: int, who: str, day: int, terms: Terms, tariff: Sequence[tuple[int, int]], shares: Sequence[int],
        lock: int,
    ) -> None:  # fmt: skip
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
        if len(tariff) != self.steps:
            raise Refused("LengthMismatch")
        self._lock(who, lock)
        opened = Day(len(self.days) + 1, terms, tariff, dict(enumerate(shares)))
        opened.balances[SUPPLIER] = opened.committed = lock
        self.days[day] = opened

    def join(self, now: int, who: str, day: int, same_terms: bool, lock: int) -> None:
        joined = self._opening(now, day, 0)
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
        joined.balances[node] = lock
        joined.committed += lock

    def bring(self, now: int, day: int, round_: int, node: int, partners: Sequence[int], right: bool) -> None:
        into, agreed = self._day(day), self.rounds[round_]
        rest = agreed.label ^ LABEL
        ours = agreed.label == day or (agreed.label >= LABEL and rest >> 8 == into.index)
        if not agreed.counts or not ours or into.members.get(node, "-") != agreed.accounts.get(node):
            raise Refused("RoundOfOther")
        first = 0 if agreed.label == day else rest & 0xFF
        seen: set[int] = set()
        for partner in partners:
            if (min(node, partner), max(node, partner)) not in agreed.recorded or not right:
                raise Refused("NotRecorded")
            if (round_, node, partner) in self.brought or partner in seen:
                raise Refused("BroughtAlready")
            seen.add(partner)
        for partner in partners:
            sides = [(node, partner)]
            if into.members.get(partner, "-") == agreed.accounts.get(partner):
                sides.append((partner, node))
            for one, other in sides:
                if (round_, one, other) in self.brought:
                    continue
                self.brought.add((round_, one, other))
                for step, energy, _ in agreed.recorded[min(node, partner), max(node, partner)]:
                    if step >= first and now < into.gate(step):
                        into.positions[one, step] += energy if one < other else -energy

    def nominate(self, now: int, who: str, day: int, first: int, energies: Sequence[int]) -> None:
        into = self._opening(now, day, first)
        node = self.party(day, who)
        if node == SUPPLIER:
            raise Refused("NotMember")
        if len(energies) != self.steps - first:
            raise Refused("LengthMismatch")
        for step, energy in enumerate(energies, first):
            into.nominated[node, step] = energy

    def move(self, day: int, seller: int, buyer: int, step: int, energy: int) -> None:
        self.days[day].positions[seller, step] += energy
        self.days[day].positions[buyer, step] -= energy

    # ------------------------------------------------------------------ products

    def _offerable(self, now: int, day: int, step: int, energy: int, until: int) -> Day:
        into = self._opening(now, day, step)
        if not energy:
            raise Refused("NoEnergy")
        if until > into.gate(step):
            raise Refused("UntilAfterGate")
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
        self._offerable(now, day, step, energy, 0)
        by = self.party(day, who)
        payment = truncated(energy * price, 1000)
        lock = abs(payment) if sells == (payment < 0) else 0
        self._lock(who, lock)
        self._new(Offer("spot", day, step, by, energy, sells=sells, price=price, locks={by: lock}))

    def take_spot(self, now: int, who: str, number: int, energy: int) -> None:
        offer = self._found("spot", number, "offered")
        self._opening(now, offer.day, offer.step)
        self._take_energy(offer, energy)
        taker = self.party(offer.day, who)
        if taker == offer.by:
            raise Refused("OwnOffer")
        payment, poster = truncated(energy * offer.price, 1000), self.account(offer.day, offer.by)
        if offer.sells == (payment < 0):
            self.locked[poster] -= abs(payment)
            offer.locks[offer.by] -= abs(payment)
            self.free[who] += abs(payment)
        else:
            self._take(who, abs(payment))
            self.free[poster] += abs(payment)
        offer.energy -= energy
        seller, buyer = (offer.by, taker) if offer.sells else (taker, offer.by)
        self.move(offer.day, seller, buyer, offer.step, energy)
        if not offer.energy:
            self._end(offer)

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
        into = self._offerable(now, day, step, energy, until)
        owed = into.tariff[step][0] + into.terms.adder
        if owed > 0 and collateral < energy * owed // 1000 + 1:
            raise Refused("CollateralTooSmall")
        by = self.party(day, who)
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
        into = self._opening(now, offer.day, offer.step)
        assert offer.other is not None
        if who != self.account(offer.day, offer.other):
            raise Refused("NotYours")
        self._take_energy(offer, energy)
        payment = energy * offer.price // 1000
        self._take(who, payment)
        self.free[self.account(offer.day, offer.by)] += payment
        into.balances[offer.by] += offer.locks[offer.by]
        into.committed += offer.locks[offer.by]
        offer.locks, offer.state = {}, "ended"
        self.move(offer.day, offer.by, offer.other, offer.step, energy)

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
        lock = self._worst(energy, sells, formula)
        self._lock(who, lock)
        self._new(Offer("forward", day, step, by, energy, sells=sells, until=until, locks={by: lock}, formula=formula))

    @staticmethod
    def _worst(energy: int, sells: bool, formula: tuple[int, int, int, int, int, str]) -> int:
        """The most that a side can have to pay."""
        _, _, floor, cap, _, _ = formula
        return max(-truncated(energy * floor, 1000), 0) if sells else max(truncated(energy * cap, 1000), 0)

    def take_forward(self, now: int, who: str, number: int) -> None:
        offer = self._found("forward", number, "offered")
        if now >= offer.until:
            raise Refused("OfferEnded")
        taker = self.party(offer.day, who)
        if taker == offer.by:
            raise Refused("OwnOffer")
        assert offer.formula is not None
        lock = self._worst(offer.energy, not offer.sells, offer.formula)
        self._lock(who, lock)
        offer.other, offer.state = taker, "taken"
        offer.locks[taker] = lock
        seller, buyer = (offer.by, taker) if offer.sells else (taker, offer.by)
        self.move(offer.day, seller, buyer, offer.step, offer.energy)

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
        payment = truncated(offer.energy * price, 1000)
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

    def settle_step(self, now: int, day: int) -> Cleared:
        into = self._day(day)
        step = into.next
        if step == self.steps:
            raise Refused("StepsLeft")
        if now < into.start(step + 1):
            raise Refused("StepNotOver")
        read = {node for node in into.members if (step, node) in into.readings}
        if now <= into.report_end(step) and read != into.members.keys():
            raise Refused("ReadingsAwaited")
        nodes = sorted(into.members)
        nets, deviations = [], []
        for node in nodes:
            nominated = into.nominated[node, step]
            net, deviation = max(nominated, 0), 0
            if node in read:
                sold, fed = into.positions[node, step], into.readings[step, node]
                net = sold - fed
                deviation = net - nominated
                if sold:
                    had, delivered = self.history[into.members[node]]
                    missing = net if sold > 0 else -net
                    self.history[into.members[node]] = (had + 1, delivered + (missing <= into.terms.tolerance))
            nets.append(net)
            deviations.append(deviation)
        result = cleared(
            nets,
            deviations,
            [into.balances[node] for node in nodes],
            [into.shares.get(node, 0) for node in nodes],
            into.terms,
            (into.tariff[step][0], into.tariff[step][1]),
            into.balances[SUPPLIER],
        )
        for party, payment in zip([*nodes, SUPPLIER], result.payments, strict=True):
            into.balances[party] += payment
            self.locked[self.account(day, party)] += payment
        into.next += 1
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
        into.committed = 0
