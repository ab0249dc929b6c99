"""`gridpact positions`: where a day on the chain stands, and settling what of it is over."""

from __future__ import annotations

import argparse

from gridpact.cli.manager import account_of, add_record, add_sender, place_of
from gridpact.cli.options import Commands

COLUMNS = ("step", "state", "sold, kWh", "nominated, kWh", "read", "pool, kWh", "deviation, kWh")


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "positions", help="where a day on the chain stands: positions, nominations, readings, pool, options"
    )
    command.add_argument("--day", type=int, required=True, metavar="YYYYMMDD", help="the day, as its round has it")
    command.add_argument(
        "--settle", action="store_true", help="settle the steps that are over, and close the day after the last"
    )
    add_record(command)
    add_sender(command)
    command.set_defaults(command=_positions)


def _positions(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import chain_time
    from gridpact.chain.day import DaySettlement
    from gridpact.manage.days import settle_over, steps_of

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place) if arguments.settle else None
        ledger = DaySettlement.of(place.record, place.web3, account)
        day, now = arguments.day, chain_time(place.web3)
        rows = list(steps_of(ledger, day, now))
        if arguments.settle:
            settled, closed = settle_over(ledger, day, now)
            print(f"gridpact: settled {settled} steps; the day is {'closed' if closed else 'open'}")
            rows = list(steps_of(ledger, day, now))
        print("  ".join(COLUMNS))
        for row in rows:
            before = (row.step, row.state, f"{row.sold_kwh:.3f}", f"{row.nominated_kwh:.3f}", row.read)
            after = ("-" if value is None else f"{value:.3f}" for value in (row.pool_kwh, row.deviation_kwh))
            print("  ".join(f"{value!s:>{len(name)}}" for value, name in zip((*before, *after), COLUMNS, strict=True)))
        products = ledger.products
        counts = {name: len(products.offers(name, day)) for name in ("SpotPosted", "OptionWritten", "ForwardOffered")}
        print(
            f"spot offers: {counts['SpotPosted']}, options written: {counts['OptionWritten']}, "
            f"forwards offered: {counts['ForwardOffered']}"
        )
    return 0
