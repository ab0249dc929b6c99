"""The record of a deployment: a node connects with nothing but this file and its key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gridpact.chain.artifacts import SEALED_REFEREE
from gridpact.chain.contract import checked_address
from gridpact.chain.reverts import Abi
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of, write_atomically

FORMAT = 2

_ADDRESSES = ("manager", "referee", "aggregator", "settlement", "token")
_ABIS = ("referee_abi", "aggregator_abi", "settlement_abi", "token_abi")
_MAPPINGS = ("theta", "setting", "transactions")
_NUMBERS = ("chain_id", "block")
_LATER = ("supplier", "metering", "commit", "day_settlement", "clerk", "clearing", "flexibility")
"""Fields that records of earlier versions lack."""


@dataclass(frozen=True)
class Record:
    """Where the contracts are and how they were set up."""

    network: str
    chain_id: int
    block: int  # of the first transaction: no event is older
    manager: str
    referee: str
    aggregator: str
    settlement: str
    token: str
    theta: Mapping[str, int]
    setting: Mapping[str, int]
    transactions: Mapping[str, str]  # hash by contract
    compiler: str
    referee_abi: Abi
    aggregator_abi: Abi
    settlement_abi: Abi
    token_abi: Abi
    supplier: str = ""  # the account that buys and sells what is delivered beyond the trades
    metering: str = ""  # the account that signs meter readings
    day_settlement: str = ""  # where days are settled step by step, if they are
    clerk: str = ""  # what the aggregator has done seldom; other versions' aggregators make it themselves
    clearing: str = ""  # what a step of a day comes to, if days are settled
    flexibility: str = ""  # where an aggregator calls members of a day, if it can
    commit: str = ""  # of the sources that it was deployed from, as far as git knows
    sealed: bool = False  # whether what is submitted is read by those only whom it concerns, see `node.form`

    def write(self, path: Path) -> None:
        """Writes the record in one go: a reader never sees half of it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        write_atomically(path, json.dumps({"format": FORMAT, **values}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        """Reads and checks a record."""
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(
                f"There is no record of a deployment at {path}: deploy first, or give its path."
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The record {path} cannot be read ({reason_of(error)}): check the path.") from error
        except ValueError as error:
            raise InputError(f"The record {path} is not valid JSON ({error}): deploy again.") from error
        return cls._checked(values, path)

    @classmethod
    def _checked(cls, values: Any, path: Path) -> Record:
        if not isinstance(values, dict):
            raise InputError(f"The record {path} is not a JSON object: deploy again.")
        if values.get("format") != FORMAT:
            raise InputError(
                f"The record {path} has format {values.get('format')}, this version reads {FORMAT}: deploy again."
            )
        if isinstance(values.get("transactions"), dict):  # records of earlier versions do not say it
            values.setdefault("sealed", SEALED_REFEREE in values["transactions"])
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in values and name not in _LATER]
        if missing:
            raise InputError(f"The record {path} lacks '{missing[0]}': deploy again.")
        for names_of_kind, kind, word in (
            (_NUMBERS, int, "a whole number"),
            (_MAPPINGS, dict, "an object"),
            (_ABIS, list, "a list"),
            (("sealed",), bool, "true or false"),
        ):
            for name in names_of_kind:
                if not isinstance(values[name], kind) or (kind is int and isinstance(values[name], bool)):
                    raise InputError(f"In the record {path} '{name}' must be {word}: deploy again.")
        for name in _ABIS:
            if not all(isinstance(entry, dict) and isinstance(entry.get("type"), str) for entry in values[name]):
                raise InputError(f"In the record {path} '{name}' is no ABI: deploy again.")
        for name in _ADDRESSES:
            try:
                values[name] = checked_address(values[name])
            except InputError as error:
                raise InputError(f"In the record {path}, '{name}': {error}") from error
        for name in _LATER:
            if not isinstance(values.setdefault(name, ""), str):
                raise InputError(f"In the record {path} '{name}' must be text: deploy again.")
        return cls(**{name: values[name] for name in names})

    @classmethod
    def on_chain(cls, path: Path, network: str, chain_id: int) -> Record:
        """Reads the record of a deployment that must be on a chain.

        Raises:
            InputError: it is of another one.
        """
        record = cls.read(path)
        if record.chain_id != chain_id:
            raise InputError(
                f"The record {path} is of {record.network} (chain {record.chain_id}), but the node at --rpc is on chain"
                f" {chain_id}: give the record of a deployment on {network}, or another node."
            )
        return record
