"""What the chain says of a day when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridpact.chain.day import SUPPLIER
from gridpact.chain.keys import address_of
from gridpact.chain.values import TradeRecord
from gridpact.community.model import GRID_CONNECTION
from gridpact.day.staging import StagedDay
from gridpact.day.values import PlayedDay
from gridpact.files import parse_json
from gridpact.problem.verification import peaks_paid
from gridpact.run.launch import NodeFiles
from gridpact.study.whatif.realised import paid_alone

AGAIN = ("negotiate", "bring again", "nominate again")
"""What households spend gas on in a re-agreement."""


@dataclass
class DayLog:
    """How a day goes, as far as the chain does not tell."""

    rounds: dict[int, int] = field(default_factory=dict)  # that were agreed, of each first step
    skipped: int = 0  # since less was expected to be otherwise than the threshold
    missing: int = 0  # readings
    relayed: int = 0  # gas of the relay until the day ahead was agreed


def played(stage: StagedDay, log: DayLog, files: Mapping[int, NodeFiles], wall_s: float) -> PlayedDay:
    """What came of a day that is over."""
    ledger, day, steps = stage.ledger, stage.day, stage.community.steps
    settled = tuple(ledger.settled_steps(day))
    members = tuple(sorted(stage.members()))
    by_member = {node: sum(step.payments[node] for step in settled) for node in members}
    accounts = {node: str(address_of(stage.keys[node])) for node in members}
    parties = [*(str(address_of(stage.keys[node])) for node in stage.homes), *stage.suppliers.addresses]
    held = sum(ledger.free(account) + ledger.locked(account) for account in parties)
    supplying = [SUPPLIER - number for number in range(len(stage.suppliers.addresses))]
    balances = sum(ledger.balance(day, party) for party in (*members, *supplying))
    besides = {
        node: ledger.free(accounts[node]) + ledger.locked(accounts[node]) - 2 * stage.lock - by_member[node]
        for node in members
    }
    conserved = (
        held == ledger.total_deposits() == ledger.token.balance(ledger.address)
        and all(sum(step.payments.values()) == 0 for step in settled)
        and sum(besides.values()) == 0
    )
    records = {first: stage.trades.recorded(round_) for first, round_ in log.rounds.items()}
    reports = _reports(files)
    gas = {node: Counter(report["gas"]) for node, report in reports.items()}
    rounds = len(log.rounds) - (0 in log.rounds)
    relayed = (stage.relayer.gas_used - log.relayed) / len(stage.keys) if stage.relayer is not None else 0.0
    again = [(relayed + sum(gas[node][what] for what in AGAIN)) / max(rounds, 1) for node in members if node in gas]
    positions = sum(ledger.position(day, node, step) != 0 for node in members for step in range(steps))
    for_trades, peak_fees = _received_for_trades(stage, members, records), _peak_fees(stage, members)
    elsewhere = {node: report["elsewhere"] for node, report in reports.items()}
    received = {node: for_trades[node] + (by_member[node] + besides[node]) / stage.units for node in members}
    calls = () if stage.caller is None else stage.caller.played(day)
    evens = stage.caller is None or stage.caller.is_even()
    for one in calls:
        received[one.call.node] += one.outcome.payment / stage.units
    alone = paid_alone(stage.community, stage.reality, stage.settings.model).tolist()
    return PlayedDay(
        community=stage.community,
        settings=stage.settings,
        members=members,
        positions=positions,
        re_agreements=rounds,
        skipped=log.skipped,
        iterations=tuple(stage.aggregator.outcome(round_).iterations for round_ in log.rounds.values()),
        nominations=ledger.nominations(day),
        pool_kwh=sum(step.pool_wh for step in settled) / 1000,
        imbalance_kwh=sum(step.imbalance_wh for step in settled) / 1000,
        options_exercised=ledger.products.count("OptionExercised"),
        spot_trades=ledger.products.count("SpotTaken"),
        forwards_settled=ledger.products.count("ForwardSettled"),
        missing_readings=log.missing,
        money_conserved=conserved and evens,
        all_locks_ended=balances == 0 and evens and all(ledger.locked(account) == 0 for account in parties),
        traded_kwh=_by_step(records.get(0, []), steps),
        changed_kwh=_by_step([one for first, many in records.items() if first for one in many], steps),
        steps=settled,
        paid_for_trades=for_trades,
        paid_by_day={node: amount / stage.units for node, amount in by_member.items()},
        paid_besides={node: amount / stage.units for node, amount in besides.items()},
        calls=calls,
        paid={node: None if (more := elsewhere.get(node)) is None else more - received[node] for node in members},
        paid_alone={node: round(paid, 6) for node, paid in zip(stage.homes, alone, strict=True) if node in members},
        peak_fees=peak_fees,
        supplier_received=sum(step.suppliers_received for step in settled) / stage.units,
        history={node: ledger.history(accounts[node]) for node in members},
        gas=sum(gas.values(), Counter()),
        gas_of_home=float(np.median(again)) if again else 0.0,
        wall_s=wall_s,
    )


def _received_for_trades(
    stage: StagedDay, members: Sequence[int], records: Mapping[int, Sequence[TradeRecord]]
) -> dict[int, float]:
    received = dict.fromkeys(members, 0)
    for many in records.values():
        for record in many:
            received[record.lower] += record.payment
            received[record.higher] -= record.payment
    return {node: amount / stage.units for node, amount in received.items()}


def _peak_fees(stage: StagedDay, members: Sequence[int]) -> dict[int, float]:
    """What the grid operator asks for by what meters have read."""
    community = stage.community
    fed_kw = np.zeros((len(members), community.steps))
    for (step, node), energy in stage.ledger.readings(stage.day).items():
        fed_kw[members.index(node), step] = energy / (1000 * community.step_hours)
    before = {home.node: home.peak_kw for home in community.households}
    paid = peaks_paid(community.prices, fed_kw, np.array([before[node] for node in members]))
    return dict(zip(members, paid.tolist(), strict=True))


def _reports(files: Mapping[int, NodeFiles]) -> dict[int, dict[str, Any]]:
    """What each household's process says of its day."""
    return {
        node: parse_json(item.report.read_text(encoding="utf-8"))
        for node, item in files.items()
        if node != GRID_CONNECTION and item.report.exists()
    }


def _by_step(records: Sequence[TradeRecord], steps: int) -> tuple[float, ...]:
    """Energy that was traded, kWh, by step."""
    total = [0.0] * steps
    for record in records:
        for trade in record.trades:
            total[trade.step] += abs(trade.energy_wh) / 1000
    return tuple(total)
