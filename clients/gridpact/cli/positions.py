"""`gridpact positions`: where a day on the chain stands, and settling what of it is over."""

from __future__ import annotations

import argparse

from gridpact.cli.manager import account_of, add_record, add_sender, place_of
from gridpact.cli.options import Commands

COLUMNS = ("step", "state", "sold, kWh", "nominated, kWh", "read", "pool, kWh", "deviation, kWh")
OF_DEALS = ("no.", "what", "step", "seller", "buyer", "kWh", "price a kWh", "state")


def label_of(text: str) -> int:
    """A day's number, yyyymmdd, of a date or of itself."""
    digits = text.replace("-", "")
    if not (digits.isascii() and digits.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is no day such as 2026-12-22, and no number of one")
    return int(digits)


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "positions", help="where a day on the chain stands: positions, nominations, readings, pool, options"
    )
    command.add_argument(
        "--day", type=label_of, required=True, metavar="YYYY-MM-DD", help="the day, or the number that its round has"
    )
    command.add_argument(
        "--settle",
        action="store_true",
        help="settle the steps that are over, close the day after the last, and end what is over of spot offers, "
        "options and forwards",
    )
    add_record(command)
    add_sender(command)
    command.set_defaults(command=_positions)


def _positions(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import chain_time
    from gridpact.chain.day import DaySettlement
    from gridpact.manage.days import settle_over, steps_of
    from gridpact.manage.deals import deals_of, end_over

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place) if arguments.settle else None
        ledger = DaySettlement.of(place.record, place.web3, account)
        day, now = arguments.day, chain_time(place.web3)
        rows, deals = list(steps_of(ledger, day, now)), deals_of(ledger, day)
        if arguments.settle:
            settled, closed = settle_over(ledger, day, now)
            print(f"gridpact: settled {settled} steps; the day is {'closed' if closed else 'open'}")
            print(f"gridpact: ended {end_over(ledger, deals, now)} of {len(deals)} offers, options and forwards")
            rows, deals = list(steps_of(ledger, day, now)), deals_of(ledger, day)
        print("  ".join(COLUMNS))
        for row in rows:
            before = (row.step, row.state, f"{row.sold_kwh:.3f}", f"{row.nominated_kwh:.3f}", row.read)
            after = ("-" if value is None else f"{value:.3f}" for value in (row.pool_kwh, row.deviation_kwh))
            print("  ".join(f"{value!s:>{len(name)}}" for value, name in zip((*before, *after), COLUMNS, strict=True)))
        if deals:
            print("  ".join(OF_DEALS))
        for deal in deals:
            seller, buyer = (_party(party) for party in (deal.seller, deal.buyer))
            energy, price = f"{deal.energy_wh / 1000:.3f}", f"{deal.price / 1e6:.6g}"
            cells = (deal.number, deal.kind, deal.step, seller, buyer, energy, price, deal.state)
            print("  ".join(f"{cell!s:>{len(name)}}" for cell, name in zip(cells, OF_DEALS, strict=True)))
    return 0


def _party(party: int | None) -> str:
    from gridpact.chain.day import SUPPLIER

    return "-" if party is None else "supplier" if party == SUPPLIER else str(party)
