"""The public face of the package, as docs/python.md describes it; its examples are checked for types, and run."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gridpact
from gridpact.community.read import read_community
from gridpact.market.registry import MARKETS
from gridpact.outcome.day import solve_day
from gridpact.problem.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SMALL = {"fontana16": "tiny3", "06-10": "1"}
"""In place of what other pages take."""


def _examples(name: str, small: bool) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for large, instead in SMALL.items() if small else ():
        found = [one.replace(f'"{large}"', f'"{instead}"') for one in found]
    return found


EXAMPLES = [*_examples("docs/python.md", False), *_examples("README.md", True), *_examples("docs/study.md", True)]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(number: int, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(EXAMPLES[number], encoding="utf-8")
    said = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip()


def test_examples_haveTypes(tmp_path: Path) -> None:
    """And mypy sees the types of the package: a wrong one is found."""
    scripts = [tmp_path / f"example_{number}.py" for number in range(len(EXAMPLES))]
    for script, text in zip(scripts, EXAMPLES, strict=True):
        script.write_text(text, encoding="utf-8")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import gridpact\ncost: str = gridpact.solve(gridpact.read('tiny3').on('1')).cost\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    said = subprocess.run([*command, *map(str, [*scripts, wrong])], cwd=ROOT, capture_output=True, text=True)
    (error,) = [line for line in said.stdout.splitlines() if ": error: " in line]
    assert "wrong.py:2: " in error
    assert "Incompatible types in assignment" in error


def test_face_isDocumentedAndTyped() -> None:
    for name in gridpact.__all__:
        assert f"`{name}" in PAGE, f"docs/python.md says nothing of {name}"
        found = getattr(gridpact, name)
        if inspect.isfunction(found):
            assert found.__doc__
            hints = inspect.signature(found)
            assert hints.return_annotation is not inspect.Signature.empty
            assert all(one.annotation is not inspect.Parameter.empty for one in hints.parameters.values())
    assert dir(gridpact) == sorted(gridpact.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'deploy'"):
        _ = gridpact.deploy  # type: ignore[attr-defined]


def test_import_isLight() -> None:
    """The command line imports it, too."""
    heavy = "import gridpact, sys; print(gridpact.__version__, {'cvxpy', 'web3', 'numpy'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == f"{gridpact.__version__} set()"
    heavy = "import gridpact.cli, sys; print({'cvxpy', 'web3', 'opendssdirect', 'matplotlib'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_face_givesWhatTheRoomsGive() -> None:
    day = gridpact.read("tiny3").on("1")
    names = [home.name for home in read_community("tiny3").on("1").households]
    assert [home.name for home in day.households] == names
    assert gridpact.solve(day, "TG").cost == solve_day(day, Scenario.TG).cost
    comparison = gridpact.compare(day, ["tg"])
    assert list(comparison.outcomes) == ["b", "tg"]
    alone = solve_day(day, Scenario.B).cost
    assert comparison.savings == {"tg": alone - solve_day(day, Scenario.TG).cost}
    assert set(gridpact.cases()) >= {"fontana16", "tiny3"}


def test_face_refusesByName() -> None:
    day = gridpact.read("tiny3").on("1")
    with pytest.raises(gridpact.InputError, match="there is no scenario 'x'"):
        gridpact.solve(day, "x")
    with pytest.raises(gridpact.InputError, match="there is no network agreement 'all'"):
        gridpact.solve(day, network_agreement="all")
    with pytest.raises(gridpact.InputError, match="there is no scenario 'x'"):
        gridpact.compare(day, ["t", "x"])
    with pytest.raises(gridpact.InputError, match="is no network"):
        gridpact.run_on_chain(day, chain="nowhere")
    in_memory = next(market.scenario.value for market in MARKETS if not market.on_chain)
    with pytest.raises(gridpact.InputError, match=f"there are no contracts for the scenario '{in_memory}'"):
        gridpact.run_on_chain(day, in_memory)
