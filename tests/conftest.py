"""What several rooms of the tests share: shipped communities, read from the package and from nowhere else."""

from __future__ import annotations

import pytest

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
