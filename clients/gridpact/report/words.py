"""How a run is told: what users named made harmless, and what happened put into sentences."""

from __future__ import annotations

import re
import unicodedata

from gridpact.devices.registry import consumed_kw
from gridpact.market.registry import market_of
from gridpact.outcome.indicators import NOT_PROMISED, Indicators, percent
from gridpact.outcome.result import RunResult
from gridpact.problem.scenario import NetworkAgreement

NETWORK_AGREEMENT = {
    NetworkAgreement.NEIGHBOURS: "between neighbours along the feeder",
    NetworkAgreement.DSO: "with the grid operator's node",
}


def plain(text: str, longest: int | None = None) -> str:
    """A name without line breaks and other control characters, cut where it is too long."""
    clean = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    return clean if longest is None or len(clean) <= longest else clean[: longest - 1] + "…"


def count(number: int, noun: str) -> str:
    """`3 households`, `1 household`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def headline(result: RunResult) -> str:
    """Who agreed on what, in one sentence."""
    who = count(len(result.households), "household")
    market = market_of(result.scenario)
    if not market.agrees:
        return f"{who} {market.words.agreed}."
    if not result.converged:
        return f"{who} {market.words.failed} within {count(result.iterations, 'iteration')}."
    return f"{who} {market.words.agreed}, in {count(result.iterations, 'iteration')}."


def cost_sentence(result: RunResult) -> str:
    """The cost against the optimum, in one sentence."""
    gap, unit = Indicators(result).implemented_gap, plain(result.community.currency, 8)
    text = f"The day costs {result.cost.total:,.2f} {unit}; "
    text += f"the best possible plan costs {result.centralised_cost:,.2f} {unit}"
    return f"{text}." if gap is None else f"{text}, a difference of {percent(gap)}."


def checks_sentence(result: RunResult) -> str:
    """Whether every check held, in one sentence."""
    failed = Indicators(result).failed_checks
    if failed:
        return f"Not every check held: {', '.join(check.name.lower() for check in failed)}."
    if any(check.verdict == NOT_PROMISED for check in Indicators(result).checks):
        return "Every check of this scenario held, but the plan drives voltages beyond the feeder's limits."
    return "Every check held."


def nothing_traded(result: RunResult) -> str:
    """Why there are no trades."""
    return f"Nothing was traded: {market_of(result.scenario).words.no_trades}."


def chain_name(result: RunResult) -> str:
    """Where a run was: see `chain_text`."""
    return chain_text(result.chain)


def chain_text(chain: str) -> str:
    """A chain without what may be secret in its address: user, password, and a key in the path."""
    first, *others = chain.split(",")
    chain = plain(first, 120)
    if "://" not in chain:
        return chain
    scheme, rest = chain.split("://", 1)
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    more = f" and {len(others)} more" if others else ""
    return f"{scheme}://{host.rsplit('@', 1)[-1]}{more}"


def captions(result: RunResult) -> dict[str, str]:
    """One sentence under each plot, saying what is seen; by the name of the plot."""
    return {
        "convergence": _convergence(result),
        "power": _power(result),
        "trades": _trades(result),
        "prices": _prices(result),
        "voltages": _voltages(result),
    }


def _convergence(result: RunResult) -> str:
    if not market_of(result.scenario).agrees:
        return "Each household planned on its own, so there was nothing to agree on."
    if not result.converged:
        return (
            f"After {count(result.iterations, 'iteration')} the households still differed, or still moved, "
            "by more than the limit allows."
        )
    return (
        "Households start far apart and come together: disagreement is how far the two sides of a value they "
        "share differ, change is how much the shared value still moves; "
        f"after {count(result.iterations, 'iteration')} all was below its limit."
    )


def _power(result: RunResult) -> str:
    indicators = Indicators(result)
    balance = indicators.balance
    use = indicators.energy_kwh(balance.load + consumed_kw(indicators.total))
    peak = int(balance.grid_import.argmax())
    text = (
        f"Households used {use:,.0f} kWh with their devices; "
        f"{indicators.energy_kwh(balance.grid_import):,.0f} kWh came from the grid, with a peak of "
        f"{balance.grid_import[peak]:,.1f} kW at {indicators.clock(peak)}, and "
        f"{indicators.energy_kwh(balance.feed_in):,.0f} kWh went back"
    )
    if (curtailed := indicators.energy_kwh(indicators.total("curtailed_kw"))) >= 0.05:
        text += f"; the panels could have given {curtailed:,.1f} kWh more"
    return text + "."


def _trades(result: RunResult) -> str:
    indicators = Indicators(result)
    if not result.trades:
        return nothing_traded(result)
    energy = indicators.traded_kwh
    seller, buyer = divmod(int(energy.argmax()), len(energy))
    homes = result.community.households
    text = (
        f"{count(int((energy.sum(axis=1) > 0).sum()), 'household')} sold {result.traded_kwh:,.1f} kWh to "
        f"{int((energy.sum(axis=0) > 0).sum()):,}; the most, {energy.max():,.1f} kWh, went from "
        f"{plain(homes[seller].name, 40)} to {plain(homes[buyer].name, 40)}"
    )
    sources = [any(band.is_source for device in home.devices for band in device.bands) for home in homes]
    if any(sold > 0 and not source for sold, source in zip(energy.sum(axis=1), sources, strict=True)):
        text += "; a seller without PV or battery passes on what it bought at the same time"
    return text + "."


def _prices(result: RunResult) -> str:
    indicators = Indicators(result)
    traded = indicators.trade_prices
    if not traded:
        return (
            "The shaded band lies between what a kilowatt-hour costs and what feeding it in earns; nobody traded in it."
        )
    mean = sum(p.mean * p.energy_kwh for p in traded) / max(sum(p.energy_kwh for p in traded), 1e-12)
    bought, fed_in = result.community.prices.import_price, result.community.prices.feed_in_price
    inside = all(fed_in[p.step] - 1e-6 <= p.low and p.high <= bought[p.step] + 1e-6 for p in traded)
    return (
        f"Neighbours paid each other {mean:.3f} {plain(result.community.currency, 8)} a kilowatt-hour on "
        f"average, {'always' if inside else 'not always'} between the feed-in and the import price."
    )


def _voltages(result: RunResult) -> str:
    indicators = Indicators(result)
    worst = indicators.worst_voltage
    return (
        f"The voltage is {indicators.nearness} at "
        f"{indicators.clock(worst.step)} at {plain(indicators.name(worst.node), 40)} (node {worst.node}), "
        f"with {worst.voltage_pu:.3f} p.u.; the coloured lines are the feeder's branches at one moment."
    )
