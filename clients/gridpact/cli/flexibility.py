"""`gridpact flexibility`: what members offer an aggregator on the chain, and what it calls for."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from gridpact.cli.manager import account_of, add_record, add_sender, place_of, positive, send
from gridpact.cli.options import Commands, names
from gridpact.cli.positions import label_of
from gridpact.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gridpact.chain.account import ContractCall
    from gridpact.chain.flexibility import CallOutcome, Flexibility, FlexibilityCall, MemberOffer, OfferTerms

MOST_WORD = 2**32 - 1
"""Of W, Wh, s and 1e-6 currency/kWh in the contract's words."""


@dataclass(frozen=True)
class Limit:
    """Of a term: how it is given, and which way a household's file limits it."""

    help: str
    scale: float  # to what the contract has
    at_most: bool  # else at least
    default: float | None


TERMS: Mapping[str, Limit] = {
    "up_kw": Limit("most power more fed in or less drawn", 1e3, True, 0.0),
    "down_kw": Limit("most power more drawn", 1e3, True, 0.0),
    "energy_kwh": Limit("most energy in a day, up and down together", 1e3, True, None),
    "price": Limit("of a kWh delivered", 1e6, False, None),
    "fee": Limit("for each step in which all was as called", 1.0, False, 0.0),
    "fine": Limit("of a kWh otherwise than called, beyond the tolerance; default 0", 1e6, True, 0.0),
    "bond": Limit("what fines can take, locked; default 0", 1.0, True, 0.0),
    "tolerance_kwh": Limit("in a step; default 0", 1e3, False, 0.0),
    "notice_s": Limit("seconds that a call comes before the gate of its first step; default 0", 1.0, False, 0.0),
}
"""By the names that [flexibility] of household.toml has them by."""


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "flexibility", help="what members of a day offer an aggregator on the chain, its calls, and what they come to"
    )
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_opt_in(actions)
    revoke = actions.add_parser("revoke", help="end an offer; needs the member's key, after its span anybody's")
    revoke.add_argument("offer", type=int, metavar="N", help="its number")
    revoke.set_defaults(command=_revoke)
    call = actions.add_parser("call", help="call a member for steps of a day; needs the aggregator's key")
    call.add_argument("--offer", type=int, required=True, metavar="N", help="its number")
    call.add_argument("--day", type=label_of, required=True, metavar="YYYY-MM-DD", help="the day, or its number")
    call.add_argument("--step", type=int, required=True, metavar="K", help="the first step, counted from 0")
    call.add_argument(
        "--kwh",
        required=True,
        metavar="E,E,...",
        help="of each step from there on: fed in more or drawn less (up), or negative, as in --kwh=-0.5, drawn more; "
        "0: as nominated",
    )
    call.set_defaults(command=_call)
    deliver = actions.add_parser("deliver", help="how much of a call was delivered, as far as meters are read")
    deliver.add_argument("call", type=int, metavar="N", help="its number")
    deliver.add_argument("--json", action="store_true", help="print figures instead of a table")
    deliver.set_defaults(command=_deliver)
    settle = actions.add_parser("settle", help="pay calls whose steps are settled; anybody may")
    settle.add_argument("call", type=int, nargs="?", metavar="N", help="one call; default all that can be")
    settle.set_defaults(command=_settle)
    status = actions.add_parser("status", help="all offers and calls")
    status.add_argument("--day", type=label_of, metavar="YYYY-MM-DD", help="calls of this day only")
    status.add_argument("--json", action="store_true", help="print figures instead of a table")
    status.set_defaults(command=_status)
    for name, of, words in (
        ("deposit", _deposit, "put tokens into the contract, for calls or bonds"),
        ("withdraw", _withdraw, "move what is free of them back to the account"),
    ):
        money = actions.add_parser(name, help=words)
        money.add_argument("amount", type=positive, metavar="N", help="how many")
        money.set_defaults(command=of)
        add_sender(money)
        add_record(money)
    for action in (revoke, call, settle):
        add_sender(action)
    for action in (revoke, call, settle, deliver, status):
        add_record(action)


