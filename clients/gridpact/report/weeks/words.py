"""What a study came to, in sentences: everything that is said is worked out from the days or from the report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridpact.grid.opendss import CHECKS
from gridpact.market.registry import Promise, market_of
from gridpact.outcome.day import failed_checks
from gridpact.outcome.gaps import stays_below
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.fairness import TOLERANCE
from gridpact.study.weeks.published import REPORT_GAP, REPORT_ITERATIONS, Published
from gridpact.study.weeks.totals import HouseholdWeek, Period, Study, peak_steps
from gridpact.text import count, plain

WINTER_TRADE = 0.05
"""Trades below this share of what is used are said to be hardly any."""


def headline(study: Study) -> str:
    """What the community saves, in one sentence."""
    if not study.counted or study.after == Scenario.B:
        return f"{plain(study.community.name)}: {count(len(study.outcomes), 'day')} solved, nothing to compare"
    parts = [f"{change(period.relative(study.after) - 1)} {_in(period)}" for period in study.counted]
    return f"With {market_of(study.after).words.by} the community pays {', '.join(parts)}"


def answers(study: Study) -> dict[str, list[str]]:
    """Does it pay, does it spare the grid, and can one trust the answer?"""
    return {
        "Does it pay?": [_pays(study, period) for period in study.counted],
        "Does it spare the grid?": [_spares(period) for period in study.counted],
        "Can one trust the answer?": trust(study),
    }


def _pays(study: Study, period: Period) -> str:
    base, unit = period.baseline, currency(study)
    text = ""
    if period.missing:
        text = f"Between {plain(period.days[0], 20)} and {plain(period.days[-1], 20)} {count(period.missing, 'day')} "
        text += f"{'is' if period.missing == 1 else 'are'} left out. "
    if period.failures:
        text += f"Of {count(len(period.days), 'day')} from {plain(period.days[0], 20)} to {plain(period.days[-1], 20)} "
        text += f"{len(period.counted)} count: the others have no plan in some scenario. "
    text += f"{_start(period)} all households together pay {base.community.total:,.2f} {unit} each on its own"
    others = [
        f"{totals.community.total:,.2f} in {scenario.name} ({change(period.relative(scenario) - 1)})"
        for scenario, totals in period.totals.items()
        if scenario != Scenario.B
    ]
    text += f", {', '.join(others)}." if others else "."
    if study.after != Scenario.B:
        saved = [b.cost - a.cost for b, a in zip(base.households, period.totals[study.after].households, strict=True)]
        better, worse = sum(s > TOLERANCE for s in saved), sum(s < -TOLERANCE for s in saved)
        text += f" In {study.after.name} {better} of {len(saved)} households pay less than on their own, "
        text += f"{worse or 'none'} {'pays' if worse == 1 or not worse else 'pay'} more."
    return text


def _spares(period: Period) -> str:
    base = period.baseline
    text = f"{_start(period)} the feeder's highest import is {base.peak_kw:.1f} kW in B"
    for scenario, totals in period.totals.items():
        if scenario != Scenario.B:
            text += f", {totals.peak_kw:.1f} in {scenario.name}"
            text += f" ({change(totals.peak_kw / base.peak_kw - 1)})" if base.peak_kw > 0 else ""
    text += ". "
    out = {scenario.name: totals.hours_outside for scenario, totals in period.totals.items()}
    if any(out.values()):
        text += "Voltages leave their limits in " + ", ".join(
            f"{name} for {count_hours(hours)}" if hours else f"{name} never" for name, hours in out.items()
        )
    else:
        low = ", ".join(f"{totals.voltage_pu[0]:.3f} p.u. in {s.name}" for s, totals in period.totals.items())
        text += f"Voltages stay within their limits in all scenarios; the lowest is {low}"
    if base.loading is not None:
        loads = [f"{100 * (totals.loading or 0.0):.0f} % in {s.name}" for s, totals in period.totals.items()]
        text += f". Of its rating the most loaded line carries at most {', '.join(loads)}"
    return text + "."


def trust(study: Study) -> list[str]:
    """What was checked, and whether it held."""
    outcomes = [outcome for outcome in study.outcomes if outcome.feasible]
    if not outcomes:
        return ["No day has a plan, so there is nothing to check."]
    bad = [outcome for outcome in outcomes if not outcome.checks_held]
    agreed = [outcome for outcome in outcomes if outcome.scenario != Scenario.B]
    promising = {o.scenario for o in outcomes if Promise.OPTIMUM in market_of(o.scenario).promises}
    promised = [o for o in outcomes if o.scenario in promising]
    text = [
        f"{count(len(promised), 'plan')} ({count(len({o.day for o in promised}), 'day')} in "
        f"{count(len(promising), 'scenario')}) {'was' if len(promised) == 1 else 'were'} compared with "
        "the optimum of one optimiser that knows everything: the plan as carried out, by an exact power flow, lies at "
        f"most {100 * max((abs(o.gap) for o in promised), default=0):.3f} % from it (limit 0.1 %).",
    ]
    for scenario in dict.fromkeys(o.scenario for o in outcomes if o.scenario not in promising):
        gap = max(o.gap for o in outcomes if o.scenario == scenario)
        text.append(f"In {scenario.name} no optimum is promised: plans cost up to {100 * gap:.1f} % more than it.")
    if agreed:
        reached = sum(outcome.converged for outcome in agreed)
        text.append(
            f"The households agreed on {reached} of {len(agreed)} plans, after {max(o.iterations for o in agreed)} "
            f"iterations at most, {'on a chain' if study.settings.chain != 'memory' else 'in memory'} with the "
            "integers that the contract adds up."
        )
    zero = all(outcome.payments_sum_to_zero for outcome in outcomes)
    text.append(
        "Buyer and seller state every trade alike, and all payments sum to zero on every day."
        if zero
        else "Not on every day do all payments sum to zero."
    )
    relaxed = [outcome.relaxation_gap for outcome in outcomes if outcome.scenario.has_network]
    if relaxed:
        text.append(
            f"Losses and voltages of G and TG are physical: the relaxation gap is at most {max(relaxed):.0e} p.u. "
            f"(limit 1e-05), and {CHECKS}, which shares no code with the optimisation, finds the voltages within "
            "the limits (0.1 % beyond is tolerated)."
            if not any(o for o in bad if o.scenario.has_network)
            else f"The relaxation gap of G and TG is at most {max(relaxed):.0e} p.u. (limit 1e-05)."
        )
    if bad:
        which: dict[str, list[str]] = {}
        for outcome in bad:
            for check in failed_checks(outcome):
                which.setdefault(check, []).append(f"{plain(outcome.day, 12)} {outcome.scenario.name}")
        failed = "; ".join(f"{check} ({', '.join(days)})" for check, days in which.items())
        text.append(f"Not every check held: {failed}; see the table of days.")
    else:
        text.append("Every check of every day held.")
    return text


def differences(study: Study, period: Period) -> list[str]:
    """Why the figures of a period are not those of the report, from the data; empty where there is no counterpart."""
    published = period.published
    base, unit = period.baseline, currency(study)
    if len(period.compared) < 2 or not base.used_kwh:
        return []
    sentences = [_order(period, published)]
    if Scenario.G in period.totals:
        sentences += [_bound(period, unit), _per_kwh(period, published, unit)]
    sentences.append(_sun(period))
    sentences.append(_peak(period, published))
    if Scenario.T in period.totals and Scenario.TG in period.totals:
        sentences.append(_trades(period, published))
        sentences.append(_consumers(period, published, unit))
    return [sentence for sentence in sentences if sentence]


def _order(period: Period, published: Mapping[Scenario, Published]) -> str:
    ours = sorted(period.compared, key=period.relative)
    theirs = sorted(period.compared, key=lambda scenario: published[scenario].total)
    names = [" < ".join(scenario.name for scenario in order) for order in (ours, theirs)]
    same = "the same order as in the report" if ours == theirs else f"in the report it is {names[1]}"
    sizes = ", ".join(
        f"{scenario.name} {100 * period.relative(scenario):.1f} % of B here, "
        f"{100 * published[scenario].total / published[Scenario.B].total:.1f} % there"
        for scenario in period.compared
        if scenario != Scenario.B
    )
    return f"By total costs {names[0]}: {same}. {sizes}."


def _bound(period: Period, unit: str) -> str:
    """How much of G's saving is surplus that finds a neighbour, and how much is flexibility."""
    fed_in = worth = 0.0
    for day in period.baseline.days:
        surplus = np.sum([home.schedule["feed_in_kw"] for home in day.households], axis=0)
        lack = np.sum([home.schedule["import_kw"] for home in day.households], axis=0)
        shared = np.minimum(surplus, lack)
        fed_in += day.energy_kwh(surplus)
        worth += day.energy_kwh(shared * (day.import_price - day.feed_in_price))
    saved = period.baseline.community.total - period.totals[Scenario.G].community.total
    base = period.baseline.community.total
    return (
        f"In B the households feed in {fed_in:,.0f} kWh while they import {period.baseline.import_kwh:,.0f} kWh. Where "
        f"one feeds in while another imports, sharing is worth {worth:,.2f} {unit} ({100 * worth / base:.1f} % of B's "
        f"cost); G saves {saved:,.2f} ({100 * saved / base:.1f} %), the rest by batteries and cars that follow the "
        "community instead of their own meter."
    )


