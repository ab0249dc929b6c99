"""A run told on a terminal, in at most 25 lines."""

from __future__ import annotations

import sys

from gridpact.market.registry import market_of
from gridpact.outcome.indicators import Indicators
from gridpact.outcome.outcome import Ledger, Outcome
from gridpact.report.words import checks_sentence, headline
from gridpact.text import chain_text, count, plain, share

SAVING_LEFT = 0.05
"""From this part on a run says how much of what agreeing can save its plan leaves."""

_MARKS = {True: "✓", False: "✗", None: "–"}
_ASCII_MARKS = {True: "ok", False: "NO", None: "-"}


def summary(result: Outcome, unicode: bool | None = None) -> str:
    """What happened, what it costs, and whether it may be believed.

    Args:
        unicode: whether the terminal can show check marks; by default the standard output's encoding decides.
    """
    if unicode is None:
        unicode = _can_show("".join(_MARKS.values()) + plain(result.community.currency))
    marks = _MARKS if unicode else _ASCII_MARKS
    indicators, community, balance = Indicators(result), result.community, Indicators(result).balance
    unit, market = plain(community.currency, 8), market_of(result.scenario)
    paid, alone = result.cost.paid, f"each on its own: {result.paid_alone:,.2f}"
    if result.paid_alone > 0 and (saved := share(result.saved, result.paid_alone)) is not None:
        alone += f", saved: {result.saved:,.2f}, {100 * saved:.1f} %"
    best = f"{result.optimum.paid:,.2f} {unit}, counted alike"
    if market.agrees and result.left_of_saving > SAVING_LEFT:
        best += f"; {100 * result.left_of_saving:.1f} % of what agreeing can save is left"
    else:
        best += " (one optimiser that knows everything)"
    used = indicators.total("pv_kw") - indicators.total("curtailed_kw")
    rows = [
        ("Cost of the day", f"{paid:,.2f} {unit}, losses in" + (f" ({alone})" if market.agrees else "")),
        ("Best possible", best),
        ("From the grid", f"{indicators.energy_kwh(balance.grid_import):,.1f} kWh, "
                          f"{indicators.energy_kwh(balance.feed_in):,.1f} kWh back into it"),
        ("From own PV", f"{indicators.energy_kwh(used):,.1f} kWh"),
        ("Between neighbours", _traded(result, unit)),
        ("Lost in the lines", f"{indicators.energy_kwh(balance.losses):,.1f} kWh"),
        *([] if result.ledger is None else _ledger_rows(result, result.ledger, unit)),
    ]  # fmt: skip
    width = max(len(label) for label, _ in rows) + 2
    value_width = max(len(check.value) for check in indicators.checks) + 2
    where = "in memory" if result.ledger is None else f"on {chain_text(result.chain)}"
    lines = [
        f"{plain(community.name, 40)}, {plain(community.day, 20)}: "
        f"scenario {result.scenario.name} ({market.words.label}) {where}",
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


def _traded(result: Outcome, unit: str) -> str:
    if not result.trades:
        return "nothing traded"
    trades, pairs = count(len(result.trades), "trade"), count(result.traded_pairs, "pair")
    return f"{result.traded_kwh:,.1f} kWh in {trades} between {pairs}, {result.paid_total:,.2f} {unit} for all of them"


def _ledger_rows(result: Outcome, ledger: Ledger, unit: str) -> list[tuple[str, str]]:
    gas = f"{ledger.gas_total:,} in {ledger.transactions:,} transactions"
    if result.gas_per_household_iteration:
        gas += f" ({result.gas_per_household_iteration:,.0f} a household and iteration)"
    time = f"{ledger.wall_s:,.1f} s ({ledger.solve_s:,.1f} s solving, {ledger.chain_s:,.1f} s chain)"
    supplier = f"{ledger.supplier_received:,.2f} {unit} for what is not traded"
    return [*([("To the supplier", supplier)] if result.trades else []), ("Gas", gas), ("Time", time)]


def _can_show(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
