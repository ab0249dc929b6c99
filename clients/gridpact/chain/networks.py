"""The chains: started here (Ganache, Anvil), inside the process (eth-tester), or running already."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import TxParams, Wei

from gridpact.chain.account import ChainAccount
from gridpact.chain.embedded import embedded_chain
from gridpact.chain.keys import new_key
from gridpact.chain.reverts import readable
from gridpact.chain.transport import PATIENCE_SECONDS, EmbeddedTransport, connect, urls_in
from gridpact.errors import ChainError, InputError

MANAGER_KEY = "GRIDPACT_MANAGER_KEY"
"""Environment variable with the manager's private key, for networks that already run."""

ETHER = 10**18
BLOCK_GAS = 30_000_000
START_SECONDS = 60.0
END_SECONDS = 0.5

EMBEDDED = "eth-tester"
"""The chain inside the process."""

NAMES = ("ganache", "anvil", EMBEDDED)


@dataclass(frozen=True)
class Network:
    """A chain that answers."""

    name: str
    chain_id: int
    rpc_url: str | None  # None: inside this process
    rpc_urls: tuple[str, ...]  # of one chain, for its nodes to share; the first is `rpc_url`
    _connect: Callable[[], Web3] = field(repr=False)

    def connect(self) -> Web3:
        """A connection for one thread of one process. Another process calls `transport.connect(rpc_url)`."""
        return self._connect()

    def manager(self, web3: Web3 | None = None) -> ChainAccount:
        """The account that deploys: the key in GRIDPACT_MANAGER_KEY, or a fresh one with test ether."""
        web3 = web3 or self.connect()
        key = self._given_key()
        if key is None:
            account = ChainAccount(web3, new_key())
            self.fund([account.address], 100 * ETHER, web3)
            return account
        return ChainAccount(web3, key)

    def fund(self, addresses: Sequence[str], wei: int, web3: Web3 | None = None) -> None:
        """Sends ether: from the manager's key where one is given, or from an account the chain unlocked."""
        web3 = web3 or self.connect()
        key = self._given_key()
        if key is not None:
            account = ChainAccount(web3, key)
            account.settle_all([account.transfer(address, wei) for address in addresses])
            return
        with readable("a transfer of test ether"):
            rich = _unlocked(web3)
            if rich is None:
                raise InputError(
                    f"The network {self.name} has no unlocked account that could pay: set {MANAGER_KEY} to"
                    " the private key of the community manager."
                )
            transfers: list[TxParams] = [
                {"from": rich, "to": Web3.to_checksum_address(address), "value": Wei(wei), "gas": 21_000}
                for address in addresses
            ]
            hashes = [web3.eth.send_transaction(transfer) for transfer in transfers]
            for transaction_hash in hashes:
                web3.eth.wait_for_transaction_receipt(transaction_hash, timeout=120, poll_latency=0.05)

    def _given_key(self) -> str | None:
        return None if self.name in NAMES else os.environ.get(MANAGER_KEY) or None


@contextmanager
def open_network(name_or_url: str, log: Path | None = None) -> Iterator[Network]:
    """Opens a network and, where it was started here, ends it. `log` receives what the chain prints.

    Names: ganache, anvil, eth-tester; or the http:// or ws:// address of a node that runs (and goes on), or several
    such addresses of one chain with commas between them.
    """
    if name_or_url in ("ganache", "anvil"):
        with _started(name_or_url, COMMANDS[name_or_url], log) as url:
            yield _at(url, name_or_url, PATIENCE_SECONDS)
    elif name_or_url == EMBEDDED:
        yield _embedded()
    elif "://" in name_or_url:
        yield _at(name_or_url, "external", 5.0)
    else:
        raise InputError(
            f"'{name_or_url}' is no network: use {', '.join(NAMES)}, or the http:// or ws:// address of a node."
        )


@dataclass(frozen=True)
class Imitation:
    """An Anvil chain that is like another one as far as transactions go."""

    chain_id: int
    block_seconds: float | None = None  # None: a block for each transaction
    base_fee_wei: int | None = None  # of the first block
    fork_url: str | None = None  # goes on from the newest block there, with all that is on it
    hardfork: str = "osaka"

    @property
    def options(self) -> tuple[str, ...]:
        """For Anvil's command line."""
        options = ["--chain-id", str(self.chain_id), "--hardfork", self.hardfork, "--accounts", "3"]
        options += ["--balance", "1000000", "--enable-tx-gas-limit"]
        if self.block_seconds is not None:
            options += ["--block-time", f"{self.block_seconds:g}"]
        if self.base_fee_wei is not None:
            options += ["--block-base-fee-per-gas", str(self.base_fee_wei)]
        if self.fork_url is not None:
            options += ["--fork-url", self.fork_url]
        return tuple(options)


@contextmanager
def open_imitation(imitation: Imitation, log: Path | None = None) -> Iterator[Network]:
    """Starts an imitation on this machine, and ends it."""

    def command(executable: str, port: int) -> list[str]:
        return [*_any_anvil(executable, port), *imitation.options]

    with _started("anvil", command, log) as url:
        yield _at(url, "anvil", PATIENCE_SECONDS)


