"""What the manager's commands share: the network, the record on it, the key, the price, and the question before."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gridpact.chain.profiles import ETH_PRICE_EUR, ChainProfile
from gridpact.errors import InputError

if TYPE_CHECKING:
    from web3 import Web3

    from gridpact.chain.account import ChainAccount, ContractCall
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import GasBill, PlannedCall
    from gridpact.chain.fees import FeePolicy
    from gridpact.chain.record import Record
    from gridpact.chain.settlement import Settlement

KEYSTORE = "GRIDPACT_KEYSTORE"
"""Environment variable with the path of the manager's keystore."""

MANAGER_KEY = "GRIDPACT_MANAGER_KEY"
"""Environment variable with the manager's private key itself, for networks that are worth nothing."""

HALF_WAY_PATIENCE = 900.0
"""How long gas above the ceiling is waited out once something was sent, s: what is half done is no use."""

EARLIER_SECONDS, EARLIER_BLOCKS = 10.0, 5
"""How long what was sent before is waited for; then what is stuck is replaced."""

RECORDS = Path("deploy/records")


def add_network(command: argparse.ArgumentParser, required: bool = False) -> None:
    """Adds the network by name and the address of a node of it."""
    command.add_argument(
        "--network",
        required=required,
        metavar="NAME",
        help="local, anvil, ganache, consortium, sepolia, base-sepolia, op-sepolia, or remote (any other)",
    )
    command.add_argument(
        "--rpc",
        metavar="URL",
        help="a node of the chain, http:// or ws://; default $GRIDPACT_RPC_URL, on this machine http://127.0.0.1:8545",
    )


def add_record(command: argparse.ArgumentParser) -> None:
    """Adds the network, and the record of the contracts on it."""
    add_network(command)
    command.add_argument(
        "--contracts", type=Path, metavar="FILE", help=f"record of the deployment; default {RECORDS}/NETWORK.json"
    )


def add_price(command: argparse.ArgumentParser) -> None:
    """Adds the price of ether."""
    command.add_argument(
        "--eth-price",
        type=positive,
        metavar="EUR",
        help=f"price of one ETH, to show costs in euro; default {ETH_PRICE_EUR:g}, on a community's own chain and on "
        "chains of this machine nothing",
    )


def eth_price_of(arguments: argparse.Namespace, profile: ChainProfile) -> float:
    """The price of ether, EUR: stated, or that of the network; 0 where its ether is worth nothing."""
    return profile.eth_price_eur if arguments.eth_price is None else float(arguments.eth_price)


def add_sender(command: argparse.ArgumentParser) -> None:
    """Adds what sending needs: a key, limits on fees, and consent."""
    command.add_argument("--keystore", type=Path, metavar="FILE", help=f"keystore of who sends; default ${KEYSTORE}")
    command.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="its password; default $GRIDPACT_KEYSTORE_PASSWORD, or it is asked for",
    )
    command.add_argument(
        "--max-fee-gwei",
        type=positive,
        metavar="N",
        help="ceiling on what a unit of gas may cost, base fee and tip; default 200",
    )
    command.add_argument(
        "--tip-gwei", type=positive, metavar="N", help="tip to offer; default what the endpoint suggests, within limits"
    )
    command.add_argument(
        "--wait-for-fee",
        type=positive,
        default=0.0,
        metavar="SECONDS",
        help="wait so long for gas below the ceiling; default not at all",
    )
    command.add_argument("--confirmations", type=count, metavar="N", help="blocks to wait for; default the network's")
    command.add_argument("--yes", action="store_true", help="send without a question")
    add_price(command)


@dataclass(frozen=True)
class Deployment:
    """A network that answers, and what is deployed there."""

    profile: ChainProfile
    web3: Web3
    url: str
    record: Record | None


@contextmanager
def place_of(arguments: argparse.Namespace, with_record: bool = True) -> Iterator[Deployment]:
    """Opens the network that the arguments name, and the record on it.

    Raises:
        InputError: the network, the record or the chain do not belong together.
    """
    from gridpact.chain.networks import open_network
    from gridpact.chain.profiles import profile_of
    from gridpact.chain.record import Record

    record = None
    path: Path | None = getattr(arguments, "contracts", None)
    if with_record:
        if path is None and arguments.network is None:
            raise InputError("it is not said which contracts are meant: give --network NAME or --contracts FILE")
        path = path or RECORDS / f"{arguments.network}.json"
        record = Record.read(path)
    profile = profile_of(arguments.network or network_of(record, arguments.rpc))
    url = profile.url(arguments.rpc)
    with open_network(url) as network:
        profile.check(network.chain_id)
        if record is not None and path is not None:
            record = Record.on_chain(path, profile.name, network.chain_id)
        yield Deployment(profile, network.connect(), url, record)


def network_of(record: Record | None, url: str | None) -> str:
    """The name of the network of a record; those of `gridpact run` may be of networks that have none."""
    from gridpact.chain.profiles import LOOPBACK, PROFILES, RPC_URL

    if record is not None and record.network in {profile.name for profile in PROFILES}:
        return record.network
    host = urlsplit(url or os.environ.get(RPC_URL) or "").hostname
    return "local" if host is None or host in LOOPBACK else "remote"


