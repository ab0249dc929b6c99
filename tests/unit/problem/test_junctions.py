"""Nodes without a household: the same plans as with the lines merged, or with a household that uses nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Household, Line
from gridpact.community.read import read_community, shipped_cases
from gridpact.errors import InputError
from gridpact.grid.powerflow import power_flow
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.prepared import Prepared
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.gaps import compare
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views

FORK = Line(4, 0, 0.05, 0.02)
"""A cabinet from which the first line of tiny3 and another one go on."""


@pytest.fixture
def forked(tiny3: CommunityDay) -> CommunityDay:
    """Nodes 1 and 2 hang below a junction, 4; node 3 stays where it is."""
    lines = [replace(line, parent=4) if line.node in (1, 2) else line for line in tiny3.feeder.lines]
    return replace(tiny3, feeder=replace(tiny3.feeder, lines=(*lines, FORK), junctions=frozenset({4})))


def with_nobody(day: CommunityDay) -> CommunityDay:
    """A household that uses nothing at each junction."""
    nothing = np.zeros(day.steps)
    nobody = tuple(Household(node, f"nobody {node}", nothing, nothing) for node in sorted(day.feeder.junctions))
    feeder = replace(day.feeder, junctions=frozenset())
    return replace(day, households=(*day.households, *nobody), feeder=feeder)


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG])
def test_plan_isThatWithAHouseholdThatUsesNothing(forked: CommunityDay, scenario: Scenario) -> None:
    one, other = centralised_optimum(forked, scenario), centralised_optimum(with_nobody(forked), scenario)
    assert one.cost == pytest.approx(other.cost, rel=1e-6)  # the solver's
    assert one.injection_kw.shape == (3, forked.steps)
    assert one.voltage_pu is not None
    assert one.voltage_pu.shape == (4, forked.steps)
    if scenario is Scenario.G:
        assert one.nodal_price is not None
        assert one.nodal_price.shape == (3, forked.steps)


def test_plan_isThatOfTheMergedLine(tiny3: CommunityDay) -> None:
    """A junction within a line changes nothing: its parts in series are the line."""
    first, *rest = tiny3.feeder.lines
    part = 0.3
    upper = Line(4, first.parent, part * first.resistance_ohm, part * first.reactance_ohm)
    rest_of_it = {key: (1 - part) * getattr(first, key) for key in ("resistance_ohm", "reactance_ohm")}
    lower = replace(first, parent=4, **rest_of_it)
    feeder = replace(tiny3.feeder, lines=(lower, *rest, upper), junctions=frozenset({4}))
    split = centralised_optimum(replace(tiny3, feeder=feeder), Scenario.TG)
    assert split.cost == pytest.approx(centralised_optimum(tiny3, Scenario.TG).cost, rel=1e-6)
    ours = power_flow(feeder, split.injection_kw, split.injection_kvar)
    merged = power_flow(tiny3.feeder, split.injection_kw, split.injection_kvar)
    np.testing.assert_allclose(ours.voltage_pu[:3], merged.voltage_pu, atol=1e-7)
    np.testing.assert_allclose(ours.losses_kw, merged.losses_kw, atol=1e-6)


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG])
def test_round_agreesOnIt(forked: CommunityDay, scenario: Scenario) -> None:
    prepared = Prepared.of(forked, scenario)
    assert prepared.views[0].children == (1, 2, 3)
    *_, last = Negotiation.of(prepared).iterates()
    gap, *_ = compare(prepared, last.agents, centralised_optimum(forked, scenario).cost)
    assert abs(gap) < 1e-3  # as the checks of a run have it


def test_neighbours_areTold(forked: CommunityDay) -> None:
    with pytest.raises(InputError, match=r"node 4 of 'tiny3' has no household .*--network-agreement dso"):
        node_views(forked, Scenario.TG, NetworkAgreement.NEIGHBOURS)
    assert len(node_views(forked, Scenario.T, NetworkAgreement.NEIGHBOURS)) == 3


def test_operatorsFile_hasThem(forked: CommunityDay, tmp_path: Path) -> None:
    operator = node_views(forked, Scenario.TG, NetworkAgreement.DSO)[0]
    write_view(operator, tmp_path / "operator.json")
    read = read_view(tmp_path / "operator.json")
    assert read.feeder == operator.feeder
    assert read.feeder is not None
    assert read.feeder.junctions == {4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "mine"))


def test_reader_knowsThem(folder: Path) -> None:
    path = folder / "feeder.csv"
    path.write_text(path.read_text().replace("\n1,0,", "\n4,0,100,0.2,0.08\n1,4,"))
    feeder = read_community(str(folder)).feeder
    assert feeder.junctions == {4}
    assert [line.node for line in feeder.lines] == [1, 2, 3, 4]
    path.write_text(path.read_text().replace("\n4,0,", "\n9,0,").replace("\n1,4,", "\n1,9,"))
    with pytest.raises(InputError, match=r"no household with node 9; nodes without one .* from 4, without gaps"):
        read_community(str(folder))
