"""A household's account with the settlement contract: what it has, what its rounds came to, and what is still open."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gridpact.chain.encoding import TariffFees, decode_fees
from gridpact.chain.values import Balance, Delivery, Phase, Stated, TradeRecord
from gridpact.errors import ContractError
from gridpact.text import plain

if TYPE_CHECKING:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.settlement import Settlement


@dataclass(frozen=True)
class PairTrades:
    """The recorded trades of the household with one partner in one round."""

    partner: int
    sold_wh: int
    bought_wh: int
    mean_price_micro: float | None  # 1e-6 currency/kWh, weighted by energy; None where no energy was traded
    received: int  # token units; negative: paid

    @staticmethod
    def of(record: TradeRecord, node: int) -> PairTrades:
        is_lower = record.lower == node
        sold = sum(abs(t.energy_wh) for t in record.trades if (t.energy_wh > 0) == is_lower)
        total = sum(abs(t.energy_wh) for t in record.trades)
        value = sum(abs(t.energy_wh) * t.price_micro for t in record.trades)
        return PairTrades(
            partner=record.higher if is_lower else record.lower,
            sold_wh=sold,
            bought_wh=total - sold,
            mean_price_micro=value / total if total else None,
            received=record.payment if is_lower else -record.payment,
        )


@dataclass(frozen=True)
class OpenPair:
    """Trades that one side or both have stated, but not alike."""

    own: Stated
    theirs: Stated
    delivered: bool  # the household's reading is settled: too late to record

    @property
    def reason(self) -> str:
        """Why it is not recorded, and what may still happen."""
        partner = self.own.partner
        if self.delivered:
            return "can no longer be recorded: the delivery is settled"
        if not self.own.statement:
            return f"node {partner} has stated, this household has not"
        if not self.theirs.statement:
            return f"node {partner} has not stated yet"
        return f"node {partner} states other numbers"


@dataclass(frozen=True)
class FeesCollected:
    """What the supplier collects with a delivery for the grid operator, token units. What is on each kWh that it
    delivers is in its price."""

    trades: int = 0  # on what neighbours have sold the household
    peak: int = 0  # on the most that it has drawn in a step

    @staticmethod
    def of(
        fees: TariffFees | None, delivery: Delivery | None, records: Sequence[TradeRecord], unit: int
    ) -> FeesCollected:
        """
        Args:
            fees: of the tariff by which it is settled.
            records: of the household.
            unit: token units in a unit of currency.
        """
        if fees is None or delivery is None:
            return FeesCollected()
        traded = [0] * len(delivery.energies_wh)
        for record in records:
            for trade in record.trades:
                traded[trade.step] += trade.energy_wh if record.lower == delivery.node else -trade.energy_wh
        trades, peak = fees.on_trades(traded), fees.on_peak(delivery.energies_wh)
        return FeesCollected(round(trades * unit / 1e9), round(peak * unit / 1e9))


@dataclass(frozen=True)
class RoundAccount:
    """What one round came to for the household."""

    round: int
    node: int
    phase: Phase  # NONE while it runs
    trades: Sequence[PairTrades]
    open_pairs: Sequence[OpenPair]
    delivery: Delivery | None
    net: int  # token units received, from neighbours and the supplier; negative: paid or owed
    fees: FeesCollected = FeesCollected()  # in the delivery's payment


@dataclass(frozen=True)
class HouseholdAccount:
    """All of an account. Amounts are in token units; 10^decimals of them are one `symbol`."""

    address: str
    symbol: str
    decimals: int
    balance: Balance
    rounds: Sequence[RoundAccount]  # newest first

    def amount(self, units: int) -> Decimal:
        """Token units in currency, exactly."""
        return Decimal(units).scaleb(-self.decimals)


def read_account(aggregator: Aggregator, settlement: Settlement, address: str, rounds: int) -> HouseholdAccount:
    """Reads an account from the chain, with those of the newest `rounds` rounds in which it declared."""
    newest = aggregator.progress().round
    entries = [
        _read_round(aggregator, settlement, number, node)
        for number in range(newest, max(newest - rounds, 0), -1)
        if (node := _node_in(aggregator, number, address)) is not None
    ]
    token = settlement.token
    return HouseholdAccount(address, token.symbol(), token.decimals(), settlement.balance(address), entries)


def _node_in(aggregator: Aggregator, round_: int, address: str) -> int | None:
    try:
        return aggregator.node_in(round_, address)
    except ContractError as error:
        if error.name == "NotEnrolled":
            return None
        raise


def _read_round(aggregator: Aggregator, settlement: Settlement, round_: int, node: int) -> RoundAccount:
    records = [record for record in settlement.recorded(round_) if node in (record.lower, record.higher)]
    delivery = settlement.delivery(round_, node)
    trades = sorted((PairTrades.of(record, node) for record in records), key=lambda pair: pair.partner)
    open_pairs = [OpenPair(own, theirs, delivery is not None) for own, theirs in settlement.unrecorded(round_, node)]
    phase = aggregator.outcome(round_).phase
    fees = None if delivery is None else decode_fees(settlement.tariffs_of(round_, [node])[node])
    collected = FeesCollected.of(fees, delivery, records, 10 ** settlement.token.decimals())
    net = settlement.net_payment(round_, node)
    return RoundAccount(round_, node, phase, trades, open_pairs, delivery, net, collected)


# ---------------------------------------------------------------------- for the terminal


def account_table(account: HouseholdAccount, now: float) -> str:
    """The account as plain text. `now` is the chain's time, unix."""
    balance, unit = account.balance, plain(account.symbol, 8)

    def amount(units: int) -> str:
        return f"{account.amount(units):,.{account.decimals}f} {unit}"

    blocks = [
        [f"Account {account.address}"],
        _aligned(
            [
                ("  Free", amount(balance.free), "can be withdrawn"),
                ("  Locked", amount(balance.locked), "by statements that are not recorded yet"),
                ("  In arrears", amount(balance.arrears), "owed to the supplier, paid from what comes in"),
                ("  Outside", amount(balance.outside), "not deposited"),
            ]
        ),
    ]
    if not account.rounds:
        blocks.append(["It declared in none of the rounds that were looked at."])
    for item in account.rounds:
        blocks.append([f"Round {item.round}, node {item.node}: {_PHASES[item.phase]}"])
        if item.trades:
            head = ("  with", "sold kWh", "bought kWh", f"mean {unit}/kWh", "received", "")
            rows = [
                (
                    f"  node {pair.partner}",
                    f"{pair.sold_wh / 1000:,.3f}",
                    f"{pair.bought_wh / 1000:,.3f}",
                    "-" if pair.mean_price_micro is None else f"{pair.mean_price_micro / 1e6:.4f}",
                    amount(pair.received),
                    "",
                )
                for pair in item.trades
            ]
            blocks.append(_aligned([head, *rows]))
        if item.open_pairs:
            reasons = [pair.reason + _lock(pair.own, amount, now) for pair in item.open_pairs]
            names = [f"  node {pair.own.partner}" for pair in item.open_pairs]
            blocks.append(["  Not recorded:", *_aligned(list(zip(names, reasons, strict=True)))])
        if item.phase.is_final:
            told = [*_delivery(item.delivery, amount), *_fees(item.fees, amount), ("  Net", amount(item.net), "")]
            blocks.append(_aligned(told))
    return "\n\n".join("\n".join(lines) for lines in blocks)


