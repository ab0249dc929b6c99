"""The metering operator's side: what the readings of a delivered day come to on the chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.encoding import decode_fees, decode_tariff
from gridpact.chain.ledger import RoundLog
from gridpact.chain.settlement import Settlement
from gridpact.chain.values import Delivery, Phase, TradeRecord
from gridpact.community.doubts import ask
from gridpact.community.model import Array
from gridpact.errors import InputError
from gridpact.node.round_log import assembly_of, closing_of, resolution_of
from gridpact.problem.blocks import Kind

FAR, FAR_KWH = 3.0, 10.0
"""So many times what was planned for a day, and by so much more or less: more than weather and people do."""


@dataclass(frozen=True)
class Settled:
    """What a household's delivered day comes to. Token units are what it received; negative: paid, or owes."""

    delivery: Delivery
    traded_wh: tuple[int, ...]  # sold to neighbours (negative: bought), one a step
    from_neighbours: int

    @property
    def beyond_wh(self) -> tuple[int, ...]:
        """What the supplier bought (negative: sold), one a step."""
        return tuple(wh - traded for wh, traded in zip(self.delivery.energies_wh, self.traded_wh, strict=True))

    @property
    def net(self) -> int:
        """From neighbours and supplier together, token units."""
        return self.from_neighbours + self.delivery.payment


def settled(settlement: Settlement, round_: int) -> list[Settled]:
    """What the readings of a round that are settled came to, by node."""
    records = settlement.recorded(round_)
    return [_with_trades(one, records) for _, one in sorted(settlement.deliveries(round_).items())]


def to_settle(
    settlement: Settlement, round_: int, energies_wh: Mapping[int, Sequence[int]], accounts: Mapping[int, str]
) -> tuple[list[Settled], dict[int, str]]:
    """What readings of a round will come to, with the deposits of now.

    Args:
        energies_wh: as `read_meters` returns them.
        accounts: of the nodes in the round.

    Returns:
        What can be settled; and whose reading cannot yet, with the reason: a supplier keeps no other's customers
        waiting.

    Raises:
        InputError: none of them can be settled; it says why.
    """
    suppliers = settlement.suppliers_of(round_, energies_wh)
    left_out: dict[int, str] = {}
    for supplier, nodes in _by_supplier(suppliers).items():
        if settlement.published_tariff(round_, supplier) is None:
            why = f"its supplier {supplier} published no tariff for round {round_}"
            left_out |= dict.fromkeys(nodes, f"{why}: deliveries of it cannot be settled")
    settled = comes_to(settlement, round_, {node: wh for node, wh in energies_wh.items() if node not in left_out})
    due: Counter[str] = Counter()
    for one in settled:
        due[suppliers[one.delivery.node]] += max(one.delivery.payment, 0)
    covered = []
    for one in settled:
        node, pays = one.delivery.node, -one.delivery.payment
        arrears = max(pays - settlement.free(accounts[node]), 0)
        covered.append(replace(one, delivery=replace(one.delivery, arrears=arrears)))
        if pays < 0 and (lacks := _lacks(settlement, suppliers[node], due[suppliers[node]])):
            left_out[node] = lacks
        elif arrears and settlement.has_supplied(accounts[node]):
            more = _amount(settlement, arrears)
            left_out[node] = f"who supplies others owes nothing: let it deposit {more} more"
    if left_out.keys() == energies_wh.keys():
        node = min(left_out)
        raise InputError(f"The reading of node {node} cannot be settled: {left_out[node]}.")
    return [one for one in covered if one.delivery.node not in left_out], left_out


def _by_supplier(suppliers: Mapping[int, str]) -> dict[str, list[int]]:
    return {whom: [node for node in suppliers if suppliers[node] == whom] for whom in sorted(set(suppliers.values()))}


def _lacks(settlement: Settlement, supplier: str, due: int) -> str | None:
    """What a supplier's free deposit is short of, where it is below what it is to pay."""
    if (missing := due - settlement.free(supplier)) <= 0:
        return None
    has, more = _amount(settlement, due - missing), _amount(settlement, missing)
    return (
        f"the supplier {supplier} pays {_amount(settlement, due)} for what was fed in, and its free deposit is {has}:"
        f" let it deposit {more} more (`gridpact deposit add`)"
    )


def _amount(settlement: Settlement, units: int) -> str:
    return f"{units / 10.0 ** settlement.token.decimals():g} {settlement.token.symbol()}"


