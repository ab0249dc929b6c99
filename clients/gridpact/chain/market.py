"""The contracts `OrderBook`, `CallAuction` and `CommunityPrice`, typed: a day's round in them, orders, sealed bids, a
manager's prices, what was traded."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

from eth_abi.abi import encode
from hexbytes import HexBytes
from web3 import Web3
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount, ContractCall
from gridpact.chain.artifacts import CALL_AUCTION, COMMUNITY_PRICE, DELIVERIES, ORDER_BOOK, SETTLEMENT, TOKEN, load
from gridpact.chain.contract import DeployedContract, arguments_of, chain_time, checked_address
from gridpact.chain.deploy import check_fork
from gridpact.chain.deposits import Deposits
from gridpact.chain.encoding import decode_trades, encode_energies, encode_trades
from gridpact.chain.reverts import Abi, contract_error, learn_errors, readable
from gridpact.chain.settlement import ALL, Settlement
from gridpact.chain.values import Phase, RoundOutcome, SignedReading, TradedStep, bitmap_to_nodes
from gridpact.errors import ContractError, InputError
from gridpact.files import parse_json, reason_of, write_atomically
from gridpact.limits import MOST_UNITS

LOOK_SECONDS = 0.05
"""Between looks at a round that is waited for."""

ENROLLED_A_CALL = 32
"""Accounts that are enrolled in one transaction."""

MOST_FILLS = 64
"""Orders that a call meets at most."""

DELIVERED_A_CALL = 32
"""Readings that are delivered in one transaction."""

FRESH = 60_000
"""Gas that an order may need beyond an estimate, because of what came or went since."""

STEP_GAS = 1_000
"""Gas that a step takes who closes an iteration, beyond what telling takes."""

ENERGIES, LANE = 8, 2**32 - 1
"""Numbers in a word of a community's price, and the bits of one."""

FILL = struct.Struct(">I")
PRICE = struct.Struct(">i")


@dataclass(frozen=True)
class BookSetting:
    """What an order book is made with, see IOrderBook."""

    first_gate: int
    step_seconds: int
    lowest_micro: int
    tick_micro: int
    top: int
    least_wh: int
    steps: int
    nodes: int
    join_seconds: int


@dataclass(frozen=True)
class AuctionSetting:
    """What an auction is made with, see ICallAuction."""

    steps: int
    nodes: int
    phase_seconds: int
    lowest_micro: int
    highest_micro: int
    bond: int


@dataclass(frozen=True)
class PriceSetting:
    """What a community's price is found with, see ICommunityPrice."""

    steps: int
    nodes: int
    phase_seconds: int
    most_iterations: int
    max_misses: int
    unit_mwh: int
    gap_ppm: int


@dataclass(frozen=True)
class MarketRecord:
    """Where a market is, and who settles what is delivered beyond its trades: all that a home needs besides its key."""

    contract: str  # name of the market's
    scenario: str  # what is played in it: how its orders are priced
    rounds: int  # of placing orders, in a book
    network: str
    chain_id: int
    block: int  # of the first transaction
    market: str
    settlement: str
    token: str
    deliveries: str  # hands many readings to a settlement

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> MarketRecord:
        """
        Raises:
            InputError: there is none, or it is broken.
        """
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            return MarketRecord(**{field.name: values[field.name] for field in fields(MarketRecord)})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"The record {path} of a market cannot be read ({reason_of(error)}): deploy anew."
            ) from error

    def settlement_of(self, web3: Web3, account: ChainAccount | None = None) -> Settlement:
        """The settlement contract."""
        return Settlement.at(self.settlement, load(SETTLEMENT).abi, self, web3, account)

    @property
    def token_abi(self) -> Abi:
        return load(TOKEN).abi


