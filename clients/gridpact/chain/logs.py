"""A chain's log, in pieces that the endpoint takes.

Endpoints limit how many blocks, or how many entries, a request for the log may span, each in its own words; and they
forget old blocks. So a piece that is refused is asked for in halves, the newer one first, and what was taken once is
remembered as the size of later pieces. Who looks for something stops where it is found: what is older is not asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from gridpact.chain.reverts import first_line, readable, was_taken_back
from gridpact.errors import ChainError, Reorganised

Entry = Mapping[str, Any]
"""An entry of a log as the endpoint gives it."""

GONE_WORDS = re.compile(
    r"prun|archiv|histor|too old|no longer|missing trie|not available|before .*(block|height)", re.I
)
"""How endpoints say that they have forgotten a block."""

MOST_TAKEN_BACK = 128
"""Blocks by which a re-organisation may move what is remembered."""

NO_METHOD = -32601
SINGLE_REPEATS, SINGLE_PAUSE = 4, 0.5
"""How often a single block is asked for again, which an endpoint with few requests to spare may refuse; seconds."""


STEADY = 16
"""Pieces of the largest size that were taken one after the other, before a larger one is tried again."""


class PieceSize:
    """How many blocks an endpoint takes at a time, by what it took and refused: halved, then brought near the limit."""

    def __init__(self) -> None:
        self.most = 0  # blocks of the next piece at most; 0: nothing was refused yet
        self._taken, self._refused, self._steady = 0, 0, 0

    def taken(self, size: int) -> None:
        if not self.most or size < self.most:
            return
        self._taken, self._steady = size, self._steady + 1
        if self._steady >= STEADY:  # a refusal may have been by chance, or for a crowded piece
            self._refused, self._steady = 2 * max(self._refused, size + 1), 0
        self.most = self._next()

    def refused(self, size: int) -> None:
        self._refused, self._steady = size, 0
        if self._taken >= size:
            self._taken = 0
        self.most = self._next() if self._taken else max(size // 2, 1)

    def _next(self) -> int:
        """Between what was taken and what was refused, until they are close."""
        gap = self._refused - self._taken
        return self._taken + gap // 2 if gap > max(self._taken // 8, 1) else self._taken


class LogReader:
    """Reads the log through one connection, and remembers what its endpoint takes."""

    def __init__(self, web3: Web3) -> None:
        self._web3 = web3
        self._size = PieceSize()

    def read(
        self,
        wanted: Entry,
        first: int,
        lowest: Callable[[], int] | None = None,
        has_it: Callable[[Sequence[Entry]], bool] | None = None,
    ) -> list[Entry]:
        """The entries since a block, in the chain's order.

        Args:
            wanted: address and topics.
            first: the block.
            lowest: where it may begin as well, which is asked only where the log cannot be had in one piece.
            has_it: whether a piece has what is looked for, so that what is older is not read.

        Raises:
            Reorganised: the chain was taken back meanwhile.
            ChainError: the endpoint has forgotten it, or refuses it.
        """
        if not self._size.most and (whole := self._try(wanted, first, None)) is not None:
            return whole
        head = self._head()
        if first > head:
            raise Reorganised(f"The chain ends at block {head} now, before block {first}: read it again.")
        low = first if lowest is None else max(first, min(lowest(), head))
        pieces: list[list[Entry]] = []
        for piece in self._pieces(wanted, low, head):
            pieces.append(piece)
            if has_it is not None and has_it(piece):
                break
        return [entry for piece in reversed(pieces) for entry in piece]

    def _pieces(self, wanted: Entry, first: int, head: int) -> Iterator[list[Entry]]:
        """The newest piece first."""
        last = head
        while last >= first:
            size = min(self._size.most or last - first + 1, last - first + 1)
            low = last - size + 1
            piece = self._try(wanted, low, None if last == head else last)  # what came after the head comes along
            if piece is None and size > 1:
                self._size.refused(size)
                continue
            yield self._single(wanted, low, low == head) if piece is None else piece
            self._size.taken(size)
            last = low - 1

    def _try(self, wanted: Entry, low: int, high: int | None) -> list[Entry] | None:
        """A piece of the log; None where the endpoint refuses it."""
        try:
            return self._ask(wanted, low, high)
        except (Web3Exception, ValueError) as error:
            if was_taken_back(error):
                raise Reorganised(f"The chain was taken back during the log: {first_line(error)}.") from error
            if _code(error) == NO_METHOD:
                raise ChainError(
                    "The endpoint does not give the log (`eth_getLogs`), which a node cannot do without: give another"
                    " endpoint."
                ) from error
            return None

    def _single(self, wanted: Entry, block: int, is_newest: bool) -> list[Entry]:
        """One block, which was refused before."""
        for attempt in range(SINGLE_REPEATS):
            try:
                return self._ask(wanted, block, block)
            except (Web3Exception, ValueError) as error:
                reason, last = first_line(error), error
            if GONE_WORDS.search(reason) and not is_newest:
                break
            time.sleep(SINGLE_PAUSE * attempt)
        if is_newest:
            raise ChainError(f"The chain refused the log: {reason}.") from last
        raise ChainError(
            f"The endpoint does not give the log of block {block} any more ({reason}), and the newer blocks do not have"
            " all that is needed: give an endpoint that keeps the whole history."
        ) from last

    def _ask(self, wanted: Entry, low: int, high: int | None) -> list[Entry]:
        limits = {"fromBlock": hex(low)} | ({} if high is None else {"toBlock": hex(high)})
        entries: list[Entry] = self._web3.manager.request_blocking(RPCEndpoint("eth_getLogs"), [{**wanted, **limits}])
        return entries

    def _head(self) -> int:
        with readable("the block number"):
            return int(self._web3.eth.block_number)


class Openings:
    """Where the rounds of an aggregator were opened: what is told of a round is not older.

    Args:
        topic: of the event `RoundOpened`.
        first_block: no event is older.
    """

    def __init__(self, logs: LogReader, aggregator: str, topic: str, first_block: int) -> None:
        self._logs, self._aggregator, self._topic, self._first_block = logs, aggregator, topic, first_block
        self._blocks: dict[int, int] = {}

    def before(self, round: int) -> int:
        """A block before which nothing was told of a round; looked for from the newest block on, once."""
        if round not in self._blocks:
            wanted = {"address": self._aggregator, "topics": [self._topic, "0x" + round.to_bytes(32, "big").hex()]}
            opened = self._logs.read(wanted, self._first_block, has_it=bool)
            numbers = [int(HexBytes(entry["blockNumber"]).hex() or "0", 16) for entry in opened]
            if not numbers:
                return self._first_block
            self._blocks[round] = numbers[-1]
        return max(self._blocks[round] - MOST_TAKEN_BACK, self._first_block)


def _code(error: BaseException) -> object:
    response: Any = getattr(error, "rpc_response", None) or {}
    details = response.get("error")
    return details.get("code") if isinstance(details, Mapping) else None
