"""Plays rounds on a real consortium network while validators fail: what it costs, and whether anything is lost.

    .venv/bin/python deploy/consortium/trial.py --engine evmd --json reports/consortium.json

Every play is a whole `gridpact run` of one day: fresh contracts, all nodes as processes, each of which speaks to one
validator only, the next node to the next. Faults are played when an iteration is closed:

    quiet    nothing fails
    restart  the third validator is killed and started again
    halt     the third and the fourth are cut off (frozen, so that neither validators nor nodes reach them): with two
             of four left, no block can be agreed on; then they come back
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import consortium
from plan import ConsortiumError, Engine, Started, Validator

sys.path.insert(0, str(consortium.ROOT / "clients"))

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.record import Record
from gridpact.chain.transport import connect
from gridpact.community.read import read_community
from gridpact.errors import GridpactError
from gridpact.node.audit import audit_round
from gridpact.outcome.indicators import Indicators
from gridpact.problem.scenario import Scenario
from gridpact.run.onchain import RunSettings, run

PLAYS = ("quiet", "restart", "halt")
FAULT_AFTER = 8
"""The iteration whose end is the signal for the fault."""


@dataclass
class Fault:
    """What a play does to the network, and when."""

    engine: Engine
    started: Started
    play: str
    seconds: float
    told: list[str] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        if self._thread is None and self.play != "quiet":
            self._thread = threading.Thread(target=getattr(self, f"_{self.play}"))
            self._thread.start()

    def finish(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _restart(self) -> None:
        victim = self.started.validators[2]
        before = self._height()
        consortium.end_process(victim, signal.SIGKILL)
        time.sleep(self.seconds)
        meanwhile = self._height() - before
        consortium.start_process(self.engine, victim)
        consortium.wait_for(f"{victim.name} does not come back", lambda: (consortium.height(victim) or 0) > before)
        self.told.append(f"{victim.name} was killed for {self.seconds:.0f} s; {meanwhile} blocks came meanwhile")

    def _halt(self) -> None:
        victims = self.started.validators[2:4]
        for victim in victims:
            os.kill(_running(victim), signal.SIGSTOP)
        time.sleep(3)  # a block that was agreed on already may still be made
        before = self._height()
        time.sleep(self.seconds)
        meanwhile = self._height() - before
        for victim in victims:
            os.kill(_running(victim), signal.SIGCONT)
        names = " and ".join(victim.name for victim in victims)
        self.told.append(f"{names} were cut off for {self.seconds + 3:.0f} s; {meanwhile} blocks came in the last"
                         f" {self.seconds:.0f} s of them")  # fmt: skip

    def _height(self) -> int:
        return consortium.height(self.started.validators[0]) or 0


@dataclass
class Watcher:
    """Follows a run, and gives the fault its signal."""

    fault: Fault

    def stage(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def iteration(self, number: int, rms_w: Sequence[float]) -> None:
        if number == FAULT_AFTER:
            self.fault.begin()


@dataclass(frozen=True)
class Row:
    """What came of one play."""

    play: str
    relayed: bool
    case: str
    fault: str
    iterations: int
    negotiation_s: float  # from the first to the last closed iteration, by the blocks' times
    blocks: int  # in that time
    block_s: float  # from one block to the next in that time
    blocks_an_iteration: float
    solving_s_an_iteration: float  # of the node that solved longest: what the others wait for at least
    beyond_solving: float  # blocks an iteration, less the time of solving in blocks
    wall_s: float  # of the whole run, from deployment to settlement
    load: float  # of the machine in the last minute, processes that would run
    converged: bool
    sum_zero: bool
    failed_checks: list[str]
    audit: str


def play(engine: Engine, started: Started, name: str, relayed: bool, case: str, day: str | None, seconds: float) -> Row:
    """One run with its fault."""
    community = read_community(case)
    fault = Fault(engine, started, name, seconds)
    with tempfile.TemporaryDirectory(prefix="gridpact-trial-") as folder:
        record_file = Path(folder) / "contracts.json"
        settings = RunSettings(scenario=Scenario.TG, chain=started.chain, relay=relayed, record=record_file)
        try:
            result = run(community.on(day or community.days[0]), settings, Watcher(fault))
        finally:
            fault.finish()
        record = Record.read(record_file)
    web3 = connect(started.validators[1].rpc)  # another than the manager spoke to
    aggregator = Aggregator.of(record, web3)
    audit = audit_round(aggregator, 1)
    contract = web3.eth.contract(address=record.aggregator, abi=record.aggregator_abi)  # type: ignore[call-overload]
    numbers = [event["blockNumber"] for event in contract.events.IterationClosed().get_logs(from_block=record.block)]
    aggregator.close()
    first, last = (web3.eth.get_block(number)["timestamp"] for number in (numbers[0], numbers[-1]))
    blocks, iterations = numbers[-1] - numbers[0], len(numbers) - 1
    block_s = (last - first) / max(blocks, 1)
    solving_s = result.solve_s / result.iterations
    problems = [*audit.contract_errors, *audit.false_claims, *audit.plan_errors]
    return Row(
        play=name,
        relayed=relayed,
        case=f"{case} {result.community.day}",
        fault="; ".join(fault.told),
        iterations=result.iterations,
        negotiation_s=last - first,
        blocks=blocks,
        block_s=round(block_s, 3),
        blocks_an_iteration=round(blocks / iterations, 3),
        solving_s_an_iteration=round(solving_s, 3),
        beyond_solving=round(blocks / iterations - solving_s / block_s, 3),
        wall_s=round(result.wall_s, 1),
        load=round(os.getloadavg()[0], 1),
        converged=result.converged,
        sum_zero=result.settlement_sum_zero,
        failed_checks=[check.name for check in Indicators(result).failed_checks],
        audit="; ".join(problems) or "clean",
    )


def _running(validator: Validator) -> int:
    pid = consortium.pid_of(validator)
    if pid is None:
        raise ConsortiumError(f"{validator.name} does not run: see {validator.log}")
    return pid


def _commit() -> str:
    command = ["git", "-C", str(consortium.ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _write(path: Path, about: dict[str, object], rows: Sequence[Row]) -> None:
    """Adds to what an earlier trial wrote; a play that was played again is replaced."""
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    about |= {"commit": _commit(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    new = [about | asdict(row) for row in rows]
    kinds = [[row[key] for key in ("engine", "play", "relayed", "case")] for row in new]
    kept = [row for row in before if [row[key] for key in ("engine", "play", "relayed", "case")] not in kinds]
    path.write_text(json.dumps({"rows": [*kept, *new]}, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="besu", help="besu (BESU_HOME) or evmd (EVMD)")
    parser.add_argument("--plays", default=",".join(PLAYS), help=f"of {', '.join(PLAYS)}; default all")
    parser.add_argument("--direct", action="store_true", help="a transaction each, no relay")
    parser.add_argument("--case", default="fontana16")
    parser.add_argument("--day", help="default the case's first")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a fault lasts; default 20")
    parser.add_argument("--base-port", type=int, default=8700)
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    arguments = parser.parse_args()
    plays = arguments.plays.split(",")
    if unknown := set(plays) - set(PLAYS):
        raise ConsortiumError(f"there is no play '{unknown.pop()}': choose of {', '.join(PLAYS)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gridpact-consortium-") as parent:
        folder = Path(parent) / "network"
        place = ["--folder", str(folder)]
        try:
            consortium.main(["up", *place, "--engine", arguments.engine, "--base-port", str(arguments.base_port)])
            started = Started.read(folder)
            engine = consortium.engine_of(started.engine, started.containers)
            version = consortium.ask(started.validators[0], "web3_clientVersion")
            os.environ["GRIDPACT_MANAGER_KEY"] = (folder / "manager.key").read_text(encoding="ascii").strip()
            for name in plays:
                print(f"{name}: {arguments.case} by {'transactions of each' if arguments.direct else 'relay'}")
                row = play(
                    engine, started, name, not arguments.direct, arguments.case, arguments.day, arguments.seconds
                )
                rows.append(row)
                print(json.dumps(asdict(row), indent=1), flush=True)
        finally:
            if (folder / "network.json").exists():
                consortium.main(["down", *place])
    if arguments.json:
        _write(arguments.json, {"engine": f"{engine.name} {engine.version}", "client": version}, rows)
    lost = [row.play for row in rows if row.failed_checks or not row.sum_zero or row.audit != "clean"]
    return 1 if lost else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ConsortiumError, GridpactError) as error:
        print(f"trial: {error}", file=sys.stderr)
        sys.exit(2)
