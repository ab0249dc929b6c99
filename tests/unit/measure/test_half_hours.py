"""A user's own Ausgrid file beside the thesis's averages, on a made file: the data may not be passed on."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.ausgrid import FACTS, HALF_HOURS
from measure.half_hours import Averages, main

DAYS = 4


def made(path: Path, shares: dict[int, float], layout: str = "original") -> Path:
    """Customers who generate and use a part of what the table has, on average over the days; one has a boiler."""
    table = Averages.of_table()
    lines = [",".join([*FACTS, *HALF_HOURS])]
    for customer, share in shares.items():
        for k in range(DAYS):
            day = (date(2012, 7, 1) + timedelta(days=k)).strftime("%d/%m/%Y")
            of_day = share * (1 + 0.1 * (k - (DAYS - 1) / 2))
            rows = {"GC": of_day * table.used, "GG": of_day * table.generated}
            if customer == 1:
                rows["CL"] = np.full(48, 0.5)
            for category, kwh in rows.items():
                lines.append(",".join(map(str, [customer, 1.5, 2000, category, day, *kwh.tolist()])))
    if layout == "series":
        lines = ["time,GC,GG", "2011-07-01 00:00:00,0.392,0.0"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_table_addsUpToWhatTheThesisHasForAYear() -> None:
    """Its Table 3.3 for 2012-13: 2,181 kWh generated; 6,387 used with controlled load, so less without."""
    table = Averages.of_table()
    assert 365 * table.generated.sum() == pytest.approx(2181, abs=2)
    assert 5_000 < 365 * table.used.sum() < 6387
    assert table.generated.argmax() == table.generated.tolist().index(0.4319)
    assert HALF_HOURS[int(table.generated.argmax())] == "12:30"


def test_fileWhoseCustomersAverageTheTable_isNothingApart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever single ones do, and without controlled load."""
    file = made(tmp_path / "2012-2013.csv", {1: 0.4, 2: 1.0, 7: 1.6})
    own = Averages.of_file(file)
    assert (own.customers, own.days) == (3, DAYS)
    assert own.beyond(Averages.of_table()) == pytest.approx((0, 0), abs=1e-12)
    assert main([str(file)]) == 0
    said = capsys.readouterr().out
    assert "Most apart in a half hour: 0.0000 and 0.0000 kWh." in said
    assert said.count("\n") == 50


def test_fileOfOthers_isAsFarApartAsItIs(tmp_path: Path) -> None:
    generated, used = Averages.of_file(made(tmp_path / "f.csv", {3: 1.1})).beyond(Averages.of_table())
    assert generated == pytest.approx(0.1 * 0.4319)
    assert used == pytest.approx(0.1 * 0.5237)


def test_seriesOfOneCustomer_isRefusedInASentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(made(tmp_path / "customer_12.csv", {}, layout="series"))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
