"""Programs of chains that tests start."""

from __future__ import annotations

import pytest

from gridpact.chain.networks import find_executable
from gridpact.errors import InputError


def skip_without(program: str) -> None:
    """Skips the test, or the module that is being imported, where a chain's program is not installed."""
    try:
        find_executable(program)
    except InputError as error:
        pytest.skip(str(error), allow_module_level=True)
