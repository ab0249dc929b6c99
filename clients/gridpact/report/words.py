"""How a run is told: what users named made harmless, and what happened put into sentences."""

from __future__ import annotations

from gridpact.devices.registry import consumed_kw
from gridpact.market.registry import market_of
from gridpact.outcome.indicators import NOT_PROMISED, Indicators, percent
from gridpact.outcome.outcome import Outcome
from gridpact.problem.scenario import NetworkAgreement
from gridpact.text import count, plain, share

NETWORK_AGREEMENT = {
    NetworkAgreement.NEIGHBOURS: "between neighbours along the feeder",
    NetworkAgreement.DSO: "with the grid operator's node",
}


def headline(result: Outcome) -> str:
    """Who agreed on what, in one sentence."""
    who = count(len(result.households), "household")
    market = market_of(result.scenario)
    if not market.agrees:
        return f"{who} {market.words.agreed}."
    if not result.converged:
        return f"{who} {market.words.failed} within {count(result.iterations, 'iteration')}."
    if result.convergence is None:
        return f"{who} {market.words.agreed}."
    return f"{who} {market.words.agreed}, in {count(result.iterations, 'iteration')}."


def cost_sentence(result: Outcome) -> str:
    """The cost against the optimum, in one sentence."""
    gap, unit = Indicators(result).implemented_gap, plain(result.community.currency, 8)
    text = f"The day costs {result.cost.paid:,.2f} {unit}, losses in"
    if market_of(result.scenario).agrees:
        text += f"; each on its own would pay {result.paid_alone:,.2f}{_less(result)}"
    text += f". The optimum of one that knows everything costs {result.optimum.paid:,.2f}"
    if gap is None:
        return f"{text}."
    return f"{text}; by what the agreement looks for, the plan lies {percent(gap)} from it."


def _less(result: Outcome) -> str:
    """`, so 9.35 are saved (20.0 %)`; nothing where that has no meaning."""
    saved = share(result.saved, result.paid_alone)
    if result.paid_alone <= 0 or saved is None:
        return ""
    return f", so {result.saved:,.2f} are saved ({100 * saved:.1f} %)"


def checks_sentence(result: Outcome) -> str:
    """Whether every check held, in one sentence."""
    failed = Indicators(result).failed_checks
    if failed:
        return f"Not every check held: {', '.join(check.name.lower() for check in failed)}."
    beyond = [check.name.lower() for check in Indicators(result).checks if check.verdict == NOT_PROMISED]
    if beyond:
        return f"Every check of this scenario held. It does not promise, and does not keep: {', '.join(beyond)}."
    return "Every check held."


def nothing_traded(result: Outcome) -> str:
    """Why there are no trades."""
    return f"Nothing was traded: {market_of(result.scenario).words.no_trades}."


def captions(result: Outcome) -> dict[str, str]:
    """One sentence under each plot, saying what is seen; by the name of the plot."""
    return {
        "convergence": _convergence(result),
        "power": _power(result),
        "trades": _trades(result),
        "prices": _prices(result),
        "voltages": _voltages(result),
    }


def no_way_to_it(result: Outcome) -> str:
    """Why there are no iterations to be drawn."""
    if not market_of(result.scenario).agrees:
        return "Each household planned on its own, so there was nothing to agree on."
    return "All were asked once, and what they answered was cleared: there are no iterations."


def _convergence(result: Outcome) -> str:
    if result.convergence is None:
        return no_way_to_it(result)
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


def _power(result: Outcome) -> str:
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


def _trades(result: Outcome) -> str:
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


def _prices(result: Outcome) -> str:
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


def _voltages(result: Outcome) -> str:
    indicators = Indicators(result)
    worst = indicators.worst_voltage
    return (
        f"The voltage is {indicators.nearness} at "
        f"{indicators.clock(worst.step)} at {plain(indicators.name(worst.node), 40)} (node {worst.node}), "
        f"with {worst.voltage_pu:.3f} p.u.; the coloured lines are the feeder's branches at one moment."
    )
