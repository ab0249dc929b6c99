"""What stands on a chain is compared with what was compiled; every difference is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from chains import rpc
from web3 import Web3

from gridpact.chain.artifacts import AGGREGATOR, CLEARING, CLERK, DAY, FLEXIBILITY, REFEREE, SETTLEMENT, TOKEN
from gridpact.chain.day import DaySettlement
from gridpact.chain.deploy import UnlockedAccount, deploy_contracts
from gridpact.chain.inspection import check_token, inspect_deployment
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.values import Setting, Theta
from gridpact.errors import ChainError, InputError

THETA = Theta(5, 150_000_000, 150_000_000, 4000, 4000, 2000, 2000, 100)
SETTING = Setting(24, 3600, 500, 10, 300, 2)
SUPPLIER, METERING = ("0x" + digit * 40 for digit in "12")


@pytest.fixture(scope="module")
def web3(anvil: Network) -> Web3:
    return anvil.connect()


@pytest.fixture(scope="module")
def record(anvil: Network, web3: Web3) -> Record:
    return deploy_contracts(anvil.manager(web3), THETA, SETTING, "anvil", SUPPLIER, METERING)


@pytest.fixture
def untouched(web3: Web3) -> Iterator[None]:
    """What a test changes on the chain is undone."""
    snapshot = rpc(web3, "evm_snapshot")
    yield
    rpc(web3, "evm_revert", snapshot)


def test_inspect_passesWhatWasCompiled(web3: Web3, record: Record) -> None:
    found = {one.name: one for one in inspect_deployment(web3, record)}
    assert set(found) == {TOKEN, REFEREE, CLERK, AGGREGATOR, SETTLEMENT}
    assert found[TOKEN].immutables == 0  # it has none in its source
    assert found[AGGREGATOR].immutables >= 12  # the contract declares twelve, some are read more than once
    assert found[AGGREGATOR].code_bytes == len(web3.eth.get_code(Web3.to_checksum_address(record.aggregator)))


@pytest.mark.usefixtures("untouched")
def test_inspect_aSettlementOfDays(web3: Web3, anvil: Network) -> None:
    """It is what was compiled, for this settlement; and says so where the record names another."""
    made = deploy_contracts(anvil.manager(web3), THETA, SETTING, "anvil", SUPPLIER, METERING, days=True)
    found = {one.name: one for one in inspect_deployment(web3, made)}
    assert set(found) == {TOKEN, REFEREE, CLERK, AGGREGATOR, SETTLEMENT, CLEARING, DAY, FLEXIBILITY}
    assert DaySettlement.of(made, web3).steps == SETTING.steps
    with pytest.raises(ChainError, match="did not create DaySettlement"):
        inspect_deployment(web3, replace(made, day_settlement=made.settlement))
    with pytest.raises(ChainError, match="did not create Flexibility"):
        inspect_deployment(web3, replace(made, flexibility=made.settlement))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("place", [0, 1, 4000, -1])
def test_inspect_findsAChangedByte(web3: Web3, record: Record, place: int) -> None:
    code = bytearray(web3.eth.get_code(Web3.to_checksum_address(record.referee)))
    code[place] ^= 1
    rpc(web3, "anvil_setCode", record.referee, "0x" + code.hex())
    with pytest.raises(ChainError, match=r"code of Referee at .* differs from the compiled one at byte"):
        inspect_deployment(web3, record)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("cut", [slice(0, -1), slice(1, None), slice(0, 0)])
def test_inspect_findsOtherLengths(web3: Web3, record: Record, cut: slice) -> None:
    code = bytes(web3.eth.get_code(Web3.to_checksum_address(record.referee)))[cut]
    rpc(web3, "anvil_setCode", record.referee, "0x" + code.hex())
    with pytest.raises(ChainError, match=r"another length|There is no code"):
        inspect_deployment(web3, record)


def test_inspect_findsOtherArguments(web3: Web3, record: Record) -> None:
    other = replace(record, theta=asdict(replace(THETA, mu=101)))
    without_clerk = {name: one for name, one in record.transactions.items() if name != CLERK}
    with pytest.raises(ChainError, match=r"Clerk .* other constructor arguments than the record"):
        inspect_deployment(web3, other)
    with pytest.raises(ChainError, match=r"VirtualAggregator .* other constructor arguments than the record"):
        inspect_deployment(web3, replace(record, clerk=record.referee, transactions=without_clerk))
    with pytest.raises(ChainError, match=r"TradeSettlement .* other constructor arguments than the record"):
        inspect_deployment(web3, replace(record, supplier=METERING))


def test_inspect_findsAnotherTransaction(web3: Web3, record: Record) -> None:
    swapped = {**record.transactions, REFEREE: record.transactions[AGGREGATOR]}
    with pytest.raises(ChainError, match="did not create Referee"):
        inspect_deployment(web3, replace(record, transactions=swapped))


@pytest.mark.usefixtures("untouched")
def test_inspect_findsAnotherValueInTheCode(web3: Web3, record: Record) -> None:
    """A supplier that was changed in the code only: the creation tells nothing of it, the contract does."""
    address = Web3.to_checksum_address(record.settlement)
    code = bytes(web3.eth.get_code(address))
    changed = code.replace(bytes.fromhex(SUPPLIER[2:]), bytes.fromhex(METERING[2:]))
    assert changed != code
    rpc(web3, "anvil_setCode", address, "0x" + changed.hex())
    with pytest.raises(ChainError, match="another value for the supplier"):
        inspect_deployment(web3, record)


def test_unlockedAccount_deploysTheSame(web3: Web3) -> None:
    """As the brownie script does on chains of this machine."""
    account = UnlockedAccount(web3)
    made = deploy_contracts(account, THETA, SETTING, "anvil", SUPPLIER, METERING)
    assert made.manager == account.address == web3.eth.accounts[0]
    assert len(inspect_deployment(web3, made)) == 5


def test_token_mustBeOne(web3: Web3, record: Record) -> None:
    check_token(web3, record.token)
    with pytest.raises(InputError, match="no contract at the token's address"):
        check_token(web3, SUPPLIER)
    with pytest.raises(InputError, match="no ERC-20 token"):
        check_token(web3, record.referee)
