"""A run as tables: `result.json` for what it came to, CSV files for all that was planned, traded and paid.

Numbers carry at most nine digits after the point. An empty cell is a quantity that does not exist there: the
charge of a household without a battery, the import of a household in G, which has no contract of its own.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array
from gridpact.community.street import PhaseFeeder
from gridpact.devices.device import numbered
from gridpact.devices.registry import COLUMNS, DEVICES
from gridpact.outcome.day import homes_of
from gridpact.outcome.indicators import Indicators
from gridpact.outcome.outcome import Outcome
from gridpact.report.folder import MARKER, publish
from gridpact.text import chain_text

CSV_FILES = {
    "schedules.csv": "what every household does at every step: load, PV, devices, trades, supply",
    "trades.csv": "every recorded trade: who, when, how much, at what price",
    "prices.csv": "import, feed-in and trade prices of every step",
    "voltages.csv": "voltages and currents of the independent power flow",
    "residuals.csv": "residuals of every iteration",
    "bills.csv": "what every household pays to whom",
}
"""The CSV files and what is in them."""

Cell = float | int | str | None


TOLERATED = 1e-3
"""What limits may be broken by, p.u. and parts of a rating, as in the check of voltages."""


def write_tables(result: Outcome, folder: Path) -> Path:
    """Writes `result.json` and the CSV files into a folder; all of them appear at once.

    Raises:
        InputError: see `publish`.
    """
    publish(folder, lambda staging: put_tables(result, staging))
    return folder


def put_tables(result: Outcome, folder: Path) -> None:
    """Writes the tables into a folder that exists and is nobody's yet."""
    for name, table in (
        ("schedules.csv", schedules(result)),
        ("trades.csv", trades(result)),
        ("prices.csv", prices(result)),
        ("voltages.csv", voltages(result)),
        ("residuals.csv", residuals(result)),
        ("bills.csv", bills(result)),
    ):
        (folder / name).write_text(csv_text(table), encoding="utf-8", newline="")
    text = json.dumps(result_fields(result), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MARKER).write_text(text + "\n", encoding="utf-8")


def result_fields(result: Outcome) -> dict[str, Any]:
    """The fields of `result.json`: plain numbers, texts and truths; null where there is no number."""
    community, voltage, cost = result.community, result.flow.voltage_pu, result.cost
    fields: dict[str, Any] = {
        "case": community.name,
        "day": community.day,
        "scenario": result.scenario.value,
        "network_agreement": result.agreement.value if result.scenario.has_network else None,
        "chain": chain_text(result.chain),
        "households": len(result.households),
        "steps": community.steps,
        "step_hours": community.step_hours,
        "currency": community.currency,
        "converged": result.converged,
        "iterations": result.iterations,
        "cost": cost.paid,
        "cost_supply": cost.supply,
        "cost_losses": cost.losses_paid,
        "cost_fees": cost.fees,
        "cost_alone": result.paid_alone,
        "saved": result.saved,
        "centralised_cost": result.optimum.paid,
        "cost_trading": cost.coefficients,
        "cost_wear": sum(home.wear for home in Indicators(result).households),
        "value_left": sum(home.left for home in Indicators(result).households),
        "objective": cost.objective,
        "centralised_objective": result.optimum.objective,
        "implemented_gap": Indicators(result).implemented_gap,
        "relaxation_gap": result.relaxation_gap,
        "voltage_min_pu": voltage.min(),
        "voltage_max_pu": voltage.max(),
        "voltage_ok": result.voltage_ok,
        **_by_phase(result),
        "losses_kwh": Indicators(result).energy_kwh(result.flow.losses_kw),
        "trades": len(result.trades),
        "traded_pairs": result.traded_pairs,
        "traded_kwh": result.traded_kwh,
        "paid_total": result.paid_total,
        "settlement_sum_zero": result.payments_sum_to_zero,
        **_ledger_fields(result),
    }
    return {key: plain_fields(value) for key, value in fields.items()}


def _ledger_fields(result: Outcome) -> dict[str, Any]:
    """What there is only where there was a chain."""
    if (ledger := result.ledger) is None:
        return {}
    return {
        "relayed": ledger.relayed,
        "sealed": ledger.sealed,
        "gas_total": ledger.gas_total,
        "gas_by_step": ledger.gas_by_step,
        "gas_by_node": ledger.gas_by_node,
        "gas_per_household_iteration": result.gas_per_household_iteration,
        "transactions": ledger.transactions,
        "transferred": ledger.transferred,
        "supplier_received": ledger.supplier_received,
        "wall_s": ledger.wall_s,
        "solve_s": ledger.solve_s,
        "chain_s": ledger.chain_s,
    }


