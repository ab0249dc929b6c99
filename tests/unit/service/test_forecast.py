"""Forecasts: read from a file or a command, and one sentence for each that no plan can be made with."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from waiting import SECONDS, until

from gridpact.files import write_atomically
from gridpact.service.forecast import NoForecast, parse_forecast, take_forecast
from gridpact.service.settings import ForecastSettings

DAY, STEPS = "2026-11-22", 4
GOOD = {"day": DAY, "load_kw": [1, 0.5, 1, 2], "pv_kw": [0, 4, 4, 0], "battery_start_kwh": 3}
TABLE = f"""\
time,load_kw,pv_kw,car_plugged_in
2026-11-21 18:00,9,9,1
{DAY} 00:00,1,0,1
{DAY} 06:00,0.5,4,0
{DAY} 12:00,1,4,0
{DAY} 18:00,2,0,1
2026-11-23 00:00,9,9,1
"""


def of_file(path: Path) -> ForecastSettings:
    return ForecastSettings(str(path), None, 60.0)


def of_command(*command: str) -> ForecastSettings:
    return ForecastSettings(None, command, 60.0)


def python(text: str) -> Sequence[str]:
    return (sys.executable, "-c", text)


def test_json_isRead(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.json").write_text(json.dumps(GOOD))
    found = take_forecast(of_file(tmp_path / "{day}.json"), DAY, STEPS, 1.0)
    assert found.day == DAY
    assert found.series["load_kw"].tolist() == [1, 0.5, 1, 2]
    assert found.series["pv_kw"].tolist() == [0, 4, 4, 0]
    assert found.numbers == {"battery_start_kwh": 3.0}


def test_csv_isReadForItsDay(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(TABLE)
    found = take_forecast(of_file(tmp_path / "all.csv"), DAY, STEPS, 1.0)
    assert found.series["load_kw"].tolist() == [1, 0.5, 1, 2]
    assert found.series["car_plugged_in"].tolist() == [1, 0, 0, 1]


def test_command_isAsked() -> None:
    """With the day, and whatever it writes to standard error."""
    told = (
        f"import json, sys; print(sys.argv[1], file=sys.stderr); print(json.dumps({GOOD!r} | {{'day': sys.argv[1]}}))"
    )
    found = take_forecast(of_command(*python(told), "{day}"), DAY, STEPS, SECONDS)
    assert found.series["load_kw"].tolist() == [1, 0.5, 1, 2]


def test_file_mayBeLate(tmp_path: Path) -> None:
    path = tmp_path / "later.json"
    threading.Timer(0.5, lambda: write_atomically(path, json.dumps(GOOD))).start()
    assert take_forecast(of_file(path), DAY, STEPS, SECONDS).series["load_kw"].tolist() == [1, 0.5, 1, 2]


@pytest.mark.parametrize("there", [None, GOOD | {"day": "2026-11-21"}], ids=["nothing", "yesterday's"])
def test_file_thatDoesNotCome_isGivenUp(tmp_path: Path, there: dict[str, object] | None) -> None:
    path = tmp_path / "never.json"
    if there:
        path.write_text(json.dumps(there))
    started = time.monotonic()
    with pytest.raises(NoForecast, match=r"never\.json.*the round does not wait longer than 1 s"):
        take_forecast(of_file(path), DAY, STEPS, 1.0)
    assert time.monotonic() - started < of_file(path).timeout_s


def test_command_thatHangs_isEnded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it started. Its time begins here once it has started that."""
    pid, wait = tmp_path / "pid", subprocess.Popen.wait

    def wait_once_begun(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        until(lambda: pid.exists() and pid.read_text().endswith("\n"))
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_once_begun)
    child = f"sleep 600 & echo $! > {pid}; wait"
    with pytest.raises(NoForecast, match="forecast command 'sh' did not end within 1 s"):
        take_forecast(of_command("sh", "-c", child), DAY, STEPS, 1.0)
    until(lambda: ended(int(pid.read_text())), "what the command started runs on")


