"""The contract `TradeSettlement`, typed: statements, recorded trades and deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any, TypeVar

from eth_account import Account
from web3 import Web3
from web3.types import EventData, TxReceipt

from gridpact.chain.account import ChainAccount, ContractCall
from gridpact.chain.commitments import words_hash
from gridpact.chain.contract import arguments_of, checked_address, in_time
from gridpact.chain.deposits import Deposits
from gridpact.chain.encoding import decode_energies, decode_trades, encode_energies, positions_of
from gridpact.chain.interface import Interface
from gridpact.chain.keys import address_of
from gridpact.chain.logs import LogReader, Openings
from gridpact.chain.record import Record
from gridpact.chain.reverts import readable
from gridpact.chain.values import (
    Balance,
    Delivery,
    Residuals,
    SignedReading,
    Stated,
    TradeRecord,
    pack_residuals,
)
from gridpact.errors import ChainError, Reorganised

STATED_A_CALL = 16
"""So many pairs are stated in one transaction, some 2.1 million gas with 24 steps. An opening grows with all bids of
its node; with the most homes and steps it was not measured."""

ALL = 255
"""The partner of who trades with all at once, in a market."""

Settling = TypeVar("Settling", bound="Settlement")

LAST_ROUND = 2**24 - 1
"""The highest number that a round of product 0 can have."""

RECORD_GAS = 60_000
"""What a statement may cost more than an estimate, because the partner has stated the same since: it records."""

READING = [
    {"name": "round", "type": "uint32"},
    {"name": "node", "type": "uint8"},
    {"name": "energies", "type": "bytes"},
]
"""The EIP-712 type of a reading."""


def sign_reading(
    key: str, chain_id: int, settlement: str, round: int, node: int, energies_wh: Sequence[int]
) -> SignedReading:
    """Signs a reading for one settlement contract on one chain. No request.

    Args:
        key: of the metering account.
        energies_wh: see `encode_energies`.
    """
    address_of(key)  # a key that is none is said so
    made = Account.sign_typed_data(
        key,
        {"name": "gridpact settlement", "version": "1", "chainId": chain_id, "verifyingContract": settlement},
        {"Reading": READING},
        {"round": round, "node": node, "energies": encode_energies(energies_wh)},
    )
    vs = made.s | (made.v - 27) << 255
    return SignedReading(round, node, tuple(energies_wh), made.r.to_bytes(32, "big"), vs.to_bytes(32, "big"))


@dataclass(frozen=True)
class Opening:
    """What the aggregator's commitment to a node's last submission of a round was made from."""

    book: bytes = b""
    bids: bytes = b""
    before: bytes = bytes(32)  # the commitment before that submission
    copies: bytes = bytes(32)  # hash of the packed copies
    residuals: int = 0  # packed

    @staticmethod
    def of(book: bytes, bids: bytes, before: bytes, copies: Sequence[int], residuals: Residuals) -> Opening:
        """Opens a submission; `copies` in words."""
        return Opening(book, bids, before, words_hash(copies), pack_residuals(residuals))


class Settlement(Deposits):
    """The settlement contract at an address. `account` is needed to send."""

    _openings: Openings | None = None

    @classmethod
    def of(cls: type[Settling], record: Record, web3: Web3, account: ChainAccount | None = None) -> Settling:
        """The settlement contract of a deployment."""
        made = cls.at(record.settlement, record.settlement_abi, record, web3, account)
        (opened,) = Interface(record.aggregator_abi).topics(["RoundOpened"])
        made._openings = Openings(LogReader(web3), record.aggregator, opened, record.block)
        return made

    def _of_round(self, name: str, round: int, **indexed: int) -> list[Mapping[str, Any]]:
        """What events of a round say, in the chain's order; a tariff may be older than its round."""
        lowest = None if self._openings is None else partial(self._openings.before, round)
        return [arguments_of(event) for event in self._events(name, lowest, round=round, **indexed)]

    # ------------------------------------------------------------------ household

    def state(
        self, round: int, node: int, statements: Mapping[int, bytes], openings: Mapping[int, Opening]
    ) -> TxReceipt:
        """States the trades of a converged round, in as many transactions as it takes.

        Args:
            node: the caller's.
            statements: encoded by `encode_trades`, by partner; an empty one takes back what was stated.
            openings: of partners with a higher number, and then of the caller: the lower node of a pair shows that
                the trades fit the last bids.

        Returns:
            the receipt of the last transaction.
        """
        closed = Opening()
        parts = [
            (partner, trades, astuple(openings.get(partner, closed) if partner > node else closed))
            for partner, trades in sorted(statements.items())
        ]
        own = astuple(openings.get(node, closed))
        for first in range(0, max(len(parts), 1), STATED_A_CALL):
            some = parts[first : first + STATED_A_CALL]
            receipt = self._send("state", round, some, own, spare=RECORD_GAS * len(some), afresh=True)
        return receipt

    def release(self, round: int, partner: int) -> TxReceipt:
        """Frees what was locked for a pair that was not recorded in time."""
        return self._send("release", round, partner)

    def limit_debit(self, most: int) -> TxReceipt:
        """The most that a delivery may take from the account, token units; 0: no limit. In the round in which nodes
        declare, where this one has said nothing in it yet, and in those opened from now on."""
        return self._send("limitDebit", most)

    def correct(self, round: int, node: int, energies_wh: Sequence[int]) -> TxReceipt:
        """Another reading for one that was delivered: it counts once household and supplier have both sent the same."""
        return self._send("correct", *self._correction(round, node, energies_wh))

    def correction_call(self, round: int, node: int, energies_wh: Sequence[int]) -> ContractCall:
        """What `correct` sends."""
        return self.call("correct", *self._correction(round, node, energies_wh))

    def _correction(self, round: int, node: int, energies_wh: Sequence[int]) -> tuple[Any, ...]:
        records, tariff = self.recorded(round), self.tariffs_of(round, [node])[node]
        return round, node, encode_energies(energies_wh), tariff, positions_of(node, records)

    # ------------------------------------------------------------------ supplier and metering

    def forgive(self, address: str, amount: int) -> TxReceipt:
        """Ends arrears of an account, as far as there are any: only the supplier may whom it owes them."""
        return self._send("forgive", checked_address(address), amount)

    def publish_tariff(self, round: int, tariff: bytes) -> TxReceipt:
        """A supplier's prices for a round, see `encode_tariff`: before the first node declares."""
        return self._send("publishTariff", round, tariff)

    def admit_supplier(self, address: str) -> TxReceipt:
        """Lets an account supply others: only the metering account may."""
        return self._send("admitSupplier", checked_address(address))

    def dismiss_supplier(self, address: str) -> TxReceipt:
        """Ends that in rounds that are opened from now on: only the manager and the metering account may."""
        return self._send("dismissSupplier", checked_address(address))

    def dismiss_customer(self, address: str) -> TxReceipt:
        """A supplier supplies a customer no longer, in rounds that are opened from now on."""
        return self._send("dismissCustomer", checked_address(address))

    def wish_supplier(self, address: str) -> TxReceipt:
        """Asks to be a supplier's customer."""
        return self._send("wishSupplier", checked_address(address))

    def supply(self, address: str) -> TxReceipt:
        """A supplier accepts an account that wished it, in rounds that are opened from now on."""
        return self._send("supply", checked_address(address))

    def vouch_call(
        self, round: int, lower: int, statements: Mapping[int, bytes], openings: Mapping[int, Opening]
    ) -> ContractCall:
        """Records pairs that agreed, and of which not both state it: only the metering account's word counts.

        Args:
            lower: the lower node of the pairs.
            statements: what was agreed, encoded by `encode_trades`, by higher node.
            openings: of all these nodes.
        """
        parts = [(higher, trades, astuple(openings[higher])) for higher, trades in sorted(statements.items())]
        own = astuple(openings[lower])
        if not self._has_suppliers:
            return self.call("vouch", round, lower, parts, own, self.tariff(round))
        suppliers = sorted(set(self.suppliers_of(round, [lower, *statements]).values()))
        return self.call("vouch", round, lower, parts, own, [(who, self.tariff(round, who)) for who in suppliers])

    def sign_reading(self, key: str, round: int, node: int, energies_wh: Sequence[int]) -> SignedReading:
        """Signs a reading for this contract with the metering account's key."""
        with readable("its chain id"):
            chain_id = int(self.web3.eth.chain_id)
        return sign_reading(key, chain_id, self.address, round, node, energies_wh)

    def deliver(self, round: int, node: int, energies_wh: Sequence[int], metering_key: str) -> TxReceipt:
        """Signs a reading and delivers it, where the supplier meters too."""
        return self.deliver_reading(self.sign_reading(metering_key, round, node, energies_wh))

    def deliver_reading(self, reading: SignedReading) -> TxReceipt:
        """Settles a household's delivery of a finished round with the supplier; anybody may."""
        (receipt,) = self.deliver_readings([reading])
        return receipt

    def deliver_readings(self, readings: Sequence[SignedReading]) -> list[TxReceipt]:
        """The same for readings of one round: all transactions first, then all receipts."""
        return self.send_all(self.delivery_calls(readings))

    def delivery_calls(self, readings: Sequence[SignedReading]) -> list[ContractCall]:
        """What `deliver_readings` sends. Records and tariffs of the round are looked up once."""
        if not readings:
            return []
        round = readings[0].round
        records, tariffs = self.recorded(round), self.tariffs_of(round, [reading.node for reading in readings])
        return [self._delivery(reading, records, tariffs[reading.node]) for reading in readings]

    def _delivery(self, reading: SignedReading, records: Sequence[TradeRecord], tariff: bytes) -> ContractCall:
        return self._beyond(reading, positions_of(reading.node, records), tariff)

    def _beyond(self, reading: SignedReading, positions: list[tuple[int, bytes]], tariff: bytes) -> ContractCall:
        energies = encode_energies(reading.energies_wh)
        return self.call("deliver", reading.round, reading.node, energies, tariff, positions, reading.r, reading.vs)

    # ------------------------------------------------------------------ views

    def supplier(self) -> str:
        """The account that buys and sells what is beyond the trades, for all who have no other supplier."""
        return str(self._read("supplier"))

    @property
    def _has_suppliers(self) -> bool:
        """Whether accounts can have other suppliers: not where the contract is older than they."""
        return "supplierIn" in self.interface.functions

    def supplier_in(self, round: int, address: str) -> str:
        """Whose customer an account is in a round."""
        if not self._has_suppliers:
            return self.supplier()
        return str(self._read("supplierIn", round, checked_address(address)))

    def supplies(self, address: str, round: int = LAST_ROUND) -> bool:
        """Whether an account may supply others in a round; by default in rounds to come."""
        if "supplies" in self.interface.functions:
            return bool(self._read("supplies", round, checked_address(address)))
        return self._creditor_of(address) == checked_address(address)

    def has_supplied(self, address: str) -> bool:
        """Whether an account may supply others, or once might: it owes nothing."""
        return self.supplies(address) or checked_address(address) in self.admitted()

    def debts(self, address: str) -> dict[str, int]:
        """What an account owes whom, token units, in the order in which they are paid."""
        address = checked_address(address)
        if "creditorsOf" in self.interface.functions:
            return {str(whom): int(self._read("owed", address, whom)) for whom in self._read("creditorsOf", address)}
        return {self._creditor_of(address): owed} if (owed := self.arrears(address)) else {}

    def _creditor_of(self, address: str) -> str:
        """Whom an account owes all, or a supplier itself, where the contract is older than debts to several."""
        return str(self._read("creditorOf", checked_address(address))) if self._has_suppliers else self.supplier()

    def metering(self) -> str:
        """The account that signs meter readings."""
        return str(self._read("metering"))

    def arrears(self, address: str) -> int:
        """What the account owes suppliers, token units."""
        return int(self._read("arrears", address))

    def balance(self, address: str) -> Balance:
        """All that an account has."""
        address = checked_address(address)
        return Balance(self.free(address), self.locked(address), self.arrears(address), self.token.balance(address))

    def settled_in(self, day: int, product: int = 0) -> int:
        """The round of a product that settles a day (yyyymmdd); 0 before its first record or delivery."""
        return int(self._read("settledInOf", product, day) if product else self._read("settledIn", day))

    def debit_limit(self, address: str, round: int = LAST_ROUND) -> int:
        """What a delivery of a round takes from an account at most, token units; 0 where it has no limit. By default in
        rounds to come."""
        return int(self._read("debitLimit", round, checked_address(address)))

    def is_recorded(self, round: int, one: int, other: int) -> bool:
        """Whether the trades of a pair are recorded."""
        return any(self._read("recorded", round, one, other))

    def stated(self, round: int, node: int, partner: int) -> Stated:
        """What a node states about a partner."""
        statement, locked, deadline = self._read("stated", round, node, partner)
        return Stated(round, node, partner, bytes(statement) if any(statement) else b"", int(locked), int(deadline))

    def net_payment(self, round: int, node: int) -> int:
        """What a node received (negative: paid) in a round, token units."""
        return int(self._read("netPayment", round, node))

    def supplier_payment(self, round: int) -> int:
        """What the supplier received (negative: paid) in a round, token units."""
        return int(self._read("supplierPayment", round))

    def payment(self, trades: bytes) -> int:
        """The payment that a statement implies, token units, positive from the higher to the lower node."""
        return int(self._read("payment", trades))

    # ------------------------------------------------------------------ log

    def recorded(self, round: int) -> list[TradeRecord]:
        """The trades recorded for a round, in the order they were recorded."""
        return [
            TradeRecord(
                round=int(arguments["round"]),
                lower=int(arguments["lower"]),
                higher=int(arguments["higher"]),
                payment=int(arguments["payment"]),
                trades=decode_trades(bytes(arguments["trades"])),
            )
            for arguments in self._of_round("TradeRecorded", round)
        ]

    def pairs_stated(self, round: int) -> set[tuple[int, int]]:
        """Who stated something about whom in a round, be it taken back since."""
        return {(int(statement["node"]), int(statement["partner"])) for statement in self._of_round("Stated", round)}

    def unrecorded(self, round: int, node: int) -> list[tuple[Stated, Stated]]:
        """The pairs of a node of which a side states something and that are not recorded: its side, its partner's."""
        stated = [*self._of_round("Stated", round, node=node), *self._of_round("Stated", round, partner=node)]
        partners = {int(statement["node"]) + int(statement["partner"]) - node for statement in stated}
        sides = [(self.stated(round, node, other), self.stated(round, other, node)) for other in sorted(partners)]
        return [(own, theirs) for own, theirs in sides if own.statement != theirs.statement]

    def tariff(self, round: int, supplier: str | None = None) -> bytes:
        """The tariff of a round, as published; see `decode_tariff`.

        Args:
            supplier: whose; None: the community's.
        """
        if (tariff := self.published_tariff(round, supplier)) is None:
            whose = f"The supplier {supplier}" if supplier else "The supplier"
            raise ChainError(f"{whose} published no tariff for round {round}: deliveries of it cannot be settled.")
        return tariff

    def tariffs_of(self, round: int, nodes: Iterable[int]) -> dict[int, bytes]:
        """The tariff by which each node of a round is settled."""
        suppliers = self.suppliers_of(round, nodes)
        of_supplier = {supplier: self.tariff(round, supplier) for supplier in set(suppliers.values())}
        return {node: of_supplier[supplier] for node, supplier in suppliers.items()}

    def published_tariffs_of(self, round: int, nodes: Iterable[int]) -> dict[int, bytes]:
        """The same of those whose suppliers have published one. Once somebody has declared in the round, or abstained,
        nobody can publish any more."""
        suppliers = self.suppliers_of(round, nodes)
        of_supplier = {supplier: self.published_tariff(round, supplier) for supplier in set(suppliers.values())}
        told = {node: of_supplier[supplier] for node, supplier in suppliers.items()}
        return {node: tariff for node, tariff in told.items() if tariff is not None}

    def suppliers_of(self, round: int, nodes: Iterable[int]) -> dict[int, str]:
        """Whose customer each node is in a round."""
        if not self._has_suppliers:
            return dict.fromkeys(nodes, self.supplier())
        return {node: str(self._read("supplierOf", round, node)) for node in nodes}

    def admitted(self) -> list[str]:
        """Who may supply besides the community's supplier, in the order in which they were admitted."""
        if not self._has_suppliers:
            return []
        events = self._events("SupplierAdmitted")
        return list(dict.fromkeys(str(arguments_of(event)["supplier"]) for event in events))

    def wishes(self) -> dict[str, str]:
        """Whose customer accounts have asked to be last, by account, whether they are since or not."""
        if not self._has_suppliers:
            return {}
        told = [arguments_of(event) for event in self._events("SupplierWished")]
        return {str(said["account"]): str(said["supplier"]) for said in told}

    def tariffs(self, round: int, customers: Iterable[str] | None = None) -> dict[str, bytes]:
        """What was published for a round, by supplier, the community's first.

        Args:
            customers: accounts, whose suppliers these are; else all that were ever admitted, of which the endpoint must
                have the log.
        """
        own = self.supplier()
        if customers is None or not self._has_suppliers:
            suppliers = [own, *(other for other in self.admitted() if other != own)]
        else:
            serving = {self.supplier_in(round, customer) for customer in customers}
            suppliers = sorted(serving, key=lambda supplier: (supplier != own, supplier))
        found = {supplier: self.published_tariff(round, supplier) for supplier in suppliers}
        return {supplier: tariff for supplier, tariff in found.items() if tariff is not None}

    def published_tariff(self, round: int, supplier: str | None = None) -> bytes | None:
        """The same; None where the supplier has published none (yet)."""
        own = supplier is None or not self._has_suppliers
        if not any(self._read("tariffHash", round) if own else self._read("tariffHashOf", round, supplier)):
            return None
        whose = (supplier or self.supplier()).lower() if self._has_suppliers else None

        def is_sought(event: EventData) -> bool:
            return whose is None or str(arguments_of(event)["supplier"]).lower() == whose

        read = partial(self._log, ["TariffPublished"], round, is_sought=is_sought)
        for event in in_time(read, lambda events: any(map(is_sought, events))):
            if is_sought(event):
                return bytes(arguments_of(event)["tariff"])
        raise Reorganised(f"The log does not have the tariff of round {round}, which the contract has: read it again.")

    def delivery(self, round: int, node: int) -> Delivery | None:
        """How a node's reading of a round was settled; None where it was not (yet)."""
        return self._deliveries(round, node=node).get(node) if self._read("delivered", round, node) else None

    def deliveries(self, round: int) -> dict[int, Delivery]:
        """How the readings of a round were settled, by node, as far as they are."""
        return self._deliveries(round)

    def _deliveries(self, round: int, **indexed: int) -> dict[int, Delivery]:
        """As they were settled, and then corrected."""
        deliveries = {one.node: one for one in self._readings("Delivered", round, **indexed)}
        for one in self._readings("Corrected", round, **indexed):
            before = deliveries[one.node]
            owed = before.arrears + one.arrears - max(one.payment - before.payment, 0)
            deliveries[one.node] = replace(one, arrears=max(owed, 0))
        return deliveries

    def _readings(self, name: str, round: int, **indexed: int) -> list[Delivery]:
        """What an event about a reading says; no correction where the contracts are older than they."""
        return [
            Delivery(
                int(arguments["round"]),
                int(arguments["node"]),
                int(arguments["payment"]),
                int(arguments.get("arrears", 0)),
                decode_energies(bytes(arguments["energies"])),
            )
            for arguments in (self._of_round(name, round, **indexed) if name in self.interface.events else [])
        ]
