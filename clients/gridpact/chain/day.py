"""The contracts `DaySettlement` and `DayProducts`, typed: a day from its positions to the last payment."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

from eth_account import Account
from web3 import Web3
from web3.types import EventData, TxReceipt

from gridpact.chain.account import ChainAccount
from gridpact.chain.artifacts import DAY, PRODUCTS, load
from gridpact.chain.contract import DeployedContract, arguments_of, checked_address
from gridpact.chain.deposits import Deposits
from gridpact.chain.encoding import decode_energies, encode_energies
from gridpact.chain.keys import address_of
from gridpact.chain.record import Record
from gridpact.chain.reverts import readable
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS

SUPPLIER = 255
"""The community's supplier among the parties of a day, others are 254, 253 and so on; households are their node
numbers."""

ALL_SHARES = 10**9

MOST_UNITS = 2 ** (8 * 16) - 1
"""Token units that a word of sixteen bytes holds: as a limit, none."""

LABEL = 1 << 31
"""Of rounds about the rest of a day."""


def rest_of(label: int) -> tuple[int, int] | None:
    """The number of the day and the step from which on a round is about; None where it is about a whole day."""
    return ((label ^ LABEL) >> 8, label & 0xFF) if label & LABEL else None


@dataclass(frozen=True)
class DayTerms:
    """What a day's members agree to by joining; the order is the contract's."""

    start: int  # unix time at which step 0 begins
    step_seconds: int
    gate_seconds: int  # before a step begins
    reading_seconds: int  # after a step ends
    key: int = 0  # of the pool: 0 proportional, 1 equal, 2 shares
    pricing: int = 0  # 0 mid-market, 1 by the ratio of supply to demand
    adder: int = 0  # 1e-6 currency/kWh of deviation
    tolerance_wh: int = 0  # within which a position is delivered
    least_lock: int = 0  # of a member, token units
    most_adder: int = MOST_UNITS  # of a member in a step, token units


@dataclass(frozen=True)
class OpenedDay:
    """A day as its supplier has opened it."""

    day: int  # yyyymmdd
    index: int  # its number on the settlement
    terms: DayTerms
    tariffs: tuple[tuple[str, bytes], ...]  # by supplier, the community's first; see `decode_tariff`

    @property
    def tariff(self) -> bytes:
        """The community's supplier's."""
        return self.tariffs[0][1]

    def start_of(self, step: int) -> int:
        """Unix time at which a step begins; that of one after the last is the end of the day."""
        return self.terms.start + step * self.terms.step_seconds

    def gate_of(self, step: int) -> int:
        """Unix time at which the gate of a step closes."""
        return self.start_of(step) - self.terms.gate_seconds


@dataclass(frozen=True)
class DayStanding:
    """Where a day stands."""

    index: int
    next: int  # step that is settled next
    closed: bool
    members: frozenset[int]
    suppliers: int
    terms: bytes  # hash


@dataclass(frozen=True)
class StepSettled:
    """What a step came to among all suppliers and their customers."""

    step: int
    pool_wh: int
    pool_price: int  # 1e-6 currency/kWh; the mean of its energy where customers of several suppliers have pools
    deviation_wh: int  # of all members together from what they nominated
    imbalance_wh: int  # magnitudes of that of each supplier's customers
    payments: Mapping[int, int]  # token units, received, by party

    @classmethod
    def of(cls, parts: Sequence[Mapping[str, Any]]) -> StepSettled:
        """
        Args:
            parts: arguments of the events of one step, one a supplier.
        """
        energies, deviations = ([int(part[key]) for part in parts] for key in ("poolEnergy", "deviation"))
        worth = sum(energy * int(part["poolPrice"]) for energy, part in zip(energies, parts, strict=True))
        payments: dict[int, int] = {}
        for part in parts:
            parties = [*sorted(_nodes(int(part["customers"]))), SUPPLIER - int(part["number"])]
            payments |= dict(zip(parties, map(int, part["payments"]), strict=True))
        price = round(worth / sum(energies)) if any(energies) else 0
        imbalance = sum(map(abs, deviations))
        return cls(int(parts[0]["step"]), sum(energies), price, sum(deviations), imbalance, payments)

    @property
    def suppliers_received(self) -> int:
        return sum(payment for party, payment in self.payments.items() if party > MOST_HOUSEHOLDS)


@dataclass(frozen=True)
class Formula:
    """What a forward costs: base + slope (condition - usual) / 1000, between floor and cap; 1e-6 currency/kWh."""

    base: int
    slope: int
    floor: int
    cap: int
    usual: int
    oracle: str


def encode_shares(shares: Mapping[int, float]) -> bytes:
    """Shares of the pool by node, as the contract takes them: they sum to exactly one.

    Raises:
        InputError: a share is negative, or they do not sum to one.
    """
    if not shares:
        return b""
    if any(not share >= 0 for share in shares.values()):
        raise InputError("a share of the pool is not a number of at least 0; correct the shares")
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise InputError(f"the shares of the pool sum to {sum(shares.values()):g}, not to 1; correct them")
    whole = [round(shares.get(node, 0.0) * ALL_SHARES) for node in range(max(shares) + 1)]
    whole[max(shares, key=lambda node: shares[node])] += ALL_SHARES - sum(whole)  # what rounding has lost
    return struct.pack(f">{len(whole)}i", *whole)


class DaySettlement(Deposits):
    """The settlement of days at an address. `account` is needed to send."""

    @classmethod
    def of(cls, record: Record, web3: Web3, account: ChainAccount | None = None) -> DaySettlement:
        """That of a deployment.

        Raises:
            InputError: the deployment has none.
        """
        if not record.day_settlement:
            raise InputError("This deployment settles no days: deploy with --days.")
        return cls.at(record.day_settlement, load(DAY).abi, record, web3, account)

    @cached_property
    def products(self) -> DayProducts:
        """Spot trades, options and forwards on it."""
        address = str(self._read("products"))
        return DayProducts(self.web3, address, load(PRODUCTS).abi, self.account, first_block=self.first_block)

    @cached_property
    def steps(self) -> int:
        return int(self._read("steps"))

    # ------------------------------------------------------------------ the day

    def open_day(self, day: int, terms: DayTerms, tariff: bytes, lock: int, shares: bytes = b"") -> TxReceipt:
        """The supplier opens a day; see `encode_tariff`, `encode_shares`."""
        return self._send("openDay", day, astuple(terms), tariff, shares, lock)

    def supply_day(self, day: int, tariff: bytes, lock: int) -> TxReceipt:
        """Another supplier than the community's takes part with its tariff, on the terms that stand."""
        return self._send("supplyDay", day, self.standing(day).terms, tariff, lock)

    def join(self, day: int, lock: int) -> TxReceipt:
        """Takes part, on its supplier's terms that stand; who has read them says so by their hash."""
        assert self.account is not None
        terms = bytes(self._read("termsFor", day, checked_address(self.account.address)))
        return self._send("join", day, terms, lock)

    def bring(self, day: int, round: int, node: int, pairs: Sequence[tuple[int, bytes]]) -> TxReceipt:
        """Counts recorded trades of a node: partners and statements, as `positions_of` has them."""
        return self._send("bring", day, round, node, list(pairs))

    def nominate(self, day: int, first: int, energies_wh: Sequence[int]) -> TxReceipt:
        """What the account will draw from pool and supplier in each step from one on."""
        if not 0 <= first < self.steps:
            last = self.steps - 1
            raise InputError(f"A nomination begins at step {first}, the day has 0 to {last}: give one of these.")
        if len(energies_wh) != self.steps - first:
            raise InputError(
                f"A nomination from step {first} on has {len(energies_wh)} energies, but {self.steps - first} steps are"
                " left of the day: give one for each."
            )
        return self._send("nominate", day, first, encode_energies(energies_wh))

    # ------------------------------------------------------------------ delivery

    def sign_reading(self, key: str, day: int, step: int, energies_wh: Mapping[int, int]) -> tuple[Any, ...]:
        """The metering account's readings of a step, by node: the arguments of `read`."""
        nodes, data = (
            sum(1 << node for node in energies_wh),
            encode_energies([energies_wh[node] for node in sorted(energies_wh)]),
        )
        fields = [("uint32", "day"), ("uint8", "step"), ("uint128", "nodes"), ("bytes", "energies")]
        values = {"day": day, "step": step, "nodes": nodes, "energies": data}
        return (day, step, nodes, data, *_signed(self, key, "gridpact day", "Reading", fields, values))

    def read(self, reading: tuple[Any, ...]) -> TxReceipt:
        """Brings readings that were signed."""
        return self._send("read", *reading)

    def settle_step(self, day: int) -> TxReceipt:
        """Pool, supply and imbalance of the next step."""
        return self._send("settleStep", day)

    def close_day(self, day: int) -> TxReceipt:
        return self._send("closeDay", day)

    # ------------------------------------------------------------------ views

    def standing(self, day: int) -> DayStanding:
        index, next_, closed, members, suppliers, terms = self._read("standing", day)
        return DayStanding(int(index), int(next_), bool(closed), _nodes(int(members)), int(suppliers), bytes(terms))

    def opened(self) -> list[OpenedDay]:
        """The days that were opened, in their order."""
        openings = [arguments_of(event) for event in self._events("DayOpened")]
        common, tariffs = str(self._read("supplier")), defaultdict[int, list[tuple[str, bytes]]](list)
        for event in self._events("DaySupplied"):
            told = arguments_of(event)
            tariffs[int(told["day"])].append((str(told["supplier"]), bytes(told["tariff"])))
        return [
            OpenedDay(
                int(arguments["day"]),
                int(arguments["index"]),
                _terms(arguments["terms"]),
                ((common, bytes(arguments["tariff"])), *tariffs[int(arguments["day"])]),
            )
            for arguments in openings
        ]

    def brought(self, round: int, node: int) -> frozenset[int]:
        """Partners whose trades with a node in a round count."""
        return _nodes(int(self._read("brought", round, node)))

    def terms(self, day: int) -> DayTerms:
        return DayTerms(*(int(value) for value in self._read("terms", day)))

    def label_of(self, day: int, step: int) -> int:
        """Of a round about the steps from one on."""
        return int(self._read("labelOf", day, step))

    def gate_of(self, day: int, step: int) -> int:
        return int(self._read("gateOf", day, step))

    def tariffs_of(self, day: int, nodes: Iterable[int]) -> dict[int, bytes]:
        """What the suppliers of those of some nodes that are members ask."""
        members = self.standing(day).members
        opened = next(one for one in reversed(self.opened()) if one.day == day)
        told = {checked_address(supplier): tariff for supplier, tariff in opened.tariffs}
        return {
            node: told[checked_address(str(self._read("supplierOf", day, node)))] for node in nodes if node in members
        }

    def start_of(self, day: int, step: int) -> int:
        return int(self._read("startOf", day, step))

    def party_of(self, day: int, address: str) -> int:
        """A member's node in a day, or SUPPLIER."""
        return int(self._read("partyOf", day, checked_address(address)))

    def position(self, day: int, node: int, step: int) -> int:
        """Wh sold (negative: bought)."""
        return int(self._read("position", day, node, step))

    def nominated(self, day: int, node: int, step: int) -> int:
        """Wh that a node will draw."""
        return int(self._read("nominated", day, node, step))

    def nomination(self, day: int, node: int) -> tuple[bytes, int]:
        """Hash and time of a node's last nomination; the hash is 0 where its position has changed since."""
        hash_, time = self._read("nomination", day, node)
        return bytes(hash_), int(time)

    def balance(self, day: int, party: int) -> int:
        """What is left of a party's lock for a day, token units."""
        return int(self._read("balance", day, party))

    def history(self, address: str) -> tuple[int, int]:
        """How often an account had a position in a step that was read, and how often it delivered it."""
        had, delivered = self._read("history", checked_address(address))
        return int(had), int(delivered)

    def settled_steps(self, day: int) -> list[StepSettled]:
        """What the steps of a day came to, as far as they are settled."""
        parts = defaultdict[int, list[Mapping[str, Any]]](list)
        for event in self._events("StepSettled", day=day):
            told = arguments_of(event)
            parts[int(told["step"])].append(told)
        return [StepSettled.of(parts[step]) for step in sorted(parts)]

    def nominations(self, day: int) -> int:
        """How many were made."""
        return len(self._events("Nominated", day=day))

    def readings(self, day: int) -> dict[tuple[int, int], int]:
        """Wh that were fed in, by step and node, as far as they are read."""
        readings: dict[tuple[int, int], int] = {}
        for event in self._events("StepRead", day=day):
            arguments = arguments_of(event)
            energies = decode_energies(bytes(arguments["energies"]))
            readings |= {
                (int(arguments["step"]), node): energy
                for node, energy in zip(sorted(_nodes(int(arguments["nodes"]))), energies, strict=True)
            }
        return readings


