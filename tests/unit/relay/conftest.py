"""A chain for the relay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gridpact.chain.networks import Network, find_executable, open_network
from gridpact.errors import InputError


@pytest.fixture(scope="module")
def anvil() -> Iterator[Network]:
    try:
        find_executable("anvil")
    except InputError:
        pytest.skip("anvil is not installed")
    with open_network("anvil") as network:
        yield network
