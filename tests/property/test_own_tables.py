"""Tables of readings written from a known truth in every way that people's files have: what is read is the truth, or it
is refused in one sentence; never anything else."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from gridpact.cli import main
from gridpact.community.read import read_community

FORMS = (
    "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M", "%d-%m-%Y %H:%M", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%y %H:%M", "%Y%m%d%H%M", "%d %b %Y %H:%M",
)  # fmt: skip
GAPS = ("", "NaN", "n/a", "unavailable", "unknown", "null", "-")
NAMES = ("anna", "ben", "h_3")
PER_UNIT = {"kwh": 1000, "wh": 1}


@dataclass(frozen=True)
class Writing:
    """How a table is written, and what is said about it."""

    step: int  # minutes
    days: int
    households: int
    start: datetime
    form: str
    separator: str
    decimal: str
    grouping: str  # between thousands
    trims: bool  # zeros behind the decimal mark
    unit: str
    layout: str
    are_counters: bool
    are_ends: bool
    title: bool
    trailing: bool
    twice: int  # rows that stand there a second time
    gap: str | None
    tells: frozenset[str]  # which options are given


@st.composite
def writings(draw: st.DrawFn) -> Writing:
    decimal = draw(st.sampled_from(".,"))
    return Writing(
        step=draw(st.sampled_from((15, 30, 60))),
        days=draw(st.integers(1, 3)),
        households=draw(st.integers(1, 3)),
        start=datetime(2024, draw(st.integers(1, 12)), draw(st.integers(1, 25))),
        form=draw(st.sampled_from(FORMS)),
        separator=draw(st.sampled_from(",;\t|")),
        decimal=decimal,
        grouping=draw(st.sampled_from(("", "", "." if decimal == "," else ",", " ", "'"))),
        trims=draw(st.booleans()),
        unit=draw(st.sampled_from(("kwh", "wh"))),
        layout=draw(st.sampled_from(("wide", "long", "files"))),
        are_counters=draw(st.booleans()),
        are_ends=draw(st.booleans()),
        title=draw(st.booleans()),
        trailing=draw(st.booleans()),
        twice=draw(st.integers(0, 2)),
        gap=draw(st.none() | st.sampled_from(GAPS)),
        tells=draw(st.frozensets(st.sampled_from(("unit", "counter", "dates", "decimal", "gaps")))),
    )


def truth_of(writing: Writing, seed: int) -> dict[str, list[int]]:
    """Wh in each step: a day's shape with noise, so that it rises and falls."""
    random = np.random.default_rng(seed)
    steps = 24 * 60 // writing.step
    shape = 0.3 + np.sin(np.linspace(0, np.pi, steps)) ** 2 + (np.arange(steps) > 0.7 * steps)
    result = {}
    for name in NAMES[: writing.households]:
        mean = random.uniform(100, 900) * writing.step / 60
        noisy = np.tile(shape, writing.days) * random.uniform(0.4, 1.6, steps * writing.days)
        result[name] = [max(int(value), 1) for value in mean * noisy]
    return result


def number(writing: Writing, wh: int) -> str:
    """A reading as the table has it, exactly."""
    whole, part = divmod(wh, PER_UNIT[writing.unit])
    groups = f"{whole:,}".replace(",", writing.grouping)
    if PER_UNIT[writing.unit] == 1:
        return groups
    decimals = f"{part:03d}"
    decimals = decimals.rstrip("0") if writing.trims else decimals
    return f"{groups}{writing.decimal}{decimals}" if decimals else groups


