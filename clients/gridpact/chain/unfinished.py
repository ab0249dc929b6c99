"""A deployment that is under way: what was sent is noted, so that one that stopped half-way is gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.types import Nonce, TxReceipt
from web3.utils import get_create_address

from gridpact.chain.contract import checked_address, input_of
from gridpact.chain.reverts import readable
from gridpact.errors import ChainError, InputError
from gridpact.files import parse_json, reason_of, write_atomically

SUFFIX = ".unfinished"

POLL_SECONDS = 1.0


@dataclass
class Unfinished:
    """What is known of a deployment on the way, in a file beside its record-to-be.

    The nonce of each creation is noted before it is sent, and fixes the contract's address: whatever happens then, the
    chain tells whether it stands.
    """

    path: Path
    web3: Web3
    manager: str
    about: Mapping[str, Any]  # chain, account, constants and roles: a deployment with others is another one
    block: int  # no transaction is in an older one
    sent: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # contract -> nonce, block before, hash once it stands

    @classmethod
    def of(cls, record: Path, web3: Web3, manager: str, constants: Mapping[str, Any], lasting: bool) -> Unfinished:
        """The deployment that stopped before its record was written, or a new one.

        Args:
            record: the file that the record is going to be.
            constants: what it is deployed with.
            lasting: whether the chain lasts: what was begun on another one is complained about, not forgotten.

        Raises:
            InputError: another deployment was begun for this record.
        """
        path = record.with_name(record.name + SUFFIX)
        with readable("its first and last block"):
            genesis = Web3.to_hex(web3.eth.get_block(0)["hash"])
            about = {"genesis": genesis, "manager": manager, **parse_json(json.dumps(constants))}
            new = cls(path, web3, manager, about, int(web3.eth.block_number) + 1)
        if not path.exists():
            return new
        try:
            note = parse_json(path.read_text(encoding="utf-8"))
            unfinished = cls(path, web3, manager, note["about"], int(note["block"]), dict(note["sent"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"What {path} says of an unfinished deployment cannot be read ({reason_of(error)}): restore it, or"
                " remove it to begin anew."
            ) from None
        names = {
            "genesis": "on another chain",
            "manager": f"by account {unfinished.about.get('manager')}",
            "sealed": "in the other form (--sealed or --open)",
        }
        for name, value in about.items():
            if unfinished.about.get(name) != value:
                if name == "genesis" and not lasting:
                    return new
                how = names.get(name, f"with another {name}")
                raise InputError(
                    f"A deployment was begun {how}, and not finished: go on with that one, or remove {path} to begin"
                    " anew."
                )
        return unfinished

    def receipt(self, name: str, data: bytes, patience: float) -> TxReceipt | None:
        """The receipt of a contract's creation, if it was sent and stands; None where it is to be sent.

        Args:
            data: what the creation carries.
            patience: how long a transaction that no block has yet is waited for, s.

        Raises:
            InputError: what stands there was created otherwise.
            ChainError: its transaction still waits, or cannot be found.
        """
        if name not in self.sent:
            return None
        nonce = int(self.sent[name]["nonce"])
        self._wait(name, nonce, patience)
        with readable(f"the code of {name}"):
            code = self.web3.eth.get_code(get_create_address(checked_address(self.manager), Nonce(nonce)))
        if not code:
            return None
        transaction = self._transaction(name, nonce)
        if input_of(transaction) != data:
            raise InputError(
                f"{name} was deployed by another version of gridpact, or from other constants, before it stopped: go on"
                f" with that version, or remove {self.path} to begin anew."
            )
        with readable(f"the receipt of {name}"):
            return self.web3.eth.get_transaction_receipt(transaction["hash"])

    def before(self, name: str) -> None:
        """Notes that a contract is going to be sent."""
        with readable("the nonce"):
            nonce = self.web3.eth.get_transaction_count(checked_address(self.manager), "pending")
            self.sent[name] = {"nonce": nonce, "block": int(self.web3.eth.block_number) + 1}
        self._write()

    def after(self, name: str, receipt: TxReceipt) -> None:
        """Notes that it stands."""
        self.sent[name]["hash"] = Web3.to_hex(receipt["transactionHash"])
        self._write()

    def forget(self) -> None:
        """The record is written: nothing is unfinished any more."""
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_atomically(
            self.path, json.dumps({"about": self.about, "block": self.block, "sent": self.sent}, indent=1) + "\n"
        )

    def _wait(self, name: str, nonce: int, patience: float) -> None:
        """Until a block has the transaction with a nonce, if the chain's node knows of one."""
        if not wait_for_sent(self.web3, self.manager, patience, nonce):
            raise ChainError(
                f"The transaction that deploys {name} (nonce {nonce} of {self.manager}) was sent and is in no block"
                " yet: wait until it is, then give the same command again."
            )

    def _transaction(self, name: str, nonce: int) -> Any:
        """By its hash, or among those of the blocks since it was sent."""
        noted = self.sent[name]
        with readable(f"the transaction that deployed {name}"):
            if "hash" in noted:
                return self.web3.eth.get_transaction(HexBytes(noted["hash"]))
            for number in range(int(noted["block"]), self.web3.eth.block_number + 1):
                every: Any = self.web3.eth.get_block(number, full_transactions=True)["transactions"]
                for one in every:
                    if one["from"] == self.manager and one["nonce"] == nonce:
                        return one
        raise ChainError(f"{name} stands, but the node at --rpc does not show what deployed it: ask another node.")


def wait_for_sent(web3: Web3, account: str, patience: float, nonce: int | None = None) -> bool:
    """Waits until a block has what an account has sent, as far as the chain's node knows of it.

    Args:
        patience: at most so long, s.
        nonce: only up to this transaction; None: all.

    Returns:
        Whether nothing waits any more.
    """
    address, give_up = checked_address(account), time.monotonic() + patience
    while True:
        with readable("the nonce"):
            mined = web3.eth.get_transaction_count(address)
            known = web3.eth.get_transaction_count(address, "pending")
        if mined >= known or (nonce is not None and not mined <= nonce < known):
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_SECONDS)