def comes_to(settlement: Settlement, round_: int, energies_wh: Mapping[int, Sequence[int]]) -> list[Settled]:
    """What readings of a round are worth by its trades and tariffs, by node, whoever has what to pay it.

    Raises:
        ChainError: the round has no tariff.
    """
    records, decimals = settlement.recorded(round_), settlement.token.decimals()
    tariffs = settlement.tariffs_of(round_, energies_wh)
    settled = []
    for node, energies in sorted(energies_wh.items()):
        unpaid = _with_trades(Delivery(round_, node, 0, 0, tuple(energies)), records)
        steps = zip(energies, unpaid.traded_wh, *decode_tariff(tariffs[node]), strict=True)
        value = sum(_value(*step) for step in steps)
        if (fees := decode_fees(tariffs[node])) is not None:
            value -= fees.of(energies, unpaid.traded_wh)
        payment = value * 10**decimals // 10**9  # a begun unit is the supplier's, as the contract has it
        settled.append(replace(unpaid, delivery=replace(unpaid.delivery, payment=payment)))
    return settled


def _value(read_wh: int, traded_wh: int, imported: int, fed_in: int) -> int:
    """What the supplier pays for a step beyond its trades, Wh times 1e-6 currency/kWh, as `ITradeSettlement` has it.

    Where feeding in earns more than drawing costs, readings and trades are priced apart.
    """

    def worth(wh: int) -> int:
        return wh * (fed_in if wh > 0 else imported)

    return worth(read_wh) - worth(traded_wh) if fed_in > imported else worth(read_wh - traded_wh)


def to_correct(
    aggregator: Aggregator, settlement: Settlement, round_: int, energies_wh: Mapping[int, Sequence[int]], account: str
) -> dict[int, Sequence[int]]:
    """Those of the readings that an account can correct: a household its own, a supplier its customers'.

    Raises:
        InputError: there is none of the account's, or its day is not settled yet.
    """
    suppliers = settlement.suppliers_of(round_, energies_wh)
    mine = {
        node: energies
        for node, energies in energies_wh.items()
        if account in (suppliers[node], aggregator.account_in(round_, node))
    }
    if not mine:
        raise InputError(
            f"The readings are of nodes {_listed(energies_wh)}, and {account} was none of them in round {round_}, and "
            "supplied none: a household corrects its own reading, a supplier its customers'."
        )
    done = settlement.deliveries(round_)
    if open_ := [node for node in sorted(mine) if node not in done]:
        raise InputError(
            f"The day of node {open_[0]} in round {round_} is not settled yet, so there is nothing to correct: settle "
            "its reading (`gridpact readings settle`)."
        )
    return {node: mine[node] for node in sorted(mine) if done[node].energies_wh != tuple(mine[node])}


def check_signs(rows: Iterable[Settled]) -> None:
    """What is settled is final, and a meter whose sign is turned moves the money of a whole day the wrong way.

    Raises:
        InputError: a household that sold drew power when it did, or one that bought fed in.
    """
    for one in rows:
        energies = one.delivery.energies_wh
        if sum(traded * wh for traded, wh in zip(one.traded_wh, energies, strict=True)) < 0:
            sold, fed_in = sum(one.traded_wh) / 1000, sum(energies) / 1000
            raise ask(
                "sign",
                f"node {one.delivery.node} {'sold' if sold > 0 else 'bought'} {abs(sold):,.3f} kWh in its trades, but "
                f"by its readings it {'fed in' if fed_in > 0 else 'drew'} {abs(fed_in):,.3f} kWh, mostly the other way "
                "when it traded: is the sign of its readings turned?",
            )


def planned_wh(aggregator: RoundLog, round_: int) -> dict[int, Array]:
    """What the households of a round agreed to feed into the grid, Wh by node (negative: to draw), (T,) each.

    Returns:
        Nothing where nothing was agreed, or no plan is public: no network was counted, or the round is sealed.

    Raises:
        ChainError: the chain does not tell the round (any longer).
    """
    outcome, declared = aggregator.outcome(round_), assembly_of(aggregator, round_)
    if outcome.phase is not Phase.CONVERGED or declared is None or aggregator.sealed:
        return {}
    assembly, _ = declared
    last = closing_of(assembly, aggregator.iteration(round_, outcome.iterations), frozenset())
    wh = 1000 * resolution_of(aggregator).power_kw * aggregator.setting().step_seconds / 3600
    towards_root = {
        block.node: wh * total / assembly.count(block, last.present)
        for block, total in last.sums.items()
        if block.kind is Kind.P and assembly.count(block, last.present) == 2
    }
    return {
        node: power - sum(towards_root[child.node] for child in assembly.blocks(node) if child.node in towards_root
                          and child.kind is Kind.P and child.node != node)
        for node, power in towards_root.items()
    }  # fmt: skip


