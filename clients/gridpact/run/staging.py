"""What every run on a test chain is set up with."""

from __future__ import annotations

import re

import numpy as np

from gridpact.chain.settlement import encode_tariff
from gridpact.community.model import Prices

NOT_A_DIGIT = re.compile(r"\D")
TEST_TOKENS = 1000  # currency, minted to every household on a test chain
TOKEN_DECIMALS = 6  # of the test token


def day_label(day: str) -> int:
    """The label of a day's round: yyyymmdd, or what there is of it."""
    return int(NOT_A_DIGIT.sub("", day)[-8:] or 0)


def tariff_of(prices: Prices) -> bytes:
    """The supplier's prices as the settlement contract takes them."""
    imported, fed_in = (np.rint(1e6 * p).astype(int).tolist() for p in (prices.import_price, prices.feed_in_price))
    return encode_tariff(imported, fed_in)
