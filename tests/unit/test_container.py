"""The files for containers: every command in them is one that gridpact takes, and all that they copy is there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gridpact.cli import _parser

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "container"
SCRIPTS = ("setup", "evening")


def composed() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


def test_compose_startsWhatGridpactTakes() -> None:
    services = composed()["services"]
    nodes = [name for name in services if name.startswith("node-")]
    assert nodes == [f"node-{n}" for n in range(5)]
    for name, service in services.items():
        assert service["network_mode"] == "host", "nothing may listen on anything but this machine"
        if service["image"] == "gridpact" and "entrypoint" not in service:
            _parser().parse_args(service["command"])
        for script in service.get("entrypoint", []):
            assert script in SCRIPTS
        assert set(service.get("depends_on", [])) <= set(services), name


def test_compose_makesTheNodesThatItStarts() -> None:
    """By the file that says what the homes of the sample have."""
    made = re.findall(r"for node in ([\d ]+);", (FOLDER / "setup").read_text())
    assert set(made) == {"0 1 2 3 4"}
    pilot = ROOT / "deploy" / "pilot"
    rows = (pilot / "community" / "households.csv").read_text().splitlines()[1:]
    with_devices = {row.split(",")[0] for row in rows if row.split(",", 3)[3].strip(",")}
    assert {path.stem for path in (pilot / "devices").iterdir()} == with_devices


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_giveCommandsThatGridpactTakes(name: str) -> None:
    path = FOLDER / name
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", path], check=True)
    text = path.read_text().replace("\\\n", " ")
    shared = dict(re.findall(r'^(options|place)="(.*)"$', text, re.MULTILINE))
    commands = re.findall(r"\bgridpact ((?:keystore|deploy|household|enrol|round) .*?)(?:\)|;|$)", text, re.MULTILINE)
    assert commands
    for command in commands:
        for variable, value in shared.items():
            command = command.replace(f"${variable}", value)
        words = shlex.split(re.sub(r"\$\{?\w+[^}\s\"/]*\}?", "1", command))
        _parser().parse_args(words)


def test_image_copiesWhatIsThere() -> None:
    text = (FOLDER / "Containerfile").read_text()
    kept = {line[1:] for line in (FOLDER / "Containerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(source == one or source.startswith(f"{one}/") for one in kept), f"{source} is not sent along"
