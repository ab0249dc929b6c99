"""What the settlement tests share: statements, readings, and a market that converges."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brownie import accounts, chain, web3
from eth_abi import decode, encode
from eth_account import Account
from helpers import FIRST_DAY, PHASE_SECONDS, plain

STEPS, STEP_SECONDS, MILLIWATT = 24, 3600, 500  # a unit of a bid is half a watt-hour
SETTING = (STEPS, STEP_SECONDS, MILLIWATT, 100, PHASE_SECONDS, 1)
START = 1_000_000_000  # token units: 1000 tEUR
DEPOSIT = 10_000_000
NODES = (1, 2, 3, 4)
SILENT = 5  # declares, and is never heard again

Books = Mapping[int, Any]  # node -> partner -> steps; or the bytes of a book
Bids = Mapping[tuple[int, int], tuple[int, ...]]  # node and partner -> a bid a step of the book

# 1 sells to 2 and buys from 3, 2 sells to 3; 4 would trade with 1, which does not list it. In step 11 the agreed
# energy of 1 and 2 is a quarter of a watt-hour, which is none; elsewhere the two bids differ by a little.
BOOKS: Books = {
    1: {2: (3, 7, 11), 3: (3, 7)},
    2: {1: (3, 7, 11), 3: (3,), 4: (5,)},
    3: {1: (3, 7), 2: (3,)},
    4: {1: (3, 7), 2: (6,)},
    SILENT: {1: (3,)},
}
BIDS: Bids = {
    (1, 2): (3001, 4000, 1),
    (2, 1): (-3000, -4001, 0),
    (1, 3): (-3000, -4000),
    (3, 1): (3001, 4001),
    (2, 3): (3000,),
    (3, 2): (-3000,),
    (2, 4): (100,),
    (4, 1): (3000, 4000),
    (4, 2): (-100,),
}


def entry(step: int, energy: int, price: int) -> bytes:
    """One traded step: Wh, positive where the lower node sells, and 1e-6 currency/kWh."""
    return step.to_bytes(1, "big") + energy.to_bytes(4, "big", signed=True) + price.to_bytes(4, "big", signed=True)


def statement(entries: Any) -> bytes:
    return b"".join(itertools.starmap(entry, entries))


# Of 1 and 2: 1.5 kWh at 0.20 and 2 kWh at 0.10 tEUR/kWh, 0.5 tEUR from the higher node to the lower one.
SOLD = entry(3, 1500, 200_000) + entry(7, 2000, 100_000)
PRICE = 500_000
BOUGHT = entry(3, -1500, 200_000) + entry(7, -2000, 100_000)  # of 1 and 3
OTHER = entry(3, 1500, 200_000)  # of 2 and 3: 0.3 tEUR
DEARER = entry(3, 1500, 300_000) + entry(7, 2000, 100_000)  # of 1 and 2, at other prices


def encode_book(book: Mapping[int, tuple[int, ...]] | bytes) -> bytes:
    if isinstance(book, bytes):
        return book
    return b"".join(bytes((partner, len(steps), *steps)) for partner, steps in book.items())


def encode_bids(node: int, bids: Bids) -> bytes:
    """A node's bids, partners ascending."""
    own = [bids[pair] for pair in sorted(bids) if pair[0] == node]
    return b"".join(bid.to_bytes(2, "big", signed=True) for values in own for bid in values)


SUBMISSION = "Submission(uint32 round,uint16 iteration,uint8 node,uint256[] copies,bytes bids,uint256 residuals)"
NO_OPENING = (b"", b"", bytes(32), bytes(32), 0)


def submission_hash(round_: int, iteration: int, node: int, copies: bytes, bids: bytes, residuals: int) -> bytes:
    """The EIP-712 struct hash; `copies` is their keccak256."""
    types = ["bytes32", "uint32", "uint16", "uint8", "bytes32", "bytes32", "uint256"]
    values = [web3.keccak(text=SUBMISSION), round_, iteration, node, copies, web3.keccak(bids), residuals]
    return bytes(web3.keccak(encode(types, values)))


