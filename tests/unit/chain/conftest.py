"""Chains for the tests of the room, and a contract that fails in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridpact.chain.networks import Network, find_executable, open_network
from gridpact.errors import InputError


@pytest.fixture(scope="session")
def probe() -> dict[str, object]:
    """ABI and bytecode of Probe.sol, which stands beside this file."""
    content: dict[str, object] = json.loads((Path(__file__).parent / "probe.json").read_text())
    return content


@pytest.fixture(scope="module", params=["eth-tester", "anvil", "ganache"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Each kind of chain in turn."""
    yield from _opened(request.param)


@pytest.fixture(scope="module")
def anvil() -> Iterator[Network]:
    """The chain that can be taken back."""
    yield from _opened("anvil")


def _opened(name: str) -> Iterator[Network]:
    if name != "eth-tester":
        try:
            find_executable(name)
        except InputError:
            pytest.skip(f"{name} is not installed")
    with open_network(name) as opened:
        yield opened
