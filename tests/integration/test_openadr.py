"""A home's node and an aggregator by OpenADR 2.0b: openleadr's own server and client, on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from unit.service.helpers import HOUSEHOLD, settings_of
from waiting import until

from gridpact.aggregator.vtn import DispatchCall, Signals, VenAnswer, Vtn, calls_of
from gridpact.cli import main
from gridpact.community.called import Called
from gridpact.errors import InputError
from gridpact.service.alone import PlanAlone
from gridpact.service.calls import call_folder, called_in, kept_calls
from gridpact.service.forecast import NoForecast, take_forecast
from gridpact.service.plan import own_prices
from gridpact.service.rest import planned_anew
from gridpact.service.schedule import Schedule
from gridpact.service.settings import Settings
from gridpact.service.state import State
from gridpact.service.ven import Interval, Ven, whole_days

ZONE = ZoneInfo("UTC")  # where every day has 24 h
TODAY = datetime.now(ZONE).date()
"""Whose schedule the home reports."""

DAY, NEXT = TODAY + timedelta(days=1), TODAY + timedelta(days=2)
"""Of the signals: of what is over nobody is asked."""


def midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), ZONE).astimezone(timezone.utc)


MIDNIGHT = midnight(DAY)
HALF_HOUR = timedelta(minutes=30)
PRICES = 0.1 + 0.01 * np.arange(96) % 0.37


OTHERWISE = {
    'source = "fixed"\nimport_price = 0.3': 'source = "openadr"',
    'timezone = "Europe/Amsterdam"': 'timezone = "UTC"',
}
"""Than in the household.toml of other tests."""


class Running:
    """A VTN in a thread, and what it heard."""

    def __init__(self, signals: Signals) -> None:
        self.heard: list[VenAnswer] = []
        self._loop = asyncio.new_event_loop()
        self._vtn = Vtn(signals, self.heard.append, "127.0.0.1", 0, polled=timedelta(seconds=1))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._vtn.start(), self._loop).result()

    def said(self, home: str, what: str) -> list[str | float]:
        return [answer.said for answer in self.heard if (answer.home, answer.what) == (home, what)]

    def cancel(self, home: str, event: str) -> None:
        ven_id = str(self.said(home, "registered")[0])
        self._loop.call_soon_threadsafe(self._vtn._server.cancel_event, ven_id, event)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._vtn.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def vtn() -> Iterator[Running]:
    """Prices of two days; of cem, calls at noon that its schedule keeps and at 18:00 that it does not."""
    calls = [DispatchCall(24, np.array([0.5, 0.5])), DispatchCall(36, np.array([1.5]))]
    running = Running(Signals(MIDNIGHT, HALF_HOUR, PRICES, {"dee": [], "cem": calls}))
    yield running
    running.stop()


def home(folder: Path, vtn: str, **changes: str) -> Settings:
    toml = HOUSEHOLD + f'\n[openadr]\nvtn = "{vtn}"\nven = "cem"\n'
    for old, new in [*OTHERWISE.items(), *changes.items()]:
        assert old in toml
        toml = toml.replace(old, new)
    settings = settings_of(folder, toml)
    for day in (TODAY.isoformat(), DAY.isoformat()):
        import_kw = np.full(24, 0.4)
        import_kw[18] = 2.0
        values = {"injection_kw": -import_kw}
        Schedule(3, day, 1, "agreed", day, 3600, ZONE, values).write(settings.service.schedule)
    return settings


def test_home_takesPricesAndCalls_andReports(vtn: Running, tmp_path: Path) -> None:
    settings = home(tmp_path, vtn.url)
    assert settings.openadr is not None
    assert settings.forecast is not None
    with Ven(settings, settings.openadr, timedelta(seconds=1)):
        until(lambda: len(vtn.said("cem", "call")) >= 2, "no answers to calls come")
        until(lambda: bool(vtn.said("cem", "power")), "no report comes")
    assert set(vtn.said("cem", "price")) == {"optIn"}
    assert sorted(set(map(str, vtn.said("cem", "call")))) == ["optIn", "optOut"]  # 0.4 kW and 2 kW are planned
    assert set(vtn.said("cem", "power")) <= {400.0, 2000.0}
    assert not vtn.said("dee", "registered")

    day = NEXT.isoformat()
    told = {"load_kw": [0.5] * 24, "pv_kw": [0] * 24}
    forecasts = tmp_path / "forecasts"
    forecasts.mkdir(exist_ok=True)
    (forecasts / f"{day}.json").write_text(json.dumps(told))
    forecast = take_forecast(settings.forecast, day, 24, 0.0)
    prices = own_prices(settings.tariff, 24, forecast)
    np.testing.assert_allclose(prices.import_price, PRICES[48:].reshape(24, 2).mean(axis=1), atol=1e-6)


def test_home_plansAnew_forACall_andReportsItsMeter(vtn: Running, tmp_path: Path) -> None:
    """At 18:00 2 kW are planned, and 1.5 called for: the battery gives the rest, and the schedule keeps it. What was
    bought stays bought. What the meter read is reported beside what is planned."""
    changes = {'source = "openadr"': 'source = "published"'}
    day = '\n[day]\nreadings = "readings/{day}-{step}.json"\n\n[service]'
    settings = home(tmp_path, vtn.url, **changes, **{"\n[service]": day})
    assert settings.openadr is not None
    load = [0.4] * 24
    load[18] = 2.0
    (tmp_path / "forecasts").mkdir()
    told = {"load_kw": load, "pv_kw": [0] * 24, "car_energy_kwh": 0}
    (tmp_path / "forecasts" / f"{DAY}.json").write_text(json.dumps(told))
    (tmp_path / "readings").mkdir()
    for before in (TODAY - timedelta(days=1), TODAY, DAY):
        for step in range(24):
            (tmp_path / "readings" / f"{before}-{step}.json").write_text('{"meter_wh": -420}')
    steps: Any = SimpleNamespace(setting={"steps": 24, "step_seconds": 3600})
    alone = PlanAlone(settings, steps, State(tmp_path / "state" / "here"))
    with Ven(settings, settings.openadr, timedelta(seconds=1), alone):
        until(lambda: len(vtn.said("cem", "call")) >= 2, "no answers to calls come")
        until(lambda: bool(vtn.said("cem", "metered")), "no report of the meter comes")
        assert set(vtn.said("cem", "call")) == {"optIn"}
        assert set(vtn.said("cem", "metered")) == {420.0}
        schedule = Schedule.read(settings.service.schedule, DAY.isoformat(), ZONE)
        assert schedule is not None
        assert schedule.status == "renewed"
        drawn = -schedule.values["injection_kw"]
        assert drawn[18] <= 1.501
        assert drawn[12] <= 0.501
        traded = schedule.values["import_kw"] - schedule.values["feed_in_kw"] + schedule.values["injection_kw"]
        np.testing.assert_allclose(traded, -np.array(load), atol=1e-4)  # as it was bought
        called = view_of_calls(settings, DAY.isoformat())
        assert [float(called.least_kw[k]) for k in (12, 18)] == [-0.5, -1.5]
        assert np.flatnonzero(called.below).tolist() == [12, 18]
        events = [json.loads(path.read_text())["event"] for path in call_folder(settings).iterdir()]
        for event in events:
            vtn.cancel("cem", event)
        until(lambda: not any(call_folder(settings).iterdir()), "the calls stay")


def called_home(folder: Path) -> tuple[Ven, Settings, PlanAlone]:
    """A home without a chain, which draws 2 kW at 18:00, and has a battery; its VEN is asked without a VTN."""
    settings = home(folder, "http://127.0.0.1:1/", **{'source = "openadr"': 'source = "published"'})
    assert settings.openadr is not None
    load = [0.4] * 24
    load[18] = 2.0
    (folder / "forecasts").mkdir()
    told = {"load_kw": load, "pv_kw": [0] * 24, "car_energy_kwh": 0}
    (folder / "forecasts" / f"{DAY}.json").write_text(json.dumps(told))
    steps: Any = SimpleNamespace(setting={"steps": 24, "step_seconds": 3600})
    alone = PlanAlone(settings, steps, State(folder / "state" / "here"))
    ven = Ven(settings, settings.openadr, alone=alone)
    ven._loop.close()
    return ven, settings, alone


def a_call(most_kw: float, status: str = "far") -> dict[str, Any]:
    """Of 18:00."""
    event = event_of(("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT + timedelta(hours=18), HALF_HOUR, most_kw)]))
    event["event_descriptor"]["event_status"] = status
    return event


def drawn_kw(settings: Settings) -> np.ndarray:
    schedule = Schedule.read(settings.service.schedule, DAY.isoformat(), ZONE)
    assert schedule is not None
    return -schedule.values["injection_kw"]


def test_cancelledCall_isNotPlannedForAnyMore(tmp_path: Path) -> None:
    """Also without [day] in its configuration, where nothing else plans the day again."""
    ven, settings, alone = called_home(tmp_path)
    before = Schedule.read(settings.service.schedule, DAY.isoformat(), ZONE)
    assert before is not None
    free = planned_anew(alone.view(DAY.isoformat()), before, 0, ())
    assert ven._hear(a_call(1.2)) == "optIn"
    assert drawn_kw(settings)[18] <= 1.201
    assert np.abs(drawn_kw(settings) + free.values["injection_kw"]).max() > 0.1
    assert ven._hear(a_call(1.2, "cancelled")) == "optIn"
    assert not kept_calls(settings)
    np.testing.assert_allclose(drawn_kw(settings), -free.values["injection_kw"], atol=2e-3)


def test_eventThatChangesAllTheTime_isOptedOutOf_onceTheHomeHasPlannedEnough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridpact.service.calls.MOST_ANEW", 3)
    ven, settings, _ = called_home(tmp_path)
    planned = []

    def counted(*arguments: Any) -> Schedule:
        planned.append(1)
        return planned_anew(*arguments)

    monkeypatch.setattr("gridpact.service.ven.planned_anew", counted)
    answers = [ven._hear(a_call(1.5 - 0.05 * number)) for number in range(8)]
    assert len(planned) == 3
    assert answers == ["optIn"] * 3 + ["optOut"] * 5
    assert not kept_calls(settings)


def view_of_calls(settings: Settings, day: str) -> Called:
    """What whoever plans the day is asked to keep."""
    (called,) = called_in(settings, day, 24, 1.0, kept_calls(settings))
    return called


def test_cancelledPrices_areForgotten(vtn: Running, tmp_path: Path) -> None:
    settings = home(tmp_path, vtn.url)
    assert settings.openadr is not None
    assert settings.forecast is not None
    assert settings.forecast.signals is not None
    kept = settings.forecast.signals / f"{NEXT}.json"
    with Ven(settings, settings.openadr):
        until(kept.is_file, "no prices come")
        vtn.cancel("cem", json.loads(kept.read_text())["event"])
        until(lambda: not kept.is_file(), "the prices stay")


def test_homeWithAnotherTariff_takesCallsOnly(vtn: Running, tmp_path: Path) -> None:
    settings = home(tmp_path, vtn.url, **{'source = "openadr"': 'source = "published"'})
    assert settings.openadr is not None
    with Ven(settings, settings.openadr):
        until(lambda: len(vtn.said("cem", "call")) >= 2 and bool(vtn.said("cem", "price")), "no answers come")
    assert set(vtn.said("cem", "price")) == {"optOut"}
    assert "optIn" in vtn.said("cem", "call")


def test_home_optsOut_ofWhatItDoesNotTake(vtn: Running, tmp_path: Path) -> None:
    dear = home(tmp_path, vtn.url, **{"[service]": "[limits]\nimport_price_max = 0.2\n\n[service]"})
    assert dear.openadr is not None
    assert dear.forecast is not None
    with Ven(dear, dear.openadr):
        until(lambda: bool(vtn.said("cem", "price")), "no answer comes")
    assert set(vtn.said("cem", "price")) == {"optOut"}
    (tmp_path / "forecasts").mkdir()
    (tmp_path / "forecasts" / f"{DAY}.json").write_text(json.dumps({"load_kw": [0.5] * 24, "pv_kw": [0] * 24}))
    with pytest.raises(NoForecast, match="there are no prices"):
        take_forecast(dear.forecast, DAY.isoformat(), 24, 0.0)


def test_stranger_isNotTakenIn(vtn: Running, tmp_path: Path) -> None:
    settings = home(tmp_path, vtn.url, **{'ven = "cem"': 'ven = "eve"'})
    assert settings.openadr is not None
    with Ven(settings, settings.openadr):
        until(lambda: bool(vtn.said("eve", "registered")), "it does not ask")
    assert {answer.what for answer in vtn.heard} == {"registered"}
    assert "refused" in str(vtn.said("eve", "registered")[0])


def event_of(*signals: tuple[str, str, object]) -> dict[str, Any]:
    told = [{"signal_name": name, "signal_type": kind, "intervals": all_} for name, kind, all_ in signals]
    return {"event_descriptor": {"event_id": "e\x1b[2J", "event_status": "far"}, "event_signals": told}


def interval(begins: object, lasts: object, value: object) -> dict[str, object]:
    return {"dtstart": begins, "duration": lasts, "signal_payload": value}


def schedules(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in settings.service.schedule.iterdir()}


LAST = datetime.max.replace(tzinfo=timezone.utc)
KEPT = interval(MIDNIGHT, timedelta(hours=1), 0.5)
"""A call that the schedule keeps."""


@pytest.mark.parametrize(
    "signals",
    [
        [("LOAD_DISPATCH", "setpoint", [interval(LAST, timedelta(days=1), 1.0)])],
        [("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT, timedelta.max, 1.0)])],
        [("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT, None, 1.0)])],
        [("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT.replace(tzinfo=None), HALF_HOUR, 9.0)])],
        [("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT, HALF_HOUR, "nan")])],
        [("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT, HALF_HOUR, [1])])],
        [("LOAD_DISPATCH", "setpoint", "all day")],
        [("ELECTRICITY_PRICE", "price", [interval(MIDNIGHT, timedelta(0), 0.1)])],
        [("ELECTRICITY_PRICE", "price", [interval(MIDNIGHT, timedelta(microseconds=-1), 0.1)])],
        [("ELECTRICITY_PRICE", "price", [interval(LAST, timedelta(hours=1), 0.1)])],
        [("LOAD_DISPATCH", "setpoint", [KEPT]), ("ELECTRICITY_PRICE", "price", [interval(MIDNIGHT, HALF_HOUR, 0.1)])],
        [("ELECTRICITY_PRICE", "price", [interval(MIDNIGHT, timedelta(days=1), 0.1)]),
         ("LOAD_DISPATCH", "setpoint", [interval(MIDNIGHT, timedelta(days=1), 0.5)])],
    ],
)  # fmt: skip
def test_hostileEvent_isOptedOutOf_andNothingOfItKept(tmp_path: Path, signals: list[tuple[str, str, object]]) -> None:
    settings = home(tmp_path, "http://127.0.0.1:1/")
    assert settings.openadr is not None
    assert settings.forecast is not None
    assert settings.forecast.signals is not None
    ven = Ven(settings, settings.openadr)
    ven._loop.close()
    written = schedules(settings)
    assert ven._hear(event_of(("LOAD_DISPATCH", "setpoint", [KEPT]))) == "optIn"
    assert ven._hear(event_of(*signals)) == "optOut"
    assert not kept_calls(settings)
    assert not list(settings.forecast.signals.glob("*.json"))
    assert schedules(settings) == written


def test_calls_areWhereLessIsDrawn() -> None:
    wished = np.array([2.0, 2.0, 2.0, -1.0, -1.0, 0.5])
    planned = np.array([2.0, 1.5, 1.0, -1.0, -3.0, 0.499])
    first, second = calls_of(wished, planned)
    assert (first.first, second.first) == (1, 4)
    np.testing.assert_array_equal(first.most_kw, [1.5, 1.0])
    np.testing.assert_array_equal(second.most_kw, [-3.0])
    assert calls_of(wished, wished) == []


@pytest.mark.parametrize(
    ("starts", "minutes", "values", "said"),
    [
        (0, 30, 47, "covers no whole day"),
        (1, 30, 48, "covers no whole day"),
        (0, 7, 48, "no steps of one length"),
        (0, 30, 0, "no intervals"),
    ],
)
def test_wholeDays_refusesOthers(starts: int, minutes: int, values: int, said: str) -> None:
    step = timedelta(minutes=minutes)
    of = [Interval(MIDNIGHT + (starts + k) * step, step, 0.1) for k in range(values)]
    with pytest.raises(InputError, match=said):
        whole_days(of, midnight)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"http://127.0.0.1:1": "ftp://127.0.0.1"}, "no address of a VTN"),
        ({"http://127.0.0.1:1": "http://example.org/OpenADR2"}, "is in clear"),
        ({'ven = "cem"': ""}, r"\[openadr\] ven: is missing"),
    ],
)
def test_settings_areChecked(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        home(tmp_path, "http://127.0.0.1:1", **changes)


def test_withoutAnAggregator_thereAreNoSuchPrices(tmp_path: Path) -> None:
    toml = HOUSEHOLD.replace('source = "fixed"\nimport_price = 0.3', 'source = "openadr"')
    with pytest.raises(InputError, match="openadr: is missing"):
        settings_of(tmp_path, toml)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "others can reach"),
        (["--date", "soon"], "--date 'soon' is no day"),
        (["--timezone", "Mars"], "--timezone 'Mars' is not known"),
        (["--port", "70000"], "--port 70000"),
        (["--poll", "0"], "--poll 0"),
    ],
)
def test_command_refusesInOneSentence(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "calls.json"
    plan.write_text('{"step_minutes": 30, "import_price": [0.1], "calls": {"cem": []}}')
    assert main(["aggregator", "vtn", "--plan", str(plan), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    plan.write_text("[]")
    assert main(["aggregator", "vtn", "--plan", str(plan)]) == 2
    assert "is no file of 'gridpact aggregator plan --calls'" in capsys.readouterr().err
