"""Chains for the tests of the room, and a contract that fails in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import skip_without

from gridpact.chain.networks import Network, open_network


@pytest.fixture(scope="session")
def probe() -> dict[str, object]:
    """ABI and bytecode of Probe.sol, which stands beside this file."""
    content: dict[str, object] = json.loads((Path(__file__).parent / "probe.json").read_text())
    return content


@pytest.fixture(scope="module", params=["eth-tester", "anvil", "ganache"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Each kind of chain in turn."""
    if request.param != "eth-tester":
        skip_without(request.param)
    with open_network(request.param) as opened:
        yield opened