@dataclass
class Market:
    """A round without a network: its nodes bid, and are content with the first bids."""

    aggregator: Any
    accounts: Mapping[int, Any]
    openings: dict[tuple[int, int], tuple[bytes, bytes, bytes, bytes, int]] = field(default_factory=dict)
    product: int = 0

    def open(self) -> int:
        opened = int(plain(self.aggregator.progressOf(self.product))[0]) % 2**24
        day = FIRST_DAY + opened
        self.aggregator.openRoundOf(self.product, day, 0, {"from": self.aggregator.owner()})
        return (self.product << 24) + opened + 1

    def declare(self, round_: int, books: Books, bids: Bids = BIDS) -> None:
        for node, book in books.items():
            told = (round_, node, 0, 0, len(encode_bids(node, bids)) // 2, encode_book(book))
            self.aggregator.declare(*told, {"from": self.accounts[node]})

    def iterate(self, round_: int, iteration: int, books: Books, bids: Bids) -> None:
        history = plain(self.aggregator.progressOf(self.product))[6]
        for node in books:
            own = encode_bids(node, bids)
            before = bytes(self.aggregator.commitment(round_, node)[0])
            self.openings[round_, node] = (encode_book(books[node]), own, before, bytes(web3.keccak(b"")), 0)
            self.aggregator.submit(round_, iteration, history, [], own, 0, {"from": self.accounts[node]})

    def converge(self, books: Books = BOOKS, bids: Bids = BIDS, opened: int | None = None) -> int:
        """A whole round, one that is open or the next; returns its number.

        Nodes without bids are silent, and out after the first iteration.
        """
        round_ = self.open() if opened is None else opened
        for _ in self.converging(round_, books, bids):
            pass
        return round_

    def converging(self, round_: int, books: Books = BOOKS, bids: Bids = BIDS) -> Iterator[None]:
        """The same, call by call of all its nodes: others may come between."""
        self.declare(round_, books, bids)
        yield
        bidding = {node for node, _ in bids}
        heard = {node: book for node, book in books.items() if node in bidding}
        self.iterate(round_, 1, heard, bids)
        yield
        if len(heard) < len(books):
            chain.sleep(PHASE_SECONDS + 5)
            self.aggregator.closeOverdueOf(self.product, {"from": self.accounts[1]})
        yield
        for iteration in (2, 3):  # the aggregator does not judge what a missing node has disturbed
            if self.aggregator.outcome(round_)[0] == 0:
                self.iterate(round_, iteration, heard, bids)
            yield
        assert self.aggregator.outcome(round_)[0] == 3


class Settling:
    """The settlement contract, called with the openings of a market."""

    def __init__(self, contract: Any, market: Market, token: Any) -> None:
        self.contract = contract
        self.market = market
        self.token = token

    def opened(self, round_: int, node: int) -> tuple[Any, ...]:
        return self.market.openings.get((round_, node), NO_OPENING)

    def state(self, node: int, said: Mapping[int, bytes], round_: int = 1, **changes: Any) -> Any:
        """States trades by partner, with the right openings, but for `own` and `partner`."""
        statements = [
            (partner, trades, changes.get("partner", self.opened(round_, partner))) for partner, trades in said.items()
        ]
        own = changes.get("own", self.opened(round_, node))
        return self.contract.state(round_, statements, own, {"from": self.market.accounts[node]})

    def record(self, lower: int, higher: int, trades: bytes, round_: int = 1) -> Any:
        """Both sides state the same; returns the second transaction."""
        self.state(lower, {higher: trades}, round_)
        return self.state(higher, {lower: trades}, round_)

    def vouch(self, lower: int, said: Mapping[int, bytes], round_: int = 2, **changes: Any) -> Any:
        """The metering account says what pairs agreed on, with the right openings."""
        statements = [(partner, trades, self.opened(round_, partner)) for partner, trades in said.items()]
        sender = changes.get("sender") or accounts.add(METER.key)
        return self.contract.vouch(
            round_,
            lower,
            statements,
            self.opened(round_, lower),
            changes.get("quotes", [(self.contract.supplier(), changes.get("tariff", encode_tariff()))]),
            {"from": sender},
        )

    def deliver(self, node: int, energies: Sequence[int], round_: int = 1, **changes: Any) -> Any:
        """Delivers by somebody who has nothing to do with it, with a good signature."""
        reading = encode_reading(energies)
        positions = changes.get("positions", ())
        tariff = changes.get("tariff", encode_tariff())
        signature = changes.get("signature", signed(self.contract, round_, node, reading))
        sender = changes.get("sender", accounts[1])
        return self.contract.deliver(round_, node, reading, tariff, positions, *signature, {"from": sender})

    def price(self, *rounds: int) -> None:
        """The next rounds converge, each with a tariff that was published before anybody declared."""
        for round_ in rounds:
            self.contract.publishTariff(round_, encode_tariff(), {"from": self.contract.supplier()})
            assert self.market.converge() == round_

    def is_recorded(self, round_: int, one: int, other: int) -> bool:
        return int(str(self.contract.recorded(round_, one, other)), 16) != 0

    def check(self, parties: Iterable[Any], gifts: int = 0, others: Iterable[int] = ()) -> None:
        """TS1 and TS3: the books balance. `parties` are all accounts that hold deposits, `others` rounds of products
        other than the market's own, whose rounds are all looked at."""
        contract = self.contract
        accounts_ = sorted(set(map(str, parties)))
        held = read([(contract, view, (account,)) for view in ("free", "locked") for account in accounts_])
        whole = read([(contract, "totalDeposits", ()), (self.token, "balanceOf", (contract.address,))])
        assert whole == [sum(held), sum(held) + gifts]
        for round_ in (*range(1, int(self.market.aggregator.progress()[0]) + 1), *others):
            nets = [(contract, "netPayment", (round_, node)) for node in BOOKS]
            assert sum(read([*nets, (contract, "supplierPayment", (round_,))])) == 0


def read(calls: Iterable[tuple[Any, str, tuple[Any, ...]]]) -> list[int]:
    """The integers that views return: contract, view, arguments of each; in one request."""
    requests = [
        ("eth_call", [{"to": to.address, "data": getattr(to, view).encode_input(*arguments)}, "latest"])
        for to, view, arguments in calls
    ]
    answers: Any = web3.provider.make_batch_request(requests)
    return [decode(["int256"], bytes.fromhex(answer["result"][2:]))[0] for answer in answers]


# ---------------------------------------------------------------------- delivery

TARIFF = [(300_000, 80_000)] * 12 + [(250_000, -20_000)] * 12  # import and feed-in, 1e-6 tEUR/kWh
METER = Account.from_key(b"\x07" * 32)


def encode_tariff(prices: Any = TARIFF) -> bytes:
    return b"".join(price.to_bytes(4, "big", signed=True) for both in prices for price in both)


def encode_reading(energies: Any) -> bytes:
    return b"".join(energy.to_bytes(4, "big", signed=True) for energy in energies)


def signed(
    contract: str, round_: int, node: int, energies: bytes, key: Any = METER, chain_id: int | None = None
) -> Any:
    """The signature r, vs of a reading, made by eth_account from the EIP-712 types."""
    made = key.sign_typed_data(
        {
            "name": "gridpact settlement",
            "version": "1",
            "chainId": web3.eth.chain_id if chain_id is None else chain_id,
            "verifyingContract": str(contract),
        },
        {
            "Reading": [
                {"name": "round", "type": "uint32"},
                {"name": "node", "type": "uint8"},
                {"name": "energies", "type": "bytes"},
            ]
        },
        {"round": round_, "node": node, "energies": energies},
    )
    return made.r.to_bytes(32, "big"), (made.s | (made.v - 27) << 255).to_bytes(32, "big")