def deploy_market(
    account: ChainAccount,
    contract: str,
    scenario: str,
    setting: BookSetting | AuctionSetting | PriceSetting,
    network: str,
    supplier: str,
    metering: str,
    rounds: int = 1,
) -> MarketRecord:
    """Deploys a test token, a market, the settlement that reads it, and what delivers many at once.

    Args:
        account: becomes the manager.
        contract: name of the market's.
    """
    web3 = account.web3
    check_fork(web3)
    with readable("its block number"):
        block, chain_id = int(web3.eth.block_number) + 1, int(web3.eth.chain_id)

    def deploy(name: str, *arguments: object) -> str:
        artifact = load(name)
        factory = web3.eth.contract(abi=cast(Any, artifact.abi), bytecode=cast(Any, artifact.bytecode))
        with readable(f"the deployment of {name}"):
            call = factory.constructor(*arguments)
        return checked_address(str(account.send(call)["contractAddress"]))

    token = deploy(TOKEN)
    market = deploy(contract, astuple(setting), token)
    settlement = deploy(SETTLEMENT, market, token, checked_address(supplier), checked_address(metering))
    deliveries = deploy(DELIVERIES)
    return MarketRecord(contract, scenario, rounds, network, chain_id, block, market, settlement, token, deliveries)


class MarketContract(Deposits):
    """What all have: a day's round."""

    CONTRACT: ClassVar[str]

    @classmethod
    def of(cls, record: MarketRecord, web3: Web3, account: ChainAccount | None = None) -> Any:
        """The market of a deployment, by its contract."""
        kinds = (BookContract, AuctionContract, PriceContract)
        kind = {market.CONTRACT: market for market in kinds}[record.contract]
        return kind.at(record.market, load(record.contract).abi, record, web3, account)

    def enrol(self, accounts: Mapping[int, str]) -> None:
        """Enrols accounts, by node number."""
        nodes = sorted(accounts)
        for first in range(0, len(nodes), ENROLLED_A_CALL):
            few = nodes[first : first + ENROLLED_A_CALL]
            self._send("enrol", few, [checked_address(accounts[node]) for node in few])

    def open_round(self, day: int) -> int:
        """Opens a day's round (yyyymmdd). Returns its number."""
        self._send("openRound", day)
        return self.round()

    def round(self) -> int:
        """The current round."""
        return int(self._progress()[0])

    def iteration(self, round: int) -> int:
        """The phase after declaring that is open; 0 while nodes declare."""
        now = self._progress()
        return int(now[1]) if now[0] == round else 0

    def outcome(self, round: int) -> RoundOutcome:
        """How a round ended."""
        phase, iterations, present, day, head = self._read("outcome", round)
        return RoundOutcome(Phase(phase), iterations, bitmap_to_nodes(present), day, bytes(head))

    def account_in(self, round: int, node: int) -> str:
        """Who was a node in a round."""
        return str(self._read("accountIn", round, node))

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Waits for something that others bring about, or the end of their time, which anybody may say."""
        while not is_so():
            _, _, phase, deadline, *_ = self._progress()
            if Phase(phase).is_running and self.account is not None and chain_time(self.web3) > deadline:
                with suppress(ContractError):  # another one has said so
                    self._send("closeOverdue")
            time.sleep(LOOK_SECONDS)

    def _progress(self) -> Any:
        return self._read("progress")

    def _said(self, name: str, round: int) -> list[Mapping[str, Any]]:
        """What events of a round say, in the chain's order."""
        return [arguments_of(event) for event in self._events(name, round=round)]


@dataclass(frozen=True)
class BookTrade:
    """A trade of a book."""

    maker: str
    taker: str
    step: int  # of the book
    taker_sells: bool
    price_micro: int
    energy_wh: int
    payment: int  # token units, from who buys to who sells


