"""Day after day in compressed time: do services keep their size?

    python -m measure.soak [--case tiny3] [--rounds 48] [--idle 60] [--json FILE]

Deploys a community on Anvil, makes a folder for each node as `gridpact household new` does, starts `gridpact node
--config` for each, and plays rounds for one day after the other, each with its own forecasts, tariff and delivery.
After every round it reads from /proc how much memory each service has and how many files it holds open; at the end, how
much CPU it takes while nothing happens. Exit status 1 where something grew, or a day had no agreement.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.day import DaySettlement, DayTerms
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.keystore import make_keystore
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Phase
from gridpact.community.model import CommunityDay, Feeder, Household
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.errors import GridpactError
from gridpact.files import write_atomically
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import percent_of_limits
from gridpact.market.prepared import Prepared
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from gridpact.run.staging import tariff_of
from gridpact.service.template import NewNode, household_toml

CASE = "tiny3"
FIRST_DAY = date(2026, 1, 1)
TOKENS = 10**10
PASSWORD = "of a test chain only"
SCRYPT_ROUNDS = 2**10  # of keys that are worth nothing
PHASE_SECONDS = 30
DAY_TABLE = """
[day]
readings = "readings/{day}-{step}.json"
"""
START_SECONDS, SETTLE_SECONDS = 120.0, 30.0
WARM_UP = 8
"""Rounds after which a service has loaded all that it needs."""

MOST_GROWTH_KB = 4096
"""Between the first and the last quarter of the rounds after that, of the mean: less than an allocator wobbles."""


class Pilot:
    """A community on a chain, as its manager, its supplier and its meters see it, and a folder for each node."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        name: str = CASE,
        scenario: Scenario = Scenario.TG,
        seed: int = 1,
        phase_seconds: int = PHASE_SECONDS,
        url: str | None = None,
        sealed: bool = True,
        days: bool = False,
    ) -> None:
        """
        Args:
            url: how services reach the chain, where not as this object does.
            days: whether days are settled step by step, and households take part in them.
        """
        self._days = days
        self.folder, self.network = folder, network
        self.url = url or str(network.rpc_url)
        self.community: CommunityDay = (case := read_community(name)).on(case.days[0])
        prepared = Prepared.of(self.community, scenario)
        self.views = prepared.views
        self._random = random.Random(seed)
        self._scenario, self._sealed = scenario, sealed
        self._web3 = network.connect()
        self._manager, self._metering, supplier = network.manager(self._web3), new_key(), new_key()
        self._supplier = ChainAccount(self._web3, supplier)
        self.keys = {"supplier": supplier, "metering": self._metering}
        self._terms = terms_of(Negotiation.of(prepared), phase_seconds, max_misses=2, most_iterations=100)
        self._addresses = {view.node: self._make_node(view) for view in self.views}
        self.deploy()

    def deploy(self) -> None:
        """Deploys and enrols; again, with the same keys, where the chain has lost all of it."""
        self._manager.forget_nonce()
        self._supplier.forget_nonce()
        self.network.fund([self._manager.address], 10 * ETHER, self._web3)
        supplier, metering = self._supplier.address, str(address_of(self._metering))
        terms, name = self._terms, self.network.name
        self.record = deploy_contracts(
            self._manager, *terms, name, supplier, metering, days=self._days, sealed=self._sealed
        )
        self.record.write(self.folder / "contracts.json")
        self.network.fund([*self._addresses.values(), supplier], 10 * ETHER, self._web3)
        mint_tokens(self._manager, self.record, [*self._addresses.values(), supplier], TOKENS)
        self.aggregator = enrol_households(self._manager, self.record, self._addresses)
        self.settlement = Settlement.of(self.record, self._web3, self._supplier)
        self.settlement.deposit(TOKENS // 2)
        if self._days:
            self.ledger = DaySettlement.of(self.record, self._web3, self._supplier)
            self.ledger.deposit(TOKENS // 4)

    def config(self, node: int) -> Path:
        return self.folder / f"node-{node:02d}" / "household.toml"

    def forecast(self, node: int, day: str) -> Path:
        return self.config(node).parent / "forecasts" / f"{day}.json"

    def _make_node(self, view: NodeView) -> str:
        folder = self.config(view.node).parent
        partners = tuple(partner.node for partner in view.partners)
        name = view.household.name if view.household else "grid operator"
        new = NewNode(view.node, name, "../contracts.json", self.url, self._scenario.value, partners, metrics_port=0)
        text = (
            household_toml(new).replace("# password_file =", "password_file =").replace("$CREDENTIALS_DIRECTORY/", "")
        )
        text = text.replace('"password"', f'"{folder / "password"}"').replace("timeout_s = 60 ", "timeout_s = 3  ")
        if self._days and view.household is not None:
            text += DAY_TABLE
        write_atomically(folder / "password", PASSWORD + "\n", 0o600)
        write_atomically(folder / "household.toml", text + (_assets(view.household) if view.household else ""))
        if isinstance(view.feeder, Feeder) and view.household is None:
            rows = [(one.node, one.parent, 1000, one.resistance_ohm, one.reactance_ohm) for one in view.feeder.lines]
            with (folder / "feeder.csv").open("w", newline="", encoding="utf-8") as file:
                columns = ("node", "parent", "length_m", "resistance_ohm_per_km", "reactance_ohm_per_km")
                csv.writer(file).writerows([columns, *rows])
        return make_keystore(folder / "keystore.json", PASSWORD, SCRYPT_ROUNDS)

    def write_forecasts(self, day: str) -> None:
        """Of all households: the case's day, some more or less of it."""
        for household in self.community.households:
            more = self._random.uniform(0.8, 1.2)
            values: dict[str, object] = {"day": day, "load_kw": (more * household.load_kw).tolist()}
            if household.is_prosumer:
                values["pv_kw"] = (self._random.uniform(0.5, 1.0) * household.pv_kw).tolist()
            for car in household.having(ElectricCar):
                values["car_plugged_in"] = car.plugged_in.astype(int).tolist()
            write_atomically(self.forecast(household.node, day), json.dumps(values) + "\n")

    def reading(self, node: int, day: str, step: int) -> Path:
        return self.config(node).parent / "readings" / f"{day}-{step}.json"

    def open_day(self, day: str, start: int, adder: int = 50_000) -> None:
        """The supplier opens a day whose first step begins at a time of the chain."""
        seconds = int(self.record.setting["step_seconds"])
        terms = DayTerms(start, seconds, seconds // 4, seconds // 4, adder=adder, tolerance_wh=100, least_lock=10**6)
        label = int(day.replace("-", ""))
        self.ledger.open_day(label, terms, tariff_of(self.community.prices), 5 * 10**7)

    def open_rest(self, day: str, first: int) -> int:
        """Opens a round about the rest of a day."""
        steps = self.community.steps
        label = self.ledger.label_of(int(day.replace("-", "")), first)
        return self.aggregator.open_round(label, percent=percent_of_limits(steps, steps - first))

    def read_step(self, day: str, step: int, energies_wh: Mapping[int, int]) -> None:
        """The metering account's readings of a step that is over, and its settlement."""
        label = int(day.replace("-", ""))
        self.ledger.read(self.ledger.sign_reading(self._metering, label, step, energies_wh))
        self.ledger.settle_step(label)

    def open_round(self, day: str) -> int:
        """Opens a round, and publishes its tariff, where days have none of their own."""
        round_ = self.aggregator.open_round(int(day.replace("-", "")))
        if not self._days:
            self.settlement.publish_tariff(round_, tariff_of(self.community.prices))
        return round_

    def end_of(self, round_: int, seconds: float = 600.0) -> Phase:
        """Waits for the end of a round."""
        now = self.aggregator.wait_until(lambda now: now.round > round_ or now.phase.is_final, seconds, True)
        return self.aggregator.outcome(round_).phase if now.round > round_ else now.phase

    def deliver(self, round_: int, day: str) -> None:
        """Meters that read what was planned."""
        readings = []
        for household in self.community.households:
            path = self.config(household.node).parent / "schedule" / f"{day}.json"
            meter = [step["meter_wh"] for step in json.loads(path.read_text())["steps"]]
            readings.append(self.settlement.sign_reading(self._metering, round_, household.node, meter))
        self.settlement.deliver_readings(readings)


def _assets(household: Household) -> str:
    """The tables of a household's devices."""
    text = ""
    if household.is_prosumer:
        text += f"\n[pv]\npeak_kwp = {household.pv_kwp:g}\n"
    for battery in household.having(Battery):
        text += f"\n[battery]\ncapacity_kwh = {battery.capacity_kwh:g}\npower_kw = {battery.power_kw:g}\n"
        text += f"round_trip_efficiency = {battery.charge_efficiency * battery.discharge_efficiency:g}\n"
    for car in household.having(ElectricCar):
        text += f"\n[car]\nenergy_kwh = {car.energy_kwh:g}\npower_kw = {car.power_kw:g}\n"
        text += f"efficiency = {car.efficiency:g}\n"
        text += 'from = "18:00"\nto = "06:00"\n'
    return text


@dataclass
class Track:
    """What one service took, after each round."""

    node: int
    memory_kb: list[int] = field(default_factory=list)  # resident
    files: list[int] = field(default_factory=list)  # open
    idle_cpu: float = 0.0  # share of a core
    peak_kb: int = 0

    @property
    def growth_kb(self) -> float:
        """Mean of the last quarter after the warm-up, less that of the first."""
        steady = self.memory_kb[WARM_UP:]
        quarter = max(len(steady) // 4, 1)
        return float(np.mean(steady[-quarter:]) - np.mean(steady[:quarter])) if len(steady) > 1 else 0.0

    @property
    def more_files(self) -> int:
        steady = self.files[WARM_UP:]
        return max(steady[-3:]) - max(steady[:3]) if len(steady) > 3 else 0


@contextmanager
def services(pilot: Pilot) -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """All nodes as processes, which end with the context. Their logs lie in their folders."""
    running: dict[int, subprocess.Popen[bytes]] = {}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        for view in pilot.views:
            config = pilot.config(view.node)
            command = [sys.executable, "-m", "gridpact", "node", "--config", str(config)]
            with (config.parent / "log").open("ab") as log:
                running[view.node] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def soak(pilot: Pilot, rounds: int, idle_s: float) -> tuple[list[Track], list[str]]:
    """Plays the rounds. Returns a track of each service, and the days without an agreement of all.

    Raises:
        GridpactError: a service ended, or a round did not.
    """
    failed = []
    with services(pilot) as running:
        tracks = [Track(node) for node in running]
        _wait_for_all(pilot, running)
        for number in range(rounds):
            day = (FIRST_DAY + timedelta(days=number)).isoformat()
            pilot.write_forecasts(day)
            round_ = pilot.open_round(day)
            phase = pilot.end_of(round_)
            if phase is not Phase.CONVERGED or not _all_settled(pilot, running, round_):
                failed.append(day)
            else:
                pilot.deliver(round_, day)
            for track in tracks:
                if running[track.node].poll() is not None:
                    raise _ended(pilot, track.node)
                track.memory_kb.append(memory_kb(running[track.node].pid))
                track.files.append(open_files(running[track.node].pid))
            print(f"{day}: {phase.name.lower()}, MB {[round(t.memory_kb[-1] / 1024, 1) for t in tracks]}", flush=True)
        before = {node: cpu_seconds(process.pid) for node, process in running.items()}
        time.sleep(idle_s)
        for track in tracks:
            pid = running[track.node].pid
            track.idle_cpu = (cpu_seconds(pid) - before[track.node]) / idle_s if idle_s else 0.0
            track.peak_kb = memory_kb(pid, "VmHWM")
    return tracks, failed


def _ended(pilot: Pilot, node: int) -> GridpactError:
    last = (pilot.config(node).parent / "log").read_text(encoding="utf-8").splitlines()[-1:]
    return GridpactError(f"the service of node {node} ended: {' '.join(last)}")


def _wait_for_all(pilot: Pilot, running: dict[int, subprocess.Popen[bytes]]) -> None:
    """Until every service has reached the chain."""
    give_up = time.monotonic() + START_SECONDS
    for node, process in running.items():
        while not (pilot.config(node).parent / "state" / "health.json").exists():
            if process.poll() is not None:
                raise _ended(pilot, node)
            if time.monotonic() > give_up:
                raise GridpactError(f"the service of node {node} did not start within {START_SECONDS:.0f} s")
            time.sleep(0.1)


def _all_settled(pilot: Pilot, running: dict[int, subprocess.Popen[bytes]], round_: int) -> bool:
    """Waits until every service has written down how the round ended; whether all agreed."""
    give_up = time.monotonic() + SETTLE_SECONDS
    for node, process in running.items():
        state = pilot.config(node).parent / "state" / pilot.record.aggregator
        path = state / f"round-{round_}.end.json"
        while not path.exists():
            if process.poll() is not None:
                raise _ended(pilot, node)
            if time.monotonic() > give_up:
                return False
            time.sleep(0.05)
        if json.loads(path.read_text())["outcome"] != "agreed":
            return False
    return True


def memory_kb(pid: int, what: str = "VmRSS") -> int:
    """Resident memory of a process, kB; with VmHWM the most that it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise GridpactError(f"/proc/{pid}/status has no {what}: is the process a zombie?")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=CASE, metavar="NAME", help=f"a community; default {CASE}")
    parser.add_argument("--rounds", type=int, default=48, help="days to play; default 48")
    parser.add_argument(
        "--phase", type=int, default=PHASE_SECONDS, metavar="S", help="time for an iteration; default 30"
    )
    parser.add_argument("--idle", type=float, default=60.0, metavar="S", help="seconds to measure idle CPU over")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tracks to a file, too")
    arguments = parser.parse_args(argv)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gridpact-soak-") as folder, open_network("anvil") as network:
        tracks, failed = soak(
            Pilot(network, Path(folder), arguments.case, phase_seconds=arguments.phase),
            arguments.rounds,
            arguments.idle,
        )
    print(f"\n{arguments.rounds} days in {time.perf_counter() - started:.0f} s; without agreement: {failed or 'none'}")
    print("node  memory MB: first   last   peak   growth kB   open files   idle CPU")
    for track in tracks:
        first, last = track.memory_kb[0] / 1024, track.memory_kb[-1] / 1024
        print(
            f"{track.node:4d} {first:17.1f} {last:6.1f} {track.peak_kb / 1024:6.1f} {track.growth_kb:11.0f}"
            f" {track.files[0]:7d} -> {track.files[-1]} {100 * track.idle_cpu:9.2f} %"
        )
    if arguments.json is not None:
        values = {
            "rounds": arguments.rounds,
            "case": arguments.case,
            "failed": failed,
            "services": [asdict(t) for t in tracks],
        }
        write_atomically(arguments.json, json.dumps(values) + "\n")
    grew = any(track.growth_kb > MOST_GROWTH_KB or track.more_files > 0 for track in tracks)
    return 1 if failed or grew else 0


if __name__ == "__main__":
    sys.exit(main())
