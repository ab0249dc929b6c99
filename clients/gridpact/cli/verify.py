"""`gridpact verify`: whether the contracts of a record are what was compiled, and their sources on an explorer."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from gridpact.cli.manager import Deployment, add_record, place_of
from gridpact.cli.options import Commands
from gridpact.errors import InputError

if TYPE_CHECKING:
    from gridpact.chain.record import Record


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "verify",
        help="check that the contracts of a record are what was compiled, and show their sources to an explorer",
    )
    add_record(command)
    add_explorer(command)
    command.set_defaults(command=_verify)


def add_explorer(command: argparse.ArgumentParser) -> None:
    """Adds the explorer's address."""
    command.add_argument(
        "--explorer",
        metavar="URL",
        help="API of an explorer that verifies sources, with a key in $GRIDPACT_EXPLORER_KEY; default the network's",
    )


def _verify(arguments: argparse.Namespace) -> int:
    from gridpact.chain.inspection import inspect_deployment

    with place_of(arguments) as place:
        assert place.record is not None
        if not place.record.supplier:
            raise InputError(
                "The record was written by an earlier version, which did not note the supplier and metering accounts:"
                " its constructor arguments cannot be checked."
            )
        for contract in inspect_deployment(place.web3, place.record):
            but = f", but for {contract.immutables} places with immutable values" if contract.immutables else ""
            print(f"  {contract.name:<22} {contract.address}  {contract.code_bytes:,} bytes as compiled{but}")
        print(f"gridpact: the contracts on {place.profile.name} are what was compiled, with the values of the record")
        verify_sources(arguments, place, place.record)
    return 0


def verify_sources(arguments: argparse.Namespace, place: Deployment, record: Record) -> None:
    """Has an explorer verify the sources, where a key for it is given."""
    from gridpact.chain.explorer import EXPLORER_KEY, Explorer

    key, api = os.environ.get(EXPLORER_KEY), arguments.explorer or place.profile.explorer_api
    if not key or not api:
        if arguments.explorer:
            raise InputError(f"the sources were not shown to the explorer: set {EXPLORER_KEY} to a key of its API")
        return
    for name, answer in Explorer(api, record.chain_id, key).verify(place.web3, record).items():
        print(f"gridpact: explorer: {name}: {answer}")
