"""The what-if commands as a user gives them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gridpact.cli import _parser, main
from gridpact.cli.whatif import _days
from gridpact.community.read import read_community
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import Scenario
from gridpact.study.whatif.draws import DeliveryTask, Lived
from gridpact.study.whatif.sweep import DayPoint

PENETRATION = ["penetration", "--case", "tiny3", "--jobs", "1"]
UNCERTAINTY = ["uncertainty", "--case", "tiny3", "--jobs", "1"]
SENSITIVITY = ["sensitivity", "--case", "tiny3", "--jobs", "1"]


def test_penetration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p"
    assert (
        main([*PENETRATION, "--shares", "0,100", "--devices", "battery", "--scenarios", "b,t", "--out", str(out)]) == 0
    )
    said = capsys.readouterr().out
    assert "of households with batteries" in said
    assert f"Report: {out / 'index.html'}" in said
    assert (out / "penetration.png").exists()


def test_uncertainty_is_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for name in ("a", "b"):
        options = ["--draws", "2", "--seed", "4", "--scenario", "t", "--recourse", "none", "--json"]
        assert main([*UNCERTAINTY, *options, "--out", str(tmp_path / name)]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    fields = json.loads(told[0])
    assert (fields["scenario"], fields["draws"], list(fields["recourse"])) == ("t", 2, ["none"])


def test_uncertainty_in_g(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--draws", "2", "--scenario", "g", "--recourse", "none,rolling"]
    assert main([*UNCERTAINTY, *options, "--out", str(tmp_path / "g")]) == 0
    assert "the community at the grid connection by" in capsys.readouterr().out
    page = (tmp_path / "g" / "index.html").read_text()
    assert "Who keeps what is left" in page
    assert "G, by the baseline" in page
    assert "Every check of every point held." in page


def test_an_interrupted_what_if_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*UNCERTAINTY, "--draws", "3", "--scenario", "t", "--recourse", "none", "--json"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    whole, said = capsys.readouterr()
    assert "taken over" not in said
    solve, delivered = DeliveryTask.solve, []

    def interrupted(self: DeliveryTask) -> Lived:
        delivered.append(self.number)
        if len(delivered) == 2:
            raise KeyboardInterrupt
        return solve(self)

    monkeypatch.setattr(DeliveryTask, "solve", interrupted)
    assert main([*command, "--out", str(tmp_path / "parts")]) != 0
    capsys.readouterr()
    monkeypatch.setattr(DayPoint, "solve", lambda self: pytest.fail(f"{self.name} was solved again"))
    assert main([*command, "--out", str(tmp_path / "parts")]) == 0
    out, said = capsys.readouterr()
    assert out == whole
    assert f"\n3 of 5 points taken over from {tmp_path / 'parts'}\n" in said  # two plans and a draw
    assert delivered == [0, 1, 1, 2]


def test_a_check_that_fails_is_told_by_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `gridpact study`: 1, and point and check are named."""
    options = ["--chi", "0.1,0.2", "--feed-in", "-", "--battery", "-", "--lines", "-", "--adders", "-"]
    good = DayPoint.solve

    def not_agreed(self: DayPoint) -> DayOutcome:
        outcome = good(self)
        if (self.scenario, self.community.trading_coefficient) != (Scenario.TG, 0.2):
            return outcome
        limits = tuple(float(residual) / 1.5 for residual in outcome.residuals_w[:, -1])
        checks = (replace(outcome.checks[0], held=False, value="200 iterations"), *outcome.checks[1:])
        return replace(outcome, converged=False, residual_limits_w=limits, checks=checks)

    monkeypatch.setattr(DayPoint, "solve", not_agreed)
    assert main([*SENSITIVITY, *options, "--out", str(tmp_path / "s")]) == 1
    said = capsys.readouterr().out
    assert "Not every check held; read these points with care:\n" in said
    which = "agreement reached (not after 200 iterations, residuals up to 1.50 times their limits)"
    assert f"\nChi 0.2 in TG on 1: {which}.\n" in said
    assert f"<p>Chi 0.2 in TG on 1: {which}.</p>" in (tmp_path / "s" / "index.html").read_text()
    assert main([*SENSITIVITY, *options, "--json", "--out", str(tmp_path / "s")]) == 1
    assert json.loads(capsys.readouterr().out)["checks_held"] is False