class BookContract(MarketContract):
    """The order book of a continuous double auction."""

    CONTRACT = ORDER_BOOK

    def setting(self) -> BookSetting:
        return BookSetting(*self._read("setting"))

    def first_step(self, round: int) -> int:
        """Of the round's day in the book."""
        return int(self._read("firstStepOf", round))

    def gate(self, step: int) -> int:
        """Unix time at which the gate of a step of the book closes."""
        return int(self._read("gateOf", step))

    def join(self, round: int) -> TxReceipt:
        """Takes part in a round."""
        return self._send("join", round)

    def placing(self, step: int, sells: bool, price_micro: int, energy_wh: int) -> ContractCall:
        """The call that places an order, which meets what it can; the rest rests."""
        return self.call("place", step, sells, price_micro, energy_wh, MOST_FILLS, True)

    def cancelling(self, id: int) -> ContractCall:
        return self.call("cancel", id)

    def position(self, step: int, account: str) -> int:
        """Wh that an account has bought for a step of the book, less what it has sold."""
        return int(self._read("position", step, account))

    def send_fresh(self, call: ContractCall) -> TxReceipt:
        """Sends a call whose gas depends on what others do meanwhile."""
        assert self.account is not None
        return self.account.send(call, spare=FRESH, afresh=True)

    def rests(self, receipt: TxReceipt) -> int:
        """The order that rests after a placing; 0 where none does."""
        events = self.own_events(cast(Any, receipt["logs"]))
        return next((int(arguments_of(event)["id"]) for event in events if event["event"] == "Placed"), 0)

    def trades(self) -> list[BookTrade]:
        """All trades, in the chain's order."""
        setting = self.setting()
        trades = []
        for event in self._events("Traded"):
            arguments = arguments_of(event)
            id = int(arguments["id"])
            price = setting.lowest_micro + setting.tick_micro * (id >> 32 & 0xFF)
            maker_sells = bool(id >> 40 & 1)
            parties = str(arguments["maker"]), str(arguments["taker"])
            energy, payment = int(arguments["energy"]), int(arguments["payment"])
            trades.append(BookTrade(*parties, id >> 41, not maker_sells, price, energy, payment))
        return trades

    def traded(self, round: int, node: int) -> bytes:
        """What a node has traded in a round, as the settlement is told."""
        first, account = self.first_step(round), self.account_in(round, node)
        bought = [self.position(first + step, account) for step in range(self.setting().steps)]
        return encode_trades([(step, -wh, 0) for step, wh in enumerate(bought) if wh])


class AtOnePriceContract(MarketContract):
    """What clears all steps of a day at once, at one price a step."""

    def bids(self, round: int) -> dict[int, tuple[TradedStep, ...]]:
        """The bids that can be cleared, by node, ascending."""
        raise NotImplementedError

    def clear(self, round: int, fills: Mapping[int, Sequence[int]]) -> TxReceipt:
        """Posts how much of each bid is filled, Wh, by node and in the order of its bids."""
        bids = self.bids(round)
        packed = [b"".join(map(FILL.pack, fills[node])) for node in bids]
        return self._send("clear", round, [_encoded(own) for own in bids.values()], packed, afresh=True)

    def cleared(self, round: int) -> tuple[list[int], dict[int, list[int]], dict[int, int]]:
        """Price of each step, 1e-6 currency/kWh; and by node the fills of its bids, Wh, and the payment it received."""
        (clearing,) = self._said("Cleared", round)
        prices = [price for (price,) in PRICE.iter_unpack(bytes(HexBytes(clearing["prices"])))]
        nodes = sorted(bitmap_to_nodes(int(clearing["nodes"])))
        fills = [[wh for (wh,) in FILL.iter_unpack(bytes(HexBytes(packed)))] for packed in clearing["fills"]]
        payments = map(int, clearing["payments"])
        return prices, dict(zip(nodes, fills, strict=True)), dict(zip(nodes, payments, strict=True))

    def traded(self, round: int, node: int) -> bytes:
        """What a node has traded in a round, as the settlement is told."""
        bids = self.bids(round)
        if node not in bids or self.outcome(round).phase is not Phase.CONVERGED:
            return b""
        prices, fills, _ = self.cleared(round)
        return encode_trades(
            [
                (bid.step, wh if bid.energy_wh > 0 else -wh, prices[bid.step])
                for bid, wh in zip(bids[node], fills[node], strict=True)
                if wh
            ]
        )


@dataclass(frozen=True)
class BidsOpening:
    """What opens a commitment to bids."""

    salt: bytes
    bids: bytes  # encoded by `encode_trades`, energy offered positive

    def write(self, path: Path) -> None:
        write_atomically(path, f"{self.salt.hex()}\n{self.bids.hex()}\n", 0o600)

    @staticmethod
    def read(path: Path) -> BidsOpening:
        salt, bids = path.read_text(encoding="ascii").splitlines()
        return BidsOpening(bytes.fromhex(salt), bytes.fromhex(bids))


