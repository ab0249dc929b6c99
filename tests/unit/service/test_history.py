"""What trading with a partner costs by what it has delivered before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.community.model import Prices
from gridpact.errors import InputError
from gridpact.problem.coefficients import doubt
from gridpact.service.connection import ChainConnection
from gridpact.service.forecast import Forecast
from gridpact.service.plan import view_of
from gridpact.service.settings import read_settings
from unit.service.helpers import HOUSEHOLD, settings_of

DAY = "2026-11-22"
HISTORY = {1: (24, 24), 2: (24, 6), 4: (0, 0)}
UNDELIVERED = HOUSEHOLD.replace("trading_coefficient", "undelivered = 0.05\ntrading_coefficient")


@given(had=st.integers(0, 10_000), data=st.data())
def test_doubt_growsWithWhatIsNotDelivered(had: int, data: st.DataObject) -> None:
    delivered = data.draw(st.integers(0, had))
    found = doubt(had, delivered, 0.05)
    assert 0 <= found < 0.05 + 1e-12
    assert (found == 0) == (had == delivered)
    if delivered:
        assert doubt(had, delivered - 1, 0.05) > found


def connection() -> ChainConnection:
    """To a chain with a history."""
    aggregator = SimpleNamespace(account_of=lambda node: f"account {node}" if node in HISTORY else None)
    ledger = SimpleNamespace(history=lambda account: HISTORY[int(account.split()[-1])])
    nothing: Any = None
    return ChainConnection(nothing, cast(Any, aggregator), nothing, nothing, "EUR", 1.0, cast(Any, ledger))


def test_gamma_isRaisedByHistory(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, UNDELIVERED)
    doubts = connection().doubts((1, 2, 4, 5), settings.undelivered)
    assert doubts == pytest.approx({1: 0.0, 2: 0.05 * 18 / 25, 4: 0.0})
    forecast = Forecast(DAY, {"load_kw": np.full(4, 0.5), "pv_kw": np.zeros(4)}, {})
    prices = Prices(np.full(4, 0.3))
    plain = view_of(settings, DAY, 6.0, forecast, prices, frozenset({0, 1, 2, 3}))
    wary = view_of(settings, DAY, 6.0, forecast, prices, frozenset({0, 1, 2, 3}), doubts=doubts)
    assert {one.node for one in plain.partners} == {1, 2}
    for one, other in zip(plain.partners, wary.partners, strict=True):
        assert other.coefficient - one.coefficient == pytest.approx(doubts[one.node])


def test_noHistory_isAskedForUnlessItCounts(tmp_path: Path) -> None:
    assert settings_of(tmp_path, HOUSEHOLD).undelivered == 0
    nothing: Any = None
    assert ChainConnection(nothing, nothing, nothing, nothing, "EUR", 1.0).doubts((1, 2), 0.05) == {}
    assert connection().doubts((1, 2), 0.0) == {}


def test_undelivered_isAPrice(tmp_path: Path) -> None:
    path = tmp_path / "household.toml"
    path.write_text(UNDELIVERED.replace("0.05", "-1"), encoding="utf-8")
    with pytest.raises(InputError, match="undelivered"):
        read_settings(path)
