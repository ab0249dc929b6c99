"""`gridpact aggregator`: who bundles homes for the markets, and what the feeder makes of it."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpact.cli import vtn
from gridpact.cli.options import Commands, check_file, check_folder, choice, names, out_folder, tell_without_pictures
from gridpact.cli.progress import counted
from gridpact.community.assigned import with_share
from gridpact.community.grown import in_half_hours
from gridpact.community.joined import joined
from gridpact.community.model import Array, CommunityDay, Feeder
from gridpact.community.networks.files import read_network
from gridpact.community.read import read_community, shipped_cases
from gridpact.community.street import PhaseFeeder
from gridpact.community.tables import rows
from gridpact.devices.battery import Battery
from gridpact.devices.building import PublicBuilding
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.pv import Panels
from gridpact.devices.refrigeration import Refrigeration
from gridpact.errors import InputError
from gridpact.files import parse_json, write_atomically

if TYPE_CHECKING:
    from gridpact.aggregator.offer import MarketPrices, Offered
    from gridpact.aggregator.plan import ControlPlayed, PortfolioDay
    from gridpact.aggregator.risk import Risk

MOST_DRAWS = 1000

RISK_FORM = 2
"""Of what is kept of a penetration; what is of another one is played again."""

SHARE_SEED = 1
"""Of the order in which homes get a device."""


def add(commands: Commands) -> None:
    command = commands.add_parser("aggregator", help="bundle homes for the markets within what their feeder allows")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_plan(actions)
    _add_risk(actions)
    _add_offer(actions)
    vtn.add(actions)


def _add_plan(actions: Commands) -> None:
    plan = actions.add_parser("plan", help="a portfolio on a three-phase feeder: load flow and adjustments in turn")
    plan.add_argument(
        "--case", default="fontana16x3", metavar="NAME|FILE", help="a case or community file; default fontana16x3"
    )
    plan.add_argument("--feeder", type=Path, metavar="FILE", help="network file; the homes stand on its loads, in turn")
    plan.add_argument("--days", metavar="D,D,...", help="in half-hours, of 48 h two; default the first two")
    plan.add_argument("--apart", action="store_true", help="each day by itself, instead of all in one problem")
    _add_shares(plan)
    plan.add_argument(
        "--signal", type=Path, metavar="FILE", help="CSV with a column price, sent to the homes; default: their tariff"
    )
    plan.add_argument(
        "--adjustment-price",
        type=float,
        metavar="P",
        help="of a kWh otherwise than wished; default a tenth of importing",
    )
    _add_voltages(plan)
    plan.add_argument("--calls", type=Path, metavar="FILE", help="where to write what 'vtn' sends to the homes")
    plan.add_argument("--json", action="store_true", help="print figures instead of a table")
    plan.set_defaults(command=_plan)


def _plan(arguments: argparse.Namespace) -> int:
    price = arguments.adjustment_price
    if price is not None and not 0 <= price < math.inf:
        raise InputError(f"--adjustment-price {price:g} must be a number of 0 or more")
    if arguments.calls is not None:
        check_file(arguments.calls, "the calls")
    days = _days(arguments)
    if not arguments.apart:
        days = [joined(days)]
    signal = None if arguments.signal is None else _signal(arguments.signal, sum(day.steps for day in days))

    from gridpact.aggregator.plan import plan_day  # imports CVXPY, which takes a second

    plans, first = [], 0
    for day in days:
        plans.append(plan_day(day, None if signal is None else signal[first:], price))
        first += day.steps
    if arguments.calls is not None:
        write_atomically(arguments.calls, json.dumps(_calls(plans, days, signal)) + "\n")
    print(json.dumps(_figures(plans), indent=2) if arguments.json else _table(plans, days[0].currency))
    if any(plan.bound and plan.direct.after.count for plan in plans):
        return 3
    return 1 if any(plan.direct.after.count for plan in plans) else 0


def _calls(plans: Sequence[PortfolioDay], days: Sequence[CommunityDay], signal: Array | None) -> dict[str, Any]:
    """Prices, and where direct control has homes draw less than they wished."""
    from gridpact.aggregator.vtn import calls_of

    wished, planned = (
        -np.hstack([getattr(plan.direct, name).injection_kw for plan in plans]) for name in ("wished", "position")
    )
    price = np.concatenate([day.prices.import_price for day in days]) if signal is None else signal[: wished.shape[1]]
    return {
        "step_minutes": 60 * days[0].step_hours,
        "import_price": price.tolist(),
        "calls": {
            home.name: [{"first": call.first, "most_kw": call.most_kw.tolist()} for call in calls_of(*powers)]
            for home, powers in zip(days[0].households, zip(wished, planned, strict=True), strict=True)
        },
    }


def _days(arguments: argparse.Namespace) -> list[CommunityDay]:
    community = read_community(arguments.case)
    named = community.days[:2] if arguments.days is None else names("--days", arguments.days)
    days = [in_half_hours(_with_shares(community.on(day), arguments)) for day in named]
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


YEARS = {"eulv55": "fontana16year", "fontana16x3": "fontana16year"}
"""Cases that show two weeks, and the case with a year of the same homes."""

SHARES: dict[str, type[Device]] = {
    "pv": Panels, "cars": ElectricCar, "batteries": Battery, "heat-pumps": HeatPump, "refrigeration": Refrigeration,
    "public-buildings": PublicBuilding,
}  # fmt: skip
"""Devices that shares of the homes can be given, by their options."""


def _add_voltages(command: argparse.ArgumentParser) -> None:
    command.add_argument("--voltage-min", type=float, metavar="PU", help="with --feeder; default the community's")
    command.add_argument("--voltage-max", type=float, metavar="PU", help="the same")


def _add_shares(command: argparse.ArgumentParser) -> None:
    for option, device in SHARES.items():
        command.add_argument(
            f"--{option}", type=float, metavar="PERCENT", help=f"of homes with {device.plural}; default as in the case"
        )


def _with_shares(day: CommunityDay, arguments: argparse.Namespace) -> CommunityDay:
    for option, device in SHARES.items():
        if (percent := getattr(arguments, option.replace("-", "_"))) is not None:
            day = with_share(day, device, share_of(f"--{option}", percent), SHARE_SEED)
    return day


def share_of(option: str, percent: float) -> float:
    """
    Raises:
        InputError: it is no percentage.
    """
    if not 0 <= percent <= 100:
        raise InputError(f"{option} {percent:g} must be 0 to 100 percent of the homes")
    return percent / 100


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


def _add_risk(actions: Commands) -> None:
    risk = actions.add_parser("risk", help="what must be held back for the feeder by half-hour, with which certainty")
    risk.add_argument(
        "--case",
        default="fontana16year",
        metavar="NAME|FILE",
        help="days to fit to; default fontana16year, which eulv55 and fontana16x3 stand for with their feeders",
    )
    risk.add_argument(
        "--feeder",
        metavar="NAME|FILE",
        help="a case with the same homes or more, or a network file for them; default "
        "fontana16x3 for fontana16year, else the case's own",
    )
    risk.add_argument("--season", default="winter", metavar="S", help="winter (default), spring, summer or autumn")
    risk.add_argument("--weekend", action="store_true", help="weekends instead of weekdays")
    risk.add_argument("--certainty", type=float, default=0.95, metavar="C", help="above 0, below 1; default 0.95")
    risk.add_argument("--draws", type=int, default=90, metavar="N", help="days that are drawn; default 90")
    risk.add_argument("--cars", type=float, metavar="PERCENT", help="of homes with one; default 100")
    risk.add_argument("--pv", type=float, metavar="PERCENT", help="of homes with panels; default as in the case")
    risk.add_argument("--heat-pumps", type=float, metavar="PERCENT", help="of homes with one; default 0")
    risk.add_argument(
        "--agents", type=float, default=100.0, metavar="PERCENT", help="of homes that may be adjusted; default 100"
    )
    risk.add_argument(
        "--penetrations",
        metavar="P,P,...",
        help="percent, each played in turn: of homes with panels, cars and heat pumps, but for those given. With --out "
        "what is finished is kept and not played again",
    )
    risk.add_argument("--car-kw", type=float, default=7.4, metavar="KW", help="what a car charges with; default 7.4")
    risk.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn; default 0")
    risk.add_argument("--out", type=out_folder, metavar="DIR", help="folder for pictures; default none")
    risk.add_argument("--json", action="store_true", help="print figures instead of a table")
    risk.set_defaults(command=_risk)


def _risk(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.draws <= MOST_DRAWS:
        raise InputError(f"--draws {arguments.draws} must be 1 to {MOST_DRAWS}")
    if not 0 < arguments.car_kw <= 350:
        raise InputError(f"--car-kw {arguments.car_kw:g} must be above 0 and at most 350 kW")
    if arguments.seed < 0:
        raise InputError(f"--seed {arguments.seed} must be 0 or more")
    for option in ("pv", "cars", "heat-pumps", "agents"):
        if (percent := getattr(arguments, option.replace("-", "_"))) is not None:
            share_of(f"--{option}", percent)
    penetrations = _penetrations(arguments)
    if arguments.out is not None:
        check_folder(arguments.out)

    from gridpact.aggregator.risk import MONTHS, check_certainty  # imports CVXPY, which takes a second

    check_certainty(arguments.certainty)
    months = choice("season", arguments.season, MONTHS)
    case, named, feeder = arguments.case, arguments.feeder, None
    if (shown := YEARS.get(case)) is not None:
        case, named = shown, named or case
    named = named or {"fontana16year": "fontana16x3"}.get(case)
    community = read_community(case)
    days = [community.on(day) for day in community.days if _is_of(day, months, arguments.weekend, community.name)]
    if named in shipped_cases():
        feeder = read_community(named).feeder
    elif named is not None:
        from gridpact.aggregator.portfolio import on_network

        network, limits = read_network(Path(named)), community.feeder
        days = [on_network(day, network, limits.voltage_min_pu, limits.voltage_max_pu) for day in days]
    where = f"{case} {named or ''}"
    played = [_at(percent, days, where, feeder, months, arguments) for percent in penetrations]
    figures = played[-1]
    if arguments.penetrations is not None:
        figures = {**figures, "penetrations": played}
    print(json.dumps(figures, indent=2) if arguments.json else "\n\n".join(map(_risk_table, played)))
    return 0


def _penetrations(arguments: argparse.Namespace) -> list[float | None]:
    if arguments.penetrations is None:
        return [None]
    result: list[float | None] = []
    for name in names("--penetrations", arguments.penetrations):
        try:
            percent = float(name)
        except ValueError:
            raise InputError(f"--penetrations: '{name}' is no number of percent") from None
        share_of("--penetrations", percent)
        result.append(percent)
    return result


def _at(
    percent: float | None,
    days: Sequence[CommunityDay],
    where: str,
    feeder: Feeder | PhaseFeeder | None,
    months: Sequence[int],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Figures at one penetration, from the folder if they are there."""
    from gridpact.aggregator.risk import Assumed, assess

    def share(option: str, default: float | None) -> float | None:
        given = getattr(arguments, option.replace("-", "_"))
        given = percent if given is None else given
        return default if given is None else share_of(f"--{option}", given)

    panels = share("pv", None)
    assumed = Assumed(
        certainty=arguments.certainty,
        draws=arguments.draws,
        seed=arguments.seed,
        cars=share("cars", 1.0) or 0.0,
        heat_pumps=share("heat-pumps", 0.0) or 0.0,
        agents=share("agents", 1.0) or 0.0,
        car_kw=arguments.car_kw,
        weekend=arguments.weekend,
        months=tuple(months),
    )
    of = {"form": RISK_FORM, "case": where, "pv": panels, **asdict(assumed), "months": list(months)}
    out: Path | None = arguments.out
    if out is not None and percent is not None:
        out = out / f"penetration-{percent:g}"
    kept = None if out is None else out / "risk.json"
    if kept is not None and kept.is_file():
        try:
            before: dict[str, Any] = parse_json(kept.read_bytes())
        except ValueError:
            before = {}
        if before.get("assumed") == of:
            return before
    if panels is not None:
        days = [with_share(day, Panels, panels, SHARE_SEED) for day in days]
    what = "half-hours" if percent is None else f"half-hours at {percent:g} %"
    with counted(what, "half-hour") as tell:
        risk = assess(days, assumed, feeder, tell)
    figures = {**({} if percent is None else {"penetration": percent}), **_risk_figures(risk), "assumed": of}
    if out is not None and kept is not None:
        from gridpact.report.aggregator import pictures
        from gridpact.report.drawing import svg

        tell_without_pictures()
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in pictures(risk).items():
            (out / f"{name}.svg").write_text(svg(figure), encoding="utf-8")
        write_atomically(kept, json.dumps(figures, indent=2) + "\n")
    return figures


