"""What a day costs: by hand, against whole rounds, and the page against the reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridpact.errors import InputError
from measure.costs import REPORTS, PlayedRound, daily, days, document, read_report

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def gas() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_report(REPORTS / "gas.json")
    return rows


@pytest.fixture(scope="module")
def played() -> list[PlayedRound]:
    return [PlayedRound(**row) for row in read_report(REPORTS / "rounds.json")]


def test_daily_byHand() -> None:
    """Four households, one transaction of 2,000 tokens a household and iteration."""
    row = {
        "mode": "direct",
        "households": 4,
        "transactions": 4,
        "opening_gas": 400_000,
        "gas_per_household_iteration": 90_000.0,
        "first_gas": 5_000.0,
        "eip7623_floor": 21_000 + 10 * 2_000.0,
    }
    day = daily("x", row, 10, settlement=50_000, delivery=25_000)
    assert (day.opening, day.negotiation, day.floor) == (100_000, 905_000, 410_000)
    assert day.gas == 100_000 + 905_000 + 50_000 + 25_000
    assert day.data_bytes == 10 * (500 + 110)  # four tokens a byte, and what is around the calldata
    assert day.mainnet_eur(2.0, 3000.0) == pytest.approx(1_080_000 * 2e-9 * 3000)
    # OP stack, Fjord: bytes x (16 x 0.002269 x base fee + 1.055762 x blob base fee)
    bytes_a_day = 6_100 * 1_080_000 / 905_000
    data_gwei = 0.8365 * bytes_a_day * (16 * 0.002269 * 1.0 + 1.055762 / 16)
    assert day.rollup_eur(0.01, 1.0, 3000.0) == pytest.approx((1_080_000 * 0.01 + data_gwei) * 1e-9 * 3000)


def test_daily_paysTheFloorWhereItIsMore() -> None:
    row = {
        "mode": "relayed",
        "households": 1,
        "transactions": 1,
        "opening_gas": 0,
        "gas_per_household_iteration": 30_000.0,
        "first_gas": 0.0,
        "eip7623_floor": 50_000.0,
    }
    assert daily("x", row, 2).gas == 100_000


def test_days_areThoseOfWholeRounds(gas: list[dict[str, Any]], played: list[PlayedRound]) -> None:
    """Gas of an iteration by iterations, and what the first cost more, is what a whole round used: 2 %."""
    bench = read_report(REPORTS / "bench.json")
    for one in played:
        (day,) = (
            day for day in days(gas, bench, played) if (day.name, day.mode) == (f"{one.case} {one.day}", "direct")
        )
        assert day.iterations == one.iterations
        assert day.negotiation == pytest.approx(one.gas_by_step["submit"] / one.households, rel=0.02)
        opening = one.gas_by_step["declare"] / one.households
        assert opening < day.opening < opening + 100_000 / one.households  # with opening the round itself


def test_page_isOfTheReports(gas: list[dict[str, Any]], played: list[PlayedRound]) -> None:
    """`python -m measure.costs --out docs/costs.md` makes it anew."""
    text = document(gas, read_report(REPORTS / "bench.json"), played)
    assert (ROOT / "docs" / "costs.md").read_text(encoding="utf-8") == text


def test_readReport_saysWhatIsMissing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in a clone of the repository"):
        read_report(tmp_path / "gas.json")
