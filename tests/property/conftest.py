"""How Hypothesis searches."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples in every run, and no deadline: the machine that tests may be busy with something else.
settings.register_profile("steady", derandomize=True, deadline=None, max_examples=50, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