def test_a_plan_that_two_things_need_is_not_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The case's own point is the plan that is delivered, too: found in the folder, but solved by this command."""
    only = ["--feed-in", "-", "--battery", "-", "--lines", "-", "--draws", "1"]
    command = [*SENSITIVITY, *only, "--adders", "0", "--out", str(tmp_path / "s"), "--chi"]
    assert main([*command, "0.1"]) == 0
    assert "taken over" not in capsys.readouterr().err
    assert main([*command, "0.1,0.2"]) == 0
    said = capsys.readouterr().err
    assert f"\n6 of 9 points taken over from {tmp_path / 's'}\n" in said  # 3 of 6, the plan in 2 scenarios, its draw
    assert said.count("taken over") == 1


def test_all_days_are_those_of_the_case() -> None:
    given = ["uncertainty", "--case", "amsterdam16", "--days"]
    every, some = (_days(_parser().parse_args([*given, days])) for days in ("all", "2018-12-28,2018-06-21"))
    assert [day.day for day in every] == list(read_community("amsterdam16").days)
    assert [day.day for day in some] == ["2018-12-28", "2018-06-21"]


def test_sensitivity_of_one_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--chi", "0,0.2", "--feed-in", "-", "--battery", "-", "--lines", "-", "--adders", "-"]
    assert main([*SENSITIVITY, *options, "--out", str(tmp_path / "s")]) == 0
    assert "The trading coefficient moves the saving in TG most" in capsys.readouterr().out
    assert not (tmp_path / "s" / "adders.csv").exists()


WRONG: dict[str, tuple[list[str], str]] = {
    "case": (["penetration", "--case", "tiny4"], "there is no case and no community file 'tiny4'"),
    "day": ([*PENETRATION, "--days", "2"], "'tiny3' has no day '2'"),
    "days": ([*PENETRATION, "--days", ""], "--days is empty; give names with commas between them"),
    "devices": ([*PENETRATION, "--devices", ","], "--devices is empty"),
    "shares": ([*PENETRATION, "--shares", "0,half"], "--shares needs numbers with commas between them, not '0,half'"),
    "share": ([*PENETRATION, "--shares", "120"], "--shares: 120 must be between 0 and 100"),
    "device": ([*PENETRATION, "--devices", "heatpump"], "there is no device 'heatpump'"),
    "scenario": ([*PENETRATION, "--scenarios", "x"], "there is no scenario 'x'"),
    "jobs": ([*PENETRATION, "--jobs", "0"], "--jobs 0 must be at least 1"),
    "seed": ([*PENETRATION, "--seed", "-1"], "--seed needs a number of at least 0"),
    "b": ([*UNCERTAINTY, "--scenario", "b"], "there is no scenario that can be delivered 'b'; choose one of g, t, tg"),
    "draws": ([*UNCERTAINTY, "--draws", "0"], "--draws needs a positive number"),
    "error": ([*UNCERTAINTY, "--load-error", "3"], "--load-error 3 must be between 0 and 2"),
    "adder": ([*UNCERTAINTY, "--adder", "-1"], "--adder needs a price of at least 0"),
    "recourse": ([*UNCERTAINTY, "--recourse", "magic"], "there is no recourse 'magic'"),
    "public": ([*UNCERTAINTY, "--public-price", "nan"], "--public-price needs a price of at least 0"),
    "lines": ([*SENSITIVITY, "--lines", "0"], "--lines: 0 must be at least 0.001"),
    "nothing": ([*SENSITIVITY, "--chi", "-", "--feed-in", "-", "--battery", "-", "--lines", "-", "--adders", "-"],
                "there is nothing left to vary"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_complaints_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before anything is solved."""
    monkeypatch.setattr(DayPoint, "solve", lambda self: pytest.fail(f"{self.name} was solved"))
    given, complaint = WRONG[name]
    out = tmp_path / "out"
    assert main([*given, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_foreign_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("mine")
    assert main([*UNCERTAINTY, "--out", str(tmp_path)]) == 2
    assert "holds an index.html that is of no uncertainty" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"
