"""A household's limits on what a day may cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.community.model import Prices
from gridpact.errors import InputError
from gridpact.service.money import OverLimit, bill_of, check_bill, check_prices
from gridpact.service.settings import LimitSettings
from gridpact.service.template import NewNode, household_toml
from unit.service.helpers import HOUSEHOLD, OPERATOR, settings_of

LIMITS = LimitSettings(import_price_max=1.0, feed_in_price_min=-0.5, deposit_max=25.0)
PRICE = st.floats(-3, 3, allow_nan=False)


@given(st.lists(st.tuples(PRICE, PRICE), min_size=1, max_size=96))
def test_prices_areRefusedExactlyWhereOneIsOutside(steps: list[tuple[float, float]]) -> None:
    import_price, feed_in_price = (np.array(series) for series in zip(*steps, strict=True))
    outside = any(imported > 1.0 or fed_in < -0.5 for imported, fed_in in steps)
    try:
        check_prices(LIMITS, import_price, feed_in_price, "the tariff")
    except OverLimit:
        assert outside
    else:
        assert not outside


def test_bill_isRefusedAboveTheDeposit() -> None:
    check_bill(LIMITS, 25.0)
    with pytest.raises(OverLimit, match=r"may cost 25.01, more than the 25 of \[limits\] deposit_max"):
        check_bill(LIMITS, 25.01)


def test_bill_ofAPlan() -> None:
    """2 kW for half an hour at 0.40, and 1 kW fed in for half an hour at half of 0.20."""
    plan = {"import_kw": np.array([2.0, 0.0]), "feed_in_kw": np.array([0.0, 1.0])}
    assert bill_of(plan, Prices(np.array([0.4, 0.2]), 0.5), 0.5) == pytest.approx(0.4 - 0.05)


def test_limits_areReadAndHaveDefaults(tmp_path: Path) -> None:
    assert settings_of(tmp_path).limits == LIMITS
    own = HOUSEHOLD + "[limits]\nimport_price_max = 0.6\nfeed_in_price_min = 0\ndeposit_max = 4\n"
    assert settings_of(tmp_path, own).limits == LimitSettings(0.6, 0.0, 4.0)
    assert settings_of(tmp_path, OPERATOR).limits is None
    template = household_toml(NewNode(3, "a home", "../contracts.json", "http://127.0.0.1:8545"))
    assert settings_of(tmp_path, template).limits == LIMITS


@pytest.mark.parametrize("line", ["deposit_max = -1", "import_price_max = nan", 'deposit_max = "4"', "most = 3"])
def test_limits_thatAreNone_areNamed(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"household.toml, \[limits\] (deposit_max|import_price_max|most)"):
        settings_of(tmp_path, f"{HOUSEHOLD}[limits]\n{line}\n")


@pytest.mark.parametrize("line", ["import_price_max = 30", "import_price_max = 250", "feed_in_price_min = -50"])
def test_limitThatLimitsNothing_isAskedAbout(tmp_path: Path, line: str) -> None:
    """In cents, or per MWh: such a limit would let every tariff pass."""
    own = f"{HOUSEHOLD}[limits]\n{line}\n"
    with pytest.raises(InputError, match="limits nothing; is it per MWh, or in cents"):
        settings_of(tmp_path, own)
    assert settings_of(tmp_path, 'accept = ["price"]\n' + own).limits is not None
