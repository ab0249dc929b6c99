"""Source verification against an explorer of this machine, which checks what it is given as a real one would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from eth_abi.abi import decode

from gridpact.chain.artifacts import AGGREGATOR, CLERK, REFEREE, SETTLEMENT, TOKEN
from gridpact.chain.deploy import deploy_contracts
from gridpact.chain.explorer import Explorer
from gridpact.chain.networks import open_network
from gridpact.chain.record import Record
from gridpact.chain.sources import ROOT, SETTINGS, standard_json
from gridpact.chain.values import Setting, Theta
from gridpact.errors import ChainError, InputError
from unit.chain.explorer_stub import Stub, running_stub

THETA = Theta(5, 150_000_000, 150_000_000, 4000, 4000, 2000, 2000, 100)
SETTING = Setting(24, 3600, 500, 10, 300, 2)
SUPPLIER, METERING = ("0x" + digit * 40 for digit in "12")
SECRET = "a-key-that-nobody-else-may-see"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as made:
        yield made


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[object, Record]]:
    with open_network("eth-tester") as network:
        web3 = network.connect()
        yield web3, deploy_contracts(network.manager(web3), THETA, SETTING, "eth-tester", SUPPLIER, METERING)


def test_verify_sendsWhatTheCompilerNeeds(stub: Stub, deployed: tuple[object, Record]) -> None:
    web3, record = deployed
    said = Explorer(stub.url, 11155111, SECRET, pause=0.01).verify(web3, record)  # type: ignore[arg-type]
    assert said == dict.fromkeys((TOKEN, REFEREE, CLERK, AGGREGATOR, SETTLEMENT), "Pass - Verified")
    sent = {one["contractname"]: one for one in stub.asked if one["action"] == "verifysourcecode"}
    assert set(sent) == {
        "contracts/referee/Referee.sol:Referee",
        "contracts/agreements/Clerk.sol:Clerk",
        "contracts/agreements/VirtualAggregator.sol:VirtualAggregator",
        "contracts/settlement/TradeSettlement.sol:TradeSettlement",
        "contracts/mocks/TestEuro.sol:TestEuro",
    }
    one = sent["contracts/settlement/TradeSettlement.sol:TradeSettlement"]
    assert one["contractaddress"] == record.settlement
    assert (one["chainid"], one["apikey"]) == ("11155111", SECRET)
    assert one["compilerversion"] == "v0.8.30+commit.73712a01"
    arguments = decode(["address"] * 4, bytes.fromhex(one["constructorArguements"]))
    assert list(arguments) == [a.lower() for a in (record.aggregator, record.token, SUPPLIER, METERING)]
    source = json.loads(one["sourceCode"])
    assert "contracts/settlement/TradeSettlement.sol" in source["sources"]
    assert SECRET not in one["path"]


def test_verify_waitsUntilTheExplorerHasSeenTheBlock(stub: Stub, deployed: tuple[object, Record]) -> None:
    web3, record = deployed
    stub.answers = [("0", "Unable to locate ContractCode at 0x12"), ("0", "Contract source code already verified")]
    said = Explorer(stub.url, 1, SECRET, pause=0.01).verify(web3, record)  # type: ignore[arg-type]
    assert "already verified" in said[TOKEN]


@pytest.mark.parametrize(
    ("answers", "http_status", "body", "message"),
    [
        ([("0", "Invalid API Key")], 200, None, "does not take the source of TestEuro .*Invalid API Key"),
        ([("1", "n"), ("0", "Fail - Unable to verify")], 200, None, "did not verify TestEuro: Fail - Unable"),
        ([("1", "n")], 403, None, "refused a request with HTTP status 403"),
        ([("1", "n")], 200, "<html>", "is no explorer's API"),
        ([("1", "n")], 200, "[]", "is no explorer's API"),
    ],
)
def test_verify_complains(
    stub: Stub,
    deployed: tuple[object, Record],
    answers: list[tuple[str, str]],
    http_status: int,
    body: str | None,
    message: str,
) -> None:
    web3, record = deployed
    stub.answers, stub.http_status, stub.body = answers, http_status, body
    with pytest.raises(ChainError, match=message) as caught:
        Explorer(stub.url, 1, SECRET, pause=0.01).verify(web3, record)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_verify_saysThatNobodyAnswers(deployed: tuple[object, Record]) -> None:
    web3, record = deployed
    with pytest.raises(ChainError, match=r"explorer at http://127\.0\.0\.1:1 does not answer") as caught:
        Explorer("http://127.0.0.1:1/v2/api", 1, SECRET).verify(web3, record)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_standardJson_isWhatTheContractsAreCompiledFrom() -> None:
    """Same settings as brownie's, all contracts, and everything that they import."""
    compiler = yaml.safe_load((ROOT / "brownie-config.yaml").read_text())["compiler"]["solc"]
    assert SETTINGS["optimizer"] == compiler["optimizer"]
    assert SETTINGS["evmVersion"] == compiler["evm_version"]
    assert SETTINGS["remappings"] == compiler["remappings"]
    sources = standard_json()["sources"]
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "contracts").rglob("*.sol")} <= set(sources)
    built = json.loads((ROOT / "build" / "contracts" / f"{SETTLEMENT}.json").read_text())
    assert set(built["allSourcePaths"].values()) <= set(sources)


def test_standardJson_failsWithoutSources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="verify them from a clone"):
        standard_json(tmp_path)
