"""The page of `gridpact uncertainty`: every sentence and number is worked out from the draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gridpact.report.tables import Cell, safe_text
from gridpact.report.whatif import plots
from gridpact.report.whatif.common import (
    as_points,
    delivery_fields,
    share_text,
    start,
    trust,
    where,
)
from gridpact.report.whatif.page import Page, PageTable, Picture, number, percent_text
from gridpact.report.whatif.plots import RECOURSE_NAME
from gridpact.study.weeks.fairness import NODE_PRICES, TOLERANCE
from gridpact.study.weeks.store import to_fields
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.draws import Draw
from gridpact.study.whatif.realised import Side
from gridpact.study.whatif.rules import Rule, RuleFigures
from gridpact.study.whatif.uncertainty import Uncertainty, quantiles
from gridpact.text import plain, share


def uncertainty_page(outcome: Uncertainty) -> Page:
    """The page of a delivery under uncertainty."""
    days = [plan.community for plan in outcome.plans]
    settings = outcome.settings
    currency = plain(days[0].currency, 8)
    re_agreed = [rounds for drawn in outcome.re_agreed for rounds in drawn]
    return Page(
        kind="uncertainty",
        where=where(days, f"scenario {settings.scenario.name}, {settings.draws} draws, seed {settings.seed}"),
        headline=_uncertainty_headline(outcome, currency),
        answers=_uncertainty_answers(outcome, currency),
        tables=[
            _recourse_table(outcome, currency),
            _rules_table(outcome, currency),
            _household_table(outcome, currency),
            *([] if settings.scenario.has_contracts else [_sharing_table(outcome, currency)]),
            *([_losers_table(outcome, currency)] if outcome.sharings else []),
        ],
        pictures=[
            Picture(
                "savings",
                plots.savings(outcome),
                "What the community saves over B when both live through the same reality with the same recourse.",
            ),
            Picture(
                "households",
                plots.households(outcome),
                "The same for every household: what the plan promised, and what the draws left.",
            ),
            Picture(
                "exchange",
                plots.exchange(outcome),
                "What passes the grid connection: as planned, and as it turned out.",
            ),
            *_pictures_of_rules(outcome),
        ],
        method=_uncertainty_method(outcome, currency),
        checks_held=outcome.checks_held,
        fields={
            "case": days[0].name,
            "days": [day.day for day in days],
            "currency": days[0].currency,
            **delivery_fields(settings),
            "stores": "community" if settings.following else "home",
            "mean_load_error": outcome.load_error,
            "mean_pv_error": outcome.pv_error,
            "planned_cost": outcome.planned_cost,
            "baseline_cost": outcome.baseline_cost,
            "planned_saving": outcome.planned_saving,
            "rules": [to_fields(rule) for rule in outcome.rules],
            "curve": [to_fields(point) for point in outcome.curve],
            "sharings": [to_fields(figures) for figures in outcome.sharings],
            "re_agreement_iterations": [k for rounds in re_agreed for k in rounds.iterations],
            "re_agreements_not_reached": sum(rounds.kept for rounds in re_agreed),
            "re_agreement_rounds": list(_rounds_fields(outcome)) if Rule.REAGREED in settings.rules else [],
            "recourse": {recourse.value: _recourse_fields(outcome, recourse) for recourse in settings.recourses},
        },
        csv_files={
            "draws.csv": ("every draw of every day with every recourse", list(_draw_rows(outcome))),
            "households.csv": ("savings of every household", list(_household_rows(outcome))),
            "rules.csv": ("savings of every household by every rule", list(_rule_rows(outcome))),
        },
    )


def _pictures_of_rules(outcome: Uncertainty) -> Iterator[Picture]:
    if outcome.rules:
        yield Picture(
            "homes",
            plots.homes(outcome),
            "Who loses: the median of each household's saving, by how the day goes on and is settled.",
        )
    if Rule.REAGREED in outcome.settings.rules:
        yield Picture(
            "curve",
            plots.curve(outcome),
            "What is left of the plan's saving by how often the rest of the day is agreed anew, and by the gas that a "
            "household pays for that in a day, its transactions relayed.",
        )


def _recourse_fields(outcome: Uncertainty, recourse: Recourse) -> dict[str, Any]:
    savings = outcome.savings(recourse)

    def mean(of: Callable[[Draw], float]) -> float:
        return float(np.mean(outcome.over_days(recourse, of)))

    return {
        "saving_mean": float(np.mean(savings)),
        "saving_quantiles": {str(q): value for q, value in quantiles(savings).items()},
        "left_of_planned_median": _left(outcome, recourse),
        "saving_median_if_netted": float(np.median(outcome.savings_if_netted(recourse))),
        "draws_with_a_loss": float(np.mean(savings < 0)),
        "adder_mean": mean(lambda d: d.planned.adder),
        "deviation_kwh_mean": mean(lambda d: d.planned.deviation_kwh),
        "netted_kwh_mean": mean(lambda d: d.planned.netted_kwh),
        "public_kwh_mean": mean(lambda d: d.planned.public_kwh),
        "days_outside_voltage_limits": _outside(outcome, recourse, lambda d: d.planned),
        "days_outside_voltage_limits_baseline": _outside(outcome, recourse, lambda d: d.baseline),
    }


def _left(outcome: Uncertainty, recourse: Recourse) -> float | None:
    planned = outcome.planned_saving
    return share(float(np.median(outcome.savings(recourse))), planned) if planned > 0 else None


def _uncertainty_headline(outcome: Uncertainty, currency: str) -> str:
    recourse = outcome.settings.main_recourse
    median = float(np.median(outcome.savings(recourse)))
    if median < 0:
        return (
            f"A planned saving of {number(outcome.planned_saving)} {currency} becomes a loss of {number(-median)} when "
            "forecasts err (median)"
        )
    left = _left(outcome, recourse)
    part = f" ({percent_text(left, 0)})" if left is not None else ""
    return (
        f"Of a planned saving of {number(outcome.planned_saving)} {currency}, {number(median)}{part} is left when "
        "forecasts err (median)"
    )


def _uncertainty_answers(outcome: Uncertainty, currency: str) -> list[str]:
    sentences = []
    for recourse in outcome.settings.recourses:
        savings = outcome.savings(recourse)
        q = quantiles(savings)
        adder = float(np.mean(outcome.over_days(recourse, lambda d: d.planned.adder)))
        deviation = float(np.mean(outcome.over_days(recourse, lambda d: d.planned.deviation_kwh)))
        netted = float(np.mean(outcome.over_days(recourse, lambda d: d.planned.netted_kwh)))
        text = (
            f"{start(RECOURSE_NAME[recourse])}: median {number(q[0.5])} {currency}, 5 to 95 % of draws "
            f"{number(q[0.05])} to {number(q[0.95])}; {percent_text(float(np.mean(savings < 0)), 0)} of draws lose. "
            f"Households deviate by {number(deviation, 0)} kWh"
        )
        if outcome.settings.scenario.has_contracts:
            text += (
                f" and pay {number(adder)} {currency} of adders for it; if neighbours' deviations were netted first, "
                f"{number(netted, 0)} kWh would be left, and a median saving of "
                f"{number(float(np.median(outcome.savings_if_netted(recourse))))} {currency}."
            )
        else:
            text += (
                f", the community at the grid connection by {number(netted, 0)} kWh, for which it pays "
                f"{number(adder)} {currency} of adders."
            )
        sentences.append(text)
    return [*sentences, *trust(as_points("the plan", outcome.plans))]


def _recourse_table(outcome: Uncertainty, currency: str) -> PageTable:
    rows = []
    for recourse in outcome.settings.recourses:
        savings = outcome.savings(recourse)
        q = quantiles(savings)
        rows.append(
            [
                start(RECOURSE_NAME[recourse]),
                *(number(q[k]) for k in (0.05, 0.25, 0.5, 0.75, 0.95)),
                percent_text(_left(outcome, recourse), 0),
                percent_text(float(np.mean(savings < 0)), 0),
                number(float(np.mean(outcome.over_days(recourse, lambda d: d.planned.adder)))),
                number(float(np.mean(outcome.over_days(recourse, lambda d: d.planned.public_kwh))), 1),
                percent_text(_outside(outcome, recourse, lambda d: d.planned), 0),
                percent_text(_outside(outcome, recourse, lambda d: d.baseline), 0),
            ]
        )
    return PageTable(
        "What is left of the saving",
        [
            "Recourse", f"saving, {currency}: 5 %", "25 %", "median", "75 %", "95 %", "left of planned",
            "draws that lose", f"adders, {currency}", "public charging, kWh", "days outside voltage limits",
            "the same in B",
        ],
        rows,
        f"Planned: {number(outcome.planned_cost)} {currency} instead of {number(outcome.baseline_cost)}, a saving of "
        f"{number(outcome.planned_saving)}.",
    )  # fmt: skip


def _outside(outcome: Uncertainty, recourse: Recourse, side: Callable[[Draw], Side]) -> float:
    """The share of days and draws on which a voltage leaves its limits."""
    feeder = outcome.plans[0].community.feeder
    drawn = [side(d) for d in outcome.draws if d.recourse is recourse]
    return float(
        np.mean(
            [
                s.voltage_min_pu < feeder.voltage_min_pu - 1e-6 or s.voltage_max_pu > feeder.voltage_max_pu + 1e-6
                for s in drawn
            ]
        )
    )


RULE_NAME = {
    "today": "each pays the adder on its own deviation",
    "netted": "the adder on the community's net deviation",
    "pool": "the same, and what is over is shared after delivery{stores}",
    "reagreed": "the same, and the rest of the day agreed and nominated anew",
    "hindsight": "all had been known the day before",
}


def _rules_table(outcome: Uncertainty, currency: str) -> PageTable:
    settings = outcome.settings
    note = (
        f"On the same draws, {RECOURSE_NAME[settings.main_recourse]}. The pool's key is {settings.pool.key.value}, "
        f"its price {settings.pool.pricing.value}."
        if settings.scenario.has_contracts
        else "The community has one meter at its grid connection, which nets and pools by itself."
    )
    if Rule.REAGREED in settings.rules:
        note += "".join(_rounds_in_words(outcome, number) for number in settings.re_agreements)
    following = ", and stores follow the community's meter" if settings.following else ""
    rows = [
        [
            f"{_rule_name(rule)}: {RULE_NAME[rule.name].format(stores=following)}",
            number(rule.q05), number(rule.median), number(rule.q95),
            percent_text(rule.share_left, 0), f"{number(rule.worst_home_median)} ({rule.worst_home})",
            str(rule.losing_homes),
        ]
        for rule in outcome.rules
    ]  # fmt: skip
    return PageTable(
        "By how the day is settled",
        [
            "Rule", f"saving, {currency}: 5 %", "median", "95 %", "left of planned", "worst household, median",
            "households that lose",
        ],
        rows,
        note,
    )  # fmt: skip


def _losers_table(outcome: Uncertainty, currency: str) -> PageTable:
    return PageTable(
        "Who loses, by how a pool is paid and adders are borne",
        [
            "Rule", "pool's price", "adders borne by", "households whose median is a loss",
            f"lowest median, {currency}", "whose mean is", f"lowest mean, {currency}", "of all days of households",
        ],
        [
            [
                f"{one.rule} {one.re_agreements} times" if one.re_agreements else one.rule,
                one.pool_price, {"caused": "who causes them", "gained": "who gains"}[one.adders],
                str(one.losing_homes), number(one.worst_home_median),
                str(one.losing_homes_mean), number(one.worst_home_mean), percent_text(one.loses, 0),
            ]
            for one in outcome.sharings
        ],
        "Of the same deliveries: these move money between households only. Who gains pays less than its own meter's "
        "bill.",
    )  # fmt: skip


def _rule_name(rule: RuleFigures) -> str:
    return f"{rule.name} {rule.re_agreements} times" if rule.re_agreements else rule.name


def _rounds_in_words(outcome: Uncertainty, number: int | None) -> str:
    rounds = outcome.rounds(number)
    often = "before every step" if number is None else f"{number} a day"
    if not rounds.iterations:
        return f" Of re-agreements, {often}, none was reached."
    return (
        f" Re-agreements, {often}, take {int(np.median(rounds.iterations))} iterations in the median and "
        f"{max(rounds.iterations)} at most; {rounds.kept} were not reached, and what stood was kept."
    )


def _rounds_fields(outcome: Uncertainty) -> Iterator[dict[str, Any]]:
    """Of each number of re-agreements a day."""
    for often in outcome.settings.re_agreements:
        rounds = outcome.rounds(often)
        some = rounds.iterations or (0,)
        yield {
            "re_agreements": "every" if often is None else often,
            "reached": len(rounds.iterations),
            "kept": rounds.kept,
            "iterations_median": float(np.median(some)),
            "iterations_q90": float(np.quantile(some, 0.9)),
            "iterations_most": max(some),
        }


def _rule_rows(outcome: Uncertainty) -> Iterator[Sequence[Cell]]:
    yield ["rule", "re_agreements", "household", "saving_5", "saving_50", "saving_95", "draws_that_lose"]
    for rule in outcome.rules:
        for home, saved in rule.by_home.items():
            row = (saved.q05, saved.median, saved.q95, saved.loses)
            yield [rule.name, rule.re_agreements, safe_text(home), *row]


def _household_table(outcome: Uncertainty, currency: str) -> PageTable:
    recourse = outcome.settings.main_recourse
    drawn, planned = outcome.household_savings(recourse), outcome.planned_household_savings
    rows = []
    for row, home in enumerate(outcome.plans[0].community.households):
        low, middle, high = np.quantile(drawn[:, row], (0.05, 0.5, 0.95))
        rows.append(
            [
                home.name, number(float(planned[row])), number(float(low)), number(float(middle)), number(float(high)),
                percent_text(float(np.mean(drawn[:, row] < 0)), 0),
            ]
        )  # fmt: skip
    return PageTable(
        f"Each household's saving ({RECOURSE_NAME[recourse]})",
        ["Household", f"planned, {currency}", "5 %", "median", "95 %", "draws that lose"],
        rows,
    )


def _sharing_table(outcome: Uncertainty, currency: str) -> PageTable:
    """In G: who keeps what is left of the saving, by the rule that shares what the community pays."""
    recourse = outcome.settings.main_recourse
    prosumer = np.array([home.is_prosumer for home in outcome.plans[0].community.households], dtype=bool)
    rows = []
    for rule, saved in outcome.shared(recourse).items():
        middle = np.median(saved, axis=0)  # (n,)
        rows.append(
            [
                rule,
                number(float(np.median(saved[:, prosumer].sum(axis=1)))),
                number(float(np.median(saved[:, ~prosumer].sum(axis=1)))),
                number(float(middle.min())),
                number(float(middle.max())),
                f"{int((middle < -TOLERANCE).sum())} of {len(middle)}",
            ]
        )
    return PageTable(
        f"Who keeps what is left ({RECOURSE_NAME[recourse]})",
        [
            "Shared", f"prosumers, {currency}", f"consumers, {currency}", "least of a household", "most",
            "households that lose",
        ],
        rows,
        "Medians of the draws. Equal parts and the baseline share all that the community pays, public charging "
        "included; the baseline is what each pays in B in the same reality.",
    )  # fmt: skip


def _uncertainty_method(outcome: Uncertainty, currency: str) -> list[str]:
    settings = outcome.settings
    return [
        "The day of the case is the forecast, and the plan is made on it. A draw is a reality: every load and PV "
        "output is the forecast times an error that is right on average (relative standard deviation "
        f"{settings.model.load:g} for loads, {settings.model.pv:g} for PV, correlation {settings.model.correlation:g} "
        f"from hour to hour; {share_text(settings.model.common_sky)} of the PV error's variance is common to all). "
        f"Over all draws the mean error of a home and step is {percent_text(outcome.load_error, 0)} of the load and "
        f"{percent_text(outcome.pv_error, 0)} of the PV output.",
        *(
            [
                "Cars follow a Markov chain with a transition matrix for each step (at home, driving, elsewhere): they "
                f"leave and come home within {settings.model.departure_hours:g} h (standard deviation) of the ends of "
                f"their window, and make {settings.model.trips_a_day:g} short trips a day besides."
            ]
            if settings.model.cars
            else ["Cars are at home when they are expected."]
        ),
        *_settlement(outcome, currency),
        "What a household can do: with devices as planned, its battery does what was planned and its car charges as "
        "planned while it is there, and makes up for what it missed when it is back. With the rest of the day planned "
        "anew, it knows at every step its load, PV output and whether its car is there, takes the forecast for what "
        "follows (corrected by the error of now, which fades), and plans its own devices anew; nobody agrees on "
        "anything again, and nobody looks at the feeder. Hindsight plans with the whole day known.",
        "B lives through the same realities with the same recourse, but has told nobody a plan, so it pays no adder.",
    ]


def _settlement(outcome: Uncertainty, currency: str) -> list[str]:
    settings = outcome.settings
    elsewhere = (
        "What a car could not take in at home it takes at a public charger for "
        f"{settings.public_price_on(outcome.plans[0].community):.2f} {currency}/kWh. Losses are bought at the import "
        "price."
    )
    if settings.scenario.has_contracts:
        return [
            "Trades stand as agreed, with their payments. What the meter reads beyond them is settled with the "
            "supplier at its tariff; a kilowatt-hour of deviation from the plan costs "
            f"{settings.adder:g} {currency} besides, in either direction. {elsewhere}"
        ]
    return [
        "The community buys at the grid connection what is really needed there, losses included, at the supplier's "
        "tariff; a kilowatt-hour by which that differs from what the community planned to import costs "
        f"{settings.adder:g} {currency} besides, in either direction. What neighbours deviate in opposite directions "
        f"cancels. {elsewhere}",
        "To the community each household has promised the injection of its plan. It pays its part of the plan's bill, "
        "by the prices of the nodes; the import price for what it lacks of the promise, and gets the feed-in price for "
        "what it has beyond; its part of the community's adders by how much it deviates; and its car's public "
        "charging. Since neighbours' deviations cancel, that collects more than the community pays; what is over goes "
        "back by the energy that passed each meter. When a household plans anew it counts the adder for all of its own "
        "deviation, since it does not know what the others do.",
    ]


def _draw_rows(outcome: Uncertainty) -> Iterator[Sequence[Cell]]:
    yield [
        "day", "draw", "recourse", "cost_b", "cost", "saving", "adder", "public", "losses", "deviation_kwh",
        "netted_deviation_kwh", "public_kwh", "voltage_min_pu", "voltage_max_pu", "voltage_min_pu_b",
        "voltage_max_pu_b",
    ]  # fmt: skip
    for d in outcome.draws:
        yield _draw_cells(d)


def _draw_cells(d: Draw) -> list[Cell]:
    p, b = d.planned, d.baseline
    return [
        d.day, d.number, d.recourse.value, b.cost, p.cost, d.saving, p.adder, p.public, p.losses, p.deviation_kwh,
        p.netted_kwh, p.public_kwh, p.voltage_min_pu, p.voltage_max_pu, b.voltage_min_pu, b.voltage_max_pu,
    ]  # fmt: skip


def _household_rows(outcome: Uncertainty) -> Iterator[Sequence[Cell]]:
    """The sharing is how a household's part is found; only G has more than one."""
    yield ["household", "recourse", "sharing", "planned_saving", "saving_5", "saving_50", "saving_95", "saving_mean"]
    in_common = not outcome.settings.scenario.has_contracts
    for recourse in outcome.settings.recourses:
        by_rule = outcome.shared(recourse) if in_common else {"as traded": outcome.household_savings(recourse)}
        planned = outcome.planned_household_savings
        for rule, drawn in by_rule.items():
            for row, home in enumerate(outcome.plans[0].community.households):
                low, middle, high = (float(q) for q in np.quantile(drawn[:, row], (0.05, 0.5, 0.95)))
                promised = float(planned[row]) if rule in ("as traded", NODE_PRICES) else None
                mean = float(np.mean(drawn[:, row]))
                yield [safe_text(home.name), recourse.value, rule, promised, low, middle, high, mean]
