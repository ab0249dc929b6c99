"""The summary fits a terminal, also an old one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gridpact.outcome.outcome import Outcome
from gridpact.problem.scenario import REPORT, Scenario
from gridpact.report.summary import summary
from unit.conftest import community, run


@pytest.mark.parametrize("scenario", REPORT)
def test_it_is_short(scenario: Scenario) -> None:
    lines = summary(run(scenario), unicode=True).splitlines()
    assert len(lines) <= 25
    assert max(len(line) for line in lines) <= 110
    assert any("iteration" in line or "on its own" in line for line in lines)


def test_it_says_what_matters(result: Outcome) -> None:
    text = summary(result, unicode=True)
    for part in (
        "2.62 EUR, losses in (each on its own: 3.10, saved: 0.48, 15.5 %)",
        "2.61 EUR, counted alike",
        "Every check held.",
        "2.5 kWh in 3 trades between 2 pairs, 0.47 EUR for all of them",
        "2.54 EUR for what is not traded",
        "0.970 to 1.005 p.u.",
        "✓",
    ):
        assert part in text


@pytest.mark.parametrize(("best", "said"), [(2.61, ""), (2.55, "; 12.7 % of what agreeing can save is left")])
def test_it_says_what_it_leaves(result: Outcome, best: float, said: str) -> None:
    """Of 3.10 - 2.55 = 0.55 EUR, 0.07; of 3.10 - 2.61, 0.01, which is less than a twentieth."""
    text = summary(replace(result, optimum=replace(result.optimum, paid=best)), unicode=True)
    assert f"{best} EUR, counted alike{said or ' (one'}" in text
    assert ("is left" in text) == bool(said)


def test_check_marks_degrade_to_ascii() -> None:
    text = summary(run(community=community(("å", "b", "c"), name="høyland"), reached=False), unicode=False)
    assert text.isascii()
    assert "NO Agreement reached" in text


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = summary(run(community=community(name="a\x1b[2Jb\nc")), unicode=True)
    assert "\x1b" not in text
    assert text.splitlines()[0].startswith("a [2Jb c, 06-10")
