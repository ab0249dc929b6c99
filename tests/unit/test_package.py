"""What `pip install gridpact` brings: what running needs, and nothing else."""

from __future__ import annotations

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gridpact
from gridpact.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("fast", "opendss", "openadr", "pandas", "report", "cluster")
DEVELOPMENT = {"eth-brownie", "pytest", "hypothesis", "ruff", "mypy", "slither-analyzer", "setuptools", "py-solc-x"}
NOT_IMPORTED = {"coincurve", "tzdata"}  # found by eth-keys and by Python's zoneinfo
ENVIRONMENTS = [
    {"python_version": version, "python_full_version": f"{version}.7"} for version in ("3.10", "3.11", "3.12", "3.13")
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "clients", folder / "clients", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=folder, check=True, capture_output=True)
    (path,) = folder.glob("gridpact-*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def requirements(metadata: Message, extra: str = "") -> list[Requirement]:
    """What is brought without an extra, or by one alone."""
    found = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    return [one for one in found if ("extra" in str(one.marker or "")) == bool(extra) and extra in str(one.marker)]


def imported() -> Iterator[str]:
    """The top names of all modules that the package imports, wherever in a file."""
    for path in (ROOT / "clients" / "gridpact").rglob("*.py"):
        for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
                yield statement.module.partition(".")[0]


def test_wheel_holdsThePackageAndNothingElse(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {"gridpact", f"gridpact-{gridpact.__version__}.dist-info"}
    sources = {
        path.relative_to(ROOT / "clients").as_posix()
        for path in (ROOT / "clients" / "gridpact").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("gridpact/")} == sources


def test_wheel_hasItsVersionFromThePackage(metadata: Message) -> None:
    assert metadata["Version"] == gridpact.__version__


def test_files_areOfThisVersion() -> None:
    """What says the version says the same, and the changelog has it."""
    places = {"CITATION.cff": "version: {}\n", "SECURITY.md": "gridpact {} is", "CHANGELOG.md": "## [{}] - "}
    for name, words in places.items():
        assert words.format(gridpact.__version__) in (ROOT / name).read_text(encoding="utf-8"), name


def test_requirements_areRangesWithoutTheToolsOfTests(metadata: Message) -> None:
    needed = requirements(metadata)
    assert not {canonicalize_name(one.name) for one in needed} & DEVELOPMENT
    assert not [str(one) for one in needed if "==" in str(one.specifier)]
    assert {canonicalize_name(one.name) for one in requirements(metadata, "dev")} >= DEVELOPMENT


def test_requirements_areWhatThePackageImports(metadata: Message) -> None:
    owners = {**packages_distributions(), "cvxpy": ["cvxpy-base"]}  # the distribution cvxpy holds the same module
    declared = {canonicalize_name(one.name) for one in requirements(metadata)}
    optional = {canonicalize_name(one.name) for extra in EXTRAS for one in requirements(metadata, extra)}
    ours = {"gridpact", "tomli"}  # tomli: in the standard library from Python 3.11
    names = set(imported()) - set(sys.stdlib_module_names) - ours
    undeclared = {
        name for name in names if not {canonicalize_name(owner) for owner in owners[name]} & (declared | optional)
    }
    assert not undeclared
    used = {canonicalize_name(owner) for name in names for owner in owners[name]}
    assert declared - used - {"tomli"} <= NOT_IMPORTED


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment["python_version"])
def test_lock_pinsEachRequirementOnceAndWithinItsRange(metadata: Message, environment: dict[str, str]) -> None:
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        pin = re.sub(r"\s*#.*", "", line)
        if pin and ((one := Requirement(pin)).marker is None or one.marker.evaluate(environment)):
            pins.setdefault(canonicalize_name(one.name), []).append(str(one.specifier).removeprefix("=="))
    assert not {name: versions for name, versions in pins.items() if len(versions) > 1}
    for extra in ("", *EXTRAS, "dev", "docs"):
        for one in requirements(metadata, extra):
            if one.marker is None or one.marker.evaluate(environment | {"extra": extra}):
                (version,) = pins[canonicalize_name(one.name)]
                assert one.specifier.contains(version, prereleases=True), f"{one} is pinned to {version}"


def test_package_runsFromTheWheelAlone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [sys.executable, "-m", "gridpact", "run", "--case", "tiny3"]
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for chain, package, options in (
        ("ganache", "ganache", ["--chain", "ganache"]),
        ("anvil", "@foundry-rs/anvil", []),  # the default is what `make demo` sets up
    ):
        said = subprocess.run([*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert said.returncode == InputError.exit_status
        assert re.fullmatch(rf"gridpact: the chain {chain} needs the npm package `{package}`.*\n", said.stderr)
    cases = [*command[:3], "cases"]
    told = subprocess.run(cases, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "fontana16" in told.stdout
    where = [sys.executable, "-c", "import gridpact; print(gridpact.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).parent == tmp_path / "site" / "gridpact"


def test_install_tellsHowFarItIs(tmp_path: Path) -> None:
    """Against a step whose size and pace are known."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'deploy')!r}); {INSTALL}"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert said.stdout.splitlines() == ["0 40", "500 10", "1000 0"]


INSTALL = """
from pathlib import Path
import re
from install import Step, how_far
step = Step('things', (), Path(), 1000, 500, 40)
for done, elapsed in ((0, 0), (750, 10), (1500, 20)):
    megabytes, left = re.search(r'(\\d+) of 1000 MB, +(\\d+) s left', how_far(done, elapsed, step)).groups()
    print(megabytes, left)
"""


COMMAND = """
import os, sys, types
seen = lambda: print("numpy" in sys.modules, os.environ["OMP_NUM_THREADS"])
sys.modules["gridpact.cli"] = types.SimpleNamespace(main=seen)
from gridpact.__main__ import main
main()
"""


@pytest.mark.parametrize(("given", "used"), [({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")])
def test_commands_useOneThread_unlessToldOtherwise(given: dict[str, str], used: str) -> None:
    """Said before numpy is loaded, which reads it then."""
    rest = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    told = subprocess.run([sys.executable, "-c", COMMAND], env=rest | given, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", used]
