"""Starts and ends a consortium network on this machine: `up`, `down`, `validator`. See docs/consortium.md."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from besu import IMAGE, Besu
from evmd import Evmd
from plan import ConsortiumError, Engine, Plan, Started, Validator, execute

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "consortium"
COMPOSE = Path(__file__).resolve().parent / "compose.yaml"
BASE_PORT = 8600
START_SECONDS = 120.0
END_SECONDS = 20.0
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def engine_of(name: str, containers: bool) -> Engine:
    """The engine by its name.

    Raises:
        ConsortiumError: there is none, or its program is not known.
    """
    if name == "besu":
        return Besu(containers)
    if containers:
        raise ConsortiumError(f"containers are there for besu only: start {name} as processes")
    if name == "evmd":
        return Evmd()
    raise ConsortiumError(f"there is no engine '{name}': choose besu or evmd")


# ---------------------------------------------------------------------- processes


def pid_of(validator: Validator) -> int | None:
    """The process of a validator; None where it does not run."""
    try:
        pid = int(validator.pid_file.read_text(encoding="ascii"))
        os.kill(pid, 0)
        if Path("/proc/self").exists() and Path(os.readlink(f"/proc/{pid}/cwd")) != validator.folder.resolve():
            return None  # the number belongs to another process by now
    except (OSError, ValueError):
        return None
    return pid


def start_process(engine: Engine, validator: Validator) -> None:
    """Starts a validator that runs on when this program ends; nothing where it runs already."""
    if pid_of(validator) is not None:
        return
    with validator.log.open("ab") as log:
        process = subprocess.Popen(
            engine.command(validator),
            cwd=validator.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    validator.pid_file.write_text(f"{process.pid}\n", encoding="ascii")


def end_process(validator: Validator, by: signal.Signals = signal.SIGTERM) -> None:
    """Ends a validator, by force where it does not go by request."""
    pid = pid_of(validator)
    if pid is None:
        return
    os.kill(pid, by)
    give_up = time.monotonic() + END_SECONDS
    while pid_of(validator) is not None and not _reap(pid):
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    validator.pid_file.unlink(missing_ok=True)


def _reap(pid: int) -> bool:
    """Whether a process that this program started is over."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


# ---------------------------------------------------------------------- questions


def ask(validator: Validator, method: str, *parameters: object) -> object | None:
    """One JSON-RPC question to a validator; None where it does not answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{validator.http_port}", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            answer = json.load(response)
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return answer.get("result") if isinstance(answer, dict) else None


def height(validator: Validator) -> int | None:
    """The number of the newest block that a validator knows; None where it does not answer."""
    number = ask(validator, "eth_blockNumber")
    return int(number, 16) if isinstance(number, str) else None


def wait_for(what: str, reached: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Waits.

    Raises:
        ConsortiumError: it did not come true in time.
    """
    give_up = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > give_up:
            raise ConsortiumError(f"{what} within {seconds:.0f} s: see log.txt in the validators' folders")
        time.sleep(0.2)


# ---------------------------------------------------------------------- the three commands


def up(arguments: argparse.Namespace) -> None:
    folder: Path = arguments.folder
    if (folder / "network.json").exists():
        started = Started.read(folder)
        engine = engine_of(started.engine, started.containers)
        print(f"Starting the network in {folder} again")
    else:
        engine = engine_of(arguments.engine, arguments.containers)
        started = _prepare(engine, arguments)
    here = [v for v in started.validators if not arguments.only or v.number in arguments.only]
    if arguments.prepare_only:
        print(f"Prepared: {len(started.validators)} validators in {folder}; start them with deploy/consortium/up")
        return
    before = {validator.number: height(validator) or 0 for validator in here}
    if started.containers:
        _compose(started, "up", "--detach", *(v.name for v in here))
    else:
        for validator in here:
            start_process(engine, validator)
    print(f"{engine.name}, chain id {started.chain_id}: {len(here)} validators started")
    for validator in here:
        print(f"  {validator.name}  {validator.rpc}  http://127.0.0.1:{validator.http_port}")
    if len(here) < len(started.validators):
        needed = 2 * len(started.validators) // 3 + 1
        print(f"Blocks come once {needed} of {len(started.validators)} run: see `deploy/consortium/validator status N`")
        return
    wait_for("no blocks come", lambda: all((height(v) or 0) > max(before[v.number], 1) for v in here))
    print(f"Blocks come. Manager's account: {started.manager}")
    if (folder / "manager.key").exists():
        print(f"  export GRIDPACT_MANAGER_KEY=$(cat {folder / 'manager.key'})")
    print(f"  gridpact run --relay --chain {started.chain}")


def down(arguments: argparse.Namespace) -> None:
    started = Started.read(arguments.folder)
    if started.containers:
        _compose(started, "down")
    else:
        for validator in started.validators:
            end_process(validator)
    print(f"The network in {arguments.folder} is down")
    if arguments.wipe:
        shutil.rmtree(arguments.folder)
        print("Its keys and its chain are removed")