class DayProducts(DeployedContract):
    """Spot trades, options and forwards at an address."""

    def post_spot(self, day: int, step: int, sells: bool, energy_wh: int, price: int) -> int:
        """Offers energy at a price, 1e-6 currency/kWh. Returns the number of the offer."""
        return self._made("SpotPosted", self._send("postSpot", day, step, sells, energy_wh, price))

    def take_spot(self, number: int, energy_wh: int) -> TxReceipt:
        return self._send("takeSpot", number, energy_wh)

    def end_spot(self, number: int) -> TxReceipt:
        return self._send("endSpot", number)

    def write_option(
        self, day: int, step: int, energy_wh: int, strike: int, premium: int, collateral: int, until: int
    ) -> int:
        """Offers an option. Premium and collateral are token units."""
        arguments = (day, step, energy_wh, strike, premium, collateral, until)
        return self._made("OptionWritten", self._send("writeOption", *arguments))

    def take_option(self, number: int) -> TxReceipt:
        return self._send("takeOption", number)

    def exercise(self, number: int, energy_wh: int) -> TxReceipt:
        return self._send("exercise", number, energy_wh)

    def end_option(self, number: int) -> TxReceipt:
        return self._send("endOption", number)

    def offer_forward(self, day: int, step: int, sells: bool, energy_wh: int, formula: Formula, until: int) -> int:
        arguments = (day, step, sells, energy_wh, astuple(formula), until)
        return self._made("ForwardOffered", self._send("offerForward", *arguments))

    def take_forward(self, number: int) -> TxReceipt:
        return self._send("takeForward", number)

    def settle_forward(self, number: int) -> TxReceipt:
        return self._send("settleForward", number)

    def end_forward(self, number: int) -> TxReceipt:
        return self._send("endForward", number)

    def report(self, key: str, day: int, step: int, condition: int) -> TxReceipt:
        """Brings an oracle's report, signed with its key."""
        fields = [("uint32", "day"), ("uint8", "step"), ("int64", "condition")]
        values = {"day": day, "step": step, "condition": condition}
        proof = _signed(self, key, "gridpact products", "Condition", fields, values)
        return self._send("report", address_of(key), day, step, condition, *proof)

    def standing(self, kind: str, number: int) -> tuple[Any, ...]:
        """A spot offer, an option or a forward as the contract has it: the fields of `IDayProducts`, in their order."""
        return tuple(self._read(kind, number))

    def has(self, event: str, number: int) -> bool:
        """Whether an event has happened to an offer, an option or a forward."""
        return bool(self._events(event, id=number))

    def is_reported(self, oracle: str, day: int, step: int) -> bool:
        """Whether an oracle has reported the condition in a step."""
        reported, _ = self._read("condition", checked_address(oracle), day, step)
        return bool(reported)

    def last_id(self) -> int:
        """How many offers, options and forwards there are; they are numbered together from 1 on."""
        return int(self._read("lastId"))

    def offers(self, event: str, day: int) -> list[EventData]:
        """All of one kind, by the name of their event."""
        return self._events(event, day=day)

    def count(self, event: str, day: int | None = None) -> int:
        """How many events of a kind there are."""
        if day is None:
            return len(self._events(event))
        return len(self._events(event, day=day))

    def _made(self, event: str, receipt: TxReceipt) -> int:
        return int(self._said_in(receipt, event)["id"])


def _signed(
    contract: DeployedContract, key: str, name: str, kind: str, fields: list[tuple[str, str]], values: dict[str, Any]
) -> tuple[bytes, bytes]:
    """r and vs of EIP-712 data for one contract on its chain."""
    address_of(key)  # a key that is none is said so
    with readable("its chain id"):
        chain_id = int(contract.web3.eth.chain_id)
    made = Account.sign_typed_data(
        key,
        {"name": name, "version": "1", "chainId": chain_id, "verifyingContract": contract.address},
        {kind: [{"type": type_, "name": field} for type_, field in fields]},
        values,
    )
    return made.r.to_bytes(32, "big"), (made.s | (made.v - 27) << 255).to_bytes(32, "big")


def _terms(values: Mapping[str, int]) -> DayTerms:
    return DayTerms(*(int(value) for value in values.values()))


def _nodes(bitmap: int) -> frozenset[int]:
    return frozenset(node for node in range(bitmap.bit_length()) if bitmap >> node & 1)