def _per_kwh(period: Period, published: Mapping[Scenario, Published], unit: str) -> str:
    b, g = published[Scenario.B], published[Scenario.G]
    per_kwh, price = (b.total - g.total) / (b.import_kwh - g.import_kwh), b.total / b.import_kwh
    text = (
        f"In the report G imports {b.import_kwh - g.import_kwh:,.0f} kWh less than B and costs "
        f"{b.total - g.total:,.2f} EUR less: {per_kwh:.2f} EUR for every kWh not imported, while one cost "
        f"{price:.2f} EUR on average in B"
    )
    less = period.baseline.import_kwh - period.totals[Scenario.G].import_kwh
    when = False  # whether here too most is saved by when the community imports, not by how much
    if less > 1:
        saved = period.baseline.community.total - period.totals[Scenario.G].community.total
        ours = period.baseline.community.total / period.baseline.import_kwh
        text += f"; here it is {saved / less:.2f} {unit} against {ours:.2f}"
        when = saved / less > 1.5 * ours
    if when and per_kwh > 1.5 * price:
        text += ". In both more is saved by importing when it is cheap than by importing less"
    elif per_kwh > 1.5 * price:
        text += (
            ". So fewer imports alone do not explain the report's saving. Its equations (10a, b), as printed, mix the "
            "two ends of a line, which would give energy for nothing; whether its program did is not known"
        )
    return text + "."


