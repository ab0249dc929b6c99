"""The page of a day on the chain: what each layer moved, and who was paid for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridpact.day.values import PlayedDay
from gridpact.report.drawing import BLUE, INK, ORANGE, SKY, VERMILION, Figure, styled
from gridpact.report.plots import WIDTH, time_axis
from gridpact.report.tables import Cell
from gridpact.report.whatif.page import Page, PageTable, Picture, number
from gridpact.text import plain

MOST_LETTERS = 90
"""Of all households' names side by side below a picture; more stand upright."""


def day_page(day: PlayedDay) -> Page:
    """Its pictures, tables and words."""
    community, settings = day.community, day.settings
    currency = plain(community.currency, 8)
    return Page(
        kind="result",
        where=f"{community.name}, {community.day}, {settings.scenario.value}, on {settings.chain}",
        headline=(
            f"{len(day.members)} households went through {community.steps} steps: agreed the day before, agreed anew "
            f"{day.re_agreements} times, delivered, and paid to the last unit"
        ),
        answers=_answers(day, currency),
        tables=(_step_table(day, currency), _home_table(day, currency), *_call_table(day, currency)),
        pictures=(
            Picture("layers", layers(day), "What each layer moved, step by step"),
            Picture("money", money(day), f"What each household received for what, {currency}"),
        ),
        method=(
            "Each household is a process of its own with its key; what happens behind its meter is drawn around the "
            f"forecast (seed {settings.seed}), and only its own process knows it.",
            "Rounds about the rest of the day change positions; nominations follow them until a step's gate closes.",
            "After each step what was read is matched in the pool, the supplier buys and sells the rest, and the adder "
            "is due on what all together deviate from what they nominated.",
            *(_CALLED if day.settings.calls else ()),
        ),
        checks_held=day.money_conserved and day.all_locks_ended,
        fields=day.fields,
        csv_files={
            "steps.csv": ("every step", _csv(day.fields["steps"])),
            "households.csv": ("what each household received", _csv(day.fields["households"])),
            **({"calls.csv": ("every step that was called for", _call_rows(day))} if day.calls else {}),
        },
    )


_CALLED = (
    "Before the gate of a step the aggregator calls who opted in to it; who is called plans the rest of its day anew, "
    "and nominates that. What its meter reads otherwise than its baseline, which is what it had told by then that its "
    "meter would read, is paid up to what was asked for, and fined where it is more than the tolerance away from that.",
)


def _answers(day: PlayedDay, currency: str) -> Sequence[str]:
    iterations = ", ".join(map(str, day.iterations))
    late = ", ".join(map(str, day.plain_customers))
    return (
        *_against_alone(day, currency),
        *((f"Too late to join, and so their supplier's plain customers that day: nodes {late}.",) if late else ()),
        f"Rounds took {iterations} iterations; {day.positions} positions stood at their gates, after {day.nominations} "
        "nominations.",
        f"{day.pool_kwh:.1f} kWh passed in the pool, the community deviated by {day.imbalance_kwh:.1f} kWh from what "
        f"it had nominated, and the supplier received {day.supplier_received:.2f} {currency}.",
        f"Spot trades: {day.spot_trades}, options exercised: {day.options_exercised}, forwards settled: "
        f"{day.forwards_settled}; {day.missing_readings} readings were missing.",
        *_on_calls(day, currency),
        "No unit was lost or made." if day.money_conserved else "UNITS WERE LOST OR MADE.",
        *_peaks(day, currency),
        "Every lock ended." if day.all_locks_ended else "SOMETHING IS STILL LOCKED.",
    )


def _against_alone(day: PlayedDay, currency: str) -> Sequence[str]:
    """What agreeing was worth on the day as it came, for those that were heard until its end."""
    pairs = [(paid, day.paid_alone[node]) for node, paid in day.paid.items() if paid is not None]
    if not pairs:
        return ()
    paid, alone = (sum(side) for side in zip(*pairs, strict=True))
    less = sum(here < there for here, there in pairs)
    return (
        f"For the day as it came the households pay {paid:.2f} {currency}, and would have paid {alone:.2f} each on its "
        f"own; {less} of {len(pairs)} pay less than that.",
    )


def _on_calls(day: PlayedDay, currency: str) -> Sequence[str]:
    if not day.settings.calls:
        return ()
    if not day.calls:
        return ("The aggregator could call nobody.",)
    steps = [step for one in day.calls for step in one.steps]
    asked = sum(abs(step.asked_wh) for step in steps) / 1000
    delivered = sum(one.outcome.delivered_wh for one in day.calls) / 1000
    otherwise = sum(one.outcome.otherwise_wh for one in day.calls) / 1000
    paid = sum(day.paid_for_calls(node) for node in day.members)
    return (
        f"The aggregator called for {asked:.2f} kWh in {len(steps)} steps: {delivered:.2f} kWh were delivered, "
        f"{otherwise:.2f} kWh were otherwise than called, and it paid {paid:.2f} {currency} for that.",
    )


def _peaks(day: PlayedDay, currency: str) -> Sequence[str]:
    if not day.community.prices.peak_fee:
        return ()
    asked = f"{sum(day.peak_fees.values()):.2f} {currency}"
    return (
        f"Of what was paid to suppliers, {asked} are for peaks, as meters have read them; households.csv has each "
        "one's.",
    )


def _csv(rows: object) -> list[list[Cell]]:
    assert isinstance(rows, list)
    return [list(rows[0]), *(list(row.values()) for row in rows)] if rows else []


