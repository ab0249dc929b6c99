"""`gridpact aggregator plan`: portfolio and feeder in turn, beside the optimum."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpact.cli.aggregator_days import add_shares, add_voltages, days_of
from gridpact.cli.options import Commands, check_file
from gridpact.cli.progress import ProgressBar
from gridpact.community.joined import joined
from gridpact.community.model import Array, CommunityDay
from gridpact.community.tables import rows
from gridpact.errors import InputError
from gridpact.files import write_atomically
from gridpact.text import listed

if TYPE_CHECKING:
    from gridpact.aggregator.plan import ControlPlayed, PortfolioDay
    from gridpact.aggregator.vtn import DispatchCall


def add(actions: Commands) -> None:
    plan = actions.add_parser("plan", help="a portfolio on a three-phase feeder: load flow and adjustments in turn")
    plan.add_argument(
        "--case", default="fontana16x3", metavar="NAME|FILE", help="a case or community file; default fontana16x3"
    )
    plan.add_argument("--feeder", type=Path, metavar="FILE", help="network file; the homes stand on its loads, in turn")
    plan.add_argument("--days", metavar="D,D,...", help="in half-hours, of 48 h two; default the first two")
    plan.add_argument("--apart", action="store_true", help="each day by itself, instead of all in one problem")
    add_shares(plan)
    plan.add_argument(
        "--signal", type=Path, metavar="FILE", help="CSV with a column price, sent to the homes; default: their tariff"
    )
    plan.add_argument(
        "--adjustment-price",
        type=float,
        metavar="P",
        help="of a kWh otherwise than wished; default a tenth of importing",
    )
    plan.add_argument(
        "--offers",
        type=Path,
        metavar="FILE",
        help="CSV with columns home and price: what homes ask for a kWh otherwise than wished, in place of that",
    )
    add_voltages(plan)
    plan.add_argument(
        "--passes",
        type=int,
        metavar="N",
        help="of the optimum, which is solved again around its own power flow until it stands; 0: none; default 24",
    )
    plan.add_argument("--calls", type=Path, metavar="FILE", help="where to write what 'vtn' sends to the homes")
    plan.add_argument("--json", action="store_true", help="print figures instead of a table")
    plan.set_defaults(command=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    price = arguments.adjustment_price
    if price is not None and not 0 <= price < math.inf:
        raise InputError(f"--adjustment-price {price:g} must be a number of 0 or more")
    if arguments.passes is not None and arguments.passes < 0:
        raise InputError(f"--passes {arguments.passes} must be 0 or more")
    if arguments.calls is not None:
        check_file(arguments.calls, "the calls")
    days = days_of(arguments)
    if not arguments.apart:
        days = [joined(days)]
    asked = price if arguments.offers is None else _asked(arguments.offers, days[0], price)
    signal = None if arguments.signal is None else _signal(arguments.signal, sum(day.steps for day in days))

    from gridpact.aggregator.plan import plan_day  # imports CVXPY, which takes a second
    from gridpact.problem.centralised import MOST_PASSES

    passes = MOST_PASSES if arguments.passes is None else arguments.passes
    plans, first = [], 0
    with ProgressBar() as progress:
        for day in days:
            plans.append(plan_day(day, None if signal is None else signal[first:], asked, passes, progress))
            first += day.steps
    if arguments.calls is not None:
        write_atomically(arguments.calls, json.dumps(_calls(plans, days, signal)) + "\n")
    print(json.dumps(_figures(plans), indent=2) if arguments.json else _table(plans, days[0].currency))
    if any(plan.is_impossible and plan.direct.after.count for plan in plans):
        return 3
    return 1 if any(plan.direct.after.count for plan in plans) else 0


def _calls(plans: Sequence[PortfolioDay], days: Sequence[CommunityDay], signal: Array | None) -> dict[str, Any]:
    """Prices, and where direct control has homes draw less than they wished."""
    from gridpact.aggregator.vtn import calls_of

    wished, planned = (
        -np.hstack([getattr(plan.direct, name).injection_kw for plan in plans]) for name in ("wished", "position")
    )
    price = np.concatenate([day.prices.import_price for day in days]) if signal is None else signal[: wished.shape[1]]
    hours = days[0].step_hours

    def less_kwh(home: int, call: DispatchCall) -> list[float]:
        less = wished[home, call.first : call.first + len(call.most_kw)] - call.most_kw
        return [hours * kw for kw in less.tolist()]

    return {
        "days": [name for plan in plans for name in plan.day.split(", ")],
        "step_minutes": 60 * hours,
        "import_price": price.tolist(),
        "calls": {
            home.name: [
                {"first": call.first, "most_kw": call.most_kw.tolist(), "less_kwh": less_kwh(k, call)}
                for call in calls_of(wished[k], planned[k])
            ]
            for k, home in enumerate(days[0].households)
        },
    }


def _asked(path: Path, day: CommunityDay, others: float | None) -> Array:
    """What each home asks for a kWh otherwise than wished, (n,)."""
    names = [home.name for home in day.households]
    asked = np.full(len(names), 0.1 * day.prices.mean_import if others is None else others)
    told = set[str]()
    for row in rows(path, ["home", "price"]):
        if (home := row.text("home")) not in names:
            raise row.error("home", f"'{home}' is no home of '{day.name}', which has {listed(names, most=6)}")
        if home in told:
            raise row.error("home", f"'{home}' offers twice; give one price")
        told.add(home)
        asked[names.index(home)] = row.number_in("price", low=0)
    return asked


def _signal(path: Path, steps: int) -> Array:
    series = np.array([row.number_in("price") for row in rows(path, ["price"], None)])
    if len(series) < steps:
        raise InputError(
            f"{path.name}: the price series has {len(series)} values, the horizon {steps} half-hours; give a price for "
            "each"
        )
    return series


def _figures(plans: Sequence[PortfolioDay]) -> dict[str, Any]:
    optima = [plan.optimum for plan in plans]
    reached = [one for one in optima if one is not None]
    direct = _control([plan.direct for plan in plans])
    whole = len(reached) == len(optima)
    return {
        **{key: direct[key] for key in ("loops", "violations_before", "violations_after", "adjusted_kwh")},
        "optimum_adjusted_kwh": _energy(one.adjusted_kwh for one in reached) if whole else None,
        "curtailed_kwh": direct["curtailed_kwh"],
        "days": [day for plan in plans for day in plan.day.split(", ")],
        "judge": _judge(),
        "direct": direct,
        "signals": _control([plan.signals for plan in plans]),
        "optimum": {
            "cost": sum(one.cost for one in reached),
            "adjusted_kwh": _energy(one.adjusted_kwh for one in reached),
            "adjusted_kvarh": _energy(one.adjusted_kvarh for one in reached),
            "curtailed_kwh": _energy(one.curtailed_kwh for one in reached),
            "peak_kw": max(one.peak_kw for one in reached),
        }
        if whole
        else None,
        "bound": [plan.bound for plan in plans if plan.bound],
    }


def _energy(parts: Iterable[float]) -> float:
    """To the watt-hour: below that is what a solver leaves."""
    return round(sum(parts), 3) + 0.0


def _control(played: Sequence[ControlPlayed]) -> dict[str, Any]:
    return {
        "loops": max(one.loops for one in played),
        "violations_before": sum(one.before.count for one in played),
        "violations_after": sum(one.after.count for one in played),
        "voltage_violations_before": sum(one.before.voltage for one in played),
        "current_violations_before": sum(one.before.current for one in played),
        "collapsed_before": sum(one.before.collapsed for one in played),
        "cost": sum(one.cost for one in played),
        "adjusted_kwh": _energy(one.adjusted_kwh for one in played),
        "adjusted_kvarh": _energy(one.adjusted_kvarh for one in played),
        "curtailed_kwh": _energy(one.curtailed_kwh for one in played),
        "peak_before_kw": max(one.peak_before_kw for one in played),
        "peak_kw": max(one.peak_kw for one in played),
        "most_effective": [
            {"violation": one.violation, "step": one.step, "agent": one.agent, "per_kw": one.per_kw}
            for each in played
            for one in each.effective
        ],
    }


def _judge() -> str:
    """What finds the violations, in words."""
    from gridpact.grid.opendss import CHECKS  # brings OpenDSS, which other commands do without

    return CHECKS


def _table(plans: Sequence[PortfolioDay], currency: str) -> str:
    figures = _figures(plans)
    lines = [
        f"{', '.join(figures['days'])}; violations found by {_judge()}",
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
            f"{'the optimum (G)':18}{'-':>6}{'0':>16}{best['cost']:9.2f}{best['adjusted_kwh']:14.2f}"
            f"{best['adjusted_kvarh']:8.1f}{best['curtailed_kwh']:15.2f}{best['peak_kw']:16.1f}"
        )
    lines += [f"no optimum: {reason}" for reason in figures["bound"]]
    if effective := figures["direct"]["most_effective"]:
        first = effective[0]
        who = ", ".join(f"{one['agent']} {1000 * one['per_kw']:.2f}" for one in effective[:5])
        lines.append(f"{first['violation']} at step {first['step']} is moved most by (1/1000 p.u. a kW): {who}")
    return "\n".join(lines)