def policy_of(arguments: argparse.Namespace, least_patience: float = 0.0) -> FeePolicy:
    """The limits on fees, waited for as long as the arguments say, or at least so many seconds."""
    from gridpact.chain.fees import fee_policy

    patience = max(arguments.wait_for_fee, least_patience)
    return fee_policy(arguments.max_fee_gwei, arguments.tip_gwei, patience)


def key_of(arguments: argparse.Namespace) -> str:
    """The manager's private key.

    Raises:
        InputError: none is given, or the keystore does not open.
    """
    from gridpact.chain.keystore import open_keystore, read_password

    given: Path | None = arguments.keystore
    if given is None and os.environ.get(KEYSTORE):
        given = Path(os.environ[KEYSTORE])
    if given is not None:
        return open_keystore(given, read_password(str(given), arguments.password_file))
    key = os.environ.get(MANAGER_KEY)
    if key:
        return key
    raise InputError(
        f"The manager's key is needed: give --keystore FILE (`gridpact keystore new` makes one), or set {KEYSTORE}, or"
        f" on a test network {MANAGER_KEY}."
    )


def account_of(arguments: argparse.Namespace, place: Deployment, key: str | None = None) -> ChainAccount:
    """The account of the key that the arguments name, or of another one; it sends as the arguments say.

    What an interrupted command sent with it is waited for, so that it is seen before it is decided what is still to do.
    """
    from gridpact.chain.account import ChainAccount
    from gridpact.chain.unfinished import wait_for_sent

    account = ChainAccount(
        place.web3,
        key or key_of(arguments),
        patience=place.profile.patience,
        replace_after=max(60.0, 5 * place.profile.block_seconds),
        fees=policy_of(arguments, HALF_WAY_PATIENCE),
        confirmations=arguments.confirmations or place.profile.confirmations,
    )
    wait_for_sent(place.web3, account.address, max(EARLIER_SECONDS, EARLIER_BLOCKS * place.profile.block_seconds))
    return account


def priced(
    account: ChainAccount, planned: Sequence[PlannedCall], arguments: argparse.Namespace, profile: ChainProfile
) -> GasBill:
    """What planned transactions cost, shown.

    Raises:
        FeeTooHigh: gas costs more than the ceiling.
    """
    from gridpact.chain.estimate import bill

    costs = bill(account.web3, account.address, planned, policy_of(arguments))
    print(costs.table(eth_price_of(arguments, profile)), flush=True)
    return costs


def agree(arguments: argparse.Namespace, question: str) -> None:
    """Asks before anything is sent.

    Raises:
        InputError: the answer is no, or there is nobody to ask.
    """
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing was sent, because there is no terminal to ask at: say --yes to send")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was sent, as you wished")


def send(
    account: ChainAccount,
    planned: Sequence[PlannedCall],
    arguments: argparse.Namespace,
    profile: ChainProfile,
    purpose: str,
    question: str,
) -> None:
    """Shows the price, checks that the account can pay it, and asks."""
    priced(account, planned, arguments, profile).check(purpose)
    agree(arguments, question)


@dataclass(frozen=True)
class AtSettlement:
    """A settlement that answers, and the account that sends to it."""

    arguments: argparse.Namespace
    place: Deployment
    account: ChainAccount
    settlement: Settlement

    @cached_property
    def aggregator(self) -> Aggregator:
        """Whose rounds are settled."""
        from gridpact.chain.aggregator import Aggregator

        assert self.place.record is not None
        return Aggregator.of(self.place.record, self.place.web3)

    @cached_property
    def following(self) -> int:
        """The next round that will be opened."""
        return self.aggregator.progress().round + 1

    def confirm(self, purpose: str, question: str, calls: Mapping[str, ContractCall]) -> None:
        """Shows the price of calls, by what they are for, checks that the account can pay it, and asks."""
        from gridpact.chain.estimate import planned_call

        planned = [planned_call(self.account, what, call) for what, call in calls.items()]
        send(self.account, planned, self.arguments, self.place.profile, purpose, question)


@contextmanager
def at_settlement(arguments: argparse.Namespace) -> Iterator[AtSettlement]:
    """Opens the network, the record on it, and the account of the key that the arguments name."""
    from gridpact.chain.settlement import Settlement

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place)
        yield AtSettlement(arguments, place, account, Settlement.of(place.record, place.web3, account))


def date_of(text: str) -> date:
    """A day as it is given.

    Raises:
        InputError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is no date: give the day as YYYY-MM-DD") from None


def positive(text: str) -> float:
    """An option's number above zero."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


def count(text: str) -> int:
    """An option's whole number of at least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of at least 1")
    return value


def check_supplier(settlement: Settlement, common: str, address: str, name: str | None) -> None:
    """
    Raises:
        InputError: the account is not the supplier whose tariff it is.
    """
    if name is None:
        if common and common != address:  # where the record does not tell, the contract refuses it
            raise InputError(f"The supplier is {common}, the key given is of {address}: give the supplier's.")
    elif address == common:
        raise InputError(f"{address} is the community's supplier: [tariff.{name}] is published by another one's key.")
    elif not settlement.supplies(address):
        raise InputError(f"{address} may not supply others yet: metering admits it (`gridpact supply admit`).")
