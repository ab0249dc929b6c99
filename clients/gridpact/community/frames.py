"""A community of data frames: written as the tables of a community file, and read with all of its checks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridpact.community.new import FeederRule, feeder_table, put_files
from gridpact.community.read import FILES, Community, read_community
from gridpact.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TIME = "time"


def community_of(
    series: Mapping[str, pd.DataFrame],
    households: pd.DataFrame,
    feeder: pd.DataFrame | None,
    settings: Mapping[str, str | float | list[str]],
    folder: Path | None,
) -> Community:
    """Writes the tables into a folder, or one that is removed again, and reads them.

    Args:
        series: by the keys of `FILES` ("prices", "load", "pv", "outdoor"): a row a step.
        households: the columns of `households.csv`, the names as its index or in a column of their own.
        feeder: the columns of `feeder.csv`; None: a synthetic one, as `gridpact community new` lays it.
        settings: keys of `community.toml` but for `step_minutes`, which is worked out.

    Raises:
        InputError: a table is not one of a community; the folder is taken.
    """
    steps = {key: _minutes(key, frame) for key, frame in series.items()}
    minutes = steps["load"]
    for key, other in steps.items():
        if other != minutes:
            raise InputError(f"the steps of {key} are {other} minutes long, those of load {minutes}; make them alike")
    settings = {**settings, "step_minutes": minutes}
    files = {FILES[key]: _timed(frame) for key, frame in series.items()}
    files[FILES["households"]] = _named(households)
    files[FILES["feeder"]] = (
        feeder_table(len(households), FeederRule()) if feeder is None else feeder.to_csv(index=False)
    )
    toml = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items())
    files["community.toml"] = f"{toml}\n[feeder]\n"
    try:
        if folder is not None:
            put_files(files, folder)
            return read_community(str(folder))
        with tempfile.TemporaryDirectory(prefix="gridpact-") as staging:
            for name, text in files.items():
                (Path(staging) / name).write_text(text, encoding="utf-8")
            return read_community(staging)
    except InputError as error:
        raise InputError(f"the frames are no community: {error} (row 2 of a table is the first of its frame)") from None


def _minutes(key: str, frame: pd.DataFrame) -> int:
    """How long the steps of a frame are.

    Raises:
        InputError: its index is no time, or its first steps are not alike.
    """
    import pandas as pd

    if not isinstance(frame.index, pd.DatetimeIndex):
        raise InputError(f"the index of {key} must be times (a DatetimeIndex), in the local clock of the homes")
    if len(frame) < 2:
        raise InputError(f"{key} has {len(frame)} rows; a day has at least two steps")
    minutes = (frame.index[1] - frame.index[0]) / pd.Timedelta(minutes=1)
    if minutes <= 0 or minutes != int(minutes):
        raise InputError(f"the first two times of {key} are {minutes:g} minutes apart; give whole minutes, ascending")
    return int(minutes)


def _timed(frame: pd.DataFrame) -> str:
    table = frame.set_axis(frame.index.strftime("%Y-%m-%d %H:%M"), axis=0)
    return str(table.rename_axis(TIME).to_csv())


def _named(households: pd.DataFrame) -> str:
    table: Any = households if "household" in households.columns else households.rename_axis("household").reset_index()
    if "node" not in table.columns:
        table = table.assign(node=range(1, len(table) + 1))
    return str(table.to_csv(index=False))