def validator(arguments: argparse.Namespace) -> None:
    started = Started.read(arguments.folder)
    chosen = next((v for v in started.validators if v.number == arguments.number), None)
    if chosen is None:
        raise ConsortiumError(f"there is no validator {arguments.number}: there are {len(started.validators)}")
    if arguments.action == "status":
        block = height(chosen)
        print(f"{chosen.name}: " + ("does not answer" if block is None else f"block {block}"))
        return
    if started.containers:
        _compose(started, arguments.action, chosen.name)
    elif arguments.action == "start":
        start_process(engine_of(started.engine, started.containers), chosen)
    else:
        end_process(chosen, signal.SIGKILL if arguments.action == "kill" else signal.SIGTERM)
    print(f"{chosen.name}: {arguments.action}")


def _prepare(engine: Engine, arguments: argparse.Namespace) -> Started:
    folder: Path = arguments.folder
    if folder.exists() and any(folder.iterdir()):
        raise ConsortiumError(f"'{folder}' is not empty and holds no network: give another folder")
    hosts = arguments.hosts.split(",")
    if arguments.containers and len(hosts) != 4:
        raise ConsortiumError(f"compose.yaml describes four validators, not {len(hosts)}")
    accounts = _accounts(arguments.accounts) if arguments.accounts else None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = Plan.of(folder, hosts, arguments.base_port, arguments.manager or _new_manager(folder), accounts)
        print(f"Making keys and genesis block of {len(hosts)} validators with {engine.name}", flush=True)
        engine.prepare(plan)
    except BaseException:
        shutil.rmtree(folder)
        raise
    started = Started(
        folder, engine.name, engine.chain_id, plan.manager, accounts is not None, arguments.containers, plan.validators
    )
    started.write()
    return started


def _accounts(path: Path) -> tuple[str, ...]:
    """The addresses in a text file, one a line; what stands after # is a remark."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConsortiumError(f"the accounts in '{path}' cannot be read: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            found.append(_address(words[0], f"line {number} of '{path}'"))
    return tuple(found)


def _address(text: str, where: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise ConsortiumError(f"{where}: '{text}' is no address, which is 0x and 40 hexadecimal digits")
    from web3 import Web3  # takes a second

    return str(Web3.to_checksum_address(text))


def _new_manager(folder: Path) -> str:
    """A fresh key for a trial. For a pilot, the manager gives the address of its own key."""
    sys.path.insert(0, str(ROOT / "clients"))
    from gridpact.chain.keys import address_of, new_key

    key = new_key()
    path = folder / "manager.key"
    path.touch(mode=0o600)
    path.write_text(key + "\n", encoding="ascii")
    return str(address_of(key))


def _compose(started: Started, *arguments: str) -> None:
    folder = str(started.folder.resolve())
    os.environ.update(CONSORTIUM=folder, BESU_IMAGE=IMAGE, BESU_USER=f"{os.getuid()}:{os.getgid()}")
    execute(["docker", "compose", "--file", COMPOSE, *arguments])


# ---------------------------------------------------------------------- command line


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="deploy/consortium", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, default=FOLDER, help="folder of the network; default build/consortium")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("up", parents=[common], help="make a network, or start again the one that is there")
    command.add_argument("--engine", default="besu", help="besu (default; BESU_HOME or --containers) or evmd (EVMD)")
    command.add_argument("--containers", action="store_true", help="run Besu's image by docker compose")
    command.add_argument(
        "--hosts",
        default=",".join(4 * ["127.0.0.1"]),
        metavar="H,H,...",
        help="the machine of each validator, by its IP address; default four on this machine",
    )
    command.add_argument("--base-port", type=int, default=BASE_PORT, help=f"first of ten ports each, {BASE_PORT}")
    command.add_argument("--manager", metavar="ADDRESS", help="account that owns the ether; default a fresh key")
    command.add_argument(
        "--accounts", type=Path, metavar="FILE", help="addresses that may send transactions, one a line; default all"
    )
    command.add_argument("--only", type=_numbers, metavar="N,N,...", help="validators that run on this machine")
    command.add_argument("--prepare-only", action="store_true", help="make the folders, start nothing")
    command.set_defaults(command=up)

    command = commands.add_parser("down", parents=[common], help="end all validators")
    command.add_argument("--wipe", action="store_true", help="remove keys and chain too")
    command.set_defaults(command=down)

    command = commands.add_parser("validator", parents=[common], help="start, stop or kill one, or see how it stands")
    command.add_argument("action", choices=("start", "stop", "kill", "status"))
    command.add_argument("number", type=int)
    command.set_defaults(command=validator)

    arguments = parser.parse_args(words)
    arguments.folder = arguments.folder.absolute()
    if getattr(arguments, "manager", None):
        arguments.manager = _address(arguments.manager, "--manager")
    arguments.command(arguments)
    return 0


def _numbers(text: str) -> set[int]:
    return {int(word) for word in text.split(",")}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConsortiumError as error:
        print(f"consortium: {error}.", file=sys.stderr)
        sys.exit(2)