def tables_of(writing: Writing, truth: dict[str, list[int]], first: int) -> dict[str, str]:
    """The files: a row for each step, counters with one more."""
    step = timedelta(minutes=writing.step)
    count = len(next(iter(truth.values())))
    if writing.are_counters:
        values = {name: list(accumulate(wh, initial=first)) for name, wh in truth.items()}
        times = [writing.start + k * step for k in range(count + 1)]
    else:
        values = truth
        times = [writing.start + (k + writing.are_ends) * step for k in range(count)]
    cells = {name: [number(writing, value) for value in column] for name, column in values.items()}
    if writing.gap is not None:
        cells[NAMES[0]][5] = writing.gap
    stamps = [time.strftime(writing.form) for time in times]

    def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        lines = [*(["Some export", ""] if writing.title else []), line(header)]
        rows = [*rows, *rows[7 : 7 + writing.twice]]
        return "\n".join([*lines, *(line(row) for row in rows)]) + "\n"

    def line(row: Sequence[str]) -> str:
        quoted = [f'"{cell}"' if writing.separator in cell else cell for cell in row]
        return writing.separator.join([*quoted, *([""] if writing.trailing else [])])

    if writing.layout == "wide":
        rows = [[stamp, *(cells[name][k] for name in cells)] for k, stamp in enumerate(stamps)]
        return {"all.csv": table(["time", *cells], rows)}
    if writing.layout == "long":
        rows = [[stamp, name, cells[name][k]] for k, stamp in enumerate(stamps) for name in cells]
        return {"all.csv": table(["time", "household", f"load_{writing.unit}"], rows)}
    return {f"{name}.csv": table(["Start", "Volume"], list(zip(stamps, cells[name], strict=True))) for name in cells}


def options_of(writing: Writing) -> list[str]:
    options = ["--times", "end"] if writing.are_ends and not writing.are_counters else []
    if "unit" in writing.tells:
        options += ["--unit", writing.unit]
    if "counter" in writing.tells and writing.are_counters:
        options += ["--counter"]
    if "dates" in writing.tells:
        options += ["--dates", "month-first" if writing.form.startswith("%m") else "day-first"]
    if "decimal" in writing.tells:
        options += ["--decimal", "comma" if writing.decimal == "," else "point"]
    if "gaps" in writing.tells:
        options += ["--gaps", "fill"]
    return options


EVERYTHING = frozenset({"unit", "counter", "dates", "decimal", "gaps"})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writing=writings(), seed=st.integers(0, 2**16), first=st.integers(0, 50_000_000))
def test_whatIsRead_isTheTruth_orRefused(writing: Writing, seed: int, first: int) -> None:
    event("read" if is_read(writing, truth_of(writing, seed), first) else "refused")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writing=writings(), seed=st.integers(0, 2**16), first=st.integers(0, 50_000_000))
def test_whatIsTold_isRead(writing: Writing, seed: int, first: int) -> None:
    assert is_read(replace(writing, tells=EVERYTHING), truth_of(writing, seed), first)


def is_read(writing: Writing, truth: dict[str, list[int]], first: int) -> bool:
    """Makes a community of the files, and compares it with the truth, if it was not refused."""
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in tables_of(writing, truth, first).items():
            paths.append(Path(folder) / name)
            paths[-1].write_text(text)
        arguments = [*map(str, paths), "--out", f"{folder}/out", "--price", "0.3", *options_of(writing)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["community", "new", "--from", *arguments])
        if status:
            assert status == 2
            assert err.getvalue().count("\n") == 1
            assert "mistake in gridpact" not in err.getvalue()
            return False
        community = read_community(f"{folder}/out")
    assert writing.gap is None or "gaps" in writing.tells
    steps = 24 * 60 // writing.step
    assert community.days == tuple(f"{writing.start + timedelta(days=k):%Y-%m-%d}" for k in range(writing.days))
    for name, wh in truth.items():
        read = np.concatenate([community.load.values[day][name] for day in community.days])
        expected = np.array(wh) * 60 / writing.step / 1000
        filled = np.zeros(len(wh), dtype=bool)
        filled[[4, 5]] = writing.gap is not None and name == NAMES[0]
        np.testing.assert_allclose(read[~filled], expected[~filled], rtol=1e-5)  # six digits are written
        if writing.are_counters:  # what was counted over a missing state is known
            assert np.isclose(read[:steps].sum(), expected[:steps].sum(), rtol=1e-5)
    return True
