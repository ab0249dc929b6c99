"""`gridpact keystore`: a private key in an encrypted file."""

from __future__ import annotations

import argparse
from pathlib import Path

from gridpact.cli.options import Commands
from gridpact.errors import InputError


def add(commands: Commands) -> None:
    command = commands.add_parser("keystore", help="make an encrypted keystore, or see whose key is in one")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a keystore with a fresh key")
    new.add_argument("file", type=Path, metavar="FILE", help="where; it must not exist")
    new.add_argument(
        "--password-file", type=Path, metavar="FILE", help="default $GRIDPACT_KEYSTORE_PASSWORD, or it is asked for"
    )
    new.set_defaults(command=_new)
    address = actions.add_parser("address", help="print the address of the key in a keystore")
    address.add_argument("file", type=Path, metavar="FILE")
    address.add_argument("--password-file", type=Path, metavar="FILE", help="for keystores that do not tell it")
    address.set_defaults(command=_address)


def _new(arguments: argparse.Namespace) -> int:
    from gridpact.chain.keystore import make_keystore, read_password

    if arguments.file.exists():
        raise InputError(f"the keystore '{arguments.file}' exists already: it is never overwritten")
    password = read_password(f"the new keystore {arguments.file}", arguments.password_file, twice=True)
    print(make_keystore(arguments.file, password))
    return 0


def _address(arguments: argparse.Namespace) -> int:
    from gridpact.chain.keys import address_of
    from gridpact.chain.keystore import keystore_address, open_keystore, read_password

    address = keystore_address(arguments.file)
    if address is None:
        address = address_of(open_keystore(arguments.file, read_password(str(arguments.file), arguments.password_file)))
    print(address)
    return 0
