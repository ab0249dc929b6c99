"""What several rooms of the tests share: shipped communities, read from the package and from nowhere else."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community

# The same examples in every run, and no deadline: the machine that tests may be busy with something else.
settings.register_profile("steady", derandomize=True, deadline=None, max_examples=50, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def tiny3() -> CommunityDay:
    """Three households, four steps of six hours: ann consumes, bob has PV, cem a battery and a car."""
    return read_community("tiny3").on("1")


@pytest.fixture(scope="session")
def fontana() -> CommunityDay:
    """A winter day of the 16 homes."""
    return read_community("fontana16").on("12-22")
