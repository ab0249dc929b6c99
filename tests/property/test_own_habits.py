"""What people's files have beside their numbers: encodings, orders, clocks, units in names, meters that are changed,
sums, empty columns. What is read is the truth, or it is refused in one sentence; never anything else."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridpact.cli import main
from gridpact.community.read import read_community

Series = NDArray[np.float64]

DRAWS = int(os.environ.get("GRIDPACT_TABLES", "25"))
"""Tables that are drawn; `make mutations` draws more."""

ZONE = ZoneInfo("Europe/Amsterdam")
NAMES = ("anna", "jürgen", "h 3")
UNITS = {"kwh": 1.0, "wh": 1000.0, "kw": 1.0, "w": 1000.0, "mwh": 0.001}


@dataclass(frozen=True)
class Habits:
    """How a file is written, and what is said about it."""

    start: datetime
    days: int
    step: int  # minutes
    homes: int
    encoding: str
    newline: str
    order: str  # of the rows
    clock: str
    unit: str
    where: str  # the unit is said
    pv: str | None  # how the column of the first home's panels is called, behind its name
    noise: bool  # small negative values at night
    total: bool  # a column that adds up
    empty: bool  # a column without a value
    notes: bool  # a column of texts
    counters: bool
    reset: bool  # the first home's meter begins anew
    gaps: str | None


@st.composite
def habits(draw: st.DrawFn) -> Habits:
    counters = draw(st.booleans())
    start = draw(st.sampled_from((datetime(2024, 6, 20), datetime(2024, 3, 30), datetime(2024, 10, 26),
                                  datetime(2024, 2, 28), datetime(2023, 12, 31))))  # fmt: skip
    return Habits(
        start=start,
        days=draw(st.integers(2, 3)),
        step=draw(st.sampled_from((5, 15, 30, 60))),
        homes=draw(st.integers(1, 3)),
        encoding=draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "cp1252"))),
        newline=draw(st.sampled_from(("\n", "\r\n", "\r"))),
        order=draw(st.sampled_from(("ascending", "ascending", "descending", "shuffled"))),
        clock=draw(st.sampled_from(("local", "offset", "utc", "epoch", "12 hours", "naive"))),
        unit=draw(st.sampled_from(("kwh", "wh") if counters else tuple(UNITS))),
        where=draw(st.sampled_from(("name", "brackets", "option", "nowhere"))),
        pv=draw(st.none() | st.sampled_from(("_pv", " solar", "_generation", "_production"))),
        noise=draw(st.booleans()),
        total=draw(st.booleans()),
        empty=draw(st.booleans()),
        notes=draw(st.booleans()),
        counters=counters,
        reset=counters and draw(st.booleans()),
        gaps=draw(st.none() | st.sampled_from(("fill", "skip"))),
    )


def moments(of: Habits, count: int) -> list[datetime]:
    """Starts of steps, or states, by the clock that goes on evenly."""
    first = of.start.replace(tzinfo=ZONE).astimezone(timezone.utc)
    return [(first + timedelta(minutes=of.step * k)).astimezone(ZONE) for k in range(count)]


def stamp(of: Habits, moment: datetime) -> str:
    match of.clock:
        case "offset":
            return moment.isoformat(timespec="seconds")
        case "utc":
            return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        case "epoch":
            return str(int(moment.timestamp()))
        case "12 hours":
            return f"{moment:%m/%d/%Y %I:%M %p}"
        case _:
            return f"{moment:%Y-%m-%d %H:%M}"


@settings(max_examples=DRAWS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(of=habits(), seed=st.integers(0, 2**16))
def test_whatIsRead_isTheTruth_orRefused(of: Habits, seed: int) -> None:
    random = np.random.default_rng(seed)
    a_day = 24 * 60 // of.step
    span = (of.start + timedelta(days=of.days)).replace(tzinfo=ZONE).timestamp() - moments(of, 1)[0].timestamp()
    count = round(span / 60 / of.step)  # steps of these days, of 23 or 25 hours as well
    hours = np.array([moment.hour + moment.minute / 60 for moment in moments(of, count)])
    names = NAMES[: of.homes]
    columns: dict[str, Series] = {}  # kW, (count,)
    truth: dict[tuple[str, str], Series] = {}
    for name in names:
        power = random.uniform(0.2, 1.2) * (0.4 + (hours > 17)) * random.uniform(0.3, 1.7, count)
        truth[name, "load"] = columns[name] = np.round(power, 3) + 0.012
    if of.pv is not None:
        sun = np.maximum(np.sin((hours - 6) / 12 * np.pi), 0) * random.uniform(0.5, 1, count)
        power = np.round(3 * sun, 3)
        truth[names[0], "pv"] = power
        columns[names[0] + of.pv] = np.where((power == 0) & of.noise & (not of.counters), -0.004, power)
    table: dict[str, list[str]] = {}
    times = moments(of, count + of.counters)
    for name, power in columns.items():
        amount = power * (of.step / 60 if of.unit.endswith("wh") else 1.0) * UNITS[of.unit]
        if of.counters:
            amount = np.concatenate([[1234.0], 1234.0 + np.cumsum(amount)])
            if of.reset and name == names[0]:
                amount[a_day + 3 :] -= amount[a_day + 3]
        shown = name
        if of.where == "name":
            shown = f"{name}_{of.unit}"
        elif of.where == "brackets":
            shown = f"{name} ({of.unit})"
        table[shown] = [f"{value:.7f}" for value in amount]
    if of.total:
        table["total"] = [f"{sum(float(column[k]) for column in table.values()):.7f}" for k in range(len(times))]
    if of.empty:
        table["spare"] = [""] * len(times)
    if of.notes:
        table["quality"] = ["measured"] * len(times)
    rows = [[stamp(of, moment), *(column[k] for column in table.values())] for k, moment in enumerate(times)]
    if of.order == "descending":
        rows.reverse()
    elif of.order == "shuffled":
        random.shuffle(rows)
    text = of.newline.join(",".join(row) for row in [["time", *table], *rows]) + of.newline
    options = ["--step", "15"] if of.step == 5 else []
    options += ["--unit", of.unit] if of.where == "option" else []
    options += ["--counter"] if of.counters else []
    options += ["--ignore", "total"] if of.total else []
    options += ["--gaps", of.gaps] if of.gaps else []
    options += [] if of.clock == "naive" else ["--timezone", "Europe/Amsterdam"]
    event("read" if is_read(of, text.encode(of.encoding), options, truth, times) else "refused")


def is_read(
    of: Habits, data: bytes, options: list[str], truth: dict[tuple[str, str], Series], times: list[datetime]
) -> bool:
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.csv"
        path.write_bytes(data)
        arguments = ["--from", str(path), "--out", f"{folder}/out", "--price", "0.3", *options]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["community", "new", *arguments])
        if status:
            assert status == 2
            assert err.getvalue().count("\n") == 1, err.getvalue()
            assert "mistake in gridpact" not in err.getvalue(), err.getvalue()
            return False
        community = read_community(f"{folder}/out")
    if of.where == "nowhere" and of.unit != "kwh":  # kW can be kWh, within what homes use; that it was assumed is said
        assert of.unit == "kw"
        assert "in kWh (assumed; --unit says another), lowest " in out.getvalue()
        return True
    step = 15 if of.step == 5 else of.step
    share = step // of.step
    local = [f"{moment:%Y-%m-%d}" for moment in times[: len(next(iter(truth.values())))]]
    assert community.days
    for day in community.days:
        at = [k for k, label in enumerate(local) if label == day]
        assert len(at) == 24 * 60 // of.step, "the days on which the clock changes are left out"
        whole = community.on(day)
        assert [home.name for home in whole.households] == list(dict.fromkeys(name for name, _ in truth))
        for home in whole.households:
            for quantity, read in (("load", home.load_kw), ("pv", home.pv_kw)):
                if (home.name, quantity) not in truth:
                    assert quantity == "load" or not np.any(read)
                    continue
                expected = truth[home.name, quantity][at].reshape(-1, share).mean(axis=1)
                known = np.ones(len(expected), dtype=bool)
                if of.reset and home.name == NAMES[0] and quantity == "load":
                    lost = 24 * 60 // of.step + 2  # what the old meter counted last
                    known = np.array([lost not in at[share * j : share * (j + 1)] for j in range(len(expected))])
                np.testing.assert_allclose(read[known], expected[known], rtol=2e-4, atol=2e-5)
    return True
