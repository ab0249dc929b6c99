"""The folders of what-ifs: all files, tables that say what the points say, pages without a network."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.errors import InputError
from gridpact.problem.scenario import Scenario
from gridpact.report.whatif.page import Page, number, percent_text, write_page
from gridpact.report.whatif.penetration import penetration_page
from gridpact.report.whatif.sensitivity import sensitivity_page
from gridpact.report.whatif.uncertainty import uncertainty_page
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.penetration import Penetration
from gridpact.study.whatif.sensitivity import Sensitivity
from gridpact.study.whatif.sweep import PointFigures
from gridpact.study.whatif.uncertainty import Uncertainty


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check(page: Page, folder: Path) -> str:
    """Writes a page and checks what holds of all of them."""
    index = write_page(page, folder)
    text = index.read_text()
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*//[^"]*"', text)
    assert "<script" not in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL).lower().replace("finance", "")
    for picture in page.pictures:
        assert (folder / f"{picture.name}.png").read_bytes()[:4] == b"\x89PNG"
        assert f'id="{picture.name}"' in text
    json.loads((folder / f"{page.kind}.json").read_text())
    for name in page.csv_files:
        assert rows(folder / name)
    return text


def test_penetration(shares: Penetration, tmp_path: Path) -> None:
    text = check(penetration_page(shares), tmp_path / "out")
    assert "Share of households with PV" in text
    table = rows(tmp_path / "out" / "points.csv")
    assert len(table) == 3 * 2  # shares, scenarios
    fields = json.loads((tmp_path / "out" / "penetration.json").read_text())
    for point, told in zip(shares.points, fields["points"], strict=True):
        assert told["scenarios"]["tg"]["cost"] == pytest.approx(point.figures[Scenario.TG].cost)
    costs = [float(row["cost"]) for row in table if row["mix"] == "pv" and row["scenario"] == "tg"]
    assert costs == pytest.approx([p.figures[Scenario.TG].cost for p in shares.points[:3]], abs=1e-8)


def test_sensitivity_shows_what_has_no_plan(varied: Sensitivity, tmp_path: Path) -> None:
    text = check(sensitivity_page(varied), tmp_path / "out")
    assert "no feasible plan" in text
    assert "No feasible plan in TG where the impedance of lines is 150." in text
    table = rows(tmp_path / "out" / "points.csv")
    weak = [row for row in table if row["parameter"] == "lines" and row["value"] == "150"]
    assert [row["verdict"] for row in weak] == ["ok", "ok", "no feasible plan"]  # b, t, tg
    assert weak[2]["cost"] == ""
    adders = rows(tmp_path / "out" / "adders.csv")
    assert len(adders) == 2 * 2 * 2  # adders, recourses, draws


def test_uncertainty(lived: Uncertainty, tmp_path: Path) -> None:
    text = check(uncertainty_page(lived), tmp_path / "out")
    assert f"Of a planned saving of {lived.planned_saving:.2f} EUR" in text
    fields = json.loads((tmp_path / "out" / "uncertainty.json").read_text())
    for recourse in Recourse:
        told = fields["recourse"][recourse.value]
        assert told["saving_quantiles"]["0.5"] == pytest.approx(np.median(lived.savings(recourse)))
    table = rows(tmp_path / "out" / "draws.csv")
    assert len(table) == 3 * 3
    saved = [float(row["cost_b"]) - float(row["cost"]) for row in table if row["recourse"] == "rolling"]
    assert saved == pytest.approx(lived.savings(Recourse.ROLLING), abs=1e-8)


def test_uncertainty_in_g(common: Uncertainty, tmp_path: Path) -> None:
    text = check(uncertainty_page(common), tmp_path / "out")
    assert "Who keeps what is left" in text
    assert "Trades stand as agreed" not in text
    table = rows(tmp_path / "out" / "households.csv")
    rules = list(common.shared(Recourse.ROLLING))
    assert [row["sharing"] for row in table if row["household"] == "ann"] == rules * len(Recourse)
    for rule in rules:
        told = [float(r["saving_mean"]) for r in table if (r["sharing"], r["recourse"]) == (rule, "rolling")]
        assert sum(told) == pytest.approx(np.mean(common.savings(Recourse.ROLLING)), abs=1e-6)


def test_folder_is_replaced_by_its_like_only(lived: Uncertainty, shares: Penetration, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    page = replace(uncertainty_page(lived), pictures=())
    write_page(page, folder)
    first = (folder / "draws.csv").read_text()
    write_page(page, folder)
    assert (folder / "draws.csv").read_text() == first
    with pytest.raises(InputError, match=r"'index\.html', but no run that could be replaced"):
        write_page(replace(penetration_page(shares), pictures=()), folder)


def test_the_page_names_checks_that_failed(shares: Penetration, varied: Sensitivity, lived: Uncertainty) -> None:
    """Where, which, and by how much: of points, of points that a solver failed at, and of plans that are delivered."""
    first, *others = shares.points
    b, tg = (first.figures[scenario].days[0] for scenario in (Scenario.B, Scenario.TG))
    bad = replace(tg, failed_checks={"voltages": "0.94 p.u.", "relaxation gap": "1e-4 p.u."})
    unsolved = replace(b, failure="the solver gave up", failure_status=1)
    figures = {Scenario.B: PointFigures((unsolved,)), Scenario.TG: PointFigures((bad,))}
    told = penetration_page(replace(shares, points=(replace(first, figures=figures), *others))).answers
    assert told[-3].endswith(". Not every check held; read these points with care:")
    assert told[-2:] == [
        "PV 0 % in B on 1: the solver gave up.",
        "PV 0 % in TG on 1: voltages (0.94 p.u.); relaxation gap (1e-4 p.u.).",
    ]

    plan = lived.plans[0]
    checks = tuple(replace(c, held=c.name != "Payments sum to zero" and c.held) for c in plan.planned.checks)
    unpaid = (replace(plan, planned=replace(plan.planned, checks=checks)),)
    which = "payments sum to zero (buyer and seller do not state every trade alike)"
    assert uncertainty_page(replace(lived, plans=unpaid)).answers[-1] == f"The plan in TG on 1: {which}."
    said = sensitivity_page(replace(varied, plans=unpaid)).answers
    assert said[-1] == f"The plan delivered with adders in TG on 1: {which}."


def test_numbers_as_text() -> None:
    assert number(-1234.567) == "−1,234.57"
    assert number(-0.001) == "0.00"
    assert number(None) == "–"
    assert percent_text(0.1234) == "12.3 %"
