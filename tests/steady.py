"""How Hypothesis searches in tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def search_steadily() -> None:
    """The same examples in every run, and no deadline, nor any for drawing them: the machine that tests may be busy
    with something else. `HYPOTHESIS_PROFILE=campaign`: a thousand others, anew in each run."""
    slow = [HealthCheck.too_slow]
    settings.register_profile(
        "steady", derandomize=True, deadline=None, max_examples=50, print_blob=True, suppress_health_check=slow
    )
    settings.register_profile("campaign", deadline=None, max_examples=1000, print_blob=True, suppress_health_check=slow)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
