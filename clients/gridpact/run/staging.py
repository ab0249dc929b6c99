"""What every run on a test chain is set up with."""

from __future__ import annotations

import re

import numpy as np

from gridpact.chain.encoding import TariffFees, encode_tariff
from gridpact.community.model import Array, Prices

NOT_A_DIGIT = re.compile(r"\D")
TEST_TOKENS = 1000  # currency, minted to every household on a test chain
TOKEN_DECIMALS = 6  # of the test token


def day_label(day: str) -> int:
    """The label of a day's round: yyyymmdd, or what there is of it."""
    return int(NOT_A_DIGIT.sub("", day)[-8:] or 0)


def month_of(day: int) -> int:
    """The label of a day's month: yyyymm."""
    return day // 100


def tariff_of(prices: Prices) -> bytes:
    """The supplier's prices, without fees on trades and peaks."""
    return encode_tariff(micro_of(prices.import_price), micro_of(prices.feed_in_price))


def tariff_with_fees(prices: Prices, step_hours: float, month: int | None = None) -> bytes:
    """All that a settlement contract collects for a supplier.

    Args:
        month: whose peak a month's fee is on, in the settlement of days; None: that of rounds, which collects the peaks
            of days, and none of a month's.
    """
    over = month if prices.monthly_peak else None
    fees, peak = None, 0.0 if prices.monthly_peak and month is None else prices.peak_fee
    if prices.trade_fee is not None or peak:
        traded = prices.trade_fee if prices.trade_fee is not None else np.zeros(len(prices.import_price))
        fees = TariffFees(tuple(micro_of(traded)), micro_of(np.array([peak / step_hours]))[0], over)
    return encode_tariff(micro_of(prices.import_price), micro_of(prices.feed_in_price), fees)


def micro_of(prices: Array) -> list[int]:
    """In 1e-6 currency."""
    micro: list[int] = np.rint(1e6 * prices).astype(int).tolist()
    return micro
