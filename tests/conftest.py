"""What several rooms of the tests share: shipped communities, read from the package and nowhere else, and a chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chains import skip_without

from gridpact.chain.networks import Network, open_network
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community


@pytest.fixture(scope="session")
def tiny3() -> CommunityDay:
    """Three households, four steps of six hours: ann consumes, bob has PV, cem a battery and a car."""
    return read_community("tiny3").on("1")


@pytest.fixture(scope="session")
def fontana() -> CommunityDay:
    """A winter day of the 16 homes."""
    return read_community("fontana16").on("12-22")


@pytest.fixture(scope="module")
def anvil() -> Iterator[Network]:
    """A chain for the tests of a module, which can be taken back."""
    skip_without("anvil")
    with open_network("anvil") as network:
        yield network
