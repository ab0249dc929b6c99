"""A campaign of days on a chain in which things go wrong: is every day closed, every lock ended, and all money there?

    python -m measure.days [--days 100] [--seed 1] [--json reports/days.json]

Every day is one of `gridpact day` on tiny3, on Anvil, a process for each node, agreed anew through the day. From the
seed it is drawn who does what: households that join too late, fall silent, come too late, die in the middle of a round,
nominate anything, state other prices than were agreed, or whose meters are late, unread or lie; an oracle that is
silent, late or absurd. Then the money of both settlements is counted to the last token unit, and what is still locked.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from web3 import Web3

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.artifacts import SETTLEMENT, load
from gridpact.chain.day import DaySettlement
from gridpact.chain.networks import Network, open_network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.community.read import read_community
from gridpact.day.office import play_day
from gridpact.day.values import DaySettings
from gridpact.errors import GridpactError
from gridpact.files import write_atomically
from gridpact.problem.scenario import Scenario
from measure.faulty_day import PATIENCE, WHO, DayFault, live

CASE = "tiny3"
PHASE_SECONDS = 4
ORACLES = ("honest", "silent", "late", "absurd")


@dataclass
class DayTally:
    """What a campaign counted."""

    days: int = 0
    days_closed: int = 0
    rounds_agreed: int = 0
    missing_readings: int = 0
    plain_customers: int = 0  # households that joined too late
    money_lost: int = 0  # token units
    locked: int = 0  # the same
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return self.days_closed == self.days and not (self.money_lost or self.locked or self.problems)


class DayCampaign:
    """Days one after the other on one chain, each with contracts of its own."""

    def __init__(
        self, network: Network, seed: int, patience_s: float = PATIENCE, phase_seconds: int = PHASE_SECONDS
    ) -> None:
        assert network.rpc_url is not None
        self._patience_s, self._phase_seconds = patience_s, phase_seconds
        self._url, self._web3, self._seed = network.rpc_url, network.connect(), seed
        self._community = (case := read_community(CASE)).on(case.days[0])
        self.tally = DayTally()

    def drawn(self, number: int) -> tuple[str, list[DayFault]]:
        """The oracle of a day, and who does what on it."""
        by = random.Random(f"{self._seed} {number}")
        homes, steps = [home.node for home in self._community.households], self._community.steps
        faults = [
            DayFault(by.choice(list(WHO)), node, by.randrange(1, steps))
            for node in by.sample(homes, by.choice((1, 1, 2, 2, 3)))
        ]
        return by.choice(ORACLES), faults

    def play(self, number: int) -> None:
        self.go_through(number, *self.drawn(number))

    def go_through(self, number: int, oracle: str, faults: Sequence[DayFault]) -> None:
        """One day, and then counts."""
        whom = ", ".join(f"{fault.node} {fault.kind} from {fault.step}" for fault in faults)
        where = f"[seed {self._seed}, day {number}: oracle {oracle}, {whom}]"
        tally = self.tally
        tally.days += 1
        tally.faults.update([f"oracle {oracle}", *(fault.kind for fault in faults)])
        with tempfile.TemporaryDirectory(prefix="gridpact-") as folder:
            record = Path(folder) / "contracts.json"
            settings = DaySettings(
                scenario=Scenario.TG if number % 2 else Scenario.T,
                chain=self._url,
                re_agreements=2,
                seed=1000 * self._seed + number,
                oracle=oracle,
                silent={one.node: one.silent_from for one in faults if one.silent_from is not None},
                relay=number % 3 == 0,
                phase_seconds=self._phase_seconds,
                record=record,
                patience_s=self._patience_s,
            )
            try:
                played = play_day(self._community, settings, body=partial(live, faults))
            except Exception as error:
                tally.problems.append(f"{type(error).__name__}: {error} {where}")
                return
            tally.rounds_agreed += len(played.iterations)
            tally.missing_readings += played.missing_readings
            tally.plain_customers += len(played.plain_customers)
            if not (played.money_conserved and played.all_locks_ended):
                tally.problems.append(f"the day's own money is not in order {where}")
            self._count(Record.read(record), settings)

    def _count(self, record: Record, settings: DaySettings) -> None:
        """All money from the chain alone, when nobody is waited for any more."""
        ledger, trades = (kind.of(record, self._web3) for kind in (DaySettlement, Settlement))
        assert isinstance(ledger, DaySettlement)
        assert isinstance(trades, Settlement)
        manager = Aggregator.of(record, self._web3)
        homes = {home.node: manager.account_of(home.node) for home in self._community.households}
        accounts = {node: account for node, account in homes.items() if account is not None}
        self.tally.days_closed += ledger.standing(int(self._community.day)).closed
        self._release(record, accounts, manager.progress().round)
        parties = [*accounts.values(), trades.supplier()]
        minted = 20 * round(settings.lock * 10**6) * len(parties)
        held = [trades.token.balance(one.address) for one in (ledger, trades)]
        outside = sum(trades.token.balance(party) for party in parties)
        of_accounts = [sum(one.free(party) + one.locked(party) for party in parties) for one in (ledger, trades)]
        deposits = [one.total_deposits() for one in (ledger, trades)]
        self.tally.money_lost += abs(minted - outside - sum(held))
        self.tally.money_lost += sum(abs(one - other) for one, other in zip(held, of_accounts, strict=True))
        self.tally.money_lost += sum(abs(one - other) for one, other in zip(held, deposits, strict=True))
        self.tally.locked += sum(one.locked(party) for party in parties for one in (ledger, trades))

    def _release(self, record: Record, accounts: Mapping[int, str], rounds: int) -> None:
        """What was stated and never recorded is taken back by who stated it, after the locks' deadlines."""
        self._rpc("evm_increaseTime", 30 * 24 * 3600)
        self._rpc("evm_mine")
        contract = self._web3.eth.contract(Web3.to_checksum_address(record.settlement), abi=load(SETTLEMENT).abi)
        for node, account in accounts.items():
            self._rpc("anvil_impersonateAccount", account)
            for round_ in range(1, rounds + 1):
                for partner in accounts.keys() - {node}:
                    with suppress(Exception):  # nothing is locked there
                        contract.functions.release(round_, partner).transact({"from": account})
            self._rpc("anvil_stopImpersonatingAccount", account)

    def _rpc(self, method: str, *arguments: Any) -> Any:
        return self._web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m measure.days", description=__doc__)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    with open_network("anvil") as network:
        campaign = DayCampaign(network, arguments.seed)
        for number in range(arguments.first, arguments.first + arguments.days):
            known = len(campaign.tally.problems)
            campaign.play(number)
            tally = campaign.tally
            closed = f"{tally.days_closed} of {tally.days} closed"
            print(f"day {number}: {closed}, {tally.money_lost} units lost, {tally.locked} locked", flush=True)
            for problem in tally.problems[known:]:
                print(f"  {problem}", flush=True)
            if arguments.json:
                values = asdict(tally) | {"seed": arguments.seed, "faults": dict(sorted(tally.faults.items()))}
                write_atomically(arguments.json, json.dumps(values, indent=1) + "\n")
    return 0 if campaign.tally.held else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GridpactError as error:
        sys.exit(f"gridpact: {error}")
