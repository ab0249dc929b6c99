"""What settlement contracts take and put out as bytes: statements about trades, tariffs, energies of a meter."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from gridpact.chain.values import TradedStep, TradeRecord
from gridpact.errors import InputError
from gridpact.limits import MOST_STEPS

ENTRY = struct.Struct(">Bii")
"""step uint8, energy int32 (Wh), price int32 (1e-6 currency/kWh): 9 bytes."""


def encode_trades(entries: Sequence[tuple[int, int, int]]) -> bytes:
    """The statement about one pair: (step, energy_wh, price_micro) for each traded step.

    Energy is positive where the lower node sells. Entries may come in any order; a step may occur once.
    """
    ordered = sorted(entries)
    for position, (step, energy, price) in enumerate(ordered):
        if not 0 <= step < MOST_STEPS:
            raise ValueError(f"step {step} is outside 0 to {MOST_STEPS - 1}")
        if position and ordered[position - 1][0] == step:
            raise ValueError(f"step {step} occurs twice")
        for value, what in ((energy, "energy"), (price, "price")):
            if not -(2**31) <= value < 2**31:
                raise ValueError(f"the {what} {value} of step {step} does not fit 32 bits")
    return b"".join(ENTRY.pack(*entry) for entry in ordered)


def decode_trades(trades: bytes) -> tuple[TradedStep, ...]:
    """The inverse of `encode_trades`."""
    return tuple(TradedStep(*entry) for entry in ENTRY.iter_unpack(trades))


PRICES = struct.Struct(">ii")
"""Of a step: import and feed-in price, 1e-6 currency/kWh."""


FEE_BYTES, PEAK_BYTES, PERIOD_BYTES = 4, 6, 4
"""Behind the prices, where there are fees: of each step, of the peak, and of the period over which a peak counts."""


@dataclass(frozen=True)
class TariffFees:
    """What a supplier collects for the grid operator beside its prices, 1e-6 currency/kWh."""

    traded_micro: tuple[int, ...]  # on what is bought from others beyond what is sold to them, one a step
    peak_micro: int  # on the most that is drawn in a step
    period: int | None = None  # over which that is; None: the day. Days know others, rounds do not

    def of(self, energies_wh: Sequence[int], traded_wh: Sequence[int]) -> int:
        """What a day comes to, 1e-9 currency.

        Args:
            energies_wh: fed into the grid (negative: drawn), one a step.
            traded_wh: sold to neighbours (negative: bought), one a step.
        """
        return self.on_trades(traded_wh) + self.on_peak(energies_wh)

    def on_trades(self, traded_wh: Sequence[int]) -> int:
        """The part of `of` that is due on trades."""
        return sum(fee * max(-wh, 0) for fee, wh in zip(self.traded_micro, traded_wh, strict=True))

    def on_peak(self, energies_wh: Sequence[int]) -> int:
        """The part of `of` that is due on the most that is drawn."""
        return self.peak_micro * max(0, -min(energies_wh))


def encode_tariff(import_micro: Sequence[int], feed_in_micro: Sequence[int], fees: TariffFees | None = None) -> bytes:
    """A supplier's prices of a round, 1e-6 currency/kWh, one of each a step, and fees.

    Raises:
        InputError: one is no number that a tariff holds, or a fee is below 0.
    """
    for what, series in (("import price", import_micro), ("feed-in price", feed_in_micro)):
        _check_fits(f"The {what}", series, -(2**31), 2**31)
    if fees is not None:
        _check_fits("The fee on what comes from neighbours", fees.traded_micro, 0, 2**31)
        _check_fits("The peak fee", [fees.peak_micro], 0, 2 ** (8 * PEAK_BYTES))
    prices = b"".join(PRICES.pack(*prices) for prices in zip(import_micro, feed_in_micro, strict=True))
    if fees is None:
        return prices
    traded = struct.pack(f">{len(import_micro)}i", *fees.traded_micro)
    period = b"" if fees.period is None else fees.period.to_bytes(PERIOD_BYTES, "big")
    return prices + traded + fees.peak_micro.to_bytes(PEAK_BYTES, "big") + period


def _check_fits(what: str, micro: Sequence[int], low: int, end: int) -> None:
    for step, value in enumerate(micro):
        if not low <= value < end:
            where = f" of step {step}" if len(micro) > 1 else ""
            raise InputError(
                f"{what}{where} is {value / 1e6:,.6g}, and a tariff holds {low / 1e6:,.6g} to {(end - 1) / 1e6:,.6g}"
                " for a kWh: give another one."
            )


def decode_tariff(tariff: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The prices of `encode_tariff`."""
    prices = list(PRICES.iter_unpack(tariff[: PRICES.size * _steps_of(tariff)]))
    return tuple(imported for imported, _ in prices), tuple(fed_in for _, fed_in in prices)


def decode_fees(tariff: bytes) -> TariffFees | None:
    """The fees of `encode_tariff`."""
    steps = _steps_of(tariff)
    told = tariff[PRICES.size * steps :]
    if not told:
        return None
    traded, rest = told[: FEE_BYTES * steps], told[FEE_BYTES * steps :]
    peak, period = rest[:PEAK_BYTES], rest[PEAK_BYTES:]
    over = int.from_bytes(period, "big") if period else None
    return TariffFees(struct.unpack(f">{steps}i", traded), int.from_bytes(peak, "big"), over)


def _steps_of(tariff: bytes) -> int:
    """
    Raises:
        ValueError: it is none.
    """
    steps, rest = divmod(len(tariff), PRICES.size)
    if not rest:
        return steps
    for behind in (PEAK_BYTES, PEAK_BYTES + PERIOD_BYTES):
        steps, rest = divmod(len(tariff) - behind, PRICES.size + FEE_BYTES)
        if not rest and steps > 0:
            return steps
    raise ValueError(f"a tariff of {len(tariff)} bytes fits no steps")


def encode_energies(energies_wh: Sequence[int]) -> bytes:
    """A meter reading: Wh that the household fed into the grid (negative: drew from it), one a step.

    Raises:
        InputError: one is no whole number, or does not fit into four bytes.
    """
    try:
        return struct.pack(f">{len(energies_wh)}i", *energies_wh)
    except struct.error as error:
        raise InputError(
            f"An energy of a step is no whole number of Wh between -2^31 and 2^31 ({error}): correct it."
        ) from error


def decode_energies(energies: bytes) -> tuple[int, ...]:
    """The inverse of `encode_energies`."""
    return struct.unpack(f">{len(energies) // 4}i", energies)


def positions_of(node: int, records: Sequence[TradeRecord]) -> list[tuple[int, bytes]]:
    """The recorded trades of a node: partner and statement, partners ascending."""
    return sorted(
        (record.lower + record.higher - node, encode_trades([astuple(trade) for trade in record.trades]))
        for record in records
        if node in (record.lower, record.higher)
    )
