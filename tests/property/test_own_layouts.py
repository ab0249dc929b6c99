"""Files whose times are numbers, ranges, days with a column for each step, or days of a spreadsheet, with comments,
notes and sums around: what is read is the truth, or it is refused in one sentence; never anything else."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridpact.cli import main
from gridpact.community.read import read_community

DATES = ("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%d %b %Y")
ONE_COLUMN = {
    "range": lambda t, step: f"{t:%d.%m.%Y %H:%M} - {t + step:%d.%m.%Y %H:%M}",
    "range of instants": lambda t, step: f"{t:%Y-%m-%dT%H:%MZ}/{t + step:%Y-%m-%dT%H:%MZ}",
    "spreadsheet": lambda t, _: f"{(t - datetime(1899, 12, 30)) / timedelta(days=1):.9f}",
    "epoch": lambda t, _: f"{t.replace(tzinfo=timezone.utc).timestamp():.1f}",
    "weekday": lambda t, _: f"{('Mo', 'Di', 'Mi', 'Do', 'Fr', 'Sa', 'So')[t.weekday()]} {t:%d.%m.%Y %H.%M} Uhr",
    "month": lambda t, _: f"{t:%d}. {('Mai', 'Juni', 'Juli', 'August')[t.month - 5]} {t:%Y %H:%M}",
    "zone": lambda t, _: f"{t:%Y-%m-%dT%H:%M}+00:00[Etc/UTC]",
    "last second": lambda t, step: f"{t + step - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}",
    "last minute": lambda t, step: f"{t + step - timedelta(minutes=1):%Y-%m-%d %H:%M}",
    "end": lambda t, step: f"{t + step:%Y-%m-%d %H:%M}",
}
TWO_COLUMNS = {
    "clocks as a range": lambda t, step: f"{t:%H:%M}-{t + step:%H:%M}",
    "from 0": lambda t, step: str(int((t - datetime(t.year, t.month, t.day)) / step)),
    "from 1": lambda t, step: str(int((t - datetime(t.year, t.month, t.day)) / step) + 1),
    "from 01": lambda t, step: f"H{int((t - datetime(t.year, t.month, t.day)) / step) + 1:02d}",
}
ROWS_OF_DAYS = ("clocks", "ends", "numbers", "prefixed", "with one more")
FORMATS = ("nem12",)


@dataclass(frozen=True)
class Layout:
    """How readings are laid out, and what is around them."""

    kind: str
    step: int  # minutes
    days: int
    start: datetime
    date: str
    separator: str
    comment: bool
    footer: tuple[str, ...]
    encoding: str
    told: bool  # what the times name


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    return Layout(
        kind=draw(st.sampled_from((*ONE_COLUMN, *TWO_COLUMNS, *ROWS_OF_DAYS, *FORMATS))),
        step=draw(st.sampled_from((15, 30, 60))),
        days=draw(st.integers(2, 4)),
        start=datetime(2024, draw(st.integers(5, 7)), draw(st.integers(13, 25))),
        date=draw(st.sampled_from(DATES)),
        separator=draw(st.sampled_from(";\t|")),
        comment=draw(st.booleans()),
        footer=draw(st.sampled_from(((), ("Summe",), ("Min", "Max", "Mean"), ("End of report",), ("# 12 rows",)))),
        encoding=draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-16-le"))),
        told=draw(st.booleans()),
    )


def lines_of(of: Layout, kwh: NDArray[np.float64]) -> list[str]:
    """The file's lines."""
    step, a_day = timedelta(minutes=of.step), 24 * 60 // of.step
    times = [of.start + k * step for k in range(len(kwh))]
    if of.kind == "nem12":
        lines = ["100,NEM12,202408010000,A,B", f"200,4001,E1,E1,E1,,M1,kWh,{of.step if of.step < 60 else 30},"]
        halves = kwh if of.step < 60 else np.repeat(kwh / 2, 2)
        for day, of_day in enumerate(halves.reshape(of.days, -1)):
            cells = ",".join(f"{value:.6f}" for value in of_day)
            lines.append(f"300,{of.start + timedelta(days=day):%Y%m%d},{cells},A,,,20240801000000,")
        return [*lines, "900"]
    if of.kind in ROWS_OF_DAYS:
        names = {
            "clocks": [f"{t:%H:%M}" for t in times[:a_day]],
            "ends": [f"{t + step:%H:%M}" for t in times[:a_day]],
            "numbers": [str(k) for k in range(a_day)],
            "prefixed": [f"P{k + 1}" for k in range(a_day)],
            "with one more": [f"H{k + 1}" for k in range(a_day + 60 // of.step)],
        }[of.kind]
        table = [["date", *names]]
        for day, of_day in enumerate(kwh.reshape(of.days, -1)):
            cells = [f"{value:.6f}" for value in of_day]
            table.append([f"{of.start + timedelta(days=day):{of.date}}", *cells, *[""] * (len(names) - a_day)])
    elif of.kind in TWO_COLUMNS:
        clock = TWO_COLUMNS[of.kind]
        table = [["date", "hour", "home"]]
        table += [[f"{t:{of.date}}", clock(t, step), f"{v:.6f}"] for t, v in zip(times, kwh, strict=True)]
    else:
        table = [["time", "home"], *([ONE_COLUMN[of.kind](t, step), f"{v:.6f}"]
                                      for t, v in zip(times, kwh, strict=True))]  # fmt: skip
    count = len(table[0])
    sums = ["12.5"] * (count - 1) if len(of.footer) == 3 or of.footer == ("Summe",) else []
    below = [[word, *sums] for word in of.footer]
    lines = [of.separator.join(row) for row in [*table, *below]]
    if of.comment:
        lines.insert(2, "# the meter was read anew")
    return lines


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(of=layouts(), seed=st.integers(0, 2**16))
def test_whatIsRead_isTheTruth_orRefused(of: Layout, seed: int) -> None:
    random = np.random.default_rng(seed)
    a_day = 24 * 60 // of.step
    shape = 0.2 + 0.4 * (np.arange(a_day) > 0.7 * a_day)
    kwh = np.round(np.tile(shape, of.days) * random.uniform(0.4, 1.6, a_day * of.days) * of.step / 60, 6)
    are_ends = of.kind in ("end", "last second", "last minute")
    options = ["--unit", "kwh", "--timezone", "Australia/Brisbane" if of.kind == "nem12" else "UTC"]
    options += ["--times", "end"] if of.told and are_ends else []
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "home.csv"
        path.write_bytes("\n".join(lines_of(of, kwh)).encode(of.encoding))
        arguments = ["community", "new", "--from", str(path), "--out", f"{folder}/out", "--price", "0.3", *options]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
        said = err.getvalue()
        event(f"{of.kind}: {'read' if status == 0 else said.rpartition('/')[2][:60]}")
        if status:
            assert status == 2
            assert said.count("\n") == 1
            assert are_ends, said
            assert not of.told, said
            assert "--times end" in said, said
            return
        assert not are_ends or of.told, out.getvalue()
        community = read_community(f"{folder}/out")
    assert len(community.days) == of.days
    for day, of_day in zip(sorted(community.days), kwh.reshape(of.days, -1), strict=True):
        (home,) = community.on(day).households
        read = home.load_kw if len(home.load_kw) == a_day else home.load_kw.reshape(a_day, -1).mean(axis=1)
        np.testing.assert_allclose(read, of_day * 60 / of.step, rtol=2e-4, atol=2e-5)