def _at(url: str, name: str, patience: float) -> Network:
    urls = tuple(urls_in(url))
    chain_ids = []
    for one in urls:
        web3 = connect(one, patience)
        with readable("its chain id"):
            chain_ids.append(int(web3.eth.chain_id))
    for number, chain_id in enumerate(chain_ids, 1):
        if chain_id != chain_ids[0]:
            raise InputError(
                f"Of the {len(urls)} nodes, number {number} is of chain {chain_id}, the first of chain {chain_ids[0]}:"
                " give addresses of one chain."
            )
    return Network(name, chain_ids[0], urls[0], urls, lambda: connect(urls[0]))


def _unlocked(web3: Web3) -> str | None:
    try:
        accounts = web3.eth.accounts
        return next((a for a in accounts[:3] if web3.eth.get_balance(a) > ETHER), None)
    except (Web3Exception, ValueError):
        return None  # many nodes do not offer accounts


# ---------------------------------------------------------------------- inside the process


def _embedded() -> Network:
    tester = embedded_chain(BLOCK_GAS)
    lock = threading.Lock()

    def link() -> Web3:
        return Web3(EmbeddedTransport(tester, lock), middleware=[])

    return Network(EMBEDDED, link().eth.chain_id, None, (), link)


# ---------------------------------------------------------------------- started here


def _ganache(executable: str, port: int) -> list[str]:
    return [
        executable,
        *("--server.host", "127.0.0.1", "--server.port", str(port)),
        *("--hardfork", "shanghai", "--chain.vmErrorsOnRPCResponse", "true"),
        *("--miner.blockGasLimit", str(BLOCK_GAS), "--miner.callGasLimit", str(BLOCK_GAS)),
        *("--wallet.totalAccounts", "3", "--wallet.defaultBalance", "1000000", "--logging.quiet", "true"),
    ]


def _anvil(executable: str, port: int) -> list[str]:
    return [
        *_any_anvil(executable, port),
        *("--hardfork", "shanghai", "--gas-limit", str(BLOCK_GAS)),
        *("--accounts", "3", "--balance", "1000000"),
    ]


def _any_anvil(executable: str, port: int) -> list[str]:
    # Without the last option it writes the state after each block into the home directory, gigabytes in a long run, and
    # leaves them there. Geth keeps that many states, too.
    return [executable, "--host", "127.0.0.1", "--port", str(port), "--prune-history", "128"]


Command = Callable[[str, int], "list[str]"]
"""The command line of a chain, from its program and a port."""

COMMANDS: dict[str, Command] = {"ganache": _ganache, "anvil": _anvil}
NPM_PACKAGES = {"ganache": "ganache", "anvil": "@foundry-rs/anvil"}


@contextmanager
def _started(name: str, command: Command, log: Path | None) -> Iterator[str]:
    """Runs the chain on a free port of this machine for the length of the context."""
    executable = find_executable(name)
    with tempfile.TemporaryDirectory(prefix="gridpact-") as folder:
        path = log or Path(folder) / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(3):
            port = _free_port()
            process = _launch(command(executable, port), path)
            try:
                if not _answers(port, process):
                    if _port_was_taken(path) and attempt < 2:
                        continue
                    raise ChainError(f"{name} did not start: {_last_words(path)}")
                yield f"http://127.0.0.1:{port}"
                return
            finally:
                _end(process)


def find_executable(name: str) -> str:
    """The chain's program: in the nearest node_modules above here or above the package, or on the PATH."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            candidate = folder / "node_modules" / ".bin" / name
            if os.access(candidate, os.X_OK):
                return str(candidate)
    path = shutil.which(name)
    if path is None:
        raise InputError(
            f"the chain {name} needs the npm package `{NPM_PACKAGES[name]}`: install it with `npm install "
            f"{NPM_PACKAGES[name]}` (Node 18 or newer; in a clone of the repository `make setup`), or choose the chain "
            f"{EMBEDDED}, which needs nothing more"
        )
    return path


def _launch(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a chain that cannot outlive this process.

    It gets a session of its own, so that Ctrl-C in the terminal reaches us and not it. A shell in front of it
    reads a pipe that we hold: when we end, in whatever way, the pipe closes and the shell ends the group.
    """
    guard = '{ "$@"; kill 0; } </dev/null & read -r _; kill 0'
    with log.open("ab") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", guard, "gridpact-chain", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the group: by request, then by force. Returns when nothing of it is left."""
    group = process.pid
    try:
        os.killpg(group, signal.SIGTERM)
        give_up = time.monotonic() + END_SECONDS
        while time.monotonic() < give_up:
            process.poll()
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Waits until the port accepts connections; False when the process ended or time is up."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port_was_taken(log: Path) -> bool:
    text = log.read_text(errors="replace").lower()
    return "in use" in text or "eaddrinuse" in text


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    words = (errors or lines or ["it printed nothing"])[-1]
    return f"{words.rstrip('.')[:200]}."