class AuctionContract(AtOnePriceContract):
    """The call auction of sealed bids."""

    CONTRACT = CALL_AUCTION
    CLEARING = 2
    """The iteration in which a round is cleared."""

    def setting(self) -> AuctionSetting:
        return AuctionSetting(*self._read("setting"))

    def commitment(self, round: int, salt: bytes, bids: bytes) -> bytes:
        """What seals the account's bids. Worked out here: an endpoint that was asked would know them."""
        assert self.account is not None
        values = (self.chain_id, self.address, round, self.account.address, salt, bytes(Web3.keccak(bids)))
        types = ["uint256", "address", "uint32", "address", "bytes32", "bytes32"]
        return bytes(Web3.keccak(encode(types, values)))

    def commit(self, round: int, salt: bytes, bids: bytes) -> TxReceipt:
        """Seals bids, encoded by `encode_trades`, energy offered positive, and locks the bond."""
        return self._send("commit", round, self.commitment(round, salt, bids))

    def reveal(self, round: int, salt: bytes, bids: bytes) -> TxReceipt:
        """Opens them, and locks what they could come to."""
        return self._send("reveal", round, salt, bids, spare=FRESH)

    def committed(self, round: int) -> frozenset[int]:
        """The nodes that have committed to bids."""
        return frozenset(map(_node, self._said("Committed", round)))

    def present(self, round: int) -> frozenset[int]:
        """The nodes that have done what the open phase asks for."""
        now = self._progress()
        return bitmap_to_nodes(now[7]) if now[0] == round else frozenset()

    def deadline(self) -> int:
        """Unix time at which the open phase ends."""
        return int(self._progress()[3])

    def bids(self, round: int) -> dict[int, tuple[TradedStep, ...]]:
        """The bids of all who have revealed any, or whose were opened, by node, ascending."""
        for opened in self._said("Opened", round):
            (clearing,) = self._said("Cleared", round)
            nodes = sorted(bitmap_to_nodes(int(clearing["nodes"])))
            return {node: decode_trades(bytes(bids)) for node, bids in zip(nodes, opened["bids"], strict=True)}
        revelations = sorted(self._said("Revealed", round), key=_node)
        return {int(one["node"]): decode_trades(bytes(HexBytes(one["bids"]))) for one in revelations}

    def clear_opened(
        self, round: int, openings: Mapping[int, BidsOpening], fills: Mapping[int, Sequence[int]]
    ) -> TxReceipt:
        """The same where nobody has revealed, with what opens the commitments of all."""
        nodes = sorted(openings)
        salts, bids = [openings[node].salt for node in nodes], [openings[node].bids for node in nodes]
        packed = [b"".join(map(FILL.pack, fills[node])) for node in nodes]
        return self._send("clearOpened", round, salts, bids, packed, afresh=True)


@dataclass(frozen=True)
class Priced:
    """An iteration of a community's price, as it was closed."""

    iteration: int
    present: frozenset[int]
    settled: bool
    history: int  # what is told next names it
    sums: tuple[int, ...]  # of what was told, units by step
    price_micro: tuple[int, ...]  # the next; of a settled iteration, that by which it was planned


class PriceContract(AtOnePriceContract):
    """The manager's step of a community that plans by one price a step."""

    CONTRACT = COMMUNITY_PRICE

    def terms(self) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
        """rho, base, feed-in and import price of each step, see ICommunityPrice."""
        rho, base, feed_in, imports = self._read("terms")
        return int(rho), int(base), prices_of(feed_in, self.steps), prices_of(imports, self.steps)

    @cached_property
    def steps(self) -> int:
        return int(self._read("steps"))

    @cached_property
    def unit_mwh(self) -> int:
        return int(self._read("unit"))

    def open_on(self, day: int, rho: int, base: int, feed_in: Sequence[int], imports: Sequence[int]) -> int:
        """Opens a day's round (yyyymmdd) on terms. Returns its number."""
        self._send("openOn", day, rho, base, words_of(feed_in), words_of(imports))
        return self.round()

    def join(self, round: int) -> TxReceipt:
        """Takes part in a round."""
        return self._send("join", round)

    def abstain(self, round: int) -> TxReceipt:
        """Keeps out of it."""
        return self._send("abstain", round)

    def tell(self, round: int, iteration: int, history: int, units: Sequence[int], gain_nano: int) -> TxReceipt:
        """Tells what would pass the meter, units by step. Who comes last pays for the step, whatever was estimated."""
        words = words_of([MOST_UNITS + one for one in units])
        return self._send("tell", round, iteration, history, words, gain_nano, spare=FRESH + STEP_GAS * len(units))

    def is_settled(self, round: int) -> bool:
        """Whether it waits to be cleared: nobody is waited for, and it iterates."""
        now = self._progress()
        return now[0] == round and Phase(now[2]) is Phase.ITERATING and now[4] == now[5]

    def priced(self, round: int) -> list[Priced]:
        """All iterations that were closed."""
        return [self._priced(one) for one in self._said("Priced", round)]

    def priced_in(self, round: int, iteration: int) -> Priced | None:
        """One of them, as soon as it is closed; None where the round ends before."""

        def is_over() -> bool:
            return self.outcome(round).phase.is_final

        self.wait_until(lambda: self.iteration(round) > iteration or is_over())
        for event in self._events("Priced", round=round, iteration=iteration):
            return self._priced(arguments_of(event))
        return None

    def _priced(self, said: Mapping[str, Any]) -> Priced:
        present, steps = bitmap_to_nodes(int(said["present"])), self.steps
        sums = tuple(lane - MOST_UNITS * len(present) for lane in lanes_of(said["sums"], steps))
        history = int.from_bytes(bytes(HexBytes(said["head"]))[-2:], "big")
        return Priced(
            int(said["iteration"]), present, bool(said["settled"]), history, sums, prices_of(said["price"], steps)
        )

    def weighed(self, round: int, iteration: int) -> dict[int, tuple[int, bytes]]:
        """What nodes would gain, 1e-9 currency, and their bids, by node, ascending."""
        events = self._events("Weighed", round=round, iteration=iteration)
        told = sorted((arguments_of(event) for event in events), key=_node)
        return {_node(one): (int(one["gain"]), bytes(HexBytes(one["bids"]))) for one in told}

    def bids(self, round: int) -> dict[int, tuple[TradedStep, ...]]:
        """Of the iteration that settled the round, by node, ascending."""
        settled = [one for one in self.priced(round) if one.settled]
        if not settled:
            return {}
        told = self.weighed(round, settled[-1].iteration)
        return {node: decode_trades(bids) for node, (_, bids) in told.items()}


