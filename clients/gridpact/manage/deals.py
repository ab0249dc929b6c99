"""What members of a day have agreed on in pairs beside its rounds, and ending what of it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridpact.chain.contract import arguments_of
from gridpact.chain.day import DaySettlement

OFFERED, HELD = 1, 2
"""States on the chain of options and forwards that have not ended."""


@dataclass(frozen=True)
class DealStanding:
    """Where a spot offer, an option or a forward stands."""

    number: int
    kind: str  # spot, option, forward
    step: int
    seller: int | None  # parties; of a spot offer its poster
    buyer: int | None
    energy_wh: int  # of a spot offer what is left of it
    price: int  # 1e-6 currency/kWh; of an option its strike, of a forward its base
    state: str  # offered, held, taken, exercised, settled, lapsed
    ends: int | None  # unix time from which on anybody may end it; None where it has ended

    def is_over(self, now: int) -> bool:
        """Whether it can be ended at a time of the chain."""
        return self.ends is not None and now >= self.ends


def deals_of(ledger: DaySettlement, day: int) -> list[DealStanding]:
    """All of a day, in the order in which they were offered."""
    products, kinds = ledger.products, {"SpotPosted": _spot, "OptionWritten": _option, "ForwardOffered": _forward}
    offered = [(int(arguments_of(one)["id"]), of) for event, of in kinds.items() for one in products.offers(event, day)]
    return [of(ledger, day, number) for number, of in sorted(offered, key=lambda pair: pair[0])]


def end_over(ledger: DaySettlement, deals: Sequence[DealStanding], now: int) -> int:
    """Ends what is over of them, so that nothing stays locked for it, and pays forwards: anybody may.

    Returns:
        How many.
    """
    products = ledger.products
    ends = {"spot": products.end_spot, "option": products.end_option, "forward": products.end_forward}
    over = [deal for deal in deals if deal.is_over(now)]
    for deal in over:
        end = products.settle_forward if (deal.kind, deal.state) == ("forward", "held") else ends[deal.kind]
        end(deal.number)
    return len(over)


def _spot(ledger: DaySettlement, day: int, number: int) -> DealStanding:
    _, step, poster, sells, left, price, _ = ledger.products.standing("spot", number)
    state = "offered" if left else "lapsed" if ledger.products.has("SpotEnded", number) else "taken"
    seller, buyer = (poster, None) if sells else (None, poster)
    ends = ledger.gate_of(day, step) if left else None
    return DealStanding(number, "spot", step, seller, buyer, left, price, state, ends)


def _option(ledger: DaySettlement, day: int, number: int) -> DealStanding:
    _, step, writer, buyer, stands, energy, strike, until, *_ = ledger.products.standing("option", number)
    state, ends = "lapsed", None
    if stands == OFFERED:
        state, ends = "offered", until
    elif stands == HELD:
        state, ends = "held", ledger.gate_of(day, step)
    elif ledger.products.has("OptionExercised", number):
        state = "exercised"
    return DealStanding(number, "option", step, writer, buyer or None, energy, strike, state, ends)


def _forward(ledger: DaySettlement, day: int, number: int) -> DealStanding:
    """One that is held can be settled once its condition is reported, or no report is waited for."""
    _, step, seller, buyer, _, _, stands, energy, until, *_, formula = ledger.products.standing("forward", number)
    base, *_, oracle = formula
    state, ends = "lapsed", None
    if stands == OFFERED:
        state, ends = "offered", until
    elif stands == HELD:
        late = ledger.start_of(day, step + 1) + ledger.terms(day).reading_seconds + 1
        state, ends = "held", 0 if ledger.products.is_reported(oracle, day, step) else late
    elif ledger.products.has("ForwardSettled", number):
        state = "settled"
    return DealStanding(number, "forward", step, seller or None, buyer or None, energy, base, state, ends)
