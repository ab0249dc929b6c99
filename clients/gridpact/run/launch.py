"""Starting every household as a process of its own, and ending all of them whatever happens."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType
from typing import Protocol

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import connect
from gridpact.errors import GridpactError, InputError
from gridpact.files import reason_of, write_atomically
from gridpact.node.household_file import read_view
from gridpact.node.node import Node
from gridpact.relay.client import RelayClient
from gridpact.run.starting import undisturbed


@dataclass(frozen=True)
class NodeFiles:
    """All that a node is given: where to read and where to write. One folder a household."""

    folder: Path
    record: Path  # address and ABI of the contracts
    relay: str | None = None  # address of a relay, where one is used

    @property
    def household(self) -> Path:
        return self.folder / "household.json"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def error(self) -> Path:
        return self.folder / "error.txt"


def run_node(
    contracts: Path, household: Path, key_file: Path, out: Path, network: Network | str, relay: str | None = None
) -> None:
    """Runs one node to the end of a round and writes its report.

    Args:
        contracts: record of the deployment.
        household: the household's own file.
        key_file: the household's private key.
        out: where to write the report.
        network: an open network, or the address of a chain's RPC endpoint.
        relay: address of a relay to leave submissions at.

    Raises:
        GridpactError: what the user gave does not fit, the chain failed, or the household has no feasible plan.
    """
    record, view, key = Record.read(contracts), read_view(household), read_key(key_file)
    web3 = connect(network) if isinstance(network, str) else network.connect()
    account = ChainAccount(web3, key)
    aggregator = Aggregator.of(record, web3, account)
    try:
        client = RelayClient(relay) if relay else None
        Node(view, aggregator, Settlement.of(record, web3, account), client).run().write(out)
    finally:
        aggregator.close()


def read_key(path: Path) -> str:
    """A private key from a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the key file '{path}' cannot be read: {reason_of(error)}") from None


Body = Callable[[NodeFiles, "Network | str"], None]
"""What a node does: a function of a module, so that a process finds it."""


def one_round(files: NodeFiles, network: Network | str) -> None:
    """`run_node` with what is in a node's folder."""
    run_node(files.record, files.household, files.key, files.report, network, files.relay)


class Worker(Protocol):
    """What a process and a thread have in common."""

    def start(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...


class Nodes:
    """The nodes of a run, started together."""

    def __init__(self, files: Sequence[NodeFiles], workers: Sequence[Worker]) -> None:
        self._files = files
        self._workers = workers

    @property
    def running(self) -> int:
        return sum(worker.is_alive() for worker in self._workers)

    def check(self) -> None:
        """Raises what the first node that failed said.

        Raises:
            GridpactError: with the node's own sentence, or that it died without one.
        """
        for files, worker in zip(self._files, self._workers, strict=True):
            if files.error.exists():
                raise GridpactError(files.error.read_text(encoding="utf-8").strip())
            if not worker.is_alive() and not files.report.exists():
                raise GridpactError(f"the node in '{files.folder.name}' died without a word: see the logs beside it")


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the main program, which every new process would import once more, though nodes need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def warm_up() -> ForkServerContext:
    """Starts the fork server, if it does not run yet, and goes on while it imports what nodes need.

    It holds nothing else, and forks one clean process a node: they start fast and share the memory of the imports.

    Raises:
        InputError: the path of the folder for temporary files is too long for its socket.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gridpact.run.launch", "gridpact.run.warm"])
    try:
        forkserver.ensure_running()
    except OSError as error:
        if "too long" not in str(error):
            raise
        raise InputError(
            f"the path of the folder for temporary files, '{tempfile.gettempdir()}', is too long for a socket: set "
            "TMPDIR to a shorter one"
        ) from None
    return context


@contextmanager
def running_nodes(files: Sequence[NodeFiles], network: Network, body: Body = one_round) -> Iterator[Nodes]:
    """Starts all nodes: as processes, or as threads where the chain lives in this process. Ends them at the exit.

    Where the network has several addresses, one node after the other is given the next.
    """
    if network.rpc_url is None:
        threads = [threading.Thread(target=_guarded, args=(item, network, body), daemon=True) for item in files]
        for thread in threads:
            thread.start()
        yield Nodes(files, threads)
        return
    context = warm_up()
    processes = [
        context.Process(target=_process, args=(item, url, body), name=item.folder.name, daemon=True)
        for item, url in zip(files, itertools.cycle(network.rpc_urls), strict=False)
    ]
    try:
        with _without_main(), undisturbed():
            for process in processes:
                process.start()
        yield Nodes(files, processes)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join(5)
                if process.is_alive():
                    process.kill()
                    process.join()


def _process(files: NodeFiles, rpc_url: str, body: Body) -> None:
    """The body of a node's process. Ctrl-C in the terminal goes to whoever started it, who then ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (files.folder / "log.txt").open("a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
        _guarded(files, rpc_url, body)


def _guarded(files: NodeFiles, network: Network | str, body: Body) -> None:
    try:
        body(files, network)
    except GridpactError as error:
        write_atomically(files.error, f"{error}\n")
    except Exception as error:
        (files.folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        write_atomically(files.error, f"unexpected {type(error).__name__} in '{files.folder.name}': {error}\n")
