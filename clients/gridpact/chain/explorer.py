"""Source verification by the API of an explorer, as Etherscan and those like it offer it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from hexbytes import HexBytes
from web3 import Web3

from gridpact.chain.artifacts import Artifact
from gridpact.chain.inspection import creation_data, creations
from gridpact.chain.record import Record
from gridpact.chain.sources import source_of, standard_json
from gridpact.errors import ChainError, InputError
from gridpact.files import parse_json

EXPLORER_KEY = "GRIDPACT_EXPLORER_KEY"
"""Environment variable with the key of an explorer's API."""

REQUEST_SECONDS = 30.0
PAUSE_SECONDS = 5.0
"""Between requests: free keys allow a few a second."""

PATIENCE_SECONDS = 300.0
"""How long a verification may take."""

MIT = "3"
"""Among the licences that Etherscan numbers."""

ALREADY, PENDING, PASSED = "already verified", "pending", "pass"
NOT_YET = ("unable to locate", "does not have bytecode")
"""The explorer has not seen the block yet."""

VERSION = re.compile(r"\d+\.\d+\.\d+\+commit\.[0-9a-f]{8}")


@dataclass(frozen=True)
class Explorer:
    """An explorer's API for one chain."""

    api: str
    chain_id: int
    key: str
    pause: float = field(default_factory=lambda: PAUSE_SECONDS)

    def verify(self, web3: Web3, record: Record) -> dict[str, str]:
        """Has the sources of all contracts of a deployment verified. Returns what the explorer says, by contract.

        Raises:
            ChainError: the explorer does not answer, or refuses.
            InputError: the sources are not at hand.
        """
        source = standard_json()
        return {
            name: self._verify(name, address, artifact, creation_data(web3, artifact, arguments), source)
            for name, (address, artifact, arguments) in creations(record).items()
        }

    def _verify(self, name: str, address: str, artifact: Artifact, data: bytes, source: Mapping[str, Any]) -> str:
        arguments = data[len(HexBytes(artifact.bytecode)) :].hex()
        form = {
            "contractaddress": address,
            "sourceCode": json.dumps(source),
            "codeformat": "solidity-standard-json-input",
            "contractname": source_of(name, source["sources"]),
            "compilerversion": "v" + _version(artifact),
            "constructorArguments": arguments,
            "constructorArguements": arguments,  # the spelling that the API began with
            "licenseType": MIT,
        }
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            done, answer = self._ask("verifysourcecode", form)
            if ALREADY in answer.lower():
                return answer
            if done:
                break
            if not any(words in answer.lower() for words in NOT_YET) or time.monotonic() > give_up:
                raise ChainError(f"The explorer does not take the source of {name} at {address}: {answer}.")
            time.sleep(self.pause)
        return self._wait(name, answer, give_up)

    def _wait(self, name: str, number: str, give_up: float) -> str:
        """Until the explorer has compiled the source."""
        while True:
            time.sleep(self.pause)
            done, answer = self._ask("checkverifystatus", {"guid": number})
            if (done and PASSED in answer.lower()) or ALREADY in answer.lower():
                return answer
            if PENDING not in answer.lower():
                raise ChainError(f"The explorer did not verify {name}: {answer}.")
            if time.monotonic() > give_up:
                raise ChainError(
                    f"The explorer has not verified {name} within {PATIENCE_SECONDS:.0f} s: look at its page later."
                )

    def _ask(self, action: str, form: Mapping[str, str]) -> tuple[bool, str]:
        """Whether it went well, and what it said."""
        place = urlsplit(self.api)
        shown = f"{place.scheme}://{place.netloc}"
        about = {"chainid": str(self.chain_id), "module": "contract", "action": action}
        try:
            if action == "verifysourcecode":  # the key goes with the body, not into an address that is logged
                body = {**form, **about, "apikey": self.key}
                response = requests.post(self.api, params=about, data=body, timeout=REQUEST_SECONDS)
            else:
                query = {**form, **about, "apikey": self.key}
                response = requests.get(self.api, params=query, timeout=REQUEST_SECONDS)
            response.raise_for_status()
            answer = parse_json(response.content)
            return str(answer["status"]) == "1", str(answer["result"]).rstrip(".")
        except requests.exceptions.HTTPError as error:
            raise ChainError(
                f"The explorer at {shown} refused a request with HTTP status {error.response.status_code}: check its"
                " address and key."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ChainError(f"What answers at {shown} is no explorer's API: check its address.") from None
        except requests.exceptions.RequestException as error:
            raise ChainError(
                f"The explorer at {shown} does not answer ({type(error).__name__}): the deployment is not touched by"
                " that, try again later."
            ) from None


def _version(artifact: Artifact) -> str:
    """The compiler's full version, for example 0.8.30+commit.73712a01."""
    version = VERSION.search(artifact.compiler)
    if version is None:
        raise InputError(f"The compiled contract {artifact.name} does not say which compiler made it: make contracts.")
    return version.group()
