"""`gridpact aggregator`: who bundles homes for the markets, and what the feeder makes of it."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpact.cli.options import Commands, names
from gridpact.community.model import Array, CommunityDay
from gridpact.community.networks.files import read_network
from gridpact.community.read import read_community
from gridpact.community.tables import rows
from gridpact.errors import InputError
from gridpact.grid.opendss import CHECKS

if TYPE_CHECKING:
    from gridpact.aggregator.plan import ControlPlayed, PortfolioDay


def add(commands: Commands) -> None:
    command = commands.add_parser("aggregator", help="bundle homes for the markets within what their feeder allows")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_plan(actions)


def _add_plan(actions: Commands) -> None:
    plan = actions.add_parser("plan", help="a portfolio on a three-phase feeder: load flow and adjustments in turn")
    plan.add_argument(
        "--case", default="fontana16x3", metavar="NAME|FILE", help="a case or community file; default fontana16x3"
    )
    plan.add_argument("--feeder", type=Path, metavar="FILE", help="network file; the homes stand on its loads, in turn")
    plan.add_argument("--days", metavar="D,D,...", help="one or several, of 48 h two; default the first")
    plan.add_argument(
        "--signal", type=Path, metavar="FILE", help="CSV with a column price, sent to the homes; default: their tariff"
    )
    plan.add_argument(
        "--adjustment-price",
        type=float,
        metavar="P",
        help="of a kWh otherwise than wished; default a tenth of importing",
    )
    plan.add_argument("--voltage-min", type=float, metavar="PU", help="with --feeder; default the community's")
    plan.add_argument("--voltage-max", type=float, metavar="PU", help="the same")
    plan.add_argument("--json", action="store_true", help="print figures instead of a table")
    plan.set_defaults(command=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    price = arguments.adjustment_price
    if price is not None and not 0 <= price < math.inf:
        raise InputError(f"--adjustment-price {price:g} must be a number of 0 or more")
    days = _days(arguments)
    signal = None if arguments.signal is None else _signal(arguments.signal, sum(day.steps for day in days))

    from gridpact.aggregator.plan import plan_day  # imports CVXPY, which takes a second

    plans, first = [], 0
    for day in days:
        plans.append(plan_day(day, None if signal is None else signal[first:], price))
        first += day.steps
    print(json.dumps(_figures(plans), indent=2) if arguments.json else _table(plans, days[0].currency))
    if any(plan.bound and plan.direct.after.count for plan in plans):
        return 3
    return 1 if any(plan.direct.after.count for plan in plans) else 0


def _days(arguments: argparse.Namespace) -> list[CommunityDay]:
    community = read_community(arguments.case)
    named = community.days[:1] if arguments.days is None else names("--days", arguments.days)
    days = [community.on(day) for day in named]
    if arguments.feeder is None:
        if arguments.voltage_min is not None or arguments.voltage_max is not None:
            raise InputError(
                "--voltage-min and --voltage-max go with --feeder; else they stand in the community's file"
            )
        return days
    from gridpact.aggregator.portfolio import on_network

    network = read_network(arguments.feeder)
    feeder = community.feeder
    lowest = feeder.voltage_min_pu if arguments.voltage_min is None else arguments.voltage_min
    highest = feeder.voltage_max_pu if arguments.voltage_max is None else arguments.voltage_max
    if not 0.5 <= lowest < highest <= 1.5:
        raise InputError(f"voltages from {lowest:g} to {highest:g} p.u. are no limits; give some within 0.5 to 1.5")
    return [on_network(day, network, lowest, highest) for day in days]


def _signal(path: Path, steps: int) -> Array:
    series = np.array([row.number_in("price") for row in rows(path, ["price"], None)])
    if len(series) < steps:
        raise InputError(
            f"{path.name}: the price series has {len(series)} values, the horizon {steps} steps; give a price for each"
        )
    return series


def _figures(plans: Sequence[PortfolioDay]) -> dict[str, Any]:
    optima = [plan.optimum for plan in plans]
    found = [one for one in optima if one is not None]
    direct = _control([plan.direct for plan in plans])
    whole = len(found) == len(optima)
    return {
        **{key: direct[key] for key in ("loops", "violations_before", "violations_after", "adjusted_kwh")},
        "optimum_adjusted_kwh": sum(one.adjusted_kwh for one in found) if whole else None,
        "curtailed_kwh": direct["curtailed_kwh"],
        "days": [plan.day for plan in plans],
        "judge": CHECKS,
        "direct": direct,
        "signals": _control([plan.signals for plan in plans]),
        "optimum": {
            "cost": sum(one.cost for one in found),
            "adjusted_kwh": sum(one.adjusted_kwh for one in found),
            "curtailed_kwh": sum(one.curtailed_kwh for one in found),
            "peak_kw": max(one.peak_kw for one in found),
        }
        if whole
        else None,
        "bound": [plan.bound for plan in plans if plan.bound],
    }


def _control(played: Sequence[ControlPlayed]) -> dict[str, Any]:
    return {
        "loops": max(one.loops for one in played),
        "violations_before": sum(one.before.count for one in played),
        "violations_after": sum(one.after.count for one in played),
        "voltage_violations_before": sum(one.before.voltage for one in played),
        "current_violations_before": sum(one.before.current for one in played),
        "cost": sum(one.cost for one in played),
        "adjusted_kwh": sum(one.adjusted_kwh for one in played),
        "adjusted_kvarh": sum(one.adjusted_kvarh for one in played),
        "curtailed_kwh": sum(one.curtailed_kwh for one in played),
        "peak_before_kw": max(one.peak_before_kw for one in played),
        "peak_kw": max(one.peak_kw for one in played),
        "most_effective": [
            {"violation": one.violation, "step": one.step, "agent": one.agent, "per_kw": one.per_kw}
            for each in played
            for one in each.effective
        ],
    }


def _table(plans: Sequence[PortfolioDay], currency: str) -> str:
    figures = _figures(plans)
    lines = [
        f"{', '.join(figures['days'])}; violations found by {CHECKS}",
        f"{'':18}{'loops':>6}{'violations':>16}{currency:>9}{'adjusted kWh':>14}{'kvarh':>8}{'curtailed kWh':>15}"
        f"{'peak kW':>16}",
    ]
    for name, key in (("direct control", "direct"), ("incentive signals", "signals")):
        one = figures[key]
        broken = f"{one['violations_before']} -> {one['violations_after']}"
        peak = f"{one['peak_before_kw']:.1f} -> {one['peak_kw']:.1f}"
        lines.append(
            f"{name:18}{one['loops']:6}{broken:>16}{one['cost']:9.2f}{one['adjusted_kwh']:14.2f}"
            f"{one['adjusted_kvarh']:8.1f}{one['curtailed_kwh']:15.2f}{peak:>16}"
        )
    if (best := figures["optimum"]) is not None:
        lines.append(
            f"{'the optimum (G)':18}{'-':>6}{'0':>16}{best['cost']:9.2f}{best['adjusted_kwh']:14.2f}{'-':>8}"
            f"{best['curtailed_kwh']:15.2f}{best['peak_kw']:16.1f}"
        )
    lines += [f"no optimum: {reason}" for reason in figures["bound"]]
    if effective := figures["direct"]["most_effective"]:
        first = effective[0]
        who = ", ".join(f"{one['agent']} {1000 * one['per_kw']:.2f}" for one in effective[:5])
        lines.append(f"{first['violation']} at step {first['step']} is moved most by (1/1000 p.u. a kW): {who}")
    return "\n".join(lines)