def _is_of(day: str, months: Sequence[int], weekend: bool, name: str) -> bool:
    """Whether a day is of a season, and where its year is known, a weekday or not."""
    try:
        whole = date.fromisoformat(day if len(day) > 5 else f"2000-{day}")
    except ValueError:
        raise InputError(f"'{name}' has a day '{day}', which is no date, so its season is not known") from None
    return whole.month in months and (len(day) <= 5 or (whole.weekday() >= 5) == weekend)


def _risk_figures(risk: Risk) -> dict[str, Any]:
    low, high = np.quantile(risk.drawn.size_kw, [0.05, 0.95], axis=0)
    least, most = np.quantile(risk.drawn.flexible_kw, [0.05, 0.95], axis=0)
    held, careful = (risk.drawn.enough(certainty) for certainty in (risk.certainty, 0.99))
    missing = risk.drawn.non_delivery(risk.certainty)
    claimed, observed = risk.shares(risk.certainty)
    carefully_claimed, carefully_observed = risk.shares(0.99)
    return {
        "half_hours": [
            {
                "at": f"{step // 2:02d}:{30 * (step % 2):02d}",
                "p05_kw": float(low[step]),
                "p95_kw": float(high[step]),
                "probability": float((risk.drawn.size_kw[:, step] > 0).mean()),
                "down_p95_kw": float(np.quantile(risk.drawn.down_kw[:, step], 0.95)),
                "up_p95_kw": float(np.quantile(risk.drawn.up_kw[:, step], 0.95)),
                "held_back_kw": float(held[step]),
                "held_back_p99_kw": float(careful[step]),
                "flexible_p05_kw": float(least[step]),
                "flexible_p95_kw": float(most[step]),
                "non_delivery": float(missing[step]),
                "not_enough": float(risk.drawn.short[:, step].mean()),
            }
            for step in range(len(low))
        ],
        "held_back_claimed": claimed,
        "held_back_observed": observed,
        "held_back_p99_claimed": carefully_claimed,
        "held_back_p99_observed": carefully_observed,
        "certainty": risk.certainty,
        "drawn_days": len(risk.drawn.down_kw),
        "trained_on_days": risk.trained_on,
        "tested_on_days": risk.tested_on,
    }


