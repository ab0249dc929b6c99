"""Plays the same round, the same auction and the same community with a manager on several chains, and measures them.

    python -m measure.platforms --json reports/platforms.json                  # those that are here; half an hour
    python -m measure.platforms --case tiny3 --platforms anvil,ganache

Platforms: eth-tester, anvil, ganache; geth (go-ethereum as one node that makes blocks when there is something in them:
GETH names its program, else it is looked for on the PATH); consortium (four validators by `deploy/consortium`: EVMD,
or BESU_HOME). One that is not here is named in the report with the reason. Rows of an earlier report stay where they
are not measured anew.

What a chain takes is the CPU time of its processes: the nearest to energy that a machine without a meter tells. That of
eth-tester, which lives in the process that measures, is of all that this process does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from gridpact.chain.account import ChainAccount
from gridpact.chain.keys import new_key
from gridpact.chain.networks import COMMANDS, EMBEDDED, ETHER, MANAGER_KEY, Network, find_executable, open_network
from gridpact.chain.transport import connect
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import GridpactError, InputError
from gridpact.files import parse_json, write_atomically
from gridpact.market.registry import NAMES
from gridpact.outcome.indicators import Indicators
from gridpact.outcome.outcome import Outcome
from gridpact.problem.scenario import Scenario
from gridpact.run.market import run_market
from gridpact.run.onchain import RunSettings, run

ROOT = Path(__file__).resolve().parents[2]
MANY, SINGLE = 200, 20
"""Transfers that are sent at once, and one after another."""

START_SECONDS, PAUSE = 90.0, 0.02
TICKS = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """Why a platform is not here."""


@dataclass
class Chain:
    """One that runs: what `gridpact run --chain` takes, and its processes."""

    name: str  # as `--chain` takes it
    pids: Callable[[], Sequence[int]] = lambda: ()
    fail: Callable[[], None] | None = None  # one of its nodes, by force
    recover: Callable[[], None] | None = None
    manager_key: str | None = None
    network: Network | None = None  # inside this process

    def cpu_s(self) -> float:
        """Of its processes; where it has none, of this one."""
        if not self.pids():
            used = resource.getrusage(resource.RUSAGE_SELF)
            return used.ru_utime + used.ru_stime
        return sum(map(cpu_of, self.pids()))


def cpu_of(pid: int) -> float:
    """Seconds of a process and of its children that have ended; 0 where it is gone."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, values[11:15])) / TICKS


def in_session(leader: int) -> list[int]:
    """Processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                values = (entry / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            except OSError:
                continue
            if int(values[3]) == leader:
                found.append(int(entry.name))
    return found


# ---------------------------------------------------------------------- platforms


@contextmanager
def embedded() -> Iterator[Chain]:
    with open_network(EMBEDDED) as network:
        yield Chain(EMBEDDED, network=network)


@dataclass
class _Program:
    """A chain of one process, which can be ended by force and started again."""

    command: Sequence[str]
    url: str
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        give_up = time.monotonic() + START_SECONDS
        while height(self.url) is None:
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise Missing(f"{Path(self.command[0]).name} did not start")
            time.sleep(PAUSE)

    def end(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pids(self) -> Sequence[int]:
        return [] if self.process is None else in_session(self.process.pid)


@contextmanager
def _alone(command: Callable[[str, int], list[str]], executable: str) -> Iterator[Chain]:
    port = free_port()
    program = _Program(command(executable, port), f"http://127.0.0.1:{port}")
    try:
        program.start()
        yield Chain(program.url, program.pids, program.end, program.start)
    finally:
        program.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def height(url: str) -> int | None:
    """The newest block's number; None where nothing answers."""
    try:
        return int(connect(url, 0.0).eth.block_number)
    except Exception:  # whatever a program that starts or has gone may say
        return None


def anvil() -> AbstractContextManager[Chain]:
    return _alone(COMMANDS["anvil"], find_executable("anvil"))


def ganache() -> AbstractContextManager[Chain]:
    return _alone(COMMANDS["ganache"], find_executable("ganache"))


