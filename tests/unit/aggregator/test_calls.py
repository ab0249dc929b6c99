"""Calls of a day that an aggregator's plan has chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpact.cli import main
from gridpact.cli.aggregator_plan import _calls as written
from gridpact.cli.day import _calls as read
from gridpact.community.read import read_community

TINY = read_community("tiny3").on("1")  # four steps of six hours
HOUR = {"days": ["0", "1"], "step_minutes": 60.0, "import_price": [0.1] * 48}


def file_of(folder: Path, calls: Any, **other: Any) -> Path:
    path = folder / "calls.json"
    path.write_text(json.dumps({**HOUR, "calls": calls, **other}))
    return path


@pytest.mark.parametrize("seed", range(20))
def test_calls_areThePlansEnergies_inTheDaysSteps(seed: int, tmp_path: Path) -> None:
    """Drawn calls of hours over two days, of which the second is played: added up for each step here."""
    random = np.random.default_rng(seed)
    less = np.where(random.random((3, 48)) < 0.3, random.uniform(0.001, 3, (3, 48)), 0.0).round(3)
    less[0, 24:30] = 0.5
    calls = {
        home.name: [{"first": k, "most_kw": [0.0], "less_kwh": [kwh]} for k, kwh in enumerate(of) if kwh]
        for home, of in zip(TINY.households, less.tolist(), strict=True)
    }
    found = read(str(file_of(tmp_path, calls)), TINY)
    asked = np.zeros((3, 4), dtype=int)
    nodes = [home.node for home in TINY.households]
    for node, first, energies_wh in found:
        assert all(energies_wh)
        asked[nodes.index(node), first : first + len(energies_wh)] += energies_wh
    np.testing.assert_array_equal(asked, np.rint(1000 * less[:, 24:].reshape(3, 4, 6).sum(axis=2)))
    assert (
        len({(node, first + len(of)) for node, first, of in found} & {(node, first) for node, first, _ in found}) == 0
    )


@pytest.mark.parametrize(
    ("calls", "other", "said"),
    [
        ({"ann": [{"first": 25, "less_kwh": [1.0]}]}, {"days": ["0"]}, "has calls for 0, not for 1"),
        ({"ann": [{"first": 25, "less_kwh": [1.0]}]}, {"step_minutes": 500.0}, "of which no steps of 360 minutes"),
        ({"dee": [{"first": 25, "less_kwh": [1.0]}]}, {}, "calls 'dee', which is no home of 'tiny3'"),
        ({"ann": [{"first": 3, "less_kwh": [1.0]}]}, {}, "calls nobody on 1"),
        ({"ann": [{"first": 25, "less_kwh": [float("nan")]}]}, {}, "is no file of"),
        ({"ann": [{"first": 25}]}, {}, "is no file of"),
        ([], {}, "is no file of"),
    ],
)
def test_filesThatAreNone_areRefusedInOneSentence(
    calls: Any, other: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path, calls, **other)
    assert main(["day", "--case", "tiny3", "--day", "1", "--calls", str(path), "--out", str(tmp_path / "day")]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_noFile_isRefused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["day", "--case", "tiny3", "--calls", str(tmp_path / "no.json"), "--out", str(tmp_path / "day")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_whatPlanWrites_isWhatADayReads(tmp_path: Path) -> None:
    """On the plan's own figures: what a home wished less what it is to draw, where that is less."""
    from types import SimpleNamespace

    random = np.random.default_rng(3)
    wished, planned = random.uniform(-2, 2, (2, 3, 4))

    def position(kw: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(injection_kw=kw)

    plan: Any = SimpleNamespace(day="1", direct=SimpleNamespace(wished=position(wished), position=position(planned)))
    path = tmp_path / "calls.json"
    path.write_text(json.dumps(written([plan], [TINY], None)))
    asked = np.zeros((3, 4))
    for node, first, energies_wh in read(str(path), TINY):
        asked[node - 1, first : first + len(energies_wh)] = energies_wh
    np.testing.assert_allclose(asked, 6000 * np.maximum(planned - wished, 0), atol=6000 * 0.011)