def _risk_table(figures: dict[str, Any]) -> str:
    at = f", {figures['penetration']:g} % of homes with PV, car and heat pump" if "penetration" in figures else ""
    lines = [
        f"Adjustments of all agents by half-hour, {figures['drawn_days']} days drawn from "
        f"{figures['trained_on_days']}{at}",
        f"{'at':6}{'probability':>12}{'P5 kW':>8}{'P95 kW':>8}{'hold back kW':>14}{'at P99':>8}"
        f"{'flexible P5-P95 kW':>20}{'not there':>11}",
    ]
    for one in figures["half_hours"]:
        flexible = f"{one['flexible_p05_kw']:.1f} - {one['flexible_p95_kw']:.1f}"
        lines.append(
            f"{one['at']:6}{one['probability']:12.2f}{one['p05_kw']:8.1f}{one['p95_kw']:8.1f}{one['held_back_kw']:14.1f}"
            f"{one['held_back_p99_kw']:8.1f}{flexible:>20}{one['non_delivery']:11.2f}"
        )
    for certainty, key in ((figures["certainty"], "held_back"), (0.99, "held_back_p99")):
        lines.append(
            f"held back at {100 * certainty:g} %: enough in {100 * figures[f'{key}_claimed']:.1f} % of half-hours "
            f"drawn, and in {100 * figures[f'{key}_observed']:.1f} % of those of {figures['tested_on_days']} days not "
            "used"
        )
    return "\n".join(lines)


