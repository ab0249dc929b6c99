"""Without matplotlib and OpenDSS a run has no pictures, and the same figures: its plan is checked by the package's own
power flow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gridpact
from gridpact import face
from gridpact.cli import main
from gridpact.community.model import Feeder, Line
from gridpact.community.read import read_community
from gridpact.errors import InputError, SolverError
from gridpact.grid import powerflow
from gridpact.grid.powerflow import power_flow
from gridpact.grid.sweep import sweep
from gridpact.outcome.day import failed_day
from gridpact.problem.scenario import NetworkAgreement, Scenario

BARE = "import sys; sys.modules.update(matplotlib=None, opendssdirect=None); from gridpact.cli import main; main()"
RUN = ("run", "--case", "tiny3", "--chain", "memory", "--out")


def bare(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BARE.replace("main()", "sys.exit(main())"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def alike(one: object, other: object) -> bool:
    """To 1e-6, which is closer than anything that is printed; OpenDSS stops at 1e-9 of a voltage."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return one == pytest.approx(other, rel=1e-6, abs=1e-6)
    return one == other


def test_run_saysWhatIsLeftOut_andComesToTheSame(tmp_path: Path) -> None:
    without = bare(*RUN, "bare", folder=tmp_path)
    assert without.returncode == 0, without.stderr
    told = "gridpact: pictures are left out, as matplotlib is not installed: pip install 'gridpact[report]'"
    assert without.stderr.splitlines().count(told) == 1
    assert main([*RUN, str(tmp_path / "full")]) == 0
    one, other = (json.loads((tmp_path / name / "result.json").read_text("utf-8")) for name in ("bare", "full"))
    assert alike(one, other)
    files = {path.name for path in (tmp_path / "bare").iterdir()}
    assert {path.name for path in (tmp_path / "full").iterdir()} - files == {
        f"{name}.{kind}" for name in ("convergence", "power", "trades", "prices", "voltages") for kind in ("svg", "png")
    }
    page = (tmp_path / "bare" / "index.html").read_text("utf-8")
    assert "Pictures are left out" in page
    assert "<figure" not in page


def test_plot_saysWhatItNeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "find_spec", lambda package: None)
    day = read_community("tiny3").on("1")
    with pytest.raises(InputError, match=r"^this needs matplotlib: pip install .*\[report\]$"):
        gridpact.plot(failed_day(day, Scenario.T, NetworkAgreement.DSO, "memory", InputError()))


@pytest.mark.parametrize("seed", range(8))
def test_sweep_isOpenDss(seed: int) -> None:
    """Trees of any form, with a junction at the end; loads and generation mixed."""
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 12))
    lines = [
        Line(k, int(random.integers(0, k)), float(random.uniform(1e-4, 0.05)), float(random.uniform(0, 0.03)))
        for k in range(1, n + 1)
    ]
    feeder = Feeder(float(random.choice([230.0, 400.0, 416.0])), 0.5, 1.5, tuple(lines))
    p, q = random.uniform(-6, 6, (n, 4)), random.uniform(-2, 2, (n, 4))
    by_dss, swept = power_flow(feeder, p, q), sweep(feeder, p, q)
    # OpenDSS stops at 1e-9 of a voltage. What it says of its source is the current through 1e-9 ohm, right to some
    # 1e-5 kW; the import is what the homes draw and the lines lose.
    assert swept.voltage_pu == pytest.approx(by_dss.voltage_pu, abs=1e-8)
    assert swept.losses_kw == pytest.approx(by_dss.losses_kw, rel=1e-6)
    assert swept.current_a == pytest.approx(by_dss.current_a, abs=1e-6)
    assert swept.import_kw == pytest.approx(by_dss.import_kw, abs=1e-4)
    assert swept.import_kw == pytest.approx(swept.losses_kw - p.sum(axis=0), abs=1e-9)


def test_sweep_saysWhereThereIsNoPowerFlow() -> None:
    feeder = Feeder(400.0, 0.8, 1.2, (Line(1, 0, 0.32, 0.0),))
    with pytest.raises(SolverError, match="no solution at step 1"):
        sweep(feeder, np.array([[-1.0, -1000.0]]), np.zeros((1, 2)))


def test_street_saysThatItNeedsOpenDss(monkeypatch: pytest.MonkeyPatch) -> None:
    from unit.problem.test_street import street

    monkeypatch.setattr(powerflow, "dss", None)
    day = street()
    with pytest.raises(InputError, match=r"pip install 'gridpact\[opendss\]'"):
        power_flow(day.feeder, np.zeros((len(day.households), day.steps)), np.zeros((len(day.households), day.steps)))
