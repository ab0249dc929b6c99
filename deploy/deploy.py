"""Deploys the contracts with brownie: `brownie run deploy --network <name>`.

The same as `gridpact deploy`, with brownie's network: reads deploy/parameters/<name>.json (development.json on a chain
of this machine), shows the cost, deploys, checks what stands on the chain against what was compiled, and writes
deploy/records/<name>.json, with which a node connects.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from brownie import Clerk, Referee, SealedReferee, TestEuro, TradeSettlement, VirtualAggregator, network, web3
from brownie._config import CONFIG  # `brownie.config` holds the settings only

from gridpact.chain.account import ChainAccount
from gridpact.chain.artifacts import AGGREGATOR, CLERK, REFEREE, SEALED_REFEREE, SETTLEMENT, TOKEN, load
from gridpact.chain.deploy import Sender, UnlockedAccount
from gridpact.chain.estimate import bill, planned_deployment
from gridpact.chain.fees import fee_policy
from gridpact.chain.keystore import open_keystore, read_password
from gridpact.chain.profiles import ETH_PRICE_EUR, ChainProfile, profile_of
from gridpact.chain.transport import connect
from gridpact.errors import InputError
from gridpact.manage.deployment import Parameters, carry_out

DEPLOY = Path(__file__).resolve().parent
COMPILED = {
    TOKEN: TestEuro,
    REFEREE: Referee,
    SEALED_REFEREE: SealedReferee,
    CLERK: Clerk,
    AGGREGATOR: VirtualAggregator,
    SETTLEMENT: TradeSettlement,
}


def main() -> None:
    """Token (unless one is given), referee, aggregator, settlement, record."""
    name = network.show_active()
    profile = _profile(name)
    parameters = Parameters.read(_parameters_file(name))
    for contract, container in COMPILED.items():
        if "0x" + container.bytecode.removeprefix("0x") != load(contract).bytecode:
            raise InputError(f"The shipped {contract} is not what brownie compiled from the sources: make contracts.")
    link = connect(str(web3.provider.endpoint_uri))
    profile.check(link.eth.chain_id)
    manager = _manager(link, profile)
    if isinstance(manager, ChainAccount):
        planned = planned_deployment(
            parameters.theta, parameters.setting, with_token=parameters.token is None, sealed=parameters.sealed
        )
        costs = bill(link, manager.address, planned, manager.fees)
        print(costs.table(ETH_PRICE_EUR))
        costs.check("the deployment")
    path = DEPLOY / "records" / f"{name}.json"
    if path.exists() and not profile.local:
        raise InputError(f"A deployment on {name} is recorded in {path} already: move it away first.")
    carry_out(manager, parameters, profile, _told, path)
    print(f"Deployed on {name}, as compiled; the record is {path.relative_to(DEPLOY.parent)}.")


def _told(name: str, receipt: Any) -> None:
    print(f"  {name:<22} {receipt['gasUsed']:>11,} gas  {receipt['contractAddress']}")


def _profile(name: str) -> ChainProfile:
    """brownie's own test chains are chains of this machine; all others are known by their names."""
    if CONFIG.network_type == "development":
        return replace(profile_of("local"), name=name)
    return profile_of(name)


def _parameters_file(name: str) -> Path:
    path = DEPLOY / "parameters" / f"{name}.json"
    if not path.is_file() and CONFIG.network_type == "development":
        return DEPLOY / "parameters" / "development.json"
    return path


def _manager(link: Any, profile: ChainProfile) -> Sender:
    """The first account of a local chain; elsewhere the one in the keystore that GRIDPACT_KEYSTORE names."""
    if profile.local:
        return UnlockedAccount(link)
    keystore = os.environ.get("GRIDPACT_KEYSTORE")
    if not keystore:
        raise InputError("GRIDPACT_KEYSTORE is not set: let it name the manager's encrypted keystore file.")
    key = open_keystore(Path(keystore), read_password(keystore))
    ceiling = os.environ.get("GRIDPACT_MAX_FEE_GWEI")
    policy = fee_policy(float(ceiling) if ceiling else None, None)
    return ChainAccount(link, key, patience=profile.patience, fees=policy, confirmations=profile.confirmations)
