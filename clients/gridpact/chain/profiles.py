"""The networks that gridpact knows by name. The address of a node of theirs is always given by the user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from gridpact.errors import InputError

RPC_URL = "GRIDPACT_RPC_URL"
"""Environment variable with the address of a node of the chain."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOCAL_URL = "http://127.0.0.1:8545"

ETH_PRICE_EUR = 3000.0
"""Of Ethereum's ether, assumed where nobody states another price. Test ether is taken to cost as much, to show what a
round would on a chain where it does."""

ETHERSCAN = "https://api.etherscan.io/v2/api"
"""One address for all chains that it knows, told apart by `chainid`."""


@dataclass(frozen=True)
class ChainProfile:
    """What is known of a network before it is asked."""

    name: str
    title: str
    chain_id: int | None  # None: whatever answers
    block_seconds: float
    confirmations: int  # blocks after which the manager's transactions count, their own included
    local: bool = False  # on this machine
    eth_price_eur: float = ETH_PRICE_EUR  # assumed where nobody states another; 0: its ether is worth nothing
    has_data_fee: bool = False  # OP stack: beside the gas, a fee for the data on Ethereum
    token: str | None = None  # a test stablecoin in euro
    explorer_api: str | None = None
    explorer: str | None = None  # its pages

    @property
    def patience(self) -> float:
        """How long a transaction may take to be in a block and confirmed, s."""
        return max(180.0, (20 + 2 * self.confirmations) * self.block_seconds)

    @property
    def phase_seconds(self) -> int:
        """Time for declaring and for an iteration: twenty-five blocks, at least five minutes."""
        return max(300, round(25 * self.block_seconds))

    def url(self, given: str | None) -> str:
        """The address of a node: given, else from GRIDPACT_RPC_URL, else the usual one of this machine."""
        url = given or os.environ.get(RPC_URL) or (LOCAL_URL if self.local else None)
        if url is None:
            raise InputError(f"The network {self.name} needs the address of a node: give --rpc, or set {RPC_URL}.")
        if urlsplit(url).scheme not in ("http", "https", "ws", "wss"):
            raise InputError("The address of a node begins with http:// or ws://: check --rpc.")
        if self.local and urlsplit(url).hostname not in LOOPBACK:
            raise InputError(
                f"The network {self.name} is on this machine, but --rpc points elsewhere: take another --network."
            )
        return url

    def check(self, chain_id: int) -> None:
        """Raises InputError where another chain answers than this network is."""
        if self.chain_id is not None and chain_id != self.chain_id:
            others = [one.name for one in PROFILES if one.chain_id == chain_id]
            hint = f" (that is {others[0]})" if others else ""
            raise InputError(
                f"The network {self.name} is chain {self.chain_id}, but the node at --rpc is on chain {chain_id}{hint}:"
                " give the address of another node, or another --network."
            )


PROFILES = (
    ChainProfile("local", "any chain on this machine", None, 1.0, 1, local=True, eth_price_eur=0.0),
    ChainProfile("anvil", "Anvil on this machine", 31337, 1.0, 1, local=True, eth_price_eur=0.0),
    ChainProfile("ganache", "Ganache on this machine", 1337, 1.0, 1, local=True, eth_price_eur=0.0),
    # Its blocks are final at once. The chain id is what its genesis says.
    ChainProfile(
        "consortium",
        "a consortium's own network, reached by a validator on this machine",
        None,
        1.0,
        1,
        eth_price_eur=0.0,
    ),
    ChainProfile("remote", "any other chain", None, 12.0, 3),
    ChainProfile(
        "sepolia",
        "Sepolia, the public testnet of Ethereum",
        chain_id=11155111,
        block_seconds=12.0,
        confirmations=3,
        token="0x08210F9170F89Ab7658F0B5E3fF39b0E03C594D4",  # EURC, Circle's list of testnet addresses
        explorer_api=ETHERSCAN,
        explorer="https://sepolia.etherscan.io",
    ),
    ChainProfile(
        "base-sepolia",
        "Base Sepolia, the public testnet of a rollup on Ethereum (OP stack)",
        chain_id=84532,
        block_seconds=2.0,
        confirmations=5,
        has_data_fee=True,
        token="0x808456652fdb597867f38412077A9182bf77359F",  # EURC, Circle's list of testnet addresses
        explorer_api=ETHERSCAN,
        explorer="https://sepolia.basescan.org",
    ),
    ChainProfile(
        "op-sepolia",
        "OP Sepolia, the public testnet of a rollup on Ethereum (OP stack)",
        chain_id=11155420,
        block_seconds=2.0,
        confirmations=5,
        has_data_fee=True,
        explorer_api=ETHERSCAN,
        explorer="https://sepolia-optimism.etherscan.io",
    ),
)


def profile_of(name: str) -> ChainProfile:
    """The network of a name.

    Raises:
        InputError: there is none.
    """
    for profile in PROFILES:
        if profile.name == name:
            return profile
    raise InputError(f"There is no network '{name}': choose one of {', '.join(one.name for one in PROFILES)}.")