def _add_offer(actions: Commands) -> None:
    offer = actions.add_parser("offer", help="what to offer to which market, within what the feeder carries")
    offer.add_argument(
        "--case", default="winter16x3", metavar="NAME|FILE", help="a case or community file; default winter16x3"
    )
    offer.add_argument(
        "--feeder", type=Path, metavar="FILE", help="network file; the homes stand on its loads, in turn"
    )
    offer.add_argument("--days", metavar="D,D,...", help="in half-hours, of 48 h two; default the first two")
    _add_shares(offer)
    offer.add_argument(
        "--prices",
        default="december",
        metavar="NAME|FILE",
        help="december (default) or june, of 2018, or a CSV with the columns time and day_ahead, and any of intraday, "
        "balancing, reserve and carbon: currency or kg a MWh, of the reserve a MW and hour",
    )
    offer.add_argument(
        "--objective", default="profit", metavar="O", help="profit (default), carbon that is saved, or members' benefit"
    )
    offer.add_argument("--hold-back", type=Path, metavar="FILE", help="risk.json of 'risk --out'; default nothing")
    _add_voltages(offer)
    offer.add_argument("--json", action="store_true", help="print figures instead of a table")
    offer.set_defaults(command=_offer)


def _offer(arguments: argparse.Namespace) -> int:
    from gridpact.aggregator.offer import Purpose, offered  # imports CVXPY, which takes a second

    aim = Purpose(choice("objective", arguments.objective, {one.value: one.value for one in Purpose}))
    days = _days(arguments)
    prices = _market_prices(arguments.prices, days)
    if aim is Purpose.CARBON and prices[0].carbon_kg is None:
        raise InputError(f"--objective carbon needs the column 'carbon' in {arguments.prices}: kg a MWh")
    held = np.zeros(days[0].steps) if arguments.hold_back is None else _held_back(arguments.hold_back, days[0].steps)
    offers = [offered(day, of, aim, held) for day, of in zip(days, prices, strict=True)]
    figures = _offer_figures(offers, days, aim.value)
    print(json.dumps(figures, indent=2) if arguments.json else _offer_table(figures, days[0].currency))
    return 1 if figures["violations"] else 0


