"""`make lint` finds planted faults in contracts, and none in what it leaves out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.30;\n"
PURSE = """
import {IReceiver} from "./interfaces/IReceiver.sol";
import {Shelf} from "./libraries/Shelf.sol";

contract Purse {
    mapping(address account => uint256) public free;

    function fill() external payable {
        free[msg.sender] += msg.value;
    }

    function empty(IReceiver to) external {
        uint256 amount = free[msg.sender];
        SILENCED
        to.receiveAll{value: amount}();
        free[msg.sender] = 0;
    }
}
"""
FILES = {
    "Purse.sol": PURSE,
    "interfaces/IReceiver.sol": "interface IReceiver { function receiveAll() external payable; }",
    # a length at file level in a struct of a library: Slither 0.11.6 alone cannot read this
    "libraries/Shelf.sol": "uint8 constant MOST = 4;\nlibrary Shelf { struct Store { uint256[MOST] words; } }",
    "mocks/Bad.sol": "contract Bad { function pay(address payable to) external { to.transfer(1); } }",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own with the tool in it."""
    if not (ROOT / "node_modules" / "solc").is_dir():
        pytest.skip("needs the compiler from node_modules")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    for name, source in FILES.items():
        path = tmp_path / "contracts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + source)
    return tmp_path


def analysed(project: Path, silenced: str) -> tuple[int, str]:
    purse = project / "contracts" / "Purse.sol"
    purse.write_text(purse.read_text().replace("SILENCED", silenced))
    done = subprocess.run(
        [sys.executable, "deploy/analyse.py"], cwd=project, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_fault_isFound(project: Path) -> None:
    """Money leaves before it is written off. The mock, where anybody can take all, and interfaces are left out."""
    status, text = analysed(project, "")
    assert status != 0
    assert "Detector: reentrancy-eth" in text
    assert "Purse.empty" in text
    assert "Bad.pay" not in text


def test_silencedFault_isNot(project: Path) -> None:
    status, text = analysed(project, "// slither-disable-next-line reentrancy-eth,arbitrary-send-eth")
    assert status == 0, text
