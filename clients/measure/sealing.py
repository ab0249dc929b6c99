"""What sealing a round costs: time and gas beside the open form, of runs by turns.

    python -m measure.sealing [--case fontana16] [--day 06-10] [--turns 3] [--direct]

Each turn is a run in the open form, two in the sealed form and one in the open form, of the same day on the same
machine, so that a machine that gets slower or faster meanwhile meets both alike; before the first is one that does not
count. Printed are medians over the turns of sealed over open.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import GridpactError
from gridpact.problem.scenario import Scenario
from gridpact.run.onchain import RunSettings, run

SCENARIOS = {"t": Scenario.T, "g": Scenario.G, "tg": Scenario.TG}


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    round_s: float  # from the first node's start to the last one's end
    gas: float  # a household and iteration, of submissions
    cpu_s: float  # of all processes, the chain's too, with what starting them takes


def cost(community: CommunityDay, scenario: Scenario, chain: str, relay: bool, sealed: bool) -> Cost:
    """Plays a run.

    Raises:
        GridpactError: see `run`, or it did not agree.
    """
    before = cpu_seconds()
    outcome = run(community, RunSettings(scenario, chain=chain, relay=relay, sealed=sealed))
    spent = cpu_seconds() - before
    ledger = outcome.ledger
    if ledger is None or not outcome.converged:
        raise GridpactError(f"the round of {community.day} did not end in agreement: nothing can be compared")
    gas = ledger.gas_by_step["submit"] / len(community.households) / outcome.iterations
    return Cost(ledger.chain_s + ledger.solve_s, gas, spent)


def cpu_seconds() -> float:
    """Of this process, of its children, and of theirs that have ended: on Linux."""
    seconds = sum(os.times()[:4])
    for listed in Path("/proc/self/task").glob("*/children"):
        for child in listed.read_text(encoding="ascii").split():
            fields = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return seconds


def ratios(opened: Sequence[Cost], sealed: Sequence[Cost]) -> dict[str, float]:
    """Sealed over open, medians over turns of two each."""

    def by_turn(costs: Sequence[Cost], name: str) -> list[float]:
        return [getattr(one, name) + getattr(other, name) for one, other in zip(costs[::2], costs[1::2], strict=True)]

    return {
        name: statistics.median(
            one / other for one, other in zip(by_turn(sealed, name), by_turn(opened, name), strict=True)
        )
        for name in ("round_s", "cpu_s", "gas")
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="fontana16")
    parser.add_argument("--day", default="06-10")
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="tg")
    parser.add_argument("--chain", default="anvil")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--direct", action="store_true", help="every node sends its own transactions, without a relay")
    options = parser.parse_args(argv)
    community = read_community(options.case).on(options.day)
    found: dict[bool, list[Cost]] = {False: [], True: []}
    scenario, relay = SCENARIOS[options.scenario], not options.direct
    cost(community, scenario, options.chain, relay, sealed=False)  # starts what later runs find started
    for _ in range(options.turns):
        for sealed in (False, True, True, False):
            one = cost(community, scenario, options.chain, relay, sealed)
            found[sealed].append(one)
            form = "sealed" if sealed else "open"
            print(f"{form}: round {one.round_s:.1f} s, CPU {one.cpu_s:.1f} s, gas {one.gas:,.0f}", flush=True)
    for name, ratio in ratios(found[False], found[True]).items():
        print(f"{name}: {ratio:.3f} times the open form")
    return 0


if __name__ == "__main__":
    sys.exit(main())
