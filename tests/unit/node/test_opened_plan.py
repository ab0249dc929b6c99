"""The operator's plan of a sealed round, as its node opens it to the metering operator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gridpact.node.node
from gridpact.chain.evidence import opened_plan_digest
from gridpact.chain.values import Phase
from gridpact.community.model import GRID_CONNECTION, CommunityDay, Feeder
from gridpact.errors import InputError
from gridpact.grid.limits import PublishedFeeder
from gridpact.market.admm.codec import decode_copies, encode_feeder, published
from gridpact.market.admm.parameters import Tolerances
from gridpact.node.audit import audit_round
from gridpact.node.opened_plan import OpenedPlan
from gridpact.node.round_log import assembly_of
from gridpact.node.twin_ledger import TwinLedger
from gridpact.node.twin_referee import is_proved
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from unit.node.rounds import Played

COARSE = Tolerances(10.0, 10.0, 10.0, 10.0)


def sealed(day: CommunityDay, form: bool = True) -> Played:
    played = Played(day, Scenario.TG, tolerances=COARSE, sealed=form)
    played.play()
    assert played.outcome.phase is Phase.CONVERGED
    return played


def narrower(view: NodeView) -> bytes:
    """The book of a node; the operator's promises less than it keeps: 1e-4 p.u. around the source's voltage."""
    if view.household is not None or view.feeder is None:
        return published(view)
    one = PublishedFeeder.of(view.feeder)  # type: ignore[arg-type]
    return encode_feeder(replace(view.feeder, voltage_min_pu=1 - 1e-4, voltage_max_pu=1 + 1e-4)) if one.lines else b""


def operator_of(played: Played) -> TwinLedger:
    return TwinLedger(played.twin, GRID_CONNECTION)


def proved(played: Played, plan: OpenedPlan, step: int, node: int = GRID_CONNECTION) -> bool:
    reader = TwinLedger(played.twin, 1)
    found = assembly_of(reader, played.number)
    assert found is not None
    return is_proved(reader, found[0], played.number, node, plan.evidence(reader, step), {})


def test_plan_isReadByWhomItIsOpenedTo_andByNobodyElse(tiny3: CommunityDay, tmp_path: Path) -> None:
    played = sealed(tiny3)
    number, reader = played.number, TwinLedger(played.twin, 1)
    OpenedPlan.of(operator_of(played), number).write(file := tmp_path / "plan.json")
    assert file.stat().st_mode & 0o777 == 0o600
    plan = OpenedPlan.read(file)
    # As the same round says it in clear.
    clear = sealed(tiny3, form=False)
    said, own = (TwinLedger(one.twin, 1).history(one.number)[-1].submissions[0] for one in (clear, played))
    found = assembly_of(reader, number)
    assert found is not None
    words = TwinLedger(clear.twin, 1).copies_of(said)
    assert words != reader.copies_of(own)
    answers = decode_copies(found[0].blocks(GRID_CONNECTION), words, found[0].steps)
    assert np.array_equal(plan.answers(reader), answers)
    assert plan.iteration == said.iteration
    audit = audit_round(reader, number, plan)
    assert audit.clean
    assert audit.opened
    assert not audit_round(reader, number).opened
    assert not any(proved(played, plan, step) for step in range(tiny3.steps))


def test_planOutsideItsLimits_isFound_andProved(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gridpact.node.node, "published", narrower)
    played = sealed(tiny3)
    number, reader = played.number, TwinLedger(played.twin, 1)
    assert audit_round(reader, number).plan_errors == ()  # nobody sees it
    plan = OpenedPlan.of(operator_of(played), number)
    errors = audit_round(reader, number, plan).plan_errors
    assert errors
    steps = {step for step in range(tiny3.steps) if any(error.endswith(f"at step {step}") for error in errors)}
    assert {step for step in range(tiny3.steps) if proved(played, plan, step)} == steps
    step = min(steps)
    assert not proved(played, plan, step, node=1)
    for wrong in (replace(plan, keys=plan.keys[::-1]), replace(plan, iteration=plan.iteration - 1)):
        with pytest.raises(InputError, match=r"is not signed|of iteration"):
            audit_round(reader, number, wrong)


def test_keysThatOpenSomethingElse_areFound(tiny3: CommunityDay) -> None:
    """An operator that signs other keys says of itself that it answered what no feeder carries."""
    played = sealed(tiny3)
    number, ledger = played.number, operator_of(played)
    plan = OpenedPlan.of(ledger, number)
    found = assembly_of(ledger, number)
    assert found is not None
    assembly = found[0]
    keys = (*plan.keys[:-1], bytes(32))
    digest = opened_plan_digest(plan.aggregator, number, plan.iteration, keys)
    lie = replace(plan, keys=keys, signature=ledger.round_key(number).sign(digest))
    audit = audit_round(TwinLedger(played.twin, 1), number, lie)
    last = assembly.children[GRID_CONNECTION][-1]
    assert audit.false_claims == (f"node {last} said nothing near what the opened plan has",)
    assert proved(played, lie, int(audit.plan_errors[0].rsplit(" ", 1)[1]))


def test_anyOtherKeys_areSeen(tiny3: CommunityDay) -> None:
    """However often an operator draws: by what households said, where what it opens happens to be within the limits."""
    played = sealed(tiny3)
    number, ledger, reader = played.number, operator_of(played), TwinLedger(played.twin, 1)
    plan, within = OpenedPlan.of(ledger, number), 0
    for draw in range(100):
        keys = (plan.keys[0], bytes([draw]) * 32, plan.keys[2])
        digest = opened_plan_digest(plan.aggregator, number, plan.iteration, keys)
        lie = replace(plan, keys=keys, signature=ledger.round_key(number).sign(digest))
        assert lie.unlike(reader) == (2,)
        within += not audit_round(reader, number, lie).plan_errors
    assert within < 100


def test_whatIsNotThere_isSaid(tiny3: CommunityDay, tmp_path: Path) -> None:
    open_round = sealed(tiny3, form=False)
    with pytest.raises(InputError, match=f"round {open_round.number} is open: everybody reads the operator's plan"):
        OpenedPlan.of(operator_of(open_round), open_round.number)
    traded = Played(tiny3, Scenario.T, tolerances=COARSE, sealed=True)
    traded.play()
    with pytest.raises(InputError, match="the operator's node answered nothing in round"):
        OpenedPlan.of(TwinLedger(traded.twin, 1), traded.number)
    (file := tmp_path / "plan.json").write_text('{"round": 1}')
    with pytest.raises(InputError, match="is not what `gridpact household show` writes"):
        OpenedPlan.read(file)
    with pytest.raises(InputError, match="cannot be read"):
        OpenedPlan.read(tmp_path / "none")


def test_household_refusesAPartThatCannotBe(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sealed answer it reads its own part only: enough where that breaks the limits whatever the others do. Then
    it states nothing."""
    assert tiny3.feeder is not None
    ends = {line.node for line in tiny3.feeder.lines} - {line.parent for line in tiny3.feeder.lines}

    def thinner(view: NodeView) -> bytes:
        """Lines of 20 ohm to whoever is at an end."""
        if view.household is not None or not isinstance(view.feeder, Feeder):
            return published(view)
        lines = tuple(replace(line, resistance_ohm=20.0) if line.node in ends else line for line in view.feeder.lines)
        return encode_feeder(replace(view.feeder, lines=lines))

    monkeypatch.setattr(gridpact.node.node, "published", thinner)
    played = Played(tiny3, Scenario.TG, tolerances=COARSE, sealed=True)
    reports = played.play()
    assert played.outcome.phase is Phase.CONVERGED
    assert ends
    assert {node for node, report in reports.items() if node != GRID_CONNECTION and not report.agreed} == ends
    monkeypatch.undo()
    kept = Played(tiny3, Scenario.TG, tolerances=COARSE, sealed=True).play()
    assert all(report.agreed for report in kept.values())