_PHASES = {
    Phase.NONE: "running",
    Phase.CONVERGED: "agreed",
    Phase.EXHAUSTED: "ended without agreement",
    Phase.ABANDONED: "abandoned",
}


def _delivery(delivery: Delivery | None, amount: Any) -> list[tuple[str, str, str]]:
    if delivery is None:
        return [("  Delivery", "not settled", "")]
    fed_in = sum(energy for energy in delivery.energies_wh if energy > 0)
    drawn = sum(-energy for energy in delivery.energies_wh if energy < 0)
    meter = f"meter: {fed_in / 1000:,.3f} kWh fed in, {drawn / 1000:,.3f} kWh drawn"
    owed = f"; {amount(delivery.arrears)} of it could not be paid then" if delivery.arrears else ""
    return [("  Delivery", amount(delivery.payment), meter + owed)]


def _fees(fees: FeesCollected, amount: Any) -> list[tuple[str, str, str]]:
    """Where there are any; what is on each kWh from the supplier is in its price."""
    told = [("    of it a fee on trades", fees.trades), ("    of it a fee on the peak", fees.peak)]
    return [(what, amount(-units), "to the grid operator, by the supplier") for what, units in told if units]


def _lock(own: Stated, amount: Any, now: float) -> str:
    if not own.locked:
        return ""
    when = "now" if now > own.deadline else time.strftime("after %Y-%m-%d %H:%M:%S UTC", time.gmtime(own.deadline))
    return f"; {amount(own.locked)} locked: freed by the record, by a new statement, or by a release {when}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as columns: the first is text, figures follow, and the last is a remark."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        for cell, width in zip(row[1:-1], widths[1:-1], strict=True):
            cells.append(cell.rjust(width))
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines


# ---------------------------------------------------------------------- for programs


def account_json(account: HouseholdAccount) -> dict[str, Any]:
    """The account as plain data. Amounts are decimal strings in currency, energies Wh, times unix."""

    def amount(units: int) -> str:
        return f"{account.amount(units):.{account.decimals}f}"

    return {
        "address": account.address,
        "currency": account.symbol,
        "free": amount(account.balance.free),
        "locked": amount(account.balance.locked),
        "arrears": amount(account.balance.arrears),
        "outside": amount(account.balance.outside),
        "rounds": [
            {
                "round": item.round,
                "node": item.node,
                "phase": item.phase.name.lower(),
                "trades": [
                    {
                        "partner": pair.partner,
                        "sold_wh": pair.sold_wh,
                        "bought_wh": pair.bought_wh,
                        "mean_price": None if pair.mean_price_micro is None else pair.mean_price_micro / 1e6,
                        "received": amount(pair.received),
                    }
                    for pair in item.trades
                ],
                "not_recorded": [
                    {
                        "partner": pair.own.partner,
                        "reason": pair.reason,
                        "locked": amount(pair.own.locked),
                        "deadline": pair.own.deadline or None,
                    }
                    for pair in item.open_pairs
                ],
                "delivery": None
                if item.delivery is None
                else {
                    "received": amount(item.delivery.payment),
                    "arrears": amount(item.delivery.arrears),
                    "trade_fee": amount(item.fees.trades),
                    "peak_fee": amount(item.fees.peak),
                    "energies_wh": list(item.delivery.energies_wh),
                },
                "net": amount(item.net),
            }
            for item in account.rounds
        ],
    }
