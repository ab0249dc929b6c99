"""The suppliers of a run on a test chain: an account each, whom metering admits and whose customers wish them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gridpact.chain.account import ChainAccount
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.settlement import Settlement
from gridpact.community.model import CommunityDay, Prices
from gridpact.run.staging import tariff_with_fees

SettlementOf = Callable[[ChainAccount], Settlement]
"""The settlement contract, spoken to by an account."""


class StagedSuppliers:
    """One for each tariff of a community, the community's first."""

    def __init__(self, community: CommunityDay, network: Network) -> None:
        self._community, self._network = community, network
        self._web3 = web3 = network.connect()
        self._metering_key = new_key()
        self.metering = ChainAccount(web3, self._metering_key)
        self._accounts = [ChainAccount(web3, new_key()) for _ in community.tariffs]

    @property
    def common(self) -> ChainAccount:
        """The community's."""
        return self._accounts[0]

    @property
    def tariffs(self) -> list[tuple[ChainAccount, Prices]]:
        """Of each, the community's first."""
        return list(zip(self._accounts, self._community.tariffs, strict=True))

    @property
    def addresses(self) -> list[str]:
        return [account.address for account in self._accounts]

    @property
    def metering_key(self) -> str:
        return self._metering_key

    @property
    def gas_used(self) -> int:
        return sum(account.gas_used for account in self._accounts)

    @property
    def transactions(self) -> int:
        return sum(account.transactions for account in self._accounts)

    def admit(self, settlement: SettlementOf, keys: Mapping[int, str]) -> tuple[int, int]:
        """Lets others than the community's supplier supply those who are their customers, before a round is opened.

        Args:
            keys: of the households, by node.

        Returns:
            gas and transactions of metering and households.
        """
        others = self._accounts[1:]
        if not others:
            return 0, 0
        self._network.fund([self.metering.address], ETHER, self._web3)
        asking = []
        for account in others:
            settlement(self.metering).admit_supplier(account.address)
        of_tariff = {prices.key: at for prices, at in zip(self._community.tariffs, self._accounts, strict=True)}
        for home in self._community.households:
            supplier = of_tariff[self._community.prices_of(home).key]
            if supplier is not self.common:
                asking.append(household := ChainAccount(self._web3, keys[home.node]))
                settlement(household).wish_supplier(supplier.address)
                settlement(supplier).supply(household.address)
        told = [self.metering, *asking]
        return sum(account.gas_used for account in told), sum(account.transactions for account in told)

    def publish(self, settlement: SettlementOf, round_: int, units: int) -> None:
        """The tariff of each for a round, and a deposit to pay feed-in with, token units."""
        for account, prices in self.tariffs:
            settlement(account).deposit(units)
            settlement(account).publish_tariff(round_, tariff_with_fees(prices, self._community.step_hours))
