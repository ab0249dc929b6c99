"""The service: a board of signed submissions behind HTTP, and a thread that posts them.

    POST /rounds/R/iterations/K                  one submission, see `wire`; 200, or 400 and why not
    GET  /rounds/R/iterations/K?count=N&wait=S   the submissions, as soon as there are N, at the latest after S seconds

It holds nobody's key but its own, which pays the gas. It cannot change what was signed; at worst it withholds it, and
then its author submits directly.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.commitments import START
from gridpact.chain.values import Phase, Progress, SignedSubmission
from gridpact.errors import ChainError, InputError, Reorganised
from gridpact.files import reason_of
from gridpact.limits import SUM_BYTES
from gridpact.relay.board import Board, Member, SeenRound, Waiting
from gridpact.relay.wire import MOST_BYTES, MOST_WAIT_SECONDS, from_json, parse, to_json

MOST_CALLDATA = 100_000
"""Bytes of a batch; many nodes of a chain take no transaction above 128 kB."""

MOST_STORED_WORDS = 500
"""Words of copies in a batch that does not complete the iteration: each may cost 22,100 gas of storage."""

IDLE_SECONDS = 60.0
"""A connection without a request is closed."""

LOOK_SECONDS = 1.0
BUSY_LOOK_SECONDS = 0.2
"""How often the chain is looked at, without and with submissions that wait."""

OVERTAKEN = ("WrongRound", "WrongPhase", "WrongIteration")
"""What a batch is refused with where somebody else's submissions closed the iteration."""

PATH = re.compile(r"/rounds/(\d{1,10})/iterations/(\d{1,5})")

log = logging.getLogger("gridpact.relay")


class RelayServer:
    """A relay for one aggregator, for the length of a `with` block.

    Args:
        aggregator: on a connection of its own, with an account that pays.
        host: loopback, unless others are to reach it; it speaks plain HTTP.
        port: 0 for a free one.
        patience: seconds that the first submission waits for the others; a sixth of a phase if none are given.
    """

    def __init__(
        self, aggregator: Aggregator, host: str = "127.0.0.1", port: int = 0, patience: float | None = None
    ) -> None:
        self._aggregator = aggregator
        self._patience = aggregator.setting().phase_seconds / 6 if patience is None else patience
        self._board = Board(aggregator.signer_of)
        self._standing: SeenRound | None = None
        self._ended = threading.Event()
        self._server = _Server((host, port), self._board)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=[0.1], name="relay-http", daemon=True),
            threading.Thread(target=self._work, name="relay-chain", daemon=True),
        ]

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> RelayServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._board.wake()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(5.0)

    # ------------------------------------------------------------------ the thread of the chain

    def _work(self) -> None:
        """Relays what is due, and looks at the chain where nothing is, whatever happens."""
        while not self._ended.is_set():
            waiting = None
            try:
                waiting = self._board.waiting(self._patience)
                if not (waiting and waiting.due):
                    self._look()
                    waiting = self._board.waiting(self._patience)
                if waiting and waiting.due:
                    self._relay(waiting)
                    continue
            except ChainError as error:
                overtaken = isinstance(error, Reorganised) or getattr(error, "name", "") in OVERTAKEN
                log.log(logging.DEBUG if overtaken else logging.WARNING, "%s", error)
            except Exception:
                log.exception("The relay goes on after an unexpected error.")
            self._board.wait(BUSY_LOOK_SECONDS if waiting and waiting.submissions else LOOK_SECONDS)

    def _look(self) -> None:
        """Tells the board where the round stands.

        Raises:
            Reorganised: the chain moved on between two requests.
        """
        progress, before = self._aggregator.progress(), self._standing
        taken_back = before is not None and progress.is_earlier_than(before.progress)
        head = START
        active: frozenset[int] = frozenset()
        members: Mapping[int, Member] = {}
        if progress.phase is Phase.ITERATING:
            if before is None or taken_back or not before.members or progress.round != before.progress.round:
                roster = self._aggregator.roster()
                head, active, members = self._head(progress), roster.active, self._members(progress.round, roster.nodes)
            else:
                head, active, members = before.head, before.active, before.members
                if progress.iteration != before.progress.iteration:
                    head = self._head(progress)
                if progress.expected != before.progress.expected:
                    active = self._aggregator.roster().active
        self._standing = SeenRound(progress, head, active, members)
        self._board.see(self._standing, taken_back)

    def _head(self, progress: Progress) -> bytes:
        """The head that the open iteration follows."""
        closed, head = self._aggregator.head()
        if (closed + 1, int.from_bytes(head[-2:], "big")) != (progress.iteration, progress.history):
            raise Reorganised("The chain moved on while it was looked at.")
        return head

    def _members(self, round: int, nodes: Iterable[int]) -> dict[int, Member]:
        sums = SUM_BYTES * self._aggregator.setting().steps if self._aggregator.sealed else 0
        return {
            node: Member(account, self._aggregator.copies_length(node), self._aggregator.declaration(node).bids, sums)
            for node, account in self._aggregator.accounts_in(round, nodes).items()
        }

    def _relay(self, waiting: Waiting) -> None:
        assert self._standing is not None
        place, active = waiting.place, self._standing.active
        round, iteration, _ = place
        for batch in batches(waiting.submissions, waiting.complete):
            self._board.relaying(place, batch)
            receipt = self._aggregator.relay(round, iteration, batch, of_all=len(batch) == len(active))
            skipped = self._aggregator.skipped(receipt)
            self._board.refuse(place, [node for node, why in skipped.items() if not why.startswith("AlreadySubmitted")])
            log.debug(
                "round %d, iteration %d: %d of %d relayed with %d gas, skipped: %s",
                *(round, iteration, len(batch) - len(skipped), len(batch), receipt["gasUsed"], skipped or "none"),
            )


