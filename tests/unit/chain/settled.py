"""Three households that have agreed on trades, with a supplier and a meter: for the tests of settlement and account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from gridpact.chain.account import ChainAccount
from gridpact.chain.artifacts import SETTLEMENT, load
from gridpact.chain.deploy import mint_tokens
from gridpact.chain.encoding import encode_tariff, encode_trades
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Opening, Settlement
from gridpact.chain.values import Phase
from unit.chain.synthetic import AT_ONCE, Place, Played, played

STEPS = 24
TREE = {
    1: Place(1, 0, book={2: (3, 5, 7), 3: (4,)}),
    2: Place(2, 0, book={1: (3, 5, 7), 3: (6,)}),
    3: Place(3, 0, book={1: (4,), 2: (6,)}),
}
TOKENS = 100_000_000  # 100 tEUR each
IMPORT, FEED_IN = [300_000] * STEPS, [80_000] * STEPS


@dataclass
class Settled:
    """Rounds that have converged, and the settlement contract as each of the households sees it."""

    community: Played
    record: Record
    sides: dict[int, Settlement]
    supplier: Settlement
    metering_key: str

    def address(self, node: int) -> str:
        account = self.sides[node].account
        assert account is not None
        return str(account.address)

    def play(self, tariff: bool = True) -> int:
        """A round that converges in its second iteration; returns its number."""
        office = self.community.manager
        if tariff:
            self.supplier.publish_tariff(office.progress().round + 1, encode_tariff(IMPORT, FEED_IN))
        number = self.community.open()
        self.community.iterate(number, 1)
        self.community.iterate(number, 2)
        assert office.outcome(number).phase is Phase.CONVERGED
        return number

    def opening(self, round_: int, node: int) -> Opening:
        """From the log and the calldata."""
        office = self.community.manager
        first, last = (entry.submissions[node] for entry in office.history(round_))
        book = self.community.community.book(node)
        return Opening.of(book, last.bids, first.commitment, office.copies_of(last), last.residuals)

    def entries(self, lower: int, higher: int, price: int) -> list[tuple[int, int, int]]:
        """What fits the last bids of a pair: (step, Wh, price), by the definition in `ITradeSettlement`."""
        bids = self.community.community.at(2).bids
        energies = {}
        for node, partner, sign in ((lower, higher, 1), (higher, lower, -1)):
            book = TREE[node].book
            first = sum(len(steps) for other, steps in book.items() if other < partner)
            for at, step in enumerate(book[partner]):
                energies[step] = energies.get(step, 0) + sign * bids[node][first + at]
        # A resolution unit of half a watt, for an hour, from both sides: a quarter of a watt-hour.
        nearest = {step: (abs(twice) + 2) // 4 * (1 if twice > 0 else -1) for step, twice in sorted(energies.items())}
        return [(step, energy, price) for step, energy in nearest.items() if energy]

    def state(self, round_: int, node: int, said: Mapping[int, int]) -> None:
        """States what fits, at a price for each partner."""
        trades = {
            partner: encode_trades(self.entries(min(node, partner), max(node, partner), price))
            for partner, price in said.items()
        }
        openings = {other: self.opening(round_, other) for other in (node, *said)}
        self.sides[node].state(round_, node, trades, openings)


@contextmanager
def settled(network: Network) -> Iterator[Settled]:
    """Deploys, and deposits 10 tEUR for each household and the supplier. No round was played yet."""
    community = played(network, TREE, STEPS, AT_ONCE)
    manager = community.manager.account
    assert manager is not None
    supplier, metering_key = ChainAccount(network.connect(), new_key()), new_key()
    network.fund([supplier.address], 10 * ETHER)
    metering = ChainAccount(network.connect(), metering_key).address
    artifact, web3 = load(SETTLEMENT), manager.web3
    factory = web3.eth.contract(abi=cast(Any, artifact.abi), bytecode=cast(Any, artifact.bytecode))
    record = community.record
    receipt = manager.send(factory.constructor(record.aggregator, record.token, supplier.address, metering))
    record = replace(record, settlement=str(receipt["contractAddress"]))
    accounts = {node: aggregator.account for node, aggregator in community.nodes.items()}
    sides = {node: Settlement.of(record, account.web3, account) for node, account in accounts.items() if account}
    made = Settled(community, record, sides, Settlement.of(record, supplier.web3, supplier), metering_key)
    mint_tokens(manager, record, [*(made.address(node) for node in sides), supplier.address], TOKENS)
    for side in (*sides.values(), made.supplier):
        side.deposit(TOKENS // 10)
    try:
        yield made
    finally:
        community.close()