def _add_opt_in(actions: Commands) -> None:
    opt_in = actions.add_parser("opt-in", help="offer a device to an aggregator; needs the member's key")
    opt_in.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="household.toml, whose table [flexibility] has what is not given here, and limits what is",
    )
    opt_in.add_argument("--aggregator", metavar="0x...", help="who may call")
    opt_in.add_argument("--device", metavar="NAME", help="what is offered; in one offer at a time")
    for name in ("from", "until"):
        opt_in.add_argument(
            f"--{name}",
            required=True,
            dest="until" if name == "until" else "begins",
            metavar="TIME",
            help="as 2026-12-22T17:00+01:00; without an offset in the household's time zone, or UTC",
        )
    for name, of in TERMS.items():
        opt_in.add_argument(_option_of(name), dest=name, type=float, metavar=_unit_of(name), help=of.help)
    add_sender(opt_in)
    add_record(opt_in)
    opt_in.set_defaults(command=_opt_in)


# ---------------------------------------------------------------------- sending


@contextmanager
def _sending(arguments: argparse.Namespace) -> Iterator[tuple[Flexibility, Callable[[str, ContractCall, str], None]]]:
    """The contract, with an account; and what shows the price of a call of it, and asks."""
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.flexibility import Flexibility

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place)
        flexibility = Flexibility.of(place.record, place.web3, account)

        def ask(what: str, planned: ContractCall, question: str) -> None:
            send(account, [planned_call(account, what, planned)], arguments, place.profile, what, question)

        yield flexibility, ask


def _opt_in(arguments: argparse.Namespace) -> int:
    aggregator, device, zone, terms = _terms(arguments)
    begins, until = (
        _time(f"--{name}", text, zone) for name, text in (("from", arguments.begins), ("until", arguments.until))
    )
    with _sending(arguments) as (flexibility, ask):
        unit = _unit(flexibility)
        offered = _offer_terms(aggregator, device, begins, until, terms, unit)
        _require_free(flexibility, offered.bond, "the bond")
        ask("opt in", flexibility.call("optIn", offered.encoded()), f"Offer {device} to {aggregator}?")
        number = flexibility.opt_in(offered)
        print(f"gridpact: offer {number} stands: {_offered(offered, flexibility.token.symbol(), unit)}")
    return 0


def _terms(arguments: argparse.Namespace) -> tuple[str, str, ZoneInfo, dict[str, float]]:
    """Aggregator, device, time zone, and the other terms.

    Raises:
        InputError: something is missing, or beyond what the household's file allows.
    """
    from gridpact.service.settings import read_settings

    own, zone = None, ZoneInfo("UTC")
    if arguments.config is not None:
        settings = read_settings(arguments.config)
        own, zone = settings.flexibility, settings.service.timezone
        if own is None:
            raise InputError(f"{arguments.config.name} has no table [flexibility]; add it, or leave --config out")
    where = None if own is None else f"[flexibility] of {arguments.config.name}"
    texts = [
        _text(name, getattr(arguments, name), None if own is None else getattr(own, name), where)
        for name in ("aggregator", "device")
    ]
    values = {
        name: _number(name, of, getattr(arguments, name), None if own is None else getattr(own, name), where)
        for name, of in TERMS.items()
    }
    return texts[0], texts[1], zone, values


def _text(name: str, given: str | None, own: str | None, where: str | None) -> str:
    """A term in words: as it is given, or as the household's file has it.

    Raises:
        InputError: it is missing, or not that of the file.
    """
    if given is not None and own is not None and given.lower() != own.lower():
        raise InputError(f"--{name} {given} is not that of {where}, {own}; leave one of the two out")
    if given is None and own is None:
        raise InputError(f"--{name} is missing; give it, or by --config a household.toml with a table [flexibility]")
    return given or own or ""


def _option_of(name: str) -> str:
    """How a term is given."""
    return f"--{name.removesuffix('_kwh').removesuffix('_kw').removesuffix('_s')}"


def _unit_of(name: str) -> str:
    """What a term is in."""
    units = {"_kwh": "KWH", "_kw": "KW", "_s": "SECONDS"}
    return next((unit for end, unit in units.items() if name.endswith(end)), "N")