def _step_table(day: PlayedDay, currency: str) -> PageTable:
    rows = [
        (
            day.community.start_times[step.step],
            number(day.traded_kwh[step.step]),
            number(day.changed_kwh[step.step]),
            number(step.pool_wh / 1000),
            number(step.pool_price / 1e6, 3) if step.pool_wh else number(None),
            number(step.deviation_wh / 1000),
            number(step.suppliers_received / 1e6),
        )
        for step in day.steps
    ]
    header = (
        "from", "agreed the day before, kWh", "changed since, kWh", "pool, kWh", f"its price, {currency}/kWh",
        "deviation of all, kWh", f"suppliers received, {currency}",
    )  # fmt: skip
    return PageTable("Steps", header, rows)


def _call_table(day: PlayedDay, currency: str) -> Sequence[PageTable]:
    if not day.calls:
        return ()
    names, times = _names(day), day.community.start_times
    rows = [
        (
            names[one.call.node],
            one.device,
            ", ".join(times[step.step] for step in one.steps),
            *(
                ", ".join("-" if wh is None else f"{wh / 1000:.2f}" for wh in energies)
                for energies in (
                    [step.baseline_wh for step in one.steps],
                    [step.asked_wh for step in one.steps],
                    [step.moved_wh for step in one.steps],
                )
            ),
            number(one.outcome.delivered_wh / 1000),
            number(one.outcome.payment / 1e6),
        )
        for one in day.calls
    ]
    header = (
        "household", "with its", "steps from", "baseline, kWh", "asked for, kWh", "moved, kWh", "paid for, kWh",
        f"received, {currency}",
    )  # fmt: skip
    words = (
        "What an aggregator called for. Energies are fed in, below zero drawn: the baseline, what was asked otherwise "
        "than it, and what was read otherwise."
    )
    return (PageTable("Calls", header, rows, words),)


def _call_rows(day: PlayedDay) -> list[list[Cell]]:
    rows: list[list[Cell]] = [["node", "device", "step", "baseline_kwh", "asked_kwh", "read_kwh"]]
    for one in day.calls:
        for step in one.steps:
            read = None if step.read_wh is None else step.read_wh / 1000
            rows.append([one.call.node, one.device, step.step, step.baseline_wh / 1000, step.asked_wh / 1000, read])
    return rows


def _home_table(day: PlayedDay, currency: str) -> PageTable:
    names = _names(day)
    rows = [
        (
            names[node],
            number(day.paid[node]),
            number(day.paid_alone[node]),
            number(day.paid_for_trades[node]),
            number(day.paid_besides[node]),
            number(day.paid_by_day[node]),
            f"{day.history[node][1]} of {day.history[node][0]}",
        )
        for node in day.members
    ]
    header = (
        "household", f"pays, {currency}", f"alone, {currency}", f"trades, {currency}",
        f"spot, option, forward, {currency}", f"pool, supplier, fees and adder, {currency}", "positions delivered",
    )  # fmt: skip
    words = (
        "What it pays in all, with what its cars took in elsewhere, beside what it would have paid on the same day "
        "alone; then what it received, by what for. Below zero it paid."
    )
    return PageTable("Households", header, rows, words)


def _names(day: PlayedDay) -> Mapping[int, str]:
    return {home.node: plain(home.name, 18) for home in day.community.households}


@styled
def layers(day: PlayedDay) -> Figure:
    """Energy by layer and step."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    at = np.array([step.step for step in day.steps]) + 0.5
    width = 0.28
    pool = [step.pool_wh / 1000 for step in day.steps]
    for shift, values, colour, label in (
        (-width, day.traded_kwh, BLUE, "agreed the day before"),
        (0.0, day.changed_kwh, SKY, "changed by agreeing anew"),
        (width, pool, ORANGE, "matched in the pool"),
    ):
        upper.bar(at + shift, values, width, color=colour, label=label)
    upper.set_ylabel("Between neighbours\n(kWh)")
    upper.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    lower.bar(at, [step.deviation_wh / 1000 for step in day.steps], 0.6, color=VERMILION)
    lower.axhline(0, color=INK, linewidth=0.6)
    lower.set_ylabel("Deviation from what\nwas nominated (kWh)")
    time_axis(lower, day.community)
    return figure


@styled
def money(day: PlayedDay) -> Figure:
    """What each household received, by what for."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(day.members))
    below, above = np.zeros(len(at)), np.zeros(len(at))
    parts: Sequence[tuple[str, Mapping[int, float], str]] = (
        ("trades", day.paid_for_trades, BLUE),
        ("spot, option, forward", day.paid_besides, SKY),
        ("pool, supplier and adder", day.paid_by_day, ORANGE),
        *((("calls", {node: day.paid_for_calls(node) for node in day.members}, VERMILION),) if day.calls else ()),
    )
    for label, received, colour in parts:
        values = np.array([received[node] for node in day.members])
        base = np.where(values < 0, below, above)
        axes.bar(at, values, 0.7, bottom=base, color=colour, label=label)
        below, above = below + np.minimum(values, 0), above + np.maximum(values, 0)
    axes.axhline(0, color=INK, linewidth=0.6)
    names = [_names(day)[node] for node in day.members]
    upright = sum(map(len, names)) > MOST_LETTERS
    axes.set_xticks(at, names, rotation=90 if upright else 0)
    axes.set_ylabel(f"Received ({plain(day.community.currency, 8)})")
    axes.legend(frameon=False, ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 1))
    return figure
