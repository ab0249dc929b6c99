"""A community of two nodes on an embedded chain, and a contract that fails in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from web3 import Web3

from gridpact.chain.account import ChainAccount, new_key
from gridpact.chain.deploy import deploy_contracts, enrol_households
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.record import Record
from gridpact.chain.values import Setting, Theta

THETA = Theta(
    n=2,
    rho=10**9,
    phi=10**9,
    eps_primal_grid=1000,
    eps_dual_grid=1000,
    eps_primal_trade=1000,
    eps_dual_trade=1000,
    mu=5,
)
SETTING = Setting(steps=24, step_seconds=3600, power_resolution_milliwatt=1, voltage_resolution=1, phase_seconds=600)


@pytest.fixture(scope="session")
def probe() -> dict[str, object]:
    """ABI and bytecode of Probe.sol, which stands beside this file."""
    content: dict[str, object] = json.loads((Path(__file__).parent / "probe.json").read_text())
    return content


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with open_network("eth-tester") as opened:
        yield opened


@pytest.fixture(scope="module")
def web3(network: Network) -> Web3:
    return network.connect()


@pytest.fixture(scope="module")
def manager(network: Network, web3: Web3) -> ChainAccount:
    return network.manager(web3)


@pytest.fixture(scope="module")
def record(manager: ChainAccount) -> Record:
    return deploy_contracts(manager, THETA, SETTING, "eth-tester")


@pytest.fixture(scope="module")
def households(network: Network, manager: ChainAccount, record: Record) -> dict[int, ChainAccount]:
    """Nodes 1 and 2, enrolled, each with ether and a connection of its own."""
    accounts = {node: ChainAccount(network.connect(), new_key()) for node in (1, 2)}
    addresses = {node: account.address for node, account in accounts.items()}
    network.fund(list(addresses.values()), 10 * ETHER)
    enrol_households(manager, record, addresses)
    return accounts