def _number(name: str, of: Limit, given: float | None, own: float | None, where: str | None) -> float:
    """A term in numbers, the same way.

    Raises:
        InputError: it is missing, no number, or beyond what the file allows.
    """
    option = _option_of(name)
    value = next((one for one in (given, own, of.default) if one is not None), None)
    if value is None:
        raise InputError(f"{option} is missing; give it, or by --config a household.toml with a table [flexibility]")
    if not 0 <= value < math.inf:
        raise InputError(f"{option} {value:g} must be a number of 0 or more")
    if own is not None and (value > own if of.at_most else value < own):
        side = "above" if of.at_most else "below"
        raise InputError(f"{option} {value:g} is {side} {name} in {where}, {own:g}; change one of the two")
    return value


def _offer_terms(
    aggregator: str, device: str, begins: int, until: int, terms: Mapping[str, float], unit: float
) -> OfferTerms:
    """
    Raises:
        InputError: a term is too large for the contract, or nothing is offered.
    """
    from gridpact.chain.flexibility import OfferTerms

    words = {
        name: round(value * (unit if name in ("fee", "bond") else TERMS[name].scale)) for name, value in terms.items()
    }
    for name, word in words.items():
        if name not in ("fee", "bond") and word > MOST_WORD:
            raise InputError(f"{name} of {terms[name]:g} is more than the contract can hold; give less")
    if not (words["up_kw"] or words["down_kw"]) or not words["energy_kwh"]:
        raise InputError("nothing is offered: give --up or --down above 0 kW, and --energy above 0 kWh")
    if begins >= until:
        raise InputError("--until is not after --from; give a span")
    return OfferTerms(
        aggregator=aggregator,
        fee=words["fee"],
        device=device,
        bond=words["bond"],
        begins=begins,
        until=until,
        up_w=words["up_kw"],
        down_w=words["down_kw"],
        energy_wh=words["energy_kwh"],
        price=words["price"],
        fine=words["fine"],
        tolerance_wh=words["tolerance_kwh"],
        notice_seconds=words["notice_s"],
    )


