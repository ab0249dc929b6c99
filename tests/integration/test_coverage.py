"""What `make coverage` marks and counts, on a contract whose branches are known, by hand."""

from __future__ import annotations

import contextlib
import json
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chains import skip_without
from waiting import until
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError

from gridpact.chain.networks import open_network

ROOT = Path(__file__).resolve().parents[2]
PATH = "contracts/Sample.sol"
SOURCE = """// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

function twice(uint256 n) pure returns (uint256) {
    return n > 9 ? n : 2 * n;  // ñ: offsets are bytes
}

contract Sample {
    uint256 public stored;

    modifier odd(uint256 n) {
        require(n % 2 == 1, "even");
        _;
    }

    constructor() {}

    function choose(uint256 a, bool b) external pure returns (uint256) {
        if (a > 3 && !(b || a == 5)) return 1;
        for (uint256 i = 0; i < a; ++i) {
            if (i == 2) continue;
        }
        return (a == 0 ? b : !b) ? 2 : twice(3);
    }

    function store(uint256 n) external odd(n) {
        stored = n;
        this.check(n);
        try this.check(n + 2) {} catch {
            stored = 0;
        }
    }

    function check(uint256 n) external view {
        assert(n == stored);
    }

    function assembled(uint256 n) external pure returns (uint256 m) {
        assembly {
            mstore(0, 8)
            for { let i := 0 } lt(i, n) { i := add(i, 1) } { m := add(m, mload(0)) }
            if gt(m, 20) { m := 20 }
            switch n
            case 0 { m := 5 }
            default { m := add(m, 1) }
        }
    }
}
"""


@pytest.fixture(scope="module")
def coverage() -> dict[str, Any]:
    if not (ROOT / "node_modules" / "solc").is_dir():
        pytest.skip("needs the compiler from node_modules")
    return runpy.run_path(str(ROOT / "deploy" / "coverage.py"))


@pytest.fixture(scope="module")
def marked(coverage: dict[str, Any]) -> tuple[str, Any]:
    """The source with its marks, and the sites."""
    marker = coverage["Marker"]()
    source = SOURCE.encode()
    return marker.mark(PATH, source, coverage["syntax_trees"]({PATH: source})[PATH]), marker.sites


def test_sites_areAllThatBranches(marked: tuple[str, Any]) -> None:
    found = [(site.contract, site.function, site.line, site.text) for site in marked[1]]
    assert found == [
        ("", "twice", 4, ""),
        ("", "twice", 5, "n > 9"),
        ("Sample", "odd", 12, "n % 2 == 1"),
        ("Sample", "constructor", 16, ""),
        ("Sample", "choose", 18, ""),
        ("Sample", "choose", 19, "a > 3"),
        ("Sample", "choose", 19, "b"),
        ("Sample", "choose", 19, "a == 5"),
        ("Sample", "choose", 20, "i < a"),
        ("Sample", "choose", 21, "i == 2"),
        ("Sample", "choose", 23, "a == 0 ? b : !b"),
        ("Sample", "choose", 23, "a == 0"),
        ("Sample", "store", 26, ""),
        ("Sample", "store", 29, ""),
        ("Sample", "store", 29, ""),
        ("Sample", "check", 34, ""),
        ("Sample", "check", 35, "n == stored"),
        ("Sample", "assembled", 38, ""),
        ("Sample", "assembled", 41, "lt(i, n)"),
        ("Sample", "assembled", 42, "gt(m, 20)"),
        ("Sample", "assembled", 44, ""),
        ("Sample", "assembled", 45, ""),
    ]


def test_marks_keepTheSource(marked: tuple[str, Any]) -> None:
    lines = marked[0].splitlines()
    assert lines[4] == "    return covered(n > 9, 1) ? n : 2 * n;  // ñ: offsets are bytes"
    assert lines[18] == "        if (covered(a > 3, 5) && !(covered(b, 6) || covered(a == 5, 7))) return 1;"
    assert lines[22] == "        return (covered(covered(a == 0, 11) ? b : !b, 10)) ? 2 : twice(3);"
    assert len(lines) == len(SOURCE.splitlines())