def ended(pid: int) -> bool:
    """Or nobody has asked yet how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("/no/such/program",), "'/no/such/program' cannot be started: No such file or directory"),
        (("sh", "-c", "echo no sun; echo model failed >&2; exit 3"), "'sh' ended with status 3: model failed"),
        (("sh", "-c", "true"), "'sh' is empty"),
        (("sh", "-c", "head -c 2000000 /dev/zero"), "more than 1 MB"),
    ],
    ids=["missing", "fails", "says nothing", "says too much"],
)
def test_command_thatFails_isNamed(command: Sequence[str], told: str) -> None:
    with pytest.raises(NoForecast, match="forecast") as caught:
        take_forecast(of_command(*command), DAY, STEPS, SECONDS)
    assert told in str(caught.value)


WRONG = {
    "no JSON": ("{", "is no JSON"),
    "short": (GOOD | {"load_kw": [1, 2, 3]}, "has 3 values of load_kw, the round has 4 steps"),
    "long": (GOOD | {"pv_kw": [1] * 5}, "has 5 values of pv_kw, the round has 4 steps"),
    "full of NaN": (GOOD | {"load_kw": [float("nan")] * 4}, "load_kw of it at step 0 is nan, which is no finite"),
    "one NaN": (GOOD | {"pv_kw": [0, 4, float("nan"), 0]}, "pv_kw of it at step 2 is nan"),
    "infinite": (GOOD | {"load_kw": [1, float("inf"), 1, 1]}, "load_kw of it at step 1 is inf"),
    "null": (GOOD | {"load_kw": [1, 1, 1, None]}, "load_kw of it at step 3 is missing"),
    "text": (GOOD | {"load_kw": [1, 1, 1, "much"]}, "load_kw of it at step 3 is 'much', which is no number"),
    "negative": (GOOD | {"load_kw": [1, 1, -1, 1]}, "load_kw is -1 at step 2, it must be at least 0"),
    "no list": (GOOD | {"load_kw": 1}, "load_kw must be a list of 4 numbers"),
    "no load": ({"day": DAY}, "has no load_kw"),
    "unknown": (GOOD | {"laod_kw": [1] * 4}, "'laod_kw' is not known; known keys"),
    "battery": (GOOD | {"battery_start_kwh": -1}, "battery_start_kwh is -1"),
    "battery NaN": (GOOD | {"battery_start_kwh": float("nan")}, "battery_start_kwh of it is nan"),
    "another day": (GOOD | {"day": "2026-11-23"}, "is for 2026-11-23, not for 2026-11-22"),
    "csv short": (TABLE.replace(f"{DAY} 18:00,2,0,1\n", ""), "has 3 values of load_kw"),
    "csv cells": (TABLE.replace("00:00,1,0,1", "00:00,1,0"), "row 3: has 3 cells, the header has 4"),
    "csv NaN": (TABLE.replace("06:00,0.5", "06:00,nan"), "row 4, column 'load_kw': 'nan' is not a finite number"),
    "csv empty cell": (TABLE.replace("06:00,0.5", "06:00,"), "row 4, column 'load_kw': is empty"),
    "csv order": (
        TABLE.replace(f"{DAY} 06:00", f"{DAY} 13:00"),
        "row 4, column 'time': '2026-11-22 13:00' should be 06:00 of 2026-11-22: the round's steps are of 360",
    ),
    "csv time": (TABLE.replace("time,", "when,"), "column 'time' is missing; the header has: when"),
    "csv no time": ("load_kw\n1\n", "column 'time' is missing"),
    "csv other days": (TABLE.replace(DAY, "2026-11-20"), "has no rows of 2026-11-22"),
    "empty": ("\n", "is empty"),
    "W": (GOOD | {"load_kw": [300, 250, 900, 450]}, "load_kw is 900 at step 2, more than 100 kW; is it in W?"),
    "PV in W": (GOOD | {"pv_kw": [0, 3200, 0, 0]}, "pv_kw is 3200 at step 1"),
    "csv W": (TABLE.replace("12:00,1,", "12:00,850,"), "load_kw is 850 at step 2"),
    "twice": ('{"load_kw": [1, 1, 1, 1], "load_kw": [2, 2, 2, 2]}', "'load_kw' is given twice"),
    "deep": ('{"load_kw":' * 100_000, "is no JSON"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrongForecast_isNamed(what: str) -> None:
    content, told = WRONG[what]
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(NoForecast) as caught:
        parse_forecast(text, "it", DAY, STEPS)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


HALF_HOURS = [f"{DAY} {k // 2:02d}:{30 * (k % 2):02d}" for k in range(48)]


@pytest.mark.parametrize(
    ("times", "wrong"),
    [
        (HALF_HOURS[:24], f"'{DAY} 00:30' should be 01:00"),
        ([f"{DAY} {k:02d}:37" for k in range(24)], f"'{DAY} 00:37' should be 00:00"),
        ([*HALF_HOURS[0:6:2], *HALF_HOURS[8::2], HALF_HOURS[47]], f"'{DAY} 04:00' should be 03:00"),
        ([f"{DAY} x{k:02d}" for k in range(24)], "is not a time like"),
        (HALF_HOURS[:46:2], "has 23 values of load_kw, the round has 24 steps"),
    ],
    ids=["half a day", "off the steps", "one missing", "no times", "short"],
)
def test_timesOfAForecast_areTheRoundsSteps(times: list[str], wrong: str) -> None:
    text = "\n".join(["time,load_kw", *(f"{time},0.3" for time in times)])
    with pytest.raises(NoForecast) as caught:
        parse_forecast(text, "it", DAY, 24)
    assert wrong in str(caught.value)


def test_csv_asItComes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With semicolons and decimal commas, offsets from UTC, and a little below zero."""
    monkeypatch.setenv("TZ", "Europe/Amsterdam")
    time.tzset()
    try:
        pv = ["-0,003"] * 8 + ["0,5"] * 16
        rows = [f"2026-11-{21 + (k + 23) // 24}T{(k + 23) % 24:02d}:00Z;0,25;{pv[k]}" for k in range(24)]
        found = parse_forecast("\n".join(["time;load_kw;pv_kw", *rows]), "it", DAY, 24)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.series["load_kw"].tolist() == [0.25] * 24
    assert found.series["pv_kw"].tolist() == [0.0] * 8 + [0.5] * 16


