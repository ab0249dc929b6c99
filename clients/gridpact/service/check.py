"""Everything that a node needs, tried before its first round. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from web3 import Web3

from gridpact.chain.clock import LARGEST_GAP, clock_gap, told_gap
from gridpact.community.model import Prices
from gridpact.errors import InputError
from gridpact.problem.baseline import fallback
from gridpact.service.alone import ANY_PRICE
from gridpact.service.connection import ChainConnection, gas_of_a_round, open_connection, read_record
from gridpact.service.forecast import Forecast, take_forecast
from gridpact.service.money import bill_of, check_bill, check_prices
from gridpact.service.plan import own_prices, prices_in, view_of
from gridpact.service.settings import Settings, ThroughDay


def checks(settings: Settings, key: str, day: str, link: Callable[[], Web3]) -> Iterator[str]:
    """Goes through what a round needs, one sentence a step.

    Args:
        day: for which a forecast is asked, yyyy-mm-dd.
        link: opens a connection to the chain.

    Raises:
        GridpactError: what is wrong, and what to do.
    """
    record = read_record(settings)
    connection = open_connection(settings, record, key, link)
    account, setting, symbol = connection.account, connection.setting, connection.symbol
    form = "sealed" if connection.aggregator.sealed else "open: everybody reads its loads"
    where = f"chain {record.chain_id}, where rounds are {form}"
    yield f"the account {account.address} is enrolled as node {settings.node} on {where}"
    if (gap := clock_gap(account.web3)) is not None and abs(gap) > LARGEST_GAP:
        raise InputError(told_gap(gap))
    connection.check_ether(gas_of_a_round(settings))
    tokens = connection.settlement.token.balance(account.address) * connection.unit
    deposit = connection.deposit()
    yield f"it has {connection.ether():.4f} ETH, {tokens:.2f} {symbol}, and {deposit:.2f} {symbol} deposited"

    hours, forecast = setting.step_seconds / 3600, None
    if settings.forecast is not None:
        forecast = take_forecast(settings.forecast, day, setting.steps, settings.forecast.timeout_s)
        series = {name: hours * forecast.series[name].sum() for name in ("load_kw", "pv_kw") if name in forecast.series}
        energies = ", ".join(f"{name.removesuffix('_kw')} {energy:.1f} kWh" for name, energy in series.items())
        yield f"there is a forecast for {day}, {setting.steps} steps of {60 * hours:g} minutes: {energies}"
    prices, currency = _prices(settings, connection, forecast)
    aggregator = connection.aggregator
    view = view_of(settings, day, hours, forecast, prices, aggregator.enrolled(), aggregator.theta().n)
    if view.household is None:
        yield f"it answers the households on its feeder that are enrolled: nodes {list(view.children)}"
        return
    plan = fallback(view)
    cost = bill_of(plan, prices, hours)
    if (limits := settings.limits) is not None:
        check_prices(limits, prices.import_price, prices.feed_in_price, "its tariff")
        check_bill(limits, cost)
        yield (
            f"it takes part where import costs at most {limits.import_price_max:g} and feeding in pays at least "
            f"{limits.feed_in_price_min:g} {symbol}/kWh, and deposits at most {limits.deposit_max:g} {symbol} a day"
        )
        stands = connection.debit_limit()
        yield (
            f"a meter reading may take at most {limits.deposit_max:g} {symbol} a day, which it sets on the chain "
            f"before it declares (there now: {f'{stands:g}' if stands else 'no limit'})"
        )
    if settings.day is not None:
        yield _day_sentence(settings.day, connection)
    yield f"there is a plan for that day; with the supplier alone it costs {cost:.2f} {currency}"
    if view.scenario.has_trades:
        yield f"it bids to the nodes {[partner.node for partner in view.partners]}, {view.bid_count} bids an iteration"


def _day_sentence(own: ThroughDay, connection: ChainConnection) -> str:
    """How it takes part in the day itself.

    Raises:
        InputError: the deployment settles no days, or the account lacks what is to be locked.
    """
    ledger, unit, symbol = connection.ledger, connection.unit, connection.symbol
    if ledger is None:
        raise InputError("[day] of household.toml: this deployment settles no days; leave the table out")
    address = connection.account.address
    short = own.lock - unit * (ledger.free(address) + ledger.token.balance(address))
    if short > 0:
        raise InputError(f"[day] lock: the account {address} lacks {short:g} {symbol} of it; send it so many")
    return (
        f"it takes part in days with {own.lock:g} {symbol} locked, where a kWh of deviation costs at most "
        f"{own.adder_max:g}, and plans anew {own.renew_s:g} s before each gate"
    )


def _prices(settings: Settings, connection: ChainConnection, forecast: Forecast | None) -> tuple[Prices, str]:
    """Prices to try with, and what they are."""
    steps = connection.setting.steps
    if settings.tariff.source != "published":
        return own_prices(settings.tariff, steps, forecast), "at its own tariff"
    newest = connection.aggregator.progress().round
    for round_ in (newest + 1, newest):
        if (published := connection.tariff(round_)) is not None:
            return prices_in(published, connection.setting.step_seconds / 3600), f"at the tariff of round {round_}"
    return Prices(np.full(steps, ANY_PRICE)), f"at {ANY_PRICE:g} per kWh, as no tariff is published yet"
