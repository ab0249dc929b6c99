"""A chain's time, moved on: at once on a test chain that lets itself be moved, else by waiting."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from gridpact.chain.reverts import readable

PAUSE = 0.5
"""Seconds between looks at a chain that is waited for."""


class Traveller:
    """Takes a chain on in time."""

    def __init__(self, web3: Web3) -> None:
        self._web3 = web3

    def now(self) -> int:
        """The newest block's time."""
        with readable("the last block"):
            return int(self._web3.eth.get_block("latest")["timestamp"])

    def until(self, moment: int) -> None:
        """Until the newest block is no earlier than a moment."""
        if self.now() >= moment or self._moved(moment):
            return
        while self.now() < moment:
            time.sleep(PAUSE)

    def _moved(self, moment: int) -> bool:
        if getattr(self._web3.provider, "url", "") is None:  # inside this process
            self._ask("testing_timeTravel", moment)
            self._ask("evm_mine", 1)
            return self.now() >= moment
        with suppress(Web3Exception, ValueError):
            # Some chains take their clock for the newest block's time.
            for _ in range(2):
                self._ask("evm_increaseTime", max(moment - self.now(), 1))
                self._ask("evm_mine")
                if self.now() >= moment:
                    return True
        return False

    def _ask(self, method: str, *parameters: Any) -> Any:
        return self._web3.manager.request_blocking(RPCEndpoint(method), list(parameters))