def _sun(period: Period) -> str:
    base = period.baseline
    pv = 100 * base.pv_kwh / base.used_kwh
    homes = base.households
    prosumers = sum(home.is_prosumer for home in homes)
    batteries = sum(any("battery" in asset for asset in home.assets) for home in homes)
    cars = sum(any("car" in asset for asset in home.assets) for home in homes)
    return (
        f"These homes are others than the report's, whose data are not public: {prosumers} of {len(homes)} have PV, "
        f"{batteries} a battery, {cars} a car; in B the panels give {pv:.0f} % of the {base.used_kwh:,.0f} kWh used."
    )


def _peak(period: Period, published: Mapping[Scenario, Published]) -> str:
    base = period.baseline
    peak_price = np.concatenate([day.import_price[peak_steps(day)] for day in base.days])
    other_price = np.concatenate([day.import_price[~peak_steps(day)] for day in base.days])
    if not len(peak_price) or not len(other_price) or other_price.mean() <= 0:
        return ""
    cars = peak_cars = 0.0
    for day in base.days:
        charging = np.sum(
            [home.schedule.get("car_kw", np.zeros(len(day.start_times))) for home in day.households], axis=0
        )
        cars += day.energy_kwh(charging)
        peak_cars += day.energy_kwh(charging[peak_steps(day)])
    text = (
        f"{100 * base.peak_ratio:.0f} % of B's imports fall into peak hours (6 to 9 and 17 to 20 h) here, "
        f"{100 * published[Scenario.B].peak_ratio:.0f} % in the report. Here the price in these hours is "
        f"{change(float(peak_price.mean() / other_price.mean()) - 1, 'higher', 'lower')} than in the others"
    )
    if cars > 0:
        text += f", and already in B the cars take only {100 * peak_cars / cars:.0f} % of their energy in them"
    network = period.totals.get(Scenario.TG)
    if network is not None:
        theirs = published[Scenario.TG].peak_kwh / published[Scenario.B].peak_kwh - 1
        ours = network.peak_kwh / base.peak_kwh - 1 if base.peak_kwh else 0.0
        text += ", so that less is left to shift" if abs(ours) < abs(theirs) else ""
        text += f": in TG peak imports are {change(ours)}, in the report {change(theirs)}"
    return text + "."