def batches(submissions: Sequence[SignedSubmission], complete: bool) -> Iterator[list[SignedSubmission]]:
    """Submissions in parts that a chain takes in one transaction each.

    Args:
        complete: whether they complete the iteration, so that, in one transaction, no sums are stored.
    """
    if complete and sum(map(calldata, submissions)) <= MOST_CALLDATA:
        yield list(submissions)
        return
    batch: list[SignedSubmission] = []
    for signed in submissions:
        longer = [*batch, signed]
        words = sum(len(one.copies) for one in longer)
        if batch and (sum(map(calldata, longer)) > MOST_CALLDATA or words > MOST_STORED_WORDS):
            yield batch
            longer = [signed]
        batch = longer
    yield batch


def calldata(signed: SignedSubmission) -> int:
    """Bytes that a submission takes in a batch: with its offset, six members, two lengths, and its two arrays."""
    return 32 * (9 + len(signed.copies) + -(-len(signed.bids) // 32))


# ---------------------------------------------------------------------- HTTP


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # all nodes may come at once

    def __init__(self, address: tuple[str, int], board: Board) -> None:
        self.board = board
        try:
            super().__init__(address, _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"The relay cannot listen on {address[0]}:{address[1]}: {reason_of(error)}.") from error

    def server_bind(self) -> None:
        """Without asking for the host's name, which may take long."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("The relay goes on after an unexpected error.")


class _Handler(BaseHTTPRequestHandler):
    """One connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body together
    server: _Server

    def do_POST(self) -> None:
        try:
            body = self._body()
            round, iteration, _ = self._place()
            self.server.board.put(round, iteration, from_json(parse(body)))
        except ValueError as error:
            self._answer(400, {"error": str(error)})
        else:
            self._answer(200, {})

    def do_GET(self) -> None:
        try:
            round, iteration, query = self._place()
            count, seconds = int(query.get("count", "0")), float(query.get("wait", "0"))
            if not 0 <= seconds <= MOST_WAIT_SECONDS:
                raise ValueError(f"'wait' must be 0 to {MOST_WAIT_SECONDS:g} seconds.")
        except ValueError as error:
            self._answer(400, {"error": str(error)})
            return
        submissions = self.server.board.get(round, iteration, count, seconds)
        self._answer(200, {"submissions": [to_json(signed) for signed in submissions]})

    def _place(self) -> tuple[int, int, dict[str, str]]:
        """Round, iteration and query of the path."""
        parts = urlsplit(self.path)
        match = PATH.fullmatch(parts.path)
        if match is None:
            raise ValueError("There is nothing here: the path is /rounds/R/iterations/K.")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return int(match[1]), int(match[2]), query

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True  # what follows is not read
            raise ValueError(f"A submission has a Content-Length of at most {MOST_BYTES} bytes.")
        return self.rfile.read(int(length))

    def _answer(self, status: int, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Requests are not logged."""
