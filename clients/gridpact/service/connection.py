"""A node's connection to the chain, checked when it is opened: what does not belong together is said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.day import DaySettlement
from gridpact.chain.fees import ETHER, fee_policy, read_fees
from gridpact.chain.flexibility import Flexibility
from gridpact.chain.record import Record
from gridpact.chain.reverts import readable
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import url_of
from gridpact.chain.values import Setting
from gridpact.errors import ContractError, InputError, InsufficientFunds
from gridpact.problem.coefficients import doubt
from gridpact.service.settings import Settings

ROUND_GAS, OPERATOR_GAS, RELAYED_GAS = 8_000_000, 25_000_000, 2_000_000
"""What a round of 60 iterations and its settlement may use: of a household, of node 0, and of either with a relay."""


LARGEST_GAS = 1_500_000
"""Of which a chain asks an account to have the fee cap: the limit of a household's largest transaction."""

FEE_PATIENCE = 30.0
"""Seconds that a fee above the ceiling is waited out; then the node misses its turn."""


@dataclass(frozen=True)
class ChainConnection:
    """The two contracts, and the account that speaks to them."""

    account: ChainAccount
    aggregator: Aggregator
    settlement: Settlement
    setting: Setting
    symbol: str  # of the token
    unit: float  # of the token, currency
    ledger: DaySettlement | None = None  # of days, where the deployment has one
    flexibility: Flexibility | None = None  # where an aggregator calls, if the household lets one

    @property
    def tells(self) -> bool:
        """Whether the endpoint tells by a websocket that something happened; else it must be asked."""
        url = url_of(self.aggregator.web3)
        return url is not None and url.startswith("ws")

    def ether(self) -> float:
        with readable("a balance"):
            return int(self.account.web3.eth.get_balance(self.account.address)) / 1e18

    def deposit(self) -> float:
        """Free deposit, currency."""
        return self.settlement.free(self.account.address) * self.unit

    def tariff(self, round_: int) -> bytes | None:
        """What its supplier has published for a round; None: nothing (yet)."""
        supplier = self.settlement.supplier_in(round_, self.account.address)
        return self.settlement.published_tariff(round_, supplier)

    def tariffs_now(self, round_: int, nodes: Iterable[int]) -> dict[int, bytes]:
        """What the suppliers of enrolled nodes have published for a round, so far."""
        suppliers = self.suppliers_now(round_, nodes)
        told = {who: self.settlement.published_tariff(round_, who) for who in sorted(set(suppliers.values()))}
        return {node: tariff for node, who in suppliers.items() if (tariff := told[who]) is not None}

    def suppliers_now(self, round_: int, nodes: Iterable[int]) -> dict[int, str]:
        """Whose customers enrolled nodes are in a round in which they may not have declared yet."""
        accounts = {node: self.aggregator.account_of(node) for node in nodes}
        return {node: self.settlement.supplier_in(round_, who) for node, who in accounts.items() if who}

    def debit_limit(self) -> float:
        """The most that a delivery may take from the account in rounds to come, currency; 0: there is no limit."""
        return self.settlement.debit_limit(self.account.address) * self.unit

    def doubts(self, partners: Sequence[int], most: float) -> dict[int, float]:
        """What trading with partners is to cost more for what they have not delivered, currency/kWh, see `doubt`.

        Args:
            most: for who never delivers; 0: nobody is asked about.
        """
        if not most or self.ledger is None:
            return {}
        accounts = {node: self.aggregator.account_of(node) for node in partners}
        return {node: doubt(*self.ledger.history(account), most) for node, account in accounts.items() if account}

    def check_ether(self, gas: int) -> None:
        """Raises InsufficientFunds where so much gas, some of it in one transaction at its fee cap, costs more than
        there is."""
        fees = read_fees(self.account.web3, self.account.fees)
        need = (gas * fees.now + LARGEST_GAS * (fees.cap - fees.now)) / ETHER
        if (short := need - (ether := self.ether())) > 0:
            raise InsufficientFunds(
                f"the account {self.account.address} has {ether:.6f} ETH and a round may cost {need:.6f}: send it "
                f"{short:.6f} ETH more"
            )


def gas_of_a_round(settings: Settings) -> int:
    """What a round may use at most, as a rule."""
    if settings.chain.relay is not None:
        return RELAYED_GAS
    return OPERATOR_GAS if settings.home is None else ROUND_GAS


def read_record(settings: Settings) -> Record:
    """The record of the deployment.

    Raises:
        InputError: there is none, or it is of another chain than the settings say.
    """
    record = Record.read(settings.chain.record)
    if settings.chain.chain_id not in (None, record.chain_id):
        raise InputError(
            f"{settings.path.name}, [chain] chain_id: the record '{settings.chain.record}' is of chain "
            f"{record.chain_id} ({record.network}), not of chain {settings.chain.chain_id}; take the record of that one"
        )
    return record


def open_connection(settings: Settings, record: Record, key: str, link: Callable[[], Web3]) -> ChainConnection:
    """Connects, and checks that chain, record, contracts, token, account and node belong together.

    Raises:
        InputError: says which of them does not.
        ChainError: the chain does not answer.
    """
    web3 = link()
    with readable("its chain id"):
        chain_id = int(web3.eth.chain_id)
    if chain_id != record.chain_id:
        raise InputError(
            f"what answers at [chain] rpc is a node of chain {chain_id}, the record '{settings.chain.record}' is of "
            f"chain {record.chain_id} ({record.network}): give the address of a node of that chain, or its record"
        )
    for what, address in (
        ("aggregator", record.aggregator),
        ("settlement", record.settlement),
        ("token", record.token),
    ):
        with readable(f"the code of the {what}"):
            code = web3.eth.get_code(Web3.to_checksum_address(address))
        if not code:
            raise InputError(
                f"there is no contract at {address}, which the record '{settings.chain.record}' has as the {what}: "
                "take the record of the deployment on this network"
            )
    account = ChainAccount(
        web3, key, fees=fee_policy(settings.chain.max_fee_gwei, settings.chain.tip_gwei, FEE_PATIENCE)
    )
    aggregator = Aggregator.of(record, web3, account)
    settlement = Settlement.of(record, web3, account)
    _check_enrolment(settings, aggregator, account.address)
    token = settlement.token
    ledger = DaySettlement.of(record, web3, account) if record.day_settlement else None
    called = settings.flexibility is not None and record.flexibility
    flexibility = Flexibility.of(record, web3, account) if called else None
    unit = 10.0 ** -token.decimals()
    return ChainConnection(
        account, aggregator, settlement, aggregator.setting(), token.symbol(), unit, ledger, flexibility
    )


def _check_enrolment(settings: Settings, aggregator: Aggregator, address: str) -> None:
    try:
        enrolled_as = aggregator.node_of(address)
    except ContractError as error:
        if error.name != "NotEnrolled":
            raise
        raise InputError(
            f"the account {address} is not enrolled in the contract at {aggregator.address}: ask the community manager "
            f"to enrol it as node {settings.node}"
        ) from None
    if enrolled_as != settings.node:
        raise InputError(
            f"the account {address} is enrolled as node {enrolled_as}, {settings.path.name} says node {settings.node}: "
            "use the keystore and the file of the same household"
        )
