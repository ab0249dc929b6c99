"""The page of a run on a street says of each phase what OpenDSS found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridpact.community.street import PhaseFeeder, Transformer
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.report.phases import street_of
from gridpact.report.report import page
from unit.conftest import run
from unit.problem.test_street import street


def test_everyPhase_isOnThePage() -> None:
    community = street()
    assert isinstance(community.feeder, PhaseFeeder)
    limited = replace(community.feeder, transformer=Transformer(100, 1.5, 3.7))
    result = solved(replace(community, feeder=limited), Scenario.B, NetworkAgreement.DSO)
    flow, shown = result.flow.by_phase, street_of(result)
    assert flow is not None
    assert shown is not None
    text = page(result, {})
    assert "The street, phase by phase" in text
    for phase, row in enumerate(shown.rows[:3]):
        mine = flow.voltage_pu[phase::3]  # homes on the phases in turn
        assert row.homes == 2
        assert row.lowest.startswith(f"{mine.min():.4f} p.u., home_")
        assert row.highest.startswith(f"{mine.max():.4f} p.u., home_")
        assert row.current.startswith(f"{np.nanmax(flow.phase_a[:, phase]):.1f} A, ")
        assert row.lowest in text
    neutral = shown.rows[3]
    assert neutral.loading.startswith(f"{100 * flow.neutral_loading.max():.1f} %, ")
    assert neutral.highest.startswith(f"{flow.neutral_v.max():.1f} V, ")
    assert shown.unbalance.startswith(f"{100 * flow.unbalance.max():.1f} %, ")
    assert shown.transformer.startswith(f"{100 * flow.transformer_loading.max():.1f} % of its rating, ")


def test_balancedFeeder_hasNoPhases() -> None:
    result = run(Scenario.TG)
    assert street_of(result) is None
    assert "phase by phase" not in page(result, {})
