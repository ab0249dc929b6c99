"""Deploys the contracts and prepares a community on them: enrolment, ether and tokens, a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, cast

from eth_typing import HexStr
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractConstructor
from web3.exceptions import Web3Exception
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.artifacts import (
    AGGREGATOR,
    CLEARING,
    CLERK,
    DAY,
    FLEXIBILITY,
    REFEREE,
    SEALED_REFEREE,
    SETTLEMENT,
    TIED,
    TOKEN,
    Artifact,
    load,
)
from gridpact.chain.contract import DeployedContract, checked_address
from gridpact.chain.record import Record
from gridpact.chain.reverts import first_line, readable
from gridpact.chain.unfinished import Unfinished
from gridpact.chain.values import Setting, Theta
from gridpact.errors import InputError
from gridpact.files import source_commit

UNLOCKED_GAS = 15_000_000

STANDING_PATIENCE = 180.0
"""How long a creation that was sent before an interruption is waited for, s."""


WITHOUT_PUSH0, WITH_PUSH0 = HexStr("0x60008080f3"), HexStr("0x5f8080f3")
"""Two programs that return nothing; the second by an instruction that came with Shanghai."""

OnDeployed = Callable[[str, TxReceipt], None]
"""Is told of a contract that stands: its name, and the receipt."""


class Sender(Protocol):
    """An account that deploys."""

    @property
    def address(self) -> str: ...

    @property
    def web3(self) -> Web3: ...

    def send(self, call: ContractConstructor) -> TxReceipt: ...


class UnlockedAccount:
    """An account whose key a test chain keeps: its first one."""

    def __init__(self, web3: Web3) -> None:
        with readable("its accounts"):
            accounts = web3.eth.accounts
        if not accounts:
            raise InputError("The chain keeps no accounts of its own: give the manager's keystore.")
        self.web3 = web3
        self.address = accounts[0]

    def send(self, call: ContractConstructor) -> TxReceipt:
        with readable("a transaction of the chain's own account"):
            sent = call.transact({"from": self.address, "gas": UNLOCKED_GAS})
            return self.web3.eth.wait_for_transaction_receipt(sent, timeout=120, poll_latency=0.05)


def check_fork(web3: Web3) -> None:
    """Whether the chain has what the contracts are compiled for.

    Raises:
        InputError: it is older than Shanghai.
    """
    with readable("a call"):
        web3.eth.call({"data": WITHOUT_PUSH0})
    try:
        web3.eth.call({"data": WITH_PUSH0})
    except (Web3Exception, ValueError) as error:
        raise InputError(
            f"This chain is older than Shanghai ('{first_line(error)}'), which the contracts are compiled for: update"
            " its node or its genesis, or take another chain."
        ) from error


def deploy_contracts(
    account: Sender,
    theta: Theta,
    setting: Setting,
    network: str,
    supplier: str,
    metering: str,
    token: str | None = None,
    on_deployed: OnDeployed | None = None,
    unfinished: Unfinished | None = None,
    days: bool = False,
    sealed: bool = False,
    tied: bool = False,
) -> Record:
    """Deploys referee, clerk, aggregator and settlement; and a test token, unless the address of a token is given.

    Args:
        account: becomes the manager.
        network: its name, for the record.
        supplier: the account that buys and sells what was delivered beyond the trades.
        metering: the account that signs meter readings.
        on_deployed: is told of each contract.
        unfinished: what stands already, of a deployment that is gone on with; and where it is noted what is sent.
        days: whether a settlement of days is deployed besides, and where an aggregator calls its members.
        sealed: whether submissions are read by those only whom they concern, see `node.form`.
        tied: whether the aggregator can be above or below others, see `ITied.sol`.
    """
    web3 = account.web3
    check_fork(web3)
    with readable("its block number"):
        # No transaction can be in an older block.
        block = unfinished.block if unfinished is not None else int(web3.eth.block_number) + 1
        chain_id = int(web3.eth.chain_id)
    referee, aggregator, settlement, test_token = map(
        load, (SEALED_REFEREE if sealed else REFEREE, TIED if tied else AGGREGATOR, SETTLEMENT, TOKEN)
    )
    roles = checked_address(supplier), checked_address(metering)
    transactions: dict[str, str] = {}

    def deploy(artifact: Artifact, *arguments: object) -> str:
        factory = web3.eth.contract(abi=cast(Any, artifact.abi), bytecode=cast(Any, artifact.bytecode))
        with readable(f"the deployment of {artifact.name}"):  # arguments that do not fit the ABI
            call = factory.constructor(*arguments)
        receipt = None
        if unfinished is not None:
            receipt = unfinished.receipt(artifact.name, bytes(HexBytes(call.data_in_transaction)), STANDING_PATIENCE)
        if receipt is None:
            if unfinished is not None:
                unfinished.before(artifact.name)
            receipt = account.send(call)
        if unfinished is not None:
            unfinished.after(artifact.name, receipt)
        transactions[artifact.name] = Web3.to_hex(receipt["transactionHash"])
        if on_deployed is not None:
            on_deployed(artifact.name, receipt)
        return checked_address(str(receipt["contractAddress"]))

    token_address = deploy(test_token) if token is None else checked_address(token)
    referee_address = deploy(referee)
    constants = tuple(asdict(theta).values()), tuple(asdict(setting).values())
    clerk_address = deploy(load(CLERK), *constants, referee_address)
    aggregator_address = deploy(aggregator, clerk_address)
    settlement_address = deploy(settlement, aggregator_address, token_address, *roles)
    clearing_address = deploy(load(CLEARING), settlement_address, token_address, roles[0]) if days else ""
    day_address = deploy(load(DAY), settlement_address, token_address, *roles, clearing_address) if days else ""
    flexibility_address = deploy(load(FLEXIBILITY), day_address) if days else ""
    return Record(
        network=network,
        chain_id=chain_id,
        block=block,
        manager=account.address,
        referee=referee_address,
        aggregator=aggregator_address,
        settlement=settlement_address,
        token=token_address,
        theta=asdict(theta),
        setting=asdict(setting),
        transactions=transactions,
        compiler=aggregator.compiler,
        referee_abi=referee.abi,
        aggregator_abi=aggregator.abi,
        settlement_abi=settlement.abi,
        token_abi=test_token.abi,
        supplier=roles[0],
        metering=roles[1],
        commit=source_commit(),
        day_settlement=day_address,
        clerk=clerk_address,
        clearing=clearing_address,
        flexibility=flexibility_address,
        sealed=sealed,
    )


def mint_tokens(account: ChainAccount, record: Record, addresses: Sequence[str], units: int) -> None:
    """Gives each account test tokens: all transactions first, then all receipts."""
    mint_units(account, DeployedContract(account.web3, record.token, record.token_abi), addresses, units)


def mint_units(account: ChainAccount, token: DeployedContract, addresses: Sequence[str], units: int) -> None:
    """The same of a test token."""
    pendings = [account.post(token.call("mint", checked_address(address), units)) for address in addresses]
    account.settle_all(pendings)


def enrol_households(account: ChainAccount, record: Record, accounts: Mapping[int, str]) -> Aggregator:
    """Enrols accounts, by node number, in one transaction. Returns the manager's view of the aggregator."""
    aggregator = Aggregator.of(record, account.web3, account)
    aggregator.enrol(dict(accounts))
    return aggregator
