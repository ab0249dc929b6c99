"""Programs of chains that tests start, and what only tests ask of a chain."""

from __future__ import annotations

from typing import Any

import pytest
from web3 import Web3

from gridpact.chain.networks import Network, find_executable
from gridpact.errors import InputError


def skip_without(program: str) -> None:
    """Skips the test, or the module that is being imported, where a chain's program is not installed."""
    try:
        find_executable(program)
    except InputError as error:
        pytest.skip(str(error), allow_module_level=True)


def rpc(web3: Web3, method: str, *parameters: Any) -> Any:
    """A request in the chain's own words, its answer as it came."""
    return web3.manager.request_blocking(method, list(parameters))  # type: ignore[arg-type]


def pass_time(network: Network, web3: Web3, seconds: int) -> None:
    """The next block is that much later."""
    if network.name == "eth-tester":
        web3.provider._tester.time_travel(web3.eth.get_block("latest")["timestamp"] + seconds)  # type: ignore
    else:
        rpc(web3, "evm_increaseTime", seconds)
        rpc(web3, "evm_mine")
