"""Which chain this is: one that begins anew may have the same contracts at the same addresses, and knows nothing."""

from __future__ import annotations

from dataclasses import dataclass

from web3 import Web3
from web3.exceptions import Web3Exception

from gridpact.chain.record import Record
from gridpact.chain.reverts import readable
from gridpact.errors import ChainError


class ChainReplaced(ChainError):
    """The chain is not the one that it was."""


@dataclass(frozen=True)
class Identity:
    """What stays the same on a chain for ever. A hash is empty where the endpoint does not show its block."""

    chain_id: int
    genesis: str  # hash of block 0
    deployed: str  # hash of the first block of the deployment

    @staticmethod
    def of(web3: Web3, record: Record) -> Identity:
        """Asks the chain: three requests."""
        with readable("its chain id"):
            chain_id = int(web3.eth.chain_id)
        return Identity(chain_id, _hash(web3, 0), _hash(web3, record.block))

    def is_same(self, other: Identity) -> bool:
        """Whether nothing speaks against it."""
        pairs = ((self.chain_id, other.chain_id), (self.genesis, other.genesis), (self.deployed, other.deployed))
        return all(one == two for one, two in pairs if one and two)


def _hash(web3: Web3, number: int) -> str:
    try:
        with readable("an old block"):
            return Web3.to_hex(web3.eth.get_block(number)["hash"])
    except ChainError as error:
        if isinstance(error.__cause__, Web3Exception):
            return ""
        raise
