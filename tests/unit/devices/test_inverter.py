"""What the inverter may even out of the load's reactive power: the first wish, on which no load is to be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.community.model import Array, CommunityDay, Household
from gridpact.devices.inverter import Inverter
from gridpact.node.household_file import read_view, write_view
from gridpact.node.privacy import replayed
from gridpact.problem.blocks import Kind
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views


def even(day: CommunityDay, share: float, kvar: float) -> CommunityDay:
    """The day with an inverter in each home."""
    homes = (replace(home, devices=(*home.without(Inverter), Inverter(kvar, share))) for home in day.households)
    return replace(day, households=tuple(homes))


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=30).map(np.array),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_firstWish_isWithinWhatTheInverterCan_andEvenWhereItCan(
    load_kvar: Array, inverters: list[tuple[float, float]]
) -> None:
    home = Household(1, "one", 3 * load_kvar, load_kvar, tuple(Inverter(kvar, share) for kvar, share in inverters))
    room = sum(kvar * share for kvar, share in inverters)
    assert np.abs(home.first_kvar - load_kvar).max() <= room + 1e-9
    if not room:
        assert home.first_kvar.tolist() == load_kvar.tolist()
    if np.ptp(load_kvar) <= 2 * room - 1e-9:
        assert np.ptp(home.first_kvar) <= 1e-9
    assert np.ptp(home.first_kvar) <= np.ptp(load_kvar) + 1e-9


def test_nothingIsReadOfTheLoad_andThePlanIsTheSame(tiny3: CommunityDay) -> None:
    """By what the grid operator's node hears first; every home has room enough."""
    bought = []
    for share in (0.0, 1.0):
        played = replayed(even(tiny3, share, 5.0), Scenario.TG)
        first, last = played.iterates
        for home in tiny3.households:
            agent, said = first.agents[home.node], first.submissions[home.node]
            (wished,) = (row for block, row in zip(agent.blocks, said.copies, strict=True) if block.kind is Kind.Q)
            expected = home.load_kvar if not share else np.full(home.steps, home.load_kvar.mean())
            assert np.abs(-wished * played.transcript.power_kw - expected).max() <= played.transcript.power_kw
        plans = [last.agents[home.node].plan().schedule for home in tiny3.households]
        bought.append(sum(float(np.maximum(-plan["injection_kw"], 0).sum()) for plan in plans))
    assert bought[1] == pytest.approx(bought[0], rel=1e-3)


def test_file_tellsTheShare_andOneThatDoesNotIsRead(tmp_path: Path, tiny3: CommunityDay) -> None:
    file = tmp_path / "household.json"
    for share in (0.0, 0.5, 1.0):
        view = node_views(even(tiny3, share, 2.0), Scenario.TG, NetworkAgreement.DSO)[1]
        write_view(view, file)
        read = read_view(file)
        assert read.household is not None
        assert read.household.having(Inverter) == (Inverter(2.0, share),)
    told = json.loads(file.read_text())
    del told["household"]["inverter_even_share"]
    file.write_text(json.dumps(told))
    older = read_view(file)
    assert older.household is not None
    assert older.household.having(Inverter) == (Inverter(2.0),)
