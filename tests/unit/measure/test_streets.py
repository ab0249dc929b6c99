"""Streets that nobody tuned: a small part of `make streets`, and the days on which little is left to agree on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import Prices
from gridpact.devices.pv import Panels
from gridpact.grid.powerflow import power_flow
from gridpact.outcome.gaps import implemented_gaps, stays_below
from gridpact.problem.centralised import EXACTNESS_LIMIT, centralised_optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from measure.streets import KINDS, SCENARIOS, play, street

NOTHING_TO_AGREE_ON = ("free day", "no loads", "nothing to gain")
LOSING_COSTS_NOTHING = ("free hours", "free day", "negative hours", "feed-in worth nothing", "much sun")


def test_streets_areOfAllKinds_andTheSameForTheSameSeed() -> None:
    streets = [street(kind, 3) for kind in KINDS]
    assert {community.steps for community in streets} == {24, 48, 96}
    assert min(len(community.households) for community in streets) <= 4
    assert max(len(community.households) for community in streets) == 60
    prices = np.concatenate([community.prices.import_price for community in streets])
    assert prices.min() < 0 == np.median(np.minimum(prices, 0)) < prices.max()
    again = street("farms", 3)
    assert again.households[-1].load_kw.tolist() == street("farms", 3).households[-1].load_kw.tolist()
    assert again.households[-1].load_kw.tolist() != street("farms", 4).households[-1].load_kw.tolist()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("kind", NOTHING_TO_AGREE_ON)
def test_whereNothingIsToBeAgreedOn_theRoundEndsSoon(kind: str, scenario: Scenario) -> None:
    for seed in (0, 1):
        ended = play(kind, seed, scenario)
        assert not ended.refused
        assert ended.agreed
        assert ended.iterations <= 20
        assert abs(ended.left) <= 1e-3 * ended.bill, ended


@pytest.mark.parametrize("kind", LOSING_COSTS_NOTHING)
def test_optimumInG_isPhysical_whereLosingEnergyCostsNothing(kind: str) -> None:
    """By an independent power flow of its plan: neither losses nor voltages are made up, and it costs what it says."""
    community = street(kind, 1)
    optimum = centralised_optimum(community, Scenario.G)
    assert optimum.relaxation_gap <= EXACTNESS_LIMIT
    flow = power_flow(community.feeder, optimum.injection_kw, optimum.injection_kvar)
    assert optimum.voltage_pu is not None
    assert flow.voltage_pu == pytest.approx(optimum.voltage_pu, abs=1e-3)
    prices, drawn = community.prices, flow.import_kw
    paid = np.maximum(drawn, 0) @ prices.import_price - np.maximum(-drawn, 0) @ prices.feed_in_price
    assert community.step_hours * paid == pytest.approx(optimum.cost, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("kind", ["margin small", "free hours", "negative hours", "flat", "few watts"])
def test_roundsEnd_nearTheOptimum(kind: str, scenario: Scenario) -> None:
    ended = play(kind, 1, scenario)
    assert not ended.refused
    assert ended.agreed
    assert abs(ended.gap) <= 0.002, ended


def test_whereFeedingInIsWorthNothing_theNetworkDoesNotHoldBackWhatHomesCurtail() -> None:
    """Answers must not creep to where losses are least: then steps are small far from the optimum. Where the round
    stops says nothing of that: its limits follow what agreeing can gain, which is little here."""
    ended = play("much sun", 22, Scenario.TG)
    assert ended.agreed
    assert ended.gap <= 0.0005, ended
    gaps = implemented_gaps(street("much sun", 22), Scenario.TG, NetworkAgreement.DSO)
    assert 0 < stays_below(gaps, 0.001) <= 60


def test_optimumInG_isPhysical_whereVoltagesThrowAwayWhatIsWorthAsMuchAsImport() -> None:
    """Net metering and twice the panels: to lose a kWh in a line frees voltage for more than a kWh of somebody else."""
    drawn = street("much sun", 17)
    homes = tuple(
        replace(home, devices=tuple(_twice(one) if isinstance(one, Panels) else one for one in home.devices))
        for home in drawn.households
    )
    community = replace(drawn, households=homes, prices=Prices(np.full(drawn.steps, 0.2), 1.0))
    optimum = centralised_optimum(community, Scenario.G)
    flow = power_flow(community.feeder, optimum.injection_kw, optimum.injection_kvar)
    assert optimum.relaxation_gap <= EXACTNESS_LIMIT
    assert flow.voltage_pu.max() == pytest.approx(community.feeder.voltage_max_pu, abs=1e-4)  # the limit binds
    assert 0.2 * community.step_hours * flow.import_kw.sum() == pytest.approx(optimum.cost, rel=1e-5)


def _twice(panels: Panels) -> Panels:
    return replace(panels, pv_kw=2 * panels.pv_kw, pv_kwp=2 * panels.pv_kwp)
