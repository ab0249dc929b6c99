"""`deploy/brownie` starts its chains on a free port, whatever listens on the usual one."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The script in a clone whose brownie shows what networks it is given."""
    (tmp_path / "deploy").mkdir()
    for name in ("brownie", "networks.yaml"):
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "brownie").write_text('#!/bin/sh\ncat "$HOME/.brownie/network-config.yaml"\n')
    (binaries / "brownie").chmod(0o755)
    return tmp_path


def ports(clone: Path, **environment: str) -> set[int]:
    said = subprocess.run(
        [clone / "deploy" / "brownie"], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return {int(port) for port in re.findall(r"port: (\d+)", said.stdout)}


def test_port_isFreeAndTheSameForAllChains(clone: Path) -> None:
    (port,) = ports(clone)
    assert port != 8545
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_port_canBeNamed(clone: Path) -> None:
    assert ports(clone, GRIDPACT_BROWNIE_PORT="7545") == {7545}