@contextmanager
def geth() -> Iterator[Chain]:
    program = os.environ.get("GETH") or shutil.which("geth")
    if program is None:
        raise Missing("go-ethereum is not here: GETH names its program")
    with tempfile.TemporaryDirectory(prefix="gridpact-geth-", ignore_cleanup_errors=True) as folder:

        def command(executable: str, port: int) -> list[str]:
            return [
                *(executable, "--dev", "--dev.gaslimit", "60000000", "--datadir", folder, "--ipcdisable"),
                *("--http", "--http.addr", "127.0.0.1", "--http.port", str(port), "--http.api", "eth,net,web3"),
                *("--authrpc.addr", "127.0.0.1", "--authrpc.port", str(free_port()), "--verbosity", "1"),
                *("--nodiscover", "--maxpeers", "0", "--port", "0"),
            ]

        with _alone(command, program) as chain:
            yield chain


@contextmanager
def consortium() -> Iterator[Chain]:
    engine = next((name for name, variable in ENGINES.items() if os.environ.get(variable)), None)
    if engine is None:
        raise Missing(f"no engine of a consortium is here: {' or '.join(ENGINES.values())} names one")
    scripts = ROOT / "deploy" / "consortium"
    with tempfile.TemporaryDirectory(prefix="gridpact-consortium-") as parent:
        folder = Path(parent) / "network"
        place = ["--folder", str(folder)]

        def say(script: str, *words: str) -> None:
            subprocess.run([scripts / script, *words, *place], check=True, stdout=subprocess.DEVNULL)

        try:
            say("up", "--engine", engine, "--base-port", "8700")
            about = parse_json((folder / "network.json").read_text(encoding="utf-8"))
            urls = [str(one["rpc"]) for one in about["validators"]]

            def pids() -> list[int]:
                files = sorted(folder.glob("validator-*/pid"))
                return [int(file.read_text(encoding="ascii")) for file in files]

            key = (folder / "manager.key").read_text(encoding="ascii").strip()
            kill, start = (lambda: say("validator", "kill", "3")), (lambda: say("validator", "start", "3"))
            yield Chain(",".join(urls), pids, kill, start, manager_key=key)
        finally:
            if (folder / "network.json").exists():
                say("down")


ENGINES = {"evmd": "EVMD", "besu": "BESU_HOME"}
PLATFORMS: dict[str, Callable[[], AbstractContextManager[Chain]]] = {
    EMBEDDED: embedded,
    "anvil": anvil,
    "ganache": ganache,
    "geth": geth,
    "consortium": consortium,
}


# ---------------------------------------------------------------------- what is measured


def measured(name: str, community: CommunityDay) -> dict[str, Any]:
    """All of one platform.

    Raises:
        Missing: it is not here.
    """
    with PLATFORMS[name]() as chain, _key(chain.manager_key):
        row: dict[str, Any] = {"platform": name, "case": community.name, "day": community.day}
        row |= {"homes": len(community.households), "load": round(os.getloadavg()[0], 1)}
        print(f"{name}: transfers", flush=True)
        row["transfers"] = transfers(chain)
        for play, played in PLAYS.items():
            print(f"{name}: {play}", flush=True)
            row[play] = counted(chain, lambda played=played: played(community, chain.name))  # type: ignore[misc]
        if chain.fail is not None:
            print(f"{name}: one node fails", flush=True)
            row["failure"] = failure(chain)
        return row


@contextmanager
def _key(key: str | None) -> Iterator[None]:
    if key is not None:
        os.environ[MANAGER_KEY] = key
    try:
        yield
    finally:
        if key is not None:
            del os.environ[MANAGER_KEY]


def _opened(chain: Chain) -> AbstractContextManager[Network]:
    if chain.network is not None:
        return nullcontext(chain.network)
    return open_network(chain.name)


def transfers(chain: Chain) -> dict[str, float]:
    """Transfers of ether by one account: many sent at once, and one after another; how long each takes to its block."""
    with _opened(chain) as network:
        web3 = network.connect()
        payer = ChainAccount(web3, new_key())
        network.fund([payer.address], ETHER, web3)
        waits = []
        for _ in range(SINGLE):
            started = time.perf_counter()
            payer.settle_all([payer.transfer(payer.address, 1)])
            waits.append(time.perf_counter() - started)
        cpu_s, started = chain.cpu_s(), time.perf_counter()
        payer.settle_all([payer.transfer(payer.address, 1) for _ in range(MANY)])
        wall_s, cpu_s = time.perf_counter() - started, chain.cpu_s() - cpu_s
        with_fee = web3.eth.get_block("latest").get("baseFeePerGas", 0)
    return {
        "a_second": MANY / wall_s,
        "cpu_ms_each": 1000 * cpu_s / MANY,
        "median_wait_s": statistics.median(waits),
        "most_wait_s": max(waits),
        "base_fee_wei": int(with_fee or 0),
    }


