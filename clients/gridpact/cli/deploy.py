"""`gridpact deploy`: the contracts of a community on a network, checked and recorded."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridpact.cli.manager import (
    KEYSTORE,
    MANAGER_KEY,
    RECORDS,
    Deployment,
    account_of,
    add_network,
    add_sender,
    agree,
    key_of,
    place_of,
    policy_of,
    priced,
)
from gridpact.cli.options import POWER_RESOLUTION, Commands, add_form, check_file, power_resolution
from gridpact.cli.verify import add_explorer, verify_sources
from gridpact.errors import GridpactError, InputError

if TYPE_CHECKING:
    from gridpact.chain.account import ChainAccount
    from gridpact.chain.estimate import PlannedCall
    from gridpact.chain.profiles import ChainProfile
    from gridpact.chain.record import Record
    from gridpact.manage.deployment import Parameters

PARAMETERS = Path("deploy/parameters")
MOST_PHASE_SECONDS = 30 * 24 * 3600
DRY_BASE_FEE_WEI = 10**9
DRY_CHAIN_ID = 31337
DRY_BALANCE_WEI = 100 * 10**18


def add(commands: Commands) -> None:
    command = commands.add_parser("deploy", help="deploy a community's contracts, check them, and write the record")
    add_network(command, required=True)
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--parameters",
        type=Path,
        metavar="FILE",
        help=f"constants of the contracts; default {PARAMETERS}/NETWORK.json, on this machine development.json",
    )
    source.add_argument("--community", metavar="NAME|FILE", help="derive the constants from a community")
    command.add_argument("--phase-seconds", type=int, metavar="N", help="with --community: time for an iteration")
    command.add_argument("--power-resolution", type=float, metavar="W", help=f"with --community: {POWER_RESOLUTION}")
    command.add_argument(
        "--token", metavar="0x...", help="ERC-20 that pays, or `standard`; default a test token is deployed"
    )
    command.add_argument("--supplier", metavar="0x...", help="account that buys and sells what is beyond the trades")
    command.add_argument("--metering", metavar="0x...", help="account that signs meter readings")
    command.add_argument(
        "--days",
        action="store_true",
        help="also the settlement of days, which carries a day on after its round, and calls of its members",
    )
    add_form(command)
    command.add_argument("--out", type=Path, metavar="FILE", help=f"the record; default {RECORDS}/NETWORK.json")
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="do everything on a copy of the network on this machine (a fork where --rpc is given), and send nothing",
    )
    add_explorer(command)
    add_sender(command)
    command.set_defaults(command=_deploy)


def _deploy(arguments: argparse.Namespace) -> int:
    from gridpact.chain.deploy import check_fork
    from gridpact.chain.profiles import profile_of
    from gridpact.manage.deployment import unfinished_at

    profile = profile_of(arguments.network)
    out: Path = arguments.out or RECORDS / f"{profile.name}.json"
    check_file(out, "the record")
    if out.exists() and not profile.local and not arguments.dry_run:
        raise InputError(
            f"a deployment on {profile.name} is recorded in '{out}' already: move it, or name another --out"
        )
    parameters = _parameters(arguments, profile)
    if arguments.dry_run:
        return _dry_run(arguments, profile, parameters, out)
    with place_of(arguments, with_record=False) as place:
        account = account_of(arguments, place)
        _check_roles(place, parameters)
        sent = unfinished_at(out, account, parameters, profile).sent
        standing = [name for name, noted in sent.items() if "hash" in noted]
        if sent:
            print(f"gridpact: going on with the deployment that stopped; {', '.join(standing) or 'nothing'} stands")
        left = [one for one in _planned(parameters, arguments.days) if one.what not in standing]
        check_fork(account.web3)
        costs = priced(account, left, arguments, profile)
        costs.check("the deployment")
        agree(arguments, f"Deploy on {profile.name}?")
        if (copy := kept_copy(out)) is not None:
            print(f"gridpact: the record of the deployment before is kept as {copy}")
        record = _carry_out(account, parameters, profile, out, arguments.days)
        form = "sealed" if record.sealed else "open"
        print(f"gridpact: deployed on {profile.name}, as compiled, for {form} rounds; the record is {out}")
        if profile.explorer is not None:
            print(f"gridpact: {profile.explorer}/address/{record.aggregator}")
        try:
            verify_sources(arguments, place, record)
        except GridpactError as error:  # the deployment stands
            print(f"gridpact: {error}", file=sys.stderr)
            print("gridpact: the deployment stands; `gridpact verify` shows the sources again", file=sys.stderr)
    return 0


def kept_copy(record: Path) -> Path | None:
    """A copy of a record, beside it under the first name that is free, as `anvil-1.json`; None where there is none."""
    if not record.exists():
        return None
    names = (record.with_name(f"{record.stem}-{number}{record.suffix}") for number in itertools.count(1))
    copy = next(name for name in names if not name.exists())
    shutil.copy2(record, copy)
    return copy


def _parameters(arguments: argparse.Namespace, profile: ChainProfile) -> Parameters:
    from gridpact.community.read import read_community
    from gridpact.manage.deployment import Parameters

    if arguments.community is not None:
        seconds = profile.phase_seconds if arguments.phase_seconds is None else arguments.phase_seconds
        if not 1 <= seconds <= MOST_PHASE_SECONDS:
            raise InputError(f"--phase-seconds needs 1 to {MOST_PHASE_SECONDS:,}, not {seconds:,}")
        resolution = power_resolution(arguments.power_resolution)
        parameters = Parameters.of_community(read_community(arguments.community), seconds, resolution=resolution)
    else:
        for option in ("phase_seconds", "power_resolution"):
            if getattr(arguments, option) is not None:
                raise InputError(f"--{option.replace('_', '-')} goes with --community; parameters have their own")
        path: Path = arguments.parameters or PARAMETERS / f"{profile.name}.json"
        if profile.local and arguments.parameters is None and not path.exists():
            path = PARAMETERS / "development.json"
        parameters = Parameters.read(path)
    if arguments.sealed is not None:
        parameters = dataclasses.replace(parameters, sealed=arguments.sealed)
    return parameters.with_roles(arguments.token, arguments.supplier, arguments.metering)


def _planned(parameters: Parameters, days: bool) -> list[PlannedCall]:
    from gridpact.chain.estimate import planned_deployment

    theta, setting = parameters.theta, parameters.setting
    return planned_deployment(theta, setting, parameters.token is None, days, parameters.sealed)


def _check_roles(place: Deployment, parameters: Parameters) -> None:
    """Before anything is paid."""
    from gridpact.chain.inspection import check_token
    from gridpact.manage.deployment import roles_of, token_of

    roles_of(parameters, place.profile, "0x" + 40 * "0")
    token = token_of(parameters, place.profile)
    if token is not None:
        check_token(place.web3, token)


def _carry_out(
    account: ChainAccount, parameters: Parameters, profile: ChainProfile, out: Path | None = None, days: bool = False
) -> Record:
    from gridpact.manage.deployment import carry_out

    def show(name: str, receipt: Any) -> None:
        place = f"{receipt['contractAddress']}, block {receipt['blockNumber']}"
        print(f"  {name:<22} {receipt['gasUsed']:>11,} gas  {place}", flush=True)

    return carry_out(account, parameters, profile, show, out, days)


# ---------------------------------------------------------------------- without sending


def _dry_run(arguments: argparse.Namespace, profile: ChainProfile, parameters: Parameters, out: Path) -> int:
    """The whole on a chain of this machine that has the same chain id."""
    with _copy_of(arguments, profile) as (place, account, origin):
        print(f"gridpact: dry run on {origin}, chain {place.web3.eth.chain_id}: nothing leaves this machine")
        _check_roles(place, parameters)
        costs = priced(account, _planned(parameters, arguments.days), arguments, profile)
        missing = costs.most_wei - costs.balance_wei
        if missing > 0:
            from gridpact.chain.fees import ether_text

            print(f"gridpact: the account would lack {ether_text(missing)}; the dry run goes on with test ether")
            place.web3.provider.make_request("anvil_setBalance", [account.address, hex(DRY_BALANCE_WEI)])  # type: ignore[arg-type]
        record = _carry_out(account, parameters, profile, days=arguments.days)
        form = "sealed" if record.sealed else "open"
        count = len(record.transactions)
        print(f"gridpact: all checks held, {count} transactions, for {form} rounds; the record would be {out}")
        print(json.dumps({"theta": dict(record.theta), "setting": dict(record.setting)}, indent=1))
    return 0


@contextmanager
def _copy_of(arguments: argparse.Namespace, profile: ChainProfile) -> Iterator[tuple[Deployment, ChainAccount, str]]:
    from gridpact.chain.account import ChainAccount
    from gridpact.chain.keys import new_key
    from gridpact.chain.networks import Imitation, open_imitation
    from gridpact.chain.profiles import RPC_URL

    given = arguments.rpc or os.environ.get(RPC_URL)
    if given:
        with place_of(arguments, with_record=False) as original:
            chain_id, block = original.web3.eth.chain_id, original.web3.eth.block_number
        imitation = Imitation(chain_id, fork_url=original.url)
        origin = f"a fork of {profile.name} at block {block}"
    else:
        imitation = Imitation(profile.chain_id or DRY_CHAIN_ID, base_fee_wei=DRY_BASE_FEE_WEI)
        origin = f"an empty chain like {profile.name}"
    has_key = arguments.keystore or os.environ.get(KEYSTORE) or os.environ.get(MANAGER_KEY)
    key = key_of(arguments) if has_key else new_key()
    with open_imitation(imitation) as network:
        web3 = network.connect()
        account = ChainAccount(web3, key, fees=policy_of(arguments))
        yield Deployment(profile, web3, str(network.rpc_url), None), account, origin
