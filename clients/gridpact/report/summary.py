"""A run told on a terminal, in at most 25 lines."""

from __future__ import annotations

import sys

from gridpact.market.registry import market_of
from gridpact.outcome.indicators import Indicators
from gridpact.outcome.result import RunResult
from gridpact.report.words import chain_name, checks_sentence, headline, plain

_MARKS = {True: "✓", False: "✗", None: "–"}
_ASCII_MARKS = {True: "ok", False: "NO", None: "-"}


def summary(result: RunResult, unicode: bool | None = None) -> str:
    """What happened, what it costs, and whether it may be believed.

    Args:
        unicode: whether the terminal can show check marks; by default the standard output's encoding decides.
    """
    if unicode is None:
        unicode = _can_show("".join(_MARKS.values()) + plain(result.community.currency))
    marks = _MARKS if unicode else _ASCII_MARKS
    indicators, community, balance = Indicators(result), result.community, Indicators(result).balance
    unit = plain(community.currency, 8)
    gas = f"{result.gas_total:,} in {result.transactions:,} transactions"
    if result.gas_per_household_iteration:
        gas += f" ({result.gas_per_household_iteration:,.0f} a household and iteration)"
    used = indicators.total("pv_kw") - indicators.total("curtailed_kw")
    rows = [
        ("Cost of the day", f"{result.cost.total:,.2f} {unit}"),
        ("Best possible", f"{result.centralised_cost:,.2f} {unit} (one optimiser that knows everything)"),
        ("From the grid", f"{indicators.energy_kwh(balance.grid_import):,.1f} kWh, "
                          f"{indicators.energy_kwh(balance.feed_in):,.1f} kWh back into it"),
        ("From own PV", f"{indicators.energy_kwh(used):,.1f} kWh"),
        ("Between neighbours", _traded(result, unit)),
        ("Lost in the lines", f"{indicators.energy_kwh(balance.losses):,.1f} kWh"),
        ("Gas", gas),
        ("Time", f"{result.wall_s:,.1f} s ({result.solve_s:,.1f} s solving, {result.chain_s:,.1f} s chain)"),
    ]  # fmt: skip
    width = max(len(label) for label, _ in rows) + 2
    value_width = max(len(check.value) for check in indicators.checks) + 2
    lines = [
        f"{plain(community.name, 40)}, {plain(community.day, 20)}: "
        f"scenario {result.scenario.name} ({market_of(result.scenario).words.label}) on {chain_name(result)}",
        headline(result),
        "",
        *(f"  {label:<{width}}{value}" for label, value in rows),
        "",
        checks_sentence(result),
        *(
            f"  {marks[check.held]:<3}{check.name:<{width + 3}}{check.value:<{value_width}}limit: {check.limit}"
            for check in indicators.checks
        ),
    ]
    text = "\n".join(line.rstrip() for line in lines)
    return text if unicode else text.encode("ascii", "replace").decode("ascii")


def _traded(result: RunResult, unit: str) -> str:
    if not result.trades:
        return "nothing traded"
    pairs = len({(trade.seller, trade.buyer) for trade in result.trades})
    return (
        f"{result.traded_kwh:,.1f} kWh in {len(result.trades):,} trades of {pairs:,} pairs, "
        f"{result.paid_total:,.2f} {unit} paid; {result.supplier_received:,.2f} {unit} to the supplier for the rest"
    )


def _can_show(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
