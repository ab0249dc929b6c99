"""Deploys the contracts with brownie: `brownie run deploy --network <name>`.

Reads deploy/parameters/<name>.json (development.json on a chain of this machine), writes
deploy/records/<name>.json, with which a node connects.
"""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from brownie import Referee, TestEuro, TradeSettlement, VirtualAggregator, accounts, chain, network
from brownie._config import CONFIG  # `brownie.config` holds the settings only
from eth_account import Account

from gridpact.chain.artifacts import AGGREGATOR, REFEREE, SETTLEMENT, TOKEN, load
from gridpact.chain.contract import checked_address
from gridpact.chain.record import Record
from gridpact.chain.values import Setting, Theta
from gridpact.errors import InputError

DEPLOY = Path(__file__).resolve().parent


def main() -> None:
    """Token (unless one is given), referee, aggregator, settlement, record."""
    name = network.show_active()
    parameters = _parameters(name)
    try:
        theta, setting = Theta(**parameters["theta"]), Setting(**parameters["setting"])
    except TypeError as error:  # missing or unknown names
        raise InputError(f"The parameters do not fit ({error}); see deploy/parameters/README.md.") from error
    supplier, metering = _role(parameters, "supplier", 1), _role(parameters, "metering", 2)
    manager = _manager()
    first_block = chain.height + 1

    token_address = parameters["token"]
    transactions = {}
    if token_address is None:
        token = manager.deploy(TestEuro)
        token_address = token.address
        transactions[TOKEN] = token.tx.txid
    referee = manager.deploy(Referee)
    transactions[REFEREE] = referee.tx.txid
    constants = tuple(asdict(theta).values()), tuple(asdict(setting).values())
    aggregator = manager.deploy(VirtualAggregator, *constants, referee)
    transactions[AGGREGATOR] = aggregator.tx.txid
    settlement = manager.deploy(TradeSettlement, aggregator, token_address, supplier, metering)
    transactions[SETTLEMENT] = settlement.tx.txid

    path = DEPLOY / "records" / f"{name}.json"
    Record(
        network=name,
        chain_id=chain.id,
        block=first_block,
        manager=str(manager),
        referee=referee.address,
        aggregator=aggregator.address,
        settlement=settlement.address,
        token=token_address,
        theta=asdict(theta),
        setting=asdict(setting),
        transactions=transactions,
        compiler=load(AGGREGATOR).compiler,
        referee_abi=load(REFEREE).abi,
        aggregator_abi=load(AGGREGATOR).abi,
        settlement_abi=load(SETTLEMENT).abi,
        token_abi=load(TOKEN).abi,
    ).write(path)
    print(f"Deployed on {name}; the record is {path.relative_to(DEPLOY.parent)}.")


def _local() -> bool:
    return CONFIG.network_type == "development"


def _parameters(name: str) -> dict[str, Any]:
    path = DEPLOY / "parameters" / f"{name}.json"
    if not path.is_file() and _local():
        path = DEPLOY / "parameters" / "development.json"
    try:
        parameters: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There are no parameters for the network {name}: write {path}.") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    missing = {"theta", "setting", "token", "supplier", "metering"} - parameters.keys()
    if missing:
        raise InputError(f"{path} lacks '{min(missing)}'; see deploy/parameters/README.md.")
    return parameters


def _role(parameters: dict[str, Any], name: str, local: int) -> str:
    """The address of an account with a role; null stands for an account of a local chain."""
    address = parameters[name]
    if address is None:
        if not _local():
            raise InputError(f"The parameters name no {name}: give the address of its account.")
        return str(accounts[local])
    try:
        return checked_address(address)
    except InputError as error:
        raise InputError(f"In the parameters, '{name}': {error}") from error


def _manager() -> Any:
    """The first account of a local chain; elsewhere the one in the keystore that GRIDPACT_KEYSTORE names."""
    if _local():
        return accounts[0]
    keystore = os.environ.get("GRIDPACT_KEYSTORE")
    if not keystore:
        raise InputError("GRIDPACT_KEYSTORE is not set: let it name the manager's encrypted keystore file.")
    password = os.environ.get("GRIDPACT_KEYSTORE_PASSWORD") or getpass.getpass(f"Password of {keystore}: ")
    try:
        key = Account.decrypt(Path(keystore).read_text(encoding="utf-8"), password)
    except OSError as error:
        raise InputError(f"The keystore {keystore} cannot be read: {error}.") from error
    except ValueError as error:
        raise InputError(f"The keystore {keystore} does not open with this password.") from error
    return accounts.add(key)