def words_of(values: Sequence[int]) -> list[int]:
    """Numbers of 32 bits, 8 a word, from the least significant."""
    lanes = range(0, len(values), ENERGIES)
    return [
        sum((value & LANE) << 32 * at for at, value in enumerate(values[first : first + ENERGIES])) for first in lanes
    ]


def lanes_of(words: Sequence[int], steps: int) -> list[int]:
    """The numbers in words, without a sign."""
    return [int(words[step // ENERGIES]) >> 32 * (step % ENERGIES) & LANE for step in range(steps)]


def prices_of(words: Sequence[int], steps: int) -> tuple[int, ...]:
    """The numbers in words, with their sign."""
    half = (LANE + 1) // 2
    return tuple((lane + half) % (LANE + 1) - half for lane in lanes_of(words, steps))


class Deliveries(DeployedContract):
    """What hands signed readings to a settlement, many in a transaction."""

    @staticmethod
    def of(record: MarketRecord, web3: Web3, account: ChainAccount) -> Deliveries:
        learn_errors(load(SETTLEMENT).abi)
        return Deliveries(web3, record.deliveries, load(DELIVERIES).abi, account, record.chain_id)

    def deliver(self, settlement: Settlement, traded: Mapping[int, bytes], readings: Sequence[SignedReading]) -> None:
        """Delivers in a round of a market.

        Args:
            traded: what each node has traded with all at once, encoded by `encode_trades`, energy sold positive.

        Raises:
            ContractError: one was refused, and the others of its batch are delivered; who was delivered before is.
        """
        if not readings:
            return
        round_, tariffs = readings[0].round, settlement.tariffs_of(readings[0].round, [one.node for one in readings])
        for tariff in sorted(set(tariffs.values())):
            alike = [one for one in readings if tariffs[one.node] == tariff]
            for first in range(0, len(alike), DELIVERED_A_CALL):
                several = [
                    (one.node, encode_energies(one.energies_wh), [(ALL, traded[one.node])], one.r, one.vs)
                    for one in alike[first : first + DELIVERED_A_CALL]
                ]
                receipt = self._send("deliver", settlement.address, round_, tariff, several, afresh=True)
                for event in self.own_events(receipt["logs"]):
                    said = arguments_of(event)
                    refused = contract_error(f"delivering node {said['node']}", bytes(said["reason"]))
                    if refused.name != "AlreadyDelivered":
                        raise refused


def _encoded(bids: Sequence[TradedStep]) -> bytes:
    return encode_trades([astuple(bid) for bid in bids])


def _node(arguments: Mapping[str, Any]) -> int:
    return int(arguments["node"])