def counted(chain: Chain, play: Callable[[], Outcome]) -> dict[str, Any]:
    """A play on a chain: what the chain took, and what came of it."""
    before = None if chain.network is not None else height(chain.name.partition(",")[0])
    cpu_s, started = chain.cpu_s(), time.perf_counter()
    outcome = play()
    ledger = outcome.ledger
    assert ledger is not None
    row: dict[str, Any] = {
        "wall_s": time.perf_counter() - started,
        "chain_cpu_s": chain.cpu_s() - cpu_s,
        "transactions": ledger.transactions,
        "gas": sum(ledger.gas_by_step.values()),
        "rounds": outcome.iterations,
        "paid": outcome.cost.paid,
        "sums_to_zero": ledger.sums_to_zero,
        "failed_checks": [check.name for check in Indicators(outcome).failed_checks],
    }
    if before is not None:
        row |= blocks_since(chain.name.partition(",")[0], before)
    return row


def blocks_since(url: str, before: int) -> dict[str, int]:
    """Blocks that came, and their bytes: what each node of the chain receives and keeps."""
    web3 = connect(url)
    newest = int(web3.eth.block_number)
    sizes = [int(web3.eth.get_block(number)["size"]) for number in range(before + 1, newest + 1)]
    return {"blocks": len(sizes), "bytes": sum(sizes)}


def failure(chain: Chain) -> dict[str, Any]:
    """What one node that is ended by force does: whether a transfer gets in without it, and what is there after it is
    back."""
    assert chain.fail is not None
    assert chain.recover is not None
    first = chain.name.partition(",")[0]
    before = height(first)
    assert before is not None
    with open_network(chain.name) as network:
        payer = ChainAccount(network.connect(), new_key())
        network.fund([payer.address], ETHER)
    chain.fail()
    goes_on, started = False, time.perf_counter()
    if height(first) is not None:
        payer.settle_all([payer.transfer(payer.address, 1)])
        goes_on = True
    wait_s = time.perf_counter() - started
    chain.recover()
    now = height(first)
    return {"goes_on": goes_on, "wait_s": wait_s if goes_on else None, "blocks_kept": now is not None and now >= before}


def _round(community: CommunityDay, chain: str) -> Outcome:
    return run(community, RunSettings(Scenario.TG, chain=chain, relay=True))


def _auction(community: CommunityDay, chain: str) -> Outcome:
    return run_market(community, NAMES["call-auction"], chain)


def _managed(community: CommunityDay, chain: str) -> Outcome:
    return run_market(community, NAMES["community-manager"], chain)


PLAYS: dict[str, Callable[[CommunityDay, str], Outcome]] = {
    "round": _round,
    "auction": _auction,
    "manager": _managed,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="fontana16")
    parser.add_argument("--day", help="default the case's first")
    parser.add_argument("--platforms", default=",".join(PLATFORMS), help="default all")
    parser.add_argument("--json", type=Path, help="where to leave it")
    arguments = parser.parse_args()
    names = arguments.platforms.split(",")
    if unknown := set(names) - set(PLATFORMS):
        raise InputError(f"there is no platform '{unknown.pop()}': choose of {', '.join(PLATFORMS)}")
    case = read_community(arguments.case)
    community = case.on(arguments.day or case.days[0])
    report: dict[str, Any] = {"rows": [], "missing": {}}
    if arguments.json is not None and arguments.json.exists():
        report = parse_json(arguments.json.read_text(encoding="utf-8"))
    for name in names:
        report["rows"] = [row for row in report["rows"] if row["platform"] != name]
        report["missing"].pop(name, None)
        try:
            report["rows"].append(measured(name, community))
        except Missing as reason:
            report["missing"][name] = str(reason)
            print(f"{name}: {reason}", file=sys.stderr)
        report["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        report["rows"].sort(key=lambda row: list(PLATFORMS).index(cast(str, row["platform"])))
        if arguments.json is not None:
            write_atomically(arguments.json, json.dumps(report, indent=1) + "\n")
    if arguments.json is None:
        print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GridpactError as error:
        sys.exit(f"platforms: {error}")
