"""`gridpact relay`: signed submissions of all in one transaction."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from gridpact.cli.options import Commands, add_chain, add_password, chain_at


def add(commands: Commands) -> None:
    command = commands.add_parser("relay", help="a service that sends the signed submissions of all in one transaction")
    add_chain(command)
    key = command.add_mutually_exclusive_group(required=True)
    key.add_argument("--keystore", type=Path, metavar="FILE", help="encrypted key of who pays the gas")
    key.add_argument("--key-file", type=Path, metavar="FILE", help="the same in clear, where it is worth nothing")
    add_password(command)
    command.add_argument("--port", type=port, default=8560, metavar="N", help="port on 127.0.0.1; default 8560")
    command.set_defaults(command=_relay)


def port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**16:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: give a number from 0 (any free one) to 65535")
    return number


def _relay(arguments: argparse.Namespace) -> int:
    from gridpact.chain.account import ChainAccount
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record
    from gridpact.relay.server import RelayServer

    record, key = Record.read(arguments.contracts), _key(arguments)
    with chain_at(arguments.rpc) as network:
        web3 = network.connect()
        with RelayServer(Aggregator.of(record, web3, ChainAccount(web3, key)), port=arguments.port) as relay:
            print(f"gridpact: relaying at {relay.url}; Ctrl-C ends it", flush=True)
            signal.pause()
    return 0


def _key(arguments: argparse.Namespace) -> str:
    """Of who pays the gas.

    Raises:
        InputError: it cannot be read, or the keystore does not open.
    """
    from gridpact.chain.keystore import open_keystore, read_password
    from gridpact.run.launch import read_key

    if arguments.keystore is None:
        return read_key(arguments.key_file)
    path: Path = arguments.keystore
    return open_keystore(path, read_password(str(path), arguments.password_file, arguments.password_env))
