"""`gridpact aggregator offer`: what to offer to which market, within what the feeder carries."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpact.cli.aggregator_days import add_shares, add_voltages, days_of
from gridpact.cli.options import Commands, choice
from gridpact.cli.progress import counted
from gridpact.community.model import Array, CommunityDay
from gridpact.community.tables import rows
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of

if TYPE_CHECKING:
    from gridpact.aggregator.offer import MarketPrices, Offered


def add(actions: Commands) -> None:
    offer = actions.add_parser("offer", help="what to offer to which market, within what the feeder carries")
    offer.add_argument(
        "--case", default="winter16x3", metavar="NAME|FILE", help="a case or community file; default winter16x3"
    )
    offer.add_argument(
        "--feeder", type=Path, metavar="FILE", help="network file; the homes stand on its loads, in turn"
    )
    offer.add_argument("--days", metavar="D,D,...", help="in half-hours, of 48 h two; default the first two")
    add_shares(offer)
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
    add_voltages(offer)
    offer.add_argument("--json", action="store_true", help="print figures instead of a table")
    offer.set_defaults(command=_offer)


def _offer(arguments: argparse.Namespace) -> int:
    from gridpact.aggregator.offer import Purpose, offered  # imports CVXPY, which takes a second

    aim = Purpose(choice("objective", arguments.objective, {one.value: one.value for one in Purpose}))
    days = days_of(arguments)
    prices = _market_prices(arguments.prices, days)
    if aim is Purpose.CARBON and prices[0].carbon_kg is None:
        raise InputError(f"--objective carbon needs the column 'carbon' in {arguments.prices}: kg a MWh")
    held = np.zeros(days[0].steps) if arguments.hold_back is None else _held_back(arguments.hold_back, days[0].steps)
    offers = []
    for day, of in zip(days, prices, strict=True):
        with counted(f"offers of {day.day}", "solution") as tell:
            offers.append(offered(day, of, aim, held, tell))
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
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason_of(error)}); give a risk.json of 'risk --out'") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}: is no risk.json of 'gridpact aggregator risk --out', whose half_hours have 'held_back_kw'"
        ) from None
    if len(held) != steps or not np.isfinite(held).all() or held.min() < 0:
        raise InputError(f"{path}: half_hours must have {steps} numbers 'held_back_kw' of 0 or more")
    return held


def _offer_figures(offers: Sequence[Offered], days: Sequence[CommunityDay], objective: str) -> dict[str, Any]:
    carbon = [one.carbon_saved_kg for one in offers]
    return {
        "objective": objective,
        "days": [one.day for one in offers],
        "profit": sum(one.profit for one in offers),
        "brings": {market: sum(one.brings[market] for one in offers) for market in offers[0].brings},
        "pays": {market: sum(one.pays[market] for one in offers) for market in offers[0].pays},
        "members_saved": sum(one.members_saved for one in offers),
        "carbon_saved_kg": None if None in carbon else sum(one for one in carbon if one is not None),
        "grid_cost": sum(one.grid_cost for one in offers),
        "feeder_cost": sum(one.feeder_cost for one in offers),
        "held_back_cost": sum(one.held_back_cost for one in offers),
        "held_back_short_kw": max(_kw(one.short_kw.max()) for one in offers),
        "violations": sum(one.violations for one in offers),
        "half_hours": [
            {
                "day": one.day,
                "at": at,
                **{f"{market}_kw": _kw(volume[step]) for market, volume in one.volume_kw.items()},
            }
            for one, day in zip(offers, days, strict=True)
            for step, at in enumerate(day.start_times)
        ],
    }


def _kw(value: float) -> float:
    """To the watt: below that is what a solver leaves."""
    return round(float(value), 3) + 0.0


def _offer_table(figures: dict[str, Any], currency: str) -> str:
    lines = [
        f"{', '.join(figures['days'])}; objective {figures['objective']}",
        f"{'market':12}{'pays ' + currency:>10}{'brings':>10}",
    ]
    lines += [
        f"{market.replace('_', '-'):12}{pays:10.2f}{figures['brings'][market]:10.2f}"
        for market, pays in figures["pays"].items()
    ]
    lines.append(f"{'all':12}{figures['profit']:10.2f}")
    lines.append("brings: day-ahead alone, and how much less all would pay without each other market")
    lines.append(f"members save {figures['members_saved']:.2f} {currency} at their tariff, behind one contract")
    if figures["carbon_saved_kg"] is not None:
        lines.append(f"{figures['carbon_saved_kg']:.2f} kg of carbon dioxide are saved")
    lines.append(
        f"without the feeder all would pay {figures['feeder_cost']:.2f} {currency} more, without what is held back "
        f"{figures['held_back_cost']:.2f}, without both {figures['grid_cost']:.2f}"
    )
    if figures["held_back_short_kw"]:
        lines.append(f"of what is to be held back up to {figures['held_back_short_kw']:.2f} kW cannot be")
    if figures["violations"]:
        lines.append(f"{figures['violations']} violations are left that devices cannot mend")
    return "\n".join(lines)
