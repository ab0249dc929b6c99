"""What the contract `VirtualAggregator` answers about itself, at the newest block."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, TypeVar

from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.artifacts import SEALED_REFEREE, load
from gridpact.chain.clock import ChainClock
from gridpact.chain.contract import DeployedContract, checked_address, in_time
from gridpact.chain.keys import NOBODY
from gridpact.chain.record import Record
from gridpact.chain.reverts import Abi
from gridpact.chain.values import (
    Coupling,
    DeclarationState,
    Phase,
    Progress,
    Roster,
    RoundOutcome,
    Setting,
    Theta,
    bitmap_to_nodes,
)
from gridpact.errors import InputError
from gridpact.limits import MOST_NODES, MOST_PRODUCT

Views = TypeVar("Views", bound="AggregatorViews")


class AggregatorViews(DeployedContract):
    """The aggregator at an address, asked.

    Nothing that it remembers must hold: where the chain is taken back, it reads again.

    Args:
        product: that whose rounds are meant wherever none is named, see `IRounds`: 0, tomorrow's day, or another one,
            which can be open at the same time. What is asked of a round is asked by its number, whatever its product.
    """

    def __init__(
        self,
        web3: Web3,
        address: str,
        abi: Abi,
        account: ChainAccount | None = None,
        chain_id: int | None = None,
        first_block: int = 0,
        product: int = 0,
    ) -> None:
        super().__init__(web3, address, abi, account, chain_id, first_block)
        self.product = product
        if not 0 <= product <= MOST_PRODUCT:
            raise InputError(f"There is no product {product}: choose one from 0 to {MOST_PRODUCT}.")
        self._seen: Progress | None = None  # last
        self._clock = ChainClock(web3)
        try:
            self._theta = self._read_theta()
            self._setting = Setting(*self._read("setting"))
            if "agreedIn" not in self.interface.functions:
                raise TypeError("no view agreedIn")
        except TypeError as error:  # more or fewer values than there are fields
            raise InputError(f"The ABI of {self.address} is of another version: use the ABI of the record.") from error

    @classmethod
    def of(
        cls: type[Views], record: Record, web3: Web3, account: ChainAccount | None = None, product: int = 0
    ) -> Views:
        """The aggregator of a deployment, for rounds of a product."""
        return cls(web3, record.aggregator, record.aggregator_abi, account, record.chain_id, record.block, product)

    def _read_theta(self) -> Theta:
        theta = Theta(*self._read("theta"))
        if not 1 <= theta.n <= MOST_NODES or theta.mu < 1:
            raise InputError(
                f"The contract at {self.address} is no aggregator (n = {theta.n}, mu = {theta.mu}): check the address."
            )
        return theta

    # ------------------------------------------------------------------ what it was deployed with

    def theta(self) -> Theta:
        """The parameters of the agreement: constant, read once."""
        return self._theta

    def setting(self) -> Setting:
        """Horizon and resolutions: constant, read once."""
        return self._setting

    def referee(self) -> str:
        """The address of the contract that decides on accusations."""
        return str(self._read("referee"))

    @cached_property
    def sealed(self) -> bool:
        """Whether submissions are sealed: the referee says by which rules it judges."""
        referee = DeployedContract(self.web3, self.referee(), load(SEALED_REFEREE).abi, None, self.chain_id)
        return bool(referee._read("seals"))

    # ------------------------------------------------------------------ where rounds stand

    def progress(self) -> Progress:
        """Where the current round stands."""
        now = in_time(self._progress, lambda now: not self._is_earlier(now))  # or one node of several lags behind
        if self.account is not None and self._is_earlier(now):
            self.account.forget_nonce()  # the chain was taken back, perhaps with transactions of this account
        self._seen = now
        return now

    def _read_of_product(self, name: str, *arguments: object) -> Any:
        """What a view says of the product's current round."""
        return self._read(*self._of_product(name), *arguments)

    def _of_product(self, name: str) -> tuple[Any, ...]:
        """A function of the product's current round, and the argument that says so: product 0 is meant without one."""
        return (f"{name}Of", self.product) if self.product else (name,)

    def _progress(self) -> Progress:
        number, iteration, phase, deadline, counter, expected, history, present = self._read_of_product("progress")
        return Progress(number, iteration, Phase(phase), deadline, counter, expected, history, bitmap_to_nodes(present))

    def _is_earlier(self, now: Progress) -> bool:
        return self._seen is not None and now.is_earlier_than(self._seen)

    def outcome(self, round: int) -> RoundOutcome:
        """How a round ended."""
        phase, iterations, present, day, head = self._read("outcome", round)
        return RoundOutcome(Phase(phase), iterations, bitmap_to_nodes(present), day, bytes(head))

    def agreed_in(self, day: int) -> int:
        """The round in which a day (yyyymmdd) was agreed; 0 where none was, or it was replaced."""
        return int(self._read_of_product("agreedIn", day))

    def head(self) -> tuple[int, bytes]:
        """Number of closed iterations of the current round, and their hash chain."""
        iteration, head = self._read_of_product("head")
        return int(iteration), bytes(head)

    def running(self, node: int) -> Coupling:
        """The sums of a node's blocks in the open iteration, as far as it has come."""
        return in_time(lambda: self._running(node), self._is_as_new)

    def _running(self, node: int) -> Coupling:
        iteration, present, sums = self._read_of_product("running", node)
        return Coupling(iteration, bitmap_to_nodes(present), tuple(sums))

    def _is_as_new(self, now: Coupling) -> bool:
        """Whether it is of no earlier moment than the progress that was seen: a chain that makes a block just then
        answers of the one before."""
        seen = self._seen
        if seen is None or now.iteration != seen.iteration:
            return seen is None or now.iteration > seen.iteration
        return now.present >= seen.present

    def scalars(self) -> tuple[int, int]:
        """Number of coupled scalars of the network and of the bids: what the RMS divides by."""
        grid, trade = self._read_of_product("scalars")
        return int(grid), int(trade)

    def chain_now(self) -> float:
        """Unix time by the chain."""
        return self._clock.now()

    # ------------------------------------------------------------------ who takes part

    def manager(self) -> str:
        """The account of the community manager."""
        return str(self._read("owner"))

    def enrolled(self) -> frozenset[int]:
        """The enrolled nodes."""
        return bitmap_to_nodes(self._read("enrolled"))

    def node_of(self, address: str) -> int:
        """The node that an account is enrolled as; `ContractError` NotEnrolled where it is not."""
        return int(self._read("nodeOf", checked_address(address)))

    def account_of(self, node: int) -> str | None:
        """The account of a node; None where nobody is enrolled."""
        return _somebody(self._read("accountOf", node))

    def node_in(self, round: int, address: str) -> int:
        """The node as which an account declared in a round; `ContractError` NotEnrolled where it did not."""
        return int(self._read("nodeIn", round, checked_address(address)))

    def account_in(self, round: int, node: int) -> str | None:
        """The account that declared as the node in a round; None where none did."""
        return _somebody(self._read("accountIn", round, node))

    def accounts_in(self, round: int, nodes: Iterable[int]) -> dict[int, str]:
        """The accounts of those of the nodes that declared in a round."""
        accounts = {node: self.account_in(round, node) for node in sorted(nodes)}
        return {node: account for node, account in accounts.items() if account is not None}

    def roster(self) -> Roster:
        """Who is in the current round, from its start."""
        return Roster(*map(bitmap_to_nodes, self._read_of_product("roster")))

    def declaration(self, node: int) -> DeclarationState:
        """What holds of the node's last declaration."""
        round, parent, depth, bids, children, misses, out = self._read_of_product("declaration", node)
        return DeclarationState(round, parent, depth, bids, bitmap_to_nodes(children), misses, out)

    def copies_length(self, node: int) -> int:
        """Number of words in a submission of the node."""
        return int(self._read_of_product("copiesLength", node))

    def commitment(self, round: int, node: int) -> tuple[bytes, bytes]:
        """The hash chain of the node's submissions in a round, and the hash of its book."""
        submissions, book = self._read("commitment", round, node)
        return bytes(submissions), bytes(book)


def _somebody(address: str) -> str | None:
    return None if address == NOBODY else address
