"""Settling what was agreed: a deposit for what the household has to pay, and statements of its trades."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from gridpact.chain.encoding import encode_trades
from gridpact.chain.ledger import SettlingLedger, TradeLedger
from gridpact.chain.settlement import Opening
from gridpact.community.model import Array
from gridpact.errors import InsufficientFunds
from gridpact.node.memory import Memory
from gridpact.node.sending import Sending
from gridpact.problem.verification import peaks_paid, trades_charged
from gridpact.problem.view import NodeView


class Settling:
    """One household's side of the settlement.

    Args:
        deposit_max: what it may deposit at a time, currency; None: what it takes.
        supplied: whether its supplier is paid out of this deposit, too.
    """

    def __init__(
        self,
        view: NodeView,
        aggregator: SettlingLedger,
        settlement: TradeLedger,
        sending: Sending,
        deposit_max: float | None,
        supplied: bool = True,
    ) -> None:
        assert aggregator.account is not None
        self.view = view
        self._aggregator = aggregator
        self._settlement = settlement
        self._sending = sending
        self._deposit_max, self._supplied = deposit_max, supplied
        self._address = aggregator.account.address

    def settle(
        self, round_: int, memory: Memory, schedule: Mapping[str, Array]
    ) -> dict[int, list[tuple[int, int, int]]]:
        """States the agreed trades, after depositing what this household has to pay."""
        statements = memory.agent.trades.statements()
        encoded = {
            partner: encode_trades(entries)
            for partner, entries in statements.items()
            if not self._settlement.is_recorded(round_, self.view.node, partner)
        }
        if not encoded:
            return statements
        owed = self._supplier_bill(schedule) if self._supplied else 0
        for partner, trades in encoded.items():
            to_lower = self._settlement.payment(trades)
            owed += max(to_lower if self.view.node > partner else -to_lower, 0)
        address = self._address
        missing = owed + self._settlement.arrears(address) - self._settlement.free(address)
        if missing > 0:
            self._check_tokens(missing)
            amount = missing if self._supplied else self._with_more(missing)
            self._sending.send("settle", lambda: self._settlement.deposit(amount))
        # The lower node of a pair shows that the trades fit the bids.
        opened = {node for partner in encoded if partner > self.view.node for node in (partner, self.view.node)}
        openings = {node: self._opening(memory, node) for node in opened}
        self._sending.send("settle", lambda: self._settlement.state(round_, self.view.node, encoded, openings))
        return statements

    def _with_more(self, units: int) -> int:
        """Twice what is missing, as far as the account has it and may deposit it: the rest of a day is agreed anew, and
        each deposit costs as much as stating two pairs."""
        most = self._settlement.token.balance(self._address)
        if self._deposit_max is not None:
            most = min(most, int(self._deposit_max * 10.0 ** self._settlement.token.decimals()))
        return max(units, min(2 * units, most))

    def _check_tokens(self, units: int) -> None:
        """Raises InsufficientFunds where the account has not what it is to deposit, or may not deposit so much."""
        token, address = self._settlement.token, self._address
        unit, symbol = 10.0 ** token.decimals(), token.symbol()
        if self._deposit_max is not None and units > self._deposit_max * unit:
            raise InsufficientFunds(
                f"node {self.view.node} would have to deposit {units / unit:g} {symbol} for its trades and its "
                f"supplier, more than the {self._deposit_max:g} that it may: deposit it by hand (`gridpact deposit "
                "add`) if that is right"
            )
        if (short := units - token.balance(address)) > 0:
            raise InsufficientFunds(
                f"the account {address} of node {self.view.node} lacks {short / unit:g} {symbol} of the "
                f"{units / unit:g} {symbol} that it has to deposit for its trades and its supplier: send it "
                f"{short / unit:g} {symbol}"
            )

    def _supplier_bill(self, schedule: Mapping[str, Array]) -> int:
        """What the household expects to pay its supplier on delivery, token units."""
        prices = self.view.own_prices
        if "import_kw" not in schedule:
            return 0
        bought = prices.import_price @ schedule["import_kw"]
        sold = prices.feed_in_price @ schedule["feed_in_kw"]
        bill = float(self.view.step_hours * (bought - sold)) + self._fees(schedule)
        return max(math.ceil(bill * 10.0 ** self._settlement.token.decimals()), 0)

    def _fees(self, schedule: Mapping[str, Array]) -> float:
        """What the supplier collects with it for the grid operator, currency."""
        injection = schedule["injection_kw"]
        sold = injection - schedule["feed_in_kw"] + schedule["import_kw"]
        prices = self.view.own_prices
        fees = float(self.view.step_hours * trades_charged(prices, sold).sum())
        return fees if prices.monthly_peak else fees + float(peaks_paid(prices, injection[None], 0.0).sum())

    def _opening(self, memory: Memory, node: int) -> Opening:
        """What the contract's commitment to a node's last submission was made from."""
        last, before = memory.last[node]
        copies = self._aggregator.copies_of(last)
        opening = Opening.of(memory.books[node], last.bids, before, copies, last.residuals)
        if node == self.view.node:
            return opening
        return replace(opening, bids=opening.bids + memory.form.key(last.iteration, node))
