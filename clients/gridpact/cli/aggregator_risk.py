"""`gridpact aggregator risk`: what must be held back for the feeder, with which certainty."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpact.cli.aggregator_days import SHARE_SEED, share_of
from gridpact.cli.options import Commands, check_folder, choice, names, out_folder, tell_without_pictures
from gridpact.cli.progress import counted
from gridpact.community.assigned import with_share
from gridpact.community.model import CommunityDay, Feeder
from gridpact.community.networks.files import read_network
from gridpact.community.read import read_community, shipped_cases
from gridpact.community.street import PhaseFeeder
from gridpact.devices.pv import Panels
from gridpact.errors import InputError
from gridpact.files import parse_json, write_atomically
from gridpact.text import listed

if TYPE_CHECKING:
    from gridpact.aggregator.risk import Risk

MOST_DRAWS = 1000

RISK_FORM = 2
"""Of what is kept of a penetration; what is of another one is played again."""

YEARS = {"eulv55": "fontana16year", "fontana16x3": "fontana16year"}
"""Cases that show two weeks, and the case with a year of the same homes."""


def add(actions: Commands) -> None:
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
    if not days:
        kind = "weekends" if arguments.weekend else "weekdays"
        raise InputError(
            f"'{community.name}' has no {kind} of {arguments.season}, but {listed(list(community.days), most=6)}; "
            "choose with --season and --weekend"
        )
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
