"""The chain's time, by the chain: what the clock of this machine says is not asked."""

from __future__ import annotations

import time

from web3 import Web3

from gridpact.chain.reverts import readable

LARGEST_GAP = 60.0
"""Seconds by which the clock of this machine may differ from the chain's."""

LONGEST_WAIT = 15.0
"""How long a new block is waited for to compare clocks, s."""


class ChainClock:
    """The time that the next block has at least: of the newest block seen, and what has passed since it was seen."""

    def __init__(self, web3: Web3) -> None:
        self._web3 = web3
        self._ahead = float("-inf")  # of this process's monotonic clock

    def now(self) -> float:
        """Unix time; one request."""
        with readable("the last block"):
            stamp = int(self._web3.eth.get_block("latest")["timestamp"])
        read_at = time.monotonic()
        self._ahead = max(self._ahead, stamp - read_at)
        return read_at + self._ahead

    def forget(self) -> None:
        """The chain was seen to be earlier than this clock says: it was taken back."""
        self._ahead = float("-inf")


def clock_gap(web3: Web3, patience: float = LONGEST_WAIT) -> float | None:
    """How far this machine's clock is ahead of the chain's (negative: behind), s; None where no new block tells it.

    A clock that is behind a block is told at once. Whether an old block means that the clock is ahead or that the chain
    makes blocks on demand only, the next block tells, which is waited for as long as blocks usually take.
    """
    with readable("the last block"):
        newest = web3.eth.get_block("latest")
        before = web3.eth.get_block(max(int(newest["number"]) - 1, 0))
    gap = time.time() - int(newest["timestamp"])
    if gap <= LARGEST_GAP:
        return min(gap, 0.0) if gap < -1 else 0.0
    usual = int(newest["timestamp"]) - int(before["timestamp"])
    give_up = time.monotonic() + min(2.0 * usual + 1.0, patience)
    while time.monotonic() < give_up:
        time.sleep(0.5)
        with readable("the last block"):
            later = web3.eth.get_block("latest")
        if later["number"] != newest["number"]:
            return time.time() - int(later["timestamp"])
    return None


def told_gap(gap: float) -> str:
    """A sentence about a clock that is too far from the chain's."""
    return (
        f"the clock of this machine is {abs(gap):.0f} s {'ahead of' if gap > 0 else 'behind'} the chain's: set it,"
        " by NTP for example"
    )