def _market_prices(name: str, days: Sequence[CommunityDay]) -> list[MarketPrices]:
    """Of each day, from the beginning of the file on."""
    from gridpact.aggregator.offer import MarketPrices

    shipped = Path(str(resources.files("gridpact.aggregator"))) / "prices" / f"{name}.csv"
    path = shipped if name in ("december", "june") else Path(name)
    others = ("intraday", "balancing", "reserve", "carbon")
    read = list(rows(path, ["time", "day_ahead"], others))
    columns = [one for one in ("day_ahead", *others) if read and one in read[0].cells]
    try:
        first, second = (datetime.fromisoformat(row.text("time")) for row in read[:2])
        minutes = (second - first).total_seconds() / 60
    except (ValueError, TypeError):
        raise InputError(f"{path.name}: two times like 2018-12-21 00:00 must tell how long a step is") from None
    steps, whole = days[0].steps, 60 * days[0].step_hours
    parts = round(minutes / whole)
    if parts < 1 or parts * whole != minutes:
        raise InputError(f"{path.name}: steps of {minutes:g} minutes are no multiple of the {whole:g} that are planned")
    horizon = steps * len(days)
    if len(read) * parts < horizon:
        raise InputError(
            f"{path.name}: the price series has {len(read)} values of {minutes:g} minutes, the horizon is {horizon} "
            f"steps of {whole:g} minutes; give a price for each"
        )
    series = {
        column: np.repeat(np.array([row.number_in(column) for row in read]), parts)[:horizon] / 1000
        for column in columns
    }
    if "carbon" in series:
        series["carbon_kg"] = series.pop("carbon")
    return [MarketPrices(**{name: of[k : k + steps] for name, of in series.items()}) for k in range(0, horizon, steps)]


def _held_back(path: Path, steps: int) -> Array:
    """By step, kW, from the figures of `risk`."""
    try:
        half_hours = parse_json(path.read_bytes())["half_hours"]
        held = np.array([float(one["held_back_kw"]) for one in half_hours])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no risk.json of 'gridpact aggregator risk --out': {error}") from None
    if not len(held) or steps % len(held) or not np.isfinite(held).all() or held.min() < 0:
        raise InputError(f"{path}: half_hours must have 48 numbers 'held_back_kw' of 0 or more")
    return np.repeat(held, steps // len(held))


def _offer_figures(offers: Sequence[Offered], days: Sequence[CommunityDay], objective: str) -> dict[str, Any]:
    carbon = [one.carbon_saved_kg for one in offers]
    return {
        "objective": objective,
        "days": [one.day for one in offers],
        "profit": sum(one.profit for one in offers),
        "brings": {market: sum(one.brings[market] for one in offers) for market in offers[0].brings},
        "members_saved": sum(one.members_saved for one in offers),
        "carbon_saved_kg": None if None in carbon else sum(one for one in carbon if one is not None),
        "grid_cost": sum(one.grid_cost for one in offers),
        "violations": sum(one.violations for one in offers),
        "half_hours": [
            {
                "day": one.day,
                "at": at,
                **{f"{market}_kw": round(float(volume[step]), 3) + 0.0 for market, volume in one.volume_kw.items()},
            }
            for one, day in zip(offers, days, strict=True)
            for step, at in enumerate(day.start_times)
        ],
    }


def _offer_table(figures: dict[str, Any], currency: str) -> str:
    lines = [f"{', '.join(figures['days'])}; objective {figures['objective']}", f"{'market':12}{currency:>9}"]
    lines += [f"{market.replace('_', '-'):12}{brings:9.2f}" for market, brings in figures["brings"].items()]
    lines.append(f"{'all':12}{figures['profit']:9.2f}")
    lines.append(f"members save {figures['members_saved']:.2f} {currency} at their tariff, behind one contract")
    if figures["carbon_saved_kg"] is not None:
        lines.append(f"{figures['carbon_saved_kg']:.2f} kg of carbon dioxide are saved")
    lines.append(f"the feeder and what is held back for it cost {figures['grid_cost']:.2f} {currency}")
    if figures["violations"]:
        lines.append(f"{figures['violations']} violations are left that devices cannot mend")
    return "\n".join(lines)
