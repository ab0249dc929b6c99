"""What transactions will cost, before any is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hexbytes import HexBytes
from web3 import Web3
from web3.types import TxReceipt

from gridpact.chain.account import Call, ChainAccount
from gridpact.chain.artifacts import TOKEN
from gridpact.chain.contract import checked_address
from gridpact.chain.deploy import deploy_contracts
from gridpact.chain.fees import FeePolicy, Fees, data_fee, ether_text, euro, gwei_text, read_fees
from gridpact.chain.networks import open_network
from gridpact.chain.reverts import readable
from gridpact.chain.values import Setting, Theta
from gridpact.errors import InputError

LIMIT = 1.6
"""The gas limit of a transaction at most, by what it uses: accounts ask for half more and 100,000."""


@dataclass(frozen=True)
class PlannedCall:
    """A transaction that is going to be sent."""

    what: str
    gas: int
    calldata_bytes: int
    value_wei: int = 0  # that it hands over


@dataclass(frozen=True)
class GasBill:
    """What planned transactions cost an account."""

    planned: tuple[PlannedCall, ...]
    fees: Fees
    data_fees_wei: tuple[int, ...]  # beside the gas, one a transaction
    balance_wei: int
    address: str

    @property
    def gas(self) -> int:
        return sum(one.gas for one in self.planned)

    @property
    def value_wei(self) -> int:
        return sum(one.value_wei for one in self.planned)

    @property
    def expected_wei(self) -> int:
        """At the fees of now, without what is handed over."""
        return self.gas * self.fees.now + sum(self.data_fees_wei)

    @property
    def most_wei(self) -> int:
        """What the account must have: all gas at the fee cap, and of one transaction its gas limit."""
        largest = max((one.gas for one in self.planned), default=0)
        return round((self.gas + (LIMIT - 1) * largest) * self.fees.cap) + sum(self.data_fees_wei) + self.value_wei

    def check(self, purpose: str) -> None:
        """Raises InputError where the account has too little, and says how much is missing."""
        missing = self.most_wei - self.balance_wei
        if missing > 0:
            raise InputError(
                f"Account {self.address} has {ether_text(self.balance_wei)}, and {purpose} may need"
                f" {ether_text(self.most_wei)} (at {gwei_text(self.fees.cap)} gwei): send it {ether_text(missing)}"
                " more, or lower the ceiling."
            )

    def table(self, eth_price_eur: float) -> str:
        """For a terminal; without euro where ether is worth nothing."""

        def line(what: str, gas: int, wei: int) -> str:
            price = f"  {euro(wei, eth_price_eur):>9.2f} EUR" if eth_price_eur else ""
            return f"  {what:<22} {gas:>11,} gas  {ether_text(wei):>14}{price}"

        lines = [
            line(one.what, one.gas, one.gas * self.fees.now + data_wei)
            for one, data_wei in zip(self.planned, self.data_fees_wei, strict=True)
        ]
        if len(self.planned) > 1:
            lines.append(line("together", self.gas, self.expected_wei))
        if self.value_wei:
            lines.append(f"  {'handed over':<22} {'':>15}  {ether_text(self.value_wei):>14}")
        data = f", data fees {ether_text(sum(self.data_fees_wei))}" if any(self.data_fees_wei) else ""
        rate = f" and {eth_price_eur:,.0f} EUR/ETH" if eth_price_eur else ", of ether that is worth nothing here"
        lines.append(
            f"  at {gwei_text(self.fees.now)} gwei{data}{rate}; at most"
            f" {ether_text(self.most_wei)} at the fee cap of {gwei_text(self.fees.cap)} gwei, of"
            f" {ether_text(self.balance_wei)} that {self.address} has"
        )
        return "\n".join(lines)


def bill(web3: Web3, address: str, planned: Sequence[PlannedCall], policy: FeePolicy) -> GasBill:
    """Prices transactions at the fees of now.

    Raises:
        FeeTooHigh: gas costs more than the ceiling.
    """
    fees = read_fees(web3, policy)
    with readable("the balance"):
        balance = int(web3.eth.get_balance(checked_address(address)))
    data_fees = tuple(data_fee(web3, one.calldata_bytes) for one in planned)
    return GasBill(tuple(planned), fees, data_fees, balance, address)


def planned_call(account: ChainAccount, what: str, call: Call) -> PlannedCall:
    """A call that can be estimated where it is going to be sent.

    Raises:
        ContractError: it would be refused.
    """
    return PlannedCall(what, *account.estimate(call))


def planned_deployment(
    theta: Theta, setting: Setting, with_token: bool, days: bool = False, sealed: bool = False
) -> list[PlannedCall]:
    """The transactions of a deployment, played on a chain inside this process."""
    planned = []
    with open_network("eth-tester") as network:
        web3 = network.connect()
        manager = network.manager(web3)

        def note(name: str, receipt: TxReceipt) -> None:
            sent = web3.eth.get_transaction(receipt["transactionHash"])["input"]
            if name != TOKEN or with_token:
                planned.append(PlannedCall(name, int(receipt["gasUsed"]), len(HexBytes(sent))))

        deploy_contracts(
            *(manager, theta, setting, network.name, manager.address, manager.address),
            on_deployed=note,
            days=days,
            sealed=sealed,
        )
    return planned
