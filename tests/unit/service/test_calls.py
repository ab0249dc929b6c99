"""What an aggregator calls for, in a household's plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.chain.flexibility import FlexibilityCall, OfferTerms
from gridpact.community.called import Called
from gridpact.community.model import Array
from gridpact.devices.battery import Battery
from gridpact.manage.flexibility import comes_to, delivered_steps
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views
from gridpact.service.calls import (
    MOST_ANEW,
    Allowed,
    call_folder,
    called_by,
    called_in,
    forget_call,
    keep_call,
    kept_calls,
    midnight,
)
from gridpact.service.day_run import DayRun
from unit.problem.helpers import community, household
from unit.service.helpers import HOUSEHOLD, settings_of

STEPS = 4
LOAD = np.array([0.5, 0.5, 1.5, 0.5])


def view_of(*called: Called) -> NodeView:
    """A home with a battery that loses nothing, at one price for import."""
    home = household(1, LOAD.tolist(), [0.0] * STEPS)
    home = replace(home, devices=(Battery(2.0, 1.0, 1.0, 1.0, 1.0),), called=called)
    return node_views(community([home], [0.3] * STEPS, step_hours=1.0), Scenario.B, NetworkAgreement.DSO)[0]


def terms(price: float, fine: float) -> OfferTerms:
    return OfferTerms("0x", 0, "battery", 10**9, 0, 1, 2000, 2000, 9000, round(1e6 * price), round(1e6 * fine), 0, 0)


def planned(view: NodeView) -> Array:
    return fallback(view)["injection_kw"]


@pytest.mark.parametrize(("energy", "reached"), [(800, -0.7), (-400, -1.9), (2000, -0.5)])
def test_call_isPlannedFor_asFarAsDevicesCan(energy: int, reached: float) -> None:
    """The battery gives or takes 1 kW; more is not to be had, whatever is paid. The rest of the day makes good."""
    call = FlexibilityCall(1, 1, 1, 1, 2, (energy,), (-1500,), 0, False)
    view = view_of(called_by(call, terms(0.5, 0.5), STEPS, 1.0))
    plan = planned(view)
    assert plan[2] == pytest.approx(reached, abs=1e-4)
    assert plan.sum() == pytest.approx(-LOAD.sum(), abs=1e-4)


def test_call_thatPaysTooLittle_isNotPlannedFor() -> None:
    """With half of what is stored lost, a kWh more in step 2 costs one more elsewhere, 0.3: for 0.2 nobody does it."""
    call = FlexibilityCall(1, 1, 1, 1, 2, (800,), (-1500,), 0, False)
    for price, moved in ((0.2, 0.0), (0.4, 0.8)):
        view = view_of(called_by(call, terms(price, 0.0), STEPS, 1.0))
        assert view.household is not None
        lossy = replace(view.household, devices=(Battery(2.0, 1.0, 0.5, 1.0, 0.0),))
        plan = planned(replace(view, household=lossy))
        assert plan[2] + 1.5 == pytest.approx(moved, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(
    energy=st.integers(-900, 900),
    moved=st.integers(-1500, 1500),
    price=st.floats(0, 1),
    fine=st.floats(0, 1),
)
def test_cost_isWhatTheContractPaysLess(energy: int, moved: int, price: float, fine: float) -> None:
    """Against what a call comes to: the plan's cost is what is lost of it by moving so much, but that nobody loses more
    than the price by going the other way."""
    call = FlexibilityCall(1, 1, 1, 1, 0, (energy,), (-1000,), 0, False)
    of = terms(price, fine)
    called = called_by(call, of, 1, 1.0)
    cost = float(called.cost(cp.Constant(np.array([(moved - 1000) / 1000])), 1.0).value)
    best, got = (
        comes_to(delivered_steps(call, {(0, 1): -1000 + wh}), of, 10**6).payment / 1e6 for wh in (energy, moved)
    )
    if moved * energy < 0:
        cost -= price * abs(moved) / 1000
    assert cost == pytest.approx(best - got, abs=5e-6)


def test_events_areKeptForWhoeverPlans(tmp_path: Path) -> None:
    """Of two that overlap the stricter holds; those of another day are not of this one; what is over by a day goes."""
    own, day = settings_of(tmp_path), "2030-11-22"
    begins = midnight(own, day)
    hour = (midnight(own, "2030-11-23") - begins) / 24
    keep_call(own, "over", [Allowed(datetime.now(timezone.utc) - 30 * hour, hour, 9.0)])
    keep_call(own, "one", [Allowed(begins + 2.5 * hour, hour, 1.0), Allowed(begins + 3.5 * hour, 0.5 * hour, -0.5)])
    keep_call(own, "other", [Allowed(begins + 24 * hour, hour, 0.1)])
    (called,) = called_in(own, day, 24, 1.0, kept_calls(own))
    assert np.flatnonzero(called.below).tolist() == [2, 3]
    assert called.least_kw[[2, 3]].tolist() == [-1.0, 0.5]
    assert not called.above.any()
    assert called_in(own, "2030-11-21", 24, 1.0, kept_calls(own)) == ()
    (call_folder(own) / "9.json").write_text("{}")
    assert len(kept_calls(own)) == 3


OPENADR = '[openadr]\nvtn = "http://127.0.0.1:8080/OpenADR2/Simple/2.0b"\nven = "cem"\n'


def test_eventThatChangesAllTheTime_isPlannedFor_soOftenOnly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setpoint is one that the schedule keeps, so the node opts in to all of them; what has waited is planned for
    once that is allowed again, and a call on the chain does not wait."""
    own, called = settings_of(tmp_path, HOUSEHOLD + OPENADR), set[int]()
    flexibility = SimpleNamespace(called_steps=lambda day, node: frozenset(called), calls_of_day=lambda day: [])
    parts = dict.fromkeys(("account", "aggregator", "settlement", "ledger"), SimpleNamespace())
    connection = SimpleNamespace(setting=SimpleNamespace(step_seconds=3600, steps=24), flexibility=flexibility, **parts)
    run = DayRun(own, connection, None, None, None, SimpleNamespace(day=20301122))  # type: ignore[arg-type]
    begins = midnight(own, "2030-11-22")

    def vary(number: int) -> bool:
        forget_call(own, "event")
        keep_call(own, "event", [Allowed(begins, timedelta(hours=1), 5.0 + number / 10)])
        return run._is_called()

    assert not run._is_called()
    assert sum(vary(number) for number in range(40)) == MOST_ANEW
    assert not run._is_called()
    called.add(3)
    assert run._is_called()
    assert not vary(50)
    monkeypatch.setattr("gridpact.service.calls.ANEW_WITHIN", timedelta(0))
    assert run._is_called()
    assert not run._is_called()
