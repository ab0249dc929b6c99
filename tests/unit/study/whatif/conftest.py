"""Small what-ifs on tiny3, solved once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.workers import HERE
from gridpact.study.whatif import penetration, sensitivity, uncertainty
from gridpact.study.whatif.draws import DayPlan
from gridpact.study.whatif.penetration import Penetration
from gridpact.study.whatif.sensitivity import Parameter, Sensitivity
from gridpact.study.whatif.uncertainty import Uncertainty


@pytest.fixture(scope="session")
def tiny() -> CommunityDay:
    return read_community("tiny3").on("1")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them keep what is finished."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="session")
def shares(tiny: CommunityDay, finished: Path) -> Penetration:
    settings = penetration.PenetrationSettings(mixes=("pv",), shares=(0.0, 1 / 3, 1.0), seed=2)
    return penetration.penetrate([tiny], settings, finished, HERE)


@pytest.fixture(scope="session")
def plans(tiny: CommunityDay, finished: Path) -> tuple[DayPlan, ...]:
    return uncertainty.plan_days([tiny], Scenario.TG, finished, HERE)


@pytest.fixture(scope="session")
def lived(plans: tuple[DayPlan, ...], finished: Path) -> Uncertainty:
    return uncertainty.live_through(plans, uncertainty.UncertaintySettings(draws=3), finished, HERE)


@pytest.fixture(scope="session")
def common(tiny: CommunityDay, finished: Path) -> Uncertainty:
    """G, in which the community has one plan at the grid connection."""
    plans = uncertainty.plan_days([tiny], Scenario.G, finished, HERE)
    return uncertainty.live_through(plans, uncertainty.UncertaintySettings(Scenario.G, draws=3), finished, HERE)


@pytest.fixture(scope="session")
def varied(tiny: CommunityDay, finished: Path) -> Sensitivity:
    """On lines of 150 times the impedance, tiny3 has no plan."""
    delivery = uncertainty.UncertaintySettings(recourses=sensitivity.RECOURSES, draws=2)
    values = {Parameter.FEED_IN: (0.5, 1.0), Parameter.LINES: (150.0,)}
    return sensitivity.vary([tiny], sensitivity.SensitivitySettings(values, (0.0, 0.1), delivery), finished, HERE)
