"""Limits are stated once in Python, and are those of the contracts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gridpact import limits

ROOT = Path(__file__).resolve().parents[2]
IN_CONTRACTS = {
    "MOST_NODES": ("libraries/Nodes.sol", "MAX_NODES"),
    "MOST_STEPS": ("agreements/Clerk.sol", "MAX_STEPS"),
    "LANES": ("libraries/Lanes.sol", "PER_WORD"),
    "POWER_BIAS": ("libraries/Lanes.sol", "BIAS_POWER"),
    "VOLTAGE_BIAS": ("libraries/Lanes.sol", "BIAS_VOLTAGE"),
    "MOST_ENTRIES": ("market/AtOnePrice.sol", "MOST_ENTRIES"),
    "MOST_UNITS": ("market/CommunityPrice.sol", "UNITS"),
    "SUM_BYTES": ("libraries/Seals.sol", "SUM"),
    "MOST_PAIRED_BIDS": ("libraries/Sizes.sol", "MOST_BIDS"),
}
FOLLOW = {
    "MOST_HOUSEHOLDS": limits.MOST_NODES - 1,  # all nodes but the grid connection
    "LANE_BITS": limits.POWER_BIAS.bit_length() + 1,  # a sum of two copies of 20 bits
    "MOST_PRODUCT": 2**8 - 1,  # a uint8 in every function that takes one
    "MOST_BID": 2 ** (8 * 2 - 1) - 1,  # a bid is two bytes with a sign, `Books.BID`
}


def test_limits_areAllCompared() -> None:
    stated = {name for name in vars(limits) if name.isupper()}
    assert stated == IN_CONTRACTS.keys() | FOLLOW.keys()


@pytest.mark.parametrize("name", IN_CONTRACTS)
def test_limit_isThatOfTheContract(name: str) -> None:
    file, constant = IN_CONTRACTS[name]
    source = next((ROOT / "contracts").rglob(Path(file).name)).read_text(encoding="utf-8")
    (value,) = re.findall(rf"constant {constant} = ([0-9* ]+);", source)
    assert getattr(limits, name) == eval(value)


@pytest.mark.parametrize("name", FOLLOW)
def test_limit_follows(name: str) -> None:
    assert getattr(limits, name) == FOLLOW[name]


def test_bid_isOfTwoBytes() -> None:
    source = next((ROOT / "contracts").rglob("Books.sol")).read_text(encoding="utf-8")
    assert re.findall(r"constant BID = (\d+);", source) == ["2"]


@pytest.mark.parametrize("number", [limits.MOST_NODES, limits.MOST_HOUSEHOLDS, limits.MOST_STEPS])
def test_limit_standsBareNowhereElse(number: int) -> None:
    """But where the same number means something else: bits, megabytes."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "clients" / "gridpact").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == number
    ]
    # shifts, blocks, opcodes, a queue
    known = ("limits.py", "chain/values.py", "chain/logs.py", "chain/inspection.py", "relay/server.py")
    assert not [place for place in found if not place.partition(":")[0].endswith(known)]