def test_largeMembers_sayHowLarge() -> None:
    told = GOOD | {"load_kw": [150, 200, 250, 120]}
    assert parse_forecast(json.dumps(told), "it", DAY, STEPS, most_kw=300).series["load_kw"].tolist() == told["load_kw"]


def test_aForecastOfNoDay_isNotTakenForThisOne(tmp_path: Path) -> None:
    """A file that is the same every day may be yesterday's."""
    timeless = {key: value for key, value in GOOD.items() if key != "day"}
    for name in ("forecast.json", f"{DAY}.json"):
        (tmp_path / name).write_text(json.dumps(timeless))
    with pytest.raises(NoForecast, match="does not say of which day it is"):
        take_forecast(of_file(tmp_path / "forecast.json"), DAY, STEPS, 1.0)
    assert take_forecast(of_file(tmp_path / "{day}.json"), DAY, STEPS, 1.0).day == DAY
    says = python(f"import json; print(json.dumps({timeless!r}))")
    with pytest.raises(NoForecast, match="does not say of which day it is"):
        take_forecast(of_command(*says), DAY, STEPS, SECONDS)
    assert take_forecast(of_command(*says, "{day}"), DAY, STEPS, SECONDS).day == DAY


def test_fileWithAByteOrderMark_isRead(tmp_path: Path) -> None:
    (tmp_path / "windows.json").write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert take_forecast(of_file(tmp_path / "windows.json"), DAY, STEPS, 1.0).numbers == {"battery_start_kwh": 3.0}


@pytest.mark.parametrize("place", ["Europe/Madrid", "America/New_York", "Australia/Adelaide", "UTC"])
@pytest.mark.parametrize("machine", ["UTC", "Asia/Tokyo"])
def test_dayOfAForecast_beginsAtTheHomesMidnight(place: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of three days with offsets from UTC: the day is the home's, wherever the machine's clock is."""
    monkeypatch.setenv("TZ", machine)
    time.tzset()
    try:
        zone = ZoneInfo(place)
        first = datetime(2026, 11, 21, tzinfo=zone).astimezone(timezone.utc)
        rows = [f"{first + timedelta(hours=k):%Y-%m-%dT%H:%MZ},{k}" for k in range(72)]
        found = parse_forecast("\n".join(["time,load_kw", *rows]), "it", "2026-11-22", 24, zone=zone)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.series["load_kw"].tolist() == list(range(24, 48))