def check_plan(
    energies_wh: Mapping[int, Sequence[int]], plans_wh: Mapping[int, Array], accepted: Collection[str] = ()
) -> None:
    """What is settled is final, and readings that are no such readings often have little to do with the plan.

    Args:
        plans_wh: as `planned_wh` returns them, of all or some nodes.

    Raises:
        InputError: what went through a meter is a multiple or a fraction of the plan, or mostly the opposite of it.
    """
    for node in sorted(energies_wh.keys() & plans_wh.keys()):
        read, plan = np.array(energies_wh[node]) / 1000, plans_wh[node] / 1000
        moved, planned = np.abs(read).sum(), np.abs(plan).sum()
        if "size" not in accepted and abs(moved - planned) > FAR_KWH and not planned < FAR * moved < FAR**2 * planned:
            raise ask(
                "size",
                f"{moved:,.3f} kWh went through the meter of node {node}, and {planned:,.3f} kWh were planned: are its"
                " readings in the right unit, and what was counted in each step?",
            )
        if "sign" not in accepted and read @ plan < 0 and np.abs(read + plan).sum() < np.abs(read - plan).sum() / FAR:
            raise ask(
                "sign",
                f"the readings of node {node} are the opposite of its plan ({read.sum():,.3f} kWh fed in, planned were"
                f" {plan.sum():,.3f}): is their sign turned?",
            )


def _with_trades(delivery: Delivery, records: Sequence[TradeRecord]) -> Settled:
    node, traded, received = delivery.node, [0] * len(delivery.energies_wh), 0
    for record in records:
        if node in (record.lower, record.higher):
            sign = 1 if node == record.lower else -1
            received += sign * record.payment
            for trade in record.trades:
                traded[trade.step] += sign * trade.energy_wh
    return Settled(delivery, tuple(traded), received)


def round_of(aggregator: Aggregator, day: date, number: int | None = None) -> int:
    """The round that was about a day, once it has ended.

    Args:
        number: which one, where there are several.

    Raises:
        InputError: there is none, there are several, it is of another day, or it still runs.
    """
    label, days = int(day.strftime("%Y%m%d")), aggregator.days()
    of_day = [round_ for round_, labelled in days.items() if labelled == label]
    if number is None:
        if not of_day:
            raise InputError(f"No round was opened for {day}: check --day, `gridpact round status` shows the newest.")
        if len(of_day) > 1:
            raise InputError(
                f"The rounds {_listed(of_day)} were opened for {day}: say by --round which of them was delivered."
            )
        (number,) = of_day
    elif number not in of_day:
        raise InputError(f"Round {number} was not opened for {day}: check --round and --day.")
    if not aggregator.outcome(number).phase.is_final:
        raise InputError(f"Round {number} of {day} still runs: its readings can be settled once it has ended.")
    return number


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def still_to_settle(
    aggregator: Aggregator, settlement: Settlement, round_: int, energies_wh: Mapping[int, Sequence[int]]
) -> tuple[dict[int, str], list[int]]:
    """Which of the readings are to be settled.

    Returns:
        The accounts of the nodes whose readings are not settled yet; the households of the round that have neither a
        reading nor a settled one.

    Raises:
        InputError: a node was not in the round, or its reading is settled with other energies.
    """
    done = settlement.deliveries(round_)
    households = (aggregator.enrolled() | energies_wh.keys() | done.keys()) - {0}
    accounts = aggregator.accounts_in(round_, households)
    for node in sorted(energies_wh):
        if node not in accounts:
            raise InputError(
                f"Node {node} was not in round {round_}, in which were {_listed(accounts) or 'none'}: take it out of"
                " the file, its supplier settles its day without the chain."
            )
        if node in done and done[node].energies_wh != tuple(energies_wh[node]):
            raise InputError(
                f"The day of node {node} in round {round_} is settled with other readings"
                f" ({sum(done[node].energies_wh) / 1000:,.3f} kWh fed in, not {sum(energies_wh[node]) / 1000:,.3f}):"
                " take it out of the file, or let household and supplier correct it (`gridpact readings correct`)."
            )
    todo = {node: accounts[node] for node in sorted(energies_wh) if node not in done}
    return todo, sorted(accounts.keys() - energies_wh.keys() - done.keys())
