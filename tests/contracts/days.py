"""What the tests of a day share: its world, with rounds that have ended, and the model beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from brownie import web3
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak
from link import Link, Receipt, rpc
from reference.day_model import LABEL, Agreed, DayModel, Tariff, Terms
from settling import Market, Settling, statement

STEPS = 4
DAY, OTHER_DAY = 20260701, 20260702
STEP, GATE, READING = 4000, 1000, 1000  # s
DEPOSIT = 100_000_000
METER, ORACLE, STRANGER = (Account.from_key(bytes([n]) * 32) for n in (7, 8, 9))
TARIFF = [(300_000, 80_000), (250_000, 100_000), (200_000, -20_000), (-10_000, 50_000)]
PLAIN = Tariff(TARIFF)
GREEN = Tariff([(340_000, 60_000), (280_000, 90_000), (210_000, -10_000), (120_000, 40_000)], [20_000] * 4, 150_000)
"""Of another supplier: with a fee on what comes from neighbours, and one on the day's peak."""
NODES = (1, 2, 3, 4)
BOOKS = {1: {2: (0, 1, 2, 3), 3: (1, 3)}, 2: {1: (0, 1, 2, 3)}, 3: {1: (1, 3)}, 4: {1: (0,)}}
BIDS = {
    (1, 2): (3000, 4000, 2000, 1000),
    (2, 1): (-3000, -4000, -2000, -1000),
    (1, 3): (-3000, -2000),
    (3, 1): (3000, 2000),
    (4, 1): (10,),
}
RECORDED = {
    (1, 2): ((0, 1500, 200_000), (1, 2000, 150_000), (2, 1000, 100_000), (3, 500, 10_000)),
    (1, 3): ((1, -1500, 180_000), (3, -1000, 20_000)),
}
ROUNDS = {1: DAY, 2: LABEL | 1 << 8 | 2, 3: LABEL | 9 << 8 | 2, 4: DAY + 5}
"""Labels: the day before, the rest of the first day opened from step 2 on, of another, and of another day."""


def series(energies: Sequence[int]) -> bytes:
    return b"".join(energy.to_bytes(4, "big", signed=True) for energy in energies)


def tariff_bytes(tariff: Sequence[tuple[int, int]] = TARIFF) -> bytes:
    return Tariff(tariff).encoded()


def terms(start: int, **changes: int) -> Terms:
    """Starts where its first gate closes a while from now."""
    given = {"key": 0, "pricing": 0, "adder": 50_000, "tolerance": 100, "least_lock": 0, "most_adder": 10**12}
    return Terms(start, STEP, GATE, READING, **(given | changes))


