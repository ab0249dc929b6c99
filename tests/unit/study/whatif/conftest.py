"""Small what-ifs on tiny3, solved once."""

from __future__ import annotations

import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.market.scenario import Scenario
from gridpact.study.whatif import penetration, sensitivity, uncertainty
from gridpact.study.whatif.penetration import Mix, Penetration
from gridpact.study.whatif.sensitivity import Parameter, Sensitivity
from gridpact.study.whatif.uncertainty import DayPlan, Uncertainty


@pytest.fixture(scope="session")
def tiny() -> CommunityDay:
    return read_community("tiny3").on("1")


@pytest.fixture(scope="session")
def shares(tiny: CommunityDay) -> Penetration:
    return penetration.penetrate(
        [tiny], penetration.Settings(mixes=(Mix.PV,), shares=(0.0, 1 / 3, 1.0), seed=2), jobs=1
    )


@pytest.fixture(scope="session")
def plans(tiny: CommunityDay) -> tuple[DayPlan, ...]:
    return uncertainty.plan_days([tiny], Scenario.TG, 1, lambda *_: None)


@pytest.fixture(scope="session")
def lived(plans: tuple[DayPlan, ...]) -> Uncertainty:
    return uncertainty.live_through(plans, uncertainty.Settings(draws=3), jobs=1)


@pytest.fixture(scope="session")
def varied(tiny: CommunityDay) -> Sensitivity:
    """On lines of 150 times the impedance, tiny3 has no plan."""
    delivery = uncertainty.Settings(recourses=sensitivity.RECOURSES, draws=2)
    values = {Parameter.FEED_IN: (0.5, 1.0), Parameter.LINES: (150.0,)}
    return sensitivity.vary([tiny], sensitivity.Settings(values, (0.0, 0.1), delivery), jobs=1)