def _trades(period: Period, published: Mapping[Scenario, Published]) -> str:
    t, tg = period.totals[Scenario.T], period.totals[Scenario.TG]
    share = t.traded_kwh / t.used_kwh
    text = (
        f"Neighbours trade {t.traded_kwh:,.0f} kWh in T and {tg.traded_kwh:,.0f} in TG, "
        f"{published[Scenario.T].exchange_kwh:,.0f} and {published[Scenario.TG].exchange_kwh:,.0f} in the report"
    )
    if share < WINTER_TRADE:
        text += f": {100 * share:.1f} % of what is used, so the scenarios hardly differ, as in the report's winter"
    elif abs(tg.traded_kwh / t.traded_kwh - 1) < 0.05:
        text += (
            ". Limits and losses change hardly anything about the trades here: trades are contracts, and what the grid "
            "asks for is a matter of when batteries and cars charge"
        )
    return text + "."


def _consumers(period: Period, published: Mapping[Scenario, Published], unit: str) -> str:
    base, tg = period.baseline, period.totals[Scenario.TG]
    if not base.consumers.total or not tg.transfers:
        return ""
    theirs = published[Scenario.TG].consumer_total / published[Scenario.B].consumer_total
    ours = tg.consumers.total / base.consumers.total
    text = (
        f"Consumers pay {100 * ours:.1f} % of B in TG, {100 * theirs:.1f} % in the report. "
        f"Of the {tg.transfers:,.2f} {unit} that neighbours pay each other, {tg.consumers.trade:,.2f} go from "
        "consumers to prosumers, net"
    )
    if theirs > 1 >= ours:
        text += (
            "; in the report they end above what they would pay alone. Here trade prices lie between feed-in and "
            "import, so that a trade saves both sides something"
        )
    return text + "."


def why(study: Study, period: Period, row: int) -> list[str]:
    """Why a household pays what it pays, in sentences."""
    before, after = period.baseline.households[row], period.totals[study.after].households[row]
    unit, scenario = currency(study), study.after
    saved = before.cost - after.cost
    verb = "paid" if before.cost >= 0 else "earned"
    text = [
        f"On its own it would have {verb} {abs(before.cost):,.2f} {unit}; in {scenario.name} it "
        f"{'pays' if after.cost >= 0 else 'earns'} {abs(after.cost):,.2f}: "
        + (f"{abs(saved):,.2f} {'better' if saved > 0 else 'worse'}." if abs(saved) > TOLERANCE else "the same.")
    ]
    if scenario.has_trades:
        text += _by_trades(before, after, unit)
    elif scenario == Scenario.G:
        text.append(
            f"The community pays one bill; its part follows from the price of its node: {after.import_kwh:,.1f} kWh "
            f"came in through its meter and {after.feed_in_kwh:,.1f} kWh went out."
        )
    return text


def _by_trades(before: HouseholdWeek, after: HouseholdWeek, unit: str) -> list[str]:
    text = []
    if after.bought_kwh >= 0.05:
        text.append(
            f"It bought {after.bought_kwh:,.1f} kWh from neighbours for {after.purchases:,.2f} {unit}; its supplier "
            f"would have asked {after.purchases_imported:,.2f}."
        )
    if after.sold_kwh >= 0.05:
        text.append(
            f"It sold {after.sold_kwh:,.1f} kWh to neighbours for {after.sales:,.2f} {unit}; feeding them in would "
            f"have earned {after.sales_fed_in:,.2f}."
        )
    if not text:
        text.append("It found no trade that would have paid for both sides.")
    if after.bought_kwh >= 0.05 and after.sold_kwh >= 0.05 and not after.assets:
        text.append("What it sold it had bought at the same time: it passed it on.")
    shifted = before.alone - after.alone
    if abs(shifted) > TOLERANCE:
        text.append(
            f"For the others it ran its devices otherwise than on its own, which without trades would "
            f"{'save' if shifted > 0 else 'cost'} it {abs(shifted):,.2f} {unit}."
        )
    losses = before.bill.losses - after.bill.losses
    if abs(losses) > TOLERANCE:
        text.append(f"Its part of the losses is {abs(losses):,.2f} {unit} {'smaller' if losses > 0 else 'larger'}.")
    return text


def left_out(period: Period) -> list[str]:
    """Days that do not count, and why."""
    return [f"{plain(day.day, 20)}, {day.scenario.name}: {plain(day.failure or '')}." for day in period.failures]


def change(fraction: float, more: str = "more", less: str = "less") -> str:
    """`3.2 % less`."""
    if abs(fraction) < 0.0005:
        return "as much"
    return f"{abs(100 * fraction):.1f} % {more if fraction > 0 else less}"