def signed(contract: str, name: str, kind: str, fields: str, values: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
    """r and vs by eth_account from the EIP-712 types."""
    made = key.sign_typed_data(
        {"name": name, "version": "1", "chainId": web3.eth.chain_id, "verifyingContract": contract},
        {kind: [dict(zip(("type", "name"), field.split(), strict=True)) for field in fields.split(",")]},
        dict(values),
    )
    return made.r.to_bytes(32, "big"), (made.s | (made.v - 27) << 255).to_bytes(32, "big")


@dataclass
class World:
    """Contracts, accounts by name, and a chain that can be moved in time."""

    settlement: Link
    ledger: Link
    products: Link
    token: Link
    addresses: dict[str, str]
    accounts: dict[int, str]  # names by node
    agreed: dict[int, Agreed]

    def model(self, of_green: Sequence[str] = ()) -> DayModel:
        """
        Args:
            of_green: customers of the other supplier.
        """
        made = DayModel(STEPS, "supplier", self.accounts, self.agreed, dict.fromkeys(of_green, "green"))
        made.admitted.add("green")
        for who in ("supplier", "green", *self.accounts.values()):
            made.deposit(who, DEPOSIT)
        return made

    def supply(self, *of_green: str) -> None:
        """These are customers of the other supplier from now on."""
        green = self.addresses["green"]
        for who in of_green:
            self.settlement.send(self.addresses[who], "wishSupplier", green)
            self.settlement.send(green, "supply", self.addresses[who])

    def now(self) -> int:
        return self.ledger.timestamp()

    def until(self, time: int) -> None:
        if time > self.now():
            rpc("evm_setNextBlockTimestamp", time)
            rpc("evm_mine")

    def reading(self, day: int, step: int, energies: Mapping[int, int], key: Any = METER) -> tuple[Any, ...]:
        """The arguments of `read`."""
        nodes = sum(1 << node for node in energies)
        data = series([energies[node] for node in sorted(energies)])
        fields = "uint32 day,uint8 step,uint128 nodes,bytes energies"
        values = {"day": day, "step": step, "nodes": nodes, "energies": data}
        return (day, step, nodes, data, *signed(self.ledger.address, "gridpact day", "Reading", fields, values, key))

    def condition(self, day: int, step: int, condition: int, key: Any = ORACLE) -> tuple[Any, ...]:
        """The arguments of `report`."""
        values = {"day": day, "step": step, "condition": condition}
        fields = "uint32 day,uint8 step,int64 condition"
        proof = signed(self.products.address, "gridpact products", "Condition", fields, values, key)
        return (ORACLE.address, day, step, condition, *proof)

    def open(
        self, agreed: Terms, day: int = DAY, shares: Sequence[int] = (), lock: int = DEPOSIT // 2,
        tariff: Tariff = PLAIN,
    ) -> Receipt:  # fmt: skip
        arguments = (day, agreed.encoded(), tariff.encoded(), series(shares), lock)
        return self.ledger.send(self.addresses["supplier"], "openDay", *arguments)

    def terms_hash(
        self, agreed: Terms, shares: Sequence[int] = (), tariff: Tariff = PLAIN, other: Tariff | None = None
    ) -> bytes:
        """What customers agree to: of the community's supplier, or of another one with its tariff."""
        found: bytes = self.ledger.view("termsHash", agreed.encoded(), tariff.encoded(), series(shares))
        return found if other is None else keccak(encode(["bytes32", "bytes32"], [found, keccak(other.encoded())]))


def pairs(round_: int, node: int, partners: Sequence[int]) -> list[tuple[int, bytes]]:
    """Recorded trades as `bring` takes them."""
    return [(partner, statement(RECORDED[min(node, partner), max(node, partner)])) for partner in partners]


def new_world(
    aggregator: Any, settlement: Any, day_settlement: Any, products: Any, token: Any, people: Mapping[str, Any],
    supplier_sends: Any,
) -> World:  # fmt: skip
    """Rounds 1 to 3 count, 4 has a tariff of its own; the trades of 1 with 2 and 3 are recorded in all of them. The
    other supplier publishes one for every round, which changes nothing in a day."""
    market = Market(aggregator, {node: people[f"node {node}"] for node in NODES})
    settle = Settling(settlement, market, token)
    for round_, label in ROUNDS.items():
        if round_ == 4:
            settlement.publishTariff(4, tariff_bytes(), {"from": supplier_sends})
        settlement.publishTariff(round_, tariff_bytes(), {"from": people["green"]})
        aggregator.openRound(label, {"from": aggregator.owner()})
        market.converge(BOOKS, BIDS, round_)
        for lower, higher in RECORDED:
            settle.record(lower, higher, statement(RECORDED[lower, higher]), round_)
    names = {node: f"node {node}" for node in NODES}
    agreed = {round_: Agreed(label, names, RECORDED, round_ != 4) for round_, label in ROUNDS.items()}
    ledger, links, trades = Link(day_settlement), Link(products), Link(settlement)
    errors = ledger.errors | links.errors | Link(aggregator).errors | trades.errors
    ledger.errors, links.errors = errors, errors  # what one says comes through the other
    addresses = {name: str(account) for name, account in people.items()}
    return World(trades, ledger, links, Link(token), addresses, names, agreed)