def schedules(result: Outcome) -> Iterable[Sequence[Cell]]:
    """household x step: what each does, and what its trades leave to its supplier."""
    indicators, community = Indicators(result), result.community
    planned = _columns_of_devices(result)
    yield (
        "household", "node", "step", "time", "load_kw", "pv_kw", *planned, "injection_kw", "injection_kvar", "sold_kw",
        "bought_kw", "import_kw", "feed_in_kw",
    )  # fmt: skip
    sold, bought = _traded_kw(result)
    for row, (home, outcome) in enumerate(zip(community.households, result.households, strict=True)):
        for step, time in enumerate(community.start_times):
            supply = indicators.supply_kw[row, step] if result.scenario.has_contracts else None
            yield (
                safe_text(home.name), home.node, step, time, home.load_kw[step], home.pv_kw[step],
                *(outcome.schedule[name][step] if name in outcome.schedule else None for name in planned),
                outcome.schedule["injection_kw"][step], outcome.schedule["injection_kvar"][step],
                sold[row, step], bought[row, step],
                None if supply is None else max(supply, 0.0), None if supply is None else max(-supply, 0.0),
            )  # fmt: skip


def _columns_of_devices(result: Outcome) -> list[str]:
    """Those of the usual devices, of others that somebody has, and of further ones of a kind, numbered."""
    there = {name for home in result.households for name in home.schedule}
    usual = {column.name for device in DEVICES if device.usual or not device.varied for column in device.columns}
    most = max((len(home.devices) for home in result.community.households), default=0)
    names = [numbered(column, k) for column in COLUMNS for k in range(1, most + 1)]
    return [name for name in names if name in there or name in usual]


def trades(result: Outcome) -> Iterable[Sequence[Cell]]:
    """One row a recorded trade: a pair at a step."""
    indicators = Indicators(result)
    yield "seller", "buyer", "step", "time", "energy_kwh", "price_per_kwh", "amount"
    for trade in sorted(result.trades, key=lambda trade: (trade.step, trade.seller, trade.buyer)):
        yield (
            safe_text(indicators.name(trade.seller)), safe_text(indicators.name(trade.buyer)), trade.step,
            indicators.clock(trade.step), trade.energy_kwh, trade.price_per_kwh,
            trade.energy_kwh * trade.price_per_kwh,
        )  # fmt: skip


def prices(result: Outcome) -> Iterable[Sequence[Cell]]:
    """One row a step; the mean of the trade prices is weighted by energy."""
    community = result.community
    by_step = {prices.step: prices for prices in Indicators(result).trade_prices}
    yield (
        "step", "time", "import_price", "feed_in_price", "trade_price_mean", "trade_price_median",
        "trade_price_min", "trade_price_max", "traded_kwh",
    )  # fmt: skip
    for step, time in enumerate(community.start_times):
        own: tuple[Cell, ...] = (
            step,
            time,
            community.prices.import_price[step],
            community.prices.feed_in_price[step],
        )
        if (p := by_step.get(step)) is None:
            yield (*own, None, None, None, None, 0)
        else:
            yield (*own, p.mean, p.median, p.low, p.high, p.energy_kwh)


def voltages(result: Outcome) -> Iterable[Sequence[Cell]]:
    """node x step, from the independent power flow; the line is the one from the node to its parent."""
    indicators, community = Indicators(result), result.community
    feeder = community.feeder
    if isinstance(feeder, PhaseFeeder):
        yield from _street_voltages(result, feeder)
        return
    yield "household", "node", "parent", "step", "time", "voltage_pu", "voltage_v", "line_current_a"
    for row, line in enumerate(feeder.lines):
        for step, time in enumerate(community.start_times):
            voltage = result.flow.voltage_pu[row, step]
            yield (
                safe_text(indicators.name(line.node)), line.node, line.parent, step, time, voltage,
                voltage * community.feeder.nominal_voltage_v, result.flow.current_a[row, step],
            )  # fmt: skip


