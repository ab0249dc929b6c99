"""The registry of ways to agree: what is not in it is refused by name, whatever it looks like."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.errors import InputError
from gridpact.market.registry import MARKETS, NAMES, SCENARIOS, market_of, scenario_named, scenarios_named
from gridpact.problem.scenario import NEGOTIATED, REPORT, Contracts, CountedNetwork, Scenario


def test_everyRowHasItsOwnNameAndLook() -> None:
    assert len({market.scenario for market in MARKETS}) == len(MARKETS)
    assert len({market.scenario.value for market in MARKETS}) == len(MARKETS)
    assert len({(market.look.colour, market.look.mark) for market in MARKETS}) == len(MARKETS)
    for market in MARKETS:
        assert market_of(market.scenario) is market
        assert scenario_named(market.scenario.value.upper()) == market.scenario


def test_reportsScenarios_keepTheirNames() -> None:
    assert [scenario.value for scenario in REPORT] == ["b", "g", "t", "tg"]
    assert [scenario.name for scenario in REPORT] == ["B", "G", "T", "TG"]
    assert {name: (s.has_trades, s.has_network, s.has_contracts) for name, s in NAMES.items() if s in REPORT} == {
        "b": (False, False, True),
        "g": (False, True, False),
        "t": (True, False, True),
        "tg": (True, True, True),
    }


def test_namesTellScenariosApart() -> None:
    every = [
        Scenario(mechanism=mechanism, network=network, contracts=contracts)
        for mechanism in ("alone", "admm", "barter")
        for network in CountedNetwork
        for contracts in Contracts
    ]
    assert len({scenario.value for scenario in every}) == len(every)


@given(st.text())
def test_unknownName_isRefusedByName(name: str) -> None:
    if name.lower() in NAMES:
        return
    with pytest.raises(InputError, match="there is no scenario") as error:
        scenarios_named(["t", name])
    assert name in str(error.value)


def test_unfitScenario_isRefusedByName() -> None:
    with pytest.raises(InputError, match="no scenario that can be delivered 'b'; choose one of g, t, tg"):
        scenario_named("b", NEGOTIATED.values(), " that can be delivered")
    for unfit in (
        Scenario(mechanism="alone", network=CountedNetwork.FEEDER),
        Scenario(mechanism="admm", contracts=Contracts.COMMUNITY),
        Scenario(mechanism="barter"),
    ):
        with pytest.raises(InputError, match="there is no scenario"):
            market_of(unfit)


def test_scenarioFromAnotherProcess_isTheSame() -> None:
    for scenario in SCENARIOS:
        assert pickle.loads(pickle.dumps(scenario)) == scenario
        assert market_of(pickle.loads(pickle.dumps(scenario))).scenario == scenario
