"""`gridpact penetration`, `sensitivity` and `uncertainty`: what if?"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.options import (
    Commands,
    add_workers,
    check_folder,
    check_ours,
    choice,
    in_use,
    names,
    out_folder,
    tell_without_pictures,
    workers_of,
)
from gridpact.cli.progress import bar, tell_taken_over
from gridpact.community.assigned import USUAL, VARIED
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import InputError
from gridpact.market.registry import scenario_named, scenarios_named
from gridpact.problem.scenario import NEGOTIATED

if TYPE_CHECKING:
    from gridpact.products.pool import PoolRules
    from gridpact.report.whatif.page import Page
    from gridpact.study.weeks.play import Tally
    from gridpact.study.whatif.forecast import ErrorModel
    from gridpact.study.whatif.rules import Rule

NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def add(commands: Commands) -> None:
    _add_penetration(commands)
    _add_sensitivity(commands)
    _add_uncertainty(commands)


def _add_penetration(commands: Commands) -> None:
    command = commands.add_parser(
        "penetration", help="what PV, cars and batteries at 0 to 100 %% of the households do to cost, peak and voltage"
    )
    _add_common(command, "penetration")
    command.add_argument(
        "--shares", default="0,25,50,75,100", metavar="P,P,...", help="percentages; default 0,25,50,75,100"
    )
    command.add_argument(
        "--devices", metavar="NAME,NAME,...",
        help=f"what is varied: {', '.join(VARIED)}, each on its own, or all, the usual ones together; default "
        f"{','.join(USUAL)}",
    )  # fmt: skip
    command.add_argument(
        "--scenarios", default="b,tg", metavar="S,S,...", help="what is compared, see `gridpact run`; default b,tg"
    )
    command.set_defaults(command=_penetration)


def _add_sensitivity(commands: Commands) -> None:
    command = commands.add_parser(
        "sensitivity", help="what prices, batteries, lines and the imbalance adder do to the saving, one at a time"
    )
    _add_common(command, "sensitivity")
    for option, default, what in (
        ("chi", "0,0.05,0.1,0.15,0.2", "trading coefficients, currency/kWh"),
        ("feed-in", "0,0.25,0.5,0.75,1", "feed-in prices as shares of the import price"),
        ("battery", "0,0.5,1,2,4", "multiples of the batteries' size"),
        ("lines", "0.25,0.5,1,1.5,2,3", "multiples of the lines' impedance"),
        ("adders", "0,0.025,0.05,0.1,0.2", "imbalance adders, currency/kWh"),
    ):
        command.add_argument(
            f"--{option}", default=default, metavar="X,X,...", help=f"{what}; '-' leaves them out; default {default}"
        )
    _add_model(command, draws=6)
    command.set_defaults(command=_sensitivity)


def _add_uncertainty(commands: Commands) -> None:
    command = commands.add_parser(
        "uncertainty", help="how much of the saving is left when load, PV and cars turn out otherwise than forecast"
    )
    _add_common(command, "uncertainty")
    command.add_argument("--scenario", default="tg", metavar="t|g|tg", help="the plan that is delivered; default tg")
    command.add_argument(
        "--adder", default=0.05, type=float, metavar="X", help="price of a kWh of deviation from the plan; default 0.05"
    )
    command.add_argument(
        "--recourse", default="none,rolling,hindsight", metavar="none,rolling,hindsight",
        help="what households can do: devices as planned, the rest of the day planned anew at every step, or planned "
        "anew knowing all of it; default all three",
    )  # fmt: skip
    command.add_argument(
        "--pool-key", default="proportional", metavar="KEY",
        help="by what those who lack get of what others have over after delivery: proportional, equal, or fixed shares "
        "of all households with commas between them, which sum to 1; default proportional",
    )  # fmt: skip
    command.add_argument(
        "--pool-price",
        default="mid-market",
        metavar="mid-market|ratio",
        help="half way between feed-in and import, or by the ratio of supply to demand; default mid-market",
    )
    command.add_argument(
        "--adder-key", default="caused", metavar="caused|gained",
        help="who bears the community's adders, but by today's rules: who deviates as all do, or each in proportion to "
        "what it pays less than its own meter's bill; default caused",
    )  # fmt: skip
    command.add_argument(
        "--rules", default="today,netted,pool,reagreed,hindsight", metavar="R,R,...",
        help="how the day goes on and is settled, compared on the same draws: today, netted, pool, reagreed, "
        "hindsight; the last two negotiate in every draw, which takes its time; default all five",
    )  # fmt: skip
    command.add_argument(
        "--re-agreements", default="every", metavar="N|every,...",
        help="with the rule reagreed, how often the rest of the day is agreed anew, spread evenly and one in time "
        "before the price rises, or before every step; several with commas are compared on the same draws; default "
        "every",
    )  # fmt: skip
    command.add_argument(
        "--re-agree-above",
        type=float,
        default=0.0,
        metavar="KWH",
        help="only where what is expected of loads and PV output in the rest of the day is otherwise by so much than "
        "when it was agreed on last; default 0: always",
    )
    command.add_argument(
        "--stores", default="community", metavar="community|home",
        help="with the rules that have a pool, whose meter batteries, tanks and cars follow within a step; default "
        "community",
    )  # fmt: skip
    _add_model(command, draws=20)
    command.set_defaults(command=_uncertainty)


def _add_common(command: argparse.ArgumentParser, kind: str) -> None:
    command.add_argument(
        "--case", default="fontana16", metavar="NAME|FILE", help="a shipped case or a community file; default fontana16"
    )
    command.add_argument("--days", metavar="D,D,...|all", help="days of the case, or all it has; default its first")
    command.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is drawn; default 1")
    add_workers(command)
    default = f"runs/CASE_{kind}"
    command.add_argument("--out", type=out_folder, metavar="DIR", help=f"folder of the results; default {default}")
    command.add_argument("--json", action="store_true", help=f"print {kind}.json instead of the answers")


def _add_model(command: argparse.ArgumentParser, draws: int) -> None:
    model = command.add_argument_group("how the day turns out")
    model.add_argument("--draws", type=int, default=draws, metavar="N", help=f"realities of each day; default {draws}")
    for option, default, what in (
        ("load-error", 0.3, "relative standard deviation of the error of a home's load"),
        ("pv-error", 0.25, "the same of its PV output"),
        ("correlation", 0.8, "of an hour's error with the next one's"),
        ("car-hours", 1.0, "standard deviation of when cars leave and come home, hours"),
        ("car-trips", 0.5, "short trips a day besides"),
    ):
        model.add_argument(f"--{option}", type=float, default=default, metavar="X", help=f"{what}; default {default:g}")
    model.add_argument("--cars-as-expected", action="store_true", help="cars are at home when they are expected")
    model.add_argument(
        "--public-price", type=float, metavar="X",
        help="of a kWh that a car takes elsewhere; default twice the day's mean import price",
    )  # fmt: skip


def _penetration(arguments: argparse.Namespace) -> int:
    shares = tuple(value / 100 for value in _numbers("--shares", arguments.shares, 0, 100))
    workers, days, folder = workers_of(arguments), _days(arguments), folder_of(arguments, "penetration")

    from gridpact.report.whatif.penetration import penetration_page  # imports CVXPY and matplotlib, which take a second
    from gridpact.study.whatif.penetration import MIXES, PenetrationSettings, penetrate

    given = USUAL if arguments.devices is None else names("--devices", arguments.devices)
    known = {name: name for name in MIXES}
    mixes = tuple(dict.fromkeys(choice("device", name, known) for name in given))
    scenarios = scenarios_named(names("--scenarios", arguments.scenarios))
    settings = PenetrationSettings(mixes, shares, scenarios, arguments.seed)

    def solve(tally: Tally) -> Page:
        return penetration_page(penetrate(days, settings, folder, workers, tally))

    return solved_page(arguments, solve, folder)


def _sensitivity(arguments: argparse.Namespace) -> int:
    workers, days, folder = workers_of(arguments), _days(arguments), folder_of(arguments, "sensitivity")
    limits = {"chi": math.inf, "feed_in": 1.0, "battery": math.inf, "lines": math.inf, "adders": math.inf}
    given: dict[str, tuple[float, ...]] = {}
    for name, most in limits.items():
        text = getattr(arguments, name)
        option = f"--{name.replace('_', '-')}"
        given[name] = () if text == "-" else _numbers(option, text, 1e-3 if name == "lines" else 0, most)
    if not any(given.values()):
        raise InputError("there is nothing left to vary; give values to at least one number")

    from gridpact.report.whatif.sensitivity import sensitivity_page
    from gridpact.study.whatif.realised import UncertaintySettings
    from gridpact.study.whatif.sensitivity import RECOURSES, Parameter, SensitivitySettings, vary

    delivery = UncertaintySettings(
        model=_model(arguments),
        public_price=_public_price(arguments),
        recourses=RECOURSES,
        draws=arguments.draws,
        seed=arguments.seed,
    )
    values = {p: given[p.value.replace("-", "_")] for p in Parameter if given[p.value.replace("-", "_")]}
    settings = SensitivitySettings(values, given["adders"], delivery)

    def solve(tally: Tally) -> Page:
        return sensitivity_page(vary(days, settings, folder, workers, tally))

    return solved_page(arguments, solve, folder)


def _uncertainty(arguments: argparse.Namespace) -> int:
    workers, days, folder = workers_of(arguments), _days(arguments), folder_of(arguments, "uncertainty")
    scenario = scenario_named(arguments.scenario, NEGOTIATED.values(), " that can be delivered")
    if not (math.isfinite(arguments.adder) and arguments.adder >= 0):
        raise InputError(f"--adder needs a price of at least 0, not {arguments.adder:g}")
    model, public_price = _model(arguments), _public_price(arguments)

    from gridpact.products.imbalance import AdderKey
    from gridpact.report.whatif.uncertainty import uncertainty_page
    from gridpact.study.whatif.delivery import Recourse
    from gridpact.study.whatif.realised import UncertaintySettings
    from gridpact.study.whatif.uncertainty import live_through, plan_days

    ways = {r.value: r for r in Recourse}
    recourses = tuple(dict.fromkeys(choice("recourse", name, ways) for name in names("--recourse", arguments.recourse)))
    settings = UncertaintySettings(
        scenario, model, arguments.adder, public_price, recourses, arguments.draws, arguments.seed,
        pool_rules(arguments, len(days[0].households)), _rules(arguments), _re_agreements(arguments),
        _threshold(arguments), choice("stores", arguments.stores, {"community": True, "home": False}),
        choice("adder key", arguments.adder_key, {key.value: key for key in AdderKey}),
    )  # fmt: skip

    def solve(tally: Tally) -> Page:
        tally.of = 2 * len(days) + settings.draws * len(days)
        plans = plan_days(days, scenario, folder, workers, tally)
        return uncertainty_page(live_through(plans, settings, folder, workers, tally))

    return solved_page(arguments, solve, folder)


def _rules(arguments: argparse.Namespace) -> tuple[Rule, ...]:
    from gridpact.study.whatif.rules import Rule

    known = {rule.value: rule for rule in Rule}
    given = {choice("rule", name, known) for name in names("--rules", arguments.rules)}
    return tuple(rule for rule in Rule if rule in given)


def _re_agreements(arguments: argparse.Namespace) -> tuple[int | None, ...]:
    """None: before every step."""
    given = tuple(dict.fromkeys(names("--re-agreements", arguments.re_agreements)))
    for one in given:
        if one != "every" and not (one.isdecimal() and int(one) > 0):
            raise InputError(f"--re-agreements needs a number of at least 1, or every, not '{one}'")
    return tuple(None if one == "every" else int(one) for one in given)


def _threshold(arguments: argparse.Namespace) -> float:
    kwh: float = arguments.re_agree_above
    if not (math.isfinite(kwh) and kwh >= 0):
        raise InputError(f"--re-agree-above needs an energy of at least 0 kWh, not {kwh:g}")
    return kwh


def pool_rules(arguments: argparse.Namespace, members: int) -> PoolRules:
    from gridpact.products.pool import Key, PoolRules, Pricing

    pricing = choice("pool price", arguments.pool_price, {one.value: one for one in Pricing})
    try:
        shares = tuple(float(part) for part in arguments.pool_key.split(","))
    except ValueError:
        keys = {one.value: one for one in Key if one is not Key.FIXED}
        if arguments.pool_key not in keys:
            raise InputError(
                f"--pool-key '{arguments.pool_key}' is none of {', '.join(keys)}, nor a share of each household"
            ) from None
        return PoolRules(keys[arguments.pool_key], pricing)
    rules = PoolRules(Key.FIXED, pricing, shares)
    rules.weights([0] * members)  # as many shares as members
    return rules


def solved_page(
    arguments: argparse.Namespace, solve: Callable[[Tally], Page], folder: Path, unit: str = "point"
) -> int:
    """Solves with a bar, writes the folder, and says what came out; 1 where a check did not hold."""
    from gridpact.report.whatif.page import write_page

    with in_use(folder):
        with bar(f"{unit.capitalize()}s", unit) as tally:
            page = solve(tally)
        tell_taken_over(tally, unit, folder)
        report = write_page(page, folder)
        tell_without_pictures()
    status = 0 if page.checks_held else 1
    if arguments.json:
        print((folder / f"{page.kind}.json").read_text(encoding="utf-8"), end="")
        return status
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    for sentence in (f"{page.headline}.", *page.answers, f"Report: {report}"):
        print(sentence.encode(encoding, "replace").decode(encoding))
    return status


def _days(arguments: argparse.Namespace) -> list[CommunityDay]:
    if arguments.seed < 0:
        raise InputError(f"--seed needs a number of at least 0, not {arguments.seed}")
    community = read_community(arguments.case)
    if arguments.days == "all":
        named = list(community.days)
    else:
        named = [community.days[0]] if arguments.days is None else names("--days", arguments.days)
    days = [community.on(day) for day in dict.fromkeys(named)]
    if len(days) > 1:
        days[0].require_daily_peaks("a what-if")
    return days


def folder_of(arguments: argparse.Namespace, kind: str) -> Path:
    case = NOT_IN_NAMES.sub("-", Path(arguments.case).resolve().name if "/" in arguments.case else arguments.case)
    folder: Path = arguments.out or Path("runs") / f"{case}_{kind}"
    check_folder(folder)
    check_ours(folder, kind, f"{kind}.json")
    return folder


def _model(arguments: argparse.Namespace) -> ErrorModel:
    from gridpact.study.whatif.forecast import ErrorModel

    if arguments.draws < 1:
        raise InputError(f"--draws needs a positive number, not {arguments.draws}")
    for option, most in (("load_error", 2.0), ("pv_error", 2.0), ("correlation", 0.999), ("car_hours", 4.0),
                         ("car_trips", 24.0)):  # fmt: skip
        value = getattr(arguments, option)
        if not (math.isfinite(value) and 0 <= value <= most):
            raise InputError(f"--{option.replace('_', '-')} {value:g} must be between 0 and {most:g}")
    return ErrorModel(
        load=arguments.load_error,
        pv=arguments.pv_error,
        correlation=arguments.correlation,
        departure_hours=arguments.car_hours,
        trips_a_day=arguments.car_trips,
        cars=not arguments.cars_as_expected,
    )


def _public_price(arguments: argparse.Namespace) -> float | None:
    price: float | None = arguments.public_price
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise InputError(f"--public-price needs a price of at least 0, not {price:g}")
    return price


def _numbers(option: str, text: str, low: float, high: float) -> tuple[float, ...]:
    """Ascending, each once."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"{option} needs numbers with commas between them, not '{text}'") from None
    for value in values:
        if not (math.isfinite(value) and low <= value <= high):
            bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise InputError(f"{option}: {value:g} must be {bounds}")
    return tuple(values)