def _by_phase(result: Outcome) -> dict[str, Any]:
    """What the power flow with four wires found of a street; of a balanced feeder, where the phases are alike, the
    same from its own; ratings that nobody gave have no loading."""
    feeder, flow = result.community.feeder, result.flow
    voltage, lines = flow.voltage_pu, flow.line_loading(feeder)
    unbalance, neutral, transformer = 0.0, None, None
    if flow.by_phase is not None:
        voltage, unbalance = flow.by_phase.voltage_pu, float(flow.by_phase.unbalance.max(initial=0.0))
        neutral, transformer = _most(flow.by_phase.neutral_loading), _most(flow.by_phase.transformer_loading)
    outside = (voltage < feeder.voltage_min_pu - TOLERATED) | (voltage > feeder.voltage_max_pu + TOLERATED)
    beyond = outside.any(axis=0) | (np.nan_to_num(lines).max(axis=0, initial=0.0) > 1 + TOLERATED)
    if flow.by_phase is not None:
        beyond |= np.nan_to_num(flow.by_phase.neutral_loading).max(axis=0, initial=0.0) > 1 + TOLERATED
        beyond |= np.nan_to_num(flow.by_phase.transformer_loading) > 1 + TOLERATED
    return {
        "phase_voltage_min_pu": float(voltage.min()),
        "phase_voltage_max_pu": float(voltage.max()),
        "unbalance_max": unbalance,
        "line_loading_max": _most(lines),
        "neutral_loading_max": neutral,
        "transformer_loading_max": transformer,
        "limits_held": not beyond.any(),
        "steps_outside": int(beyond.sum()),
    }


def _most(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else None


def _street_voltages(result: Outcome, feeder: PhaseFeeder) -> Iterable[Sequence[Cell]]:
    """home, phase x step, between phase and neutral."""
    indicators, community, flow = Indicators(result), result.community, result.flow.by_phase
    assert flow is not None
    yield "household", "node", "bus", "phase", "step", "time", "voltage_pu", "voltage_v"
    row = 0
    for node, at in zip(feeder.nodes, feeder.connections, strict=True):
        for phase in at.phases:
            for step, time in enumerate(community.start_times):
                voltage = flow.voltage_pu[row, step]
                name = safe_text(indicators.name(node))
                yield name, node, safe_text(at.bus), phase + 1, step, time, voltage, voltage * feeder.phase_voltage_v
            row += 1


def residuals(result: Outcome) -> Iterable[Sequence[Cell]]:
    """One row an iteration; RMS per coupled scalar, W (see `Convergence`)."""
    yield "iteration", "primal_grid_w", "dual_grid_w", "primal_trade_w", "dual_trade_w"
    if (convergence := result.convergence) is None:
        return
    for k in range(result.iterations):
        yield (k + 1, *(curve[k] if k < len(curve) else None for curve in convergence.curves))


def bills(result: Outcome) -> Iterable[Sequence[Cell]]:
    """One row a household: what it pays, and gets where it is negative, to whom; `wear` and `left` are in no sum."""
    yield (
        "household", "node", "supplier", "energy", "grid_fee", "tax", "trade_fee", "peak_fee", "neighbours", "losses",
        "total", "wear", "left",
    )  # fmt: skip
    for home in homes_of(result):
        energy = home.import_cost - home.grid_cost - home.tax_cost
        yield (
            safe_text(home.name), home.node, safe_text(home.supplier), energy, home.grid_cost,
            home.tax_cost, home.trade_fee, home.peak_fee, home.trade_cost, home.loss_cost, home.cost, home.wear_cost,
            home.left_value,
        )  # fmt: skip


def _traded_kw(result: Outcome) -> tuple[Array, Array]:
    """Power sold and bought by each household, shape (n, T); some sell on in the step in which they buy."""
    row = {household.node: k for k, household in enumerate(result.community.households)}
    sold, bought = np.zeros((2, len(row), result.community.steps))
    for trade in result.trades:
        sold[row[trade.seller], trade.step] += trade.energy_kwh / result.community.step_hours
        bought[row[trade.buyer], trade.step] += trade.energy_kwh / result.community.step_hours
    return sold, bought


def csv_text(rows: Iterable[Sequence[Cell]]) -> str:
    """Rows as CSV, numbers with at most nine digits after the point."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, (str, int)):
        return str(value)
    if not math.isfinite(value):
        return ""
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def safe_text(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name


def plain_fields(value: Any) -> Any:
    """What JSON knows: no numpy types, no NaN, no infinity."""
    if isinstance(value, dict):
        return {str(key): plain_fields(entry) for key, entry in value.items()}
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
