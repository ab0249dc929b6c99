"""What suppliers of a run publish: in rounds a day's peak, and a month's only where days are settled step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridpact.chain.encoding import decode_fees
from gridpact.community.model import Prices
from gridpact.run.staging import tariff_with_fees

PRICES = Prices(np.full(4, 0.3), 0.5, trade_fee=np.full(4, 0.02), peak_fee=0.6)


def test_monthsPeak_isOfDays_notOfRounds() -> None:
    """A round knows one day: if it asked a month's fee for its peak, every day would pay it."""
    daily = decode_fees(tariff_with_fees(PRICES, 6.0))
    assert daily is not None
    assert (daily.peak_micro, daily.period) == (100_000, None)  # per kWh in a step of six hours
    month = replace(PRICES, monthly_peak=True)
    of_round, of_day = decode_fees(tariff_with_fees(month, 6.0)), decode_fees(tariff_with_fees(month, 6.0, 202602))
    assert of_round is not None
    assert of_day is not None
    assert (of_round.peak_micro, of_round.period) == (0, None)
    assert (of_day.peak_micro, of_day.period) == (100_000, 202602)
    assert of_round.traded_micro == of_day.traded_micro == daily.traded_micro == (20_000,) * 4
    assert decode_fees(tariff_with_fees(replace(month, trade_fee=None), 6.0)) is None