def _time(option: str, text: str, zone: ZoneInfo) -> int:
    """Unix time.

    Raises:
        InputError: it is none.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} '{text}' is no time; give it as 2026-12-22T17:00+01:00") from None
    return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp())


def _revoke(arguments: argparse.Namespace) -> int:
    with _sending(arguments) as (flexibility, ask):
        offer = flexibility.offer(arguments.offer)
        ask("revoke", flexibility.call("endOffer", offer.number), f"End offer {offer.number}?")
        flexibility.end_offer(offer.number)
        waits = f"; its bond is free once {offer.open} calls are settled" if offer.open else ""
        print(f"gridpact: offer {offer.number} is ended, and what was called before stands{waits}")
    return 0


def _call(arguments: argparse.Namespace) -> int:
    energies = [round(1000 * value) for value in _numbers("--kwh", arguments.kwh)]
    with _sending(arguments) as (flexibility, ask):
        offer = flexibility.offer(arguments.offer)
        ledger, day, first = flexibility.ledger, arguments.day, arguments.step
        if not 0 <= first <= ledger.steps - len(energies):
            raise InputError(
                f"--step {first} and {len(energies)} energies go beyond the day, of {ledger.steps} steps from 0 on"
            )
        if not ledger.standing(day).index:
            raise InputError(f"Day {day} was not opened on the settlement at {ledger.address}: give one that was.")
        node = ledger.party_of(day, offer.member)
        if again := sorted(flexibility.called_steps(day, node) & set(range(first, first + len(energies)))):
            raise InputError(
                f"Node {node} is called in step {', '.join(map(str, again))} of day {day} already, and its one meter"
                " tells of one call: call it for other steps."
            )
        baselines = flexibility.baselines(day, node, first, len(energies))
        planned = flexibility.planned(offer.number, day, first, energies, baselines)
        ask("call", planned, f"Call node {node} for {sum(map(abs, energies)) / 1000:g} kWh?")
        number = flexibility.call_for(offer.number, day, first, energies, baselines)
        made, unit = flexibility.call_of(number), _unit(flexibility)
        told = ", ".join(
            f"{(baseline + energy) / 1000:g}" for baseline, energy in zip(baselines, energies, strict=True)
        )
        print(
            f"gridpact: call {number} stands: node {node} is to feed in {told} kWh from step {first} of day {day} on; "
            f"{made.reserve / unit:g} {flexibility.token.symbol()} are locked for it"
        )
    return 0


def _numbers(option: str, text: str) -> list[float]:
    values = []
    for name in names(option, text):
        try:
            values.append(float(name))
        except ValueError:
            raise InputError(f"{option}: '{name}' is no number of kWh") from None
        if not abs(values[-1]) < 2e6:
            raise InputError(f"{option}: {name} kWh is more than a call can be for")
    return values


def _settle(arguments: argparse.Namespace) -> int:
    from gridpact.manage.flexibility import settled_now

    with _sending(arguments) as (flexibility, ask):
        if arguments.call is not None:
            made = flexibility.call_of(arguments.call)
            if not made.settled and flexibility.ledger.standing(made.day).next >= made.first + len(made.energies_wh):
                ask("settle", flexibility.call("settle", made.number), f"Settle call {made.number}?")
        paid = settled_now(flexibility, arguments.call)
        for call, outcome in paid:
            print(f"gridpact: {_paid(call, outcome, flexibility)}")
        if not paid:
            print("gridpact: no call can be settled yet")
    return 0


def _deposit(arguments: argparse.Namespace) -> int:
    with _sending(arguments) as (flexibility, _):
        units, address = round(arguments.amount * _unit(flexibility)), _sender(flexibility)
        held = flexibility.token.balance(address)
        if held < units:
            raise InputError(
                f"Account {address} holds {held / _unit(flexibility):g} {flexibility.token.symbol()}, less than"
                f" {arguments.amount:g}: deposit no more than that."
            )
        flexibility.deposit(units)
        _tell(flexibility, address)
    return 0


def _withdraw(arguments: argparse.Namespace) -> int:
    with _sending(arguments) as (flexibility, ask):
        units, address = round(arguments.amount * _unit(flexibility)), _sender(flexibility)
        _require_free(flexibility, units, "withdrawing that")
        ask("withdraw", flexibility.call("withdraw", units), f"Withdraw {arguments.amount:g}?")
        flexibility.withdraw(units)
        _tell(flexibility, address)
    return 0


def _sender(flexibility: Flexibility) -> str:
    assert flexibility.account is not None
    return flexibility.account.address


def _require_free(flexibility: Flexibility, units: int, what: str) -> None:
    """
    Raises:
        InputError: the account has less than that.
    """
    address, unit, symbol = _sender(flexibility), _unit(flexibility), flexibility.token.symbol()
    free = flexibility.free(address)
    if free < units:
        raise InputError(
            f"Account {address} has {free / unit:g} {symbol} free in the contract, and {what} needs {units / unit:g}:"
            f" deposit {(units - free) / unit:g} more (`gridpact flexibility deposit`)."
        )


def _tell(flexibility: Flexibility, address: str) -> None:
    unit, symbol = _unit(flexibility), flexibility.token.symbol()
    free, locked = flexibility.free(address) / unit, flexibility.locked(address) / unit
    print(f"gridpact: {address} has {free:g} {symbol} free and {locked:g} locked for flexibility")


# ---------------------------------------------------------------------- showing


@contextmanager
def _reading(arguments: argparse.Namespace) -> Iterator[Flexibility]:
    from gridpact.chain.flexibility import Flexibility

    with place_of(arguments) as place:
        assert place.record is not None
        yield Flexibility.of(place.record, place.web3)


def _deliver(arguments: argparse.Namespace) -> int:
    from gridpact.manage.flexibility import comes_to, delivered_steps

    with _reading(arguments) as flexibility:
        call, unit = flexibility.call_of(arguments.call), _unit(flexibility)
        steps = delivered_steps(call, flexibility.ledger.readings(call.day))
        terms = flexibility.offer(call.offer).terms
        outcome = flexibility.outcome(call.number) or comes_to(steps, terms, round(unit))
        if arguments.json:
            told = {"call": call.number, "settled": call.settled, "steps": [asdict(one) for one in steps]}
            print(json.dumps({**told, **_figures(outcome, unit)}, indent=2))
            return 0
        print(f"{'step':>4}{'baseline kWh':>14}{'asked kWh':>11}{'read kWh':>10}{'moved kWh':>11}")
        for one in steps:
            read, moved = ("-" if wh is None else f"{wh / 1000:.3f}" for wh in (one.read_wh, one.moved_wh))
            print(f"{one.step:4}{one.baseline_wh / 1000:14.3f}{one.asked_wh / 1000:11.3f}{read:>10}{moved:>11}")
        so_far = "" if call.settled else ", as far as it is read"
        print(f"gridpact: {_paid(call, outcome, flexibility)}{so_far}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from gridpact.manage.flexibility import control_share, standing_of

    with _reading(arguments) as flexibility:
        found, unit, symbol = standing_of(flexibility, arguments.day), _unit(flexibility), flexibility.token.symbol()
        if arguments.json:
            offers = [{**asdict(one), "terms": asdict(one.terms)} for one in found.offers]
            calls = [
                {**asdict(call), **({} if outcome is None else _figures(outcome, unit))}
                for call, outcome in found.calls
            ]
            print(json.dumps({"offers": offers, "calls": calls}, indent=2))
            return 0
        for offer in found.offers:
            share = f"a false baseline does not pay where {control_share(offer.terms):.0%} of its calls are for 0 kWh"
            words = f"{_offered(offer.terms, symbol, unit)}, {_state(offer)}; {share}"
            print(f"offer {offer.number} of {offer.member}: {words}")
        for call, outcome in found.calls:
            asked = ", ".join(f"{wh / 1000:g}" for wh in call.energies_wh)
            state = "not settled" if outcome is None else _paid(call, outcome, flexibility)
            print(f"call {call.number} of offer {call.offer}, {call.day} from step {call.first}: {asked} kWh; {state}")
        if not found.offers:
            print("gridpact: nobody has offered anything")
    return 0


def _figures(outcome: CallOutcome, unit: float) -> dict[str, Any]:
    return {
        "payment": outcome.payment / unit,
        "delivered_kwh": outcome.delivered_wh / 1000,
        "otherwise_kwh": outcome.otherwise_wh / 1000,
        "kept_steps": outcome.kept,
    }


def _state(offer: MemberOffer) -> str:
    return f"{'ended' if offer.ended else 'stands'}, {offer.open} calls open"


def _paid(call: FlexibilityCall, outcome: CallOutcome, flexibility: Flexibility) -> str:
    unit, symbol = _unit(flexibility), flexibility.token.symbol()
    who = "to" if outcome.payment >= 0 else "by"
    return (
        f"call {call.number} pays {abs(outcome.payment) / unit:g} {symbol} {who} node {call.node}: "
        f"{outcome.delivered_wh / 1000:g} kWh delivered, {outcome.otherwise_wh / 1000:g} otherwise than called, "
        f"{outcome.kept} of {len(call.energies_wh)} steps kept"
    )


def _offered(terms: OfferTerms, symbol: str, unit: float) -> str:
    begins, until = _moment(terms.begins), _moment(terms.until)
    return (
        f"{terms.device} for {terms.aggregator}, {begins} to {until}, up {terms.up_w / 1000:g} kW, down "
        f"{terms.down_w / 1000:g} kW, {terms.energy_wh / 1000:g} kWh a day, {terms.price / 1e6:g} {symbol} a kWh, fine "
        f"{terms.fine / 1e6:g}, bond {terms.bond / unit:g}"
    )


def _moment(at: int) -> str:
    """A unix time of the chain's; anybody can offer until after the last year that has a date."""
    try:
        return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%MZ")
    except ValueError:
        return f"{at} s"


def _unit(flexibility: Flexibility) -> float:
    """Token units in a unit of currency."""
    return float(10.0 ** flexibility.token.decimals())
