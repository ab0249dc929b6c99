"""What members offered an aggregator, what it called for, and how much of that was delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridpact.chain.flexibility import CallOutcome, Flexibility, FlexibilityCall, MemberOffer, OfferTerms
from gridpact.errors import InputError


@dataclass(frozen=True)
class DeliveredStep:
    """Of a call. Energies Wh, fed into the grid (negative: drawn)."""

    step: int
    baseline_wh: int
    asked_wh: int  # otherwise than the baseline
    read_wh: int | None  # None: nobody has read it

    @property
    def moved_wh(self) -> int | None:
        """What was read otherwise than the baseline."""
        return None if self.read_wh is None else self.read_wh - self.baseline_wh

    def paid_wh(self) -> int:
        """What is between nothing and what was asked for."""
        if self.moved_wh is None or self.moved_wh * self.asked_wh <= 0:
            return 0
        return min(abs(self.moved_wh), abs(self.asked_wh))

    def away_wh(self) -> int:
        """What was read otherwise than asked for."""
        return 0 if self.moved_wh is None else abs(self.moved_wh - self.asked_wh)


def delivered_steps(call: FlexibilityCall, readings: Mapping[tuple[int, int], int]) -> list[DeliveredStep]:
    """Step by step.

    Args:
        readings: what was read, by step and node.
    """
    return [
        DeliveredStep(step, baseline, asked, readings.get((step, call.node)))
        for step, (baseline, asked) in enumerate(zip(call.baselines_wh, call.energies_wh, strict=True), call.first)
    ]


def control_share(terms: OfferTerms) -> float:
    """The share of calls that are to be for nothing, 0 kWh, so that no member gains by nominating falsely.

    A member whose baseline is d away from what it will do, on the side that it is called to, is paid up to price * d a
    call for what it does anyway, whom delivering costs no more than the price. Called for 0 kWh it pays
    fine * (d - tolerance). So with a share q = price / (price + fine) of such calls, which it cannot foresee, what
    it gains is at most q * fine * tolerance a step, as long as the bond covers fine * d.
    """
    return terms.price / (terms.price + terms.fine) if terms.price else 0.0


def comes_to(steps: Sequence[DeliveredStep], terms: OfferTerms, units: int) -> CallOutcome:
    """What a call comes to by what was read of it.

    Args:
        terms: of its offer, with what is left of the bond.
        units: of the token in a unit of currency.
    """
    read = [one for one in steps if one.read_wh is not None]
    delivered = sum(one.paid_wh() for one in read)
    otherwise = sum(max(one.away_wh() - terms.tolerance_wh, 0) for one in read)
    kept = sum(one.away_wh() <= terms.tolerance_wh for one in read)
    worth = delivered * terms.price - otherwise * terms.fine
    due = -(-worth * units // 10**9)  # against the aggregator, who takes
    return CallOutcome(max(due + kept * terms.fee, -terms.bond), delivered, otherwise, kept)


@dataclass(frozen=True)
class Flexible:
    """All offers, and the calls with what they came to."""

    offers: list[MemberOffer]
    calls: list[tuple[FlexibilityCall, CallOutcome | None]]


def standing_of(flexibility: Flexibility, day: int | None) -> Flexible:
    """All offers; of the calls those of a day, or all."""
    offers, calls = flexibility.history()
    return Flexible(offers, [(call, outcome) for call, outcome in calls if day in (None, call.day)])


def settled_now(flexibility: Flexibility, number: int | None) -> list[tuple[FlexibilityCall, CallOutcome]]:
    """Settles a call, or all whose steps the day's settlement has settled: anybody may.

    Raises:
        InputError: there is no such call, it is settled, or its steps are not.
    """
    sought = [call for call, _ in flexibility.history()[1]] if number is None else [flexibility.call_of(number)]
    paid = []
    for call in sought:
        end = call.first + len(call.energies_wh)
        due = flexibility.ledger.standing(call.day).next >= end
        if number is not None and call.settled:
            raise InputError(f"Call {number} is settled; `gridpact flexibility status` shows what it came to.")
        if number is not None and not due:
            raise InputError(
                f"The steps of call {number} are not settled yet: `gridpact positions --settle --day {call.day}` does"
                " that once they are over and read, or too late to be."
            )
        if call.settled or not due:
            continue
        flexibility.settle(call.number)
        outcome = flexibility.outcome(call.number)
        assert outcome is not None
        paid.append((call, outcome))
    return paid