def count_hours(hours: float) -> str:
    return f"{hours:g} {'hour' if hours == 1 else 'hours'}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def currency(study: Study) -> str:
    return plain(study.community.currency, 8)


def _start(period: Period) -> str:
    return capital(_in(period))


def _in(period: Period) -> str:
    """`in the summer week`, `on day 1`, `from June to August`."""
    one = len(period.days) == 1
    if period.season:
        return f"{'on' if one else 'in'} the {period.name}"
    return f"{'on' if period.name.startswith('day ') else 'from'} {period.name}"  # a season of one day is one, too


def _gaps(study: Study) -> str:
    """After how many iterations the days that are traced stay near the optimum, which the contract does not know."""
    if not study.gaps:
        return ""
    near = [stays_below(list(gaps), REPORT_GAP) for gaps in study.gaps.values()]
    ends = [abs(float(gaps[-1])) for gaps in study.gaps.values()]
    days = list(dict.fromkeys(plain(day, 20) for day, _ in study.gaps))
    text = f" Of {' and '.join(days)} the gap to the optimum is shown as it would be if the round ended there: "
    text += (
        f"it stays within {100 * REPORT_GAP:g} % after {min(near)} to {max(near)} iterations"
        if all(near)
        else f"it does not stay within {100 * REPORT_GAP:g} % everywhere"
    )
    return f"{text}, and is at most {100 * max(ends):.3f} % where the contract ends the round."


def _figure(study: Study, number: str) -> str:
    """Which of the report's figures this is; nothing where the study is not set beside the report."""
    return f" The report's Figure {number}." if study.beside_report else ""


def captions(study: Study) -> dict[str, str]:
    """One sentence or two under each plot; by the name of the plot."""
    periods, after = study.counted, study.after
    first = periods[0].totals[after]
    iterations = [max(totals.iterations[1] for totals in period.totals.values()) for period in periods]
    by_period = "; ".join(
        f"{period.name}: {totals.traded_kwh:,.0f} kWh for {totals.transfers:,.2f} {currency(study)}, on average "
        f"{totals.transfers / totals.traded_kwh:.3f} a kWh"
        for period in periods
        if (totals := period.totals[after]).traded_kwh > 0
    )
    pays = [
        f"{scenario.name} {100 * period.relative(scenario):.1f} % of B ({period.name})"
        for period in periods
        for scenario in (after,)
    ]
    return {
        "day": (
            f"What all households used in {after.name} and where it came from, on the first day of each period "
            f"({plain(first.days[0].day, 20)}: {first.days[0].import_kwh:,.0f} kWh through the grid connection)."
            + _figure(study, "10a")
        ),
        "exchange": (
            "The same days in all scenarios: what came through the grid connection, what went back, what passed from "
            "meter to meter on the feeder, and what was traded by contract." + _figure(study, "13")
        ),
        "prices": (
            "Trades of less than 0.01 kWh a step have no mark."
            + (f" Traded in {after.name}: {by_period}." if by_period and after.has_trades else "")
            + _figure(study, "11")
        ),
        "convergence": (
            "A round ends when all residuals are below their limits; each line is a day. "
            f"At most {max(iterations)} iterations were needed"
            + (f"; the report's Figure 10b has {REPORT_ITERATIONS}." if study.beside_report else ".")
            + _gaps(study)
        ),
        "boxes": "What households pay over a period, without and with PV." + _figure(study, "12"),
        "households": f"What each household pays over a period; all together {', '.join(pays)}.",
        "savings": (
            f"How much each household saves on a day in {after.name}, over the days of a period: the box holds the "
            "middle half of the days, the whiskers nine in ten, the line is the median."
            + (" Each period has an axis of its own." if len(periods) == 2 else "")
        ),
        "trades": "Energy sold over a period, by contract; some pass on what they bought at the same time.",
        "network": (
            "Every step of a period, sorted: the lowest and the highest voltage on the feeder, and the most loaded "
            "line, by "
            + CHECKS
            + ". "
            + (
                "The feeder's data have limits for voltages, none for lines."
                if periods[0].baseline.loading is None
                else "No scenario looks after the ratings of lines; G and TG keep the voltages."
            )
        ),
        "fairness": (
            "What each household saves against its baseline, by the rule that shares the community's bill in G, and as "
            "traded in T and TG; figures with arrows lie beyond the axis."
        ),
    }