@pytest.fixture(scope="module")
def printed(coverage: dict[str, Any], marked: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a call, or sends a transaction, on Anvil; returns the branches that it printed."""
    skip_without("anvil")
    log = tmp_path_factory.mktemp("coverage") / "anvil.log"
    with open_network("anvil", log) as network:
        web3 = network.connect()
        account = web3.eth.accounts[0]

        def new_lines(act: Any) -> set[tuple[int, bool]]:
            before = len(log.read_text())
            act()
            assert web3.client_version  # prints its name behind all that was printed before
            until(lambda: "web3_clientVersion" in log.read_text()[before:])
            lines = log.read_text()[before:].splitlines()
            numbers = [int(line) - coverage["FIRST"] for line in lines if re.fullmatch("1[0-9]{30}", line)]
            return {(number // 2, number % 2 == 1) for number in numbers}

        made = compiled(coverage["SOLIDITY"], marked[0])
        contracts: list[Any] = []

        def deploy() -> None:
            sent = web3.eth.contract(abi=made["abi"], bytecode=made["evm"]["bytecode"]["object"]).constructor()
            receipt = web3.eth.wait_for_transaction_receipt(sent.transact({"from": account}))
            contracts.append(web3.eth.contract(receipt["contractAddress"], abi=made["abi"]))

        assert new_lines(deploy) == {(3, True)}

        def run(name: str, *arguments: object, send: bool = False, returns: object = None) -> set[tuple[int, bool]]:
            function: ContractFunction = contracts[0].functions[name](*arguments)

            def act() -> None:
                if send:
                    web3.eth.wait_for_transaction_receipt(function.transact({"from": account, "gas": 2_000_000}))
                else:
                    with contextlib.suppress(ContractLogicError):
                        assert function.call() == returns or returns is None

            return new_lines(act)

        yield run


def compiled(mark: str, source: str) -> Any:
    request = {
        "language": "Solidity",
        "sources": {"contracts/Covered.sol": {"content": mark}, PATH: {"content": source}},
        "settings": {
            "evmVersion": "shanghai",
            "outputSelection": {PATH: {"Sample": ["abi", "evm.bytecode.object"]}},
        },
    }
    done = subprocess.run(
        [ROOT / "deploy" / "solc", "--standard-json"],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert not [error for error in answer.get("errors", []) if error["severity"] == "error"], answer["errors"]
    return answer["contracts"][PATH]["Sample"]


def test_calls_tellTheirBranches(printed: Any) -> None:
    # 7 > 3, b false, 7 is not 5: returns 1 at once
    assert printed("choose", 7, False) == {(4, True), (5, True), (6, False), (7, False)}
    # 0: the loop ends at once; a == 0, so b is what counts, and it is false; twice(3)
    ended = {(4, True), (5, False), (8, False), (11, True), (10, False), (0, True), (1, False)}
    assert printed("choose", 0, False) == ended


def test_revertedCalls_tellTheirBranches(printed: Any) -> None:
    assert printed("store", 2) == {(2, False)}


def test_transactions_tellTheirBranches(printed: Any) -> None:
    """Of a failing inner call too, whose effects are taken back."""
    both = {(16, True), (16, False)}
    assert printed("store", 3, send=True) == {(2, True), (12, True), (15, True), (14, True)} | both


def test_assembly_tellsItsBranches_andWorksAsBefore(printed: Any) -> None:
    """Memory too is as it was: the loop adds up what stands at its beginning."""
    assert printed("assembled", 0) == {(17, True), (18, False), (19, False), (20, True)}
    assert printed("assembled", 2, returns=17) == {(17, True), (18, True), (18, False), (19, False), (21, True)}
    assert printed("assembled", 3, returns=21) == {(17, True), (18, True), (18, False), (19, True), (21, True)}


def test_report_namesWhatIsMissing(coverage: dict[str, Any], marked: tuple[str, Any]) -> None:
    sites = marked[1]
    all_of_it = {2 * number + outcome for number, site in enumerate(sites) for outcome in site.outcomes}
    text, complete = coverage["report"](sites, all_of_it)
    assert complete
    assert "100.0%" in text
    text, complete = coverage["report"](sites, all_of_it - {2 * 7, 2 * 15 + 1})
    assert not complete
    assert "contracts/Sample.sol:19: never false: a == 5" in text
    assert "contracts/Sample.sol:34: never entered: check" in text
