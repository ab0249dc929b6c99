"""From the chain into the store: a thread that follows a deployment and outlives outages and re-organisations."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum

from gridpact.chain.feed import ChainBlock, Feed
from gridpact.errors import ChainError, GridpactError, InputError, Reorganised
from gridpact.live.store import Store

log = logging.getLogger("gridpact.live")

PIECE = 400
"""Transactions whose costs are asked for before what was read is stored, so that a long history shows early."""

WAY_BACK = 2
"""Blocks that are read again: an endpoint may know a block before it finds all of its log."""

GATHER_SECONDS = 0.1
"""Before what is told is read, so that what comes with it is read at once: nodes share the machine with the page."""

AGAIN_SECONDS = 1.0
"""After which a chain that is away is asked again."""


class Link(Enum):
    """How the chain is reached."""

    WAITING = "waiting"  # nothing was asked yet
    READING = "reading"  # what was missed is being read
    UP = "up"
    AWAY = "away"
    WRONG = "wrong"  # what answers is not what was asked for
    ENDED = "ended"  # it is not followed any longer


@dataclass(frozen=True)
class ReaderState:
    """Where the reader stands."""

    link: Link
    trouble: str = ""  # one sentence, where something is wrong
    head: ChainBlock | None = None  # newest block
    seen: float = 0.0  # when it was seen first, by the monotonic clock

    @staticmethod
    def waiting() -> ReaderState:
        """Before any chain was asked."""
        return ReaderState(Link.WAITING)

    @property
    def chain_time(self) -> float:
        """Unix time by the chain, at least that of this machine: a chain without new blocks does not stand still."""
        if self.head is None:
            return time.time()
        return max(self.head.time + time.monotonic() - self.seen, time.time())


class Reader:
    """Follows a deployment.

    Args:
        connect: opens the feed; called again where the chain was away.
        store: opens the store, in the thread that runs the reader.
        changed: is told whenever something is new.
        every: seconds after which it looks at the latest, where the chain tells nothing by itself.
    """

    def __init__(
        self, connect: Callable[[], Feed], store: Callable[[], Store], changed: Callable[[], None], every: float = 0.5
    ) -> None:
        self.standing = ReaderState.waiting()
        self._connect, self._open, self._changed, self._every = connect, store, changed, every
        self._feed: Feed | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Looks once more, so that nothing is missing of what was told until now."""
        self._ended.set()
        self._thread.join(30.0)

    def _run(self) -> None:
        store = self._open()
        try:
            while not self._ended.is_set():
                self._attempt(store)
                self._pause()
            self._attempt(store)
            self._stand(Link.ENDED)
        finally:
            self._drop()
            store.close()

    def _pause(self) -> None:
        if self._feed is None:
            self._ended.wait(AGAIN_SECONDS)
        else:
            self._feed.wait(self._every)
            self._ended.wait(GATHER_SECONDS)

    def _attempt(self, store: Store) -> None:
        """Looks at the chain, whatever comes of it."""
        try:
            self.look(store)
        except Reorganised:
            pass  # is read again at once
        except InputError as error:
            self._drop()
            self._stand(Link.WRONG, str(error))
        except ChainError as error:
            self._drop()
            self._stand(Link.AWAY, str(error))
        except GridpactError as error:
            self._stand(Link.WRONG, str(error))
        except Exception as error:  # the page stays, and says so; what is wrong may pass
            log.exception("the live page goes on after an unexpected error")
            self._drop()
            self._stand(Link.WRONG, f"unexpected {type(error).__name__}: {error}")

    def look(self, store: Store) -> None:
        """Reads what is new, and removes what the chain has taken back.

        Raises:
            Reorganised: it is being taken back right now.
            ChainError: the chain does not answer.
            InputError: what answers is not what was asked for.
        """
        if self._feed is None:
            self._feed = self._connect()
            about = {
                "theta": asdict(self._feed.theta),
                "setting": asdict(self._feed.setting),
                "currency": asdict(self._feed.currency),
            }
            store.tell(about)
        feed, head = self._feed, self._feed.newest()
        if head == self.standing.head and self.standing.link is Link.UP:
            return
        last = _newest_that_stands(store, feed, head)
        first = feed.first_block if last is None else max(last.number - WAY_BACK, feed.first_block)
        events = feed.between(first, head)
        known = store.costs_known({one.transaction for one in events})
        missing = list(dict.fromkeys(one.transaction for one in events if one.transaction not in known))
        for begin in range(0, len(missing), PIECE):
            if len(missing) > PIECE:
                self._stand(Link.READING, f"{begin} of {len(missing)} transactions")
            part = missing[begin : begin + PIECE]
            costs = {tx: feed.spent(tx) for tx in part}
            own = [one for one in events if one.transaction in costs]
            store.add([], own, costs)
        store.add([head], [one for one in events if one.transaction in known], {})
        self._stand(Link.UP, head=head)

    def _stand(self, link: Link, trouble: str = "", head: ChainBlock | None = None) -> None:
        before = self.standing
        seen = before.seen if head in (None, before.head) else time.monotonic()
        self.standing = ReaderState(link, trouble, head or before.head, seen)
        if (before.link, before.trouble, before.head) != (link, trouble, self.standing.head):
            self._changed()

    def _drop(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None


def _newest_that_stands(store: Store, feed: Feed, head: ChainBlock) -> ChainBlock | None:
    """The newest stored block that is the chain's; those above it are removed. None where there is none."""
    stands, above = None, False
    for block in store.blocks():
        if block.number <= head.number and feed.block(block.number) == block:
            stands = block
            break
        above = True
    if above:
        store.take_back(-1 if stands is None else stands.number, round(time.time()))
    return stands
