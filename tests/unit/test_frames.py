"""A community from data frames is the one from files, and frames of a day hold what its outcome holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridpact
from gridpact.community.read import shipped_cases

CASE = shipped_cases()["amsterdam16"].parent
DAY = "2018-06-21"


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(CASE / name)


def timed(name: str) -> pd.DataFrame:
    frame = table(name).set_index("time")
    return frame.set_axis(pd.to_datetime(frame.index))


def given_tables() -> dict[str, pd.DataFrame]:
    return {
        "load_kw": timed("load_kw.csv"),
        "prices": timed("prices.csv"),
        "households": table("households.csv"),
        "feeder": pd.read_csv(shipped_cases()["fontana16"].parent / "feeder.csv"),
        "pv_kw": timed("pv_kw.csv"),
    }


def plain(thing: object) -> object:
    """With arrays as lists, so that all of it can be compared at once."""
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if dataclasses.is_dataclass(thing):
        return {one.name: plain(getattr(thing, one.name)) for one in dataclasses.fields(thing)}
    return [plain(one) for one in thing] if isinstance(thing, tuple) else thing


@pytest.fixture(scope="module")
def outcome() -> gridpact.DayOutcome:
    return gridpact.solve(gridpact.read("tiny3").on("1"), "t")


def test_fromFrames_isTheCommunityOfTheFiles(tmp_path: Path) -> None:
    kept = tmp_path / "street"
    made = gridpact.from_frames(**given_tables(), name="amsterdam16", currency="EUR", folder=kept)
    for community in (made, gridpact.read(kept)):
        assert plain(community.on(DAY)) == plain(gridpact.read("amsterdam16").on(DAY))


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_fromFrames_refusesWhatTheFilesRefuse(data: st.DataObject) -> None:
    tables = given_tables()
    name = data.draw(st.sampled_from(["load_kw", "prices", "pv_kw"]))
    frame = tables[name].copy()
    row = data.draw(st.integers(0, len(frame) - 1))
    column = data.draw(st.integers(0, len(frame.columns) - 1))
    value = frame.iloc[row, column] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e9]))
    tables[name] = frame
    told = rf"row {row + 2}\b"
    if (name, value) == ("pv_kw", 1e9):  # more than the home's panels can give: the complaint is about the panels
        told = rf"({told}|cannot give the 1e\+09 kW of pv_kw\.csv, {frame.index[row]:%H:%M})"
    with pytest.raises(gridpact.InputError, match=rf"{told}.*first of its frame"):
        gridpact.from_frames(**tables, name="amsterdam16", currency="EUR")


def test_fromFrames_saysWhichFrameHasWhichSteps() -> None:
    tables = given_tables()
    with pytest.raises(gridpact.InputError, match="index of pv must be times"):
        gridpact.from_frames(**(tables | {"pv_kw": table("pv_kw.csv")}), name="a", currency="EUR")
    slow = tables["prices"].iloc[::2]
    with pytest.raises(gridpact.InputError, match="steps of prices are 120 minutes long, those of load 60"):
        gridpact.from_frames(**(tables | {"prices": slow}), name="a", currency="EUR")
    with pytest.raises(gridpact.InputError, match="ascending"):
        gridpact.from_frames(**(tables | {"prices": tables["prices"].iloc[::-1]}), name="a", currency="EUR")


def test_frames_holdWhatTheOutcomeHolds(outcome: gridpact.DayOutcome) -> None:
    frames = gridpact.frames(outcome)
    assert frames.homes["cost"].sum() == pytest.approx(outcome.cost)
    assert list(frames.homes.index) == [home.name for home in outcome.households]
    assert frames.trades["energy_kwh"].sum() == pytest.approx(outcome.traded_kwh)
    sold = frames.trades.groupby("seller")["energy_kwh"].sum()
    for home in outcome.households:
        assert sold.get(home.name, 0.0) == pytest.approx(home.sold_kwh)
        for name, values in home.schedule.items():
            assert frames.schedules.loc[home.name, name].tolist() == values.tolist()
    exchanged = frames.steps["exchange_kw"] * outcome.step_hours
    assert exchanged.clip(lower=0).sum() == pytest.approx(outcome.import_kwh)
    assert np.array_equal(frames.voltages.T, outcome.voltage_pu)


def test_framesWithoutAPlan_areEmpty(outcome: gridpact.DayOutcome) -> None:
    frames = gridpact.frames(
        dataclasses.replace(
            outcome, failure="no plan", households=(), trades=(), voltage_pu=np.zeros(0), exchange_kw=np.zeros(0)
        )
    )
    assert len(frames.homes) == len(frames.trades) == len(frames.schedules) == frames.voltages.size == 0
    assert frames.steps["exchange_kw"].isna().all()
    assert frames.steps["import_price"].tolist() == list(outcome.import_price)


def test_plot_isTheReports(outcome: gridpact.DayOutcome) -> None:
    for name in ("power", "trades", "prices", "voltages", "convergence"):
        assert gridpact.plot(outcome, name).axes
    with pytest.raises(gridpact.InputError, match="no plot 'pwoer'; choose one of"):
        gridpact.plot(outcome, "pwoer")
    with pytest.raises(gridpact.InputError, match=r"use gridpact\.solve"):
        gridpact.plot(dataclasses.replace(outcome, whole=None))
