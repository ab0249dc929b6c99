"""Tables of prices as exchanges and suppliers write them, from known prices: what is read is currency/kWh at the right
step, or it is asked; never anything else."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.community.readings import HowToRead
from gridpact.community.tariff import from_table
from gridpact.errors import InputError

NAMES = ("import_price", "Import price", "Day-ahead Price", "Preis", "Prijs", "precio", "Strompreis netto", "price")
UNITS = {
    "": 1, " (EUR/kWh)": 1, " [EUR/MWh]": 1000, " ct/kWh": 100, " (c/kWh)": 100, "_eur_mwh": 1000, " (€/kWh)": 1,
    " p/kWh": 100, " [SEK/MWh]": 1000, " Rp./kWh": 100, " (Ft/MWh)": None,
}  # fmt: skip
"""What stands behind a name: how many of it a currency/kWh is; None: it is not known."""


@dataclass(frozen=True)
class Table:
    name: str
    unit: str
    unit_apart: bool  # in a column
    step: int  # minutes
    times: str
    others: tuple[str, ...]
    gap: int | None
    comma: bool


TABLES = st.builds(
    Table,
    name=st.sampled_from(NAMES),
    unit=st.sampled_from(tuple(UNITS)),
    unit_apart=st.booleans(),
    step=st.sampled_from((15, 60)),
    times=st.sampled_from(("start", "end", "range")),
    others=st.sampled_from(((), ("Area",), ("Currency",), ("Sequence", "Volume (MWh)"))),
    gap=st.none() | st.integers(0, 23),
    comma=st.booleans(),
)


@settings(max_examples=50, deadline=None)
@given(of=TABLES, seed=st.integers(0, 2**16), told=st.booleans())
def test_pricesAreOfAKilowattHour_atTheirStep_orAskedAbout(of: Table, seed: int, told: bool) -> None:
    factor, step, start = UNITS[of.unit], timedelta(minutes=of.step), datetime(2024, 6, 20)
    prices = np.round(np.random.default_rng(seed).uniform(-0.05, 0.4, 3 * 24 * 60 // of.step), 4)
    unit, is_net = of.unit.strip(" ([])"), "netto" in of.name
    apart = of.unit_apart and bool(unit) and factor is not None and "_" not in unit
    header = ["time", of.name + ("" if apart else of.unit), *(["Unit"] if apart else []), *of.others]
    rows = [header]
    for k, price in enumerate(prices):
        begin = start + k * step
        time = {"start": f"{begin:%d.%m.%Y %H:%M}", "end": f"{begin + step:%d.%m.%Y %H:%M}",
                "range": f"{begin:%d.%m.%Y %H:%M} - {begin + step:%d.%m.%Y %H:%M}"}[of.times]  # fmt: skip
        shown = "n/e" if k == of.gap else f"{price * (factor or 1):.4f}"
        text = shown.replace(".", ",") if of.comma else shown
        rows.append(
            [time, text, *([unit] if apart else []), *("x" if one != "Volume (MWh)" else "3" for one in of.others)]
        )
    how = HowToRead(
        times_are_ends=told and of.times == "end", times_are_told=told and of.times != "range",
        times_option="--price-times",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prices.csv"
        path.write_text("\n".join(";".join(row) for row in rows), encoding="utf-8")
        try:
            tariff, said = from_table(path, 60, how)
        except InputError as question:
            asked = str(question)
            assert (
                (of.times == "end" and not told and "--price-times end" in asked)
                or (factor is None and "unit" in asked)
                or (is_net and "without taxes" in asked)
            ), asked
            return
    assert not is_net
    assert factor is not None or of.unit == ""
    hourly = prices.reshape(72, -1).mean(axis=1).reshape(3, 24)
    days = [f"2024-06-{20 + k}" for k in range(3)]
    if of.gap is not None:
        days, hourly = days[1:], hourly[1:]
    assert sorted(tariff) == days
    for day, expected in zip(days, hourly, strict=True):
        np.testing.assert_allclose(tariff[day], expected, atol=2e-4 / (factor or 1) + 1e-9)
    if factor != 1 or of.name != "import_price" or (of.unit and not apart):
        assert any("was taken for the price" in one for one in said)
