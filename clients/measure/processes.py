"""Plays streets on Anvil with a process for each node, and compares with the same round in memory.

    python -m measure.processes fontana16x3 eulv55                    # TG, 06-10; two minutes
    python -m measure.processes --suppliers fontana16x3 eulv55        # with two suppliers and all fees

With --suppliers every second home is the customer of another one, with the community's prices of six hours before.
Bills are what the settlement contract has taken of each household, beside what the round in memory says: supplier, fees
and taxes, and what neighbours pay each other, but no losses, of which the contract knows nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.community.model import CommunityDay, Prices
from gridpact.community.read import read_community
from gridpact.files import write_atomically
from gridpact.market.agreement import Trade
from gridpact.outcome.day import day_of
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario
from gridpact.run.onchain import RunSettings, run
from gridpact.run.staging import TOKEN_DECIMALS

FIRST_ROUND = 1
GRID, TAX, TRADED, PEAK = 0.05, 0.02, 0.04, 0.10
"""Fees, currency/kWh and, of the day's peak, currency/kW."""


def with_suppliers(day: CommunityDay) -> CommunityDay:
    """With two suppliers and all fees."""
    grid, tax, traded = (np.full(day.steps, fee) for fee in (GRID, TAX, TRADED))
    later = round(6 / day.step_hours)
    other = Prices(np.roll(day.prices.import_price, later), day.prices.feed_in_share, supplier="Later")
    common, later_one = (prices.with_fees(grid, tax, traded, PEAK) for prices in (day.prices, other))
    homes = [replace(home, tariff=later_one if home.node % 2 == 0 else None) for home in day.households]
    return replace(day, prices=common, households=tuple(homes))


@dataclass
class Paid:
    """What the contract has taken of each household, read while its chain is still there."""

    units: dict[int, int]

    @contextmanager
    def looking(self, record: Record, network: Network) -> Iterator[None]:
        yield
        settlement = Settlement.of(record, network.connect())
        nodes = settlement.deliveries(FIRST_ROUND)
        self.units = {node: -settlement.net_payment(FIRST_ROUND, node) for node in nodes}


def compared(case: str, day: str, suppliers: bool) -> dict[str, Any]:
    """A street on a chain and in memory."""
    community = read_community(case).on(day)
    if suppliers:
        community = with_suppliers(community)
    paid = Paid({})
    chain = run(community, RunSettings(Scenario.TG, chain="anvil"), spectator=paid.looking)
    memory = solved(community, Scenario.TG)
    injection = [np.array([home.schedule["injection_kw"] for home in one.households]) for one in (chain, memory)]
    bills = {home.node: home.cost - home.loss_cost for home in day_of(memory).households}
    unit = 10.0**-TOKEN_DECIMALS
    assert chain.ledger is not None
    return {
        "case": case,
        "day": day,
        "suppliers": len(community.customers()),
        "processes": len(community.households) + 1,
        "iterations": [chain.iterations, memory.iterations],
        "converged": chain.converged,
        "cost": [chain.cost.paid, memory.cost.paid],
        "gap": chain.implemented_gap,
        "voltages_held": chain.voltage_ok,
        "largest_difference_of_a_plan_w": 1000 * float(np.abs(injection[0] - injection[1]).max()),
        "same_trades": _energies(chain.trades) == _energies(memory.trades),
        "largest_difference_of_a_bill": max(abs(unit * paid.units[node] - bill) for node, bill in bills.items()),
        "payments_sum_to_zero": chain.payments_sum_to_zero,
        "gas_per_household_iteration": chain.gas_per_household_iteration,
        "wall_s": chain.ledger.wall_s,
    }


def _energies(trades: Sequence[Trade]) -> dict[tuple[int, int, int], int]:
    """In Wh, by who sells, who buys, and when."""
    return {(trade.seller, trade.buyer, trade.step): round(1000 * trade.energy_kwh) for trade in trades}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("cases", nargs="*", default=["fontana16x3", "eulv55"])
    parser.add_argument("--day", default="06-10")
    parser.add_argument("--suppliers", action="store_true", help="two, and all fees")
    parser.add_argument("--json", type=Path, help="where to leave it")
    arguments = parser.parse_args()
    rows = []
    for case in arguments.cases:
        rows.append(compared(case, arguments.day, arguments.suppliers))
        print(json.dumps(rows[-1], indent=2), flush=True)
    if arguments.json is not None:
        write_atomically(arguments.json, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
